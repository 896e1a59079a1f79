/*
 * cli - what every command of `weir` is given, and how it answers.
 *
 * A command is a row in a table (cli/main.c gathers them): name, help, its own
 * options and a function. The function returns the exit status of the program;
 * what it prints on stdout is the answer (a table, or with --json one JSON
 * value), and errors are one line on stderr, by cli_fail().
 *
 * Threads: one. The world is run only while a command waits (cli/client.h).
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/options.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,      /* refused, or it did not work out */
	CLI_USAGE = 2,       /* the command line is wrong; nothing was tried */
	CLI_UNREACHABLE = 3, /* no JobManager answered, or none leads */
	CLI_NOT_FOUND = 4,   /* no such job, TaskManager or process */
	CLI_JOB_FAILED = 5   /* run --wait: the job ended, but not FINISHED */
};

struct client;
struct world;

struct cli {
	const struct options *options;
	struct world *world;
	struct client *client;
	const char *const *args; /* after the command's name */
	unsigned n_args;
	bool json;
	const char *program; /* argv[0] */
};

struct command {
	const char *name;
	const char *args;    /* "FILE": for the usage line */
	const char *summary; /* one line, for the list */
	const char *help;    /* paragraphs and examples */
	unsigned args_min, args_max;
	const struct option *options; /* its own; may be NULL */
	int (*run)(struct cli *c);
};

/* Tables end with a row without a name. */
extern const struct command run_commands[];     /* run, check */
extern const struct command job_commands[];     /* list, info, cancel, checkpoints */
extern const struct command cluster_commands[]; /* taskmanagers, leader, release */
extern const struct command local_commands[];   /* local */
extern const struct command drill_commands[];   /* drill */
extern const struct command storage_commands[]; /* storage */

/* Say what went wrong on stderr; returns the exit status that fits the error's code. */
int cli_fail(const struct err *e);
/* Print one JSON value, indented, and release it. */
void cli_print_json(json_t *value);

#endif
