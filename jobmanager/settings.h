/*
 * settings - the options of weir-jobmanager, as one table: flags, environment,
 * file and documentation are all read from it.
 */
#ifndef JOBMANAGER_SETTINGS_H
#define JOBMANAGER_SETTINGS_H

#include "base/options.h"
#include "jobmanager/node.h"
#include "state/storage.h"

extern const struct option settings_table[];

/* Both borrow from the options (and from `host`, which takes the host's name where no id was
 * given, and from `etcd_tls`, which takes etcd's certificates); those must outlive them. */
MUST_CHECK enum errc settings_node(const struct options *o, char host[NODE_ID_MAX],
				   struct world_tls *etcd_tls, struct jm_node_config *out,
				   struct err *e);
void settings_storage(const struct options *o, struct storage_config *out);

#endif
