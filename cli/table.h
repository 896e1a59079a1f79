/*
 * table - aligned columns for human eyes, and the words that go into them.
 *
 *   struct table t = {0};
 *   table_row(&t, "JOB", "NAME", NULL);
 *   table_row(&t, id, name, NULL);
 *   table_print(&t);            prints and releases
 *
 * The first row is the heading. Cells are copied. Column widths count bytes.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdint.h>

enum { TABLE_COLUMNS_MAX = 12, TABLE_CELL_MAX = 32 };

struct table {
	char **cells; /* owns: row after row */
	unsigned n_rows;
	unsigned n_columns; /* of the first row; other rows have as many */
};

/* Texts, ended by NULL. */
void table_row(struct table *t, ...) __attribute__((sentinel));
void table_print(struct table *t);

/* Each writes into a buffer of TABLE_CELL_MAX and returns it. */
const char *table_duration(int64_t ms, char *out); /* "1h 02min", "3.2s", "-" below 0 */
const char *table_bytes(int64_t bytes, char *out); /* "1.5 MiB" */
const char *table_time(int64_t ms, char *out);     /* "2026-01-31 12:00:00" UTC, "-" below 1 */
const char *table_number(int64_t n, char *out);

/* Members that may be missing: "-" or `fallback`. */
const char *table_text(const json_t *o, const char *name);
int64_t table_integer(const json_t *o, const char *name, int64_t fallback);

#endif
