/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "reader"
#include "store/reader_priv.h"

#include <string.h>

#include "base/log.h"

/* Wakes a thread of the kind where one is idle. */
static void
kick (struct reader *r, bool is_decoder)
{
  int first = is_decoder ? r->limits.fetch_threads : 0;
  int n = is_decoder ? r->limits.decode_threads : r->limits.fetch_threads;
  for (int i = first; i < first + n; i++)
    if (!r->jobs[i].is_running) {
      r->jobs[i].is_running = true;
      pool_submit (is_decoder ? r->decoders : r->fetchers, &r->jobs[i].job);
      return;
    }
}

void
fetch_queue (struct reader *r, struct raw *raw)
{
  lock_assert_held (&r->lock);
  raw->is_queued = true;
  raw_list_add (is_local (raw->src) ? &r->decode : &r->fetch_ahead, raw);
  kick (r, is_local (raw->src));
}

void
fetch_kick (struct reader *r)
{
  for (struct raw *raw = r->fetch_first.head; raw; raw = raw->queue_next)
    kick (r, false);
}

static void
decode_queue (struct reader *r, struct raw *raw)
{
  raw_ref (raw);
  raw->is_queued = true;
  raw_list_add (&r->decode, raw);
  kick (r, true);
}

void
ahead_resume (struct reader *r)
{
  hints_place (r);
  if (!r->has_stalled || r->ahead_bytes > r->decoded_ahead_max / 4 * 3)
    return;
  r->has_stalled = false;
  struct raw *raw = r->raws;
  if (raw)
    do {
      if (raw->state == RAW_READY && raw->is_ahead && !raw->is_queued
          && raw->next_unit < raw->unit_count)
        decode_queue (r, raw);
      raw = raw->next;
    } while (raw != r->raws);
}

/* Opens the next unit of RAW into a new entry.  False: the end, or no memory (*is_stalled). */
static bool
decode_next (struct reader *r, struct raw *raw, bool *is_stalled)
{
  struct chunk_want w = { .src = raw->src };
  struct entry *e = NULL;
  enum unit_from from = FROM_NONE;
  const uint8_t *sealed = NULL;
  lock_take (&r->lock);
  while (!e && raw->next_unit < raw->unit_count && !r->is_stopping) {
    struct unit *u = &raw->units[raw->next_unit];
    memcpy (w.pack, raw->pack, PACK_NAME_LEN);
    w.ref = u->ref;
    w.type = u->type;
    sealed = raw_bytes (raw, u->ref.off, u->ref.sealed_len, &from);
    bool is_wanted = (sealed || is_direct (w.src)) && !u->is_opened
                     && !entry_find (r, w.src, w.type, w.ref.id);
    if (is_wanted && !(e = entry_new (r, &w, true))) {
      *is_stalled = r->has_stalled = true;
      break;
    }
    u->is_opened = true;
    raw->next_unit++;
  }
  lock_release (&r->lock);
  if (!e)
    return false;
  int rc = sealed ? open_entry (r, e, &w, sealed, from, 0) : open_direct (r, e, &w);
  LOCK_SCOPE (&r->lock);
  if (rc == 0)
    raw->consumed += w.ref.sealed_len;
  else if (from == FROM_CACHE)
    raw->units[raw->next_unit - 1].from = FROM_NONE; /* whoever wants it fetches it */
  entry_done (r, e, rc);
  entry_unref (r, e);
  return true;
}

static void
decode_raw (struct reader *r, struct raw *raw)
{
  bool is_stalled = false;
  while (decode_next (r, raw, &is_stalled))
    ;
  LOCK_SCOPE (&r->lock);
  if (!is_stalled)
    raw_settle (r, raw);
  raw_unref (r, raw);
}

/* Fills RAW, whose reference is given up (or handed to a decoder). */
static void
fetch_raw (struct reader *r, struct raw *raw, bool is_decoder)
{
  int rc = raw_fill (r, raw, 0);
  lock_take (&r->lock);
  raw_done (r, raw, rc);
  bool decode_here = is_decoder && rc == 0;
  if (!decode_here) {
    if (rc == 0 && raw->is_ahead && raw->unit_count)
      decode_queue (r, raw);
    raw_unref (r, raw);
  }
  lock_release (&r->lock);
  if (decode_here)
    decode_raw (r, raw);
}

/* The next work for a thread, or NULL.  Some threads are kept for the foreground. */
static struct raw *
next_raw (struct reader *r, bool is_decoder, bool *is_ahead)
{
  *is_ahead = false;
  if (r->is_stopping)
    return NULL;
  if (is_decoder)
    return raw_list_take (&r->decode);
  struct raw *raw = raw_list_take (&r->fetch_first);
  int spare = r->limits.fetch_threads / 4;
  if (!raw && r->fetching_ahead + (unsigned) spare < (unsigned) r->limits.fetch_threads) {
    raw = raw_list_take (&r->fetch_ahead);
    *is_ahead = raw != NULL;
  }
  return raw;
}

void
reader_job_run (struct pool_job *job)
{
  struct reader_job *j = (struct reader_job *) job;
  struct reader *r = j->reader;
  bool is_ahead;
  lock_take (&r->lock);
  for (struct raw *raw; (raw = next_raw (r, j->is_decoder, &is_ahead));) {
    raw->is_queued = false;
    bool is_filled = raw->state == RAW_READY;
    if (!is_filled)
      raw->state = RAW_BUSY;
    r->fetching_ahead += is_ahead;
    lock_release (&r->lock);
    if (is_filled)
      decode_raw (r, raw);
    else
      fetch_raw (r, raw, j->is_decoder);
    lock_take (&r->lock);
    r->fetching_ahead -= is_ahead;
  }
  j->is_running = false;
  lock_release (&r->lock);
}

/* ---- pack space: readers that walk forward through a pack ---- */

static bool
is_of (const struct walk *w, const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN])
{
  return w->src == src && memcmp (w->pack, pack, PACK_NAME_LEN) == 0;
}

/* Fetches what follows in the pack, in pieces. */
static void
walk_ahead (struct reader *r, struct walk *w)
{
  uint64_t free_len = w->used / 5 > READER_WINDOW_FREE ? w->used / 5 : READER_WINDOW_FREE;
  uint32_t most = free_len < READER_WINDOW_MAX ? (uint32_t) free_len : READER_WINDOW_MAX;
  w->window = w->window ? w->window * 2 : READER_WINDOW_MIN;
  if (w->window > most)
    w->window = most;
  uint64_t to = (uint64_t) w->next + w->window;
  if (w->size && to > w->size)
    to = w->size;
  while ((w->fetched = raw_covered_to (r, w->src, w->pack, w->fetched)) < to) {
    uint32_t len = (uint32_t) (to - w->fetched);
    if (len > READER_AHEAD_GET)
      len = READER_AHEAD_GET;
    len = raw_free_from (r, w->src, w->pack, w->fetched, len);
    if (!raw_ahead_room (r, len))
      return;
    struct chunk_want at = { .src = w->src };
    memcpy (at.pack, w->pack, PACK_NAME_LEN);
    struct raw *raw = raw_new (r, &at, w->fetched, len, 0, true);
    if (!raw)
      return;
    raw->is_window = true;
    w->fetched += len;
    fetch_queue (r, raw);
  }
}

/* Begins a walk at a miss.  Whoever has walked to the end of one pack of this source is likely to
 * go on. */
static struct walk *
walk_begin (struct reader *r, struct reader_source *src, const uint8_t pack[PACK_NAME_LEN])
{
  struct walk *oldest = &r->walks[0], *before = NULL;
  for (struct walk *w = r->walks; w < r->walks + WALKS; w++) {
    if (w->used_at < oldest->used_at)
      oldest = w;
    if (w->src == src && w->size && w->next + READER_GAP >= w->size
        && (!before || w->used_at > before->used_at))
      before = w;
  }
  struct walk made = { .src = src };
  memcpy (made.pack, pack, PACK_NAME_LEN);
  if (before) {
    made.used = before->used;
    made.window = before->window / 2;
    made.steps = 1;
    oldest = before;
  }
  *oldest = made;
  return oldest;
}

void
walk_step (struct reader *r, struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
           uint32_t off, uint32_t end)
{
  lock_assert_held (&r->lock);
  if (is_local (src))
    return;
  struct walk *w = NULL;
  for (struct walk *p = r->walks; p < r->walks + WALKS; p++)
    if (is_of (p, src, pack))
      w = p;
  bool is_forward = w && off >= w->next && off <= w->fetched + READER_GAP;
  if (w && !is_forward && off < w->next && off + READER_GAP >= w->next)
    return; /* a little out of order: neither for nor against */
  if (w && !is_forward) {
    uint32_t size = w->size;
    *w = (struct walk){ .src = src, .size = size };
    memcpy (w->pack, pack, PACK_NAME_LEN);
  }
  if (!w)
    w = walk_begin (r, src, pack);
  w->used_at = ++r->walk_tick;
  w->used += end - off;
  w->next = end;
  if (w->fetched < end)
    w->fetched = end;
  if (++w->steps >= 2 && w->fetched - w->next <= w->window / 4 * 3)
    walk_ahead (r, w);
}

bool
walk_is_before (const struct reader *r, const struct reader_source *src,
                const uint8_t pack[PACK_NAME_LEN], uint32_t end)
{
  for (const struct walk *w = r->walks; w < r->walks + WALKS; w++)
    if (is_of (w, src, pack))
      return w->next < end + READER_GAP;
  return false;
}

void
walk_wasted (struct reader *r, const struct raw *raw)
{
  for (struct walk *w = r->walks; w < r->walks + WALKS; w++)
    if (is_of (w, raw->src, raw->pack)) {
      w->window /= 2;
      w->used /= 2;
    }
}

void
walks_forget (struct reader *r, const struct reader_source *src)
{
  for (struct walk *w = r->walks; w < r->walks + WALKS; w++)
    if (w->src == src)
      *w = (struct walk){ 0 };
}
