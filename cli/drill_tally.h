/*
 * drill_tally - is the committed output of a drill's job complete, and nothing
 * in it twice?
 *
 * The job counts `records` numbers 0.. whose keys are i mod `keys`, and writes
 * one line "key<TAB>count" for each: for every key, each count from 1 to its
 * number of records must be there exactly once. One bit is kept per record.
 */
#ifndef CLI_DRILL_TALLY_H
#define CLI_DRILL_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct drill_tally {
	uint64_t records, keys;
	unsigned char *seen; /* owns: bit key + (count - 1) * keys */
	uint64_t lines;      /* read in all */
	uint64_t doubled;    /* lines that were there before */
	uint64_t strange;    /* lines that no such job writes; also counted as doubled records */
};

void drill_tally_init(struct drill_tally *t, uint64_t records, uint64_t keys); /* keys > 0 */
void drill_tally_fini(struct drill_tally *t);
/* One line, without its newline. */
void drill_tally_line(struct drill_tally *t, const char *line, size_t len);
/* All visible regular files of a directory: its committed parts. */
MUST_CHECK enum errc drill_tally_directory(struct drill_tally *t, const char *path, struct err *e);
/* Records whose line was in no file. */
uint64_t drill_tally_missing(const struct drill_tally *t);

#endif
