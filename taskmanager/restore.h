/*
 * restore - from a checkpoint's manifest back to the state of the tasks of this worker.
 *
 * restore_load() reads the manifest once; then each task brings back its own share, on its own
 * thread: the key groups that it owns now, whoever wrote them, and its part of the list state.
 *
 * An object of which this machine keeps a whole copy (local.h) is read from there. That this copy
 * turns out to be wrong after all is no reason to stop the job: it is ERR_UNAVAILABLE, and the copy
 * is gone when the next attempt looks for it.
 *
 * Refused with ERR_INVALID: an operator whose max parallelism has changed. ERR_CORRUPT names the
 * object that could not be read. An operator that the manifest does not know starts empty
 * (context.found is false); state of an operator that the job no longer has is left alone.
 *
 * Threads: after load it is read-only (but for the tally); any number of tasks at once.
 */
#ifndef TASKMANAGER_RESTORE_H
#define TASKMANAGER_RESTORE_H

#include <stdint.h>

#include "base/err.h"
#include "state/storage.h"
#include "taskmanager/local.h"
#include "taskmanager/task.h"

enum { RESTORE_MANIFEST_MAX = 64 << 20, RESTORE_OBJECTS_MAX = 1 << 20 };

struct restore_object {
	char *path; /* owns */
	uint64_t bytes, checksum;
	int copy; /* descriptor of the local copy; -1: none */
};

struct restore_op {
	char *uid; /* owns */
	uint32_t parallelism, max_parallelism;
};

/* Where the state came from. */
struct restore_tally {
	_Atomic uint64_t local_bytes, storage_bytes;
};

struct restore {
	struct storage *storage; /* borrows */
	struct local *local;     /* borrows; may be NULL */
	struct restore_tally tally;
	struct ckpt_id checkpoint;
	size_t n_objects, n_ops;
	struct restore_object *objects; /* owns */
	struct restore_op *ops;         /* owns */
};

/* `checksum`: XXH3-64 of the manifest's bytes, 16 hexadecimal digits; "" is not checked. */
MUST_CHECK enum errc restore_load(struct storage *s, struct local *local, const char *manifest,
				  const char *checksum, struct restore *out, struct err *e);
void restore_fini(struct restore *r);
/* How many of its objects have a local copy here. */
size_t restore_copies(const struct restore *r);
/* NULL: the manifest does not know it. */
const struct restore_op *restore_find(const struct restore *r, const char *uid);
/* For task_open(): `owner` is the struct restore. */
MUST_CHECK enum errc restore_task(void *owner, struct task *t, struct err *e);

#endif
