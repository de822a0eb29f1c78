/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a mount: directories and their attributes. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "snaplist_priv.h"

/* Names in DIR, sorted; those that begin with '.' and "latest" are not asked for. */
struct names {
  char **v;
  size_t count;
};
static int
by_text (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}
static void
names_release (struct names *n)
{
  for (size_t i = 0; i < n->count; i++)
    free (n->v[i]);
  free (n->v);
}
static int
names_read (const char *dir, struct names *out)
{
  memset (out, 0, sizeof *out);
  DIR *d = opendir (dir);
  if (!d)
    return err_from_errno (errno);
  size_t cap = 0;
  int rc = 0;
  errno = 0;
  for (struct dirent *e; rc == 0 && (e = readdir (d));) {
    if (e->d_name[0] == '.' || e->d_type == DT_LNK)
      continue;
    if (out->count == cap) {
      cap = cap ? 2 * cap : 64;
      char **more = realloc (out->v, cap * sizeof *more);
      if (!more) {
        rc = ERR_NOMEM;
        break;
      }
      out->v = more;
    }
    out->v[out->count] = strdup (e->d_name);
    rc = out->v[out->count++] ? 0 : ERR_NOMEM;
    errno = 0;
  }
  if (rc == 0 && errno)
    rc = err_from_errno (errno);
  closedir (d);
  if (out->count)
    qsort (out->v, out->count, sizeof *out->v, by_text);
  return rc;
}

static uint64_t
attr_number (const char *path, const char *name)
{
  char text[64];
  return mounted_attr (path, name, text, sizeof text) ? strtoull (text, NULL, 10) : 0;
}

/* A time attribute is an instant as snapshots are named. */
static int64_t
attr_time (const char *path, const char *name)
{
  char text[64];
  int64_t t;
  if (!mounted_attr (path, name, text, sizeof text) || !*text)
    return 0;
  if (text[strspn (text, "0123456789")] == 0)
    return (int64_t) strtoll (text, NULL, 10);
  return time_parse (text, &t) == 0 ? t : 0;
}

static const char *
known_state (const char *text, const char *fallback)
{
  static const char *const states[] = { "open", "sealing", "sealed" };
  for (int i = 0; text && i < 3; i++)
    if (strcmp (text, states[i]) == 0)
      return states[i];
  return fallback;
}

/* An attribute of a sealed snapshot may cost a request to the store, so for names alone the mount's
 * status is asked: what is not in it as open is sealed. */
static const char *
state_by_status (json_t *status, const struct snap_row *r, const char *fallback)
{
  size_t i;
  json_t *s;
  json_array_foreach (json_object_get (status, "snapshots"), i, s)
    {
      const char *region = json_string_value (json_object_get (s, "region"));
      const char *vault = json_string_value (json_object_get (s, "vault"));
      const char *name = json_string_value (json_object_get (s, "name"));
      if (region && vault && name && strcmp (region, r->region) == 0
          && strcmp (vault, r->vault) == 0 && strcmp (name, r->name) == 0)
        return known_state (json_string_value (json_object_get (s, "state")), fallback);
    }
  return fallback;
}

static void
fill (struct snap_row *r, const struct snapshot_name *name, json_t *status)
{
  char text[32];
  r->instant = name->instant;
  r->state = name->is_partial ? "open" : "sealed";
  if (status) {
    r->state = state_by_status (status, r, r->state);
    return;
  }
  if (mounted_attr (r->path, "user.coffer.state", text, sizeof text))
    r->state = known_state (text, r->state);
  mounted_attr (r->path, "user.coffer.kind", r->kind, sizeof r->kind);
  mounted_attr (r->path, "user.coffer.digest", r->digest, sizeof r->digest);
  mounted_attr (r->path, "user.coffer.sealed-by", r->sealed_by, sizeof r->sealed_by);
  r->created = attr_time (r->path, "user.coffer.created");
  r->sealed = attr_time (r->path, "user.coffer.sealed");
  r->files = attr_number (r->path, "user.coffer.files");
  r->logical = attr_number (r->path, "user.coffer.size");
  r->fresh = attr_number (r->path, "user.coffer.new");
  r->dedup = attr_number (r->path, "user.coffer.dedup");
  r->stored = attr_number (r->path, "user.coffer.stored");
  r->has_counts = mounted_attr (r->path, "user.coffer.files", text, sizeof text);
}

struct mount_listing {
  const struct cli *cli;
  const struct mounted *m;
  const struct snap_filter *f;
  json_t *status; /* with names_only */
  snap_row_fn fn;
  void *ctx;
};

static int
list_vault (const struct mount_listing *l, const char *region, const char *vault)
{
  const struct snap_filter *f = l->f;
  char dir[PATH_MAX];
  __attribute__ ((cleanup (names_release))) struct names names;
  snprintf (dir, sizeof dir, "%s/%s/%s", l->m->top, region, vault);
  int rc = names_read (dir, &names);
  if (rc < 0)
    return cli_fail (l->cli, rc, NULL, "list %s", dir);
  size_t skip = 0, matching = 0;
  struct snapshot_name name;
  for (size_t i = 0; f->last && i < names.count; i++)
    matching += snapshot_name_parse (names.v[i], &name) == 0 && filter_name (f, &name);
  if (f->last && matching > f->last)
    skip = matching - f->last;
  int status = 0;
  for (size_t i = 0; status == 0 && i < names.count; i++) {
    if (snapshot_name_parse (names.v[i], &name) < 0 || !filter_name (f, &name))
      continue;
    if (skip) {
      skip--;
      continue;
    }
    struct snap_row r = { .instant = 0 };
    snprintf (r.region, sizeof r.region, "%s", region);
    snprintf (r.vault, sizeof r.vault, "%s", vault);
    snprintf (r.name, sizeof r.name, "%s", names.v[i]);
    snprintf (r.path, sizeof r.path, "%s/%s", dir, names.v[i]);
    fill (&r, &name, l->status);
    bool is_sealed = strcmp (r.state, "sealed") == 0;
    if ((f->only_sealed && !is_sealed) || (f->only_open && is_sealed))
      continue;
    status = l->fn (l->ctx, &r);
  }
  return status;
}

static int
list_region (const struct mount_listing *l, const char *region, const char *only_vault)
{
  char dir[PATH_MAX];
  __attribute__ ((cleanup (names_release))) struct names names;
  snprintf (dir, sizeof dir, "%s/%s", l->m->top, region);
  int rc = names_read (dir, &names), status = 0;
  if (rc < 0)
    return cli_fail (l->cli, rc, NULL, "list %s", dir);
  for (size_t i = 0; status == 0 && i < names.count; i++)
    if ((!*only_vault || strcmp (only_vault, names.v[i]) == 0)
        && filter_matches (l->f->vault, names.v[i]))
      status = list_vault (l, region, names.v[i]);
  return status;
}

int
list_mount (const struct cli *cli, const struct mounted *m, const struct snap_filter *f,
            snap_row_fn fn, void *ctx)
{
  /* A path below the top narrows: a region, a database, or one snapshot. */
  char region[256] = "", vault[256] = "", name[256] = "";
  struct snap_filter narrow = *f;
  struct snapshot_name parsed;
  (void) sscanf (m->rel, "%255[^/]/%255[^/]/%255[^/]", region, vault, name);
  if (*name && snapshot_name_parse (name, &parsed) == 0)
    narrow.name = parsed.ts;
  struct mount_listing l = { .cli = cli, .m = m, .f = &narrow, .fn = fn, .ctx = ctx };
  __attribute__ ((cleanup (names_release))) struct names names;
  int rc = names_read (m->top, &names), status = 0;
  if (rc < 0)
    return cli_fail (cli, rc, NULL, "list %s", m->top);
  if (f->names_only)
    l.status = mounted_status (m);
  bool is_found = !*region;
  for (size_t i = 0; status == 0 && i < names.count; i++)
    if ((!*region || strcmp (region, names.v[i]) == 0) && filter_matches (f->region, names.v[i])) {
      is_found = true;
      status = list_region (&l, names.v[i], vault);
    }
  json_decref (l.status);
  if (!is_found && strcmp (region, ".coffer") != 0)
    return cli_refuse (cli, EXIT_FAILED, "%s has no region \"%s\"", m->top, region);
  return status;
}
