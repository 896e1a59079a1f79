/*
 * check - what must hold, watched from outside of the code under test.
 *
 * Four places are looked at, each the moment something happens there:
 *
 *   etcd, before a write   every write below the prefix carries the predicate of
 *                          the leader of that moment and its chain, or is on the
 *                          list of exceptions (S1, S2)
 *   etcd, after a change   documents follow one another: attempts, ids and
 *                          pointers only grow; a completed checkpoint is whole in
 *                          storage; a restart uses the newest; slots are not given
 *                          twice; what ended stays ended (S3, S5)
 *   storage                nothing is removed that a document refers to, or that
 *                          was not recorded before (S5)
 *   command streams        a command only repeats what is recorded (S4)
 *
 * and the ledger and the model tell what sinks do (S6). Users tell what REST
 * says. The first violation is kept.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "cluster.h"

struct check_counts {
	unsigned leaders, completed, attempts, finished, canceled, failed, accepted, commands;
};

struct check *check_create(struct cluster *c);
void check_destroy(struct check *k);

void check_fail(struct check *k, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *check_text(const struct check *k); /* NULL: nothing is broken */
struct check_counts check_counts(const struct check *k);

/* A sink makes output of this checkpoint visible. */
void check_commit(struct check *k, const char *job, uint64_t checkpoint);
/* A worker cannot read what it should restore. */
void check_unreadable(struct check *k, const char *job, uint32_t region, uint32_t attempt,
		      const char *what);

/* What REST said. */
void check_accepted(struct check *k, const char *job);
void check_rest_status(struct check *k, const char *job, const char *status);
void check_rest_missing(struct check *k, const char *job);
void check_rest_completed(struct check *k, const char *job, uint64_t checkpoint);

/* For liveness: the job came to its end; how many checkpoints it has completed. */
bool check_ended(const struct check *k, const char *job);
bool check_exists(const struct check *k, const char *job);
uint64_t check_newest(const struct check *k, const char *job);
const char *check_status(const struct check *k, const char *job);

#endif
