/*
 * slow_fsync - a program whose disk stalls when it is told to.
 *
 *   slow_fsync FILE PROGRAM ARGUMENT...
 *
 * PROGRAM is run with its fsync() and fdatasync() under supervision: while FILE
 * exists none of them is let through; whoever called waits, in the kernel, as
 * on a disk that does not answer. Everything else of the program runs on. It
 * keeps this process's id; the supervisor is a child that ends with it.
 *
 * Needs no privileges: a seccomp filter hands the two calls over
 * (SECCOMP_RET_USER_NOTIF, Linux 5.5).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOK_MS = 10 };

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(125);
}

/* From now on the two calls of this process, and of what it becomes, are asked about. */
static int listen_to_fsync(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs");
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			  &program);
	if (fd < 0)
		die("seccomp");
	return (int)fd;
}

static void let_through(int listener)
{
	struct seccomp_notif asked = {0};
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
		return; /* a signal has ended that call meanwhile */
	struct seccomp_notif_resp answer = {.id = asked.id,
					    .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static bool stalls(const char *file)
{
	return access(file, F_OK) == 0;
}

static _Noreturn void supervise(int listener, const char *file)
{
	struct pollfd one = {.fd = listener, .events = POLLIN};
	for (;;) {
		int n = poll(&one, 1, -1);
		if (n < 0 && errno != EINTR)
			_exit(1);
		if (n <= 0)
			continue;
		if (!(one.revents & POLLIN))
			_exit(0);
		while (stalls(file))
			poll(NULL, 0, LOOK_MS);
		let_through(listener);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: slow_fsync FILE PROGRAM ARGUMENT...\n");
		return 2;
	}
	int listener = listen_to_fsync();
	pid_t parent = getpid();
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			supervise(listener, argv[1]);
		_exit(0);
	}
	close(listener);
	execvp(argv[2], &argv[2]);
	die(argv[2]);
}
