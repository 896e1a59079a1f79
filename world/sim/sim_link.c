/* Links: how long a message takes, and which are cut. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_net.h"

enum { LOOPBACK_MIN_US = 15, LOOPBACK_MAX_US = 60 };

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

uint64_t net_delay_us(struct sim *s, const struct sim_node *from, const struct sim_node *to)
{
	const struct sim_knobs *k = &s->knobs;
	if (from == to)
		return prng_between(&s->net, LOOPBACK_MIN_US, LOOPBACK_MAX_US);
	uint64_t delay_us = prng_between(&s->net, k->delay_min_us, k->delay_max_us);
	if (k->spike_ppm && prng_chance(&s->net, k->spike_ppm))
		delay_us += prng_below(&s->net, (uint64_t)k->spike_us + 1);
	return delay_us;
}

const struct sim_node *net_sender(const struct net_message *m)
{
	return m->direction == TO_SERVER ? m->x->cw->node : m->x->to;
}

const struct sim_node *net_receiver(const struct net_message *m)
{
	return m->direction == TO_SERVER ? m->x->to : m->x->cw->node;
}

/* ---- cutting and healing ---- */

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
