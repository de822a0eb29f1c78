/* SPDX-License-Identifier: Apache-2.0 */
/* Names above and inside snapshots: lookup, attributes, making, removing, renaming, linking. */
#define LOG_MODULE "mount"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/where.h"

int
where_is (struct mount *m, uint64_t node, struct where *w)
{
  memset (w, 0, sizeof *w);
  if (node == NODE_ROOT) {
    w->place = AT_ROOT;
    return 0;
  }
  LOCK_SCOPE (&m->lock);
  enum node_top top = node_top (node);
  if (top == TOP_VAULT || top == TOP_LATEST) {
    unsigned r = (unsigned) (node >> 32) & 0xffff;
    uint32_t v = (uint32_t) node;
    if (r >= m->region_count || v > m->regions[r]->vault_count)
      return ERR_STALE;
    w->region = m->regions[r];
    w->place = v == 0 ? AT_REGION : top == TOP_LATEST ? AT_LATEST : AT_VAULT;
    w->vault = v ? w->region->vaults[v - 1] : NULL;
    return 0;
  }
  uint32_t no = node_number (node);
  if (top == TOP_SEALED && no < m->sealed_count) {
    w->place = AT_SEALED;
    w->sealed = m->sealed[no];
    w->vault = w->sealed->vault;
    w->region = w->vault->region;
    w->row = node_low (node) & ~NODE_BARE;
    return 0;
  }
  if (top == TOP_OPEN && no < m->snap_count && m->snaps[no] && m->snaps[no]->life != LIFE_GONE) {
    w->place = AT_OPEN;
    w->snap = m->snaps[no];
    w->snap->users++;
    w->vault = w->snap->vault;
    w->region = w->vault->region;
    w->ino = node_low (node);
    return 0;
  }
  return ERR_STALE;
}

void
where_release (struct where *w)
{
  if (w->snap)
    w->snap->users--;
  w->snap = NULL;
}

int
snap_may_change (struct snap *s)
{
  LOCK_SCOPE (&s->lock);
  return s->life == LIFE_OPEN && !s->is_finished ? 0 : ERR_ROFS;
}

void
snap_ref (struct snap *s)
{
  s->tree->refs++;
}

void
mount_forget (struct mount *m, uint64_t node, uint64_t nlookup)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  if (node_top (node) == TOP_OPEN && where_is (m, node, &w) == 0)
    w.snap->tree->refs -= (int64_t) nlookup;
}

void
dir_stat (struct mount *m, uint64_t node, struct node_stat *out)
{
  memset (out, 0, sizeof *out);
  struct node_time t = { .sec = m->started / NS_PER_S };
  out->node = node;
  /* Whoever mounted makes databases and snapshots, root or not. */
  out->attr = (struct node_attr){ .kind = NODE_DIR, .mode = 0755, .nlink = 2, .size = 4096,
                                  .uid = geteuid (), .gid = getegid (), .mtime = t, .atime = t };
  out->ctime = t;
  out->is_volatile = true;
}

int
open_stat (struct snap *s, uint64_t ino, struct node_stat *out)
{
  AUTO_INODE i = NULL;
  int rc = worktree_get (s->tree, ino, &i);
  if (rc)
    return rc == ERR_NOENT ? ERR_STALE : rc;
  inode_stat (i, out);
  out->node = node_of_open (s, ino);
  return 0;
}

static int
latest_stat (struct vault *v, unsigned flags, struct node_stat *out)
{
  struct catalog_entry e;
  int rc = vault_latest (v, flags, &e);
  if (rc)
    return rc;
  dir_stat (v->region->mount, node_of_vault (v, true), out);
  out->attr.kind = NODE_SYMLINK;
  out->attr.mode = 0777;
  out->attr.nlink = 1;
  out->attr.size = strlen (e.ts);
  return 0;
}

static int
sealed_node_stat (struct sealed *t, uint64_t row, unsigned flags, struct node_stat *out)
{
  uint64_t target;
  int rc = sealed_stat (t, row, flags, out, &target);
  out->node = rc ? 0 : node_of_sealed (t->no, target, out->has_xattrs);
  return rc;
}

static int
lookup_snapshot (struct vault *v, const char *name, unsigned flags, struct node_stat *out)
{
  if (strcmp (name, "latest") == 0)
    return latest_stat (v, flags, out);
  struct snapshot_name n;
  if (snapshot_name_parse (name, &n) != 0)
    return ERR_NOENT;
  struct snap *s = snap_find (v, n.ts);
  if (s && s->life != LIFE_SEALED && s->is_direct == !n.is_partial) {
    int rc = open_stat (s, WORKTREE_ROOT, out);
    if (rc == 0)
      snap_ref (s);
    return rc;
  }
  if (n.is_partial)
    return ERR_NOENT; /* only this host's own are shown (ruling 24) */
  struct sealed *t;
  int rc = vault_tree (v, n.ts, flags, &t);
  return rc ? rc : sealed_node_stat (t, 0, flags, out);
}

static int
lookup_vault (struct region *r, const char *name, unsigned flags, struct node_stat *out)
{
  if (!vault_name_is_valid (name))
    return ERR_NOENT;
  struct vault *v;
  int rc = region_ask (r, name, flags, &v);
  if (rc)
    return rc;
  rc = vault_open (v);
  dir_stat (r->mount, node_of_vault (v, false), out);
  return rc;
}

int
mount_lookup (struct mount *m, uint64_t parent, const char *name, unsigned flags,
              struct node_stat *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, parent, &w);
  if (rc)
    return rc;
  uint64_t id;
  switch (w.place) {
  case AT_ROOT:
    for (size_t i = 0; i < m->region_count; i++)
      if (strcmp (m->regions[i]->name, name) == 0) {
        dir_stat (m, node_of_region (m->regions[i]), out);
        return 0;
      }
    return ERR_NOENT;
  case AT_REGION:
    return lookup_vault (w.region, name, flags, out);
  case AT_VAULT:
    return lookup_snapshot (w.vault, name, flags, out);
  case AT_SEALED:
    rc = sealed_lookup (w.sealed, w.row, name, strlen (name), flags, &id);
    return rc ? rc : sealed_node_stat (w.sealed, id, flags, out);
  case AT_OPEN:
    rc = worktree_lookup (w.snap->tree, w.ino, name, out, &id);
    if (rc)
      return rc;
    out->node = node_of_open (w.snap, id);
    snap_ref (w.snap);
    return 0;
  default:
    return ERR_NOTDIR;
  }
}

int
mount_getattr (struct mount *m, uint64_t node, unsigned flags, struct node_stat *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  switch (w.place) {
  case AT_LATEST:
    return latest_stat (w.vault, flags, out);
  case AT_SEALED:
    return sealed_node_stat (w.sealed, w.row, flags, out);
  case AT_OPEN:
    return open_stat (w.snap, w.ino, out);
  default:
    dir_stat (m, node, out);
    return 0;
  }
}

/* The newest full one: what a candidate is, only its manifest says. */
static int
latest_name (struct vault *v, unsigned flags, struct buf *out)
{
  for (;;) {
    struct catalog_entry e;
    int rc = vault_latest (v, flags, &e);
    struct sealed *t = e.tree;
    if (rc == 0 && !t)
      rc = vault_tree (v, e.ts, flags, &t);
    if (rc)
      return rc;
    if (!t->is_not_latest) {
      buf_put (out, e.ts, strlen (e.ts));
      return buf_error (out);
    }
    struct catalog_entry again;
    if (vault_latest (v, flags, &again) != 0 || strcmp (again.ts, e.ts) == 0)
      return ERR_NOENT;
  }
}

int
mount_readlink (struct mount *m, uint64_t node, unsigned flags, struct buf *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  buf_reset (out);
  if (w.place == AT_LATEST)
    return latest_name (w.vault, flags, out);
  if (w.place == AT_SEALED) {
    AUTO_ROW v = { 0 };
    rc = sealed_row (w.sealed, w.row, flags, &v);
    if (rc == 0 && v.row.attr.kind != NODE_SYMLINK)
      rc = ERR_INVALID;
    if (rc == 0)
      buf_put (out, v.row.attr.symlink, v.row.attr.size);
    return rc ? rc : buf_error (out);
  }
  if (w.place != AT_OPEN)
    return ERR_INVALID;
  AUTO_INODE i = NULL;
  rc = worktree_get (w.snap->tree, w.ino, &i);
  if (rc)
    return rc;
  LOCK_SCOPE (&w.snap->tree->lock);
  if (i->a.kind != NODE_SYMLINK)
    return ERR_INVALID;
  buf_put (out, i->symlink, i->a.size);
  return buf_error (out);
}

static void
set_times (struct inode *i, unsigned mask, const struct node_stat *in)
{
  struct node_time now = time_now ();
  if (mask & (SETATTR_ATIME | SETATTR_ATIME_NOW))
    i->a.atime = mask & SETATTR_ATIME_NOW ? now : in->attr.atime;
  if (mask & (SETATTR_MTIME | SETATTR_MTIME_NOW))
    i->a.mtime = mask & SETATTR_MTIME_NOW ? now : in->attr.mtime;
  i->ctime = now;
}

int
mount_setattr (struct mount *m, uint64_t node, struct file *file, unsigned mask,
               const struct node_stat *in,
               unsigned flags, struct node_stat *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  rc = snap_may_change (w.snap);
  AUTO_INODE i = NULL;
  if (rc == 0)
    rc = worktree_get (w.snap->tree, w.ino, &i);
  if (rc == 0 && (mask & SETATTR_SIZE)) {
    if (i->a.kind != NODE_FILE)
      return i->a.kind == NODE_DIR ? ERR_ISDIR : ERR_INVALID;
    rc = filedata_truncate (w.snap, i, in->attr.size);
  }
  if (rc)
    return rc;
  lock_take (&w.snap->tree->lock);
  if (mask & SETATTR_UID)
    i->a.uid = in->attr.uid;
  if (mask & SETATTR_GID)
    i->a.gid = in->attr.gid;
  if (mask & SETATTR_MODE)
    i->a.mode = in->attr.mode & 07777;
  else if ((mask & SETATTR_KILL_SUIDGID) && i->a.kind == NODE_FILE)
    i->a.mode &= (uint16_t) ~(04000 | (i->a.mode & 010 ? 02000 : 0));
  set_times (i, mask, in);
  inode_touch_locked (i);
  inode_stat_locked (i, out);
  lock_release (&w.snap->tree->lock);
  out->node = node;
  return 0;
}

static int
make_snapshot (struct vault *v, const struct cred *who, const char *name,
               const struct mknod_args *args,
               unsigned flags, struct node_stat *out)
{
  struct snapshot_name n;
  if (snapshot_name_parse (name, &n) != 0) {
    log_err ("refused a name region=%s vault=%s name=\"%s\": a snapshot is called by %s",
             v->region->name, v->name,
             name, snapshot_name_help ());
    return ERR_INVALID;
  }
  struct snap *old = snap_find (v, n.ts);
  if (old && old->life != LIFE_SEALED)
    return ERR_EXISTS;
  struct catalog_entry e;
  int rc = old ? 0 : vault_find (v, n.ts, flags, &e);
  if (rc != ERR_NOENT)
    return rc ? rc : ERR_EXISTS;
  struct snap *s;
  rc = snap_begin (v, &n, who, args->mode, &s);
  if (rc == 0)
    rc = open_stat (s, WORKTREE_ROOT, out);
  if (rc == 0)
    snap_ref (s);
  return rc;
}

static int
make_vault (struct region *r, const char *name, unsigned flags, struct node_stat *out)
{
  if (!vault_name_is_valid (name)) {
    log_err ("refused a name region=%s name=\"%s\": a database is called by "
             "[a-z0-9][a-z0-9._-]{0,62}", r->name, name);
    return ERR_INVALID;
  }
  struct vault *v;
  int rc = region_ask (r, name, flags, &v);
  if (rc != ERR_NOENT)
    return rc ? rc : ERR_EXISTS;
  rc = vault_intern (r, name, &v);
  if (rc)
    return rc;
  rc = vault_open (v);
  if (rc)
    return rc;
  vault_know (v, clock_wall ());
  v->is_unmarked = true;
  mount_kick (r->mount);
  dir_stat (r->mount, node_of_vault (v, false), out);
  return 0;
}

int
make_open_node (struct where *w, const struct cred *who, const char *name,
                const struct mknod_args *args,
                struct inode **out)
{
  int rc = snap_may_change (w->snap);
  if (rc)
    return rc;
  struct node_attr a = node_attr_of (args->kind, (uint16_t) (args->mode & 07777), who->uid,
                                     who->gid);
  AUTO_INODE parent = NULL;
  rc = worktree_get (w->snap->tree, w->ino, &parent);
  if (rc)
    return rc;
  lock_take (&w->snap->tree->lock);
  if (parent->a.mode & 02000) { /* a setgid directory hands its group on */
    a.gid = parent->a.gid;
    a.mode |= args->kind == NODE_DIR ? 02000 : 0;
  }
  lock_release (&w->snap->tree->lock);
  if (args->kind == NODE_SYMLINK) {
    a.symlink = (const uint8_t *) args->symlink;
    a.size = strlen (args->symlink);
    if (a.size == 0 || a.size > TREE_SYMLINK_MAX)
      return a.size ? ERR_NAMETOOLONG : ERR_NOENT;
  }
  a.major = args->major;
  a.minor = args->minor;
  return worktree_make (w->snap->tree, w->ino, name, &a, out);
}

int
mount_mknod (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
             const struct mknod_args *args, unsigned flags, struct node_stat *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, parent, &w);
  if (rc)
    return rc;
  bool is_dir = args->kind == NODE_DIR;
  if (w.place == AT_VAULT)
    return is_dir ? make_snapshot (w.vault, who, name, args, flags, out) : ERR_PERM;
  if (w.place == AT_REGION)
    return is_dir ? make_vault (w.region, name, flags, out) : ERR_PERM;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  AUTO_INODE i = NULL;
  rc = make_open_node (&w, who, name, args, &i);
  if (rc)
    return rc;
  inode_stat (i, out);
  out->node = node_of_open (w.snap, i->ino);
  snap_ref (w.snap);
  return 0;
}

int
mount_unlink (struct mount *m, uint64_t parent, const char *name, unsigned flags)
{
  (void) flags;
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, parent, &w);
  if (rc)
    return rc;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  rc = snap_may_change (w.snap);
  return rc ? rc : worktree_unlink (w.snap->tree, w.ino, name);
}

static int
remove_snapshot (struct vault *v, const char *name, unsigned flags)
{
  struct snapshot_name n;
  if (snapshot_name_parse (name, &n) != 0)
    return ERR_NOENT;
  struct snap *s = snap_find (v, n.ts);
  if (!s || s->life == LIFE_SEALED || s->is_direct == n.is_partial)
    return n.is_partial ? ERR_NOENT : ERR_ROFS;
  lock_take (&s->tree->lock);
  int empty = wtdb_dir_is_empty (s->tree->db, WORKTREE_ROOT);
  lock_release (&s->tree->lock);
  if (empty <= 0)
    return empty ? empty : ERR_NOTEMPTY;
  return flags & MOUNT_NOWAIT ? ERR_WOULDBLOCK : snap_remove (s);
}

int
mount_rmdir (struct mount *m, uint64_t parent, const char *name, unsigned flags)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, parent, &w);
  if (rc)
    return rc;
  if (w.place == AT_VAULT)
    return remove_snapshot (w.vault, name, flags);
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM; /* vaults and regions stay (ruling 23) */
  rc = snap_may_change (w.snap);
  return rc ? rc : worktree_rmdir (w.snap->tree, w.ino, name);
}

/* T.partial -> T or T-label: the commit (rulings 6, 12). */
static int
rename_snapshot (struct vault *v, const char *name, const char *new_name, unsigned flags)
{
  struct snapshot_name from, to;
  if (flags & RENAME_FLAG_EXCHANGE)
    return ERR_INVALID;
  if (snapshot_name_parse (name, &from) != 0 || snapshot_name_parse (new_name, &to) != 0
      || !from.is_partial
      || to.is_partial || from.instant != to.instant
      || (from.label[0] && strcmp (from.label, to.label) != 0)) {
    log_err ("refused a rename vault=%s from=\"%s\" to=\"%s\": a snapshot is sealed by mv "
             "T.partial T (or T-label)",
             v->name, name, new_name);
    return ERR_INVALID;
  }
  struct snap *s = snap_find (v, from.ts);
  if (!s || s->is_direct)
    return ERR_NOENT;
  /* Whether another host has sealed it the store is asked by the seal itself. */
  if ((s->life != LIFE_SEALED && vault_knows (v, to.ts))
      || (strcmp (from.ts, to.ts) != 0 && snap_find (v, to.ts)))
    return ERR_EXISTS;
  if (flags & MOUNT_NOWAIT)
    return ERR_WOULDBLOCK;
  lock_take (&s->lock);
  if (s->life == LIFE_OPEN) {
    s->final = to;
    s->final.label = s->final.ts + (to.label - to.ts);
  }
  lock_release (&s->lock);
  int rc = snap_seal_start (s, 0, "rename", NULL);
  return rc ? rc : snap_seal_wait (s, v->region->mount->opts.rename_wait_ns);
}

int
mount_rename (struct mount *m, uint64_t parent, const char *name, uint64_t new_parent,
              const char *new_name,
              unsigned flags)
{
  AUTO_WHERE from = { .place = AT_ROOT }, to = { .place = AT_ROOT };
  int rc = where_is (m, parent, &from);
  if (rc == 0)
    rc = where_is (m, new_parent, &to);
  if (rc)
    return rc;
  if (from.place == AT_VAULT && to.place == AT_VAULT && from.vault == to.vault)
    return rename_snapshot (from.vault, name, new_name, flags);
  if (from.place == AT_SEALED)
    return ERR_ROFS;
  if (from.place != AT_OPEN || (to.place != AT_OPEN && to.place != AT_SEALED))
    return ERR_INVALID;
  if (to.place == AT_SEALED)
    return ERR_ROFS;
  if (from.snap != to.snap)
    return ERR_XDEV;
  rc = snap_may_change (from.snap);
  return rc ? rc : worktree_rename (from.snap->tree, from.ino, name, to.ino, new_name, flags);
}
