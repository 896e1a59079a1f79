/*
 * drill_cluster - the cluster that a drill starts for itself: three members of
 * etcd, three JobManagers, three TaskManagers, in a temporary directory, with
 * snapshots in the drill's own store.
 *
 * All of it ends with this process, however it ends; the network namespaces (if
 * there are any) are removed by drill_cluster_stop().
 */
#ifndef CLI_DRILL_CLUSTER_H
#define CLI_DRILL_CLUSTER_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/drill_net.h"
#include "cli/drill_store.h"

struct drill_cluster {
	char dir[64]; /* "" until it was made */
	struct drill_net net;
	struct drill_store *store; /* owns */
};

/* Changes into DIR/files, where the sinks write. With `network` JobManagers can be cut off. On an
 * error nothing is left running. */
MUST_CHECK enum errc drill_cluster_start(struct cli *c, bool network, const bool *stop,
					 struct drill_cluster *out, struct err *e);
/* `keep`: leave the directory. */
void drill_cluster_stop(struct drill_cluster *k, bool keep);

#endif
