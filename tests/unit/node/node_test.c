/* Three whole JobManagers on a simulated etcd: what REST promises while leaders come and go. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/prng.h"
#include "jobmanager/node.h"
#include "world/sim/sim.h"
#include "world/sim/sim_blob.h"
#include "world/sim/sim_etcd.h"

enum { NODES = 3, SUBMISSIONS = 30, REPLY_MAX = 1 << 20 };

struct fixture;

struct member {
	struct fixture *f;
	char name[8];
	struct blob_port *port;
	struct jm_node *node;
};

struct client {
	struct world *w;
	struct world_http http;
	const char *method, *body;
	char url[256];
	bool done;
	int status;
	enum errc code;
	char text[1 << 16];
};

struct fixture {
	struct sim *sim;
	struct sim_etcd *etcd;
	struct sim_blob *blobs;
	struct member members[NODES];
	struct client client;
};

static void *member_start(struct world *w, void *ctx, const char *const *argv)
{
	struct member *m = ctx;
	struct err e;
	(void)argv;
	struct jm_node_config config = {
		.listen = "0.0.0.0:8081", .cluster_listen = "0.0.0.0:6123", .advertise = m->name};
	config.ha = (struct ha_config){.prefix = "weir",
				       .cluster = "test",
				       .endpoints = {"http://etcd-1:2379"},
				       .n_endpoints = 1,
				       .id = m->name};
	config.jm.storage = "sim://store";
	m->port = sim_blob_port_create(m->f->blobs, w);
	m->node = jm_node_create(w, &config, m->port, &e);
	cr_assert(m->node != NULL, "%s", e.text);
	return m;
}

static void member_stop(void *objects)
{
	struct member *m = objects;
	jm_node_destroy(m->node);
	sim_blob_port_destroy(m->port);
	m->node = NULL;
}

static void *client_start(struct world *w, void *ctx, const char *const *argv)
{
	struct client *c = ctx;
	(void)argv;
	c->w = w;
	return c;
}

static const struct sim_program member_program = {.start = member_start, .stop = member_stop};
static const struct sim_program client_program = {.start = client_start};

static struct fixture *begin(uint64_t seed, const struct sim_knobs *knobs)
{
	struct sim_knobs calm = sim_knobs_calm();
	struct fixture *f = mem_alloc(sizeof(*f));
	f->sim = sim_create(seed, knobs ? knobs : &calm);
	f->etcd = sim_etcd_create(f->sim, 1);
	f->blobs = sim_blob_create(seed, "sim://store");
	sim_node_add(f->sim, "client", &client_program, &f->client);
	sim_node_start(f->sim, "client");
	for (int i = 0; i < NODES; i++) {
		struct member *m = &f->members[i];
		m->f = f;
		snprintf(m->name, sizeof(m->name), "jm-%d", i + 1);
		sim_node_add(f->sim, m->name, &member_program, m);
		sim_node_start(f->sim, m->name);
	}
	return f;
}

static void end(struct fixture *f)
{
	sim_destroy(f->sim);
	sim_blob_destroy(f->blobs);
	sim_etcd_destroy(f->etcd);
	free(f);
}

/* ---- requests ---- */

static void client_done(struct world_http *h, const struct world_reply *reply)
{
	struct client *c = MEM_OWNER(h, struct client, http);
	c->done = true;
	c->code = reply->code;
	c->status = reply->code == ERR_OK ? reply->status : 0;
	snprintf(c->text, sizeof(c->text), "%s", reply->body ? reply->body : "");
}

static void client_go(void *ctx)
{
	struct client *c = ctx;
	c->http = (struct world_http){.on_end = client_done};
	world_http_start(c->w, &c->http,
			 &(struct world_http_spec){.method = c->method,
						   .url = c->url,
						   .body = c->body,
						   .body_len = strlen(c->body),
						   .reply_max = REPLY_MAX,
						   .timeout_ms = 40000});
}

/* Its status; 0: no complete answer. */
static int ask(struct fixture *f, const char *node, const char *method, const char *path,
	       const char *body)
{
	struct client *c = &f->client;
	c->method = method;
	c->body = body;
	c->done = false;
	snprintf(c->url, sizeof(c->url), "http://%s:8081%s", node, path);
	sim_at(f->sim, 0, client_go, c);
	cr_assert(sim_run_until(f->sim, &c->done, 60000), "%s %s was never answered", method, path);
	return c->status;
}

static struct member *leader(struct fixture *f)
{
	for (int i = 0; i < NODES; i++) {
		struct member *m = &f->members[i];
		if (sim_node_running(f->sim, m->name) && jm_node_role(m->node) == HA_LEADING)
			return m;
	}
	return NULL;
}

static struct member *await_leader(struct fixture *f)
{
	for (int i = 0; i < 300 && leader(f) == NULL; i++)
		sim_run_for(f->sim, 100);
	cr_assert(leader(f) != NULL, "nobody leads");
	return leader(f);
}

static struct member *standby(struct fixture *f)
{
	struct member *l = await_leader(f);
	for (int i = 0; i < NODES; i++)
		if (&f->members[i] != l && sim_node_running(f->sim, f->members[i].name))
			return &f->members[i];
	return NULL;
}

#define JOB_A "00000000000000000000000000000001"
#define JOB_B "00000000000000000000000000000002"

static const char *job(char out[400], const char *id, const char *name)
{
	snprintf(
		out, 400,
		"{%s%s%s\"name\":\"%s\",\"operators\":[{\"uid\":\"s\",\"type\":\"source.sequence\","
		"\"from\":1,\"to\":9},{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[\"s\"]}]}",
		id ? "\"jobId\":\"" : "", id ? id : "", id ? "\"," : "", name);
	return out;
}

/* ---- tests ---- */

Test(node, a_job_accepted_the_instant_before_the_leader_dies_is_there)
{
	struct fixture *f = begin(1, NULL);
	char body[400];
	struct member *l = await_leader(f), *s = standby(f);
	cr_assert(eq(int, ask(f, s->name, "POST", "/v1/jobs", job(body, JOB_A, "a")), 202));
	cr_assert(eq(str, f->client.text, "{\"jobid\":\"" JOB_A "\"}"));
	sim_node_crash(f->sim, l->name);
	cr_assert(eq(int, ask(f, s->name, "GET", "/v1/jobs/" JOB_A "/status", ""), 200));
	cr_assert(eq(str, f->client.text, "{\"status\":\"RECONCILING\"}"));
	sim_run_for(f->sim, 1000);
	cr_assert(eq(int, ask(f, s->name, "GET", "/v1/jobs/" JOB_A "/status", ""), 200));
	cr_assert(eq(str, f->client.text, "{\"status\":\"CREATED\"}"));
	end(f);
}

Test(node, a_killed_leader_is_replaced_at_once_not_after_its_lease)
{
	struct fixture *f = begin(2, NULL);
	char body[400];
	struct member *l = await_leader(f), *s = standby(f);
	sim_run_for(f->sim, 3000);
	uint64_t start = sim_now_us(f->sim);
	sim_node_crash(f->sim, l->name);
	cr_assert(eq(int, ask(f, s->name, "POST", "/v1/jobs", job(body, NULL, "a")), 202));
	cr_assert(sim_now_us(f->sim) - start < 100000, "took %d ms",
		  (int)((sim_now_us(f->sim) - start) / 1000));
	end(f);
}

Test(node, submitting_again_is_harmless_and_another_specification_is_refused)
{
	struct fixture *f = begin(3, NULL);
	char body[400];
	struct member *l = await_leader(f), *s = standby(f);
	cr_assert(eq(int, ask(f, l->name, "POST", "/jobs", job(body, JOB_A, "a")), 202));
	cr_assert(eq(int, ask(f, s->name, "POST", "/jobs", job(body, JOB_A, "a")), 202));
	cr_assert(eq(int, ask(f, s->name, "POST", "/jobs", job(body, JOB_A, "b")), 409));
	cr_assert(eq(int, ask(f, s->name, "GET", "/jobs", ""), 200));
	cr_assert(eq(str, f->client.text,
		     "{\"jobs\":[{\"id\":\"" JOB_A "\",\"status\":\"CREATED\"}]}"));
	end(f);
}

Test(node, bad_requests_change_nothing)
{
	static const struct {
		const char *method, *path, *body;
		int status;
	} rows[] = {{"POST", "/v1/jobs", "{", 400},
		    {"POST", "/v1/jobs", "[]", 400},
		    {"POST", "/v1/jobs", "", 400},
		    {"POST", "/v1/jobs", "{\"name\":\"x\"}", 400},
		    {"POST", "/v1/jobs", "{\"jobId\":7}", 400},
		    {"POST", "/v1/jobs", "{\"jobId\":\"x\"}", 400},
		    {"GET", "/v1/jobs/x", "", 400},
		    {"GET", "/v1/jobs/" JOB_B, "", 404},
		    {"GET", "/v1/jobs/" JOB_B "/checkpoints", "", 404},
		    {"PATCH", "/v1/jobs/" JOB_B "?mode=cancel", "", 404},
		    {"PATCH", "/v1/jobs/" JOB_B "?mode=stop", "", 400},
		    {"GET", "/v1/nothing", "", 404},
		    {"DELETE", "/v1/jobs", "", 405}};
	struct fixture *f = begin(4, NULL);
	await_leader(f);
	sim_run_for(f->sim, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = ask(f, standby(f)->name, rows[i].method, rows[i].path, rows[i].body);
		cr_expect(eq(int, status, rows[i].status), "%s %s", rows[i].method, rows[i].path);
		json_t *o = json_loads(f->client.text, 0, NULL);
		cr_expect(json_array_size(json_object_get(o, "errors")) == 1, "%s", f->client.text);
		cr_expect(eq(sz, json_object_size(o), 1));
		json_decref(o);
	}
	cr_assert(eq(int, ask(f, "jm-1", "GET", "/v1/jobs", ""), 200));
	cr_assert(eq(str, f->client.text, "{\"jobs\":[]}"));
	end(f);
}

Test(node, a_canceled_job_stays_canceled_for_the_next_leader)
{
	struct fixture *f = begin(5, NULL);
	char body[400];
	struct member *l = await_leader(f), *s = standby(f);
	cr_assert(eq(int, ask(f, l->name, "POST", "/jobs", job(body, JOB_A, "a")), 202));
	cr_assert(eq(int, ask(f, s->name, "PATCH", "/jobs/" JOB_A "?mode=cancel", ""), 202));
	sim_run_for(f->sim, 2000);
	sim_node_crash(f->sim, l->name);
	sim_run_for(f->sim, 8000);
	cr_assert(eq(int, ask(f, s->name, "GET", "/jobs/" JOB_A "/status", ""), 200));
	cr_assert(eq(str, f->client.text, "{\"status\":\"CANCELED\"}"));
	cr_assert(eq(int, ask(f, s->name, "PATCH", "/jobs/" JOB_A "?mode=cancel", ""), 202));
	/* Its id is not free again. */
	cr_assert(eq(int, ask(f, s->name, "POST", "/jobs", job(body, JOB_A, "other")), 409));
	end(f);
}

/* 404 would mean that there is none. */
Test(node, a_leader_that_has_not_read_a_specification_yet_says_so)
{
	static const char body[] =
		"{\"jobId\":\"" JOB_A "\",\"name\":\"a\",\"checkpointing\":{\"interval\":\"1s\"},"
		"\"operators\":[{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":9},"
		"{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[\"s\"]}]}";
	static const char *const paths[] = {"/jobs/" JOB_A "/specification",
					    "/jobs/" JOB_A "/checkpoints/config"};
	struct fixture *f = begin(40, NULL);
	struct member *l = await_leader(f);
	cr_assert(eq(int, ask(f, l->name, "POST", "/jobs", body), 202));
	sim_run_for(f->sim, 1000);
	sim_node_crash(f->sim, l->name);
	for (int i = 0; i < 10000 && leader(f) == NULL; i++)
		sim_run_for(f->sim, 1);
	sim_node_pause(f->sim, "etcd-1"); /* the documents are read, the specification is not */
	l = await_leader(f);
	for (int i = 0; i < 2; i++) {
		cr_expect(eq(int, ask(f, l->name, "GET", paths[i], ""), 503), "%s", f->client.text);
		cr_expect(strstr(f->client.text, "has not been read yet") != NULL, "%s",
			  f->client.text);
	}
	sim_node_resume(f->sim, "etcd-1");
	sim_run_for(f->sim, 3000);
	for (int i = 0; i < 2; i++)
		cr_expect(eq(int, ask(f, l->name, "GET", paths[i], ""), 200), "%s", f->client.text);
	end(f);
}

/* Whoever opens the job dies, three times in a row. */
static void quarantine(struct fixture *f, const char *id)
{
	char moment[64], path[64];
	snprintf(moment, sizeof(moment), "leader-open-%s", id);
	for (int i = 0; i < 3 * NODES; i++)
		sim_kill_at(f->sim, f->members[i % NODES].name, moment, 1);
	sim_node_crash(f->sim, await_leader(f)->name);
	snprintf(path, sizeof(path), "/jobs/%s", id);
	for (int i = 0; i < 100; i++) {
		sim_run_for(f->sim, 1000);
		for (int k = 0; k < NODES; k++)
			sim_node_start(f->sim, f->members[k].name);
		if (ask(f, "jm-1", "GET", path, "") == 200 && strstr(f->client.text, "quarantine"))
			return;
	}
	cr_assert(false, "it is not quarantined: %s", f->client.text);
}

Test(node, a_quarantined_job_is_shown_and_not_cancelled)
{
	struct fixture *f = begin(29, NULL);
	char body[400];
	cr_assert(eq(int, ask(f, await_leader(f)->name, "POST", "/jobs", job(body, JOB_A, "a")),
		     202));
	sim_run_for(f->sim, 1000);
	quarantine(f, JOB_A);
	cr_assert(eq(int, ask(f, "jm-1", "PATCH", "/jobs/" JOB_A "?mode=cancel", ""), 503));
	cr_assert(strstr(f->client.text, "release it first") != NULL, "%s", f->client.text);
	end(f);
}

static void resigned(void *ctx)
{
	*(bool *)ctx = true;
}

struct resigning {
	struct member *m;
	bool done;
};

static void resign(void *ctx)
{
	struct resigning *r = ctx;
	jm_node_resign(r->m->node, resigned, &r->done);
}

Test(node, a_leader_that_is_asked_to_stop_hands_over)
{
	struct fixture *f = begin(6, NULL);
	char body[400];
	struct resigning r = {.m = await_leader(f)};
	struct member *s = standby(f);
	sim_run_for(f->sim, 2000);
	sim_at(f->sim, 0, resign, &r);
	cr_assert(sim_run_until(f->sim, &r.done, 1000));
	uint64_t start = sim_now_us(f->sim);
	cr_assert(eq(int, ask(f, s->name, "POST", "/jobs", job(body, NULL, "a")), 202));
	cr_assert(sim_now_us(f->sim) - start < 50000);
	end(f);
}

Test(node, without_etcd_nothing_is_accepted_and_nothing_is_not_found)
{
	struct fixture *f = begin(7, NULL);
	char body[400];
	struct member *l = await_leader(f);
	sim_run_for(f->sim, 1000);
	sim_node_pause(f->sim, "etcd-1");
	sim_run_for(f->sim, 20000);
	cr_assert(eq(int, jm_node_role(l->node), HA_SUSPENDED));
	cr_assert(eq(int, ask(f, l->name, "POST", "/jobs", job(body, JOB_A, "a")), 503));
	cr_assert(eq(int, ask(f, l->name, "GET", "/jobs/" JOB_B, ""), 503));
	cr_assert(eq(int, ask(f, l->name, "GET", "/v1/cluster", ""), 200));
	cr_assert(eq(int, ask(f, l->name, "GET", "/healthz", ""), 200));
	sim_node_resume(f->sim, "etcd-1");
	sim_run_for(f->sim, 10000);
	cr_assert(eq(int, ask(f, l->name, "GET", "/jobs/" JOB_B, ""), 404));
	end(f);
}

static bool says(struct fixture *f, const char *node, const char *path, const char *text)
{
	cr_assert(eq(int, ask(f, node, "GET", path, ""), 200), "%s: %s", path, f->client.text);
	return strstr(f->client.text, text) != NULL;
}

Test(node, a_suspended_leader_answers_and_says_why_decisions_wait)
{
	struct fixture *f = begin(9, NULL);
	char body[400];
	struct member *l = await_leader(f);
	cr_assert(eq(int, ask(f, l->name, "POST", "/v1/jobs", job(body, JOB_A, "a")), 202));
	cr_expect(says(f, l->name, "/v1/overview", "\"suspended\":false"));
	sim_node_pause(f->sim, "etcd-1");
	sim_run_for(f->sim, 20000);
	cr_expect(says(f, l->name, "/v1/overview", "\"suspended\":true"));
	cr_expect(says(f, l->name, "/v1/overview", "decisions wait: leadership is suspended"));
	cr_expect(says(f, l->name, "/v1/jobs/" JOB_A, "\"waits\":\"leadership is suspended"));
	cr_expect(says(f, l->name, "/readyz", "ready"));
	cr_expect(says(f, l->name, "/metrics", "weir_suspended 1"));
	sim_node_resume(f->sim, "etcd-1");
	sim_run_for(f->sim, 10000);
	cr_expect(says(f, l->name, "/v1/overview", "\"suspended\":false"));
	cr_expect(not(says(f, l->name, "/v1/overview", "decisions wait")));
	end(f);
}

/* Its TaskManagers hear it, and would not look for the next one. */
Test(node, a_leader_cut_off_from_etcd_alone_gives_way_to_the_next)
{
	struct fixture *f = begin(8, NULL);
	struct member *old = await_leader(f);
	sim_run_for(f->sim, 1000);
	sim_cut_both(f->sim, old->name, "etcd-1");
	sim_run_for(f->sim, 4000);
	struct member *next = await_leader(f);
	for (int i = 0; i < 300 && next == old; i++) {
		sim_run_for(f->sim, 100);
		next = await_leader(f);
	}
	cr_assert(next != old);
	sim_run_for(f->sim, 500);
	cr_assert(ne(int, jm_node_role(old->node), HA_SUSPENDED), "it keeps its TaskManagers");
	end(f);
}

Test(node, storage_that_is_away_is_said_and_heals)
{
	struct fixture *f = begin(10, NULL);
	sim_blob_set_down(f->blobs, true);
	struct member *l = await_leader(f);
	sim_run_for(f->sim, 5000);
	cr_expect(says(f, l->name, "/v1/overview", "\"degraded\":true"));
	cr_expect(says(f, l->name, "/v1/overview", "storage: "));
	cr_expect(says(f, l->name, "/readyz", "ready"));
	sim_blob_set_down(f->blobs, false);
	sim_run_for(f->sim, 5000);
	cr_expect(says(f, l->name, "/v1/overview", "\"degraded\":false"));
	end(f);
}

Test(node, each_change_of_leader_is_told_with_its_cause_and_what_was_adopted)
{
	struct fixture *f = begin(11, NULL);
	char body[400];
	struct member *l = await_leader(f);
	cr_assert(eq(int, ask(f, l->name, "POST", "/v1/jobs", job(body, JOB_A, "a")), 202));
	sim_run_for(f->sim, 3000);
	sim_node_crash(f->sim, l->name);
	sim_run_for(f->sim, 20000);
	struct member *next = await_leader(f);
	cr_assert(next != l);
	cr_expect(says(f, next->name, "/v1/cluster/failovers", "\"cause\":\"killed\""));
	cr_expect(says(f, next->name, "/v1/cluster/failovers", "\"found\":1"));
	cr_expect(says(f, next->name, "/v1/cluster/failovers", "\"cause\":\"first-leader\""));
	cr_expect(says(f, next->name, "/v1/cluster/failovers", "\"settled\":true"));
	cr_expect(not(says(f, next->name, "/v1/cluster/failovers", "\"settled\":false")));
	cr_expect(says(f, next->name, "/metrics", "weir_failovers_total{cause=\"killed\"} 1"));
	end(f);
}

/* Whoever removes files by this answer must not be told less than what was decided, though reads of
 * this etcd may be one write old. */
Test(node, what_storage_is_needed_is_told_as_of_now)
{
	struct fixture *f = begin(10, NULL);
	char body[400];
	struct member *l = await_leader(f), *s = standby(f);
	sim_run_for(f->sim, 1000);
	cr_assert(says(f, s->name, "/v1/cluster/references", "\"jobs\":[]"), "%s", f->client.text);
	sim_etcd_set_stale_reads(f->etcd, 500000);
	for (int i = 0; i < 20; i++) {
		char id[ID_TEXT];
		snprintf(id, sizeof(id), "%032d", i + 1);
		cr_assert(eq(int, ask(f, l->name, "POST", "/v1/jobs", job(body, id, "a")), 202));
		cr_assert(says(f, s->name, "/v1/cluster/references", id), "%d: %s", i,
			  f->client.text);
	}
	cr_assert(strstr(f->client.text, "\"readable\":true,\"status\":\"CREATED\",\"open\":1,"
					 "\"checkpoints\":[]}") != NULL,
		  "%s", f->client.text);
	cr_assert(strstr(f->client.text, "\"trouble\":\"\"") != NULL);
	end(f);
}

Test(node, the_cluster_has_one_identity_and_storage_is_told)
{
	struct fixture *f = begin(8, NULL);
	sim_blob_set_down(f->blobs, true);
	struct member *l = await_leader(f);
	sim_run_for(f->sim, 5000);
	cr_assert(not(sim_blob_has(f->blobs, "weir-cluster.json")));
	cr_assert(eq(int, ask(f, l->name, "GET", "/v1/overview", ""),
		     200)); /* it leads all the same */
	sim_blob_set_down(f->blobs, false);
	sim_run_for(f->sim, 5000);
	cr_assert(sim_blob_has(f->blobs, "weir-cluster.json"));
	char *before = mem_text(sim_etcd_get(f->etcd, "/weir/test/cluster"));
	sim_node_crash(f->sim, l->name);
	sim_run_for(f->sim, 10000);
	cr_assert(eq(str, (char *)(uintptr_t)sim_etcd_get(f->etcd, "/weir/test/cluster"), before));
	free(before);
	end(f);
}

/* ---- many seeds: whatever was accepted is there, whoever leads ---- */

static void random_fault(struct fixture *f, struct prng *p)
{
	struct member *m = &f->members[prng_below(p, NODES)];
	switch (prng_below(p, 5)) {
	case 0:
		sim_node_crash(f->sim, m->name);
		break;
	case 1:
		sim_node_pause(f->sim, m->name);
		break;
	case 2:
		sim_node_resume(f->sim, m->name);
		break;
	default:
		sim_node_start(f->sim, m->name);
	}
}

static void crash_leader(void *ctx)
{
	struct fixture *f = ctx;
	if (leader(f) != NULL)
		sim_node_crash(f->sim, leader(f)->name);
}

static void heal(struct fixture *f)
{
	*sim_knobs(f->sim) = sim_knobs_calm();
	for (int i = 0; i < NODES; i++) {
		sim_node_start(f->sim, f->members[i].name);
		sim_node_resume(f->sim, f->members[i].name);
	}
	sim_run_for(f->sim, 40000);
}

/* The id that a 202 named. */
static void note_id(struct fixture *f, char out[ID_TEXT])
{
	json_t *o = json_loads(f->client.text, 0, NULL);
	const char *id = json_string_value(json_object_get(o, "jobid"));
	cr_assert(id != NULL);
	snprintf(out, ID_TEXT, "%s", id);
	json_decref(o);
}

/* Every job that was accepted is there, and no submission has made two of it. */
static void check_jobs(struct fixture *f, struct prng *p, char ids[][ID_TEXT], unsigned accepted)
{
	char path[64];
	for (unsigned k = 0; k < accepted; k++) {
		snprintf(path, sizeof(path), "/v1/jobs/%s/status", ids[k]);
		int status = ask(f, f->members[prng_below(p, NODES)].name, "GET", path, "");
		cr_assert(eq(int, status, 200), "job %s: %s", ids[k], f->client.text);
	}
	/* Each submission has a name of its own. */
	cr_assert(eq(int, ask(f, "jm-1", "GET", "/v1/jobs/overview", ""), 200));
	json_t *o = json_loads(f->client.text, 0, NULL), *names = json_object(), *row;
	size_t i, quarantined = 0;
	json_array_foreach (json_object_get(o, "jobs"), i, row) {
		const char *name = json_string_value(json_object_get(row, "name"));
		if (name[0] == '\0') { /* so many leaders died that it is quarantined */
			quarantined++;
			continue;
		}
		cr_assert(json_object_get(names, name) == NULL, "%s was made twice", name);
		json_object_set_new(names, name, json_true());
	}
	cr_assert(json_object_size(names) + quarantined >= accepted);
	json_decref(names);
	json_decref(o);
}

static void one_seed(uint64_t seed)
{
	struct sim_knobs knobs = sim_knobs_of_seed(seed);
	struct fixture *f = begin(seed, &knobs);
	struct prng p;
	char ids[SUBMISSIONS][ID_TEXT], body[400], name[16];
	unsigned accepted = 0;
	prng_init(&p, seed);
	for (unsigned i = 0; i < SUBMISSIONS; i++) {
		struct job_id id;
		struct member *m = &f->members[prng_below(&p, NODES)];
		job_id_make(seed, i, &id);
		snprintf(name, sizeof(name), "j%u", i);
		job(body, prng_below(&p, 2) ? id.hex : NULL, name);
		if (prng_below(&p, 3) == 0) /* in the middle of it */
			sim_at(f->sim, prng_below(&p, 10), crash_leader, f);
		if (ask(f, m->name, "POST", "/v1/jobs", body) == 202)
			note_id(f, ids[accepted++]);
		if (prng_below(&p, 3) == 0)
			random_fault(f, &p);
		sim_run_for(f->sim, prng_below(&p, 1500));
	}
	heal(f);
	check_jobs(f, &p, ids, accepted);
	end(f);
}

Test(node, an_accepted_job_is_never_forgotten_and_none_is_made_twice)
{
	for (uint64_t seed = 1; seed <= 100; seed++)
		one_seed(seed);
}

/* ---- what TaskManagers are told ---- */

static int ask_leader(struct fixture *f, const char *node, uint64_t after)
{
	struct client *c = &f->client;
	c->method = "GET";
	c->body = "";
	c->done = false;
	snprintf(c->url, sizeof(c->url), "http://%s:6123/v1/cluster/leader?after=%d", node,
		 (int)after);
	sim_at(f->sim, 0, client_go, c);
	cr_assert(sim_run_until(f->sim, &c->done, 10000), "not answered within its time");
	return c->status;
}

static uint64_t told_epoch(struct fixture *f)
{
	json_t *o = json_loads(f->client.text, 0, NULL);
	const json_t *epoch = json_object_get(json_object_get(o, "leader"), "epoch");
	uint64_t n = (uint64_t)json_integer_value(epoch);
	json_decref(o);
	return n;
}

Test(node, who_leads_is_told_at_once_or_when_it_changes)
{
	struct fixture *f = begin(9, NULL);
	struct member *l = await_leader(f), *s = standby(f);
	sim_run_for(f->sim, 1000);
	uint64_t start = sim_now_us(f->sim);
	cr_assert(eq(int, ask_leader(f, s->name, 0), 200));
	uint64_t epoch = told_epoch(f);
	cr_assert(epoch > 0);
	cr_assert(eq(int, ask_leader(f, l->name, 0), 200));
	cr_assert(eq(u64, told_epoch(f), epoch));
	cr_assert(sim_now_us(f->sim) - start < 100000);
	sim_at(f->sim, 1000, crash_leader, f);
	cr_assert(eq(int, ask_leader(f, s->name, epoch), 200)); /* held until there is another */
	cr_assert(told_epoch(f) > epoch);
	end(f);
}

Test(node, a_standby_without_etcd_does_not_name_a_leader_that_may_be_dead)
{
	struct fixture *f = begin(10, NULL);
	struct member *l = await_leader(f), *s = standby(f);
	sim_run_for(f->sim, 1000);
	cr_assert(eq(int, ask_leader(f, s->name, 0), 200));
	uint64_t epoch = told_epoch(f);
	sim_node_pause(f->sim, "etcd-1");
	sim_run_for(f->sim, 2000);
	sim_node_crash(f->sim, l->name);
	cr_assert(eq(int, ask_leader(f, s->name, epoch), 200));
	cr_assert(eq(str, f->client.text, "{\"leader\":null}"));
	end(f);
}

/* Its body is no registration: who leads answers 400, who does not 503. */
static int register_at(struct fixture *f, const char *node)
{
	struct client *c = &f->client;
	c->method = "POST";
	c->body = "{}";
	c->done = false;
	snprintf(c->url, sizeof(c->url), "http://%s:6123/v1/cluster/taskmanagers", node);
	sim_at(f->sim, 0, client_go, c);
	cr_assert(sim_run_until(f->sim, &c->done, 10000), "not answered within its time");
	return c->status;
}

/* A TaskManager hears of the next leader as soon as the queue changes: before its barrier. */
Test(node, a_registration_that_comes_too_early_is_held_until_somebody_leads)
{
	struct fixture *f = begin(11, NULL);
	int status = register_at(f, "jm-1");
	cr_assert(eq(str, (char *)await_leader(f)->name, "jm-1"));
	cr_expect(eq(int, status, 400), "held, and looked at");
	cr_expect(eq(int, register_at(f, standby(f)->name), 503), "somebody else leads");
	end(f);
}

Test(node, an_early_registration_is_not_held_for_ever)
{
	struct fixture *f = begin(12, NULL);
	sim_node_pause(f->sim, "etcd-1");
	uint64_t start = sim_now_us(f->sim);
	cr_expect(eq(int, register_at(f, "jm-1"), 503));
	uint64_t ms = (sim_now_us(f->sim) - start) / 1000;
	cr_expect(ms >= 150 && ms < 400, "%d ms", (int)ms);
	end(f);
}
