#include "jobmanager/ckpt.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"

enum { PUT_BACKOFF_MS = 500, PUT_BACKOFF_MAX_MS = 8000, NAME_ATTEMPTS_MAX = 60 };

static const struct sm_state states[] = {
	[CKPT_TRIGGERED] = {"TRIGGERED", SM_TO(CKPT_SEALING) | SM_TO(CKPT_DOOMED)},
	[CKPT_SEALING] = {"SEALING", SM_TO(CKPT_SEALED) | SM_TO(CKPT_DOOMED)},
	[CKPT_SEALED] = {"SEALED", 0},
	[CKPT_DOOMED] = {"DOOMED", 0},
};
const struct sm_table ckpt_table = {"checkpoint", states, CKPT_STATE_COUNT};

void ckpt_init(struct ckpt *c, uint64_t now_ms)
{
	*c = (struct ckpt){.last_trigger_ms = now_ms};
}

static void flight_destroy(struct ckpt_flight *f)
{
	for (unsigned i = 0; i < f->n_parts; i++)
		json_decref(f->acks[i].object);
	free(f->acks);
	free(f->text);
	free(f);
}

void ckpt_fini(struct ckpt *c)
{
	for (unsigned i = 0; i < c->n; i++)
		flight_destroy(c->flights[i]);
	*c = (struct ckpt){0};
}

struct ckpt_flight *ckpt_find(struct ckpt *c, struct ckpt_id id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->flights[i]->id.v == id.v)
			return c->flights[i];
	return NULL;
}

void ckpt_prefix(const struct job_id *job, struct ckpt_id id, char out[DOC_PATH_MAX])
{
	snprintf(out, DOC_PATH_MAX, "jobs/%s/chk-%" PRIu64 "/", job->hex, id.v);
}

void ckpt_drop_prefix(const struct job_id *job, const struct ckpt_drop *d, char out[DOC_PATH_MAX])
{
	if (d->all)
		snprintf(out, DOC_PATH_MAX, "jobs/%s/", job->hex);
	else
		ckpt_prefix(job, d->id, out);
}

/* ---- facts ---- */

static void doom(struct ckpt *c, struct ckpt_flight *f, bool own_fault, const char *why)
{
	sm_move(&f->sm, CKPT_DOOMED, why);
	f->own_fault = own_fault;
	snprintf(f->why, sizeof(f->why), "%s", why);
	c->failures += own_fault;
	if (!own_fault)
		snprintf(c->trouble, sizeof(c->trouble), "checkpoint %" PRIu64 ": %.280s", f->id.v,
			 why);
}

/* A flight that still takes acknowledgements of this attempt of the region. */
static struct ckpt_flight *awaiting(struct ckpt *c, const struct doc *d, struct ckpt_id id,
				    uint32_t region, struct attempt attempt)
{
	struct ckpt_flight *f = ckpt_find(c, id);
	if (!f || sm_state(&f->sm) != CKPT_TRIGGERED || region >= d->n_regions)
		return NULL;
#ifndef WEIR_MUTANT_ACK_ANY_ATTEMPT
	if (d->regions[region].attempt.v != attempt.v)
		return NULL;
#else
	(void)attempt;
#endif
	return f;
}

static void count_object(struct ckpt_flight *f, struct ckpt_ack *ack, json_t *object)
{
	if (!object || json_is_null(object))
		return;
	ack->object = json_incref(object);
	json_int_t bytes = json_integer_value(json_object_get(object, "bytes"));
	f->bytes += bytes > 0 ? (uint64_t)bytes : 0;
	f->n_objects++;
}

bool ckpt_ack(struct ckpt *c, const struct doc *d, struct ckpt_id id, uint32_t region,
	      struct attempt attempt, unsigned part, const char *tm, json_t *object,
	      int64_t wall_ms)
{
	struct ckpt_flight *f = awaiting(c, d, id, region, attempt);
	if (!f || part >= f->n_parts || f->acks[part].got)
		return false;
	struct ckpt_ack *ack = &f->acks[part];
	ack->got = true;
	ack->region = region;
	snprintf(ack->tm, sizeof(ack->tm), "%s", tm);
	count_object(f, ack, object);
	f->latest_ack_wall_ms = wall_ms;
	if (++f->n_got == f->n_parts)
		sm_move(&f->sm, CKPT_SEALING, "last acknowledgement");
	return true;
}

bool ckpt_decline(struct ckpt *c, const struct doc *d, struct ckpt_id id, uint32_t region,
		  struct attempt attempt, bool external, const char *why)
{
	struct ckpt_flight *f = awaiting(c, d, id, region, attempt);
	if (!f)
		return false;
	doom(c, f, !external, why);
	return true;
}

static void put_failed(struct ckpt *c, struct ckpt_flight *f, enum errc code, const char *text,
		       uint64_t now_ms)
{
	enum err_class class = err_class(code);
	if (class == ERR_CLASS_RETRY || code == ERR_UNKNOWN) {
		f->backoff_ms = f->backoff_ms ? 2 * f->backoff_ms : PUT_BACKOFF_MS;
		if (f->backoff_ms > PUT_BACKOFF_MAX_MS)
			f->backoff_ms = PUT_BACKOFF_MAX_MS;
		f->retry_ms = now_ms + f->backoff_ms;
		snprintf(c->trouble, sizeof(c->trouble),
			 "manifest of checkpoint %" PRIu64 ": %.260s", f->id.v, text);
		snprintf(f->put_error, sizeof(f->put_error), "%s", text);
		return;
	}
	char why[DOC_WHY_MAX];
	snprintf(why, sizeof(why), "storage refused the manifest: %.280s", text);
	doom(c, f, false, why);
}

bool ckpt_blob_done(struct ckpt *c, uint64_t token, enum errc code, const char *text,
		    uint64_t now_ms)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct ckpt_flight *f = c->flights[i];
		if (f->token != token)
			continue;
		f->token = 0;
		if (sm_state(&f->sm) != CKPT_SEALING)
			return true;
		if (code == ERR_OK)
			sm_move(&f->sm, CKPT_SEALED, "the manifest is durable");
		else
			put_failed(c, f, code, text ? text : err_text(code), now_ms);
		return true;
	}
	return false;
}

void ckpt_time(struct ckpt *c, uint64_t now_ms)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct ckpt_flight *f = c->flights[i];
		unsigned state = sm_state(&f->sm);
		if ((state != CKPT_TRIGGERED && state != CKPT_SEALING) || now_ms < f->deadline_ms)
			continue;
		char why[DOC_WHY_MAX];
		snprintf(why, sizeof(why), "timed out with %u of %u acknowledgements%s%s", f->n_got,
			 f->n_parts, f->put_error[0] ? "; manifest: " : "", f->put_error);
		/* Slow storage looks the same: a timeout is not held against the job. */
		doom(c, f, false, why);
	}
}

/* ---- drafts ---- */

static void drop(struct ckpt_drops *drops, struct ckpt_id id, bool delay)
{
	assert(drops->n < sizeof(drops->at) / sizeof(drops->at[0]));
	drops->at[drops->n++] = (struct ckpt_drop){.id = id, .delay = delay};
}

static void give_up(struct doc *draft, unsigned index, const char *why, int64_t wall_ms,
		    struct ckpt_drops *drops)
{
	const struct doc_flight *f = &draft->flights[index];
	struct doc_given_up g = {.id = f->id,
				 .kind = f->kind,
				 .triggered_wall_ms = f->triggered_wall_ms,
				 .wall_ms = wall_ms};
	snprintf(g.text, sizeof(g.text), "%s", why);
	drop(drops, f->id, true);
	doc_add_given_up(draft, &g);
	doc_drop_flight(draft, index);
}

/* The newest sealed flight: the one that completes. */
static struct ckpt_flight *sealed(struct ckpt *c)
{
	struct ckpt_flight *found = NULL;
	for (unsigned i = 0; i < c->n; i++) {
		if (sm_state(&c->flights[i]->sm) != CKPT_SEALED)
			continue;
		found = c->flights[i];
	}
	return found;
}

static void complete(struct doc *draft, const struct ckpt_flight *f, uint32_t retained,
		     uint64_t epoch, int64_t wall_ms, struct ckpt_drops *drops)
{
	struct doc_pointer p = {.id = f->id,
				.kind = f->kind,
				.bytes = f->bytes,
				.triggered_wall_ms = f->triggered_wall_ms,
				.completed_wall_ms = wall_ms,
				.epoch = epoch,
				.n_objects = f->n_objects};
	memcpy(p.manifest, f->manifest, sizeof(p.manifest));
	memcpy(p.checksum, f->checksum, sizeof(p.checksum));
	for (unsigned i = 0; i < draft->n_flights;) {
		if (draft->flights[i].id.v == f->id.v)
			doc_drop_flight(draft, i);
#ifndef WEIR_MUTANT_OLDER_COMPLETES_LATER
		else if (draft->flights[i].id.v < f->id.v)
			give_up(draft, i, "a newer checkpoint completed first", wall_ms, drops);
#endif
		else
			i++;
	}
	doc_add_retained(draft, &p);
	while (draft->n_retained > (retained ? retained : 1)) {
		drop(drops, draft->retained[0].id, false);
		doc_drop_retained(draft, 0);
	}
}

bool ckpt_draft_ends(struct ckpt *c, struct doc *draft, uint32_t retained, uint64_t epoch,
		     int64_t wall_ms, struct ckpt_drops *drops)
{
	const struct ckpt_flight *done = sealed(c);
	bool changed = done != NULL;
	if (done)
		complete(draft, done, retained, epoch, wall_ms, drops);
	for (unsigned i = 0; i < draft->n_flights;) {
		const struct ckpt_flight *f = ckpt_find(c, draft->flights[i].id);
		if (!f || sm_state(&f->sm) != CKPT_DOOMED) {
			i++;
			continue;
		}
		give_up(draft, i, f->why, wall_ms, drops);
		changed = true;
	}
	return changed;
}

static bool fits(const struct doc *d, const struct doc_flight *f)
{
#ifdef WEIR_MUTANT_ACK_ANY_ATTEMPT
	return true;
#endif
	for (unsigned i = 0; i < d->n_regions; i++)
		if (f->attempts[i] != d->regions[i].attempt.v)
			return false;
	return true;
}

bool ckpt_draft_stale(struct doc *draft, bool all, const char *why, int64_t wall_ms,
		      struct ckpt_drops *drops)
{
	bool changed = false;
	for (unsigned i = 0; i < draft->n_flights;) {
		if (!all && fits(draft, &draft->flights[i])) {
			i++;
			continue;
		}
		give_up(draft, i, why, wall_ms, drops);
		changed = true;
	}
	return changed;
}

static uint64_t due_ms(const struct ckpt *c, const struct spec_checkpointing *k)
{
	uint64_t by_interval = c->last_trigger_ms + k->interval_ms;
	uint64_t by_pause = c->last_end_ms ? c->last_end_ms + k->min_pause_ms : 0;
	return by_interval > by_pause ? by_interval : by_pause;
}

static bool has_room(const struct doc *d, const struct spec_checkpointing *k)
{
	uint32_t max = k->max_concurrent ? k->max_concurrent : 1;
	return k->enabled && d->n_flights < max && d->n_flights < LIMIT_CHECKPOINTS_IN_FLIGHT;
}

bool ckpt_due(const struct ckpt *c, const struct doc *d, const struct spec_checkpointing *k,
	      uint64_t now_ms)
{
	return has_room(d, k) && now_ms >= due_ms(c, k);
}

/* ---- after a decision ---- */

static bool in_document(const struct doc *d, struct ckpt_id id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id.v == id.v)
			return true;
	return false;
}

static void end_flights(struct ckpt *c, const struct doc *d, uint64_t now_ms)
{
	const struct doc_pointer *newest = doc_newest(d);
	unsigned kept = 0;
	for (unsigned i = 0; i < c->n; i++) {
		struct ckpt_flight *f = c->flights[i];
		if (in_document(d, f->id)) {
			c->flights[kept++] = f;
			continue;
		}
		c->last_end_ms = now_ms;
		if (newest && newest->id.v == f->id.v) {
			c->failures = 0;
			c->trouble[0] = '\0';
		}
		flight_destroy(f);
	}
	c->n = kept;
}

static struct ckpt_flight *begin(const struct doc_flight *of, unsigned n_parts,
				 uint64_t deadline_ms)
{
	struct ckpt_flight *f = mem_alloc(sizeof(*f));
	f->id = of->id;
	f->kind = of->kind;
	f->triggered_wall_ms = of->triggered_wall_ms;
	f->deadline_ms = deadline_ms;
	f->n_parts = n_parts;
	f->acks = mem_array(n_parts + 1, sizeof(f->acks[0]));
	sm_init(&f->sm, &ckpt_table, CKPT_TRIGGERED);
	return f;
}

void ckpt_recorded(struct ckpt *c, const struct doc *d, unsigned n_parts, uint64_t timeout_ms,
		   uint64_t now_ms)
{
	end_flights(c, d, now_ms);
	for (unsigned i = 0; i < d->n_flights; i++) {
		if (ckpt_find(c, d->flights[i].id))
			continue;
		assert(c->n < LIMIT_CHECKPOINTS_IN_FLIGHT);
		c->flights[c->n] = begin(&d->flights[i], n_parts, now_ms + timeout_ms);
		counts_watch(c->counts, &c->flights[c->n++]->sm);
		c->last_trigger_ms = now_ms;
	}
}

/* ---- manifests ---- */

static json_t *manifest_operators(const struct graph *g)
{
	json_t *operators = json_object();
	for (unsigned i = 0; i < g->spec->n_operators; i++) {
		const struct spec_operator *op = &g->spec->operators[i];
		json_object_set_new(operators, op->uid,
				    json_pack("{s:I, s:I}", "parallelism",
					      (json_int_t)op->parallelism, "maxParallelism",
					      (json_int_t)op->max_parallelism));
	}
	return operators;
}

static json_t *manifest_objects(const struct ckpt_flight *f)
{
	json_t *objects = json_array();
	for (unsigned i = 0; i < f->n_parts; i++) {
		const struct ckpt_ack *ack = &f->acks[i];
		if (!ack->object)
			continue;
		json_t *o = json_copy(ack->object);
		json_object_set_new(o, "region", json_integer(ack->region));
		json_object_set_new(o, "tm", json_string(ack->tm));
		json_array_append_new(objects, o);
	}
	return objects;
}

static void write_manifest(struct ckpt_flight *f, const struct doc *d, const struct graph *g,
			   const char *cluster_id, uint64_t epoch)
{
	static const char *const kinds[] = {"checkpoint", "savepoint", "final"};
	json_t *attempts = json_array();
	char joined[NAME_ATTEMPTS_MAX + 16] = "";
	for (unsigned i = 0; i < d->n_regions; i++) {
		uint32_t attempt = d->regions[i].attempt.v;
		json_array_append_new(attempts, json_integer(attempt));
		size_t used = strlen(joined);
		if (used < NAME_ATTEMPTS_MAX)
			snprintf(joined + used, sizeof(joined) - used, "%s%" PRIu32, i ? "_" : "",
				 attempt);
	}
	json_t *m =
		json_pack("{s:i, s:s, s:s, s:I, s:I, s:o, s:s, s:I, s:o, s:o}", "format", 1,
			  "cluster", cluster_id, "job", d->job.hex, "checkpoint",
			  (json_int_t)f->id.v, "epoch", (json_int_t)epoch, "attempts", attempts,
			  "kind", kinds[f->kind], "triggeredMs", (json_int_t)f->triggered_wall_ms,
			  "operators", manifest_operators(g), "objects", manifest_objects(f));
	assert(m);
	f->text = json_text(m);
	json_decref(m);
	char prefix[DOC_PATH_MAX];
	ckpt_prefix(&d->job, f->id, prefix);
	snprintf(f->manifest, sizeof(f->manifest), "%.100smanifest-e%" PRIu64 "-a%s.json", prefix,
		 epoch, joined);
	snprintf(f->checksum, sizeof(f->checksum), "%016" PRIx64,
		 (uint64_t)XXH3_64bits(f->text, strlen(f->text)));
}

void ckpt_seal(struct ckpt *c, const struct doc *d, const struct graph *g, const char *cluster_id,
	       uint64_t epoch, uint64_t now_ms, uint64_t *next_token, struct jm_effects *fx)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct ckpt_flight *f = c->flights[i];
		if (sm_state(&f->sm) != CKPT_SEALING || f->token || now_ms < f->retry_ms)
			continue;
		if (!f->text)
			write_manifest(f, d, g, cluster_id, epoch);
		f->token = (*next_token)++;
		struct jm_effect *put = effects_add(fx, JM_BLOB_PUT);
		put->token = f->token;
		put->job = d->job;
		snprintf(put->key, sizeof(put->key), "%.*s", JM_KEY_MAX - 1, f->manifest);
		put->data = mem_text(f->text);
		put->len = strlen(f->text);
#ifdef WEIR_MUTANT_COMPLETE_BEFORE_MANIFEST
		sm_move(&f->sm, CKPT_SEALED, "planted: not durable yet");
#endif
	}
}

uint64_t ckpt_wake_ms(const struct ckpt *c, const struct doc *d, const struct spec_checkpointing *k,
		      bool may_begin)
{
	uint64_t wake = UINT64_MAX;
	for (unsigned i = 0; i < c->n; i++) {
		const struct ckpt_flight *f = c->flights[i];
		unsigned state = sm_state(&f->sm);
		if ((state == CKPT_TRIGGERED || state == CKPT_SEALING) && f->deadline_ms < wake)
			wake = f->deadline_ms;
		if (state == CKPT_SEALING && !f->token && f->retry_ms < wake)
			wake = f->retry_ms;
	}
	if (may_begin && has_room(d, k) && due_ms(c, k) < wake)
		wake = due_ms(c, k);
	return wake;
}

bool ckpt_holds(const struct ckpt *c, const struct doc *d)
{
	if (c->n != d->n_flights)
		return false;
	for (unsigned i = 0; i < c->n; i++) {
		const struct ckpt_flight *f = c->flights[i];
		if (f->id.v != d->flights[i].id.v || f->n_got > f->n_parts)
			return false;
		if (sm_state(&f->sm) == CKPT_SEALED && f->n_got != f->n_parts)
			return false;
	}
	return true;
}
