/*
 * preface - the first 64 bytes of every data connection between two workers.
 *
 * They are sent in clear by the connecting worker to the TaskManager's one data
 * port. The agent there reads exactly these bytes, finds the worker that they
 * name, and passes it the socket together with them (one message over the
 * worker's descriptor 4: the 64 bytes as data, the socket by SCM_RIGHTS).
 * Everything after them, TLS included, is between the two workers.
 *
 *   offset size
 *        0    8  "WEIRDATA"
 *        8    2  version, 1
 *       10    2  region
 *       12    4  attempt
 *       16   32  job id, lower-case hexadecimal digits
 *       48    4  sender: index of the connecting worker in the run command's peers
 *       52    4  receiver: index of the addressed worker there
 *       56    8  zero
 *
 * Integers are little-endian. A decoder accepts nothing else; what is not a
 * preface, or names no worker here, is closed without an answer.
 */
#ifndef TASKMANAGER_PREFACE_H
#define TASKMANAGER_PREFACE_H

#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"

enum { PREFACE_BYTES = 64, PREFACE_VERSION = 1 };

struct preface {
	struct job_id job;
	uint32_t region; /* at most 65535 */
	struct attempt attempt;
	uint32_t sender, receiver;
};

void preface_encode(const struct preface *p, unsigned char out[PREFACE_BYTES]);
MUST_CHECK enum errc preface_decode(const unsigned char in[PREFACE_BYTES], struct preface *out,
				    struct err *e);

#endif
