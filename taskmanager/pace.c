#include "taskmanager/pace.h"

enum { SECOND_NS = 1000000000, SCARCE_SHARE = 5 };

void pace_begin(struct pace *p, const struct pace_time *t, uint64_t rows, uint32_t parts)
{
	*p = (struct pace){.began = *t, .whole = rows * (parts ? parts : 1)};
}

/* Bytes per second. In double: bytes times 10^9 would not fit. */
static double rate(const struct pace *p)
{
	double row = p->rows ? (double)p->bytes / (double)p->rows : 0;
	double needed = row * (double)p->whole * SECOND_NS / (double)PACE_LONGEST_NS;

	return needed > (double)PACE_RATE ? needed : (double)PACE_RATE;
}

/* Does this thread wait for a core more than a fifth of the time that it wants one? */
static int scarce(const struct pace *p, const struct pace_time *t)
{
	uint64_t ran = t->ran_ns - p->began.ran_ns;
	uint64_t waited = t->waited_ns - p->began.waited_ns;

	return waited > (ran + waited) / SCARCE_SHARE;
}

uint64_t pace_rest(struct pace *p, const struct pace_time *t, uint64_t rows, uint64_t bytes)
{
	uint64_t due, passed = t->now_ns - p->began.now_ns;

	p->rows += rows;
	p->bytes += bytes;
	due = (uint64_t)((double)p->bytes * SECOND_NS / rate(p));
	if (due <= passed || !scarce(p, t))
		return 0;
	return due - passed < PACE_REST_MAX_NS ? due - passed : PACE_REST_MAX_NS;
}
