/*
 * sweep - which objects of checkpoint storage nobody needs. Pure.
 *
 *   list storage --> ask the leader (GET /v1/cluster/references) --> read the manifests that it
 *   names --> judge every name of the list
 *
 * In that order: the list is older than the answer, so what is being written for a checkpoint that
 * begins meanwhile is not in it. An object jobs/<job>/chk-<id>/<name> is
 *
 *   NEEDED   it is a manifest that etcd points to, or such a manifest names it
 *   OPEN     its checkpoint is in flight or not begun yet, as far as the answer knows
 *   UNSURE   its job's document or its checkpoint's manifest could not be read
 *   ORPHAN   none of these: it stays one for ever, since numbers of checkpoints only grow, what
 *            was given up or dropped is never taken back, and no name is used twice
 *   FOREIGN  its name is not of that form: not Weir's, never to be removed
 *
 * Ownership: a sweep owns what it was told; sweep_fini(). Input from outside is bounded and
 * checked; a manifest must have the checksum that the leader's answer gives it.
 */
#ifndef CLI_SWEEP_H
#define CLI_SWEEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"

enum { SWEEP_MANIFEST_MAX = 64 << 20 };

enum sweep_class { SWEEP_NEEDED, SWEEP_OPEN, SWEEP_UNSURE, SWEEP_ORPHAN, SWEEP_FOREIGN };

struct sweep_job {
	struct job_id id;
	bool readable;
	uint64_t open; /* the first checkpoint that may still be written */
};

/* A checkpoint that can be restored. */
struct sweep_pointer {
	struct job_id job;
	uint64_t id;
	char *manifest;
	char checksum[17]; /* "": not known */
	bool read;         /* its manifest was */
};

/* What a manifest names. */
struct sweep_object {
	char *name;
	uint64_t bytes, checksum;
	unsigned pointer;
};

struct sweep {
	char cluster_id[ID_TEXT];
	char *storage;          /* URL, as the leader says it */
	char *trouble;          /* "" or why nothing may be removed now */
	struct sweep_job *jobs; /* by id; the same id may come twice */
	size_t n_jobs;
	struct sweep_pointer *pointers;
	size_t n_pointers;
	struct sweep_object *needed; /* by name once sweep_ready() was called; not the manifests */
	size_t n_needed;
};

/* The answer of GET /v1/cluster/references; *out is initialised on success only. */
MUST_CHECK enum errc sweep_learn(const json_t *answer, struct sweep *out, struct err *e);
/* The manifest of pointer `i`, as it lies in storage. */
MUST_CHECK enum errc sweep_manifest(struct sweep *s, size_t i, const char *bytes, size_t len,
				    struct err *e);
void sweep_ready(struct sweep *s);
enum sweep_class sweep_judge(const struct sweep *s, const char *name);
/* Why an orphan is one: "its job is gone", ... */
const char *sweep_why(const struct sweep *s, const char *name);
/* Does etcd still point to this manifest? */
bool sweep_points_to(const struct sweep *s, const char *manifest);
void sweep_fini(struct sweep *s);

#endif
