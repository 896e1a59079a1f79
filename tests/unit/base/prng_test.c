#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/prng.h"

/* From the reference implementations of splitmix64 and xoshiro256**: seed 0. */
Test(prng, reference_values)
{
	struct prng p;
	prng_init(&p, 0);
	cr_assert(eq(u64, p.s[0], UINT64_C(0xe220a8397b1dcdaf)));
	cr_assert(eq(u64, p.s[1], UINT64_C(0x6e789e6aa1b965f4)));
	cr_assert(eq(u64, prng_next(&p), UINT64_C(0x99ec5f36cb75f2b4)));
	cr_assert(eq(u64, prng_next(&p), UINT64_C(0xbf6e1f784956452a)));
}

Test(prng, one_seed_one_sequence)
{
	struct prng a, b, c;
	prng_init(&a, 7);
	prng_init(&b, 7);
	prng_init(&c, 8);
	unsigned differ = 0;
	for (int i = 0; i < 1000; i++) {
		uint64_t n = prng_next(&a);
		cr_assert(eq(u64, n, prng_next(&b)));
		differ += n != prng_next(&c);
	}
	cr_assert(eq(uint, differ, 1000));
}

Test(prng, ranges_hold_and_reach_their_ends)
{
	struct prng p;
	prng_init(&p, 1);
	bool low = false, high = false;
	for (int i = 0; i < 1000; i++) {
		cr_assert(eq(u64, prng_below(&p, 1), 0));
		uint64_t n = prng_between(&p, 3, 5);
		cr_assert(n >= 3 && n <= 5);
		low = low || n == 3;
		high = high || n == 5;
	}
	cr_assert(low && high);
	cr_assert(eq(u64, prng_between(&p, 9, 9), 9));
}

Test(prng, chances)
{
	struct prng p;
	prng_init(&p, 1);
	unsigned hits = 0;
	for (int i = 0; i < 100000; i++) {
		cr_assert(not(prng_chance(&p, 0)));
		cr_assert(prng_chance(&p, 1000000));
		hits += prng_chance(&p, 250000);
	}
	cr_assert(hits > 24000 && hits < 26000, "%u", hits);
}
