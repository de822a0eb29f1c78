/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "commands.h"
#include "mounted.h"
#include "out.h"

static int
print_file (const struct cli *cli, const struct mounted *m, const char *name)
{
  AUTO_BUF text;
  buf_init (&text, 16u << 20);
  int rc = mounted_read (m, name, &text);
  if (rc < 0)
    return cli_fail (cli, rc, NULL, "read %s/.coffer/%s", m->top, name);
  fwrite (text.data, 1, text.len, stdout);
  fflush (stdout);
  return EXIT_DONE;
}

/* On a terminal the last picture is overwritten; on a pipe they follow one another. */
static int
watch (const struct cli *cli, const struct mounted *m, int64_t every_ns)
{
  for (;;) {
    if (cli->is_json) {
      json_t *status = mounted_status (m);
      if (!status)
        return cli_refuse (cli, EXIT_FAILED, "the mount %s has gone", m->top);
      json_dumpf (status, stdout, JSON_COMPACT);
      putchar ('\n');
      json_decref (status);
    } else {
      if (cli->is_terminal)
        printf ("\033[H\033[J");
      int status = print_file (cli, m, "status");
      if (status)
        return status;
    }
    if (fflush (stdout) != 0)
      return EXIT_FAILED;
    clock_sleep (every_ns);
  }
}

static int
run (struct cli *cli)
{
  struct mounted m;
  int status = mounted_find_default (cli, cli->arg_count ? cli->args[0] : NULL, &m);
  if (status)
    return status;
  if (cli_has (cli, "health")) {
    AUTO_BUF text;
    buf_init (&text, 16u << 20);
    int rc = mounted_read (&m, "health", &text);
    if (rc < 0)
      return cli_fail (cli, rc, NULL, "read %s/.coffer/health", m.top);
    fwrite (text.data, 1, text.len, stdout);
    if (mounted_shows_less (&m))
      return EXIT_DAMAGE;
    return text.len >= 3 && memcmp (text.data, "ok\n", 3) == 0 ? EXIT_DONE : EXIT_PARTLY;
  }
  if (cli_has (cli, "watch")) {
    const char *every = cli_option (cli, "interval");
    double s = every ? strtod (every, NULL) : 2;
    if (!(s >= 0.1 && s <= 86400))
      return cli_refuse (cli, EXIT_USAGE_WRONG, "--interval=%s: give seconds from 0.1 to 86400",
                         every);
    return watch (cli, &m, (int64_t) (s * 1e9));
  }
  return print_file (cli, &m, cli->is_json ? "status.json" : "status");
}

static const struct option_row options[] = {
  { "watch", 'w', NULL, "again and again, until interrupted" },
  { "interval", 'n', "SECONDS", "with --watch: how often (2)" },
  { "health", 0, NULL, "ok, or what is wrong (exit status 3; 4: a store shows less than before)" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_status = {
  .name = "status",
  .args = "[PATH]",
  .brief = "Show what a mount does: open snapshots, rates, errors, cache.",
  .detail = "PATH is anything in the mount; the default is the mount of the current directory, or "
            "the only one there is. The same stands in .coffer/status and .coffer/status.json.",
  .options = options,
  .max_args = 1,
  .run = run,
};
