/* Ranges, puts, deletions. */
#include <inttypes.h>
#include <string.h>

#include "world/sim/etcd_call.h"

/* ---- ranges ---- */

bool etcd_range_read(struct etcd_call *k, const json_t *o, struct etcd_range_bufs *b)
{
	*b = (struct etcd_range_bufs){0};
	if (!etcd_bytes(o, "key", &b->key) || !etcd_bytes(o, "range_end", &b->end)) {
		etcd_fail(k, 400, 3, "illegal base64 data at input byte 0");
		return false;
	}
	if (b->key.len == 0) {
		etcd_fail(k, 400, 3, "etcdserver: key is not provided");
		return false;
	}
	b->r = (struct etcd_range){.key = b->key.data,
				   .key_len = b->key.len,
				   .end = b->end.data,
				   .end_len = b->end.len};
	return true;
}

void etcd_range_fini(struct etcd_range_bufs *b)
{
	buf_fini(&b->key);
	buf_fini(&b->end);
}

static void write_kvs(struct etcd_call *k, const json_t *o, const struct etcd_range *r,
		      uint64_t view)
{
	const struct etcd_store *st = &k->c->store;
	uint64_t limit = etcd_u64(o, "limit"), count = 0, shown = 0;
	bool only_count = etcd_true(o, "count_only"), only_keys = etcd_true(o, "keys_only");
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

void etcd_range_op(struct etcd_call *k, const json_t *o, bool inner)
{
	struct etcd_range_bufs b;
	uint64_t revision = etcd_u64(o, "revision");
	if (!etcd_range_read(k, o, &b)) {
		etcd_range_fini(&b);
		return;
	}
	if (revision > k->view)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	else if (revision && revision < k->c->store.compacted)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	if (k->status == 0) {
		etcd_open_answer(k, inner, k->view);
		write_kvs(k, o, &b.r, revision ? revision : k->view);
		buf_text(k->out, "}");
	}
	etcd_range_fini(&b);
}

void etcd_run_range(struct etcd_call *k)
{
	etcd_range_op(k, k->body, false);
}

/* ---- writes: all of one request get the revision k->view + 1 ---- */

void etcd_check_put(struct etcd_call *k, const json_t *o)
{
	struct buf key = {0}, value = {0};
	uint64_t lease = etcd_u64(o, "lease");
	if (!etcd_bytes(o, "key", &key) || !etcd_bytes(o, "value", &value))
		etcd_fail(k, 400, 3, "illegal base64 data at input byte 0");
	else if (key.len == 0)
		etcd_fail(k, 400, 3, "etcdserver: key is not provided");
	else if (value.len + key.len > ETCD_REQUEST_BYTES_MAX)
		etcd_fail(k, 400, 3, "etcdserver: request is too large");
	else if (k->c->nospace)
		etcd_fail(k, 429, 8, "etcdserver: mvcc: database space exceeded");
	else if (lease && etcd_lease_find(k->c, lease) == NULL)
		etcd_fail(k, 404, 5, "etcdserver: requested lease not found");
	buf_fini(&key);
	buf_fini(&value);
}

static const struct etcd_key *find_key(struct etcd_call *k, const struct buf *key,
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

void etcd_put_op(struct etcd_call *k, const json_t *o, uint64_t revision, bool inner)
{
	struct buf key = {0}, value = {0};
	const struct etcd_version *old;
	(void)etcd_bytes(o, "key", &key);
	(void)etcd_bytes(o, "value", &value);
	const struct etcd_key *found = find_key(k, &key, &old, revision);
	etcd_open_answer(k, inner, revision);
	if (old && etcd_true(o, "prev_kv")) {
		buf_text(k->out, ",\"prev_kv\":");
		etcd_kv(k->out, found, old);
	}
	buf_text(k->out, "}");
	etcd_store_put(&k->c->store, revision, key.data, key.len, value.data, value.len,
		       etcd_u64(o, "lease"));
	buf_fini(&key);
	buf_fini(&value);
}

uint64_t etcd_delete_op(struct etcd_call *k, const json_t *o, uint64_t revision,
			bool changed_before, bool inner)
{
	struct etcd_store *st = &k->c->store;
	struct etcd_range_bufs b;
	struct buf previous = {0};
	uint64_t n = 0;
	(void)etcd_range_read(k, o, &b);
	for (size_t i = etcd_store_first(st, &b.r); i < st->n_keys; i++) {
		if (!etcd_range_has(&b.r, st->keys[i]))
			break;
		const struct etcd_version *v = etcd_key_at(st->keys[i], revision);
		if (v == NULL)
			continue;
		if (etcd_true(o, "prev_kv")) {
			buf_text(&previous, n ? "," : "");
			etcd_kv(&previous, st->keys[i], v);
		}
		etcd_store_delete(st, revision, st->keys[i]);
		n++;
	}
	etcd_open_answer(k, inner, n || changed_before ? revision : revision - 1);
	if (n)
		buf_printf(k->out, ",\"deleted\":\"%" PRIu64 "\"", n);
	if (previous.len)
		buf_printf(k->out, ",\"prev_kvs\":[%s]", previous.data);
	buf_text(k->out, "}");
	buf_fini(&previous);
	etcd_range_fini(&b);
	return n;
}

void etcd_committed(struct etcd_call *k, bool changed)
{
	if (!changed)
		return;
	k->c->store.revision = k->view + 1;
	etcd_publish(k->c);
}

void etcd_run_put(struct etcd_call *k)
{
	etcd_check_put(k, k->body);
	if (k->status)
		return;
	etcd_tell_single(k->c, "put", k->body);
	etcd_put_op(k, k->body, k->view + 1, false);
	etcd_committed(k, true);
}

void etcd_run_delete(struct etcd_call *k)
{
	struct etcd_range_bufs b;
	etcd_tell_single(k->c, "delete", k->body);
	if (etcd_range_read(k, k->body, &b))
		etcd_committed(k, etcd_delete_op(k, k->body, k->view + 1, false, false) > 0);
	etcd_range_fini(&b);
}

void etcd_run_compaction(struct etcd_call *k)
{
	uint64_t revision = etcd_u64(k->body, "revision");
	if (revision <= k->c->store.compacted)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	else if (revision > k->c->store.revision)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	if (k->status)
		return;
	k->c->store.compacted = revision;
	etcd_open_answer(k, false, k->view);
	buf_text(k->out, "}");
}
