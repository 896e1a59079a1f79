/*
 * probe - strikes a process and measures what users notice, to the microsecond.
 *
 *   probe FILE...      watches the growth of these files (what sinks have written)
 *
 * Reads one command a line from its input and answers each with one JSON line:
 *
 *   {"pid":n, "signal":n, "job":"id", "epoch":n, "submit":{...}, "to":["host:port",...],
 *    "run":"shell command instead of the signal", "window":ms}
 *        Sends the signal; at once submits `submit` to a survivor until one says 202, and asks
 *        the survivors until one leads with a higher epoch and has the job RUNNING. Then, `window`
 *        ms after the signal: {"accepted","leads","running" (us after the signal), "gap",
 *        "gapBefore" (longest silence of any file in the window after and before it, us)}.
 *   {"watch":"file"}   one more file
 *   {"late":true}      {"ticks","p50","p99","max"}: how late a 1 ms timer of this process was, us
 *
 * Threads: one asks, one submits, one ticks every millisecond and looks at the files. What the
 * ticking one records is read under its lock.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	FILES_MAX = 64,
	EVENTS = 1 << 16, /* remembered per file; at one a millisecond a minute */
	TICK_NS = 1000000,
	LATE_MAX = 1 << 20, /* us; later ticks count as that late */
	GIVE_UP_S = 30,
	REPLY_MAX = 1 << 16
};

struct file {
	char *path;
	off_t size;
	uint64_t n;
	int64_t at[EVENTS]; /* us; when it was seen to have grown, a ring */
};

struct watch {
	pthread_mutex_t lock;
	struct file *files[FILES_MAX];
	unsigned n;
	uint32_t *late; /* how many ticks were so many us late */
	uint64_t ticks;
};

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void wait_until(int64_t us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
		;
}

/* ---- ticking and watching ---- */

static void look(struct watch *w, int64_t at)
{
	for (unsigned i = 0; i < w->n; i++) {
		struct file *f = w->files[i];
		struct stat st;
		if (stat(f->path, &st) != 0 || st.st_size == f->size)
			continue;
		f->size = st.st_size;
		f->at[f->n++ % EVENTS] = at;
	}
}

static void *tick(void *ctx)
{
	struct watch *w = ctx;
	int64_t due = now_us();
	for (;;) {
		due += TICK_NS / 1000;
		wait_until(due);
		int64_t now = now_us(), late = now - due;
		pthread_mutex_lock(&w->lock);
		w->late[late < LATE_MAX ? late : LATE_MAX - 1]++;
		w->ticks++;
		look(w, now);
		pthread_mutex_unlock(&w->lock);
		if (late > TICK_NS / 1000)
			due = now;
	}
	return NULL;
}

static void add_file(struct watch *w, const char *path)
{
	struct file *f = calloc(1, sizeof(*f));
	if (f == NULL || w->n == FILES_MAX)
		exit(2);
	f->path = strdup(path);
	pthread_mutex_lock(&w->lock);
	w->files[w->n++] = f;
	pthread_mutex_unlock(&w->lock);
}

/* The longest silence within [from, to), counted from the last growth before it. */
static int64_t gap_of(const struct file *f, int64_t from, int64_t to)
{
	int64_t longest = 0, last = from;
	uint64_t oldest = f->n > EVENTS ? f->n - EVENTS : 0;
	for (uint64_t i = oldest; i < f->n; i++) {
		int64_t at = f->at[i % EVENTS];
		if (at < from) {
			last = at;
			continue;
		}
		int64_t end = at < to ? at : to;
		if (end - last > longest)
			longest = end - last;
		last = at;
		if (at >= to)
			return longest;
	}
	return to - last > longest ? to - last : longest;
}

/* Files that did not grow at all within 5 s belong to nobody any more. */
static int64_t longest_gap(struct watch *w, int64_t from, int64_t to)
{
	int64_t longest = 0;
	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->n; i++) {
		const struct file *f = w->files[i];
		if (f->n == 0 || f->at[(f->n - 1) % EVENTS] < from - 5000000)
			continue;
		int64_t gap = gap_of(f, from, to);
		if (gap > longest)
			longest = gap;
	}
	pthread_mutex_unlock(&w->lock);
	return longest;
}

static int64_t late_at(const struct watch *w, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)((double)w->ticks * share);
	for (int64_t us = 0; us < LATE_MAX; us++) {
		seen += w->late[us];
		if (seen > wanted)
			return us;
	}
	return LATE_MAX;
}

static json_t *lateness(struct watch *w)
{
	pthread_mutex_lock(&w->lock);
	int64_t max = LATE_MAX - 1;
	while (max > 0 && w->late[max] == 0)
		max--;
	json_t *o = json_pack("{s:I, s:I, s:I, s:I}", "ticks", (json_int_t)w->ticks, "p50",
			      (json_int_t)late_at(w, 0.5), "p99", (json_int_t)late_at(w, 0.99),
			      "max", (json_int_t)max);
	pthread_mutex_unlock(&w->lock);
	return o;
}

/* ---- asking ---- */

struct reply {
	char text[REPLY_MAX];
	size_t len;
};

static size_t collect(char *data, size_t size, size_t n, void *ctx)
{
	struct reply *r = ctx;
	size_t len = size * n, room = sizeof(r->text) - 1 - r->len;
	memcpy(r->text + r->len, data, len < room ? len : room);
	r->len += len < room ? len : room;
	return len;
}

/* The status; 0 if nobody answered. */
static long ask(CURL *c, const char *address, const char *path, const char *body, long timeout_ms,
		struct reply *out)
{
	char url[512];
	long status = 0;
	struct curl_slist *type = curl_slist_append(NULL, "Content-Type: application/json");
	snprintf(url, sizeof(url), "http://%s%s", address, path);
	out->len = 0;
	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, type);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
	if (body)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	if (curl_easy_perform(c) == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(type);
	out->text[out->len] = '\0';
	return status;
}

/* ---- striking ---- */

struct strike {
	const json_t *order;
	char *submit;                     /* owns */
	int64_t at;                       /* when the signal was sent; 0: not yet */
	int64_t accepted, leads, running; /* us after it; -1: never */
	unsigned tries;                   /* submissions sent */
	pthread_barrier_t ready;
	CURL *submits, *asks;
};

static const char *target(const struct strike *s, unsigned i)
{
	const json_t *to = json_object_get(s->order, "to");
	return json_string_value(json_array_get(to, i % json_array_size(to)));
}

static bool in_time(const struct strike *s)
{
	return now_us() < s->at + (int64_t)GIVE_UP_S * 1000000;
}

static void *submit(void *ctx)
{
	struct strike *s = ctx;
	struct reply *r = calloc(1, sizeof(*r));
	pthread_barrier_wait(&s->ready);
	while (r && in_time(s)) {
		if (ask(s->submits, target(s, s->tries++), "/v1/jobs", s->submit, 9000, r) == 202) {
			s->accepted = now_us() - s->at;
			break;
		}
		wait_until(now_us() + 1000);
	}
	free(r);
	return NULL;
}

static bool leads_newer(const struct reply *r, json_int_t epoch)
{
	json_t *o = json_loads(r->text, 0, NULL);
	const char *role = json_string_value(json_object_get(o, "role"));
	bool yes = role && strcmp(role, "leader") == 0 &&
		   json_integer_value(json_object_get(o, "epoch")) > epoch;
	json_decref(o);
	return yes;
}

static bool runs(const struct reply *r)
{
	json_t *o = json_loads(r->text, 0, NULL);
	const char *status = json_string_value(json_object_get(o, "status"));
	bool yes = status && strcmp(status, "RUNNING") == 0;
	json_decref(o);
	return yes;
}

static void await_running(struct strike *s)
{
	struct reply *r = calloc(1, sizeof(*r));
	char path[128];
	json_int_t epoch = json_integer_value(json_object_get(s->order, "epoch"));
	snprintf(path, sizeof(path), "/v1/jobs/%s/status",
		 json_string_value(json_object_get(s->order, "job")));
	for (unsigned i = 0; r && in_time(s) && s->running < 0; i += s->leads < 0) {
		const char *who = target(s, i);
		if (s->leads < 0) {
			if (ask(s->asks, who, "/v1/cluster", NULL, 500, r) == 200 &&
			    leads_newer(r, epoch))
				s->leads = now_us() - s->at;
		}
		if (s->leads >= 0 && ask(s->asks, who, path, NULL, 500, r) == 200 && runs(r))
			s->running = now_us() - s->at;
		if (s->running < 0)
			wait_until(now_us() + 500);
	}
	free(r);
}

static void hit(struct strike *s)
{
	const char *command = json_string_value(json_object_get(s->order, "run"));
	int pid = (int)json_integer_value(json_object_get(s->order, "pid"));
	int sig = (int)json_integer_value(json_object_get(s->order, "signal"));
	s->at = now_us();
	int failed = command ? system(command) : pid > 1 ? kill(pid, sig) : -1;
	if (failed)
		fprintf(stderr, "probe: nothing was struck\n");
}

static json_t *strike(struct watch *w, const json_t *order)
{
	struct strike s = {.order = order, .accepted = -1, .leads = -1, .running = -1};
	int64_t window = json_integer_value(json_object_get(order, "window")) * 1000;
	pthread_t thread;
	s.submit = json_dumps(json_object_get(order, "submit"), JSON_COMPACT);
	s.submits = curl_easy_init();
	s.asks = curl_easy_init();
	pthread_barrier_init(&s.ready, NULL, 2);
	if (pthread_create(&thread, NULL, submit, &s) != 0)
		exit(2);
	hit(&s);
	pthread_barrier_wait(&s.ready);
	await_running(&s);
	pthread_join(thread, NULL);
	wait_until(s.at + window);
	json_t *answer =
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:i}", "accepted", (json_int_t)s.accepted,
			  "leads", (json_int_t)s.leads, "running", (json_int_t)s.running, "gap",
			  (json_int_t)longest_gap(w, s.at, s.at + window), "gapBefore",
			  (json_int_t)longest_gap(w, s.at - window, s.at), "tries", (int)s.tries);
	pthread_barrier_destroy(&s.ready);
	curl_easy_cleanup(s.submits);
	curl_easy_cleanup(s.asks);
	free(s.submit);
	return answer;
}

static json_t *obey(struct watch *w, const json_t *order)
{
	const char *path = json_string_value(json_object_get(order, "watch"));
	if (path) {
		add_file(w, path);
		return json_object();
	}
	return json_is_true(json_object_get(order, "late")) ? lateness(w) : strike(w, order);
}

int main(int argc, char **argv)
{
	static struct watch w = {.lock = PTHREAD_MUTEX_INITIALIZER}; /* the ticking thread stays */
	static char line[1 << 16];
	pthread_t thread;
	curl_global_init(CURL_GLOBAL_ALL);
	w.late = calloc(LATE_MAX, sizeof(*w.late));
	for (int i = 1; i < argc; i++)
		add_file(&w, argv[i]);
	if (w.late == NULL || pthread_create(&thread, NULL, tick, &w) != 0)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		json_t *order = json_loads(line, 0, NULL);
		json_t *answer = obey(&w, order);
		json_dumpf(answer, stdout, JSON_COMPACT);
		puts("");
		fflush(stdout);
		json_decref(answer);
		json_decref(order);
	}
	return 0;
}
