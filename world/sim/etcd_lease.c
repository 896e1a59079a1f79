/* Leases as requests; who counts them is sim_etcd.c. */
#include <inttypes.h>

#include "base/text.h"
#include "world/sim/etcd_call.h"

void etcd_run_grant(struct etcd_call *k)
{
	uint64_t id = etcd_u64(k->body, "ID");
	if (k->c->nospace)
		etcd_fail(k, 429, 8, "etcdserver: mvcc: database space exceeded");
	else if (id && etcd_lease_find(k->c, id))
		etcd_fail(k, 412, 9, "etcdserver: lease already exists");
	if (k->status)
		return;
	if (id == 0)
		id = prng_next(&k->c->rng) >> 1;
	struct etcd_lease *l = etcd_lease_new(k->c, id, etcd_u64(k->body, "TTL"));
	etcd_open_answer(k, false, k->view);
	buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\",\"TTL\":\"%" PRIu64 "\"}", l->id, l->ttl_s);
}

void etcd_run_keepalive(struct etcd_call *k)
{
	size_t i;
	const json_t *o;
	bool deposed = k->m != k->c->leader && k->m->lying_until_us > sim_now_us(k->c->sim);
	json_array_foreach (k->bodies, i, o) {
		uint64_t id = etcd_u64(o, "ID");
		struct etcd_lease *l = etcd_lease_find(k->c, id);
		if (l && !deposed && l->deadline_ms <= world_now_ms(k->c->leader->w))
			l = NULL; /* run out, and about to be revoked: not renewed any more */
		buf_text(k->out, "{\"result\":");
		etcd_open_answer(k, false, k->view);
		buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\"", id);
		if (l)
			buf_printf(k->out, ",\"TTL\":\"%" PRIu64 "\"", l->ttl_s);
		buf_text(k->out, "}}\n");
		if (l && !deposed)
			etcd_lease_renew(k->c, l);
	}
}

static void write_lease_keys(struct etcd_call *k, uint64_t id)
{
	const struct etcd_store *st = &k->c->store;
	unsigned n = 0;
	for (size_t i = 0; i < st->n_keys; i++) {
		const struct etcd_version *v = etcd_key_at(st->keys[i], k->view);
		if (v == NULL || v->lease != id)
			continue;
		buf_text(k->out, n++ ? ",\"" : ",\"keys\":[\"");
		text_base64(k->out, st->keys[i]->key, st->keys[i]->len);
		buf_text(k->out, "\"");
	}
	if (n)
		buf_text(k->out, "]");
}

void etcd_run_timetolive(struct etcd_call *k)
{
	uint64_t id = etcd_u64(k->body, "ID");
	struct etcd_lease *l = etcd_lease_find(k->c, id);
	etcd_open_answer(k, false, k->view);
	buf_printf(k->out, ",\"ID\":\"%" PRIu64 "\"", id);
	if (l == NULL) {
		buf_text(k->out, ",\"TTL\":\"-1\"}");
		return;
	}
	const struct etcd_member *leader =
		k->c->leader; /* who may be dead: then a deposed one answers */
	uint64_t now_ms = world_now_ms(leader && leader->w ? leader->w : k->m->w);
	uint64_t left_s = l->deadline_ms > now_ms ? (l->deadline_ms - now_ms) / 1000 : 0;
	if (left_s)
		buf_printf(k->out, ",\"TTL\":\"%" PRIu64 "\"", left_s);
	buf_printf(k->out, ",\"grantedTTL\":\"%" PRIu64 "\"", l->ttl_s);
	if (etcd_true(k->body, "keys"))
		write_lease_keys(k, id);
	buf_text(k->out, "}");
}

void etcd_run_revoke(struct etcd_call *k)
{
	struct etcd_lease *l = etcd_lease_find(k->c, etcd_u64(k->body, "ID"));
	if (l == NULL) {
		etcd_fail(k, 404, 5, "etcdserver: requested lease not found");
		return;
	}
	etcd_lease_revoke(k->c, l);
	etcd_open_answer(k, false, k->c->store.revision);
	buf_text(k->out, "}");
}

void etcd_run_leases(struct etcd_call *k)
{
	unsigned n = 0;
	etcd_open_answer(k, false, k->view);
	list_each (struct etcd_lease, l, &k->c->leases, hook)
		buf_printf(k->out, "%s{\"ID\":\"%" PRIu64 "\"}", n++ ? "," : ",\"leases\":[",
			   l->id);
	buf_text(k->out, n ? "]}" : "}");
}
