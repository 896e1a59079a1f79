/* Handing the lead over: for good when the process stops, or to stay a candidate. */
#include "base/mem.h"
#include "jobmanager/node_inside.h"

static void resigned(struct ha_resign *r)
{
	struct jm_node *n = MEM_OWNER(r, struct jm_node, resign);
	streams_close_all(n, true);
	n->resigned(n->resigned_ctx);
}

void jm_node_resign(struct jm_node *n, void (*done)(void *ctx), void *ctx)
{
	if (n->resigning)
		return;
	n->resigning = true;
	n->resigned = done;
	n->resigned_ctx = ctx;
	n->resign.done = resigned;
	streams_resigning(n);
	ha_resign(n->ha, &n->resign);
}

static void stepped_down(struct ha_resign *r)
{
	struct jm_node *n = MEM_OWNER(r, struct jm_node, step_down);
	n->stepping_down = false;
	streams_resigning(n);
}

bool jm_node_step_down(struct jm_node *n)
{
	if (n->resigning || n->stepping_down || !node_leads(n))
		return false;
	n->stepping_down = true;
	n->step_down.done = stepped_down;
	streams_resigning(n);
	ha_step_down(n->ha, &n->step_down);
	return true;
}
