/*
 * effects - what the brain wants done, as data.
 *
 * A growing vector of effects in the order in which they are to be started.
 * Each effect owns its strings, documents and messages until
 * jm_effects_clear(). Completions come back as events that carry the effect's
 * job and token; a token is never used twice in a process.
 */
#ifndef JOBMANAGER_EFFECTS_H
#define JOBMANAGER_EFFECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"
#include "base/log.h"
#include "rest/control.h"

enum jm_effect_kind {
	JM_DECIDE,  /* one durable decision; comes back as JM_DECIDED. While SUSPENDED it goes on
	                    being resent; it always ends */
	JM_READ,    /* read a key (or all below a prefix); comes back as JM_READ_DONE */
	JM_COMMAND, /* one line for a command stream; no completion */
	JM_CLOSE_STREAM, /* end that stream after what was sent; JM_TM_GONE need not follow */
	JM_PROBE,    /* does anybody listen at `key`, an address? JM_TM_DEAD comes back only if the
	                 connection is refused; `token` is the ended stream's */
	JM_BLOB_PUT, /* put an object; comes back as JM_BLOB_DONE */
	JM_BLOB_REMOVE, /* remove all objects below a prefix (list, remove); JM_BLOB_DONE */
	JM_REPLY,       /* answer a request; `token` is the request's */
	JM_TRACE,       /* one line for the log */
	JM_MOMENT,      /* a test or drill may have this process killed here; `key` names it */
	JM_EFFECT_COUNT
};

struct jm_op {
	char *key;   /* owns */
	char *value; /* owns; NULL: delete */
	size_t len;
};

enum { JM_OPS_MAX = 64, JM_ABSENT_MAX = 2, JM_KEY_MAX = 192 };

struct jm_effect {
	enum jm_effect_kind kind;
	uint64_t token;
	struct job_id job;    /* "" if it concerns no job; echo it in the completion */
	char key[JM_KEY_MAX]; /* decide: chain key; read: key; blob: name or prefix */
	bool prefix;          /* read */
	uint64_t revision;    /* decide: the chain's expected mod_revision, 0: absent */
	char absent[JM_ABSENT_MAX][JM_KEY_MAX]; /* decide: keys that must not exist */
	unsigned n_absent;
	struct jm_op *ops; /* decide; owns */
	unsigned n_ops;
	unsigned moments;      /* decide: bits of enum moment, passed once it is confirmed */
	uint64_t registration; /* command, close stream */
	uint64_t stream;       /* command, close stream: token of the JM_TM_REGISTER event */
	struct control_command_msg *command; /* owns */
	char *data;                          /* blob put: owns */
	size_t len;
	enum errc code;       /* reply */
	enum log_level level; /* trace */
	char *text;           /* reply: a reason ("" if none); trace: the line; owns */
};

/* The zero value is empty. */
struct jm_effects {
	struct jm_effect *at; /* owns */
	size_t n, capacity;
};

void jm_effects_clear(struct jm_effects *fx); /* keeps no memory */

/* ---- for the cores: append one effect ---- */

/* A zeroed effect at the end; borrowed until the next append. */
struct jm_effect *effects_add(struct jm_effects *fx, enum jm_effect_kind kind);
/* Takes `value` (malloc); NULL: delete. Asserts JM_OPS_MAX. */
void effects_op(struct jm_effect *decide, const char *key, char *value);
void effects_reply(struct jm_effects *fx, uint64_t token, enum errc code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void effects_trace(struct jm_effects *fx, enum log_level level, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

#endif
