/* The agent's core in virtual time: every event is an argument, every effect a value. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/prng.h"
#include "rest/traffic.h"
#include "taskmanager/agent_core.h"

static const char JOB_A[] = "0000000000000000000000000000000a";
static const char JOB_B[] = "0000000000000000000000000000000b";
static const char CLUSTER[] = "c0000000000000000000000000000000";

struct fixture {
	struct agent_core core;
	struct agent_effects fx;
	uint64_t now_ms;
	uint64_t seq; /* of the command stream */
	uint64_t registration;
	uint64_t epoch;
	unsigned warned; /* lines at WARN */
	char warning[AGENT_TEXT_MAX];
};

static void setup(struct fixture *f)
{
	*f = (struct fixture){.now_ms = 10000, .epoch = 5};
	struct agent_options o = {.id = "tm-1",
				  .slots = 4,
				  .data_address = "127.0.0.1:7000",
				  .rest_host = "host",
				  .pid = 1,
				  .n_peers = 2,
				  .peers = {"jm-a:1", "jm-b:1"}};
	snprintf(o.instance, sizeof(o.instance), "%032d", 1);
	agent_core_init(&f->core, &o);
}

static void teardown(struct fixture *f)
{
	agent_core_fini(&f->core);
	agent_effects_fini(&f->fx);
}

static void step(struct fixture *f, struct agent_event ev)
{
	ev.now_ms = f->now_ms;
	agent_step(&f->core, &ev, &f->fx);
	for (unsigned i = 0; i < f->fx.n; i++) {
		const struct agent_effect *fx = &f->fx.at[i];
		if (fx->kind != AGENT_FX_LOG || fx->level != LOG_LEVEL_WARN)
			continue;
		f->warned++;
		snprintf(f->warning, sizeof(f->warning), "%s", fx->text);
	}
}

static const struct agent_effect *effect(const struct fixture *f, enum agent_effect_kind kind)
{
	for (unsigned i = 0; i < f->fx.n; i++)
		if (f->fx.at[i].kind == kind)
			return &f->fx.at[i];
	return NULL;
}

static const struct agent_effect *sent(const struct fixture *f, enum control_command kind)
{
	for (unsigned i = 0; i < f->fx.n; i++)
		if (f->fx.at[i].kind == AGENT_FX_SEND && f->fx.at[i].command.kind == kind)
			return &f->fx.at[i];
	return NULL;
}

/* Let time pass as the driver would, until `until_ms`; a REGISTER stays unanswered. */
static void pass(struct fixture *f, uint64_t until_ms)
{
	for (int guard = 0; guard < 100000; guard++) {
		uint64_t wake = agent_wake_ms(&f->core);
		if (wake > until_ms)
			break;
		if (wake > f->now_ms)
			f->now_ms = wake;
		step(f, (struct agent_event){.kind = AGENT_EV_TIME});
	}
	f->now_ms = until_ms;
}

static void answer(struct fixture *f, unsigned peer, enum agent_answer a, uint64_t epoch)
{
	step(f, (struct agent_event){.kind = AGENT_EV_LEADER,
				     .peer = peer,
				     .answer = a,
				     .epoch = {epoch},
				     .address = "jm-a:1"});
}

static void command_msg(struct fixture *f, struct control_command_msg m)
{
	m.seq = ++f->seq;
	m.registration = f->registration;
	if (!m.epoch.v)
		m.epoch.v = f->epoch;
	step(f, (struct agent_event){.kind = AGENT_EV_COMMAND, .command = &m});
}

static void welcome(struct fixture *f)
{
	f->seq = 0;
	f->registration++;
	json_t *settings =
		json_pack("{s:i,s:i,s:s,s:s}", "heartbeatTimeoutMs", 5000, "orphanTimeoutMs", 60000,
			  "storage", "file:///s", "clusterId", CLUSTER);
	command_msg(f, (struct control_command_msg){.kind = CONTROL_WELCOME, .settings = settings});
	json_decref(settings);
}

static void registered(struct fixture *f)
{
	step(f, (struct agent_event){.kind = AGENT_EV_START});
	answer(f, 0, AGENT_ANSWER_LEADER, f->epoch);
	cr_assert(effect(f, AGENT_FX_REGISTER) != NULL);
	welcome(f);
	cr_assert(effect(f, AGENT_FX_READ_COOKIE) != NULL);
	step(f, (struct agent_event){.kind = AGENT_EV_COOKIE, .cookie = CLUSTER});
	cr_assert(effect(f, AGENT_FX_HANGUP) != NULL);
	cr_assert(effect(f, AGENT_FX_REGISTER) != NULL);
	welcome(f);
	cr_assert(eq(int, agent_session(&f->core), AGENT_REGISTERED));
}

static struct job_id job(const char *hex)
{
	struct job_id id;
	cr_assert(eq(int, job_id_parse(hex, &id, NULL), ERR_OK));
	return id;
}

static void command(struct fixture *f, enum control_command kind, const char *hex, uint32_t attempt,
		    uint64_t checkpoint)
{
	command_msg(f, (struct control_command_msg){.kind = kind,
						    .job = job(hex),
						    .attempt = {attempt},
						    .checkpoint = {checkpoint}});
}

/* `n` subtasks of one vertex. Returns the item, 0 if no worker was started. */
static uint64_t prepare(struct fixture *f, const char *hex, uint32_t attempt, int n)
{
	json_t *subtasks = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(subtasks, json_pack("[i,i]", 0, i));
	struct control_command_msg m = {.kind = CONTROL_PREPARE,
					.job = job(hex),
					.attempt = {attempt},
					.subtasks = subtasks};
	command_msg(f, m);
	json_decref(subtasks);
	const struct agent_effect *spawn = effect(f, AGENT_FX_SPAWN);
	return spawn ? spawn->item : 0;
}

static void worker_says(struct fixture *f, uint64_t item, struct control_report_msg r)
{
	step(f, (struct agent_event){.kind = AGENT_EV_REPORT, .item = item, .report = &r});
}

static uint64_t running(struct fixture *f, const char *hex, uint32_t attempt)
{
	uint64_t item = prepare(f, hex, attempt, 2);
	cr_assert(item != 0);
	worker_says(f, item, (struct control_report_msg){.kind = CONTROL_REPORT_PREPARED});
	command(f, CONTROL_RUN, hex, attempt, 0);
	worker_says(f, item, (struct control_report_msg){.kind = CONTROL_REPORT_RUNNING});
	return item;
}

static struct control_reports posted(struct fixture *f, unsigned count)
{
	struct buf body = {0};
	struct control_reports r;
	struct err e;
	agent_reports(&f->core, count, &body);
	cr_assert(eq(int, control_reports_decode(body.data, body.len, &r, &e), ERR_OK), "%s",
		  e.text);
	buf_fini(&body);
	return r;
}

static struct control_registration inventory(struct fixture *f)
{
	struct buf body = {0};
	struct control_registration r;
	struct err e;
	agent_registration(&f->core, &body);
	cr_assert(eq(int, control_registration_decode(body.data, body.len, &r, &e), ERR_OK), "%s",
		  e.text);
	buf_fini(&body);
	return r;
}

/* The next beats of the leader, one a second, reports accepted, until `until_ms`. */
static void live(struct fixture *f, uint64_t until_ms)
{
	while (f->now_ms < until_ms) {
		f->now_ms += 1000;
		command_msg(f, (struct control_command_msg){.kind = CONTROL_BEAT});
		while (effect(f, AGENT_FX_POST))
			step(f, (struct agent_event){.kind = AGENT_EV_POSTED});
	}
}

/* ---- tables ---- */

static void expect_edges(const struct sm_table *t, const char *const *edges, unsigned n)
{
	unsigned found = 0;
	for (unsigned from = 0; from < t->n_states; from++) {
		for (unsigned to = 0; to < t->n_states; to++) {
			char edge[64];
			bool listed = false;
			if (!(t->states[from].allowed & SM_TO(to)))
				continue;
			snprintf(edge, sizeof(edge), "%s>%s", t->states[from].name,
				 t->states[to].name);
			for (unsigned i = 0; i < n; i++)
				listed |= strcmp(edges[i], edge) == 0;
			cr_assert(listed, "%s: %s is not in the picture", t->machine, edge);
			found++;
		}
	}
	cr_assert(eq(uint, found, n));
}

Test(agent_core, tables_are_the_pictures)
{
	static const char *const session[] = {
		"FINDING>REGISTERING",    "FINDING>STOPPING", "REGISTERING>FINDING",
		"REGISTERING>REGISTERED", "REGISTERING>LOST", "REGISTERING>STOPPING",
		"REGISTERED>REGISTERING", "REGISTERED>LOST",  "REGISTERED>STOPPING",
		"LOST>REGISTERING",       "LOST>STOPPING"};
	static const char *const item[] = {
		"PREPARING>PREPARED", "PREPARING>RUNNING", "PREPARING>FAILED", "PREPARING>ENDED",
		"PREPARED>RUNNING",   "PREPARED>FAILED",   "PREPARED>ENDED",   "RUNNING>FAILED",
		"RUNNING>ENDED",      "FAILED>ENDED"};
	static const char *const worker[] = {"NONE>UP",       "UP>ENDING",   "UP>GONE",
					     "ENDING>KILLED", "ENDING>GONE", "KILLED>GONE"};
	expect_edges(&agent_session_table, session, 11);
	expect_edges(&agent_item_table, item, 10);
	expect_edges(&agent_worker_table, worker, 6);
}

/* ---- the session ---- */

Test(agent_core, registers_twice_to_bring_the_cookie)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	struct control_registration r = inventory(&f);
	cr_assert(eq(str, r.cookie, (char *)CLUSTER));
	cr_assert(eq(u64, r.highest.v, 5));
	cr_assert(eq(uint, r.n_items, 0));
	control_registration_fini(&r);
	teardown(&f);
}

Test(agent_core, the_highest_epoch_wins)
{
	struct fixture f;
	setup(&f);
	step(&f, (struct agent_event){.kind = AGENT_EV_START});
	answer(&f, 0, AGENT_ANSWER_LEADER, 4);
	cr_assert(effect(&f, AGENT_FX_REGISTER) != NULL);
	answer(&f, 1, AGENT_ANSWER_LEADER, 9);
	cr_assert(effect(&f, AGENT_FX_HANGUP) != NULL);
	cr_assert(effect(&f, AGENT_FX_REGISTER) != NULL);
	f.epoch = 4; /* the deposed one answers after all */
	welcome(&f);
	cr_assert(ne(int, agent_session(&f.core), AGENT_REGISTERED));
	teardown(&f);
}

Test(agent_core, lower_epochs_gaps_and_strangers_end_the_registration)
{
	for (int way = 0; way < 3; way++) {
		struct fixture f;
		setup(&f);
		registered(&f);
		uint64_t item = running(&f, JOB_A, 1);
		struct control_command_msg m = {.kind = CONTROL_CANCEL,
						.job = job(JOB_A),
						.attempt = {1},
						.seq = f.seq + (way == 0 ? 2 : 1),
						.epoch = {way == 1 ? 4 : 5},
						.registration = f.registration + (way == 2)};
		step(&f, (struct agent_event){.kind = AGENT_EV_COMMAND, .command = &m});
		cr_assert(effect(&f, AGENT_FX_HANGUP) != NULL);
		cr_assert(sent(&f, CONTROL_CANCEL) == NULL, "the command was carried out");
		cr_assert(eq(int, agent_item_of(&f.core, item)->state, CONTROL_STATE_RUNNING));
		teardown(&f);
	}
}

Test(agent_core, witness_asks_and_withdraws)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	live(&f, 20000);
	pass(&f, 21499);
	cr_assert(eq(int, f.core.witnessing, 0));
	pass(&f, 21600);
	cr_assert(f.core.witnessing);
	cr_assert(f.core.peers[0].asking && f.core.peers[1].asking);
	cr_assert(eq(int, agent_session(&f.core), AGENT_REGISTERED));
	command_msg(&f, (struct control_command_msg){.kind = CONTROL_BEAT});
	cr_assert(effect(&f, AGENT_FX_WITHDRAW) != NULL);
	cr_assert(eq(int, f.core.peers[0].asking || f.core.peers[1].asking, 0));
	teardown(&f);
}

/* It may be cut off from etcd alone, and be replaced without knowing it. */
Test(agent_core, a_suspended_leader_is_asked_about_and_left_for_the_next)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = prepare(&f, JOB_A, 1, 1);
	cr_assert(item != 0);
	command_msg(&f, (struct control_command_msg){.kind = CONTROL_BEAT, .text = "suspended"});
	cr_assert(f.core.witnessing);
	cr_assert(effect(&f, AGENT_FX_ASK) != NULL);
	cr_assert(effect(&f, AGENT_FX_SEND) == NULL, "to a worker nobody leads");
	cr_assert(eq(int, agent_session(&f.core), AGENT_REGISTERED));
	command_msg(&f, (struct control_command_msg){.kind = CONTROL_BEAT});
	cr_assert(eq(int, f.core.witnessing, 0), "it goes on leading");
	cr_assert(effect(&f, AGENT_FX_SEND) != NULL);
	teardown(&f);
}

Test(agent_core, a_silent_leader_is_lost_and_tasks_go_on)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 1);
	f.epoch = 5;
	pass(&f, f.now_ms + 5100);
	cr_assert(ne(int, agent_session(&f.core), AGENT_REGISTERED));
	cr_assert(eq(int, agent_item_of(&f.core, item)->state, CONTROL_STATE_RUNNING));
	teardown(&f);
}

/* ---- reports ---- */

Test(agent_core, reports_go_in_order_one_post_at_a_time_until_accepted)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = prepare(&f, JOB_A, 1, 1);
	worker_says(&f, item, (struct control_report_msg){.kind = CONTROL_REPORT_PREPARED});
	const struct agent_effect *post = effect(&f, AGENT_FX_POST);
	unsigned under_way = f.core.posting;
	cr_assert(under_way >= 1);
	worker_says(&f, item, (struct control_report_msg){.kind = CONTROL_REPORT_RUNNING});
	post = effect(&f, AGENT_FX_POST);
	cr_assert(post == NULL, "a second POST while one is under way");
	step(&f, (struct agent_event){.kind = AGENT_EV_POSTED, .posted = AGENT_POSTED_AGAIN});
	pass(&f, f.now_ms + AGENT_RETRY_MS);
	cr_assert(f.core.posting >= under_way + 1);
	struct control_reports r = posted(&f, f.core.posting);
	for (unsigned i = 0; i < r.n; i++)
		cr_assert(eq(u64, r.reports[i].seq, r.reports[0].seq + i));
	cr_assert(eq(u64, r.registration, f.registration));
	cr_assert(eq(u64, r.reports[0].seq, 1), "what was not accepted is sent again");
	control_reports_fini(&r);
	step(&f, (struct agent_event){.kind = AGENT_EV_POSTED, .posted = AGENT_POSTED_OK});
	cr_assert(eq(uint, f.core.n_queue, 0));
	teardown(&f);
}

Test(agent_core, refused_reports_end_the_registration)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	prepare(&f, JOB_A, 1, 9); /* refused: a report */
	cr_assert(f.core.posting > 0);
	step(&f, (struct agent_event){.kind = AGENT_EV_POSTED, .posted = AGENT_POSTED_REFUSED});
	cr_assert(effect(&f, AGENT_FX_HANGUP) != NULL);
	cr_assert(effect(&f, AGENT_FX_REGISTER) != NULL, "the first new try is at once");
	teardown(&f);
}

/* ---- inventory ---- */

Test(agent_core, the_inventory_holds_what_reports_would_have_told)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 3);
	step(&f, (struct agent_event){.kind = AGENT_EV_STREAM_END, .text = "gone"});
	json_t *object = json_pack("{s:s}", "path", "p");
	for (uint64_t n = 7; n <= 9; n++) {
		json_t *stats =
			json_pack("{s:[[i,I,i,i,i]]}", "vertices", 0, (json_int_t)n, 0, 0, 0);
		worker_says(&f, item,
			    (struct control_report_msg){.kind = CONTROL_REPORT_ACK,
							.checkpoint = {n},
							.object = object,
							.stats = stats});
		json_decref(stats);
	}
	json_decref(object);
	worker_says(&f, item, (struct control_report_msg){.kind = CONTROL_REPORT_AT_END});
	worker_says(
		&f, item,
		(struct control_report_msg){.kind = CONTROL_REPORT_DECLINE, .checkpoint = {10}});
	f.epoch = 6;
	for (unsigned p = 0; p < 2; p++)
		answer(&f, p, AGENT_ANSWER_LEADER, 6);
	struct control_registration r = inventory(&f);
	cr_assert(eq(uint, r.n_items, 1));
	cr_assert(eq(int, r.items[0].state, CONTROL_STATE_RUNNING));
	cr_assert(r.items[0].at_end);
	cr_assert(eq(u64, r.items[0].attempt.v, 3));
	cr_assert(eq(str, r.items[0].address, "127.0.0.1:7000"));
	cr_assert(eq(sz, json_array_size(r.items[0].acks), 3));
	control_registration_fini(&r);
	welcome(&f);
	cr_assert(eq(int, agent_session(&f.core), AGENT_REGISTERED));
	struct control_reports reports = posted(&f, 1);
	cr_assert(eq(int, reports.reports[0].kind, CONTROL_REPORT_DECLINE),
		  "a decline is in no inventory");
	cr_assert(eq(u64, reports.reports[0].seq, 1));
	control_reports_fini(&reports);
	command(&f, CONTROL_COMPLETE, JOB_A, 3, 8);
	r = inventory(&f);
	cr_assert(eq(sz, json_array_size(r.items[0].acks), 1), "those up to 8 are done with");
	cr_assert(eq(u64, r.items[0].completed.v, 8));
	struct traffic went;
	unsigned vertex;
	cr_assert(traffic_get(r.items[0].vertices, 0, &vertex, &went));
	cr_assert(eq(u64, went.read_records, 9), "what its worker last said");
	control_registration_fini(&r);
	teardown(&f);
}

Test(agent_core, beats_carry_the_digest_of_the_inventory)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	running(&f, JOB_A, 1);
	while (f.core.posting)
		step(&f, (struct agent_event){.kind = AGENT_EV_POSTED});
	pass(&f, f.now_ms + 1000);
	struct control_reports r = posted(&f, 1);
	cr_assert(eq(int, r.reports[0].kind, CONTROL_REPORT_BEAT));
	struct control_item told = {
		.job = job(JOB_A), .attempt = {1}, .state = CONTROL_STATE_RUNNING};
	cr_assert(eq(u64, r.reports[0].digest, control_digest(&told, 1)));
	control_reports_fini(&r);
	teardown(&f);
}

/* ---- attempts ---- */

Test(agent_core, an_ended_attempt_is_never_started_again)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 2);
	command(&f, CONTROL_CANCEL, JOB_A, 2, 0);
	cr_assert(sent(&f, CONTROL_CANCEL) != NULL);
	step(&f, (struct agent_event){.kind = AGENT_EV_EXIT, .item = item});
	cr_assert(eq(uint, agent_item_count(&f.core), 0));
	cr_assert(eq(u64, prepare(&f, JOB_A, 2, 1), 0));
	cr_assert(eq(u64, prepare(&f, JOB_A, 1, 1), 0));
	command(&f, CONTROL_RUN, JOB_A, 2, 0);
	cr_assert(sent(&f, CONTROL_RUN) == NULL);
	cr_assert(ne(u64, prepare(&f, JOB_A, 3, 1), 0));
	/* A cancel that came before its prepare counts too. */
	command(&f, CONTROL_CANCEL, JOB_B, 4, 0);
	cr_assert(eq(u64, prepare(&f, JOB_B, 4, 1), 0));
	teardown(&f);
}

Test(agent_core, a_newer_attempt_ends_the_older)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t old = running(&f, JOB_A, 1);
	uint64_t new = prepare(&f, JOB_A, 2, 2);
	cr_assert(ne(u64, new, 0));
	cr_assert(eq(u64, sent(&f, CONTROL_CANCEL)->item, old));
	pass(&f, f.now_ms + AGENT_CANCEL_MS);
	cr_assert(eq(u64, effect(&f, AGENT_FX_KILL) ? effect(&f, AGENT_FX_KILL)->item : 0, old));
	teardown(&f);
}

/* Told to commit and to end in one breath, a worker says that it has committed while it ends. */
Test(agent_core, a_commit_is_told_though_the_worker_is_to_end)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 1);
	do {
		step(&f, (struct agent_event){.kind = AGENT_EV_POSTED});
	} while (effect(&f, AGENT_FX_POST));
	command(&f, CONTROL_COMPLETE, JOB_A, 1, 8);
	command_msg(&f, (struct control_command_msg){.kind = CONTROL_CANCEL,
						     .job = job(JOB_A),
						     .attempt = {1},
						     .checkpoint = {8},
						     .terminal = true});
	worker_says(
		&f, item,
		(struct control_report_msg){.kind = CONTROL_REPORT_COMMITTED, .checkpoint = {8}});
	cr_assert(effect(&f, AGENT_FX_POST) != NULL);
	struct control_reports reports = posted(&f, 1);
	cr_assert(eq(int, reports.reports[0].kind, CONTROL_REPORT_COMMITTED));
	cr_assert(eq(u64, reports.reports[0].checkpoint.v, 8));
	control_reports_fini(&reports);
	worker_says(&f, item, (struct control_report_msg){.kind = CONTROL_REPORT_AT_END});
	cr_assert(effect(&f, AGENT_FX_POST) == NULL, "nothing else is of interest any more");
	teardown(&f);
}

Test(agent_core, a_repeated_run_and_prepare_are_harmless)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = prepare(&f, JOB_A, 1, 1);
	cr_assert(eq(u64, prepare(&f, JOB_A, 1, 1), 0));
	worker_says(&f, item, (struct control_report_msg){.kind = CONTROL_REPORT_PREPARED});
	command(&f, CONTROL_RUN, JOB_A, 1, 0);
	cr_assert(sent(&f, CONTROL_RUN) != NULL);
	command(&f, CONTROL_RUN, JOB_A, 1, 0);
	cr_assert(sent(&f, CONTROL_RUN) == NULL);
	teardown(&f);
}

Test(agent_core, slots_are_shared_by_regions_and_bounded)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	cr_assert(ne(u64, prepare(&f, JOB_A, 1, 3), 0));
	cr_assert(eq(uint, agent_slots_used(&f.core), 3));
	json_t *subtasks = json_pack("[[i,i],[i,i],[i,i]]", 1, 0, 1, 1, 1, 2);
	command_msg(&f, (struct control_command_msg){.kind = CONTROL_PREPARE,
						     .job = job(JOB_A),
						     .region = 1,
						     .attempt = {1},
						     .subtasks = subtasks});
	json_decref(subtasks);
	cr_assert(effect(&f, AGENT_FX_SPAWN) != NULL, "another region of the job shares its slots");
	cr_assert(eq(uint, agent_slots_used(&f.core), 3));
	cr_assert(eq(u64, prepare(&f, JOB_B, 1, 2), 0), "five of four slots");
	struct control_registration r = inventory(&f);
	cr_assert(eq(int, r.items[2].state, CONTROL_STATE_FAILED));
	cr_assert(r.items[2].external);
	control_registration_fini(&r);
	cr_assert(ne(u64, prepare(&f, JOB_B, 2, 1), 0));
	teardown(&f);
}

static void expect_exit(int status, int sig, const char *text, bool external)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 1);
	step(&f,
	     (struct agent_event){
		     .kind = AGENT_EV_EXIT, .item = item, .exit_status = status, .signal = sig});
	const struct control_item *it = agent_item_of(&f.core, item);
	cr_assert(eq(int, it->state, CONTROL_STATE_FAILED));
	cr_assert(strstr(it->text, text) != NULL, "%s", it->text);
	cr_assert(eq(int, it->external, external));
	teardown(&f);
}

Test(agent_core, a_worker_that_dies_fails_its_attempt)
{
	expect_exit(0, SIGKILL, "signal 9 (SIGKILL)", true);
	expect_exit(0, SIGSEGV, "SIGSEGV", false);
	expect_exit(3, 0, "status 3", false);
	expect_exit(0, 0, "status 0", false);
}

/* ---- without a leader ---- */

static enum control_state state_of(struct fixture *f, uint64_t item)
{
	const struct control_item *it = agent_item_of(&f->core, item);
	return it ? it->state : CONTROL_STATE_ENDED;
}

static uint64_t orphaned(struct fixture *f)
{
	setup(f);
	registered(f);
	uint64_t item = running(f, JOB_A, 1);
	step(f, (struct agent_event){.kind = AGENT_EV_STREAM_END, .text = "gone"});
	/* The one try that follows at once is refused. */
	step(f, (struct agent_event){.kind = AGENT_EV_REFUSED, .text = "refused"});
	return item;
}

/* Both JobManagers answer the same, ten times a second, and refuse registrations. */
static void hear(struct fixture *f, uint64_t for_ms, enum agent_answer a, enum agent_answer b)
{
	uint64_t end = f->now_ms + for_ms;
	while (f->now_ms < end) {
		pass(f, f->now_ms + 100);
		step(f, (struct agent_event){.kind = AGENT_EV_REFUSED, .text = "refused"});
		answer(f, 0, a, 5);
		step(f, (struct agent_event){.kind = AGENT_EV_REFUSED, .text = "refused"});
		answer(f, 1, b, 5);
		step(f, (struct agent_event){.kind = AGENT_EV_REFUSED, .text = "refused"});
	}
}

Test(agent_core, no_jobmanager_at_all_for_the_orphan_timeout)
{
	struct fixture f;
	uint64_t item = orphaned(&f);
	hear(&f, 59800, AGENT_ANSWER_SILENT, AGENT_ANSWER_SILENT);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	hear(&f, 400, AGENT_ANSWER_SILENT, AGENT_ANSWER_SILENT);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_FAILED));
	cr_assert(agent_item_of(&f.core, item)->external);
	teardown(&f);
}

static void nobody(struct fixture *f, unsigned peer, const char *why)
{
	step(f, (struct agent_event){.kind = AGENT_EV_LEADER,
				     .peer = peer,
				     .answer = AGENT_ANSWER_SILENT,
				     .address = "",
				     .text = why});
}

Test(agent_core, that_no_jobmanager_answers_is_said_and_said_again_once_a_minute)
{
	struct fixture f;
	setup(&f);
	step(&f, (struct agent_event){.kind = AGENT_EV_START});
	nobody(&f, 0, "refused");
	nobody(&f, 1, "timeout");
	pass(&f, f.now_ms + 2900);
	cr_expect(eq(u32, f.warned, 0));
	pass(&f, f.now_ms + 200);
	cr_assert(eq(u32, f.warned, 1));
	cr_expect(strstr(f.warning, "no JobManager answers, for 3 s") != NULL, "%s", f.warning);
	cr_expect(strstr(f.warning, "jm-a:1 (refused), jm-b:1 (timeout)") != NULL, "%s", f.warning);
	for (int i = 0; i < 590; i++) {
		pass(&f, f.now_ms + 100);
		nobody(&f, 0, "refused");
		nobody(&f, 1, "timeout");
	}
	cr_expect(eq(u32, f.warned, 1));
	pass(&f, f.now_ms + 2000);
	cr_expect(eq(u32, f.warned, 2));
	/* One answers at last. */
	answer(&f, 0, AGENT_ANSWER_LEADER, f.epoch);
	cr_assert(effect(&f, AGENT_FX_REGISTER) != NULL);
	welcome(&f);
	cr_assert(eq(u32, f.warned, 3));
	cr_expect(strstr(f.warning, "after 64 s without a leader") != NULL, "%s", f.warning);
	live(&f, f.now_ms + 100000);
	cr_expect(eq(u32, f.warned, 3));
	teardown(&f);
}

Test(agent_core, that_nobody_leads_and_that_the_leader_is_out_of_reach_is_said)
{
	struct fixture f;
	(void)orphaned(&f);
	f.warned = 0;
	hear(&f, 9000, AGENT_ANSWER_SILENT, AGENT_ANSWER_NOBODY);
	cr_expect(eq(u32, f.warned, 0), "%s", f.warning);
	hear(&f, 2000, AGENT_ANSWER_SILENT, AGENT_ANSWER_NOBODY);
	cr_expect(eq(u32, f.warned, 1));
	cr_expect(strstr(f.warning, "none leads") != NULL, "%s", f.warning);
	hear(&f, 60000, AGENT_ANSWER_SILENT, AGENT_ANSWER_LEADER);
	cr_expect(strstr(f.warning, "the leader at jm-a:1 cannot be reached") != NULL, "%s",
		  f.warning);
	teardown(&f);
}

Test(agent_core, nobody_leads_now_keeps_tasks_for_ever)
{
	struct fixture f;
	uint64_t item = orphaned(&f);
	hear(&f, 600000, AGENT_ANSWER_SILENT, AGENT_ANSWER_NOBODY);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	/* From now on nobody answers: the timeout counts from here. */
	hear(&f, 59500, AGENT_ANSWER_SILENT, AGENT_ANSWER_SILENT);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	hear(&f, 700, AGENT_ANSWER_SILENT, AGENT_ANSWER_SILENT);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_FAILED));
	teardown(&f);
}

Test(agent_core, a_leader_out_of_reach_ends_tasks_sooner)
{
	struct fixture f;
	uint64_t item = orphaned(&f);
	hear(&f, 30000, AGENT_ANSWER_SILENT, AGENT_ANSWER_NOBODY);
	hear(&f, 14500, AGENT_ANSWER_SILENT, AGENT_ANSWER_LEADER);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	hear(&f, 900, AGENT_ANSWER_SILENT, AGENT_ANSWER_LEADER);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_FAILED));
	teardown(&f);
}

Test(agent_core, unknown_must_be_heard_without_a_break)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 1), start = f.now_ms;
	while (f.now_ms < start + 59000) {
		command(&f, CONTROL_UNKNOWN, JOB_A, 1, 0);
		live(&f, f.now_ms + 5000);
	}
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	command(&f, CONTROL_COMPLETE, JOB_A, 1, 1); /* it is known after all */
	command(&f, CONTROL_UNKNOWN, JOB_A, 1, 0);
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_RUNNING));
	start = f.now_ms;
	while (f.now_ms <= start + 60000) {
		live(&f, f.now_ms + 5000);
		command(&f, CONTROL_UNKNOWN, JOB_A, 1, 0);
	}
	cr_assert(eq(int, state_of(&f, item), CONTROL_STATE_FAILED));
	teardown(&f);
}

Test(agent_core, stopping_fails_the_attempts_tells_it_and_leaves)
{
	struct fixture f;
	setup(&f);
	registered(&f);
	uint64_t item = running(&f, JOB_A, 1);
	while (f.core.posting)
		step(&f, (struct agent_event){.kind = AGENT_EV_POSTED});
	step(&f, (struct agent_event){.kind = AGENT_EV_STOP});
	cr_assert(sent(&f, CONTROL_CANCEL) != NULL);
	cr_assert(effect(&f, AGENT_FX_POST) != NULL);
	step(&f, (struct agent_event){.kind = AGENT_EV_EXIT, .item = item});
	cr_assert(effect(&f, AGENT_FX_EXIT) == NULL, "the leader was not told yet");
	step(&f, (struct agent_event){.kind = AGENT_EV_POSTED});
	cr_assert(effect(&f, AGENT_FX_EXIT) != NULL);
	teardown(&f);
}

/* ---- totality: any event in any state ---- */

static struct agent_event any_event(struct prng *p, struct control_command_msg *m,
				    struct control_report_msg *r, json_t *json)
{
	static const char *const jobs[] = {"0000000000000000000000000000000a",
					   "0000000000000000000000000000000b"};
	*m = (struct control_command_msg){
		.kind = (enum control_command)prng_below(p, CONTROL_COMMAND_COUNT),
		.seq = prng_below(p, 4),
		.epoch = {3 + prng_below(p, 4)},
		.registration = prng_below(p, 3),
		.job = job(jobs[prng_below(p, 2)]),
		.attempt = {(uint32_t)prng_below(p, 4)},
		.checkpoint = {prng_below(p, 9)},
		.terminal = prng_below(p, 2),
		.subtasks = json};
	*r = (struct control_report_msg){
		.kind = (enum control_report)prng_below(p, CONTROL_REPORT_COUNT),
		.checkpoint = {prng_below(p, 9)},
		.external = prng_below(p, 2)};
	return (struct agent_event){.kind = (enum agent_event_kind)prng_below(p, AGENT_EV_COUNT),
				    .random = prng_below(p, 1000),
				    .peer = (unsigned)prng_below(p, 2),
				    .answer = (enum agent_answer)prng_below(p, 3),
				    .epoch = {3 + prng_below(p, 4)},
				    .address = "jm:1",
				    .posted = (enum agent_posted)prng_below(p, 3),
				    .cookie = prng_below(p, 2) ? CLUSTER : NULL,
				    .item = prng_below(p, 6),
				    .signal = (int)prng_below(p, 10),
				    .command = m,
				    .report = r};
}

static void fuzz(uint64_t seed, unsigned *visited)
{
	struct fixture f;
	struct prng p;
	json_t *subtasks = json_pack("[[i,i]]", 0, 0);
	prng_init(&p, seed);
	setup(&f);
	step(&f, (struct agent_event){.kind = AGENT_EV_START});
	for (int i = 0; i < 300; i++) {
		struct control_command_msg m;
		struct control_report_msg r;
		struct agent_event ev = any_event(&p, &m, &r, subtasks);
		bool stop = ev.kind == AGENT_EV_STOP && i < 250;
		uint64_t highest = f.core.highest.v;
		/* Often enough the stream makes sense. */
		if (ev.kind == AGENT_EV_COMMAND && prng_below(&p, 4)) {
			m.seq = f.core.seq_in + 1;
			m.epoch.v = highest > 3 ? highest : 3;
			m.registration = f.core.registration;
			if (!f.core.welcomed)
				m.kind = CONTROL_WELCOME;
		}
		f.now_ms += prng_below(&p, 800);
		if (!stop)
			step(&f, ev);
		cr_assert(f.core.highest.v >= highest);
		*visited |= 1u << agent_session(&f.core);
		struct control_registration inv = inventory(&f);
		for (unsigned k = 0; k < inv.n_items; k++)
			cr_assert(ne(int, inv.items[k].state, CONTROL_STATE_ENDED));
		control_registration_fini(&inv);
	}
	json_decref(subtasks);
	teardown(&f);
}

Test(agent_core, every_event_is_legal_in_every_state)
{
	unsigned visited = 0;
	for (uint64_t seed = 1; seed <= 300; seed++)
		fuzz(seed, &visited);
	cr_assert(eq(uint, visited, (1u << AGENT_STATE_COUNT) - 1));
}
