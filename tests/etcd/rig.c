#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "ha/etcd.h"
#include "world/ev.h"

enum { START_LIMIT_MS = 30000, CALL_LIMIT_MS = 20000 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
	abort();
}

/* ---- the loop ---- */

struct waiting {
	struct world_timer timer;
	struct world *w;
	bool (*cond)(void *ctx);
	void *ctx;
	uint64_t until_ms;
	bool held;
};

static void look(struct world_timer *t)
{
	struct waiting *x = MEM_OWNER(t, struct waiting, timer);
	x->held = x->cond && x->cond(x->ctx);
	if (x->held || world_now_ms(x->w) >= x->until_ms)
		world_stop(x->w);
	else
		world_timer_arm(x->w, t, world_now_ms(x->w) + 1);
}

bool rig_await(struct rig *r, bool (*cond)(void *ctx), void *ctx, uint64_t ms)
{
	struct waiting x = {.timer = {.fire = look},
			    .w = r->w,
			    .cond = cond,
			    .ctx = ctx,
			    .until_ms = world_now_ms(r->w) + ms};
	world_timer_arm(r->w, &x.timer, 0);
	world_ev_run(r->w);
	world_timer_cancel(r->w, &x.timer);
	return x.held;
}

void rig_run_for(struct rig *r, uint64_t ms)
{
	rig_await(r, NULL, NULL, ms);
}

/* ---- members ---- */

static unsigned free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
		     getsockname(fd, (struct sockaddr *)&a, &len) == 0,
	     "free port");
	close(fd);
	return ntohs(a.sin_port);
}

void rig_init(struct rig *r, unsigned n_members)
{
	*r = (struct rig){.n_members = n_members};
	snprintf(r->dir, sizeof r->dir, "/tmp/weir-etcd-XXXXXX");
	must(mkdtemp(r->dir) != NULL, "temporary directory");
	struct err e;
	log_set_level(LOG_LEVEL_ERROR);
	r->w = world_ev_create(&e);
	must(r->w != NULL, "world");
	for (unsigned i = 0; i < n_members; i++) {
		r->members[i].client_port = free_port();
		r->members[i].peer_port = free_port();
	}
}

void rig_run_member(struct rig *r, unsigned i)
{
	struct rig_member *m = &r->members[i];
	char name[16], dir[96], peer[64], cluster[256] = "", log[96];
	snprintf(name, sizeof name, "m%u", i);
	snprintf(dir, sizeof dir, "%s/%s", r->dir, name);
	snprintf(log, sizeof log, "%s/%s.log", r->dir, name);
	snprintf(peer, sizeof peer, "http://127.0.0.1:%u", m->peer_port);
	for (unsigned k = 0; k < r->n_members; k++) {
		size_t at = strlen(cluster);
		snprintf(cluster + at, sizeof cluster - at, "%sm%u=http://127.0.0.1:%u",
			 k ? "," : "", k, r->members[k].peer_port);
	}
	const char *argv[32 + RIG_FLAGS_MAX] = {"etcd",
						"--name",
						name,
						"--data-dir",
						dir,
						"--listen-client-urls",
						m->url,
						"--advertise-client-urls",
						m->url,
						"--listen-peer-urls",
						peer,
						"--initial-advertise-peer-urls",
						peer,
						"--initial-cluster",
						cluster,
						"--initial-cluster-token",
						r->dir,
						"--initial-cluster-state",
						"new",
						"--heartbeat-interval=50",
						"--election-timeout=500",
						"--logger=zap",
						"--log-level=error"};
	unsigned n = 0;
	while (argv[n])
		n++;
	for (unsigned k = 0; k < RIG_FLAGS_MAX && r->flags[k]; k++)
		argv[n++] = r->flags[k];
	pid_t parent = getpid();
	m->pid = fork();
	must(m->pid >= 0, "fork");
	if (m->pid > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execvp("etcd", (char *const *)(uintptr_t)argv);
	_exit(127);
}

void rig_signal(struct rig *r, unsigned i, int signal)
{
	struct rig_member *m = &r->members[i];
	if (m->pid == 0)
		return;
	kill(m->pid, signal);
	if (signal != SIGKILL)
		return;
	waitpid(m->pid, NULL, 0);
	m->pid = 0;
}

struct plain { /* a request outside of the client under test */
	struct world_http http;
	bool ended;
	int status;
	char *out;
	size_t size;
};

static void plain_end(struct world_http *h, const struct world_reply *reply)
{
	struct plain *p = MEM_OWNER(h, struct plain, http);
	p->ended = true;
	p->status = reply->code == ERR_OK ? reply->status : 0;
	snprintf(p->out, p->size, "%s", reply->code == ERR_OK ? reply->body : "");
}

static bool plain_ended(void *ctx)
{
	return ((struct plain *)ctx)->ended;
}

void rig_post(struct rig *r, unsigned i, const char *path, const char *body, char *out, size_t size,
	      int *status)
{
	struct plain p = {.http = {.on_end = plain_end}, .out = out, .size = size};
	char url[160];
	snprintf(url, sizeof url, "%s%s", r->members[i].url, path);
	world_http_start(r->w, &p.http,
			 &(struct world_http_spec){.method = "POST",
						   .url = url,
						   .body = body,
						   .body_len = strlen(body),
						   .reply_max = 8 << 20,
						   .timeout_ms = 8000});
	must(rig_await(r, plain_ended, &p, CALL_LIMIT_MS), path);
	if (status)
		*status = p.status;
}

struct asking {
	struct etcd *client;
	struct etcd_call call;
	bool ended, leads;
};

static void status_done(struct etcd_call *call)
{
	struct asking *a = MEM_OWNER(call, struct asking, call);
	a->ended = true;
	a->leads = call->err.code == ERR_OK && call->answer.etcd_leader &&
		   call->answer.etcd_leader == call->answer.header.member_id;
	wire_answer_fini(&call->answer);
}

static bool asked(void *ctx)
{
	return ((struct asking *)ctx)->ended;
}

unsigned rig_etcd_leader(struct rig *r)
{
	const char *urls[RIG_MEMBERS_MAX];
	for (unsigned i = 0; i < r->n_members; i++)
		urls[i] = r->members[i].url;
	struct etcd *client = etcd_create(r->w, &(struct etcd_config){.endpoints = urls,
								      .n_endpoints = r->n_members,
								      .attempt_ms = 300,
								      .attempt_max_ms = 1000});
	unsigned leader = r->n_members;
	uint64_t limit = world_now_ms(r->w) + START_LIMIT_MS;
	for (unsigned i = 0; leader == r->n_members; i = (i + 1) % r->n_members) {
		must(world_now_ms(r->w) < limit, "etcd has a leader");
		if (r->members[i].pid == 0)
			continue;
		struct asking a = {.client = client, .call = {.done = status_done}};
		etcd_start_at(client, &a.call, CALL_STATUS, mem_text("{}"),
			      world_now_ms(r->w) + 300, i);
		must(rig_await(r, asked, &a, CALL_LIMIT_MS), "status");
		if (a.leads)
			leader = i;
	}
	etcd_destroy(client);
	return leader;
}

void rig_start(struct rig *r)
{
	for (unsigned i = 0; i < r->n_members; i++)
		snprintf(r->members[i].url, sizeof r->members[i].url, "http%s://127.0.0.1:%u",
			 r->tls ? "s" : "", r->members[i].client_port);
	for (unsigned i = 0; i < r->n_members; i++)
		rig_run_member(r, i);
	if (!r->tls)
		rig_etcd_leader(r);
}

static int remove_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
	(void)s;
	(void)flag;
	(void)f;
	return remove(path);
}

void rig_fini(struct rig *r)
{
	for (unsigned i = 0; i < r->n_members; i++)
		rig_signal(r, i, SIGKILL);
	world_ev_destroy(r->w);
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void rig_shell(struct rig *r, const char *command)
{
	int status = 0;
	pid_t pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		setenv("RIG", r->dir, 1);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	must(status == 0, command);
}

void rig_etcdctl(struct rig *r, const char *const args[], char *out, size_t size)
{
	const char *argv[24] = {"etcdctl", "--endpoints", r->members[0].url};
	unsigned n = 3;
	while (*args && n < 23)
		argv[n++] = *args++;
	int fds[2], status = 0;
	must(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	pid_t pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		dup2(fds[1], 1);
		setenv("ETCDCTL_API", "3", 1);
		execvp("etcdctl", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fds[1]);
	size_t at = 0;
	for (ssize_t got = 1; got > 0 && at + 1 < size; at += got > 0 ? (size_t)got : 0)
		got = read(fds[0], out + at, size - at - 1);
	out[at] = 0;
	close(fds[0]);
	waitpid(pid, &status, 0);
	must(status == 0, "etcdctl");
}

/* ---- candidates ---- */

static void heard_role(struct ha_listener *l, enum ha_role role, struct epoch epoch,
		       const struct ha_doc *docs, size_t n_docs)
{
	struct rig_candidate *c = MEM_OWNER(l, struct rig_candidate, listener);
	enum ha_role before = c->role;
	c->role = role;
	c->epoch = epoch.v;
	c->role_at_ms = world_now_ms(c->rig->w);
	c->leads += role == HA_LEADING;
	c->suspends += role == HA_SUSPENDED;
	c->follows += role == HA_FOLLOWING;
	if (role >= HA_LEADING && before < HA_LEADING) {
		c->n_docs = n_docs;
		snprintf(c->first_doc, sizeof c->first_doc, "%s", n_docs ? docs[0].key : "");
	}
}

static void heard_members(struct ha_listener *l, const struct ha_member *members, size_t n)
{
	struct rig_candidate *c = MEM_OWNER(l, struct rig_candidate, listener);
	c->n_members = n;
	snprintf(c->leader_id, sizeof c->leader_id, "%s", n ? members[0].id : "");
}

void rig_candidate(struct rig *r, struct rig_candidate *c, const char *id, unsigned first,
		   void (*change)(struct ha_config *config))
{
	*c = (struct rig_candidate){.listener = {heard_role, heard_members}, .rig = r};
	snprintf(c->address, sizeof c->address, "127.0.0.1:%s", id + strlen(id) - 1);
	c->config = (struct ha_config){.prefix = "weir",
				       .cluster = "test",
				       .n_endpoints = r->n_members,
				       .id = id,
				       .user_address = c->address,
				       .cluster_address = c->address,
				       .pid = getpid()};
	for (unsigned i = 0; i < r->n_members; i++)
		c->config.endpoints[i] = r->members[(first + i) % r->n_members].url;
	struct job_id instance;
	job_id_make(world_rand64(r->w), world_rand64(r->w), &instance);
	memcpy(c->config.instance, instance.hex, sizeof c->config.instance);
	if (change)
		change(&c->config);
	c->ha = ha_create(r->w, &c->config, &c->listener);
}

void rig_candidate_end(struct rig_candidate *c)
{
	ha_destroy(c->ha);
	c->ha = NULL;
}

struct leaving {
	struct ha_resign resign;
	bool left;
};

static void has_left(struct ha_resign *r)
{
	MEM_OWNER(r, struct leaving, resign)->left = true;
}

static bool leaving_ended(void *ctx)
{
	return ((struct leaving *)ctx)->left;
}

void rig_candidate_leave(struct rig_candidate *c)
{
	struct leaving l = {.resign = {has_left}};
	ha_resign(c->ha, &l.resign);
	must(rig_await(c->rig, leaving_ended, &l, CALL_LIMIT_MS), "leaving");
	rig_candidate_end(c);
}

struct role_wanted {
	struct rig_candidate *c;
	enum ha_role role;
};

static bool has_role(void *ctx)
{
	struct role_wanted *x = ctx;
	return x->c->role == x->role;
}

bool rig_await_role(struct rig_candidate *c, enum ha_role role, uint64_t ms)
{
	struct role_wanted x = {c, role};
	return rig_await(c->rig, has_role, &x, ms);
}

struct deciding {
	struct ha_txn txn;
	bool ended;
};

static void decided(struct ha_txn *t)
{
	MEM_OWNER(t, struct deciding, txn)->ended = true;
}

static bool decision_ended(void *ctx)
{
	return ((struct deciding *)ctx)->ended;
}

enum errc rig_put_text(struct rig_candidate *c, const char *key, const char *value,
		       uint64_t *revision, struct err *e)
{
	struct ha_op op = {key, value, value ? strlen(value) : 0};
	struct deciding d = {.txn = {.chain_key = key,
				     .chain_revision = *revision,
				     .ops = &op,
				     .n_ops = 1,
				     .done = decided}};
	ha_decide(c->ha, &d.txn);
	must(!d.ended, "no callback inside the call");
	must(rig_await(c->rig, decision_ended, &d, CALL_LIMIT_MS), "decision");
	if (d.txn.err.code == ERR_OK)
		*revision = d.txn.chain_revision_after;
	*e = d.txn.err;
	return d.txn.err.code;
}

enum errc rig_put(struct rig_candidate *c, const char *key, const char *value, uint64_t *revision)
{
	struct err e;
	return rig_put_text(c, key, value, revision, &e);
}

struct getting {
	struct ha_read read;
	bool ended;
	char *out;
	size_t size;
	uint64_t revision;
	size_t n;
};

static void got(struct ha_read *read)
{
	struct getting *g = MEM_OWNER(read, struct getting, read);
	g->ended = true;
	g->n = read->n_docs;
	snprintf(g->out, g->size, "%s", read->n_docs ? read->docs[0].value : "");
	g->revision = read->n_docs ? read->docs[0].mod_revision : 0;
}

static bool read_ended(void *ctx)
{
	return ((struct getting *)ctx)->ended;
}

enum errc rig_get(struct rig_candidate *c, const char *key, char *out, size_t size,
		  uint64_t *revision)
{
	struct getting g = {.read = {.done = got}, .out = out, .size = size};
	ha_get(c->ha, &g.read, key, false, 0);
	must(rig_await(c->rig, read_ended, &g, CALL_LIMIT_MS), "read");
	if (revision)
		*revision = g.revision;
	return g.read.err.code;
}

struct passing {
	struct ha_barrier barrier;
	bool ended;
};

static void passed(struct ha_barrier *b)
{
	MEM_OWNER(b, struct passing, barrier)->ended = true;
}

static bool barrier_ended(void *ctx)
{
	return ((struct passing *)ctx)->ended;
}

enum errc rig_barrier(struct rig_candidate *c)
{
	struct passing p = {.barrier = {.done = passed}};
	ha_barrier(c->ha, &p.barrier);
	must(rig_await(c->rig, barrier_ended, &p, CALL_LIMIT_MS), "barrier");
	return p.barrier.err.code;
}
