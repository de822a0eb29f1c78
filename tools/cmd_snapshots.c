/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "out.h"
#include "snaplist.h"

struct listing {
  struct cli *cli;
  bool is_short, has_head;
  json_t *all;
  size_t count;
};

static json_t *
row_json (const struct snap_row *r)
{
  json_t *o = json_pack ("{s:s, s:s, s:s, s:s, s:I}", "region", r->region, "db", r->vault, "name",
                         r->name, "state", r->state, "instant", (json_int_t) r->instant);
  const struct {
    const char *key, *text;
  } texts[] = { { "path", r->path },   { "kind", r->kind },           { "host", r->host },
                { "digest", r->digest }, { "sealed_by", r->sealed_by } };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    if (*texts[i].text)
      json_object_set_new (o, texts[i].key, json_string (texts[i].text));
  const struct {
    const char *key;
    uint64_t v;
    bool is_there;
  } numbers[] = {
    { "created", (uint64_t) r->created, r->created },
    { "sealed", (uint64_t) r->sealed, r->sealed },
    { "files", r->files, r->has_counts },
    { "dirs", r->dirs, r->has_counts && r->dirs },
    { "logical", r->logical, r->has_counts },
    { "new", r->fresh, r->has_counts },
    { "deduplicated", r->dedup, r->has_counts },
    { "stored", r->stored, r->has_counts },
  };
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i].is_there)
      json_object_set_new (o, numbers[i].key, json_integer ((json_int_t) numbers[i].v));
  if (r->rc)
    json_object_set_new (o, "error", json_string (err_str (r->rc)));
  return o;
}

static int
print_row (void *ctx, const struct snap_row *r)
{
  struct listing *l = ctx;
  char name[300], a[SIZE_TEXT], b[SIZE_TEXT], c[SIZE_TEXT];
  l->count++;
  if (l->all)
    return json_array_append_new (l->all, row_json (r)) < 0 ? EXIT_FAILED : 0;
  snprintf (name, sizeof name, "%s/%s/%s", r->region, r->vault, r->name);
  if (l->is_short) {
    printf ("%s\n", *r->path ? r->path : name);
    return 0;
  }
  if (!l->has_head)
    printf ("%-46s %-8s %9s %10s %10s %10s\n", "SNAPSHOT", "STATE", "FILES", "SIZE", "NEW",
            "STORED");
  l->has_head = true;
  if (r->has_counts)
    printf ("%-46s %-8s %9llu %10s %10s %10s\n", name, r->state, (unsigned long long) r->files,
            out_size (r->logical, a), out_size (r->fresh, b), out_size (r->stored, c));
  else
    printf ("%-46s %-8s %9s %10s %10s %10s\n", name, r->state, "-", "-", "-", "-");
  return 0;
}

static int
run (struct cli *cli)
{
  AUTO_PLACE p = { .config = NULL };
  struct snap_filter f;
  int status = snap_filter_read (cli, &f);
  if (status == 0)
    status = place_find (cli, cli->arg_count ? cli->args[0] : NULL, &p);
  if (status)
    return status;
  f.only_open = cli_has (cli, "open");
  f.only_sealed = cli_has (cli, "sealed");
  f.names_only = cli_has (cli, "short");
  struct listing l = { .cli = cli, .is_short = f.names_only };
  if (cli->is_json)
    l.all = json_array ();
  status = snap_list (cli, &p, &f, print_row, &l);
  if (l.all)
    out_json (cli, l.all);
  else if (l.count == 0 && status == 0)
    cli_say (cli, "no snapshots");
  return status;
}

static const struct option_row options[] = {
  SNAP_FILTER_OPTIONS,
  { "sealed", 0, NULL, "only sealed ones" },
  { "open", 0, NULL, "only those being written" },
  { "short", 's', NULL, "only names, a line each; reads no manifest" },
  { NULL, 0, NULL, NULL },
};
const struct command cmd_snapshots = {
  .name = "snapshots",
  .args = "[PATH|URL]",
  .brief = "List snapshots, in a mount or in a store without one.",
  .detail = "PATH is a mount, or a region or database in it. NEW is what had not been stored "
            "before, STORED what it took in the store, compressed and encrypted.",
  .options = options,
  .flags = COMMAND_STORE,
  .max_args = 1,
  .run = run,
};
