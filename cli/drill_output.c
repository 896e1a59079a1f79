#include "cli/drill_output.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { FILES_MAX = 100000, READ_BYTES = 1 << 16 };

struct drill_file {
	char *name;    /* owns */
	int64_t size;  /* seen */
	int64_t lines; /* bytes of it whose lines are counted */
};

/* Where `name` is, or belongs: files are in the order of their names. */
static unsigned place(const struct drill_growth *g, const char *name, bool *found)
{
	unsigned low = 0, high = g->n;
	*found = false;
	while (low < high && !*found) {
		unsigned middle = (low + high) / 2;
		int order = strcmp(g->files[middle].name, name);
		*found = order == 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return high;
}

static int64_t size_of(const struct drill_growth *g, const char *name)
{
	struct stat st;
	char *path = mem_printf("%s/%s", g->directory, name);
	int64_t size = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
	free(path);
	return size;
}

static void insert(struct drill_growth *g, unsigned at, const char *name, int64_t size)
{
	if (g->n == g->capacity) {
		g->capacity = g->capacity ? 2 * g->capacity : 64;
		g->files = mem_resize(g->files, g->capacity, sizeof(*g->files));
	}
	memmove(g->files + at + 1, g->files + at, (g->n - at) * sizeof(*g->files));
	g->files[at] = (struct drill_file){.name = mem_text(name), .size = size};
	g->n++;
}

bool drill_growth_find(struct drill_growth *g)
{
	struct dirent *d;
	bool grew = false;
	DIR *dir = g->directory ? opendir(g->directory) : NULL;
	while (dir && (d = readdir(dir)) != NULL && g->n < FILES_MAX) {
		bool found;
		if (d->d_name[0] == '.' || strstr(d->d_name, g->part) == NULL)
			continue;
		unsigned at = place(g, d->d_name, &found);
		int64_t size = found ? -1 : size_of(g, d->d_name);
		if (size < 0)
			continue;
		insert(g, at, d->d_name, size);
		grew = grew || size > 0;
	}
	if (dir)
		closedir(dir);
	return grew;
}

void drill_growth_begin(struct drill_growth *g)
{
	(void)drill_growth_find(g);
	for (unsigned i = 0; i < g->n; i++)
		g->files[i].lines = g->files[i].size;
}

bool drill_growth_look(struct drill_growth *g)
{
	bool grew = false;
	for (unsigned i = 0; g->files_grow && i < g->n; i++) {
		struct drill_file *f = &g->files[i];
		int64_t size = size_of(g, f->name);
		if (size <= f->size)
			continue;
		f->size = size;
		grew = true;
	}
	return grew;
}

static int64_t count_lines(struct drill_growth *g, struct drill_file *f)
{
	char *path = mem_printf("%s/%s", g->directory, f->name);
	char *bytes = mem_alloc(READ_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t lines = 0;
	ssize_t n = 0;
	while (fd >= 0 && (n = pread(fd, bytes, READ_BYTES, f->lines)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			lines += bytes[i] == '\n';
		f->lines += n;
	}
	if (fd >= 0)
		close(fd);
	free(bytes);
	free(path);
	return lines;
}

int64_t drill_growth_lines(struct drill_growth *g)
{
	int64_t lines = 0;
	for (unsigned i = 0; i < g->n; i++) {
		struct drill_file *f = &g->files[i];
		if (f->lines < f->size)
			lines += count_lines(g, f);
	}
	return lines;
}

void drill_growth_fini(struct drill_growth *g)
{
	for (unsigned i = 0; i < g->n; i++)
		free(g->files[i].name);
	free(g->files);
	g->files = NULL;
	g->n = g->capacity = 0;
}
