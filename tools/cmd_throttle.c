/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "mounted.h"
#include "out.h"

static int
read_one (const struct mounted *m, const char *region, char *out, size_t cap)
{
  AUTO_BUF text;
  char name[300];
  buf_init (&text, 1u << 20);
  snprintf (name, sizeof name, "throttle/%s", region);
  int rc = mounted_read (m, name, &text);
  snprintf (out, cap, "%.*s", (int) text.len, text.data ? (const char *) text.data : "");
  out[strcspn (out, "\n")] = 0;
  return rc;
}

static void
add_json (json_t *to, const char *region, const char *text)
{
  char up[512] = "", down[512] = "";
  if (sscanf (text, "up=%511s down=%511s", up, down) == 2)
    json_object_set_new (to, region, json_pack ("{s:s, s:s}", "up", up, "down", down));
}

static int
show (struct cli *cli, const struct mounted *m, const char *only)
{
  char path[PATH_MAX + 32], text[1024];
  snprintf (path, sizeof path, "%s/.coffer/throttle", m->top);
  DIR *d = opendir (path);
  if (!d)
    return cli_refuse (cli, EXIT_FAILED, "cannot read %s", path);
  json_t *all = cli->is_json ? json_object () : NULL;
  bool is_found = false;
  for (struct dirent *e; (e = readdir (d));) {
    if (e->d_name[0] == '.' || (only && strcmp (only, e->d_name) != 0)
        || read_one (m, e->d_name, text, sizeof text) < 0)
      continue;
    is_found = true;
    if (all)
      add_json (all, e->d_name, text);
    else
      printf ("%-16s %s\n", e->d_name, text);
  }
  closedir (d);
  if (all && is_found)
    out_json (cli, all);
  else
    json_decref (all);
  if (!is_found)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "%s has no region \"%s\"; ls %s shows them", m->top,
                       only ? only : "", path);
  return EXIT_DONE;
}

static int
run (struct cli *cli)
{
  struct mounted m;
  int status = mounted_find (cli, cli->args[0], &m);
  if (status)
    return status;
  const char *region = m.rel[0] ? m.rel : NULL;
  int at = 1;
  char first[64];
  if (region && sscanf (region, "%63[^/]", first) == 1)
    region = first;
  else if (cli->arg_count > at)
    region = cli->args[at++];
  if (cli->arg_count <= at)
    return show (cli, &m, region);
  char line[4096], reply[4096];
  int n = snprintf (line, sizeof line, "throttle %s", region);
  for (int i = at; i < cli->arg_count && n < (int) sizeof line; i++)
    n += snprintf (line + n, sizeof line - (size_t) n, " %s", cli->args[i]);
  int rc = mounted_command (&m, line, reply, sizeof reply);
  if (rc == ERR_NOENT)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "%s has no region \"%s\"; ls %s shows them", m.top,
                       region, m.top);
  if (rc < 0)
    return cli_refuse (cli, cli_exit_of (rc), "cannot set the throttle of %s: %s", region, reply);
  return cli->is_quiet ? EXIT_DONE : show (cli, &m, region);
}

const struct command cmd_throttle = {
  .name = "throttle",
  .args = "MOUNT[/REGION] [REGION] [RATE | up=RATE down=RATE]",
  .brief = "Show or change the rates of a mount while it runs.",
  .detail = "A rate is 20MB, 100Mbit, off, or by hours: 08:00-18:00=20MB,*=100MB. Alone it is for "
            "both directions. The region \"host\" is what all pay into. What is set here lasts "
            "until the next mount; coffer.conf(5) has the lasting settings. The same is done by "
            "echo RATE > MOUNT/.coffer/throttle/REGION.",
  .min_args = 1,
  .max_args = 5,
  .run = run,
};
