/* Nodes and processes: clocks, timers, life and death, pauses, kill points, blocking work. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_impl.h"

enum { WALL_S_BASE = 1750000000 }; /* s since 1970: a day in 2025 */

/* ---- finding ---- */

struct sim_node *sim_node_find(struct sim *s, const char *name)
{
	list_each (struct sim_node, n, &s->nodes, hook) {
		if (strcmp(n->name, name) == 0)
			return n;
	}
	return NULL;
}

struct sim_node *sim_node_need(struct sim *s, const char *name)
{
	struct sim_node *n = sim_node_find(s, name);
	if (n == NULL) {
		fprintf(stderr, "the simulation has no node \"%s\"\n", name);
		abort();
	}
	return n;
}

/* ---- clocks ---- */

uint64_t sim_local_us(const struct sim_node *n, uint64_t global_us)
{
	int64_t g = (int64_t)global_us;
	return (uint64_t)(n->clock_us_base + g + g / 1000000 * n->drift_ppm +
			  g % 1000000 * n->drift_ppm / 1000000);
}

/* The first global time at which the local clock shows at least `local_us`. */
static uint64_t global_of(const struct sim_node *n, uint64_t local_us)
{
	int64_t d = (int64_t)local_us - n->clock_us_base;
	if (d <= 0)
		return 0;
	int64_t rate = 1000000 + n->drift_ppm;
	uint64_t g = (uint64_t)(d / rate * 1000000 + d % rate * 1000000 / rate);
	while (g > 0 && sim_local_us(n, g - 1) >= local_us)
		g--;
	while (sim_local_us(n, g) < local_us)
		g++;
	return g;
}

/* The clock goes on from where it is, at another rate. */
static void set_drift(struct sim_node *n, int64_t ppm)
{
	int64_t here = (int64_t)sim_local_us(n, n->sim->now_us);
	n->drift_ppm = ppm;
	n->clock_us_base = 0;
	n->clock_us_base = here - (int64_t)sim_local_us(n, n->sim->now_us);
}

void sim_node_drift(struct sim *s, const char *name, int32_t ppm)
{
	struct sim_node *n = sim_node_need(s, name);
	set_drift(n, ppm);
	list_each (struct sim_world, w, &n->worlds, hook)
		sim_timers_follow(w);
}

static uint64_t now_ms(struct world *base)
{
	struct sim_world *w = sim_world_of(base);
	return w->inside ? w->now_ms : sim_local_us(w->node, w->sim->now_us) / 1000;
}

static int64_t wall_ms(struct world *base)
{
	struct sim_world *w = sim_world_of(base);
	return (int64_t)WALL_S_BASE * 1000 + (int64_t)(w->sim->now_us / 1000);
}

static uint64_t rand64(struct world *base)
{
	return prng_next(&sim_world_of(base)->node->rng);
}

static uint64_t lateness_ms(struct world *base)
{
	return sim_world_of(base)->lateness_ms;
}

/* Every line goes into the hash, so that runs that differ only in what is shown are alike. */
static bool is_log_on(struct world *base, enum log_level level)
{
	(void)level;
	return !sim_world_of(base)->dead;
}

static void log_text(struct world *base, enum log_level level, const char *text)
{
	struct sim_world *w = sim_world_of(base);
	sim_note(w->sim, w->node->name, level, text);
}

/* ---- timers ---- */

void sim_timers_follow(struct sim_world *w)
{
	struct world_timer *first = timers_first(&w->timers);
	if (first == NULL || w->dead)
		sim_unschedule(w->sim, &w->wake);
	else if (first->deadline_ms >= UINT64_MAX / 2000)
		sim_unschedule(w->sim, &w->wake); /* never */
	else
		sim_schedule(w->sim, &w->wake, global_of(w->node, first->deadline_ms * 1000));
}

static void timer_arm(struct world *base, struct world_timer *t, uint64_t deadline_ms)
{
	struct sim_world *w = sim_world_of(base);
	if (w->dead || w->dying)
		return;
	struct world_timer *first = timers_first(&w->timers);
	timers_arm(&w->timers, t, deadline_ms);
	if (timers_first(&w->timers) == t || first == t)
		sim_timers_follow(w);
}

static void timer_cancel(struct world *base, struct world_timer *t)
{
	struct sim_world *w = sim_world_of(base);
	bool first = timers_first(&w->timers) == t;
	timers_cancel(&w->timers, t);
	if (first)
		sim_timers_follow(w);
}

static void fire_one(struct sim_world *w, void *arg)
{
	(void)arg;
	struct world_timer *t = timers_take_due(&w->timers, w->now_ms, UINT64_MAX);
	if (t == NULL)
		return;
	w->lateness_ms = w->now_ms - t->deadline_ms;
	t->fire(t);
}

/* One timer per event: now is read anew for each, and the queue stays fair. */
static void wake(struct sim *s, struct sim_event *e)
{
	(void)s;
	struct sim_world *w = MEM_OWNER(e, struct sim_world, wake);
	if (w->paused)
		return; /* seen at the resumption */
	sim_enter(w, fire_one, NULL, NULL);
	sim_timers_follow(w);
}

/* ---- inside a process ---- */

static void finish_dying(struct sim_world *w)
{
	if (w->dying && !w->dead)
		sim_world_kill(w, w->exit_status, w->exit_signal);
}

/* In a function of its own: locals of a function that calls setjmp are easily clobbered. */
static void run_call(struct sim_world *w, void (*fn)(struct sim_world *w, void *arg), void *arg)
{
	if (setjmp(w->sim->escape) == 0)
		fn(w, arg);
}

void sim_enter(struct sim_world *w, void (*fn)(struct sim_world *w, void *arg),
	       void (*drop)(void *arg), void *arg)
{
	if (w->dead) {
		if (drop)
			drop(arg);
		return;
	}
	if (w->paused) {
		struct sim_call *c = mem_alloc(sizeof(*c));
		*c = (struct sim_call){.run = fn, .drop = drop, .arg = arg};
		list_append(&w->backlog, &c->hook);
		return;
	}
	assert(w->sim->current == NULL); /* processes never run inside one another */
	w->sim->current = w;
	w->inside = true;
	w->now_ms = sim_local_us(w->node, w->sim->now_us) / 1000;
	run_call(w, fn, arg);
	w->inside = false;
	w->sim->current = NULL;
	finish_dying(w);
}

/* ---- blocking work ---- */

struct work {
	struct sim_event event;
	struct sim_world *w;
	struct world_work *k;
};

static void finish_work(struct sim_world *w, void *arg)
{
	(void)w;
	struct world_work *k = arg;
	k->impl = NULL;
	k->run(k);
	k->done(k);
}

static void drop_work(struct sim_event *e)
{
	free(MEM_OWNER(e, struct work, event));
}

static void work_done(struct sim *s, struct sim_event *e)
{
	(void)s;
	struct work *job = MEM_OWNER(e, struct work, event);
	struct sim_world *w = job->w;
	struct world_work *k = job->k;
	free(job);
	sim_enter(w, finish_work, NULL, k);
}

static void offload(struct world *base, struct world_work *k)
{
	struct sim_world *w = sim_world_of(base);
	struct sim *s = w->sim;
	if (w->dead || w->dying)
		return;
	unsigned worker = 0;
	for (unsigned i = 1; i < SIM_WORKERS; i++) {
		if (w->worker_free_us[i] < w->worker_free_us[worker])
			worker = i;
	}
	uint64_t begin = w->worker_free_us[worker];
	if (begin < s->now_us)
		begin = s->now_us;
	w->worker_free_us[worker] =
		begin + prng_between(&s->net, s->knobs.work_min_us, s->knobs.work_max_us);
	struct work *job = mem_alloc(sizeof(*job));
	*job = (struct work){.event = {.run = work_done, .drop = drop_work}, .w = w, .k = k};
	k->impl = job;
	sim_schedule(s, &job->event, w->worker_free_us[worker]);
}

/* ---- death ---- */

static void doom(struct sim_world *w, int status, int signal)
{
	if (w->dead || w->dying)
		return;
	w->dying = true;
	w->exit_status = status;
	w->exit_signal = signal;
	if (!w->inside)
		finish_dying(w);
}

static void stop(struct world *base)
{
	doom(sim_world_of(base), 0, 0);
}

void sim_exit(struct world *base, int status, int signal)
{
	doom(sim_world_of(base), status, signal);
}

static void die(struct world *base, const char *why)
{
	struct sim_world *w = sim_world_of(base);
	char text[512];
	snprintf(text, sizeof(text), "this process must not go on: %s", why);
	log_text(base, LOG_LEVEL_ERROR, text);
	if (w->sim->current != w) {
		fprintf(stderr, "%s: %s\n", w->node->name, text);
		abort();
	}
	w->objects = NULL; /* in the middle of something: nobody may touch them again */
	doom(w, 0, 6);
	longjmp(w->sim->escape, 1);
}

static bool passes(struct sim_world *w, const char *point)
{
	struct sim *s = w->sim;
	list_each (struct sim_armed_kill, k, &s->kills_armed, hook) {
		if (k->node == w->node && strcmp(k->point, point) == 0 && --k->left == 0) {
			list_remove(&k->hook);
			free(k->point);
			free(k);
			return false;
		}
	}
	return !(s->knobs.kill_ppm && prng_chance(&s->kills, s->knobs.kill_ppm));
}

/* From here on no call of this process has an effect; it is buried when its callback returns. */
static void kill_point(struct world *base, const char *name)
{
	struct sim_world *w = sim_world_of(base);
	if (w->dead || w->dying || passes(w, name))
		return;
	sim_narrate(w->sim, "%s killed at %s", w->node->name, name);
	doom(w, 0, 9);
}

void sim_kill_at(struct sim *s, const char *node, const char *point, unsigned nth)
{
	struct sim_armed_kill *k = mem_alloc(sizeof(*k));
	*k = (struct sim_armed_kill){
		.point = mem_text(point), .node = sim_node_need(s, node), .left = nth};
	list_append(&s->kills_armed, &k->hook);
}

static void drop_backlog(struct sim_world *w)
{
	while (!list_empty(&w->backlog)) {
		struct sim_call *c = MEM_OWNER(w->backlog.next, struct sim_call, hook);
		list_remove(&c->hook);
		if (c->drop)
			c->drop(c->arg);
		free(c);
	}
}

void sim_world_kill(struct sim_world *w, int status, int signal)
{
	if (w->dead)
		return;
	assert(!w->inside);
	w->dead = w->dying = true;
	w->exit_status = status;
	w->exit_signal = signal;
	w->dead_at_us = w->sim->now_us;
	w->paused = false;
	list_remove(&w->hook);
	if (w->node->main == w)
		w->node->main = NULL;
	drop_backlog(w);
	sim_net_died(w);
	sim_children_died(w);
	timers_fini(&w->timers);
	sim_timers_follow(w);
	void *objects = w->objects;
	w->objects = NULL;
	if (objects && w->program->stop)
		w->program->stop(objects);
}

/* ---- birth ---- */

static const struct world_ops ops = {
	.now_ms = now_ms,
	.wall_ms = wall_ms,
	.rand64 = rand64,
	.lateness_ms = lateness_ms,
	.log_on = is_log_on,
	.log = log_text,
	.timer_arm = timer_arm,
	.timer_cancel = timer_cancel,
	.http_start = sim_http_start,
	.http_cancel = sim_http_cancel,
	.listen = sim_listen,
	.unlisten = sim_unlisten,
	.reply_with = sim_reply_with,
	.reply_start = sim_reply_start,
	.reply_chunk = sim_reply_chunk,
	.reply_end = sim_reply_end,
	.spawn = sim_spawn,
	.child_send = sim_child_send,
	.child_kill = sim_child_kill,
	.child_abandon = sim_child_abandon,
	.offload = offload,
	.stop = stop,
	.die = die,
	.kill_point = kill_point,
};

struct sim_world *sim_world_new(struct sim_node *n, const struct sim_program *p,
				struct sim_kid *kid)
{
	struct sim_world *w = mem_alloc(sizeof(*w));
	w->base.ops = &ops;
	w->base.kill_armed = true;
	w->sim = n->sim;
	w->node = n;
	w->program = p;
	w->kid = kid;
	w->wake.run = wake;
	list_init(&w->backlog);
	list_init(&w->exchanges);
	list_init(&w->conns);
	list_init(&w->listeners);
	list_init(&w->kept);
	list_init(&w->children);
	list_append(&n->worlds, &w->hook);
	list_append(&n->sim->worlds, &w->grave);
	return w;
}

static void begin(struct sim_world *w, void *arg)
{
	(void)arg;
	w->objects = w->program->start(&w->base, w->node->ctx, NULL);
}

void sim_node_start(struct sim *s, const char *name)
{
	struct sim_node *n = sim_node_need(s, name);
	if (n->main != NULL)
		return;
	sim_narrate(s, "%s starts", name);
	n->main = sim_world_new(n, n->program, NULL);
	sim_enter(n->main, begin, NULL, NULL);
}

void sim_node_crash(struct sim *s, const char *name)
{
	struct sim_node *n = sim_node_need(s, name);
	if (n->main == NULL)
		return;
	sim_narrate(s, "%s crashes", name);
	sim_world_kill(n->main, 0, 9);
}

void sim_node_pause(struct sim *s, const char *name)
{
	struct sim_node *n = sim_node_need(s, name);
	if (n->main == NULL || n->main->paused)
		return;
	sim_narrate(s, "%s is paused", name);
	n->main->paused = true;
}

void sim_node_resume(struct sim *s, const char *name)
{
	struct sim_world *w = sim_node_need(s, name)->main;
	if (w == NULL || !w->paused)
		return;
	sim_narrate(s, "%s goes on", name);
	w->paused = false;
	while (!list_empty(&w->backlog) && !w->paused) {
		struct sim_call *c = MEM_OWNER(w->backlog.next, struct sim_call, hook);
		list_remove(&c->hook);
		sim_enter(w, c->run, c->drop, c->arg);
		free(c);
	}
	sim_timers_follow(w);
}

bool sim_node_running(struct sim *s, const char *name)
{
	return sim_node_need(s, name)->main != NULL;
}

void *sim_node_objects(struct sim *s, const char *name)
{
	struct sim_world *w = sim_node_need(s, name)->main;
	return w ? w->objects : NULL;
}

struct world *sim_node_world(struct sim *s, const char *name)
{
	struct sim_world *w = sim_node_need(s, name)->main;
	return w ? &w->base : NULL;
}

void sim_node_add(struct sim *s, const char *name, const struct sim_program *p, void *ctx)
{
	assert(sim_node_find(s, name) == NULL && strlen(name) < NODE_ID_MAX);
	struct sim_node *n = mem_alloc(sizeof(*n));
	n->sim = s;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->program = p;
	n->ctx = ctx;
	n->next_port = 40000;
	n->next_pid = 1000;
	n->clock_us_base = (int64_t)SIM_BOOT_MS * 1000;
	list_init(&n->worlds);
	/* Each node has its own stream: one more node changes nothing for the others. */
	uint64_t own = s->seed ^ XXH3_64bits(name, strlen(name));
	prng_init(&n->rng, own);
	struct prng drift;
	prng_init(&drift, own ^ UINT64_C(0x6472696674));
	uint64_t max = s->knobs.drift_ppm_max;
	set_drift(n, (int64_t)prng_below(&drift, 2 * max + 1) - (int64_t)max);
	list_append(&s->nodes, &n->hook);
}

void sim_child_add(struct sim *s, const char *argv0, const struct sim_program *p, void *ctx)
{
	struct sim_program_entry *entry = mem_alloc(sizeof(*entry));
	*entry = (struct sim_program_entry){.argv0 = mem_text(argv0), .program = p, .ctx = ctx};
	list_append(&s->programs, &entry->hook);
}

/* ---- the simulator itself ---- */

struct sim *sim_create(uint64_t seed, const struct sim_knobs *knobs)
{
	struct sim *s = mem_alloc(sizeof(*s));
	s->seed = seed;
	s->knobs = knobs ? *knobs : sim_knobs_of_seed(seed);
	prng_init(&s->net, seed ^ UINT64_C(0x6e6574));
	prng_init(&s->kills, seed ^ UINT64_C(0x6b696c6c));
	list_init(&s->nodes);
	list_init(&s->programs);
	list_init(&s->worlds);
	list_init(&s->cuts);
	list_init(&s->held);
	list_init(&s->kills_armed);
	s->hash = XXH3_createState();
	XXH3_64bits_reset_withSeed(s->hash, seed);
	return s;
}

struct sim_knobs *sim_knobs(struct sim *s)
{
	return &s->knobs;
}

static void free_programs(struct sim *s)
{
	list_each_safe (struct sim_program_entry, p, &s->programs, hook) {
		free(p->argv0);
		free(p);
	}
	list_each_safe (struct sim_armed_kill, k, &s->kills_armed, hook) {
		free(k->point);
		free(k);
	}
}

void sim_destroy(struct sim *s)
{
	if (s == NULL)
		return;
	s->trace = NULL;
	list_each (struct sim_node, n, &s->nodes, hook) {
		if (n->main)
			sim_world_kill(n->main, 0, 9);
	}
	sim_net_fini(s);
	free_programs(s);
	list_each_safe (struct sim_world, w, &s->worlds, grave)
		free(w);
	list_each_safe (struct sim_node, n, &s->nodes, hook)
		free(n);
	XXH3_freeState(s->hash);
	free(s->queue.at);
	free(s);
}
