/*
 * calls - everything that Weir ever asks of etcd, as one table.
 *
 * A request to etcd is always one of these kinds; the client (ha/etcd.h) takes
 * nothing else. The table says for each its path, whether it changes the store,
 * and whether it carries the leadership predicate (ha/fence.h). Those that
 * change the store without the predicate are the exceptions of the protocol,
 * each with its reason; a unit test holds that list, so that none is added by
 * accident.
 */
#ifndef HA_CALLS_H
#define HA_CALLS_H

#include <stdbool.h>

/* kind, path, changes the store, carries the predicate, shape of the answer, why it does not */
#define CALL_MAP(X)                                                                                \
	X(DECISION, "/v3/kv/txn", true, true, TXN, "")                                             \
	X(BARRIER, "/v3/kv/txn", true, true, TXN, "")                                              \
	X(ENQUEUE, "/v3/kv/txn", true, false, TXN,                                                 \
	  "makes the candidate key that the predicate is about")                                   \
	X(TAKE, "/v3/kv/txn", true, false, TXN,                                                    \
	  "deletes dead candidates, before which the predicate is false")                          \
	X(GHOST, "/v3/kv/txn", true, false, TXN,                                                   \
	  "deletes a key of one's own that nobody embodies")                                       \
	X(LEAVE, "/v3/kv/txn", true, false, TXN, "deletes one's own key, leading or not")          \
	X(GRANT, "/v3/lease/grant", true, false, LEASE,                                            \
	  "no transaction; comes before the candidate key")                                        \
	X(RENEW, "/v3/lease/keepalive", true, false, LEASE, "no transaction; proves nothing")      \
	X(REVOKE, "/v3/lease/revoke", true, false, PLAIN, "no transaction; one's own lease only")  \
	X(COMPACT, "/v3/kv/compaction", true, false, PLAIN,                                        \
	  "no transaction; old revisions only, when etcd is dedicated")                            \
	X(DEFRAGMENT, "/v3/maintenance/defragment", true, false, NOTHING,                          \
	  "no transaction; changes no key")                                                        \
	X(DISARM, "/v3/maintenance/alarm", true, false, ALARMS,                                    \
	  "no transaction; comes back by itself if wrong")                                         \
	X(LOGIN, "/v3/auth/authenticate", true, false, TOKEN, "no transaction; makes a token")     \
	X(RANGE, "/v3/kv/range", false, false, RANGE, "")                                          \
	X(TTL, "/v3/lease/timetolive", false, false, LEASE, "")                                    \
	X(STATUS, "/v3/maintenance/status", false, false, STATUS, "")                              \
	X(MEMBERS, "/v3/cluster/member/list", false, false, MEMBERS, "")                           \
	X(ALARMS, "/v3/maintenance/alarm", false, false, ALARMS, "")                               \
	X(WATCH, "/v3/watch", false, false, FRAMES, "")

enum call_kind {
#define X(name, path, changes, fenced, answer, why) CALL_##name,
	CALL_MAP(X)
#undef X
		CALL_COUNT
};

/* What the answer looks like (ha/wire.h parses it). */
enum call_answer {
	ANSWER_TXN,
	ANSWER_RANGE,
	ANSWER_LEASE,
	ANSWER_PLAIN,
	ANSWER_NOTHING,
	ANSWER_STATUS,
	ANSWER_ALARMS,
	ANSWER_MEMBERS,
	ANSWER_TOKEN,
	ANSWER_FRAMES
};

struct call {
	const char *name, *path;
	bool changes; /* the store may be different afterwards */
	bool fenced;  /* carries the leadership predicate */
	enum call_answer answer;
	const char *why; /* changes but not fenced: the reason */
};

const struct call *call_of(enum call_kind kind);

#endif
