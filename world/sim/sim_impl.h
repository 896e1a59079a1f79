/*
 * sim_impl - what the parts of the simulator share. Private to world/sim/sim_*.c.
 *
 * Two levels: what a machine's kernel does (messages arriving, connections
 * accepted, refused, closed) runs as a bare sim_event; what a process notices
 * runs inside it by sim_enter(), which piles it up while the process is paused,
 * freezes its clock, and carries out its death afterwards.
 */
#ifndef WORLD_SIM_SIM_IMPL_H
#define WORLD_SIM_SIM_IMPL_H

#include <setjmp.h>
#include <xxhash.h>

#include "base/ids.h"
#include "base/list.h"
#include "base/prng.h"
#include "world/impl.h"
#include "world/sim/sim.h"
#include "world/timers.h"

enum { SIM_USER_TIMEOUT_US = 5000000, SIM_WORKERS = 3, SIM_BOOT_MS = 1000000 };

struct sim_event {
	uint64_t at_us, seq;
	size_t slot; /* place in the queue + 1; 0: not in it */
	void (*run)(struct sim *s, struct sim_event *e);
	void (*drop)(struct sim_event *e); /* at the end of the simulation; NULL: embedded */
};

struct sim_queue {
	struct sim_event **at;
	size_t n, capacity;
	uint64_t seq;
};

struct sim_node {
	struct list hook; /* in s->nodes */
	struct sim *sim;
	char name[NODE_ID_MAX];
	const struct sim_program *program;
	void *ctx;
	struct sim_world *main; /* NULL when down */
	struct list worlds;     /* alive: of struct sim_world */
	struct prng rng;        /* what the node's processes draw */
	int64_t drift_ppm;
	int64_t clock_us_base; /* local clock = base + global * (1 + drift) */
	bool isolated;
	uint16_t next_port;
	uint64_t next_pid;
};

struct sim_program_entry {
	struct list hook;
	char *argv0;
	const struct sim_program *program;
	void *ctx;
};

struct sim_armed_kill {
	struct list hook;
	char *point;
	struct sim_node *node;
	unsigned left;
};

/* One process. Kept, dead, until the end of the simulation: late references find it so. */
struct sim_world {
	struct world base; /* first */
	struct list hook;  /* in its node's worlds while alive */
	struct list grave; /* in s->worlds */
	struct sim *sim;
	struct sim_node *node;
	const struct sim_program *program;
	void *objects;
	uint64_t now_ms, lateness_ms;
	bool dead, dying, paused, inside;
	int exit_status, exit_signal;
	uint64_t dead_at_us;
	struct timers timers;
	struct sim_event wake; /* for the earliest timer */
	struct list backlog;   /* of struct sim_call, while paused */
	struct list exchanges; /* as a client */
	struct list conns;     /* as a server: exchanges connected to this process */
	struct list listeners;
	struct list kept;     /* idle connections to servers */
	struct list children; /* of struct sim_kid: ours */
	struct sim_kid *kid;  /* what our parent holds of us; NULL: a main process */
	uint64_t worker_free_us[SIM_WORKERS];
};

/* Something for a process to notice. */
struct sim_call {
	struct list hook;
	void (*run)(struct sim_world *w, void *arg);
	void (*drop)(void *arg); /* instead of run, if the process died; may be NULL */
	void *arg;
};

struct sim_link {
	struct list hook; /* in s->cuts */
	struct sim_node *from, *to;
};

struct sim {
	uint64_t now_us;
	uint64_t seed;
	uint64_t n_events;
	struct sim_queue queue;
	struct sim_knobs knobs;
	struct prng net; /* draws of links, losses and blocking work */
	struct prng kills;
	struct list nodes, programs, worlds, cuts, held, kills_armed;
	XXH3_state_t *hash;
	struct sim_trace *trace;
	struct sim_watch *watch;
	enum log_level trace_level;
	struct sim_world *current;
	jmp_buf escape; /* from world_die() to sim_enter() */
};

static inline struct sim_world *sim_world_of(struct world *w)
{
	return (struct sim_world *)(void *)w;
}

/* sim_queue.c */
void sim_schedule(struct sim *s, struct sim_event *e, uint64_t at_us);
void sim_unschedule(struct sim *s, struct sim_event *e);
void sim_note(struct sim *s, const char *node, enum log_level level, const char *text);
void sim_mix(struct sim *s, const void *data, size_t len);

/* sim_node.c */
struct sim_node *sim_node_find(struct sim *s, const char *name); /* NULL if there is none */
struct sim_node *sim_node_need(struct sim *s, const char *name); /* a wrong name is a broken test */
uint64_t sim_local_us(const struct sim_node *n, uint64_t global_us);
struct sim_world *sim_world_new(struct sim_node *n, const struct sim_program *p,
				struct sim_kid *kid);
/* Run `fn` in the process now, or at its resumption; drop it if the process is dead. */
void sim_enter(struct sim_world *w, void (*fn)(struct sim_world *w, void *arg),
	       void (*drop)(void *arg), void *arg);
void sim_world_kill(struct sim_world *w, int status, int signal);
void sim_timers_follow(struct sim_world *w);

/* sim_link.c */
bool sim_is_cut(struct sim *s, const struct sim_node *from, const struct sim_node *to);

/* sim_net.c */
void sim_net_died(struct sim_world *w); /* closes what the process had open */
void sim_net_healed(struct sim *s);
void sim_net_fini(struct sim *s);

/* sim_client.c */
void sim_http_start(struct world *w, struct world_http *h, const struct world_http_spec *spec);
void sim_http_cancel(struct world *w, struct world_http *h);

/* sim_server.c */
enum errc sim_listen(struct world *w, struct world_server *srv,
		     const struct world_listen_spec *spec, struct err *e);
void sim_unlisten(struct world *w, struct world_server *srv);
void sim_reply_with(struct world *w, struct world_request *r, int status,
		    const struct world_header *headers, unsigned n_headers, const void *body,
		    size_t len);
void sim_reply_start(struct world *w, struct world_request *r, int status, size_t high_water);
void sim_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len);
void sim_reply_end(struct world *w, struct world_request *r);

/* sim_child.c */
void sim_children_died(struct sim_world *w); /* w is dead: its children die, its parent hears */
enum errc sim_spawn(struct world *w, struct world_child *c, const struct world_spawn_spec *spec,
		    struct err *e);
void sim_child_send(struct world *w, struct world_child *c, const char *line, size_t len);
void sim_child_kill(struct world *w, struct world_child *c, int signal);
void sim_child_abandon(struct world *w, struct world_child *c);

#endif
