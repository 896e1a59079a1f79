/* The coordinator beside the stories: what must not count, and what is never lost. */
#include "jobmanager/ckpt.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

struct bench {
	struct doc d;
	struct ckpt c;
	struct spec *spec;
	struct graph *g;
	struct jm_effects fx;
	uint64_t token;
};

static void init(struct bench *b, unsigned flights)
{
	struct job_id id;
	memset(b, 0, sizeof(*b));
	memset(id.hex, 'a', ID_HEX);
	id.hex[ID_HEX] = '\0';
	json_t *o =
		json_pack("{s:s, s:i, s:[{s:s,s:s,s:i,s:i}, {s:s,s:s,s:[s]}]}", "name", "j",
			  "parallelism", 2, "operators", "uid", "a", "type", "source.sequence",
			  "from", 1, "to", 9, "uid", "b", "type", "sink.discard", "inputs", "a");
	struct err e = {0};
	cr_assert_eq(spec_parse(o, &b->spec, &e), ERR_OK, "%s", e.text);
	json_decref(o);
	b->g = graph_create(b->spec);
	b->token = 1;
	doc_init(&b->d, &id, "j", 1);
	ckpt_init(&b->c, 0);
	for (unsigned i = 0; i < flights; i++)
		doc_add_flight(&b->d, CONTROL_TRIGGER_CHECKPOINT, 1000);
	ckpt_recorded(&b->c, &b->d, 2, 60000, 100);
	cr_assert(ckpt_holds(&b->c, &b->d));
}

static void fini(struct bench *b)
{
	jm_effects_clear(&b->fx);
	ckpt_fini(&b->c);
	doc_fini(&b->d);
	graph_destroy(b->g);
	spec_destroy(b->spec);
}

static bool ack(struct bench *b, uint64_t id, uint32_t attempt, unsigned part)
{
	json_t *object = json_pack("{s:s, s:i, s:s}", "path", "p", "bytes", 10, "checksum", "00");
	bool taken = ckpt_ack(&b->c, &b->d, (struct ckpt_id){id}, 0, (struct attempt){attempt},
			      part, "tm-1", object, 2000);
	json_decref(object);
	return taken;
}

static void seal(struct bench *b, uint64_t now)
{
	ckpt_seal(&b->c, &b->d, b->g, "c1", 7, now, &b->token, &b->fx);
}

static enum ckpt_state state(struct bench *b, unsigned i)
{
	return (enum ckpt_state)sm_state(&b->c.flights[i]->sm);
}

Test(ckpt, an_acknowledgement_counts_once_and_for_its_attempt)
{
	struct bench b;
	init(&b, 1);
	cr_assert_not(ack(&b, 1, 2, 0), "another attempt");
	cr_assert_not(ack(&b, 2, 1, 0), "another checkpoint");
	cr_assert_not(ack(&b, 1, 1, 9), "no such worker");
	cr_assert(ack(&b, 1, 1, 0));
	cr_assert_not(ack(&b, 1, 1, 0), "twice");
	cr_assert_eq(state(&b, 0), CKPT_TRIGGERED);
	cr_assert(ack(&b, 1, 1, 1));
	cr_assert_eq(state(&b, 0), CKPT_SEALING);
	cr_assert_eq(b.c.flights[0]->bytes, 20);
	fini(&b);
}

Test(ckpt, the_manifest_names_what_it_holds)
{
	struct bench b;
	json_t *m = NULL;
	init(&b, 1);
	ack(&b, 1, 1, 0);
	ack(&b, 1, 1, 1);
	seal(&b, 200);
	cr_assert_eq(b.fx.n, 1);
	cr_assert_str_eq(b.fx.at[0].key,
			 "jobs/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/chk-1/manifest-e7-a1.json");
	cr_assert_eq(json_parse(b.fx.at[0].data, b.fx.at[0].len, &m, NULL), ERR_OK);
	cr_assert_eq(json_array_size(json_object_get(m, "objects")), 2);
	cr_assert_str_eq(json_string_value(json_object_get(m, "kind")), "checkpoint");
	cr_assert(json_object_get(json_object_get(m, "operators"), "a"));
	cr_assert_eq(strlen(b.c.flights[0]->checksum), 16);
	json_decref(m);
	seal(&b, 300);
	cr_assert_eq(b.fx.n, 1, "one put at a time");
	fini(&b);
}

Test(ckpt, an_unknown_outcome_is_put_again_with_the_same_bytes)
{
	struct bench b;
	init(&b, 1);
	ack(&b, 1, 1, 0);
	ack(&b, 1, 1, 1);
	seal(&b, 200);
	cr_assert(ckpt_blob_done(&b.c, b.fx.at[0].token, ERR_UNKNOWN, NULL, 210));
	seal(&b, 211);
	cr_assert_eq(b.fx.n, 1, "not at once");
	seal(&b, 5000);
	cr_assert_eq(b.fx.n, 2);
	cr_assert_str_eq(b.fx.at[0].data, b.fx.at[1].data);
	cr_assert_str_eq(b.fx.at[0].key, b.fx.at[1].key);
	cr_assert_not(ckpt_blob_done(&b.c, b.fx.at[0].token, ERR_OK, NULL, 5001), "an old answer");
	cr_assert(ckpt_blob_done(&b.c, b.fx.at[1].token, ERR_OK, NULL, 5002));
	cr_assert_eq(state(&b, 0), CKPT_SEALED);
	fini(&b);
}

Test(ckpt, storage_is_not_the_jobs_failure_and_a_decline_is)
{
	struct bench b;
	init(&b, 3);
	ack(&b, 1, 1, 0);
	ack(&b, 1, 1, 1);
	seal(&b, 200);
	ckpt_blob_done(&b.c, b.fx.at[0].token, ERR_DENIED, "credentials", 210);
	cr_assert_eq(state(&b, 0), CKPT_DOOMED);
	ckpt_decline(&b.c, &b.d, (struct ckpt_id){2}, 0, (struct attempt){1}, true, "storage");
	ckpt_time(&b.c, 100 + 60000);
	cr_assert_eq(state(&b, 2), CKPT_DOOMED);
	cr_assert_eq(b.c.failures, 0);
	fini(&b);
	init(&b, 1);
	ckpt_decline(&b.c, &b.d, (struct ckpt_id){1}, 0, (struct attempt){1}, false, "too large");
	cr_assert_eq(b.c.failures, 1);
	fini(&b);
}

static void finish_second(struct bench *b)
{
	ack(b, 2, 1, 0);
	ack(b, 2, 1, 1);
	seal(b, 200);
	ckpt_blob_done(&b->c, b->fx.at[0].token, ERR_OK, NULL, 210);
}

Test(ckpt, completing_gives_up_what_is_older_and_keeps_what_is_newer)
{
	struct bench b;
	struct ckpt_drops drops = {0};
	init(&b, 3);
	finish_second(&b);
	cr_assert(ckpt_draft_ends(&b.c, &b.d, 1, 7, 3000, &drops));
	cr_assert(doc_holds(&b.d));
	cr_assert_eq(doc_newest(&b.d)->id.v, 2);
	cr_assert_eq(b.d.n_flights, 1);
	cr_assert_eq(b.d.flights[0].id.v, 3);
	cr_assert_eq(drops.n, 1);
	cr_assert_eq(drops.at[0].id.v, 1);
	cr_assert(drops.at[0].delay, "its workers may still be writing");
	ckpt_recorded(&b.c, &b.d, 2, 60000, 220);
	cr_assert(ckpt_holds(&b.c, &b.d));
	fini(&b);
}

Test(ckpt, a_new_attempt_gives_up_every_flight)
{
	struct bench b;
	struct ckpt_drops drops = {0};
	init(&b, 2);
	doc_next_attempt(&b.d, 0);
	cr_assert(ckpt_draft_stale(&b.d, false, "restarted", 3000, &drops));
	cr_assert_eq(b.d.n_flights, 0);
	cr_assert_eq(drops.n, 2);
	cr_assert(doc_holds(&b.d));
	cr_assert_not(ckpt_draft_stale(&b.d, false, "again", 3000, &drops));
	fini(&b);
}

Test(ckpt, due_by_interval_pause_and_room)
{
	struct bench b;
	struct spec_checkpointing k = {
		.enabled = true, .interval_ms = 1000, .min_pause_ms = 700, .max_concurrent = 1};
	init(&b, 0);
	cr_assert_not(ckpt_due(&b.c, &b.d, &k, 999));
	cr_assert(ckpt_due(&b.c, &b.d, &k, 1000));
	b.c.last_end_ms = 600;
	cr_assert_not(ckpt_due(&b.c, &b.d, &k, 1299));
	cr_assert(ckpt_due(&b.c, &b.d, &k, 1300));
	doc_add_flight(&b.d, CONTROL_TRIGGER_CHECKPOINT, 1000);
	cr_assert_not(ckpt_due(&b.c, &b.d, &k, 9999), "one at a time");
	k.max_concurrent = 2;
	cr_assert(ckpt_due(&b.c, &b.d, &k, 9999));
	k.enabled = false;
	cr_assert_not(ckpt_due(&b.c, &b.d, &k, 9999));
	fini(&b);
}
