/*
 * drill_plan - which faults there are, what each needs, how long it lasts and
 * what is promised while it does; and the order in which a mix strikes.
 *
 * Pure: constants, and a schedule that follows from its seed alone. The same
 * seed and the same possibilities give the same faults in the same order.
 */
#ifndef CLI_DRILL_PLAN_H
#define CLI_DRILL_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"

enum drill_fault {
	DRILL_KILL_LEADER,
	DRILL_FREEZE_LEADER,
	DRILL_RESIGN_LEADER,
	DRILL_PARTITION_LEADER,
	DRILL_KILL_TASKMANAGER,
	DRILL_FREEZE_TASKMANAGER,
	DRILL_KILL_WORKER,
	DRILL_KILL_ETCD_LEADER,
	DRILL_FREEZE_ETCD_LEADER,
	DRILL_STOP_ETCD_QUORUM,
	DRILL_STORAGE_ERRORS,
	DRILL_STORAGE_SLOW,
	DRILL_ROLLING_RESTART,
	DRILL_FAULTS
};

/* What must be at hand for a fault. */
enum drill_need {
	DRILL_NEEDS_LOCAL = 1,   /* a cluster of `weir local`: what died is started again */
	DRILL_NEEDS_ETCD = 2,    /* three members of etcd or more, on this host */
	DRILL_NEEDS_NETWORK = 4, /* JobManagers in network namespaces of their own */
	DRILL_NEEDS_STORAGE =
		8, /* storage that the drill serves, or a directory of the cluster's */
	DRILL_NEEDS_SLOW_STORE = 16 /* storage that the drill itself serves */
};

struct drill_kind {
	const char *name;    /* "kill-leader" */
	const char *summary; /* one line */
	unsigned needs;      /* of enum drill_need */
	uint64_t hold_ms;    /* how long the fault lasts when it strikes alone */
	uint64_t mix_ms;     /* the longest within a mix */
	/* promised: */
	int64_t commanding_ms; /* a next leader commands within that; -1: no new leader is needed */
	unsigned leaders_max;  /* at most so many changes of leader */
	bool may_restart;      /* tasks may be restarted */
	uint64_t recovered_ms; /* after its end: all there, job running, a checkpoint completed */
};

const struct drill_kind *drill_kind(enum drill_fault fault);
/* False: no such name. */
bool drill_fault_named(const char *name, enum drill_fault *out);

struct drill_step {
	enum drill_fault fault;
	uint64_t hold_ms;
	uint64_t pause_ms; /* of quiet before the next one */
};

struct drill_mix {
	struct prng dice;
	unsigned n;
	enum drill_fault deck[DRILL_FAULTS]; /* what is possible, in the order of this round */
	unsigned at;
};

/* `have`: of enum drill_need. At least one fault needs nothing, so a mix is never empty. */
void drill_mix_init(struct drill_mix *m, uint64_t seed, unsigned have);
/* Every possible fault once, shuffled; then again, shuffled anew: none is starved. */
void drill_mix_next(struct drill_mix *m, struct drill_step *out);

#endif
