/* The contract in the simulator: the same assertions as on the loop of production. */
#include <stdlib.h>

#include "world/sim/sim.h"

#define CONTRACT_SUITE world_sim
#include "../world/contract.h"

/* ---- programs ---- */

static void *idle_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx, (void)argv;
	return w;
}

static const struct sim_program idle = {.start = idle_start};

struct peer {
	struct world *w;
	struct world_server server;
};

static void peer_request(struct world_server *s, struct world_request *r)
{
	struct peer *p = MEM_OWNER(s, struct peer, server);
	if (strcmp(r->path, "/drop") == 0) {
		sim_exit(p->w, 0, 9);
	} else if (strcmp(r->path, "/stream") == 0) {
		world_reply_start(p->w, r, 200, 1000);
		world_reply_chunk(p->w, r, "one\n", 4);
	} else if (strcmp(r->path, "/hang") != 0) {
		world_reply(p->w, r, 200, "{}", 2);
	}
}

static void peer_gone(struct world_server *s, struct world_request *r)
{
	(void)s, (void)r;
}

static void *peer_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx, (void)argv;
	struct err e;
	struct peer *p = mem_alloc(sizeof(*p));
	*p = (struct peer){.w = w, .server = {.on_request = peer_request, .on_gone = peer_gone}};
	struct world_listen_spec spec = {.address = "peer:80", .body_max = 1000};
	cr_assert_eq(world_listen(w, &p->server, &spec, &e), ERR_OK);
	return p;
}

static void peer_stop(void *objects)
{
	struct peer *p = objects;
	world_unlisten(p->w, &p->server); /* dead already: nothing */
	free(p);
}

static const struct sim_program peer = {.start = peer_start, .stop = peer_stop};

static void child_line(void *objects, const char *line, size_t len)
{
	struct world *w = objects;
	if (strncmp(line, "echo ", 5) == 0)
		sim_say(w, line + 5, len - 5);
	else if (strncmp(line, "exit ", 5) == 0)
		sim_exit(w, (int)strtol(line + 5, NULL, 10), 0);
	else if (strcmp(line, "die") == 0)
		sim_exit(w, 0, SIGABRT);
}

static const struct sim_program child = {.start = idle_start, .on_line = child_line};

/* ---- the harness ---- */

static void harness_open(struct harness *hs)
{
	struct sim_knobs calm = sim_knobs_calm();
	struct sim *s = sim_create(1, &calm);
	sim_node_add(s, "self", &idle, NULL);
	sim_node_add(s, "peer", &peer, NULL);
	sim_child_add(s, "/bin/contract-child", &child, NULL);
	sim_node_start(s, "self");
	hs->impl = s;
	hs->w = sim_node_world(s, "self");
}

static void harness_close(struct harness *hs)
{
	sim_destroy(hs->impl);
}

static void harness_until(struct harness *hs, const bool *flag)
{
	cr_assert(sim_run_until(hs->impl, flag, 10000), "it did not happen");
}

static void harness_for(struct harness *hs, uint64_t ms)
{
	sim_run_for(hs->impl, ms);
}

static const char *harness_peer(struct harness *hs)
{
	sim_node_start(hs->impl, "peer");
	return "peer:80";
}

static void harness_kill_peer(struct harness *hs)
{
	sim_node_crash(hs->impl, "peer");
}

static const char *harness_refusing(struct harness *hs)
{
	(void)hs;
	return "peer:81";
}

static const char *harness_child(struct harness *hs)
{
	(void)hs;
	return "/bin/contract-child";
}
