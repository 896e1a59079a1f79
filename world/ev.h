/*
 * ev - the world of production: one libevent loop, libcurl for requests,
 * evhttp for serving, processes by fork and exec, a few threads for blocking
 * work. The contract is world/world.h; this header is for mains and tests.
 *
 *   struct world *w = world_ev_create(&e);
 *   world_ev_on_signals(w, on_signal, ctx);    SIGTERM and SIGINT, on the loop
 *   ... build the program's objects on w ...
 *   world_ev_run(w);                           until world_stop(w)
 *   ... destroy the program's objects ...
 *   world_ev_destroy(w);
 *
 * At world_ev_destroy nothing may be under way any more except children (they
 * are killed), kept connections and idle servers' sockets.
 *
 * Environment: WEIR_KILL_POINT and WEIR_KILL_DIR arm world_kill_point(), see
 * base/killpoint.h.
 *
 * Side effects on the process: SIGPIPE is ignored from world_ev_create() on.
 * Limits: OFFLOAD_THREADS blocking jobs at once; 8 KiB of request headers.
 */
#ifndef WORLD_EV_H
#define WORLD_EV_H

#include <stdbool.h>

#include "base/err.h"
#include "world/world.h"

struct event_base;

struct world *world_ev_create(struct err *e); /* NULL on failure */
void world_ev_run(struct world *w);
void world_ev_destroy(struct world *w); /* NULL: no-op */

/* Call on_signal on the loop for SIGTERM and SIGINT (instead of dying of them). Once per world. */
void world_ev_on_signals(struct world *w, void (*on_signal)(void *ctx, int signal), void *ctx);

/*
 * A descriptor of one's own on the loop: for the data plane's sockets, which
 * are not behind the seam. ready() runs as long as the descriptor is readable
 * (or writable); stop before closing it. Zero before use.
 */
struct world_ev_fd {
	void (*ready)(struct world_ev_fd *f, bool readable, bool writable);
	int fd;
	void *impl; /* private; not NULL while watched */
};

/* Starting a watched one changes what is watched for. */
void world_ev_fd_start(struct world *w, struct world_ev_fd *f, bool readable, bool writable);
void world_ev_fd_stop(struct world *w, struct world_ev_fd *f);

/* The loop itself, for tests. Whoever adds events to it is outside of the contract. */
struct event_base *world_ev_base(struct world *w);

#endif
