/* The commands of a story. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "stage_inside.h"

static struct player *find_tm(struct stage *s, const char *id)
{
	for (unsigned i = 0; i < s->n_tms; i++)
		if (strcmp(s->tms[i].id, id) == 0)
			return &s->tms[i];
	return NULL;
}

static void id_of(struct stage *s, const char *name, struct job_id *out)
{
	unsigned i = 0;
	while (i < s->n_names && strcmp(s->names[i], name) != 0)
		i++;
	if (i == s->n_names && s->n_names < JOBS_MAX)
		snprintf(s->names[s->n_names++], sizeof(s->names[0]), "%s", name);
	memset(out->hex, 'a' + (char)(i % 6), ID_HEX);
	out->hex[ID_HEX] = '\0';
}

static const char *option(char *words[], unsigned n, const char *name, const char *fallback)
{
	size_t len = strlen(name);
	for (unsigned i = 0; i < n; i++)
		if (strncmp(words[i], name, len) == 0 && words[i][len] == '=')
			return words[i] + len + 1;
	return fallback;
}

static bool hold_of(const char *name, enum stage_hold *out)
{
	static const char *const names[HOLD_COUNT] = {"prepared", "running", "ack", "committed"};
	for (int i = 0; i < HOLD_COUNT; i++)
		if (strcmp(names[i], name) == 0) {
			*out = (enum stage_hold)i;
			return true;
		}
	return false;
}

static void report_all(struct stage *s, struct player *tm, enum control_report kind, char *words[],
		       unsigned n)
{
	const char *region = option(words, n, "region", "");
	for (unsigned i = 0; i < tm->n_items; i++) {
		if (region[0] && tm->items[i].region != (uint32_t)(region[0] - '0'))
			continue;
		struct pending *p = stage_plan_report(s, tm, kind, &tm->items[i], 0);
		p->report.external = strcmp(option(words, n, "external", "no"), "yes") == 0;
		p->report.corrupt = strcmp(option(words, n, "corrupt", "no"), "yes") == 0;
		snprintf(p->report.text, sizeof(p->report.text), "%s",
			 option(words, n, "text", "division by zero"));
		for (char *c = p->report.text; *c; c++)
			*c = *c == '_' ? ' ' : *c;
		uint64_t id = 0;
		if (text_u64(option(words, n, "ckpt", "0"), &id, NULL) == ERR_OK)
			p->report.checkpoint.v = id;
	}
	stage_run(s, 0);
}

static bool do_tm(struct stage *s, char *words[], unsigned n)
{
	enum stage_hold hold;
	if (n < 3)
		return false;
	struct player *tm = find_tm(s, words[2]);
	if (strcmp(words[1], "add") == 0 && !tm && s->n_tms < TMS_MAX) {
		uint64_t slots = 4;
		tm = &s->tms[s->n_tms++];
		snprintf(tm->id, sizeof(tm->id), "%s", words[2]);
		snprintf(tm->cookie, sizeof(tm->cookie), "%s", option(words, n, "cookie", "c1"));
		if (text_u64(option(words, n, "slots", "4"), &slots, NULL) == ERR_OK)
			tm->slots = (uint32_t)slots;
		tm->before = strcmp(option(words, n, "version", "this"), "before") == 0;
		stage_birth(s, tm);
		stage_run(s, 10);
		return true;
	}
	if (!tm)
		return false;
	if (strcmp(words[1], "kill") == 0) /* with its machine: nobody answers */
		stage_death(s, tm);
	else if (strcmp(words[1], "die") == 0) { /* the process: its kernel refuses */
		tm->refuses = true;
		stage_death(s, tm);
	} else if (strcmp(words[1], "blip") == 0) { /* the stream breaks; a firewall refuses */
		tm->refuses = true;
		stage_plan_register(s, tm, 300);
		struct jm_event gone = {.kind = JM_TM_GONE, .token = tm->stream};
		if (s->jm)
			stage_dispatch(s, &gone);
	} else if (strcmp(words[1], "drop") == 0) { /* the stream breaks, nothing else */
		stage_plan_register(s, tm, 300);
		struct jm_event gone = {.kind = JM_TM_GONE, .token = tm->stream};
		if (s->jm)
			stage_dispatch(s, &gone);
	} else if (strcmp(words[1], "restart") == 0) {
		tm->refuses = false;
		stage_death(s, tm);
		stage_birth(s, tm);
	} else if (strcmp(words[1], "silent") == 0)
		tm->silent = true;
	else if (strcmp(words[1], "late") == 0 && s->jm)
		stage_register_late(s, tm);
	else if (strcmp(words[1], "away") == 0) /* cannot reach the JobManager */
		tm->away = true;
	else if (strcmp(words[1], "back") == 0) {
		tm->away = false;
		stage_plan_register(s, tm, 5);
	} else if (strcmp(words[1], "fail") == 0)
		report_all(s, tm, CONTROL_REPORT_FAILED, words, n);
	else if (strcmp(words[1], "at-end") == 0)
		report_all(s, tm, CONTROL_REPORT_AT_END, words, n);
	else if (strcmp(words[1], "decline") == 0)
		report_all(s, tm, CONTROL_REPORT_DECLINE, words, n);
	else if (n > 3 && strcmp(words[1], "hold") == 0 && hold_of(words[3], &hold))
		tm->hold[hold] = true;
	else if (n > 3 && strcmp(words[1], "release") == 0 && hold_of(words[3], &hold))
		tm->hold[hold] = false;
	else
		return false;
	return true;
}

static json_t *spec_of(const char *name, char *words[], unsigned n)
{
	uint64_t parallelism = 2, retained = 1, concurrent = 1, tolerable = 0, attempts = 1;
	(void)!text_u64(option(words, n, "parallelism", "2"), &parallelism, NULL);
	(void)!text_u64(option(words, n, "retained", "1"), &retained, NULL);
	(void)!text_u64(option(words, n, "concurrent", "1"), &concurrent, NULL);
	(void)!text_u64(option(words, n, "tolerable", "0"), &tolerable, NULL);
	(void)!text_u64(option(words, n, "attempts", "1"), &attempts, NULL);
	const char *strategy = option(words, n, "restart", "exponential-delay");
	json_t *restart = json_pack("{s:s}", "strategy", strategy);
	if (strcmp(strategy, "fixed-delay") == 0) {
		json_object_set_new(restart, "attempts", json_integer((json_int_t)attempts));
		json_object_set_new(restart, "delay", json_string("1s"));
	}
	if (strcmp(strategy, "failure-rate") == 0) {
		json_object_set_new(restart, "maxFailuresPerInterval",
				    json_integer((json_int_t)attempts));
		json_object_set_new(restart, "interval", json_string("10s"));
		json_object_set_new(restart, "delay", json_string("1s"));
	}
	if (strcmp(strategy, "exponential-delay") == 0)
		json_object_set_new(restart, "jitter", json_real(0.0));
	json_t *operators = json_array();
	int regions = option(words, n, "regions", "1")[0] - '0';
	for (int i = 0; i < regions; i++) {
		char source[16], sink[16];
		snprintf(source, sizeof(source), "numbers%d", i);
		snprintf(sink, sizeof(sink), "out%d", i);
		json_array_append_new(operators,
				      json_pack("{s:s,s:s,s:i,s:i}", "uid", source, "type",
						"source.sequence", "from", 1, "to", 100));
		json_array_append_new(operators,
				      json_pack("{s:s,s:s,s:[s],s:s,s:s}", "uid", sink, "type",
						"sink.file", "inputs", source, "path", sink,
						"semantics", "exactly-once"));
	}
	return json_pack("{s:s, s:I, s:s, s:{s:s, s:I, s:I, s:I, s:s}, s:o, s:o}", "name", name,
			 "parallelism", (json_int_t)parallelism, "slotTimeout",
			 option(words, n, "slot-timeout", "5min"), "checkpointing", "interval",
			 option(words, n, "interval", "10s"), "retained", (json_int_t)retained,
			 "maxConcurrent", (json_int_t)concurrent, "tolerableFailures",
			 (json_int_t)tolerable, "timeout", option(words, n, "timeout", "1min"),
			 "restart", restart, "operators", operators);
}

static bool do_submit(struct stage *s, char *words[], unsigned n)
{
	if (!s->jm || n < 2)
		return false;
	struct jm_event ev = {.kind = JM_SUBMIT, .token = 1000000 + s->next_request++};
	json_t *spec = spec_of(words[1], words, n);
	assert(spec);
	id_of(s, words[1], &ev.job);
	ev.spec = spec;
	stage_dispatch(s, &ev);
	json_decref(spec);
	return true;
}

static bool do_cancel(struct stage *s, const char *name)
{
	if (!s->jm)
		return false;
	struct jm_event ev = {.kind = JM_CANCEL, .token = 1000000 + s->next_request++};
	id_of(s, name, &ev.job);
	stage_dispatch(s, &ev);
	return true;
}

static bool do_leader(struct stage *s, const char *what)
{
	struct jm_event ev = {.kind = JM_SUSPENDED};
	if ((strcmp(what, "start") == 0 || strcmp(what, "start-suspended") == 0) && !s->jm)
		stage_leader_start(s, what[5] != 0);
	else if (strcmp(what, "kill") == 0 && s->jm)
		stage_leader_kill(s, false);
	else if (strcmp(what, "kill-lost") == 0 && s->jm)
		stage_leader_kill(s, true);
	else if (strcmp(what, "accept") == 0 && s->jm) {
		ev = (struct jm_event){.kind = JM_ACCEPT, .token = 1000000 + s->next_request++};
		stage_dispatch(s, &ev);
	} else if (strcmp(what, "resign") == 0 && s->jm) {
		s->crashed = false;
		stage_leader_kill(s, false);
	} else if (strcmp(what, "suspend") == 0 && s->jm) {
		s->suspended = true;
		stage_dispatch(s, &ev);
	} else if (strcmp(what, "resume") == 0 && s->jm) {
		s->suspended = false;
		ev.kind = JM_RESUMED;
		stage_dispatch(s, &ev);
	} else
		return false;
	return true;
}

static bool do_release(struct stage *s, const char *name)
{
	struct jm_event ev = {.kind = JM_RELEASE, .token = 1000000 + s->next_request++};
	if (!s->jm)
		return false;
	id_of(s, name, &ev.job);
	stage_dispatch(s, &ev);
	return true;
}

/* Whoever opens this job dies; "none" ends it. */
static bool do_poison(struct stage *s, const char *name)
{
	struct job_id id;
	id_of(s, name, &id);
	s->poison[0] = '\0';
	if (strcmp(name, "none") != 0)
		snprintf(s->poison, sizeof(s->poison), "leader-open-%s", id.hex);
	return true;
}

/* Start leaders, one as soon as another died, until one has lived for three seconds. */
static bool do_succession(struct stage *s)
{
	for (int i = 0; i < 30; i++) {
		if (!s->jm)
			stage_leader_start(s, false);
		uint64_t end = s->now + 3000;
		while (s->jm && stage_tick(s, end))
			;
		if (s->jm)
			return true;
	}
	return false;
}

static bool do_until(struct stage *s, const char *name, const char *state, const char *within)
{
	uint64_t ms = 0;
	struct job_id id;
	struct jm_job_view v;
	id_of(s, name, &id);
	if (text_duration_ms(within, &ms, NULL) != ERR_OK)
		return false;
	uint64_t end = s->now + ms;
	for (;;) {
		if (s->jm && jm_view_job(s->jm, &id, &v) && strcmp(v.state, state) == 0)
			return true;
		if (!stage_tick(s, end)) {
			stage_violate(s, "%s is not %s within %s", name, state, within);
			return true;
		}
	}
}

static void show_store(struct stage *s)
{
	for (size_t i = 0; i < s->n_store; i++) {
		char brief[64];
		const char *slash = strchr(s->store[i].key, '/');
		snprintf(brief, sizeof(brief), "%.*s/%.8s%s",
			 (int)(slash ? slash - s->store[i].key : 0), s->store[i].key,
			 slash ? slash + 1 : "",
			 slash && strlen(slash + 1) > ID_HEX ? slash + 1 + ID_HEX : "");
		buf_printf(&s->page, "  %s\n", brief);
	}
}

static void show_job(struct stage *s, const char *name)
{
	struct job_id id;
	struct jm_job_view v;
	id_of(s, name, &id);
	struct jm_held_view held;
	if (s->jm && jm_view_held(s->jm, &id, &held)) {
		buf_printf(&s->page, "  not opened: %s, %" PRIu32 " marks\n",
			   held.held ? "quarantined" : "its turn has not come", held.marks);
		return;
	}
	if (!s->jm || !jm_view_job(s->jm, &id, &v)) {
		buf_printf(&s->page, "  no such job\n");
		return;
	}
	const struct doc_pointer *newest = doc_newest(v.doc);
	buf_printf(&s->page,
		   "  status=%s attempt=%" PRIu32 " restarts=%" PRIu32 " counted=%" PRIu32
		   " newest=%" PRIu64 " committed=%" PRIu64 " failures=%u%s%s\n",
		   v.status, v.doc->regions[0].attempt.v, v.doc->restarts, v.doc->restart.count,
		   newest ? newest->id.v : 0, v.doc->committed.v, v.doc->n_failures,
		   v.trouble[0] ? " trouble: " : "", v.trouble);
	struct traffic went;
	unsigned vertex;
	if (traffic_get(v.doc->flow, 0, &vertex, &went))
		buf_printf(&s->page, "  read=%" PRIu64 "\n", went.read_records);
}

static bool do_switch(struct stage *s, const char *verb, const char *what)
{
	if (strcmp(verb, "storage") == 0)
		s->storage_down = strcmp(what, "down") == 0;
	else if (strcmp(verb, "store") == 0 && strcmp(what, "show") == 0)
		show_store(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "backup") == 0)
		stage_backup(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "restore") == 0)
		stage_restore(s);
	else if (strcmp(verb, "store") == 0 && strcmp(what, "wipe") == 0)
		while (s->n_store)
			stage_erase(s, s->store[0].key);
	else if (strcmp(verb, "store") == 0)
		s->nospace = strcmp(what, "full") == 0;
	else
		return false;
	return true;
}

bool stage_do(struct stage *s, const char *line)
{
	char text[512];
	char *words[16];
	unsigned n = 0;
	uint64_t ms = 0;
	snprintf(text, sizeof(text), "%s", line);
	char *rest = NULL;
	for (char *w = strtok_r(text, " \t", &rest); w && n < 16; w = strtok_r(NULL, " \t", &rest))
		words[n++] = w;
	if (n == 0)
		return true;
	if (strcmp(words[0], "quiet") == 0 || strcmp(words[0], "loud") == 0) {
		s->quiet = words[0][0] == 'q';
		return true;
	}
	if (n < 2)
		return false;
	if (strcmp(words[0], "tm") == 0)
		return do_tm(s, words, n);
	if (strcmp(words[0], "submit") == 0)
		return do_submit(s, words, n);
	if (strcmp(words[0], "cancel") == 0)
		return do_cancel(s, words[1]);
	if (strcmp(words[0], "leader") == 0 && n > 2 && strcmp(words[1], "kill-at") == 0) {
		snprintf(s->kill_at, sizeof(s->kill_at), "%s", words[2]);
		return true;
	}
	if (strcmp(words[0], "leader") == 0 && strcmp(words[1], "succession") == 0)
		return do_succession(s);
	if (strcmp(words[0], "leader") == 0)
		return do_leader(s, words[1]);
	if (strcmp(words[0], "release") == 0)
		return do_release(s, words[1]);
	if (strcmp(words[0], "poison") == 0)
		return do_poison(s, words[1]);
	if (strcmp(words[0], "until") == 0 && n > 2)
		return do_until(s, words[1], words[2], n > 3 ? words[3] : "60s");
	if (strcmp(words[0], "show") == 0) {
		show_job(s, words[1]);
		return true;
	}
	if (strcmp(words[0], "run") == 0 && text_duration_ms(words[1], &ms, NULL) == ERR_OK) {
		stage_run(s, ms);
		return true;
	}
	return do_switch(s, words[0], words[1]);
}
