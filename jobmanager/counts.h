/*
 * counts - how often things happened in this process, for /metrics; and what
 * became of the jobs that its leader took over, for the history of failovers.
 *
 * Owned by the brain, which hands it to whatever counts. A NULL is allowed
 * wherever a pointer to it is taken: then nothing is counted. Nothing is decided by
 * a count.
 */
#ifndef JOBMANAGER_COUNTS_H
#define JOBMANAGER_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sm.h"

enum { COUNTS_MACHINES = 6, COUNTS_STATES = 16 };

struct counts_machine {
	const struct sm_table *table; /* NULL: unused */
	uint64_t moves[COUNTS_STATES][COUNTS_STATES];
};

/* Since this process began to lead, the last time it did. Times are the world's; 0: not yet. */
struct counts_takeover {
	uint64_t began_ms;         /* the documents were read */
	uint64_t first_command_ms; /* the first that was not mere courtesy */
	uint64_t reconciled_ms;    /* every job that was opened is past RECONCILING */
	uint64_t settled_ms;       /* and no checkpoint of the leader before is in flight */
	uint32_t jobs;
	uint32_t jobs_adopted, jobs_restarted, jobs_resumed; /* resumed: were not running */
	uint32_t tasks_adopted, tasks_restarted;
	uint32_t ckpts_inherited, ckpts_completed, ckpts_given_up;
};

struct counts {
	struct counts_machine machines[COUNTS_MACHINES];
	uint64_t ckpts_completed, ckpts_given_up;
	uint64_t ckpts_ms_sum; /* from trigger to completion, of the completed */
	uint64_t ckpts_bytes;
	uint64_t restarts; /* attempts recorded after a failure */
	uint64_t tms_lost;
	/* what workers restored: objects and bytes of their own local copies, bytes of storage */
	uint64_t restored_copies, restored_local_bytes, restored_storage_bytes;
	uint64_t decisions, decisions_refused;
	uint64_t commands; /* sent, welcome and beats apart */
	struct counts_takeover takeover;
};

/* Count the moves of this machine from now on. */
void counts_watch(struct counts *c, struct sm *sm);

#endif
