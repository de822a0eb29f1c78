/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reader_priv.h"

#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

/* Classes: multiples of 4 KiB up to 16 KiB, then four to every doubling. */
static int
class_of (size_t n, size_t *cap)
{
  if (n <= 16384) {
    int k = n ? (int) ((n - 1) / 4096) : 0;
    *cap = (size_t) (k + 1) * 4096;
    return k;
  }
  int log = 63 - __builtin_clzll (n - 1); /* 2^log < n <= 2^(log+1) */
  size_t step = (size_t) 1 << (log - 2);
  size_t quarter = (n - 1 - ((size_t) 1 << log)) / step; /* 0..3 */
  *cap = ((size_t) 1 << log) + (quarter + 1) * step;
  return 4 + (log - 14) * 4 + (int) quarter;
}

void
arena_init (struct arena *a, size_t limit)
{
  *a = (struct arena){ .limit = limit };
}

static size_t
cap_of_class (int k)
{
  if (k < 4)
    return (size_t) (k + 1) * 4096;
  int log = 14 + (k - 4) / 4;
  return ((size_t) 1 << log) + ((size_t) (k % 4) + 1) * ((size_t) 1 << (log - 2));
}

static bool
trim_one (struct arena *a)
{
  for (int k = ARENA_CLASSES - 1; k >= 0; k--)
    if (a->free[k]) {
      struct arena_free *f = a->free[k];
      a->free[k] = f->next;
      a->kept -= cap_of_class (k);
      a->used -= cap_of_class (k);
      munmap (f, cap_of_class (k));
      return true;
    }
  return false;
}

void
arena_release (struct arena *a)
{
  while (trim_one (a))
    ;
}

uint8_t *
arena_get (struct arena *a, size_t n, bool may_trim, size_t *cap)
{
  int k = class_of (n, cap);
  if (k >= ARENA_CLASSES)
    return NULL;
  /* A buffer up to half as large again does as well as one that must be faulted in. */
  for (int i = k; i < k + 3 && i < ARENA_CLASSES; i++)
    if (a->free[i]) {
      struct arena_free *f = a->free[i];
      a->free[i] = f->next;
      *cap = cap_of_class (i);
      a->kept -= *cap;
      return (uint8_t *) f;
    }
  while (may_trim && a->used + *cap > a->limit && trim_one (a))
    ;
  if (a->used + *cap > a->limit)
    return NULL;
  void *p = mmap (NULL, *cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  a->used += *cap;
  return p;
}

void
arena_put (struct arena *a, uint8_t *p, size_t cap)
{
  size_t same;
  int k = class_of (cap, &same);
  struct arena_free *f = (struct arena_free *) (void *) p;
  f->next = a->free[k];
  a->free[k] = f;
  a->kept += cap;
}

static struct entry **
slot_of (struct reader *r, const uint8_t id[ID_LEN])
{
  return &r->table[get_le32 (id) % HASH_SIZE];
}

struct entry *
entry_find (struct reader *r, const struct reader_source *src, int type, const uint8_t id[ID_LEN])
{
  for (struct entry *e = *slot_of (r, id); e; e = e->hash_next)
    if (e->src == src && e->type == type && memcmp (e->id, id, ID_LEN) == 0)
      return e;
  return NULL;
}

static void
list_add (struct reader *r, struct entry *e, enum entry_list list)
{
  e->list = list;
  e->prev = NULL;
  e->next = r->head[list];
  if (e->next)
    e->next->prev = e;
  else
    r->tail[list] = e;
  r->head[list] = e;
  r->list_bytes[list] += e->cap;
  r->held_bytes -= e->cap;
}

static void
list_remove (struct reader *r, struct entry *e)
{
  if (e->list == LIST_NONE)
    return;
  *(e->prev ? &e->prev->next : &r->head[e->list]) = e->next;
  *(e->next ? &e->next->prev : &r->tail[e->list]) = e->prev;
  r->list_bytes[e->list] -= e->cap;
  r->held_bytes += e->cap;
  e->list = LIST_NONE;
}

void
entry_forget (struct reader *r, struct entry *e)
{
  if (!e->is_in_table)
    return;
  struct entry **p = slot_of (r, e->id);
  while (*p != e)
    p = &(*p)->hash_next;
  *p = e->hash_next;
  e->is_in_table = false;
  if (e->is_ahead) {
    e->is_ahead = false;
    r->ahead_bytes -= e->cap;
  }
}

static void
entry_free (struct reader *r, struct entry *e)
{
  entry_forget (r, e);
  list_remove (r, e);
  r->held_bytes -= e->cap;
  arena_put (&r->decoded, e->buf, e->cap);
  free (e);
}

/* Where 3/5 are protected, the oldest of them step back. */
static void
protect (struct reader *r, struct entry *e)
{
  list_add (r, e, LIST_PROTECTED);
  while (r->list_bytes[LIST_PROTECTED] > r->decoded.limit / 5 * 3) {
    struct entry *old = r->tail[LIST_PROTECTED];
    list_remove (r, old);
    old->is_protected = false;
    old->born = r->inserted;
    list_add (r, old, LIST_USED);
  }
}

/* The entry that goes next, or NULL.  *is_dear: it will be missed, so other memory goes first.  Of
 * what was decoded ahead the last goes, for the first is used next. */
static struct entry *
evictable (struct reader *r, bool is_ahead, bool *is_dear)
{
  *is_dear = false;
  if (r->tail[LIST_ONCE]
      && (r->list_bytes[LIST_ONCE] > r->decoded.limit / 8 || !r->tail[LIST_USED]))
    return r->tail[LIST_ONCE];
  if (r->tail[LIST_USED])
    return r->tail[LIST_USED];
  struct entry *e = r->tail[LIST_AHEAD];
  if (e && clock_now () - e->made_at > READER_STALE_NS)
    return e;
  *is_dear = true;
  if (is_ahead)
    return NULL;
  return e ? r->head[LIST_AHEAD] : r->tail[LIST_PROTECTED];
}

/* Prefers to free until a buffer of the right size turns up over faulting in a new one. */
static uint8_t *
decoded_get (struct reader *r, size_t n, bool is_ahead, size_t *cap)
{
  struct arena *a = &r->decoded;
  for (;;) {
    uint8_t *p = arena_get (a, n, a->kept > a->limit / 4, cap);
    if (p)
      return p;
    bool is_dear;
    struct entry *e = evictable (r, is_ahead, &is_dear);
    if ((!e || is_dear) && ((p = arena_get (a, n, true, cap)) || !e))
      return p;
    entry_free (r, e);
  }
}

struct entry *
entry_new (struct reader *r, const struct chunk_want *w, bool is_ahead)
{
  lock_assert_held (&r->lock);
  if (is_ahead) {
    struct entry *old = r->tail[LIST_AHEAD];
    if (r->ahead_bytes + w->ref.plain_len > r->decoded_ahead_max && old
        && clock_now () - old->made_at > READER_STALE_NS)
      entry_free (r, old); /* its reader went elsewhere */
    if (r->ahead_bytes + w->ref.plain_len > r->decoded_ahead_max)
      return NULL;
  }
  struct entry *e = calloc (1, sizeof *e);
  if (e)
    e->buf = decoded_get (r, w->ref.plain_len, is_ahead, &e->cap);
  if (!e || !e->buf) {
    free (e);
    return NULL;
  }
  e->view = (struct chunk_view){ .data = e->buf, .len = w->ref.plain_len };
  e->reader = r;
  e->src = w->src;
  memcpy (e->id, w->ref.id, ID_LEN);
  e->type = w->type;
  e->state = ENTRY_BUSY;
  e->refs = 1;
  e->list = LIST_NONE;
  e->made_at = is_ahead ? clock_now () : 0;
  e->is_ahead = is_ahead;
  r->ahead_bytes += is_ahead ? e->cap : 0;
  r->held_bytes += e->cap;
  r->inserted += e->cap;
  e->born = r->inserted;
  e->is_in_table = true;
  struct entry **slot = slot_of (r, e->id);
  e->hash_next = *slot;
  *slot = e;
  return e;
}

void
entry_ref (struct reader *r, struct entry *e)
{
  e->refs++;
  list_remove (r, e);
}

void
entry_unref (struct reader *r, struct entry *e)
{
  lock_assert_held (&r->lock);
  if (--e->refs > 0)
    return;
  if (e->state != ENTRY_READY || !e->is_in_table)
    entry_free (r, e);
  else if (e->is_protected)
    protect (r, e);
  else
    list_add (r, e, e->is_ahead ? LIST_AHEAD : e->is_once ? LIST_ONCE : LIST_USED);
  if (r->memory_waiters)
    pthread_cond_broadcast (&r->memory);
}

void
entry_use (struct reader *r, struct entry *e, bool is_once)
{
  if (e->is_ahead) {
    e->is_ahead = false;
    r->ahead_bytes -= e->cap;
    e->born = r->inserted;
    e->is_once = is_once;
    ahead_resume (r);
  } else if (!is_once) {
    e->is_once = false;
    /* Reads of one chunk in pieces are one use: only a later one counts. */
    if (r->inserted - e->born > r->decoded.limit / 8)
      e->is_protected = true;
  }
}

void
entry_done (struct reader *r, struct entry *e, int err)
{
  lock_assert_held (&r->lock);
  e->state = err < 0 ? ENTRY_FAILED : ENTRY_READY;
  e->err = err;
  if (err < 0)
    entry_forget (r, e);
  pthread_cond_broadcast (cond_of (r, e));
}

void
table_forget (struct reader *r, const struct reader_source *src)
{
  for (unsigned i = 0; i < HASH_SIZE; i++)
    for (struct entry *e = r->table[i], *next; e; e = next) {
      next = e->hash_next;
      if (e->src != src)
        continue;
      if (e->refs > 0)
        entry_forget (r, e); /* a view is still held: it goes with it */
      else
        entry_free (r, e);
    }
}

void
table_release (struct reader *r)
{
  for (int i = 0; i < LISTS; i++)
    while (r->tail[i])
      entry_free (r, r->tail[i]);
  arena_release (&r->decoded);
}

void
chunk_view_unref (struct chunk_view *v)
{
  if (!v)
    return;
  struct entry *e = (struct entry *) v;
  struct reader *r = e->reader;
  LOCK_SCOPE (&r->lock);
  entry_unref (r, e);
}
