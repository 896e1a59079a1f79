#include "base/sm.h"

#include <assert.h>
#include <stddef.h>

void sm_init(struct sm *m, const struct sm_table *table, unsigned initial)
{
	assert(table->n_states <= 32 && initial < table->n_states);
	*m = (struct sm){.table = table, .state = initial};
}

bool sm_may(const struct sm *m, unsigned next)
{
	return next < m->table->n_states && (m->table->states[m->state].allowed & SM_TO(next));
}

void sm_move(struct sm *m, unsigned next, const char *why)
{
	assert(sm_may(m, next));
	unsigned from = m->state;
	m->state = next;
	m->moves++;
	if (m->on_move)
		m->on_move(m->owner, m->table, from, next, why);
}

unsigned sm_state(const struct sm *m)
{
	return m->state;
}

const char *sm_name(const struct sm *m)
{
	return m->table->states[m->state].name;
}
