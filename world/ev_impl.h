/*
 * ev_impl - what the parts of world_ev share. Private to world/ev_*.c.
 *
 * Rules that make the contract hold:
 *  - a callback of libevent or libcurl first calls ev_wake(), which reads the
 *    clock once; world_now_ms() returns that value until the next ev_wake();
 *  - nothing found inside a libcurl callback is delivered there: it is put in
 *    line with ev_defer() and runs from the loop's own turn (ev_loop.c), where
 *    users may start and cancel whatever they like;
 *  - a struct that may vanish in a user's callback is never touched after it,
 *    unless an `alive` mark on the caller's stack says that it is still there.
 */
#ifndef WORLD_EV_IMPL_H
#define WORLD_EV_IMPL_H

#include <curl/curl.h>
#include <event2/event.h>
#include <pthread.h>
#include <sys/types.h>

#include "base/killpoint.h"
#include "base/list.h"
#include "world/ev.h"
#include "world/impl.h"
#include "world/timers.h"

enum {
	OFFLOAD_THREADS = 3,
	IDLE_HANDLES_MAX = 64,
	SERVER_IDLE_S = 60,
	USER_TIMEOUT_MS = 5000,
	HEADERS_MAX = 8192
};

/* Something to do in the loop's next turn; zeroed or list_init'ed hook = not in line. */
struct ev_task {
	struct list hook;
	void (*run)(struct ev_task *t);
};

struct ev_offload {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct ev_job *waiting, **waiting_end;   /* guarded by lock */
	struct ev_job *finished, **finished_end; /* guarded by lock */
	bool stopping;                           /* guarded by lock */
	pthread_t threads[OFFLOAD_THREADS];
	unsigned n_threads; /* started at the first job */
	int wake_fd;        /* an eventfd; -1 before the first job */
	struct event *wake;
};

struct ev {
	struct world base; /* first */
	struct event_base *loop;
	uint64_t now_ms;
	uint64_t lateness_ms;
	bool running;
	bool stopped;
	struct timers timers;
	uint64_t timer_set_ms; /* what timer_fd is set to; 0: not set */
	int timer_fd;
	struct event *timer_event;
	struct list tasks; /* of struct ev_task */
	struct event *task_event;
	/* signals */
	void (*on_signal)(void *ctx, int signal);
	void *signal_ctx;
	struct event *signals[2];
	struct killpoint kill;
	/* HTTP client */
	CURLM *multi;
	struct event *curl_timer;
	CURL *idle[IDLE_HANDLES_MAX];
	unsigned n_idle;
	struct list exchanges; /* of struct ev_exchange */
	/* HTTP servers, children, offload */
	struct list servers;  /* of struct ev_server */
	struct list children; /* of struct ev_child */
	struct ev_offload off;
};

static inline struct ev *ev_of(struct world *w)
{
	return (struct ev *)(void *)w;
}

void ev_wake(struct ev *ev);
void ev_task_init(struct ev_task *t, void (*run)(struct ev_task *t));
void ev_defer(struct ev *ev, struct ev_task *t); /* in line already: no-op */
void ev_undefer(struct ev_task *t);

bool ev_http_client_init(struct ev *ev, struct err *e);
void ev_http_client_fini(struct ev *ev);
void ev_http_start(struct world *w, struct world_http *h, const struct world_http_spec *spec);
void ev_http_cancel(struct world *w, struct world_http *h);

void ev_http_server_fini(struct ev *ev);
enum errc ev_listen(struct world *w, struct world_server *s, const struct world_listen_spec *spec,
		    struct err *e);
void ev_unlisten(struct world *w, struct world_server *s);
void ev_reply_with(struct world *w, struct world_request *r, int status,
		   const struct world_header *headers, unsigned n_headers, const void *body,
		   size_t len);
void ev_reply_start(struct world *w, struct world_request *r, int status, size_t high_water);
void ev_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len);
void ev_reply_end(struct world *w, struct world_request *r);

void ev_children_fini(struct ev *ev);
enum errc ev_spawn(struct world *w, struct world_child *c, const struct world_spawn_spec *spec,
		   struct err *e);
void ev_child_send(struct world *w, struct world_child *c, const char *line, size_t len);
void ev_child_kill(struct world *w, struct world_child *c, int signal);
void ev_child_abandon(struct world *w, struct world_child *c);

void ev_offload_fini(struct ev *ev);
void ev_offload(struct world *w, struct world_work *k);

#endif
