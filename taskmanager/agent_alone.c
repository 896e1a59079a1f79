/* Saying that nobody is there: a TaskManager without a leader looks like one that is at work. */
#include <inttypes.h>
#include <stdio.h>

#include "taskmanager/agent_parts.h"

enum {
	NOBODY_MS = 3000,     /* silence of all JobManagers before it is worth a line */
	NOT_TAKEN_MS = 10000, /* likewise of being without a leader while some answer */
	AGAIN_MS = 60000      /* between two such lines */
};

static bool silent(const struct agent_core *c, uint64_t now_ms)
{
	return now_ms >= c->contact_ms + NOBODY_MS;
}

static bool due(const struct agent_core *c, uint64_t now_ms)
{
	return silent(c, now_ms) || now_ms >= c->without_ms + NOT_TAKEN_MS;
}

static bool concerns(const struct agent_core *c)
{
	return !c->welcomed && agent_session(c) != AGENT_STOPPING;
}

/* "jm-1:6123 (refused), jm-2:6123 (timeout)" */
static void list_peers(const struct agent_core *c, struct buf *out)
{
	for (unsigned i = 0; i < c->options.n_peers; i++)
		buf_printf(out, "%s%s%s%s%s", i ? ", " : "", c->options.peers[i],
			   c->peers[i].why[0] ? " (" : "", c->peers[i].why,
			   c->peers[i].why[0] ? ")" : "");
}

static void say(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	uint64_t now = t->ev->now_ms;
	struct buf peers = {.max = AGENT_TEXT_MAX / 2};
	list_peers(c, &peers);
	if (silent(c, now))
		agent_log(t, LOG_LEVEL_WARN,
			  "no JobManager answers, for %" PRIu64 " s now: asked %s; going on asking",
			  (now - c->contact_ms) / 1000, peers.data ? peers.data : "nobody");
	else if (c->leader_known && c->leader_since_ms)
		agent_log(t, LOG_LEVEL_WARN,
			  "not registered for %" PRIu64 " s: the leader at %s cannot be reached",
			  (now - c->without_ms) / 1000, c->leader_address);
	else
		agent_log(t, LOG_LEVEL_WARN,
			  "not registered for %" PRIu64 " s: JobManagers answer, but none leads",
			  (now - c->without_ms) / 1000);
	buf_fini(&peers);
	c->said_ms = now;
}

void agent_alone(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	uint64_t now = t->ev->now_ms;
	if (concerns(c) && due(c, now) && (!c->said_ms || now >= c->said_ms + AGAIN_MS))
		say(t);
	if (c->welcomed && c->said_ms) {
		agent_log(t, LOG_LEVEL_WARN,
			  "registered again, after %" PRIu64 " s without a leader",
			  (now - c->without_ms) / 1000);
		c->said_ms = 0;
	}
}

uint64_t agent_alone_wake_ms(const struct agent_core *c)
{
	if (!concerns(c))
		return UINT64_MAX;
	if (c->said_ms)
		return c->said_ms + AGAIN_MS;
	uint64_t nobody = c->contact_ms + NOBODY_MS, not_taken = c->without_ms + NOT_TAKEN_MS;
	return nobody < not_taken ? nobody : not_taken;
}
