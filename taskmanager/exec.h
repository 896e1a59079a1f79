/*
 * exec - a thread for each task: open it, poll it until it has ended, sleep when there is
 * nothing to do.
 *
 * Threads: start and join from one thread; the callbacks come on the task's own thread.
 */
#ifndef TASKMANAGER_EXEC_H
#define TASKMANAGER_EXEC_H

#include <pthread.h>

#include "taskmanager/task.h"

struct exec {
	struct task *task; /* borrows until joined */
	pthread_t thread;
	bool started;
	unsigned spins; /* looks before sleeping; 0 with more tasks than cores */
	enum errc (*restore)(void *owner, struct task *t, struct err *e); /* may be NULL */
	void *restore_owner;
	void (*opened)(void *owner, struct task *t); /* it has restored and runs */
	void (*ended)(void *owner, struct task *t);  /* last call; task_failed() says how */
	void *owner;
};

void exec_start(struct exec *x);
void exec_join(struct exec *x); /* not started: no-op */

#endif
