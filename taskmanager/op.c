#include "taskmanager/op.h"

#include <string.h>

#include "job/optypes.h"

enum errc op_emit_text(struct op_out *o, const char *text, size_t len, struct err *e)
{
	size_t bytes = row_text_size(len);

	if (len > ROW_BYTES_MAX || bytes > ROW_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "a row of %zu bytes: at most %d are possible", len,
			       ROW_BYTES_MAX);
	row_text_put(op_out_row(o, bytes), text, len);
	return ERR_OK;
}

enum errc op_emit(struct op_out *o, const struct row_plan *p, const struct row_value *values,
		  struct err *e)
{
	size_t bytes = row_size(p, values);

	if (bytes > ROW_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "a row of %zu bytes: at most %d are possible", bytes,
			       ROW_BYTES_MAX);
	row_put(p, values, op_out_row(o, bytes));
	return ERR_OK;
}

const struct op_type *op_type_find(const struct op_type *const types[], const char *name)
{
	for (; *types; types++)
		if (strcmp((*types)->name, name) == 0)
			return *types;
	return NULL;
}

int op_input_column(const struct op_context *c, const char *name)
{
	return c->input_schema && name ? spec_schema_find(c->input_schema, name) : -1;
}
