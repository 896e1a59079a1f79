#include "base/killpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

static void read_point(struct killpoint *k, const char *value)
{
	const char *colon = strrchr(value, ':');
	size_t len = colon ? (size_t)(colon - value) : strlen(value);
	uint64_t passes = 1;
	if (len == 0 || len >= sizeof(k->name))
		return;
	if (colon &&
	    (text_u64(colon + 1, &passes, NULL) != ERR_OK || passes < 1 || passes > UINT32_MAX))
		return;
	memcpy(k->name, value, len);
	k->name[len] = '\0';
	k->passes = (uint32_t)passes;
}

void killpoint_init(struct killpoint *k)
{
	*k = (struct killpoint){0};
	const char *point = getenv("WEIR_KILL_POINT");
	const char *dir = getenv("WEIR_KILL_DIR");
	if (point)
		read_point(k, point);
	if (dir && strlen(dir) < sizeof(k->dir))
		memcpy(k->dir, dir, strlen(dir) + 1);
	k->armed = k->name[0] || k->dir[0];
}

static _Noreturn void die(void)
{
	for (;;) {
		kill(getpid(), SIGKILL);
		pause();
	}
}

/* Kill the process that the taken file names; itself if it is empty. */
static void take(const char *path)
{
	char text[32] = "";
	int64_t pid = 0;
	FILE *f = fopen(path, "re");
	if (f) {
		size_t n = fread(text, 1, sizeof(text) - 1, f);
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		fclose(f);
	}
	if (text[0] == '\0')
		die();
	if (text_i64(text, &pid, NULL) == ERR_OK && pid > 1)
		kill((pid_t)pid, SIGKILL);
}

void killpoint_pass_armed(struct killpoint *k, const char *name)
{
	if (k->name[0] && strcmp(k->name, name) == 0 && --k->passes == 0)
		die();
	if (k->dir[0]) {
		char from[sizeof(k->dir) + 80], to[sizeof(k->dir) + 96];
		snprintf(from, sizeof(from), "%s/%.64s", k->dir, name);
		snprintf(to, sizeof(to), "%s/%.64s.%ld", k->dir, name, (long)getpid());
		if (rename(from, to) == 0)
			take(to);
	}
}
