#include "state/slotlog.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

_Static_assert(sizeof(struct slotlog_chunk) == SLOTLOG_CHUNK, "a chunk is its size");

static struct slotlog_chunk *take(struct slotlog_pool *p)
{
	struct slotlog_chunk *c;

	if (!p->spare)
		slotlog_collect(p);
	c = p->spare;
	if (c) {
		p->spare = c->next;
		p->n_spare--;
	} else {
		c = mem_alloc(sizeof(*c));
		p->bytes += sizeof(*c);
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

static void keep_or_free(struct slotlog_pool *p, struct slotlog_chunk *c)
{
	if (p->n_spare >= SLOTLOG_KEEP) {
		p->bytes -= sizeof(*c);
		free(c);
		return;
	}
	c->next = p->spare;
	p->spare = c;
	p->n_spare++;
}

static void keep_or_free_all(struct slotlog_pool *p, struct slotlog_chunk *c)
{
	while (c) {
		struct slotlog_chunk *next = c->next;

		keep_or_free(p, c);
		c = next;
	}
}

void slotlog_collect(struct slotlog_pool *p)
{
	keep_or_free_all(p, __atomic_exchange_n(&p->returned, NULL, __ATOMIC_ACQUIRE));
}

void slotlog_drop(struct slotlog *l, struct slotlog_pool *p)
{
	keep_or_free_all(p, l->head);
	l->head = l->tail = NULL;
}

void slotlog_pool_fini(struct slotlog_pool *p)
{
	slotlog_collect(p);
	while (p->spare) {
		struct slotlog_chunk *next = p->spare->next;

		free(p->spare);
		p->spare = next;
	}
	p->n_spare = 0;
	p->bytes = 0;
}
