/* What etcd's faults cost a leader, against real members. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "ha/members.h"
#include "rig.h"

static struct rig rig;

static void down(void)
{
	rig_fini(&rig);
}

TestSuite(fault, .fini = down, .timeout = 120);

static void up(unsigned members)
{
	rig_init(&rig, members);
	rig_start(&rig);
}

static bool no_longer_suspended(void *ctx)
{
	return ((struct rig_candidate *)ctx)->role != HA_SUSPENDED;
}

Test(fault, without_a_quorum_the_leader_is_suspended_and_goes_on_with_its_epoch)
{
	struct rig_candidate c;
	uint64_t revision = 0;
	up(3);
	rig_candidate(&rig, &c, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&c, HA_LEADING, 20000));
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	uint64_t epoch = c.epoch;
	/* killed followers, as a leader of etcd that is frozen revokes leases when it thaws */
	unsigned leader = rig_etcd_leader(&rig);
	unsigned a = (leader + 1) % 3, b = (leader + 2) % 3;
	rig_signal(&rig, a, SIGKILL);
	rig_signal(&rig, b, SIGKILL);
	cr_assert(rig_await_role(&c, HA_SUSPENDED, 10000));
	rig_run_for(&rig, 20000); /* four leases */
	cr_assert_eq(rig_put(&c, "run/a", "2", &revision), ERR_UNAVAILABLE);
	cr_assert_eq(rig_barrier(&c), ERR_UNAVAILABLE);
	struct ha_status status;
	ha_status(c.ha, &status);
	cr_assert_eq(status.epoch.v, epoch);
	cr_assert_str_neq(status.trouble, "");
	rig_run_member(&rig, a);
	rig_run_member(&rig, b);
	cr_assert(rig_await(&rig, no_longer_suspended, &c, 30000));
	cr_assert_eq(c.role, HA_LEADING);
	cr_assert_eq(c.epoch, epoch);
	cr_assert_eq(c.leads, 2);
	cr_assert_eq(c.follows, 1, "never followed again");
	cr_assert_eq(rig_put(&c, "run/a", "2", &revision), ERR_OK);
	rig_candidate_leave(&c);
}

static void suspend_nothing(unsigned fault_signal)
{
	struct rig_candidate c;
	uint64_t revision = 0;
	up(3);
	unsigned leader = rig_etcd_leader(&rig);
	rig_candidate(&rig, &c, "jm-1", leader, NULL);
	cr_assert(rig_await_role(&c, HA_LEADING, 20000));
	cr_assert_eq(rig_put(&c, "run/a", "0", &revision), ERR_OK);
	rig_signal(&rig, leader, (int)fault_signal);
	uint64_t from = world_now_ms(rig.w);
	/* the decision in hand is repeated at the others until one carries it out */
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	cr_assert_lt(world_now_ms(rig.w) - from, 4000);
	cr_assert_eq(c.suspends, 0, "an election of etcd is shorter than the lease");
	if (fault_signal == SIGSTOP)
		rig_signal(&rig, leader, SIGCONT);
	cr_assert_eq(rig_put(&c, "run/a", "2", &revision), ERR_OK);
	rig_candidate_leave(&c);
}

Test(fault, a_killed_etcd_leader_costs_no_lead)
{
	suspend_nothing(SIGKILL);
}

Test(fault, a_frozen_etcd_leader_costs_no_lead)
{
	suspend_nothing(SIGSTOP);
}

/* ---- members that only etcd's own list names ---- */

static void know_one(struct ha_config *config)
{
	config->n_endpoints = 1;
}

static void know_one_and_learn_nothing(struct ha_config *config)
{
	config->n_endpoints = 1;
	config->fixed = true;
}

static bool knows_three(void *ctx)
{
	struct ha_status status;
	ha_status(((struct rig_candidate *)ctx)->ha, &status);
	return status.etcd->n_used == 3;
}

static bool suspended(void *ctx)
{
	return ((struct rig_candidate *)ctx)->role == HA_SUSPENDED;
}

Test(fault, the_other_members_are_learnt_from_etcd)
{
	struct rig_candidate c, fixed;
	uint64_t revision = 0;
	up(3);
	unsigned known = (rig_etcd_leader(&rig) + 1) % 3;
	rig_candidate(&rig, &c, "jm-1", known, know_one);
	cr_assert(rig_await_role(&c, HA_LEADING, 20000));
	cr_assert(rig_await(&rig, knows_three, &c, 10000));
	rig_signal(&rig, known, SIGKILL);
	uint64_t from = world_now_ms(rig.w);
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	cr_assert_lt(world_now_ms(rig.w) - from, 4000);
	rig_run_for(&rig, 6000); /* more than a lease: it is renewed as well */
	cr_assert_eq(c.role, HA_LEADING);
	cr_assert_eq(c.suspends, 0);
	/* a member that is taken out of etcd is not asked for ever, see unit members */
	rig_candidate_leave(&c);

	rig_run_member(&rig, known);
	rig_candidate(&rig, &fixed, "jm-2", known, know_one_and_learn_nothing);
	cr_assert(rig_await_role(&fixed, HA_LEADING, 20000));
	rig_run_for(&rig, 1000);
	cr_assert_not(knows_three(&fixed));
	rig_signal(&rig, known, SIGKILL);
	cr_assert(rig_await(&rig, suspended, &fixed, 10000), "the test can fail");
	rig_candidate_end(&fixed);
}

static void be_dedicated(struct ha_config *config)
{
	config->dedicated = true;
}

static bool sees_nospace(void *ctx)
{
	struct ha_status status;
	ha_status(((struct rig_candidate *)ctx)->ha, &status);
	return status.nospace;
}

static void fill(void)
{
	struct buf value = {0}, body = {0};
	char out[1024], *megabyte = calloc(1, 1 << 20);
	int status = 200;
	text_base64(&value, megabyte, 1 << 20);
	buf_printf(&body, "{\"key\":\"ZmlsbA==\",\"value\":\"%s\"}", value.data);
	for (int i = 0; i < 40 && status == 200; i++)
		rig_post(&rig, 0, "/v3/kv/put", body.data, out, sizeof out, &status);
	cr_assert_neq(status, 200, "the quota holds");
	buf_fini(&value);
	buf_fini(&body);
	free(megabyte);
}

Test(fault, out_of_space_the_lead_still_changes_hands)
{
	struct rig_candidate a, b;
	struct err e;
	uint64_t revision = 0;
	rig_init(&rig, 1);
	rig.flags[0] = "--quota-backend-bytes=16777216";
	rig_start(&rig);
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 20000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 20000));
	fill();
	cr_assert_eq(rig_put_text(&a, "run/a", "1", &revision, &e), ERR_UNAVAILABLE);
	cr_assert(text_starts(e.text, "NOSPACE"), "%s", e.text);
	cr_assert_eq(rig_barrier(&a), ERR_OK, "a barrier needs no space");
	cr_assert(rig_await(&rig, sees_nospace, &a, 12000));
	ha_declare_dead(b.ha, a.config.instance, HA_CAUSE_KILLED, "by the test");
	cr_assert(rig_await_role(&b, HA_LEADING, 10000));
	cr_assert_eq(rig_barrier(&b), ERR_OK);
	rig_candidate_end(&a);
	rig_candidate_leave(&b);
}

static bool has_space(void *ctx)
{
	return !sees_nospace(ctx);
}

Test(fault, a_dedicated_etcd_is_given_space_again)
{
	struct rig_candidate a;
	uint64_t revision = 0;
	rig_init(&rig, 1);
	rig.flags[0] = "--quota-backend-bytes=16777216";
	rig_start(&rig);
	rig_candidate(&rig, &a, "jm-1", 0, be_dedicated);
	cr_assert(rig_await_role(&a, HA_LEADING, 20000));
	fill();
	cr_assert_eq(rig_put(&a, "run/a", "1", &revision), ERR_UNAVAILABLE);
	cr_assert(rig_await(&rig, sees_nospace, &a, 12000));
	cr_assert(rig_await(&rig, has_space, &a, 30000));
	cr_assert_eq(rig_put(&a, "run/a", "1", &revision), ERR_OK);
	rig_candidate_leave(&a);
}

Test(fault, compaction_does_not_hurt_a_follower)
{
	struct rig_candidate a, b;
	uint64_t revision = 0;
	char out[512], body[64];
	up(1);
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 20000));
	rig_candidate(&rig, &b, "jm-2", 0, NULL);
	cr_assert(rig_await_role(&b, HA_FOLLOWING, 20000));
	for (int i = 0; i < 20; i++)
		cr_assert_eq(rig_put(&a, "run/a", "1", &revision), ERR_OK);
	snprintf(body, sizeof body, "{\"revision\":\"%llu\"}", (unsigned long long)revision);
	int status;
	rig_post(&rig, 0, "/v3/kv/compaction", body, out, sizeof out, &status);
	cr_assert_eq(status, 200);
	/* the member is gone for a moment: the watch is lost, its revision compacted */
	rig_signal(&rig, 0, SIGKILL);
	rig_run_member(&rig, 0);
	cr_assert_eq(rig_put(&a, "run/a", "2", &revision), ERR_OK);
	rig_candidate_leave(&a);
	cr_assert(rig_await_role(&b, HA_LEADING, 3000), "told by the watch, not by the lease");
	rig_candidate_leave(&b);
}

/* ---- a store that went back in time ---- */

static void save_backup(char file[96])
{
	char out[4096];
	snprintf(file, 96, "%s/backup", rig.dir);
	const char *const save[] = {"snapshot", "save", file, NULL};
	rig_etcdctl(&rig, save, out, sizeof out);
}

/* The only member dies, and comes back with what it had then, as the same cluster or another. */
static void restore_as(const char *file, const char *token)
{
	char dir[96], peer[64], cluster[80], out[4096];
	rig_signal(&rig, 0, SIGKILL);
	snprintf(dir, sizeof dir, "%s/m0", rig.dir);
	rig_shell(&rig, "rm -rf $RIG/m0");
	snprintf(peer, sizeof peer, "http://127.0.0.1:%u", rig.members[0].peer_port);
	snprintf(cluster, sizeof cluster, "m0=%s", peer);
	const char *const restore[] = {"snapshot", "restore",
				       file,       "--name",
				       "m0",       "--data-dir",
				       dir,        "--initial-cluster",
				       cluster,    "--initial-advertise-peer-urls",
				       peer,       "--initial-cluster-token",
				       token,      NULL};
	rig_etcdctl(&rig, restore, out, sizeof out);
	rig_run_member(&rig, 0);
}

static void restore_backup(const char *file)
{
	restore_as(file, rig.dir);
}

Test(fault, a_restored_backup_is_noticed_and_nothing_is_decided)
{
	struct rig_candidate a;
	uint64_t ra = 0, rb = 0;
	char file[96];
	up(1);
	rig_candidate(&rig, &a, "jm-1", 0, NULL);
	cr_assert(rig_await_role(&a, HA_LEADING, 20000));
	cr_assert_eq(rig_put(&a, "run/a", "1", &ra), ERR_OK);
	save_backup(file);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(rig_put(&a, "run/a", "2", &ra), ERR_OK);
	restore_backup(file);
	enum errc rc = rig_put(&a, "run/b", "new", &rb);
	cr_assert_eq(rc, ERR_CORRUPT, "%s", err_name(rc));
	cr_assert(rig_await_role(&a, HA_SUSPENDED, 3000));
	struct ha_status status;
	ha_status(a.ha, &status);
	cr_assert(status.regressed);
	cr_assert(strstr(status.trouble, "went back in time") != NULL, "%s", status.trouble);
	cr_assert_eq(rig_put(&a, "run/a", "3", &ra), ERR_CORRUPT);
	rig_candidate_end(&a);
}

static bool regressed(void *ctx)
{
	struct ha_status status;
	ha_status(((struct rig_candidate *)ctx)->ha, &status);
	return status.regressed;
}

struct sight {
	struct rig_candidate *by;
	uint64_t revision;
};

static bool has_seen(void *ctx)
{
	const struct sight *x = ctx;
	struct ha_status status;
	ha_status(x->by->ha, &status);
	return status.revision >= x->revision;
}

/* Two candidates; the second knows of writes after the backup. */
static void lead_beyond_backup(struct rig_candidate c[2], char file[96], bool young)
{
	struct sight last = {.by = &c[1]};
	uint64_t before = 0;
	up(1);
	rig_candidate(&rig, &c[0], "jm-1", 0, NULL);
	cr_assert(rig_await_role(&c[0], HA_LEADING, 20000));
	cr_assert_eq(rig_put(&c[0], "run/a", "1", &before), ERR_OK);
	if (young) { /* one that has left by now: these two are unknown to the backup */
		save_backup(file);
		rig_candidate_leave(&c[0]);
		rig_candidate(&rig, &c[0], "jm-1", 0, NULL);
		cr_assert(rig_await_role(&c[0], HA_LEADING, 20000));
	}
	rig_candidate(&rig, &c[1], "jm-2", 0, NULL);
	cr_assert(rig_await_role(&c[1], HA_FOLLOWING, 20000));
	if (!young)
		save_backup(file);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(rig_put(&c[0], "run/b", "2", &last.revision), ERR_OK);
	cr_assert(rig_await(&rig, has_seen, &last, 5000));
}

static bool one_is_there(void *ctx)
{
	struct rig_candidate *c = ctx;
	return c[0].role == HA_SUSPENDED || c[1].role == HA_SUSPENDED;
}

/* Somebody can be asked to accept the store, knows its documents, and decides nothing. */
static void check_suspended(struct rig_candidate *c)
{
	uint64_t revision = 0;
	cr_assert_eq(c->role, HA_SUSPENDED);
	cr_assert(regressed(c));
	cr_assert_eq(c->n_docs, 1);
	cr_assert_str_eq(c->first_doc, "run/a");
	cr_assert_eq(rig_put(c, "run/c", "new", &revision), ERR_CORRUPT);
}

/* Its takeover is the first that shows it. */
Test(fault, a_takeover_in_a_restored_store_never_leads)
{
	struct rig_candidate c[2];
	char file[96];
	lead_beyond_backup(c, file, false);
	restore_backup(file);
	ha_declare_dead(c[1].ha, c[0].config.instance, HA_CAUSE_KILLED, "by the test");
	cr_assert(rig_await(&rig, regressed, &c[1], 10000));
	cr_assert(rig_await_role(&c[1], HA_SUSPENDED, 10000));
	cr_assert_eq(c[1].leads, 0, "it led for a turn");
	check_suspended(&c[1]);
	rig_candidate_end(&c[0]);
	rig_candidate_end(&c[1]);
}

/* Every answer of a cluster with another id shows it, to standbys too. */
Test(fault, a_standby_follows_a_leader_that_dies_in_a_restored_store)
{
	struct rig_candidate c[2];
	char file[96];
	lead_beyond_backup(c, file, false);
	restore_as(file, "another");
	cr_assert(rig_await_role(&c[0], HA_SUSPENDED, 10000));
	cr_assert(rig_await(&rig, regressed, &c[1], 10000));
	rig_candidate_end(&c[0]);
	cr_assert(rig_await_role(&c[1], HA_SUSPENDED, 20000));
	cr_assert_eq(c[1].leads, 0);
	check_suspended(&c[1]);
	rig_candidate_end(&c[1]);
}

Test(fault, candidates_that_a_restored_store_does_not_know_queue_again)
{
	struct rig_candidate c[2];
	char file[96];
	lead_beyond_backup(c, file, true);
	unsigned led = c[0].leads;
	restore_as(file, "another");
	cr_assert(rig_await(&rig, regressed, &c[0], 10000));
	cr_assert(rig_await(&rig, regressed, &c[1], 10000));
	cr_assert(rig_await_role(&c[0], HA_FOLLOWING, 10000));
	cr_assert(rig_await(&rig, one_is_there, c, 20000));
	cr_assert_eq(c[0].leads, led);
	cr_assert_eq(c[1].leads, 0);
	check_suspended(c[0].role == HA_SUSPENDED ? &c[0] : &c[1]);
	rig_candidate_end(&c[0]);
	rig_candidate_end(&c[1]);
}

/* Its barrier is the first that shows it. */
Test(fault, a_suspended_leader_does_not_resume_in_a_restored_store)
{
	struct rig_candidate c[2];
	char file[96];
	lead_beyond_backup(c, file, false);
	rig_candidate_leave(&c[1]);
	rig_signal(&rig, 0, SIGKILL);
	cr_assert(rig_await_role(&c[0], HA_SUSPENDED, 20000));
	restore_backup(file);
	cr_assert(rig_await(&rig, regressed, &c[0], 20000));
	cr_assert_eq(c[0].role, HA_SUSPENDED);
	cr_assert_eq(c[0].leads, 1);
	rig_candidate_end(&c[0]);
}
