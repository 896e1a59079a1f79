/*
 * story - why and when the lead came to this process. Pure.
 *
 *   signs (heard, suspected, resigning)  --+
 *   verdicts of death                    --+--> story_led() --> struct ha_takeover
 *   the head of the queue, as it changes --+
 *
 * It remembers the newest signs and the verdict of the last STORY_PEERS_MAX
 * instances, and who was the last at the head of the queue before ourselves. Nothing
 * depends on it: it is told to people.
 *
 * The cause, the first that applies: it said that it resigns; we declared it
 * dead or gave it up; its key went within STORY_ALIVE_MS of a sign of life
 * (KEY_LOST); else its lease ran out.
 *
 * Ownership: the struct is the caller's, texts are copied (cut if too long).
 * Threads: one. Times: the world's milliseconds.
 */
#ifndef HA_STORY_H
#define HA_STORY_H

#include "ha/ha.h"

enum { STORY_PEERS_MAX = 16, STORY_ALIVE_MS = 1500 };

struct story_peer {
	char instance[ID_TEXT]; /* "": unused */
	uint64_t sign_ms[HA_SIGN_COUNT];
	uint64_t verdict_ms;
	enum ha_cause verdict; /* NONE: not declared dead */
	char why[128];
};

struct story {
	struct story_peer peers[STORY_PEERS_MAX];
	unsigned next_peer;
	struct ha_member head; /* the last leader that was not us; create_revision 0: none seen */
	uint64_t head_gone_ms; /* its key was missing since; 0: it is there */
	uint64_t barrier_ms;
	struct ha_takeover told;
};

void story_sign(struct story *s, const char *instance, enum ha_sign sign, uint64_t at_ms);
void story_verdict(struct story *s, const char *instance, enum ha_cause cause, const char *why,
		   uint64_t at_ms);
/* The queue as seen now, in its order. */
void story_queue(struct story *s, const struct ha_member *queue, unsigned n, uint64_t now_ms);
/* Our barrier, or the takeover that was one, was committed. */
void story_barrier(struct story *s, uint64_t now_ms);
/* We lead, with all documents read: tells the story in s->told. */
void story_led(struct story *s, struct epoch epoch, uint64_t now_ms, int64_t wall_ms);

#endif
