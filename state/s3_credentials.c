#include "state/s3_credentials.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LINE_MAX_BYTES = 8192 };

struct found {
	char *access_key, *secret_key, *token;
};

static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r\n", end[-1]))
		end--;
	*end = '\0';
	return text;
}

static void keep(char **to, const char *value)
{
	free(*to);
	*to = mem_text(value);
}

/* "name = value" of the profile. */
static void take_line(struct found *f, char *line)
{
	char *equals = strchr(line, '=');
	char *name, *value;

	if (!equals)
		return;
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	if (!strcmp(name, "aws_access_key_id"))
		keep(&f->access_key, value);
	else if (!strcmp(name, "aws_secret_access_key"))
		keep(&f->secret_key, value);
	else if (!strcmp(name, "aws_session_token"))
		keep(&f->token, value);
}

static void read_profile(FILE *file, const char *profile, struct found *f)
{
	char line[LINE_MAX_BYTES];
	bool ours = false;

	while (fgets(line, sizeof(line), file)) {
		char *text = trim(line);
		size_t len = strlen(text);

		if (text[0] == '#' || text[0] == ';')
			continue;
		if (text[0] == '[' && text[len - 1] == ']') {
			text[len - 1] = '\0';
			ours = !strcmp(trim(text + 1), profile);
		} else if (ours) {
			take_line(f, text);
		}
	}
}

static MUST_CHECK enum errc from_file(const char *path, const char *profile, struct found *f,
				      struct err *e)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return err_set(
			e, ERR_INVALID,
			"no S3 credentials: none configured, none in the environment, and %s: %s",
			path, strerror(errno));
	read_profile(file, profile, f);
	fclose(file);
	if (!f->access_key || !f->secret_key)
		return err_set(e, ERR_INVALID, "no S3 credentials: %s has no %s in profile [%s]",
			       path, f->access_key ? "aws_secret_access_key" : "aws_access_key_id",
			       profile);
	return ERR_OK;
}

static bool given(const char *text)
{
	return text && *text;
}

enum errc s3_credentials(const struct storage_config *c, char **out_access_key,
			 char **out_secret_key, char **out_token, struct err *e)
{
	const char *home = getenv("HOME");
	struct found f = {0};
	enum errc code = ERR_OK;
	char *path = NULL;

	if (given(c->access_key) != given(c->secret_key))
		return err_set(e, ERR_INVALID,
			       "S3 credentials: an access key without its secret, "
			       "or a secret without its key");
	if (given(c->access_key)) {
		f.access_key = mem_text(c->access_key);
		f.secret_key = mem_text(c->secret_key);
		f.token = given(c->session_token) ? mem_text(c->session_token) : NULL;
	} else {
		path = given(c->credentials_file)
			       ? mem_text(c->credentials_file)
			       : mem_printf("%s/.aws/credentials", home ? home : "");
		code = from_file(path, given(c->profile) ? c->profile : "default", &f, e);
		free(path);
	}
	if (code) {
		free(f.access_key);
		free(f.secret_key);
		free(f.token);
		return code;
	}
	*out_access_key = f.access_key;
	*out_secret_key = f.secret_key;
	*out_token = f.token;
	return ERR_OK;
}
