/*
 * keyhash - the hash that decides where a key's state lies.
 *
 * XXH3-64, seed 0, of the canonical key (docs/formats/key-hash.md): for each
 * keyBy column in order a type byte, then for bool 1 byte, for int64, float64
 * (-0.0 as 0.0, one NaN) and timestamp 8 bytes little-endian, for string and
 * bytes a 4-byte length and the bytes; a null is its type byte alone.
 *
 * A key of one int64 column may be kept as a number (KEYED_INT64): the hash is
 * still that of its nine canonical bytes. Part of the snapshot format: it may
 * never change without a new format number.
 */
#ifndef STATE_KEYHASH_H
#define STATE_KEYHASH_H

#include <stddef.h>
#include <stdint.h>

#include "state/backend.h"

enum keyhash_type {
	KEYHASH_NULL = 0,
	KEYHASH_BOOL = 1,
	KEYHASH_INT64 = 2,
	KEYHASH_FLOAT64 = 3,
	KEYHASH_STRING = 4,
	KEYHASH_BYTES = 5,
	KEYHASH_TIMESTAMP = 6
};

uint64_t keyhash_int64(int64_t key);
uint64_t keyhash_bytes(const void *canonical, size_t len);
/* data NULL: the key is `number`; else its canonical bytes. */
uint64_t keyhash_of(const struct backend_key *key);

#endif
