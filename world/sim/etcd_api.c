/*
 * Requests and answers of etcd's JSON gateway, byte for byte as 3.4.23 writes
 * them: numbers of 64 bits are strings, members with default values are left
 * out, an error is {"error","message","code"}.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "world/sim/etcd_impl.h"
#include "world/sim/sim_impl.h"

#define CLUSTER_ID "4660653540375410112"

/* One request being carried out. */
struct call {
	struct etcd_member *m;
	struct sim_etcd *c;
	const json_t *bodies; /* an array: objects written one behind the other */
	const json_t *body;   /* the first */
	uint64_t view;        /* the revision that reads see */
	struct buf *out;
	int status; /* 0: going on; else an error is in out */
};

struct route {
	const char *path;
	enum etcd_class class;
	void (*run)(struct call *k);
};

/* ---- reading ---- */

/* etcd accepts range_end and rangeEnd. */
static json_t *get(const json_t *o, const char *name)
{
	json_t *v = json_object_get(o, name);
	if (v)
		return v;
	char camel[64];
	size_t n = 0;
	for (const char *p = name; *p && n + 1 < sizeof(camel); p++) {
		if (*p == '_' && p[1])
			camel[n++] = (char)toupper(*++p);
		else
			camel[n++] = *p;
	}
	camel[n] = '\0';
	return json_object_get(o, camel);
}

uint64_t etcd_u64(const json_t *o, const char *name)
{
	const json_t *v = get(o, name);
	if (json_is_integer(v))
		return (uint64_t)json_integer_value(v);
	return json_is_string(v) ? strtoull(json_string_value(v), NULL, 10) : 0;
}

static bool is_true(const json_t *o, const char *name)
{
	return json_is_true(get(o, name));
}

/* False if it is there and not standard base64. */
bool etcd_bytes(const json_t *o, const char *name, struct buf *out)
{
	const json_t *v = get(o, name);
	buf_clear(out);
	buf_add(out, "", 0);
	return v == NULL || text_unbase64(json_string_value(v), out, NULL) == ERR_OK;
}

/* ---- writing ---- */

static void fail(struct call *k, int status, int code, const char *text)
{
	if (k->status != 0)
		return;
	k->status = status;
	buf_clear(k->out);
	buf_printf(k->out, "{\"error\":\"%s\",\"message\":\"%s\",\"code\":%d}", text, text, code);
}

void etcd_header(struct buf *out, const struct etcd_member *m, uint64_t revision)
{
	buf_printf(out,
		   "\"header\":{\"cluster_id\":\"" CLUSTER_ID "\",\"member_id\":\"%" PRIu64
		   "\",\"revision\":\"%" PRIu64 "\",\"raft_term\":\"%" PRIu64 "\"}",
		   m->id, revision, m->c->term);
}

void etcd_b64(struct buf *out, const char *name, const char *data, size_t len)
{
	buf_printf(out, "\"%s\":\"", name);
	text_base64(out, data, len);
	buf_text(out, "\"");
}

void etcd_kv(struct buf *out, const struct etcd_key *k, const struct etcd_version *v)
{
	buf_text(out, "{");
	etcd_b64(out, "key", k->key, k->len);
	buf_printf(out,
		   ",\"create_revision\":\"%" PRIu64 "\",\"mod_revision\":\"%" PRIu64
		   "\",\"version\":\"%" PRIu64 "\"",
		   v->create, v->mod, v->version);
	if (v->len > 0) {
		buf_text(out, ",");
		etcd_b64(out, "value", v->value, v->len);
	}
	if (v->lease)
		buf_printf(out, ",\"lease\":\"%" PRIu64 "\"", v->lease);
	buf_text(out, "}");
}

/* The reply's own header, or the short one of an operation inside a transaction. */
static void open_answer(struct call *k, bool inner, uint64_t revision)
{
	buf_text(k->out, "{");
	if (inner)
		buf_printf(k->out, "\"header\":{\"revision\":\"%" PRIu64 "\"}", revision);
	else
		etcd_header(k->out, k->m, revision);
}

/* ---- ranges ---- */

struct range_bufs {
	struct buf key, end;
	struct etcd_range r;
};

static bool read_range(struct call *k, const json_t *o, struct range_bufs *b)
{
	*b = (struct range_bufs){0};
	if (!etcd_bytes(o, "key", &b->key) || !etcd_bytes(o, "range_end", &b->end)) {
		fail(k, 400, 3, "illegal base64 data at input byte 0");
		return false;
	}
	if (b->key.len == 0) {
		fail(k, 400, 3, "etcdserver: key is not provided");
		return false;
	}
	b->r = (struct etcd_range){.key = b->key.data,
				   .key_len = b->key.len,
				   .end = b->end.data,
				   .end_len = b->end.len};
	return true;
}

static void range_fini(struct range_bufs *b)
{
	buf_fini(&b->key);
	buf_fini(&b->end);
}

static void write_kvs(struct call *k, const json_t *o, const struct etcd_range *r, uint64_t view)
{
	const struct etcd_store *st = &k->c->store;
	uint64_t limit = etcd_u64(o, "limit"), count = 0, shown = 0;
	bool only_count = is_true(o, "count_only"), only_keys = is_true(o, "keys_only");
	for (size_t i = etcd_store_first(st, r); i < st->n_keys; i++) {
		if (!etcd_range_has(r, st->keys[i]))
			break;
		const struct etcd_version *v = etcd_key_at(st->keys[i], view);
		if (v == NULL)
			continue;
		count++;
		if (only_count || (limit && shown == limit))
			continue;
		struct etcd_version bare = *v;
		bare.len = only_keys ? 0 : v->len;
		buf_text(k->out, shown++ ? "," : ",\"kvs\":[");
		etcd_kv(k->out, st->keys[i], &bare);
	}
	if (shown)
		buf_text(k->out, "]");
	if (shown < count && !only_count)
		buf_text(k->out, ",\"more\":true");
	if (count)
		buf_printf(k->out, ",\"count\":\"%" PRIu64 "\"", count);
}

static void run_range_op(struct call *k, const json_t *o, bool inner)
{
	struct range_bufs b;
	uint64_t revision = etcd_u64(o, "revision");
	if (!read_range(k, o, &b)) {
		range_fini(&b);
		return;
	}
	if (revision > k->view)
		fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	else if (revision && revision < k->c->store.compacted)
		fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	if (k->status == 0) {
		open_answer(k, inner, k->view);
		write_kvs(k, o, &b.r, revision ? revision : k->view);
		buf_text(k->out, "}");
	}
	range_fini(&b);
}

static void run_range(struct call *k)
{
	run_range_op(k, k->body, false);
}

/* ---- writes: all of one request get the revision k->view + 1 ---- */

static void check_put(struct call *k, const json_t *o)
{
	struct buf key = {0}, value = {0};
	uint64_t lease = etcd_u64(o, "lease");
	if (!etcd_bytes(o, "key", &key) || !etcd_bytes(o, "value", &value))
		fail(k, 400, 3, "illegal base64 data at input byte 0");
	else if (key.len == 0)
		fail(k, 400, 3, "etcdserver: key is not provided");
	else if (value.len + key.len > ETCD_REQUEST_BYTES_MAX)
		fail(k, 400, 3, "etcdserver: request is too large");
	else if (k->c->nospace)
		fail(k, 429, 8, "etcdserver: mvcc: database space exceeded");
	else if (lease && etcd_lease_find(k->c, lease) == NULL)
		fail(k, 404, 5, "etcdserver: requested lease not found");
	buf_fini(&key);
	buf_fini(&value);
}

static const struct etcd_key *find_key(struct call *k, const struct buf *key,
				       const struct etcd_version **out_version, uint64_t view)
{
	struct etcd_range r = {.key = key->data, .key_len = key->len};
	size_t i = etcd_store_first(&k->c->store, &r);
	*out_version = NULL;
	if (i >= k->c->store.n_keys || !etcd_range_has(&r, k->c->store.keys[i]))
		return NULL;
	*out_version = etcd_key_at(k->c->store.keys[i], view);
	return k->c->store.keys[i];
}

static void put_op(struct call *k, const json_t *o, uint64_t revision, bool inner)
{
	struct buf key = {0}, value = {0};
	const struct etcd_version *old;
	(void)etcd_bytes(o, "key", &key);
	(void)etcd_bytes(o, "value", &value);
	const struct etcd_key *found = find_key(k, &key, &old, revision);
	open_answer(k, inner, revision);
	if (old && is_true(o, "prev_kv")) {
		buf_text(k->out, ",\"prev_kv\":");
		etcd_kv(k->out, found, old);
	}
	buf_text(k->out, "}");
	etcd_store_put(&k->c->store, revision, key.data, key.len, value.data, value.len,
		       etcd_u64(o, "lease"));
	buf_fini(&key);
	buf_fini(&value);
}

static uint64_t delete_op(struct call *k, const json_t *o, uint64_t revision, bool changed_before,
			  bool inner)
{
	struct etcd_store *st = &k->c->store;
	struct range_bufs b;
	struct buf previous = {0};
	uint64_t n = 0;
	(void)read_range(k, o, &b);
	for (size_t i = etcd_store_first(st, &b.r); i < st->n_keys; i++) {
		if (!etcd_range_has(&b.r, st->keys[i]))
			break;
		const struct etcd_version *v = etcd_key_at(st->keys[i], revision);
		if (v == NULL)
			continue;
		if (is_true(o, "prev_kv")) {
			buf_text(&previous, n ? "," : "");
			etcd_kv(&previous, st->keys[i], v);
		}
		etcd_store_delete(st, revision, st->keys[i]);
		n++;
	}
	open_answer(k, inner, n || changed_before ? revision : revision - 1);
	if (n)
		buf_printf(k->out, ",\"deleted\":\"%" PRIu64 "\"", n);
	if (previous.len)
		buf_printf(k->out, ",\"prev_kvs\":[%s]", previous.data);
	buf_text(k->out, "}");
	buf_fini(&previous);
	range_fini(&b);
	return n;
}

static void committed(struct call *k, bool changed)
{
	if (!changed)
		return;
	k->c->store.revision = k->view + 1;
	etcd_publish(k->c);
}

static void run_put(struct call *k)
{
	check_put(k, k->body);
	if (k->status)
		return;
	etcd_tell_single(k->c, "put", k->body);
	put_op(k, k->body, k->view + 1, false);
	committed(k, true);
}

static void run_delete(struct call *k)
{
	struct range_bufs b;
	etcd_tell_single(k->c, "delete", k->body);
	if (read_range(k, k->body, &b))
		committed(k, delete_op(k, k->body, k->view + 1, false, false) > 0);
	range_fini(&b);
}

/* ---- transactions ---- */

static bool relation_holds(const char *result, int order)
{
	if (strcmp(result, "EQUAL") == 0)
		return order == 0;
	if (strcmp(result, "GREATER") == 0)
		return order > 0;
	if (strcmp(result, "LESS") == 0)
		return order < 0;
	return order != 0; /* NOT_EQUAL */
}

static int order_of(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int order_of_bytes(const struct etcd_version *v, const struct buf *b)
{
	size_t least = v->len < b->len ? v->len : b->len;
	int order = least ? memcmp(v->value, b->data, least) : 0;
	return order != 0 ? order : order_of(v->len, b->len);
}

static const char *text_or(const json_t *o, const char *name, const char *fallback)
{
	const char *text = json_string_value(get(o, name));
	return text ? text : fallback;
}

/* v is all zero for a key that does not exist. */
static bool compare_one(const json_t *o, const struct etcd_version *v)
{
	const char *target = text_or(o, "target", "VERSION");
	const char *result = text_or(o, "result", "EQUAL");
	if (strcmp(target, "VALUE") == 0) {
		struct buf want = {0};
		(void)etcd_bytes(o, "value", &want);
		bool holds = v->value && relation_holds(result, order_of_bytes(v, &want));
		buf_fini(&want);
		return holds;
	}
	uint64_t have = v->version, want = etcd_u64(o, "version");
	if (strcmp(target, "CREATE") == 0) {
		have = v->create;
		want = etcd_u64(o, "create_revision");
	} else if (strcmp(target, "MOD") == 0) {
		have = v->mod;
		want = etcd_u64(o, "mod_revision");
	} else if (strcmp(target, "LEASE") == 0) {
		have = v->lease;
		want = etcd_u64(o, "lease");
	}
	return relation_holds(result, order_of(have, want));
}

/* Over a range: for every key in it; over an empty one: as for a key that does not exist. */
static bool compare_holds(struct call *k, const json_t *o)
{
	static const struct etcd_version nothing = {0};
	const struct etcd_store *st = &k->c->store;
	struct range_bufs b;
	bool holds = read_range(k, o, &b), any = false;
	for (size_t i = holds ? etcd_store_first(st, &b.r) : st->n_keys; i < st->n_keys; i++) {
		if (!etcd_range_has(&b.r, st->keys[i]))
			break;
		const struct etcd_version *v = etcd_key_at(st->keys[i], k->view);
		if (v == NULL)
			continue;
		any = true;
		holds = holds && compare_one(o, v);
	}
	range_fini(&b);
	return any ? holds : holds && compare_one(o, &nothing);
}

static const json_t *put_of(const json_t *op)
{
	return get(op, "request_put");
}

static const json_t *delete_of(const json_t *op)
{
	return get(op, "request_delete_range");
}

static const json_t *range_of(const json_t *op)
{
	return get(op, "request_range");
}

/* A put of a key that another put or a deletion of the same branch touches. */
static bool is_touched(struct call *k, const json_t *ops, const json_t *op)
{
	struct range_bufs key, other;
	size_t i;
	const json_t *o;
	bool touched = false;
	if (read_range(k, put_of(op), &key)) {
		struct etcd_key one = {.key = key.key.data, .len = key.key.len};
		json_array_foreach (ops, i, o) {
			const json_t *write = put_of(o) ? put_of(o) : delete_of(o);
			if (o == op || write == NULL)
				continue;
			touched |= read_range(k, write, &other) && etcd_range_has(&other.r, &one);
			range_fini(&other);
		}
	}
	range_fini(&key);
	return touched;
}

static void check_range_op(struct call *k, const json_t *o)
{
	struct range_bufs b;
	uint64_t revision = etcd_u64(o, "revision");
	if (read_range(k, o, &b) && revision > k->view)
		fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	else if (revision && revision < k->c->store.compacted)
		fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	range_fini(&b);
}

/* Of either branch, taken or not. */
static void check_ops(struct call *k, const json_t *ops)
{
	size_t i;
	const json_t *op;
	if (json_array_size(ops) > ETCD_OPS_MAX)
		fail(k, 400, 3, "etcdserver: too many operations in txn request");
	json_array_foreach (ops, i, op) {
		struct range_bufs b = {0};
		if (put_of(op))
			check_put(k, put_of(op));
		else if (delete_of(op) || range_of(op))
			(void)read_range(k, delete_of(op) ? delete_of(op) : range_of(op), &b);
		range_fini(&b);
		if (put_of(op) && is_touched(k, ops, op))
			fail(k, 400, 3, "etcdserver: duplicate key given in txn request");
	}
}

/* Of the branch that is taken, before anything is changed. */
static void check_ranges(struct call *k, const json_t *ops)
{
	size_t i;
	const json_t *op;
	json_array_foreach (ops, i, op) {
		if (range_of(op))
			check_range_op(k, range_of(op));
	}
}

static bool run_ops(struct call *k, const json_t *ops)
{
	uint64_t before = k->view;
	bool changed = false;
	size_t i;
	const json_t *op;
	json_array_foreach (ops, i, op) {
		buf_text(k->out, i ? "," : ",\"responses\":[");
		if (put_of(op)) {
			buf_text(k->out, "{\"response_put\":");
			put_op(k, put_of(op), before + 1, true);
			changed = true;
		} else if (delete_of(op)) {
			buf_text(k->out, "{\"response_delete_range\":");
			changed |= delete_op(k, delete_of(op), before + 1, changed, true) > 0;
		} else {
			buf_text(k->out, "{\"response_range\":");
			k->view = changed ? before + 1 : before;
			run_range_op(k, range_of(op), true);
			k->view = before;
		}
		buf_text(k->out, "}");
	}
	if (json_array_size(ops) > 0)
		buf_text(k->out, "]");
	return changed;
}

static void run_txn(struct call *k)
{
	const json_t *compares = get(k->body, "compare");
	const json_t *success = get(k->body, "success"), *failure = get(k->body, "failure");
	bool holds = true;
	size_t i;
	const json_t *o;
	if (json_array_size(compares) > ETCD_OPS_MAX)
		fail(k, 400, 3, "etcdserver: too many operations in txn request");
	check_ops(k, success);
	check_ops(k, failure);
	json_array_foreach (compares, i, o)
		holds = holds && compare_holds(k, o);
	check_ranges(k, holds ? success : failure);
	if (k->status)
		return;
	etcd_tell_txn(k->c, compares, holds ? success : failure, holds);
	struct buf inner = {0}, *whole = k->out;
	k->out = &inner;
	bool changed = run_ops(k, holds ? success : failure);
	k->out = whole;
	open_answer(k, false, changed ? k->view + 1 : k->view);
	buf_text(k->out, holds ? ",\"succeeded\":true" : "");
	buf_add(k->out, inner.len ? inner.data : "", inner.len);
	buf_text(k->out, "}");
	buf_fini(&inner);
	committed(k, changed);
}

static bool any_op(const json_t *ops, bool (*is)(const json_t *op))
{
	size_t i;
	const json_t *op;
	json_array_foreach (ops, i, op) {
		if (is(op))
			return true;
	}
	return false;
}

static bool is_write(const json_t *op)
{
	return put_of(op) || delete_of(op);
}

static bool is_linear_read(const json_t *op)
{
	return range_of(op) && !is_true(range_of(op), "serializable");
}

static enum etcd_class class_of_txn(const json_t *body)
{
	const json_t *success = get(body, "success"), *failure = get(body, "failure");
	if (any_op(success, is_write) || any_op(failure, is_write))
		return ETCD_WRITE;
	if (any_op(success, is_linear_read) || any_op(failure, is_linear_read))
		return ETCD_READ;
	return ETCD_LOCAL;
}

static void run_compaction(struct call *k)
{
	uint64_t revision = etcd_u64(k->body, "revision");
	if (revision <= k->c->store.compacted)
		fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	else if (revision > k->c->store.revision)
		fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	if (k->status)
		return;
	k->c->store.compacted = revision;
	open_answer(k, false, k->view);
	buf_text(k->out, "}");
}

/* ---- leases ---- */

static void run_grant(struct call *k)
{
	uint64_t id = etcd_u64(k->body, "ID");
	if (k->c->nospace)
		fail(k, 429, 8, "etcdserver: mvcc: database space exceeded");
	else if (id && etcd_lease_find(k->c, id))
		fail(k, 412, 9, "etcdserver: lease already exists");
	if (k->status)
		return;
	if (id == 0)
		id = prng_next(&k->c->rng) >> 1;
	struct etcd_lease *l = etcd_lease_new(k->c, id, etcd_u64(k->body, "TTL"));
	open_answer(k, false, k->view);
	buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\",\"TTL\":\"%" PRIu64 "\"}", l->id, l->ttl_s);
}

static void run_keepalive(struct call *k)
{
	size_t i;
	const json_t *o;
	bool deposed = k->m != k->c->leader && k->m->lying_until_us > sim_now_us(k->c->sim);
	json_array_foreach (k->bodies, i, o) {
		uint64_t id = etcd_u64(o, "ID");
		struct etcd_lease *l = etcd_lease_find(k->c, id);
		if (l && !deposed && l->deadline_ms <= world_now_ms(k->c->leader->w))
			l = NULL; /* run out, and about to be revoked: not renewed any more */
		buf_text(k->out, "{\"result\":");
		open_answer(k, false, k->view);
		buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\"", id);
		if (l)
			buf_printf(k->out, ",\"TTL\":\"%" PRIu64 "\"", l->ttl_s);
		buf_text(k->out, "}}\n");
		if (l && !deposed)
			etcd_lease_renew(k->c, l);
	}
}

static void write_lease_keys(struct call *k, uint64_t id)
{
	const struct etcd_store *st = &k->c->store;
	unsigned n = 0;
	for (size_t i = 0; i < st->n_keys; i++) {
		const struct etcd_version *v = etcd_key_at(st->keys[i], k->view);
		if (v == NULL || v->lease != id)
			continue;
		buf_text(k->out, n++ ? ",\"" : ",\"keys\":[\"");
		text_base64(k->out, st->keys[i]->key, st->keys[i]->len);
		buf_text(k->out, "\"");
	}
	if (n)
		buf_text(k->out, "]");
}

static void run_timetolive(struct call *k)
{
	uint64_t id = etcd_u64(k->body, "ID");
	struct etcd_lease *l = etcd_lease_find(k->c, id);
	open_answer(k, false, k->view);
	buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\"", id);
	if (l == NULL) {
		buf_text(k->out, ",\"TTL\":\"-1\"}");
		return;
	}
	uint64_t now_ms = world_now_ms(k->c->leader ? k->c->leader->w : k->m->w);
	uint64_t left_s = l->deadline_ms > now_ms ? (l->deadline_ms - now_ms) / 1000 : 0;
	if (left_s)
		buf_printf(k->out, ",\"TTL\":\"%" PRIu64 "\"", left_s);
	buf_printf(k->out, ",\"grantedTTL\":\"%" PRIu64 "\"", l->ttl_s);
	if (is_true(k->body, "keys"))
		write_lease_keys(k, id);
	buf_text(k->out, "}");
}

static void run_revoke(struct call *k)
{
	struct etcd_lease *l = etcd_lease_find(k->c, etcd_u64(k->body, "ID"));
	if (l == NULL) {
		fail(k, 404, 5, "etcdserver: requested lease not found");
		return;
	}
	etcd_lease_revoke(k->c, l);
	open_answer(k, false, k->c->store.revision);
	buf_text(k->out, "}");
}

static void run_leases(struct call *k)
{
	unsigned n = 0;
	open_answer(k, false, k->view);
	list_each (struct etcd_lease, l, &k->c->leases, hook)
		buf_printf(k->out, "%s{\"ID\":\"%" PRIu64 "\"}", n++ ? "," : ",\"leases\":[",
			   l->id);
	buf_text(k->out, n ? "]}" : "}");
}

/* ---- the rest ---- */

static void run_status(struct call *k)
{
	open_answer(k, false, k->view);
	buf_printf(k->out, ",\"version\":\"3.4.23\",\"dbSize\":\"%zu\"",
		   20480 + 256 * k->c->store.n_log);
	if (!etcd_knows_no_leader(k->m) && k->c->leader)
		buf_printf(k->out, ",\"leader\":\"%" PRIu64 "\"", k->c->leader->id);
	buf_printf(k->out,
		   ",\"raftIndex\":\"%" PRIu64 "\",\"raftTerm\":\"%" PRIu64
		   "\",\"raftAppliedIndex\":\"%" PRIu64 "\",\"dbSizeInUse\":\"%zu\"",
		   k->view + 7, k->c->term, k->view + 7, 16384 + 256 * k->c->store.n_log);
	if (etcd_knows_no_leader(k->m))
		buf_text(k->out, ",\"errors\":[\"etcdserver: no leader\"]");
	buf_text(k->out, "}");
}

/* Disarming needs the member that raised the alarm; without it: OK, and nothing happens. */
static void run_alarm(struct call *k)
{
	const char *action = text_or(k->body, "action", "GET");
	uint64_t raised_by = k->c->members[0].id;
	bool named = etcd_u64(k->body, "memberID") == raised_by;
	bool show = k->c->nospace;
	if (strcmp(action, "DEACTIVATE") == 0) {
		show = k->c->nospace && named;
		if (named)
			k->c->nospace = false;
	}
	/* The one answer without a header. */
	if (show)
		buf_printf(k->out,
			   "{\"alarms\":[{\"memberID\":\"%" PRIu64 "\",\"alarm\":\"NOSPACE\"}]}",
			   raised_by);
	else
		buf_text(k->out, "{}");
}

static void run_defragment(struct call *k)
{
	open_answer(k, false, k->view);
	buf_text(k->out, "}");
}

static void run_members(struct call *k)
{
	open_answer(k, false, k->view);
	for (unsigned i = 0; i < k->c->n_members; i++) {
		const struct etcd_member *m = &k->c->members[i];
		buf_printf(k->out,
			   "%s{\"ID\":\"%" PRIu64
			   "\",\"name\":\"%s\",\"peerURLs\":[\"http://%s:2380\"],"
			   "\"clientURLs\":[\"http://%s\"]}",
			   i ? "," : ",\"members\":[", m->id, m->name, m->name, m->address);
	}
	buf_text(k->out, "]}");
}

static void run_authenticate(struct call *k)
{
	fail(k, 412, 9, "etcdserver: authentication is not enabled");
}

static const struct route routes[] = {
	{"/v3/kv/range", ETCD_READ, run_range},
	{"/v3/kv/put", ETCD_WRITE, run_put},
	{"/v3/kv/deleterange", ETCD_WRITE, run_delete},
	{"/v3/kv/txn", ETCD_WRITE, run_txn},
	{"/v3/kv/compaction", ETCD_WRITE, run_compaction},
	{"/v3/lease/grant", ETCD_WRITE, run_grant},
	{"/v3/lease/keepalive", ETCD_LEADER, run_keepalive},
	{"/v3/lease/timetolive", ETCD_LEADER, run_timetolive},
	{"/v3/lease/revoke", ETCD_WRITE, run_revoke},
	{"/v3/lease/leases", ETCD_LOCAL, run_leases},
	{"/v3/maintenance/status", ETCD_LOCAL, run_status},
	{"/v3/maintenance/alarm", ETCD_WRITE, run_alarm},
	{"/v3/maintenance/defragment", ETCD_LOCAL, run_defragment},
	{"/v3/cluster/member/list", ETCD_LOCAL, run_members},
	{"/v3/auth/authenticate", ETCD_WRITE, run_authenticate},
};

static const struct route *find_route(const char *path)
{
	char plain[64];
	if (text_starts(path, "/v3beta/"))
		snprintf(plain, sizeof(plain), "/v3/%s", path + 8);
	else
		snprintf(plain, sizeof(plain), "%s", path);
	if (text_starts(plain, "/v3/kv/lease/"))
		memmove(plain + 4, plain + 7, strlen(plain + 7) + 1);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(routes[i].path, plain) == 0)
			return &routes[i];
	}
	return NULL;
}

/* ---- carrying out ---- */

static uint64_t view_of(struct etcd_member *m, enum etcd_class class)
{
	struct sim_etcd *c = m->c;
	if (class == ETCD_LOCAL || (class == ETCD_LEADER && !etcd_is_connected(m)))
		return m->applied;
	if (class == ETCD_READ && c->stale_reads_ppm && c->store.revision > 1 &&
	    prng_chance(&c->rng, c->stale_reads_ppm))
		return c->store.revision - 1;
	return c->store.revision;
}

/* r NULL: carried out, and nobody hears the answer. */
static void carry_out(struct etcd_member *m, const struct route *route, enum etcd_class class,
		      const json_t *bodies, struct world_request *r)
{
	struct buf out = {0};
	struct call k = {.m = m,
			 .c = m->c,
			 .bodies = bodies,
			 .body = json_array_get(bodies, 0),
			 .view = view_of(m, class),
			 .out = &out};
	route->run(&k);
	if (r) {
		struct world_header type = {"Content-Type", "application/json"};
		world_reply_with(m->w, r, k.status ? k.status : 200, &type, 1, out.data, out.len);
	}
	buf_fini(&out);
}

static void refuse(struct etcd_member *m, struct world_request *r, int status, int code,
		   const char *text)
{
	struct buf out = {0};
	struct call k = {.out = &out};
	fail(&k, status, code, text);
	world_reply(m->w, r, status, out.data, out.len);
	buf_fini(&out);
}

static bool is_ready(struct etcd_member *m, enum etcd_class class)
{
	if (class == ETCD_LOCAL)
		return true;
	if (class == ETCD_LEADER &&
	    (m == m->c->leader || m->lying_until_us > sim_now_us(m->c->sim)))
		return true;
	return etcd_is_connected(m);
}

/* ---- waiting ---- */

/* "500m", "3S": the client's own deadline. */
static uint64_t deadline_of(struct etcd_member *m, const struct world_request *r)
{
	const char *text = r->header(r, "Grpc-Timeout");
	uint64_t ms = ETCD_REQUEST_MS;
	if (text) {
		uint64_t n = strtoull(text, NULL, 10);
		uint64_t asked = text[strlen(text) - 1] == 'S' ? n * 1000 : n;
		ms = asked < ms ? asked : ms;
	}
	return sim_now_us(m->c->sim) + ms * 1000;
}

static bool is_cut_from_leader(struct etcd_member *m)
{
	struct sim_etcd *c = m->c;
	if (c->leader == NULL || c->leader->w == NULL)
		return true;
	return sim_is_cut(c->sim, sim_world_of(m->w)->node, sim_world_of(c->leader->w)->node);
}

static void wait_for_quorum(struct etcd_member *m, struct world_request *r, enum etcd_class class,
			    json_t *bodies)
{
	struct sim_etcd *c = m->c;
	struct etcd_pending *p = mem_alloc(sizeof(*p));
	*p = (struct etcd_pending){.m = m,
				   .r = r,
				   .path = mem_text(r->path),
				   .body = json_incref(bodies),
				   .class = class,
				   .deadline_us = deadline_of(m, r),
				   .client_deadline = r->header(r, "Grpc-Timeout") != NULL,
				   .term = c->term,
				   .lost = is_cut_from_leader(m),
				   .leaderless = c->leader == NULL};
	list_append(&c->pending, &p->hook);
}

static void pending_free(struct etcd_pending *p)
{
	list_remove(&p->hook);
	json_decref(p->body);
	free(p->path);
	free(p);
}

static void run_pending(struct etcd_pending *p, bool answer)
{
	struct world_request *r = answer ? p->r : NULL;
	if (answer)
		p->r = NULL;
	carry_out(p->m, find_route(p->path), p->class, p->body, r);
}

static void time_out(struct etcd_pending *p)
{
	if (p->client_deadline)
		refuse(p->m, p->r, 504, 4, "context deadline exceeded");
	else if (p->class == ETCD_WRITE && p->leaderless)
		refuse(p->m, p->r, 500, 2, "context deadline exceeded");
	else if (p->class == ETCD_WRITE && p->lost)
		refuse(p->m, p->r, 503, 14,
		       "etcdserver: request timed out, possibly due to connection lost");
	else
		refuse(p->m, p->r, 503, 14, "etcdserver: request timed out");
	p->r = NULL;
}

/* True when nothing is left of it. */
static bool step_pending(struct etcd_pending *p)
{
	struct sim_etcd *c = p->m->c;
	bool live = etcd_is_live(p->m);
	if (p->class == ETCD_WRITE && !p->lost && p->term == c->term && etcd_has_quorum(c)) {
		run_pending(p, live && p->r && etcd_is_connected(p->m));
		p->lost = true; /* once is enough; if its answer could not be given, none comes */
	}
	if (p->class != ETCD_WRITE && p->r && live && is_ready(p->m, p->class))
		run_pending(p, true);
	if (p->r && live && sim_now_us(c->sim) >= p->deadline_us)
		time_out(p);
	return p->r == NULL && (p->class != ETCD_WRITE || p->lost);
}

void etcd_pending_tick(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook) {
		if (step_pending(p))
			pending_free(p);
	}
}

/* What was in the old leader's log: a follower that had it may be the new leader, or not. */
void etcd_pending_term_ended(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook) {
		if (p->class != ETCD_WRITE || p->lost)
			continue;
		if (prng_chance(&c->rng, 500000))
			run_pending(p, false);
		p->lost = true;
	}
}

void etcd_pending_forget(struct etcd_member *m)
{
	list_each (struct etcd_pending, p, &m->c->pending, hook) {
		if (p->m == m)
			p->r = NULL;
	}
}

void etcd_pending_fini(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook)
		pending_free(p);
}

/* ---- the front door ---- */

/* Objects one behind the other; an empty body is an empty message. NULL: not JSON. */
static json_t *parse_bodies(const char *body, size_t len)
{
	json_t *all = json_array();
	size_t at = 0;
	while (at < len) {
		json_error_t error;
		json_t *o = json_loadb(body + at, len - at, JSON_DISABLE_EOF_CHECK, &error);
		if (o == NULL) {
			if (strspn(body + at, " \r\n\t") == len - at)
				break;
			json_decref(all);
			return NULL;
		}
		json_array_append_new(all, o);
		at += (size_t)error.position;
	}
	if (json_array_size(all) == 0)
		json_array_append_new(all, json_object());
	return all;
}

static void serve(struct etcd_member *m, struct world_request *r, const struct route *route,
		  json_t *bodies)
{
	const json_t *body = json_array_get(bodies, 0);
	enum etcd_class class = route->class;
	if (route->run == run_txn)
		class = class_of_txn(body);
	if (route->run == run_range && is_true(body, "serializable"))
		class = ETCD_LOCAL;
	if (r->header(r, "Grpc-Metadata-hasleader") && etcd_knows_no_leader(m))
		refuse(m, r, 503, 14, "etcdserver: no leader");
	else if (is_ready(m, class))
		carry_out(m, route, class, bodies, r);
	else
		wait_for_quorum(m, r, class, bodies);
}

static void serve_get(struct etcd_member *m, struct world_request *r)
{
	static const char version[] = "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}";
	bool healthy = etcd_is_connected(m) && !m->c->nospace;
	const char *health = healthy ? "{\"health\":\"true\"}" : "{\"health\":\"false\"}";
	if (strcmp(r->path, "/version") == 0)
		world_reply(m->w, r, 200, version, sizeof(version) - 1);
	else if (strcmp(r->path, "/health") == 0)
		world_reply(m->w, r, healthy ? 200 : 503, health, strlen(health));
	else if (text_starts(r->path, "/v3"))
		world_reply(m->w, r, 405, "Method Not Allowed", 18);
	else
		world_reply(m->w, r, 404, "404 page not found", 18);
}

void etcd_on_request(struct world_server *s, struct world_request *r)
{
	struct etcd_member *m = MEM_OWNER(s, struct etcd_member, server);
	if (strcmp(r->method, "POST") != 0) {
		serve_get(m, r);
		return;
	}
	if (strcmp(r->path, "/v3/watch") == 0) {
		etcd_watch(m, r, r->body, r->body_len);
		return;
	}
	const struct route *route = find_route(r->path);
	if (route == NULL) {
		world_reply(m->w, r, 404, "Not Found\n", 10);
		return;
	}
	json_t *bodies = parse_bodies(r->body, r->body_len);
	if (bodies == NULL) {
		refuse(m, r, 400, 3, "unexpected EOF");
		return;
	}
	serve(m, r, route, bodies);
	json_decref(bodies);
}

void etcd_on_gone(struct world_server *s, struct world_request *r)
{
	struct etcd_member *m = MEM_OWNER(s, struct etcd_member, server);
	list_each (struct etcd_pending, p, &m->c->pending, hook) {
		if (p->r == r)
			p->r = NULL;
	}
	etcd_watch_gone(r);
}
