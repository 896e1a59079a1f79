#include "ha/fence.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ha/mutant.h"

enum { DECISION_BYTES_MAX = 1400 << 10 }; /* etcd refuses 1.5 MiB of the encoded request */
enum { ABSENT_MAX = 4 };

char *fence_key(const char *root, const char *relative)
{
	return mem_printf("%s%s", root, relative);
}

/* The layout of etcd's own concurrency.Election: prefix and lease in hexadecimal. */
char *fence_candidate_key(const char *root, uint64_t lease)
{
	return mem_printf("%sleader/%" PRIx64, root, lease);
}

static char *tag_key(const struct fence *f, unsigned slot)
{
	return mem_printf("%stag/%" PRIx64 "/%u", f->root, f->lease, slot);
}

static void tag_value(const struct fence *f, uint64_t number, char out[80])
{
	snprintf(out, 80, "%s %" PRIu64, f->instance, number);
}

/* Keys made for one request, freed together. */
struct keys {
	char *at[HA_TXN_OPS_MAX + ABSENT_MAX + 8];
	unsigned n;
};

static const char *own(struct keys *k, char *key)
{
	assert(k->n < sizeof k->at / sizeof k->at[0]);
	return k->at[k->n++] = key;
}

static void keys_fini(struct keys *k)
{
	while (k->n)
		free(k->at[--k->n]);
}

/* My key has my epoch, and no candidate has a lower one. (The second compare alone would be
 * false, not true, on an empty queue; the first makes sure that it is not empty.) */
static unsigned predicate(const struct fence *f, struct keys *k, struct wire_compare *c)
{
	c[0] = (struct wire_compare){.key = own(k, fence_candidate_key(f->root, f->lease)),
				     .target = WIRE_CREATE,
				     .relation = WIRE_EQUAL,
				     .revision = f->epoch};
	c[1] = (struct wire_compare){.key = own(k, fence_key(f->root, "leader/")),
				     .prefix = true,
				     .target = WIRE_CREATE,
				     .relation = WIRE_GREATER,
				     .revision = f->epoch - 1};
	return MUTANT_NO_RANGE_COMPARE ? 1 : 2;
}

static struct wire_op queue_range(const struct fence *f, struct keys *k)
{
	return (struct wire_op){
		.kind = WIRE_RANGE, .key = own(k, fence_key(f->root, "leader/")), .prefix = true};
}

static struct wire_op docs_range(const struct fence *f, struct keys *k, uint64_t page)
{
	return (struct wire_op){.kind = WIRE_RANGE,
				.key = own(k, fence_key(f->root, "run/")),
				.prefix = true,
				.limit = page};
}

/* ---- decisions ---- */

enum errc fence_check(const struct ha_txn *t, struct err *e)
{
	if (t->n_ops > HA_TXN_OPS_MAX)
		return err_set(e, ERR_LIMIT, "decision on %s: %u operations, at most %d",
			       t->chain_key, t->n_ops, HA_TXN_OPS_MAX);
	size_t bytes = 0;
	for (unsigned i = 0; i < t->n_ops; i++)
		bytes += strlen(t->ops[i].key) + t->ops[i].len + 32;
	if (bytes > DECISION_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "decision on %s: %zu bytes, at most %d", t->chain_key,
			       bytes, DECISION_BYTES_MAX);
	return ERR_OK;
}

static bool rewrites_chain(const struct ha_txn *t)
{
	for (unsigned i = 0; i < t->n_ops; i++)
		if (strcmp(t->ops[i].key, t->chain_key) == 0)
			return true;
	return false;
}

static bool deletes_chain(const struct ha_txn *t)
{
	for (unsigned i = 0; i < t->n_ops; i++)
		if (strcmp(t->ops[i].key, t->chain_key) == 0)
			return t->ops[i].value == NULL;
	return false;
}

static unsigned decision_compares(const struct fence *f, const struct ha_txn *t, struct keys *k,
				  struct wire_compare *c)
{
	unsigned n = MUTANT_PREDICATE_DROPPED ? 0 : predicate(f, k, c);
	if (!MUTANT_CHAIN_DROPPED)
		c[n++] = (struct wire_compare){.key = own(k, fence_key(f->root, t->chain_key)),
					       .target = WIRE_MOD,
					       .revision = t->chain_revision};
	for (unsigned i = 0; i < t->n_absent; i++)
		c[n++] = (struct wire_compare){.key = own(k, fence_key(f->root, t->absent[i])),
					       .target = WIRE_CREATE,
					       .revision = 0};
	return n;
}

char *fence_decision(const struct fence *f, const struct ha_txn *t, unsigned slot, uint64_t number)
{
	assert(t->n_ops <= HA_TXN_OPS_MAX && t->n_absent <= ABSENT_MAX && rewrites_chain(t));
	struct keys k = {0};
	struct wire_compare compares[3 + ABSENT_MAX];
	struct wire_op ops[HA_TXN_OPS_MAX + 1];
	char tag[80];
	unsigned n = 0;
	tag_value(f, number, tag);
	for (unsigned i = 0; i < t->n_ops; i++) {
		const struct ha_op *op = &t->ops[i];
		ops[n++] = (struct wire_op){.kind = op->value ? WIRE_PUT : WIRE_DELETE,
					    .key = own(&k, fence_key(f->root, op->key)),
					    .value = op->value,
					    .len = op->len};
	}
	const char *tag_name = own(&k, tag_key(f, slot));
	ops[n++] = (struct wire_op){.kind = WIRE_PUT,
				    .key = tag_name,
				    .value = tag,
				    .len = strlen(tag),
				    .lease = f->lease};
	struct wire_op reads[] = {
		queue_range(f, &k),
		{.kind = WIRE_RANGE, .key = tag_name},
		{.kind = WIRE_RANGE, .key = own(&k, fence_key(f->root, t->chain_key))},
	};
	char *body =
		wire_txn(&(struct wire_txn){.compares = compares,
					    .n_compares = decision_compares(f, t, &k, compares),
					    .success = ops,
					    .n_success = n,
					    .failure = reads,
					    .n_failure = 3});
	keys_fini(&k);
	return body;
}

static void judge_refusal(const struct fence *f, const struct ha_txn *t, uint64_t number,
			  const struct wire_answer *a, struct fence_outcome *out)
{
	const struct wire_range *tag = &a->ranges[1], *chain = &a->ranges[2];
	char mine[80];
	tag_value(f, number, mine);
	if (tag->n == 1 && strcmp(tag->kvs[0].value, mine) == 0) {
		out->verdict = FENCE_DONE;
		out->revision = deletes_chain(t) ? 0 : tag->kvs[0].mod_revision;
		return;
	}
	if (!fence_leads(f, &a->ranges[0])) {
		out->verdict = FENCE_DEPOSED;
		snprintf(out->text, sizeof out->text, "no longer the leader of epoch %" PRIu64,
			 f->epoch);
		return;
	}
	uint64_t now = chain->n ? chain->kvs[0].mod_revision : 0;
	/* Only the leader writes a chain: one that is older than our last decision went back. */
	out->verdict = now && now < t->chain_revision ? FENCE_REGRESSED : FENCE_CONFLICT;
	if (now == t->chain_revision)
		snprintf(out->text, sizeof out->text, "%s: a key that must be absent exists",
			 t->chain_key);
	else
		snprintf(out->text, sizeof out->text,
			 "%s is at revision %" PRIu64 ", not at %" PRIu64, t->chain_key, now,
			 t->chain_revision);
}

void fence_judge(const struct fence *f, const struct ha_txn *t, unsigned slot, uint64_t number,
		 const struct wire_answer *a, struct fence_outcome *out)
{
	(void)slot;
	*out = (struct fence_outcome){.verdict = FENCE_UNCLEAR};
	if (a->succeeded) {
		out->verdict = FENCE_DONE;
		out->revision = deletes_chain(t) ? 0 : a->header.revision;
	} else if (a->n_ranges == 3) {
		judge_refusal(f, t, number, a, out);
	}
}

/* ---- the others ---- */

char *fence_barrier(const struct fence *f, bool with_docs, uint64_t page)
{
	struct keys k = {0};
	struct wire_compare compares[2];
	struct wire_op ops[] = {
		{.kind = WIRE_DELETE, .key = own(&k, fence_key(f->root, "never"))},
		docs_range(f, &k, page),
	};
	struct wire_op reads[] = {queue_range(f, &k)};
	char *body = wire_txn(&(struct wire_txn){.compares = compares,
						 .n_compares = predicate(f, &k, compares),
						 .success = ops,
						 .n_success = with_docs ? 2 : 1,
						 .failure = reads,
						 .n_failure = 1});
	keys_fini(&k);
	return body;
}

/* Repeating it is harmless: the key has the lease in its name, so one that exists is ours. */
char *fence_enqueue(const struct fence *f, const char *value)
{
	struct keys k = {0};
	const char *key = own(&k, fence_candidate_key(f->root, f->lease));
	struct wire_compare compare = {.key = key, .target = WIRE_CREATE, .revision = 0};
	struct wire_op put = {.kind = WIRE_PUT,
			      .key = key,
			      .value = value,
			      .len = strlen(value),
			      .lease = f->lease};
	struct wire_op read = queue_range(f, &k);
	struct wire_op ops[] = {put, read};
	char *body = wire_txn(&(struct wire_txn){.compares = &compare,
						 .n_compares = 1,
						 .success = ops,
						 .n_success = 2,
						 .failure = &read,
						 .n_failure = 1});
	keys_fini(&k);
	return body;
}

char *fence_take(const struct fence *f, const struct fence_victim *dead, unsigned n, uint64_t page)
{
	assert(n > 0 && n < 63);
	struct keys k = {0};
	struct wire_compare compares[64];
	struct wire_op ops[64];
	compares[0] = (struct wire_compare){.key = own(&k, fence_candidate_key(f->root, f->lease)),
					    .target = WIRE_CREATE,
					    .revision = f->epoch};
	for (unsigned i = 0; i < n; i++) {
		compares[i + 1] = (struct wire_compare){.key = dead[i].key,
							.target = WIRE_CREATE,
							.revision = dead[i].create_revision};
		ops[i] = (struct wire_op){.kind = WIRE_DELETE, .key = dead[i].key};
	}
	struct wire_op read = queue_range(f, &k);
	ops[n] = read;
	ops[n + 1] = docs_range(f, &k, page);
	char *body = wire_txn(&(struct wire_txn){.compares = compares,
						 .n_compares = n + 1,
						 .success = ops,
						 .n_success = n + 2,
						 .failure = &read,
						 .n_failure = 1});
	keys_fini(&k);
	return body;
}

/* Delete one key if it is still that one; read the queue either way. */
static char *delete_exactly(const struct fence *f, const char *key, uint64_t create_revision)
{
	struct keys k = {0};
	struct wire_compare compare = {
		.key = key, .target = WIRE_CREATE, .revision = create_revision};
	struct wire_op read = queue_range(f, &k);
	struct wire_op ops[] = {{.kind = WIRE_DELETE, .key = key}, read};
	char *body = wire_txn(&(struct wire_txn){.compares = &compare,
						 .n_compares = 1,
						 .success = ops,
						 .n_success = 2,
						 .failure = &read,
						 .n_failure = 1});
	keys_fini(&k);
	return body;
}

char *fence_ghost(const struct fence *f, const struct fence_victim *ghost)
{
	return delete_exactly(f, ghost->key, ghost->create_revision);
}

char *fence_leave(const struct fence *f)
{
	char *key = fence_candidate_key(f->root, f->lease);
	char *body = delete_exactly(f, key, f->epoch);
	free(key);
	return body;
}

char *fence_candidates(const struct fence *f)
{
	struct keys k = {0};
	struct wire_op read = queue_range(f, &k);
	char *body = wire_range(&read);
	keys_fini(&k);
	return body;
}

/* ---- reading answers ---- */

const struct wire_range *fence_queue(enum call_kind kind, const struct wire_answer *a)
{
	const struct call *call = call_of(kind);
	if (call->fenced && a->succeeded)
		return NULL;
	return a->n_ranges ? &a->ranges[0] : NULL;
}

bool fence_leads(const struct fence *f, const struct wire_range *queue)
{
	char *key = fence_candidate_key(f->root, f->lease);
	bool here = false, lowest = true;
	for (size_t i = 0; i < queue->n; i++) {
		const struct wire_kv *kv = &queue->kvs[i];
		here |= strcmp(kv->key, key) == 0 && kv->create_revision == f->epoch;
		lowest &= kv->create_revision >= f->epoch;
	}
	free(key);
	return here && lowest;
}

struct wire_range *fence_docs(const struct fence *f, enum call_kind kind, struct wire_answer *a)
{
	if (!a->succeeded)
		return NULL;
	if (kind == CALL_BARRIER && a->n_ranges == 1)
		return &a->ranges[0];
	if (kind == CALL_TAKE && a->n_ranges == 2 && fence_leads(f, &a->ranges[0]))
		return &a->ranges[1];
	return NULL;
}
