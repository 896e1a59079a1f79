/*
 * restart - whether a job that failed by its own doing runs again, and when.
 *
 *   none               never
 *   fixed-delay        up to `attempts` times, each after `delay`
 *   failure-rate       as long as fewer than `max_failures` lie within `interval`
 *   exponential-delay  always; the delay grows by `multiplier` up to `max`, and starts again after
 *                      `reset_after` without a failure
 *
 * Only the job's own failures come here. The state is part of the job's hot
 * document, so it counts in wall-clock time and survives a change of leader; a
 * clock that steps can only make one delay longer or shorter, within the
 * strategy's own bounds.
 */
#ifndef JOBMANAGER_RESTART_H
#define JOBMANAGER_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "job/spec.h"

enum { RESTART_STAMPS_MAX = 64 };

struct restart_state {        /* the zero value: no failure so far */
	uint32_t count;       /* own failures since creation (exponential: since the last reset) */
	uint64_t delay_ms;    /* exponential: the last delay before jitter */
	int64_t last_wall_ms; /* of the newest failure */
	uint32_t n_stamps;    /* failure-rate: newest last */
	int64_t stamps[RESTART_STAMPS_MAX];
};

struct restart_verdict {
	bool restart;
	uint64_t delay_ms;
	char why[160]; /* for people: "exponential-delay: restart 3 after 400 ms" */
};

/* Count one failure and decide. `dice` is any number: jitter is drawn from it. A failure-rate
 * window larger than RESTART_STAMPS_MAX is judged by the newest RESTART_STAMPS_MAX failures. */
void restart_decide(const struct spec_restart *strategy, struct restart_state *state,
		    int64_t wall_ms, uint64_t dice, struct restart_verdict *out);

#endif
