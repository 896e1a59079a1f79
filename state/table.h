/*
 * table - one keyed state in memory, and the wait-free snapshot of it.
 *
 *   table: group 0 .. n-1, each   directory (2^depth pointers by the top bits of
 *                                 the hash's lower half) -> segments
 *                                 list of all its segments, for the snapshot
 *
 * A group starts with no segment, gets one of 4 buckets at its first key, which
 * is replaced by ever larger ones up to 64 buckets; then a full segment is
 * split by one bit into two fresh ones and the directory doubles when needed.
 * Nothing else ever moves an entry.
 *
 * The snapshot. snap.cur is the number of the newest capture; each bucket has
 * a word sv = number (32 bits) | unused (16) | saved (16): bit j of `saved`
 * says that in capture `number` slot j needs no copy any more.
 *
 *   Barrier (task thread, between windows): cur++; per group the list and its
 *   length are noted and walked = 0; active.
 *
 *   Writer, before it changes slot j of a bucket:
 *   1. not active, or the segment was born in cur: nothing to do
 *   2. walked is past the segment: nothing
 *   3. sv says cur and bit j: nothing
 *   4. the slot is occupied: copy it to the group's log
 *   5. sv = cur | saved | bit j, release fence; then change the slot; for an
 *      insert the tag comes last
 *
 *   Reader, per bucket: sv, tags; copy the occupied slots that are not saved;
 *   acquire fence; sv again, and drop those saved meanwhile. After a segment
 *   walked = index + 1, after the last one ~0; then the log is the reader's.
 *
 * Either a slot was unmodified when the reader looked again, so its copy is the
 * old value; or its bit was set before it changed, and the two fences make the
 * second look see the bit: the copy is dropped, and the old value is in the
 * log. The writer skips the log only once it saw `walked` past the segment,
 * after a validated copy. A slot may be copied and logged: twice the same.
 *
 * Handing the log over: the writer counts snap.busy up when it begins and ends
 * a call in which it may log, the reader sets walked = ~0 and waits until the
 * call during which that happened is over; all four accesses are sequentially
 * consistent, so either the writer sees ~0 or the reader sees the call. An idle
 * task holds nobody up, and the task never waits.
 *
 * What the snapshot may still read is not freed: segments that were replaced,
 * and blobs (blob.h) older than the capture, wait on lists until it has ended.
 * A blob made in `cur` was never seen by it and is freed at once.
 *
 * Private to state/. Threads: the task thread, but for table_walk's.
 */
#ifndef STATE_TABLE_H
#define STATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state/backend.h"
#include "state/blobs.h"
#include "state/block.h"
#include "state/pool.h"
#include "state/segment.h"
#include "state/slotlog.h"

enum { TABLE_DEPTH_MAX = 18, TABLE_SMALL_BYTES = 512 << 10 };
#define TABLE_WALKED UINT32_MAX

/* What the tables of one store share. */
struct snap {
	uint32_t cur;
	bool active; /* task thread: a capture may still read */
	struct blobs blobs;
	struct slotlog_pool chunks __attribute__((aligned(128)));
	uint64_t busy __attribute__((aligned(128))); /* odd: within a call that may log */
	char fill[120];
};

struct group {
	struct segment **dir; /* owns the array; NULL: no entry yet */
	struct segment **list;
	uint32_t n, capacity;
	uint8_t depth;
	bool list_noted; /* the snapshot reads `list`: do not free it when it grows */
	/* for the reader, noted at the barrier */
	struct segment **snap_list;
	uint32_t nsync;
	struct slotlog log __attribute__((aligned(64))); /* a line of its own */
	uint32_t walked __attribute__((aligned(128)));   /* segments read; TABLE_WALKED: all */
	char fill[124];
};

struct table_retired {
	struct segment *segment; /* replaced during a capture */
	void *list;              /* or: an old list array */
};

struct table {
	struct segment_shape shape;
	struct block_layout layout;
	uint64_t (*hash)(const struct backend_key *key);
	struct backend_range range;
	uint64_t fast_mod; /* 2^64 / max_parallelism + 1 */
	struct snap *snap; /* borrows */
	struct group *groups;
	struct pool full; /* of segments with 64 buckets */
	struct table_retired *retired;
	size_t n_retired, retired_capacity;
	uint64_t entries, bytes; /* any thread reads them relaxed */
};

void table_init(struct table *t, const struct block_layout *layout,
		const struct backend_range *range, uint64_t (*hash)(const struct backend_key *key),
		struct snap *snap);
void table_fini(struct table *t);

/* As in backend.h. */
unsigned table_upsert_i64(struct table *t, const int64_t *keys, const uint64_t *hashes, unsigned n,
			  uint64_t **out, uint64_t *created);
unsigned table_upsert_bytes(struct table *t, const struct backend_bytes *keys,
			    const uint64_t *hashes, unsigned n, uint64_t **out, uint64_t *created);
/* The value's words, NULL: absent. */
const uint64_t *table_find(struct table *t, const struct backend_key *key);
bool table_remove(struct table *t, const struct backend_key *key);
/* Values of bytes: two words in the slot, address and length. */
struct backend_bytes table_get(struct table *t, const struct backend_key *key);
void table_put(struct table *t, const struct backend_key *key, struct backend_bytes value);
void table_append(struct table *t, const struct backend_key *key, struct backend_bytes value);
void table_reserve(struct table *t, uint32_t group, uint64_t rows);

/* Task thread: the barrier's part; and once the capture has ended: lists, segments, logs. */
void table_note(struct table *t);
void table_reclaim(struct table *t);

uint64_t table_slot_hash(const void *table, const uint64_t *slot);
uint32_t table_group_of(const struct table *t, uint64_t hash); /* of the job, not of the table */

/* ---- walk: the snapshot thread's way through a table (walk.c) ---- */

struct table_walk {
	struct table *table;
	uint32_t group;   /* of the table */
	uint32_t segment; /* index in snap_list */
	uint32_t bucket;
	bool logging; /* the segments are done: reading the log */
	struct slotlog_chunk *chunk;
	uint32_t chunk_at;
};

void table_walk_init(struct table_walk *w, struct table *t);
/* The next block; false: the table is done. */
bool table_walk_next(struct table_walk *w, struct block *out);
/* Give back what an unfinished walk holds. */
void table_walk_fini(struct table_walk *w);

#endif
