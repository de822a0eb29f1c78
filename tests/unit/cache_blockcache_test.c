/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache in ordinary use: what is put is found, also after a restart and in another
 * process; its size is bounded; a scan does not push out what is used; pins stay. */
#include "unit/cache_util.h"

#include <pthread.h>
#include <sys/wait.h>

/* Put, flush, get: the same bytes; another offset, length, pack or store is a miss. */
static void
test_roundtrip (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 64 << 20);
  put_unit (c, 1, 64, 5000);
  put_unit (c, 1, 5064, 1);
  put_unit (c, 2, 64, 2 << 20);
  blockcache_flush (c);
  assert_true (has_unit (c, 1, 64, 5000));
  assert_true (has_unit (c, 1, 5064, 1));
  assert_true (has_unit (c, 2, 64, 2 << 20));
  assert_false (has_unit (c, 1, 65, 5000));
  assert_false (has_unit (c, 1, 64, 4999));
  assert_false (has_unit (c, 3, 64, 5000));
  uint8_t other[STORE_ID_LEN] = "another store", pack[PACK_NAME_LEN], out[5000];
  unit_pack (1, pack);
  assert_false (blockcache_get (c, other, pack, 64, 5000, out));
  assert_true (blockcache_has (c, unit_store, pack, 64));
  assert_false (blockcache_has (c, unit_store, pack, 65));
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_int_equal (s.units, 3);
  assert_int_equal (s.hits, 3);
  assert_int_equal (s.misses, 4);
}

/* What cannot be an offset in a pack, or a unit of the cache, is a miss, not a wrong key. */
static void
test_limits (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 64 << 20);
  uint8_t pack[PACK_NAME_LEN], byte = 1;
  unit_pack (1, pack);
  blockcache_put (c, unit_store, pack, 64u << 20, 1, &byte);
  blockcache_put (c, unit_store, pack, UINT32_MAX, 1, &byte);
  blockcache_put (c, unit_store, pack, 0, 0, &byte);
  blockcache_flush (c);
  assert_false (blockcache_get (c, unit_store, pack, 64u << 20, 1, &byte));
  assert_false (blockcache_has (c, unit_store, pack, UINT32_MAX));
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_int_equal (s.dropped_puts, 3);
  assert_int_equal (s.units, 0);
}

/* A restart keeps the content. */
static void
test_restart (void **state)
{
  struct blockcache *c = cache_at (*state, 64 << 20);
  for (uint32_t i = 0; i < 200; i++)
    put_unit (c, i % 7, 64 + i * 10000, 9000 + i);
  blockcache_free (c);
  c = cache_at (*state, 64 << 20);
  for (uint32_t i = 0; i < 200; i++)
    assert_true (has_unit (c, i % 7, 64 + i * 10000, 9000 + i));
  blockcache_free (c);
}

/* Data files and index together stay below the bound at every moment, and new units are taken. */
static void
test_bounded (void **state)
{
  const uint64_t max = 8 << 20;
  AUTO (blockcache) c = cache_at (*state, max);
  for (uint32_t i = 0; i < 2000; i++) {
    put_unit (c, i / 100, 64 + i % 100 * 40000, 20000 + i);
    if (i % 16 == 0) {
      blockcache_flush (c);
      assert_true (dir_bytes (*state) <= max);
    }
  }
  blockcache_flush (c);
  assert_true (has_unit (c, 1999 / 100, 64 + 99 * 40000, 20000 + 1999));
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_true (s.bytes <= max && s.bytes > max / 2);
  assert_true (s.evicted > 1000);
  assert_int_equal (s.write_errors, 0);
  blockcache_set_max (c, 3 << 20);
  blockcache_flush (c);
  put_unit (c, 99, 64, 100);
  blockcache_flush (c);
  assert_true (dir_bytes (*state) <= 3 << 20);
}

/* Units that were used again survive a scan ten times as large as the cache. */
static void
test_scan (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 16 << 20);
  for (uint32_t i = 0; i < 100; i++)
    put_unit (c, 1000, 64 + i * 40000, 30000);
  blockcache_flush (c);
  for (uint32_t i = 0; i < 100; i++)
    assert_true (has_unit (c, 1000, 64 + i * 40000, 30000));
  for (uint32_t i = 0; i < 5000; i++) {
    put_unit (c, 2000 + i / 100, 64 + i % 100 * 40000, 32000);
    if (i % 32 == 0)
      blockcache_flush (c);
    if (i % 2500 == 2499)
      for (uint32_t k = 0; k < 100; k += 2)
        (void) has_unit (c, 1000, 64 + k * 40000, 30000);
  }
  blockcache_flush (c);
  int kept = 0;
  for (uint32_t i = 0; i < 100; i++)
    kept += has_unit (c, 1000, 64 + i * 40000, 30000);
  assert_true (kept >= 90);
}

/* Pinned packs stay whatever comes, whether the pin was before the data or after; after unpinning
 * they go like all others.  clear leaves them. */
static void
test_pins (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 8 << 20);
  uint8_t early[PACK_NAME_LEN], late[PACK_NAME_LEN];
  unit_pack (501, early);
  unit_pack (502, late);
  assert_int_equal (blockcache_pin (c, unit_store, early, true), 0);
  for (uint32_t i = 0; i < 20; i++) {
    put_unit (c, 501, 64 + i * 50000, 40000);
    put_unit (c, 502, 64 + i * 50000, 40000);
  }
  assert_int_equal (blockcache_pin (c, unit_store, late, true), 0);
  for (uint32_t i = 0; i < 1000; i++) {
    put_unit (c, 600 + i / 100, 64 + i % 100 * 50000, 40000);
    if (i % 32 == 0)
      blockcache_flush (c);
  }
  blockcache_flush (c);
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_int_equal (s.pinned_bytes, 40 * 40000);
  assert_int_equal (blockcache_clear (c), 0);
  assert_false (has_unit (c, 609, 64 + 99 * 50000, 40000));
  for (uint32_t i = 0; i < 20; i++) {
    assert_true (has_unit (c, 501, 64 + i * 50000, 40000));
    assert_true (has_unit (c, 502, 64 + i * 50000, 40000));
  }
  assert_int_equal (blockcache_pin (c, unit_store, early, false), 0);
  assert_int_equal (blockcache_clear (c), 0);
  assert_false (has_unit (c, 501, 64, 40000));
  assert_true (has_unit (c, 502, 64, 40000));
}

/* When pins fill the cache, puts are dropped, nothing else happens. */
static void
test_pins_fill (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 4 << 20);
  uint8_t pack[PACK_NAME_LEN];
  unit_pack (7, pack);
  assert_int_equal (blockcache_pin (c, unit_store, pack, true), 0);
  for (uint32_t i = 0; i < 200; i++) {
    put_unit (c, 7, 64 + i * 50000, 40000);
    blockcache_flush (c);
  }
  assert_true (dir_bytes (*state) <= 4 << 20);
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_true (s.units > 30 && s.units < 200);
  assert_int_equal (s.write_errors, 0);
  assert_true (has_unit (c, 7, 64, 40000));
}

/* A dropped unit is a miss and may be put again. */
static void
test_drop (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 8 << 20);
  uint8_t pack[PACK_NAME_LEN];
  unit_pack (1, pack);
  put_unit (c, 1, 64, 1000);
  blockcache_flush (c);
  blockcache_drop (c, unit_store, pack, 64);
  blockcache_flush (c);
  assert_false (has_unit (c, 1, 64, 1000));
  put_unit (c, 1, 64, 1000);
  blockcache_flush (c);
  assert_true (has_unit (c, 1, 64, 1000));
}

/* Writes and reads of N packs, checking that a hit is right. */
static void
churn (const char *dir, unsigned seed, int rounds)
{
  struct blockcache *c = cache_at (dir, 6 << 20);
  for (int i = 0; i < rounds; i++) {
    uint32_t r = (uint32_t) rand_r (&seed), pack = r % 40, slot = (r >> 8) % 20;
    if (!has_unit (c, pack, 64 + slot * 40000, 10000 + pack * 100))
      put_unit (c, pack, 64 + slot * 40000, 10000 + pack * 100);
  }
  blockcache_flush (c);
  blockcache_free (c);
}

/* Processes share a cache: each finds what the other put, the bound is common, nothing breaks. */
static void
test_shared (void **state)
{
  pid_t pids[3];
  for (unsigned i = 0; i < 3; i++)
    if ((pids[i] = fork ()) == 0) {
      churn (*state, i, 3000);
      _exit (0);
    }
  AUTO (blockcache) c = cache_at (*state, 6 << 20); /* after fork: SQLite's rule */
  bool was_small = true;
  for (unsigned i = 0; i < 3; i++) {
    int status;
    while (waitpid (pids[i], &status, WNOHANG) == 0) {
      was_small &= dir_bytes (*state) <= (6 << 20) + 3 * (256 << 10);
      usleep (2000);
    }
    assert_true (WIFEXITED (status) && WEXITSTATUS (status) == 0);
  }
  assert_true (was_small);
  int found = 0;
  for (uint32_t pack = 0; pack < 40; pack++)
    for (uint32_t slot = 0; slot < 20; slot++)
      found += has_unit (c, pack, 64 + slot * 40000, 10000 + pack * 100);
  assert_true (found > 100);
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_int_equal (s.write_errors, 0);
}

struct worker {
  struct blockcache *c;
  pthread_t thread;
  unsigned seed;
};

static void *
work (void *arg)
{
  struct worker *w = arg;
  for (int i = 0; i < 3000; i++) {
    uint32_t r = (uint32_t) rand_r (&w->seed), pack = r % 20, slot = (r >> 8) % 30;
    if (!has_unit (w->c, pack, 64 + slot * 40000, 3000 + pack))
      put_unit (w->c, pack, 64 + slot * 40000, 3000 + pack);
    if (i % 500 == 0)
      blockcache_flush (w->c);
  }
  return NULL;
}

/* Many threads at once (run under TSan as well). */
static void
test_threads (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 2 << 20);
  struct worker w[12];
  for (unsigned i = 0; i < 12; i++) {
    w[i] = (struct worker){ .c = c, .seed = i };
    assert_int_equal (pthread_create (&w[i].thread, NULL, work, &w[i]), 0);
  }
  for (int i = 0; i < 12; i++)
    pthread_join (w[i].thread, NULL);
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  assert_true (s.hits > 0);
  assert_int_equal (s.write_errors, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    DIR_TEST (test_roundtrip), DIR_TEST (test_limits),    DIR_TEST (test_restart),
    DIR_TEST (test_bounded),   DIR_TEST (test_scan),      DIR_TEST (test_pins),
    DIR_TEST (test_pins_fill), DIR_TEST (test_drop),      DIR_TEST (test_shared),
    DIR_TEST (test_threads),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
