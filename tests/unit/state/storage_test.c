#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/storage.h"

struct place {
	char dir[32];
	char *url;
	struct storage *storage;
};

static void setup(struct place *p)
{
	struct storage_config c = {0};

	snprintf(p->dir, sizeof(p->dir), "/tmp/weir-XXXXXX");
	cr_assert(mkdtemp(p->dir) != NULL);
	p->url = mem_printf("file://%s/top/", p->dir);
	c.url = p->url;
	cr_assert(not(storage_open(&c, &p->storage, NULL)));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void teardown(struct place *p)
{
	storage_close(p->storage);
	nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p->url);
}

static unsigned files_below(const char *dir, const char *sub)
{
	char *path = mem_printf("%s/top/%s", dir, sub);
	unsigned n = 0;
	struct storage_config c = {0};
	struct storage_names list = {0};
	struct storage *s;
	char *url = mem_printf("file://%s", path);

	c.url = url;
	if (!storage_open(&c, &s, NULL)) {
		if (!storage_list(s, "", 1000, &list, NULL))
			n = (unsigned)list.n;
		storage_names_fini(&list);
		storage_close(s);
	}
	free(url);
	free(path);
	return n;
}

Test(file, objects)
{
	struct place p;
	struct buf out = {0};
	struct storage_object is;
	struct timespec now;
	uint64_t size = 0;
	char part[5];
	struct err e;

	setup(&p);
	cr_assert(eq(int, storage_get(p.storage, "a/b", 10, &out, &e), ERR_NOTFOUND));
	cr_assert(not(storage_check(p.storage, &e)));
	cr_assert(not(storage_put(p.storage, "a/b", "hello", 5, &e)));
	cr_assert(not(storage_put(p.storage, "a/b", "hello", 5, &e)));
	cr_assert(eq(int, storage_put(p.storage, "a/b", "HELLO", 5, &e), ERR_EXISTS));
	cr_assert(eq(int, storage_put(p.storage, "a/b", "hello!", 6, &e), ERR_EXISTS));
	cr_assert(strstr(e.text, "a/b") != NULL);
	cr_assert(not(storage_get(p.storage, "a/b", 5, &out, &e)));
	cr_assert(eq(str, out.data, "hello"));
	cr_assert(eq(int, storage_get(p.storage, "a/b", 4, &out, &e), ERR_LIMIT));
	cr_assert(not(storage_get_range(p.storage, "a/b", 1, part, 3, &e)));
	cr_assert(not(memcmp(part, "ell", 3)));
	cr_assert(eq(int, storage_get_range(p.storage, "a/b", 3, part, 3, &e), ERR_CORRUPT));
	cr_assert(not(storage_size(p.storage, "a/b", &size, &e)));
	cr_assert(eq(u64, size, 5));
	cr_assert(not(storage_look(p.storage, "a/b", &is, &e)));
	cr_assert(eq(u64, is.bytes, 5));
	clock_gettime(CLOCK_REALTIME, &now);
	cr_assert(llabs((long long)is.written_ms - 1000LL * now.tv_sec) < 60000);
	cr_assert(eq(int, storage_get(p.storage, "a", 9, &out, &e), ERR_NOTFOUND));
	cr_assert(eq(int, storage_get(p.storage, "a/b/c", 9, &out, &e), ERR_NOTFOUND));
	cr_assert(eq(uint, files_below(p.dir, ".tmp"), 0));
	buf_fini(&out);
	teardown(&p);
}

Test(file, listing_and_removing)
{
	const char *names[] = {"jobs/1/chk-1/x", "jobs/1/chk-1/y", "jobs/1/chk-10/x", "jobs/2/z",
			       "top"};
	struct place p;
	struct storage_names list;
	struct stat st;
	char *path;
	struct err e;

	setup(&p);
	cr_assert(not(storage_list(p.storage, "", 10, &list, &e)));
	cr_assert(eq(sz, list.n, 0));
	for (unsigned i = 0; i < 5; i++)
		cr_assert(not(storage_put(p.storage, names[i], "", 0, &e)));
	cr_assert(not(storage_list(p.storage, "jobs/1/chk-1", 10, &list, &e)));
	cr_assert(eq(sz, list.n, 3));
	cr_assert(eq(str, list.names[0], "jobs/1/chk-1/x"));
	cr_assert(eq(str, list.names[2], "jobs/1/chk-10/x"));
	storage_names_fini(&list);
	cr_assert(not(storage_list(p.storage, "jobs/1/chk-1/", 10, &list, &e)));
	cr_assert(eq(sz, list.n, 2));
	storage_names_fini(&list);
	cr_assert(eq(int, storage_list(p.storage, "", 4, &list, &e), ERR_LIMIT));
	cr_assert(not(storage_remove(p.storage, names, 5, &e)));
	cr_assert(not(storage_remove(p.storage, names, 5, &e)));
	cr_assert(not(storage_list(p.storage, "", 10, &list, &e)));
	cr_assert(eq(sz, list.n, 0));
	path = mem_printf("%s/top/jobs", p.dir);
	cr_assert(stat(path, &st) != 0, "folders go with the last object");
	free(path);
	teardown(&p);
}

Test(file, streamed)
{
	struct place p;
	struct storage_upload *u;
	struct buf out = {0};
	uint64_t size;
	struct err e;

	setup(&p);
	for (unsigned round = 0; round < 2; round++) {
		cr_assert(not(storage_put_begin(p.storage, "big", &u, &e)));
		for (unsigned i = 0; i < 100; i++)
			cr_assert(not(storage_put_write(u, "0123456789", 10, &e)));
		if (!round)
			cr_assert(eq(int, storage_size(p.storage, "big", &size, &e), ERR_NOTFOUND));
		cr_assert(not(storage_put_commit(u, &e)));
	}
	cr_assert(not(storage_get(p.storage, "big", 1000, &out, &e)));
	cr_assert(eq(sz, out.len, 1000));
	cr_assert(not(storage_put_begin(p.storage, "big", &u, &e)));
	cr_assert(not(storage_put_write(u, "other", 5, &e)));
	cr_assert(eq(int, storage_put_commit(u, &e), ERR_EXISTS));
	cr_assert(not(storage_put_begin(p.storage, "given-up", &u, &e)));
	cr_assert(not(storage_put_write(u, "x", 1, &e)));
	storage_put_abort(u);
	cr_assert(eq(int, storage_size(p.storage, "given-up", &size, &e), ERR_NOTFOUND));
	cr_assert(eq(uint, files_below(p.dir, ".tmp"), 0));
	buf_fini(&out);
	teardown(&p);
}

Test(file, bad_names_and_urls)
{
	const char *bad[] = {"", "/a", "a//b", "a/", "..", "a/../b", "./a", "a\nb", ".tmp/x"};
	const char *urls[] = {"file://relative/x", "file:///", "http://x", "s3://", "s3://A",
			      "s3://bucket?x",     ""};
	struct place p;
	struct err e;

	setup(&p);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(eq(int, storage_put(p.storage, bad[i], "", 0, &e), ERR_INVALID), "%s",
			  bad[i]);
	for (unsigned i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct storage_config c = {.url = urls[i], .access_key = "a", .secret_key = "b"};
		struct storage *s = NULL;

		cr_assert(eq(int, storage_open(&c, &s, &e), ERR_INVALID), "%s", urls[i]);
	}
	teardown(&p);
}

Test(file, cancel_is_lasting)
{
	struct place p;
	struct err e;

	setup(&p);
	storage_cancel(p.storage);
	cr_assert(eq(int, storage_put(p.storage, "a", "", 0, &e), ERR_CANCELED));
	teardown(&p);
}

Test(s3, configuration_errors_name_what_is_missing)
{
	struct storage_config c = {.url = "s3://bucket/x", .credentials_file = "/nonexistent/file"};
	struct storage *s = NULL;
	struct err e;

	cr_assert(eq(int, storage_open(&c, &s, &e), ERR_INVALID));
	cr_assert(strstr(e.text, "/nonexistent/file") != NULL, "%s", e.text);
	c.access_key = "key";
	cr_assert(eq(int, storage_open(&c, &s, &e), ERR_INVALID));
	c.secret_key = "secret";
	c.endpoint = "localhost:9000";
	cr_assert(eq(int, storage_open(&c, &s, &e), ERR_INVALID));
	c.endpoint = "http://localhost:9000/";
	cr_assert(not(storage_open(&c, &s, &e)));
	storage_close(s);
}

Test(s3, credentials_file)
{
	char path[] = "/tmp/weir-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	const char *text = "# mine\n[default]\naws_access_key_id = A\n\n[other]\n"
			   "aws_access_key_id=B\naws_secret_access_key = C/+=D \n";
	struct storage_config c = {
		.url = "s3://bucket", .credentials_file = path, .profile = "other"};
	struct storage *s = NULL;
	struct err e;

	cr_assert(eq(sz, write(fd, text, strlen(text)), strlen(text)));
	close(fd);
	cr_assert(not(storage_open(&c, &s, &e)));
	storage_close(s);
	c.profile = NULL;
	cr_assert(eq(int, storage_open(&c, &s, &e), ERR_INVALID));
	cr_assert(strstr(e.text, "aws_secret_access_key") && strstr(e.text, "[default]"), "%s",
		  e.text);
	unlink(path);
}
