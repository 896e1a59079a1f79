/*
 * model_object - the model's snapshot object: a line of text for each subtask
 * and transaction.
 *
 *   weir-model 1
 *   source <subtask> <offset>
 *   sink <subtask> <sum> <count> <next of source 0> <1> <2>
 *   txn <sink> <attempt> <checkpoint>
 *   end
 */
#ifndef TESTS_SIM_MODEL_OBJECT_H
#define TESTS_SIM_MODEL_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cluster.h"
#include "ledger.h"

enum { TXNS_MAX = 64 };

struct model_source {
	bool here; /* of this worker, or found in what was restored */
	uint64_t offset;
};

struct model_txn {
	uint32_t attempt;
	uint64_t checkpoint;
};

struct model_sink {
	bool here;
	uint64_t sum, count;
	uint64_t next[PARALLELISM_MAX];
	unsigned n_txns; /* pre-committed, not confirmed; oldest first */
	struct model_txn txns[TXNS_MAX];
};

struct model_state {
	struct model_source sources[PARALLELISM_MAX];
	struct model_sink sinks[PARALLELISM_MAX];
};

void model_object_write(const struct model_state *s, struct buf *out);
/* Adds what the object holds to *s. False: it is not one. */
bool model_object_read(struct model_state *s, const char *bytes, size_t len);

#endif
