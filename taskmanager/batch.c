#include "taskmanager/batch.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { STRIDE = sizeof(struct batch) + BATCH_BYTES + BATCH_SLACK };

_Static_assert(STRIDE % 64 == 0, "every buffer of the pool starts on a cache line");

struct batch_pool {
	pthread_mutex_t lock;
	struct batch *free; /* under the lock */
	uint32_t n_free;    /* under the lock */
	uint32_t n_fresh;   /* under the lock: buffers from here on were never handed out */
	uint32_t count;
	unsigned char *memory;
	_Atomic uint64_t overdrafts;
};

struct batch_pool *batch_pool_create(uint32_t count)
{
	struct batch_pool *p = mem_alloc(sizeof(*p));

	assert(count > 0);
	p->count = count;
	p->memory = mmap(NULL, (size_t)count * STRIDE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->memory == MAP_FAILED)
		abort(); /* address space only: cannot be short on a machine that runs */
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

void batch_pool_destroy(struct batch_pool *p)
{
	if (!p)
		return;
	assert(batch_pool_free(p) == p->count);
	munmap(p->memory, (size_t)p->count * STRIDE);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

uint64_t batch_pool_overdrafts(const struct batch_pool *p)
{
	return atomic_load_explicit(&p->overdrafts, memory_order_relaxed);
}

uint32_t batch_pool_free(struct batch_pool *p)
{
	pthread_mutex_lock(&p->lock);
	uint32_t n = p->n_free + (p->count - p->n_fresh);
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* The pool's list, else a buffer never used; NULL when it is empty. */
static struct batch *pool_take(struct batch_pool *p)
{
	struct batch *b = p->free;

	if (b) {
		p->free = b->next;
		p->n_free--;
		return b;
	}
	if (p->n_fresh == p->count)
		return NULL;
	b = (struct batch *)(void *)(p->memory + (size_t)p->n_fresh++ * STRIDE);
	b->capacity = BATCH_BYTES;
	return b;
}

static void cache_fill(struct batch_cache *c)
{
	pthread_mutex_lock(&c->pool->lock);
	while (c->n < BATCH_CACHE / 2) {
		struct batch *b = pool_take(c->pool);
		if (!b)
			break;
		c->at[c->n++] = b;
	}
	pthread_mutex_unlock(&c->pool->lock);
}

static void cache_drain(struct batch_cache *c, uint32_t keep)
{
	pthread_mutex_lock(&c->pool->lock);
	while (c->n > keep) {
		struct batch *b = c->at[--c->n];
		b->next = c->pool->free;
		c->pool->free = b;
		c->pool->n_free++;
	}
	pthread_mutex_unlock(&c->pool->lock);
}

void batch_cache_clear(struct batch_cache *c)
{
	if (c->n)
		cache_drain(c, 0);
}

static struct batch *batch_heap(size_t capacity)
{
	size_t size = (sizeof(struct batch) + capacity + BATCH_SLACK + 63) & ~(size_t)63;
	struct batch *b = aligned_alloc(64, size);

	if (!b)
		abort();
	b->capacity = (uint32_t)capacity;
	b->heap = true;
	return b;
}

struct batch *batch_get(struct batch_cache *c, size_t bytes)
{
	struct batch *b;

	assert(bytes <= ROW_BYTES_MAX);
	if (bytes > BATCH_BYTES) {
		b = batch_heap(bytes);
	} else {
		if (!c->n)
			cache_fill(c);
		if (c->n) {
			b = c->at[--c->n];
			b->heap = false;
		} else {
			atomic_fetch_add_explicit(&c->pool->overdrafts, 1, memory_order_relaxed);
			b = batch_heap(BATCH_BYTES);
		}
	}
	b->next = NULL;
	b->len = 0;
	b->rows = 0;
	b->kind = BATCH_DATA;
	return b;
}

struct batch *batch_control(enum batch_kind kind, const struct batch_barrier *barrier)
{
	struct batch *b = batch_heap(sizeof(*barrier));

	b->next = NULL;
	b->rows = 0;
	b->kind = (uint8_t)kind;
	b->len = barrier ? sizeof(*barrier) : 0;
	if (barrier)
		memcpy(b->data, barrier, sizeof(*barrier));
	return b;
}

void batch_free(struct batch_cache *c, struct batch *b)
{
	if (!b)
		return;
	if (b->heap) {
		free(b);
		return;
	}
	if (c->n == BATCH_CACHE)
		cache_drain(c, BATCH_CACHE / 2);
	c->at[c->n++] = b;
}

bool batch_check(struct batch *b, const struct row_plan *p)
{
	size_t at = 0;
	uint32_t rows = 0;

	for (; at < b->len; rows++) {
		const struct row *r = (const struct row *)(const void *)(b->data + at);
		if (!row_check(p, r, b->len - at))
			return false;
		at += row_bytes(r);
	}
	b->rows = rows;
	return at == b->len;
}
