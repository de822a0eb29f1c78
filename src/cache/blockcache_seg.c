/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "cache"
#include "cache/blockcache_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/log.h"

#define SEG_FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
/* A segment's number is its order of birth over random bits: an index that was started afresh must
 * not give the file names out again that a process with the old index still uses. */
#define SEG_RANDOM_BITS 24

void
seg_path (const struct blockcache *c, int64_t seg, char out[PATH_MAX])
{
  snprintf (out, PATH_MAX, "%s/%016" PRIx64 ".seg", c->dir, (uint64_t) seg);
}

int
seg_acquire (struct blockcache *c, int64_t seg)
{
  struct seg_fd *f;
  lock_take (&c->lock);
  for (f = c->fds; f < c->fds + SEG_FDS; f++)
    if (f->fd >= 0 && f->seg == seg) {
      f->users++;
      f->used_at = ++c->tick;
      int fd = f->fd;
      lock_release (&c->lock);
      return fd;
    }
  lock_release (&c->lock);
  char path[PATH_MAX];
  seg_path (c, seg, path);
  int fd = open (path, O_RDONLY | SEG_FLAGS), old = -1;
  if (fd < 0)
    return -1;
  lock_take (&c->lock);
  struct seg_fd *best = NULL;
  for (f = c->fds; f < c->fds + SEG_FDS; f++)
    if (f->fd < 0 || f->users == 0)
      if (!best || (best->fd >= 0 && (f->fd < 0 || f->used_at < best->used_at)))
        best = f;
  if (best) {
    old = best->fd;
    *best = (struct seg_fd){ .seg = seg, .fd = fd, .users = 1, .used_at = ++c->tick };
  }
  lock_release (&c->lock);
  if (old >= 0)
    close (old);
  return fd; /* without a slot it is closed by seg_release */
}

void
seg_release (struct blockcache *c, int64_t seg, int fd)
{
  lock_take (&c->lock);
  for (struct seg_fd *f = c->fds; f < c->fds + SEG_FDS; f++)
    if (f->fd == fd) {
      f->users--;
      fd = -1;
      break;
    }
  lock_release (&c->lock);
  if (fd >= 0)
    close (fd);
}

void
seg_remove (struct blockcache *c, int64_t seg)
{
  char path[PATH_MAX];
  int old = -1;
  lock_take (&c->lock);
  for (struct seg_fd *f = c->fds; f < c->fds + SEG_FDS; f++)
    if (f->fd >= 0 && f->seg == seg && f->users == 0) {
      old = f->fd;
      f->fd = -1;
    }
  lock_release (&c->lock);
  if (old >= 0)
    close (old);
  seg_path (c, seg, path);
  /* Truncated first: a descriptor kept open elsewhere must not hold the space. */
  if (truncate (path, 0) < 0 && errno == ENOENT)
    return;
  (void) unlink (path); /* what stays is found by the next start */
}

void
seg_fds_close (struct blockcache *c)
{
  for (struct seg_fd *f = c->fds; f < c->fds + SEG_FDS; f++)
    if (f->fd >= 0) {
      close (f->fd);
      f->fd = -1;
    }
}

bool
seg_read (int fd, uint32_t pos, uint32_t len, const struct unit_name *u, uint8_t *out)
{
  uint8_t header[REC_HEADER_LEN];
  struct iovec iov[] = { { header, sizeof header }, { out, len } };
  ssize_t n = preadv (fd, iov, 2, pos);
  return n == (ssize_t) (len + sizeof header) && record_header_is (header, u, len);
}

static uint32_t
whole_blocks (uint32_t n)
{
  return (n + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
}

static int
seg_create (struct blockcache *c, int64_t last, struct seg_out *out)
{
  char path[PATH_MAX];
  uint32_t salt = 0;
  if (getrandom (&salt, sizeof salt, 0) < 0)
    salt = (uint32_t) getpid ();
  out->id = ((last >> SEG_RANDOM_BITS) + 1) << SEG_RANDOM_BITS;
  out->id |= salt & ((1 << SEG_RANDOM_BITS) - 1);
  seg_path (c, out->id, path);
  out->fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | SEG_FLAGS, 0600);
  if (out->fd < 0 && errno == EINVAL) /* not every file system has it */
    out->fd = open (path, O_RDWR | O_CREAT | O_EXCL | SEG_FLAGS, 0600);
  if (out->fd < 0)
    return err_from_errno (errno);
  (void) flock (out->fd, LOCK_SH | LOCK_NB); /* says that its writer lives; see seg_adopt_dead */
  return 0;
}

/* Sum of sizes to *used, the greatest number to *last. */
static int
seg_totals (struct blockcache *c, int64_t *used, int64_t *last)
{
  sqlite3_stmt *s = c->st.seg_sum;
  int rc = sqlite3_step (s);
  if (rc == SQLITE_ROW) {
    *used = sqlite3_column_int64 (s, 0);
    *last = sqlite3_column_int64 (s, 2);
  }
  sqlite3_reset (s);
  return rc == SQLITE_ROW ? 0 : rc;
}

int
seg_out_ready (struct blockcache *c, enum seg_kind kind, uint32_t len, int *err)
{
  struct seg_out *out = &c->out[kind];
  int64_t is_there, used = 0, last = 0;
  if (out->id) {
    sqlite3_bind_int64 (c->st.seg_is, 1, out->id);
    int rc = db_int (c->st.seg_is, 0, &is_there);
    if (rc != 0)
      return rc;
    if (is_there && out->pos + (uint64_t) len + REC_HEADER_LEN <= out->cap)
      return 0;
    seg_out_close (c, kind);
  }
  uint32_t cap = seg_size (c);
  if (cap < len + REC_HEADER_LEN)
    cap = whole_blocks (len + REC_HEADER_LEN);
  if (!c->stage[kind]) {
    void *p = mmap (NULL, STAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
      *err = ERR_NOMEM;
      return 0;
    }
    c->stage[kind] = p;
  }
  bool is_room = true;
  int rc = 0;
  if (kind == SEG_PROBATION) /* the others are made while room is being made */
    rc = evict_for (c, cap, &is_room);
  if (rc == 0 && !is_room)
    *err = ERR_LIMIT;
  if (rc != 0 || !is_room)
    return rc;
  rc = seg_totals (c, &used, &last);
  if (rc != 0)
    return rc;
  struct seg_out made = { .cap = cap };
  *err = seg_create (c, last, &made);
  if (*err < 0)
    return 0;
  sqlite3_bind_int64 (c->st.seg_new, 1, made.id);
  sqlite3_bind_int (c->st.seg_new, 2, (int) kind);
  sqlite3_bind_int64 (c->st.seg_new, 3, cap);
  rc = db_run (c->st.seg_new);
  if (rc != 0) {
    close (made.fd);
    seg_remove (c, made.id);
    return rc;
  }
  c->segs_made++;
  *out = made;
  return 0;
}

/* Writes the stage in whole blocks; the last one, if it is not full, stays to be written again. */
static int
stage_write (struct blockcache *c, enum seg_kind kind)
{
  struct seg_out *out = &c->out[kind];
  uint8_t *stage = c->stage[kind];
  uint32_t n = whole_blocks (out->stage_len), full = out->stage_len & ~(BLOCK_BYTES - 1);
  memset (stage + out->stage_len, 0, n - out->stage_len);
  ssize_t rc = pwrite (out->fd, stage, n, out->stage_off);
  if (rc != (ssize_t) n)
    return rc < 0 ? err_from_errno (errno) : ERR_FULL;
  memmove (stage, stage + full, out->stage_len - full);
  out->stage_off += full;
  out->stage_len -= full;
  out->is_dirty = false;
  return 0;
}

int
seg_append (struct blockcache *c, enum seg_kind kind, const uint8_t *rec, uint32_t len,
            const struct unit_row *row, int *err)
{
  struct seg_out *out = &c->out[kind];
  uint32_t pos = out->pos;
  for (uint32_t left = len + REC_HEADER_LEN; left && *err == 0;) {
    uint32_t n = STAGE_BYTES - out->stage_len < left ? STAGE_BYTES - out->stage_len : left;
    memcpy (c->stage[kind] + out->stage_len, rec, n);
    rec += n;
    left -= n;
    out->stage_len += n;
    out->pos += n;
    out->is_dirty = true;
    if (out->stage_len == STAGE_BYTES)
      *err = stage_write (c, kind);
  }
  if (*err < 0)
    return 0;
  sqlite3_stmt *s = c->st.unit_put;
  sqlite3_bind_int64 (s, 1, row->key);
  sqlite3_bind_int64 (s, 2, out->id);
  sqlite3_bind_int64 (s, 3, pos);
  sqlite3_bind_int64 (s, 4, len);
  sqlite3_bind_int (s, 5, row->flags);
  int rc = db_run (s);
  if (rc == 0) {
    sqlite3_bind_int64 (c->st.seg_add, 1, out->id);
    sqlite3_bind_int (c->st.seg_add, 2, 1);
    rc = db_run (c->st.seg_add);
  }
  return rc;
}

int
seg_out_flush (struct blockcache *c)
{
  int err = 0;
  for (int i = 0; i < SEG_KINDS && err == 0; i++)
    if (c->out[i].id && c->out[i].is_dirty)
      err = stage_write (c, (enum seg_kind) i);
  return err;
}

void
seg_out_close (struct blockcache *c, enum seg_kind kind)
{
  struct seg_out *out = &c->out[kind];
  if (!out->id)
    return;
  if (out->is_dirty)
    (void) !stage_write (c, kind); /* what is not there is found missing when it is read */
  if (c->db) {
    sqlite3_bind_int64 (c->st.seg_close, 1, out->id);
    sqlite3_bind_int64 (c->st.seg_close, 2, whole_blocks (out->pos));
    db_try (c->st.seg_close); /* stays open in the table: the next start closes it */
  }
  close (out->fd);
  *out = (struct seg_out){ 0 };
}

void
seg_out_forget (struct blockcache *c)
{
  for (int i = 0; i < SEG_KINDS; i++) {
    if (c->out[i].id)
      close (c->out[i].fd);
    c->out[i] = (struct seg_out){ 0 };
  }
}

void
seg_out_abandon (struct blockcache *c)
{
  for (int i = 0; i < SEG_KINDS; i++) {
    struct seg_out *out = &c->out[i];
    int64_t is_there = 0;
    if (!out->id)
      continue;
    out->is_dirty = false;
    sqlite3_bind_int64 (c->st.seg_is, 1, out->id);
    bool is_known = db_int (c->st.seg_is, 0, &is_there) == 0;
    if (is_known && !is_there)
      seg_remove (c, out->id); /* its row was never committed */
    seg_out_close (c, (enum seg_kind) i);
  }
}

static bool
is_own (const struct blockcache *c, int64_t seg)
{
  for (int i = 0; i < SEG_KINDS; i++)
    if (c->out[i].id == seg)
      return true;
  return false;
}

/* Its writer is gone, or it has no file: then *size is -1. */
static bool
is_dead (const struct blockcache *c, int64_t seg, int64_t *size)
{
  char path[PATH_MAX];
  struct stat st;
  *size = -1;
  seg_path (c, seg, path);
  AUTO_FD fd = open (path, O_RDONLY | SEG_FLAGS);
  if (fd < 0 || fstat (fd, &st) < 0)
    return true;
  *size = st.st_size;
  return flock (fd, LOCK_EX | LOCK_NB) == 0;
}

/* Files nobody knows: left by a crash, or by an index that was lost. */
static int
remove_orphans (struct blockcache *c)
{
  DIR *d = opendir (c->dir);
  int rc = 0;
  for (struct dirent *e; rc == 0 && d && (e = readdir (d));) {
    char *end;
    uint64_t id = strtoull (e->d_name, &end, 16);
    int64_t is_there, size;
    if (end != e->d_name + 16 || strcmp (end, ".seg") != 0 || is_own (c, (int64_t) id))
      continue;
    sqlite3_bind_int64 (c->st.seg_is, 1, (int64_t) id);
    rc = db_int (c->st.seg_is, 0, &is_there);
    if (rc == 0 && !is_there && is_dead (c, (int64_t) id, &size))
      seg_remove (c, (int64_t) id);
  }
  if (d)
    closedir (d);
  return rc;
}

int
seg_adopt_dead (struct blockcache *c)
{
  int rc = db_run (c->st.begin);
  if (rc != 0)
    return rc;
  int64_t ids[256];
  int n = 0;
  sqlite3_stmt *s = c->st.seg_live;
  while (n < 256 && (rc = sqlite3_step (s)) == SQLITE_ROW)
    ids[n++] = sqlite3_column_int64 (s, 0);
  sqlite3_reset (s);
  rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
  for (int i = 0; rc == 0 && i < n; i++) {
    int64_t size;
    if (is_own (c, ids[i]) || !is_dead (c, ids[i], &size))
      continue;
    sqlite3_bind_int64 (c->st.seg_close, 1, ids[i]);
    sqlite3_bind_int64 (c->st.seg_close, 2, size < 0 ? 0 : size);
    rc = db_run (c->st.seg_close);
  }
  if (rc == 0)
    rc = remove_orphans (c);
  if (rc == 0)
    rc = db_run (c->st.commit);
  if (rc != 0)
    db_try (c->st.rollback); /* the first error counts */
  return rc;
}
