/*
 * members - which members of etcd there are to ask: those that are configured,
 * and those that etcd's own list names. Pure.
 *
 *   FREE --in etcd's list--> LISTED --it answers, of the same cluster--> USED
 *    ^                          |                                          |
 *    +--- it does not ----------+                                          |
 *    +--- of another cluster, or not in the list for MEMBERS_FORGET_MS ----+
 *
 * Configured ones are USED for ever, whatever the list says: a list may name
 * addresses that only etcd's own network reaches, and may be old. For the same
 * reason a listed one is asked nothing before it has been proved
 * (the owner does so, and says how it went), and its answers never speak against
 * the store, only against itself. Learners are not listed. Of the addresses of a
 * member those are taken whose scheme is that of the first configured one.
 *
 * A member's place (its index) is its own as long as it is not FREE, and given
 * to another only while the owner says that nothing refers to it.
 *
 * Ownership: embedded. Limits: MEMBERS_MAX; what is beyond is not learnt.
 */
#ifndef HA_MEMBERS_H
#define HA_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMBERS_MAX = 16, MEMBER_URL_MAX = 200, MEMBERS_FORGET_MS = 300000 };

enum member_state { MEMBER_FREE, MEMBER_LISTED, MEMBER_USED };

struct members_place {
	char url[MEMBER_URL_MAX]; /* "http://host:port" */
	enum member_state state;
	bool configured;
	uint64_t listed_ms; /* when it was last in the list */
};

struct members {
	struct members_place at[MEMBERS_MAX];
	unsigned n_used;
};

/* From one to MEMBERS_MAX urls; those longer than MEMBER_URL_MAX are cut, and never answer. */
void members_init(struct members *m, const char *const *urls, unsigned n);
/* Etcd's list. busy[i]: the place must not be given away. */
void members_listed(struct members *m, char *const *urls, size_t n, const bool busy[MEMBERS_MAX],
		    uint64_t now_ms);
int members_unproved(const struct members *m); /* a LISTED one; -1: none */
/* How the proof went; or, of a USED one that was learnt: it belongs to another cluster. */
void members_proved(struct members *m, unsigned i, bool ours);
bool members_used(const struct members *m, unsigned i);
unsigned members_next(const struct members *m, unsigned i); /* the next USED one; maybe the same */

#endif
