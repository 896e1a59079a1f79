/*
 * upkeep - etcd's own health: how large it is, whether it is out of space, and,
 * where etcd is ours alone, keeping it small.
 *
 * Every few seconds: size and alarms. While this process leads and etcd is
 * dedicated: every five minutes old revisions are compacted, up to the revision
 * of five minutes before, so that nobody who reads pages at a revision is
 * disturbed. When etcd is out of space: compact, defragment every member in
 * turn, disarm, and look again.
 *
 * Every minute, if it may be learnt: etcd's list of its members, for the client (ha/members.h).
 *
 * The size is asked for over several connections at once, so that there are some open, and used
 * lately, when a takeover has several requests to send: each new one would cost it a millisecond.
 *
 * On a shared etcd nothing is changed: compaction is global to a store.
 *
 * Ownership: embedded; upkeep_init()/upkeep_fini(). Threads: the loop's.
 */
#ifndef HA_UPKEEP_H
#define HA_UPKEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "ha/etcd.h"
#include "world/world.h"

enum { UPKEEP_READY = 2 }; /* connections, besides the one of `call` */

struct upkeep {
	/* to be read */
	uint64_t db_bytes, db_quota_bytes;
	bool nospace;
	/* private */
	struct world *w;
	struct etcd *etcd;
	bool dedicated, learn, leading, warned;
	struct world_timer look;
	struct etcd_call call, ready[UPKEEP_READY];
	unsigned endpoint;       /* defragmenting, or proving, this one */
	uint64_t members_at_ms;  /* when to ask for the list again */
	uint64_t alarmed_member; /* to be disarmed */
	uint64_t compact_at_ms, mark_revision;
};

void upkeep_init(struct upkeep *u, struct world *w, struct etcd *etcd, bool dedicated, bool learn);
void upkeep_fini(struct upkeep *u);
void upkeep_set_leading(struct upkeep *u, bool leading);

#endif
