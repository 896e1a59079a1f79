#include "users.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "check.h"

enum { REPLY_MAX = 1 << 18, TIMEOUT_MS = 12000, TICK_MS = 100 };

enum wish { NOTHING, SUBMIT, CANCEL, STATUS, CHECKPOINTS, RELEASE };

struct user {
	struct cluster *c;
	unsigned index;
	char name[8];
	struct world *w; /* NULL: down */
	struct world_timer tick;
	struct world_http http;
	struct prng rng;
	enum wish wish;
	struct job_plan *job;
	bool was_accepted; /* before the request was sent */
	uint64_t not_before_ms;
};

/* ---- plans ---- */

static void plan_operators(const struct job_plan *j, struct prng *p, unsigned shape, unsigned slots,
			   struct buf *out)
{
	uint64_t to = j->bounded ? prng_between(p, 50, 900) : UINT64_C(1000000000);
	unsigned rate = (unsigned)prng_between(p, 1, 12);
	for (unsigned r = 0; r < j->n_regions; r++) {
		bool chained = shape == 1 || r == 1;
		unsigned a = 1 + (unsigned)prng_below(p, slots),
			 b = 1 + (unsigned)prng_below(p, slots);
		buf_printf(out,
			   "%s{\"uid\":\"s%u\",\"type\":\"source.sequence\",\"from\":1,"
			   "\"to\":%" PRIu64 ",\"rateLimit\":%u,\"keys\":7,\"parallelism\":%u}",
			   r ? "," : "", r, to, rate, a);
		if (!chained)
			buf_printf(
				out,
				",{\"uid\":\"a%u\",\"type\":\"aggregate\",\"inputs\":[\"s%u\"],"
				"\"keyBy\":[\"key\"],\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}],"
				"\"parallelism\":%u}",
				r, r, b);
		buf_printf(out,
			   ",{\"uid\":\"o%u\",\"type\":\"sink.file\",\"inputs\":[\"%s%u\"],"
			   "\"path\":\"out%u\",\"parallelism\":%u}",
			   r, chained ? "s" : "a", r, r, chained ? a : b);
	}
}

static void plan_restart(struct job_plan *j, struct prng *p, struct buf *out)
{
	switch (prng_below(p, 8)) {
	case 0:
		j->may_fail = true;
		buf_text(out, "{\"strategy\":\"none\"}");
		break;
	case 1:
		j->may_fail = true;
		buf_text(out, "{\"strategy\":\"fixed-delay\",\"attempts\":2,\"delay\":\"200ms\"}");
		break;
	default:
		buf_text(out, "{\"strategy\":\"exponential-delay\",\"initialDelay\":\"50ms\","
			      "\"maxDelay\":\"2s\"}");
	}
}

static void plan_job(struct cluster *c, struct prng *p, struct job_plan *j, unsigned i)
{
	struct buf b = {0};
	struct job_id id;
	unsigned shape = (unsigned)prng_below(p, 3);
	/* All jobs fit into the slots of all TaskManagers. */
	unsigned most = c->swarm.n_tm * c->swarm.slots / c->swarm.n_jobs;
	most = most < PARALLELISM_MAX ? most : PARALLELISM_MAX;
	job_id_make(prng_next(p), prng_next(p), &id);
	j->own_id = i == 0 || prng_chance(p, 850000);
	snprintf(j->id, sizeof(j->id), "%s", id.hex);
	j->bounded = prng_chance(p, 600000);
	j->n_regions = shape == 2 ? 2 : 1;
	j->submit_ms = 100 + prng_below(p, i ? c->swarm.safety_ms / 2 : 1500);
	j->cancel_wanted = c->swarm.cancels && prng_chance(p, 500000);
	j->cancel_ms = j->submit_ms + prng_below(p, c->swarm.safety_ms);
	buf_text(&b, "{");
	if (j->own_id)
		buf_printf(&b, "\"jobId\":\"%s\",", j->id);
	buf_printf(
		&b,
		"\"name\":\"job%u\",\"checkpointing\":{\"interval\":\"%ums\",\"timeout\":\"%us\","
		"\"minPause\":\"%ums\",\"maxConcurrent\":%u,\"retained\":%u,"
		"\"tolerableFailures\":%u},\"restart\":",
		i, (unsigned)prng_between(p, 200, 1500), (unsigned)prng_between(p, 2, 10),
		(unsigned)prng_below(p, 200), (unsigned)prng_between(p, 1, 3),
		(unsigned)prng_between(p, 1, 3), 1000u);
	plan_restart(j, p, &b);
	buf_text(&b, ",\"operators\":[");
	plan_operators(j, p, shape, most, &b);
	buf_text(&b, "]}");
	j->spec = b.data;
}

void users_plan(struct cluster *c)
{
	struct prng p;
	prng_init(&p, c->seed ^ UINT64_C(0x757365727321));
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		plan_job(c, &p, &c->jobs[i], i);
}

/* ---- answers ---- */

static json_t *body_of(const struct world_reply *r)
{
	json_t *o = NULL;
	if (json_parse(r->body, r->body_len, &o, NULL) != ERR_OK)
		return NULL;
	return o;
}

static void submitted(struct user *u, const struct world_reply *r)
{
	struct job_plan *j = u->job;
	if (r->code == ERR_OK && r->status == 202) {
		json_t *o = body_of(r);
		const char *id = json_string_value(json_object_get(o, "jobid"));
		if (!id || (j->own_id && strcmp(id, j->id) != 0))
			check_fail(u->c->check, "a submission was accepted as %s", id ? id : "?");
		else
			snprintf(j->id, sizeof(j->id), "%s", id);
		json_decref(o);
		j->accepted = true;
		check_accepted(u->c->check, j->id);
	} else if (r->code == ERR_OK && r->status < 500 && r->status != 409) {
		check_fail(u->c->check, "a submission was answered with %d: %.200s", r->status,
			   r->body);
	} else if (r->code == ERR_OK && r->status == 409 && j->own_id) {
		if (!check_exists(u->c->check, j->id))
			check_fail(u->c->check, "a submission met a job that is not recorded");
		j->accepted = true;
	} else if (!j->own_id && (r->code == ERR_UNKNOWN || r->status == 409)) {
		j->submit_ms = UINT64_MAX; /* perhaps it is there: it is not ours to repeat */
	}
}

static void canceled(struct user *u, const struct world_reply *r)
{
	if (r->code == ERR_OK && r->status == 503 && strstr(r->body, "release it first"))
		u->job->to_release = true;
	if (r->code != ERR_OK || r->status >= 500)
		return;
	if (r->status == 404)
		check_rest_missing(u->c->check, u->job->id);
	else if (r->status == 202 || r->status == 409)
		u->job->cancel_accepted = true;
	else
		check_fail(u->c->check, "a cancellation was answered with %d: %.200s", r->status,
			   r->body);
}

static void looked(struct user *u, const struct world_reply *r)
{
	if (r->code != ERR_OK || r->status >= 500)
		return;
	if (r->status == 404) {
		if (u->was_accepted)
			check_rest_missing(u->c->check, u->job->id);
		return;
	}
	json_t *o = body_of(r);
	const char *status = json_string_value(json_object_get(o, "status"));
	const json_t *latest = json_object_get(json_object_get(o, "latest"), "completed");
	if (u->wish == STATUS && status)
		check_rest_status(u->c->check, u->job->id, status);
	if (u->wish == CHECKPOINTS && json_is_object(latest))
		check_rest_completed(u->c->check, u->job->id,
				     (uint64_t)json_integer_value(json_object_get(latest, "id")));
	json_decref(o);
}

static void on_end(struct world_http *h, const struct world_reply *r)
{
	struct user *u = MEM_OWNER(h, struct user, http);
	switch (u->wish) {
	case SUBMIT:
		submitted(u, r);
		break;
	case CANCEL:
		canceled(u, r);
		break;
	case STATUS:
	case CHECKPOINTS:
		looked(u, r);
		break;
	case RELEASE:
	case NOTHING:
		break;
	}
	u->wish = NOTHING;
	u->not_before_ms = world_now_ms(u->w) + prng_between(&u->rng, 20, 600);
}

/* ---- wishes ---- */

static void ask(struct user *u, enum wish wish, struct job_plan *j)
{
	static const char *const suffixes[] = {[SUBMIT] = "",
					       [CANCEL] = "?mode=cancel",
					       [STATUS] = "/status",
					       [CHECKPOINTS] = "/checkpoints",
					       [RELEASE] = "/release"};
	static const char *const methods[] = {[SUBMIT] = "POST",
					      [CANCEL] = "PATCH",
					      [STATUS] = "GET",
					      [CHECKPOINTS] = "GET",
					      [RELEASE] = "POST"};
	char url[160];
	const char *jm = u->c->jms[prng_below(&u->rng, JMS)].name;
	u->wish = wish;
	u->job = j;
	u->was_accepted = j->accepted;
	if (wish == SUBMIT)
		snprintf(url, sizeof(url), "http://%s:8081/v1/jobs", jm);
	else
		snprintf(url, sizeof(url), "http://%s:8081/v1/jobs/%s%s", jm, j->id,
			 suffixes[wish]);
	u->http = (struct world_http){.on_end = on_end};
	world_http_start(u->w, &u->http,
			 &(struct world_http_spec){.method = methods[wish],
						   .url = url,
						   .body = wish == SUBMIT ? j->spec : NULL,
						   .body_len = wish == SUBMIT ? strlen(j->spec) : 0,
						   .reply_max = REPLY_MAX,
						   .timeout_ms = TIMEOUT_MS});
}

static void choose(struct user *u)
{
	uint64_t now_ms = sim_now_us(u->c->sim) / 1000;
	struct job_plan *look = NULL;
	for (unsigned i = u->index; i < u->c->swarm.n_jobs; i += USERS) {
		struct job_plan *j = &u->c->jobs[i];
		if (!j->accepted && now_ms >= j->submit_ms) {
			ask(u, SUBMIT, j);
			return;
		}
		if (j->to_release && u->c->healing) {
			j->to_release = false;
			ask(u, RELEASE, j);
			return;
		}
		if (j->accepted && j->cancel_wanted && !j->cancel_accepted &&
		    now_ms >= j->cancel_ms) {
			ask(u, CANCEL, j);
			return;
		}
		if (j->accepted && (!look || prng_chance(&u->rng, 500000)))
			look = j;
	}
	/* An operator has a look at what is quarantined, once the trouble is over. */
	if (look && u->c->healing && prng_chance(&u->rng, 100000))
		ask(u, RELEASE, look);
	else if (look && prng_chance(&u->rng, 150000))
		ask(u, prng_chance(&u->rng, 700000) ? STATUS : CHECKPOINTS, look);
}

static void on_tick(struct world_timer *t)
{
	struct user *u = MEM_OWNER(t, struct user, tick);
	world_timer_arm(u->w, t, world_now_ms(u->w) + TICK_MS);
	if (u->wish == NOTHING && world_now_ms(u->w) >= u->not_before_ms)
		choose(u);
}

static void *user_start(struct world *w, void *ctx, const char *const *argv)
{
	struct user *u = ctx;
	(void)argv;
	u->w = w;
	u->tick = (struct world_timer){.fire = on_tick};
	world_timer_arm(w, &u->tick, world_now_ms(w) + TICK_MS);
	return u;
}

static const struct sim_program user_program = {.start = user_start};

struct user *user_create(struct cluster *c, unsigned index)
{
	struct user *u = mem_alloc(sizeof(*u));
	u->c = c;
	u->index = index;
	snprintf(u->name, sizeof(u->name), "user-%u", index + 1);
	prng_init(&u->rng, c->seed ^ (UINT64_C(0x75736572) + index));
	sim_node_add(c->sim, u->name, &user_program, u);
	sim_node_start(c->sim, u->name);
	return u;
}

void user_destroy(struct user *u)
{
	free(u);
}
