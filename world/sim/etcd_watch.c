/* Watches: one HTTP stream with one or more of them, a line for each message. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/etcd_impl.h"

enum { STREAM_HIGH_WATER = 64 << 20, SILENCE_MS = 3500 };

struct watch {
	struct list hook; /* in its stream's watches */
	uint64_t id;
	struct buf key, end;
	struct etcd_range range;
	uint64_t next; /* the first revision that is still to be told */
	size_t log_at; /* all before it in the log has been looked at */
	bool prev_kv, no_put, no_delete;
	bool canceled; /* silent from here on */
};

struct etcd_stream {
	struct list hook; /* in its member's watches */
	struct etcd_member *m;
	struct world_request *r;
	struct list watches;
	bool demands_leader;
};

static void send_line(struct etcd_stream *st, struct buf *line)
{
	buf_text(line, "\n");
	world_reply_chunk(st->m->w, st->r, line->data, line->len);
	buf_clear(line);
}

static void open_result(struct buf *out, const struct etcd_stream *st, const struct watch *w,
			uint64_t revision)
{
	buf_text(out, "{\"result\":{");
	etcd_header(out, st->m, revision);
	if (w->id)
		buf_printf(out, ",\"watch_id\":\"%" PRIu64 "\"", w->id);
}

/* ---- telling ---- */

static void write_event(struct buf *out, const struct watch *w, const struct etcd_change *ch)
{
	const struct etcd_version *v = &ch->key->versions[ch->version];
	const struct etcd_version *old = ch->version > 0 ? v - 1 : NULL;
	if (v->value) {
		buf_text(out, "{\"kv\":");
		etcd_kv(out, ch->key, v);
	} else {
		buf_text(out, "{\"type\":\"DELETE\",\"kv\":{");
		etcd_b64(out, "key", ch->key->key, ch->key->len);
		buf_printf(out, ",\"mod_revision\":\"%" PRIu64 "\"}", v->mod);
	}
	if (w->prev_kv && old && old->value) {
		buf_text(out, ",\"prev_kv\":");
		etcd_kv(out, ch->key, old);
	}
	buf_text(out, "}");
}

static bool concerns(const struct watch *w, const struct etcd_change *ch)
{
	bool deleted = ch->key->versions[ch->version].value == NULL;
	return ch->revision >= w->next && !(deleted ? w->no_delete : w->no_put) &&
	       etcd_range_has(&w->range, ch->key);
}

/* History comes in one message, what happens now in one message per revision; as the cluster
 * publishes after each change, both are "all up to what the member has applied". */
static void tell(struct etcd_stream *st, struct watch *w)
{
	const struct etcd_store *store = &st->m->c->store;
	struct buf out = {0};
	unsigned n = 0;
	size_t i = w->log_at;
	for (; i < store->n_log && store->log[i].revision <= st->m->applied; i++) {
		const struct etcd_change *ch = &store->log[i];
		if (!concerns(w, ch))
			continue;
		if (n == 0)
			open_result(&out, st, w, st->m->applied);
		buf_text(&out, n++ ? "," : ",\"events\":[");
		write_event(&out, w, ch);
	}
	w->log_at = i;
	if (w->next <= st->m->applied)
		w->next = st->m->applied + 1;
	if (n) {
		buf_text(&out, "]}}");
		send_line(st, &out);
	}
	buf_fini(&out);
}

void etcd_watch_publish(struct etcd_member *m)
{
	list_each_safe (struct etcd_stream, st, &m->watches, hook) {
		list_each (struct watch, w, &st->watches, hook) {
			if (!w->canceled)
				tell(st, w);
		}
	}
}

/* ---- the end ---- */

static void watch_free(struct watch *w)
{
	list_remove(&w->hook);
	buf_fini(&w->key);
	buf_fini(&w->end);
	free(w);
}

static void stream_free(struct etcd_stream *st)
{
	list_each_safe (struct watch, w, &st->watches, hook)
		watch_free(w);
	list_remove(&st->hook);
	free(st);
}

void etcd_watch_gone(struct world_request *r)
{
	if (r->owner)
		stream_free(r->owner);
}

static void say_no_leader(struct world *w, struct world_request *r)
{
	static const char line[] =
		"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\","
		"\"http_status\":\"Service Unavailable\"}}\n";
	world_reply_chunk(w, r, line, sizeof(line) - 1);
	world_reply_end(w, r);
}

/* The monitor looks for a leader three times, an election timeout apart. */
void etcd_watch_tick(struct etcd_member *m)
{
	uint64_t now_us = sim_now_us(m->c->sim);
	if (m->lost_us == 0 || now_us - m->lost_us < (uint64_t)SILENCE_MS * 1000)
		return;
	list_each_safe (struct etcd_stream, st, &m->watches, hook) {
		if (!st->demands_leader)
			continue;
		struct world_request *r = st->r;
		stream_free(st);
		say_no_leader(m->w, r);
	}
}

void etcd_watch_fini(struct etcd_member *m)
{
	list_each_safe (struct etcd_stream, st, &m->watches, hook)
		stream_free(st);
}

/* ---- the beginning ---- */

static size_t log_begin(const struct etcd_store *store, uint64_t revision)
{
	size_t low = 0, high = store->n_log;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (store->log[mid].revision < revision)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool has_filter(const json_t *o, const char *name)
{
	size_t i;
	const json_t *f;
	json_array_foreach (json_object_get(o, "filters"), i, f) {
		if (json_is_string(f) && strcmp(json_string_value(f), name) == 0)
			return true;
	}
	return false;
}

static void say_created(struct etcd_stream *st, struct watch *w, uint64_t start)
{
	struct buf out = {0};
	open_result(&out, st, w, st->m->applied);
	buf_text(&out, ",\"created\":true}}");
	send_line(st, &out);
	if (start && start < st->m->c->store.compacted) { /* and then silence, on an open stream */
		w->canceled = true;
		buf_text(&out, "{\"result\":{\"header\":{\"cluster_id\":\"4660653540375410112\"");
		buf_printf(&out,
			   ",\"member_id\":\"%" PRIu64 "\",\"raft_term\":\"%" PRIu64
			   "\"},\"canceled\":true,\"compact_revision\":\"%" PRIu64 "\"}}",
			   st->m->id, st->m->c->term, st->m->c->store.compacted);
		send_line(st, &out);
	}
	buf_fini(&out);
}

static void add_watch(struct etcd_stream *st, const json_t *o, uint64_t id)
{
	struct watch *w = mem_alloc(sizeof(*w));
	uint64_t start = etcd_u64(o, "start_revision");
	w->id = json_object_get(o, "watch_id") ? etcd_u64(o, "watch_id") : id;
	(void)etcd_bytes(o, "key", &w->key);
	(void)etcd_bytes(o, "range_end", &w->end);
	w->range = (struct etcd_range){.key = w->key.data,
				       .key_len = w->key.len,
				       .end = w->end.data,
				       .end_len = w->end.len};
	w->next = start ? start : st->m->applied + 1;
	w->log_at = log_begin(&st->m->c->store, w->next);
	w->prev_kv = json_is_true(json_object_get(o, "prev_kv"));
	w->no_put = has_filter(o, "NOPUT");
	w->no_delete = has_filter(o, "NODELETE");
	list_append(&st->watches, &w->hook);
	say_created(st, w, start);
	if (!w->canceled)
		tell(st, w);
}

void etcd_watch(struct etcd_member *m, struct world_request *r, const char *body, size_t len)
{
	struct etcd_stream *st = mem_alloc(sizeof(*st));
	st->m = m;
	st->r = r;
	st->demands_leader = r->header(r, "Grpc-Metadata-hasleader") != NULL;
	list_init(&st->watches);
	list_append(&m->watches, &st->hook);
	r->owner = st;
	world_reply_start(m->w, r, 200, STREAM_HIGH_WATER);
	if (st->demands_leader && etcd_knows_no_leader(m)) {
		stream_free(st);
		r->owner = NULL;
		say_no_leader(m->w, r);
		return;
	}
	uint64_t id = 0;
	for (size_t at = 0; at < len;) {
		json_error_t error;
		json_t *o = json_loadb(body + at, len - at, JSON_DISABLE_EOF_CHECK, &error);
		if (o == NULL)
			break;
		const json_t *create = json_object_get(o, "create_request");
		if (create)
			add_watch(st, create, id++);
		json_decref(o);
		at += (size_t)error.position;
	}
}
