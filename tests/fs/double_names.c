/* SPDX-License-Identifier: Apache-2.0 */
/* double_names - the part of mount.h that works on names and attributes. */
#include <stdio.h>

#include "double_priv.h"

#define SUFFIX ".partial"

int
double_new (const struct double_opts *opts, struct mount **out)
{
  struct mount *m = calloc (1, sizeof *m);
  struct inode *root, *region;
  if (!m)
    return ERR_NOMEM;
  m->opts = *opts;
  pthread_mutex_init (&m->mutex, NULL);
  pthread_cond_init (&m->wake, NULL);
  if (double_make (m, NULL, NODE_DIR, &root) < 0 || double_make (m, root, NODE_DIR, &region) < 0
      || double_add (root, "ram", region) < 0)
    return ERR_NOMEM;
  root->st.attr.mode = region->st.attr.mode = 0755;
  *out = m;
  return 0;
}

static void
free_inode (struct inode *n)
{
  while (n->first)
    double_remove (n, n->first);
  for (struct xattr *x; (x = n->xattrs); free (x)) {
    n->xattrs = x->next;
    free (x->name);
    free (x->value);
  }
  free (n->table);
  free (n->data);
  free (n->target);
}

void
mount_free (struct mount *m)
{
  if (!m)
    return;
  for (size_t i = 1; i <= m->inode_count; i++)
    free_inode (m->inodes[i]);
  for (size_t i = 1; i <= m->inode_count; i++)
    free (m->inodes[i]);
  free (m->inodes);
  pthread_cond_destroy (&m->wake);
  pthread_mutex_destroy (&m->mutex);
  free (m);
}

int64_t
double_refs (struct mount *m)
{
  LOCKED (m);
  return m->refs;
}

int
mount_lookup (struct mount *m, uint64_t parent, const char *name, unsigned flags,
              struct node_stat *out)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  if (m->opts.has_stuck && strcmp (name, "free") == 0)
    m->is_free = true;
  while (m->opts.has_stuck && strcmp (name, "stuck") == 0 && !m->is_free)
    clock_sleep (NS_PER_MS);
  LOCKED (m);
  struct entry *e = double_find (double_inode (m, parent), name);
  if (!e)
    return ERR_NOENT;
  double_stat (m, e->inode, out, true);
  return 0;
}

void
mount_forget (struct mount *m, uint64_t node, uint64_t nlookup)
{
  LOCKED (m);
  m->refs -= (int64_t) nlookup;
}

int
mount_getattr (struct mount *m, uint64_t node, unsigned flags, struct node_stat *out)
{
  LOCKED (m);
  double_stat (m, double_inode (m, node), out, false);
  return 0;
}

int
mount_readlink (struct mount *m, uint64_t node, unsigned flags, struct buf *out)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  LOCKED (m);
  const char *t = double_inode (m, node)->target;
  if (!t)
    return ERR_INVALID;
  buf_put (out, t, strlen (t));
  return buf_error (out);
}

int
mount_setattr (struct mount *m, uint64_t node, struct file *file, unsigned mask,
               const struct node_stat *in, unsigned flags, struct node_stat *out)
{
  LOCKED (m);
  struct inode *n = double_inode (m, node);
  struct node_attr *a = &n->st.attr;
  if (double_is_sealed (n))
    return ERR_ROFS;
  if ((mask & SETATTR_SIZE) && a->size != in->attr.size) {
    int rc = double_resize (n, in->attr.size);
    if (rc < 0)
      return rc;
    a->mtime = double_now ();
  }
  if (mask & SETATTR_MODE)
    a->mode = in->attr.mode;
  if (mask & SETATTR_UID)
    a->uid = in->attr.uid;
  if (mask & SETATTR_GID)
    a->gid = in->attr.gid;
  if (mask & (SETATTR_ATIME | SETATTR_ATIME_NOW))
    a->atime = mask & SETATTR_ATIME_NOW ? double_now () : in->attr.atime;
  if (mask & (SETATTR_MTIME | SETATTR_MTIME_NOW))
    a->mtime = mask & SETATTR_MTIME_NOW ? double_now () : in->attr.mtime;
  if (mask & SETATTR_KILL_SUIDGID)
    a->mode &= (uint16_t) ~(a->mode & 010 ? 06000 : 04000);
  n->st.ctime = double_now ();
  double_stat (m, n, out, false);
  return 0;
}

int
mount_mknod (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
             const struct mknod_args *args, unsigned flags, struct node_stat *out)
{
  LOCKED (m);
  struct inode *dir = double_inode (m, parent), *n;
  if (double_is_sealed (dir))
    return ERR_ROFS;
  if (dir->depth == 0 || (dir->depth < 3 && args->kind != NODE_DIR))
    return ERR_PERM;
  if (double_find (dir, name))
    return ERR_EXISTS;
  if (strlen (name) > 255)
    return ERR_NAMETOOLONG;
  int rc = double_make (m, dir, args->kind, &n);
  if (rc == 0)
    rc = double_add (dir, name, n);
  if (rc < 0)
    return rc;
  n->st.attr.mode = (uint16_t) args->mode;
  n->st.attr.uid = who->uid;
  n->st.attr.gid = dir->st.attr.mode & 02000 ? dir->st.attr.gid : who->gid;
  if ((dir->st.attr.mode & 02000) && args->kind == NODE_DIR)
    n->st.attr.mode |= 02000;
  n->st.attr.major = args->major;
  n->st.attr.minor = args->minor;
  if (args->symlink) {
    n->target = strdup (args->symlink);
    n->st.attr.size = strlen (args->symlink);
  }
  double_stat (m, n, out, true);
  return 0;
}

static int
take_away (struct mount *m, uint64_t parent, const char *name, bool is_dir)
{
  LOCKED (m);
  struct inode *dir = double_inode (m, parent);
  struct entry *e = double_find (dir, name);
  if (!e)
    return ERR_NOENT;
  if (double_is_sealed (e->inode))
    return ERR_ROFS;
  if (dir->depth < 2)
    return ERR_PERM;
  struct node_attr *a = &e->inode->st.attr;
  if ((a->kind == NODE_DIR) != is_dir)
    return is_dir ? ERR_NOTDIR : ERR_ISDIR;
  if (e->inode->count)
    return ERR_NOTEMPTY;
  a->nlink = is_dir ? 0 : a->nlink - 1;
  e->inode->st.ctime = double_now ();
  double_remove (dir, e);
  return 0;
}

int
mount_unlink (struct mount *m, uint64_t parent, const char *name, unsigned flags)
{
  return take_away (m, parent, name, false);
}

int
mount_rmdir (struct mount *m, uint64_t parent, const char *name, unsigned flags)
{
  return take_away (m, parent, name, true);
}

static int
check_target (struct inode *from, struct entry *target, unsigned flags)
{
  if (flags & RENAME_FLAG_EXCHANGE)
    return target ? 0 : ERR_NOENT;
  if (!target)
    return 0;
  if (flags & RENAME_FLAG_NOREPLACE)
    return ERR_EXISTS;
  bool is_dir = target->inode->st.attr.kind == NODE_DIR;
  if (is_dir != (from->st.attr.kind == NODE_DIR))
    return is_dir ? ERR_ISDIR : ERR_NOTDIR;
  return target->inode->count ? ERR_NOTEMPTY : 0;
}

static int
seal (struct inode *vault, struct entry *e, const char *new_name)
{
  size_t stem = strlen (e->name) - strlen (SUFFIX);
  if (strlen (e->name) <= strlen (SUFFIX) || strcmp (e->name + stem, SUFFIX) != 0
      || strncmp (new_name, e->name, stem) != 0 || (new_name[stem] && new_name[stem] != '-'))
    return ERR_INVALID;
  if (double_find (vault, new_name))
    return ERR_EXISTS;
  struct inode *n = e->inode;
  int rc = double_add (vault, new_name, n);
  if (rc == 0) {
    double_remove (vault, e);
    n->is_sealed = true;
  }
  return rc;
}

int
mount_rename (struct mount *m, uint64_t parent, const char *name, uint64_t new_parent,
              const char *new_name, unsigned flags)
{
  int rc = double_wait (m, flags & MOUNT_NOWAIT);
  if (rc < 0)
    return rc;
  LOCKED (m);
  struct inode *dir = double_inode (m, parent), *to = double_inode (m, new_parent);
  struct entry *e = double_find (dir, name), *target = double_find (to, new_name);
  if (!e)
    return ERR_NOENT;
  if (dir->depth < 3 || to->depth < 3)
    return dir == to && dir->depth == 2 ? seal (dir, e, new_name) : ERR_INVALID;
  if (double_is_sealed (dir) || double_is_sealed (to))
    return ERR_ROFS;
  if (dir->snapshot != to->snapshot)
    return ERR_XDEV;
  struct inode *n = e->inode, *other = target ? target->inode : NULL;
  for (struct inode *up = to; up; up = up->parent)
    if (up == n)
      return ERR_INVALID;
  rc = check_target (n, target, flags);
  if (rc < 0 || n == other)
    return rc;
  if (flags & RENAME_FLAG_EXCHANGE) {
    double_remove (to, target);
    double_remove (dir, e);
    rc = double_add (dir, name, other);
    other->parent = dir;
  } else {
    double_remove (dir, e);
    if (target) {
      other->st.attr.nlink -= other->st.attr.kind == NODE_DIR ? 2 : 1;
      double_remove (to, target);
    }
  }
  n->parent = to;
  n->st.ctime = double_now ();
  return rc < 0 ? rc : double_add (to, new_name, n);
}

int
mount_link (struct mount *m, uint64_t node, uint64_t new_parent, const char *new_name,
            unsigned flags,
            struct node_stat *out)
{
  LOCKED (m);
  struct inode *n = double_inode (m, node), *dir = double_inode (m, new_parent);
  if (double_is_sealed (dir))
    return ERR_ROFS;
  if (dir->snapshot != n->snapshot)
    return ERR_XDEV;
  if (double_find (dir, new_name))
    return ERR_EXISTS;
  int rc = double_add (dir, new_name, n);
  if (rc < 0)
    return rc;
  n->st.attr.nlink++;
  n->st.ctime = double_now ();
  double_stat (m, n, out, true);
  return 0;
}

/* ---- extended attributes ---- */

static struct xattr **
find_xattr (struct inode *n, const char *name)
{
  struct xattr **at = &n->xattrs;
  while (*at && strcmp ((*at)->name, name) != 0)
    at = &(*at)->next;
  return at;
}

int
mount_getxattr (struct mount *m, uint64_t node, const char *name, unsigned flags, struct buf *out)
{
  LOCKED (m);
  struct xattr *x = *find_xattr (double_inode (m, node), name);
  if (!x)
    return ERR_NODATA;
  buf_reset (out);
  buf_put (out, x->value, x->len);
  return buf_error (out);
}

int
mount_listxattr (struct mount *m, uint64_t node, unsigned flags, struct buf *out)
{
  LOCKED (m);
  buf_reset (out);
  for (struct xattr *x = double_inode (m, node)->xattrs; x; x = x->next)
    buf_put (out, x->name, strlen (x->name) + 1);
  return buf_error (out);
}

static void
drop_xattr (struct xattr **at)
{
  struct xattr *x = *at;
  *at = x->next;
  free (x->name);
  free (x->value);
  free (x);
}

int
mount_setxattr (struct mount *m, uint64_t node, const char *name, const void *value, size_t len,
                unsigned flags)
{
  LOCKED (m);
  struct inode *n = double_inode (m, node);
  struct xattr **at = find_xattr (n, name);
  if (double_is_sealed (n))
    return ERR_ROFS;
  if (*at && (flags & XATTR_FLAG_CREATE))
    return ERR_EXISTS;
  if (!*at && (flags & XATTR_FLAG_REPLACE))
    return ERR_NODATA;
  struct xattr *x = calloc (1, sizeof *x);
  if (!x)
    return ERR_NOMEM;
  x->name = strdup (name);
  x->value = malloc (len + 1);
  memcpy (x->value, value, len);
  x->len = len;
  if (*at)
    drop_xattr (at);
  x->next = n->xattrs;
  n->xattrs = x;
  n->st.ctime = double_now ();
  return 0;
}

int
mount_removexattr (struct mount *m, uint64_t node, const char *name, unsigned flags)
{
  LOCKED (m);
  struct inode *n = double_inode (m, node);
  struct xattr **at = find_xattr (n, name);
  if (double_is_sealed (n))
    return ERR_ROFS;
  if (!*at)
    return ERR_NODATA;
  drop_xattr (at);
  return 0;
}
