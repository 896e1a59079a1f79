/*
 * late_write [trials] - a write that its leader gave up must not come back.
 *
 * Per trial, on three real members: a candidate whose first endpoint is a
 * follower leads and writes "old". That follower is stopped (SIGSTOP); the
 * leader decides "lost", whose first try goes to the stopped member and is
 * given up there, and is repeated elsewhere; then it decides "new", elsewhere.
 * The member goes on (SIGCONT), and carries out what it had received, or not.
 * The document must be "new". An overwrite is a document that is not.
 *
 * Prints the counts, and how often the stopped member really got a write that
 * was given up; a trial in which it did not is void and does not count. Ends with 0
 * if there were as many trials as asked for. The verdict is the caller's: with
 * the chain no overwrite is allowed; the same program with the chain compiled
 * out must show some, or the run says nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ha/ha.h"
#include "rig.h"

enum { FREEZE_MS = 500, THAW_LIMIT_MS = 5000, TRIALS_DEFAULT = 60 };

struct counts {
	unsigned trials, voids, overwrites;
};

/* After the thaw the member must have caught up: it then has done what it will do. */
static void settle(struct rig *r, unsigned member)
{
	char body[512];
	int status = 0;
	uint64_t limit = world_now_ms(r->w) + THAW_LIMIT_MS;
	do /* a linearizable read at the thawed member */
		rig_post(r, member, "/v3/kv/range", "{\"key\":\"AA==\"}", body, sizeof body,
			 &status);
	while (status != 200 && world_now_ms(r->w) < limit);
	rig_run_for(r, 50);
}

static bool trial(struct rig *r, unsigned n, struct counts *counts)
{
	struct rig_candidate c;
	char id[16], key[32], text[64] = "";
	uint64_t revision = 0;
	unsigned leader = rig_etcd_leader(r), victim = (leader + 1) % r->n_members;
	snprintf(id, sizeof id, "jm-%u", n);
	snprintf(key, sizeof key, "run/%u", n);
	rig_candidate(r, &c, id, victim, NULL);
	bool ok = rig_await_role(&c, HA_LEADING, 20000) &&
		  rig_put(&c, key, "old", &revision) == ERR_OK;
	struct ha_status status;
	ha_status(c.ha, &status);
	ok = ok && strcmp(status.endpoint, r->members[victim].url) == 0;
	rig_signal(r, victim, SIGSTOP);
	uint64_t began = world_now_ms(r->w);
	enum errc rc = ok ? rig_put(&c, key, "lost", &revision) : ERR_UNKNOWN;
	bool given_up = world_now_ms(r->w) - began >= 250;
	ok = ok && rc == ERR_OK && rig_put(&c, key, "new", &revision) == ERR_OK;
	uint64_t now = world_now_ms(r->w);
	if (now < began + FREEZE_MS)
		rig_run_for(r, began + FREEZE_MS - now);
	rig_signal(r, victim, SIGCONT);
	settle(r, victim);
	if (ok)
		rig_get(&c, key, text, sizeof text, NULL);
	rig_candidate_leave(&c);
	if (!ok || !given_up) {
		counts->voids++;
		return false;
	}
	counts->trials++;
	counts->overwrites += strcmp(text, "new") != 0;
	return true;
}

int main(int argc, char **argv)
{
	struct rig r;
	struct counts counts = {0};
	uint64_t wanted = TRIALS_DEFAULT;
	if (argc > 1 && text_u64(argv[1], &wanted, NULL))
		return 2;
	rig_init(&r, 3);
	rig_start(&r);
	for (unsigned n = 0; counts.trials < wanted && n < wanted * 2 + 5; n++)
		trial(&r, n, &counts);
	rig_fini(&r);
	printf("late_write: trials=%u overwrites=%u void=%u\n", counts.trials, counts.overwrites,
	       counts.voids);
	return counts.trials == wanted ? 0 : 1;
}
