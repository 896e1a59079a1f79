/*
 * Three candidates on a simulated etcd of three, under crashes, pauses,
 * partitions and resignations, without space at times, some with stale reads.
 * 200 seeds, or WEIR_SEEDS; WEIR_SEED runs one and prints it.
 *
 * Each leader counts up two documents, one decision after the other; a value
 * names its epoch, its count and the number of the try. Checked at every change of
 * the store:
 *  - the epoch in the value is that of the first candidate in the queue then
 *    (so only one epoch's decisions are carried out at a time, and epochs grow);
 *  - the count is the one before and one (so none is carried out over a later
 *    decision, and none twice);
 * and at every answer that a leader gets:
 *  - OK was carried out; what was refused never is.
 * In seeds without verdicts of death, no two processes believe at the same time
 * that their lease holds and that they lead. At the end everything heals, and
 * one must lead and decide.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/text.h"
#include "ha/ha.h"
#include "world/sim/sim.h"
#include "world/sim/sim_etcd.h"

enum {
	NODES = 3,
	CHAINS = 2,
	QUEUE_MAX = 64,
	TRIES_MAX = 1 << 16,
	RUN_MS = 40000,
	HEAL_MS = 60000
};

enum fate { FATE_OPEN, FATE_APPLIED, FATE_REFUSED };

struct check {
	uint64_t seed;
	struct sim *sim;
	struct sim_etcd *etcd;
	struct {
		char key[96];
		uint64_t create;
	} queue[QUEUE_MAX]; /* candidates in the store */
	unsigned n_queue;
	uint64_t counts[CHAINS];
	uint64_t epoch;
	enum fate *tries; /* of every decision ever tried */
	unsigned n_tries;
	uint64_t applied, epochs, verdicts;
	bool failed, verbose;
};

static void fail(struct check *k, const char *what, const char *detail)
{
	printf("seed %" PRIu64 " at %" PRIu64 " ms: %s: %s\n", k->seed, sim_now_us(k->sim) / 1000,
	       what, detail);
	k->failed = true;
}

/* ---- the program of a node ---- */

struct node;

struct chain {
	struct node *node;
	unsigned number;
	char key[16], value[96];
	uint64_t revision, count;
	unsigned try_number;
	struct ha_op op;
	struct ha_txn txn;
	struct ha_read read;
	struct world_timer next;
};

struct node {
	struct check *k;
	struct world *w;
	struct ha *ha;
	struct ha_listener listener;
	char id[16], instance[ID_TEXT], address[32];
	struct chain chains[CHAINS];
	struct ha_resign resign;
	bool resigning;
	enum ha_role role;
	uint64_t epoch;
};

static void decide_later(struct chain *c)
{
	world_timer_arm(c->node->w, &c->next,
			world_now_ms(c->node->w) + 5 + world_rand64(c->node->w) % 100);
}

static void decided(struct ha_txn *t)
{
	struct chain *c = MEM_OWNER(t, struct chain, txn);
	struct check *k = c->node->k;
	enum fate *fate = &k->tries[c->try_number];
	if (t->err.code == ERR_OK) {
		if (*fate != FATE_APPLIED)
			fail(k, "said OK, was not carried out", c->value);
		c->revision = t->chain_revision_after;
		c->count++;
	} else if (t->err.code != ERR_FENCED) {
		if (*fate == FATE_APPLIED)
			fail(k, "said to be refused, was carried out", c->value);
		*fate = FATE_REFUSED;
	}
	if (c->node->role == HA_LEADING)
		decide_later(c);
}

static void decide(struct world_timer *timer)
{
	struct chain *c = MEM_OWNER(timer, struct chain, next);
	struct node *n = c->node;
	if (n->role != HA_LEADING || c->txn.impl || n->k->n_tries == TRIES_MAX)
		return;
	c->try_number = n->k->n_tries++;
	snprintf(c->value, sizeof c->value,
		 "{\"epoch\":%" PRIu64 ",\"count\":%" PRIu64 ",\"try\":%u}", n->epoch, c->count + 1,
		 c->try_number);
	c->op = (struct ha_op){c->key, c->value, strlen(c->value)};
	c->txn = (struct ha_txn){.chain_key = c->key,
				 .chain_revision = c->revision,
				 .ops = &c->op,
				 .n_ops = 1,
				 .done = decided};
	ha_decide(n->ha, &c->txn);
}

struct value {
	uint64_t epoch, count, number;
};

static bool read_value(const char *text, struct value *v)
{
	json_t *o = NULL;
	bool ok = json_parse(text, strlen(text), &o, NULL) == ERR_OK &&
		  json_get_u64(o, "", "epoch", &v->epoch, NULL) == ERR_OK &&
		  json_get_u64(o, "", "count", &v->count, NULL) == ERR_OK &&
		  json_get_u64(o, "", "try", &v->number, NULL) == ERR_OK;
	json_decref(o);
	return ok;
}

static void take_docs(struct node *n, const struct ha_doc *docs, size_t n_docs)
{
	for (unsigned i = 0; i < CHAINS; i++) {
		struct chain *c = &n->chains[i];
		c->revision = c->count = 0;
		for (size_t d = 0; d < n_docs; d++)
			if (strcmp(docs[d].key, c->key) == 0) {
				struct value v;
				c->revision = docs[d].mod_revision;
				if (read_value(docs[d].value, &v))
					c->count = v.count;
			}
	}
}

static void on_role(struct ha_listener *l, enum ha_role role, struct epoch epoch,
		    const struct ha_doc *docs, size_t n_docs)
{
	struct node *n = MEM_OWNER(l, struct node, listener);
	if (role == HA_LEADING && n->role != HA_SUSPENDED)
		take_docs(n, docs, n_docs);
	for (unsigned i = 0; i < CHAINS && role == HA_FOLLOWING; i++)
		if (n->chains[i].txn.impl)
			fail(n->k, "a decision outlives the lead", n->chains[i].value);
	n->role = role;
	n->epoch = epoch.v;
	for (unsigned i = 0; i < CHAINS && role == HA_LEADING; i++)
		if (n->chains[i].txn.impl == NULL)
			decide_later(&n->chains[i]);
}

static void *start(struct world *w, void *ctx, const char *const *argv)
{
	(void)argv;
	struct node *n = mem_alloc(sizeof *n);
	struct node *model = ctx;
	n->k = model->k;
	n->w = w;
	snprintf(n->id, sizeof n->id, "%s", model->id);
	snprintf(n->address, sizeof n->address, "%s:6123", n->id);
	struct job_id instance;
	job_id_make(world_rand64(w), world_rand64(w), &instance);
	snprintf(n->instance, sizeof n->instance, "%s", instance.hex);
	n->listener.on_role = on_role;
	for (unsigned i = 0; i < CHAINS; i++) {
		struct chain *c = &n->chains[i];
		c->node = n;
		c->number = i;
		c->next.fire = decide;
		snprintf(c->key, sizeof c->key, "run/%u", i);
	}
	struct ha_config config = {
		.prefix = "weir",
		.cluster = "sim",
		.endpoints = {"http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"},
		.n_endpoints = 3,
		.id = n->id,
		.user_address = n->address,
		.cluster_address = n->address};
	snprintf(config.instance, sizeof config.instance, "%s", n->instance);
	n->ha = ha_create(w, &config, &n->listener);
	return n;
}

static void stop(void *objects)
{
	struct node *n = objects;
	ha_destroy(n->ha);
	free(n);
}

static const struct sim_program program = {.start = start, .stop = stop};

/* ---- checks at every change of the store ---- */

static void candidate_changed(struct check *k, uint64_t revision, const char *key,
			      const char *value)
{
	unsigned i = 0;
	while (i < k->n_queue && strcmp(k->queue[i].key, key) != 0)
		i++;
	if (value == NULL && i < k->n_queue) {
		k->queue[i] = k->queue[--k->n_queue];
	} else if (value && i == k->n_queue && k->n_queue < QUEUE_MAX) {
		snprintf(k->queue[i].key, sizeof k->queue[i].key, "%s", key);
		k->queue[k->n_queue++].create = revision;
	}
}

static uint64_t first_in_queue(const struct check *k)
{
	uint64_t first = UINT64_MAX;
	for (unsigned i = 0; i < k->n_queue; i++)
		if (k->queue[i].create < first)
			first = k->queue[i].create;
	return first;
}

static void document_changed(struct check *k, const char *key, const char *value)
{
	struct value v;
	unsigned chain = (unsigned)(key[strlen(key) - 1] - '0');
	if (value == NULL || !read_value(value, &v) || v.number >= k->n_tries) {
		fail(k, "not one of ours", value ? value : "deleted");
		return;
	}
	if (v.epoch != first_in_queue(k))
		fail(k, "decided by who does not lead", value);
	if (v.epoch < k->epoch)
		fail(k, "an epoch went back", value);
	k->epochs += v.epoch != k->epoch;
	k->epoch = v.epoch;
	if (v.count != k->counts[chain] + 1)
		fail(k, "not upon the decision before", value);
	k->counts[chain] = v.count;
	if (k->tries[v.number] == FATE_APPLIED)
		fail(k, "carried out twice", value);
	if (k->tries[v.number] == FATE_REFUSED)
		fail(k, "carried out after it was said to be refused", value);
	k->tries[v.number] = FATE_APPLIED;
	k->applied++;
}

static void store_changed(void *ctx, uint64_t revision, const char *key, const char *value)
{
	struct check *k = ctx;
	if (text_starts(key, "/weir/sim/leader/"))
		candidate_changed(k, revision, key, value);
	else if (text_starts(key, "/weir/sim/run/"))
		document_changed(k, key, value);
}

static const char *const names[NODES] = {"jm-1", "jm-2", "jm-3"};
static const char *const members[3] = {"etcd-1", "etcd-2", "etcd-3"};

/* How many processes believe that they lead and that their lease holds. */
static unsigned leaders(struct check *k)
{
	unsigned n = 0;
	for (unsigned i = 0; i < NODES; i++) {
		struct node *node = sim_node_objects(k->sim, names[i]);
		struct ha_status status;
		if (node == NULL || node->role != HA_LEADING)
			continue;
		ha_status(node->ha, &status);
		n += status.lease_left_ms > 0;
	}
	return n;
}

/* ---- faults ---- */

static void verdict(struct check *k, const char *dead)
{
	struct node *d = sim_node_objects(k->sim, dead);
	char instance[ID_TEXT] = "";
	if (d)
		snprintf(instance, sizeof instance, "%s", d->instance);
	if (instance[0] == 0)
		return;
	k->verdicts++;
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = sim_node_objects(k->sim, names[i]);
		if (n && n != d)
			ha_declare_dead(n->ha, instance, HA_CAUSE_KILLED, "simulated");
	}
}

static void resigned(struct ha_resign *r)
{
	world_stop(MEM_OWNER(r, struct node, resign)->w);
}

static void resign(struct check *k, const char *name)
{
	struct node *n = sim_node_objects(k->sim, name);
	if (n == NULL || n->resigning)
		return;
	n->resigning = true;
	n->resign.done = resigned;
	ha_resign(n->ha, &n->resign);
}

static void start_all(struct check *k)
{
	for (unsigned i = 0; i < NODES; i++) {
		sim_node_resume(k->sim, names[i]);
		sim_node_start(k->sim, names[i]);
		sim_node_resume(k->sim, members[i]);
		sim_node_start(k->sim, members[i]);
	}
}

static void fault(struct check *k, struct prng *r, bool verdicts)
{
	const char *node = names[prng_below(r, NODES)], *member = members[prng_below(r, 3)];
	switch (prng_below(r, 15)) {
	case 0:
		if (verdicts)
			verdict(k, node);
		sim_node_crash(k->sim, node);
		break;
	case 1:
		if (verdicts)
			verdict(k, node); /* wrong: it lives */
		break;
	case 2:
		sim_node_pause(k->sim, node);
		break;
	case 3:
		sim_cut_both(k->sim, node, member);
		break;
	case 4:
		sim_cut(k->sim, member, node);
		break;
	case 5:
		sim_isolate(k->sim, prng_chance(r, 500000) ? node : member);
		break;
	case 6:
		sim_node_pause(k->sim, member);
		break;
	case 7:
		sim_node_crash(k->sim, member);
		break;
	case 8:
		sim_etcd_move_leader(k->etcd);
		break;
	case 9:
		sim_heal_all(k->sim);
		break;
	case 10:
		resign(k, node);
		break;
	case 11:
		sim_etcd_set_nospace(k->etcd, prng_chance(r, 500000));
		break;
	default:
		start_all(k);
		break;
	}
}

static void heal(struct check *k)
{
	sim_etcd_set_nospace(k->etcd, false);
	sim_heal_all(k->sim);
	/* who is leaving ends first, and is started again */
	sim_run_for(k->sim, 10000);
	start_all(k);
}

static void show(struct sim_trace *t, uint64_t at_us, const char *node, enum log_level level,
		 const char *text)
{
	(void)t;
	(void)level;
	printf("[%8.3fs] %s %s\n", (double)at_us / 1e6, node, text);
}

static void live(struct check *k)
{
	struct prng r;
	prng_init(&r, k->seed * 7919);
	bool verdicts = k->seed % 2;
	uint64_t next = 3000;
	while (sim_now_us(k->sim) < RUN_MS * UINT64_C(1000) && !k->failed) {
		sim_run_for(k->sim, 10);
		if (!verdicts && leaders(k) > 1)
			fail(k, "two leases hold at once", "");
		if (sim_now_us(k->sim) / 1000 < next)
			continue;
		fault(k, &r, verdicts);
		next += prng_between(&r, 50, 2500);
	}
	heal(k);
	uint64_t before = k->applied, limit = sim_now_us(k->sim) + HEAL_MS * UINT64_C(1000);
	while (!k->failed && sim_now_us(k->sim) < limit &&
	       (k->applied < before + 10 || leaders(k) != 1))
		sim_run_for(k->sim, 100);
	if (!k->failed && (k->applied < before + 10 || leaders(k) != 1))
		fail(k, "nobody leads after everything healed", "");
}

static bool run(uint64_t seed, bool verbose, struct check *totals)
{
	struct sim_trace trace = {show};
	struct node models[NODES];
	struct check k = {.seed = seed};
	k.tries = mem_array(TRIES_MAX, sizeof *k.tries);
	k.sim = sim_create(seed, NULL);
	if (verbose)
		sim_set_trace(k.sim, &trace, LOG_LEVEL_INFO);
	k.etcd = sim_etcd_create(k.sim, 3);
	if (seed % 3 == 0)
		sim_etcd_set_stale_reads(k.etcd, 50000);
	sim_etcd_on_change(k.etcd, store_changed, &k);
	for (unsigned i = 0; i < NODES; i++) {
		models[i] = (struct node){.k = &k};
		snprintf(models[i].id, sizeof models[i].id, "%s", names[i]);
		sim_node_add(k.sim, names[i], &program, &models[i]);
		sim_node_start(k.sim, names[i]);
	}
	live(&k);
	sim_destroy(k.sim);
	sim_etcd_destroy(k.etcd);
	free(k.tries);
	totals->applied += k.applied;
	totals->epochs += k.epochs;
	totals->verdicts += k.verdicts;
	return !k.failed;
}

int main(void)
{
	const char *seeds = getenv("WEIR_SEEDS"), *one = getenv("WEIR_SEED");
	uint64_t n = 200, seed = 0, bad = 0;
	struct check totals = {0};
	if ((seeds && text_u64(seeds, &n, NULL)) || (one && text_u64(one, &seed, NULL)))
		return 2;
	if (one)
		return run(seed, true, &totals) ? 0 : 1;
	for (seed = 1; seed <= n; seed++)
		bad += !run(seed, false, &totals);
	printf("candidates: %" PRIu64 " seeds, %" PRIu64 " decisions, %" PRIu64 " epochs, %" PRIu64
	       " verdicts; %" PRIu64 " failed\n",
	       n, totals.applied, totals.epochs, totals.verdicts, bad);
	/* A run in which little happened proves little. */
	bool enough = totals.applied > n * 50 && totals.epochs > n;
	if (!enough)
		printf("void: too few decisions or epochs\n");
	return bad || !enough;
}
