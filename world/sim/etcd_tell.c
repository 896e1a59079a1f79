/* What checkers are told of a write: the request, decoded. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/etcd_impl.h"

enum { TELL_MAX = 2 * ETCD_OPS_MAX };

/* Decoded texts of one request, freed together. */
struct texts {
	char *at[3 * TELL_MAX];
	unsigned n;
};

static const char *decode(struct texts *t, const json_t *o, const char *name)
{
	struct buf b = {0};
	if (!json_object_get(o, name) || t->n == sizeof(t->at) / sizeof(t->at[0]))
		return NULL;
	(void)etcd_bytes(o, name, &b);
	return t->at[t->n++] = b.data;
}

static const char *text_or(const json_t *o, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(o, name));
	return text ? text : fallback;
}

static void add_write(struct texts *t, struct sim_etcd_write *w, const json_t *put,
		      const json_t *deletion)
{
	const json_t *o = put ? put : deletion;
	const char *key = decode(t, o, "key"), *value = put ? decode(t, put, "value") : NULL;
	*w = (struct sim_etcd_write){.key = key ? key : "",
				     .range = json_object_get(o, "range_end") != NULL,
				     .value = put && !value ? "" : value,
				     .lease = put ? etcd_u64(put, "lease") : 0};
}

static void add_read(struct texts *t, struct sim_etcd_read *r, const json_t *range)
{
	const char *key = decode(t, range, "key");
	*r = (struct sim_etcd_read){.key = key ? key : "",
				    .range = json_object_get(range, "range_end") != NULL};
}

static unsigned compares_of(struct texts *t, const json_t *list, struct sim_etcd_compare *out)
{
	unsigned n = 0;
	size_t i;
	const json_t *o;
	json_array_foreach (list, i, o) {
		bool create = strcmp(text_or(o, "target", ""), "CREATE") == 0;
		const char *key = decode(t, o, "key");
		out[n++] = (struct sim_etcd_compare){
			.key = key ? key : "",
			.range = json_object_get(o, "range_end") != NULL,
			.target = text_or(o, "target", "VERSION"),
			.result = text_or(o, "result", "EQUAL"),
			.revision = etcd_u64(o, create ? "create_revision" : "mod_revision")};
	}
	return n;
}

static void tell(struct sim_etcd *c, struct texts *t, const struct sim_etcd_txn *txn)
{
	if (txn->n_writes)
		c->on_txn(c->txn_ctx, txn);
	while (t->n)
		free(t->at[--t->n]);
}

void etcd_tell_txn(struct sim_etcd *c, const json_t *compares, const json_t *ops, bool succeeded)
{
	struct texts t;
	struct sim_etcd_compare list[ETCD_OPS_MAX];
	struct sim_etcd_write writes[ETCD_OPS_MAX];
	struct sim_etcd_read reads[ETCD_OPS_MAX];
	struct sim_etcd_txn txn = {
		.compares = list, .writes = writes, .reads = reads, .succeeded = succeeded};
	size_t i;
	const json_t *op;
	if (!c->on_txn)
		return;
	t.n = 0;
	json_array_foreach (ops, i, op) {
		const json_t *put = json_object_get(op, "request_put");
		const json_t *deletion = json_object_get(op, "request_delete_range");
		if (put || deletion) {
			add_write(&t, &writes[txn.n_writes++], put, deletion);
			txn.n_reads = 0;
		} else {
			add_read(&t, &reads[txn.n_reads++], json_object_get(op, "request_range"));
		}
	}
	if (txn.n_writes)
		txn.n_compares = compares_of(&t, compares, list);
	tell(c, &t, &txn);
}

void etcd_tell_single(struct sim_etcd *c, const char *kind, const json_t *body)
{
	struct texts t;
	struct sim_etcd_write write;
	bool put = strcmp(kind, "put") == 0;
	if (!c->on_txn)
		return;
	t.n = 0;
	add_write(&t, &write, put ? body : NULL, put ? NULL : body);
	tell(c, &t, &(struct sim_etcd_txn){.writes = &write, .n_writes = 1, .succeeded = true});
}
