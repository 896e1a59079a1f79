#include "cli/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

void table_row(struct table *t, ...)
{
	va_list ap;
	va_start(ap, t);
	unsigned column = 0;
	for (const char *cell; (cell = va_arg(ap, const char *)) != NULL; column++) {
		assert(column < TABLE_COLUMNS_MAX);
		assert(t->n_rows == 0 || column < t->n_columns);
		if (t->n_rows == 0)
			t->n_columns = column + 1;
		size_t at = (size_t)t->n_rows * t->n_columns + column;
		if (t->n_rows == 0)
			at = column;
		t->cells = mem_resize(t->cells, at + 1, sizeof(*t->cells));
		t->cells[at] = mem_text(cell);
	}
	va_end(ap);
	assert(column == t->n_columns);
	t->n_rows++;
}

void table_print(struct table *t)
{
	size_t widths[TABLE_COLUMNS_MAX] = {0};
	size_t n = (size_t)t->n_rows * t->n_columns;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(t->cells[i]);
		if (len > widths[i % t->n_columns])
			widths[i % t->n_columns] = len;
	}
	for (size_t i = 0; i < n; i++) {
		bool last = i % t->n_columns == t->n_columns - 1;
		printf("%-*s%s", last ? 0 : (int)widths[i % t->n_columns], t->cells[i],
		       last ? "\n" : "  ");
		free(t->cells[i]);
	}
	free(t->cells);
	*t = (struct table){0};
}

const char *table_duration(int64_t ms, char *out)
{
	if (ms < 0)
		snprintf(out, TABLE_CELL_MAX, "-");
	else if (ms < 1000)
		snprintf(out, TABLE_CELL_MAX, "%" PRId64 "ms", ms);
	else if (ms < 60000)
		snprintf(out, TABLE_CELL_MAX, "%.1fs", (double)ms / 1000);
	else if (ms < 3600000)
		snprintf(out, TABLE_CELL_MAX, "%" PRId64 "min %02" PRId64 "s", ms / 60000,
			 ms / 1000 % 60);
	else
		snprintf(out, TABLE_CELL_MAX, "%" PRId64 "h %02" PRId64 "min", ms / 3600000,
			 ms / 60000 % 60);
	return out;
}

const char *table_bytes(int64_t bytes, char *out)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	if (bytes < 1024) {
		snprintf(out, TABLE_CELL_MAX, "%" PRId64 " B", bytes);
		return out;
	}
	unsigned unit = 0;
	for (value /= 1024; value >= 1024 && unit < 3; unit++)
		value /= 1024;
	snprintf(out, TABLE_CELL_MAX, "%.1f %s", value, units[unit]);
	return out;
}

const char *table_time(int64_t ms, char *out)
{
	struct tm tm;
	time_t seconds = (time_t)(ms / 1000);
	if (ms < 1 || gmtime_r(&seconds, &tm) == NULL)
		snprintf(out, TABLE_CELL_MAX, "-");
	else
		strftime(out, TABLE_CELL_MAX, "%Y-%m-%d %H:%M:%S", &tm);
	return out;
}

const char *table_number(int64_t n, char *out)
{
	snprintf(out, TABLE_CELL_MAX, "%" PRId64, n);
	return out;
}

const char *table_text(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));
	return text && text[0] ? text : "-";
}

int64_t table_integer(const json_t *o, const char *name, int64_t fallback)
{
	const json_t *v = json_object_get(o, name);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}
