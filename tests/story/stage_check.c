/* The checker: every effect is held against what the store says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "stage_inside.h"

void stage_check_pointers(struct stage *s, const struct doc *d)
{
	for (unsigned i = 0; i < d->n_retained && !d->discarded; i++)
		if (!stage_blob_there(s, d->retained[i].manifest))
			stage_violate(
				s, "checkpoint %" PRIu64 " is recorded, its manifest is not there",
				d->retained[i].id.v);
	for (unsigned i = 0; i < d->n_flights; i++)
		for (unsigned k = 0; k < d->n_given_up_kept; k++)
			if (d->given_up[k].id.v == d->flights[i].id.v)
				stage_violate(
					s, "checkpoint %" PRIu64 " was given up and is in flight",
					d->flights[i].id.v);
}

static bool doc_refers(const struct doc *d, const char *prefix)
{
	for (unsigned i = 0; i < d->n_retained && !d->discarded; i++)
		if (text_starts(d->retained[i].manifest, prefix))
			return true;
	for (unsigned i = 0; i < d->n_flights; i++) {
		char own[DOC_PATH_MAX];
		snprintf(own, sizeof(own), "jobs/%s/chk-%" PRIu64 "/", d->job.hex,
			 d->flights[i].id.v);
		if (text_starts(own, prefix))
			return true;
	}
	return false;
}

void stage_check_remove(struct stage *s, const char *prefix)
{
	bool recorded = false, referred = false;
	for (size_t i = 0; i < s->n_store; i++) {
		const struct record *r = &s->store[i];
		struct doc d;
		if (text_starts(r->key, "cleanup/") && strstr(r->value, prefix))
			recorded = true;
		if (!text_starts(r->key, "run/") && !text_starts(r->key, "done/"))
			continue;
		if (doc_decode(r->value, strlen(r->value), &d, NULL) != ERR_OK)
			continue;
		referred |= doc_refers(&d, prefix);
		doc_fini(&d);
	}
	if (!recorded)
		stage_violate(s, "%s is removed, and that was never recorded", prefix);
	if (referred)
		stage_violate(s, "%s is removed, and something recorded refers to it", prefix);
}

static bool placed_at(const struct doc_region *r, const struct player *tm)
{
	for (unsigned i = 0; i < r->n_tms; i++)
		if (strcmp(r->tms[i].id, tm->id) == 0 &&
		    strcmp(r->tms[i].instance, tm->instance) == 0)
			return true;
	return false;
}

static bool in_flight(const struct doc *d, uint64_t id)
{
	for (unsigned i = 0; i < d->n_flights; i++)
		if (d->flights[i].id.v == id)
			return true;
	return false;
}

static void check_live(struct stage *s, const struct player *tm, const struct doc *d,
		       const struct control_command_msg *m)
{
	const char *name = control_command_name(m->kind);
	const struct doc_region *r = &d->regions[m->region];
	uint64_t newest = doc_newest(d) ? doc_newest(d)->id.v : 0;
	bool same = m->attempt.v == r->attempt.v;
	switch (m->kind) {
	case CONTROL_PREPARE:
	case CONTROL_RUN:
		if (!same || !placed_at(r, tm))
			stage_violate(s, "%s of attempt %" PRIu32 ", which is not recorded there",
				      name, m->attempt.v);
		if (m->kind == CONTROL_RUN && m->commit_only != (d->desired != DOC_RUN))
			stage_violate(s, "attempt %" PRIu32 " is told to %s", m->attempt.v,
				      m->commit_only ? "commit only, and the job is to run"
						     : "read, and the job is to end");
		break;
	case CONTROL_TRIGGER:
		if (!same || !in_flight(d, m->checkpoint.v))
			stage_violate(s, "trigger %" PRIu64 ", which is not recorded",
				      m->checkpoint.v);
		break;
	case CONTROL_COMPLETE:
		if (m->checkpoint.v > newest)
			stage_violate(s, "complete %" PRIu64 ", which is not recorded",
				      m->checkpoint.v);
		break;
	case CONTROL_ABORT:
		if (in_flight(d, m->checkpoint.v) || m->checkpoint.v == newest)
			stage_violate(s, "abort %" PRIu64 ", which is not given up",
				      m->checkpoint.v);
		break;
	case CONTROL_CANCEL:
		if (m->attempt.v >= r->attempt.v || m->terminal)
			stage_violate(s, "cancel of attempt %" PRIu32 ", which is the recorded one",
				      m->attempt.v);
		break;
	case CONTROL_FINISH:
		stage_violate(s, "%s of a job that has not ended", name);
		break;
	case CONTROL_WELCOME:
	case CONTROL_BEAT:
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
}

/* Who still holds output that the job's newest checkpoint promised may commit it: the recorded
 * attempt, and the one before it if it was there to commit only. */
static void check_ended(struct stage *s, const struct doc *d, const struct control_command_msg *m)
{
	const struct doc_pointer *newest = doc_newest(d);
	const struct doc_region *r = m->region < d->n_regions ? &d->regions[m->region] : NULL;
	bool owed = m->kind == CONTROL_COMPLETE && newest && m->checkpoint.v == newest->id.v &&
		    d->committed.v < newest->id.v && r &&
		    (r->attempt.v == m->attempt.v || r->ran.v == m->attempt.v);
	if (m->kind != CONTROL_CANCEL && m->kind != CONTROL_FINISH && !owed)
		stage_violate(s, "%s of a job that ended", control_command_name(m->kind));
}

void stage_check_command(struct stage *s, const struct player *tm,
			 const struct control_command_msg *m)
{
	struct doc d;
	if (m->kind == CONTROL_WELCOME || m->kind == CONTROL_BEAT || m->kind == CONTROL_GOODBYE)
		return;
	if (s->suspended)
		stage_violate(s, "%s while suspended", control_command_name(m->kind));
	if (stage_stored_doc(s, "run", &m->job, &d)) {
		check_live(s, tm, &d, m);
		doc_fini(&d);
	} else if (stage_stored_doc(s, "done", &m->job, &d)) {
		check_ended(s, &d, m);
		doc_fini(&d);
	} else if (m->kind != CONTROL_UNKNOWN)
		stage_violate(s, "%s of a job that is not in the store",
			      control_command_name(m->kind));
}
