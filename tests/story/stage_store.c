/* The store of the stage: etcd as its promises have it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stage_inside.h"

struct record *stage_find(const struct stage *s, const char *key)
{
	for (size_t i = 0; i < s->n_store; i++)
		if (strcmp(s->store[i].key, key) == 0)
			return &s->store[i];
	return NULL;
}

void stage_put(struct stage *s, const char *key, const char *value)
{
	struct record *r = stage_find(s, key);
	if (!r) {
		s->store = mem_resize(s->store, s->n_store + 1, sizeof(*s->store));
		r = &s->store[s->n_store++];
		*r = (struct record){.key = mem_text(key)};
	}
	free(r->value);
	r->value = mem_text(value);
	r->revision = s->revision;
}

void stage_erase(struct stage *s, const char *key)
{
	struct record *r = stage_find(s, key);
	if (!r)
		return;
	free(r->key);
	free(r->value);
	*r = s->store[--s->n_store];
}

bool stage_stored_doc(const struct stage *s, const char *folder, const struct job_id *job,
		      struct doc *out)
{
	char key[JM_KEY_MAX];
	snprintf(key, sizeof(key), "%s/%s", folder, job->hex);
	const struct record *r = stage_find(s, key);
	return r && doc_decode(r->value, strlen(r->value), out, NULL) == ERR_OK;
}

bool stage_blob_there(const struct stage *s, const char *name)
{
	for (size_t i = 0; i < s->n_blobs; i++)
		if (strcmp(s->blobs[i], name) == 0)
			return true;
	return false;
}

/* ---- a backup ---- */

void stage_free_backup(struct stage *s)
{
	for (size_t i = 0; i < s->n_backup; i++) {
		free(s->backup[i].key);
		free(s->backup[i].value);
	}
	free(s->backup);
	s->backup = NULL;
	s->n_backup = 0;
}

void stage_backup(struct stage *s)
{
	stage_free_backup(s);
	s->backup = mem_array(s->n_store + 1, sizeof(*s->backup));
	for (size_t i = 0; i < s->n_store; i++)
		s->backup[s->n_backup++] = (struct record){.key = mem_text(s->store[i].key),
							   .value = mem_text(s->store[i].value),
							   .revision = s->store[i].revision};
	s->backup_revision = s->revision;
}

/* Everything as it was, revisions too: nothing tells it from what it was then. */
void stage_restore(struct stage *s)
{
	while (s->n_store)
		stage_erase(s, s->store[0].key);
	for (size_t i = 0; i < s->n_backup; i++) {
		s->revision = s->backup[i].revision;
		stage_put(s, s->backup[i].key, s->backup[i].value);
	}
	s->revision = s->backup_revision;
}
