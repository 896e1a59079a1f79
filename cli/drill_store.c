#include "cli/drill_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

enum { BODY_MAX = 64 << 20, LIST_MAX = 1000 };

struct object {
	char *name; /* owns */
	char *data; /* owns */
	size_t len;
};

/* A request that waits for its answer. */
struct late {
	struct drill_store *store;
	struct world_request *request;
	struct world_timer timer;
	struct late *next, **link;
};

struct drill_store {
	struct world *world;
	struct world_server server;
	struct object *objects; /* owns; in the order of their names */
	size_t n, capacity;
	uint64_t delay_ms;
	bool refuse;
	struct late *late;
};

/* ---- objects ---- */

static size_t place(const struct drill_store *s, const char *name, bool *found)
{
	size_t low = 0, high = s->n;
	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(s->objects[middle].name, name);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct object *find(const struct drill_store *s, const char *name)
{
	bool found;
	size_t at = place(s, name, &found);
	return found ? &s->objects[at] : NULL;
}

static void put(struct drill_store *s, const char *name, const char *data, size_t len)
{
	bool found;
	size_t at = place(s, name, &found);
	if (found) {
		free(s->objects[at].data);
	} else {
		if (s->n == s->capacity) {
			s->capacity = s->capacity ? 2 * s->capacity : 64;
			s->objects = mem_resize(s->objects, s->capacity, sizeof(*s->objects));
		}
		memmove(s->objects + at + 1, s->objects + at, (s->n - at) * sizeof(*s->objects));
		s->n++;
		s->objects[at].name = mem_text(name);
	}
	s->objects[at].data = mem_alloc(len + 1);
	s->objects[at].len = len;
	if (len)
		memcpy(s->objects[at].data, data, len);
}

static void drop(struct drill_store *s, const char *name)
{
	bool found;
	size_t at = place(s, name, &found);
	if (!found)
		return;
	free(s->objects[at].name);
	free(s->objects[at].data);
	s->n--;
	memmove(s->objects + at, s->objects + at + 1, (s->n - at) * sizeof(*s->objects));
}

/* ---- answers ---- */

static void answer(struct drill_store *s, struct world_request *r, int status, const char *data,
		   size_t len)
{
	struct world_header headers[] = {{"Content-Type", "application/xml"},
					 {"ETag", "\"drill\""}};
	world_reply_with(s->world, r, status, headers, 2, data, len);
}

static void error(struct drill_store *s, struct world_request *r, int status, const char *code)
{
	char *body = mem_printf("<?xml version=\"1.0\"?><Error><Code>%s</Code>"
				"<Message>a drill</Message></Error>",
				code);
	answer(s, r, status, body, strlen(body));
	free(body);
}

static void serve_head(struct drill_store *s, struct world_request *r, const struct object *o)
{
	char len[32];
	snprintf(len, sizeof(len), "%zu", o->len);
	struct world_header headers[] = {{"Content-Length", len}, {"ETag", "\"drill\""}};
	world_reply_with(s->world, r, 200, headers, 2, NULL, 0);
}

/* "bytes=FROM-TO", as Weir writes it. */
static bool range_of(const char *text, uint64_t *from, uint64_t *to)
{
	char number[32];
	if (!text_starts(text, "bytes="))
		return false;
	text += strlen("bytes=");
	size_t dash = strcspn(text, "-");
	snprintf(number, sizeof(number), "%.*s", (int)dash, text);
	return text[dash] == '-' && text_u64(number, from, NULL) == ERR_OK &&
	       text_u64(text + dash + 1, to, NULL) == ERR_OK && *to >= *from;
}

static void serve_get(struct drill_store *s, struct world_request *r, const struct object *o)
{
	const char *range = r->header(r, "Range");
	uint64_t from, to;
	if (range == NULL) {
		answer(s, r, 200, o->data, o->len);
		return;
	}
	if (!range_of(range, &from, &to) || from >= o->len) {
		error(s, r, 416, "InvalidRange");
		return;
	}
	if (to >= o->len)
		to = o->len - 1;
	answer(s, r, 206, o->data + from, (size_t)(to - from) + 1);
}

static void serve_put(struct drill_store *s, struct world_request *r, const char *name)
{
	if (r->header(r, "If-None-Match") && find(s, name)) {
		error(s, r, 412, "PreconditionFailed");
		return;
	}
	put(s, name, r->body, r->body_len);
	answer(s, r, 200, "", 0);
}

/* The value of a query's member, decoded. The caller's; NULL if it is not there. */
static char *member(const struct world_request *r, const char *name)
{
	size_t len = strlen(name);
	const char *at = r->query;
	while (at && !(strncmp(at, name, len) == 0 && at[len] == '=')) {
		at = strchr(at, '&');
		at = at ? at + 1 : NULL;
	}
	if (at == NULL)
		return NULL;
	at += len + 1;
	size_t end = strcspn(at, "&"), to = 0;
	char *value = mem_alloc(end + 1);
	for (size_t i = 0; i < end; i++) {
		unsigned char byte;
		if (at[i] == '%' && i + 2 < end && text_unhex(at + i + 1, &byte, 1)) {
			value[to++] = (char)byte;
			i += 2;
		} else {
			value[to++] = at[i];
		}
	}
	return value;
}

/* Names are Weir's own: nothing in them needs escaping in XML. */
static void serve_list(struct drill_store *s, struct world_request *r, const char *bucket)
{
	struct buf b = {0};
	char *prefix = member(r, "prefix"), *after = member(r, "continuation-token");
	size_t skip = strlen(bucket) + 1, listed = 0;
	const char *last = "";
	bool more = false;
	buf_text(&b, "<?xml version=\"1.0\"?><ListBucketResult>");
	for (size_t i = 0; i < s->n && !more; i++) {
		const char *key = s->objects[i].name + skip;
		if (!text_starts(s->objects[i].name, bucket) ||
		    !text_starts(key, prefix ? prefix : "") || (after && strcmp(key, after) <= 0))
			continue;
		more = listed == LIST_MAX;
		if (more)
			break;
		buf_printf(&b, "<Contents><Key>%s</Key><Size>%zu</Size></Contents>", key,
			   s->objects[i].len);
		last = key;
		listed++;
	}
	buf_printf(&b, "<IsTruncated>%s</IsTruncated>", more ? "true" : "false");
	if (more)
		buf_printf(&b, "<NextContinuationToken>%s</NextContinuationToken>", last);
	buf_text(&b, "</ListBucketResult>");
	answer(s, r, 200, b.data, b.len);
	buf_fini(&b);
	free(prefix);
	free(after);
}

static void serve_deletes(struct drill_store *s, struct world_request *r, const char *bucket)
{
	static const char ok[] = "<?xml version=\"1.0\"?><DeleteResult></DeleteResult>";
	const char *at = r->body;
	while ((at = strstr(at, "<Key>")) != NULL) {
		at += strlen("<Key>");
		size_t len = strcspn(at, "<");
		char *name = mem_printf("%s/%.*s", bucket, (int)len, at);
		drop(s, name);
		free(name);
	}
	answer(s, r, 200, ok, sizeof(ok) - 1);
}

static void serve(struct drill_store *s, struct world_request *r)
{
	const char *name = r->path[0] == '/' ? r->path + 1 : r->path;
	size_t len = strcspn(name, "/");
	char *bucket = mem_text_n(name, len);
	bool whole = name[len] == '\0' || name[len + 1] == '\0';
	const struct object *o = whole ? NULL : find(s, name);
	if (whole && strcmp(r->method, "GET") == 0)
		serve_list(s, r, bucket);
	else if (whole && strcmp(r->method, "POST") == 0)
		serve_deletes(s, r, bucket);
	else if (strcmp(r->method, "PUT") == 0)
		serve_put(s, r, name);
	else if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0)
		error(s, r, 501, "NotImplemented");
	else if (o == NULL)
		error(s, r, 404, "NoSuchKey");
	else if (strcmp(r->method, "HEAD") == 0)
		serve_head(s, r, o);
	else
		serve_get(s, r, o);
	free(bucket);
}

/* ---- late ones ---- */

static void forget(struct drill_store *s, struct late *l)
{
	world_timer_cancel(s->world, &l->timer);
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
	free(l);
}

static void due(struct world_timer *t)
{
	struct late *l = MEM_OWNER(t, struct late, timer);
	struct drill_store *s = l->store;
	struct world_request *r = l->request;
	forget(s, l);
	serve(s, r);
}

static void on_request(struct world_server *server, struct world_request *r)
{
	struct drill_store *s = MEM_OWNER(server, struct drill_store, server);
	if (s->refuse) {
		error(s, r, 503, "SlowDown");
		return;
	}
	if (s->delay_ms == 0) {
		serve(s, r);
		return;
	}
	struct late *l = mem_alloc(sizeof(*l));
	l->store = s;
	l->request = r;
	l->timer.fire = due;
	l->next = s->late;
	l->link = &s->late;
	if (l->next)
		l->next->link = &l->next;
	s->late = l;
	world_timer_arm(s->world, &l->timer, world_now_ms(s->world) + s->delay_ms);
}

static void on_gone(struct world_server *server, struct world_request *r)
{
	struct drill_store *s = MEM_OWNER(server, struct drill_store, server);
	for (struct late *l = s->late; l; l = l->next)
		if (l->request == r) {
			forget(s, l);
			return;
		}
}

/* ---- all of it ---- */

enum errc drill_store_create(struct world *w, const char *host, struct drill_store **out,
			     struct err *e)
{
	char address[64];
	struct drill_store *s = mem_alloc(sizeof(*s));
	snprintf(address, sizeof(address), "%s:0", host);
	struct world_listen_spec spec = {.address = address, .body_max = BODY_MAX};
	s->world = w;
	s->server.on_request = on_request;
	s->server.on_gone = on_gone;
	enum errc rc = world_listen(w, &s->server, &spec, e);
	if (rc)
		free(s);
	else
		*out = s;
	return rc;
}

void drill_store_destroy(struct drill_store *s)
{
	if (s == NULL)
		return;
	while (s->late)
		forget(s, s->late);
	world_unlisten(s->world, &s->server);
	for (size_t i = 0; i < s->n; i++) {
		free(s->objects[i].name);
		free(s->objects[i].data);
	}
	free(s->objects);
	free(s);
}

const char *drill_store_address(const struct drill_store *s)
{
	return s->server.address;
}

void drill_store_delay(struct drill_store *s, uint64_t ms)
{
	s->delay_ms = ms;
}

void drill_store_refuse(struct drill_store *s, bool refuse)
{
	s->refuse = refuse;
}
