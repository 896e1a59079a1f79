/*
 * A whole pipeline in one thread: tasks are polled in an order that a seed decides, triggers reach
 * the sources at different moments, some checkpoints are given up. At every checkpoint that
 * completes, the counts in the captured state must be exactly the rows that the sources had emitted
 * before it (exactly-once), or at least those (at-least-once). The captures are walked block by
 * block while the tasks go on.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/prng.h"
#include "taskmanager/deploy.h"
#include "taskmanager/worker.h"

enum { KEYS = 50, ROWS = 30000, SOURCES = 2, COUNTS = 3, CKPT_MAX = 200 };

static const char form[] =
	"{\"name\":\"p\",\"parallelism\":2,\"checkpointing\":{\"interval\":\"1s\",\"mode\":\"%s\"},"
	"\"operators\":["
	"{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":0,\"to\":29999,\"keys\":50},"
	"{\"uid\":\"c\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"key\"],"
	"\"parallelism\":3,\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]},"
	"{\"uid\":\"d\",\"type\":\"sink.discard\",\"inputs\":[\"c\"],\"parallelism\":1}]}";

struct run {
	struct task_port port;
	struct deployment d;
	struct prng r;
	bool exactly_once;
	unsigned n_parts[CKPT_MAX];
	bool given_up[CKPT_MAX];
	struct snapshot_part *walking[8]; /* a capture that is being walked, per task */
	uint64_t counted[CKPT_MAX][KEYS];
	uint64_t emitted[CKPT_MAX];
	unsigned complete, declined, at_end, committed;
	uint64_t next;
};

static struct run *run_of(struct task_port *p)
{
	return MEM_OWNER(p, struct run, port);
}

/* What a source had left at the barrier. */
static void source_part(struct run *r, struct snapshot_part *p)
{
	const struct block *b = &p->ops[0].lists[0];
	uint64_t left = 0;
	struct piece {
		int64_t next;
		uint64_t left;
	} piece;

	for (unsigned i = 0; i < b->rows; i++) {
		memcpy(&piece, b->heap.data + i * sizeof(piece), sizeof(piece));
		left += piece.left;
	}
	r->emitted[p->barrier.checkpoint] += ROWS / SOURCES - left;
	snapshot_part_destroy(p);
}

static void on_part(struct task_port *port, struct task *t, struct snapshot_part *p)
{
	struct run *r = run_of(port);

	r->n_parts[p->barrier.checkpoint]++;
	if (t->source) {
		source_part(r, p);
	} else if (p->ops[0].capture) {
		cr_assert(r->walking[t->config.index] == NULL, "one capture at a time");
		r->walking[t->config.index] = p;
	} else {
		snapshot_part_destroy(p);
	}
}

static void on_declined(struct task_port *p, struct task *t, uint64_t id, const char *why)
{
	(void)t;
	(void)id;
	(void)why;
	run_of(p)->declined++;
}

static void on_at_end(struct task_port *p, struct task *t)
{
	(void)t;
	run_of(p)->at_end++;
}

static void on_committed(struct task_port *p, struct task *t, uint64_t id)
{
	(void)t;
	(void)id;
	run_of(p)->committed++;
}

static void check_complete(struct run *r, uint64_t id)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < KEYS; k++)
		sum += r->counted[id][k];
	if (r->exactly_once)
		cr_assert(eq(u64, sum, r->emitted[id]), "checkpoint %lu", (unsigned long)id);
	else
		cr_assert(ge(u64, sum, r->emitted[id]), "checkpoint %lu", (unsigned long)id);
	r->complete++;
}

/* One block of a capture; the last one may complete its checkpoint. */
static void walk(struct run *r, unsigned task)
{
	struct snapshot_part *p = r->walking[task];
	struct block b;
	unsigned state;

	if (!p)
		return;
	block_init(&b);
	bool more = keyed_capture_next(p->ops[0].capture, &state, &b);
	for (unsigned i = 0; more && i < b.rows; i++)
		r->counted[p->barrier.checkpoint][b.words[i * b.n_words]] =
			b.words[i * b.n_words + 1];
	block_fini(&b);
	if (more)
		return;
	r->walking[task] = NULL;
	snapshot_part_destroy(p);
}

static bool walked(const struct run *r, uint64_t id)
{
	for (unsigned i = 0; i < r->d.n_tasks; i++)
		if (r->walking[i] && r->walking[i]->barrier.checkpoint == id)
			return false;
	return true;
}

static void begin(struct run *r, uint64_t seed, bool exactly_once, bool commit_only)
{
	struct err e = {0};
	char text[1024];
	json_t *spec, *subtasks, *peers;

	memset(r, 0, sizeof(*r));
	prng_init(&r->r, seed);
	r->exactly_once = exactly_once;
	r->next = 1;
	r->port = (struct task_port){on_part, on_declined, on_at_end, on_committed};
	snprintf(text, sizeof(text), form, exactly_once ? "exactly-once" : "at-least-once");
	cr_assert(eq(int, json_parse(text, strlen(text), &spec, &e), ERR_OK), "%s", e.text);
	subtasks = json_loads("[[0,0],[0,1],[1,0],[1,1],[1,2],[2,0]]", 0, NULL);
	peers = json_pack("[{s:s,s:s,s:s,s:O}]", "tm", "a", "instance", "i", "address", "x:1",
			  "subtasks", subtasks);
	struct deploy_config c = {.types = engine_op_types,
				  .files_root = "/tmp",
				  .cluster = "c",
				  .memory_bytes = 64 << 20,
				  .flush_ns = 1,
				  .commit_only = commit_only,
				  .port = &r->port};
	cr_assert(eq(int, deploy_prepare(&r->d, &c, spec, subtasks, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(int, deploy_wire(&r->d, peers, &e), ERR_OK), "%s", e.text);
	json_decref(spec);
	json_decref(subtasks);
	json_decref(peers);
	for (unsigned i = 0; i < r->d.n_tasks; i++)
		cr_assert(task_open(r->d.tasks[i], NULL, NULL), "%s",
			  task_error(r->d.tasks[i])->text);
}

static void order(struct run *r, unsigned task, enum task_order_kind kind, uint64_t id)
{
	task_order(r->d.tasks[task], &(struct task_order){.kind = kind, .barrier.checkpoint = id});
}

/* Each source hears of the newest checkpoints at its own time, and perhaps of an abort before. */
static void leader_step(struct run *r, uint64_t heard[SOURCES])
{
	unsigned s = (unsigned)prng_below(&r->r, SOURCES);

	if (r->next < CKPT_MAX && prng_chance(&r->r, 20000))
		r->next++;
	if (heard[s] + 1 < r->next && prng_chance(&r->r, 100000))
		order(r, s, TASK_TRIGGER, ++heard[s]);
	if (r->next > 2 && prng_chance(&r->r, 3000)) {
		uint64_t id = 1 + prng_below(&r->r, r->next - 1);
		r->given_up[id] = true;
		for (unsigned i = 0; i < r->d.n_tasks; i++)
			order(r, i, TASK_ABORT, id);
	}
}

static void drive(struct run *r)
{
	uint64_t heard[SOURCES] = {0}, now = 1;
	unsigned quiet = 0;
	struct task_wait w;

	while (quiet < 2000) {
		unsigned i = (unsigned)prng_below(&r->r, r->d.n_tasks);
		leader_step(r, heard);
		enum task_verdict v = task_poll(r->d.tasks[i], now += 1000, &w);
		cr_assert(ne(int, v, TASK_ENDED), "%s", task_error(r->d.tasks[i])->text);
		if (prng_chance(&r->r, 300000))
			walk(r, (unsigned)prng_below(&r->r, r->d.n_tasks));
		quiet = r->at_end == SOURCES && v == TASK_IDLE ? quiet + 1 : 0;
	}
	for (unsigned i = 0; i < r->d.n_tasks; i++)
		while (r->walking[i])
			walk(r, i);
	for (uint64_t id = 1; id < CKPT_MAX; id++)
		if (r->n_parts[id] == r->d.n_tasks && walked(r, id))
			check_complete(r, id);
}

static void finish(struct run *r)
{
	struct task_wait w;

	for (unsigned i = 0; i < r->d.n_tasks; i++) {
		task_order(r->d.tasks[i], &(struct task_order){.kind = TASK_FINISH});
		cr_assert(eq(int, task_poll(r->d.tasks[i], 1, &w), TASK_ENDED));
		cr_assert(not(task_failed(r->d.tasks[i])));
	}
	deploy_fini(&r->d);
}

static unsigned runs(bool exactly_once, uint64_t first, unsigned n)
{
	static struct run r;
	unsigned complete = 0;

	for (uint64_t seed = first; seed < first + n; seed++) {
		begin(&r, seed, exactly_once, false);
		drive(&r);
		finish(&r);
		complete += r.complete;
	}
	return complete;
}

Test(pipeline, exactly_once_under_random_interleavings)
{
	cr_assert(gt(u32, runs(true, 1, 60), 200), "too few checkpoints to mean anything");
}

Test(pipeline, at_least_once_under_random_interleavings)
{
	cr_assert(gt(u32, runs(false, 1, 30), 100), "too few checkpoints to mean anything");
}

/* The job is to end: its tasks restore and commit, and no source reads a row. */
Test(pipeline, only_to_commit_nothing_is_read)
{
	static struct run r;
	struct task_wait w;

	begin(&r, 1, true, true);
	for (unsigned i = 0; i < r.d.n_tasks; i++)
		order(&r, i, TASK_COMPLETE, 1);
	for (unsigned n = 0; n < 100; n++)
		for (unsigned i = 0; i < r.d.n_tasks; i++)
			cr_assert(eq(int, task_poll(r.d.tasks[i], (n + 1) * 1000, &w), TASK_IDLE));
	for (unsigned i = 0; i < r.d.n_tasks; i++) {
		struct traffic t;
		task_traffic(r.d.tasks[i], &t);
		cr_expect(eq(u64, t.read_records + t.write_records, 0));
	}
	cr_expect(eq(u32, r.at_end, 0));
	cr_expect(eq(u32, r.committed, r.d.n_tasks));
	finish(&r);
}
