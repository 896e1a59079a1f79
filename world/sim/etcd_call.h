/*
 * etcd_call - one request being carried out, and what the kinds of requests share.
 * Private to world/sim/etcd_*.c.
 */
#ifndef WORLD_SIM_ETCD_CALL_H
#define WORLD_SIM_ETCD_CALL_H

#include "world/sim/etcd_impl.h"

/* One request being carried out. */
struct etcd_call {
	struct etcd_member *m;
	struct sim_etcd *c;
	const json_t *bodies; /* an array: objects written one behind the other */
	const json_t *body;   /* the first */
	uint64_t view;        /* the revision that reads see */
	struct buf *out;
	int status; /* 0: going on; else an error is in out */
};

struct etcd_range_bufs {
	struct buf key, end;
	struct etcd_range r;
};

/* etcd_json.c */
json_t *etcd_get(const json_t *o, const char *name);
bool etcd_true(const json_t *o, const char *name);
void etcd_fail(struct etcd_call *k, int status, int code, const char *text);
void etcd_open_answer(struct etcd_call *k, bool inner, uint64_t revision);
const char *etcd_text_or(const json_t *o, const char *name, const char *fallback);

/* etcd_kv.c */
bool etcd_range_read(struct etcd_call *k, const json_t *o, struct etcd_range_bufs *b);
void etcd_range_fini(struct etcd_range_bufs *b);
void etcd_range_op(struct etcd_call *k, const json_t *o, bool inner);
void etcd_run_range(struct etcd_call *k);
void etcd_check_put(struct etcd_call *k, const json_t *o);
void etcd_put_op(struct etcd_call *k, const json_t *o, uint64_t revision, bool inner);
uint64_t etcd_delete_op(struct etcd_call *k, const json_t *o, uint64_t revision,
			bool changed_before, bool inner);
void etcd_committed(struct etcd_call *k, bool changed);
void etcd_run_put(struct etcd_call *k);
void etcd_run_delete(struct etcd_call *k);
void etcd_run_compaction(struct etcd_call *k);

/* etcd_txn.c */
void etcd_run_txn(struct etcd_call *k);
enum etcd_class etcd_class_of_txn(const json_t *body);

/* etcd_lease.c */
void etcd_run_grant(struct etcd_call *k);
void etcd_run_keepalive(struct etcd_call *k);
void etcd_run_timetolive(struct etcd_call *k);
void etcd_run_revoke(struct etcd_call *k);
void etcd_run_leases(struct etcd_call *k);

/* etcd_maint.c */
void etcd_run_status(struct etcd_call *k);
void etcd_run_alarm(struct etcd_call *k);
void etcd_run_defragment(struct etcd_call *k);
void etcd_run_members(struct etcd_call *k);
void etcd_run_authenticate(struct etcd_call *k);

#endif
