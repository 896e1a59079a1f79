/* source.file: each line exactly `loop` times, whatever the cut, budget, crash or rescale. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/prng.h"
#include "host.h"
#include "taskmanager/connectors/ranges.h"

static char *spec_text(const char *options)
{
	return mem_printf(
		"{\"name\":\"t\",\"operators\":[{\"uid\":\"in\",\"type\":\"source.file\",%s},"
		"{\"uid\":\"out\",\"type\":\"sink.discard\",\"inputs\":[\"in\"]}]}",
		options);
}

static struct host *source(const char *root, const char *options, uint32_t subtask, uint32_t p,
			   uint64_t restored, const struct liststate *state)
{
	char *text = spec_text(options);
	struct host *h = host_create(text, "in", root, subtask, p, 1);
	free(text);
	cr_assert(eq(int, host_start(h, restored, state), ERR_OK), "%s", h->err.text);
	return h;
}

/* Poll until the end or until `rows_max` more rows came. */
static bool drain(struct host *h, uint32_t budget, uint64_t rows_max)
{
	uint64_t until = h->rows + rows_max;
	for (int guard = 0; guard < 10000000; guard++) {
		struct op_poll r;
		cr_assert(eq(int, host_poll(h, budget, &r), ERR_OK), "%s", h->err.text);
		if (r.state == OP_POLL_END)
			return true;
		if (h->rows >= until)
			return false;
	}
	cr_assert(false, "no end");
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of `text`, sorted, as one text. */
static char *sorted(const struct buf *text)
{
	size_t n = 0, k = 0;
	char *copy = mem_text_n(text->len ? text->data : "", text->len);
	for (size_t i = 0; i < text->len; i++)
		n += copy[i] == '\n';
	char **lines = mem_array(n + 1, sizeof(char *));
	/* Empty lines count too. */
	for (char *at = copy, *nl; (nl = strchr(at, '\n')); at = nl + 1) {
		*nl = '\0';
		lines[k++] = at;
	}
	qsort(lines, k, sizeof(char *), by_text);
	struct buf out = {0};
	for (size_t i = 0; i < k; i++)
		buf_printf(&out, "%s\n", lines[i]);
	free(lines);
	free(copy);
	return buf_take(&out, &n);
}

static void expect_loops(const struct buf *got, const char *text, unsigned loops)
{
	struct buf all = {0};
	size_t len = strlen(text);
	for (unsigned i = 0; i < loops; i++) {
		buf_add(&all, text, len);
		if (len && text[len - 1] != '\n')
			buf_add(&all, "\n", 1);
	}
	char *want = sorted(&all), *have = sorted(got);
	cr_assert(strcmp(want, have) == 0, "want %zu bytes, have %zu", strlen(want), strlen(have));
	free(want);
	free(have);
	buf_fini(&all);
}

static char *random_text(struct prng *p, size_t lines, bool last_newline)
{
	struct buf b = {0};
	for (size_t i = 0; i < lines; i++) {
		buf_printf(&b, "%zu:", i);
		for (uint64_t n = prng_below(p, 12) ? prng_below(p, 40) : prng_below(p, 3000); n;
		     n--)
			buf_add(&b, &"abcdefgh"[prng_below(p, 8)], 1);
		if (i + 1 < lines || last_newline)
			buf_add(&b, "\n", 1);
	}
	return buf_take(&b, &(size_t){0});
}

Test(source_file, every_cut_gives_each_line_once)
{
	char root[64];
	struct prng p;
	prng_init(&p, 1);
	host_temp(root);
	for (int round = 0; round < 60; round++) {
		char *text = random_text(&p, prng_below(&p, 200), prng_below(&p, 2));
		uint32_t n = 1 + (uint32_t)prng_below(&p, 6);
		unsigned loops = 1 + (unsigned)prng_below(&p, 3);
		char options[64];
		struct buf got = {0};
		host_file(root, "a.txt", text, strlen(text));
		snprintf(options, sizeof(options), "\"path\":\"a.txt\",\"loop\":%u", loops);
		for (uint32_t s = 0; s < n; s++) {
			struct host *h = source(root, options, s, n, 0, NULL);
			drain(h, 1 + (uint32_t)prng_below(&p, 50), UINT64_MAX / 2);
			buf_add(&got, h->lines.data, h->lines.len);
			host_destroy(h);
		}
		expect_loops(&got, text, loops);
		buf_fini(&got);
		free(text);
	}
	host_remove(root);
}

/* Snapshots at random moments, each time with another parallelism. */
Test(source_file, resumes_and_rescales_without_losing_or_repeating)
{
	char root[64];
	struct prng p;
	prng_init(&p, 2);
	host_temp(root);
	for (int round = 0; round < 30; round++) {
		char *text = random_text(&p, 3000, prng_below(&p, 2));
		struct liststate old[8] = {{0}};
		uint32_t n_old = 0;
		struct buf got = {0};
		bool end = false;
		host_file(root, "a.txt", text, strlen(text));
		for (int attempt = 0; !end && attempt < 1000; attempt++) {
			uint32_t n = 1 + (uint32_t)prng_below(&p, 6);
			struct liststate next[8] = {{0}};
			end = true;
			for (uint32_t s = 0; s < n; s++) {
				struct liststate share = {0};
				cr_assert(eq(int,
					     liststate_deal(old, n_old, LISTSTATE_SPLIT, s, n,
							    &share, NULL),
					     ERR_OK));
				struct host *h = source(root, "\"path\":\"a.txt\",\"loop\":3", s, n,
							(uint64_t)attempt, &share);
				end &= drain(h, 7, prng_below(&p, 1500));
				cr_assert(eq(int, host_snapshot(h, 1), ERR_OK));
				buf_add(&got, h->lines.data, h->lines.len);
				next[s] = h->lists.at[0];
				h->lists.at[0] = (struct liststate){0};
				host_destroy(h);
				liststate_fini(&share);
			}
			for (uint32_t s = 0; s < n_old; s++)
				liststate_fini(&old[s]);
			memcpy(old, next, sizeof(old));
			n_old = n;
		}
		for (uint32_t s = 0; s < n_old; s++)
			liststate_fini(&old[s]);
		cr_assert(end);
		expect_loops(&got, text, 3);
		buf_fini(&got);
		free(text);
	}
	host_remove(root);
}

Test(source_file, several_files_and_empty_ones)
{
	char root[64];
	struct buf got = {0};
	host_temp(root);
	host_file(root, "a", "one\n\ntwo\n", 9);
	host_file(root, "b", "", 0);
	host_file(root, "c", "three", 5);
	for (uint32_t s = 0; s < 3; s++) {
		struct host *h =
			source(root, "\"path\":[\"a\",\"b\",\"c\"],\"loop\":2", s, 3, 0, NULL);
		drain(h, 100, UINT64_MAX / 2);
		buf_add(&got, h->lines.data, h->lines.len);
		host_destroy(h);
	}
	expect_loops(&got, "one\n\ntwo\nthree\n", 2);
	buf_fini(&got);
	host_remove(root);
}

static enum errc poll_until_error(struct host *h)
{
	struct op_poll r = {.state = OP_POLL_MORE};
	enum errc rc = ERR_OK;
	while (!rc && r.state != OP_POLL_END)
		rc = host_poll(h, 100, &r);
	return rc;
}

Test(source_file, a_changed_file_is_an_error)
{
	char root[64];
	host_temp(root);
	host_file(root, "a", "one\ntwo\n", 8);
	struct host *h = source(root, "\"path\":\"a\",\"loop\":1000000", 0, 1, 0, NULL);
	drain(h, 10, 100);
	host_file(root, "a", "one\ntwo\nthree\n", 14);
	cr_assert(eq(int, poll_until_error(h), ERR_INVALID));
	cr_assert(strstr(h->err.text, "changed") != NULL, "%s", h->err.text);
	host_destroy(h);
	host_remove(root);
}

Test(source_file, a_line_without_end_is_an_error)
{
	char root[64];
	size_t len = 2 << 20;
	host_temp(root);
	char *text = mem_array(1, len);
	memset(text, 'x', len);
	host_file(root, "a", text, len);
	struct host *h = source(root, "\"path\":\"a\"", 0, 1, 0, NULL);
	cr_assert(eq(int, poll_until_error(h), ERR_LIMIT));
	cr_assert(strstr(h->err.text, "a: the line at offset 0") != NULL, "%s", h->err.text);
	host_destroy(h);
	/* The longest possible one passes. */
	text[ROW_BYTES_MAX - 16] = '\n';
	host_file(root, "a", text, ROW_BYTES_MAX - 16 + 1);
	h = source(root, "\"path\":\"a\"", 0, 1, 0, NULL);
	drain(h, 1, UINT64_MAX / 2);
	cr_assert(eq(u64, h->rows, 1));
	host_destroy(h);
	free(text);
	host_remove(root);
}

Test(source_file, paths_stay_below_the_root)
{
	char root[64], link[96];
	host_temp(root);
	snprintf(link, sizeof(link), "%s/out", root);
	cr_assert(eq(int, symlink("/etc", link), 0));
	char *text = spec_text("\"path\":\"out/passwd\"");
	struct host *h = host_create(text, "in", root, 0, 1, 1);
	cr_assert(eq(int, host_start(h, 0, NULL), ERR_DENIED));
	host_destroy(h);
	free(text);
	host_remove(root);
}

Test(source_file, the_rate_is_the_jobs)
{
	char root[64];
	struct op_poll r;
	host_temp(root);
	host_file(root, "a", "l\n", 2);
	struct host *h =
		source(root, "\"path\":\"a\",\"loop\":1000000,\"rateLimit\":4000", 0, 2, 0, NULL);
	uint64_t start = host_world.now_ms;
	while (host_world.now_ms < start + 1000) {
		do {
			cr_assert(eq(int, host_poll(h, 1000, &r), ERR_OK));
		} while (r.state == OP_POLL_MORE);
		cr_assert(r.wait_ms >= 1 && r.wait_ms <= 10);
		host_world.now_ms += r.wait_ms;
	}
	cr_assert(h->rows >= 1980 && h->rows <= 2010, "%llu rows of 2000",
		  (unsigned long long)h->rows);
	/* A long pause is not caught up in one burst. */
	host_world.now_ms += 60000;
	uint64_t before = h->rows;
	do {
		cr_assert(eq(int, host_poll(h, 1000, &r), ERR_OK));
	} while (r.state == OP_POLL_MORE);
	cr_assert(h->rows - before <= 500, "%llu at once", (unsigned long long)(h->rows - before));
	host_destroy(h);
	host_remove(root);
}

Test(source_file, a_range_survives_its_encoding_and_damage_is_noticed)
{
	struct range a = {.path = "x/y",
			  .size = 1000,
			  .mtime_ns = -5,
			  .inode = 9,
			  .start = 10,
			  .end = 500,
			  .round = 3,
			  .pos = 600,
			  .fresh = true},
		     b;
	struct buf item = {0};
	range_encode(&a, &item);
	cr_assert(eq(int, range_decode(item.data, item.len, &b, NULL), ERR_OK));
	cr_assert(eq(u64, b.pos, 600));
	cr_assert(eq(i64, b.mtime_ns, -5));
	cr_assert(eq(str, b.path, "x/y"));
	for (size_t len = 0; len < item.len; len++)
		cr_assert(eq(int, range_decode(item.data, len, &b, NULL), ERR_CORRUPT));
	item.data[0] = 2;
	cr_assert(eq(int, range_decode(item.data, item.len, &b, NULL), ERR_CORRUPT));
	buf_fini(&item);
}
