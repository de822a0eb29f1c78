/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of an open file are: overlay, stream, chunks in flight, extents, holes. */
#define LOG_MODULE "file"
#include <string.h>

#include "base/log.h"
#include "snapshot/file_priv.h"

/* The first byte of [start, end) that no extent has; END if there is none. */
static int
first_gap (struct extmap *m, uint64_t start, uint64_t end, uint64_t *out)
{
  struct mapped x;
  int rc = 0;
  for (*out = start; *out < end; *out += x.e.len) {
    rc = extmap_get (m, *out, &x);
    if (rc || x.e.kind == EXTENT_HOLE)
      break;
  }
  return rc;
}

int
filedata_ungrounded_locked (struct inode *i, uint64_t from, uint64_t *out)
{
  lock_assert_held (&i->data_lock);
  struct filedata *d = i->data;
  uint64_t start, end, at, least = UINT64_MAX;
  int rc = 0;
  if (d && d->cur && stream_end (d) > from) {
    start = d->cur_off > from ? d->cur_off : from;
    rc = first_gap (&i->map, start, stream_end (d), &at);
    least = rc == 0 && at < stream_end (d) ? at : least;
  }
  for (const struct ahead *a = d ? d->ahead : NULL; rc == 0 && a; a = a->next) {
    uint64_t last = a->off + a->data->len;
    if (last <= from || a->off >= least)
      continue;
    rc = first_gap (&i->map, a->off > from ? a->off : from, last, &at);
    least = rc == 0 && at < last && at < least ? at : least;
  }
  for (uint64_t off = from; rc == 0 && d && d->overlay && off < least
       && overlay_next (d->overlay, off, &start, &end); off = end) {
    rc = first_gap (&i->map, start > off ? start : off, end, &at);
    if (rc == 0 && at < end && at < least)
      least = at;
  }
  *out = least;
  return rc;
}

static const struct flying *
find_flying (const struct filedata *d, uint32_t serial)
{
  for (const struct flying *f = d->flying; f; f = f->next)
    if (f->serial == serial)
      return f;
  return NULL;
}

/* One step of a read at OFF: fills *n bytes or makes a piece of them. */
static int
read_step (struct inode *i, uint64_t off, size_t *n, uint8_t *out, struct read_piece *piece)
{
  struct filedata *d = i->data;
  uint64_t start = UINT64_MAX, end = 0;
  piece->e.kind = EXTENT_HOLE;
  if (d && d->overlay && overlay_next (d->overlay, off, &start, &end) && start <= off) {
    if (end - off < *n)
      *n = (size_t) (end - off);
    return overlay_read (d->overlay, off, out, *n);
  }
  if (start != UINT64_MAX && start - off < *n)
    *n = (size_t) (start - off);
  if (d && d->cur && d->cur->len && off < stream_end (d)) {
    if (off >= d->cur_off) {
      if (stream_end (d) - off < *n)
        *n = (size_t) (stream_end (d) - off);
      memcpy (out, d->cur->data + (off - d->cur_off), *n);
      return 0;
    }
    if (d->cur_off - off < *n)
      *n = (size_t) (d->cur_off - off);
  }
  struct mapped x;
  lock_take (&i->tree->lock);
  int rc = extmap_get (&i->map, off, &x);
  lock_release (&i->tree->lock);
  if (rc)
    return rc;
  if (x.e.len < *n)
    *n = (size_t) x.e.len;
  if (x.e.kind == EXTENT_FLYING) {
    const struct flying *f = d ? find_flying (d, x.e.ref.off) : NULL;
    if (!f)
      return ERR_MISSING; /* its chunk failed: the file's error is sticky too */
    memcpy (out, f->chunk->data + x.e.chunk_off, *n);
  } else if (x.e.kind != EXTENT_DATA)
    memset (out, 0, *n);
  else {
    piece->off = off;
    piece->len = (uint32_t) *n;
    piece->e = x.e;
    piece->has_name = false;
  }
  return 0;
}

int
filedata_read (struct inode *i, uint64_t off, size_t *len, uint8_t *out, struct read_piece *pieces,
               unsigned *count)
{
  LOCK_SCOPE (&i->data_lock);
  lock_take (&i->tree->lock);
  uint64_t size = i->a.size;
  lock_release (&i->tree->lock);
  size_t want = off >= size ? 0 : size - off < *len ? (size_t) (size - off) : *len;
  size_t done = 0;
  *count = 0;
  if (i->data && i->data->error)
    return i->data->error;
  int rc = i->data ? window_flush (i->data->snap, i, i->data) : 0;
  if (rc)
    return rc;
  while (done < want && *count < READ_PIECES_MAX) {
    size_t n = want - done;
    struct read_piece piece;
    rc = read_step (i, off + done, &n, out + done, &piece);
    if (rc)
      return rc;
    if (piece.e.kind == EXTENT_DATA)
      pieces[(*count)++] = piece;
    done += n;
  }
  *len = done;
  return 0;
}

int
filedata_seek (struct inode *i, uint64_t off, bool is_hole, uint64_t *out)
{
  LOCK_SCOPE (&i->data_lock);
  lock_take (&i->tree->lock);
  uint64_t size = i->a.size;
  lock_release (&i->tree->lock);
  if (off >= size)
    return ERR_NXIO;
  struct filedata *d = i->data;
  int flushed = d ? window_flush (d->snap, i, d) : 0;
  if (flushed)
    return flushed;
  while (off < size) {
    uint64_t start, end;
    bool at_hole = true;
    uint64_t next = size;
    if (d && d->overlay && overlay_next (d->overlay, off, &start, &end)) {
      at_hole = start > off;
      next = at_hole ? start : end;
    }
    if (at_hole && d && d->cur && d->cur->len && off < stream_end (d)) {
      at_hole = off < d->cur_off;
      uint64_t edge = at_hole ? d->cur_off : stream_end (d);
      next = edge < next || !at_hole ? edge : next;
    }
    if (at_hole) {
      struct mapped x;
      lock_take (&i->tree->lock);
      int rc = extmap_get (&i->map, off, &x);
      lock_release (&i->tree->lock);
      if (rc)
        return rc;
      at_hole = x.e.kind == EXTENT_HOLE;
      if (x.e.len < next - off)
        next = off + x.e.len;
    }
    if (at_hole == is_hole) {
      *out = off;
      return 0;
    }
    off = next;
  }
  if (!is_hole)
    return ERR_NXIO;
  *out = size;
  return 0;
}
