/* SPDX-License-Identifier: Apache-2.0 */
#include "snaplist.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "out.h"
#include "snaplist_priv.h"

/* ---- what is meant ---- */

static bool
holds_store (const char *dir)
{
  char path[PATH_MAX + 16];
  snprintf (path, sizeof path, "%s/coffer.json", dir);
  return access (path, F_OK) == 0;
}

int
place_find (const struct cli *cli, const char *arg, struct place *out)
{
  memset (out, 0, sizeof *out);
  char full[PATH_MAX + 8] = "file://";
  if (arg && wire_is_url (arg)) {
    out->url_arg = arg;
    return wire_config (cli, arg, NULL, &out->config);
  }
  if (!arg && (cli_has (cli, "config") || cli_has (cli, "option")))
    return wire_config (cli, NULL, NULL, &out->config);
  if (!arg) {
    int status = mounted_find_default (cli, NULL, &out->mount);
    out->is_mount = status == 0;
    return status;
  }
  int rc = mounted_look (arg, &out->mount);
  if (rc == 0) {
    out->is_mount = true;
    return 0;
  }
  if (rc == ERR_NOENT && holds_store (arg) && realpath (arg, full + 7)) {
    out->url_arg = arg;
    return wire_config (cli, full, NULL, &out->config);
  }
  return mounted_find (cli, arg, &out->mount); /* tells why not */
}

void
place_release (struct place *p)
{
  config_free (p->config);
  p->config = NULL;
}

/* ---- filters ---- */

int
time_parse (const char *text, int64_t *out)
{
  struct tm tm = { 0 };
  int64_t ns;
  const char *end = strptime (text, "%Y-%m-%d", &tm);
  if (end && !*end) {
    *out = timegm (&tm);
    return 0;
  }
  struct snapshot_name name;
  if (snapshot_name_parse (text, &name) == 0) {
    *out = name.instant;
    return 0;
  }
  if (strspn (text, "0123456789") == strlen (text) || config_parse_duration (text, &ns) < 0)
    return ERR_INVALID;
  *out = (clock_wall () - ns) / NS_PER_S;
  return 0;
}

int
snap_filter_read (const struct cli *cli, struct snap_filter *out)
{
  memset (out, 0, sizeof *out);
  out->region = cli_option (cli, "region");
  out->vault = cli_option (cli, "db");
  const char *names[] = { "since", "until" };
  int64_t *times[] = { &out->since, &out->until };
  for (int i = 0; i < 2; i++) {
    const char *text = cli_option (cli, names[i]);
    if (text && time_parse (text, times[i]) < 0)
      return cli_refuse (cli, EXIT_USAGE_WRONG, "--%s=%s is no time: give 2026-11-21, "
                                                "2026-11-21T03:00:00Z, or how long ago (7d)",
                         names[i], text);
  }
  const char *last = cli_option (cli, "last");
  if (last) {
    char *end;
    out->last = strtoul (last, &end, 10);
    if (*end || out->last == 0)
      return cli_refuse (cli, EXIT_USAGE_WRONG, "--last=%s: give a number from 1", last);
  }
  return 0;
}

bool
filter_name (const struct snap_filter *f, const struct snapshot_name *name)
{
  if (f->since && name->instant < f->since)
    return false;
  if (f->until && name->instant > f->until)
    return false;
  return !f->name || fnmatch (f->name, name->ts, 0) == 0;
}

bool
filter_matches (const char *pattern, const char *name)
{
  return !pattern || fnmatch (pattern, name, 0) == 0;
}

int
snap_list (const struct cli *cli, const struct place *p, const struct snap_filter *f,
           snap_row_fn fn, void *ctx)
{
  return p->is_mount ? list_mount (cli, &p->mount, f, fn, ctx)
                     : list_stores (cli, p->config, f, fn, ctx);
}
