#include "ha/suspect.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ha/mutant.h"

static const struct sm_state states[SUSPECT_STATES] = {
	[SUSPECT_WATCHED] = {"WATCHED", SM_TO(SUSPECT_SUSPECTED) | SM_TO(SUSPECT_GIVEN_UP)},
	[SUSPECT_SUSPECTED] = {"SUSPECTED", SM_TO(SUSPECT_WATCHED) | SM_TO(SUSPECT_ASKING) |
						    SM_TO(SUSPECT_GIVEN_UP)},
	[SUSPECT_ASKING] = {"ASKING", SM_TO(SUSPECT_WATCHED) | SM_TO(SUSPECT_SUSPECTED) |
					      SM_TO(SUSPECT_GIVEN_UP)},
	[SUSPECT_GIVEN_UP] = {"GIVEN_UP", SM_TO(SUSPECT_WATCHED)},
};
const struct sm_table suspect_table = {"suspect", states, SUSPECT_STATES};

struct turn {
	struct suspect *s;
	const struct suspect_event *ev;
	struct suspect_effects *out;
};

/* ---- small things ---- */

static enum suspect_state state_of(const struct suspect_peer *p)
{
	return (enum suspect_state)sm_state(&p->sm);
}

static bool suspected(const struct suspect_peer *p)
{
	return state_of(p) == SUSPECT_SUSPECTED || state_of(p) == SUSPECT_ASKING;
}

static struct suspect_effect *emit(struct turn *t, enum suspect_effect_kind kind)
{
	assert(t->out->n < SUSPECT_EFFECTS_MAX);
	struct suspect_effect *f = &t->out->at[t->out->n++];
	*f = (struct suspect_effect){.kind = kind};
	return f;
}

static struct suspect_peer *find(struct suspect *s, const char *instance)
{
	for (unsigned i = 0; instance && i < s->n_peers; i++)
		if (strcmp(s->peers[i].instance, instance) == 0)
			return &s->peers[i];
	return NULL;
}

enum suspect_state suspect_state_of(const struct suspect *s, const char *instance)
{
	for (unsigned i = 0; i < s->n_peers; i++)
		if (strcmp(s->peers[i].instance, instance) == 0)
			return state_of(&s->peers[i]);
	return SUSPECT_WATCHED;
}

/* The leader, if it is not ourselves. */
static struct suspect_peer *leader(struct suspect *s)
{
	return s->queued && s->n_peers && s->peers[0].ahead ? &s->peers[0] : NULL;
}

/* Whom we may give up next: the first ahead of us that is not given up, if we are next. */
static struct suspect_peer *target(struct suspect *s)
{
	struct suspect_peer *first = NULL;
	for (unsigned i = 0; s->queued && i < s->n_peers && s->peers[i].ahead; i++) {
		if (state_of(&s->peers[i]) == SUSPECT_WATCHED)
			return NULL;
		if (first == NULL && suspected(&s->peers[i]))
			first = &s->peers[i];
	}
	return first;
}

static bool counts(const struct suspect_vote *v, uint64_t epoch, uint64_t now)
{
	return v->epoch == epoch && epoch && (v->fades_ms == 0 || now < v->fades_ms);
}

/* ---- verdicts ---- */

static void give_up(struct turn *t, struct suspect_peer *p, enum suspect_how how, const char *text)
{
	sm_move(&p->sm, SUSPECT_GIVEN_UP, text);
	p->lost = how == SUSPECT_LOST;
	if (!p->ahead)
		return; /* it stands in nobody's way */
	struct suspect_effect *f = emit(t, SUSPECT_FX_GIVE_UP);
	f->how = how;
	memcpy(f->instance, p->instance, sizeof f->instance);
	snprintf(f->text, sizeof f->text, "%s", text);
}

/* A leader was, or may have been, given up without proof: for a while none is. */
static void hold_down(struct suspect *s, uint64_t now)
{
	bool close = s->hold_ms && now < s->hold_until_ms + s->hold_ms;
	s->hold_ms = close ? 2 * s->hold_ms : SUSPECT_HOLD_MS;
	if (s->hold_ms > SUSPECT_HOLD_MAX_MS)
		s->hold_ms = SUSPECT_HOLD_MAX_MS;
	s->hold_until_ms = now + s->hold_ms;
}

static bool held_down(const struct suspect *s, uint64_t now)
{
	return !MUTANT_HOLD_DOWN_IGNORED && now < s->hold_until_ms;
}

/* ---- votes ---- */

struct tally {
	unsigned named, witnesses; /* named by the leader, and how many of them voted */
	unsigned others, agree;    /* other standbys that we hear, and how many of them voted */
};

static struct tally count_votes(const struct suspect *s, const struct suspect_peer *lead,
				uint64_t now)
{
	struct tally n = {0};
	if (s->witnesses_of == lead->epoch)
		n.named = s->n_witnesses;
	for (unsigned i = 0; i < n.named; i++)
		n.witnesses += counts(&s->votes[i], lead->epoch, now);
	for (unsigned i = 0; i < s->n_peers; i++) {
		const struct suspect_peer *p = &s->peers[i];
		if (p == lead || state_of(p) != SUSPECT_WATCHED)
			continue;
		n.others++;
		n.agree += counts(&p->vote, lead->epoch, now);
	}
	return n;
}

/* Have all lost it who could know? */
static bool enough(const struct suspect *s, const struct suspect_peer *p, uint64_t now)
{
	if (p != &s->peers[0]) /* it leads nothing: etcd alone is asked */
		return true;
	struct tally n = count_votes(s, p, now);
	if (MUTANT_WITNESSES_IGNORED)
		return true;
	bool witnesses = n.named ? 2 * n.witnesses > n.named : n.agree > 0;
	return witnesses && n.agree == n.others;
}

static struct suspect_vote *vote_of(struct suspect *s, const char *name)
{
	for (unsigned i = 0; i < s->n_witnesses; i++)
		if (strcmp(s->witnesses[i], name) == 0)
			return &s->votes[i];
	struct suspect_peer *p = find(s, name);
	return p ? &p->vote : NULL;
}

static void on_vote(struct turn *t)
{
	struct suspect_vote *v = vote_of(t->s, t->ev->name);
	if (v == NULL)
		return; /* neither a witness nor a candidate */
	if (t->ev->kind == SUSPECT_EV_VOTE)
		*v = (struct suspect_vote){.epoch = t->ev->epoch};
	else if (t->ev->kind == SUSPECT_EV_VOTE_ENDED)
		v->fades_ms = t->ev->now_ms + SUSPECT_FADE_MS;
	else
		*v = (struct suspect_vote){0};
}

static void on_witnesses(struct turn *t)
{
	struct suspect *s = t->s;
	struct suspect_peer *p = find(s, t->ev->instance);
	if (p == NULL || p != leader(s))
		return;
	struct suspect before = *s;
	s->witnesses_of = p->epoch;
	s->n_witnesses =
		t->ev->n_names < SUSPECT_WITNESSES_MAX ? t->ev->n_names : SUSPECT_WITNESSES_MAX;
	for (unsigned i = 0; i < s->n_witnesses; i++) {
		snprintf(s->witnesses[i], NODE_ID_MAX, "%s", t->ev->names[i]);
		const struct suspect_vote *v = vote_of(&before, s->witnesses[i]);
		s->votes[i] = v ? *v : (struct suspect_vote){0};
	}
}

/* ---- hearing ---- */

static void heard(struct turn *t, struct suspect_peer *p)
{
	if (state_of(p) == SUSPECT_GIVEN_UP && !p->lost)
		return;
	p->heard_ms = t->ev->now_ms;
	p->stale_ms = 0;
	if (state_of(p) != SUSPECT_WATCHED)
		sm_move(&p->sm, SUSPECT_WATCHED, "heard");
	if (p->lost)
		memcpy(emit(t, SUSPECT_FX_TAKE_BACK)->instance, p->instance, sizeof p->instance);
	p->lost = false;
}

static void on_proof(struct turn *t, enum suspect_how how, const char *text)
{
	struct suspect_peer *p = find(t->s, t->ev->instance);
	if (p && !t->ev->doubted && state_of(p) != SUSPECT_GIVEN_UP)
		give_up(t, p, how, text);
}

static void start_over(struct turn *t)
{
	for (unsigned i = 0; i < t->s->n_peers; i++)
		if (!t->s->peers[i].lost)
			heard(t, &t->s->peers[i]);
}

static void on_members(struct turn *t)
{
	struct suspect *s = t->s;
	struct suspect before = *s;
	const struct suspect_peer *old = leader(&before);
	bool ahead = true;
	s->n_peers = 0;
	for (unsigned i = 0; i < t->ev->n_members && s->n_peers < SUSPECT_PEERS_MAX; i++) {
		const struct suspect_member *m = &t->ev->members[i];
		if (m->self) {
			ahead = false;
			continue;
		}
		struct suspect_peer *p = &s->peers[s->n_peers++];
		const struct suspect_peer *known = find(&before, m->instance);
		if (known && known->epoch == m->epoch) {
			*p = *known;
		} else { /* new here, or its key is: nothing is held against it */
			*p = (struct suspect_peer){.epoch = m->epoch, .heard_ms = t->ev->now_ms};
			memcpy(p->instance, m->instance, sizeof p->instance);
			sm_init(&p->sm, &suspect_table, SUSPECT_WATCHED);
		}
		p->ahead = ahead;
	}
	s->queued = !ahead;
	/* Somebody took the place of a leader that we had lost as well. */
	if (old && suspected(old) && find(s, old->instance) == NULL)
		hold_down(s, t->ev->now_ms);
}

/* ---- etcd's word ---- */

/* Whole seconds, rounded down: two less than granted is more than one since the renewal. */
static bool no_renewal(const struct suspect_event *ev)
{
	return ev->left_s + 2 <= ev->granted_s || ev->left_s == 0;
}

static void on_renewal(struct turn *t)
{
	struct suspect_peer *p = find(t->s, t->ev->instance);
	uint64_t now = t->ev->now_ms;
	if (p == NULL || !p->asked)
		return;
	p->asked = false;
	p->ask_ms = now + SUSPECT_AGAIN_MS;
	if (state_of(p) != SUSPECT_ASKING)
		return;
	bool stale = MUTANT_RENEWAL_IGNORED || (!t->ev->failed && no_renewal(t->ev));
	if (!stale) {
		p->stale_ms = 0;
		sm_move(&p->sm, SUSPECT_SUSPECTED, t->ev->failed ? "etcd is silent" : "renewed");
		return;
	}
	if (p->stale_ms == 0) {
		p->stale_ms = now;
		return;
	}
	char text[128];
	struct tally n = count_votes(t->s, p, now);
	snprintf(text, sizeof text,
		 "silent for %" PRIu64 " ms; %u of %u witnesses and %u of %u standbys lost it too; "
		 "no renewal in etcd",
		 now - p->heard_ms, n.witnesses, n.named, n.agree, n.others);
	if (p == &t->s->peers[0])
		hold_down(t->s, now);
	give_up(t, p, SUSPECT_LOST, text);
}

/* ---- what follows ---- */

static void become_suspected(struct turn *t, struct suspect_peer *p)
{
	sm_move(&p->sm, SUSPECT_SUSPECTED, "silent");
	p->ask_ms = t->ev->now_ms;
	p->stale_ms = 0;
	struct suspect_effect *f = emit(t, SUSPECT_FX_SUSPECT);
	memcpy(f->instance, p->instance, sizeof f->instance);
	if (MUTANT_SUSPECT_IS_DEAD && p == target(t->s))
		give_up(t, p, SUSPECT_LOST, "silent");
}

static void judge(struct turn *t)
{
	struct suspect *s = t->s;
	struct suspect_peer *p = target(s);
	uint64_t now = t->ev->now_ms;
	if (p == NULL)
		return;
	bool may = enough(s, p, now) && (p != &s->peers[0] || !held_down(s, now));
	if (state_of(p) == SUSPECT_ASKING && !may)
		sm_move(&p->sm, SUSPECT_SUSPECTED, "votes gone");
	if (state_of(p) == SUSPECT_SUSPECTED && may && now >= p->ask_ms)
		sm_move(&p->sm, SUSPECT_ASKING, "enough votes");
	if (state_of(p) != SUSPECT_ASKING || p->asked || now < p->ask_ms)
		return;
	p->asked = true;
	memcpy(emit(t, SUSPECT_FX_RENEWAL)->instance, p->instance, sizeof p->instance);
}

/* Our own vote follows from what we think of the leader. */
static void speak(struct turn *t)
{
	const struct suspect_peer *p = leader(t->s);
	uint64_t about = p && suspected(p) ? p->epoch : 0;
	if (about == t->s->voting)
		return;
	if (t->s->voting)
		emit(t, SUSPECT_FX_WITHDRAW);
	t->s->voting = about;
	if (about)
		emit(t, SUSPECT_FX_VOTE)->epoch = about;
}

static void settle(struct turn *t)
{
	for (unsigned i = 0; i < t->s->n_peers; i++) {
		struct suspect_peer *p = &t->s->peers[i];
		if (state_of(p) == SUSPECT_WATCHED &&
		    t->ev->now_ms >= p->heard_ms + SUSPECT_SILENCE_MS)
			become_suspected(t, p);
	}
	judge(t);
	speak(t);
}

void suspect_init(struct suspect *s)
{
	*s = (struct suspect){.n_peers = 0};
}

void suspect_step(struct suspect *s, const struct suspect_event *ev, struct suspect_effects *out)
{
	struct turn t = {s, ev, out};
	struct suspect_peer *p;
	out->n = 0;
	s->now_ms = ev->now_ms;
	switch (ev->kind) {
	case SUSPECT_EV_TIME:
		if (ev->late_ms > SUSPECT_LATE_MS && !MUTANT_LATENESS_IGNORED)
			start_over(&t);
		break;
	case SUSPECT_EV_MEMBERS:
		on_members(&t);
		break;
	case SUSPECT_EV_HEARD:
		p = find(s, ev->instance);
		if (p)
			heard(&t, p);
		break;
	case SUSPECT_EV_WITNESSES:
		on_witnesses(&t);
		break;
	case SUSPECT_EV_REFUSED:
		on_proof(&t, SUSPECT_REFUSED, "its address refuses connections");
		break;
	case SUSPECT_EV_REPLACED:
		on_proof(&t, SUSPECT_REPLACED, "another instance answers at its address");
		break;
	case SUSPECT_EV_VOTE:
	case SUSPECT_EV_VOTE_ENDED:
	case SUSPECT_EV_WITHDRAWN:
		on_vote(&t);
		break;
	case SUSPECT_EV_RENEWAL:
		on_renewal(&t);
		break;
	case SUSPECT_EVENTS:
		break;
	}
	settle(&t);
	assert(suspect_holds(s));
}

/* ---- time ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t suspect_wake_ms(const struct suspect *s)
{
	uint64_t at = UINT64_MAX;
	for (unsigned i = 0; i < s->n_peers; i++) {
		const struct suspect_peer *p = &s->peers[i];
		if (state_of(p) == SUSPECT_WATCHED)
			at = sooner(at, p->heard_ms + SUSPECT_SILENCE_MS);
		else if (p->ahead && suspected(p) && !p->asked && p->ask_ms > s->now_ms)
			at = sooner(at, p->ask_ms);
	}
	if (s->voting && s->hold_until_ms > s->now_ms)
		at = sooner(at, s->hold_until_ms);
	return at;
}

bool suspect_holds(const struct suspect *s)
{
	if (s->n_peers > SUSPECT_PEERS_MAX || s->n_witnesses > SUSPECT_WITNESSES_MAX)
		return false;
	for (unsigned i = 0; i < s->n_peers; i++) {
		if (i && s->peers[i].ahead && !s->peers[i - 1].ahead)
			return false;
		if (state_of(&s->peers[i]) == SUSPECT_ASKING && !s->peers[i].ahead)
			return false;
	}
	return s->voting == 0 || (s->queued && s->n_peers && s->peers[0].epoch == s->voting);
}
