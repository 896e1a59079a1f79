/* sink.discard: takes every row and drops it. */
#include "taskmanager/operators/operators.h"

struct discard {
	struct op op;
};

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	(void)o;
	(void)in;
	(void)out;
	(void)e;
	return ERR_OK;
}

const struct op_type op_sink_discard = {
	.name = "sink.discard", .size = sizeof(struct discard), .sink = true, .on_batch = on_batch};
