#include "taskmanager/align.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct align_result barrier(struct align *a, uint32_t channel, uint64_t id)
{
	struct align_result r;

	align_barrier(a, channel, id, 100 * id, &r);
	return r;
}

Test(align, completes_at_the_last_channel)
{
	struct align a;

	align_init(&a, true, 3);
	cr_assert(eq(int, barrier(&a, 0, 5).verdict, ALIGN_HOLD));
	cr_assert(eq(int, barrier(&a, 2, 5).verdict, ALIGN_HOLD));
	struct align_result r = barrier(&a, 1, 5);
	cr_assert(eq(int, r.verdict, ALIGN_COMPLETE));
	cr_assert(r.release);
	cr_assert(eq(int, barrier(&a, 1, 5).verdict, ALIGN_PASS));
	cr_assert(eq(int, barrier(&a, 1, 4).verdict, ALIGN_PASS));
	align_fini(&a);
}

Test(align, a_channel_counts_once)
{
	struct align a;

	align_init(&a, true, 2);
	barrier(&a, 0, 5);
	cr_assert(eq(int, barrier(&a, 0, 5).verdict, ALIGN_PASS));
	cr_assert(eq(int, barrier(&a, 1, 5).verdict, ALIGN_COMPLETE));
	align_fini(&a);
}

Test(align, a_newer_barrier_ends_the_older_and_releases)
{
	struct align a;

	align_init(&a, true, 2);
	barrier(&a, 0, 5);
	struct align_result r = barrier(&a, 1, 6);
	cr_assert(eq(int, r.verdict, ALIGN_HOLD));
	cr_assert(r.release);
	cr_assert(eq(int, r.n_ended, 1));
	cr_assert(eq(u64, r.ended[0], 5));
	cr_assert(eq(int, barrier(&a, 0, 6).verdict, ALIGN_COMPLETE));
	align_fini(&a);
}

Test(align, an_older_barrier_than_the_one_under_way_passes)
{
	struct align a;

	align_init(&a, true, 2);
	barrier(&a, 0, 6);
	cr_assert(eq(int, barrier(&a, 1, 5).verdict, ALIGN_PASS));
	cr_assert(eq(int, barrier(&a, 1, 6).verdict, ALIGN_COMPLETE));
	align_fini(&a);
}

Test(align, given_up_before_its_first_barrier)
{
	struct align a;

	align_init(&a, true, 2);
	cr_assert(not(align_abort(&a, 13)));
	cr_assert(eq(int, barrier(&a, 0, 13).verdict, ALIGN_PASS));
	cr_assert(eq(int, barrier(&a, 0, 12).verdict, ALIGN_HOLD), "12 was not given up");
	cr_assert(eq(int, barrier(&a, 1, 12).verdict, ALIGN_COMPLETE));
	cr_assert(not(align_trigger(&a, 13)));
	cr_assert(align_trigger(&a, 14));
	align_fini(&a);
}

Test(align, given_up_between_two_barriers)
{
	struct align a;

	align_init(&a, true, 2);
	barrier(&a, 0, 13);
	cr_assert(align_abort(&a, 13));
	cr_assert(eq(int, barrier(&a, 1, 13).verdict, ALIGN_PASS));
	cr_assert(not(align_abort(&a, 13)), "twice is nothing");
	cr_assert(eq(int, barrier(&a, 1, 14).verdict, ALIGN_HOLD));
	align_fini(&a);
}

Test(align, triggers_only_grow)
{
	struct align a;

	align_init(&a, true, 0);
	cr_assert(align_trigger(&a, 3));
	cr_assert(not(align_trigger(&a, 3)));
	cr_assert(not(align_trigger(&a, 2)));
	cr_assert(align_trigger(&a, 7));
	align_fini(&a);
}

Test(align, at_least_once_counts_several_at_once)
{
	struct align a;

	align_init(&a, false, 2);
	barrier(&a, 0, 5);
	barrier(&a, 0, 6);
	cr_assert(eq(int, barrier(&a, 1, 5).verdict, ALIGN_COMPLETE));
	cr_assert(eq(int, barrier(&a, 1, 6).verdict, ALIGN_COMPLETE));
	align_fini(&a);
}

Test(align, at_least_once_completing_ends_all_older)
{
	struct align a;

	align_init(&a, false, 2);
	barrier(&a, 0, 5);
	barrier(&a, 0, 6);
	barrier(&a, 0, 7);
	struct align_result r = barrier(&a, 1, 7);
	cr_assert(eq(int, r.verdict, ALIGN_COMPLETE));
	cr_assert(eq(int, r.n_ended, 2));
	cr_assert(eq(u64, r.ended[0], 5));
	cr_assert(eq(u64, r.ended[1], 6));
	cr_assert(eq(int, barrier(&a, 1, 6).verdict, ALIGN_PASS));
	align_fini(&a);
}

Test(align, at_least_once_forgets_the_oldest_when_full)
{
	struct align a;
	struct align_result r;

	align_init(&a, false, 2);
	for (uint64_t id = 1; id <= ALIGN_PENDING_MAX; id++)
		barrier(&a, 0, id);
	r = barrier(&a, 0, 100);
	cr_assert(eq(int, r.n_ended, 1));
	cr_assert(eq(u64, r.ended[0], 1));
	align_fini(&a);
}

Test(align, overdue)
{
	struct align a;

	align_init(&a, true, 2);
	cr_assert(eq(u64, align_overdue(&a, 1000), 0));
	barrier(&a, 0, 5); /* at 500 */
	cr_assert(eq(u64, align_overdue(&a, 500), 0));
	cr_assert(eq(u64, align_overdue(&a, 501), 5));
	align_fini(&a);
}
