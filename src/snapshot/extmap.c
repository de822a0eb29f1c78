/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/extmap.h"

#include <stdlib.h>
#include <string.h>

/* Loaded segments per file; each is at most SEG_MAX * 80 bytes = 20 KiB.  Where all files of the
 * store hold much, of each that is touched so few stay. */
#define LOADED_MAX 24
#define LOADED_MIN 2

static uint64_t
end_of (const struct mapped *x)
{
  return x->off + x->e.len;
}

static void
cut_front (struct mapped *x, uint64_t n)
{
  x->off += n;
  x->e.len -= n;
  if (x->e.kind == EXTENT_DATA || x->e.kind == EXTENT_FLYING)
    x->e.chunk_off += (uint32_t) n;
}

void
extmap_init (struct extmap *m, const struct seg_store *store)
{
  *m = (struct extmap){ .store = store };
}

/* Room for CAP extents in S; 0: its memory is given back. */
static int
set_cap (struct extmap *m, struct segment *s, uint32_t cap)
{
  struct mapped *at = cap ? realloc (s->at, cap * sizeof *at) : NULL;
  if (cap && !at)
    return ERR_NOMEM;
  if (!cap)
    free (s->at);
  if (m->store->held)
    *m->store->held += (cap - (size_t) s->cap) * sizeof *at;
  s->at = at;
  s->cap = cap;
  return 0;
}

static void
drop (struct extmap *m, struct segment *s)
{
  (void) !set_cap (m, s, 0);
}

static uint32_t
loaded_max (const struct extmap *m)
{
  return m->store->held && *m->store->held > SEGS_HELD_MAX ? LOADED_MIN : LOADED_MAX;
}

void
extmap_release (struct extmap *m)
{
  for (uint32_t i = 0; i < m->count; i++)
    drop (m, &m->segs[i]);
  free (m->segs);
  *m = (struct extmap){ .store = m->store };
}

/* The segment that covers OFF. */
static uint32_t
seg_find (const struct extmap *m, uint64_t off)
{
  uint32_t lo = 0, hi = m->count;
  while (hi - lo > 1) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (m->segs[mid].start <= off)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

static uint64_t
seg_end (const struct extmap *m, uint32_t i)
{
  return i + 1 < m->count ? m->segs[i + 1].start : UINT64_MAX;
}

int
segment_encode (const struct segment *s, struct buf *out)
{
  buf_put_varint (out, s->count);
  for (uint32_t i = 0; i < s->count; i++) {
    const struct mapped *x = &s->at[i];
    buf_put_varint (out, x->off);
    buf_put_varint (out, x->e.len);
    buf_put_u8 (out, x->e.kind);
    if (x->e.kind != EXTENT_DATA && x->e.kind != EXTENT_FLYING)
      continue;
    buf_put_varint (out, x->e.chunk_off);
    if (x->e.kind == EXTENT_DATA)
      chunk_ref_put (out, &x->e.ref);
    else { /* no place in a pack yet */
      buf_put_varint (out, x->e.ref.off);
      buf_put_varint (out, x->e.ref.plain_len);
    }
  }
  return buf_error (out);
}

static int
segment_decode (struct extmap *m, struct segment *s, struct rd *r)
{
  uint64_t n = rd_varint (r);
  if (r->failed || n > SEG_MAX)
    return ERR_FORMAT;
  if (n > s->cap && set_cap (m, s, (uint32_t) n) != 0)
    return ERR_NOMEM;
  for (uint64_t i = 0; i < n; i++) {
    struct mapped *x = &s->at[i];
    memset (x, 0, sizeof *x);
    x->off = rd_varint (r);
    x->e.len = rd_varint (r);
    x->e.kind = rd_u8 (r);
    if (x->e.kind != EXTENT_DATA && x->e.kind != EXTENT_FLYING)
      continue;
    x->e.chunk_off = (uint32_t) rd_varint (r);
    if (x->e.kind == EXTENT_DATA)
      chunk_ref_get (r, UINT32_MAX, &x->e.ref);
    else {
      x->e.ref.off = (uint32_t) rd_varint (r);
      x->e.ref.plain_len = (uint32_t) rd_varint (r);
    }
  }
  s->count = (uint32_t) n;
  return r->failed ? ERR_FORMAT : 0;
}

static int
save (struct extmap *m, struct segment *s)
{
  AUTO_BUF b;
  buf_init (&b, SEG_MAX * 128);
  int rc = segment_encode (s, &b);
  if (rc == 0)
    rc = m->store->save (m->store->ctx, s->start, b.data, b.len);
  if (rc == 0) {
    s->is_dirty = false;
    s->is_stored = true;
  }
  return rc;
}

static int
unload (struct extmap *m, struct segment *s)
{
  /* A flying extent is saved as such: its landing is a change like any other. */
  int rc = s->is_dirty ? save (m, s) : 0;
  if (rc)
    return rc;
  drop (m, s);
  s->is_loaded = false;
  m->loaded--;
  return 0;
}

static int
by_use (const void *a, const void *b)
{
  const struct segment *x = *(struct segment *const *) a, *y = *(struct segment *const *) b;
  return x->used < y->used ? -1 : x->used > y->used;
}

/* Down to half the limit, the longest unused first, but for KEEP: a look at all segments each time
 * one is loaded or begun would cost more than the loading. */
static int
unload_oldest (struct extmap *m, const struct segment *keep)
{
  struct segment *at[2 * LOADED_MAX];
  size_t n = 0;
  for (uint32_t i = 0; i < m->count && n < 2 * LOADED_MAX; i++)
    if (m->segs[i].is_loaded && &m->segs[i] != keep)
      at[n++] = &m->segs[i];
  qsort (at, n, sizeof *at, by_use);
  int rc = 0;
  for (size_t k = 0; rc == 0 && k + loaded_max (m) / 2 < n; k++)
    rc = unload (m, at[k]);
  return rc;
}

/* Whatever is done with a segment begins here, so that those a growing file begins are bounded
 * too. */
static int
load (struct extmap *m, struct segment *s)
{
  s->used = ++m->clock;
  if (!s->is_loaded && s->is_stored) {
    AUTO_BUF b;
    buf_init (&b, SEG_MAX * 128);
    int rc = m->store->load (m->store->ctx, s->start, &b);
    struct rd r = rd_of (b.data, b.len);
    if (rc == 0)
      rc = segment_decode (m, s, &r);
    if (rc)
      return rc;
  }
  m->loaded += !s->is_loaded;
  s->is_loaded = true;
  return m->loaded > loaded_max (m) ? unload_oldest (m, s) : 0;
}

static int
seg_insert_at (struct extmap *m, uint32_t i, uint64_t start)
{
  if (m->count == m->cap) {
    uint32_t cap = m->cap ? m->cap * 2 : 1;
    struct segment *more = realloc (m->segs, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    m->segs = more;
    m->cap = cap;
  }
  memmove (&m->segs[i + 1], &m->segs[i], (m->count - i) * sizeof *m->segs);
  m->segs[i] = (struct segment){ .start = start, .is_loaded = true, .used = ++m->clock };
  m->count++;
  m->loaded++;
  return 0;
}

/* Position of the first extent in S that ends after OFF. */
static uint32_t
pos_find (const struct segment *s, uint64_t off)
{
  uint32_t lo = 0, hi = s->count;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (end_of (&s->at[mid]) <= off)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static int
reserve_one (struct extmap *m, struct segment *s)
{
  return s->count < s->cap ? 0 : set_cap (m, s, s->cap ? s->cap * 2 : 1);
}

/* Splits the full segment I; an append at OFF opens an empty one, else the upper half moves. */
static int
split (struct extmap *m, uint32_t i, uint64_t off)
{
  struct segment *s = &m->segs[i];
  uint32_t keep = s->count / 2;
  uint64_t start = s->at[keep].off;
  if (off >= end_of (&s->at[s->count - 1])) {
    keep = s->count;
    start = off;
  }
  int rc = seg_insert_at (m, i + 1, start);
  if (rc)
    return rc;
  s = &m->segs[i];
  struct segment *t = &m->segs[i + 1];
  uint32_t moved = s->count - keep;
  if (moved) {
    if (set_cap (m, t, SEG_MAX) != 0) {
      memmove (t, t + 1, (m->count - i - 2) * sizeof *t);
      m->count--;
      m->loaded--;
      return ERR_NOMEM;
    }
    memcpy (t->at, s->at + keep, moved * sizeof *t->at);
  }
  t->count = moved;
  s->count = keep;
  s->is_dirty = s->is_changed = t->is_dirty = t->is_changed = true;
  return 0;
}

static int
insert_at (struct extmap *m, uint32_t i, uint32_t pos, const struct mapped *x)
{
  struct segment *s = &m->segs[i];
  int rc = reserve_one (m, s);
  if (rc)
    return rc;
  memmove (&s->at[pos + 1], &s->at[pos], (s->count - pos) * sizeof *s->at);
  s->at[pos] = *x;
  s->count++;
  s->is_dirty = s->is_changed = true;
  return 0;
}

/* Clears [off, end) inside segment I.  May need one more slot (a hole punched into one extent). */
static int
clear_in (struct extmap *m, uint32_t i, uint64_t off, uint64_t end)
{
  int rc = load (m, &m->segs[i]);
  if (rc)
    return rc;
  struct segment *s = &m->segs[i];
  uint32_t pos = pos_find (s, off);
  if (pos == s->count || s->at[pos].off >= end)
    return 0;
  s->is_dirty = s->is_changed = true;
  struct mapped *x = &s->at[pos];
  if (x->off < off && end_of (x) > end) {
    struct mapped tail = *x;
    cut_front (&tail, end - x->off);
    if (s->count == SEG_MAX) {
      rc = split (m, i, off);
      return rc ? rc : extmap_set (m, off, &(struct extent){ .kind = EXTENT_HOLE,
                                   .len = end - off });
    }
    x->e.len = off - x->off;
    return insert_at (m, i, pos + 1, &tail);
  }
  if (x->off < off) {
    x->e.len = off - x->off;
    pos++;
  }
  uint32_t last = pos;
  while (last < s->count && end_of (&s->at[last]) <= end)
    last++;
  if (last < s->count && s->at[last].off < end)
    cut_front (&s->at[last], end - s->at[last].off);
  memmove (&s->at[pos], &s->at[last], (s->count - last) * sizeof *s->at);
  s->count -= last - pos;
  return 0;
}

static int
set_in (struct extmap *m, uint64_t off, const struct extent *e)
{
  uint32_t i = seg_find (m, off);
  int rc = load (m, &m->segs[i]);
  if (rc)
    return rc;
  if (m->segs[i].count == SEG_MAX) {
    rc = split (m, i, off);
    if (rc)
      return rc;
    i = seg_find (m, off);
  }
  struct mapped x = { .off = off, .e = *e };
  return insert_at (m, i, pos_find (&m->segs[i], off), &x);
}

int
extmap_set (struct extmap *m, uint64_t off, const struct extent *e)
{
  if (m->count == 0) {
    int rc = seg_insert_at (m, 0, 0);
    if (rc)
      return rc;
  }
  uint64_t end = off + e->len;
  while (off < end) {
    uint32_t i = seg_find (m, off);
    uint64_t stop = seg_end (m, i) < end ? seg_end (m, i) : end;
    int rc = clear_in (m, i, off, stop);
    if (rc)
      return rc;
    if (e->kind != EXTENT_HOLE) {
      struct extent part = *e;
      part.chunk_off += e->kind == EXTENT_ZERO ? 0 : (uint32_t) (off - (end - e->len));
      part.len = stop - off;
      rc = set_in (m, off, &part);
      if (rc)
        return rc;
    }
    off = stop;
  }
  return 0;
}

int
extmap_truncate (struct extmap *m, uint64_t size)
{
  if (m->count == 0)
    return 0;
  uint32_t i = seg_find (m, size);
  while (m->count > i + 1) {
    struct segment *s = &m->segs[m->count - 1];
    if (s->is_stored) {
      int rc = m->store->erase (m->store->ctx, s->start);
      if (rc)
        return rc;
    }
    if (s->is_loaded)
      m->loaded--;
    drop (m, s);
    m->count--;
  }
  m->segs[i].is_changed = true; /* what is told of it clears what followed */
  return clear_in (m, i, size, UINT64_MAX);
}

int
extmap_get (struct extmap *m, uint64_t off, struct mapped *out)
{
  *out = (struct mapped){ .off = off, .e = { .kind = EXTENT_HOLE, .len = UINT64_MAX - off } };
  if (m->count == 0)
    return 0;
  for (uint32_t i = seg_find (m, off); i < m->count; i++) {
    int rc = load (m, &m->segs[i]);
    if (rc)
      return rc;
    struct segment *s = &m->segs[i];
    uint32_t pos = pos_find (s, off);
    if (pos == s->count)
      continue;
    if (s->at[pos].off > off) {
      out->e.len = s->at[pos].off - off;
      return 0;
    }
    *out = s->at[pos];
    cut_front (out, off - out->off);
    return 0;
  }
  return 0;
}

int
extmap_land (struct extmap *m, uint64_t off, uint64_t len, uint32_t serial,
             const struct chunk_ref *ref)
{
  uint64_t end = off + len;
  for (uint32_t i = m->count ? seg_find (m, off) : 0; i < m->count && m->segs[i].start < end; i++) {
    int rc = load (m, &m->segs[i]);
    if (rc)
      return rc;
    struct segment *s = &m->segs[i];
    for (uint32_t pos = pos_find (s, off); pos < s->count && s->at[pos].off < end; pos++) {
      struct extent *e = &s->at[pos].e;
      if (e->kind != EXTENT_FLYING || e->ref.off != serial)
        continue;
      e->kind = EXTENT_DATA;
      e->ref = *ref;
      s->is_dirty = s->is_changed = true;
    }
  }
  return 0;
}

static int
walk (struct extmap *m, bool only_changed, int (*fn) (void *ctx, const struct mapped *x), void *ctx)
{
  for (uint32_t i = 0; i < m->count; i++) {
    if (only_changed && !m->segs[i].is_changed)
      continue;
    int rc = load (m, &m->segs[i]);
    for (uint32_t k = 0; rc == 0 && k < m->segs[i].count; k++)
      rc = fn (ctx, &m->segs[i].at[k]);
    if (rc)
      return rc;
  }
  return 0;
}

int
extmap_walk (struct extmap *m, int (*fn) (void *ctx, const struct mapped *x), void *ctx)
{
  return walk (m, false, fn, ctx);
}

int
extmap_walk_changed (struct extmap *m, int (*fn) (void *ctx, const struct mapped *x), void *ctx)
{
  return walk (m, true, fn, ctx);
}

uint64_t
extmap_count (const struct extmap *m)
{
  uint64_t n = 0;
  for (uint32_t i = 0; i < m->count; i++)
    n += m->segs[i].count;
  return n;
}

bool
extmap_is_inline (const struct extmap *m)
{
  return m->count == 0
         || (m->count == 1 && m->segs[0].count <= SEG_INLINE && m->segs[0].is_loaded
             && !m->segs[0].is_stored);
}

int
extmap_load_inline (struct extmap *m, struct rd *r)
{
  int rc = seg_insert_at (m, 0, 0);
  return rc ? rc : segment_decode (m, &m->segs[0], r);
}

int
extmap_add_stored (struct extmap *m, uint64_t start, uint32_t count)
{
  int rc = seg_insert_at (m, m->count, start);
  if (rc)
    return rc;
  struct segment *s = &m->segs[m->count - 1];
  s->is_loaded = false;
  s->is_stored = true;
  s->count = count;
  m->loaded--;
  return 0;
}

int
extmap_flush (struct extmap *m, bool is_last)
{
  for (uint32_t i = 0; i < m->count; i++) {
    struct segment *s = &m->segs[i];
    if (s->is_dirty) {
      int rc = save (m, s);
      if (rc)
        return rc;
    }
    if (is_last && s->is_loaded) {
      drop (m, s);
      s->is_loaded = false;
      m->loaded--;
    }
  }
  return 0;
}

int
extmap_changed (struct extmap *m, int (*fn) (void *ctx, const struct segment *s, uint64_t end),
                void *ctx)
{
  for (uint32_t i = 0; i < m->count; i++) {
    if (!m->segs[i].is_changed)
      continue;
    int rc = load (m, &m->segs[i]);
    if (rc == 0)
      rc = fn (ctx, &m->segs[i], seg_end (m, i));
    if (rc < 0)
      return rc;
    m->segs[i].is_changed = rc > 0;
    if (rc > 1)
      break;
  }
  return 0;
}

bool
extmap_is_changed (const struct extmap *m)
{
  for (uint32_t i = 0; i < m->count; i++)
    if (m->segs[i].is_changed)
      return true;
  return false;
}

bool
extmap_is_changed_in (const struct extmap *m, uint64_t off, uint64_t end)
{
  for (uint32_t i = m->count ? seg_find (m, off) : 0; i < m->count && m->segs[i].start < end; i++)
    if (m->segs[i].is_changed)
      return true;
  return false;
}

void
extmap_mark_all_changed (struct extmap *m)
{
  for (uint32_t i = 0; i < m->count; i++)
    m->segs[i].is_changed = true;
}
