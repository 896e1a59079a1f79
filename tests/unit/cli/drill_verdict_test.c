#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "cli/drill_verdict.h"

static struct drill_result good(enum drill_fault fault)
{
	return (struct drill_result){.fault = fault,
				     .detected_ms = 5,
				     .commanding_ms = 20,
				     .recovered_ms = 500,
				     .leaders = 1};
}

static void broken(const struct drill_result *r, const char *because)
{
	char why[DRILL_WHY_MAX];
	cr_expect(not(drill_judge(r, why)), "%s", because);
	cr_expect(strstr(why, because) != NULL, "\"%s\" does not say \"%s\"", why, because);
}

static void held(const struct drill_result *r)
{
	char why[DRILL_WHY_MAX];
	cr_expect(drill_judge(r, why), "%s", why);
	cr_expect(eq(str, why, ""));
}

Test(drill_verdict, a_killed_leader)
{
	struct drill_result r = good(DRILL_KILL_LEADER);
	held(&r);
	r.commanding_ms = 3001;
	broken(&r, "3001 ms");
	r.commanding_ms = -1;
	broken(&r, "nobody took over");
	r = good(DRILL_KILL_LEADER);
	r.tasks_restarted = 8;
	broken(&r, "8 tasks restarted");
	r = good(DRILL_KILL_LEADER);
	r.recovered_ms = -1;
	broken(&r, "not as before");
	r.job_failed = true;
	broken(&r, "the job failed");
	r = good(DRILL_KILL_LEADER);
	r.leaders = 3;
	broken(&r, "3 changes");
}

Test(drill_verdict, thawed_before_anybody_could_take_over)
{
	struct drill_result r = good(DRILL_FREEZE_LEADER);
	r.hold_ms = 300;
	r.commanding_ms = -1;
	r.leaders = 0;
	held(&r);
	r.hold_ms = 15000;
	broken(&r, "nobody took over");
}

Test(drill_verdict, tasks_may_restart_when_their_process_dies)
{
	struct drill_result r = good(DRILL_KILL_TASKMANAGER);
	r.leaders = 0;
	r.commanding_ms = -1;
	r.tasks_restarted = 8;
	held(&r);
	r.leaders = 1;
	broken(&r, "1 changes");
}

Test(drill_verdict, the_output)
{
	char why[DRILL_WHY_MAX];
	struct drill_totals t = {.counted = true, .expected = 10};
	cr_expect(drill_judge_totals(&t, why));
	t.lost = 1;
	cr_expect(not(drill_judge_totals(&t, why)));
	cr_expect(eq(str, why, "1 records lost"));
	t.lost = 0;
	t.doubled = 2;
	cr_expect(not(drill_judge_totals(&t, why)));
	cr_expect(eq(str, why, "2 records doubled"));
	t.counted = false;
	cr_expect(drill_judge_totals(&t, why));
}
