/*
 * failovers - the history of changes of leader: a bounded ring of records, and
 * how often each cause was seen, as one JSON document in the store
 * (`history/_cluster/failovers`).
 *
 *   {"format":1, "tag":..., "causes":{"killed":3}, "failovers":[{...}, ...]}   newest last
 *
 * A record is about one epoch; giving it again replaces it (a leader records
 * what it knows as it begins, and again when all is settled). What cannot be
 * read is dropped and begun anew: nothing depends on it. Pure; one thread.
 */
#ifndef JOBMANAGER_FAILOVERS_H
#define JOBMANAGER_FAILOVERS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ids.h"
#include "jobmanager/counts.h"

enum { FAILOVERS_MAX = 32, FAILOVERS_BYTES_MAX = 64 << 10 };

#define FAILOVERS_KEY "history/_cluster/failovers"

struct failover { /* texts are borrowed; times of the world's clock, 0: does not apply */
	uint64_t epoch, before_epoch;
	const char *leader, *leader_instance;
	const char *before, *before_instance, *before_address; /* "": nobody was seen */
	const char *cause, *why;
	int64_t wall_ms; /* when it had read the documents */
	uint64_t heard_ms, suspected_ms, confirmed_ms, key_gone_ms, barrier_ms, read_ms;
	struct counts_takeover did;
};

struct failovers {
	json_t *list;   /* owns; newest last */
	json_t *causes; /* owns; {"killed": n} */
};

void failovers_init(struct failovers *f);
void failovers_fini(struct failovers *f);
/* Take what the store holds; text NULL: nothing. */
void failovers_read(struct failovers *f, const char *text, size_t len);
void failovers_put(struct failovers *f, const struct failover *record);
char *failovers_text(const struct failovers *f, const char *tag); /* to be freed */

#endif
