/*
 * etcd_impl - what the parts of the simulated etcd share. Private to
 * world/sim/sim_etcd.c (who leads, leases, faults), etcd_api.c (requests as
 * bytes, each carried out by a file of its kind: etcd_call.h) and etcd_watch.c.
 */
#ifndef WORLD_SIM_ETCD_IMPL_H
#define WORLD_SIM_ETCD_IMPL_H

#include <jansson.h>

#include "base/list.h"
#include "base/prng.h"
#include "world/sim/etcd_store.h"
#include "world/sim/sim_etcd.h"

enum {
	ETCD_MEMBERS_MAX = 5,
	ETCD_TICK_MS = 50,
	ETCD_ELECTION_MS = 1000,
	ETCD_REQUEST_MS = 7000,
	ETCD_SCAN_MS = 500,
	ETCD_TTL_MIN_S = 2,
	ETCD_OPS_MAX = 128,
	ETCD_REQUEST_BYTES_MAX = 1572864
};

struct etcd_lease {
	struct list hook; /* in c->leases */
	uint64_t id;
	uint64_t ttl_s;
	uint64_t deadline_ms; /* on the leader's clock */
};

struct etcd_member {
	struct sim_etcd *c;
	unsigned number; /* from 1 */
	char name[16], address[32];
	uint64_t id;
	uint64_t applied;        /* the revision that it has seen */
	uint64_t lost_us;        /* since when it has no leader; 0: it has one */
	uint64_t lying_until_us; /* deposed, but does not know yet */
	/* the process; NULL when it is down */
	struct world *w;
	struct world_server server;
	struct list watches; /* of struct etcd_stream */
};

/* What a request needs before it can be carried out. */
enum etcd_class { ETCD_LOCAL, ETCD_READ, ETCD_LEADER, ETCD_WRITE };

/* A request that waits for a leader or a quorum. */
struct etcd_pending {
	struct list hook; /* in c->pending */
	struct etcd_member *m;
	struct world_request *r; /* NULL: answered, or nobody waits any more */
	char *path;
	json_t *body;
	enum etcd_class class;
	uint64_t deadline_us;
	bool client_deadline; /* the client gave it */
	uint64_t term;        /* in whose leader's log it is */
	bool lost;            /* went to nobody: never carried out */
	bool leaderless;
};

struct sim_etcd {
	struct sim *sim;
	struct etcd_member members[ETCD_MEMBERS_MAX];
	unsigned n_members;
	struct etcd_member *leader; /* NULL: none */
	uint64_t term;
	uint64_t invalid_us;  /* since when the leader has no majority; 0: it has */
	uint64_t election_us; /* when the next election may succeed */
	uint64_t scan_us;     /* when leases are looked at next */
	struct prng rng;
	struct etcd_store store;
	struct list leases, pending;
	bool nospace;
	uint32_t stale_reads_ppm;
	size_t told; /* changes of the log that on_change has seen */
	void (*on_change)(void *ctx, uint64_t revision, const char *key, const char *value);
	void *change_ctx;
	void (*on_txn)(void *ctx, const struct sim_etcd_txn *t);
	void *txn_ctx;
};

/* sim_etcd.c */
bool etcd_is_live(const struct etcd_member *m);
bool etcd_has_quorum(struct sim_etcd *c);      /* the leader has a majority */
bool etcd_is_connected(struct etcd_member *m); /* to a leader that has one */
bool etcd_knows_no_leader(struct etcd_member *m);
struct etcd_lease *etcd_lease_find(struct sim_etcd *c, uint64_t id);
void etcd_lease_renew(struct sim_etcd *c, struct etcd_lease *l);
struct etcd_lease *etcd_lease_new(struct sim_etcd *c, uint64_t id, uint64_t ttl_s);
void etcd_lease_revoke(struct sim_etcd *c, struct etcd_lease *l);
/* After a change: members that are connected see it, and their watches. */
void etcd_publish(struct sim_etcd *c);

/* etcd_api.c */
void etcd_on_request(struct world_server *s, struct world_request *r);
void etcd_on_gone(struct world_server *s, struct world_request *r);
void etcd_pending_tick(struct sim_etcd *c);
void etcd_pending_term_ended(struct sim_etcd *c); /* the leader changes: coins are thrown */
void etcd_pending_forget(struct etcd_member *m);  /* its process died: nobody waits */
void etcd_pending_fini(struct sim_etcd *c);
/* etcd_tell.c: what checkers are told. `ops`: the branch that is taken; or one put or deletion. */
void etcd_tell_txn(struct sim_etcd *c, const json_t *compares, const json_t *ops, bool succeeded);
void etcd_tell_single(struct sim_etcd *c, const char *kind, const json_t *body);

/* etcd_json.c */
void etcd_header(struct buf *out, const struct etcd_member *m, uint64_t revision);
void etcd_kv(struct buf *out, const struct etcd_key *k, const struct etcd_version *v);
void etcd_b64(struct buf *out, const char *name, const char *data, size_t len);
uint64_t etcd_u64(const json_t *o, const char *name);
bool etcd_bytes(const json_t *o, const char *name, struct buf *out);

/* etcd_watch.c */
void etcd_watch(struct etcd_member *m, struct world_request *r, const char *body, size_t len);
void etcd_watch_gone(struct world_request *r);
void etcd_watch_publish(struct etcd_member *m);
void etcd_watch_tick(struct etcd_member *m); /* streams that demand a leader */
void etcd_watch_fini(struct etcd_member *m);

#endif
