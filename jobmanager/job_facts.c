/* Facts: what TaskManagers register, report and lose, and the specification as it was read. */
#include "jobmanager/job_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

enum { READ_RETRY_MS = 1000, STOPPED_MAX = 256 };

void job_freeze(struct job *job, const struct job_env *env, const char *why)
{
	if (job->frozen)
		return;
	job->frozen = true;
	if (env->stopped[0] == '\0')
		snprintf(env->stopped, STOPPED_MAX, "job %s: %.160s: the store went back in time",
			 job->doc.job.hex, why);
	snprintf(job->trouble, sizeof(job->trouble),
		 "%.180s: the store went back in time; nothing is changed", why);
	TRACE(job, env, LOG_LEVEL_ERROR, "%s", job->trouble);
}

/* A TaskManager knows more than the store. Either the store went back in time: nothing may be
 * changed; or that was accepted: what it knows is given up, and numbers go on above it. */
static void contradicts(struct job *job, const struct job_env *env, const struct taskmanager *tm,
			struct attempt attempt, struct ckpt_id checkpoint, const char *why)
{
	if (!tm->forgiven) {
		job_freeze(job, env, why);
		return;
	}
	if (attempt.v > job->lost_attempt)
		job->lost_attempt = attempt.v;
	if (checkpoint.v > job->lost_checkpoint)
		job->lost_checkpoint = checkpoint.v;
}

void region_fail(struct job *job, unsigned region, const struct doc_failure *failure, bool corrupt)
{
	struct job_region *r = &job->regions[region];
	if (r->failed || job_terminal(job) || job->doc.regions[region].n_slots == 0)
		return;
	r->failed = true;
	r->corrupt = corrupt;
	r->failure = *failure;
	r->failure.region = region;
	r->failure.attempt = job->doc.regions[region].attempt.v;
}

void job_fail_external(struct job *job, const struct job_env *env, unsigned r, unsigned part,
		       const char *why)
{
	struct doc_failure f = {
		.wall_ms = env->wall_ms, .vertex = -1, .subtask = -1, .external = true};
	const char *id = job->doc.regions[r].tms[part].id;
	snprintf(f.tm, sizeof(f.tm), "%s", id);
	snprintf(f.text, sizeof(f.text), "TaskManager %s %.300s", id, why);
	region_fail(job, r, &f, false);
}

bool is_at(const struct doc_tm *at, const struct taskmanager *tm)
{
	return strcmp(at->id, tm->id) == 0 && strcmp(at->instance, tm->instance) == 0;
}

static const struct control_item *item_of(const struct control_registration *reg,
					  const struct job *job, unsigned r, struct attempt attempt)
{
	for (unsigned i = 0; i < reg->n_items; i++) {
		const struct control_item *item = &reg->items[i];
		if (item->region == r && item->attempt.v == attempt.v &&
		    job_id_equal(&item->job, &job->doc.job))
			return item;
	}
	return NULL;
}

const struct control_item *find_item(const struct control_registration *reg, const struct job *job,
				     unsigned r)
{
	return item_of(reg, job, r, job->doc.regions[r].attempt);
}

static void item_failed(struct job *job, const struct job_env *env, unsigned r,
			const struct taskmanager *tm, const struct control_item *item)
{
	struct doc_failure f = {
		.wall_ms = env->wall_ms, .vertex = -1, .subtask = -1, .external = item->external};
	snprintf(f.tm, sizeof(f.tm), "%s", tm->id);
	snprintf(f.text, sizeof(f.text), "%.480s", item->text);
	region_fail(job, r, &f, item->corrupt);
}

static void adopt_acks(struct job *job, const struct job_env *env, unsigned r, unsigned i,
		       const struct control_item *item)
{
	size_t index = 0;
	json_t *ack = NULL;
	json_array_foreach (item->acks, index, ack) {
		struct ckpt_id id = {0};
		if (json_get_u64(ack, "acks", "checkpoint", &id.v, NULL) != ERR_OK)
			continue;
		if (id.v >= job->doc.next_checkpoint.v)
			contradicts(job, env, job->regions[r].parts[i].tm, item->attempt, id,
				    "a TaskManager holds a checkpoint that was never begun");
		else
			ckpt_ack(&job->ckpt, &job->doc, id, r, item->attempt, job_flat(job, r, i),
				 job->regions[r].parts[i].tm->id, json_object_get(ack, "object"),
				 env->wall_ms);
	}
}

/* A TaskManager of the version before tells them only with what it acknowledged. */
static const json_t *counts_of(const struct control_item *item)
{
	const json_t *counts = item->vertices;
	for (size_t i = json_array_size(item->acks); !counts && i > 0; i--) {
		const json_t *ack = json_array_get(item->acks, i - 1);
		const json_t *said = json_object_get(json_object_get(ack, "stats"), "vertices");
		counts = json_is_array(said) ? said : NULL;
	}
	return counts;
}

static uint64_t newest_value(const struct job *job)
{
	const struct doc_pointer *newest = doc_newest(&job->doc);
	return newest ? newest->id.v : 0;
}

static void adopt_item(struct job *job, const struct job_env *env, unsigned r, unsigned i,
		       const struct control_item *item)
{
	struct job_part *part = &job->regions[r].parts[i];
	static const enum part_state states_of[] = {[CONTROL_STATE_PREPARING] = PART_PREPARING,
						    [CONTROL_STATE_PREPARED] = PART_PREPARED,
						    [CONTROL_STATE_RUNNING] = PART_RUNNING,
						    [CONTROL_STATE_FAILED] = PART_FAILED,
						    [CONTROL_STATE_ENDED] = PART_ENDED};
	/* A registration may have been under way for long, behind a later one. */
	enum part_state now = states_of[item->state];
	if (now > part->state)
		part->state = now;
	part->at_end |= item->at_end;
	part->told_complete = item->completed;
	if (item->committed.v > part->committed.v && item->committed.v <= newest_value(job))
		part->committed = item->committed;
	snprintf(part->address, sizeof(part->address), "%s", item->address);
	if (item->completed.v > newest_value(job) || item->committed.v > newest_value(job))
		contradicts(job, env, part->tm, item->attempt,
			    item->completed.v > item->committed.v ? item->completed
								  : item->committed,
			    "a TaskManager knows a newer completed checkpoint");
	if (now == PART_FAILED)
		item_failed(job, env, r, part->tm, item);
	else if (now == PART_ENDED)
		job_fail_external(job, env, r, i, "ended its worker");
	adopt_acks(job, env, r, i, item);
	job_note_flow(job, part->tm, r, item->attempt, counts_of(item), env->now_ms);
}

static void register_part(struct job *job, const struct job_env *env, unsigned r, unsigned i,
			  struct taskmanager *tm, const struct control_registration *reg)
{
	struct job_part *part = &job->regions[r].parts[i];
	bool known = part->seen && part->state > PART_ABSENT;
	part->tm = tm;
	part->seen = true;
	part->told_prepare = part->told_run = part->told_end = false;
	part->told_complete = (struct ckpt_id){0};
	part->told_aborts = 0;
	for (unsigned k = 0; k < job->ckpt.n; k++)
		job->ckpt.flights[k]->acks[job_flat(job, r, i)].told = false;
	const struct control_item *item = find_item(reg, job, r);
	if (item)
		adopt_item(job, env, r, i, item);
	else if (known)
		job_fail_external(job, env, r, i, "came back without its worker");
}

/* What went through a job that is being ended was counted by the attempt before the one that only
 * commits, and nobody but its TaskManagers can tell a leader that was not there. */
static void note_ran(struct job *job, const struct job_env *env, unsigned r,
		     const struct taskmanager *tm, const struct control_registration *reg)
{
	const struct control_item *item = item_of(reg, job, r, job->doc.regions[r].ran);
	if (item)
		job_note_flow(job, tm, r, item->attempt, counts_of(item), env->now_ms);
}

static void register_region(struct job *job, const struct job_env *env, unsigned r,
			    struct taskmanager *tm, const struct control_registration *reg)
{
	struct job_region *region = &job->regions[r];
	for (unsigned i = 0; i < region->n_parts; i++) {
		const struct doc_tm *at = &job->doc.regions[r].tms[i];
		if (is_at(at, tm))
			register_part(job, env, r, i, tm, reg);
		else if (!region->parts[i].tm && strcmp(at->id, tm->id) == 0)
			job_fail_external(job, env, r, i, "was restarted");
	}
	for (unsigned i = 0; i < region->n_next; i++)
		if (region->next[i].tm == tm)
			region->next[i].seen = true;
	if (job->doc.regions[r].ran.v)
		note_ran(job, env, r, tm, reg);
}

/* What this TaskManager still has of attempts that are over. */
void job_leftovers(struct job *job, const struct job_env *env, struct taskmanager *tm)
{
	for (unsigned i = 0; i < tm->n_items; i++) {
		const struct control_item *item = &tm->items[i];
		if (!job_id_equal(&item->job, &job->doc.job) || item->state == CONTROL_STATE_ENDED)
			continue;
		bool known = item->region < job->doc.n_regions;
		uint32_t recorded = known ? job->doc.regions[item->region].attempt.v : 0;
#ifdef WEIR_MUTANT_TERMINAL_LEFT_ALONE
		if (job_terminal(job))
			continue;
#endif
		if (job_terminal(job) || (known && item->attempt.v < recorded))
			add_leftover(job, tm, item->region, item->attempt);
		else if (!known || item->attempt.v > recorded)
			contradicts(job, env, tm, item->attempt, item->completed,
				    "a TaskManager runs an attempt that is not recorded");
	}
}

static void drop_leftovers(struct job *job, const struct taskmanager *tm)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < job->n_leftovers; i++)
		if (job->leftovers[i].tm != tm)
			job->leftovers[kept++] = job->leftovers[i];
	job->n_leftovers = kept;
}

void job_tm_registered(struct job *job, const struct job_env *env, struct taskmanager *tm,
		       const struct control_registration *r)
{
	if (sm_state(&job->sm) == JOB_CREATING)
		return;
	drop_leftovers(job, tm);
	for (unsigned i = 0; i < job->doc.n_regions && !job_terminal(job); i++)
		register_region(job, env, i, tm, r);
	job_resolve_registered(job, tm, r);
	job_leftovers(job, env, tm);
}

void job_tm_lost(struct job *job, const struct job_env *env, struct taskmanager *tm,
		 const char *why)
{
	drop_leftovers(job, tm);
	for (unsigned r = 0; r < job->doc.n_regions; r++) {
		struct job_region *region = &job->regions[r];
		for (unsigned i = 0; i < region->n_parts; i++)
			if (region->parts[i].tm == tm) {
				region->parts[i].tm = NULL;
				job_fail_external(job, env, r, i, why);
			}
		for (unsigned i = 0; i < region->n_next; i++)
			if (region->next[i].tm == tm)
				region->next[i].tm = NULL;
	}
}

static void report_failed(struct job *job, const struct job_env *env, const struct taskmanager *tm,
			  const struct control_report_msg *m)
{
	struct doc_failure f = {.wall_ms = env->wall_ms,
				.vertex = m->vertex,
				.subtask = m->subtask,
				.external = m->external};
	snprintf(f.tm, sizeof(f.tm), "%s", tm->id);
	snprintf(f.text, sizeof(f.text), "%.480s", m->text);
	region_fail(job, m->region, &f, m->corrupt);
}

void job_note_flow(struct job *job, const struct taskmanager *tm, uint32_t region,
		   struct attempt attempt, const json_t *vertices, uint64_t now_ms)
{
	/* An attempt that only commits does not hide what the one before it has done. */
	struct attempt ran = job->doc.regions[region].ran;
	if (!ran.v || attempt.v == ran.v)
		flow_note(&job->flow, tm->id, region, attempt, vertices, now_ms);
}

static void report_part(struct job *job, const struct job_env *env, struct taskmanager *tm,
			unsigned i, const struct control_report_msg *m)
{
	struct job_part *part = &job->regions[m->region].parts[i];
	switch (m->kind) {
	case CONTROL_REPORT_PREPARED:
		if (part->state < PART_PREPARED)
			part->state = PART_PREPARED;
		snprintf(part->address, sizeof(part->address), "%s", m->address);
		break;
	case CONTROL_REPORT_RUNNING:
		if (part->state < PART_RUNNING)
			part->state = PART_RUNNING;
		break;
	case CONTROL_REPORT_ACK:
		job_note_flow(job, tm, m->region, m->attempt, json_object_get(m->stats, "vertices"),
			      env->now_ms);
		if (m->checkpoint.v >= job->doc.next_checkpoint.v)
			contradicts(job, env, tm, m->attempt, m->checkpoint,
				    "a TaskManager acknowledged a checkpoint never begun");
		else if (!ckpt_ack(&job->ckpt, &job->doc, m->checkpoint, m->region, m->attempt,
				   job_flat(job, m->region, i), tm->id, m->object, env->wall_ms))
			TRACE(job, env, LOG_LEVEL_DEBUG,
			      "ckpt=%" PRIu64 " late acknowledgement from %s -> ignored",
			      m->checkpoint.v, tm->id);
		break;
	case CONTROL_REPORT_DECLINE:
		if (ckpt_decline(&job->ckpt, &job->doc, m->checkpoint, m->region, m->attempt,
				 m->external, m->text))
			TRACE(job, env, LOG_LEVEL_WARN, "ckpt=%" PRIu64 " declined by %s: %.300s",
			      m->checkpoint.v, tm->id, m->text);
		break;
	case CONTROL_REPORT_COMMITTED:
		if (m->checkpoint.v > newest_value(job))
			contradicts(job, env, tm, m->attempt, m->checkpoint,
				    "a TaskManager committed a checkpoint never completed");
		else if (m->checkpoint.v > part->committed.v)
			part->committed = m->checkpoint;
		break;
	case CONTROL_REPORT_AT_END:
		part->at_end = true;
		break;
	case CONTROL_REPORT_FAILED:
		part->state = PART_FAILED;
		report_failed(job, env, tm, m);
		break;
	case CONTROL_REPORT_ENDED:
		part->state = PART_ENDED;
		job_fail_external(job, env, m->region, i, "ended its worker");
		break;
	case CONTROL_REPORT_BEAT:
	case CONTROL_REPORT_COUNT:
		break;
	}
}

static bool attempt_counts(const struct job *job, const struct control_report_msg *m)
{
#ifdef WEIR_MUTANT_ACK_ANY_ATTEMPT
	if (m->kind == CONTROL_REPORT_ACK)
		return true;
#endif
	return job->doc.regions[m->region].attempt.v == m->attempt.v;
}

void job_report(struct job *job, const struct job_env *env, struct taskmanager *tm,
		const struct control_report_msg *m)
{
	if (sm_state(&job->sm) == JOB_CREATING)
		return;
	if (m->region >= job->doc.n_regions)
		return;
	if (m->attempt.v > job->doc.regions[m->region].attempt.v) {
		if (!job_terminal(job))
			contradicts(job, env, tm, m->attempt, (struct ckpt_id){0},
				    "a TaskManager reports an attempt that is not recorded");
		return;
	}
	struct job_region *region = &job->regions[m->region];
	for (unsigned i = 0; i < region->n_parts && attempt_counts(job, m); i++)
		if (region->parts[i].tm == tm) {
			report_part(job, env, tm, i, m);
			return;
		}
	TRACE(job, env, LOG_LEVEL_DEBUG,
	      "attempt %" PRIu32 " of region %" PRIu32 " is over: %s from %s -> ignored",
	      m->attempt.v, m->region, control_report_name(m->kind), tm->id);
}

void job_spec_read(struct job *job, const struct job_env *env, enum errc code, const char *text,
		   const char *value, size_t len)
{
	job->reading = 0;
	json_t *document = NULL;
	struct spec *spec = NULL;
	struct err e = {0};
	if (code == ERR_OK)
		code = json_parse(value, len, &document, &e);
	else
		err_set(&e, code, "%s", text ? text : err_text(code));
	if (code == ERR_OK)
		code = spec_parse(document, &spec, &e);
	json_decref(document);
	if (code != ERR_OK) {
		job->read_retry_ms = env->now_ms + READ_RETRY_MS;
		snprintf(job->trouble, sizeof(job->trouble), "its specification: %.220s", e.text);
		TRACE(job, env, LOG_LEVEL_WARN,
		      "cannot read its specification: %.300s -> again later", e.text);
		return;
	}
	job->trouble[0] = '\0';
	job_take_spec(job, spec);
	if (job->graph->n_regions != job->doc.n_regions)
		job_freeze(job, env, "specification and document differ in their regions");
	for (unsigned i = 0; i < job->ckpt.n; i++)
		job->ckpt.flights[i]->deadline_ms =
			env->now_ms + job->spec->checkpointing.timeout_ms;
}
