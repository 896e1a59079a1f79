/* The ring of failovers: bounded, replaced by epoch, and nothing it cannot read hurts it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "jobmanager/failovers.h"

static struct failover record(uint64_t epoch, const char *cause)
{
	return (struct failover){.epoch = epoch,
				 .before_epoch = epoch - 1,
				 .leader = "jm-2",
				 .leader_instance = "b",
				 .before = "jm-1",
				 .before_instance = "a",
				 .before_address = "10.0.0.1:6123",
				 .cause = cause,
				 .why = "its address refuses connections",
				 .wall_ms = 1700000000000,
				 .heard_ms = 1000,
				 .confirmed_ms = 1003,
				 .key_gone_ms = 1005,
				 .barrier_ms = 1007,
				 .read_ms = 1007};
}

static json_t *at(const struct failovers *f, size_t i)
{
	return json_array_get(f->list, i);
}

static int64_t moment(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(json_object_get(o, "timelineMs"), name);
	return json_is_integer(v) ? json_integer_value(v) : -1;
}

Test(failovers, moments_count_from_the_last_sign_of_life)
{
	struct failovers f;
	failovers_init(&f);
	struct failover r = record(7, "killed");
	r.did = (struct counts_takeover){.first_command_ms = 1012, .reconciled_ms = 1020};
	failovers_put(&f, &r);
	cr_expect(eq(i64, moment(at(&f, 0), "lastHeard"), 0));
	cr_expect(eq(i64, moment(at(&f, 0), "suspected"), -1));
	cr_expect(eq(i64, moment(at(&f, 0), "confirmed"), 3));
	cr_expect(eq(i64, moment(at(&f, 0), "keyDeleted"), 5));
	cr_expect(eq(i64, moment(at(&f, 0), "firstCommand"), 12));
	cr_expect(eq(i64, moment(at(&f, 0), "reconciled"), 20));
	failovers_fini(&f);
}

Test(failovers, a_record_of_the_same_epoch_replaces_and_counts_once)
{
	struct failovers f;
	failovers_init(&f);
	struct failover r = record(7, "killed");
	failovers_put(&f, &r);
	r.did.settled_ms = 1100;
	r.did.tasks_adopted = 4;
	failovers_put(&f, &r);
	cr_assert(eq(sz, json_array_size(f.list), 1));
	cr_expect(eq(int, json_is_true(json_object_get(at(&f, 0), "settled")), 1));
	cr_expect(eq(i64, json_integer_value(json_object_get(f.causes, "killed")), 1));
	failovers_fini(&f);
}

Test(failovers, the_ring_is_bounded_and_the_causes_are_counted_beyond_it)
{
	struct failovers f, g;
	failovers_init(&f);
	failovers_init(&g);
	for (uint64_t epoch = 1; epoch <= 100; epoch++) {
		struct failover r = record(epoch, epoch % 2 ? "killed" : "resigned");
		failovers_put(&f, &r);
	}
	char *text = failovers_text(&f, "x/1");
	cr_expect(strlen(text) < FAILOVERS_BYTES_MAX);
	failovers_read(&g, text, strlen(text));
	cr_assert(eq(sz, json_array_size(g.list), FAILOVERS_MAX));
	cr_expect(eq(i64, json_integer_value(json_object_get(at(&g, 31), "epoch")), 100));
	cr_expect(eq(i64, json_integer_value(json_object_get(g.causes, "killed")), 50));
	free(text);
	failovers_fini(&f);
	failovers_fini(&g);
}

Test(failovers, what_cannot_be_read_is_begun_anew)
{
	static const char *const bad[] = {"", "{", "[]", "{\"failovers\":[1,{\"epoch\":\"x\"}]}",
					  "{\"failovers\":{},\"causes\":[2]}"};
	struct failovers f;
	failovers_init(&f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		failovers_read(&f, bad[i], strlen(bad[i]));
		cr_expect(eq(sz, json_array_size(f.list), 0), "%s", bad[i]);
		cr_expect(eq(sz, json_object_size(f.causes), 0), "%s", bad[i]);
	}
	failovers_fini(&f);
}
