/* The driver against a fake JobManager, on the world of production. The worker is a shell script
 * that answers with canned lines. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "taskmanager/agent.h"
#include "world/ev.h"

static const char JOB[] = "0000000000000000000000000000000a";
static const char CLUSTER[] = "c0000000000000000000000000000000";
enum { DEADLINE_MS = 20000 };

/* One fake JobManager, its storage, and one agent, on one loop. */
struct stage {
	struct world *w;
	struct world_server server;
	struct world_timer deadline, tick;
	struct world_request *stream, *held;
	uint64_t registration, seq, epoch;
	unsigned registrations;
	char cookie[ID_TEXT]; /* of the last registration */
	unsigned n_items;     /* in it */
	struct buf reports;   /* "prepared running ..." as they came */
	uint64_t last_report;
	bool twice; /* a report's number was not the next one */
	struct blob_port storage;
	struct agent *agent;
	struct agent_config config;
	char script[64];
	void (*script_of_test)(struct stage *s, const char *report);
	bool done, timed_out, stopped;
};

static struct stage *stage_of(struct world_server *server)
{
	return MEM_OWNER(server, struct stage, server);
}

/* ---- the fake storage: the cookie, at once but not inside the call ---- */

struct fake_get {
	struct world_timer timer;
	struct blob_op *op;
};
static struct fake_get fake; /* one at a time is enough */

static void fake_done(struct world_timer *t)
{
	(void)t;
	static char text[] = "{\"clusterId\":\"c0000000000000000000000000000000\"}";
	struct blob_op *op = fake.op;
	op->err.code = ERR_OK;
	op->data = text;
	op->len = strlen(text);
	op->impl = NULL;
	op->done(op);
}

static void fake_start(struct blob_port *p, struct blob_op *op, const char *name, size_t max)
{
	struct stage *s = MEM_OWNER(p, struct stage, storage);
	cr_assert(eq(str, (char *)name, "weir-cluster.json"));
	cr_assert(max > 0);
	op->impl = &fake;
	fake = (struct fake_get){.timer.fire = fake_done, .op = op};
	world_timer_arm(s->w, &fake.timer, world_now_ms(s->w));
}

static void fake_cancel(struct blob_port *p, struct blob_op *op)
{
	world_timer_cancel(MEM_OWNER(p, struct stage, storage)->w, &fake.timer);
	op->impl = NULL;
}

static struct blob_port *open_storage(void *owner, const char *url, struct err *e)
{
	(void)e;
	cr_assert(eq(str, (char *)url, "file:///s"));
	return &((struct stage *)owner)->storage;
}

/* ---- the fake JobManager ---- */

static void command(struct stage *s, struct control_command_msg m)
{
	struct buf line = {0};
	m.seq = ++s->seq;
	m.epoch.v = s->epoch;
	m.registration = s->registration;
	if (m.kind != CONTROL_WELCOME && m.kind != CONTROL_BEAT && m.kind != CONTROL_GOODBYE)
		job_id_parse(JOB, &m.job, NULL) ? abort() : (void)0;
	control_command_encode(&m, &line);
	world_reply_chunk(s->w, s->stream, line.data, line.len);
	buf_fini(&line);
}

static void prepare(struct stage *s, uint32_t attempt)
{
	json_t *spec = json_pack("{s:s}", "name", "x"), *subtasks = json_pack("[[i,i]]", 0, 0);
	command(s, (struct control_command_msg){.kind = CONTROL_PREPARE,
						.attempt = {attempt},
						.spec = spec,
						.subtasks = subtasks});
	json_decref(spec);
	json_decref(subtasks);
}

static void send_run(struct stage *s)
{
	json_t *peers = json_array();
	command(s,
		(struct control_command_msg){.kind = CONTROL_RUN, .attempt = {1}, .peers = peers});
	json_decref(peers);
}

static void on_register(struct stage *s, struct world_request *r)
{
	struct control_registration reg;
	struct err e;
	cr_assert(eq(int, control_registration_decode(r->body, r->body_len, &reg, &e), ERR_OK),
		  "%s", e.text);
	snprintf(s->cookie, sizeof(s->cookie), "%s", reg.cookie);
	s->n_items = reg.n_items;
	control_registration_fini(&reg);
	s->registrations++;
	s->registration++;
	s->seq = s->last_report = 0;
	s->stream = r;
	world_reply_start(s->w, r, 200, 1 << 20);
	json_t *settings = json_pack("{s:i,s:i,s:i,s:s,s:s}", "heartbeatTimeoutMs", 5000,
				     "orphanTimeoutMs", 60000, "alignmentLimitMs", 1000, "storage",
				     "file:///s", "clusterId", CLUSTER);
	command(s, (struct control_command_msg){.kind = CONTROL_WELCOME, .settings = settings});
	json_decref(settings);
	if (s->cookie[0])
		s->script_of_test(s, "registered");
}

static void on_reports(struct stage *s, struct world_request *r)
{
	struct control_reports got;
	struct err e;
	cr_assert(eq(int, control_reports_decode(r->body, r->body_len, &got, &e), ERR_OK), "%s",
		  e.text);
	world_reply(s->w, r, 200, "{}", 2);
	for (unsigned i = 0; i < got.n && got.registration == s->registration; i++) {
		s->twice |= got.reports[i].seq != s->last_report + 1;
		s->last_report = got.reports[i].seq;
		if (got.reports[i].kind == CONTROL_REPORT_BEAT)
			continue;
		buf_printf(&s->reports, "%s ", control_report_name(got.reports[i].kind));
		if (got.reports[i].kind == CONTROL_REPORT_FAILED)
			buf_printf(&s->reports, "(%s) ", got.reports[i].text);
		s->script_of_test(s, control_report_name(got.reports[i].kind));
	}
	control_reports_fini(&got);
}

static void on_request(struct world_server *server, struct world_request *r)
{
	struct stage *s = stage_of(server);
	char body[256];
	if (strcmp(r->path, "/v1/cluster/leader") == 0) {
		unsigned long long after = 0;
		sscanf(r->query, "after=%llu", &after);
		if (after >= s->epoch) {
			s->held = r;
			return;
		}
		snprintf(body, sizeof(body),
			 "{\"leader\":{\"id\":\"jm\",\"instance\":\"%s\",\"epoch\":%llu,"
			 "\"address\":\"%s\"}}",
			 CLUSTER, (unsigned long long)s->epoch, s->server.address);
		world_reply(s->w, r, 200, body, strlen(body));
	} else if (strcmp(r->path, "/v1/cluster/taskmanagers") == 0) {
		on_register(s, r);
	} else {
		cr_assert(eq(str, (char *)r->path, "/v1/cluster/taskmanagers/tm-1/reports"));
		on_reports(s, r);
	}
}

static void on_gone(struct world_server *server, struct world_request *r)
{
	struct stage *s = stage_of(server);
	if (s->stream == r)
		s->stream = NULL;
	if (s->held == r)
		s->held = NULL;
}

/* ---- the loop ---- */

static void too_late(struct world_timer *t)
{
	struct stage *s = MEM_OWNER(t, struct stage, deadline);
	s->timed_out = true;
	world_stop(s->w);
}

static void on_stopped(void *owner)
{
	struct stage *s = owner;
	s->stopped = true;
	world_stop(s->w);
}

static void finish(struct stage *s)
{
	s->done = true;
	world_stop(s->w);
}

static void run(const char *worker, void (*script)(struct stage *, const char *), struct stage *s)
{
	static const char *jobmanagers[1];
	static const char *argv[3];
	struct err e = {0};
	*s = (struct stage){.epoch = 7, .script_of_test = script};
	snprintf(s->script, sizeof(s->script), "/tmp/worker-XXXXXX");
	int fd = mkstemp(s->script);
	cr_assert(fd >= 0 && write(fd, worker, strlen(worker)) == (ssize_t)strlen(worker));
	close(fd);
	s->w = world_ev_create(&e);
	cr_assert(s->w != NULL, "%s", e.text);
	s->server = (struct world_server){.on_request = on_request, .on_gone = on_gone};
	cr_assert(eq(int,
		     world_listen(s->w, &s->server,
				  &(struct world_listen_spec){.address = "127.0.0.1:0",
							      .body_max = 1 << 20},
				  &e),
		     ERR_OK),
		  "%s", e.text);
	s->deadline.fire = too_late;
	world_timer_arm(s->w, &s->deadline, world_now_ms(s->w) + DEADLINE_MS);
	s->storage = (struct blob_port){.get = fake_start, .cancel = fake_cancel};
	jobmanagers[0] = s->server.address;
	argv[0] = "/bin/sh";
	argv[1] = s->script;
	s->config = (struct agent_config){.id = "tm-1",
					  .jobmanagers = jobmanagers,
					  .n_jobmanagers = 1,
					  .slots = 2,
					  .data_address = "127.0.0.1:7000",
					  .rest_host = "here",
					  .worker_argv = argv,
					  .storage = open_storage,
					  .owner = s,
					  .stopped = on_stopped};
	s->agent = agent_create(s->w, &s->config);
	world_ev_run(s->w);
	agent_destroy(s->agent);
	world_timer_cancel(s->w, &s->deadline);
	world_unlisten(s->w, &s->server);
	world_ev_destroy(s->w);
	unlink(s->script);
	cr_assert(eq(int, s->timed_out, 0), "reports so far: %s",
		  s->reports.data ? s->reports.data : "");
	cr_assert(eq(int, s->twice, 0), "a report was lost, repeated or out of order");
}

/* ---- workers ---- */

#define REPORT(kind)                                                                               \
	"echo '{\"registration\":0,\"epoch\":0,\"reports\":[{\"report\":\"" kind                   \
	"\",\"seq\":1,\"job\":\"0000000000000000000000000000000a\",\"region\":0,"                  \
	"\"attempt\":1,\"address\":\"\"}]}' >&3\n"

static const char obedient[] =
	"while read line <&3; do case \"$line\" in\n"
	"*'\"prepare\"'*) " REPORT("prepared") ";;\n"
					       "*'\"run\"'*) " REPORT(
						       "running") ";;\n"
								  "*'\"cancel\"'*) exit 0;;\n"
								  "esac; done\n";

static void life(struct stage *s, const char *report)
{
	if (strcmp(report, "registered") == 0 && s->registrations == 2)
		prepare(s, 1);
	else if (strcmp(report, "prepared") == 0)
		send_run(s);
	else if (strcmp(report, "running") == 0)
		command(s, (struct control_command_msg){.kind = CONTROL_CANCEL, .attempt = {1}});
	else if (strcmp(report, "ended") == 0)
		finish(s);
}

Test(agent, registers_runs_a_worker_and_ends_it)
{
	struct stage s;
	run(obedient, life, &s);
	cr_assert(eq(str, s.reports.data, "prepared running ended "));
	cr_assert(eq(str, s.cookie, (char *)CLUSTER));
	cr_assert(eq(uint, s.registrations, 2));
	buf_fini(&s.reports);
}

static void crash(struct stage *s, const char *report)
{
	if (strcmp(report, "registered") == 0)
		prepare(s, 1);
	else if (strcmp(report, "failed") == 0)
		finish(s);
}

Test(agent, tells_how_a_worker_died)
{
	struct stage s;
	run("kill -SEGV $$\n", crash, &s);
	cr_assert(
		eq(str, s.reports.data, "failed (the worker was killed by signal 11 (SIGSEGV)) "));
	buf_fini(&s.reports);
	run("exit 3\n", crash, &s);
	cr_assert(eq(str, s.reports.data, "failed (the worker exited with status 3) "));
	buf_fini(&s.reports);
}

/* The stream breaks while a worker runs: the same worker is in the next registration. */
static void broken(struct stage *s, const char *report)
{
	if (strcmp(report, "registered") == 0 && s->registrations == 2)
		prepare(s, 1);
	else if (strcmp(report, "prepared") == 0 && s->registrations == 2)
		world_reply_end(s->w, s->stream);
	else if (strcmp(report, "registered") == 0 && s->registrations == 3)
		finish(s);
}

Test(agent, comes_back_with_its_inventory)
{
	struct stage s;
	run(obedient, broken, &s);
	cr_assert(eq(uint, s.registrations, 3));
	cr_assert(eq(uint, s.n_items, 1));
	buf_fini(&s.reports);
}

static void stop(struct stage *s, const char *report)
{
	if (strcmp(report, "registered") == 0)
		prepare(s, 1);
	else if (strcmp(report, "prepared") == 0)
		agent_stop(s->agent);
}

Test(agent, stops_in_order)
{
	struct stage s;
	run(obedient, stop, &s);
	cr_assert(s.stopped);
	cr_assert(eq(str, s.reports.data, "prepared failed (the TaskManager was asked to stop) "));
	buf_fini(&s.reports);
}
