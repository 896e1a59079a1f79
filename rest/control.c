/*
 * The codec of control.h. One table per direction says which members a kind of
 * message has; encoder and decoder both walk it, so they cannot disagree.
 * Members that this version does not know are ignored: during a rolling
 * upgrade both sides may be a version apart.
 */
#include "rest/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

enum {
	F_JOB = 1, /* job, region, attempt */
	F_CHECKPOINT = 2,
	F_TRIGGER = 4,
	F_TERMINAL = 8,
	F_SPEC = 16,
	F_SUBTASKS = 32,
	F_PEERS = 64,
	F_RESTORE = 128,
	F_SETTINGS = 256,
	F_TEXT = 512,
	F_PLACE = 1024, /* vertex, subtask */
	F_EXTERNAL = 2048,
	F_CORRUPT = 4096,
	F_OBJECT = 8192,
	F_STATS = 16384,
	F_DIGEST = 32768,
	F_ADDRESS = 65536,
	F_COMMIT_ONLY = 131072
};

enum { ITEMS_MAX = 4096, REPORTS_MAX = 65536, ACKS_MAX = 256, ADDRESS_MAX = 127 };

struct kind {
	const char *name;
	unsigned fields;
};

static const struct kind commands[CONTROL_COMMAND_COUNT] = {
	[CONTROL_WELCOME] = {"welcome", F_SETTINGS},
	[CONTROL_BEAT] = {"beat", F_TEXT},
	[CONTROL_PREPARE] = {"prepare", F_JOB | F_SPEC | F_SUBTASKS},
	[CONTROL_RUN] = {"run", F_JOB | F_CHECKPOINT | F_PEERS | F_RESTORE | F_COMMIT_ONLY},
	[CONTROL_TRIGGER] = {"trigger", F_JOB | F_CHECKPOINT | F_TRIGGER},
	[CONTROL_COMPLETE] = {"complete", F_JOB | F_CHECKPOINT},
	[CONTROL_ABORT] = {"abort", F_JOB | F_CHECKPOINT},
	[CONTROL_FINISH] = {"finish", F_JOB | F_CHECKPOINT},
	[CONTROL_CANCEL] = {"cancel", F_JOB | F_CHECKPOINT | F_TERMINAL | F_TEXT},
	[CONTROL_UNKNOWN] = {"unknown", F_JOB},
	[CONTROL_GOODBYE] = {"goodbye", F_TEXT}};

static const struct kind reports[CONTROL_REPORT_COUNT] = {
	[CONTROL_REPORT_BEAT] = {"beat", F_DIGEST | F_STATS},
	[CONTROL_REPORT_PREPARED] = {"prepared", F_JOB | F_ADDRESS},
	[CONTROL_REPORT_RUNNING] = {"running", F_JOB | F_STATS},
	[CONTROL_REPORT_ACK] = {"ack", F_JOB | F_CHECKPOINT | F_OBJECT | F_STATS},
	[CONTROL_REPORT_DECLINE] = {"decline", F_JOB | F_CHECKPOINT | F_TEXT | F_EXTERNAL},
	[CONTROL_REPORT_COMMITTED] = {"committed", F_JOB | F_CHECKPOINT},
	[CONTROL_REPORT_AT_END] = {"at-end", F_JOB},
	[CONTROL_REPORT_FAILED] = {"failed", F_JOB | F_TEXT | F_PLACE | F_EXTERNAL | F_CORRUPT},
	[CONTROL_REPORT_ENDED] = {"ended", F_JOB | F_TEXT}};

static const char *const triggers[] = {"checkpoint", "savepoint", "final"};
static const char *const states[CONTROL_STATE_COUNT] = {"PREPARING", "PREPARED", "RUNNING",
							"FAILED", "ENDED"};

const char *control_command_name(enum control_command kind)
{
	return commands[kind].name;
}

const char *control_report_name(enum control_report kind)
{
	return reports[kind].name;
}

const char *control_state_name(enum control_state state)
{
	return states[state];
}

/* ---- writing ---- */

static void put_u64(json_t *o, const char *name, uint64_t n)
{
	char text[24];
	if (n <= INT64_MAX) {
		json_object_set_new(o, name, json_integer((json_int_t)n));
		return;
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	json_object_set_new(o, name, json_string(text));
}

/* Texts come from anywhere (strerror, a library, a cut in the middle of a character): what is not
 * UTF-8 is shown as '?', never dropped. */
static void put_text(json_t *o, const char *name, const char *text)
{
	json_t *value = json_string(text);
	if (value == NULL) {
		char *plain = mem_text(text);
		for (char *p = plain; *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		value = json_string(plain);
		free(plain);
	}
	json_object_set_new(o, name, value);
}

static void put_json(json_t *o, const char *name, json_t *value)
{
	json_object_set(o, name, value ? value : json_null());
}

static void put_job(json_t *o, const struct job_id *job, uint32_t region, struct attempt attempt)
{
	put_text(o, "job", job->hex);
	put_u64(o, "region", region);
	put_u64(o, "attempt", attempt.v);
}

static void append(struct buf *out, json_t *o, const char *end)
{
	char *text = json_text(o);
	buf_text(out, text);
	buf_text(out, end);
	free(text);
	json_decref(o);
}

void control_command_encode(const struct control_command_msg *m, struct buf *out)
{
	unsigned fields = commands[m->kind].fields;
	json_t *o = json_object();
	put_text(o, "command", commands[m->kind].name);
	put_u64(o, "seq", m->seq);
	put_u64(o, "epoch", m->epoch.v);
	put_u64(o, "registration", m->registration);
	if (fields & F_JOB)
		put_job(o, &m->job, m->region, m->attempt);
	if (fields & F_CHECKPOINT)
		put_u64(o, "checkpoint", m->checkpoint.v);
	if (fields & F_TRIGGER)
		put_text(o, "trigger", triggers[m->trigger]);
	if (fields & F_TERMINAL)
		json_object_set_new(o, "terminal", json_boolean(m->terminal));
	if (fields & F_SPEC)
		put_json(o, "spec", m->spec);
	if (fields & F_SUBTASKS)
		put_json(o, "subtasks", m->subtasks);
	if (fields & F_PEERS)
		put_json(o, "peers", m->peers);
	if (fields & F_RESTORE)
		put_json(o, "restore", m->restore);
	if ((fields & F_COMMIT_ONLY) && m->commit_only)
		json_object_set_new(o, "commitOnly", json_true());
	if (fields & F_SETTINGS)
		put_json(o, "settings", m->settings);
	if (fields & F_TEXT)
		put_text(o, "text", m->text);
	append(out, o, "\n");
}

static json_t *report_json(const struct control_report_msg *m)
{
	unsigned fields = reports[m->kind].fields;
	json_t *o = json_object();
	put_text(o, "report", reports[m->kind].name);
	put_u64(o, "seq", m->seq);
	if (fields & F_JOB)
		put_job(o, &m->job, m->region, m->attempt);
	if (fields & F_CHECKPOINT)
		put_u64(o, "checkpoint", m->checkpoint.v);
	if (fields & F_PLACE) {
		json_object_set_new(o, "vertex", json_integer(m->vertex));
		json_object_set_new(o, "subtask", json_integer(m->subtask));
	}
	if (fields & F_EXTERNAL)
		json_object_set_new(o, "external", json_boolean(m->external));
	if (fields & F_CORRUPT)
		json_object_set_new(o, "corrupt", json_boolean(m->corrupt));
	if (fields & F_OBJECT)
		put_json(o, "object", m->object);
	if (fields & F_STATS)
		put_json(o, "stats", m->stats);
	if (fields & F_DIGEST)
		put_u64(o, "digest", m->digest);
	if (fields & F_ADDRESS)
		put_text(o, "address", m->address);
	if (fields & F_TEXT)
		put_text(o, "text", m->text);
	return o;
}

void control_reports_encode(uint64_t registration, struct epoch epoch,
			    const struct control_report_msg *list, unsigned n, struct buf *out)
{
	json_t *o = json_object();
	put_u64(o, "registration", registration);
	put_u64(o, "epoch", epoch.v);
	json_t *array = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(array, report_json(&list[i]));
	json_object_set_new(o, "reports", array);
	append(out, o, "\n");
}

static json_t *item_json(const struct control_item *i)
{
	json_t *o = json_object();
	put_job(o, &i->job, i->region, i->attempt);
	put_text(o, "state", states[i->state]);
	json_object_set_new(o, "atEnd", json_boolean(i->at_end));
	put_u64(o, "completed", i->completed.v);
	put_u64(o, "committed", i->committed.v);
	put_json(o, "subtasks", i->subtasks);
	put_json(o, "acks", i->acks);
	put_json(o, "vertices", i->vertices);
	put_text(o, "address", i->address);
	put_text(o, "text", i->text);
	json_object_set_new(o, "external", json_boolean(i->external));
	json_object_set_new(o, "corrupt", json_boolean(i->corrupt));
	return o;
}

void control_registration_encode(const struct control_registration *r, struct buf *out)
{
	json_t *o = json_object();
	put_text(o, "id", r->id);
	put_text(o, "instance", r->instance);
	put_u64(o, "slots", r->slots);
	put_text(o, "dataAddress", r->data_address);
	put_text(o, "host", r->rest_host);
	json_object_set_new(o, "pid", json_integer(r->pid));
	put_u64(o, "highestEpoch", r->highest.v);
	put_text(o, "cookie", r->cookie);
	json_t *items = json_array();
	for (unsigned i = 0; i < r->n_items; i++)
		json_array_append_new(items, item_json(&r->items[i]));
	json_object_set_new(o, "items", items);
	append(out, o, "\n");
}

/* ---- reading: every getter writes only on success; `at` is "" or a path ---- */

static enum errc get_u32(const json_t *o, const char *at, const char *name, uint32_t max,
			 uint32_t *out, struct err *e)
{
	int64_t n;
	enum errc rc = json_get_i64(o, at, name, 0, max, &n, e);
	if (rc == ERR_OK)
		*out = (uint32_t)n;
	return rc;
}

/* A text that fits; absent: "". */
static enum errc get_text(const json_t *o, const char *at, const char *name, char *out, size_t size,
			  struct err *e)
{
	const char *text;
	enum errc rc = json_get_text_or(o, at, name, "", &text, e);
	if (rc)
		return rc;
	size_t len = strlen(text);
	if (len >= size)
		return err_set(e, ERR_LIMIT, "%s%s%s: is longer than %zu bytes", at,
			       at[0] ? "." : "", name, size - 1);
	memcpy(out, text, len + 1);
	return ERR_OK;
}

/* "host:port" or "": printable, without space. */
static enum errc get_address(const json_t *o, const char *at, const char *name, char *out,
			     size_t size, struct err *e)
{
	char text[ADDRESS_MAX + 1];
	enum errc rc = get_text(o, at, name, text, size < sizeof(text) ? size : sizeof(text), e);
	if (rc)
		return rc;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~')
			return err_set(e, ERR_INVALID, "%s%s%s: is no address", at,
				       at[0] ? "." : "", name);
	memcpy(out, text, strlen(text) + 1);
	return ERR_OK;
}

static enum errc get_name(const json_t *o, const char *at, const char *name, char *out, size_t size,
			  struct err *e)
{
	enum errc rc = get_text(o, at, name, out, size, e);
	if (rc == ERR_OK && node_id_check(out, NULL))
		rc = err_set(e, ERR_INVALID, "%s%s%s: must be of A-Z a-z 0-9 . _ -", at,
			     at[0] ? "." : "", name);
	return rc;
}

/* Takes a reference to a member of type object (or null and absent, which give NULL). */
static enum errc get_object(const json_t *o, const char *at, const char *name, json_t **out,
			    struct err *e)
{
	json_t *value = json_object_get(o, name);
	if (value && !json_is_null(value) && !json_is_object(value))
		return err_set(e, ERR_INVALID, "%s%s%s: must be an object or null", at,
			       at[0] ? "." : "", name);
	*out = json_is_object(value) ? json_incref(value) : NULL;
	return ERR_OK;
}

static enum errc pairs_check(const json_t *array, const char *at, struct err *e)
{
	if (!json_is_array(array))
		return err_set(e, ERR_INVALID, "%s: must be an array of [vertex, subtask]", at);
	size_t i;
	const json_t *pair;
	json_array_foreach (array, i, pair) {
		const json_t *v = json_array_get(pair, 0), *s = json_array_get(pair, 1);
		if (json_array_size(pair) != 2 || !json_is_integer(v) || !json_is_integer(s) ||
		    json_integer_value(v) < 0 || json_integer_value(v) >= LIMIT_OPERATORS ||
		    json_integer_value(s) < 0 || json_integer_value(s) >= LIMIT_PARALLELISM)
			return err_set(e, ERR_INVALID, "%s[%zu]: must be [vertex, subtask]", at, i);
	}
	return ERR_OK;
}

static enum errc get_pairs(const json_t *o, const char *at, json_t **out, struct err *e)
{
	char path[64];
	snprintf(path, sizeof(path), "%s%ssubtasks", at, at[0] ? "." : "");
	json_t *value = json_object_get(o, "subtasks");
	enum errc rc = pairs_check(value, path, e);
	if (rc == ERR_OK)
		*out = json_incref(value);
	return rc;
}

static enum errc get_peers(const json_t *o, json_t **out, struct err *e)
{
	json_t *value = json_object_get(o, "peers");
	if (!json_is_array(value) || json_array_size(value) > LIMIT_TASKMANAGERS)
		return err_set(e, ERR_INVALID, "peers: must be an array of at most %d",
			       LIMIT_TASKMANAGERS);
	size_t i;
	json_t *peer;
	json_array_foreach (value, i, peer) {
		char at[32], name[NODE_ID_MAX], instance[ID_TEXT], address[ADDRESS_MAX + 1];
		json_t *pairs = NULL;
		snprintf(at, sizeof(at), "peers[%zu]", i);
		if (!json_is_object(peer))
			return err_set(e, ERR_INVALID, "%s: must be an object", at);
		enum errc rc = get_name(peer, at, "tm", name, sizeof(name), e);
		if (rc == ERR_OK)
			rc = get_name(peer, at, "instance", instance, sizeof(instance), e);
		if (rc == ERR_OK)
			rc = get_address(peer, at, "address", address, sizeof(address), e);
		if (rc == ERR_OK)
			rc = get_pairs(peer, at, &pairs, e);
		if (rc)
			return rc;
		json_decref(pairs);
	}
	*out = json_incref(value);
	return ERR_OK;
}

static enum errc get_restore(const json_t *o, json_t **out, struct err *e)
{
	json_t *restore = NULL;
	uint64_t id;
	const char *text;
	enum errc rc = get_object(o, "", "restore", &restore, e);
	if (rc == ERR_OK && restore)
		rc = json_get_u64(restore, "restore", "checkpoint", &id, e);
	if (rc == ERR_OK && restore)
		rc = json_get_text(restore, "restore", "manifest", &text, e);
	if (rc == ERR_OK && restore)
		rc = json_get_text(restore, "restore", "checksum", &text, e);
	if (rc)
		json_decref(restore);
	else
		*out = restore;
	return rc;
}

static enum errc get_job(const json_t *o, const char *at, struct job_id *job, uint32_t *region,
			 struct attempt *attempt, struct err *e)
{
	const char *text;
	enum errc rc = json_get_text(o, at, "job", &text, e);
	if (rc == ERR_OK && (rc = job_id_parse(text, job, e)) != ERR_OK)
		rc = err_wrap(e, rc, "%s%sjob", at, at[0] ? "." : "");
	if (rc == ERR_OK)
		rc = get_u32(o, at, "region", LIMIT_OPERATORS - 1, region, e);
	if (rc == ERR_OK)
		rc = get_u32(o, at, "attempt", UINT32_MAX, &attempt->v, e);
	return rc;
}

/* Index of the member's text in a list of names. */
static enum errc get_choice(const json_t *o, const char *at, const char *name,
			    const char *const *names, unsigned n, unsigned *out, struct err *e)
{
	const char *text;
	enum errc rc = json_get_text(o, at, name, &text, e);
	if (rc)
		return rc;
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(names[i], text) == 0) {
			*out = i;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_INVALID, "%s%s%s: \"%.40s\" is unknown", at, at[0] ? "." : "", name,
		       text);
}

static enum errc get_kind(const json_t *o, const char *at, const char *name,
			  const struct kind *kinds, unsigned n, unsigned *out, struct err *e)
{
	const char *names[16];
	for (unsigned i = 0; i < n; i++)
		names[i] = kinds[i].name;
	return get_choice(o, at, name, names, n, out, e);
}

static enum errc parse_object(const char *text, size_t len, size_t max, json_t **out, struct err *e)
{
	if (len > max)
		return err_set(e, ERR_LIMIT, "the message is longer than %zu bytes", max);
	enum errc rc = json_parse(text, len, out, e);
	if (rc == ERR_OK && !json_is_object(*out)) {
		json_decref(*out);
		rc = err_set(e, ERR_INVALID, "the message must be an object");
	}
	return rc;
}

/* ---- commands ---- */

static enum errc command_members(const json_t *o, unsigned fields, struct control_command_msg *m,
				 struct err *e)
{
	enum errc rc = ERR_OK;
	unsigned trigger;
	if (fields & F_JOB)
		rc = get_job(o, "", &m->job, &m->region, &m->attempt, e);
	if (rc == ERR_OK && (fields & F_CHECKPOINT))
		rc = json_get_u64(o, "", "checkpoint", &m->checkpoint.v, e);
	if (rc == ERR_OK && (fields & F_TRIGGER)) {
		rc = get_choice(o, "", "trigger", triggers, 3, &trigger, e);
		m->trigger = rc ? m->trigger : (enum control_trigger)trigger;
	}
	if (rc == ERR_OK && (fields & F_TERMINAL))
		rc = json_get_bool_or(o, "", "terminal", false, &m->terminal, e);
	if (rc == ERR_OK && (fields & F_SPEC)) {
		rc = get_object(o, "", "spec", &m->spec, e);
		if (rc == ERR_OK && m->spec == NULL)
			rc = err_set(e, ERR_INVALID, "spec: is missing");
	}
	if (rc == ERR_OK && (fields & F_SUBTASKS))
		rc = get_pairs(o, "", &m->subtasks, e);
	if (rc == ERR_OK && (fields & F_PEERS))
		rc = get_peers(o, &m->peers, e);
	if (rc == ERR_OK && (fields & F_RESTORE))
		rc = get_restore(o, &m->restore, e);
	if (rc == ERR_OK && (fields & F_COMMIT_ONLY))
		rc = json_get_bool_or(o, "", "commitOnly", false, &m->commit_only, e);
	if (rc == ERR_OK && (fields & F_SETTINGS))
		rc = get_object(o, "", "settings", &m->settings, e);
	if (rc == ERR_OK && (fields & F_TEXT))
		rc = get_text(o, "", "text", m->text, sizeof(m->text), e);
	return rc;
}

enum errc control_command_decode(const char *line, size_t len, struct control_command_msg *out,
				 struct err *e)
{
	json_t *o;
	struct control_command_msg m = {0};
	unsigned kind = 0;
	enum errc rc = parse_object(line, len, LIMIT_LINE_BYTES, &o, e);
	if (rc)
		return rc;
	rc = get_kind(o, "", "command", commands, CONTROL_COMMAND_COUNT, &kind, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, "", "seq", &m.seq, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, "", "epoch", &m.epoch.v, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, "", "registration", &m.registration, e);
	m.kind = (enum control_command)kind;
	if (rc == ERR_OK)
		rc = command_members(o, commands[kind].fields, &m, e);
	json_decref(o);
	if (rc)
		control_command_fini(&m);
	else
		*out = m;
	return rc;
}

void control_command_fini(struct control_command_msg *m)
{
	json_decref(m->spec);
	json_decref(m->subtasks);
	json_decref(m->peers);
	json_decref(m->restore);
	json_decref(m->settings);
	m->spec = m->subtasks = m->peers = m->restore = m->settings = NULL;
}

/* ---- reports ---- */

static enum errc get_place(const json_t *o, const char *at, struct control_report_msg *m,
			   struct err *e)
{
	int64_t vertex, subtask;
	enum errc rc = json_get_i64_or(o, at, "vertex", -1, LIMIT_OPERATORS - 1, -1, &vertex, e);
	if (rc == ERR_OK)
		rc = json_get_i64_or(o, at, "subtask", -1, LIMIT_PARALLELISM - 1, -1, &subtask, e);
	if (rc == ERR_OK) {
		m->vertex = (int32_t)vertex;
		m->subtask = (int32_t)subtask;
	}
	return rc;
}

static enum errc report_members(const json_t *o, const char *at, unsigned fields,
				struct control_report_msg *m, struct err *e)
{
	enum errc rc = ERR_OK;
	m->vertex = m->subtask = -1;
	if (fields & F_JOB)
		rc = get_job(o, at, &m->job, &m->region, &m->attempt, e);
	if (rc == ERR_OK && (fields & F_CHECKPOINT))
		rc = json_get_u64(o, at, "checkpoint", &m->checkpoint.v, e);
	if (rc == ERR_OK && (fields & F_PLACE))
		rc = get_place(o, at, m, e);
	if (rc == ERR_OK && (fields & F_EXTERNAL))
		rc = json_get_bool_or(o, at, "external", false, &m->external, e);
	if (rc == ERR_OK && (fields & F_CORRUPT))
		rc = json_get_bool_or(o, at, "corrupt", false, &m->corrupt, e);
	if (rc == ERR_OK && (fields & F_OBJECT))
		rc = get_object(o, at, "object", &m->object, e);
	if (rc == ERR_OK && (fields & F_STATS))
		rc = get_object(o, at, "stats", &m->stats, e);
	if (rc == ERR_OK && (fields & F_DIGEST))
		rc = json_get_u64(o, at, "digest", &m->digest, e);
	if (rc == ERR_OK && (fields & F_ADDRESS))
		rc = get_address(o, at, "address", m->address, sizeof(m->address), e);
	if (rc == ERR_OK && (fields & F_TEXT))
		rc = get_text(o, at, "text", m->text, sizeof(m->text), e);
	return rc;
}

static enum errc report_decode(const json_t *o, size_t index, struct control_report_msg *m,
			       struct err *e)
{
	char at[32];
	unsigned kind = 0;
	snprintf(at, sizeof(at), "reports[%zu]", index);
	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "%s: must be an object", at);
	enum errc rc = get_kind(o, at, "report", reports, CONTROL_REPORT_COUNT, &kind, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, at, "seq", &m->seq, e);
	m->kind = (enum control_report)kind;
	return rc ? rc : report_members(o, at, reports[kind].fields, m, e);
}

/* Elements of an array member, at most `max`; absent is an error. */
static enum errc get_array(const json_t *o, const char *name, size_t max, const json_t **out,
			   struct err *e)
{
	const json_t *array = json_object_get(o, name);
	if (!json_is_array(array))
		return err_set(e, ERR_INVALID, "%s: must be an array", name);
	if (json_array_size(array) > max)
		return err_set(e, ERR_LIMIT, "%s: has more than %zu elements", name, max);
	*out = array;
	return ERR_OK;
}

enum errc control_reports_decode(const char *body, size_t len, struct control_reports *out,
				 struct err *e)
{
	json_t *o;
	const json_t *array = NULL;
	struct control_reports r = {0};
	enum errc rc = parse_object(body, len, LIMIT_REPORT_BYTES, &o, e);
	if (rc)
		return rc;
	rc = json_get_u64(o, "", "registration", &r.registration, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, "", "epoch", &r.epoch.v, e);
	if (rc == ERR_OK)
		rc = get_array(o, "reports", REPORTS_MAX, &array, e);
	if (rc == ERR_OK)
		r.reports = mem_array(json_array_size(array) + 1, sizeof(*r.reports));
	for (size_t i = 0; rc == ERR_OK && i < json_array_size(array); i++, r.n++)
		rc = report_decode(json_array_get(array, i), i, &r.reports[i], e);
	json_decref(o);
	if (rc)
		control_reports_fini(&r);
	else
		*out = r;
	return rc;
}

void control_report_fini(struct control_report_msg *m)
{
	json_decref(m->object);
	json_decref(m->stats);
	m->object = m->stats = NULL;
}

void control_reports_fini(struct control_reports *r)
{
	for (unsigned i = 0; i < r->n; i++)
		control_report_fini(&r->reports[i]);
	free(r->reports);
	*r = (struct control_reports){0};
}

/* ---- registration ---- */

static enum errc get_acks(const json_t *o, const char *at, json_t **out, struct err *e)
{
	json_t *acks = json_object_get(o, "acks");
	if (acks == NULL || json_is_null(acks)) {
		*out = json_array();
		return ERR_OK;
	}
	if (!json_is_array(acks) || json_array_size(acks) > ACKS_MAX)
		return err_set(e, ERR_INVALID, "%s.acks: must be an array of at most %d", at,
			       ACKS_MAX);
	size_t i;
	const json_t *ack;
	json_array_foreach (acks, i, ack) {
		uint64_t id;
		json_t *object = NULL, *stats = NULL;
		enum errc rc =
			json_is_object(ack)
				? ERR_OK
				: err_set(e, ERR_INVALID, "%s.acks[%zu]: must be an object", at, i);
		if (rc == ERR_OK)
			rc = json_get_u64(ack, at, "checkpoint", &id, e);
		if (rc == ERR_OK)
			rc = get_object(ack, at, "object", &object, e);
		if (rc == ERR_OK)
			rc = get_object(ack, at, "stats", &stats, e);
		json_decref(object);
		json_decref(stats);
		if (rc)
			return rc;
	}
	*out = json_incref(acks);
	return ERR_OK;
}

/* Nothing is decided by it: what is no list, or is too long, is as good as nothing said, as in a
 * beat. Who reads an entry checks it. */
static json_t *get_vertices(const json_t *o)
{
	json_t *vertices = json_object_get(o, "vertices");
	bool list = json_is_array(vertices) && json_array_size(vertices) <= LIMIT_OPERATORS;
	return list ? json_incref(vertices) : NULL;
}

static enum errc item_decode(const json_t *o, size_t index, struct control_item *item,
			     struct err *e)
{
	char at[32];
	unsigned state = 0;
	snprintf(at, sizeof(at), "items[%zu]", index);
	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "%s: must be an object", at);
	enum errc rc = get_job(o, at, &item->job, &item->region, &item->attempt, e);
	if (rc == ERR_OK)
		rc = get_choice(o, at, "state", states, CONTROL_STATE_COUNT, &state, e);
	item->state = (enum control_state)state;
	if (rc == ERR_OK)
		rc = json_get_bool_or(o, at, "atEnd", false, &item->at_end, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, at, "completed", &item->completed.v, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, at, "committed", &item->committed.v, e);
	if (rc == ERR_OK)
		rc = get_pairs(o, at, &item->subtasks, e);
	if (rc == ERR_OK)
		rc = get_acks(o, at, &item->acks, e);
	if (rc == ERR_OK)
		item->vertices = get_vertices(o);
	if (rc == ERR_OK)
		rc = get_address(o, at, "address", item->address, sizeof(item->address), e);
	if (rc == ERR_OK)
		rc = get_text(o, at, "text", item->text, sizeof(item->text), e);
	if (rc == ERR_OK)
		rc = json_get_bool_or(o, at, "external", false, &item->external, e);
	if (rc == ERR_OK)
		rc = json_get_bool_or(o, at, "corrupt", false, &item->corrupt, e);
	return rc;
}

static enum errc registration_head(const json_t *o, struct control_registration *r, struct err *e)
{
	enum errc rc = get_name(o, "", "id", r->id, sizeof(r->id), e);
	if (rc == ERR_OK)
		rc = get_name(o, "", "instance", r->instance, sizeof(r->instance), e);
	if (rc == ERR_OK)
		rc = get_u32(o, "", "slots", LIMIT_SLOTS, &r->slots, e);
	if (rc == ERR_OK)
		rc = get_address(o, "", "dataAddress", r->data_address, sizeof(r->data_address), e);
	if (rc == ERR_OK)
		rc = get_address(o, "", "host", r->rest_host, sizeof(r->rest_host), e);
	if (rc == ERR_OK)
		rc = json_get_i64(o, "", "pid", 0, INT32_MAX, &r->pid, e);
	if (rc == ERR_OK)
		rc = json_get_u64(o, "", "highestEpoch", &r->highest.v, e);
	if (rc == ERR_OK)
		rc = get_text(o, "", "cookie", r->cookie, sizeof(r->cookie), e);
	return rc;
}

enum errc control_registration_decode(const char *body, size_t len,
				      struct control_registration *out, struct err *e)
{
	json_t *o;
	const json_t *items = NULL;
	struct control_registration r = {0};
	enum errc rc = parse_object(body, len, LIMIT_REPORT_BYTES, &o, e);
	if (rc)
		return rc;
	rc = registration_head(o, &r, e);
	if (rc == ERR_OK)
		rc = get_array(o, "items", ITEMS_MAX, &items, e);
	if (rc == ERR_OK)
		r.items = mem_array(json_array_size(items) + 1, sizeof(*r.items));
	for (size_t i = 0; rc == ERR_OK && i < json_array_size(items); i++, r.n_items++)
		rc = item_decode(json_array_get(items, i), i, &r.items[i], e);
	json_decref(o);
	if (rc)
		control_registration_fini(&r);
	else
		*out = r;
	return rc;
}

void control_registration_fini(struct control_registration *r)
{
	for (unsigned i = 0; i < r->n_items; i++) {
		json_decref(r->items[i].subtasks);
		json_decref(r->items[i].acks);
		json_decref(r->items[i].vertices);
	}
	free(r->items);
	*r = (struct control_registration){0};
}

/* ---- the digest ---- */

static void store(unsigned char *to, uint64_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (unsigned char)(n >> (8 * i));
}

uint64_t control_digest(const struct control_item *items, unsigned n)
{
	uint64_t sum = 0; /* a sum, not xor: two equal items must not cancel out */
	for (unsigned i = 0; i < n; i++) {
		unsigned char bytes[ID_HEX + 18];
		if (items[i].state == CONTROL_STATE_PREPARING ||
		    items[i].state == CONTROL_STATE_ENDED)
			continue;
		memcpy(bytes, items[i].job.hex, ID_HEX);
		store(bytes + ID_HEX, items[i].region, 4);
		store(bytes + ID_HEX + 4, items[i].attempt.v, 4);
		store(bytes + ID_HEX + 8, items[i].committed.v, 8);
		bytes[ID_HEX + 16] = (unsigned char)items[i].state;
		bytes[ID_HEX + 17] = items[i].at_end;
		sum += XXH3_64bits(bytes, sizeof(bytes));
	}
	return sum;
}
