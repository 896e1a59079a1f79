/*
 * source.file - the lines of files, each exactly `loop` times.
 *
 * Ranges (ranges.h) are read round by round: no range is in round r + 1 before
 * all of this subtask's have done round r. A line ends with '\n', which is not
 * part of it; the last line of a file may lack it. The file must stay what it
 * was when it was cut (size, modification time, inode): looked at whenever a
 * range is opened and with every buffer read.
 *
 * The rate limit is the job's: each subtask takes its share. It is a line
 * through the start: rows due = elapsed * rate; a subtask that fell behind by
 * more than RATE_BURST_MS does not catch up in one burst.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "job/optypes.h"
#include "taskmanager/connectors/confine.h"
#include "taskmanager/connectors/connectors.h"
#include "taskmanager/connectors/ranges.h"

enum {
	BUFFER_BYTES = 256 << 10,
	LINE_BYTES_MAX = ROW_BYTES_MAX - 16, /* what a row of one text column can hold */
	RATE_BURST_MS = 200,
	RATE_WAIT_MS = 4,
	RANGES_MAX = 1 << 16
};

struct source_file {
	struct op op;
	int root_fd;
	uint64_t loop;
	double rate; /* rows per ms of this subtask; 0: no limit */
	uint64_t rate_start_ms;
	double rate_emitted;
	struct range *ranges; /* owns */
	size_t n_ranges;
	struct range *current;     /* NULL: none is open */
	int fd;                    /* of `current` */
	char *data;                /* owns: BUFFER_BYTES or, for a long line, more */
	size_t capacity, have, at; /* data[at..have) is not emitted yet; */
	uint64_t read_pos;         /* the file's offset behind data[have) */
};

static struct source_file *self(struct op *o)
{
	return (struct source_file *)o;
}

static enum errc open_(struct op *o, struct err *e)
{
	struct source_file *s = self(o);
	const struct op_context *c = o->context;
	s->root_fd = s->fd = -1;
	s->loop = (uint64_t)optype_int(c->spec, "loop");
	s->rate = (double)optype_int(c->spec, "rateLimit") / 1000.0 / c->parallelism;
	s->capacity = BUFFER_BYTES;
	s->data = mem_array(1, s->capacity);
	return confine_root(c->files_root, &s->root_fd, e);
}

static enum errc range_add(struct source_file *s, const struct range *r, struct err *e)
{
	if (s->n_ranges == RANGES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d file ranges in one subtask", RANGES_MAX);
	if ((s->n_ranges & (s->n_ranges - 1)) == 0)
		s->ranges = mem_resize(s->ranges, s->n_ranges ? 2 * s->n_ranges : 1,
				       sizeof(*s->ranges));
	s->ranges[s->n_ranges++] = *r;
	return ERR_OK;
}

static enum errc restore(struct op *o, unsigned list, const void *item, size_t len, struct err *e)
{
	struct range r;
	enum errc rc = range_decode(item, len, &r, e);
	(void)list;
	return rc ? rc : range_add(self(o), &r, e);
}

/* ---- the first start ---- */

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static enum errc open_file(struct source_file *s, const char *path, int *out_fd, struct stat *st,
			   struct err *e)
{
	int fd = -1;
	enum errc rc = confine_open(s->root_fd, path, O_RDONLY | O_NONBLOCK, 0, &fd, e);
	if (rc)
		return rc;
	if (fstat(fd, st) != 0) {
		rc = err_errno(e, errno, "look at %s", path);
	} else if (!S_ISREG(st->st_mode)) {
		rc = err_set(e, ERR_INVALID, "%s: not a regular file", path);
	}
	if (rc) {
		close(fd);
		return rc;
	}
	*out_fd = fd;
	return ERR_OK;
}

/* This subtask's pieces of one file; `*piece` counts the pieces of all files. */
static enum errc cut_file(struct source_file *s, const char *path, uint64_t *piece, struct err *e)
{
	const struct op_context *c = s->op.context;
	struct stat st;
	int fd = -1;
	if (strlen(path) >= RANGE_PATH_MAX)
		return err_set(e, ERR_LIMIT, "%s: the path is too long", path);
	enum errc rc = open_file(s, path, &fd, &st, e);
	if (rc)
		return rc;
	close(fd);
	uint64_t size = (uint64_t)st.st_size;
	uint32_t n = ranges_count(size, c->parallelism, c->max_parallelism);
	for (uint32_t k = 0; k < n && !rc; k++, (*piece)++) {
		if (*piece % c->parallelism != c->subtask)
			continue;
		struct range r = {.size = size,
				  .mtime_ns = mtime_ns(&st),
				  .inode = st.st_ino,
				  .start = ranges_bound(size, n, k),
				  .end = ranges_bound(size, n, k + 1)};
		snprintf(r.path, sizeof(r.path), "%s", path);
		range_rewind(&r);
		rc = range_add(s, &r, e);
	}
	return rc;
}

static enum errc start(struct op *o, struct err *e)
{
	struct source_file *s = self(o);
	const json_t *paths = optype_array(o->context->spec, "path");
	uint64_t piece = 0;
	s->rate_start_ms = op_now_ms(o->context);
	if (o->context->restored.v && o->context->found)
		return ERR_OK;
	for (size_t i = 0; i < json_array_size(paths); i++) {
		const char *path = json_string_value(json_array_get(paths, i));
		enum errc rc = cut_file(s, path ? path : "", &piece, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- reading ---- */

static enum errc check_same(const struct range *r, const struct stat *st, struct err *e)
{
	if ((uint64_t)st->st_size == r->size && mtime_ns(st) == r->mtime_ns &&
	    st->st_ino == r->inode)
		return ERR_OK;
	return err_set(e, ERR_INVALID,
		       "%s: the file changed since the job began to read it (size, modification "
		       "time or inode)",
		       r->path);
}

static void range_close(struct source_file *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->current = NULL;
	s->have = s->at = 0;
}

static enum errc range_open(struct source_file *s, struct range *r, struct err *e)
{
	struct stat st;
	enum errc rc = open_file(s, r->path, &s->fd, &st, e);
	if (!rc)
		rc = check_same(r, &st, e);
	if (rc)
		return rc;
	s->current = r;
	/* The byte before tells whether a line begins at `start`. */
	s->read_pos = r->fresh && r->pos > 0 ? r->pos - 1 : r->pos;
	s->have = s->at = 0;
	return ERR_OK;
}

/* The range that is furthest behind; NULL: all is read. */
static struct range *range_next(struct source_file *s)
{
	struct range *next = NULL;
	for (size_t i = 0; i < s->n_ranges; i++) {
		struct range *r = &s->ranges[i];
		if (r->round < s->loop && (!next || r->round < next->round))
			next = r;
	}
	return next;
}

/* More bytes behind those not emitted yet. Nothing is added only at the end of the file. */
static enum errc read_more(struct source_file *s, struct err *e)
{
	const struct range *r = s->current;
	struct stat st;
	memmove(s->data, s->data + s->at, s->have - s->at);
	s->have -= s->at;
	s->at = 0;
	if (s->have > LINE_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "%s: the line at offset %llu is longer than %d bytes",
			       r->path, (unsigned long long)r->pos, LINE_BYTES_MAX);
	if (s->capacity - s->have < BUFFER_BYTES / 2) {
		s->capacity *= 2;
		s->data = mem_resize(s->data, s->capacity, 1);
	}
	ssize_t n;
	do {
		n = pread(s->fd, s->data + s->have, s->capacity - s->have, (off_t)s->read_pos);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(e, ERR_UNAVAILABLE, "read %s: %s", r->path, strerrorname_np(errno));
	if (fstat(s->fd, &st) != 0)
		return err_errno(e, errno, "look at %s", r->path);
	s->have += (size_t)n;
	s->read_pos += (uint64_t)n;
	return check_same(r, &st, e);
}

/* Find the first line of the round: false when more bytes are needed. */
static bool align(struct source_file *s)
{
	struct range *r = s->current;
	if (r->pos == 0) {
		r->fresh = false;
		return true;
	}
	const char *from = s->data + s->at;
	const char *nl = memchr(from, '\n', s->have - s->at);
	size_t skip = nl ? (size_t)(nl - from) + 1 : s->have - s->at;
	s->at += skip;
	r->pos = s->read_pos - (s->have - s->at);
	if (!nl)
		return false;
	r->fresh = false;
	return true;
}

static void round_done(struct source_file *s)
{
	struct range *r = s->current;
	r->round++;
	range_rewind(r);
	range_close(s);
}

/* Emit the whole lines in the buffer, at most `budget`. */
static uint32_t emit_lines(struct source_file *s, struct op_out *out, uint32_t budget)
{
	struct range *r = s->current;
	uint32_t n = 0;
	while (n < budget && r->pos < r->end) {
		const char *from = s->data + s->at;
		const char *nl = memchr(from, '\n', s->have - s->at);
		if (!nl)
			break;
		size_t len = (size_t)(nl - from);
		if (len > LINE_BYTES_MAX)
			break; /* read_more() says it */
		row_text_put(op_out_row(out, row_text_size(len)), from, len);
		s->at += len + 1;
		r->pos += len + 1;
		n++;
	}
	return n;
}

/* Work on the open range until rows came out, more must be read, or its round is done. */
static enum errc advance(struct source_file *s, struct op_out *out, uint32_t budget, uint32_t *rows,
			 struct err *e)
{
	struct range *r = s->current;
	enum errc rc;
	if (!r->fresh || (s->have > s->at && align(s))) {
		*rows = emit_lines(s, out, budget);
		if (r->pos >= r->end)
			round_done(s);
		if (*rows || !s->current)
			return ERR_OK;
	} else if (r->pos >= r->end && s->have > 0) {
		round_done(s); /* no line begins here */
		return ERR_OK;
	} else if (r->pos == 0) {
		r->fresh = false;
	}
	size_t before = s->have - s->at;
	rc = read_more(s, e);
	if (rc || s->have > before)
		return rc;
	/* The end of the file: what is left is a line without its '\n'. */
	if (before && !r->fresh) {
		rc = op_emit_text(out, s->data + s->at, before, e);
		*rows = 1;
	}
	if (!rc)
		round_done(s);
	return rc;
}

/* ---- the rate ---- */

/* How many rows may go out now; 0: `*wait_ms` first. */
static uint32_t due(struct source_file *s, uint32_t budget, uint32_t *wait_ms)
{
	if (s->rate <= 0)
		return budget;
	double elapsed = (double)(op_now_ms(s->op.context) - s->rate_start_ms);
	double ahead = elapsed * s->rate - s->rate_emitted;
	double burst = s->rate * RATE_BURST_MS;
	if (burst < 1)
		burst = 1;
	if (ahead > burst) {
		s->rate_emitted += ahead - burst;
		ahead = burst;
	}
	if (ahead >= 1)
		return ahead < budget ? (uint32_t)ahead : budget;
	double wait = (1 - ahead) / s->rate;
	*wait_ms = wait < RATE_WAIT_MS ? RATE_WAIT_MS : wait > 1000 ? 1000 : (uint32_t)wait;
	return 0;
}

static enum errc poll_(struct op *o, struct op_out *out, uint32_t budget, struct op_poll *result,
		       struct err *e)
{
	struct source_file *s = self(o);
	uint32_t wait_ms = 0, rows = 0;
	enum errc rc = ERR_OK;
	*result = (struct op_poll){.state = OP_POLL_MORE, .wait_fd = -1};
	budget = due(s, budget, &wait_ms);
	if (!budget) {
		result->state = OP_POLL_IDLE;
		result->wait_ms = wait_ms;
		return ERR_OK;
	}
	if (!s->current) {
		struct range *next = range_next(s);
		if (!next) {
			result->state = OP_POLL_END;
			return ERR_OK;
		}
		rc = range_open(s, next, e);
	}
	if (!rc)
		rc = advance(s, out, budget, &rows, e);
	s->rate_emitted += rows;
	return rc;
}

static enum errc snapshot(struct op *o, struct ckpt_id checkpoint, struct op_lists *lists,
			  struct err *e)
{
	struct source_file *s = self(o);
	struct buf item = {0};
	enum errc rc = ERR_OK;
	(void)checkpoint;
	for (size_t i = 0; i < s->n_ranges && !rc; i++) {
		buf_clear(&item);
		range_encode(&s->ranges[i], &item);
		rc = op_list_add(lists, 0, item.data, item.len, e);
	}
	buf_fini(&item);
	return rc;
}

static void close_(struct op *o)
{
	struct source_file *s = self(o);
	range_close(s);
	if (s->root_fd >= 0)
		close(s->root_fd);
	free(s->ranges);
	free(s->data);
}

const struct op_type connector_source_file = {
	.name = "source.file",
	.size = sizeof(struct source_file),
	.source = true,
	.n_lists = 1,
	.lists = {OP_LIST_SPLIT},
	.open = open_,
	.restore = restore,
	.start = start,
	.poll = poll_,
	.snapshot = snapshot,
	.close = close_,
};
