#include "jobmanager/doc.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static struct job_id id_a(void)
{
	struct job_id id;
	memset(id.hex, 'a', ID_HEX);
	id.hex[ID_HEX] = '\0';
	return id;
}

static void place_two(struct doc *d, unsigned region)
{
	struct doc_tm *tms = mem_array(2, sizeof(*tms));
	uint16_t *owner = mem_array(3, sizeof(*owner));
	snprintf(tms[0].id, sizeof(tms[0].id), "tm-1");
	snprintf(tms[0].instance, sizeof(tms[0].instance), "i1");
	snprintf(tms[1].id, sizeof(tms[1].id), "tm-2");
	snprintf(tms[1].instance, sizeof(tms[1].instance), "i2");
	owner[1] = 1;
	doc_place(d, region, tms, 2, owner, 3);
}

static struct doc_pointer pointer(uint64_t id)
{
	struct doc_pointer p = {.id = {id}, .bytes = 7, .epoch = 3, .n_objects = 2};
	snprintf(p.manifest, sizeof(p.manifest), "jobs/a/chk-%d/manifest-e3-a1.json", (int)id);
	snprintf(p.checksum, sizeof(p.checksum), "0123456789abcdef");
	return p;
}

static void fill(struct doc *d)
{
	struct job_id id = id_a();
	doc_init(d, &id, "wordcount", 2);
	snprintf(d->tag, sizeof(d->tag), "jm-1/7");
	doc_enter(d, DOC_CREATED, 1000);
	doc_enter(d, DOC_RUNNING, 2000);
	place_two(d, 0);
	place_two(d, 1);
	doc_add_flight(d, CONTROL_TRIGGER_CHECKPOINT, 3000);
	struct doc_pointer p = pointer(1);
	doc_drop_flight(d, 0);
	doc_add_retained(d, &p);
	doc_add_flight(d, CONTROL_TRIGGER_FINAL, 4000);
	struct doc_failure f = {.wall_ms = 5, .vertex = -1, .subtask = 2, .external = true};
	snprintf(f.text, sizeof(f.text), "gone \"away\"");
	doc_add_failure(d, &f);
	struct doc_given_up g = {.id = {1}, .wall_ms = 6};
	doc_add_given_up(d, &g);
	d->restart = (struct restart_state){
		.count = 2, .delay_ms = 100, .n_stamps = 2, .stamps = {8, 9}};
	d->committed.v = 1;
	d->flow = json_pack("[[i,i,i,i,i]]", 1, 2, 3, 4, 5);
}

Test(doc, a_document_comes_back_as_it_was)
{
	struct doc a, b;
	struct err e = {0};
	fill(&a);
	cr_assert(doc_holds(&a));
	char *first = doc_encode(&a);
	cr_assert_eq(doc_decode(first, strlen(first), &b, &e), ERR_OK, "%s", e.text);
	char *second = doc_encode(&b);
	cr_assert_str_eq(first, second);
	cr_assert_eq(b.regions[1].owner[1], 1);
	cr_assert_str_eq(b.regions[0].tms[1].instance, "i2");
	cr_assert_eq(b.flights[0].kind, CONTROL_TRIGGER_FINAL);
	cr_assert_eq(b.n_given_up, 1);
	cr_assert_eq(b.restart.stamps[1], 9);
	cr_assert(json_equal(a.flow, b.flow));
	cr_assert(doc_holds(&b));
	doc_fini(&a);
	doc_fini(&b);
	free(first);
	free(second);
}

Test(doc, members_of_other_versions_are_kept)
{
	struct doc a, b;
	fill(&a);
	a.unknown = json_pack("{s:{s:i}}", "colour", "red", 1);
	char *text = doc_encode(&a);
	cr_assert_eq(doc_decode(text, strlen(text), &b, NULL), ERR_OK);
	struct doc copy;
	doc_copy(&copy, &b);
	char *again = doc_encode(&copy);
	cr_assert_str_eq(text, again);
	cr_assert(strstr(again, "\"colour\":{\"red\":1}"));
	doc_fini(&a);
	doc_fini(&b);
	doc_fini(&copy);
	free(text);
	free(again);
}

static void refused(const char *what, const char *with)
{
	struct doc a, b;
	struct err e = {0};
	fill(&a);
	char *text = doc_encode(&a);
	char *at = strstr(text, what);
	cr_assert(at, "%s", what);
	char *bad = mem_printf("%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
	cr_assert_neq(doc_decode(bad, strlen(bad), &b, &e), ERR_OK, "%s", bad);
	cr_assert(e.text[0]);
	doc_fini(&a);
	free(text);
	free(bad);
}

Test(doc, damaged_documents_are_refused)
{
	refused("\"format\":1", "\"format\":2");
	refused("\"status\":\"RUNNING\"", "\"status\":\"JUMPING\"");
	refused("\"desired\":\"RUN\"", "\"desired\":7");
	refused("\"slots\":[0,1,0]", "\"slots\":[0,2,0]");
	refused("\"slots\":[0,1,0]", "\"slots\":[]");
	refused("\"attempts\":[1,1]", "\"attempts\":[1]");
	refused("\"attempts\":[1,1]", "\"attempts\":[1,2]");
	refused("\"nextCheckpoint\":3", "\"nextCheckpoint\":1");
	refused("aaaaaaaa", "aaaaXaaa");
	refused("\"regions\":[", "\"regions\":7,\"x\":[");
	refused("{\"format\"", "[\"format\"");
}

Test(doc, truncated_documents_are_refused)
{
	struct doc a, b;
	fill(&a);
	char *text = doc_encode(&a);
	for (size_t n = 0; n < strlen(text); n += 7)
		cr_assert_neq(doc_decode(text, n, &b, NULL), ERR_OK);
	doc_fini(&a);
	free(text);
}

Test(doc, a_new_attempt_restores_from_the_newest)
{
	struct doc a, b;
	fill(&a);
	doc_copy(&b, &a);
	doc_next_attempt(&b, 1);
	cr_assert_eq(b.regions[1].attempt.v, 2);
	cr_assert_eq(b.regions[1].restore.id.v, 1);
	cr_assert_eq(b.regions[1].n_slots, 0);
	cr_assert_not(doc_holds(&b), "a flight of attempt 1 is still there");
	doc_drop_flight(&b, 0);
	cr_assert(doc_holds(&b));
	cr_assert(doc_follows(&a, &b));
	cr_assert_not(doc_follows(&b, &a));
	doc_fini(&a);
	doc_fini(&b);
}

Test(doc, placements_do_not_change_within_an_attempt)
{
	struct doc a, b;
	fill(&a);
	doc_copy(&b, &a);
	b.regions[0].owner[0] = 1;
	cr_assert_not(doc_follows(&a, &b));
	b.regions[0].owner[0] = 0;
	cr_assert(doc_follows(&a, &b));
	b.regions[0].restore.id.v = 1;
	cr_assert_not(doc_follows(&a, &b));
	doc_fini(&a);
	doc_fini(&b);
}

Test(doc, numbers_do_not_fall)
{
	struct doc a, b;
	fill(&a);
	doc_copy(&b, &a);
	b.next_checkpoint.v--;
	cr_assert_not(doc_follows(&a, &b));
	b.next_checkpoint.v++;
	doc_drop_retained(&b, 0);
	cr_assert_not(doc_follows(&a, &b));
	a.desired = DOC_CANCEL;
	cr_assert_not(doc_follows(&a, &b), "an intent to end is not taken back");
	doc_fini(&a);
	doc_fini(&b);
}

Test(doc, rings_keep_the_newest)
{
	struct doc a;
	fill(&a);
	for (int i = 0; i < 3 * DOC_FAILURES_MAX; i++) {
		struct doc_failure f = {.wall_ms = 100 + i};
		struct doc_given_up g = {.wall_ms = 100 + i};
		doc_add_failure(&a, &f);
		doc_add_given_up(&a, &g);
	}
	cr_assert_eq(a.n_failures, DOC_FAILURES_MAX);
	cr_assert_eq(a.failures[DOC_FAILURES_MAX - 1].wall_ms, 100 + 3 * DOC_FAILURES_MAX - 1);
	cr_assert_eq(a.given_up[0].wall_ms, 100 + 2 * DOC_GIVEN_UP_MAX);
	cr_assert_eq(a.n_given_up, 1 + 3 * DOC_GIVEN_UP_MAX);
	doc_fini(&a);
}
