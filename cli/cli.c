#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

int cli_fail(const struct err *e)
{
	fprintf(stderr, "weir: %s\n", e->text);
	switch (e->code) {
	case ERR_UNAVAILABLE:
	case ERR_NOTSENT:
	case ERR_UNKNOWN:
		return CLI_UNREACHABLE;
	case ERR_NOTFOUND:
		return CLI_NOT_FOUND;
	case ERR_OK:
	case ERR_AGAIN:
	case ERR_CONFLICT:
	case ERR_FENCED:
	case ERR_EXISTS:
	case ERR_INVALID:
	case ERR_DENIED:
	case ERR_LIMIT:
	case ERR_CORRUPT:
	case ERR_IO:
	case ERR_CANCELED:
	case ERR_COUNT:
		break;
	}
	return CLI_FAILED;
}

void cli_print_json(json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
	puts(text ? text : "null");
	free(text);
	json_decref(value);
}
