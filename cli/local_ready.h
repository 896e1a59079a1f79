/*
 * local_ready - when the processes of a local cluster are of use.
 *
 * etcd: its /health is true. A JobManager: its /readyz answers 200, which takes
 * a leader. A TaskManager: a JobManager lists that process (by its pid) and
 * would place tasks there, so it has seen the storage. A process that ends while it
 * is waited for is an error with the last lines that it wrote.
 */
#ifndef CLI_LOCAL_READY_H
#define CLI_LOCAL_READY_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/cli.h"
#include "cli/local_cluster.h"

enum { LOCAL_READY_MS = 45000 };

/* Until `entry` is ready. CANCELED as soon as *stop is set. */
MUST_CHECK enum errc local_await(struct cli *c, const struct local_cluster *l, const json_t *entry,
				 enum local_kind kind, const bool *stop, struct err *e);
/* Start all entries in their order and await them. `tied`: they end with this process. */
MUST_CHECK enum errc local_start_all(struct cli *c, struct local_cluster *l, bool tied,
				     const bool *stop, struct err *e);

#endif
