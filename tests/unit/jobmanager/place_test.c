#include "jobmanager/place.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* "2 4 0" offers, slots -> owners as letters, "-" when they are too few. */
static void golden(const char *offers_text, uint32_t slots, const char *expected)
{
	struct place_offer offers[16] = {0};
	uint16_t owner[64];
	char said[65] = "";
	uint32_t n = 0;
	uint64_t free_slots = 0;
	for (const char *c = offers_text; *c; c++)
		if (*c != ' ')
			offers[n++].free = (uint32_t)(*c - '0');
	if (place(offers, n, slots, owner, &free_slots))
		for (uint32_t i = 0; i < slots; i++)
			said[i] = (char)('a' + owner[i]);
	else
		snprintf(said, sizeof(said), "-");
	cr_expect_str_eq(said, expected, "%s for %u slots: %s, expected %s", offers_text, slots,
			 said, expected);
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

Test(place, too_few_is_said_and_nothing_is_placed)
{
	golden("", 1, "-");
	golden("0 0", 1, "-");
	golden("2 1", 4, "-");
	uint16_t owner[4] = {9, 9, 9, 9};
	struct place_offer offers[] = {{.free = 2}, {.free = 1}};
	uint64_t free_slots = 0;
	cr_assert_not(place(offers, 2, 4, owner, &free_slots));
	cr_assert_eq(free_slots, 3);
	cr_assert_eq(owner[0], 9);
}

Test(place, nobody_gets_more_than_is_free)
{
	for (uint32_t slots = 1; slots <= 12; slots++) {
		struct place_offer offers[] = {{.free = 5}, {.free = 1}, {.free = 0}, {.free = 6}};
		uint16_t owner[12];
		uint32_t got[4] = {0};
		cr_assert(place(offers, 4, slots, owner, NULL));
		for (uint32_t i = 0; i < slots; i++)
			got[owner[i]]++;
		for (int i = 0; i < 4; i++)
			cr_assert_leq(got[i], offers[i].free);
	}
}
