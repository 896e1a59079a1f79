#include "state/pool.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { POOL_BLOCK = 2 << 20 };

void pool_init(struct pool *p, size_t piece)
{
	assert(piece % 64 == 0 && piece <= POOL_BLOCK);
	memset(p, 0, sizeof(*p));
	p->piece = piece;
}

void pool_fini(struct pool *p)
{
	for (size_t i = 0; i < p->n_blocks; i++)
		munmap(p->blocks[i], POOL_BLOCK);
	free(p->blocks);
	free(p->spare);
	memset(p, 0, sizeof(*p));
}

static void new_block(struct pool *p)
{
	/* Twice the size, to cut the aligned part out of it: huge pages need the alignment. */
	char *raw = mmap(NULL, 2 * POOL_BLOCK, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (raw == MAP_FAILED) {
		fprintf(stderr, "out of memory: no 2 MiB for keyed state\n");
		abort();
	}
	before = (POOL_BLOCK - (uintptr_t)raw % POOL_BLOCK) % POOL_BLOCK;
	if (before)
		munmap(raw, before);
	munmap(raw + before + POOL_BLOCK, POOL_BLOCK - before);
	p->block = raw + before;
	p->used = 0;
	(void)madvise(p->block, POOL_BLOCK, MADV_HUGEPAGE);
	(void)madvise(p->block, POOL_BLOCK, MADV_DONTFORK);
	if (p->n_blocks == p->blocks_capacity) {
		p->blocks_capacity = p->blocks_capacity ? 2 * p->blocks_capacity : 16;
		p->blocks = mem_resize(p->blocks, p->blocks_capacity, sizeof(*p->blocks));
	}
	p->blocks[p->n_blocks++] = p->block;
}

void *pool_take(struct pool *p)
{
	void *piece;

	if (p->n_spare) {
		piece = p->spare[--p->n_spare];
		memset(piece, 0, p->piece);
		return piece;
	}
	if (!p->block || p->used + p->piece > POOL_BLOCK)
		new_block(p);
	piece = p->block + p->used;
	p->used += p->piece;
	return piece;
}

void pool_give(struct pool *p, void *piece)
{
	if (p->n_spare == p->spare_capacity) {
		p->spare_capacity = p->spare_capacity ? 2 * p->spare_capacity : 64;
		p->spare = mem_resize(p->spare, p->spare_capacity, sizeof(*p->spare));
	}
	p->spare[p->n_spare++] = piece;
}
