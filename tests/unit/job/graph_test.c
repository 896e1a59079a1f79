/* Chains, regions, identities of vertices; and which subtask owns a key group. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/json.h"
#include "job/graph.h"
#include "job/keygroup.h"

struct plan {
	struct spec *spec;
	struct graph *graph;
};

static struct plan expand(const char *operators, const char *more)
{
	char text[4096];
	snprintf(text, sizeof(text), "{\"name\":\"j\",%s\"operators\":[%s]}", more, operators);
	json_t *doc;
	struct err e;
	struct plan p;
	cr_assert(eq(int, json_parse(text, strlen(text), &doc, &e), ERR_OK));
	cr_assert(eq(int, spec_parse(doc, &p.spec, &e), ERR_OK), "%s", e.text);
	json_decref(doc);
	p.graph = graph_create(p.spec);
	return p;
}

static void drop(struct plan *p)
{
	graph_destroy(p->graph);
	spec_destroy(p->spec);
}

#define SEQ(uid) "{\"uid\":\"" uid "\",\"type\":\"source.sequence\",\"from\":1,\"to\":9}"
#define SINK(uid, input, more)                                                                     \
	"{\"uid\":\"" uid "\",\"type\":\"sink.discard\",\"inputs\":[\"" input "\"]" more "}"
#define KEYED(uid, input)                                                                          \
	"{\"uid\":\"" uid "\",\"type\":\"aggregate\",\"inputs\":[\"" input "\"],\"keyBy\":"        \
	"[\"value\"],\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]}"

Test(graph, a_keyed_edge_cuts_the_chain)
{
	struct plan p =
		expand(SEQ("s") "," KEYED("k", "s") "," SINK("o", "k", ""), "\"parallelism\":4,");
	struct graph *g = p.graph;
	cr_assert(eq(u32, g->n_vertices, 2));
	cr_assert(eq(str, g->vertices[0].name, "s"));
	cr_assert(eq(str, g->vertices[1].name, "k -> o"));
	cr_assert(g->vertices[0].source);
	cr_assert(not(g->vertices[0].sink));
	cr_assert(g->vertices[1].sink);
	cr_assert(not(g->vertices[1].source));
	cr_assert(eq(u32, g->vertices[1].n_inputs, 1));
	cr_assert(eq(u32, g->vertices[1].inputs[0].from, 0));
	cr_assert(eq(u32, g->vertices[1].inputs[0].from_op, 0));
	cr_assert(eq(int, g->vertices[1].inputs[0].edge, SPEC_EDGE_HASH));
	cr_assert(eq(u32, g->vertices[0].n_outputs, 1));
	cr_assert(eq(u32, g->vertices[0].outputs[0], 1));
	cr_assert(eq(u32, g->n_regions, 1));
	cr_assert(eq(u32, g->slots, 4));
	cr_assert(eq(u32, g->subtasks, 8));
	cr_assert(not(graph_has_transactional_sink(g)));
	drop(&p);
}

Test(graph, two_readers_or_other_parallelism_cut_the_chain)
{
	struct plan p = expand(SEQ("s") "," SINK("a", "s", "") "," SINK("b", "s", ""), "");
	cr_assert(eq(u32, p.graph->n_vertices, 3));
	cr_assert(eq(u32, p.graph->vertices[0].n_outputs, 2));
	cr_assert(eq(int, p.graph->vertices[1].inputs[0].edge, SPEC_EDGE_FORWARD));
	drop(&p);
	p = expand(SEQ("s") "," SINK("a", "s", ",\"parallelism\":2"), "");
	cr_assert(eq(u32, p.graph->n_vertices, 2));
	cr_assert(eq(u32, p.graph->slots, 2));
	drop(&p);
	p = expand(SEQ("s") "," SINK("a", "s", ",\"maxParallelism\":64"), "");
	cr_assert(eq(u32, p.graph->n_vertices, 2));
	drop(&p);
	p = expand(SEQ("s") "," SINK("a", "s", ",\"partitioning\":\"rebalance\""), "");
	cr_assert(eq(u32, p.graph->n_vertices, 2));
	drop(&p);
	p = expand(SEQ("s") "," SINK("a", "s", ""), "");
	cr_assert(eq(u32, p.graph->n_vertices, 1));
	cr_assert(p.graph->vertices[0].source && p.graph->vertices[0].sink);
	drop(&p);
}

Test(graph, regions_are_connected_components)
{
	struct plan p =
		expand(SEQ("s") "," SEQ("t") "," SINK("b", "t", ",\"parallelism\":3") "," KEYED(
			       "k", "s") "," SINK("a", "k", ",\"parallelism\":2"),
		       "");
	struct graph *g = p.graph;
	cr_assert(eq(u32, g->n_regions, 2));
	cr_assert(eq(u32, graph_region_slots(g, 0), 2));
	cr_assert(eq(u32, graph_region_slots(g, 1), 3));
	for (unsigned i = 0; i < g->n_vertices; i++)
		for (unsigned k = 0; k < g->vertices[i].n_inputs; k++)
			cr_assert(eq(u32, g->vertices[i].region,
				     g->vertices[g->vertices[i].inputs[k].from].region));
	drop(&p);
}

Test(graph, a_vertex_is_known_by_the_uid_of_its_head)
{
	struct plan p = expand(SEQ("lines") "," SINK("o", "lines", ""), "");
	struct plan q = expand(SEQ("lines") "," SINK("p", "lines", ",\"parallelism\":2"),
			       "\"maxParallelism\":9,");
	cr_assert(eq(str, p.graph->vertices[0].id, q.graph->vertices[0].id));
	/* The published value: it is in saved dashboards and scripts. */
	cr_assert(eq(str, p.graph->vertices[0].id, "f19d849a10384109611524542218e3de"));
	drop(&p);
	drop(&q);
}

Test(keygroup, ranges_are_the_inverse_of_the_owner)
{
	static const uint32_t maxima[] = {1, 2, 7, 128, 1000, 32768};
	for (size_t m = 0; m < sizeof(maxima) / sizeof(maxima[0]); m++) {
		uint32_t max = maxima[m];
		for (uint32_t p = 1; p <= max; p = p < 20 ? p + 1 : p * 3) {
			uint32_t next = 0;
			for (uint32_t i = 0; i < p; i++) {
				cr_assert(eq(u32, keygroup_first(i, p, max), next));
				uint32_t end = keygroup_end(i, p, max);
				cr_assert(end > next);
				for (uint32_t g = next; g < end; g++)
					cr_assert(eq(u32, keygroup_subtask(g, p, max), i));
				next = end;
			}
			cr_assert(eq(u32, next, max));
		}
	}
}
