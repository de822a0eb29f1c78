/* SPDX-License-Identifier: Apache-2.0 */
/* File space: the caller says what comes next.  Hints go through a ring, so that those which find
 * no room are not lost, and pieces named in several calls become one GET. */
#include "store/reader_priv.h"

#include <string.h>

#include "base/clock.h"

#define HINT_STALE_NS (10 * NS_PER_S)
#define HINT_REACH 64      /* so many hints are looked through for one GET */
#define HINT_ROOM (256u << 10) /* less room than this is not worth a look */

static uint16_t *
filter_of (struct reader *r, const struct chunk_want *w)
{
  return &r->hint_filter[get_le32 (w->ref.id + 4) % HINT_FILTER];
}

static struct hint *
hint_at (struct reader *r, uint32_t i)
{
  return &r->hints[(r->hint_first + i) % READER_HINTS];
}

static struct hint *
hint_find (struct reader *r, const struct chunk_want *w)
{
  if (*filter_of (r, w) == 0)
    return NULL;
  for (uint32_t i = 0; i < r->hint_count; i++) {
    struct hint *h = hint_at (r, i);
    if (h->want.src == w->src && memcmp (h->want.ref.id, w->ref.id, ID_LEN) == 0)
      return h;
  }
  return NULL;
}

static void
hint_clear (struct reader *r, struct hint *h)
{
  if (h->want.src)
    --*filter_of (r, &h->want);
  h->want.src = NULL;
}

bool
hint_forget (struct reader *r, const struct chunk_want *w)
{
  struct hint *h = hint_find (r, w);
  if (h)
    hint_clear (r, h);
  return h != NULL;
}

void
hints_forget_source (struct reader *r, const struct reader_source *src)
{
  for (uint32_t i = 0; i < r->hint_count; i++)
    if (hint_at (r, i)->want.src == src)
      hint_clear (r, hint_at (r, i));
}

static bool
is_known (struct reader *r, const struct chunk_want *w)
{
  if (entry_find (r, w->src, w->type, w->ref.id))
    return true;
  struct raw *raw = raw_find (r, w->src, w->pack, w->ref.off, w->ref.sealed_len);
  if (raw)
    raw_unref (r, raw);
  return raw != NULL;
}

static uint32_t
most_of (const struct chunk_want *w)
{
  return is_local (w->src) ? READER_AHEAD_GET_LOCAL : READER_AHEAD_GET;
}

struct group {
  uint32_t lo, hi; /* of the pack */
  uint32_t n, at[HINT_REACH];
};

/* What one GET fetches: the first hint, and of those soon after it what lies beside it in its pack,
 * before or behind: several sealers and lanes fill packs, so neighbours of a file may be swapped
 * there, or have others between them. */
static void
group (struct reader *r, struct group *g)
{
  const struct chunk_want *first = &hint_at (r, 0)->want;
  uint32_t most = most_of (first);
  *g = (struct group){ .lo = first->ref.off, .hi = first->ref.off + first->ref.sealed_len, .n = 1 };
  /* One that is not beside the others yet may be after the next. */
  bool is_in[HINT_REACH] = { true };
  for (uint32_t before = 0; before < g->n;) {
    before = g->n;
    for (uint32_t i = 1; i < r->hint_count && i < HINT_REACH; i++) {
      const struct chunk_want *w = &hint_at (r, i)->want;
      if (is_in[i] || w->src != first->src || memcmp (w->pack, first->pack, PACK_NAME_LEN) != 0)
        continue;
      uint32_t off = w->ref.off, end = w->ref.off + w->ref.sealed_len;
      uint32_t lo = off < g->lo ? off : g->lo, hi = end > g->hi ? end : g->hi;
      bool is_beside = off >= g->hi ? off - g->hi <= READER_GAP
                                    : end <= g->lo && g->lo - end <= READER_GAP;
      if (!is_beside || hi - lo > most || is_known (r, w))
        continue;
      g->lo = lo;
      g->hi = hi;
      g->at[g->n++] = i;
      is_in[i] = true;
    }
  }
}

static void
hints_pop (struct reader *r, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++)
    hint_clear (r, hint_at (r, i));
  r->hint_first = (r->hint_first + n) % READER_HINTS;
  r->hint_count -= n;
}

void
hints_place (struct reader *r)
{
  lock_assert_held (&r->lock);
  if (r->hint_count == 0 || r->is_stopping || !raw_ahead_room (r, HINT_ROOM))
    return;
  /* One whose reader went elsewhere must not hold up those who came later. */
  int64_t stale = clock_now () - HINT_STALE_NS;
  int64_t newest = hint_at (r, r->hint_count - 1)->at;
  if (stale < newest - READER_STALE_NS)
    stale = newest - READER_STALE_NS;
  while (r->hint_count) {
    struct hint *h = hint_at (r, 0);
    if (!h->want.src || h->at < stale || is_known (r, &h->want)) {
      hints_pop (r, 1);
      continue;
    }
    struct group g;
    group (r, &g);
    uint32_t len = g.hi - g.lo, most = most_of (&h->want);
    bool is_last = false;
    for (uint32_t i = 0; i < g.n; i++)
      is_last |= g.at[i] == r->hint_count - 1;
    /* Small, the last, and much is ahead of it: what follows it may be named yet. */
    if (is_last && len < most / 2 && h->front >= READER_FRONT
        && r->raw_ahead_bytes + r->ahead_bytes >= READER_FRONT)
      return;
    if (!raw_ahead_room (r, len))
      return;
    struct raw *raw = raw_new (r, &h->want, g.lo, len, g.n, true);
    if (!raw)
      return;
    for (uint32_t i = 0; i < g.n; i++) {
      raw_unit (raw, &hint_at (r, g.at[i])->want);
      hint_clear (r, hint_at (r, g.at[i]));
    }
    hints_pop (r, 1);
    fetch_queue (r, raw);
  }
}

void
reader_prefetch (struct reader *r, const struct chunk_want *wants, size_t n)
{
  LOCK_SCOPE (&r->lock);
  int64_t now = clock_now ();
  uint64_t front = 0;
  for (size_t i = 0; i < n && !r->is_stopping; front += wants[i++].ref.sealed_len) {
    if (r->hint_count == READER_HINTS) {
      hints_place (r);
      if (r->hint_count == READER_HINTS)
        return;
    }
    struct hint *h = hint_find (r, &wants[i]);
    if (h)
      h->front = front;
    if (h || !want_is_possible (&wants[i]) || is_known (r, &wants[i])
        || wants[i].ref.sealed_len > READER_GET_MAX)
      continue;
    *hint_at (r, r->hint_count++) = (struct hint){ .want = wants[i], .front = front, .at = now };
    ++*filter_of (r, &wants[i]);
  }
  hints_place (r);
}
