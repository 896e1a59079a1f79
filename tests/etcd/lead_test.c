/* Election, takeover, decisions and barriers against one real etcd. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"
#include "world/ev.h"

static struct rig rig;

static void up(void)
{
	rig_init(&rig, 1);
	rig_start(&rig);
}

static void down(void)
{
	rig_fini(&rig);
}

TestSuite(lead, .init = up, .fini = down, .timeout = 60);

static bool sees_three(void *ctx)
{
	struct rig_candidate *c = ctx;
	return c[0].n_members == 3 && c[1].n_members == 3 && c[2].n_members == 3;
}

Test(lead, candidates_queue_and_one_leads)
{
	struct rig_candidate c[3];
	rig_candidate(&rig, &c[0], "jm-1", 0, NULL);
	cr_assert(rig_await_role(&c[0], HA_LEADING, 10000));
	rig_candidate(&rig, &c[1], "jm-2", 0, NULL);
	cr_assert(rig_await_role(&c[1], HA_FOLLOWING, 10000));
	rig_candidate(&rig, &c[2], "jm-3", 0, NULL);
	cr_assert(rig_await_role(&c[2], HA_FOLLOWING, 10000));
	cr_assert(rig_await(&rig, sees_three, c, 10000));
	cr_assert_str_eq(c[2].leader_id, "jm-1");
	/* what etcd's own tool takes for the leader of an election with this name */
	char out[4096];
	const char *const args[] = {"get",
				    "--prefix",
				    "--limit=1",
				    "--sort-by=CREATE",
				    "--order=ASCEND",
				    "--print-value-only",
				    "/weir/test/leader/",
				    NULL};
	rig_etcdctl(&rig, args, out, sizeof out);
	cr_assert(strstr(out, "\"id\":\"jm-1\"") != NULL, "%s", out);
	for (int i = 0; i < 3; i++)
		rig_candidate_end(&c[i]);
}

Test(lead, decisions_chain_and_conflict)
{
	struct rig_candidate c;
	char text[64];
	rig_candidate(&rig, &c, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&c, HA_LEADING, 10000));
	cr_assert_eq(c.n_docs, 0);
	uint64_t revision = 0, read = 0, stale = 0;
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	cr_assert_eq(rig_get(&c, "run/a", text, sizeof text, &read), ERR_OK);
	cr_assert_eq(read, revision);
	cr_assert_eq(rig_put(&c, "run/a", "x", &stale), ERR_CONFLICT);
	cr_assert_eq(rig_put(&c, "run/a", "2", &revision), ERR_OK);
	rig_get(&c, "run/a", text, sizeof text, NULL);
	cr_assert_str_eq(text, "2");
	cr_assert_eq(rig_put(&c, "run/a", NULL, &revision), ERR_OK, "delete");
	cr_assert_eq(revision, 0);
	cr_assert_eq(rig_put(&c, "run/a", "3", &revision), ERR_OK, "created again");
	cr_assert_eq(rig_barrier(&c), ERR_OK);
	rig_candidate_end(&c);
}

static void resigned(struct ha_resign *r)
{
	(void)r;
}

Test(lead, resigning_hands_over_at_once_with_documents)
{
	struct rig_candidate a, b;
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	uint64_t revision = 0;
	cr_assert_eq(rig_put(&a, "run/a", "1", &revision), ERR_OK);
	struct ha_resign r = {resigned};
	uint64_t from = world_now_ms(rig.w), epoch = a.epoch;
	ha_resign(a.ha, &r);
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert_lt(b.role_at_ms - from, 1000, "took %llu ms",
		     (unsigned long long)(b.role_at_ms - from));
	cr_assert_gt(b.epoch, epoch);
	cr_assert_eq(b.n_docs, 1);
	cr_assert_str_eq(b.first_doc, "run/a");
	rig_candidate_end(&a);
	rig_candidate_end(&b);
}

Test(lead, more_documents_than_a_page_come_with_the_lead)
{
	struct rig_candidate a, b;
	char key[16];
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	for (int i = 0; i < 1100; i++) {
		uint64_t revision = 0;
		snprintf(key, sizeof key, "run/%04d", i);
		cr_assert_eq(rig_put(&a, key, "1", &revision), ERR_OK);
	}
	rig_candidate_leave(&a);
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert_eq(b.n_docs, 1100);
	cr_assert_str_eq(b.first_doc, "run/0000");
	rig_candidate_leave(&b);
}

/* A candidate in a process of its own, which tells its instance and then leads until killed. */
static pid_t leader_process(char instance[ID_TEXT])
{
	int fds[2];
	cr_assert_eq(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct rig mine = rig;
		struct rig_candidate c;
		struct err e;
		mine.w = world_ev_create(&e);
		rig_candidate(&mine, &c, "jm-1", 0, NULL);
		if (!rig_await_role(&c, HA_LEADING, 10000))
			_exit(1);
		if (write(fds[1], c.config.instance, ID_TEXT) != ID_TEXT)
			_exit(1);
		rig_run_for(&mine, 600000);
		_exit(0);
	}
	cr_assert_eq(read(fds[0], instance, ID_TEXT), ID_TEXT);
	close(fds[0]);
	close(fds[1]);
	return pid;
}

Test(lead, a_killed_holder_is_replaced_by_verdict)
{
	char instance[ID_TEXT];
	struct rig_candidate b;
	pid_t pid = leader_process(instance);
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	uint64_t from = world_now_ms(rig.w);
	ha_declare_dead(b.ha, instance, HA_CAUSE_KILLED, "killed by the test");
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert_lt(b.role_at_ms - from, 1000);
	cr_assert_eq(b.n_members, 1);
	rig_candidate_end(&b);
}

Test(lead, a_killed_holder_is_replaced_when_its_lease_ends)
{
	char instance[ID_TEXT];
	struct rig_candidate b;
	pid_t pid = leader_process(instance);
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	uint64_t from = world_now_ms(rig.w);
	cr_assert(rig_await_role(&b, HA_LEADING, 12000));
	cr_assert_gt(b.role_at_ms - from, 2000, "not before the lease ends");
	rig_candidate_end(&b);
}

Test(lead, a_deposed_leader_changes_nothing)
{
	struct rig_candidate a, b;
	char text[64];
	uint64_t ra = 0, rb = 0;
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	cr_assert_eq(rig_put(&a, "run/a", "1", &ra), ERR_OK);
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	uint64_t epoch = a.epoch;
	ha_declare_dead(b.ha, a.config.instance, HA_CAUSE_KILLED, "a wrong verdict");
	/* a's decisions meet the takeover at any moment: each is carried out or fenced */
	enum errc rc = ERR_OK;
	while (rc == ERR_OK && b.role != HA_LEADING)
		rc = rig_put(&a, "run/a", "a", &ra);
	cr_assert(rc == ERR_OK || rc == ERR_FENCED, "%s", err_name(rc));
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert(rig_await_role(&a, HA_FOLLOWING, 10000));
	cr_assert_eq(rig_put(&a, "run/a", "late", &ra), ERR_FENCED);
	cr_assert_eq(rig_barrier(&a), ERR_FENCED);
	cr_assert_gt(b.epoch, epoch);
	rig_get(&b, "run/a", text, sizeof text, &rb);
	cr_assert_str_neq(text, "late");
	cr_assert_eq(rig_put(&b, "run/a", "b", &rb), ERR_OK);
	rig_candidate_end(&a);
	rig_candidate_end(&b);
}
