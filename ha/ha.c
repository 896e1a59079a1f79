/*
 * The driver: turns answers of etcd into events of the election core, and its
 * effects into calls. What the JobManager asks for is in ha_requests.c. No policy here.
 */
#include "ha/ha_inside.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ha/mutant.h"

enum {
	RELIST_MS = 15000,
	WATCH_SILENCE_MS = 60000,
	WATCH_AGAIN_MS = 200,
};

/* ---- documents ---- */

void docs_take(struct docs *d, struct wire_range *r)
{
	if (r->n == 0)
		return;
	if (d->n + r->n > d->capacity) {
		d->capacity = (d->n + r->n) * 2;
		d->kvs = mem_resize(d->kvs, d->capacity, sizeof *d->kvs);
	}
	memcpy(d->kvs + d->n, r->kvs, r->n * sizeof *r->kvs);
	d->n += r->n;
	free(r->kvs);
	*r = (struct wire_range){0};
}

void docs_fini(struct docs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->kvs[i].key);
		free(d->kvs[i].value);
	}
	free(d->kvs);
	*d = (struct docs){0};
}

/* As the listener sees them: without the root. The caller frees the list. */
struct ha_doc *docs_view(const struct ha *ha, const struct docs *d)
{
	size_t skip = strlen(ha->root);
	struct ha_doc *list = mem_array(d->n + 1, sizeof *list);
	for (size_t i = 0; i < d->n; i++)
		list[i] = (struct ha_doc){.key = d->kvs[i].key + skip,
					  .value = d->kvs[i].value,
					  .len = d->kvs[i].len,
					  .mod_revision = d->kvs[i].mod_revision,
					  .create_revision = d->kvs[i].create_revision};
	return list;
}

struct fence ha_fence_of(const struct ha *ha)
{
	return (struct fence){.root = ha->root,
			      .instance = ha->instance,
			      .lease = ha->elect.lease,
			      .epoch = ha->elect.epoch};
}

uint64_t ha_in_ms(const struct ha *ha, uint64_t ms)
{
	return world_now_ms(ha->w) + ms;
}

void ha_turn_soon(struct ha *ha)
{
	if (!world_timer_armed(&ha->soon))
		world_timer_arm(ha->w, &ha->soon, 0);
}

/* ---- the queue of candidates ---- */

static void copy_text(char *out, size_t size, const json_t *o, const char *name)
{
	const char *text;
	if (json_get_text_or(o, "", name, "", &text, NULL) == ERR_OK)
		snprintf(out, size, "%s", text);
}

/* Somebody else's value may be anything: what cannot be read stays empty. */
static void read_member(const struct ha *ha, const struct wire_kv *kv, struct ha_member *m)
{
	*m = (struct ha_member){.create_revision = kv->create_revision};
	json_t *o = NULL;
	if (json_parse(kv->value, kv->len, &o, NULL))
		return;
	copy_text(m->id, sizeof m->id, o, "id");
	copy_text(m->instance, sizeof m->instance, o, "instance");
	copy_text(m->user_address, sizeof m->user_address, o, "userAddress");
	copy_text(m->cluster_address, sizeof m->cluster_address, o, "clusterAddress");
	int64_t n;
	if (json_get_i64_or(o, "", "pid", 0, INT64_MAX, 0, &n, NULL) == ERR_OK)
		m->pid = n;
	if (json_get_i64_or(o, "", "startMs", 0, INT64_MAX, 0, &n, NULL) == ERR_OK)
		m->start_wall_ms = n;
	m->self = strcmp(m->instance, ha->instance) == 0;
	json_decref(o);
}

static char *own_value(struct world *w, const struct ha_config *c)
{
	json_t *o = json_object();
	json_object_set_new(o, "format", json_integer(1));
	json_object_set_new(o, "id", json_string(c->id ? c->id : ""));
	json_object_set_new(o, "instance", json_string(c->instance));
	json_object_set_new(o, "userAddress", json_string(c->user_address ? c->user_address : ""));
	json_object_set_new(o, "clusterAddress",
			    json_string(c->cluster_address ? c->cluster_address : ""));
	json_object_set_new(o, "pid", json_integer(c->pid));
	json_object_set_new(o, "startMs", json_integer(world_wall_ms(w)));
	char *text = json_text(o);
	json_decref(o);
	return text;
}

static int by_place(const void *a, const void *b)
{
	const struct wire_kv *x = a, *y = b;
	return x->create_revision < y->create_revision ? -1
						       : x->create_revision > y->create_revision;
}

/* Fill `ev` from a queue that etcd told; remembers who they are, unless newer is known. `out` has
 * room for all. */
void ha_tell_queue(struct ha *ha, struct elect_event *ev, const struct wire_range *r,
		   uint64_t revision, struct elect_candidate *out)
{
	if (r == NULL)
		return;
	size_t skip = strlen(ha->root) + strlen("leader/");
	struct ha_member older;
	bool newest = revision >= ha->elect.queue_revision;
	unsigned n = 0;
	if (r->n)
		qsort(r->kvs, r->n, sizeof *r->kvs, by_place);
	for (size_t i = 0; i < r->n && n < ELECT_CANDIDATES_MAX; i++) {
		const struct wire_kv *kv = &r->kvs[i];
		struct elect_candidate *c = &out[n];
		struct ha_member *m = newest ? &ha->known[n] : &older;
		n++;
		read_member(ha, kv, m);
		*c = (struct elect_candidate){.create_revision = kv->create_revision};
		snprintf(c->key, sizeof c->key, "%s", kv->key_len > skip ? kv->key + skip : "");
		snprintf(c->instance, sizeof c->instance, "%s", m->instance);
		snprintf(c->address, sizeof c->address, "%s", m->cluster_address);
	}
	if (newest)
		ha->n_known = n;
	ev->queue = out;
	ev->n_queue = n;
	ev->revision = revision;
}

static void members_changed(struct ha *ha)
{
	ha->n_members = 0;
	for (unsigned i = 0; i < ha->elect.n_queue; i++)
		for (unsigned k = 0; k < ha->n_known; k++)
			if (ha->known[k].create_revision == ha->elect.queue[i].create_revision)
				ha->members[ha->n_members++] = ha->known[k];
	story_queue(&ha->story, ha->members, ha->n_members, world_now_ms(ha->w));
	if (ha->listener->on_members)
		ha->listener->on_members(ha->listener, ha->members, ha->n_members);
}

/* ---- requests of the core ---- */

static enum elect_result result_of(const struct etcd_call *call)
{
	switch (call->err.code) {
	case ERR_OK:
		return call->answer.header.revision || call->answer.lease ? ELECT_DONE
									  : ELECT_UNKNOWN;
	case ERR_UNKNOWN:
		return ELECT_UNKNOWN;
	case ERR_AGAIN:
	case ERR_NOTSENT:
	case ERR_UNAVAILABLE:
	case ERR_CONFLICT:
	case ERR_FENCED:
	case ERR_NOTFOUND:
	case ERR_EXISTS:
	case ERR_INVALID:
	case ERR_DENIED:
	case ERR_LIMIT:
	case ERR_CORRUPT:
	case ERR_IO:
	case ERR_CANCELED:
	case ERR_COUNT:
		break;
	}
	return ELECT_REFUSED;
}

static void op_finished(struct ha *ha, struct etcd_call *call, enum elect_result result)
{
	struct elect_candidate queue[ELECT_CANDIDATES_MAX];
	struct elect_event ev = {.kind = ELECT_EV_OP, .token = ha->op_token, .result = result};
	if (call->err.code == ERR_OK && call_of(ha->op_call)->answer == ANSWER_TXN)
		ha_tell_queue(ha, &ev, fence_queue(ha->op_call, &call->answer),
			      call->answer.header.revision, queue);
	/* A repeated grant says "exists": it may be as old as the first try. */
	ev.sent_ms = call->first_sent_ms;
	ev.ttl_s = (uint32_t)(call->answer.ttl_s ? call->answer.ttl_s : ha->lease_ms / 1000);
	ha_step(ha, &ev);
	wire_answer_fini(&call->answer);
}

static void page_done(struct etcd_call *call);

static void next_page(struct ha *ha)
{
	char *key = fence_key(ha->root, "run/");
	struct wire_op page = {.kind = WIRE_RANGE,
			       .key = key,
			       .prefix = true,
			       .after = ha->hot.kvs[ha->hot.n - 1].key,
			       .limit = PAGE,
			       .revision = ha->opening.header.revision};
	ha->op.done = page_done;
	etcd_start(ha->etcd, &ha->op, CALL_RANGE, wire_range(&page), ha_in_ms(ha, ha->lease_ms));
	free(key);
}

static void page_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, op);
	bool ok = call->err.code == ERR_OK && call->answer.n_ranges == 1;
	bool more = ok && call->answer.ranges[0].more && call->answer.ranges[0].n > 0;
	if (ok)
		docs_take(&ha->hot, &call->answer.ranges[0]);
	wire_answer_fini(&call->answer);
	if (more) {
		next_page(ha);
		return;
	}
	call->answer = ha->opening;
	ha->opening = (struct wire_answer){0};
	op_finished(ha, call, ok ? ELECT_DONE : ELECT_UNKNOWN);
}

/* We lead by this answer, and its first page of documents is `docs`. */
static void opened(struct ha *ha, struct etcd_call *call, struct wire_range *docs)
{
	bool more = docs->more && docs->n > 0;
	story_barrier(&ha->story, world_now_ms(ha->w));
	docs_take(&ha->hot, docs);
	if (!more) {
		op_finished(ha, call, ELECT_DONE);
		return;
	}
	ha->opening = call->answer;
	call->answer = (struct wire_answer){0};
	next_page(ha);
}

/* What the core is told of an operation: not whether etcd answered, but what it did. */
static enum elect_result judge(const struct ha *ha, const struct etcd_call *call)
{
	enum elect_result result = result_of(call);
	bool whole = call->answer.n_ranges == ha->op_ranges;
	switch (ha->op_kind) {
	case ELECT_OP_GRANT:
		return call->err.code == ERR_EXISTS ? ELECT_DONE : result;
	case ELECT_OP_REVOKE:
		if (call->err.code == ERR_NOTFOUND)
			return ELECT_DONE;
		return result == ELECT_REFUSED ? ELECT_UNKNOWN : result; /* it may live on */
	case ELECT_OP_BARRIER:
		if (result == ELECT_REFUSED)
			return ELECT_UNKNOWN; /* by etcd, not by the predicate */
		break;
	case ELECT_OP_TAKE:
		break;
	case ELECT_OP_ENQUEUE: /* refused by the compare: the key is there already, ours */
	case ELECT_OP_LEAVE:
	case ELECT_OP_NONE:
		return result;
	}
	if (result != ELECT_DONE || (call->answer.succeeded && whole))
		return result;
	return call->answer.succeeded ? ELECT_UNKNOWN : ELECT_REFUSED;
}

static void op_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, op);
	struct fence fence = ha_fence_of(ha);
	enum elect_result result = judge(ha, call);
	struct wire_range *docs = NULL;
	if (result == ELECT_DONE)
		docs = fence_docs(&fence, ha->op_call, &call->answer);
	if (docs) {
		opened(ha, call, docs);
		return;
	}
	if (result != ELECT_DONE && ha->op_kind != ELECT_OP_BARRIER)
		world_log(ha->w, LOG_LEVEL_WARN, "elect: %s: %s -> again",
			  call_of(ha->op_call)->name, call->err.text);
	op_finished(ha, call, result);
}

static char *take_body(const struct ha *ha, unsigned n)
{
	struct fence f = ha_fence_of(ha);
	struct fence_victim dead[ELECT_CANDIDATES_MAX];
	char *keys[ELECT_CANDIDATES_MAX];
	for (unsigned i = 0; i < n; i++) {
		keys[i] = mem_printf("%sleader/%s", ha->root, ha->elect.queue[i].key);
		dead[i] = (struct fence_victim){keys[i], ha->elect.queue[i].create_revision};
	}
	char *body = fence_take(&f, dead, n, PAGE);
	for (unsigned i = 0; i < n; i++)
		free(keys[i]);
	return body;
}

static void start_op(struct ha *ha, const struct elect_effect *f)
{
	struct fence fence = ha_fence_of(ha);
	char *body = NULL;
	uint64_t limit = ha->lease_ms / 2;
	etcd_cancel(ha->etcd, &ha->op);
	docs_fini(&ha->hot);
	wire_answer_fini(&ha->opening);
	ha->op_ranges = 0;
	switch (f->op) {
	case ELECT_OP_REVOKE:
		ha->op_call = CALL_REVOKE;
		body = wire_lease(fence.lease);
		break;
	case ELECT_OP_GRANT:
		ha->op_call = CALL_GRANT;
		body = wire_grant(fence.lease, (uint32_t)(ha->lease_ms / 1000));
		break;
	case ELECT_OP_ENQUEUE:
		ha->op_call = CALL_ENQUEUE;
		body = fence_enqueue(&fence, ha->value);
		break;
	case ELECT_OP_TAKE:
		ha->op_call = CALL_TAKE;
		ha->op_ranges = 2;
		body = take_body(ha, f->index);
		break;
	case ELECT_OP_BARRIER:
		ha->op_call = CALL_BARRIER;
		limit = ha->lease_ms;
		ha->op_ranges = elect_state(&ha->elect) == ELECT_BARRIER;
		body = fence_barrier(&fence, ha->op_ranges, PAGE);
		break;
	case ELECT_OP_LEAVE:
		ha->op_call = CALL_LEAVE;
		body = fence_leave(&fence);
		break;
	case ELECT_OP_NONE:
		return;
	}
	ha->op_kind = f->op;
	ha->op_token = f->token;
	ha->op.done = op_done;
	etcd_start(ha->etcd, &ha->op, ha->op_call, body, ha_in_ms(ha, limit));
}

static void renew_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, renew);
	struct elect_event ev = {.kind = ELECT_EV_RENEWED,
				 .token = ha->renew_token,
				 .result = result_of(call),
				 .sent_ms = call->sent_ms,
				 .ttl_s = (uint32_t)call->answer.ttl_s};
	wire_answer_fini(&call->answer);
	ha_step(ha, &ev);
}

static void list_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, list);
	struct elect_candidate queue[ELECT_CANDIDATES_MAX];
	struct elect_event ev = {.kind = ELECT_EV_LISTED, .token = ha->list_token};
	if (call->err.code == ERR_OK)
		ha_tell_queue(ha, &ev, &call->answer.ranges[0], call->answer.header.revision,
			      queue);
	ha_step(ha, &ev);
	wire_answer_fini(&call->answer);
}

static void ghost_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, ghost);
	wire_answer_fini(&call->answer);
	ha_step(ha, &(struct elect_event){.kind = ELECT_EV_HINT});
}

static void start_renew(struct ha *ha, const struct elect_effect *f)
{
	etcd_cancel(ha->etcd, &ha->renew);
	ha->renew_token = f->token;
	ha->renew.done = renew_done;
	etcd_start(ha->etcd, &ha->renew, CALL_RENEW, wire_lease(ha->elect.lease),
		   ha_in_ms(ha, ha->lease_ms / 2));
}

static void start_list(struct ha *ha, const struct elect_effect *f)
{
	struct fence fence = ha_fence_of(ha);
	etcd_cancel(ha->etcd, &ha->list);
	ha->list_token = f->token;
	ha->list.done = list_done;
	etcd_start(ha->etcd, &ha->list, CALL_RANGE, fence_candidates(&fence),
		   ha_in_ms(ha, ha->lease_ms / 2));
}

static void start_ghost(struct ha *ha, const struct elect_effect *f)
{
	if (ha->ghost.impl)
		return;
	struct fence fence = ha_fence_of(ha);
	const struct elect_candidate *c = &ha->elect.queue[f->index];
	char *key = mem_printf("%sleader/%s", ha->root, c->key);
	ha->ghost.done = ghost_done;
	etcd_start(ha->etcd, &ha->ghost, CALL_GHOST,
		   fence_ghost(&fence, &(struct fence_victim){key, c->create_revision}),
		   ha_in_ms(ha, ha->lease_ms / 2));
	free(key);
}

/* ---- roles ---- */

const char *ha_role_name(enum ha_role role)
{
	static const char *const names[] = {"STARTING", "FOLLOWING", "LEADING", "SUSPENDED"};
	return names[role];
}

static enum ha_role role_now(const struct ha *ha)
{
	switch (elect_role(&ha->elect)) {
	case ELECT_ROLE_STARTING:
		return HA_STARTING;
	case ELECT_ROLE_FOLLOWING:
		return HA_FOLLOWING;
	case ELECT_ROLE_LEADING:
		return HA_LEADING;
	case ELECT_ROLE_SUSPENDED:
		return HA_SUSPENDED;
	}
	return HA_STARTING;
}

static bool holds_the_lead(enum ha_role role)
{
	return role == HA_LEADING || role == HA_SUSPENDED;
}

static void role_changed(struct ha *ha, const char *why)
{
	enum ha_role before = ha->role, now = role_now(ha);
	if (before == now)
		return;
	ha->role = now;
	world_log(ha->w, LOG_LEVEL_INFO, "ha: %s -> %s epoch=%" PRIu64 ", %s", ha_role_name(before),
		  ha_role_name(now), ha->elect.epoch, why);
	upkeep_set_leading(&ha->upkeep, now == HA_LEADING);
	if (now == HA_FOLLOWING) {
		etcd_cancel(ha->etcd, &ha->barrier);
		ha_end_all_decisions(ha, why);
		ha_end_waiters(&ha->waiting, ERR_FENCED, why);
		ha_end_waiters(&ha->riding, ERR_FENCED, why);
	} else if (now == HA_SUSPENDED) {
		ha_end_waiters(&ha->waiting, ERR_UNAVAILABLE, "leadership is suspended");
	}
	struct docs hot = {0};
	struct ha_doc *view = NULL;
	if (holds_the_lead(now) && !holds_the_lead(before)) {
		hot = ha->hot;
		ha->hot = (struct docs){0};
		view = docs_view(ha, &hot);
		story_led(&ha->story, (struct epoch){ha->elect.epoch}, world_now_ms(ha->w),
			  world_wall_ms(ha->w));
	}
	ha->listener->on_role(ha->listener, now, (struct epoch){ha->elect.epoch}, view, hot.n);
	free(view);
	docs_fini(&hot);
}

/* ---- watch ---- */

static void watch_frame(struct etcd_watch *watch, const struct wire_frame *frame)
{
	struct ha *ha = MEM_OWNER(watch, struct ha, watch);
	size_t skip = strlen(ha->root) + strlen("leader/");
	bool look = false;
	for (size_t i = 0; i < frame->n_events; i++) {
		const struct wire_event *e = &frame->events[i];
		look |= !e->deleted;
		if (e->deleted && e->kv.key_len > skip)
			ha_step(ha, &(struct elect_event){.kind = ELECT_EV_DELETED,
							  .key = e->kv.key + skip,
							  .revision = e->kv.mod_revision});
	}
	if (look)
		ha_step(ha, &(struct elect_event){.kind = ELECT_EV_HINT});
}

static void watch_lost(struct etcd_watch *watch, const char *why)
{
	struct ha *ha = MEM_OWNER(watch, struct ha, watch);
	world_log(ha->w, LOG_LEVEL_DEBUG, "ha: watch lost: %s -> list and watch again", why);
	ha->watch_at_ms = ha_in_ms(ha, WATCH_AGAIN_MS);
	ha_step(ha, &(struct elect_event){.kind = ELECT_EV_HINT});
}

static bool wants_watch(const struct ha *ha)
{
	return ha->elect.epoch && ha->watch.impl == NULL && ha->elect.queue_revision &&
	       elect_state(&ha->elect) < ELECT_LEAVING;
}

/* From the revision of the queue that we know: nothing in between is missed. */
static void keep_watch(struct ha *ha)
{
	if (!wants_watch(ha) || world_now_ms(ha->w) < ha->watch_at_ms || ha->list.impl)
		return;
	char *key = fence_key(ha->root, "leader/");
	ha->watch.on_frame = watch_frame;
	ha->watch.on_lost = watch_lost;
	etcd_watch_start(ha->etcd, &ha->watch, key, ha->elect.queue_revision + 1, WATCH_SILENCE_MS);
	free(key);
}

/* ---- the core ---- */

static void carry_out(struct ha *ha, const struct elect_effect *f)
{
	switch (f->kind) {
	case ELECT_DO:
		start_op(ha, f);
		break;
	case ELECT_RENEW:
		start_renew(ha, f);
		break;
	case ELECT_LIST:
		start_list(ha, f);
		break;
	case ELECT_GHOST:
		start_ghost(ha, f);
		break;
	case ELECT_ROLE:
		role_changed(ha, f->text);
		break;
	case ELECT_MEMBERS:
		members_changed(ha);
		break;
	case ELECT_NOTE:
		world_log(ha->w, LOG_LEVEL_WARN, "elect: %s", f->text);
		break;
	}
}

/* Stepped down: key and lease are gone, the next candidacy has begun. */
static void came_back(struct ha *ha)
{
	struct ha_resign *r = ha->resign;
	ha->leaving = ha->coming_back = false;
	ha->resign = NULL;
	world_timer_cancel(ha->w, &ha->resign_limit);
	if (r)
		r->done(r);
}

static void left(struct ha *ha)
{
	struct ha_resign *r = ha->resign;
	ha->left = true;
	ha->resign = NULL;
	world_timer_cancel(ha->w, &ha->resign_limit);
	if (r)
		r->done(r);
}

static void step_core(struct ha *ha, struct elect_event *ev)
{
	struct elect_effects effects;
	ev->now_ms = world_now_ms(ha->w);
	ev->random = world_rand64(ha->w);
	elect_step(&ha->elect, ev, &effects);
	for (unsigned i = 0; i < effects.n; i++)
		carry_out(ha, &effects.at[i]);
}

/* Before the answer that shows it has any effect. The watch waits for a revision that is no
 * more. */
static void halt(struct ha *ha)
{
	etcd_watch_cancel(ha->etcd, &ha->watch);
	ha->watch_at_ms = ha_in_ms(ha, WATCH_AGAIN_MS);
	step_core(ha, &(struct elect_event){.kind = ELECT_EV_REGRESSED});
}

void ha_step(struct ha *ha, struct elect_event *ev)
{
	struct etcd_view v;
	etcd_view(ha->etcd, &v);
	ha->halted |= v.regressed;
	bool was_leaving = elect_state(&ha->elect) == ELECT_LEAVING;
	if (ha->halted && !ha->elect.halted)
		halt(ha);
	step_core(ha, ev);
	keep_watch(ha);
	uint64_t at = elect_wake_ms(&ha->elect);
	if (wants_watch(ha) && ha->list.impl == NULL && ha->watch_at_ms < at)
		at = ha->watch_at_ms;
	if (at != UINT64_MAX)
		world_timer_arm(ha->w, &ha->wake, at);
	else
		world_timer_cancel(ha->w, &ha->wake);
	if (elect_state(&ha->elect) == ELECT_LEFT && !ha->left)
		left(ha);
	else if (was_leaving && elect_state(&ha->elect) == ELECT_STARTING)
		came_back(ha);
}

static void woke(struct world_timer *t)
{
	ha_step(MEM_OWNER(t, struct ha, wake), &(struct elect_event){.kind = ELECT_EV_TIME});
}

/* ---- what was asked for from outside ---- */

static void leave(struct ha *ha)
{
	enum elect_event_kind kind = ha->coming_back ? ELECT_EV_STEP_DOWN : ELECT_EV_RESIGN;
	bool no_candidacy = elect_state(&ha->elect) == ELECT_STARTING;
	ha_step(ha, &(struct elect_event){.kind = kind});
	if (ha->coming_back && no_candidacy)
		came_back(ha); /* there was nothing to leave */
}

static void begin_leaving(struct ha *ha)
{
	bool under_way = elect_state(&ha->elect) == ELECT_LEAVING && ha->coming_back;
	if (elect_state(&ha->elect) <= ELECT_LEAVING && ha->leaving && !under_way &&
	    list_empty(&ha->decisions))
		leave(ha);
}

static void next_turn(struct world_timer *t)
{
	struct ha *ha = MEM_OWNER(t, struct ha, soon);
	struct list ended;
	list_init(&ended);
	while (!list_empty(&ha->ended)) {
		struct list *hook = ha->ended.next;
		list_remove(hook);
		list_append(&ended, hook);
	}
	while (!list_empty(&ended)) {
		struct pending *p = MEM_OWNER(ended.next, struct pending, hook);
		struct err e = p->err;
		ha_end_decision(p, e.code, e.text, 0);
	}
	while (!list_empty(&ha->refused)) {
		struct waiter *b = MEM_OWNER(ha->refused.next, struct waiter, hook);
		struct err e = b->err;
		ha_end_waiter(b, e.code, e.text);
	}
	if (ha->outrun) {
		ha->outrun = false;
		ha_step(ha, &(struct elect_event){.kind = ELECT_EV_OUTRUN});
	}
	while (!list_empty(&ha->verdicts)) {
		struct verdict *v = MEM_OWNER(ha->verdicts.next, struct verdict, hook);
		bool alive = v->cause == HA_CAUSE_NONE;
		list_remove(&v->hook);
		if (alive || v->cause == HA_CAUSE_SUSPECTED || !ha_doubted(ha, v->instance))
			story_verdict(&ha->story, v->instance, v->cause, v->why,
				      world_now_ms(ha->w));
		ha_step(ha, &(struct elect_event){.kind = alive ? ELECT_EV_ALIVE : ELECT_EV_DEAD,
						  .instance = v->instance,
						  .suspected = v->cause == HA_CAUSE_SUSPECTED});
		free(v);
	}
	begin_leaving(ha);
}

const char *ha_cause_name(enum ha_cause cause)
{
	static const char *const names[] = {"none",          "first-leader", "killed",
					    "replaced",      "resigned",     "suspected",
					    "lease-expired", "key-lost"};
	return names[cause];
}

static void note_verdict(struct ha *ha, const char *instance, enum ha_cause cause, const char *why)
{
	struct verdict *v = mem_alloc(sizeof *v);
	v->cause = cause;
	snprintf(v->instance, sizeof v->instance, "%s", instance);
	snprintf(v->why, sizeof v->why, "%s", why);
	list_append(&ha->verdicts, &v->hook);
	ha_turn_soon(ha);
}

void ha_declare_dead(struct ha *ha, const char *instance, enum ha_cause cause, const char *why)
{
	assert(cause == HA_CAUSE_KILLED || cause == HA_CAUSE_REPLACED ||
	       cause == HA_CAUSE_SUSPECTED);
	world_log(ha->w, LOG_LEVEL_INFO, "ha: instance=%s given up (%s): %s", instance,
		  ha_cause_name(cause), why);
	note_verdict(ha, instance, cause, why);
}

void ha_take_back(struct ha *ha, const char *instance)
{
	note_verdict(ha, instance, HA_CAUSE_NONE, "");
}

void ha_outrun(struct ha *ha)
{
	ha->outrun = true;
	ha_turn_soon(ha);
}

bool ha_doubted(struct ha *ha, const char *instance)
{
	return elect_doubts(&ha->elect, instance, world_now_ms(ha->w));
}

void ha_note_sign(struct ha *ha, const char *instance, enum ha_sign sign, uint64_t at_ms)
{
	story_sign(&ha->story, instance, sign, at_ms);
}

const struct ha_takeover *ha_takeover(const struct ha *ha)
{
	return &ha->story.told;
}

static void resign_limit(struct world_timer *t)
{
	struct ha *ha = MEM_OWNER(t, struct ha, resign_limit);
	if (elect_state(&ha->elect) >= ELECT_LEAVING) {
		if (!ha->left && !ha->coming_back)
			left(ha);
		return;
	}
	/* The decision in hand has had its time. */
	world_timer_arm(ha->w, &ha->resign_limit, ha_in_ms(ha, ha->lease_ms / 8));
	leave(ha);
}

void ha_step_down(struct ha *ha, struct ha_resign *r)
{
	assert(!ha->leaving);
	ha->leaving = ha->coming_back = true;
	ha->resign = r;
	world_timer_arm(ha->w, &ha->resign_limit, ha_in_ms(ha, ha->lease_ms / 8));
	ha_turn_soon(ha);
}

void ha_resign(struct ha *ha, struct ha_resign *r)
{
	assert(!ha->leaving || ha->coming_back);
	ha->leaving = true;
	ha->coming_back = false;
	ha->resign = r;
	world_timer_arm(ha->w, &ha->resign_limit, ha_in_ms(ha, ha->lease_ms / 8));
	ha_turn_soon(ha);
}

/* ---- life ---- */

static void init_lists(struct ha *ha)
{
	list_init(&ha->decisions);
	list_init(&ha->ended);
	list_init(&ha->readings);
	list_init(&ha->askings);
	list_init(&ha->waiting);
	list_init(&ha->riding);
	list_init(&ha->refused);
	list_init(&ha->verdicts);
}

struct ha *ha_create(struct world *w, const struct ha_config *config, struct ha_listener *l)
{
	uint32_t lease_s = config->lease_s ? config->lease_s : 5;
	uint32_t renew_ms = config->renew_ms ? config->renew_ms : 500;
	struct ha *ha = mem_alloc(sizeof *ha);
	ha->w = w;
	ha->listener = l;
	ha->root = mem_printf("/%s/%s/", config->prefix, config->cluster);
	ha->value = own_value(w, config);
	ha->lease_ms = (uint64_t)lease_s * 1000;
	snprintf(ha->instance, sizeof ha->instance, "%s", config->instance);
	init_lists(ha);
	ha->etcd =
		etcd_create(w, &(struct etcd_config){
				       .endpoints = config->endpoints,
				       .n_endpoints = config->n_endpoints,
				       .user = config->user,
				       .password = config->password,
				       .tls = config->tls,
				       .attempt_ms = config->attempt_ms ? config->attempt_ms : 300,
				       .attempt_max_ms = ha->lease_ms / 4,
			       });
	struct elect_config core = {
		.lease_s = lease_s, .renew_ms = renew_ms, .relist_ms = RELIST_MS};
	snprintf(core.instance, sizeof core.instance, "%s", config->instance);
	elect_init(&ha->elect, &core, world_now_ms(w));
	upkeep_init(&ha->upkeep, w, ha->etcd, config->dedicated, !config->fixed);
	ha->wake.fire = woke;
	ha->soon.fire = next_turn;
	ha->barrier_gap.fire = ha_barrier_gap_over;
	ha->resign_limit.fire = resign_limit;
	world_timer_arm(w, &ha->wake, 0);
	return ha;
}

static void free_pending(struct list *from)
{
	while (!list_empty(from)) {
		struct pending *p = MEM_OWNER(from->next, struct pending, hook);
		etcd_cancel(p->ha->etcd, &p->call);
		list_remove(&p->hook);
		p->txn->impl = NULL;
		free(p);
	}
}

static void free_waiters(struct list *from)
{
	while (!list_empty(from)) {
		struct waiter *b = MEM_OWNER(from->next, struct waiter, hook);
		list_remove(&b->hook);
		b->barrier->impl = NULL;
		free(b);
	}
}

void ha_destroy(struct ha *ha)
{
	if (ha == NULL)
		return;
	world_timer_cancel(ha->w, &ha->wake);
	world_timer_cancel(ha->w, &ha->soon);
	world_timer_cancel(ha->w, &ha->barrier_gap);
	world_timer_cancel(ha->w, &ha->resign_limit);
	upkeep_fini(&ha->upkeep);
	free_pending(&ha->decisions);
	free_pending(&ha->ended);
	free_waiters(&ha->waiting);
	free_waiters(&ha->riding);
	free_waiters(&ha->refused);
	while (!list_empty(&ha->readings))
		ha_reading_free(MEM_OWNER(ha->readings.next, struct reading, hook));
	while (!list_empty(&ha->askings))
		ha_asking_free(MEM_OWNER(ha->askings.next, struct asking, hook));
	while (!list_empty(&ha->verdicts)) {
		struct verdict *v = MEM_OWNER(ha->verdicts.next, struct verdict, hook);
		list_remove(&v->hook);
		free(v);
	}
	etcd_destroy(ha->etcd);
	docs_fini(&ha->hot);
	wire_answer_fini(&ha->opening);
	free(ha->slots);
	free(ha->root);
	free(ha->value);
	free(ha);
}

void ha_status(struct ha *ha, struct ha_status *out)
{
	struct etcd_view v;
	uint64_t now = world_now_ms(ha->w);
	bool ours = holds_the_lead(ha->role);
	etcd_view(ha->etcd, &v);
	*out = (struct ha_status){.role = ha->role,
				  .members = ha->members,
				  .n_members = ha->n_members,
				  .revision = v.revision,
				  .db_bytes = ha->upkeep.db_bytes,
				  .db_quota_bytes = ha->upkeep.db_quota_bytes,
				  .nospace = ha->upkeep.nospace,
				  .etcd = v.members,
				  .tries = v.tries,
				  .regressed = v.regressed || ha->halted};
	out->epoch.v = ours ? ha->elect.epoch : ha->n_members ? ha->members[0].create_revision : 0;
	if (ha->elect.deadline_ms > now)
		out->lease_left_ms = ha->elect.deadline_ms - now;
	snprintf(out->trouble, sizeof out->trouble, "%s",
		 v.regressed  ? v.regress_why
		 : ha->halted ? ha->halt_why
			      : v.trouble);
	snprintf(out->endpoint, sizeof out->endpoint, "%s", v.endpoint);
}
