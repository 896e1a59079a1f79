/* When the snapshot thread rests: only beside tasks that need the cores, and never for long. */
#include "taskmanager/pace.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

enum { BLOCK = 1 << 20, ROW = 16, ROWS = BLOCK / ROW, MS = 1000000 };

static struct pace_time at(uint64_t ms, uint64_t ran_ms, uint64_t waited_ms)
{
	return (struct pace_time){.now_ns = 7000 * (uint64_t)MS + ms * MS,
				  .ran_ns = 300 * (uint64_t)MS + ran_ms * MS,
				  .waited_ns = 50 * (uint64_t)MS + waited_ms * MS};
}

static struct pace begun(uint64_t blocks, uint32_t parts)
{
	struct pace_time t = at(0, 0, 0);
	struct pace p;

	pace_begin(&p, &t, blocks * ROWS, parts);
	return p;
}

Test(pace, does_not_rest_with_a_core_to_spare)
{
	struct pace p = begun(64, 1);

	for (uint64_t ms = 1; ms < 60; ms++) {
		struct pace_time t = at(ms, ms, ms / 10);

		cr_assert(eq(u64, pace_rest(&p, &t, ROWS, BLOCK), 0));
	}
}

Test(pace, rests_when_ahead_and_cores_are_scarce)
{
	struct pace p = begun(64, 1);
	struct pace_time t = at(1, 1, 1);

	/* 1 MiB at 64 MiB/s is due after 15.6 ms. */
	cr_assert(eq(u64, pace_rest(&p, &t, ROWS, BLOCK), PACE_REST_MAX_NS));
	t = at(15, 1, 2);
	cr_assert(eq(u64, pace_rest(&p, &t, 0, 0), 625000));
	t = at(16, 1, 3);
	cr_assert(eq(u64, pace_rest(&p, &t, 0, 0), 0));
}

/* What the thread ran and waited for before the part does not count. */
Test(pace, judges_by_this_part_alone)
{
	struct pace_time early = {.now_ns = 1, .ran_ns = 1, .waited_ns = UINT64_C(1) << 40};
	struct pace_time t = {.now_ns = 1000, .ran_ns = 900, .waited_ns = UINT64_C(1) << 40};
	struct pace p;

	pace_begin(&p, &early, ROWS, 1);
	cr_assert(eq(u64, pace_rest(&p, &t, ROWS, BLOCK), 0));
}

/* Walk a whole state whose thread waits as long as it runs; how long it takes, in ms. */
static uint64_t whole(uint64_t blocks, uint32_t parts)
{
	uint64_t ns = 0;

	for (uint32_t i = 0; i < parts; i++) {
		struct pace p;
		struct pace_time t = {ns, ns / 2, ns / 2};
		uint64_t rest;

		pace_begin(&p, &t, blocks * ROWS, parts);
		for (uint64_t done = 0; done < blocks; done++) {
			uint64_t more = 1;

			ns += 100000;
			t = (struct pace_time){ns, ns / 2, ns / 2};
			while ((rest = pace_rest(&p, &t, more * ROWS, more * BLOCK)) > 0) {
				ns += rest;
				t = (struct pace_time){ns, ns / 2, ns / 2};
				more = 0;
			}
		}
	}
	return ns / MS;
}

Test(pace, small_states_take_as_long_as_the_rate_says)
{
	cr_assert(ge(u64, whole(16, 4), 990));
	cr_assert(le(u64, whole(16, 4), 1010));
}

Test(pace, large_states_are_done_within_the_longest)
{
	cr_assert(ge(u64, whole(512, 4), 4900));
	cr_assert(le(u64, whole(512, 4), 5100));
}
