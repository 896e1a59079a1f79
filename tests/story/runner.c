/*
 * runner - plays the stories.
 *
 *   story_runner [--rewrite] FILE...
 *
 * A story is a text file: blocks of commands, a line of four dashes, what is
 * expected to be said, and an empty line. Lines that begin with # are for the
 * reader. --rewrite writes what was really said into the files: then read the
 * difference, and keep only what you understand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "stage.h"

struct story {
	struct stage *stage;
	struct buf written;  /* the file as it should be */
	struct buf expected; /* of the present block */
	bool rewrite;
	bool in_expected;
	bool pending; /* commands were given and not yet compared */
	unsigned failures, line;
	const char *path;
};

static void compare(struct story *t)
{
	struct buf *page = stage_page(t->stage);
	const char *said = page->len ? page->data : "(nothing)\n";
	const char *expected = t->expected.len ? t->expected.data : "";
	if (!t->rewrite && strcmp(said, expected) != 0) {
		t->failures++;
		fprintf(stderr, "%s:%u: expected\n%ssaid\n%s", t->path, t->line, expected, said);
	}
	buf_text(&t->written, "----\n");
	buf_text(&t->written, said);
	buf_clear(page);
	buf_clear(&t->expected);
	t->pending = t->in_expected = false;
}

static void take_line(struct story *t, const char *line)
{
	t->line++;
	if (t->in_expected && line[0] == '\0')
		compare(t);
	if (strcmp(line, "----") == 0) {
		t->in_expected = true;
		return;
	}
	if (t->in_expected) {
		buf_printf(&t->expected, "%s\n", line);
		return;
	}
	buf_printf(&t->written, "%s\n", line);
	if (line[0] == '#' || line[0] == '\0')
		return;
	t->pending = true;
	if (!stage_do(t->stage, line)) {
		t->failures++;
		fprintf(stderr, "%s:%u: not understood: %s\n", t->path, t->line, line);
	}
}

static void play(struct story *t, FILE *f)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	while ((len = getline(&line, &size, f)) >= 0) {
		if (len && line[len - 1] == '\n')
			line[len - 1] = '\0';
		take_line(t, line);
	}
	free(line);
	if (t->in_expected || t->pending)
		compare(t);
	if (stage_violations(t->stage)) {
		t->failures++;
		fprintf(stderr, "%s: %u violations of the protocol\n", t->path,
			stage_violations(t->stage));
	}
}

static bool rewrite_file(const struct story *t)
{
	FILE *f = fopen(t->path, "w");
	if (!f)
		return false;
	fwrite(t->written.data, 1, t->written.len, f);
	return fclose(f) == 0;
}

static bool play_file(const char *path, bool rewrite)
{
	FILE *f = fopen(path, "r");
	if (!f) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return false;
	}
	struct story t = {.stage = stage_create(), .path = path, .rewrite = rewrite};
	play(&t, f);
	fclose(f);
	bool ok = t.failures == 0 && t.line > 0;
	if (rewrite)
		ok = rewrite_file(&t) && ok;
	printf("%s %s\n", ok ? "ok  " : "FAIL", path);
	buf_fini(&t.written);
	buf_fini(&t.expected);
	stage_destroy(t.stage);
	return ok;
}

int main(int argc, char **argv)
{
	bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
	int failed = 0;
	for (int i = rewrite ? 2 : 1; i < argc; i++)
		failed += !play_file(argv[i], rewrite);
	if (argc < (rewrite ? 3 : 2)) {
		fprintf(stderr, "usage: story_runner [--rewrite] FILE...\n");
		return 2;
	}
	return failed ? 1 : 0;
}
