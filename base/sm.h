/*
 * sm - a state machine as a table.
 *
 * A machine's states are an enum; its table says for each state the name and
 * the set of states that may follow. sm_move() is the only way to change a
 * state: it asserts that the move is in the table and reports it. A unit test
 * of each machine compares the table with the diagram in its header.
 * (After dqlite's lib/sm.)
 */
#ifndef BASE_SM_H
#define BASE_SM_H

#include <stdbool.h>
#include <stdint.h>

#define SM_TO(state) (UINT32_C(1) << (state))

struct sm_state {
	const char *name;
	uint32_t allowed; /* SM_TO(A) | SM_TO(B): the states that may follow */
};

struct sm_table {
	const char *machine;
	const struct sm_state *states;
	unsigned n_states; /* at most 32 */
};

struct sm {
	const struct sm_table *table; /* borrows: a constant */
	unsigned state;               /* read it with sm_state() */
	uint32_t moves;               /* how many there were */
	void (*on_move)(void *owner, const struct sm_table *table, unsigned from, unsigned to,
			const char *why); /* may be NULL */
	void *owner;
};

void sm_init(struct sm *m, const struct sm_table *table, unsigned initial);
void sm_move(struct sm *m, unsigned next, const char *why);
unsigned sm_state(const struct sm *m);
const char *sm_name(const struct sm *m);
bool sm_may(const struct sm *m, unsigned next);

#endif
