#include "world/sim/sim_blob.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/text.h"

struct object {
	char *name, *data;
	size_t len;
};

struct sim_blob {
	struct object *objects; /* sorted by name */
	size_t n, capacity;
	struct prng rng;
	struct sim_blob_knobs knobs;
	char *root;
	bool down;
	void (*on_change)(void *ctx, const char *name, const char *data, size_t len);
	void *change_ctx;
};

struct port {
	struct blob_port base;
	struct sim_blob *b;
	struct world *w;
	struct list ops; /* of struct pending */
};

enum kind { PUT, GET, REMOVE, LIST };

struct pending {
	struct list hook; /* in its port's ops */
	struct port *port;
	struct blob_op *op;
	struct world_timer timer;
	enum kind kind;
	bool applied; /* its effect was at the beginning, or is not to be */
	struct err err;
	char **names; /* owns: put and get: one */
	size_t n_names;
	char *data;
	size_t len, max;
};

/* ---- the store ---- */

static size_t lower_bound(const struct sim_blob *b, const char *name)
{
	size_t low = 0, high = b->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(b->objects[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct object *find(const struct sim_blob *b, const char *name)
{
	size_t i = lower_bound(b, name);
	return i < b->n && strcmp(b->objects[i].name, name) == 0 ? &b->objects[i] : NULL;
}

bool sim_blob_has(const struct sim_blob *b, const char *name)
{
	return find(b, name) != NULL;
}

const char *sim_blob_peek(const struct sim_blob *b, const char *name, size_t *len)
{
	const struct object *o = find(b, name);
	*len = o ? o->len : 0;
	return o ? o->data : NULL;
}

void sim_blob_on_change(struct sim_blob *b,
			void (*fn)(void *ctx, const char *name, const char *data, size_t len),
			void *ctx)
{
	b->on_change = fn;
	b->change_ctx = ctx;
}

size_t sim_blob_count(const struct sim_blob *b)
{
	return b->n;
}

void sim_blob_place(struct sim_blob *b, const char *name, const void *data, size_t len)
{
	struct object *old = find(b, name);
	if (old) {
		free(old->data);
		old->data = mem_text_n(data, len);
		old->len = len;
		return;
	}
	size_t i = lower_bound(b, name);
	if (b->n == b->capacity) {
		b->capacity = b->capacity ? 2 * b->capacity : 32;
		b->objects = mem_resize(b->objects, b->capacity, sizeof(*b->objects));
	}
	memmove(b->objects + i + 1, b->objects + i, (b->n - i) * sizeof(*b->objects));
	b->n++;
	b->objects[i] =
		(struct object){.name = mem_text(name), .data = mem_text_n(data, len), .len = len};
}

bool sim_blob_lose(struct sim_blob *b, const char *name)
{
	struct object *o = find(b, name);
	if (o == NULL)
		return false;
	size_t i = (size_t)(o - b->objects);
	free(o->name);
	free(o->data);
	b->n--;
	memmove(o, o + 1, (b->n - i) * sizeof(*o));
	return true;
}

bool sim_blob_damage(struct sim_blob *b, const char *name)
{
	struct object *o = find(b, name);
	if (o == NULL || o->len == 0)
		return false;
	o->data[prng_below(&b->rng, o->len)] ^= 0x20;
	return true;
}

void sim_blob_set_down(struct sim_blob *b, bool down)
{
	b->down = down;
}

struct sim_blob_knobs *sim_blob_knobs(struct sim_blob *b)
{
	return &b->knobs;
}

struct sim_blob *sim_blob_create(uint64_t seed, const char *root)
{
	struct sim_blob *b = mem_alloc(sizeof(*b));
	b->root = mem_text(root);
	b->knobs = (struct sim_blob_knobs){.delay_min_ms = 2, .delay_max_ms = 20};
	prng_init(&b->rng, seed ^ UINT64_C(0x626c6f62));
	return b;
}

void sim_blob_destroy(struct sim_blob *b)
{
	if (b == NULL)
		return;
	while (b->n > 0)
		sim_blob_lose(b, b->objects[b->n - 1].name);
	free(b->objects);
	free(b->root);
	free(b);
}

/* ---- operations ---- */

static void pending_free(struct pending *p)
{
	list_remove(&p->hook);
	for (size_t i = 0; i < p->n_names; i++)
		free(p->names[i]);
	free(p->names);
	free(p->data);
	free(p);
}

static void changed(const struct sim_blob *b, const char *name, const char *data, size_t len)
{
	if (b->on_change)
		b->on_change(b->change_ctx, name, data, len);
}

static void apply_put(struct pending *p)
{
	struct sim_blob *b = p->port->b;
	const struct object *old = find(b, p->names[0]);
	if (old && (old->len != p->len || memcmp(old->data, p->data, p->len) != 0))
		err_set(&p->err, ERR_EXISTS, "%s exists with other bytes", p->names[0]);
	else if (old == NULL) {
		sim_blob_place(b, p->names[0], p->data, p->len);
		changed(b, p->names[0], p->data, p->len);
	}
}

static void apply_get(struct pending *p)
{
	const struct object *o = find(p->port->b, p->names[0]);
	if (o == NULL) {
		err_set(&p->err, ERR_NOTFOUND, "%s does not exist", p->names[0]);
	} else if (o->len > p->max) {
		err_set(&p->err, ERR_LIMIT, "%s has %zu bytes, more than %zu", o->name, o->len,
			p->max);
	} else {
		p->data = mem_text_n(o->data, o->len);
		p->len = o->len;
	}
}

/* names[0] is the prefix; it is replaced by what was found. */
static void apply_list(struct pending *p)
{
	const struct sim_blob *b = p->port->b;
	char *prefix = p->names[0];
	p->n_names = 0;
	for (size_t i = lower_bound(b, prefix); i < b->n; i++) {
		if (!text_starts(b->objects[i].name, prefix))
			break;
		p->names = mem_resize(p->names, p->n_names + 1, sizeof(char *));
		p->names[p->n_names++] = mem_text(b->objects[i].name);
	}
	free(prefix);
}

static void apply(struct pending *p)
{
	if (p->applied)
		return;
	p->applied = true;
	switch (p->kind) {
	case PUT:
		apply_put(p);
		break;
	case GET:
		apply_get(p);
		break;
	case REMOVE:
		for (size_t i = 0; i < p->n_names; i++)
			if (sim_blob_lose(p->port->b, p->names[i]))
				changed(p->port->b, p->names[i], NULL, 0);
		break;
	case LIST:
		apply_list(p);
		break;
	}
}

/* What the operation brought is lent to its owner until done() returns. */
static void finish(struct world_timer *t)
{
	struct pending *p = MEM_OWNER(t, struct pending, timer);
	struct blob_op *op = p->op;
	apply(p);
	bool ok = p->err.code == ERR_OK;
	op->impl = NULL;
	op->err = p->err;
	op->data = ok && p->kind == GET ? p->data : NULL;
	op->len = ok && p->kind == GET ? p->len : 0;
	op->names = ok && p->kind == LIST ? p->names : NULL;
	op->n_names = ok && p->kind == LIST ? p->n_names : 0;
	list_remove(&p->hook); /* done() may destroy the port */
	op->done(op);
	pending_free(p);
}

static void draw_outcome(struct pending *p)
{
	struct sim_blob *b = p->port->b;
	bool changes = p->kind == PUT || p->kind == REMOVE;
	bool unknown = changes && prng_chance(&b->rng, b->knobs.unknown_ppm);
	if (b->down || prng_chance(&b->rng, b->knobs.unavailable_ppm)) {
		err_set(&p->err, ERR_UNAVAILABLE, "the storage cannot be reached");
		p->applied = true;
		return;
	}
	if (prng_chance(&b->rng, 500000))
		apply(p);
	if (unknown) {
		p->applied = p->applied || prng_chance(&b->rng, 500000);
		apply(p); /* by now done, or never */
		err_set(&p->err, ERR_UNKNOWN, "the storage did not answer");
	}
}

static struct pending *begin(struct blob_port *base, struct blob_op *op, enum kind kind,
			     const char *const names[], size_t n)
{
	struct port *port = MEM_OWNER(base, struct port, base);
	struct pending *p = mem_alloc(sizeof(*p));
	*p = (struct pending){.port = port, .op = op, .timer = {.fire = finish}, .kind = kind};
	p->names = mem_array(n, sizeof(char *));
	for (; p->n_names < n; p->n_names++)
		p->names[p->n_names] = mem_text(names[p->n_names]);
	list_append(&port->ops, &p->hook);
	op->impl = p;
	return p;
}

static void launch(struct pending *p)
{
	struct sim_blob *b = p->port->b;
	uint64_t delay_ms = prng_between(&b->rng, b->knobs.delay_min_ms, b->knobs.delay_max_ms);
	draw_outcome(p);
	world_timer_arm(p->port->w, &p->timer, world_now_ms(p->port->w) + delay_ms);
}

static void put(struct blob_port *base, struct blob_op *op, const char *name, const void *data,
		size_t len)
{
	struct pending *p = begin(base, op, PUT, &name, 1);
	p->data = mem_text_n(len ? data : "", len);
	p->len = len;
	launch(p);
}

static void get(struct blob_port *base, struct blob_op *op, const char *name, size_t max)
{
	struct pending *p = begin(base, op, GET, &name, 1);
	p->max = max;
	launch(p);
}

static void remove_names(struct blob_port *base, struct blob_op *op, const char *const names[],
			 size_t n)
{
	launch(begin(base, op, REMOVE, names, n));
}

static void list_names(struct blob_port *base, struct blob_op *op, const char *prefix)
{
	launch(begin(base, op, LIST, &prefix, 1));
}

static void cancel(struct blob_port *base, struct blob_op *op)
{
	struct port *port = MEM_OWNER(base, struct port, base);
	struct pending *p = op->impl;
	if (p == NULL)
		return;
	op->impl = NULL;
	world_timer_cancel(port->w, &p->timer);
	pending_free(p);
}

struct blob_port *sim_blob_port_create(struct sim_blob *b, struct world *w)
{
	struct port *port = mem_alloc(sizeof(*port));
	port->base = (struct blob_port){.put = put,
					.get = get,
					.remove = remove_names,
					.list = list_names,
					.cancel = cancel,
					.root = b->root};
	port->b = b;
	port->w = w;
	list_init(&port->ops);
	return &port->base;
}

void sim_blob_port_destroy(struct blob_port *base)
{
	if (base == NULL)
		return;
	struct port *port = MEM_OWNER(base, struct port, base);
	list_each_safe (struct pending, p, &port->ops, hook)
		cancel(base, p->op);
	free(port);
}
