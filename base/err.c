#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum err_class class;
	const char *text;
} table[ERR_COUNT] = {
#define X(name, class, text) {#name, ERR_CLASS_##class, text},
	ERR_MAP(X)
#undef X
};

enum errc err_set(struct err *e, enum errc code, const char *fmt, ...)
{
	assert(code > ERR_OK && code < ERR_COUNT);
	if (e == NULL)
		return code;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	e->code = code;
	return code;
}

enum errc err_wrap(struct err *e, enum errc code, const char *fmt, ...)
{
	assert(code > ERR_OK && code < ERR_COUNT);
	if (e == NULL)
		return code;
	char inner[ERR_TEXT_MAX];
	memcpy(inner, e->text, sizeof(inner));
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->text))
		snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", inner);
	e->code = code;
	return code;
}

static enum errc code_of_errno(int error)
{
	switch (error) {
	case ENOENT:
		return ERR_NOTFOUND;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EEXIST:
		return ERR_EXISTS;
	default:
		return ERR_IO;
	}
}

enum errc err_errno(struct err *e, int error, const char *fmt, ...)
{
	enum errc code = code_of_errno(error);
	if (e == NULL)
		return code;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->text))
		snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", strerror(error));
	e->code = code;
	return code;
}

enum err_class err_class(enum errc code)
{
	assert(code >= ERR_OK && code < ERR_COUNT);
	return table[code].class;
}

const char *err_name(enum errc code)
{
	assert(code >= ERR_OK && code < ERR_COUNT);
	return table[code].name;
}

const char *err_text(enum errc code)
{
	assert(code >= ERR_OK && code < ERR_COUNT);
	return table[code].text;
}
