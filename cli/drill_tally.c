#include "cli/drill_tally.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/text.h"

enum { LINE_MAX_BYTES = 64 };

void drill_tally_init(struct drill_tally *t, uint64_t records, uint64_t keys)
{
	*t = (struct drill_tally){.records = records, .keys = keys};
	t->seen = mem_array((size_t)(records + keys) / 8 + 1, 1);
}

void drill_tally_fini(struct drill_tally *t)
{
	free(t->seen);
	t->seen = NULL;
}

static uint64_t records_of(const struct drill_tally *t, uint64_t key)
{
	return t->records / t->keys + (key < t->records % t->keys ? 1 : 0);
}

static bool parse(const char *line, size_t len, uint64_t *key, uint64_t *count)
{
	char text[LINE_MAX_BYTES];
	if (len >= sizeof(text))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	char *tab = strchr(text, '\t');
	if (tab == NULL || strlen(text) != len)
		return false;
	*tab = '\0';
	return text_u64(text, key, NULL) == ERR_OK && text_u64(tab + 1, count, NULL) == ERR_OK;
}

void drill_tally_line(struct drill_tally *t, const char *line, size_t len)
{
	uint64_t key, count;
	t->lines++;
	if (!parse(line, len, &key, &count) || key >= t->keys || count < 1 ||
	    count > records_of(t, key)) {
		t->strange++;
		t->doubled++;
		return;
	}
	uint64_t bit = key + (count - 1) * t->keys;
	unsigned char mask = (unsigned char)(1u << (bit % 8));
	t->doubled += (t->seen[bit / 8] & mask) != 0;
	t->seen[bit / 8] |= mask;
}

static enum errc read_part(struct drill_tally *t, const char *path, struct err *e)
{
	struct stat st;
	char *line = NULL;
	size_t capacity = 0;
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return err_errno(e, errno, "open %s", path);
	ssize_t n = 0;
	bool regular = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode);
	while (regular && (n = getline(&line, &capacity, f)) > 0)
		drill_tally_line(t, line, (size_t)n - (line[n - 1] == '\n'));
	enum errc rc = ferror(f) ? err_errno(e, errno, "read %s", path) : ERR_OK;
	free(line);
	fclose(f);
	return rc;
}

enum errc drill_tally_directory(struct drill_tally *t, const char *path, struct err *e)
{
	struct dirent *d;
	enum errc rc = ERR_OK;
	DIR *dir = opendir(path);
	if (dir == NULL)
		return err_errno(e, errno, "open %s", path);
	while (rc == ERR_OK && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		char *file = mem_printf("%s/%s", path, d->d_name);
		rc = read_part(t, file, e);
		free(file);
	}
	closedir(dir);
	return rc;
}

uint64_t drill_tally_missing(const struct drill_tally *t)
{
	uint64_t missing = 0;
	for (uint64_t i = 0; i < t->records; i++)
		missing += (t->seen[i / 8] & (1u << (i % 8))) == 0;
	return missing;
}
