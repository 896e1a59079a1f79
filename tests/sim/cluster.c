#include "cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "faults.h"
#include "ledger.h"
#include "model.h"
#include "plane.h"
#include "users.h"

enum { LIVENESS_MS = 60000, LOOK_MS = 250, SETTLE_CHECKPOINTS = 2 };

static const char *const jobmanagers[JMS] = {"jm-1:6123", "jm-2:6123", "jm-3:6123"};
static const char *const worker_argv[] = {"worker", NULL};

/* ---- JobManagers ---- */

static void *jm_start(struct world *w, void *ctx, const char *const *argv)
{
	static const char *const endpoints[] = {"http://etcd-1:2379", "http://etcd-2:2379",
						"http://etcd-3:2379"};
	struct jm_box *j = ctx;
	struct err e;
	(void)argv;
	struct jm_node_config config = {
		.listen = "0.0.0.0:8081", .cluster_listen = "0.0.0.0:6123", .advertise = j->name};
	config.ha = (struct ha_config){.prefix = "weir", .cluster = "sim", .id = j->name};
	config.ha.n_endpoints = j->c->swarm.n_etcd;
	for (unsigned i = 0; i < config.ha.n_endpoints; i++)
		config.ha.endpoints[i] = endpoints[i];
	config.jm.storage = "sim://store";
	config.jm.cleanup_delay_ms = 2000;
	j->port = sim_blob_port_create(j->c->blobs, w);
	j->node = jm_node_create(w, &config, j->port, &e);
	assert(j->node);
	return j;
}

static void jm_stop(void *objects)
{
	struct jm_box *j = objects;
	jm_node_destroy(j->node);
	sim_blob_port_destroy(j->port);
	j->node = NULL;
}

static const struct sim_program jm_program = {.start = jm_start, .stop = jm_stop};

/* ---- TaskManagers ---- */

static struct blob_port *tm_storage(void *owner, const char *url, struct err *e)
{
	struct tm_box *t = owner;
	(void)url, (void)e;
	return t->port;
}

static void data_port_asked(struct world_server *s, struct world_request *r)
{
	struct tm_box *t = MEM_OWNER(s, struct tm_box, data_port);
	world_reply(sim_node_world(t->c->sim, t->name), r, 400, "{}", 2);
}

static void *tm_start(struct world *w, void *ctx, const char *const *argv)
{
	struct tm_box *t = ctx;
	(void)argv;
	t->port = sim_blob_port_create(t->c->blobs, w);
	t->config = (struct agent_config){.id = t->name,
					  .jobmanagers = jobmanagers,
					  .n_jobmanagers = JMS,
					  .slots = t->c->swarm.slots,
					  .data_address = t->address,
					  .rest_host = t->name,
					  .worker_argv = worker_argv,
					  .storage = tm_storage,
					  .owner = t};
	t->data_port = (struct world_server){.on_request = data_port_asked};
	struct world_listen_spec listen = {.address = "0.0.0.0:7000", .body_max = 4096};
	if (world_listen(w, &t->data_port, &listen, NULL) != ERR_OK)
		world_die(w, "no data port");
	t->agent = agent_create(w, &t->config);
	return t;
}

static void tm_stop(void *objects)
{
	struct tm_box *t = objects;
	agent_destroy(t->agent);
	sim_blob_port_destroy(t->port);
	t->agent = NULL;
}

static const struct sim_program tm_program = {.start = tm_start, .stop = tm_stop};

/* ---- the whole ---- */

static void add_nodes(struct cluster *c)
{
	for (unsigned i = 0; i < JMS; i++) {
		struct jm_box *j = &c->jms[i];
		j->c = c;
		snprintf(j->name, sizeof(j->name), "jm-%u", i + 1);
		sim_node_add(c->sim, j->name, &jm_program, j);
		sim_node_start(c->sim, j->name);
	}
	sim_child_add(c->sim, worker_argv[0], &model_program, c);
	for (unsigned i = 0; i < c->swarm.n_tm; i++) {
		struct tm_box *t = &c->tms[i];
		t->c = c;
		snprintf(t->name, sizeof(t->name), "tm-%u", i + 1);
		snprintf(t->address, sizeof(t->address), "tm-%u:7000", i + 1);
		sim_node_add(c->sim, t->name, &tm_program, t);
		sim_node_start(c->sim, t->name);
	}
	for (unsigned i = 0; i < USERS; i++)
		c->users[i] = user_create(c, i);
}

struct cluster *cluster_create(uint64_t seed, uint64_t safety_ms)
{
	struct cluster *c = mem_alloc(sizeof(*c));
	struct sim_knobs knobs;
	c->seed = seed;
	c->swarm = swarm_of_seed(seed, safety_ms, &knobs);
	prng_init(&c->rng, seed);
	list_init(&c->models);
	c->sim = sim_create(seed, &knobs);
	c->etcd = sim_etcd_create(c->sim, c->swarm.n_etcd);
	c->blobs = sim_blob_create(seed, "sim://store");
	c->plane = plane_create(c);
	c->ledger = ledger_create(c);
	c->check = check_create(c);
	users_plan(c);
	return c;
}

void cluster_destroy(struct cluster *c)
{
	sim_set_watch(c->sim, NULL);
	sim_destroy(c->sim);
	for (unsigned i = 0; i < USERS; i++)
		user_destroy(c->users[i]);
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		free(c->jobs[i].spec);
	faults_destroy(c->faults);
	plane_destroy(c->plane);
	ledger_destroy(c->ledger);
	sim_blob_destroy(c->blobs);
	sim_etcd_destroy(c->etcd);
	check_destroy(c->check);
	free(c);
}

struct job_plan *cluster_job(struct cluster *c, const char *id)
{
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		if (strcmp(c->jobs[i].id, id) == 0)
			return &c->jobs[i];
	return NULL;
}

/* ---- playing ---- */

/* One event after another, so that nothing runs on after a violation. */
static bool run_for(struct cluster *c, uint64_t ms)
{
	uint64_t end_us = sim_now_us(c->sim) + ms * 1000;
	while (!check_text(c->check) && sim_now_us(c->sim) < end_us)
		if (!sim_step(c->sim))
			break;
	return !check_text(c->check);
}

static bool job_lives(const struct cluster *c, const struct job_plan *j, uint64_t newest_at_heal)
{
	if (!j->accepted)
		return j->submit_ms == UINT64_MAX; /* its user gave up */
	if (check_ended(c->check, j->id))
		return true;
	if (j->bounded || j->cancel_wanted)
		return false;
	return check_newest(c->check, j->id) >= newest_at_heal + SETTLE_CHECKPOINTS;
}

static bool all_live(const struct cluster *c, const uint64_t newest[])
{
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		if (!job_lives(c, &c->jobs[i], newest[i]))
			return false;
	return true;
}

static void tell_dead(const struct cluster *c, const uint64_t newest[])
{
	for (unsigned i = 0; i < c->swarm.n_jobs; i++) {
		const struct job_plan *j = &c->jobs[i];
		if (!job_lives(c, j, newest[i]))
			check_fail(
				c->check,
				"LIVENESS: job%u %.8s does not live: %s%s, accepted %d, checkpoint "
				"%" PRIu64 ", %" PRIu64 " when healed",
				i, j->id, check_status(c->check, j->id),
				j->bounded ? " (bounded)" : "", j->accepted,
				check_newest(c->check, j->id), newest[i]);
	}
}

bool cluster_play(struct cluster *c)
{
	uint64_t newest[JOBS_MAX];
	add_nodes(c);
	c->faults = faults_create(c);
	if (!run_for(c, c->swarm.safety_ms))
		return false;
	c->healing = true;
	faults_heal(c->faults);
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		newest[i] = check_newest(c->check, c->jobs[i].id);
	uint64_t end_us = sim_now_us(c->sim) + (uint64_t)LIVENESS_MS * 1000;
	while (!all_live(c, newest)) {
		if (sim_now_us(c->sim) >= end_us) {
			tell_dead(c, newest);
			return false;
		}
		if (!run_for(c, LOOK_MS))
			return false;
	}
	return true;
}
