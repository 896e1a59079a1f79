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
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "world/sim/sim_net.h"

enum { BACKOFF_MAX_US = 2000000 };

/* ---- headers ---- */

void net_headers_add(struct net_headers *hs, const char *name, const char *value)
{
	hs->names = mem_resize(hs->names, hs->n + 1, sizeof(char *));
	hs->values = mem_resize(hs->values, hs->n + 1, sizeof(char *));
	hs->names[hs->n] = mem_text(name);
	hs->values[hs->n++] = mem_text(value);
}

void net_headers_fini(struct net_headers *hs)
{
	for (unsigned i = 0; i < hs->n; i++) {
		free(hs->names[i]);
		free(hs->values[i]);
	}
	free(hs->names);
	free(hs->values);
	*hs = (struct net_headers){0};
}

const char *net_headers_find(const struct net_headers *hs, const char *name)
{
	for (unsigned i = 0; i < hs->n; i++) {
		if (strcasecmp(hs->names[i], name) == 0)
			return hs->values[i];
	}
	return NULL;
}

/* ---- references ---- */

void net_unref(struct net_exchange *x)
{
	if (--x->refs > 0)
		return;
	net_headers_fini(&x->headers);
	net_headers_fini(&x->reply_headers);
	buf_fini(&x->reply);
	free(x->method);
	free(x->path);
	free(x->query);
	free(x->body);
	free(x);
}

void net_link_server(struct net_exchange *x, struct sim_world *sw)
{
	x->sw = sw;
	x->refs++;
	list_append(&sw->conns, &x->conn_hook);
}

void net_unlink_server(struct net_exchange *x)
{
	if (list_empty(&x->conn_hook))
		return;
	list_remove(&x->conn_hook);
	x->open = false;
	x->listener = NULL;
	net_unref(x);
}

void net_message_free(struct net_message *m)
{
	list_remove(&m->held_hook);
	net_headers_fini(&m->headers);
	free(m->data);
	net_unref(m->x);
	free(m);
}

/* ---- sending ---- */

static void arrive(struct sim *s, struct sim_event *e);

struct net_message *net_message_new(struct net_exchange *x, enum message_kind kind,
				    enum direction direction)
{
	struct net_message *m = mem_alloc(sizeof(*m));
	m->event.run = arrive;
	m->x = x;
	m->kind = kind;
	m->direction = direction;
	list_init(&m->held_hook);
	x->refs++;
	return m;
}

static void post_at(struct net_message *m, uint64_t at_us)
{
	struct net_exchange *x = m->x;
	if (at_us < x->last_at_us[m->direction])
		at_us = x->last_at_us[m->direction];
	x->last_at_us[m->direction] = at_us;
	sim_schedule(x->sim, &m->event, at_us);
}

void net_post(struct net_message *m)
{
	struct sim *s = m->x->sim;
	post_at(m, s->now_us + (m->local ? 0 : net_delay_us(s, net_sender(m), net_receiver(m))));
}

void net_send_bare(struct net_exchange *x, enum message_kind kind, enum direction direction)
{
	net_post(net_message_new(x, kind, direction));
}

void net_send_reset(struct net_exchange *x, enum net_cause cause)
{
	struct net_message *m = net_message_new(x, RESET, TO_CLIENT);
	m->cause = cause;
	net_post(m);
}

void net_send_data(struct net_exchange *x, enum message_kind kind, const void *data, size_t len)
{
	struct net_message *m = net_message_new(x, kind, TO_CLIENT);
	m->data = mem_text_n(len ? data : "", len);
	m->len = len;
	x->unread += len;
	net_post(m);
}

/* ---- arriving ---- */

static void notice(struct sim_world *w, void *arg)
{
	(void)w;
	struct net_message *m = arg;
	if (m->direction == TO_CLIENT)
		net_client_notice(m->x, m);
	else
		net_server_notice(m->x, m);
	net_message_free(m);
}

static void drop(void *arg)
{
	net_message_free(arg);
}

static void kernel_accept(struct net_message *m)
{
	struct net_exchange *x = m->x;
	struct net_listener *l = net_find_on_node(x->to, x->port);
	if (l == NULL) {
		net_send_bare(x, REFUSE, TO_CLIENT);
	} else {
		net_link_server(x, l->w);
		net_send_bare(x, ACCEPT, TO_CLIENT);
	}
	net_message_free(m);
}

static void at_server(struct net_message *m)
{
	struct net_exchange *x = m->x;
	if (m->kind == SYN) {
		kernel_accept(m);
	} else if (x->sw == NULL || x->sw->dead) {
		if (m->kind == REQUEST)
			net_send_reset(x, NET_RESET);
		net_message_free(m);
	} else {
		if (m->kind == REQUEST && list_empty(&x->conn_hook))
			net_link_server(x, x->sw); /* on a kept connection */
		sim_enter(x->sw, notice, drop, m);
	}
}

/* The sender's kernel has sent it again for long enough: it tells its process, and the other end
 * will be told when it can be reached. */
static void give_up(struct net_message *m)
{
	struct net_exchange *x = m->x;
	struct net_message *end =
		net_message_new(x, RESET, m->direction == TO_SERVER ? TO_CLIENT : TO_SERVER);
	end->local = true;
	end->cause = NET_RESET;
	end->kind = m->direction == TO_SERVER ? RESET : HANGUP;
	sim_schedule(x->sim, &end->event, x->sim->now_us);
	if (m->kind == CHUNK || m->kind == REPLY)
		x->unread -= m->len;
	m->kind = m->direction == TO_SERVER ? HANGUP : RESET;
	m->cause = NET_RESET;
}

static void hold(struct sim *s, struct net_message *m)
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
	struct net_message *m = MEM_OWNER(e, struct net_message, event);
	if (!m->local && sim_is_cut(s, net_sender(m), net_receiver(m))) {
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
	list_each_safe (struct net_message, m, &s->held, held_hook) {
		if (sim_is_cut(s, net_sender(m), net_receiver(m)))
			continue;
		uint64_t outage_us = s->now_us - m->held_at_us;
		uint64_t most_us = outage_us < BACKOFF_MAX_US ? outage_us : BACKOFF_MAX_US;
		list_remove(&m->held_hook);
		sim_unschedule(s, &m->event);
		post_at(m, s->now_us + net_delay_us(s, net_sender(m), net_receiver(m)) +
				   prng_below(&s->net, most_us + 1));
	}
}

/* ---- the end ---- */

void sim_net_died(struct sim_world *w)
{
	list_each_safe (struct net_exchange, x, &w->exchanges, client_hook)
		net_client_forget(x);
	net_close_conns(w, NULL);
	list_each_safe (struct net_listener, l, &w->listeners, hook) {
		l->s->impl = NULL;
		list_remove(&l->hook);
		free(l);
	}
	list_each_safe (struct net_kept, k, &w->kept, hook)
		net_kept_drop(k);
}

void sim_net_fini(struct sim *s)
{
	while (s->queue.n > 0) {
		struct sim_event *e = s->queue.at[0];
		sim_unschedule(s, e);
		if (e->run == arrive)
			net_message_free(MEM_OWNER(e, struct net_message, event));
		else if (e->drop)
			e->drop(e);
	}
	list_each_safe (struct net_message, m, &s->held, held_hook)
		net_message_free(m);
	list_each_safe (struct sim_link, l, &s->cuts, hook)
		free(l);
}
