#include "simple_json.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* ---- strings ---- */

enum { DIGITS_MAX = 18 }; /* of them, every number fits into 64 bits */

static bool plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight bytes at once: a bit is set where one is not plain, and perhaps above it (H. Warren,
 * "Hacker's Delight", 2nd ed., 6-1: a zero byte in a word). */
static uint64_t not_plain(uint64_t w)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
	uint64_t quote = w ^ ones * '"', escape = w ^ ones * '\\';
	uint64_t low = (w - ones * 0x20) & ~w;
	return (w | low | ((quote - ones) & ~quote) | ((escape - ones) & ~escape)) & tops;
}

/* How many bytes are plain, from the first. */
static size_t plain_run(const char *text, size_t len)
{
	size_t n = 0;
	for (uint64_t w; len - n >= sizeof(w); n += sizeof(w)) {
		memcpy(&w, text + n, sizeof(w));
		if (not_plain(w))
			break;
	}
	while (n < len && plain((unsigned char)text[n]))
		n++;
	return n;
}

/* ---- reading ---- */

struct reader {
	const char *at, *end;
	bool unique; /* a name twice is an error */
};

static char peek(const struct reader *r)
{
	return r->at < r->end ? *r->at : '\0';
}

static void skip_white(struct reader *r)
{
	while (peek(r) == ' ' || peek(r) == '\n' || peek(r) == '\t' || peek(r) == '\r')
		r->at++;
}

/* The next byte that is not white, if it is `c`. */
static bool next(struct reader *r, char c)
{
	skip_white(r);
	bool is = peek(r) == c;
	r->at += is;
	return is;
}

/* The text behind an opening quote, to the closing one. NULL: not simple. */
static const char *read_text(struct reader *r, size_t *len)
{
	const char *text = r->at;
	*len = plain_run(text, (size_t)(r->end - text));
	r->at += *len;
	if (peek(r) != '"')
		return NULL;
	r->at++;
	return text;
}

static json_t *read_string(struct reader *r)
{
	size_t len;
	const char *text = read_text(r, &len);
	return text ? json_stringn_nocheck(text, len) : NULL;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* With a fraction or an exponent. */
static json_t *read_real(struct reader *r, const char *first)
{
	while (peek(r) && (digit(*r->at) || strchr("+-.eE", *r->at)))
		r->at++;
	return json_loadb(first, (size_t)(r->at - first), JSON_DECODE_ANY, NULL);
}

static json_t *read_number(struct reader *r)
{
	const char *first = r->at;
	bool negative = *first == '-';
	int64_t n = 0;
	r->at += negative;
	const char *digits = r->at;
	while (digit(peek(r)) && r->at - digits < DIGITS_MAX)
		n = n * 10 + (*r->at++ - '0');
	if (peek(r) == '.' || peek(r) == 'e' || peek(r) == 'E')
		return read_real(r, first);
	if (r->at == digits || digit(peek(r)) || (*digits == '0' && r->at - digits > 1))
		return NULL;
	return json_integer(negative ? -n : n);
}

static json_t *read_word(struct reader *r, const char *word, json_t *value)
{
	size_t len = strlen(word);
	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return NULL;
	r->at += len;
	return value;
}

static json_t *read_value(struct reader *r, unsigned depth);

static bool read_member(struct reader *r, json_t *o, unsigned depth)
{
	size_t len;
	const char *name = next(r, '"') ? read_text(r, &len) : NULL;
	if (!name || !next(r, ':') || (r->unique && json_object_getn(o, name, len)))
		return false;
	json_t *value = read_value(r, depth);
	return value && json_object_setn_new_nocheck(o, name, len, value) == 0;
}

static bool read_element(struct reader *r, json_t *list, unsigned depth)
{
	json_t *value = read_value(r, depth);
	return value && json_array_append_new(list, value) == 0;
}

/* Behind the opening brace; `all` is the caller's until it is returned. */
static json_t *read_all(struct reader *r, json_t *all, unsigned depth, char close,
			bool (*one)(struct reader *, json_t *, unsigned))
{
	if (next(r, close))
		return all;
	bool simple = depth < SIMPLE_DEPTH;
	do
		simple = simple && one(r, all, depth + 1);
	while (simple && next(r, ','));
	if (simple && next(r, close))
		return all;
	json_decref(all);
	return NULL;
}

static json_t *read_value(struct reader *r, unsigned depth)
{
	if (next(r, '"'))
		return read_string(r);
	if (next(r, '{'))
		return read_all(r, json_object(), depth, '}', read_member);
	if (next(r, '['))
		return read_all(r, json_array(), depth, ']', read_element);
	switch (peek(r)) {
	case 't':
		return read_word(r, "true", json_true());
	case 'f':
		return read_word(r, "false", json_false());
	case 'n':
		return read_word(r, "null", json_null());
	default:
		return digit(peek(r)) || peek(r) == '-' ? read_number(r) : NULL;
	}
}

json_t *simple_json_load(const char *text, size_t len, size_t flags, size_t *used)
{
	const size_t known = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK;
	struct reader r = {text, text + len, flags & JSON_REJECT_DUPLICATES};
	if (flags & ~known)
		return NULL;
	json_t *value = NULL;
	if (next(&r, '{'))
		value = read_all(&r, json_object(), 0, '}', read_member);
	else if (next(&r, '['))
		value = read_all(&r, json_array(), 0, ']', read_element);
	bool ends = (flags & JSON_DISABLE_EOF_CHECK) == 0;
	if (ends)
		skip_white(&r);
	if (ends && r.at != r.end) {
		json_decref(value);
		return NULL;
	}
	*used = (size_t)(r.at - text);
	return value;
}

/* ---- writing ---- */

static bool put_text(struct buf *b, const char *text, size_t len)
{
	if (plain_run(text, len) != len)
		return false;
	char *at = buf_reserve(b, len + 2);
	at[0] = '"';
	memcpy(at + 1, text, len);
	at[len + 1] = '"';
	buf_grew(b, len + 2);
	return true;
}

static void put_integer(struct buf *b, int64_t n)
{
	char digits[24], *at = digits + sizeof(digits);
	uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
	do
		*--at = (char)('0' + rest % 10);
	while (rest /= 10);
	if (n < 0)
		*--at = '-';
	buf_add(b, at, (size_t)(digits + sizeof(digits) - at));
}

static bool put_real(struct buf *b, const json_t *real)
{
	char *text = json_dumps(real, JSON_COMPACT | JSON_ENCODE_ANY);
	if (text)
		buf_text(b, text);
	free(text);
	return text;
}

static bool put_value(struct buf *b, const json_t *v, unsigned depth);

static bool put_object(struct buf *b, json_t *o, unsigned depth)
{
	bool simple = depth < SIMPLE_DEPTH;
	char before = '{';
	for (void *i = json_object_iter(o); i && simple; i = json_object_iter_next(o, i)) {
		buf_add(b, &before, 1);
		simple = put_text(b, json_object_iter_key(i), json_object_iter_key_len(i));
		buf_add(b, ":", 1);
		simple = simple && put_value(b, json_object_iter_value(i), depth + 1);
		before = ',';
	}
	buf_text(b, before == '{' ? "{}" : "}");
	return simple;
}

static bool put_array(struct buf *b, const json_t *list, unsigned depth)
{
	bool simple = depth < SIMPLE_DEPTH;
	buf_add(b, "[", 1);
	for (size_t i = 0; i < json_array_size(list) && simple; i++) {
		if (i)
			buf_add(b, ",", 1);
		simple = put_value(b, json_array_get(list, i), depth + 1);
	}
	buf_add(b, "]", 1);
	return simple;
}

static bool put_value(struct buf *b, const json_t *v, unsigned depth)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		/* Its iterator takes it without const, and does not change it. */
		return put_object(b, (json_t *)(uintptr_t)v, depth);
	case JSON_ARRAY:
		return put_array(b, v, depth);
	case JSON_STRING:
		return put_text(b, json_string_value(v), json_string_length(v));
	case JSON_INTEGER:
		return put_integer(b, json_integer_value(v)), true;
	case JSON_REAL:
		return put_real(b, v);
	case JSON_TRUE:
		return buf_add(b, "true", 4), true;
	case JSON_FALSE:
		return buf_add(b, "false", 5), true;
	case JSON_NULL:
		return buf_add(b, "null", 4), true;
	}
	return false;
}

char *simple_json_dump(const json_t *value, size_t flags)
{
	struct buf b = {0};
	if ((flags | JSON_ENCODE_ANY) != (JSON_COMPACT | JSON_ENCODE_ANY) ||
	    (!json_is_object(value) && !json_is_array(value)))
		return NULL;
	if (put_value(&b, value, 0))
		return buf_take(&b, NULL);
	buf_fini(&b);
	return NULL;
}
