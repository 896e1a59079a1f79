/* A standby passes requests on: marked, once, repeated only where that does no harm. Three
 * simulated processes: "standby" with the proxy, and two that may lead. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rest/proxy.h"
#include "rest/reply.h"
#include "world/sim/sim.h"

struct peer { /* one that may lead */
	struct world *w;
	struct world_server server;
	int status;        /* what it answers; 0: nothing */
	const char *epoch; /* that it names; NULL: none */
	unsigned heard;
	char body[64], mark[64];
};

static void peer_request(struct world_server *s, struct world_request *r)
{
	struct peer *p = MEM_OWNER(s, struct peer, server);
	const char *mark = r->header(r, PROXY_HEADER);
	p->heard++;
	snprintf(p->body, sizeof(p->body), "%s %s?%s %s", r->method, r->path, r->query, r->body);
	snprintf(p->mark, sizeof(p->mark), "%s", mark ? mark : "");
	p->server.stamp = (struct world_header){p->epoch ? PROXY_EPOCH : NULL, p->epoch};
	if (p->status)
		world_reply(p->w, r, p->status, "{}", 2);
}

static void peer_gone(struct world_server *s, struct world_request *r)
{
	(void)s, (void)r;
}

static void *peer_start(struct world *w, void *ctx, const char *const *argv)
{
	struct peer *p = ctx;
	struct err e;
	(void)argv;
	p->w = w;
	p->server = (struct world_server){.on_request = peer_request, .on_gone = peer_gone};
	cr_assert(eq(
		int,
		world_listen(w, &p->server,
			     &(struct world_listen_spec){.address = "0.0.0.0:80", .body_max = 1000},
			     &e),
		ERR_OK));
	return p;
}

struct standby {
	struct world *w;
	struct world_server server;
	struct proxy *proxy;
	bool repeatable, hold;
	unsigned handled; /* came back: we lead */
};

static void standby_request(struct world_server *s, struct world_request *r)
{
	struct standby *b = MEM_OWNER(s, struct standby, server);
	if (b->hold)
		proxy_hold(b->proxy, r);
	else
		proxy_forward(b->proxy, r, b->repeatable, NULL);
}

static void standby_gone(struct world_server *s, struct world_request *r)
{
	cr_assert(proxy_gone(MEM_OWNER(s, struct standby, server)->proxy, r));
}

static void *standby_start(struct world *w, void *ctx, const char *const *argv)
{
	struct standby *b = ctx;
	struct err e;
	(void)argv;
	b->w = w;
	b->server = (struct world_server){.on_request = standby_request, .on_gone = standby_gone};
	cr_assert(eq(
		int,
		world_listen(w, &b->server,
			     &(struct world_listen_spec){.address = "0.0.0.0:80", .body_max = 1000},
			     &e),
		ERR_OK));
	b->proxy = proxy_create(w, "jm-s", NULL);
	return b;
}

static void standby_stop(void *objects)
{
	proxy_destroy(((struct standby *)objects)->proxy);
}

struct client {
	struct world *w;
	struct world_http http;
	bool done;
	int status;
	enum errc code;
	char epoch[24];
};

static void client_done(struct world_http *h, const struct world_reply *reply)
{
	struct client *c = MEM_OWNER(h, struct client, http);
	const char *epoch = reply->code == ERR_OK ? reply->header(reply, PROXY_EPOCH) : NULL;
	c->done = true;
	snprintf(c->epoch, sizeof(c->epoch), "%s", epoch ? epoch : "");
	c->status = reply->status;
	c->code = reply->code;
}

static void *client_start(struct world *w, void *ctx, const char *const *argv)
{
	struct client *c = ctx;
	(void)argv;
	c->w = w;
	return c;
}

struct fixture {
	struct sim *sim;
	struct peer one, two;
	struct standby standby;
	struct client client;
};

static const struct sim_program peer_program = {.start = peer_start};
static const struct sim_program standby_program = {.start = standby_start, .stop = standby_stop};
static const struct sim_program client_program = {.start = client_start};

static void begin(struct fixture *f)
{
	struct sim_knobs calm = sim_knobs_calm();
	*f = (struct fixture){.one.status = 200, .two.status = 200};
	f->sim = sim_create(1, &calm);
	sim_node_add(f->sim, "one", &peer_program, &f->one);
	sim_node_add(f->sim, "two", &peer_program, &f->two);
	sim_node_add(f->sim, "standby", &standby_program, &f->standby);
	sim_node_add(f->sim, "client", &client_program, &f->client);
	sim_node_start(f->sim, "one");
	sim_node_start(f->sim, "two");
	sim_node_start(f->sim, "standby");
	sim_node_start(f->sim, "client");
	sim_run_for(f->sim, 10);
}

struct later {
	struct fixture *f;
	const char *address;
	uint64_t epoch;
};

static void now_leads(void *ctx)
{
	struct later *l = ctx;
	proxy_leader(l->f->standby.proxy, l->address, l->epoch);
}

static void leads(struct fixture *f, struct later *l, const char *address, uint64_t epoch,
		  uint64_t in_ms)
{
	*l = (struct later){f, address, epoch};
	sim_at(f->sim, in_ms, now_leads, l);
}

static void ask_now(void *ctx)
{
	struct fixture *f = ctx;
	f->client.http = (struct world_http){.on_end = client_done};
	world_http_start(f->client.w, &f->client.http,
			 &(struct world_http_spec){.method = "POST",
						   .url = "http://standby:80/v1/jobs/a%20b?x=%31",
						   .body = "hello",
						   .body_len = 5,
						   .reply_max = 1000,
						   .timeout_ms = 60000});
}

static void ask(struct fixture *f)
{
	sim_at(f->sim, 0, ask_now, f);
	sim_run_until(f->sim, &f->client.done, 60000);
}

Test(proxy, a_request_is_passed_on_marked)
{
	struct fixture f;
	struct later l;
	begin(&f);
	leads(&f, &l, "one:80", 7, 0);
	ask(&f);
	cr_assert(eq(int, f.client.status, 200));
	cr_assert(eq(str, f.one.body, "POST /v1/jobs/a b?x=%31 hello"));
	cr_assert(eq(str, f.one.mark, "jm-s"));
	sim_destroy(f.sim);
}

Test(proxy, it_waits_for_a_leader_and_gives_up_in_time)
{
	struct fixture f;
	struct later l;
	begin(&f);
	leads(&f, &l, "one:80", 7, 2000);
	ask(&f);
	cr_assert(eq(int, f.client.status, 200));
	f.client.done = false;
	leads(&f, &l, NULL, 0, 0);
	sim_run_for(f.sim, 1);
	uint64_t start = sim_now_us(f.sim);
	ask(&f);
	cr_assert(eq(int, f.client.status, 503));
	cr_assert(sim_now_us(f.sim) - start < (PROXY_WAIT_MS + 100) * 1000);
	sim_destroy(f.sim);
}

Test(proxy, what_was_surely_not_done_is_repeated_once_at_the_next_leader)
{
	struct fixture f;
	struct later l, m;
	begin(&f);
	f.one.status = 503;
	leads(&f, &l, "one:80", 7, 0);
	leads(&f, &m, "two:80", 8, 500);
	ask(&f);
	cr_assert(eq(int, f.client.status, 200));
	cr_assert(eq(u32, f.one.heard, 1));
	cr_assert(eq(u32, f.two.heard, 1));
	sim_destroy(f.sim);
}

static void crash_one(void *ctx)
{
	sim_node_crash(((struct fixture *)ctx)->sim, "one");
}

Test(proxy, what_may_have_happened_is_not_repeated_unless_that_does_no_harm)
{
	for (int repeatable = 0; repeatable < 2; repeatable++) {
		struct fixture f;
		struct later l, m;
		begin(&f);
		f.one.status = 0;
		f.standby.repeatable = repeatable;
		leads(&f, &l, "one:80", 7, 0);
		leads(&f, &m, "two:80", 8, 500);
		sim_at(f.sim, 100, crash_one, &f);
		ask(&f);
		cr_assert(eq(int, f.client.status, repeatable ? 200 : 503));
		cr_assert(eq(u32, f.one.heard, 1));
		cr_assert(eq(u32, f.two.heard, repeatable ? 1 : 0));
		sim_destroy(f.sim);
	}
}

/* Its kernel keeps the connection open: no end will tell. */
Test(proxy, a_frozen_leader_is_not_waited_for_once_another_leads)
{
	for (int repeatable = 0; repeatable < 2; repeatable++) {
		struct fixture f;
		struct later l, m;
		begin(&f);
		f.one.status = 0;
		f.standby.repeatable = repeatable;
		leads(&f, &l, "one:80", 7, 0);
		leads(&f, &m, "two:80", 8, 500);
		uint64_t start = sim_now_us(f.sim);
		ask(&f);
		cr_assert(eq(int, f.client.status, repeatable ? 200 : 503));
		cr_assert(eq(u32, f.two.heard, repeatable ? 1 : 0));
		cr_assert(sim_now_us(f.sim) - start <
			  (repeatable ? 600 : PROXY_TIMEOUT_MS + 1000) * UINT64_C(1000));
		sim_destroy(f.sim);
	}
}

static void handle(void *owner, struct world_request *r, const char *body)
{
	struct fixture *f = owner;
	f->standby.handled++;
	cr_assert(eq(str, (char *)(uintptr_t)body, "hello"));
	world_reply(f->standby.w, r, 202, "{}", 2);
}

static void we_lead(void *ctx)
{
	struct fixture *f = ctx;
	proxy_ours(f->standby.proxy, handle, f);
}

Test(proxy, answers_name_their_epoch_and_an_old_one_is_dropped)
{
	struct fixture f;
	struct later one, two;
	begin(&f);
	f.one.epoch = "7";
	leads(&f, &one, "one:80", 7, 0);
	ask(&f);
	cr_expect(eq(str, f.client.epoch, "7"));
	cr_expect(eq(int, f.client.status, 200));
	sim_destroy(f.sim);

	/* a leader that cannot do it now is no reason to look for another */
	begin(&f);
	f.one.epoch = "7";
	f.one.status = 503;
	leads(&f, &one, "one:80", 7, 0);
	ask(&f);
	cr_expect(eq(int, f.client.status, 503));
	cr_expect(eq(str, f.client.epoch, "7"));
	cr_expect(lt(u64, sim_now_us(f.sim), 1000000), "at once");
	sim_destroy(f.sim);

	/* its address is known as that of a later leader; what it says is from before */
	begin(&f);
	f.standby.repeatable = true;
	f.one.epoch = "7";
	f.one.status = 404;
	f.two.epoch = "9";
	leads(&f, &one, "one:80", 8, 0);
	leads(&f, &two, "two:80", 9, 50);
	ask(&f);
	cr_expect(eq(uint, f.one.heard, 1));
	cr_expect(eq(str, f.client.epoch, "9"));
	cr_expect(eq(int, f.client.status, 200));
	sim_destroy(f.sim);
}

Test(proxy, it_hands_back_what_waits_when_we_come_to_lead)
{
	struct fixture f;
	struct later l;
	begin(&f);
	f.one.status = 503;
	leads(&f, &l, "one:80", 7, 0);
	sim_at(f.sim, 300, we_lead, &f);
	ask(&f);
	cr_assert(eq(int, f.client.status, 202));
	cr_assert(eq(u32, f.standby.handled, 1));
	sim_destroy(f.sim);
	/* and what hangs at a leader that is frozen */
	begin(&f);
	f.one.status = 0;
	f.standby.repeatable = true;
	leads(&f, &l, "one:80", 7, 0);
	sim_at(f.sim, 300, we_lead, &f);
	ask(&f);
	cr_assert(eq(int, f.client.status, 202));
	sim_destroy(f.sim);
}

Test(proxy, what_was_forwarded_to_us_waits_for_us_alone)
{
	for (int we = 0; we < 2; we++) {
		struct fixture f;
		struct later l, m;
		begin(&f);
		f.standby.hold = true;
		leads(&f, &l, "one:80", 7, 0);
		if (we)
			sim_at(f.sim, 300, we_lead, &f);
		else
			leads(&f, &m, "two:80", 8, 300);
		ask(&f);
		cr_assert(eq(int, f.client.status, we ? 202 : 503));
		cr_assert(eq(u32, f.one.heard + f.two.heard, 0));
		sim_destroy(f.sim);
	}
}
