/* SPDX-License-Identifier: Apache-2.0 */
#include "store_reader_util.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "blob/memory.h"
#include "format/pack.h"
#include "store/seal.h"
#include "store_keys_helper.h"

struct slow {
  struct blob blob; /* first */
  struct blob *inner;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int64_t ns;
  int in_flight, max_in_flight;
  bool is_cancelled;
};

static int
slow_wait (struct slow *s)
{
  struct timespec ts;
  pthread_mutex_lock (&s->mutex);
  s->in_flight++;
  if (s->in_flight > s->max_in_flight)
    s->max_in_flight = s->in_flight;
  clock_gettime (CLOCK_REALTIME, &ts);
  int64_t until = ts.tv_sec * NS_PER_S + ts.tv_nsec + s->ns;
  ts = (struct timespec){ .tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S };
  while (s->ns && !s->is_cancelled && pthread_cond_timedwait (&s->wake, &s->mutex, &ts) == 0)
    ;
  s->in_flight--;
  int rc = s->is_cancelled ? ERR_CANCELLED : 0;
  pthread_mutex_unlock (&s->mutex);
  return rc;
}

static int
slow_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct slow *s = (struct slow *) b;
  int rc = slow_wait (s);
  return rc < 0 ? rc : blob_get (s->inner, key, off, len, out);
}

static int
slow_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct slow *s = (struct slow *) b;
  int rc = slow_wait (s);
  return rc < 0 ? rc : blob_head (s->inner, key, out);
}

static int
slow_get_all (struct blob *b, const char *key, struct buf *out)
{
  return blob_get_all (((struct slow *) b)->inner, key, out);
}

static void
slow_cancel (struct blob *b)
{
  struct slow *s = (struct slow *) b;
  pthread_mutex_lock (&s->mutex);
  s->is_cancelled = true;
  pthread_cond_broadcast (&s->wake);
  pthread_mutex_unlock (&s->mutex);
}

static void
slow_free (struct blob *b)
{
  struct slow *s = (struct slow *) b;
  blob_free (s->inner);
  pthread_mutex_destroy (&s->mutex);
  pthread_cond_destroy (&s->wake);
  free (s);
}

int
slow_new (struct blob *inner, int64_t ns, unsigned caps, struct blob **out)
{
  static const struct blob_ops ops = {
    .name = "slow",
    .get = slow_get,
    .head = slow_head,
    .get_all = slow_get_all,
    .cancel = slow_cancel,
    .free = slow_free,
  };
  struct slow *s = calloc (1, sizeof *s);
  if (!s)
    return ERR_NOMEM;
  s->blob.ops = &ops;
  s->blob.caps = caps;
  s->inner = inner;
  s->ns = ns;
  pthread_mutex_init (&s->mutex, NULL);
  pthread_cond_init (&s->wake, NULL);
  *out = &s->blob;
  return 0;
}

void
slow_set (struct blob *b, int64_t ns)
{
  struct slow *s = (struct slow *) b;
  pthread_mutex_lock (&s->mutex);
  s->ns = ns;
  pthread_mutex_unlock (&s->mutex);
}

int
slow_max_in_flight (struct blob *b)
{
  struct slow *s = (struct slow *) b;
  pthread_mutex_lock (&s->mutex);
  int n = s->max_in_flight;
  pthread_mutex_unlock (&s->mutex);
  return n;
}

#define TOY_MAX 8192
struct toy_unit {
  uint8_t pack[PACK_NAME_LEN], *bytes;
  uint32_t off, len;
};
struct toy_cache {
  pthread_mutex_t mutex;
  struct toy_unit units[TOY_MAX];
  int n;
};

struct toy_cache *
toy_cache_new (void)
{
  struct toy_cache *t = calloc (1, sizeof *t);
  pthread_mutex_init (&t->mutex, NULL);
  return t;
}

void
toy_cache_free (struct toy_cache *t)
{
  for (int i = 0; i < t->n; i++)
    free (t->units[i].bytes);
  pthread_mutex_destroy (&t->mutex);
  free (t);
}

static struct toy_unit *
toy_find (struct toy_cache *t, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  for (int i = 0; i < t->n; i++)
    if (t->units[i].off == off && memcmp (t->units[i].pack, pack, PACK_NAME_LEN) == 0)
      return &t->units[i];
  return NULL;
}

static bool
toy_get (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len, uint8_t *out)
{
  struct toy_cache *t = ctx;
  pthread_mutex_lock (&t->mutex);
  struct toy_unit *u = toy_find (t, pack, off);
  bool is_hit = u && u->len == len;
  if (is_hit)
    memcpy (out, u->bytes, len);
  pthread_mutex_unlock (&t->mutex);
  return is_hit;
}

static void
toy_put (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
         const uint8_t *sealed)
{
  struct toy_cache *t = ctx;
  pthread_mutex_lock (&t->mutex);
  if (t->n < TOY_MAX && !toy_find (t, pack, off)) {
    struct toy_unit *u = &t->units[t->n++];
    memcpy (u->pack, pack, PACK_NAME_LEN);
    u->off = off;
    u->len = len;
    u->bytes = malloc (len);
    memcpy (u->bytes, sealed, len);
  }
  pthread_mutex_unlock (&t->mutex);
}

static void
toy_drop (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  struct toy_cache *t = ctx;
  pthread_mutex_lock (&t->mutex);
  struct toy_unit *u = toy_find (t, pack, off);
  if (u) {
    free (u->bytes);
    *u = t->units[--t->n];
  }
  pthread_mutex_unlock (&t->mutex);
}

struct reader_cache
toy_cache_ops (struct toy_cache *t)
{
  return (struct reader_cache){ .ctx = t, .get = toy_get, .put = toy_put, .drop = toy_drop };
}

void
toy_cache_damage (struct toy_cache *t)
{
  for (int i = 0; i < t->n; i++)
    t->units[i].bytes[(uint32_t) i * 7 % t->units[i].len] ^= 0x10;
}

int
toy_cache_count (struct toy_cache *t)
{
  pthread_mutex_lock (&t->mutex);
  int n = t->n;
  pthread_mutex_unlock (&t->mutex);
  return n;
}

struct vault *
vault_new (int64_t ns, unsigned caps)
{
  struct vault *v = calloc (1, sizeof *v);
  v->keys = fixed_vault_keys ("orders");
  if (blob_memory_new (&v->mem) < 0 || slow_new (v->mem, ns, caps, &v->slow) < 0)
    abort ();
  v->src = (struct reader_source){ .blob = v->slow, .keys = v->keys,
                                   .prefix = "vaults/orders/packs/" };
  return v;
}

void
vault_free (struct vault *v)
{
  blob_free (v->slow);
  vault_keys_free (v->keys);
  free (v->wants);
  free (v);
}

static uint64_t
mix (uint64_t x)
{
  x ^= x >> 31;
  x *= 0x7fb5d329728ea185u;
  x ^= x >> 27;
  x *= 0x81dadef4bc2dd44du;
  return x ^ x >> 33;
}

static void
plain_of (size_t i, uint32_t len, bool is_text, uint8_t *out)
{
  uint64_t x = mix (i + 1);
  for (uint32_t k = 0; k < len; k++) {
    if (k % 8 == 0)
      x = mix (x + k);
    out[k] = (uint8_t) (is_text ? "0123456789abcdef"[(k >> 3) % 16] + (k % 61 == i % 61)
                                : (int) (x >> k % 8 * 8 & 0xff));
  }
}

void
vault_pack (struct vault *v, size_t n, uint32_t len, const uint32_t *lens, bool is_text)
{
  struct buf pack, table;
  AUTO (sealer) s = NULL;
  uint8_t salt[PACK_SALT_LEN], id[ID_LEN];
  buf_init (&pack, PACK_MAX_BYTES);
  buf_init (&table, 16 << 20);
  v->wants = realloc (v->wants, (v->n + n) * sizeof *v->wants);
  if (sealer_new (&s) < 0)
    abort ();
  for (size_t i = 0; i < sizeof salt; i++)
    salt[i] = (uint8_t) mix (v->n * 32 + i);
  pack_header_encode (PACK_DATA, salt, buf_reserve (&pack, PACK_HEADER_LEN));
  pack.len += PACK_HEADER_LEN;
  for (size_t i = 0; i < n; i++) {
    struct chunk_want *w = &v->wants[v->n + i];
    uint32_t plain_len = lens ? lens[i] : len;
    uint8_t *plain = malloc (plain_len);
    plain_of (v->n + i, plain_len, is_text, plain);
    *w = (struct chunk_want){ .src = &v->src, .type = UNIT_DATA };
    w->ref.off = (uint32_t) pack.len;
    w->ref.plain_len = plain_len;
    if (seal_id (s, v->keys, UNIT_DATA, plain, plain_len, w->ref.id) < 0
        || seal_unit (s, v->keys, UNIT_DATA, w->ref.id, plain, plain_len, 1, &pack) < 0)
      abort ();
    w->ref.sealed_len = (uint32_t) pack.len - w->ref.off;
    struct pack_entry e = { .type = UNIT_DATA, .codec = pack.data[w->ref.off + 2],
                            .sealed_len = w->ref.sealed_len, .plain_len = plain_len };
    memcpy (e.id, w->ref.id, ID_LEN);
    pack_entry_put (&table, &e);
    free (plain);
  }
  uint64_t table_off = pack.len;
  unit_id_pack_table (salt, id);
  if (seal_unit (s, v->keys, UNIT_PACK_TABLE, id, table.data, table.len, 1, &pack) < 0)
    abort ();
  pack_trailer_encode (table_off, (uint32_t) (pack.len - table_off), (uint32_t) n,
                       buf_reserve (&pack, PACK_TRAILER_LEN));
  pack.len += PACK_TRAILER_LEN;
  uint8_t name[PACK_NAME_LEN];
  char hex[65], key[128];
  sha256_once (pack.data, pack.len, name);
  hex_encode (name, 32, hex);
  snprintf (key, sizeof key, "%s%.2s/%s", v->src.prefix, hex, hex);
  if (blob_put (v->mem, key, pack.data, pack.len, NULL) < 0)
    abort ();
  for (size_t i = 0; i < n; i++)
    memcpy (v->wants[v->n + i].pack, name, PACK_NAME_LEN);
  v->n += n;
  buf_release (&pack);
  buf_release (&table);
}

void
assert_chunk (const struct vault *v, size_t i, const struct chunk_view *view)
{
  uint32_t len = v->wants[i].ref.plain_len;
  uint8_t *plain = malloc (len);
  assert_int_equal (view->len, len);
  plain_of (i, len, false, plain);
  bool is_same = memcmp (plain, view->data, len) == 0;
  if (!is_same) {
    plain_of (i, len, true, plain);
    is_same = memcmp (plain, view->data, len) == 0;
  }
  free (plain);
  assert_true (is_same);
}

int
load (struct reader *r, struct vault *v, size_t i, size_t n, unsigned flags)
{
  struct chunk_view **views = calloc (n, sizeof *views);
  int rc = reader_load (r, v->wants + i, n, flags, views);
  for (size_t k = 0; rc == 0 && k < n; k++) {
    assert_chunk (v, i + k, views[k]);
    chunk_view_unref (views[k]);
  }
  free (views);
  return rc;
}

struct reader *
reader_of (size_t decoded, size_t raw)
{
  struct reader_limits limits = { decoded, raw, 16, 2 };
  struct reader *r = NULL;
  if (reader_new (&limits, &r) < 0)
    abort ();
  return r;
}

struct reader_stats
stats_of (struct reader *r)
{
  struct reader_stats s;
  reader_stats_get (r, &s);
  return s;
}
