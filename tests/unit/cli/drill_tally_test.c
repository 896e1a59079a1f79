#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/drill_tally.h"

static void line(struct drill_tally *t, const char *text)
{
	drill_tally_line(t, text, strlen(text));
}

/* Ten records of three keys: 0 has four, 1 and 2 have three. */
static void all_lines(struct drill_tally *t)
{
	char text[32];
	for (unsigned i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "%u\t%u", i % 3, i / 3 + 1);
		line(t, text);
	}
}

Test(drill_tally, complete)
{
	struct drill_tally t;
	drill_tally_init(&t, 10, 3);
	cr_expect(eq(u64, drill_tally_missing(&t), 10));
	all_lines(&t);
	cr_expect(eq(u64, drill_tally_missing(&t), 0));
	cr_expect(eq(u64, t.doubled, 0));
	cr_expect(eq(u64, t.lines, 10));
	drill_tally_fini(&t);
}

Test(drill_tally, twice_missing_and_strange)
{
	struct drill_tally t;
	drill_tally_init(&t, 10, 3);
	line(&t, "0\t1");
	line(&t, "0\t1");
	cr_expect(eq(u64, t.doubled, 1));
	cr_expect(eq(u64, drill_tally_missing(&t), 9));
	static const char *const strange[] = {"3\t1", "0\t5", "1\t4",  "0\t0", "0",
					      "",     "x\t1", "0\t1x", "0 1",  "-1\t1"};
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
		line(&t, strange[i]);
	drill_tally_line(&t, "1\t1\0", 4);
	cr_expect(eq(u64, t.strange, 11));
	cr_expect(eq(u64, t.doubled, 12));
	cr_expect(eq(u64, drill_tally_missing(&t), 9));
	drill_tally_fini(&t);
}

Test(drill_tally, a_directory_without_what_is_hidden)
{
	char dir[] = "/tmp/weir-tally-XXXXXX", path[64];
	struct drill_tally t;
	struct err e;
	static const struct {
		const char *name, *text;
	} files[] = {{"a", "0\t1\n1\t1\n"}, {"b", "2\t1"}, {".pending", "0\t1\n"}};
	cr_assert(mkdtemp(dir) != NULL);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		FILE *f = fopen(path, "w");
		cr_assert(f != NULL);
		fputs(files[i].text, f);
		fclose(f);
	}
	drill_tally_init(&t, 3, 3);
	cr_expect(eq(int, (int)drill_tally_directory(&t, dir, &e), (int)ERR_OK));
	cr_expect(eq(u64, t.lines, 3));
	cr_expect(eq(u64, t.doubled, 0));
	cr_expect(eq(u64, drill_tally_missing(&t), 0));
	drill_tally_fini(&t);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i].name);
		unlink(path);
	}
	rmdir(dir);
}
