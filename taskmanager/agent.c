#include "taskmanager/agent.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"

enum {
	ASK_TIMEOUT_MS = 8000, /* a JobManager holds the question for at most 5 s */
	POST_TIMEOUT_MS = 3000,
	COOKIE_BYTES_MAX = 4096,
	ANSWER_BYTES_MAX = 4096
};

struct ask {
	struct world_http http;
	struct agent *agent;
	unsigned peer;
};

struct worker {
	struct list hook;
	struct world_child child;
	struct agent *agent;
	uint64_t item;
	struct job_id job;
	uint32_t region;
	struct attempt attempt;
	bool port_open;
};

/* What a call that failed at once has to tell the core, when the effects are through. */
struct later {
	enum agent_event_kind kind;
	uint64_t item;
	char text[ERR_TEXT_MAX];
};

struct agent {
	struct world *w;
	const struct agent_config *config;
	struct agent_core core;
	struct agent_effects fx;
	struct world_timer timer;
	struct ask asks[AGENT_PEERS_MAX];
	struct world_http stream, post;
	int stream_status;
	unsigned streams; /* how many there were: a line of an older one is not for the core */
	struct buf line;  /* of the stream, not complete yet */
	char address[128];
	struct blob_port *storage;
	struct blob_op cookie;
	struct list workers;
	unsigned n_later, later_capacity;
	struct later *later;
};

static void feed(struct agent *a, struct agent_event *ev);

/* ---- asking who leads ---- */

static enum agent_answer parse_answer(const struct world_reply *r, struct epoch *epoch,
				      char address[128])
{
	enum agent_answer answer = AGENT_ANSWER_SILENT;
	json_t *root = NULL;
	if (r->code || (r->status != 200 && r->status != 503))
		return answer;
	if (r->status == 503)
		return AGENT_ANSWER_NOBODY;
	if (json_parse(r->body, r->body_len, &root, NULL))
		return answer;
	const json_t *leader = json_object_get(root, "leader");
	const char *where;
	if (json_is_null(leader)) {
		answer = AGENT_ANSWER_NOBODY;
	} else if (json_is_object(leader) &&
		   json_get_u64(leader, "leader", "epoch", &epoch->v, NULL) == ERR_OK &&
		   json_get_text(leader, "leader", "address", &where, NULL) == ERR_OK &&
		   strlen(where) < 128) {
		snprintf(address, 128, "%s", where);
		answer = AGENT_ANSWER_LEADER;
	}
	json_decref(root);
	return answer;
}

static void ask_done(struct world_http *h, const struct world_reply *reply)
{
	struct ask *ask = MEM_OWNER(h, struct ask, http);
	char address[128] = "";
	struct agent_event ev = {.kind = AGENT_EV_LEADER, .peer = ask->peer, .address = address};
	ev.answer = parse_answer(reply, &ev.epoch, address);
	ev.text = reply->code ? net_cause_name(reply->cause) : NULL;
	feed(ask->agent, &ev);
}

static void do_ask(struct agent *a, const struct agent_effect *fx)
{
	struct ask *ask = &a->asks[fx->peer];
	char url[512];
	snprintf(url, sizeof(url),
		 "%s://%s/v1/cluster/leader?after=%" PRIu64 "&taskmanager=%s&instance=%s",
		 a->config->tls ? "https" : "http", a->config->jobmanagers[fx->peer], fx->epoch.v,
		 a->config->id, a->core.options.instance);
	*ask = (struct ask){.http.on_end = ask_done, .agent = a, .peer = fx->peer};
	world_http_start(a->w, &ask->http,
			 &(struct world_http_spec){.method = "GET",
						   .url = url,
						   .reply_max = ANSWER_BYTES_MAX,
						   .timeout_ms = ASK_TIMEOUT_MS,
						   .tls = a->config->tls});
}

/* ---- the registration and its command stream ---- */

static void stream_head(struct world_http *h, int status)
{
	MEM_OWNER(h, struct agent, stream)->stream_status = status;
}

static void stream_line(struct agent *a, const char *line, size_t len)
{
	struct control_command_msg m = {0};
	struct err e = {0};
	struct agent_event ev = {.kind = AGENT_EV_COMMAND, .command = &m};
	enum errc rc = control_command_decode(line, len, &m, &e);
	if (rc) {
		ev.kind = AGENT_EV_GARBLED;
		ev.text = e.text;
	}
	feed(a, &ev);
	if (!rc)
		control_command_fini(&m);
}

static void stream_chunk(struct world_http *h, const void *data, size_t len)
{
	struct agent *a = MEM_OWNER(h, struct agent, stream);
	buf_add(&a->line, data, len);
	if (a->line.full) {
		feed(a, &(struct agent_event){.kind = AGENT_EV_GARBLED,
					      .text = "a line is longer than the limit"});
		return;
	}
	if (a->stream_status != 200)
		return; /* the text of an error: told at the end */
	size_t from = 0;
	unsigned mine = a->streams;
	struct buf whole = a->line; /* a line may make the core hang up and register again */
	a->line = (struct buf){.max = whole.max};
	for (char *nl;
	     mine == a->streams && (nl = memchr(whole.data + from, '\n', whole.len - from));) {
		size_t n = (size_t)(nl - (whole.data + from));
		stream_line(a, whole.data + from, n);
		from += n + 1;
	}
	if (mine == a->streams)
		buf_add(&a->line, whole.data + from, whole.len - from);
	buf_fini(&whole);
}

static void stream_end(struct world_http *h, const struct world_reply *reply)
{
	struct agent *a = MEM_OWNER(h, struct agent, stream);
	char text[256];
	struct agent_event ev = {.kind = AGENT_EV_STREAM_END, .text = text};
	if (a->stream_status && a->stream_status != 200) {
		ev.kind = AGENT_EV_REFUSED;
		snprintf(text, sizeof(text), "registration refused: %d %.200s", a->stream_status,
			 a->line.len ? a->line.data : "");
	} else {
		snprintf(text, sizeof(text), "the command stream ended (%s)",
			 net_cause_name(reply->cause));
	}
	buf_clear(&a->line);
	feed(a, &ev);
}

static void do_register(struct agent *a, const struct agent_effect *fx)
{
	char url[256];
	struct buf body = {0};
	snprintf(a->address, sizeof(a->address), "%.127s", fx->text);
	snprintf(url, sizeof(url), "%s://%s/v1/cluster/taskmanagers",
		 a->config->tls ? "https" : "http", a->address);
	agent_registration(&a->core, &body);
	buf_clear(&a->line);
	a->stream_status = 0;
	a->stream = (struct world_http){
		.on_head = stream_head, .on_chunk = stream_chunk, .on_end = stream_end};
	world_http_start(
		a->w, &a->stream,
		&(struct world_http_spec){
			.method = "POST",
			.url = url,
			.body = body.data,
			.body_len = body.len,
			.headers = &(struct world_header){"Content-Type", "application/json"},
			.n_headers = 1,
			/* the core's own limits come first */
			.timeout_ms = a->core.heartbeat_ms + AGENT_REGISTER_MS,
			.stream = true,
			.tls = a->config->tls});
	buf_fini(&body);
}

static void do_hangup(struct agent *a)
{
	world_http_cancel(a->w, &a->stream);
	world_http_cancel(a->w, &a->post);
	buf_clear(&a->line);
	a->streams++;
}

/* ---- reports ---- */

static void post_done(struct world_http *h, const struct world_reply *r)
{
	struct agent *a = MEM_OWNER(h, struct agent, post);
	struct agent_event ev = {.kind = AGENT_EV_POSTED, .posted = AGENT_POSTED_AGAIN};
	if (!r->code && r->status >= 200 && r->status < 300)
		ev.posted = AGENT_POSTED_OK;
	else if (!r->code && r->status >= 400 && r->status < 500)
		ev.posted = AGENT_POSTED_REFUSED;
	if (ev.posted == AGENT_POSTED_OK && agent_posting(&a->core, CONTROL_REPORT_ACK))
		world_kill_point(a->w, "agent-ack-forwarded");
	if (ev.posted == AGENT_POSTED_REFUSED)
		world_log(a->w, LOG_LEVEL_WARN, "reports refused: %d %.200s", r->status, r->body);
	feed(a, &ev);
}

static void do_post(struct agent *a, const struct agent_effect *fx)
{
	char url[256];
	struct buf body = {0};
	snprintf(url, sizeof(url), "%s://%s/v1/cluster/taskmanagers/%s/reports",
		 a->config->tls ? "https" : "http", a->address, a->config->id);
	agent_reports(&a->core, fx->count, &body);
	a->post = (struct world_http){.on_end = post_done};
	world_http_start(
		a->w, &a->post,
		&(struct world_http_spec){
			.method = "POST",
			.url = url,
			.body = body.data,
			.body_len = body.len,
			.headers = &(struct world_header){"Content-Type", "application/json"},
			.n_headers = 1,
			.reply_max = ANSWER_BYTES_MAX,
			.timeout_ms = POST_TIMEOUT_MS,
			.tls = a->config->tls});
	buf_fini(&body);
}

/* ---- the storage cookie ---- */

static struct later *later_add(struct agent *a, enum agent_event_kind kind, uint64_t item)
{
	if (a->n_later == a->later_capacity) {
		a->later_capacity = a->later_capacity ? 2 * a->later_capacity : 4;
		a->later = mem_resize(a->later, a->later_capacity, sizeof(*a->later));
	}
	struct later *l = &a->later[a->n_later++];
	*l = (struct later){.kind = kind, .item = item};
	return l;
}

static void cookie_done(struct blob_op *op)
{
	struct agent *a = MEM_OWNER(op, struct agent, cookie);
	struct agent_event ev = {.kind = AGENT_EV_COOKIE};
	struct err e = op->err;
	struct job_id id;
	json_t *root = NULL;
	const char *text = NULL;
	/* A cluster id has the form of a job id. */
	if (e.code == ERR_OK && json_parse(op->data, op->len, &root, &e) == ERR_OK &&
	    json_get_text(root, "weir-cluster.json", "clusterId", &text, &e) == ERR_OK &&
	    job_id_parse(text, &id, &e) == ERR_OK)
		ev.cookie = id.hex;
	ev.text = e.text;
	feed(a, &ev);
	json_decref(root);
}

static void do_read_cookie(struct agent *a, const struct agent_effect *fx)
{
	struct err e = {0};
	a->storage = a->config->storage(a->config->owner, fx->text, &e);
	if (!a->storage) {
		struct later *l = later_add(a, AGENT_EV_COOKIE, 0);
		snprintf(l->text, sizeof(l->text), "%s", e.text);
		return;
	}
	a->cookie = (struct blob_op){.done = cookie_done};
	a->storage->get(a->storage, &a->cookie, "weir-cluster.json", COOKIE_BYTES_MAX);
}

/* ---- workers ---- */

static struct worker *worker_find(struct agent *a, uint64_t item)
{
	list_each (struct worker, k, &a->workers, hook) {
		if (k->item == item)
			return k;
	}
	return NULL;
}

static void worker_free(struct worker *k)
{
	struct agent_port *port = k->agent->config->port;
	if (port && k->port_open)
		port->close(port, &k->job, k->region, k->attempt);
	list_remove(&k->hook);
	free(k);
}

static void worker_line(struct world_child *child, const char *line, size_t len)
{
	struct worker *k = MEM_OWNER(child, struct worker, child);
	struct agent *a = k->agent;
	uint64_t item = k->item;
	struct control_reports reports;
	struct err e = {0};
	if (control_reports_decode(line, len, &reports, &e)) {
		world_log(a->w, LOG_LEVEL_ERROR, "worker %s/%u/%u: %s; its line is dropped",
			  k->job.hex, k->region, k->attempt.v, e.text);
		return;
	}
	for (unsigned i = 0; i < reports.n; i++)
		feed(a, &(struct agent_event){.kind = AGENT_EV_REPORT,
					      .item = item,
					      .report = &reports.reports[i]});
	control_reports_fini(&reports);
}

static void worker_exit(struct world_child *child, int exit_status, int signal)
{
	struct worker *k = MEM_OWNER(child, struct worker, child);
	struct agent *a = k->agent;
	struct agent_event ev = {.kind = AGENT_EV_EXIT,
				 .item = k->item,
				 .exit_status = exit_status,
				 .signal = signal};
	worker_free(k);
	feed(a, &ev);
}

static void worker_send(struct agent *a, struct worker *k, const struct control_command_msg *m)
{
	struct buf line = {0};
	control_command_encode(m, &line);
	size_t len = line.len && line.data[line.len - 1] == '\n' ? line.len - 1 : line.len;
	world_child_send(a->w, &k->child, line.data, len);
	buf_fini(&line);
}

static void worker_welcome(struct agent *a, struct worker *k)
{
	const json_t *from = agent_settings(&a->core);
	json_t *settings = from ? json_deep_copy(from) : json_object();
	if (a->config->worker_settings) {
		json_t *more = json_deep_copy(a->config->worker_settings);
		json_object_update(settings, more);
		json_decref(more);
	}
	if (a->config->slot_bytes)
		json_object_set_new(
			settings, "memoryBytes",
			json_integer((json_int_t)(a->config->slot_bytes *
						  agent_item_slots(&a->core, k->item))));
	json_object_set_new(settings, "taskManager", json_string(a->config->id));
	json_object_set_new(settings, "instance", json_string(a->core.options.instance));
	struct control_command_msg m = {.kind = CONTROL_WELCOME,
					.seq = 1,
					.epoch = a->core.highest,
					.registration = a->core.registration,
					.settings = settings};
	worker_send(a, k, &m);
	json_decref(settings);
}

static void do_spawn(struct agent *a, const struct agent_effect *fx)
{
	const struct control_item *item = agent_item_of(&a->core, fx->item);
	struct agent_port *port = a->config->port;
	struct worker *k = mem_alloc(sizeof(*k));
	char log_path[768];
	struct err e = {0};
	int fd = -1;
	assert(item);
	*k = (struct worker){.child = {.on_line = worker_line, .on_exit = worker_exit},
			     .agent = a,
			     .item = fx->item,
			     .job = item->job,
			     .region = item->region,
			     .attempt = item->attempt};
	list_append(&a->workers, &k->hook);
	snprintf(log_path, sizeof(log_path), "%s/%s-worker-%s-%u-%u.log",
		 a->config->log_dir ? a->config->log_dir : "", a->config->id, item->job.hex,
		 item->region, item->attempt.v);
	if (port) {
		fd = port->open(port, &item->job, item->region, item->attempt);
		k->port_open = fd >= 0;
	}
	struct world_spawn_spec spec = {.argv = a->config->worker_argv,
					.env = a->config->worker_env,
					.channel = true,
					.pass_fd = fd,
					.log_path = a->config->log_dir ? log_path : NULL,
					.line_max = LIMIT_REPORT_BYTES};
	enum errc rc = port && fd < 0 ? err_set(&e, ERR_IO, "no socket for its data connections")
				      : world_spawn(a->w, &k->child, &spec, &e);
	if (fd >= 0)
		close(fd);
	if (rc) {
		struct later *l = later_add(a, AGENT_EV_SPAWN_FAILED, fx->item);
		snprintf(l->text, sizeof(l->text), "%s", e.text);
		worker_free(k);
		return;
	}
	worker_welcome(a, k);
	world_kill_point(a->w, "agent-worker-started");
}

static void do_worker(struct agent *a, const struct agent_effect *fx)
{
	struct worker *k = worker_find(a, fx->item);
	if (!k)
		return; /* it did not start */
	if (fx->kind == AGENT_FX_KILL) {
		world_child_kill(a->w, &k->child, 9);
		return;
	}
	worker_send(a, k, &fx->command);
	if (fx->command.kind == CONTROL_TRIGGER)
		world_kill_point(a->w, "agent-trigger-forwarded");
	else if (fx->command.kind == CONTROL_COMPLETE)
		world_kill_point(a->w, "agent-complete-forwarded");
}

/* ---- carrying out ---- */

static void carry_out(struct agent *a)
{
	for (unsigned i = 0; i < a->fx.n; i++) {
		const struct agent_effect *fx = &a->fx.at[i];
		switch (fx->kind) {
		case AGENT_FX_ASK:
			do_ask(a, fx);
			break;
		case AGENT_FX_WITHDRAW:
			world_http_cancel(a->w, &a->asks[fx->peer].http);
			break;
		case AGENT_FX_REGISTER:
			do_register(a, fx);
			break;
		case AGENT_FX_HANGUP:
			do_hangup(a);
			break;
		case AGENT_FX_POST:
			do_post(a, fx);
			break;
		case AGENT_FX_READ_COOKIE:
			do_read_cookie(a, fx);
			break;
		case AGENT_FX_SPAWN:
			do_spawn(a, fx);
			break;
		case AGENT_FX_SEND:
		case AGENT_FX_KILL:
			do_worker(a, fx);
			break;
		case AGENT_FX_LOG:
			world_log(a->w, fx->level, "%s", fx->text);
			break;
		case AGENT_FX_EXIT:
			if (a->config->stopped)
				a->config->stopped(a->config->owner);
			break;
		}
	}
}

static void step(struct agent *a, struct agent_event *ev)
{
	ev->now_ms = world_now_ms(a->w);
	ev->random = world_rand64(a->w);
	agent_step(&a->core, ev, &a->fx);
	carry_out(a);
}

static void feed(struct agent *a, struct agent_event *ev)
{
	step(a, ev);
	for (unsigned i = 0; i < a->n_later; i++) {
		struct later l = a->later[i];
		step(a, &(struct agent_event){.kind = l.kind, .item = l.item, .text = l.text});
	}
	a->n_later = 0;
	uint64_t wake = agent_wake_ms(&a->core);
	if (wake == UINT64_MAX)
		world_timer_cancel(a->w, &a->timer);
	else
		world_timer_arm(a->w, &a->timer, wake);
}

static void timer_fired(struct world_timer *t)
{
	feed(MEM_OWNER(t, struct agent, timer), &(struct agent_event){.kind = AGENT_EV_TIME});
}

/* ---- life ---- */

struct agent *agent_create(struct world *w, const struct agent_config *config)
{
	struct agent *a = mem_alloc(sizeof(*a));
	struct agent_options o = {.id = config->id,
				  .slots = config->slots,
				  .data_address = config->data_address,
				  .rest_host = config->rest_host,
				  .pid = config->pid,
				  .n_peers = config->n_jobmanagers};
	struct job_id instance;
	assert(config->n_jobmanagers <= AGENT_PEERS_MAX);
	job_id_make(world_rand64(w), world_rand64(w), &instance);
	memcpy(o.instance, instance.hex, sizeof(o.instance));
	for (unsigned i = 0; i < config->n_jobmanagers; i++)
		o.peers[i] = config->jobmanagers[i];
	a->w = w;
	a->config = config;
	a->timer.fire = timer_fired;
	buf_init(&a->line, LIMIT_LINE_BYTES);
	list_init(&a->workers);
	agent_core_init(&a->core, &o);
	feed(a, &(struct agent_event){.kind = AGENT_EV_START});
	return a;
}

void agent_destroy(struct agent *a)
{
	if (!a)
		return;
	do_hangup(a);
	for (unsigned i = 0; i < a->config->n_jobmanagers; i++)
		world_http_cancel(a->w, &a->asks[i].http);
	if (a->cookie.impl)
		a->storage->cancel(a->storage, &a->cookie);
	list_each_safe (struct worker, k, &a->workers, hook) {
		world_child_abandon(a->w, &k->child);
		worker_free(k);
	}
	world_timer_cancel(a->w, &a->timer);
	agent_core_fini(&a->core);
	agent_effects_fini(&a->fx);
	buf_fini(&a->line);
	free(a->later);
	free(a);
}

void agent_stop(struct agent *a)
{
	feed(a, &(struct agent_event){.kind = AGENT_EV_STOP});
}

const struct agent_core *agent_core_of(const struct agent *a)
{
	return &a->core;
}
