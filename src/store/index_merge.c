/* SPDX-License-Identifier: Apache-2.0 */
/* Writing runs, from memory or from other runs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "index"
#include "base/log.h"
#include "store/index_run.h"

#define WRITE_PAGES 16
#define MERGE_MAX 16    /* runs at a time: a page of each is in memory */
#define MERGE_FACTOR 3  /* a run joins when it has at most so many times the entries of all newer */
#define MERGE_MIN 4

struct run_writer {
  int fd, fence_fd, dir;
  uint64_t lo, hi, epoch, count;
  uint32_t pages, fences; /* pages written, fence pages written */
  uint32_t used, keys;    /* entries in `page`, keys in `fence` */
  uint32_t queued;        /* pages in `out` */
  struct record last;
  bool is_finished;
  uint8_t page[PAGE_LEN], fence[PAGE_LEN];
  uint8_t out[WRITE_PAGES * PAGE_LEN];
};

#define RUN_TMP "run.tmp"
#define FENCE_TMP "fence.tmp"

int
run_writer_new (int dir, uint64_t lo, uint64_t hi, uint64_t epoch, struct run_writer **out)
{
  AUTO (run_writer) w = calloc (1, sizeof *w);
  if (!w)
    return ERR_NOMEM;
  w->dir = dir;
  w->lo = lo;
  w->hi = hi;
  w->epoch = epoch;
  char name[64];
  snprintf (name, sizeof name, RUN_TMP ".%016" PRIx64, hi);
  w->fd = openat (dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  snprintf (name, sizeof name, FENCE_TMP ".%016" PRIx64, hi);
  w->fence_fd = openat (dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int errnum = errno;
  if (w->fence_fd >= 0)
    unlinkat (dir, name, 0);
  if (w->fd < 0 || w->fence_fd < 0)
    return err_from_errno (errnum);
  *out = STEAL (w);
  return 0;
}

void
run_writer_free (struct run_writer *w)
{
  char name[64];
  if (!w)
    return;
  if (w->fence_fd >= 0)
    close (w->fence_fd);
  if (w->fd >= 0)
    close (w->fd);
  snprintf (name, sizeof name, RUN_TMP ".%016" PRIx64, w->hi);
  if (!w->is_finished)
    unlinkat (w->dir, name, 0);
  free (w);
}

static int
write_at (int fd, const void *p, size_t n, uint64_t off)
{
  ssize_t put = pwrite (fd, p, n, (off_t) off);
  if (put == (ssize_t) n)
    return 0;
  return put < 0 ? err_from_errno (errno) : ERR_FULL;
}

/* Pages stand from 1 in the file: what is queued ends at `pages`. */
static int
write_queue (struct run_writer *w)
{
  uint64_t off = ((uint64_t) w->pages + 1 - w->queued) * PAGE_LEN;
  int rc = w->queued ? write_at (w->fd, w->out, (size_t) w->queued * PAGE_LEN, off) : 0;
  w->queued = 0;
  return rc;
}

/* Fence pages go to a file of their own until the number of pages is known. */
static int
end_fence (struct run_writer *w)
{
  if (w->keys == 0)
    return 0;
  put_le32 (w->fence + PAGE_LEN - 32, w->keys);
  int rc = write_at (w->fence_fd, w->fence, PAGE_LEN, (uint64_t) w->fences * PAGE_LEN);
  w->fences++;
  w->keys = 0;
  memset (w->fence, 0, PAGE_LEN);
  return rc;
}

static int
end_page (struct run_writer *w)
{
  if (w->used == 0)
    return 0;
  put_le64 (w->fence + 8 * w->keys++, prefix_key (w->page));
  int rc = w->keys == FENCE_KEYS ? end_fence (w) : 0;
  w->pages++;
  page_finish (w->page, w->used, w->pages, w->lo);
  memcpy (w->out + (size_t) w->queued++ * PAGE_LEN, w->page, PAGE_LEN);
  memset (w->page, 0, PAGE_LEN);
  w->used = 0;
  if (rc == 0 && w->queued == WRITE_PAGES)
    rc = write_queue (w);
  return rc;
}

int
run_writer_put (struct run_writer *w, const struct record *r)
{
  if (w->count) {
    int c = record_compare (&w->last, r);
    if (c == 0)
      return 0;
    if (c > 0)
      return ERR_INVALID;
  }
  record_put (r, w->page + w->used++ * RECORD_LEN);
  w->last = *r;
  w->count++;
  return w->used == PAGE_RECORDS ? end_page (w) : 0;
}

static int
append_fences (struct run_writer *w)
{
  uint8_t page[PAGE_LEN];
  for (uint32_t i = 0; i < w->fences; i++) {
    if (pread (w->fence_fd, page, PAGE_LEN, (off_t) i * PAGE_LEN) != PAGE_LEN)
      return ERR_IO;
    uint32_t no = w->pages + 1 + i;
    page_finish (page, page_used (page), no, w->lo);
    int rc = write_at (w->fd, page, PAGE_LEN, (uint64_t) no * PAGE_LEN);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
write_header (struct run_writer *w)
{
  uint8_t h[PAGE_LEN] = RUN_MAGIC;
  put_le64 (h + 8, w->epoch);
  put_le64 (h + 16, w->lo);
  put_le64 (h + 24, w->hi);
  put_le64 (h + 32, w->count);
  put_le32 (h + 40, w->pages);
  put_le32 (h + 44, w->fences);
  page_finish (h, 0, 0, w->lo);
  return write_at (w->fd, h, PAGE_LEN, 0);
}

int
run_writer_finish (struct run_writer *w, struct run **out)
{
  char tmp[64], name[64];
  if (w->count == 0)
    return ERR_NODATA;
  int rc = end_page (w);
  if (rc == 0)
    rc = write_queue (w);
  if (rc == 0)
    rc = end_fence (w);
  if (rc == 0)
    rc = append_fences (w);
  if (rc == 0)
    rc = write_header (w);
  if (rc < 0)
    return rc;
  run_name (w->lo, w->hi, name);
  snprintf (tmp, sizeof tmp, RUN_TMP ".%016" PRIx64, w->hi);
  if (fdatasync (w->fd) < 0 || renameat (w->dir, tmp, w->dir, name) < 0 || fsync (w->dir) < 0)
    return err_from_errno (errno);
  w->is_finished = true;
  return run_open (w->dir, w->lo, w->hi, w->epoch, out);
}

/* --- merging --- */

struct head { /* one of the runs being merged, at one entry */
  struct run *run;
  uint32_t page, at;
  bool is_over;
  struct record now;
  uint8_t bytes[PAGE_LEN];
};

/* To the next entry; damaged pages are passed over. */
static void
head_next (struct head *h)
{
  while (h->page == 0 || h->at >= page_used (h->bytes)) {
    if (h->page == h->run->pages) {
      h->is_over = true;
      return;
    }
    h->page++;
    h->at = 0;
    if (!run_read_page (h->run, h->page, h->bytes))
      memset (h->bytes, 0, PAGE_LEN); /* no entries */
  }
  record_get (h->bytes + h->at++ * RECORD_LEN, &h->now);
}

static bool
pack_is_alive (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  enum pack_life life = packs_life (&x->packs, no);
  return life == PACK_DONE || life == PACK_FOREIGN;
}

/* All entries of HEADS whose pack is still there, in order, into W. */
static int
merge_heads (struct index *x, struct head *heads, unsigned n, struct run_writer *w)
{
  for (unsigned i = 0; i < n; i++)
    head_next (&heads[i]);
  for (;;) {
    struct head *least = NULL;
    for (unsigned i = 0; i < n; i++)
      if (!heads[i].is_over && (!least || record_compare (&heads[i].now, &least->now) < 0))
        least = &heads[i];
    if (!least)
      return 0;
    int rc = pack_is_alive (x, least->now.pack) ? run_writer_put (w, &least->now) : 0;
    if (rc < 0)
      return rc;
    head_next (least);
  }
}

/* The newest runs that are worth merging, referenced; 0 if it does not pay.  None while a run is
 * being written: the merged one would claim its number. */
static unsigned
choose_locked (struct index *x, struct run **out)
{
  if (x->run_count < 2 || x->writers)
    return 0;
  uint64_t total = x->runs[x->run_count - 1]->count;
  unsigned n = 1;
  while (n < x->run_count && n < MERGE_MAX) {
    uint64_t next = x->runs[x->run_count - 1 - n]->count;
    if (next > total * MERGE_FACTOR && x->run_count < RUNS_MAX / 2)
      break;
    total += next;
    n++;
  }
  if (n < MERGE_MIN)
    return 0;
  for (unsigned i = 0; i < n; i++) {
    out[i] = x->runs[x->run_count - n + i];
    out[i]->refs++;
  }
  return n;
}

/* NEW (may be NULL: nothing was left) takes the place of the N runs of OLD. */
static void
replace_locked (struct index *x, struct run **old, unsigned n, struct run *new)
{
  unsigned at = 0;
  while (x->runs[at] != old[0])
    at++;
  for (unsigned i = 0; i < n; i++) {
    old[i]->is_dead = true;
    old[i]->refs--; /* the list's; the merger's own is left */
  }
  unsigned keep = new ? 1 : 0;
  if (new) {
    new->serial = ++x->next_serial;
    x->runs[at] = new;
  }
  memmove (x->runs + at + keep, x->runs + at + n,
           (x->run_count - at - n) * sizeof x->runs[0]);
  x->run_count -= n - keep;
}

static int
merge (struct index *x, struct run **old, unsigned n)
{
  AUTO (run_writer) w = NULL;
  struct run *new = NULL;
  AUTO_MEM struct head *heads = calloc (n, sizeof *heads);
  if (!heads)
    return ERR_NOMEM;
  for (unsigned i = 0; i < n; i++)
    heads[i].run = old[i];
  int rc = run_writer_new (x->dir, old[0]->lo, old[n - 1]->hi, x->packs.epoch, &w);
  if (rc == 0)
    rc = merge_heads (x, heads, n, w);
  if (rc == 0)
    rc = run_writer_finish (w, &new);
  if (rc < 0 && rc != ERR_NODATA)
    return rc;
  lock_take (&x->lock);
  replace_locked (x, old, n, new);
  lock_release (&x->lock);
  return 0;
}

void
index_maintain (struct index *x)
{
  struct run *old[MERGE_MAX];
  lock_take (&x->lock);
  unsigned n = x->is_merging ? 0 : choose_locked (x, old);
  if (n)
    x->is_merging = true;
  lock_release (&x->lock);
  if (n == 0)
    return;
  int rc = merge (x, old, n);
  if (rc < 0)
    log_warn ("cannot merge parts of the index, they stay as they are err=\"%s\"", err_str (rc));
  index_unref_runs (x, old, n);
  lock_take (&x->lock);
  x->is_merging = false;
  lock_release (&x->lock);
}
