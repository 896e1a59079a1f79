/*
 * confine - opening files below a root that a job may not leave.
 *
 * Paths are relative to the root and are resolved by the kernel
 * (openat2(RESOLVE_BENEATH)): neither "..", nor an absolute path, nor a
 * symbolic link that points outside leads out, whatever changes meanwhile.
 * Descriptors are close-on-exec. Threads: any.
 */
#ifndef TASKMANAGER_CONNECTORS_CONFINE_H
#define TASKMANAGER_CONNECTORS_CONFINE_H

#include <sys/types.h>

#include "base/err.h"

/* The root itself, as a directory descriptor. */
MUST_CHECK enum errc confine_root(const char *root, int *out_fd, struct err *e);
/* open(2) below `dir_fd`; `mode` matters with O_CREAT. An escape is ERR_DENIED. */
MUST_CHECK enum errc confine_open(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
				  struct err *e);
/* The directory `path` below `dir_fd`, created with its parents if missing, each synced into its
 * parent: it survives a crash of the machine. */
MUST_CHECK enum errc confine_directory(int dir_fd, const char *path, int *out_fd, struct err *e);

#endif
