/*
 * head - how a key lies in a slot.
 *
 *   int64:  w0 the number
 *   bytes:  w0 length (low 32 bits) and bytes 0-3; w1 bytes 4-11, or for keys
 *           of more than 12 bytes the address of a blob with all of them
 *           (Umbra's "German strings", Neumann and Freitag 2020)
 *
 * Heads of bytes are built in registers from loads that stay within the key:
 * storing bytes and loading words would stall, and no slack is asked for.
 * Private to state/.
 */
#ifndef STATE_HEAD_H
#define STATE_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "state/backend.h"
#include "state/blobs.h"
#include "state/words.h"

enum { HEAD_INLINE = 12 };

struct head {
	uint64_t w0, w1; /* w1 of a long key: 0 */
	struct backend_bytes bytes;
};

static inline uint64_t head_load8(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static inline uint64_t head_load4(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static inline struct head head_of_number(int64_t number)
{
	return (struct head){.w0 = (uint64_t)number};
}

static inline struct head head_of_bytes(struct backend_bytes key)
{
	const unsigned char *p = key.data;
	uint32_t n = key.len;
	uint64_t low = 0, rest = 0; /* bytes 0-3 and 4-11 */

	if (n >= 12) {
		low = head_load4(p);
		rest = head_load8(p + 4);
	} else if (n > 8) {
		uint64_t first = head_load8(p), last = head_load8(p + n - 8);

		low = first & UINT32_MAX;
		rest = first >> 32 | last >> 8 * (16 - n) << 32;
	} else if (n > 4) {
		low = head_load4(p);
		rest = head_load4(p + n - 4) >> 8 * (8 - n);
	} else if (n) {
		low = p[0] | (uint64_t)p[n / 2] << 8 * (n / 2) | (uint64_t)p[n - 1] << 8 * (n - 1);
		if (n == 4)
			low = head_load4(p);
	}
	return (struct head){.w0 = n | low << 32, .w1 = n > HEAD_INLINE ? 0 : rest, .bytes = key};
}

static inline uint32_t head_len(uint64_t w0)
{
	return (uint32_t)w0;
}

/* The blob of a slot's key, 0 if it has none. */
static inline uint64_t head_blob(const uint64_t *slot)
{
	return head_len(slot[0]) > HEAD_INLINE ? slot[1] : 0;
}

static inline bool head_equal(const struct head *key, const uint64_t *slot, const bool key_bytes)
{
	if (slot[0] != key->w0)
		return false;
	if (!key_bytes)
		return true;
	if (head_len(key->w0) <= HEAD_INLINE)
		return slot[1] == key->w1;
	return !memcmp(((const struct blob *)(uintptr_t)slot[1])->bytes, key->bytes.data,
		       key->bytes.len);
}

/* w1 of a new entry: makes the blob of a long key. */
static inline uint64_t head_keep(const struct head *key, struct blobs *blobs, uint32_t cur)
{
	struct blob *blob;

	if (head_len(key->w0) <= HEAD_INLINE)
		return key->w1;
	blob = blobs_make(blobs, key->bytes.len, cur);
	memcpy(blob->bytes, key->bytes.data, key->bytes.len);
	return (uintptr_t)blob;
}

/* The key's bytes: the blob's, or within `slot` itself (bytes 4-15, little-endian). */
static inline struct backend_bytes head_bytes(const uint64_t *slot)
{
	uint32_t n = head_len(slot[0]);

	if (n > HEAD_INLINE)
		return (struct backend_bytes){((const struct blob *)(uintptr_t)slot[1])->bytes, n};
	return (struct backend_bytes){(const unsigned char *)slot + 4, n};
}

static inline void head_prefetch(const uint64_t *slot)
{
	if (head_blob(slot))
		__builtin_prefetch((const void *)(uintptr_t)slot[1]);
}

#endif
