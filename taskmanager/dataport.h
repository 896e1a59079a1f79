/*
 * dataport - the one TCP port on which this TaskManager's workers are reached.
 *
 *   peer's worker --TCP: preface--> [ dataport thread ] --SCM_RIGHTS--> worker, descriptor 4
 *
 * A thread of its own accepts connections, reads the 64 bytes of the preface
 * (taskmanager/preface.h) within DATAPORT_PREFACE_MS, finds the worker by (job,
 * region, attempt) and passes it the socket, with the preface as the message's
 * data. Sockets are close-on-exec and TCP_NODELAY. What names no worker here,
 * is late or is garbage is closed without an answer: the peer tries again or
 * gives up. A worker that does not take its sockets (queue full) loses them.
 *
 * Ownership: the dataport owns its listening socket, connections under way and
 * one end of each worker's unix socket. Threads: open, close and destroy from
 * one thread; the dataport's own thread is private.
 * Limits: DATAPORT_PENDING_MAX connections whose preface is not complete; above
 * that the oldest is closed.
 */
#ifndef TASKMANAGER_DATAPORT_H
#define TASKMANAGER_DATAPORT_H

#include "base/err.h"
#include "base/ids.h"

enum { DATAPORT_PREFACE_MS = 2000, DATAPORT_PENDING_MAX = 256 };

struct dataport;

/* `listen` is "host:port"; port 0: any free one. */
MUST_CHECK enum errc dataport_create(const char *listen, struct dataport **out, struct err *e);
void dataport_destroy(struct dataport *p);              /* NULL: no-op */
const char *dataport_address(const struct dataport *p); /* "ip:port" as bound */

/* The worker's end of a unix socket (SOCK_SEQPACKET), the caller's to close; -1 with errno set. */
int dataport_open(struct dataport *p, const struct job_id *job, uint32_t region,
		  struct attempt attempt);
/* Later connections for it are refused. Not open: no-op. */
void dataport_close(struct dataport *p, const struct job_id *job, uint32_t region,
		    struct attempt attempt);

#endif
