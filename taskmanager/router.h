/*
 * router - one output edge of a task: which of its channels each row goes to.
 *
 *   rows --> [ partitioner ] --+--> outlet 0: open batch -> queue -> subtask 0
 *                              +--> outlet 1: ...
 *
 * FORWARD and any edge with one channel hand whole batches on. HASH sends a row to the subtask that
 * owns its key's group, and writes the upper 32 bits of the hash into the row. REBALANCE deals rows
 * out in turn. BROADCAST copies each to all.
 *
 * A router never waits: what a full queue does not take stays in the queue's overflow, and
 * router_stuck() says so; its task then takes no new input.
 *
 * Ownership: owns open batches; borrows queues and the task's cache. Threads: the task's.
 */
#ifndef TASKMANAGER_ROUTER_H
#define TASKMANAGER_ROUTER_H

#include "job/spec.h"
#include "taskmanager/batch.h"
#include "taskmanager/keyplan.h"
#include "taskmanager/queue.h"

struct outlet {
	unsigned char *at, *end; /* the room left in `open` */
	uint32_t rows;           /* in `open` */
	struct batch *open;
	struct queue *queue;
};

struct router {
	enum spec_edge edge;
	struct key_plan keys; /* HASH */
	uint32_t max_parallelism;
	uint16_t *outlet_of_group; /* HASH; owns */
	uint32_t n, next;
	struct outlet *outlets; /* owns */
	struct batch_cache *cache;
};

struct router_config {
	enum spec_edge edge;
	const struct spec_schema *schema; /* HASH: of the rows, with the columns of the key */
	const struct row_plan *plan;
	const unsigned *keys;
	unsigned n_keys;
	uint32_t max_parallelism; /* of the receiver */
	uint32_t n;
	struct queue *const *queues; /* n, by receiving subtask (FORWARD: just one) */
	struct batch_cache *cache;
};

void router_init(struct router *r, const struct router_config *c);
void router_fini(struct router *r);

/* Copy the rows of a batch to where they belong. */
void router_rows(struct router *r, const struct batch *b);
/* Takes the batch as it is: only with one channel and nothing open. */
void router_batch(struct router *r, struct batch *b);
/* Send what is open, however little. */
void router_flush(struct router *r);
bool router_open(const struct router *r); /* is there anything open? */
/* Flush, then send a control element down every channel. */
void router_control(struct router *r, enum batch_kind kind, const struct batch_barrier *barrier);
/* Move overflow on; true if any is left. */
bool router_stuck(struct router *r);

#endif
