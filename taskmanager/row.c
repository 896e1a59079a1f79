#include "taskmanager/row.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

static bool type_variable(enum spec_type t)
{
	return t == SPEC_STRING || t == SPEC_BYTES;
}

void row_plan_init(struct row_plan *p, const struct spec_schema *schema)
{
	assert(schema->n <= ROW_COLUMNS_MAX);
	*p = (struct row_plan){.n = schema->n,
			       .null_words = (schema->n + 63) / 64,
			       .fixed_bytes = 8 + 8 * schema->n,
			       .types = mem_array(schema->n + 1, sizeof(*p->types))};
	for (unsigned i = 0; i < schema->n; i++) {
		p->types[i] = schema->columns[i].type;
		if (type_variable(p->types[i]))
			p->variable = true;
	}
}

void row_plan_fini(struct row_plan *p)
{
	free(p->types);
	*p = (struct row_plan){0};
}

/* The slot of column i of a row of `bytes`, whose variable part begins at `fixed`. */
static bool slot_check(const struct row_plan *p, const struct row *r, unsigned i, size_t fixed,
		       size_t bytes)
{
	if (row_null(p, r, i))
		return r->slot[i] == 0;
	if (p->types[i] == SPEC_BOOL)
		return r->slot[i] <= 1;
	if (!type_variable(p->types[i]))
		return true;
	uint64_t offset = (uint32_t)r->slot[i], len = r->slot[i] >> 32;
	return offset >= fixed && offset + len <= bytes;
}

bool row_check(const struct row_plan *p, const struct row *r, size_t room)
{
	if (room < 8)
		return false;
	size_t bytes = row_bytes(r);
	size_t fixed = p->fixed_bytes;
	if (bytes > room || bytes < fixed || r->kind != ROW_DATA || (r->flags & ~ROW_NULLS))
		return false;
	if (r->flags & ROW_NULLS) {
		fixed += 8 * (size_t)p->null_words;
		if (bytes < fixed)
			return false;
	}
	if (!p->variable && !r->flags)
		return bytes == fixed;
	for (unsigned i = 0; i < p->n; i++)
		if (!slot_check(p, r, i, fixed, bytes))
			return false;
	return true;
}

size_t row_size(const struct row_plan *p, const struct row_value *values)
{
	size_t bytes = p->fixed_bytes;
	bool nulls = false;

	for (unsigned i = 0; i < p->n; i++) {
		if (values[i].null)
			nulls = true;
		else if (type_variable(p->types[i]))
			bytes += ((size_t)values[i].len + 7) & ~(size_t)7;
	}
	return bytes + (nulls ? 8 * (size_t)p->null_words : 0);
}

/* The slot of a value; bytes go to `*offset`, which moves on. */
static uint64_t slot_put(enum spec_type type, const struct row_value *v, struct row *r,
			 size_t *offset)
{
	uint64_t slot;

	if (v->null)
		return 0;
	if (!type_variable(type)) {
		memcpy(&slot, &v->i64, sizeof(slot));
		return slot;
	}
	size_t padded = ((size_t)v->len + 7) & ~(size_t)7;
	unsigned char *at = (unsigned char *)r + *offset;
	if (padded)
		memset(at + padded - 8, 0, 8);
	if (v->len)
		memcpy(at, v->text, v->len);
	slot = (uint64_t)*offset | (uint64_t)v->len << 32;
	*offset += padded;
	return slot;
}

void row_put(const struct row_plan *p, const struct row_value *values, void *at)
{
	struct row *r = at;
	size_t offset = p->fixed_bytes;
	bool nulls = false;

	for (unsigned i = 0; i < p->n; i++)
		nulls = nulls || values[i].null;
	if (nulls) {
		memset(&r->slot[p->n], 0, 8 * (size_t)p->null_words);
		offset += 8 * (size_t)p->null_words;
	}
	for (unsigned i = 0; i < p->n; i++) {
		r->slot[i] = slot_put(p->types[i], &values[i], r, &offset);
		if (values[i].null)
			r->slot[p->n + i / 64] |= UINT64_C(1) << (i % 64);
	}
	assert(offset <= ROW_BYTES_MAX);
	r->units = (uint16_t)(offset / 8);
	r->kind = ROW_DATA;
	r->flags = nulls ? ROW_NULLS : 0;
	r->hash = 0;
}
