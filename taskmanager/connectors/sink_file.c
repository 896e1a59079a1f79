/*
 * sink.file - rows into part files, each visible exactly once.
 *
 * The rows of one checkpoint interval go to one part, or to several when a part
 * reaches rollBytes. At the barrier all of them are synced and become pending
 * (commit.h); they are in the state until their checkpoint's completion has
 * made them visible. Completion is cumulative; an abort touches nothing, since
 * what was pre-committed for it belongs to the next checkpoint that completes;
 * close() removes nothing, since the leader may have completed the checkpoint.
 *
 * The state is given to every subtask (union): subtask i answers for the parts of
 * the former subtasks j with j mod parallelism = i, all of them: it commits those
 * in the state and sweeps those that are not. It sweeps after the start and again after completed
 * checkpoints, for SWEEP_MS: a former attempt may live on unheard for that long.
 *
 * at-least-once: parts become visible at the barrier, and nothing is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "job/optypes.h"
#include "taskmanager/connectors/commit.h"
#include "taskmanager/connectors/connectors.h"
#include "taskmanager/connectors/render.h"

enum {
	BUFFER_BYTES = 256 << 10,
	SWEEP_MS = 75000,   /* the orphan timeout, and the time in which an orphan ends */
	PARTS_MAX = 100000, /* not visible yet: something is very wrong above that */
	ITEM_BYTES = 1 + 3 * 4 + 2 * 8,
	ITEM_VERSION = 1
};

struct sink_file {
	struct op op;
	struct commit commit;
	bool transactional, json;
	uint64_t roll_bytes;
	struct buf text;                  /* rendered, not written yet */
	int fd;                           /* of the part being written; -1: none */
	uint64_t bytes;                   /* in it, with `text` */
	uint32_t next_open;               /* number of the next open part */
	size_t n_closed, closed_capacity; /* parts of this interval, in order; owns */
	struct commit_part *closed;       /* names are those of open parts */
	size_t n_pending, pending_capacity;
	struct commit_part *pending; /* pre-committed, not confirmed; owns */
	uint64_t sweep_until_ms;
};

static struct sink_file *self(struct op *o)
{
	return (struct sink_file *)o;
}

static void moment(void *ctx, const char *name)
{
	op_kill_point(ctx, name);
}

static enum errc list_add(struct commit_part **list, size_t *n, size_t *capacity,
			  const struct commit_part *part, struct err *e)
{
	if (*n == PARTS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d parts wait for a checkpoint", PARTS_MAX);
	if (*n == *capacity) {
		*capacity = *capacity ? 2 * *capacity : 8;
		*list = mem_resize(*list, *capacity, sizeof(**list));
	}
	(*list)[(*n)++] = *part;
	return ERR_OK;
}

/* ---- start ---- */

static enum errc open_(struct op *o, struct err *e)
{
	struct sink_file *s = self(o);
	const struct op_context *c = o->context;
	s->fd = -1;
	s->transactional = optype_transactional(c->spec);
	s->json = strcmp(optype_text(c->spec, "format"), "jsonl") == 0;
	s->roll_bytes = (uint64_t)optype_int(c->spec, "rollBytes");
	s->commit.moment = moment;
	/* The context is only read through it. */
	s->commit.ctx = (void *)(uintptr_t)c;
	return commit_open(&s->commit, c->files_root, optype_text(c->spec, "path"), &c->job, c->uid,
			   c->cluster, !(c->restored.v && c->found), e);
}

static void put(unsigned char *at, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get(const unsigned char *at, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

static void item_encode(const struct commit_part *part, unsigned char at[ITEM_BYTES])
{
	at[0] = ITEM_VERSION;
	put(at + 1, part->name.subtask, 4);
	put(at + 5, part->name.attempt.v, 4);
	put(at + 9, part->name.n, 4);
	put(at + 13, part->name.checkpoint.v, 8);
	put(at + 21, part->bytes, 8);
}

static enum errc restore(struct op *o, unsigned list, const void *item, size_t len, struct err *e)
{
	struct sink_file *s = self(o);
	const unsigned char *at = item;
	(void)list;
	if (len != ITEM_BYTES || at[0] != ITEM_VERSION)
		return err_set(e, ERR_CORRUPT, "a pending part of the checkpoint cannot be read");
	struct commit_part part = {.name = {.subtask = (uint32_t)get(at + 1, 4),
					    .attempt = {(uint32_t)get(at + 5, 4)},
					    .n = (uint32_t)get(at + 9, 4),
					    .checkpoint = {get(at + 13, 8)}},
				   .bytes = get(at + 21, 8)};
	if (!part.name.checkpoint.v)
		return err_set(e, ERR_CORRUPT, "a pending part of the checkpoint has no number");
	if (part.name.subtask % o->context->parallelism != o->context->subtask)
		return ERR_OK; /* another subtask answers for it */
	return list_add(&s->pending, &s->n_pending, &s->pending_capacity, &part, e);
}

static enum errc sweep(struct sink_file *s, struct err *e)
{
	const struct op_context *c = s->op.context;
	return commit_sweep(&s->commit, c->subtask, c->parallelism, c->attempt, s->pending,
			    s->n_pending, e);
}

static enum errc start(struct op *o, struct err *e)
{
	struct sink_file *s = self(o);
	const struct op_context *c = o->context;
	s->sweep_until_ms = op_now_ms(c) + SWEEP_MS;
	if (!c->restored.v || !c->found) {
		/* Of a transactional sink nothing is visible before a checkpoint: with none to
		 * restore, whatever is there is another job's, also for a later attempt. */
		struct attempt least = s->transactional ? (struct attempt){0} : c->attempt;
		enum errc rc = commit_check_vacant(&s->commit, c->subtask, least, e);
		if (rc)
			return rc;
	}
	return sweep(s, e);
}

/* ---- writing ---- */

static enum errc flush(struct sink_file *s, struct err *e)
{
	size_t done = 0;
	while (done < s->text.len) {
		ssize_t n = write(s->fd, s->text.data + done, s->text.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EIO
				       ? err_set(e, ERR_UNAVAILABLE,
						 "write a part in %s: input/output error",
						 s->commit.path)
				       : err_errno(e, errno, "write a part in %s", s->commit.path);
		done += (size_t)n;
	}
	buf_clear(&s->text);
	/* The disk begins now, so that the barrier's fsync has less to wait for. */
	sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return ERR_OK;
}

static struct commit_name open_name(const struct sink_file *s, uint32_t n)
{
	const struct op_context *c = s->op.context;
	return (struct commit_name){.subtask = c->subtask, .attempt = c->attempt, .n = n};
}

static enum errc part_begin(struct sink_file *s, struct err *e)
{
	struct commit_name name = open_name(s, s->next_open);
	enum errc rc = commit_create(&s->commit, &name, &s->fd, e);
	if (rc)
		return rc;
	s->next_open++;
	s->bytes = 0;
	return ERR_OK;
}

/* The part being written is complete and on the disk. */
static enum errc part_end(struct sink_file *s, struct err *e)
{
	struct commit_part part = {.name = open_name(s, s->next_open - 1), .bytes = s->bytes};
	char text[COMMIT_NAME_MAX];
	commit_name_text(&part.name, text);
	enum errc rc = flush(s, e);
	if (!rc)
		rc = commit_sync(&s->commit, s->fd, text, e);
	if (!rc)
		rc = list_add(&s->closed, &s->n_closed, &s->closed_capacity, &part, e);
	if (rc)
		return rc;
	close(s->fd);
	s->fd = -1;
	return ERR_OK;
}

static enum errc write_row(struct sink_file *s, const struct row *r, struct err *e)
{
	const struct op_context *c = s->op.context;
	enum errc rc = ERR_OK;
	if (s->fd < 0)
		rc = part_begin(s, e);
	if (rc)
		return rc;
	size_t before = s->text.len;
	render_row(s->json ? RENDER_JSON : RENDER_TSV, c->input_schema, c->input, r, &s->text);
	s->bytes += s->text.len - before;
	if (s->bytes >= s->roll_bytes)
		return part_end(s, e);
	return s->text.len >= BUFFER_BYTES ? flush(s, e) : ERR_OK;
}

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	struct sink_file *s = self(o);
	(void)out;
	batch_each(in, r)
	{
		enum errc rc = write_row(s, r, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- checkpoints ---- */

static struct commit_part numbered(const struct commit_part *closed, struct ckpt_id checkpoint,
				   uint32_t n)
{
	struct commit_part part = *closed;
	part.name.checkpoint = checkpoint;
	part.name.n = n;
	return part;
}

/* All closed parts of the interval become pending, under the barrier's number. */
static enum errc precommit(struct sink_file *s, struct ckpt_id checkpoint, struct err *e)
{
	size_t first = s->n_pending;
	enum errc rc = ERR_OK;
	struct commit_name *from = mem_array(s->n_closed + 1, sizeof(*from));
	for (size_t i = 0; i < s->n_closed && !rc; i++) {
		struct commit_part part = numbered(&s->closed[i], checkpoint, (uint32_t)i);
		from[i] = s->closed[i].name;
		rc = list_add(&s->pending, &s->n_pending, &s->pending_capacity, &part, e);
	}
	if (!rc && s->n_closed)
		rc = commit_prepare(&s->commit, from, s->pending + first, s->n_closed, e);
	free(from);
	s->n_closed = 0;
	return rc;
}

static enum errc publish_at_once(struct sink_file *s, struct ckpt_id checkpoint, struct err *e)
{
	enum errc rc = ERR_OK;
	for (size_t i = 0; i < s->n_closed && !rc; i++) {
		struct commit_part part = numbered(&s->closed[i], checkpoint, (uint32_t)i);
		rc = commit_publish_open(&s->commit, &s->closed[i].name, &part.name, e);
	}
	s->n_closed = 0;
	return rc;
}

static enum errc snapshot(struct op *o, struct ckpt_id checkpoint, struct op_lists *lists,
			  struct err *e)
{
	struct sink_file *s = self(o);
	enum errc rc = s->fd >= 0 ? part_end(s, e) : ERR_OK;
	if (rc)
		return rc;
	if (!s->transactional)
		return publish_at_once(s, checkpoint, e);
	rc = precommit(s, checkpoint, e);
	for (size_t i = 0; i < s->n_pending && !rc; i++) {
		unsigned char item[ITEM_BYTES];
		item_encode(&s->pending[i], item);
		rc = op_list_add(lists, 0, item, sizeof(item), e);
	}
	if (!rc)
		op_kill_point(o->context, "sink-precommit");
	return rc;
}

static bool completes(const struct commit_part *part, struct ckpt_id checkpoint)
{
#ifdef WEIR_MUTANT_COMMIT_EXACTLY_N
	return part->name.checkpoint.v == checkpoint.v;
#else
	return part->name.checkpoint.v <= checkpoint.v;
#endif
}

static enum errc on_complete(struct op *o, struct ckpt_id checkpoint, struct err *e)
{
	struct sink_file *s = self(o);
	size_t n = 0, kept = 0;
	struct commit_part *parts = mem_array(s->n_pending + 1, sizeof(*parts));
	for (size_t i = 0; i < s->n_pending; i++)
		if (completes(&s->pending[i], checkpoint))
			parts[n++] = s->pending[i];
	enum errc rc = commit_publish(&s->commit, parts, n, e);
	free(parts);
	if (rc)
		return rc;
	for (size_t i = 0; i < s->n_pending; i++)
		if (!completes(&s->pending[i], checkpoint))
			s->pending[kept++] = s->pending[i];
	s->n_pending = kept;
	return op_now_ms(o->context) < s->sweep_until_ms ? sweep(s, e) : ERR_OK;
}

#if defined(WEIR_MUTANT_SINK_ROLLBACK_AT_ABORT) || defined(WEIR_MUTANT_SINK_ROLLBACK_AT_CLOSE)
static void roll_back(struct sink_file *s, struct ckpt_id only)
{
	size_t kept = 0;
	for (size_t i = 0; i < s->n_pending; i++) {
		bool stays = only.v && s->pending[i].name.checkpoint.v != only.v;
		if (stays || commit_discard(&s->commit, &s->pending[i].name, NULL))
			s->pending[kept++] = s->pending[i];
	}
	s->n_pending = kept;
}
#endif

static enum errc on_abort(struct op *o, struct ckpt_id checkpoint, struct err *e)
{
	(void)e;
#ifdef WEIR_MUTANT_SINK_ROLLBACK_AT_ABORT
	roll_back(self(o), checkpoint);
#else
	(void)o;
	(void)checkpoint; /* its parts wait for the next checkpoint */
#endif
	return ERR_OK;
}

/* The job is over for good. What a completed checkpoint holds stays, committed or not: this worker
 * may not have heard of the completion, and may be of an attempt that others have replaced. */
static enum errc on_cancel(struct op *o, struct ckpt_id completed, struct err *e)
{
	struct sink_file *s = self(o);
	enum errc rc = ERR_OK;
	for (size_t i = 0; i < s->n_pending && !rc; i++)
		if (s->pending[i].name.checkpoint.v > completed.v)
			rc = commit_discard(&s->commit, &s->pending[i].name, e);
	for (size_t i = 0; i < s->n_closed && !rc; i++)
		rc = commit_discard(&s->commit, &s->closed[i].name, e);
	if (!rc && s->fd >= 0) {
		struct commit_name name = open_name(s, s->next_open - 1);
		rc = commit_discard(&s->commit, &name, e);
	}
	return rc;
}

static void close_(struct op *o)
{
	struct sink_file *s = self(o);
#ifdef WEIR_MUTANT_SINK_ROLLBACK_AT_CLOSE
	roll_back(s, (struct ckpt_id){0});
#endif
	if (s->fd >= 0)
		close(s->fd);
	commit_close(&s->commit);
	buf_fini(&s->text);
	free(s->closed);
	free(s->pending);
}

const struct op_type connector_sink_file = {
	.name = "sink.file",
	.size = sizeof(struct sink_file),
	.sink = true,
	.n_lists = 1,
	.lists = {OP_LIST_UNION},
	.open = open_,
	.restore = restore,
	.start = start,
	.on_batch = on_batch,
	.snapshot = snapshot,
	.on_complete = on_complete,
	.on_abort = on_abort,
	.on_cancel = on_cancel,
	.close = close_,
};
