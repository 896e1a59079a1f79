#include "state/liststate.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void liststate_init(struct liststate *l)
{
	memset(l, 0, sizeof(*l));
}

void liststate_fini(struct liststate *l)
{
	liststate_clear(l);
	free(l->items);
	liststate_init(l);
}

void liststate_clear(struct liststate *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].data);
	l->n = 0;
	l->bytes = 0;
}

enum errc liststate_add(struct liststate *l, const void *data, size_t len, struct err *e)
{
	if (len > LISTSTATE_BYTES_MAX - l->bytes)
		return err_set(e, ERR_LIMIT, "list state of more than %d bytes",
			       LISTSTATE_BYTES_MAX);
	if (l->n == BLOCK_ROWS_MAX)
		return err_set(e, ERR_LIMIT, "list state of more than %d items", BLOCK_ROWS_MAX);
	if (l->n == l->capacity) {
		l->capacity = l->capacity ? 2 * l->capacity : 8;
		l->items = mem_resize(l->items, l->capacity, sizeof(*l->items));
	}
	l->items[l->n++] = (struct liststate_item){mem_copy(data, len), len};
	l->bytes += len;
	return ERR_OK;
}

void liststate_block(const struct liststate *l, uint32_t subtask, struct block *out)
{
	block_begin(out, 1, subtask);
	for (size_t i = 0; i < l->n; i++) {
		*block_row(out) = l->items[i].len;
		buf_add(&out->heap, l->items[i].data, l->items[i].len);
	}
}

enum errc liststate_restore(struct liststate *l, const struct block *b, struct err *e)
{
	const char *at = b->heap.data;
	enum errc code = ERR_OK;

	for (uint32_t i = 0; !code && i < b->rows; i++) {
		size_t len = b->words[(size_t)i * b->n_words];

		code = liststate_add(l, at, len, e);
		at += len;
	}
	return code;
}

enum errc liststate_deal(const struct liststate *old, size_t n_old, enum liststate_mode mode,
			 uint32_t subtask, uint32_t parallelism, struct liststate *out,
			 struct err *e)
{
	enum errc code = ERR_OK;
	uint64_t k = 0; /* of all items */

	for (size_t from = 0; from < n_old; from++) {
		for (size_t i = 0; !code && i < old[from].n; i++, k++) {
			const struct liststate_item *item = &old[from].items[i];
			uint64_t owner = n_old == parallelism ? from : k % parallelism;

			if (mode == LISTSTATE_UNION || owner == subtask)
				code = liststate_add(out, item->data, item->len, e);
		}
	}
	return code;
}
