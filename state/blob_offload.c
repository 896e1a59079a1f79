#include "state/blob_offload.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LIST_MAX = 1000000 };

struct blob_offload {
	struct blob_port port;
	struct world *world;
	struct storage *storage;
	unsigned pending; /* pieces of work that have not come back */
	bool destroyed;
};

enum kind { PUT, GET, REMOVE, LIST };

/* One operation on its way. It is the port's own, so that a cancelled blob_op is free at once. */
struct job {
	struct world_work work;
	struct blob_offload *owner;
	struct blob_op *op; /* NULL: cancelled */
	enum kind kind;
	char *name;
	struct buf data; /* put: the bytes; get: the answer */
	size_t max;
	struct storage_names names; /* remove: which; list: the answer */
	struct err err;
};

static void run(struct world_work *work)
{
	struct job *j = MEM_OWNER(work, struct job, work);
	struct storage *s = j->owner->storage;
	struct err *e = &j->err;
	enum errc code = ERR_OK;

	switch (j->kind) {
	case PUT:
		code = storage_put(s, j->name, j->data.data, j->data.len, e);
		break;
	case GET:
		code = storage_get(s, j->name, j->max, &j->data, e);
		break;
	case REMOVE:
		code = storage_remove(s, (const char *const *)j->names.names, j->names.n, e);
		break;
	case LIST:
		code = storage_list(s, j->name, LIST_MAX, &j->names, e);
		break;
	}
	if (!code)
		*e = (struct err){.code = ERR_OK};
}

static void job_free(struct job *j)
{
	free(j->name);
	buf_fini(&j->data);
	storage_names_fini(&j->names);
	free(j);
}

/* What the operation brought is lent to its owner until done() returns. */
static void deliver(struct job *j, struct blob_op *op)
{
	op->impl = NULL;
	op->err = j->err;
	op->data = NULL;
	op->len = 0;
	op->names = NULL;
	op->n_names = 0;
	if (!j->err.code && j->kind == GET) {
		buf_text(&j->data, ""); /* ends in a zero byte, even when empty */
		op->data = j->data.data;
		op->len = j->data.len;
	} else if (!j->err.code && j->kind == LIST) {
		op->names = j->names.names;
		op->n_names = j->names.n;
	}
	op->done(op);
}

static void done(struct world_work *work)
{
	struct job *j = MEM_OWNER(work, struct job, work);
	struct blob_offload *b = j->owner;

	b->pending--;
	if (j->op && !b->destroyed)
		deliver(j, j->op);
	job_free(j);
	if (b->destroyed && !b->pending)
		free(b);
}

static struct job *begin(struct blob_port *p, struct blob_op *op, enum kind kind, const char *name)
{
	struct blob_offload *b = MEM_OWNER(p, struct blob_offload, port);
	struct job *j = mem_alloc(sizeof(*j));

	j->work.run = run;
	j->work.done = done;
	j->owner = b;
	j->op = op;
	j->kind = kind;
	j->name = mem_text(name);
	op->impl = j;
	b->pending++;
	return j;
}

static void put(struct blob_port *p, struct blob_op *op, const char *name, const void *data,
		size_t len)
{
	struct job *j = begin(p, op, PUT, name);

	buf_add(&j->data, data, len);
	world_offload(j->owner->world, &j->work);
}

static void get(struct blob_port *p, struct blob_op *op, const char *name, size_t max)
{
	struct job *j = begin(p, op, GET, name);

	j->max = max;
	world_offload(j->owner->world, &j->work);
}

static void remove_names(struct blob_port *p, struct blob_op *op, const char *const names[],
			 size_t n)
{
	struct job *j = begin(p, op, REMOVE, "");

	j->names.names = mem_array(n ? n : 1, sizeof(char *));
	for (; j->names.n < n; j->names.n++)
		j->names.names[j->names.n] = mem_text(names[j->names.n]);
	world_offload(j->owner->world, &j->work);
}

static void list(struct blob_port *p, struct blob_op *op, const char *prefix)
{
	struct job *j = begin(p, op, LIST, prefix);

	world_offload(j->owner->world, &j->work);
}

static void cancel(struct blob_port *p, struct blob_op *op)
{
	struct job *j = op->impl;

	(void)p;
	if (!j)
		return;
	j->op = NULL;
	op->impl = NULL;
}

struct blob_offload *blob_offload_create(struct world *w, struct storage *s)
{
	struct blob_offload *b = mem_alloc(sizeof(*b));

	b->world = w;
	b->storage = s;
	b->port = (struct blob_port){.put = put,
				     .get = get,
				     .remove = remove_names,
				     .list = list,
				     .cancel = cancel,
				     .root = storage_root(s)};
	return b;
}

/* Operations that are under way are forgotten by cancel(); their owners do that first. */
void blob_offload_destroy(struct blob_offload *b)
{
	if (!b)
		return;
	b->destroyed = true;
	if (!b->pending)
		free(b);
}

struct blob_port *blob_offload_port(struct blob_offload *b)
{
	return &b->port;
}
