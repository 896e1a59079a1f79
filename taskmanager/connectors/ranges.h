/*
 * ranges - how source.file cuts files into byte ranges, and what it remembers
 * of each.
 *
 * Each file is cut into pieces of equal length once, at the job's first start;
 * piece k of all belongs to subtask k mod parallelism. A line belongs to the
 * range in which it begins, so every line is in exactly one range whatever the
 * cut. From then on ranges travel as items of list state, dealt out anew when
 * the parallelism changes.
 *
 * A range is read `loop` times; `round` counts those behind it, `pos` is where
 * the next line of this round begins. The first line of a round is to be
 * looked for (`fresh`): what lies before it began in the range before.
 */
#ifndef TASKMANAGER_CONNECTORS_RANGES_H
#define TASKMANAGER_CONNECTORS_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { RANGE_PATH_MAX = 1024, RANGE_PIECE_BYTES = 64 << 10 };

struct range {
	char path[RANGE_PATH_MAX];
	/* what the file was when it was cut; another one is not read */
	uint64_t size;
	int64_t mtime_ns;
	uint64_t inode;
	uint64_t start, end; /* [start, end) */
	uint64_t round;
	uint64_t pos;
	bool fresh;
};

/* How many pieces a file of `size` bytes is cut into: at least `parallelism` (if it has as many
 * bytes), at most four times that, at most `max_parallelism`, none when empty. */
uint32_t ranges_count(uint64_t size, uint32_t parallelism, uint32_t max_parallelism);
/* Where piece `k` of `n` begins (k == n: the end). */
uint64_t ranges_bound(uint64_t size, uint32_t n, uint32_t k);
void range_rewind(struct range *r); /* to the beginning of the round */

void range_encode(const struct range *r, struct buf *out);
MUST_CHECK enum errc range_decode(const void *item, size_t len, struct range *out, struct err *e);

#endif
