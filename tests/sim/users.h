/*
 * users - who submits, cancels and looks, over REST, at any JobManager.
 *
 * They retry as the documentation says: a submission with an id of one's own,
 * and a cancellation, until the answer is definite; one without an id is not
 * repeated after an unknown outcome. What they see is held against what is recorded.
 */
#ifndef TESTS_SIM_USERS_H
#define TESTS_SIM_USERS_H

#include "cluster.h"

struct user *user_create(struct cluster *c, unsigned index); /* adds and starts its node */
void user_destroy(struct user *u);
/* Every plan of this seed. */
void users_plan(struct cluster *c);

#endif
