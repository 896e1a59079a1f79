/* The data port with real sockets: what is routed, and what is closed. A program of its own: it
 * runs under ThreadSanitizer too. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "taskmanager/dataport.h"
#include "taskmanager/preface.h"

enum { WAIT_MS = 10000 };

#undef NDEBUG
#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static int dial(const struct dataport *p)
{
	const char *port = strrchr(dataport_address(p), ':') + 1;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void await(int fd)
{
	struct pollfd f = {.fd = fd, .events = POLLIN};
	CHECK(poll(&f, 1, WAIT_MS) == 1);
}

/* The other side closes without an answer. */
static void expect_closed(int fd)
{
	char byte;
	await(fd);
	CHECK(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
}

static int receive_socket(int channel, unsigned char preface[PREFACE_BYTES])
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec piece = {.iov_base = preface, .iov_len = PREFACE_BYTES};
	struct msghdr m = {.msg_iov = &piece,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	int fd;
	await(channel);
	CHECK(recvmsg(channel, &m, MSG_CMSG_CLOEXEC) == PREFACE_BYTES);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	CHECK(c && c->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static struct preface preface_of(uint32_t attempt)
{
	struct preface p = {.region = 3, .attempt = {attempt}, .sender = 1, .receiver = 2};
	CHECK(job_id_parse("00000000000000000000000000000abc", &p.job, NULL) == ERR_OK);
	return p;
}

static void test_preface(void)
{
	struct preface in = preface_of(7), out;
	unsigned char bytes[PREFACE_BYTES];
	preface_encode(&in, bytes);
	CHECK(preface_decode(bytes, &out, NULL) == ERR_OK);
	CHECK(job_id_equal(&in.job, &out.job) && out.region == 3 && out.attempt.v == 7 &&
	      out.sender == 1 && out.receiver == 2);
	static const unsigned wrong[] = {0, 7, 8, 16, 47, 56, 63};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		unsigned char damaged[PREFACE_BYTES];
		memcpy(damaged, bytes, sizeof(damaged));
		damaged[wrong[i]] ^= 0x40;
		CHECK(preface_decode(damaged, &out, NULL) != ERR_OK);
	}
}

static void test_routing(struct dataport *p)
{
	struct preface to = preface_of(1);
	unsigned char bytes[PREFACE_BYTES], got[PREFACE_BYTES];
	char text[6] = "";
	int worker = dataport_open(p, &to.job, to.region, to.attempt);
	int peer = dial(p);
	CHECK(worker >= 0);
	preface_encode(&to, bytes);
	/* In two pieces, and with the first bytes of what follows: those are the worker's. */
	CHECK(send(peer, bytes, 10, 0) == 10);
	CHECK(send(peer, bytes + 10, PREFACE_BYTES - 10, 0) == PREFACE_BYTES - 10);
	CHECK(send(peer, "hello", 5, 0) == 5);
	int passed = receive_socket(worker, got);
	CHECK(memcmp(bytes, got, sizeof(got)) == 0);
	await(passed);
	CHECK(recv(passed, text, 5, MSG_WAITALL) == 5 && strcmp(text, "hello") == 0);
	close(passed);
	close(peer);
	dataport_close(p, &to.job, to.region, to.attempt);
	peer = dial(p);
	CHECK(send(peer, bytes, sizeof(bytes), MSG_NOSIGNAL) == sizeof(bytes));
	expect_closed(peer); /* the worker is gone */
	dataport_close(p, &to.job, to.region, to.attempt);
	close(worker);
}

static void test_refusals(struct dataport *p)
{
	struct preface to = preface_of(1), stranger = preface_of(2);
	unsigned char bytes[PREFACE_BYTES];
	int worker = dataport_open(p, &to.job, to.region, to.attempt);
	int other_attempt = dial(p), garbage = dial(p), silent = dial(p);
	preface_encode(&stranger, bytes);
	CHECK(send(other_attempt, bytes, sizeof(bytes), 0) == sizeof(bytes));
	expect_closed(other_attempt);
	memset(bytes, 'G', sizeof(bytes));
	CHECK(send(garbage, bytes, sizeof(bytes), 0) == sizeof(bytes));
	expect_closed(garbage);
	expect_closed(silent); /* within DATAPORT_PREFACE_MS, and then some */
	/* More than may wait at once: the oldest give way, the port lives. */
	enum { MANY = DATAPORT_PENDING_MAX + 40 };
	static int many[MANY];
	for (int i = 0; i < MANY; i++)
		many[i] = dial(p);
	preface_encode(&to, bytes);
	CHECK(send(many[MANY - 1], bytes, sizeof(bytes), 0) == sizeof(bytes));
	int passed = receive_socket(worker, bytes);
	close(passed);
	for (int i = 0; i < MANY; i++)
		close(many[i]);
	close(worker);
}

static uint64_t cpu_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Every descriptor is in use: a connection waits, and nobody burns a core over it. */
static void test_no_descriptor_left(struct dataport *p)
{
	enum { DUPS_MAX = 256, WATCH_MS = 400 };
	const char *port = strrchr(dataport_address(p), ':') + 1;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), dups[DUPS_MAX], n = 0;
	struct rlimit all, few;
	unsigned char bytes[PREFACE_BYTES] = "no preface";
	CHECK(getrlimit(RLIMIT_NOFILE, &all) == 0);
	few = all;
	few.rlim_cur = (rlim_t)fd + DUPS_MAX / 2;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (n < DUPS_MAX && (dups[n] = dup(fd)) >= 0)
		n++;
	CHECK(n < DUPS_MAX);
	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	uint64_t before = cpu_ms();
	struct pollfd f = {.fd = fd, .events = POLLIN};
	CHECK(poll(&f, 1, WATCH_MS) == 0);
	CHECK(cpu_ms() - before < WATCH_MS / 4);
	while (n > 0)
		close(dups[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &all) == 0);
	CHECK(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) == PREFACE_BYTES);
	expect_closed(fd);
}

int main(void)
{
	struct dataport *p = NULL;
	struct err e = {0};
	test_preface();
	CHECK(dataport_create("nonsense", &p, &e) == ERR_INVALID);
	CHECK(dataport_create("127.0.0.1:0", &p, &e) == ERR_OK);
	test_no_descriptor_left(p); /* first: nothing is closed meanwhile */
	test_routing(p);
	test_refusals(p);
	dataport_destroy(p);
	dataport_destroy(NULL);
	puts("dataport: passed");
	return 0;
}
