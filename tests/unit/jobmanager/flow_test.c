#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "jobmanager/flow.h"

static void note(struct flow *f, const char *tm, uint32_t attempt, uint64_t records, uint64_t ms)
{
	json_t *list = json_array();
	traffic_put(list, 1, &(struct traffic){records, 10 * records, 2 * records, 20 * records});
	flow_note(f, tm, 0, (struct attempt){attempt}, list, ms);
	json_decref(list);
}

static uint64_t read_of(const struct flow *f, uint64_t now_ms)
{
	struct flow_vertex v;
	return flow_of(f, 1, now_ms, &v) ? v.total.read_records : UINT64_MAX;
}

static uint64_t rate_of(const struct flow *f, uint64_t now_ms)
{
	struct flow_vertex v;
	return flow_of(f, 1, now_ms, &v) ? v.rate.read_records : UINT64_MAX;
}

Test(flow, taskmanagers_add_up_and_none_counts_twice)
{
	struct flow f = {0};
	struct flow_vertex v;
	cr_expect(not(flow_of(&f, 1, 0, &v)));
	note(&f, "tm-1", 1, 100, 1000);
	note(&f, "tm-2", 1, 50, 1000);
	note(&f, "tm-1", 1, 120, 2000);
	cr_expect(eq(u64, read_of(&f, 2000), 170));
	cr_assert(flow_of(&f, 1, 2000, &v));
	cr_expect(eq(u64, v.total.read_bytes, 1700));
	cr_expect(eq(u64, v.total.write_records, 340));
	cr_expect(eq(u64, v.total.write_bytes, 3400));
	cr_expect(not(flow_of(&f, 2, 2000, &v)));
	flow_fini(&f);
}

Test(flow, a_newer_attempt_begins_anew_and_an_older_one_is_not_heard)
{
	struct flow f = {0};
	note(&f, "tm-1", 1, 100, 1000);
	note(&f, "tm-2", 1, 50, 1000);
	note(&f, "tm-1", 2, 5, 2000);
	cr_expect(eq(u64, read_of(&f, 2000), 5));
	note(&f, "tm-2", 1, 60, 2000);
	cr_expect(eq(u64, read_of(&f, 2000), 5));
	cr_expect(eq(sz, f.n, 1));
	flow_fini(&f);
}

Test(flow, rates_are_per_second_and_end_with_silence)
{
	struct flow f = {0};
	note(&f, "tm-1", 1, 0, 1000);
	cr_expect(eq(u64, rate_of(&f, 1000), 0));
	note(&f, "tm-1", 1, 3000, 2500);
	cr_expect(eq(u64, rate_of(&f, 2500), 2000));
	note(&f, "tm-1", 1, 3100, 2600); /* an acknowledgement soon after a beat: too near */
	cr_expect(eq(u64, rate_of(&f, 2600), 2000));
	note(&f, "tm-1", 1, 4000, 3500);
	cr_expect(eq(u64, rate_of(&f, 3500), 1000));
	cr_expect(eq(u64, rate_of(&f, 3500 + FLOW_SILENT_MS), 0));
	cr_expect(eq(u64, read_of(&f, 3500 + FLOW_SILENT_MS), 4000));
	flow_fini(&f);
}

Test(flow, what_comes_behind_a_later_report_lowers_nothing)
{
	struct flow f = {0};
	struct flow_vertex v;
	note(&f, "tm-1", 1, 100, 1000);
	note(&f, "tm-1", 1, 40, 1100);
	cr_assert(flow_of(&f, 1, 1100, &v));
	cr_expect(eq(u64, v.total.read_records, 100));
	cr_expect(eq(u64, v.total.read_bytes, 1000));
	cr_expect(eq(u64, v.total.write_records, 200));
	cr_expect(eq(u64, v.total.write_bytes, 2000));
	note(&f, "tm-1", 1, 150, 2000);
	cr_expect(eq(u64, read_of(&f, 2000), 150));
	cr_expect(eq(u64, rate_of(&f, 2000), 50));
	note(&f, "tm-1", 2, 40, 2100); /* another attempt counts from 0 */
	cr_expect(eq(u64, read_of(&f, 2100), 40));
	flow_fini(&f);
}

Test(flow, each_number_is_kept_for_itself)
{
	struct flow f = {0};
	struct flow_vertex v;
	static const char *const lists[] = {"[[1,5,1,1,9]]", "[[1,1,7,8,1]]"};
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		json_t *list = json_loads(lists[i], 0, NULL);
		flow_note(&f, "tm-1", 0, (struct attempt){1}, list, 1000);
		json_decref(list);
	}
	cr_assert(flow_of(&f, 1, 1000, &v));
	cr_expect(eq(u64, v.total.read_records, 5));
	cr_expect(eq(u64, v.total.read_bytes, 7));
	cr_expect(eq(u64, v.total.write_records, 8));
	cr_expect(eq(u64, v.total.write_bytes, 9));
	flow_fini(&f);
}

Test(flow, a_total_that_is_found_is_no_rate)
{
	struct flow f = {0};
	note(&f, "tm-1", 1, 1000000, 1000);
	cr_expect(eq(u64, rate_of(&f, 1000), 0));
	note(&f, "tm-1", 1, 1000300, 2000);
	cr_expect(eq(u64, rate_of(&f, 2000), 300));
	cr_expect(eq(u64, read_of(&f, 2000), 1000300));
	flow_fini(&f);
}

Test(flow, what_was_said_last_becomes_a_list)
{
	struct flow f = {0};
	struct traffic t;
	unsigned vertex;
	cr_expect(flow_list(&f, 10) == NULL);
	note(&f, "tm-1", 3, 100, 1000);
	note(&f, "tm-2", 3, 50, 1000);
	json_t *list = flow_list(&f, 10);
	cr_assert(traffic_get(list, 0, &vertex, &t));
	cr_expect(eq(u32, vertex, 1));
	cr_expect(eq(u64, t.read_records, 150));
	cr_expect(eq(u64, t.write_bytes, 3000));
	cr_expect(eq(sz, json_array_size(list), 1));
	json_decref(list);
	flow_fini(&f);
}

Test(flow, what_is_malformed_is_passed_over)
{
	static const char *const lists[] = {
		"{}",
		"[1]",
		"[[1,2,3]]",
		"[[1,2,3,4,-5]]",
		"[[1,2,3,4,\"5\"]]",
		"[[1000,1,1,1,1]]",
		"[[-1,1,1,1,1]]",
		"[[1,2,3,4,5,6]]",
	};
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct flow f = {0};
		json_t *list = json_loads(lists[i], 0, NULL);
		cr_assert(list != NULL);
		flow_note(&f, "tm-1", 0, (struct attempt){1}, list, 1000);
		flow_note(&f, "tm-1", 0, (struct attempt){1}, NULL, 1000);
		cr_expect(eq(u64, read_of(&f, 1000), UINT64_MAX), "%s", lists[i]);
		json_decref(list);
		flow_fini(&f);
	}
}
