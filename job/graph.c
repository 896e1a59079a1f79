#include "job/graph.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "job/optypes.h"

enum { NAME_BYTES_MAX = 512 };

/* For each operator: how many read it, and by whom it is read if that is one. */
struct readers {
	unsigned n;
	unsigned last;
};

static struct readers *count_readers(const struct spec *s)
{
	struct readers *r = mem_array(s->n_operators, sizeof(*r));
	for (unsigned i = 0; i < s->n_operators; i++) {
		for (unsigned k = 0; k < s->operators[i].n_inputs; k++) {
			r[s->operators[i].inputs[k]].n++;
			r[s->operators[i].inputs[k]].last = i;
		}
	}
	return r;
}

/* May `op` run in the thread of its input? */
static bool chains(const struct spec *s, const struct readers *r, unsigned i)
{
	const struct spec_operator *op = &s->operators[i];
	if (op->n_inputs != 1 || op->edges[0] != SPEC_EDGE_FORWARD)
		return false;
	const struct spec_operator *from = &s->operators[op->inputs[0]];
	return r[op->inputs[0]].n == 1 && from->parallelism == op->parallelism &&
	       from->max_parallelism == op->max_parallelism;
}

static void vertex_id(const char *uid, char *out)
{
	XXH128_canonical_t canonical;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(uid, strlen(uid)));
	text_hex(canonical.digest, sizeof(canonical.digest), out);
}

static void name_vertex(const struct spec *s, struct graph_vertex *v)
{
	struct buf name;
	buf_init(&name, NAME_BYTES_MAX);
	for (unsigned i = 0; i < v->n_operators; i++)
		buf_printf(&name, "%s%s", i ? " -> " : "", s->operators[v->operators[i]].uid);
	v->name = mem_printf("%s%s", name.data, name.full ? " -> ..." : "");
	buf_fini(&name);
}

/* Heads in the order of their operators: inputs come first, as there. */
static void make_vertices(struct graph *g, const struct readers *r, unsigned *vertex_of)
{
	const struct spec *s = g->spec;
	for (unsigned i = 0; i < s->n_operators; i++) {
		if (chains(s, r, i)) {
			vertex_of[i] = vertex_of[s->operators[i].inputs[0]];
		} else {
			vertex_of[i] = g->n_vertices++;
			struct graph_vertex *v = &g->vertices[vertex_of[i]];
			v->parallelism = s->operators[i].parallelism;
			v->max_parallelism = s->operators[i].max_parallelism;
			v->source = s->operators[i].n_inputs == 0;
			vertex_id(s->operators[i].uid, v->id);
		}
		struct graph_vertex *v = &g->vertices[vertex_of[i]];
		v->operators = mem_resize(v->operators, v->n_operators + 1, sizeof(unsigned));
		v->operators[v->n_operators++] = i;
		v->sink = optype_find(s->operators[i].type)->kind == OPTYPE_SINK;
		v->transactional = v->sink && optype_transactional(&s->operators[i]);
	}
}

static void connect(struct graph *g, const unsigned *vertex_of)
{
	for (unsigned i = 0; i < g->n_vertices; i++) {
		struct graph_vertex *v = &g->vertices[i];
		const struct spec_operator *head = &g->spec->operators[v->operators[0]];
		v->n_inputs = head->n_inputs;
		v->inputs = mem_array(head->n_inputs + 1, sizeof(*v->inputs));
		for (unsigned k = 0; k < head->n_inputs; k++) {
			struct graph_vertex *from = &g->vertices[vertex_of[head->inputs[k]]];
			v->inputs[k] = (struct graph_input){.from = vertex_of[head->inputs[k]],
							    .from_op = head->inputs[k],
							    .edge = head->edges[k]};
			from->outputs =
				mem_resize(from->outputs, from->n_outputs + 1, sizeof(unsigned));
			from->outputs[from->n_outputs++] = i;
		}
	}
}

/* Connected components, numbered by their first vertex. */
static void divide(struct graph *g)
{
	unsigned n = g->n_vertices;
	for (unsigned i = 0; i < n; i++)
		g->vertices[i].region = i;
	for (bool moved = true; moved;) {
		moved = false;
		for (unsigned i = 0; i < n; i++) {
			struct graph_vertex *v = &g->vertices[i];
			for (unsigned k = 0; k < v->n_inputs; k++) {
				struct graph_vertex *from = &g->vertices[v->inputs[k].from];
				unsigned low = v->region < from->region ? v->region : from->region;
				moved = moved || v->region != from->region;
				v->region = from->region = low;
			}
		}
	}
	unsigned *number = mem_array(n, sizeof(*number));
	for (unsigned i = 0; i < n; i++) {
		if (g->vertices[i].region == i)
			number[i] = g->n_regions++;
		g->vertices[i].region = number[g->vertices[i].region];
	}
	free(number);
}

struct graph *graph_create(const struct spec *spec)
{
	struct graph *g = mem_alloc(sizeof(*g));
	struct readers *r = count_readers(spec);
	unsigned *vertex_of = mem_array(spec->n_operators, sizeof(*vertex_of));
	g->spec = spec;
	g->vertices = mem_array(spec->n_operators, sizeof(*g->vertices));
	make_vertices(g, r, vertex_of);
	connect(g, vertex_of);
	divide(g);
	for (unsigned i = 0; i < g->n_vertices; i++) {
		name_vertex(spec, &g->vertices[i]);
		g->subtasks += g->vertices[i].parallelism;
		if (g->vertices[i].parallelism > g->slots)
			g->slots = g->vertices[i].parallelism;
	}
	free(vertex_of);
	free(r);
	return g;
}

void graph_destroy(struct graph *g)
{
	if (g == NULL)
		return;
	for (unsigned i = 0; i < g->n_vertices; i++) {
		free(g->vertices[i].name);
		free(g->vertices[i].operators);
		free(g->vertices[i].inputs);
		free(g->vertices[i].outputs);
	}
	free(g->vertices);
	free(g);
}

uint32_t graph_region_slots(const struct graph *g, unsigned region)
{
	uint32_t slots = 0;
	for (unsigned i = 0; i < g->n_vertices; i++)
		if (g->vertices[i].region == region && g->vertices[i].parallelism > slots)
			slots = g->vertices[i].parallelism;
	return slots;
}

bool graph_has_transactional_sink(const struct graph *g)
{
	for (unsigned i = 0; i < g->spec->n_operators; i++)
		if (optype_transactional(&g->spec->operators[i]))
			return true;
	return false;
}
