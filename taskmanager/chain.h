/*
 * chain - the operators of one task, one behind the other, and its output edges.
 *
 *   batch or poll --> op 0 --> [ batch ] --> op 1 --> ... --> op n-1 --> routers
 *
 * Each link but the last fills a buffer of its own, which the next operator reads when it is full
 * and at the end of each step (chain_settle), so that no row stays inside the chain between two
 * steps: at a barrier every row before it has gone through every operator. Rows of the last link
 * are partitioned into the routers' open batches; with one edge to one channel the buffer itself
 * is handed on.
 *
 * The first failure is kept; nothing runs after it.
 *
 * Ownership: owns instances, contexts and routers; borrows what the config names.
 * Threads: the task's.
 */
#ifndef TASKMANAGER_CHAIN_H
#define TASKMANAGER_CHAIN_H

#include "rest/traffic.h"
#include "taskmanager/op.h"
#include "taskmanager/router.h"

struct chain_link {
	struct op_out out; /* first: the out's owner is the link */
	struct chain *chain;
	unsigned index;
	struct op *op;
	struct op_context context;
	bool opened;
};

struct chain {
	unsigned n;
	struct chain_link *links; /* owns */
	unsigned n_routers;
	struct router *routers; /* owns */
	struct batch_cache *cache;
	bool direct; /* one edge, one channel: whole batches go on */
	uint64_t rows_in, bytes_in;
	bool failed;
	unsigned failed_link;
	struct err err;
};

/* The links' contexts are filled in by the caller (chain->links[i].context) before chain_open. */
void chain_init(struct chain *c, const struct op_type *const *types, unsigned n,
		struct batch_cache *cache);
/* Before the first row: room for the edges; the caller router_init()s each. */
void chain_edges(struct chain *c, unsigned n);
/* Closes what was opened. */
void chain_fini(struct chain *c);

/* False: failed, and c->err says how. */
bool chain_open(struct chain *c);
bool chain_start(struct chain *c);
bool chain_push(struct chain *c, const struct batch *b);
bool chain_poll(struct chain *c, uint32_t budget, struct op_poll *out);
bool chain_at_end(struct chain *c);
bool chain_complete(struct chain *c, struct ckpt_id id);
bool chain_abort(struct chain *c, struct ckpt_id id);
bool chain_cancel(struct chain *c, struct ckpt_id completed);
bool chain_tick(struct chain *c);
bool chain_ticks(const struct chain *c); /* does any operator want ticks? */
void chain_fail(struct chain *c, unsigned link, const struct err *e);

/* Send what is open at the edges. */
void chain_flush(struct chain *c);
bool chain_unflushed(const struct chain *c);
/* A control element down every channel, behind all rows. */
void chain_control(struct chain *c, enum batch_kind kind, const struct batch_barrier *barrier);
bool chain_stuck(struct chain *c);
/* What has gone through so far (rest/traffic.h). */
void chain_traffic(const struct chain *c, struct traffic *out);

#endif
