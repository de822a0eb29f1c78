/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of stores without a mount: catalog and manifests. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "snaplist_priv.h"
#include "snapshot/catalog.h"
#include "snapshot/sealed.h"

static void
fill (struct snap_row *r, const struct manifest *m)
{
  snprintf (r->kind, sizeof r->kind, "%s", m->kind);
  snprintf (r->host, sizeof r->host, "%s", m->host);
  snprintf (r->sealed_by, sizeof r->sealed_by, "%s", m->sealed_by);
  r->created = m->created / NS_PER_S;
  r->files = m->counts.files;
  r->dirs = m->counts.dirs;
  r->logical = m->counts.logical;
  r->fresh = m->counts.fresh;
  r->dedup = m->counts.dedup;
  r->stored = m->counts.stored;
  r->has_counts = true;
}

static void
row_of (struct snap_row *r, struct wire_store *s, const char *vault)
{
  memset (r, 0, sizeof *r);
  r->store = s;
  snprintf (r->region, sizeof r->region, "%s", s->name);
  snprintf (r->vault, sizeof r->vault, "%s", vault);
}

static int
sealed_row_out (struct wire_store *s, const struct vault_keys *keys, const char *vault,
                const struct catalog_item *item, bool names_only, snap_row_fn fn, void *ctx,
                bool *is_damaged)
{
  struct snap_row r;
  row_of (&r, s, vault);
  r.state = "sealed";
  r.instant = item->name.instant;
  r.sealed = item->sealed_time / NS_PER_S;
  snprintf (r.name, sizeof r.name, "%s", item->name.ts);
  snprintf (r.digest, sizeof r.digest, "%s", item->digest);
  if (!names_only) {
    struct manifest m;
    memset (&m, 0, sizeof m);
    r.rc = manifest_load (s->blob, keys, vault, item->name.ts, item->digest, true, &m);
    if (r.rc == 0) {
      fill (&r, &m);
      manifest_release (&m);
    } else {
      r.state = "damaged"; /* the log says how */
      *is_damaged = true;
    }
  }
  return fn (ctx, &r);
}

static bool
is_among (const struct catalog_item *items, size_t n, const char *ts)
{
  for (size_t i = 0; i < n; i++)
    if (items[i].is_sealed && strcmp (items[i].name.ts, ts) == 0)
      return true;
  return false;
}

/* Open snapshots as far as the store knows them: a checkpoint names them.  Those of what was sealed
 * since stay until the collector removes them. */
static int
open_rows (const struct cli *cli, struct wire_store *s, const char *vault,
           const struct snap_filter *f, const struct catalog_item *items, size_t item_count,
           snap_row_fn fn, void *ctx)
{
  AUTO_BUF parts;
  buf_init (&parts, 64u << 20);
  int rc = catalog_open_parts (s->blob, vault, &parts);
  if (rc < 0)
    return wire_fail (cli, s, rc, "list the open snapshots of");
  char last[112] = "";
  int status = 0;
  for (const char *p = (const char *) parts.data, *end = p + parts.len; status == 0 && p < end;
       p += strlen (p) + 1) {
    struct snap_row r;
    struct snapshot_name name;
    char ts[112];
    snprintf (ts, sizeof ts, "%.*s", (int) strcspn (p, "/"), p);
    if (strcmp (ts, last) == 0 || is_among (items, item_count, ts)
        || snapshot_name_parse (ts, &name) < 0 || !filter_name (f, &name))
      continue; /* another part of the same snapshot */
    memcpy (last, ts, sizeof last);
    row_of (&r, s, vault);
    r.state = "open";
    r.instant = name.instant;
    snprintf (r.name, sizeof r.name, "%s", ts);
    status = fn (ctx, &r);
  }
  return status;
}

static int
list_vault (const struct cli *cli, struct wire_store *s, const char *vault,
            const struct snap_filter *f, snap_row_fn fn, void *ctx)
{
  AUTO_MEM struct catalog_item *items = NULL;
  AUTO (vault_keys) keys = NULL;
  size_t n = 0, matching = 0, skip = 0;
  int rc = vault_keys_new (s->keys, vault, &keys);
  if (rc == ERR_DENIED)
    return 0; /* this key is for another database: nothing to show here */
  if (rc == 0)
    rc = catalog_list (s->blob, vault, "", &items, &n);
  if (rc < 0)
    return wire_fail (cli, s, rc, "list the snapshots of");
  for (size_t i = 0; i < n; i++)
    matching += items[i].is_sealed && filter_name (f, &items[i].name);
  if (f->last && matching > f->last)
    skip = matching - f->last;
  bool is_damaged = false;
  int status = 0;
  for (size_t i = 0; status == 0 && !f->only_open && i < n; i++) {
    if (!items[i].is_sealed || !filter_name (f, &items[i].name) || (skip && skip--))
      continue;
    status = sealed_row_out (s, keys, vault, &items[i], f->names_only, fn, ctx, &is_damaged);
  }
  if (status == 0 && !f->only_sealed)
    status = open_rows (cli, s, vault, f, items, n, fn, ctx);
  return status == 0 && is_damaged ? EXIT_DAMAGE : status;
}

static int
list_store (const struct cli *cli, struct wire_store *s, const struct snap_filter *f,
            snap_row_fn fn, void *ctx)
{
  AUTO_BUF vaults;
  buf_init (&vaults, 64u << 20);
  int rc = catalog_vaults (s->blob, &vaults), worst = 0;
  if (rc < 0)
    return wire_fail (cli, s, rc, "list the databases of");
  for (const char *p = (const char *) vaults.data, *end = p + vaults.len; p < end;
       p += strlen (p) + 1) {
    if (!filter_matches (f->vault, p))
      continue;
    int status = list_vault (cli, s, p, f, fn, ctx);
    if (status && status != EXIT_DAMAGE)
      return status;
    worst = status ? status : worst;
  }
  return worst;
}

int
list_stores (const struct cli *cli, const struct config *c, const struct snap_filter *f,
             snap_row_fn fn, void *ctx)
{
  int worst = 0;
  for (size_t i = 0; i < config_regions (c); i++) {
    if (!filter_matches (f->region, config_region_name (c, i)))
      continue;
    AUTO_STORE s = { .blob = NULL };
    int status = wire_open_store (cli, c, (int) i, &s);
    if (status == 0)
      status = list_store (cli, &s, f, fn, ctx);
    if (status)
      worst = status; /* the other regions are shown all the same */
  }
  return worst;
}
