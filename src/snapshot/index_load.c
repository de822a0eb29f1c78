/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the store's index deltas into this host's index.  A hint is all it is: what fails is
 * skipped.
 *
 * What is little is loaded before the first chunk is placed.  A host that lacks more (a new one, or
 * one that was away) does not wait for it (ruling 25): it takes the parent's extents into the
 * index, which is what nearly all of a backup is found in, and loads the rest in the background,
 * newest first.  What others sent is asked for once in `refresh`, or when they sealed something:
 * the listing is as long as the database has snapshots.  All this runs on the mount's askers in
 * small slices, so that it keeps none of them from a first checkpoint. */
#define LOG_MODULE "index"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/vault.h"

/* No more than this is waited for before the first chunk: a second at 1 MB/s, or at 30 ms a
 * request. */
#define AT_ONCE_BYTES (1u << 20)
#define AT_ONCE_COUNT 32
/* Extents of the parent taken in at a time; the first time before the first chunk. */
#define SEED_SLICE 16384u

struct missing {
  char name[64];
  int64_t mtime;
  uint64_t size;
};

struct index_loading {
  struct pool_job job; /* first */
  struct vault *vault;
  struct missing *missing; /* newest first */
  size_t count, cap, next, skip;
  struct sealer *sealer;
  /* where the parent's extents are taken from next */
  struct sealed *parent;
  uint64_t row, off, seeded;
};

static int
add (void *ctx, const struct blob_entry *e)
{
  struct index_loading *l = ctx;
  const char *name = e->key + l->skip;
  /* Those of this very session are known. */
  if (strncmp (name, pipe_session (l->vault->pipe), 16) == 0
      || index_has_delta (l->vault->index, name) || strlen (name) >= sizeof l->missing->name)
    return 0;
  if (l->count == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 64;
    struct missing *more = realloc (l->missing, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    l->missing = more;
    l->cap = cap;
  }
  struct missing *m = &l->missing[l->count++];
  *m = (struct missing){ .mtime = e->mtime, .size = e->size };
  snprintf (m->name, sizeof m->name, "%s", name);
  return 0;
}

static int
newest_first (const void *a, const void *b)
{
  const struct missing *x = a, *y = b;
  return x->mtime != y->mtime ? x->mtime < y->mtime ? 1 : -1 : strcmp (x->name, y->name);
}

static int
load_one (struct vault *v, struct sealer *s, const char *name)
{
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/index/%s", v->name, name);
  AUTO_BUF object, plain;
  buf_init (&object, unit_plain_max (UNIT_INDEX) + 4096);
  buf_init (&plain, unit_plain_max (UNIT_INDEX));
  int rc = blob_get_all (v->region->blob, key, &object);
  if (rc == 0)
    rc = object_header_check (object.data, object.len, MAGIC_INDEX);
  uint8_t id[ID_LEN];
  unit_id_index (name, id);
  if (rc == 0)
    rc = open_unit_buf (s, v->keys, UNIT_INDEX, id, object.data + OBJECT_HEADER_LEN,
                        object.len - OBJECT_HEADER_LEN, &plain);
  struct index_delta d = { 0 };
  if (rc >= 0)
    rc = index_delta_decode (plain.data, plain.len, &d);
  if (rc == 0)
    rc = index_load_delta (v->index, name, &d);
  index_delta_release (&d);
  return rc;
}

/* The next delta; false: no more, or the mount ends. */
static bool
load_next (struct index_loading *l)
{
  struct vault *v = l->vault;
  if (l->next == l->count)
    return false;
  const char *name = l->missing[l->next++].name;
  int rc = l->sealer ? load_one (v, l->sealer, name) : ERR_NOMEM;
  if (rc)
    log_warn ("an index delta cannot be used vault=%s object=%s err=\"%s\": more is stored than "
              "need be", v->name, name, err_str (rc));
  return rc != ERR_CANCELLED;
}

static int
seed_file (struct index_loading *l, uint64_t limit)
{
  struct vault *v = l->vault;
  AUTO (sealed_file) f = NULL;
  int rc = sealed_file_open (l->parent, l->row, 0, &f);
  while (rc == 0 && l->off < sealed_file_size (f) && l->seeded < limit) {
    struct mapped m;
    uint8_t pack[PACK_NAME_LEN];
    rc = sealed_file_get (f, l->off, 0, &m, pack);
    if (rc == 0 && (m.e.len == 0 || m.off + m.e.len <= l->off))
      rc = ERR_FORMAT;
    if (rc)
      break;
    l->off = m.off + m.e.len;
    l->seeded++;
    struct chunk_ref known;
    if (m.e.kind != EXTENT_DATA
        || index_find (v->index, UNIT_DATA, m.e.ref.id, m.e.ref.plain_len, &known))
      continue;
    rc = index_pack_intern (v->index, pack, &m.e.ref.pack);
    if (rc == 0)
      rc = index_add (v->index, UNIT_DATA, &m.e.ref);
  }
  bool is_over = rc || l->off >= sealed_file_size (f);
  l->row += is_over;
  l->off = is_over ? 0 : l->off;
  return rc;
}

/* Takes the next SEED_SLICE extents of the parent; false: no more. */
static bool
seed_slice (struct index_loading *l)
{
  uint64_t limit = l->seeded + SEED_SLICE;
  int rc = 0;
  AUTO_ROW view = { 0 };
  while (rc == 0 && l->parent && l->row < l->parent->rows && l->seeded < limit) {
    rc = sealed_row (l->parent, l->row, 0, &view);
    if (rc == 0 && view.row.attr.kind == NODE_FILE && view.row.attr.size)
      rc = seed_file (l, limit);
    else
      l->row++;
    l->seeded++; /* a row costs as much as an extent */
  }
  if (rc)
    log_warn ("the parent's extents cannot be read vault=%s snapshot=%s err=\"%s\": more is stored "
              "than need be", l->vault->name, l->parent->ts, err_str (rc));
  if (rc || (l->parent && l->row >= l->parent->rows))
    l->parent = NULL;
  return l->parent;
}

static void
loading_end (struct index_loading *l)
{
  struct vault *v = l->vault;
  index_maintain (v->index);
  lock_take (&v->lock);
  v->index_is_loading = false;
  lock_release (&v->lock);
  sealer_free (l->sealer);
  free (l->missing);
  free (l);
}

static bool
must_end (struct mount *m)
{
  LOCK_SCOPE (&m->lock);
  return m->is_stopping || m->is_cancelled;
}

static void
load_run (struct pool_job *job)
{
  struct index_loading *l = (struct index_loading *) job;
  struct mount *m = l->vault->region->mount;
  if (!must_end (m) && (l->parent ? seed_slice (l) || l->next < l->count : load_next (l)))
    pool_submit (m->askers, job); /* behind whatever waits */
  else
    loading_end (l);
}

int
vault_load_index (struct vault *v, struct index_loading **rest)
{
  int64_t begun = clock_now ();
  lock_take (&v->lock);
  bool is_fresh = v->index_listed && !v->has_news
    && begun - v->index_listed < v->region->mount->opts.refresh_ns;
  bool is_busy = v->index_is_loading || is_fresh;
  bool had_news = v->has_news;
  v->index_is_loading |= !is_busy;
  if (!is_busy)
    v->has_news = false; /* what comes from now on may be too late for the listing */
  lock_release (&v->lock);
  *rest = NULL;
  if (is_busy)
    return 0;
  struct index_loading *l = calloc (1, sizeof *l);
  if (!l) {
    LOCK_SCOPE (&v->lock);
    v->index_is_loading = false;
    v->has_news |= had_news;
    return ERR_NOMEM;
  }
  l->vault = v;
  l->job.run = load_run;
  char prefix[BLOB_KEY_MAX];
  l->skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/index/", v->name);
  int rc = blob_list (v->region->blob, prefix, "", false, add, l);
  if (rc == 0) {
    LOCK_SCOPE (&v->lock);
    v->index_listed = begun;
  }
  if (rc == 0 && l->count)
    rc = sealer_new (&l->sealer);
  if (rc)
    log_warn ("the dedup index is not up to date vault=%s err=\"%s\": more is stored than need be",
              v->name, err_str (rc));
  if (l->count)
    qsort (l->missing, l->count, sizeof *l->missing, newest_first);
  uint64_t bytes = 0;
  for (size_t i = 0; i < l->count; i++)
    bytes += l->missing[i].size;
  bool is_little = l->count <= AT_ONCE_COUNT && bytes <= AT_ONCE_BYTES;
  while (rc == 0 && is_little && load_next (l))
    ;
  if (rc == 0 && l->next < l->count && !is_little) {
    log_info ("loading the dedup index in the background vault=%s objects=%zu", v->name,
              l->count - l->next);
    *rest = l;
  } else
    loading_end (l);
  return rc;
}

void
vault_seed_index (struct index_loading *l, struct sealed *parent)
{
  if (!l)
    return;
  l->parent = parent;
  if (parent)
    (void) seed_slice (l); /* the first before the first chunk */
}

void
vault_load_rest (struct index_loading *l)
{
  if (l)
    pool_submit (l->vault->region->mount->askers, &l->job);
}
