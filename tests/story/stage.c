#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stage_inside.h"

/* ---- narration ---- */

void stage_say(struct stage *s, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (!s->quiet)
		buf_printf(&s->page, "[%4" PRIu64 ".%03" PRIu64 "s] %s\n", s->now / 1000,
			   s->now % 1000, line);
}

void stage_violate(struct stage *s, const char *fmt, ...)
{
	char line[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	s->violations++;
	buf_printf(&s->page, "[%4" PRIu64 ".%03" PRIu64 "s] VIOLATION: %s\n", s->now / 1000,
		   s->now % 1000, line);
}

/* ---- the queue ---- */

struct pending *stage_later(struct stage *s, enum pending_kind kind, uint64_t ms)
{
	struct pending *p = mem_alloc(sizeof(*p));
	p->at = s->now + ms;
	p->seq = s->seq++;
	p->kind = kind;
	p->life = s->life;
	struct pending **at = &s->queue;
	while (*at && (*at)->at <= p->at)
		at = &(*at)->next;
	p->next = *at;
	*at = p;
	return p;
}

void stage_pending_destroy(struct pending *p)
{
	struct jm_effects fx = {0};
	if (p->kind == P_EFFECT || p->kind == P_COMMAND) {
		*effects_add(&fx, p->effect.kind) = p->effect;
		jm_effects_clear(&fx);
	}
	control_report_fini(&p->report);
	free(p);
}

/* ---- time ---- */

static void happen(struct stage *s, struct pending *p)
{
	bool same = p->tm && p->tm->alive && strcmp(p->instance, p->tm->instance) == 0;
	switch (p->kind) {
	case P_EFFECT:
		stage_end_effect(s, p);
		break;
	case P_COMMAND:
		if (same && (p->left || (p->tm->online && p->tm->stream == p->effect.stream))) {
			stage_narrate_command(s, p->tm, p->effect.command);
			stage_take_command(s, p->tm, p->effect.command);
		}
		break;
	case P_REPORT:
		if (same)
			stage_give_report(s, p);
		break;
	case P_BEAT:
		stage_give_beat(s, p);
		break;
	case P_REGISTER:
		if (same)
			stage_register(s, p->tm);
		break;
	case P_DEAD:
		if (s->jm && p->life == s->life)
			stage_dispatch(s,
				       &(struct jm_event){.kind = JM_TM_DEAD, .token = p->token});
		break;
	}
}

bool stage_tick(struct stage *s, uint64_t until)
{
	uint64_t wake = s->jm ? jm_wake_ms(s->jm) : UINT64_MAX;
	uint64_t next = s->queue ? s->queue->at : UINT64_MAX;
	if (next > until && wake > until) {
		s->now = until;
		return false;
	}
	struct pending *p = s->queue;
	if (p && next <= wake) {
		s->queue = p->next;
		s->now = p->at > s->now ? p->at : s->now;
		happen(s, p);
		stage_pending_destroy(p);
		return true;
	}
	s->now = wake > s->now ? wake : s->now;
	struct jm_event ev = {.kind = JM_TIME};
	stage_dispatch(s, &ev);
	return true;
}

void stage_run(struct stage *s, uint64_t ms)
{
	uint64_t until = s->now + ms;
	while (stage_tick(s, until))
		;
}

/* ---- leaders ---- */

void stage_leader_start(struct stage *s, bool suspended)
{
	struct jm_config config = {.instance = "jm", .storage = "file:///storage"};
	s->jm = jm_create(&config);
	s->epoch = ++s->revision;
	s->suspended = suspended;
	struct jm_effect all = {.kind = JM_READ, .key = "run/", .prefix = true};
	struct jm_event ev = {0};
	stage_end_read(s, &all, &ev);
	ev.kind = JM_LEADING;
	ev.epoch.v = s->epoch;
	ev.before.v = s->led_epoch;
	ev.before_crashed = s->crashed;
	ev.suspended = suspended;
	ev.nospace = s->nospace;
	ev.cluster_id = "c1";
	s->led_epoch = s->epoch;
	s->crashed = true; /* unless it hands over */
	stage_dispatch(s, &ev);
	stage_free_docs(&ev);
	if (!s->jm)
		return; /* it died at once */
	struct jm_cluster_view view;
	jm_view_cluster(s->jm, &view);
	s->epoch = view.epoch.v;
	for (unsigned i = 0; i < s->n_tms; i++)
		stage_plan_register(s, &s->tms[i], 10 + i);
}

/* The process dies; what it asked of the store happens, or (`lost`) never will. */
void stage_leader_kill(struct stage *s, bool lost)
{
	jm_destroy(s->jm);
	s->jm = NULL;
	s->life++;
	s->dying = false;
	for (unsigned i = 0; i < s->n_tms; i++)
		s->tms[i].online = false;
	for (struct pending **at = &s->queue; *at;) {
		struct pending *p = *at;
		if (p->kind != P_EFFECT || !lost) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		stage_pending_destroy(p);
	}
	stage_say(s, s->crashed ? "the leader dies" : "the leader hands over");
}

/* ---- life ---- */

struct stage *stage_create(void)
{
	struct stage *s = mem_alloc(sizeof(*s));
	s->next_stream = 1;
	return s;
}

void stage_destroy(struct stage *s)
{
	jm_destroy(s->jm);
	while (s->queue) {
		struct pending *p = s->queue;
		s->queue = p->next;
		stage_pending_destroy(p);
	}
	while (s->n_store)
		stage_erase(s, s->store[0].key);
	stage_free_backup(s);
	free(s->store);
	for (size_t i = 0; i < s->n_blobs; i++)
		free(s->blobs[i]);
	free(s->blobs);
	for (unsigned i = 0; i < s->n_tms; i++)
		while (s->tms[i].n_items)
			stage_drop_item(&s->tms[i], &s->tms[i].items[0]);
	buf_fini(&s->page);
	free(s);
}

struct buf *stage_page(struct stage *s)
{
	return &s->page;
}

uint64_t stage_now(const struct stage *s)
{
	return s->now;
}

unsigned stage_violations(const struct stage *s)
{
	return s->violations;
}

const struct jm *stage_jm(const struct stage *s)
{
	return s->jm;
}
