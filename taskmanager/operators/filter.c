/* filter.regex: keeps the rows whose column matches (or does not) a POSIX extended expression. */
#include <regex.h>
#include <stdlib.h>

#include "base/mem.h"
#include "job/optypes.h"
#include "taskmanager/operators/operators.h"

struct filter {
	struct op op;
	unsigned column;
	bool invert, compiled;
	regex_t regex;
};

static enum errc open_filter(struct op *o, struct err *e)
{
	struct filter *f = (struct filter *)(void *)o;
	const struct spec_operator *spec = o->context->spec;
	char text[128];

	int column = op_input_column(o->context, optype_text(spec, "column"));
	if (column < 0)
		return err_set(e, ERR_INVALID, "no such column");
	f->column = (unsigned)column;
	f->invert = optype_bool(spec, "invert");
	int code = regcomp(&f->regex, optype_text(spec, "pattern"), REG_EXTENDED | REG_NOSUB);
	if (code != 0) {
		regerror(code, &f->regex, text, sizeof(text));
		return err_set(e, ERR_INVALID, "pattern: %s", text);
	}
	f->compiled = true;
	return ERR_OK;
}

static void close_filter(struct op *o)
{
	struct filter *f = (struct filter *)(void *)o;

	if (f->compiled)
		regfree(&f->regex);
}

/* The text need not end in a zero byte: REG_STARTEND tells its length. */
static bool matches(const struct filter *f, const char *text, uint32_t len)
{
	regmatch_t m = {.rm_so = 0, .rm_eo = (regoff_t)len};

	return regexec(&f->regex, text, 0, &m, REG_STARTEND) == 0;
}

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	const struct filter *f = (const struct filter *)(const void *)o;

	(void)e;
	batch_each(in, r)
	{
		uint32_t len;
		bool match = false;
		if (!row_null(o->context->input, r, f->column)) {
			const char *text = row_text(r, f->column, &len);
			match = matches(f, text, len);
		}
		if (match == f->invert)
			continue;
		memcpy(op_out_row(out, row_bytes(r)), r, row_bytes(r));
	}
	return ERR_OK;
}

const struct op_type op_filter_regex = {.name = "filter.regex",
					.size = sizeof(struct filter),
					.open = open_filter,
					.on_batch = on_batch,
					.close = close_filter};
