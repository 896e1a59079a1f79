/*
 * Every event in every state of the brain: none may crash it, and events that
 * no longer matter may not make it decide or command.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "jobmanager/inspect.h"
#include "jobmanager/jm.h"
#include "rest/control.h"

struct bench {
	struct jm *jm;
	struct prng p;
	uint64_t now;
	uint64_t last_token[JM_EFFECT_COUNT];
	struct job_id jobs[3];
	json_t *spec;
	char *hot; /* a document as some leader wrote it; owns */
	size_t decided, commands;
};

static json_t *spec(void)
{
	return json_pack("{s:s, s:i, s:{s:s}, s:[{s:s,s:s,s:i,s:i}, {s:s,s:s,s:[s],s:s,s:s}]}",
			 "name", "j", "parallelism", 2, "checkpointing", "interval", "1s",
			 "operators", "uid", "a", "type", "source.sequence", "from", 1, "to", 9,
			 "uid", "b", "type", "sink.file", "inputs", "a", "path", "out", "semantics",
			 "exactly-once");
}

static void step(struct bench *b, struct jm_event *ev)
{
	struct jm_effects fx = {0};
	b->now += prng_below(&b->p, 3) ? prng_below(&b->p, 20) : prng_below(&b->p, 3000);
	ev->now_ms = b->now;
	ev->wall_ms = 1700000000000 + (int64_t)b->now;
	jm_step(b->jm, ev, &fx);
	for (size_t i = 0; i < fx.n; i++) {
		b->last_token[fx.at[i].kind] = fx.at[i].token;
		b->decided += fx.at[i].kind == JM_DECIDE;
		b->commands += fx.at[i].kind == JM_COMMAND;
		if (fx.at[i].kind == JM_DECIDE && fx.at[i].n_ops && fx.at[i].ops[0].value &&
		    strncmp(fx.at[i].ops[fx.at[i].n_ops - 1].key, "run/", 4) == 0) {
			free(b->hot);
			b->hot = strdup(fx.at[i].ops[fx.at[i].n_ops - 1].value);
		}
	}
	jm_effects_clear(&fx);
	cr_assert(jm_wake_ms(b->jm) > b->now, "time would spin");
}

static void init(struct bench *b, uint64_t seed)
{
	struct jm_config config = {.instance = "i", .storage = "file:///s"};
	*b = (struct bench){.jm = jm_create(&config), .spec = spec(), .now = 1};
	prng_init(&b->p, seed);
	for (int i = 0; i < 3; i++)
		memset(b->jobs[i].hex, 'a' + i, ID_HEX);
}

static void fini(struct bench *b)
{
	jm_destroy(b->jm);
	json_decref(b->spec);
	free(b->hot);
}

static void lead(struct bench *b)
{
	char key[64];
	struct jm_doc doc = {
		.key = key, .value = b->hot, .len = b->hot ? strlen(b->hot) : 0, .revision = 9};
	const char *job = b->hot ? strstr(b->hot, "\"job\":\"") : NULL;
	snprintf(key, sizeof(key), "run/%.32s", job ? job + 7 : "_cluster");
	struct jm_event ev = {.kind = JM_LEADING,
			      .epoch = {b->now},
			      .cluster_id = "c",
			      .docs = &doc,
			      .n_docs = b->hot && prng_below(&b->p, 2) ? 1 : 0};
	step(b, &ev);
}

static void register_tm(struct bench *b)
{
	struct control_item items[2];
	memset(items, 0, sizeof(items));
	for (int i = 0; i < 2; i++) {
		items[i].job = b->jobs[prng_below(&b->p, 3)];
		items[i].attempt.v = (uint32_t)prng_below(&b->p, 3);
		items[i].region = (uint32_t)prng_below(&b->p, 2);
		items[i].state = (enum control_state)prng_below(&b->p, CONTROL_STATE_COUNT);
		items[i].completed.v = prng_below(&b->p, 20) ? 0 : 3;
	}
	struct control_registration r = {
		.slots = 4, .n_items = (unsigned)prng_below(&b->p, 3), .items = items};
	snprintf(r.id, sizeof(r.id), "tm-%d", (int)prng_below(&b->p, 2));
	snprintf(r.instance, sizeof(r.instance), "%d", (int)prng_below(&b->p, 2));
	snprintf(r.cookie, sizeof(r.cookie), "%s", prng_below(&b->p, 4) ? "c" : "");
	struct jm_event ev = {
		.kind = JM_TM_REGISTER, .token = 100 + prng_below(&b->p, 4), .registration = &r};
	step(b, &ev);
}

static void report(struct bench *b)
{
	struct jm_tm_view v = {0};
	if (jm_view_tms(b->jm))
		jm_view_tm_at(b->jm, prng_below(&b->p, jm_view_tms(b->jm)), &v);
	struct jm_cluster_view c;
	jm_view_cluster(b->jm, &c);
	struct control_report_msg m = {
		.kind = (enum control_report)(1 + prng_below(&b->p, CONTROL_REPORT_COUNT - 1)),
		.seq = v.tm ? v.tm->report_seq + prng_below(&b->p, 10) / 8 +
				       (prng_below(&b->p, 9) > 0)
			    : 1,
		.job = b->jobs[prng_below(&b->p, 3)],
		.region = (uint32_t)(prng_below(&b->p, 8) == 0),
		.attempt = {1 + (uint32_t)prng_below(&b->p, 2)},
		.checkpoint = {1 + prng_below(&b->p, 2)},
		.vertex = -1,
		.subtask = -1,
		.external = prng_below(&b->p, 2),
		.corrupt = prng_below(&b->p, 9) == 0};
	struct control_reports r = {.registration = v.tm ? v.tm->registration : 5,
				    .epoch = prng_below(&b->p, 9) ? c.epoch : (struct epoch){1},
				    .n = 1,
				    .reports = &m};
	struct jm_event ev = {.kind = JM_TM_REPORTS, .token = 7, .reports = &r};
	step(b, &ev);
}

static void completion(struct bench *b, enum jm_event_kind kind, enum jm_effect_kind of)
{
	static const enum errc codes[] = {ERR_OK,       ERR_OK,          ERR_OK,      ERR_OK,
					  ERR_CONFLICT, ERR_UNAVAILABLE, ERR_UNKNOWN, ERR_FENCED,
					  ERR_LIMIT,    ERR_NOTFOUND};
	char *text = json_dumps(b->spec, 0);
	struct jm_doc doc = {.key = "x", .value = text, .len = strlen(text), .revision = 4};
	struct jm_event ev = {.kind = kind,
			      .token = b->last_token[of] - (prng_below(&b->p, 9) == 0),
			      .job = b->jobs[prng_below(&b->p, 3)],
			      .code = codes[prng_below(&b->p, 10)],
			      .revision = b->now,
			      .docs = &doc,
			      .n_docs = prng_below(&b->p, 2)};
	step(b, &ev);
	free(text);
}

static void request(struct bench *b, enum jm_event_kind kind)
{
	struct jm_event ev = {
		.kind = kind, .token = 7, .job = b->jobs[prng_below(&b->p, 3)], .spec = b->spec};
	step(b, &ev);
}

static void give(struct bench *b, enum jm_event_kind kind)
{
	struct jm_event plain = {.kind = kind, .token = 100 + prng_below(&b->p, 4)};
	switch (kind) {
	case JM_LEADING:
		lead(b);
		break;
	case JM_TM_REGISTER:
		register_tm(b);
		break;
	case JM_TM_REPORTS:
		report(b);
		break;
	case JM_SUBMIT:
	case JM_CANCEL:
	case JM_RELEASE:
	case JM_ACCEPT:
		request(b, kind);
		break;
	case JM_DECIDED:
		completion(b, kind, JM_DECIDE);
		break;
	case JM_READ_DONE:
		completion(b, kind, JM_READ);
		break;
	case JM_BLOB_DONE:
		completion(b, kind, prng_below(&b->p, 2) ? JM_BLOB_PUT : JM_BLOB_REMOVE);
		break;
	case JM_TIME:
	case JM_RESUMED:
	case JM_SUSPENDED:
	case JM_FOLLOWING:
	case JM_TM_GONE:
	case JM_TM_DEAD:
	case JM_AHEAD:
	case JM_EVENT_COUNT:
		step(b, &plain);
		break;
	}
}

Test(totality, any_event_at_any_time)
{
	size_t decided = 0;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct bench b;
		init(&b, seed);
		for (int i = 0; i < 400; i++) {
			/* Role changes are rare, so that states are reached. */
			enum jm_event_kind kind =
				(enum jm_event_kind)prng_below(&b.p, JM_EVENT_COUNT);
			if (kind >= JM_LEADING && kind <= JM_FOLLOWING && i > 2 &&
			    prng_below(&b.p, 12))
				kind = JM_DECIDED;
			give(&b, kind);
		}
		decided += b.decided;
		fini(&b);
	}
	cr_assert_gt(decided, 1000, "the walk has to reach something: %zu", decided);
}

Test(totality, a_follower_does_nothing)
{
	struct bench b;
	init(&b, 3);
	for (int kind = 0; kind < JM_EVENT_COUNT; kind++)
		if (kind != JM_LEADING)
			give(&b, (enum jm_event_kind)kind);
	cr_assert_eq(b.decided + b.commands, 0);
	cr_assert_eq(jm_view_jobs(b.jm), 0);
	fini(&b);
}
