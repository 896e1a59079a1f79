#include "taskmanager/connectors/commit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "taskmanager/connectors/confine.h"

/* ---- names ---- */

void commit_name_text(const struct commit_name *name, char out[COMMIT_NAME_MAX])
{
	if (name->checkpoint.v)
		snprintf(out, COMMIT_NAME_MAX, "%" PRIu32 "-%" PRIu32 "-%" PRIu64 "-%" PRIu32,
			 name->subtask, name->attempt.v, name->checkpoint.v, name->n);
	else
		snprintf(out, COMMIT_NAME_MAX, "%" PRIu32 "-%" PRIu32 "-open-%" PRIu32,
			 name->subtask, name->attempt.v, name->n);
}

/* Decimal digits up to `end`, which is skipped. */
static bool take_number(const char **at, char end, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = *at;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = 10 * v + (uint64_t)(*p - '0');
	}
	if (p == *at || *p != end || v > max)
		return false;
	*at = p + (end != '\0');
	*out = v;
	return true;
}

bool commit_name_parse(const char *text, struct commit_name *out)
{
	uint64_t subtask, attempt, checkpoint = 0, n;
	if (!take_number(&text, '-', UINT32_MAX, &subtask) ||
	    !take_number(&text, '-', UINT32_MAX, &attempt))
		return false;
	if (strncmp(text, "open-", 5) == 0)
		text += 5;
	else if (!take_number(&text, '-', UINT64_MAX, &checkpoint) || !checkpoint)
		return false;
	if (!take_number(&text, '\0', UINT32_MAX, &n))
		return false;
	*out = (struct commit_name){.subtask = (uint32_t)subtask,
				    .attempt = {(uint32_t)attempt},
				    .checkpoint = {checkpoint},
				    .n = (uint32_t)n};
	return true;
}

static bool same_name(const struct commit_name *a, const struct commit_name *b)
{
	return a->subtask == b->subtask && a->attempt.v == b->attempt.v &&
	       a->checkpoint.v == b->checkpoint.v && a->n == b->n;
}

/* ---- small steps ---- */

static enum errc failed(const struct commit *c, int error, const char *doing, const char *what,
			struct err *e)
{
	if (error == EIO)
		return err_set(e, ERR_UNAVAILABLE, "%s %s/%s: input/output error", doing, c->path,
			       what);
	return err_errno(e, error, "%s %s/%s", doing, c->path, what);
}

enum errc commit_sync(const struct commit *c, int fd, const char *what, struct err *e)
{
	return fsync(fd) == 0 ? ERR_OK : failed(c, errno, "sync", what, e);
}

static void moment(const struct commit *c, const char *name)
{
	if (c->moment)
		c->moment(c->ctx, name);
}

static enum errc write_all(const struct commit *c, int fd, const char *data, size_t len,
			   const char *what, struct err *e)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(c, errno, "write", what, e);
		data += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

/* ---- marks: small files that say whose the directory is ---- */

static enum errc mark_create(const struct commit *c, int at, const char *name, const char *text,
			     struct err *e)
{
	char temporary[64];
	int fd = -1;
	/* Complete before it has its name: two subtasks start at once. */
	snprintf(temporary, sizeof(temporary), "%s.%ld", name, (long)gettid());
	unlinkat(at, temporary, 0);
	enum errc rc = confine_open(at, temporary, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, e);
	if (rc)
		return rc;
	rc = write_all(c, fd, text, strlen(text), name, e);
	if (!rc)
		rc = commit_sync(c, fd, name, e);
	close(fd);
	if (!rc && linkat(at, temporary, at, name, 0) != 0 && errno != EEXIST)
		rc = failed(c, errno, "create", name, e);
	unlinkat(at, temporary, 0);
	return rc ? rc : commit_sync(c, at, name, e);
}

static enum errc mark_read(int at, const char *name, char *out, size_t room, struct err *e)
{
	int fd = -1;
	enum errc rc = confine_open(at, name, O_RDONLY, 0, &fd, e);
	if (rc)
		return rc;
	ssize_t n = read(fd, out, room - 1);
	close(fd);
	if (n < 0)
		return err_errno(e, errno, "read %s", name);
	out[n] = '\0';
	return ERR_OK;
}

static enum errc mark_check(const struct commit *c, int at, const char *name, const char *text,
			    bool create, const char *meaning, struct err *e)
{
	char found[128];
	enum errc rc = mark_read(at, name, found, sizeof(found), e);
	if (rc == ERR_NOTFOUND && !create)
		return err_set(
			e, ERR_INVALID,
			"%s: no mark of the cluster is there any more: it is not the disk that "
			"this job wrote to before",
			c->path);
	if (rc == ERR_NOTFOUND) {
		rc = mark_create(c, at, name, text, e);
		if (!rc)
			rc = mark_read(at, name, found, sizeof(found), e);
	}
	if (rc)
		return rc;
	if (strcmp(found, text) != 0)
		return err_set(e, ERR_INVALID, "%s: %s (%s, not %s)", c->path, meaning, found,
			       text);
	return ERR_OK;
}

/* ---- opening ---- */

enum errc commit_open(struct commit *c, const char *root, const char *path,
		      const struct job_id *job, const char *uid, const char *cluster, bool fresh,
		      struct err *e)
{
	int root_fd = -1, weir_fd = -1;
	c->dir_fd = c->hidden_fd = -1;
	snprintf(c->path, sizeof(c->path), "%s", path);
	enum errc rc = confine_root(root, &root_fd, e);
	if (!rc)
		rc = confine_directory(root_fd, path, &c->dir_fd, e);
	if (!rc)
		rc = confine_directory(c->dir_fd, ".weir", &weir_fd, e);
	if (!rc)
		rc = mark_check(c, weir_fd, "cluster", cluster, fresh,
				"the directory belongs to another cluster", e);
	if (!rc)
		rc = confine_directory(weir_fd, job->hex, &c->hidden_fd, e);
	if (!rc)
		rc = mark_check(c, c->hidden_fd, "owner", uid, true,
				"two sinks of one job write to the same directory", e);
	if (root_fd >= 0)
		close(root_fd);
	if (weir_fd >= 0)
		close(weir_fd);
	return rc;
}

void commit_close(struct commit *c)
{
	if (c->dir_fd > 0)
		close(c->dir_fd);
	if (c->hidden_fd > 0)
		close(c->hidden_fd);
	c->dir_fd = c->hidden_fd = -1;
}

/* Calls visit() for every part in the directory until it fails. */
static enum errc each_part(const struct commit *c, int dir_fd,
			   enum errc (*visit)(void *ctx, const struct commit_name *name,
					      struct err *e),
			   void *ctx, struct err *e)
{
	int fd = -1;
	enum errc rc = confine_open(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0, &fd, e);
	if (rc)
		return rc;
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return failed(c, errno, "list", ".", e);
	}
	for (struct dirent *entry; !rc && (errno = 0, entry = readdir(d));) {
		struct commit_name name;
		if (commit_name_parse(entry->d_name, &name))
			rc = visit(ctx, &name, e);
	}
	if (!rc && errno)
		rc = failed(c, errno, "list", ".", e);
	closedir(d);
	return rc;
}

struct vacancy {
	const struct commit *c;
	uint32_t subtask;
	struct attempt attempt;
};

static enum errc check_vacant(void *ctx, const struct commit_name *name, struct err *e)
{
	const struct vacancy *v = ctx;
	char text[COMMIT_NAME_MAX];
	if (name->subtask != v->subtask || name->attempt.v < v->attempt.v)
		return ERR_OK;
	commit_name_text(name, text);
	return err_set(e, ERR_INVALID, "%s/%s exists: another job's output is in this directory",
		       v->c->path, text);
}

enum errc commit_check_vacant(struct commit *c, uint32_t subtask, struct attempt attempt,
			      struct err *e)
{
	struct vacancy v = {c, subtask, attempt};
	return each_part(c, c->dir_fd, check_vacant, &v, e);
}

enum errc commit_create(struct commit *c, const struct commit_name *name, int *out_fd,
			struct err *e)
{
	char text[COMMIT_NAME_MAX];
	commit_name_text(name, text);
	return confine_open(c->hidden_fd, text, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0666,
			    out_fd, e);
}

enum errc commit_prepare(struct commit *c, const struct commit_name *from,
			 const struct commit_part *to, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		char old[COMMIT_NAME_MAX], new[COMMIT_NAME_MAX];
		commit_name_text(&from[i], old);
		commit_name_text(&to[i].name, new);
		if (renameat2(c->hidden_fd, old, c->hidden_fd, new, RENAME_NOREPLACE) != 0)
			return failed(c, errno, "pre-commit", new, e);
	}
	return n ? commit_sync(c, c->hidden_fd, ".weir", e) : ERR_OK;
}

/* ---- the ledger ---- */

static void ledger_name(uint32_t subtask, char out[COMMIT_NAME_MAX])
{
	snprintf(out, COMMIT_NAME_MAX, "%" PRIu32 ".ledger", subtask);
}

/* A line counts only with its final dot: a torn one may look like another name's beginning. */
static void ledger_line(const struct commit_part *part, struct buf *out)
{
	char text[COMMIT_NAME_MAX];
	commit_name_text(&part->name, text);
	buf_printf(out, "\n%s %" PRIu64 " .\n", text, part->bytes);
}

static enum errc ledger_append(struct commit *c, uint32_t subtask, const struct buf *lines,
			       struct err *e)
{
	char name[COMMIT_NAME_MAX];
	int fd = -1;
	ledger_name(subtask, name);
	enum errc rc =
		confine_open(c->hidden_fd, name, O_WRONLY | O_CREAT | O_APPEND, 0666, &fd, e);
	if (rc)
		return rc;
	rc = write_all(c, fd, lines->data, lines->len, name, e);
	if (!rc)
		rc = commit_sync(c, fd, name, e);
	close(fd);
	return rc ? rc : commit_sync(c, c->hidden_fd, name, e);
}

/* How often this part is listed. */
static enum errc ledger_count(struct commit *c, const struct commit_part *part, unsigned *out,
			      struct err *e)
{
	char name[COMMIT_NAME_MAX], *line = NULL;
	size_t capacity = 0;
	int fd = -1;
	struct buf wanted = {0};
	ledger_name(part->name.subtask, name);
	enum errc rc = confine_open(c->hidden_fd, name, O_RDONLY, 0, &fd, e);
	*out = 0;
	if (rc)
		return rc == ERR_NOTFOUND ? ERR_OK : rc;
	FILE *f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return failed(c, errno, "read", name, e);
	}
	ledger_line(part, &wanted);
	while (getline(&line, &capacity, f) > 0)
		*out += strcmp(line, wanted.data + 1) == 0;
	if (ferror(f))
		rc = failed(c, errno, "read", name, e);
	fclose(f);
	free(line);
	buf_fini(&wanted);
	return rc;
}

/* ---- publishing ---- */

static enum errc is_pending(struct commit *c, const struct commit_part *part, bool *out,
			    struct err *e)
{
	char text[COMMIT_NAME_MAX];
	struct stat st;
	commit_name_text(&part->name, text);
	*out = fstatat(c->hidden_fd, text, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!*out && errno != ENOENT)
		return failed(c, errno, "look at", text, e);
	if (*out && (uint64_t)st.st_size != part->bytes)
		return err_set(e, ERR_CORRUPT, "%s/.weir/%s has %" PRIu64 " bytes, not %" PRIu64,
			       c->path, text, (uint64_t)st.st_size, part->bytes);
	return ERR_OK;
}

/* A pending part that is gone must have been committed: there is proof, or it was lost. `ours` is
 * how many listings in the ledger this call itself has made. */
static enum errc prove_committed(struct commit *c, const struct commit_part *part, unsigned ours,
				 struct err *e)
{
	char text[COMMIT_NAME_MAX];
	struct stat st;
	unsigned listed = 0;
	enum errc rc = ledger_count(c, part, &listed, e);
	if (rc || listed > ours)
		return rc;
	commit_name_text(&part->name, text);
	if (ours && fstatat(c->dir_fd, text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (uint64_t)st.st_size == part->bytes)
		return ERR_OK;
	return err_set(
		e, ERR_CORRUPT,
		"%s: part %s was pre-committed, is gone, and the ledger does not list it: its "
		"output is lost, or this is another disk",
		c->path, text);
}

static enum errc list_in_ledgers(struct commit *c, const struct commit_part *parts,
				 const bool *pending, size_t n, struct err *e)
{
	enum errc rc = ERR_OK;
	for (size_t i = 0; i < n && !rc; i++) {
		uint32_t subtask = parts[i].name.subtask;
		bool first = pending[i];
		for (size_t k = 0; k < i && first; k++)
			first = !(pending[k] && parts[k].name.subtask == subtask);
		if (!first)
			continue;
		struct buf lines = {0};
		for (size_t k = i; k < n; k++)
			if (pending[k] && parts[k].name.subtask == subtask)
				ledger_line(&parts[k], &lines);
		rc = ledger_append(c, subtask, &lines, e);
		buf_fini(&lines);
	}
	return rc;
}

static enum errc make_visible(struct commit *c, const struct commit_part *part, struct err *e)
{
	char text[COMMIT_NAME_MAX];
	commit_name_text(&part->name, text);
	if (renameat2(c->hidden_fd, text, c->dir_fd, text, RENAME_NOREPLACE) == 0)
		return ERR_OK;
	if (errno == ENOENT) /* a former attempt that lives on was quicker */
		return prove_committed(c, part, 1, e);
	if (errno == EEXIST)
		return err_set(e, ERR_INVALID, "%s/%s exists: another job writes here too", c->path,
			       text);
	return failed(c, errno, "commit", text, e);
}

static enum errc publish(struct commit *c, const struct commit_part *parts, bool *pending, size_t n,
			 struct err *e)
{
	size_t some = 0;
	for (size_t i = 0; i < n; i++) {
		enum errc rc = is_pending(c, &parts[i], &pending[i], e);
		if (!rc && !pending[i])
			rc = prove_committed(c, &parts[i], 0, e);
		if (rc)
			return rc;
		some += pending[i];
	}
	moment(c, "sink-commit-before-ledger");
	enum errc rc = some ? list_in_ledgers(c, parts, pending, n, e) : ERR_OK;
	if (rc)
		return rc;
	moment(c, "sink-commit-after-ledger");
	for (size_t i = 0; i < n && !rc; i++)
		rc = pending[i] ? make_visible(c, &parts[i], e) : ERR_OK;
	/* Synced even if nothing was pending: the one that renamed may have died before its own. */
	if (!rc)
		rc = commit_sync(c, c->dir_fd, ".", e);
	if (!rc)
		rc = commit_sync(c, c->hidden_fd, ".weir", e);
	if (!rc)
		moment(c, "sink-commit-after-rename");
	return rc;
}

enum errc commit_publish(struct commit *c, const struct commit_part *parts, size_t n, struct err *e)
{
	if (!n)
		return ERR_OK;
	bool *pending = calloc(n, sizeof(*pending));
	if (!pending)
		return err_set(e, ERR_LIMIT, "out of memory for %zu parts", n);
	enum errc rc = publish(c, parts, pending, n, e);
	free(pending);
	return rc;
}

enum errc commit_publish_open(struct commit *c, const struct commit_name *from,
			      const struct commit_name *to, struct err *e)
{
	char old[COMMIT_NAME_MAX], new[COMMIT_NAME_MAX];
	commit_name_text(from, old);
	commit_name_text(to, new);
	if (renameat2(c->hidden_fd, old, c->dir_fd, new, RENAME_NOREPLACE) != 0)
		return failed(c, errno, "make visible", new, e);
	return commit_sync(c, c->dir_fd, ".", e);
}

/* ---- left-overs ---- */

enum errc commit_discard(struct commit *c, const struct commit_name *name, struct err *e)
{
	char text[COMMIT_NAME_MAX];
	commit_name_text(name, text);
	if (unlinkat(c->hidden_fd, text, 0) != 0 && errno != ENOENT)
		return failed(c, errno, "remove", text, e);
	return ERR_OK;
}

struct sweep {
	struct commit *c;
	uint32_t subtask, parallelism;
	struct attempt attempt;
	const struct commit_part *keep;
	size_t n_keep;
};

static enum errc sweep_one(void *ctx, const struct commit_name *name, struct err *e)
{
	const struct sweep *s = ctx;
	if (name->attempt.v >= s->attempt.v || name->subtask % s->parallelism != s->subtask)
		return ERR_OK;
	for (size_t i = 0; i < s->n_keep; i++)
		if (same_name(&s->keep[i].name, name))
			return ERR_OK;
	return commit_discard(s->c, name, e);
}

enum errc commit_sweep(struct commit *c, uint32_t subtask, uint32_t parallelism,
		       struct attempt attempt, const struct commit_part *keep, size_t n_keep,
		       struct err *e)
{
	struct sweep s = {c, subtask, parallelism, attempt, keep, n_keep};
	return each_part(c, c->hidden_fd, sweep_one, &s, e);
}
