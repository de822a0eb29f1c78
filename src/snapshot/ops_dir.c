/* SPDX-License-Identifier: Apache-2.0 */
/* Listings.  Cookies: position + 1 in virtual and sealed directories; a running number in open
 * ones, where the listing goes on after the last name given, so that removal meanwhile (rm -r)
 * skips nothing. */
#define LOG_MODULE "mount"
#include <stdio.h>
#include <string.h>

#include "snapshot/file.h"
#include "snapshot/where.h"

#define STEP 256

struct dir {
  struct where w;
  /* open trees */
  uint64_t next;            /* cookie of the next entry in `list` */
  uint8_t after[TREE_NAME_MAX];
  size_t after_len;
  struct buf list;          /* entries fetched, from `at` on not given yet */
  size_t at;
  bool is_end;
};

int
mount_opendir (struct mount *m, uint64_t node, unsigned flags, struct dir **out)
{
  struct dir *d = calloc (1, sizeof *d);
  if (!d)
    return ERR_NOMEM;
  buf_init (&d->list, 1 << 20);
  int rc = where_is (m, node, &d->w);
  if (rc == 0 && d->w.place == AT_REGION)
    rc = region_list (d->w.region, flags);
  if (rc == 0 && d->w.place == AT_VAULT)
    rc = vault_list (d->w.vault, flags);
  if (rc == 0 && d->w.place == AT_LATEST)
    rc = ERR_NOTDIR;
  if (rc) {
    mount_closedir (m, d);
    return rc;
  }
  *out = d;
  return 0;
}

void
mount_closedir (struct mount *m, struct dir *d)
{
  (void) m;
  if (!d)
    return;
  where_release (&d->w);
  buf_release (&d->list);
  free (d);
}

static int
read_root (struct mount *m, uint64_t cookie, dir_fn fn, void *ctx)
{
  for (uint64_t i = cookie; i < m->region_count; i++) {
    struct node_stat st;
    dir_stat (m, node_of_region (m->regions[i]), &st);
    if (!fn (ctx, m->regions[i]->name, NODE_DIR, &st, i + 1))
      break;
  }
  return 0;
}

static int
read_region (struct mount *m, struct region *r, uint64_t cookie, dir_fn fn, void *ctx)
{
  for (uint64_t i = cookie;; i++) {
    lock_take (&m->lock);
    struct vault *v = i < r->vault_count ? r->vaults[i] : NULL;
    lock_release (&m->lock);
    if (!v)
      return 0;
    struct node_stat st;
    dir_stat (m, node_of_vault (v, false), &st);
    if (v->known_since && !fn (ctx, v->name, NODE_DIR, vault_open (v) == 0 ? &st : NULL, i + 1))
      return 0;
  }
}

/* Position 0 is `latest`, then the open ones by number, then the sealed ones. */
static int
read_vault (struct mount *m, struct vault *v, uint64_t cookie, dir_fn fn, void *ctx)
{
  struct catalog_entry e;
  if (cookie == 0) {
    if (vault_latest (v, MOUNT_NOWAIT, &e) == 0 && !fn (ctx, "latest", NODE_SYMLINK, NULL, 1))
      return 0;
    cookie = 1;
  }
  const uint64_t sealed_base = 1ull << 32;
  while (cookie < sealed_base) {
    lock_take (&m->lock);
    uint64_t i = cookie - 1;
    bool is_end = i >= m->snap_count;
    struct snap *s = is_end ? NULL : m->snaps[i];
    bool is_shown = s && s->vault == v && !s->is_joiner
      && (s->life == LIFE_OPEN || s->life == LIFE_SEALING);
    char name[128] = "";
    if (is_shown)
      snprintf (name, sizeof name, "%s%s", s->name.ts, s->is_direct ? "" : ".partial");
    lock_release (&m->lock);
    if (is_end)
      break;
    cookie++;
    if (is_shown && !fn (ctx, name, NODE_DIR, NULL, cookie))
      return 0;
  }
  for (uint64_t i = cookie < sealed_base ? 0 : cookie - sealed_base;; i++) {
    lock_take (&v->lock);
    bool is_end = i >= v->entry_count;
    if (!is_end)
      e = v->entries[i];
    lock_release (&v->lock);
    if (is_end || !fn (ctx, e.ts, NODE_DIR, NULL, sealed_base + i + 1))
      return 0;
  }
}

static int
read_sealed (struct dir *d, uint64_t cookie, bool with_stat, unsigned flags, dir_fn fn, void *ctx)
{
  struct sealed *t = d->w.sealed;
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, d->w.row, flags, &v);
  if (rc)
    return rc;
  if (v.row.attr.kind != NODE_DIR)
    return ERR_NOTDIR;
  uint64_t first = (uint64_t) ((int64_t) d->w.row + v.row.attr.child_delta),
    n = v.row.attr.child_count;
  bool given = false;
  for (uint64_t i = cookie; i < n; i++) {
    rc = sealed_row (t, first + i, flags, &v);
    if (rc)
      return given ? 0 : rc; /* what was given stands; the next call tells */
    char name[TREE_NAME_MAX + 1];
    memcpy (name, v.row.name, v.row.name_len);
    name[v.row.name_len] = 0;
    struct node_stat st;
    uint64_t target = first + i;
    int kind = v.row.attr.kind;
    if (with_stat || kind == NODE_HARDLINK) {
      rc = sealed_stat_view (t, &v, flags, &st, &target);
      if (rc)
        return given ? 0 : rc;
      st.node = node_of_sealed (t->no, target, st.has_xattrs);
      kind = st.attr.kind;
    }
    if (!fn (ctx, name, (enum node_kind) kind, with_stat ? &st : NULL, i + 1))
      return 0;
    given = true;
  }
  return 0;
}

/* Goes back to the start and skips, when somebody seeks. */
static int
seek_open (struct dir *d, uint64_t cookie)
{
  if (cookie == d->next)
    return 0;
  d->next = 0;
  d->after_len = 0;
  d->at = 0;
  d->is_end = false;
  buf_reset (&d->list);
  return 0;
}

static int
next_open (struct dir *d, uint64_t *ino, int *kind, char *name, size_t *before)
{
  if (d->at == d->list.len) {
    buf_reset (&d->list);
    d->at = 0;
    int rc = d->is_end ? 0
                       : worktree_list (d->w.snap->tree, d->w.ino, d->after, d->after_len, STEP,
                                        &d->list);
    if (rc)
      return rc;
    if (d->list.len == 0) {
      d->is_end = true;
      return 0;
    }
  }
  *before = d->at;
  struct rd r = rd_of (d->list.data + d->at, d->list.len - d->at);
  *ino = rd_u64 (&r);
  *kind = rd_u8 (&r);
  size_t n;
  const uint8_t *p = rd_bytes (&r, TREE_NAME_MAX, &n);
  if (r.failed)
    return ERR_STATE;
  memcpy (name, p, n);
  name[n] = 0;
  memcpy (d->after, p, n);
  d->after_len = n;
  d->at = d->list.len - rd_left (&r);
  return 1;
}

static int
read_open (struct dir *d, uint64_t cookie, bool with_stat, dir_fn fn, void *ctx)
{
  int rc = seek_open (d, cookie);
  while (rc == 0) {
    uint64_t ino = 0;
    int kind = 0;
    char name[TREE_NAME_MAX + 1];
    size_t before = 0;
    int more = next_open (d, &ino, &kind, name, &before);
    if (more <= 0)
      return more;
    if (d->next++ < cookie)
      continue;
    struct node_stat st;
    bool has_stat = with_stat && open_stat (d->w.snap, ino, &st) == 0;
    if (has_stat)
      snap_ref (d->w.snap);
    if (!fn (ctx, name, (enum node_kind) kind, has_stat ? &st : NULL, d->next)) {
      if (has_stat)
        d->w.snap->tree->refs--;
      d->next--; /* not taken: first of the next call */
      d->at = before;
      return 0;
    }
  }
  return rc;
}

int
mount_readdir (struct mount *m, struct dir *d, uint64_t cookie, bool with_stat, unsigned flags,
               dir_fn fn,
               void *ctx)
{
  switch (d->w.place) {
  case AT_ROOT:
    return read_root (m, cookie, fn, ctx);
  case AT_REGION:
    return read_region (m, d->w.region, cookie, fn, ctx);
  case AT_VAULT:
    return read_vault (m, d->w.vault, cookie, fn, ctx);
  case AT_SEALED:
    return read_sealed (d, cookie, with_stat, flags, fn, ctx);
  case AT_OPEN:
    return read_open (d, cookie, with_stat, fn, ctx);
  default:
    return ERR_NOTDIR;
  }
}
