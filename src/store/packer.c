/* SPDX-License-Identifier: Apache-2.0 */
/* packer - lanes and the packs in them.  Chunks are encrypted straight into their place: a
 * reservation fixes offset and entry under the lock, the sealing goes on without it, the commit
 * counts down. */
#define LOG_MODULE "packer"
#include <stdlib.h>
#include <string.h>

#include "base/bufpool.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/pipeline_priv.h"

/* Room for the target, one more chunk being impossible (it would go to the next pack), and the
 * table. */
#define PACK_BUFFER                                                           \
  (PACK_TARGET_BYTES + PACK_MAX_ENTRIES * PACK_ENTRY_LEN + PACK_TRAILER_LEN + UNIT_OVERHEAD)

static void
free_packing (struct packing *k)
{
  struct pipeline *p = k->pipe->line;
  if (k->data) {
    bufpool_put (k->data, k->cap);
    p->packs--;
    pthread_cond_broadcast (&p->changed);
  }
  free (k->entries);
  free (k->deps);
  free (k);
}

/* The filling pack of any pipe that was touched longest ago is sent, because somebody needs a
 * buffer and nothing flies. */
static void
close_oldest_locked (struct pipeline *p)
{
  struct lane *oldest = NULL;
  struct pipe *owner = NULL;
  for (struct pipe *v = p->pipes; v; v = v->next)
    for (int i = 0; i < LANES; i++) {
      struct lane *l = &v->lanes[i];
      if (l->pack && l->pack->count && (!oldest || l->touched < oldest->touched)) {
        oldest = l;
        owner = v;
      }
    }
  if (oldest)
    packer_close_locked (owner, oldest);
}

static int
begin_pack (struct pipe *v, struct lane *lane, enum pack_kind kind)
{
  struct pipeline *p = v->line;
  while (p->packs >= PACKS_MAX && !p->is_cancelled) {
    if (p->flying == 0)
      close_oldest_locked (p);
    lock_wait (&p->changed, &p->lock);
    if (lane->pack)
      return 0; /* another sealer made one meanwhile */
  }
  if (p->is_cancelled)
    return ERR_CANCELLED;
  struct packing *k = calloc (1, sizeof *k);
  if (!k)
    return ERR_NOMEM;
  k->pipe = v;
  k->kind = kind;
  k->data = bufpool_get (PACK_BUFFER, &k->cap);
  if (!k->data) {
    free (k);
    return ERR_NOMEM;
  }
  p->packs++;
  random_bytes (k->salt, sizeof k->salt);
  pack_header_encode (kind, k->salt, k->data);
  k->off = PACK_HEADER_LEN;
  k->job.run = upload_run;
  k->target = pipe_pack_target (v);
  sha_stream_init (&k->sha);
  /* The index may read its files: not under the lane lock. */
  lock_release (&p->lock);
  int rc = index_pack_begin (v->opts.index, kind, &k->no);
  lock_take (&p->lock);
  bool is_wanted = !lane->pack && !p->is_cancelled;
  if (rc == 0 && !is_wanted)
    index_pack_drop (v->opts.index, k->no);
  if (rc || !is_wanted) {
    free_packing (k);
    return rc ? rc : lane->pack ? 0 : ERR_CANCELLED;
  }
  k->next = v->packs;
  k->serial = ++v->pack_serial;
  v->packs = k;
  lane->pack = k;
  return 0;
}

static int
add_entry (struct packing *k, const struct pack_entry *e)
{
  if (k->count == k->entry_cap) {
    uint32_t cap = k->entry_cap ? k->entry_cap * 2 : 64;
    struct pack_entry *more = realloc (k->entries, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    k->entries = more;
    k->entry_cap = cap;
  }
  k->entries[k->count++] = *e;
  return 0;
}

int
packer_reserve (struct pipe *v, int lane_no, int type, int codec, uint32_t sealed_len,
                uint32_t plain_len, const uint8_t id[ID_LEN], struct pipe_dep *dep,
                 struct slot *out)
{
  struct pipeline *p = v->line;
  LOCK_SCOPE (&p->lock);
  struct lane *lane = &v->lanes[lane_no];
  for (;;) {
    struct packing *k = lane->pack;
    if (k && k->count
        && (k->off + sealed_len > k->target || k->count >= PACK_MAX_ENTRIES))
      packer_close_locked (v, lane);
    if (lane->pack)
      break;
    int rc = begin_pack (v, lane, type == UNIT_DATA ? PACK_DATA : PACK_META);
    if (rc)
      return rc;
  }
  struct packing *k = lane->pack;
  struct pack_entry e = { .type = (uint8_t) type, .codec = (uint8_t) codec, .off = k->off,
                          .sealed_len = sealed_len, .plain_len = plain_len };
  memcpy (e.id, id, ID_LEN);
  int rc = add_entry (k, &e);
  if (rc)
    return rc;
  lane->touched = k->touched = clock_now ();
  packer_depend_locked (k, dep);
  *out = (struct slot){ .next = k->open, .pack = k, .at = k->data + k->off, .off = k->off,
                        .entry = k->count - 1 };
  k->open = out;
  k->off += sealed_len;
  v->backlog += sealed_len;
  k->unwritten++;
  return 0;
}

static void
launch_locked (struct packing *k)
{
  k->state = PACK_FLYING;
  k->pipe->line->flying++;
  pool_submit (k->pipe->line->uploaders, &k->job);
}

void
packer_commit (struct pipe *v, const struct slot *slot, bool is_good)
{
  LOCK_SCOPE (&v->line->lock);
  struct packing *k = slot->pack;
  if (!is_good) {
    /* The bytes stay (offsets follow from lengths), under an id that nothing has. */
    memset (k->entries[slot->entry].id, 0, ID_LEN);
  }
  for (struct slot **at = &k->open; *at; at = &(*at)->next)
    if (*at == slot) {
      *at = slot->next;
      break;
    }
  if (--k->unwritten == 0 && k->state == PACK_CLOSING)
    launch_locked (k);
}

static uint32_t
final_end_locked (const struct packing *k)
{
  uint32_t end = k->off;
  for (const struct slot *s = k->open; s; s = s->next)
    if (s->off < end)
      end = s->off;
  return end;
}

struct packing *
packer_hash_next (struct pipe *v, uint32_t most, const uint8_t **at, uint32_t *len)
{
  if (!sha_pair_is_there ())
    return NULL;
  LOCK_SCOPE (&v->line->lock);
  struct packing *best = NULL;
  *len = 0;
  for (struct packing *k = v->packs; k; k = k->next) {
    if (k->state == PACK_FLYING || k->is_hashing)
      continue;
    uint32_t ready = final_end_locked (k) - k->hashed;
    if (ready > *len) {
      best = k;
      *len = ready;
    }
  }
  if (!best)
    return NULL;
  if (*len > most)
    *len = most;
  *at = best->data + best->hashed;
  best->is_hashing = true;
  best->unwritten++; /* it does not fly meanwhile */
  return best;
}

void
packer_hashed (struct packing *k, uint32_t len)
{
  LOCK_SCOPE (&k->pipe->line->lock);
  k->hashed += len;
  k->is_hashing = false;
  if (--k->unwritten == 0 && k->state == PACK_CLOSING)
    launch_locked (k);
}

void
packer_close_locked (struct pipe *v, struct lane *lane)
{
  lock_assert_held (&v->line->lock);
  struct packing *k = lane->pack;
  lane->pack = NULL;
  if (!k)
    return;
  k->state = PACK_CLOSING;
  v->flying += k->off - PACK_HEADER_LEN;
  if (k->unwritten == 0)
    launch_locked (k);
}

void
packer_depend_locked (struct packing *k, struct pipe_dep *dep)
{
  for (uint32_t i = 0; i < k->dep_count; i++)
    if (k->deps[i] == dep)
      return;
  if (k->dep_count == k->dep_cap) {
    uint32_t cap = k->dep_cap ? k->dep_cap * 2 : 4;
    struct pipe_dep **more = realloc (k->deps, cap * sizeof *more);
    if (!more) {
      dep->error = ERR_NOMEM; /* cannot be tracked: better a failed seal than an unproven one */
      return;
    }
    k->deps = more;
    k->dep_cap = cap;
  }
  k->deps[k->dep_count++] = dep;
  dep->unfinished++;
}

struct packing *
packer_find_locked (struct pipe *v, uint32_t no)
{
  for (struct packing *k = v->packs; k; k = k->next)
    if (k->no == no)
      return k;
  return NULL;
}

void
packer_unread (struct packing *k)
{
  struct pipeline *p = k->pipe->line;
  lock_take (&p->lock);
  if (--k->readers == 0 && k->is_over)
    free_packing (k);
  lock_release (&p->lock);
}

bool
pipe_read_pack (struct pipe *v, uint32_t no, uint32_t off, uint32_t len, uint8_t *out)
{
  lock_take (&v->line->lock);
  struct packing *k = packer_find_locked (v, no);
  if (k)
    k->readers++;
  bool is_inside = k && off >= PACK_HEADER_LEN && (uint64_t) off + len <= k->off;
  lock_release (&v->line->lock);
  if (!k)
    return false;
  if (is_inside)
    memcpy (out, k->data + off, len);
  packer_unread (k);
  return is_inside;
}

int
pipe_pack_name (struct pipe *v, uint32_t no, uint64_t ticket, uint8_t name[PACK_NAME_LEN])
{
  LOCK_SCOPE (&v->line->lock);
  struct packing *k = packer_find_locked (v, no);
  if (!k)
    return ERR_MISSING;
  if (!k->is_named || k->serial > ticket)
    return ERR_STATE;
  memcpy (name, k->name, PACK_NAME_LEN);
  return 0;
}

/* The end of a pack's life, from upload.c, with the lock held. */
void
packer_over_locked (struct packing *k, int rc)
{
  struct pipe *v = k->pipe;
  for (struct packing **at = &v->packs; *at; at = &(*at)->next)
    if (*at == k) {
      *at = k->next;
      break;
    }
  for (uint32_t i = 0; i < k->dep_count; i++) {
    k->deps[i]->unfinished--;
    if (rc && !k->deps[i]->error)
      k->deps[i]->error = rc;
  }
  v->line->flying--;
  upload_sent (k, k->off);
  k->is_over = true;
  pthread_cond_broadcast (&v->line->changed);
  if (k->readers == 0)
    free_packing (k);
}
