#include "jobmanager/tms.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct control_registration registration(const char *id, const char *instance)
{
	struct control_registration r;
	memset(&r, 0, sizeof(r));
	r.slots = 4;
	snprintf(r.id, sizeof(r.id), "%s", id);
	snprintf(r.instance, sizeof(r.instance), "%s", instance);
	snprintf(r.cookie, sizeof(r.cookie), "c1");
	return r;
}

static struct control_report_msg report(enum control_report kind, uint32_t attempt)
{
	struct control_report_msg m;
	memset(&m, 0, sizeof(m));
	m.kind = kind;
	memset(m.job.hex, 'a', ID_HEX);
	m.attempt.v = attempt;
	return m;
}

Test(tms, identity_is_id_and_instance)
{
	struct tms t;
	struct control_registration a = registration("tm-1", "x"), b = registration("tm-1", "y");
	tms_init(&t);
	struct taskmanager *first = tms_register(&t, &a, 1, 0);
	struct taskmanager *second = tms_register(&t, &b, 2, 0);
	cr_assert_neq(first, second);
	cr_assert_eq(tms_find(&t, "tm-1", "x"), first);
	cr_assert_null(tms_find(&t, "tm-2", "x"));
	tms_fini(&t);
}

Test(tms, a_registration_has_one_number_and_one_stream)
{
	struct tms t;
	struct control_registration a = registration("tm-1", "x");
	tms_init(&t);
	struct taskmanager *tm = tms_register(&t, &a, 1, 0);
	uint64_t old = tm->registration;
	cr_assert_eq(tms_by_registration(&t, old), tm);
	cr_assert_eq(tms_by_registration(&t, old), tm, "found again, where it was found last");
	tm->report_seq = 9;
	cr_assert_eq(tms_register(&t, &a, 2, 0), tm);
	cr_assert_null(tms_by_registration(&t, old));
	cr_assert_null(tms_by_stream(&t, 1));
	cr_assert_eq(tms_by_stream(&t, 2), tm);
	cr_assert_eq(tm->report_seq, 0);
	tms_away(&t, tm, 5);
	cr_assert_null(tms_by_registration(&t, tm->registration));
	cr_assert(tms_unusable(tm, "c1")[0] != '\0');
	uint64_t last = tm->registration;
	tms_remove(&t, tm);
	cr_assert_null(tms_by_registration(&t, last));
	tms_fini(&t);
}

Test(tms, many_are_told_apart)
{
	struct tms t;
	uint64_t numbers[10000];
	tms_init(&t);
	for (int i = 0; i < 10000; i++) {
		char instance[ID_TEXT];
		snprintf(instance, sizeof(instance), "%d", i);
		struct control_registration r = registration("tm", instance);
		numbers[i] = tms_register(&t, &r, 1000 + (uint64_t)i, 0)->registration;
	}
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 10000; i += 7) {
			struct taskmanager *tm = tms_by_registration(&t, numbers[i]);
			cr_assert(tm && tm->stream == 1000 + (uint64_t)i);
		}
	cr_assert(tms_holds(&t));
	tms_fini(&t);
}

Test(tms, reports_make_the_inventory_that_the_digest_is_of)
{
	struct tms t;
	struct control_registration a = registration("tm-1", "x");
	tms_init(&t);
	struct taskmanager *tm = tms_register(&t, &a, 1, 0);
	uint64_t empty = control_digest(tm->items, tm->n_items);
	struct control_report_msg m = report(CONTROL_REPORT_PREPARED, 2);
	tms_note_report(tm, &m);
	m.kind = CONTROL_REPORT_RUNNING;
	tms_note_report(tm, &m);
	m.kind = CONTROL_REPORT_COMMITTED;
	m.checkpoint.v = 3;
	tms_note_report(tm, &m);
	struct control_item *item = tms_item(tm, &m.job, 0, m.attempt);
	cr_assert(item && item->state == CONTROL_STATE_RUNNING && item->committed.v == 3);
	m.kind = CONTROL_REPORT_PREPARED;
	tms_note_report(tm, &m);
	cr_assert_eq(item->state, CONTROL_STATE_RUNNING, "states only move forward");
	cr_assert_neq(control_digest(tm->items, tm->n_items), empty);
	m.kind = CONTROL_REPORT_ENDED;
	tms_note_report(tm, &m);
	cr_assert_eq(control_digest(tm->items, tm->n_items), empty);
	tms_fini(&t);
}

Test(tms, invented_attempts_do_not_grow_without_bound)
{
	struct tms t;
	struct control_registration a = registration("tm-1", "x");
	tms_init(&t);
	struct taskmanager *tm = tms_register(&t, &a, 1, 0);
	for (uint32_t i = 1; i < 20000; i++) {
		struct control_report_msg m = report(CONTROL_REPORT_PREPARED, i);
		tms_note_report(tm, &m);
	}
	cr_assert_leq(tm->n_items, 4096);
	tms_fini(&t);
}

Test(tms, a_foreign_cookie_is_not_used)
{
	struct tms t;
	struct control_registration a = registration("tm-1", "x");
	tms_init(&t);
	struct taskmanager *tm = tms_register(&t, &a, 1, 0);
	cr_assert_str_eq(tms_unusable(tm, "c1"), "");
	cr_assert(strstr(tms_unusable(tm, "c2"), "another cluster"));
	tm->cookie[0] = '\0';
	cr_assert(strstr(tms_unusable(tm, "c1"), "not read"));
	tms_fini(&t);
}

/* Slot i holds subtask i of every vertex; regions of a job share slots; what ended takes none. */
Test(tms, slots_of_jobs_that_are_not_opened_are_counted_from_the_inventory)
{
	struct tms t;
	struct control_item items[4];
	memset(items, 0, sizeof(items));
	const char *const subtasks[] = {"[[0,1],[0,3],[1,1],[1,3],[2,1]]", "[[3,0],[3,1],[3,2]]",
					"[[0,0]]", "[[0,0],[0,1]]"};
	for (unsigned i = 0; i < 4; i++) {
		memset(items[i].job.hex, i < 2 ? 'a' : 'b' + (char)i, ID_HEX);
		items[i].region = i;
		items[i].state = i == 3 ? CONTROL_STATE_FAILED : CONTROL_STATE_RUNNING;
		items[i].subtasks = json_loads(subtasks[i], 0, NULL);
	}
	struct control_registration r = registration("tm-1", "x");
	r.n_items = 4;
	r.items = items;
	tms_init(&t);
	struct taskmanager *tm = tms_register(&t, &r, 1, 0);
	static const uint32_t slots[] = {3, 0, 1, 0};
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(tms_slots_of_job(tm, i), slots[i], "item %u", i);
	struct control_report_msg ended = report(CONTROL_REPORT_ENDED, 0);
	ended.region = 1;
	tms_note_report(tm, &ended);
	cr_expect_eq(tms_slots_of_job(tm, 0), 2, "the wider region ended");
	for (unsigned i = 0; i < 4; i++)
		json_decref(items[i].subtasks);
	tms_fini(&t);
}
