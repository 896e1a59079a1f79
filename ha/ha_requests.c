/*
 * What the JobManager asks of etcd through the driver: decisions, reads, how fresh
 * somebody's lease is, and barriers.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ha/ha_inside.h"
#include "ha/mutant.h"

enum {
	BARRIER_GAP_MS = 50, /* at most 20 shared barriers a second */
	SLOTS_MAX = 1 << 15,
};

/* ---- decisions ---- */

void ha_end_decision(struct pending *p, enum errc code, const char *text, uint64_t revision)
{
	struct ha *ha = p->ha;
	struct ha_txn *t = p->txn;
	etcd_cancel(ha->etcd, &p->call);
	list_remove(&p->hook);
	if (p->slot < ha->n_slots && ha->slots[p->slot] == p)
		ha->slots[p->slot] = NULL;
	free(p);
	t->err.code = code;
	snprintf(t->err.text, sizeof t->err.text, "%s", text);
	t->chain_revision_after = revision;
	t->impl = NULL;
	if (ha->leaving)
		ha_turn_soon(ha);
	t->done(t);
}

void ha_end_all_decisions(struct ha *ha, const char *why)
{
	while (!list_empty(&ha->decisions))
		ha_end_decision(MEM_OWNER(ha->decisions.next, struct pending, hook), ERR_FENCED,
				why, 0);
}

static void decision_done(struct etcd_call *call);

static void send_decision(struct pending *p)
{
	struct ha *ha = p->ha;
	struct fence f = ha_fence_of(ha);
	p->call.done = decision_done;
	uint64_t deadline = MUTANT_UNKNOWN_AS_FAILED ? ha_in_ms(ha, 300) : 0;
	etcd_start(ha->etcd, &p->call, CALL_DECISION,
		   fence_decision(&f, p->txn, p->slot, p->number), deadline);
}

/* The predicate refused one: this one ends, and the core learns who leads. */
static void deposed(struct pending *p, struct etcd_call *call, const char *text)
{
	struct ha *ha = p->ha;
	struct wire_answer answer = call->answer;
	struct elect_candidate queue[ELECT_CANDIDATES_MAX];
	struct elect_event ev = {.kind = ELECT_EV_DEPOSED};
	if (call->err.code == ERR_OK)
		ha_tell_queue(ha, &ev, fence_queue(CALL_DECISION, &answer), answer.header.revision,
			      queue);
	ha_end_decision(p, ERR_FENCED, text, 0);
	ha_step(ha, &ev);
	wire_answer_fini(&answer);
}

static void decision_answered(struct pending *p, struct etcd_call *call)
{
	struct ha *ha = p->ha;
	struct fence f = ha_fence_of(ha);
	struct fence_outcome o;
	struct etcd_view v;
	etcd_view(ha->etcd, &v);
	fence_judge(&f, p->txn, p->slot, p->number, &call->answer, &o);
	if (o.verdict == FENCE_DEPOSED) {
		deposed(p, call, o.text);
		return;
	}
	wire_answer_fini(&call->answer);
	if (o.verdict == FENCE_REGRESSED) {
		ha->halted = true;
		snprintf(ha->halt_why, sizeof ha->halt_why, "the store went back in time: %s",
			 o.text);
		world_log(ha->w, LOG_LEVEL_ERROR, "%s", ha->halt_why);
	}
	if (ha->halted || v.regressed || o.verdict == FENCE_REGRESSED) {
		ha_end_decision(p, ERR_CORRUPT, "the store went back in time", 0);
		ha_step(ha, &(struct elect_event){.kind = ELECT_EV_REGRESSED});
	} else if (o.verdict == FENCE_DONE) {
		ha_end_decision(p, ERR_OK, "", o.revision);
	} else if (o.verdict == FENCE_CONFLICT) {
		ha_end_decision(p, ERR_CONFLICT, o.text, 0);
	} else {
		send_decision(p);
	}
}

static void decision_done(struct etcd_call *call)
{
	struct pending *p = MEM_OWNER(call, struct pending, call);
	if (call->err.code == ERR_OK) {
		decision_answered(p, call);
		return;
	}
	wire_answer_fini(&call->answer);
	struct err e = call->err;
	switch (e.code) {
	case ERR_NOTFOUND: /* the tag's lease, which is ours, is gone */
		deposed(p, call, "the lease is gone");
		return;
	case ERR_LIMIT:
	case ERR_UNAVAILABLE:
	case ERR_INVALID:
		break;
	case ERR_EXISTS:
	case ERR_CONFLICT:
	case ERR_FENCED:
	case ERR_CORRUPT:
		e.code = ERR_INVALID;
		break;
	case ERR_OK:
	case ERR_AGAIN:
	case ERR_NOTSENT:
	case ERR_UNKNOWN: /* not without a deadline */
	case ERR_DENIED:
	case ERR_IO:
	case ERR_CANCELED:
	case ERR_COUNT:
		e.code = ERR_UNAVAILABLE;
		break;
	}
	ha_end_decision(p, e.code, e.text, 0);
}

static void chain_is_free(const struct ha *ha, const struct ha_txn *t)
{
	for (unsigned i = 0; i < ha->n_slots; i++)
		assert(ha->slots[i] == NULL ||
		       strcmp(ha->slots[i]->txn->chain_key, t->chain_key) != 0);
}

static unsigned free_slot(struct ha *ha, struct pending *p)
{
	unsigned i = 0;
	while (i < ha->n_slots && ha->slots[i])
		i++;
	assert(i < SLOTS_MAX);
	if (i == ha->n_slots) {
		unsigned n = ha->n_slots ? ha->n_slots * 2 : 16;
		ha->slots = mem_resize(ha->slots, n, sizeof(struct pending *));
		memset(ha->slots + ha->n_slots, 0, (n - ha->n_slots) * sizeof(struct pending *));
		ha->n_slots = n;
	}
	ha->slots[i] = p;
	return i;
}

/* Why no decision can be taken now; ERR_OK if one can. */
static enum errc may_decide(const struct ha *ha, struct err *e)
{
	struct etcd_view v;
	etcd_view(ha->etcd, &v);
	if (ha->halted || v.regressed)
		return err_set(e, ERR_CORRUPT, "%s", v.regressed ? v.regress_why : ha->halt_why);
	/* A process that was paused may be asked before its own timer tells it so. */
	bool late = ha->role == HA_LEADING && world_now_ms(ha->w) >= ha->elect.deadline_ms;
	if (ha->role == HA_SUSPENDED || late)
		return err_set(e, ERR_UNAVAILABLE, "leadership is suspended: etcd does not answer");
	if (ha->role != HA_LEADING)
		return err_set(e, ERR_FENCED, "not the leader");
	if (ha->leaving)
		return err_set(e, ERR_UNAVAILABLE, "handing the lead over");
	return ERR_OK;
}

void ha_decide(struct ha *ha, struct ha_txn *t)
{
	assert(t->impl == NULL && t->n_ops > 0);
	struct pending *p = mem_alloc(sizeof *p);
	p->ha = ha;
	p->txn = t;
	t->impl = p;
	t->err = (struct err){0};
	t->chain_revision_after = 0;
	if (may_decide(ha, &p->err) || fence_check(t, &p->err)) {
		p->slot = SLOTS_MAX;
		list_append(&ha->ended, &p->hook);
		ha_turn_soon(ha);
		return;
	}
	chain_is_free(ha, t);
	p->slot = free_slot(ha, p);
	p->number = ++ha->numbers;
	list_append(&ha->decisions, &p->hook);
	send_decision(p);
}

/* ---- reads ---- */

void ha_reading_free(struct reading *r)
{
	etcd_cancel(r->ha->etcd, &r->call);
	list_remove(&r->hook);
	r->read->impl = NULL;
	docs_fini(&r->docs);
	free(r->key);
	free(r);
}

static void read_page_done(struct etcd_call *call);

static void read_page(struct reading *r)
{
	struct wire_op op = {.kind = WIRE_RANGE,
			     .key = r->key,
			     .prefix = r->prefix,
			     .after = r->docs.n ? r->docs.kvs[r->docs.n - 1].key : NULL,
			     .limit = r->prefix ? PAGE : 0,
			     .revision = r->revision};
	r->call.done = read_page_done;
	etcd_start(r->ha->etcd, &r->call, CALL_RANGE, wire_range(&op), r->deadline_ms);
}

static void read_finished(struct reading *r, const struct err *e)
{
	struct ha_read *read = r->read;
	struct docs docs = r->docs;
	struct ha_doc *view = docs_view(r->ha, &docs);
	read->err = *e;
	if (e->code == ERR_UNKNOWN || e->code == ERR_NOTSENT)
		read->err.code = ERR_UNAVAILABLE;
	read->docs = view;
	read->n_docs = e->code == ERR_OK ? docs.n : 0;
	read->revision = r->revision;
	r->docs = (struct docs){0};
	ha_reading_free(r);
	read->done(read); /* the read itself may be gone afterwards */
	free(view);
	docs_fini(&docs);
}

static void read_page_done(struct etcd_call *call)
{
	struct reading *r = MEM_OWNER(call, struct reading, call);
	bool ok = call->err.code == ERR_OK;
	bool more = ok && r->prefix && call->answer.ranges[0].more && call->answer.ranges[0].n;
	if (ok) {
		if (r->revision == 0)
			r->revision = call->answer.header.revision;
		docs_take(&r->docs, &call->answer.ranges[0]);
	}
	wire_answer_fini(&call->answer);
	if (more)
		read_page(r);
	else
		read_finished(r, &call->err);
}

void ha_get(struct ha *ha, struct ha_read *read, const char *key, bool prefix, uint64_t at_revision)
{
	assert(read->impl == NULL);
	struct reading *r = mem_alloc(sizeof *r);
	r->ha = ha;
	r->read = read;
	r->key = fence_key(ha->root, key);
	r->prefix = prefix;
	r->revision = at_revision;
	r->deadline_ms = ha_in_ms(ha, ha->lease_ms * 2);
	read->impl = r;
	list_append(&ha->readings, &r->hook);
	read_page(r);
}

void ha_get_cancel(struct ha *ha, struct ha_read *read)
{
	(void)ha;
	if (read->impl)
		ha_reading_free(read->impl);
}

/* ---- how fresh is somebody's lease? ---- */

void ha_asking_free(struct asking *a)
{
	etcd_cancel(a->ha->etcd, &a->call);
	list_remove(&a->hook);
	a->renewal->impl = NULL;
	free(a);
}

static void renewal_done(struct etcd_call *call)
{
	struct asking *a = MEM_OWNER(call, struct asking, call);
	struct ha_renewal *r = a->renewal;
	r->err = call->err;
	if (r->err.code != ERR_OK)
		r->err.code = ERR_UNAVAILABLE;
	r->left_s = call->answer.ttl_s;
	r->granted_s = call->answer.granted_s;
	wire_answer_fini(&call->answer);
	ha_asking_free(a);
	r->done(r);
}

static uint64_t lease_of(const struct ha *ha, const char *instance) /* 0: not a candidate */
{
	for (unsigned i = 0; i < ha->elect.n_queue; i++)
		if (strcmp(ha->elect.queue[i].instance, instance) == 0)
			return strtoull(ha->elect.queue[i].key, NULL, 16);
	return 0;
}

void ha_renewal(struct ha *ha, struct ha_renewal *r, const char *instance)
{
	assert(r->impl == NULL);
	struct asking *a = mem_alloc(sizeof *a);
	a->ha = ha;
	a->renewal = r;
	a->call.done = renewal_done;
	r->err = (struct err){0};
	r->impl = a;
	list_append(&ha->askings, &a->hook);
	etcd_start(ha->etcd, &a->call, CALL_TTL, wire_lease(lease_of(ha, instance)),
		   ha_in_ms(ha, ha->lease_ms / 4));
}

void ha_renewal_cancel(struct ha *ha, struct ha_renewal *r)
{
	(void)ha;
	if (r->impl)
		ha_asking_free(r->impl);
}

/* ---- barriers for others ---- */

void ha_end_waiter(struct waiter *b, enum errc code, const char *text)
{
	struct ha_barrier *barrier = b->barrier;
	list_remove(&b->hook);
	free(b);
	barrier->impl = NULL;
	barrier->err.code = code;
	snprintf(barrier->err.text, sizeof barrier->err.text, "%s", text);
	barrier->done(barrier);
}

/* Ends those who are on the list now; who joins meanwhile waits for the next. */
void ha_end_waiters(struct list *from, enum errc code, const char *text)
{
	struct list now;
	list_init(&now);
	while (!list_empty(from)) {
		struct list *hook = from->next;
		list_remove(hook);
		list_append(&now, hook);
	}
	while (!list_empty(&now))
		ha_end_waiter(MEM_OWNER(now.next, struct waiter, hook), code, text);
}

static void barrier_done(struct etcd_call *call);

static void start_barrier(struct ha *ha)
{
	uint64_t now = world_now_ms(ha->w);
	if (ha->barrier.impl || list_empty(&ha->waiting) || ha->role != HA_LEADING)
		return;
	if (now < ha->barrier_at_ms) {
		if (!world_timer_armed(&ha->barrier_gap))
			world_timer_arm(ha->w, &ha->barrier_gap, ha->barrier_at_ms);
		return;
	}
	while (!list_empty(&ha->waiting)) {
		struct list *hook = ha->waiting.next;
		list_remove(hook);
		list_append(&ha->riding, hook);
	}
	struct fence f = ha_fence_of(ha);
	ha->barrier_at_ms = now + BARRIER_GAP_MS;
	ha->barrier.done = barrier_done;
	etcd_start(ha->etcd, &ha->barrier, CALL_BARRIER, fence_barrier(&f, false, 0),
		   now + ha->lease_ms / 2);
}

void ha_barrier_gap_over(struct world_timer *t)
{
	start_barrier(MEM_OWNER(t, struct ha, barrier_gap));
}

static void barrier_done(struct etcd_call *call)
{
	struct ha *ha = MEM_OWNER(call, struct ha, barrier);
	struct wire_answer answer = call->answer;
	if (call->err.code != ERR_OK) {
		ha_end_waiters(&ha->riding, ERR_UNAVAILABLE, call->err.text);
	} else if (answer.succeeded) {
		ha_end_waiters(&ha->riding, ERR_OK, "");
	} else {
		struct elect_candidate queue[ELECT_CANDIDATES_MAX];
		struct elect_event ev = {.kind = ELECT_EV_DEPOSED};
		ha_tell_queue(ha, &ev, fence_queue(CALL_BARRIER, &answer), answer.header.revision,
			      queue);
		ha_end_waiters(&ha->riding, ERR_FENCED, "no longer the leader");
		ha_step(ha, &ev);
	}
	wire_answer_fini(&answer);
	start_barrier(ha);
}

void ha_barrier(struct ha *ha, struct ha_barrier *b)
{
	assert(b->impl == NULL);
	struct waiter *waiter = mem_alloc(sizeof *waiter);
	waiter->barrier = b;
	b->impl = waiter;
	if (may_decide(ha, &waiter->err)) {
		list_append(&ha->refused, &waiter->hook);
		ha_turn_soon(ha);
		return;
	}
	list_append(&ha->waiting, &waiter->hook);
	start_barrier(ha);
}

void ha_barrier_cancel(struct ha *ha, struct ha_barrier *b)
{
	(void)ha;
	struct waiter *waiter = b->impl;
	if (waiter == NULL)
		return;
	list_remove(&waiter->hook);
	free(waiter);
	b->impl = NULL;
}
