/*
 * HTTP between nodes at the level of messages.
 *
 * An exchange is one request on one connection:
 *
 *   client                         server's machine
 *     --- SYN ---------------------> listens? ACCEPT : REFUSE     (kernel)
 *     <-- ACCEPT ------------------
 *     --- REQUEST -----------------> on_request                   (process)
 *     <-- REPLY | HEAD CHUNK* END --
 *     --- HANGUP ------------------> on_gone, if not answered yet
 *     <-- RESET -------------------  the server's end was closed
 *
 * A kept connection begins at REQUEST. The struct is shared by both ends and
 * counted: one reference for the client until on_end, one for the server until
 * it has answered, one for each message under way.
 */
#include <assert.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "world/sim/sim_impl.h"

enum { LOOPBACK_MIN_US = 15, LOOPBACK_MAX_US = 60, BACKOFF_MAX_US = 2000000, KEPT_MAX = 8 };

enum message_kind { SYN, ACCEPT, REFUSE, REQUEST, HANGUP, REPLY, HEAD, CHUNK, END, RESET };

enum direction { TO_SERVER, TO_CLIENT };

struct headers {
	char **names, **values;
	unsigned n;
};

struct listener {
	struct list hook; /* in its process's listeners */
	struct sim_world *w;
	struct world_server *s;
	unsigned port;
	size_t body_max;
};

struct kept {
	struct list hook; /* in the client's kept */
	struct sim_world *server;
	unsigned port, n;
};

struct exchange {
	struct sim *sim;
	unsigned refs;
	struct sim_world *cw, *sw; /* sw: NULL before it is accepted */
	struct sim_node *to;       /* NULL: the name is not known */
	unsigned port;
	uint64_t last_at_us[2]; /* first in, first out */
	/* the client's end */
	struct list client_hook; /* in cw->exchanges */
	struct world_http *h;    /* NULL: ended or cancelled */
	struct world_timer timer;
	uint64_t timeout_ms;
	size_t reply_max;
	bool stream, fresh, sent, lost_after;
	int status;
	struct headers reply_headers;
	struct buf reply;
	/* the server's end */
	struct list conn_hook; /* in sw->conns */
	struct listener *listener;
	struct world_request r;
	bool open;    /* handed to the server and not answered */
	bool severed; /* nothing that the server sends arrives any more */
	size_t unread, high_water;
	/* the request */
	char *method, *path, *query, *body;
	size_t body_len;
	struct headers headers;
};

struct message {
	struct sim_event event;
	struct list held_hook; /* in s->held while its link is cut */
	struct exchange *x;    /* counted */
	enum message_kind kind;
	enum direction direction;
	bool local; /* within one kernel: no link to cross */
	uint64_t held_at_us;
	enum net_cause cause;
	int status;
	struct headers headers;
	char *data;
	size_t len;
};

/* ---- headers ---- */

static void headers_add(struct headers *hs, const char *name, const char *value)
{
	hs->names = mem_resize(hs->names, hs->n + 1, sizeof(char *));
	hs->values = mem_resize(hs->values, hs->n + 1, sizeof(char *));
	hs->names[hs->n] = mem_text(name);
	hs->values[hs->n++] = mem_text(value);
}

static void headers_fini(struct headers *hs)
{
	for (unsigned i = 0; i < hs->n; i++) {
		free(hs->names[i]);
		free(hs->values[i]);
	}
	free(hs->names);
	free(hs->values);
	*hs = (struct headers){0};
}

static const char *headers_find(const struct headers *hs, const char *name)
{
	for (unsigned i = 0; i < hs->n; i++) {
		if (strcasecmp(hs->names[i], name) == 0)
			return hs->values[i];
	}
	return NULL;
}

static const char *request_header(const struct world_request *r, const char *name)
{
	return headers_find(r->impl, name);
}

static const char *reply_header(const struct world_reply *r, const char *name)
{
	return headers_find(r->impl, name);
}

/* ---- links ---- */

bool sim_is_cut(struct sim *s, const struct sim_node *from, const struct sim_node *to)
{
	if (from == to)
		return false;
	if (from->isolated || to->isolated)
		return true;
	list_each (struct sim_link, l, &s->cuts, hook) {
		if (l->from == from && l->to == to)
			return true;
	}
	return false;
}

static uint64_t draw_delay_us(struct sim *s, const struct sim_node *from, const struct sim_node *to)
{
	const struct sim_knobs *k = &s->knobs;
	if (from == to)
		return prng_between(&s->net, LOOPBACK_MIN_US, LOOPBACK_MAX_US);
	uint64_t delay_us = prng_between(&s->net, k->delay_min_us, k->delay_max_us);
	if (k->spike_ppm && prng_chance(&s->net, k->spike_ppm))
		delay_us += prng_below(&s->net, (uint64_t)k->spike_us + 1);
	return delay_us;
}

static const struct sim_node *sender(const struct message *m)
{
	return m->direction == TO_SERVER ? m->x->cw->node : m->x->to;
}

static const struct sim_node *receiver(const struct message *m)
{
	return m->direction == TO_SERVER ? m->x->to : m->x->cw->node;
}

/* ---- references ---- */

static void unref(struct exchange *x)
{
	if (--x->refs > 0)
		return;
	headers_fini(&x->headers);
	headers_fini(&x->reply_headers);
	buf_fini(&x->reply);
	free(x->method);
	free(x->path);
	free(x->query);
	free(x->body);
	free(x);
}

static void link_server(struct exchange *x, struct sim_world *sw)
{
	x->sw = sw;
	x->refs++;
	list_append(&sw->conns, &x->conn_hook);
}

static void unlink_server(struct exchange *x)
{
	if (list_empty(&x->conn_hook))
		return;
	list_remove(&x->conn_hook);
	x->open = false;
	x->listener = NULL;
	unref(x);
}

static void message_free(struct message *m)
{
	list_remove(&m->held_hook);
	headers_fini(&m->headers);
	free(m->data);
	unref(m->x);
	free(m);
}

/* ---- sending ---- */

static void arrive(struct sim *s, struct sim_event *e);

static struct message *message_new(struct exchange *x, enum message_kind kind,
				   enum direction direction)
{
	struct message *m = mem_alloc(sizeof(*m));
	m->event.run = arrive;
	m->x = x;
	m->kind = kind;
	m->direction = direction;
	list_init(&m->held_hook);
	x->refs++;
	return m;
}

static void post_at(struct message *m, uint64_t at_us)
{
	struct exchange *x = m->x;
	if (at_us < x->last_at_us[m->direction])
		at_us = x->last_at_us[m->direction];
	x->last_at_us[m->direction] = at_us;
	sim_schedule(x->sim, &m->event, at_us);
}

static void post(struct message *m)
{
	struct sim *s = m->x->sim;
	post_at(m, s->now_us + (m->local ? 0 : draw_delay_us(s, sender(m), receiver(m))));
}

static void send_bare(struct exchange *x, enum message_kind kind, enum direction direction)
{
	post(message_new(x, kind, direction));
}

static void send_reset(struct exchange *x, enum net_cause cause)
{
	struct message *m = message_new(x, RESET, TO_CLIENT);
	m->cause = cause;
	post(m);
}

static void send_data(struct exchange *x, enum message_kind kind, const void *data, size_t len)
{
	struct message *m = message_new(x, kind, TO_CLIENT);
	m->data = mem_text_n(len ? data : "", len);
	m->len = len;
	x->unread += len;
	post(m);
}

/* ---- the client's end ---- */

static struct kept *kept_find(struct sim_world *cw, const struct sim_node *to, unsigned port)
{
	list_each (struct kept, k, &cw->kept, hook) {
		if (k->server->node == to && k->port == port)
			return k;
	}
	return NULL;
}

static void kept_drop(struct kept *k)
{
	list_remove(&k->hook);
	free(k);
}

static void kept_put(struct exchange *x)
{
	if (x->fresh || x->sw == NULL)
		return;
	struct kept *k = kept_find(x->cw, x->to, x->port);
	if (k && k->server != x->sw) {
		kept_drop(k);
		k = NULL;
	}
	if (k == NULL) {
		k = mem_alloc(sizeof(*k));
		*k = (struct kept){.server = x->sw, .port = x->port};
		list_append(&x->cw->kept, &k->hook);
	}
	if (k->n < KEPT_MAX)
		k->n++;
}

/* A connection to a process that is gone is still in the pool until its end of file is seen. */
static struct sim_world *kept_take(struct exchange *x)
{
	struct sim *s = x->sim;
	struct kept *k = x->fresh ? NULL : kept_find(x->cw, x->to, x->port);
	if (k == NULL)
		return NULL;
	struct sim_world *server = k->server;
	bool unseen = server->dead && (sim_is_cut(s, x->to, x->cw->node) ||
				       s->now_us < server->dead_at_us + s->knobs.delay_max_us);
	bool usable = !server->dead || unseen;
	if (!usable || --k->n == 0)
		kept_drop(k);
	return usable ? server : NULL;
}

static void client_end(struct exchange *x, enum errc code, enum net_cause cause)
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
	unref(x);
}

static void client_fail(struct exchange *x, enum net_cause cause)
{
	client_end(x, x->sent ? ERR_UNKNOWN : ERR_NOTSENT, cause);
}

static void client_timeout(struct world_timer *t)
{
	struct exchange *x = MEM_OWNER(t, struct exchange, timer);
	if (x->to)
		send_bare(x, HANGUP, TO_SERVER);
	client_fail(x, NET_TIMEOUT);
}

static void heard(struct exchange *x)
{
	if (x->stream && x->h)
		world_timer_arm(&x->cw->base, &x->timer, x->cw->now_ms + x->timeout_ms);
}

static void client_head(struct exchange *x, struct message *m)
{
	x->status = m->status;
	headers_fini(&x->reply_headers);
	x->reply_headers = m->headers;
	m->headers = (struct headers){0};
	heard(x);
	if (x->stream && x->h && x->h->on_head)
		x->h->on_head(x->h, x->status);
}

static void client_data(struct exchange *x, const struct message *m)
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
		send_bare(x, HANGUP, TO_SERVER);
		client_end(x, ERR_LIMIT, NET_LIMIT);
	}
}

static void client_notice(struct exchange *x, struct message *m)
{
	if (m->kind == CHUNK || m->kind == REPLY)
		x->unread -= m->len;
	if (x->h == NULL)
		return;
	if (m->kind == ACCEPT) {
		x->sent = true;
		send_bare(x, REQUEST, TO_SERVER);
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

/* ---- the server's end ---- */

static struct listener *find_listener(struct sim_world *w, unsigned port)
{
	list_each (struct listener, l, &w->listeners, hook) {
		if (l->port == port)
			return l;
	}
	return NULL;
}

static struct listener *find_on_node(struct sim_node *n, unsigned port)
{
	list_each (struct sim_world, w, &n->worlds, hook) {
		struct listener *l = find_listener(w, port);
		if (l)
			return l;
	}
	return NULL;
}

static void answer(struct exchange *x, int status, struct headers *headers, const void *body,
		   size_t len)
{
	struct message *m = message_new(x, REPLY, TO_CLIENT);
	m->status = status;
	m->headers = *headers; /* takes */
	m->data = mem_text_n(len ? body : "", len);
	m->len = len;
	x->unread += len;
	post(m);
}

static void default_headers(struct headers *hs)
{
	if (headers_find(hs, "Content-Type") == NULL)
		headers_add(hs, "Content-Type", "application/json; charset=UTF-8");
	if (headers_find(hs, "Access-Control-Allow-Origin") == NULL)
		headers_add(hs, "Access-Control-Allow-Origin", "*");
}

static void server_request(struct exchange *x)
{
	static const char too_large[] =
		"{\"errors\":[\"the request body is larger than this server accepts\"]}";
	struct listener *l = find_listener(x->sw, x->port);
	if (l == NULL) {
		unlink_server(x);
		send_reset(x, NET_RESET);
		return;
	}
	if (x->body_len > l->body_max) {
		struct headers hs = {0};
		default_headers(&hs);
		answer(x, 413, &hs, too_large, sizeof(too_large) - 1);
		unlink_server(x);
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

static void server_gone(struct exchange *x)
{
	struct listener *l = x->listener;
	bool tell = x->open && l && l->s->on_gone;
	x->open = false;
	x->severed = true;
	if (tell)
		l->s->on_gone(l->s, &x->r);
	unlink_server(x);
}

static void server_notice(struct exchange *x, struct message *m)
{
	if (list_empty(&x->conn_hook))
		return;
	if (m->kind == REQUEST)
		server_request(x);
	else
		server_gone(x);
}

static struct exchange *exchange_of(struct world_request *r)
{
	return MEM_OWNER(r, struct exchange, r);
}

static bool is_silent(struct world *w)
{
	return sim_world_of(w)->dead || sim_world_of(w)->dying;
}

/* The connection breaks under both ends: the client's hears of it over the link, the server's
 * from its own kernel. */
static void sever(struct exchange *x)
{
	x->severed = true;
	send_reset(x, NET_RESET);
	struct message *m = message_new(x, HANGUP, TO_SERVER);
	m->local = true;
	sim_schedule(x->sim, &m->event, x->sim->now_us);
}

void sim_reply_with(struct world *w, struct world_request *r, int status,
		    const struct world_header *headers, unsigned n_headers, const void *body,
		    size_t len)
{
	if (is_silent(w))
		return;
	struct exchange *x = exchange_of(r);
	struct headers hs = {0};
	for (unsigned i = 0; i < n_headers; i++)
		headers_add(&hs, headers[i].name, headers[i].value);
	default_headers(&hs);
	if (x->lost_after) {
		headers_fini(&hs);
		send_reset(x, NET_RESET);
	} else if (!x->severed) {
		answer(x, status, &hs, body, len);
	} else {
		headers_fini(&hs);
	}
	unlink_server(x);
}

void sim_reply_start(struct world *w, struct world_request *r, int status, size_t high_water)
{
	if (is_silent(w))
		return;
	struct exchange *x = exchange_of(r);
	x->high_water = high_water;
	if (x->lost_after) {
		sever(x);
		return;
	}
	struct message *m = message_new(x, HEAD, TO_CLIENT);
	m->status = status;
	default_headers(&m->headers);
	post(m);
}

void sim_reply_chunk(struct world *w, struct world_request *r, const void *data, size_t len)
{
	struct exchange *x = exchange_of(r);
	if (is_silent(w) || x->severed || len == 0)
		return;
	struct sim *s = x->sim;
	if (s->knobs.stream_break_ppm && prng_chance(&s->net, s->knobs.stream_break_ppm)) {
		send_data(x, CHUNK, data, prng_below(&s->net, len));
		sever(x);
		return;
	}
	send_data(x, CHUNK, data, len);
	if (x->unread > x->high_water)
		sever(x);
}

void sim_reply_end(struct world *w, struct world_request *r)
{
	if (is_silent(w))
		return;
	struct exchange *x = exchange_of(r);
	if (!x->severed)
		send_bare(x, END, TO_CLIENT);
	unlink_server(x);
}

/* ---- arriving ---- */

static void notice(struct sim_world *w, void *arg)
{
	(void)w;
	struct message *m = arg;
	if (m->direction == TO_CLIENT)
		client_notice(m->x, m);
	else
		server_notice(m->x, m);
	message_free(m);
}

static void drop(void *arg)
{
	message_free(arg);
}

static void kernel_accept(struct message *m)
{
	struct exchange *x = m->x;
	struct listener *l = find_on_node(x->to, x->port);
	if (l == NULL) {
		send_bare(x, REFUSE, TO_CLIENT);
	} else {
		link_server(x, l->w);
		send_bare(x, ACCEPT, TO_CLIENT);
	}
	message_free(m);
}

static void at_server(struct message *m)
{
	struct exchange *x = m->x;
	if (m->kind == SYN) {
		kernel_accept(m);
	} else if (x->sw == NULL || x->sw->dead) {
		if (m->kind == REQUEST)
			send_reset(x, NET_RESET);
		message_free(m);
	} else {
		if (m->kind == REQUEST && list_empty(&x->conn_hook))
			link_server(x, x->sw); /* on a kept connection */
		sim_enter(x->sw, notice, drop, m);
	}
}

/* The sender's kernel has sent it again for long enough: it tells its process, and the other end
 * will be told when it can be reached. */
static void give_up(struct message *m)
{
	struct exchange *x = m->x;
	struct message *end =
		message_new(x, RESET, m->direction == TO_SERVER ? TO_CLIENT : TO_SERVER);
	end->local = true;
	end->cause = NET_RESET;
	end->kind = m->direction == TO_SERVER ? RESET : HANGUP;
	sim_schedule(x->sim, &end->event, x->sim->now_us);
	if (m->kind == CHUNK || m->kind == REPLY)
		x->unread -= m->len;
	m->kind = m->direction == TO_SERVER ? HANGUP : RESET;
	m->cause = NET_RESET;
}

static void hold(struct sim *s, struct message *m)
{
	if (list_empty(&m->held_hook)) {
		m->held_at_us = s->now_us;
		list_append(&s->held, &m->held_hook);
		bool data = m->kind != SYN && m->kind != HANGUP && m->kind != RESET;
		if (data)
			sim_schedule(s, &m->event, s->now_us + SIM_USER_TIMEOUT_US);
		return;
	}
	give_up(m);
}

static void arrive(struct sim *s, struct sim_event *e)
{
	struct message *m = MEM_OWNER(e, struct message, event);
	if (!m->local && sim_is_cut(s, sender(m), receiver(m))) {
		hold(s, m);
		return;
	}
	list_remove(&m->held_hook);
	unsigned mark[2] = {(unsigned)m->kind, (unsigned)m->len};
	sim_mix(s, mark, sizeof(mark));
	if (m->direction == TO_CLIENT)
		sim_enter(m->x->cw, notice, drop, m);
	else
		at_server(m);
}

/* What TCP had to send again comes after a while that grew with the outage. */
void sim_net_healed(struct sim *s)
{
	list_each_safe (struct message, m, &s->held, held_hook) {
		if (sim_is_cut(s, sender(m), receiver(m)))
			continue;
		uint64_t outage_us = s->now_us - m->held_at_us;
		uint64_t most_us = outage_us < BACKOFF_MAX_US ? outage_us : BACKOFF_MAX_US;
		list_remove(&m->held_hook);
		sim_unschedule(s, &m->event);
		post_at(m, s->now_us + draw_delay_us(s, sender(m), receiver(m)) +
				   prng_below(&s->net, most_us + 1));
	}
}

bool sim_is_cut_between(struct sim *s, const char *from, const char *to)
{
	return sim_is_cut(s, sim_node_need(s, from), sim_node_need(s, to));
}

static struct sim_link *find_cut(struct sim *s, const char *from, const char *to)
{
	list_each (struct sim_link, l, &s->cuts, hook) {
		if (strcmp(l->from->name, from) == 0 && strcmp(l->to->name, to) == 0)
			return l;
	}
	return NULL;
}

void sim_cut(struct sim *s, const char *from, const char *to)
{
	if (find_cut(s, from, to))
		return;
	sim_narrate(s, "cut %s -> %s", from, to);
	struct sim_link *l = mem_alloc(sizeof(*l));
	*l = (struct sim_link){.from = sim_node_need(s, from), .to = sim_node_need(s, to)};
	list_append(&s->cuts, &l->hook);
}

void sim_cut_both(struct sim *s, const char *a, const char *b)
{
	sim_cut(s, a, b);
	sim_cut(s, b, a);
}

void sim_heal(struct sim *s, const char *from, const char *to)
{
	struct sim_link *l = find_cut(s, from, to);
	if (l == NULL)
		return;
	sim_narrate(s, "heal %s -> %s", from, to);
	list_remove(&l->hook);
	free(l);
	sim_net_healed(s);
}

void sim_heal_both(struct sim *s, const char *a, const char *b)
{
	sim_heal(s, a, b);
	sim_heal(s, b, a);
}

void sim_isolate(struct sim *s, const char *name)
{
	sim_narrate(s, "isolate %s", name);
	sim_node_need(s, name)->isolated = true;
}

void sim_heal_all(struct sim *s)
{
	sim_narrate(s, "heal all");
	list_each (struct sim_node, n, &s->nodes, hook)
		n->isolated = false;
	list_each_safe (struct sim_link, l, &s->cuts, hook) {
		list_remove(&l->hook);
		free(l);
	}
	sim_net_healed(s);
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
static void resolve(struct exchange *x, const char *url)
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

static void connect_or_reuse(struct exchange *x)
{
	struct sim *s = x->sim;
	bool lost_before = s->knobs.lost_before_ppm && x->to != x->cw->node &&
			   prng_chance(&s->net, s->knobs.lost_before_ppm);
	x->lost_after = s->knobs.lost_after_ppm && x->to != x->cw->node &&
			prng_chance(&s->net, s->knobs.lost_after_ppm);
	if (x->to == NULL || lost_before) {
		struct message *m = message_new(x, RESET, TO_CLIENT);
		m->local = true;
		m->cause = x->to ? NET_RESET : NET_RESOLVE;
		post(m);
		return;
	}
	x->sw = kept_take(x);
	x->sent = x->sw != NULL;
	send_bare(x, x->sent ? REQUEST : SYN, TO_SERVER);
}

void sim_http_start(struct world *base, struct world_http *h, const struct world_http_spec *spec)
{
	struct sim_world *w = sim_world_of(base);
	if (is_silent(base))
		return;
	assert(h->impl == NULL && spec->timeout_ms > 0);
	assert(spec->stream || spec->reply_max > 0);
	struct exchange *x = mem_alloc(sizeof(*x));
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
		headers_add(&x->headers, spec->headers[i].name, spec->headers[i].value);
	list_init(&x->conn_hook);
	list_append(&w->exchanges, &x->client_hook);
	h->impl = x;
	world_timer_arm(base, &x->timer, world_now_ms(base) + spec->timeout_ms);
	resolve(x, spec->url);
	connect_or_reuse(x);
}

static void client_forget(struct exchange *x)
{
	x->h->impl = NULL;
	x->h = NULL;
	list_remove(&x->client_hook);
	if (x->to)
		send_bare(x, HANGUP, TO_SERVER);
	unref(x);
}

void sim_http_cancel(struct world *w, struct world_http *h)
{
	struct exchange *x = h->impl;
	if (x == NULL || sim_world_of(w)->dead)
		return;
	world_timer_cancel(w, &x->timer);
	client_forget(x);
}

enum errc sim_listen(struct world *base, struct world_server *s,
		     const struct world_listen_spec *spec, struct err *e)
{
	struct sim_world *w = sim_world_of(base);
	const char *colon = strrchr(spec->address, ':');
	if (colon == NULL || strlen(spec->address) + 8 > sizeof(s->address))
		return err_set(e, ERR_INVALID, "\"%s\" is not host:port", spec->address);
	unsigned port = (unsigned)strtoul(colon + 1, NULL, 10);
	if (is_silent(base))
		return err_set(e, ERR_IO, "this process is dead");
	while (port == 0) {
		unsigned candidate = w->node->next_port++;
		port = find_on_node(w->node, candidate) ? 0 : candidate;
	}
	if (find_on_node(w->node, port))
		return err_set(e, ERR_IO, "listen on %s: Address already in use", spec->address);
	struct listener *l = mem_alloc(sizeof(*l));
	*l = (struct listener){.w = w, .s = s, .port = port, .body_max = spec->body_max};
	list_append(&w->listeners, &l->hook);
	snprintf(s->address, sizeof(s->address), "%.*s:%u", (int)(colon - spec->address),
		 spec->address, port);
	s->impl = l;
	return ERR_OK;
}

static void close_conns(struct sim_world *w, const struct listener *only)
{
	list_each_safe (struct exchange, x, &w->conns, conn_hook) {
		if (only && x->port != only->port)
			continue;
		if (!x->severed)
			send_reset(x, NET_EOF);
		unlink_server(x);
	}
}

void sim_unlisten(struct world *base, struct world_server *s)
{
	struct sim_world *w = sim_world_of(base);
	struct listener *l = s->impl;
	if (l == NULL || w->dead)
		return;
	s->impl = NULL;
	close_conns(w, l);
	list_remove(&l->hook);
	free(l);
}

void sim_net_died(struct sim_world *w)
{
	list_each_safe (struct exchange, x, &w->exchanges, client_hook)
		client_forget(x);
	close_conns(w, NULL);
	list_each_safe (struct listener, l, &w->listeners, hook) {
		l->s->impl = NULL;
		list_remove(&l->hook);
		free(l);
	}
	list_each_safe (struct kept, k, &w->kept, hook)
		kept_drop(k);
}

void sim_net_fini(struct sim *s)
{
	while (s->queue.n > 0) {
		struct sim_event *e = s->queue.at[0];
		sim_unschedule(s, e);
		if (e->run == arrive)
			message_free(MEM_OWNER(e, struct message, event));
		else if (e->drop)
			e->drop(e);
	}
	list_each_safe (struct message, m, &s->held, held_hook)
		message_free(m);
	list_each_safe (struct sim_link, l, &s->cuts, hook)
		free(l);
}
