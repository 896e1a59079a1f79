/* The session with the leader: the uppermost machine of agent_core.h. */
#include "taskmanager/agent_core.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "taskmanager/agent_parts.h"

static const struct sm_state session_states[] = {
	[AGENT_FINDING] = {"FINDING", SM_TO(AGENT_REGISTERING) | SM_TO(AGENT_STOPPING)},
	[AGENT_REGISTERING] = {"REGISTERING", SM_TO(AGENT_FINDING) | SM_TO(AGENT_REGISTERED) |
						      SM_TO(AGENT_LOST) | SM_TO(AGENT_STOPPING)},
	[AGENT_REGISTERED] = {"REGISTERED",
			      SM_TO(AGENT_REGISTERING) | SM_TO(AGENT_LOST) | SM_TO(AGENT_STOPPING)},
	[AGENT_LOST] = {"LOST", SM_TO(AGENT_REGISTERING) | SM_TO(AGENT_STOPPING)},
	[AGENT_STOPPING] = {"STOPPING", 0},
};
const struct sm_table agent_session_table = {"session", session_states, AGENT_STATE_COUNT};

void agent_core_init(struct agent_core *c, const struct agent_options *o)
{
	assert(o->n_peers >= 1 && o->n_peers <= AGENT_PEERS_MAX);
	*c = (struct agent_core){
		.options = *o, .heartbeat_ms = AGENT_HEARTBEAT_MS, .orphan_ms = AGENT_ORPHAN_MS};
	sm_init(&c->session, &agent_session_table, AGENT_FINDING);
	for (unsigned i = 0; i < o->n_peers; i++)
		c->peers[i].answer = AGENT_ANSWER_SILENT;
}

void agent_core_fini(struct agent_core *c)
{
	agent_reports_clear(c);
	agent_items_fini(c);
	json_decref(c->settings);
	c->settings = NULL;
}

enum agent_state agent_session(const struct agent_core *c)
{
	return (enum agent_state)sm_state(&c->session);
}

const json_t *agent_settings(const struct agent_core *c)
{
	return c->settings;
}

static void session_move(struct agent_turn *t, enum agent_state next, const char *why)
{
	const char *from = sm_name(&t->c->session);
	sm_move(&t->c->session, next, why);
	/* Tries that fail one after the other are news only once. */
	agent_log(t, t->c->tries > 1 && next != AGENT_REGISTERED ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
		  "%s -> %s, epoch=%" PRIu64 ", %s", from, sm_name(&t->c->session), t->c->highest.v,
		  why);
}

/* ---- asking who leads ---- */

static void ask_all(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	for (unsigned i = 0; i < c->options.n_peers; i++) {
		struct agent_peer *p = &c->peers[i];
		if (p->asking || p->next_ask_ms > t->ev->now_ms)
			continue;
		p->asking = true;
		struct agent_effect *fx = agent_effect_add(t, AGENT_FX_ASK);
		fx->peer = i;
		fx->epoch = c->highest;
	}
}

static void withdraw_all(struct agent_turn *t)
{
	for (unsigned i = 0; i < t->c->options.n_peers; i++) {
		struct agent_peer *p = &t->c->peers[i];
		if (p->asking)
			agent_effect_add(t, AGENT_FX_WITHDRAW)->peer = i;
		p->asking = false;
		p->answer = AGENT_ANSWER_SILENT;
		p->next_ask_ms = 0;
	}
	t->c->witnessing = t->c->searching = false;
	t->c->leader_since_ms = 0;
}

/* Does any JobManager say that somebody leads? Outdated leaders do not count. */
static void judge_leader(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	bool exists = false;
	for (unsigned i = 0; i < c->options.n_peers; i++) {
		const struct agent_peer *p = &c->peers[i];
		exists |= p->answer == AGENT_ANSWER_LEADER && p->epoch.v == c->highest.v;
	}
	if (!exists)
		c->leader_since_ms = 0;
	else if (!c->leader_since_ms)
		c->leader_since_ms = t->ev->now_ms;
}

/* ---- registering ---- */

static bool looking(const struct agent_core *c)
{
	return agent_session(c) == AGENT_FINDING || agent_session(c) == AGENT_LOST;
}

static void hang_up(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (c->streaming)
		agent_effect_add(t, AGENT_FX_HANGUP);
	if (c->welcomed)
		c->without_ms = t->ev->now_ms;
	c->streaming = c->welcomed = false;
	agent_reports_restart(c);
}

static void start_registering(struct agent_turn *t, const char *why)
{
	struct agent_core *c = t->c;
	session_move(t, AGENT_REGISTERING, why);
	agent_reports_restart(c);
	c->streaming = true;
	c->seq_in = 0;
	c->deadline_ms = t->ev->now_ms + AGENT_REGISTER_MS;
	struct agent_effect *fx = agent_effect_add(t, AGENT_FX_REGISTER);
	snprintf(fx->text, sizeof(fx->text), "%s", c->leader_address);
}

static void try_registering(struct agent_turn *t)
{
	if (looking(t->c) && t->c->leader_known && t->ev->now_ms >= t->c->register_after_ms)
		start_registering(t, t->c->leader_address);
}

/* The registration is over, for whatever reason: tasks go on. The first try afterwards is at once:
 * the stream may have broken between two healthy ends. */
static void lose(struct agent_turn *t, const char *why)
{
	struct agent_core *c = t->c;
	bool stood = c->welcomed;
	hang_up(t);
	if (agent_session(c) == AGENT_STOPPING || looking(c))
		return;
	c->tries = stood ? 0 : c->tries + 1;
	c->register_after_ms = t->ev->now_ms;
	if (c->tries) {
		uint64_t pause = UINT64_C(10) << (c->tries < 6 ? c->tries : 6);
		c->register_after_ms += pause + t->ev->random % pause;
	}
	session_move(t, c->ever ? AGENT_LOST : AGENT_FINDING, why);
	c->searching = true;
	judge_leader(t);
}

static void on_leader(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	const struct agent_event *ev = t->ev;
	struct agent_peer *p = &c->peers[ev->peer];
	if (!p->asking)
		return;
	p->asking = false;
	p->answer = ev->answer;
	p->epoch = ev->epoch;
	p->next_ask_ms = ev->now_ms + AGENT_RETRY_MS / 2 + ev->random % AGENT_RETRY_MS;
	snprintf(p->why, sizeof(p->why), "%s", ev->text ? ev->text : "");
	if (ev->answer != AGENT_ANSWER_SILENT)
		c->contact_ms = ev->now_ms;
	if (ev->answer == AGENT_ANSWER_LEADER && ev->epoch.v >= c->highest.v) {
		bool newer = ev->epoch.v > c->leader_epoch.v;
		c->highest = c->leader_epoch = ev->epoch;
		c->leader_known = true;
		snprintf(c->leader_address, sizeof(c->leader_address), "%s", ev->address);
		if (newer && c->streaming)
			lose(t, "there is a newer leader");
		if (newer) {
			c->tries = 0;
			c->register_after_ms = ev->now_ms;
		}
	}
	judge_leader(t);
}

/* ---- the command stream ---- */

static uint64_t setting_ms(const json_t *settings, const char *name, uint64_t fallback)
{
	json_t *v = json_object_get(settings, name);
	json_int_t ms = json_integer_value(v);
	return json_is_integer(v) && ms > 0 && ms <= 86400000 ? (uint64_t)ms : fallback;
}

static void read_cookie(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (c->reading || !c->storage[0] || (c->cookie[0] && strcmp(c->cookie, c->cluster) == 0))
		return;
	if (c->cookie_after_ms > t->ev->now_ms)
		return;
	c->reading = true;
	struct agent_effect *fx = agent_effect_add(t, AGENT_FX_READ_COOKIE);
	snprintf(fx->text, sizeof(fx->text), "%s", c->storage);
}

static void on_welcome(struct agent_turn *t, const struct control_command_msg *m)
{
	struct agent_core *c = t->c;
	const char *storage = json_string_value(json_object_get(m->settings, "storage"));
	const char *cluster = json_string_value(json_object_get(m->settings, "clusterId"));
	c->registration = m->registration;
	c->stream_epoch = m->epoch;
	c->welcomed = c->ever = true;
	c->tries = 0;
	c->heartbeat_ms = setting_ms(m->settings, "heartbeatTimeoutMs", c->heartbeat_ms);
	c->orphan_ms = setting_ms(m->settings, "orphanTimeoutMs", c->orphan_ms);
	json_decref(c->settings);
	c->settings = json_incref(m->settings);
	if (strcmp(c->storage, storage ? storage : "") != 0) {
		c->cookie[0] = '\0';
		c->cookie_after_ms = 0;
	}
	snprintf(c->storage, sizeof(c->storage), "%s", storage ? storage : "");
	snprintf(c->cluster, sizeof(c->cluster), "%s", cluster ? cluster : "");
	c->beat_ms = t->ev->now_ms;
	c->post_after_ms = 0;
	withdraw_all(t);
	session_move(t, AGENT_REGISTERED, "welcome");
	read_cookie(t);
}

/* Is this line the next one of the stream, from a leader that may still command? */
static bool in_order(struct agent_turn *t, const struct control_command_msg *m)
{
	struct agent_core *c = t->c;
	char why[160];
#ifdef WEIR_MUTANT_LOWER_EPOCH_ACCEPTED
	const bool outdated = false;
#else
	const bool outdated = m->epoch.v < c->highest.v;
#endif
	if (outdated)
		snprintf(why, sizeof(why),
			 "command of epoch %" PRIu64 " refused, %" PRIu64 " is known", m->epoch.v,
			 c->highest.v);
	else if (m->seq != c->seq_in + 1)
		snprintf(why, sizeof(why), "command %" PRIu64 " came after %" PRIu64, m->seq,
			 c->seq_in);
	else if (c->welcomed && m->registration != c->registration)
		snprintf(why, sizeof(why), "command of another registration");
	else if (!c->welcomed && m->kind != CONTROL_WELCOME && m->kind != CONTROL_GOODBYE)
		snprintf(why, sizeof(why), "%s came before the welcome",
			 control_command_name(m->kind));
	else
		return true;
	agent_log(t, LOG_LEVEL_WARN, "%s; registering again", why);
	lose(t, why);
	return false;
}

static void on_command(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	const struct control_command_msg *m = t->ev->command;
	if (!c->streaming || !in_order(t, m))
		return;
	c->seq_in = m->seq;
	c->highest = m->epoch;
	c->heard_ms = c->contact_ms = t->ev->now_ms;
	/* A leader that may not decide may have been replaced, and be the last to know. */
	bool suspended = m->kind == CONTROL_BEAT && m->text[0];
	if (suspended)
		c->witnessing = true;
	else if (c->witnessing && c->welcomed)
		withdraw_all(t);
	if (m->kind == CONTROL_GOODBYE) {
		char why[sizeof(m->text) + 32];
		snprintf(why, sizeof(why), "the leader said goodbye: %s", m->text);
		lose(t, why);
	} else if (m->kind == CONTROL_WELCOME) {
		if (agent_session(c) == AGENT_REGISTERING)
			on_welcome(t, m);
	} else if (suspended) {
		/* Not passed on: to the workers nobody leads, and no barrier is held for long. */
	} else if (m->kind == CONTROL_BEAT) {
		agent_items_beat(t);
	} else {
		agent_items_command(t, m);
	}
}

static void on_stream_end(struct agent_turn *t)
{
	if (!t->c->streaming)
		return;
	t->c->streaming = false; /* it ended by itself: nothing to hang up but a POST under way */
	if (t->c->posting)
		agent_effect_add(t, AGENT_FX_HANGUP);
	lose(t, t->ev->text ? t->ev->text : "the command stream ended");
}

static void on_garbled(struct agent_turn *t)
{
	if (!t->c->streaming)
		return;
	agent_log(t, LOG_LEVEL_ERROR, "the leader's stream cannot be read: %s",
		  t->ev->text ? t->ev->text : "");
	lose(t, "a line of the command stream cannot be read");
}

/* ---- reports ---- */

static void on_posted(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (!c->posting)
		return;
	if (t->ev->posted == AGENT_POSTED_OK) {
		c->contact_ms = t->ev->now_ms;
		agent_reports_drop(c, c->posting);
	} else if (t->ev->posted == AGENT_POSTED_AGAIN) {
		c->post_after_ms = t->ev->now_ms + AGENT_RETRY_MS;
	}
	c->posting = 0;
	if (t->ev->posted == AGENT_POSTED_REFUSED)
		lose(t, "the leader refused the reports");
}

static uint64_t inventory_digest(const struct agent_core *c)
{
	struct control_item *items = mem_array(c->n_items ? c->n_items : 1, sizeof(*items));
	for (unsigned i = 0; i < c->n_items; i++)
		items[i] = c->items[i]->c;
	uint64_t digest = control_digest(items, c->n_items);
	free(items);
	return digest;
}

static void beat(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (!c->welcomed || t->ev->now_ms < c->beat_ms)
		return;
	c->beat_ms = t->ev->now_ms + AGENT_BEAT_MS;
	if (c->beat_queued)
		return;
	c->beat_queued = true;
	struct control_report_msg *r =
		agent_report_add(t, CONTROL_REPORT_BEAT, NULL, 0, (struct attempt){0});
	r->digest = inventory_digest(c);
	r->stats = agent_items_traffic(c);
}

static void post(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (!c->welcomed || c->posting || !c->n_queue || t->ev->now_ms < c->post_after_ms)
		return;
	c->posting = c->n_queue < AGENT_POST_MAX ? c->n_queue : AGENT_POST_MAX;
	agent_effect_add(t, AGENT_FX_POST)->count = c->posting;
}

/* ---- the cookie ---- */

static void on_cookie(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (!c->reading)
		return;
	c->reading = false;
	char before[ID_TEXT];
	snprintf(before, sizeof(before), "%s", c->cookie);
	if (t->ev->cookie)
		snprintf(c->cookie, sizeof(c->cookie), "%s", t->ev->cookie);
	bool good = c->cookie[0] && strcmp(c->cookie, c->cluster) == 0;
	c->cookie_tries = good ? 0 : c->cookie_tries + 1;
	unsigned doubling = c->cookie_tries < 5 ? c->cookie_tries : 5;
	uint64_t pause = UINT64_C(125) << doubling;
	c->cookie_after_ms =
		t->ev->now_ms + (pause < AGENT_COOKIE_RETRY_MS ? pause : AGENT_COOKIE_RETRY_MS);
	if (!good && c->cookie_tries == 1)
		agent_log(t, LOG_LEVEL_WARN,
			  "storage %s: %s; no task will be placed here until it is", c->storage,
			  t->ev->cookie ? "it belongs to another cluster"
			  : t->ev->text ? t->ev->text
					: "no cookie");
	if (strcmp(before, c->cookie) != 0 && agent_session(c) == AGENT_REGISTERED) {
		hang_up(t);
		start_registering(t, "the storage cookie was read");
	}
}

/* ---- time ---- */

static uint64_t unreachable_ms(const struct agent_core *c)
{
	return c->heartbeat_ms + AGENT_UNREACHABLE_EXTRA_MS;
}

static void orphan_rules(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	char why[160];
	if (c->welcomed || !agent_items_going(c))
		return;
	if (t->ev->now_ms >= c->contact_ms + c->orphan_ms)
		snprintf(why, sizeof(why), "no JobManager was heard of for %" PRIu64 " ms",
			 t->ev->now_ms - c->contact_ms);
	else if (c->leader_since_ms && t->ev->now_ms >= c->leader_since_ms + unreachable_ms(c))
		snprintf(why, sizeof(why), "the leader %s was out of reach for %" PRIu64 " ms",
			 c->leader_address, t->ev->now_ms - c->leader_since_ms);
	else
		return;
	agent_items_fail_all(t, why);
}

static void silence(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	uint64_t now = t->ev->now_ms;
	if (agent_session(c) == AGENT_REGISTERING && now >= c->deadline_ms) {
		lose(t, "no welcome came");
	} else if (agent_session(c) == AGENT_REGISTERED) {
		if (now >= c->heard_ms + c->heartbeat_ms)
			lose(t, "the leader is silent");
		else if (now >= c->heard_ms + AGENT_WITNESS_MS)
			c->witnessing = true;
	}
}

static void leave_when_done(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (agent_session(c) != AGENT_STOPPING || c->left)
		return;
	bool told = !c->welcomed || (!c->n_queue && !c->posting);
	if (t->ev->now_ms < c->deadline_ms && (agent_items_workers(c) || !told))
		return;
	c->left = true;
	hang_up(t);
	agent_effect_add(t, AGENT_FX_EXIT);
}

static void on_stop(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	if (agent_session(c) == AGENT_STOPPING)
		return;
	session_move(t, AGENT_STOPPING, "asked to stop");
	c->deadline_ms = t->ev->now_ms + AGENT_STOP_MS;
	withdraw_all(t);
	if (!c->welcomed)
		hang_up(t);
	agent_items_fail_all(t, "the TaskManager was asked to stop");
}

/* What follows from the state alone, after every event. */
static void settle(struct agent_turn *t)
{
	struct agent_core *c = t->c;
	silence(t);
	agent_items_time(t);
	if (agent_session(c) != AGENT_STOPPING) {
		orphan_rules(t);
		try_registering(t);
		if (c->searching || c->witnessing)
			ask_all(t);
		if (agent_session(c) == AGENT_REGISTERED)
			read_cookie(t);
	}
	agent_alone(t);
	beat(t);
	post(t);
	leave_when_done(t);
}

void agent_step(struct agent_core *c, const struct agent_event *ev, struct agent_effects *out)
{
	struct agent_turn t = {.c = c, .ev = ev, .out = out};
	out->n = 0;
	if (c->left)
		return;
	switch (ev->kind) {
	case AGENT_EV_START:
		c->contact_ms = c->without_ms = ev->now_ms;
		c->searching = true;
		break;
	case AGENT_EV_TIME:
		break;
	case AGENT_EV_LEADER:
		on_leader(&t);
		break;
	case AGENT_EV_REFUSED:
	case AGENT_EV_STREAM_END:
		on_stream_end(&t);
		break;
	case AGENT_EV_COMMAND:
		on_command(&t);
		break;
	case AGENT_EV_GARBLED:
		on_garbled(&t);
		break;
	case AGENT_EV_POSTED:
		on_posted(&t);
		break;
	case AGENT_EV_COOKIE:
		on_cookie(&t);
		break;
	case AGENT_EV_SPAWN_FAILED:
		agent_items_spawn_failed(&t);
		break;
	case AGENT_EV_REPORT:
		agent_items_report(&t, ev->item, ev->report);
		break;
	case AGENT_EV_EXIT:
		agent_items_exit(&t);
		break;
	case AGENT_EV_STOP:
		on_stop(&t);
		break;
	case AGENT_EV_COUNT:
		break;
	}
	settle(&t);
	assert(!c->welcomed || c->streaming);
	assert(c->posting <= c->n_queue);
}

static void earlier(uint64_t *wake, uint64_t at)
{
	if (at < *wake)
		*wake = at;
}

static void wake_looking(const struct agent_core *c, uint64_t *wake)
{
	for (unsigned i = 0; i < c->options.n_peers; i++) {
		if (!c->peers[i].asking)
			earlier(wake, c->peers[i].next_ask_ms);
	}
}

uint64_t agent_wake_ms(const struct agent_core *c)
{
	enum agent_state s = agent_session(c);
	uint64_t wake = agent_items_wake_ms(c);
	if (c->left)
		return UINT64_MAX;
	earlier(&wake, agent_alone_wake_ms(c));
	if (looking(c) && c->leader_known)
		earlier(&wake, c->register_after_ms);
	if (c->searching || c->witnessing)
		wake_looking(c, &wake);
	if (s == AGENT_REGISTERING || s == AGENT_STOPPING)
		earlier(&wake, c->deadline_ms);
	if (s == AGENT_REGISTERED) {
		earlier(&wake, c->heard_ms + (c->witnessing ? c->heartbeat_ms : AGENT_WITNESS_MS));
		if (!c->reading && c->storage[0] && strcmp(c->cookie, c->cluster) != 0)
			earlier(&wake, c->cookie_after_ms);
	}
	if (!c->welcomed && s != AGENT_STOPPING && agent_items_going(c)) {
		earlier(&wake, c->contact_ms + c->orphan_ms);
		if (c->leader_since_ms)
			earlier(&wake, c->leader_since_ms + unreachable_ms(c));
	}
	if (c->welcomed) {
		earlier(&wake, c->beat_ms);
		if (c->n_queue && !c->posting)
			earlier(&wake, c->post_after_ms);
	}
	return wake;
}
