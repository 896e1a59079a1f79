/*
 * ledger - the outside world that transactional sinks write to: transactions
 * that are pending, committed or rolled back, and which record is visible.
 *
 * It outlives every process. A transaction is named by job, region, sink
 * subtask, attempt and checkpoint; a record by job, region, source subtask and
 * offset. The promises that it watches by itself: a name is used once; nothing
 * is visible twice; what was rolled back is never committed.
 */
#ifndef TESTS_SIM_LEDGER_H
#define TESTS_SIM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster.h"

struct ledger_name {
	char job[33];
	uint32_t region, sink, attempt;
	uint64_t checkpoint;
};

/* Records [from, to) of a source that are routed to this sink. */
struct ledger_range {
	uint32_t source;
	uint64_t from, to;
};

enum ledger_state { LEDGER_PENDING, LEDGER_COMMITTED, LEDGER_ROLLED_BACK };

struct ledger *ledger_create(struct cluster *c);
void ledger_destroy(struct ledger *l);

void ledger_precommit(struct ledger *l, const struct ledger_name *name,
		      const struct ledger_range *ranges, unsigned n, uint32_t n_sinks);
void ledger_commit(struct ledger *l, const struct ledger_name *name); /* again: nothing */
void ledger_roll_back(struct ledger *l, const struct ledger_name *name);
/* Roll back what is pending for this sink from attempts before `attempt`, but for `keep`. */
void ledger_sweep(struct ledger *l, const struct ledger_name *mine, const struct ledger_name *keep,
		  unsigned n_keep);
/* How many of the records [0, to) of this source are visible. */
uint64_t ledger_visible(const struct ledger *l, const char *job, uint32_t region, uint32_t source,
			uint64_t to);
uint64_t ledger_total(const struct ledger *l);

/* Which sink takes a record. */
static inline uint32_t ledger_route(uint32_t source, uint64_t offset, uint32_t n_sinks,
				    bool chained)
{
	return chained ? source : (uint32_t)((offset * 7 + source) % n_sinks);
}

#endif
