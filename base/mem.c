#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p, size_t size)
{
	if (p == NULL) {
		fprintf(stderr, "out of memory allocating %zu bytes\n", size);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(calloc(1, size ? size : 1), size);
}

void *mem_array(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1), size);
}

void *mem_resize(void *old, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		checked(NULL, SIZE_MAX);
	return checked(realloc(old, (count && size) ? count * size : 1), count * size);
}

void *mem_copy(const void *data, size_t len)
{
	void *p = checked(malloc(len ? len : 1), len);
	if (len)
		memcpy(p, data, len);
	return p;
}

char *mem_text_n(const char *text, size_t len)
{
	char *p = checked(malloc(len + 1), len + 1);
	if (len)
		memcpy(p, text, len);
	p[len] = '\0';
	return p;
}

char *mem_text(const char *text)
{
	return mem_text_n(text, strlen(text));
}

char *mem_printf(const char *fmt, ...)
{
	char *p = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&p, fmt, ap);
	va_end(ap);
	return checked(n < 0 ? NULL : p, 0);
}
