#include "cli/drill_net.h"

#include <errno.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

extern char **environ;

enum { WORDS_MAX = 24 };

/* Run one command, its words separated by single blanks. */
static enum errc run(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

static enum errc run_words(char *text, struct err *e)
{
	char *words[WORDS_MAX + 1], *rest = text;
	unsigned n = 0;
	int pid, status = 0;
	while (n < WORDS_MAX && (words[n] = strsep(&rest, " ")) != NULL)
		n++;
	words[n] = NULL;
	int error = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
	if (error)
		return err_errno(e, error, "start %s", words[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? ERR_OK : err_set(e, ERR_IO, "exit status %d", status >> 8);
}

static enum errc run(struct err *e, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	char *words = mem_text(text);
	enum errc rc = run_words(words, e);
	if (rc)
		err_wrap(e, rc, "%s", text);
	free(words);
	free(text);
	return rc;
}

const char *drill_net_missing(void)
{
	if (geteuid() != 0)
		return "network faults need root (network namespaces)";
	if (access("/usr/sbin/ip", X_OK) != 0 && access("/sbin/ip", X_OK) != 0 &&
	    access("/usr/bin/ip", X_OK) != 0)
		return "network faults need the program ip (iproute2)";
	return NULL;
}

/* Only 127.0.0.1 stays the loopback's, so that the rest of 127/8 can be routed. */
static enum errc narrow_loopback(const char *in, struct err *e)
{
	enum errc rc = run(e, "ip %slink set lo up", in);
	rc = rc ? rc : run(e, "ip %saddr del 127.0.0.1/8 dev lo", in);
	return rc ? rc : run(e, "ip %saddr add 127.0.0.1/32 dev lo", in);
}

static enum errc make_bridge(struct err *e)
{
	enum errc rc = narrow_loopback("", e);
	rc = rc ? rc : run(e, "ip link add weir0 type bridge");
	rc = rc ? rc : run(e, "sysctl -qw net.ipv4.conf.all.route_localnet=1");
	rc = rc ? rc : run(e, "ip addr add 127.77.0.1/24 dev weir0");
	rc = rc ? rc : run(e, "ip addr add 127.77.0.2/24 dev weir0");
	return rc ? rc : run(e, "ip link set weir0 up");
}

static enum errc make_namespace(const struct drill_net *net, unsigned i, struct err *e)
{
	char in[64], name[48];
	snprintf(name, sizeof(name), "%s-%u", net->name, i);
	snprintf(in, sizeof(in), "-n %s ", name);
	enum errc rc = run(e, "ip netns add %s", name);
	rc = rc ? rc : run(e, "ip link add port%u type veth peer name net0 netns %s", i, name);
	rc = rc ? rc : run(e, "ip link set port%u master weir0", i);
	rc = rc ? rc : run(e, "ip link set port%u up", i);
	rc = rc ? rc : narrow_loopback(in, e);
	rc = rc ? rc
		: run(e, "ip netns exec %s sysctl -qw net.ipv4.conf.all.route_localnet=1", name);
	rc = rc ? rc : run(e, "ip %saddr add 127.77.0.%u/24 dev net0", in, 10 + i);
	return rc ? rc : run(e, "ip %slink set net0 up", in);
}

enum errc drill_net_enter(struct drill_net *net, unsigned n, struct err *e)
{
	*net = (struct drill_net){0};
	snprintf(net->name, sizeof(net->name), "weir-%d", (int)getpid());
	if (unshare(CLONE_NEWNET) != 0)
		return err_errno(e, errno, "a network namespace");
	enum errc rc = make_bridge(e);
	for (unsigned i = 1; rc == ERR_OK && i <= n && i <= DRILL_NET_MAX; i++) {
		net->n = i;
		rc = make_namespace(net, i, e);
	}
	if (rc)
		drill_net_leave(net);
	return rc;
}

void drill_net_leave(struct drill_net *net)
{
	struct err ignored;
	for (unsigned i = 1; i <= net->n; i++)
		(void)run(&ignored, "ip netns del %s-%u", net->name, i);
	net->n = 0;
}

enum errc drill_net_cut(const struct drill_net *net, unsigned i, bool cut, struct err *e)
{
	if (i < 1 || i > net->n)
		return err_set(e, ERR_INVALID, "there is no port %u", i);
	return run(e, "bridge link set dev port%u state %d", i, cut ? 0 : 3);
}
