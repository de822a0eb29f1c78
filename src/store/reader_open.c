/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "reader"
#include "store/reader_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "format/pack.h"

struct sealer_item *
sealer_take (struct reader *r)
{
  lock_take (&r->lock);
  struct sealer_item *s = r->sealers;
  if (s)
    r->sealers = s->next;
  lock_release (&r->lock);
  if (s)
    return s;
  s = calloc (1, sizeof *s);
  if (s && sealer_new (&s->sealer) < 0) {
    free (s);
    s = NULL;
  }
  return s;
}

void
sealer_give (struct reader *r, struct sealer_item *s)
{
  if (!s)
    return;
  LOCK_SCOPE (&r->lock);
  s->next = r->sealers;
  r->sealers = s;
}

static void
tell_damage (struct reader *r, const struct chunk_want *w, enum unit_from from)
{
  char pack[2 * PACK_NAME_LEN + 1], id[2 * ID_LEN + 1];
  hex_encode (w->pack, PACK_NAME_LEN, pack);
  hex_encode (w->ref.id, ID_LEN, id);
  if (from == FROM_CACHE)
    log_warn ("damaged unit in the block cache, fetching it again pack=%s off=%u len=%u chunk=%s",
              pack, w->ref.off, w->ref.sealed_len, id);
  else
    log_err ("damaged chunk in the store pack=%s off=%u len=%u type=%d chunk=%s", pack, w->ref.off,
             w->ref.sealed_len, w->type, id);
  LOCK_SCOPE (&r->lock);
  if (from == FROM_CACHE)
    r->stats.cache_damage++;
  else
    r->stats.store_damage++;
}

int
open_entry (struct reader *r, struct entry *e, const struct chunk_want *w, const uint8_t *sealed,
            enum unit_from from, unsigned flags)
{
  struct sealer_item *s = sealer_take (r);
  if (!s)
    return ERR_NOMEM;
  int rc = open_unit (s->sealer, w->src->keys, w->type, w->ref.id, sealed, w->ref.sealed_len,
                      e->buf, w->ref.plain_len);
  sealer_give (r, s);
  if (rc == ERR_NOMEM)
    return rc;
  const struct reader_cache *cache = &w->src->cache;
  bool use_cache = cache->ctx && !(flags & READER_NO_CACHE);
  if (rc != (int) w->ref.plain_len) {
    tell_damage (r, w, from);
    if (from == FROM_CACHE && cache->drop)
      cache->drop (cache->ctx, w->pack, w->ref.off);
    return rc == ERR_VERSION && from == FROM_STORE ? ERR_VERSION : ERR_FORMAT;
  }
  if (from == FROM_STORE && use_cache && cache->put)
    cache->put (cache->ctx, w->pack, w->ref.off, w->ref.sealed_len, sealed);
  LOCK_SCOPE (&r->lock);
  if (from == FROM_STORE)
    r->stats.wanted_bytes += w->ref.sealed_len;
  else
    r->stats.hits_cache++;
  return 0;
}

struct direct {
  const struct chunk_want *want;
  char key[BLOB_KEY_MAX + 1];
  int rc; /* of the store */
};

static int
read_direct (void *ctx, size_t off, size_t n, uint8_t *out)
{
  struct direct *d = ctx;
  return d->rc = blob_get (d->want->src->blob, d->key, d->want->ref.off + off, n, out);
}

int
open_direct (struct reader *r, struct entry *e, const struct chunk_want *w)
{
  struct direct d = { .want = w };
  pack_key (w->src, w->pack, d.key);
  struct sealer_item *s = sealer_take (r);
  if (!s)
    return ERR_NOMEM;
  int rc = open_unit_from (s->sealer, w->src->keys, w->type, w->ref.id, read_direct, &d,
                           w->ref.sealed_len, e->buf, w->ref.plain_len);
  sealer_give (r, s);
  d.rc = store_got (r, w->src, d.key, w->ref.off, w->ref.sealed_len, d.rc);
  if (d.rc < 0 || rc == ERR_NOMEM)
    return d.rc < 0 ? d.rc : rc;
  if (rc != (int) w->ref.plain_len) {
    tell_damage (r, w, FROM_STORE);
    return rc == ERR_VERSION ? ERR_VERSION : ERR_FORMAT;
  }
  LOCK_SCOPE (&r->lock);
  r->stats.wanted_bytes += w->ref.sealed_len;
  return 0;
}

bool
want_is_possible (const struct chunk_want *w)
{
  const struct chunk_ref *ref = &w->ref;
  return ref->sealed_len > UNIT_OVERHEAD && ref->plain_len > 0
         && ref->plain_len <= unit_plain_max (w->type)
         && (uint64_t) ref->off + ref->sealed_len <= PACK_MAX_BYTES;
}

int
want_check (const struct reader *r, const struct chunk_want *w)
{
  const struct chunk_ref *ref = &w->ref;
  if (!want_is_possible (w)) {
    log_err ("impossible reference prefix=%s off=%u len=%u plain=%u type=%d", w->src->prefix,
             ref->off, ref->sealed_len, ref->plain_len, w->type);
    return ERR_FORMAT;
  }
  return ref->sealed_len > r->raw.limit ? ERR_LIMIT : 0;
}

/* Raw memory for one unit; the caller holds none. */
static struct raw *
wait_raw (struct reader *r, const struct chunk_want *w, unsigned flags)
{
  int64_t deadline = clock_now () + READER_MEMORY_WAIT_NS;
  LOCK_SCOPE (&r->lock);
  struct raw *raw;
  while (!(raw = raw_new (r, w, w->ref.off, w->ref.sealed_len, 1, false))) {
    r->memory_waiters++;
    bool is_late = (flags & READER_NOWAIT) || !lock_wait_until (&r->memory, &r->lock, deadline);
    r->memory_waiters--;
    if (is_late)
      return NULL;
  }
  raw_unit (raw, w);
  raw->state = RAW_BUSY;
  return raw;
}

static int
fetch_once (struct reader *r, struct entry *e, const struct chunk_want *w, unsigned flags)
{
  if ((flags & READER_NOWAIT) && !is_local (w->src))
    return ERR_WOULDBLOCK;
  if (is_direct (w->src))
    return open_direct (r, e, w);
  struct raw *raw = wait_raw (r, w, flags);
  if (!raw)
    return flags & READER_NOWAIT ? ERR_WOULDBLOCK : ERR_NOMEM;
  int rc = store_get (r, w->src, w->pack, w->ref.off, w->ref.sealed_len, raw->buf);
  if (rc == 0)
    rc = open_entry (r, e, w, raw->buf, FROM_STORE, flags);
  LOCK_SCOPE (&r->lock);
  raw_done (r, raw, rc < 0 ? rc : ERR_CANCELLED); /* opened: nobody else needs it */
  raw_unref (r, raw);
  return rc;
}

static void
tell_missing (struct reader *r, const struct chunk_want *w)
{
  char pack[2 * PACK_NAME_LEN + 1], id[2 * ID_LEN + 1];
  hex_encode (w->pack, PACK_NAME_LEN, pack);
  hex_encode (w->ref.id, ID_LEN, id);
  log_err ("pack is missing and its chunk is known nowhere else pack=%s off=%u chunk=%s", pack,
           w->ref.off, id);
  LOCK_SCOPE (&r->lock);
  r->stats.store_damage++;
}

int
fetch_alone (struct reader *r, struct entry *e, const struct chunk_want *w, unsigned flags)
{
  int rc = fetch_once (r, e, w, flags);
  if (rc != ERR_MISSING || !w->src->relocate)
    return rc;
  struct chunk_want moved = *w;
  if (!w->src->relocate (w->src->relocate_ctx, w->type, w->ref.id, &moved.ref, moved.pack)
      || memcmp (moved.pack, w->pack, PACK_NAME_LEN) == 0) {
    tell_missing (r, w);
    return rc;
  }
  if (moved.ref.plain_len != w->ref.plain_len || memcmp (moved.ref.id, w->ref.id, ID_LEN) != 0)
    return ERR_FORMAT;
  rc = fetch_once (r, e, &moved, flags);
  if (rc == ERR_MISSING)
    tell_missing (r, &moved);
  return rc;
}
