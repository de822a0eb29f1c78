/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "reader"
#include "store/reader_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "format/pack.h"

void
raw_list_add (struct raw_list *l, struct raw *raw)
{
  raw->queue_next = NULL;
  *(l->tail ? &l->tail->queue_next : &l->head) = raw;
  l->tail = raw;
}

struct raw *
raw_list_take (struct raw_list *l)
{
  struct raw *raw = l->head;
  if (raw) {
    l->head = raw->queue_next;
    if (!l->head)
      l->tail = NULL;
  }
  return raw;
}

bool
raw_list_remove (struct raw_list *l, struct raw *raw)
{
  struct raw *before = NULL;
  for (struct raw *p = l->head; p; before = p, p = p->queue_next)
    if (p == raw) {
      *(before ? &before->queue_next : &l->head) = p->queue_next;
      if (l->tail == p)
        l->tail = before;
      return true;
    }
  return false;
}

static bool
is_same_pack (const struct raw *raw, const struct reader_source *src,
              const uint8_t pack[PACK_NAME_LEN])
{
  return raw->src == src && memcmp (raw->pack, pack, PACK_NAME_LEN) == 0;
}

static struct unit *
unit_at (const struct raw *raw, uint32_t off, uint32_t len)
{
  for (uint32_t i = 0; i < raw->unit_count; i++)
    if (raw->units[i].ref.off == off && raw->units[i].ref.sealed_len == len)
      return &raw->units[i];
  return NULL;
}

const uint8_t *
raw_bytes (const struct raw *raw, uint32_t off, uint32_t len, enum unit_from *from)
{
  if (raw->state != RAW_READY)
    return NULL;
  if (off >= raw->got_lo && off + (uint64_t) len <= raw->got_hi)
    *from = FROM_STORE;
  else {
    const struct unit *u = unit_at (raw, off, len);
    if (!u || u->from == FROM_NONE)
      return NULL;
    *from = u->from;
  }
  return raw->buf + (off - raw->off);
}

struct raw *
raw_find (struct reader *r, const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
          uint32_t off, uint32_t len)
{
  struct raw *raw = r->raws;
  if (raw)
    do {
      enum unit_from from;
      if (is_same_pack (raw, src, pack) && off >= raw->off
          && off + (uint64_t) len <= (uint64_t) raw->off + raw->len && raw->state != RAW_FAILED
          && (raw->state != RAW_READY || raw_bytes (raw, off, len, &from))) {
        raw->refs++;
        return raw;
      }
      raw = raw->next;
    } while (raw != r->raws);
  return NULL;
}

/* The range that RAW holds, or will. */
static void
raw_range (const struct raw *raw, uint32_t *lo, uint32_t *hi)
{
  *lo = raw->state == RAW_READY ? raw->got_lo : raw->off;
  *hi = raw->state == RAW_READY ? raw->got_hi : raw->off + raw->len;
}

uint32_t
raw_covered_to (struct reader *r, const struct reader_source *src,
                const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  bool is_covered;
  do {
    is_covered = false;
    struct raw *raw = r->raws;
    if (raw)
      do {
        uint32_t lo, hi;
        raw_range (raw, &lo, &hi);
        if (off >= lo && off < hi && raw->state != RAW_FAILED && is_same_pack (raw, src, pack)) {
          off = hi;
          is_covered = true;
        }
        raw = raw->next;
      } while (raw != r->raws);
  } while (is_covered);
  return off;
}

uint32_t
raw_free_from (struct reader *r, const struct reader_source *src,
               const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len)
{
  struct raw *raw = r->raws;
  if (raw)
    do {
      uint32_t lo, hi;
      raw_range (raw, &lo, &hi);
      if (lo > off && lo - off < len && raw->state != RAW_FAILED && is_same_pack (raw, src, pack))
        len = lo - off;
      raw = raw->next;
    } while (raw != r->raws);
  return len;
}

bool
raw_find_parts (struct reader *r, const struct chunk_want *w, struct raw *part[2])
{
  uint32_t off = w->ref.off, end = w->ref.off + w->ref.sealed_len, cut = 0, lo, hi;
  part[0] = part[1] = NULL;
  for (int i = 0; i < 2; i++) {
    struct raw *raw = r->raws;
    if (raw)
      do {
        raw_range (raw, &lo, &hi);
        bool is_it = i == 0 ? off >= lo && off < hi : cut >= lo && end <= hi;
        if (is_it && raw->is_window && raw->state != RAW_FAILED
            && is_same_pack (raw, w->src, w->pack))
          part[i] = raw;
        raw = raw->next;
      } while (raw != r->raws && !part[i]);
    if (!part[i])
      return false;
    raw_range (part[i], &lo, &cut);
  }
  part[0]->refs++;
  part[1]->refs++;
  return true;
}

bool
raw_join (struct raw *raw)
{
  const struct raw *a = raw->part[0], *b = raw->part[1];
  uint32_t off = raw->off, end = raw->off + raw->len;
  if (a->state != RAW_READY || b->state != RAW_READY || off < a->got_lo || off >= a->got_hi
      || b->got_lo > a->got_hi || end > b->got_hi)
    return false;
  uint32_t n = a->got_hi - off < raw->len ? a->got_hi - off : raw->len;
  memcpy (raw->buf, a->buf + (off - a->off), n);
  memcpy (raw->buf + n, b->buf + (off + n - b->off), raw->len - n);
  raw->got_lo = off;
  raw->got_hi = end;
  return true;
}

static uint32_t
raw_size (const struct raw *raw)
{
  return raw->is_window ? raw->got_hi - raw->got_lo : raw->len;
}

static void
raw_free (struct reader *r, struct raw *raw)
{
  if (raw->next == raw)
    r->raws = NULL;
  else {
    raw->prev->next = raw->next;
    raw->next->prev = raw->prev;
    if (r->raws == raw)
      r->raws = raw->next;
  }
  raw_settle (r, raw);
  if (raw->is_window && raw->state == RAW_READY && raw->consumed < raw_size (raw) / 2)
    walk_wasted (r, raw);
  for (int i = 0; i < 2; i++)
    if (raw->part[i])
      raw_unref (r, raw->part[i]);
  if (raw->buf)
    arena_put (&r->raw, raw->buf, raw->cap);
  free (raw->units);
  free (raw);
  if (r->memory_waiters)
    pthread_cond_broadcast (&r->memory);
}

/* The oldest READY one nobody refers to.  What was read ahead lately is *is_dear: read-ahead does
 * not take it, and the last of it goes first, for the first is used next. */
static struct raw *
raw_evictable (struct reader *r, bool is_ahead, bool *is_dear)
{
  struct raw *raw = r->raws, *unused = NULL;
  *is_dear = false;
  if (raw)
    do {
      if (raw->refs == 0) {
        bool is_fresh = raw->is_ahead && clock_now () - raw->made_at < READER_STALE_NS;
        if (!is_fresh)
          return raw;
        unused = raw;
      }
      raw = raw->next;
    } while (raw != r->raws);
  *is_dear = true;
  return is_ahead ? NULL : unused;
}

static uint8_t *
raw_get (struct reader *r, size_t n, bool is_ahead, size_t *cap)
{
  struct arena *a = &r->raw;
  for (;;) {
    uint8_t *p = arena_get (a, n, a->kept > a->limit / 4, cap);
    if (p)
      return p;
    bool is_dear;
    struct raw *old = raw_evictable (r, is_ahead, &is_dear);
    if ((!old || is_dear) && ((p = arena_get (a, n, true, cap)) || !old))
      return p;
    raw_free (r, old);
  }
}

/* Read ahead, and nobody will come for it: too old, or a window that its reader has left behind (a
 * pack's table, or the chunks of files that are not read, lay in it). */
static bool
is_left_behind (struct reader *r, const struct raw *raw, int64_t stale)
{
  if (raw->refs > 0 || !raw->is_ahead)
    return false;
  if (raw->made_at < stale)
    return true;
  return raw->is_window && raw->state == RAW_READY
         && !walk_is_before (r, raw->src, raw->pack, raw->got_hi);
}

bool
raw_ahead_room (struct reader *r, uint32_t len)
{
  int64_t stale = clock_now () - READER_STALE_NS;
  while (r->raw_ahead_bytes + len > r->ahead_max) {
    struct raw *raw = r->raws, *old = NULL;
    if (raw)
      do {
        old = is_left_behind (r, raw, stale) ? raw : NULL;
        raw = raw->next;
      } while (!old && raw != r->raws);
    if (!old)
      return false;
    raw_free (r, old);
  }
  return true;
}

struct raw *
raw_new (struct reader *r, const struct chunk_want *first, uint32_t off, uint32_t len, size_t units,
         bool is_ahead)
{
  lock_assert_held (&r->lock);
  struct raw *raw = calloc (1, sizeof *raw);
  if (raw && units)
    raw->units = calloc (units, sizeof *raw->units);
  bool has_bytes = !is_direct (first->src);
  if (raw && (!units || raw->units) && has_bytes)
    raw->buf = raw_get (r, len, is_ahead, &raw->cap);
  if (!raw || (units && !raw->units) || (has_bytes && !raw->buf)) {
    if (raw)
      free (raw->units);
    free (raw);
    return NULL;
  }
  raw->src = first->src;
  memcpy (raw->pack, first->pack, PACK_NAME_LEN);
  raw->off = off;
  raw->len = len;
  raw->state = has_bytes ? RAW_QUEUED : RAW_READY;
  raw->cap = has_bytes ? raw->cap : len; /* counts against what may be ahead */
  raw->refs = 1;
  raw->is_ahead = is_ahead;
  raw->made_at = clock_now ();
  r->raw_ahead_bytes += is_ahead ? raw->cap : 0;
  if (r->raws) {
    raw->next = r->raws;
    raw->prev = r->raws->prev;
    raw->prev->next = raw->next->prev = raw;
  } else
    r->raws = raw->next = raw->prev = raw;
  return raw;
}

void
raw_unit (struct raw *raw, const struct chunk_want *w)
{
  raw->units[raw->unit_count++] = (struct unit){ .ref = w->ref, .type = w->type };
}

void
raw_ref (struct raw *raw)
{
  raw->refs++;
}

void
raw_consumed (struct raw *raw, uint32_t off, uint32_t len)
{
  struct unit *u = unit_at (raw, off, len);
  raw->consumed += len;
  if (u)
    u->is_opened = true;
}

void
raw_settle (struct reader *r, struct raw *raw)
{
  if (raw->is_ahead)
    r->raw_ahead_bytes -= raw->cap;
  raw->is_ahead = false;
}

static bool
is_all_opened (const struct raw *raw)
{
  for (uint32_t i = raw->next_unit; i < raw->unit_count; i++)
    if (!raw->units[i].is_opened)
      return false;
  return true;
}

void
raw_unref (struct reader *r, struct raw *raw)
{
  lock_assert_held (&r->lock);
  if (--raw->refs > 0)
    return;
  /* What lies between the units is kept where it cost a GET. */
  bool is_done = raw->state != RAW_READY || raw->consumed >= raw_size (raw)
                 || ((is_local (raw->src) || raw->got_hi == 0) && is_all_opened (raw));
  if (is_done)
    raw_free (r, raw);
  else if (r->memory_waiters)
    pthread_cond_broadcast (&r->memory);
}

/* Nothing of SRC is under way or queued. */
void
raws_forget (struct reader *r, const struct reader_source *src)
{
  struct raw *raw = r->raws, *last = raw ? raw->prev : NULL;
  for (bool is_last = !raw; !is_last;) {
    struct raw *next = raw->next;
    is_last = raw == last;
    if (raw->src == src)
      raw_free (r, raw);
    raw = next;
  }
}

void
raws_release (struct reader *r)
{
  while (r->raws)
    raw_free (r, r->raws);
  arena_release (&r->raw);
}

void
pack_key (const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
          char out[BLOB_KEY_MAX + 1])
{
  char hex[2 * PACK_NAME_LEN + 1];
  hex_encode (pack, PACK_NAME_LEN, hex);
  snprintf (out, BLOB_KEY_MAX + 1, "%s%.2s/%s", src->prefix, hex, hex);
}

int
store_get (struct reader *r, const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
           uint32_t off, uint32_t len, uint8_t *out)
{
  char key[BLOB_KEY_MAX + 1];
  pack_key (src, pack, key);
  return store_got (r, src, key, off, len, blob_get (src->blob, key, off, len, out));
}

int
store_got (struct reader *r, const struct reader_source *src, const char *key, uint32_t off,
           uint32_t len, int rc)
{
  lock_take (&r->lock);
  r->stats.gets++;
  if (rc == 0)
    r->stats.get_bytes += len;
  else if (rc == ERR_LIMIT || (rc == ERR_MISSING && !src->relocate))
    r->stats.store_damage++;
  lock_release (&r->lock);
  if (rc == ERR_LIMIT)
    log_err ("pack is shorter than its references say key=%s off=%u len=%u", key, off, len);
  else if (rc == ERR_MISSING && src->relocate)
    log_info ("pack has gone, asking where its chunks are key=%s off=%u", key, off);
  else if (rc == ERR_MISSING)
    log_err ("pack is missing key=%s off=%u", key, off);
  else if (rc < 0 && rc != ERR_CANCELLED)
    log_warn ("pack cannot be read key=%s off=%u len=%u err=\"%s\"", key, off, len, err_str (rc));
  return rc == ERR_LIMIT ? ERR_FORMAT : rc;
}

/* A window must not pass the end of its pack, or the GET would fail. */
static int
clip_window (struct reader *r, struct raw *raw)
{
  struct walk *w = NULL;
  uint32_t size = 0;
  lock_take (&r->lock);
  for (int i = 0; i < WALKS; i++)
    if (r->walks[i].src == raw->src && memcmp (r->walks[i].pack, raw->pack, PACK_NAME_LEN) == 0) {
      w = &r->walks[i];
      size = w->size;
    }
  lock_release (&r->lock);
  if (!size) {
    char key[BLOB_KEY_MAX + 1];
    struct blob_info info;
    pack_key (raw->src, raw->pack, key);
    int rc = blob_head (raw->src->blob, key, &info);
    if (rc < 0)
      return rc;
    if (info.size > PACK_MAX_BYTES)
      return ERR_FORMAT;
    size = (uint32_t) info.size;
    lock_take (&r->lock);
    if (w && w->src == raw->src && memcmp (w->pack, raw->pack, PACK_NAME_LEN) == 0)
      w->size = size;
    lock_release (&r->lock);
  }
  uint32_t end = raw->off + raw->len < size ? raw->off + raw->len : size;
  raw->got_lo = raw->off;
  raw->got_hi = end > raw->off ? end : raw->off;
  return 0;
}

/* What the block cache has of the units; [*lo, *hi) gets the span of the others. */
static void
fill_from_cache (struct reader *r, struct raw *raw, unsigned flags, uint32_t *lo, uint32_t *hi)
{
  const struct reader_cache *cache = &raw->src->cache;
  bool use = cache->ctx && cache->get && !(flags & READER_NO_CACHE);
  *lo = UINT32_MAX;
  *hi = 0;
  for (uint32_t i = 0; i < raw->unit_count; i++) {
    struct unit *u = &raw->units[i];
    uint32_t end = u->ref.off + u->ref.sealed_len;
    if (use && cache->get (cache->ctx, raw->pack, u->ref.off, u->ref.sealed_len,
                           raw->buf + (u->ref.off - raw->off))) {
      u->from = FROM_CACHE;
      continue;
    }
    *lo = u->ref.off < *lo ? u->ref.off : *lo;
    *hi = end > *hi ? end : *hi;
  }
}

int
raw_fill (struct reader *r, struct raw *raw, unsigned flags)
{
  uint32_t lo, hi;
  if (raw->is_window) {
    int rc = clip_window (r, raw);
    lo = raw->got_lo;
    hi = raw->got_hi;
    if (rc < 0)
      return rc;
  } else
    fill_from_cache (r, raw, flags, &lo, &hi);
  if (lo >= hi)
    return 0;
  if ((flags & READER_NOWAIT) && !is_local (raw->src))
    return ERR_WOULDBLOCK;
  int rc = store_get (r, raw->src, raw->pack, lo, hi - lo, raw->buf + (lo - raw->off));
  if (rc < 0)
    return rc;
  raw->got_lo = lo;
  raw->got_hi = hi;
  for (uint32_t i = 0; i < raw->unit_count; i++) {
    struct unit *u = &raw->units[i];
    if (u->ref.off >= lo && u->ref.off + u->ref.sealed_len <= hi)
      u->from = FROM_STORE;
  }
  return 0;
}

void
raw_done (struct reader *r, struct raw *raw, int err)
{
  lock_assert_held (&r->lock);
  raw->err = err;
  raw->state = err < 0 ? RAW_FAILED : RAW_READY;
  pthread_cond_broadcast (cond_of (r, raw));
}
