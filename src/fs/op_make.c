/* SPDX-License-Identifier: Apache-2.0 */
/* op_make - making nodes: who owns them, with which bits.
 *
 * Owner and group are the caller's (a set-group-id directory's are seen to below).  The umask
 * applies unless the directory has a default ACL, which is then inherited (acl.h); that is why the
 * kernel is asked not to apply it (FUSE_CAP_DONT_MASK). */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/acl.h"
#include "fs/control.h"
#include "fs/fs_priv.h"

/* What the parent's default ACL, or else the umask, makes of the caller's wish PERM.  (Group and
 * set-group-id bit of the parent are seen to below, in snapshot/.) */
static int
inherit (struct call *c, enum node_kind kind, unsigned flags, struct acl_inherit *acl,
         uint32_t *perm)
{
  acl_inherit_init (acl);
  if (kind == NODE_SYMLINK)
    return 0;
  if (c->fs->has_acls && node_class (c->node) == CLASS_OPEN) {
    int rc = acl_inherit_get (c->fs, c->node, kind == NODE_DIR, flags, acl);
    if (rc < 0)
      return rc;
  }
  if (acl->has_default)
    acl_inherit_mode (acl, perm);
  else if (c->fs->has_dont_mask)
    *perm &= ~c->who.umask;
  return 0;
}

/* The node is there; an ACL that cannot be stored takes it away again. */
static int
give_acl (struct call *c, const struct acl_inherit *acl, bool is_dir)
{
  int rc = acl->has_default ? acl_inherit_set (c->fs, c->stat.node, acl) : 0;
  if (rc == 0)
    return 0;
  int undo = is_dir ? mount_rmdir (c->fs->mount, c->node, c->name, 0)
                    : mount_unlink (c->fs->mount, c->node, c->name, 0);
  (void) undo; /* the first error is the one to tell */
  node_give_back (c->fs, c->stat.node, 1);
  return rc;
}

static int
do_mknod (struct call *c, unsigned flags)
{
  struct acl_inherit acl;
  struct mknod_args args = c->mknod;
  int rc = inherit (c, args.kind, flags, &acl, &args.mode);
  if (rc == 0)
    rc = mount_mknod (c->fs->mount, &c->who, c->node, c->name, &args, flags, &c->stat);
  if (rc == 0) {
    c->stat.has_xattrs |= acl.has_default;
    rc = give_acl (c, &acl, args.kind == NODE_DIR);
  }
  acl_inherit_release (&acl);
  return rc;
}

static const struct call_type mknod_type = { OP_mknod, do_mknod, reply_entry, NULL };

static void
make (fuse_req_t req, fuse_ino_t parent, const char *name, const struct mknod_args *args)
{
  if (control_owns (parent, name)) {
    reply_err (req, node_is_control (parent) ? ERR_PERM : ERR_EXISTS);
    return;
  }
  struct call c;
  call_init (&c, req, &mknod_type, parent);
  call_set_who (&c);
  c.name = name;
  c.mknod = *args;
  call_run (&c);
}

/* The target travels as the call's value, of which a deferred call has a copy. */
static int
do_symlink (struct call *c, unsigned flags)
{
  c->mknod.symlink = c->value;
  return do_mknod (c, flags);
}

static const struct call_type symlink_type = { OP_mknod, do_symlink, reply_entry, NULL };

static enum node_kind
type_to_kind (mode_t mode)
{
  switch (mode & S_IFMT) {
  case S_IFIFO: return NODE_FIFO;
  case S_IFSOCK: return NODE_SOCKET;
  case S_IFCHR: return NODE_CHAR;
  case S_IFBLK: return NODE_BLOCK;
  default: return NODE_FILE;
  }
}

void
op_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
  struct mknod_args args = { .kind = type_to_kind (mode), .mode = mode & 07777 };
  if (args.kind == NODE_CHAR || args.kind == NODE_BLOCK) {
    args.major = major (rdev);
    args.minor = minor (rdev);
  }
  make (req, parent, name, &args);
}

void
op_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  make (req, parent, name, &(struct mknod_args){ .kind = NODE_DIR, .mode = mode & 07777 });
}

void
op_symlink (fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
  if (control_owns (parent, name)) {
    reply_err (req, node_is_control (parent) ? ERR_PERM : ERR_EXISTS);
    return;
  }
  struct call c;
  call_init (&c, req, &symlink_type, parent);
  call_set_who (&c);
  c.name = name;
  c.mknod = (struct mknod_args){ .kind = NODE_SYMLINK, .mode = 0777 };
  c.value = link;
  c.value_len = strlen (link) + 1;
  call_run (&c);
}

/* ---- create ---- */

static int
do_create (struct call *c, unsigned flags)
{
  struct acl_inherit acl;
  uint32_t perm = c->flags;
  struct file *file = NULL;
  int rc = inherit (c, NODE_FILE, flags, &acl, &perm);
  if (rc == 0)
    rc = mount_create (c->fs->mount, &c->who, c->node, c->name, perm, c->mode, flags, &file,
                       &c->stat);
  if (rc == 0) {
    rc = give_acl (c, &acl, false);
    if (rc < 0)
      mount_release (c->fs->mount, file);
    else if ((rc = handle_new_file (c->fs, file, &c->out_handle)) < 0)
      node_give_back (c->fs, c->stat.node, 1);
  }
  acl_inherit_release (&acl);
  return rc;
}

static void
reply_create (struct call *c, int rc)
{
  if (rc < 0) {
    reply_err (c->req, rc);
    return;
  }
  struct fuse_entry_param e;
  struct handle *h = c->out_handle;
  entry_fill (c->node, &c->stat, &e);
  c->fi.fh = (uintptr_t) h;
  open_flags_set (&c->fi, h->file);
  if (fuse_reply_create (c->req, &e, &c->fi) != 0) {
    handle_unref (h);
    node_give_back (c->fs, c->stat.node, 1);
  }
}

static const struct call_type create_type = { OP_create, do_create, reply_create, NULL };

static unsigned
open_mode_of (int flags)
{
  switch (flags & O_ACCMODE) {
  case O_RDONLY: return OPEN_READ;
  case O_WRONLY: return OPEN_WRITE;
  default: return OPEN_READ | OPEN_WRITE;
  }
}

void
op_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
           struct fuse_file_info *fi)
{
  if (control_owns (parent, name)) {
    reply_err (req, ERR_PERM);
    return;
  }
  struct call c;
  call_init (&c, req, &create_type, parent);
  call_set_who (&c);
  c.name = name;
  c.fi = *fi;
  c.flags = mode & 07777;
  c.mode = open_mode_of (fi->flags) | (fi->flags & O_TRUNC ? OPEN_TRUNC : 0);
  if (mode & 06000)
    c.fs->suid_epoch++;
  call_run (&c);
}

#ifdef HAVE_STRUCT_FUSE_LOWLEVEL_OPS_TMPFILE
static int
do_tmpfile (struct call *c, unsigned flags)
{
  struct file *file;
  uint32_t perm = c->flags;
  perm &= c->fs->has_dont_mask ? ~c->who.umask : ~0u;
  int rc = mount_tmpfile (c->fs->mount, &c->who, c->node, perm, c->mode, &file, &c->stat);
  if (rc == 0 && (rc = handle_new_file (c->fs, file, &c->out_handle)) < 0)
    node_give_back (c->fs, c->stat.node, 1);
  return rc;
}

static const struct call_type tmpfile_type = { OP_tmpfile, do_tmpfile, reply_create, NULL };

void
op_tmpfile (fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
  if (node_class (parent) != CLASS_OPEN) {
    reply_err (req, ERR_NOTSUP);
    return;
  }
  struct call c;
  call_init (&c, req, &tmpfile_type, parent);
  call_set_who (&c);
  c.fi = *fi;
  c.flags = mode & 07777;
  c.mode = open_mode_of (fi->flags);
  call_run (&c);
}
#endif
