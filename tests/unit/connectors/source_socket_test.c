/* source.socket against a listening socket of the test's own. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "host.h"

static int listener(int *out_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0);
	cr_assert(eq(int, getsockname(fd, (struct sockaddr *)&a, &len), 0));
	*out_port = ntohs(a.sin_port);
	return fd;
}

static struct host *source(int port, const char *options)
{
	char *text = mem_printf(
		"{\"name\":\"t\",\"operators\":[{\"uid\":\"in\",\"type\":\"source.socket\",\"host\":"
		"\"127.0.0.1\",\"port\":%d%s},{\"uid\":\"out\",\"type\":\"sink.discard\",\"inputs\":"
		"[\"in\"]}]}",
		port, options);
	struct host *h = host_create(text, "in", "/", 0, 1, 1);
	free(text);
	cr_assert(eq(int, host_start(h, 0, NULL), ERR_OK), "%s", h->err.text);
	return h;
}

/* As a task would: poll, and wait as told. Ends on an error, the end, `rows`, or a pause without a
 * descriptor of over `patience_ms` (virtual time passes instead). */
static enum errc poll_until(struct host *h, uint64_t rows, struct op_poll *r)
{
	for (int guard = 0; guard < 10000; guard++) {
		enum errc rc = host_poll(h, 10, r);
		if (rc || r->state == OP_POLL_END || h->rows >= rows)
			return rc;
		if (r->state != OP_POLL_IDLE)
			continue;
		struct pollfd p = {.fd = r->wait_fd, .events = r->wait_events};
		poll(&p, 1, r->wait_fd < 0 ? 1 : 1000);
		host_world.now_ms += r->wait_fd < 0 ? r->wait_ms : 0;
	}
	cr_assert(false, "it takes too long: %llu rows", (unsigned long long)h->rows);
	return ERR_OK;
}

static void say(int fd, const char *text)
{
	cr_assert(eq(sz, (size_t)send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text)));
}

Test(source_socket, reads_reconnects_and_ends)
{
	int port, server = listener(&port);
	struct op_poll r;
	struct host *h = source(port, ",\"endOnClose\":true");
	cr_assert(eq(int, host_poll(h, 10, &r), ERR_OK));
	for (int i = 0; i < 100 && r.wait_fd < 0; i++) { /* until it connects */
		poll(NULL, 0, 1);
		cr_assert(eq(int, host_poll(h, 10, &r), ERR_OK));
	}
	int peer = accept(server, NULL, NULL);
	say(peer, "one\r\ntwo\n\nthr");
	cr_assert(eq(int, poll_until(h, 3, &r), ERR_OK));
	/* A reset drops the half record and is tried again. */
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	close(peer);
	for (int i = 0; i < 1000; i++) {
		struct pollfd p = {.fd = server, .events = POLLIN};
		cr_assert(eq(int, host_poll(h, 10, &r), ERR_OK));
		if (poll(&p, 1, 1) == 1)
			break;
		host_world.now_ms += 100;
	}
	peer = accept(server, NULL, NULL);
	say(peer, "four\nfive");
	close(peer);
	cr_assert(eq(int, poll_until(h, UINT64_MAX, &r), ERR_OK));
	cr_assert(eq(int, r.state, OP_POLL_END));
	cr_assert(eq(str, h->lines.data, "one\ntwo\n\nfour\nfive\n"));
	host_destroy(h);
	close(server);
}

Test(source_socket, gives_up_after_so_many_tries)
{
	int port, server = listener(&port);
	struct op_poll r;
	close(server);
	struct host *h = source(port, ",\"maxReconnects\":2");
	cr_assert(eq(int, poll_until(h, 1, &r), ERR_IO));
	cr_assert(strstr(h->err.text, "tried 3 times") != NULL, "%s", h->err.text);
	host_destroy(h);
}
