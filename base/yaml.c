#include "base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

struct reader {
	yaml_parser_t parser;
	unsigned nodes;
};

/* ---- errors name the place, counted from 1 as editors do ---- */

#define AT(mark) (mark).line + 1, (mark).column + 1

static enum errc refuse(struct err *e, yaml_mark_t mark, const char *why)
{
	return err_set(e, ERR_INVALID, "line %zu, column %zu: %s", AT(mark), why);
}

static enum errc next_event(struct reader *r, yaml_event_t *out, struct err *e)
{
	if (yaml_parser_parse(&r->parser, out))
		return ERR_OK;
	const yaml_parser_t *p = &r->parser;
	if (p->error == YAML_READER_ERROR)
		return err_set(e, ERR_INVALID, "malformed YAML at byte %zu: %s", p->problem_offset,
			       p->problem ? p->problem : "unreadable");
	return err_set(e, ERR_INVALID, "malformed YAML at line %zu, column %zu: %s%s%s",
		       AT(p->problem_mark), p->problem ? p->problem : "unreadable",
		       p->context ? ", " : "", p->context ? p->context : "");
}

/* ---- the core schema's plain scalars ---- */

static bool is_one_of(const char *text, const char *const names[])
{
	for (; *names; names++)
		if (strcmp(text, *names) == 0)
			return true;
	return false;
}

/* [-+]?[0-9]+ or 0o[0-7]+ or 0x[0-9a-fA-F]+: the base, or 0 if it is no integer. */
static int integer_base(const char *text)
{
	if (text_starts(text, "0o"))
		return text[2] && strspn(text + 2, "01234567") == strlen(text + 2) ? 8 : 0;
	if (text_starts(text, "0x"))
		return text[2] && strspn(text + 2, "0123456789abcdefABCDEF") == strlen(text + 2)
			       ? 16
			       : 0;
	text += *text == '-' || *text == '+';
	return *text && strspn(text, "0123456789") == strlen(text) ? 10 : 0;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(const char *text)
{
	text += *text == '-' || *text == '+';
	size_t whole = strspn(text, "0123456789");
	text += whole;
	if (*text == '.') {
		size_t fraction = strspn(++text, "0123456789");
		if (whole + fraction == 0)
			return false;
		text += fraction;
	} else if (whole == 0) {
		return false;
	}
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		if (!isdigit((unsigned char)*text))
			return false;
		text += strspn(text, "0123456789");
	}
	return *text == '\0';
}

static enum errc integer(const char *text, int base, yaml_mark_t mark, json_t **out, struct err *e)
{
	errno = 0;
	long long n = strtoll(base == 10 ? text : text + 2, NULL, base);
	if (errno)
		return refuse(e, mark, "the integer does not fit into 64 bits");
	*out = json_integer(n);
	return ERR_OK;
}

static enum errc plain(const char *text, yaml_mark_t mark, json_t **out, struct err *e)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	static const char *const no_numbers[] = {".inf",  ".Inf",  ".INF",  "-.inf", "-.Inf",
						 "-.INF", "+.inf", "+.Inf", "+.INF", ".nan",
						 ".NaN",  ".NAN",  NULL};
	int base = integer_base(text);
	if (base)
		return integer(text, base, mark, out, e);
	if (is_one_of(text, no_numbers))
		return refuse(e, mark, "infinity and NaN are not accepted");
	if (is_one_of(text, nulls)) {
		*out = json_null();
	} else if (is_one_of(text, trues)) {
		*out = json_true();
	} else if (is_one_of(text, falses)) {
		*out = json_false();
	} else if (is_float(text)) {
		double d = strtod(text, NULL);
		if (!isfinite(d))
			return refuse(e, mark, "the number is too large");
		*out = json_real(d);
	} else {
		*out = json_string(text);
	}
	return ERR_OK;
}

/* ---- events -> values ---- */

static enum errc check_node(const yaml_event_t *ev, const yaml_char_t *anchor,
			    const yaml_char_t *tag, struct err *e)
{
	if (anchor)
		return refuse(e, ev->start_mark, "anchors (&name) are not accepted");
	if (tag && strcmp((const char *)tag, YAML_STR_TAG) != 0)
		return refuse(e, ev->start_mark, "tags other than !!str are not accepted");
	return ERR_OK;
}

static enum errc scalar_text(const yaml_event_t *ev, const char **out, struct err *e)
{
	const char *text = (const char *)ev->data.scalar.value;
	if (strlen(text) != ev->data.scalar.length)
		return refuse(e, ev->start_mark, "a text with a zero byte is not accepted");
	*out = text;
	return ERR_OK;
}

static enum errc scalar(const yaml_event_t *ev, json_t **out, struct err *e)
{
	const char *text = "";
	enum errc rc = check_node(ev, ev->data.scalar.anchor, ev->data.scalar.tag, e);
	rc = rc ? rc : scalar_text(ev, &text, e);
	if (rc)
		return rc;
	bool untyped = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !ev->data.scalar.tag;
	if (untyped)
		return plain(text, ev->start_mark, out, e);
	*out = json_string(text);
	return *out ? ERR_OK : refuse(e, ev->start_mark, "the text is not UTF-8");
}

static enum errc value(struct reader *r, yaml_event_t *ev, unsigned depth, json_t **out,
		       struct err *e);

static enum errc sequence(struct reader *r, unsigned depth, json_t *array, struct err *e)
{
	for (;;) {
		yaml_event_t ev;
		enum errc rc = next_event(r, &ev, e);
		if (rc)
			return rc;
		json_t *item = NULL;
		bool end = ev.type == YAML_SEQUENCE_END_EVENT;
		if (!end)
			rc = value(r, &ev, depth, &item, e);
		yaml_event_delete(&ev);
		if (rc || end)
			return rc;
		json_array_append_new(array, item);
	}
}

static enum errc member(struct reader *r, const yaml_event_t *key, unsigned depth, json_t *object,
			struct err *e)
{
	if (key->type != YAML_SCALAR_EVENT)
		return refuse(e, key->start_mark, "a key must be a plain text");
	const char *name = "";
	enum errc rc = check_node(key, key->data.scalar.anchor, key->data.scalar.tag, e);
	rc = rc ? rc : scalar_text(key, &name, e);
	if (rc)
		return rc;
	if (json_object_get(object, name))
		return err_set(e, ERR_INVALID,
			       "line %zu, column %zu: the key \"%.60s\" is there twice",
			       AT(key->start_mark), name);
	yaml_event_t ev;
	rc = next_event(r, &ev, e);
	if (rc)
		return rc;
	json_t *item = NULL;
	rc = value(r, &ev, depth, &item, e);
	yaml_event_delete(&ev);
	if (rc)
		return rc;
	if (json_object_set_new(object, name, item) != 0)
		return refuse(e, key->start_mark, "the key is not UTF-8");
	return ERR_OK;
}

static enum errc mapping(struct reader *r, unsigned depth, json_t *object, struct err *e)
{
	for (;;) {
		yaml_event_t ev;
		enum errc rc = next_event(r, &ev, e);
		if (rc)
			return rc;
		bool end = ev.type == YAML_MAPPING_END_EVENT;
		if (!end)
			rc = member(r, &ev, depth, object, e);
		yaml_event_delete(&ev);
		if (rc || end)
			return rc;
	}
}

static enum errc collection(struct reader *r, const yaml_event_t *ev, unsigned depth, json_t **out,
			    struct err *e)
{
	bool list = ev->type == YAML_SEQUENCE_START_EVENT;
	enum errc rc =
		list ? check_node(ev, ev->data.sequence_start.anchor, ev->data.sequence_start.tag,
				  e)
		     : check_node(ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag, e);
	if (rc)
		return rc;
	if (depth >= YAML_DEPTH_MAX)
		return refuse(e, ev->start_mark, "nested too deeply");
	json_t *all = list ? json_array() : json_object();
	rc = list ? sequence(r, depth + 1, all, e) : mapping(r, depth + 1, all, e);
	if (rc)
		json_decref(all);
	else
		*out = all;
	return rc;
}

/* The value that begins with `ev`, which stays the caller's to delete. */
static enum errc value(struct reader *r, yaml_event_t *ev, unsigned depth, json_t **out,
		       struct err *e)
{
	if (++r->nodes > YAML_NODES_MAX)
		return refuse(e, ev->start_mark, "too many values");
	if (ev->type == YAML_SCALAR_EVENT)
		return scalar(ev, out, e);
	if (ev->type == YAML_ALIAS_EVENT)
		return refuse(e, ev->start_mark, "aliases (*name) are not accepted");
	return collection(r, ev, depth, out, e);
}

/* STREAM-START (DOCUMENT-START value DOCUMENT-END)? STREAM-END; what libyaml delivers otherwise is
 * a second document. */
static enum errc document(struct reader *r, json_t **out, struct err *e)
{
	json_t *root = NULL;
	for (;;) {
		yaml_event_t ev;
		enum errc rc = next_event(r, &ev, e);
		if (rc) {
			json_decref(root);
			return rc;
		}
		bool end = ev.type == YAML_STREAM_END_EVENT;
		bool marker = end || ev.type == YAML_STREAM_START_EVENT ||
			      ev.type == YAML_DOCUMENT_END_EVENT;
		if (ev.type == YAML_DOCUMENT_START_EVENT && root)
			rc = refuse(e, ev.start_mark, "a second document is not accepted");
		else if (!marker && ev.type != YAML_DOCUMENT_START_EVENT)
			rc = value(r, &ev, 0, &root, e);
		yaml_event_delete(&ev);
		if (rc) {
			json_decref(root);
			return rc;
		}
		if (end) {
			*out = root ? root : json_null();
			return ERR_OK;
		}
	}
}

enum errc yaml_to_json(const char *text, size_t len, json_t **out, struct err *e)
{
	struct reader r = {.nodes = 0};
	if (!yaml_parser_initialize(&r.parser))
		return err_set(e, ERR_LIMIT, "no memory for a YAML parser");
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	enum errc rc = document(&r, out, e);
	yaml_parser_delete(&r.parser);
	return rc;
}

/* ---- files ---- */

static enum errc read_all(int fd, const char *path, struct buf *b, struct err *e)
{
	for (;;) {
		char piece[16384];
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "read %s", path);
		if (n == 0)
			return ERR_OK;
		buf_add(b, piece, (size_t)n);
		if (b->full)
			return err_set(e, ERR_LIMIT, "%s: is larger than %zu bytes", path, b->max);
	}
}

static enum errc parse_file(const char *path, const struct buf *b, json_t **out, struct err *e)
{
	const char *text = b->data ? b->data : "";
	char first = text[strspn(text, " \t\r\n")];
	bool named_yaml = text_ends(path, ".yaml") || text_ends(path, ".yml");
	bool json = text_ends(path, ".json") || (!named_yaml && (first == '{' || first == '['));
	enum errc rc = json ? json_parse(text, b->len, out, e) : yaml_to_json(text, b->len, out, e);
	return rc ? err_wrap(e, rc, "%s", path) : ERR_OK;
}

enum errc yaml_read_file(const char *path, size_t max, json_t **out, struct err *e)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	struct buf b;
	buf_init(&b, max);
	enum errc rc = read_all(fd, path, &b, e);
	if (!standard)
		close(fd);
	rc = rc ? rc : parse_file(path, &b, out, e);
	buf_fini(&b);
	return rc;
}
