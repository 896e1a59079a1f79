/* The simulated etcd: the gateway's bytes, and each quirk that was measured on the real one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "world/sim/sim_etcd.h"

/* ---- a client ---- */

struct fixture {
	struct sim *s;
	struct sim_etcd *c;
	struct world *w;
};

static void *client_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx, (void)argv;
	return w;
}

static const struct sim_program client = {.start = client_start};

static struct fixture open_cluster(unsigned members)
{
	struct fixture f;
	struct sim_knobs calm = sim_knobs_calm();
	f.s = sim_create(7, &calm);
	f.c = sim_etcd_create(f.s, members);
	sim_node_add(f.s, "client", &client, NULL);
	sim_node_start(f.s, "client");
	f.w = sim_node_world(f.s, "client");
	return f;
}

static void close_cluster(struct fixture *f)
{
	sim_destroy(f->s);
	sim_etcd_destroy(f->c);
}

struct ask {
	struct world_http http;
	struct buf text;
	enum errc code;
	int status;
	bool ended;
};

static void on_chunk(struct world_http *h, const void *data, size_t len)
{
	buf_add(&MEM_OWNER(h, struct ask, http)->text, data, len);
}

static void on_end(struct world_http *h, const struct world_reply *r)
{
	struct ask *a = MEM_OWNER(h, struct ask, http);
	a->code = r->code;
	a->status = r->status;
	if (r->body_len > 0)
		buf_add(&a->text, r->body, r->body_len);
	a->ended = true;
}

enum { PLAIN, HASLEADER = 1, STREAM = 2 };

static void begin(struct fixture *f, struct ask *a, unsigned member, const char *path,
		  const char *body, uint64_t timeout_ms, int how)
{
	char url[128];
	struct world_header header = {"Grpc-Metadata-hasleader", "true"};
	snprintf(url, sizeof(url), "http://etcd-%u:2379%s", member, path);
	*a = (struct ask){.http = {.on_chunk = on_chunk, .on_end = on_end}};
	struct world_http_spec spec = {.method = "POST",
				       .url = url,
				       .body = body,
				       .body_len = strlen(body),
				       .headers = &header,
				       .n_headers = how & HASLEADER ? 1 : 0,
				       .reply_max = 1 << 20,
				       .timeout_ms = timeout_ms,
				       .stream = (how & STREAM) != 0};
	world_http_start(f->w, &a->http, &spec);
}

static void await(struct fixture *f, struct ask *a)
{
	cr_assert(sim_run_until(f->s, &a->ended, 60000), "no end");
}

/* The body must be exactly this, but for the headers: "H" stands for a whole one. */
static void expect(const struct ask *a, int status, const char *want)
{
	struct buf got = {0};
	const char *p = a->text.data ? a->text.data : "";
	while (*p) {
		const char *header = strstr(p, "\"header\":{\"cluster_id\":");
		if (header == NULL) {
			buf_text(&got, p);
			break;
		}
		buf_add(&got, p, (size_t)(header - p));
		buf_text(&got, "H");
		p = strchr(header, '}') + 1;
	}
	cr_assert_eq(a->code, ERR_OK, "%s", err_name(a->code));
	cr_assert_eq(a->status, status, "%d: %s", a->status, a->text.data);
	cr_assert_str_eq(got.data, want);
	buf_fini(&got);
}

static void check(struct fixture *f, unsigned member, const char *path, const char *body,
		  int status, const char *want)
{
	struct ask a;
	begin(f, &a, member, path, body, 20000, PLAIN);
	await(f, &a);
	expect(&a, status, want);
	buf_fini(&a.text);
}

static void put(struct fixture *f, unsigned member, const char *body)
{
	check(f, member, "/v3/kv/put", body, 200, "{H}");
}

static unsigned follower(struct fixture *f, unsigned nth)
{
	unsigned leader = sim_etcd_leader(f->c);
	for (unsigned i = 1; i <= 3; i++) {
		if (i != leader && nth-- == 0)
			return i;
	}
	abort();
}

static const char *name_of(unsigned member)
{
	static const char *const names[] = {"", "etcd-1", "etcd-2", "etcd-3"};
	return names[member];
}

/* k = "aw==", l = "bA==", v = "dg==", w = "dw==" */

Test(sim_etcd, answers_the_gateways_bytes)
{
	struct fixture f = open_cluster(1);
	check(&f, 1, "/v3/kv/range", "{\"key\":\"aw==\"}", 200, "{H}");
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	check(&f, 1, "/v3/kv/range", "{\"key\":\"aw==\"}", 200,
	      "{H,\"kvs\":[{\"key\":\"aw==\",\"create_revision\":\"2\",\"mod_revision\":\"2\","
	      "\"version\":\"1\",\"value\":\"dg==\"}],\"count\":\"1\"}");
	put(&f, 1, "{\"key\":\"bA==\",\"value\":\"dw==\"}");
	check(&f, 1, "/v3/kv/range", "{\"key\":\"AA==\",\"range_end\":\"AA==\",\"limit\":\"1\"}",
	      200,
	      "{H,\"kvs\":[{\"key\":\"aw==\",\"create_revision\":\"2\",\"mod_revision\":\"2\","
	      "\"version\":\"1\",\"value\":\"dg==\"}],\"more\":true,\"count\":\"2\"}");
	check(&f, 1, "/v3/kv/range", "{\"key\":\"aw==\",\"revision\":\"9\"}", 400,
	      "{\"error\":\"etcdserver: mvcc: required revision is a future revision\","
	      "\"message\":\"etcdserver: mvcc: required revision is a future revision\","
	      "\"code\":11}");
	check(&f, 1, "/v3/kv/deleterange", "{\"key\":\"aw==\"}", 200, "{H,\"deleted\":\"1\"}");
	check(&f, 1, "/v3/kv/deleterange", "{\"key\":\"aw==\"}", 200, "{H}");
	cr_assert_eq(sim_etcd_revision(f.c), 4u);
	close_cluster(&f);
}

Test(sim_etcd, a_transaction_compares_the_state_before_it)
{
	struct fixture f = open_cluster(1);
	const char *create = "{\"compare\":[{\"key\":\"aw==\",\"target\":\"CREATE\","
			     "\"create_revision\":\"0\"}],\"success\":[{\"request_put\":{\"key\":"
			     "\"aw==\",\"value\":\"dg==\"}}],\"failure\":[{\"request_range\":{"
			     "\"key\":\"aw==\"}}]}";
	check(&f, 1, "/v3/kv/txn", create, 200,
	      "{H,\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{\"revision\":"
	      "\"2\"}}}]}");
	check(&f, 1, "/v3/kv/txn", create, 200,
	      "{H,\"responses\":[{\"response_range\":{\"header\":{\"revision\":\"2\"},\"kvs\":[{"
	      "\"key\":\"aw==\",\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\","
	      "\"value\":\"dg==\"}],\"count\":\"1\"}}]}");
	close_cluster(&f);
}

/* Over an empty range: GREATER is false, LESS and EQUAL to zero are true. */
Test(sim_etcd, a_range_compare_on_an_empty_range)
{
	struct fixture f = open_cluster(1);
	const char *text = "{\"compare\":[{\"key\":\"cA==\",\"range_end\":\"cQ==\",\"target\":"
			   "\"CREATE\",\"result\":\"%s\",\"create_revision\":\"%u\"}]}";
	static const struct {
		const char *result;
		unsigned revision;
		bool holds;
	} cases[] = {{"GREATER", 5, false}, {"LESS", 5, true}, {"EQUAL", 0, true}};
	for (size_t i = 0; i < 3; i++) {
		char *body = mem_printf(text, cases[i].result, cases[i].revision);
		check(&f, 1, "/v3/kv/txn", body, 200,
		      cases[i].holds ? "{H,\"succeeded\":true}" : "{H}");
		free(body);
	}
	close_cluster(&f);
}

Test(sim_etcd, leases_live_and_expire)
{
	struct fixture f = open_cluster(1);
	const char *grant = "{\"TTL\":\"5\",\"ID\":\"77\"}";
	check(&f, 1, "/v3/lease/grant", grant, 200, "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	check(&f, 1, "/v3/lease/grant", grant, 412,
	      "{\"error\":\"etcdserver: lease already exists\",\"message\":\"etcdserver: lease "
	      "already exists\",\"code\":9}");
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"77\"}");
	sim_run_for(f.s, 4000);
	check(&f, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\",\"TTL\":\"5\"}}\n");
	sim_run_for(f.s, 4000);
	cr_assert_str_eq(sim_etcd_get(f.c, "k"), "v");
	sim_run_for(f.s, 1700);
	cr_assert_null(sim_etcd_get(f.c, "k"));
	check(&f, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\"}}\n");
	check(&f, 1, "/v3/lease/timetolive", "{\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"-1\"}");
	close_cluster(&f);
}

Test(sim_etcd, a_watch_tells_what_happens)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	begin(&f, &a, 2, "/v3/watch",
	      "{\"create_request\":{\"key\":\"aw==\",\"start_revision\":\"2\"}}", 60000, STREAM);
	sim_run_for(f.s, 100);
	check(&f, 3, "/v3/kv/deleterange", "{\"key\":\"aw==\"}", 200, "{H,\"deleted\":\"1\"}");
	sim_run_for(f.s, 100);
	a.status = 200;
	expect(&a, 200,
	       "{\"result\":{H,\"created\":true}}\n"
	       "{\"result\":{H,\"events\":[{\"kv\":{\"key\":\"aw==\",\"create_revision\":\"2\","
	       "\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"dg==\"}}]}}\n"
	       "{\"result\":{H,\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"aw==\","
	       "\"mod_revision\":\"3\"}}]}}\n");
	buf_fini(&a.text);
	close_cluster(&f);
}

Test(sim_etcd, a_watch_on_a_compacted_revision_is_cancelled_and_stays_open)
{
	struct fixture f = open_cluster(1);
	struct ask a;
	for (int i = 0; i < 5; i++)
		put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	check(&f, 1, "/v3/kv/compaction", "{\"revision\":\"5\"}", 200, "{H}");
	begin(&f, &a, 1, "/v3/watch",
	      "{\"create_request\":{\"key\":\"aw==\",\"start_revision\":\"3\"}}", 60000, STREAM);
	sim_run_for(f.s, 30000);
	cr_assert_not(a.ended);
	cr_assert_not_null(strstr(a.text.data, "\"canceled\":true,\"compact_revision\":\"5\"}}\n"));
	buf_fini(&a.text);
	close_cluster(&f);
}

/* E1: given up by the client, carried out at the thaw, over a newer value. */
Test(sim_etcd, a_frozen_member_carries_out_an_abandoned_write)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	unsigned m = follower(&f, 0), other = follower(&f, 1);
	sim_node_pause(f.s, name_of(m));
	begin(&f, &a, m, "/v3/kv/put", "{\"key\":\"aw==\",\"value\":\"dg==\"}", 300, PLAIN);
	await(&f, &a);
	cr_assert_eq(a.code, ERR_UNKNOWN);
	put(&f, other, "{\"key\":\"aw==\",\"value\":\"dw==\"}");
	cr_assert_str_eq(sim_etcd_get(f.c, "k"), "w");
	sim_node_resume(f.s, name_of(m));
	sim_run_for(f.s, 100);
	cr_assert_str_eq(sim_etcd_get(f.c, "k"), "v");
	close_cluster(&f);
}

/* Fact 1: without a write a cut-off member answers from what it knew. */
Test(sim_etcd, a_comparison_alone_is_answered_stale)
{
	struct fixture f = open_cluster(3);
	unsigned m = follower(&f, 0);
	const char *compare = "{\"compare\":[{\"key\":\"aw==\",\"target\":\"CREATE\","
			      "\"create_revision\":\"0\"}]}";
	struct ask a;
	sim_cut_both(f.s, name_of(m), name_of(sim_etcd_leader(f.c)));
	sim_cut_both(f.s, name_of(m), name_of(follower(&f, 1)));
	put(&f, sim_etcd_leader(f.c), "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	check(&f, m, "/v3/kv/txn", compare, 200, "{H,\"succeeded\":true}");
	check(&f, m, "/v3/kv/range", "{\"key\":\"aw==\",\"serializable\":true}", 200, "{H}");
	/* With a delete of nothing it needs consensus, and gets no answer. */
	begin(&f, &a, m, "/v3/kv/txn",
	      "{\"compare\":[],\"success\":[{\"request_delete_range\":{\"key\":\"eA==\"}}]}", 5000,
	      PLAIN);
	await(&f, &a);
	cr_assert_eq(a.code, ERR_UNKNOWN);
	sim_heal_all(f.s);
	sim_run_for(f.s, 500);
	check(&f, m, "/v3/kv/txn", compare, 200, "{H}");
	close_cluster(&f);
}

Test(sim_etcd, a_write_without_quorum_hangs_seven_seconds)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	unsigned leader = sim_etcd_leader(f.c);
	for (unsigned i = 1; i <= 3; i++) {
		if (i != leader)
			sim_node_crash(f.s, name_of(i));
	}
	sim_run_for(f.s, 3000); /* stepped down */
	uint64_t before = sim_now_us(f.s);
	begin(&f, &a, leader, "/v3/kv/put", "{\"key\":\"aw==\",\"value\":\"dg==\"}", 20000, PLAIN);
	await(&f, &a);
	expect(&a, 500,
	       "{\"error\":\"context deadline exceeded\",\"message\":\"context deadline exceeded\","
	       "\"code\":2}");
	buf_fini(&a.text);
	cr_assert_geq(sim_now_us(f.s) - before, 7000000u);
	/* Who asks for a leader learns at once that there is none. */
	before = sim_now_us(f.s);
	begin(&f, &a, leader, "/v3/kv/range", "{\"key\":\"aw==\"}", 20000, HASLEADER);
	await(&f, &a);
	expect(&a, 503,
	       "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\","
	       "\"code\":14}");
	buf_fini(&a.text);
	cr_assert_leq(sim_now_us(f.s) - before, 10000u);
	close_cluster(&f);
}

Test(sim_etcd, after_its_leaders_death_another_is_elected_and_leases_start_anew)
{
	struct fixture f = open_cluster(3);
	unsigned leader = sim_etcd_leader(f.c), other = follower(&f, 0);
	check(&f, other, "/v3/lease/grant", "{\"TTL\":\"2\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"2\"}");
	put(&f, other, "{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"77\"}");
	sim_node_crash(f.s, name_of(leader));
	cr_assert_eq(sim_etcd_leader(f.c), 0u);
	sim_run_for(f.s, 2100);
	cr_assert_neq(sim_etcd_leader(f.c), 0u);
	cr_assert_neq(sim_etcd_leader(f.c), leader);
	sim_run_for(f.s, 1800); /* 3.9 s after the only renewal of a lease of 2 s */
	cr_assert_not_null(sim_etcd_get(f.c, "k"));
	sim_run_for(f.s, 2500);
	cr_assert_null(sim_etcd_get(f.c, "k"));
	close_cluster(&f);
}

/* E6: nobody could replace the frozen leader; by its clock the lease has run out. */
Test(sim_etcd, a_frozen_cluster_revokes_at_the_thaw)
{
	struct fixture f = open_cluster(3);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"77\"}");
	for (unsigned i = 1; i <= 3; i++)
		sim_node_pause(f.s, name_of(i));
	sim_run_for(f.s, 15000);
	cr_assert_not_null(sim_etcd_get(f.c, "k"));
	for (unsigned i = 1; i <= 3; i++)
		sim_node_resume(f.s, name_of(i));
	sim_run_for(f.s, 1000);
	cr_assert_null(sim_etcd_get(f.c, "k"));
	close_cluster(&f);
}

/* The other half of E6: killed followers; the leader steps down, and nothing is revoked. */
Test(sim_etcd, a_lost_quorum_revokes_nothing)
{
	struct fixture f = open_cluster(3);
	unsigned a = follower(&f, 0), b = follower(&f, 1);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"77\"}");
	sim_node_crash(f.s, name_of(a));
	sim_node_crash(f.s, name_of(b));
	sim_run_for(f.s, 15000);
	sim_node_start(f.s, name_of(a));
	sim_node_start(f.s, name_of(b));
	sim_run_for(f.s, 3000);
	cr_assert_neq(sim_etcd_leader(f.c), 0u);
	cr_assert_not_null(sim_etcd_get(f.c, "k"));
	close_cluster(&f);
}

/* Fact 3: a deposed leader that is cut off says OK for a while, and it means nothing. */
Test(sim_etcd, a_deposed_leader_confirms_renewals)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	unsigned leader = sim_etcd_leader(f.c);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"2\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"2\"}");
	for (unsigned i = 1; i <= 3; i++) {
		if (i != leader)
			sim_cut_both(f.s, name_of(leader), name_of(i));
	}
	sim_run_for(f.s, 1000);
	check(&f, leader, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\",\"TTL\":\"2\"}}\n");
	sim_run_for(f.s, 4000);
	begin(&f, &a, leader, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 300, PLAIN);
	await(&f, &a);
	cr_assert_eq(a.code, ERR_UNKNOWN);
	close_cluster(&f);
}

Test(sim_etcd, a_deposed_leader_answers_although_its_successor_is_dead)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	unsigned leader = sim_etcd_leader(f.c);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"60\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"60\"}");
	for (unsigned i = 1; i <= 3; i++) {
		if (i != leader)
			sim_cut_both(f.s, name_of(leader), name_of(i));
	}
	for (int i = 0; i < 2000 && (sim_etcd_leader(f.c) == leader || !sim_etcd_leader(f.c)); i++)
		sim_run_for(f.s, 1);
	unsigned next = sim_etcd_leader(f.c);
	cr_assert(next != 0 && next != leader);
	sim_node_crash(f.s, name_of(next));
	begin(&f, &a, leader, "/v3/lease/timetolive", "{\"ID\":\"77\"}", 300, PLAIN);
	await(&f, &a);
	cr_assert_eq(a.code, ERR_OK);
	cr_assert_eq(a.status, 200);
	buf_fini(&a.text);
	close_cluster(&f);
}

Test(sim_etcd, a_watch_on_a_cut_off_member_is_silent_unless_it_demands_a_leader)
{
	struct fixture f = open_cluster(3);
	struct ask silent, told;
	unsigned m = follower(&f, 0), other = follower(&f, 1), leader = sim_etcd_leader(f.c);
	const char *body = "{\"create_request\":{\"key\":\"aw==\"}}";
	begin(&f, &silent, m, "/v3/watch", body, 600000, STREAM);
	begin(&f, &told, m, "/v3/watch", body, 600000, STREAM | HASLEADER);
	sim_run_for(f.s, 100);
	sim_cut_both(f.s, name_of(m), name_of(other));
	sim_cut_both(f.s, name_of(m), name_of(leader));
	put(&f, leader, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	sim_run_for(f.s, 5000);
	cr_assert(told.ended);
	cr_assert_not_null(strstr(told.text.data, "\"grpc_code\":14,\"http_code\":503"));
	sim_run_for(f.s, 40000);
	cr_assert_not(silent.ended);
	cr_assert_null(strstr(silent.text.data, "events"));
	sim_heal_all(f.s);
	sim_run_for(f.s, 1000);
	cr_assert_not_null(strstr(silent.text.data, "events"));
	buf_fini(&silent.text);
	buf_fini(&told.text);
	close_cluster(&f);
}

Test(sim_etcd, without_space_deletions_and_renewals_go_on)
{
	struct fixture f = open_cluster(1);
	const char *full = "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"message\":"
			   "\"etcdserver: mvcc: database space exceeded\",\"code\":8}";
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	sim_etcd_set_nospace(f.c, true);
	check(&f, 1, "/v3/kv/put", "{\"key\":\"aw==\"}", 429, full);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\"}", 429, full);
	check(&f, 1, "/v3/kv/txn", "{\"failure\":[{\"request_put\":{\"key\":\"aw==\"}}]}", 429,
	      full); /* also in the branch that is not taken */
	check(&f, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\",\"TTL\":\"5\"}}\n");
	check(&f, 1, "/v3/kv/deleterange", "{\"key\":\"aw==\"}", 200, "{H,\"deleted\":\"1\"}");
	close_cluster(&f);
}

/* E5: everything looks the same, but the revision went back. */
Test(sim_etcd, a_restored_backup_goes_back_in_revision_only)
{
	struct fixture f = open_cluster(3);
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	struct sim_etcd_backup *b = sim_etcd_backup(f.c);
	for (int i = 0; i < 20; i++)
		put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dw==\"}");
	cr_assert_eq(sim_etcd_revision(f.c), 22u);
	sim_etcd_restore(f.c, b);
	cr_assert_eq(sim_etcd_revision(f.c), 2u);
	cr_assert_str_eq(sim_etcd_get(f.c, "k"), "v");
	sim_run_for(f.s, 100);
	check(&f, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\",\"TTL\":\"5\"}}\n");
	put(&f, 2, "{\"key\":\"aw==\",\"value\":\"dw==\"}");
	cr_assert_eq(sim_etcd_revision(f.c), 3u);
	sim_etcd_backup_free(b);
	close_cluster(&f);
}

/* What piled up at a frozen leader does not save a lease that has run out by its clock. */
Test(sim_etcd, a_lease_that_has_run_out_is_not_renewed_at_the_thaw)
{
	struct fixture f = open_cluster(1);
	struct ask a;
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"5\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"5\"}");
	sim_node_pause(f.s, "etcd-1");
	sim_run_for(f.s, 8000);
	begin(&f, &a, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 5000, PLAIN);
	sim_run_for(f.s, 1000);
	sim_node_resume(f.s, "etcd-1");
	await(&f, &a);
	expect(&a, 200, "{\"result\":{H,\"ID\":\"77\"}}\n");
	buf_fini(&a.text);
	close_cluster(&f);
}

/* A write that waits in a log for the quorum is carried out when it returns. */
Test(sim_etcd, a_write_in_the_log_is_carried_out_late)
{
	struct fixture f = open_cluster(3);
	struct ask a;
	unsigned leader = sim_etcd_leader(f.c), one = follower(&f, 0), two = follower(&f, 1);
	sim_node_pause(f.s, name_of(one));
	sim_node_pause(f.s, name_of(two));
	begin(&f, &a, leader, "/v3/kv/put", "{\"key\":\"aw==\",\"value\":\"dg==\"}", 300, PLAIN);
	await(&f, &a);
	cr_assert_eq(a.code, ERR_UNKNOWN);
	cr_assert_null(sim_etcd_get(f.c, "k"));
	sim_node_resume(f.s, name_of(one));
	sim_run_for(f.s, 200);
	cr_assert_str_eq(sim_etcd_get(f.c, "k"), "v");
	close_cluster(&f);
}

/* #20418: a read that should see every write before it does not see the last. */
Test(sim_etcd, reads_may_be_stale_when_asked_to)
{
	struct fixture f = open_cluster(1);
	put(&f, 1, "{\"key\":\"aw==\",\"value\":\"dg==\"}");
	sim_etcd_set_stale_reads(f.c, 1000000);
	check(&f, 1, "/v3/kv/range", "{\"key\":\"aw==\"}", 200, "{H}");
	sim_etcd_set_stale_reads(f.c, 0);
	close_cluster(&f);
}

Test(sim_etcd, moving_the_leader_starts_leases_anew)
{
	struct fixture f = open_cluster(3);
	unsigned before = sim_etcd_leader(f.c);
	check(&f, 1, "/v3/lease/grant", "{\"TTL\":\"3\",\"ID\":\"77\"}", 200,
	      "{H,\"ID\":\"77\",\"TTL\":\"3\"}");
	sim_run_for(f.s, 2000);
	sim_etcd_move_leader(f.c);
	cr_assert_neq(sim_etcd_leader(f.c), before);
	sim_run_for(f.s, 3500);
	check(&f, 1, "/v3/lease/keepalive", "{\"ID\":\"77\"}", 200,
	      "{\"result\":{H,\"ID\":\"77\",\"TTL\":\"3\"}}\n");
	close_cluster(&f);
}
