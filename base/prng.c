#include "base/prng.h"

#include <assert.h>

void prng_init(struct prng *p, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15u);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		p->s[i] = z ^ (z >> 31);
	}
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t prng_next(struct prng *p)
{
	uint64_t *s = p->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
	assert(bound > 0);
	/* The bias of a plain remainder is below 2^-32 for every bound used here. */
	return prng_next(p) % bound;
}

uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high)
{
	assert(low <= high);
	return low + prng_below(p, high - low + 1);
}

bool prng_chance(struct prng *p, unsigned per_million)
{
	return prng_below(p, 1000000) < per_million;
}
