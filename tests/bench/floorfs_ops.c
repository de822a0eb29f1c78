/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "floorfs.h"
#include "floorfs_tree.h"

#define TIMEOUT_S 86400.0

static struct inode *
inode_of (fuse_ino_t ino)
{
  return ino == FUSE_ROOT_ID ? tree_root () : (struct inode *) (uintptr_t) ino;
}

static fuse_ino_t
number_of (const struct inode *n)
{
  return n == tree_root () ? FUSE_ROOT_ID : (fuse_ino_t) (uintptr_t) n;
}

static void
entry_fill (struct fuse_entry_param *e, const struct inode *n)
{
  memset (e, 0, sizeof *e);
  e->ino = number_of (n);
  e->attr = n->st;
  e->attr_timeout = e->entry_timeout = TIMEOUT_S;
}

/* Replies with N, whose lookup count the caller has raised (under the tree's lock). */
static void
reply_made (fuse_req_t req, int rc, const struct fuse_entry_param *e)
{
  if (rc != 0)
    fuse_reply_err (req, rc);
  else
    fuse_reply_entry (req, e);
}

static void
op_init (void *ctx, struct fuse_conn_info *conn)
{
  conn->max_background = 64;
  conn->congestion_threshold = 48;
  conn->time_gran = 1;
}

static void
op_lookup (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  COUNT (lookup);
  struct fuse_entry_param e = { .entry_timeout = TIMEOUT_S };
  tree_lock ();
  struct inode *n = tree_find (inode_of (parent), name);
  if (n != NULL) {
    n->lookups++;
    entry_fill (&e, n);
  }
  tree_unlock ();
  fuse_reply_entry (req, &e); /* inode 0: a negative entry that may be cached */
}

static void
forget_one (fuse_ino_t ino, uint64_t count)
{
  tree_lock ();
  struct inode *n = inode_of (ino);
  n->lookups -= count;
  tree_put (n);
  tree_unlock ();
}

static void
op_forget (fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
  COUNT (forget);
  forget_one (ino, count);
  fuse_reply_none (req);
}

static void
op_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
  COUNT (forget);
  for (size_t i = 0; i < count; i++)
    forget_one (forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none (req);
}

static void
op_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (getattr);
  tree_lock ();
  struct stat st = inode_of (ino)->st;
  tree_unlock ();
  fuse_reply_attr (req, &st, TIMEOUT_S);
}

static void
set_times (struct stat *st, const struct stat *in, int to_set, struct timespec now)
{
  if (to_set & FUSE_SET_ATTR_ATIME)
    st->st_atim = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : in->st_atim;
  if (to_set & FUSE_SET_ATTR_MTIME)
    st->st_mtim = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : in->st_mtim;
  st->st_ctim = to_set & FUSE_SET_ATTR_CTIME ? in->st_ctim : now;
}

static void
op_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *in, int to_set, struct fuse_file_info *fi)
{
  COUNT (setattr);
  struct timespec now;
  clock_gettime (CLOCK_REALTIME, &now);
  tree_lock ();
  struct inode *n = inode_of (ino);
  int rc = 0;
  if (to_set & FUSE_SET_ATTR_SIZE) {
    rc = tree_resize (n, (uint64_t) in->st_size, opts.keep);
    n->st.st_mtim = now;
  }
  if (to_set & FUSE_SET_ATTR_MODE)
    n->st.st_mode = (n->st.st_mode & S_IFMT) | (in->st_mode & ~(mode_t) S_IFMT);
  if (to_set & FUSE_SET_ATTR_UID)
    n->st.st_uid = in->st_uid;
  if (to_set & FUSE_SET_ATTR_GID)
    n->st.st_gid = in->st_gid;
  set_times (&n->st, in, to_set, now);
  struct stat st = n->st;
  tree_unlock ();
  if (rc != 0)
    fuse_reply_err (req, rc);
  else
    fuse_reply_attr (req, &st, TIMEOUT_S);
}

static void
op_readlink (fuse_req_t req, fuse_ino_t ino)
{
  COUNT (readlink);
  fuse_reply_readlink (req, inode_of (ino)->target); /* never changes */
}

/* What mknod, mkdir, symlink and create have in common. */
static int
make (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
      const char *target, struct fuse_entry_param *e)
{
  const struct fuse_ctx *ctx = fuse_req_ctx (req);
  struct inode *n;
  tree_lock ();
  int rc = tree_make (inode_of (parent), name, mode, target, &n);
  if (rc == 0) {
    n->st.st_uid = ctx->uid;
    n->st.st_gid = ctx->gid;
    n->st.st_rdev = rdev;
    n->lookups++;
    entry_fill (e, n);
  }
  tree_unlock ();
  return rc;
}

static void
op_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
  COUNT (mknod);
  struct fuse_entry_param e;
  reply_made (req, make (req, parent, name, mode, rdev, NULL, &e), &e);
}

static void
op_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  COUNT (mkdir);
  struct fuse_entry_param e;
  reply_made (req, make (req, parent, name, S_IFDIR | mode, 0, NULL, &e), &e);
}

static void
op_symlink (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
  COUNT (symlink);
  struct fuse_entry_param e;
  reply_made (req, make (req, parent, name, S_IFLNK | 0777, 0, target, &e), &e);
}

static void
op_unlink (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  COUNT (unlink);
  tree_lock ();
  int rc = tree_remove (inode_of (parent), name, false);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

static void
op_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  COUNT (rmdir);
  tree_lock ();
  int rc = tree_remove (inode_of (parent), name, true);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

static void
op_rename (fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to, const char *newname,
           unsigned int flags)
{
  COUNT (rename);
  tree_lock ();
  int rc = tree_rename (inode_of (from), name, inode_of (to), newname, flags);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

static void
op_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
  COUNT (link);
  struct fuse_entry_param e;
  tree_lock ();
  struct inode *n = inode_of (ino);
  int rc = tree_link (inode_of (parent), name, n);
  if (rc == 0) {
    n->lookups++;
    entry_fill (&e, n);
  }
  tree_unlock ();
  reply_made (req, rc, &e);
}

static void
op_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (open);
  if (fi->flags & O_TRUNC) {
    tree_lock ();
    struct inode *n = inode_of (ino);
    (void) tree_resize (n, 0, opts.keep); /* shrinking cannot fail */
    clock_gettime (CLOCK_REALTIME, &n->st.st_mtim);
    tree_unlock ();
  }
  fi->keep_cache = 1;
  fuse_reply_open (req, fi);
}

static void
op_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
           struct fuse_file_info *fi)
{
  COUNT (create);
  struct fuse_entry_param e;
  int rc = make (req, parent, name, S_IFREG | (mode & 07777), 0, NULL, &e);
  if (rc != 0) {
    fuse_reply_err (req, rc);
    return;
  }
  fi->keep_cache = 1;
  fuse_reply_create (req, &e, fi);
}

static void
op_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  COUNT (read);
  static const char zeros[1 << 20];
  char *copy = opts.keep ? malloc (size) : NULL;
  if (opts.keep && copy == NULL) {
    fuse_reply_err (req, ENOMEM);
    return;
  }
  tree_lock ();
  const struct inode *n = inode_of (ino);
  uint64_t len = (uint64_t) n->st.st_size > (uint64_t) off ? (uint64_t) (n->st.st_size - off) : 0;
  if (len > size)
    len = size;
  if (copy != NULL)
    memcpy (copy, n->data + off, len);
  tree_unlock ();
  if (copy == NULL && len > sizeof zeros)
    len = sizeof zeros; /* the kernel never asks for more than 256 pages */
  fuse_reply_buf (req, copy != NULL ? copy : zeros, len);
  free (copy);
}

static void
op_write (fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
          struct fuse_file_info *fi)
{
  COUNT (write);
  tree_lock ();
  struct inode *n = inode_of (ino);
  uint64_t end = (uint64_t) off + size;
  int rc = end > (uint64_t) n->st.st_size ? tree_resize (n, end, opts.keep) : 0;
  if (rc == 0 && opts.keep)
    memcpy (n->data + off, buf, size);
  clock_gettime (CLOCK_REALTIME, &n->st.st_mtim);
  n->st.st_ctim = n->st.st_mtim;
  tree_unlock ();
  if (rc != 0)
    fuse_reply_err (req, rc);
  else
    fuse_reply_write (req, size);
}

/* Answered rather than left out: a file system whose close can report an error needs it too. */
static void
op_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (flush);
  fuse_reply_err (req, 0);
}

static void
op_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (release);
  fuse_reply_err (req, 0);
}

static void
op_fsync (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
  COUNT (fsync);
  fuse_reply_err (req, 0);
}

static void
op_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (opendir);
  fi->keep_cache = 1;
  fi->cache_readdir = 1;
  fuse_reply_open (req, fi);
}

/* Appends one entry; returns false when it does not fit. */
static bool
dir_add (fuse_req_t req, char **p, size_t *left, const char *name, struct inode *n, off_t next,
         bool plus)
{
  size_t len;
  if (plus) {
    struct fuse_entry_param e;
    entry_fill (&e, n);
    len = fuse_add_direntry_plus (req, *p, *left, name, &e, next);
  } else
    len = fuse_add_direntry (req, *p, *left, name, &n->st, next);
  if (len > *left)
    return false;
  *p += len;
  *left -= len;
  return true;
}

/* Offsets: 0 and 1 are "." and "..", then 2 + the slot in the directory's list. */
static void
list_dir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
  char *buf = malloc (size), *p = buf;
  size_t left = size;
  if (buf == NULL) {
    fuse_reply_err (req, ENOMEM);
    return;
  }
  tree_lock ();
  struct inode *dir = inode_of (ino);
  for (size_t at = (size_t) off; at < dir->slots + 2; at++) {
    struct dentry *d = at < 2 ? NULL : dir->list[at - 2];
    if (at >= 2 && d == NULL)
      continue; /* removed */
    const char *name = at == 0 ? "." : at == 1 ? ".." : d->name;
    struct inode *n = d != NULL ? d->inode : at == 0 ? dir : dir->parent;
    if (!dir_add (req, &p, &left, name, n, (off_t) at + 1, plus))
      break;
    if (plus && d != NULL)
      n->lookups++;
  }
  tree_unlock ();
  fuse_reply_buf (req, buf, size - left);
  free (buf);
}

static void
op_readdir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  COUNT (readdir);
  list_dir (req, ino, size, off, false);
}

static void
op_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  COUNT (readdirplus);
  list_dir (req, ino, size, off, true);
}

static void
op_releasedir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  COUNT (releasedir);
  fuse_reply_err (req, 0);
}

static void
op_statfs (fuse_req_t req, fuse_ino_t ino)
{
  COUNT (statfs);
  struct statvfs s = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };
  s.f_blocks = s.f_bfree = s.f_bavail = 1UL << 38;
  s.f_files = s.f_ffree = s.f_favail = 1UL << 32;
  fuse_reply_statfs (req, &s);
}

static void
op_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
             int flags)
{
  COUNT (setxattr);
  tree_lock ();
  int rc = opts.noxattr ? ENOSYS : tree_setxattr (inode_of (ino), name, value, size, flags);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

static void
op_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  COUNT (getxattr);
  if (opts.noxattr) {
    fuse_reply_err (req, ENOSYS);
    return;
  }
  tree_lock ();
  const struct xattr *x = tree_getxattr (inode_of (ino), name);
  if (x == NULL)
    fuse_reply_err (req, ENODATA);
  else if (size == 0)
    fuse_reply_xattr (req, x->len);
  else if (size < x->len)
    fuse_reply_err (req, ERANGE);
  else
    fuse_reply_buf (req, x->value, x->len);
  tree_unlock ();
}

static void
op_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size)
{
  COUNT (listxattr);
  char *names = NULL;
  size_t len = 0;
  if (opts.noxattr) {
    fuse_reply_err (req, ENOSYS);
    return;
  }
  tree_lock ();
  int rc = tree_listxattr (inode_of (ino), &names, &len);
  tree_unlock ();
  if (rc != 0)
    fuse_reply_err (req, rc);
  else if (size == 0)
    fuse_reply_xattr (req, len);
  else if (size < len)
    fuse_reply_err (req, ERANGE);
  else
    fuse_reply_buf (req, names, len);
  free (names);
}

static void
op_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name)
{
  COUNT (removexattr);
  tree_lock ();
  int rc = opts.noxattr ? ENOSYS : tree_removexattr (inode_of (ino), name);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

static void
op_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
              struct fuse_file_info *fi)
{
  COUNT (fallocate);
  int rc = mode == 0 ? 0 : EOPNOTSUPP;
  tree_lock ();
  struct inode *n = inode_of (ino);
  if (rc == 0 && off + len > n->st.st_size)
    rc = tree_resize (n, (uint64_t) (off + len), opts.keep);
  tree_unlock ();
  fuse_reply_err (req, rc);
}

const struct fuse_lowlevel_ops floor_ops = {
  .init = op_init,
  .lookup = op_lookup,
  .forget = op_forget,
  .forget_multi = op_forget_multi,
  .getattr = op_getattr,
  .setattr = op_setattr,
  .readlink = op_readlink,
  .mknod = op_mknod,
  .mkdir = op_mkdir,
  .symlink = op_symlink,
  .unlink = op_unlink,
  .rmdir = op_rmdir,
  .rename = op_rename,
  .link = op_link,
  .open = op_open,
  .create = op_create,
  .read = op_read,
  .write = op_write,
  .flush = op_flush,
  .release = op_release,
  .fsync = op_fsync,
  .opendir = op_opendir,
  .readdir = op_readdir,
  .readdirplus = op_readdirplus,
  .releasedir = op_releasedir,
  .fsyncdir = op_fsync,
  .statfs = op_statfs,
  .setxattr = op_setxattr,
  .getxattr = op_getxattr,
  .listxattr = op_listxattr,
  .removexattr = op_removexattr,
  .fallocate = op_fallocate,
};
