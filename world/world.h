/*
 * world - everything that a control-plane process may ask of the outside.
 *
 * Two implementations: world_ev (libevent + libcurl, world/ev.h) and the
 * simulator (virtual time, one thread, many nodes, world/sim/). A driver sees
 * no difference; so the same objects run in production and under ten thousand
 * seeds.
 *
 * Contract, the same in both:
 *  1. No callback runs inside the call that requested it.
 *  2. Once a cancel returns, the callback will not run; memory may be reused.
 *  3. Timers with equal deadlines fire in the order in which they were armed.
 *  4. world_now_ms() does not move within one callback.
 *  5. Every request has a size limit and a deadline (a stream: an idle limit),
 *     is sent at most once, and ends exactly once.
 *  6. ERR_NOTSENT (surely not carried out) and ERR_UNKNOWN (perhaps carried
 *     out) are never confused, and the cause is told apart.
 *  7. Requests and children are embedded in their owner, and zero before use.
 *     From the start to on_end (or cancel) they belong to the world.
 *
 * Threads: one, the loop's. Only world_offload runs anything elsewhere.
 * The data plane's sockets between workers are the stated exception to this seam.
 */
#ifndef WORLD_WORLD_H
#define WORLD_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct world;

/* ---- clocks, randomness, log ---- */

uint64_t world_now_ms(struct world *w); /* CLOCK_BOOTTIME, frozen per callback; for decisions */
int64_t world_wall_ms(struct world *w); /* wall clock since 1970; for display only */
uint64_t world_rand64(struct world *w); /* the kernel's; in the simulator the node's own stream */
/* How late the loop ran its last timer, ms: a paused or starved process can notice itself. */
uint64_t world_lateness_ms(struct world *w);
void world_log(struct world *w, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- timers: the zero value is idle ---- */

struct world_timer {
	void (*fire)(struct world_timer *t);
	uint64_t deadline_ms;
	uint64_t seq; /* private: order of arming */
	size_t slot;  /* private: place in the heap + 1, 0 when idle */
};

/* Fires once, at or after the deadline; arming again moves it. */
void world_timer_arm(struct world *w, struct world_timer *t, uint64_t deadline_ms);
void world_timer_cancel(struct world *w, struct world_timer *t); /* idle: no-op */
static inline bool world_timer_armed(const struct world_timer *t)
{
	return t->slot != 0;
}

/* ---- HTTP client ---- */

struct world_header {
	const char *name, *value;
};

struct world_tls {
	const char *ca_file;              /* NULL: the system's */
	const char *cert_file, *key_file; /* NULL: no client certificate */
};

struct world_http_spec {
	const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE" */
	const char *url;    /* http:// or https://, complete; copied */
	const void *body;   /* copied; NULL when body_len is 0 */
	size_t body_len;
	const struct world_header *headers; /* copied */
	unsigned n_headers;
	size_t reply_max;            /* of the whole reply; for streams of unread bytes: no limit */
	uint64_t timeout_ms;         /* whole exchange; for streams: longest silence */
	bool stream;                 /* deliver pieces by on_chunk as they come */
	bool fresh;                  /* a new connection, never a kept one */
	const struct world_tls *tls; /* borrowed until the end; NULL: defaults */
};

enum net_cause {
	NET_OK,
	NET_REFUSED,
	NET_RESET,
	NET_EOF,
	NET_TIMEOUT,
	NET_TLS,
	NET_RESOLVE,
	NET_LIMIT
};

const char *net_cause_name(enum net_cause cause);

struct world_reply {
	enum errc code;       /* OK: a complete HTTP reply arrived, whatever its status. Else
	                         NOTSENT, UNKNOWN, LIMIT (reply larger than reply_max: UNKNOWN in
	                         effect, but certain to have been answered), CANCELED never */
	enum net_cause cause; /* when code is not OK */
	int status;           /* HTTP status; 0 if none arrived */
	const char *body; /* borrowed until on_end returns; "" for streams; ends in a zero byte */
	size_t body_len;
	const char *(*header)(const struct world_reply *r, const char *name); /* NULL if absent */
	const void *impl;
};

struct world_http {
	void (*on_head)(struct world_http *h, int status); /* streams; may be NULL */
	void (*on_chunk)(struct world_http *h, const void *data, size_t len); /* streams only */
	void (*on_end)(struct world_http *h, const struct world_reply *reply);
	void *impl; /* private; not NULL while under way */
};

/* Never fails at once: what is wrong (even a malformed URL) arrives at on_end as NOTSENT. */
void world_http_start(struct world *w, struct world_http *h, const struct world_http_spec *spec);
void world_http_cancel(struct world *w, struct world_http *h); /* not under way: no-op */

/* ---- HTTP server ---- */

struct world_request {
	const char *method;
	const char *path;  /* percent-decoded, without the query */
	const char *query; /* undecoded, "" if none */
	const char *body;  /* ends in a zero byte; like the rest borrowed until the reply ends */
	size_t body_len;
	const char *(*header)(const struct world_request *r, const char *name); /* NULL if absent */
	const struct world_header *stamp;                                       /* its server's */
	void *owner; /* for the server's use */
	void *impl;  /* private */
};

struct world_server {
	void (*on_request)(struct world_server *s, struct world_request *r);
	/* The client hung up before the reply was complete: r is gone when this returns. May be
	 * NULL only if every reply is given within on_request. */
	void (*on_gone)(struct world_server *s, struct world_request *r);
	char address[128]; /* "host:port" as bound, filled in by world_listen */
	/* Sent with every whole reply that has no header of this name; name NULL: none. May change
	 * at any time; its strings are borrowed. */
	struct world_header stamp;
	void *impl; /* private */
};

struct world_listen_spec {
	const char *address; /* "host:port"; port 0: any free one */
	size_t body_max;     /* above: 413 by the world itself, {"errors":[...]} */
	const struct world_tls
		*tls; /* NULL: plain. With ca_file: client certificates are demanded */
};

MUST_CHECK enum errc world_listen(struct world *w, struct world_server *s,
				  const struct world_listen_spec *spec, struct err *e);
void world_unlisten(struct world *w,
		    struct world_server *s); /* open requests end, on_gone runs not */

/* A whole reply; may come long after on_request (a hanging GET). Copies. r is gone afterwards.
 * Content-Type is application/json; charset=UTF-8 unless a header says otherwise. */
void world_reply(struct world *w, struct world_request *r, int status, const void *body,
		 size_t len);
void world_reply_with(struct world *w, struct world_request *r, int status,
		      const struct world_header *headers, unsigned n_headers, const void *body,
		      size_t len);
/* A streamed reply (command stream, liveness). More than `high_water` unsent bytes end it as if
 * the client had hung up (on_gone). */
void world_reply_start(struct world *w, struct world_request *r, int status, size_t high_water);
void world_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len);
void world_reply_end(struct world *w, struct world_request *r);

/* ---- child processes with a control channel of lines ---- */

struct world_spawn_spec {
	const char *const *argv; /* NULL-ended; argv[0] is a path. Copied */
	const char *const *env;  /* NULL-ended "NAME=value" additions, or NULL */
	bool channel;            /* descriptor 3 of the child is a stream socket to us */
	int pass_fd;             /* becomes descriptor 4 of the child; -1: none. Stays ours too */
	const char *log_path;    /* its stdout and stderr are appended there; NULL: inherited */
	size_t line_max;
};

struct world_child {
	void (*on_line)(struct world_child *c, const char *line,
			size_t len); /* without the newline */
	/* After this nothing more comes. signal is 0 if it exited by itself. */
	void (*on_exit)(struct world_child *c, int exit_status, int signal);
	int pid;
	void *impl; /* private; not NULL until on_exit */
};

/* The child inherits no other descriptor, dies with us (PR_SET_PDEATHSIG), has default signals. */
MUST_CHECK enum errc world_spawn(struct world *w, struct world_child *c,
				 const struct world_spawn_spec *spec, struct err *e);
/* Sends one line (the newline is added). Queued without limit; dropped once the child is gone. */
void world_child_send(struct world *w, struct world_child *c, const char *line, size_t len);
void world_child_kill(struct world *w, struct world_child *c, int signal);
/* Kill it with SIGKILL and forget it: no callback runs any more. */
void world_child_abandon(struct world *w, struct world_child *c);

/* ---- blocking work elsewhere ---- */

struct world_work {
	void (*run)(
		struct world_work *k); /* on another thread; touches nothing but its own struct */
	void (*done)(struct world_work *k); /* on the loop */
	void *impl;                         /* private */
};

/* At most a few run at once; the rest queue in order. There is no cancel: the owner outlives it. */
void world_offload(struct world *w, struct world_work *k);

/* ---- the end ---- */

/* Leave the loop after this callback; the process ends cleanly (in the simulator: the node). */
void world_stop(struct world *w);
/* Stop this process now: its state is corrupt and it must not act again. (Being deposed is no
 * reason.) In production the log is flushed and the process aborts. */
_Noreturn void world_die(struct world *w, const char *why);
/* A named moment at which a test or drill may kill this process (armed by WEIR_KILL_POINT=name[:n]
 * in world_ev, by the seed in the simulator). Not armed: one comparison. */
void world_kill_point(struct world *w, const char *name);

#endif
