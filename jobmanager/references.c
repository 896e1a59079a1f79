#include "jobmanager/references.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"
#include "rest/reply.h"

static const char *const folders[] = {"run/", "done/", "resolve/"};
enum { N_FOLDERS = sizeof(folders) / sizeof(folders[0]), RESOLVE = 2 };

struct question { /* one GET under way; heap */
	struct list hook;
	struct jm_node *node;
	struct world_request *request; /* NULL: its client has gone */
	unsigned at;                   /* of folders[] */
	uint64_t revision;
	json_t *jobs; /* owns */
	struct ha_read read;
};

/* ---- one document ---- */

static void add_pointer(json_t *list, const struct doc_pointer *p)
{
	if (p->id.v)
		json_array_append_new(list,
				      json_pack("{s:I, s:s, s:s}", "id", (json_int_t)p->id.v,
						"manifest", p->manifest, "checksum", p->checksum));
}

/* What an attempt restores from is the newest that is retained, until a newer one has completed:
 * then it has restored, and the older one may have been removed. */
static json_t *pointers(const struct doc *d)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < d->n_retained && !d->discarded; i++)
		add_pointer(list, &d->retained[i]);
	return list;
}

/* The first number whose checkpoint may still be written. */
static uint64_t first_open(const struct doc *d)
{
	return d->n_flights ? d->flights[0].id.v : d->next_checkpoint.v;
}

static json_t *of_document(const char *id, const struct ha_doc *at)
{
	struct doc d;
	if (doc_decode(at->value, at->len, &d, NULL) != ERR_OK)
		return json_pack("{s:s, s:b}", "job", id, "readable", 0);
	json_t *o = json_pack("{s:s, s:b, s:s, s:I, s:o}", "job", id, "readable", 1, "status",
			      doc_status_name(d.status), "open", (json_int_t)first_open(&d),
			      "checkpoints", pointers(&d));
	doc_fini(&d);
	return o;
}

/* A terminal job whose output is in doubt: the checkpoint that says what was to be committed. */
static json_t *of_resolver(const char *id, const struct ha_doc *at)
{
	json_t *o = NULL, *out = NULL;
	const char *manifest, *checksum;
	uint64_t checkpoint;
	if (json_parse(at->value, at->len, &o, NULL) == ERR_OK &&
	    json_get_u64(o, "", "checkpoint", &checkpoint, NULL) == ERR_OK &&
	    json_get_text(o, "", "manifest", &manifest, NULL) == ERR_OK &&
	    json_get_text(o, "", "checksum", &checksum, NULL) == ERR_OK)
		out = json_pack("{s:s, s:b, s:s, s:I, s:[{s:I, s:s, s:s}]}", "job", id, "readable",
				1, "status", "RESOLVING", "open", (json_int_t)checkpoint + 1,
				"checkpoints", "id", (json_int_t)checkpoint, "manifest", manifest,
				"checksum", checksum);
	json_decref(o);
	return out ? out : json_pack("{s:s, s:b}", "job", id, "readable", 0);
}

static void add_document(struct question *q, const struct ha_doc *at)
{
	struct job_id id;
	if (job_id_parse(at->key + strlen(folders[q->at]), &id, NULL) != ERR_OK)
		return; /* the cluster's own keys */
	json_array_append_new(q->jobs,
			      q->at == RESOLVE ? of_resolver(id.hex, at) : of_document(id.hex, at));
}

/* ---- the answer ---- */

static const char *trouble(const struct jm_node *n)
{
	struct ha_status s;
	struct jm_stopped_view stopped;
	ha_status(n->ha, &s);
	jm_view_stopped(n->jm, &stopped);
	if (stopped.why[0] || s.regressed)
		return "the store went back in time: see `weir recover`";
	if (n->role != HA_LEADING)
		return "leadership is suspended";
	return "";
}

static void forget(struct question *q)
{
	list_remove(&q->hook);
	json_decref(q->jobs);
	free(q);
}

static void answer(struct question *q)
{
	struct jm_node *n = q->node;
	if (q->request)
		reply_json(n->w, q->request, 200,
			   json_pack("{s:s, s:s, s:I, s:s, s:O}", "clusterId", n->cluster_id,
				     "storage", n->blobs->root ? n->blobs->root : "", "epoch",
				     (json_int_t)n->epoch.v, "trouble", trouble(n), "jobs",
				     q->jobs));
	forget(q);
}

static void was_read(struct ha_read *read)
{
	struct question *q = MEM_OWNER(read, struct question, read);
	if (read->err.code != ERR_OK) {
		if (q->request)
			reply_later(q->node->w, q->request, "the store does not answer: %s",
				    read->err.text);
		forget(q);
		return;
	}
	for (size_t i = 0; i < read->n_docs; i++)
		add_document(q, &read->docs[i]);
	if (++q->at == N_FOLDERS) {
		answer(q);
		return;
	}
	q->read = (struct ha_read){.done = was_read};
	ha_get(q->node->ha, &q->read, folders[q->at], true, q->revision);
}

void references_show(struct jm_node *n, struct world_request *request)
{
	struct question *q = mem_alloc(sizeof(*q));
	q->node = n;
	q->request = request;
	q->jobs = json_array();
	list_append(&n->questions, &q->hook);
	struct ha_status s;
	ha_status(n->ha, &s);
	q->revision = s.revision;
	q->read.done = was_read;
	ha_get(n->ha, &q->read, folders[0], true, q->revision);
}

bool references_gone(struct jm_node *n, const struct world_request *request)
{
	list_each (struct question, q, &n->questions, hook) {
		if (q->request != request)
			continue;
		q->request = NULL;
		return true;
	}
	return false;
}

void references_drop(struct jm_node *n)
{
	list_each_safe (struct question, q, &n->questions, hook) {
		ha_get_cancel(n->ha, &q->read);
		if (q->request)
			reply_later(n->w, q->request, "the store is looked at anew");
		forget(q);
	}
}
