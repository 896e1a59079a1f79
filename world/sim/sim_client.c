/* The client's end of an exchange, from world_http_start() to its end. */
#include <assert.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_net.h"

enum { KEPT_MAX = 8 };

/* ---- kept connections ---- */

static struct net_kept *kept_find(struct sim_world *cw, const struct sim_node *to, unsigned port)
{
	list_each (struct net_kept, k, &cw->kept, hook) {
		if (k->server->node == to && k->port == port)
			return k;
	}
	return NULL;
}

void net_kept_drop(struct net_kept *k)
{
	list_remove(&k->hook);
	free(k);
}

static void kept_put(struct net_exchange *x)
{
	if (x->fresh || x->sw == NULL)
		return;
	struct net_kept *k = kept_find(x->cw, x->to, x->port);
	if (k && k->server != x->sw) {
		net_kept_drop(k);
		k = NULL;
	}
	if (k == NULL) {
		k = mem_alloc(sizeof(*k));
		*k = (struct net_kept){.server = x->sw, .port = x->port};
		list_append(&x->cw->kept, &k->hook);
	}
	if (k->n < KEPT_MAX)
		k->n++;
}

/* A connection to a process that is gone is still in the pool until its end of file is seen. */
static struct sim_world *kept_take(struct net_exchange *x)
{
	struct sim *s = x->sim;
	struct net_kept *k = x->fresh ? NULL : kept_find(x->cw, x->to, x->port);
	if (k == NULL)
		return NULL;
	struct sim_world *server = k->server;
	bool unseen = server->dead && (sim_is_cut(s, x->to, x->cw->node) ||
				       s->now_us < server->dead_at_us + s->knobs.delay_max_us);
	bool usable = !server->dead || unseen;
	if (!usable || --k->n == 0)
		net_kept_drop(k);
	return usable ? server : NULL;
}

static const char *reply_header(const struct world_reply *r, const char *name)
{
	return net_headers_find(r->impl, name);
}

/* ---- what it notices ---- */

static void client_end(struct net_exchange *x, enum errc code, enum net_cause cause)
{
	struct world_http *h = x->h;
	if (h == NULL)
		return;
	world_timer_cancel(&x->cw->base, &x->timer);
	list_remove(&x->client_hook);
	x->h = NULL;
	h->impl = NULL;
	if (code == ERR_OK)
		kept_put(x);
	struct world_reply reply = {
		.code = code,
		.cause = cause,
		.status = x->status,
		.body = x->stream || x->reply.data == NULL ? "" : x->reply.data,
		.body_len = x->stream ? 0 : x->reply.len,
		.header = reply_header,
		.impl = &x->reply_headers,
	};
	h->on_end(h, &reply);
	net_unref(x);
}

static void client_fail(struct net_exchange *x, enum net_cause cause)
{
	client_end(x, x->sent ? ERR_UNKNOWN : ERR_NOTSENT, cause);
}

static void client_timeout(struct world_timer *t)
{
	struct net_exchange *x = MEM_OWNER(t, struct net_exchange, timer);
	if (x->to)
		net_send_bare(x, HANGUP, TO_SERVER);
	client_fail(x, NET_TIMEOUT);
}

static void heard(struct net_exchange *x)
{
	if (x->stream && x->h)
		world_timer_arm(&x->cw->base, &x->timer, x->cw->now_ms + x->timeout_ms);
}

static void client_head(struct net_exchange *x, struct net_message *m)
{
	x->status = m->status;
	net_headers_fini(&x->reply_headers);
	x->reply_headers = m->headers;
	m->headers = (struct net_headers){0};
	heard(x);
	if (x->stream && x->h && x->h->on_head)
		x->h->on_head(x->h, x->status);
}

static void client_data(struct net_exchange *x, const struct net_message *m)
{
	if (x->h == NULL || m->len == 0)
		return;
	heard(x);
	if (x->stream) {
		if (x->sim->watch && x->sim->watch->on_chunk)
			x->sim->watch->on_chunk(x->sim->watch, x->cw->node->name, x->path, m->data,
						m->len);
		x->h->on_chunk(x->h, m->data, m->len);
		return;
	}
	buf_add(&x->reply, m->data, m->len);
	if (x->reply.full) {
		net_send_bare(x, HANGUP, TO_SERVER);
		client_end(x, ERR_LIMIT, NET_LIMIT);
	}
}

void net_client_notice(struct net_exchange *x, struct net_message *m)
{
	if (m->kind == CHUNK || m->kind == REPLY)
		x->unread -= m->len;
	if (x->h == NULL)
		return;
	if (m->kind == ACCEPT) {
		x->sent = true;
		net_send_bare(x, REQUEST, TO_SERVER);
	}
	if (m->kind == REFUSE)
		client_fail(x, NET_REFUSED);
	if (m->kind == RESET)
		client_fail(x, m->cause);
	if (m->kind == HEAD || m->kind == REPLY)
		client_head(x, m);
	if (m->kind == CHUNK || m->kind == REPLY)
		client_data(x, m);
	if (m->kind == END || m->kind == REPLY)
		client_end(x, ERR_OK, NET_OK);
}

/* ---- starting and cancelling ---- */

static bool is_self(const char *host)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "0.0.0.0", "[::1]"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(host, names[i]) == 0)
			return true;
	}
	return false;
}

static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	char *text = NULL;
	if (curl_url_get(u, part, &text, flags) != CURLUE_OK)
		return mem_text("");
	char *copy = mem_text(text);
	curl_free(text);
	return copy;
}

/* to stays NULL if the URL is malformed or names nobody. */
static void resolve(struct net_exchange *x, const char *url)
{
	CURLU *u = curl_url();
	bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK;
	char *host = url_part(u, CURLUPART_HOST, 0);
	char *port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	x->path = url_part(u, CURLUPART_PATH, CURLU_URLDECODE);
	x->query = url_part(u, CURLUPART_QUERY, 0);
	x->port = (unsigned)strtoul(port, NULL, 10);
	if (ok)
		x->to = is_self(host) ? x->cw->node : sim_node_find(x->sim, host);
	free(host);
	free(port);
	curl_url_cleanup(u);
}

static void connect_or_reuse(struct net_exchange *x)
{
	struct sim *s = x->sim;
	bool lost_before = s->knobs.lost_before_ppm && x->to != x->cw->node &&
			   prng_chance(&s->net, s->knobs.lost_before_ppm);
	x->lost_after = s->knobs.lost_after_ppm && x->to != x->cw->node &&
			prng_chance(&s->net, s->knobs.lost_after_ppm);
	if (x->to == NULL || lost_before) {
		struct net_message *m = net_message_new(x, RESET, TO_CLIENT);
		m->local = true;
		m->cause = x->to ? NET_RESET : NET_RESOLVE;
		net_post(m);
		return;
	}
	x->sw = kept_take(x);
	x->sent = x->sw != NULL;
	net_send_bare(x, x->sent ? REQUEST : SYN, TO_SERVER);
}

void sim_http_start(struct world *base, struct world_http *h, const struct world_http_spec *spec)
{
	struct sim_world *w = sim_world_of(base);
	if (net_is_silent(base))
		return;
	assert(h->impl == NULL && spec->timeout_ms > 0);
	assert(spec->stream || spec->reply_max > 0);
	struct net_exchange *x = mem_alloc(sizeof(*x));
	x->sim = w->sim;
	x->refs = 1;
	x->cw = w;
	x->h = h;
	x->timer.fire = client_timeout;
	x->timeout_ms = spec->timeout_ms;
	x->stream = spec->stream;
	x->fresh = spec->fresh;
	buf_init(&x->reply, spec->stream ? 0 : spec->reply_max);
	x->method = mem_text(spec->method);
	x->body = mem_text_n(spec->body_len ? spec->body : "", spec->body_len);
	x->body_len = spec->body_len;
	for (unsigned i = 0; i < spec->n_headers; i++)
		net_headers_add(&x->headers, spec->headers[i].name, spec->headers[i].value);
	list_init(&x->conn_hook);
	list_append(&w->exchanges, &x->client_hook);
	h->impl = x;
	world_timer_arm(base, &x->timer, world_now_ms(base) + spec->timeout_ms);
	resolve(x, spec->url);
	connect_or_reuse(x);
}

void net_client_forget(struct net_exchange *x)
{
	x->h->impl = NULL;
	x->h = NULL;
	list_remove(&x->client_hook);
	if (x->to)
		net_send_bare(x, HANGUP, TO_SERVER);
	net_unref(x);
}

void sim_http_cancel(struct world *w, struct world_http *h)
{
	struct net_exchange *x = h->impl;
	if (x == NULL || sim_world_of(w)->dead)
		return;
	world_timer_cancel(w, &x->timer);
	net_client_forget(x);
}
