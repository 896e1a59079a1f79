/* Election, takeover, decisions and barriers against one real etcd. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "ha/tries.h"
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
	struct rig_candidate a, b, c;
	struct ha_status status;
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
	/* and with a takeover, whose one transaction is its barrier */
	rig_candidate(&rig, &c, "jm-3", 0, NULL);
	cr_assert(rig_await_role(&c, HA_FOLLOWING, 10000));
	ha_declare_dead(c.ha, b.config.instance, HA_CAUSE_KILLED, "by the test");
	cr_assert(rig_await_role(&c, HA_LEADING, 10000));
	cr_assert_eq(c.n_docs, 1100);
	cr_assert_str_eq(c.first_doc, "run/0000");
	ha_status(c.ha, &status);
	cr_assert_eq(status.tries->by_outcome[CALL_TAKE][TRY_ANSWERED], 1);
	cr_assert_eq(status.tries->by_outcome[CALL_BARRIER][TRY_ANSWERED], 0);
	rig_candidate_end(&b);
	rig_candidate_end(&c);
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

/* ---- stepping down, and candidacies that are taken away ---- */

static bool is_last(void *ctx)
{
	struct rig_candidate *c = ctx;
	struct ha_status s;
	ha_status(c->ha, &s);
	return s.n_members == 2 && s.members[1].self;
}

Test(lead, who_steps_down_queues_again_at_the_end)
{
	struct rig_candidate a, b;
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	uint64_t first = a.epoch, ra = 0;
	struct ha_resign r = {resigned};
	ha_note_sign(b.ha, a.config.instance, HA_SIGN_RESIGNING, world_now_ms(rig.w));
	ha_step_down(a.ha, &r);
	cr_assert_eq(rig_put(&a, "run/a", "1", &ra), ERR_UNAVAILABLE, "no new decision");
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert(rig_await(&rig, is_last, &a, 10000));
	const struct ha_takeover *t = ha_takeover(b.ha);
	cr_assert_eq(t->cause, HA_CAUSE_RESIGNED);
	cr_assert_eq(t->before.v, first);
	cr_assert_str_eq(t->before_id, "jm-1");
	/* and back again */
	ha_step_down(b.ha, &r);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	cr_assert_gt(a.epoch, b.epoch);
	cr_assert_eq(rig_put(&a, "run/a", "1", &ra), ERR_OK);
	rig_candidate_end(&a);
	rig_candidate_end(&b);
}

static bool queued_anew(void *ctx)
{
	struct rig_candidate *c = ctx;
	struct ha_status s;
	ha_status(c->ha, &s);
	for (size_t i = 0; i < s.n_members; i++)
		if (s.members[i].self && s.members[i].create_revision > c->epoch)
			return true;
	return false;
}

static uint64_t own_key(const struct rig_candidate *c)
{
	struct ha_status s;
	ha_status(c->ha, &s);
	for (size_t i = 0; i < s.n_members; i++)
		if (s.members[i].self)
			return s.members[i].create_revision;
	return 0;
}

/* As an etcd that thaws may do it. */
static void revoke_lease_of(const char *id)
{
	char text[4096], quoted[32], lease[32];
	rig_etcdctl(&rig, (const char *const[]){"get", "--prefix", "/weir/", NULL}, text,
		    sizeof text);
	snprintf(quoted, sizeof quoted, "\"%s\"", id);
	char *value = strstr(text, quoted), *key = NULL;
	cr_assert(value);
	*value = 0;
	for (char *at = text; (at = strstr(at, "/leader/")) != NULL;) {
		at += strlen("/leader/");
		key = at;
	}
	cr_assert(key);
	snprintf(lease, sizeof lease, "%.*s", (int)strcspn(key, "\n"), key);
	rig_etcdctl(&rig, (const char *const[]){"lease", "revoke", lease, NULL}, text, sizeof text);
}

Test(lead, who_loses_its_lease_while_waiting_enters_again)
{
	struct rig_candidate a, b;
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	cr_assert(rig_await(&rig, is_last, &b, 5000));
	b.epoch = own_key(&b); /* queued_anew() compares with it */
	uint64_t epoch = a.epoch;
	revoke_lease_of("jm-2");
	cr_assert(rig_await(&rig, queued_anew, &b, 5000));
	cr_assert_eq(a.role, HA_LEADING);
	cr_assert_eq(a.epoch, epoch, "the leader did not notice");
	rig_candidate_end(&a);
	rig_candidate_end(&b);
}

Test(lead, a_leader_that_loses_its_key_is_none_and_enters_again)
{
	struct rig_candidate a, b;
	uint64_t revision = 0;
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 10000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	ha_note_sign(b.ha, a.config.instance, HA_SIGN_HEARD, world_now_ms(rig.w));
	revoke_lease_of("jm-1");
	cr_assert(rig_await_role(&b, HA_LEADING, 5000));
	cr_assert_eq(ha_takeover(b.ha)->cause, HA_CAUSE_KEY_LOST);
	cr_assert(rig_await_role(&a, HA_FOLLOWING, 5000));
	cr_assert_eq(rig_put(&a, "run/a", "late", &revision), ERR_FENCED);
	cr_assert(rig_await(&rig, is_last, &a, 5000));
	rig_candidate_end(&a);
	rig_candidate_end(&b);
}

/* ---- what etcd knows of a lease ---- */

struct asked {
	struct ha_renewal renewal;
	bool done;
};

static void renewal_told(struct ha_renewal *r)
{
	MEM_OWNER(r, struct asked, renewal)->done = true;
}

static bool answer_came(void *ctx)
{
	return ((struct asked *)ctx)->done;
}

static uint64_t left_of(struct rig_candidate *c, const char *instance)
{
	struct asked a = {.renewal.done = renewal_told};
	ha_renewal(c->ha, &a.renewal, instance);
	cr_assert(rig_await(&rig, answer_came, &a, 5000));
	cr_assert_eq(a.renewal.err.code, ERR_OK, "%s", a.renewal.err.text);
	return a.renewal.left_s;
}

Test(lead, a_lease_that_is_not_renewed_shows_after_a_good_second)
{
	char instance[ID_TEXT];
	struct rig_candidate b;
	pid_t pid = leader_process(instance);
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 10000));
	for (int i = 0; i < 20; i++) {
		cr_assert_geq(left_of(&b, instance), 4, "it is renewed every 500 ms");
		rig_run_for(&rig, 50);
	}
	kill(pid, SIGSTOP);
	uint64_t from = world_now_ms(rig.w);
	while (left_of(&b, instance) > 3)
		rig_run_for(&rig, 20);
	uint64_t took = world_now_ms(rig.w) - from;
	cr_assert(took >= 400 && took <= 1600, "%llu", (unsigned long long)took);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_assert_eq(left_of(&b, "00000000000000000000000000000000"), 0, "no candidate");
	rig_candidate_end(&b);
}
