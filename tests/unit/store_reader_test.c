/* SPDX-License-Identifier: Apache-2.0 */
/* The reader: right bytes or an error, whatever the store, the cache and the callers do. */
#include "store_reader_util.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define MIB (1u << 20)

/* Every chunk comes back, alone and in loads of many; the second time from memory. */
static void
test_roundtrip (void **state)
{
  static const uint32_t lens[] = { 1, 100, 4096, 70000, 1 << 20, 3, 2 << 20, 16384 };
  for (unsigned caps = 0; caps <= BLOB_CAP_LOCAL; caps += BLOB_CAP_LOCAL) {
    struct vault *v = vault_new (0, caps);
    vault_pack (v, 8, 0, lens, false);
    vault_pack (v, 8, 0, lens, true);
    AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
    for (size_t i = 0; i < v->n; i++)
      assert_int_equal (load (r, v, i, 1, 0), 0);
    uint64_t gets = stats_of (r).gets;
    assert_int_equal (load (r, v, 0, v->n, 0), 0);
    assert_int_equal (stats_of (r).gets, gets);
    struct chunk_want twice[2] = { v->wants[3], v->wants[3] };
    struct chunk_view *views[2];
    assert_int_equal (reader_load (r, twice, 2, 0, views), 0);
    assert_ptr_equal (views[0], views[1]);
    chunk_view_unref (views[0]);
    chunk_view_unref (views[1]);
    reader_forget_source (r, &v->src);
    assert_int_equal (load (r, v, 0, v->n, 0), 0);
    assert_true (stats_of (r).gets > gets);
    /* neighbours came in one GET; a file is read chunk by chunk */
    assert_true (stats_of (r).gets <= gets + (caps & BLOB_CAP_LOCAL ? v->n : 4));
    reader_forget_source (r, &v->src);
    vault_free (v);
  }
}

static void
pack_bytes (struct vault *v, size_t i, char key[256], struct buf *out)
{
  char hex[65];
  hex_encode (v->wants[i].pack, 32, hex);
  snprintf (key, 256, "%s%.2s/%s", v->src.prefix, hex, hex);
  buf_init (out, 64 << 20);
  assert_int_equal (blob_get_all (v->mem, key, out), 0);
}

/* Promise 3: any flipped bit of a pack is ERR_FORMAT for the chunk it is in, never other data. */
static void
test_flipped (void **state)
{
  static const uint32_t lens[] = { 60, 200, 1000 };
  log_set_level (LOG_LVL_ERR - 1);
  for (int kind = 0; kind < 4; kind++) {
    bool is_text = kind & 1;
    struct vault *v = vault_new (0, kind & 2 ? BLOB_CAP_LOCAL : 0);
    vault_pack (v, 3, 0, lens, is_text);
    char key[256];
    struct buf pack;
    pack_bytes (v, 0, key, &pack);
    for (size_t at = 0; at < pack.len; at++) {
      pack.data[at] ^= (uint8_t) (1u << at % 8);
      assert_int_equal (blob_put (v->mem, key, pack.data, pack.len, NULL), 0);
      pack.data[at] ^= (uint8_t) (1u << at % 8);
      AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
      for (size_t i = 0; i < 3; i++) {
        const struct chunk_ref *ref = &v->wants[i].ref;
        bool is_hit = at >= ref->off && at < ref->off + ref->sealed_len;
        int rc = load (r, v, i, 1, 0);
        /* A changed version byte cannot be told from a newer format. */
        if (is_hit && at == ref->off)
          assert_true (rc == ERR_VERSION || rc == ERR_FORMAT);
        else
          assert_int_equal (rc, is_hit ? ERR_FORMAT : 0);
        if (is_hit)
          assert_true (stats_of (r).store_damage > 0);
      }
    }
    buf_release (&pack);
    vault_free (v);
  }
  log_set_level (LOG_LVL_ERR);
}

/* A reference that is wrong in itself (length, type, id) is ERR_FORMAT. */
static void
test_wrong_reference (void **state)
{
  for (unsigned caps = 0; caps <= BLOB_CAP_LOCAL; caps += BLOB_CAP_LOCAL) {
    struct vault *v = vault_new (0, caps);
    vault_pack (v, 3, 5000, NULL, false);
    AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
    struct chunk_view *view;
    for (int i = 0; i < 6; i++) {
      struct chunk_want w = v->wants[1];
      w.ref.plain_len += i == 0 ? 1 : i == 1 ? -1u : 0;
      w.type = i == 2 ? UNIT_TREE_PAGE : UNIT_DATA;
      w.ref.id[7] ^= i == 3;
      w.ref.off += i == 4;
      w.ref.sealed_len -= i == 5;
      assert_int_equal (reader_load (r, &w, 1, 0, &view), ERR_FORMAT);
    }
    /* what no page that was written could say */
    for (int i = 0; i < 5; i++) {
      struct chunk_want w[2] = { v->wants[0], v->wants[1] };
      w[1].ref.off = i == 0 ? UINT32_MAX - 5 : i == 1 ? 64u << 20 : w[1].ref.off;
      w[1].ref.sealed_len = i == 2 ? UINT32_MAX : i == 3 ? 0 : w[1].ref.sealed_len;
      w[1].ref.plain_len = i == 4 ? 0 : w[1].ref.plain_len;
      struct chunk_view *views[2];
      reader_prefetch (r, w, 2);
      assert_int_equal (reader_load (r, w, 2, 0, views), ERR_FORMAT);
      AUTO_BUF out;
      buf_init (&out, 1 << 20);
      assert_int_equal (reader_unit (r, &w[1], &out), ERR_FORMAT);
    }
    assert_int_equal (load (r, v, 1, 1, 0), 0);
    reader_forget_source (r, &v->src);
    vault_free (v);
  }
}

static int relocate_calls;

static bool
relocate (void *ctx, int type, const uint8_t id[ID_LEN], struct chunk_ref *ref,
          uint8_t pack[PACK_NAME_LEN])
{
  assert_int_equal (type, UNIT_DATA);
  struct vault *v = ctx;
  relocate_calls++;
  for (size_t i = v->n / 2; i < v->n; i++)
    if (memcmp (v->wants[i].ref.id, id, ID_LEN) == 0) {
      *ref = v->wants[i].ref;
      memcpy (pack, v->wants[i].pack, PACK_NAME_LEN);
      return true;
    }
  return false;
}

/* A pack that is gone is ERR_MISSING, or is found where the collector has put its chunks; a pack
 * that is cut is ERR_FORMAT. */
static void
test_missing (void **state)
{
  struct vault *v = vault_new (0, 0);
  vault_pack (v, 4, 5000, NULL, true);
  size_t other = v->n;
  vault_pack (v, 1, 77, NULL, false);
  char key[256];
  const char *keys[] = { key };
  struct buf pack;
  pack_bytes (v, 0, key, &pack);
  assert_int_equal (blob_delete (v->mem, keys, 1), 0);
  AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
  assert_int_equal (load (r, v, 0, 4, 0), ERR_MISSING);
  assert_int_equal (load (r, v, other, 1, 0), 0);
  assert_int_equal (blob_put (v->mem, key, pack.data, v->wants[1].ref.off + 10, NULL), 0);
  assert_int_equal (load (r, v, 0, 1, 0), 0);
  assert_int_equal (load (r, v, 1, 1, 0), ERR_FORMAT);
  assert_int_equal (blob_delete (v->mem, keys, 1), 0);
  reader_forget_source (r, &v->src);
  /* the same chunks once more, in another pack */
  struct vault *moved = vault_new (0, 0);
  vault_pack (moved, 4, 5000, NULL, true);
  vault_pack (moved, 1, 123, NULL, true);
  struct buf bytes;
  char moved_key[256];
  pack_bytes (moved, 0, moved_key, &bytes);
  bytes.data[40] ^= 1; /* the salt: another name; the units do not care */
  memcpy (v->wants[4].pack, "0123456789abcdef0123456789abcdef", 32);
  char hex[65], new_key[256];
  hex_encode (v->wants[4].pack, 32, hex);
  snprintf (new_key, sizeof new_key, "%s%.2s/%s", v->src.prefix, hex, hex);
  assert_int_equal (blob_put (v->mem, new_key, bytes.data, bytes.len, NULL), 0);
  v->wants = realloc (v->wants, 8 * sizeof *v->wants);
  v->n = 8;
  for (size_t i = 4; i < 8; i++) {
    v->wants[i] = v->wants[i - 4];
    memcpy (v->wants[i].pack, "0123456789abcdef0123456789abcdef", 32);
  }
  v->src.relocate = relocate;
  v->src.relocate_ctx = v;
  relocate_calls = 0;
  assert_int_equal (load (r, v, 0, 4, 0), 0);
  assert_int_equal (relocate_calls, 4);
  reader_forget_source (r, &v->src);
  buf_release (&pack);
  buf_release (&bytes);
  vault_free (moved);
  vault_free (v);
}

/* Damage in the block cache: dropped, fetched again, counted, and the cache is right afterwards. */
static void
test_cache_damage (void **state)
{
  struct vault *v = vault_new (0, 0);
  vault_pack (v, 10, 20000, NULL, false);
  struct toy_cache *t = toy_cache_new ();
  v->src.cache = toy_cache_ops (t);
  for (int round = 0; round < 4; round++) {
    AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
    if (round == 3)
      reader_prefetch (r, v->wants, v->n);
    assert_int_equal (load (r, v, 0, 10, 0), 0);
    struct reader_stats s = stats_of (r);
    assert_int_equal (toy_cache_count (t), 10);
    assert_int_equal (s.cache_damage > 0, round == 1 || round == 3);
    if (round == 0)
      assert_int_equal (s.gets, 1);
    if (round == 1)
      assert_int_equal (s.cache_damage, 10);
    if (round == 2) {
      assert_int_equal (s.gets, 0);
      assert_int_equal (s.hits_cache, 10);
    }
    if (round == 0 || round == 2)
      toy_cache_damage (t);
    reader_forget_source (r, &v->src);
  }
  /* READER_NO_CACHE neither looks nor fills. */
  AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
  assert_int_equal (load (r, v, 0, 10, READER_NO_CACHE), 0);
  assert_int_equal (stats_of (r).gets, 1);
  assert_int_equal (stats_of (r).hits_cache, 0);
  reader_forget_source (r, &v->src);
  toy_cache_free (t);
  vault_free (v);
}

/* user.coffer.cached: true only if nothing needs the network. */
static void
test_is_cached (void **state)
{
  struct vault *v = vault_new (0, 0);
  vault_pack (v, 4, 20000, NULL, false);
  struct toy_cache *t = toy_cache_new ();
  AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
  assert_false (reader_is_cached (r, v->wants, 4));
  assert_int_equal (load (r, v, 0, 3, 0), 0);
  assert_true (reader_is_cached (r, v->wants, 3));
  assert_false (reader_is_cached (r, v->wants, 4));
  reader_forget_source (r, &v->src);
  v->src.cache = toy_cache_ops (t);
  assert_int_equal (load (r, v, 0, 4, 0), 0);
  reader_forget_source (r, &v->src);
  assert_true (reader_is_cached (r, v->wants, 4));
  toy_cache_free (t);
  vault_free (v);
}

/* A load that can never fit, and a single unit larger than the memory for chunks. */
static void
test_limits (void **state)
{
  struct vault *v = vault_new (0, 0);
  vault_pack (v, 6, MIB, NULL, false);
  AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
  assert_int_equal (load (r, v, 0, 6, 0), ERR_LIMIT);
  assert_int_equal (load (r, v, 0, 3, 0), 0);
  AUTO (reader) tiny = reader_of (256 << 10, 256 << 10);
  AUTO_BUF out;
  buf_init (&out, 8 * MIB);
  assert_int_equal (reader_unit (tiny, &v->wants[2], &out), 0);
  assert_int_equal (reader_unit (r, &v->wants[3], &out), 0);
  struct chunk_view view = { out.data, MIB };
  assert_chunk (v, 2, &view);
  view.data += MIB;
  assert_chunk (v, 3, &view);
  struct chunk_want w = v->wants[4];
  w.ref.id[0] ^= 1;
  assert_int_equal (reader_unit (tiny, &w, &out), ERR_FORMAT);
  assert_int_equal (out.len, 2 * MIB);
  reader_forget_source (r, &v->src);
  vault_free (v);
}

struct task {
  struct reader *r;
  struct vault *v;
  size_t first, n;
  unsigned flags;
  int rc;
  unsigned seed;
  pthread_t thread;
};

static void *
load_task (void *arg)
{
  struct task *t = arg;
  t->rc = load (t->r, t->v, t->first, t->n, t->flags);
  return NULL;
}

/* READER_NOWAIT never waits for the network: not for its own bytes and not for another's GET. */
static void
test_nowait (void **state)
{
  struct vault *v = vault_new (300 * NS_PER_MS, 0);
  vault_pack (v, 20, 100000, NULL, false);
  struct toy_cache *t = toy_cache_new ();
  v->src.cache = toy_cache_ops (t);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  struct task task = { .r = r, .v = v, .n = 1 };
  assert_int_equal (pthread_create (&task.thread, NULL, load_task, &task), 0);
  usleep (50000);
  int64_t before = clock_now ();
  assert_int_equal (load (r, v, 0, 1, READER_NOWAIT), ERR_WOULDBLOCK); /* is being fetched */
  assert_int_equal (load (r, v, 5, 3, READER_NOWAIT), ERR_WOULDBLOCK); /* is not there */
  reader_prefetch (r, v->wants + 10, 5);
  assert_int_equal (load (r, v, 10, 5, READER_NOWAIT), ERR_WOULDBLOCK); /* is read ahead */
  assert_true (clock_now () - before < 200 * NS_PER_MS);
  pthread_join (task.thread, NULL);
  assert_int_equal (task.rc, 0);
  assert_int_equal (load (r, v, 0, 1, READER_NOWAIT), 0);
  assert_int_equal (load (r, v, 10, 5, 0), 0);
  reader_forget_source (r, &v->src);
  before = clock_now ();
  assert_int_equal (load (r, v, 10, 5, READER_NOWAIT), 0); /* from the block cache */
  assert_int_equal (load (r, v, 9, 3, READER_NOWAIT), ERR_WOULDBLOCK);
  assert_true (clock_now () - before < 200 * NS_PER_MS);
  reader_forget_source (r, &v->src);
  toy_cache_free (t);
  vault_free (v);
  struct vault *l = vault_new (0, BLOB_CAP_LOCAL);
  vault_pack (l, 20, 100000, NULL, false);
  assert_int_equal (load (r, l, 0, 20, READER_NOWAIT), 0);
  reader_prefetch (r, l->wants, 20);
  reader_forget_source (r, &l->src);
  reader_prefetch (r, l->wants, 20);
  assert_int_equal (load (r, l, 0, 20, READER_NOWAIT), 0);
  reader_forget_source (r, &l->src);
  vault_free (l);
}

/* A NOWAIT call that gives up does not make one fail that was willing to wait. */
static void
test_nowait_beside_wait (void **state)
{
  struct vault *v = vault_new (NS_PER_MS, 0);
  vault_pack (v, 64, 10000, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  for (int round = 0; round < 20; round++) {
    struct task tasks[16];
    for (int i = 0; i < 16; i++) {
      tasks[i] = (struct task){ .r = r, .v = v, .first = (size_t) round, .n = 40,
                                .flags = i % 2 ? READER_NOWAIT : 0 };
      assert_int_equal (pthread_create (&tasks[i].thread, NULL, load_task, &tasks[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
      pthread_join (tasks[i].thread, NULL);
      if (i % 2 == 0)
        assert_int_equal (tasks[i].rc, 0);
      else
        assert_true (tasks[i].rc == 0 || tasks[i].rc == ERR_WOULDBLOCK);
    }
    reader_forget_source (r, &v->src);
  }
  vault_free (v);
}

/* Who asks for the same range at the same time shares one GET. */
static void
test_single_flight (void **state)
{
  struct vault *v = vault_new (100 * NS_PER_MS, 0);
  vault_pack (v, 8, 50000, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  struct task tasks[24];
  for (int i = 0; i < 24; i++) {
    tasks[i] = (struct task){ .r = r, .v = v, .first = (size_t) i % 3, .n = 4 };
    assert_int_equal (pthread_create (&tasks[i].thread, NULL, load_task, &tasks[i]), 0);
  }
  for (int i = 0; i < 24; i++) {
    pthread_join (tasks[i].thread, NULL);
    assert_int_equal (tasks[i].rc, 0);
  }
  struct reader_stats s = stats_of (r);
  assert_true (s.gets <= 3);
  assert_true (s.get_bytes <= s.wanted_bytes + 1000);
  reader_forget_source (r, &v->src);
  vault_free (v);
}

/* blob_cancel ends every wait with ERR_CANCELLED. */
static void
test_cancel (void **state)
{
  struct vault *v = vault_new (60 * NS_PER_S, 0);
  for (int i = 0; i < 8; i++)
    vault_pack (v, 8, 50000, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  struct task tasks[12];
  reader_prefetch (r, v->wants, v->n);
  for (int i = 0; i < 12; i++) {
    tasks[i] = (struct task){ .r = r, .v = v, .first = (size_t) i * 4, .n = 10 };
    assert_int_equal (pthread_create (&tasks[i].thread, NULL, load_task, &tasks[i]), 0);
  }
  usleep (100000);
  int64_t before = clock_now ();
  blob_cancel (v->slow);
  for (int i = 0; i < 12; i++) {
    pthread_join (tasks[i].thread, NULL);
    assert_int_equal (tasks[i].rc, ERR_CANCELLED);
  }
  reader_forget_source (r, &v->src);
  assert_true (clock_now () - before < 5 * NS_PER_S);
  vault_free (v);
}

static void *
churn_task (void *arg)
{
  struct task *t = arg;
  for (int i = 0; i < 150 && t->rc == 0; i++) {
    uint32_t x = (uint32_t) rand_r (&t->seed);
    size_t first = x % (t->v->n - 4), n = 1 + (x >> 8) % 4;
    unsigned flags = (x >> 16) % 4 == 0 ? READER_ONCE : 0;
    if ((x >> 20) % 3 == 0)
      reader_prefetch (t->r, t->v->wants + first, t->v->n - first < 40 ? t->v->n - first : 40);
    if ((x >> 18) % 4 == 0) {
      int rc = load (t->r, t->v, first, n, flags | READER_NOWAIT);
      t->rc = rc == ERR_WOULDBLOCK ? 0 : rc;
    } else
      t->rc = load (t->r, t->v, first, n, flags);
  }
  return NULL;
}

/* 64 readers at once: all right, and memory stays exactly within its limits (TSan, too). */
static void
test_many (void **state)
{
  uint32_t lens[40];
  for (uint32_t i = 0; i < 40; i++)
    lens[i] = 1000 + i * i * 97;
  for (unsigned caps = 0; caps <= BLOB_CAP_LOCAL; caps += BLOB_CAP_LOCAL) {
    struct vault *v = vault_new (NS_PER_MS / 2, caps);
    for (int i = 0; i < 4; i++)
      vault_pack (v, 40, 0, lens, i % 2);
    struct toy_cache *t = toy_cache_new ();
    if (!caps)
      v->src.cache = toy_cache_ops (t);
    const size_t decoded = 2 * MIB, raw = 2 * MIB;
    AUTO (reader) r = reader_of (decoded, raw);
    struct task tasks[64];
    for (unsigned i = 0; i < 64; i++) {
      tasks[i] = (struct task){ .r = r, .v = v, .seed = i };
      assert_int_equal (pthread_create (&tasks[i].thread, NULL, churn_task, &tasks[i]), 0);
    }
    uint64_t most_decoded = 0, most_raw = 0;
    int rc = 0;
    for (int i = 0; i < 64; i++) { /* all end before anything is judged: they live on this stack */
      struct reader_stats s = stats_of (r);
      most_decoded = s.decoded_bytes > most_decoded ? s.decoded_bytes : most_decoded;
      most_raw = s.raw_bytes > most_raw ? s.raw_bytes : most_raw;
      pthread_join (tasks[i].thread, NULL);
      rc = rc ? rc : tasks[i].rc;
    }
    assert_int_equal (rc, 0);
    assert_true (most_decoded <= decoded);
    assert_true (most_raw <= raw);
    reader_forget_source (r, &v->src);
    assert_int_equal (load (r, v, 0, 8, 0), 0);
    reader_forget_source (r, &v->src);
    toy_cache_free (t);
    vault_free (v);
  }
}

/* A working set that is used again and again stays in memory while a scan goes by. */
static void
test_scan (void **state)
{
  for (unsigned flags = 0; flags <= READER_ONCE; flags += READER_ONCE) {
    struct vault *v = vault_new (0, 0);
    for (int i = 0; i < 10; i++)
      vault_pack (v, 100, 16000, NULL, false);
    AUTO (reader) r = reader_of (4 * MIB, 4 * MIB);
    for (int round = 0; round < 4; round++) {
      for (size_t i = 0; i < 40; i++)
        assert_int_equal (load (r, v, i * 7 % 50, 1, 0), 0);
      assert_int_equal (load (r, v, 100 + 60 * (size_t) round, 60, 0), 0);
    }
    for (size_t i = 350; i < v->n; i++)
      assert_int_equal (load (r, v, i, 1, flags), 0);
    int hits = 0;
    for (size_t i = 0; i < 40; i++) {
      uint64_t before = stats_of (r).gets;
      assert_int_equal (load (r, v, i * 7 % 50, 1, 0), 0);
      hits += stats_of (r).gets == before;
    }
    assert_true (hits >= 36);
    reader_forget_source (r, &v->src);
    vault_free (v);
  }
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR - 1); /* the log line of every damage is meant, and not of interest */
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_roundtrip),       cmocka_unit_test (test_flipped),
    cmocka_unit_test (test_wrong_reference), cmocka_unit_test (test_missing),
    cmocka_unit_test (test_cache_damage),    cmocka_unit_test (test_is_cached),
    cmocka_unit_test (test_limits),          cmocka_unit_test (test_nowait),
    cmocka_unit_test (test_nowait_beside_wait), cmocka_unit_test (test_single_flight),
    cmocka_unit_test (test_cancel),          cmocka_unit_test (test_many),
    cmocka_unit_test (test_scan),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
