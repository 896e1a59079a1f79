/*
 * Is a TaskManager whose command stream ended dead? Its data port tells: a
 * connection that is refused means that the process is gone. A dying process
 * closes its descriptors one after the other, so a connection that is accepted
 * and then reset is tried again, a few times within a quarter of a second.
 * Silence proves nothing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "jobmanager/node_inside.h"

enum { PROBE_TRIES = 7, PROBE_FIRST_MS = 2, PROBE_TIMEOUT_MS = 300, PROBE_REPLY_MAX = 4096 };

struct probe {
	struct list hook;
	struct jm_node *node;
	struct world_http http;
	struct world_timer timer;
	uint64_t token;
	unsigned tries;
	char address[ADDRESS_BYTES];
};

static void ask(struct probe *p);

static void drop(struct probe *p)
{
	world_timer_cancel(p->node->w, &p->timer);
	world_http_cancel(p->node->w, &p->http);
	list_remove(&p->hook);
	free(p);
}

static void again(struct world_timer *t)
{
	ask(MEM_OWNER(t, struct probe, timer));
}

static void answered(struct world_http *h, const struct world_reply *r)
{
	struct probe *p = MEM_OWNER(h, struct probe, http);
	struct jm_node *n = p->node;
	if (r->code && r->cause == NET_REFUSED) {
		struct jm_event ev = {.kind = JM_TM_DEAD, .token = p->token};
		drop(p);
		node_step(n, &ev);
		return;
	}
	bool broke_off = r->code && (r->cause == NET_RESET || r->cause == NET_EOF);
	if (!broke_off || ++p->tries == PROBE_TRIES) {
		drop(p);
		return;
	}
	p->timer.fire = again;
	world_timer_arm(n->w, &p->timer,
			world_now_ms(n->w) + ((uint64_t)PROBE_FIRST_MS << (p->tries - 1)));
}

static void ask(struct probe *p)
{
	char url[ADDRESS_BYTES + 16];
	snprintf(url, sizeof(url), "http://%s/", p->address);
	p->http = (struct world_http){.on_end = answered};
	world_http_start(p->node->w, &p->http,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .reply_max = PROBE_REPLY_MAX,
						   .timeout_ms = PROBE_TIMEOUT_MS,
						   .fresh = true});
}

void probe_start(struct jm_node *n, uint64_t token, const char *address)
{
	struct probe *p = mem_alloc(sizeof(*p));
	p->node = n;
	p->token = token;
	snprintf(p->address, sizeof(p->address), "%s", address);
	list_append(&n->probes, &p->hook);
	ask(p);
}

void probe_fini(struct jm_node *n)
{
	list_each_safe (struct probe, p, &n->probes, hook)
		drop(p);
}
