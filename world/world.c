#include "world/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "world/impl.h"

enum { LOG_TEXT_MAX = 8000, REPLY_HEADERS_MAX = 8 };

const char *net_cause_name(enum net_cause cause)
{
	static const char *const names[] = {"ok",      "refused", "reset",   "end of file",
					    "timeout", "tls",     "resolve", "limit"};
	return names[cause];
}

uint64_t world_now_ms(struct world *w)
{
	return w->ops->now_ms(w);
}

int64_t world_wall_ms(struct world *w)
{
	return w->ops->wall_ms(w);
}

uint64_t world_rand64(struct world *w)
{
	return w->ops->rand64(w);
}

uint64_t world_lateness_ms(struct world *w)
{
	return w->ops->lateness_ms(w);
}

void world_log(struct world *w, enum log_level level, const char *fmt, ...)
{
	if (!w->ops->log_on(w, level))
		return;
	char text[LOG_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	w->ops->log(w, level, text);
}

void world_timer_arm(struct world *w, struct world_timer *t, uint64_t deadline_ms)
{
	w->ops->timer_arm(w, t, deadline_ms);
}

void world_timer_cancel(struct world *w, struct world_timer *t)
{
	w->ops->timer_cancel(w, t);
}

void world_http_start(struct world *w, struct world_http *h, const struct world_http_spec *spec)
{
	w->ops->http_start(w, h, spec);
}

void world_http_cancel(struct world *w, struct world_http *h)
{
	w->ops->http_cancel(w, h);
}

enum errc world_listen(struct world *w, struct world_server *s,
		       const struct world_listen_spec *spec, struct err *e)
{
	return w->ops->listen(w, s, spec, e);
}

void world_unlisten(struct world *w, struct world_server *s)
{
	w->ops->unlisten(w, s);
}

void world_reply(struct world *w, struct world_request *r, int status, const void *body, size_t len)
{
	world_reply_with(w, r, status, NULL, 0, body, len);
}

void world_reply_with(struct world *w, struct world_request *r, int status,
		      const struct world_header *headers, unsigned n_headers, const void *body,
		      size_t len)
{
	struct world_header all[REPLY_HEADERS_MAX];
	bool stamped = r->stamp->name == NULL;
	assert(n_headers < REPLY_HEADERS_MAX);
	for (unsigned i = 0; i < n_headers; i++) {
		all[i] = headers[i];
		stamped |= !stamped && strcasecmp(headers[i].name, r->stamp->name) == 0;
	}
	if (!stamped)
		all[n_headers++] = *r->stamp;
	w->ops->reply_with(w, r, status, all, n_headers, body, len);
}

void world_reply_start(struct world *w, struct world_request *r, int status, size_t high_water)
{
	w->ops->reply_start(w, r, status, high_water);
}

void world_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len)
{
	w->ops->reply_chunk(w, r, data, len);
}

void world_reply_end(struct world *w, struct world_request *r)
{
	w->ops->reply_end(w, r);
}

enum errc world_spawn(struct world *w, struct world_child *c, const struct world_spawn_spec *spec,
		      struct err *e)
{
	return w->ops->spawn(w, c, spec, e);
}

void world_child_send(struct world *w, struct world_child *c, const char *line, size_t len)
{
	w->ops->child_send(w, c, line, len);
}

void world_child_kill(struct world *w, struct world_child *c, int signal)
{
	w->ops->child_kill(w, c, signal);
}

void world_child_abandon(struct world *w, struct world_child *c)
{
	w->ops->child_abandon(w, c);
}

void world_offload(struct world *w, struct world_work *k)
{
	w->ops->offload(w, k);
}

void world_stop(struct world *w)
{
	w->ops->stop(w);
}

void world_die(struct world *w, const char *why)
{
	w->ops->die(w, why);
	abort(); /* die does not return; the compiler cannot know */
}

void world_kill_point(struct world *w, const char *name)
{
	if (w->kill_armed)
		w->ops->kill_point(w, name);
}
