/*
 * chaos - the stage under random commands: TaskManagers and leaders die, hang,
 * come back, storage and store refuse, jobs fail and are cancelled. The
 * checker watches every effect; then everything is healed, and every job has
 * to come to its end.
 *
 *   story_chaos [FIRST [COUNT]]      seeds; a failure prints its seed and the page
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/prng.h"
#include "stage.h"

enum { STEPS = 120, PAGE_KEPT = 1 << 16 };

static const char *const jobs[] = {"wordcount", "clicks", "rides"};
static const char *const tms[] = {"tm-1", "tm-2", "tm-3"};
static const char *const holds[] = {"prepared", "running", "ack", "committed"};

/* What the walk has to reach, or it shows nothing. */
static const char *const marks[] = {
	"completed:",  "given up:",     "adopted as it runs", "RUNNING -> RESTARTING",
	"-> FINISHED", "-> CANCELED",   "-> FAILED",          "storage removes",
	"suspended",   "only to commit"};
enum { MARKS = sizeof(marks) / sizeof(marks[0]) };

static void count_marks(const char *from, unsigned long counts[MARKS])
{
	for (int i = 0; i < MARKS; i++)
		for (const char *at = from; (at = strstr(at, marks[i])); at++)
			counts[i]++;
}

static void act(struct stage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void act(struct stage *s, const char *fmt, ...)
{
	char line[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	buf_printf(stage_page(s), "> %s\n", line);
	(void)stage_do(s, line);
}

static void submit(struct stage *s, struct prng *p)
{
	static const char *const restarts[] = {"exponential-delay", "fixed-delay", "none"};
	/* One draw after the other: a compiler may evaluate arguments in any order. */
	const char *job = jobs[prng_below(p, 3)];
	int parallelism = 1 + (int)prng_below(p, 4), interval = 1 + (int)prng_below(p, 2);
	int retained = 1 + (int)prng_below(p, 3), concurrent = 1 + (int)prng_below(p, 3);
	bool none = prng_chance(p, 100000);
	const char *restart = restarts[none ? 2 : prng_below(p, 2)];
	int regions = 1 + (int)prng_below(p, 2);
	act(s,
	    "submit %s parallelism=%d interval=%ds retained=%d concurrent=%d tolerable=3 timeout=5s "
	    "restart=%s attempts=50 regions=%d",
	    job, parallelism, interval, retained, concurrent, restart, regions);
}

static void one_step(struct stage *s, struct prng *p)
{
	const char *tm = tms[prng_below(p, 3)];
	switch (prng_below(p, 20)) {
	case 0:
	case 1:
		submit(s, p);
		break;
	case 2:
		act(s, "tm kill %s", tm);
		break;
	case 3:
	case 4:
		act(s, "tm restart %s", tm);
		break;
	case 5:
		act(s, "tm silent %s", tm);
		break;
	case 6:
		act(s, "tm away %s", tm);
		break;
	case 7:
		act(s, "tm back %s", tm);
		break;
	case 8:
		act(s, "tm fail %s external=%s", tm, prng_chance(p, 500000) ? "yes" : "no");
		break;
	case 9:
		act(s, "tm at-end %s", tm);
		break;
	case 10:
	case 11:
		act(s, "tm hold %s %s", tm, holds[prng_below(p, 4)]);
		break;
	case 12:
	case 13:
		act(s, "tm release %s %s", tm, holds[prng_below(p, 4)]);
		break;
	case 14:
		act(s, "storage %s", prng_chance(p, 300000) ? "down" : "up");
		break;
	case 15:
		act(s, "store %s", prng_chance(p, 300000) ? "full" : "free");
		break;
	case 16:
		if (prng_chance(p, 300000))
			act(s, "cancel %s", jobs[prng_below(p, 3)]);
		break;
	case 17:
		act(s, "leader %s", prng_chance(p, 500000) ? "kill" : "kill-lost");
		if (prng_chance(p, 700000))
			act(s, "leader start");
		break;
	case 18:
		act(s, "leader %s", prng_chance(p, 200000) ? "start-suspended" : "start");
		break;
	default:
		act(s, "leader %s", prng_chance(p, 500000) ? "suspend" : "resume");
		break;
	}
	uint64_t ms = prng_chance(p, 300000) ? prng_below(p, 4000) : prng_below(p, 60);
	act(s, "run %" PRIu64 "ms", ms);
}

static void heal(struct stage *s)
{
	act(s, "leader resume");
	act(s, "leader start");
	act(s, "storage up");
	act(s, "store free");
	for (int i = 0; i < 3; i++) {
		for (int h = 0; h < 4; h++)
			act(s, "tm release %s %s", tms[i], holds[h]);
		act(s, "tm restart %s", tms[i]);
	}
	act(s, "run 40s");
}

/* What did not come to its end: 0 is well. */
static unsigned unfinished(struct stage *s)
{
	unsigned left = 0;
	for (size_t i = 0; i < jm_view_jobs(stage_jm(s)); i++) {
		struct jm_job_view v;
		jm_view_job_at(stage_jm(s), i, &v);
		if (v.terminal)
			continue;
		left++;
		buf_printf(stage_page(s), "%s is %s: %s\n", v.doc->name, v.state, v.trouble);
	}
	return left;
}

static bool play(uint64_t seed, unsigned long counts[MARKS])
{
	struct stage *s = stage_create();
	struct prng p;
	prng_init(&p, seed);
	act(s, "leader start");
	for (int i = 0; i < 3; i++)
		act(s, "tm add %s slots=4", tms[i]);
	submit(s, &p);
	for (int i = 0; i < STEPS && !stage_violations(s); i++) {
		size_t seen = stage_page(s)->len;
		one_step(s, &p);
		count_marks(stage_page(s)->data + seen, counts);
		if (stage_page(s)->len > PAGE_KEPT)
			buf_shift(stage_page(s), stage_page(s)->len - PAGE_KEPT / 2);
	}
	size_t seen = stage_page(s)->len;
	heal(s);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 3; k++)
			act(s, "tm at-end %s", tms[k]);
		act(s, "run 20s");
	}
	count_marks(stage_page(s)->data + seen, counts);
	bool ok = unfinished(s) == 0 && stage_violations(s) == 0;
	if (!ok)
		printf("%s\nseed %" PRIu64 ": FAIL\n", stage_page(s)->data, seed);
	stage_destroy(s);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
	unsigned failed = 0;
	unsigned long counts[MARKS] = {0};
	for (uint64_t seed = first; seed < first + count && failed < 3; seed++)
		failed += !play(seed, counts);
	for (int i = 0; i < MARKS; i++) {
		printf("%8lu %s\n", counts[i], marks[i]);
		failed += count >= 50 && counts[i] == 0;
	}
	printf("%" PRIu64 " seeds from %" PRIu64 ", %u failed\n", count, first, failed);
	return failed ? 1 : 0;
}
