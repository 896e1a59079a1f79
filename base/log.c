#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192, FILE_MAX_BYTES = 10 << 20, FILES_KEPT = 5 };

/* The one place with mutable file-scope state: a process has one log. */
static struct {
	char node[64];
	char path[4096];
	int fd;
	off_t written;
	atomic_int level;
	pthread_mutex_t lock;
} the = {.fd = -1, .level = LOG_LEVEL_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

enum errc log_level_parse(const char *text, enum log_level *out, struct err *e)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return ERR_OK;
		}
	}
	return err_set(e, ERR_INVALID, "\"%.40s\" is not a log level (error, warn, info, debug)",
		       text);
}

static enum errc open_file(struct err *e)
{
	the.fd = open(the.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (the.fd < 0)
		return err_errno(e, errno, "open log file %s", the.path);
	struct stat st;
	the.written = fstat(the.fd, &st) == 0 ? st.st_size : 0;
	return ERR_OK;
}

enum errc log_open(const char *node, const char *dir, enum log_level level, struct err *e)
{
	snprintf(the.node, sizeof(the.node), "%s", node);
	the.level = (int)level;
	if (dir == NULL)
		return ERR_OK;
	int n = snprintf(the.path, sizeof(the.path), "%s/%s.log", dir, node);
	if (n < 0 || (size_t)n >= sizeof(the.path))
		return err_set(e, ERR_INVALID, "the log directory's path is too long");
	return open_file(e);
}

void log_close(void)
{
	if (the.fd >= 0)
		close(the.fd);
	the.fd = -1;
}

void log_set_level(enum log_level level)
{
	the.level = (int)level;
}

bool log_on(enum log_level level)
{
	return (int)level <= the.level;
}

const char *log_path(void)
{
	return the.path[0] ? the.path : NULL;
}

static void rotate(void)
{
	char from[sizeof(the.path) + 8], to[sizeof(the.path) + 8];
	close(the.fd);
	for (int i = FILES_KEPT - 1; i >= 1; i--) {
		if (i > 1)
			snprintf(from, sizeof(from), "%s.%d", the.path, i - 1);
		else
			snprintf(from, sizeof(from), "%s", the.path);
		snprintf(to, sizeof(to), "%s.%d", the.path, i);
		(void)rename(from, to);
	}
	(void)open_file(NULL);
}

static void put(const char *line, size_t len)
{
	/* A log that cannot be written must not stop the process that it describes. */
	ssize_t n = write(STDERR_FILENO, line, len);
	if (the.fd >= 0) {
		pthread_mutex_lock(&the.lock);
		n = write(the.fd, line, len);
		if (n > 0)
			the.written += n;
		if (the.written > FILE_MAX_BYTES)
			rotate();
		pthread_mutex_unlock(&the.lock);
	}
	(void)n;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (!log_on(level))
		return;
	char line[LINE_MAX_BYTES];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, sizeof(line) - len, ".%03ldZ %s node=%s ",
				now.tv_nsec / 1000000, level_names[level], the.node);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = len + (size_t)n < sizeof(line) - 1 ? len + (size_t)n : sizeof(line) - 2;
	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\n')
			line[i] = ' ';
	}
	line[len++] = '\n';
	put(line, len);
}
