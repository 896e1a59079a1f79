/* Which jobs concern a TaskManager: never one too few. */
#include "jobmanager/whereabouts.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

static bool even_lives(void *ctx, const struct job_id *job)
{
	++*(unsigned *)ctx;
	return (job->hex[ID_HEX - 1] - '0') % 2 == 0;
}

static struct job_id job_of(unsigned i)
{
	struct job_id id;
	snprintf(id.hex, sizeof(id.hex), "%032u", i);
	return id;
}

static bool has(const struct whereabouts *w, const char *tm, const struct job_id *job)
{
	size_t n;
	const struct job_id *jobs = whereabouts_jobs(w, tm, &n);
	for (size_t i = 0; i < n; i++)
		if (job_id_equal(&jobs[i], job))
			return true;
	return false;
}

Test(whereabouts, jobs_are_found_by_the_name_of_any_taskmanager)
{
	struct whereabouts w;
	unsigned asked = 0;
	size_t n;
	char tm[NODE_ID_MAX];
	whereabouts_init(&w, even_lives, &asked);
	cr_expect(whereabouts_jobs(&w, "tm-1", &n) == NULL && n == 0);
	for (unsigned i = 0; i < 3000; i++) {
		struct job_id job = job_of(i / 3);
		snprintf(tm, sizeof(tm), "tm-%u", i % 1000);
		whereabouts_add(&w, tm, &job);
		whereabouts_add(&w, tm, &job);
	}
	for (unsigned i = 0; i < 3000; i++) {
		struct job_id job = job_of(i / 3);
		snprintf(tm, sizeof(tm), "tm-%u", i % 1000);
		cr_assert(has(&w, tm, &job), "%u", i);
		whereabouts_jobs(&w, tm, &n);
		cr_assert(eq(sz, n, 3), "once each");
	}
	cr_expect(eq(uint, asked, 0), "short lists are not swept");
	whereabouts_fini(&w);
}

Test(whereabouts, a_list_that_grows_long_loses_those_that_live_no_more)
{
	struct whereabouts w;
	unsigned asked = 0;
	size_t n;
	whereabouts_init(&w, even_lives, &asked);
	for (unsigned i = 0; i < 10000; i++) {
		struct job_id job = job_of(10 * i + 1); /* dead */
		whereabouts_add(&w, "tm-1", &job);
		cr_assert(has(&w, "tm-1", &job), "until it is swept");
	}
	whereabouts_jobs(&w, "tm-1", &n);
	cr_expect(lt(sz, n, 16));
	for (unsigned i = 0; i < 1000; i++) {
		struct job_id job = job_of(10 * i + 2);
		whereabouts_add(&w, "tm-1", &job);
	}
	for (unsigned i = 0; i < 1000; i++) {
		struct job_id job = job_of(10 * i + 2);
		cr_assert(has(&w, "tm-1", &job));
	}
	whereabouts_fini(&w);
}
