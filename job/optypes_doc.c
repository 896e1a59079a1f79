/* The reference of operator types in Markdown, printed from their table. */
#include "job/optypes.h"

static void flags(struct buf *out, unsigned set)
{
	if (set & OPTYPE_KEYED)
		buf_text(out, "- needs `keyBy`\n");
	if (set & OPTYPE_SINGLE)
		buf_text(out, "- runs with parallelism 1\n");
	if (set & OPTYPE_UNBOUNDED)
		buf_text(
			out,
			"- unbounded: the job ends when it is cancelled, unless an option says otherwise\n");
	if (set & OPTYPE_NOT_REPLAYABLE)
		buf_text(out, "- **cannot be replayed**\n");
	if (set & OPTYPE_TRANSACTIONAL)
		buf_text(out, "- two-phase commit with `semantics` exactly-once\n");
}

static void option(struct buf *out, const struct optype_option *o)
{
	buf_printf(out, "| `%s` | %s", o->name, optype_option_type_name(o->type));
	for (const char *const *c = o->choices; c && *c; c++)
		buf_printf(out, "%s `%s`", c == o->choices ? "" : ",", *c);
	if (o->required)
		buf_text(out, " | required");
	else if (o->fallback)
		buf_printf(out, " | `%s`", o->fallback);
	else
		buf_text(out, " | ");
	buf_printf(out, " | %s |\n", o->help);
}

void optypes_markdown(struct buf *out)
{
	const struct optype *t;
	for (unsigned i = 0; (t = optype_at(i)) != NULL; i++) {
		buf_printf(out, "### %s\n\n%s\n\n- inputs: %u\n", t->name, t->help, t->n_inputs);
		if (t->output)
			buf_printf(out, "- output: %s\n", t->output);
		flags(out, t->flags);
		if (t->options[0].name)
			buf_text(out,
				 "\n| option | type | default | meaning |\n|---|---|---|---|\n");
		for (const struct optype_option *o = t->options; o->name; o++)
			option(out, o);
		buf_text(out, "\n");
	}
}
