/* The server's end of an exchange: listening, being asked, answering. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_net.h"

/* ---- listening ---- */

static struct net_listener *find_listener(struct sim_world *w, unsigned port)
{
	list_each (struct net_listener, l, &w->listeners, hook) {
		if (l->port == port)
			return l;
	}
	return NULL;
}

struct net_listener *net_find_on_node(struct sim_node *n, unsigned port)
{
	list_each (struct sim_world, w, &n->worlds, hook) {
		struct net_listener *l = find_listener(w, port);
		if (l)
			return l;
	}
	return NULL;
}

enum errc sim_listen(struct world *base, struct world_server *s,
		     const struct world_listen_spec *spec, struct err *e)
{
	struct sim_world *w = sim_world_of(base);
	const char *colon = strrchr(spec->address, ':');
	if (colon == NULL || strlen(spec->address) + 8 > sizeof(s->address))
		return err_set(e, ERR_INVALID, "\"%s\" is not host:port", spec->address);
	unsigned port = (unsigned)strtoul(colon + 1, NULL, 10);
	if (net_is_silent(base))
		return err_set(e, ERR_IO, "this process is dead");
	while (port == 0) {
		unsigned candidate = w->node->next_port++;
		port = net_find_on_node(w->node, candidate) ? 0 : candidate;
	}
	if (net_find_on_node(w->node, port))
		return err_set(e, ERR_IO, "listen on %s: Address already in use", spec->address);
	struct net_listener *l = mem_alloc(sizeof(*l));
	*l = (struct net_listener){.w = w, .s = s, .port = port, .body_max = spec->body_max};
	list_append(&w->listeners, &l->hook);
	snprintf(s->address, sizeof(s->address), "%.*s:%u", (int)(colon - spec->address),
		 spec->address, port);
	s->impl = l;
	return ERR_OK;
}

void net_close_conns(struct sim_world *w, const struct net_listener *only)
{
	list_each_safe (struct net_exchange, x, &w->conns, conn_hook) {
		if (only && x->port != only->port)
			continue;
		if (!x->severed)
			net_send_reset(x, NET_EOF);
		net_unlink_server(x);
	}
}

void sim_unlisten(struct world *base, struct world_server *s)
{
	struct sim_world *w = sim_world_of(base);
	struct net_listener *l = s->impl;
	if (l == NULL || w->dead)
		return;
	s->impl = NULL;
	net_close_conns(w, l);
	list_remove(&l->hook);
	free(l);
}

/* ---- serving ---- */

static const char *request_header(const struct world_request *r, const char *name)
{
	return net_headers_find(r->impl, name);
}

static void answer(struct net_exchange *x, int status, struct net_headers *headers,
		   const void *body, size_t len)
{
	struct net_message *m = net_message_new(x, REPLY, TO_CLIENT);
	m->status = status;
	m->headers = *headers; /* takes */
	m->data = mem_text_n(len ? body : "", len);
	m->len = len;
	x->unread += len;
	net_post(m);
}

static void default_headers(struct net_headers *hs)
{
	if (net_headers_find(hs, "Content-Type") == NULL)
		net_headers_add(hs, "Content-Type", "application/json; charset=UTF-8");
	if (net_headers_find(hs, "Access-Control-Allow-Origin") == NULL)
		net_headers_add(hs, "Access-Control-Allow-Origin", "*");
}

static void server_request(struct net_exchange *x)
{
	static const char too_large[] =
		"{\"errors\":[\"the request body is larger than this server accepts\"]}";
	struct net_listener *l = find_listener(x->sw, x->port);
	if (l == NULL) {
		net_unlink_server(x);
		net_send_reset(x, NET_RESET);
		return;
	}
	if (x->body_len > l->body_max) {
		struct net_headers hs = {0};
		default_headers(&hs);
		answer(x, 413, &hs, too_large, sizeof(too_large) - 1);
		net_unlink_server(x);
		return;
	}
	x->listener = l;
	x->open = true;
	x->r = (struct world_request){.method = x->method,
				      .path = x->path,
				      .query = x->query,
				      .body = x->body,
				      .body_len = x->body_len,
				      .header = request_header,
				      .stamp = &l->s->stamp,
				      .impl = &x->headers};
	l->s->on_request(l->s, &x->r);
}

static void server_gone(struct net_exchange *x)
{
	struct net_listener *l = x->listener;
	bool tell = x->open && l && l->s->on_gone;
	x->open = false;
	x->severed = true;
	if (tell)
		l->s->on_gone(l->s, &x->r);
	net_unlink_server(x);
}

void net_server_notice(struct net_exchange *x, struct net_message *m)
{
	if (list_empty(&x->conn_hook))
		return;
	if (m->kind == REQUEST)
		server_request(x);
	else
		server_gone(x);
}

static struct net_exchange *exchange_of(struct world_request *r)
{
	return MEM_OWNER(r, struct net_exchange, r);
}

bool net_is_silent(struct world *w)
{
	return sim_world_of(w)->dead || sim_world_of(w)->dying;
}

/* The connection breaks under both ends: the client's hears of it over the link, the server's
 * from its own kernel. */
static void sever(struct net_exchange *x)
{
	x->severed = true;
	net_send_reset(x, NET_RESET);
	struct net_message *m = net_message_new(x, HANGUP, TO_SERVER);
	m->local = true;
	sim_schedule(x->sim, &m->event, x->sim->now_us);
}

void sim_reply_with(struct world *w, struct world_request *r, int status,
		    const struct world_header *headers, unsigned n_headers, const void *body,
		    size_t len)
{
	if (net_is_silent(w))
		return;
	struct net_exchange *x = exchange_of(r);
	struct net_headers hs = {0};
	for (unsigned i = 0; i < n_headers; i++)
		net_headers_add(&hs, headers[i].name, headers[i].value);
	default_headers(&hs);
	if (x->lost_after) {
		net_headers_fini(&hs);
		net_send_reset(x, NET_RESET);
	} else if (!x->severed) {
		answer(x, status, &hs, body, len);
	} else {
		net_headers_fini(&hs);
	}
	net_unlink_server(x);
}

void sim_reply_start(struct world *w, struct world_request *r, int status, size_t high_water)
{
	if (net_is_silent(w))
		return;
	struct net_exchange *x = exchange_of(r);
	x->high_water = high_water;
	if (x->lost_after) {
		sever(x);
		return;
	}
	struct net_message *m = net_message_new(x, HEAD, TO_CLIENT);
	m->status = status;
	default_headers(&m->headers);
	net_post(m);
}

void sim_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len)
{
	struct net_exchange *x = exchange_of(r);
	if (net_is_silent(w) || x->severed || len == 0)
		return;
	struct sim *s = x->sim;
	if (s->knobs.stream_break_ppm && prng_chance(&s->net, s->knobs.stream_break_ppm)) {
		net_send_data(x, CHUNK, data, prng_below(&s->net, len));
		sever(x);
		return;
	}
	net_send_data(x, CHUNK, data, len);
	if (x->unread > x->high_water)
		sever(x);
}

void sim_reply_end(struct world *w, struct world_request *r)
{
	if (net_is_silent(w))
		return;
	struct net_exchange *x = exchange_of(r);
	if (!x->severed)
		net_send_bare(x, END, TO_CLIENT);
	net_unlink_server(x);
}
