#include "ha/members.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void free_place(struct members *m, struct members_place *x)
{
	assert(!x->configured);
	m->n_used -= x->state == MEMBER_USED;
	x->state = MEMBER_FREE;
}

void members_init(struct members *m, const char *const *urls, unsigned n)
{
	assert(n > 0 && n <= MEMBERS_MAX);
	*m = (struct members){.n_used = n};
	for (unsigned i = 0; i < n; i++) {
		m->at[i].state = MEMBER_USED;
		m->at[i].configured = true;
		snprintf(m->at[i].url, MEMBER_URL_MAX, "%s", urls[i]);
	}
}

static struct members_place *find(struct members *m, const char *url)
{
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		if (m->at[i].state != MEMBER_FREE && strcmp(m->at[i].url, url) == 0)
			return &m->at[i];
	return NULL;
}

static struct members_place *free_one(struct members *m, const bool busy[MEMBERS_MAX])
{
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		if (m->at[i].state == MEMBER_FREE && !busy[i])
			return &m->at[i];
	return NULL;
}

/* "http://" or "https://", as the first configured one; an address that somebody else can use. */
static bool fits(const struct members *m, const char *url)
{
	const char *sep = strstr(m->at[0].url, "://");
	size_t scheme = sep ? (size_t)(sep - m->at[0].url) + 3 : 0;
	return strlen(url) < MEMBER_URL_MAX && strncmp(url, m->at[0].url, scheme) == 0 &&
	       !text_starts(url + scheme, "0.0.0.0") && !text_starts(url + scheme, "[::]");
}

static void listed(struct members *m, const char *url, const bool busy[MEMBERS_MAX],
		   uint64_t now_ms)
{
	struct members_place *x = find(m, url);
	if (!x && fits(m, url) && (x = free_one(m, busy))) {
		*x = (struct members_place){.state = MEMBER_LISTED};
		snprintf(x->url, MEMBER_URL_MAX, "%s", url);
	}
	if (x)
		x->listed_ms = now_ms;
}

void members_listed(struct members *m, char *const *urls, size_t n, const bool busy[MEMBERS_MAX],
		    uint64_t now_ms)
{
	for (size_t i = 0; i < n; i++)
		listed(m, urls[i], busy, now_ms);
	for (unsigned i = 0; i < MEMBERS_MAX; i++) {
		struct members_place *x = &m->at[i];
		if (x->state != MEMBER_FREE && !x->configured &&
		    now_ms - x->listed_ms >= MEMBERS_FORGET_MS)
			free_place(m, x);
	}
}

int members_unproved(const struct members *m)
{
	for (unsigned i = 0; i < MEMBERS_MAX; i++)
		if (m->at[i].state == MEMBER_LISTED)
			return (int)i;
	return -1;
}

void members_proved(struct members *m, unsigned i, bool ours)
{
	struct members_place *x = &m->at[i];
	if (!ours && !x->configured && x->state != MEMBER_FREE)
		free_place(m, x);
	if (!ours || x->state != MEMBER_LISTED)
		return;
	x->state = MEMBER_USED;
	m->n_used++;
}

bool members_used(const struct members *m, unsigned i)
{
	return m->at[i].state == MEMBER_USED;
}

unsigned members_next(const struct members *m, unsigned i)
{
	do
		i = (i + 1) % MEMBERS_MAX;
	while (!members_used(m, i));
	return i;
}
