/* SPDX-License-Identifier: Apache-2.0 */
/* op_file - open files: reading, writing and what else works on a handle. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "fs/control.h"
#include "fs/fs_priv.h"
#include "fs/held.h"
#include "fs/notify.h"

/* ---- open, release ---- */

/* Ruling 16: who only writes goes past the page cache (3.5 times cheaper, and errors stay in
 * order); who may also read or map does not, for a direct handle cannot be mapped shared.  A sealed
 * file never changes, so its pages are kept, and closing it has nothing to report. */
void
open_flags_set (struct fuse_file_info *fi, const struct file *file)
{
  int access = fi->flags & O_ACCMODE;
  if (file_is_sealed (file)) {
    fi->keep_cache = 1;
    fi->noflush = 1;
    return;
  }
  if (access == O_RDONLY)
    fi->noflush = 1;
  if (access == O_WRONLY || (fi->flags & O_DIRECT))
    fi->direct_io = 1;
#ifdef HAVE_STRUCT_FUSE_FILE_INFO_PARALLEL_DIRECT_WRITES
  fi->parallel_direct_writes = fi->direct_io;
#endif
}

static int
do_open (struct call *c, unsigned flags)
{
  struct file *file;
  int rc = mount_open (c->fs->mount, c->node, c->mode, flags, &file);
  return rc < 0 ? rc : handle_new_file (c->fs, file, &c->out_handle);
}

static void
drop_open (struct call *c, int rc)
{
  if (rc == 0)
    handle_unref (c->out_handle);
}

static void
reply_open (struct call *c, int rc)
{
  if (rc < 0) {
    reply_err (c->req, rc);
    return;
  }
  c->fi.fh = (uintptr_t) c->out_handle;
  open_flags_set (&c->fi, c->out_handle->file);
  if (fuse_reply_open (c->req, &c->fi) != 0)
    drop_open (c, 0);
}

/* Two types, for an open that truncates changes something and is not interrupted once it runs. */
static const struct call_type open_type = { OP_open, do_open, reply_open, drop_open };
static const struct call_type open_trunc_type = { OP_open, do_open, reply_open, NULL };

void
op_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_open (req, ino, fi);
    return;
  }
  struct call c;
  bool is_trunc = fi->flags & O_TRUNC;
  int access = fi->flags & O_ACCMODE;
  call_init (&c, req, is_trunc ? &open_trunc_type : &open_type, ino);
  c.fi = *fi;
  c.mode = (access != O_WRONLY ? OPEN_READ : 0) | (access != O_RDONLY ? OPEN_WRITE : 0)
           | (is_trunc ? OPEN_TRUNC : 0);
  call_run (&c);
}

void
op_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_release (req, fi);
    return;
  }
  fs_count (fs_of (req), OP_release);
  handle_unref (handle_of (fi));
  fuse_reply_err (req, 0);
}

void
op_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  if (node_is_control (ino))
    fuse_reply_err (req, 0);
  else {
    fs_count (fs_of (req), OP_flush);
    reply_data_err (req, mount_flush (fs_of (req)->mount, handle_of (fi)->file));
  }
}

/* ---- read ---- */

/* The answer comes straight from opened chunks where it can, else from a buffer. */
static int
do_read (struct call *c, unsigned flags)
{
  int rc = mount_read_pinned (c->fs->mount, c->handle->file, c->off, c->len, flags, &c->pinned);
  if (rc != ERR_NOTSUP)
    return rc;
  if (!c->data)
    c->data = bufpool_get (c->len, &c->data_cap);
  if (!c->data)
    return ERR_NOMEM;
  return mount_read (c->fs->mount, c->handle->file, c->off, c->len, flags, c->data, &c->data_len);
}

static void
reply_read (struct call *c, int rc)
{
  if (rc < 0)
    reply_data_err (c->req, rc);
  else if (c->pinned)
    fuse_reply_iov (c->req, c->pinned->iov, c->pinned->count);
  else
    fuse_reply_buf (c->req, (const char *) c->data, c->data_len);
}

static const struct call_type read_type = { OP_read, do_read, reply_read, drop_nothing };

void
op_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_read (req, size, off, fi);
    return;
  }
  struct call c;
  call_init (&c, req, &read_type, ino);
  c.handle = handle_of (fi);
  c.off = (uint64_t) off;
  c.len = size;
  call_run (&c);
}

/* ---- write ---- */

/* A user's write drops the set-id bits.  The kernel sees to it for cached writes; of direct ones it
 * only sends a flag, which libfuse does not hand on.  Nodes seen without such bits are remembered
 * until anything anywhere may have set one. */
static int
drop_suid (struct fs *fs, struct handle *h, fuse_ino_t ino, bool *has_dropped)
{
  uint64_t epoch = fs->suid_epoch + 1;
  if (h->suid_epoch == epoch)
    return 0;
  struct node_stat st;
  int rc = mount_getattr (fs->mount, ino, 0, &st);
  *has_dropped = rc == 0 && (st.attr.mode & (S_ISUID | S_ISGID));
  if (*has_dropped)
    rc = mount_setattr (fs->mount, ino, h->file, SETATTR_KILL_SUIDGID, &st, 0, &st);
  if (rc == 0)
    h->suid_epoch = epoch;
  return rc;
}

/* Takes what mount_write takes without back-pressure. */
static int
take_bytes (struct fs *fs, struct held_request *r, bool *is_held)
{
  while (r->done < r->len && !*is_held) {
    size_t n = 0;
    int rc = mount_write (fs->mount, r->file, r->off + r->done, r->data + r->done, r->len - r->done,
                          &n, is_held);
    if (rc < 0) /* what was taken before it is an answer too, but for pages of a mapping */
      return r->done && !r->is_writeback ? 0 : rc;
    r->done += n;
  }
  return 0;
}

void
op_write (fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
          struct fuse_file_info *fi)
{
  if (node_is_control (ino)) {
    control_write (req, data, size, fi);
    return;
  }
  struct fs *fs = fs_of (req);
  fs_count (fs, OP_write);
  struct handle *h = handle_of (fi);
  struct held_request r = {
    .req = req, .file = h->file, .node = ino, .off = (uint64_t) off,
    .data = (const uint8_t *) data, .len = size, .is_writeback = fi->writepage,
  };
  bool is_held = false, has_dropped = false;
  int rc = 0;
  if (!fi->writepage && fuse_req_ctx (req)->uid != 0)
    rc = drop_suid (fs, h, ino, &has_dropped);
  if (rc == 0)
    rc = take_bytes (fs, &r, &is_held);
  if (rc < 0)
    reply_data_err (req, rc);
  else if (has_dropped)
    notify_attr_then_write (fs->notify, &r, is_held);
  else if (is_held)
    held_add (fs->held, &r);
  else
    fuse_reply_write (req, r.done);
}

/* ---- fallocate, lseek, copy_file_range ---- */

void
op_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
              struct fuse_file_info *fi)
{
  const int known = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE;
  if (node_is_control (ino) || (mode & ~known)) {
    reply_err (req, ERR_NOTSUP);
    return;
  }
  fs_count (fs_of (req), OP_fallocate);
  reply_err (req, mount_fallocate (fs_of (req)->mount, handle_of (fi)->file, mode, (uint64_t) off,
                                   (uint64_t) len));
}

static int
do_lseek (struct call *c, unsigned flags)
{
  return mount_lseek (c->fs->mount, c->handle->file, c->off, c->is_hole, flags, &c->out_off);
}

static void
reply_lseek (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else
    fuse_reply_lseek (c->req, (off_t) c->out_off);
}

static const struct call_type lseek_type = { OP_lseek, do_lseek, reply_lseek, drop_nothing };

void
op_lseek (fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
  if (node_is_control (ino) || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
    reply_err (req, ERR_INVALID);
    return;
  }
  struct call c;
  call_init (&c, req, &lseek_type, ino);
  c.handle = handle_of (fi);
  c.off = (uint64_t) off;
  c.is_hole = whence == SEEK_HOLE;
  call_run (&c);
}

static int
do_copy (struct call *c, unsigned flags)
{
  return mount_copy_range (c->fs->mount, c->handle->file, c->off, c->handle2->file, c->off2,
                           c->len, flags,
                           &c->out_off);
}

static void
reply_copy (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else
    fuse_reply_write (c->req, (size_t) c->out_off);
}

static const struct call_type copy_type = { OP_copy_file_range, do_copy, reply_copy, NULL };

/* The count in a reply has 32 bits. */
#define COPY_MAX (1u << 30)

void
op_copy_file_range (fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                    fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
                    int flags)
{
  if (node_is_control (ino_in) || node_is_control (ino_out)) {
    reply_err (req, ERR_XDEV); /* the kernel then copies by reading and writing */
    return;
  }
  struct call c;
  call_init (&c, req, &copy_type, ino_in);
  c.handle = handle_of (fi_in);
  c.off = (uint64_t) off_in;
  c.node2 = ino_out;
  c.handle2 = handle_of (fi_out);
  c.off2 = (uint64_t) off_out;
  c.len = len < COPY_MAX ? len : COPY_MAX;
  call_run (&c);
}
