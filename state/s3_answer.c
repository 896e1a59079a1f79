#include "state/s3_answer.h"

#include <expat.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/storage_impl.h"

struct parse {
	XML_Parser parser;
	struct s3_answer *out;
	unsigned depth;
	char text[S3_ANSWER_TEXT_MAX];
	size_t len;
	bool too_much;
};

static void stop(struct parse *p)
{
	p->too_much = true;
	XML_StopParser(p->parser, XML_FALSE);
}

/* "http://...:Code" (expat's separator is ':') or "Code". */
static const char *local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = arg;

	(void)attributes;
	if (!p->depth)
		snprintf(p->out->root, sizeof(p->out->root), "%s", local(name));
	if (++p->depth > S3_ANSWER_DEPTH_MAX)
		stop(p);
	p->len = 0;
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct parse *p = arg;

	if ((size_t)len > sizeof(p->text) - 1 - p->len) {
		stop(p);
		return;
	}
	memcpy(p->text + p->len, text, (size_t)len);
	p->len += (size_t)len;
}

static void keep(struct parse *p, char *to, size_t room)
{
	if (p->len >= room)
		stop(p);
	else
		memcpy(to, p->text, p->len + 1);
}

static void on_end(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	struct s3_answer *a = p->out;

	p->depth--;
	p->text[p->len] = '\0';
	name = local(name);
	if (!strcmp(name, "Code") && !a->code[0])
		keep(p, a->code, sizeof(a->code));
	else if (!strcmp(name, "UploadId"))
		keep(p, a->upload_id, sizeof(a->upload_id));
	else if (!strcmp(name, "NextContinuationToken"))
		keep(p, a->next, sizeof(a->next));
	else if (!strcmp(name, "IsTruncated"))
		a->truncated = !strcmp(p->text, "true");
	else if (!strcmp(name, "Key") && storage_names_add(&a->keys, p->text, SIZE_MAX, NULL))
		stop(p);
	p->len = 0;
}

/* No server of ours sends entities of its own: whoever does wants to fill our memory. */
static void on_entity(void *arg, const XML_Char *name, int parameter, const XML_Char *value,
		      int len, const XML_Char *base, const XML_Char *system_id,
		      const XML_Char *public_id, const XML_Char *notation)
{
	(void)name, (void)parameter, (void)value, (void)len, (void)base;
	(void)system_id, (void)public_id, (void)notation;
	stop(arg);
}

enum errc s3_answer_parse(const char *xml, size_t len, struct s3_answer *out, struct err *e)
{
	struct parse *p = mem_alloc(sizeof(*p));
	enum errc code = ERR_OK;

	p->out = out;
	p->parser = XML_ParserCreateNS(NULL, ':');
	if (!p->parser || len > INT32_MAX) {
		code = err_set(e, ERR_LIMIT, "an answer of %zu bytes", len);
		goto out;
	}
	XML_SetUserData(p->parser, p);
	XML_SetElementHandler(p->parser, on_start, on_end);
	XML_SetCharacterDataHandler(p->parser, on_text);
	XML_SetEntityDeclHandler(p->parser, on_entity);
	if (XML_Parse(p->parser, xml, (int)len, XML_TRUE) != XML_STATUS_OK)
		code = err_set(e, ERR_CORRUPT, "the answer is no XML of S3: %s",
			       p->too_much ? "too long or too deep"
					   : XML_ErrorString(XML_GetErrorCode(p->parser)));
out:
	if (p->parser)
		XML_ParserFree(p->parser);
	free(p);
	return code;
}

void s3_answer_fini(struct s3_answer *a)
{
	storage_names_fini(&a->keys);
	memset(a, 0, sizeof(*a));
}
