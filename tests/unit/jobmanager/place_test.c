#include "jobmanager/place.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* "2 4/1 0" offers (of the 4 one is shared), owners before (a letter each, "-" for nobody; NULL:
 * none) -> owners as letters, "-" when they are too few. */
static void golden_after(const char *offers_text, uint32_t slots, const char *before,
			 const char *expected)
{
	uint16_t former[64];
	struct place_offer offers[16] = {0};
	uint16_t owner[64];
	char said[65] = "";
	uint32_t n = 0;
	uint64_t free_slots = 0;
	for (const char *c = offers_text; *c; c++)
		if (*c == '/')
			offers[n - 1].shared = (uint32_t)(*++c - '0');
		else if (*c != ' ')
			offers[n++].free = (uint32_t)(*c - '0');
	for (uint32_t i = 0; before && i < slots; i++)
		former[i] = before[i] == '-' ? PLACE_NOBODY : (uint16_t)(before[i] - 'a');
	if (place(offers, n, slots, before ? former : NULL, owner, &free_slots))
		for (uint32_t i = 0; i < slots; i++)
			said[i] = (char)('a' + owner[i]);
	else
		snprintf(said, sizeof(said), "-");
	cr_expect_str_eq(said, expected, "%s for %u slots: %s, expected %s", offers_text, slots,
			 said, expected);
}

static void golden(const char *offers_text, uint32_t slots, const char *expected)
{
	golden_after(offers_text, slots, NULL, expected);
}

Test(place, slots_go_round)
{
	golden("4", 4, "aaaa");
	golden("4 4", 4, "abab");
	golden("2 2", 4, "abab");
	golden("1 1 1", 3, "abc");
	golden("4 4 4", 4, "abca");
	golden("2 4", 4, "baba");
	golden("1 4", 4, "babb");
	golden("1 3", 4, "babb");
}

Test(place, the_freest_come_first)
{
	golden("1 2 3", 1, "c");
	golden("3 3 1", 2, "ab");
	golden("0 2 0 2", 3, "bdb");
}

Test(place, slots_that_the_job_has_already_come_first)
{
	golden("2 2/2", 3, "abb");
	golden("4 4/1 4/1", 2, "bc");
	golden("4 2/2 4/1", 3, "cbb");
	golden("1 1/1", 3, "-");
	golden_after("4 4/2", 2, "aa", "bb");
}

Test(place, too_few_is_said_and_nothing_is_placed)
{
	golden("", 1, "-");
	golden("0 0", 1, "-");
	golden("2 1", 4, "-");
	uint16_t owner[4] = {9, 9, 9, 9};
	struct place_offer offers[] = {{.free = 2}, {.free = 1}};
	uint64_t free_slots = 0;
	cr_assert_not(place(offers, 2, 4, NULL, owner, &free_slots));
	cr_assert_eq(free_slots, 3);
	cr_assert_eq(owner[0], 9);
}

Test(place, nobody_gets_more_than_is_free)
{
	for (uint32_t slots = 1; slots <= 12; slots++) {
		struct place_offer offers[] = {{.free = 5}, {.free = 1}, {.free = 0}, {.free = 6}};
		uint16_t owner[12];
		uint32_t got[4] = {0};
		cr_assert(place(offers, 4, slots, NULL, owner, NULL));
		for (uint32_t i = 0; i < slots; i++)
			got[owner[i]]++;
		for (int i = 0; i < 4; i++)
			cr_assert_leq(got[i], offers[i].free);
	}
}

Test(place, who_held_a_slot_keeps_it)
{
	golden_after("4 4", 4, "baab", "baab");
	golden_after("4 4", 4, "aabb", "aabb");
	/* b is gone, c is new */
	golden_after("2 0 2", 4, "abab", "acac");
	golden_after("2 2", 4, "a-a-", "abab");
	/* the survivors are preferred to who comes earlier in the list */
	golden_after("2 2 2", 4, "-cbc", "acbc");
	golden_after("1 1 1", 1, "c", "c");
}

Test(place, nobody_keeps_more_than_an_even_share)
{
	golden_after("4 4", 4, "aaaa", "aabb");
	golden_after("4 2", 4, "bbbb", "bbaa");
	golden_after("4 1", 4, "bbb-", "baaa");
}
