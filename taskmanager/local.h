/*
 * local - copies of this machine's snapshot objects, so that a restart need not fetch them.
 *
 *   uploader --bytes--> storage            the object; what counts
 *            \-bytes--> local copy         beside it, in the work directory
 *   restore  <-- local copy, if it is there and whole; else <-- storage
 *
 * A copy is only ever a faster way to the same bytes: it is named after the object, whose name
 * never comes back with other content; it ends in the XXH3-64 of all before; and who reads it
 * checks that first, then everything that is checked of an object from storage. Nothing about it
 * may fail a checkpoint or a job: a copy that cannot be made (no room, no directory) is not made,
 * one that cannot be read or is not whole is removed, and storage is asked.
 *
 *   DIR/copies/jobs!<job>!chk-<id>!<region>-<attempt>-<tm>-<instance>-e<epoch>.snap
 *
 * Bounds: the directory holds at most max_bytes. For room the copies of others make way, the
 * longest unused first; never one's own, which are at most those of the newest completed checkpoint
 * and of those in flight: local_complete() and local_drop() remove the rest.
 *
 * Several workers share the directory, and it outlives them: a restarted TaskManager finds the
 * copies of the one before. What a dead region has left stays until there is no room for it.
 *
 * Threads: begin/write/commit/abort/complete/drop by one thread at a time, the uploader's;
 * local_open_copy() by any.
 */
#ifndef TASKMANAGER_LOCAL_H
#define TASKMANAGER_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ids.h"

struct local;
struct local_copy;

/* NULL if `dir` cannot be used or max_bytes is 0: there are no copies then. All calls below take
 * NULL as such a store. */
struct local *local_create(const char *dir, uint64_t max_bytes, const struct job_id *job,
			   uint32_t region);
void local_destroy(struct local *l); /* leaves the copies */

/* A copy of object `name`, to be filled; NULL: none will be made. */
struct local_copy *local_begin(struct local *l, const char *name);
void local_write(struct local_copy *c, const void *data, size_t len);
/* Success or not, the copy is the store's from here on. The object is durable in storage. */
void local_commit(struct local_copy *c);
void local_abort(struct local_copy *c); /* NULL: no-op */

/* Checkpoint `id` is complete: this region's copies of older ones are of no use any more. */
void local_complete(struct local *l, uint64_t id);
/* Checkpoint `id` was given up. */
void local_drop(struct local *l, uint64_t id);
/* The job is over. */
void local_drop_all(struct local *l);

/* A descriptor of the copy of `name`, all `bytes` of it checked; -1: there is none. */
int local_open_copy(struct local *l, const char *name, uint64_t bytes);

/* Exactly `len` bytes of it, from `offset`. */
bool local_read(int copy, void *data, size_t len, uint64_t offset);
/* The copy of `name` is no good after all. */
void local_forget(struct local *l, const char *name);

#endif
