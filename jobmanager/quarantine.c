#include "jobmanager/quarantine.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

static const struct sm_state states[] = {
	[QUARANTINE_IDLE] = {"IDLE", SM_TO(QUARANTINE_RECORDING) | SM_TO(QUARANTINE_OPENING)},
	[QUARANTINE_RECORDING] = {"RECORDING", SM_TO(QUARANTINE_OPENING)},
	[QUARANTINE_OPENING] = {"OPENING", SM_TO(QUARANTINE_WATCHING)},
	[QUARANTINE_WATCHING] = {"WATCHING",
				 SM_TO(QUARANTINE_RECORDING) | SM_TO(QUARANTINE_SETTLED)},
	[QUARANTINE_SETTLED] = {"SETTLED", SM_TO(QUARANTINE_RECORDING)},
};
const struct sm_table quarantine_table = {"quarantine", states, QUARANTINE_STATE_COUNT};

const char *quarantine_mode_name(enum quarantine_mode mode)
{
	static const char *const names[] = {"calm", "wary", "careful"};
	return mode <= QUARANTINE_CAREFUL ? names[mode] : "?";
}

void quarantine_init(struct quarantine *q)
{
	*q = (struct quarantine){0};
	sm_init(&q->sm, &quarantine_table, QUARANTINE_IDLE);
}

void quarantine_fini(struct quarantine *q)
{
	for (size_t i = 0; i < q->n_docs; i++) {
		free(q->docs[i].key);
		free(q->docs[i].value);
	}
	free(q->docs);
	quarantine_init(q);
}

/* ---- marks ---- */

static struct quarantine_mark *mark_of(struct quarantine *q, const struct job_id *job)
{
	for (unsigned i = 0; i < q->n_marks; i++)
		if (job_id_equal(&q->marks[i].job, job))
			return &q->marks[i];
	return NULL;
}

static const struct quarantine_mark *known_mark(const struct quarantine *q,
						const struct job_id *job)
{
	for (unsigned i = 0; i < q->n_marks; i++)
		if (job_id_equal(&q->marks[i].job, job))
			return &q->marks[i];
	return NULL;
}

uint32_t quarantine_count(const struct quarantine *q, const struct job_id *job)
{
	const struct quarantine_mark *m = known_mark(q, job);
	return m ? m->count : 0;
}

int64_t quarantine_held_since(const struct quarantine *q, const struct job_id *job)
{
	const struct quarantine_mark *m = known_mark(q, job);
	return m ? m->held_wall_ms : 0;
}

/* The leader that set this mark died while it stood. */
static void count_mark(struct quarantine *q, const struct job_id *job, int64_t wall_ms)
{
	struct quarantine_mark *m = mark_of(q, job);
	if (!m && q->n_marks == QUARANTINE_MARKS)
		return;
	if (!m) {
		m = &q->marks[q->n_marks++];
		*m = (struct quarantine_mark){.job = *job};
	}
	m->count++;
#ifndef WEIR_MUTANT_MARKS_NEVER_HOLD
	if (m->count >= QUARANTINE_COUNT)
		m->held_wall_ms = wall_ms;
#endif
}

static void drop_mark(struct quarantine *q, const struct job_id *job)
{
	struct quarantine_mark *m = mark_of(q, job);
	if (m)
		*m = q->marks[--q->n_marks];
}

/* ---- the document ---- */

static void read_leader(struct quarantine *q, const json_t *o)
{
	struct quarantine_leader l = {0};
	if (q->n_leaders == QUARANTINE_LEADERS ||
	    json_get_u64(o, "", "epoch", &l.epoch, NULL) != ERR_OK ||
	    json_get_i64(o, "", "beganMs", 0, INT64_MAX, &l.began_wall_ms, NULL) != ERR_OK ||
	    json_get_bool_or(o, "", "settled", false, &l.settled, NULL) != ERR_OK)
		return;
	q->leaders[q->n_leaders++] = l;
}

static void read_mark(struct quarantine *q, const json_t *o)
{
	struct quarantine_mark m = {0};
	const char *job = NULL;
	int64_t count = 0;
	if (q->n_marks == QUARANTINE_MARKS || json_get_text(o, "", "job", &job, NULL) != ERR_OK ||
	    job_id_parse(job, &m.job, NULL) != ERR_OK ||
	    json_get_i64(o, "", "count", 0, 1000000, &count, NULL) != ERR_OK ||
	    json_get_i64_or(o, "", "heldMs", 0, INT64_MAX, 0, &m.held_wall_ms, NULL) != ERR_OK)
		return;
	m.count = (uint32_t)count;
	q->marks[q->n_marks++] = m;
}

/* What cannot be read is as if it were not there: then nobody crashed lately. */
static void read_document(struct quarantine *q, const struct jm_doc *doc)
{
	json_t *o = NULL, *each = NULL;
	const char *opening = NULL;
	size_t i = 0;
	q->revision = doc->revision;
	if (json_parse(doc->value, doc->len, &o, NULL) != ERR_OK)
		return;
	json_array_foreach (json_object_get(o, "leaders"), i, each)
		read_leader(q, each);
	json_array_foreach (json_object_get(o, "marks"), i, each)
		read_mark(q, each);
	if (json_get_text_or(o, "", "opening", "", &opening, NULL) == ERR_OK && opening[0] &&
	    job_id_parse(opening, &q->opening, NULL) != ERR_OK)
		q->opening = (struct job_id){""};
	if (json_get_u64(o, "", "epochBase", &q->epoch_base, NULL) != ERR_OK)
		q->epoch_base = 0;
	if (json_get_u64(o, "", "accepted", &q->accepted.v, NULL) != ERR_OK)
		q->accepted.v = 0;
	if (json_get_i64_or(o, "", "acceptedMs", 0, INT64_MAX, 0, &q->accepted_wall_ms, NULL))
		q->accepted_wall_ms = 0;
	json_decref(o);
}

bool quarantine_forgives(const struct quarantine *q, int64_t wall_ms)
{
	int64_t ago = wall_ms - q->accepted_wall_ms;
	return q->accepted_wall_ms && ago < QUARANTINE_FORGIVE_MS && ago > -QUARANTINE_FORGIVE_MS;
}

uint64_t quarantine_epoch_base(const char *value, size_t len)
{
	struct quarantine q;
	const struct jm_doc doc = {.key = QUARANTINE_KEY, .value = value, .len = len};
	quarantine_init(&q);
	read_document(&q, &doc);
	return q.epoch_base;
}

static char *write_document(const struct quarantine *q, const char *instance, uint64_t token)
{
	json_t *leaders = json_array(), *marks = json_array();
	char tag[80];
	snprintf(tag, sizeof(tag), "%.32s/%" PRIu64, instance, token);
	for (unsigned i = 0; i < q->n_leaders; i++)
		json_array_append_new(leaders, json_pack("{s:I, s:I, s:b}", "epoch",
							 (json_int_t)q->leaders[i].epoch, "beganMs",
							 (json_int_t)q->leaders[i].began_wall_ms,
							 "settled", q->leaders[i].settled));
	for (unsigned i = 0; i < q->n_marks; i++)
		json_array_append_new(marks,
				      json_pack("{s:s, s:I, s:I}", "job", q->marks[i].job.hex,
						"count", (json_int_t)q->marks[i].count, "heldMs",
						(json_int_t)q->marks[i].held_wall_ms));
	json_t *o = json_pack("{s:i, s:s, s:o, s:s, s:o}", "format", 1, "tag", tag, "leaders",
			      leaders, "opening", q->opening.hex, "marks", marks);
	if (q->epoch_base) {
		json_object_set_new(o, "epochBase", json_integer((json_int_t)q->epoch_base));
		json_object_set_new(o, "accepted", json_integer((json_int_t)q->accepted.v));
		json_object_set_new(o, "acceptedMs", json_integer(q->accepted_wall_ms));
	}
	char *text = json_text(o);
	json_decref(o);
	return text;
}

/* ---- a leader begins ---- */

static void add_leader(struct quarantine *q, uint64_t epoch, int64_t wall_ms)
{
	if (q->n_leaders == QUARANTINE_LEADERS) {
		memmove(&q->leaders[0], &q->leaders[1],
			(QUARANTINE_LEADERS - 1) * sizeof(q->leaders[0]));
		q->n_leaders--;
	}
	q->leaders[q->n_leaders++] =
		(struct quarantine_leader){.epoch = epoch, .began_wall_ms = wall_ms};
}

static unsigned early_crashes(const struct quarantine *q, int64_t wall_ms)
{
	unsigned n = 0;
	for (unsigned i = q->n_leaders; i-- > 0;) {
		const struct quarantine_leader *l = &q->leaders[i];
		if (l->settled || wall_ms - l->began_wall_ms > QUARANTINE_WINDOW_MS)
			break;
		n++;
	}
	return n;
}

/* What became of the one before: it handed over, or died, perhaps before it was recorded. */
static void judge_before(struct quarantine *q, const struct quarantine_start *s)
{
	struct quarantine_leader *last = q->n_leaders ? &q->leaders[q->n_leaders - 1] : NULL;
	if (!s->before_crashed) {
		if (last)
			last->settled = true;
	} else if (s->before.v && (!last || last->epoch < s->before.v))
		add_leader(q, s->before.v, s->wall_ms);
	if (q->opening.hex[0] && s->before_crashed)
		count_mark(q, &q->opening, s->wall_ms);
	q->opening = (struct job_id){""};
}

static int by_marks(const struct quarantine *q, const struct job_id *a, const struct job_id *b)
{
	uint32_t x = quarantine_count(q, a), y = quarantine_count(q, b);
	return x != y ? (x < y ? -1 : 1) : strcmp(a->hex, b->hex);
}

static void keep_doc(struct quarantine *q, const struct jm_doc *doc)
{
	struct quarantine_doc d = {.len = doc->len, .revision = doc->revision};
	if (strncmp(doc->key, "run/", 4) != 0 || job_id_parse(doc->key + 4, &d.job, NULL) != ERR_OK)
		return;
	d.key = mem_text(doc->key);
	d.value = mem_text_n(doc->value, doc->len);
	d.held = quarantine_held_since(q, &d.job) != 0;
	q->docs[q->n_docs++] = d;
}

/* The unmarked first: whoever is to blame comes last, and is watched longest. */
static void sort_docs(struct quarantine *q)
{
	if (q->n_marks == 0)
		return; /* as the store lists them */
	for (size_t i = 1; i < q->n_docs; i++)
		for (size_t k = i; k && by_marks(q, &q->docs[k].job, &q->docs[k - 1].job) < 0;
		     k--) {
			struct quarantine_doc d = q->docs[k];
			q->docs[k] = q->docs[k - 1];
			q->docs[k - 1] = d;
		}
}

/* Marks of jobs that are no more. */
static void forget_marks(struct quarantine *q)
{
	for (unsigned i = q->n_marks; i-- > 0;)
		if (!quarantine_find(q, &q->marks[i].job))
			q->marks[i] = q->marks[--q->n_marks];
}

static enum quarantine_mode mode_of(const struct quarantine *q, const struct quarantine_start *s)
{
	unsigned crashes = early_crashes(q, s->wall_ms);
	bool marked = false;
	for (unsigned i = 0; i < q->n_marks; i++)
		marked |= q->marks[i].held_wall_ms == 0;
	if (crashes >= 2 || marked)
		return QUARANTINE_CAREFUL;
	return crashes ? QUARANTINE_WARY : QUARANTINE_CALM;
}

void quarantine_begin(struct quarantine *q, const struct quarantine_start *s)
{
	quarantine_fini(q);
	for (size_t i = 0; i < s->n_docs; i++)
		if (strcmp(s->docs[i].key, QUARANTINE_KEY) == 0)
			read_document(q, &s->docs[i]);
	judge_before(q, s);
	q->mode = mode_of(q, s);
	add_leader(q, s->epoch.v, s->wall_ms);
	q->docs = mem_array(s->n_docs + 1, sizeof(q->docs[0]));
	for (size_t i = 0; i < s->n_docs; i++)
		keep_doc(q, &s->docs[i]);
	sort_docs(q);
	forget_marks(q);
	q->dirty = true;
	q->blind = s->nospace;
#ifdef WEIR_MUTANT_NO_QUARANTINE
	q->blind = true;
#endif
	bool wait = q->mode != QUARANTINE_CALM && !q->blind && q->n_docs;
	q->retry_ms = wait ? 0 : s->now_ms + QUARANTINE_CALM_MS;
	sm_move(&q->sm, wait ? QUARANTINE_RECORDING : QUARANTINE_OPENING, "a leader begins");
}

/* ---- opening ---- */

static struct quarantine_doc *next_doc(struct quarantine *q)
{
	for (size_t i = 0; i < q->n_docs; i++)
		if (!q->docs[i].held || q->docs[i].asked)
			return &q->docs[i];
	return NULL;
}

/* One by one, behind a mark: every job of a careful leader, and always one that was held. */
static bool one_by_one(const struct quarantine *q, const struct quarantine_doc *next)
{
	return !q->blind && (q->mode == QUARANTINE_CAREFUL || next->held);
}

static void take(struct quarantine *q, struct quarantine_doc *at, struct quarantine_doc *out)
{
	size_t i = (size_t)(at - q->docs);
	*out = *at;
	memmove(at, at + 1, (q->n_docs - i - 1) * sizeof(*at));
	q->n_docs--;
}

static void watch(struct quarantine *q, uint64_t now_ms, uint64_t ms)
{
	sm_move(&q->sm, QUARANTINE_WATCHING, "opened");
	q->due_ms = now_ms + ms;
	q->settles_ms = now_ms + QUARANTINE_EARLY_MS;
	q->taken_up = false;
}

bool quarantine_next(struct quarantine *q, uint64_t now_ms, struct quarantine_doc *out)
{
	if (sm_state(&q->sm) != QUARANTINE_OPENING)
		return false;
	struct quarantine_doc *next = next_doc(q);
	if (!next) {
		watch(q, now_ms, QUARANTINE_EARLY_MS);
		return false;
	}
	bool one = one_by_one(q, next);
	bool last = one && q->n_docs == 1;
	bool marked = quarantine_count(q, &next->job) > 0;
	take(q, next, out);
	if (one) {
		q->opening = out->job;
		watch(q, now_ms,
		      marked || last || !next_doc(q) ? QUARANTINE_EARLY_MS : QUARANTINE_DWELL_MS);
	}
	return true;
}

void quarantine_lives(struct quarantine *q, bool proven, uint64_t now_ms)
{
#ifdef WEIR_MUTANT_MARK_STANDS_TOO_LONG
	return;
#endif
	if (sm_state(&q->sm) != QUARANTINE_WATCHING || !q->opening.hex[0])
		return;
	uint64_t enough_ms = proven ? now_ms : now_ms + QUARANTINE_DWELL_MS;
	if ((proven || !q->taken_up) && enough_ms < q->due_ms)
		q->due_ms = enough_ms;
	q->taken_up = true;
}

/* What was opened has been watched for long enough. */
static void watched(struct quarantine *q, uint64_t now_ms)
{
	if (q->opening.hex[0]) {
		drop_mark(q, &q->opening);
		q->opening = (struct job_id){""};
	}
	q->dirty = true;
	if (next_doc(q)) {
		sm_move(&q->sm, QUARANTINE_RECORDING, "the next job");
		return;
	}
	if (now_ms < q->settles_ms) { /* a crash is early until then; nobody is blamed for it */
		q->due_ms = q->settles_ms;
		return;
	}
	for (unsigned i = 0; i < q->n_leaders; i++)
		q->leaders[i].settled = true;
	sm_move(&q->sm, QUARANTINE_SETTLED, "it lives");
}

static bool due(const struct quarantine_mark *m, int64_t wall_ms)
{
	return m && m->held_wall_ms && wall_ms - m->held_wall_ms >= QUARANTINE_AGAIN_MS;
}

static void try_again(struct quarantine *q, int64_t wall_ms)
{
	for (size_t i = 0; i < q->n_docs; i++)
		q->docs[i].asked |= due(known_mark(q, &q->docs[i].job), wall_ms);
	if (!next_doc(q))
		return;
	sm_move(&q->sm, QUARANTINE_RECORDING, "a held job is tried again");
}

static void write(struct quarantine *q, const char *instance, uint64_t *next_token,
		  struct jm_effects *fx)
{
	q->token = (*next_token)++;
	q->dirty = false;
	struct jm_effect *decide = effects_add(fx, JM_DECIDE);
	decide->token = q->token;
	decide->revision = q->revision;
	snprintf(decide->key, sizeof(decide->key), "%s", QUARANTINE_KEY);
	effects_op(decide, QUARANTINE_KEY, write_document(q, instance, q->token));
}

void quarantine_accept(struct quarantine *q, struct epoch epoch, struct epoch ahead,
		       int64_t wall_ms, const char *instance, uint64_t *next_token,
		       struct jm_effects *fx)
{
	uint64_t raw = epoch.v - q->epoch_base, top = ahead.v > epoch.v ? ahead.v : epoch.v;
	q->epoch_base = top + 1 - raw;
	q->accepted.v = top + 1;
	q->accepted_wall_ms = wall_ms;
	write(q, instance, next_token, fx);
}

static void set_mark(struct quarantine *q)
{
	const struct quarantine_doc *next = next_doc(q);
	q->opening = next && one_by_one(q, next) ? next->job : (struct job_id){""};
	q->dirty = true;
}

void quarantine_run(struct quarantine *q, uint64_t now_ms, int64_t wall_ms, const char *instance,
		    uint64_t *next_token, struct jm_effects *fx)
{
	if (sm_state(&q->sm) == QUARANTINE_WATCHING && now_ms >= q->due_ms && !q->token)
		watched(q, now_ms);
	if (sm_state(&q->sm) == QUARANTINE_SETTLED && q->n_docs && !q->token)
		try_again(q, wall_ms);
	if (q->token || q->blind || now_ms < q->retry_ms || sm_state(&q->sm) == QUARANTINE_IDLE)
		return;
	if (sm_state(&q->sm) == QUARANTINE_RECORDING)
		set_mark(q);
	if (q->dirty)
		write(q, instance, next_token, fx);
}

bool quarantine_decided(struct quarantine *q, uint64_t token, enum errc code, const char *text,
			uint64_t revision, uint64_t now_ms)
{
	if (!token || token != q->token)
		return false;
	q->token = 0;
	bool recording = sm_state(&q->sm) == QUARANTINE_RECORDING;
	if (code == ERR_OK) {
		q->revision = revision;
	} else if (code == ERR_UNAVAILABLE && !(text && strncmp(text, "NOSPACE", 7) == 0)) {
		q->retry_ms = now_ms + QUARANTINE_RETRY_MS; /* suspended: it waits */
		q->dirty = true;
		return true;
	} else
		q->blind = true; /* no marks can be set: jobs are opened without */
	if (recording)
		sm_move(&q->sm, QUARANTINE_OPENING, code ? "no marks can be set" : "recorded");
	return true;
}

/* ---- asking ---- */

bool quarantine_all_opened(const struct quarantine *q)
{
	for (size_t i = 0; i < q->n_docs; i++)
		if (!q->docs[i].held)
			return false;
	return true;
}

const struct quarantine_doc *quarantine_find(const struct quarantine *q, const struct job_id *job)
{
	for (size_t i = 0; i < q->n_docs; i++)
		if (job_id_equal(&q->docs[i].job, job))
			return &q->docs[i];
	return NULL;
}

bool quarantine_release(struct quarantine *q, const struct job_id *job)
{
	for (size_t i = 0; i < q->n_docs; i++)
		if (q->docs[i].held && job_id_equal(&q->docs[i].job, job))
			return q->docs[i].asked = true;
	return false;
}

uint64_t quarantine_wake_ms(const struct quarantine *q, uint64_t now_ms, int64_t wall_ms)
{
	uint64_t wake = UINT64_MAX;
	if (sm_state(&q->sm) == QUARANTINE_OPENING)
		return now_ms;
	if (q->token)
		return wake;
	if (q->dirty && !q->blind)
		return q->retry_ms;
	switch ((enum quarantine_state)sm_state(&q->sm)) {
	case QUARANTINE_RECORDING:
		return q->retry_ms;
	case QUARANTINE_WATCHING:
		return q->due_ms;
	case QUARANTINE_SETTLED:
		for (size_t i = 0; i < q->n_docs; i++) {
			int64_t held = quarantine_held_since(q, &q->docs[i].job);
			int64_t left = held + QUARANTINE_AGAIN_MS - wall_ms;
			uint64_t at =
				q->docs[i].asked || left <= 0 ? now_ms : now_ms + (uint64_t)left;
			wake = at < wake ? at : wake;
		}
		return wake;
	case QUARANTINE_OPENING:
	case QUARANTINE_IDLE:
	case QUARANTINE_STATE_COUNT:
		break;
	}
	return wake;
}
