#include "cli/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "world/ev.h"

enum { REPLY_MAX = 64 << 20, ATTEMPT_MS = 10000, ROUND_PAUSE_MS = 100, RETRY_AFTER_MAX_MS = 1000 };

struct client {
	struct world *world;
	char **servers; /* owns */
	unsigned n;
	unsigned at; /* the one that answered last */
	uint64_t patience_ms;
	/* the exchange under way */
	struct world_http http;
	struct world_timer timer;
	enum errc code;
	int status;
	uint64_t retry_after_ms;
	json_t *answer; /* owns; NULL if the body was no JSON */
};

struct client *client_create(struct world *w, const char *const *servers, unsigned n,
			     uint64_t patience_ms)
{
	struct client *c = mem_alloc(sizeof(*c));
	c->world = w;
	c->patience_ms = patience_ms;
	c->n = n;
	c->servers = mem_array(n, sizeof(*c->servers));
	for (unsigned i = 0; i < n; i++) {
		const char *host = servers[i];
		if (text_starts(host, "http://"))
			host += strlen("http://");
		c->servers[i] = mem_text(host);
	}
	return c;
}

void client_destroy(struct client *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < c->n; i++)
		free(c->servers[i]);
	free(c->servers);
	free(c);
}

/* ---- one exchange ---- */

static void exchange_done(struct world_http *h, const struct world_reply *reply)
{
	struct client *c = MEM_OWNER(h, struct client, http);
	c->code = reply->code;
	c->status = reply->status;
	c->retry_after_ms = ROUND_PAUSE_MS;
	const char *after = reply->code == ERR_OK ? reply->header(reply, "Retry-After") : NULL;
	uint64_t seconds;
	if (after && text_u64(after, &seconds, NULL) == ERR_OK && seconds > 0)
		c->retry_after_ms = RETRY_AFTER_MAX_MS;
	if (reply->code == ERR_OK && reply->body_len)
		if (json_parse(reply->body, reply->body_len, &c->answer, NULL) != ERR_OK)
			c->answer = NULL;
	world_stop(c->world);
}

static void exchange(struct client *c, const char *address, const char *method, const char *path,
		     const char *body, uint64_t timeout_ms)
{
	char *url = mem_printf("http://%s%s", address, path);
	struct world_header type = {"Content-Type", "application/json"};
	struct world_http_spec spec = {.method = method,
				       .url = url,
				       .body = body,
				       .body_len = body ? strlen(body) : 0,
				       .headers = &type,
				       .n_headers = body ? 1 : 0,
				       .reply_max = REPLY_MAX,
				       .timeout_ms = timeout_ms};
	c->answer = NULL;
	c->http = (struct world_http){.on_end = exchange_done};
	world_http_start(c->world, &c->http, &spec);
	while (c->http.impl)
		world_ev_run(c->world);
	free(url);
}

/* ---- until somebody answers ---- */

static enum errc refused(struct client *c, const char *method, const char *path, struct err *e)
{
	const json_t *errors = json_object_get(c->answer, "errors");
	const char *text = json_string_value(json_array_get(errors, 0));
	enum errc code = c->status == 404   ? ERR_NOTFOUND
			 : c->status == 409 ? ERR_CONFLICT
			 : c->status >= 500 ? ERR_UNAVAILABLE
					    : ERR_INVALID;
	if (text)
		err_set(e, code, "%s", text);
	else
		err_set(e, code, "%s %s: status %d", method, path, c->status);
	json_decref(c->answer);
	return code;
}

static enum errc nobody(const struct client *c, bool answered, struct err *e)
{
	struct buf all = {.max = 300};
	for (unsigned i = 0; i < c->n; i++)
		buf_printf(&all, "%s%s", i ? ", " : "", c->servers[i]);
	err_set(e, ERR_UNAVAILABLE,
		answered ? "no JobManager leads (asked %s for %llu s)"
			 : "no JobManager answers at %s (--server, WEIR_SERVER)",
		all.data ? all.data : "(none)", (unsigned long long)c->patience_ms / 1000);
	buf_fini(&all);
	return ERR_UNAVAILABLE;
}

static enum errc ask(struct client *c, const char *method, const char *path, const char *body,
		     struct err *e)
{
	uint64_t deadline = world_now_ms(c->world) + c->patience_ms;
	bool answered = false;
	for (unsigned refusals = 0; refusals < 2 * c->n;) {
		exchange(c, c->servers[c->at], method, path, body, ATTEMPT_MS);
		if (c->code == ERR_OK && c->status != 503)
			return c->status < 300 ? ERR_OK : refused(c, method, path, e);
		if (c->code == ERR_OK)
			json_decref(c->answer);
		answered = answered || c->code == ERR_OK;
		refusals = c->code == ERR_OK ? 0 : refusals + 1;
		c->at = (c->at + 1) % c->n;
		if (world_now_ms(c->world) >= deadline)
			break;
		if (c->code == ERR_OK || refusals % c->n == 0)
			client_pause(c, c->code == ERR_OK ? c->retry_after_ms : ROUND_PAUSE_MS);
	}
	return nobody(c, answered, e);
}

enum errc client_call(struct client *c, const char *method, const char *path, const json_t *body,
		      json_t **out, struct err *e)
{
	char *text = body ? json_text(body) : NULL;
	enum errc rc = ask(c, method, path, text, e);
	free(text);
	if (rc)
		return rc;
	if (c->answer == NULL)
		return err_set(e, ERR_CORRUPT, "%s %s: the answer is not JSON", method, path);
	if (out)
		*out = c->answer;
	else
		json_decref(c->answer);
	return ERR_OK;
}

enum errc client_once(struct client *c, const char *method, const char *address, const char *path,
		      const json_t *body, uint64_t timeout_ms, int *out_status, json_t **out,
		      struct err *e)
{
	char *text = body ? json_text(body) : NULL;
	exchange(c, address, method, path, text, timeout_ms);
	free(text);
	if (c->code)
		return err_set(e, c->code, "%s does not answer", address);
	*out_status = c->status;
	*out = c->answer;
	return ERR_OK;
}

enum errc client_probe(struct client *c, const char *address, const char *path, uint64_t timeout_ms,
		       int *out_status, json_t **out, struct err *e)
{
	return client_once(c, "GET", address, path, NULL, timeout_ms, out_status, out, e);
}

/* ---- pausing ---- */

static void pause_done(struct world_timer *t)
{
	world_stop(MEM_OWNER(t, struct client, timer)->world);
}

void client_pause(struct client *c, uint64_t ms)
{
	c->timer.fire = pause_done;
	world_timer_arm(c->world, &c->timer, world_now_ms(c->world) + ms);
	world_ev_run(c->world);
	world_timer_cancel(c->world, &c->timer);
}
