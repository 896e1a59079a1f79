#include "jobmanager/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"
#include "jobmanager/quarantine.h"
#include "rest/reply.h"

enum { BASE_LATER_MS = 200 };

#define GOES_ON                                                                                    \
	"goes on from the store's checkpoint, or fails if its files were removed since; later "    \
	"output is written again, also by exactly-once sinks"

void recover_init(struct recover *r, struct jm_node *n)
{
	*r = (struct recover){.node = n};
}

void recover_fini(struct recover *r)
{
	recover_follow(r);
	recover_drop_looks(r);
	world_timer_cancel(r->node->w, &r->base_later);
	if (r->base.impl != NULL)
		ha_get_cancel(r->node->ha, &r->base);
}

/* ---- signs ---- */

static void proved(struct ha_barrier *b)
{
	struct recover *r = MEM_OWNER(b, struct recover, barrier);
	r->proving = false;
	if (b->err.code != ERR_OK || !node_leads(r->node))
		return; /* deposed, or not now: the sign comes again */
	struct jm_event ev = {.kind = JM_AHEAD, .epoch = {r->epoch}, .text = r->why};
	node_step(r->node, &ev);
}

static void suspect(struct recover *r)
{
	if (r->proving || !node_leads(r->node))
		return;
	r->proving = true;
	r->barrier = (struct ha_barrier){.done = proved};
	ha_barrier(r->node->ha, &r->barrier);
}

void recover_asked_above(struct recover *r, uint64_t epoch)
{
	if (!node_leads(r->node) || epoch <= r->node->epoch.v)
		return;
	if (epoch > r->epoch)
		r->epoch = epoch;
	snprintf(r->why, sizeof(r->why),
		 "a TaskManager remembers epoch %" PRIu64 ", the store only knows %" PRIu64, epoch,
		 r->node->epoch.v);
	suspect(r);
}

static bool parse_number(const char *text, size_t len, uint64_t *out)
{
	char number[24];
	if (len >= sizeof(number))
		return false;
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	return text_u64(number, out, NULL) == ERR_OK;
}

/* "jobs/<id>/chk-<n>/manifest-e<epoch>-a..." */
static bool parse_manifest(const char *name, struct job_id *job, uint64_t *id, uint64_t *epoch)
{
	if (!text_starts(name, "jobs/") || strlen(name) < 5 + ID_HEX + 6)
		return false;
	snprintf(job->hex, sizeof(job->hex), "%.*s", ID_HEX, name + 5);
	const char *rest = name + 5 + ID_HEX;
	const char *slash = text_starts(rest, "/chk-") ? strchr(rest + 5, '/') : NULL;
	if (!slash || !text_starts(slash, "/manifest-e"))
		return false;
	return parse_number(rest + 5, (size_t)(slash - rest) - 5, id) &&
	       parse_number(slash + 11, strcspn(slash + 11, "-"), epoch);
}

static bool never_begun(const struct jm_node *n, const char *name, struct job_id *job, uint64_t *id)
{
	struct jm_job_view v;
	struct jm_stopped_view s;
	uint64_t epoch;
	jm_view_stopped(n->jm, &s);
	return parse_manifest(name, job, id, &epoch) && epoch >= s.accepted.v &&
	       jm_view_job(n->jm, job, &v) && v.accepted && !v.terminal &&
	       *id >= v.doc->next_checkpoint.v;
}

static void was_listed(struct blob_op *op)
{
	struct recover *r = MEM_OWNER(op, struct recover, list);
	struct job_id job;
	uint64_t id;
	for (size_t i = 0; op->err.code == ERR_OK && i < op->n_names; i++) {
		if (!never_begun(r->node, op->names[i], &job, &id))
			continue;
		snprintf(r->why, sizeof(r->why),
			 "storage holds checkpoint %" PRIu64
			 " of job %s, which the store never began",
			 id, job.hex);
		suspect(r);
		return;
	}
}

/* ---- roles ---- */

void recover_lead(struct recover *r)
{
	r->epoch = 0;
}

void recover_look(struct recover *r)
{
	struct blob_port *blobs = r->node->blobs;
	if (r->list.impl != NULL)
		return;
	r->list = (struct blob_op){.done = was_listed};
	blobs->list(blobs, &r->list, "jobs/");
}

static void base_read(struct ha_read *read)
{
	struct recover *r = MEM_OWNER(read, struct recover, base);
	if (read->err.code == ERR_OK && read->n_docs && r->node->role == HA_FOLLOWING)
		node_epoch_base(r->node,
				quarantine_epoch_base(read->docs[0].value, read->docs[0].len));
}

void recover_follow(struct recover *r)
{
	struct jm_node *n = r->node;
	if (r->list.impl != NULL)
		n->blobs->cancel(n->blobs, &r->list);
	r->list.impl = NULL;
	if (r->proving)
		ha_barrier_cancel(n->ha, &r->barrier);
	r->proving = false;
}

static void read_base(struct world_timer *t)
{
	struct recover *r = MEM_OWNER(t, struct recover, base_later);
	if (r->node->role != HA_FOLLOWING || r->base.impl != NULL)
		return;
	r->base = (struct ha_read){.done = base_read};
	ha_get(r->node->ha, &r->base, QUARANTINE_KEY, false, 0);
}

/* It changes when a restored store was accepted, and hardly ever then. So nothing is asked of etcd
 * while somebody is just taking over. */
void recover_members(struct recover *r)
{
	struct world *w = r->node->w;
	r->base_later.fire = read_base;
	if (!world_timer_armed(&r->base_later))
		world_timer_arm(w, &r->base_later, world_now_ms(w) + BASE_LATER_MS);
}

/* ---- what it would cost ---- */

struct look { /* one GET under way; heap */
	struct recover *r;
	struct world_request *request;
	struct list hook;
	struct ha_read read;
	struct blob_op list;
	struct ha_doc *docs;
};

static void cost_of_job(json_t *jobs, const char *id, const char *name, const json_t *store,
			const json_t *known, const char *cost)
{
	json_array_append_new(jobs, json_pack("{s:s, s:s, s:O, s:O, s:s}", "job", id, "name", name,
					      "store", store, "known", known, "cost", cost));
}

static json_t *numbers(const struct doc *d)
{
	uint32_t attempt = 0;
	for (unsigned i = 0; i < d->n_regions; i++)
		if (d->regions[i].attempt.v > attempt)
			attempt = d->regions[i].attempt.v;
	const struct doc_pointer *newest = doc_newest(d);
	return json_pack("{s:I, s:I, s:I, s:s}", "attempt", (json_int_t)attempt, "checkpoint",
			 (json_int_t)(newest ? newest->id.v : 0), "nextCheckpoint",
			 (json_int_t)d->next_checkpoint.v, "status", doc_status_name(d->status));
}

static bool behind(const json_t *store, const json_t *known)
{
	static const char *const names[] = {"attempt", "checkpoint", "nextCheckpoint"};
	for (int i = 0; i < 3; i++)
		if (json_integer_value(json_object_get(store, names[i])) <
		    json_integer_value(json_object_get(known, names[i])))
			return true;
	return strcmp(json_string_value(json_object_get(store, "status")),
		      json_string_value(json_object_get(known, "status"))) != 0;
}

/* What this leader remembers, beside what the store says now. */
static void cost_of_doc(const struct jm_node *n, json_t *jobs, const struct ha_doc *at)
{
	struct job_id id;
	struct doc d;
	struct jm_job_view v;
	if (job_id_parse(at->key + 4, &id, NULL) != ERR_OK ||
	    doc_decode(at->value, at->len, &d, NULL) != ERR_OK)
		return;
	json_t *store = numbers(&d);
	struct jm_held_view held;
	bool known = jm_view_job(n->jm, &id, &v) && v.accepted;
	json_t *mine = known ? numbers(v.doc) : json_null();
	if (!known)
		cost_of_job(
			jobs, id.hex, d.name, store, mine,
			jm_view_held(n->jm, &id, &held)
				? GOES_ON "; how much, this leader is too new to know"
				: "this leader does not know it: it ended, and would run again");
	else if (behind(store, mine))
		cost_of_job(jobs, id.hex, d.name, store, mine,
			    v.terminal ? "it ended, and would run again" : GOES_ON);
	else if (v.trouble[0])
		cost_of_job(jobs, id.hex, d.name, store, mine, v.trouble);
	json_decref(store);
	json_decref(mine);
	doc_fini(&d);
}

static void cost_of_lost(const struct jm_node *n, json_t *jobs, const struct ha_read *read)
{
	for (size_t i = 0; i < jm_view_jobs(n->jm); i++) {
		struct jm_job_view v;
		bool there = false;
		jm_view_job_at(n->jm, i, &v);
		for (size_t k = 0; k < read->n_docs; k++)
			there |= strcmp(read->docs[k].key + 4, v.doc->job.hex) == 0;
		if (there || v.terminal || !v.accepted)
			continue;
		json_t *mine = numbers(v.doc);
		cost_of_job(
			jobs, v.doc->job.hex, v.doc->name, json_null(), mine,
			"the store does not know it: it is lost; its tasks stop after the orphan "
			"timeout");
		json_decref(mine);
	}
}

static void look_done(struct ha_read *read)
{
	struct look *k = MEM_OWNER(read, struct look, read);
	struct jm_node *n = k->r->node;
	struct ha_status s;
	struct jm_stopped_view stopped;
	json_t *jobs = json_array();
	ha_status(n->ha, &s);
	jm_view_stopped(n->jm, &stopped);
	for (size_t i = 0; read->err.code == ERR_OK && i < read->n_docs; i++)
		cost_of_doc(n, jobs, &read->docs[i]);
	if (read->err.code == ERR_OK)
		cost_of_lost(n, jobs, read);
	bool needed = stopped.why[0] || s.regressed;
	const char *why = stopped.why[0] ? stopped.why : s.regressed ? s.trouble : "";
	json_t *o = json_pack("{s:b, s:s, s:s, s:I, s:I, s:s, s:o}", "needed", needed, "why", why,
			      "leader", n->config.ha.id, "epoch", (json_int_t)n->epoch.v,
			      "remembered", (json_int_t)stopped.ahead.v, "store",
			      read->err.code == ERR_OK ? "" : read->err.text, "jobs", jobs);
	if (k->request)
		reply_json(n->w, k->request, 200, o);
	else
		json_decref(o);
	list_remove(&k->hook);
	free(k);
}

void recover_show(struct recover *r, struct world_request *request)
{
	struct look *k = mem_alloc(sizeof(*k));
	k->r = r;
	k->request = request;
	list_append(&r->node->looks, &k->hook);
	k->read.done = look_done;
	ha_get(r->node->ha, &k->read, "run/", true, 0);
}

bool recover_gone(struct recover *r, const struct world_request *request)
{
	list_each (struct look, k, &r->node->looks, hook) {
		if (k->request != request)
			continue;
		k->request = NULL;
		return true;
	}
	return false;
}

void recover_drop_looks(struct recover *r)
{
	list_each_safe (struct look, k, &r->node->looks, hook) {
		ha_get_cancel(r->node->ha, &k->read);
		if (k->request)
			reply_later(r->node->w, k->request, "the store is looked at anew");
		list_remove(&k->hook);
		free(k);
	}
}

/* ---- accepting ---- */

void recover_accept(struct recover *r, struct world_request *request)
{
	struct jm_node *n = r->node;
	struct ha_status s;
	ha_status(n->ha, &s);
	if (s.regressed) {
		world_log(n->w, LOG_LEVEL_WARN,
			  "told to accept the store as it is: looking at it anew");
		reply_json(n->w, request, 202,
			   json_pack("{s:s, s:b}", "status", "begun anew: ask again", "done", 0));
		node_begin_anew(n);
		return;
	}
	struct waiting *x = waiting_add(n, request, WAIT_ACCEPT);
	struct jm_event ev = {.kind = JM_ACCEPT, .token = x->token};
	node_step(n, &ev);
}
