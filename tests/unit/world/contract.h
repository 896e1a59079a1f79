/*
 * contract - the promises of world/world.h as assertions, for both worlds.
 *
 * A test program includes this file after defining the harness functions
 * below; the suites are named after CONTRACT_SUITE. Everything happens in one
 * world that talks to itself, except that a "peer" is a server in another
 * process (or node) that can be killed.
 */
#ifndef TESTS_CONTRACT_H
#define TESTS_CONTRACT_H

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "world/world.h"

struct harness {
	struct world *w;
	void *impl;
};

/* Given by the including file. */
static void harness_open(struct harness *hs);
static void harness_close(struct harness *hs);
/* Run until *flag, or fail the test after a generous while. */
static void harness_until(struct harness *hs, const bool *flag);
/* Run for this long. */
static void harness_for(struct harness *hs, uint64_t ms);
/* Start a process or node that listens; its address. Answers "/hang" never, "/stream" with "one\n"
 * and then nothing, "/drop" by closing after it has read the request, else 200 "{}". */
static const char *harness_peer(struct harness *hs);
static void harness_kill_peer(struct harness *hs);
/* An address at which nobody listens, and one that accepts and never answers. */
static const char *harness_refusing(struct harness *hs);
/* argv[0] of a program that acts on its channel, see child_program in the including files:
 * "echo X" -> "X"; "exit N"; "die" (by SIGABRT); "fds" -> the number of open descriptors
 * above 3; anything else is ignored. */
static const char *harness_child(struct harness *hs);

/* ---- timers and the clock ---- */

struct tick {
	struct world_timer timer;
	struct harness *hs;
	struct tick *cancels;
	char name;
	char *trace;
	bool *done;
	bool busy_clock;
};

static void tick_fire(struct world_timer *t)
{
	struct tick *k = MEM_OWNER(t, struct tick, timer);
	size_t len = strlen(k->trace);
	k->trace[len] = k->name;
	k->trace[len + 1] = '\0';
	uint64_t now = world_now_ms(k->hs->w);
	cr_assert_geq(now, k->timer.deadline_ms);
	cr_assert_eq(world_lateness_ms(k->hs->w), now - k->timer.deadline_ms);
	if (k->cancels)
		world_timer_cancel(k->hs->w, &k->cancels->timer);
	if (k->busy_clock) {
		uint64_t before = world_now_ms(k->hs->w);
		for (volatile int i = 0; i < 30000000; i++)
			continue;
		cr_assert_eq(world_now_ms(k->hs->w), before);
	}
	if (k->done)
		*k->done = true;
}

static struct tick tick_make(struct harness *hs, char name, char *trace)
{
	return (struct tick){.timer = {.fire = tick_fire}, .hs = hs, .name = name, .trace = trace};
}

Test(CONTRACT_SUITE, timers_fire_by_deadline_and_then_by_order_of_arming)
{
	struct harness hs;
	harness_open(&hs);
	char trace[16] = "";
	bool done = false;
	struct tick a = tick_make(&hs, 'a', trace), b = tick_make(&hs, 'b', trace),
		    c = tick_make(&hs, 'c', trace), d = tick_make(&hs, 'd', trace);
	uint64_t now = world_now_ms(hs.w);
	d.done = &done;
	world_timer_arm(hs.w, &d.timer, now + 30);
	world_timer_arm(hs.w, &a.timer, now + 20);
	world_timer_arm(hs.w, &b.timer, now + 20);
	world_timer_arm(hs.w, &c.timer, now + 20);
	world_timer_arm(hs.w, &a.timer, now + 20); /* again: to the back of the tie */
	cr_assert(world_timer_armed(&a.timer));
	cr_assert_str_eq(trace, "", "no callback runs inside the call");
	harness_until(&hs, &done);
	cr_assert_str_eq(trace, "bcad");
	cr_assert_not(world_timer_armed(&a.timer));
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_timer_that_is_cancelled_by_its_twin_does_not_fire)
{
	struct harness hs;
	harness_open(&hs);
	char trace[16] = "";
	bool done = false;
	struct tick a = tick_make(&hs, 'a', trace), b = tick_make(&hs, 'b', trace),
		    z = tick_make(&hs, 'z', trace);
	uint64_t now = world_now_ms(hs.w);
	a.cancels = &b;
	z.done = &done;
	world_timer_arm(hs.w, &a.timer, now + 10);
	world_timer_arm(hs.w, &b.timer, now + 10);
	world_timer_arm(hs.w, &z.timer, now + 20);
	harness_until(&hs, &done);
	cr_assert_str_eq(trace, "az");
	harness_close(&hs);
}

Test(CONTRACT_SUITE, the_clock_stands_still_within_a_callback)
{
	struct harness hs;
	harness_open(&hs);
	char trace[16] = "";
	bool done = false;
	struct tick a = tick_make(&hs, 'a', trace);
	a.busy_clock = true;
	a.done = &done;
	world_timer_arm(hs.w, &a.timer, world_now_ms(hs.w));
	harness_until(&hs, &done);
	harness_close(&hs);
}

/* ---- requests ---- */

struct call {
	struct world_http http;
	struct harness *hs;
	struct buf text; /* the body, or the pieces of a stream */
	enum errc code;
	enum net_cause cause;
	int status, head;
	unsigned ends;
	bool ended, pieces;
	char type[64];
};

static void call_head(struct world_http *h, int status)
{
	MEM_OWNER(h, struct call, http)->head = status;
}

static void call_chunk(struct world_http *h, const void *data, size_t len)
{
	struct call *c = MEM_OWNER(h, struct call, http);
	buf_add(&c->text, data, len);
	c->pieces = true;
}

static void call_end(struct world_http *h, const struct world_reply *reply)
{
	struct call *c = MEM_OWNER(h, struct call, http);
	const char *type = reply->status ? reply->header(reply, "content-type") : NULL;
	c->code = reply->code;
	c->cause = reply->cause;
	c->status = reply->status;
	buf_add(&c->text, reply->body, reply->body_len);
	snprintf(c->type, sizeof(c->type), "%s", type ? type : "");
	cr_assert_eq(reply->body[reply->body_len], '\0');
	cr_assert_null(h->impl);
	c->ends++;
	c->ended = true;
}

static struct world_http_spec call_spec(char *url, size_t size, const char *address,
					const char *path)
{
	snprintf(url, size, "http://%s%s", address, path);
	return (struct world_http_spec){
		.method = "GET", .url = url, .reply_max = 1 << 16, .timeout_ms = 5000};
}

static void call_start(struct harness *hs, struct call *c, const struct world_http_spec *spec)
{
	c->hs = hs;
	c->http.on_head = call_head;
	c->http.on_chunk = call_chunk;
	c->http.on_end = call_end;
	world_http_start(hs->w, &c->http, spec);
	cr_assert_not(c->ended, "no callback runs inside the call");
	cr_assert_not_null(c->http.impl);
}

static void call_check(struct call *c, enum errc code, enum net_cause cause)
{
	cr_assert_eq(c->ends, 1u);
	cr_assert_eq(c->code, code, "%s, not %s (%s)", err_name(c->code), err_name(code),
		     net_cause_name(c->cause));
	cr_assert_eq(c->cause, cause, "%s, not %s", net_cause_name(c->cause),
		     net_cause_name(cause));
	buf_fini(&c->text);
}

static void expect_fail(const char *path, uint64_t timeout_ms, enum errc code, enum net_cause cause)
{
	struct harness hs;
	char url[256];
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec =
		call_spec(url, sizeof(url), path ? harness_peer(&hs) : harness_refusing(&hs),
			  path ? path : "/");
	spec.timeout_ms = timeout_ms;
	spec.method = "POST";
	spec.body = "{}";
	spec.body_len = 2;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	call_check(&c, code, cause);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_refused_connection_is_surely_not_sent)
{
	expect_fail(NULL, 5000, ERR_NOTSENT, NET_REFUSED);
}

Test(CONTRACT_SUITE, no_answer_in_time_is_unknown)
{
	expect_fail("/hang", 150, ERR_UNKNOWN, NET_TIMEOUT);
}

Test(CONTRACT_SUITE, a_connection_closed_after_the_request_is_unknown)
{
	struct harness hs;
	char url[256];
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec = call_spec(url, sizeof(url), harness_peer(&hs), "/drop");
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	cr_assert_eq(c.code, ERR_UNKNOWN);
	cr_assert(c.cause == NET_EOF || c.cause == NET_RESET);
	buf_fini(&c.text);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_malformed_url_is_reported_at_the_end)
{
	struct harness hs;
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec = {
		.method = "GET", .url = "nonsense://", .reply_max = 100, .timeout_ms = 1000};
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	call_check(&c, ERR_NOTSENT, NET_RESOLVE);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_cancelled_request_is_never_heard_of_again)
{
	struct harness hs;
	char url[256];
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec = call_spec(url, sizeof(url), harness_peer(&hs), "/");
	call_start(&hs, &c, &spec);
	world_http_cancel(hs.w, &c.http);
	cr_assert_null(c.http.impl);
	world_http_cancel(hs.w, &c.http); /* twice: nothing */
	harness_for(&hs, 100);
	cr_assert_eq(c.ends, 0u);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_peer_that_dies_ends_its_stream_at_once)
{
	struct harness hs;
	char url[256];
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec = call_spec(url, sizeof(url), harness_peer(&hs), "/stream");
	spec.stream = true;
	spec.timeout_ms = 60000;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.pieces);
	cr_assert_eq(c.head, 200);
	cr_assert_str_eq(c.text.data, "one\n");
	uint64_t before = world_now_ms(hs.w);
	harness_kill_peer(&hs);
	harness_until(&hs, &c.ended);
	cr_assert_lt(world_now_ms(hs.w) - before, 1000u);
	cr_assert_eq(c.code, ERR_UNKNOWN);
	cr_assert(c.cause == NET_EOF || c.cause == NET_RESET);
	buf_fini(&c.text);
	/* And now nobody listens there. */
	struct call again = {0};
	spec.fresh = true;
	call_start(&hs, &again, &spec);
	harness_until(&hs, &again.ended);
	call_check(&again, ERR_NOTSENT, NET_REFUSED);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_silent_stream_ends_by_its_idle_limit)
{
	struct harness hs;
	char url[256];
	struct call c = {0};
	harness_open(&hs);
	struct world_http_spec spec = call_spec(url, sizeof(url), harness_peer(&hs), "/stream");
	spec.stream = true;
	spec.timeout_ms = 200;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	cr_assert_str_eq(c.text.data, "one\n");
	call_check(&c, ERR_UNKNOWN, NET_TIMEOUT);
	harness_close(&hs);
}

/* ---- a server of one's own ---- */

struct site {
	struct world_server server;
	struct harness *hs;
	struct world_request *held;
	bool got, gone, answers;
	char method[16], path[64], query[64], body[64], header[64];
	size_t body_len;
};

static void site_request(struct world_server *s, struct world_request *r)
{
	struct site *site = MEM_OWNER(s, struct site, server);
	const char *header = r->header(r, "X-Test");
	site->got = true;
	site->body_len = r->body_len;
	snprintf(site->method, sizeof(site->method), "%s", r->method);
	snprintf(site->path, sizeof(site->path), "%s", r->path);
	snprintf(site->query, sizeof(site->query), "%s", r->query);
	snprintf(site->body, sizeof(site->body), "%s", r->body);
	snprintf(site->header, sizeof(site->header), "%s", header ? header : "");
	if (site->answers)
		world_reply(site->hs->w, r, 202, "{\"ok\":true}", 11);
	else
		site->held = r;
}

static void site_gone(struct world_server *s, struct world_request *r)
{
	struct site *site = MEM_OWNER(s, struct site, server);
	cr_assert_eq(site->held, r);
	site->held = NULL;
	site->gone = true;
}

static void site_open(struct harness *hs, struct site *site, const char *address)
{
	struct err e;
	*site = (struct site){.hs = hs,
			      .server = {.on_request = site_request, .on_gone = site_gone}};
	struct world_listen_spec spec = {.address = address, .body_max = 1000};
	cr_assert_eq(world_listen(hs->w, &site->server, &spec, &e), ERR_OK);
}

#define OWN_ADDRESS "127.0.0.1:0"

Test(CONTRACT_SUITE, a_request_arrives_as_it_was_sent)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	site.answers = true;
	struct world_header header = {"X-Test", "some value"};
	struct world_http_spec spec =
		call_spec(url, sizeof(url), site.server.address, "/a%20b/c?x=%31&y");
	spec.method = "PATCH";
	spec.body = "hello";
	spec.body_len = 5;
	spec.headers = &header;
	spec.n_headers = 1;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	cr_assert_str_eq(site.method, "PATCH");
	cr_assert_str_eq(site.path, "/a b/c");
	cr_assert_str_eq(site.query, "x=%31&y");
	cr_assert_str_eq(site.body, "hello");
	cr_assert_str_eq(site.header, "some value");
	cr_assert_eq(c.status, 202);
	cr_assert_str_eq(c.text.data, "{\"ok\":true}");
	cr_assert_str_eq(c.type, "application/json; charset=UTF-8");
	call_check(&c, ERR_OK, NET_OK);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_body_above_the_limit_is_answered_413)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256], body[2000];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	memset(body, 'x', sizeof(body));
	spec.method = "POST";
	spec.body = body;
	spec.body_len = sizeof(body);
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	cr_assert_not(site.got);
	cr_assert_eq(c.status, 413);
	cr_assert(strstr(c.text.data, "{\"errors\":[\"") == c.text.data);
	call_check(&c, ERR_OK, NET_OK);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_reply_above_the_limit_is_an_error)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	site.answers = true;
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	spec.reply_max = 5;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &c.ended);
	call_check(&c, ERR_LIMIT, NET_LIMIT);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_client_that_hangs_up_is_noticed_on_a_hanging_get)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	call_start(&hs, &c, &spec);
	harness_until(&hs, &site.got);
	cr_assert_not(site.gone);
	world_http_cancel(hs.w, &c.http);
	harness_until(&hs, &site.gone);
	cr_assert_eq(c.ends, 0u);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_late_reply_answers_a_hanging_get)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	call_start(&hs, &c, &spec);
	harness_until(&hs, &site.got);
	harness_for(&hs, 50);
	world_reply(hs.w, site.held, 200, "late", 4);
	cr_assert_not(c.ended);
	harness_until(&hs, &c.ended);
	cr_assert_str_eq(c.text.data, "late");
	call_check(&c, ERR_OK, NET_OK);
	cr_assert_not(site.gone);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_stream_brings_its_pieces_in_order_and_its_end)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	spec.stream = true;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &site.got);
	world_reply_start(hs.w, site.held, 200, 1 << 20);
	world_reply_chunk(hs.w, site.held, "a\n", 2);
	harness_until(&hs, &c.pieces);
	cr_assert_eq(c.head, 200);
	for (int i = 0; i < 10; i++) {
		char piece[2] = {(char)('0' + i), '\n'};
		world_reply_chunk(hs.w, site.held, piece, 2);
	}
	world_reply_end(hs.w, site.held);
	harness_until(&hs, &c.ended);
	cr_assert_str_eq(c.text.data, "a\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
	cr_assert_not(site.gone);
	call_check(&c, ERR_OK, NET_OK);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_server_that_stops_listening_drops_its_open_requests)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	call_start(&hs, &c, &spec);
	harness_until(&hs, &site.got);
	world_unlisten(hs.w, &site.server);
	harness_until(&hs, &c.ended);
	cr_assert_not(site.gone);
	cr_assert_eq(c.code, ERR_UNKNOWN);
	buf_fini(&c.text);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, an_address_in_use_is_an_error)
{
	struct harness hs;
	struct site site, second = {0};
	struct err e;
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_listen_spec spec = {.address = site.server.address, .body_max = 10};
	cr_assert_neq(world_listen(hs.w, &second.server, &spec, &e), ERR_OK);
	cr_assert_null(second.server.impl);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

/* ---- children ---- */

struct kid {
	struct world_child child;
	struct harness *hs;
	struct buf lines;
	bool exited, any;
	int status, signal;
};

static void kid_line(struct world_child *c, const char *line, size_t len)
{
	struct kid *k = MEM_OWNER(c, struct kid, child);
	cr_assert_not(k->exited, "nothing comes after on_exit");
	buf_add(&k->lines, line, len);
	buf_add(&k->lines, "|", 1);
	k->any = true;
}

static void kid_exit(struct world_child *c, int status, int signal)
{
	struct kid *k = MEM_OWNER(c, struct kid, child);
	k->exited = true;
	k->status = status;
	k->signal = signal;
	cr_assert_null(c->impl);
}

static void kid_start(struct harness *hs, struct kid *k)
{
	struct err e;
	const char *argv[] = {harness_child(hs), "--contract-child", NULL};
	struct world_spawn_spec spec = {
		.argv = argv, .channel = true, .pass_fd = -1, .line_max = 4096};
	*k = (struct kid){.hs = hs, .child = {.on_line = kid_line, .on_exit = kid_exit}};
	cr_assert_eq(world_spawn(hs->w, &k->child, &spec, &e), ERR_OK, "%s", e.text);
	cr_assert_gt(k->child.pid, 0);
}

static void kid_say(struct kid *k, const char *line)
{
	world_child_send(k->hs->w, &k->child, line, strlen(line));
}

Test(CONTRACT_SUITE, a_child_talks_in_lines_and_its_last_words_come_before_its_exit)
{
	struct harness hs;
	struct kid k;
	harness_open(&hs);
	kid_start(&hs, &k);
	kid_say(&k, "echo first");
	harness_until(&hs, &k.any);
	kid_say(&k, "echo second");
	kid_say(&k, "echo third");
	kid_say(&k, "exit 7");
	harness_until(&hs, &k.exited);
	cr_assert_str_eq(k.lines.data, "first|second|third|");
	cr_assert_eq(k.status, 7);
	cr_assert_eq(k.signal, 0);
	kid_say(&k, "echo nobody"); /* dropped */
	buf_fini(&k.lines);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_child_that_dies_of_a_signal_says_which)
{
	struct harness hs;
	struct kid k, killed;
	harness_open(&hs);
	kid_start(&hs, &k);
	kid_start(&hs, &killed);
	kid_say(&k, "die");
	world_child_kill(hs.w, &killed.child, SIGKILL);
	harness_until(&hs, &k.exited);
	harness_until(&hs, &killed.exited);
	cr_assert_eq(k.signal, SIGABRT);
	cr_assert_eq(killed.signal, SIGKILL);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, an_abandoned_child_is_never_heard_of_again)
{
	struct harness hs;
	struct kid k;
	harness_open(&hs);
	kid_start(&hs, &k);
	kid_say(&k, "echo a");
	world_child_abandon(hs.w, &k.child);
	cr_assert_null(k.child.impl);
	harness_for(&hs, 100);
	cr_assert_not(k.any);
	cr_assert_not(k.exited);
	harness_close(&hs);
}

Test(CONTRACT_SUITE, a_program_that_does_not_exist_is_an_error)
{
	struct harness hs;
	struct err e;
	struct kid k = {.child = {.on_line = kid_line, .on_exit = kid_exit}};
	const char *argv[] = {"/nowhere/to/be/found", NULL};
	struct world_spawn_spec spec = {.argv = argv, .pass_fd = -1, .line_max = 100};
	harness_open(&hs);
	cr_assert_eq(world_spawn(hs.w, &k.child, &spec, &e), ERR_NOTFOUND);
	cr_assert_null(k.child.impl);
	harness_close(&hs);
}

/* ---- blocking work ---- */

struct job {
	struct world_work work;
	int *order, place;
	bool ran, done;
};

static void job_run(struct world_work *k)
{
	MEM_OWNER(k, struct job, work)->ran = true;
}

static void job_done(struct world_work *k)
{
	struct job *j = MEM_OWNER(k, struct job, work);
	cr_assert(j->ran);
	j->place = (*j->order)++;
	j->done = true;
}

Test(CONTRACT_SUITE, blocking_work_is_run_and_reported_once)
{
	struct harness hs;
	int order = 0;
	struct job jobs[20];
	harness_open(&hs);
	for (int i = 0; i < 20; i++) {
		jobs[i] = (struct job){.work = {.run = job_run, .done = job_done}, .order = &order};
		world_offload(hs.w, &jobs[i].work);
		cr_assert_not(jobs[i].done, "no callback runs inside the call");
	}
	for (int i = 0; i < 20; i++)
		harness_until(&hs, &jobs[i].done);
	cr_assert_eq(order, 20);
	harness_close(&hs);
}

#endif
