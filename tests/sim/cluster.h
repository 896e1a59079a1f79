/*
 * cluster - a whole Weir in one process and in virtual time: etcd members,
 * three JobManagers and two to four TaskManagers as they are (jm_node, agent),
 * workers as a model, users, and checkers that watch all of it.
 *
 *   users --REST--> jm-1..3 --etcd's bytes--> etcd-1..n      the simulator's
 *                      |  \--manifests--> sim_blob           network and faults
 *                 commands, reports
 *                      |
 *                  tm-1..m  --lines--> worker (model) --snapshots--> sim_blob
 *                                        |  plane: channels between subtasks
 *                                        v
 *                                      ledger: the outside that sinks write to
 *
 * Everything is drawn from the seed. A violation of a promise is noted by
 * check_fail(); the first one counts, and ends the run.
 *
 * Threads: one. Ownership: the cluster owns all of it.
 */
#ifndef TESTS_SIM_CLUSTER_H
#define TESTS_SIM_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/prng.h"
#include "jobmanager/node.h"
#include "taskmanager/agent.h"
#include "world/sim/sim.h"
#include "world/sim/sim_blob.h"
#include "world/sim/sim_etcd.h"

enum { JMS = 3, TMS_MAX = 4, JOBS_MAX = 4, USERS = 2, REGIONS_MAX = 2, PARALLELISM_MAX = 3 };

#define SIM_ROOT "/weir/sim/"

struct cluster;
struct plane;
struct ledger;
struct check;
struct user;
struct faults;

/* What this seed does at all; most is off in most seeds, so that each gets to act. */
struct swarm {
	unsigned n_etcd, n_tm, n_jobs, slots;
	uint64_t safety_ms;
	uint64_t fault_gap_ms; /* mean time between two faults */
	bool jm_crash, jm_pause, jm_resign, jm_all;
	bool tm_crash, tm_pause, worker_crash, task_fails;
	bool etcd_crash, etcd_pause, etcd_move, etcd_nospace, etcd_stale;
	bool cut_one, cut_both, isolate;
	bool blob_down, blob_errors, blob_slow;
	bool cancels;
	bool calm; /* the network loses nothing */
	/* nothing but JobManagers and etcd is disturbed: no task may restart */
	bool only_leaders;
};

struct jm_box {
	struct cluster *c;
	char name[8];
	struct blob_port *port;
	struct jm_node *node; /* NULL: down */
};

struct tm_box {
	struct cluster *c;
	char name[8], address[24];
	struct blob_port *port;
	struct agent *agent;           /* NULL: down */
	struct world_server data_port; /* who asks whether we are alive finds somebody listening */
	struct agent_config config;
};

struct job_plan {
	char id[33];
	char *spec; /* owns */
	unsigned n_regions;
	bool own_id, bounded, may_fail;
	bool accepted; /* a 202 was seen */
	bool cancel_wanted, cancel_accepted;
	bool to_release; /* it is quarantined: released before it can be cancelled */
	uint64_t submit_ms, cancel_ms;
};

struct cluster {
	uint64_t seed;
	struct sim *sim;
	struct sim_etcd *etcd;
	struct sim_blob *blobs;
	struct prng rng;
	struct swarm swarm;
	struct jm_box jms[JMS];
	struct tm_box tms[TMS_MAX];
	struct job_plan jobs[JOBS_MAX];
	struct user *users[USERS];
	struct plane *plane;
	struct list models; /* workers that live */
	struct ledger *ledger;
	struct check *check;
	struct faults *faults;
	bool healing;
};

struct cluster *cluster_create(uint64_t seed, uint64_t safety_ms); /* 0: of the seed */
void cluster_destroy(struct cluster *c);
/* Safety, then healing; false: a promise was broken (check_text()). */
bool cluster_play(struct cluster *c);

struct job_plan *cluster_job(struct cluster *c, const char *id); /* NULL: not of a plan */

#endif
