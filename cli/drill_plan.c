#include "cli/drill_plan.h"

#include <assert.h>
#include <string.h>

enum {
	HOLD_MIN_MS = 200,
	PAUSE_MAX_MS = 1000,
	DEAD_MS = 3000,  /* one whose connections closed: mere ms, but for a starving machine */
	SILENT_MS = 7000 /* one that is silent: its lease, and 2 s for a busy machine */
};

static const struct drill_kind kinds[DRILL_FAULTS] = {
	[DRILL_KILL_LEADER] = {"kill-leader", "SIGKILL the leading JobManager", 0, 0, 0, DEAD_MS, 2,
			       false, 20000},
	[DRILL_FREEZE_LEADER] = {"freeze-leader",
				 "stop the leading JobManager (SIGSTOP), then let it go on", 0,
				 15000, 9000, SILENT_MS, 2, false, 20000},
	[DRILL_RESIGN_LEADER] =
		{"resign-leader",
		 "ask the leading JobManager to leave (SIGTERM; attached: over REST, it stays)", 0,
		 0, 0, DEAD_MS, 2, false, 20000},
	[DRILL_PARTITION_LEADER] = {"partition-leader",
				    "cut the leading JobManager off from everybody",
				    DRILL_NEEDS_LOCAL | DRILL_NEEDS_NETWORK, 15000, 9000, SILENT_MS,
				    2, false, 20000},
	[DRILL_KILL_TASKMANAGER] = {"kill-taskmanager", "SIGKILL a TaskManager with tasks",
				    DRILL_NEEDS_LOCAL, 0, 0, -1, 0, true, 20000},
	[DRILL_FREEZE_TASKMANAGER] =
		{"freeze-taskmanager",
		 "stop a TaskManager and its worker (SIGSTOP), then let them go on", 0, 12000, 9000,
		 -1, 0, true, 30000},
	[DRILL_KILL_WORKER] = {"kill-worker", "SIGKILL a process that runs tasks", 0, 0, 0, -1, 0,
			       true, 20000},
	[DRILL_KILL_ETCD_LEADER] = {"kill-etcd-leader", "SIGKILL etcd's leader",
				    DRILL_NEEDS_LOCAL | DRILL_NEEDS_ETCD, 1000, 2000, -1, 0, false,
				    20000},
	[DRILL_FREEZE_ETCD_LEADER] = {"freeze-etcd-leader",
				      "stop etcd's leader (SIGSTOP), then let it go on",
				      DRILL_NEEDS_LOCAL | DRILL_NEEDS_ETCD, 8000, 5000, -1, 1,
				      false, 20000},
	[DRILL_STOP_ETCD_QUORUM] = {"stop-etcd-quorum",
				    "SIGKILL all members of etcd but one, then start them again",
				    DRILL_NEEDS_LOCAL | DRILL_NEEDS_ETCD, 20000, 6000, -1, 1, false,
				    20000},
	[DRILL_STORAGE_ERRORS] = {"storage-errors", "every access to the storage fails",
				  DRILL_NEEDS_LOCAL | DRILL_NEEDS_STORAGE, 10000, 4000, -1, 0,
				  false, 30000},
	[DRILL_STORAGE_SLOW] = {"storage-slow", "every access to the storage takes 2 s longer",
				DRILL_NEEDS_LOCAL | DRILL_NEEDS_SLOW_STORE, 15000, 6000, -1, 0,
				false, 30000},
	[DRILL_ROLLING_RESTART] = {"rolling-restart",
				   "stop and start every JobManager and member of etcd in turn",
				   DRILL_NEEDS_LOCAL, 0, 0, -1, 9, false, 30000},
};

const struct drill_kind *drill_kind(enum drill_fault fault)
{
	assert(fault < DRILL_FAULTS);
	return &kinds[fault];
}

bool drill_fault_named(const char *name, enum drill_fault *out)
{
	for (int i = 0; i < DRILL_FAULTS; i++)
		if (strcmp(kinds[i].name, name) == 0) {
			*out = (enum drill_fault)i;
			return true;
		}
	return false;
}

static void shuffle(struct drill_mix *m)
{
	for (unsigned i = m->n; i > 1; i--) {
		unsigned other = (unsigned)prng_below(&m->dice, i);
		enum drill_fault fault = m->deck[i - 1];
		m->deck[i - 1] = m->deck[other];
		m->deck[other] = fault;
	}
	m->at = 0;
}

void drill_mix_init(struct drill_mix *m, uint64_t seed, unsigned have)
{
	*m = (struct drill_mix){0};
	prng_init(&m->dice, seed);
	for (int i = 0; i < DRILL_FAULTS; i++)
		if ((kinds[i].needs & ~have) == 0)
			m->deck[m->n++] = (enum drill_fault)i;
	assert(m->n > 0);
	shuffle(m);
}

void drill_mix_next(struct drill_mix *m, struct drill_step *out)
{
	if (m->at == m->n)
		shuffle(m);
	out->fault = m->deck[m->at++];
	uint64_t longest = kinds[out->fault].mix_ms;
	/* Always drawn, so that what comes after does not depend on what this fault is. */
	uint64_t drawn = prng_next(&m->dice);
	out->hold_ms = longest ? HOLD_MIN_MS + drawn % (longest - HOLD_MIN_MS) : 0;
	out->pause_ms = prng_below(&m->dice, PAUSE_MAX_MS);
}
