/* SPDX-License-Identifier: Apache-2.0 */
/* What the control directory and the command line ask of a mount. */
#define LOG_MODULE "mount"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/meter.h"
#include "snapshot/file.h"
#include "snapshot/parts.h"
#include "snapshot/where.h"

#define SHOWN_AFTER (3600 * NS_PER_S)

/* "<region>/<db>/<rest>" */
static int
split_path (struct mount *m, const char *path, struct vault **v, char *rest, size_t cap)
{
  char region[64], vault[64];
  while (*path == '/')
    path++;
  if (sscanf (path, "%63[^/]/%63[^/]", region, vault) != 2)
    return ERR_INVALID;
  const char *p = path + strlen (region) + 1 + strlen (vault);
  while (*p == '/')
    p++;
  snprintf (rest, cap, "%s", p);
  LOCK_SCOPE (&m->lock);
  for (size_t i = 0; i < m->region_count; i++)
    if (strcmp (m->regions[i]->name, region) == 0) {
      *v = region_find (m->regions[i], vault);
      return *v ? 0 : ERR_NOENT;
    }
  return ERR_NOENT;
}

/* The same, where the vault may never have been looked at. */
static int
find_path (struct mount *m, const char *path, struct vault **v, char *rest, size_t cap)
{
  int rc = split_path (m, path, v, rest, cap);
  if (rc != ERR_NOENT)
    return rc;
  for (size_t i = 0; i < m->region_count; i++)
    (void) !region_list (m->regions[i], 0); /* then it is not found below */
  return split_path (m, path, v, rest, cap);
}

/* No part of this host: those of others are joined, if there are any. */
static int
join_others (struct vault *v, const struct snapshot_name *n, unsigned flags, const char *how,
             const char *without)
{
  struct part_seen *parts = NULL;
  struct catalog_entry e;
  size_t count = 0;
  struct snap *s;
  if (vault_find (v, n->ts, 0, &e) == 0)
    return ERR_STATE;
  if (flags & (SEAL_PART | SEAL_REOPEN))
    return ERR_NOENT;
  int rc = vault_open (v);
  if (rc == 0)
    rc = parts_list (v, n->ts, "", &parts, &count);
  free (parts);
  if (rc == 0)
    rc = count ? snap_joiner (v, n, &s) : ERR_NOENT;
  return rc ? rc : snap_seal_start (s, flags, how, without);
}

int
mount_seal_start (struct mount *m, const char *path, unsigned flags, const char *without)
{
  char rest[4096];
  struct vault *v;
  struct snapshot_name n;
  int rc = find_path (m, path, &v, rest, sizeof rest);
  if (rc)
    return rc;
  char *slash = strchr (rest, '/');
  if (slash)
    *slash = 0;
  if (snapshot_name_parse (rest, &n) != 0)
    return ERR_INVALID;
  const char *how = flags & SEAL_FORCE ? "force" : "command";
  struct snap *s = snap_find (v, n.ts);
  return s ? snap_seal_start (s, flags, how, without) : join_others (v, &n, flags, how, without);
}

int
mount_adopt (struct mount *m, const char *path, unsigned flags, struct buf *why)
{
  char rest[4096];
  struct vault *v;
  struct snapshot_name n;
  int rc = find_path (m, path, &v, rest, sizeof rest);
  if (rc)
    return rc;
  char *part = strchr (rest, '/');
  if (part)
    *part++ = 0;
  if (snapshot_name_parse (rest, &n) != 0 || (part && strlen (part) != 16))
    return ERR_INVALID;
  return snap_adopt (v, &n, part, flags, why);
}

static void
fill_info (struct snap *s, struct snapshot_info *o)
{
  memset (o, 0, sizeof *o);
  snprintf (o->region, sizeof o->region, "%s", s->vault->region->name);
  snprintf (o->vault, sizeof o->vault, "%s", s->vault->name);
  uint64_t overlay = s->tree ? filedata_overlay_bytes (s) : 0;
  LOCK_SCOPE (&s->lock);
  bool is_sealed = s->sealed_at != 0;
  snprintf (o->name, sizeof o->name, "%s%s", is_sealed ? s->final.ts : s->name.ts,
            is_sealed || s->is_direct ? "" : ".partial");
  o->state = is_sealed ? SNAP_SEALED : s->removed_at ? SNAP_REMOVED : s->life == LIFE_SEALING
    ? SNAP_SEALING : s->is_finished ? SNAP_FINISHED : SNAP_OPEN;
  o->is_interrupted = s->is_interrupted;
  bool is_over = is_sealed || s->life == LIFE_SEALING;
  o->error = s->error ? s->error : is_over ? 0 : s->seal_result ? s->seal_result
    : s->is_left_out ? ERR_EXISTS : 0;
  snprintf (o->error_text, sizeof o->error_text, "%s",
            s->error_text[0] ? s->error_text : o->error ? err_str (o->error) : "");
  o->created = s->created;
  o->changed = s->last_write ? s->last_write : s->created;
  if (s->tree) {
    LOCK_SCOPE (&s->tree->lock);
    o->files = s->tree->files;
    o->dirs = s->tree->dirs;
  }
  o->logical = is_sealed ? s->counts.logical : s->received;
  o->received = s->received;
  o->fresh = s->dep.fresh;
  o->dedup = s->dep.dedup;
  o->stored = s->dep.stored;
  uint64_t placed = s->dep.fresh + s->dep.dedup;
  o->pending = s->received > placed ? s->received - placed : 0;
  o->overlay = overlay;
  o->writers = s->writers;
  snprintf (o->parent, sizeof o->parent, "%s", s->parent);
  snprintf (o->part, sizeof o->part, "%s", s->part);
  for (size_t i = 0; i < s->meta_count; i++)
    if (strcmp (s->meta[i].key, "correlation-id") == 0)
      snprintf (o->correlation_id, sizeof o->correlation_id, "%s", s->meta[i].value);
}

int
mount_snapshots (struct mount *m, struct snapshot_info **out, size_t *n)
{
  lock_take (&m->lock);
  uint32_t count = m->snap_count;
  lock_release (&m->lock);
  size_t cap = 16; /* few of the many that were made are shown */
  *out = calloc (cap, sizeof **out);
  *n = 0;
  if (!*out)
    return ERR_NOMEM;
  int64_t now = clock_wall ();
  for (uint32_t i = 0; i < count; i++) {
    lock_take (&m->lock);
    struct snap *s = m->snaps[i];
    s->users++;
    lock_release (&m->lock);
    bool is_stale = s->is_joiner && s->life == LIFE_OPEN /* one that failed: as long as news */
      && clock_now () - s->seal_ended > SHOWN_AFTER;
    int64_t over = s->sealed_at ? s->sealed_at : s->removed_at;
    /* ruling 23: removed ones for a day */
    int64_t keep = s->removed_at ? 24 * SHOWN_AFTER : SHOWN_AFTER;
    bool is_shown = !is_stale && (!over || now - over < keep);
    if (is_shown && *n == cap) {
      struct snapshot_info *more = realloc (*out, 2 * cap * sizeof *more);
      if (!more) {
        s->users--;
        free (*out);
        *out = NULL;
        return ERR_NOMEM;
      }
      *out = more;
      cap *= 2;
    }
    if (is_shown)
      fill_info (s, &(*out)[(*n)++]);
    s->users--;
  }
  return 0;
}

bool
mount_next_lingering (struct mount *m, uint32_t *cursor, uint64_t *dir, char sealed[128],
                      char open[128])
{
  LOCK_SCOPE (&m->lock);
  while (*cursor < m->snap_count) {
    struct snap *s = m->snaps[(*cursor)++];
    if (s->life != LIFE_SEALED || !s->tree || s->tree->refs <= 0)
      continue;
    LOCK_SCOPE (&s->lock);
    *dir = node_of_vault (s->vault, false);
    snprintf (sealed, 128, "%s", s->final.ts);
    snprintf (open, 128, "%s%s", s->name.ts, s->is_direct ? "" : ".partial");
    return true;
  }
  return false;
}

bool
mount_is_sealing (struct mount *m)
{
  LOCK_SCOPE (&m->lock);
  for (const struct snap *s = m->live; s; s = s->next_live)
    if (s->life == LIFE_SEALING)
      return true;
  return false;
}

static int
add_parts (struct vault *v, struct part_info **out, size_t *n)
{
  struct part_seen *seen = NULL;
  size_t count = 0;
  int rc = v->is_open ? parts_peek (v, &seen, &count) : 0;
  struct part_info *more = rc == 0 && count ? realloc (*out, (*n + count) * sizeof *more) : NULL;
  if (rc == 0 && count && !more)
    rc = ERR_NOMEM;
  if (more)
    *out = more;
  for (size_t i = 0; rc == 0 && i < count; i++) {
    const struct part_seen *p = &seen[i];
    if (p->state == PART_REMOVED || p->state == PART_SEALED)
      continue;
    struct part_info *o = &more[(*n)++];
    *o = (struct part_info){ .state = p->state, .changed = p->changed, .files = p->counts.files,
                             .received = p->counts.received };
    snprintf (o->region, sizeof o->region, "%s", v->region->name);
    snprintf (o->vault, sizeof o->vault, "%s", v->name);
    snprintf (o->name, sizeof o->name, "%s", p->ts);
    memcpy (o->id, p->id, sizeof o->id);
    memcpy (o->host, p->host, sizeof o->host);
  }
  free (seen);
  return rc;
}

int
mount_parts (struct mount *m, struct part_info **out, size_t *n)
{
  int rc = 0;
  *out = NULL;
  *n = 0;
  for (size_t r = 0; rc == 0 && r < m->region_count; r++)
    for (uint32_t i = 0; rc == 0; i++) {
      lock_take (&m->lock);
      struct vault *v = i < m->regions[r]->vault_count ? m->regions[r]->vaults[i] : NULL;
      lock_release (&m->lock);
      if (!v)
        break;
      rc = add_parts (v, out, n);
    }
  if (rc) {
    free (*out);
    *out = NULL;
  }
  return rc;
}

static void
region_stats (struct region *r, struct mount_region_stats *out)
{
  struct blob_stats b = { 0 };
  out->away = r->away;
  if (!out->away)
    blob_stats_get (r->blob, &b);
  snprintf (out->name, sizeof out->name, "%s", r->name);
  out->put_bytes = b.bytes_up;
  out->get_bytes = b.bytes_down;
  out->puts = b.requests[BLOB_OP_PUT];
  out->gets = b.requests[BLOB_OP_GET];
  out->lists = b.requests[BLOB_OP_LIST];
  out->retries = b.retries;
  snprintf (out->breaker, sizeof out->breaker, "%s", breaker_state_name (b.breaker));
  snprintf (out->last_error, sizeof out->last_error, "%s", b.last_error_text);
  out->last_error_time = b.last_error_at;
  LOCK_SCOPE (&r->mount->lock);
  for (uint32_t i = 0; i < r->vault_count; i++)
    out->shows_less |= r->vaults[i]->shows_less;
}

int
mount_stats_get (struct mount *m, struct mount_stats *out)
{
  memset (out, 0, sizeof *out);
  out->regions = calloc (m->region_count + 1, sizeof *out->regions);
  if (!out->regions)
    return ERR_NOMEM;
  out->region_count = m->region_count;
  for (size_t i = 0; i < m->region_count; i++)
    region_stats (m->regions[i], &out->regions[i]);
  struct pipeline_stats line;
  pipeline_stats_get (m->line, &line);
  out->arena_used = line.chunk_bytes;
  out->arena_max = line.chunk_max;
  out->packs_filling = line.filling;
  out->packs_flying = line.flying;
  struct reader_stats reader;
  reader_stats_get (m->reader, &reader);
  out->reader_gets = reader.gets;
  out->reader_get_bytes = reader.get_bytes;
  out->memory_hits = reader.hits_memory;
  if (m->cache) {
    struct blockcache_stats cache;
    blockcache_stats_get (m->cache, &cache);
    out->cache_bytes = cache.bytes;
    out->cache_max = cache.max_bytes;
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
    out->cache_damaged = cache.damaged;
  }
  out->overlay_bytes = m->overlay.used;
  out->overlay_max = m->overlay.max;
  out->started = m->started;
  LOCK_SCOPE (&m->lock);
  out->trees_open = m->sealed_count;
  for (const struct snap *s = m->live; s; s = s->next_live)
    out->snapshots_open += !s->is_joiner && (s->life == LIFE_OPEN || s->life == LIFE_SEALING);
  return 0;
}

void
mount_stats_release (struct mount_stats *s)
{
  free (s->regions);
  s->regions = NULL;
}

/* ---- the block cache by path ---- */

struct warming {
  struct vault *vault;
  const char *verb;
};

static int
cache_one (struct warming *c, struct sealed_file *f)
{
  struct mount *m = c->vault->region->mount;
  const uint8_t *store = keyring_store_id (c->vault->region->keys);
  for (uint64_t off = 0; off < sealed_file_size (f);) {
    struct mapped x;
    struct chunk_want want = { .src = &c->vault->source, .type = UNIT_DATA };
    int rc = sealed_file_get (f, off, 0, &x, want.pack);
    if (rc)
      return rc;
    want.ref = x.e.ref;
    if (x.e.kind == EXTENT_DATA && strcmp (c->verb, "warm") == 0) {
      struct chunk_view *view;
      rc = reader_load (m->reader, &want, 1, READER_ONCE, &view);
      if (rc)
        return rc;
      chunk_view_unref (view);
    } else if (x.e.kind == EXTENT_DATA && strcmp (c->verb, "drop") == 0)
      blockcache_drop (m->cache, store, want.pack, x.e.ref.off);
    else if (x.e.kind == EXTENT_DATA)
      rc = blockcache_pin (m->cache, store, want.pack, strcmp (c->verb, "pin") == 0);
    if (rc)
      return rc;
    off += x.e.len;
  }
  return 0;
}

static int
cache_below (struct warming *c, struct sealed *t, uint64_t row)
{
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, row, 0, &v);
  if (rc)
    return rc;
  if (v.row.attr.kind == NODE_FILE) {
    AUTO (sealed_file) f = NULL;
    rc = sealed_file_open (t, row, 0, &f);
    return rc ? rc : cache_one (c, f);
  }
  uint64_t first = (uint64_t) ((int64_t) row + v.row.attr.child_delta), n = v.row.attr.child_count;
  bool is_dir = v.row.attr.kind == NODE_DIR;
  row_view_release (&v);
  for (uint64_t i = 0; is_dir && rc == 0 && i < n; i++)
    rc = cache_below (c, t, first + i);
  return rc;
}

int
mount_cache_command (struct mount *m, const char *verb, const char *path)
{
  if (!m->cache)
    return ERR_STATE;
  if (strcmp (verb, "pin") && strcmp (verb, "unpin") && strcmp (verb, "warm")
      && strcmp (verb, "drop"))
    return ERR_INVALID;
  char rest[4096];
  struct warming c = { .verb = verb };
  int rc = split_path (m, path, &c.vault, rest, sizeof rest);
  if (rc)
    return rc;
  char *below = strchr (rest, '/');
  if (below)
    *below++ = 0;
  struct snapshot_name n;
  struct catalog_entry e;
  const char *ts = n.ts;
  if (strcmp (rest, "latest") == 0) {
    rc = vault_latest (c.vault, 0, &e);
    ts = e.ts;
  } else
    rc = snapshot_name_parse (rest, &n);
  struct sealed *t;
  uint64_t row = 0;
  if (rc == 0)
    rc = vault_tree (c.vault, ts, 0, &t);
  if (rc == 0)
    rc = sealed_path (t, below ? below : "", &row);
  return rc ? rc : cache_below (&c, t, row);
}
