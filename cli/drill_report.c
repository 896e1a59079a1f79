#include "cli/drill_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/table.h"

unsigned drill_report_broken(const struct drill_report *r)
{
	char why[DRILL_WHY_MAX];
	unsigned broken = r->trouble != NULL;
	for (unsigned i = 0; i < r->n; i++)
		broken += !drill_judge(&r->results[i], why);
	return broken + !drill_judge_totals(&r->totals, why);
}

/* ---- the table ---- */

static const char *verdict_of(bool held, const char *why, char out[DRILL_WHY_MAX + 16])
{
	if (held)
		return "held";
	snprintf(out, DRILL_WHY_MAX + 16, "BROKEN: %s", why);
	return out;
}

static void print_result(struct table *t, const struct drill_result *r)
{
	char detected[TABLE_CELL_MAX], commanding[TABLE_CELL_MAX], gap[TABLE_CELL_MAX],
		tasks[TABLE_CELL_MAX], lost[TABLE_CELL_MAX], at[TABLE_CELL_MAX], why[DRILL_WHY_MAX],
		verdict[DRILL_WHY_MAX + 16];
	bool held = drill_judge(r, why);
	table_row(t, table_duration(r->at_ms, at), drill_kind(r->fault)->name,
		  r->victim[0] ? r->victim : "-", table_duration(r->detected_ms, detected),
		  table_duration(r->commanding_ms, commanding), table_duration(r->gap_ms, gap),
		  table_number(r->tasks_restarted, tasks), table_number(r->checkpoints_lost, lost),
		  "", "", verdict_of(held, why, verdict), NULL);
}

static void print_totals(struct table *t, const struct drill_report *r)
{
	char lost[TABLE_CELL_MAX] = "-", doubled[TABLE_CELL_MAX] = "-", tasks[TABLE_CELL_MAX],
	     checkpoints[TABLE_CELL_MAX], gap[TABLE_CELL_MAX], why[DRILL_WHY_MAX],
	     verdict[DRILL_WHY_MAX + 16];
	unsigned n_tasks = 0, n_checkpoints = 0;
	int64_t longest = -1;
	for (unsigned i = 0; i < r->n; i++) {
		n_tasks += r->results[i].tasks_restarted;
		n_checkpoints += r->results[i].checkpoints_lost;
		longest = r->results[i].gap_ms > longest ? r->results[i].gap_ms : longest;
	}
	if (r->totals.counted) {
		table_number(r->totals.lost, lost);
		table_number(r->totals.doubled, doubled);
	}
	bool held = drill_judge_totals(&r->totals, why);
	table_row(t, "", "all", "", "", "", table_duration(longest, gap),
		  table_number(n_tasks, tasks), table_number(n_checkpoints, checkpoints), lost,
		  doubled,
		  held && !r->totals.counted ? "not counted" : verdict_of(held, why, verdict),
		  NULL);
}

void drill_report_table(const struct drill_report *r)
{
	struct table t = {0};
	char took[TABLE_CELL_MAX];
	unsigned broken = drill_report_broken(r);
	table_row(&t, "AT", "FAULT", "STRUCK", "DETECTED", "NEXT LEADER", "LONGEST GAP",
		  "TASKS RESTARTED", "CHECKPOINTS LOST", "RECORDS LOST", "DOUBLED", "VERDICT",
		  NULL);
	for (unsigned i = 0; i < r->n; i++)
		print_result(&t, &r->results[i]);
	print_totals(&t, r);
	table_print(&t);
	if (r->trouble)
		printf("the drill did not come to its end: %s\n", r->trouble);
	printf("%u %s in %s", r->n, r->n == 1 ? "fault" : "faults",
	       table_duration(r->took_ms, took));
	if (r->totals.counted)
		printf(", %" PRId64 " records", r->totals.expected);
	if (r->seeded)
		printf(", seed %" PRIu64, r->seed);
	if (broken)
		printf(": %u promises BROKEN\n", broken);
	else
		printf(": all promises held\n");
}

/* ---- JSON ---- */

static json_t *ms_or_null(int64_t ms)
{
	return ms < 0 ? json_null() : json_integer(ms);
}

static json_t *result_json(const struct drill_result *r)
{
	char why[DRILL_WHY_MAX];
	bool held = drill_judge(r, why);
	return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:b, s:s}", "fault",
			 drill_kind(r->fault)->name, "struck", r->victim, "atMs",
			 (json_int_t)r->at_ms, "detectedMs", ms_or_null(r->detected_ms),
			 "nextLeaderMs", ms_or_null(r->commanding_ms), "recoveredMs",
			 ms_or_null(r->recovered_ms), "longestGapMs", ms_or_null(r->gap_ms),
			 "leaderChanges", (int)r->leaders, "tasksRestarted",
			 (int)r->tasks_restarted, "checkpointsLost", (int)r->checkpoints_lost,
			 "held", held, "why", why);
}

json_t *drill_report_json(const struct drill_report *r)
{
	json_t *faults = json_array();
	for (unsigned i = 0; i < r->n; i++)
		json_array_append_new(faults, result_json(&r->results[i]));
	json_t *o = json_pack("{s:s, s:I, s:I, s:o, s:b, s:I}", "scenario", r->scenario,
			      "startedMs", (json_int_t)r->started_wall_ms, "tookMs",
			      (json_int_t)r->took_ms, "faults", faults, "counted",
			      r->totals.counted, "broken", (json_int_t)drill_report_broken(r));
	if (r->seeded)
		json_object_set_new(o, "seed", json_integer((json_int_t)r->seed));
	if (r->trouble)
		json_object_set_new(o, "trouble", json_string(r->trouble));
	if (r->totals.counted) {
		json_object_set_new(o, "records", json_integer(r->totals.expected));
		json_object_set_new(o, "recordsLost", json_integer(r->totals.lost));
		json_object_set_new(o, "recordsDoubled", json_integer(r->totals.doubled));
	}
	return o;
}
