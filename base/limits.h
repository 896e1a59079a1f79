/*
 * limits - every maximum in one place, with its reason. A limit that is
 * reached is an error to who asked, never a silent truncation.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

enum {
	LIMIT_SPEC_BYTES =
		512 << 10, /* a job's specification: etcd refuses 1.5 MiB, base64 adds a third */
	LIMIT_BODY_BYTES = 1 << 20,   /* any REST body */
	LIMIT_REPORT_BYTES = 8 << 20, /* one TaskManager's registration or report */
	LIMIT_LINE_BYTES = 8 << 20,   /* one command in a command stream */
	LIMIT_ETCD_REPLY_BYTES = 64 << 20,
	LIMIT_DOC_BYTES = 1 << 20, /* one job's hot document */
	LIMIT_JOBS = 10000,
	LIMIT_OPERATORS = 1000,    /* per job */
	LIMIT_PARALLELISM = 32768, /* = the largest max parallelism, 2^15 */
	LIMIT_SLOTS = 1024,        /* per TaskManager */
	LIMIT_TASKMANAGERS = 20000,
	LIMIT_CHECKPOINTS_IN_FLIGHT = 16,
	LIMIT_CHECKPOINTS_RETAINED = 100,
	LIMIT_HISTORY = 64, /* checkpoints and exceptions shown per job */
	LIMIT_TASKMANAGER_JOBS = 1024
};

#endif
