/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "pipeline"
#include "store/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bufpool.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/pipeline_priv.h"

/* How long the buffers may be full with nothing being placed. */
#define STALL_NS (200 * NS_PER_MS)
/* What a stream of small chunks gains by a higher level is not spent on large ones. */
#define SMALL_CHUNK (32u << 10)
#define SMALL_LEVEL_MORE 2

int
pipeline_new (const struct pipeline_opts *opts, struct pipeline **out)
{
  struct pipeline *p = calloc (1, sizeof *p);
  if (!p)
    return ERR_NOMEM;
  p->opts = *opts;
  long cpus = sysconf (_SC_NPROCESSORS_ONLN);
  if (p->opts.sealers <= 0)
    p->opts.sealers = cpus < 1 ? 1 : cpus > 8 ? 8 : (int) cpus;
  if (p->opts.sealers > RUNNERS_MAX)
    p->opts.sealers = RUNNERS_MAX;
  if (p->opts.uploaders <= 0)
    p->opts.uploaders = 3;
  if (!p->opts.chunk_bytes)
    p->opts.chunk_bytes = 48u << 20;
  p->freed_at = clock_now ();
  lock_init (&p->lock, LOCK_LANE, "lanes");
  lock_init (&p->chunk_lock, LOCK_PIPE, "pipeline");
  lock_cond_init (&p->changed);
  lock_cond_init (&p->room);
  int rc = pool_new ("sealer", p->opts.sealers, 1 << 20, &p->sealers);
  if (rc == 0)
    rc = pool_new ("upload", p->opts.uploaders, 1 << 20, &p->uploaders);
  if (rc) {
    pipeline_free (p);
    return rc;
  }
  *out = p;
  return 0;
}

void
pipeline_free (struct pipeline *p)
{
  if (!p)
    return;
  pool_free (p->sealers);
  pool_free (p->uploaders);
  pthread_cond_destroy (&p->changed);
  pthread_cond_destroy (&p->room);
  lock_destroy (&p->lock);
  lock_destroy (&p->chunk_lock);
  free (p);
}

bool
pipeline_is_full (struct pipeline *p)
{
  LOCK_SCOPE (&p->chunk_lock);
  return p->chunk_bytes > p->opts.chunk_bytes;
}

bool
pipeline_is_tight (const struct pipeline *p)
{
  return p->chunk_bytes > p->opts.chunk_bytes / 2;
}

static void wake_locked (struct pipe *v);
static void run_turn (struct pool_job *job);

/* Chunks wait, and none is being placed: the lanes' owners do not come, so others have their turn
 * (L5 of pipeline_priv.h). */
static void
end_stall (struct pipeline *p)
{
  LOCK_SCOPE (&p->lock);
  for (struct pipe *v = p->pipes; v; v = v->next)
    if (v->active == 0 && v->waiting.count) {
      lanes_hurry_locked (v);
      wake_locked (v);
    }
}

int
pipeline_admit (struct pipeline *p, int64_t timeout_ns)
{
  int64_t deadline = clock_now () + timeout_ns;
  LOCK_SCOPE (&p->chunk_lock);
  /* Where all that is lent lies in chunks that nobody has finished, waiting would be for ever: the
   * first in line is let through until its chunk is cut. */
  while (p->chunk_bytes > p->opts.chunk_bytes && !p->chunk_cancelled
         && __atomic_load_n (&p->pushed, __ATOMIC_RELAXED) > 0) {
    int64_t now = clock_now (), stall = p->freed_at + STALL_NS;
    if (now >= stall) {
      end_stall (p);
      stall = now + STALL_NS;
    }
    if (now >= deadline)
      return ERR_AGAIN;
    (void) lock_wait_until (&p->room, &p->chunk_lock, stall < deadline ? stall : deadline);
  }
  return p->chunk_cancelled ? ERR_CANCELLED : 0;
}

void
pipeline_cancel (struct pipeline *p)
{
  lock_take (&p->chunk_lock);
  p->chunk_cancelled = true;
  pthread_cond_broadcast (&p->room);
  lock_release (&p->chunk_lock);
  lock_take (&p->lock);
  p->is_cancelled = true;
  /* No pack is begun any more, and none stays that somebody could wait for. */
  for (struct pipe *v = p->pipes; v; v = v->next)
    for (int i = 0; i < LANES; i++)
      packer_close_locked (v, &v->lanes[i]);
  pthread_cond_broadcast (&p->changed);
  lock_release (&p->lock);
}

void
pipeline_stats_get (struct pipeline *p, struct pipeline_stats *out)
{
  lock_take (&p->chunk_lock);
  out->chunk_bytes = p->chunk_bytes;
  out->chunk_max = p->opts.chunk_bytes;
  lock_release (&p->chunk_lock);
  lock_take (&p->lock);
  out->flying = p->flying;
  out->filling = p->packs - p->flying;
  lock_release (&p->lock);
}

static void
account (struct pipeline *p, ptrdiff_t delta)
{
  lock_take (&p->chunk_lock);
  p->chunk_bytes = (size_t) ((ptrdiff_t) p->chunk_bytes + delta);
  if (delta < 0)
    p->freed_at = clock_now ();
  bool has_room = delta < 0
                  && (p->chunk_bytes <= p->opts.chunk_bytes
                      || __atomic_load_n (&p->pushed, __ATOMIC_RELAXED) == 0);
  lock_release (&p->chunk_lock);
  if (has_room)
    pthread_cond_broadcast (&p->room);
}

struct pipe_chunk *
pipe_chunk_new (struct pipeline *p, size_t cap)
{
  struct pipe_chunk *c = calloc (1, sizeof *c);
  if (!c)
    return NULL;
  c->data = bufpool_get (cap, &c->cap);
  if (!c->data) {
    free (c);
    return NULL;
  }
  account (p, (ptrdiff_t) c->cap);
  return c;
}

int
pipe_chunk_grow (struct pipeline *p, struct pipe_chunk *c, size_t cap)
{
  if (cap <= c->cap)
    return 0;
  size_t new_cap;
  uint8_t *data = bufpool_get (cap, &new_cap);
  if (!data)
    return ERR_NOMEM;
  memcpy (data, c->data, c->len);
  bufpool_put (c->data, c->cap);
  account (p, (ptrdiff_t) (new_cap - c->cap));
  c->data = data;
  c->cap = new_cap;
  return 0;
}

void
pipe_chunk_free (struct pipeline *p, struct pipe_chunk *c)
{
  if (!c)
    return;
  if (c->counts && !c->pipe)
    c->counts->writing--;
  if (c->counts)
    c->counts->backlog -= c->counted;
  size_t cap = c->cap;
  if (c->pipe)
    __atomic_fetch_sub (&p->pushed, 1, __ATOMIC_RELAXED);
  bufpool_put (c->data, c->cap);
  free (c);
  account (p, -(ptrdiff_t) cap);
}

int
pipe_new (struct pipeline *p, const struct pipe_opts *opts, struct pipe **out)
{
  struct pipe *v = calloc (1, sizeof *v);
  if (!v)
    return ERR_NOMEM;
  v->line = p;
  v->opts = *opts;
  snprintf (v->vault, sizeof v->vault, "%s", opts->vault);
  uint8_t session[8];
  random_bytes (session, sizeof session);
  hex_encode (session, sizeof session, v->session);
  for (int i = 0; i < RUNNERS_MAX; i++)
    v->runners[i] = (struct runner){ .job.run = run_turn, .pipe = v };
  lock_take (&p->lock);
  v->next = p->pipes;
  p->pipes = v;
  lock_release (&p->lock);
  *out = v;
  return 0;
}

void
pipe_free (struct pipe *v)
{
  if (!v)
    return;
  struct pipeline *p = v->line;
  lock_take (&p->lock);
  for (struct pipe **at = &p->pipes; *at; at = &(*at)->next)
    if (*at == v) {
      *at = v->next;
      break;
    }
  lock_release (&p->lock);
  free (v);
}

const char *
pipe_session (const struct pipe *v)
{
  return v->session;
}

/* A known chunk in a pack that is still on its way ties DEP to that pack.  False: the pack failed
 * just now. */
bool
pipe_depend (struct pipe *v, struct pipe_dep *dep, uint32_t no)
{
  lock_take (&v->line->lock);
  struct packing *k = packer_find_locked (v, no);
  if (k)
    packer_depend_locked (k, dep);
  lock_release (&v->line->lock);
  uint8_t name[PACK_NAME_LEN];
  return k || index_pack_name (v->opts.index, no, name) == 0;
}

static int
place_new (struct pipe *v, struct sealer *s, struct pipe_chunk *c, int lane)
{
  struct seal_plan plan;
  int level = v->opts.zstd_level;
  if (level > 0 && (c->len <= SMALL_CHUNK || c->type != UNIT_DATA))
    level += SMALL_LEVEL_MORE;
  int rc = seal_prepare (s, c->type, c->data, c->len, level, &plan);
  if (rc)
    return rc;
  uint32_t sealed_len = (uint32_t) seal_plan_len (&plan);
  struct slot slot;
  rc = packer_reserve (v, lane, c->type, plan.codec, sealed_len, c->len, c->ref.id, c->dep, &slot);
  if (rc)
    return rc;
  rc = seal_finish (s, v->opts.keys, c->ref.id, &plan, slot.at);
  if (rc == 0)
    rc = seal_verify (s, v->opts.keys, c->type, c->ref.id, slot.at, sealed_len, c->crc);
  if (rc)
    log_err ("a chunk did not open to what was written vault=%s bytes=%u err=\"%s\": failing "
             "memory or"
             " library; nothing of it will be sealed", v->vault, c->len, err_str (rc));
  c->ref.pack = slot.pack->no;
  c->ref.off = slot.off;
  c->ref.sealed_len = sealed_len;
  if (rc == 0)
    (void) !index_add (v->opts.index, c->type, &c->ref); /* a hint: without it less is found */
  packer_commit (v, &slot, rc == 0);
  return rc;
}

/* The chunk's id; beside it some of what was packed last is hashed for the pack's name. */
static int
find_id (struct pipe *v, struct sealer *s, struct pipe_chunk *c)
{
  const uint8_t *packed;
  uint32_t len;
  struct packing *k = packer_hash_next (v, c->len, &packed, &len);
  if (!k)
    return seal_id (s, v->opts.keys, c->type, c->data, c->len, c->ref.id);
  seal_id_beside (v->opts.keys, c->type, c->data, c->len, c->ref.id, &k->sha, packed, len);
  packer_hashed (k, len);
  return 0;
}

static void
place (struct pipe *v, struct sealer *s, struct pipe_chunk *c, int lane)
{
  struct pipe_dep *dep = c->dep;
  uint32_t len = c->len;
  int rc = s ? find_id (v, s, c) : ERR_NOMEM;
  c->ref.plain_len = c->len;
  struct chunk_ref known;
  if (rc == 0 && index_find (v->opts.index, c->type, c->ref.id, c->len, &known)
      && pipe_depend (v, dep, known.pack)) {
    c->ref = known;
    c->is_dup = true;
  } else if (rc == 0)
    rc = place_new (v, s, c, lane);
  bool is_dup = c->is_dup, is_data = c->type == UNIT_DATA;
  c->done (c, rc);
  LOCK_SCOPE (&v->line->lock);
  v->lanes[lane].busy--;
  dep->unplaced--;
  if (rc && !dep->error)
    dep->error = rc;
  if (rc == 0 && is_data && is_dup)
    dep->dedup += len;
  else if (rc == 0 && is_data)
    dep->fresh += len;
  if (dep->unplaced == 0)
    pthread_cond_broadcast (&v->line->changed);
}

/* A sealer that may sleep is woken. */
static void
wake_locked (struct pipe *v)
{
  lock_assert_held (&v->line->lock);
  unsigned most = (unsigned) v->line->opts.sealers;
  if (v->holds || v->active >= most)
    return;
  for (unsigned i = 0; i < most; i++)
    if (!v->runners[i].is_busy) {
      v->runners[i].is_busy = true;
      v->active++;
      pool_submit (v->line->sealers, &v->runners[i].job);
      return;
    }
}

/* One sealer's turn: what the lanes give, then to the end of the queue, for there are other vaults.
 */
static void
run_turn (struct pool_job *job)
{
  struct runner *r = (struct runner *) job;
  struct pipe *v = r->pipe;
  struct sealer *sealer;
  struct chunk_list list;
  if (sealer_of_thread (&sealer) != 0)
    sealer = NULL;
  lock_take (&v->line->lock);
  int lane = lanes_take_locked (v, &list);
  if (lane < 0) {
    r->is_busy = false;
    v->active--;
    pthread_cond_broadcast (&v->line->changed);
    lock_release (&v->line->lock);
    return;
  }
  if (lanes_has_work_locked (v))
    wake_locked (v);
  lock_release (&v->line->lock);
  for (struct pipe_chunk *c = list.head, *next; c; c = next) {
    next = c->next;
    place (v, sealer, c, lane);
  }
  pool_submit (v->line->sealers, job);
}

void
pipe_push (struct pipe *v, struct pipe_chunk *c)
{
  c->pipe = v;
  if (c->counts)
    v->writing--;
  LOCK_SCOPE (&v->line->lock);
  c->dep->unplaced++;
  __atomic_fetch_add (&v->line->pushed, 1, __ATOMIC_RELAXED);
  /* What waits for more while the writers are held would wait for ever. */
  if (lanes_push_locked (v, c) || pipeline_is_tight (v->line))
    wake_locked (v);
}

void
pipe_kick (struct pipe *v)
{
  LOCK_SCOPE (&v->line->lock);
  lanes_hurry_locked (v);
  wake_locked (v);
}

void
pipe_end_stream (struct pipe *v, uint64_t stream)
{
  LOCK_SCOPE (&v->line->lock);
  lanes_end_stream_locked (v, stream);
}

void
pipe_hold (struct pipe *v)
{
  LOCK_SCOPE (&v->line->lock);
  v->holds++;
}

void
pipe_unhold (struct pipe *v)
{
  LOCK_SCOPE (&v->line->lock);
  if (v->holds && --v->holds == 0)
    for (int i = 0; i < v->line->opts.sealers; i++)
      wake_locked (v);
}

int
pipe_wait_placed (struct pipe *v, struct pipe_dep *dep)
{
  pipe_kick (v);
  LOCK_SCOPE (&v->line->lock);
  while (dep->unplaced)
    lock_wait (&v->line->changed, &v->line->lock);
  return dep->error;
}

uint64_t
pipe_close_packs (struct pipe *v, bool meta_only)
{
  LOCK_SCOPE (&v->line->lock);
  for (int i = meta_only ? LANE_META : 0; i < LANES; i++)
    packer_close_locked (v, &v->lanes[i]);
  return v->pack_serial;
}

/* Is DEP in a pack up to TICKET that is not done (or, for NAMED, has no name yet)? */
static bool
is_waiting_locked (struct pipe *v, const struct pipe_dep *dep, uint64_t ticket, bool named)
{
  for (struct packing *k = v->packs; k; k = k->next)
    for (uint32_t i = 0; k->serial <= ticket && !(named && k->is_named) && i < k->dep_count; i++)
      if (k->deps[i] == dep)
        return true;
  return false;
}

static int
wait_packs (struct pipe *v, struct pipe_dep *dep, uint64_t ticket, bool named)
{
  LOCK_SCOPE (&v->line->lock);
  while (is_waiting_locked (v, dep, ticket, named))
    lock_wait (&v->line->changed, &v->line->lock);
  return dep->error;
}

int
pipe_wait_named (struct pipe *v, struct pipe_dep *dep, uint64_t ticket)
{
  return wait_packs (v, dep, ticket, true);
}

int
pipe_wait_durable (struct pipe *v, struct pipe_dep *dep, uint64_t ticket)
{
  return wait_packs (v, dep, ticket, false);
}

void
pipe_dep_release (struct pipe *v, struct pipe_dep *dep)
{
  LOCK_SCOPE (&v->line->lock);
  lanes_hurry_locked (v);
  wake_locked (v);
  while (dep->unplaced)
    lock_wait (&v->line->changed, &v->line->lock);
  for (struct packing *k = v->packs; k; k = k->next)
    for (uint32_t i = 0; i < k->dep_count; i++)
      if (k->deps[i] == dep) {
        k->deps[i] = k->deps[--k->dep_count];
        dep->unfinished--;
        break;
      }
}

void
pipe_drain (struct pipe *v)
{
  LOCK_SCOPE (&v->line->lock);
  v->holds = 0;
  lanes_hurry_locked (v);
  wake_locked (v);
  while (v->active || v->waiting.count || v->waiting_meta.count)
    lock_wait (&v->line->changed, &v->line->lock);
  for (int i = 0; i < LANES; i++)
    packer_close_locked (v, &v->lanes[i]);
  while (v->packs)
    lock_wait (&v->line->changed, &v->line->lock);
}

int
pipe_copy_sealed (struct pipe *v, struct pipe_dep *dep, int type, int codec, const uint8_t *sealed,
                  struct chunk_ref *ref)
{
  struct slot slot;
  int lane = type == UNIT_DATA ? LANE_DATA_A : LANE_META;
  int rc = packer_reserve (v, lane, type, codec, ref->sealed_len, ref->plain_len, ref->id, dep,
                           &slot);
  if (rc)
    return rc;
  memcpy (slot.at, sealed, ref->sealed_len);
  ref->pack = slot.pack->no;
  ref->off = slot.off;
  (void) !index_add (v->opts.index, type, ref); /* a hint: without it less is found later */
  packer_commit (v, &slot, true);
  return 0;
}

static int
put_delta (struct pipe *v, struct index_delta *d)
{
  char name[64], key[BLOB_KEY_MAX];
  lock_take (&v->line->lock);
  uint32_t seq = v->index_seq++;
  lock_release (&v->line->lock);
  snprintf (name, sizeof name, "%s-%010u", v->session, seq);
  snprintf (key, sizeof key, "vaults/%s/index/%s", v->vault, name);
  AUTO_BUF plain, object;
  buf_init (&plain, unit_plain_max (UNIT_INDEX));
  buf_init (&object, plain.max + 4096);
  AUTO (sealer) s = NULL;
  int rc = index_delta_encode (d, &plain);
  if (rc == 0)
    rc = sealer_new (&s);
  if (rc == 0) {
    uint8_t id[ID_LEN];
    unit_id_index (name, id);
    object_header_put (&object, MAGIC_INDEX);
    rc = seal_unit (s, v->opts.keys, UNIT_INDEX, id, plain.data, plain.len, 3, &object);
  }
  if (rc == 0)
    rc = blob_put (v->opts.blob, key, object.data, object.len, NULL);
  if (rc == 0) {
    index_mark_delta (v->opts.index, name);
    index_exported (v->opts.index);
  }
  return rc;
}

int
pipe_put_index (struct pipe *v)
{
  for (;;) {
    struct index_delta d = { 0 };
    int rc = index_export (v->opts.index, &d);
    bool is_end = d.pack_count == 0;
    if (rc == 0 && !is_end)
      rc = put_delta (v, &d);
    index_delta_release (&d);
    if (rc || is_end)
      return rc;
  }
}
