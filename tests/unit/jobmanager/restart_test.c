#include "jobmanager/restart.h"

#include <criterion/criterion.h>

static struct restart_verdict next(const struct spec_restart *k, struct restart_state *s,
				   int64_t ms)
{
	struct restart_verdict v;
	restart_decide(k, s, ms, 1, &v);
	return v;
}

Test(restart, none_never_restarts)
{
	struct spec_restart k = {.kind = SPEC_RESTART_NONE};
	struct restart_state s = {0};
	cr_assert_not(next(&k, &s, 1).restart);
}

Test(restart, fixed_delay_is_used_up)
{
	struct spec_restart k = {.kind = SPEC_RESTART_FIXED, .attempts = 2, .delay_ms = 500};
	struct restart_state s = {0};
	cr_assert_eq(next(&k, &s, 1).delay_ms, 500);
	cr_assert(next(&k, &s, 2).restart);
	cr_assert_not(next(&k, &s, 3).restart);
	cr_assert_eq(s.count, 3);
}

Test(restart, failure_rate_looks_at_a_window)
{
	struct spec_restart k = {
		.kind = SPEC_RESTART_RATE, .max_failures = 2, .interval_ms = 1000, .delay_ms = 10};
	struct restart_state s = {0};
	cr_assert(next(&k, &s, 10000).restart);
	cr_assert(next(&k, &s, 10500).restart);
	cr_assert(next(&k, &s, 11001).restart, "the first is out of the window");
	cr_assert_not(next(&k, &s, 11002).restart);
	cr_assert_eq(s.n_stamps, 4);
}

Test(restart, failure_rate_keeps_a_bounded_ring)
{
	struct spec_restart k = {
		.kind = SPEC_RESTART_RATE, .max_failures = 1000, .interval_ms = 1000000};
	struct restart_state s = {0};
	for (int i = 0; i < 3 * RESTART_STAMPS_MAX; i++)
		cr_assert(next(&k, &s, 1000 + i).restart);
	cr_assert_eq(s.n_stamps, RESTART_STAMPS_MAX);
	cr_assert_eq(s.stamps[RESTART_STAMPS_MAX - 1], 1000 + 3 * RESTART_STAMPS_MAX - 1);
}

static const struct spec_restart exponential = {.kind = SPEC_RESTART_EXPONENTIAL,
						.initial_ms = 100,
						.max_ms = 1000,
						.multiplier = 2.0,
						.reset_after_ms = 60000};

Test(restart, exponential_delay_grows_to_its_maximum)
{
	struct restart_state s = {0};
	uint64_t expected[] = {100, 200, 400, 800, 1000, 1000};
	for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		cr_assert_eq(next(&exponential, &s, 1000 + i).delay_ms, expected[i]);
}

Test(restart, exponential_delay_starts_again_after_calm)
{
	struct restart_state s = {0};
	next(&exponential, &s, 1000);
	next(&exponential, &s, 2000);
	cr_assert_eq(next(&exponential, &s, 2000 + 60000).delay_ms, 400,
		     "not calm for long enough");
	struct restart_verdict v = next(&exponential, &s, 62000 + 60401);
	cr_assert_eq(v.delay_ms, 100);
	cr_assert_eq(s.count, 1);
}

Test(restart, jitter_stays_within_its_share)
{
	struct spec_restart k = exponential;
	k.jitter = 0.5;
	bool differs = false;
	for (uint64_t dice = 0; dice < 200; dice++) {
		struct restart_state s = {0};
		struct restart_verdict v;
		restart_decide(&k, &s, 1000, dice, &v);
		cr_assert(v.delay_ms >= 50 && v.delay_ms <= 150);
		differs |= v.delay_ms != 100;
	}
	cr_assert(differs);
}
