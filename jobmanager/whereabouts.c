#include "jobmanager/whereabouts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

enum { JOBS_FIRST = 4 };

void whereabouts_init(struct whereabouts *w, bool (*lives)(void *ctx, const struct job_id *job),
		      void *ctx)
{
	*w = (struct whereabouts){.lives = lives, .ctx = ctx};
}

void whereabouts_fini(struct whereabouts *w)
{
	for (size_t i = 0; i < w->capacity; i++)
		while (w->at[i]) {
			struct whereabouts_list *list = w->at[i];
			w->at[i] = list->next;
			free(list->jobs);
			free(list);
		}
	free(w->at);
	*w = (struct whereabouts){0};
}

static struct whereabouts_list **place_of(const struct whereabouts *w, const char *tm)
{
	return &w->at[XXH3_64bits(tm, strlen(tm)) & (w->capacity - 1)];
}

static struct whereabouts_list *find(const struct whereabouts *w, const char *tm)
{
	struct whereabouts_list *list = w->capacity ? *place_of(w, tm) : NULL;
	while (list && strcmp(list->tm, tm) != 0)
		list = list->next;
	return list;
}

static void grow(struct whereabouts *w)
{
	struct whereabouts old = *w;
	w->capacity = old.capacity ? 2 * old.capacity : 64;
	w->at = mem_array(w->capacity, sizeof(struct whereabouts_list *));
	for (size_t i = 0; i < old.capacity; i++)
		while (old.at[i]) {
			struct whereabouts_list *list = old.at[i];
			struct whereabouts_list **at = place_of(w, list->tm);
			old.at[i] = list->next;
			list->next = *at;
			*at = list;
		}
	free(old.at);
}

static struct whereabouts_list *begin(struct whereabouts *w, const char *tm)
{
	if (w->n == w->capacity)
		grow(w);
	struct whereabouts_list *list = mem_alloc(sizeof(*list));
	struct whereabouts_list **at = place_of(w, tm);
	snprintf(list->tm, sizeof(list->tm), "%s", tm);
	list->next = *at;
	*at = list;
	w->n++;
	return list;
}

static void sweep(const struct whereabouts *w, struct whereabouts_list *list)
{
	size_t kept = 0;
	for (size_t i = 0; i < list->n; i++)
		if (w->lives(w->ctx, &list->jobs[i]))
			list->jobs[kept++] = list->jobs[i];
	list->n = kept;
}

void whereabouts_add(struct whereabouts *w, const char *tm, const struct job_id *job)
{
	struct whereabouts_list *list = find(w, tm);
	if (!list)
		list = begin(w, tm);
	for (size_t i = 0; i < list->n; i++)
		if (job_id_equal(&list->jobs[i], job))
			return;
	bool full = list->n == list->capacity;
	if (full)
		sweep(w, list);
	if (full && 2 * list->n >= list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : JOBS_FIRST;
		list->jobs = mem_resize(list->jobs, list->capacity, sizeof(list->jobs[0]));
	}
	list->jobs[list->n++] = *job;
}

const struct job_id *whereabouts_jobs(const struct whereabouts *w, const char *tm, size_t *n)
{
	const struct whereabouts_list *list = find(w, tm);
	*n = list ? list->n : 0;
	return list ? list->jobs : NULL;
}
