#include "faults.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model.h"

enum { KEEPER_MS = 150 };

struct faults {
	struct cluster *c;
	struct prng rng;
	bool over;
	bool leaving[JMS]; /* asked to stop, and not stopped yet */
	unsigned n;
};

/* ---- the swarm ---- */

static bool half(struct prng *p)
{
	return prng_chance(p, 500000);
}

static void draw_faults(struct swarm *s, struct prng *p)
{
	s->jm_crash = prng_chance(p, 700000);
	s->jm_pause = half(p);
	s->jm_resign = half(p);
	s->jm_all = prng_chance(p, 200000);
	s->etcd_crash = half(p);
	s->etcd_pause = half(p);
	s->etcd_move = half(p);
	s->etcd_nospace = prng_chance(p, 150000);
	s->etcd_stale = prng_chance(p, 300000);
	s->only_leaders = prng_chance(p, 200000);
	if (s->only_leaders)
		return;
	s->tm_crash = half(p);
	s->tm_pause = prng_chance(p, 350000);
	s->worker_crash = half(p);
	s->task_fails = prng_chance(p, 300000);
	s->cut_one = prng_chance(p, 350000);
	s->cut_both = prng_chance(p, 350000);
	s->isolate = prng_chance(p, 350000);
	s->blob_down = prng_chance(p, 300000);
	s->blob_errors = prng_chance(p, 400000);
	s->blob_slow = prng_chance(p, 300000);
}

struct swarm swarm_of_seed(uint64_t seed, uint64_t safety_ms, struct sim_knobs *knobs)
{
	struct swarm s = {0};
	struct prng p;
	prng_init(&p, seed ^ UINT64_C(0x737761726d));
	*knobs = sim_knobs_of_seed(seed);
	s.n_etcd = half(&p) ? 3 : 1;
	s.n_tm = (unsigned)prng_between(&p, 3, TMS_MAX);
	if (prng_chance(&p, 50000))
		s.n_tm = 2;
	s.slots = (unsigned)prng_between(&p, 2, 4);
	s.n_jobs = (unsigned)prng_between(&p, 1, 3);
	s.safety_ms = safety_ms ? safety_ms : prng_between(&p, 15000, 20000);
	s.fault_gap_ms = prng_between(&p, 300, 3000);
	s.cancels = half(&p);
	draw_faults(&s, &p);
	s.calm = s.only_leaders || prng_chance(&p, 300000);
	if (s.only_leaders)
		s.n_jobs = 1;
	if (s.calm) {
		knobs->spike_ppm = knobs->lost_before_ppm = knobs->lost_after_ppm = 0;
		knobs->stream_break_ppm = 0;
	}
	/* A kill point must not kill faster than a leader can begin. */
	if (knobs->kill_ppm > 300)
		knobs->kill_ppm = 300;
	if (s.only_leaders)
		knobs->kill_ppm = 0;
	return s;
}

void swarm_print(const struct swarm *s, struct buf *out)
{
	const struct {
		bool on;
		const char *name;
	} flags[] = {{s->jm_crash, "jm-crash"},
		     {s->jm_pause, "jm-pause"},
		     {s->jm_resign, "jm-resign"},
		     {s->jm_all, "jm-all"},
		     {s->tm_crash, "tm-crash"},
		     {s->tm_pause, "tm-pause"},
		     {s->worker_crash, "worker"},
		     {s->task_fails, "task-fails"},
		     {s->etcd_crash, "etcd-crash"},
		     {s->etcd_pause, "etcd-pause"},
		     {s->etcd_move, "etcd-move"},
		     {s->etcd_nospace, "nospace"},
		     {s->etcd_stale, "stale"},
		     {s->cut_one, "cut-one-way"},
		     {s->cut_both, "cut"},
		     {s->isolate, "isolate"},
		     {s->blob_down, "blob-down"},
		     {s->blob_errors, "blob-errors"},
		     {s->blob_slow, "blob-slow"},
		     {s->cancels, "cancels"},
		     {s->only_leaders, "ONLY-LEADERS"}};
	buf_printf(out, "etcd=%u tm=%u slots=%u jobs=%u safety=%" PRIu64 "ms gap=%" PRIu64 "ms:",
		   s->n_etcd, s->n_tm, s->slots, s->n_jobs, s->safety_ms, s->fault_gap_ms);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flags[i].on)
			buf_printf(out, " %s", flags[i].name);
}

/* ---- one fault at a time, put right later ---- */

struct repair {
	struct faults *f;
	void (*fn)(struct sim *s, const char *name);
	void (*fn2)(struct sim *s, const char *a, const char *b);
	char a[16], b[16];
};

static void run_repair(void *ctx)
{
	struct repair *r = ctx;
	struct sim *s = r->f->c->sim;
	if (r->fn)
		r->fn(s, r->a);
	else
		r->fn2(s, r->a, r->b);
	sim_narrate(s, "repaired: %s %s", r->a, r->b);
	free(r);
}

static void later(struct faults *f, uint64_t ms, void (*fn)(struct sim *s, const char *name),
		  void (*fn2)(struct sim *s, const char *a, const char *b), const char *a,
		  const char *b)
{
	struct repair *r = mem_alloc(sizeof(*r));
	*r = (struct repair){.f = f, .fn = fn, .fn2 = fn2};
	snprintf(r->a, sizeof(r->a), "%s", a);
	snprintf(r->b, sizeof(r->b), "%s", b);
	sim_at(f->c->sim, ms, run_repair, r);
}

static uint64_t outage_ms(struct faults *f)
{
	static const uint64_t most[] = {200, 1500, 4000, 9000};
	return prng_between(&f->rng, 20, most[prng_below(&f->rng, 4)]);
}

static void crash(struct faults *f, const char *name)
{
	sim_narrate(f->c->sim, "fault: %s crashes", name);
	sim_node_crash(f->c->sim, name); /* the keeper starts it again */
}

static void pause_node(struct faults *f, const char *name)
{
	uint64_t ms = outage_ms(f);
	if (!sim_node_running(f->c->sim, name))
		return;
	sim_narrate(f->c->sim, "fault: %s is paused for %" PRIu64 " ms", name, ms);
	sim_node_pause(f->c->sim, name);
	later(f, ms, sim_node_resume, NULL, name, "");
}

static void any_node(struct faults *f, char out[16])
{
	const struct swarm *s = &f->c->swarm;
	unsigned n = (unsigned)prng_below(&f->rng, JMS + s->n_tm + s->n_etcd);
	if (n < JMS)
		snprintf(out, 16, "jm-%u", n + 1);
	else if (n < JMS + s->n_tm)
		snprintf(out, 16, "tm-%u", n - JMS + 1);
	else
		snprintf(out, 16, "etcd-%u", n - JMS - s->n_tm + 1);
}

static void cut(struct faults *f, bool both)
{
	char a[16], b[16];
	uint64_t ms = outage_ms(f);
	any_node(f, a);
	any_node(f, b);
	if (strcmp(a, b) == 0)
		return;
	sim_narrate(f->c->sim, "fault: %s %s %s is cut for %" PRIu64 " ms", a, both ? "<->" : "->",
		    b, ms);
	(both ? sim_cut_both : sim_cut)(f->c->sim, a, b);
	later(f, ms, NULL, both ? sim_heal_both : sim_heal, a, b);
}

static void heal_one(struct sim *s, const char *name)
{
	(void)name;
	sim_heal_all(s);
}

static void isolate(struct faults *f)
{
	char a[16];
	uint64_t ms = outage_ms(f);
	any_node(f, a);
	sim_narrate(f->c->sim, "fault: %s is isolated for %" PRIu64 " ms", a, ms);
	sim_isolate(f->c->sim, a);
	later(f, ms, heal_one, NULL, a, "");
}

/* The leader more often than chance would have it. */
static struct jm_box *some_jm(struct faults *f)
{
	bool leader = half(&f->rng);
	for (unsigned i = 0; leader && i < JMS; i++) {
		struct jm_box *j = &f->c->jms[i];
		if (j->node && jm_node_role(j->node) == HA_LEADING)
			return j;
	}
	return &f->c->jms[prng_below(&f->rng, JMS)];
}

static void resigned(void *ctx)
{
	(void)ctx;
}

struct leave {
	struct faults *f;
	unsigned jm;
};

/* Who was still on his way out when all was healed has been started anew by then. */
static void leave(void *ctx)
{
	struct leave *l = ctx;
	struct faults *f = l->f;
	unsigned jm = l->jm;
	free(l);
	f->leaving[jm] = false;
	if (!f->over)
		sim_node_crash(f->c->sim, f->c->jms[jm].name);
}

static void resign(struct faults *f, const struct jm_box *j)
{
	if (!j->node)
		return;
	struct leave *l = mem_alloc(sizeof(*l));
	*l = (struct leave){.f = f, .jm = (unsigned)(j - f->c->jms)};
	sim_narrate(f->c->sim, "fault: %s is asked to stop", j->name);
	jm_node_resign(j->node, resigned, NULL);
	f->leaving[l->jm] = true;
	sim_at(f->c->sim, prng_between(&f->rng, 50, 2000), leave, l);
}

static void etcd_full(struct faults *f)
{
	sim_narrate(f->c->sim, "fault: etcd is full"); /* until another fault of etcd frees it */
	sim_etcd_set_nospace(f->c->etcd, true);
}

static void blob_weather(struct faults *f)
{
	struct sim_blob_knobs *k = sim_blob_knobs(f->c->blobs);
	const struct swarm *s = &f->c->swarm;
	if (s->blob_errors) {
		k->unavailable_ppm = (uint32_t)prng_below(&f->rng, 200000);
		k->unknown_ppm = (uint32_t)prng_below(&f->rng, 200000);
	}
	if (s->blob_slow)
		k->delay_max_ms = (uint32_t)prng_between(&f->rng, 20, 2500);
	if (s->blob_down)
		sim_blob_set_down(f->c->blobs, prng_chance(&f->rng, 300000));
	sim_narrate(f->c->sim, "fault: storage slow=%ums errors=%uppm unknown=%uppm",
		    k->delay_max_ms, k->unavailable_ppm, k->unknown_ppm);
}

static void worker_fault(struct faults *f, bool fails)
{
	static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT, 0};
	struct model *m = model_pick(f->c, prng_next(&f->rng));
	int sig = signals[prng_below(&f->rng, 4)];
	if (!m)
		return;
	sim_narrate(f->c->sim, "fault: a worker %s", fails ? "fails" : "dies");
	if (fails)
		model_fail(m);
	else
		model_doom(m, sig ? 0 : 3, sig);
}

static void jm_fault(struct faults *f, unsigned which)
{
	const struct swarm *s = &f->c->swarm;
	if (which == 0 && s->jm_crash)
		crash(f, some_jm(f)->name);
	else if (which == 1 && s->jm_pause)
		pause_node(f, some_jm(f)->name);
	else if (which == 2 && s->jm_resign)
		resign(f, some_jm(f));
	else if (which == 3 && s->jm_all)
		for (unsigned i = 0; i < JMS; i++)
			crash(f, f->c->jms[i].name);
}

static void etcd_fault(struct faults *f, unsigned which)
{
	const struct swarm *s = &f->c->swarm;
	char name[16];
	snprintf(name, sizeof(name), "etcd-%u", 1 + (unsigned)prng_below(&f->rng, s->n_etcd));
	if (which == 0 && s->etcd_crash)
		crash(f, name);
	else if (which == 1 && s->etcd_pause)
		pause_node(f, name);
	else if (which == 2 && s->etcd_move)
		sim_etcd_move_leader(f->c->etcd);
	else if (which == 3 && s->etcd_nospace)
		etcd_full(f);
	else if (which == 4)
		sim_etcd_set_nospace(f->c->etcd, false);
}

static void tm_fault(struct faults *f, unsigned which)
{
	const struct swarm *s = &f->c->swarm;
	const char *name = f->c->tms[prng_below(&f->rng, s->n_tm)].name;
	if (which == 0 && s->tm_crash)
		crash(f, name);
	else if (which == 1 && s->tm_pause)
		pause_node(f, name);
	else if (which == 2 && s->worker_crash)
		worker_fault(f, false);
	else if (which == 3 && s->task_fails)
		worker_fault(f, true);
}

static void net_fault(struct faults *f, unsigned which)
{
	const struct swarm *s = &f->c->swarm;
	if (which == 0 && s->cut_one)
		cut(f, false);
	else if (which == 1 && s->cut_both)
		cut(f, true);
	else if (which == 2 && s->isolate)
		isolate(f);
	else if (which == 3 && (s->blob_errors || s->blob_slow || s->blob_down))
		blob_weather(f);
}

/* Once in every seed the leader goes, whatever else happens. */
static void depose(void *ctx)
{
	struct faults *f = ctx;
	const struct jm_box *leader = NULL;
	for (unsigned i = 0; i < JMS; i++)
		if (f->c->jms[i].node && jm_node_role(f->c->jms[i].node) == HA_LEADING)
			leader = &f->c->jms[i];
	if (f->over || !leader)
		return;
	switch (prng_below(&f->rng, 3)) {
	case 0:
		resign(f, leader);
		break;
	case 1:
		sim_narrate(f->c->sim, "fault: %s is paused for 7 s", leader->name);
		sim_node_pause(f->c->sim, leader->name);
		later(f, 7000, sim_node_resume, NULL, leader->name, "");
		break;
	default:
		crash(f, leader->name);
	}
}

static void strike(void *ctx)
{
	struct faults *f = ctx;
	if (f->over)
		return;
	f->n++;
	switch (prng_below(&f->rng, 4)) {
	case 0:
		jm_fault(f, (unsigned)prng_below(&f->rng, 4));
		break;
	case 1:
		etcd_fault(f, (unsigned)prng_below(&f->rng, 5));
		break;
	case 2:
		tm_fault(f, (unsigned)prng_below(&f->rng, 4));
		break;
	default:
		net_fault(f, (unsigned)prng_below(&f->rng, 4));
	}
	sim_at(f->c->sim, prng_between(&f->rng, 1, 2 * f->c->swarm.fault_gap_ms), strike, f);
}

/* Processes that are down come back after a while, as under a supervisor. */
static void keeper(void *ctx)
{
	struct faults *f = ctx;
	const struct swarm *s = &f->c->swarm;
	char name[16];
	if (f->over)
		return;
	for (unsigned i = 0; i < JMS + s->n_tm + s->n_etcd; i++) {
		if (i < JMS)
			snprintf(name, sizeof(name), "jm-%u", i + 1);
		else if (i < JMS + s->n_tm)
			snprintf(name, sizeof(name), "tm-%u", i - JMS + 1);
		else
			snprintf(name, sizeof(name), "etcd-%u", i - JMS - s->n_tm + 1);
		if (!sim_node_running(f->c->sim, name) && prng_chance(&f->rng, 120000)) {
			sim_narrate(f->c->sim, "repaired: %s starts", name);
			sim_node_start(f->c->sim, name);
		}
	}
	sim_at(f->c->sim, KEEPER_MS, keeper, f);
}

struct faults *faults_create(struct cluster *c)
{
	struct faults *f = mem_alloc(sizeof(*f));
	f->c = c;
	prng_init(&f->rng, c->seed ^ UINT64_C(0x6661756c7473));
	if (c->swarm.etcd_stale)
		sim_etcd_set_stale_reads(c->etcd, 50000);
	sim_at(c->sim, 800 + prng_below(&f->rng, 3000), strike, f);
	sim_at(c->sim, KEEPER_MS, keeper, f);
	sim_at(c->sim, prng_between(&f->rng, 5000, 11000), depose, f);
	return f;
}

void faults_destroy(struct faults *f)
{
	free(f);
}

unsigned faults_count(const struct faults *f)
{
	return f->n;
}

static void start_all(struct faults *f, const char *prefix, unsigned n, bool leave_one)
{
	char name[16];
	unsigned left = leave_one ? 1 + (unsigned)prng_below(&f->rng, n) : 0;
	for (unsigned i = 1; i <= n; i++) {
		snprintf(name, sizeof(name), "%s-%u", prefix, i);
		sim_node_resume(f->c->sim, name);
		if (i == left)
			sim_node_crash(f->c->sim, name);
		else
			sim_node_start(f->c->sim, name);
	}
}

void faults_heal(struct faults *f)
{
	struct cluster *c = f->c;
	struct sim_knobs *k = sim_knobs(c->sim);
	uint32_t drift = k->drift_ppm_max;
	f->over = true;
	*k = sim_knobs_calm();
	k->drift_ppm_max = drift;
	sim_heal_all(c->sim);
	sim_etcd_set_nospace(c->etcd, false);
	sim_etcd_set_stale_reads(c->etcd, 0);
	sim_blob_set_down(c->blobs, false);
	*sim_blob_knobs(c->blobs) = (struct sim_blob_knobs){.delay_min_ms = 2, .delay_max_ms = 20};
	start_all(f, "etcd", c->swarm.n_etcd, c->swarm.n_etcd == 3 && half(&f->rng));
	for (unsigned i = 0; i < JMS; i++)
		if (f->leaving[i])
			sim_node_crash(c->sim, c->jms[i].name);
	start_all(f, "jm", JMS, half(&f->rng));
	start_all(f, "tm", c->swarm.n_tm, false);
	sim_narrate(c->sim, "healed");
}
