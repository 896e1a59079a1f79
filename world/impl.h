/*
 * impl - what an implementation of the world must bring along. Included by
 * world.c and by the implementations only; users see world/world.h.
 *
 * An implementation's own struct begins with struct world, so that one program
 * can hold many worlds of both kinds (a test process, the simulator's nodes).
 */
#ifndef WORLD_IMPL_H
#define WORLD_IMPL_H

#include "world/world.h"

struct world_ops {
	uint64_t (*now_ms)(struct world *w);
	int64_t (*wall_ms)(struct world *w);
	uint64_t (*rand64)(struct world *w);
	uint64_t (*lateness_ms)(struct world *w);
	bool (*log_on)(struct world *w, enum log_level level);
	void (*log)(struct world *w, enum log_level level, const char *text);
	void (*timer_arm)(struct world *w, struct world_timer *t, uint64_t deadline_ms);
	void (*timer_cancel)(struct world *w, struct world_timer *t);
	void (*http_start)(struct world *w, struct world_http *h,
			   const struct world_http_spec *spec);
	void (*http_cancel)(struct world *w, struct world_http *h);
	enum errc (*listen)(struct world *w, struct world_server *s,
			    const struct world_listen_spec *spec, struct err *e);
	void (*unlisten)(struct world *w, struct world_server *s);
	void (*reply_with)(struct world *w, struct world_request *r, int status,
			   const struct world_header *headers, unsigned n_headers, const void *body,
			   size_t len);
	void (*reply_start)(struct world *w, struct world_request *r, int status,
			    size_t high_water);
	void (*reply_chunk)(struct world *w, struct world_request *r, const void *data, size_t len);
	void (*reply_end)(struct world *w, struct world_request *r);
	enum errc (*spawn)(struct world *w, struct world_child *c,
			   const struct world_spawn_spec *spec, struct err *e);
	void (*child_send)(struct world *w, struct world_child *c, const char *line, size_t len);
	void (*child_kill)(struct world *w, struct world_child *c, int signal);
	void (*child_abandon)(struct world *w, struct world_child *c);
	void (*offload)(struct world *w, struct world_work *k);
	void (*stop)(struct world *w);
	void (*die)(struct world *w, const char *why); /* does not return */
	void (*kill_point)(struct world *w, const char *name);
};

struct world {
	const struct world_ops *ops;
	bool kill_armed; /* a kill point may be hit: ask the implementation */
};

#endif
