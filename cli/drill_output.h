/*
 * drill_output - how much a directory's files have grown.
 *
 * Files whose names contain a text are found every now and then, asked
 * for their size every few milliseconds (unless files are complete when they
 * appear), and their lines are counted when a sample is taken. A file that
 * vanishes keeps what it had. Files are in the order of their names.
 */
#ifndef CLI_DRILL_OUTPUT_H
#define CLI_DRILL_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

struct drill_file;

struct drill_growth {
	const char *directory;    /* borrowed; NULL: nothing ever grows */
	const char *part;         /* borrowed; only names that contain it */
	bool files_grow;          /* false: a file is complete when it appears */
	struct drill_file *files; /* owns */
	unsigned n, capacity;
};

/* What is there already is not growth: neither its size nor its lines. */
void drill_growth_begin(struct drill_growth *g);
/* New names since the last time; true if one of them is not empty. */
bool drill_growth_find(struct drill_growth *g);
/* True if any known file is larger than before. */
bool drill_growth_look(struct drill_growth *g);
/* Lines that came since the last time. */
int64_t drill_growth_lines(struct drill_growth *g);
void drill_growth_fini(struct drill_growth *g);

#endif
