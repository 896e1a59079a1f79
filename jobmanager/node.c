#include "jobmanager/node.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "jobmanager/moments.h"
#include "jobmanager/node_inside.h"
#include "jobmanager/quarantine.h"
#include "jobmanager/references.h"

enum {
	CLUSTER_FORMAT = 1,
	RETRY_MS = 1000,
	COOKIE_RETRY_MS = 2000,
	STORAGE_LATER_MS = 100, /* after a takeover, which has the disk and the processors first */
	MOMENT_MS = 1           /* by then the loop has written what a step sent */
};

#define CLUSTER_OBJECT "weir-cluster.json"

/* ---- effects that take time ---- */

/* One of a decision, a read, or a blob operation; ends with the event that the brain waits for. */
struct under_way {
	struct list hook;
	struct jm_node *node;
	enum jm_effect_kind kind;
	uint64_t token;
	struct job_id job;
	char key[JM_KEY_MAX]; /* chain key, key, object or prefix */
	char absent[JM_ABSENT_MAX][JM_KEY_MAX];
	struct jm_op *ops; /* owns */
	unsigned n_ops;
	unsigned moments;
	struct ha_op *ha_ops; /* owns; its pointers are those of ops */
	struct ha_txn txn;
	struct ha_read read;
	struct blob_op blob;
	bool removing; /* of BLOB_REMOVE: listed already */
};

static struct under_way *start(struct jm_node *n, const struct jm_effect *fx)
{
	struct under_way *u = mem_alloc(sizeof(*u));
	u->node = n;
	u->kind = fx->kind;
	u->token = fx->token;
	u->job = fx->job;
	memcpy(u->key, fx->key, sizeof(u->key));
	list_append(&n->jobs_under_way, &u->hook);
	return u;
}

static void forget(struct under_way *u)
{
	list_remove(&u->hook);
	for (unsigned i = 0; i < u->n_ops; i++) {
		free(u->ops[i].key);
		free(u->ops[i].value);
	}
	free(u->ops);
	free(u->ha_ops);
	free(u);
}

/* The event of its end; the caller adds what it brings, steps, and forgets it. */
static struct jm_event end_of(const struct under_way *u, enum jm_event_kind kind,
			      const struct err *e)
{
	return (struct jm_event){.kind = kind,
				 .token = u->token,
				 .job = u->job,
				 .code = e->code,
				 .text = e->code ? e->text : NULL};
}

static void pass(struct jm_node *n, unsigned moments)
{
	for (unsigned i = 0; moments >> i; i++)
		if (moments >> i & 1)
			world_kill_point(n->w, moment_name((enum moment)i));
}

static void decide_done(struct ha_txn *t)
{
	struct under_way *u = MEM_OWNER(t, struct under_way, txn);
	if (t->err.code == ERR_OK)
		pass(u->node, u->moments);
	struct jm_event ev = end_of(u, JM_DECIDED, &t->err);
	ev.revision = t->chain_revision_after;
	node_step(u->node, &ev);
	forget(u);
}

static void decide(struct jm_node *n, struct jm_effect *fx)
{
	struct under_way *u = start(n, fx);
	u->ops = fx->ops;
	u->n_ops = fx->n_ops;
	u->moments = fx->moments;
	fx->ops = NULL; /* ours now */
	fx->n_ops = 0;
	u->ha_ops = mem_array(u->n_ops + 1, sizeof(*u->ha_ops));
	for (unsigned i = 0; i < u->n_ops; i++)
		u->ha_ops[i] = (struct ha_op){
			.key = u->ops[i].key, .value = u->ops[i].value, .len = u->ops[i].len};
	u->txn = (struct ha_txn){.chain_key = u->key,
				 .chain_revision = fx->revision,
				 .n_absent = fx->n_absent,
				 .ops = u->ha_ops,
				 .n_ops = u->n_ops,
				 .done = decide_done};
	for (unsigned i = 0; i < fx->n_absent; i++) {
		memcpy(u->absent[i], fx->absent[i], JM_KEY_MAX);
		u->txn.absent[i] = u->absent[i];
	}
	ha_decide(n->ha, &u->txn);
}

static struct jm_doc *docs_of(const struct ha_doc *docs, size_t n)
{
	struct jm_doc *out = mem_array(n + 1, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = (struct jm_doc){.key = docs[i].key,
					 .value = docs[i].value,
					 .len = docs[i].len,
					 .revision = docs[i].mod_revision};
	return out;
}

static void read_done(struct ha_read *r)
{
	struct under_way *u = MEM_OWNER(r, struct under_way, read);
	struct jm_event ev = end_of(u, JM_READ_DONE, &r->err);
	struct jm_doc *docs = docs_of(r->docs, r->n_docs);
	ev.docs = docs;
	ev.n_docs = r->n_docs;
	node_step(u->node, &ev);
	free(docs);
	forget(u);
}

static void read_keys(struct jm_node *n, const struct jm_effect *fx)
{
	struct under_way *u = start(n, fx);
	struct ha_status s;
	/* As of what we have seen, the barrier included: even a linearizable read may be one write
	 * old (etcd #20418). A member that is behind says so, and is asked again. */
	ha_status(n->ha, &s);
	u->read.done = read_done;
	ha_get(n->ha, &u->read, u->key, fx->prefix, s.revision);
}

static void blob_end(struct under_way *u)
{
	if (u->kind == JM_BLOB_PUT && u->blob.err.code == ERR_OK)
		world_kill_point(u->node->w, "leader-manifest-stored");
	struct jm_event ev = end_of(u, JM_BLOB_DONE, &u->blob.err);
	node_step(u->node, &ev);
	forget(u);
}

static void blob_done(struct blob_op *op)
{
	struct under_way *u = MEM_OWNER(op, struct under_way, blob);
	struct blob_port *port = u->node->blobs;
	if (u->kind != JM_BLOB_REMOVE || u->removing || op->err.code || op->n_names == 0) {
		blob_end(u);
		return;
	}
	/* Listed: remove what was found. The names are ours until this returns; remove copies. */
	size_t n = op->n_names;
	const char **names = mem_array(n, sizeof(*names));
	char **owned = mem_array(n, sizeof(*owned));
	for (size_t i = 0; i < n; i++)
		names[i] = owned[i] = mem_text(op->names[i]);
	u->removing = true;
	u->blob = (struct blob_op){.done = blob_done};
	port->remove(port, &u->blob, names, n);
	for (size_t i = 0; i < n; i++)
		free(owned[i]);
	free(owned);
	free(names);
}

static void blob(struct jm_node *n, const struct jm_effect *fx)
{
	struct under_way *u = start(n, fx);
	u->blob.done = blob_done;
	if (fx->kind == JM_BLOB_PUT)
		n->blobs->put(n->blobs, &u->blob, u->key, fx->data, fx->len);
	else
		n->blobs->list(n->blobs, &u->blob, u->key);
}

static void command(struct jm_node *n, const struct jm_effect *fx)
{
	struct buf line = {0};
	control_command_encode(fx->command, &line);
	streams_send(n, fx->stream, line.data, line.len);
	buf_fini(&line);
	n->moments_sent |= moments_of_command(fx->command->kind);
}

static void commands_left(struct world_timer *t)
{
	struct jm_node *n = MEM_OWNER(t, struct jm_node, moments);
	unsigned sent = n->moments_sent;
	n->moments_sent = 0;
	pass(n, sent);
}

static void carry_out(struct jm_node *n, struct jm_effect *fx)
{
	switch (fx->kind) {
	case JM_DECIDE:
		decide(n, fx);
		break;
	case JM_READ:
		read_keys(n, fx);
		break;
	case JM_COMMAND:
		command(n, fx);
		break;
	case JM_CLOSE_STREAM:
		streams_close(n, fx->stream);
		break;
	case JM_PROBE:
		probe_start(n, fx->token, fx->key);
		break;
	case JM_BLOB_PUT:
	case JM_BLOB_REMOVE:
		blob(n, fx);
		break;
	case JM_REPLY:
		api_reply(n, fx->token, fx->code, fx->text ? fx->text : "");
		break;
	case JM_TRACE:
		world_log(n->w, fx->level, "%s", fx->text);
		break;
	case JM_MOMENT:
		world_kill_point(n->w, fx->key);
		break;
	case JM_EFFECT_COUNT:
		assert(fx->kind < JM_EFFECT_COUNT);
	}
}

/* ---- stepping ---- */

static void wake(struct world_timer *t)
{
	struct jm_node *n = MEM_OWNER(t, struct jm_node, wake);
	struct jm_event ev = {.kind = JM_TIME};
	node_step(n, &ev);
}

void node_step(struct jm_node *n, struct jm_event *ev)
{
	struct jm_effects fx = {0};
	assert(!n->stepping); /* the world calls nobody back from within a call */
	n->stepping = true;
	ev->now_ms = world_now_ms(n->w);
	ev->wall_ms = world_wall_ms(n->w);
	jm_step(n->jm, ev, &fx);
	for (size_t i = 0; i < fx.n; i++)
		carry_out(n, &fx.at[i]);
	jm_effects_clear(&fx);
	n->stepping = false;
	if (n->moments_sent && !world_timer_armed(&n->moments))
		world_timer_arm(n->w, &n->moments, world_now_ms(n->w) + MOMENT_MS);
	uint64_t at = jm_wake_ms(n->jm);
	if (at == UINT64_MAX)
		world_timer_cancel(n->w, &n->wake);
	else
		world_timer_arm(n->w, &n->wake, at);
	api_opened(n);
	history_look(&n->history);
}

static bool holds_the_lead(const struct jm_node *n)
{
	return n->role == HA_LEADING || n->role == HA_SUSPENDED;
}

bool node_leads(const struct jm_node *n)
{
	return n->told && holds_the_lead(n);
}

/* ---- the cluster's identity ---- */

static void leader_changed(struct jm_node *n);
static void put_cookie(struct jm_node *n);

static void cookie_again(struct world_timer *t)
{
	put_cookie(MEM_OWNER(t, struct jm_node, cookie_retry));
}

static void cookie_ended(struct blob_op *op)
{
	struct jm_node *n = MEM_OWNER(op, struct jm_node, cookie);
	if (op->err.code == ERR_OK) {
		n->cookie_done = true;
		n->storage_trouble[0] = '\0';
		return;
	}
	const char *why = op->err.code == ERR_EXISTS
				  ? "the storage root belongs to another cluster (" CLUSTER_OBJECT
				    ")"
				  : op->err.text;
	if (strncmp(n->storage_trouble, why, sizeof(n->storage_trouble) - 1) != 0)
		world_log(n->w, LOG_LEVEL_WARN, "storage %s: %s; trying again every %d s",
			  n->blobs->root, why, COOKIE_RETRY_MS / 1000);
	snprintf(n->storage_trouble, sizeof(n->storage_trouble), "%s", why);
	n->cookie_retry.fire = cookie_again;
	world_timer_arm(n->w, &n->cookie_retry, world_now_ms(n->w) + COOKIE_RETRY_MS);
}

static void put_cookie(struct jm_node *n)
{
	char text[80];
	if (n->cookie_done || n->cookie.impl != NULL || n->role == HA_FOLLOWING)
		return;
	snprintf(text, sizeof(text), "{\"clusterId\":\"%s\"}\n", n->cluster_id);
	n->cookie = (struct blob_op){.done = cookie_ended};
	n->blobs->put(n->blobs, &n->cookie, CLUSTER_OBJECT, text, strlen(text));
}

/* Did the leader before end without having said so? */
static bool crashed(enum ha_cause cause)
{
	switch (cause) {
	case HA_CAUSE_KILLED:
	case HA_CAUSE_REPLACED:
	case HA_CAUSE_SUSPECTED:
	case HA_CAUSE_LEASE:
		return true;
	case HA_CAUSE_NONE:
	case HA_CAUSE_FIRST:
	case HA_CAUSE_RESIGNED:
	case HA_CAUSE_KEY_LOST:
		break;
	}
	return false;
}

static uint64_t base_in(const struct jm_doc *docs, size_t n_docs)
{
	for (size_t i = 0; i < n_docs; i++)
		if (strcmp(docs[i].key, QUARANTINE_KEY) == 0)
			return quarantine_epoch_base(docs[i].value, docs[i].len);
	return 0;
}

/* Every answer of who leads, and may decide, names its epoch. */
static void stamp_answers(struct jm_node *n, bool leads)
{
	snprintf(n->epoch_text, sizeof(n->epoch_text), "%" PRIu64, n->epoch.v);
	n->user.stamp = leads ? (struct world_header){PROXY_EPOCH, n->epoch_text}
			      : (struct world_header){NULL, NULL};
}

static void look_at_storage(struct world_timer *t)
{
	struct jm_node *n = MEM_OWNER(t, struct jm_node, storage_later);
	if (!node_leads(n))
		return;
	put_cookie(n);
	recover_look(&n->recover);
}

static void lead(struct jm_node *n, const struct jm_doc *docs, size_t n_docs)
{
	const struct ha_takeover *story = ha_takeover(n->ha);
	struct ha_status s;
	ha_status(n->ha, &s);
	struct jm_event ev = {.kind = JM_LEADING,
			      .epoch = {n->raw_epoch},
			      .before = story->before,
			      .before_crashed = crashed(story->cause),
			      .suspended = n->role == HA_SUSPENDED,
			      .nospace = s.nospace,
			      .cluster_id = n->cluster_id,
			      .docs = docs,
			      .n_docs = n_docs};
	world_kill_point(n->w, "leader-barrier-read");
	n->epoch_base = base_in(docs, n_docs);
	liveness_epoch_base(n->liveness, n->epoch_base);
	n->epoch.v = n->raw_epoch + n->epoch_base;
	n->told = true;
	stamp_answers(n, n->role == HA_LEADING);
	node_step(n, &ev);
	leader_changed(n);
	history_lead(&n->history);
	recover_lead(&n->recover);
	n->storage_later.fire = look_at_storage;
	world_timer_arm(n->w, &n->storage_later,
			world_now_ms(n->w) + (story->before.v ? STORAGE_LATER_MS : 0));
}

static void drop_docs(struct jm_node *n)
{
	for (size_t i = 0; i < n->n_docs; i++) {
		free((char *)(uintptr_t)n->docs[i].key);
		free((char *)(uintptr_t)n->docs[i].value);
	}
	free(n->docs);
	n->docs = NULL;
	n->n_docs = 0;
}

/* The documents are kept while the identity is being found. */
static void keep_docs(struct jm_node *n, const struct ha_doc *docs, size_t n_docs)
{
	drop_docs(n);
	n->docs = docs_of(docs, n_docs);
	n->n_docs = n_docs;
	for (size_t i = 0; i < n_docs; i++) {
		n->docs[i].key = mem_text(n->docs[i].key);
		n->docs[i].value = mem_text_n(n->docs[i].value, n->docs[i].len);
	}
}

static void identity_known(struct jm_node *n)
{
	if (n->docs == NULL)
		return; /* as a standby: good to know beforehand */
	struct jm_doc *docs = n->docs;
	size_t n_docs = n->n_docs;
	lead(n, docs, n_docs);
	drop_docs(n);
}

static void find_identity(struct jm_node *n);

static void identity_again(struct world_timer *t)
{
	find_identity(MEM_OWNER(t, struct jm_node, cluster_retry));
}

static void identity_later(struct jm_node *n, const char *why)
{
	world_log(n->w, LOG_LEVEL_WARN, "the key `cluster`: %s; trying again", why);
	n->cluster_retry.fire = identity_again;
	world_timer_arm(n->w, &n->cluster_retry, world_now_ms(n->w) + RETRY_MS);
}

static void identity_created(struct ha_txn *t)
{
	struct jm_node *n = MEM_OWNER(t, struct jm_node, cluster_txn);
	free(n->cluster_value);
	n->cluster_value = NULL;
	if (t->err.code == ERR_OK || t->err.code == ERR_CONFLICT)
		find_identity(n); /* what is there now counts, whoever wrote it */
	else if (t->err.code != ERR_FENCED)
		identity_later(n, t->err.text);
}

static void create_identity(struct jm_node *n)
{
	struct job_id id;
	job_id_make(world_rand64(n->w), world_rand64(n->w), &id);
	n->cluster_value =
		mem_printf("{\"format\":%d,\"id\":\"%s\",\"dedicated\":%s}", CLUSTER_FORMAT, id.hex,
			   n->config.ha.dedicated ? "true" : "false");
	n->cluster_op = (struct ha_op){
		.key = "cluster", .value = n->cluster_value, .len = strlen(n->cluster_value)};
	n->cluster_txn = (struct ha_txn){.chain_key = "cluster",
					 .ops = &n->cluster_op,
					 .n_ops = 1,
					 .done = identity_created};
	ha_decide(n->ha, &n->cluster_txn);
}

static enum errc parse_identity(struct jm_node *n, const struct ha_doc *doc, struct err *e)
{
	json_t *o;
	const char *text = NULL;
	struct job_id id;
	int64_t format;
	enum errc rc = json_parse(doc->value, doc->len, &o, e);
	if (rc)
		return rc;
	rc = json_get_i64(o, "", "format", 1, CLUSTER_FORMAT, &format, e);
	if (rc == ERR_OK)
		rc = json_get_text(o, "", "id", &text, e);
	if (rc == ERR_OK)
		rc = job_id_parse(text, &id, e);
	if (rc == ERR_OK)
		memcpy(n->cluster_id, id.hex, sizeof(n->cluster_id));
	json_decref(o);
	return rc;
}

static void identity_read(struct ha_read *r)
{
	struct jm_node *n = MEM_OWNER(r, struct jm_node, cluster_read);
	struct err e = r->err;
	if (e.code == ERR_OK && r->n_docs == 0) {
		if (n->role == HA_LEADING && n->docs)
			create_identity(n);
		return;
	}
	if (e.code == ERR_OK && parse_identity(n, &r->docs[0], &e) == ERR_OK) {
		identity_known(n);
		return;
	}
	identity_later(n, e.text);
}

static void find_identity(struct jm_node *n)
{
	if (n->cluster_id[0]) {
		identity_known(n);
		return;
	}
	if (n->cluster_read.impl != NULL || n->cluster_txn.impl != NULL)
		return;
	n->cluster_read = (struct ha_read){.done = identity_read};
	ha_get(n->ha, &n->cluster_read, "cluster", false, 0);
}

/* ---- roles ---- */

static void note_leader(struct jm_node *n)
{
	struct ha_status s;
	struct leader l = {0};
	ha_status(n->ha, &s);
	if (node_leads(n) && n->role == HA_LEADING) {
		snprintf(l.id, sizeof(l.id), "%s", n->config.ha.id);
		memcpy(l.instance, n->instance, sizeof(l.instance));
		memcpy(l.user_address, n->user_address, sizeof(l.user_address));
		memcpy(l.cluster_address, n->cluster_address, sizeof(l.cluster_address));
		l.epoch = n->epoch.v;
		l.self = true;
	} else if (n->role == HA_FOLLOWING && s.n_members && !s.members[0].self) {
		const struct ha_member *m = &s.members[0];
		memcpy(l.id, m->id, sizeof(l.id));
		memcpy(l.instance, m->instance, sizeof(l.instance));
		memcpy(l.user_address, m->user_address, sizeof(l.user_address));
		memcpy(l.cluster_address, m->cluster_address, sizeof(l.cluster_address));
		l.epoch = m->create_revision + n->epoch_base;
	}
	n->leader = l;
	stamp_answers(n, l.self);
	if (l.self)
		proxy_ours(n->proxy, api_again, n);
	else
		proxy_leader(n->proxy, l.epoch ? l.user_address : NULL, l.epoch);
}

static void leader_changed(struct jm_node *n)
{
	note_leader(n);
	streams_leader_changed(n);
}

static void not_leading(struct jm_node *n)
{
	struct jm_event ev = {.kind = JM_FOLLOWING};
	stamp_answers(n, false);
	drop_docs(n);
	if (n->told)
		node_step(n, &ev);
	n->told = false;
	world_timer_cancel(n->w, &n->storage_later);
	history_follow(&n->history);
	recover_follow(&n->recover);
	n->cookie_done = false;
	streams_close_all(n, false);
	proxy_leader(n->proxy, NULL, 0); /* or it would hand back at once what is passed on now */
	api_not_leading(n);
}

/* LEADING, or SUSPENDED; `led`: so far, too. */
static void leading(struct jm_node *n, bool led, const struct ha_doc *docs, size_t n_docs)
{
	if (led && n->told) {
		struct jm_event ev = {.kind = n->role == HA_LEADING ? JM_RESUMED : JM_SUSPENDED};
		node_step(n, &ev);
		return;
	}
	if (!led)
		keep_docs(n, docs, n_docs);
	find_identity(n);
}

static void on_role(struct ha_listener *l, enum ha_role role, struct epoch epoch,
		    const struct ha_doc *docs, size_t n_docs)
{
	struct jm_node *n = MEM_OWNER(l, struct jm_node, listener);
	bool led = holds_the_lead(n);
	world_log(n->w, LOG_LEVEL_INFO, "role=%s epoch=%" PRIu64 " docs=%zu", ha_role_name(role),
		  epoch.v, n_docs);
	n->role = role;
	n->raw_epoch = epoch.v;
	n->epoch.v = epoch.v ? epoch.v + n->epoch_base : 0;
	switch (role) {
	case HA_STARTING:
	case HA_FOLLOWING:
		not_leading(n);
		find_identity(n);
		break;
	case HA_LEADING:
	case HA_SUSPENDED:
		leading(n, led, docs, n_docs);
		break;
	}
	leader_changed(n);
	if (role == HA_SUSPENDED)
		api_opened(n); /* nor will any be, for now */
}

static void on_members(struct ha_listener *l, const struct ha_member *members, size_t n_members)
{
	struct jm_node *n = MEM_OWNER(l, struct jm_node, listener);
	if (n->liveness)
		liveness_members(n->liveness, members, n_members);
	recover_members(&n->recover);
	leader_changed(n);
	if (n->role == HA_FOLLOWING && !n->cluster_id[0])
		find_identity(n); /* the first leader has created it meanwhile */
}

/* ---- life ---- */

/* "host:port" as others reach it: the advertised host with the bound port. */
static void reachable(const struct jm_node *n, const char *bound, char *out)
{
	const char *colon = strrchr(bound, ':');
	if (n->config.advertise && colon)
		snprintf(out, ADDRESS_BYTES, "%s%s", n->config.advertise, colon);
	else
		snprintf(out, ADDRESS_BYTES, "%s", bound);
}

static enum errc listen_both(struct jm_node *n, struct err *e)
{
	const struct world_listen_spec user = {.address = n->config.listen,
					       .body_max = LIMIT_BODY_BYTES};
	const struct world_listen_spec cluster = {.address = n->config.cluster_listen,
						  .body_max = LIMIT_REPORT_BYTES};
	n->user.on_request = api_on_request;
	n->user.on_gone = api_on_gone;
	n->cluster.on_request = streams_on_request;
	n->cluster.on_gone = streams_on_gone;
	enum errc rc = world_listen(n->w, &n->user, &user, e);
	if (rc)
		return err_wrap(e, rc, "listen %s", n->config.listen);
	rc = world_listen(n->w, &n->cluster, &cluster, e);
	if (rc) {
		world_unlisten(n->w, &n->user);
		return err_wrap(e, rc, "listen %s", n->config.cluster_listen);
	}
	reachable(n, n->user.address, n->user_address);
	reachable(n, n->cluster.address, n->cluster_address);
	return ERR_OK;
}

struct jm_node *jm_node_create(struct world *w, const struct jm_node_config *config,
			       struct blob_port *blobs, struct err *e)
{
	struct jm_node *n = mem_alloc(sizeof(*n));
	struct job_id instance;
	n->w = w;
	n->config = *config;
	n->blobs = blobs;
	n->wake.fire = wake;
	n->moments.fire = commands_left;
	n->next_token = 1;
	list_init(&n->jobs_under_way);
	list_init(&n->waiting);
	list_init(&n->streams);
	list_init(&n->probes);
	list_init(&n->looks);
	list_init(&n->questions);
	list_init(&n->held);
	list_init(&n->early);
	if (listen_both(n, e)) {
		free(n);
		return NULL;
	}
	job_id_make(world_rand64(w), world_rand64(w), &instance);
	memcpy(n->instance, config->ha.instance[0] ? config->ha.instance : instance.hex, ID_TEXT);
	memcpy(n->config.ha.instance, n->instance, ID_TEXT);
	n->config.ha.user_address = n->user_address;
	n->config.ha.cluster_address = n->cluster_address;
	n->config.jm.instance = n->instance;
	n->proxy = proxy_create(w, config->ha.id, NULL);
	n->jm = jm_create(&n->config.jm);
	history_init(&n->history, n);
	recover_init(&n->recover, n);
	n->listener = (struct ha_listener){.on_role = on_role, .on_members = on_members};
	n->ha = ha_create(w, &n->config.ha, &n->listener);
	if (!config->no_liveness)
		n->liveness = liveness_create(w, n->ha, NULL);
	return n;
}

static void drop_under_way(struct jm_node *n)
{
	list_each_safe (struct under_way, u, &n->jobs_under_way, hook) {
		if (u->kind == JM_READ)
			ha_get_cancel(n->ha, &u->read);
		if (u->blob.impl != NULL)
			n->blobs->cancel(n->blobs, &u->blob);
	}
}

void node_epoch_base(struct jm_node *n, uint64_t base)
{
	if (n->epoch_base == base)
		return;
	n->epoch_base = base;
	liveness_epoch_base(n->liveness, base);
	leader_changed(n);
}

static void forget_under_way(struct jm_node *n)
{
	drop_under_way(n);
	list_each_safe (struct under_way, u, &n->jobs_under_way, hook)
		forget(u);
	if (n->cluster_read.impl != NULL)
		ha_get_cancel(n->ha, &n->cluster_read);
	n->cluster_read.impl = NULL;
	n->cluster_txn.impl = NULL; /* forgotten with ha */
	free(n->cluster_value);
	n->cluster_value = NULL;
}

void node_begin_anew(struct jm_node *n)
{
	liveness_destroy(n->liveness);
	n->liveness = NULL;
	n->role = HA_STARTING;
	not_leading(n);
	forget_under_way(n);
	history_fini(&n->history);
	recover_fini(&n->recover);
	references_drop(n);
	ha_destroy(n->ha);
	n->epoch.v = n->raw_epoch = 0;
	history_init(&n->history, n);
	recover_init(&n->recover, n);
	n->ha = ha_create(n->w, &n->config.ha, &n->listener);
	n->liveness = n->config.no_liveness ? NULL : liveness_create(n->w, n->ha, NULL);
	liveness_epoch_base(n->liveness, n->epoch_base);
	leader_changed(n);
}

void jm_node_destroy(struct jm_node *n)
{
	if (n == NULL)
		return;
	liveness_destroy(n->liveness);
	world_timer_cancel(n->w, &n->wake);
	world_timer_cancel(n->w, &n->moments);
	world_timer_cancel(n->w, &n->cluster_retry);
	world_timer_cancel(n->w, &n->cookie_retry);
	world_timer_cancel(n->w, &n->storage_later);
	drop_under_way(n);
	if (n->cluster_read.impl != NULL)
		ha_get_cancel(n->ha, &n->cluster_read);
	if (n->cookie.impl != NULL)
		n->blobs->cancel(n->blobs, &n->cookie);
	history_fini(&n->history);
	recover_fini(&n->recover);
	references_drop(n);
	api_fini(n);
	probe_fini(n);
	streams_fini(n);
	proxy_destroy(n->proxy);
	ha_destroy(n->ha); /* decisions in flight are forgotten with it */
	list_each_safe (struct under_way, u, &n->jobs_under_way, hook)
		forget(u);
	world_unlisten(n->w, &n->user);
	world_unlisten(n->w, &n->cluster);
	jm_destroy(n->jm);
	drop_docs(n);
	free(n->cluster_value);
	free(n);
}

const char *jm_node_user_address(const struct jm_node *n)
{
	return n->user_address;
}

const char *jm_node_cluster_address(const struct jm_node *n)
{
	return n->cluster_address;
}

enum ha_role jm_node_role(const struct jm_node *n)
{
	return n->role;
}

const struct jm *jm_node_brain(const struct jm_node *n)
{
	return n->jm;
}
