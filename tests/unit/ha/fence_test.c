/* What each transaction compares, and what its answer means. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ha/fence.h"

static const struct fence f = {
	.root = "/w/c/", .instance = "0123456789abcdef0123456789abcdef", .lease = 0xab, .epoch = 7};

/* "/w/c/leader/ab" is the own key, "/w/c/leader/" the queue */
#define OWN   "L3cvYy9sZWFkZXIvYWI="
#define QUEUE "L3cvYy9sZWFkZXIv"
#define PREDICATE                                                                                  \
	"{\"key\":\"" OWN                                                                          \
	"\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"7\"},"                \
	"{\"key\":\"" QUEUE "\",\"range_end\":\"L3cvYy9sZWFkZXIw\",\"target\":\"CREATE\","         \
	"\"result\":\"GREATER\",\"create_revision\":\"6\"}"
#define READ_QUEUE "{\"request_range\":{\"key\":\"" QUEUE "\",\"range_end\":\"L3cvYy9sZWFkZXIw\"}}"
#define READ_DOCS                                                                                  \
	"{\"request_range\":{\"key\":\"L3cvYy9ydW4v\",\"range_end\":\"L3cvYy9ydW4w\",\"limit\":\"500\"}}"

static const struct ha_op ops[] = {{"run/a", "{}", 2}, {"done/a", NULL, 0}};
static const struct ha_txn txn = {.chain_key = "run/a",
				  .chain_revision = 5,
				  .absent = {"done/a"},
				  .n_absent = 1,
				  .ops = ops,
				  .n_ops = 2};

Test(fence, a_decision_is_predicate_chain_absence_writes_and_tag)
{
	char *body = fence_decision(&f, &txn, 3, 42);
	cr_assert_str_eq(
		body,
		"{\"compare\":[" PREDICATE ","
		"{\"key\":\"L3cvYy9ydW4vYQ==\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"5\"},"
		"{\"key\":\"L3cvYy9kb25lL2E=\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"L3cvYy9ydW4vYQ==\",\"value\":\"e30=\"}},"
		"{\"request_delete_range\":{\"key\":\"L3cvYy9kb25lL2E=\"}},"
		"{\"request_put\":{\"key\":\"L3cvYy90YWcvYWIvMw==\",\"value\":"
		"\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYgNDI=\",\"lease\":\"171\"}}],"
		"\"failure\":[" READ_QUEUE
		",{\"request_range\":{\"key\":\"L3cvYy90YWcvYWIvMw==\"}},"
		"{\"request_range\":{\"key\":\"L3cvYy9ydW4vYQ==\"}}]}");
	free(body);
}

Test(fence, a_barrier_is_predicate_and_a_write_without_a_put)
{
	char *body = fence_barrier(&f, true, 500);
	cr_assert_str_eq(
		body, "{\"compare\":[" PREDICATE "],\"success\":["
		      "{\"request_delete_range\":{\"key\":\"L3cvYy9uZXZlcg==\"}},"
		      "{\"request_range\":{\"key\":\"L3cvYy9ydW4v\",\"range_end\":\"L3cvYy9ydW4w\","
		      "\"limit\":\"500\"}}],\"failure\":[" READ_QUEUE "]}");
	free(body);
	body = fence_barrier(&f, false, 0);
	cr_assert(strstr(body, "request_put") == NULL && strstr(body, PREDICATE) != NULL);
	cr_assert(strstr(body, "request_delete_range") != NULL);
	free(body);
}

Test(fence, what_the_table_calls_fenced_is)
{
	char *bodies[] = {fence_decision(&f, &txn, 0, 1),
			  fence_barrier(&f, true, 1),
			  fence_enqueue(&f, "v"),
			  fence_take(&f, &(struct fence_victim){"/w/c/leader/1", 3}, 1, 1),
			  fence_ghost(&f, &(struct fence_victim){"/w/c/leader/1", 3}),
			  fence_leave(&f)};
	static const enum call_kind kinds[] = {CALL_DECISION, CALL_BARRIER, CALL_ENQUEUE,
					       CALL_TAKE,     CALL_GHOST,   CALL_LEAVE};
	for (size_t i = 0; i < 6; i++) {
		bool fenced = strstr(bodies[i], PREDICATE) != NULL;
		cr_assert_eq(fenced, call_of(kinds[i])->fenced, "%s", call_of(kinds[i])->name);
		/* none is answered without consensus: each has a write in it */
		cr_assert(strstr(bodies[i], "request_put") ||
			  strstr(bodies[i], "request_delete_range"));
		/* and no put in a failure branch */
		cr_assert(strstr(strstr(bodies[i], "\"failure\""), "request_put") == NULL);
		free(bodies[i]);
	}
}

Test(fence, the_takeover_compares_the_dead_and_oneself)
{
	struct fence_victim dead[] = {{"/w/c/leader/1", 3}, {"/w/c/leader/2", 5}};
	char *body = fence_take(&f, dead, 2, 500);
	cr_assert_str_eq(
		body,
		"{\"compare\":[{\"key\":\"" OWN
		"\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"7\"},"
		"{\"key\":\"L3cvYy9sZWFkZXIvMQ==\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"3\"},"
		"{\"key\":\"L3cvYy9sZWFkZXIvMg==\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"5\"}],"
		"\"success\":[{\"request_delete_range\":{\"key\":\"L3cvYy9sZWFkZXIvMQ==\"}},"
		"{\"request_delete_range\":{\"key\":\"L3cvYy9sZWFkZXIvMg==\"}}," READ_QUEUE
		"," READ_DOCS "],"
		"\"failure\":[" READ_QUEUE "]}");
	free(body);
}

/* ---- judging ---- */

static struct wire_kv key_at(const char *key, const char *value, uint64_t create, uint64_t mod)
{
	return (struct wire_kv){.key = (char *)(uintptr_t)key,
				.key_len = strlen(key),
				.value = (char *)(uintptr_t)value,
				.len = strlen(value),
				.create_revision = create,
				.mod_revision = mod};
}

struct refusal {
	struct wire_kv queue[2], tag[1], chain[1];
	struct wire_answer answer;
};

static void refuse(struct refusal *r, bool lead, const char *tag, uint64_t chain_revision)
{
	*r = (struct refusal){0};
	r->queue[0] =
		lead ? key_at("/w/c/leader/ab", "", 7, 7) : key_at("/w/c/leader/cd", "", 6, 6);
	r->queue[1] =
		lead ? key_at("/w/c/leader/cd", "", 8, 8) : key_at("/w/c/leader/ab", "", 7, 7);
	r->tag[0] = key_at("/w/c/tag/ab/3", tag ? tag : "", 9, 30);
	r->chain[0] = key_at("/w/c/run/a", "{}", 2, chain_revision);
	r->answer.header.revision = 40;
	r->answer.n_ranges = 3;
	r->answer.ranges[0] = (struct wire_range){.kvs = r->queue, .n = 2};
	r->answer.ranges[1] = (struct wire_range){.kvs = r->tag, .n = tag ? 1 : 0};
	r->answer.ranges[2] = (struct wire_range){.kvs = r->chain, .n = chain_revision ? 1 : 0};
}

static struct fence_outcome judge(const struct wire_answer *a)
{
	struct fence_outcome o;
	fence_judge(&f, &txn, 3, 42, a, &o);
	return o;
}

#define MY_TAG "0123456789abcdef0123456789abcdef 42"

Test(fence, outcomes_of_a_decision)
{
	struct refusal r;
	struct wire_answer ok = {.succeeded = true, .header = {.revision = 12}};
	cr_assert_eq(judge(&ok).verdict, FENCE_DONE);
	cr_assert_eq(judge(&ok).revision, 12);
	refuse(&r, true, MY_TAG, 30);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_DONE, "an earlier try of this very decision");
	cr_assert_eq(judge(&r.answer).revision, 30);
	refuse(&r, false, MY_TAG, 30);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_DONE, "carried out before we were deposed");
	refuse(&r, true, "0123456789abcdef0123456789abcdef 41", 30);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_CONFLICT, "the slot's decision before");
	refuse(&r, true, NULL, 30);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_CONFLICT);
	refuse(&r, true, NULL, 5);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_CONFLICT, "an absent key exists");
	refuse(&r, true, NULL, 0);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_CONFLICT, "the chain is gone");
	refuse(&r, true, NULL, 4);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_REGRESSED, "older than what we know");
	refuse(&r, false, NULL, 30);
	cr_assert_eq(judge(&r.answer).verdict, FENCE_DEPOSED);
	r.answer.n_ranges = 2;
	cr_assert_eq(judge(&r.answer).verdict, FENCE_UNCLEAR);
}

Test(fence, a_chain_that_was_deleted_has_no_revision)
{
	struct ha_op gone[] = {{"run/a", NULL, 0}, {"done/a", "{}", 2}};
	struct ha_txn end = {.chain_key = "run/a", .chain_revision = 5, .ops = gone, .n_ops = 2};
	struct fence_outcome o;
	fence_judge(&f, &end, 0, 1,
		    &(struct wire_answer){.succeeded = true, .header = {.revision = 9}}, &o);
	cr_assert_eq(o.verdict, FENCE_DONE);
	cr_assert_eq(o.revision, 0);
}

Test(fence, who_leads_is_the_lowest)
{
	struct refusal r;
	refuse(&r, true, NULL, 1);
	cr_assert(fence_leads(&f, &r.answer.ranges[0]));
	refuse(&r, false, NULL, 1);
	cr_assert_not(fence_leads(&f, &r.answer.ranges[0]));
	struct wire_range empty = {0};
	cr_assert_not(fence_leads(&f, &empty));
	struct wire_kv again[] = {key_at("/w/c/leader/ab", "", 9, 9)};
	struct wire_range other = {.kvs = again, .n = 1};
	cr_assert_not(fence_leads(&f, &other), "the same name with another epoch is not us");
}

Test(fence, a_takeover_opens_the_documents_to_the_first_alone)
{
	struct refusal r;
	refuse(&r, true, "", 1);
	r.answer.n_ranges = 2;
	cr_assert_eq(fence_docs(&f, CALL_TAKE, &r.answer), NULL, "not carried out");
	r.answer.succeeded = true;
	cr_assert_eq(fence_docs(&f, CALL_TAKE, &r.answer), &r.answer.ranges[1]);
	cr_assert_eq(fence_docs(&f, CALL_BARRIER, &r.answer), NULL, "two ranges");
	r.answer.n_ranges = 1;
	cr_assert_eq(fence_docs(&f, CALL_TAKE, &r.answer), NULL, "no documents");
	cr_assert_eq(fence_docs(&f, CALL_BARRIER, &r.answer), &r.answer.ranges[0]);
	refuse(&r, false, "", 1);
	r.answer.succeeded = true;
	r.answer.n_ranges = 2;
	cr_assert_eq(fence_docs(&f, CALL_TAKE, &r.answer), NULL, "somebody is before us");
}

Test(fence, limits_are_told_before_sending)
{
	struct ha_op many[HA_TXN_OPS_MAX + 1];
	struct err e;
	for (int i = 0; i <= HA_TXN_OPS_MAX; i++)
		many[i] = (struct ha_op){"run/a", "x", 1};
	struct ha_txn t = {.chain_key = "run/a", .ops = many, .n_ops = HA_TXN_OPS_MAX};
	cr_assert_eq(fence_check(&t, &e), ERR_OK);
	t.n_ops++;
	cr_assert_eq(fence_check(&t, &e), ERR_LIMIT);
	t.n_ops = 1;
	many[0].len = 2 << 20;
	cr_assert_eq(fence_check(&t, &e), ERR_LIMIT);
}
