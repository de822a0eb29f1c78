/* SPDX-License-Identifier: Apache-2.0 */
/* Links: a second name in one open snapshot, or a new node that refers to a sealed one's chunks. */
#define LOG_MODULE "mount"
#include <string.h>

#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/where.h"

static int
copy_extents (struct snap *s, struct inode *i, struct sealed_file *f, unsigned flags)
{
  uint64_t size = sealed_file_size (f);
  int rc = 0;
  for (uint64_t off = 0; rc == 0 && off < size;) {
    struct mapped x;
    uint8_t pack[PACK_NAME_LEN];
    rc = sealed_file_get (f, off, flags, &x, pack);
    if (rc)
      break;
    if (x.e.len > size - off)
      x.e.len = size - off;
    if (x.e.kind == EXTENT_DATA)
      rc = index_pack_intern (s->vault->index, pack, &x.e.ref.pack);
    if (rc == 0 && x.e.kind != EXTENT_HOLE) {
      LOCK_SCOPE (&s->tree->lock);
      rc = extmap_set (&i->map, off, &x.e);
    }
    off += x.e.len;
  }
  LOCK_SCOPE (&s->tree->lock);
  i->a.size = size;
  inode_touch_locked (i);
  return rc;
}

/* A name in S for what is sealed elsewhere in the vault: a node of its own that refers to the same
 * chunks. */
static int
link_sealed (struct where *from, struct where *to, const char *name, unsigned flags,
             struct inode **out)
{
  struct snap *s = to->snap;
  if (from->vault != s->vault)
    return ERR_XDEV;
  if (!snap_has_pinned (s, from->sealed)) {
    if (flags & MOUNT_NOWAIT)
      return ERR_WOULDBLOCK;
    int rc = snap_wait_begun (s);
    if (rc == 0 && !snap_has_pinned (s, from->sealed))
      rc = snap_pin_tree (s, from->sealed);
    if (rc)
      return rc;
  }
  AUTO_ROW v = { 0 };
  int rc = sealed_row (from->sealed, from->row, flags, &v);
  if (rc)
    return rc;
  if (v.row.attr.kind == NODE_DIR)
    return ERR_PERM;
  AUTO (sealed_file) f = NULL;
  if (v.row.attr.kind == NODE_FILE) {
    rc = sealed_file_open (from->sealed, from->row, flags, &f);
    struct mapped probe;
    uint8_t pack[PACK_NAME_LEN];
    /* External extents may have to be fetched: find out before anything is made. */
    if (rc == 0 && sealed_file_size (f) && (flags & MOUNT_NOWAIT))
      rc = v.row.attr.is_external ? ERR_WOULDBLOCK : sealed_file_get (f, 0, flags, &probe, pack);
    if (rc)
      return rc;
  }
  struct node_attr a = v.row.attr;
  a.nlink = 1;
  a.size = a.kind == NODE_SYMLINK ? a.size : 0;
  a.is_external = false;
  a.ext_count = 0;
  rc = worktree_make (s->tree, to->ino, name, &a, out);
  if (rc == 0 && f)
    rc = copy_extents (s, *out, f, flags);
  if (rc && *out) {
    worktree_put (STEAL (*out));
    (void) !worktree_unlink (s->tree, to->ino, name);
  }
  return rc;
}

int
mount_link (struct mount *m, uint64_t node, uint64_t new_parent, const char *new_name,
            unsigned flags,
            struct node_stat *out)
{
  AUTO_WHERE from = { .place = AT_ROOT }, to = { .place = AT_ROOT };
  int rc = where_is (m, node, &from);
  if (rc == 0)
    rc = where_is (m, new_parent, &to);
  if (rc)
    return rc;
  if (to.place != AT_OPEN)
    return to.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  rc = snap_may_change (to.snap);
  if (rc)
    return rc;
  AUTO_INODE i = NULL;
  if (from.place == AT_SEALED)
    rc = link_sealed (&from, &to, new_name, flags, &i);
  else if (from.place == AT_OPEN && from.snap == to.snap) {
    rc = worktree_link (to.snap->tree, from.ino, to.ino, new_name);
    if (rc == 0)
      rc = worktree_get (to.snap->tree, from.ino, &i);
  } else
    rc = ERR_XDEV;
  if (rc)
    return rc;
  inode_stat (i, out);
  out->node = node_of_open (to.snap, i->ino);
  snap_ref (to.snap);
  return 0;
}
