/*
 * ids - identities that must not be mixed, each a struct of its own.
 *
 * A job id is 16 bytes, 32 lower-case hexadecimal digits on the wire; the
 * others are numbers that only grow.
 */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { ID_HEX = 32, ID_TEXT = ID_HEX + 1, NODE_ID_MAX = 64 };

struct job_id {
	char hex[ID_TEXT];
};

/* Who leads: the create_revision of the leader's candidate key. Grows from leader to leader. */
struct epoch {
	uint64_t v;
};

/* One execution of one region of a job. Grows for as long as the job lives; 0: never started. */
struct attempt {
	uint32_t v;
};

/* One checkpoint or savepoint of a job. Grows for as long as the job lives; 0: none. */
struct ckpt_id {
	uint64_t v;
};

MUST_CHECK enum errc job_id_parse(const char *text, struct job_id *out, struct err *e);
void job_id_make(uint64_t random_high, uint64_t random_low, struct job_id *out);
bool job_id_equal(const struct job_id *a, const struct job_id *b);
/* A node id (JobManager, TaskManager): 1 to 63 of A-Z a-z 0-9 . _ - */
MUST_CHECK enum errc node_id_check(const char *text, struct err *e);

#endif
