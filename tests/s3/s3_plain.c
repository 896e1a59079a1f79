/*
 * The storage client against a real S3 server: signatures are really verified.
 * usage: s3_plain ENDPOINT; the bucket "weir" exists and is empty.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "state/storage.h"

struct test {
	const char *endpoint;
	unsigned passed, failed;
};

static struct storage *open_with(const struct test *t, const char *url, const char *secret)
{
	struct storage_config c = {.url = url,
				   .endpoint = t->endpoint,
				   .access_key = "AKTEST",
				   .secret_key = secret,
				   .part_bytes = 5 << 20,
				   .budget_ms = 5000};
	struct storage *s = NULL;
	struct err e;

	if (storage_open(&c, &s, &e)) {
		printf("open: %s\n", e.text);
		abort();
	}
	return s;
}

static void check(struct test *t, bool ok, const char *what, const struct err *e)
{
	if (ok) {
		t->passed++;
		return;
	}
	t->failed++;
	printf("FAILED: %s%s%s\n", what, e ? ": " : "", e ? e->text : "");
}

static void *noise(size_t len, uint64_t seed)
{
	struct prng prng;
	uint64_t *data = mem_array(len / 8 + 1, 8);

	prng_init(&prng, seed);
	for (size_t i = 0; i < len / 8 + 1; i++)
		data[i] = prng_next(&prng);
	return data;
}

static void small_objects(struct test *t, struct storage *s)
{
	struct buf out = {0};
	struct storage_object is;
	uint64_t size = 0;
	char part[4];
	struct err e = {0};

	check(t, !storage_check(s, &e), "check", &e);
	check(t, !storage_put(s, "a/one", "hello world", 11, &e), "put", &e);
	check(t, !storage_put(s, "a/one", "hello world", 11, &e), "the same again", &e);
	check(t, storage_put(s, "a/one", "hello WORLD", 11, &e) == ERR_EXISTS, "other bytes", &e);
	check(t, storage_put(s, "a/one", "hello world, longer", 19, &e) == ERR_EXISTS, "more bytes",
	      &e);
	check(t, !storage_get(s, "a/one", 100, &out, &e) && !strcmp(out.data, "hello world"), "get",
	      &e);
	check(t, storage_get(s, "a/one", 5, &out, &e) == ERR_LIMIT, "get with a limit", &e);
	check(t, !storage_get_range(s, "a/one", 6, part, 4, &e) && !memcmp(part, "worl", 4),
	      "range", &e);
	check(t, storage_get_range(s, "a/one", 9, part, 4, &e) == ERR_CORRUPT, "range over the end",
	      &e);
	check(t, storage_get_range(s, "a/one", 90, part, 4, &e) == ERR_CORRUPT,
	      "range behind the end", &e);
	check(t, !storage_size(s, "a/one", &size, &e) && size == 11, "size", &e);
	check(t, !storage_look(s, "a/one", &is, &e) && is.bytes == 11 && is.written_ms > 0,
	      "when it was written", &e);
	check(t, !storage_put(s, "empty", "", 0, &e), "an empty object", &e);
	buf_clear(&out);
	check(t, !storage_get(s, "empty", 10, &out, &e) && !out.len, "get an empty object", &e);
	check(t,
	      storage_get(s, "nothing", 10, &out, &e) == ERR_NOTFOUND &&
		      strstr(e.text, "NoSuchKey") && strstr(e.text, "nothing"),
	      "get a missing one", &e);
	check(t, storage_size(s, "nothing", &size, &e) == ERR_NOTFOUND, "size of a missing one",
	      &e);
	buf_fini(&out);
}

static void odd_names(struct test *t, struct storage *s)
{
	static const char *const names[] = {"odd/a b",
					    "odd/a+b=c",
					    "odd/a&b<c>\"d'",
					    "odd/100%",
					    "odd/\xc3\xa9\xe2\x82\xac",
					    "odd/(x)!*~$@,;:",
					    "odd/a%2Fb",
					    "odd/[x]{y}|\\^`",
					    "odd/a?b#c",
					    "odd/x..y"};
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct storage_names list = {0};
	struct err e = {0};

	for (unsigned i = 0; i < N; i++) {
		struct buf out = {0};

		check(t, !storage_put(s, names[i], names[i], strlen(names[i]), &e), names[i], &e);
		check(t, !storage_get(s, names[i], 100, &out, &e) && !strcmp(out.data, names[i]),
		      names[i], &e);
		buf_fini(&out);
	}
	check(t, !storage_list(s, "odd/", 100, &list, &e) && list.n == N, "list odd names", &e);
	for (unsigned i = 0; i < N; i++) {
		unsigned found = 0;

		for (size_t k = 0; k < list.n; k++)
			found += !strcmp(list.names[k], names[i]);
		check(t, found == 1, names[i], NULL);
	}
	storage_names_fini(&list);
	check(t, !storage_remove(s, names, N, &e), "remove odd names", &e);
	check(t, !storage_list(s, "odd/", 100, &list, &e) && !list.n, "they are gone", &e);
	storage_names_fini(&list);
	check(t, storage_put(s, "a/../b", "", 0, &e) == ERR_INVALID, "a name with ..", NULL);
	check(t, storage_put(s, "a\nb", "", 0, &e) == ERR_INVALID, "a name with a newline", NULL);
}

static void many_objects(struct test *t, struct storage *s)
{
	enum { N = 1203 };
	char **names = mem_array(N, sizeof(char *));
	struct storage_names list = {0};
	struct err e = {0};
	bool ok = true;

	for (unsigned i = 0; i < N; i++) {
		names[i] = mem_printf("many/%04u", i);
		ok = ok && !storage_put(s, names[i], "x", 1, &e);
	}
	check(t, ok, "put many", &e);
	check(t, !storage_list(s, "many/", 10000, &list, &e) && list.n == N, "list two pages", &e);
	ok = list.n == N;
	for (unsigned i = 0; ok && i < N; i++)
		ok = !strcmp(list.names[i], names[i]);
	check(t, ok, "sorted and complete", NULL);
	storage_names_fini(&list);
	check(t, !storage_list(s, "many/10", 10000, &list, &e) && list.n == 100, "a prefix of text",
	      &e);
	storage_names_fini(&list);
	check(t, storage_list(s, "many/", 1100, &list, &e) == ERR_LIMIT, "a list over its limit",
	      &e);
	check(t, !storage_remove(s, (const char *const *)names, N, &e), "remove two batches", &e);
	check(t, !storage_remove(s, (const char *const *)names, 3, &e), "remove again", &e);
	check(t, !storage_list(s, "many/", 10000, &list, &e) && !list.n, "nothing is left", &e);
	storage_names_fini(&list);
	for (unsigned i = 0; i < N; i++)
		free(names[i]);
	free(names);
}

static void streamed(struct test *t, struct storage *s, const char *name, size_t len)
{
	struct storage_upload *u = NULL;
	char *data = noise(len, len), *back = mem_array(1, len + 1);
	struct err e = {0};
	bool ok = !storage_put_begin(s, name, &u, &e);
	uint64_t size = 0;

	for (size_t at = 0; ok && at < len; at += 300000)
		ok = !storage_put_write(u, data + at, len - at < 300000 ? len - at : 300000, &e);
	check(t, ok && !storage_put_commit(u, &e), name, &e);
	check(t, !storage_size(s, name, &size, &e) && size == len, "its size", &e);
	if (len)
		check(t, !storage_get_range(s, name, 0, back, len, &e) && !memcmp(back, data, len),
		      "its bytes", &e);
	if (len > 100)
		check(t,
		      !storage_get_range(s, name, len - 99, back, 99, &e) &&
			      !memcmp(back, data + len - 99, 99),
		      "its end", &e);
	free(data);
	free(back);
}

static void abandoned(struct test *t, struct storage *s)
{
	struct storage_upload *u = NULL;
	char *data = noise(12 << 20, 1);
	struct err e = {0};
	uint64_t size;

	check(t, !storage_put_begin(s, "big/abandoned", &u, &e), "begin", &e);
	check(t, !storage_put_write(u, data, 12 << 20, &e), "write", &e);
	storage_put_abort(u);
	check(t, storage_size(s, "big/abandoned", &size, &e) == ERR_NOTFOUND,
	      "an abandoned upload leaves nothing", &e);
	free(data);
}

static void refusals(struct test *t)
{
	struct storage *s = open_with(t, "s3://weir", "WRONG");
	struct err e = {0};

	check(t,
	      storage_put(s, "x", "y", 1, &e) == ERR_DENIED &&
		      strstr(e.text, "SignatureDoesNotMatch") && !strstr(e.text, "WRONG"),
	      "a wrong secret", &e);
	storage_close(s);
	s = open_with(t, "s3://no-such-bucket", "SKTEST");
	check(t,
	      storage_check(s, &e) == ERR_INVALID && strstr(e.text, "NoSuchBucket") &&
		      strstr(e.text, "no-such-bucket"),
	      "a missing bucket", &e);
	check(t, storage_put(s, "x", "y", 1, &e) == ERR_INVALID, "put there", &e);
	storage_close(s);
}

/* The bucket in the host's name; curl knows that *.localhost is this machine. */
static void virtual_host(struct test *t)
{
	char *endpoint = mem_printf("http://localhost%s", strrchr(t->endpoint, ':'));
	struct storage_config c = {.url = "s3://weir/virtual",
				   .endpoint = endpoint,
				   .access_key = "AKTEST",
				   .secret_key = "SKTEST",
				   .virtual_host_style = true,
				   .budget_ms = 5000};
	struct storage *s = NULL;
	struct storage_names list = {0};
	struct err e = {0};

	check(t, !storage_open(&c, &s, &e), "open", &e);
	check(t, !storage_put(s, "a b", "x", 1, &e), "put to a virtual host", &e);
	check(t, !storage_list(s, "", 10, &list, &e) && list.n == 1, "list there", &e);
	storage_names_fini(&list);
	storage_close(s);
	s = open_with(t, "s3://weir/virtual", "SKTEST");
	check(t, !storage_list(s, "", 10, &list, &e) && list.n == 1, "the same by path", &e);
	storage_names_fini(&list);
	storage_close(s);
	free(endpoint);
}

int main(int argc, char **argv)
{
	struct test t = {.endpoint = argc > 1 ? argv[1] : ""};
	struct storage *s;

	curl_global_init(CURL_GLOBAL_ALL);
	s = open_with(&t, "s3://weir/some/prefix/", "SKTEST");
	small_objects(&t, s);
	odd_names(&t, s);
	many_objects(&t, s);
	streamed(&t, s, "big/none", 0);
	streamed(&t, s, "big/small", 100000);
	streamed(&t, s, "big/one-part", 5 << 20);
	streamed(&t, s, "big/parts", (17 << 20) + 12345);
	streamed(&t, s, "big/even", 15 << 20);
	abandoned(&t, s);
	storage_close(s);
	refusals(&t);
	virtual_host(&t);
	curl_global_cleanup();
	printf("s3: %u checks passed, %u failed\n", t.passed, t.failed);
	return t.failed ? 1 : 0;
}
