#include "state/blobs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void count(struct blobs *b, uint64_t change)
{
	__atomic_store_n(&b->bytes, b->bytes + change, __ATOMIC_RELAXED);
}

static void push(struct blob_list *l, struct blob *blob)
{
	if (l->n == l->capacity) {
		l->capacity = l->capacity ? 2 * l->capacity : 256;
		l->at = mem_resize(l->at, l->capacity, sizeof(struct blob *));
	}
	l->at[l->n++] = blob;
}

struct blob *blobs_make(struct blobs *b, uint32_t capacity, uint32_t born)
{
	struct blob *blob = malloc(sizeof(*blob) + capacity);

	if (!blob)
		abort(); /* as base/mem.h: a worker without memory is started anew */
	blob->born = born;
	blob->capacity = capacity;
	count(b, sizeof(*blob) + capacity);
	return blob;
}

void blobs_free(struct blobs *b, struct blob *blob)
{
	count(b, -(uint64_t)(sizeof(*blob) + blob->capacity));
	free(blob);
}

void blobs_drop(struct blobs *b, struct blob *blob, bool active, uint32_t cur)
{
	if (active && blob->born != cur)
		push(&b->held, blob);
	else
		blobs_free(b, blob);
}

void blobs_release(struct blobs *b)
{
	struct blob_list empty = b->free;

	if (!b->free.n) {
		b->free = b->held;
		b->held = empty;
		return;
	}
	for (size_t i = 0; i < b->held.n; i++)
		push(&b->free, b->held.at[i]);
	b->held.n = 0;
}

bool blobs_sweep(struct blobs *b, size_t n)
{
	while (b->free.n && n--) {
		if (b->free.n > 8)
			__builtin_prefetch(b->free.at[b->free.n - 8]);
		blobs_free(b, b->free.at[--b->free.n]);
	}
	return b->free.n;
}

void blobs_fini(struct blobs *b)
{
	blobs_release(b);
	blobs_sweep(b, SIZE_MAX);
	free(b->free.at);
	free(b->held.at);
	memset(b, 0, sizeof(*b));
}
