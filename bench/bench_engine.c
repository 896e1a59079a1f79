/*
 * bench_engine - keyed count through real workers: source.sequence -> keyBy -> count ->
 * sink.discard.
 *
 *   bench_engine [rows] [case ...]      a case: keys:type:shape:cores, as printed
 *   bench_engine snapshots KEYS         twenty checkpoints at parallelism 4 under full load
 *
 * Shapes
 *   local   one worker, source and count as two tasks (queues between them)
 *   split   two workers, the source in one and the count in the other: every row goes over TCP
 *   both    two workers with parallelism 2: half of the rows go over TCP
 * Cores: 1 pins everything to one core, 2 to two. Prints M rows/s, and per core (rows over the CPU
 * time of all workers); steal is not measured, so run it on a quiet machine.
 */
#include <sched.h>
#include <sys/resource.h>

#include "taskmanager/play.h"

static const char spec_form[] =
	"{\"name\":\"b\",\"parallelism\":%u,\"checkpointing\":{\"interval\":\"1s\"},\"operators\":["
	"{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":0,\"to\":%lu,\"keys\":%lu,"
	"\"keyType\":\"%s\"},"
	"{\"uid\":\"c\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"key\"],"
	"\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]},"
	"{\"uid\":\"d\",\"type\":\"sink.discard\",\"inputs\":[\"c\"]}]}";

struct bench_case {
	unsigned long keys;
	const char *type;
	const char *shape;
	unsigned cores;
};

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void pin(unsigned cores)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < cores; i++)
		CPU_SET(i, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* Run until the last checkpoint is acknowledged: then every row has been counted. */
static void run(const struct bench_case *c, unsigned long rows)
{
	static const char *const local[] = {"[[0,0],[1,0]]"};
	static const char *const split[] = {"[[0,0]]", "[[1,0]]"};
	static const char *const both[] = {"[[0,0],[1,0]]", "[[0,1],[1,1]]"};
	bool is_local = strcmp(c->shape, "local") == 0, is_both = strcmp(c->shape, "both") == 0;
	struct play p;
	char spec[1024];
	double cpu = cpu_seconds();

	snprintf(spec, sizeof(spec), spec_form, is_both ? 2 : 1, rows - 1, c->keys, c->type);
	pin(c->cores);
	play_begin(&p, is_local ? 1 : 2, NULL, "", NULL);
	play_deploy(&p, spec, is_local ? local : is_both ? both : split, NULL, 0);
	uint64_t from = play_ms();
	for (unsigned i = 0; i < p.n; i++)
		if (i == 0 || is_both) {
			struct control_report_msg m = play_until(&p, i, CONTROL_REPORT_AT_END);
			control_report_fini(&m);
		}
	play_all(&p, CONTROL_TRIGGER, 1);
	for (unsigned i = 0; i < p.n; i++) {
		struct control_report_msg m = play_until(&p, i, CONTROL_REPORT_ACK);
		control_report_fini(&m);
	}
	double seconds = (double)(play_ms() - from) / 1000;
	play_all(&p, CONTROL_FINISH, 1);
	for (unsigned i = 0; i < p.n; i++) {
		struct control_report_msg m = play_until(&p, i, CONTROL_REPORT_ENDED);
		control_report_fini(&m);
	}
	play_end(&p);
	cpu = cpu_seconds() - cpu;
	printf("%8lu:%-6s:%-5s:%u  %7.2f M rows/s  %7.2f M rows/s per core\n", c->keys, c->type,
	       c->shape, c->cores, (double)rows / seconds / 1e6, (double)rows / cpu / 1e6);
	fflush(stdout);
}

/* Twenty checkpoints under full load: the synchronous part, how long the upload took, the rate. */
static void snapshots(unsigned long keys)
{
	static const char *const placement[] = {
		"[[0,0],[0,1],[0,2],[0,3],[1,0],[1,1],[1,2],[1,3]]"};
	struct play p;
	char spec[1024];
	int64_t before = 0;

	snprintf(spec, sizeof(spec), spec_form, 4, 1UL << 40, keys, "int64");
	play_begin(&p, 1, NULL, "", NULL);
	play_deploy(&p, spec, placement, NULL, 0);
	(void)poll(NULL, 0, 3000);
	uint64_t from = play_ms();
	for (uint64_t id = 1; id <= 20; id++) {
		play_all(&p, CONTROL_TRIGGER, id);
		struct control_report_msg m = play_until(&p, 0, CONTROL_REPORT_ACK);
		int64_t rows = json_integer_value(json_object_get(m.stats, "records"));
		uint64_t now = play_ms();
		printf("ckpt %2lu  %7.2f M rows/s since the one before  %s\n", (unsigned long)id,
		       (double)(rows - before) / (double)(now - from) / 1e3,
		       json_dumps(m.stats, JSON_COMPACT));
		before = rows;
		from = now;
		control_report_fini(&m);
		play_all(&p, CONTROL_COMPLETE, id);
		(void)poll(NULL, 0, id % 2 ? 300 : 0);
	}
	play_all(&p, CONTROL_CANCEL, 0);
	struct control_report_msg m = play_until(&p, 0, CONTROL_REPORT_ENDED);
	control_report_fini(&m);
	play_end(&p);
}

int main(int argc, char **argv)
{
	static const unsigned long keys[] = {1000, 1000000};
	static const char *const types[] = {"int64", "string"};
	static const char *const shapes[] = {"local", "split", "both"};
	if (argc > 2 && strcmp(argv[1], "snapshots") == 0) {
		snapshots(strtoul(argv[2], NULL, 10));
		return 0;
	}
	unsigned long rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000000;

	for (unsigned k = 0; k < 2; k++)
		for (unsigned t = 0; t < 2; t++)
			for (unsigned s = 0; s < 3; s++)
				for (unsigned cores = 1; cores <= 2; cores++) {
					struct bench_case c = {keys[k], types[t], shapes[s], cores};
					char name[64];
					snprintf(name, sizeof(name), "%lu:%s:%s:%u", c.keys, c.type,
						 c.shape, c.cores);
					bool wanted = argc <= 2;
					for (int i = 2; i < argc; i++)
						wanted = wanted || strcmp(argv[i], name) == 0;
					if (wanted)
						run(&c, rows);
				}
	return 0;
}
