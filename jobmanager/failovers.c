#include "jobmanager/failovers.h"

#include <inttypes.h>

#include "base/json.h"

void failovers_init(struct failovers *f)
{
	f->list = json_array();
	f->causes = json_object();
}

void failovers_fini(struct failovers *f)
{
	json_decref(f->list);
	json_decref(f->causes);
	*f = (struct failovers){0};
}

static bool is_record(const json_t *o)
{
	return json_is_integer(json_object_get(o, "epoch")) &&
	       json_is_string(json_object_get(o, "cause"));
}

static void shorten(json_t *list)
{
	while (json_array_size(list) > FAILOVERS_MAX)
		json_array_remove(list, 0);
}

void failovers_read(struct failovers *f, const char *text, size_t len)
{
	json_t *o = NULL, *record, *n;
	const char *cause;
	size_t i;
	json_array_clear(f->list);
	json_object_clear(f->causes);
	if (!text || len > FAILOVERS_BYTES_MAX || json_parse(text, len, &o, NULL) != ERR_OK)
		return;
	json_array_foreach (json_object_get(o, "failovers"), i, record)
		if (is_record(record))
			json_array_append(f->list, record);
	json_object_foreach (json_object_get(o, "causes"), cause, n)
		if (json_is_integer(n))
			json_object_set(f->causes, cause, n);
	shorten(f->list);
	json_decref(o);
}

/* ---- a record ---- */

/* The moments count from the first that is known: the last sign of life, or what came after. */
static uint64_t origin_of(const struct failover *r)
{
	const uint64_t at[] = {r->heard_ms,    r->suspected_ms, r->confirmed_ms,
			       r->key_gone_ms, r->barrier_ms,   r->read_ms};
	uint64_t first = r->read_ms;
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] && at[i] < first)
			first = at[i];
	return first;
}

static json_t *since(uint64_t at_ms, uint64_t origin)
{
	return at_ms >= origin && at_ms ? json_integer((json_int_t)(at_ms - origin)) : json_null();
}

static json_t *timeline(const struct failover *r)
{
	uint64_t o = origin_of(r);
	json_t *t = json_object();
	json_object_set_new(t, "lastHeard", since(r->heard_ms, o));
	json_object_set_new(t, "suspected", since(r->suspected_ms, o));
	json_object_set_new(t, "confirmed", since(r->confirmed_ms, o));
	json_object_set_new(t, "keyDeleted", since(r->key_gone_ms, o));
	json_object_set_new(t, "barrier", since(r->barrier_ms, o));
	json_object_set_new(t, "read", since(r->read_ms, o));
	json_object_set_new(t, "firstCommand", since(r->did.first_command_ms, o));
	json_object_set_new(t, "reconciled", since(r->did.reconciled_ms, o));
	json_object_set_new(t, "settled", since(r->did.settled_ms, o));
	return t;
}

static json_t *record_json(const struct failover *r)
{
	const struct counts_takeover *d = &r->did;
	json_t *o = json_pack("{s:I, s:s, s:s, s:I, s:{s:s, s:s}}", "epoch", (json_int_t)r->epoch,
			      "cause", r->cause, "why", r->why, "time", (json_int_t)r->wall_ms,
			      "leader", "id", r->leader, "instance", r->leader_instance);
	json_object_set_new(o, "before",
			    r->before_epoch
				    ? json_pack("{s:s, s:s, s:s, s:I}", "id", r->before, "instance",
						r->before_instance, "cluster", r->before_address,
						"epoch", (json_int_t)r->before_epoch)
				    : json_null());
	json_object_set_new(o, "timelineMs", timeline(r));
	json_object_set_new(o, "jobs",
			    json_pack("{s:i, s:i, s:i, s:i}", "found", (int)d->jobs, "adopted",
				      (int)d->jobs_adopted, "restarted", (int)d->jobs_restarted,
				      "resumed", (int)d->jobs_resumed));
	json_object_set_new(o, "tasks",
			    json_pack("{s:i, s:i}", "adopted", (int)d->tasks_adopted, "restarted",
				      (int)d->tasks_restarted));
	json_object_set_new(o, "checkpoints",
			    json_pack("{s:i, s:i, s:i}", "inFlight", (int)d->ckpts_inherited,
				      "completed", (int)d->ckpts_completed, "aborted",
				      (int)d->ckpts_given_up));
	json_object_set_new(o, "settled", json_boolean(d->settled_ms != 0));
	return o;
}

void failovers_put(struct failovers *f, const struct failover *record)
{
	size_t n = json_array_size(f->list);
	json_t *last = n ? json_array_get(f->list, n - 1) : NULL;
	bool known = last &&
		     (uint64_t)json_integer_value(json_object_get(last, "epoch")) == record->epoch;
	json_t *o = record_json(record);
	if (known) {
		json_array_set_new(f->list, n - 1, o);
		return;
	}
	json_int_t seen = json_integer_value(json_object_get(f->causes, record->cause));
	json_object_set_new(f->causes, record->cause, json_integer(seen + 1));
	json_array_append_new(f->list, o);
	shorten(f->list);
}

char *failovers_text(const struct failovers *f, const char *tag)
{
	json_t *o = json_pack("{s:i, s:s, s:O, s:O}", "format", 1, "tag", tag, "causes", f->causes,
			      "failovers", f->list);
	char *text = json_text(o);
	json_decref(o);
	return text;
}
