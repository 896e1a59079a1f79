#include "taskmanager/connectors/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum errc confine_root(const char *root, int *out_fd, struct err *e)
{
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open the files root %s", root);
	*out_fd = fd;
	return ERR_OK;
}

enum errc confine_open(int dir_fd, const char *path, int flags, mode_t mode, int *out_fd,
		       struct err *e)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
			       .mode = flags & O_CREAT ? mode : 0,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	long fd;
	do { /* EAGAIN: something was renamed meanwhile, and the kernel could not be sure */
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	if (fd < 0 && (errno == EXDEV || errno == ELOOP))
		return err_set(e, ERR_DENIED, "%s: leads out of the files root", path);
	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	*out_fd = (int)fd;
	return ERR_OK;
}

/* One component: made if missing, synced into its parent. */
static enum errc enter(int dir_fd, const char *name, int *out_fd, struct err *e)
{
	if (mkdirat(dir_fd, name, 0777) == 0) {
		if (fsync(dir_fd) != 0)
			return err_errno(e, errno, "sync the directory of %s", name);
	} else if (errno != EEXIST) {
		return err_errno(e, errno, "make the directory %s", name);
	}
	return confine_open(dir_fd, name, O_RDONLY | O_DIRECTORY, 0, out_fd, e);
}

enum errc confine_directory(int dir_fd, const char *path, int *out_fd, struct err *e)
{
	int at = -1;
	enum errc rc = confine_open(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0, &at, e);
	while (!rc && *path) {
		size_t len = strcspn(path, "/");
		char name[256];
		int next = -1;
		if (len >= sizeof(name)) {
			rc = err_set(e, ERR_INVALID, "a part of the path is too long");
			break;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + (path[len] == '/');
		if (!len || strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			rc = err_set(e, ERR_DENIED, "..: leads out of the files root");
			break;
		}
		rc = enter(at, name, &next, e);
		if (!rc) {
			close(at);
			at = next;
		}
	}
	if (rc) {
		if (at >= 0)
			close(at);
		return rc;
	}
	*out_fd = at;
	return ERR_OK;
}
