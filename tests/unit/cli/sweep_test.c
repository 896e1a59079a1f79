#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "cli/sweep.h"

#define JOB_A      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define JOB_B      "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define JOB_C      "cccccccccccccccccccccccccccccccc"
#define CLUSTER    "12345678901234567890123456789012"
#define MANIFEST_7 "jobs/" JOB_A "/chk-7/manifest-e42-a1.json"

static const char manifest[] = "{\"format\":1,\"objects\":[null,{\"path\":\"jobs/" JOB_A
			       "/chk-7/0-1-tm-1-11111111-e42.snap\",\"bytes\":123,"
			       "\"checksum\":\"00000000000000ff\"}]}";

static void learn(const char *text, struct sweep *s)
{
	json_t *o = NULL;
	struct err e = {0};
	cr_assert(eq(int, json_parse(text, strlen(text), &o, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(int, sweep_learn(o, s, &e), ERR_OK), "%s", e.text);
	json_decref(o);
}

/* Job A: checkpoint 7 is kept (and restored from), 9 in flight. Job B cannot be read. */
static void two_jobs(struct sweep *s, bool read_manifest)
{
	char text[2048];
	struct err e = {0};
	snprintf(text, sizeof(text),
		 "{\"clusterId\":\"" CLUSTER "\",\"storage\":\"file:///x\",\"trouble\":\"\","
		 "\"jobs\":[{\"job\":\"" JOB_B "\",\"readable\":false},"
		 "{\"job\":\"" JOB_A "\",\"readable\":true,\"open\":9,\"checkpoints\":["
		 "{\"id\":7,\"manifest\":\"" MANIFEST_7 "\",\"checksum\":\"%016llx\"},"
		 "{\"id\":7,\"manifest\":\"" MANIFEST_7 "\",\"checksum\":\"%016llx\"}]}]}",
		 (unsigned long long)XXH3_64bits(manifest, strlen(manifest)),
		 (unsigned long long)XXH3_64bits(manifest, strlen(manifest)));
	learn(text, s);
	cr_assert(eq(sz, s->n_pointers, 1));
	if (read_manifest)
		cr_assert(eq(int, sweep_manifest(s, 0, manifest, strlen(manifest), &e), ERR_OK),
			  "%s", e.text);
	sweep_ready(s);
}

static void judge(const struct sweep *s, const char *name, enum sweep_class expected)
{
	cr_expect(eq(int, (int)sweep_judge(s, name), (int)expected), "%s", name);
}

Test(sweep, what_is_kept_or_in_flight_is_needed)
{
	struct sweep s;
	two_jobs(&s, true);
	judge(&s, MANIFEST_7, SWEEP_NEEDED);
	judge(&s, "jobs/" JOB_A "/chk-7/0-1-tm-1-11111111-e42.snap", SWEEP_NEEDED);
	judge(&s, "jobs/" JOB_A "/chk-9/0-1-tm-1-11111111-e42.snap", SWEEP_OPEN);
	judge(&s, "jobs/" JOB_A "/chk-10/0-1-tm-1-11111111-e42.snap", SWEEP_OPEN);
	cr_expect(eq(u64, s.needed[0].checksum, 0xff));
	cr_expect(eq(u64, s.needed[0].bytes, 123));
	sweep_fini(&s);
}

Test(sweep, what_nobody_names_is_an_orphan)
{
	struct sweep s;
	two_jobs(&s, true);
	/* beside the kept one, by a worker that another leader's trigger reached */
	judge(&s, "jobs/" JOB_A "/chk-7/0-1-tm-1-11111111-e40.snap", SWEEP_ORPHAN);
	judge(&s, "jobs/" JOB_A "/chk-7/manifest-e40-a1.json", SWEEP_ORPHAN);
	judge(&s, "jobs/" JOB_A "/chk-6/0-1-tm-1-11111111-e42.snap", SWEEP_ORPHAN);
	judge(&s, "jobs/" JOB_A "/chk-8/0-1-tm-1-11111111-e42.snap", SWEEP_ORPHAN);
	judge(&s, "jobs/" JOB_C "/chk-8/0-1-tm-1-11111111-e42.snap", SWEEP_ORPHAN);
	cr_expect(eq(str, (char *)(uintptr_t)sweep_why(&s, "jobs/" JOB_C "/chk-8/x"),
		     "its job is gone"));
	cr_expect(eq(str, (char *)(uintptr_t)sweep_why(&s, "jobs/" JOB_A "/chk-8/x"),
		     "its checkpoint is not kept"));
	cr_expect(eq(str, (char *)(uintptr_t)sweep_why(&s, "jobs/" JOB_A "/chk-7/x"),
		     "its checkpoint does without it"));
	sweep_fini(&s);
}

Test(sweep, what_cannot_be_read_is_left_alone)
{
	struct sweep s;
	two_jobs(&s, false);
	judge(&s, MANIFEST_7, SWEEP_NEEDED);
	judge(&s, "jobs/" JOB_A "/chk-7/0-1-tm-1-11111111-e42.snap", SWEEP_UNSURE);
	judge(&s, "jobs/" JOB_A "/chk-6/0-1-tm-1-11111111-e42.snap", SWEEP_ORPHAN);
	judge(&s, "jobs/" JOB_B "/chk-1/0-1-tm-1-11111111-e42.snap", SWEEP_UNSURE);
	sweep_fini(&s);
}

Test(sweep, strange_names_are_not_ours)
{
	static const char *const names[] = {
		"jobs/",
		"jobs/x",
		"jobs/" JOB_C,
		"jobs/" JOB_C "/chk-1",
		"jobs/" JOB_C "/chk-1/",
		"jobs/" JOB_C "/chk-/x",
		"jobs/" JOB_C "/chk-1x/y",
		"jobs/" JOB_C "/chk-1/deeper/x",
		"jobs/" JOB_C "/chk--1/x",
		"jobs/" JOB_C "/chk-99999999999999999999999/x",
		"jobs/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/chk-1/x",
		"jobs/" JOB_C "/savepoint/x",
		"weir-cluster.json",
		"elsewhere/" JOB_C "/chk-1/x",
	};
	struct sweep s;
	two_jobs(&s, true);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		judge(&s, names[i], SWEEP_FOREIGN);
	sweep_fini(&s);
}

/* A terminal job whose output is in doubt stands in done/ and in resolve/. */
Test(sweep, a_job_that_is_named_twice_has_the_needs_of_both)
{
	struct sweep s;
	learn("{\"clusterId\":\"" CLUSTER "\",\"storage\":\"file:///x\",\"trouble\":\"\","
	      "\"jobs\":[{\"job\":\"" JOB_A "\",\"readable\":true,\"open\":20,\"checkpoints\":[]},"
	      "{\"job\":\"" JOB_A "\",\"readable\":true,\"open\":8,\"checkpoints\":["
	      "{\"id\":7,\"manifest\":\"" MANIFEST_7 "\",\"checksum\":\"\"}]}]}",
	      &s);
	sweep_ready(&s);
	judge(&s, MANIFEST_7, SWEEP_NEEDED);
	judge(&s, "jobs/" JOB_A "/chk-7/x", SWEEP_UNSURE);
	judge(&s, "jobs/" JOB_A "/chk-8/x", SWEEP_OPEN);
	judge(&s, "jobs/" JOB_A "/chk-6/x", SWEEP_ORPHAN);
	sweep_fini(&s);
}

Test(sweep, a_manifest_must_be_the_one_that_etcd_means)
{
	struct sweep s;
	struct err e = {0};
	two_jobs(&s, false);
	cr_expect(eq(int, sweep_manifest(&s, 0, manifest, strlen(manifest) - 1, &e), ERR_CORRUPT));
	cr_expect(eq(int, sweep_manifest(&s, 0, "", 0, &e), ERR_CORRUPT));
	cr_expect(not(s.pointers[0].read));
	cr_expect(eq(sz, s.n_needed, 0));
	sweep_fini(&s);
}

Test(sweep, a_strange_answer_is_refused)
{
	static const char *const answers[] = {
		"{}",
		"{\"clusterId\":\"x\",\"storage\":\"\",\"trouble\":\"\",\"jobs\":[]}",
		"{\"clusterId\":\"" CLUSTER "\",\"storage\":\"\",\"trouble\":\"\",\"jobs\":{}}",
		"{\"clusterId\":\"" CLUSTER "\",\"storage\":\"\",\"trouble\":\"\",\"jobs\":[1]}",
		"{\"clusterId\":\"" CLUSTER "\",\"storage\":\"\",\"trouble\":\"\",\"jobs\":["
		"{\"job\":\"" JOB_A "\",\"readable\":true}]}",
		"{\"clusterId\":\"" CLUSTER "\",\"storage\":\"\",\"trouble\":\"\",\"jobs\":["
		"{\"job\":\"" JOB_A "\",\"readable\":true,\"open\":1,\"checkpoints\":[{}]}]}",
	};
	for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_t *o = NULL;
		struct sweep s;
		struct err e = {0};
		cr_assert(eq(int, json_parse(answers[i], strlen(answers[i]), &o, &e), ERR_OK));
		cr_expect(ne(int, sweep_learn(o, &s, &e), ERR_OK), "%s", answers[i]);
		json_decref(o);
	}
}
