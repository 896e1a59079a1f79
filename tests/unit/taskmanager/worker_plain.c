/* Workers as processes, driven over their control lines by a test that plays the agent. */
#include "taskmanager/play.h"

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

	play_begin(&p, 1, NULL, "", NULL);
	play_deploy(&p, discard, placement, NULL, 0);
	fini(play_until(&p, 0, CONTROL_REPORT_AT_END));
	checkpoint(&p, 1);
	play_all(&p, CONTROL_FINISH, 1);
	fini(play_expect(&p, 0, CONTROL_REPORT_ENDED));
	play_end(&p);
}

/* Keyed counts over TCP between two workers. */
static const char counted[] =
	"{\"name\":\"c\",\"parallelism\":%u,\"checkpointing\":{\"interval\":\"1s\"},\"operators\":["
	"{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":0,\"to\":1999999,\"keys\":1000,"
	"\"keyType\":\"%s\",\"rateLimit\":%d},"
	"{\"uid\":\"c\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"key\"],"
	"\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"},{\"sum\":\"value\",\"as\":\"t\"}]},"
	"{\"uid\":\"k\",\"type\":\"sink.print\",\"inputs\":[\"c\"]}]}";

enum { ROWS = 2000000, KEYS = 1000, PER_KEY = ROWS / KEYS };

/*
 * A sink that remembers the highest count of each key and which counts came; at the end all counts
 * from 1 to PER_KEY must have come for each key, in order. State goes along in list state, so
 * that a restored run is checked as a whole: each count exactly once.
 */
struct check {
	struct op op;
	int64_t next[KEYS]; /* the highest count so far */
	bool seen[KEYS];    /* by this subtask, in this life */
};

static int64_t key_number(const struct op_context *c, const struct row *r)
{
	char text[16] = {0};
	uint32_t len;

	if (c->input->types[0] == SPEC_INT64)
		return row_i64(r, 0);
	const char *t = row_text(r, 0, &len);
	memcpy(text, t, len < 15 ? len : 15);
	return strtoll(text, NULL, 10);
}

static enum errc check_batch(struct op *o, const struct batch *in, struct op_out *out,
			     struct err *e)
{
	struct check *k = (struct check *)(void *)o;

	(void)out;
	batch_each(in, r)
	{
		int64_t key = key_number(o->context, r);
		if (key < 0 || key >= KEYS || row_i64(r, 1) != ++k->next[key])
			return err_set(e, ERR_INVALID, "key %ld: count %ld after %ld", (long)key,
				       (long)row_i64(r, 1), (long)k->next[key] - 1);
		k->seen[key] = true;
	}
	return ERR_OK;
}

static enum errc check_snapshot(struct op *o, struct ckpt_id id, struct op_lists *lists,
				struct err *e)
{
	(void)id;
	return op_list_add(lists, 0, ((struct check *)(void *)o)->next, sizeof(int64_t) * KEYS, e);
}

static enum errc check_restore(struct op *o, unsigned list, const void *item, size_t len,
			       struct err *e)
{
	(void)list;
	(void)e;
	int64_t was[KEYS];
	struct check *k = (struct check *)(void *)o;

	play_check(len == sizeof(was), "%zu", len);
	memcpy(was, item, len);
	for (unsigned i = 0; i < KEYS; i++)
		k->next[i] = was[i] > k->next[i] ? was[i] : k->next[i];
	return ERR_OK;
}

static enum errc check_end(struct op *o, struct op_out *out, struct err *e)
{
	struct check *k = (struct check *)(void *)o;

	(void)out;
	for (unsigned i = 0; i < KEYS; i++)
		if (k->seen[i] && k->next[i] != PER_KEY)
			return err_set(e, ERR_INVALID, "key %u ends at %ld", i, (long)k->next[i]);
	return ERR_OK;
}

static const struct op_type sink_check = {.name = "sink.print",
					  .size = sizeof(struct check),
					  .sink = true,
					  .n_lists = 1,
					  .lists = {OP_LIST_UNION},
					  .on_batch = check_batch,
					  .snapshot = check_snapshot,
					  .restore = check_restore,
					  .at_end = check_end};
static const struct op_type *const more[] = {&sink_check, NULL};

static const char *const two[] = {"[[0,0],[1,0]]", "[[0,1],[1,1]]"};

/* As the leader writes it; `objects` is what the acks brought. */
static char *manifest_write(const struct play *p, uint64_t id, json_t *objects,
			    unsigned parallelism)
{
	char *path = mem_printf("%s/jobs/%s/chk-%lu/manifest-test.json", p->root, PLAY_JOB,
				(unsigned long)id);
	json_t *operators = json_object();

	for (unsigned i = 0; i < 3; i++)
		json_object_set_new(operators, (const char *[]){"s", "c", "k"}[i],
				    json_pack("{s:i,s:i}", "parallelism", (int)parallelism,
					      "maxParallelism", 128));
	json_t *doc = json_pack("{s:i,s:s,s:s,s:I,s:i,s:[i],s:s,s:i,s:o,s:O}", "format", 1,
				"cluster", "c", "job", PLAY_JOB, "checkpoint", (json_int_t)id,
				"epoch", 7, "attempts", 1, "kind", "checkpoint", "triggeredMs", 1,
				"operators", operators, "objects", objects);
	play_check(json_dump_file(doc, path, 0) == 0, "%s", path);
	json_decref(doc);
	free(path);
	return mem_printf("{\"checkpoint\":%lu,\"manifest\":\"jobs/%s/chk-%lu/manifest-test.json\","
			  "\"checksum\":\"\"}",
			  (unsigned long)id, PLAY_JOB, (unsigned long)id);
}

/* Trigger, collect the objects, complete. */
static json_t *checkpoint_objects(struct play *p, uint64_t id)
{
	json_t *objects = json_array();

	play_all(p, CONTROL_TRIGGER, id);
	for (unsigned i = 0; i < p->n; i++) {
		struct control_report_msg m = play_until(p, i, CONTROL_REPORT_ACK);
		play_check(m.checkpoint.v == id, "ack of %lu", (unsigned long)m.checkpoint.v);
		play_check(json_is_object(m.object), "no object");
		json_array_append(objects, m.object);
		fini(m);
	}
	play_all(p, CONTROL_COMPLETE, id);
	return objects;
}

static void finish(struct play *p, uint64_t last)
{
	for (unsigned i = 0; i < p->n; i++)
		fini(play_until(p, i, CONTROL_REPORT_AT_END));
	checkpoint(p, last);
	play_all(p, CONTROL_FINISH, last);
	for (unsigned i = 0; i < p->n; i++)
		fini(play_until(p, i, CONTROL_REPORT_ENDED));
	play_end(p);
}

static void two_workers_count(const char *key_type)
{
	struct play p;
	char spec[1024];

	snprintf(spec, sizeof(spec), counted, 2, key_type, 0);
	play_begin(&p, 2, more, "", NULL);
	play_deploy(&p, spec, two, NULL, 0);
	finish(&p, 1);
}

/* Killed in the middle, restored with this parallelism: every count exactly once. */
static void killed_and_restored(const char *key_type, unsigned parallelism)
{
	static const char *const three[] = {"[[0,0],[0,1],[1,0],[1,1]]", "[[0,2],[1,2]]"};
	struct play p;
	char spec[1024], root[64];

	snprintf(spec, sizeof(spec), counted, 2, key_type, 2000000);
	play_begin(&p, 2, more, "", NULL);
	play_deploy(&p, spec, two, NULL, 0);
	for (uint64_t id = 1; id < 5; id++)
		json_decref(checkpoint_objects(&p, id));
	json_t *objects = checkpoint_objects(&p, 5);
	char *restore = manifest_write(&p, 5, objects, 2);
	json_decref(objects);
	snprintf(root, sizeof(root), "%s", p.root);
	play_kill(&p);

	snprintf(spec, sizeof(spec), counted, parallelism, key_type, 0);
	play_begin(&p, 2, more, "", root);
	play_deploy(&p, spec, parallelism == 2 ? two : three, restore, 5);
	free(restore);
	finish(&p, 6);
}

/* Every row crosses, and a worker without sources is at its end at once. */
static void one_sided(void)
{
	static const char *const sides[] = {"[[0,0],[0,1]]", "[[1,0],[1,1]]"};
	struct play p;
	char spec[1024];

	snprintf(spec, sizeof(spec), counted, 2, "int64", 0);
	play_begin(&p, 2, more, "", NULL);
	play_deploy(&p, spec, sides, NULL, 0);
	finish(&p, 1);
}

/* A half-sent trigger while nobody leads: the checkpoint is given up, and the job goes on. */
static void half_sent_trigger(void)
{
	struct play p;
	char spec[1024];

	snprintf(spec, sizeof(spec), counted, 2, "int64", 4000000);
	play_begin(&p, 2, more, ",\"alignmentLimitMs\":100", NULL);
	play_deploy(&p, spec, two, NULL, 0);
	struct control_command_msg m = {.kind = CONTROL_TRIGGER, .checkpoint.v = 13};
	play_send(&p, 0, &m);
	for (unsigned i = 0; i < 2; i++) {
		struct control_report_msg r = play_until(&p, i, CONTROL_REPORT_DECLINE);
		play_check(r.checkpoint.v == 13 && r.external, "%s", r.text);
		fini(r);
	}
	/* The old leader's trigger comes after all, at the other source: nobody waits for it. */
	play_send(&p, 1, &m);
	finish(&p, 14);
}

/* A peer that dies takes the attempt down on the other side too, as nobody's fault here. */
static void lost_peer(void)
{
	struct play p;
	char spec[1024];

	snprintf(spec, sizeof(spec), counted, 2, "int64", 1000);
	play_begin(&p, 2, more, "", NULL);
	play_deploy(&p, spec, two, NULL, 0);
	kill(p.workers[1].pid, SIGKILL);
	struct control_report_msg m;
	do
		play_check(play_report(&p, 0, PLAY_WAIT_MS, &m), "no failure");
	while (m.kind != CONTROL_REPORT_FAILED && (control_report_fini(&m), true));
	play_check(m.external && strstr(m.text, "tm-1"), "%s", m.text);
	fini(m);
	play_kill(&p);
	play_remove(&p);
}

int main(void)
{
	one_worker_to_the_end();
	two_workers_count("int64");
	two_workers_count("string");
	killed_and_restored("int64", 2);
	killed_and_restored("string", 2);
	killed_and_restored("int64", 3);
	killed_and_restored("string", 3);
	one_sided();
	half_sent_trigger();
	lost_peer();
	printf("ok\n");
	return 0;
}
