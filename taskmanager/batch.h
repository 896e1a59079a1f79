/*
 * batch - a buffer of rows, and the pool that buffers come from.
 *
 *   struct batch (64 bytes, the frame header last) | rows ... | BATCH_SLACK
 *                                                  ^ 64-aligned
 *
 * A batch carries rows one behind another in `data`, or is a control element of a channel (barrier,
 * end) without rows. It has one holder at a time and moves by pointer: the operator that fills it,
 * a queue, the task that reads it, the network thread; whoever is last gives it back with
 * batch_free(). Its 16-byte frame header lies directly in front of the rows, so that both leave in
 * one piece.
 *
 * The pool is one mapping, cut into buffers of BATCH_BYTES, sized at deployment from the channels
 * and the memory share. batch_get() never fails and never waits: when the pool is empty it takes
 * an overdraft from the heap (counted, given back to the heap when freed), because an operator
 * that is half way through its input has nowhere else to put its output. Back-pressure keeps the
 * overdraft small: a task takes no new input while its output is stuck. A row over BATCH_BYTES
 * travels alone in a batch from the heap.
 *
 * Threads: the pool is shared; each thread owns a cache in front of it. A batch may be freed by
 * another thread than the one that got it.
 */
#ifndef TASKMANAGER_BATCH_H
#define TASKMANAGER_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "taskmanager/row.h"

enum { BATCH_BYTES = 32 << 10, BATCH_SLACK = 64, BATCH_CACHE = 32 };

enum batch_kind {
	BATCH_DATA = 1,
	BATCH_BARRIER, /* payload: struct batch_barrier */
	BATCH_END,     /* the channel brings no more rows; barriers still come */
	BATCH_CREDIT,  /* between workers only, as are the next */
	BATCH_BYE
};

struct batch_barrier {
	uint64_t checkpoint;
	uint64_t epoch;   /* of the leader that triggered it */
	uint64_t trigger; /* enum control_trigger */
};

/* On the wire, little-endian, in front of the payload. */
struct batch_frame {
	uint32_t length; /* of the payload, without this header */
	uint16_t channel;
	uint8_t kind;
	uint8_t flags;
	uint64_t sequence;
};

struct batch {
	struct batch *next; /* private to the holder */
	uint32_t len;       /* bytes of rows (or of the control payload) */
	uint32_t rows;
	uint32_t capacity;
	uint8_t kind; /* enum batch_kind */
	bool heap;    /* an overdraft or outsize: goes back to the heap */
	uint8_t spare[26];
	struct batch_frame frame;
	_Alignas(64) unsigned char data[];
};

_Static_assert(sizeof(struct batch_frame) == 16, "the frame header is 16 bytes on the wire");
_Static_assert(sizeof(struct batch) == 64, "rows start on a cache line, the frame right before");

struct batch_pool;

/* `count` buffers; memory is touched only when first used. */
struct batch_pool *batch_pool_create(uint32_t count);
/* Every batch must be back, and every cache cleared. */
void batch_pool_destroy(struct batch_pool *p);
/* Heap batches taken because the pool was empty, ever. */
uint64_t batch_pool_overdrafts(const struct batch_pool *p);
uint32_t batch_pool_free(struct batch_pool *p); /* not counting what caches hold */

/* A thread's own stock. The zero value with `pool` set is empty. */
struct batch_cache {
	struct batch_pool *pool; /* borrows */
	uint32_t n;
	struct batch *at[BATCH_CACHE];
};

/* A batch of kind DATA, empty, with room for at least `bytes` (at most ROW_BYTES_MAX). */
struct batch *batch_get(struct batch_cache *c, size_t bytes);
/* A control element. */
struct batch *batch_control(enum batch_kind kind, const struct batch_barrier *barrier);
void batch_free(struct batch_cache *c, struct batch *b); /* NULL: no-op */
void batch_cache_clear(struct batch_cache *c);           /* all back to the pool */

static inline const struct batch_barrier *batch_barrier(const struct batch *b)
{
	return (const struct batch_barrier *)(const void *)b->data;
}

/* Are the `len` bytes of data whole rows of this plan? Sets `rows`. For what a peer sent. */
MUST_CHECK bool batch_check(struct batch *b, const struct row_plan *p);

/* batch_each(b, r) { ... }: every row, in order. */
#define batch_each(b, r)                                                                           \
	for (const struct row *r = (const struct row *)(const void *)(b)->data,                    \
			      *r##_end = (const struct row *)(const void *)((b)->data + (b)->len); \
	     r < r##_end; r = row_next(r))

#endif
