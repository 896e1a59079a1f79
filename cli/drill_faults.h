/*
 * drill_faults - strikes, holds, heals, and waits until all is as before.
 *
 * One fault at a time. Whatever happens in between, what was frozen is let go
 * on, what was cut is joined and what was moved is moved back before
 * drill_fault_run() returns.
 */
#ifndef CLI_DRILL_FAULTS_H
#define CLI_DRILL_FAULTS_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/drill_net.h"
#include "cli/drill_plan.h"
#include "cli/drill_target.h"
#include "cli/drill_verdict.h"
#include "cli/drill_watch.h"

struct drill_store;

struct drill_ground {
	struct cli *cli;
	struct drill_target target;
	struct drill_watch *watch;
	struct drill_net net;      /* n 0: no network faults */
	const char *job;           /* its id */
	const char *storage;       /* the directory; NULL: not this drill's to break */
	struct drill_store *store; /* NULL: the storage is not served by this drill */
	unsigned taskmanagers;     /* that should be connected */
	const bool *stop;          /* set by a signal */
	unsigned turn;             /* which worker or TaskManager is next */
};

/* Until all members are there, the job runs and one more checkpoint has completed. False: not
 * within that time, or the drill was stopped. */
bool drill_settle(struct drill_ground *g, uint64_t patience_ms);
/* `out` is filled in any case. An error: the fault could not be brought about. */
MUST_CHECK enum errc drill_fault_run(struct drill_ground *g, const struct drill_step *step,
				     struct drill_result *out, struct err *e);

#endif
