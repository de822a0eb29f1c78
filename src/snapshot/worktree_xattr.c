/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of open nodes, kept encoded as the tree stores them: varint count, then
 * name/value. */
#include <string.h>

#include "snapshot/worktree.h"

static struct rd
xattrs_of (const struct inode *i)
{
  struct rd r = rd_of (i->xattrs ? (const void *) i->xattrs : "\0",
                       i->xattrs ? i->a.xattrs_len : 1);
  (void) rd_varint (&r);
  return r;
}

/* Rebuilds the list without NAME and, if VALUE, with it at the end.  *found: NAME was there. */
static int
rebuild (struct inode *i, const char *name, const void *value, size_t n, bool *found)
{
  size_t name_len = strlen (name);
  AUTO_BUF items, all;
  buf_init (&items, TREE_XATTRS_MAX + 512);
  buf_init (&all, TREE_XATTRS_MAX + 512);
  uint64_t count = 0;
  *found = false;
  struct rd r = xattrs_of (i);
  const uint8_t *k, *v;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &v, &vlen)) {
    if (klen == name_len && memcmp (k, name, klen) == 0) {
      *found = true;
      continue;
    }
    buf_put_bytes (&items, k, klen);
    buf_put_bytes (&items, v, vlen);
    count++;
  }
  if (value) {
    buf_put_bytes (&items, name, name_len);
    buf_put_bytes (&items, value, n);
    count++;
  }
  buf_put_varint (&all, count);
  buf_put (&all, items.data, items.len);
  if (items.error || all.error || all.len > TREE_XATTRS_MAX)
    return items.error == ERR_NOMEM || all.error == ERR_NOMEM ? ERR_NOMEM : ERR_FULL;
  free (i->xattrs);
  i->xattrs = count ? STEAL (all.data) : NULL;
  i->a.xattrs = i->xattrs;
  i->a.xattrs_len = count ? all.len : 0;
  all.len = all.cap = 0;
  i->ctime = time_now ();
  inode_touch_locked (i);
  return 0;
}

static bool
has (const struct inode *i, const char *name)
{
  struct rd r = xattrs_of (i);
  const uint8_t *k, *v;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &v, &vlen))
    if (klen == strlen (name) && memcmp (k, name, klen) == 0)
      return true;
  return false;
}

int
worktree_setxattrs (struct inode *i, const char *name, const void *value, size_t n, unsigned flags)
{
  LOCK_SCOPE (&i->tree->lock);
  bool is_there = has (i, name);
  if ((flags & XATTR_FLAG_CREATE) && is_there)
    return ERR_EXISTS;
  if ((flags & XATTR_FLAG_REPLACE) && !is_there)
    return ERR_NODATA;
  return rebuild (i, name, value ? value : "", n, &is_there);
}

int
worktree_removexattr (struct inode *i, const char *name)
{
  LOCK_SCOPE (&i->tree->lock);
  bool found = has (i, name);
  if (!found)
    return ERR_NODATA;
  return rebuild (i, name, NULL, 0, &found);
}

int
inode_getxattr (struct inode *i, const char *name, struct buf *out)
{
  LOCK_SCOPE (&i->tree->lock);
  struct rd r = xattrs_of (i);
  const uint8_t *k, *v;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &v, &vlen))
    if (klen == strlen (name) && memcmp (k, name, klen) == 0) {
      buf_put (out, v, vlen);
      return buf_error (out);
    }
  return ERR_NODATA;
}

int
inode_listxattr (struct inode *i, struct buf *out)
{
  LOCK_SCOPE (&i->tree->lock);
  struct rd r = xattrs_of (i);
  const uint8_t *k, *v;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &v, &vlen)) {
    buf_put (out, k, klen);
    buf_put_u8 (out, 0);
  }
  return buf_error (out);
}
