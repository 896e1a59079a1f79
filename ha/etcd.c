#include "ha/etcd.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"

enum {
	PAUSE_FIRST_MS = 50,
	WATCH_LINE_BYTES = 8 << 20,
	REPLY_SMALL_BYTES = 4 << 20,
	TERM_MEMORY_MS = 10000
};

enum lane { LANE_GENERAL, LANE_LEASE, LANE_COUNT };

/* One member, and the login there that others wait for. */
struct endpoint {
	struct etcd *c;
	char *token; /* NULL: none. "": this etcd has authentication switched off */
	bool logging_in;
	struct world_http login;
};

struct etcd {
	struct world *w;
	struct members members;
	struct endpoint endpoints[MEMBERS_MAX]; /* in their places */
	struct tries tries;
	char *user, *password;
	const struct world_tls *tls;
	uint64_t attempt_ms, attempt_max_ms;
	unsigned lane[LANE_COUNT]; /* index of the endpoint in use */
	struct list flights;
	uint64_t cluster_id, revision, term;
	uint64_t term_ms; /* when a member last answered with that term */
	bool regressed;
	char regress_why[160];
	char trouble[256];
	unsigned last;
};

/* A call or a watch under way. */
struct flight {
	struct etcd *c;
	struct list hook;
	struct etcd_call *call;   /* or */
	struct etcd_watch *watch; /* the other is NULL */
	enum call_kind kind;
	char *body;
	uint64_t deadline_ms; /* 0: none */
	uint64_t silence_ms;  /* watch */
	int only_at;          /* endpoint, or -1 */
	struct world_http http;
	struct world_timer pause;
	bool waiting_login;
	bool may_have_happened; /* some try's outcome is unknown */
	bool logged_in_again;   /* in this try, because the token was refused */
	unsigned endpoint;
	unsigned fast_failures; /* in a row: after one round over the members, a pause */
	uint64_t timeout_ms, pause_ms;
	uint64_t sent_ms, first_sent_ms;
	uint64_t revision_before; /* highest revision known when this try left */
	struct buf line;          /* watch: bytes not yet ended by a newline */
};

static void attempt(struct flight *f);
static void login(struct endpoint *p);

static const char *url_of(const struct etcd *c, unsigned endpoint)
{
	return c->members.at[endpoint].url;
}

static enum lane lane_of(enum call_kind kind)
{
	return kind == CALL_RENEW ? LANE_LEASE : LANE_GENERAL;
}

/* ---- life ---- */

struct etcd *etcd_create(struct world *w, const struct etcd_config *config)
{
	assert(config->n_endpoints > 0);
	struct etcd *c = mem_alloc(sizeof *c);
	c->w = w;
	members_init(&c->members, config->endpoints, config->n_endpoints);
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		c->endpoints[i].c = c;
	c->user = config->user ? mem_text(config->user) : NULL;
	c->password = config->password ? mem_text(config->password) : mem_text("");
	c->tls = config->tls;
	c->attempt_ms = config->attempt_ms;
	c->attempt_max_ms = config->attempt_max_ms < config->attempt_ms ? config->attempt_ms
									: config->attempt_max_ms;
	c->lane[LANE_LEASE] = members_next(&c->members, 0);
	list_init(&c->flights);
	return c;
}

static void land(struct flight *f)
{
	world_http_cancel(f->c->w, &f->http);
	world_timer_cancel(f->c->w, &f->pause);
	list_remove(&f->hook);
	if (f->call)
		f->call->impl = NULL;
	if (f->watch)
		f->watch->impl = NULL;
	buf_fini(&f->line);
	free(f->body);
	free(f);
}

void etcd_destroy(struct etcd *c)
{
	if (c == NULL)
		return;
	list_each_safe (struct flight, f, &c->flights, hook)
		land(f);
	for (unsigned i = 0; i < MEMBERS_MAX; i++) {
		world_http_cancel(c->w, &c->endpoints[i].login);
		free(c->endpoints[i].token);
	}
	free(c->user);
	free(c->password);
	free(c);
}

void etcd_view(const struct etcd *c, struct etcd_view *out)
{
	*out = (struct etcd_view){.cluster_id = c->cluster_id,
				  .revision = c->revision,
				  .term = c->term,
				  .regressed = c->regressed,
				  .regress_why = c->regress_why,
				  .trouble = c->trouble,
				  .endpoint = url_of(c, c->last),
				  .members = &c->members,
				  .tries = &c->tries};
}

/* ---- what headers tell ---- */

static void regress(struct etcd *c, const char *what, uint64_t now, uint64_t before)
{
	if (c->regressed)
		return;
	c->regressed = true;
	snprintf(c->regress_why, sizeof c->regress_why,
		 "the store went back in time: %s %" PRIu64 " after %" PRIu64, what, now, before);
	world_log(c->w, LOG_LEVEL_ERROR, "etcd: %s; nothing is decided until it is recovered",
		  c->regress_why);
}

/* A member that was learnt, and answers for another cluster: its address means somebody else here,
 * or by now. That says nothing about the store. */
static bool is_foreign(struct flight *f, const struct wire_header *h)
{
	struct etcd *c = f->c;
	if (c->members.at[f->endpoint].configured || !c->cluster_id || !h->cluster_id ||
	    h->cluster_id == c->cluster_id)
		return false;
	world_log(c->w, LOG_LEVEL_WARN, "etcd: %s belongs to another cluster: not used",
		  url_of(c, f->endpoint));
	members_proved(&c->members, f->endpoint, false);
	return true;
}

static void note_header(struct flight *f, const struct wire_header *h)
{
	struct etcd *c = f->c;
	if (c->cluster_id && h->cluster_id && h->cluster_id != c->cluster_id)
		regress(c, "cluster id", h->cluster_id, c->cluster_id);
	/* Only a transaction that writes is surely answered as of its place in the log. */
	if (call_of(f->kind)->answer == ANSWER_TXN && h->revision < f->revision_before)
		regress(c, "revision", h->revision, f->revision_before);
	if (c->cluster_id == 0)
		c->cluster_id = h->cluster_id;
	if (h->revision > c->revision)
		c->revision = h->revision;
	if (h->term >= c->term) {
		c->term = h->term;
		c->term_ms = world_now_ms(c->w);
	}
}

/* A member that has not heard of etcd's newest leader may confirm what is over: a renewal of a
 * lease that expired, a read of what was. Unless nobody knows of the newer term any more; in a
 * store that was restored terms began anew. */
static bool outdated(const struct etcd *c, const struct wire_header *h)
{
	return h->term && h->term < c->term && !c->regressed &&
	       world_now_ms(c->w) < c->term_ms + TERM_MEMORY_MS;
}

/* ---- the end of a call ---- */

static void finish(struct flight *f, enum errc code, const char *text, struct wire_answer *answer)
{
	struct etcd_call *call = f->call;
	call->err.code = code;
	snprintf(call->err.text, sizeof call->err.text, "%s", text);
	call->sent_ms = f->sent_ms;
	call->first_sent_ms = f->first_sent_ms;
	call->answer = answer ? *answer : (struct wire_answer){0};
	land(f);
	call->done(call);
}

static void lose(struct flight *f, const char *why)
{
	struct etcd_watch *watch = f->watch;
	char text[200];
	snprintf(text, sizeof text, "%s", why);
	land(f);
	watch->on_lost(watch, text);
}

static bool past_deadline(const struct flight *f)
{
	return f->deadline_ms && world_now_ms(f->c->w) >= f->deadline_ms;
}

static void give_up(struct flight *f)
{
	char text[300];
	snprintf(text, sizeof text, "etcd %s: no definite answer in time; last: %s",
		 call_of(f->kind)->name, f->c->trouble[0] ? f->c->trouble : "none");
	finish(f, f->may_have_happened ? ERR_UNKNOWN : ERR_NOTSENT, text, NULL);
}

/* ---- trying again ---- */

static void paused(struct world_timer *t)
{
	attempt(MEM_OWNER(t, struct flight, pause));
}

static void rotate(struct flight *f)
{
	struct etcd *c = f->c;
	if (f->only_at >= 0)
		return;
	unsigned *lane = &c->lane[lane_of(f->kind)];
	if (*lane == f->endpoint)
		*lane = members_next(&c->members, *lane);
}

/* At once at the next member; but after a round of failures that took no time, later. */
static void try_again(struct flight *f, bool took_time)
{
	struct etcd *c = f->c;
	uint64_t now = world_now_ms(c->w), at = now;
	f->logged_in_again = false;
	if (took_time) {
		f->fast_failures = 0;
	} else if (++f->fast_failures % c->members.n_used == 0 || f->only_at >= 0) {
		at = now + f->pause_ms;
		f->pause_ms = f->pause_ms * 2 < c->attempt_ms ? f->pause_ms * 2 : c->attempt_ms;
	}
	f->timeout_ms *= 2;
	if (f->timeout_ms > c->attempt_max_ms)
		f->timeout_ms = c->attempt_max_ms;
	if (f->deadline_ms && at > f->deadline_ms)
		at = f->deadline_ms;
	world_timer_arm(c->w, &f->pause, at);
}

static void note_trouble(struct flight *f, const struct err *e)
{
	struct etcd *c = f->c;
	snprintf(c->trouble, sizeof c->trouble, "%s: %.200s", url_of(c, f->endpoint), e->text);
}

static void note_try(struct flight *f, enum try_outcome outcome)
{
	tries_note(&f->c->tries, f->kind, outcome, world_now_ms(f->c->w) - f->sent_ms);
}

static void failed(struct flight *f, const struct err *e, bool took_time)
{
	note_try(f, e->code == ERR_UNKNOWN ? TRY_UNKNOWN : TRY_REFUSED);
	note_trouble(f, e);
	world_log(f->c->w, LOG_LEVEL_DEBUG, "etcd %s failed at %s", call_of(f->kind)->name,
		  f->c->trouble);
	rotate(f);
	if (f->watch)
		lose(f, e->text);
	else if (past_deadline(f))
		give_up(f);
	else
		try_again(f, took_time);
}

/* ---- one try ---- */

/* The token was refused: log in once more at this member. True: the flight waits for that. */
static bool login_again(struct flight *f, const struct err *e)
{
	struct endpoint *p = &f->c->endpoints[f->endpoint];
	if (f->c->user == NULL || f->logged_in_again || e->code != ERR_DENIED)
		return false;
	f->logged_in_again = true;
	f->waiting_login = true;
	if (!p->logging_in) {
		free(p->token);
		p->token = NULL;
		login(p);
	}
	return true;
}

/* A refusal is definite unless an earlier try may have been, or may yet be, carried out; but that
 * a lease exists, or does not, is an answer of the store. AGAIN is "ask another member". */
static void refused(struct flight *f, const struct err *e)
{
	bool of_the_store = e->code == ERR_EXISTS || e->code == ERR_NOTFOUND;
	bool open = f->may_have_happened && call_of(f->kind)->changes && !of_the_store;
	if (f->watch || e->code == ERR_AGAIN || open) {
		failed(f, e, false);
	} else {
		if (e->code == ERR_DENIED || e->code == ERR_UNAVAILABLE || e->code == ERR_INVALID)
			note_trouble(f, e);
		note_try(f, TRY_ANSWERED);
		finish(f, e->code, e->text, NULL);
	}
}

static void answered(struct flight *f, const struct world_reply *r)
{
	struct err e = {0};
	struct wire_answer a = {0};
	if (r->status == 200) {
		if (wire_parse(call_of(f->kind)->answer, r->body, r->body_len, &a, &e)) {
			/* not what etcd says: somebody in between, or cut short */
			if (e.code == ERR_INVALID)
				e.code = ERR_UNKNOWN;
		} else if (is_foreign(f, &a.header)) {
			err_set(&e, ERR_UNKNOWN, "it belongs to another cluster");
			wire_answer_fini(&a);
		} else {
			note_header(f, &a.header);
			if (!outdated(f->c, &a.header)) {
				f->c->trouble[0] = 0;
				note_try(f, TRY_ANSWERED);
				finish(f, ERR_OK, "", &a);
				return;
			}
			err_set(&e, ERR_UNKNOWN, "an answer of term %" PRIu64 " after %" PRIu64,
				a.header.term, f->c->term);
			wire_answer_fini(&a);
		}
	} else {
		wire_error(r->status, r->body, r->body_len, &e);
	}
	char text[200];
	int64_t code = wire_error_code(r->body, r->body_len, text, sizeof text);
	if (wire_needs_login(code, text) && login_again(f, &e))
		return;
	if (e.code == ERR_UNKNOWN) {
		f->may_have_happened = true;
		failed(f, &e, world_now_ms(f->c->w) > f->sent_ms + 20);
	} else {
		refused(f, &e);
	}
}

static void attempt_done(struct world_http *h, const struct world_reply *r)
{
	struct flight *f = MEM_OWNER(h, struct flight, http);
	if (r->code == ERR_OK && f->watch == NULL) {
		answered(f, r);
		return;
	}
	struct err e = {0};
	if (r->code == ERR_OK) { /* a watch: refused with a status, or ended */
		if (r->status == 200)
			err_set(&e, ERR_UNKNOWN, "watch: the stream ended");
		else
			wire_error(r->status, r->body, r->body_len, &e);
	} else if (r->code == ERR_LIMIT) {
		err_set(&e, ERR_LIMIT, "an answer larger than allowed");
		if (call_of(f->kind)->changes)
			e.code = ERR_UNKNOWN;
	} else {
		err_set(&e, r->code, "%s", net_cause_name(r->cause));
	}
	if (e.code == ERR_UNKNOWN)
		f->may_have_happened = true;
	if (e.code == ERR_LIMIT)
		refused(f, &e);
	else
		failed(f, &e, r->cause == NET_TIMEOUT);
}

/* Lines of a watch. Returns false once the flight is gone. */
static bool take_line(struct flight *f, const char *line, size_t len)
{
	struct wire_frame frame;
	struct err e = {0};
	if (wire_parse_frame(line, len, &frame, &e)) {
		lose(f, e.text);
		return false;
	}
	if (is_foreign(f, &frame.header)) {
		wire_frame_fini(&frame);
		lose(f, "watch: it belongs to another cluster");
		return false;
	}
	note_header(f, &frame.header);
	if (frame.created)
		note_try(f, TRY_ANSWERED);
	bool canceled = frame.canceled;
	struct etcd_watch *watch = f->watch;
	if (!canceled)
		watch->on_frame(watch, &frame);
	wire_frame_fini(&frame);
	if (watch->impl != f) /* cancelled, or started anew, by its owner */
		return false;
	if (canceled)
		lose(f, "watch: canceled by etcd");
	return !canceled;
}

static void watch_chunk(struct world_http *h, const void *data, size_t len)
{
	struct flight *f = MEM_OWNER(h, struct flight, http);
	buf_add(&f->line, data, len);
	if (f->line.full) {
		lose(f, "watch: a line larger than allowed");
		return;
	}
	size_t begin = 0;
	for (;;) {
		const char *start = f->line.data + begin;
		const char *end = memchr(start, '\n', f->line.len - begin);
		if (end == NULL)
			break;
		if (end > start && !take_line(f, start, (size_t)(end - start)))
			return;
		begin = (size_t)(end - f->line.data) + 1;
	}
	buf_shift(&f->line, begin);
}

static uint64_t try_timeout(const struct flight *f)
{
	if (f->watch)
		return f->silence_ms;
	uint64_t now = world_now_ms(f->c->w), timeout = f->timeout_ms;
	if (f->deadline_ms && f->deadline_ms < now + timeout)
		timeout = f->deadline_ms > now ? f->deadline_ms - now : 1;
	return timeout ? timeout : 1;
}

static void send_try(struct flight *f)
{
	struct etcd *c = f->c;
	const struct endpoint *p = &c->endpoints[f->endpoint];
	struct world_header headers[3] = {{"Content-Type", "application/json"},
					  {"Grpc-Metadata-hasleader", "true"}};
	unsigned n = 2;
	if (p->token && p->token[0])
		headers[n++] = (struct world_header){"Authorization", p->token};
	char url[512];
	snprintf(url, sizeof url, "%s%s", url_of(c, f->endpoint), call_of(f->kind)->path);
	f->sent_ms = world_now_ms(c->w);
	if (f->first_sent_ms == 0)
		f->first_sent_ms = f->sent_ms;
	f->revision_before = c->revision;
	bool large = f->kind == CALL_RANGE || f->kind == CALL_BARRIER || f->kind == CALL_TAKE;
	world_http_start(c->w, &f->http,
			 &(struct world_http_spec){
				 .method = "POST",
				 .url = url,
				 .body = f->body,
				 .body_len = strlen(f->body),
				 .headers = headers,
				 .n_headers = n,
				 .reply_max = large ? LIMIT_ETCD_REPLY_BYTES : REPLY_SMALL_BYTES,
				 .timeout_ms = try_timeout(f),
				 .stream = f->watch != NULL,
				 .tls = c->tls,
			 });
}

static void attempt(struct flight *f)
{
	struct etcd *c = f->c;
	if (f->call && past_deadline(f)) {
		give_up(f);
		return;
	}
	unsigned *lane = &c->lane[lane_of(f->kind)];
	if (!members_used(&c->members, *lane))
		*lane = members_next(&c->members, *lane);
	f->endpoint = f->only_at >= 0 ? (unsigned)f->only_at : *lane;
	c->last = f->endpoint;
	struct endpoint *p = &c->endpoints[f->endpoint];
	if (c->user && p->token == NULL) {
		f->waiting_login = true;
		if (!p->logging_in)
			login(p);
		return;
	}
	send_try(f);
}

/* ---- login: one at a time per member; everybody there waits for it ---- */

static void login_result(struct endpoint *p, const struct err *e)
{
	struct etcd *c = p->c;
	p->logging_in = false;
	/* Completions may end flights, or start some: take one at a time from the top. */
	for (;;) {
		struct flight *f = NULL;
		list_each (struct flight, g, &c->flights, hook)
			if (g->waiting_login && &c->endpoints[g->endpoint] == p) {
				f = g;
				break;
			}
		if (f == NULL)
			return;
		f->waiting_login = false;
		if (e->code == ERR_OK)
			send_try(f);
		else if (e->code == ERR_DENIED)
			refused(f, e);
		else
			failed(f, e, false);
		if (p->logging_in) /* somebody began anew: the rest waits for that */
			return;
	}
}

static void login_done(struct world_http *h, const struct world_reply *r)
{
	struct endpoint *p = MEM_OWNER(h, struct endpoint, login);
	struct wire_answer a = {0};
	struct err e = {0};
	if (r->code != ERR_OK)
		err_set(&e, ERR_NOTSENT, "login: %s", net_cause_name(r->cause));
	else if (r->status == 200)
		wire_parse(ANSWER_TOKEN, r->body, r->body_len, &a, &e)
			? err_wrap(&e, e.code, "login")
			: ERR_OK;
	else
		err_wrap(&e, wire_error(r->status, r->body, r->body_len, &e), "login");
	if (e.code == ERR_OK) {
		p->token = a.token ? mem_text(a.token) : mem_text("");
	} else if (strstr(e.text, "authentication is not enabled")) {
		p->token = mem_text("");
		e = (struct err){0};
	}
	wire_answer_fini(&a);
	login_result(p, &e);
}

static void login(struct endpoint *p)
{
	struct etcd *c = p->c;
	p->logging_in = true;
	p->login = (struct world_http){.on_end = login_done};
	char url[512], *body = wire_login(c->user, c->password);
	snprintf(url, sizeof url, "%s%s", url_of(c, (unsigned)(p - c->endpoints)),
		 call_of(CALL_LOGIN)->path);
	struct world_header headers[] = {{"Content-Type", "application/json"},
					 {"Grpc-Metadata-hasleader", "true"}};
	/* The password check alone takes some 80 ms of etcd's processor. */
	world_http_start(c->w, &p->login,
			 &(struct world_http_spec){.method = "POST",
						   .url = url,
						   .body = body,
						   .body_len = strlen(body),
						   .headers = headers,
						   .n_headers = 2,
						   .reply_max = REPLY_SMALL_BYTES,
						   .timeout_ms = c->attempt_max_ms,
						   .tls = c->tls});
	free(body);
}

/* ---- the doors ---- */

void etcd_learn(struct etcd *c, char *const *urls, size_t n)
{
	bool busy[MEMBERS_MAX] = {false};
	list_each (struct flight, f, &c->flights, hook)
		busy[f->endpoint] = true;
	for (unsigned i = 0; i < MEMBERS_MAX; i++) {
		busy[i] |= c->endpoints[i].logging_in;
		if (c->members.at[i].state != MEMBER_FREE || busy[i])
			continue;
		free(c->endpoints[i].token);
		c->endpoints[i].token = NULL;
	}
	members_listed(&c->members, urls, n, busy, world_now_ms(c->w));
}

void etcd_proved(struct etcd *c, unsigned endpoint, bool answered)
{
	members_proved(&c->members, endpoint, answered);
	if (!members_used(&c->members, endpoint))
		return;
	world_log(c->w, LOG_LEVEL_INFO, "etcd: %s is a member too", url_of(c, endpoint));
	if (c->lane[LANE_LEASE] == c->lane[LANE_GENERAL])
		c->lane[LANE_LEASE] = endpoint;
}

static struct flight *take_off(struct etcd *c, enum call_kind kind, char *body)
{
	struct flight *f = mem_alloc(sizeof *f);
	f->c = c;
	f->kind = kind;
	f->body = body;
	f->only_at = -1;
	f->http = (struct world_http){.on_end = attempt_done};
	f->pause = (struct world_timer){.fire = paused};
	f->timeout_ms = c->attempt_ms;
	f->pause_ms = PAUSE_FIRST_MS;
	f->line.max = WATCH_LINE_BYTES;
	list_append(&c->flights, &f->hook);
	return f;
}

static void start(struct etcd *c, struct etcd_call *call, enum call_kind kind, char *body,
		  uint64_t deadline_ms, int only_at)
{
	assert(call->impl == NULL && kind != CALL_WATCH && kind != CALL_LOGIN);
	struct flight *f = take_off(c, kind, body);
	f->call = call;
	f->deadline_ms = deadline_ms;
	f->only_at = only_at;
	call->impl = f;
	if (past_deadline(f)) /* not inside the call */
		world_timer_arm(c->w, &f->pause, 0);
	else
		attempt(f);
}

void etcd_start(struct etcd *c, struct etcd_call *call, enum call_kind kind, char *body,
		uint64_t deadline_ms)
{
	start(c, call, kind, body, deadline_ms, -1);
}

void etcd_start_at(struct etcd *c, struct etcd_call *call, enum call_kind kind, char *body,
		   uint64_t deadline_ms, unsigned endpoint)
{
	assert(endpoint < MEMBERS_MAX);
	start(c, call, kind, body, deadline_ms, (int)endpoint);
}

void etcd_cancel(struct etcd *c, struct etcd_call *call)
{
	(void)c;
	if (call->impl)
		land(call->impl);
}

void etcd_watch_start(struct etcd *c, struct etcd_watch *watch, const char *prefix,
		      uint64_t from_revision, uint64_t silence_ms)
{
	assert(watch->impl == NULL);
	struct flight *f = take_off(c, CALL_WATCH, wire_watch(prefix, from_revision));
	f->watch = watch;
	f->silence_ms = silence_ms;
	f->http.on_chunk = watch_chunk;
	watch->impl = f;
	attempt(f);
}

void etcd_watch_cancel(struct etcd *c, struct etcd_watch *watch)
{
	(void)c;
	if (watch->impl)
		land(watch->impl);
}
