/* The candidacy: its table, every event in every state, and interleavings by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "ha/elect.h"

static const struct elect_config config = {
	.instance = "me", .lease_s = 5, .renew_ms = 500, .relist_ms = 15000};

/* A core, its last effects, and the queue as the store would show it. */
struct play {
	struct elect e;
	struct elect_effects fx;
	uint64_t now;
	struct elect_candidate queue[4];
	unsigned n_queue;
	uint64_t revision;
};

static void step(struct play *p, struct elect_event ev)
{
	ev.now_ms = p->now;
	ev.random = 0x156; /* the lease is 0xab, "ab" */
	elect_step(&p->e, &ev, &p->fx);
}

static const struct elect_effect *effect(const struct play *p, enum elect_effect_kind kind)
{
	for (unsigned i = 0; i < p->fx.n; i++)
		if (p->fx.at[i].kind == kind)
			return &p->fx.at[i];
	return NULL;
}

static enum elect_op asked(const struct play *p)
{
	const struct elect_effect *f = effect(p, ELECT_DO);
	return f ? f->op : ELECT_OP_NONE;
}

static void candidate(struct play *p, const char *key, uint64_t create, const char *instance,
		      const char *address)
{
	struct elect_candidate *c = &p->queue[p->n_queue++];
	*c = (struct elect_candidate){.create_revision = create};
	snprintf(c->key, sizeof c->key, "%s", key);
	snprintf(c->instance, sizeof c->instance, "%s", instance);
	snprintf(c->address, sizeof c->address, "%s", address);
}

static void forget_queue(struct play *p)
{
	p->n_queue = 0;
}

static void op_ends(struct play *p, enum elect_result result, bool with_queue)
{
	struct elect_event ev = {.kind = ELECT_EV_OP,
				 .token = p->e.op_token,
				 .result = result,
				 .sent_ms = p->now,
				 .ttl_s = 5};
	if (with_queue) {
		ev.queue = p->queue;
		ev.n_queue = p->n_queue;
		ev.revision = ++p->revision;
	}
	step(p, ev);
}

static void listed(struct play *p)
{
	step(p, (struct elect_event){.kind = ELECT_EV_HINT});
	step(p, (struct elect_event){.kind = ELECT_EV_LISTED,
				     .token = p->e.list_token,
				     .queue = p->queue,
				     .n_queue = p->n_queue,
				     .revision = ++p->revision});
}

static void renewed(struct play *p, uint64_t sent, uint32_t ttl)
{
	step(p, (struct elect_event){.kind = ELECT_EV_RENEWED,
				     .token = p->e.renew_token,
				     .sent_ms = sent,
				     .ttl_s = ttl});
}

static void begin(struct play *p)
{
	*p = (struct play){.now = 1000, .revision = 100};
	elect_init(&p->e, &config, p->now);
	step(p, (struct elect_event){.kind = ELECT_EV_TIME});
}

static void queue_up(struct play *p, bool somebody_before)
{
	begin(p);
	op_ends(p, ELECT_DONE, false);
	if (somebody_before)
		candidate(p, "1", 5, "other", "host:1");
	candidate(p, "ab", 7, "me", "host:2");
	op_ends(p, ELECT_DONE, true);
}

static void lead(struct play *p)
{
	queue_up(p, false);
	op_ends(p, ELECT_DONE, false);
	cr_assert_eq(elect_state(&p->e), ELECT_LEADING);
}

/* ---- the table ---- */

/* The diagram of the header, edge by edge. */
static const struct {
	enum elect_state from, to;
} edges[] = {
	{ELECT_STARTING, ELECT_QUEUEING},   {ELECT_STARTING, ELECT_LEAVING},
	{ELECT_QUEUEING, ELECT_FOLLOWING},  {ELECT_QUEUEING, ELECT_STARTING},
	{ELECT_QUEUEING, ELECT_LEAVING},    {ELECT_FOLLOWING, ELECT_TAKING},
	{ELECT_FOLLOWING, ELECT_BARRIER},   {ELECT_FOLLOWING, ELECT_STARTING},
	{ELECT_FOLLOWING, ELECT_LEAVING},   {ELECT_TAKING, ELECT_LEADING},
	{ELECT_TAKING, ELECT_FOLLOWING},    {ELECT_TAKING, ELECT_STARTING},
	{ELECT_TAKING, ELECT_LEAVING},      {ELECT_BARRIER, ELECT_LEADING},
	{ELECT_BARRIER, ELECT_FOLLOWING},   {ELECT_BARRIER, ELECT_STARTING},
	{ELECT_BARRIER, ELECT_LEAVING},     {ELECT_LEADING, ELECT_SUSPENDED},
	{ELECT_LEADING, ELECT_FOLLOWING},   {ELECT_LEADING, ELECT_STARTING},
	{ELECT_LEADING, ELECT_LEAVING},     {ELECT_SUSPENDED, ELECT_LEADING},
	{ELECT_SUSPENDED, ELECT_FOLLOWING}, {ELECT_SUSPENDED, ELECT_STARTING},
	{ELECT_SUSPENDED, ELECT_LEAVING},   {ELECT_LEAVING, ELECT_LEFT},
	{ELECT_LEAVING, ELECT_STARTING},    {ELECT_TAKING, ELECT_SUSPENDED},
	{ELECT_BARRIER, ELECT_SUSPENDED},
};

Test(elect, the_table_is_the_diagram)
{
	uint32_t drawn[ELECT_STATES] = {0};
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
		drawn[edges[i].from] |= SM_TO(edges[i].to);
	cr_assert_eq(elect_table.n_states, ELECT_STATES);
	for (unsigned s = 0; s < ELECT_STATES; s++)
		cr_assert_eq(elect_table.states[s].allowed, drawn[s], "%s",
			     elect_table.states[s].name);
}

/* ---- totality: moves outside of the table and broken invariants abort ---- */

static void bring_to(struct play *p, enum elect_state s)
{
	switch (s) {
	case ELECT_STARTING:
		begin(p);
		break;
	case ELECT_QUEUEING:
		begin(p);
		op_ends(p, ELECT_DONE, false);
		break;
	case ELECT_FOLLOWING:
		queue_up(p, true);
		break;
	case ELECT_TAKING:
		queue_up(p, true);
		step(p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other"});
		break;
	case ELECT_BARRIER:
		queue_up(p, false);
		break;
	case ELECT_LEADING:
		lead(p);
		break;
	case ELECT_SUSPENDED:
		lead(p);
		p->now += 6000;
		step(p, (struct elect_event){.kind = ELECT_EV_TIME});
		break;
	case ELECT_LEAVING:
	case ELECT_LEFT:
		lead(p);
		step(p, (struct elect_event){.kind = ELECT_EV_RESIGN});
		if (s == ELECT_LEFT) {
			op_ends(p, ELECT_DONE, false);
			op_ends(p, ELECT_DONE, false);
		}
		break;
	case ELECT_STATES:
		break;
	}
	cr_assert_eq(elect_state(&p->e), s, "%s", elect_table.states[s].name);
}

static struct elect_event any_event(struct play *p, enum elect_event_kind kind, unsigned variant)
{
	struct elect_event ev = {.kind = kind, .result = (enum elect_result)(variant % 3)};
	ev.sent_ms = p->now;
	ev.ttl_s = variant & 1 ? 5 : 0;
	ev.key = variant & 1 ? "ab" : "1";
	ev.instance = variant & 1 ? "other" : "me";
	ev.suspected = variant & 2;
	ev.revision = p->revision + (variant & 4 ? 10 : 0);
	if (variant & 2) {
		ev.queue = p->queue;
		ev.n_queue = variant & 8 ? 0 : p->n_queue;
	}
	switch (kind) {
	case ELECT_EV_OP:
		ev.token = variant & 16 ? 99999 : p->e.op_token;
		break;
	case ELECT_EV_RENEWED:
		ev.token = variant & 16 ? 99999 : p->e.renew_token;
		break;
	case ELECT_EV_LISTED:
		ev.token = variant & 16 ? 99999 : p->e.list_token;
		break;
	case ELECT_EV_TIME:
	case ELECT_EV_HINT:
	case ELECT_EV_DELETED:
	case ELECT_EV_DEPOSED:
	case ELECT_EV_DEAD:
	case ELECT_EV_ALIVE:
	case ELECT_EV_RESIGN:
	case ELECT_EV_STEP_DOWN:
	case ELECT_EV_REGRESSED:
	case ELECT_EV_OUTRUN:
	case ELECT_EVENTS:
		break;
	}
	return ev;
}

Test(elect, every_event_is_legal_in_every_state)
{
	for (unsigned s = 0; s < ELECT_STATES; s++)
		for (unsigned kind = 0; kind < ELECT_EVENTS; kind++)
			for (unsigned variant = 0; variant < 64; variant++) {
				struct play p;
				bring_to(&p, (enum elect_state)s);
				p.now += variant & 32 ? 7000 : 1;
				step(&p, any_event(&p, (enum elect_event_kind)kind, variant));
				cr_assert(elect_holds(&p.e, p.now));
			}
}

Test(elect, long_random_lives_hold)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct prng r;
		struct play p;
		prng_init(&r, seed);
		begin(&p);
		candidate(&p, "1", 5, "other", "host:1");
		candidate(&p, "ab", 7, "me", "host:2");
		candidate(&p, "cd", 9, "me", "host:2");
		for (int i = 0; i < 500 && elect_state(&p.e) != ELECT_LEFT; i++) {
			enum elect_event_kind kind =
				(enum elect_event_kind)prng_below(&r, ELECT_EVENTS);
			if (kind >= ELECT_EV_RESIGN && kind != ELECT_EV_STEP_DOWN &&
			    !prng_chance(&r, 5000))
				kind = ELECT_EV_OP;
			p.now += prng_below(&r, 400);
			p.n_queue = (unsigned)prng_between(&r, 1, 3);
			p.revision++;
			step(&p, any_event(&p, kind, (unsigned)prng_below(&r, 64)));
			uint64_t wake = elect_wake_ms(&p.e);
			cr_assert(wake > p.now || wake == UINT64_MAX || p.e.halted,
				  "asks to be woken in the past: seed %llu",
				  (unsigned long long)seed);
		}
	}
}

/* ---- the ordinary life ---- */

Test(elect, first_in_the_queue_leads_after_a_barrier)
{
	struct play p;
	begin(&p);
	cr_assert_eq(asked(&p), ELECT_OP_GRANT);
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(asked(&p), ELECT_OP_ENQUEUE);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_STARTING);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(asked(&p), ELECT_OP_BARRIER);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING, "not before the barrier");
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
	cr_assert_eq(p.e.epoch, 7);
}

Test(elect, the_next_leads_when_the_first_is_gone)
{
	struct play p;
	queue_up(&p, true);
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING);
	step(&p, (struct elect_event){.kind = ELECT_EV_DELETED, .key = "1", .revision = 300});
	cr_assert_eq(asked(&p), ELECT_OP_BARRIER, "at once, by the hint");
	/* a hint may be wrong: the barrier is refused, and the list in its answer says why */
	op_ends(&p, ELECT_REFUSED, true);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
}

Test(elect, a_refused_barrier_steps_back)
{
	struct play p;
	queue_up(&p, true);
	step(&p, (struct elect_event){.kind = ELECT_EV_DELETED, .key = "1", .revision = 50});
	cr_assert_eq(elect_state(&p.e), ELECT_BARRIER);
	op_ends(&p, ELECT_REFUSED, true); /* the queue still has the other before us */
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING);
}

Test(elect, the_dead_before_us_are_deleted_together)
{
	struct play p;
	begin(&p);
	op_ends(&p, ELECT_DONE, false);
	candidate(&p, "1", 3, "first", "host:1");
	candidate(&p, "2", 5, "second", "host:3");
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "first"});
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING, "the second is alive, and acts");
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "second"});
	cr_assert_eq(asked(&p), ELECT_OP_TAKE);
	cr_assert_eq(effect(&p, ELECT_DO)->index, 2);
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING, "the deletion was a barrier");
	cr_assert_eq(p.e.epoch, 7);
	cr_assert_eq(asked(&p), ELECT_OP_NONE);
}

Test(elect, a_deletion_that_leaves_somebody_before_us_is_no_barrier)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	forget_queue(&p);
	candidate(&p, "2", 5, "second", "host:3");
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING);
	cr_assert_eq(asked(&p), ELECT_OP_NONE);
}

Test(elect, a_deletion_that_took_longer_than_the_lease_is_not_enough)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	p.now += 6000;
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	renewed(&p, p.now, 5);
	cr_assert_eq(asked(&p), ELECT_OP_BARRIER);
}

Test(elect, a_refused_takeover_looks_at_who_is_left)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2"); /* an earlier try was carried out */
	op_ends(&p, ELECT_REFUSED, true);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING, "what is read is no committed write");
	cr_assert_eq(asked(&p), ELECT_OP_BARRIER, "at once");
}

Test(elect, a_takeover_of_unknown_outcome_looks_again)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	op_ends(&p, ELECT_UNKNOWN, false);
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING);
	cr_assert(effect(&p, ELECT_LIST));
	/* not yet deleted, as far as the list knows: tried again, after a pause */
	listed(&p);
	p.now += 1000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_TAKE);
}

/* ---- leases ---- */

Test(elect, the_lease_is_counted_from_the_sending)
{
	struct play p;
	lead(&p);
	p.now = 2000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert(effect(&p, ELECT_RENEW));
	p.now = 4000; /* two seconds on the way */
	renewed(&p, 2000, 5);
	cr_assert_eq(p.e.deadline_ms, 6500);
	p.now = 6499;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
	cr_assert_eq(elect_wake_ms(&p.e), 6500);
	p.now = 6500;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_SUSPENDED);
}

Test(elect, a_suspended_leader_goes_on_with_its_epoch)
{
	struct play p;
	bring_to(&p, ELECT_SUSPENDED);
	cr_assert_eq(asked(&p), ELECT_OP_NONE, "no barrier before a renewal");
	renewed(&p, p.now, 5);
	cr_assert_eq(asked(&p), ELECT_OP_BARRIER);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_SUSPENDED, "a renewal proves nothing");
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
	cr_assert_eq(p.e.epoch, 7);
}

Test(elect, a_suspended_leader_that_hears_of_a_later_one_begins_anew)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_OUTRUN});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING, "while it leads, etcd is what counts");
	bring_to(&p, ELECT_SUSPENDED);
	step(&p, (struct elect_event){.kind = ELECT_EV_OUTRUN});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE, "to a definite answer, before another");
}

Test(elect, a_barrier_that_took_longer_than_the_lease_is_not_enough)
{
	struct play p;
	queue_up(&p, false);
	p.now += 6000;
	op_ends(&p, ELECT_DONE, false);
	cr_assert_neq(elect_role(&p.e), ELECT_ROLE_LEADING);
}

Test(elect, a_lease_that_is_gone_ends_the_candidacy)
{
	struct play p;
	lead(&p);
	p.now += 500;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 0);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE, "to a definite answer, before another");
	op_ends(&p, ELECT_UNKNOWN, false);
	p.now += 2000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE, "again");
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(asked(&p), ELECT_OP_GRANT);
}

Test(elect, a_grant_of_unknown_outcome_is_revoked_first)
{
	struct play p;
	begin(&p);
	op_ends(&p, ELECT_UNKNOWN, false);
	p.now += 2000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE);
	begin(&p);
	op_ends(&p, ELECT_REFUSED, false);
	p.now += 2000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_GRANT, "refused is refused");
}

Test(elect, a_key_of_unknown_outcome_is_tried_until_the_lease_ends)
{
	struct play p;
	bring_to(&p, ELECT_QUEUEING);
	op_ends(&p, ELECT_UNKNOWN, false);
	p.now += 200;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_ENQUEUE, "the identical one again");
	p.now += 6000;
	op_ends(&p, ELECT_UNKNOWN, false);
	p.now += 2000;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE);
}

/* ---- keys ---- */

Test(elect, own_key_gone_is_a_demotion)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_DELETED, .key = "ab", .revision = 300});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	cr_assert_eq(elect_state(&p.e), ELECT_STARTING);
	lead(&p);
	forget_queue(&p);
	candidate(&p, "1", 50, "other", "host:1");
	listed(&p);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING, "found by the list as well");
}

Test(elect, a_list_from_before_our_key_proves_nothing)
{
	struct play p;
	lead(&p);
	forget_queue(&p);
	candidate(&p, "1", 5, "other", "host:1");
	p.revision = 3; /* a member that lags */
	listed(&p);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
}

Test(elect, a_ghost_of_ours_is_deleted)
{
	struct play p;
	begin(&p);
	op_ends(&p, ELECT_DONE, false);
	candidate(&p, "99", 5, "me", "host:2"); /* an earlier candidacy's key, come late */
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert(effect(&p, ELECT_GHOST));
	cr_assert_eq(effect(&p, ELECT_GHOST)->index, 0);
}

Test(elect, a_wrong_verdict_is_not_believed_again_for_a_while)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
	/* the dead one queues again; and by a takeover of its own it stands before us */
	candidate(&p, "2", 9, "other", "host:1");
	listed(&p);
	cr_assert(effect(&p, ELECT_NOTE));
	step(&p, (struct elect_event){.kind = ELECT_EV_DELETED, .key = "ab", .revision = 300});
	op_ends(&p, ELECT_DONE, false); /* revoked */
	op_ends(&p, ELECT_DONE, false); /* granted */
	forget_queue(&p);
	candidate(&p, "2", 9, "other", "host:1");
	candidate(&p, "ab", 305, "me", "host:2");
	p.revision = 310;
	op_ends(&p, ELECT_DONE, true);
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other"});
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING, "the last verdict on host:1 was wrong");
	p.now += 30001;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 5);
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other"});
	cr_assert_eq(elect_state(&p.e), ELECT_TAKING);
}

/* The instance whose key we deleted upon a suspicion wakes up and stands before us again. */
Test(elect, a_suspicion_claims_no_death_and_is_not_doubted)
{
	struct play p;
	queue_up(&p, true);
	step(&p,
	     (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other", .suspected = true});
	cr_assert_eq(elect_state(&p.e), ELECT_TAKING);
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	op_ends(&p, ELECT_DONE, false);
	candidate(&p, "2", 9, "other", "host:1");
	listed(&p);
	cr_assert_not(elect_doubts(&p.e, "other", p.now), "nothing was said to be dead");
	/* the other way round: a refusal that was wrong, then a suspicion */
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other"});
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	listed(&p);
	candidate(&p, "3", 11, "other", "host:1");
	listed(&p);
	cr_assert(elect_doubts(&p.e, "other", p.now));
	cr_assert_not(elect_doubts(&p.e, "me", p.now));
}

Test(elect, a_suspicion_can_be_taken_back)
{
	struct play p;
	begin(&p);
	op_ends(&p, ELECT_DONE, false);
	candidate(&p, "1", 5, "other", "host:1");
	candidate(&p, "2", 6, "next", "host:3");
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	step(&p,
	     (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other", .suspected = true});
	step(&p, (struct elect_event){.kind = ELECT_EV_ALIVE, .instance = "other"});
	step(&p, (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "next"});
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING, "the first lives");
	step(&p, (struct elect_event){.kind = ELECT_EV_ALIVE, .instance = "next"});
	step(&p,
	     (struct elect_event){.kind = ELECT_EV_DEAD, .instance = "other", .suspected = true});
	cr_assert_eq(elect_state(&p.e), ELECT_TAKING, "a proof is not taken back");
}

/* ---- leaving, and the store that went back ---- */

Test(elect, who_steps_down_queues_again_at_the_end)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_STEP_DOWN});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	cr_assert_eq(asked(&p), ELECT_OP_LEAVE);
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE, "or the old key could come back to life");
	op_ends(&p, ELECT_UNKNOWN, false);
	cr_assert_eq(elect_state(&p.e), ELECT_LEAVING, "not before the lease is surely gone");
	p.now += 200;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_state(&p.e), ELECT_STARTING);
	cr_assert_eq(asked(&p), ELECT_OP_GRANT);
	op_ends(&p, ELECT_DONE, false);
	forget_queue(&p);
	candidate(&p, "2", 8, "other", "host:1");
	candidate(&p, "ab", 20, "me", "host:2");
	p.revision = 310;
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(elect_state(&p.e), ELECT_FOLLOWING);
	cr_assert_eq(p.e.epoch, 20);
}

Test(elect, leaving_for_good_overrides_stepping_down)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_STEP_DOWN});
	step(&p, (struct elect_event){.kind = ELECT_EV_RESIGN});
	op_ends(&p, ELECT_DONE, true);
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_state(&p.e), ELECT_LEFT);
	begin(&p); /* before there is a lease there is nothing to step down from */
	step(&p, (struct elect_event){.kind = ELECT_EV_STEP_DOWN});
	cr_assert_eq(elect_state(&p.e), ELECT_STARTING);
}

Test(elect, leaving_deletes_the_key_and_then_the_lease)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_RESIGN});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_FOLLOWING);
	cr_assert_eq(asked(&p), ELECT_OP_LEAVE);
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(asked(&p), ELECT_OP_REVOKE);
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_state(&p.e), ELECT_LEFT);
	cr_assert_eq(elect_wake_ms(&p.e), UINT64_MAX);
}

Test(elect, a_store_that_went_back_stops_everything_but_leaving)
{
	struct play p;
	lead(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_REGRESSED});
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_SUSPENDED);
	cr_assert_eq(asked(&p), ELECT_OP_NONE);
	p.now += 600;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 5);
	cr_assert_eq(asked(&p), ELECT_OP_NONE, "no barrier");
	step(&p, (struct elect_event){.kind = ELECT_EV_RESIGN});
	cr_assert_eq(asked(&p), ELECT_OP_LEAVE);
}

/* The store that is there instead: its revisions are low. */
static void go_back(struct play *p)
{
	p->revision = 20;
	step(p, (struct elect_event){.kind = ELECT_EV_REGRESSED});
}

static void await_retry(struct play *p)
{
	p->now = elect_wake_ms(&p->e);
	step(p, (struct elect_event){.kind = ELECT_EV_TIME});
}

/* From STARTING, and the lease of before is revoked first: into the queue of this store. */
static void queue_anew(struct play *p, bool somebody_before)
{
	cr_assert_eq(asked(p), ELECT_OP_REVOKE);
	op_ends(p, ELECT_DONE, false);
	cr_assert_eq(asked(p), ELECT_OP_GRANT);
	op_ends(p, ELECT_DONE, false);
	cr_assert_eq(asked(p), ELECT_OP_ENQUEUE);
	forget_queue(p);
	if (somebody_before)
		candidate(p, "1", 5, "other", "host:1");
	candidate(p, "ab", 21, "me", "host:2");
	op_ends(p, ELECT_DONE, true);
	cr_assert_eq(p->e.epoch, 21);
	cr_assert_eq(p->e.n_queue, somebody_before ? 2 : 1, "the queue of before is forgotten");
}

static void is_first_and_suspended(struct play *p)
{
	cr_assert_eq(asked(p), ELECT_OP_BARRIER);
	op_ends(p, ELECT_DONE, true);
	cr_assert_eq(elect_state(&p->e), ELECT_SUSPENDED);
	cr_assert_eq(elect_role(&p->e), ELECT_ROLE_SUSPENDED);
	cr_assert_eq(asked(p), ELECT_OP_NONE);
}

Test(elect, who_is_first_in_a_store_that_went_back_is_there_but_suspended)
{
	static const enum elect_state at[] = {ELECT_QUEUEING, ELECT_FOLLOWING, ELECT_TAKING,
					      ELECT_BARRIER};
	for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
		struct play p;
		bring_to(&p, at[i]);
		go_back(&p);
		cr_assert_eq(elect_state(&p.e), ELECT_STARTING);
		queue_anew(&p, false);
		is_first_and_suspended(&p);
	}
}

Test(elect, an_answer_of_before_the_store_went_back_is_nothing)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	uint32_t token = p.e.op_token;
	go_back(&p);
	step(&p, (struct elect_event){.kind = ELECT_EV_OP, .token = token, .result = ELECT_DONE});
	cr_assert_eq(elect_state(&p.e), ELECT_STARTING);
}

Test(elect, the_dead_are_deleted_in_a_store_that_went_back_too)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	go_back(&p);
	queue_anew(&p, true);
	cr_assert_eq(asked(&p), ELECT_OP_TAKE, "what is known of the dead is still true");
	forget_queue(&p);
	candidate(&p, "ab", 21, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	cr_assert_eq(elect_state(&p.e), ELECT_SUSPENDED);
	cr_assert_eq(asked(&p), ELECT_OP_NONE);
}

/* What comes back is its key. */
Test(elect, the_dead_whose_keys_come_back_with_the_store_stay_dead)
{
	struct play p;
	bring_to(&p, ELECT_TAKING);
	forget_queue(&p);
	candidate(&p, "ab", 7, "me", "host:2");
	op_ends(&p, ELECT_DONE, true);
	listed(&p);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_LEADING);
	go_back(&p);
	p.now += 600;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 0);
	await_retry(&p);
	queue_anew(&p, true);
	cr_assert_eq(asked(&p), ELECT_OP_TAKE);
	cr_assert(!elect_doubts(&p.e, "other", p.now));
}

Test(elect, a_leader_that_the_restored_store_does_not_know_queues_again)
{
	struct play p;
	lead(&p);
	go_back(&p);
	cr_assert_eq(elect_role(&p.e), ELECT_ROLE_SUSPENDED);
	p.now += 600;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 0);
	cr_assert_eq(asked(&p), ELECT_OP_NONE, "not at once: two stores may answer in turns");
	await_retry(&p);
	queue_anew(&p, false);
	is_first_and_suspended(&p);
}

Test(elect, a_store_that_goes_back_again_is_queued_in_again)
{
	struct play p;
	lead(&p);
	go_back(&p);
	cr_assert(effect(&p, ELECT_LIST) != NULL, "the queue as it is there");
	candidate(&p, "9", 9, "other", "host:1");
	step(&p, (struct elect_event){.kind = ELECT_EV_LISTED,
				      .token = p.e.list_token,
				      .queue = p.queue,
				      .n_queue = p.n_queue,
				      .revision = 50});
	cr_assert_eq(p.e.queue_revision, 50);
	p.now += 600;
	step(&p, (struct elect_event){.kind = ELECT_EV_TIME});
	renewed(&p, p.now, 0);
	await_retry(&p);
	p.revision = 20; /* below 50, and nobody told */
	queue_anew(&p, false);
	is_first_and_suspended(&p);
}

Test(elect, the_barrier_that_shows_a_store_that_went_back_resumes_nobody)
{
	struct play p;
	bring_to(&p, ELECT_SUSPENDED);
	renewed(&p, p.now, 5);
	cr_assert_eq(p.e.op, ELECT_OP_BARRIER);
	go_back(&p);
	op_ends(&p, ELECT_DONE, false);
	cr_assert_eq(elect_state(&p.e), ELECT_SUSPENDED);
	cr_assert(effect(&p, ELECT_ROLE) == NULL);
	cr_assert_eq(asked(&p), ELECT_OP_NONE);
}

Test(elect, an_answer_with_a_stale_token_is_nothing)
{
	struct play p;
	queue_up(&p, false);
	step(&p, (struct elect_event){.kind = ELECT_EV_OP, .token = p.e.op_token + 1});
	cr_assert_eq(elect_state(&p.e), ELECT_BARRIER);
	step(&p, (struct elect_event){.kind = ELECT_EV_OP, .token = 0});
	cr_assert_eq(elect_state(&p.e), ELECT_BARRIER);
}
