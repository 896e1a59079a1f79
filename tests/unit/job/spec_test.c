/* What a specification may say, and the exact words with which everything else is refused. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "job/graph.h"
#include "job/optypes.h"
#include "job/spec.h"

#define WORDCOUNT                                                                                  \
	"{\"uid\":\"lines\",\"type\":\"source.file\",\"path\":\"book.txt\"},"                      \
	"{\"uid\":\"words\",\"type\":\"flatmap.split\",\"inputs\":[\"lines\"]},"                   \
	"{\"uid\":\"counts\",\"type\":\"aggregate\",\"inputs\":[\"words\"],\"keyBy\":[\"word\"],"  \
	"\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]},"                                        \
	"{\"uid\":\"out\",\"type\":\"sink.file\",\"inputs\":[\"counts\"],\"path\":\"out\"}"

/* A job around operators; `more` goes before them ("" or members with a comma at the end). */
#define JOB(more, operators) "{\"name\":\"j\"," more "\"operators\":[" operators "]}"
#define SEQ                  "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":9},"
#define SINK(input)          "{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[\"" input "\"]}"

static struct spec *parse(const char *text, struct err *e)
{
	json_t *doc;
	struct spec *s = NULL;
	*e = (struct err){0};
	if (json_parse(text, strlen(text), &doc, e))
		return NULL;
	char *before = json_text(doc);
	enum errc rc = spec_parse(doc, &s, e);
	char *after = json_text(doc);
	cr_assert(eq(str, before, after), "the document was changed");
	free(before);
	free(after);
	json_decref(doc);
	cr_assert(eq(int, rc, e->code));
	cr_assert(rc == ERR_OK ? s != NULL : s == NULL);
	return s;
}

static struct spec *good(const char *text)
{
	struct err e;
	struct spec *s = parse(text, &e);
	cr_assert(s != NULL, "%s: %s", text, e.text);
	return s;
}

struct bad {
	const char *text;
	const char *error;
};

static void refuse(const struct bad *rows)
{
	for (const struct bad *b = rows; b->text; b++) {
		struct err e;
		struct spec *s = parse(b->text, &e);
		cr_expect(s == NULL, "accepted: %s", b->text);
		spec_destroy(s);
		cr_expect(eq(int, e.code, ERR_INVALID));
		cr_expect(strncmp(e.text, b->error, strlen(b->error)) == 0,
			  "of %s\n is  \"%s\"\n not \"%s\"", b->text, e.text, b->error);
	}
}

Test(spec, wordcount_with_every_default)
{
	struct spec *s =
		good(JOB("\"parallelism\":4,\"checkpointing\":{\"interval\":\"10s\"},", WORDCOUNT));
	cr_assert(eq(str, s->name, "j"));
	cr_assert(eq(u32, s->parallelism, 4));
	cr_assert(eq(u32, s->max_parallelism, 128));
	cr_assert(eq(str, s->state_backend, "hashmap"));
	cr_assert(s->checkpointing.enabled);
	cr_assert(eq(u64, s->checkpointing.interval_ms, 10000));
	cr_assert(eq(u64, s->checkpointing.timeout_ms, 600000));
	cr_assert(eq(u64, s->checkpointing.min_pause_ms, 0));
	cr_assert(eq(u32, s->checkpointing.max_concurrent, 1));
	cr_assert(eq(u32, s->checkpointing.tolerable_failures, 0));
	cr_assert(eq(u32, s->checkpointing.retained, 1));
	cr_assert(eq(int, s->checkpointing.mode, SPEC_EXACTLY_ONCE));
	cr_assert(eq(int, s->restart.kind, SPEC_RESTART_EXPONENTIAL));
	cr_assert(eq(u64, s->restart.initial_ms, 100));
	cr_assert(eq(u64, s->restart.max_ms, 60000));
	cr_assert(eq(u64, s->restart.reset_after_ms, 3600000));
	cr_assert(eq(u64, s->slot_timeout_ms, 300000));
	cr_assert(eq(u32, s->n_operators, 4));
	const struct spec_operator *counts = &s->operators[2];
	cr_assert(eq(u32, counts->n_keys, 1));
	cr_assert(eq(u32, counts->keys[0], 0));
	cr_assert(eq(int, counts->edges[0], SPEC_EDGE_HASH));
	cr_assert(eq(u32, counts->output.n, 2));
	cr_assert(eq(str, counts->output.columns[0].name, "word"));
	cr_assert(eq(int, counts->output.columns[0].type, SPEC_STRING));
	cr_assert(eq(str, counts->output.columns[1].name, "n"));
	cr_assert(eq(int, counts->output.columns[1].type, SPEC_INT64));
	const struct spec_operator *out = &s->operators[3];
	cr_assert(eq(u32, out->output.n, 0));
	cr_assert(eq(str, (char *)optype_text(out, "semantics"), "exactly-once"));
	cr_assert(eq(i64, optype_int(out, "rollBytes"), 128 << 20));
	cr_assert(optype_transactional(out));
	spec_destroy(s);
}

Test(spec, no_checkpointing_means_disabled)
{
	struct spec *s = good(JOB("", WORDCOUNT));
	cr_assert(not(s->checkpointing.enabled));
	cr_assert(eq(u32, s->parallelism, 1));
	spec_destroy(s);
}

Test(spec, readers_may_come_before_what_they_read)
{
	struct spec *s = good(JOB(
		"", SINK("m") "," SEQ "{\"uid\":\"m\",\"type\":\"aggregate\",\"inputs\":[\"s\"],"
			      "\"keyBy\":[\"value\"],\"aggregates\":[{\"sum\":\"value\","
			      "\"as\":\"sum\"},{\"avg\":\"value\",\"as\":\"avg\"}]}"));
	cr_assert(eq(str, s->operators[0].uid, "s"));
	cr_assert(eq(str, s->operators[1].uid, "m"));
	cr_assert(eq(str, s->operators[2].uid, "o"));
	cr_assert(eq(u32, s->operators[2].inputs[0], 1));
	cr_assert(eq(int, s->operators[1].output.columns[1].type, SPEC_INT64));
	cr_assert(eq(int, s->operators[1].output.columns[2].type, SPEC_FLOAT64));
	spec_destroy(s);
}

Test(spec, the_socket_source_stays_alone_and_rebalances)
{
	struct spec *s = good(JOB("\"parallelism\":4,",
				  "{\"uid\":\"s\",\"type\":\"source.socket\",\"host\":\"h\","
				  "\"port\":9000},{\"uid\":\"u\",\"type\":\"map.upper\","
				  "\"inputs\":[\"s\"]}," SINK("u")));
	cr_assert(eq(u32, s->operators[0].parallelism, 1));
	cr_assert(eq(str, (char *)optype_text(&s->operators[0], "delimiter"), "\n"));
	cr_assert(eq(i64, optype_int(&s->operators[0], "reconnectDelay"), 1000));
	cr_assert(eq(int, s->operators[1].edges[0], SPEC_EDGE_REBALANCE));
	cr_assert(eq(int, s->operators[2].edges[0], SPEC_EDGE_FORWARD));
	spec_destroy(s);
}

Test(spec, sequence_with_keys_has_a_second_column)
{
	struct spec *s = good(JOB("", "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":0,"
				      "\"to\":9223372036854775806,\"keys\":10,\"keyType\":"
				      "\"string\"}," SINK("s")));
	cr_assert(eq(u32, s->operators[0].output.n, 2));
	cr_assert(eq(str, s->operators[0].output.columns[1].name, "key"));
	cr_assert(eq(int, s->operators[0].output.columns[1].type, SPEC_STRING));
	spec_destroy(s);
}

Test(spec, restart_strategies)
{
	struct spec *s = good(JOB("\"restart\":{\"strategy\":\"none\"},", SEQ SINK("s")));
	cr_assert(eq(int, s->restart.kind, SPEC_RESTART_NONE));
	spec_destroy(s);
	s = good(JOB("\"restart\":{\"strategy\":\"fixed-delay\",\"attempts\":3,\"delay\":\"2s\"},",
		     SEQ SINK("s")));
	cr_assert(eq(int, s->restart.kind, SPEC_RESTART_FIXED));
	cr_assert(eq(u32, s->restart.attempts, 3));
	cr_assert(eq(u64, s->restart.delay_ms, 2000));
	spec_destroy(s);
	s = good(JOB("\"restart\":{\"strategy\":\"failure-rate\",\"maxFailuresPerInterval\":5},",
		     SEQ SINK("s")));
	cr_assert(eq(int, s->restart.kind, SPEC_RESTART_RATE));
	cr_assert(eq(u32, s->restart.max_failures, 5));
	cr_assert(eq(u64, s->restart.interval_ms, 60000));
	spec_destroy(s);
}

Test(spec, the_id_of_a_job_is_no_part_of_its_specification)
{
	struct spec *s =
		good(JOB("\"jobId\":\"00112233445566778899aabbccddeeff\",", SEQ SINK("s")));
	cr_assert(json_object_get(s->source, "jobId") == NULL);
	cr_assert(json_object_get(s->source, "name") != NULL);
	spec_destroy(s);
}

Test(spec, default_max_parallelism)
{
	cr_assert(eq(u32, spec_default_max_parallelism(1), 128));
	cr_assert(eq(u32, spec_default_max_parallelism(128), 128));
	cr_assert(eq(u32, spec_default_max_parallelism(129), 256));
	cr_assert(eq(u32, spec_default_max_parallelism(171), 256));
	cr_assert(eq(u32, spec_default_max_parallelism(172), 512));
	cr_assert(eq(u32, spec_default_max_parallelism(30000), 32768));
	cr_assert(eq(u32, spec_default_max_parallelism(32768), 32768));
}

Test(spec, bad_documents)
{
	static const struct bad rows[] = {
		{"{\"name\":", "malformed JSON at line 1"},
		{"[]", "the document: must be an object"},
		{"{\"name\":\"j\",\"name\":\"k\"}", "malformed JSON at line 1"},
		{"{\"name\":\"j\"}", "operators: is missing"},
		{"{\"operators\":[]}", "name: is missing"},
		{"{\"name\":7,\"operators\":[]}", "name: must be a string"},
		{"{\"name\":\"\",\"operators\":[]}", "name: must have 1 to 128 bytes"},
		{"{\"name\":\"a\\nb\",\"operators\":[]}",
		 "name: must have 1 to 128 bytes and no control"},
		{JOB("\"colour\":1,", SEQ SINK("s")), "colour: unknown field"},
		{JOB("\"jobId\":\"xyz\",", SEQ SINK("s")), "jobId: "},
		{JOB("\"jobId\":5,", SEQ SINK("s")), "jobId: must be a string"},
		{"{\"name\":\"j\",\"operators\":[]}", "operators: must be an array of 1 to 1000"},
		{"{\"name\":\"j\",\"operators\":{}}", "operators: must be an array of 1 to 1000"},
		{JOB("", "7"), "operators[0]: must be an object"},
		{JOB("\"stateBackend\":\"rocksdb\",", SEQ SINK("s")),
		 "stateBackend: must be hashmap, is \"rocksdb\""},
		{JOB("\"slotTimeout\":\"soon\",", SEQ SINK("s")),
		 "slotTimeout: \"soon\" is not an integer with a unit"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_parallelism)
{
	static const struct bad rows[] = {
		{JOB("\"parallelism\":0,", SEQ SINK("s")),
		 "parallelism: must be from 1 to 32768, is 0"},
		{JOB("\"parallelism\":-1,", SEQ SINK("s")),
		 "parallelism: must be from 1 to 32768, is -1"},
		{JOB("\"parallelism\":1.5,", SEQ SINK("s")), "parallelism: must be an integer"},
		{JOB("\"parallelism\":\"4\",", SEQ SINK("s")), "parallelism: must be an integer"},
		{JOB("\"maxParallelism\":32769,", SEQ SINK("s")),
		 "maxParallelism: must be from 1 to 32768, is 32769"},
		{JOB("\"maxParallelism\":0,", SEQ SINK("s")),
		 "maxParallelism: must be from 1 to 32768, is 0"},
		{JOB("\"parallelism\":9,\"maxParallelism\":8,", SEQ SINK("s")),
		 "parallelism: 9 is above maxParallelism 8"},
		{JOB("\"maxParallelism\":8,", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\","
						  "\"inputs\":[\"s\"],\"parallelism\":9}"),
		 "operators[1].parallelism: 9 is above maxParallelism 8"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[\"s\"],"
			     "\"parallelism\":0}"),
		 "operators[1].parallelism: must be from 1 to 32768, is 0"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.socket\",\"host\":\"h\",\"port\":1,"
			 "\"parallelism\":2}," SINK("s")),
		 "operators[0].parallelism: source.socket runs with 1 only"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_uids_and_types)
{
	static const struct bad rows[] = {
		{JOB("", "{\"type\":\"sink.print\"}"), "operators[0].uid: is missing"},
		{JOB("", "{\"uid\":3,\"type\":\"sink.print\"}"),
		 "operators[0].uid: must be a string"},
		{JOB("", "{\"uid\":\"\",\"type\":\"sink.print\"}"),
		 "operators[0].uid: must have 1 to 64"},
		{JOB("", "{\"uid\":\"a b\",\"type\":\"sink.print\"}"),
		 "operators[0].uid: must have 1 to 64"},
		{JOB("", "{\"uid\":\"../x\",\"type\":\"sink.print\"}"),
		 "operators[0].uid: must have 1 to 64"},
		{JOB("", SEQ SEQ SINK("s")),
		 "operators[1].uid: \"s\" is the uid of operators[0] already"},
		{JOB("", "{\"uid\":\"s\"}"), "operators[0].type: is missing"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.kafka\"}"),
		 "operators[0].type: \"source.kafka\" is unknown (known: source.file, "},
		{JOB("",
		     "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":2,\"step\":2}"),
		 "operators[0].step: unknown field"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_inputs)
{
	static const struct bad rows[] = {
		{JOB("", SEQ SINK("nobody")),
		 "operators[1].inputs[0]: no operator has the uid \"nobody\""},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\"}"),
		 "operators[1].inputs: is missing; sink.discard needs 1"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[]}"),
		 "operators[1].inputs: sink.discard takes 1, here are 0"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":\"s\"}"),
		 "operators[1].inputs: must be an array of uids"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.discard\",\"inputs\":[1]}"),
		 "operators[1].inputs[0]: must be the uid of an operator"},
		{JOB("",
		     "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":2,\"inputs\":"
		     "[\"o\"]}," SINK("s")),
		 "operators[0].inputs: source.sequence takes 0, here are 1"},
		{JOB("",
		     SEQ SINK("s") ",{\"uid\":\"p\",\"type\":\"sink.print\",\"inputs\":[\"o\"]}"),
		 "operators[2].inputs[0]: \"o\" is a sink and gives nothing"},
		{JOB("", "{\"uid\":\"a\",\"type\":\"map.upper\",\"inputs\":[\"b\"]},"
			 "{\"uid\":\"b\",\"type\":\"map.upper\",\"inputs\":[\"a\"]}," SINK("b")),
		 "operators[0].inputs: \"a\" reads, in a cycle, its own output"},
		{JOB("", "{\"uid\":\"a\",\"type\":\"map.upper\",\"inputs\":[\"a\"]}," SINK("a")),
		 "operators[0].inputs: \"a\" reads, in a cycle, its own output"},
		{JOB("", "{\"uid\":\"o\",\"type\":\"sink.print\",\"inputs\":[\"b\"]},"
			 "{\"uid\":\"a\",\"type\":\"map.upper\",\"inputs\":[\"b\"]},"
			 "{\"uid\":\"b\",\"type\":\"map.upper\",\"inputs\":[\"a\"]}"),
		 "operators[2].inputs: \"b\" reads, in a cycle, its own output"},
		{JOB("", SEQ SINK("s") ",{\"uid\":\"t\",\"type\":\"source.sequence\","
				       "\"from\":1,\"to\":2}"),
		 "operators[2]: nobody reads its output"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_keys_and_partitioning)
{
#define AGG(more)                                                                                  \
	"{\"uid\":\"a\",\"type\":\"aggregate\",\"inputs\":[\"s\"]," more                           \
	"\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]}," SINK("a")
	static const struct bad rows[] = {
		{JOB("", SEQ AGG("")), "operators[1].keyBy: is missing; aggregate needs it"},
		{JOB("", SEQ AGG("\"keyBy\":[],")),
		 "operators[1].keyBy: must be an array of 1 to 16"},
		{JOB("", SEQ AGG("\"keyBy\":\"value\",")),
		 "operators[1].keyBy: must be an array of 1"},
		{JOB("", SEQ AGG("\"keyBy\":[\"word\"],")),
		 "operators[1].keyBy[0]: must be a column of the input, is \"word\""},
		{JOB("", SEQ AGG("\"keyBy\":[\"value\",\"value\"],")),
		 "operators[1].keyBy[1]: \"value\" comes twice"},
		{JOB("", SEQ AGG("\"keyBy\":[\"value\"],\"partitioning\":\"rebalance\",")),
		 "operators[1].partitioning: keyBy and hash go together"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.print\",\"inputs\":[\"s\"],"
			     "\"partitioning\":\"hash\"}"),
		 "operators[1].partitioning: keyBy and hash go together"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.print\",\"inputs\":[\"s\"],"
			     "\"partitioning\":\"shuffle\"}"),
		 "operators[1].partitioning: must be one of forward, hash, rebalance, broadcast"},
		{JOB("", SEQ "{\"uid\":\"o\",\"type\":\"sink.print\",\"inputs\":[\"s\"],"
			     "\"parallelism\":2,\"partitioning\":\"forward\"}"),
		 "operators[1].partitioning: forward needs the parallelism of its input (1, not 2)"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":2,"
			 "\"keyBy\":[\"value\"]}," SINK("s")),
		 "operators[0].keyBy: a source has no input to key"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":1,\"to\":2,"
			 "\"partitioning\":\"hash\"}," SINK("s")),
		 "operators[0].partitioning: a source has no input"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_checkpointing_and_restart)
{
#define CKPT(members)    JOB("\"checkpointing\":{" members "},", SEQ SINK("s"))
#define RESTART(members) JOB("\"restart\":{" members "},", SEQ SINK("s"))
	static const struct bad rows[] = {
		{JOB("\"checkpointing\":5,", SEQ SINK("s")), "checkpointing: must be an object"},
		{CKPT("\"mode\":\"exactly-once\""), "checkpointing.interval: is missing"},
		{CKPT("\"interval\":10"), "checkpointing.interval: must be a string"},
		{CKPT("\"interval\":\"10 s\""),
		 "checkpointing.interval: \"10 s\" is not an integer with a unit"},
		{CKPT("\"interval\":\"ten\""), "checkpointing.interval: \"ten\" is not an integer"},
		{CKPT("\"interval\":\"-1s\""), "checkpointing.interval: \"-1s\" is not an integer"},
		{CKPT("\"interval\":\"0s\""), "checkpointing.interval: must be at least 10ms"},
		{CKPT("\"interval\":\"999999999999999999h\""),
		 "checkpointing.interval: \"999999999"},
		{CKPT("\"interval\":\"1s\",\"every\":1"), "checkpointing.every: unknown field"},
		{CKPT("\"interval\":\"1s\",\"mode\":\"once\""),
		 "checkpointing.mode: must be exactly-once or at-least-once, is \"once\""},
		{CKPT("\"interval\":\"1s\",\"maxConcurrent\":0"),
		 "checkpointing.maxConcurrent: must be from 1 to 16, is 0"},
		{CKPT("\"interval\":\"1s\",\"retained\":0"),
		 "checkpointing.retained: must be from 1 to 100, is 0"},
		{CKPT("\"interval\":\"1s\",\"unaligned\":true"),
		 "checkpointing.unaligned: true is not supported"},
		{CKPT("\"interval\":\"1s\",\"incremental\":1"),
		 "checkpointing.incremental: must be true or false"},
		{JOB("\"restart\":\"none\",", SEQ SINK("s")), "restart: must be an object"},
		{RESTART("\"attempts\":1"), "restart.strategy: is missing"},
		{RESTART("\"strategy\":\"hope\""),
		 "restart.strategy: must be one of none, fixed-delay"},
		{RESTART("\"strategy\":\"none\",\"attempts\":1"),
		 "restart.attempts: unknown field"},
		{RESTART("\"strategy\":\"fixed-delay\",\"attempts\":-1"),
		 "restart.attempts: must be from 0 to 2147483647, is -1"},
		{RESTART("\"strategy\":\"failure-rate\",\"maxFailuresPerInterval\":65"),
		 "restart.maxFailuresPerInterval: must be from 1 to 64, is 65"},
		{RESTART("\"strategy\":\"exponential-delay\",\"multiplier\":0.5"),
		 "restart.multiplier: must be from 1 to 100, is 0.5"},
		{RESTART("\"strategy\":\"exponential-delay\",\"jitter\":\"x\""),
		 "restart.jitter: must be a number"},
		{RESTART("\"strategy\":\"exponential-delay\",\"maxDelay\":\"1ms\""),
		 "restart.maxDelay: must not be below initialDelay"},
		{NULL, NULL}};
	refuse(rows);
}

Test(spec, bad_options)
{
#define FILE_SOURCE(path) JOB("", "{\"uid\":\"s\",\"type\":\"source.file\"" path "}," SINK("s"))
#define LINES             "{\"uid\":\"s\",\"type\":\"source.file\",\"path\":\"a\"},"
#define REGEX(pattern)                                                                             \
	JOB("", LINES "{\"uid\":\"r\",\"type\":\"filter.regex\",\"inputs\":[\"s\"]" pattern        \
		      "}," SINK("r"))
#define AGGREGATES(list)                                                                           \
	JOB("", LINES "{\"uid\":\"a\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":"        \
		      "[\"line\"],\"aggregates\":" list "}," SINK("a"))
	static const struct bad rows[] = {
		{FILE_SOURCE(""), "operators[0].path: is missing"},
		{FILE_SOURCE(",\"path\":5"), "operators[0].path: must be a string"},
		{FILE_SOURCE(",\"path\":\"\""), "operators[0].path: is empty"},
		{FILE_SOURCE(",\"path\":\"/etc/passwd\""),
		 "operators[0].path: \"/etc/passwd\" leaves the files root: it must be relative"},
		{FILE_SOURCE(",\"path\":\"a/../../b\""),
		 "operators[0].path: \"a/../../b\" leaves the files root: \"..\" is not allowed"},
		{FILE_SOURCE(",\"path\":\"..\""),
		 "operators[0].path: \"..\" leaves the files root"},
		{FILE_SOURCE(",\"path\":\"a\\tb\""),
		 "operators[0].path: contains a control character"},
		{FILE_SOURCE(",\"path\":[]"),
		 "operators[0].path: must have from 1 to 1000 elements"},
		{FILE_SOURCE(",\"path\":[\"a\",\"../b\"]"),
		 "operators[0].path[1]: \"../b\" leaves the files root"},
		{FILE_SOURCE(",\"path\":\"a\",\"loop\":0"), "operators[0].loop: must be from 1 to"},
		{FILE_SOURCE(",\"path\":\"a\",\"rateLimit\":-1"),
		 "operators[0].rateLimit: must be from 0"},
		{JOB("", LINES "{\"uid\":\"o\",\"type\":\"sink.file\",\"inputs\":[\"s\"],\"path\":"
			       "\"../out\"}"),
		 "operators[1].path: \"../out\" leaves the files root"},
		{JOB("", LINES "{\"uid\":\"o\",\"type\":\"sink.file\",\"inputs\":[\"s\"],\"path\":"
			       "\"out\",\"format\":\"csv\"}"),
		 "operators[1].format: must be one of jsonl, tsv, is \"csv\""},
		{JOB("", LINES "{\"uid\":\"o\",\"type\":\"sink.file\",\"inputs\":[\"s\"],\"path\":"
			       "\"out\",\"rollBytes\":\"1GB\"}"),
		 "operators[1].rollBytes: \"1GB\" is not an integer with a unit"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.socket\",\"host\":\"h\","
			 "\"port\":70000}," SINK("s")),
		 "operators[0].port: must be from 1 to 65535, is 70000"},
		{JOB("", "{\"uid\":\"s\",\"type\":\"source.socket\",\"host\":\"h\",\"port\":1,"
			 "\"delimiter\":\"ab\"}," SINK("s")),
		 "operators[0].delimiter: must have from 1 to 1 bytes, has 2"},
		{JOB("",
		     "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":5,\"to\":4}," SINK("s")),
		 "operators[0].to: must not be below from"},
		{JOB("",
		     "{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":-9223372036854775808,"
		     "\"to\":9223372036854775807}," SINK("s")),
		 "operators[0].to: more than 2^63 - 1 values"},
		{JOB("", SEQ
		     "{\"uid\":\"w\",\"type\":\"flatmap.split\",\"inputs\":[\"s\"]}," SINK("w")),
		 "operators[1].inputs: no column of the input is a string"},
		{JOB("",
		     SEQ "{\"uid\":\"w\",\"type\":\"map.upper\",\"inputs\":[\"s\"]}," SINK("w")),
		 "operators[1].inputs: no column of the input is a string"},
		{JOB("", SEQ "{\"uid\":\"w\",\"type\":\"map.upper\",\"inputs\":[\"s\"],\"column\":"
			     "\"value\"}," SINK("w")),
		 "operators[1].column: column \"value\" is of type int64, not string"},
		{JOB("",
		     LINES "{\"uid\":\"w\",\"type\":\"map.upper\",\"inputs\":[\"s\"],\"column\":"
			   "\"word\"}," SINK("w")),
		 "operators[1].column: the input has no column \"word\" (it has: line)"},
		{REGEX(""), "operators[1].pattern: is missing"},
		{REGEX(",\"pattern\":\"(\""), "operators[1].pattern: not a regular expression: "},
		{REGEX(",\"pattern\":\"((a{1,200}){1,200}){1,200}\""),
		 "operators[1].pattern: its repetitions multiply to more than 1000"},
		{REGEX(",\"pattern\":\"a\",\"invert\":1"),
		 "operators[1].invert: must be true or false"},
		{AGGREGATES("[]"), "operators[1].aggregates: must be an array of 1 to 100"},
		{AGGREGATES("[5]"), "operators[1].aggregates[0]: must be an object"},
		{AGGREGATES("[{\"as\":\"n\"}]"), "operators[1].aggregates[0]: names no function"},
		{AGGREGATES("[{\"count\":\"*\",\"sum\":\"line\",\"as\":\"n\"}]"),
		 "operators[1].aggregates[0]: names two functions, count and sum"},
		{AGGREGATES("[{\"count\":\"*\"}]"), "operators[1].aggregates[0].as: is missing"},
		{AGGREGATES("[{\"median\":\"line\",\"as\":\"n\"}]"),
		 "operators[1].aggregates[0].median: unknown field"},
		{AGGREGATES("[{\"sum\":\"*\",\"as\":\"n\"}]"),
		 "operators[1].aggregates[0].sum: \"*\" can only be counted"},
		{AGGREGATES("[{\"sum\":\"line\",\"as\":\"n\"}]"),
		 "operators[1].aggregates[0].sum: column \"line\" is of type string"},
		{AGGREGATES("[{\"max\":\"word\",\"as\":\"n\"}]"),
		 "operators[1].aggregates[0].max: the input has no column \"word\""},
		{AGGREGATES("[{\"count\":\"*\",\"as\":\"line\"}]"),
		 "operators[1].aggregates[0].as: \"line\" is a column already"},
		{NULL, NULL}};
	refuse(rows);
}

/* A repeated option value must not depend on where it stands; every prefix of a good document is
 * refused without harm, and so is every document with one byte changed, unless it is good too. */
Test(spec, survives_damage)
{
	const char *text = JOB("\"checkpointing\":{\"interval\":\"1s\"},", WORDCOUNT);
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		char *copy = strndup(text, i);
		struct err e;
		cr_assert(parse(copy, &e) == NULL);
		free(copy);
	}
	for (size_t i = 0; i < len; i++) {
		for (const char *c = "\"0x{[,."; *c; c++) {
			char *copy = strdup(text);
			copy[i] = *c;
			struct err e;
			spec_destroy(parse(copy, &e));
			free(copy);
		}
	}
}
