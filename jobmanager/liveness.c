#include "jobmanager/liveness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "ha/suspect.h"

enum {
	RETRY_MIN_MS = 1,       /* one that dies may still accept: its next answer is the refusal */
	RETRY_REFUSED_MS = 100, /* there is nobody: whether somebody comes is not urgent */
	RETRY_MAX_MS = 500,
	VOTE_TIMEOUT_MS = 7000, /* it hangs for 5 s */
	VOTE_AGAIN_MS = 200,
	VOTE_REPLY_MAX = 4096,
	SUSPENDED_LOOK_MS = 250, /* first in the queue: are we suspended? */
	LAST_WORDS_MS = 100
};

/* One other JobManager. */
struct watched {
	struct list hook;
	struct liveness *l;
	struct ha_member member;
	bool kept; /* still there, by the newest queue */
	bool gone; /* not any more; its last words may be on their way */
	/* the hanging GET */
	struct world_http http;
	struct world_timer again;
	uint64_t retry_ms; /* pause before the next try: doubles while it does not answer */
	bool named;        /* this connection leads to the right instance */
	bool asking;       /* the one before had ended; this one asks whether the process is gone */
	char line[LIVENESS_LINE_MAX];
	size_t line_len;
	bool in_line; /* between '{' and the newline; dots otherwise */
	/* etcd's word about its lease */
	struct ha_renewal renewal;
	/* our vote, told to it */
	struct world_http vote;
	struct world_timer vote_again;
};

/* Somebody behind us, asked while we are suspended. */
struct question {
	struct liveness *l;
	char address[128];
	struct world_http http;
};

struct liveness {
	struct world *w;
	struct ha *ha;
	const struct world_tls *tls;
	struct list watched;
	struct suspect suspect;
	struct world_timer wake;
	char id[NODE_ID_MAX], instance[ID_TEXT]; /* our own, once we stand in the queue */
	uint64_t voting;                         /* against who has this revision; 0: not */
	uint64_t epoch_base;                     /* revision + base = epoch */
	/* first in the queue: those behind us */
	struct question questions[SUSPECT_PEERS_MAX];
	unsigned n_questions; /* 0 also while we are not the first */
	struct world_timer look;
};

static void step(struct liveness *l, struct suspect_event *ev);
static void watch(struct watched *x, bool asking);

static struct watched *find(struct liveness *l, const char *instance)
{
	list_each (struct watched, x, &l->watched, hook) {
		if (strcmp(x->member.instance, instance) == 0)
			return x;
	}
	return NULL;
}

static const char *scheme(const struct liveness *l)
{
	return l->tls ? "https" : "http";
}

/* ---- our vote ---- */

static void vote_at(struct watched *x);

static void vote_again(struct world_timer *t)
{
	vote_at(MEM_OWNER(t, struct watched, vote_again));
}

static void vote_ended(struct world_http *http, const struct world_reply *reply)
{
	struct watched *x = MEM_OWNER(http, struct watched, vote);
	(void)reply; /* whoever leads now, the queue tells */
	x->vote_again.fire = vote_again;
	world_timer_arm(x->l->w, &x->vote_again, world_now_ms(x->l->w) + VOTE_AGAIN_MS);
}

static void vote_at(struct watched *x)
{
	struct liveness *l = x->l;
	char url[512];
	if (l->voting == 0 || x->gone || x->member.create_revision == l->voting || x->vote.impl ||
	    world_timer_armed(&x->vote_again))
		return;
	snprintf(url, sizeof(url),
		 "%s://%s/v1/cluster/leader?after=%" PRIu64 "&jobmanager=%s&instance=%s", scheme(l),
		 x->member.cluster_address, l->voting + l->epoch_base, l->id, l->instance);
	x->vote = (struct world_http){.on_end = vote_ended};
	world_http_start(l->w, &x->vote,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .reply_max = VOTE_REPLY_MAX,
						   .timeout_ms = VOTE_TIMEOUT_MS,
						   .tls = l->tls});
}

static void withdraw(struct liveness *l)
{
	l->voting = 0;
	list_each (struct watched, x, &l->watched, hook) {
		world_http_cancel(l->w, &x->vote);
		world_timer_cancel(l->w, &x->vote_again);
	}
}

static void speak(struct liveness *l, uint64_t revision)
{
	l->voting = revision;
	list_each (struct watched, x, &l->watched, hook)
		vote_at(x);
}

/* ---- suspended: does another lead? ---- */

static void answered(struct world_http *http, const struct world_reply *reply)
{
	struct liveness *l = MEM_OWNER(http, struct question, http)->l;
	struct ha_status s;
	json_t *o = NULL;
	uint64_t epoch = 0;
	ha_status(l->ha, &s);
	if (s.role != HA_SUSPENDED || reply->code != ERR_OK || reply->status != 200 ||
	    json_parse(reply->body, reply->body_len, &o, NULL) != ERR_OK)
		return;
	const json_t *leader = json_object_get(o, "leader");
	const char *instance = json_string_value(json_object_get(leader, "instance"));
	if (instance && strcmp(instance, l->instance) != 0 &&
	    json_get_u64(leader, "leader", "epoch", &epoch, NULL) == ERR_OK &&
	    epoch > s.epoch.v + l->epoch_base)
		ha_outrun(l->ha);
	json_decref(o);
}

static void ask_who_leads(struct question *q, uint64_t revision)
{
	struct liveness *l = q->l;
	char url[256];
	if (q->http.impl)
		return;
	snprintf(url, sizeof(url), "%s://%s/v1/cluster/leader?after=%" PRIu64, scheme(l),
		 q->address, revision + l->epoch_base);
	q->http = (struct world_http){.on_end = answered};
	world_http_start(l->w, &q->http,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .reply_max = VOTE_REPLY_MAX,
						   .timeout_ms = VOTE_TIMEOUT_MS,
						   .tls = l->tls});
}

static void look(struct world_timer *t)
{
	struct liveness *l = MEM_OWNER(t, struct liveness, look);
	struct ha_status s;
	ha_status(l->ha, &s);
	for (unsigned i = 0; i < l->n_questions; i++) {
		if (s.role == HA_SUSPENDED)
			ask_who_leads(&l->questions[i], s.epoch.v);
		else
			world_http_cancel(l->w, &l->questions[i].http);
	}
	world_timer_arm(l->w, &l->look, world_now_ms(l->w) + SUSPENDED_LOOK_MS);
}

static void forget_questions(struct liveness *l)
{
	for (unsigned i = 0; i < l->n_questions; i++)
		world_http_cancel(l->w, &l->questions[i].http);
	l->n_questions = 0;
	world_timer_cancel(l->w, &l->look);
}

static void renew_questions(struct liveness *l, const struct ha_member *members, size_t n)
{
	forget_questions(l);
	for (size_t i = 1; i < n && members[0].self && l->n_questions < SUSPECT_PEERS_MAX; i++) {
		struct question *q = &l->questions[l->n_questions];
		if (members[i].self || !members[i].cluster_address[0])
			continue;
		q->l = l;
		snprintf(q->address, sizeof(q->address), "%s", members[i].cluster_address);
		l->n_questions++;
	}
	if (!l->n_questions)
		return;
	l->look.fire = look;
	world_timer_arm(l->w, &l->look, world_now_ms(l->w) + SUSPENDED_LOOK_MS);
}

/* ---- what the core wants ---- */

static void renewal_told(struct ha_renewal *r)
{
	struct watched *x = MEM_OWNER(r, struct watched, renewal);
	step(x->l, &(struct suspect_event){.kind = SUSPECT_EV_RENEWAL,
					   .instance = x->member.instance,
					   .failed = r->err.code != ERR_OK,
					   .granted_s = r->granted_s,
					   .left_s = r->left_s});
}

static void give_up(struct liveness *l, const struct watched *x, const struct suspect_effect *f)
{
	static const enum ha_cause causes[] = {[SUSPECT_REFUSED] = HA_CAUSE_KILLED,
					       [SUSPECT_REPLACED] = HA_CAUSE_REPLACED,
					       [SUSPECT_LOST] = HA_CAUSE_SUSPECTED};
	world_log(l->w, LOG_LEVEL_INFO, "jobmanager %s is given up: %s", x->member.id, f->text);
	ha_declare_dead(l->ha, f->instance, causes[f->how], f->text);
}

static void carry_out(struct liveness *l, const struct suspect_effect *f)
{
	struct watched *x = find(l, f->instance);
	switch (f->kind) {
	case SUSPECT_FX_GIVE_UP:
		if (x)
			give_up(l, x, f);
		break;
	case SUSPECT_FX_TAKE_BACK:
		ha_take_back(l->ha, f->instance);
		break;
	case SUSPECT_FX_RENEWAL:
		if (x == NULL || x->renewal.impl)
			break;
		x->renewal.done = renewal_told;
		ha_renewal(l->ha, &x->renewal, f->instance);
		break;
	case SUSPECT_FX_SUSPECT:
		ha_note_sign(l->ha, f->instance, HA_SIGN_SUSPECTED, world_now_ms(l->w));
		world_log(l->w, LOG_LEVEL_INFO, "jobmanager %s is silent: suspected",
			  x ? x->member.id : "?");
		break;
	case SUSPECT_FX_VOTE:
		speak(l, f->epoch);
		break;
	case SUSPECT_FX_WITHDRAW:
		withdraw(l);
		break;
	case SUSPECT_FX_NOTE:
		world_log(l->w, LOG_LEVEL_INFO, "%s", f->text);
		break;
	}
}

static void woke(struct world_timer *t)
{
	struct liveness *l = MEM_OWNER(t, struct liveness, wake);
	step(l,
	     &(struct suspect_event){.kind = SUSPECT_EV_TIME, .late_ms = world_lateness_ms(l->w)});
}

static void step(struct liveness *l, struct suspect_event *ev)
{
	struct suspect_effects fx;
	ev->now_ms = world_now_ms(l->w);
	suspect_step(&l->suspect, ev, &fx);
	for (unsigned i = 0; i < fx.n; i++)
		carry_out(l, &fx.at[i]);
	uint64_t at = suspect_wake_ms(&l->suspect);
	l->wake.fire = woke;
	if (at == UINT64_MAX)
		world_timer_cancel(l->w, &l->wake);
	else
		world_timer_arm(l->w, &l->wake, at);
}

/* ---- votes of others ---- */

static void voted(struct liveness *l, enum suspect_event_kind kind, const char *voter,
		  uint64_t revision)
{
	if (l)
		step(l, &(struct suspect_event){.kind = kind, .name = voter, .epoch = revision});
}

void liveness_epoch_base(struct liveness *l, uint64_t base)
{
	if (l)
		l->epoch_base = base;
}

/* An epoch below the base is of a history that was given up: a vote about nobody. */
void liveness_vote(struct liveness *l, const char *voter, uint64_t epoch)
{
	if (l)
		voted(l, SUSPECT_EV_VOTE, voter, epoch > l->epoch_base ? epoch - l->epoch_base : 0);
}

void liveness_vote_ended(struct liveness *l, const char *voter)
{
	voted(l, SUSPECT_EV_VOTE_ENDED, voter, 0);
}

void liveness_vote_withdrawn(struct liveness *l, const char *voter)
{
	voted(l, SUSPECT_EV_WITHDRAWN, voter, 0);
}

/* ---- hearing ---- */

static void proof(struct watched *x, enum suspect_event_kind kind)
{
	struct liveness *l = x->l;
	bool doubted = ha_doubted(l->ha, x->member.instance);
	if (doubted)
		world_log(l->w, LOG_LEVEL_DEBUG,
			  "jobmanager %s seems dead, but such a verdict was wrong lately",
			  x->member.id);
	step(l, &(struct suspect_event){
			.kind = kind, .instance = x->member.instance, .doubted = doubted});
}

static void heard(struct watched *x)
{
	struct liveness *l = x->l;
	ha_note_sign(l->ha, x->member.instance, HA_SIGN_HEARD, world_now_ms(l->w));
	step(l, &(struct suspect_event){.kind = SUSPECT_EV_HEARD, .instance = x->member.instance});
}

/* What cannot be read names nobody. */
static void read_witnesses(struct watched *x, const json_t *o)
{
	char names[SUSPECT_WITNESSES_MAX][NODE_ID_MAX] = {{0}};
	struct suspect_event ev = {.kind = SUSPECT_EV_WITNESSES,
				   .instance = x->member.instance,
				   .names = (const char(*)[NODE_ID_MAX])names};
	const json_t *list = json_object_get(o, "witnesses");
	for (size_t i = 0; i < json_array_size(list) && ev.n_names < SUSPECT_WITNESSES_MAX; i++) {
		const char *name = json_string_value(json_array_get(list, i));
		if (name && strlen(name) < NODE_ID_MAX)
			snprintf(names[ev.n_names++], NODE_ID_MAX, "%s", name);
	}
	step(x->l, &ev);
}

/* A line names the instance that answers, and who else hears it. */
static void read_line(struct watched *x)
{
	json_t *o = NULL;
	const char *instance = NULL;
	if (json_parse(x->line, x->line_len, &o, NULL) == ERR_OK &&
	    json_get_text(o, "", "instance", &instance, NULL) == ERR_OK) {
		x->named = strcmp(instance, x->member.instance) == 0;
		if (x->named && json_is_true(json_object_get(o, "resigning")))
			ha_note_sign(x->l->ha, instance, HA_SIGN_RESIGNING, world_now_ms(x->l->w));
		if (x->named)
			read_witnesses(x, o);
		else
			proof(x, SUSPECT_EV_REPLACED);
		x->retry_ms = RETRY_MIN_MS;
		x->asking = false; /* it lives, or has been reported */
	}
	json_decref(o);
}

static void chunk(struct world_http *http, const void *data, size_t len)
{
	struct watched *x = MEM_OWNER(http, struct watched, http);
	for (const char *c = data, *end = c + len; c < end; c++) {
		if (!x->in_line && *c == '{') {
			x->in_line = true;
			x->line_len = 0;
		}
		if (!x->in_line)
			continue;
		if (*c == '\n') {
			x->in_line = false;
			read_line(x);
		} else if (x->line_len < LIVENESS_LINE_MAX) {
			x->line[x->line_len++] = *c;
		}
	}
	if (x->named)
		heard(x);
}

/* ---- connections ---- */

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

static void ended(struct world_http *http, const struct world_reply *reply)
{
	struct watched *x = MEM_OWNER(http, struct watched, http);
	if (x->gone)
		return;
	bool refused = reply->code == ERR_NOTSENT && reply->cause == NET_REFUSED;
	if (refused && x->retry_ms < RETRY_REFUSED_MS)
		x->retry_ms = RETRY_REFUSED_MS;
	if (refused)
		proof(x, SUSPECT_EV_REFUSED);
	else
		world_log(x->l->w, LOG_LEVEL_DEBUG, "jobmanager %s: liveness ended: %s",
			  x->member.id, net_cause_name(reply->cause));
	if (refused || reply->cause == NET_TIMEOUT || x->asking)
		later(x, true); /* suspected, or given up: the queue says what becomes of it */
	else
		watch(x, true); /* it hung up: ask at once whether it is gone */
}

static void watch(struct watched *x, bool asking)
{
	struct liveness *l = x->l;
	char url[256];
	snprintf(url, sizeof(url), "%s://%s/v1/cluster/liveness", scheme(l),
		 x->member.cluster_address);
	x->asking = asking;
	x->named = x->in_line = false;
	x->http = (struct world_http){.on_chunk = chunk, .on_end = ended};
	world_http_start(l->w, &x->http,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .timeout_ms = LIVENESS_SILENCE_MS,
						   .stream = true,
						   .fresh = true,
						   .tls = l->tls});
}

/* ---- the queue ---- */

static void unwatch(struct watched *x)
{
	world_http_cancel(x->l->w, &x->http);
	world_http_cancel(x->l->w, &x->vote);
	world_timer_cancel(x->l->w, &x->again);
	world_timer_cancel(x->l->w, &x->vote_again);
	ha_renewal_cancel(x->l->ha, &x->renewal);
	list_remove(&x->hook);
	free(x);
}

static void last_words_over(struct world_timer *t)
{
	unwatch(MEM_OWNER(t, struct watched, again));
}

/* One that hands over says so on the stream; its key may be gone sooner. */
static void part(struct watched *x)
{
	struct world *w = x->l->w;
	if (x->gone)
		return;
	x->gone = true;
	world_http_cancel(w, &x->vote);
	world_timer_cancel(w, &x->vote_again);
	ha_renewal_cancel(x->l->ha, &x->renewal);
	x->again.fire = last_words_over;
	world_timer_arm(w, &x->again, world_now_ms(w) + LAST_WORDS_MS);
}

static void keep(struct liveness *l, const struct ha_member *m)
{
	struct watched *x = find(l, m->instance);
	if (x != NULL && x->gone) {
		unwatch(x);
		x = NULL;
	}
	if (x != NULL) {
		x->kept = true;
		x->member = *m; /* its key may be another */
		return;
	}
	x = mem_alloc(sizeof(*x));
	x->l = l;
	x->member = *m;
	x->kept = true;
	x->retry_ms = RETRY_MIN_MS;
	list_append(&l->watched, &x->hook);
	watch(x, false);
	vote_at(x);
}

static void watch_these(struct liveness *l, const struct ha_member *members, size_t n)
{
	list_each (struct watched, x, &l->watched, hook)
		x->kept = false;
	for (size_t i = 0; i < n && !members[0].self; i++)
		if (!members[i].self && members[i].cluster_address[0])
			keep(l, &members[i]);
	list_each_safe (struct watched, x, &l->watched, hook) {
		if (!x->kept)
			part(x);
	}
}

void liveness_members(struct liveness *l, const struct ha_member *members, size_t n)
{
	struct suspect_member queue[SUSPECT_PEERS_MAX + 1] = {{.epoch = 0}};
	struct suspect_event ev = {.kind = SUSPECT_EV_MEMBERS, .members = queue};
	for (size_t i = 0; i < n && i < SUSPECT_PEERS_MAX + 1; i++) {
		struct suspect_member *m = &queue[ev.n_members++];
		memcpy(m->instance, members[i].instance, sizeof(m->instance));
		m->epoch = members[i].create_revision;
		m->self = members[i].self;
		if (m->self) {
			memcpy(l->id, members[i].id, sizeof(l->id));
			memcpy(l->instance, members[i].instance, sizeof(l->instance));
		}
	}
	watch_these(l, members, n);
	renew_questions(l, members, n);
	if (n && members[0].self)
		ev.n_members = 1; /* the others are nothing to us */
	step(l, &ev);
}

/* ---- life ---- */

struct liveness *liveness_create(struct world *w, struct ha *ha, const struct world_tls *tls)
{
	struct liveness *l = mem_alloc(sizeof(*l));
	l->w = w;
	l->ha = ha;
	l->tls = tls;
	list_init(&l->watched);
	suspect_init(&l->suspect);
	return l;
}

void liveness_destroy(struct liveness *l)
{
	if (l == NULL)
		return;
	world_timer_cancel(l->w, &l->wake);
	forget_questions(l);
	list_each_safe (struct watched, x, &l->watched, hook)
		unwatch(x);
	free(l);
}
