#include "ha/upkeep.h"

#include <inttypes.h>

#include "base/mem.h"

enum {
	LOOK_MS = 5000,
	COMPACT_MS = 300000,
	CALL_MS = 3000,
	MEMBERS_MS = 60000,
	PROVE_MS = 1000,
	DEFRAGMENT_MS = 60000,
	SPACE_WARN_PERCENT = 60,
};

static const uint64_t QUOTA_DEFAULT = UINT64_C(2) << 30; /* etcd's, where it does not say */

static void begin(struct upkeep *u, enum call_kind kind, char *body,
		  void (*done)(struct etcd_call *call))
{
	u->call.done = done;
	etcd_start(u->etcd, &u->call, kind, body, world_now_ms(u->w) + CALL_MS);
}

/* ---- who is there ---- */

static void look_again(struct upkeep *u)
{
	world_timer_arm(u->w, &u->look, world_now_ms(u->w) + LOOK_MS);
}

static void prove_next(struct upkeep *u);

static void proof_came(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	wire_answer_fini(&call->answer);
	etcd_proved(u->etcd, u->endpoint, call->err.code == ERR_OK);
	prove_next(u);
}

/* One after the other: a member that etcd's list names is used once it has answered. */
static void prove_next(struct upkeep *u)
{
	struct etcd_view v;
	etcd_view(u->etcd, &v);
	int next = members_unproved(v.members);
	if (next < 0) {
		look_again(u);
		return;
	}
	u->endpoint = (unsigned)next;
	u->call.done = proof_came;
	etcd_start_at(u->etcd, &u->call, CALL_STATUS, mem_text("{}"), world_now_ms(u->w) + PROVE_MS,
		      u->endpoint);
}

static void members_seen(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	if (call->err.code == ERR_OK)
		etcd_learn(u->etcd, call->answer.urls, call->answer.n_urls);
	wire_answer_fini(&call->answer);
	prove_next(u);
}

/* The end of a round. */
static void next_look(struct upkeep *u)
{
	uint64_t now = world_now_ms(u->w);
	if (!u->learn || now < u->members_at_ms) {
		look_again(u);
		return;
	}
	u->members_at_ms = now + MEMBERS_MS;
	begin(u, CALL_MEMBERS, mem_text("{}"), members_seen);
}

/* ---- out of space: compact, defragment each, disarm ---- */

static void disarmed(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	wire_answer_fini(&call->answer);
	next_look(u);
}

static void defragment_next(struct upkeep *u);

static void defragmented(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	wire_answer_fini(&call->answer);
	u->endpoint++;
	defragment_next(u);
}

static void defragment_next(struct upkeep *u)
{
	struct etcd_view v;
	etcd_view(u->etcd, &v);
	while (u->endpoint < MEMBERS_MAX && !members_used(v.members, u->endpoint))
		u->endpoint++;
	if (u->endpoint >= MEMBERS_MAX) {
		begin(u, CALL_DISARM, wire_disarm(u->alarmed_member), disarmed);
		return;
	}
	u->call.done = defragmented;
	etcd_start_at(u->etcd, &u->call, CALL_DEFRAGMENT, mem_text("{}"),
		      world_now_ms(u->w) + DEFRAGMENT_MS, u->endpoint);
}

static void compacted_for_space(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	wire_answer_fini(&call->answer);
	u->endpoint = 0;
	defragment_next(u);
}

static void make_space(struct upkeep *u, uint64_t member)
{
	struct etcd_view v;
	etcd_view(u->etcd, &v);
	u->alarmed_member = member;
	world_log(u->w, LOG_LEVEL_WARN,
		  "etcd is out of space: compacting to revision %" PRIu64 " and defragmenting",
		  v.revision);
	begin(u, CALL_COMPACT, wire_compact(v.revision), compacted_for_space);
}

/* ---- the rounds ---- */

static void compacted(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	wire_answer_fini(&call->answer);
	next_look(u);
}

static void compact_if_due(struct upkeep *u)
{
	uint64_t now = world_now_ms(u->w), upto = u->mark_revision;
	if (now < u->compact_at_ms) {
		next_look(u);
		return;
	}
	struct etcd_view v;
	etcd_view(u->etcd, &v);
	u->mark_revision = v.revision;
	u->compact_at_ms = now + COMPACT_MS;
	if (upto)
		begin(u, CALL_COMPACT, wire_compact(upto), compacted);
	else
		next_look(u);
}

static void warn_of_size(struct upkeep *u)
{
	bool large = u->db_bytes / 100 * 100 > u->db_quota_bytes / 100 * SPACE_WARN_PERCENT;
	if (large && !u->warned)
		world_log(u->w, LOG_LEVEL_WARN,
			  "etcd holds %" PRIu64 " of %" PRIu64 " bytes; compact and defragment it",
			  u->db_bytes, u->db_quota_bytes);
	u->warned = large;
}

static void alarms_seen(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	uint64_t member = call->answer.nospace_member;
	bool known = call->err.code == ERR_OK;
	wire_answer_fini(&call->answer);
	if (known)
		u->nospace = member != 0;
	if (known && member && u->leading && u->dedicated)
		make_space(u, member);
	else if (u->leading && u->dedicated)
		compact_if_due(u);
	else
		next_look(u);
}

static void status_seen(struct etcd_call *call)
{
	struct upkeep *u = MEM_OWNER(call, struct upkeep, call);
	if (call->err.code == ERR_OK) {
		u->db_bytes = call->answer.db_bytes;
		u->db_quota_bytes =
			call->answer.db_quota_bytes ? call->answer.db_quota_bytes : QUOTA_DEFAULT;
		warn_of_size(u);
	}
	wire_answer_fini(&call->answer);
	begin(u, CALL_ALARMS, wire_alarms(), alarms_seen);
}

static void ready_seen(struct etcd_call *call)
{
	wire_answer_fini(&call->answer);
}

static void look(struct world_timer *t)
{
	struct upkeep *u = MEM_OWNER(t, struct upkeep, look);
	begin(u, CALL_STATUS, mem_text("{}"), status_seen);
	for (unsigned i = 0; i < UPKEEP_READY; i++) {
		struct etcd_call *ready = &u->ready[i];
		ready->done = ready_seen;
		if (!ready->impl)
			etcd_start(u->etcd, ready, CALL_STATUS, mem_text("{}"),
				   world_now_ms(u->w) + CALL_MS);
	}
}

void upkeep_init(struct upkeep *u, struct world *w, struct etcd *etcd, bool dedicated, bool learn)
{
	*u = (struct upkeep){.w = w,
			     .etcd = etcd,
			     .dedicated = dedicated,
			     .learn = learn,
			     .look = {.fire = look}};
	world_timer_arm(w, &u->look, world_now_ms(w) + 200);
}

void upkeep_fini(struct upkeep *u)
{
	if (u->w == NULL)
		return;
	world_timer_cancel(u->w, &u->look);
	etcd_cancel(u->etcd, &u->call);
	for (unsigned i = 0; i < UPKEEP_READY; i++)
		etcd_cancel(u->etcd, &u->ready[i]);
}

void upkeep_set_leading(struct upkeep *u, bool leading)
{
	u->leading = leading;
}
