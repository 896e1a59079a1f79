/* The codec: golden bytes, strict parsing, the four shapes of errors, and the list of calls. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ha/calls.h"
#include "ha/fence.h"
#include "ha/wire.h"

#define IS(text, expected)                                                                         \
	do {                                                                                       \
		char *is_ = (text);                                                                \
		cr_assert_str_eq(is_, expected);                                                   \
		free(is_);                                                                         \
	} while (0)

/* ---- requests: a misspelt field is dropped by the gateway without a word ---- */

Test(wire, small_requests)
{
	IS(wire_grant(12345, 5), "{\"TTL\":\"5\",\"ID\":\"12345\"}");
	IS(wire_grant(UINT64_C(0x7fffffffffffffff), 5),
	   "{\"TTL\":\"5\",\"ID\":\"9223372036854775807\"}");
	IS(wire_lease(12345), "{\"ID\":\"12345\"}");
	IS(wire_compact(3), "{\"revision\":\"3\"}");
	IS(wire_login("u", "p\"w"), "{\"name\":\"u\",\"password\":\"p\\\"w\"}");
	IS(wire_alarms(), "{\"action\":\"GET\"}");
	IS(wire_disarm(9), "{\"action\":\"DEACTIVATE\",\"memberID\":\"9\",\"alarm\":\"NOSPACE\"}");
	/* "a/" is YS8=, its end "a0" is YTA= */
	IS(wire_watch("a/", 8), "{\"create_request\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\","
				"\"start_revision\":\"8\"}}");
}

Test(wire, ranges)
{
	IS(wire_range(&(struct wire_op){.kind = WIRE_RANGE, .key = "lk"}), "{\"key\":\"bGs=\"}");
	IS(wire_range(&(struct wire_op){
		   .kind = WIRE_RANGE, .key = "a/", .prefix = true, .limit = 10, .revision = 7}),
	   "{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"limit\":\"10\",\"revision\":\"7\"}");
	/* the next page begins behind "a/b": the same and a zero byte */
	IS(wire_range(&(struct wire_op){
		   .kind = WIRE_RANGE, .key = "a/", .prefix = true, .after = "a/b"}),
	   "{\"key\":\"YS9iAA==\",\"range_end\":\"YTA=\"}");
}

Test(wire, transactions)
{
	struct wire_compare compares[] = {
		{.key = "a", .target = WIRE_CREATE, .revision = 0},
		{.key = "a/",
		 .prefix = true,
		 .target = WIRE_CREATE,
		 .relation = WIRE_GREATER,
		 .revision = 4},
		{.key = "a", .target = WIRE_MOD, .revision = 9},
	};
	struct wire_op success[] = {
		{.kind = WIRE_PUT, .key = "a", .value = "1", .len = 1, .lease = 7},
		{.kind = WIRE_PUT, .key = "a", .value = "", .len = 0},
		{.kind = WIRE_DELETE, .key = "b"},
		{.kind = WIRE_RANGE, .key = "a/", .prefix = true},
	};
	struct wire_op failure[] = {{.kind = WIRE_RANGE, .key = "a"}};
	IS(wire_txn(&(struct wire_txn){compares, 3, success, 4, failure, 1}),
	   "{\"compare\":["
	   "{\"key\":\"YQ==\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
	   "{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"target\":\"CREATE\",\"result\":\"GREATER\","
	   "\"create_revision\":\"4\"},"
	   "{\"key\":\"YQ==\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"9\"}],"
	   "\"success\":["
	   "{\"request_put\":{\"key\":\"YQ==\",\"value\":\"MQ==\",\"lease\":\"7\"}},"
	   "{\"request_put\":{\"key\":\"YQ==\",\"value\":\"\"}},"
	   "{\"request_delete_range\":{\"key\":\"Yg==\"}},"
	   "{\"request_range\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\"}}],"
	   "\"failure\":[{\"request_range\":{\"key\":\"YQ==\"}}]}");
}

/* ---- answers ---- */

#define H                                                                                          \
	"\"header\":{\"cluster_id\":\"4660653540375410112\",\"member_id\":\"8906765966787780482\",\"revision\":\"6\",\"raft_term\":\"2\"}"

static enum errc parse(enum call_answer shape, const char *text, struct wire_answer *a)
{
	struct err e;
	return wire_parse(shape, text, strlen(text), a, &e);
}

Test(wire, a_transaction_that_succeeded)
{
	struct wire_answer a;
	cr_assert_eq(
		parse(ANSWER_TXN,
		      "{" H ",\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":"
		      "{\"revision\":\"6\"}}},{\"response_range\":{\"header\":{\"revision\":\"6\"},"
		      "\"kvs\":[{\"key\":\"bGs=\",\"create_revision\":\"2\",\"mod_revision\":\"3\","
		      "\"version\":\"2\",\"value\":\"MQ==\",\"lease\":\"12345\"}],\"count\":\"1\"}}]}",
		      &a),
		ERR_OK);
	cr_assert(a.succeeded);
	cr_assert_eq(a.header.cluster_id, UINT64_C(4660653540375410112), "beyond 2^53");
	cr_assert_eq(a.header.revision, 6);
	cr_assert_eq(a.n_ranges, 1);
	const struct wire_kv *kv = &a.ranges[0].kvs[0];
	cr_assert_str_eq(kv->key, "lk");
	cr_assert_str_eq(kv->value, "1");
	cr_assert_eq(kv->create_revision, 2);
	cr_assert_eq(kv->mod_revision, 3);
	cr_assert_eq(kv->lease, 12345);
	wire_answer_fini(&a);
}

Test(wire, absent_is_default_and_succeeded_must_be_said)
{
	struct wire_answer a;
	cr_assert_eq(parse(ANSWER_TXN, "{" H "}", &a), ERR_OK);
	cr_assert_not(a.succeeded);
	cr_assert_eq(a.n_ranges, 0);
	cr_assert_eq(parse(ANSWER_RANGE, "{" H "}", &a), ERR_OK);
	cr_assert_eq(a.ranges[0].n, 0);
	/* newer gateways say it in camelCase */
	cr_assert_eq(parse(ANSWER_RANGE,
			   "{" H ",\"kvs\":[{\"key\":\"bGs=\",\"modRevision\":\"3\"}]}", &a),
		     ERR_OK);
	cr_assert_eq(a.ranges[0].kvs[0].mod_revision, 3);
	cr_assert_eq(a.ranges[0].kvs[0].len, 0);
	wire_answer_fini(&a);
}

Test(wire, leases)
{
	struct wire_answer a;
	cr_assert_eq(
		parse(ANSWER_LEASE, "{" H ",\"ID\":\"2270555249868202767\",\"TTL\":\"5\"}", &a),
		ERR_OK);
	cr_assert_eq(a.lease, UINT64_C(2270555249868202767));
	cr_assert_eq(a.ttl_s, 5);
	cr_assert_eq(
		parse(ANSWER_LEASE, "{\"result\":{" H ",\"ID\":\"12345\",\"TTL\":\"5\"}}\n", &a),
		ERR_OK);
	cr_assert_eq(a.ttl_s, 5);
	/* HTTP 200 and no TTL: the lease is gone */
	cr_assert_eq(parse(ANSWER_LEASE, "{\"result\":{" H ",\"ID\":\"12345\"}}\n", &a), ERR_OK);
	cr_assert_eq(a.ttl_s, 0);
	cr_assert_eq(
		parse(ANSWER_LEASE, "{" H ",\"ID\":\"1\",\"TTL\":\"-1\",\"grantedTTL\":\"0\"}", &a),
		ERR_OK);
	cr_assert_eq(a.ttl_s, 0);
}

Test(wire, maintenance)
{
	struct wire_answer a;
	cr_assert_eq(
		parse(ANSWER_STATUS,
		      "{" H
		      ",\"version\":\"3.4.23\",\"dbSize\":\"20480\",\"leader\":\"8906765966787780482\"}",
		      &a),
		ERR_OK);
	cr_assert_eq(a.db_bytes, 20480);
	cr_assert_eq(a.etcd_leader, a.header.member_id);
	cr_assert_eq(
		parse(ANSWER_ALARMS,
		      "{\"alarms\":[{\"memberID\":\"11719934994822390420\",\"alarm\":\"NOSPACE\"}]}",
		      &a),
		ERR_OK);
	cr_assert_eq(a.nospace_member, UINT64_C(11719934994822390420), "beyond 2^63");
	cr_assert_eq(parse(ANSWER_NOTHING, "{}", &a), ERR_OK);
	cr_assert_eq(parse(ANSWER_TOKEN, "{" H ",\"token\":\"leWT.18\"}", &a), ERR_OK);
	cr_assert_str_eq(a.token, "leWT.18");
	wire_answer_fini(&a);
}

Test(wire, members)
{
	struct wire_answer a;
	cr_assert_eq(parse(ANSWER_MEMBERS,
			   "{" H ",\"members\":["
			   "{\"ID\":\"1\",\"name\":\"a\",\"peerURLs\":[\"http://a:2380\"],"
			   "\"clientURLs\":[\"http://a:2379\",\"http://10.0.0.1:2379\"]},"
			   "{\"ID\":\"2\",\"isLearner\":true,\"clientURLs\":[\"http://l:2379\"]},"
			   "{\"ID\":\"3\"},"
			   "{\"ID\":\"4\",\"client_urls\":[\"http://d:2379\",7]}]}",
			   &a),
		     ERR_OK);
	cr_assert_eq(a.n_urls, 3);
	cr_assert_str_eq(a.urls[1], "http://10.0.0.1:2379");
	cr_assert_str_eq(a.urls[2], "http://d:2379");
	wire_answer_fini(&a);
	cr_assert_neq(parse(ANSWER_MEMBERS, "{" H ",\"members\":{}}", &a), ERR_OK);
	cr_assert_neq(parse(ANSWER_MEMBERS, "{\"members\":[]}", &a), ERR_OK);
}

Test(wire, what_is_not_an_answer)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		"{\"header\":[]}",
		"{\"header\":{\"revision\":\"x\"}}",
		"{" H ",\"succeeded\":\"true\"}",
		"{" H ",\"responses\":{}}",
		"{" H ",\"responses\":[{\"response_range\":{\"kvs\":[7]}}]}",
		"{" H ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"bGs\"}]}}]}",
		"{" H
		",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"bGs=\"},{\"key\":3}]}}]}",
		"{" H ",\"succeeded\":true",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct wire_answer a;
		cr_assert_eq(parse(ANSWER_TXN, bad[i], &a), ERR_INVALID, "%s", bad[i]);
	}
}

/* ---- errors ---- */

static const struct {
	int status;
	const char *body;
	enum errc rc;
} errors[] = {
	/* the four shapes of one error */
	{503,
	 "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\",\"code\":14}",
	 ERR_UNKNOWN},
	{503, "{\"code\":14,\"message\":\"etcdserver: no leader\",\"details\":[]}", ERR_UNKNOWN},
	{200,
	 "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\",\"http_status\":\"Service Unavailable\"}}",
	 ERR_UNKNOWN},
	{200, "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}", ERR_UNKNOWN},
	/* it may have happened */
	{500,
	 "{\"error\":\"context deadline exceeded\",\"message\":\"context deadline exceeded\",\"code\":2}",
	 ERR_UNKNOWN},
	{504, "{\"message\":\"context deadline exceeded\",\"code\":4}", ERR_UNKNOWN},
	{503, "{\"message\":\"etcdserver: request timed out\",\"code\":14}", ERR_UNKNOWN},
	{500, "{\"message\":\"not a primary lessor\",\"code\":2}", ERR_UNKNOWN},
	{502, "<html>bad gateway</html>", ERR_UNKNOWN},
	{500, "", ERR_UNKNOWN},
	/* definite */
	{400, "{\"message\":\"etcdserver: duplicate key given in txn request\",\"code\":3}",
	 ERR_INVALID},
	{400, "{\"message\":\"etcdserver: too many operations in txn request\",\"code\":3}",
	 ERR_LIMIT},
	{400, "{\"message\":\"etcdserver: request is too large\",\"code\":3}", ERR_LIMIT},
	{400,
	 "{\"message\":\"etcdserver: authentication failed, invalid user ID or password\",\"code\":3}",
	 ERR_DENIED},
	{400, "{\"message\":\"etcdserver: user name is empty\",\"code\":3}", ERR_DENIED},
	{400, "{\"message\":\"auth: revision of auth store is old\",\"code\":3}", ERR_DENIED},
	{401, "{\"message\":\"etcdserver: invalid auth token\",\"code\":16}", ERR_DENIED},
	{403, "{\"message\":\"etcdserver: permission denied\",\"code\":7}", ERR_DENIED},
	{404, "{\"message\":\"etcdserver: requested lease not found\",\"code\":5}", ERR_NOTFOUND},
	{412, "{\"message\":\"etcdserver: lease already exists\",\"code\":9}", ERR_EXISTS},
	{429, "{\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}",
	 ERR_UNAVAILABLE},
	{429, "{\"message\":\"grpc: received message larger than max (3 vs. 2)\",\"code\":8}",
	 ERR_LIMIT},
	{429, "{\"message\":\"etcdserver: too many requests\",\"code\":8}", ERR_AGAIN},
	{400,
	 "{\"message\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11}",
	 ERR_CONFLICT},
	{400,
	 "{\"message\":\"etcdserver: mvcc: required revision is a future revision\",\"code\":11}",
	 ERR_AGAIN},
	{404, "Not Found", ERR_INVALID},
	{400, "CommonName of client sending a request against gateway will be ignored", ERR_DENIED},
};

Test(wire, errors_are_classified_by_code_then_text)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		struct err e = {0};
		enum errc rc =
			wire_error(errors[i].status, errors[i].body, strlen(errors[i].body), &e);
		cr_assert_eq(rc, errors[i].rc, "%s: %s", errors[i].body, err_name(rc));
		cr_assert_eq(e.code, rc);
	}
}

Test(wire, every_code_has_a_class_and_none_is_ok)
{
	for (int64_t code = -1; code < 40; code++)
		cr_assert_neq(wire_classify(code, "whatever"), ERR_OK);
}

/* ---- watch ---- */

Test(wire, frames)
{
	struct wire_frame f;
	struct err e;
	static const char created[] = "{\"result\":{" H ",\"created\":true}}";
	cr_assert_eq(wire_parse_frame(created, strlen(created), &f, &e), ERR_OK);
	cr_assert(f.created && !f.canceled && f.n_events == 0);
	static const char events[] =
		"{\"result\":{" H
		",\"events\":[{\"kv\":{\"key\":\"dy9h\",\"create_revision\":\"13\","
		"\"mod_revision\":\"14\",\"version\":\"2\",\"value\":\"MQ==\"}},"
		"{\"type\":\"DELETE\",\"kv\":{\"key\":\"dy9h\",\"mod_revision\":\"16\"}}]}}";
	cr_assert_eq(wire_parse_frame(events, strlen(events), &f, &e), ERR_OK);
	cr_assert_eq(f.n_events, 2);
	cr_assert(!f.events[0].deleted && f.events[1].deleted);
	cr_assert_str_eq(f.events[1].kv.key, "w/a");
	wire_frame_fini(&f);
	static const char compacted[] =
		"{\"result\":{\"header\":{},\"canceled\":true,\"compact_revision\":\"29\"}}";
	cr_assert_eq(wire_parse_frame(compacted, strlen(compacted), &f, &e), ERR_OK);
	cr_assert(f.canceled);
	cr_assert_eq(f.compact_revision, 29);
	static const char lost[] =
		"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}";
	cr_assert_eq(wire_parse_frame(lost, strlen(lost), &f, &e), ERR_UNKNOWN);
	cr_assert_eq(wire_parse_frame("{\"result\":7}", 12, &f, &e), ERR_INVALID);
}

/* ---- the list of what goes around the predicate ---- */

Test(calls, only_these_change_the_store_without_the_predicate)
{
	static const enum call_kind exceptions[] = {
		CALL_ENQUEUE, CALL_TAKE,    CALL_GHOST,      CALL_LEAVE,  CALL_GRANT, CALL_RENEW,
		CALL_REVOKE,  CALL_COMPACT, CALL_DEFRAGMENT, CALL_DISARM, CALL_LOGIN,
	};
	size_t n = 0;
	for (int kind = 0; kind < CALL_COUNT; kind++) {
		const struct call *c = call_of((enum call_kind)kind);
		if (!c->changes || c->fenced)
			continue;
		cr_assert_lt(n, sizeof exceptions / sizeof exceptions[0], "%s is new", c->name);
		cr_assert_eq((enum call_kind)kind, exceptions[n], "%s is not on the list", c->name);
		cr_assert_gt(strlen(c->why), 0, "%s has no reason", c->name);
		n++;
	}
	cr_assert_eq(n, sizeof exceptions / sizeof exceptions[0]);
}
