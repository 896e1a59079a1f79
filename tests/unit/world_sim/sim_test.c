/* The simulator's own promises: death, pauses, cuts, losses, clocks, children, determinism. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim.h"
#include "world/sim/sim_etcd.h"

/* ---- a program that asks and answers ---- */

struct prog {
	struct world *w;
	struct world_server server;
	struct world_http http;
	struct world_timer timer;
	unsigned requests, gone, ends, ticks, chunks;
	enum errc code;
	enum net_cause cause;
	bool ended;
	uint64_t ended_us;
	struct sim *s;
	bool busy, holds, wants_death;
	struct world_request *held;
};

static unsigned stops;

static void on_request(struct world_server *s, struct world_request *r)
{
	struct prog *p = MEM_OWNER(s, struct prog, server);
	p->requests++;
	if (strcmp(r->path, "/stream") == 0) {
		world_reply_start(p->w, r, 200, 1 << 20);
		p->held = r;
	} else if (p->holds) {
		p->held = r;
	} else {
		world_reply(p->w, r, 200, "{}", 2);
	}
}

static void on_gone(struct world_server *s, struct world_request *r)
{
	struct prog *p = MEM_OWNER(s, struct prog, server);
	p->gone++;
	if (p->held == r)
		p->held = NULL;
}

static void on_chunk(struct world_http *h, const void *data, size_t len)
{
	(void)data, (void)len;
	MEM_OWNER(h, struct prog, http)->chunks++;
}

static void on_end(struct world_http *h, const struct world_reply *r)
{
	struct prog *p = MEM_OWNER(h, struct prog, http);
	p->ends++;
	p->code = r->code;
	p->cause = r->cause;
	p->ended = true;
	p->ended_us = sim_now_us(p->s);
}

static void ask(struct prog *p, const char *url, uint64_t timeout_ms);

static void on_tick(struct world_timer *t)
{
	struct prog *p = MEM_OWNER(t, struct prog, timer);
	p->ticks++;
	world_log(p->w, LOG_LEVEL_INFO, "tick %u, draw %llu", p->ticks,
		  (unsigned long long)world_rand64(p->w));
	if (p->wants_death)
		world_die(p->w, "as asked");
	world_kill_point(p->w, "tick");
	world_timer_arm(p->w, t, world_now_ms(p->w) + 100);
	if (p->busy && p->http.impl == NULL)
		ask(p, "http://b:80/", 500);
}

static void *start(struct world *w, void *ctx, const char *const *argv)
{
	(void)argv;
	struct err e;
	struct prog *p = mem_alloc(sizeof(*p));
	*p = (struct prog){.w = w,
			   .s = ctx,
			   .server = {.on_request = on_request, .on_gone = on_gone},
			   .http = {.on_chunk = on_chunk, .on_end = on_end},
			   .timer = {.fire = on_tick}};
	struct world_listen_spec spec = {.address = "0.0.0.0:80", .body_max = 100};
	cr_assert_eq(world_listen(w, &p->server, &spec, &e), ERR_OK);
	world_timer_arm(w, &p->timer, world_now_ms(w) + 100);
	return p;
}

static void stop(void *objects)
{
	struct prog *p = objects;
	world_timer_cancel(p->w, &p->timer); /* as every program's clean-up does */
	world_http_cancel(p->w, &p->http);
	world_unlisten(p->w, &p->server);
	stops++;
	free(p);
}

static const struct sim_program program = {.start = start, .stop = stop};

static void ask(struct prog *p, const char *url, uint64_t timeout_ms)
{
	struct world_http_spec spec = {
		.method = "GET", .url = url, .reply_max = 1000, .timeout_ms = timeout_ms};
	p->ended = false;
	world_http_start(p->w, &p->http, &spec);
}

static struct sim *open_pair(const struct sim_knobs *knobs)
{
	struct sim_knobs calm = sim_knobs_calm();
	struct sim *s = sim_create(3, knobs ? knobs : &calm);
	stops = 0;
	sim_node_add(s, "a", &program, s);
	sim_node_add(s, "b", &program, s);
	sim_node_start(s, "a");
	sim_node_start(s, "b");
	return s;
}

static struct prog *prog_of(struct sim *s, const char *name)
{
	return sim_node_objects(s, name);
}

static void end_with(struct sim *s, enum errc code, enum net_cause cause)
{
	struct prog *a = prog_of(s, "a");
	cr_assert(sim_run_until(s, &a->ended, 60000));
	cr_assert_eq(a->code, code, "%s", err_name(a->code));
	cr_assert_eq(a->cause, cause, "%s", net_cause_name(a->cause));
	cr_assert_eq(a->ends, 1u);
}

/* ---- death ---- */

Test(sim, a_crashed_server_ends_open_requests_and_refuses_new_ones)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a");
	prog_of(s, "b")->holds = true;
	ask(a, "http://b:80/", 60000);
	sim_run_for(s, 10);
	cr_assert_eq(prog_of(s, "b")->requests, 1u);
	uint64_t before = sim_now_us(s);
	sim_node_crash(s, "b");
	cr_assert_eq(stops, 1u);
	end_with(s, ERR_UNKNOWN, NET_EOF);
	cr_assert_leq(sim_now_us(s) - before, 1000u);
	a->ends = 0;
	sim_run_for(s, 10);
	ask(a, "http://b:80/", 60000);
	end_with(s, ERR_NOTSENT, NET_REFUSED);
	sim_node_start(s, "b");
	a->ends = 0;
	ask(a, "http://b:80/", 60000);
	end_with(s, ERR_OK, NET_OK);
	sim_destroy(s);
}

Test(sim, a_crashed_client_is_noticed_and_never_called_back)
{
	struct sim *s = open_pair(NULL);
	prog_of(s, "b")->holds = true;
	ask(prog_of(s, "a"), "http://b:80/", 60000);
	sim_run_for(s, 10);
	sim_node_crash(s, "a");
	sim_run_for(s, 1000);
	cr_assert_eq(prog_of(s, "b")->gone, 1u);
	cr_assert_null(sim_node_objects(s, "a"));
	sim_destroy(s);
}

Test(sim, a_kept_connection_to_a_dead_server_loses_its_request)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a");
	ask(a, "http://b:80/", 1000);
	end_with(s, ERR_OK, NET_OK);
	sim_node_crash(s, "b");
	a->ends = 0;
	ask(a, "http://b:80/", 1000); /* before the end of file was seen */
	end_with(s, ERR_UNKNOWN, NET_RESET);
	sim_destroy(s);
}

Test(sim, a_kill_point_kills_at_its_nth_pass)
{
	struct sim *s = open_pair(NULL);
	sim_kill_at(s, "a", "tick", 3);
	sim_run_for(s, 250);
	cr_assert(sim_node_running(s, "a"));
	sim_run_for(s, 100);
	cr_assert_not(sim_node_running(s, "a"));
	cr_assert_eq(stops, 1u);
	sim_destroy(s);
}

Test(sim, a_process_may_end_itself_in_the_middle)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a");
	a->wants_death = true;
	sim_run_for(s, 200);
	cr_assert_not(sim_node_running(s, "a"));
	cr_assert_eq(stops, 0u, "its objects are not touched again");
	free(a);
	sim_destroy(s);
}

/* ---- pauses ---- */

Test(sim, a_paused_process_is_connected_to_and_answers_late)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a"), *b = prog_of(s, "b");
	sim_node_pause(s, "b");
	ask(a, "http://b:80/", 60000);
	sim_run_for(s, 5000);
	cr_assert_not(a->ended);
	cr_assert_eq(b->requests, 0u);
	cr_assert_eq(b->ticks, 0u);
	sim_node_resume(s, "b");
	end_with(s, ERR_OK, NET_OK);
	sim_run_for(s, 1);
	cr_assert_eq(b->ticks, 1u, "one late tick, not fifty");
	cr_assert_geq(world_lateness_ms(b->w), 4800u);
	sim_destroy(s);
}

/* ---- cuts ---- */

Test(sim, a_cut_hides_the_server_and_a_new_connection_is_surely_not_sent)
{
	struct sim *s = open_pair(NULL);
	sim_cut(s, "a", "b");
	ask(prog_of(s, "a"), "http://b:80/", 2000);
	end_with(s, ERR_NOTSENT, NET_TIMEOUT);
	sim_destroy(s);
}

Test(sim, a_cut_way_back_leaves_the_outcome_unknown)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a");
	ask(a, "http://b:80/", 2000);
	end_with(s, ERR_OK, NET_OK); /* a kept connection now */
	a->ends = 0;
	sim_cut(s, "b", "a");
	ask(a, "http://b:80/", 2000);
	end_with(s, ERR_UNKNOWN, NET_TIMEOUT);
	cr_assert_eq(prog_of(s, "b")->requests, 2u);
	sim_destroy(s);
}

Test(sim, a_short_cut_delays_and_a_long_one_breaks)
{
	struct sim *s = open_pair(NULL);
	struct prog *a = prog_of(s, "a"), *b = prog_of(s, "b");
	struct world_http_spec spec = {
		.method = "GET", .url = "http://b:80/stream", .timeout_ms = 600000, .stream = true};
	world_http_start(a->w, &a->http, &spec);
	sim_run_for(s, 10);
	sim_cut_both(s, "a", "b");
	world_reply_chunk(b->w, b->held, "x", 1);
	sim_run_for(s, 3000);
	cr_assert_eq(a->chunks, 0u);
	sim_heal_both(s, "a", "b");
	sim_run_for(s, 3000);
	cr_assert_eq(a->chunks, 1u);
	sim_cut_both(s, "a", "b");
	world_reply_chunk(b->w, b->held, "x", 1);
	sim_run_for(s, 5500);
	cr_assert_eq(b->gone, 1u, "the sender's side, after TCP_USER_TIMEOUT");
	cr_assert_not(a->ended, "who sends nothing notices nothing");
	sim_heal_all(s);
	end_with(s, ERR_UNKNOWN, NET_RESET);
	cr_assert_eq(a->chunks, 1u);
	sim_destroy(s);
}

/* ---- losses ---- */

static void count_outcomes(const struct sim_knobs *knobs, unsigned *out_notsent,
			   unsigned *out_unknown, unsigned *out_carried_out)
{
	struct sim *s = open_pair(knobs);
	struct prog *a = prog_of(s, "a");
	*out_notsent = *out_unknown = 0;
	for (int i = 0; i < 400; i++) {
		ask(a, "http://b:80/", 1000);
		cr_assert(sim_run_until(s, &a->ended, 5000));
		*out_notsent += a->code == ERR_NOTSENT;
		*out_unknown += a->code == ERR_UNKNOWN;
	}
	*out_carried_out = prog_of(s, "b")->requests;
	sim_destroy(s);
}

Test(sim, exchanges_are_lost_before_or_after_and_the_two_are_told_apart)
{
	unsigned notsent, unknown, carried_out;
	struct sim_knobs k = sim_knobs_calm();
	k.lost_before_ppm = 200000;
	count_outcomes(&k, &notsent, &unknown, &carried_out);
	cr_assert(notsent > 40 && notsent < 120);
	cr_assert_eq(unknown, 0u);
	cr_assert_eq(carried_out, 400 - notsent);
	k = sim_knobs_calm();
	k.lost_after_ppm = 200000;
	count_outcomes(&k, &notsent, &unknown, &carried_out);
	cr_assert_eq(notsent, 0u);
	cr_assert(unknown > 40 && unknown < 120);
	cr_assert_eq(carried_out, 400u, "carried out, all of them");
}

/* ---- clocks ---- */

Test(sim, clocks_drift_each_at_its_own_rate)
{
	struct sim *s = open_pair(NULL);
	sim_node_drift(s, "a", 100000);
	sim_node_drift(s, "b", -100000);
	uint64_t a = world_now_ms(sim_node_world(s, "a")), b = world_now_ms(sim_node_world(s, "b"));
	unsigned ticks_a = prog_of(s, "a")->ticks, ticks_b = prog_of(s, "b")->ticks;
	sim_run_for(s, 10000);
	cr_assert_eq(world_now_ms(sim_node_world(s, "a")) - a, 11000u);
	cr_assert_eq(world_now_ms(sim_node_world(s, "b")) - b, 9000u);
	cr_assert_eq(prog_of(s, "a")->ticks - ticks_a, 110u);
	cr_assert_eq(prog_of(s, "b")->ticks - ticks_b, 90u);
	sim_destroy(s);
}

/* ---- children ---- */

struct parent {
	struct world *w;
	struct world_child child;
	bool exited;
	int signal;
};

static bool child_stopped;

static void *kid_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx;
	cr_assert_str_eq(argv[1], "--worker");
	child_stopped = false;
	return w;
}

static void kid_stop(void *objects)
{
	(void)objects;
	child_stopped = true;
}

static void no_line(struct world_child *c, const char *line, size_t len)
{
	(void)c, (void)line, (void)len;
}

static void kid_exit(struct world_child *c, int status, int signal)
{
	(void)status;
	MEM_OWNER(c, struct parent, child)->exited = true;
	MEM_OWNER(c, struct parent, child)->signal = signal;
}

static void *parent_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx, (void)argv;
	struct err e;
	struct parent *p = mem_alloc(sizeof(*p));
	*p = (struct parent){.w = w, .child = {.on_line = no_line, .on_exit = kid_exit}};
	const char *kid_argv[] = {"/bin/kid", "--worker", NULL};
	struct world_spawn_spec spec = {
		.argv = kid_argv, .channel = true, .pass_fd = -1, .line_max = 100};
	cr_assert_eq(world_spawn(w, &p->child, &spec, &e), ERR_OK);
	return p;
}

static const struct sim_program parent = {.start = parent_start, .stop = free};
static const struct sim_program kid = {.start = kid_start, .stop = kid_stop};

Test(sim, children_die_with_their_parent)
{
	struct sim_knobs calm = sim_knobs_calm();
	struct sim *s = sim_create(1, &calm);
	sim_child_add(s, "/bin/kid", &kid, NULL);
	sim_node_add(s, "p", &parent, NULL);
	child_stopped = true;
	sim_node_start(s, "p");
	sim_run_for(s, 100);
	cr_assert_not(child_stopped);
	sim_node_crash(s, "p");
	cr_assert(child_stopped);
	sim_node_start(s, "p");
	sim_run_for(s, 100);
	struct parent *p = sim_node_objects(s, "p");
	world_child_kill(p->w, &p->child, 9);
	cr_assert(sim_run_until(s, &p->exited, 100));
	cr_assert_eq(p->signal, 9);
	sim_destroy(s);
}

/* ---- determinism ---- */

/* Everything at once, all knobs from the seed. */
static uint64_t hash_of(uint64_t seed)
{
	struct sim *s = sim_create(seed, NULL);
	struct sim_etcd *c = sim_etcd_create(s, 3);
	sim_node_add(s, "a", &program, s);
	sim_node_add(s, "b", &program, s);
	for (unsigned round = 0; round < 20; round++) {
		sim_node_start(s, "a");
		sim_node_start(s, "b");
		if (prog_of(s, "a"))
			prog_of(s, "a")->busy = true;
		sim_run_for(s, 700);
		if (round % 5 == 1)
			sim_cut_both(s, "a", "b");
		if (round % 5 == 2)
			sim_node_crash(s, "b");
		if (round % 5 == 3)
			sim_node_pause(s, "a");
		sim_run_for(s, 900);
		sim_node_resume(s, "a");
		sim_heal_all(s);
	}
	uint64_t hash = sim_hash(s);
	sim_destroy(s);
	sim_etcd_destroy(c);
	return hash;
}

Test(sim, equal_seeds_give_equal_runs_and_others_differ)
{
	uint64_t last = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t hash = hash_of(seed);
		cr_assert_eq(hash, hash_of(seed), "seed %llu", (unsigned long long)seed);
		cr_assert_neq(hash, last);
		last = hash;
	}
}
