#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->full = false;
	if (b->data)
		b->data[0] = '\0';
}

void *buf_reserve(struct buf *b, size_t len)
{
	if (b->max && (len > b->max || b->len > b->max - len)) {
		b->full = true;
		return NULL;
	}
	size_t need = b->len + len + 1;
	if (need > b->capacity) {
		size_t capacity = b->capacity ? b->capacity : 64;
		while (capacity < need)
			capacity *= 2;
		b->data = mem_resize(b->data, capacity, 1);
		b->capacity = capacity;
	}
	b->data[b->len] = '\0';
	return b->data + b->len;
}

void buf_grew(struct buf *b, size_t len)
{
	assert(b->len + len < b->capacity);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	void *to = buf_reserve(b, len);
	if (to == NULL)
		return;
	if (len)
		memcpy(to, data, len);
	buf_grew(b, len);
}

void buf_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *to = buf_reserve(b, (size_t)n);
	if (to == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_grew(b, (size_t)n);
}

void buf_shift(struct buf *b, size_t len)
{
	assert(len <= b->len);
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
	b->data[b->len] = '\0';
}

char *buf_take(struct buf *b, size_t *out_len)
{
	(void)buf_reserve(b, 0);
	char *data = b->data ? b->data : mem_text("");
	if (out_len)
		*out_len = b->len;
	*b = (struct buf){.max = b->max};
	return data;
}
