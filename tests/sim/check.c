#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "check_doc.h"
#include "ledger.h"

enum { TEXT_MAX = 1024, LEADER_MAX = 64 };

struct check {
	struct cluster *c;
	struct sim_watch watch;
	bool broken;
	char text[TEXT_MAX];
	struct check_counts counts;
	uint64_t taker;   /* who is deleting candidates: its own key's create_revision, or 0 */
	uint64_t epoch;   /* the highest that may decide: it has had its barrier */
	uint64_t writer;  /* the highest that wrote */
	struct list jobs; /* struct history */
};

void check_fail(struct check *k, const char *fmt, ...)
{
	va_list ap;
	if (k->broken)
		return;
	k->broken = true;
	va_start(ap, fmt);
	vsnprintf(k->text, sizeof(k->text), fmt, ap);
	va_end(ap);
	sim_narrate(k->c->sim, "VIOLATION: %s", k->text);
}

const char *check_text(const struct check *k)
{
	return k->broken ? k->text : NULL;
}

struct check_counts check_counts(const struct check *k)
{
	return k->counts;
}

static struct history *find(const struct check *k, const char *job)
{
	list_each (struct history, h, &k->jobs, hook) {
		if (strcmp(h->job, job) == 0)
			return h;
	}
	return NULL;
}

static struct history *need(struct check *k, const char *job)
{
	struct history *h = find(k, job);
	if (h)
		return h;
	h = mem_alloc(sizeof(*h));
	snprintf(h->job, sizeof(h->job), "%s", job);
	list_append(&k->jobs, &h->hook);
	return h;
}

/* ---- etcd, before a write ---- */

static const struct sim_etcd_write *write_of(const struct sim_etcd_txn *t, const char *key)
{
	for (unsigned i = 0; i < t->n_writes; i++)
		if (strcmp(t->writes[i].key, key) == 0)
			return &t->writes[i];
	return NULL;
}

/* Calls that cannot carry the predicate: one's own place in the queue, and a dead one's. */
static bool excepted(const struct sim_etcd_txn *t)
{
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct sim_etcd_write *w = &t->writes[i];
		if (!text_starts(w->key, SIM_ROOT "leader/") || w->range)
			return false;
		bool compared = false;
		for (unsigned j = 0; j < t->n_compares; j++)
			compared |= strcmp(t->compares[j].key, w->key) == 0 &&
				    strcmp(t->compares[j].target, "CREATE") == 0 &&
				    strcmp(t->compares[j].result, "EQUAL") == 0;
		if (!compared || (w->value && !w->lease))
			return false;
	}
	return t->succeeded;
}

static bool reads(const struct sim_etcd_txn *t, const char *prefix)
{
	for (unsigned i = 0; i < t->n_reads; i++)
		if (t->reads[i].range && strcmp(t->reads[i].key, prefix) == 0)
			return true;
	return false;
}

/* Who deletes others, and reads behind that who is left and what is decided: the key that is
 * compared, as all are, and stays. 0: nobody. */
static uint64_t taker_of(const struct sim_etcd_txn *t)
{
	uint64_t own = 0;
	for (unsigned i = 0; i < t->n_compares; i++) {
		const struct sim_etcd_compare *c = &t->compares[i];
		if (!c->range && strcmp(c->target, "CREATE") == 0 &&
		    strcmp(c->result, "EQUAL") == 0 && text_starts(c->key, SIM_ROOT "leader/") &&
		    !write_of(t, c->key))
			own = c->revision;
	}
	for (unsigned i = 0; i < t->n_writes; i++)
		if (t->writes[i].value)
			return 0;
	return reads(t, SIM_ROOT "leader/") && reads(t, SIM_ROOT "run/") ? own : 0;
}

/* The epoch that the predicate names; 0: there is no predicate. */
static uint64_t epoch_of(const struct sim_etcd_txn *t)
{
	uint64_t own = 0, above = UINT64_MAX;
	for (unsigned i = 0; i < t->n_compares; i++) {
		const struct sim_etcd_compare *c = &t->compares[i];
		if (strcmp(c->target, "CREATE") != 0 || !text_starts(c->key, SIM_ROOT "leader/"))
			continue;
		if (c->range && strcmp(c->result, "GREATER") == 0)
			above = c->revision;
		else if (!c->range && strcmp(c->result, "EQUAL") == 0)
			own = c->revision;
	}
	return own && above == own - 1 ? own : 0;
}

static bool chained(const struct sim_etcd_txn *t, const char *key)
{
	for (unsigned i = 0; i < t->n_compares; i++)
		if (!t->compares[i].range && strcmp(t->compares[i].target, "MOD") == 0 &&
		    strcmp(t->compares[i].result, "EQUAL") == 0 &&
		    strcmp(t->compares[i].key, key) == 0)
			return true;
	return false;
}

static bool compared_absent(const struct sim_etcd_txn *t, const char *key)
{
	for (unsigned i = 0; i < t->n_compares; i++)
		if (strcmp(t->compares[i].target, "CREATE") == 0 && !t->compares[i].revision &&
		    strcmp(t->compares[i].key, key) == 0)
			return true;
	return false;
}

/* A job ends in the transaction that leaves its tombstone, and begins only without one. */
static void check_creation_and_end(struct check *k, const struct sim_etcd_txn *t,
				   const struct sim_etcd_write *w)
{
	char done[128];
	if (w->key[strlen(SIM_ROOT "run/")] == '_')
		return; /* not a job: how leaders began */
	snprintf(done, sizeof(done), SIM_ROOT "done/%s", w->key + strlen(SIM_ROOT "run/"));
	if (!w->value && !write_of(t, done))
		check_fail(k, "%s is deleted without a tombstone", w->key);
	if (w->value && !sim_etcd_get(k->c->etcd, w->key)) {
		char spec[128];
		snprintf(spec, sizeof(spec), SIM_ROOT "spec/%s", w->key + strlen(SIM_ROOT "run/"));
		if (!write_of(t, spec))
			check_fail(k, "%s is created without a specification", w->key);
		if (!compared_absent(t, done))
			check_fail(k, "%s is created without a look for its tombstone", w->key);
	}
}

static void on_txn(void *ctx, const struct sim_etcd_txn *t)
{
	struct check *k = ctx;
	unsigned chains = 0;
	bool barrier = t->n_writes == 1 && !t->writes[0].value &&
		       strcmp(t->writes[0].key, SIM_ROOT "never") == 0;
	if (excepted(t)) {
		k->taker = taker_of(t);
		return;
	}
	uint64_t epoch = epoch_of(t);
	if (!t->succeeded || !epoch) {
		check_fail(k, "a write to %s carries no predicate", t->writes[0].key);
		return;
	}
	if (epoch != sim_etcd_lowest(k->c->etcd, SIM_ROOT "leader/"))
		check_fail(k, "a write of epoch %" PRIu64 " to %s, and another leads", epoch,
			   t->writes[0].key);
	if (epoch < k->epoch)
		check_fail(k, "epoch %" PRIu64 " decides after epoch %" PRIu64, epoch, k->epoch);
	if (epoch != k->epoch && !barrier)
		check_fail(k, "epoch %" PRIu64 " begins with a write to %s, not with its barrier",
			   epoch, t->writes[0].key);
	k->counts.leaders += epoch != k->writer;
	k->epoch = k->writer = epoch;
	for (unsigned i = 0; i < t->n_writes; i++) {
		const struct sim_etcd_write *w = &t->writes[i];
		chains += chained(t, w->key);
		if (!text_starts(w->key, SIM_ROOT "run/"))
			continue;
		if (!chained(t, w->key))
			check_fail(k, "%s is written without its chain", w->key);
		check_creation_and_end(k, t, w);
	}
	if (!barrier && !chains)
		check_fail(k, "a write to %s has no chain", t->writes[0].key);
}

/* ---- etcd, after a change ---- */

static void check_slots(struct check *k)
{
	for (unsigned i = 0; i < k->c->swarm.n_tm; i++) {
		const struct tm_box *tm = &k->c->tms[i];
		if (!tm->agent)
			continue;
		const char *instance = agent_core_of(tm->agent)->options.instance;
		unsigned used = 0;
		list_each (struct history, h, &k->jobs, hook)
			used += h->live ? history_slots(h, instance) : 0;
		if (used > tm->config.slots)
			check_fail(k, "%s has %u slots, %u are given", tm->name, tm->config.slots,
				   used);
	}
}

static void check_undisturbed(struct check *k, const struct history *h)
{
	for (unsigned r = 0; k->c->swarm.only_leaders && r < h->now.n_regions; r++)
		if (h->now.regions[r].attempt > 1)
			check_fail(k, "%.8s was restarted, and only JobManagers failed", h->job);
}

static void on_run(struct check *k, const char *job, const char *value)
{
	struct history *h = need(k, job);
	char why[256];
	if (!value) {
		h->live = false;
		return;
	}
	if (h->ended) {
		check_fail(k, "%.8s ended, and runs again", job);
		return;
	}
	uint64_t newest = history_newest(h);
	if (!history_add(h, value, k->c->blobs, why))
		check_fail(k, "%.8s: %s", job, why);
	k->counts.completed += history_newest(h) != newest;
	check_slots(k);
	check_undisturbed(k, h);
}

/* Of a job that finished: all of it. Of another: what its newest checkpoint holds. */
static void check_output(struct check *k, struct history *h, bool finished)
{
	uint64_t limit = h->limit;
	for (unsigned r = 0; r < h->now.n_regions; r++)
		for (uint32_t s = 0; s < PARALLELISM_MAX; s++) {
			uint64_t want = 0;
			if (!history_source(h, k->c->blobs, r, s, &want))
				continue;
			if (finished && want != limit) {
				check_fail(k, "%.8s finished, source %u at %" PRIu64 " of %" PRIu64,
					   h->job, s, want, limit);
				return;
			}
			uint64_t have = ledger_visible(k->c->ledger, h->job, r, s, want);
			if (have != want)
				check_fail(k,
					   "%.8s is %s, and %" PRIu64 " of %" PRIu64
					   " records of region %u source %u are visible",
					   h->job, h->status, have, want, r, s);
		}
}

static void on_done(struct check *k, const char *job, const char *value)
{
	struct history *h = need(k, job);
	char why[256];
	struct doc_seen seen;
	if (!value) {
		check_fail(k, "the tombstone of %.8s is removed", job);
		return;
	}
	if (!doc_seen_read(&seen, value, why)) {
		check_fail(k, "tombstone of %.8s: %s", job, why);
		return;
	}
	if (h->ended && strcmp(h->status, seen.status) != 0)
		check_fail(k, "%.8s was %s, and is %s", job, h->status, seen.status);
	if (h->ended)
		return;
	h->ended = true;
	h->live = false;
	snprintf(h->status, sizeof(h->status), "%s", seen.status);
	bool finished = strcmp(seen.status, "FINISHED") == 0;
	k->counts.finished += finished;
	k->counts.canceled += strcmp(seen.status, "CANCELED") == 0;
	k->counts.failed += strcmp(seen.status, "FAILED") == 0;
	struct job_plan *plan = cluster_job(k->c, job);
	if (plan && !plan->may_fail && strcmp(seen.status, "FAILED") == 0)
		check_fail(k, "%.8s FAILED, and it has no reason to", job);
	if (plan && !plan->cancel_wanted && strcmp(seen.status, "CANCELED") == 0)
		check_fail(k, "%.8s was canceled by nobody", job);
	char resolve[128];
	snprintf(resolve, sizeof(resolve), SIM_ROOT "resolve/%s", job);
	if (finished || !sim_etcd_get(k->c->etcd, resolve))
		check_output(k, h, finished);
}

/* Candidates were deleted: whoever did it and is first now has had its barrier with that. */
static void on_leader_gone(struct check *k)
{
	if (k->taker > k->epoch && k->taker == sim_etcd_lowest(k->c->etcd, SIM_ROOT "leader/"))
		k->epoch = k->taker;
	k->taker = 0;
}

static void on_change(void *ctx, uint64_t revision, const char *key, const char *value)
{
	struct check *k = ctx;
	(void)revision;
	if (!text_starts(key, SIM_ROOT))
		return;
	const char *name = key + strlen(SIM_ROOT);
	if (text_starts(name, "leader/")) {
		if (!value)
			on_leader_gone(k);
	} else if (text_starts(name, "run/_")) {
		return; /* not a job */
	} else if (text_starts(name, "run/")) {
		on_run(k, name + 4, value);
	} else if (text_starts(name, "spec/") && value && strstr(value, "\"to\":")) {
		need(k, name + 5)->limit = strtoull(strstr(value, "\"to\":") + 5, NULL, 10);
	} else if (text_starts(name, "done/")) {
		on_done(k, name + 5, value);
	} else if (text_starts(name, "resolve/") && !value) {
		check_output(k, need(k, name + 8), false); /* nothing is in doubt any more */
	} else if (text_starts(name, "cleanup/") && value) {
		char job[33];
		snprintf(job, sizeof(job), "%.32s", name + 8);
		history_cleanup(need(k, job), value);
	}
}

/* ---- storage ---- */

static void on_blob(void *ctx, const char *name, const char *data, size_t len)
{
	struct check *k = ctx;
	char job[33], why[256];
	(void)len;
	if (data || !text_starts(name, "jobs/") || strlen(name) < 38)
		return;
	snprintf(job, sizeof(job), "%.32s", name + 5);
	struct history *h = find(k, job);
	if (!h || !history_may_remove(h, name, why))
		check_fail(k, "%s is removed: %s", name, h ? why : "no such job");
}

/* ---- commands ---- */

static void on_command(struct check *k, const char *tm, const struct control_command_msg *m)
{
	const struct history *h = find(k, m->job.hex);
	const struct agent *agent = NULL;
	char why[256];
	for (unsigned i = 0; i < k->c->swarm.n_tm; i++)
		if (strcmp(k->c->tms[i].name, tm) == 0)
			agent = k->c->tms[i].agent;
	k->counts.commands++;
	if (m->epoch.v > k->epoch)
		check_fail(k, "%s gets a command of epoch %" PRIu64 ", the newest is %" PRIu64, tm,
			   m->epoch.v, k->epoch);
	if (m->kind == CONTROL_UNKNOWN) {
		if (h && (h->live || h->ended))
			check_fail(k, "%s is told that %.8s is not known", tm, m->job.hex);
		return;
	}
	if (!h)
		check_fail(k, "%s gets %s for a job that is not recorded", tm,
			   control_command_name(m->kind));
	else if (agent && !history_allows(h, agent_core_of(agent)->options.instance, m, why))
		check_fail(k, "%s gets %s of %.8s/%u attempt %u checkpoint %" PRIu64 ": %s", tm,
			   control_command_name(m->kind), m->job.hex, m->region, m->attempt.v,
			   m->checkpoint.v, why);
}

static void on_chunk(struct sim_watch *t, const char *client, const char *path, const char *data,
		     size_t len)
{
	struct check *k = MEM_OWNER(t, struct check, watch);
	if (strcmp(path, "/v1/cluster/taskmanagers") != 0 || !len || data[len - 1] != '\n')
		return;
	while (len) {
		const char *nl = memchr(data, '\n', len);
		size_t n = (size_t)(nl - data);
		struct control_command_msg m;
		struct err e;
		if (!memmem(data, n, "\"command\":\"beat\"", 16) &&
		    control_command_decode(data, n, &m, &e) == ERR_OK) {
			if (m.kind != CONTROL_WELCOME && m.kind != CONTROL_BEAT &&
			    m.kind != CONTROL_GOODBYE)
				on_command(k, client, &m);
			control_command_fini(&m);
		}
		data += n + 1;
		len -= n + 1;
	}
}

/* ---- what others tell ---- */

void check_commit(struct check *k, const char *job, uint64_t checkpoint)
{
	const struct history *h = find(k, job);
	if (!h || history_newest(h) < checkpoint)
		check_fail(k,
			   "output of checkpoint %" PRIu64 " of %.8s is made visible before it "
			   "is complete",
			   checkpoint, job);
}

void check_unreadable(struct check *k, const char *job, uint32_t region, uint32_t attempt,
		      const char *what)
{
	const struct history *h = find(k, job);
	if (h && h->live && region < h->now.n_regions && h->now.regions[region].attempt == attempt)
		check_fail(k, "%.8s/%u attempt %u: %s", job, region, attempt, what);
}

void check_accepted(struct check *k, const char *job)
{
	const struct history *h = find(k, job);
	k->counts.accepted++;
	if (!h || !(h->live || h->ended))
		check_fail(k, "%.8s was accepted, and is not recorded", job);
}

void check_rest_status(struct check *k, const char *job, const char *status)
{
	const struct history *h = find(k, job);
	bool terminal = strcmp(status, "FINISHED") == 0 || strcmp(status, "CANCELED") == 0 ||
			strcmp(status, "FAILED") == 0;
	if (!h)
		check_fail(k, "REST shows %.8s, which is not recorded", job);
	else if (terminal && (!h->ended || strcmp(h->status, status) != 0))
		check_fail(k, "REST shows %.8s as %s, recorded is %s", job, status,
			   h->ended ? h->status : h->now.status);
	else if (strcmp(status, "RUNNING") == 0 && !h->was_running)
		check_fail(k, "REST shows %.8s as RUNNING, and that was never recorded", job);
}

void check_rest_missing(struct check *k, const char *job)
{
	const struct job_plan *plan = cluster_job(k->c, job);
	if (plan && plan->accepted)
		check_fail(k, "REST does not know %.8s, which was accepted", job);
}

void check_rest_completed(struct check *k, const char *job, uint64_t checkpoint)
{
	const struct history *h = find(k, job);
	if (!h || history_newest(h) < checkpoint)
		check_fail(k, "REST shows checkpoint %" PRIu64 " of %.8s as completed", checkpoint,
			   job);
}

bool check_ended(const struct check *k, const char *job)
{
	const struct history *h = find(k, job);
	return h && h->ended;
}

bool check_exists(const struct check *k, const char *job)
{
	const struct history *h = find(k, job);
	return h && (h->ended || h->live);
}

uint64_t check_newest(const struct check *k, const char *job)
{
	const struct history *h = find(k, job);
	return h ? history_newest(h) : 0;
}

const char *check_status(const struct check *k, const char *job)
{
	const struct history *h = find(k, job);
	return !h ? "absent" : h->ended ? h->status : h->now.status;
}

/* ---- life ---- */

struct check *check_create(struct cluster *c)
{
	struct check *k = mem_alloc(sizeof(*k));
	k->c = c;
	list_init(&k->jobs);
	k->watch.on_chunk = on_chunk;
	sim_set_watch(c->sim, &k->watch);
	sim_etcd_on_txn(c->etcd, on_txn, k);
	sim_etcd_on_change(c->etcd, on_change, k);
	sim_blob_on_change(c->blobs, on_blob, k);
	return k;
}

void check_destroy(struct check *k)
{
	if (!k)
		return;
	list_each_safe (struct history, h, &k->jobs, hook)
		history_destroy(h);
	free(k);
}
