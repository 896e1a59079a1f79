#include "state/keyhash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t keyhash_int64(int64_t key)
{
	unsigned char canonical[9] = {KEYHASH_INT64};
	uint64_t v = (uint64_t)key;

	for (unsigned i = 0; i < 8; i++)
		canonical[1 + i] = (unsigned char)(v >> 8 * i);
	return XXH3_64bits(canonical, sizeof(canonical));
}

uint64_t keyhash_bytes(const void *canonical, size_t len)
{
	return XXH3_64bits(canonical, len);
}

uint64_t keyhash_of(const struct backend_key *key)
{
	return key->bytes.data ? keyhash_bytes(key->bytes.data, key->bytes.len)
			       : keyhash_int64(key->number);
}
