/* drive - what calls fuzz_one(): libFuzzer, or a fixed number of mutations of the seeds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "base/text.h"
#include "fuzz.h"

#ifdef WEIR_FUZZ

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_one((const char *)data, size);
	return 0;
}

#else

enum { INPUT_MAX = 4096, ROUNDS = 3000, SEED = 1 };

static const char *const words[] = {"{}", "[]", "null", "-1",   "1e400", "99999999999999999999",
				    "\"", "\\", "\n",   "true", "\xff",  "\\u0000"};

static size_t insert(char *input, size_t size, size_t at, const char *word)
{
	size_t n = strlen(word);
	if (size + n > INPUT_MAX)
		return size;
	memmove(input + at + n, input + at, size - at);
	memcpy(input + at, word, n);
	return size + n;
}

/* One change; the input never grows beyond INPUT_MAX. */
static size_t change(struct prng *p, char *input, size_t size)
{
	size_t at = (size_t)prng_below(p, size + 1);
	size_t n = (size_t)prng_below(p, 16);
	switch (prng_below(p, 4)) {
	case 0: /* a bit */
		if (at < size)
			input[at] = (char)(input[at] ^ (1 << prng_below(p, 8)));
		return size;
	case 1: /* some bytes go */
		n = n < size - at ? n : size - at;
		memmove(input + at, input + at + n, size - at - n);
		return size - n;
	case 2: /* the end goes */
		return prng_below(p, 8) ? size : at;
	default:
		return insert(input, size, at,
			      words[prng_below(p, sizeof(words) / sizeof(words[0]))]);
	}
}

static void round_of(struct prng *p, const char *seed)
{
	char input[INPUT_MAX];
	size_t size = strlen(seed);
	memcpy(input, seed, size);
	for (uint64_t i = prng_between(p, 0, 4); i > 0; i--)
		size = change(p, input, size);
	char *exact = mem_alloc(size ? size : 1); /* so that a read behind it is seen */
	memcpy(exact, input, size);
	fuzz_one(exact, size);
	free(exact);
}

int main(void)
{
	struct prng p;
	uint64_t rounds = ROUNDS;
	unsigned n = 0;
	const char *asked = getenv("WEIR_FUZZ_ROUNDS");
	if (asked && text_u64(asked, &rounds, NULL) != ERR_OK)
		return 2;
	while (fuzz_seeds[n])
		n++;
	prng_init(&p, SEED);
	for (uint64_t i = 0; i < rounds; i++)
		round_of(&p, fuzz_seeds[i % n]);
	printf("%llu inputs\n", (unsigned long long)rounds);
	return 0;
}

#endif
