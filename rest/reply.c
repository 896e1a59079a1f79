#include "rest/reply.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { TEXT_MAX = 1024 };

void reply_json(struct world *w, struct world_request *r, int status, json_t *value)
{
	char *text = json_text(value);
	json_decref(value);
	world_reply(w, r, status, text, strlen(text));
	free(text);
}

json_t *reply_error_json(const char *text)
{
	char plain[TEXT_MAX];
	json_t *value = json_string(text);
	if (value == NULL) {
		snprintf(plain, sizeof(plain), "%s", text);
		for (char *p = plain; *p; p++)
			if ((unsigned char)*p >= 0x80)
				*p = '?';
		value = json_string(plain);
	}
	return json_pack("{s:[o]}", "errors", value);
}

static void send_error(struct world *w, struct world_request *r, int status, const char *text)
{
	static const struct world_header later = {"Retry-After", "1"};
	json_t *value = reply_error_json(text);
	char *body = json_text(value);
	world_reply_with(w, r, status, &later, status == 503, body, strlen(body));
	free(body);
	json_decref(value);
}

void reply_error(struct world *w, struct world_request *r, int status, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	send_error(w, r, status, text);
}

void reply_later(struct world *w, struct world_request *r, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	send_error(w, r, 503, text);
}

int reply_status(enum errc code)
{
	switch (code) {
	case ERR_OK:
		return 200;
	case ERR_NOTFOUND:
		return 404;
	case ERR_EXISTS:
	case ERR_CONFLICT:
		return 409;
	case ERR_INVALID:
		return 400;
	case ERR_DENIED:
		return 403;
	case ERR_LIMIT:
		return 413;
	case ERR_AGAIN:
	case ERR_NOTSENT:
	case ERR_UNAVAILABLE:
	case ERR_UNKNOWN:
	case ERR_FENCED:
	case ERR_CANCELED:
		return 503;
	case ERR_CORRUPT:
	case ERR_IO:
	case ERR_COUNT:
		break;
	}
	return 500;
}

void reply_err(struct world *w, struct world_request *r, const struct err *e)
{
	assert(e->code != ERR_OK);
	send_error(w, r, reply_status(e->code), e->text[0] ? e->text : err_text(e->code));
}
