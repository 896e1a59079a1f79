/* weir - the command line: finds the command, loads its options, runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "world/ev.h"

static const struct option common[] = {
	{.key = "server",
	 .flag = "--server",
	 .type = OPTION_LIST,
	 .fallback = "127.0.0.1:8081",
	 .value = "HOST:PORT,...",
	 .help = "JobManagers; any of them will do"},
	{.key = "timeout",
	 .flag = "--timeout",
	 .type = OPTION_DURATION,
	 .fallback = "30s",
	 .max = 86400000,
	 .help = "how long to wait while nobody leads"},
	{.key = "json", .flag = "--json", .type = OPTION_BOOL, .help = "print JSON"},
	{0}};

static const struct command *const groups[] = {run_commands,   job_commands,   cluster_commands,
					       local_commands, drill_commands, storage_commands};
enum { N_GROUPS = sizeof(groups) / sizeof(groups[0]) };

static const char exit_statuses[] =
	"exit status: 0 ok; 1 refused or failed; 2 wrong command line; 3 no JobManager answers or\n"
	"leads; 4 no such job or process; 5 the job that was waited for did not finish\n";

/* ---- help ---- */

static void print_overview(void)
{
	puts("weir - run streaming jobs\n\nusage: weir COMMAND [ARGUMENTS] [FLAGS]\n");
	for (unsigned g = 0; g < N_GROUPS; g++)
		for (const struct command *k = groups[g]; k->name; k++)
			printf("  %-14s%s\n", k->name, k->summary);
	puts("  version       print the version\n"
	     "  help COMMAND  explain a command, with examples\n\n"
	     "A first job, on this machine:\n"
	     "  weir local --dir /tmp/w --port 8081 --detach\n"
	     "  weir run examples/wordcount.json --wait\n"
	     "  weir local stop --dir /tmp/w\n");
	fputs(exit_statuses, stdout);
}

static void print_help(const struct command *k, const struct options *o)
{
	struct buf flags = {0};
	options_help(o, &flags);
	printf("weir %s%s%s - %s\n\n%s\nflags:\n%s\n%s", k->name, k->args[0] ? " " : "", k->args,
	       k->summary, k->help, flags.data, exit_statuses);
	buf_fini(&flags);
}

/* ---- finding the command ---- */

static const struct command *find(const char *name)
{
	for (unsigned g = 0; g < N_GROUPS; g++)
		for (const struct command *k = groups[g]; k->name; k++)
			if (strcmp(k->name, name) == 0)
				return k;
	return NULL;
}

/* The first argument that is neither a flag nor the value of a common one. */
static const char *first_word(int argc, const char *const *argv)
{
	static const char *const valued[] = {"--server", "--timeout", "--config", "--set"};
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return argv[i];
		for (unsigned v = 0; v < 4; v++)
			if (strcmp(argv[i], valued[v]) == 0) {
				i++;
				break;
			}
	}
	return NULL;
}

static int no_such_command(const char *name)
{
	const char *best = NULL;
	unsigned score = 3;
	for (unsigned g = 0; g < N_GROUPS; g++)
		for (const struct command *k = groups[g]; k->name; k++)
			if (text_distance(name, k->name) < score) {
				score = text_distance(name, k->name);
				best = k->name;
			}
	fprintf(stderr, "weir: unknown command %.40s%s%s%s; see weir --help\n", name,
		best ? " (did you mean " : "", best ? best : "", best ? "?)" : "");
	return CLI_USAGE;
}

/* ---- running it ---- */

static int usage(const struct command *k, const char *why)
{
	fprintf(stderr, "weir: %s\nusage: weir %s %s (see weir help %s)\n", why, k->name, k->args,
		k->name);
	return CLI_USAGE;
}

static int run_with_world(const struct command *k, struct cli *c)
{
	struct err e = {0};
	unsigned n;
	const char *const *servers = options_list(c->options, "server", &n);
	if (n == 0)
		return usage(k, "--server names no JobManager");
	c->world = world_ev_create(&e);
	if (c->world == NULL)
		return cli_fail(&e);
	c->client = client_create(c->world, servers, n, options_ms(c->options, "timeout"));
	c->json = options_bool(c->options, "json");
	int status = k->run(c);
	client_destroy(c->client);
	world_ev_destroy(c->world);
	return fflush(stdout) == 0 ? status : CLI_FAILED;
}

static int run_command(const struct command *k, struct options *o, const char *program)
{
	unsigned n;
	const char *const *args = options_args(o, &n);
	if (options_help_wanted(o)) {
		print_help(k, o);
		return CLI_OK;
	}
	if (n - 1 < k->args_min)
		return usage(k, "an argument is missing");
	if (n - 1 > k->args_max)
		return usage(k, "too many arguments");
	struct cli c = {.options = o, .args = args + 1, .n_args = n - 1, .program = program};
	return run_with_world(k, &c);
}

static int load_and_run(const struct command *k, int argc, const char *const *argv,
			const char *const *env)
{
	struct err e = {0};
	struct options *o = options_create();
	options_add(o, common);
	if (k->options)
		options_add(o, k->options);
	int status;
	if (options_load(o, argc, argv, env, &e)) {
		fprintf(stderr, "weir: %s (see weir help %s)\n", e.text, k->name);
		status = CLI_USAGE;
	} else {
		status = run_command(k, o, argv[0]);
	}
	options_destroy(o);
	return status;
}

static int help(int argc, const char *const *argv, const char *const *env)
{
	const char *name = argc > 2 ? argv[2] : NULL;
	const struct command *k = name ? find(name) : NULL;
	if (name && k == NULL)
		return no_such_command(name);
	if (k == NULL) {
		print_overview();
		return CLI_OK;
	}
	const char *const ask[] = {argv[0], name, "--help", NULL};
	return load_and_run(k, 3, ask, env);
}

int main(int argc, char **argv, char **env)
{
	const char *const *args = (const char *const *)argv;
	const char *const *environment = (const char *const *)env;
	struct err e = {0};
	if (log_open("weir", NULL, LOG_LEVEL_WARN, &e))
		return cli_fail(&e);
	const char *name = first_word(argc, args);
	if (name == NULL) {
		bool version = argc > 1 && strcmp(argv[1], "--version") == 0;
		bool asked =
			argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
		if (version)
			puts("weir " WEIR_VERSION);
		else
			print_overview();
		return version || asked ? CLI_OK : CLI_USAGE;
	}
	if (strcmp(name, "version") == 0) {
		puts("weir " WEIR_VERSION);
		return CLI_OK;
	}
	if (strcmp(name, "help") == 0)
		return help(argc, args, environment);
	const struct command *k = find(name);
	return k ? load_and_run(k, argc, args, environment) : no_such_command(name);
}
