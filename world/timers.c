#include "world/timers.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

static bool before(const struct world_timer *a, const struct world_timer *b)
{
	return a->deadline_ms != b->deadline_ms ? a->deadline_ms < b->deadline_ms : a->seq < b->seq;
}

static void place(struct timers *ts, size_t i, struct world_timer *t)
{
	ts->at[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct timers *ts, size_t i, struct world_timer *t)
{
	while (i > 0 && before(t, ts->at[(i - 1) / 2])) {
		place(ts, i, ts->at[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i, struct world_timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= ts->n)
			break;
		if (child + 1 < ts->n && before(ts->at[child + 1], ts->at[child]))
			child++;
		if (!before(ts->at[child], t))
			break;
		place(ts, i, ts->at[child]);
		i = child;
	}
	place(ts, i, t);
}

void timers_fini(struct timers *ts)
{
	for (size_t i = 0; i < ts->n; i++)
		ts->at[i]->slot = 0;
	free(ts->at);
	*ts = (struct timers){.seq = ts->seq};
}

void timers_arm(struct timers *ts, struct world_timer *t, uint64_t deadline_ms)
{
	timers_cancel(ts, t);
	if (ts->n == ts->capacity) {
		ts->capacity = ts->capacity ? 2 * ts->capacity : 32;
		ts->at = mem_resize(ts->at, ts->capacity, sizeof(struct world_timer *));
	}
	t->deadline_ms = deadline_ms;
	t->seq = ts->seq++;
	sift_up(ts, ts->n++, t);
}

void timers_cancel(struct timers *ts, struct world_timer *t)
{
	if (t->slot == 0)
		return;
	size_t i = t->slot - 1;
	assert(i < ts->n && ts->at[i] == t);
	t->slot = 0;
	struct world_timer *last = ts->at[--ts->n];
	if (last == t)
		return;
	if (i > 0 && before(last, ts->at[(i - 1) / 2]))
		sift_up(ts, i, last);
	else
		sift_down(ts, i, last);
}

struct world_timer *timers_first(const struct timers *ts)
{
	return ts->n ? ts->at[0] : NULL;
}

struct world_timer *timers_take_due(struct timers *ts, uint64_t now_ms, uint64_t seq_limit)
{
	struct world_timer *t = timers_first(ts);
	if (t == NULL || t->deadline_ms > now_ms || t->seq >= seq_limit)
		return NULL;
	timers_cancel(ts, t);
	return t;
}
