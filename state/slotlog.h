/*
 * slotlog - the old slots that a task thread sets aside for a capture.
 *
 * A log per key group: chunks of SLOTLOG_CHUNK bytes, written by the task
 * thread, read by the snapshot thread after the hand-over (state/table.h).
 * Chunks come from a pool that belongs to the task thread; the snapshot thread
 * gives them back through a stack that the task thread takes as a whole, so
 * there is no ABA.
 */
#ifndef STATE_SLOTLOG_H
#define STATE_SLOTLOG_H

#include <stddef.h>
#include <stdint.h>

enum {
	SLOTLOG_CHUNK = 16 << 10,
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
	struct slotlog_chunk *spare;    /* task thread; owns */
	struct slotlog_chunk *returned; /* atomic stack; snapshot thread pushes */
	uint64_t bytes;                 /* of all chunks there are; any thread reads it relaxed */
};

struct slotlog {
	struct slotlog_chunk *head, *tail; /* in order of writing; owns */
};

/* Task thread. Room for `words` more words in the log. */
uint64_t *slotlog_add(struct slotlog *l, struct slotlog_pool *p, unsigned words);
/* Snapshot thread: give a chunk back. */
void slotlog_return(struct slotlog_pool *p, struct slotlog_chunk *chunk);
/* Task thread, outside of captures: free up to n chunks of those over SLOTLOG_KEEP. */
void slotlog_trim(struct slotlog_pool *p, unsigned n);
/* Task thread: take back a log that nobody has read. */
void slotlog_drop(struct slotlog *l, struct slotlog_pool *p);
void slotlog_pool_fini(struct slotlog_pool *p);

#endif
