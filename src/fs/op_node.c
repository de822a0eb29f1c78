/* SPDX-License-Identifier: Apache-2.0 */
/* op_node - looking names up, attributes, and taking names away. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "fs/acl.h"
#include "fs/control.h"
#include "fs/fs_priv.h"
#include "fs/notify.h"

/* ---- lookup, forget ---- */

static int
do_lookup (struct call *c, unsigned flags)
{
  return mount_lookup (c->fs->mount, c->node, c->name, flags, &c->stat);
}

static const struct call_type lookup_type = { OP_lookup, do_lookup, reply_entry, drop_entry };

void
op_lookup (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  if (control_owns (parent, name)) {
    control_lookup (req, parent, name);
    return;
  }
  struct call c;
  call_init (&c, req, &lookup_type, parent);
  c.name = name;
  call_run (&c);
}

void
op_forget (fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
  fs_count (fs_of (req), OP_forget);
  node_give_back (fs_of (req), ino, nlookup);
  fuse_reply_none (req);
}

void
op_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
  for (size_t i = 0; i < count; i++)
    node_give_back (fs_of (req), forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none (req);
}

/* ---- attributes ---- */

static int
do_getattr (struct call *c, unsigned flags)
{
  return mount_getattr (c->fs->mount, c->node, flags, &c->stat);
}

static const struct call_type getattr_type = { OP_getattr, do_getattr, reply_attr, drop_nothing };

void
op_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_getattr (req, ino);
    return;
  }
  struct call c;
  call_init (&c, req, &getattr_type, ino);
  call_run (&c);
}

static int
do_setattr (struct call *c, unsigned flags)
{
  int rc = 0;
  if (c->mode & SETATTR_MODE)
    rc = acl_follow_mode (c->fs, c->node, c->stat_in.attr.mode, flags);
  if (rc == 0)
    rc = mount_setattr (c->fs->mount, c->node, c->handle ? c->handle->file : NULL, c->mode,
                        &c->stat_in, flags, &c->stat);
  return rc;
}

static const struct call_type setattr_type = { OP_setattr, do_setattr, reply_attr, NULL };

static const struct {
  int fuse;
  unsigned mask;
} setattr_bits[] = {
  { FUSE_SET_ATTR_MODE, SETATTR_MODE },           { FUSE_SET_ATTR_UID, SETATTR_UID },
  { FUSE_SET_ATTR_GID, SETATTR_GID },             { FUSE_SET_ATTR_SIZE, SETATTR_SIZE },
  { FUSE_SET_ATTR_ATIME, SETATTR_ATIME },         { FUSE_SET_ATTR_MTIME, SETATTR_MTIME },
  { FUSE_SET_ATTR_ATIME_NOW, SETATTR_ATIME_NOW }, { FUSE_SET_ATTR_MTIME_NOW, SETATTR_MTIME_NOW },
};

static unsigned
setattr_mask (fuse_req_t req, int to_set)
{
  unsigned mask = 0;
  for (size_t i = 0; i < sizeof setattr_bits / sizeof *setattr_bits; i++)
    if (to_set & setattr_bits[i].fuse)
      mask |= setattr_bits[i].mask;
  /* The kernel sends the new mode itself where chown or a cached write drops set-id bits; a
   * truncation by a user is left to us. */
  bool is_shrink_by_user = (mask & SETATTR_SIZE) && fuse_req_ctx (req)->uid != 0;
  if (is_shrink_by_user && !(mask & SETATTR_MODE))
    mask |= SETATTR_KILL_SUIDGID;
  return mask;
}

void
op_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
            struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_setattr (req, ino, to_set);
    return;
  }
  struct call c;
  call_init (&c, req, &setattr_type, ino);
  c.mode = setattr_mask (req, to_set);
  c.handle = fi && fi->fh ? handle_of (fi) : NULL;
  c.stat_in.attr.mode = attr->st_mode & 07777;
  c.stat_in.attr.uid = attr->st_uid;
  c.stat_in.attr.gid = attr->st_gid;
  c.stat_in.attr.size = (uint64_t) attr->st_size;
  c.stat_in.attr.atime
    = (struct node_time){ attr->st_atim.tv_sec, (uint32_t) attr->st_atim.tv_nsec };
  c.stat_in.attr.mtime
    = (struct node_time){ attr->st_mtim.tv_sec, (uint32_t) attr->st_mtim.tv_nsec };
  if ((c.mode & SETATTR_MODE) && (attr->st_mode & 06000))
    c.fs->suid_epoch++;
  call_run (&c);
}

/* ---- readlink ---- */

#define SYMLINK_MAX_LEN 4096

static int
do_readlink (struct call *c, unsigned flags)
{
  buf_reset (&c->buf);
  int rc = mount_readlink (c->fs->mount, c->node, flags, &c->buf);
  if (rc == 0) {
    buf_put_u8 (&c->buf, 0);
    rc = buf_error (&c->buf);
  }
  return rc;
}

static void
reply_readlink (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else
    fuse_reply_readlink (c->req, (const char *) c->buf.data);
}

static const struct call_type readlink_type = { OP_readlink, do_readlink, reply_readlink,
                                                drop_nothing };

void
op_readlink (fuse_req_t req, fuse_ino_t ino)
{
  struct call c;
  call_init (&c, req, &readlink_type, ino);
  buf_init (&c.buf, SYMLINK_MAX_LEN + 1);
  call_run (&c);
}

/* ---- unlink, rmdir, rename, link ---- */

static int
do_unlink (struct call *c, unsigned flags)
{
  return mount_unlink (c->fs->mount, c->node, c->name, flags);
}

static int
do_rmdir (struct call *c, unsigned flags)
{
  return mount_rmdir (c->fs->mount, c->node, c->name, flags);
}

static const struct call_type unlink_type = { OP_unlink, do_unlink, reply_rc, NULL };
static const struct call_type rmdir_type = { OP_rmdir, do_rmdir, reply_rc, NULL };

static void
take_away (fuse_req_t req, const struct call_type *type, fuse_ino_t parent, const char *name)
{
  if (control_owns (parent, name)) {
    reply_err (req, ERR_PERM);
    return;
  }
  struct call c;
  call_init (&c, req, type, parent);
  c.name = name;
  call_run (&c);
}

void
op_unlink (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  take_away (req, &unlink_type, parent, name);
}

void
op_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  take_away (req, &rmdir_type, parent, name);
}

static int
do_rename (struct call *c, unsigned flags)
{
  int rc = mount_rename (c->fs->mount, c->node, c->name, c->node2, c->name2, c->flags | flags);
  if (rc == 0 && node_class (c->node2) == CLASS_PLACE)
    notify_renamed (c->fs->notify, c->node2, c->name2);
  return rc;
}

static const struct call_type rename_type = { OP_rename, do_rename, reply_rc, NULL };
/* The commit may be interrupted as it may be answered EAGAIN: the seal goes on either way. */
static const struct call_type commit_type = { OP_rename, do_rename, reply_rc, drop_nothing };

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

void
op_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
           const char *newname, unsigned int flags)
{
  if (control_owns (parent, name) || control_owns (newparent, newname)) {
    reply_err (req, ERR_PERM);
    return;
  }
  if (flags & ~(unsigned) (RENAME_NOREPLACE | RENAME_EXCHANGE)) {
    reply_err (req, ERR_INVALID);
    return;
  }
  struct call c;
  bool is_commit = node_class (parent) == CLASS_PLACE;
  call_init (&c, req, is_commit ? &commit_type : &rename_type, parent);
  c.name = name;
  c.node2 = newparent;
  c.name2 = newname;
  c.flags = (flags & RENAME_NOREPLACE ? RENAME_FLAG_NOREPLACE : 0)
            | (flags & RENAME_EXCHANGE ? RENAME_FLAG_EXCHANGE : 0);
  call_run (&c);
}

static int
do_link (struct call *c, unsigned flags)
{
  return mount_link (c->fs->mount, c->node2, c->node, c->name, flags, &c->stat);
}

static const struct call_type link_type = { OP_link, do_link, reply_entry, NULL };

void
op_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
  if (node_is_control (ino) || control_owns (newparent, newname)) {
    reply_err (req, ERR_PERM);
    return;
  }
  struct call c;
  call_init (&c, req, &link_type, newparent);
  c.name = newname;
  if (node_class (ino) == CLASS_SEALED)
    c.fs->has_acls = true; /* its attributes come along */
  c.node2 = ino;
  call_run (&c);
}

/* ---- statfs ---- */

void
op_statfs (fuse_req_t req, fuse_ino_t ino)
{
  struct mount_statfs s;
  fs_count (fs_of (req), OP_statfs);
  int rc = mount_statfs (fs_of (req)->mount, node_is_control (ino) ? NODE_ROOT : ino, &s);
  if (rc < 0) {
    reply_err (req, rc);
    return;
  }
  struct statvfs out = {
    .f_bsize = s.bsize, .f_frsize = s.bsize, .f_blocks = s.blocks, .f_bfree = s.bfree,
    .f_bavail = s.bavail, .f_files = s.files, .f_ffree = s.ffree, .f_favail = s.ffree,
    .f_namemax = s.namemax,
  };
  fuse_reply_statfs (req, &out);
}
