/* The effects of the brain, carried out. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "jobmanager/moments.h"
#include "stage_inside.h"

static enum errc carry_out(struct stage *s, const struct jm_effect *e, uint64_t *revision)
{
	const struct record *chain = stage_find(s, e->key);
	if (s->nospace)
		return ERR_UNAVAILABLE;
	if ((chain ? chain->revision : 0) != e->revision)
		return ERR_CONFLICT;
	for (unsigned i = 0; i < e->n_absent; i++)
		if (stage_find(s, e->absent[i]))
			return ERR_CONFLICT;
	struct doc before = {0}, after = {0};
	bool had = chain && doc_decode(chain->value, strlen(chain->value), &before, NULL) == ERR_OK;
	s->revision++;
	for (unsigned i = 0; i < e->n_ops; i++) {
		if (e->ops[i].value)
			stage_put(s, e->ops[i].key, e->ops[i].value);
		else
			stage_erase(s, e->ops[i].key);
	}
	chain = stage_find(s, e->key);
	*revision = chain ? chain->revision : 0;
	if (chain && doc_decode(chain->value, strlen(chain->value), &after, NULL) == ERR_OK) {
		stage_check_pointers(s, &after);
		if (had && !doc_follows(&before, &after))
			stage_violate(s, "%s went backwards", e->key);
		doc_fini(&after);
	}
	if (had)
		doc_fini(&before);
	return ERR_OK;
}

/* Whoever leads by now has read; what one before it asked for and comes only now is refused by its
 * predicate, the key of the leader that asked. */
static void end_decide(struct stage *s, const struct pending *p, struct jm_event *ev)
{
	bool fenced = s->jm && p->life != s->life;
	ev->kind = JM_DECIDED;
	ev->code = fenced ? ERR_FENCED : carry_out(s, &p->effect, &ev->revision);
	ev->text = ev->code == ERR_UNAVAILABLE ? "NOSPACE" : NULL;
}

void stage_end_read(struct stage *s, const struct jm_effect *e, struct jm_event *ev)
{
	struct jm_doc *docs = mem_array(s->n_store + 1, sizeof(*docs));
	ev->kind = JM_READ_DONE;
	for (size_t i = 0; i < s->n_store; i++) {
		const struct record *r = &s->store[i];
		if (e->prefix ? !text_starts(r->key, e->key) : strcmp(r->key, e->key) != 0)
			continue;
		docs[ev->n_docs++] = (struct jm_doc){.key = mem_text(r->key),
						     .value = mem_text(r->value),
						     .len = strlen(r->value),
						     .revision = r->revision};
	}
	ev->docs = docs;
	ev->code = ERR_OK;
}

void stage_free_docs(const struct jm_event *ev)
{
	for (size_t i = 0; i < ev->n_docs; i++) {
		free((void *)(uintptr_t)ev->docs[i].key);
		free((void *)(uintptr_t)ev->docs[i].value);
	}
	free((void *)(uintptr_t)ev->docs);
}

static void end_blob(struct stage *s, const struct jm_effect *e, struct jm_event *ev)
{
	ev->kind = JM_BLOB_DONE;
	ev->code = s->storage_down ? ERR_UNAVAILABLE : ERR_OK;
	ev->text = s->storage_down ? "storage cannot be reached" : NULL;
	if (s->storage_down)
		return;
	if (e->kind == JM_BLOB_PUT) {
		s->blobs = mem_resize(s->blobs, s->n_blobs + 1, sizeof(char *));
		s->blobs[s->n_blobs++] = mem_text(e->key);
		return;
	}
	stage_say(s, "storage removes %.6s...%s", e->key, e->key + 5 + ID_HEX);
	for (size_t i = s->n_blobs; i-- > 0;)
		if (text_starts(s->blobs[i], e->key)) {
			free(s->blobs[i]);
			s->blobs[i] = s->blobs[--s->n_blobs];
		}
}

static void moment(struct stage *s, const char *name)
{
	if (s->kill_at[0] && strcmp(s->kill_at, name) == 0) {
		s->kill_at[0] = '\0';
		s->dying = true;
	}
	if (s->poison[0] && strcmp(s->poison, name) == 0)
		s->dying = true;
	if (s->dying)
		stage_say(s, "at %.27s", name);
}

static void pass(struct stage *s, unsigned moments)
{
	for (unsigned i = 0; moments >> i && !s->dying; i++)
		if (moments >> i & 1)
			moment(s, moment_name((enum moment)i));
}

void stage_end_effect(struct stage *s, const struct pending *p)
{
	struct jm_event ev = {.token = p->effect.token, .job = p->effect.job};
	if (p->effect.kind == JM_DECIDE)
		end_decide(s, p, &ev);
	else if (p->effect.kind == JM_READ)
		stage_end_read(s, &p->effect, &ev);
	else
		end_blob(s, &p->effect, &ev);
	bool ours = s->jm && p->life == s->life;
	if (ours && p->effect.kind == JM_DECIDE && ev.code == ERR_OK)
		pass(s, p->effect.moments);
	if (ours && p->effect.kind == JM_BLOB_PUT && ev.code == ERR_OK)
		moment(s, "leader-manifest-stored");
	if (ours && s->dying)
		stage_leader_kill(s, false);
	else if (ours)
		stage_dispatch(s, &ev);
	stage_free_docs(&ev);
}

static void start_effect(struct stage *s, struct jm_effect *e)
{
	struct player *tm = stage_by_stream(s, e->stream);
	if (e->kind == JM_TRACE) {
		if (e->level <= LOG_LEVEL_INFO)
			stage_say(s, "%s", e->text);
	} else if (e->kind == JM_REPLY) {
		if (e->token >= 1000000)
			stage_say(s, "answer: %s%s%s", err_name(e->code), e->text[0] ? ": " : "",
				  e->text);
		else if (e->code != ERR_OK && (tm = stage_by_stream(s, e->token)))
			stage_plan_register(s, tm, 100);
	} else if (e->kind == JM_CLOSE_STREAM) {
		if (tm)
			stage_plan_register(s, tm, 100);
	} else if (e->kind == JM_PROBE) {
		for (unsigned i = 0; i < s->n_tms; i++)
			if (s->tms[i].stream == e->token && s->tms[i].refuses)
				stage_later(s, P_DEAD, 1)->token = e->token;
	} else if (e->kind == JM_MOMENT) {
		moment(s, e->key);
	} else if (e->kind == JM_COMMAND) {
		unsigned passed = moments_of_command(e->command->kind);
		if (!tm || !tm->alive)
			return;
		stage_check_command(s, tm, e->command);
		struct pending *p = stage_later(s, P_COMMAND, TM_MS);
		p->effect = *e;
		p->tm = tm;
		memcpy(p->instance, tm->instance, sizeof(p->instance));
		memset(e, 0, sizeof(*e));
		pass(s, passed);
		p->left = s->dying;
	} else {
		if (e->kind == JM_BLOB_REMOVE)
			stage_check_remove(s, e->key);
		if (s->suspended)
			stage_violate(s, "an effect while suspended");
		uint64_t ms = e->kind == JM_DECIDE ? DECIDE_MS : e->kind == JM_READ ? 1 : BLOB_MS;
		struct pending *p = stage_later(s, P_EFFECT,
						s->store_held && e->kind == JM_DECIDE ? 60000 : ms);
		p->effect = *e;
		memset(e, 0, sizeof(*e));
	}
}

void stage_dispatch(struct stage *s, struct jm_event *ev)
{
	struct jm_effects fx = {0};
	ev->now_ms = s->now;
	ev->wall_ms = WALL_ZERO + (int64_t)s->now;
	jm_step(s->jm, ev, &fx);
	for (size_t i = 0; i < fx.n && !s->dying; i++)
		start_effect(s, &fx.at[i]);
	jm_effects_clear(&fx);
	if (s->dying)
		stage_leader_kill(s, false);
}
