#include "jobmanager/cleanup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "jobmanager/doc.h"
#include "jobmanager/jm.h"
#include "jobmanager/moments.h"

static const struct sm_state states[] = {
	[CLEANUP_WAITING] = {"WAITING", SM_TO(CLEANUP_READING)},
	[CLEANUP_READING] = {"READING", SM_TO(CLEANUP_REMOVING) | SM_TO(CLEANUP_WAITING)},
	[CLEANUP_REMOVING] = {"REMOVING", SM_TO(CLEANUP_FORGETTING) | SM_TO(CLEANUP_WAITING)},
	[CLEANUP_FORGETTING] = {"FORGETTING", SM_TO(CLEANUP_WAITING)},
};
const struct sm_table cleanup_table = {"cleanup", states, CLEANUP_STATE_COUNT};

struct entry {
	struct list hook;
	struct sm sm;
	struct job_id job;
	char key[JM_KEY_MAX];
	char prefix[JM_KEY_MAX];
	uint64_t revision, token, not_before_ms;
};

void cleanup_init(struct cleanup *c)
{
	*c = (struct cleanup){0};
	list_init(&c->entries);
}

static void forget(struct cleanup *c, struct entry *e)
{
	c->n_busy -= sm_state(&e->sm) != CLEANUP_WAITING;
	c->n--;
	list_remove(&e->hook);
	free(e);
}

void cleanup_fini(struct cleanup *c)
{
	if (!c->entries.next)
		return;
	list_each_safe (struct entry, e, &c->entries, hook)
		forget(c, e);
}

void cleanup_add(struct cleanup *c, const struct job_id *job, const char *key,
		 uint64_t not_before_ms)
{
	list_each (struct entry, known, &c->entries, hook)
		if (strcmp(known->key, key) == 0)
			return;
	struct entry *e = mem_alloc(sizeof(*e));
	e->job = *job;
	e->not_before_ms = not_before_ms;
	snprintf(e->key, sizeof(e->key), "%s", key);
	sm_init(&e->sm, &cleanup_table, CLEANUP_WAITING);
	counts_watch(c->counts, &e->sm);
	list_append(&c->entries, &e->hook);
	c->n++;
}

static struct entry *awaiting(struct cleanup *c, uint64_t token, enum cleanup_state state)
{
	list_each (struct entry, e, &c->entries, hook)
		if (e->token == token && sm_state(&e->sm) == state)
			return e;
	return NULL;
}

static void wait_again(struct cleanup *c, struct entry *e, uint64_t not_before_ms, const char *why)
{
	sm_move(&e->sm, CLEANUP_WAITING, why);
	e->not_before_ms = not_before_ms;
	e->token = 0;
	c->n_busy--;
}

static bool read_prefix(struct entry *e, const struct jm_doc *doc)
{
	json_t *o = NULL;
	const char *prefix = NULL;
	bool ok = json_parse(doc->value, doc->len, &o, NULL) == ERR_OK &&
		  json_get_text(o, "", "prefix", &prefix, NULL) == ERR_OK &&
		  strncmp(prefix, "jobs/", 5) == 0 && strlen(prefix) < sizeof(e->prefix);
	if (ok)
		snprintf(e->prefix, sizeof(e->prefix), "%s", prefix);
	json_decref(o);
	return ok;
}

bool cleanup_read_done(struct cleanup *c, uint64_t token, enum errc code, const struct jm_doc *docs,
		       size_t n_docs, uint64_t now_ms)
{
	struct entry *e = awaiting(c, token, CLEANUP_READING);
	if (!e)
		return false;
	if (code != ERR_OK && code != ERR_NOTFOUND)
		wait_again(c, e, now_ms + CLEANUP_RETRY_MS, "the store did not answer");
	else if (n_docs == 0 || !read_prefix(e, &docs[0]))
		forget(c, e); /* not there, or of an unknown form: not ours to remove */
	else {
		e->revision = docs[0].revision;
		e->token = 0;
		sm_move(&e->sm, CLEANUP_REMOVING, "it is recorded");
	}
	return true;
}

bool cleanup_blob_done(struct cleanup *c, uint64_t token, enum errc code, uint64_t now_ms)
{
	struct entry *e = awaiting(c, token, CLEANUP_REMOVING);
	if (!e || !token)
		return false;
	if (code != ERR_OK)
		wait_again(c, e, now_ms + CLEANUP_RETRY_MS, "storage did not remove it");
	else {
		e->token = 0;
		sm_move(&e->sm, CLEANUP_FORGETTING, "removed");
	}
	return true;
}

bool cleanup_decided(struct cleanup *c, uint64_t token, enum errc code, uint64_t now_ms)
{
	struct entry *e = awaiting(c, token, CLEANUP_FORGETTING);
	if (!e || !token)
		return false;
	if (code == ERR_OK)
		forget(c, e);
	else
		wait_again(c, e, now_ms + CLEANUP_RETRY_MS, "the entry was not deleted");
	return true;
}

static void start(struct entry *e, enum jm_effect_kind kind, const char *key, uint64_t *next_token,
		  struct jm_effects *fx)
{
	e->token = (*next_token)++;
	struct jm_effect *effect = effects_add(fx, kind);
	effect->token = e->token;
	effect->job = e->job;
	snprintf(effect->key, sizeof(effect->key), "%s", key);
	if (kind == JM_DECIDE) {
		effect->revision = e->revision;
		effect->moments = 1U << MOMENT_CLEANUP;
		effects_op(effect, key, NULL);
	}
}

void cleanup_run(struct cleanup *c, uint64_t now_ms, uint64_t *next_token, struct jm_effects *fx)
{
	list_each (struct entry, e, &c->entries, hook) {
		if (e->token)
			continue;
		switch ((enum cleanup_state)sm_state(&e->sm)) {
		case CLEANUP_WAITING:
			if (c->n_busy >= CLEANUP_BUSY_MAX || now_ms < e->not_before_ms)
				break;
			c->n_busy++;
			sm_move(&e->sm, CLEANUP_READING, "its turn");
			start(e, JM_READ, e->key, next_token, fx);
			break;
		case CLEANUP_REMOVING:
			start(e, JM_BLOB_REMOVE, e->prefix, next_token, fx);
			break;
		case CLEANUP_FORGETTING:
			start(e, JM_DECIDE, e->key, next_token, fx);
			break;
		case CLEANUP_READING:
		case CLEANUP_STATE_COUNT:
			break;
		}
	}
}

uint64_t cleanup_wake_ms(const struct cleanup *c)
{
	uint64_t wake = UINT64_MAX;
	list_each (struct entry, e, &c->entries, hook) {
		if (sm_state(&e->sm) == CLEANUP_WAITING && c->n_busy < CLEANUP_BUSY_MAX &&
		    e->not_before_ms < wake)
			wake = e->not_before_ms;
	}
	return wake;
}

char *cleanup_value(const char *prefix)
{
	json_t *o = json_pack("{s:i, s:s}", "format", 1, "prefix", prefix);
	char *text = json_text(o);
	json_decref(o);
	return text;
}
