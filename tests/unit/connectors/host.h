/*
 * host - runs one operator without the engine: builds its specification and
 * context, feeds rows, collects what a source emits and what goes into the
 * state. The services of taskmanager/op.h are defined here, so that the test
 * decides what the time is and which kill point is deadly.
 *
 * Include it in exactly one file per program.
 */
#ifndef TESTS_UNIT_CONNECTORS_HOST_H
#define TESTS_UNIT_CONNECTORS_HOST_H

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "job/spec.h"
#include "state/liststate.h"
#include "taskmanager/connectors/connectors.h"

static struct {
	uint64_t now_ms;
	char kill[64]; /* point at which this process dies, at its `passes`-th pass */
	unsigned passes;
} host_world = {.now_ms = 1000};

int64_t op_wall_ms(const struct op_context *c)
{
	(void)c;
	return 0;
}

uint64_t op_now_ms(const struct op_context *c)
{
	(void)c;
	return host_world.now_ms;
}

void op_wake(const struct op_context *c)
{
	(void)c;
}

static void host_moment(const char *name)
{
	if (strcmp(name, host_world.kill) == 0 && --host_world.passes == 0)
		raise(SIGKILL);
}

void op_kill_point(const struct op_context *c, const char *name)
{
	(void)c;
	host_moment(name);
}

enum errc op_list_add(struct op_lists *l, unsigned list, const void *item, size_t len,
		      struct err *e)
{
	return liststate_add(&l->at[list], item, len, e);
}

/* A program may need only some of what follows. */
#define HOST __attribute__((unused)) static

/* ---- one operator ---- */

struct host {
	struct spec *spec;
	struct op_context context;
	struct row_plan plan; /* of the rows that it reads or gives */
	struct op *op;
	struct op_lists lists; /* of the last snapshot */
	struct op_out out;
	struct buf lines; /* what a source emitted, a '\n' behind each */
	uint64_t rows;
	struct err err;
};

HOST const struct op_type *host_type(const char *name)
{
	return op_type_find(connector_op_types, name);
}

/* `job` is a whole specification; the operator is the one of this uid. */
HOST struct host *host_create(const char *job, const char *uid, const char *root, uint32_t subtask,
			      uint32_t parallelism, uint32_t attempt)
{
	struct host *h = mem_alloc(sizeof(*h));
	json_t *document = json_loads(job, 0, NULL);
	if (!document || spec_parse(document, &h->spec, &h->err)) {
		fprintf(stderr, "host: %s\n", h->err.text);
		abort();
	}
	json_decref(document);
	const struct spec_operator *o = NULL;
	for (unsigned i = 0; i < h->spec->n_operators; i++)
		if (strcmp(h->spec->operators[i].uid, uid) == 0)
			o = &h->spec->operators[i];
	const struct spec_schema *schema =
		o->n_inputs ? &h->spec->operators[o->inputs[0]].output : &o->output;
	row_plan_init(&h->plan, schema);
	h->context = (struct op_context){.uid = o->uid,
					 .spec = o,
					 .options = o->options,
					 .input = o->n_inputs ? &h->plan : NULL,
					 .input_schema = o->n_inputs ? schema : NULL,
					 .output = o->n_inputs ? NULL : &h->plan,
					 .job_name = "test",
					 .attempt = {attempt},
					 .subtask = subtask,
					 .parallelism = parallelism,
					 .max_parallelism = 128,
					 .files_root = root,
					 .cluster = "0123456789abcdef0123456789abcdef",
					 .worker = "test"};
	snprintf(h->context.job.hex, sizeof(h->context.job.hex), "%032x", 7);
	const struct op_type *type = host_type(o->type);
	h->op = mem_alloc(type->size);
	h->op->type = type;
	h->op->context = &h->context;
	h->lists.n = type->n_lists;
	return h;
}

HOST void host_destroy(struct host *h)
{
	if (h->op->type->close)
		h->op->type->close(h->op);
	free(h->op);
	for (unsigned i = 0; i < h->lists.n; i++)
		liststate_fini(&h->lists.at[i]);
	free(h->out.batch);
	buf_fini(&h->lines);
	row_plan_fini(&h->plan);
	spec_destroy(h->spec);
	free(h);
}

/* open, restore what `state` (may be NULL) holds, start. */
HOST enum errc host_start(struct host *h, uint64_t restored, const struct liststate *state)
{
	const struct op_type *t = h->op->type;
	h->context.restored.v = restored;
	h->context.found = restored != 0;
	enum errc rc = t->open(h->op, &h->err);
	for (size_t i = 0; state && i < state->n && !rc; i++)
		rc = t->restore(h->op, 0, state->items[i].data, state->items[i].len, &h->err);
	return !rc && t->start ? t->start(h->op, &h->err) : rc;
}

HOST enum errc host_snapshot(struct host *h, uint64_t checkpoint)
{
	for (unsigned i = 0; i < h->lists.n; i++)
		liststate_clear(&h->lists.at[i]);
	return h->op->type->snapshot(h->op, (struct ckpt_id){checkpoint}, &h->lists, &h->err);
}

/* ---- rows in ---- */

HOST struct batch *host_batch(size_t bytes)
{
	struct batch *b = aligned_alloc(64, (sizeof(*b) + bytes + BATCH_SLACK + 63) / 64 * 64);
	memset(b, 0, sizeof(*b) + bytes + BATCH_SLACK);
	b->capacity = (uint32_t)bytes;
	return b;
}

HOST enum errc host_write_values(struct host *h, const struct row_value *values)
{
	size_t bytes = row_size(&h->plan, values);
	struct batch *b = host_batch(bytes);
	row_put(&h->plan, values, b->data);
	b->len = (uint32_t)bytes;
	b->rows = 1;
	enum errc rc = h->op->type->on_batch(h->op, b, NULL, &h->err);
	free(b);
	return rc;
}

HOST enum errc host_write_text(struct host *h, const char *text)
{
	struct row_value v = {.len = (uint32_t)strlen(text), .text = text};
	return host_write_values(h, &v);
}

/* ---- rows out ---- */

HOST void host_drain(struct host *h)
{
	struct op_out *o = &h->out;
	if (!o->batch)
		return;
	o->batch->len = (uint32_t)(o->at - o->batch->data);
	batch_each(o->batch, r)
	{
		uint32_t len;
		const char *text = row_text(r, 0, &len);
		buf_add(&h->lines, text, len);
		buf_add(&h->lines, "\n", 1);
		h->rows++;
	}
	free(o->batch);
	o->batch = NULL;
	o->at = o->end = NULL;
	o->rows = 0;
}

HOST void host_refill(struct op_out *o, size_t bytes)
{
	struct host *h = MEM_OWNER(o, struct host, out);
	host_drain(h);
	o->batch = host_batch(bytes > BATCH_BYTES ? bytes : BATCH_BYTES);
	o->at = o->batch->data;
	o->end = o->at + o->batch->capacity;
}

/* One poll; the rows are in `lines` and counted in `rows`. */
HOST enum errc host_poll(struct host *h, uint32_t budget, struct op_poll *result)
{
	h->out.refill = host_refill;
	enum errc rc = h->op->type->poll(h->op, &h->out, budget, result, &h->err);
	host_drain(h);
	return rc;
}

/* ---- files ---- */

HOST void host_temp(char out[64])
{
	snprintf(out, 64, "/tmp/connectors-XXXXXX");
	if (!mkdtemp(out))
		abort();
}

HOST void host_remove(const char *dir)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		abort();
}

HOST void host_file(const char *dir, const char *name, const char *text, size_t len)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f))
		abort();
}

#endif
