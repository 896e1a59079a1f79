/* Local copies of snapshot objects: never trusted, never in the way, never above their bound. */
#include "taskmanager/local.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static char dir[64];
static const struct job_id job = {"0123456789abcdef0123456789abcdef"};
static const struct job_id another = {"fedcba9876543210fedcba9876543210"};

static void begin(void)
{
	snprintf(dir, sizeof(dir), "/tmp/weir-local-XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
}

/* How many files there are; removes them if asked to. */
static unsigned files(bool removing)
{
	char *path = mem_printf("%s/copies", dir);
	unsigned n = 0;
	DIR *d = opendir(path);

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (removing)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
	if (removing)
		rmdir(path);
	free(path);
	return n;
}

static void end(void)
{
	files(true);
	rmdir(dir);
}

TestSuite(local, .init = begin, .fini = end);

static const char *name_of(const struct job_id *j, unsigned checkpoint, unsigned region)
{
	static char name[200];

	snprintf(name, sizeof(name), "jobs/%s/chk-%u/%u-1-tm-1-12345678-e5.snap", j->hex,
		 checkpoint, region);
	return name;
}

/* A copy of `bytes` bytes in pieces; its content follows from its place. */
static void make(struct local *l, const char *name, size_t bytes)
{
	char piece[1000];
	struct local_copy *c = local_begin(l, name);

	for (size_t at = 0; at < bytes; at += sizeof(piece)) {
		size_t n = bytes - at < sizeof(piece) ? bytes - at : sizeof(piece);
		for (size_t i = 0; i < n; i++)
			piece[i] = (char)((at + i) * 31 >> 3);
		local_write(c, piece, n);
	}
	local_commit(c);
}

static bool usable(struct local *l, const char *name, uint64_t bytes)
{
	int fd = local_open_copy(l, name, bytes);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static char *path_of(const char *name)
{
	char *path = mem_printf("%s/copies/%s", dir, name);

	for (char *c = path + strlen(dir) + strlen("/copies/"); *c; c++)
		if (*c == '/')
			*c = '!';
	return path;
}

Test(local, what_was_written_is_read_also_by_a_later_process)
{
	struct local *l = local_create(dir, 1 << 30, &job, 0);
	char got[100], want;

	make(l, name_of(&job, 7, 0), 300000);
	local_destroy(l);
	l = local_create(dir, 1 << 30, &job, 0);
	int fd = local_open_copy(l, name_of(&job, 7, 0), 300000);
	cr_assert(fd >= 0);
	cr_assert(local_read(fd, got, sizeof(got), 299900));
	want = (char)(299950UL * 31 >> 3);
	cr_assert_eq(got[50], want);
	close(fd);
	local_destroy(l);
}

Test(local, nothing_is_visible_before_the_end)
{
	struct local *l = local_create(dir, 1 << 30, &job, 0);
	struct local_copy *c = local_begin(l, name_of(&job, 7, 0));

	local_write(c, "abc", 3);
	cr_assert_not(usable(l, name_of(&job, 7, 0), 3));
	local_abort(c);
	cr_assert_eq(files(false), 0);
	local_destroy(l);
}

/* Every single byte of a small copy, the seal included. */
Test(local, a_damaged_copy_is_not_used_and_is_removed)
{
	struct local *l = local_create(dir, 1 << 30, &job, 0);
	const char *name = name_of(&job, 7, 0);

	for (off_t at = 0; at < 500 + 16; at++) {
		char byte, *path = path_of(name);
		make(l, name, 500);
		int fd = open(path, O_RDWR);
		cr_assert(fd >= 0);
		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		byte = (char)(byte ^ 1);
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		cr_assert_not(usable(l, name, 500), "byte %ld", (long)at);
		cr_assert_eq(files(false), 0);
		free(path);
	}
	local_destroy(l);
}

Test(local, a_short_a_long_and_a_missing_one_are_not_used)
{
	struct local *l = local_create(dir, 1 << 30, &job, 0);
	const char *name = name_of(&job, 7, 0);

	cr_assert_not(usable(l, name, 500));
	make(l, name, 500);
	cr_assert_not(usable(l, name, 501));
	make(l, name, 500);
	cr_assert_not(usable(l, name, 499));
	make(l, name, 500);
	char *path = path_of(name);
	cr_assert_eq(truncate(path, 510), 0);
	cr_assert_not(usable(l, name, 500));
	free(path);
	local_destroy(l);
}

Test(local, only_what_a_restart_can_need_is_kept)
{
	struct local *l = local_create(dir, 1 << 30, &job, 0);
	struct local *other = local_create(dir, 1 << 30, &job, 1);

	for (unsigned id = 1; id <= 4; id++) {
		make(l, name_of(&job, id, 0), 100);
		make(other, name_of(&job, id, 1), 100);
	}
	local_complete(l, 3);
	cr_assert_not(usable(l, name_of(&job, 2, 0), 100));
	cr_assert(usable(l, name_of(&job, 3, 0), 100));
	cr_assert(usable(l, name_of(&job, 4, 0), 100));
	cr_assert(usable(other, name_of(&job, 1, 1), 100), "another region's are its own");
	local_drop(l, 4);
	cr_assert_not(usable(l, name_of(&job, 4, 0), 100));
	local_drop_all(l);
	cr_assert_eq(files(false), 4);
	local_destroy(other);
	local_destroy(l);
}

static void age(const char *name, time_t seconds)
{
	char *path = path_of(name);
	struct timespec t[2] = {{.tv_sec = 1000000 - seconds}, {.tv_sec = 1000000 - seconds}};

	cr_assert_eq(utimensat(AT_FDCWD, path, t, 0), 0);
	free(path);
}

Test(local, others_make_way_the_longest_unused_first_and_ones_own_never)
{
	enum { MIB = 1 << 20 };
	struct local *l = local_create(dir, 4 * MIB, &job, 0);
	struct local *other = local_create(dir, 4 * MIB, &another, 0);

	make(other, name_of(&another, 1, 0), MIB);
	make(other, name_of(&another, 2, 0), MIB);
	make(other, name_of(&another, 3, 0), MIB);
	age(name_of(&another, 1, 0), 100);
	age(name_of(&another, 2, 0), 300);
	age(name_of(&another, 3, 0), 200);
	make(l, name_of(&job, 1, 0), 3 * MIB / 2);
	cr_assert(usable(l, name_of(&job, 1, 0), 3 * MIB / 2));
	cr_assert(usable(other, name_of(&another, 1, 0), MIB));
	cr_assert_not(usable(other, name_of(&another, 2, 0), MIB), "the longest unused went");
	make(l, name_of(&job, 2, 0), 3 * MIB);
	cr_assert_not(usable(l, name_of(&job, 2, 0), 3 * MIB), "above the bound");
	cr_assert(usable(l, name_of(&job, 1, 0), 3 * MIB / 2), "its own stay");
	local_destroy(other);
	local_destroy(l);
}

Test(local, without_a_directory_or_room_there_is_nothing_and_nothing_fails)
{
	struct local *l = local_create(dir, 0, &job, 0);

	cr_assert_null(l);
	l = local_create("/nonexistent/folder", 1 << 30, &job, 0);
	cr_assert_null(l);
	make(l, name_of(&job, 1, 0), 100);
	local_complete(l, 1);
	local_drop(l, 1);
	local_drop_all(l);
	local_forget(l, name_of(&job, 1, 0));
	cr_assert_not(usable(l, name_of(&job, 1, 0), 100));
	local_destroy(l);
}
