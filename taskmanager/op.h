/*
 * op - what an operator is: a const type table and a small instance.
 *
 * An operator turns batches of rows into rows. A chain of operators runs on one thread, the task's;
 * every call below is made there and no call is ever made while another one runs. An operator
 * never sees a queue, a socket of the exchange, or a thread of ours.
 *
 *   open -> restore* -> start -> { poll | on_batch | snapshot | on_complete | on_abort }* -> close
 *                                   at_end at most once, when no more rows come
 *
 *   struct upper {
 *           struct op op;                 // first
 *           ...                           // zeroed before open
 *   };
 *   const struct op_type op_map_upper = {
 *           .name = "map.upper", .size = sizeof(struct upper), .open = open, .on_batch = on_batch,
 *   };
 *
 * Checkpoints
 *  - snapshot(n) is the synchronous part: everything before the barrier has been handed in, nothing
 *    behind it. It writes the operator's list state with op_list_add() (copied at once) and must be
 *    short; keyed state is captured by the engine. A sink with transactions pre-commits here
 *    (flush, fsync) and lists its pending transactions, old and new, in its list state.
 *  - on_complete(n): checkpoint n is recorded: commit every transaction pre-committed at a barrier
 *    <= n. Cumulative, may come twice, may skip ids, may come for an id below the newest barrier.
 *    On return the commit is durable. After a restore from checkpoint n it is called with n right
 *    after start, for the transactions that restore() brought.
 *  - on_abort(n): checkpoint n was given up. Nothing is rolled back: what was pre-committed for n
 *    belongs to the next checkpoint that completes.
 *  - on_cancel(n): the job is over for good (cancelled or failed), n is its newest completed
 *    checkpoint (0: none). Roll back what was pre-committed at barriers above n, and nothing else:
 *    what n holds is promised, even if "complete n" never came. Not called otherwise; close()
 *    alone rolls nothing back and commits nothing.
 *
 * Failures: a callback that returns another code than ERR_OK fails the attempt, with the text of
 * `e` shown to the user. The code says whose fault it is: ERR_UNAVAILABLE is external (not counted
 * against the job), ERR_CORRUPT means stored state cannot be read (the job stops), everything
 * else is the job's own.
 *
 * Ownership: the engine owns instance and context; options, plans and texts of the context live
 * longer than the instance. A batch given to on_batch is borrowed for the call.
 * Limits: OP_LISTS_MAX lists, OP_LIST_BYTES_MAX of list state per operator and subtask.
 */
#ifndef TASKMANAGER_OP_H
#define TASKMANAGER_OP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "job/spec.h"
#include "state/liststate.h"
#include "taskmanager/batch.h"
#include "taskmanager/row.h"

enum { OP_LISTS_MAX = 4, OP_LIST_BYTES_MAX = LISTSTATE_BYTES_MAX };

struct keyed; /* state/keyed.h */

/* How a list's items are dealt out on restore. */
enum op_list_mode {
	/* Each item to one subtask: with unchanged parallelism back to its writer, else item k of
	 * all (in the order of old subtask, then of writing) to subtask k mod parallelism. */
	OP_LIST_SPLIT,
	OP_LIST_UNION, /* every item to every subtask */
};

/* Everything an operator is told. Read-only to it. */
struct op_context {
	const char *uid;
	const struct spec_operator *spec;
	const json_t *options;                  /* validated, defaults filled in */
	const struct row_plan *input;           /* NULL: a source */
	const struct row_plan *output;          /* NULL: a sink */
	const struct spec_schema *input_schema; /* names of the input's columns; NULL: a source */
	struct job_id job;
	const char *job_name;
	uint32_t region;
	struct attempt attempt;
	uint32_t subtask, parallelism, max_parallelism;
	const char *files_root;  /* directory that file paths are relative to */
	const char *cluster;     /* cluster id: the storage cookie */
	struct ckpt_id restored; /* 0: this attempt starts afresh */
	bool found;              /* the restored checkpoint knows this operator (by uid) */
	const char *worker;      /* "<tm id>/<job>/<region>/<attempt>", for messages */
	struct task *task;       /* private to the engine */
};

/* The input's column of that name, or -1. */
int op_input_column(const struct op_context *c, const char *name);

/* ---- output ---- */

/* Where an operator's rows go: the batch being filled; full ones are passed on by themselves. */
struct op_out {
	unsigned char *at, *end; /* the room that is left */
	uint32_t rows;           /* in the current batch, not yet noted in it */
	struct batch *batch;     /* NULL before the first row */
	void (*refill)(struct op_out *o,
		       size_t bytes);     /* pass the batch on, get room for `bytes` */
	uint64_t rows_total, bytes_total; /* in batches passed on */
};

/* Room for a row of `bytes` (a multiple of 8, at most ROW_BYTES_MAX); fill it, all of it, before
 * the next call. Never NULL, never waits. */
static inline void *op_out_row(struct op_out *o, size_t bytes)
{
	void *at;

	if (__builtin_expect((size_t)(o->end - o->at) < bytes, 0))
		o->refill(o, bytes);
	at = o->at;
	o->at += bytes;
	o->rows++;
	return at;
}

/* A row of one string column; ERR_LIMIT if it is too large to exist. */
MUST_CHECK enum errc op_emit_text(struct op_out *o, const char *text, size_t len, struct err *e);
/* A row of any schema: the convenient way, some 20 ns. */
MUST_CHECK enum errc op_emit(struct op_out *o, const struct row_plan *p,
			     const struct row_value *values, struct err *e);

/* ---- sources ---- */

enum op_poll_state {
	OP_POLL_MORE, /* call again at once */
	OP_POLL_IDLE, /* nothing now: call again after wait_ms, at wait_events, or when woken */
	OP_POLL_END   /* no more rows, ever (of this attempt): poll is not called again */
};

struct op_poll {
	enum op_poll_state state;
	uint32_t wait_ms;  /* IDLE; at most 60000 */
	int wait_fd;       /* IDLE; -1: none. Borrowed until the next poll or close */
	short wait_events; /* POLLIN, POLLOUT */
};

/* ---- the sync part ---- */

/* What an operator writes at a barrier. */
struct op_lists {
	unsigned n;
	struct liststate at[OP_LISTS_MAX];
};

/* Append one item to list `list` (< n_lists of the type). Copies. */
MUST_CHECK enum errc op_list_add(struct op_lists *l, unsigned list, const void *item, size_t len,
				 struct err *e);

/* ---- the type ---- */

struct op {
	const struct op_type *type;
	const struct op_context *context;
	struct keyed
		*keyed; /* this subtask's keyed state, if the type is keyed; owned by the engine */
};

struct op_type {
	const char *name; /* as in the specification: "source.file" */
	size_t size;      /* of the instance, whose first member is a struct op */
	bool source;      /* has poll, no on_batch */
	bool sink;        /* has no output */
	bool keyed;       /* works on keyed state: its input is partitioned by key */
	unsigned n_lists; /* operator list state */
	enum op_list_mode lists[OP_LISTS_MAX];

	/* Any may be NULL but: sources have poll, all others on_batch. */
	enum errc (*open)(struct op *o, struct err *e);
	/* One item that a former attempt wrote. Only after open, before start. */
	enum errc (*restore)(struct op *o, unsigned list, const void *item, size_t len,
			     struct err *e);
	enum errc (*start)(struct op *o, struct err *e);
	/* Emit about `budget` rows or fewer; must return within some 10 ms. */
	enum errc (*poll)(struct op *o, struct op_out *out, uint32_t budget, struct op_poll *result,
			  struct err *e);
	enum errc (*on_batch)(struct op *o, const struct batch *in, struct op_out *out,
			      struct err *e); /* out is NULL for sinks */
	enum errc (*at_end)(struct op *o, struct op_out *out, struct err *e);
	enum errc (*snapshot)(struct op *o, struct ckpt_id checkpoint, struct op_lists *lists,
			      struct err *e);
	enum errc (*on_complete)(struct op *o, struct ckpt_id checkpoint, struct err *e);
	enum errc (*on_abort)(struct op *o, struct ckpt_id checkpoint, struct err *e);
	enum errc (*on_cancel)(struct op *o, struct ckpt_id completed, struct err *e);
	/* Always, once, if open was called (even if it failed). Must not wait for anything. */
	void (*close)(struct op *o);
	/* A sink that acts between batches (to roll a file by time): called every 100 ms or so. */
	enum errc (*on_tick)(struct op *o, struct err *e);
};

/* ---- services ---- */

int64_t op_wall_ms(const struct op_context *c); /* UTC; for records and names */
uint64_t op_now_ms(const struct op_context *c); /* CLOCK_BOOTTIME; for waiting and rates */
/* End an IDLE early. From any thread, until close. */
void op_wake(const struct op_context *c);
/* A named point at which a drill may have this process killed; else a no-op. See killpoint.h. */
void op_kill_point(const struct op_context *c, const char *name);

/* ---- the table of types ---- */

/* NULL: no such type. */
const struct op_type *op_type_find(const struct op_type *const types[], const char *name);

#endif
