/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "worktree"
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/worktree.h"

#define LINK_MAX_COUNT 65000 /* ext4's */

int
worktree_lookup (struct worktree *t, uint64_t dir, const char *name, struct node_stat *out,
                 uint64_t *ino)
{
  LOCK_SCOPE (&t->lock);
  int kind;
  int rc = wtdb_name_get (t->db, dir, name, strlen (name), ino, &kind);
  if (rc)
    return rc;
  struct inode *i;
  rc = inode_get_locked (t, *ino, &i);
  if (rc)
    return rc == ERR_NOENT ? ERR_IO : rc;
  inode_stat_locked (i, out);
  inode_put_locked (i);
  return 0;
}

static void
stamp (struct inode *dir, int subdirs_delta)
{
  dir->a.mtime = dir->ctime = time_now ();
  dir->subdirs = (uint32_t) ((int) dir->subdirs + subdirs_delta);
  inode_touch_locked (dir);
}

/* One name less for I. */
static void
drop_link (struct inode *i)
{
  i->ctime = time_now ();
  if (i->a.kind == NODE_DIR || i->a.nlink <= 1) {
    i->a.nlink = 0;
    i->is_removed = true;
  } else
    i->a.nlink--;
  inode_touch_locked (i);
}

static int
put_name (struct worktree *t, uint64_t dir, const char *name, uint64_t ino, int kind, bool is_half)
{
  int rc = wtdb_name_put (t->db, dir, name, strlen (name), ino, kind);
  if (rc == 0)
    log_name_locked (t, dir, name, strlen (name), ino, is_half);
  return rc;
}

static int
del_name (struct worktree *t, uint64_t dir, const char *name)
{
  int rc = wtdb_name_del (t->db, dir, name, strlen (name));
  if (rc == 0)
    log_name_locked (t, dir, name, strlen (name), 0, false);
  return rc;
}

static int
link_locked (struct worktree *t, struct inode *i, struct inode *parent, const char *name)
{
  uint64_t old;
  int kind;
  if (strlen (name) > TREE_NAME_MAX)
    return ERR_NAMETOOLONG;
  if (i->a.kind == NODE_DIR)
    return ERR_PERM;
  if (i->a.nlink >= LINK_MAX_COUNT)
    return ERR_MLINK;
  if (parent->is_removed)
    return ERR_NOENT;
  int rc = wtdb_name_get (t->db, parent->ino, name, strlen (name), &old, &kind);
  if (rc != ERR_NOENT)
    return rc ? rc : ERR_EXISTS;
  rc = put_name (t, parent->ino, name, i->ino, i->a.kind, false);
  if (rc)
    return rc;
  i->a.nlink++;
  i->is_removed = false;
  i->ctime = time_now ();
  inode_touch_locked (i);
  stamp (parent, 0);
  return 0;
}

int
worktree_link (struct worktree *t, uint64_t ino, uint64_t dir, const char *name)
{
  LOCK_SCOPE (&t->lock);
  struct inode *i, *parent;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc;
  rc = inode_get_locked (t, dir, &parent);
  if (rc == 0) {
    rc = link_locked (t, i, parent, name);
    inode_put_locked (parent);
  }
  inode_put_locked (i);
  return rc;
}

/* Removes DIR/NAME; WANT_DIR says which of unlink and rmdir it is. */
static int
remove_name (struct worktree *t, uint64_t dir, const char *name, bool want_dir)
{
  LOCK_SCOPE (&t->lock);
  uint64_t ino;
  int kind;
  int rc = wtdb_name_get (t->db, dir, name, strlen (name), &ino, &kind);
  if (rc)
    return rc;
  if (want_dir != (kind == NODE_DIR))
    return want_dir ? ERR_NOTDIR : ERR_ISDIR;
  if (want_dir) {
    rc = wtdb_dir_is_empty (t->db, ino);
    if (rc <= 0)
      return rc ? rc : ERR_NOTEMPTY;
  }
  struct inode *i, *parent;
  rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc;
  rc = inode_get_locked (t, dir, &parent);
  if (rc == 0) {
    rc = del_name (t, dir, name);
    if (rc == 0) {
      drop_link (i);
      stamp (parent, want_dir ? -1 : 0);
    }
    inode_put_locked (parent);
  }
  inode_put_locked (i);
  return rc;
}

int
worktree_unlink (struct worktree *t, uint64_t dir, const char *name)
{
  return remove_name (t, dir, name, false);
}

int
worktree_rmdir (struct worktree *t, uint64_t dir, const char *name)
{
  return remove_name (t, dir, name, true);
}

struct move {
  uint64_t ino, old_ino;
  int kind, old_kind;
  bool has_old;
  struct inode *from, *to, *node, *old;
};

static int
rename_locked (struct worktree *t, struct move *v, const char *name, const char *new_name,
               unsigned flags)
{
  uint64_t dir = v->from->ino, new_dir = v->to->ino;
  int rc;
  if (v->to->is_removed)
    return ERR_NOENT;
  if (flags & RENAME_FLAG_EXCHANGE) {
    if (!v->has_old)
      return ERR_NOENT;
    rc = put_name (t, new_dir, new_name, v->ino, v->kind, true);
    if (rc == 0)
      rc = put_name (t, dir, name, v->old_ino, v->old_kind, false);
    if (rc)
      return rc;
    int delta = (v->kind == NODE_DIR) - (v->old_kind == NODE_DIR);
    stamp (v->from, dir == new_dir ? 0 : -delta);
    stamp (v->to, dir == new_dir ? 0 : delta);
    return 0;
  }
  if (v->has_old) {
    if (flags & RENAME_FLAG_NOREPLACE)
      return ERR_EXISTS;
    if (v->old_ino == v->ino)
      return 0; /* two names of one file: POSIX says do nothing */
    if (v->kind == NODE_DIR && v->old_kind != NODE_DIR)
      return ERR_NOTDIR;
    if (v->kind != NODE_DIR && v->old_kind == NODE_DIR)
      return ERR_ISDIR;
    if (v->old_kind == NODE_DIR) {
      rc = wtdb_dir_is_empty (t->db, v->old_ino);
      if (rc <= 0)
        return rc ? rc : ERR_NOTEMPTY;
    }
  }
  rc = put_name (t, new_dir, new_name, v->ino, v->kind, true);
  if (rc == 0)
    rc = del_name (t, dir, name);
  if (rc)
    return rc;
  bool is_dir = v->kind == NODE_DIR;
  if (v->has_old)
    drop_link (v->old);
  stamp (v->from, is_dir ? -1 : 0);
  stamp (v->to, is_dir && !v->has_old ? 1 : 0);
  v->node->ctime = time_now ();
  inode_touch_locked (v->node);
  return 0;
}

int
worktree_rename (struct worktree *t, uint64_t dir, const char *name, uint64_t new_dir,
                 const char *new_name, unsigned flags)
{
  LOCK_SCOPE (&t->lock);
  struct move v = { 0 };
  if (strlen (new_name) > TREE_NAME_MAX)
    return ERR_NAMETOOLONG;
  if (dir == new_dir && strcmp (name, new_name) == 0)
    return 0;
  int rc = wtdb_name_get (t->db, dir, name, strlen (name), &v.ino, &v.kind);
  if (rc)
    return rc;
  rc = wtdb_name_get (t->db, new_dir, new_name, strlen (new_name), &v.old_ino, &v.old_kind);
  if (rc && rc != ERR_NOENT)
    return rc;
  v.has_old = rc == 0;
  rc = inode_get_locked (t, dir, &v.from);
  if (rc == 0)
    rc = inode_get_locked (t, new_dir, &v.to);
  if (rc == 0)
    rc = inode_get_locked (t, v.ino, &v.node);
  if (rc == 0 && v.has_old)
    rc = inode_get_locked (t, v.old_ino, &v.old);
  if (rc == 0)
    rc = rename_locked (t, &v, name, new_name, flags);
  struct inode *held[] = { v.from, v.to, v.node, v.old };
  for (size_t i = 0; i < 4; i++)
    if (held[i])
      inode_put_locked (held[i]);
  return rc;
}

struct list_ctx {
  struct buf *out;
  unsigned left;
};

static int
list_one (void *ctx, const uint8_t *name, size_t n, uint64_t ino, int kind)
{
  struct list_ctx *c = ctx;
  if (c->left == 0)
    return 1;
  c->left--;
  buf_put_u64 (c->out, ino);
  buf_put_u8 (c->out, (uint8_t) kind);
  buf_put_bytes (c->out, name, n);
  return c->out->error ? c->out->error : 0;
}

int
worktree_list (struct worktree *t, uint64_t dir, const void *after, size_t after_len,
               unsigned limit,
               struct buf *out)
{
  LOCK_SCOPE (&t->lock);
  struct list_ctx c = { .out = out, .left = limit };
  int rc = wtdb_names (t->db, dir, after, after_len, list_one, &c);
  return rc > 0 ? 0 : rc;
}

int
worktree_replay_entry (struct worktree *t, uint64_t dir, const uint8_t *name, size_t n,
                       uint64_t ino)
{
  LOCK_SCOPE (&t->lock);
  if (ino == 0)
    return wtdb_name_del (t->db, dir, name, n);
  struct inode *i;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc == ERR_NOENT ? ERR_FORMAT : rc;
  rc = wtdb_name_put (t->db, dir, name, n, ino, i->a.kind);
  inode_put_locked (i);
  return rc;
}

struct recount {
  struct buf dirs;  /* u64 directory of each subdirectory */
  struct buf files; /* u64 node of each other name */
};

static int
note_name (void *ctx, uint64_t dir, const uint8_t *name, size_t n, uint64_t ino, int kind)
{
  struct recount *c = ctx;
  (void) name;
  (void) n;
  if (kind == NODE_DIR)
    buf_put_u64 (&c->dirs, dir);
  else
    buf_put_u64 (&c->files, ino);
  return c->dirs.error;
}

static int
by_number (const void *a, const void *b)
{
  uint64_t x = get_le64 (a), y = get_le64 (b);
  return x < y ? -1 : x > y;
}

/* A checkpoint tells of names as its log left them, of nodes as they were when it was built: a link
 * made or removed in between is counted and not there, or the other way round. */
static int
set_links (struct worktree *t, uint64_t ino, uint32_t names)
{
  struct inode *i;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc == ERR_NOENT ? 0 : rc;
  if (i->a.nlink != names) {
    i->a.nlink = names;
    i->is_removed = names == 0;
    i->is_dirty = true;
  }
  inode_put_locked (i);
  return 0;
}

static int
recount_links (struct worktree *t, struct buf *files)
{
  int rc = 0;
  size_t n = files->len / 8;
  if (n)
    qsort (files->data, n, 8, by_number);
  for (size_t k = 0, next; rc == 0 && k < n; k = next) {
    for (next = k + 1; next < n && by_number (files->data + 8 * k, files->data + 8 * next) == 0;)
      next++;
    if (next - k > 1)
      rc = set_links (t, get_le64 (files->data + 8 * k), (uint32_t) (next - k));
  }
  for (size_t k = 0; rc == 0 && k + 8 <= t->odd.len; k += 8) {
    uint32_t names = 0;
    const uint8_t *at = n ? bsearch (t->odd.data + k, files->data, n, 8, by_number) : NULL;
    while (at && at > files->data && by_number (at - 8, t->odd.data + k) == 0)
      at -= 8;
    for (; at && at < files->data + 8 * n && by_number (at, t->odd.data + k) == 0; at += 8)
      names++;
    rc = set_links (t, get_le64 (t->odd.data + k), names);
  }
  return rc;
}

int
worktree_recount (struct worktree *t)
{
  LOCK_SCOPE (&t->lock);
  struct recount c;
  buf_init (&c.dirs, 256u << 20);
  buf_init (&c.files, 256u << 20); /* 8 bytes a name, while a recovery runs */
  int rc = wtdb_all_names (t->db, note_name, &c);
  for (size_t k = 0; rc == 0 && k + 8 <= c.dirs.len; k += 8) {
    struct inode *i;
    rc = inode_get_locked (t, get_le64 (c.dirs.data + k), &i);
    if (rc)
      break;
    i->subdirs++;
    i->is_dirty = true;
    inode_put_locked (i);
  }
  if (rc == 0 && (c.files.error || t->odd.error))
    log_warn ("too many names to count the links of files again: a link made in the moment of the "
              "crash may be counted wrongly");
  else if (rc == 0)
    rc = recount_links (t, &c.files);
  buf_release (&c.dirs);
  buf_release (&c.files);
  buf_release (&t->odd);
  return rc;
}
