#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <signal.h>

#include "base/sm.h"

/* A --> B --> C --> A */
enum { A, B, C };
static const struct sm_state states[] = {
	{"A", SM_TO(B)}, {"B", SM_TO(C)}, {"C", SM_TO(A) | SM_TO(C)}};
static const struct sm_table table = {"abc", states, 3};

static void count(void *owner, const struct sm_table *t, unsigned from, unsigned to,
		  const char *why)
{
	int *n = owner;
	cr_assert(eq(ptr, (void *)t, (void *)&table));
	cr_assert(eq(str, (char *)why, "because"));
	*n += (int)(10 * from + to);
}

Test(sm, moves_along_the_table_and_tells)
{
	struct sm m;
	int seen = 0;
	sm_init(&m, &table, A);
	m.on_move = count;
	m.owner = &seen;
	sm_move(&m, B, "because");
	cr_assert(eq(uint, sm_state(&m), B));
	cr_assert(eq(str, (char *)sm_name(&m), "B"));
	cr_assert(eq(int, seen, 1));
	cr_assert(eq(u32, m.moves, 1));
}

Test(sm, may_is_the_table)
{
	struct sm m;
	static const bool allowed[3][3] = {{0, 1, 0}, {0, 0, 1}, {1, 0, 1}};
	for (unsigned from = A; from <= C; from++) {
		sm_init(&m, &table, from);
		for (unsigned to = A; to <= C; to++)
			cr_expect(eq(int, sm_may(&m, to), allowed[from][to]), "%u -> %u", from, to);
		cr_expect(not(sm_may(&m, 3)));
		cr_expect(not(sm_may(&m, 4000000000u)));
	}
}

Test(sm, a_move_that_is_not_in_the_table_ends_the_process, .signal = SIGABRT)
{
	struct sm m;
	cr_redirect_stderr();
	sm_init(&m, &table, A);
	sm_move(&m, C, "no such edge");
}
