/*
 * liststate - operator list state: a short list of items of bytes that belongs
 * to a subtask, not to a key (offsets of a source, pending transactions of a
 * sink), and how it is dealt out when the parallelism changes.
 *
 * SPLIT: each item goes to one subtask. The same parallelism as before: to the
 * subtask that wrote it; another: item k of all, in the order of (subtask,
 * index), goes to subtask k mod parallelism. UNION: each subtask gets all.
 *
 * In a snapshot the task thread packs the list at once, in the synchronous
 * part (liststate_block): so it is bounded, LISTSTATE_BYTES_MAX per subtask.
 * Threads: one. Ownership: the struct is the caller's, items are copied.
 */
#ifndef STATE_LISTSTATE_H
#define STATE_LISTSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/block.h"

enum { LISTSTATE_BYTES_MAX = 16 << 20 };

enum liststate_mode { LISTSTATE_SPLIT, LISTSTATE_UNION };

struct liststate_item {
	void *data; /* owns */
	size_t len;
};

struct liststate {
	struct liststate_item *items; /* owns */
	size_t n, capacity, bytes;
};

void liststate_init(struct liststate *l);
void liststate_fini(struct liststate *l); /* zeroed: no-op */
void liststate_clear(struct liststate *l);
/* Copies; ERR_LIMIT (and no change) above LISTSTATE_BYTES_MAX in all. */
MUST_CHECK enum errc liststate_add(struct liststate *l, const void *data, size_t len,
				   struct err *e);

/* The list as a block of `subtask`, for object_writer_block(). */
void liststate_block(const struct liststate *l, uint32_t subtask, struct block *out);
/* Append the items of a block read back. */
MUST_CHECK enum errc liststate_restore(struct liststate *l, const struct block *b, struct err *e);

/*
 * The share of `subtask` of `parallelism` in what `n_old` subtasks wrote;
 * old[i] is the list of old subtask i. Appends copies to *out.
 */
MUST_CHECK enum errc liststate_deal(const struct liststate *old, size_t n_old,
				    enum liststate_mode mode, uint32_t subtask,
				    uint32_t parallelism, struct liststate *out, struct err *e);

#endif
