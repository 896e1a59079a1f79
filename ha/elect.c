#include "ha/elect.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ha/mutant.h"

enum {
	PAUSE_FIRST_MS = 100,
	PAUSE_MAX_MS = 1000,
	LIST_AGAIN_MS = 300,
	DOUBT_FIRST_MS = 30000,
	DOUBT_MAX_MS = 600000,
};

#define GONE  (SM_TO(ELECT_STARTING) | SM_TO(ELECT_LEAVING))
#define FIRST (SM_TO(ELECT_LEADING) | SM_TO(ELECT_SUSPENDED))

static const struct sm_state states[ELECT_STATES] = {
	[ELECT_STARTING] = {"STARTING", SM_TO(ELECT_QUEUEING) | SM_TO(ELECT_LEAVING)},
	[ELECT_QUEUEING] = {"QUEUEING", GONE | SM_TO(ELECT_FOLLOWING)},
	[ELECT_FOLLOWING] = {"FOLLOWING", GONE | SM_TO(ELECT_TAKING) | SM_TO(ELECT_BARRIER)},
	[ELECT_TAKING] = {"TAKING", GONE | FIRST | SM_TO(ELECT_FOLLOWING)},
	[ELECT_BARRIER] = {"BARRIER", GONE | FIRST | SM_TO(ELECT_FOLLOWING)},
	[ELECT_LEADING] = {"LEADING", GONE | SM_TO(ELECT_SUSPENDED) | SM_TO(ELECT_FOLLOWING)},
	[ELECT_SUSPENDED] = {"SUSPENDED", GONE | SM_TO(ELECT_LEADING) | SM_TO(ELECT_FOLLOWING)},
	[ELECT_LEAVING] = {"LEAVING", SM_TO(ELECT_LEFT) | SM_TO(ELECT_STARTING)},
	[ELECT_LEFT] = {"LEFT", 0},
};

const struct sm_table elect_table = {"elect", states, ELECT_STATES};

enum elect_state elect_state(const struct elect *e)
{
	return (enum elect_state)sm_state(&e->sm);
}

enum elect_role elect_role(const struct elect *e)
{
	return e->role;
}

/* ---- effects ---- */

static struct elect_effect *emit(struct elect_effects *out, enum elect_effect_kind kind)
{
	assert(out->n < ELECT_EFFECTS_MAX);
	struct elect_effect *f = &out->at[out->n++];
	*f = (struct elect_effect){.kind = kind};
	return f;
}

static void note(struct elect_effects *out, const char *text)
{
	emit(out, ELECT_NOTE)->text = text;
}

static uint32_t new_token(struct elect *e)
{
	if (++e->tokens == 0)
		e->tokens = 1;
	return e->tokens;
}

static void start(struct elect *e, enum elect_op op, unsigned index, struct elect_effects *out)
{
	assert(e->op == ELECT_OP_NONE);
	e->op = op;
	e->op_token = new_token(e);
	struct elect_effect *f = emit(out, ELECT_DO);
	f->op = op;
	f->token = e->op_token;
	f->index = index;
}

static void forget_op(struct elect *e)
{
	e->op = ELECT_OP_NONE;
	e->op_token = 0;
}

static void list(struct elect *e, uint64_t now, struct elect_effects *out)
{
	if (e->list_token)
		return;
	e->list_token = new_token(e);
	e->list_at_ms = now + e->config.relist_ms;
	emit(out, ELECT_LIST)->token = e->list_token;
}

static void pause(struct elect *e, uint64_t now)
{
	e->retry_ms = now + e->pause_ms;
	e->pause_ms = e->pause_ms * 2 < PAUSE_MAX_MS ? e->pause_ms * 2 : PAUSE_MAX_MS;
}

static void no_pause(struct elect *e)
{
	e->retry_ms = 0;
	e->pause_ms = PAUSE_FIRST_MS;
}

/* ---- moves ---- */

static bool has_key(const struct elect *e)
{
	switch (elect_state(e)) {
	case ELECT_FOLLOWING:
	case ELECT_TAKING:
	case ELECT_BARRIER:
	case ELECT_LEADING:
	case ELECT_SUSPENDED:
		return true;
	case ELECT_STARTING:
	case ELECT_QUEUEING:
	case ELECT_LEAVING:
	case ELECT_LEFT:
	case ELECT_STATES:
		break;
	}
	return false;
}

static enum elect_role role_of(const struct elect *e)
{
	switch (elect_state(e)) {
	case ELECT_LEADING:
		return ELECT_ROLE_LEADING;
	case ELECT_SUSPENDED:
		return ELECT_ROLE_SUSPENDED;
	case ELECT_STARTING:
	case ELECT_QUEUEING:
	case ELECT_FOLLOWING:
	case ELECT_TAKING:
	case ELECT_BARRIER:
	case ELECT_LEAVING:
	case ELECT_LEFT:
	case ELECT_STATES:
		break;
	}
	return e->queued_once ? ELECT_ROLE_FOLLOWING : ELECT_ROLE_STARTING;
}

static void move(struct elect *e, enum elect_state next, const char *why, struct elect_effects *out)
{
	sm_move(&e->sm, next, why);
	if (role_of(e) == e->role)
		return;
	e->role = role_of(e);
	emit(out, ELECT_ROLE)->text = why;
}

/* This candidacy is over: its lease is settled first, then a new one begins. */
static void begin_anew(struct elect *e, const char *why, struct elect_effects *out)
{
	forget_op(e);
	e->renew_token = 0;
	e->lease_unsettled = true;
	e->epoch = MUTANT_REQUEUE_KEEPS_EPOCH ? e->epoch : 0;
	e->deadline_ms = 0;
	if (e->halted) /* and may go back again: the next queue is believed, however old */
		e->queue_revision = 0;
	no_pause(e);
	move(e, ELECT_STARTING, why, out);
}

static void step_back(struct elect *e, const char *why, struct elect_effects *out)
{
	forget_op(e);
	move(e, ELECT_FOLLOWING, why, out);
}

static unsigned own_place(const struct elect *e) /* n_queue if absent */
{
	unsigned i = 0;
	while (i < e->n_queue && strcmp(e->queue[i].key, e->key) != 0)
		i++;
	return i;
}

/* ---- verdicts of death ---- */

static unsigned doubt_place(const struct elect *e, const char *address) /* VERDICTS_MAX: none */
{
	unsigned i = 0;
	while (i < ELECT_VERDICTS_MAX &&
	       (e->doubts[i].span_ms == 0 || strcmp(e->doubts[i].address, address) != 0))
		i++;
	return i;
}

static bool doubted(const struct elect *e, const char *address, uint64_t now)
{
	unsigned i = doubt_place(e, address);
	return i < ELECT_VERDICTS_MAX && now < e->doubts[i].until_ms;
}

bool elect_doubts(const struct elect *e, const char *instance, uint64_t now_ms)
{
	for (unsigned i = 0; i < e->n_queue; i++)
		if (strcmp(e->queue[i].instance, instance) == 0)
			return doubted(e, e->queue[i].address, now_ms);
	return false;
}

static struct elect_verdict *verdict_on(struct elect *e, const char *instance)
{
	for (unsigned i = 0; i < ELECT_VERDICTS_MAX; i++)
		if (e->verdicts[i].instance[0] && strcmp(e->verdicts[i].instance, instance) == 0)
			return &e->verdicts[i];
	return NULL;
}

static void doubt(struct elect *e, const char *address, uint64_t now)
{
	unsigned place = doubt_place(e, address);
	struct elect_doubt *d = &e->doubts[place % ELECT_VERDICTS_MAX];
	if (place == ELECT_VERDICTS_MAX) {
		d = &e->doubts[e->next_doubt++ % ELECT_VERDICTS_MAX];
		*d = (struct elect_doubt){.span_ms = DOUBT_FIRST_MS / 2};
		memcpy(d->address, address, sizeof d->address);
	}
	d->span_ms = d->span_ms * 2 < DOUBT_MAX_MS ? d->span_ms * 2 : DOUBT_MAX_MS;
	d->until_ms = now + d->span_ms;
}

/* Who was declared dead, went, and queues again, was not dead. */
static void review_verdicts(struct elect *e, uint64_t now, struct elect_effects *out)
{
	for (unsigned v = 0; v < ELECT_VERDICTS_MAX; v++) {
		struct elect_verdict *verdict = &e->verdicts[v];
		if (verdict->instance[0] == 0)
			continue;
		bool here = false;
		for (unsigned i = 0; i < e->n_queue; i++)
			here |= strcmp(e->queue[i].instance, verdict->instance) == 0;
		if (here && verdict->gone) {
			verdict->instance[0] = 0;
			if (verdict->suspected)
				continue;
			note(out,
			     "a verdict of death was wrong: its address is only suspected for a while");
			doubt(e, verdict->address, now);
			return; /* the others at the next list */
		}
		verdict->gone |= !here;
	}
}

static void declare_dead(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	for (unsigned i = 0; i < e->n_queue; i++) {
		const struct elect_candidate *c = &e->queue[i];
		if (strcmp(c->instance, ev->instance) != 0 || c->instance[0] == 0 ||
		    strcmp(c->key, e->key) == 0)
			continue;
		if (!ev->suspected && doubted(e, c->address, ev->now_ms)) {
			note(out,
			     "verdict of death not believed: the last about that address was wrong");
			return;
		}
		struct elect_verdict *v = verdict_on(e, c->instance);
		if (v == NULL)
			v = &e->verdicts[e->next_verdict++ % ELECT_VERDICTS_MAX];
		*v = (struct elect_verdict){.suspected = ev->suspected};
		memcpy(v->instance, c->instance, sizeof v->instance);
		memcpy(v->address, c->address, sizeof v->address);
		return;
	}
}

static void take_back(struct elect *e, const char *instance)
{
	struct elect_verdict *v = verdict_on(e, instance);
	if (v && v->suspected && !v->gone)
		v->instance[0] = 0;
}

/* ---- the queue ---- */

static bool all_before_are_dead(struct elect *e, unsigned place)
{
	for (unsigned i = 0; i < place; i++) {
		const struct elect_verdict *v = verdict_on(e, e->queue[i].instance);
		if (e->queue[i].instance[0] == 0 || v == NULL)
			return false;
	}
	return place > 0;
}

static void delete_ghosts(const struct elect *e, struct elect_effects *out)
{
	for (unsigned i = 0; i < e->n_queue; i++) {
		const struct elect_candidate *c = &e->queue[i];
		if (strcmp(c->instance, e->config.instance) == 0 && strcmp(c->key, e->key) != 0) {
			emit(out, ELECT_GHOST)->index = i;
			return; /* one at a time; the list after it shows the next */
		}
	}
}

static bool same_queue(const struct elect *e, const struct elect_candidate *queue, unsigned n)
{
	if (n != e->n_queue)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (queue[i].create_revision != e->queue[i].create_revision)
			return false;
	return true;
}

/* What follows from the queue for who has a key. */
static void place_changed(struct elect *e, struct elect_effects *out)
{
	if (!has_key(e))
		return;
	unsigned place = own_place(e);
	if (place == e->n_queue) {
		begin_anew(e, "own key gone", out);
		return;
	}
	delete_ghosts(e, out);
	if (place > 0 && elect_state(e) != ELECT_FOLLOWING && elect_state(e) != ELECT_TAKING)
		step_back(e, "not the first in the queue", out);
}

static void take_queue(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->queue == NULL || ev->revision < e->queue_revision || ev->revision < e->epoch)
		return;
	unsigned n = ev->n_queue < ELECT_CANDIDATES_MAX ? ev->n_queue : ELECT_CANDIDATES_MAX;
	bool changed = !same_queue(e, ev->queue, n);
	e->queue_revision = ev->revision;
	e->n_queue = n;
	memmove(e->queue, ev->queue, n * sizeof e->queue[0]);
	if (changed)
		emit(out, ELECT_MEMBERS);
	review_verdicts(e, ev->now_ms, out);
	place_changed(e, out);
}

/* A lease's name is never used again, so a deletion told late or twice finds nothing. */
static void key_deleted(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	for (unsigned i = 0; i < e->n_queue; i++) {
		if (strcmp(e->queue[i].key, ev->key) != 0)
			continue;
		memmove(&e->queue[i], &e->queue[i + 1], (e->n_queue - i - 1) * sizeof e->queue[0]);
		e->n_queue--;
		if (ev->revision > e->queue_revision)
			e->queue_revision = ev->revision;
		emit(out, ELECT_MEMBERS);
		review_verdicts(e, ev->now_ms, out);
		place_changed(e, out);
		return;
	}
}

/* ---- the lease ---- */

static void extend(struct elect *e, const struct elect_event *ev)
{
	uint64_t from = MUTANT_LEASE_FROM_REPLY ? ev->now_ms : ev->sent_ms;
	uint64_t ms = (uint64_t)ev->ttl_s * 1000, until = from + ms - ms / 10;
	if (until > e->deadline_ms)
		e->deadline_ms = until;
}

static void renewed(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->token == 0 || ev->token != e->renew_token)
		return;
	e->renew_token = 0;
	if (ev->result != ELECT_DONE)
		return;
	if (ev->ttl_s > 0)
		extend(e, ev);
	else if (elect_state(e) != ELECT_LEAVING) {
		begin_anew(e, "lease gone", out);
		if (e->halted) /* it goes at once where two stores answer in turns */
			e->retry_ms = ev->now_ms + PAUSE_MAX_MS;
	}
}

/* ---- answers to operations ---- */

/* Key and lease are gone: for good, or to begin anew at the end of the queue. */
static void gone(struct elect *e, const char *why, struct elect_effects *out)
{
	if (!e->coming_back) {
		move(e, ELECT_LEFT, why, out);
		return;
	}
	e->lease = e->epoch = e->deadline_ms = 0;
	e->lease_unsettled = e->own_deleted = e->coming_back = false;
	move(e, ELECT_STARTING, why, out);
}

static void granted(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->result == ELECT_DONE) {
		extend(e, ev);
		no_pause(e);
		e->renew_at_ms = ev->now_ms + e->config.renew_ms;
		move(e, ELECT_QUEUEING, "lease granted", out);
		return;
	}
	e->lease_unsettled = ev->result == ELECT_UNKNOWN;
	if (!e->lease_unsettled)
		e->lease = 0;
	pause(e, ev->now_ms);
}

static void enqueued(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->result == ELECT_UNKNOWN && ev->now_ms < e->deadline_ms) {
		pause(e, ev->now_ms); /* the identical request again */
		return;
	}
	uint64_t epoch = 0;
	for (unsigned i = 0; i < ev->n_queue && ev->queue; i++)
		if (strcmp(ev->queue[i].key, e->key) == 0)
			epoch = ev->queue[i].create_revision;
	if (ev->result != ELECT_DONE || epoch == 0) {
		begin_anew(e, "no candidate key", out);
		pause(e, ev->now_ms);
		return;
	}
	if (!MUTANT_REQUEUE_KEEPS_EPOCH || e->epoch == 0)
		e->epoch = epoch;
	e->queued_once = true;
	no_pause(e);
	move(e, ELECT_FOLLOWING, "queued", out);
	e->list_at_ms = ev->now_ms + e->config.relist_ms;
	take_queue(e, ev, out);
}

static bool first_in(const struct elect *e, const struct elect_event *ev)
{
	return ev->queue && ev->n_queue && ev->queue[0].create_revision == e->epoch &&
	       strcmp(ev->queue[0].key, e->key) == 0;
}

/* The queue was read behind the deletions, in their transaction. Who is first in it stays first
 * while the key lives: whoever comes later stands behind. */
static bool taken_the_lead(const struct elect *e, const struct elect_event *ev)
{
	return ev->result == ELECT_DONE && ev->now_ms < e->deadline_ms && first_in(e, ev);
}

/* Nobody is before us. In a store that went back in time somebody has to be there who can be asked
 * to accept it, and who decides nothing until then. */
static void lead(struct elect *e, const char *why, struct elect_effects *out)
{
	no_pause(e);
	if (!e->halted)
		move(e, ELECT_LEADING, why, out);
	else if (elect_state(e) != ELECT_SUSPENDED)
		move(e, ELECT_SUSPENDED, "the first, in a store that went back in time", out);
}

static void taken(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (taken_the_lead(e, ev)) {
		take_queue(e, ev, out);
		lead(e, "the dead are deleted, nobody is before us", out);
		return;
	}
	if (ev->result != ELECT_DONE && !first_in(e, ev))
		pause(e, ev->now_ms);
	step_back(e, ev->result == ELECT_DONE ? "the dead are deleted" : "queue changed", out);
	if (ev->queue)
		take_queue(e, ev, out);
	else
		list(e, ev->now_ms, out);
}

static void barrier_passed(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->result == ELECT_DONE && ev->now_ms < e->deadline_ms) {
		lead(e, "barrier committed", out);
		return;
	}
	pause(e, ev->now_ms);
	if (ev->result != ELECT_REFUSED)
		return; /* tried again; after a renewal if the deadline has passed */
	if (ev->queue)
		take_queue(e, ev, out);
	list(e, ev->now_ms, out);
}

static void op_done(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->token == 0 || ev->token != e->op_token)
		return;
	enum elect_op op = e->op;
	forget_op(e);
	switch (op) {
	case ELECT_OP_REVOKE:
		if (ev->result == ELECT_UNKNOWN)
			pause(e, ev->now_ms);
		else if (elect_state(e) == ELECT_LEAVING)
			gone(e, "lease revoked", out);
		else
			e->lease_unsettled = false;
		break;
	case ELECT_OP_GRANT:
		granted(e, ev, out);
		break;
	case ELECT_OP_ENQUEUE:
		enqueued(e, ev, out);
		break;
	case ELECT_OP_TAKE:
		taken(e, ev, out);
		break;
	case ELECT_OP_BARRIER:
		barrier_passed(e, ev, out);
		break;
	case ELECT_OP_LEAVE:
		e->own_deleted = ev->result != ELECT_UNKNOWN;
		break;
	case ELECT_OP_NONE:
		break;
	}
}

/* ---- what to do next ---- */

static void queue_step(struct elect *e, uint64_t now, struct elect_effects *out)
{
	unsigned place = own_place(e);
	if (place == 0 && e->n_queue) {
		move(e, ELECT_BARRIER, "nobody before us", out);
		if (MUTANT_ACT_BEFORE_BARRIER && now < e->deadline_ms) {
			move(e, ELECT_LEADING, "no barrier", out);
			return;
		}
	} else if (place < e->n_queue && all_before_are_dead(e, place)) {
		move(e, ELECT_TAKING, "all before us are dead", out);
		start(e, ELECT_OP_TAKE, place, out);
		return;
	}
	if (elect_state(e) == ELECT_BARRIER && now < e->deadline_ms)
		start(e, ELECT_OP_BARRIER, 0, out);
}

static void first_step(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (e->lease && e->lease_unsettled) {
		start(e, ELECT_OP_REVOKE, 0, out);
		return;
	}
	e->lease = ev->random >> 1 ? ev->random >> 1 : 1;
	snprintf(e->key, sizeof e->key, "%" PRIx64, e->lease);
	e->deadline_ms = 0;
	start(e, ELECT_OP_GRANT, 0, out);
}

static void leave_step(struct elect *e, struct elect_effects *out)
{
	if (e->lease == 0)
		gone(e, "nothing to leave", out);
	else if (e->epoch && !e->own_deleted)
		start(e, ELECT_OP_LEAVE, 0, out);
	else
		start(e, ELECT_OP_REVOKE, 0, out);
}

static void advance(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	enum elect_state s = elect_state(e);
	if (e->op != ELECT_OP_NONE || e->retry_ms)
		return;
	if (e->halted && s == ELECT_SUSPENDED)
		return;
	switch (s) {
	case ELECT_STARTING:
		first_step(e, ev, out);
		break;
	case ELECT_QUEUEING:
		start(e, ELECT_OP_ENQUEUE, 0, out);
		break;
	case ELECT_FOLLOWING:
		queue_step(e, ev->now_ms, out);
		break;
	case ELECT_BARRIER:
	case ELECT_SUSPENDED:
		if (ev->now_ms < e->deadline_ms)
			start(e, ELECT_OP_BARRIER, 0, out);
		break;
	case ELECT_LEAVING:
		leave_step(e, out);
		break;
	case ELECT_TAKING:
	case ELECT_LEADING:
	case ELECT_LEFT:
	case ELECT_STATES:
		break;
	}
}

/* A departure for good overrides one that comes back. */
static void resign(struct elect *e, bool coming_back, struct elect_effects *out)
{
	enum elect_state s = elect_state(e);
	if (s == ELECT_LEFT || (coming_back && (s == ELECT_STARTING || s == ELECT_LEAVING)))
		return;
	e->coming_back = coming_back;
	if (s == ELECT_LEAVING)
		return;
	forget_op(e);
	e->renew_token = e->list_token = 0;
	no_pause(e);
	move(e, ELECT_LEAVING, "asked to leave", out);
}

/* All that a candidate knows, its place and its lease too, is of a store that is no more. A leader
 * stays: it knows what is lost. */
static void regressed(struct elect *e, uint64_t now, struct elect_effects *out)
{
	static const char why[] = "the store went back in time";
	enum elect_state s = elect_state(e);
	if (e->halted)
		return;
	e->halted = true;
	e->queue_revision = 0;
	for (unsigned i = 0; i < ELECT_VERDICTS_MAX; i++)
		e->verdicts[i].gone = false; /* their keys may have come back; they have not */
	if (s == ELECT_LEADING)
		move(e, ELECT_SUSPENDED, why, out);
	else if (s != ELECT_SUSPENDED && (has_key(e) || s == ELECT_QUEUEING))
		begin_anew(e, why, out);
	e->list_token = 0;
	if (has_key(e))
		list(e, now, out);
}

static bool keeps_lease(const struct elect *e)
{
	return has_key(e) || elect_state(e) == ELECT_QUEUEING;
}

static void pass_time(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	if (ev->now_ms >= e->retry_ms)
		e->retry_ms = 0;
	if (elect_state(e) == ELECT_LEADING && ev->now_ms >= e->deadline_ms)
		move(e, ELECT_SUSPENDED, "deadline of the lease passed", out);
	if (keeps_lease(e) && e->renew_token == 0 && ev->now_ms >= e->renew_at_ms) {
		e->renew_token = new_token(e);
		e->renew_at_ms = ev->now_ms + e->config.renew_ms;
		emit(out, ELECT_RENEW)->token = e->renew_token;
	}
	if (has_key(e) && ev->now_ms >= e->list_at_ms)
		list(e, ev->now_ms, out);
}

void elect_init(struct elect *e, const struct elect_config *config, uint64_t now_ms)
{
	assert(config->renew_ms * 3 < (uint64_t)config->lease_s * 1000);
	*e = (struct elect){.config = *config, .pause_ms = PAUSE_FIRST_MS, .list_at_ms = now_ms};
	sm_init(&e->sm, &elect_table, ELECT_STARTING);
}

void elect_step(struct elect *e, const struct elect_event *ev, struct elect_effects *out)
{
	out->n = 0;
	switch (ev->kind) {
	case ELECT_EV_TIME:
		break;
	case ELECT_EV_OP:
		op_done(e, ev, out);
		break;
	case ELECT_EV_RENEWED:
		renewed(e, ev, out);
		break;
	case ELECT_EV_LISTED:
		if (ev->token && ev->token == e->list_token) {
			e->list_token = 0;
			if (ev->queue == NULL)
				e->list_at_ms = ev->now_ms + LIST_AGAIN_MS;
			take_queue(e, ev, out);
		}
		break;
	case ELECT_EV_HINT:
		if (has_key(e))
			list(e, ev->now_ms, out);
		break;
	case ELECT_EV_DELETED:
		key_deleted(e, ev, out);
		break;
	case ELECT_EV_DEPOSED:
		take_queue(e, ev, out);
		if (has_key(e))
			list(e, ev->now_ms, out);
		break;
	case ELECT_EV_DEAD:
		declare_dead(e, ev, out);
		break;
	case ELECT_EV_ALIVE:
		take_back(e, ev->instance);
		break;
	case ELECT_EV_RESIGN:
		resign(e, false, out);
		break;
	case ELECT_EV_STEP_DOWN:
		resign(e, true, out);
		break;
	case ELECT_EV_REGRESSED:
		regressed(e, ev->now_ms, out);
		break;
	case ELECT_EV_OUTRUN:
		/* While we lead, etcd is asked in every decision; suspended, it may be out of our
		 * reach alone. */
		if (elect_state(e) == ELECT_SUSPENDED)
			begin_anew(e, "another leads: our key must be gone", out);
		break;
	case ELECT_EVENTS:
		break;
	}
	pass_time(e, ev, out);
	advance(e, ev, out);
	assert(elect_holds(e, ev->now_ms));
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t elect_wake_ms(const struct elect *e)
{
	uint64_t at = UINT64_MAX;
	if (elect_state(e) == ELECT_LEFT)
		return at;
	if (keeps_lease(e) && e->renew_token == 0)
		at = sooner(at, e->renew_at_ms);
	if (has_key(e) && e->list_token == 0)
		at = sooner(at, e->list_at_ms);
	if (elect_state(e) == ELECT_LEADING)
		at = sooner(at, e->deadline_ms);
	if (e->op == ELECT_OP_NONE && e->retry_ms && elect_state(e) != ELECT_LEADING)
		at = sooner(at, e->retry_ms);
	return at;
}

bool elect_holds(const struct elect *e, uint64_t now_ms)
{
	if ((e->op == ELECT_OP_NONE) != (e->op_token == 0))
		return false;
	if (has_key(e) && (e->epoch == 0 || e->lease == 0))
		return false;
	if (elect_state(e) == ELECT_LEADING && (now_ms >= e->deadline_ms || e->op != ELECT_OP_NONE))
		return false;
	if (elect_state(e) == ELECT_LEADING && e->halted)
		return false;
	if (elect_state(e) == ELECT_TAKING && e->op != ELECT_OP_TAKE)
		return false;
	return e->n_queue <= ELECT_CANDIDATES_MAX;
}
