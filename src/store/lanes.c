/* SPDX-License-Identifier: Apache-2.0 */
/* lanes - which of the chunks that wait is placed next, and in which lane (pipeline_priv.h has the
 * rules).  All under the lane lock. */
#include <string.h>

#include "base/clock.h"
#include "store/pipeline_priv.h"

/* A sealer takes so much at a time: small files would otherwise cost a wake-up each. */
#define TAKE_BYTES (256u << 10)
#define TAKE_CHUNKS 32
/* A stream that ended before has no run to be kept together. */
#define SHORT_BYTES (2u << 20)
#define SMALL_PACK (1u << 20) /* streams do not share lanes out before a pack holds so much */
/* An owner that has nothing to give for so long, while others wait, yields in the midst of its run.
 */
#define IDLE_NS (NS_PER_S / 4)

static void
append (struct chunk_list *l, struct pipe_chunk *c)
{
  c->next = NULL;
  if (l->tail)
    l->tail->next = c;
  else
    l->head = c;
  l->tail = c;
  l->bytes += c->len;
  l->count++;
}

static void
unlink_next (struct chunk_list *l, struct pipe_chunk *before, struct pipe_chunk *c)
{
  *(before ? &before->next : &l->head) = c->next;
  if (l->tail == c)
    l->tail = before;
  l->bytes -= c->len;
  l->count--;
}

static struct lane *
lane_of (struct pipe *v, uint64_t stream)
{
  for (int i = LANE_DATA_A; i <= LANE_DATA_B; i++)
    if (v->lanes[i].is_owned && v->lanes[i].stream == stream)
      return &v->lanes[i];
  return NULL;
}

static bool
must_hurry (const struct pipe *v)
{
  return v->line->is_cancelled
         || (v->waiting.head && v->waiting.head->serial <= v->hurry_upto);
}

/* The first chunk that waits for a lane that nobody else has.  With one or two streams there is
 * none, and hundreds of chunks need not be looked at to see it. */
static struct pipe_chunk *
first_without_lane (struct pipe *v)
{
  size_t owned = 0;
  for (int i = LANE_DATA_A; i <= LANE_DATA_B; i++)
    owned += v->lanes[i].is_owned ? v->lanes[i].ahead : 0;
  if (owned == v->waiting.bytes)
    return NULL;
  for (struct pipe_chunk *c = v->waiting.head; c; c = c->next)
    if (!lane_of (v, c->stream))
      return c;
  return NULL;
}

/* Others' chunks wait in memory until a run ends; behind a throttle their writers would wait too.
 */
static uint32_t
run_bytes (const struct pipe *v)
{
  unsigned writing = v->writing;
  if (writing * (uint64_t) LANE_RUN_BYTES <= SLOW_RUNS || !pipe_slow_rate (v))
    return LANE_RUN_BYTES;
  return SLOW_RUNS / writing;
}

/* Is what L's owner did enough, so that another may have it? */
static bool
is_run_over (const struct pipe *v, const struct lane *l)
{
  if (l->run >= run_bytes (v))
    return true;
  if (l->ahead || l->busy)
    return false;
  return l->stream == PIPE_SMALL_FILES || must_hurry (v) || clock_now () - l->moved > IDLE_NS;
}

/* Files of a chunk or two follow each other without a gap: a lane each would be waste. */
static void
disown (struct lane *l)
{
  l->is_owned = false;
  l->must_drain = l->run > SHORT_BYTES;
  l->ahead = 0;
}

static void
give_lane (struct pipe *v, struct lane *l, uint64_t stream)
{
  l->is_owned = true;
  l->stream = stream;
  l->run = 0;
  l->ahead = 0;
  l->moved = clock_now ();
  for (struct pipe_chunk *c = v->waiting.head; c; c = c->next)
    if (c->stream == stream)
      l->ahead += c->len;
}

/* Vaults that write at once share the three packs that may be filled; each has one lane.  What a
 * group of fsyncs wrote lies in one small pack, not in two.  Behind a throttle one lane is all that
 * is needed: a second pack that fills is one less that can be sent. */
static bool
may_open (const struct pipe *v, const struct lane *l)
{
  const struct packing *first = v->lanes[LANE_DATA_A].pack;
  return l->pack || l == &v->lanes[LANE_DATA_A]
         || (!pipe_slow_rate (v) && first && first->off > SMALL_PACK
             && v->line->packs - v->line->flying < PACKS_MAX / 2);
}

/* Lanes change hands.  A new owner waits until all of the old one lies in the pack. */
static void
settle_owners (struct pipe *v)
{
  struct pipe_chunk *c = first_without_lane (v);
  for (int i = LANE_DATA_A; c && i <= LANE_DATA_B; i++) {
    struct lane *l = &v->lanes[i];
    if (l->is_owned && is_run_over (v, l)) {
      disown (l);
      c = first_without_lane (v);
    }
    l->must_drain &= l->busy > 0;
    if (l->is_owned || l->must_drain || !may_open (v, l))
      continue;
    give_lane (v, l, c->stream);
    c = first_without_lane (v);
  }
}

/* Moves what L's owner has, as far as one sealer takes it, to the end of *out. */
static void
take_of (struct pipe *v, struct lane *l, struct chunk_list *out)
{
  struct pipe_chunk *before = NULL, *c = v->waiting.head;
  bool is_last = false;
  while (c && out->bytes < TAKE_BYTES && out->count < TAKE_CHUNKS && !is_last) {
    struct pipe_chunk *next = c->next;
    if (c->stream == l->stream) {
      is_last = c->is_last;
      unlink_next (&v->waiting, before, c);
      l->run += c->len;
      l->ahead -= c->len;
      append (out, c);
    } else
      before = c;
    c = next;
  }
  l->busy += out->count;
  l->moved = clock_now ();
  if (is_last)
    disown (l);
}

static int
take_meta (struct pipe *v, struct chunk_list *out)
{
  while (v->waiting_meta.head && out->bytes < TAKE_BYTES && out->count < TAKE_CHUNKS) {
    struct pipe_chunk *c = v->waiting_meta.head;
    unlink_next (&v->waiting_meta, NULL, c);
    append (out, c);
  }
  v->is_hurried_meta &= v->waiting_meta.head != NULL;
  v->lanes[LANE_META].busy += out->count;
  return LANE_META;
}

/* Small files are placed by one sealer at a time, which keeps their order. */
static bool
can_give (const struct lane *l)
{
  return l->is_owned && l->ahead && !(l->stream == PIPE_SMALL_FILES && l->busy);
}

int
lanes_take_locked (struct pipe *v, struct chunk_list *out)
{
  lock_assert_held (&v->line->lock);
  memset (out, 0, sizeof *out);
  if (v->holds)
    return -1;
  if (v->waiting_meta.head)
    return take_meta (v, out);
  settle_owners (v);
  struct lane *a = &v->lanes[LANE_DATA_A], *b = &v->lanes[LANE_DATA_B];
  bool has_a = can_give (a), has_b = can_give (b);
  if (!has_a && !has_b)
    return -1;
  struct lane *l = has_a && (!has_b || a->busy <= b->busy) ? a : b;
  take_of (v, l, out);
  return l == a ? LANE_DATA_A : LANE_DATA_B;
}

bool
lanes_push_locked (struct pipe *v, struct pipe_chunk *c)
{
  lock_assert_held (&v->line->lock);
  c->serial = ++v->chunk_serial;
  if (c->type != UNIT_DATA)
    append (&v->waiting_meta, c);
  else {
    struct lane *l = lane_of (v, c->stream);
    append (&v->waiting, c);
    if (l) {
      l->ahead += c->len;
      l->moved = clock_now ();
    }
  }
  return lanes_has_work_locked (v);
}

bool
lanes_has_work_locked (const struct pipe *v)
{
  const struct chunk_list *d = &v->waiting, *m = &v->waiting_meta;
  return d->bytes + m->bytes >= TAKE_BYTES || d->count + m->count >= TAKE_CHUNKS
         || (d->count + m->count && (must_hurry (v) || v->is_hurried_meta));
}

void
lanes_hurry_locked (struct pipe *v)
{
  v->hurry_upto = v->chunk_serial;
  v->is_hurried_meta = true;
}

void
lanes_end_stream_locked (struct pipe *v, uint64_t stream)
{
  struct lane *l = lane_of (v, stream);
  if (!l)
    return;
  if (l->ahead == 0)
    disown (l);
  else {
    /* The last one of it that waits ends the run when it is taken. */
    struct pipe_chunk *last = NULL;
    for (struct pipe_chunk *c = v->waiting.head; c; c = c->next)
      if (c->stream == stream)
        last = c;
    if (last)
      last->is_last = true;
  }
}

bool
pipe_favours (struct pipe *v, uint64_t stream)
{
  LOCK_SCOPE (&v->line->lock);
  const struct lane *l = lane_of (v, stream);
  return l && (uint64_t) l->run + l->ahead < run_bytes (v);
}
