/*
 * verify_counts - is the committed output of a keyed count complete, and nothing twice?
 *
 *   verify_counts RECORDS KEYS FILE...
 *
 * The job counted RECORDS records whose keys were i mod KEYS and wrote one line "key<TAB>count" for
 * each; so for every key each count from 1 to its number of records must be there exactly once.
 * One bit per expected line; prints what is missing or double (the first few, and how many) and
 * "equal" if nothing is. Exit status 0 only then.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 5 };

struct tally {
	uint64_t records, keys;
	unsigned char *seen; /* one bit per (key, count) */
	uint64_t lines, twice, strange;
};

static uint64_t records_of(const struct tally *t, uint64_t key)
{
	return t->records / t->keys + (key < t->records % t->keys ? 1 : 0);
}

static void line(struct tally *t, const char *text, const char *file)
{
	char *end;
	uint64_t key = strtoull(text, &end, 10);
	uint64_t count = *end == '\t' ? strtoull(end + 1, &end, 10) : 0;
	t->lines++;
	if ((*end != '\n' && *end != '\0') || key >= t->keys || count < 1 ||
	    count > records_of(t, key)) {
		if (t->strange++ < SHOWN)
			printf("strange line in %s: %s", file, text);
		return;
	}
	uint64_t bit = key + (count - 1) * t->keys;
	if (t->seen[bit / 8] & (1u << (bit % 8))) {
		if (t->twice++ < SHOWN)
			printf("twice: key %" PRIu64 " count %" PRIu64 " in %s\n", key, count,
			       file);
	}
	t->seen[bit / 8] |= (unsigned char)(1u << (bit % 8));
}

static bool read_file(struct tally *t, const char *path)
{
	char text[256];
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		printf("%s: %s\n", path, strerror(errno));
		return false;
	}
	while (fgets(text, sizeof(text), f))
		line(t, text, path);
	fclose(f);
	return true;
}

int main(int argc, char **argv)
{
	struct tally t = {0};
	if (argc < 3) {
		fprintf(stderr, "usage: verify_counts RECORDS KEYS FILE...\n");
		return 2;
	}
	t.records = strtoull(argv[1], NULL, 10);
	t.keys = strtoull(argv[2], NULL, 10);
	uint64_t bits = t.keys * (t.records / t.keys + 1);
	t.seen = calloc(bits / 8 + 1, 1);
	if (t.keys == 0 || t.seen == NULL)
		return 2;
	bool ok = true;
	for (int i = 3; i < argc; i++)
		ok = read_file(&t, argv[i]) && ok;
	uint64_t missing = 0;
	for (uint64_t i = 0; i < t.records; i++) {
		if (!(t.seen[i / 8] & (1u << (i % 8))) && missing++ < SHOWN)
			printf("missing: key %" PRIu64 " count %" PRIu64 "\n", i % t.keys,
			       i / t.keys + 1);
	}
	printf("%" PRIu64 " lines of %" PRIu64 ": %" PRIu64 " missing, %" PRIu64 " twice, %" PRIu64
	       " strange\n",
	       t.lines, t.records, missing, t.twice, t.strange);
	free(t.seen);
	if (!ok || missing || t.twice || t.strange)
		return 1;
	printf("equal\n");
	return 0;
}
