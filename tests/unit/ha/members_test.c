/* Which members of etcd are asked: the configured ones and what etcd's list adds to them. */
#include "ha/members.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static const bool nobody_busy[MEMBERS_MAX];

static void list(struct members *m, uint64_t now_ms, const char *a, const char *b)
{
	char *urls[2] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b};
	members_listed(m, urls, b ? 2 : 1, nobody_busy, now_ms);
}

static void one_configured(struct members *m)
{
	static const char *const urls[] = {"http://e1:2379"};
	members_init(m, urls, 1);
}

static void prove_all(struct members *m)
{
	for (int i; (i = members_unproved(m)) >= 0;)
		members_proved(m, (unsigned)i, true);
}

Test(members, what_etcd_lists_is_used_once_it_has_answered)
{
	struct members m;
	one_configured(&m);
	list(&m, 1000, "http://e1:2379", "http://e2:2379");
	cr_expect(eq(uint, m.n_used, 1));
	cr_expect(eq(uint, members_next(&m, 0), 0));
	int at = members_unproved(&m);
	cr_assert(ge(int, at, 0));
	members_proved(&m, (unsigned)at, true);
	cr_expect(eq(uint, m.n_used, 2));
	cr_expect(eq(uint, members_next(&m, 0), (unsigned)at));
	cr_expect(eq(uint, members_next(&m, (unsigned)at), 0));
	cr_expect(eq(int, members_unproved(&m), -1));
}

Test(members, what_does_not_answer_is_not_used_and_may_be_listed_again)
{
	struct members m;
	one_configured(&m);
	list(&m, 1000, "http://e2:2379", NULL);
	members_proved(&m, (unsigned)members_unproved(&m), false);
	cr_expect(eq(int, members_unproved(&m), -1));
	cr_expect(eq(uint, m.n_used, 1));
	list(&m, 2000, "http://e2:2379", NULL);
	prove_all(&m);
	cr_expect(eq(uint, m.n_used, 2));
}

Test(members, what_is_not_listed_any_more_goes_after_a_while_but_never_what_is_configured)
{
	struct members m;
	one_configured(&m);
	list(&m, 1000, "http://e2:2379", NULL);
	prove_all(&m);
	list(&m, 1000 + MEMBERS_FORGET_MS - 1, "http://e3:2379", NULL);
	prove_all(&m);
	cr_expect(eq(uint, m.n_used, 3), "a list may be old");
	list(&m, 1000 + MEMBERS_FORGET_MS, "http://e3:2379", NULL);
	cr_expect(eq(uint, m.n_used, 2));
	cr_expect(members_used(&m, 0), "configured, and never listed");
	members_proved(&m, 0, false);
	cr_expect(members_used(&m, 0));
}

Test(members, addresses_that_nobody_else_can_use_and_other_schemes_are_left_out)
{
	struct members m;
	one_configured(&m);
	list(&m, 1, "https://e2:2379", "http://0.0.0.0:2379");
	list(&m, 1, "http://[::]:2379", "unix://e2");
	cr_expect(eq(int, members_unproved(&m), -1));
}

Test(members, a_place_in_use_is_not_given_away_and_there_are_not_more_than_places)
{
	struct members m;
	bool busy[MEMBERS_MAX] = {false};
	one_configured(&m);
	busy[1] = true;
	char *url[] = {(char *)(uintptr_t) "http://e2:2379"};
	members_listed(&m, url, 1, busy, 1);
	cr_expect(eq(int, members_unproved(&m), 2));
	for (unsigned i = 0; i < 3 * MEMBERS_MAX; i++) {
		char text[32];
		snprintf(text, sizeof(text), "http://x%u:2379", i);
		list(&m, 1, text, NULL);
	}
	prove_all(&m);
	cr_expect(eq(uint, m.n_used, MEMBERS_MAX));
}
