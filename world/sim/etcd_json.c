/* What requests and answers are made of, as JSON. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "world/sim/etcd_call.h"

#define CLUSTER_ID "4660653540375410112"

/* ---- reading ---- */

/* etcd accepts range_end and rangeEnd. */
json_t *etcd_get(const json_t *o, const char *name)
{
	json_t *v = json_object_get(o, name);
	if (v)
		return v;
	char camel[64];
	size_t n = 0;
	for (const char *p = name; *p && n + 1 < sizeof(camel); p++) {
		if (*p == '_' && p[1])
			camel[n++] = (char)toupper(*++p);
		else
			camel[n++] = *p;
	}
	camel[n] = '\0';
	return json_object_get(o, camel);
}

uint64_t etcd_u64(const json_t *o, const char *name)
{
	const json_t *v = etcd_get(o, name);
	if (json_is_integer(v))
		return (uint64_t)json_integer_value(v);
	return json_is_string(v) ? strtoull(json_string_value(v), NULL, 10) : 0;
}

bool etcd_true(const json_t *o, const char *name)
{
	return json_is_true(etcd_get(o, name));
}

/* False if it is there and not standard base64. */
bool etcd_bytes(const json_t *o, const char *name, struct buf *out)
{
	const json_t *v = etcd_get(o, name);
	buf_clear(out);
	buf_add(out, "", 0);
	return v == NULL || text_unbase64(json_string_value(v), out, NULL) == ERR_OK;
}

const char *etcd_text_or(const json_t *o, const char *name, const char *fallback)
{
	const char *text = json_string_value(etcd_get(o, name));
	return text ? text : fallback;
}

/* ---- writing ---- */

void etcd_fail(struct etcd_call *k, int status, int code, const char *text)
{
	if (k->status != 0)
		return;
	k->status = status;
	buf_clear(k->out);
	buf_printf(k->out, "{\"error\":\"%s\",\"message\":\"%s\",\"code\":%d}", text, text, code);
}

void etcd_header(struct buf *out, const struct etcd_member *m, uint64_t revision)
{
	buf_printf(out,
		   "\"header\":{\"cluster_id\":\"" CLUSTER_ID "\",\"member_id\":\"%" PRIu64
		   "\",\"revision\":\"%" PRIu64 "\",\"raft_term\":\"%" PRIu64 "\"}",
		   m->id, revision, m->c->term);
}

void etcd_b64(struct buf *out, const char *name, const char *data, size_t len)
{
	buf_printf(out, "\"%s\":\"", name);
	text_base64(out, data, len);
	buf_text(out, "\"");
}

void etcd_kv(struct buf *out, const struct etcd_key *k, const struct etcd_version *v)
{
	buf_text(out, "{");
	etcd_b64(out, "key", k->key, k->len);
	buf_printf(out,
		   ",\"create_revision\":\"%" PRIu64 "\",\"mod_revision\":\"%" PRIu64
		   "\",\"version\":\"%" PRIu64 "\"",
		   v->create, v->mod, v->version);
	if (v->len > 0) {
		buf_text(out, ",");
		etcd_b64(out, "value", v->value, v->len);
	}
	if (v->lease)
		buf_printf(out, ",\"lease\":\"%" PRIu64 "\"", v->lease);
	buf_text(out, "}");
}

/* The reply's own header, or the short one of an operation inside a transaction. */
void etcd_open_answer(struct etcd_call *k, bool inner, uint64_t revision)
{
	buf_text(k->out, "{");
	if (inner)
		buf_printf(k->out, "\"header\":{\"revision\":\"%" PRIu64 "\"}", revision);
	else
		etcd_header(k->out, k->m, revision);
}
