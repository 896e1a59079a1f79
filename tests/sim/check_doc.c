#include "check_doc.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/text.h"
#include "model.h"

/* ---- reading ---- */

static uint64_t number(const json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(o, name));
}

static void text(const json_t *o, const char *name, char *out, size_t size)
{
	const char *t = json_string_value(json_object_get(o, name));
	snprintf(out, size, "%s", t ? t : "");
}

static void read_pointer(const json_t *o, struct seen_pointer *p)
{
	p->id = number(o, "id");
	text(o, "manifest", p->manifest, sizeof(p->manifest));
	text(o, "checksum", p->checksum, sizeof(p->checksum));
}

static void read_region(const json_t *o, struct seen_region *r)
{
	const json_t *tms = json_object_get(o, "tms"), *slots = json_object_get(o, "slots");
	r->attempt = (uint32_t)number(o, "attempt");
	read_pointer(json_object_get(o, "restore"), &r->restore);
	r->n_tms = (unsigned)json_array_size(tms);
	r->n_slots = (unsigned)json_array_size(slots);
	for (unsigned i = 0; i < r->n_tms && i < SEEN_TMS; i++)
		text(json_array_get(tms, i), "instance", r->instances[i], ID_TEXT);
	for (unsigned i = 0; i < r->n_slots && i < SEEN_SLOTS; i++)
		r->owner[i] = (unsigned)json_integer_value(json_array_get(slots, i));
}

static void read_flight(const json_t *o, struct seen_flight *f)
{
	const json_t *attempts = json_object_get(o, "attempts");
	f->id = number(o, "id");
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		f->attempts[i] = (uint32_t)json_integer_value(json_array_get(attempts, i));
}

static unsigned bounded(const json_t *o, const char *name, unsigned max)
{
	size_t n = json_array_size(json_object_get(o, name));
	return n < max ? (unsigned)n : max;
}

bool doc_seen_read(struct doc_seen *d, const char *value, char why[256])
{
	json_error_t e;
	json_t *o = json_loads(value, 0, &e);
	*d = (struct doc_seen){0};
	if (!o) {
		snprintf(why, 256, "not JSON: %s", e.text);
		return false;
	}
	text(o, "status", d->status, sizeof(d->status));
	text(o, "desired", d->desired, sizeof(d->desired));
	d->next_checkpoint = number(o, "nextCheckpoint");
	d->committed = number(o, "committed");
	d->n_regions = bounded(o, "regions", REGIONS_MAX);
	d->n_flights = bounded(o, "inFlight", SEEN_FLIGHTS);
	d->n_retained = bounded(o, "retained", SEEN_RETAINED);
	for (unsigned i = 0; i < d->n_regions; i++)
		read_region(json_array_get(json_object_get(o, "regions"), i), &d->regions[i]);
	for (unsigned i = 0; i < d->n_flights; i++)
		read_flight(json_array_get(json_object_get(o, "inFlight"), i), &d->flights[i]);
	for (unsigned i = 0; i < d->n_retained; i++)
		read_pointer(json_array_get(json_object_get(o, "retained"), i), &d->retained[i]);
	json_decref(o);
	return true;
}

/* ---- one version after another ---- */

static uint64_t newest_of(const struct doc_seen *d)
{
	return d->n_retained ? d->retained[d->n_retained - 1].id : 0;
}

static bool same_placement(const struct seen_region *a, const struct seen_region *b)
{
	if (a->n_slots != b->n_slots || a->n_tms != b->n_tms)
		return false;
	return memcmp(a->instances, b->instances, sizeof(a->instances)) == 0 &&
	       memcmp(a->owner, b->owner, sizeof(a->owner)) == 0;
}

/* `ends`: an intent to end was recorded; an attempt then only commits, and is placed at once. */
static bool region_follows(const struct seen_region *a, const struct seen_region *b, bool ends,
			   uint64_t newest, char why[256])
{
	const char *wrong = NULL;
	if (b->attempt < a->attempt)
		wrong = "its attempt fell";
	else if (b->attempt > a->attempt + 1)
		wrong = "it skipped an attempt";
	else if (b->attempt == a->attempt && b->restore.id != a->restore.id)
		wrong = "its restore point changed within an attempt";
	else if (b->attempt == a->attempt && a->n_slots && !same_placement(a, b))
		wrong = "it was placed twice within an attempt";
	else if (b->attempt > a->attempt && b->n_slots && !ends)
		wrong = "it was placed in the version that recorded the attempt";
	else if (b->attempt > a->attempt && b->restore.id != newest)
		wrong = "it does not restart from the newest completed checkpoint";
	if (wrong)
		snprintf(why, 256, "attempt %u: %s", b->attempt, wrong);
	return wrong == NULL;
}

static const struct seen_flight *flight_of(const struct doc_seen *d, uint64_t id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id == id)
			return &d->flights[i];
	return NULL;
}

static bool retained_in(const struct doc_seen *d, uint64_t id)
{
	for (unsigned i = 0; i < d->n_retained; i++)
		if (d->retained[i].id == id)
			return true;
	return false;
}

static bool stored_as(struct sim_blob *blobs, const char *name, const char *checksum)
{
	size_t len;
	char sum[17];
	const char *data = sim_blob_peek(blobs, name, &len);
	if (!data || !checksum)
		return false;
	snprintf(sum, sizeof(sum), "%016" PRIx64, (uint64_t)XXH3_64bits(data, len));
	return strcmp(sum, checksum) == 0;
}

/* The manifest and every object that it names are in storage, whole. */
static bool is_whole(struct sim_blob *blobs, const struct seen_pointer *p, char why[256])
{
	size_t len, i;
	const json_t *o;
	bool ok = stored_as(blobs, p->manifest, p->checksum);
	const char *data = sim_blob_peek(blobs, p->manifest, &len);
	if (!ok) {
		snprintf(why, 256, "checkpoint %" PRIu64 " is complete without its manifest",
			 p->id);
		return false;
	}
	json_t *m = json_loadb(data, len, 0, NULL);
	json_array_foreach (json_object_get(m, "objects"), i, o)
		ok &= stored_as(blobs, json_string_value(json_object_get(o, "path")),
				json_string_value(json_object_get(o, "checksum")));
	json_decref(m);
	if (!ok)
		snprintf(why, 256, "checkpoint %" PRIu64 " is complete without an object", p->id);
	return ok;
}

static bool check_completion(struct history *h, const struct doc_seen *d, struct sim_blob *blobs,
			     char why[256])
{
	uint64_t id = newest_of(d), before = newest_of(&h->now);
	if (id < before) {
		snprintf(why, 256, "the newest checkpoint fell from %" PRIu64 " to %" PRIu64,
			 before, id);
		return false;
	}
	for (unsigned i = 1; i < d->n_retained; i++)
		if (d->retained[i].id <= d->retained[i - 1].id) {
			snprintf(why, 256, "retained checkpoints are out of order");
			return false;
		}
	if (id == before)
		return true;
	const struct seen_flight *f = flight_of(&h->now, id);
	if (!f) {
		snprintf(why, 256, "checkpoint %" PRIu64 " completed, and was not in flight", id);
		return false;
	}
	for (unsigned r = 0; r < d->n_regions; r++)
		if (f->attempts[r] != h->now.regions[r].attempt) {
			snprintf(why, 256, "checkpoint %" PRIu64 " completed for another attempt",
				 id);
			return false;
		}
	return is_whole(blobs, &d->retained[d->n_retained - 1], why);
}

static bool check_flights(struct history *h, const struct doc_seen *d, char why[256])
{
	for (unsigned i = 0; i < d->n_flights; i++) {
		const struct seen_flight *f = &d->flights[i];
		const char *wrong = NULL;
		if (f->id <= newest_of(d))
			wrong = "is not above the newest completed";
		else if (!flight_of(&h->now, f->id) && f->id < h->now.next_checkpoint)
			wrong = "has an id that was used";
		else if (f->id >= d->next_checkpoint || f->id >= SEEN_CKPTS)
			wrong = "has an id that was not taken";
		for (unsigned r = 0; r < d->n_regions; r++)
			if (f->attempts[r] != d->regions[r].attempt)
				wrong = "belongs to another attempt";
		if (wrong) {
			snprintf(why, 256, "checkpoint %" PRIu64 " in flight %s", f->id, wrong);
			return false;
		}
	}
	return true;
}

static bool follows(struct history *h, const struct doc_seen *d, struct sim_blob *blobs,
		    char why[256])
{
	if (h->versions == 0)
		return true;
	if (d->next_checkpoint < h->now.next_checkpoint) {
		snprintf(why, 256, "the next checkpoint's id fell");
		return false;
	}
	bool ends = strcmp(h->now.desired, "RUN") != 0;
	if (ends && strcmp(d->desired, h->now.desired) != 0) {
		snprintf(why, 256, "desired went from %s to %s", h->now.desired, d->desired);
		return false;
	}
	for (unsigned r = 0; r < d->n_regions; r++)
		if (!region_follows(&h->now.regions[r], &d->regions[r], ends, newest_of(d), why))
			return false;
	return check_completion(h, d, blobs, why) && check_flights(h, d, why);
}

static void note_fates(struct history *h, const struct doc_seen *d)
{
	for (unsigned i = 0; i < h->now.n_flights; i++) {
		uint64_t id = h->now.flights[i].id;
		if (id < SEEN_CKPTS && !flight_of(d, id))
			h->fate[id] = retained_in(d, id) ? CKPT_COMPLETE : CKPT_GIVEN_UP;
	}
	for (unsigned i = 0; i < d->n_flights; i++) {
		const struct seen_flight *f = &d->flights[i];
		if (f->id >= SEEN_CKPTS)
			continue;
		h->fate[f->id] = CKPT_IN_FLIGHT;
		memcpy(h->triggered[f->id], f->attempts, sizeof(f->attempts));
	}
	if (newest_of(d) > h->newest)
		h->newest = newest_of(d);
}

static void note_attempts(struct history *h, const struct doc_seen *d)
{
	for (unsigned r = 0; r < d->n_regions; r++) {
		uint32_t a = d->regions[r].attempt;
		if (a >= h->n_attempts[r]) {
			h->attempts[r] = mem_resize(h->attempts[r], a + 1, sizeof(d->regions[r]));
			while (h->n_attempts[r] <= a)
				h->attempts[r][h->n_attempts[r]++] = (struct seen_region){0};
		}
		h->attempts[r][a] = d->regions[r];
	}
}

bool history_add(struct history *h, const char *value, struct sim_blob *blobs, char why[256])
{
	struct doc_seen d;
	if (!doc_seen_read(&d, value, why))
		return false;
	bool ok = follows(h, &d, blobs, why);
	note_fates(h, &d);
	note_attempts(h, &d);
	h->now = d;
	h->versions++;
	h->live = true;
	h->was_running |= strcmp(d.status, "RUNNING") == 0;
	return ok;
}

void history_destroy(struct history *h)
{
	for (unsigned r = 0; r < REGIONS_MAX; r++)
		free(h->attempts[r]);
	for (unsigned i = 0; i < h->n_cleanups; i++)
		free(h->cleanups[i]);
	free(h->cleanups);
	free(h);
}

/* ---- removal ---- */

void history_cleanup(struct history *h, const char *value)
{
	json_t *o = json_loads(value, 0, NULL);
	const char *prefix = json_string_value(json_object_get(o, "prefix"));
	h->cleanups = mem_resize(h->cleanups, h->n_cleanups + 1, sizeof(char *));
	h->cleanups[h->n_cleanups++] = mem_text(prefix ? prefix : "?");
	json_decref(o);
}

static bool names_checkpoint(const struct history *h, const char *name, uint64_t id)
{
	char prefix[80];
	snprintf(prefix, sizeof(prefix), "jobs/%s/chk-%" PRIu64 "/", h->job, id);
	return id && text_starts(name, prefix);
}

bool history_may_remove(const struct history *h, const char *name, char why[256])
{
	bool recorded = false;
	why[0] = '\0';
	for (unsigned i = 0; i < h->n_cleanups; i++)
		recorded |= text_starts(name, h->cleanups[i]);
	if (!recorded)
		snprintf(why, 256, "its removal is not recorded");
	for (unsigned i = 0; h->live && i < h->now.n_retained; i++)
		if (names_checkpoint(h, name, h->now.retained[i].id))
			snprintf(why, 256, "checkpoint %" PRIu64 " is retained",
				 h->now.retained[i].id);
	for (unsigned i = 0; h->live && i < h->now.n_flights; i++)
		if (names_checkpoint(h, name, h->now.flights[i].id))
			snprintf(why, 256, "checkpoint %" PRIu64 " is in flight",
				 h->now.flights[i].id);
	return why[0] == '\0';
}

/* ---- commands ---- */

static const struct seen_region *attempt_of(const struct history *h, uint32_t region, uint32_t a)
{
	if (region >= REGIONS_MAX || a >= h->n_attempts[region] ||
	    h->attempts[region][a].attempt != a)
		return NULL;
	return &h->attempts[region][a];
}

static bool is_placed(const struct seen_region *r, const char *instance)
{
	for (unsigned i = 0; i < r->n_tms && i < SEEN_TMS; i++)
		if (strcmp(r->instances[i], instance) == 0)
			return r->n_slots > 0;
	return false;
}

static const char *judge_restore(const struct seen_region *r, const struct control_command_msg *m)
{
	const char *manifest = json_string_value(json_object_get(m->restore, "manifest"));
	if (number(m->restore, "checkpoint") != r->restore.id)
		return "another restore point is recorded";
	return strcmp(manifest ? manifest : "", r->restore.manifest) == 0
		       ? NULL
		       : "another manifest is recorded";
}

/* Everybody whom the placement names, and where. */
static const char *judge_peers(const struct seen_region *r, const struct control_command_msg *m)
{
	size_t i;
	const json_t *peer;
	if (json_array_size(m->peers) != r->n_tms)
		return "not all peers are named";
	json_array_foreach (m->peers, i, peer) {
		const char *address = json_string_value(json_object_get(peer, "address"));
		if (!address || !address[0])
			return "a peer is named without its address";
	}
	return NULL;
}

static const char *judge_run(const struct seen_region *r, const struct control_command_msg *m)
{
	const char *wrong = judge_restore(r, m);
	return wrong ? wrong : judge_peers(r, m);
}

static const char *judge_checkpoint(const struct history *h, const struct control_command_msg *m)
{
	uint64_t id = m->checkpoint.v;
	enum ckpt_fate fate = id < SEEN_CKPTS ? (enum ckpt_fate)h->fate[id] : CKPT_NEVER;
	if (m->kind == CONTROL_TRIGGER && fate == CKPT_NEVER)
		return "it was never begun";
	if (m->kind == CONTROL_TRIGGER && h->triggered[id][m->region] != m->attempt.v)
		return "it belongs to another attempt";
	if (m->kind == CONTROL_COMPLETE && fate != CKPT_COMPLETE)
		return "it is not complete";
	if (m->kind == CONTROL_ABORT && fate != CKPT_GIVEN_UP)
		return "it was not given up";
	return NULL;
}

static const char *judge(const struct history *h, const char *instance,
			 const struct control_command_msg *m)
{
	const struct seen_region *r = attempt_of(h, m->region, m->attempt.v);
	if (m->kind == CONTROL_FINISH)
		return h->ended && strcmp(h->status, "FINISHED") == 0 ? NULL : "it is not FINISHED";
	if (m->kind == CONTROL_CANCEL) {
		if (m->terminal && !h->ended)
			return "the job has not ended";
		return h->ended || (m->region < h->now.n_regions &&
				    m->attempt.v < h->now.regions[m->region].attempt)
			       ? NULL
			       : "the attempt is the recorded one";
	}
	if (!r)
		return "the attempt is not recorded";
	if (!is_placed(r, instance))
		return "it is not placed there";
	if (m->kind == CONTROL_RUN && m->commit_only && strcmp(h->now.desired, "RUN") == 0)
		return "it is to commit only, and the job is to run";
	if (m->kind == CONTROL_RUN)
		return judge_run(r, m);
	return m->kind == CONTROL_PREPARE ? NULL : judge_checkpoint(h, m);
}

bool history_allows(const struct history *h, const char *instance,
		    const struct control_command_msg *m, char why[256])
{
	const char *wrong = judge(h, instance, m);
	if (wrong)
		snprintf(why, 256, "%s", wrong);
	return wrong == NULL;
}

/* ---- questions ---- */

uint64_t history_newest(const struct history *h)
{
	return h->newest;
}

unsigned history_slots(const struct history *h, const char *instance)
{
	unsigned most = 0;
	for (unsigned r = 0; r < h->now.n_regions; r++) {
		const struct seen_region *region = &h->now.regions[r];
		unsigned used = 0;
		for (unsigned s = 0; s < region->n_slots && s < SEEN_SLOTS; s++)
			used += strcmp(region->instances[region->owner[s] % SEEN_TMS], instance) ==
				0;
		most = used > most ? used : most;
	}
	return most;
}

bool history_source(const struct history *h, struct sim_blob *blobs, unsigned region,
		    uint32_t source, uint64_t *offset)
{
	size_t len, i;
	const json_t *o;
	bool found = false;
	if (!h->now.n_retained)
		return false;
	const char *data =
		sim_blob_peek(blobs, h->now.retained[h->now.n_retained - 1].manifest, &len);
	json_t *m = data ? json_loadb(data, len, 0, NULL) : NULL;
	json_array_foreach (json_object_get(m, "objects"), i, o) {
		const char *path = json_string_value(json_object_get(o, "path"));
		const char *bytes = path ? sim_blob_peek(blobs, path, &len) : NULL;
		if (bytes && number(o, "region") == region)
			found |= model_object_source(bytes, len, source, offset);
	}
	json_decref(m);
	return found;
}
