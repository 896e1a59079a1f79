#include "jobmanager/restart.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"

static void fixed(const struct spec_restart *k, struct restart_state *s,
		  struct restart_verdict *out)
{
	out->restart = s->count <= k->attempts;
	out->delay_ms = k->delay_ms;
	if (out->restart)
		snprintf(out->why, sizeof(out->why),
			 "fixed-delay: restart %" PRIu32 " of %" PRIu32 " after %" PRIu64 " ms",
			 s->count, k->attempts, k->delay_ms);
	else
		snprintf(out->why, sizeof(out->why),
			 "fixed-delay: all %" PRIu32 " restarts are used up", k->attempts);
}

static void add_stamp(struct restart_state *s, int64_t wall_ms)
{
	if (s->n_stamps == RESTART_STAMPS_MAX) {
		memmove(s->stamps, s->stamps + 1, sizeof(s->stamps) - sizeof(s->stamps[0]));
		s->n_stamps--;
	}
	s->stamps[s->n_stamps++] = wall_ms;
}

static void rate(const struct spec_restart *k, struct restart_state *s, int64_t wall_ms,
		 struct restart_verdict *out)
{
	add_stamp(s, wall_ms);
	uint32_t within = 0;
	for (uint32_t i = 0; i < s->n_stamps; i++)
		within += s->stamps[i] > wall_ms - (int64_t)k->interval_ms;
	out->restart = within <= k->max_failures;
	out->delay_ms = k->delay_ms;
	snprintf(out->why, sizeof(out->why),
		 "failure-rate: %" PRIu32 " failures within %" PRIu64 " ms, %" PRIu32 " allowed",
		 within, k->interval_ms, k->max_failures);
}

static void exponential(const struct spec_restart *k, struct restart_state *s, int64_t previous_ms,
			int64_t wall_ms, uint64_t dice, struct restart_verdict *out)
{
	bool calm =
		previous_ms && wall_ms - previous_ms > (int64_t)(k->reset_after_ms + s->delay_ms);
	if (calm)
		s->count = 1;
	double next = (double)s->delay_ms * k->multiplier;
	if (s->count <= 1 || s->delay_ms == 0)
		s->delay_ms = k->initial_ms;
	else
		s->delay_ms = next < (double)k->max_ms ? (uint64_t)next : k->max_ms;
	struct prng p;
	prng_init(&p, dice);
	double swing = (double)prng_below(&p, 2001) / 1000.0 - 1.0; /* -1 .. 1 */
	double delay = (double)s->delay_ms * (1.0 + k->jitter * swing);
	out->restart = true;
	out->delay_ms = delay > 0 ? (uint64_t)delay : 0;
	snprintf(out->why, sizeof(out->why),
		 "exponential-delay: restart %" PRIu32 " after %" PRIu64 " ms", s->count,
		 out->delay_ms);
}

void restart_decide(const struct spec_restart *k, struct restart_state *s, int64_t wall_ms,
		    uint64_t dice, struct restart_verdict *out)
{
	int64_t previous_ms = s->last_wall_ms;
	*out = (struct restart_verdict){0};
	s->count++;
	s->last_wall_ms = wall_ms;
	switch (k->kind) {
	case SPEC_RESTART_NONE:
		snprintf(out->why, sizeof(out->why), "restart strategy none");
		break;
	case SPEC_RESTART_FIXED:
		fixed(k, s, out);
		break;
	case SPEC_RESTART_RATE:
		rate(k, s, wall_ms, out);
		break;
	case SPEC_RESTART_EXPONENTIAL:
		exponential(k, s, previous_ms, wall_ms, dice, out);
		break;
	}
}
