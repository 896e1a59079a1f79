/* taskmanagers, leader - the cluster itself. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"

static int taskmanagers(struct cli *c)
{
	struct err e = {0};
	json_t *all, *tm;
	size_t i;
	if (client_call(c->client, "GET", "/v1/taskmanagers", NULL, &all, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(all);
		return CLI_OK;
	}
	struct table t = {0};
	char slots[TABLE_CELL_MAX], unused[TABLE_CELL_MAX], beat[TABLE_CELL_MAX],
		pid[TABLE_CELL_MAX];
	table_row(&t, "TASKMANAGER", "STATE", "HOST", "PID", "SLOTS", "FREE", "LAST BEAT (UTC)",
		  "NOT USED BECAUSE", NULL);
	json_array_foreach (json_object_get(all, "taskmanagers"), i, tm) {
		const json_t *more = json_object_get(tm, "weir");
		table_row(&t, table_text(tm, "id"), table_text(more, "state"),
			  table_text(tm, "path"), table_number(table_integer(more, "pid", 0), pid),
			  table_number(table_integer(tm, "slotsNumber", 0), slots),
			  table_number(table_integer(tm, "freeSlots", 0), unused),
			  table_time(table_integer(tm, "timeSinceLastHeartbeat", -1), beat),
			  table_text(more, "unusable"), NULL);
	}
	table_print(&t);
	json_decref(all);
	return CLI_OK;
}

static void member_row(struct table *t, const json_t *m)
{
	char pid[TABLE_CELL_MAX];
	table_row(t, table_text(m, "id"), table_text(m, "role"),
		  table_number(table_integer(m, "pid", 0), pid), table_text(m, "rest"),
		  table_text(m, "cluster"), NULL);
}

static int leader(struct cli *c)
{
	struct err e = {0};
	json_t *all, *m;
	size_t i;
	if (client_call(c->client, "GET", "/v1/cluster", NULL, &all, &e))
		return cli_fail(&e);
	const json_t *leads = json_object_get(all, "leader");
	bool known = json_is_object(leads);
	if (c->json) {
		cli_print_json(all);
		return known ? CLI_OK : CLI_UNREACHABLE;
	}
	if (known)
		printf("%s leads, epoch %" PRId64 "\n", table_text(leads, "id"),
		       table_integer(all, "epoch", 0));
	else
		printf("nobody leads\n");
	struct table t = {0};
	table_row(&t, "JOBMANAGER", "ROLE", "PID", "REST", "CLUSTER", NULL);
	json_array_foreach (json_object_get(all, "members"), i, m)
		member_row(&t, m);
	table_print(&t);
	json_decref(all);
	return known ? CLI_OK : CLI_UNREACHABLE;
}

const struct command cluster_commands[] = {
	{.name = "taskmanagers",
	 .args = "",
	 .summary = "the TaskManagers and their slots",
	 .run = taskmanagers,
	 .help = "  weir taskmanagers\n"
		 "  weir taskmanagers --json | jq '[.taskmanagers[].freeSlots] | add'\n"},
	{.name = "leader",
	 .args = "",
	 .summary = "who leads, and who stands by",
	 .run = leader,
	 .help = "Status 3 if nobody leads now.\n\n"
		 "  weir leader\n"
		 "  weir leader --json | jq -r .leader.id\n"},
	{0}};
