#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "state/blob_offload.h"

/* A world that has nothing but an offload queue, run when the test says so. */
struct world {
	struct world_work *queue[16];
	unsigned n;
};

void world_offload(struct world *w, struct world_work *k)
{
	w->queue[w->n++] = k;
}

static void run_all(struct world *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		w->queue[i]->run(w->queue[i]);
		w->queue[i]->done(w->queue[i]);
	}
	w->n = 0;
}

struct asked {
	struct blob_op op;
	unsigned done;
	enum errc code;
	char text[64];
	size_t n_names;
};

static void on_done(struct blob_op *op)
{
	struct asked *a = MEM_OWNER(op, struct asked, op);

	a->done++;
	a->code = op->err.code;
	a->n_names = op->n_names;
	if (op->data)
		snprintf(a->text, sizeof(a->text), "%s", op->data);
	if (op->n_names)
		snprintf(a->text, sizeof(a->text), "%s", op->names[0]);
}

struct stage {
	struct world world;
	struct storage *storage;
	struct blob_offload *blobs;
	struct blob_port *port;
	char dir[32];
};

static void setup(struct stage *s)
{
	struct storage_config c = {0};
	char url[64];

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "/tmp/weir-XXXXXX");
	cr_assert(mkdtemp(s->dir) != NULL);
	snprintf(url, sizeof(url), "file://%s", s->dir);
	c.url = url;
	cr_assert(not(storage_open(&c, &s->storage, NULL)));
	s->blobs = blob_offload_create(&s->world, s->storage);
	s->port = blob_offload_port(s->blobs);
}

static void teardown(struct stage *s)
{
	char tmp[64];

	blob_offload_destroy(s->blobs);
	storage_close(s->storage);
	snprintf(tmp, sizeof(tmp), "%s/.tmp", s->dir);
	rmdir(tmp);
	cr_assert(not(rmdir(s->dir)));
}

Test(blob_offload, life_of_an_object)
{
	const char *name = "jobs/1/manifest";
	struct asked put = {.op.done = on_done}, get = put, list = put, gone = put, missing = put;
	struct stage s;

	setup(&s);
	s.port->put(s.port, &put.op, name, "{}", 2);
	cr_assert(eq(uint, put.done, 0), "never inside the call");
	run_all(&s.world);
	cr_assert(eq(uint, put.done, 1));
	cr_assert(eq(int, put.code, ERR_OK));
	s.port->get(s.port, &get.op, name, 100);
	s.port->list(s.port, &list.op, "jobs/");
	s.port->remove(s.port, &gone.op, &name, 1);
	s.port->get(s.port, &missing.op, name, 100);
	run_all(&s.world);
	cr_assert(eq(str, get.text, "{}"));
	cr_assert(eq(sz, list.n_names, 1));
	cr_assert(eq(str, list.text, "jobs/1/manifest"));
	cr_assert(eq(int, gone.code, ERR_OK));
	cr_assert(eq(int, missing.code, ERR_NOTFOUND));
	teardown(&s);
}

Test(blob_offload, other_bytes_are_refused)
{
	const char *name = "x";
	struct asked put = {.op.done = on_done}, other = put, gone = put;
	struct stage s;

	setup(&s);
	s.port->put(s.port, &put.op, name, "a", 1);
	s.port->put(s.port, &other.op, name, "b", 1);
	s.port->remove(s.port, &gone.op, &name, 1);
	run_all(&s.world);
	cr_assert(eq(int, other.code, ERR_EXISTS));
	teardown(&s);
}

Test(blob_offload, a_cancelled_operation_is_forgotten)
{
	struct asked get = {.op.done = on_done};
	struct stage s;

	setup(&s);
	s.port->get(s.port, &get.op, "x", 10);
	s.port->cancel(s.port, &get.op);
	cr_assert(get.op.impl == NULL);
	s.port->cancel(s.port, &get.op);
	run_all(&s.world);
	cr_assert(eq(uint, get.done, 0));
	teardown(&s);
}

Test(blob_offload, destroyed_with_work_under_way)
{
	struct asked get = {.op.done = on_done};
	struct stage s;

	setup(&s);
	s.port->get(s.port, &get.op, "x", 10);
	blob_offload_destroy(s.blobs);
	s.blobs = NULL;
	run_all(&s.world);
	cr_assert(eq(uint, get.done, 0));
	teardown(&s);
}
