/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "mounted.h"

/* Cuts "/PART" off PATH: its 16 hex digits go to PART. */
static void
split_part (char *path, char part[17])
{
  char *slash = strrchr (path, '/');
  part[0] = 0;
  if (!slash || strlen (slash + 1) != 16 || strspn (slash + 1, "0123456789abcdef") != 16)
    return;
  memcpy (part, slash + 1, 17);
  *slash = 0;
}

static const char *
advice (int rc)
{
  switch (rc) {
  case ERR_LIMIT: return "Give one of them: PATH/PART.";
  case ERR_BUSY: return "Its host may still write it: two that do would lose data. Finish or stop "
                        "it there; if that host is surely lost, give --force.";
  case ERR_NOENT: return "coffer status shows the parts of other hosts that the store knows.";
  case ERR_EXISTS: return "This host has a part of its own there: seal or remove it first.";
  default: return NULL;
  }
}

static int
run (struct cli *cli)
{
  struct mounted m;
  char path[PATH_MAX], part[17], line[PATH_MAX + 64], reply[4096];
  snprintf (path, sizeof path, "%s", cli->args[0]);
  for (size_t n = strlen (path); n > 1 && path[n - 1] == '/'; n--)
    path[n - 1] = 0;
  split_part (path, part);
  int status = mounted_find (cli, path, &m);
  if (status)
    return status;
  int n = snprintf (line, sizeof line, "adopt %s%s%s%s", m.rel, *part ? "/" : "", part,
                    cli_has (cli, "force") ? " force" : "");
  if (n < 0 || (size_t) n >= sizeof line)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "the path is too long");
  int rc = mounted_command (&m, line, reply, sizeof reply);
  if (rc < 0) {
    const char *next = advice (rc);
    return cli_refuse (cli, (enum exit_status) cli_exit_of (rc), "%s%s%s", reply, next ? ". " : "",
                       next ? next : "");
  }
  if (!cli->is_quiet)
    printf ("adopted %s/%s: it is open here, as of its last fsync or checkpoint\n", m.top, m.rel);
  return EXIT_DONE;
}

static const struct option_row options[] = {
  { "force", 'f', NULL, "although the part made progress in the last ten minutes" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_adopt = {
  .name = "adopt",
  .args = "PATH[/PART]",
  .brief = "Take over an open snapshot, or a part of one, whose host or state is lost.",
  .detail = "PATH is MOUNT/REGION/DATABASE/TIMESTAMP[.partial] in a mount of the same store. What "
            "had been made durable comes back, can be written on and sealed here. With several "
            "parts in the store PART says which; coffer status lists those of other hosts. The "
            "host that wrote it must not write on.",
  .options = options,
  .min_args = 1,
  .max_args = 1,
  .run = run,
};
