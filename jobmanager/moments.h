/*
 * moments - the named moments of a leader's work at which it may die, and
 * which a test or drill may choose (base/killpoint.h). jobmanager/README.md has
 * the table of what the next leader does at each.
 *
 * A decision is of one or more kinds; when the store has confirmed it, and
 * before the brain is told, the moments of its kinds are passed: it is recorded and
 * nobody knows. The moments of commands are passed once they have left.
 * A bit set of enum moment: SM_TO-like, 1 << moment.
 */
#ifndef JOBMANAGER_MOMENTS_H
#define JOBMANAGER_MOMENTS_H

#include <stdbool.h>

#include "jobmanager/doc.h"
#include "rest/control.h"

enum moment {
	/* recorded */
	MOMENT_JOB,        /* a job exists; its client was not answered */
	MOMENT_PLACEMENT,  /* slots are given; nobody was told to prepare */
	MOMENT_ATTEMPT,    /* attempt + 1; nothing of the old one was cancelled */
	MOMENT_CHECKPOINT, /* an id is handed out; nobody was told to start */
	MOMENT_POINTER,    /* completed; nobody was told to commit */
	MOMENT_GIVEN_UP,   /* given up; nobody was told to release */
	MOMENT_CANCEL,     /* the intent; its client was not answered */
	MOMENT_FAIL,
	MOMENT_TERMINAL, /* FINISHED, FAILED or CANCELED; no worker was told */
	MOMENT_CLEANUP,  /* files were removed, and their entry deleted */
	/* sent */
	MOMENT_PREPARED, /* prepare */
	MOMENT_RUN,
	MOMENT_TRIGGERED,
	MOMENT_COMPLETED, /* complete */
	MOMENT_ABORTED,
	MOMENT_ENDED, /* finish or cancel */
	MOMENT_COUNT
};

const char *moment_name(enum moment moment); /* "leader-checkpoint-recorded" */
/* Of a decision that makes `after` of `before`. */
unsigned moments_of(const struct doc *before, const struct doc *after, bool created);
unsigned moments_of_command(enum control_command kind);

#endif
