#include "base/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum errc job_id_parse(const char *text, struct job_id *out, struct err *e)
{
	if (strlen(text) != ID_HEX || strspn(text, "0123456789abcdef") != ID_HEX)
		return err_set(e, ERR_INVALID,
			       "\"%.40s\" is not an id (32 lower-case hexadecimal digits)", text);
	memcpy(out->hex, text, ID_TEXT);
	return ERR_OK;
}

void job_id_make(uint64_t random_high, uint64_t random_low, struct job_id *out)
{
	snprintf(out->hex, sizeof(out->hex), "%016" PRIx64 "%016" PRIx64, random_high, random_low);
}

bool job_id_equal(const struct job_id *a, const struct job_id *b)
{
	return memcmp(a->hex, b->hex, ID_HEX) == 0;
}

enum errc node_id_check(const char *text, struct err *e)
{
	size_t len = strlen(text);
	if (len < 1 || len >= NODE_ID_MAX ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
		    len)
		return err_set(e, ERR_INVALID,
			       "\"%.70s\" is not a node id (1 to 63 of A-Z a-z 0-9 . _ -)", text);
	return ERR_OK;
}
