/*
 * slotlog - the old slots that a task thread sets aside for a capture.
 *
 * A log per key group: chunks of SLOTLOG_CHUNK bytes, written by the task
 * thread, read by the snapshot thread after the hand-over (state/table.h).
 * Chunks come from a pool that belongs to the task thread; the snapshot thread
 * gives them back through a stack that the task thread takes as a whole, so
 * there is no ABA. The snapshot thread also makes new ones ahead and touches
 * their pages (slotlog_stock): page faults would be the task's otherwise.
 */
#ifndef STATE_SLOTLOG_H
#define STATE_SLOTLOG_H

#include <stddef.h>
#include <stdint.h>

enum {
	SLOTLOG_CHUNK = 16 << 10,
	SLOTLOG_STOCK = 256, /* chunks ready, at most */
	SLOTLOG_CHUNK_WORDS = SLOTLOG_CHUNK / 8 - 2,
	SLOTLOG_KEEP = 4096,
	SLOTLOG_TRIM = 64
};

struct slotlog_chunk {
	struct slotlog_chunk *next;
	uint32_t used; /* words */
	uint32_t spare;
	uint64_t words[SLOTLOG_CHUNK_WORDS];
};

struct slotlog_pool {
	struct slotlog_chunk *spare; /* task thread; owns */
	uint64_t taken;              /* so many chunks; task thread, the other reads it relaxed */
	struct slotlog_chunk *returned __attribute__((aligned(128))); /* atomic stack of the
								       * snapshot thread's */
	uint64_t given; /* so many chunks; snapshot thread */
	uint64_t bytes; /* atomic: of all chunks there are; any thread reads it relaxed */
};

struct slotlog {
	struct slotlog_chunk *head, *tail; /* in order of writing; owns */
	uint64_t *at, *end;                /* where the tail is being written */
	uint64_t n;                        /* chunks */
};

uint64_t *slotlog_more(struct slotlog *l, struct slotlog_pool *p); /* private */

/* Task thread. Room for `words` (at most SLOTLOG_CHUNK_WORDS) more words in the log. */
static inline uint64_t *slotlog_add(struct slotlog *l, struct slotlog_pool *p, unsigned words)
{
	uint64_t *at = (size_t)(l->end - l->at) < words ? slotlog_more(l, p) : l->at;

	l->at = at + words;
	return at;
}

/* Either thread, once the log is its own: all chunks, each with its `used`; the log is empty. */
struct slotlog_chunk *slotlog_take(struct slotlog *l);
/* Snapshot thread: give a chunk back. */
void slotlog_return(struct slotlog_pool *p, struct slotlog_chunk *chunk);
/* Snapshot thread: see to it that about n (up to SLOTLOG_STOCK) chunks are ready. */
void slotlog_stock(struct slotlog_pool *p, uint64_t n);
/* Task thread, outside of captures: free up to n chunks of those over SLOTLOG_KEEP. */
void slotlog_trim(struct slotlog_pool *p, unsigned n);
/* Task thread: take back a log that nobody has read. */
void slotlog_drop(struct slotlog *l, struct slotlog_pool *p);
void slotlog_pool_fini(struct slotlog_pool *p);

#endif
