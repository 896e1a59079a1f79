#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static enum errc with_unit(const char *text, const struct unit *units, const char *names,
			   uint64_t max, uint64_t *out, struct err *e)
{
	if (!isdigit((unsigned char)text[0]))
		return err_set(e, ERR_INVALID, "\"%.40s\" is not an integer with a unit (%s)", text,
			       names);
	char *end;
	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(end, u->name) != 0)
			continue;
		if (errno || n > max / u->factor)
			return err_set(e, ERR_INVALID, "\"%.40s\" is too large", text);
		*out = n * u->factor;
		return ERR_OK;
	}
	return err_set(e, ERR_INVALID, "\"%.40s\" is not an integer with a unit (%s)", text, names);
}

enum errc text_duration_ms(const char *text, uint64_t *out_ms, struct err *e)
{
	static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"min", 60000},
					    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
	return with_unit(text, units, "ms, s, min, h, d", UINT64_C(365) * 86400000, out_ms, e);
}

enum errc text_size(const char *text, uint64_t *out_bytes, struct err *e)
{
	static const struct unit units[] = {{"", 1},
					    {"B", 1},
					    {"KiB", UINT64_C(1) << 10},
					    {"MiB", UINT64_C(1) << 20},
					    {"GiB", UINT64_C(1) << 30},
					    {NULL, 0}};
	return with_unit(text, units, "B, KiB, MiB, GiB", UINT64_C(1) << 50, out_bytes, e);
}

enum errc text_u64(const char *text, uint64_t *out, struct err *e)
{
	char *end;
	errno = 0;
	uint64_t n = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
	if (!isdigit((unsigned char)text[0]) || *end || errno)
		return err_set(e, ERR_INVALID, "\"%.40s\" is not a whole number", text);
	*out = n;
	return ERR_OK;
}

enum errc text_i64(const char *text, int64_t *out, struct err *e)
{
	const char *digits = text[0] == '-' ? text + 1 : text;
	char *end;
	errno = 0;
	int64_t n = isdigit((unsigned char)digits[0]) ? strtoll(text, &end, 10) : 0;
	if (!isdigit((unsigned char)digits[0]) || *end || errno)
		return err_set(e, ERR_INVALID, "\"%.40s\" is not an integer", text);
	*out = n;
	return ERR_OK;
}

void text_hex(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool text_unhex(const char *hex, void *out, size_t len)
{
	if (strlen(hex) != 2 * len)
		return false;
	for (size_t i = 0; i < 2 * len; i++)
		if (nibble(hex[i]) < 0)
			return false;
	unsigned char *p = out;
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	return true;
}

bool text_hex64(const char *hex, uint64_t *out)
{
	unsigned char b[8];
	uint64_t v = 0;

	if (!text_unhex(hex, b, sizeof(b)))
		return false;
	for (unsigned i = 0; i < sizeof(b); i++)
		v = v << 8 | b[i];
	*out = v;
	return true;
}

void text_base64(struct buf *out, const void *data, size_t len)
{
	size_t need = 4 * ((len + 2) / 3);
	unsigned char *to = buf_reserve(out, need);
	if (to == NULL)
		return;
	if (len)
		EVP_EncodeBlock(to, data, (int)len);
	buf_grew(out, need);
}

enum errc text_unbase64(const char *text, struct buf *out, struct err *e)
{
	size_t len = strlen(text);
	if (len == 0)
		return ERR_OK;
	size_t pad = text[len - 1] != '=' ? 0 : len > 1 && text[len - 2] == '=' ? 2 : 1;
	/* OpenSSL skips white space at both ends; the wire format has none. */
	bool clean = len % 4 == 0 && !isspace((unsigned char)text[0]) &&
		     strcspn(text, " \t\r\n-") == len && strcspn(text, "=") == len - pad;
	unsigned char *to = clean ? buf_reserve(out, len / 4 * 3) : NULL;
	if (to == NULL)
		return err_set(e, clean ? ERR_LIMIT : ERR_INVALID, "not acceptable as base64");
	int n = EVP_DecodeBlock(to, (const unsigned char *)text, (int)len);
	if (n < 0 || (size_t)n < pad)
		return err_set(e, ERR_INVALID, "not base64");
	buf_grew(out, (size_t)n - pad);
	return ERR_OK;
}

void text_percent(struct buf *out, const char *text, bool keep_slash)
{
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (isalnum(c) || strchr("-._~", c) || (keep_slash && c == '/'))
			buf_add(out, p, 1);
		else
			buf_printf(out, "%%%02X", c);
	}
}

unsigned text_distance(const char *a, const char *b)
{
	enum { FAR = 64 };
	size_t n = strlen(a), m = strlen(b);
	if (n >= FAR || m >= FAR)
		return FAR;
	unsigned row[FAR]; /* distances from a's first i characters to every prefix of b */
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[j - 1]);
			unsigned replaced = diagonal + !same;
			unsigned shorter = row[j] < row[j - 1] ? row[j] : row[j - 1];
			diagonal = row[j];
			row[j] = replaced < shorter + 1 ? replaced : shorter + 1;
		}
	}
	return row[m];
}

bool text_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);
	return n >= m && strcmp(text + n - m, suffix) == 0;
}
