/*
 * killpoint - named moments at which a test or drill may have a process killed.
 *
 * Compiled into production builds, armed only from the environment:
 *
 *   WEIR_KILL_POINT=name[:n]  the process kills itself at the n-th pass (default 1);
 *   WEIR_KILL_DIR=dir         it does so when it passes `name` and can rename dir/name to
 *                             dir/name.<pid>: a drill arms a point of a running process by
 *                             creating a file, and at most one process takes it. A file that
 *                             holds a pid has that process killed instead, at just this moment
 *                             (a standby, a member of etcd), and the passing one goes on.
 *
 * The signal is SIGKILL: no clean-up runs. Not armed, a pass costs one comparison.
 */
#ifndef BASE_KILLPOINT_H
#define BASE_KILLPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct killpoint {
	bool armed;
	char name[64];   /* "" unless WEIR_KILL_POINT */
	uint32_t passes; /* left until it happens */
	char dir[256];   /* "" unless WEIR_KILL_DIR */
};

/* Reads the environment. A value that does not parse or fit arms nothing. */
void killpoint_init(struct killpoint *k);
/* Returns unless the point is armed. */
void killpoint_pass_armed(struct killpoint *k, const char *name);

static inline void killpoint_pass(struct killpoint *k, const char *name)
{
	if (__builtin_expect(k->armed, 0))
		killpoint_pass_armed(k, name);
}

#endif
