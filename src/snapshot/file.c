/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "file"
#include "snapshot/file_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define STREAM_START_MIN (64u << 10) /* a write this long may begin a stream anywhere */
#define PUSH_TRIES 8                 /* then a range goes without its neighbours */
#define PAGE_BLOCK (64u << 10)       /* CLASS_PAGES: what an overlay range is widened to */

/* The file's data, made and listed if it was not there.  The snapshot's lock ranks above the
 * file's, so the list is changed by list_data before the file is locked. */
static struct filedata *
data_of (struct inode *i)
{
  lock_assert_held (&i->data_lock);
  return i->data;
}

int
filedata_begin (struct snap *s, struct inode *i)
{
  LOCK_SCOPE (&s->lock);
  LOCK_SCOPE (&i->data_lock);
  if (i->data) {
    i->data->users++;
    return 0;
  }
  struct filedata *d = calloc (1, sizeof *d);
  if (!d)
    return ERR_NOMEM;
  d->users = 1;
  d->snap = s;
  d->inode = i;
  d->next = s->dirty;
  d->link = &s->dirty;
  if (d->next)
    d->next->link = &d->next;
  s->dirty = d;
  i->data = d;
  LOCK_SCOPE (&i->tree->lock);
  i->pins++;
  return 0;
}

/* Frees D if nothing of it is needed; the pin goes with it. */
void
filedata_settle (struct snap *s, struct inode *i, bool end_use)
{
  bool is_over = false;
  lock_take (&s->lock);
  lock_take (&i->data_lock);
  struct filedata *d = i->data;
  if (d) {
    d->users -= end_use && d->users; /* none where all was dropped */
    is_over = d->users == 0 && !d->cur && !d->ahead && !d->flying && !d->error
              && (!d->overlay || overlay_is_empty (d->overlay));
  }
  if (is_over) {
    *d->link = d->next;
    if (d->next)
      d->next->link = d->link;
    overlay_free (d->overlay);
    file_sha_drop (d);
    free (d);
    i->data = NULL;
  }
  lock_release (&i->data_lock);
  lock_release (&s->lock);
  if (is_over)
    worktree_put (i);
}

void
filedata_end (struct snap *s, struct inode *i)
{
  filedata_settle (s, i, true);
}

int
filedata_error (struct inode *i)
{
  LOCK_SCOPE (&i->data_lock);
  return i->data ? i->data->error : 0;
}

void
filedata_fail (struct inode *i, int rc)
{
  LOCK_SCOPE (&i->data_lock);
  struct filedata *d = data_of (i);
  if (d && !d->error)
    d->error = rc; /* no data: the handle that failed has gone */
}

static int
set_extent (struct inode *i, uint64_t off, const struct extent *e)
{
  LOCK_SCOPE (&i->tree->lock);
  int rc = extmap_set (&i->map, off, e);
  inode_touch_locked (i);
  return rc;
}

/* A chunk is in a pack (or failed): from a sealer thread. */
static void
placed (struct pipe_chunk *c, int rc)
{
  struct inode *i = c->ctx;
  struct snap *s = (struct snap *) (uintptr_t) c->ctx_b;
  lock_take (&i->data_lock);
  struct filedata *d = i->data;
  struct flying *f = (struct flying *) (uintptr_t) c->ctx_a;
  *f->link = f->next;
  if (f->next)
    f->next->link = f->link;
  if (rc == 0) {
    lock_take (&i->tree->lock);
    rc = extmap_land (&i->map, f->off, c->len, f->serial, &c->ref);
    inode_touch_locked (i);
    lock_release (&i->tree->lock);
  }
  free (f);
  if (rc && !d->error)
    d->error = rc;
  bool is_idle = !d->flying && !d->users;
  lock_release (&i->data_lock);
  if (rc)
    snap_fail (s, rc, "a chunk could not be stored");
  pipe_chunk_free (s->mount->line, c);
  if (is_idle)
    filedata_settle (s, i, false);
  worktree_put (i);
  if (s->placed_waiters) {
    LOCK_SCOPE (&s->lock);
    pthread_cond_broadcast (&s->changed);
  }
}

static bool
is_all_zero (const uint8_t *p, size_t n)
{
  return n == 0 || (p[0] == 0 && memcmp (p, p + 1, n - 1) == 0);
}

/* Sends the stream's chunk on its way.  The stream goes on behind it. */
static int
push_cur (struct snap *s, struct inode *i, struct filedata *d)
{
  struct pipe_chunk *c = d->cur;
  if (!c)
    return 0;
  uint64_t off = d->cur_off;
  d->cur = NULL;
  d->cur_off = off + c->len;
  if (c->len == 0 || is_all_zero (c->data, c->len)) {
    struct extent zero = { .kind = EXTENT_ZERO, .len = c->len };
    int rc = c->len ? set_extent (i, off, &zero) : 0;
    pipe_chunk_free (s->mount->line, c);
    d->error = d->error ? d->error : rc;
    return rc;
  }
  struct flying *f = calloc (1, sizeof *f);
  struct extent e = { .kind = EXTENT_FLYING, .len = c->len,
                      .ref = { .off = ++d->serial, .sealed_len = c->len + UNIT_OVERHEAD,
                               .plain_len = c->len } };
  int rc = f ? set_extent (i, off, &e) : ERR_NOMEM;
  if (rc) {
    free (f);
    pipe_chunk_free (s->mount->line, c);
    d->error = d->error ? d->error : rc; /* those bytes are lost: never again a success */
    return rc;
  }
  *f = (struct flying){ .next = d->flying, .link = &d->flying, .chunk = c, .off = off,
                        .serial = d->serial };
  if (f->next)
    f->next->link = &f->next;
  d->flying = f;
  lock_take (&i->tree->lock);
  i->pins++;
  lock_release (&i->tree->lock);
  c->dep = &s->dep;
  c->type = UNIT_DATA;
  c->done = placed;
  c->ctx = i;
  c->ctx_a = (uint64_t) (uintptr_t) f;
  c->ctx_b = (uint64_t) (uintptr_t) s;
  pipe_push (s->vault->pipe, c);
  return 0;
}

static void
decide_class (struct inode *i, struct filedata *d, uint64_t off, const uint8_t *p, size_t n)
{
  if (d->has_class)
    return;
  char name[TREE_NAME_MAX + 1] = "";
  if (i->tmp_class)
    class_normal_name (i->tmp_class, name, sizeof name);
  d->class = class_of_file (name, off == 0 ? p : NULL, off == 0 ? n : 0);
  d->has_class = off == 0 || d->class != CLASS_GENERIC;
  d->max = d->class == CLASS_PAGES ? 64 << 10 : d->class == CLASS_IMMUTABLE ? 512 << 10
           : d->class == CLASS_TEXT ? 256 << 10 : CHUNK_MAX_BYTES;
}

int
begin_stream (struct snap *s, struct inode *i, struct filedata *d, uint64_t off)
{
  int rc = push_cur (s, i, d);
  d->cur_off = off;
  chunker_init (&d->chunker, &s->vault->gear, d->class, off);
  return rc;
}

static int
ensure_room (struct snap *s, struct filedata *d, size_t k, size_t more)
{
  size_t want = d->cur ? d->cur->len + k : k;
  if (d->cur && want <= d->cur->cap)
    return 0;
  bool is_tight = pipeline_is_tight (s->mount->line);
  size_t cap = d->cur ? d->cur->cap * (is_tight ? 2 : 4) : more;
  if (!d->cur && more > (128 << 10) && !is_tight)
    cap = 1 << 20;
  if (cap > d->max)
    cap = d->max;
  if (cap < want)
    cap = want;
  if (d->cur)
    return pipe_chunk_grow (s->mount->line, d->cur, cap);
  d->cur = pipe_chunk_new (s->mount->line, cap);
  return d->cur ? 0 : ERR_NOMEM;
}

int
stream_append (struct snap *s, struct inode *i, struct filedata *d, const uint8_t *p, size_t n)
{
  file_sha_append (d, p, n);
  while (n) {
    bool is_cut;
    size_t k = chunker_scan (&d->chunker, p, n, &is_cut);
    int rc = ensure_room (s, d, k, n);
    if (rc)
      return rc;
    struct pipe_chunk *c = d->cur;
    memcpy (c->data + c->len, p, k);
    c->crc = crc32c (c->crc, p, k);
    c->len += (uint32_t) k;
    pipe_chunk_count (s->vault->pipe, c, (uint32_t) k);
    c->stream = filedata_stream (i);
    p += k;
    n -= k;
    if (is_cut) {
      rc = push_cur (s, i, d);
      if (rc)
        return rc;
    }
  }
  return 0;
}

static int
write_overlay (struct snap *s, struct inode *i, struct filedata *d, uint64_t off, const uint8_t *p,
               size_t n)
{
  /* What the stream holds goes first, so that the overlay alone decides about the range. */
  if (d->cur && off < stream_end (d) && off + n > d->cur_off) {
    int rc = begin_stream (s, i, d, stream_end (d));
    if (rc)
      return rc;
  }
  if (!d->overlay) {
    int rc = overlay_new (&s->mount->overlay, &d->overlay);
    if (rc)
      return rc;
  }
  return overlay_write (d->overlay, off, p, n);
}

/* Would a chunk of [off, off + n) take the place of what a group of fsyncs pushed and no checkpoint
 * tells of yet?  A hole where the file was told of counts too: it was punched. */
static bool
is_untold (struct snap *s, struct inode *i, uint64_t off, size_t n)
{
  if (!s->is_syncing)
    return false;
  LOCK_SCOPE (&i->tree->lock);
  if (!extmap_is_changed_in (&i->map, off, off + n))
    return false;
  struct mapped x;
  for (uint64_t at = off; at < off + n; at += x.e.len)
    if (extmap_get (&i->map, at, &x) != 0 || x.e.kind != EXTENT_HOLE || at < i->told)
      return true;
  return false;
}

int
filedata_write (struct snap *s, struct inode *i, uint64_t off, const uint8_t *p, size_t n)
{
  LOCK_SCOPE (&i->data_lock);
  struct filedata *d = data_of (i);
  if (!d)
    return ERR_NOMEM;
  if (d->error || s->is_cut) /* looked at here: the seal draws its line before it pushes */
    return d->error ? d->error : ERR_ROFS;
  lock_take (&i->tree->lock);
  uint64_t size = i->a.size;
  lock_release (&i->tree->lock);
  decide_class (i, d, off, p, n);
  file_sha_begin (s, d, off);
  file_changed (d, off, off + n);
  int rc = 0;
  bool must_wait = is_untold (s, i, off, n);
  bool continues = !must_wait && off == stream_end (d) && (d->cur || d->ahead);
  int kept = continues || must_wait ? 0 : window_keep (s, d, off, p, n);
  if (!continues && !kept && d->ahead) {
    rc = window_flush (s, i, d);
    continues = !must_wait && d->cur && off == stream_end (d);
  }
  bool begins = !continues && !kept && !must_wait && (n >= STREAM_START_MIN || off >= size);
  /* Where the overlay cannot take it, full or on a failing disk, it becomes a chunk of its own:
   * dear, but nothing is refused, and the pipeline's back-pressure holds the writer. */
  if (rc == 0 && !continues && !kept && !begins)
    begins = write_overlay (s, i, d, off, p, n) != 0;
  if (begins && must_wait)
    s->is_overrun = true;
  if (rc == 0 && (begins || (continues && !d->cur)))
    rc = begin_stream (s, i, d, off);
  if (rc == 0 && (continues || begins)) {
    rc = stream_append (s, i, d, p, n);
    /* The stream's bytes are newer than what the overlay has of this range. */
    if (rc == 0 && d->overlay)
      overlay_clear (d->overlay, off, off + n);
    if (rc == 0)
      rc = window_drain (s, i, d);
  }
  if (rc) {
    if (rc != ERR_FULL && rc != ERR_NOMEM)
      d->error = rc;
    return rc;
  }
  LOCK_SCOPE (&i->tree->lock);
  if (off + n > i->a.size)
    i->a.size = off + n;
  i->a.mtime = i->ctime = time_now ();
  inode_touch_locked (i);
  return 0;
}

void
filedata_close (struct snap *s, struct inode *i)
{
  lock_take (&i->data_lock);
  struct filedata *d = i->data;
  int rc = d ? window_flush (s, i, d) : 0;
  if (rc == 0 && d) {
    file_sha_end (d);
    end_in_order (d);
    rc = push_cur (s, i, d);
  }
  lock_release (&i->data_lock);
  pipe_end_stream (s->vault->pipe, filedata_stream (i));
  if (rc)
    snap_fail (s, rc, "the end of a file could not be stored");
}

/* Cuts the stream to end at SIZE; its checksum and cut state begin anew over what is left. */
static void
cut_stream (struct snap *s, struct inode *i, struct filedata *d, uint64_t size)
{
  if (!d->cur || stream_end (d) <= size)
    return;
  if (size <= d->cur_off) {
    pipe_chunk_free (s->mount->line, d->cur);
    d->cur = NULL;
    return;
  }
  struct pipe_chunk *c = d->cur;
  c->len = (uint32_t) (size - d->cur_off);
  c->crc = crc32c (0, c->data, c->len);
  chunker_init (&d->chunker, &s->vault->gear, d->class, d->cur_off);
  bool is_cut;
  (void) chunker_scan (&d->chunker, c->data, c->len, &is_cut);
}

int
filedata_truncate (struct snap *s, struct inode *i, uint64_t size)
{
  LOCK_SCOPE (&i->data_lock);
  if (s->is_cut)
    return ERR_ROFS;
  int rc = i->data ? window_flush (s, i, i->data) : 0;
  if (rc)
    return rc;
  if (i->data) {
    file_changed (i->data, size, UINT64_MAX);
    cut_stream (s, i, i->data, size);
    if (i->data->overlay)
      overlay_clear (i->data->overlay, size, UINT64_MAX);
  }
  LOCK_SCOPE (&i->tree->lock);
  rc = size < i->a.size ? extmap_truncate (&i->map, size) : 0;
  if (rc == 0) {
    inode_cut_locked (i, size);
    if (size != i->a.size)
      inode_set_sha_locked (i, NULL);
    i->a.size = size;
    i->a.mtime = i->ctime = time_now ();
    inode_touch_locked (i);
  }
  return rc;
}

static int
clear_locked (struct snap *s, struct inode *i, uint64_t off, const struct extent *e)
{
  struct filedata *d = data_of (i);
  if (!d)
    return ERR_NOMEM;
  if (d->error || s->is_cut)
    return d->error ? d->error : ERR_ROFS;
  file_changed (d, off, off + e->len);
  int rc = window_flush (s, i, d);
  if (rc == 0 && d->cur && off < stream_end (d) && off + e->len > d->cur_off)
    rc = begin_stream (s, i, d, stream_end (d));
  if (rc)
    return rc;
  if (d->overlay)
    overlay_clear (d->overlay, off, off + e->len);
  rc = e->len ? set_extent (i, off, e) : 0;
  LOCK_SCOPE (&i->tree->lock);
  i->a.mtime = i->ctime = time_now ();
  return rc;
}

int
filedata_clear (struct snap *s, struct inode *i, uint64_t off, uint64_t len, bool is_zero)
{
  struct extent e = { .kind = is_zero ? EXTENT_ZERO : EXTENT_HOLE, .len = len };
  LOCK_SCOPE (&i->data_lock);
  return clear_locked (s, i, off, &e);
}

/* In one step: between a clearing and the new extent somebody would read zeros. */
int
filedata_set_extent (struct snap *s, struct inode *i, uint64_t off, const struct extent *e)
{
  LOCK_SCOPE (&i->data_lock);
  int rc = clear_locked (s, i, off, e);
  LOCK_SCOPE (&i->tree->lock);
  if (rc == 0 && off + e->len > i->a.size)
    i->a.size = off + e->len;
  return rc;
}

/* Those who fill the pipeline from here wait for room, as a writer's request does: an overlay may
 * be far larger than memory. */
static int
wait_room (struct snap *s)
{
  int rc = 0;
  while (pipeline_is_full (s->mount->line)
         && (rc = pipeline_admit (s->mount->line, NS_PER_S)) == ERR_AGAIN)
    ;
  return rc == ERR_CANCELLED ? rc : 0;
}

/* Only what is dirty in [off, end), without its neighbours: it needs nothing from the store, so
 * nobody can write to it meanwhile. */
static int
push_dirty_locked (struct snap *s, struct inode *i, struct filedata *d, uint64_t off, uint64_t end,
                   uint8_t *buf)
{
  lock_assert_held (&i->data_lock);
  uint64_t start, stop;
  int rc = window_flush (s, i, d);
  while (rc == 0 && d->overlay && overlay_next (d->overlay, off, &start, &stop) && start < end) {
    start = start < off ? off : start;
    stop = stop < end ? stop : end;
    rc = overlay_read (d->overlay, start, buf, (size_t) (stop - start));
    if (rc == 0)
      rc = begin_stream (s, i, d, start);
    if (rc == 0)
      rc = stream_append (s, i, d, buf, (size_t) (stop - start));
    if (rc == 0)
      overlay_clear (d->overlay, start, stop);
    off = stop;
  }
  return rc;
}

/* While a group pushes and builds nobody else changes extents. */
static void
wait_synced (struct snap *s)
{
  LOCK_SCOPE (&s->lock);
  while (s->is_syncing)
    lock_wait (&s->changed, &s->lock);
}

/* Pushes the dirty range [start, end) of the overlay as a stream of its own. */
static int
push_range (struct snap *s, struct inode *i, uint64_t start, uint64_t end, bool is_group)
{
  uint8_t *buf = malloc (PAGE_BLOCK * 4);
  if (!buf)
    return ERR_NOMEM;
  int rc = 0;
  unsigned vain = 0; /* how often it was written to while its neighbours were fetched */
  for (uint64_t off = start; rc == 0 && off < end;) {
    size_t n = end - off < PAGE_BLOCK * 4 ? (size_t) (end - off) : PAGE_BLOCK * 4;
    struct read_piece pieces[READ_PIECES_MAX];
    unsigned count = 0;
    if (!is_group)
      wait_synced (s);
    rc = wait_room (s);
    if (rc)
      break;
    lock_take (&i->data_lock);
    uint32_t changes = i->data ? i->data->changes : 0;
    lock_release (&i->data_lock);
    rc = filedata_read (i, off, &n, buf, pieces, &count);
    if (rc == 0 && count)
      rc = snap_load (s->vault, pieces, count, off, 0, buf);
    if (rc || n == 0)
      break;
    LOCK_SCOPE (&i->data_lock);
    struct filedata *d = data_of (i);
    if (!is_group && s->is_syncing)
      continue; /* begun meanwhile */
    if (d && d->overlay && file_has_changed (d, changes, off, off + n) && ++vain > PUSH_TRIES) {
      rc = push_dirty_locked (s, i, d, off, off + n, buf);
      off += n;
      continue;
    }
    if (!d || !d->overlay)
      break; /* dropped: nothing of it is wanted any more */
    if (file_has_changed (d, changes, off, off + n))
      continue; /* written meanwhile: what was read may be old */
    if (stream_end (d) != off || off == start) {
      rc = window_flush (s, i, d); /* what is ahead is so of where the stream is now */
      if (rc == 0)
        rc = begin_stream (s, i, d, off);
    }
    if (rc == 0)
      rc = stream_append (s, i, d, buf, n);
    if (rc == 0)
      overlay_clear (d->overlay, off, off + n);
    off += n;
  }
  free (buf);
  if (rc == 0) {
    LOCK_SCOPE (&i->data_lock);
    struct filedata *d = data_of (i); /* settled meanwhile: nothing is left to push */
    rc = d ? push_cur (s, i, d) : 0;
  }
  return rc;
}

int
filedata_push (struct snap *s, struct inode *i, bool is_group)
{
  lock_take (&i->data_lock);
  struct filedata *d = i->data;
  int rc = d ? d->error : 0;
  if (d && rc == 0)
    rc = window_flush (s, i, d);
  if (d && rc == 0) {
    end_in_order (d);
    rc = push_cur (s, i, d);
  }
  bool is_pages = d && d->class == CLASS_PAGES;
  uint64_t off = 0, start = 0, end = 0;
  while (rc == 0 && i->data && i->data->overlay
         && overlay_next (i->data->overlay, off, &start, &end)) {
    if (is_pages) {
      start = start / PAGE_BLOCK * PAGE_BLOCK;
      end = (end + PAGE_BLOCK - 1) / PAGE_BLOCK * PAGE_BLOCK;
    }
    lock_release (&i->data_lock);
    rc = push_range (s, i, start, end, is_group);
    lock_take (&i->data_lock);
    off = end;
  }
  lock_release (&i->data_lock);
  return rc;
}
