/*
 * faults - what goes wrong, and when it is put right again: drawn from the
 * seed, one stream of its own. Each fault narrates itself.
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "cluster.h"

struct swarm swarm_of_seed(uint64_t seed, uint64_t safety_ms, struct sim_knobs *knobs);
void swarm_print(const struct swarm *s, struct buf *out);

struct faults *faults_create(struct cluster *c);
void faults_destroy(struct faults *f);
/* Stop them and repair a core that suffices: most of etcd, a JobManager, slots, storage. */
void faults_heal(struct faults *f);
unsigned faults_count(const struct faults *f);

#endif
