/*
 * suspect - when may a candidate that has fallen silent be given up? Pure.
 *
 * One peer, as a standby sees it:
 *
 *   WATCHED --silent for 500 ms--> SUSPECTED --enough votes--> ASKING
 *      ^                            |   ^                        |  |
 *      +---------- heard -----------+   +--votes gone, renewed---+  |
 *      +---------- heard -------------------------------------------+
 *   any --refused, or another instance there--> GIVEN_UP
 *   ASKING --etcd saw no renewal, twice--> GIVEN_UP
 *   GIVEN_UP without proof --heard--> WATCHED
 *
 * A refused connection, and another instance's answer, prove a death: the
 * verdict comes at once. Silence proves nothing: a leader that is stopped, cut
 * off or only out of our sight looks the same. Then all who can see it are
 * heard, and it is given up only if
 *  - more than half of the witnesses (TaskManagers) that it named last say that
 *    they have lost it; if it named none, at least one other standby says so;
 *  - every other standby that we hear says so;
 *  - etcd saw no renewal of its lease for more than a second, in two answers
 *    at least SUSPECT_AGAIN_MS apart;
 *  - no leader was given up this way within the hold-down: 30 s, doubling up to
 *    10 min while they follow each other closely.
 * Otherwise its lease decides. Heard again before its key is gone, the verdict
 * is taken back. A verdict may still be wrong; it costs the
 * candidate its place, never safety.
 *
 * Only the first in the queue that is not given up yet is judged so, and only
 * by who is next: if we hear anybody between the two, it is that one's matter.
 * One that stands between a lost leader and us leads nothing, has no witnesses,
 * and is judged by our ears and by etcd alone.
 *
 * Our own vote, for the other standbys, stands while the leader is SUSPECTED or
 * ASKING. Votes are withdrawn when their owner hears the leader again; one that
 * merely ends (a hanging GET that had its time) counts on for
 * SUSPECT_FADE_MS, so that it can be repeated.
 *
 * A process that was itself late (stopped, starved) knows nothing about the
 * silence of others: all its measurements start over.
 *
 * Refusals at a doubted address (elect.h) are no proof: they count as silence.
 *
 * Ownership: the struct is the caller's and holds everything. Threads: one.
 * Limits: SUSPECT_PEERS_MAX other candidates; further ones are not seen.
 */
#ifndef HA_SUSPECT_H
#define HA_SUSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ids.h"
#include "base/sm.h"

enum {
	SUSPECT_PEERS_MAX = 31,
	SUSPECT_WITNESSES_MAX = 5,
	SUSPECT_SILENCE_MS = 500,
	SUSPECT_LATE_MS = 200,  /* our own loop: more is no basis for a judgement */
	SUSPECT_AGAIN_MS = 250, /* between two questions to etcd */
	SUSPECT_FADE_MS = 1000,
	SUSPECT_HOLD_MS = 30000,
	SUSPECT_HOLD_MAX_MS = 600000,
	SUSPECT_EFFECTS_MAX = 2 * SUSPECT_PEERS_MAX + 4
};

enum suspect_state {
	SUSPECT_WATCHED,
	SUSPECT_SUSPECTED,
	SUSPECT_ASKING,
	SUSPECT_GIVEN_UP,
	SUSPECT_STATES
};
extern const struct sm_table suspect_table;

enum suspect_event_kind {
	SUSPECT_EV_TIME, /* the time asked for has come; late_ms: by how much the loop was late */
	SUSPECT_EV_MEMBERS,    /* the queue: `members` */
	SUSPECT_EV_HEARD,      /* instance: a byte came */
	SUSPECT_EV_WITNESSES,  /* instance: names `names` */
	SUSPECT_EV_REFUSED,    /* instance: its address refused a connection; `doubted` */
	SUSPECT_EV_REPLACED,   /* instance: another one answered; `doubted` */
	SUSPECT_EV_VOTE,       /* `name` has lost the leader of `epoch` */
	SUSPECT_EV_VOTE_ENDED, /* its question had its time: it may come again */
	SUSPECT_EV_WITHDRAWN,  /* it hung up: it hears the leader */
	SUSPECT_EV_RENEWAL,    /* instance: etcd's answer, or `failed` */
	SUSPECT_EVENTS
};

struct suspect_member {
	char instance[ID_TEXT];
	uint64_t epoch; /* create_revision of its key */
	bool self;
};

struct suspect_event {
	enum suspect_event_kind kind;
	uint64_t now_ms, late_ms;
	const char *instance;
	bool doubted;
	const struct suspect_member *members; /* in the order of the queue */
	unsigned n_members;
	const char (*names)[NODE_ID_MAX]; /* witnesses: ids of TaskManagers */
	unsigned n_names;
	const char *name; /* votes: a TaskManager's id, or a JobManager's instance */
	uint64_t epoch;   /* votes: whom they have lost */
	bool failed;      /* renewal: no answer */
	uint64_t granted_s, left_s;
};

enum suspect_effect_kind {
	SUSPECT_FX_GIVE_UP,   /* instance, ahead of us, with `how` and text */
	SUSPECT_FX_TAKE_BACK, /* instance: was given up without proof, and is heard */
	SUSPECT_FX_RENEWAL,   /* ask etcd about instance; ends in one SUSPECT_EV_RENEWAL */
	SUSPECT_FX_SUSPECT,   /* instance: suspected from now on (for the story) */
	SUSPECT_FX_VOTE,      /* tell the other standbys that we lost the leader of `epoch` */
	SUSPECT_FX_WITHDRAW,  /* no more */
	SUSPECT_FX_NOTE       /* a line for the log */
};

enum suspect_how { SUSPECT_REFUSED, SUSPECT_REPLACED, SUSPECT_LOST };

struct suspect_effect {
	enum suspect_effect_kind kind;
	enum suspect_how how;
	char instance[ID_TEXT];
	uint64_t epoch;
	char text[128];
};

struct suspect_effects {
	unsigned n;
	struct suspect_effect at[SUSPECT_EFFECTS_MAX];
};

struct suspect_vote {      /* of one voter, about the leader */
	uint64_t epoch;    /* 0: none */
	uint64_t fades_ms; /* 0: stands */
};

struct suspect_peer {
	char instance[ID_TEXT];
	uint64_t epoch;
	struct sm sm;
	uint64_t heard_ms;
	bool ahead; /* of us in the queue */
	struct suspect_vote vote;
	bool lost;                 /* GIVEN_UP without proof */
	bool asked;                /* etcd; the answer is to come */
	uint64_t ask_ms, stale_ms; /* when to ask; when the first answer said "no renewal", or 0 */
};

struct suspect {
	struct suspect_peer peers[SUSPECT_PEERS_MAX]; /* in the order of the queue, without us */
	unsigned n_peers;
	bool queued; /* we stand in the queue */
	char witnesses[SUSPECT_WITNESSES_MAX][NODE_ID_MAX];
	struct suspect_vote votes[SUSPECT_WITNESSES_MAX];
	unsigned n_witnesses;
	uint64_t witnesses_of; /* the epoch of who named them */
	uint64_t voting;       /* our own vote: about this epoch; 0: none */
	uint64_t hold_until_ms, hold_ms;
	uint64_t now_ms; /* of the last event */
};

void suspect_init(struct suspect *s);
/* Advance by one event. Total; `out` is overwritten. */
void suspect_step(struct suspect *s, const struct suspect_event *ev, struct suspect_effects *out);
uint64_t suspect_wake_ms(const struct suspect *s); /* UINT64_MAX: never */
/* WATCHED for one that is not known. */
enum suspect_state suspect_state_of(const struct suspect *s, const char *instance);
bool suspect_holds(const struct suspect *s); /* the invariants that a struct can show */

#endif
