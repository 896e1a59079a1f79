#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/drill_output.h"

static void append(const char *dir, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	free(path);
}

static void forget(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	(void)unlink(path);
	free(path);
}

Test(drill_output, only_what_comes_after_the_beginning_counts)
{
	char dir[] = "/tmp/weir-XXXXXX";
	cr_assert(mkdtemp(dir) != NULL);
	append(dir, "part-1", "1\n2\n3\n");
	struct drill_growth g = {.directory = dir, .part = "part", .files_grow = true};
	drill_growth_begin(&g);
	cr_expect(not(drill_growth_find(&g)));
	cr_expect(not(drill_growth_look(&g)));
	cr_expect(eq(i64, drill_growth_lines(&g), 0));
	append(dir, "part-1", "4\n");
	append(dir, "part-2", "5\n6\n");
	append(dir, "other", "7\n");
	cr_expect(drill_growth_look(&g));
	cr_expect(drill_growth_find(&g));
	cr_expect(eq(i64, drill_growth_lines(&g), 3));
	cr_expect(eq(i64, drill_growth_lines(&g), 0));
	drill_growth_fini(&g);
	forget(dir, "part-1");
	forget(dir, "part-2");
	forget(dir, "other");
	rmdir(dir);
}
