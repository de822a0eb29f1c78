/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of one working tree copied into another as they lie in the database.  Of two trees' locks
 * never more than one is held. */
#define LOG_MODULE "worktree"
#include "snapshot/worktree.h"

#define COPY_MAX (1u << 20) /* a node's row, or a segment's */

int
worktree_flush (struct worktree *t)
{
  LOCK_SCOPE (&t->lock);
  int rc = t->error;
  for (size_t b = 0; rc == 0 && b < t->hash_size; b++)
    for (struct inode *i = t->hash[b]; rc == 0 && i; i = i->hash_next)
      if (i->is_dirty && !i->is_removed)
        rc = inode_write_locked (i);
  return rc;
}

static int
note_segment (void *ctx, uint64_t start, uint32_t count)
{
  struct buf *list = ctx;
  buf_put_u64 (list, start);
  buf_put_u32 (list, count);
  return buf_error (list);
}

static int
copy_segment (struct worktree *from, uint64_t ino, struct worktree *to, uint64_t as,
              const uint8_t *entry, struct buf *data)
{
  uint64_t start = get_le64 (entry);
  buf_reset (data);
  lock_take (&from->lock);
  int rc = wtdb_seg_load (from->db, ino, start, data);
  lock_release (&from->lock);
  if (rc)
    return rc == ERR_NOENT ? ERR_IO : rc;
  LOCK_SCOPE (&to->lock);
  return wtdb_seg_save (to->db, as, start, get_le32 (entry + 8), data->data, data->len);
}

int
worktree_copy_node (struct worktree *from, uint64_t ino, struct worktree *to, uint64_t as)
{
  AUTO_BUF data, list;
  buf_init (&data, COPY_MAX);
  buf_init (&list, 64u << 20); /* 12 bytes for 256 extents */
  lock_take (&to->lock);
  int rc = wtdb_node_get (to->db, as, &data);
  lock_release (&to->lock);
  if (rc != ERR_NOENT)
    return rc;
  lock_take (&from->lock);
  rc = wtdb_node_get (from->db, ino, &data);
  if (rc == 0)
    rc = wtdb_segs (from->db, ino, note_segment, &list);
  lock_release (&from->lock);
  if (rc)
    return rc == ERR_NOENT ? ERR_IO : rc;
  lock_take (&to->lock);
  rc = wtdb_node_put (to->db, as, data.data, data.len);
  if (as >= to->next_ino)
    to->next_ino = as + 1;
  lock_release (&to->lock);
  for (size_t at = 0; rc == 0 && at < list.len; at += 12)
    rc = copy_segment (from, ino, to, as, list.data + at, &data);
  return rc;
}

int
worktree_copy_name (struct worktree *to, uint64_t dir, const void *name, size_t n, uint64_t ino,
                    int kind, bool is_new_in_old)
{
  LOCK_SCOPE (&to->lock);
  int rc = wtdb_name_put (to->db, dir, name, n, ino, kind);
  if (rc || !is_new_in_old || kind != NODE_DIR)
    return rc;
  struct inode *i;
  rc = inode_get_locked (to, dir, &i);
  if (rc)
    return rc == ERR_NOENT ? ERR_IO : rc;
  i->subdirs++;
  i->is_dirty = true;
  inode_put_locked (i);
  return 0;
}
