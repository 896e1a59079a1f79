/*
 * graph - what runs: vertices (chains of operators), their edges, their regions.
 *
 * A vertex is a maximal run of operators joined by forward edges with one
 * input and one output each and the same parallelism; one thread per subtask
 * runs it without queues. A region is a connected component: the unit of
 * restart. JobManager and worker expand the same specification with the same
 * function, so an index means the same on both sides; the order is fixed by
 * the specification alone.
 */
#ifndef JOB_GRAPH_H
#define JOB_GRAPH_H

#include "base/ids.h"
#include "job/spec.h"

struct graph_input {
	unsigned from;    /* vertex */
	unsigned from_op; /* operator of that vertex's chain whose output this is (its tail) */
	enum spec_edge edge;
};

struct graph_vertex {
	char id[ID_TEXT]; /* XXH3-128 of the head's uid */
	char *name;       /* "words -> counts" */
	unsigned n_operators;
	unsigned *operators; /* indexes into spec->operators, head first */
	uint32_t parallelism;
	uint32_t max_parallelism;
	unsigned region;
	unsigned n_inputs;
	struct graph_input *inputs; /* of the head */
	unsigned n_outputs;
	unsigned *outputs;  /* vertices that read the tail */
	bool source, sink;  /* head is a source; tail is a sink */
	bool transactional; /* its tail is a sink that commits with checkpoints */
};

struct graph {
	const struct spec *spec; /* borrows: must outlive the graph */
	unsigned n_vertices;
	struct graph_vertex *vertices; /* inputs come first */
	unsigned n_regions;
	uint32_t slots;    /* needed: the largest parallelism of any vertex */
	uint32_t subtasks; /* sum of parallelisms */
};

struct graph *graph_create(const struct spec *spec);
void graph_destroy(struct graph *g);
uint32_t graph_region_slots(const struct graph *g, unsigned region); /* largest parallelism there */
bool graph_has_transactional_sink(const struct graph *g);

#endif
