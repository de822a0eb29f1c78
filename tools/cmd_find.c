/* SPDX-License-Identifier: Apache-2.0 */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "out.h"
#include "snaplist.h"
#include "walk.h"

struct search {
  struct cli *cli;
  const char *pattern;
  char type; /* or 0 */
  int64_t min_size, newer;
  bool is_path; /* the pattern has a '/': it is held against the whole path */
  const struct snap_row *snap;
  size_t found;
  bool is_damaged;
};

static int
on_entry (void *ctx, const struct walk_entry *e)
{
  struct search *s = ctx;
  if (s->type && walk_letter (e->kind) != s->type)
    return 0;
  if (e->size < (uint64_t) s->min_size || (s->newer && e->mtime < s->newer)
      || fnmatch (s->pattern, s->is_path ? e->path : e->name, 0) != 0)
    return 0;
  s->found++;
  char type[2] = { walk_letter (e->kind), 0 }, size[SIZE_TEXT], when[TIME_TEXT];
  char full[2 * PATH_MAX], shown[8 * PATH_MAX];
  const struct snap_row *r = s->snap;
  if (*r->path)
    snprintf (full, sizeof full, "%s/%s", r->path, e->path);
  else
    snprintf (full, sizeof full, "%s/%s/%s/%s", r->region, r->vault, r->name, e->path);
  if (s->cli->is_json) {
    json_t *o = json_pack ("{s:s, s:s, s:s, s:s, s:I, s:I}", "region", r->region, "db",
                           r->vault, "snapshot", r->name, "type", type, "size",
                           (json_int_t) e->size, "mtime", (json_int_t) e->mtime);
    if (o) {
      out_json_name (o, "path", e->path);
      json_dumpf (o, stdout, JSON_COMPACT);
      putchar ('\n');
      json_decref (o);
    }
  } else if (s->cli->is_quiet || !s->cli->verbosity)
    printf ("%s\n", out_name (s->cli, full, shown, sizeof shown));
  else
    printf ("%s %10s %s %s\n", type, out_size (e->size, size), out_time (e->mtime, when),
            out_name (s->cli, full, shown, sizeof shown));
  return 0;
}

static void
on_damage (void *ctx, const char *path, int rc)
{
  struct search *s = ctx;
  s->is_damaged = true;
  fprintf (stderr, "coffer: cannot read %s/%s/%s below \"%s\": %s\n", s->snap->region,
           s->snap->vault, s->snap->name, path, err_str (rc));
}

static int
search_store (struct search *s, const struct snap_row *row)
{
  struct vault *v;
  AUTO (sealed) t = NULL;
  int rc = wire_vault (row->store, row->vault, &v);
  if (rc == 0)
    rc = sealed_open (v, row->name, row->digest, &t);
  if (rc == 0)
    rc = walk_tree (t, 0, on_entry, on_damage, s);
  return rc;
}

static int
on_snapshot (void *ctx, const struct snap_row *row)
{
  struct search *s = ctx;
  s->snap = row;
  int rc = row->store ? search_store (s, row) : walk_dir (row->path, on_entry, s);
  if (rc < 0) {
    on_damage (s, "", rc);
    return err_is_transient (rc) ? EXIT_TRANSIENT : 0;
  }
  return rc;
}

static int
read_options (struct cli *cli, struct search *s)
{
  const char *type = cli_option (cli, "type"), *size = cli_option (cli, "min-size"),
             *newer = cli_option (cli, "newer");
  if (type && (strlen (type) != 1 || !strchr ("fdlpscb", *type)))
    return cli_refuse (cli, EXIT_USAGE_WRONG, "--type=%s: give f, d, l, p, s, c or b", type);
  s->type = type ? *type : 0;
  if (size && config_parse_size (size, &s->min_size) < 0)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "--min-size=%s: give a size such as 10MB", size);
  if (newer && time_parse (newer, &s->newer) < 0)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "--newer=%s is no time: give 2026-11-21, "
                                              "2026-11-21T03:00:00Z, or how long ago (7d)", newer);
  return 0;
}

static int
run (struct cli *cli)
{
  AUTO_PLACE p = { .config = NULL };
  struct snap_filter f;
  struct search s = { .cli = cli, .pattern = cli->args[0],
                      .is_path = strchr (cli->args[0], '/') != NULL };
  int status = snap_filter_read (cli, &f);
  if (status == 0)
    status = read_options (cli, &s);
  if (status == 0)
    status = place_find (cli, cli->arg_count > 1 ? cli->args[1] : NULL, &p);
  if (status)
    return status;
  f.only_sealed = !p.is_mount; /* without a mount open snapshots are not readable */
  f.names_only = true;
  status = snap_list (cli, &p, &f, on_snapshot, &s);
  if (status == 0 && s.is_damaged)
    return EXIT_DAMAGE;
  if (status == 0 && s.found == 0) {
    cli_say (cli, "nothing found");
    return EXIT_FAILED;
  }
  return status;
}

static const struct option_row options[] = {
  SNAP_FILTER_OPTIONS,
  { "type", 't', "LETTER", "only files (f), directories (d), links (l), ..." },
  { "min-size", 0, "SIZE", "only of this size and larger" },
  { "newer", 0, "TIME", "only changed at this time or later" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_find = {
  .name = "find",
  .args = "PATTERN [PATH|URL]",
  .brief = "Find files by name in all snapshots of a mount or store.",
  .detail = "PATTERN is a shell pattern, quoted; with a '/' it is held against the whole path in "
            "the snapshot. With -v type, size and time are shown. Exit status 1 if nothing is "
            "found.",
  .options = options,
  .flags = COMMAND_STORE,
  .min_args = 1,
  .max_args = 2,
  .run = run,
};
