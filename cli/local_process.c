#include "cli/local_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"

enum { PORT_LOW = 15000, PORT_HIGH = 32000, PORTS_MAX = 64, COMM_BYTES = 15 };

/* Field 22 of /proc/PID/stat, counted behind the name, which may contain anything. */
static bool start_time(int pid, uint64_t *out, char *out_state)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *p = strrchr(text, ')');
	if (p == NULL || p[1] != ' ')
		return false;
	*out_state = p[2];
	p += 2;
	for (int field = 3; field < 22 && p; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (p == NULL)
		return false;
	char number[32];
	snprintf(number, sizeof(number), "%.*s", (int)strcspn(p, " \n"), p);
	return text_u64(number, out, NULL) == ERR_OK;
}

enum errc local_process_find(int pid, struct local_process *out, struct err *e)
{
	char state;
	out->pid = pid;
	if (pid <= 0 || !start_time(pid, &out->start, &state))
		return err_set(e, ERR_NOTFOUND, "there is no process %d", pid);
	return ERR_OK;
}

bool local_process_runs(int pid, const char *program)
{
	char path[64], comm[COMM_BYTES + 2] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof(comm) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	comm[strcspn(comm, "\n")] = '\0';
	size_t len = strlen(program);
	return strlen(comm) == (len < COMM_BYTES ? len : COMM_BYTES) &&
	       strncmp(comm, program, strlen(comm)) == 0;
}

bool local_process_alive(const struct local_process *p)
{
	uint64_t start;
	char state;
	if (p->pid <= 0)
		return false;
	(void)waitpid(p->pid, NULL, WNOHANG);
	return start_time(p->pid, &start, &state) && start == p->start && state != 'Z' &&
	       state != 'X';
}

void local_process_signal(const struct local_process *p, int signal)
{
	if (local_process_alive(p))
		(void)kill(p->pid, signal);
}

/* In the child: only async-signal-safe calls. Returns with errno set if it did not work. */
static void become(const char *const *argv, int log, int keep, bool tied, int parent)
{
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t none;
	sigemptyset(&none);
	setsid();
	if (tied && prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() != parent)
		_exit(1);
	for (int s = 1; s < 32; s++)
		(void)sigaction(s, &normal, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int input = open("/dev/null", O_RDONLY);
	if (input < 0 || dup2(input, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		return;
	for (int fd = 3; fd < 1024; fd++)
		if (fd != keep)
			close(fd);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
}

static enum errc await_exec(int pid, int fd, const char *program, struct err *e)
{
	int error = 0;
	ssize_t n;
	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return ERR_OK; /* closed by a successful exec */
	(void)waitpid(pid, NULL, 0);
	return err_errno(e, error, "start %s", program);
}

static enum errc spawn(const char *const *argv, int log, bool tied, struct local_process *out,
		       struct err *e)
{
	int told[2];
	if (pipe2(told, O_CLOEXEC))
		return err_errno(e, errno, "start %s: pipe", argv[0]);
	int parent = getpid();
	int pid = fork();
	if (pid == 0) {
		become(argv, log, told[1], tied, parent);
		int error = errno;
		ssize_t n = write(told[1], &error, sizeof(error));
		_exit(n < 0 ? 126 : 127);
	}
	int error = errno;
	close(told[1]);
	enum errc rc = pid < 0 ? err_errno(e, error, "start %s: fork", argv[0])
			       : await_exec(pid, told[0], argv[0], e);
	close(told[0]);
	if (rc)
		return rc;
	char state;
	out->pid = pid;
	if (!start_time(pid, &out->start, &state))
		return err_set(e, ERR_IO, "start %s: it is gone already", argv[0]);
	return ERR_OK;
}

enum errc local_process_start(const char *const *argv, const char *log_path, bool tied,
			      struct local_process *out, struct err *e)
{
	int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log < 0)
		return err_errno(e, errno, "open %s", log_path);
	enum errc rc = spawn(argv, log, tied, out, e);
	close(log);
	return rc;
}

/* ---- ports ---- */

static bool bindable(unsigned port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int on = 1;
	bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		    bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0;
	if (fd >= 0)
		close(fd);
	return good;
}

static bool among(const unsigned *ports, unsigned n, unsigned port)
{
	for (unsigned i = 0; i < n; i++)
		if (ports[i] == port)
			return true;
	return false;
}

enum errc local_free_ports(unsigned n, unsigned *out_ports, struct err *e)
{
	unsigned found = 0;
	for (unsigned tries = 0; tries < 2000 && found < n; tries++) {
		uint32_t random;
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return err_errno(e, errno, "getrandom");
		unsigned port = PORT_LOW + random % (PORT_HIGH - PORT_LOW);
		if (!among(out_ports, found, port) && bindable(port))
			out_ports[found++] = port;
	}
	if (found < n)
		return err_set(e, ERR_UNAVAILABLE, "found only %u of %u free ports", found, n);
	return ERR_OK;
}
