/* The cluster listener: command streams, reports, who leads, liveness. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"
#include "rest/reply.h"

enum {
	STREAM_HIGH_WATER = 64 << 20,
	PULSE_HIGH_WATER = 4096,
	WITNESSES = 5,
	LINE_MS = 500, /* between two looks at who could be a witness */
	EARLY_MS =
		200 /* a registration waits so long for us to lead: twice is below reconnect_ms */
};

/* ---- who leads ---- */

static void tell_leader(struct jm_node *n, struct world_request *r, bool known)
{
	const struct leader *l = &n->leader;
	json_t *leader = json_null();
	if (known && l->epoch)
		leader = json_pack("{s:s,s:s,s:I,s:s,s:s}", "id", l->id, "instance", l->instance,
				   "epoch", (json_int_t)l->epoch, "address", l->cluster_address,
				   "rest", l->user_address);
	reply_json(n->w, r, 200, json_pack("{s:o}", "leader", leader));
}

static void held_drop(struct held *h)
{
	world_timer_cancel(h->node->w, &h->timer);
	list_remove(&h->hook);
	free(h);
}

/* Cut off from etcd, our queue is old: its first may be dead, and nobody able to succeed it. Tasks
 * go on when they hear that nobody leads, and stop when somebody does whom they cannot reach. */
static bool queue_is_fresh(struct jm_node *n)
{
	struct ha_status s;
	ha_status(n->ha, &s);
	return n->leader.self || s.trouble[0] == '\0';
}

static void held_long_enough(struct world_timer *t)
{
	struct held *h = MEM_OWNER(t, struct held, timer);
	tell_leader(h->node, h->request, queue_is_fresh(h->node));
	if (h->voter[0])
		liveness_vote_ended(h->node->liveness, h->voter);
	held_drop(h);
}

/* Who asks: a TaskManager by its id, a JobManager by its instance. */
static void read_voter(const struct world_request *r, char voter[NODE_ID_MAX])
{
	char instance[NODE_ID_MAX], id[NODE_ID_MAX];
	voter[0] = '\0';
	if (route_query(r->query, "taskmanager", id, sizeof(id)))
		memcpy(voter, id, NODE_ID_MAX);
	else if (route_query(r->query, "jobmanager", id, sizeof(id)) &&
		 route_query(r->query, "instance", instance, sizeof(instance)))
		memcpy(voter, instance, NODE_ID_MAX);
}

static void on_leader(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	char text[32];
	uint64_t after = 0;
	(void)m;
	if (route_query(r->query, "after", text, sizeof(text)) && text_u64(text, &after, NULL)) {
		reply_error(n->w, r, 400, "after: must be an epoch");
		return;
	}
	recover_asked_above(&n->recover, after);
	if (n->leader.epoch > after) {
		tell_leader(n, r, true);
		return;
	}
	struct held *h = mem_alloc(sizeof(*h));
	h->node = n;
	h->request = r;
	h->after = after;
	read_voter(r, h->voter);
	h->timer.fire = held_long_enough;
	list_append(&n->held, &h->hook);
	world_timer_arm(n->w, &h->timer, world_now_ms(n->w) + HOLD_MS);
	if (h->voter[0])
		liveness_vote(n->liveness, h->voter, after);
}

/* ---- command streams ---- */

static struct stream *stream_add(struct jm_node *n, struct world_request *r, uint64_t token)
{
	struct stream *s = mem_alloc(sizeof(*s));
	s->request = r;
	s->token = token;
	list_append(&n->streams, &s->hook);
	return s;
}

static void stream_drop(struct stream *s)
{
	list_remove(&s->hook);
	free(s);
}

static struct stream *stream_find(struct jm_node *n, uint64_t token)
{
	list_each (struct stream, s, &n->streams, hook) {
		if (s->token == token)
			return s;
	}
	return NULL;
}

/* An agent that has seen a higher epoch than ours knows a newer leader. */
static bool newer_leader(struct jm_node *n, struct world_request *r, uint64_t epoch)
{
	if (epoch <= n->epoch.v)
		return false;
	reply_error(n->w, r, 409, "epoch %" PRIu64 " is above ours, %" PRIu64, epoch, n->epoch.v);
	return true;
}

static void refuse(struct jm_node *n, struct world_request *r)
{
	reply_later(n->w, r, "this JobManager does not lead");
}

static void early_drop(struct early *x)
{
	world_timer_cancel(x->node->w, &x->timer);
	list_remove(&x->hook);
	free(x);
}

static void too_early(struct world_timer *t)
{
	struct early *x = MEM_OWNER(t, struct early, timer);
	refuse(x->node, x->request);
	early_drop(x);
}

/* Whoever told the TaskManager that we lead saw the queue change before our barrier was through.
 * Sent away, it would come back much later than we lead. */
static void hold_early(struct jm_node *n, struct world_request *r)
{
	struct early *x = mem_alloc(sizeof(*x));
	x->node = n;
	x->request = r;
	x->timer.fire = too_early;
	list_append(&n->early, &x->hook);
	world_timer_arm(n->w, &x->timer, world_now_ms(n->w) + EARLY_MS);
}

static void on_register(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct control_registration reg;
	struct err e = {0};
	(void)m;
	if (!node_leads(n)) {
		if (n->leader.epoch || n->resigning || !queue_is_fresh(n))
			refuse(n, r);
		else
			hold_early(n, r);
		return;
	}
	if (control_registration_decode(r->body, r->body_len, &reg, &e)) {
		reply_err(n->w, r, &e);
		return;
	}
	if (!newer_leader(n, r, reg.highest.v)) {
		struct jm_event ev = {
			.kind = JM_TM_REGISTER, .token = n->next_token++, .registration = &reg};
		world_reply_start(n->w, r, 200, STREAM_HIGH_WATER);
		stream_add(n, r, ev.token);
		node_step(n, &ev);
	}
	control_registration_fini(&reg);
}

void streams_leader_changed(struct jm_node *n)
{
	list_each_safe (struct held, h, &n->held, hook) {
		if (n->leader.epoch > h->after) {
			tell_leader(n, h->request, true);
			held_drop(h);
		}
	}
	if (!n->leader.epoch)
		return; /* nobody leads yet */
	list_each_safe (struct early, x, &n->early, hook) {
		struct world_request *r = x->request;
		early_drop(x);
		on_register(n, r, NULL);
	}
}

static void on_reports(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	struct control_reports reports;
	struct err e = {0};
	(void)m;
	if (!node_leads(n)) {
		refuse(n, r);
		return;
	}
	if (control_reports_decode(r->body, r->body_len, &reports, &e)) {
		reply_err(n->w, r, &e);
		return;
	}
	if (!newer_leader(n, r, reports.epoch.v)) {
		struct waiting *x = waiting_add(n, r, WAIT_REPORTS);
		struct jm_event ev = {
			.kind = JM_TM_REPORTS, .token = x->token, .reports = &reports};
		node_step(n, &ev);
	}
	control_reports_fini(&reports);
}

void streams_send(struct jm_node *n, uint64_t token, const void *line, size_t len)
{
	struct stream *s = stream_find(n, token);
	if (s)
		world_reply_chunk(n->w, s->request, line, len);
}

void streams_close(struct jm_node *n, uint64_t token)
{
	struct stream *s = stream_find(n, token);
	if (s == NULL)
		return;
	world_reply_end(n->w, s->request);
	stream_drop(s);
}

void streams_close_all(struct jm_node *n, bool liveness_too)
{
	list_each_safe (struct stream, s, &n->streams, hook) {
		if (s->token == 0 && !liveness_too)
			continue;
		world_reply_end(n->w, s->request);
		stream_drop(s);
	}
}

/* ---- liveness: the connection itself is the message; bytes show that the loop runs ---- */

/* TaskManagers that hear us: who asks about us may ask them. */
static json_t *witnesses(const struct jm_node *n)
{
	json_t *list = json_array();
	size_t n_tms = node_leads(n) ? jm_view_tms(n->jm) : 0;
	for (size_t i = 0; i < n_tms && json_array_size(list) < WITNESSES; i++) {
		struct jm_tm_view v;
		jm_view_tm_at(n->jm, i, &v);
		if (v.tm->state == TM_CONNECTED)
			json_array_append_new(list, json_string(v.tm->id));
	}
	return list;
}

/* True: it is not what it was. */
static bool make_line(struct jm_node *n)
{
	uint64_t epoch = n->leader.self ? n->leader.epoch : 0;
	json_t *o = json_pack("{s:s,s:s,s:I,s:o}", "id", n->config.ha.id, "instance", n->instance,
			      "epoch", (json_int_t)epoch, "witnesses", witnesses(n));
	if (n->resigning || n->stepping_down)
		json_object_set_new(o, "resigning", json_true());
	char *text = json_text(o), line[LIVENESS_LINE_MAX];
	json_decref(o);
	snprintf(line, sizeof(line), "%.*s\n", (int)sizeof(line) - 2, text);
	free(text);
	bool changed = strcmp(line, n->liveness_line) != 0;
	memcpy(n->liveness_line, line, sizeof(line));
	n->liveness_line_ms = world_now_ms(n->w);
	return changed;
}

/* To all who watch us. True: there is one. */
static bool tell_watchers(struct jm_node *n, const char *text)
{
	bool any = false;
	list_each (struct stream, s, &n->streams, hook) {
		if (s->token != 0)
			continue;
		any = true;
		world_reply_chunk(n->w, s->request, text, strlen(text));
	}
	return any;
}

void streams_resigning(struct jm_node *n)
{
	if (make_line(n))
		tell_watchers(n, n->liveness_line);
}

static void pulse(struct world_timer *t)
{
	struct jm_node *n = MEM_OWNER(t, struct jm_node, pulse);
	uint64_t now = world_now_ms(n->w);
	bool news = now >= n->liveness_line_ms + LINE_MS && make_line(n);
	if (tell_watchers(n, news ? n->liveness_line : "."))
		world_timer_arm(n->w, &n->pulse, now + PULSE_MS);
}

static void on_liveness(void *owner, struct world_request *r, const struct route_match *m)
{
	struct jm_node *n = owner;
	(void)m;
	world_reply_start(n->w, r, 200, PULSE_HIGH_WATER);
	if (make_line(n))
		tell_watchers(n, n->liveness_line);
	world_reply_chunk(n->w, r, n->liveness_line, strlen(n->liveness_line));
	stream_add(n, r, 0);
	if (!world_timer_armed(&n->pulse)) {
		n->pulse.fire = pulse;
		world_timer_arm(n->w, &n->pulse, world_now_ms(n->w) + PULSE_MS);
	}
}

/* ---- the listener ---- */

const struct route cluster_routes[] = {
	{"GET", "/v1/cluster/leader", on_leader, true, true,
	 "who leads; held while nobody above `after` does"},
	{"GET", "/v1/cluster/liveness", on_liveness, true, true,
	 "who this is; then a byte every 100 ms while its loop runs"},
	{"POST", "/v1/cluster/taskmanagers", on_register, true, false,
	 "register; the answer is the command stream"},
	{"POST", "/v1/cluster/taskmanagers/:id/reports", on_reports, true, false,
	 "numbered reports, in order"},
	{.method = NULL}};

void streams_on_request(struct world_server *s, struct world_request *r)
{
	struct jm_node *n = MEM_OWNER(s, struct jm_node, cluster);
	struct route_match m;
	switch (route_find(cluster_routes, r->method, r->path, &m)) {
	case ROUTE_FOUND:
		m.route->handle(n, r, &m);
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

void streams_on_gone(struct world_server *server, struct world_request *r)
{
	struct jm_node *n = MEM_OWNER(server, struct jm_node, cluster);
	list_each_safe (struct held, h, &n->held, hook) {
		if (h->request == r) {
			if (h->voter[0]) /* an answer is no withdrawal; this is */
				liveness_vote_withdrawn(n->liveness, h->voter);
			held_drop(h);
			return;
		}
	}
	list_each_safe (struct early, x, &n->early, hook) {
		if (x->request == r) {
			early_drop(x);
			return;
		}
	}
	list_each_safe (struct waiting, x, &n->waiting, hook) {
		if (x->request == r) {
			waiting_drop(x);
			return;
		}
	}
	list_each_safe (struct stream, s, &n->streams, hook) {
		if (s->request != r)
			continue;
		struct jm_event ev = {.kind = JM_TM_GONE, .token = s->token};
		stream_drop(s);
		if (ev.token)
			node_step(n, &ev);
		return;
	}
}

void streams_fini(struct jm_node *n)
{
	world_timer_cancel(n->w, &n->pulse);
	list_each_safe (struct held, h, &n->held, hook)
		held_drop(h);
	list_each_safe (struct early, x, &n->early, hook)
		early_drop(x);
	list_each_safe (struct stream, s, &n->streams, hook)
		stream_drop(s);
}
