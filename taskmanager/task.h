/*
 * task - one subtask of one vertex: a chain of operators between input channels and output edges,
 * with its barriers. A state machine that whoever owns it polls; threads are elsewhere (exec.h).
 *
 *   orders (any thread) ----+
 *                           v
 *   input 0 --queue--> [ task_poll ] --chain--> routers --queues--> other tasks, or the network
 *   input 1 --queue-->      |
 *                           +--> task_port: snapshot parts, declines, ends, commits
 *
 *   NEW --open--> RUNNING --finish, cancel--> ENDED
 *     \------------- FAILED <--operator, input--/
 *
 * task_poll() does a bounded piece of work and says why it stopped:
 *   TASK_BUSY     the budget was used up: call again
 *   TASK_IDLE     no input (or a source's pause): wait as `out` says, or until woken
 *   TASK_BLOCKED  an output queue is full: wait until woken
 *   TASK_ENDED    over (or failed): do not call again
 *
 * Invariants
 *  - rows and barriers of a channel are taken in order; a held channel is not read;
 *  - between a barrier and the end of its synchronous part nothing is processed. If the capture
 *    before is still being walked, the task waits for it, but after TASK_CAPTURE_WAIT_NS declines
 *    this checkpoint and goes on;
 *  - no input is taken while output is stuck; orders are carried out all the same;
 *  - a source at its end goes on answering triggers; a task whose inputs are all at their end goes
 *    on passing barriers.
 *
 * Time is an argument (ns, any steady origin); the clock is read only to measure the synchronous
 * part. Threads: everything but task_order(), task_wake() and task_traffic()
 * belongs to the task's thread.
 * Ownership: the task owns chain and input list; queues belong to who made them.
 */
#ifndef TASKMANAGER_TASK_H
#define TASKMANAGER_TASK_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/killpoint.h"
#include "base/sm.h"
#include "taskmanager/align.h"
#include "taskmanager/chain.h"
#include "taskmanager/queue.h"
#include "taskmanager/snapshot.h"

enum {
	TASK_TICK_MS = 100,
	TASK_SOURCE_ROWS = 1024,
	TASK_FLUSH_NS = 1000000,
	TASK_CAPTURE_WAIT_NS = 1000000000
};

enum task_state { TASK_STATE_NEW, TASK_STATE_RUNNING, TASK_STATE_ENDED, TASK_STATE_FAILED };

enum task_verdict { TASK_BUSY, TASK_IDLE, TASK_BLOCKED, TASK_ENDED };

struct task_wait {
	uint64_t until_ns; /* 0: until woken */
	int fd;            /* -1: none */
	short events;
};

enum task_order_kind {
	TASK_TRIGGER,  /* sources: start this checkpoint */
	TASK_ABORT,    /* given up */
	TASK_COMPLETE, /* recorded: commit up to it */
	TASK_FINISH,   /* end */
	TASK_CANCEL    /* end, and roll back if `terminal` */
};

struct task_order {
	enum task_order_kind kind;
	struct batch_barrier barrier; /* ABORT, COMPLETE, CANCEL: the checkpoint alone */
	bool terminal;
};

struct task;

/* What a task tells its worker; called on the task's thread, must not block. */
struct task_port {
	void (*snapshot)(struct task_port *p, struct task *t,
			 struct snapshot_part *part); /* takes */
	void (*declined)(struct task_port *p, struct task *t, uint64_t checkpoint, const char *why);
	void (*at_end)(struct task_port *p, struct task *t); /* sources, once */
	void (*committed)(struct task_port *p, struct task *t, uint64_t checkpoint);
};

struct task_config {
	unsigned n_ops;
	const struct op_type *const *types;
	const char *name; /* "words -> counts (2/4)"; borrowed */
	uint32_t index;   /* in the worker */
	uint32_t vertex, subtask;
	bool exactly_once;
	bool commit_only;                       /* sources read nothing: the job is to end */
	uint64_t flush_ns;                      /* 0: the default */
	uint64_t align_limit_ns;                /* 0: none */
	const _Atomic uint64_t *leader_seen_ns; /* last line from the agent; NULL: always there */
	struct batch_pool *pool;
	struct killpoint *killpoint; /* NULL: none */
	struct task_port *port;
};

struct task_input {
	struct queue *queue;
	bool held, ended;
};

struct task {
	struct task_config config;
	struct sm sm;
	struct chain chain;
	struct batch_cache cache;
	struct align align;
	struct waker waker;
	bool source;
	uint32_t n_inputs, next_input, n_ended;
	struct task_input *inputs; /* owns */
	const struct row_plan *input_plan;
	struct snapshot_part *part; /* under way: captures still to begin */
	uint64_t part_since_ns;
	bool at_end;
	uint64_t flushed_ns, ticked_ns;
	struct op_poll pause; /* of a source that said IDLE */
	/* orders, from any thread */
	pthread_mutex_t lock;
	struct task_order *orders; /* owns; under the lock */
	size_t n_orders, orders_capacity;
	_Atomic bool has_orders;
	_Atomic uint64_t rows_in; /* taken from inputs: for metrics lines */
	_Atomic uint64_t read_records, read_bytes, write_records, write_bytes; /* task_traffic() */
};

/* After this the caller fills in t->chain.links[i].context, the chain's edges (chain_edges,
 * router_init) and keyed stores, and adds inputs. */
void task_init(struct task *t, const struct task_config *c);
void task_input(struct task *t, struct queue *q); /* sets the queue's signal to this task */
void task_fini(struct task *t);

/* Open every operator; `restore` (may be NULL) brings state back before they start. Blocks. */
bool task_open(struct task *t, enum errc (*restore)(void *owner, struct task *t, struct err *e),
	       void *owner);
enum task_verdict task_poll(struct task *t, uint64_t now_ns, struct task_wait *out);

void task_order(struct task *t, const struct task_order *o);
void task_wake(struct task *t);
/* What has gone through it so far. Any thread. */
void task_traffic(const struct task *t, struct traffic *out);

/* FAILED: why, and whether it is the job's own doing. */
const struct err *task_error(const struct task *t);
bool task_failed(const struct task *t);

#endif
