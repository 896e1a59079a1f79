/* Blocking work under ThreadSanitizer: order of starting, completion on the loop, a clean end. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "world/ev.h"

enum { JOBS = 2000 };

struct job {
	struct world_work work;
	struct world *w;
	unsigned *left;
	uint64_t input, output;
};

static void run(struct world_work *k)
{
	struct job *j = MEM_OWNER(k, struct job, work);
	for (uint64_t i = 0; i < 1000; i++)
		j->output += j->input ^ i;
}

static void done(struct world_work *k)
{
	struct job *j = MEM_OWNER(k, struct job, work);
	if (j->output == 0 || k->impl != NULL)
		abort();
	if (--*j->left == 0)
		world_stop(j->w);
}

int main(void)
{
	struct err e;
	unsigned left = JOBS;
	struct world *w = world_ev_create(&e);
	struct job *jobs = mem_array(JOBS, sizeof(*jobs));
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){
			.work = {.run = run, .done = done}, .w = w, .left = &left, .input = i + 1};
		world_offload(w, &jobs[i].work);
	}
	world_ev_run(w);
	/* What nobody waits for any more must not keep the end from coming. */
	for (unsigned i = 0; i < JOBS; i++)
		world_offload(w, &jobs[i].work);
	world_ev_destroy(w);
	free(jobs);
	if (left != 0) {
		fprintf(stderr, "%u jobs were not reported\n", left);
		return 1;
	}
	return 0;
}
