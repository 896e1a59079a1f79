#include "cli/local_ready.h"

#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/table.h"
#include "world/world.h"

enum { PROBE_MS = 2000, STEP_MS = 15 };

static bool answers(struct cli *c, const char *address, const char *path, json_t **out)
{
	int status = 0;
	json_t *body = NULL;
	if (client_probe(c->client, address, path, PROBE_MS, &status, &body, NULL))
		return false;
	if (out && status == 200)
		*out = body;
	else
		json_decref(body);
	return status == 200;
}

/* This very process (not one of that name before it), and tasks may be placed there. */
static bool lists(const json_t *all, const json_t *entry)
{
	json_t *tm;
	size_t i;
	json_array_foreach (json_object_get(all, "taskmanagers"), i, tm) {
		const json_t *more = json_object_get(tm, "weir");
		if (strcmp(table_text(tm, "id"), table_text(entry, "name")) == 0 &&
		    table_integer(more, "pid", 0) == table_integer(entry, "pid", -1) &&
		    strcmp(table_text(more, "state"), "CONNECTED") == 0 &&
		    strcmp(table_text(more, "unusable"), "-") == 0)
			return true;
	}
	return false;
}

static bool registered(struct cli *c, const struct local_cluster *l, const json_t *entry)
{
	json_t *jm;
	size_t i;
	json_array_foreach (local_cluster_entries(l, LOCAL_JOBMANAGER), i, jm) {
		json_t *all = NULL;
		if (!local_entry_alive(jm) ||
		    !answers(c, table_text(jm, "address"), "/v1/taskmanagers", &all))
			continue;
		bool there = lists(all, entry);
		json_decref(all);
		return there;
	}
	return false;
}

static bool ready(struct cli *c, const struct local_cluster *l, const json_t *entry,
		  enum local_kind kind)
{
	switch (kind) {
	case LOCAL_ETCD:
		return answers(c, table_text(entry, "address"), "/health", NULL);
	case LOCAL_JOBMANAGER:
		return answers(c, table_text(entry, "address"), "/readyz", NULL);
	case LOCAL_TASKMANAGER:
		return registered(c, l, entry);
	}
	return false;
}

static enum errc ended(const struct local_cluster *l, const json_t *entry, struct err *e)
{
	char *words = local_cluster_last_words(l, entry);
	enum errc rc = err_set(e, ERR_INVALID, "%s ended while it started; its last words:\n%s",
			       table_text(entry, "name"), words);
	free(words);
	return rc;
}

enum errc local_await(struct cli *c, const struct local_cluster *l, const json_t *entry,
		      enum local_kind kind, const bool *stop, struct err *e)
{
	uint64_t deadline = world_now_ms(c->world) + LOCAL_READY_MS;
	while (!*stop) {
		if (ready(c, l, entry, kind))
			return ERR_OK;
		if (!local_entry_alive(entry))
			return ended(l, entry, e);
		if (world_now_ms(c->world) > deadline)
			return err_set(e, ERR_IO, "%s was not ready after %d s; see %s/logs",
				       table_text(entry, "name"), LOCAL_READY_MS / 1000,
				       local_cluster_dir(l));
		client_pause(c->client, STEP_MS);
	}
	return err_set(e, ERR_CANCELED, "stopped");
}

static enum errc start_kind(struct local_cluster *l, enum local_kind kind, bool tied, struct err *e)
{
	json_t *entry;
	size_t i;
	json_array_foreach (local_cluster_entries(l, kind), i, entry) {
		enum errc rc = local_cluster_start(l, entry, tied, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

static enum errc await_kind(struct cli *c, struct local_cluster *l, enum local_kind kind,
			    const bool *stop, struct err *e)
{
	json_t *entry;
	size_t i;
	json_array_foreach (local_cluster_entries(l, kind), i, entry) {
		enum errc rc = local_await(c, l, entry, kind, stop, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

enum errc local_start_all(struct cli *c, struct local_cluster *l, bool tied, const bool *stop,
			  struct err *e)
{
	enum errc rc = start_kind(l, LOCAL_ETCD, tied, e);
	rc = rc ? rc : await_kind(c, l, LOCAL_ETCD, stop, e);
	rc = rc ? rc : start_kind(l, LOCAL_JOBMANAGER, tied, e);
	rc = rc ? rc : start_kind(l, LOCAL_TASKMANAGER, tied, e);
	rc = rc ? rc : await_kind(c, l, LOCAL_JOBMANAGER, stop, e);
	return rc ? rc : await_kind(c, l, LOCAL_TASKMANAGER, stop, e);
}
