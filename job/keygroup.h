/*
 * keygroup - which subtask owns a key.
 *
 * The hash is XXH3-64, seed 0, of the canonical key (type byte; integers 8
 * bytes little-endian; -0.0 = 0.0, one NaN; strings length + bytes; null;
 * columns in keyBy order). It decides where state lies, so it is part of the
 * snapshot format, fixed by published vectors (docs/formats/key-hash.md).
 * A key belongs to group (hash >> 32) mod max parallelism, group g to subtask
 * g * parallelism / max parallelism: contiguous ranges.
 */
#ifndef JOB_KEYGROUP_H
#define JOB_KEYGROUP_H

#include <stdint.h>

static inline uint32_t keygroup_of(uint64_t hash, uint32_t max_parallelism)
{
	return (uint32_t)(hash >> 32) % max_parallelism;
}

static inline uint32_t keygroup_subtask(uint32_t group, uint32_t parallelism,
					uint32_t max_parallelism)
{
	return (uint32_t)((uint64_t)group * parallelism / max_parallelism);
}

/* Groups [first, end) of a subtask: the exact inverse of keygroup_subtask(). */
static inline uint32_t keygroup_first(uint32_t subtask, uint32_t parallelism,
				      uint32_t max_parallelism)
{
	return (uint32_t)(((uint64_t)subtask * max_parallelism + parallelism - 1) / parallelism);
}

static inline uint32_t keygroup_end(uint32_t subtask, uint32_t parallelism,
				    uint32_t max_parallelism)
{
	return keygroup_first(subtask + 1, parallelism, max_parallelism);
}

#endif
