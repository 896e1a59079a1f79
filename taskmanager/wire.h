/*
 * wire - a worker's two descriptors: lines with its agent, sockets of its peers.
 *
 * Threads: the control thread; wire_report() is called there too.
 */
#ifndef TASKMANAGER_WIRE_H
#define TASKMANAGER_WIRE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "rest/control.h"
#include "taskmanager/preface.h"

struct wire {
	int lines, sockets; /* borrows; sockets may be -1 */
	struct buf in;
	size_t taken; /* bytes of `in` already handed out */
};

void wire_init(struct wire *w, int lines, int sockets);
void wire_fini(struct wire *w);

/* Read what is there. False: the agent is gone (end, error, or an impossible line). */
bool wire_read(struct wire *w);
/* The next whole line; it may be changed and holds until the next wire_read(). */
bool wire_line(struct wire *w, char **line, size_t *len);
/* One report. Blocks while the agent's end is full; false: it is gone. */
bool wire_report(struct wire *w, const struct control_report_msg *m);
/* The next passed socket with its preface; false: none now. What is malformed is closed. */
bool wire_socket(struct wire *w, int *out_fd, struct preface *out);

#endif
