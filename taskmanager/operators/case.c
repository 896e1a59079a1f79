/*
 * map.upper and map.lower: ASCII letters of one string column, or of all, change their case. A row
 * is copied and changed in place: its size stays.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "job/optypes.h"
#include "taskmanager/operators/operators.h"

struct change {
	struct op op;
	unsigned n;
	unsigned *columns; /* owns */
};

static enum errc open_any(struct op *o, struct err *e)
{
	struct change *c = (struct change *)(void *)o;
	const struct spec_schema *schema = &o->context->spec->output;
	const char *only = optype_text(o->context->spec, "column");

	c->columns = mem_array(schema->n + 1, sizeof(*c->columns));
	for (unsigned i = 0; i < schema->n; i++)
		if (only ? strcmp(schema->columns[i].name, only) == 0
			 : schema->columns[i].type == SPEC_STRING)
			c->columns[c->n++] = i;
	if (!c->n)
		return err_set(e, ERR_INVALID, "no string column to work on");
	return ERR_OK;
}

static void close_any(struct op *o)
{
	free(((struct change *)(void *)o)->columns);
}

/* `from` is the first letter of those that change. */
static inline void change_text(unsigned char *text, uint32_t len, unsigned char from)
{
	for (uint32_t i = 0; i < len; i++) {
		unsigned letter = (unsigned)text[i] - from;
		text[i] = (unsigned char)(text[i] ^ (letter < 26 ? 0x20U : 0U));
	}
}

static inline void change_batch(struct op *o, const struct batch *in, struct op_out *out,
				unsigned char from)
{
	const struct change *c = (const struct change *)(const void *)o;

	batch_each(in, r)
	{
		size_t bytes = row_bytes(r);
		struct row *to = op_out_row(out, bytes);
		memcpy(to, r, bytes);
		for (unsigned i = 0; i < c->n; i++) {
			if (row_null(o->context->output, to, c->columns[i]))
				continue;
			uint64_t slot = to->slot[c->columns[i]];
			change_text((unsigned char *)to + (uint32_t)slot, (uint32_t)(slot >> 32),
				    from);
		}
	}
}

static enum errc upper(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	(void)e;
	change_batch(o, in, out, 'a');
	return ERR_OK;
}

static enum errc lower(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	(void)e;
	change_batch(o, in, out, 'A');
	return ERR_OK;
}

const struct op_type op_map_upper = {.name = "map.upper",
				     .size = sizeof(struct change),
				     .open = open_any,
				     .on_batch = upper,
				     .close = close_any};

const struct op_type op_map_lower = {.name = "map.lower",
				     .size = sizeof(struct change),
				     .open = open_any,
				     .on_batch = lower,
				     .close = close_any};
