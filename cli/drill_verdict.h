/*
 * drill_verdict - what was seen of one fault, and whether the promises held.
 *
 * Pure. A value of -1 is "not seen": no new leader, nothing noticed.
 */
#ifndef CLI_DRILL_VERDICT_H
#define CLI_DRILL_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/drill_plan.h"

enum { DRILL_WHY_MAX = 160 };

struct drill_result {
	enum drill_fault fault;
	char victim[40];       /* "jm-2"; "" if there is none */
	int64_t at_ms;         /* of the strike, since the drill began */
	uint64_t hold_ms;      /* how long the fault lasted; 0: until somebody else led */
	int64_t healed_ms;     /* since the drill began: the end of the fault */
	int64_t detected_ms;   /* after the strike: somebody else said that something is wrong */
	int64_t commanding_ms; /* after the strike: the next leader */
	int64_t recovered_ms;  /* after its end: all is as before; -1: never */
	int64_t gap_ms;        /* longest silence of the output around it */
	unsigned leaders;      /* changes of leader */
	unsigned tasks_restarted;
	unsigned checkpoints_lost;
	bool job_failed; /* it ended, or never ran again */
};

struct drill_totals {
	bool counted;     /* the committed output could be read to its end */
	int64_t expected; /* records */
	int64_t lost, doubled;
};

/* True: every promise about this fault held. Else `why` says the first that did not. */
bool drill_judge(const struct drill_result *r, char why[DRILL_WHY_MAX]);
/* Likewise of the whole output. What could not be counted breaks no promise, and keeps none. */
bool drill_judge_totals(const struct drill_totals *t, char why[DRILL_WHY_MAX]);

#endif
