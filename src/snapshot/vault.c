/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "vault"
#include "snapshot/vault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/catalog.h"
#include "snapshot/seen.h"
#include "snapshot/snap.h"

/* ---- block cache hooks ---- */

static bool
cache_get (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len, uint8_t *out)
{
  struct vault *v = ctx;
  return blockcache_get (v->region->mount->cache, keyring_store_id (v->region->keys), pack, off,
                         len, out);
}

static void
cache_put (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
           const uint8_t *sealed)
{
  struct vault *v = ctx;
  blockcache_put (v->region->mount->cache, keyring_store_id (v->region->keys), pack, off, len,
                  sealed);
}

static void
cache_drop (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  struct vault *v = ctx;
  blockcache_drop (v->region->mount->cache, keyring_store_id (v->region->keys), pack, off);
}

static bool
cache_has (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  struct vault *v = ctx;
  return blockcache_has (v->region->mount->cache, keyring_store_id (v->region->keys), pack, off);
}

/* The collector moved a chunk: the index may know where to. */
static bool
relocate (void *ctx, int type, const uint8_t id[ID_LEN], struct chunk_ref *ref,
          uint8_t pack[PACK_NAME_LEN])
{
  struct vault *v = ctx;
  return index_find_any (v->index, type, id, ref)
    && index_pack_name (v->index, ref->pack, pack) == 0;
}

/* ---- vaults ---- */

struct vault *
region_find (struct region *r, const char *name)
{
  lock_assert_held (&r->mount->lock);
  for (uint32_t i = 0; i < r->vault_count; i++)
    if (strcmp (r->vaults[i]->name, name) == 0)
      return r->vaults[i];
  return NULL;
}

int
vault_intern (struct region *r, const char *name, struct vault **out)
{
  if (!vault_name_is_valid (name))
    return ERR_INVALID;
  LOCK_SCOPE (&r->mount->lock);
  *out = region_find (r, name);
  if (*out)
    return 0;
  if (r->vault_count == r->vault_cap) {
    uint32_t cap = r->vault_cap ? r->vault_cap * 2 : 16;
    struct vault **more = realloc (r->vaults, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    r->vaults = more;
    r->vault_cap = cap;
  }
  struct vault *v = calloc (1, sizeof *v);
  if (!v)
    return ERR_NOMEM;
  v->region = r;
  v->no = r->vault_count;
  snprintf (v->name, sizeof v->name, "%s", name);
  lock_init (&v->lock, LOCK_VAULT, "vault");
  lock_cond_init (&v->changed);
  r->vaults[r->vault_count++] = v;
  *out = v;
  return 0;
}

void
vault_free (struct vault *v)
{
  if (!v)
    return;
  if (v->is_open) {
    reader_forget_source (v->region->mount->reader, &v->source);
    pipe_free (v->pipe);
    index_free (v->index);
  }
  vault_keys_free (v->keys);
  free (v->entries);
  free (v->others);
  pack_table_release (&v->pins);
  lock_destroy (&v->lock);
  pthread_cond_destroy (&v->changed);
  free (v);
}

void
vault_know (struct vault *v, int64_t since)
{
  LOCK_SCOPE (&v->lock);
  if (!v->known_since)
    v->known_since = since;
}

static int
open_parts (struct vault *v)
{
  struct mount *m = v->region->mount;
  int rc = vault_keys_new (v->region->keys, v->name, &v->keys);
  if (rc)
    return rc;
  rc = gear_init (&v->gear, vault_keys_chunker (v->keys));
  if (rc)
    return rc;
  char dir[4300];
  snprintf (dir, sizeof dir, "%s/index/%s/%s", m->opts.state_dir, v->region->name, v->name);
  for (char *p = dir + 1; *p; p++)
    if (*p == '/') {
      *p = 0;
      (void) mkdir (dir, 0700); /* index_open tells if it is not there in the end */
      *p = '/';
    }
  (void) mkdir (dir, 0700);
  rc = index_open (dir, &v->index);
  if (rc)
    return rc;
  struct pipe_opts opts = { .blob = v->region->blob, .keys = v->keys, .index = v->index,
                            .vault = v->name,
                            .zstd_level = m->opts.zstd_level };
  rc = pipe_new (m->line, &opts, &v->pipe);
  if (rc)
    return rc;
  v->source = (struct reader_source){ .blob = v->region->blob, .keys = v->keys,
                                      .relocate = relocate,
                                      .relocate_ctx = v };
  snprintf (v->source.prefix, sizeof v->source.prefix, "vaults/%s/packs/", v->name);
  if (m->cache && !(v->region->blob->caps & BLOB_CAP_LOCAL))
    v->source.cache = (struct reader_cache){ .ctx = v, .get = cache_get, .put = cache_put,
                                             .drop = cache_drop, .has = cache_has };
  return 0;
}

int
vault_open (struct vault *v)
{
  if (!v->region->keys) /* its store was not there yet */
    return ERR_AGAIN;
  lock_take (&v->lock);
  while (v->is_opening)
    lock_wait (&v->changed, &v->lock);
  bool is_mine = !v->is_open;
  v->is_opening = is_mine;
  lock_release (&v->lock);
  if (!is_mine)
    return 0;
  int rc = open_parts (v);
  if (rc) {
    index_free (STEAL (v->index));
    vault_keys_free (STEAL (v->keys));
    log_err ("cannot open a vault region=%s vault=%s err=\"%s\": the key must be the master key or "
             "this"
             " vault's, the state directory writable", v->region->name, v->name, err_str (rc));
  }
  LOCK_SCOPE (&v->lock);
  v->is_opening = false;
  v->is_open = rc == 0;
  pthread_cond_broadcast (&v->changed);
  return rc;
}

static int
region_list_now (struct region *r)
{
  struct mount *m = r->mount;
  AUTO_BUF names;
  buf_init (&names, 64u << 20);
  int64_t begun = clock_now ();
  int rc = catalog_vaults (r->blob, &names);
  for (size_t at = 0; rc == 0 && at < names.len; at += strlen ((char *) names.data + at) + 1) {
    struct vault *v;
    rc = vault_intern (r, (char *) names.data + at, &v);
    if (rc == 0)
      vault_know (v, 1);
  }
  LOCK_SCOPE (&m->lock);
  if (rc == 0)
    r->listed = begun;
  r->is_listing = false;
  pthread_cond_broadcast (&m->wake);
  return rc;
}

struct region_job {
  struct pool_job job;
  struct region *region;
};

static void
region_list_run (struct pool_job *job)
{
  struct region *r = ((struct region_job *) job)->region;
  free (job);
  int rc = region_list_now (r);
  if (rc)
    log_warn ("cannot list the vaults region=%s err=\"%s\": showing what is known", r->name,
              err_str (rc));
}

int
region_list (struct region *r, unsigned flags)
{
  struct mount *m = r->mount;
  if (r->away) /* a store without its superblock is one that is not mounted, not damage */
    return r->away == ERR_MISSING || r->away == ERR_IO ? ERR_AGAIN : r->away;
  lock_take (&m->lock);
  bool is_known = r->listed;
  if (is_known && clock_now () - r->listed >= m->opts.refresh_ns && !r->is_listing) {
    struct region_job *j = calloc (1, sizeof *j);
    if (j) {
      j->region = r;
      j->job.run = region_list_run;
      r->is_listing = true;
      pool_submit (m->askers, &j->job);
    }
  }
  lock_release (&m->lock);
  if (is_known)
    return 0;
  return flags & MOUNT_NOWAIT ? ERR_WOULDBLOCK : region_list_now (r);
}

#define ASK_WAIT (NS_PER_S * 2 / 5) /* a lookup and a mkdir after it stay below 1 s */

int
region_ask (struct region *r, const char *name, unsigned flags, struct vault **out)
{
  struct mount *m = r->mount;
  int rc = region_list (r, flags);
  LOCK_SCOPE (&m->lock);
  struct vault *v = region_find (r, name);
  if (rc == 0 && !(v && v->known_since) && r->is_listing) {
    if (flags & MOUNT_NOWAIT)
      return ERR_WOULDBLOCK;
    int64_t deadline = clock_now () + ASK_WAIT;
    while (r->is_listing && lock_wait_until (&m->wake, &m->lock, deadline))
      ;
    v = region_find (r, name);
  }
  if (v && v->known_since) {
    *out = v;
    return 0;
  }
  return rc ? rc : ERR_NOENT;
}

int
vault_mark (struct vault *v)
{
  static const char text[] = "coffer vault\n";
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/vault", v->name);
  /* Whoever made it as well wrote the same bytes. */
  int rc = blob_put (v->region->blob, key, text, sizeof text - 1, NULL);
  if (rc == 0)
    v->is_unmarked = false;
  return rc;
}

/* ---- the catalog ---- */

static size_t
entry_find (const struct vault *v, const char *ts, bool *found)
{
  size_t lo = 0, hi = v->entry_count;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (strcmp (v->entries[mid].ts, ts) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  *found = lo < v->entry_count && strcmp (v->entries[lo].ts, ts) == 0;
  return lo;
}

static int
entry_add_locked (struct vault *v, const char *ts, const char *digest, int64_t sealed_time)
{
  bool found;
  size_t i = entry_find (v, ts, &found);
  if (found)
    return 0;
  if (v->entry_count == v->entry_cap) {
    size_t cap = v->entry_cap ? v->entry_cap * 2 : 64;
    struct catalog_entry *more = realloc (v->entries, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    v->entries = more;
    v->entry_cap = cap;
  }
  memmove (&v->entries[i + 1], &v->entries[i], (v->entry_count - i) * sizeof *v->entries);
  struct catalog_entry *e = &v->entries[i];
  *e = (struct catalog_entry){ .sealed_time = sealed_time };
  snprintf (e->ts, sizeof e->ts, "%s", ts);
  snprintf (e->digest, sizeof e->digest, "%s", digest);
  struct snapshot_name name;
  if (snapshot_name_parse (ts, &name) == 0)
    e->instant = name.instant;
  v->entry_count++;
  return 0;
}

/* Leaves only the sealed ones: a `.pending` whose `.sealed` is gone is no snapshot. */
static size_t
drop_pending (struct catalog_item *items, size_t n)
{
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (items[i].is_sealed)
      items[kept++] = items[i]; /* labels are not looked at any more */
  return kept;
}

/* What the store showed replaces what was known, but for trees already loaded. */
static int
merge_locked (struct vault *v, const struct catalog_item *items, size_t n, const char *ts_prefix)
{
  bool found;
  size_t i = entry_find (v, ts_prefix, &found), kept = i, prefix_len = strlen (ts_prefix);
  for (; i < v->entry_count && strncmp (v->entries[i].ts, ts_prefix, prefix_len) == 0; i++) {
    bool is_there = false;
    size_t lo = 0, hi = n;
    while (!is_there && lo < hi) {
      size_t mid = lo + (hi - lo) / 2;
      int c = strcmp (items[mid].name.ts, v->entries[i].ts);
      is_there = c == 0;
      lo = c < 0 ? mid + 1 : lo;
      hi = c < 0 ? hi : mid;
    }
    if (is_there)
      v->entries[kept++] = v->entries[i];
  }
  if (kept < i && i < v->entry_count)
    memmove (&v->entries[kept], &v->entries[i], (v->entry_count - i) * sizeof *v->entries);
  v->entry_count -= i - kept;
  size_t before = v->entry_count;
  for (size_t k = 0; k < n; k++) {
    int rc = entry_add_locked (v, items[k].name.ts, items[k].digest, items[k].sealed_time);
    if (rc)
      return rc;
  }
  v->has_news |= v->entry_count > before;
  return 0;
}

static int
list_now (struct vault *v, const char *ts_prefix)
{
  struct catalog_item *items = NULL;
  size_t n = 0;
  int64_t begun = clock_now ();
  int rc = catalog_list (v->region->blob, v->name, ts_prefix, &items, &n);
  n = drop_pending (items, n);
  lock_take (&v->lock);
  if (rc == 0)
    rc = merge_locked (v, items, n, ts_prefix);
  if (rc == 0 && !*ts_prefix) {
    v->listed = begun;
    seen_check_locked (v);
  }
  v->is_listing = false;
  pthread_cond_broadcast (&v->changed);
  lock_release (&v->lock);
  free (items);
  if (rc == 0)
    snap_look_at_open (v);
  return rc;
}

struct list_job {
  struct pool_job job;
  struct vault *vault;
  char ts[SNAPSHOT_TS_MAX];
};

static void
list_run (struct pool_job *job)
{
  struct list_job *j = (struct list_job *) job;
  int rc = list_now (j->vault, j->ts);
  if (rc)
    log_warn ("cannot list snapshots region=%s vault=%s err=\"%s\": showing what is known",
              j->vault->region->name, j->vault->name, err_str (rc));
  free (j);
}

/* Starts a listing in the background unless one is under way. */
static void
list_soon_locked (struct vault *v, const char *ts)
{
  if (v->is_listing)
    return;
  struct list_job *j = calloc (1, sizeof *j);
  if (!j)
    return;
  v->is_listing = true;
  j->vault = v;
  j->job.run = list_run;
  snprintf (j->ts, sizeof j->ts, "%s", ts);
  pool_submit (v->region->mount->askers, &j->job);
}

void
vault_look (struct snap *s)
{
  char instant[17];
  snprintf (instant, sizeof instant, "%.16s", s->name.ts);
  s->looked = clock_now ();
  LOCK_SCOPE (&s->vault->lock);
  list_soon_locked (s->vault, instant);
}

int
vault_list (struct vault *v, unsigned flags)
{
  lock_take (&v->lock);
  if (v->listed) {
    if (clock_now () - v->listed > v->region->mount->opts.refresh_ns)
      list_soon_locked (v, "");
    lock_release (&v->lock);
    return 0;
  }
  lock_release (&v->lock);
  if (flags & MOUNT_NOWAIT)
    return ERR_WOULDBLOCK;
  return list_now (v, "");
}

int
vault_list_again (struct vault *v)
{
  return list_now (v, "");
}

int
vault_find (struct vault *v, const char *ts, unsigned flags, struct catalog_entry *out)
{
  int rc = vault_list (v, flags);
  if (rc)
    return rc;
  LOCK_SCOPE (&v->lock);
  bool found;
  size_t i = entry_find (v, ts, &found);
  if (!found) {
    /* Another host may have sealed it a moment ago: ask once, but do not hang on a dead store. */
    if (flags & MOUNT_NOWAIT)
      return ERR_WOULDBLOCK;
    list_soon_locked (v, ts);
    int64_t deadline = clock_now () + ASK_WAIT;
    while (v->is_listing && lock_wait_until (&v->changed, &v->lock, deadline))
      ;
    i = entry_find (v, ts, &found);
  }
  if (!found)
    return ERR_NOENT;
  *out = v->entries[i];
  return 0;
}

int
vault_latest (struct vault *v, unsigned flags, struct catalog_entry *out)
{
  int rc = vault_list (v, flags);
  if (rc)
    return rc;
  LOCK_SCOPE (&v->lock);
  for (size_t i = v->entry_count; i-- > 0;) /* ascending by ts, so by instant too */
    if (!v->entries[i].is_not_latest) {
      *out = v->entries[i];
      return 0;
    }
  return ERR_NOENT;
}

size_t
vault_count_instant (struct vault *v, const char *ts)
{
  char instant[17];
  snprintf (instant, sizeof instant, "%.16s", ts);
  LOCK_SCOPE (&v->lock);
  bool found;
  size_t first = entry_find (v, instant, &found), i = first;
  while (i < v->entry_count && strncmp (v->entries[i].ts, instant, 16) == 0)
    i++;
  return i - first;
}

bool
vault_knows (struct vault *v, const char *ts)
{
  LOCK_SCOPE (&v->lock);
  bool found;
  (void) entry_find (v, ts, &found);
  return found;
}

void
vault_add_sealed (struct vault *v, const char *ts, const char *digest, int64_t sealed_time)
{
  LOCK_SCOPE (&v->lock);
  if (entry_add_locked (v, ts, digest, sealed_time) == 0) /* else the next listing shows it */
    seen_check_locked (v);
}

static int
register_tree (struct mount *m, struct sealed *t)
{
  LOCK_SCOPE (&m->lock);
  if (m->sealed_count == m->sealed_cap) {
    uint32_t cap = m->sealed_cap ? m->sealed_cap * 2 : 64;
    struct sealed **more = realloc (m->sealed, cap * sizeof (struct sealed *));
    if (!more || cap > 0xfffff)
      return ERR_NOMEM;
    m->sealed = more;
    m->sealed_cap = cap;
  }
  t->no = m->sealed_count;
  t->is_registered = true;
  m->sealed[m->sealed_count++] = t;
  return 0;
}

int
vault_tree (struct vault *v, const char *ts, unsigned flags, struct sealed **out)
{
  struct catalog_entry e;
  int rc = vault_open (v);
  if (rc == 0)
    rc = vault_find (v, ts, flags, &e);
  if (rc)
    return rc;
  if (e.tree) {
    *out = e.tree;
    return 0;
  }
  if (flags & MOUNT_NOWAIT)
    return ERR_WOULDBLOCK;
  AUTO (sealed) t = NULL;
  rc = sealed_open (v, e.ts, e.digest, &t);
  if (rc)
    return rc;
  seen_check_named (v, t);
  lock_take (&v->lock);
  bool found;
  size_t i = entry_find (v, ts, &found);
  struct sealed *other = found ? v->entries[i].tree : NULL;
  lock_release (&v->lock);
  if (other) {
    *out = other;
    return 0;
  }
  rc = register_tree (v->region->mount, t);
  if (rc)
    return rc;
  LOCK_SCOPE (&v->lock);
  i = entry_find (v, ts, &found);
  if (found && !v->entries[i].tree) {
    v->entries[i].tree = t;
    v->entries[i].is_not_latest = t->is_not_latest;
  }
  *out = STEAL (t);
  return 0;
}
