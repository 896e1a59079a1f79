#include "jobmanager/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "jobmanager/inspect.h"
#include "jobmanager/node_inside.h"

static void run(struct history *h);

static void again(struct world_timer *t)
{
	run(MEM_OWNER(t, struct history, timer));
}

static void later(struct history *h, uint64_t ms)
{
	h->timer.fire = again;
	world_timer_arm(h->node->w, &h->timer, world_now_ms(h->node->w) + ms);
}

void history_init(struct history *h, struct jm_node *n)
{
	*h = (struct history){.node = n};
	failovers_init(&h->ring);
}

void history_fini(struct history *h)
{
	world_timer_cancel(h->node->w, &h->timer);
	if (h->read.impl != NULL)
		ha_get_cancel(h->node->ha, &h->read);
	failovers_fini(&h->ring);
	free(h->text);
}

/* ---- our record ---- */

static void put_record(struct history *h)
{
	const struct jm_node *n = h->node;
	const struct ha_takeover *t = ha_takeover(n->ha);
	const struct failover r = {.epoch = n->epoch.v,
				   .before_epoch = t->before.v,
				   .leader = n->config.ha.id,
				   .leader_instance = n->instance,
				   .before = t->before_id,
				   .before_instance = t->before_instance,
				   .before_address = t->before_address,
				   .cause = ha_cause_name(t->cause),
				   .why = t->why,
				   .wall_ms = t->read_wall_ms,
				   .heard_ms = t->heard_ms,
				   .suspected_ms = t->suspected_ms,
				   .confirmed_ms = t->confirmed_ms,
				   .key_gone_ms = t->key_gone_ms,
				   .barrier_ms = t->barrier_ms,
				   .read_ms = t->read_ms,
				   .did = jm_view_counts(n->jm)->takeover};
	failovers_put(&h->ring, &r);
}

/* Everything that was taken over is settled: worth telling, though a command may still come. */
static bool settled(const struct history *h)
{
	return jm_view_counts(h->node->jm)->takeover.settled_ms != 0;
}

/* Nothing will change any more: where jobs go on, a first command has been sent. */
static bool complete(const struct history *h)
{
	const struct counts_takeover *t = &jm_view_counts(h->node->jm)->takeover;
	struct jm_cluster_view c;
	jm_view_cluster(h->node->jm, &c);
	if (settled(h) && (t->first_command_ms || c.jobs_running == 0))
		return true;
	return world_now_ms(h->node->w) >= t->began_ms + HISTORY_PATIENCE_MS;
}

/* ---- the store ---- */

static void was_read(struct ha_read *r)
{
	struct history *h = MEM_OWNER(r, struct history, read);
	if (!h->leading)
		return;
	if (r->err.code != ERR_OK) {
		later(h, HISTORY_RETRY_MS);
		return;
	}
	const struct ha_doc *doc = r->n_docs ? &r->docs[0] : NULL;
	failovers_read(&h->ring, doc ? doc->value : NULL, doc ? doc->len : 0);
	h->revision = doc ? doc->mod_revision : 0;
	h->known = true;
	h->dirty = true;
	run(h);
}

static void was_written(struct ha_txn *t)
{
	struct history *h = MEM_OWNER(t, struct history, txn);
	free(h->text);
	h->text = NULL;
	if (!h->leading || t->err.code == ERR_FENCED)
		return;
	if (t->err.code == ERR_OK) {
		h->revision = t->chain_revision_after;
	} else {
		h->known = t->err.code != ERR_CONFLICT; /* read it again */
		h->dirty = true;
		later(h, HISTORY_RETRY_MS);
	}
	run(h);
}

static void write_ring(struct history *h)
{
	char tag[80];
	snprintf(tag, sizeof(tag), "%.32s/%" PRIu64, h->node->instance, h->revision);
	put_record(h);
	h->dirty = false;
	h->text = failovers_text(&h->ring, tag);
	h->op = (struct ha_op){.key = FAILOVERS_KEY, .value = h->text, .len = strlen(h->text)};
	h->txn = (struct ha_txn){.chain_key = FAILOVERS_KEY,
				 .chain_revision = h->revision,
				 .ops = &h->op,
				 .n_ops = 1,
				 .done = was_written};
	ha_decide(h->node->ha, &h->txn);
}

static void run(struct history *h)
{
	bool busy = h->read.impl != NULL || h->txn.impl != NULL || h->text != NULL;
	if (!h->leading || busy || h->node->role != HA_LEADING || world_timer_armed(&h->timer))
		return;
	if (!h->known) {
		h->read = (struct ha_read){.done = was_read};
		ha_get(h->node->ha, &h->read, FAILOVERS_KEY, false, 0);
		return;
	}
	if (!h->closed && complete(h))
		h->closed = h->told = h->dirty = true;
	if (!h->told && settled(h))
		h->told = h->dirty = true;
	if (h->dirty)
		write_ring(h);
	else if (!h->closed)
		later(h, HISTORY_PATIENCE_MS);
}

/* ---- what the node tells ---- */

void history_lead(struct history *h)
{
	h->leading = true;
	h->known = h->told = h->closed = false;
	later(h, HISTORY_LATER_MS);
}

void history_follow(struct history *h)
{
	h->leading = false;
	world_timer_cancel(h->node->w, &h->timer);
	if (h->read.impl != NULL) {
		ha_get_cancel(h->node->ha, &h->read);
		h->read.impl = NULL;
	}
}

void history_look(struct history *h)
{
	if (!h->leading || h->closed || !h->known)
		return;
	if (!complete(h) && (h->told || !settled(h)))
		return;
	world_timer_cancel(h->node->w, &h->timer);
	run(h);
}

json_t *history_json(const struct history *h)
{
	json_t *list = json_array(), *record;
	size_t n = json_array_size(h->ring.list);
	for (size_t i = n; i-- > 0;) {
		record = json_array_get(h->ring.list, i);
		json_array_append(list, record);
	}
	return json_pack("{s:o, s:O, s:b}", "failovers", list, "causes", h->ring.causes, "complete",
			 h->known);
}
