#include "taskmanager/connectors/render.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static void add_i64(struct buf *out, int64_t value)
{
	char digits[24], *at = digits + sizeof(digits);
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (value < 0)
		*--at = '-';
	buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static void add_f64(struct buf *out, double value, bool quote)
{
	char text[40];
	if (!isfinite(value)) {
		const char *name = isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity";
		buf_printf(out, quote ? "\"%s\"" : "%s", name);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	buf_text(out, text);
}

static void add_time(struct buf *out, int64_t ms)
{
	time_t seconds = (time_t)(ms >= 0 ? ms / 1000 : -((999 - ms) / 1000));
	int rest = (int)(ms - (int64_t)seconds * 1000);
	struct tm t;
	char text[64];
	if (!gmtime_r(&seconds, &t)) { /* a year that does not fit an int */
		add_i64(out, ms);
		return;
	}
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &t);
	buf_add(out, text, n);
	buf_printf(out, ".%03dZ", rest);
}

/* Length of the UTF-8 character at `at`, 0 if there is none. */
static size_t utf8_length(const unsigned char *at, size_t room)
{
	unsigned char c = at[0];
	if (c < 0x80)
		return 1;
	size_t len = c >= 0xc2 && c < 0xe0   ? 2
		     : c >= 0xe0 && c < 0xf0 ? 3
		     : c >= 0xf0 && c < 0xf5 ? 4
					     : 0;
	if (!len || len > room)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] >= 0xa0) ||
	    (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] >= 0x90))
		return 0;
	return len;
}

static void add_escape(struct buf *out, unsigned char c)
{
	static const char *const names[128] = {
		['"'] = "\\\"", ['\\'] = "\\\\", ['\n'] = "\\n", ['\r'] = "\\r",
		['\t'] = "\\t", ['\b'] = "\\b",  ['\f'] = "\\f"};
	if (c >= 0x80)
		buf_text(out, "\xef\xbf\xbd");
	else if (names[c])
		buf_text(out, names[c]);
	else
		buf_printf(out, "\\u%04x", c);
}

static void add_json_text(struct buf *out, const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t from = 0, i = 0;
	buf_add(out, "\"", 1);
	while (i < len) {
		size_t n = at[i] < 0x20 || at[i] == '"' || at[i] == '\\'
				   ? 0
				   : utf8_length(at + i, len - i);
		if (n) {
			i += n;
			continue;
		}
		buf_add(out, text + from, i - from);
		add_escape(out, at[i]);
		from = ++i;
	}
	buf_add(out, text + from, len - from);
	buf_add(out, "\"", 1);
}

static void add_tsv_text(struct buf *out, const char *text, size_t len)
{
	size_t from = 0;
	for (size_t i = 0; i < len; i++) {
		const char *instead = text[i] == '\t'   ? "\\t"
				      : text[i] == '\n' ? "\\n"
				      : text[i] == '\r' ? "\\r"
				      : text[i] == '\\' ? "\\\\"
							: NULL;
		if (!instead)
			continue;
		buf_add(out, text + from, i - from);
		buf_text(out, instead);
		from = i + 1;
	}
	buf_add(out, text + from, len - from);
}

static void add_value(bool json, enum spec_type type, const struct row *r, unsigned column,
		      struct buf *out)
{
	const char *quote = json ? "\"" : "";
	uint32_t len;
	const char *text;
	switch (type) {
	case SPEC_BOOL:
		buf_text(out, row_i64(r, column) ? "true" : "false");
		break;
	case SPEC_INT64:
		add_i64(out, row_i64(r, column));
		break;
	case SPEC_FLOAT64:
		add_f64(out, row_f64(r, column), json);
		break;
	case SPEC_STRING:
		text = row_text(r, column, &len);
		if (json)
			add_json_text(out, text, len);
		else
			add_tsv_text(out, text, len);
		break;
	case SPEC_BYTES:
		text = row_text(r, column, &len);
		buf_text(out, quote);
		text_base64(out, text, len);
		buf_text(out, quote);
		break;
	case SPEC_TIMESTAMP:
		buf_text(out, quote);
		add_time(out, row_i64(r, column));
		buf_text(out, quote);
		break;
	}
}

void render_row(enum render_format format, const struct spec_schema *schema,
		const struct row_plan *plan, const struct row *row, struct buf *out)
{
	bool json = format == RENDER_JSON;
	if (json)
		buf_add(out, "{", 1);
	for (unsigned i = 0; i < plan->n; i++) {
		if (i)
			buf_add(out, json ? "," : "\t", 1);
		if (json) {
			add_json_text(out, schema->columns[i].name,
				      strlen(schema->columns[i].name));
			buf_add(out, ":", 1);
		}
		if (row_null(plan, row, i))
			buf_text(out, json ? "null" : "\\N");
		else
			add_value(json, plan->types[i], row, i, out);
	}
	buf_text(out, json ? "}\n" : "\n");
}
