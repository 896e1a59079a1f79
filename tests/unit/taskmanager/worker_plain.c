/* Workers as processes, driven over their control lines by a test that plays the agent. */
#include "play.h"

static const char discard[] =
	"{\"name\":\"d\",\"parallelism\":1,\"checkpointing\":{\"interval\":\"1s\"},\"operators\":["
	"{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":200000},"
	"{\"uid\":\"d\",\"type\":\"sink.discard\",\"inputs\":[\"s\"]}]}";

static void fini(struct control_report_msg m)
{
	control_report_fini(&m);
}

/* One checkpoint: trigger, acks of all, complete, commits of all. Returns the rows of all tasks. */
static int64_t checkpoint(struct play *p, uint64_t id)
{
	int64_t rows = 0;

	play_all(p, CONTROL_TRIGGER, id);
	for (unsigned i = 0; i < p->n; i++) {
		struct control_report_msg m = play_until(p, i, CONTROL_REPORT_ACK);
		play_check(m.checkpoint.v == id, "ack of %lu", (unsigned long)m.checkpoint.v);
		rows += json_integer_value(json_object_get(m.stats, "records"));
		fini(m);
	}
	play_all(p, CONTROL_COMPLETE, id);
	for (unsigned i = 0; i < p->n; i++) {
		struct control_report_msg m = play_until(p, i, CONTROL_REPORT_COMMITTED);
		play_check(m.checkpoint.v == id, "committed %lu", (unsigned long)m.checkpoint.v);
		fini(m);
	}
	return rows;
}

static void one_worker_to_the_end(void)
{
	struct play p;
	const char *placement[] = {"[[0,0]]"};

	play_begin(&p, 1, NULL, "");
	play_deploy(&p, discard, placement, NULL, 0);
	fini(play_until(&p, 0, CONTROL_REPORT_AT_END));
	checkpoint(&p, 1);
	play_all(&p, CONTROL_FINISH, 1);
	fini(play_expect(&p, 0, CONTROL_REPORT_ENDED));
	play_end(&p);
}

int main(void)
{
	one_worker_to_the_end();
	printf("ok\n");
	return 0;
}
