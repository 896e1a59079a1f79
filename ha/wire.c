#include "ha/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

/* ---- building ---- */

static void set_text(json_t *o, const char *name, const char *text)
{
	json_object_set_new(o, name, json_string(text));
}

static void set_u64(json_t *o, const char *name, uint64_t n)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRIu64, n);
	set_text(o, name, text);
}

static void set_bytes(json_t *o, const char *name, const void *data, size_t len)
{
	struct buf b = {0};
	text_base64(&b, data, len);
	json_object_set_new(o, name, json_stringn(b.data ? b.data : "", b.len));
	buf_fini(&b);
}

static void set_key(json_t *o, const char *key)
{
	set_bytes(o, "key", key, strlen(key));
}

/* The end of the range of all keys that begin with `prefix`: the last byte counted up. Our keys
 * are ASCII, so it never overflows. */
static void set_prefix_end(json_t *o, const char *prefix)
{
	size_t len = strlen(prefix);
	assert(len > 0 && (unsigned char)prefix[len - 1] < 0x7f);
	char *end = mem_text(prefix);
	end[len - 1]++;
	set_bytes(o, "range_end", end, len);
	free(end);
}

static char *finish(json_t *o)
{
	char *text = json_text(o);
	json_decref(o);
	return text;
}

static json_t *compare_json(const struct wire_compare *c)
{
	json_t *o = json_object();
	set_key(o, c->key);
	if (c->prefix)
		set_prefix_end(o, c->key);
	set_text(o, "target", c->target == WIRE_CREATE ? "CREATE" : "MOD");
	set_text(o, "result", c->relation == WIRE_EQUAL ? "EQUAL" : "GREATER");
	set_u64(o, c->target == WIRE_CREATE ? "create_revision" : "mod_revision", c->revision);
	return o;
}

/* Keys behind `after`: its immediate successor is the same with a zero byte added. */
static void set_range_start(json_t *o, const struct wire_op *op)
{
	if (op->after)
		set_bytes(o, "key", op->after, strlen(op->after) + 1);
	else
		set_key(o, op->key);
	if (op->prefix)
		set_prefix_end(o, op->key);
	if (op->limit)
		set_u64(o, "limit", op->limit);
	if (op->revision)
		set_u64(o, "revision", op->revision);
}

static json_t *op_json(const struct wire_op *op)
{
	json_t *o = json_object(), *body = json_object();
	switch (op->kind) {
	case WIRE_PUT:
		set_key(body, op->key);
		set_bytes(body, "value", op->value, op->len);
		if (op->lease)
			set_u64(body, "lease", op->lease);
		json_object_set_new(o, "request_put", body);
		break;
	case WIRE_DELETE:
		set_key(body, op->key);
		json_object_set_new(o, "request_delete_range", body);
		break;
	case WIRE_RANGE:
		set_range_start(body, op);
		json_object_set_new(o, "request_range", body);
		break;
	}
	return o;
}

static json_t *ops_json(const struct wire_op *ops, unsigned n)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, op_json(&ops[i]));
	return list;
}

char *wire_txn(const struct wire_txn *t)
{
	assert(t->n_compares <= WIRE_OPS_MAX && t->n_success <= WIRE_OPS_MAX);
	assert(t->n_failure <= WIRE_RANGES_MAX);
	json_t *o = json_object(), *compares = json_array();
	for (unsigned i = 0; i < t->n_compares; i++)
		json_array_append_new(compares, compare_json(&t->compares[i]));
	json_object_set_new(o, "compare", compares);
	json_object_set_new(o, "success", ops_json(t->success, t->n_success));
	json_object_set_new(o, "failure", ops_json(t->failure, t->n_failure));
	return finish(o);
}

char *wire_range(const struct wire_op *op)
{
	json_t *o = json_object();
	set_range_start(o, op);
	return finish(o);
}

char *wire_grant(uint64_t lease, uint32_t ttl_s)
{
	json_t *o = json_object();
	set_u64(o, "TTL", ttl_s);
	set_u64(o, "ID", lease);
	return finish(o);
}

char *wire_lease(uint64_t lease)
{
	json_t *o = json_object();
	set_u64(o, "ID", lease);
	return finish(o);
}

char *wire_watch(const char *prefix, uint64_t from_revision)
{
	json_t *create = json_object();
	set_key(create, prefix);
	set_prefix_end(create, prefix);
	set_u64(create, "start_revision", from_revision);
	json_t *o = json_object();
	json_object_set_new(o, "create_request", create);
	return finish(o);
}

char *wire_compact(uint64_t revision)
{
	json_t *o = json_object();
	set_u64(o, "revision", revision);
	return finish(o);
}

char *wire_login(const char *user, const char *password)
{
	json_t *o = json_object();
	set_text(o, "name", user);
	set_text(o, "password", password);
	return finish(o);
}

char *wire_alarms(void)
{
	json_t *o = json_object();
	set_text(o, "action", "GET");
	return finish(o);
}

char *wire_disarm(uint64_t member)
{
	json_t *o = json_object();
	set_text(o, "action", "DEACTIVATE");
	set_u64(o, "memberID", member);
	set_text(o, "alarm", "NOSPACE");
	return finish(o);
}

/* ---- parsing: absent members have their default ---- */

static const json_t *member(const json_t *o, const char *snake, const char *camel)
{
	const json_t *v = json_object_get(o, snake);
	return v || camel == NULL ? v : json_object_get(o, camel);
}

static enum errc get_u64(const json_t *o, const char *snake, const char *camel, uint64_t *out,
			 struct err *e)
{
	const char *name = json_object_get(o, snake) || camel == NULL ? snake : camel;
	*out = 0;
	return json_object_get(o, name) ? json_get_u64(o, "", name, out, e) : ERR_OK;
}

static enum errc get_object(const json_t *o, const char *name, const json_t **out, struct err *e)
{
	*out = json_object_get(o, name);
	if (*out && !json_is_object(*out))
		return err_set(e, ERR_INVALID, "%s: must be an object", name);
	return ERR_OK;
}

static enum errc get_array(const json_t *o, const char *name, const json_t **out, struct err *e)
{
	*out = json_object_get(o, name);
	if (*out && !json_is_array(*out))
		return err_set(e, ERR_INVALID, "%s: must be a list", name);
	return ERR_OK;
}

/* Bytes in base64; absent: empty. `out` owns the copy, which ends in a zero byte. */
static enum errc get_bytes(const json_t *o, const char *name, char **out, size_t *out_len,
			   struct err *e)
{
	const char *text;
	enum errc rc = json_get_text_or(o, "", name, "", &text, e);
	if (rc)
		return rc;
	struct buf b = {0};
	rc = text_unbase64(text, &b, e);
	if (rc) {
		buf_fini(&b);
		return err_wrap(e, rc, "%s", name);
	}
	*out = buf_take(&b, out_len);
	return ERR_OK;
}

static enum errc get_header(const json_t *o, struct wire_header *out, struct err *e)
{
	const json_t *h = json_object_get(o, "header");
	if (!json_is_object(h))
		return err_set(e, ERR_INVALID, "header: is missing");
	enum errc rc = get_u64(h, "cluster_id", "clusterId", &out->cluster_id, e);
	if (!rc)
		rc = get_u64(h, "member_id", "memberId", &out->member_id, e);
	if (!rc)
		rc = get_u64(h, "revision", NULL, &out->revision, e);
	if (!rc)
		rc = get_u64(h, "raft_term", "raftTerm", &out->term, e);
	return rc;
}

static void kv_fini(struct wire_kv *kv)
{
	free(kv->key);
	free(kv->value);
}

static enum errc get_kv(const json_t *o, struct wire_kv *out, struct err *e)
{
	if (!json_is_object(o))
		return err_set(e, ERR_INVALID, "kv: must be an object");
	enum errc rc = get_bytes(o, "key", &out->key, &out->key_len, e);
	if (!rc)
		rc = get_bytes(o, "value", &out->value, &out->len, e);
	if (!rc)
		rc = get_u64(o, "create_revision", "createRevision", &out->create_revision, e);
	if (!rc)
		rc = get_u64(o, "mod_revision", "modRevision", &out->mod_revision, e);
	if (!rc)
		rc = get_u64(o, "lease", NULL, &out->lease, e);
	return rc;
}

static enum errc get_range(const json_t *o, struct wire_range *out, struct err *e)
{
	const json_t *kvs;
	enum errc rc = get_array(o, "kvs", &kvs, e);
	if (!rc)
		rc = json_get_bool_or(o, "", "more", false, &out->more, e);
	if (rc)
		return rc;
	size_t n = json_array_size(kvs);
	out->kvs = n ? mem_array(n, sizeof *out->kvs) : NULL;
	for (size_t i = 0; i < n && !rc; i++) {
		out->n = i + 1;
		rc = get_kv(json_array_get(kvs, i), &out->kvs[i], e);
	}
	return rc;
}

static enum errc get_txn(const json_t *o, struct wire_answer *out, struct err *e)
{
	const json_t *responses;
	enum errc rc = json_get_bool_or(o, "", "succeeded", false, &out->succeeded, e);
	if (!rc)
		rc = get_array(o, "responses", &responses, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < json_array_size(responses) && !rc; i++) {
		const json_t *r =
			member(json_array_get(responses, i), "response_range", "responseRange");
		if (r == NULL)
			continue;
		if (out->n_ranges == WIRE_RANGES_MAX)
			return err_set(e, ERR_INVALID,
				       "responses: more ranges than were asked for");
		rc = get_range(r, &out->ranges[out->n_ranges++], e);
	}
	return rc;
}

static enum errc get_status(const json_t *o, struct wire_answer *out, struct err *e)
{
	enum errc rc = get_u64(o, "dbSize", "db_size", &out->db_bytes, e);
	if (!rc)
		rc = get_u64(o, "dbSizeQuota", "db_size_quota", &out->db_quota_bytes, e);
	if (!rc)
		rc = get_u64(o, "leader", NULL, &out->etcd_leader, e);
	return rc;
}

static enum errc get_alarms(const json_t *o, struct wire_answer *out, struct err *e)
{
	const json_t *alarms;
	enum errc rc = get_array(o, "alarms", &alarms, e);
	for (size_t i = 0; !rc && i < json_array_size(alarms); i++) {
		const json_t *a = json_array_get(alarms, i);
		const char *name;
		uint64_t id;
		rc = json_get_text_or(a, "", "alarm", "", &name, e);
		if (!rc)
			rc = get_u64(a, "memberID", "member_id", &id, e);
		if (!rc && strcmp(name, "NOSPACE") == 0)
			out->nospace_member = id;
	}
	return rc;
}

static void add_url(struct wire_answer *out, const json_t *url)
{
	if (!json_is_string(url))
		return;
	out->urls = mem_resize(out->urls, out->n_urls + 1, sizeof(char *));
	out->urls[out->n_urls++] = mem_text(json_string_value(url));
}

static enum errc get_members(const json_t *o, struct wire_answer *out, struct err *e)
{
	const json_t *members, *url;
	size_t k;
	enum errc rc = get_array(o, "members", &members, e);
	for (size_t i = 0; !rc && i < json_array_size(members); i++) {
		const json_t *m = json_array_get(members, i);
		bool learner;
		rc = json_get_bool_or(m, "", "isLearner", false, &learner, e);
		if (!rc && !learner)
			json_array_foreach (member(m, "clientURLs", "client_urls"), k, url)
				add_url(out, url);
	}
	return rc;
}

static enum errc get_token(const json_t *o, struct wire_answer *out, struct err *e)
{
	const char *token;
	enum errc rc = json_get_text(o, "", "token", &token, e);
	if (!rc)
		out->token = mem_text(token);
	return rc;
}

static enum errc get_lease(const json_t *o, struct wire_answer *out, struct err *e)
{
	enum errc rc = get_u64(o, "ID", NULL, &out->lease, e);
	const json_t *ttl = json_object_get(o, "TTL");
	/* "-1" is how time-to-live spells a lease that is gone */
	if (!rc && json_is_string(ttl) && strcmp(json_string_value(ttl), "-1") == 0)
		return ERR_OK;
	if (!rc)
		rc = get_u64(o, "TTL", NULL, &out->ttl_s, e);
	return rc ? rc : get_u64(o, "grantedTTL", NULL, &out->granted_s, e);
}

static enum errc get_answer(enum call_answer shape, const json_t *o, struct wire_answer *out,
			    struct err *e)
{
	/* maintenance answers have none */
	bool bare = shape == ANSWER_ALARMS || shape == ANSWER_NOTHING;
	enum errc rc =
		bare && !json_object_get(o, "header") ? ERR_OK : get_header(o, &out->header, e);
	if (rc)
		return rc;
	switch (shape) {
	case ANSWER_TXN:
		return get_txn(o, out, e);
	case ANSWER_RANGE:
		out->n_ranges = 1;
		return get_range(o, &out->ranges[0], e);
	case ANSWER_LEASE:
		return get_lease(o, out, e);
	case ANSWER_STATUS:
		return get_status(o, out, e);
	case ANSWER_ALARMS:
		return get_alarms(o, out, e);
	case ANSWER_MEMBERS:
		return get_members(o, out, e);
	case ANSWER_TOKEN:
		return get_token(o, out, e);
	case ANSWER_PLAIN:
	case ANSWER_NOTHING:
	case ANSWER_FRAMES:
		break;
	}
	return ERR_OK;
}

enum errc wire_parse(enum call_answer shape, const char *body, size_t len, struct wire_answer *out,
		     struct err *e)
{
	struct wire_answer a = {0};
	json_t *doc = NULL;
	enum errc rc = json_parse(body, len, &doc, e);
	if (rc)
		return err_wrap(e, rc, "answer");
	const json_t *o = doc, *wrapped = json_object_get(doc, "result");
	if (json_is_object(wrapped))
		o = wrapped; /* keep-alive is a stream to the gateway */
	else if (json_is_object(json_object_get(doc, "error")))
		rc = wire_error(200, body, len, e); /* and so may end in an error frame */
	if (!rc)
		rc = get_answer(shape, o, &a, e);
	json_decref(doc);
	if (rc) {
		wire_answer_fini(&a);
		return err_wrap(e, rc, "answer");
	}
	*out = a;
	return ERR_OK;
}

void wire_answer_fini(struct wire_answer *a)
{
	for (unsigned r = 0; r < a->n_ranges; r++) {
		for (size_t i = 0; i < a->ranges[r].n; i++)
			kv_fini(&a->ranges[r].kvs[i]);
		free(a->ranges[r].kvs);
	}
	free(a->token);
	for (size_t i = 0; i < a->n_urls; i++)
		free(a->urls[i]);
	free(a->urls);
	*a = (struct wire_answer){0};
}

/* ---- errors ---- */

enum { GRPC_UNAUTHENTICATED = 16, GRPC_INVALID = 3, GRPC_EXHAUSTED = 8, GRPC_PRECONDITION = 9 };

static bool says(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

bool wire_needs_login(int64_t grpc_code, const char *text)
{
	if (grpc_code == GRPC_UNAUTHENTICATED)
		return true;
	return says(text, "user name is empty") || says(text, "revision of auth store is old") ||
	       says(text, "invalid auth token");
}

static enum errc classify_exhausted(const char *text)
{
	if (says(text, "database space exceeded"))
		return ERR_UNAVAILABLE;
	return says(text, "too many requests") ? ERR_AGAIN : ERR_LIMIT;
}

static enum errc classify_invalid(const char *text)
{
	if (says(text, "too large") || says(text, "too many operations"))
		return ERR_LIMIT;
	if (says(text, "authentication failed"))
		return ERR_DENIED;
	return ERR_INVALID;
}

enum errc wire_classify(int64_t grpc_code, const char *text)
{
	if (wire_needs_login(grpc_code, text))
		return ERR_DENIED;
	switch (grpc_code) {
	case GRPC_INVALID:
		return classify_invalid(text);
	case 5:
		return ERR_NOTFOUND;
	case 7:
		return ERR_DENIED;
	case GRPC_EXHAUSTED:
		return classify_exhausted(text);
	case 6:
	case GRPC_PRECONDITION:
		return says(text, "already exist") ? ERR_EXISTS : ERR_INVALID;
	case 11: /* a member that lags behind the revision; or one that has forgotten it */
		return says(text, "future revision") ? ERR_AGAIN : ERR_CONFLICT;
	case 12:
		return ERR_INVALID;
	default: /* 1, 2, 4, 10, 13, 14, 15 and what we do not know: it may have happened */
		return ERR_UNKNOWN;
	}
}

/* Any of the four shapes; -1 if it is none. */
int64_t wire_error_code(const char *body, size_t len, char *text, size_t text_size)
{
	json_t *doc = NULL;
	text[0] = 0;
	if (json_parse(body, len, &doc, NULL))
		return -1;
	const json_t *o = json_object_get(doc, "error");
	if (!json_is_object(o))
		o = doc;
	const json_t *code = member(o, "grpc_code", "code");
	const json_t *message = member(o, "message", "error");
	snprintf(text, text_size, "%s", json_is_string(message) ? json_string_value(message) : "");
	int64_t n = json_is_integer(code) ? json_integer_value(code) : -1;
	json_decref(doc);
	return n;
}

enum errc wire_error(int http_status, const char *body, size_t len, struct err *e)
{
	char text[200];
	int64_t code = wire_error_code(body, len, text, sizeof text);
	if (code >= 0) {
		enum errc rc = wire_classify(code, text);
		return err_set(e, rc, "%s%s (HTTP %d, code %d)",
			       rc == ERR_UNAVAILABLE ? "NOSPACE: " : "", text, http_status,
			       (int)code);
	}
	/* Text, not JSON: a proxy, or not etcd at all. */
	snprintf(text, sizeof text, "%.*s", (int)(len < 120 ? len : 120), body);
	enum errc rc = ERR_UNKNOWN;
	if (http_status == 404 || http_status == 405)
		rc = ERR_INVALID;
	else if (http_status == 400)
		rc = ERR_DENIED; /* "CommonName of client ... will be ignored" */
	return err_set(e, rc, "HTTP %d: %s", http_status, text);
}

/* ---- watch frames ---- */

static enum errc get_event(const json_t *o, struct wire_event *out, struct err *e)
{
	const char *type;
	enum errc rc = json_get_text_or(o, "", "type", "PUT", &type, e);
	if (rc)
		return rc;
	out->deleted = strcmp(type, "DELETE") == 0;
	return get_kv(json_object_get(o, "kv"), &out->kv, e);
}

static enum errc get_frame(const json_t *o, struct wire_frame *out, struct err *e)
{
	const json_t *events;
	enum errc rc = get_header(o, &out->header, e);
	if (!rc)
		rc = json_get_bool_or(o, "", "created", false, &out->created, e);
	if (!rc)
		rc = json_get_bool_or(o, "", "canceled", false, &out->canceled, e);
	if (!rc)
		rc = get_u64(o, "compact_revision", "compactRevision", &out->compact_revision, e);
	if (!rc)
		rc = get_array(o, "events", &events, e);
	if (rc)
		return rc;
	size_t n = json_array_size(events);
	out->events = n ? mem_array(n, sizeof *out->events) : NULL;
	for (size_t i = 0; i < n && !rc; i++) {
		out->n_events = i + 1;
		rc = get_event(json_array_get(events, i), &out->events[i], e);
	}
	return rc;
}

enum errc wire_parse_frame(const char *line, size_t len, struct wire_frame *out, struct err *e)
{
	struct wire_frame f = {0};
	json_t *doc = NULL;
	const json_t *result = NULL;
	enum errc rc = json_parse(line, len, &doc, e);
	if (rc)
		return err_wrap(e, rc, "watch");
	if (json_object_get(doc, "error"))
		rc = wire_error(200, line, len, e);
	else
		rc = get_object(doc, "result", &result, e);
	if (!rc)
		rc = get_frame(result, &f, e);
	json_decref(doc);
	if (rc) {
		wire_frame_fini(&f);
		return err_wrap(e, rc, "watch");
	}
	*out = f;
	return ERR_OK;
}

void wire_frame_fini(struct wire_frame *f)
{
	for (size_t i = 0; i < f->n_events; i++)
		kv_fini(&f->events[i].kv);
	free(f->events);
	*f = (struct wire_frame){0};
}
