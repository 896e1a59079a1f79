/*
 * drill_target - the processes that a drill may strike.
 *
 * Either a cluster of `weir local` (by its record: pid and start time), or one
 * that was reached over REST. Of the latter only processes are taken that are
 * on this host, belong to this user and are the program that they should be;
 * nobody else is ever signalled. Only what `weir local` recorded can be started
 * again.
 *
 * A process is found again by pid and start time: one that has died since it
 * was named is never mistaken for another.
 */
#ifndef CLI_DRILL_TARGET_H
#define CLI_DRILL_TARGET_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/local_cluster.h"
#include "cli/local_process.h"

enum { DRILL_TARGET_NAME = 40 };

struct drill_target {
	struct cli *cli;
	const char *dir; /* of weir local; NULL: attached over REST */
	bool tied;       /* what is started ends with this process */
};

struct drill_victim {
	char name[DRILL_TARGET_NAME];
	struct local_process process;
};

/* The process of that name. NOTFOUND, or DENIED: it is not ours to strike, and why. */
MUST_CHECK enum errc drill_target_find(const struct drill_target *t, const char *name,
				       struct drill_victim *out, struct err *e);
/* The `i`-th live worker of `job` (counted from 0, modulo their number), and its TaskManager. */
MUST_CHECK enum errc drill_target_worker(const struct drill_target *t, const char *job, unsigned i,
					 struct drill_victim *out_worker,
					 struct drill_victim *out_taskmanager, struct err *e);
/* etcd's leader. */
MUST_CHECK enum errc drill_target_etcd_leader(const struct drill_target *t,
					      struct drill_victim *out, struct err *e);
/* Names of one kind, at most `max`; returns how many. Attached: no etcd is known. */
unsigned drill_target_names(const struct drill_target *t, enum local_kind kind,
			    char (*out)[DRILL_TARGET_NAME], unsigned max);
/* Start it again if it is gone, and do not wait until it is ready. DENIED if attached. */
MUST_CHECK enum errc drill_target_start(const struct drill_target *t, const char *name,
					struct err *e);
bool drill_target_gone(const struct drill_victim *v);

#endif
