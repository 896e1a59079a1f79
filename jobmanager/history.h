/*
 * history - keeps the record of changes of leader (failovers.h) in the store.
 *
 * A leader reads the ring HISTORY_LATER_MS after it began (the takeover has the
 * store first), adds the record of how it came to lead, and writes it again when
 * everything that it took over is settled, and once more when the first command
 * was sent; or after HISTORY_PATIENCE_MS.
 * Nothing waits for it: a store that refuses costs the record, not the leader.
 * The ring's key is its own chain.
 *
 * Threads: the loop's. Ownership: part of the node.
 */
#ifndef JOBMANAGER_HISTORY_H
#define JOBMANAGER_HISTORY_H

#include <jansson.h>
#include <stdbool.h>

#include "ha/ha.h"
#include "jobmanager/failovers.h"

struct jm_node;

enum { HISTORY_PATIENCE_MS = 30000, HISTORY_RETRY_MS = 2000, HISTORY_LATER_MS = 100 };

struct history {
	struct jm_node *node;
	struct failovers ring;
	bool leading, known; /* known: the ring was read */
	bool dirty;          /* our record is not written as it is now */
	bool told;           /* that all is settled */
	bool closed;         /* our record will not change any more */
	uint64_t revision;   /* of the key as last read or written */
	struct ha_read read;
	struct ha_txn txn;
	struct ha_op op;
	char *text; /* owns; of the write in flight */
	struct world_timer timer;
};

void history_init(struct history *h, struct jm_node *n);
void history_fini(struct history *h);
void history_lead(struct history *h);   /* the brain was told that it leads */
void history_follow(struct history *h); /* we do not lead any more */
void history_look(struct history *h);   /* the brain has stepped */
/* {"failovers":[newest first], "causes":{...}, "complete":b} */
json_t *history_json(const struct history *h);

#endif
