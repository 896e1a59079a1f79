/* flatmap.split: one row per word, the runs of bytes between ASCII white space. */
#include "job/optypes.h"
#include "taskmanager/operators/operators.h"

struct split {
	struct op op;
	unsigned column;
	bool space[256];
};

static enum errc open_split(struct op *o, struct err *e)
{
	struct split *s = (struct split *)(void *)o;

	int column = op_input_column(o->context, optype_text(o->context->spec, "column"));
	if (column < 0)
		return err_set(e, ERR_INVALID, "no such column");
	s->column = (unsigned)column;
	for (const char *c = " \t\n\v\f\r"; *c; c++)
		s->space[(unsigned char)*c] = true;
	return ERR_OK;
}

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	const struct split *s = (const struct split *)(const void *)o;

	(void)e;
	batch_each(in, r)
	{
		uint32_t len, at = 0;
		if (row_null(o->context->input, r, s->column))
			continue;
		const char *text = row_text(r, s->column, &len);
		while (at < len) {
			while (at < len && s->space[(unsigned char)text[at]])
				at++;
			uint32_t from = at;
			while (at < len && !s->space[(unsigned char)text[at]])
				at++;
			/* A word is no longer than its row, so its own row can exist. */
			if (at > from)
				row_text_put(op_out_row(out, row_text_size(at - from)), text + from,
					     at - from);
		}
	}
	return ERR_OK;
}

const struct op_type op_flatmap_split = {.name = "flatmap.split",
					 .size = sizeof(struct split),
					 .open = open_split,
					 .on_batch = on_batch};
