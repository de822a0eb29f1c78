/* SPDX-License-Identifier: Apache-2.0 */
/* The throttle's four invariants, on a fake clock; its waits and cancels on the real one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "blob/memory.h"
#include "blob/file.h"
#include "blob/schedule.h"
#include "blob/throttle.h"
#include "blob/throttled.h"

#define MB 1000000ull

static int
real_clock (void **state)
{
  clock_real ();
  return 0;
}

struct grant {
  int64_t at;
  uint64_t n;
};

/* I2: in no window, however placed, more than burst + reserve + rate * T, or than
 * burst + 13/12 * rate * T. */
static void
check_windows (const struct grant *g, size_t count, uint64_t rate, uint64_t burst,
               uint64_t reserve)
{
  for (size_t i = 0; i < count; i++) {
    uint64_t sum = 0;
    for (size_t k = i; k < count && g[k].at - g[i].at < 3 * NS_PER_S; k++) {
      sum += g[k].n;
      __extension__ unsigned __int128 dripped
          = (unsigned __int128) rate * (uint64_t) (g[k].at - g[i].at) / NS_PER_S;
      assert_true (sum <= dripped + burst + reserve + 2);
      assert_true (sum <= dripped * 13 / 12 + burst + 2);
    }
  }
}

/* I1, I2 for many rates and sizes of takes, with pauses between them; and the mean is the rate. */
static void
test_windows (void **state)
{
  static const uint64_t rates[] = { 1000, 99999, 1 * MB, 20 * MB, 160 * MB, 3000 * MB };
  enum { N = 3000 };
  struct grant *g = calloc (N, sizeof *g);
  uint64_t x = 88172645463325252u;
  for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
    struct throttle *t;
    clock_fake (NS_PER_S * 1000);
    assert_int_equal (throttle_new (rates[r], 0, &t), 0);
    uint64_t burst = rates[r] * 12 / 1000 < 512 ? 512 : rates[r] * 12 / 1000 + 1, total = 0;
    int64_t began = clock_now (), paused = 0;
    for (int i = 0; i < N; i++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      uint64_t n = x % burst + 1;
      if (x % 50 == 0) {
        int64_t pause = (int64_t) (x % (100 * NS_PER_MS));
        paused += pause;
        clock_fake_advance (pause);
      }
      assert_int_equal (throttle_take (t, n, NULL), 0);
      g[i] = (struct grant){ clock_now (), n };
      total += n;
    }
    check_windows (g, N, rates[r], burst, rates[r] / 10 + 1);
    double seconds = (double) (clock_now () - began) / NS_PER_S;
    assert_true ((double) total
                 <= (seconds + 0.1) * (double) rates[r] + (double) burst + 2);
    seconds -= (double) paused / NS_PER_S;
    assert_true ((double) total >= seconds * (double) rates[r] * 0.999);
    assert_int_equal (throttle_granted (t), total);
    throttle_free (t);
  }
  free (g);
}

/* The user's promise: at 20 MB/s in steps of 32 KiB no 100 ms exceed 125 %. */
static void
test_hundred_ms (void **state)
{
  struct throttle *t;
  clock_fake (NS_PER_S);
  assert_int_equal (throttle_new (20 * MB, 0, &t), 0);
  enum { N = 4000 };
  struct grant *g = calloc (N, sizeof *g);
  for (int i = 0; i < N; i++) {
    assert_int_equal (throttle_take (t, 32768, NULL), 0);
    g[i] = (struct grant){ clock_now (), 32768 };
  }
  for (size_t i = 0; i < N; i++) {
    uint64_t sum = 0;
    for (size_t k = i; k < N && g[k].at - g[i].at <= 100 * NS_PER_MS; k++)
      sum += g[k].n;
    assert_true (sum <= 20 * MB / 10 * 125 / 100);
  }
  free (g);
  throttle_free (t);
}

/* Waking late, as on a busy machine, costs nothing of the mean; the windows stay as promised. */
static void
test_oversleep (void **state)
{
  struct throttle *t;
  clock_fake (NS_PER_S);
  assert_int_equal (throttle_new (20 * MB, 0, &t), 0);
  enum { N = 20000 };
  struct grant *g = calloc (N, sizeof *g);
  uint64_t x = 88172645463325252u, total = 0;
  int64_t began = clock_now ();
  for (int i = 0; i < N; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    if (x % 60 == 0)
      clock_fake_advance ((int64_t) (x / 60 % 30) * NS_PER_MS);
    assert_int_equal (throttle_take (t, 32768, NULL), 0);
    g[i] = (struct grant){ clock_now (), 32768 };
    total += 32768;
  }
  check_windows (g, N, 20 * MB, 240001, 2 * MB);
  double mean = (double) total / ((double) (clock_now () - began) / NS_PER_S);
  assert_true (mean > 19.8e6 && mean < 20.2e6);
  free (g);
  throttle_free (t);
}

/* I4, and the limits of throttle_new. */
static void
test_unlimited_and_limits (void **state)
{
  struct throttle *t;
  clock_fake (NS_PER_S);
  assert_int_equal (throttle_new (0, 0, &t), 0);
  int64_t before = clock_now ();
  for (int i = 0; i < 100; i++)
    assert_int_equal (throttle_take (t, 1ull << 40, NULL), 0);
  assert_int_equal (clock_now (), before);
  throttle_free (t);
  assert_int_equal (throttle_new (1, THROTTLE_BURST_MAX + 1, &t), ERR_LIMIT);
  assert_int_equal (throttle_new (THROTTLE_RATE_MAX + 1, 0, &t), ERR_LIMIT);
}

/* N above the burst is granted as several, in the time the rate says; a month of idleness is no
 * credit. */
static void
test_large_take (void **state)
{
  struct throttle *t;
  clock_fake (NS_PER_S);
  assert_int_equal (throttle_new (1 * MB, 1000, &t), 0);
  clock_fake_advance (30LL * 86400 * NS_PER_S);
  int64_t before = clock_now ();
  assert_int_equal (throttle_take (t, 10 * MB, NULL), 0);
  double seconds = (double) (clock_now () - before) / NS_PER_S;
  assert_true (seconds > 9.99 && seconds < 10.01);
  throttle_free (t);
}

/* A new rate holds for what comes, with a burst of its own. */
static void
test_rate_change (void **state)
{
  struct throttle *t;
  clock_fake (NS_PER_S);
  assert_int_equal (throttle_new (100 * MB, 0, &t), 0);
  throttle_set_rate (t, 1 * MB);
  assert_int_equal (throttle_rate (t), 1 * MB);
  int64_t before = clock_now ();
  assert_int_equal (throttle_take (t, 2 * MB, NULL), 0);
  double seconds = (double) (clock_now () - before) / NS_PER_S;
  assert_true (seconds > 1.9 && seconds < 2.01);
  throttle_set_rate (t, 0);
  before = clock_now ();
  assert_int_equal (throttle_take (t, 1000 * MB, NULL), 0);
  assert_int_equal (clock_now (), before);
  throttle_free (t);
}

struct taker {
  pthread_t thread;
  struct throttle *t;
  uint64_t n;
  _Atomic bool *cancelled;
  _Atomic int *order;
  int place, rc;
  int64_t done_at;
};

static void *
take (void *arg)
{
  struct taker *k = arg;
  k->rc = throttle_take (k->t, k->n, k->cancelled);
  k->place = k->order ? (*k->order)++ : 0;
  k->done_at = clock_now ();
  return NULL;
}

/* I3: who came first is served first, also when it wants much and the others little. */
static void
test_order (void **state)
{
  struct throttle *t;
  assert_int_equal (throttle_new (1 * MB, 1000, &t), 0);
  assert_int_equal (throttle_take (t, 1000, NULL), 0);
  _Atomic int order = 0;
  struct taker k[6];
  for (int i = 0; i < 6; i++) {
    k[i] = (struct taker){ .t = t, .n = i == 0 ? 100000 : 100, .order = &order };
    pthread_create (&k[i].thread, NULL, take, &k[i]);
    usleep (10000);
  }
  for (int i = 0; i < 6; i++)
    pthread_join (k[i].thread, NULL);
  assert_int_equal (k[0].place, 0);
  for (int i = 0; i < 6; i++)
    assert_int_equal (k[i].rc, 0);
  throttle_free (t);
}

/* A cancel ends a wait at once, by the flag of one blob or for all; what was taken is given
 * back. */
static void
test_cancel (void **state)
{
  struct throttle *t;
  assert_int_equal (throttle_new (1000, 0, &t), 0);
  _Atomic bool one = false;
  struct taker k[3] = { { .t = t, .n = 1000000, .cancelled = &one }, { .t = t, .n = 1000000 },
                        { .t = t, .n = 1000000, .cancelled = &one } };
  for (int i = 0; i < 3; i++) {
    pthread_create (&k[i].thread, NULL, take, &k[i]);
    usleep (20000);
  }
  int64_t before = clock_now ();
  one = true;
  pthread_join (k[0].thread, NULL);
  pthread_join (k[2].thread, NULL);
  assert_int_equal (k[0].rc, ERR_CANCELLED);
  assert_int_equal (k[2].rc, ERR_CANCELLED);
  throttle_cancel (t);
  pthread_join (k[1].thread, NULL);
  assert_int_equal (k[1].rc, ERR_CANCELLED);
  assert_true (clock_now () - before < NS_PER_S);
  assert_int_equal (throttle_take (t, 1, NULL), ERR_CANCELLED);
  throttle_free (t);
}

/* Who waits under a slow rate goes on at a faster one within a second. */
static void
test_rate_change_wakes (void **state)
{
  struct throttle *t;
  assert_int_equal (throttle_new (1000, 0, &t), 0);
  struct taker k = { .t = t, .n = 10 * MB };
  pthread_create (&k.thread, NULL, take, &k);
  usleep (100000);
  int64_t before = clock_now ();
  throttle_set_rate (t, 0);
  pthread_join (k.thread, NULL);
  assert_int_equal (k.rc, 0);
  assert_true (k.done_at - before < NS_PER_S);
  throttle_free (t);
}

static uint64_t wire;

static void
count_wire (void *ctx, uint64_t sent)
{
  wire = sent;
}

/* The wrapper pays for each byte of puts and gets, and the slower of two buckets rules. */
static void
test_wrapper (void **state)
{
  char dir[] = "/tmp/coffer-throttled-XXXXXX", path[64];
  assert_non_null (mkdtemp (dir));
  struct throttle *region, *host;
  struct blob *b;
  clock_fake (1700000000 * NS_PER_S);
  assert_int_equal (throttle_new (10 * MB, 0, &region), 0);
  assert_int_equal (throttle_new (1 * MB, 0, &host), 0);
  struct throttle_set set = { { region, host } };
  assert_int_equal (blob_file_open (dir, true, &b), 0);
  assert_int_equal (blob_throttled_new (&b, &set, &set, &b), 0);
  uint8_t *data = calloc (1, 3 * MB);
  int64_t before = clock_now ();
  assert_int_equal (blob_put (b, "k", data, 3 * MB,
                              &(struct blob_put_opts){ .progress = count_wire }), 0);
  double seconds = (double) (clock_now () - before) / NS_PER_S;
  assert_true (seconds > 2.9 && seconds < 3.1);
  assert_int_equal (wire, 3 * MB);
  assert_int_equal (throttle_granted (host), 3 * MB);
  assert_int_equal (throttle_granted (region), 3 * MB);
  before = clock_now ();
  assert_int_equal (blob_get (b, "k", 5, 2 * MB, data), 0);
  seconds = (double) (clock_now () - before) / NS_PER_S;
  assert_true (seconds > 1.9 && seconds < 2.1);
  AUTO_BUF all;
  buf_init (&all, 4 * MB);
  before = clock_now ();
  assert_int_equal (blob_get_all (b, "k", &all), 0);
  seconds = (double) (clock_now () - before) / NS_PER_S;
  assert_true (seconds > 2.9 && seconds < 3.1);
  throttle_set_rate (host, 0);
  throttle_set_rate (region, 0);
  before = clock_now ();
  assert_int_equal (blob_put (b, "k", data, 3 * MB, NULL), 0);
  assert_int_equal (clock_now (), before);
  assert_int_equal (throttle_granted (host), 11 * MB);
  const char *keys[] = { "k" };
  assert_int_equal (blob_delete (b, keys, 1), 0);
  blob_cancel (b);
  assert_int_equal (blob_put (b, "k", data, 10, NULL), ERR_CANCELLED);
  blob_free (b);
  throttle_free (region);
  throttle_free (host);
  free (data);
  strcpy (stpcpy (path, dir), "/.tmp");
  rmdir (path);
  assert_int_equal (rmdir (dir), 0);
}

/* Every spelling of a rate that the manual names, and that a mistake is never "unlimited". */
static void
test_rates (void **state)
{
  static const struct { const char *text; uint64_t rate; } good[] = {
    { "20MB", 20 * MB }, { "20MiB", 20 << 20 }, { "160Mbit", 20 * MB }, { "0", 0 }, { "off", 0 },
    { "unlimited", 0 }, { "1000", 1000 }, { "1.5MB", 1500000 }, { "8kbit", 1000 },
    { "20MB/s\n", 20 * MB },
    { "1 GB", 1000 * MB }, { "100kB", 100000 }, { "64K", 65536 }, { "9bit", 1 },
    { "20 MB/s", 20 * MB },
  };
  static const char *const bad[] = { "", "MB", "20XB", "-1", "1.MB", "20MB2", "1e6", "0.1", "1bit",
                                     "20MBs" };
  uint64_t rate;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal (rate_parse (good[i].text, &rate), 0);
    assert_int_equal (rate, good[i].rate);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (rate_parse (bad[i], &rate), ERR_INVALID);
  assert_int_equal (rate_parse ("900TB", &rate), ERR_LIMIT);
  char text[24];
  rate_format (20 * MB, text, sizeof text);
  assert_string_equal (text, "20 MB/s");
  rate_format (1550000, text, sizeof text);
  assert_string_equal (text, "1.5 MB/s");
  rate_format (0, text, sizeof text);
  assert_string_equal (text, "off");
}

/* Hours of the day: ends, midnight, the first that holds, and none. */
static void
test_schedule (void **state)
{
  struct schedule s;
  assert_int_equal (schedule_parse ("08:00-18:00=20MB,*=100MB", &s), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 8 * 60 - 1), 100 * MB);
  assert_int_equal (schedule_rate_at_minute (&s, 8 * 60), 20 * MB);
  assert_int_equal (schedule_rate_at_minute (&s, 18 * 60 - 1), 20 * MB);
  assert_int_equal (schedule_rate_at_minute (&s, 18 * 60), 100 * MB);
  assert_int_equal (schedule_parse ("22:00-06:00=off, 06:00-24:00=8Mbit", &s), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 23 * 60), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 0), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 6 * 60), 1 * MB);
  assert_int_equal (schedule_rate_at_minute (&s, 21 * 60), 1 * MB);
  assert_int_equal (schedule_parse ("5MB", &s), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 700), 5 * MB);
  assert_int_equal (schedule_parse ("08:00-09:00=1MB", &s), 0);
  assert_int_equal (schedule_rate_at_minute (&s, 700), 0);
  setenv ("TZ", "UTC", 1);
  assert_int_equal (schedule_rate_at (&s, 8 * 3600 + 60), 1 * MB);
  static const char *const bad[] = { "", ",", "8:00-18:00=1MB", "08:00-18:00", "08:60-09:00=1MB",
                                     "25:00-26:00=1MB", "*=", "08:00-08:00=1MB", "*=1MB,",
                                     "x=1MB" };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (schedule_parse (bad[i], &s), ERR_INVALID);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown (test_windows, real_clock),
    cmocka_unit_test_teardown (test_hundred_ms, real_clock),
    cmocka_unit_test_teardown (test_oversleep, real_clock),
    cmocka_unit_test_teardown (test_unlimited_and_limits, real_clock),
    cmocka_unit_test_teardown (test_large_take, real_clock),
    cmocka_unit_test_teardown (test_rate_change, real_clock),
    cmocka_unit_test (test_order),
    cmocka_unit_test (test_cancel),
    cmocka_unit_test (test_rate_change_wakes),
    cmocka_unit_test_teardown (test_wrapper, real_clock),
    cmocka_unit_test (test_rates),
    cmocka_unit_test (test_schedule),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
