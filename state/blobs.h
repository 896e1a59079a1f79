/*
 * blobs - byte strings outside of the slots: long keys, values of bytes.
 *
 * A blob knows the number of the capture after which it was made. Its bytes
 * are never changed once they belong to a value; room behind them may be filled
 * (an append), which older lengths do not cover. The snapshot thread reads
 * blobs that it found in validated slots or in a log; so a dropped blob that is
 * older than a capture under way waits until that has ended.
 *
 * Private to state/. Threads: the task thread; contents are read by the
 * snapshot thread.
 */
#ifndef STATE_BLOBS_H
#define STATE_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOBS_FREE_AT_ONCE = 2048 };

struct blob {
	uint32_t born;
	uint32_t capacity;
	unsigned char bytes[];
};

struct blob_list {
	struct blob **at; /* owns */
	size_t n, capacity;
};

struct blobs {
	struct blob_list held; /* until the capture under way has ended */
	struct blob_list free; /* to be freed piece by piece */
	uint64_t bytes;        /* any thread reads it relaxed */
};

struct blob *blobs_make(struct blobs *b, uint32_t capacity, uint32_t born);
void blobs_drop(struct blobs *b, struct blob *blob, bool active, uint32_t cur);
void blobs_release(struct blobs *b);         /* the capture has ended */
bool blobs_sweep(struct blobs *b, size_t n); /* free up to n; true: there are more */
void blobs_free(struct blobs *b, struct blob *blob);
void blobs_fini(struct blobs *b);

#endif
