/*
 * sim - the world as a deterministic simulator: one process, one thread, many
 * nodes, virtual time. The programs are the real ones; only the world differs.
 *
 *   struct sim *s = sim_create(seed, NULL);        all knobs from the seed
 *   sim_node_add(s, "jm-1", &program, ctx);
 *   sim_node_start(s, "jm-1");
 *   sim_run_for(s, 5000);
 *   sim_cut(s, "jm-1", "etcd-1");  sim_node_crash(s, "jm-1"); ...
 *   sim_destroy(s);
 *
 * A queue of events ordered by (time, order of scheduling) is all that runs.
 * Equal seeds and equal calls give equal traces, and so equal sim_hash().
 *
 * Model
 *  - A node is a machine with one main process; a process is a struct world.
 *    Spawned children are processes of their own on the same node and die
 *    with their parent. A restarted node has a new world; the old one is dead:
 *    calls on it do nothing, so a program's clean-up may use them.
 *  - Crash: as SIGKILL. What was sent is still delivered; open connections are
 *    closed by the kernel, which peers see after the link's delay; nobody
 *    listens any more: refused.
 *  - Pause: as SIGSTOP. Connections are still accepted, messages and timers
 *    pile up and are delivered, in order, at the resumption.
 *  - Cut (one direction): messages wait, as TCP sends them again, and go on a
 *    while after the heal; after 5 s (TCP_USER_TIMEOUT) the sender's side is
 *    reset, and the receiver's after the heal. New connections hang.
 *  - An exchange may be lost before it is sent (NOTSENT), or after it was
 *    carried out (UNKNOWN); a stream may break in the middle of a piece.
 *  - First in, first out within a connection; nothing is promised across.
 *  - A kept connection whose server died a moment ago loses its request
 *    (UNKNOWN), as in life.
 *  - Each node's clock has its own rate; blocking work runs when it completes.
 *  - Addresses: "<node>:<port>"; 127.0.0.1, 0.0.0.0 and localhost are the node
 *    itself. https is http here.
 *
 * Ownership: nodes, worlds and what is in flight belong to the simulator.
 * Every call but sim_say, sim_exit and those of world.h is made from outside of
 * the programs' callbacks or from the simulator's own (sim_at).
 */
#ifndef WORLD_SIM_SIM_H
#define WORLD_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "world/world.h"

struct sim;

/* ---- knobs ---- */

struct sim_knobs {
	uint32_t delay_min_us, delay_max_us; /* of a message between two nodes */
	uint32_t spike_ppm, spike_us;        /* of them, so many are this late in addition */
	uint32_t lost_before_ppm;            /* exchanges that fail before anything was sent */
	uint32_t lost_after_ppm;             /* exchanges whose reply is lost */
	uint32_t stream_break_ppm;           /* pieces of a stream that break it */
	uint32_t kill_ppm;                   /* kill points that kill */
	uint32_t drift_ppm_max;              /* a node's clock runs at 1 +- this */
	uint32_t work_min_us, work_max_us;   /* blocking work */
};

struct sim_knobs sim_knobs_calm(void); /* a quiet local network: no loss, no drift */
struct sim_knobs sim_knobs_of_seed(uint64_t seed);
void sim_knobs_print(const struct sim_knobs *k, struct buf *out); /* one line */

/* ---- life ---- */

struct sim *sim_create(uint64_t seed, const struct sim_knobs *knobs); /* NULL: of the seed */
void sim_destroy(struct sim *s);            /* NULL: no-op; every process ends as in a crash */
struct sim_knobs *sim_knobs(struct sim *s); /* may be changed at any time */

/* ---- programs and nodes ---- */

struct sim_program {
	/* Build the program's objects on w; returns them. argv: NULL for a node's main process. */
	void *(*start)(struct world *w, void *ctx, const char *const *argv);
	/* Release the objects; w is dead already. After world_die() it is not called: the
	 * objects are as they were in the middle of a callback, and their memory is lost. */
	void (*stop)(void *objects);
	/* A line from the parent (children only). */
	void (*on_line)(void *objects, const char *line, size_t len);
};

void sim_node_add(struct sim *s, const char *name, const struct sim_program *p, void *ctx);
/* What world_spawn() starts for this argv[0], on every node. */
void sim_child_add(struct sim *s, const char *argv0, const struct sim_program *p, void *ctx);

void sim_node_start(struct sim *s, const char *name); /* running: no-op */
void sim_node_crash(struct sim *s, const char *name); /* not running: no-op */
void sim_node_pause(struct sim *s, const char *name);
void sim_node_resume(struct sim *s, const char *name);
/* A message from one to the other would wait now. */
bool sim_is_cut_between(struct sim *s, const char *from, const char *to);
bool sim_node_running(struct sim *s, const char *name);  /* paused counts as running */
void *sim_node_objects(struct sim *s, const char *name); /* what start returned; NULL if down */
struct world *sim_node_world(struct sim *s, const char *name);
void sim_node_drift(struct sim *s, const char *name, int32_t ppm);
/* Kill the node's process at its n-th pass of this kill point from now on. */
void sim_kill_at(struct sim *s, const char *node, const char *point, unsigned nth);

/* For children: a line to the parent; the end of this process (signal 0: exit status). */
void sim_say(struct world *w, const char *line, size_t len);
void sim_exit(struct world *w, int status, int signal);

/* ---- links ---- */

void sim_cut(struct sim *s, const char *from, const char *to); /* one direction */
void sim_cut_both(struct sim *s, const char *a, const char *b);
void sim_heal(struct sim *s, const char *from, const char *to);
void sim_heal_both(struct sim *s, const char *a, const char *b);
void sim_isolate(struct sim *s, const char *name); /* from and to everybody, later nodes too */
void sim_heal_all(struct sim *s);

/* ---- running ---- */

uint64_t sim_now_us(const struct sim *s);
bool sim_step(struct sim *s); /* one event; false: nothing is left to happen */
void sim_run_for(struct sim *s, uint64_t ms);
/* Until *flag or for `ms`; false if it did not become true. */
bool sim_run_until(struct sim *s, const bool *flag, uint64_t ms);
/* Call fn once, `ms` from now, outside of every node. */
void sim_at(struct sim *s, uint64_t ms, void (*fn)(void *ctx), void *ctx);
uint64_t sim_events(const struct sim *s); /* how many have run */

/* ---- watching, for checkers ---- */

struct sim_watch {
	/* A piece of a streamed reply reaches a client. `path` is the request's. Not for pieces
	 * that the client has hung up on. */
	void (*on_chunk)(struct sim_watch *t, const char *client, const char *path,
			 const char *data, size_t len);
	void (*on_event)(struct sim_watch *t); /* after every event; may be NULL */
};
void sim_set_watch(struct sim *s, struct sim_watch *t); /* NULL: none. Borrowed */

/* ---- the trace ---- */

struct sim_trace {
	/* One line of a node (world_log) or of the simulator itself (node "sim"). */
	void (*line)(struct sim_trace *t, uint64_t at_us, const char *node, enum log_level level,
		     const char *text);
};

void sim_set_trace(struct sim *s, struct sim_trace *t, enum log_level up_to); /* NULL: none */
void sim_narrate(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "[ 12.345s] jm-1 text\n" appended to out. */
void sim_trace_format(struct buf *out, uint64_t at_us, const char *node, const char *text);
/* Of everything that happened so far: every line (whatever the trace's level) and every message. */
uint64_t sim_hash(const struct sim *s);

#endif
