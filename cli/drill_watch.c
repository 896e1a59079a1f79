#include "cli/drill_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/drill_output.h"
#include "cli/table.h"

enum {
	LOOK_MS = 5,
	ASK_MS = 15,
	SAMPLE_MS = 100,
	ANSWER_MS = 400,
	REPLY_MAX = 4 << 20,
	SAMPLES_MAX = 1 << 17 /* 3.6 hours */
};

struct member {
	struct drill_watch *watch;
	char *address; /* owns */
	char id[DRILL_ID_MAX];
	struct world_http http;
	uint64_t next_ms;
};

struct question {
	struct drill_watch *watch;
	struct world_http http;
	void (*answered)(struct drill_watch *w, const json_t *answer);
};

enum { ASK_JOB, ASK_CHECKPOINTS, ASK_TASKMANAGERS, QUESTIONS };

struct drill_watch {
	struct world *world;
	uint64_t began_ms;
	struct world_timer timer;
	struct member members[DRILL_MEMBERS_MAX];
	unsigned n_members;
	struct question questions[QUESTIONS];
	char *job, *printed_dir, *committed_dir; /* own; NULL: not known */
	struct drill_growth printed, committed;
	int64_t printed_at, committed_at; /* when each grew last */
	struct drill_view view;
	char struck[DRILL_ID_MAX];
	struct drill_window window;
	int64_t epoch_at_open;
	char leader_address[128];     /* who led last; "" at first */
	struct drill_sample *samples; /* owns */
	unsigned n_samples, capacity;
	int64_t sampled_at;
};

int64_t drill_watch_now(const struct drill_watch *w)
{
	return (int64_t)(world_now_ms(w->world) - w->began_ms);
}

const struct drill_view *drill_watch_view(const struct drill_watch *w)
{
	return &w->view;
}

const struct drill_sample *drill_watch_samples(const struct drill_watch *w, unsigned *out_n)
{
	*out_n = w->n_samples;
	return w->samples;
}

/* ---- the window ---- */

static int64_t since_open(const struct drill_watch *w)
{
	return drill_watch_now(w) - w->window.at_ms;
}

static void detected(struct drill_watch *w)
{
	if (w->window.detected_ms < 0)
		w->window.detected_ms = since_open(w);
}

static bool is_struck(const struct drill_watch *w, const char *id)
{
	return w->struck[0] != '\0' && strcmp(w->struck, id) == 0;
}

void drill_watch_open(struct drill_watch *w, const char *struck)
{
	snprintf(w->struck, sizeof(w->struck), "%s", struck ? struck : "");
	w->epoch_at_open = w->view.epoch;
	w->window = (struct drill_window){.at_ms = drill_watch_now(w),
					  .detected_ms = -1,
					  .commanding_ms = -1,
					  .restarts = w->view.restarts,
					  .failed = w->view.failed};
}

static int64_t last_output(const struct drill_watch *w)
{
	return w->printed_dir ? w->printed_at : w->committed_at;
}

bool drill_watch_sees_output(const struct drill_watch *w)
{
	return w->printed_dir || w->committed_dir;
}

struct drill_window drill_watch_window(const struct drill_watch *w)
{
	struct drill_window seen = w->window;
	int64_t silent = drill_watch_now(w) - last_output(w);
	if (silent > seen.gap_ms)
		seen.gap_ms = silent;
	if (!drill_watch_sees_output(w))
		seen.gap_ms = -1;
	seen.restarts = w->view.restarts - w->window.restarts;
	seen.failed = w->view.failed - w->window.failed;
	return seen;
}

/* ---- the output ---- */

static void grew(struct drill_watch *w, int64_t *last, bool counts)
{
	int64_t now = drill_watch_now(w), gap = now - *last;
	if (counts && gap > w->window.gap_ms)
		w->window.gap_ms = gap;
	*last = now;
}

static void look(struct drill_watch *w)
{
	if (drill_growth_look(&w->printed))
		grew(w, &w->printed_at, true);
}

static void sample(struct drill_watch *w)
{
	int64_t now = drill_watch_now(w);
	if (w->n_samples == SAMPLES_MAX)
		return;
	if (drill_growth_find(&w->printed))
		grew(w, &w->printed_at, true);
	if (drill_growth_find(&w->committed))
		grew(w, &w->committed_at, w->printed_dir == NULL);
	int64_t printed = drill_growth_lines(&w->printed);
	int64_t committed = w->printed_dir ? 0 : drill_growth_lines(&w->committed);
	if (w->n_samples == w->capacity) {
		w->capacity = w->capacity ? 2 * w->capacity : 1024;
		w->samples = mem_resize(w->samples, w->capacity, sizeof(*w->samples));
	}
	w->samples[w->n_samples++] = (struct drill_sample){.at_ms = now,
							   .rows = printed + committed,
							   .silent_ms = now - last_output(w),
							   .uncommitted_ms = now - w->committed_at};
	w->sampled_at = now;
}

/* ---- JobManagers ---- */

static void new_leader(struct drill_watch *w, int64_t epoch, const char *id, const char *address)
{
	w->view.epoch = epoch;
	w->view.leader_since = drill_watch_now(w);
	snprintf(w->view.leader, sizeof(w->view.leader), "%s", id);
	snprintf(w->leader_address, sizeof(w->leader_address), "%s", address);
	if (epoch <= w->epoch_at_open || w->window.at_ms < 0)
		return;
	w->window.leaders++;
	if (w->window.commanding_ms < 0)
		w->window.commanding_ms = since_open(w);
	detected(w);
}

static bool in_trouble(const json_t *o, const char *part)
{
	const char *text = json_string_value(json_object_get(json_object_get(o, part), "trouble"));
	return text && text[0] != '\0';
}

static void leader_says(struct drill_watch *w, const struct member *m, const json_t *o)
{
	int64_t epoch = table_integer(o, "epoch", 0);
	if (epoch < w->view.epoch)
		return; /* one that does not know yet that it is none any more */
	if (epoch > w->view.epoch)
		new_leader(w, epoch, m->id, m->address);
	snprintf(w->view.leader, sizeof(w->view.leader), "%s", m->id);
	w->view.standbys = (unsigned)json_array_size(json_object_get(o, "members"));
	w->view.standbys -= w->view.standbys > 0;
	w->view.store_trouble = in_trouble(o, "etcd");
	w->view.storage_trouble = in_trouble(o, "storage");
	if (w->view.store_trouble || w->view.storage_trouble)
		detected(w);
}

static void member_says(struct drill_watch *w, struct member *m, const json_t *o)
{
	const char *role = table_text(o, "role");
	snprintf(m->id, sizeof(m->id), "%s", table_text(o, "id"));
	if (strcmp(role, "leader") == 0) {
		leader_says(w, m, o);
		return;
	}
	if (strcmp(w->view.leader, m->id) == 0)
		w->view.leader[0] = '\0'; /* suspended, or it has left */
	if (is_struck(w, m->id))
		return;
	if (json_is_null(json_object_get(o, "leader")) || in_trouble(o, "etcd"))
		detected(w);
}

static void member_answered(struct world_http *h, const struct world_reply *reply)
{
	struct member *m = MEM_OWNER(h, struct member, http);
	struct drill_watch *w = m->watch;
	json_t *o = NULL;
	m->next_ms = world_now_ms(w->world) + ASK_MS;
	if (reply->code || reply->status != 200 ||
	    json_parse(reply->body, reply->body_len, &o, NULL)) {
		if (m->id[0] && strcmp(w->view.leader, m->id) == 0)
			w->view.leader[0] = '\0';
		return;
	}
	member_says(w, m, o);
	json_decref(o);
}

static void ask(struct drill_watch *w, struct world_http *h, const char *address, const char *path,
		void (*on_end)(struct world_http *h, const struct world_reply *reply))
{
	char *url = mem_printf("http://%s%s", address, path);
	struct world_http_spec spec = {
		.method = "GET", .url = url, .reply_max = REPLY_MAX, .timeout_ms = ANSWER_MS};
	*h = (struct world_http){.on_end = on_end};
	world_http_start(w->world, h, &spec);
	free(url);
}

static void ask_members(struct drill_watch *w)
{
	uint64_t now = world_now_ms(w->world);
	for (unsigned i = 0; i < w->n_members; i++) {
		struct member *m = &w->members[i];
		if (m->http.impl == NULL && now >= m->next_ms)
			ask(w, &m->http, m->address, "/v1/cluster", member_answered);
	}
}

/* ---- the job and the TaskManagers ---- */

static void job_says(struct drill_watch *w, const json_t *o)
{
	const json_t *more = json_object_get(o, "weir"), *vertex;
	int64_t restarts = table_integer(more, "restarts", 0);
	size_t i;
	snprintf(w->view.job_state, sizeof(w->view.job_state), "%s", table_text(o, "state"));
	if (restarts > w->view.restarts)
		w->view.restarts = restarts;
	w->view.tasks = 0;
	json_array_foreach (json_object_get(o, "vertices"), i, vertex)
		w->view.tasks += table_integer(vertex, "parallelism", 0);
	w->view.answers++;
	if (strcmp(w->view.job_state, "RUNNING") != 0 || w->view.restarts > w->window.restarts)
		detected(w);
}

static void checkpoints_say(struct drill_watch *w, const json_t *o)
{
	const json_t *latest = json_object_get(json_object_get(o, "latest"), "completed");
	int64_t id = table_integer(latest, "id", 0);
	int64_t failed = table_integer(json_object_get(o, "counts"), "failed", 0);
	if (id > w->view.completed)
		w->view.completed = id;
	if (failed > w->view.failed) {
		w->view.failed = failed;
		detected(w);
	}
}

static void taskmanagers_say(struct drill_watch *w, const json_t *o)
{
	const json_t *tm;
	size_t i;
	unsigned connected = 0;
	json_array_foreach (json_object_get(o, "taskmanagers"), i, tm)
		connected +=
			strcmp(table_text(json_object_get(tm, "weir"), "state"), "CONNECTED") == 0;
	if (connected < w->view.taskmanagers)
		detected(w);
	w->view.taskmanagers = connected;
}

static void question_answered(struct world_http *h, const struct world_reply *reply)
{
	struct question *q = MEM_OWNER(h, struct question, http);
	json_t *o = NULL;
	if (reply->code || reply->status != 200 ||
	    json_parse(reply->body, reply->body_len, &o, NULL))
		return;
	q->answered(q->watch, o);
	json_decref(o);
}

static void ask_question(struct drill_watch *w, int which, const char *path)
{
	struct question *q = &w->questions[which];
	if (q->http.impl == NULL)
		ask(w, &q->http, w->leader_address, path, question_answered);
}

static void ask_leader(struct drill_watch *w)
{
	char path[128];
	if (w->leader_address[0] == '\0')
		return;
	ask_question(w, ASK_TASKMANAGERS, "/v1/taskmanagers");
	if (w->job == NULL)
		return;
	snprintf(path, sizeof(path), "/v1/jobs/%s", w->job);
	ask_question(w, ASK_JOB, path);
	snprintf(path, sizeof(path), "/v1/jobs/%s/checkpoints", w->job);
	ask_question(w, ASK_CHECKPOINTS, path);
}

/* ---- the loop ---- */

static void tick(struct world_timer *t)
{
	struct drill_watch *w = MEM_OWNER(t, struct drill_watch, timer);
	look(w);
	ask_members(w);
	if (drill_watch_now(w) - w->sampled_at >= SAMPLE_MS) {
		sample(w);
		ask_leader(w);
	}
	world_timer_arm(w->world, &w->timer, world_now_ms(w->world) + LOOK_MS);
}

struct drill_watch *drill_watch_create(struct world *world, const char *const *addresses,
				       unsigned n)
{
	static void (*const answered[QUESTIONS])(struct drill_watch * w, const json_t *answer) = {
		job_says, checkpoints_say, taskmanagers_say};
	struct drill_watch *w = mem_alloc(sizeof(*w));
	w->world = world;
	w->began_ms = world_now_ms(world);
	w->window = (struct drill_window){.at_ms = -1, .detected_ms = -1, .commanding_ms = -1};
	w->n_members = n < DRILL_MEMBERS_MAX ? n : DRILL_MEMBERS_MAX;
	for (unsigned i = 0; i < w->n_members; i++) {
		w->members[i].watch = w;
		w->members[i].address = mem_text(addresses[i]);
	}
	for (int i = 0; i < QUESTIONS; i++) {
		w->questions[i].watch = w;
		w->questions[i].answered = answered[i];
	}
	w->timer.fire = tick;
	world_timer_arm(world, &w->timer, world_now_ms(world));
	return w;
}

void drill_watch_job(struct drill_watch *w, const char *job, const char *printed,
		     const char *committed)
{
	w->job = mem_text(job);
	w->printed_dir = printed ? mem_text(printed) : NULL;
	w->committed_dir = committed ? mem_text(committed) : NULL;
	w->printed = (struct drill_growth){
		.directory = w->printed_dir, .part = w->job, .files_grow = true};
	w->committed = (struct drill_growth){.directory = w->committed_dir, .part = ""};
	drill_growth_begin(&w->printed);
	drill_growth_begin(&w->committed);
	w->printed_at = w->committed_at = drill_watch_now(w);
}

void drill_watch_destroy(struct drill_watch *w)
{
	if (w == NULL)
		return;
	world_timer_cancel(w->world, &w->timer);
	for (unsigned i = 0; i < w->n_members; i++) {
		world_http_cancel(w->world, &w->members[i].http);
		free(w->members[i].address);
	}
	for (int i = 0; i < QUESTIONS; i++)
		world_http_cancel(w->world, &w->questions[i].http);
	drill_growth_fini(&w->printed);
	drill_growth_fini(&w->committed);
	free(w->samples);
	free(w->job);
	free(w->printed_dir);
	free(w->committed_dir);
	free(w);
}
