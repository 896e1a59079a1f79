/* taskmanagers, leader - the cluster itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/table.h"

enum { RECOVER_TRIES = 60, RECOVER_CALM = 4, RECOVER_PAUSE_MS = 1000 };

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

/* ---- the history of changes of leader ---- */

static void print_moments(const json_t *at)
{
	static const struct {
		const char *member, *words;
	} moments[] = {{"lastHeard", "last heard"},  {"suspected", "suspected"},
		       {"confirmed", "confirmed"},   {"keyDeleted", "key deleted"},
		       {"barrier", "barrier"},       {"read", "read"},
		       {"reconciled", "reconciled"}, {"firstCommand", "first command"}};
	bool any = false;
	printf("    ms: ");
	for (unsigned i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		int64_t ms = table_integer(at, moments[i].member, -1);
		if (ms < 0)
			continue;
		printf("%s%s %" PRId64, any ? ", " : "", moments[i].words, ms);
		any = true;
	}
	puts("");
}

static void print_fate(const json_t *f)
{
	const json_t *jobs = json_object_get(f, "jobs"), *tasks = json_object_get(f, "tasks");
	const json_t *ckpts = json_object_get(f, "checkpoints");
	int64_t n = table_integer(jobs, "found", 0), flying = table_integer(ckpts, "inFlight", 0);
	if (n)
		printf("    %" PRId64 " %s: %" PRId64 " tasks adopted, %" PRId64 " restarted", n,
		       n == 1 ? "job" : "jobs", table_integer(tasks, "adopted", 0),
		       table_integer(tasks, "restarted", 0));
	else
		printf("    no job");
	if (flying)
		printf("; of %" PRId64 " %s in flight %" PRId64 " completed, %" PRId64 " aborted",
		       flying, flying == 1 ? "checkpoint" : "checkpoints",
		       table_integer(ckpts, "completed", 0), table_integer(ckpts, "aborted", 0));
	puts(json_is_false(json_object_get(f, "settled")) ? "; not settled yet" : "");
}

static void print_failover(const json_t *f)
{
	char when[TABLE_CELL_MAX];
	const json_t *before = json_object_get(f, "before"), *leader = json_object_get(f, "leader");
	printf("%s  %s: ", table_time(table_integer(f, "time", -1), when), table_text(f, "cause"));
	if (json_is_object(before))
		printf("%s (epoch %" PRId64 ") -> ", table_text(before, "id"),
		       table_integer(before, "epoch", 0));
	printf("%s (epoch %" PRId64 ")\n    %s\n", table_text(leader, "id"),
	       table_integer(f, "epoch", 0), table_text(f, "why"));
	print_moments(json_object_get(f, "timelineMs"));
	print_fate(f);
}

static int history(struct cli *c)
{
	struct err e = {0};
	json_t *all, *f;
	size_t i;
	if (client_call(c->client, "GET", "/v1/cluster/failovers", NULL, &all, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(all);
		return CLI_OK;
	}
	const json_t *list = json_object_get(all, "failovers");
	json_array_foreach (list, i, f) {
		printf("%s", i ? "\n" : "");
		print_failover(f);
	}
	puts(json_array_size(list)
		     ? "\nnewest first, in UTC; ms since the leader before was last heard"
		     : "nothing is known yet");
	json_decref(all);
	return CLI_OK;
}

static int release(struct cli *c)
{
	struct err e = {0};
	json_t *answer;
	char path[128];
	snprintf(path, sizeof(path), "/v1/jobs/%.64s/release", c->args[0]);
	if (client_call(c->client, "POST", path, NULL, &answer, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(answer);
	else {
		printf("job %s is tried again\n", c->args[0]);
		json_decref(answer);
	}
	return CLI_OK;
}

/* Whoever leads now. */
static int resign(struct cli *c)
{
	struct err e = {0};
	json_t *answer;
	if (client_call(c->client, "POST", "/v1/cluster/resign", NULL, &answer, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(answer);
		return CLI_OK;
	}
	printf("%s hands over (it led with epoch %" PRId64 ") and queues again\n",
	       table_text(answer, "id"), table_integer(answer, "epoch", 0));
	json_decref(answer);
	return CLI_OK;
}

/* ---- recover ---- */

static void print_numbers(const json_t *o, char out[TABLE_CELL_MAX])
{
	if (json_is_object(o))
		snprintf(out, TABLE_CELL_MAX, "attempt %" PRId64 ", ckpt %" PRId64,
			 table_integer(o, "attempt", 0), table_integer(o, "checkpoint", 0));
	else
		snprintf(out, TABLE_CELL_MAX, "-");
}

static void print_cost(const json_t *page)
{
	const json_t *job;
	size_t i;
	struct table t = {0};
	char store[TABLE_CELL_MAX], known[TABLE_CELL_MAX];
	printf("%s\n", table_text(page, "why"));
	printf("Nothing is changed meanwhile; tasks go on. Accepting the store as it is costs:\n");
	table_row(&t, "JOB", "NAME", "THE STORE SAYS", "KNOWN", "COST", NULL);
	json_array_foreach (json_object_get(page, "jobs"), i, job) {
		print_numbers(json_object_get(job, "store"), store);
		print_numbers(json_object_get(job, "known"), known);
		table_row(&t, table_text(job, "job"), table_text(job, "name"), store, known,
			  table_text(job, "cost"), NULL);
	}
	table_print(&t);
	printf("Jobs that began after the backup are lost; those that ended after it run again.\n");
}

/* True: over. What is not done yet is asked for again by the caller. */
static bool accept_once(struct cli *c)
{
	struct err e = {0};
	json_t *page = NULL, *answer = NULL, *body = json_pack("{s:b}", "acceptStore", 1);
	bool over = false;
	if (client_call(c->client, "GET", "/v1/cluster/recover", NULL, &page, &e) == ERR_OK) {
		over = !json_is_true(json_object_get(page, "needed"));
		if (!over && client_call(c->client, "POST", "/v1/cluster/recover", body, &answer,
					 &e) == ERR_OK)
			printf("%s: %s\n", table_text(page, "leader"),
			       table_text(answer, "status"));
	}
	json_decref(page);
	json_decref(answer);
	json_decref(body);
	return over;
}

static int recover(struct cli *c)
{
	struct err e = {0};
	json_t *page;
	if (client_call(c->client, "GET", "/v1/cluster/recover", NULL, &page, &e))
		return cli_fail(&e);
	if (c->json) {
		cli_print_json(page);
		return CLI_OK;
	}
	bool needed = json_is_true(json_object_get(page, "needed"));
	if (needed)
		print_cost(page);
	else
		puts("nothing contradicts the store: there is nothing to recover from");
	json_decref(page);
	if (!needed || !options_bool(c->options, "acceptStore"))
		return CLI_OK;
	for (int calm = 0, tries = 0; tries < RECOVER_TRIES; tries++) {
		calm = accept_once(c) ? calm + 1 : 0;
		if (calm == RECOVER_CALM) {
			puts("accepted: jobs go on from what the store says");
			return CLI_OK;
		}
		client_pause(c->client, RECOVER_PAUSE_MS);
	}
	fputs("the JobManagers still contradict the store\n", stderr);
	return CLI_FAILED;
}

static const struct option recover_options[] = {{.key = "acceptStore",
						 .flag = "--accept-store",
						 .type = OPTION_BOOL,
						 .fallback = "false",
						 .help = "take the store as it is, for good"},
						{.key = NULL}};

static const struct option leader_options[] = {
	{.key = "history",
	 .flag = "--history",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "the last changes of leader: why, how fast, what became of the tasks"},
	{.key = NULL}};

static int leader(struct cli *c)
{
	if (options_bool(c->options, "history"))
		return history(c);
	struct err e = {0};
	if (c->n_args && strcmp(c->args[0], "resign") == 0)
		return resign(c);
	if (c->n_args) {
		err_set(&e, ERR_INVALID, "leader %s: only `resign` is known", c->args[0]);
		return cli_fail(&e);
	}
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
	 .args = "[resign]",
	 .args_max = 1,
	 .summary = "who leads, and who stands by",
	 .run = leader,
	 .options = leader_options,
	 .help = "Status 3 if nobody leads now. `resign` asks the leader to hand over to the next\n"
		 "JobManager, in milliseconds; it stays a candidate.\n\n"
		 "  weir leader\n"
		 "  weir leader --history\n"
		 "  weir leader resign\n"
		 "  weir leader --json | jq -r .leader.id\n"},
	{.name = "recover",
	 .args = "",
	 .summary = "after etcd was restored from a backup: what it costs, and accept it",
	 .run = recover,
	 .options = recover_options,
	 .help = "A store that went back in time contradicts what JobManagers, TaskManagers or "
		 "checkpoint\nstorage remember. Then nothing is changed until somebody accepts it. "
		 "Says first what that costs.\n\n"
		 "  weir recover\n"
		 "  weir recover --accept-store\n"},
	{.name = "release",
	 .args = "JOB",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "try a quarantined job again now",
	 .run = release,
	 .help = "A job whose opening killed three leaders is held for five minutes; its tasks "
		 "are left alone.\n\n"
		 "  weir release 0123456789abcdef0123456789abcdef\n"},
	{0}};
