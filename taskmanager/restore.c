#include "taskmanager/restore.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "job/keygroup.h"

/* ---- the manifest ---- */

static enum errc object_parse(const json_t *o, struct restore_object *out, struct err *e)
{
	const char *path, *checksum;
	int64_t bytes;
	enum errc code = json_get_text(o, "objects[]", "path", &path, e);

	if (code == ERR_OK)
		code = json_get_i64(o, "objects[]", "bytes", 1, INT64_MAX, &bytes, e);
	if (code == ERR_OK)
		code = json_get_text(o, "objects[]", "checksum", &checksum, e);
	if (code != ERR_OK)
		return code;
	if (!text_hex64(checksum, &out->checksum))
		return err_set(e, ERR_INVALID, "objects[].checksum: not 16 hexadecimal digits");
	out->path = mem_text(path);
	out->bytes = (uint64_t)bytes;
	out->copy = -1;
	return ERR_OK;
}

static enum errc op_parse(const char *uid, const json_t *o, struct restore_op *out, struct err *e)
{
	int64_t p, max;
	enum errc code = json_get_i64(o, uid, "parallelism", 1, 32768, &p, e);

	if (code == ERR_OK)
		code = json_get_i64(o, uid, "maxParallelism", 1, 32768, &max, e);
	if (code != ERR_OK)
		return code;
	*out = (struct restore_op){mem_text(uid), (uint32_t)p, (uint32_t)max};
	return ERR_OK;
}

static enum errc manifest_parse(json_t *doc, struct restore *r, struct err *e)
{
	json_t *objects, *operators, *value;
	const char *uid;
	size_t i;
	int64_t id, format;
	enum errc code = json_get_i64(doc, "manifest", "format", 1, 1, &format, e);

	if (code == ERR_OK)
		code = json_get_i64(doc, "manifest", "checkpoint", 1, INT64_MAX, &id, e);
	if (code == ERR_OK)
		code = json_need(doc, "manifest", "objects", &objects, e);
	if (code == ERR_OK)
		code = json_need(doc, "manifest", "operators", &operators, e);
	if (code != ERR_OK)
		return code;
	if (json_array_size(objects) > RESTORE_OBJECTS_MAX)
		return err_set(e, ERR_LIMIT, "objects: too many");
	r->checkpoint.v = (uint64_t)id;
	r->objects = mem_array(json_array_size(objects) + 1, sizeof(*r->objects));
	r->ops = mem_array(json_object_size(operators) + 1, sizeof(*r->ops));
	json_array_foreach (objects, i, value) {
		if (json_is_null(value))
			continue;
		code = object_parse(value, &r->objects[r->n_objects], e);
		if (code != ERR_OK)
			return code;
		r->n_objects++;
	}
	json_object_foreach (operators, uid, value) {
		code = op_parse(uid, value, &r->ops[r->n_ops], e);
		if (code != ERR_OK)
			return code;
		r->n_ops++;
	}
	return ERR_OK;
}

enum errc restore_load(struct storage *s, struct local *local, const char *manifest,
		       const char *checksum, struct restore *out, struct err *e)
{
	struct restore r = {.storage = s, .local = local};
	struct buf b = {0};
	json_t *doc = NULL;
	uint64_t want;

	enum errc code = storage_get(s, manifest, RESTORE_MANIFEST_MAX, &b, e);
	if (code == ERR_NOTFOUND)
		code = err_set(e, ERR_CORRUPT, "the object does not exist");
	if (code == ERR_OK && *checksum &&
	    (!text_hex64(checksum, &want) || XXH3_64bits(b.data, b.len) != want))
		code = err_set(e, ERR_CORRUPT, "its checksum is not %s", checksum);
	if (code == ERR_OK && (json_parse(b.data ? b.data : "", b.len, &doc, e) != ERR_OK ||
			       manifest_parse(doc, &r, e) != ERR_OK)) {
		struct err inner = *e;
		code = err_set(e, ERR_CORRUPT, "%s", inner.text);
	}
	json_decref(doc);
	buf_fini(&b);
	if (code != ERR_OK) {
		restore_fini(&r);
		return err_wrap(e, code, "manifest %s", manifest);
	}
	for (size_t i = 0; i < r.n_objects; i++)
		r.objects[i].copy = local_open_copy(local, r.objects[i].path, r.objects[i].bytes);
	*out = r;
	return ERR_OK;
}

size_t restore_copies(const struct restore *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_objects; i++)
		n += r->objects[i].copy >= 0;
	return n;
}

void restore_fini(struct restore *r)
{
	for (size_t i = 0; i < r->n_objects; i++) {
		free(r->objects[i].path);
		if (r->objects[i].copy >= 0)
			close(r->objects[i].copy);
	}
	for (size_t i = 0; i < r->n_ops; i++)
		free(r->ops[i].uid);
	free(r->objects);
	free(r->ops);
	*r = (struct restore){0};
}

const struct restore_op *restore_find(const struct restore *r, const char *uid)
{
	for (size_t i = 0; i < r->n_ops; i++)
		if (strcmp(r->ops[i].uid, uid) == 0)
			return &r->ops[i];
	return NULL;
}

/* ---- reading objects ---- */

struct ranged {
	struct object_source source; /* first */
	struct restore *restore;
	const struct restore_object *object;
};

static enum errc copy_read(struct ranged *r, uint64_t offset, void *data, size_t len, struct err *e)
{
	if (!local_read(r->object->copy, data, len, offset))
		return err_set(e, ERR_CORRUPT, "%s: its local copy cannot be read",
			       r->object->path);
	atomic_fetch_add(&r->restore->tally.local_bytes, len);
	return ERR_OK;
}

static enum errc ranged_read(struct object_source *s, uint64_t offset, void *data, size_t len,
			     struct err *e)
{
	struct ranged *r = (struct ranged *)(void *)s;

	if (r->object->copy >= 0)
		return copy_read(r, offset, data, len, e);
	enum errc code =
		storage_get_range(r->restore->storage, r->object->path, offset, data, len, e);
	if (code == ERR_OK)
		atomic_fetch_add(&r->restore->tally.storage_bytes, len);
	return code == ERR_NOTFOUND
		       ? err_set(e, ERR_CORRUPT, "%s: the object does not exist", r->object->path)
		       : code;
}

/* One operator of one task, while its state comes back. */
struct share {
	struct object_visitor visitor; /* first */
	struct chain_link *link;
	const struct restore_op *was;
	struct keyed_state *state;           /* keyed_block */
	struct liststate *old[OP_LISTS_MAX]; /* own: was->parallelism each */
	unsigned list;                       /* list_block */
};

static enum errc keyed_block(struct object_visitor *v, const struct block *b, struct err *e)
{
	struct share *s = (struct share *)(void *)v;

	return keyed_restore(s->state, b, e);
}

static enum errc list_block(struct object_visitor *v, const struct block *b, struct err *e)
{
	struct share *s = (struct share *)(void *)v;

	if (b->group >= s->was->parallelism)
		return err_set(e, ERR_CORRUPT, "list state of subtask %u of %u", b->group,
			       s->was->parallelism);
	return liststate_restore(&s->old[s->list][b->group], b, e);
}

static enum errc keyed_read(struct share *s, struct object_reader *r, struct err *e)
{
	const struct op_context *c = &s->link->context;
	struct keyed *k = s->link->op->keyed;
	uint32_t first = keygroup_first(c->subtask, c->parallelism, c->max_parallelism);
	uint32_t end = keygroup_end(c->subtask, c->parallelism, c->max_parallelism);
	enum errc code = ERR_OK;

#ifdef WEIR_MUTANT_RESTORE_ONE_GROUP_LESS
	end--;
#endif

	s->visitor.block = keyed_block;
	for (unsigned i = 0; i < keyed_count(k) && code == ERR_OK; i++) {
		const struct keyed_spec *spec = keyed_spec_at(k, i);
		int number = object_reader_find(r, c->uid, spec->name);
		if (number < 0)
			continue;
		code = keyed_open(k, spec, &s->state, e);
		for (uint32_t g = first; g < end && code == ERR_OK; g++)
			keyed_reserve(s->state, g, object_reader_rows(r, (unsigned)number, g));
		if (code == ERR_OK)
			code = object_reader_read(r, (unsigned)number, first, end, &s->visitor, e);
	}
	return code;
}

static enum errc lists_read(struct share *s, struct object_reader *r, struct err *e)
{
	enum errc code = ERR_OK;
	char name[16];

	s->visitor.block = list_block;
	for (s->list = 0; s->list < s->link->op->type->n_lists && code == ERR_OK; s->list++) {
		snprintf(name, sizeof(name), "list-%u", s->list);
		int number = object_reader_find(r, s->link->context.uid, name);
		if (number >= 0)
			code = object_reader_read(r, (unsigned)number, 0, s->was->parallelism,
						  &s->visitor, e);
	}
	return code;
}

/* Deal the lists out and hand this subtask's items to the operator. */
static enum errc lists_give(struct share *s, unsigned list, struct err *e)
{
	struct op *op = s->link->op;
	const struct op_context *c = &s->link->context;
	enum liststate_mode mode =
		op->type->lists[list] == OP_LIST_UNION ? LISTSTATE_UNION : LISTSTATE_SPLIT;
	struct liststate mine;

	liststate_init(&mine);
	enum errc code = liststate_deal(s->old[list], s->was->parallelism, mode, c->subtask,
					c->parallelism, &mine, e);
	for (size_t i = 0; i < mine.n && code == ERR_OK && op->type->restore; i++)
		code = op->type->restore(op, list, mine.items[i].data, mine.items[i].len, e);
	liststate_fini(&mine);
	return code;
}

/* ---- a task ---- */

static enum errc share_init(const struct restore *r, struct chain_link *l, struct share *s,
			    struct err *e)
{
	*s = (struct share){.link = l, .was = restore_find(r, l->context.uid)};
	if (!s->was)
		return ERR_OK;
	if (s->was->max_parallelism != l->context.max_parallelism)
		return err_set(e, ERR_INVALID,
			       "operator %s: max parallelism is %u, its state was made with %u",
			       l->context.uid, l->context.max_parallelism, s->was->max_parallelism);
	for (unsigned i = 0; i < l->op->type->n_lists; i++)
		s->old[i] = mem_array(s->was->parallelism, sizeof(*s->old[i]));
	return ERR_OK;
}

static void share_fini(struct share *s)
{
	for (unsigned i = 0; i < OP_LISTS_MAX; i++) {
		for (uint32_t k = 0; s->old[i] && k < s->was->parallelism; k++)
			liststate_fini(&s->old[i][k]);
		free(s->old[i]);
	}
}

static enum errc object_read(struct restore *r, const struct restore_object *o,
			     struct share *shares, unsigned n, struct err *e)
{
	struct ranged source = {{ranged_read, o->path, o->bytes}, r, o};
	struct object_reader *reader = NULL;

	enum errc code = object_reader_open(&source.source, o->checksum, &reader, e);
	for (unsigned i = 0; i < n && code == ERR_OK; i++) {
		if (shares[i].was && shares[i].link->op->keyed)
			code = keyed_read(&shares[i], reader, e);
		if (shares[i].was && code == ERR_OK)
			code = lists_read(&shares[i], reader, e);
	}
	object_reader_close(reader);
	if (code == ERR_CORRUPT && o->copy >= 0) {
		struct err inner = *e;
		local_forget(r->local, o->path);
		code = err_set(e, ERR_UNAVAILABLE, "local copy: %s", inner.text);
	}
	return code;
}

enum errc restore_task(void *owner, struct task *t, struct err *e)
{
	struct restore *r = owner;
	unsigned n = t->chain.n;
	struct share *shares = mem_array(n, sizeof(*shares));
	enum errc code = ERR_OK;

	for (unsigned i = 0; i < n && code == ERR_OK; i++)
		code = share_init(r, &t->chain.links[i], &shares[i], e);
	for (size_t i = 0; i < r->n_objects && code == ERR_OK; i++)
		code = object_read(r, &r->objects[i], shares, n, e);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < OP_LISTS_MAX && code == ERR_OK; k++)
			if (shares[i].old[k])
				code = lists_give(&shares[i], k, e);
	for (unsigned i = 0; i < n; i++)
		share_fini(&shares[i]);
	free(shares);
	return code == ERR_OK ? ERR_OK : err_wrap(e, code, "restore");
}
