/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "commands.h"
#include "out.h"
#include "snaplist.h"
#include "snapshot/catalog.h"
#include "snapshot/sealed.h"
#include "store/seal.h"
#include "walk.h"

/* Facts are gathered as JSON and printed as that or as lines. */
struct facts {
  struct cli *cli;
  json_t *all;
};

static void
facts_release (struct facts *f)
{
  json_decref (f->all);
}

static void
add_text (struct facts *f, const char *key, const char *text)
{
  if (text && *text)
    out_json_name (f->all, key, text);
}

static void
add_lines (struct facts *f, const char *key, char *text)
{
  json_t *list = json_array ();
  char *save = NULL;
  for (char *p = strtok_r (text, "\n", &save); p; p = strtok_r (NULL, "\n", &save))
    json_array_append_new (list, json_string (p));
  json_object_set_new (f->all, key, list);
}

static void
add_number (struct facts *f, const char *key, uint64_t v)
{
  json_object_set_new (f->all, key, json_integer ((json_int_t) v));
}

static void
add_time (struct facts *f, const char *key, int64_t seconds)
{
  char text[TIME_TEXT];
  if (seconds)
    add_text (f, key, out_time (seconds, text));
}

static bool
is_size (const char *key)
{
  static const char *const sizes[] = { "size", "new", "dedup", "stored" };
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    if (strcmp (key, sizes[i]) == 0)
      return true;
  return false;
}

static int
print_facts (struct facts *f)
{
  const char *key;
  json_t *v;
  char size[SIZE_TEXT], shown[8 * PATH_MAX];
  if (f->cli->is_json) {
    out_json (f->cli, json_incref (f->all));
    return EXIT_DONE;
  }
  json_object_foreach (f->all, key, v)
    {
      size_t i;
      json_t *one;
      if (json_is_array (v))
        json_array_foreach (v, i, one)
          printf ("%-16s %s\n", key,
                  out_name (f->cli, json_string_value (one), shown, sizeof shown));
      else if (json_is_string (v))
        printf ("%-16s %s\n", key,
                out_name (f->cli, json_string_value (v), shown, sizeof shown));
      else if (is_size (key))
        printf ("%-16s %lld (%s)\n", key, (long long) json_integer_value (v),
                out_size ((uint64_t) json_integer_value (v), size));
      else
        printf ("%-16s %lld\n", key, (long long) json_integer_value (v));
    }
  return EXIT_DONE;
}

/* ---- in a mount ---- */

static void
add_attr (struct facts *f, const char *path, const char *key)
{
  char name[128], text[4096];
  snprintf (name, sizeof name, "user.coffer.%s", key);
  if (!mounted_attr (path, name, text, sizeof text))
    return;
  if (is_size (key) || strcmp (key, "files") == 0)
    add_number (f, key, strtoull (text, NULL, 10));
  else
    add_text (f, key, text);
}

/* What people and drivers recorded is listed by the mount itself. */
static void
add_meta (struct facts *f, const char *path)
{
  static const char prefix[] = "user.coffer.";
  char names[65536];
  ssize_t n = llistxattr (path, names, sizeof names);
  for (const char *p = names; n > 0 && p < names + n; p += strlen (p) + 1)
    if (strncmp (p, prefix, sizeof prefix - 1) == 0)
      add_attr (f, path, p + sizeof prefix - 1);
}

static void
add_stat (struct facts *f, const struct stat *st, bool is_file)
{
  char mode[16];
  snprintf (mode, sizeof mode, "%04o", (unsigned) st->st_mode & 07777);
  if (is_file)
    add_number (f, "size", (uint64_t) st->st_size);
  add_text (f, "mode", mode);
  add_number (f, "uid", st->st_uid);
  add_number (f, "gid", st->st_gid);
  add_time (f, "mtime", st->st_mtime);
}

static int
show_mount (struct facts *f, const char *path, const struct mounted *m)
{
  static const char *const of_snapshot[]
    = { "state", "kind", "region", "part", "created", "sealed", "sealed-by", "files", "size", "new",
        "dedup", "stored", "digest", "db-type", "driver", "correlation-id", "error" };
  static const char *const of_file[] = { "digest", "sha256", "cached" };
  char full[2 * PATH_MAX], parts[65536];
  struct stat st;
  size_t depth = *m->rel ? 1 : 0;
  for (const char *p = m->rel; *p; p++)
    depth += *p == '/';
  if (depth < 3)
    return cli_refuse (f->cli, EXIT_USAGE_WRONG, "%s is no snapshot and nothing in one: coffer "
                                                 "snapshots %s lists what is there", path, path);
  snprintf (full, sizeof full, "%s/%s", m->top, m->rel);
  if (lstat (full, &st) < 0)
    return cli_fail (f->cli, err_from_errno (errno), NULL, "look at %s", full);
  add_text (f, "path", full);
  if (depth == 3 && mounted_attr (full, "user.coffer.parts", parts, sizeof parts))
    add_lines (f, "parts", parts);
  if (depth == 3)
    for (size_t i = 0; i < sizeof of_snapshot / sizeof of_snapshot[0]; i++)
      add_attr (f, full, of_snapshot[i]);
  else {
    add_stat (f, &st, S_ISREG (st.st_mode));
    for (size_t i = 0; S_ISREG (st.st_mode) && i < sizeof of_file / sizeof of_file[0]; i++)
      add_attr (f, full, of_file[i]);
  }
  add_meta (f, full);
  return print_facts (f);
}

/* ---- from a store ---- */

struct target {
  char region[64], vault[64], ts[112];
  const char *rest; /* the path in the snapshot */
};

/* "[REGION/]DB/TIMESTAMP[/PATH]" */
static bool
split (const struct config *c, const char *path, struct target *out)
{
  char words[3][128] = { "", "", "" };
  int used[3] = { 0 };
  struct snapshot_name name;
  if (sscanf (path, "%127[^/]/%127[^/]%n/%127[^/]%n", words[0], words[1], &used[1], words[2],
              &used[2])
      < 2)
    return false;
  bool has_region = words[2][0] && (snapshot_name_parse (words[2], &name) == 0
                                    || strcmp (words[2], "latest") == 0);
  if (!has_region && snapshot_name_parse (words[1], &name) < 0 && strcmp (words[1], "latest") != 0)
    return false;
  snprintf (out->region, sizeof out->region, "%s",
            has_region ? words[0] : config_region_name (c, 0));
  snprintf (out->vault, sizeof out->vault, "%s", words[has_region]);
  snprintf (out->ts, sizeof out->ts, "%s", words[1 + has_region]);
  out->rest = path + used[1 + has_region];
  out->rest += strspn (out->rest, "/");
  return vault_name_is_valid (out->vault);
}

static void
add_manifest (struct facts *f, const struct manifest *m)
{
  add_text (f, "state", "sealed");
  add_text (f, "kind", m->kind);
  add_time (f, "created", m->created / NS_PER_S);
  add_time (f, "finished", m->finished / NS_PER_S);
  add_text (f, "sealed-by", m->sealed_by);
  add_text (f, "host", m->host);
  add_number (f, "files", m->counts.files);
  add_number (f, "dirs", m->counts.dirs);
  add_number (f, "size", m->counts.logical);
  add_number (f, "new", m->counts.fresh);
  add_number (f, "dedup", m->counts.dedup);
  add_number (f, "stored", m->counts.stored);
  AUTO_BUF parts;
  buf_init (&parts, MANIFEST_MAX_PARTS * 128);
  manifest_parts_text (m, &parts);
  buf_put_u8 (&parts, 0);
  if (parts.len > 1)
    add_lines (f, "parts", (char *) parts.data);
  for (size_t i = 0; i < m->meta_count; i++)
    add_text (f, m->meta[i].key, m->meta[i].value);
}

static int
add_node (struct facts *f, struct sealed *t, const char *path)
{
  uint64_t row;
  struct node_stat st;
  int rc = sealed_path (t, path, &row);
  if (rc == 0)
    rc = sealed_stat (t, row, 0, &st, &row);
  if (rc < 0)
    return rc;
  char mode[16], type[2] = { walk_letter ((enum node_kind) st.attr.kind), 0 };
  snprintf (mode, sizeof mode, "%04o", st.attr.mode);
  add_text (f, "type", type);
  add_number (f, "size", st.attr.size);
  add_text (f, "mode", mode);
  add_number (f, "uid", st.attr.uid);
  add_number (f, "gid", st.attr.gid);
  add_time (f, "mtime", st.attr.mtime.sec);
  if (st.attr.kind != NODE_FILE)
    return 0;
  AUTO (sealed_file) file = NULL;
  uint8_t digest[32];
  char hex[65];
  rc = sealed_file_open (t, row, 0, &file);
  if (rc == 0)
    rc = sealed_file_digest (file, digest);
  if (rc == 0) {
    hex_encode (digest, sizeof digest, hex);
    add_text (f, "digest", hex);
  }
  AUTO_ROW v = { 0 };
  if (rc == 0 && sealed_row (t, row, 0, &v) == 0 && v.row.attr.sha256) {
    hex_encode (v.row.attr.sha256, 32, hex);
    add_text (f, "sha256", hex);
  }
  return rc;
}

/* The sealed snapshot of this name, or the newest full one for "latest". */
static int
find_item (struct wire_store *s, const struct target *t, struct catalog_item *out)
{
  AUTO_MEM struct catalog_item *items = NULL;
  size_t n = 0;
  struct snapshot_name name;
  bool is_latest = strcmp (t->ts, "latest") == 0;
  if (!is_latest && snapshot_name_parse (t->ts, &name) < 0)
    return ERR_INVALID;
  int rc = catalog_list (s->blob, t->vault, is_latest ? "" : name.ts, &items, &n);
  if (rc < 0)
    return rc;
  rc = ERR_NOENT;
  for (size_t i = 0; i < n; i++)
    if (items[i].is_sealed && (is_latest || strcmp (items[i].name.ts, name.ts) == 0)
        && (rc == ERR_NOENT || items[i].name.instant >= out->name.instant)) {
      *out = items[i];
      rc = 0;
    }
  return rc;
}

static int
show_item (struct facts *f, struct wire_store *s, const struct target *t,
           const struct catalog_item *item)
{
  struct vault *v;
  AUTO (sealed) tree = NULL;
  char path[512];
  snprintf (path, sizeof path, "%s/%s/%s%s%s", s->name, t->vault, item->name.ts,
            *t->rest ? "/" : "", t->rest);
  add_text (f, "path", path);
  int rc = wire_vault (s, t->vault, &v);
  if (rc == 0)
    rc = sealed_open (v, item->name.ts, item->digest, &tree);
  if (rc < 0)
    return rc;
  if (*t->rest)
    return add_node (f, tree, t->rest);
  AUTO_PART part = NULL;
  rc = sealed_hold (tree, SEALED_MANIFEST, 0, &part);
  if (rc < 0)
    return rc;
  add_manifest (f, &part->manifest);
  add_time (f, "sealed", item->sealed_time / NS_PER_S);
  add_text (f, "digest", item->digest);
  return 0;
}

static int
show_store (struct facts *f, const char *path, const struct config *c)
{
  struct target t;
  if (!split (c, path, &t))
    return cli_refuse (f->cli, EXIT_USAGE_WRONG, "\"%s\" names no snapshot: give "
                                                 "[REGION/]DATABASE/TIMESTAMP[/PATH] (%s)", path,
                       snapshot_name_help ());
  for (size_t i = 0; i < config_regions (c); i++) {
    if (strcmp (config_region_name (c, i), t.region) != 0)
      continue;
    AUTO_STORE s = { .blob = NULL };
    struct catalog_item item = { .digest = "" };
    int status = wire_open_store (f->cli, c, (int) i, &s);
    if (status)
      return status;
    int rc = find_item (&s, &t, &item);
    if (rc == ERR_NOENT)
      return cli_refuse (f->cli, EXIT_FAILED, "%s has no sealed snapshot %s/%s: coffer snapshots "
                                              "lists them", s.shown, t.vault, t.ts);
    if (rc == 0)
      rc = show_item (f, &s, &t, &item);
    if (rc == ERR_NOENT)
      return cli_refuse (f->cli, EXIT_FAILED, "%s/%s in %s has no \"%s\": coffer find looks for a "
                                              "name",
                         t.vault, item.name.ts, s.shown, t.rest);
    return rc < 0 ? wire_fail (f->cli, &s, rc, "read the snapshot in") : print_facts (f);
  }
  return cli_refuse (f->cli, EXIT_USAGE_WRONG, "the configuration has no region \"%s\"", t.region);
}

static int
run (struct cli *cli)
{
  AUTO_PLACE p = { .config = NULL };
  __attribute__ ((cleanup (facts_release))) struct facts f = { .cli = cli, .all = NULL };
  const char *path = cli->args[0], *where = cli->arg_count > 1 ? cli->args[1] : NULL;
  bool is_store = where || cli_has (cli, "config");
  int status = place_find (cli, is_store ? where : path, &p);
  if (status)
    return status;
  f.all = json_object ();
  if (!f.all)
    return cli_fail (cli, ERR_NOMEM, NULL, "show %s", path);
  if (is_store && p.is_mount)
    return cli_refuse (cli, EXIT_USAGE_WRONG, "%s is in a mount: give the whole path alone", where);
  return p.is_mount ? show_mount (&f, path, &p.mount) : show_store (&f, path, p.config);
}

const struct command cmd_show = {
  .name = "show",
  .args = "PATH [URL]",
  .brief = "Show all that is known of a snapshot, or of a file in one.",
  .detail = "PATH is in a mount; or, with a URL or -c FILE, [REGION/]DATABASE/TIMESTAMP[/PATH], "
            "and "
            "the TIMESTAMP may be latest.",
  .flags = COMMAND_STORE,
  .min_args = 1,
  .max_args = 2,
  .run = run,
};
