#include "taskmanager/snapshot.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "taskmanager/pace.h"

enum { UPLOADER_NICE = 5, SECOND_NS = 1000000000 };

/* One checkpoint under way. */
struct opened {
	struct object_sink sink; /* first: the sink's owner is this */
	bool used;
	bool over; /* reported, or given up: parts that still come are dropped */
	struct batch_barrier barrier;
	struct storage_upload *upload; /* NULL until there is something to write */
	struct local_copy *copy;       /* NULL: none is made */
	struct object_writer *writer;
	uint32_t n_parts;
	uint64_t began_ns;
	struct snapshot_result result;
};

struct uploader {
	struct uploader_config config;
	char *folder, *file; /* own */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct snapshot_part *first, *last;
	uint64_t aborted[SNAPSHOT_OPEN_MAX];
	unsigned n_aborted; /* ever */
	uint64_t completed;
	bool stop;
	/* the thread's */
	int schedstat; /* how long the thread ran and waited for a core; -1: it cannot tell */
	struct opened open[SNAPSHOT_OPEN_MAX];
	struct block block;
	uint64_t local_completed; /* as told to the local copies */
	unsigned local_aborted;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* A kernel that does not tell how long we waited for a core leaves us cautious: as if always. */
static struct pace_time pace_now(const struct uploader *u)
{
	struct pace_time t = {.now_ns = clock_ns()};
	char text[96], *end = text;
	ssize_t n = u->schedstat < 0 ? -1 : pread(u->schedstat, text, sizeof(text) - 1, 0);

	t.waited_ns = t.now_ns;
	if (n > 0) {
		text[n] = '\0';
		t.ran_ns = strtoull(text, &end, 10);
		t.waited_ns = strtoull(end, NULL, 10);
	}
	return t;
}

/* ---- parts ---- */

struct snapshot_part *snapshot_part_create(unsigned n_ops)
{
	struct snapshot_part *p = mem_alloc(sizeof(*p) + n_ops * sizeof(p->ops[0]));

	p->n_ops = n_ops;
	for (unsigned i = 0; i < n_ops; i++)
		for (unsigned k = 0; k < OP_LISTS_MAX; k++)
			block_init(&p->ops[i].lists[k]);
	return p;
}

void snapshot_part_destroy(struct snapshot_part *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n_ops; i++) {
		if (p->ops[i].capture)
			keyed_capture_end(p->ops[i].capture);
		for (unsigned k = 0; k < OP_LISTS_MAX; k++)
			block_fini(&p->ops[i].lists[k]);
	}
	free(p);
}

/* ---- one object ---- */

static enum errc sink_write(struct object_sink *s, const void *data, size_t len, struct err *e)
{
	struct opened *o = (struct opened *)(void *)s;

	local_write(o->copy, data, len);
	return storage_put_write(o->upload, data, len, e);
}

static void opened_drop(struct opened *o)
{
	object_writer_destroy(o->writer);
	storage_put_abort(o->upload);
	local_abort(o->copy);
	o->writer = NULL;
	o->upload = NULL;
	o->copy = NULL;
	o->over = true;
}

static enum errc opened_begin(struct uploader *u, struct opened *o, struct err *e)
{
	if (o->writer)
		return ERR_OK;
	int n = snprintf(o->result.path, sizeof(o->result.path), "%s/chk-%llu/%s-e%llu.snap",
			 u->folder, (unsigned long long)o->barrier.checkpoint, u->file,
			 (unsigned long long)o->barrier.epoch);
	if (n < 0 || (size_t)n >= sizeof(o->result.path))
		return err_set(e, ERR_LIMIT, "the object's name is too long");
	o->sink.write = sink_write;
	enum errc code = storage_put_begin(u->config.storage, o->result.path, &o->upload, e);
	if (code == ERR_OK)
		o->copy = local_begin(u->config.local, o->result.path);
	if (code == ERR_OK)
		code = object_writer_create(&o->sink, &o->writer, e);
	return code;
}

static bool dropped(struct uploader *u, uint64_t id)
{
	pthread_mutex_lock(&u->lock);
	bool is = u->stop || id < u->completed;
	for (unsigned i = 0; i < SNAPSHOT_OPEN_MAX; i++)
		is = is || u->aborted[i] == id;
	pthread_mutex_unlock(&u->lock);
	return is;
}

static enum errc list_write(struct uploader *u, struct opened *o, const struct snapshot_op *s,
			    unsigned list, struct err *e)
{
	struct object_state state = {.layout = {.list = true},
				     .kind = (uint8_t)(s->modes[list] == OP_LIST_UNION
							       ? LISTSTATE_UNION
							       : LISTSTATE_SPLIT),
				     .parallelism = s->parallelism,
				     .max_parallelism = s->max_parallelism};
	unsigned number;

	snprintf(state.uid, sizeof(state.uid), "%s", s->uid);
	snprintf(state.name, sizeof(state.name), "list-%u", list);
	enum errc code = opened_begin(u, o, e);
	if (code == ERR_OK)
		code = object_writer_state(o->writer, &state, &number, e);
	if (code == ERR_OK)
		code = object_writer_block(o->writer, number, &s->lists[list], e);
	return code;
}

static enum errc keyed_name(struct opened *o, const struct snapshot_op *s, unsigned i,
			    unsigned *out, struct err *e)
{
	const struct keyed_spec *spec = keyed_spec_at(s->keyed, i);
	struct object_state state = {.kind = (uint8_t)spec->kind,
				     .parallelism = s->parallelism,
				     .max_parallelism = s->max_parallelism};

	keyed_layout(spec, &state.layout);
	snprintf(state.uid, sizeof(state.uid), "%s", s->uid);
	snprintf(state.name, sizeof(state.name), "%s", spec->name);
	return object_writer_state(o->writer, &state, out, e);
}

/* Give the cores to the tasks for a while, if they need them. */
static void keep_pace(struct uploader *u, struct pace *p)
{
	struct pace_time t = pace_now(u);
	uint64_t rest = pace_rest(p, &t, u->block.rows, block_raw_bytes(&u->block));
	uint64_t until = t.now_ns + rest;
	struct timespec at = {.tv_sec = (time_t)(until / SECOND_NS),
			      .tv_nsec = (long)(until % SECOND_NS)};

	if (!rest)
		return;
	pthread_mutex_lock(&u->lock);
	(void)pthread_cond_timedwait(&u->changed, &u->lock, &at); /* early: given up, perhaps */
	pthread_mutex_unlock(&u->lock);
}

/* Walk the capture to its end, or until nobody wants it any more (ERR_CANCELED). */
static enum errc keyed_write(struct uploader *u, struct opened *o, struct snapshot_op *s,
			     struct err *e)
{
	unsigned numbers[KEYED_STATES_MAX], n = keyed_count(s->keyed), which;
	enum errc code = opened_begin(u, o, e);
	struct pace_time t = pace_now(u);
	struct pace pace;

	pace_begin(&pace, &t, keyed_sizes(s->keyed).entries, u->config.n_tasks);

	for (unsigned i = 0; i < n && code == ERR_OK; i++)
		code = keyed_name(o, s, i, &numbers[i], e);
	while (code == ERR_OK && keyed_capture_next(s->capture, &which, &u->block)) {
		assert(which < n);
		code = object_writer_block(o->writer, numbers[which], &u->block, e);
		if (code == ERR_OK && dropped(u, o->barrier.checkpoint))
			code = err_set(e, ERR_CANCELED, "given up");
		if (code == ERR_OK)
			keep_pace(u, &pace);
	}
	keyed_capture_end(s->capture);
	s->capture = NULL;
	return code;
}

static enum errc part_write(struct uploader *u, struct opened *o, struct snapshot_part *p,
			    struct err *e)
{
	enum errc code = ERR_OK;

	for (unsigned i = 0; i < p->n_ops && code == ERR_OK; i++) {
		if (p->ops[i].capture)
			code = keyed_write(u, o, &p->ops[i], e);
		for (unsigned k = 0; k < p->ops[i].n_lists && code == ERR_OK; k++)
			code = list_write(u, o, &p->ops[i], k, e);
		if (code != ERR_OK)
			err_wrap(e, code, "operator %s", p->ops[i].uid);
	}
	return code;
}

static enum errc opened_commit(struct opened *o, struct err *e)
{
	if (!o->writer)
		return ERR_OK;
	enum errc code = object_writer_finish(o->writer, &o->result.object, e);
	object_writer_destroy(o->writer);
	o->writer = NULL;
	if (code == ERR_OK) {
		code = storage_put_commit(o->upload, e);
		o->upload = NULL;
	}
	if (code == ERR_OK) {
		local_commit(o->copy);
		o->copy = NULL;
	}
	return code;
}

/* ---- the thread ---- */

/* The place of a checkpoint; the oldest makes room if there is none. */
static struct opened *opened_find(struct uploader *u, const struct batch_barrier *b)
{
	struct opened *free_place = NULL, *oldest = &u->open[0];

	for (unsigned i = 0; i < SNAPSHOT_OPEN_MAX; i++) {
		struct opened *o = &u->open[i];
		if (o->used && o->barrier.checkpoint == b->checkpoint)
			return o;
		if (!o->used)
			free_place = o;
		else if (o->barrier.checkpoint < oldest->barrier.checkpoint)
			oldest = o;
	}
	if (!free_place) {
		opened_drop(oldest);
		free_place = oldest;
	}
	*free_place = (struct opened){.used = true, .barrier = *b, .began_ns = clock_ns()};
	free_place->result.barrier = *b;
	return free_place;
}

static void report(struct uploader *u, struct opened *o)
{
	o->over = true;
	o->result.async_ms = (clock_ns() - o->began_ns) / 1000000;
	u->config.done(u->config.owner, &o->result);
}

static void stats_add(struct snapshot_result *r, const struct snapshot_part *p)
{
	r->rows += p->rows;
	if (p->sync_ns > r->sync_ns)
		r->sync_ns = p->sync_ns;
	if (p->align_ns / 1000000 > r->align_ms)
		r->align_ms = p->align_ns / 1000000;
}

static void part_take(struct uploader *u, struct snapshot_part *p)
{
	struct opened *o = opened_find(u, &p->barrier);
	struct err *e = &o->result.err;
	enum errc code = ERR_OK;

	if (!o->over && dropped(u, p->barrier.checkpoint))
		opened_drop(o);
	if (!o->over) {
		stats_add(&o->result, p);
		code = part_write(u, o, p, e);
	}
	o->n_parts++;
	if (!o->over && code == ERR_OK && o->n_parts == u->config.n_tasks) {
		code = opened_commit(o, e);
		if (code == ERR_OK) {
			*e = (struct err){0}; /* of what a retry has made good */
			report(u, o);
		}
	}
	if (code != ERR_OK) {
		opened_drop(o);
		if (code != ERR_CANCELED)
			report(u, o);
	}
	if (o->n_parts == u->config.n_tasks)
		o->used = false;
	snapshot_part_destroy(p);
}

/* What no restart can need any more. */
static void copies_tidy(struct uploader *u)
{
	uint64_t aborted[SNAPSHOT_OPEN_MAX];
	unsigned n = 0;

	pthread_mutex_lock(&u->lock);
	uint64_t completed = u->completed;
	if (u->n_aborted - u->local_aborted > SNAPSHOT_OPEN_MAX)
		u->local_aborted = u->n_aborted - SNAPSHOT_OPEN_MAX;
	while (u->local_aborted < u->n_aborted)
		aborted[n++] = u->aborted[u->local_aborted++ % SNAPSHOT_OPEN_MAX];
	pthread_mutex_unlock(&u->lock);
	for (unsigned i = 0; i < n; i++)
		local_drop(u->config.local, aborted[i]);
	if (completed > u->local_completed)
		local_complete(u->config.local, completed);
	u->local_completed = completed;
}

/* Objects that nobody wants any more, while no part comes. */
static void sweep(struct uploader *u)
{
	for (unsigned i = 0; i < SNAPSHOT_OPEN_MAX; i++) {
		struct opened *o = &u->open[i];
		if (o->used && !o->over && dropped(u, o->barrier.checkpoint))
			opened_drop(o);
	}
}

/* Rows go first: where no core is free, this thread gets a third of what a task gets, and a
 * capture takes longer. With a free core it runs at full speed. */
static void step_back(void)
{
	id_t me = (id_t)gettid();

	(void)setpriority(PRIO_PROCESS, me, getpriority(PRIO_PROCESS, me) + UPLOADER_NICE);
}

static void *thread_main(void *arg)
{
	struct uploader *u = arg;
	bool stop = false;

	step_back();
	u->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	while (!stop) {
		pthread_mutex_lock(&u->lock);
		struct snapshot_part *p = u->first;
		if (p)
			u->first = p->next;
		else if (!u->stop)
			pthread_cond_wait(&u->changed, &u->lock);
		stop = u->stop && !p;
		pthread_mutex_unlock(&u->lock);
		if (p)
			part_take(u, p);
		sweep(u);
		copies_tidy(u);
	}
	if (u->schedstat >= 0)
		close(u->schedstat);
	return NULL;
}

struct uploader *uploader_create(const struct uploader_config *c)
{
	struct uploader *u = mem_alloc(sizeof(*u));
	pthread_condattr_t monotonic;

	u->config = *c;
	u->folder = mem_text(c->folder);
	u->file = mem_text(c->file);
	block_init(&u->block);
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&u->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (pthread_create(&u->thread, NULL, thread_main, u) != 0)
		abort();
	pthread_setname_np(u->thread, "snapshot");
	return u;
}

void uploader_destroy(struct uploader *u)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	for (unsigned i = 0; i < SNAPSHOT_OPEN_MAX; i++)
		if (u->open[i].used)
			opened_drop(&u->open[i]);
	block_fini(&u->block);
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->changed);
	free(u->folder);
	free(u->file);
	free(u);
}

void uploader_part(struct uploader *u, struct snapshot_part *p)
{
	pthread_mutex_lock(&u->lock);
	p->next = NULL;
	if (u->first)
		u->last->next = p;
	else
		u->first = p;
	u->last = p;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

void uploader_abort(struct uploader *u, uint64_t id)
{
	pthread_mutex_lock(&u->lock);
	u->aborted[u->n_aborted++ % SNAPSHOT_OPEN_MAX] = id;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

void uploader_complete(struct uploader *u, uint64_t id)
{
	pthread_mutex_lock(&u->lock);
	if (id > u->completed)
		u->completed = id;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}
