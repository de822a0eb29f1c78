/* SPDX-License-Identifier: Apache-2.0 */
/* The coffer command: finds the subcommand and runs it. */
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "commands.h"

static const struct command *const commands[] = {
  &cmd_init,   &cmd_mount, &cmd_umount, &cmd_seal,     &cmd_snapshots, &cmd_find, &cmd_show,
  &cmd_status, &cmd_check, &cmd_cache,  &cmd_throttle, &cmd_key,       &cmd_version,
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *
find (const char *name)
{
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    if (strcmp (commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

static void
overview (void)
{
  printf ("usage: coffer COMMAND [OPTION...] [ARGUMENT...]\n\n"
          "Backups of databases in a file system: mount it, copy in, seal, browse, copy out.\n\n");
  for (size_t i = 0; i < COMMAND_COUNT; i++)
    printf ("  %-10s %s\n", commands[i]->name, commands[i]->brief);
  printf ("\ncoffer COMMAND --help tells more; so do coffer(1), coffer.conf(5) and coffer(7).\n");
}

static void
print_options (const char *command, const struct option_row *o)
{
  for (; o && o->name; o++) {
    printf ("%s --%s%s\n", command, o->name, o->value ? "=" : "");
    if (o->letter)
      printf ("%s -%c\n", command, o->letter);
  }
}

/* One line per command and option: bash completion and the tests of the pages read it. */
static int
print_words (void)
{
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    const struct command *c = commands[i];
    printf ("%s\n", c->name);
    print_options (c->name, c->options);
    if (c->flags & COMMAND_STORE)
      print_options (c->name, cli_store_options);
  }
  for (int id = 0; id < CONFIG_COUNT; id++)
    printf ("setting %s\n", config_row ((enum config_id) id)->name);
  return EXIT_DONE;
}

/* The parts of coffer.conf(5) that come from the table. */
static int
print_settings (void)
{
  static const enum config_scope scopes[] = { CONFIG_REGIONAL, CONFIG_GLOBAL, CONFIG_OPTION };
  for (size_t i = 0; i < 3; i++) {
    AUTO_BUF text;
    buf_init (&text, 1 << 20);
    config_man (scopes[i], &text);
    if (buf_error (&text))
      return EXIT_FAILED;
    printf ("%.*s\n", (int) text.len, (const char *) text.data);
  }
  return EXIT_DONE;
}

static int
help (const char *topic)
{
  if (topic && strcmp (topic, "words") == 0)
    return print_words ();
  if (topic && strcmp (topic, "settings") == 0)
    return print_settings ();
  const struct command *c = topic ? find (topic) : NULL;
  if (c)
    cli_help (c);
  else
    overview ();
  return EXIT_DONE;
}

/* What was printed must have arrived: a full disk under a redirected listing is an error. */
static int
end (int status)
{
  if ((fflush (stdout) != 0 || ferror (stdout)) && status == EXIT_DONE) {
    fprintf (stderr, "coffer: cannot write the output: is the disk full, or the reader gone?\n");
    return EXIT_FAILED;
  }
  return status;
}

int
main (int argc, char **argv)
{
  const char *slash = strrchr (argv[0], '/');
  if (strcmp (slash ? slash + 1 : argv[0], "mount.coffer") == 0)
    return end (mount_helper_main (argc, argv));
  struct cli cli = { .is_terminal = isatty (1) };
  /* Options may stand before the command as well: they are handed on. */
  int at = 1;
  while (at < argc && argv[at][0] == '-')
    at += strcmp (argv[at], "-D") == 0 ? 2 : 1;
  if (at >= argc) {
    if (argc > 1 && strcmp (argv[1], "--version") == 0) {
      printf ("coffer %s\n", PACKAGE_VERSION);
      return end (EXIT_DONE);
    }
    bool is_asked = argc > 1 && (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0);
    if (is_asked)
      return end (help (NULL));
    fprintf (stderr, "coffer: which command? Try: coffer help\n");
    return EXIT_USAGE_WRONG;
  }
  char *name = argv[at];
  for (int i = at; i > 0; i--)
    argv[i] = argv[i - 1];
  argv[1] = name; /* program, command, the options before it, the rest */
  if (strcmp (name, "help") == 0)
    return end (help (argc > 2 ? argv[2] : NULL));
  cli.command = find (name);
  if (!cli.command) {
    fprintf (stderr, "coffer: there is no command \"%s\". Try: coffer help\n", name);
    return EXIT_USAGE_WRONG;
  }
  int rc = cli_parse (&cli, argc - 1, argv + 1);
  return end (rc >= 0 ? rc : cli.command->run (&cli));
}
