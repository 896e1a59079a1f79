#include "jobmanager/doc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const status_names[] = {
	[DOC_CREATED] = "CREATED", [DOC_RUNNING] = "RUNNING",       [DOC_RESTARTING] = "RESTARTING",
	[DOC_FAILING] = "FAILING", [DOC_CANCELLING] = "CANCELLING", [DOC_FINISHED] = "FINISHED",
	[DOC_FAILED] = "FAILED",   [DOC_CANCELED] = "CANCELED",
};
static const char *const desired_names[] = {
	[DOC_RUN] = "RUN", [DOC_CANCEL] = "CANCEL", [DOC_FAIL] = "FAIL"};

const char *doc_status_name(enum doc_status status)
{
	return status < DOC_STATUS_COUNT ? status_names[status] : "?";
}

const char *doc_desired_name(enum doc_desired desired)
{
	return desired < DOC_DESIRED_COUNT ? desired_names[desired] : "?";
}

void doc_init(struct doc *d, const struct job_id *job, const char *name, unsigned n_regions)
{
	*d = (struct doc){.job = *job, .next_checkpoint = {1}, .next_cleanup = 1};
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->n_regions = n_regions;
	d->regions = mem_array(n_regions, sizeof(d->regions[0]));
	for (unsigned i = 0; i < n_regions; i++)
		d->regions[i].attempt.v = 1;
}

void doc_fini(struct doc *d)
{
	for (unsigned i = 0; d->regions && i < d->n_regions; i++) {
		free(d->regions[i].tms);
		free(d->regions[i].owner);
	}
	for (unsigned i = 0; i < d->n_flights; i++)
		free(d->flights[i].attempts);
	free(d->regions);
	free(d->flights);
	free(d->retained);
	free(d->failures);
	free(d->given_up);
	json_decref(d->spec);
	json_decref(d->flow);
	json_decref(d->unknown);
	*d = (struct doc){0};
}

static void *copy_array(const void *from, size_t count, size_t size)
{
	return count ? mem_copy(from, count * size) : NULL;
}

void doc_copy(struct doc *to, const struct doc *from)
{
	*to = *from;
	to->regions = copy_array(from->regions, from->n_regions, sizeof(to->regions[0]));
	for (unsigned i = 0; i < to->n_regions; i++) {
		struct doc_region *r = &to->regions[i];
		r->tms = copy_array(r->tms, r->n_tms, sizeof(r->tms[0]));
		r->owner = copy_array(r->owner, r->n_slots, sizeof(r->owner[0]));
	}
	to->flights = copy_array(from->flights, from->n_flights, sizeof(to->flights[0]));
	for (unsigned i = 0; i < to->n_flights; i++)
		to->flights[i].attempts = copy_array(to->flights[i].attempts, to->n_regions,
						     sizeof(to->flights[i].attempts[0]));
	to->retained = copy_array(from->retained, from->n_retained, sizeof(to->retained[0]));
	to->failures = copy_array(from->failures, from->n_failures, sizeof(to->failures[0]));
	to->given_up = copy_array(from->given_up, from->n_given_up_kept, sizeof(to->given_up[0]));
	json_incref(to->spec);
	json_incref(to->flow);
	json_incref(to->unknown);
}

bool doc_terminal(enum doc_status status)
{
	return status == DOC_FINISHED || status == DOC_FAILED || status == DOC_CANCELED;
}

const struct doc_pointer *doc_newest(const struct doc *d)
{
	return d->n_retained ? &d->retained[d->n_retained - 1] : NULL;
}

/* ---- changes ---- */

void doc_enter(struct doc *d, enum doc_status status, int64_t wall_ms)
{
	d->status = status;
	d->stamps[status] = wall_ms;
}

static size_t ring_room(unsigned n, unsigned max)
{
	return n < max ? n + 1 : max;
}

static void *ring_slot(void *array, unsigned *n, unsigned max, size_t size)
{
	char *at = array;
	if (*n == max) {
		memmove(at, at + size, (max - 1) * size);
		(*n)--;
	}
	return at + (size_t)(*n)++ * size;
}

void doc_add_failure(struct doc *d, const struct doc_failure *f)
{
	d->failures =
		mem_resize(d->failures, ring_room(d->n_failures, DOC_FAILURES_MAX), sizeof(*f));
	memcpy(ring_slot(d->failures, &d->n_failures, DOC_FAILURES_MAX, sizeof(*f)), f, sizeof(*f));
}

void doc_add_given_up(struct doc *d, const struct doc_given_up *g)
{
	d->n_given_up++;
	d->given_up = mem_resize(d->given_up, ring_room(d->n_given_up_kept, DOC_GIVEN_UP_MAX),
				 sizeof(*g));
	memcpy(ring_slot(d->given_up, &d->n_given_up_kept, DOC_GIVEN_UP_MAX, sizeof(*g)), g,
	       sizeof(*g));
}

void doc_next_attempt(struct doc *d, unsigned region)
{
	struct doc_region *r = &d->regions[region];
	free(r->tms);
	free(r->owner);
	const struct doc_pointer *newest = doc_newest(d);
	*r = (struct doc_region){.attempt = {r->attempt.v + 1}};
	if (newest)
		r->restore = *newest;
}

void doc_add_flight(struct doc *d, enum control_trigger kind, int64_t wall_ms)
{
	d->flights = mem_resize(d->flights, d->n_flights + 1, sizeof(d->flights[0]));
	struct doc_flight *f = &d->flights[d->n_flights++];
	*f = (struct doc_flight){
		.id = d->next_checkpoint, .kind = kind, .triggered_wall_ms = wall_ms};
	f->attempts = mem_array(d->n_regions, sizeof(f->attempts[0]));
	for (unsigned i = 0; i < d->n_regions; i++)
		f->attempts[i] = d->regions[i].attempt.v;
	d->next_checkpoint.v++;
}

void doc_drop_flight(struct doc *d, unsigned index)
{
	free(d->flights[index].attempts);
	memmove(&d->flights[index], &d->flights[index + 1],
		(d->n_flights - index - 1) * sizeof(d->flights[0]));
	d->n_flights--;
}

void doc_add_retained(struct doc *d, const struct doc_pointer *p)
{
	d->retained = mem_resize(d->retained, d->n_retained + 1, sizeof(d->retained[0]));
	d->retained[d->n_retained++] = *p;
	d->n_completed++;
}

void doc_drop_retained(struct doc *d, unsigned index)
{
	memmove(&d->retained[index], &d->retained[index + 1],
		(d->n_retained - index - 1) * sizeof(d->retained[0]));
	d->n_retained--;
}

void doc_place(struct doc *d, unsigned region, struct doc_tm *tms, uint32_t n_tms, uint16_t *owner,
	       uint32_t n_slots)
{
	struct doc_region *r = &d->regions[region];
	assert(r->n_slots == 0 && n_slots > 0);
	r->tms = tms;
	r->n_tms = n_tms;
	r->owner = owner;
	r->n_slots = n_slots;
}

/* ---- invariants ---- */

static bool region_holds(const struct doc_region *r)
{
	if ((r->n_slots == 0) != (r->n_tms == 0) || r->attempt.v == 0)
		return false;
	for (uint32_t i = 0; i < r->n_slots; i++)
		if (r->owner[i] >= r->n_tms)
			return false;
	return true;
}

static bool flights_hold(const struct doc *d)
{
	uint64_t low = doc_newest(d) ? doc_newest(d)->id.v : 0;
	for (unsigned i = 0; i < d->n_flights; i++) {
		const struct doc_flight *f = &d->flights[i];
		if (f->id.v <= low || f->id.v >= d->next_checkpoint.v)
			return false;
		low = f->id.v;
		for (unsigned k = 0; k < d->n_regions; k++)
			if (f->attempts[k] != d->regions[k].attempt.v)
				return false;
	}
	return true;
}

bool doc_holds(const struct doc *d)
{
	for (unsigned i = 0; i < d->n_regions; i++)
		if (!region_holds(&d->regions[i]))
			return false;
	for (unsigned i = 0; i < d->n_retained; i++)
		if (d->retained[i].id.v >= d->next_checkpoint.v ||
		    (i && d->retained[i].id.v <= d->retained[i - 1].id.v))
			return false;
	return flights_hold(d);
}

static bool region_follows(const struct doc_region *a, const struct doc_region *b)
{
	if (b->attempt.v != a->attempt.v)
		return b->attempt.v > a->attempt.v;
	if (b->restore.id.v != a->restore.id.v)
		return false;
	if (a->n_slots == 0)
		return true;
	return b->n_slots == a->n_slots && b->n_tms == a->n_tms &&
	       memcmp(a->owner, b->owner, a->n_slots * sizeof(a->owner[0])) == 0 &&
	       memcmp(a->tms, b->tms, a->n_tms * sizeof(a->tms[0])) == 0;
}

bool doc_follows(const struct doc *before, const struct doc *after)
{
	if (after->n_regions != before->n_regions ||
	    after->next_checkpoint.v < before->next_checkpoint.v ||
	    after->next_cleanup < before->next_cleanup || doc_terminal(before->status))
		return false;
	if (before->desired != DOC_RUN && after->desired == DOC_RUN)
		return false;
	const struct doc_pointer *a = doc_newest(before), *b = doc_newest(after);
	if (a && !doc_terminal(after->status) && (!b || b->id.v < a->id.v))
		return false;
	for (unsigned i = 0; i < before->n_regions; i++)
		if (!region_follows(&before->regions[i], &after->regions[i]))
			return false;
	return true;
}
