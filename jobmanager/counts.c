#include "jobmanager/counts.h"

#include <assert.h>
#include <stddef.h>

static struct counts_machine *machine_of(struct counts *c, const struct sm_table *table)
{
	for (int i = 0; i < COUNTS_MACHINES; i++) {
		struct counts_machine *m = &c->machines[i];
		if (m->table == NULL)
			m->table = table;
		if (m->table == table)
			return m;
	}
	return NULL;
}

static void moved(void *owner, const struct sm_table *table, unsigned from, unsigned to,
		  const char *why)
{
	(void)why;
	struct counts_machine *m = machine_of(owner, table);
	if (m)
		m->moves[from][to]++;
}

void counts_watch(struct counts *c, struct sm *sm)
{
	if (!c)
		return;
	assert(sm->table->n_states <= COUNTS_STATES);
	sm->on_move = moved;
	sm->owner = c;
}
