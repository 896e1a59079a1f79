/* Who leads, what members see, leases, faults. */
#include "world/sim/sim_etcd.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/etcd_impl.h"
#include "world/sim/sim_impl.h"

/* ---- who reaches whom ---- */

bool etcd_is_live(const struct etcd_member *m)
{
	return m->w != NULL && !sim_world_of(m->w)->paused;
}

static bool reaches(const struct etcd_member *a, const struct etcd_member *b)
{
	if (!etcd_is_live(a) || !etcd_is_live(b))
		return false;
	if (a == b)
		return true;
	struct sim *s = a->c->sim;
	const struct sim_node *na = sim_world_of(a->w)->node, *nb = sim_world_of(b->w)->node;
	return !sim_is_cut(s, na, nb) && !sim_is_cut(s, nb, na);
}

static bool has_majority(struct sim_etcd *c, const struct etcd_member *m)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->n_members; i++)
		n += reaches(m, &c->members[i]);
	return n > c->n_members / 2;
}

bool etcd_has_quorum(struct sim_etcd *c)
{
	return c->leader && has_majority(c, c->leader);
}

bool etcd_is_connected(struct etcd_member *m)
{
	return etcd_has_quorum(m->c) && reaches(m, m->c->leader);
}

bool etcd_knows_no_leader(struct etcd_member *m)
{
	return m->lost_us != 0 &&
	       sim_now_us(m->c->sim) - m->lost_us >= (uint64_t)ETCD_ELECTION_MS * 1000;
}

/* ---- leases ---- */

struct etcd_lease *etcd_lease_find(struct sim_etcd *c, uint64_t id)
{
	list_each (struct etcd_lease, l, &c->leases, hook) {
		if (l->id == id)
			return l;
	}
	return NULL;
}

void etcd_lease_renew(struct sim_etcd *c, struct etcd_lease *l)
{
	l->deadline_ms = world_now_ms(c->leader->w) + l->ttl_s * 1000;
}

struct etcd_lease *etcd_lease_new(struct sim_etcd *c, uint64_t id, uint64_t ttl_s)
{
	struct etcd_lease *l = mem_alloc(sizeof(*l));
	*l = (struct etcd_lease){.id = id,
				 .ttl_s = ttl_s < ETCD_TTL_MIN_S ? ETCD_TTL_MIN_S : ttl_s};
	list_append(&c->leases, &l->hook);
	etcd_lease_renew(c, l);
	return l;
}

/* One revision for all keys of the lease; none if it has no keys. */
void etcd_lease_revoke(struct sim_etcd *c, struct etcd_lease *l)
{
	uint64_t revision = c->store.revision + 1;
	bool changed = false;
	for (size_t i = 0; i < c->store.n_keys; i++) {
		const struct etcd_version *v = etcd_key_at(c->store.keys[i], c->store.revision);
		if (v && v->lease == l->id) {
			etcd_store_delete(&c->store, revision, c->store.keys[i]);
			changed = true;
		}
	}
	if (changed)
		c->store.revision = revision;
	list_remove(&l->hook);
	free(l);
	etcd_publish(c);
}

static void scan_leases(struct sim_etcd *c)
{
	uint64_t now_us = sim_now_us(c->sim);
	if (!etcd_has_quorum(c) || now_us < c->scan_us)
		return;
	c->scan_us = now_us + (uint64_t)ETCD_SCAN_MS * 1000;
	uint64_t now_ms = world_now_ms(c->leader->w);
	list_each_safe (struct etcd_lease, l, &c->leases, hook) {
		if (l->deadline_ms > now_ms)
			continue;
		sim_narrate(c->sim, "etcd: lease %llx expired", (unsigned long long)l->id);
		etcd_lease_revoke(c, l);
	}
}

/* ---- leadership ---- */

static void promote(struct sim_etcd *c, struct etcd_member *m)
{
	uint64_t now_us = sim_now_us(c->sim);
	struct etcd_member *old = c->leader;
	if (old && old != m && etcd_is_live(old) && c->invalid_us) /* cut off, and not told */
		old->lying_until_us = c->invalid_us + 1000 * prng_between(&c->rng, 1350, 1950);
	c->leader = m;
	c->term++;
	c->invalid_us = 0;
	c->scan_us = now_us + 1000 * prng_below(&c->rng, ETCD_SCAN_MS);
	uint64_t now_ms = world_now_ms(m->w);
	list_each (struct etcd_lease, l, &c->leases, hook)
		l->deadline_ms = now_ms + l->ttl_s * 1000 + ETCD_ELECTION_MS;
	sim_narrate(c->sim, "etcd: %s leads in term %llu", m->name, (unsigned long long)c->term);
	etcd_pending_term_ended(c);
}

static struct etcd_member *electable(struct sim_etcd *c, const struct etcd_member * not )
{
	unsigned first = (unsigned)prng_below(&c->rng, c->n_members);
	for (unsigned i = 0; i < c->n_members; i++) {
		struct etcd_member *m = &c->members[(first + i) % c->n_members];
		if (m != not &&etcd_is_live(m) && has_majority(c, m))
			return m;
	}
	return NULL;
}

static void elect(struct sim_etcd *c)
{
	uint64_t now_us = sim_now_us(c->sim);
	if (etcd_has_quorum(c)) {
		c->invalid_us = 0;
		return;
	}
	if (c->invalid_us == 0) {
		c->invalid_us = now_us;
		c->election_us = now_us + 1000 * prng_between(&c->rng, ETCD_ELECTION_MS,
							      2 * ETCD_ELECTION_MS);
	}
	if (now_us < c->election_us)
		return;
	struct etcd_member *next = electable(c, NULL);
	if (next) {
		promote(c, next);
	} else {
		/* A frozen leader does not know; a living one steps down. */
		if (c->leader && (etcd_is_live(c->leader) || c->leader->w == NULL))
			c->leader = NULL;
		c->election_us = now_us + 1000 * prng_between(&c->rng, 100, ETCD_ELECTION_MS);
	}
}

void sim_etcd_move_leader(struct sim_etcd *c)
{
	struct etcd_member *next = electable(c, c->leader);
	if (next)
		promote(c, next);
}

unsigned sim_etcd_leader(struct sim_etcd *c)
{
	return etcd_has_quorum(c) ? c->leader->number : 0;
}

/* ---- what members see ---- */

static void tell_changes(struct sim_etcd *c)
{
	for (; c->told < c->store.n_log; c->told++) {
		const struct etcd_change *ch = &c->store.log[c->told];
		if (c->on_change)
			c->on_change(c->change_ctx, ch->revision, ch->key->key,
				     ch->key->versions[ch->version].value);
	}
}

void etcd_publish(struct sim_etcd *c)
{
	tell_changes(c);
	for (unsigned i = 0; i < c->n_members; i++) {
		struct etcd_member *m = &c->members[i];
		if (!etcd_is_connected(m))
			continue;
		m->applied = c->store.revision;
		etcd_watch_publish(m);
	}
}

static void note_contact(struct etcd_member *m)
{
	uint64_t now_us = sim_now_us(m->c->sim);
	if (etcd_is_connected(m))
		m->lost_us = 0;
	else if (m->lost_us == 0)
		m->lost_us = now_us;
}

static void tick(void *ctx)
{
	struct sim_etcd *c = ctx;
	sim_at(c->sim, ETCD_TICK_MS, tick, c);
	elect(c);
	scan_leases(c);
	etcd_publish(c);
	for (unsigned i = 0; i < c->n_members; i++) {
		if (!etcd_is_live(&c->members[i]))
			continue;
		note_contact(&c->members[i]);
		etcd_watch_tick(&c->members[i]);
	}
	etcd_pending_tick(c);
}

/* ---- members as programs ---- */

static void *member_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)argv;
	struct etcd_member *m = ctx;
	struct err e;
	m->w = w;
	m->lost_us = 0;
	m->lying_until_us = 0;
	m->server = (struct world_server){.on_request = etcd_on_request, .on_gone = etcd_on_gone};
	struct world_listen_spec spec = {.address = m->address,
					 .body_max = 2 * ETCD_REQUEST_BYTES_MAX};
	if (world_listen(w, &m->server, &spec, &e) != ERR_OK)
		world_die(w, e.text);
	return m;
}

static void member_stop(void *objects)
{
	struct etcd_member *m = objects;
	etcd_pending_forget(m);
	etcd_watch_fini(m);
	m->w = NULL;
}

static const struct sim_program member_program = {.start = member_start, .stop = member_stop};

struct sim_etcd *sim_etcd_create(struct sim *s, unsigned n_members)
{
	struct sim_etcd *c = mem_alloc(sizeof(*c));
	assert(n_members % 2 == 1 && n_members <= ETCD_MEMBERS_MAX);
	c->sim = s;
	c->n_members = n_members;
	c->term = 1;
	prng_init(&c->rng, s->seed ^ UINT64_C(0x65746364));
	etcd_store_init(&c->store);
	list_init(&c->leases);
	list_init(&c->pending);
	for (unsigned i = 0; i < n_members; i++) {
		struct etcd_member *m = &c->members[i];
		m->c = c;
		m->number = i + 1;
		m->id = UINT64_C(8906765966787780000) + m->number;
		m->applied = c->store.revision;
		list_init(&m->watches);
		snprintf(m->name, sizeof(m->name), "etcd-%u", m->number);
		snprintf(m->address, sizeof(m->address), "%s:2379", m->name);
		sim_node_add(s, m->name, &member_program, m);
		sim_node_start(s, m->name);
	}
	promote(c, electable(c, NULL));
	sim_at(s, ETCD_TICK_MS, tick, c);
	return c;
}

void sim_etcd_destroy(struct sim_etcd *c)
{
	if (c == NULL)
		return;
	etcd_pending_fini(c);
	list_each_safe (struct etcd_lease, l, &c->leases, hook)
		free(l);
	etcd_store_fini(&c->store);
	free(c);
}

/* ---- switches, backup, checkers ---- */

void sim_etcd_set_nospace(struct sim_etcd *c, bool on)
{
	c->nospace = on;
}

void sim_etcd_set_stale_reads(struct sim_etcd *c, uint32_t ppm)
{
	c->stale_reads_ppm = ppm;
}

struct sim_etcd_backup {
	uint64_t revision;
	struct etcd_lease *leases; /* owns; hooks unused */
	size_t n_leases;
};

struct sim_etcd_backup *sim_etcd_backup(struct sim_etcd *c)
{
	struct sim_etcd_backup *b = mem_alloc(sizeof(*b));
	b->revision = c->store.revision;
	list_each (struct etcd_lease, l, &c->leases, hook) {
		b->leases = mem_resize(b->leases, b->n_leases + 1, sizeof(*l));
		b->leases[b->n_leases++] = *l;
	}
	return b;
}

void sim_etcd_backup_free(struct sim_etcd_backup *b)
{
	if (b == NULL)
		return;
	free(b->leases);
	free(b);
}

void sim_etcd_restore(struct sim_etcd *c, const struct sim_etcd_backup *b)
{
	sim_narrate(c->sim, "etcd: restored from a backup of revision %llu",
		    (unsigned long long)b->revision);
	for (unsigned i = 0; i < c->n_members; i++)
		sim_node_crash(c->sim, c->members[i].name);
	etcd_pending_fini(c);
	etcd_store_truncate(&c->store, b->revision);
	c->told = c->store.n_log;
	list_each_safe (struct etcd_lease, l, &c->leases, hook) {
		list_remove(&l->hook);
		free(l);
	}
	c->leader = NULL;
	for (unsigned i = 0; i < c->n_members; i++) {
		c->members[i].applied = b->revision;
		sim_node_start(c->sim, c->members[i].name);
	}
	for (size_t i = 0; i < b->n_leases; i++) {
		struct etcd_lease *l = mem_alloc(sizeof(*l));
		*l = (struct etcd_lease){.id = b->leases[i].id, .ttl_s = b->leases[i].ttl_s};
		list_append(&c->leases, &l->hook);
	}
	c->term--; /* the copy has the term of old: promote() counts it up again */
	promote(c, electable(c, NULL));
}

uint64_t sim_etcd_revision(struct sim_etcd *c)
{
	return c->store.revision;
}

const char *sim_etcd_get(struct sim_etcd *c, const char *key)
{
	struct etcd_range r = {.key = key, .key_len = strlen(key)};
	size_t i = etcd_store_first(&c->store, &r);
	if (i >= c->store.n_keys || !etcd_range_has(&r, c->store.keys[i]))
		return NULL;
	const struct etcd_version *v = etcd_key_at(c->store.keys[i], c->store.revision);
	return v ? v->value : NULL;
}

void sim_etcd_on_txn(struct sim_etcd *c, void (*fn)(void *ctx, const struct sim_etcd_txn *t),
		     void *ctx)
{
	c->on_txn = fn;
	c->txn_ctx = ctx;
}

/* The lowest create_revision of the keys that begin with a text; `exact`: of that key alone. */
static uint64_t lowest(struct sim_etcd *c, const char *text, bool exact)
{
	size_t len = strlen(text);
	struct etcd_range r = {.key = text, .key_len = len};
	uint64_t found = 0;
	for (size_t i = etcd_store_first(&c->store, &r); i < c->store.n_keys; i++) {
		const struct etcd_key *k = c->store.keys[i];
		if (strncmp(k->key, text, len) != 0 || (exact && k->key[len]))
			break;
		const struct etcd_version *v = etcd_key_at(k, c->store.revision);
		if (v && (!found || v->create < found))
			found = v->create;
	}
	return found;
}

uint64_t sim_etcd_created(struct sim_etcd *c, const char *key)
{
	return lowest(c, key, true);
}

uint64_t sim_etcd_lowest(struct sim_etcd *c, const char *prefix)
{
	return lowest(c, prefix, false);
}

void sim_etcd_on_change(struct sim_etcd *c,
			void (*fn)(void *ctx, uint64_t revision, const char *key,
				   const char *value),
			void *ctx)
{
	c->on_change = fn;
	c->change_ctx = ctx;
}
