/*
 * drill_net - JobManagers in network namespaces of their own, so that they can
 * be cut off.
 *
 *   here: bridge 127.77.0.1   -+- namespace NAME-1: 127.77.0.11
 *   (TaskManagers, this        +- namespace NAME-2: 127.77.0.12
 *    process) and .2 (etcd)    +- ...
 *
 * "Here" is a namespace too: drill_net_enter() moves this process into a fresh
 * one without a name, with its children to come; it is gone when they are. The
 * others have names that begin with this process's pid, and are removed by
 * drill_net_leave(). Addresses stay within 127/8, so nothing leaves the machine.
 *
 * A cut is a disabled port of the bridge: frames vanish silently both ways, as
 * with a pulled cable behind a switch; nobody gets an error at once.
 *
 * Needs root, and the programs ip and bridge (iproute2).
 */
#ifndef CLI_DRILL_NET_H
#define CLI_DRILL_NET_H

#include <stdbool.h>

#include "base/err.h"

enum { DRILL_NET_MAX = 9 };

struct drill_net {
	char name[32]; /* what the namespaces' names begin with: "weir-<pid>" */
	unsigned n;
};

/* Why network faults are not possible here; NULL: they are. */
const char *drill_net_missing(void);
/* Call before any thread or socket of this process exists that needs the network outside. */
MUST_CHECK enum errc drill_net_enter(struct drill_net *net, unsigned n, struct err *e);
void drill_net_leave(struct drill_net *net);
/* `i` counts from 1. */
MUST_CHECK enum errc drill_net_cut(const struct drill_net *net, unsigned i, bool cut,
				   struct err *e);

#endif
