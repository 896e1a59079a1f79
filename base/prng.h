/*
 * prng - repeatable random numbers (xoshiro256**, seeded by splitmix64;
 * Blackman and Vigna, 2018). Not for secrets or identities: those come from
 * world_rand64(), which is the kernel's in production.
 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
	uint64_t s[4];
};

void prng_init(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t bound);                /* 0 .. bound-1; bound > 0 */
uint64_t prng_between(struct prng *p, uint64_t low, uint64_t high); /* both included */
bool prng_chance(struct prng *p, unsigned per_million);

#endif
