/*
 * sim_cluster - many seeds of the cluster (cluster.h), a batch of them in a
 * process of its own: a crash is the result of the seed that was being played,
 * and the next process goes on behind it. A seed that is played twice is played
 * by two processes; so what a seed does depends on nothing before it.
 *
 *   sim_cluster [--seeds N] [--first K] [--twice-every N] [--max-failures N]
 *       (500 seeds, or WEIR_SEEDS)
 *   sim_cluster --seed K [--trace | --debug]
 *   both: [--seconds V]   the part with faults, in virtual seconds; default: of the seed
 *
 * Exit status: 0; 127 a program crashed; 128 something did not live on after
 * the healing; 129 a promise was broken; 2 usage. The last line is the total.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "cluster.h"
#include "faults.h"
#include "ledger.h"

enum { EXIT_CRASH = 127, EXIT_LIVENESS = 128, EXIT_CORRECTNESS = 129, SEED_SECONDS_MAX = 120 };
enum { COUNTED_MS = 15000, COUNTED_CHECKPOINTS = 3, COUNTED_PROCESSES = 3, TWICE_EVERY = 50 };
enum { SEEDS = 500, FAILURES_MAX = 10, BATCH = 50 };

struct options {
	uint64_t seed, first, seeds, seconds, twice_every, max_failures;
	bool one, trace, debug;
};

struct outcome {
	bool whole; /* the process came to its end */
	bool ok;
	char text[1024];
	uint64_t hash, events, virtual_ms, records;
	unsigned n_tm, faults;
	struct check_counts counts;
};

struct totals {
	uint64_t passed, failed, counted, virtual_ms, events, records, faults, twice;
	struct check_counts counts;
	int worst;
};

/* ---- one seed ---- */

static void print_line(struct sim_trace *t, uint64_t at_us, const char *node, enum log_level level,
		       const char *text)
{
	struct buf line = {0};
	(void)t, (void)level;
	sim_trace_format(&line, at_us, node, text);
	fputs(line.data, stdout);
	buf_fini(&line);
}

static void print_swarm(struct cluster *c)
{
	struct buf b = {0};
	sim_knobs_print(sim_knobs(c->sim), &b);
	buf_text(&b, "\n  ");
	swarm_print(&c->swarm, &b);
	printf("seed %" PRIu64 "\n  %s\n", c->seed, b.data);
	for (unsigned i = 0; i < c->swarm.n_jobs; i++)
		printf("  %s %s\n", c->jobs[i].id, c->jobs[i].spec);
	buf_fini(&b);
}

static void play(uint64_t seed, const struct options *o, struct outcome *out)
{
	struct sim_trace trace = {.line = print_line};
	struct cluster *c = cluster_create(seed, o->seconds * 1000);
	if (o->trace) {
		setvbuf(stdout, NULL, _IOLBF, 0);
		print_swarm(c);
		sim_set_trace(c->sim, &trace, o->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	}
	out->ok = cluster_play(c);
	snprintf(out->text, sizeof(out->text), "%s",
		 check_text(c->check) ? check_text(c->check) : "");
	out->hash = sim_hash(c->sim);
	out->events = sim_events(c->sim);
	out->virtual_ms = sim_now_us(c->sim) / 1000;
	out->records = ledger_total(c->ledger);
	out->n_tm = c->swarm.n_tm;
	out->faults = faults_count(c->faults);
	out->counts = check_counts(c->check);
	cluster_destroy(c);
	out->whole = true;
}

/* A process that plays seeds, and where it tells what became of them. */
struct player {
	pid_t pid; /* 0: none */
	int fd;
};

static void play_batch(uint64_t first, uint64_t n, const struct options *o, int fd)
{
	json_object_seed(1);
	for (uint64_t i = 0; i < n; i++) {
		struct outcome out = {0};
		alarm(SEED_SECONDS_MAX);
		play(first + i, o, &out);
		fflush(stdout);
		if (write(fd, &out, sizeof(out)) != (ssize_t)sizeof(out))
			_exit(1);
	}
	_exit(0);
}

static void player_start(struct player *p, uint64_t first, uint64_t n, const struct options *o)
{
	int fds[2];
	fflush(stdout);
	if (pipe(fds) != 0 || (p->pid = fork()) < 0) {
		perror("sim_cluster");
		exit(1);
	}
	if (p->pid == 0) {
		close(fds[0]);
		play_batch(first, n, o, fds[1]);
	}
	close(fds[1]);
	p->fd = fds[0];
}

/* How it ended. */
static int player_stop(struct player *p)
{
	int status = 0;
	if (p->pid == 0)
		return 0;
	close(p->fd);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	p->pid = 0;
	return status;
}

static void player_result(struct player *p, struct outcome *out)
{
	ssize_t n;
	do
		n = read(p->fd, out, sizeof(*out));
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(*out))
		return;
	int status = player_stop(p);
	*out = (struct outcome){0};
	snprintf(out->text, sizeof(out->text), "CRASH: signal %d, exit status %d%s",
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		 WIFEXITED(status) ? WEXITSTATUS(status) : 0,
		 WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it did not come to an end)"
								    : "");
}

static void run_seed(uint64_t seed, const struct options *o, struct outcome *out)
{
	struct player p = {0};
	player_start(&p, seed, 1, o);
	player_result(&p, out);
	player_stop(&p);
}

static int exit_status(const struct outcome *out)
{
	if (out->ok)
		return 0;
	if (!out->whole)
		return EXIT_CRASH;
	return text_starts(out->text, "LIVENESS") ? EXIT_LIVENESS : EXIT_CORRECTNESS;
}

/* ---- many ---- */

static bool counts(const struct outcome *out)
{
	return out->virtual_ms >= COUNTED_MS && out->n_tm >= COUNTED_PROCESSES &&
	       out->counts.leaders >= 2 && out->counts.completed >= COUNTED_CHECKPOINTS;
}

static void report_failure(uint64_t seed, const struct options *o, const struct outcome *out)
{
	printf("seed %" PRIu64 ": %s\n  replay: make sim SEED=%" PRIu64
	       "  (sim_cluster --seed %" PRIu64 " --trace",
	       seed, out->text, seed, seed);
	if (o->seconds)
		printf(" --seconds %" PRIu64, o->seconds);
	printf(")\n");
}

static void add(struct totals *t, const struct outcome *out)
{
	t->counted += counts(out);
	t->virtual_ms += out->virtual_ms;
	t->events += out->events;
	t->records += out->records;
	t->faults += out->faults;
	t->counts.leaders += out->counts.leaders;
	t->counts.completed += out->counts.completed;
	t->counts.finished += out->counts.finished;
	t->counts.canceled += out->counts.canceled;
	t->counts.failed += out->counts.failed;
	t->counts.accepted += out->counts.accepted;
	t->counts.commands += out->counts.commands;
}

static void check_twice(uint64_t seed, const struct options *o, struct outcome *out,
			struct totals *t)
{
	struct outcome again;
	run_seed(seed, o, &again);
	t->twice++;
	t->virtual_ms += again.virtual_ms;
	if (!out->ok || !again.whole || again.hash == out->hash)
		return;
	out->ok = false;
	snprintf(out->text, sizeof(out->text),
		 "two runs of one seed differ: %016" PRIx64 " and %016" PRIx64, out->hash,
		 again.hash);
}

/* What the seeds have used of a core so far. */
static double core_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_totals(const struct totals *t, double seconds)
{
	printf("%" PRIu64 " leaders, %" PRIu64
	       " faults, %u jobs accepted: %u finished, %u canceled, "
	       "%u failed; %u checkpoints, %u commands, %" PRIu64 " records\n",
	       (uint64_t)t->counts.leaders, t->faults, t->counts.accepted, t->counts.finished,
	       t->counts.canceled, t->counts.failed, t->counts.completed, t->counts.commands,
	       t->records);
	printf("%" PRIu64 " virtual s in %.1f s of a core: %.0f times real time; %" PRIu64
	       " events; %" PRIu64
	       " seeds count (15 s, 3 + 3 processes, a leader change, 3 checkpoints); %" PRIu64
	       " ran twice\n",
	       t->virtual_ms / 1000, seconds, (double)t->virtual_ms / 1000 / seconds, t->events,
	       t->counted, t->twice);
	printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", t->passed, t->failed);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int run_many(const struct options *o)
{
	struct totals t = {0};
	struct player p = {0};

	for (uint64_t i = 0; i < o->seeds && t.failed < o->max_failures; i++) {
		struct outcome out;
		if (i % BATCH == 0)
			player_stop(&p);
		if (p.pid == 0)
			player_start(&p, o->first + i, least(o->seeds - i, BATCH - i % BATCH), o);
		player_result(&p, &out);
		if (o->twice_every && i % o->twice_every == 0)
			check_twice(o->first + i, o, &out, &t);
		add(&t, &out);
		t.passed += out.ok;
		t.failed += !out.ok;
		if (!out.ok)
			report_failure(o->first + i, o, &out);
		if (exit_status(&out) > t.worst)
			t.worst = exit_status(&out);
	}
	player_stop(&p);
	print_totals(&t, core_s());
	return t.worst;
}

static int run_one(const struct options *o)
{
	struct outcome out;
	run_seed(o->seed, o, &out);
	if (!out.ok)
		printf("seed %" PRIu64 ": %s\n", o->seed, out.text);
	printf("hash %016" PRIx64 ", %" PRIu64 " ms, %" PRIu64 " events\n", out.hash,
	       out.virtual_ms, out.events);
	printf("%d passed, %d failed, 0 skipped\n", out.ok, !out.ok);
	return exit_status(&out);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim_cluster --seeds N [--first K] [--seconds V] [--twice-every N] "
		"[--max-failures N]\n       sim_cluster --seed K [--trace | --debug] [--seconds V]\n");
	return 2;
}

static bool take(const char *name, const char *value, struct options *o)
{
	const struct {
		const char *name;
		uint64_t *to;
	} all[] = {{"--seeds", &o->seeds},
		   {"--first", &o->first},
		   {"--seed", &o->seed},
		   {"--seconds", &o->seconds},
		   {"--twice-every", &o->twice_every},
		   {"--max-failures", &o->max_failures}};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(name, all[i].name) == 0 && value) {
			o->one |= strcmp(name, "--seed") == 0;
			return text_u64(value, all[i].to, NULL) == ERR_OK;
		}
	return false;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1,
			    .seeds = SEEDS,
			    .twice_every = TWICE_EVERY,
			    .max_failures = FAILURES_MAX};
	const char *seeds = getenv("WEIR_SEEDS");
	if (seeds && text_u64(seeds, &o.seeds, NULL) != ERR_OK)
		return usage();
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			o.trace = true;
		else if (strcmp(argv[i], "--debug") == 0)
			o.trace = o.debug = true;
		else if (!take(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &o))
			return usage();
		else
			i++;
	}
	return o.one ? run_one(&o) : run_many(&o);
}
