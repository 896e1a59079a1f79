/*
 * local_process - processes on this machine that outlive the one that started
 * them, and are found again by pid and start time.
 *
 * A pid alone may have been given to somebody else meanwhile; with the start
 * time (clock ticks since boot, /proc/PID/stat) it is that process or none.
 * A zombie counts as gone.
 */
#ifndef CLI_LOCAL_PROCESS_H
#define CLI_LOCAL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct local_process {
	int pid; /* 0: never started */
	uint64_t start;
};

/*
 * Start argv (argv[0] is looked up in PATH unless it has a slash) in a session
 * of its own, with no input and no descriptor of ours; its output is appended to
 * `log_path`. With `tied` it gets SIGTERM when this process dies. A program
 * that cannot be executed is an error here.
 */
MUST_CHECK enum errc local_process_start(const char *const *argv, const char *log_path, bool tied,
					 struct local_process *out, struct err *e);
/* The process that has this pid now. NOTFOUND if there is none. */
MUST_CHECK enum errc local_process_find(int pid, struct local_process *out, struct err *e);
/* Does this process run the program of that name, as the kernel knows it (15 bytes)? */
bool local_process_runs(int pid, const char *program);
/* Also collects it if it was a child of ours and has ended. */
bool local_process_alive(const struct local_process *p);
/* Nothing happens if it is gone. */
void local_process_signal(const struct local_process *p, int signal);

/* `n` different ports of 127.0.0.1 that nobody listens on, below the range from which the kernel
 * takes its own. Somebody may take one before it is used: then its user fails to start. */
MUST_CHECK enum errc local_free_ports(unsigned n, unsigned *out_ports, struct err *e);

#endif
