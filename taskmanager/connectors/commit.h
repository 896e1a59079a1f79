/*
 * commit - the two-phase commit of part files in one directory.
 *
 *   <path>/.weir/cluster                     the cluster that writes here (the cookie)
 *   <path>/.weir/<job>/owner                 uid of the operator that writes here
 *   <path>/.weir/<job>/<s>-<a>-open-<k>      being written by subtask s of attempt a
 *   <path>/.weir/<job>/<s>-<a>-<c>-<n>       pre-committed at the barrier of checkpoint c
 *   <path>/.weir/<job>/<s>.ledger            names that are committed, or just about to be
 *   <path>/<s>-<a>-<c>-<n>                   committed: visible, and final
 *
 *   open --fsync, rename--> pending --ledger, fsync, rename, fsync--> visible
 *
 * Invariants
 *  - a pending part is complete and durable, with its name, before its checkpoint is acknowledged;
 *  - a name is in the ledger, durably, before its file is renamed: so "pending gone and listed" is
 *    the proof of a commit, even if a reader has moved the file away since;
 *  - "pending gone and not listed" is loss, or another disk: an error, never a success;
 *  - a name is never used twice (attempts only grow), and no visible file is ever replaced.
 *
 * A pending part is removed only by commit_sweep() of a later attempt that does not hold it in its
 * state, or by commit_discard() after the job was cancelled for good.
 *
 * A failure leaves everything as it is for the next try; a commit may be repeated. An I/O error
 * (EIO) is ERR_UNAVAILABLE: the machine's fault; what reached the disk is then decided by the next
 * attempt, since a failed fsync says nothing about a second one.
 *
 * Threads: one at a time. Processes: several may have the same directory open (subtasks, and a
 * former attempt that does not know yet that it is one).
 */
#ifndef TASKMANAGER_CONNECTORS_COMMIT_H
#define TASKMANAGER_CONNECTORS_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"

enum { COMMIT_NAME_MAX = 80 };

struct commit_name {
	uint32_t subtask;
	struct attempt attempt;
	struct ckpt_id checkpoint; /* 0: open */
	uint32_t n;
};

struct commit_part {
	struct commit_name name;
	uint64_t bytes;
};

struct commit {
	int dir_fd;    /* <path> */
	int hidden_fd; /* <path>/.weir/<job> */
	char path[256];
	void (*moment)(void *ctx,
		       const char *name); /* a point at which a drill may kill; or NULL */
	void *ctx;
};

void commit_name_text(const struct commit_name *name, char out[COMMIT_NAME_MAX]);
/* False: not the name of a part. */
MUST_CHECK bool commit_name_parse(const char *text, struct commit_name *out);

/* Opens or creates the directories. With `fresh` false (the attempt was restored) the cookie must
 * be there already: else this is another disk than the one written before. A directory of another
 * cluster, or of another operator of this job, is an error. */
MUST_CHECK enum errc commit_open(struct commit *c, const char *root, const char *path,
				 const struct job_id *job, const char *uid, const char *cluster,
				 bool fresh, struct err *e);
void commit_close(struct commit *c); /* of a zeroed one too: descriptors above 0 are closed */

/* Is a part of this subtask visible already, of this attempt or a later one? Then another job
 * writes here as well. */
MUST_CHECK enum errc commit_check_vacant(struct commit *c, uint32_t subtask, struct attempt attempt,
					 struct err *e);
/* A new open part, for writing. */
MUST_CHECK enum errc commit_create(struct commit *c, const struct commit_name *name, int *out_fd,
				   struct err *e);
/* fsync, with the error told apart. */
MUST_CHECK enum errc commit_sync(const struct commit *c, int fd, const char *what, struct err *e);
/* open -> pending, all durable: `from` and `to` are parallel; the files are synced already. */
MUST_CHECK enum errc commit_prepare(struct commit *c, const struct commit_name *from,
				    const struct commit_part *to, size_t n, struct err *e);
/* pending -> visible, durable on return. Idempotent. */
MUST_CHECK enum errc commit_publish(struct commit *c, const struct commit_part *parts, size_t n,
				    struct err *e);
/* open -> visible without a transaction; durable on return. */
MUST_CHECK enum errc commit_publish_open(struct commit *c, const struct commit_name *from,
					 const struct commit_name *to, struct err *e);
/* Removes open and pending parts of attempts below `attempt`, of the subtasks j with
 * j mod `parallelism` = `subtask`, that are not among `keep`. */
MUST_CHECK enum errc commit_sweep(struct commit *c, uint32_t subtask, uint32_t parallelism,
				  struct attempt attempt, const struct commit_part *keep,
				  size_t n_keep, struct err *e);
/* Removes one open or pending part; absent: success. */
MUST_CHECK enum errc commit_discard(struct commit *c, const struct commit_name *name,
				    struct err *e);

#endif
