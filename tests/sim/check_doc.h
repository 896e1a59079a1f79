/*
 * check_doc - a job's hot document as a checker reads it, and its history.
 *
 * A reader of its own, on jansson alone: the code under test has no say in
 * what a document means here.
 */
#ifndef TESTS_SIM_CHECK_DOC_H
#define TESTS_SIM_CHECK_DOC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "cluster.h"
#include "rest/control.h"

enum { SEEN_FLIGHTS = 16, SEEN_RETAINED = 16, SEEN_SLOTS = 16, SEEN_TMS = 8, SEEN_CKPTS = 4096 };

struct seen_pointer {
	uint64_t id;
	char manifest[320], checksum[17];
};

struct seen_region {
	uint32_t attempt;
	struct seen_pointer restore;
	unsigned n_tms, n_slots;
	char instances[SEEN_TMS][ID_TEXT];
	unsigned owner[SEEN_SLOTS];
};

struct seen_flight {
	uint64_t id;
	uint32_t attempts[REGIONS_MAX];
};

struct doc_seen {
	char status[16], desired[8];
	uint64_t next_checkpoint, committed;
	unsigned n_regions, n_flights, n_retained;
	struct seen_region regions[REGIONS_MAX];
	struct seen_flight flights[SEEN_FLIGHTS];
	struct seen_pointer retained[SEEN_RETAINED];
};

bool doc_seen_read(struct doc_seen *d, const char *text, char why[256]);

enum ckpt_fate { CKPT_NEVER, CKPT_IN_FLIGHT, CKPT_COMPLETE, CKPT_GIVEN_UP };

struct history {
	struct list hook;
	char job[33];
	bool live, ended, was_running;
	char status[16]; /* once it ended */
	unsigned versions;
	uint64_t limit; /* at which its sources end */
	struct doc_seen now;
	uint64_t newest; /* ever */
	uint8_t fate[SEEN_CKPTS];
	uint32_t triggered[SEEN_CKPTS][REGIONS_MAX]; /* attempts */
	struct seen_region *attempts[REGIONS_MAX]; /* owns: every attempt as it was last recorded */
	unsigned n_attempts[REGIONS_MAX];
	char **cleanups; /* owns: prefixes that were recorded for removal */
	unsigned n_cleanups;
};

void history_destroy(struct history *h);
/* The next version. False: it does not follow. */
bool history_add(struct history *h, const char *value, struct sim_blob *blobs, char why[256]);
void history_cleanup(struct history *h, const char *value);
bool history_may_remove(const struct history *h, const char *name, char why[256]);
/* Does this command repeat what is, or was, recorded? */
bool history_allows(const struct history *h, const char *instance,
		    const struct control_command_msg *m, char why[256]);
uint64_t history_newest(const struct history *h);
unsigned history_slots(const struct history *h, const char *instance);
/* Where a source is in the newest completed checkpoint. False: there is none. */
bool history_source(const struct history *h, struct sim_blob *blobs, unsigned region,
		    uint32_t source, uint64_t *offset);

#endif
