#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "cli/drill_plan.h"

enum {
	EVERYTHING = DRILL_NEEDS_LOCAL | DRILL_NEEDS_ETCD | DRILL_NEEDS_NETWORK |
		     DRILL_NEEDS_STORAGE | DRILL_NEEDS_SLOW_STORE
};

Test(drill_plan, every_fault_has_a_name_of_its_own)
{
	for (int i = 0; i < DRILL_FAULTS; i++) {
		enum drill_fault found = DRILL_FAULTS;
		const struct drill_kind *k = drill_kind((enum drill_fault)i);
		cr_assert(drill_fault_named(k->name, &found));
		cr_expect(eq(int, (int)found, i));
		cr_expect(k->summary[0] != '\0' && k->recovered_ms > 0);
	}
	enum drill_fault found;
	cr_expect(not(drill_fault_named("kill", &found)));
	cr_expect(not(drill_fault_named("", &found)));
}

Test(drill_plan, same_seed_same_faults)
{
	struct drill_mix a, b, c;
	unsigned same = 0;
	drill_mix_init(&a, 7, EVERYTHING);
	drill_mix_init(&b, 7, EVERYTHING);
	drill_mix_init(&c, 8, EVERYTHING);
	for (int i = 0; i < 200; i++) {
		struct drill_step x, y, z;
		drill_mix_next(&a, &x);
		drill_mix_next(&b, &y);
		drill_mix_next(&c, &z);
		cr_assert(x.fault == y.fault && x.hold_ms == y.hold_ms && x.pause_ms == y.pause_ms);
		same += x.fault == z.fault && x.hold_ms == z.hold_ms;
	}
	cr_expect(lt(u32, same, 100));
}

Test(drill_plan, no_fault_is_starved)
{
	struct drill_mix m;
	unsigned count[DRILL_FAULTS] = {0};
	drill_mix_init(&m, 1, EVERYTHING);
	for (int i = 0; i < 5 * DRILL_FAULTS; i++) {
		struct drill_step s;
		drill_mix_next(&m, &s);
		count[s.fault]++;
	}
	for (int i = 0; i < DRILL_FAULTS; i++)
		cr_expect(eq(u32, count[i], 5));
}

Test(drill_plan, only_what_is_possible_and_within_its_time)
{
	for (unsigned have = 0; have <= EVERYTHING; have++) {
		struct drill_mix m;
		drill_mix_init(&m, have, have);
		for (int i = 0; i < 50; i++) {
			struct drill_step s;
			drill_mix_next(&m, &s);
			const struct drill_kind *k = drill_kind(s.fault);
			cr_assert(eq(u32, k->needs & ~have, 0));
			cr_assert(s.hold_ms <= k->mix_ms);
			cr_assert(k->mix_ms == 0 || s.hold_ms > 0);
		}
	}
}
