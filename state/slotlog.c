#include "state/slotlog.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

_Static_assert(sizeof(struct slotlog_chunk) == SLOTLOG_CHUNK, "a chunk is its size");

static void count(struct slotlog_pool *p, uint64_t change)
{
	__atomic_store_n(&p->bytes, p->bytes + change, __ATOMIC_RELAXED);
}

/* A chunk from our own list, refilled at once from what was returned; NULL: there is none. */
static struct slotlog_chunk *spare(struct slotlog_pool *p)
{
	struct slotlog_chunk *c = p->spare;

	if (!c)
		c = __atomic_exchange_n(&p->returned, NULL, __ATOMIC_ACQUIRE);
	p->spare = c ? c->next : NULL;
	return c;
}

static struct slotlog_chunk *take(struct slotlog_pool *p)
{
	struct slotlog_chunk *c = spare(p);

	if (!c) {
		c = mem_alloc(sizeof(*c));
		count(p, sizeof(*c));
	}
	c->next = NULL;
	c->used = 0;
	return c;
}

uint64_t *slotlog_add(struct slotlog *l, struct slotlog_pool *p, unsigned words)
{
	struct slotlog_chunk *c = l->tail;

	assert(words <= SLOTLOG_CHUNK_WORDS);
	if (!c || c->used + words > SLOTLOG_CHUNK_WORDS) {
		c = take(p);
		if (l->tail)
			l->tail->next = c;
		else
			l->head = c;
		l->tail = c;
	}
	c->used += words;
	return c->words + c->used - words;
}

void slotlog_return(struct slotlog_pool *p, struct slotlog_chunk *chunk)
{
	chunk->next = __atomic_load_n(&p->returned, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&p->returned, &chunk->next, chunk, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

void slotlog_trim(struct slotlog_pool *p, unsigned n)
{
	while (n-- && p->bytes > (uint64_t)SLOTLOG_KEEP * SLOTLOG_CHUNK) {
		struct slotlog_chunk *c = spare(p);

		if (!c)
			return;
		count(p, -(uint64_t)sizeof(*c));
		free(c);
	}
}

void slotlog_drop(struct slotlog *l, struct slotlog_pool *p)
{
	if (!l->head)
		return;
	l->tail->next = p->spare;
	p->spare = l->head;
	l->head = l->tail = NULL;
}

void slotlog_pool_fini(struct slotlog_pool *p)
{
	for (struct slotlog_chunk *c = spare(p); c; c = spare(p))
		free(c);
	p->bytes = 0;
}
