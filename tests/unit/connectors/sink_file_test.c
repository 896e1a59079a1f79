/* sink.file and its helpers: the refusals, and what a former attempt that lives on may do. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "host.h"
#include "taskmanager/connectors/commit.h"
#include "taskmanager/connectors/render.h"

static char *job_text(const char *options)
{
	return mem_printf(
		"{\"name\":\"t\",\"operators\":[{\"uid\":\"in\",\"type\":\"source.file\","
		"\"path\":\"x\"},{\"uid\":\"out\",\"type\":\"sink.file\",\"inputs\":[\"in\"],"
		"\"path\":\"out\"%s},{\"uid\":\"two\",\"type\":\"sink.file\",\"inputs\":[\"in\"],"
		"\"path\":\"out\"}]}",
		options);
}

static struct host *sink(const char *root, const char *uid, uint32_t attempt, const char *options)
{
	char *text = job_text(options);
	struct host *h = host_create(text, uid, root, 0, 1, attempt);
	free(text);
	return h;
}

static bool exists(const char *root, const char *name)
{
	char path[200];
	snprintf(path, sizeof(path), "%s/out/%s", root, name);
	return access(path, F_OK) == 0;
}

static void complete(struct host *h, uint64_t n, enum errc expected)
{
	cr_assert(eq(int, h->op->type->on_complete(h->op, (struct ckpt_id){n}, &h->err), expected),
		  "%s", h->err.text);
}

/* One row, pre-committed at checkpoint 5 by attempt 1. */
static struct host *precommitted(const char *root)
{
	struct host *h = sink(root, "out", 1, "");
	cr_assert(eq(int, host_start(h, 0, NULL), ERR_OK), "%s", h->err.text);
	cr_assert(eq(int, host_write_text(h, "row"), ERR_OK));
	cr_assert(eq(int, host_snapshot(h, 5), ERR_OK));
	cr_assert(eq(int, exists(root, "0-1-5-0"), 0));
	return h;
}

static struct host *successor(const char *root, struct host *from)
{
	struct host *h = sink(root, "out", 2, "");
	cr_assert(eq(int, host_start(h, 5, &from->lists.at[0]), ERR_OK), "%s", h->err.text);
	return h;
}

Test(sink_file, a_former_attempt_that_lives_on_commits_too)
{
	char root[64];
	host_temp(root);
	struct host *old = precommitted(root), *new = successor(root, old);
	complete(new, 5, ERR_OK);
	complete(old, 5, ERR_OK); /* told late: the ledger proves it */
	complete(new, 5, ERR_OK);
	cr_assert(exists(root, "0-1-5-0"));
	host_destroy(old);
	host_destroy(new);
	host_remove(root);
}

Test(sink_file, a_consumer_may_take_the_file_away)
{
	char root[64], path[128];
	host_temp(root);
	struct host *old = precommitted(root), *new;
	complete(old, 5, ERR_OK);
	snprintf(path, sizeof(path), "%s/out/0-1-5-0", root);
	cr_assert(eq(int, unlink(path), 0));
	new = successor(root, old);
	complete(new, 5, ERR_OK);
	host_destroy(old);
	host_destroy(new);
	host_remove(root);
}

Test(sink_file, gone_and_not_listed_is_loss)
{
	char root[64], path[200];
	host_temp(root);
	struct host *old = precommitted(root), *new;
	snprintf(path, sizeof(path), "%s/out/.weir/%032x/0-1-5-0", root, 7);
	cr_assert(eq(int, unlink(path), 0));
	/* A torn listing of a longer name is no proof. */
	snprintf(path, sizeof(path), "%s/out/.weir/%032x", root, 7);
	host_file(path, "0.ledger", "\n0-1-5-0", 8);
	new = successor(root, old);
	complete(new, 5, ERR_CORRUPT);
	cr_assert(strstr(new->err.text, "0-1-5-0") != NULL);
	host_destroy(old);
	host_destroy(new);
	host_remove(root);
}

Test(sink_file, another_disk_is_noticed_at_the_restart)
{
	char root[64], other[64];
	host_temp(root);
	host_temp(other);
	struct host *old = precommitted(root);
	struct host *new = sink(other, "out", 2, "");
	cr_assert(eq(int, host_start(new, 5, &old->lists.at[0]), ERR_INVALID));
	cr_assert(strstr(new->err.text, "not the disk") != NULL, "%s", new->err.text);
	host_destroy(old);
	host_destroy(new);
	host_remove(root);
	host_remove(other);
}

Test(sink_file, strangers_in_the_directory_are_refused)
{
	char root[64], path[128];
	host_temp(root);
	struct host *first = precommitted(root), *second = sink(root, "two", 1, "");
	cr_assert(eq(int, host_start(second, 0, NULL), ERR_INVALID));
	cr_assert(strstr(second->err.text, "two sinks") != NULL, "%s", second->err.text);
	complete(first, 5, ERR_OK);
	host_destroy(first);
	host_destroy(second);
	/* Another job, the same attempt number. */
	second = sink(root, "out", 1, "");
	snprintf(second->context.job.hex, sizeof(second->context.job.hex), "%032x", 8);
	cr_assert(eq(int, host_start(second, 0, NULL), ERR_INVALID));
	cr_assert(strstr(second->err.text, "another job") != NULL, "%s", second->err.text);
	host_destroy(second);
	second = sink(root, "out", 9, "");
	second->context.cluster = "ffffffffffffffffffffffffffffffff";
	cr_assert(eq(int, host_start(second, 0, NULL), ERR_INVALID));
	cr_assert(strstr(second->err.text, "another cluster") != NULL, "%s", second->err.text);
	host_destroy(second);
	snprintf(path, sizeof(path), "%s/out", root);
	host_remove(root);
}

/* The job is submitted once more, under another id: its second attempt must not do what its first
 * was refused, and mix its output with what is there. */
Test(sink_file, a_restart_does_not_make_the_output_of_another_job_ones_own)
{
	char root[64];
	host_temp(root);
	struct host *before = precommitted(root);
	complete(before, 5, ERR_OK);
	cr_assert(exists(root, "0-1-5-0"));
	for (uint32_t attempt = 1; attempt <= 3; attempt++) {
		struct host *again = sink(root, "out", attempt, "");
		memset(again->context.job.hex, 'b', ID_HEX);
		cr_expect(eq(int, host_start(again, 0, NULL), ERR_INVALID), "attempt %u", attempt);
		cr_expect(strstr(again->err.text, "another job's output") != NULL, "%s",
			  again->err.text);
		host_destroy(again);
	}
	host_destroy(before);
	host_remove(root);
}

Test(sink_file, a_terminal_cancel_rolls_back)
{
	char root[64];
	host_temp(root);
	struct host *h = precommitted(root);
	cr_assert(eq(int, host_write_text(h, "more"), ERR_OK));
	cr_assert(eq(int, h->op->type->on_cancel(h->op, (struct ckpt_id){4}, &h->err), ERR_OK));
	char path[200];
	snprintf(path, sizeof(path), ".weir/%032x/0-1-5-0", 7);
	cr_assert(eq(int, exists(root, path), 0));
	snprintf(path, sizeof(path), ".weir/%032x/0-1-open-1", 7);
	cr_assert(eq(int, exists(root, path), 0));
	host_destroy(h);
	host_remove(root);
}

/* The job ended while this worker was cut off: 5 is complete, and nobody has told it so. */
Test(sink_file, a_terminal_cancel_keeps_what_a_completed_checkpoint_holds)
{
	char root[64], path[200];
	host_temp(root);
	struct host *h = precommitted(root);
	cr_assert(eq(int, host_write_text(h, "more"), ERR_OK));
	cr_assert(eq(int, host_snapshot(h, 6), ERR_OK));
	cr_assert(eq(int, h->op->type->on_cancel(h->op, (struct ckpt_id){5}, &h->err), ERR_OK));
	snprintf(path, sizeof(path), ".weir/%032x/0-1-5-0", 7);
	cr_assert(eq(int, exists(root, path), 1), "promised output was rolled back");
	snprintf(path, sizeof(path), ".weir/%032x/0-1-6-0", 7);
	cr_assert(eq(int, exists(root, path), 0));
	host_destroy(h);
	host_remove(root);
}

Test(sink_file, at_least_once_shows_parts_at_the_barrier)
{
	char root[64];
	host_temp(root);
	struct host *h =
		sink(root, "out", 1, ",\"semantics\":\"at-least-once\",\"rollBytes\":1024");
	cr_assert(eq(int, host_start(h, 0, NULL), ERR_OK));
	for (int i = 0; i < 100; i++)
		cr_assert(eq(int, host_write_text(h, "0123456789012345678901234567890123456789"),
			     ERR_OK));
	cr_assert(eq(int, host_snapshot(h, 1), ERR_OK));
	cr_assert(exists(root, "0-1-1-0") && exists(root, "0-1-1-4"));
	cr_assert(eq(sz, h->lists.at[0].n, 0));
	host_destroy(h);
	host_remove(root);
}

Test(sink_file, names)
{
	static const char *const good[] = {"0-1-5-0", "7-4294967295-18446744073709551609-3",
					   "1-2-open-9"};
	static const char *const bad[] = {
		"",         "0",         "0-1",      "0-1-0-0",           "0-1-5-",    "0-1-5-0x",
		"-1-1-5-0", "0-1-open-", "0.ledger", "99999999999-1-1-1", "0-1-5-0-1", "a-1-1-1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct commit_name n;
		char text[COMMIT_NAME_MAX];
		cr_assert(commit_name_parse(good[i], &n), "%s", good[i]);
		commit_name_text(&n, text);
		cr_assert(eq(str, text, (char *)good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(eq(int, commit_name_parse(bad[i], &(struct commit_name){0}), 0), "%s",
			  bad[i]);
}

/* ---- rendering ---- */

static void expect_rendered(const struct row_value values[6], const char *json, const char *tsv)
{
	static char names[6][2] = {"b", "i", "f", "s", "y", "t"};
	struct spec_column columns[6];
	for (unsigned i = 0; i < 6; i++)
		columns[i] = (struct spec_column){
			.name = names[i], .type = (enum spec_type)i, .nullable = true};
	struct spec_schema schema = {.n = 6, .columns = columns};
	struct row_plan plan;
	struct buf out = {0};
	row_plan_init(&plan, &schema);
	struct batch *b = host_batch(row_size(&plan, values));
	row_put(&plan, values, b->data);
	render_row(RENDER_JSON, &schema, &plan, (const struct row *)b->data, &out);
	cr_assert(eq(str, out.data, (char *)json));
	buf_clear(&out);
	render_row(RENDER_TSV, &schema, &plan, (const struct row *)b->data, &out);
	cr_assert(eq(str, out.data, (char *)tsv));
	free(b);
	buf_fini(&out);
	row_plan_fini(&plan);
}

#define TEXT(t)                                                                                    \
	{                                                                                          \
		.len = sizeof(t) - 1, .text = t                                                    \
	}

Test(sink_file, rows_as_text)
{
	expect_rendered(
		(struct row_value[6]){{.i64 = 1},
				      {.i64 = INT64_MIN},
				      {.f64 = 0.1},
				      TEXT("a\"\\\n\t\x01\xc3\xa4\xff"),
				      TEXT("\x00\xff"),
				      {.i64 = 1769860800123}},
		"{\"b\":true,\"i\":-9223372036854775808,\"f\":0.1,\"s\":\"a\\\"\\\\\\n\\t\\u0001"
		"\xc3\xa4\xef\xbf\xbd\",\"y\":\"AP8=\",\"t\":\"2026-01-31T12:00:00.123Z\"}\n",
		"true\t-9223372036854775808\t0.1\ta\"\\\\\\n\\t\x01\xc3\xa4\xff\tAP8=\t"
		"2026-01-31T12:00:00.123Z\n");
	expect_rendered((struct row_value[6]){{.i64 = 0},
					      {.i64 = 0},
					      {.f64 = -INFINITY},
					      TEXT(""),
					      TEXT(""),
					      {.i64 = -1}},
			"{\"b\":false,\"i\":0,\"f\":\"-Infinity\",\"s\":\"\",\"y\":\"\","
			"\"t\":\"1969-12-31T23:59:59.999Z\"}\n",
			"false\t0\t-Infinity\t\t\t1969-12-31T23:59:59.999Z\n");
	expect_rendered((struct row_value[6]){{.null = true},
					      {.null = true},
					      {.f64 = 1.0 / 3},
					      {.null = true},
					      {.null = true},
					      {.null = true}},
			"{\"b\":null,\"i\":null,\"f\":0.3333333333333333,\"s\":null,\"y\":null,"
			"\"t\":null}\n",
			"\\N\t\\N\t0.3333333333333333\t\\N\t\\N\t\\N\n");
}
