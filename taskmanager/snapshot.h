/*
 * snapshot - from the captures of all tasks of a worker to one object in storage.
 *
 *   task 0 --part--\                                        +--> done(ack)
 *   task 1 --part---+--> [ uploader thread: one object per checkpoint ]
 *   task 2 --part--/                                        +--> done(decline)
 *
 * A part is what one task hands over at a barrier: captures of its operators' keyed state, and
 * their list state, already packed. The uploader walks a part as soon as it comes (so that the
 * task's log stays short) and commits the object when the parts of all tasks are in it. A
 * checkpoint that is given up is dropped at the next opportunity: nothing becomes visible, and
 * nothing in storage is ever deleted from here. Objects of the newest SNAPSHOT_OPEN_MAX checkpoints
 * are open at once; the oldest is dropped for a newer one.
 *
 * Beside the object a copy is kept on this machine (local.h), for as long as a restart could need
 * it; what becomes of the copy never matters to the checkpoint.
 *
 * A storage failure ends this checkpoint only (declined, external); the next one tries anew.
 *
 * Ownership: parts pass to the uploader. Threads: all calls from any thread; `done` is called on
 * the uploader's thread.
 */
#ifndef TASKMANAGER_SNAPSHOT_H
#define TASKMANAGER_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "state/keyed.h"
#include "state/object.h"
#include "state/storage.h"
#include "taskmanager/batch.h"
#include "taskmanager/local.h"
#include "taskmanager/op.h"

enum { SNAPSHOT_OPEN_MAX = 16 };

struct snapshot_op {
	const char *uid; /* borrows */
	uint32_t parallelism, max_parallelism;
	struct keyed *keyed;           /* borrows; NULL: none */
	struct keyed_capture *capture; /* owns */
	unsigned n_lists;
	enum op_list_mode modes[OP_LISTS_MAX];
	struct block lists[OP_LISTS_MAX]; /* owns */
};

struct snapshot_part {
	struct snapshot_part *next; /* private */
	struct batch_barrier barrier;
	uint32_t task;    /* index in this worker */
	uint64_t sync_ns; /* what the synchronous part took */
	uint64_t align_ns;
	uint64_t rows; /* taken by the task so far */
	unsigned n_ops;
	struct snapshot_op ops[];
};

struct snapshot_part *snapshot_part_create(unsigned n_ops);
void snapshot_part_destroy(struct snapshot_part *p); /* ends its captures; NULL: no-op */

/* How one checkpoint of this worker ended. */
struct snapshot_result {
	struct batch_barrier barrier;
	struct err err; /* OK: durable */
	char path[512];
	struct object_summary object;
	uint64_t sync_ns, align_ms, async_ms, rows; /* the largest of any task; rows: the sum */
};

struct uploader;

struct uploader_config {
	struct storage *storage; /* borrows */
	struct local *local;     /* borrows; NULL: no copies are kept on this machine */
	uint32_t n_tasks;
	/* The object's name is "<folder>/chk-<id>/<file>-e<epoch>.snap". Copied. */
	const char *folder, *file;
	void (*done)(void *owner, const struct snapshot_result *r);
	void *owner;
};

struct uploader *uploader_create(const struct uploader_config *c);
/* Drops what is under way and joins the thread. NULL: no-op. */
void uploader_destroy(struct uploader *u);
void uploader_part(struct uploader *u, struct snapshot_part *p); /* takes */
/* Checkpoint `id` was given up: drop its object. Parts that still come are dropped too. */
void uploader_abort(struct uploader *u, uint64_t id);
/* Checkpoint `id` is complete: every older one can be dropped. */
void uploader_complete(struct uploader *u, uint64_t id);

#endif
