/* Giving up a silent candidate: who must agree, and what does not suffice. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "ha/suspect.h"

/* The queue: `lead` (epoch 5), then we (7), then `third` (9); five TaskManagers are witnesses. */
struct play {
	struct suspect s;
	struct suspect_effects fx;
	uint64_t now;
};

static const char witnesses[5][NODE_ID_MAX] = {"tm-1", "tm-2", "tm-3", "tm-4", "tm-5"};

/* Adds to the effects that are there. */
static void more(struct play *p, struct suspect_event ev)
{
	struct suspect_effects fx;
	ev.now_ms = p->now;
	suspect_step(&p->s, &ev, &fx);
	for (unsigned i = 0; i < fx.n && p->fx.n < SUSPECT_EFFECTS_MAX; i++)
		p->fx.at[p->fx.n++] = fx.at[i];
}

static void step(struct play *p, struct suspect_event ev)
{
	p->fx.n = 0;
	more(p, ev);
}

static const struct suspect_effect *effect(const struct play *p, enum suspect_effect_kind kind)
{
	for (unsigned i = 0; i < p->fx.n; i++)
		if (p->fx.at[i].kind == kind)
			return &p->fx.at[i];
	return NULL;
}

static struct suspect_member member(const char *instance, uint64_t epoch)
{
	struct suspect_member m = {.epoch = epoch, .self = strcmp(instance, "me") == 0};
	snprintf(m.instance, sizeof m.instance, "%s", instance);
	return m;
}

static void queue(struct play *p, const char *a, const char *b, const char *c)
{
	const char *names[] = {a, b, c};
	struct suspect_member members[3];
	unsigned n = 0;
	for (unsigned i = 0; i < 3; i++)
		if (names[i])
			members[n++] = member(names[i], 5 + 2 * i);
	step(p, (struct suspect_event){
			.kind = SUSPECT_EV_MEMBERS, .members = members, .n_members = n});
}

static void hear(struct play *p, const char *who)
{
	step(p, (struct suspect_event){.kind = SUSPECT_EV_HEARD, .instance = who});
}

static void names(struct play *p, unsigned n)
{
	step(p, (struct suspect_event){.kind = SUSPECT_EV_WITNESSES,
				       .instance = "lead",
				       .names = witnesses,
				       .n_names = n});
}

static void begin(struct play *p)
{
	*p = (struct play){.now = 10000};
	suspect_init(&p->s);
	queue(p, "lead", "me", "third");
	hear(p, "lead");
	hear(p, "third");
	names(p, 5);
}

/* Time passes in steps of 50 ms; everybody but the leader is heard. */
static void pass(struct play *p, uint64_t ms, const char *heard)
{
	p->fx.n = 0;
	for (uint64_t end = p->now + ms; p->now < end;) {
		p->now += 50;
		if (heard)
			more(p,
			     (struct suspect_event){.kind = SUSPECT_EV_HEARD, .instance = heard});
		more(p, (struct suspect_event){.kind = SUSPECT_EV_TIME});
	}
}

static void vote(struct play *p, const char *name, uint64_t epoch)
{
	step(p, (struct suspect_event){.kind = SUSPECT_EV_VOTE, .name = name, .epoch = epoch});
}

static void renewal(struct play *p, const char *who, uint64_t left_s)
{
	step(p, (struct suspect_event){.kind = SUSPECT_EV_RENEWAL,
				       .instance = who,
				       .granted_s = 5,
				       .left_s = left_s});
}

static bool asked(const struct play *p)
{
	return effect(p, SUSPECT_FX_RENEWAL) != NULL;
}

static enum suspect_state of_lead(const struct play *p)
{
	return suspect_state_of(&p->s, "lead");
}

/* The leader is silent, and everybody who was asked says so. */
static void lost_by_all(struct play *p)
{
	pass(p, 600, "third");
	vote(p, "tm-1", 5);
	vote(p, "tm-2", 5);
	vote(p, "tm-3", 5);
	vote(p, "third", 5);
}

/* ---- the table ---- */

Test(suspect, the_table_is_the_diagram)
{
	static const struct {
		enum suspect_state from, to;
	} edges[] = {
		{SUSPECT_GIVEN_UP, SUSPECT_WATCHED},   {SUSPECT_WATCHED, SUSPECT_SUSPECTED},
		{SUSPECT_SUSPECTED, SUSPECT_ASKING},   {SUSPECT_SUSPECTED, SUSPECT_WATCHED},
		{SUSPECT_ASKING, SUSPECT_WATCHED},     {SUSPECT_ASKING, SUSPECT_SUSPECTED},
		{SUSPECT_ASKING, SUSPECT_GIVEN_UP},    {SUSPECT_WATCHED, SUSPECT_GIVEN_UP},
		{SUSPECT_SUSPECTED, SUSPECT_GIVEN_UP},
	};
	uint32_t drawn[SUSPECT_STATES] = {0};
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
		drawn[edges[i].from] |= SM_TO(edges[i].to);
	for (unsigned i = 0; i < SUSPECT_STATES; i++)
		cr_assert_eq(drawn[i], suspect_table.states[i].allowed, "%s",
			     suspect_table.states[i].name);
}

/* ---- proofs ---- */

Test(suspect, a_refusal_is_a_proof_at_once)
{
	struct play p;
	begin(&p);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "lead"});
	cr_assert(effect(&p, SUSPECT_FX_GIVE_UP));
	cr_assert_eq(effect(&p, SUSPECT_FX_GIVE_UP)->how, SUSPECT_REFUSED);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "lead"});
	cr_assert_eq(p.fx.n, 0, "once");
}

Test(suspect, a_refusal_at_a_doubted_address_is_no_proof)
{
	struct play p;
	begin(&p);
	step(&p, (struct suspect_event){
			 .kind = SUSPECT_EV_REFUSED, .instance = "lead", .doubted = true});
	cr_assert_eq(p.fx.n, 0);
	/* it is silence, though */
	lost_by_all(&p);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING);
}

Test(suspect, the_death_of_one_behind_us_is_nobodys_matter)
{
	struct play p;
	begin(&p);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "third"});
	cr_assert_eq(p.fx.n, 0);
}

/* ---- silence ---- */

Test(suspect, silence_alone_changes_nothing)
{
	struct play p;
	begin(&p);
	pass(&p, 400, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
	pass(&p, 100, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	cr_assert(effect(&p, SUSPECT_FX_SUSPECT));
	cr_assert_eq(effect(&p, SUSPECT_FX_VOTE)->epoch, 5);
	pass(&p, 60000, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED, "the lease decides");
}

Test(suspect, all_must_have_lost_it_and_etcd_must_see_no_renewal)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	cr_assert(asked(&p));
	renewal(&p, "lead", 3);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING, "one answer is not enough");
	cr_assert_not(asked(&p));
	pass(&p, 250, "third");
	cr_assert(asked(&p));
	renewal(&p, "lead", 2);
	const struct suspect_effect *f = effect(&p, SUSPECT_FX_GIVE_UP);
	cr_assert(f);
	cr_assert_eq(f->how, SUSPECT_LOST);
	cr_assert_str_eq(f->text, "silent for 850 ms; 3 of 5 witnesses and 1 of 1 standbys lost it "
				  "too; no renewal in etcd");
	cr_assert(effect(&p, SUSPECT_FX_WITHDRAW));
}

Test(suspect, half_of_the_witnesses_are_not_most)
{
	struct play p;
	begin(&p);
	names(&p, 4);
	pass(&p, 600, "third");
	vote(&p, "third", 5);
	vote(&p, "tm-1", 5);
	vote(&p, "tm-2", 5);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	vote(&p, "tm-9", 5);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED, "not one that was named");
	vote(&p, "tm-3", 4);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED, "about an earlier leader");
	vote(&p, "tm-3", 5);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING);
}

Test(suspect, a_standby_that_hears_it_is_a_veto)
{
	struct play p;
	begin(&p);
	pass(&p, 600, "third");
	for (unsigned i = 0; i < 5; i++)
		vote(&p, witnesses[i], 5);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	pass(&p, 600, NULL);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING, "unless we do not hear that one either");
}

Test(suspect, without_witnesses_another_standby_must_agree)
{
	struct play p;
	begin(&p);
	names(&p, 0);
	pass(&p, 600, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	vote(&p, "third", 5);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING);
	begin(&p);
	queue(&p, "lead", "me", NULL);
	names(&p, 0);
	pass(&p, 6000, NULL);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED, "nobody else to ask: the lease decides");
}

Test(suspect, votes_are_withdrawn_and_fade)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_WITHDRAWN, .name = "tm-2"});
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	vote(&p, "tm-2", 5);
	pass(&p, 50, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_VOTE_ENDED, .name = "tm-2"});
	pass(&p, SUSPECT_FADE_MS - 100, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING, "it may be asked again");
	pass(&p, 200, "third");
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
}

Test(suspect, a_renewal_in_between_begins_anew)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	renewal(&p, "lead", 3);
	pass(&p, 250, "third");
	renewal(&p, "lead", 4);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	pass(&p, 250, "third");
	cr_assert(asked(&p));
	renewal(&p, "lead", 3);
	cr_assert_eq(of_lead(&p), SUSPECT_ASKING, "again the first of two");
	pass(&p, 250, "third");
	step(&p, (struct suspect_event){
			 .kind = SUSPECT_EV_RENEWAL, .instance = "lead", .failed = true});
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED, "no answer is no evidence");
}

Test(suspect, a_byte_ends_it)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	renewal(&p, "lead", 3);
	hear(&p, "lead");
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
	cr_assert(effect(&p, SUSPECT_FX_WITHDRAW));
	renewal(&p, "lead", 3);
	cr_assert_eq(p.fx.n, 0, "an answer that comes late");
}

Test(suspect, a_process_that_was_stopped_itself_starts_over)
{
	struct play p;
	begin(&p);
	vote(&p, "third", 5);
	for (unsigned i = 0; i < 5; i++)
		vote(&p, witnesses[i], 5);
	p.now += 3000;
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_TIME, .late_ms = 2500});
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
	cr_assert_eq(p.fx.n, 0);
	pass(&p, 500, "third");
	cr_assert_neq(of_lead(&p), SUSPECT_WATCHED);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_TIME, .late_ms = 2500});
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
}

/* ---- holding down ---- */

/* Is the leader given up within four seconds, with everybody's agreement? */
static bool given_up(struct play *p)
{
	queue(p, "lead", "me", "third");
	hear(p, "lead");
	names(p, 5);
	lost_by_all(p);
	for (unsigned i = 0; i < 16; i++) {
		if (p->s.peers[0].asked)
			renewal(p, "lead", 2);
		if (effect(p, SUSPECT_FX_GIVE_UP))
			return true;
		pass(p, 50, "third");
	}
	return false;
}

/* It queues again, with a key of its own: but for this test at the same place. */
static void deposed(struct play *p)
{
	hear(p, "lead");
	queue(p, NULL, "me", "third");
}

Test(suspect, unproven_takeovers_are_rare)
{
	struct play p;
	begin(&p);
	cr_assert(given_up(&p));
	deposed(&p);
	pass(&p, 10000, "third");
	cr_assert_not(given_up(&p), "within 30 s");
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "lead"});
	cr_assert(effect(&p, SUSPECT_FX_GIVE_UP), "a proof is not held down");
	deposed(&p);
	pass(&p, 20000, "third");
	cr_assert(given_up(&p));
	deposed(&p);
	pass(&p, 35000, "third");
	cr_assert_not(given_up(&p), "the next one not within 60 s");
	deposed(&p);
	pass(&p, 30000, "third");
	cr_assert(given_up(&p));
	deposed(&p);
	pass(&p, 400000, "third");
	cr_assert(given_up(&p));
	deposed(&p);
	pass(&p, 35000, "third");
	cr_assert(given_up(&p), "after a long quiet it begins with 30 s again");
}

Test(suspect, another_standbys_takeover_holds_us_down_too)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	queue(&p, NULL, "me", "third");
	cr_assert_not(given_up(&p));
}

/* ---- several ahead ---- */

static void third_in_queue(struct play *p)
{
	*p = (struct play){.now = 10000};
	suspect_init(&p->s);
	queue(p, "lead", "next", "me");
	hear(p, "lead");
	names(p, 5);
}

Test(suspect, two_silent_ones_are_given_up_in_their_order)
{
	struct play p;
	third_in_queue(&p);
	pass(&p, 600, NULL);
	cr_assert_eq(suspect_state_of(&p.s, "next"), SUSPECT_SUSPECTED);
	for (unsigned i = 0; i < 3; i++)
		vote(&p, witnesses[i], 5);
	cr_assert_str_eq(effect(&p, SUSPECT_FX_RENEWAL)->instance, "lead");
	renewal(&p, "lead", 3);
	pass(&p, 250, NULL);
	renewal(&p, "lead", 3);
	cr_assert_str_eq(effect(&p, SUSPECT_FX_GIVE_UP)->instance, "lead");
	cr_assert_str_eq(effect(&p, SUSPECT_FX_RENEWAL)->instance, "next");
	renewal(&p, "next", 3);
	pass(&p, 250, NULL);
	renewal(&p, "next", 3);
	cr_assert_str_eq(effect(&p, SUSPECT_FX_GIVE_UP)->instance, "next");
}

/* Else it would be deleted one day when somebody between it and us dies. */
Test(suspect, a_verdict_without_proof_is_taken_back_when_it_is_heard)
{
	struct play p;
	begin(&p);
	lost_by_all(&p);
	renewal(&p, "lead", 3);
	pass(&p, 250, "third");
	renewal(&p, "lead", 3);
	cr_assert_eq(of_lead(&p), SUSPECT_GIVEN_UP);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_TIME, .late_ms = 900});
	cr_assert_eq(of_lead(&p), SUSPECT_GIVEN_UP, "our own pause is no sign of life");
	hear(&p, "lead");
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
	cr_assert_str_eq(effect(&p, SUSPECT_FX_TAKE_BACK)->instance, "lead");
	hear(&p, "lead");
	cr_assert_eq(p.fx.n, 0, "once");
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "lead"});
	hear(&p, "lead");
	cr_assert_eq(of_lead(&p), SUSPECT_GIVEN_UP, "a proof is not");
}

Test(suspect, who_is_not_next_leaves_it_to_who_is)
{
	struct play p;
	third_in_queue(&p);
	pass(&p, 600, "next");
	for (unsigned i = 0; i < 5; i++)
		vote(&p, witnesses[i], 5);
	vote(&p, "next", 5);
	cr_assert_eq(of_lead(&p), SUSPECT_SUSPECTED);
	cr_assert_neq(p.s.voting, 0, "but says what it knows");
}

Test(suspect, a_new_key_of_an_old_instance_is_a_new_beginning)
{
	struct play p;
	begin(&p);
	step(&p, (struct suspect_event){.kind = SUSPECT_EV_REFUSED, .instance = "lead"});
	struct suspect_member members[] = {member("me", 7), member("third", 9), member("lead", 11)};
	step(&p, (struct suspect_event){
			 .kind = SUSPECT_EV_MEMBERS, .members = members, .n_members = 3});
	cr_assert_eq(of_lead(&p), SUSPECT_WATCHED);
	cr_assert_eq(p.s.voting, 0, "and we are the first");
}

Test(suspect, wakes_in_the_future_only)
{
	struct play p;
	struct prng r;
	prng_init(&r, 42);
	begin(&p);
	static const char *const who[] = {"lead", "third", "tm-1", "tm-2", "tm-3", "nobody"};
	for (unsigned i = 0; i < 200000; i++) {
		struct suspect_event ev = {
			.kind = (enum suspect_event_kind)prng_below(&r, SUSPECT_EVENTS),
			.instance = who[prng_below(&r, 2)],
			.name = who[prng_below(&r, 6)],
			.doubted = prng_below(&r, 20) != 0,
			.epoch = prng_below(&r, 4) ? 5 : 6,
			.granted_s = 5,
			.left_s = prng_below(&r, 6),
			.failed = prng_below(&r, 4) == 0,
			.names = witnesses,
			.n_names = (unsigned)prng_below(&r, 6),
			.late_ms = prng_below(&r, 50) ? 0 : 300};
		struct suspect_member members[] = {member("lead", 5 + prng_below(&r, 2)),
						   member("me", 7), member("third", 9)};
		if (ev.kind == SUSPECT_EV_MEMBERS) {
			ev.members = members;
			ev.n_members = 1 + (unsigned)prng_below(&r, 3);
		}
		p.now += prng_below(&r, 200);
		step(&p, ev);
		cr_assert(suspect_holds(&p.s));
		cr_assert_gt(suspect_wake_ms(&p.s), p.now);
	}
}
