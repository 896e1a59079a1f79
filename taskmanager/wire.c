#include "taskmanager/wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"

enum { READ_BYTES = 64 << 10 };

void wire_init(struct wire *w, int lines, int sockets)
{
	*w = (struct wire){.lines = lines, .sockets = sockets};
	buf_init(&w->in, LIMIT_LINE_BYTES + READ_BYTES);
}

void wire_fini(struct wire *w)
{
	buf_fini(&w->in);
}

bool wire_read(struct wire *w)
{
	buf_shift(&w->in, w->taken);
	w->taken = 0;
	void *room = buf_reserve(&w->in, READ_BYTES);
	if (!room)
		return false; /* a line over the limit: nothing behind it can be understood */
	ssize_t n = read(w->lines, room, READ_BYTES);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		return false;
	buf_grew(&w->in, (size_t)n);
	return true;
}

bool wire_line(struct wire *w, char **line, size_t *len)
{
	if (w->in.len == w->taken)
		return false;
	char *from = w->in.data + w->taken;
	char *end = memchr(from, '\n', w->in.len - w->taken);

	if (!end)
		return false;
	*line = from;
	*len = (size_t)(end - from);
	w->taken += *len + 1;
	return true;
}

bool wire_report(struct wire *w, const struct control_report_msg *m)
{
	struct buf b = {0};
	size_t at = 0;

	control_reports_encode(0, (struct epoch){0}, m, 1, &b);
	while (at < b.len) {
		struct pollfd p = {.fd = w->lines, .events = POLLOUT};
		ssize_t n = send(w->lines, b.data + at, b.len - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			(void)poll(&p, 1, -1);
		else if (!(n < 0 && errno == EINTR))
			break;
	}
	bool whole = at == b.len;
	buf_fini(&b);
	return whole;
}

bool wire_socket(struct wire *w, int *out_fd, struct preface *out)
{
	unsigned char data[PREFACE_BYTES];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};
	int fd = -1;

	ssize_t n = recvmsg(w->sockets, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n == 0)
		w->sockets = -1;
	if (n <= 0)
		return false;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (fd < 0)
		return false;
	if (n != PREFACE_BYTES || preface_decode(data, out, NULL) != ERR_OK) {
		close(fd);
		return false;
	}
	*out_fd = fd;
	return true;
}
