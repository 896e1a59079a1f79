#include "jobmanager/liveness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"

enum { HEAD_MAX = 512, RETRY_MIN_MS = 4, RETRY_MAX_MS = 500 };

/* One JobManager ahead of us. */
struct watched {
	struct list hook;
	struct liveness *l;
	struct ha_member member;
	struct world_http http;
	struct world_timer again;
	bool asking;       /* the connection had ended; this one asks whether the process is gone */
	uint64_t retry_ms; /* pause before the next try: doubles while it does not answer */
	char head[HEAD_MAX];
	size_t head_len;
	bool kept; /* still ahead, by the newest queue */
};

/* An address for which a verdict was wrong. */
struct distrust {
	struct list hook;
	char address[128];
	char instance[ID_TEXT]; /* the last one declared dead there */
	uint64_t until_ms, span_ms;
};

struct liveness {
	struct world *w;
	struct ha *ha;
	const struct world_tls *tls;
	struct list watched, distrusted;
};

struct liveness *liveness_create(struct world *w, struct ha *ha, const struct world_tls *tls)
{
	struct liveness *l = mem_alloc(sizeof(*l));
	l->w = w;
	l->ha = ha;
	l->tls = tls;
	list_init(&l->watched);
	list_init(&l->distrusted);
	return l;
}

static void unwatch(struct watched *x)
{
	world_http_cancel(x->l->w, &x->http);
	world_timer_cancel(x->l->w, &x->again);
	list_remove(&x->hook);
	free(x);
}

void liveness_destroy(struct liveness *l)
{
	if (l == NULL)
		return;
	list_each_safe (struct watched, x, &l->watched, hook)
		unwatch(x);
	list_each_safe (struct distrust, d, &l->distrusted, hook) {
		list_remove(&d->hook);
		free(d);
	}
	free(l);
}

/* ---- verdicts ---- */

static struct distrust *record_of(struct liveness *l, const char *address)
{
	list_each (struct distrust, d, &l->distrusted, hook) {
		if (strcmp(d->address, address) == 0)
			return d;
	}
	struct distrust *d = mem_alloc(sizeof(*d));
	snprintf(d->address, sizeof(d->address), "%s", address);
	list_append(&l->distrusted, &d->hook);
	return d;
}

static void declare(struct watched *x, enum ha_cause cause, const char *why)
{
	struct liveness *l = x->l;
	struct distrust *d = record_of(l, x->member.cluster_address);
	if (world_now_ms(l->w) < d->until_ms) {
		world_log(l->w, LOG_LEVEL_WARN,
			  "jobmanager %s seems dead (%s), but such a verdict was wrong lately; the "
			  "lease decides",
			  x->member.id, why);
		return;
	}
	memcpy(d->instance, x->member.instance, sizeof(d->instance));
	world_log(l->w, LOG_LEVEL_INFO, "jobmanager %s is dead: %s", x->member.id, why);
	ha_declare_dead(l->ha, x->member.instance, cause, why);
}

/* Somebody whom we declared dead queues again. */
static void wrong(struct liveness *l, struct distrust *d)
{
	d->span_ms = d->span_ms ? 2 * d->span_ms : LIVENESS_DISTRUST_MS;
	if (d->span_ms > LIVENESS_DISTRUST_MAX_MS)
		d->span_ms = LIVENESS_DISTRUST_MAX_MS;
	d->until_ms = world_now_ms(l->w) + d->span_ms;
	d->instance[0] = '\0';
}

/* ---- watching ---- */

static void watch(struct watched *x, bool asking);

static void watch_again(struct world_timer *t)
{
	struct watched *x = MEM_OWNER(t, struct watched, again);
	watch(x, x->asking);
}

static void later(struct watched *x, bool asking)
{
	x->asking = asking;
	x->again.fire = watch_again;
	world_timer_arm(x->l->w, &x->again, world_now_ms(x->l->w) + x->retry_ms);
	x->retry_ms = 2 * x->retry_ms < RETRY_MAX_MS ? 2 * x->retry_ms : RETRY_MAX_MS;
}

/* The first line names the instance that answers. */
static void read_head(struct watched *x)
{
	char *end = memchr(x->head, '\n', x->head_len);
	json_t *o = NULL;
	const char *instance = NULL;
	if (end == NULL)
		return;
	if (json_parse(x->head, (size_t)(end - x->head), &o, NULL) == ERR_OK &&
	    json_get_text(o, "", "instance", &instance, NULL) == ERR_OK &&
	    strcmp(instance, x->member.instance) != 0)
		declare(x, HA_CAUSE_REPLACED, "another instance answers at its address");
	json_decref(o);
	x->retry_ms = RETRY_MIN_MS;
	x->asking = false; /* it lives, or has been reported */
	x->head_len = HEAD_MAX;
}

static void chunk(struct world_http *http, const void *data, size_t len)
{
	struct watched *x = MEM_OWNER(http, struct watched, http);
	if (x->head_len >= HEAD_MAX)
		return;
	size_t n = len < HEAD_MAX - x->head_len ? len : HEAD_MAX - x->head_len;
	memcpy(x->head + x->head_len, data, n);
	x->head_len += n;
	read_head(x);
}

static void ended(struct world_http *http, const struct world_reply *reply)
{
	struct watched *x = MEM_OWNER(http, struct watched, http);
	bool refused = reply->code == ERR_NOTSENT && reply->cause == NET_REFUSED;
	if (refused)
		declare(x, HA_CAUSE_KILLED, "its address refuses connections");
	else
		world_log(x->l->w, LOG_LEVEL_DEBUG, "jobmanager %s: liveness ended: %s",
			  x->member.id, net_cause_name(reply->cause));
	if (refused || reply->cause == NET_TIMEOUT || x->asking)
		later(x, true); /* suspected, or declared: the queue says what becomes of it */
	else
		watch(x, true); /* it hung up: ask at once whether it is gone */
}

static void watch(struct watched *x, bool asking)
{
	struct liveness *l = x->l;
	char url[256];
	snprintf(url, sizeof(url), "%s://%s/v1/cluster/liveness", l->tls ? "https" : "http",
		 x->member.cluster_address);
	x->asking = asking;
	x->head_len = 0;
	x->http = (struct world_http){.on_chunk = chunk, .on_end = ended};
	world_http_start(l->w, &x->http,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .timeout_ms = LIVENESS_SILENCE_MS,
						   .stream = true,
						   .fresh = true,
						   .tls = l->tls});
}

static struct watched *find(struct liveness *l, const struct ha_member *m)
{
	list_each (struct watched, x, &l->watched, hook) {
		if (strcmp(x->member.instance, m->instance) == 0)
			return x;
	}
	return NULL;
}

static void keep(struct liveness *l, const struct ha_member *m)
{
	struct watched *x = find(l, m);
	if (x != NULL) {
		x->kept = true;
		return;
	}
	x = mem_alloc(sizeof(*x));
	x->l = l;
	x->member = *m;
	x->kept = true;
	x->retry_ms = RETRY_MIN_MS;
	list_append(&l->watched, &x->hook);
	watch(x, false);
}

void liveness_members(struct liveness *l, const struct ha_member *members, size_t n)
{
	list_each (struct watched, x, &l->watched, hook) {
		x->kept = false;
	}
	for (size_t i = 0; i < n; i++) {
		list_each (struct distrust, d, &l->distrusted, hook) {
			if (d->instance[0] && strcmp(d->instance, members[i].instance) == 0 &&
			    find(l, &members[i]) == NULL)
				wrong(l, d);
		}
	}
	for (size_t i = 0; i < n && !members[i].self; i++)
		keep(l, &members[i]);
	list_each_safe (struct watched, x, &l->watched, hook) {
		if (!x->kept)
			unwatch(x);
	}
}
