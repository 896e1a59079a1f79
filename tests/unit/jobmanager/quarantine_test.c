/* The quarantine by itself: how careful a new leader is, and what it makes of marks. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobmanager/quarantine.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

enum { WALL = 1700000000 };

struct store { /* of run/_cluster */
	char value[8192];
	uint64_t revision;
};

struct leader {
	struct quarantine q;
	struct store *store;
	uint64_t now_ms, token;
	unsigned opened_a, opened_b;
};

static int64_t wall(const struct leader *l)
{
	return (int64_t)WALL * 1000 + (int64_t)l->now_ms;
}

static void begin(struct leader *l, struct store *s, uint64_t now_ms, uint64_t epoch, bool crashed)
{
	struct jm_doc docs[3] = {{.key = "run/" A, .value = "{}", .len = 2, .revision = 1},
				 {.key = "run/" B, .value = "{}", .len = 2, .revision = 1},
				 {.key = QUARANTINE_KEY,
				  .value = s->value,
				  .len = strlen(s->value),
				  .revision = s->revision}};
	*l = (struct leader){.store = s, .now_ms = now_ms, .token = 1};
	quarantine_init(&l->q);
	const struct quarantine_start start = {.now_ms = now_ms,
					       .wall_ms = wall(l),
					       .epoch = {epoch},
					       .before = {epoch - 1},
					       .before_crashed = crashed,
					       .docs = docs,
					       .n_docs = s->revision ? 3 : 2};
	quarantine_begin(&l->q, &start);
}

/* Carry a write out, or lose it with its leader. */
static void write(struct leader *l, const struct jm_effect *e)
{
	cr_assert(eq(u64, e->revision, l->store->revision), "the chain");
	snprintf(l->store->value, sizeof(l->store->value), "%s", e->ops[0].value);
	l->store->revision++;
	cr_expect(quarantine_decided(&l->q, e->token, ERR_OK, NULL, l->store->revision, l->now_ms));
}

/* Run for so long; false: it died as it opened B. */
static bool run(struct leader *l, uint64_t ms, bool poison)
{
	uint64_t end = l->now_ms + ms;
	for (; l->now_ms <= end; l->now_ms += 10) {
		struct jm_effects fx = {0};
		struct quarantine_doc d;
		quarantine_run(&l->q, l->now_ms, wall(l), "jm", &l->token, &fx);
		for (size_t i = 0; i < fx.n; i++)
			write(l, &fx.at[i]);
		jm_effects_clear(&fx);
		while (quarantine_next(&l->q, l->now_ms, &d)) {
			bool b = strcmp(d.job.hex, B) == 0;
			l->opened_a += !b;
			l->opened_b += b;
			free(d.key);
			free(d.value);
			if (b && poison)
				return false;
		}
	}
	return true;
}

Test(quarantine, one_crash_makes_wary_two_make_careful_three_marks_hold)
{
	static const enum quarantine_mode modes[] = {QUARANTINE_CALM,    QUARANTINE_WARY,
						     QUARANTINE_CAREFUL, QUARANTINE_CAREFUL,
						     QUARANTINE_CAREFUL, QUARANTINE_CAREFUL};
	struct store s = {0};
	struct leader l;
	for (unsigned i = 0; i < 6; i++) {
		begin(&l, &s, 1000 + i * 500, 10 + i, i > 0);
		cr_expect(eq(int, (int)l.q.mode, (int)modes[i]), "leader %u", i);
		bool lived = run(&l, 3000, true);
		cr_expect(eq(int, lived, i == 5), "leader %u", i);
		cr_expect(eq(uint, l.opened_a, 1), "leader %u", i);
		quarantine_fini(&l.q);
	}
}

static void hold(struct store *s)
{
	struct leader l;
	for (unsigned i = 0; i < 6; i++) {
		begin(&l, s, 1000 + i * 500, 10 + i, i > 0);
		(void)run(&l, 3000, true);
		quarantine_fini(&l.q);
	}
}

Test(quarantine, a_held_job_is_tried_after_five_minutes_and_forgiven_when_it_lives)
{
	struct job_id b = {B};
	struct store s = {0};
	struct leader l;
	hold(&s);
	begin(&l, &s, 20000, 20, false);
	cr_expect(run(&l, 250000, true), "not opened before its time");
	cr_expect(quarantine_find(&l.q, &b) != NULL);
	cr_expect(run(&l, 60000, false));
	cr_expect(eq(uint, l.opened_b, 1));
	cr_expect(eq(u32, quarantine_count(&l.q, &b), 0), "it lived: no marks");
	cr_expect(strstr(s.value, B) == NULL, "%s", s.value);
	quarantine_fini(&l.q);
}

Test(quarantine, released_it_is_tried_at_once_and_held_again_if_it_kills_again)
{
	struct job_id b = {B};
	struct store s = {0};
	struct leader l;
	hold(&s);
	begin(&l, &s, 20000, 20, false);
	cr_expect(run(&l, 5000, true));
	cr_expect(quarantine_release(&l.q, &b));
	cr_expect(not(run(&l, 100, true)));
	quarantine_fini(&l.q);
	begin(&l, &s, 26000, 21, true);
	cr_expect(eq(u32, quarantine_count(&l.q, &b), 4));
	cr_expect(run(&l, 10000, true));
	quarantine_fini(&l.q);
}

Test(quarantine, a_leader_that_lived_two_seconds_or_handed_over_makes_nobody_careful)
{
	struct store s = {0};
	struct leader l;
	for (unsigned i = 0; i < 5; i++) {
		begin(&l, &s, 1000 + i * 3000, 10 + i, i > 0);
		cr_expect(eq(int, (int)l.q.mode, QUARANTINE_CALM), "leader %u", i);
		(void)run(&l, 2500, false);
		quarantine_fini(&l.q);
	}
	for (unsigned i = 0; i < 5; i++) {
		begin(&l, &s, 20000 + i * 100, 20 + i, false);
		cr_expect(eq(int, (int)l.q.mode, QUARANTINE_CALM), "leader %u", i);
		(void)run(&l, 50, false);
		quarantine_fini(&l.q);
	}
}

/* What users wait for goes to the store first; but what crashes in between counts. */
Test(quarantine, a_calm_leader_opens_at_once_and_is_recorded_a_moment_later)
{
	struct store s = {0};
	struct leader l;
	begin(&l, &s, 1000, 10, false);
	cr_expect(eq(u64, quarantine_wake_ms(&l.q, 1000, wall(&l)), 1000), "there is work to do");
	cr_expect(run(&l, 0, false));
	cr_expect(eq(uint, l.opened_a + l.opened_b, 2));
	cr_expect(eq(u64, s.revision, 0), "%s", s.value);
	uint64_t at = quarantine_wake_ms(&l.q, l.now_ms, wall(&l));
	cr_expect(eq(u64, at, 1000 + QUARANTINE_CALM_MS));
	l.now_ms = at;
	cr_expect(run(&l, 0, false));
	cr_expect(eq(u64, s.revision, 1));
	quarantine_fini(&l.q);
	s = (struct store){0};
	begin(&l, &s, 2000, 20, false);
	cr_expect(not(run(&l, 0, true)), "it dies unrecorded");
	quarantine_fini(&l.q);
	begin(&l, &s, 2500, 21, true);
	cr_expect(eq(int, (int)l.q.mode, QUARANTINE_WARY));
	quarantine_fini(&l.q);
}

/* Killed from outside at any time once the job was taken up: that is not the job's doing. */
Test(quarantine, a_leader_killed_after_it_took_the_job_up_blames_nobody)
{
	struct job_id b = {B};
	struct store s = {0};
	struct leader l;
	for (unsigned i = 0; i < 9; i++) {
		begin(&l, &s, 1000 + i * 500, 10 + i, i > 0);
		bool proven = i % 2;
		while (!l.opened_b)
			cr_assert(run(&l, 0, false));
		quarantine_lives(&l.q, proven, l.now_ms);
		(void)run(&l, proven ? 10 : QUARANTINE_DWELL_MS, false);
		quarantine_lives(&l.q, false, l.now_ms); /* said again: nothing is put off */
		(void)run(&l, 20, false);
		cr_expect(eq(u32, quarantine_count(&l.q, &b), 0), "leader %u", i);
		cr_expect(strstr(s.value, B) == NULL, "leader %u: %s", i, s.value);
		quarantine_fini(&l.q);
	}
	begin(&l, &s, 6000, 30, true);
	cr_expect(eq(int, (int)l.q.mode, QUARANTINE_CAREFUL), "but they did crash early");
	quarantine_fini(&l.q);
}

Test(quarantine, a_store_without_room_gets_no_marks_and_holds_nobody_up)
{
	struct store s = {0};
	struct leader l;
	for (unsigned i = 0; i < 2; i++) {
		begin(&l, &s, 1000 + i * 500, 10 + i, i > 0);
		(void)run(&l, 3000, true);
		quarantine_fini(&l.q);
	}
	begin(&l, &s, 3000, 12, true);
	cr_assert(eq(int, (int)l.q.mode, QUARANTINE_CAREFUL));
	struct jm_effects fx = {0};
	struct quarantine_doc d;
	quarantine_run(&l.q, 3000, wall(&l), "jm", &l.token, &fx);
	cr_assert(eq(sz, fx.n, 1));
	cr_expect(not(quarantine_next(&l.q, 3000, &d)), "not before the mark is recorded");
	cr_expect(quarantine_decided(&l.q, fx.at[0].token, ERR_UNAVAILABLE, "NOSPACE: full", 0,
				     3010));
	jm_effects_clear(&fx);
	unsigned opened = 0;
	while (quarantine_next(&l.q, 3010, &d)) {
		opened++;
		free(d.key);
		free(d.value);
	}
	cr_expect(eq(uint, opened, 2));
	quarantine_fini(&l.q);
}
