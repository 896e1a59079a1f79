#include "taskmanager/align.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void align_init(struct align *a, bool exactly_once, uint32_t n_channels)
{
	*a = (struct align){.exactly_once = exactly_once, .n_channels = n_channels};
}

void align_fini(struct align *a)
{
	for (unsigned i = 0; i < ALIGN_PENDING_MAX; i++)
		free(a->pending[i].seen);
	*a = (struct align){0};
}

static bool given_up(const struct align *a, uint64_t id)
{
	for (unsigned i = 0; i < ALIGN_GIVEN_UP; i++)
		if (a->given_up[i] == id)
			return true;
	return false;
}

/* Take entry i out; its bitmap stays with the freed place for the next. */
static void pending_remove(struct align *a, unsigned i)
{
	struct align_pending gone = a->pending[i];

	memmove(&a->pending[i], &a->pending[i + 1], (a->n_pending - i - 1) * sizeof(a->pending[0]));
	a->n_pending--;
	a->pending[a->n_pending] = (struct align_pending){.seen = gone.seen};
}

/* End the oldest `n` that are pending. */
static void end_oldest(struct align *a, unsigned n, struct align_result *out)
{
	while (n--) {
		out->ended[out->n_ended++] = a->pending[0].id;
		pending_remove(a, 0);
	}
}

static struct align_pending *pending_find(struct align *a, uint64_t id)
{
	for (unsigned i = 0; i < a->n_pending; i++)
		if (a->pending[i].id == id)
			return &a->pending[i];
	return NULL;
}

/* A place for `id`, in order. There is room. */
static struct align_pending *pending_add(struct align *a, uint64_t id, uint64_t now_ns)
{
	size_t words = (a->n_channels + 63) / 64;
	unsigned i = a->n_pending;

	assert(a->n_pending < ALIGN_PENDING_MAX);
	struct align_pending fresh = a->pending[a->n_pending];
	if (!fresh.seen)
		fresh.seen = mem_array(words, sizeof(*fresh.seen));
	memset(fresh.seen, 0, words * sizeof(*fresh.seen));
	fresh.id = id;
	fresh.n_seen = 0;
	fresh.since_ns = now_ns;
	while (i > 0 && a->pending[i - 1].id > id) {
		a->pending[i] = a->pending[i - 1];
		i--;
	}
	a->pending[i] = fresh;
	a->n_pending++;
	return &a->pending[i];
}

/* The entry that `id` is counted in, or NULL if this barrier is too old to matter. */
static struct align_pending *pending_open(struct align *a, uint64_t id, uint64_t now_ns,
					  struct align_result *out)
{
	struct align_pending *p = pending_find(a, id);

	if (p)
		return p;
	if (a->exactly_once && a->n_pending) {
		if (id < a->pending[0].id)
			return NULL;
		end_oldest(a, 1, out);
		out->release = true;
	} else if (a->n_pending == ALIGN_PENDING_MAX) {
		if (id < a->pending[0].id)
			return NULL;
		end_oldest(a, 1, out);
	}
	return pending_add(a, id, now_ns);
}

void align_barrier(struct align *a, uint32_t channel, uint64_t id, uint64_t now_ns,
		   struct align_result *out)
{
	*out = (struct align_result){.verdict = ALIGN_PASS};
	assert(channel < a->n_channels);
	if (id <= a->newest || given_up(a, id))
		return;
	struct align_pending *p = pending_open(a, id, now_ns, out);
	if (!p)
		return;
	uint64_t bit = UINT64_C(1) << (channel % 64);
	if (p->seen[channel / 64] & bit)
		return;
	p->seen[channel / 64] |= bit;
	out->verdict = ALIGN_HOLD;
	if (++p->n_seen < a->n_channels)
		return;
	out->verdict = ALIGN_COMPLETE;
	out->waited_ns = now_ns - p->since_ns;
	out->release = true;
	a->newest = id;
	end_oldest(a, (unsigned)(p - a->pending), out);
	pending_remove(a, 0);
}

bool align_trigger(struct align *a, uint64_t id)
{
	if (id <= a->newest || given_up(a, id))
		return false;
	a->newest = id;
	return true;
}

bool align_abort(struct align *a, uint64_t id)
{
	if (id <= a->newest || given_up(a, id))
		return false;
	a->given_up[a->n_given_up++ % ALIGN_GIVEN_UP] = id;
	struct align_pending *p = pending_find(a, id);
	if (!p)
		return false;
	pending_remove(a, (unsigned)(p - a->pending));
	return true;
}

uint64_t align_overdue(const struct align *a, uint64_t before_ns)
{
	if (!a->exactly_once || !a->n_pending || a->pending[0].since_ns >= before_ns)
		return 0;
	return a->pending[0].id;
}
