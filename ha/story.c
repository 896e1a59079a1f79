#include "ha/story.h"

#include <stdio.h>
#include <string.h>

static struct story_peer *peer_of(struct story *s, const char *instance)
{
	for (unsigned i = 0; i < STORY_PEERS_MAX; i++)
		if (s->peers[i].instance[0] && strcmp(s->peers[i].instance, instance) == 0)
			return &s->peers[i];
	struct story_peer *p = &s->peers[s->next_peer++ % STORY_PEERS_MAX];
	*p = (struct story_peer){.verdict = HA_CAUSE_NONE};
	snprintf(p->instance, sizeof p->instance, "%s", instance);
	return p;
}

void story_sign(struct story *s, const char *instance, enum ha_sign sign, uint64_t at_ms)
{
	if (instance[0])
		peer_of(s, instance)->sign_ms[sign] = at_ms;
}

void story_verdict(struct story *s, const char *instance, enum ha_cause cause, const char *why,
		   uint64_t at_ms)
{
	if (instance[0] == 0)
		return;
	struct story_peer *p = peer_of(s, instance);
	if (p->verdict == cause)
		return; /* said again */
	p->verdict = cause;
	p->verdict_ms = at_ms;
	snprintf(p->why, sizeof p->why, "%s", why);
}

void story_queue(struct story *s, const struct ha_member *queue, unsigned n, uint64_t now_ms)
{
	bool there = false;
	for (unsigned i = 0; i < n; i++)
		there |= queue[i].create_revision == s->head.create_revision;
	if (s->head.create_revision && !there && s->head_gone_ms == 0)
		s->head_gone_ms = now_ms;
	if (n && !queue[0].self && queue[0].create_revision != s->head.create_revision) {
		s->head = queue[0];
		s->head_gone_ms = 0;
	}
}

void story_barrier(struct story *s, uint64_t now_ms)
{
	s->barrier_ms = now_ms;
}

static void find_cause(const struct story *s, const struct story_peer *p, struct ha_takeover *t)
{
	uint64_t heard = p->sign_ms[HA_SIGN_HEARD];
	const char *why;
	if (p->sign_ms[HA_SIGN_RESIGNING]) {
		t->cause = HA_CAUSE_RESIGNED;
		t->confirmed_ms = p->sign_ms[HA_SIGN_RESIGNING];
		why = "it handed the lead over";
	} else if (p->verdict != HA_CAUSE_NONE) {
		t->cause = p->verdict;
		t->confirmed_ms = p->verdict_ms;
		why = p->why;
	} else if (heard && s->head_gone_ms < heard + STORY_ALIVE_MS) {
		t->cause = HA_CAUSE_KEY_LOST;
		why = "its key went although it was heard";
	} else {
		t->cause = HA_CAUSE_LEASE;
		why = "its lease was not renewed in time";
	}
	snprintf(t->why, sizeof t->why, "%s", why);
	t->heard_ms = s->head_gone_ms && heard > s->head_gone_ms ? s->head_gone_ms : heard;
	if (p->sign_ms[HA_SIGN_SUSPECTED] >= heard)
		t->suspected_ms = p->sign_ms[HA_SIGN_SUSPECTED];
}

void story_led(struct story *s, struct epoch epoch, uint64_t now_ms, int64_t wall_ms)
{
	struct ha_takeover *t = &s->told;
	*t = (struct ha_takeover){.cause = HA_CAUSE_FIRST,
				  .epoch = epoch,
				  .barrier_ms = s->barrier_ms,
				  .read_ms = now_ms,
				  .read_wall_ms = wall_ms};
	if (s->head.create_revision == 0) {
		snprintf(t->why, sizeof t->why, "nobody was seen to lead before");
		return;
	}
	t->before = (struct epoch){s->head.create_revision};
	memcpy(t->before_id, s->head.id, sizeof t->before_id);
	memcpy(t->before_instance, s->head.instance, sizeof t->before_instance);
	memcpy(t->before_address, s->head.cluster_address, sizeof t->before_address);
	if (s->head_gone_ms > s->barrier_ms)
		s->head_gone_ms = s->barrier_ms; /* one transaction did both; heard of it later */
	t->key_gone_ms = s->head_gone_ms;
	find_cause(s, peer_of(s, s->head.instance), t);
	s->head = (struct ha_member){0}; /* told once: who leads after us is another story */
	s->head_gone_ms = 0;
}
