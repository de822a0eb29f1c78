/* SPDX-License-Identifier: Apache-2.0 */
/* call - running a call to its reply, and the replies that operations share. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/control.h"
#include "fs/defer.h"
#include "fs/fs_priv.h"

void
call_run (struct call *c)
{
  int rc = c->type->run (c, MOUNT_NOWAIT);
  if (rc == ERR_WOULDBLOCK) {
    defer_call (c);
    return;
  }
  c->type->reply (c, rc);
  call_release (c);
}

void
call_release (struct call *c)
{
  if (c->data)
    bufpool_put (c->data, c->data_cap);
  c->data = NULL;
  pinned_free (c->pinned);
  c->pinned = NULL;
  buf_release (&c->buf);
}

void
call_set_who (struct call *c)
{
  const struct fuse_ctx *ctx = fuse_req_ctx (c->req);
  c->who = (struct cred){
    .uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask, .pid = (uint32_t) ctx->pid,
  };
}

/* ---- handles ---- */

static void
close_what (struct fs *fs, const struct handle *h)
{
  if (h->file)
    mount_release (fs->mount, h->file);
  if (h->dir)
    mount_closedir (fs->mount, h->dir);
  control_handle_free (h->control);
}

/* *WHAT has one of the three; it is closed where there is no memory. */
static int
handle_new (struct fs *fs, const struct handle *what, struct handle **out)
{
  struct handle *h = malloc (sizeof *h);
  if (!h) {
    close_what (fs, what);
    return ERR_NOMEM;
  }
  *h = (struct handle){ .fs = fs, .file = what->file, .dir = what->dir, .control = what->control };
  atomic_init (&h->refs, 1);
  atomic_init (&h->suid_epoch, 0);
  *out = h;
  LOCK_SCOPE (&fs->handles_lock);
  h->next = fs->handles;
  if (h->next)
    h->next->prev = h;
  fs->handles = h;
  return 0;
}

int
handle_new_file (struct fs *fs, struct file *take, struct handle **out)
{
  return handle_new (fs, &(struct handle){ .file = take }, out);
}

int
handle_new_dir (struct fs *fs, struct dir *take, struct handle **out)
{
  return handle_new (fs, &(struct handle){ .dir = take }, out);
}

int
handle_new_control (struct fs *fs, struct control_handle *take, struct handle **out)
{
  return handle_new (fs, &(struct handle){ .control = take }, out);
}

void
handle_ref (struct handle *h)
{
  if (h)
    atomic_fetch_add (&h->refs, 1);
}

void
handle_unref (struct handle *h)
{
  if (!h || atomic_fetch_sub (&h->refs, 1) != 1)
    return;
  {
    LOCK_SCOPE (&h->fs->handles_lock);
    *(h->prev ? &h->prev->next : &h->fs->handles) = h->next;
    if (h->next)
      h->next->prev = h->prev;
  }
  close_what (h->fs, h);
  free (h);
}

void
handles_close_all (struct fs *fs)
{
  struct handle *h;
  while ((h = fs->handles)) {
    fs->handles = h->next;
    close_what (fs, h);
    free (h);
  }
}

/* ---- attributes ---- */

static mode_t
kind_to_type (uint8_t kind)
{
  switch (kind) {
  case NODE_DIR: return S_IFDIR;
  case NODE_SYMLINK: return S_IFLNK;
  case NODE_FIFO: return S_IFIFO;
  case NODE_SOCKET: return S_IFSOCK;
  case NODE_CHAR: return S_IFCHR;
  case NODE_BLOCK: return S_IFBLK;
  default: return S_IFREG;
  }
}

#define BLOCK_SIZE_HINT (1 << 20) /* st_blksize: cp then writes what one request carries */

void
stat_to_posix (const struct node_stat *in, struct stat *out)
{
  const struct node_attr *a = &in->attr;
  *out = (struct stat){
    .st_ino = in->node,
    .st_mode = kind_to_type (a->kind) | (a->mode & 07777),
    .st_nlink = a->nlink,
    .st_uid = a->uid,
    .st_gid = a->gid,
    .st_rdev = makedev (a->major, a->minor),
    .st_size = (off_t) a->size,
    .st_blksize = BLOCK_SIZE_HINT,
    .st_blocks = (blkcnt_t) in->blocks,
    .st_atim = { .tv_sec = a->atime.sec, .tv_nsec = a->atime.nsec },
    .st_mtim = { .tv_sec = a->mtime.sec, .tv_nsec = a->mtime.nsec },
    .st_ctim = { .tv_sec = in->ctime.sec, .tv_nsec = in->ctime.nsec },
  };
}

double
attr_timeout (const struct node_stat *st)
{
  return st->is_volatile ? TIMEOUT_SHORT_S : TIMEOUT_LONG_S;
}

void
entry_fill (uint64_t parent, const struct node_stat *in, struct fuse_entry_param *out)
{
  memset (out, 0, sizeof *out);
  out->ino = in->node;
  stat_to_posix (in, &out->attr);
  out->attr_timeout = attr_timeout (in);
  /* The names of regions, vaults and snapshots change behind the kernel's back. */
  unsigned class = node_class (parent);
  out->entry_timeout
    = class == CLASS_STATIC || class == CLASS_PLACE ? TIMEOUT_SHORT_S : attr_timeout (in);
}

void
node_give_back (struct fs *fs, uint64_t node, uint64_t n)
{
  if (n && node_class (node) == CLASS_OPEN)
    mount_forget (fs->mount, node, n);
}

/* ---- replies ---- */

void
reply_err (fuse_req_t req, int rc)
{
  fuse_reply_err (req, err_to_errno (rc));
}

void
reply_data_err (fuse_req_t req, int rc)
{
  bool is_transient = err_is_transient (rc) || rc == ERR_WOULDBLOCK;
  fuse_reply_err (req, err_to_errno (is_transient ? ERR_IO : rc));
}

void
reply_rc (struct call *c, int rc)
{
  fuse_reply_err (c->req, err_to_errno (rc));
}

void
reply_entry (struct call *c, int rc)
{
  if (rc < 0) {
    reply_err (c->req, rc);
    return;
  }
  struct fuse_entry_param e;
  entry_fill (c->node, &c->stat, &e);
  if (fuse_reply_entry (c->req, &e) != 0)
    node_give_back (c->fs, c->stat.node, 1);
}

void
reply_attr (struct call *c, int rc)
{
  if (rc < 0) {
    reply_err (c->req, rc);
    return;
  }
  struct stat st;
  stat_to_posix (&c->stat, &st);
  fuse_reply_attr (c->req, &st, attr_timeout (&c->stat));
}

void
drop_nothing (struct call *c, int rc)
{
}

void
drop_entry (struct call *c, int rc)
{
  if (rc == 0)
    node_give_back (c->fs, c->stat.node, 1);
}
