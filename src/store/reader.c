/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "reader"
#include "store/reader_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static int
start_threads (struct reader *r)
{
  int n = r->limits.fetch_threads + r->limits.decode_threads;
  r->jobs = calloc ((size_t) n, sizeof *r->jobs);
  if (!r->jobs)
    return ERR_NOMEM;
  for (int i = 0; i < n; i++)
    r->jobs[i] = (struct reader_job){ .job = { .run = reader_job_run },
                                      .reader = r,
                                      .is_decoder = i >= r->limits.fetch_threads };
  int rc = pool_new ("coffer-fetch", r->limits.fetch_threads, 0, &r->fetchers);
  return rc < 0 ? rc : pool_new ("coffer-open", r->limits.decode_threads, 0, &r->decoders);
}

int
reader_new (const struct reader_limits *limits, struct reader **out)
{
  AUTO (reader) r = calloc (1, sizeof *r);
  if (!r)
    return ERR_NOMEM;
  r->limits = *limits;
  if (r->limits.fetch_threads < 1)
    r->limits.fetch_threads = 1;
  if (r->limits.decode_threads < 1)
    r->limits.decode_threads = 1;
  lock_init (&r->lock, LOCK_FETCH, "reader");
  for (int i = 0; i < CONDS; i++)
    lock_cond_init (&r->changed[i]);
  lock_cond_init (&r->memory);
  arena_init (&r->decoded, limits->decoded_bytes);
  arena_init (&r->raw, limits->raw_bytes);
  r->ahead_max = limits->raw_bytes / 4 * 3 < READER_AHEAD_MAX ? limits->raw_bytes / 4 * 3
                                                              : READER_AHEAD_MAX;
  r->decoded_ahead_max = limits->decoded_bytes / 2;
  int rc = start_threads (r);
  if (rc < 0)
    return rc;
  *out = STEAL (r);
  return 0;
}

/* Takes what is queued off a list; SRC NULL: of all sources. */
static void
unqueue (struct reader *r, struct raw_list *l, const struct reader_source *src)
{
  struct raw_list keep = { 0 };
  for (struct raw *raw; (raw = raw_list_take (l));) {
    if (src && raw->src != src) {
      raw_list_add (&keep, raw);
      continue;
    }
    raw->is_queued = false;
    if (raw->state == RAW_QUEUED)
      raw_done (r, raw, ERR_CANCELLED);
    raw_unref (r, raw);
  }
  *l = keep;
}

void
reader_free (struct reader *r)
{
  if (!r)
    return;
  if (r->jobs) {
    lock_take (&r->lock);
    r->is_stopping = true;
    lock_release (&r->lock);
  }
  pool_free (r->fetchers);
  pool_free (r->decoders);
  lock_take (&r->lock);
  unqueue (r, &r->fetch_ahead, NULL);
  unqueue (r, &r->decode, NULL);
  raws_release (r);
  table_release (r);
  lock_release (&r->lock);
  while (r->sealers) {
    struct sealer_item *s = r->sealers;
    r->sealers = s->next;
    sealer_free (s->sealer);
    free (s);
  }
  for (int i = 0; i < CONDS; i++)
    pthread_cond_destroy (&r->changed[i]);
  pthread_cond_destroy (&r->memory);
  lock_destroy (&r->lock);
  free (r->jobs);
  free (r);
}

/* Something of SRC that is under way, to wait for; NULL: nothing. */
static pthread_cond_t *
busy_with (struct reader *r, const struct reader_source *src)
{
  for (unsigned i = 0; i < HASH_SIZE; i++)
    for (struct entry *e = r->table[i]; e; e = e->hash_next)
      if (e->src == src && e->state == ENTRY_BUSY)
        return cond_of (r, e);
  struct raw *raw = r->raws;
  if (raw)
    do {
      if (raw->src == src && raw->refs > 0)
        return cond_of (r, raw);
      raw = raw->next;
    } while (raw != r->raws);
  return NULL;
}

void
reader_forget_source (struct reader *r, struct reader_source *src)
{
  LOCK_SCOPE (&r->lock);
  hints_forget_source (r, src);
  unqueue (r, &r->fetch_ahead, src);
  unqueue (r, &r->decode, src);
  for (pthread_cond_t *c; (c = busy_with (r, src));) {
    /* A raw's last reference goes a moment after its state has changed: look again soon. */
    (void) lock_wait_until (c, &r->lock, clock_now () + 5 * NS_PER_MS);
    unqueue (r, &r->decode, src);
  }
  raws_forget (r, src);
  table_forget (r, src);
  walks_forget (r, src);
}

void
reader_stats_get (struct reader *r, struct reader_stats *out)
{
  LOCK_SCOPE (&r->lock);
  *out = r->stats;
  out->decoded_bytes = r->decoded.used;
  out->raw_bytes = r->raw.used;
}

/* A unit too large for the decoded memory: opened straight into OUT. */
static int
unit_direct (struct reader *r, const struct chunk_want *w, struct buf *out)
{
  const struct reader_cache *cache = &w->src->cache;
  AUTO_MEM void *sealed = malloc (w->ref.sealed_len);
  struct sealer_item *s = sealer_take (r);
  int rc = sealed && s ? 0 : ERR_NOMEM;
  bool is_hit = rc == 0 && cache->ctx && cache->get
                && cache->get (cache->ctx, w->pack, w->ref.off, w->ref.sealed_len, sealed);
  if (is_hit) {
    rc = open_unit_buf (s->sealer, w->src->keys, w->type, w->ref.id, sealed, w->ref.sealed_len,
                        out);
    if (rc < 0 && cache->drop)
      cache->drop (cache->ctx, w->pack, w->ref.off);
  }
  if (rc == ERR_FORMAT || rc == ERR_VERSION || (rc == 0 && !is_hit)) {
    rc = store_get (r, w->src, w->pack, w->ref.off, w->ref.sealed_len, sealed);
    if (rc == 0)
      rc = open_unit_buf (s->sealer, w->src->keys, w->type, w->ref.id, sealed, w->ref.sealed_len,
                          out);
    if (rc > 0 && cache->ctx && cache->put)
      cache->put (cache->ctx, w->pack, w->ref.off, w->ref.sealed_len, sealed);
  }
  sealer_give (r, s);
  if (rc == ERR_FORMAT)
    log_err ("damaged unit in the store prefix=%s off=%u len=%u type=%d", w->src->prefix,
             w->ref.off, w->ref.sealed_len, w->type);
  return rc < 0 ? rc : 0;
}

int
reader_unit (struct reader *r, const struct chunk_want *want, struct buf *out)
{
  struct chunk_view *v;
  int rc = want_check (r, want);
  if (rc == ERR_FORMAT)
    return rc;
  if (want->ref.plain_len > r->limits.decoded_bytes / 4
      || want->ref.sealed_len > r->limits.raw_bytes / 4)
    return unit_direct (r, want, out);
  rc = reader_load (r, want, 1, 0, &v);
  if (rc < 0)
    return rc;
  buf_put (out, v->data, v->len);
  chunk_view_unref (v);
  return buf_error (out);
}

static bool
is_in_memory (struct reader *r, const struct chunk_want *w)
{
  LOCK_SCOPE (&r->lock);
  struct entry *e = entry_find (r, w->src, w->type, w->ref.id);
  if (e && e->state == ENTRY_READY)
    return true;
  struct raw *raw = raw_find (r, w->src, w->pack, w->ref.off, w->ref.sealed_len);
  bool is_there = raw && raw->state == RAW_READY;
  if (raw)
    raw_unref (r, raw);
  return is_there;
}

bool
reader_is_cached (struct reader *r, const struct chunk_want *wants, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    const struct chunk_want *w = &wants[i];
    const struct reader_cache *cache = &w->src->cache;
    if (is_in_memory (r, w))
      continue;
    if (!cache->ctx)
      return false;
    if (cache->has) {
      if (!cache->has (cache->ctx, w->pack, w->ref.off))
        return false;
      continue;
    }
    AUTO_MEM void *scratch = malloc (w->ref.sealed_len);
    if (!scratch || !cache->get (cache->ctx, w->pack, w->ref.off, w->ref.sealed_len, scratch))
      return false;
  }
  return true;
}
