/* Every control message comes back as it went; what is damaged is refused, never trusted. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/prng.h"
#include "rest/control.h"

static const struct job_id a_job = {"00112233445566778899aabbccddeeff"};

static json_t *value(const char *text)
{
	json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
	cr_assert(v != NULL, "%s", text);
	return v;
}

static struct control_command_msg command(enum control_command kind)
{
	struct control_command_msg m = {.kind = kind,
					.seq = 7,
					.epoch = {UINT64_MAX},
					.registration = 3,
					.job = a_job,
					.region = 2,
					.attempt = {UINT32_MAX},
					.checkpoint = {41},
					.trigger = CONTROL_TRIGGER_FINAL,
					.terminal = true};
	m.spec = value("{\"name\":\"j\"}");
	m.subtasks = value("[[0,0],[1,32767]]");
	m.peers = value("[{\"tm\":\"tm-1\",\"instance\":\"abc\",\"address\":\"10.0.0.1:99\","
			"\"subtasks\":[[0,1]]}]");
	m.restore = value("{\"checkpoint\":40,\"manifest\":\"jobs/x\",\"checksum\":\"ff\"}");
	m.settings = value("{\"storage\":\"file:///x\"}");
	snprintf(m.text, sizeof(m.text), "because \"of\" it");
	return m;
}

Test(control, commands_come_back)
{
	for (int kind = 0; kind < CONTROL_COMMAND_COUNT; kind++) {
		struct control_command_msg m = command((enum control_command)kind), back;
		struct buf one = {0}, two = {0};
		struct err e;
		control_command_encode(&m, &one);
		cr_assert(eq(chr, one.data[one.len - 1], '\n'));
		cr_assert(memchr(one.data, '\n', one.len - 1) == NULL);
		cr_assert(eq(int, control_command_decode(one.data, one.len, &back, &e), ERR_OK),
			  "%s", e.text);
		cr_assert(eq(int, back.kind, kind));
		cr_assert(eq(u64, back.seq, 7));
		cr_assert(eq(u64, back.epoch.v, UINT64_MAX));
		cr_assert(eq(u64, back.registration, 3));
		control_command_encode(&back, &two);
		cr_assert(eq(str, one.data, two.data));
		control_command_fini(&m);
		control_command_fini(&back);
		buf_fini(&one);
		buf_fini(&two);
	}
}

Test(control, a_prepare_and_a_run_carry_their_parts)
{
	struct control_command_msg m = command(CONTROL_PREPARE), back;
	struct buf line = {0};
	struct err e;
	control_command_encode(&m, &line);
	cr_assert(eq(int, control_command_decode(line.data, line.len, &back, &e), ERR_OK));
	cr_assert(job_id_equal(&back.job, &a_job));
	cr_assert(eq(u32, back.region, 2));
	cr_assert(eq(u32, back.attempt.v, UINT32_MAX));
	cr_assert(json_equal(back.spec, m.spec));
	cr_assert(json_equal(back.subtasks, m.subtasks));
	cr_assert(back.peers == NULL);
	control_command_fini(&back);
	control_command_fini(&m);
	buf_clear(&line);
	m = command(CONTROL_RUN);
	json_decref(m.restore);
	m.restore = NULL;
	control_command_encode(&m, &line);
	cr_assert(eq(int, control_command_decode(line.data, line.len, &back, &e), ERR_OK));
	cr_assert(back.restore == NULL);
	cr_assert(eq(u64, back.checkpoint.v, 41));
	control_command_fini(&back);
	control_command_fini(&m);
	buf_fini(&line);
}

static struct control_report_msg report(enum control_report kind)
{
	struct control_report_msg m = {.kind = kind,
				       .seq = 9,
				       .job = a_job,
				       .region = 1,
				       .attempt = {4},
				       .checkpoint = {17},
				       .vertex = 3,
				       .subtask = -1,
				       .external = true,
				       .corrupt = true,
				       .digest = UINT64_C(0xfedcba9876543210)};
	m.object = value("{\"path\":\"p\",\"bytes\":5,\"checksum\":\"00\"}");
	m.stats = value("{\"syncUs\":12}");
	snprintf(m.address, sizeof(m.address), "[::1]:4000");
	snprintf(m.text, sizeof(m.text), "line one\nline two");
	return m;
}

Test(control, reports_come_back)
{
	struct control_report_msg all[CONTROL_REPORT_COUNT];
	for (int kind = 0; kind < CONTROL_REPORT_COUNT; kind++)
		all[kind] = report((enum control_report)kind);
	struct buf one = {0}, two = {0};
	struct err e;
	struct control_reports back;
	control_reports_encode(8, (struct epoch){6}, all, CONTROL_REPORT_COUNT, &one);
	cr_assert(eq(int, control_reports_decode(one.data, one.len, &back, &e), ERR_OK), "%s",
		  e.text);
	cr_assert(eq(u64, back.registration, 8));
	cr_assert(eq(u64, back.epoch.v, 6));
	cr_assert(eq(u32, back.n, CONTROL_REPORT_COUNT));
	cr_assert(eq(u64, back.reports[CONTROL_REPORT_BEAT].digest, UINT64_C(0xfedcba9876543210)));
	cr_assert(eq(i32, back.reports[CONTROL_REPORT_FAILED].vertex, 3));
	cr_assert(eq(i32, back.reports[CONTROL_REPORT_FAILED].subtask, -1));
	cr_assert(eq(str, back.reports[CONTROL_REPORT_FAILED].text, "line one\nline two"));
	control_reports_encode(8, (struct epoch){6}, back.reports, back.n, &two);
	cr_assert(eq(str, one.data, two.data));
	for (int kind = 0; kind < CONTROL_REPORT_COUNT; kind++)
		control_report_fini(&all[kind]);
	control_reports_fini(&back);
	buf_fini(&one);
	buf_fini(&two);
}

static struct control_registration registration(void)
{
	struct control_registration r = {.slots = 4, .pid = 77, .highest = {5}, .n_items = 2};
	snprintf(r.id, sizeof(r.id), "tm-1");
	snprintf(r.instance, sizeof(r.instance), "0123456789abcdef0123456789abcdef");
	snprintf(r.data_address, sizeof(r.data_address), "127.0.0.1:5000");
	snprintf(r.rest_host, sizeof(r.rest_host), "127.0.0.1");
	r.items = mem_array(2, sizeof(*r.items));
	for (unsigned i = 0; i < 2; i++) {
		r.items[i] = (struct control_item){.job = a_job,
						   .region = i,
						   .attempt = {2},
						   .state = CONTROL_STATE_RUNNING,
						   .at_end = i == 1,
						   .completed = {6},
						   .committed = {5}};
		r.items[i].subtasks = value("[[0,1]]");
		r.items[i].acks = value("[{\"checkpoint\":7,\"object\":null,\"stats\":{}}]");
		if (i == 1)
			r.items[i].vertices = value("[[0,400,6400,0,0]]");
	}
	return r;
}

Test(control, registrations_come_back)
{
	struct control_registration r = registration(), back;
	struct buf one = {0}, two = {0};
	struct err e;
	control_registration_encode(&r, &one);
	cr_assert(eq(int, control_registration_decode(one.data, one.len, &back, &e), ERR_OK), "%s",
		  e.text);
	cr_assert(eq(str, back.instance, r.instance));
	cr_assert(eq(u32, back.n_items, 2));
	cr_assert(eq(u64, back.items[1].committed.v, 5));
	cr_assert(eq(ptr, back.items[0].vertices, NULL));
	cr_assert(json_equal(back.items[1].vertices, r.items[1].vertices));
	cr_assert(eq(u64, control_digest(back.items, 2), control_digest(r.items, 2)));
	control_registration_encode(&back, &two);
	cr_assert(eq(str, one.data, two.data));
	control_registration_fini(&r);
	control_registration_fini(&back);
	buf_fini(&one);
	buf_fini(&two);
}

Test(control, a_registration_stands_though_its_counts_are_nonsense)
{
	static const char *const nonsense[] = {"{}", "7", "\"many\"", "true", "null"};
	for (unsigned i = 0; i < 1 + sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		struct control_registration r = registration(), back;
		struct buf line = {0};
		struct err e;
		json_decref(r.items[0].vertices);
		r.items[0].vertices =
			i > 0 ? json_loads(nonsense[i - 1], JSON_DECODE_ANY, NULL) : json_array();
		for (unsigned k = 0; i == 0 && k <= LIMIT_OPERATORS; k++)
			json_array_append_new(r.items[0].vertices, json_integer(0));
		control_registration_encode(&r, &line);
		cr_assert(eq(int, control_registration_decode(line.data, line.len, &back, &e),
			     ERR_OK),
			  "row %u: %s", i, e.text);
		cr_expect(eq(u32, back.n_items, 2));
		cr_expect(eq(ptr, back.items[0].vertices, NULL), "row %u", i);
		cr_expect(json_equal(back.items[1].vertices, r.items[1].vertices));
		control_registration_fini(&r);
		control_registration_fini(&back);
		buf_fini(&line);
	}
}

Test(control, the_digest_sees_each_part_but_not_the_order)
{
	struct control_registration r = registration();
	uint64_t whole = control_digest(r.items, 2);
	struct control_item swapped[2] = {r.items[1], r.items[0]};
	cr_assert(eq(u64, control_digest(swapped, 2), whole));
	cr_assert(ne(u64, control_digest(r.items, 1), whole));
	struct control_item twice[2] = {r.items[0], r.items[0]};
	cr_assert(ne(u64, control_digest(twice, 2), 0));
	struct control_item none[2] = {r.items[0], r.items[1]};
	none[0].state = CONTROL_STATE_PREPARING;
	none[1].state = CONTROL_STATE_ENDED;
	cr_assert(eq(u64, control_digest(none, 2), control_digest(none, 0)));
	for (int part = 0; part < 6; part++) {
		struct control_item other[2] = {r.items[0], r.items[1]};
		other[0].region += part == 0;
		other[0].attempt.v += part == 1;
		other[0].committed.v += part == 2;
		other[0].at_end = part == 3;
		other[0].state = part == 4 ? CONTROL_STATE_FAILED : CONTROL_STATE_RUNNING;
		other[0].job.hex[0] = part == 5 ? '1' : '0';
		cr_assert(ne(u64, control_digest(other, 2), whole), "part %d", part);
	}
	control_registration_fini(&r);
}

Test(control, texts_that_are_not_utf8_arrive_all_the_same)
{
	struct control_report_msg m = {.kind = CONTROL_REPORT_FAILED, .job = a_job};
	snprintf(m.text, sizeof(m.text), "bad \xff\xc3 byte");
	struct buf line = {0};
	struct control_reports back;
	struct err e;
	control_reports_encode(1, (struct epoch){1}, &m, 1, &line);
	cr_assert(eq(int, control_reports_decode(line.data, line.len, &back, &e), ERR_OK));
	cr_assert(eq(str, back.reports[0].text, "bad ?? byte"));
	control_reports_fini(&back);
	buf_fini(&line);
}

struct bad {
	const char *text, *error;
};

Test(control, bad_commands_are_refused)
{
#define HEAD "\"seq\":1,\"epoch\":1,\"registration\":1"
#define WHO  ",\"job\":\"00112233445566778899aabbccddeeff\",\"region\":0,\"attempt\":1"
	static const struct bad rows[] = {
		{"", "malformed JSON"},
		{"7", "the message must be an object"},
		{"{}", "command: is missing"},
		{"{\"command\":\"dance\"}", "command: \"dance\" is unknown"},
		{"{\"command\":\"beat\"}", "seq: is missing"},
		{"{\"command\":\"beat\",\"seq\":-1,\"epoch\":1,\"registration\":1}",
		 "seq: must be"},
		{"{\"command\":\"abort\"," HEAD "}", "job: is missing"},
		{"{\"command\":\"abort\"," HEAD ",\"job\":\"xx\",\"region\":0,\"attempt\":1}",
		 "job: "},
		{"{\"command\":\"abort\"," HEAD WHO "}", "checkpoint: is missing"},
		{"{\"command\":\"trigger\"," HEAD WHO ",\"checkpoint\":1,\"trigger\":\"now\"}",
		 "trigger: \"now\" is unknown"},
		{"{\"command\":\"prepare\"," HEAD WHO ",\"subtasks\":[]}", "spec: is missing"},
		{"{\"command\":\"prepare\"," HEAD WHO ",\"spec\":{},\"subtasks\":[[0]]}",
		 "subtasks[0]: must be [vertex, subtask]"},
		{"{\"command\":\"prepare\"," HEAD WHO ",\"spec\":{},\"subtasks\":[[0,32768]]}",
		 "subtasks[0]: must be [vertex, subtask]"},
		{"{\"command\":\"run\"," HEAD WHO ",\"checkpoint\":0,\"peers\":{}}",
		 "peers: must be"},
		{"{\"command\":\"run\"," HEAD WHO ",\"checkpoint\":0,\"peers\":[{\"tm\":\"a b\"}]}",
		 "peers[0].tm: must be of"},
		{"{\"command\":\"run\"," HEAD WHO ",\"checkpoint\":0,\"peers\":[],\"restore\":{}}",
		 "restore.checkpoint: is missing"},
		{"{\"command\":\"goodbye\"," HEAD ",\"text\":5}", "text: must be a string"},
		{NULL, NULL}};
	for (const struct bad *b = rows; b->text; b++) {
		struct control_command_msg m;
		struct err e = {0};
		cr_expect(
			ne(int, control_command_decode(b->text, strlen(b->text), &m, &e), ERR_OK));
		cr_expect(strncmp(e.text, b->error, strlen(b->error)) == 0, "%s: %s", b->text,
			  e.text);
	}
}

Test(control, numbers_and_sizes_are_bounded)
{
	struct control_registration r = registration(), back;
	struct buf line = {0};
	struct err e;
	r.slots = 1025;
	control_registration_encode(&r, &line);
	cr_assert(
		eq(int, control_registration_decode(line.data, line.len, &back, &e), ERR_INVALID));
	cr_assert(eq(str, e.text, "slots: must be from 0 to 1024, is 1025"));
	control_registration_fini(&r);
	buf_clear(&line);
	char *huge = mem_alloc((8 << 20) + 2);
	memset(huge, ' ', (8 << 20) + 1);
	struct control_reports reports;
	cr_assert(eq(int, control_reports_decode(huge, (8 << 20) + 1, &reports, &e), ERR_LIMIT));
	free(huge);
	buf_fini(&line);
}

/* Change, drop or repeat a few bytes of good messages: decoding neither crashes nor leaks, and what
 * it accepts can be encoded and decoded again. */
static void damage(struct prng *p, struct buf *line)
{
	for (uint64_t n = 1 + prng_below(p, 3); n > 0 && line->len > 2; n--) {
		size_t at = (size_t)prng_below(p, line->len);
		switch (prng_below(p, 3)) {
		case 0:
			line->data[at] = (char)prng_below(p, 256);
			break;
		case 1:
			memmove(line->data + at, line->data + at + 1, line->len - at);
			line->len--;
			break;
		default:
			line->data[at] = "0123456789{}[]\",:-"[prng_below(p, 18)];
		}
	}
}

Test(control, survives_damage)
{
	struct prng p;
	prng_init(&p, 20260131);
	for (int round = 0; round < 20000; round++) {
		struct buf line = {0};
		if (round % 2) {
			struct control_command_msg m =
				command((enum control_command)(round / 2 % CONTROL_COMMAND_COUNT));
			struct control_command_msg back;
			control_command_encode(&m, &line);
			control_command_fini(&m);
			damage(&p, &line);
			if (control_command_decode(line.data, line.len, &back, NULL) == ERR_OK)
				control_command_fini(&back);
		} else {
			struct control_registration r = registration(), back;
			control_registration_encode(&r, &line);
			control_registration_fini(&r);
			damage(&p, &line);
			if (control_registration_decode(line.data, line.len, &back, NULL) == ERR_OK)
				control_registration_fini(&back);
		}
		buf_fini(&line);
	}
}

/* What lies at or below it is not rolled back: a worker that reads 0 would undo all. */
Test(control, a_cancel_carries_the_newest_completed_checkpoint)
{
	struct control_command_msg in = {.seq = 1,
					 .registration = 1,
					 .epoch = {3},
					 .kind = CONTROL_CANCEL,
					 .attempt = {2},
					 .checkpoint = {5},
					 .terminal = true},
				   out;
	struct err e = {0};
	struct buf b = {0};
	snprintf(in.job.hex, sizeof(in.job.hex), "%032x", 7);
	control_command_encode(&in, &b);
	cr_assert(eq(int, control_command_decode(b.data, b.len, &out, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(u64, out.checkpoint.v, 5));
	cr_assert(out.terminal);
	control_command_fini(&out);
	buf_fini(&b);
}

Test(control, a_run_may_be_only_to_commit)
{
	for (int only = 0; only < 2; only++) {
		struct control_command_msg in = command(CONTROL_RUN), out;
		struct err e = {0};
		struct buf b = {0};
		in.commit_only = only;
		control_command_encode(&in, &b);
		cr_assert(eq(int, control_command_decode(b.data, b.len, &out, &e), ERR_OK), "%s",
			  e.text);
		cr_expect(eq(int, out.commit_only, only));
		control_command_fini(&out);
		control_command_fini(&in);
		buf_fini(&b);
	}
}
