/* The story of a takeover, told from signs, verdicts and the queue. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "ha/story.h"

static struct ha_member member(const char *instance, uint64_t create, bool self)
{
	struct ha_member m = {.create_revision = create, .self = self};
	snprintf(m.instance, sizeof m.instance, "%s", instance);
	snprintf(m.id, sizeof m.id, "jm-%s", instance);
	return m;
}

/* `a` leads and was heard at 1000; we are next. */
static void begin(struct story *s)
{
	*s = (struct story){.barrier_ms = 0};
	struct ha_member queue[] = {member("a", 5, false), member("me", 7, true)};
	story_queue(s, queue, 2, 900);
	story_sign(s, "a", HA_SIGN_HEARD, 1000);
}

static const struct ha_takeover *lead(struct story *s, uint64_t key_gone_ms)
{
	struct ha_member queue[] = {member("me", 7, true)};
	story_queue(s, queue, 1, key_gone_ms);
	story_barrier(s, key_gone_ms + 2);
	story_led(s, (struct epoch){7}, key_gone_ms + 3, 1700000000000);
	return &s->told;
}

Test(story, a_killed_leader)
{
	struct story s;
	begin(&s);
	story_verdict(&s, "a", HA_CAUSE_KILLED, "its address refuses connections", 1004);
	story_verdict(&s, "a", HA_CAUSE_KILLED, "its address refuses connections", 1009);
	const struct ha_takeover *t = lead(&s, 1006);
	cr_assert_eq(t->cause, HA_CAUSE_KILLED);
	cr_assert_str_eq(t->why, "its address refuses connections");
	cr_assert_str_eq(t->before_id, "jm-a");
	cr_assert_eq(t->before.v, 5);
	cr_assert_eq(t->epoch.v, 7);
	cr_assert_eq(t->heard_ms, 1000);
	cr_assert_eq(t->suspected_ms, 0);
	cr_assert_eq(t->confirmed_ms, 1004, "the first time that it was said");
	cr_assert_eq(t->key_gone_ms, 1006);
	cr_assert_eq(t->barrier_ms, 1008);
	cr_assert_eq(t->read_ms, 1009);
	cr_assert_eq(t->read_wall_ms, 1700000000000);
}

Test(story, a_silent_leader_given_up_by_all)
{
	struct story s;
	begin(&s);
	story_sign(&s, "a", HA_SIGN_SUSPECTED, 1500);
	story_verdict(&s, "a", HA_CAUSE_SUSPECTED, "3 of 5 witnesses", 2600);
	const struct ha_takeover *t = lead(&s, 2602);
	cr_assert_eq(t->cause, HA_CAUSE_SUSPECTED);
	cr_assert_eq(t->suspected_ms, 1500);
	cr_assert_eq(t->confirmed_ms, 2600);
}

Test(story, one_that_resigned_even_if_it_then_refuses)
{
	struct story s;
	begin(&s);
	story_sign(&s, "a", HA_SIGN_RESIGNING, 1001);
	story_verdict(&s, "a", HA_CAUSE_KILLED, "its address refuses connections", 1004);
	cr_assert_eq(lead(&s, 1003)->cause, HA_CAUSE_RESIGNED);
}

Test(story, a_key_that_went_although_its_owner_was_heard)
{
	struct story s;
	begin(&s);
	cr_assert_eq(lead(&s, 1100)->cause, HA_CAUSE_KEY_LOST);
	begin(&s);
	story_sign(&s, "a", HA_SIGN_SUSPECTED, 1500);
	const struct ha_takeover *t = lead(&s, 6000);
	cr_assert_eq(t->cause, HA_CAUSE_LEASE);
	cr_assert_eq(t->suspected_ms, 1500);
	cr_assert_eq(t->confirmed_ms, 0, "nobody declared it dead");
}

Test(story, an_old_suspicion_is_no_part_of_it)
{
	struct story s;
	begin(&s);
	story_sign(&s, "a", HA_SIGN_SUSPECTED, 950); /* and was heard again */
	cr_assert_eq(lead(&s, 1100)->suspected_ms, 0);
}

Test(story, nobody_led_before)
{
	struct story s = {.barrier_ms = 0};
	const struct ha_takeover *t = lead(&s, 1000);
	cr_assert_eq(t->cause, HA_CAUSE_FIRST);
	cr_assert_eq(t->before.v, 0);
	/* nor between this lead of ours and our next, if we step down alone */
	t = lead(&s, 2000);
	cr_assert_eq(t->cause, HA_CAUSE_FIRST);
}

Test(story, the_last_leader_counts_not_those_before_it)
{
	struct story s;
	begin(&s);
	struct ha_member queue[] = {member("b", 6, false), member("me", 7, true)};
	story_queue(&s, queue, 2, 1200);
	story_sign(&s, "b", HA_SIGN_HEARD, 1300);
	story_verdict(&s, "b", HA_CAUSE_REPLACED, "another instance", 1310);
	const struct ha_takeover *t = lead(&s, 1312);
	cr_assert_eq(t->before.v, 6);
	cr_assert_eq(t->cause, HA_CAUSE_REPLACED);
	cr_assert_eq(t->key_gone_ms, 1312);
}
