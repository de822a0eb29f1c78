/* SPDX-License-Identifier: Apache-2.0 */
/* Open files: reading, writing, holes, copied ranges. */
#define LOG_MODULE "mount"
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/where.h"

#define WRITE_STEP (1u << 20)
/* while the pipeline is behind: small steps, early (ruling 11) */
#define WRITE_STEP_FULL (128u << 10)

static int
begin_write (struct file *f)
{
  struct snap *s = f->snap;
  int rc = filedata_begin (s, f->inode);
  if (rc)
    return rc;
  lock_take (&s->lock);
  rc = s->life == LIFE_OPEN && !s->is_finished ? 0 : ERR_ROFS;
  if (rc == 0) {
    s->writers++;
    f->next = s->files;
    s->files = f;
  }
  lock_release (&s->lock);
  if (rc)
    filedata_end (s, f->inode);
  return rc;
}

static void
end_write (struct file *f)
{
  struct snap *s = f->snap;
  filedata_close (s, f->inode);
  filedata_end (s, f->inode);
  LOCK_SCOPE (&s->lock);
  for (struct file **at = &s->files; *at; at = &(*at)->next)
    if (*at == f) {
      *at = f->next;
      s->writers--;
      break;
    }
  pthread_cond_broadcast (&s->changed);
}

/* Takes over INODE (pinned) and one use of S. */
static int
open_in_tree (struct snap *s, struct inode *inode, unsigned mode, struct file **out)
{
  struct file *f = calloc (1, sizeof *f);
  if (!f) {
    worktree_put (inode);
    s->users--;
    return ERR_NOMEM;
  }
  f->snap = s;
  f->inode = inode;
  f->mode = mode;
  f->node = node_of_open (s, inode->ino);
  int rc = mode & OPEN_WRITE ? begin_write (f) : 0;
  if (rc) {
    worktree_put (inode);
    s->users--;
    free (f);
    return rc;
  }
  *out = f;
  return 0;
}

int
mount_open (struct mount *m, uint64_t node, unsigned mode, unsigned flags, struct file **out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  if (w.place == AT_SEALED) {
    if (mode & (OPEN_WRITE | OPEN_TRUNC))
      return ERR_ROFS;
    AUTO (sealed_file) sf = NULL;
    rc = sealed_file_open (w.sealed, w.row, flags, &sf);
    struct file *f = rc ? NULL : calloc (1, sizeof *f);
    if (!f)
      return rc ? rc : ERR_NOMEM;
    f->sealed = w.sealed;
    f->node = node;
    f->mode = mode;
    f->sf = STEAL (sf);
    *out = f;
    return 0;
  }
  if (w.place != AT_OPEN)
    return ERR_ISDIR;
  struct inode *i;
  rc = worktree_get (w.snap->tree, w.ino, &i);
  if (rc)
    return rc == ERR_NOENT ? ERR_STALE : rc;
  if (i->a.kind != NODE_FILE) {
    rc = i->a.kind == NODE_DIR ? ERR_ISDIR : ERR_NXIO;
    worktree_put (i);
    return rc;
  }
  w.snap->users++;
  struct snap *s = w.snap;
  rc = open_in_tree (s, i, mode, out);
  if (rc == 0 && (mode & OPEN_TRUNC)) {
    rc = filedata_truncate (s, (*out)->inode, 0);
    if (rc)
      mount_release (m, STEAL (*out));
  }
  return rc;
}

static int
create (struct mount *m, const struct cred *who, uint64_t parent, const char *name, uint32_t perm,
        unsigned mode, struct file **out, struct node_stat *stat)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, parent, &w);
  if (rc)
    return rc;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  struct mknod_args args = { .kind = NODE_FILE, .mode = perm };
  struct inode *i;
  rc = make_open_node (&w, who, name, &args, &i);
  if (rc)
    return rc;
  inode_stat (i, stat);
  stat->node = node_of_open (w.snap, i->ino);
  w.snap->users++;
  rc = open_in_tree (w.snap, i, mode, out);
  if (rc == 0)
    snap_ref (w.snap);
  return rc;
}

int
mount_create (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
              uint32_t perm,
              unsigned mode, unsigned flags, struct file **out, struct node_stat *stat)
{
  (void) flags;
  return create (m, who, parent, name, perm, mode, out, stat);
}

int
mount_tmpfile (struct mount *m, const struct cred *who, uint64_t parent, uint32_t perm,
               unsigned mode,
               struct file **out, struct node_stat *stat)
{
  return create (m, who, parent, NULL, perm, mode, out, stat);
}

void
mount_release (struct mount *m, struct file *f)
{
  (void) m;
  if (!f)
    return;
  if (f->snap) {
    struct snap *s = f->snap;
    if (f->mode & OPEN_WRITE)
      end_write (f);
    worktree_put (f->inode);
    s->users--;
  }
  sealed_file_free (f->sf);
  free (f);
}

bool
file_is_sealed (const struct file *f)
{
  return f->sealed != NULL;
}

uint64_t
file_node (const struct file *f)
{
  return f->node;
}

int
mount_read (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags, uint8_t *out,
            size_t *got)
{
  (void) m;
  if (f->sf)
    return sealed_file_read (f->sf, off, len, flags, out, got);
  *got = 0;
  while (*got < len) {
    struct read_piece pieces[READ_PIECES_MAX];
    unsigned count;
    size_t n = len - *got;
    int rc = filedata_read (f->inode, off + *got, &n, out + *got, pieces, &count);
    if (rc == 0 && n && count)
      rc = snap_load (f->snap->vault, pieces, count, off + *got,
                      flags & MOUNT_NOWAIT ? READER_NOWAIT : 0, out + *got);
    if (rc)
      return rc;
    if (n == 0)
      break;
    *got += n;
  }
  return 0;
}

int
mount_read_pinned (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags,
                   struct pinned **out)
{
  (void) m;
  return f->sf ? sealed_file_pin (f->sf, off, len, flags, out) : ERR_NOTSUP;
}

bool
mount_may_write (struct mount *m, const struct file *f)
{
  struct pipe *v = f->snap ? f->snap->vault->pipe : NULL;
  if (v && pipe_is_behind (v))
    return false;
  return !pipeline_is_full (m->line) || (v && pipe_favours (v, filedata_stream (f->inode)));
}

int
mount_write (struct mount *m, struct file *f, uint64_t off, const uint8_t *data, size_t len,
             size_t *done,
             bool *is_held)
{
  struct snap *s = f->snap;
  if (!s || !(f->mode & OPEN_WRITE))
    return ERR_BADF;
  *is_held = !mount_may_write (m, f);
  size_t step = pipe_write_step (s->vault->pipe, *is_held ? WRITE_STEP_FULL : WRITE_STEP);
  size_t n = len < step ? len : step;
  if (off > INT64_MAX - n)
    return ERR_FBIG;
  if (s->is_cut)
    return ERR_ROFS;
  if (s->error)
    return s->error;
  int rc = filedata_write (s, f->inode, off, data, n);
  if (rc) {
    if (rc != ERR_NOMEM && rc != ERR_ROFS)
      snap_fail (s, rc, "a write could not be taken");
    return rc;
  }
  if (m->overlay.used > m->overlay.max / 2 && filedata_has_overlay (f->inode))
    snap_drain_start (s);
  f->wrote = true;
  s->received += n;
  s->last_write = clock_wall ();
  *done = n;
  return 0;
}

int
mount_admit (struct mount *m, const struct file *f, int64_t timeout_ns)
{
  return f->snap ? pipe_admit (f->snap->vault->pipe, timeout_ns)
                 : pipeline_admit (m->line, timeout_ns);
}

void
mount_write_expired (struct mount *m, struct file *f)
{
  (void) m;
  filedata_fail (f->inode, ERR_IO);
  snap_fail (f->snap, ERR_IO, "a write waited longer than write-timeout for the store");
}

int
mount_flush (struct mount *m, struct file *f)
{
  (void) m;
  if (!f->snap || !(f->mode & OPEN_WRITE))
    return 0;
  int rc = filedata_error (f->inode);
  return rc ? rc : f->snap->error;
}

int
mount_fallocate (struct mount *m, struct file *f, int mode, uint64_t off, uint64_t len)
{
  if (!f->snap || !(f->mode & OPEN_WRITE))
    return ERR_BADF;
  if (mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
    return ERR_NOTSUP;
  if (len == 0 || off > INT64_MAX - len)
    return len ? ERR_FBIG : ERR_INVALID;
  if (f->snap->is_cut)
    return ERR_ROFS;
  lock_take (&f->inode->tree->lock);
  uint64_t size = f->inode->a.size;
  lock_release (&f->inode->tree->lock);
  int rc = 0;
  if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) {
    uint64_t end = mode & FALLOC_KEEP_SIZE && off + len > size ? size : off + len;
    if (off < end)
      rc = filedata_clear (f->snap, f->inode, off, end - off, (mode & FALLOC_ZERO_RANGE) != 0);
  }
  if (rc == 0 && !(mode & FALLOC_KEEP_SIZE) && off + len > size)
    rc = filedata_truncate (f->snap, f->inode, off + len);
  (void) m;
  return rc;
}

int
mount_lseek (struct mount *m, struct file *f, uint64_t off, bool is_hole, unsigned flags,
             uint64_t *out)
{
  (void) m;
  if (f->snap)
    return filedata_seek (f->inode, off, is_hole, out);
  uint64_t size = sealed_file_size (f->sf);
  if (off >= size)
    return ERR_NXIO;
  while (off < size) {
    struct mapped x;
    uint8_t pack[PACK_NAME_LEN];
    int rc = sealed_file_get (f->sf, off, flags, &x, pack);
    if (rc)
      return rc;
    if ((x.e.kind == EXTENT_HOLE) == is_hole) {
      *out = off;
      return 0;
    }
    off = x.e.len < size - off ? off + x.e.len : size;
  }
  *out = size;
  return is_hole ? 0 : ERR_NXIO;
}

/* References are copied, no bytes (DESIGN 3).  Within an open snapshot the kernel copies by
 * itself. */
int
mount_copy_range (struct mount *m, struct file *in, uint64_t in_off, struct file *out,
                  uint64_t out_off,
                  uint64_t len, unsigned flags, uint64_t *copied)
{
  (void) m;
  *copied = 0;
  if (!out->snap || !(out->mode & OPEN_WRITE))
    return ERR_BADF;
  if (!in->sf)
    return ERR_NOTSUP;
  struct snap *s = out->snap;
  if (in->sealed->vault != s->vault)
    return ERR_XDEV;
  if (s->is_cut)
    return ERR_ROFS;
  if (!snap_has_pinned (s, in->sealed)) {
    if (flags & MOUNT_NOWAIT)
      return ERR_WOULDBLOCK;
    int rc = snap_wait_begun (s);
    if (rc == 0 && !snap_has_pinned (s, in->sealed))
      rc = snap_pin_tree (s, in->sealed);
    if (rc)
      return rc;
  }
  uint64_t size = sealed_file_size (in->sf);
  if (in_off >= size)
    return 0;
  if (len > size - in_off)
    len = size - in_off;
  uint32_t since = filedata_changes (out->inode), count = 0;
  while (*copied < len) {
    struct mapped x;
    uint8_t pack[PACK_NAME_LEN];
    int rc = sealed_file_get (in->sf, in_off + *copied, flags, &x, pack);
    if (rc)
      return *copied ? 0 : rc;
    if (x.e.len > len - *copied)
      x.e.len = len - *copied;
    if (x.e.kind == EXTENT_DATA)
      rc = index_pack_intern (s->vault->index, pack, &x.e.ref.pack);
    if (rc == 0)
      rc = filedata_set_extent (s, out->inode, out_off + *copied, &x.e);
    if (rc)
      return *copied ? 0 : rc;
    *copied += x.e.len;
    count++;
  }
  if (in_off == out_off)
    filedata_copied (out->inode, sealed_file_sha256 (in->sf), size, in_off, *copied, since, count);
  out->wrote = true;
  return 0;
}

int
mount_statfs (struct mount *m, uint64_t node, struct mount_statfs *out)
{
  (void) m;
  (void) node;
  /* No quota: a large constant, never "full" (ruling 30g). */
  *out = (struct mount_statfs){ .blocks = 1ull << 40, .bfree = 1ull << 39, .bavail = 1ull << 39,
                                .files = 1ull << 40, .ffree = 1ull << 39, .bsize = 4096,
                                .namemax = TREE_NAME_MAX };
  return 0;
}
