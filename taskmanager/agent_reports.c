#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "taskmanager/agent_parts.h"

/* ---- effects ---- */

struct agent_effect *agent_effect_add(struct agent_turn *t, enum agent_effect_kind kind)
{
	struct agent_effects *out = t->out;
	if (out->n == out->capacity) {
		out->capacity = out->capacity ? 2 * out->capacity : 8;
		out->at = mem_resize(out->at, out->capacity, sizeof(*out->at));
	}
	struct agent_effect *fx = &out->at[out->n++];
	*fx = (struct agent_effect){.kind = kind};
	return fx;
}

void agent_effects_fini(struct agent_effects *fx)
{
	free(fx->at);
	*fx = (struct agent_effects){0};
}

void agent_log(struct agent_turn *t, enum log_level level, const char *fmt, ...)
{
	struct agent_effect *fx = agent_effect_add(t, AGENT_FX_LOG);
	va_list args;
	fx->level = level;
	va_start(args, fmt);
	vsnprintf(fx->text, sizeof(fx->text), fmt, args);
	va_end(args);
}

/* ---- the queue ---- */

struct control_report_msg *agent_report_add(struct agent_turn *t, enum control_report kind,
					    const struct job_id *job, uint32_t region,
					    struct attempt attempt)
{
	struct agent_core *c = t->c;
	/* A decline is in no inventory: it waits for the next registration. */
	if (!c->streaming && kind != CONTROL_REPORT_DECLINE)
		return NULL;
	if (c->n_queue == c->capacity) {
		c->capacity = c->capacity ? 2 * c->capacity : 16;
		c->queue = mem_resize(c->queue, c->capacity, sizeof(*c->queue));
	}
	struct control_report_msg *r = &c->queue[c->n_queue++];
	*r = (struct control_report_msg){.kind = kind,
					 .seq = ++c->seq_out,
					 .region = region,
					 .attempt = attempt,
					 .vertex = -1,
					 .subtask = -1};
	if (job)
		r->job = *job;
	return r;
}

void agent_reports_drop(struct agent_core *c, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (c->queue[i].kind == CONTROL_REPORT_BEAT)
			c->beat_queued = false;
		control_report_fini(&c->queue[i]);
	}
	c->n_queue -= count;
	if (c->n_queue)
		memmove(c->queue, c->queue + count, c->n_queue * sizeof(*c->queue));
}

void agent_reports_restart(struct agent_core *c)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < c->n_queue; i++) {
		if (c->queue[i].kind != CONTROL_REPORT_DECLINE) {
			control_report_fini(&c->queue[i]);
			continue;
		}
		c->queue[kept] = c->queue[i];
		c->queue[kept].seq = kept + 1;
		kept++;
	}
	c->n_queue = kept;
	c->seq_out = kept;
	c->posting = 0;
	c->beat_queued = false;
}

void agent_reports_clear(struct agent_core *c)
{
	agent_reports_drop(c, c->n_queue);
	free(c->queue);
	c->queue = NULL;
	c->capacity = 0;
}

void agent_reports(const struct agent_core *c, unsigned count, struct buf *out)
{
	control_reports_encode(c->registration, c->stream_epoch, c->queue,
			       count < c->n_queue ? count : c->n_queue, out);
}

bool agent_posting(const struct agent_core *c, enum control_report kind)
{
	for (unsigned i = 0; i < c->posting; i++) {
		if (c->queue[i].kind == kind)
			return true;
	}
	return false;
}

/* ---- the inventory ---- */

void agent_registration(const struct agent_core *c, struct buf *out)
{
	const struct agent_options *o = &c->options;
	struct control_registration r = {
		.slots = o->slots, .pid = o->pid, .highest = c->highest, .n_items = c->n_items};
	snprintf(r.id, sizeof(r.id), "%s", o->id);
	snprintf(r.instance, sizeof(r.instance), "%s", o->instance);
	snprintf(r.data_address, sizeof(r.data_address), "%s", o->data_address);
	snprintf(r.rest_host, sizeof(r.rest_host), "%s", o->rest_host);
	snprintf(r.cookie, sizeof(r.cookie), "%s", c->cookie);
	r.items = mem_array(c->n_items ? c->n_items : 1, sizeof(*r.items));
	for (unsigned i = 0; i < c->n_items; i++)
		r.items[i] = c->items[i]->c; /* borrowed for the encoding */
	control_registration_encode(&r, out);
	free(r.items);
}
