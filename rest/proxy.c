#include "rest/proxy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "rest/reply.h"

enum { ADDRESS_MAX = 128, TRIES_MAX = 2, REPLY_MAX = 32 << 20 };

struct entry {
	struct list hook;
	struct proxy *proxy;
	struct world_request *request; /* borrows until answered or gone */
	char *tail;                    /* owns: path and query, encoded */
	char *body;                    /* owns */
	size_t body_len;
	bool repeatable;
	bool held; /* was forwarded to us: not sent on */
	unsigned tries;
	uint64_t tried_epoch; /* the leader of which did not answer; 0: none yet */
	struct world_http http;
	struct world_timer timer; /* while waiting for a leader */
};

struct proxy {
	struct world *w;
	char *own_id;
	const struct world_tls *tls;
	char address[ADDRESS_MAX]; /* "": nobody */
	uint64_t epoch;
	void (*handle)(void *owner, struct world_request *r, const char *body); /* we lead */
	void *owner;
	struct list entries;
	unsigned n_entries;
};

struct proxy *proxy_create(struct world *w, const char *own_id, const struct world_tls *tls)
{
	struct proxy *p = mem_alloc(sizeof(*p));
	p->w = w;
	p->own_id = mem_text(own_id);
	p->tls = tls;
	list_init(&p->entries);
	return p;
}

static void drop(struct entry *x)
{
	world_http_cancel(x->proxy->w, &x->http);
	world_timer_cancel(x->proxy->w, &x->timer);
	list_remove(&x->hook);
	x->proxy->n_entries--;
	free(x->tail);
	free(x->body);
	free(x);
}

void proxy_destroy(struct proxy *p)
{
	if (p == NULL)
		return;
	list_each_safe (struct entry, x, &p->entries, hook)
		drop(x);
	free(p->own_id);
	free(p);
}

static void give_up(struct entry *x, const char *why)
{
	reply_later(x->proxy->w, x->request, "%s", why);
	drop(x);
}

static void answer_done(struct world_http *http, const struct world_reply *reply);

static void send_on(struct entry *x)
{
	struct proxy *p = x->proxy;
	assert(!x->held);
	char *url = mem_printf("%s://%s%s", p->tls ? "https" : "http", p->address, x->tail);
	const struct world_header headers[] = {{PROXY_HEADER, p->own_id},
					       {"Content-Type", "application/json"}};
	const struct world_http_spec spec = {.method = x->request->method,
					     .url = url,
					     .body = x->body,
					     .body_len = x->body_len,
					     .headers = headers,
					     .n_headers = 2,
					     .reply_max = REPLY_MAX,
					     .timeout_ms = PROXY_TIMEOUT_MS,
					     .tls = p->tls};
	x->tries++;
	x->tried_epoch = p->epoch;
	world_timer_cancel(p->w, &x->timer);
	x->http = (struct world_http){.on_end = answer_done};
	world_http_start(p->w, &x->http, &spec);
	free(url);
}

static void waited(struct world_timer *t)
{
	give_up(MEM_OWNER(t, struct entry, timer),
		"Service temporarily unavailable due to an ongoing leader election. Please refresh.");
}

static void hand_back(struct entry *x)
{
	struct proxy *p = x->proxy;
	struct world_request *r = x->request;
	char *body = x->body;
	x->body = NULL;
	drop(x);
	p->handle(p->owner, r, body);
	free(body);
}

/* For a leader other than the one that did not answer. */
static void wait_for_leader(struct entry *x)
{
	struct proxy *p = x->proxy;
	if (p->handle) {
		hand_back(x);
		return;
	}
	if (p->address[0] && p->epoch != x->tried_epoch) {
		send_on(x);
		return;
	}
	x->timer.fire = waited;
	world_timer_arm(p->w, &x->timer, world_now_ms(p->w) + PROXY_WAIT_MS);
}

/* Is this the answer of one who led before who leads now? */
static bool is_old(const struct proxy *p, const char *epoch_text)
{
	uint64_t epoch = 0;
	return epoch_text && text_u64(epoch_text, &epoch, NULL) == ERR_OK && epoch < p->epoch;
}

static void pass_back(struct entry *x, const struct world_reply *reply, const char *epoch_text)
{
	struct world_header headers[2];
	unsigned n = 0;
	if (epoch_text)
		headers[n++] = (struct world_header){PROXY_EPOCH, epoch_text};
	if (reply->status == 503)
		headers[n++] = (struct world_header){"Retry-After", "1"};
	world_reply_with(x->proxy->w, x->request, reply->status, headers, n, reply->body,
			 reply->body_len);
	drop(x);
}

static void answer_done(struct world_http *http, const struct world_reply *reply)
{
	struct entry *x = MEM_OWNER(http, struct entry, http);
	struct proxy *p = x->proxy;
	const char *epoch = reply->code == ERR_OK ? reply->header(reply, PROXY_EPOCH) : NULL;
	bool is_answer = reply->code == ERR_OK && (reply->status != 503 || epoch);
	if (is_answer && (!x->repeatable || !is_old(p, epoch))) {
		pass_back(x, reply, epoch);
		return;
	}
	/* A 503 says that nothing was done; NOTSENT says that nobody heard it. */
	bool harmless = x->repeatable || reply->code == ERR_OK || reply->code == ERR_NOTSENT;
	if (x->tries < TRIES_MAX && harmless)
		wait_for_leader(x);
	else
		give_up(x, harmless
				   ? "the leader does not answer"
				   : "the leader was lost while it carried out the request: it may "
				     "or may not have happened");
}

/* Under way to somebody who does not lead any more, and no harm if it is done again. */
static bool overtaken(const struct entry *x)
{
	return x->http.impl != NULL && x->repeatable && x->tries < TRIES_MAX;
}

void proxy_leader(struct proxy *p, const char *address, uint64_t epoch)
{
	p->handle = NULL;
	if (address == NULL || strlen(address) >= ADDRESS_MAX) {
		p->address[0] = '\0';
		return;
	}
	memcpy(p->address, address, strlen(address) + 1);
	p->epoch = epoch;
	list_each_safe (struct entry, x, &p->entries, hook) {
		if (x->tried_epoch == epoch || !(world_timer_armed(&x->timer) || overtaken(x)))
			continue;
		world_http_cancel(p->w, &x->http);
		if (x->held)
			give_up(x, "another JobManager leads");
		else
			send_on(x);
	}
}

void proxy_ours(struct proxy *p,
		void (*handle)(void *owner, struct world_request *r, const char *body), void *owner)
{
	p->address[0] = '\0';
	p->handle = handle;
	p->owner = owner;
	list_each_safe (struct entry, x, &p->entries, hook) {
		if (world_timer_armed(&x->timer) || overtaken(x))
			hand_back(x);
	}
}

static struct entry *entry_add(struct proxy *p, struct world_request *r, const char *body)
{
	struct entry *x = mem_alloc(sizeof(*x));
	x->proxy = p;
	x->request = r;
	x->body_len = body ? strlen(body) : r->body_len;
	x->body = mem_text_n(body ? body : r->body, x->body_len);
	list_append(&p->entries, &x->hook);
	p->n_entries++;
	return x;
}

static bool has_room(struct proxy *p, struct world_request *r)
{
	if (p->n_entries < PROXY_OPEN_MAX)
		return true;
	reply_later(p->w, r, "too many requests wait for the leader");
	return false;
}

void proxy_forward(struct proxy *p, struct world_request *r, bool repeatable, const char *body)
{
	if (!has_room(p, r))
		return;
	struct entry *x = entry_add(p, r, body);
	struct buf tail = {0};
	text_percent(&tail, r->path, true);
	if (r->query[0])
		buf_printf(&tail, "?%s", r->query);
	x->tail = buf_take(&tail, NULL);
	x->repeatable = repeatable;
	wait_for_leader(x);
}

void proxy_hold(struct proxy *p, struct world_request *r)
{
	if (!has_room(p, r))
		return;
	struct entry *x = entry_add(p, r, NULL);
	x->held = true;
	x->tried_epoch = p->epoch; /* who is said to lead now does not count as a change */
	x->timer.fire = waited;
	world_timer_arm(p->w, &x->timer, world_now_ms(p->w) + PROXY_HOLD_MS);
}

bool proxy_gone(struct proxy *p, struct world_request *r)
{
	list_each_safe (struct entry, x, &p->entries, hook) {
		if (x->request == r) {
			drop(x);
			return true;
		}
	}
	return false;
}

bool proxy_forwarded(const struct world_request *r)
{
	return r->header(r, PROXY_HEADER) != NULL;
}
