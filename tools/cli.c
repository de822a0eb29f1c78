/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "cli"
#include "base/log.h"

const struct option_row cli_global_options[] = {
  { "json", 0, NULL, "print results as JSON" },
  { "quiet", 'q', NULL, "say nothing but errors" },
  { "verbose", 'v', NULL, "say more (-vv: debug)" },
  { "debug", 'D', "LEVELS", "log levels by module, such as debug or pack=debug,http=info" },
  { "help", 'h', NULL, "show this help" },
  { NULL, 0, NULL, NULL },
};
const struct option_row cli_store_options[] = {
  { "config", 'c', "FILE", "the configuration file that names the store (coffer.conf(5))" },
  { "option", 'o', "LIST", "settings, separated by commas (coffer.conf(5))" },
  { "key-file", 0, "FILE", "the key file that opens the store" },
  { "passphrase-file", 0, "FILE", "a file with the passphrase; - is standard input" },
  { NULL, 0, NULL, NULL },
};

/* The sets of options of a command, in the order of the help. */
static int
option_sets (const struct command *cmd, const struct option_row *sets[3])
{
  int n = 0;
  if (cmd->options)
    sets[n++] = cmd->options;
  if (cmd->flags & COMMAND_STORE)
    sets[n++] = cli_store_options;
  sets[n++] = cli_global_options;
  return n;
}

static void
print_wrapped (const char *text, size_t indent, size_t column)
{
  while (*text) {
    size_t n = strcspn (text, "\n"), room = 79 - indent;
    if (n > room) {
      n = room;
      while (n && text[n] != ' ')
        n--;
      if (!n)
        n = strcspn (text, " ");
    }
    printf ("%*s%.*s\n", (int) (indent - column), "", (int) n, text);
    column = 0;
    text += n;
    if (*text == '\n') /* a paragraph ends */
      putchar ('\n');
    text += *text == ' ' || *text == '\n';
  }
}

void
cli_help (const struct command *cmd)
{
  printf ("usage: coffer %s [OPTION...]%s%s\n\n", cmd->name, *cmd->args ? " " : "", cmd->args);
  print_wrapped (cmd->brief, 0, 0);
  if (cmd->detail) {
    putchar ('\n');
    print_wrapped (cmd->detail, 0, 0);
  }
  printf ("\noptions:\n");
  const struct option_row *sets[3];
  int n = option_sets (cmd, sets);
  for (int i = 0; i < n; i++)
    for (const struct option_row *o = sets[i]; o->name; o++) {
      char left[80];
      int w = 0;
      if (o->letter)
        w = snprintf (left, sizeof left, "  -%c, --%s", o->letter, o->name);
      else
        w = snprintf (left, sizeof left, "      --%s", o->name);
      if (o->value)
        w += snprintf (left + w, sizeof left - (size_t) w, "=%s", o->value);
      printf ("%s", left);
      if (w > 28) {
        putchar ('\n');
        w = 0;
      }
      print_wrapped (o->help, 30, (size_t) w);
    }
}

const char *
cli_option (const struct cli *cli, const char *name)
{
  for (int i = cli->given_count - 1; i >= 0; i--)
    if (strcmp (cli->given[i].name, name) == 0)
      return cli->given[i].value;
  return NULL;
}

bool
cli_has (const struct cli *cli, const char *name)
{
  return cli_option (cli, name) != NULL;
}

static void
apply_global (struct cli *cli, const char *name, const char *value)
{
  if (strcmp (name, "json") == 0)
    cli->is_json = true;
  else if (strcmp (name, "quiet") == 0)
    cli->is_quiet = true;
  else if (strcmp (name, "verbose") == 0)
    cli->verbosity++;
  else if (strcmp (name, "debug") == 0)
    cli->debug = value;
}

static int
wrong_usage (const struct cli *cli, const char *what)
{
  return cli_refuse (cli, EXIT_USAGE_WRONG, "%s. Try: coffer %s --help", what, cli->command->name);
}

/* The row at position I of all sets. */
static const struct option_row *
row_at (const struct option_row **sets, int set_count, int i)
{
  for (int s = 0; s < set_count; s++)
    for (const struct option_row *o = sets[s]; o->name; o++)
      if (i-- == 0)
        return o;
  return NULL;
}

#define FIRST_LONG 1000 /* above any letter */

static int
parse_options (struct cli *cli, int argc, char **argv)
{
  const struct option_row *sets[3];
  int set_count = option_sets (cli->command, sets), n = 0;
  struct option longs[2 * CLI_OPTIONS_MAX] = { { 0 } };
  char shorts[4 * CLI_OPTIONS_MAX] = ":";
  size_t w = 1;
  const struct option_row *o;
  for (; (o = row_at (sets, set_count, n)); n++) {
    longs[n] = (struct option){ .name = o->name,
                                .has_arg = o->value ? required_argument : no_argument,
                                .val = FIRST_LONG + n };
    if (o->letter) {
      shorts[w++] = o->letter;
      if (o->value)
        shorts[w++] = ':';
    }
  }
  shorts[w] = 0;
  optind = 0;
  for (int c; (c = getopt_long (argc, argv, shorts, longs, NULL)) != -1;) {
    char what[256];
    if (c == '?' || c == ':') {
      snprintf (what, sizeof what,
                c == ':' ? "the option %s needs a value" : "there is no option %s",
                argv[optind - 1]);
      return wrong_usage (cli, what);
    }
    for (int i = 0; (o = row_at (sets, set_count, i)); i++)
      if (c == FIRST_LONG + i || (o->letter && c == o->letter))
        break;
    if (strcmp (o->name, "help") == 0) {
      cli_help (cli->command);
      return EXIT_DONE;
    }
    if (cli->given_count == CLI_OPTIONS_MAX)
      return wrong_usage (cli, "there are too many options");
    cli->given[cli->given_count].name = o->name;
    cli->given[cli->given_count++].value = o->value ? optarg : "";
    apply_global (cli, o->name, optarg);
  }
  cli->args = argv + optind;
  cli->arg_count = argc - optind;
  return -1;
}

int
cli_parse (struct cli *cli, int argc, char **argv)
{
  int rc = parse_options (cli, argc, argv);
  if (rc >= 0)
    return rc;
  const struct command *cmd = cli->command;
  char what[256];
  if (cli->arg_count < cmd->min_args) {
    snprintf (what, sizeof what, "coffer %s needs %s", cmd->name, cmd->args);
    return wrong_usage (cli, what);
  }
  if (cmd->max_args >= 0 && cli->arg_count > cmd->max_args) {
    snprintf (what, sizeof what, "coffer %s does not know what to do with \"%s\"", cmd->name,
              cli->args[cmd->max_args]);
    return wrong_usage (cli, what);
  }
  enum log_level level = LOG_LVL_WARN;
  if (cli->is_quiet)
    level = LOG_LVL_ERR;
  else if (cli->verbosity)
    level = cli->verbosity > 1 ? LOG_LVL_DEBUG : LOG_LVL_INFO;
  if (!(cmd->flags & COMMAND_NO_LOG)) {
    log_set_plain (true);
    log_set_level (level);
  }
  if (cli->debug && log_set_levels (cli->debug) < 0)
    return wrong_usage (cli, "the levels after -D are error, warning, info and debug, alone or as "
                             "module=level");
  return -1;
}

/* ---- messages ---- */

int
cli_exit_of (int err)
{
  switch (err) {
  case 0: return EXIT_DONE;
  case ERR_AGAIN:
  case ERR_THROTTLED:
  case ERR_WOULDBLOCK: return EXIT_TRANSIENT;
  case ERR_DENIED:
  case ERR_AUTH:
  case ERR_PERM:
  case ERR_ACCES: return EXIT_DENIED;
  case ERR_FORMAT:
  case ERR_MISSING: return EXIT_DAMAGE;
  case ERR_INVALID: return EXIT_USAGE_WRONG;
  default: return EXIT_FAILED;
  }
}

static void
print_error (const struct cli *cli, int status, const char *text, const char *next)
{
  fflush (stdout); /* in the order of what happened, where both go to one place */
  if (cli->is_json) {
    json_t *o = json_pack ("{s:s, s:i, s:s*}", "error", text, "status", status, "next", next);
    if (o) {
      json_dumpf (o, stderr, JSON_COMPACT);
      fputc ('\n', stderr);
      json_decref (o);
      return;
    }
  }
  fprintf (stderr, "coffer: %s\n", text);
  if (next)
    fprintf (stderr, "  %s\n", next);
}

int
cli_fail (const struct cli *cli, int err, const char *next, const char *fmt, ...)
{
  char text[4096];
  int n = snprintf (text, sizeof text, "cannot ");
  va_list ap;
  va_start (ap, fmt);
  n += vsnprintf (text + n, sizeof text - (size_t) n, fmt, ap);
  va_end (ap);
  if (n < (int) sizeof text)
    snprintf (text + n, sizeof text - (size_t) n, ": %s", err_str (err));
  print_error (cli, cli_exit_of (err), text, next);
  return cli_exit_of (err);
}

int
cli_refuse (const struct cli *cli, enum exit_status status, const char *fmt, ...)
{
  char text[4096];
  va_list ap;
  va_start (ap, fmt);
  vsnprintf (text, sizeof text, fmt, ap);
  va_end (ap);
  print_error (cli, status, text, NULL);
  return status;
}

void
cli_say (const struct cli *cli, const char *fmt, ...)
{
  if (cli->is_quiet)
    return;
  fflush (stdout);
  va_list ap;
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
}
