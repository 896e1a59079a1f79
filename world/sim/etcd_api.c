/*
 * Requests and answers of etcd's JSON gateway, byte for byte as 3.4.23 writes
 * them: numbers of 64 bits are strings, members with default values are left
 * out, an error is {"error","message","code"}.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "world/sim/etcd_call.h"
#include "world/sim/sim_impl.h"

struct route {
	const char *path;
	enum etcd_class class;
	void (*run)(struct etcd_call *k);
};

/* ---- routes ---- */

static const struct route routes[] = {
	{"/v3/kv/range", ETCD_READ, etcd_run_range},
	{"/v3/kv/put", ETCD_WRITE, etcd_run_put},
	{"/v3/kv/deleterange", ETCD_WRITE, etcd_run_delete},
	{"/v3/kv/txn", ETCD_WRITE, etcd_run_txn},
	{"/v3/kv/compaction", ETCD_WRITE, etcd_run_compaction},
	{"/v3/lease/grant", ETCD_WRITE, etcd_run_grant},
	{"/v3/lease/keepalive", ETCD_LEADER, etcd_run_keepalive},
	{"/v3/lease/timetolive", ETCD_LEADER, etcd_run_timetolive},
	{"/v3/lease/revoke", ETCD_WRITE, etcd_run_revoke},
	{"/v3/lease/leases", ETCD_LOCAL, etcd_run_leases},
	{"/v3/maintenance/status", ETCD_LOCAL, etcd_run_status},
	{"/v3/maintenance/alarm", ETCD_WRITE, etcd_run_alarm},
	{"/v3/maintenance/defragment", ETCD_LOCAL, etcd_run_defragment},
	{"/v3/cluster/member/list", ETCD_LOCAL, etcd_run_members},
	{"/v3/auth/authenticate", ETCD_WRITE, etcd_run_authenticate},
};

static const struct route *find_route(const char *path)
{
	char plain[64];
	if (text_starts(path, "/v3beta/"))
		snprintf(plain, sizeof(plain), "/v3/%s", path + 8);
	else
		snprintf(plain, sizeof(plain), "%s", path);
	if (text_starts(plain, "/v3/kv/lease/"))
		memmove(plain + 4, plain + 7, strlen(plain + 7) + 1);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(routes[i].path, plain) == 0)
			return &routes[i];
	}
	return NULL;
}

/* ---- carrying out ---- */

static uint64_t view_of(struct etcd_member *m, enum etcd_class class)
{
	struct sim_etcd *c = m->c;
	if (class == ETCD_LOCAL || (class == ETCD_LEADER && !etcd_is_connected(m)))
		return m->applied;
	if (class == ETCD_READ && c->stale_reads_ppm && c->store.revision > 1 &&
	    prng_chance(&c->rng, c->stale_reads_ppm))
		return c->store.revision - 1;
	return c->store.revision;
}

/* r NULL: carried out, and nobody hears the answer. */
static void carry_out(struct etcd_member *m, const struct route *route, enum etcd_class class,
		      const json_t *bodies, struct world_request *r)
{
	struct buf out = {0};
	struct etcd_call k = {.m = m,
			      .c = m->c,
			      .bodies = bodies,
			      .body = json_array_get(bodies, 0),
			      .view = view_of(m, class),
			      .out = &out};
	route->run(&k);
	if (r) {
		struct world_header type = {"Content-Type", "application/json"};
		world_reply_with(m->w, r, k.status ? k.status : 200, &type, 1, out.data, out.len);
	}
	buf_fini(&out);
}

static void refuse(struct etcd_member *m, struct world_request *r, int status, int code,
		   const char *text)
{
	struct buf out = {0};
	struct etcd_call k = {.out = &out};
	etcd_fail(&k, status, code, text);
	world_reply(m->w, r, status, out.data, out.len);
	buf_fini(&out);
}

static bool is_ready(struct etcd_member *m, enum etcd_class class)
{
	if (class == ETCD_LOCAL)
		return true;
	if (class == ETCD_LEADER &&
	    (m == m->c->leader || m->lying_until_us > sim_now_us(m->c->sim)))
		return true;
	return etcd_is_connected(m);
}

/* ---- waiting ---- */

/* "500m", "3S": the client's own deadline. */
static uint64_t deadline_of(struct etcd_member *m, const struct world_request *r)
{
	const char *text = r->header(r, "Grpc-Timeout");
	uint64_t ms = ETCD_REQUEST_MS;
	if (text) {
		uint64_t n = strtoull(text, NULL, 10);
		uint64_t asked = text[strlen(text) - 1] == 'S' ? n * 1000 : n;
		ms = asked < ms ? asked : ms;
	}
	return sim_now_us(m->c->sim) + ms * 1000;
}

static bool is_cut_from_leader(struct etcd_member *m)
{
	struct sim_etcd *c = m->c;
	if (c->leader == NULL || c->leader->w == NULL)
		return true;
	return sim_is_cut(c->sim, sim_world_of(m->w)->node, sim_world_of(c->leader->w)->node);
}

static void wait_for_quorum(struct etcd_member *m, struct world_request *r, enum etcd_class class,
			    json_t *bodies)
{
	struct sim_etcd *c = m->c;
	struct etcd_pending *p = mem_alloc(sizeof(*p));
	*p = (struct etcd_pending){.m = m,
				   .r = r,
				   .path = mem_text(r->path),
				   .body = json_incref(bodies),
				   .class = class,
				   .deadline_us = deadline_of(m, r),
				   .client_deadline = r->header(r, "Grpc-Timeout") != NULL,
				   .term = c->term,
				   .lost = is_cut_from_leader(m),
				   .leaderless = c->leader == NULL};
	list_append(&c->pending, &p->hook);
}

static void pending_free(struct etcd_pending *p)
{
	list_remove(&p->hook);
	json_decref(p->body);
	free(p->path);
	free(p);
}

static void run_pending(struct etcd_pending *p, bool answer)
{
	struct world_request *r = answer ? p->r : NULL;
	if (answer)
		p->r = NULL;
	carry_out(p->m, find_route(p->path), p->class, p->body, r);
}

static void time_out(struct etcd_pending *p)
{
	if (p->client_deadline)
		refuse(p->m, p->r, 504, 4, "context deadline exceeded");
	else if (p->class == ETCD_WRITE && p->leaderless)
		refuse(p->m, p->r, 500, 2, "context deadline exceeded");
	else if (p->class == ETCD_WRITE && p->lost)
		refuse(p->m, p->r, 503, 14,
		       "etcdserver: request timed out, possibly due to connection lost");
	else
		refuse(p->m, p->r, 503, 14, "etcdserver: request timed out");
	p->r = NULL;
}

/* True when nothing is left of it. */
static bool step_pending(struct etcd_pending *p)
{
	struct sim_etcd *c = p->m->c;
	bool live = etcd_is_live(p->m);
	if (p->class == ETCD_WRITE && !p->lost && p->term == c->term && etcd_has_quorum(c)) {
		run_pending(p, live && p->r && etcd_is_connected(p->m));
		p->lost = true; /* once is enough; if its answer could not be given, none comes */
	}
	if (p->class != ETCD_WRITE && p->r && live && is_ready(p->m, p->class))
		run_pending(p, true);
	if (p->r && live && sim_now_us(c->sim) >= p->deadline_us)
		time_out(p);
	return p->r == NULL && (p->class != ETCD_WRITE || p->lost);
}

void etcd_pending_tick(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook) {
		if (step_pending(p))
			pending_free(p);
	}
}

/* What was in the old leader's log: a follower that had it may be the new leader, or not. */
void etcd_pending_term_ended(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook) {
		if (p->class != ETCD_WRITE || p->lost)
			continue;
		if (prng_chance(&c->rng, 500000))
			run_pending(p, false);
		p->lost = true;
	}
}

void etcd_pending_forget(struct etcd_member *m)
{
	list_each (struct etcd_pending, p, &m->c->pending, hook) {
		if (p->m == m)
			p->r = NULL;
	}
}

void etcd_pending_fini(struct sim_etcd *c)
{
	list_each_safe (struct etcd_pending, p, &c->pending, hook)
		pending_free(p);
}

/* ---- the front door ---- */

/* Objects one behind the other; an empty body is an empty message. NULL: not JSON. */
static json_t *parse_bodies(const char *body, size_t len)
{
	json_t *all = json_array();
	size_t at = 0;
	while (at < len) {
		json_error_t error;
		json_t *o = json_loadb(body + at, len - at, JSON_DISABLE_EOF_CHECK, &error);
		if (o == NULL) {
			if (strspn(body + at, " \r\n\t") == len - at)
				break;
			json_decref(all);
			return NULL;
		}
		json_array_append_new(all, o);
		at += (size_t)error.position;
	}
	if (json_array_size(all) == 0)
		json_array_append_new(all, json_object());
	return all;
}

static void serve(struct etcd_member *m, struct world_request *r, const struct route *route,
		  json_t *bodies)
{
	const json_t *body = json_array_get(bodies, 0);
	enum etcd_class class = route->class;
	if (route->run == etcd_run_txn)
		class = etcd_class_of_txn(body);
	if (route->run == etcd_run_range && etcd_true(body, "serializable"))
		class = ETCD_LOCAL;
	if (r->header(r, "Grpc-Metadata-hasleader") && etcd_knows_no_leader(m))
		refuse(m, r, 503, 14, "etcdserver: no leader");
	else if (is_ready(m, class))
		carry_out(m, route, class, bodies, r);
	else
		wait_for_quorum(m, r, class, bodies);
}

static void serve_get(struct etcd_member *m, struct world_request *r)
{
	static const char version[] = "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}";
	bool healthy = etcd_is_connected(m) && !m->c->nospace;
	const char *health = healthy ? "{\"health\":\"true\"}" : "{\"health\":\"false\"}";
	if (strcmp(r->path, "/version") == 0)
		world_reply(m->w, r, 200, version, sizeof(version) - 1);
	else if (strcmp(r->path, "/health") == 0)
		world_reply(m->w, r, healthy ? 200 : 503, health, strlen(health));
	else if (text_starts(r->path, "/v3"))
		world_reply(m->w, r, 405, "Method Not Allowed", 18);
	else
		world_reply(m->w, r, 404, "404 page not found", 18);
}

void etcd_on_request(struct world_server *s, struct world_request *r)
{
	struct etcd_member *m = MEM_OWNER(s, struct etcd_member, server);
	if (strcmp(r->method, "POST") != 0) {
		serve_get(m, r);
		return;
	}
	if (strcmp(r->path, "/v3/watch") == 0) {
		etcd_watch(m, r, r->body, r->body_len);
		return;
	}
	const struct route *route = find_route(r->path);
	if (route == NULL) {
		world_reply(m->w, r, 404, "Not Found\n", 10);
		return;
	}
	json_t *bodies = parse_bodies(r->body, r->body_len);
	if (bodies == NULL) {
		refuse(m, r, 400, 3, "unexpected EOF");
		return;
	}
	serve(m, r, route, bodies);
	json_decref(bodies);
}

void etcd_on_gone(struct world_server *s, struct world_request *r)
{
	struct etcd_member *m = MEM_OWNER(s, struct etcd_member, server);
	list_each (struct etcd_pending, p, &m->c->pending, hook) {
		if (p->r == r)
			p->r = NULL;
	}
	etcd_watch_gone(r);
}
