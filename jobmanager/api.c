/* The user listener: REST, and what waits for the brain's answer. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "jobmanager/metrics.h"
#include "jobmanager/node_inside.h"
#include "jobmanager/references.h"
#include "jobmanager/show.h"
#include "rest/reply.h"
#include "rest/views.h"

enum { EXCEPTIONS_SHOWN = 20 };

static const char no_leader[] =
	"Service temporarily unavailable due to an ongoing leader election. Please refresh.";

/* ---- requests that wait ---- */

struct waiting *waiting_add(struct jm_node *n, struct world_request *r, enum wait_kind kind)
{
	struct waiting *x = mem_alloc(sizeof(*x));
	x->node = n;
	x->request = r;
	x->token = n->next_token++;
	x->kind = kind;
	list_append(&n->waiting, &x->hook);
	return x;
}

void waiting_drop(struct waiting *x)
{
	if (x->kind == WAIT_BARRIER && x->barrier.impl != NULL)
		ha_barrier_cancel(x->node->ha, &x->barrier);
	list_remove(&x->hook);
	free(x->body);
	free((struct route_match *)(uintptr_t)x->match);
	free(x);
}

static struct waiting *waiting_find(struct jm_node *n, uint64_t token)
{
	list_each (struct waiting, x, &n->waiting, hook) {
		if (x->token == token)
			return x;
	}
	return NULL;
}

/* To the next leader. A request that another JobManager passed on goes no further: it waits for
 * ourselves to lead, or goes back. */
static void pass_on(struct jm_node *n, struct world_request *r, bool repeatable, const char *body)
{
	if (proxy_forwarded(r))
		proxy_hold(n->proxy, r);
	else
		proxy_forward(n->proxy, r, repeatable, body);
}

static bool elsewhere(enum errc code)
{
	return code == ERR_FENCED || code == ERR_CANCELED;
}

static void answer_error(struct jm_node *n, struct world_request *r, enum errc code,
			 const char *text)
{
	struct err e = {.code = code};
	snprintf(e.text, sizeof(e.text), "%s", text);
	reply_err(n->w, r, &e);
}

static void answer_ok(struct waiting *x)
{
	json_t *value =
		x->kind == WAIT_SUBMIT ? json_pack("{s:s}", "jobid", x->job.hex) : json_object();
	reply_json(x->node->w, x->request, x->kind == WAIT_REPORTS ? 200 : 202, value);
}

void api_reply(struct jm_node *n, uint64_t token, enum errc code, const char *text)
{
	struct waiting *x = waiting_find(n, token);
	if (x == NULL)
		return; /* its client has gone */
	if (code == ERR_OK && x->kind == WAIT_ACCEPT) {
		reply_json(n->w, x->request, 202,
			   json_pack("{s:s,s:b}", "status", "accepted", "done", 1));
		jm_node_step_down(n);
	} else if (code == ERR_OK)
		answer_ok(x);
	else if (elsewhere(code) && x->kind != WAIT_REPORTS) /* a submission has its id */
		pass_on(n, x->request, true, x->body);
	else
		answer_error(n, x->request, code, text);
	waiting_drop(x);
}

void api_not_leading(struct jm_node *n)
{
	list_each_safe (struct waiting, x, &n->waiting, hook) {
		switch (x->kind) {
		case WAIT_SUBMIT:
			pass_on(n, x->request, true, x->body);
			break;
		case WAIT_CANCEL:
		case WAIT_ACCEPT:
			pass_on(n, x->request, true, NULL);
			break;
		case WAIT_REPORTS:
			reply_later(n->w, x->request, "this JobManager does not lead any more");
			break;
		case WAIT_BARRIER:
		case WAIT_OPENED:
			pass_on(n, x->request, x->match->route->repeatable, NULL);
			break;
		}
		waiting_drop(x);
	}
}

void api_fini(struct jm_node *n)
{
	list_each_safe (struct waiting, x, &n->waiting, hook)
		waiting_drop(x);
}

/* ---- answers that need proof that we still lead ---- */

static void barrier_done(struct ha_barrier *b)
{
	struct waiting *x = MEM_OWNER(b, struct waiting, barrier);
	struct jm_node *n = x->node;
	struct world_request *r = x->request;
	enum errc code = b->err.code;
	struct route_match m = *x->match;
	r->owner = n; /* the mark: after its barrier */
	if (code == ERR_OK)
		m.route->handle(n, r, &m);
	else if (elsewhere(code))
		pass_on(n, r, m.route->repeatable, NULL);
	else
		reply_later(n->w, r, "%s", no_leader);
	waiting_drop(x);
}

/* True: the request was put behind a barrier, and comes again when that is done. What it asked
 * about may have been changed by a leader that we do not know of yet. */
static bool behind_barrier(struct jm_node *n, struct world_request *r, const struct route_match *m)
{
	if (r->owner == n)
		return false;
	struct waiting *x = waiting_add(n, r, WAIT_BARRIER);
	x->match = mem_copy(m, sizeof(*m));
	x->barrier.done = barrier_done;
	ha_barrier(n->ha, &x->barrier);
	return true;
}

/* ---- one job ---- */

static void on_yarn_cancel(void *owner, struct world_request *r, const struct route_match *m);

/* In the store, and not opened: quarantined, or its turn comes in a moment; who is suspended opens
 * none. */
static void not_opened(struct jm_node *n, struct world_request *r, const struct route_match *m,
		       const struct jm_held_view *held)
{
	bool suspended = n->role == HA_SUSPENDED;
	bool asks = strcmp(r->method, "GET") == 0 && m->route->handle != on_yarn_cancel;
	if ((held->held || suspended) && !asks) {
		reply_later(n->w, r,
			    held->held ? "job %s is quarantined: release it first"
				       : "leadership is suspended: job %s is not opened now",
			    m->params[0]);
		return;
	}
	if (held->held || suspended) {
		reply_json(n->w, r, 200, show_held(n, held));
		return;
	}
	struct waiting *x = waiting_add(n, r, WAIT_OPENED);
	x->match = mem_copy(m, sizeof(*m));
	x->job = held->job;
}

static struct waiting *next_opened(struct jm_node *n)
{
	struct jm_held_view held;
	list_each (struct waiting, x, &n->waiting, hook)
		if (x->kind == WAIT_OPENED &&
		    (n->role == HA_SUSPENDED || !jm_view_held(n->jm, &x->job, &held) || held.held))
			return x;
	return NULL;
}

void api_opened(struct jm_node *n)
{
	struct waiting *x;
	while (node_leads(n) && (x = next_opened(n)) != NULL) {
		struct world_request *r = x->request;
		struct route_match m = *x->match;
		waiting_drop(x);
		m.route->handle(n, r, &m);
	}
}

static void not_found(struct jm_node *n, struct world_request *r, const struct route_match *m)
{
	struct jm_cluster_view c;
	jm_view_cluster(n->jm, &c);
	if (!c.done_loaded)
		reply_later(n->w, r, "the finished jobs have not been read yet");
	else if (!behind_barrier(n, r, m))
		reply_error(n->w, r, 404, "Job %s not found", m->params[0]);
}

/* Looks it up; false: the request was answered, or waits. */
static bool find_job(struct jm_node *n, struct world_request *r, const struct route_match *m,
		     struct jm_job_view *out)
{
	struct job_id id;
	struct err e = {0};
	if (job_id_parse(m->params[0], &id, &e)) {
		reply_error(n->w, r, 400, "job id: %s", e.text);
		return false;
	}
	if (!jm_view_job(n->jm, &id, out) || !out->accepted) {
		struct jm_held_view held;
		if (jm_view_held(n->jm, &id, &held))
			not_opened(n, r, m, &held);
		else
			not_found(n, r, m);
		return false;
	}
	return !out->terminal || !behind_barrier(n, r, m);
}

static void on_job(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, show_job(n, &v));
}

static void on_status(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, json_pack("{s:s}", "status", v.status));
}

static void on_plan(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, show_plan(n, &v));
}

static void on_job_config(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, show_job_config(n, &v));
}

/* The same, and its specification; a new leader may not have read that yet. */
static bool find_spec(struct jm_node *n, struct world_request *r, const struct route_match *m,
		      struct jm_job_view *out)
{
	if (!find_job(n, r, m, out))
		return false;
	if (out->spec)
		return true;
	if (out->terminal)
		reply_error(n->w, r, 404, "the specification is not kept any more");
	else
		reply_later(n->w, r, "the specification has not been read yet");
	return false;
}

static void on_specification(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_spec(n, r, m, &v))
		reply_json(n->w, r, 200, json_incref(v.spec->source));
}

static void on_checkpoints(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, show_checkpoints(n, &v));
}

static void on_checkpoints_config(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	if (!find_spec(n, r, m, &v))
		return;
	if (v.spec->checkpointing.enabled)
		reply_json(n->w, r, 200,
			   view_checkpoints_config(v.spec, n->blobs->root ? n->blobs->root : ""));
	else
		reply_error(n->w, r, 404, "Checkpointing has not been enabled.");
}

static void on_exceptions(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct jm_job_view v;
	char text[16];
	uint64_t max = EXCEPTIONS_SHOWN;
	if (route_query(r->query, "maxExceptions", text, sizeof(text)) &&
	    text_u64(text, &max, NULL)) {
		reply_error(n->w, r, 400, "maxExceptions: must be a whole number");
		return;
	}
	if (find_job(n, r, m, &v))
		reply_json(n->w, r, 200, show_exceptions(n, &v, max > 1000 ? 1000 : (unsigned)max));
}

static void cancel(struct jm_node *n, struct world_request *r, const struct route_match *m)
{
	struct jm_job_view v;
	struct job_id id;
	if (!find_job(n, r, m, &v))
		return;
	if (v.doc->status == DOC_CANCELED) {
		reply_json(n->w, r, 202, json_object());
		return;
	}
	if (v.terminal) {
		reply_error(n->w, r, 409, "Job %s already reached another terminal state (%s).",
			    m->params[0], v.status);
		return;
	}
	id = v.doc->job;
	struct waiting *x = waiting_add(n, r, WAIT_CANCEL);
	struct jm_event ev = {.kind = JM_CANCEL, .token = x->token, .job = id};
	node_step(n, &ev);
}

static void on_patch(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	char mode[16] = "cancel";
	(void)route_query(r->query, "mode", mode, sizeof(mode));
	if (strcmp(mode, "cancel") == 0)
		cancel(n, r, m);
	else
		reply_error(n->w, r, 400, "mode: must be cancel, is \"%s\"", mode);
}

static void on_release(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct err e = {0};
	struct jm_event ev = {.kind = JM_RELEASE};
	if (job_id_parse(m->params[0], &ev.job, &e)) {
		reply_error(n->w, r, 400, "job id: %s", e.text);
		return;
	}
	struct waiting *x = waiting_add(n, r, WAIT_CANCEL);
	ev.token = x->token;
	node_step(n, &ev);
}

static void on_yarn_cancel(void *owner, struct world_request *r, const struct route_match *m)
{
	cancel(owner, r, m);
}

/* ---- submission ---- */

/* The document with an id in it: the client's, or one chosen here, so that whoever repeats the
 * request repeats the same job. */
static enum errc identify(struct jm_node *n, json_t *doc, struct job_id *out, struct err *e)
{
	const char *text;
	enum errc rc = json_get_text_or(doc, "", "jobId", NULL, &text, e);
	if (rc)
		return rc;
	if (text)
		return job_id_parse(text, out, e) ? err_wrap(e, ERR_INVALID, "jobId") : ERR_OK;
	job_id_make(world_rand64(n->w), world_rand64(n->w), out);
	json_object_set_new(doc, "jobId", json_string(out->hex));
	return ERR_OK;
}

static enum errc read_spec(struct jm_node *n, const struct world_request *r, json_t **doc,
			   struct job_id *id, struct spec **spec, struct err *e)
{
	if (r->body_len > LIMIT_SPEC_BYTES)
		return err_set(e, ERR_LIMIT,
			       "the specification has %zu bytes, at most %d are accepted",
			       r->body_len, LIMIT_SPEC_BYTES);
	const char *body = n->body ? n->body : r->body;
	enum errc rc = json_parse(body, n->body ? strlen(body) : r->body_len, doc, e);
	if (rc == ERR_OK && !json_is_object(*doc))
		rc = err_set(e, ERR_INVALID, "the document: must be an object");
	if (rc == ERR_OK)
		rc = identify(n, *doc, id, e);
	if (rc == ERR_OK)
		rc = spec_parse(*doc, spec, e);
	return rc;
}

static void submit(struct jm_node *n, struct world_request *r, const json_t *doc,
		   const struct job_id *id, const struct spec *spec)
{
	char *body = json_text(doc);
	if (!node_leads(n)) {
		pass_on(n, r, true, body);
		free(body);
		return;
	}
	struct waiting *x = waiting_add(n, r, WAIT_SUBMIT);
	struct jm_event ev = {
		.kind = JM_SUBMIT, .token = x->token, .job = *id, .spec = spec->source};
	x->job = *id;
	x->body = body;
	node_step(n, &ev);
}

static void on_submit(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	json_t *doc = NULL;
	struct spec *spec = NULL;
	struct job_id id;
	struct err e = {0};
	(void)m;
	if (read_spec(n, r, &doc, &id, &spec, &e))
		reply_err(n->w, r, &e);
	else
		submit(n, r, doc, &id, spec);
	spec_destroy(spec);
	json_decref(doc);
}

/* ---- lists and the cluster ---- */

static void on_jobs(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, show_job_ids(n));
}

static void on_jobs_overview(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, show_jobs(n));
}

static void on_taskmanagers(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, show_taskmanagers(n));
}

static void on_overview(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, show_overview(n));
}

static void on_config(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, view_config());
}

static void on_own_config(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200,
		   n->config.settings ? json_deep_copy(n->config.settings) : json_array());
}

static void on_cluster(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, show_cluster(n));
}

static void on_recover(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	recover_show(&n->recover, r);
}

static void on_accept(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct err e = {0};
	json_t *o = NULL;
	bool yes = false;
	(void)m;
	enum errc rc = json_parse(r->body, r->body_len, &o, &e);
	if (rc == ERR_OK)
		rc = json_get_bool_or(o, "", "acceptStore", false, &yes, &e);
	json_decref(o);
	if (rc)
		reply_err(n->w, r, &e);
	else if (!yes)
		reply_error(n->w, r, 400, "acceptStore: must be true; GET says what it costs");
	else
		recover_accept(&n->recover, r);
}

static void on_failovers(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, history_json(&n->history));
}

static void on_references(void *owner, struct world_request *r, const struct route_match *m)
{
	if (!behind_barrier(owner, r, m))
		references_show(owner, r);
}

static void on_metrics(void *owner, struct world_request *r, const struct route_match *m)
{
	static const struct world_header plain = {"Content-Type",
						  "text/plain; version=0.0.4; charset=utf-8"};
	struct jm_node *n = owner;
	struct buf text = {0};
	(void)m;
	metrics_write(n, &text);
	world_reply_with(n->w, r, 200, &plain, 1, text.data, text.len);
	buf_fini(&text);
}

static void on_healthz(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	reply_json(n->w, r, 200, json_pack("{s:s}", "status", "ok"));
}

/* Ready: it can answer, itself or through the leader, or it would once somebody leads. */
static void on_readyz(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct ha_status s;
	(void)m;
	ha_status(n->ha, &s);
	if (n->resigning)
		reply_later(n->w, r, "stopping");
	else if (n->role == HA_STARTING)
		reply_later(n->w, r, "not in the queue of JobManagers yet: %s",
			    s.trouble[0] ? s.trouble : "starting");
	else
		reply_json(n->w, r, 200, json_pack("{s:s}", "status", "ready"));
}

/* ---- the listener ---- */

static void on_resign(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	if (!jm_node_step_down(n)) {
		reply_later(n->w, r, "%s", no_leader);
		return;
	}
	reply_json(n->w, r, 202,
		   json_pack("{s:s,s:I}", "id", n->config.ha.id, "epoch", (json_int_t)n->epoch.v));
}

const struct route api_routes[] = {
	{"GET", "/v1/overview", on_overview, false, true, "counters of the cluster"},
	{"GET", "/v1/config", on_config, true, true, "what a dashboard needs to start"},
	{"GET", "/v1/jobmanager/config", on_own_config, true, true,
	 "this JobManager's settings, secrets masked"},
	{"POST", "/v1/jobs", on_submit, true, false,
	 "submit a job specification; 202 once it is durable"},
	{"GET", "/v1/jobs", on_jobs, false, true, "ids and states"},
	{"GET", "/v1/jobs/overview", on_jobs_overview, false, true, "all jobs"},
	{"GET", "/v1/jobs/:id", on_job, false, true, "one job: vertices, tasks, plan"},
	{"PATCH", "/v1/jobs/:id", on_patch, false, true,
	 "mode=cancel: cancel it; 202 once that is durable"},
	{"POST", "/v1/jobs/:id/release", on_release, false, true,
	 "try a quarantined job again now"},
	{"GET", "/v1/jobs/:id/yarn-cancel", on_yarn_cancel, false, true,
	 "cancel it, as PATCH does; for dashboards"},
	{"GET", "/v1/jobs/:id/status", on_status, false, true, "its state alone"},
	{"GET", "/v1/jobs/:id/plan", on_plan, false, true, "vertices and edges"},
	{"GET", "/v1/jobs/:id/config", on_job_config, false, true,
	 "parallelism and restart strategy"},
	{"GET", "/v1/jobs/:id/specification", on_specification, false, true,
	 "the specification as accepted"},
	{"GET", "/v1/jobs/:id/checkpoints", on_checkpoints, false, true,
	 "statistics, newest first"},
	{"GET", "/v1/jobs/:id/checkpoints/config", on_checkpoints_config, false, true,
	 "as configured"},
	{"GET", "/v1/jobs/:id/exceptions", on_exceptions, false, true,
	 "failures, newest first; maxExceptions=n"},
	{"GET", "/v1/taskmanagers", on_taskmanagers, false, true, "TaskManagers and their slots"},
	{"GET", "/v1/cluster", on_cluster, true, true, "JobManagers, who leads, etcd's health"},
	{"POST", "/v1/cluster/resign", on_resign, false, false,
	 "the leader hands over and queues again; 202 once it has begun"},
	{"GET", "/v1/cluster/recover", on_recover, false, true,
	 "has the store gone back in time, and what would accepting it cost?"},
	{"POST", "/v1/cluster/recover", on_accept, false, false,
	 "acceptStore: true: take the store as it is; done: false means ask again"},
	{"GET", "/v1/cluster/failovers", on_failovers, false, true,
	 "changes of leader, newest first: cause, moments, what was taken over"},
	{"GET", "/v1/cluster/references", on_references, false, true,
	 "what in the storage is needed, as etcd says now"},
	{"GET", "/metrics", on_metrics, true, true, "this JobManager's metrics, for Prometheus"},
	{"GET", "/healthz", on_healthz, true, true, "200 while the process works"},
	{"GET", "/readyz", on_readyz, true, true, "200 once it is in the queue of JobManagers"},
	{.method = NULL}};

void api_on_request(struct world_server *s, struct world_request *r)
{
	struct jm_node *n = MEM_OWNER(s, struct jm_node, user);
	struct route_match m;
	r->owner = NULL;
	switch (route_find(api_routes, r->method, r->path, &m)) {
	case ROUTE_FOUND:
		if (m.route->local || node_leads(n))
			m.route->handle(n, r, &m);
		else
			pass_on(n, r, m.route->repeatable, NULL);
		break;
	case ROUTE_NOT_FOUND:
		reply_error(n->w, r, 404, "Not found: %.200s", r->path);
		break;
	case ROUTE_METHOD:
		reply_error(n->w, r, 405, "Method %.16s is not allowed for %.200s", r->method,
			    r->path);
		break;
	}
}

void api_again(void *node, struct world_request *r, const char *body)
{
	struct jm_node *n = node;
	n->body = body;
	api_on_request(&n->user, r);
	n->body = NULL;
}

void api_on_gone(struct world_server *s, struct world_request *r)
{
	struct jm_node *n = MEM_OWNER(s, struct jm_node, user);
	if (proxy_gone(n->proxy, r) || recover_gone(&n->recover, r) || references_gone(n, r))
		return;
	list_each_safe (struct waiting, x, &n->waiting, hook) {
		if (x->request == r) {
			waiting_drop(x);
			return;
		}
	}
}
