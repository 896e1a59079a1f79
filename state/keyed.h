/*
 * keyed - the keyed state of one operator in one subtask.
 *
 *   task thread                                 snapshot thread
 *   -----------                                 ---------------
 *   keyed_create, keyed_open                    .
 *   keyed_upsert_* in windows of 64             .
 *   [barrier] keyed_capture_begin  ------------> keyed_capture_next (a block)
 *   goes on at once, writes as it likes         keyed_capture_next ... until false
 *   keyed_poll between batches                  keyed_capture_end
 *
 * A store has named states. Kinds:
 *   KEYED_VALUE     a value of 1 to KEYED_WORDS_MAX words of 8 bytes, in the slot, written in place
 *   KEYED_REDUCING  the same, with a function that folds a new value into it
 *   KEYED_BYTES     a value of any length, replaced as a whole
 *   KEYED_LIST      items of bytes, appended
 *   KEYED_MAP       user key -> value, both bytes; one key's map is rewritten at each change:
 *                   meant for tens of entries, not for thousands
 * Keys are int64 or bytes (the canonical key, job/keygroup.h), the same in all
 * operations on one state. The hash that comes with each key decides its group.
 *
 * THE RULE OF WRITING. A value that keyed_upsert_*() returned may be written,
 * by keyed_set() only, until the next call on the same store (any call); before
 * it returned the old value was logged if a capture needs it. So: resolve a
 * window, fold its rows in, resolve the next. keyed_set() is one plain store
 * instruction (an atomic one in C's eyes, since the snapshot thread may look).
 * Reading through the pointer on the task thread is an ordinary read.
 *
 * Snapshot: keyed_capture_begin() is microseconds at any size. The capture sees
 * exactly the state at that moment; a key may come twice, with equal content
 * (restore overwrites), so rows are not a count of keys. One capture per store
 * at a time; any number of uploads. An abandoned capture is ended early, that
 * is all.
 *
 * Restore: keyed_reserve() per group with the counts of the object's index,
 * then keyed_restore() per block, before the first record.
 *
 * Ownership: the store is the caller's and owns its states; it outlives its
 * captures. Threads: as drawn. Limits: KEYED_STATES_MAX states, keys and values
 * up to BACKEND_VALUE_BYTES_MAX.
 */
#ifndef STATE_KEYED_H
#define STATE_KEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/backend.h"
#include "state/block.h"

enum {
	KEYED_WINDOW = BACKEND_WINDOW,
	KEYED_STATES_MAX = BACKEND_STATES_MAX,
	KEYED_WORDS_MAX = BLOCK_WORDS_MAX - 1,
	KEYED_NAME_MAX = 64
};

enum keyed_kind { KEYED_VALUE, KEYED_REDUCING, KEYED_BYTES, KEYED_LIST, KEYED_MAP };
enum keyed_key { KEYED_INT64, KEYED_STRING };

struct keyed_spec {
	const char *name; /* copied; unique in the store */
	enum keyed_kind kind;
	enum keyed_key key;
	unsigned words; /* KEYED_VALUE, KEYED_REDUCING: of the value */
	/* KEYED_REDUCING: fold `value` into `acc`; write acc by keyed_set(). */
	void (*reduce)(uint64_t *acc, const uint64_t *value, unsigned words);
	/* The hash of a key as it is stored, needed at restore: the one that callers pass.
	 * NULL: keyhash_of() (state/keyhash.h). */
	uint64_t (*hash)(const struct backend_key *key);
};

struct keyed;
struct keyed_state;
struct keyed_capture;

/* ---- life cycle ---- */

/* `ops`: &hashmap_backend (state/hashmap.h). */
struct keyed *keyed_create(const struct backend_ops *ops, const struct backend_range *range);
void keyed_destroy(struct keyed *k); /* NULL: no-op. No capture may be under way: that asserts */

/* Opening an open name with the same spec gives the same state; with another one ERR_INVALID. */
MUST_CHECK enum errc keyed_open(struct keyed *k, const struct keyed_spec *spec,
				struct keyed_state **out, struct err *e);

/* ---- values of words, in windows ---- */

/*
 * The values of n (1 .. KEYED_WINDOW) keys, made with zeros where absent.
 * Returns how many of the first keys are resolved: nearly always n, less when a
 * segment had to be split; never 0. Go on with the rest in another call:
 *
 *   for (unsigned at = 0; at < n;) {
 *           uint64_t *value[KEYED_WINDOW], created;
 *           unsigned got = keyed_upsert_i64(s, keys + at, hashes + at, n - at, value, &created);
 *           for (unsigned i = 0; i < got; i++)
 *                   keyed_set(&value[i][0], value[i][0] + 1);
 *           at += got;
 *   }
 *
 * Bit i of *created: key i was absent before this call. Equal keys in one
 * window share one value; only the first of them is `created`.
 */
static inline unsigned keyed_upsert_i64(struct keyed_state *s, const int64_t *keys,
					const uint64_t *hashes, unsigned n, uint64_t **out,
					uint64_t *created);
static inline unsigned keyed_upsert_bytes(struct keyed_state *s, const struct backend_bytes *keys,
					  const uint64_t *hashes, unsigned n, uint64_t **out,
					  uint64_t *created);

static inline void keyed_set(uint64_t *word, uint64_t value)
{
	/* Release where a race detector looks that does not understand fences; else plain. */
#if defined(__SANITIZE_THREAD__)
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
#else
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
#endif
#else
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
#endif
}

/* ---- one key at a time ---- */

/* The value for reading, until the next call on the store; NULL: absent. */
const uint64_t *keyed_find(struct keyed_state *s, const struct backend_key *key);
void keyed_put(struct keyed_state *s, const struct backend_key *key, const uint64_t *value);
/* KEYED_REDUCING: fold in; an absent key takes the value as it is. */
void keyed_reduce(struct keyed_state *s, const struct backend_key *key, const uint64_t *value);

/* KEYED_BYTES. get borrows until the next call on the store; absent: data NULL. Longer than
 * BACKEND_VALUE_BYTES_MAX is ERR_LIMIT and changes nothing, here and below. */
struct backend_bytes keyed_get_bytes(struct keyed_state *s, const struct backend_key *key);
MUST_CHECK enum errc keyed_put_bytes(struct keyed_state *s, const struct backend_key *key,
				     struct backend_bytes value, struct err *e);

/* KEYED_LIST. Iterate: `at` starts at 0; false at the end; items are borrowed as above. */
MUST_CHECK enum errc keyed_list_add(struct keyed_state *s, const struct backend_key *key,
				    struct backend_bytes item, struct err *e);
bool keyed_list_next(struct keyed_state *s, const struct backend_key *key, size_t *at,
		     struct backend_bytes *item);

/* KEYED_MAP. Iteration is in no promised order. */
MUST_CHECK enum errc keyed_map_put(struct keyed_state *s, const struct backend_key *key,
				   struct backend_bytes user_key, struct backend_bytes value,
				   struct err *e);
struct backend_bytes keyed_map_get(struct keyed_state *s, const struct backend_key *key,
				   struct backend_bytes user_key);
bool keyed_map_remove(struct keyed_state *s, const struct backend_key *key,
		      struct backend_bytes user_key);
bool keyed_map_next(struct keyed_state *s, const struct backend_key *key, size_t *at,
		    struct backend_bytes *user_key, struct backend_bytes *value);

/* All kinds: forget the key. Was it there? */
bool keyed_remove(struct keyed_state *s, const struct backend_key *key);

/* Entries and memory, read by any thread (a little behind). */
struct backend_sizes keyed_sizes(const struct keyed *k);

/* ---- capture ---- */

/* Task thread, at the barrier, between windows. ERR_AGAIN: the one before has not ended. */
MUST_CHECK enum errc keyed_capture_begin(struct keyed *k, struct keyed_capture **out,
					 struct err *e);
/*
 * Snapshot thread: the next block, into `out` (block_init()ed by the caller,
 * reused), and the state it belongs to (its index in keyed_spec_at()). False:
 * no more. Groups come in any order and may come in several blocks.
 */
bool keyed_capture_next(struct keyed_capture *c, unsigned *out_state, struct block *out);
/* Snapshot thread: done, or given up early. The handle is gone. */
void keyed_capture_end(struct keyed_capture *c);
/* Task thread, between batches: give back what an ended capture held (a bounded piece per call;
 * cheap when there is nothing). */
void keyed_poll(struct keyed *k);

/* The states in order of opening. Those opened before a capture began are in it. */
unsigned keyed_count(const struct keyed *k);
const struct keyed_spec *keyed_spec_at(const struct keyed *k, unsigned state);
void keyed_layout(const struct keyed_spec *spec, struct block_layout *out);

/* ---- restore ---- */

/* About `rows` keys of `group` will come: size its table once. */
void keyed_reserve(struct keyed_state *s, uint32_t group, uint64_t rows);
/* Put the rows of a block in; the last of equal keys wins. Keys are hashed again (spec.hash): a key
 * of another group than the block's, or a group out of the store's range, is ERR_CORRUPT. */
MUST_CHECK enum errc keyed_restore(struct keyed_state *s, const struct block *rows, struct err *e);

/* ---- inside ---- */

struct keyed_state { /* private, but for the two inlines */
	struct backend_state *impl;
	const struct backend_ops *ops;
	struct keyed *owner;
	struct keyed_spec spec; /* its name is owned */
	struct block_layout layout;
};

static inline unsigned keyed_upsert_i64(struct keyed_state *s, const int64_t *keys,
					const uint64_t *hashes, unsigned n, uint64_t **out,
					uint64_t *created)
{
	return s->ops->upsert_i64(s->impl, keys, hashes, n, out, created);
}

static inline unsigned keyed_upsert_bytes(struct keyed_state *s, const struct backend_bytes *keys,
					  const uint64_t *hashes, unsigned n, uint64_t **out,
					  uint64_t *created)
{
	return s->ops->upsert_bytes(s->impl, keys, hashes, n, out, created);
}

#endif
