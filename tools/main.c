/* SPDX-License-Identifier: Apache-2.0 */
/* The coffer command: finds the subcommand and runs it. */
#include <stdio.h>
#include <string.h>

#include "commands.h"

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
      return end (help_main (NULL));
    fprintf (stderr, "coffer: which command? Try: coffer help\n");
    return EXIT_USAGE_WRONG;
  }
  char *name = argv[at];
  for (int i = at; i > 0; i--)
    argv[i] = argv[i - 1];
  argv[1] = name; /* program, command, the options before it, the rest */
  if (strcmp (name, "help") == 0)
    return end (help_main (argc > 2 ? argv[2] : NULL));
  cli.command = command_find (name);
  if (!cli.command) {
    fprintf (stderr, "coffer: there is no command \"%s\". Try: coffer help\n", name);
    return EXIT_USAGE_WRONG;
  }
  int rc = cli_parse (&cli, argc - 1, argv + 1);
  return end (rc >= 0 ? rc : cli.command->run (&cli));
}
