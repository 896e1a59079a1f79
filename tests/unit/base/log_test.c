#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static char dir[64];

static void setup(void)
{
	cr_redirect_stderr();
	snprintf(dir, sizeof(dir), "/tmp/weir-log-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(dir), NULL));
	cr_assert(eq(int, log_open("jm-1", dir, LOG_LEVEL_INFO, NULL), ERR_OK));
}

static void teardown(void)
{
	log_close();
	for (int i = 0; i < 10; i++) {
		char path[128];
		snprintf(path, sizeof(path), i ? "%s/jm-1.log.%d" : "%s/jm-1.log", dir, i);
		unlink(path);
	}
	cr_assert(eq(int, rmdir(dir), 0), "the log left other files behind");
}

static size_t contents(const char *name, char *out, size_t max)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, out, max - 1);
	cr_assert(n >= 0);
	out[n] = '\0';
	if (fd >= 0)
		close(fd);
	return (size_t)n;
}

TestSuite(log, .init = setup, .fini = teardown);

Test(log, one_line_per_fact)
{
	char text[4096];
	log_line(LOG_LEVEL_WARN, "job=%s acked\nor not", "wordcount");
	size_t n = contents("jm-1.log", text, sizeof(text));
	cr_assert(eq(str, strchr(text, ' '), " warn node=jm-1 job=wordcount acked or not\n"), "%s",
		  text);
	cr_assert(eq(sz, n - strlen(strchr(text, ' ')), strlen("2026-01-31T12:00:00.123Z")));
}

Test(log, levels)
{
	char text[4096];
	log_line(LOG_LEVEL_DEBUG, "quiet");
	cr_assert(eq(sz, contents("jm-1.log", text, sizeof(text)), 0));
	log_set_level(LOG_LEVEL_DEBUG);
	cr_assert(log_on(LOG_LEVEL_DEBUG));
	log_line(LOG_LEVEL_DEBUG, "loud");
	cr_assert(contents("jm-1.log", text, sizeof(text)) > 0);
	log_set_level(LOG_LEVEL_ERROR);
	cr_assert(not(log_on(LOG_LEVEL_WARN)));
}

Test(log, level_names_there_and_back)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		enum log_level level = LOG_LEVEL_ERROR;
		cr_assert(eq(int, log_level_parse(log_level_name((enum log_level)i), &level, NULL),
			     ERR_OK));
		cr_assert(eq(int, level, i));
	}
	enum log_level level;
	cr_assert(eq(int, log_level_parse("INFO", &level, NULL), ERR_INVALID));
}

Test(log, an_overlong_line_is_cut_but_stays_a_line)
{
	char *huge = malloc(100001), text[20000];
	memset(huge, 'x', 100000);
	huge[100000] = '\0';
	log_line(LOG_LEVEL_INFO, "%s", huge);
	size_t n = contents("jm-1.log", text, sizeof(text));
	cr_assert(n > 8000 && n <= 8192, "%zu", n);
	cr_assert(eq(chr, text[n - 1], '\n'));
	free(huge);
}

Test(log, rotates_and_keeps_five)
{
	char line[8001], path[128];
	memset(line, 'x', 8000);
	line[8000] = '\0';
	for (int i = 0; i < 6 * (10 << 20) / 8000; i++)
		log_line(LOG_LEVEL_INFO, "%s", line);
	struct stat st;
	for (int i = 1; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/jm-1.log.%d", dir, i);
		cr_assert(eq(int, stat(path, &st), 0), "%s", path);
		cr_assert(st.st_size >= 10 << 20 && st.st_size < (10 << 20) + 8192);
	}
	snprintf(path, sizeof(path), "%s/jm-1.log.5", dir);
	cr_assert(ne(int, stat(path, &st), 0), "a sixth file");
}

Test(log, a_directory_that_is_not_there_is_named)
{
	struct err e = {0};
	cr_assert(eq(int, log_open("x", "/nonexistent/logs", LOG_LEVEL_INFO, &e), ERR_NOTFOUND));
	cr_assert(ne(ptr, strstr(e.text, "/nonexistent/logs/x.log"), NULL));
	cr_assert(eq(int, log_open("jm-1", dir, LOG_LEVEL_INFO, NULL), ERR_OK));
}
