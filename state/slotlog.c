#include "state/slotlog.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

_Static_assert(sizeof(struct slotlog_chunk) == SLOTLOG_CHUNK, "a chunk is its size");

static struct slotlog_chunk *chunk_make(struct slotlog_pool *p)
{
	struct slotlog_chunk *c = mem_alloc(sizeof(*c));

	__atomic_fetch_add(&p->bytes, sizeof(*c), __ATOMIC_RELAXED);
	return c;
}

/* A chunk from our own list, refilled at once from what was returned; NULL: there is none. */
static struct slotlog_chunk *spare(struct slotlog_pool *p)
{
	struct slotlog_chunk *c = p->spare;

	if (!c)
		c = __atomic_exchange_n(&p->returned, NULL, __ATOMIC_ACQUIRE);
	p->spare = c ? c->next : NULL;
	if (c)
		__atomic_store_n(&p->taken, p->taken + 1, __ATOMIC_RELAXED);
	return c;
}

static void tail_close(struct slotlog *l)
{
	if (l->tail)
		l->tail->used = (uint32_t)(l->at - l->tail->words);
}

uint64_t *slotlog_more(struct slotlog *l, struct slotlog_pool *p)
{
	struct slotlog_chunk *c = spare(p);

	if (!c)
		c = chunk_make(p);
	c->next = NULL;
	tail_close(l);
	if (l->tail)
		l->tail->next = c;
	else
		l->head = c;
	l->tail = c;
	l->n++;
	l->at = c->words;
	l->end = c->words + SLOTLOG_CHUNK_WORDS;
	return l->at;
}

struct slotlog_chunk *slotlog_take(struct slotlog *l)
{
	struct slotlog_chunk *head = l->head;

	tail_close(l);
	l->head = l->tail = NULL;
	l->end = NULL;
	l->n = 0;
	__atomic_store_n(&l->at, NULL, __ATOMIC_RELAXED); /* the task may look, for a hint */
	return head;
}

static void push(struct slotlog_pool *p, struct slotlog_chunk *chunk)
{
	chunk->next = __atomic_load_n(&p->returned, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&p->returned, &chunk->next, chunk, true,
					    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	p->given++;
}

void slotlog_return(struct slotlog_pool *p, struct slotlog_chunk *chunk)
{
	push(p, chunk);
}

void slotlog_stock(struct slotlog_pool *p, uint64_t n)
{
	n = n < SLOTLOG_STOCK ? n : SLOTLOG_STOCK;
	while (p->given - __atomic_load_n(&p->taken, __ATOMIC_RELAXED) < n) {
		struct slotlog_chunk *c = chunk_make(p);

		memset(c->words, 0, sizeof(c->words)); /* the pages are there from now on */
		push(p, c);
	}
}

void slotlog_trim(struct slotlog_pool *p, unsigned n)
{
	while (n-- && __atomic_load_n(&p->bytes, __ATOMIC_RELAXED) >
			      (uint64_t)SLOTLOG_KEEP * SLOTLOG_CHUNK) {
		struct slotlog_chunk *c = spare(p);

		if (!c)
			return;
		__atomic_fetch_sub(&p->bytes, sizeof(*c), __ATOMIC_RELAXED);
		free(c);
	}
}

void slotlog_drop(struct slotlog *l, struct slotlog_pool *p)
{
	struct slotlog_chunk *tail = l->tail, *head;
	uint64_t n = l->n;

	head = slotlog_take(l);
	if (!head)
		return;
	__atomic_store_n(&p->taken, p->taken - n, __ATOMIC_RELAXED);
	tail->next = p->spare;
	p->spare = head;
}

void slotlog_pool_fini(struct slotlog_pool *p)
{
	for (struct slotlog_chunk *c = spare(p); c; c = spare(p))
		free(c);
	p->bytes = 0;
}
