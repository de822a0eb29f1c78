/* SPDX-License-Identifier: Apache-2.0 */
/* cli - what all subcommands share: their table, options, help, messages and exit status.
 *
 * A subcommand is one row (`struct command`) in a file of its own, tools/cmd_NAME.c; main.c lists
 * them.  From the row come its option parser, `coffer NAME --help`, what bash completion offers
 * (`coffer help words`) and the check of the man page.
 *
 * Messages go to stderr, results to stdout.  Every message says what was tried, on what, what
 * happened and what to do next.  cli_exit_of is the only place that makes an exit status of an err.
 * Threads: one. */
#ifndef COFFER_TOOLS_CLI_H
#define COFFER_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum exit_status {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE_WRONG = 2,
  EXIT_PARTLY = 3,
  EXIT_DAMAGE = 4,
  EXIT_TRANSIENT = 75,
  EXIT_DENIED = 77,
};

struct option_row {
  const char *name;  /* without "--" */
  char letter;       /* or 0 */
  const char *value; /* what its value is called, or NULL: takes none */
  const char *help;
};

enum command_flag {
  COMMAND_STORE = 1, /* works on a store too: -c, -o, --key-file, --passphrase-file */
  COMMAND_NO_LOG = 2, /* leaves the log alone until it has decided where it goes */
};

struct cli;
struct command {
  const char *name;
  const char *args;   /* "[FILTER...] [URL|PATH]" */
  const char *brief;  /* one line */
  const char *detail; /* paragraphs, or NULL */
  const struct option_row *options; /* ends with a NULL name; or NULL */
  unsigned flags;
  int min_args, max_args; /* max -1: any */
  int (*run) (struct cli *cli); /* the exit status */
};

#define CLI_OPTIONS_MAX 32
struct cli {
  const struct command *command;
  bool is_json;       /* --json */
  bool is_quiet;      /* -q */
  int verbosity;      /* -v, -vv */
  const char *debug;  /* -D */
  bool is_terminal;   /* stdout is one */
  char **args;        /* what is no option */
  int arg_count;
  struct {
    const char *name, *value; /* "" for one without a value */
  } given[CLI_OPTIONS_MAX];
  int given_count;
};

/* Parses what follows the command's name.  -1: go on; else the exit status (help was printed, or
 * the usage is wrong and a message says how it is right). */
int cli_parse (struct cli *cli, int argc, char **argv);
/* The last value given for the option NAME, or NULL. */
const char *cli_option (const struct cli *cli, const char *name);
bool cli_has (const struct cli *cli, const char *name);

void cli_help (const struct command *cmd);
/* Rows of the options that a command takes besides its own; END has a NULL name. */
extern const struct option_row cli_global_options[];
extern const struct option_row cli_store_options[];

int cli_exit_of (int err);
/* "coffer: cannot FMT...: what ERR means\n  NEXT" (NEXT may be NULL) and the exit status of ERR. */
int cli_fail (const struct cli *cli, int err, const char *next, const char *fmt, ...)
  __attribute__ ((format (printf, 4, 5)));
/* The same with a sentence of its own for what happened, and the exit status given. */
int cli_refuse (const struct cli *cli, enum exit_status status, const char *fmt, ...)
  __attribute__ ((format (printf, 3, 4)));
/* A sentence for the person, not when quiet; on stderr, so that results stay alone on stdout. */
void cli_say (const struct cli *cli, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));

#endif
