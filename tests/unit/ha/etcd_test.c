/* The client against two members that say what they are told to say. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ha/etcd.h"
#include "world/sim/sim.h"

struct member {
	struct world *w;
	struct world_server server;
	unsigned term, heard;
	bool silent;
};

static void on_request(struct world_server *s, struct world_request *r)
{
	struct member *m = MEM_OWNER(s, struct member, server);
	char text[256];
	m->heard++;
	if (m->silent)
		return;
	int n = snprintf(text, sizeof text,
			 "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\","
			 "\"revision\":\"9\",\"raft_term\":\"%u\"},\"ID\":\"7\",\"TTL\":\"5\"}}",
			 m->term);
	world_reply(m->w, r, 200, text, (size_t)n);
}

static void on_gone(struct world_server *s, struct world_request *r)
{
	(void)s, (void)r;
}

static void *member_start(struct world *w, void *ctx, const char *const *argv)
{
	struct member *m = ctx;
	struct err e;
	(void)argv;
	m->w = w;
	m->server = (struct world_server){.on_request = on_request, .on_gone = on_gone};
	cr_assert_eq(world_listen(w, &m->server,
				  &(struct world_listen_spec){.address = "0.0.0.0:2379",
							      .body_max = 4096},
				  &e),
		     ERR_OK);
	return m;
}

struct client {
	struct world *w;
	struct etcd *etcd;
	struct etcd_call call;
	struct err err;
	uint64_t term;
	bool done;
};

static void *client_start(struct world *w, void *ctx, const char *const *argv)
{
	static const char *const endpoints[] = {"http://m-1:2379", "http://m-2:2379"};
	struct client *c = ctx;
	(void)argv;
	c->w = w;
	c->etcd = etcd_create(w, &(struct etcd_config){.endpoints = endpoints,
						       .n_endpoints = 2,
						       .attempt_ms = 300,
						       .attempt_max_ms = 1250});
	return c;
}

static void client_stop(void *objects)
{
	etcd_destroy(((struct client *)objects)->etcd);
}

static const struct sim_program member_program = {.start = member_start};
static const struct sim_program client_program = {.start = client_start, .stop = client_stop};

struct fixture {
	struct sim *sim;
	struct member one, two;
	struct client client;
};

static void begin(struct fixture *f)
{
	struct sim_knobs calm = sim_knobs_calm();
	*f = (struct fixture){.one.term = 5, .two.term = 5};
	f->sim = sim_create(1, &calm);
	sim_node_add(f->sim, "m-1", &member_program, &f->one);
	sim_node_add(f->sim, "m-2", &member_program, &f->two);
	sim_node_add(f->sim, "client", &client_program, &f->client);
	sim_node_start(f->sim, "m-1");
	sim_node_start(f->sim, "m-2");
	sim_node_start(f->sim, "client");
	sim_run_for(f->sim, 10);
}

static void told(struct etcd_call *call)
{
	struct client *c = MEM_OWNER(call, struct client, call);
	c->err = call->err;
	c->term = call->answer.header.term;
	c->done = true;
	wire_answer_fini(&call->answer);
}

static void renew(void *ctx)
{
	struct client *c = ctx;
	c->done = false;
	c->call.done = told;
	etcd_start(c->etcd, &c->call, CALL_RENEW, wire_lease(7), world_now_ms(c->w) + 5000);
}

static void ask(struct fixture *f)
{
	f->client.done = false;
	sim_at(f->sim, 0, renew, &f->client);
	sim_run_until(f->sim, &f->client.done, 10000);
	cr_assert(f->client.done);
}

/* 300, 600, 1200, 1250, 1250 ms: five tries in the five seconds of a call, and not seventeen. */
Test(etcd, tries_at_a_slow_member_become_fewer_and_are_counted)
{
	struct fixture f;
	struct etcd_view v;
	begin(&f);
	f.one.silent = f.two.silent = true;
	ask(&f);
	cr_assert_eq(f.client.err.code, ERR_UNKNOWN);
	etcd_view(f.client.etcd, &v);
	uint64_t unknown = v.tries->by_outcome[CALL_RENEW][TRY_UNKNOWN];
	cr_assert(unknown >= 5 && unknown <= 6, "%" PRIu64, unknown);
	cr_assert_eq(f.one.heard + f.two.heard, unknown);
	cr_assert_geq(v.tries->sum_ms[CALL_RENEW], 4500);
	f.one.silent = f.two.silent = false;
	ask(&f);
	cr_assert_eq(v.tries->by_outcome[CALL_RENEW][TRY_ANSWERED], 1);
	sim_destroy(f.sim);
}

/* A frozen leader of etcd wakes up and goes on confirming renewals for a while. */
Test(etcd, an_answer_of_an_older_term_is_none)
{
	struct fixture f;
	begin(&f);
	ask(&f); /* keep-alives begin at the second member */
	cr_assert_eq(f.client.term, 5);
	cr_assert_eq(f.two.heard, 1);
	f.one.term = 6;
	f.two.silent = true; /* so that the newer term is heard of at the first */
	ask(&f);
	cr_assert_eq(f.client.term, 6);
	unsigned before = f.two.heard;
	f.two.silent = false;
	f.one.silent = true; /* the turn comes to the second, which is behind */
	sim_at(f.sim, 0, renew, &f.client);
	sim_run_for(f.sim, 1000);
	cr_assert_gt(f.two.heard, before);
	cr_assert_not(f.client.done, "it confirms nothing");
	f.one.silent = false;
	sim_run_until(f.sim, &f.client.done, 5000);
	cr_assert_eq(f.client.err.code, ERR_OK);
	cr_assert_eq(f.client.term, 6);
	sim_destroy(f.sim);
}

/* All of etcd was set up anew from a backup: nobody knows of the newer term any more. */
Test(etcd, a_term_that_nobody_knows_any_more_is_forgotten)
{
	struct fixture f;
	begin(&f);
	ask(&f);
	f.one.term = f.two.term = 3;
	sim_run_for(f.sim, 11000);
	ask(&f);
	cr_assert_eq(f.client.err.code, ERR_OK);
	cr_assert_eq(f.client.term, 3);
	sim_destroy(f.sim);
}
