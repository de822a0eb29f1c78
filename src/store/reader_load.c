/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "reader"
#include "store/reader_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define FEW 16              /* wants without an allocation */
#define LOAD_GET (4u << 20) /* the foreground splits longer runs: several GETs in flight */
#define LOAD_TRIES 4

/* One want of a load. */
struct item {
  const struct chunk_want *want;
  struct entry *entry;
  struct raw *raw; /* mine: where its bytes are or will be */
  bool is_mine;    /* this load makes the entry */
  bool is_hinted;  /* it was announced, but not fetched yet */
};

struct load {
  struct reader *r;
  unsigned flags;
  struct item *items, **mine; /* mine: in the order of packs and offsets */
  size_t n, mine_count;
  struct item few[FEW], *few_mine[FEW];
};

static int
by_place (const void *a, const void *b)
{
  const struct chunk_want *x = (*(struct item *const *) a)->want;
  const struct chunk_want *y = (*(struct item *const *) b)->want;
  if (x->src != y->src)
    return x->src < y->src ? -1 : 1;
  int c = memcmp (x->pack, y->pack, PACK_NAME_LEN);
  return c ? c : x->ref.off < y->ref.off ? -1 : x->ref.off > y->ref.off;
}

/* Gives back what was taken; entries that were begun fail with ERR. */
static void
load_drop_locked (struct load *l, int err)
{
  for (size_t i = 0; i < l->n; i++) {
    struct item *it = &l->items[i];
    if (!it->entry)
      continue;
    if (it->is_mine && it->entry->state == ENTRY_BUSY)
      entry_done (l->r, it->entry, err);
    entry_unref (l->r, it->entry);
    it->entry = NULL;
    it->is_mine = false;
  }
  l->mine_count = 0;
}

/* Holds every entry that is there and begins those that are not; false: no memory, nothing held. */
static bool
load_take_locked (struct load *l)
{
  struct reader *r = l->r;
  for (size_t i = 0; i < l->n; i++) {
    struct item *it = &l->items[i];
    it->entry = entry_find (r, it->want->src, it->want->type, it->want->ref.id);
    if (it->entry) {
      entry_ref (r, it->entry);
      if (it->entry->state == ENTRY_READY)
        entry_use (r, it->entry, l->flags & READER_ONCE);
      continue;
    }
    it->entry = entry_new (r, it->want, false);
    if (!it->entry) {
      load_drop_locked (l, ERR_NOMEM);
      return false;
    }
    it->is_mine = true;
    it->is_hinted = hint_forget (r, it->want);
    it->entry->is_once = l->flags & READER_ONCE;
    it->entry->is_net = !(l->flags & READER_NOWAIT) && !is_local (it->want->src);
    l->mine[l->mine_count++] = it;
  }
  for (size_t i = 0; i < l->n; i++)
    r->stats.hits_memory += l->items[i].entry->state == ENTRY_READY;
  return true;
}

static int
load_take (struct load *l)
{
  struct reader *r = l->r;
  int64_t deadline = clock_now () + READER_MEMORY_WAIT_NS;
  LOCK_SCOPE (&r->lock);
  while (!load_take_locked (l)) {
    if (r->held_bytes == 0)
      return ERR_LIMIT; /* more than there is in all */
    if (l->flags & READER_NOWAIT)
      return ERR_WOULDBLOCK;
    r->memory_waiters++;
    bool is_late = !lock_wait_until (&r->memory, &r->lock, deadline);
    r->memory_waiters--;
    if (is_late)
      return ERR_NOMEM;
  }
  return 0;
}

static void
item_done (struct load *l, struct item *it, int err)
{
  LOCK_SCOPE (&l->r->lock);
  entry_done (l->r, it->entry, err);
}

/* Opens IT from its raw, which is READY or FAILED; else, or where that was damaged in the cache,
 * alone. */
static void
item_open (struct load *l, struct item *it, bool is_own)
{
  struct reader *r = l->r;
  struct raw *raw = it->raw;
  const struct chunk_want *w = it->want;
  enum unit_from from = FROM_NONE;
  lock_take (&r->lock);
  const uint8_t *sealed = raw_bytes (raw, w->ref.off, w->ref.sealed_len, &from);
  int rc = raw->state == RAW_FAILED ? raw->err : 0;
  lock_release (&r->lock);
  bool is_retry = true;
  if (sealed) {
    rc = open_entry (r, it->entry, w, sealed, from, l->flags);
    is_retry = rc == ERR_FORMAT && from == FROM_CACHE;
    LOCK_SCOPE (&r->lock);
    raw_consumed (raw, w->ref.off, w->ref.sealed_len);
    if (!is_own) {
      r->stats.hits_memory++;
      ahead_resume (r);
    } else if (from == FROM_STORE)
      r->stats.misses++;
  } else if (rc < 0 && is_own)
    is_retry = rc == ERR_MISSING && w->src->relocate;
  else if (rc == ERR_CANCELLED)
    is_retry = false;
  if (is_retry)
    rc = fetch_alone (r, it->entry, w, l->flags);
  item_done (l, it, rc);
}

static int raw_wait (struct load *l, struct raw *raw, bool is_own);

/* Fills a raw that begins BUSY here: from its parts, or as any other. */
static int
raw_make (struct load *l, struct raw *raw)
{
  struct reader *r = l->r;
  if (!raw->part[0])
    return raw_fill (r, raw, l->flags);
  int rc = raw_wait (l, raw->part[0], false);
  if (rc == 0)
    rc = raw_wait (l, raw->part[1], false);
  if (rc < 0)
    return rc;
  if (!raw_join (raw))
    return raw_fill (r, raw, l->flags);
  LOCK_SCOPE (&r->lock);
  raw->part[0]->consumed += raw->part[0]->got_hi - raw->off;
  raw->part[1]->consumed += raw->len - (raw->part[0]->got_hi - raw->off);
  return 0;
}

/* Waits until RAW is filled by whoever does it; takes it over where nobody has begun. */
static int
raw_wait (struct load *l, struct raw *raw, bool is_own)
{
  struct reader *r = l->r;
  bool no_net = (l->flags & READER_NOWAIT) && !is_local (raw->src);
  lock_take (&r->lock);
  if (raw->state == RAW_QUEUED && raw->is_queued && (is_own || !no_net)
      && (raw_list_remove (&r->fetch_first, raw) || raw_list_remove (&r->fetch_ahead, raw)
          || raw_list_remove (&r->decode, raw) || raw_list_remove (&r->own, raw))) {
    raw->is_queued = false;
    raw->state = RAW_BUSY;
    lock_release (&r->lock);
    int rc = raw_make (l, raw);
    lock_take (&r->lock);
    raw_done (r, raw, rc);
    raw_unref (r, raw); /* the queue's */
  }
  while (raw->state == RAW_QUEUED || raw->state == RAW_BUSY) {
    if (no_net) {
      lock_release (&r->lock);
      return ERR_WOULDBLOCK;
    }
    lock_wait (cond_of (r, raw), &r->lock);
  }
  lock_release (&r->lock);
  return 0;
}

/* The items [from, to) of `mine` share a raw: waits for it, opens them, lets it go. */
static void
run_finish (struct load *l, size_t from, size_t to, bool is_own)
{
  struct raw *raw = l->mine[from]->raw;
  int rc = raw_wait (l, raw, is_own);
  for (size_t i = from; i < to; i++)
    if (rc < 0)
      item_done (l, l->mine[i], rc);
    else
      item_open (l, l->mine[i], is_own);
  LOCK_SCOPE (&l->r->lock);
  const struct chunk_ref *first = &l->mine[from]->want->ref, *last = &l->mine[to - 1]->want->ref;
  if (rc == 0 && raw->got_hi && (is_own || raw->is_window) && !l->mine[from]->is_hinted)
    walk_step (l->r, raw->src, raw->pack, first->off, last->off + last->sealed_len);
  raw_unref (l->r, raw);
}

/* How many of mine one GET may fetch from FROM on: neighbours that nothing else covers. */
static size_t
run_length (struct load *l, size_t from, uint32_t *len)
{
  const struct chunk_want *first = l->mine[from]->want;
  uint32_t most = LOAD_GET < l->r->limits.raw_bytes / 8 ? LOAD_GET
                                                        : (uint32_t) (l->r->limits.raw_bytes / 8);
  uint32_t end = first->ref.off + first->ref.sealed_len;
  size_t i = from + 1;
  for (; i < l->mine_count; i++) {
    const struct chunk_want *w = l->mine[i]->want;
    uint64_t w_end = (uint64_t) w->ref.off + w->ref.sealed_len;
    if (w->src != first->src || memcmp (w->pack, first->pack, PACK_NAME_LEN) != 0
        || w->ref.off < end || w->ref.off - end > READER_GAP || w_end - first->ref.off > most)
      break;
    struct raw *raw = raw_find (l->r, w->src, w->pack, w->ref.off, w->ref.sealed_len);
    if (raw) {
      raw_unref (l->r, raw);
      break;
    }
    end = (uint32_t) w_end;
  }
  *len = end - first->ref.off;
  return i - from;
}

struct run {
  size_t from, to;
  bool is_own;
};

/* Finds or begins the raw of the next run; false: no raw memory now. */
static bool
run_begin_locked (struct load *l, size_t from, struct run *out)
{
  struct reader *r = l->r;
  const struct chunk_want *w = l->mine[from]->want;
  struct raw *raw = raw_find (r, w->src, w->pack, w->ref.off, w->ref.sealed_len);
  *out = (struct run){ .from = from, .to = from + 1 };
  if (!raw) {
    struct raw *part[2];
    uint32_t len = w->ref.sealed_len;
    bool is_joined = raw_find_parts (r, w, part);
    size_t k = is_joined ? 1 : run_length (l, from, &len);
    raw = raw_new (r, w, w->ref.off, len, k, false);
    for (int i = 0; i < 2 && is_joined; i++)
      if (raw)
        raw->part[i] = part[i];
      else
        raw_unref (r, part[i]);
    if (!raw)
      return false;
    out->to = from + k;
    out->is_own = true;
    for (size_t i = from; i < out->to; i++)
      raw_unit (raw, l->mine[i]->want);
    /* All but the last go to the fetchers; what they have not begun the waiter takes over. */
    raw_ref (raw);
    raw->is_queued = true;
    raw_list_add (is_joined || is_local (w->src) || (l->flags & READER_NOWAIT)
                      || out->to == l->mine_count
                    ? &r->own : &r->fetch_first, raw);
  }
  for (size_t i = from; i < out->to; i++)
    l->mine[i]->raw = raw;
  return true;
}

/* From the store into the entry, one after the other: there is no round trip to share. */
static void
item_make_direct (struct load *l, struct item *it)
{
  struct reader *r = l->r;
  int rc = fetch_alone (r, it->entry, it->want, l->flags);
  LOCK_SCOPE (&r->lock);
  r->stats.misses += rc == 0;
  entry_done (r, it->entry, rc);
}

/* Makes all entries that are this load's.  Runs are begun ahead of being waited for; where raw
 * memory is short, the oldest is finished first, so that a load never waits for memory while it has
 * some. */
static void
load_make (struct load *l)
{
  struct reader *r = l->r;
  struct run runs[FEW];
  size_t next = 0, head = 0, tail = 0;
  qsort (l->mine, l->mine_count, sizeof *l->mine, by_place);
  int64_t deadline = clock_now () + READER_MEMORY_WAIT_NS;
  while (next < l->mine_count || head > tail) {
    if (next < l->mine_count && is_direct (l->mine[next]->want->src)) {
      item_make_direct (l, l->mine[next++]);
      continue;
    }
    lock_take (&r->lock);
    while (next < l->mine_count && head - tail < FEW && !is_direct (l->mine[next]->want->src)
           && run_begin_locked (l, next, &runs[head % FEW]))
      next = runs[head++ % FEW].to;
    bool is_stuck = head == tail, is_late = false;
    if (is_stuck && !(is_late = (l->flags & READER_NOWAIT) != 0)) {
      r->memory_waiters++;
      is_late = !lock_wait_until (&r->memory, &r->lock, deadline);
      r->memory_waiters--;
    }
    fetch_kick (r);
    lock_release (&r->lock);
    if (is_late) {
      int rc = l->flags & READER_NOWAIT ? ERR_WOULDBLOCK : ERR_NOMEM;
      for (; next < l->mine_count; next++)
        item_done (l, l->mine[next], rc);
    } else if (!is_stuck) {
      struct run *run = &runs[tail++ % FEW];
      run_finish (l, run->from, run->to, run->is_own);
    }
  }
}

/* Waits for entries that others make.  The first error, and whether somebody else met it. */
static int
load_wait (struct load *l, bool *is_foreign)
{
  struct reader *r = l->r;
  int rc = 0;
  LOCK_SCOPE (&r->lock);
  for (size_t i = 0; i < l->n; i++) {
    struct item *it = &l->items[i];
    struct entry *e = it->entry;
    while (e->state == ENTRY_BUSY) {
      if ((l->flags & READER_NOWAIT) && e->is_net)
        return ERR_WOULDBLOCK;
      lock_wait (cond_of (r, e), &r->lock);
    }
    if (e->state == ENTRY_FAILED && rc == 0) {
      rc = e->err;
      *is_foreign = !it->is_mine;
    } else if (!it->is_mine && e->is_ahead)
      entry_use (r, e, l->flags & READER_ONCE);
  }
  return rc;
}

static int
load_once (struct load *l, bool *is_foreign)
{
  *is_foreign = false;
  int rc = load_take (l);
  if (rc < 0)
    return rc;
  if (l->mine_count)
    load_make (l);
  rc = load_wait (l, is_foreign);
  if (rc < 0) {
    LOCK_SCOPE (&l->r->lock);
    load_drop_locked (l, rc);
  }
  return rc;
}

int
reader_load (struct reader *r, const struct chunk_want *wants, size_t n, unsigned flags,
             struct chunk_view **views)
{
  lock_assert_none ();
  for (size_t i = 0; i < n; i++) {
    int bad = want_check (r, &wants[i]);
    if (bad < 0)
      return bad;
  }
  struct load l = { .r = r, .flags = flags, .n = n };
  AUTO_MEM void *memory = NULL;
  l.items = l.few;
  l.mine = l.few_mine;
  if (n > FEW) {
    memory = calloc (n, sizeof *l.items + sizeof *l.mine);
    if (!memory)
      return ERR_NOMEM;
    l.items = memory;
    l.mine = (struct item **) (void *) (l.items + n);
  }
  for (size_t i = 0; i < n; i++)
    l.items[i].want = &wants[i];
  int rc = 0;
  bool is_foreign = true;
  /* Another's failure may not be ours: it would not wait, or was only reading ahead. */
  for (int i = 0; i < LOAD_TRIES; i++) {
    rc = load_once (&l, &is_foreign);
    if (rc == 0 || !is_foreign || rc == ERR_CANCELLED)
      break;
  }
  if (rc < 0)
    return rc;
  for (size_t i = 0; i < n; i++)
    views[i] = &l.items[i].entry->view;
  return 0;
}
