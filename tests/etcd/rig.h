/*
 * rig - real etcd members and real candidates for one test.
 *
 * Members run in a temporary directory on free ports, die with the test
 * process, and are killed, paused and resumed by their process id. Candidates
 * are whole struct ha on one world; each remembers what its listener heard.
 * Nothing sleeps: rig_await() runs the loop until a condition holds, and fails
 * after a bounded time.
 */
#ifndef TESTS_ETCD_RIG_H
#define TESTS_ETCD_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ha/ha.h"
#include "world/world.h"

enum { RIG_MEMBERS_MAX = 3, RIG_CANDIDATES_MAX = 4, RIG_FLAGS_MAX = 16 };

struct rig_member {
	pid_t pid; /* 0: not running */
	unsigned client_port, peer_port;
	char url[64];
};

struct rig {
	struct world *w;
	char dir[64];
	unsigned n_members;
	bool tls;
	const char *flags[RIG_FLAGS_MAX]; /* more flags for etcd; NULL-ended */
	struct rig_member members[RIG_MEMBERS_MAX];
};

/* One candidate and what it heard. */
struct rig_candidate {
	struct ha_listener listener;
	struct rig *rig;
	struct ha *ha;
	struct ha_config config;
	char address[32];
	enum ha_role role;
	uint64_t epoch;
	unsigned leads, suspends, follows; /* how often each was announced */
	size_t n_docs;                     /* when it last came to hold the lead */
	char first_doc[64];
	size_t n_members;
	char leader_id[NODE_ID_MAX];
	uint64_t role_at_ms;
};

/* Starts the members (flags: after rig_init, before rig_start) and waits until they answer. */
void rig_init(struct rig *r, unsigned n_members);
void rig_start(struct rig *r);
void rig_fini(struct rig *r); /* kills what runs, removes the directory */

void rig_run_member(struct rig *r, unsigned i);
void rig_signal(struct rig *r, unsigned i, int signal); /* SIGKILL is waited for */
/* The member that leads etcd now; asks until there is one. */
unsigned rig_etcd_leader(struct rig *r);
/* An answer's body from a member, without the client under test; "" if none. status may be NULL. */
void rig_post(struct rig *r, unsigned i, const char *path, const char *body, char *out, size_t size,
	      int *status);
/* A shell command with the rig's directory as $RIG; aborts if it fails. */
void rig_shell(struct rig *r, const char *command);
/* etcdctl with these arguments (NULL-ended), endpoints set; its output. Aborts if it fails. */
void rig_etcdctl(struct rig *r, const char *const args[], char *out, size_t size);

/* Runs the loop until cond(ctx) or the time is over; says which. */
bool rig_await(struct rig *r, bool (*cond)(void *ctx), void *ctx, uint64_t ms);
void rig_run_for(struct rig *r, uint64_t ms);

/* id: "jm-1". Endpoints: all members, beginning with `first`. `change` may alter the config. */
void rig_candidate(struct rig *r, struct rig_candidate *c, const char *id, unsigned first,
		   void (*change)(struct ha_config *config));
void rig_candidate_end(struct rig_candidate *c);
/* Leave the queue in good order, then end. */
void rig_candidate_leave(struct rig_candidate *c);
bool rig_await_role(struct rig_candidate *c, enum ha_role role, uint64_t ms);
/* A decision of one put on its own chain; waits. Returns the result's code; *revision moves on. */
enum errc rig_put(struct rig_candidate *c, const char *key, const char *value, uint64_t *revision);
enum errc rig_put_text(struct rig_candidate *c, const char *key, const char *value,
		       uint64_t *revision, struct err *e);
enum errc rig_get(struct rig_candidate *c, const char *key, char *out, size_t size,
		  uint64_t *revision);
enum errc rig_barrier(struct rig_candidate *c);

#endif
