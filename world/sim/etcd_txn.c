/* Transactions: what they compare, what they refuse, what they do. */
#include <string.h>

#include "world/sim/etcd_call.h"

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

/* v is all zero for a key that does not exist. */
static bool compare_one(const json_t *o, const struct etcd_version *v)
{
	const char *target = etcd_text_or(o, "target", "VERSION");
	const char *result = etcd_text_or(o, "result", "EQUAL");
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
static bool compare_holds(struct etcd_call *k, const json_t *o)
{
	static const struct etcd_version nothing = {0};
	const struct etcd_store *st = &k->c->store;
	struct etcd_range_bufs b;
	bool holds = etcd_range_read(k, o, &b), any = false;
	for (size_t i = holds ? etcd_store_first(st, &b.r) : st->n_keys; i < st->n_keys; i++) {
		if (!etcd_range_has(&b.r, st->keys[i]))
			break;
		const struct etcd_version *v = etcd_key_at(st->keys[i], k->view);
		if (v == NULL)
			continue;
		any = true;
		holds = holds && compare_one(o, v);
	}
	etcd_range_fini(&b);
	return any ? holds : holds && compare_one(o, &nothing);
}

static const json_t *put_of(const json_t *op)
{
	return etcd_get(op, "request_put");
}

static const json_t *delete_of(const json_t *op)
{
	return etcd_get(op, "request_delete_range");
}

static const json_t *range_of(const json_t *op)
{
	return etcd_get(op, "request_range");
}

/* A put of a key that another put or a deletion of the same branch touches. */
static bool is_touched(struct etcd_call *k, const json_t *ops, const json_t *op)
{
	struct etcd_range_bufs key, other;
	size_t i;
	const json_t *o;
	bool touched = false;
	if (etcd_range_read(k, put_of(op), &key)) {
		struct etcd_key one = {.key = key.key.data, .len = key.key.len};
		json_array_foreach (ops, i, o) {
			const json_t *write = put_of(o) ? put_of(o) : delete_of(o);
			if (o == op || write == NULL)
				continue;
			touched |=
				etcd_range_read(k, write, &other) && etcd_range_has(&other.r, &one);
			etcd_range_fini(&other);
		}
	}
	etcd_range_fini(&key);
	return touched;
}

static void check_range_op(struct etcd_call *k, const json_t *o)
{
	struct etcd_range_bufs b;
	uint64_t revision = etcd_u64(o, "revision");
	if (etcd_range_read(k, o, &b) && revision > k->view)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision is a future revision");
	else if (revision && revision < k->c->store.compacted)
		etcd_fail(k, 400, 11, "etcdserver: mvcc: required revision has been compacted");
	etcd_range_fini(&b);
}

/* Of either branch, taken or not. */
static void check_ops(struct etcd_call *k, const json_t *ops)
{
	size_t i;
	const json_t *op;
	if (json_array_size(ops) > ETCD_OPS_MAX)
		etcd_fail(k, 400, 3, "etcdserver: too many operations in txn request");
	json_array_foreach (ops, i, op) {
		struct etcd_range_bufs b = {0};
		if (put_of(op))
			etcd_check_put(k, put_of(op));
		else if (delete_of(op) || range_of(op))
			(void)etcd_range_read(k, delete_of(op) ? delete_of(op) : range_of(op), &b);
		etcd_range_fini(&b);
		if (put_of(op) && is_touched(k, ops, op))
			etcd_fail(k, 400, 3, "etcdserver: duplicate key given in txn request");
	}
}

/* Of the branch that is taken, before anything is changed. */
static void check_ranges(struct etcd_call *k, const json_t *ops)
{
	size_t i;
	const json_t *op;
	json_array_foreach (ops, i, op) {
		if (range_of(op))
			check_range_op(k, range_of(op));
	}
}

static bool run_ops(struct etcd_call *k, const json_t *ops)
{
	uint64_t before = k->view;
	bool changed = false;
	size_t i;
	const json_t *op;
	json_array_foreach (ops, i, op) {
		buf_text(k->out, i ? "," : ",\"responses\":[");
		if (put_of(op)) {
			buf_text(k->out, "{\"response_put\":");
			etcd_put_op(k, put_of(op), before + 1, true);
			changed = true;
		} else if (delete_of(op)) {
			buf_text(k->out, "{\"response_delete_range\":");
			changed |= etcd_delete_op(k, delete_of(op), before + 1, changed, true) > 0;
		} else {
			buf_text(k->out, "{\"response_range\":");
			k->view = changed ? before + 1 : before;
			etcd_range_op(k, range_of(op), true);
			k->view = before;
		}
		buf_text(k->out, "}");
	}
	if (json_array_size(ops) > 0)
		buf_text(k->out, "]");
	return changed;
}

void etcd_run_txn(struct etcd_call *k)
{
	const json_t *compares = etcd_get(k->body, "compare");
	const json_t *success = etcd_get(k->body, "success"),
		     *failure = etcd_get(k->body, "failure");
	bool holds = true;
	size_t i;
	const json_t *o;
	if (json_array_size(compares) > ETCD_OPS_MAX)
		etcd_fail(k, 400, 3, "etcdserver: too many operations in txn request");
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
	etcd_open_answer(k, false, changed ? k->view + 1 : k->view);
	buf_text(k->out, holds ? ",\"succeeded\":true" : "");
	buf_add(k->out, inner.len ? inner.data : "", inner.len);
	buf_text(k->out, "}");
	buf_fini(&inner);
	etcd_committed(k, changed);
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
	return range_of(op) && !etcd_true(range_of(op), "serializable");
}

enum etcd_class etcd_class_of_txn(const json_t *body)
{
	const json_t *success = etcd_get(body, "success"), *failure = etcd_get(body, "failure");
	if (any_op(success, is_write) || any_op(failure, is_write))
		return ETCD_WRITE;
	if (any_op(success, is_linear_read) || any_op(failure, is_linear_read))
		return ETCD_READ;
	return ETCD_LOCAL;
}
