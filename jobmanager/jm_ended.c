/* What earlier leaders left behind: tombstones of jobs that ended, and files to be removed. */
#include "jobmanager/jm_inside.h"

#include <stdio.h>
#include <string.h>

static uint64_t read_keys(struct jm *jm, const char *prefix, struct jm_effects *fx)
{
	struct jm_effect *read = effects_add(fx, JM_READ);
	read->token = jm->next_token++;
	read->prefix = true;
	snprintf(read->key, sizeof(read->key), "%s", prefix);
	return read->token;
}

static bool expired(const struct doc *tombstone, int64_t wall_ms)
{
	const int64_t kept_ms = (int64_t)JM_TOMBSTONE_DAYS * 24 * 3600 * 1000;
	return wall_ms - tombstone->stamps[tombstone->status] > kept_ms;
}

/* Delete an old tombstone; its key is its own chain. Nobody waits for the outcome: the next leader
 * finds it again if it failed. */
static void bury(struct jm *jm, const struct doc *tombstone, const struct jm_doc *doc,
		 struct jm_effects *fx)
{
	struct jm_effect *decide = effects_add(fx, JM_DECIDE);
	decide->token = jm->next_token++;
	decide->job = tombstone->job;
	decide->revision = doc->revision;
	snprintf(decide->key, sizeof(decide->key), "done/%s", tombstone->job.hex);
	effects_op(decide, decide->key, NULL);
}

static void load_done(struct jm *jm, const struct job_env *env, const struct jm_doc *doc)
{
	struct job_id id;
	struct doc tombstone;
	if (strncmp(doc->key, "done/", 5) != 0 || job_id_parse(doc->key + 5, &id, NULL) != ERR_OK ||
	    jm_find(jm, &id) || doc_decode(doc->value, doc->len, &tombstone, NULL) != ERR_OK)
		return;
	if (!doc_terminal(tombstone.status) || !job_id_equal(&id, &tombstone.job)) {
		doc_fini(&tombstone);
		return;
	}
	if (env->leading && expired(&tombstone, jm->wall_ms)) {
		bury(jm, &tombstone, doc, env->fx);
		doc_fini(&tombstone);
		return;
	}
	struct job *job = job_load(env, &tombstone, doc->revision);
	jm_add_job(jm, job);
	for (size_t i = 0; i < jm->tms.n; i++)
		if (jm->tms.at[i]->state == TM_CONNECTED)
			job_leftovers(job, env, jm->tms.at[i]);
	jm_touch(jm, job);
}

void jm_done_read(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	jm->done_token = 0;
	jm->done_loaded = ev->code == ERR_OK || ev->code == ERR_NOTFOUND;
	for (size_t i = 0; i < ev->n_docs && jm->done_loaded; i++)
		load_done(jm, &env, &ev->docs[i]);
	if (!jm->done_loaded)
		jm->reread_ms = jm->now_ms + 1000;
}

void jm_cleanup_read(struct jm *jm, const struct jm_event *ev)
{
	jm->cleanup_token = 0;
	if (ev->code != ERR_OK && ev->code != ERR_NOTFOUND) {
		jm->reread_ms = jm->now_ms + 1000;
		jm->cleanup_missing = true;
		return;
	}
	jm->cleanup_missing = false;
	for (size_t i = 0; i < ev->n_docs; i++) {
		struct job_id id = {""};
		const char *key = ev->docs[i].key;
		if (strlen(key) > 8 + ID_HEX && strlen(key) < JM_KEY_MAX) {
			snprintf(id.hex, sizeof(id.hex), "%.*s", ID_HEX, key + 8);
			cleanup_add(&jm->cleanup, &id, key, jm->now_ms);
		}
	}
}

/* A creation met a job of its id: here is its tombstone, if it ended. */
void jm_met(struct jm *jm, struct job *job, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	struct doc tombstone;
	bool there = ev->n_docs &&
		     doc_decode(ev->docs[0].value, ev->docs[0].len, &tombstone, NULL) == ERR_OK;
	job_met(job, &env, ev->code, there ? &tombstone : NULL);
	if (!there)
		return;
	doc_fini(&tombstone);
	jm_remove_gone(jm);
	load_done(jm, &env, &ev->docs[0]);
}

void jm_reread(struct jm *jm, struct jm_effects *fx)
{
	if (jm->role != JM_IS_LEADING || !jm->reread_ms || jm->now_ms < jm->reread_ms)
		return;
	jm->reread_ms = 0;
	if (!jm->done_loaded && !jm->done_token)
		jm->done_token = read_keys(jm, "done/", fx);
	if (jm->cleanup_missing && !jm->cleanup_token)
		jm->cleanup_token = read_keys(jm, "cleanup/", fx);
}
