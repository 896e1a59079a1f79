#include "ha/tries.h"

const uint32_t tries_bounds_ms[TRIES_BUCKETS] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500};

void tries_note(struct tries *t, enum call_kind kind, enum try_outcome outcome, uint64_t ms)
{
	t->by_outcome[kind][outcome]++;
	if (call_of(kind)->answer == ANSWER_FRAMES)
		return;
	t->sum_ms[kind] += ms;
	for (unsigned i = 0; i < TRIES_BUCKETS; i++)
		if (ms <= tries_bounds_ms[i]) {
			t->buckets[kind][i]++;
			return;
		}
}

const char *try_outcome_name(enum try_outcome outcome)
{
	static const char *const names[] = {"answered", "refused", "unknown"};
	return outcome < TRY_OUTCOMES ? names[outcome] : "?";
}
