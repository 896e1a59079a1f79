/*
 * Who leads after what: three JobManagers, three TaskManagers' agents and three
 * etcd members in virtual time, each case under many seeds.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/prng.h"
#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"
#include "taskmanager/agent.h"
#include "world/sim/sim.h"
#include "world/sim/sim_blob.h"
#include "world/sim/sim_etcd.h"

enum { JMS = 3, TMS = 3, SEEDS = 20, STEP_MS = 5, SETTLE_MS = 6000 };

static const char *const jm_names[JMS] = {"jm-1", "jm-2", "jm-3"};
static const char *const jm_addresses[JMS] = {"jm-1:6123", "jm-2:6123", "jm-3:6123"};
static const char *const tm_names[TMS] = {"tm-1", "tm-2", "tm-3"};
static const char *const etcd_names[3] = {"etcd-1", "etcd-2", "etcd-3"};
static const char *const worker_argv[] = {"worker", NULL};

struct fixture;

struct jm_box {
	struct fixture *f;
	const char *name;
	struct blob_port *port;
	struct jm_node *node; /* NULL: down */
};

struct tm_box {
	struct fixture *f;
	const char *name;
	struct blob_port *port;
	struct agent *agent;
	struct agent_config config;
};

struct fixture {
	uint64_t seed;
	struct sim *sim;
	struct sim_etcd *etcd;
	struct sim_blob *blobs;
	struct jm_box jms[JMS];
	struct tm_box tms[TMS];
};

static void *jm_start(struct world *w, void *ctx, const char *const *argv)
{
	struct jm_box *j = ctx;
	struct err e;
	(void)argv;
	struct jm_node_config config = {
		.listen = "0.0.0.0:8081", .cluster_listen = "0.0.0.0:6123", .advertise = j->name};
	config.ha = (struct ha_config){
		.prefix = "weir",
		.cluster = "test",
		.endpoints = {"http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"},
		.n_endpoints = 3,
		.id = j->name};
	config.jm.storage = "sim://store";
	j->port = sim_blob_port_create(j->f->blobs, w);
	j->node = jm_node_create(w, &config, j->port, &e);
	cr_assert(j->node != NULL, "%s", e.text);
	return j;
}

static void jm_stop(void *objects)
{
	struct jm_box *j = objects;
	jm_node_destroy(j->node);
	sim_blob_port_destroy(j->port);
	j->node = NULL;
}

static struct blob_port *tm_storage(void *owner, const char *url, struct err *e)
{
	(void)url, (void)e;
	return ((struct tm_box *)owner)->port;
}

static void *tm_start(struct world *w, void *ctx, const char *const *argv)
{
	struct tm_box *t = ctx;
	(void)argv;
	t->port = sim_blob_port_create(t->f->blobs, w);
	t->config = (struct agent_config){.id = t->name,
					  .jobmanagers = jm_addresses,
					  .n_jobmanagers = JMS,
					  .slots = 2,
					  .data_address = "tm:7000",
					  .rest_host = t->name,
					  .worker_argv = worker_argv,
					  .storage = tm_storage,
					  .owner = t};
	t->agent = agent_create(w, &t->config);
	return t;
}

static void tm_stop(void *objects)
{
	struct tm_box *t = objects;
	agent_destroy(t->agent);
	sim_blob_port_destroy(t->port);
}

static const struct sim_program jm_program = {.start = jm_start, .stop = jm_stop};
static const struct sim_program tm_program = {.start = tm_start, .stop = tm_stop};

/* ---- who leads ---- */

/* -1: nobody. A process that is stopped still thinks that it does. */
static int leader(struct fixture *f, int but)
{
	for (int i = 0; i < JMS; i++)
		if (i != but && f->jms[i].node && jm_node_role(f->jms[i].node) == HA_LEADING)
			return i;
	return -1;
}

static const struct ha_takeover *story(struct fixture *f, int i)
{
	return ha_takeover(f->jms[i].node->ha);
}

/* How long until somebody other than `old` leads; `limit` if nobody does. */
static uint64_t until_led(struct fixture *f, int old, uint64_t limit)
{
	uint64_t start = sim_now_us(f->sim), end = start + limit * 1000;
	while (sim_now_us(f->sim) < end && leader(f, old) < 0)
		sim_run_for(f->sim, STEP_MS);
	return (sim_now_us(f->sim) - start) / 1000;
}

/* The others in the order of the queue; the leader first. */
static void order(struct fixture *f, int out[JMS])
{
	struct ha_status s;
	ha_status(f->jms[leader(f, -1)].node->ha, &s);
	cr_assert_eq(s.n_members, JMS);
	for (unsigned i = 0; i < JMS; i++)
		out[i] = s.members[i].id[3] - '1';
}

static struct fixture *begin(uint64_t seed, const struct sim_knobs *knobs)
{
	struct sim_knobs calm = sim_knobs_calm();
	struct fixture *f = mem_alloc(sizeof(*f));
	f->seed = seed;
	f->sim = sim_create(seed, knobs ? knobs : &calm);
	f->etcd = sim_etcd_create(f->sim, 3);
	f->blobs = sim_blob_create(seed, "sim://store");
	for (int i = 0; i < JMS; i++) {
		f->jms[i] = (struct jm_box){.f = f, .name = jm_names[i]};
		sim_node_add(f->sim, jm_names[i], &jm_program, &f->jms[i]);
		sim_node_start(f->sim, jm_names[i]);
	}
	for (int i = 0; i < TMS; i++) {
		f->tms[i] = (struct tm_box){.f = f, .name = tm_names[i]};
		sim_node_add(f->sim, tm_names[i], &tm_program, &f->tms[i]);
		sim_node_start(f->sim, tm_names[i]);
	}
	/* another phase of all timers for each seed */
	sim_run_for(f->sim, SETTLE_MS + seed * 37 % 1000);
	cr_assert_geq(leader(f, -1), 0, "seed %" PRIu64, seed);
	return f;
}

static void end(struct fixture *f)
{
	sim_destroy(f->sim);
	sim_blob_destroy(f->blobs);
	sim_etcd_destroy(f->etcd);
	free(f);
}

/* Nobody takes the lead from who has it, while `disturb` is called again and again. */
static void nobody_else_leads(struct fixture *f, uint64_t ms, uint64_t every_ms,
			      void (*disturb)(struct fixture *f, struct prng *r, int lead))
{
	struct prng r;
	prng_init(&r, f->seed);
	int lead = leader(f, -1);
	uint64_t epoch = f->jms[lead].node->epoch.v, now = sim_now_us(f->sim);
	uint64_t stop = now + ms * 1000, next = now;
	while ((now = sim_now_us(f->sim)) < stop) {
		if (disturb && now >= next) {
			disturb(f, &r, lead);
			next = now + prng_between(&r, every_ms / 2, every_ms * 3 / 2) * 1000;
		}
		sim_run_for(f->sim, STEP_MS);
		int other = leader(f, lead);
		cr_assert_eq(other, -1, "seed %" PRIu64 ": jm-%d leads: %s", f->seed, other + 1,
			     other < 0 ? "" : story(f, other)->why);
	}
	sim_heal_all(f->sim);
	sim_run_for(f->sim, 3000);
	cr_assert_eq(leader(f, -1), lead, "seed %" PRIu64, f->seed);
	cr_assert_eq(f->jms[lead].node->epoch.v, epoch, "seed %" PRIu64, f->seed);
}

/* Before the new leader's patience (5 s) ends. */
static void all_taskmanagers_follow(struct fixture *f, int old)
{
	sim_run_for(f->sim, 3000);
	int now = leader(f, old);
	cr_assert_geq(now, 0, "seed %" PRIu64, f->seed);
	cr_assert_eq(jm_view_tms(jm_node_brain(f->jms[now].node)), TMS,
		     "seed %" PRIu64 ": only %zu TaskManagers came to jm-%d", f->seed,
		     jm_view_tms(jm_node_brain(f->jms[now].node)), now + 1);
}

/* ---- takeovers ---- */

Test(takeover, a_killed_leader_within_milliseconds, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int old = leader(f, -1);
		sim_node_crash(f->sim, jm_names[old]);
		uint64_t took = until_led(f, old, 8000);
		cr_assert_leq(took, 50, "seed %" PRIu64 ": %" PRIu64, seed, took);
		const struct ha_takeover *t = story(f, leader(f, old));
		cr_assert_eq(t->cause, HA_CAUSE_KILLED);
		cr_assert_str_eq(t->before_id, jm_names[old]);
		cr_assert(t->heard_ms <= t->confirmed_ms && t->confirmed_ms <= t->key_gone_ms &&
			  t->key_gone_ms <= t->barrier_ms && t->barrier_ms <= t->read_ms);
		end(f);
	}
}

Test(takeover, a_frozen_leader_with_witnesses, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int old = leader(f, -1);
		sim_node_pause(f->sim, jm_names[old]);
		uint64_t took = until_led(f, old, 8000);
		cr_assert_leq(took, 2200, "seed %" PRIu64 ": %" PRIu64, seed, took);
		cr_assert_geq(took, 1000, "seed %" PRIu64 ": not before etcd could know", seed);
		int now = leader(f, old);
		const struct ha_takeover *t = story(f, now);
		cr_assert_eq(t->cause, HA_CAUSE_SUSPECTED, "%s", t->why);
		cr_assert(t->heard_ms < t->suspected_ms && t->suspected_ms < t->confirmed_ms);
		/* it wakes up, and is nobody */
		sim_run_for(f->sim, 3000);
		sim_node_resume(f->sim, jm_names[old]);
		sim_run_for(f->sim, 3000);
		cr_assert_eq(jm_node_role(f->jms[old].node), HA_FOLLOWING);
		cr_assert_eq(leader(f, -1), now);
		end(f);
	}
}

/* As after `weir recover`: epochs are far above the revisions of the candidates' keys. */
static void accept_a_restored_store(struct fixture *f)
{
	struct jm_node *n = f->jms[leader(f, -1)].node;
	node_step(n, &(struct jm_event){
			     .kind = JM_AHEAD, .epoch = {1000000}, .text = "somebody remembers"});
	node_step(n, &(struct jm_event){.kind = JM_ACCEPT, .token = UINT64_MAX});
	sim_run_for(f->sim, 100);
	cr_assert(jm_node_step_down(n));
	sim_run_for(f->sim, SETTLE_MS);
	cr_assert_gt(f->jms[leader(f, -1)].node->epoch.v, 1000000, "seed %" PRIu64, f->seed);
}

Test(takeover, a_frozen_leader_with_witnesses_after_a_store_was_accepted, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		accept_a_restored_store(f);
		int old = leader(f, -1);
		sim_node_pause(f->sim, jm_names[old]);
		uint64_t took = until_led(f, old, 8000);
		cr_assert(took >= 1000 && took <= 2200, "seed %" PRIu64 ": %" PRIu64, seed, took);
		cr_assert_eq(story(f, leader(f, old))->cause, HA_CAUSE_SUSPECTED);
		end(f);
	}
}

Test(takeover, a_leader_cut_from_everybody, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int old = leader(f, -1);
		sim_isolate(f->sim, jm_names[old]);
		uint64_t took = until_led(f, old, 8000);
		cr_assert_leq(took, 2200, "seed %" PRIu64 ": %" PRIu64, seed, took);
		end(f);
	}
}

Test(takeover, leader_and_next_in_line_on_one_frozen_host, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int q[JMS];
		order(f, q);
		sim_node_pause(f->sim, jm_names[q[0]]);
		sim_node_pause(f->sim, jm_names[q[1]]);
		uint64_t start = sim_now_us(f->sim);
		while (jm_node_role(f->jms[q[2]].node) != HA_LEADING &&
		       sim_now_us(f->sim) < start + 8000000)
			sim_run_for(f->sim, STEP_MS);
		uint64_t took = (sim_now_us(f->sim) - start) / 1000;
		cr_assert_leq(took, 2700, "seed %" PRIu64 ": %" PRIu64, seed, took);
		end(f);
	}
}

Test(takeover, a_leader_cut_from_etcd_alone_keeps_its_lease, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int old = leader(f, -1);
		for (unsigned i = 0; i < 3; i++)
			sim_cut_both(f->sim, jm_names[old], etcd_names[i]);
		uint64_t took = until_led(f, old, 9000);
		cr_assert(took >= 3500 && took <= 6500, "seed %" PRIu64 ": %" PRIu64, seed, took);
		all_taskmanagers_follow(f, old);
		end(f);
	}
}

/* It hears of its successor's epoch from those whom it asks. */
Test(takeover, a_leader_cut_from_etcd_after_a_store_was_accepted, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		accept_a_restored_store(f);
		int old = leader(f, -1);
		for (unsigned i = 0; i < 3; i++)
			sim_cut_both(f->sim, jm_names[old], etcd_names[i]);
		until_led(f, old, 9000);
		all_taskmanagers_follow(f, old);
		cr_assert_neq(jm_node_role(f->jms[old].node), HA_SUSPENDED, "seed %" PRIu64, seed);
		end(f);
	}
}

/* It cannot be told that it was replaced; they can. */
Test(takeover, a_leader_that_only_taskmanagers_hear_is_left_by_them, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int old = leader(f, -1);
		for (unsigned i = 0; i < 3; i++)
			sim_cut_both(f->sim, jm_names[old], etcd_names[i]);
		for (int i = 0; i < JMS; i++)
			if (i != old)
				sim_cut_both(f->sim, jm_names[old], jm_names[i]);
		until_led(f, old, 9000);
		all_taskmanagers_follow(f, old);
		end(f);
	}
}

Test(takeover, the_second_without_proof_waits_for_the_lease, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int first = leader(f, -1);
		sim_node_pause(f->sim, jm_names[first]);
		until_led(f, first, 8000);
		int second = leader(f, first);
		sim_node_resume(f->sim, jm_names[first]);
		sim_run_for(f->sim, 5000);
		sim_node_pause(f->sim, jm_names[second]);
		uint64_t took = until_led(f, second, 9000);
		cr_assert(took >= 3500 && took <= 6500, "seed %" PRIu64 ": %" PRIu64, seed, took);
		sim_node_resume(f->sim, jm_names[second]);
		sim_run_for(f->sim, 5000);
		/* a proof is not held down */
		int third = leader(f, -1);
		sim_node_crash(f->sim, jm_names[third]);
		took = until_led(f, third, 9000);
		cr_assert_leq(took, 50, "seed %" PRIu64 ": %" PRIu64, seed, took);
		end(f);
	}
}

Test(takeover, a_leader_that_steps_down_queues_again_at_the_end, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		int q[JMS], p[JMS];
		order(f, q);
		cr_assert(jm_node_step_down(f->jms[q[0]].node));
		cr_assert_not(jm_node_step_down(f->jms[q[0]].node), "once");
		uint64_t took = until_led(f, q[0], 8000);
		cr_assert_leq(took, 30, "seed %" PRIu64 ": %" PRIu64, seed, took);
		cr_assert_eq(leader(f, -1), q[1]);
		cr_assert_eq(story(f, q[1])->cause, HA_CAUSE_RESIGNED, "seed %" PRIu64 ": %s", seed,
			     story(f, q[1])->why);
		sim_run_for(f->sim, 2000);
		order(f, p);
		cr_assert(p[0] == q[1] && p[1] == q[2] && p[2] == q[0]);
		end(f);
	}
}

/* ---- no takeovers ---- */

static void cut_from_standbys(struct fixture *f, struct prng *r, int lead)
{
	(void)r;
	for (int i = 0; i < JMS; i++)
		if (i != lead)
			sim_cut_both(f->sim, jm_names[lead], jm_names[i]);
}

Test(takeover, not_of_a_leader_cut_from_the_standbys, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 60000, 100000, cut_from_standbys);
		end(f);
	}
}

static void cut_from_all_but_etcd(struct fixture *f, struct prng *r, int lead)
{
	cut_from_standbys(f, r, lead);
	for (int i = 0; i < TMS; i++)
		sim_cut_both(f->sim, jm_names[lead], tm_names[i]);
}

/* Everybody has lost it, but it renews its lease: it is the others that are cut off. */
Test(takeover, not_of_a_leader_that_etcd_hears, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 30000, 100000, cut_from_all_but_etcd);
		end(f);
	}
}

static void cut_from_all_but_witnesses(struct fixture *f, struct prng *r, int lead)
{
	cut_from_standbys(f, r, lead);
	for (unsigned i = 0; i < 3; i++)
		sim_cut_both(f->sim, jm_names[lead], etcd_names[i]);
	sim_run_for(f->sim, 2500);
	sim_heal_all(f->sim);
}

Test(takeover, not_of_a_leader_that_witnesses_hear, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 30000, 8000, cut_from_all_but_witnesses);
		end(f);
	}
}

static void cut_one_way(struct fixture *f, struct prng *r, int lead)
{
	const char *all[JMS + TMS + 3];
	unsigned n = 0;
	for (int i = 0; i < JMS; i++)
		if (i != lead)
			all[n++] = jm_names[i];
	for (int i = 0; i < TMS; i++)
		all[n++] = tm_names[i];
	sim_heal_all(f->sim);
	const char *other = all[prng_below(r, n)];
	if (prng_chance(r, 500000))
		sim_cut(f->sim, jm_names[lead], other);
	else
		sim_cut(f->sim, other, jm_names[lead]);
}

Test(takeover, not_by_one_way_cuts_of_the_leader, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 60000, 4000, cut_one_way);
		end(f);
	}
}

static void short_pause(struct fixture *f, struct prng *r, int lead)
{
	(void)r;
	sim_node_pause(f->sim, jm_names[lead]);
	sim_run_for(f->sim, 400);
	sim_node_resume(f->sim, jm_names[lead]);
}

Test(takeover, not_by_pauses_of_400_ms, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 60000, 1000, short_pause);
		end(f);
	}
}

static void pause_others(struct fixture *f, struct prng *r, int lead)
{
	const char *who = prng_chance(r, 500000)
				  ? tm_names[prng_below(r, TMS)]
				  : jm_names[(lead + 1 + (int)prng_below(r, 2)) % JMS];
	sim_node_pause(f->sim, who);
	sim_run_for(f->sim, prng_between(r, 200, 3000));
	sim_node_resume(f->sim, who);
}

Test(takeover, not_by_standbys_and_witnesses_that_were_stopped_themselves, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture *f = begin(seed, NULL);
		nobody_else_leads(f, 60000, 1500, pause_others);
		end(f);
	}
}

/* What TCP makes of a loss: the lost part, and all behind it, comes a retransmission later. */
Test(takeover, not_by_losing_30_percent, .timeout = 120)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct sim_knobs knobs = sim_knobs_calm();
		struct fixture *f = begin(seed, &knobs);
		struct sim_knobs *k = sim_knobs(f->sim);
		k->spike_ppm = 300000;
		k->spike_us = 200000 + (uint32_t)(seed % 3) * 100000;
		k->lost_before_ppm = 50000;
		nobody_else_leads(f, 60000, 1000, NULL);
		end(f);
	}
}
