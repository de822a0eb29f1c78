/* SPDX-License-Identifier: Apache-2.0 */
/* op_dir - listing directories.
 *
 * Offsets as the kernel sees them: 0 ".", 1 "..", in the root 2 ".coffer", then the mount's cookie
 * plus the number of those. */
#include <stdlib.h>
#include <sys/stat.h>

#include "fs/control.h"
#include "fs/fs_priv.h"

#define UNKNOWN_INO 0xffffffff /* a listing without attributes does not know */

/* ---- opendir, releasedir ---- */

static int
do_opendir (struct call *c, unsigned flags)
{
  struct dir *dir;
  int rc = mount_opendir (c->fs->mount, c->node, flags, &dir);
  return rc < 0 ? rc : handle_new_dir (c->fs, dir, &c->out_handle);
}

static void
drop_opendir (struct call *c, int rc)
{
  if (rc == 0)
    handle_unref (c->out_handle);
}

static void
reply_opendir (struct call *c, int rc)
{
  if (rc < 0) {
    reply_err (c->req, rc);
    return;
  }
  c->fi.fh = (uintptr_t) c->out_handle;
  if (node_class (c->node) == CLASS_SEALED && c->fs->can_cache_dirs) {
    c->fi.cache_readdir = 1;
    c->fi.keep_cache = 1;
  }
  if (fuse_reply_open (c->req, &c->fi) != 0)
    handle_unref (c->out_handle);
}

static const struct call_type opendir_type = { OP_opendir, do_opendir, reply_opendir,
                                               drop_opendir };

void
op_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    fi->fh = 0;
    fuse_reply_open (req, fi);
    return;
  }
  struct call c;
  call_init (&c, req, &opendir_type, ino);
  c.fi = *fi;
  call_run (&c);
}

void
op_releasedir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  fs_count (fs_of (req), OP_releasedir);
  if (!node_is_control (ino))
    handle_unref (handle_of (fi));
  fuse_reply_err (req, 0);
}

/* ---- readdir ---- */

static mode_t
type_of_kind (enum node_kind kind)
{
  struct node_stat st = { .attr.kind = (uint8_t) kind };
  struct stat out;
  stat_to_posix (&st, &out);
  return out.st_mode & S_IFMT;
}

/* One entry into the reply; false: it is full.  STAT may be NULL. */
static bool
put_entry (struct call *c, const char *name, mode_t type, const struct node_stat *stat,
           uint64_t next)
{
  char *at = (char *) c->data + c->data_len;
  size_t left = c->len - c->data_len, n;
  if (c->list.is_plus) {
    struct fuse_entry_param e;
    if (stat)
      entry_fill (c->node, stat, &e);
    else
      e = (struct fuse_entry_param){ .attr = { .st_ino = UNKNOWN_INO, .st_mode = type } };
    n = fuse_add_direntry_plus (c->req, at, left, name, &e, (off_t) next);
  } else {
    struct stat st = { .st_ino = stat ? stat->node : UNKNOWN_INO, .st_mode = type };
    n = fuse_add_direntry (c->req, at, left, name, &st, (off_t) next);
  }
  if (n > left)
    return false;
  c->data_len += n;
  return true;
}

static unsigned
own_entries (uint64_t node)
{
  return node == NODE_ROOT ? 3 : 2;
}

static bool
put_own_entries (struct call *c)
{
  static const char *const names[] = { ".", "..", CONTROL_DIR };
  for (uint64_t i = c->off; i < own_entries (c->node); i++)
    if (!put_entry (c, names[i], S_IFDIR, NULL, i + 1))
      return false;
  return true;
}

static bool
on_entry (void *ctx, const char *name, enum node_kind kind, const struct node_stat *stat,
          uint64_t next_cookie)
{
  struct call *c = ctx;
  mode_t type = type_of_kind (stat ? (enum node_kind) stat->attr.kind : kind);
  if (!put_entry (c, name, type, stat, next_cookie + own_entries (c->node)))
    return false;
  if (stat && node_class (stat->node) == CLASS_OPEN && c->list.is_plus)
    c->list.refs++;
  return true;
}

static int
do_readdir (struct call *c, unsigned flags)
{
  c->data_len = 0;
  c->list.refs = 0;
  if (c->off < own_entries (c->node) && !put_own_entries (c))
    return 0;
  unsigned own = own_entries (c->node);
  uint64_t cookie = c->off > own ? c->off - own : 0;
  int rc = mount_readdir (c->fs->mount, c->handle->dir, cookie, c->list.is_plus, flags, on_entry,
                          c);
  if (rc < 0) /* what was listed before the failure is not handed out */
    node_give_back (c->fs, c->node, c->list.refs);
  return rc;
}

static void
drop_readdir (struct call *c, int rc)
{
  if (rc == 0)
    node_give_back (c->fs, c->node, c->list.refs);
}

static void
reply_readdir (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else if (fuse_reply_buf (c->req, (const char *) c->data, c->data_len) != 0)
    node_give_back (c->fs, c->node, c->list.refs);
}

static const struct call_type readdirplus_type
  = { OP_readdirplus, do_readdir, reply_readdir, drop_readdir };
static const struct call_type readdir_type = { OP_readdir, do_readdir, reply_readdir,
                                               drop_readdir };

static void
list (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
      bool is_plus)
{
  if (node_is_control (ino)) {
    control_readdir (req, ino, size, off, is_plus);
    return;
  }
  struct call c;
  call_init (&c, req, is_plus ? &readdirplus_type : &readdir_type, ino);
  c.off = (uint64_t) off;
  c.len = size;
  c.handle = handle_of (fi);
  c.list.is_plus = is_plus;
  c.data = bufpool_get (size, &c.data_cap);
  if (!c.data) {
    reply_err (req, ERR_NOMEM);
    return;
  }
  call_run (&c);
}

void
op_readdir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  list (req, ino, size, off, fi, false);
}

void
op_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  list (req, ino, size, off, fi, true);
}
