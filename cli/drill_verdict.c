#include "cli/drill_verdict.h"

#include <inttypes.h>
#include <stdio.h>

bool drill_judge(const struct drill_result *r, char why[DRILL_WHY_MAX])
{
	const struct drill_kind *k = drill_kind(r->fault);
	/* Frozen for less than a takeover takes, it may go on as if nothing had been. */
	bool must_change = k->commanding_ms >= 0 &&
			   (r->hold_ms == 0 || r->hold_ms >= (uint64_t)k->commanding_ms);
	why[0] = '\0';
	if (r->job_failed)
		snprintf(why, DRILL_WHY_MAX, "the job failed");
	else if (r->recovered_ms < 0)
		snprintf(why, DRILL_WHY_MAX, "not as before within %" PRIu64 " s",
			 k->recovered_ms / 1000);
	else if (r->tasks_restarted && !k->may_restart)
		snprintf(why, DRILL_WHY_MAX, "%u tasks restarted, none should be",
			 r->tasks_restarted);
	else if (must_change && r->commanding_ms < 0)
		snprintf(why, DRILL_WHY_MAX, "nobody took over");
	else if (must_change && r->commanding_ms > k->commanding_ms)
		snprintf(why, DRILL_WHY_MAX,
			 "the next leader took %" PRId64 " ms, at most %" PRId64 " ms are promised",
			 r->commanding_ms, k->commanding_ms);
	else if (r->leaders > k->leaders_max)
		snprintf(why, DRILL_WHY_MAX, "%u changes of leader, at most %u are promised",
			 r->leaders, k->leaders_max);
	return why[0] == '\0';
}

bool drill_judge_totals(const struct drill_totals *t, char why[DRILL_WHY_MAX])
{
	why[0] = '\0';
	if (t->counted && t->lost)
		snprintf(why, DRILL_WHY_MAX, "%" PRId64 " records lost", t->lost);
	else if (t->counted && t->doubled)
		snprintf(why, DRILL_WHY_MAX, "%" PRId64 " records doubled", t->doubled);
	return why[0] == '\0';
}
