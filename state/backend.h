/*
 * backend - the port behind which keyed state is kept.
 *
 * One implementation ships: hashmap (state/hashmap.h, in memory). tests/unit/state
 * has a deliberately naive second one, and one conformance suite that runs
 * against both. Programs use state/keyed.h, which adds list, map and reducing
 * state to what a backend does: fixed-size values in windows, values of bytes.
 *
 * A store belongs to one operator of one subtask and is used by its task
 * thread alone; only capture_next() and capture_end() run elsewhere.
 *
 * A window is at most BACKEND_WINDOW keys. Keys come with their 64-bit hash
 * (job/keygroup.h); the hash decides the group, which must lie in the store's
 * range: another group is an assertion, the exchange has routed wrongly.
 */
#ifndef STATE_BACKEND_H
#define STATE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/block.h"

enum { BACKEND_WINDOW = 64, BACKEND_STATES_MAX = 64, BACKEND_VALUE_BYTES_MAX = 16 << 20 };

struct backend_bytes {
	const void *data;
	uint32_t len;
};

struct backend_range {
	uint32_t max_parallelism, first, end; /* key groups [first, end) */
};

struct backend_sizes {
	uint64_t entries; /* keys, over all states */
	uint64_t bytes;   /* memory held, captures included */
};

/* One key of a state of bytes keys or of int64 keys, as the layout says. */
struct backend_key {
	uint64_t hash;
	int64_t number;
	struct backend_bytes bytes;
};

struct backend; /* a store; first member: const struct backend_ops *ops */
struct backend_state;
struct backend_capture;

struct backend_ops {
	const char *name;
	struct backend *(*create)(const struct backend_range *range);
	void (*destroy)(struct backend *b); /* no capture may be under way */
	struct backend_state *(*open)(struct backend *b, const struct block_layout *layout,
				      uint64_t (*hash)(const struct backend_key *key));

	/* Fixed-size values. Both fill out[i] with the value of key i, for rows 0 .. returned-1 (at
	 * least 1, at most n); the pointers hold until the next call on the store. upsert makes
	 * absent keys with a value of zeros, sets their bit in *created, and marks all for writing;
	 * it stops early when the table has to be rearranged. find gives NULL for absent keys, and
	 * its values must not be written. */
	unsigned (*upsert_i64)(struct backend_state *s, const int64_t *keys, const uint64_t *hashes,
			       unsigned n, uint64_t **out, uint64_t *created);
	unsigned (*upsert_bytes)(struct backend_state *s, const struct backend_bytes *keys,
				 const uint64_t *hashes, unsigned n, uint64_t **out,
				 uint64_t *created);
	const uint64_t *(*find)(struct backend_state *s, const struct backend_key *key);

	/* Values of bytes. get borrows until the next call on the store; absent: data NULL. put
	 * copies; append adds behind what is there (absent: as put), cheaply when repeated. */
	struct backend_bytes (*get)(struct backend_state *s, const struct backend_key *key);
	void (*put)(struct backend_state *s, const struct backend_key *key, struct backend_bytes v);
	void (*append)(struct backend_state *s, const struct backend_key *key,
		       struct backend_bytes v);

	bool (*remove)(struct backend_state *s, const struct backend_key *key); /* was it there? */
	struct backend_sizes (*sizes)(const struct backend *b);

	/* state/keyed.h describes these. */
	struct backend_capture *(*capture_begin)(struct backend *b); /* NULL: one is under way */
	bool (*capture_next)(struct backend_capture *c, unsigned *out_state, struct block *out);
	void (*capture_end)(struct backend_capture *c);
	void (*poll)(struct backend *b);
	void (*reserve)(struct backend_state *s, uint32_t group, uint64_t rows);
	MUST_CHECK enum errc (*restore)(struct backend_state *s, const struct block *rows,
					struct err *e);
};

struct backend {
	const struct backend_ops *ops;
};

#endif
