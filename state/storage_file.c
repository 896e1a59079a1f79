#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "state/storage_impl.h"

/*
 * file:///dir. An object is written to DIR/.tmp/, synced, renamed without
 * replacing, and its directory is synced: then it is there, whole and durable.
 * Folders come with the first object in them and go with the last.
 */

enum { COMPARE_BYTES = 64 << 10, RACE_TRIES = 8 };

struct file_storage {
	struct storage base;
	char *dir;
};

struct file_upload {
	struct storage_upload base;
	int fd;
	char *temp, *path;
};

static struct file_storage *of(struct storage *s)
{
	return MEM_OWNER(s, struct file_storage, base);
}

/* What the system says, as an outcome of storage.h. */
static enum errc outcome(struct err *e, int error, const char *doing)
{
	struct err mine;
	enum errc code = err_errno(&mine, error, "%s", doing);

	if (code == ERR_IO)
		code = ERR_UNAVAILABLE;
	return err_set(e, code, "%s", mine.text);
}

/* ---- folders ---- */

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

static int sync_parent(const char *path)
{
	char *parent = mem_text(path);
	char *slash = strrchr(parent, '/');
	int rc;

	*(slash == parent ? slash + 1 : slash) = '\0';
	rc = sync_dir(parent);
	free(parent);
	return rc;
}

/* Make the folders above `path`, each durable in its own parent. */
static int make_parents(const char *path)
{
	char *copy = mem_text(path);
	int rc = 0;

	for (char *slash = strchr(copy + 1, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!mkdir(copy, 0777))
			rc = sync_parent(copy);
		else if (errno != EEXIST)
			rc = -1;
		*slash = '/';
	}
	free(copy);
	return rc;
}

static char *path_of(struct storage *s, const char *name)
{
	return mem_printf("%s/%s", of(s)->dir, name);
}

/* ---- reading ---- */

static MUST_CHECK enum errc open_object(struct storage *s, const char *name, int *out,
					struct storage_object *what, struct err *e)
{
	char *path = path_of(s, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	enum errc code = ERR_OK;

	free(path);
	if (fd < 0)
		return outcome(e, errno == ENOTDIR ? ENOENT : errno, "open");
	if (fstat(fd, &st))
		code = outcome(e, errno, "stat");
	else if (!S_ISREG(st.st_mode))
		code = err_set(e, ERR_NOTFOUND, "no regular file");
	if (code) {
		close(fd);
		return code;
	}
	*what = (struct storage_object){(uint64_t)st.st_size, (int64_t)st.st_mtim.tv_sec * 1000 +
								      st.st_mtim.tv_nsec / 1000000};
	*out = fd;
	return ERR_OK;
}

static MUST_CHECK enum errc read_all(int fd, uint64_t offset, void *data, size_t len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return outcome(e, errno, "read");
		if (!n)
			return err_set(e, ERR_CORRUPT, "ends at byte %llu, not at %llu or later",
				       (unsigned long long)(offset + done),
				       (unsigned long long)(offset + len));
		done += (size_t)n;
	}
	return ERR_OK;
}

static enum errc file_get_range(struct storage *s, const char *name, uint64_t offset, void *data,
				size_t len, struct err *e)
{
	struct storage_object what;
	int fd = -1;
	enum errc code = open_object(s, name, &fd, &what, e);

	if (code)
		return code;
	code = read_all(fd, offset, data, len, e);
	close(fd);
	return code;
}

static enum errc file_get(struct storage *s, const char *name, size_t max, struct buf *out,
			  struct err *e)
{
	struct storage_object what;
	int fd = -1;
	enum errc code = open_object(s, name, &fd, &what, e);
	void *to;

	if (code)
		return code;
	to = what.bytes <= max ? buf_reserve(out, what.bytes) : NULL;
	if (to) {
		code = read_all(fd, 0, to, what.bytes, e);
		if (!code)
			buf_grew(out, what.bytes);
	} else {
		code = err_set(e, ERR_LIMIT, "%llu bytes, at most %zu",
			       (unsigned long long)what.bytes, max);
	}
	close(fd);
	return code;
}

static enum errc file_look(struct storage *s, const char *name, struct storage_object *out,
			   struct err *e)
{
	int fd = -1;
	enum errc code = open_object(s, name, &fd, out, e);

	if (!code)
		close(fd);
	return code;
}

/* ---- writing ---- */

static enum errc file_begin(struct storage *s, const char *name, struct storage_upload **out,
			    struct err *e)
{
	struct file_upload *u = mem_alloc(sizeof(*u));

	u->path = path_of(s, name);
	u->temp = path_of(s, ".tmp/XXXXXX");
	u->fd = make_parents(u->temp) ? -1 : mkostemp(u->temp, O_CLOEXEC);
	if (u->fd < 0) {
		enum errc code = outcome(e, errno, "create a temporary file");

		free(u->path);
		free(u->temp);
		free(u);
		return code;
	}
	(void)fchmod(u->fd, 0644); /* as other programs' files: readers may run as another user */
	*out = &u->base;
	return ERR_OK;
}

static enum errc file_write(struct storage_upload *upload, const void *data, size_t len,
			    struct err *e)
{
	struct file_upload *u = MEM_OWNER(upload, struct file_upload, base);
	const char *at = data;

	while (len) {
		ssize_t n = write(u->fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return outcome(e, errno, "write");
		at += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

static void file_abort(struct storage_upload *upload)
{
	struct file_upload *u = MEM_OWNER(upload, struct file_upload, base);

	if (u->fd >= 0) {
		close(u->fd);
		unlink(u->temp);
	}
	free(u->temp);
	free(u->path);
	free(u);
}

/* Is the object at u->path what was written? */
static MUST_CHECK enum errc compare(struct file_upload *u, struct err *e)
{
	int there = open(u->path, O_RDONLY | O_CLOEXEC);
	char *a = mem_array(2, COMPARE_BYTES), *b = a + COMPARE_BYTES;
	struct stat st;
	bool same = there >= 0 && !fstat(there, &st) && (uint64_t)st.st_size == u->base.bytes;
	enum errc code = ERR_OK;

	for (uint64_t at = 0; same && !code && at < u->base.bytes; at += COMPARE_BYTES) {
		uint64_t left = u->base.bytes - at;
		size_t n = left < COMPARE_BYTES ? (size_t)left : COMPARE_BYTES;

		code = read_all(u->fd, at, a, n, e);
		if (!code)
			code = read_all(there, at, b, n, e);
		same = same && !code && !memcmp(a, b, n);
	}
	if (there >= 0)
		close(there);
	free(a);
	if (!code && !same)
		return err_set(e, ERR_EXISTS, "an object with other content has this name");
	return code;
}

/* Give the synced file its name. 0, or errno. */
static int take_name(struct file_upload *u)
{
	/* Somebody may remove the empty folder between making and using it. */
	for (unsigned i = 0; i < RACE_TRIES; i++) {
		if (make_parents(u->path))
			return errno;
		if (!renameat2(AT_FDCWD, u->temp, AT_FDCWD, u->path, RENAME_NOREPLACE))
			return 0;
		if (errno == EINVAL && !link(u->temp, u->path)) /* a file system without it */
			return unlink(u->temp) ? errno : 0;
		if (errno != ENOENT)
			return errno;
	}
	return ENOENT;
}

static enum errc file_commit(struct storage_upload *upload, struct err *e)
{
	struct file_upload *u = MEM_OWNER(upload, struct file_upload, base);
	int error;

	if (fsync(u->fd))
		return outcome(e, errno, "sync");
	error = take_name(u);
	if (error == EEXIST)
		return compare(u, e);
	if (error)
		return outcome(e, error == ENOENT ? EAGAIN : error, "rename");
	close(u->fd);
	u->fd = -1;
	if (sync_parent(u->path))
		return err_set(e, ERR_UNKNOWN, "the folder cannot be synced: %s", strerror(errno));
	return ERR_OK;
}

static enum errc file_put(struct storage *s, const char *name, const void *data, size_t len,
			  struct err *e)
{
	struct storage_upload *u = NULL;
	enum errc code = file_begin(s, name, &u, e);

	if (code)
		return code;
	u->storage = s;
	u->bytes = len;
	code = file_write(u, data, len, e);
	if (!code)
		code = file_commit(u, e);
	file_abort(u);
	return code;
}

/* ---- removing and listing ---- */

/* Folders without an object go, up to the root. */
static void remove_empty(struct storage *s, char *path)
{
	size_t root = strlen(of(s)->dir);

	for (char *slash = strrchr(path, '/'); slash && (size_t)(slash - path) > root;
	     slash = strrchr(path, '/')) {
		*slash = '\0';
		if (rmdir(path))
			return;
	}
}

static enum errc file_remove(struct storage *s, const char *const names[], size_t n, struct err *e)
{
	enum errc code = ERR_OK;

	for (size_t i = 0; i < n && !code; i++) {
		char *path = path_of(s, names[i]);

		if (unlink(path) && errno != ENOENT && errno != ENOTDIR)
			code = outcome(e, errno, names[i]);
		else
			remove_empty(s, path);
		free(path);
	}
	return code;
}

struct listing {
	struct storage *storage;
	const char *prefix;
	size_t max;
	struct storage_names *out;
	struct buf name; /* relative to the root, of the folder or file being looked at */
};

static MUST_CHECK enum errc list_folder(struct listing *l, unsigned depth, struct err *e);

/* May there be names with the prefix at or below l->name? */
static bool may_match(const struct listing *l)
{
	size_t n = strlen(l->prefix);

	return !strncmp(l->name.data, l->prefix, l->name.len < n ? l->name.len : n);
}

static MUST_CHECK enum errc list_entry(struct listing *l, const struct dirent *d, unsigned depth,
				       struct err *e)
{
	size_t before = l->name.len;
	enum errc code = ERR_OK;

	if (before)
		buf_text(&l->name, "/");
	buf_text(&l->name, d->d_name);
	if (may_match(l)) {
		char *path = path_of(l->storage, l->name.data);
		struct stat st;

		if (lstat(path, &st))
			code = errno == ENOENT ? ERR_OK : outcome(e, errno, path);
		else if (S_ISDIR(st.st_mode))
			code = list_folder(l, depth + 1, e);
		else if (S_ISREG(st.st_mode) && text_starts(l->name.data, l->prefix))
			code = storage_names_add(l->out, l->name.data, l->max, e);
		free(path);
	}
	l->name.len = before;
	l->name.data[before] = '\0';
	return code;
}

static enum errc list_folder(struct listing *l, unsigned depth, struct err *e)
{
	char *path =
		l->name.len ? path_of(l->storage, l->name.data) : mem_text(of(l->storage)->dir);
	DIR *dir = opendir(path);
	enum errc code = ERR_OK;
	struct dirent *d;

	free(path);
	if (!dir)
		return errno == ENOENT ? ERR_OK : outcome(e, errno, "open folder");
	if (depth > STORAGE_NAME_MAX / 2)
		code = err_set(e, ERR_LIMIT, "folders too deep");
	while (!code && (d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") ||
		    (!depth && !strcmp(d->d_name, ".tmp")))
			continue;
		code = list_entry(l, d, depth, e);
	}
	closedir(dir);
	return code;
}

static enum errc file_list(struct storage *s, const char *prefix, size_t max,
			   struct storage_names *out, struct err *e)
{
	struct listing l = {.storage = s, .prefix = prefix, .max = max, .out = out};
	enum errc code = list_folder(&l, 0, e);

	buf_fini(&l.name);
	return code;
}

/* ---- life cycle ---- */

static enum errc file_check(struct storage *s, struct err *e)
{
	char *probe = path_of(s, ".tmp/probe");
	enum errc code = ERR_OK;

	if (make_parents(probe))
		code = outcome(e, errno, "make the folder");
	else if (access(of(s)->dir, R_OK | W_OK | X_OK))
		code = outcome(e, errno, "use the folder");
	free(probe);
	return code;
}

static void file_close(struct storage *s)
{
	struct file_storage *f = of(s);

	storage_fini(s);
	free(f->dir);
	free(f);
}

static const struct storage_ops file_ops = {
	.close = file_close,
	.check = file_check,
	.put = file_put,
	.get = file_get,
	.get_range = file_get_range,
	.look = file_look,
	.remove = file_remove,
	.list = file_list,
	.begin = file_begin,
	.write = file_write,
	.commit = file_commit,
	.abort = file_abort,
};

enum errc storage_open_file(const struct storage_config *c, struct storage **out, struct err *e)
{
	const char *dir = c->url + strlen("file://");
	size_t len = strlen(dir);
	struct file_storage *f;

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (dir[0] != '/' || len < 2 || len > PATH_MAX - STORAGE_NAME_MAX - 1)
		return err_set(e, ERR_INVALID,
			       "storage URL \"%s\": file:// needs an absolute folder, file:///dir",
			       c->url);
	f = mem_alloc(sizeof(*f));
	f->dir = mem_text_n(dir, len);
	storage_init(&f->base, &file_ops, c->url, c);
	*out = &f->base;
	return ERR_OK;
}
