#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/table.h"

Test(table, columns_are_as_wide_as_their_widest_cell)
{
	struct table t = {0};
	cr_redirect_stdout();
	table_row(&t, "JOB", "NAME", NULL);
	table_row(&t, "1", "wordcount", NULL);
	table_row(&t, "12345", "", NULL);
	table_print(&t);
	fflush(stdout);
	cr_assert_stdout_eq_str("JOB    NAME\n1      wordcount\n12345  \n");
	cr_assert(eq(ptr, t.cells, NULL));
}

static void durations(int64_t ms, const char *text)
{
	char out[TABLE_CELL_MAX];
	cr_expect(eq(str, (char *)table_duration(ms, out), (char *)text));
}

Test(table, duration)
{
	durations(-1, "-");
	durations(0, "0ms");
	durations(999, "999ms");
	durations(1000, "1.0s");
	durations(59999, "60.0s");
	durations(60000, "1min 00s");
	durations(3599999, "59min 59s");
	durations(3600000, "1h 00min");
	durations(INT64_MAX, "2562047788015h 12min");
}

static void bytes(int64_t n, const char *text)
{
	char out[TABLE_CELL_MAX];
	cr_expect(eq(str, (char *)table_bytes(n, out), (char *)text));
}

Test(table, sizes)
{
	bytes(0, "0 B");
	bytes(1023, "1023 B");
	bytes(1024, "1.0 KiB");
	bytes(1536 << 10, "1.5 MiB");
	bytes(INT64_C(1) << 30, "1.0 GiB");
	bytes(INT64_C(1) << 50, "1024.0 TiB");
}

Test(table, times)
{
	char out[TABLE_CELL_MAX];
	cr_assert(eq(str, (char *)table_time(-1, out), "-"));
	cr_assert(eq(str, (char *)table_time(0, out), "-"));
	cr_assert(eq(str, (char *)table_time(1769860800123, out), "2026-01-31 12:00:00"));
}

Test(table, members_that_are_missing_or_of_another_type)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:n}", "n", 7, "t", "text", "empty", "", "null");
	cr_assert(eq(str, (char *)table_text(o, "t"), "text"));
	cr_assert(eq(str, (char *)table_text(o, "empty"), "-"));
	cr_assert(eq(str, (char *)table_text(o, "null"), "-"));
	cr_assert(eq(str, (char *)table_text(o, "n"), "-"));
	cr_assert(eq(str, (char *)table_text(NULL, "n"), "-"));
	cr_assert(eq(i64, table_integer(o, "n", -1), 7));
	cr_assert(eq(i64, table_integer(o, "t", -1), -1));
	cr_assert(eq(i64, table_integer(NULL, "n", -1), -1));
	json_decref(o);
}
