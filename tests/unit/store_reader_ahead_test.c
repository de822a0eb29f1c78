/* SPDX-License-Identifier: Apache-2.0 */
/* Read-ahead: a store 20 ms away is read at hundreds of MB/s in sequence and in tree order (ruling
 * 28), and nothing much is fetched that nobody wants. */
#include "store_reader_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define MIB (1u << 20)
#define LATENCY (20 * NS_PER_MS)

static double
seconds (int64_t since)
{
  return (double) (clock_now () - since) / (double) NS_PER_S;
}

static uint64_t
sealed_bytes (const struct vault *v)
{
  uint64_t n = 0;
  for (size_t i = 0; i < v->n; i++)
    n += v->wants[i].ref.sealed_len;
  return n;
}

/* Reads all chunks STEP at a time, naming the next AHEAD bytes at every read, as a file would. */
static void
read_in_order (struct reader *r, struct vault *v, size_t step, uint64_t ahead)
{
  for (size_t i = 0; i < v->n; i += step) {
    size_t n = v->n - i < step ? v->n - i : step, k = i + n;
    for (uint64_t bytes = 0; k < v->n && bytes < ahead; k++)
      bytes += v->wants[k].ref.plain_len;
    if (ahead && k > i + n)
      reader_prefetch (r, v->wants + i + n, k - i - n);
    assert_int_equal (load (r, v, i, n, 0), 0);
  }
}

/* 128 MiB in 1 MiB reads: at least ten times what waiting for each would give, several GETs in
 * flight, nothing fetched twice. */
static void
sequential (uint32_t len, size_t step)
{
  struct vault *v = vault_new (LATENCY, 0);
  for (int i = 0; i < 8; i++)
    vault_pack (v, (16 * MIB - 4096) / len, len, NULL, false);
  AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
  int64_t start = clock_now ();
  read_in_order (r, v, step, 16 * MIB);
  double s = seconds (start);
  struct reader_stats st = stats_of (r);
  double serial = 128 * 0.02;
  printf ("  sequential, chunks of %u KiB: %.0f MB/s, %llu GETs, %.3f of wanted\n", len >> 10,
          (double) sealed_bytes (v) / s / 1e6, (unsigned long long) st.gets,
          (double) st.get_bytes / (double) sealed_bytes (v));
  assert_true (slow_max_in_flight (v->slow) >= 4);
  assert_true (st.get_bytes <= sealed_bytes (v) + MIB);
#ifndef WITH_SANITIZER
  assert_true (s < serial); /* also on a busy machine; what it can do is printed, and benched */
#else
  (void) serial;
#endif
  reader_forget_source (r, &v->src);
  vault_free (v);
}

/* Each chunk is named once only, in a window that grows (a file's read-ahead), by four readers at a
 * time, whose windows together are more than there is room for: hints are not lost. */
static void
test_hints_once (void **state)
{
  struct vault *v = vault_new (LATENCY, 0);
  for (int i = 0; i < 8; i++)
    vault_pack (v, 64, 256 << 10, NULL, false);
  AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
  for (size_t k = 0; k < 4; k++)
    reader_prefetch (r, v->wants + k * 128, 64);
  int64_t start = clock_now ();
  for (size_t i = 0; i < 128; i += 4)
    for (size_t k = 0; k < 4; k++) {
      if (i + 64 < 128)
        reader_prefetch (r, v->wants + k * 128 + i + 64, 4);
      assert_int_equal (load (r, v, k * 128 + i, 4, 0), 0);
    }
  double s = seconds (start);
  struct reader_stats st = stats_of (r);
  printf ("  four readers, named once: %.0f MB/s, %llu GETs, %.3f of wanted\n",
          (double) sealed_bytes (v) / s / 1e6, (unsigned long long) st.gets,
          (double) st.get_bytes / (double) sealed_bytes (v));
#ifndef WITH_SANITIZER /* so slow that what is read ahead grows stale and is read again */
  assert_true (st.get_bytes <= sealed_bytes (v) / 20 * 21);
  assert_true (s < 128 * 0.02);
#endif
  reader_forget_source (r, &v->src);
  vault_free (v);
}

static void
test_sequential (void **state)
{
  sequential (512 << 10, 2);
  sequential (64 << 10, 16);
  sequential (64 << 10, 2); /* 128 KiB reads, as the kernel's read-ahead has them */
}

/* Ruling 28: small files in tree order, one after the other, no hints.  3,000 files would wait 60
 * s. */
static void
test_small_files (void **state)
{
  uint32_t lens[1000];
  unsigned seed = 7;
  struct vault *v = vault_new (LATENCY, 0);
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < 1000; i++)
      lens[i] = 200 + (uint32_t) rand_r (&seed) % 20000;
    vault_pack (v, 1000, 0, lens, false);
  }
  AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
  int64_t start = clock_now ();
  read_in_order (r, v, 1, 0);
  double s = seconds (start);
  struct reader_stats st = stats_of (r);
  printf ("  %zu small files: %.2f s, %llu GETs, %.3f of wanted\n", v->n, s,
          (unsigned long long) st.gets, (double) st.get_bytes / (double) sealed_bytes (v));
  assert_true (st.get_bytes <= sealed_bytes (v) / 5 * 6);
  assert_true (st.gets <= 200);
  assert_true (s < 60 / 4); /* also under a sanitizer; how fast it is, is benched */
  reader_forget_source (r, &v->src);
  vault_free (v);
}

/* A part of a tree: what is fetched beyond it is bounded. */
static void
test_part_of_tree (void **state)
{
  struct vault *v = vault_new (NS_PER_MS, 0);
  vault_pack (v, 1500, 10000, NULL, false);
  AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
  for (size_t i = 0; i < 300; i++)
    assert_int_equal (load (r, v, i, 1, 0), 0);
  reader_forget_source (r, &v->src); /* waits for what is under way */
  assert_true (stats_of (r).get_bytes <= 300 * 10040 / 5 * 6 + MIB);
  vault_free (v);
}

/* Random reads fetch their chunk and little more, hints or not. */
static void
test_random (void **state)
{
  struct vault *v = vault_new (0, 0);
  for (int i = 0; i < 4; i++)
    vault_pack (v, 240, 64 << 10, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  unsigned seed = 3;
  for (int i = 0; i < 400; i++)
    assert_int_equal (load (r, v, (size_t) rand_r (&seed) % v->n, 1, 0), 0);
  reader_forget_source (r, &v->src);
  struct reader_stats st = stats_of (r);
  printf ("  random: %.3f of wanted\n", (double) st.get_bytes / (double) st.wanted_bytes);
  assert_true (st.get_bytes <= st.wanted_bytes / 100 * 115);
  vault_free (v);
}

/* Chunks far apart in a pack (an old snapshot's remains) are not bridged by reading what lies
 * between. */
static void
test_sparse (void **state)
{
  struct vault *v = vault_new (0, 0);
  vault_pack (v, 1500, 10000, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  uint64_t wanted = 0;
  for (size_t i = 0; i < v->n; i += 50) { /* 500 KB apart */
    assert_int_equal (load (r, v, i, 1, 0), 0);
    wanted += v->wants[i].ref.sealed_len;
  }
  reader_forget_source (r, &v->src);
  assert_true (stats_of (r).get_bytes <= 2 * wanted);
  vault_free (v);
}

/* The foreground does not wait behind read-ahead, whatever was announced. */
static void
test_foreground_first (void **state)
{
  struct vault *v = vault_new (400 * NS_PER_MS, 0);
  for (int i = 0; i < 40; i++)
    vault_pack (v, 16, 256 << 10, NULL, false);
  AUTO (reader) r = reader_of (32 * MIB, 32 * MIB);
  for (size_t i = 0; i < 39 * 16; i += 16)
    reader_prefetch (r, v->wants + i, 16);
  int64_t start = clock_now ();
  assert_int_equal (load (r, v, 39 * 16, 2, 0), 0);
#ifndef WITH_SANITIZER
  assert_true (seconds (start) < 0.79); /* one latency, not two */
#else
  (void) start;
#endif
  struct reader_stats s = stats_of (r);
  assert_true (s.raw_bytes <= 32 * MIB && s.decoded_bytes <= 32 * MIB);
  reader_forget_source (r, &v->src);
  assert_true (stats_of (r).get_bytes <= (uint64_t) READER_AHEAD_MAX + 2 * MIB);
  vault_free (v);
}

/* A reader that went away does not keep others from being read ahead for. */
static void
test_stale (void **state)
{
  struct vault *v = vault_new (NS_PER_MS, 0);
  for (int i = 0; i < 16; i++)
    vault_pack (v, 16, 256 << 10, NULL, false);
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  reader_prefetch (r, v->wants, 128);
  usleep (300000);
  clock_fake (clock_now () + 9 * NS_PER_S);
  reader_prefetch (r, v->wants + 200, 8);
  bool is_there = false;
  for (int i = 0; i < 300 && !is_there; i++) {
    usleep (10000);
    is_there = reader_is_cached (r, v->wants + 200, 8);
  }
  clock_real ();
  assert_true (is_there);
  reader_forget_source (r, &v->src);
  vault_free (v);
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR - 1);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_sequential), cmocka_unit_test (test_hints_once),
    cmocka_unit_test (test_small_files),
    cmocka_unit_test (test_part_of_tree), cmocka_unit_test (test_random),
    cmocka_unit_test (test_sparse), cmocka_unit_test (test_foreground_first),
    cmocka_unit_test (test_stale),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
