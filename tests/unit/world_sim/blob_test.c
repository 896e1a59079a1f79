/* Checkpoint storage in the simulator. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_blob.h"

struct fixture {
	struct sim *s;
	struct sim_blob *b;
	struct blob_port *p;
};

static void *idle_start(struct world *w, void *ctx, const char *const *argv)
{
	(void)ctx, (void)argv;
	return w;
}

static const struct sim_program idle = {.start = idle_start};

static void open_store(struct fixture *f)
{
	struct sim_knobs calm = sim_knobs_calm();
	f->s = sim_create(1, &calm);
	sim_node_add(f->s, "n", &idle, NULL);
	sim_node_start(f->s, "n");
	f->b = sim_blob_create(1, "sim://store");
	f->p = sim_blob_port_create(f->b, sim_node_world(f->s, "n"));
}

static void close_store(struct fixture *f)
{
	sim_blob_port_destroy(f->p);
	sim_destroy(f->s);
	sim_blob_destroy(f->b);
}

struct call {
	struct blob_op op;
	enum errc code;
	char text[200];
	unsigned names;
	bool done;
};

static void on_done(struct blob_op *op)
{
	struct call *c = MEM_OWNER(op, struct call, op);
	c->code = op->err.code;
	c->names = (unsigned)op->n_names;
	c->text[0] = '\0';
	if (op->data)
		snprintf(c->text, sizeof(c->text), "%s", op->data);
	c->done = true;
}

static enum errc finish(struct fixture *f, struct call *c)
{
	cr_assert_not(c->done, "no callback runs inside the call");
	cr_assert(sim_run_until(f->s, &c->done, 1000));
	cr_assert_null(c->op.impl);
	return c->code;
}

static enum errc put(struct fixture *f, const char *name, const char *text)
{
	struct call c = {.op = {.done = on_done}};
	f->p->put(f->p, &c.op, name, text, strlen(text));
	return finish(f, &c);
}

static enum errc get(struct fixture *f, const char *name, char *out_text)
{
	struct call c = {.op = {.done = on_done}};
	f->p->get(f->p, &c.op, name, 100);
	enum errc rc = finish(f, &c);
	snprintf(out_text, 101, "%s", c.text);
	return rc;
}

Test(sim_blob, objects_are_written_once)
{
	struct fixture f;
	char text[101];
	open_store(&f);
	cr_assert_eq(get(&f, "a/1", text), ERR_NOTFOUND);
	cr_assert_eq(put(&f, "a/1", "one"), ERR_OK);
	cr_assert_eq(put(&f, "a/1", "one"), ERR_OK);
	cr_assert_eq(put(&f, "a/1", "two"), ERR_EXISTS);
	cr_assert_eq(put(&f, "a/2", "two"), ERR_OK);
	cr_assert_eq(put(&f, "b/1", "three"), ERR_OK);
	cr_assert_eq(get(&f, "a/1", text), ERR_OK);
	cr_assert_str_eq(text, "one");
	struct call list = {.op = {.done = on_done}};
	f.p->list(f.p, &list.op, "a/");
	cr_assert_eq(finish(&f, &list), ERR_OK);
	cr_assert_eq(list.names, 2u);
	const char *names[] = {"a/1", "nothing"};
	struct call gone = {.op = {.done = on_done}};
	f.p->remove(f.p, &gone.op, names, 2);
	cr_assert_eq(finish(&f, &gone), ERR_OK);
	cr_assert_not(sim_blob_has(f.b, "a/1"));
	close_store(&f);
}

Test(sim_blob, unavailable_is_surely_not_done)
{
	struct fixture f;
	open_store(&f);
	sim_blob_set_down(f.b, true);
	cr_assert_eq(put(&f, "a", "x"), ERR_UNAVAILABLE);
	cr_assert_eq(sim_blob_count(f.b), 0u);
	sim_blob_set_down(f.b, false);
	cr_assert_eq(put(&f, "a", "x"), ERR_OK);
	close_store(&f);
}

Test(sim_blob, unknown_is_sometimes_done)
{
	struct fixture f;
	char name[20];
	open_store(&f);
	sim_blob_knobs(f.b)->unknown_ppm = 1000000;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%d", i);
		cr_assert_eq(put(&f, name, "x"), ERR_UNKNOWN);
	}
	cr_assert(sim_blob_count(f.b) > 20 && sim_blob_count(f.b) < 95);
	close_store(&f);
}

Test(sim_blob, damage_and_loss)
{
	struct fixture f;
	char text[101];
	open_store(&f);
	sim_blob_place(f.b, "a", "abc", 3);
	cr_assert(sim_blob_damage(f.b, "a"));
	cr_assert_eq(get(&f, "a", text), ERR_OK);
	cr_assert_str_neq(text, "abc");
	cr_assert(sim_blob_lose(f.b, "a"));
	cr_assert_eq(get(&f, "a", text), ERR_NOTFOUND);
	close_store(&f);
}

Test(sim_blob, a_cancelled_operation_is_never_heard_of_again)
{
	struct fixture f;
	struct call c = {.op = {.done = on_done}};
	open_store(&f);
	f.p->put(f.p, &c.op, "a", "x", 1);
	f.p->cancel(f.p, &c.op);
	sim_run_for(f.s, 1000);
	cr_assert_not(c.done);
	/* A process that dies with an operation under way cleans up and hears nothing. */
	f.p->put(f.p, &c.op, "b", "x", 1);
	sim_node_crash(f.s, "n");
	sim_run_for(f.s, 1000);
	cr_assert_not(c.done);
	close_store(&f);
}
