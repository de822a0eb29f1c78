/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "blob/url.h"

#include "conformance.h"

#define MANY 1005 /* more than one page of a ListObjectsV2, more than one DeleteObjects */
#define KEY char key[BLOB_KEY_MAX + 1]

static const struct blob_put_opts if_absent = { .if_absent = true };

int
count_entry (void *ctx, const struct blob_entry *e)
{
  ++*(int *) ctx;
  return 0;
}

static void
expect_content (const char *key, const uint8_t *data, size_t n)
{
  AUTO_BUF got;
  buf_init (&got, n + 10);
  CHECK_RC (blob_get_all (store, key, &got), 0);
  CHECK (got.len == n && (n == 0 || memcmp (got.data, data, n) == 0), "%zu of %zu bytes, or others",
         got.len, n);
}

/* B2, B4: what was put is what comes back, for every size around the usual limits. */
static void
test_sizes (void)
{
  static const size_t sizes[] = { 0,     1,     2,     31,      4095,    4096,
                                  65535, 65536, 65537, 1 << 20, 5242879, 16777217 };
  KEY;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    size_t n = sizes[i];
    uint8_t *data = malloc (n + 1);
    fill (data, n, i + 1);
    key_of (key, "sizes/%zu", n);
    CHECK_RC (blob_put (store, key, data, n, NULL), 0);
    struct blob_info info = { 0 };
    CHECK_RC (blob_head (store, key, &info), 0);
    CHECK (info.size == n, "size %llu of %zu", (unsigned long long) info.size, n);
    expect_content (key, data, n);
    free (data);
  }
}

/* B4: exactly the bytes asked for, or an error. */
static void
test_ranges (void)
{
  enum { N = 100000 };
  static const struct { uint64_t off; size_t len; int rc; } cases[] = {
    { 0, 1, 0 },         { 0, N, 0 },           { N - 1, 1, 0 },
    { 1, N - 1, 0 },     { 49999, 3, 0 },       { 0, N + 1, ERR_LIMIT },
    { N - 1, 2, ERR_LIMIT }, { N, 1, ERR_LIMIT }, { N + 1, 1, ERR_LIMIT },
    { 1ull << 40, 5, ERR_LIMIT }, { 7, 0, 0 },
  };
  KEY;
  uint8_t *data = malloc (N), *out = malloc (N + 10);
  fill (data, N, 42);
  CHECK_RC (blob_put (store, key_of (key, "ranges"), data, N, NULL), 0);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    memset (out, 0xee, N + 10);
    int rc = blob_get (store, key, cases[i].off, cases[i].len, out);
    CHECK (rc == cases[i].rc, "case %zu: %d instead of %d", i, rc, cases[i].rc);
    if (rc == 0)
      CHECK (memcmp (out, data + cases[i].off, cases[i].len) == 0, "case %zu: other bytes", i);
    CHECK (out[cases[i].len] == 0xee, "case %zu: wrote past the end", i);
  }
  free (data);
  free (out);
}

/* B5, and what is not there is ERR_MISSING, not an empty object. */
static void
test_missing (void)
{
  KEY;
  key_of (key, "not/there");
  uint8_t byte;
  struct blob_info info;
  AUTO_BUF b;
  buf_init (&b, 100);
  CHECK_RC (blob_get (store, key, 0, 1, &byte), ERR_MISSING);
  CHECK_RC (blob_get_all (store, key, &b), ERR_MISSING);
  CHECK (b.len == 0, "%zu", b.len);
  CHECK_RC (blob_head (store, key, &info), ERR_MISSING);
  const char *keys[] = { key };
  CHECK_RC (blob_delete (store, keys, 1), 0);
  int n = 0;
  char prefix[BLOB_KEY_MAX + 1];
  CHECK_RC (blob_list (store, key_of (prefix, "not/"), "", false, count_entry, &n), 0);
  CHECK (n == 0, "%d", n);
}

/* B3. */
static void
test_overwrite (void)
{
  KEY;
  key_of (key, "over/write");
  CHECK_RC (blob_put (store, key, "one", 3, NULL), 0);
  CHECK_RC (blob_put (store, key, "one", 3, NULL), 0);
  CHECK_RC (blob_put (store, key, "second", 6, NULL), 0);
  expect_content (key, (const uint8_t *) "second", 6);
  uint8_t out[6];
  CHECK_RC (blob_get (store, key, 0, 6, out), 0);
  CHECK (memcmp (out, "second", 6) == 0, "a stale object");
  if (!(store->caps & BLOB_CAP_IF_ABSENT))
    return;
  CHECK_RC (blob_put (store, key, "third", 5, &if_absent), ERR_EXISTS);
  CHECK_RC (blob_put (store, key, "second", 6, &if_absent), ERR_EXISTS);
  expect_content (key, (const uint8_t *) "second", 6);
  const char *keys[] = { key };
  CHECK_RC (blob_delete (store, keys, 1), 0);
  CHECK_RC (blob_get (store, key, 0, 6, out), ERR_MISSING);
  CHECK_RC (blob_put (store, key, "third", 5, &if_absent), 0);
  expect_content (key, (const uint8_t *) "third", 5);
}

#define RACERS 8

struct racer {
  pthread_t thread;
  pthread_barrier_t *barrier;
  int id, round, rc;
};

static void *
race (void *arg)
{
  struct racer *r = arg;
  KEY;
  uint8_t data[3000];
  fill (data, sizeof data, (uint64_t) r->id + 1);
  pthread_barrier_wait (r->barrier);
  r->rc = blob_put (store, key_of (key, "race/%d", r->round), data, sizeof data, &if_absent);
  return NULL;
}

/* if_absent is atomic: of writers that race, one wins and its bytes stay. */
static void
test_race (void)
{
  if (!(store->caps & BLOB_CAP_IF_ABSENT))
    return;
  for (int round = 0; round < 10; round++) {
    pthread_barrier_t barrier;
    pthread_barrier_init (&barrier, NULL, RACERS);
    struct racer r[RACERS];
    for (int i = 0; i < RACERS; i++) {
      r[i] = (struct racer){ .barrier = &barrier, .id = i, .round = round };
      pthread_create (&r[i].thread, NULL, race, &r[i]);
    }
    int winners = 0, winner = 0;
    for (int i = 0; i < RACERS; i++) {
      pthread_join (r[i].thread, NULL);
      CHECK (r[i].rc == 0 || r[i].rc == ERR_EXISTS, "racer %d: %s", i, err_str (r[i].rc));
      if (r[i].rc == 0) {
        winners++;
        winner = i;
      }
    }
    pthread_barrier_destroy (&barrier);
    CHECK (winners == 1, "%d winners in round %d", winners, round);
    KEY;
    uint8_t data[3000];
    fill (data, sizeof data, (uint64_t) winner + 1);
    expect_content (key_of (key, "race/%d", round), data, sizeof data);
  }
}

struct listing {
  char v[MANY + 20][BLOB_KEY_MAX + 1];
  bool is_prefix[MANY + 20];
  int n, stop_after;
};

static int
collect (void *ctx, const struct blob_entry *e)
{
  struct listing *l = ctx;
  if (l->n == MANY + 20)
    return 99;
  snprintf (l->v[l->n], sizeof l->v[0], "%s", e->key);
  l->is_prefix[l->n] = e->is_prefix;
  if (!e->is_prefix)
    CHECK (e->mtime > 0, "%s has no time", e->key);
  l->n++;
  return l->stop_after && l->n == l->stop_after ? 77 : 0;
}

static struct listing *
list (const char *prefix, const char *after, bool is_delimited, int stop_after, int want_rc)
{
  struct listing *l = calloc (1, sizeof *l);
  l->stop_after = stop_after;
  char from[BLOB_KEY_MAX + 1] = "", p[BLOB_KEY_MAX + 1];
  if (after)
    key_of (from, "%s", after);
  CHECK_RC (blob_list (store, key_of (p, "%s", prefix), from, is_delimited, collect, l), want_rc);
  for (int i = 1; i < l->n; i++)
    CHECK (strcmp (l->v[i - 1], l->v[i]) < 0, "%s before %s", l->v[i - 1], l->v[i]);
  return l;
}

struct putter {
  pthread_t thread;
  int from, step;
};

static void *
put_many (void *arg)
{
  struct putter *p = arg;
  KEY;
  for (int i = p->from; i < MANY; i += p->step)
    CHECK_RC (blob_put (store, key_of (key, "many/%02x/%04d", i % 16, i), "x", 1, NULL), 0);
  return NULL;
}

/* B6 over several pages, in every form; then a delete of more than one batch. */
static void
test_list_many (void)
{
  struct putter p[4];
  for (int i = 0; i < 4; i++) {
    p[i] = (struct putter){ .from = i, .step = 4 };
    pthread_create (&p[i].thread, NULL, put_many, &p[i]);
  }
  for (int i = 0; i < 4; i++)
    pthread_join (p[i].thread, NULL);
  struct listing *l = list ("many/", NULL, false, 0, 0);
  CHECK (l->n == MANY, "%d", l->n);
  int n = l->n;
  if (n == MANY) {
    struct listing *rest = list ("many/", l->v[500] + strlen (base), false, 0, 0);
    CHECK (rest->n == MANY - 501 && strcmp (rest->v[0], l->v[501]) == 0, "%d", rest->n);
    free (rest);
  }
  struct listing *one = list ("many/0a/", NULL, false, 0, 0);
  CHECK (one->n == MANY / 16 || one->n == MANY / 16 + 1, "%d", one->n);
  free (one);
  struct listing *dirs = list ("many/", NULL, true, 0, 0);
  CHECK (dirs->n == 16 && dirs->is_prefix[0] && dirs->is_prefix[15], "%d", dirs->n);
  free (dirs);
  dirs = list ("many/", "many/0a/", true, 0, 0);
  CHECK (dirs->n == 5, "%d", dirs->n);
  free (dirs);
  struct listing *stopped = list ("many/", NULL, false, 10, 77);
  CHECK (stopped->n == 10, "%d", stopped->n);
  free (stopped);
  const char *keys[MANY + 20];
  for (int i = 0; i < n; i++)
    keys[i] = l->v[i];
  CHECK_RC (blob_delete (store, keys, (size_t) n), 0);
  free (l);
  l = list ("many/", NULL, false, 0, 0);
  CHECK (l->n == 0, "%d left", l->n);
  free (l);
}

/* B6: order is of bytes of the whole key, whatever '/' is to the store. */
static void
test_list_order (void)
{
  static const char *const sorted[] = { "order/a-b", "order/a.b", "order/a/x", "order/a/y/z",
                                        "order/a0",
                                        "order/aa", "order/b" };
  enum { N = sizeof sorted / sizeof sorted[0] };
  KEY;
  for (int i = N - 1; i >= 0; i--)
    CHECK_RC (blob_put (store, key_of (key, "%s", sorted[i]), "x", 1, NULL), 0);
  struct listing *l = list ("order/", NULL, false, 0, 0);
  CHECK (l->n == N, "%d", l->n);
  for (int i = 0; i < l->n && i < N; i++)
    CHECK (strcmp (l->v[i] + strlen (base), sorted[i]) == 0, "%d is %s", i, l->v[i]);
  free (l);
  l = list ("order/a", NULL, true, 0, 0); /* a prefix that ends inside a name */
  CHECK (l->n == 5 && l->is_prefix[2] && strcmp (l->v[2] + strlen (base), "order/a/") == 0, "%d",
         l->n);
  free (l);
  l = list ("order/", "order/a.b", true, 0, 0);
  CHECK (l->n == 4 && l->is_prefix[0], "%d", l->n);
  free (l);
  l = list ("order/", "order/a/x", false, 0, 0);
  CHECK (l->n == 4, "%d", l->n);
  free (l);
  l = list ("order/nothing", NULL, false, 0, 0);
  CHECK (l->n == 0, "%d", l->n);
  free (l);
}

/* Every byte that a key may have survives the way there and back. */
static void
test_odd_keys (void)
{
  static const char *const odd[] = {
    "odd/plus+and=equals&amp", "odd/percent%20and%2F", "odd/tilde~star*paren()",
    "odd/colon:at@comma,",
    "odd/quote'dollar$excl!", "odd/.hidden", "odd/semi;colon", "odd/question?hash#",
    "odd/20260101T000000Z.ab",
  };
  KEY;
  for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
    uint8_t data[20];
    fill (data, sizeof data, i);
    CHECK_RC (blob_put (store, key_of (key, "%s", odd[i]), data, sizeof data, NULL), 0);
    expect_content (key, data, sizeof data);
  }
  struct listing *l = list ("odd/", NULL, false, 0, 0);
  CHECK (l->n == sizeof odd / sizeof odd[0], "%d", l->n);
  const char *keys[20];
  for (int i = 0; i < l->n && i < 20; i++) {
    bool found = false;
    for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++)
      found |= strcmp (odd[k], l->v[i] + strlen (base)) == 0;
    CHECK (found, "%s is none of ours", l->v[i]);
    keys[i] = l->v[i];
  }
  CHECK_RC (blob_delete (store, keys, (size_t) l->n), 0);
  free (l);
  l = list ("odd/", NULL, false, 0, 0);
  CHECK (l->n == 0, "%d left, first %s", l->n, l->v[0]);
  free (l);
}

static void
test_bad_keys (void)
{
  static const char *const bad[] = { "", "/a", "a/", "a//b", "a/../b", ".", "..", "a/.", "a b",
                                     "\xc3\xa4" };
  uint8_t byte;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    CHECK_RC (blob_put (store, bad[i], "x", 1, NULL), ERR_INVALID);
    CHECK_RC (blob_get (store, bad[i], 0, 1, &byte), ERR_INVALID);
  }
}

static void
test_limits (void)
{
  KEY;
  uint8_t data[1000];
  fill (data, sizeof data, 3);
  CHECK_RC (blob_put (store, key_of (key, "limits"), data, sizeof data, NULL), 0);
  AUTO_BUF small;
  buf_init (&small, 999);
  CHECK_RC (blob_get_all (store, key, &small), ERR_LIMIT);
  AUTO_BUF two;
  buf_init (&two, 3000);
  buf_put (&two, "before", 6);
  CHECK_RC (blob_get_all (store, key, &two), 0);
  CHECK (two.len == 1006 && memcmp (two.data, "before", 6) == 0, "get_all appends");
}

static uint64_t last_progress;

static void
note_progress (void *ctx, uint64_t sent)
{
  last_progress = sent;
}

static void
test_progress (void)
{
  KEY;
  enum { N = 300000 };
  uint8_t *data = calloc (1, N);
  CHECK_RC (blob_put (store, key_of (key, "progress"), data, N,
                      &(struct blob_put_opts){ .progress = note_progress }), 0);
  CHECK (last_progress == N, "%llu", (unsigned long long) last_progress);
  free (data);
}

static void
test_clock (void)
{
  int64_t now = 0;
  CHECK_RC (blob_now (store, &now), 0);
  int64_t skew = now - clock_wall ();
  CHECK (skew < 60 * NS_PER_S && skew > -60 * NS_PER_S, "%lld ns", (long long) skew);
  KEY;
  struct blob_info info = { 0 };
  CHECK_RC (blob_put (store, key_of (key, "clock"), "x", 1, NULL), 0);
  CHECK_RC (blob_head (store, key, &info), 0);
  CHECK (info.mtime > now - 5 * NS_PER_S && info.mtime < now + 60 * NS_PER_S, "%lld against %lld",
         (long long) info.mtime, (long long) now);
}

#define VERSION_BYTES 200000

struct worker {
  pthread_t thread;
  int id;
  _Atomic bool *stop;
};

static void *
write_versions (void *arg)
{
  struct worker *w = arg;
  KEY;
  uint8_t *data = malloc (VERSION_BYTES);
  for (int i = 0; i < 10; i++) {
    memset (data, 'a' + (w->id * 10 + i) % 26, VERSION_BYTES);
    CHECK_RC (blob_put (store, key_of (key, "versions"), data, VERSION_BYTES, NULL), 0);
  }
  free (data);
  return NULL;
}

static void *
read_versions (void *arg)
{
  struct worker *w = arg;
  KEY;
  key_of (key, "versions");
  while (!*w->stop) {
    AUTO_BUF b;
    buf_init (&b, VERSION_BYTES);
    CHECK_RC (blob_get_all (store, key, &b), 0);
    CHECK (b.len == VERSION_BYTES, "%zu", b.len);
    for (size_t i = 1; i < b.len; i++)
      if (b.data[i] != b.data[0]) {
        CHECK (b.data[i] == b.data[0], "two versions mixed at %zu", i);
        break;
      }
  }
  return NULL;
}

/* B1: readers see one whole version while writers replace it. */
static void
test_atomic (void)
{
  KEY;
  uint8_t *data = malloc (VERSION_BYTES);
  memset (data, 'z', VERSION_BYTES);
  CHECK_RC (blob_put (store, key_of (key, "versions"), data, VERSION_BYTES, NULL), 0);
  free (data);
  _Atomic bool stop = false;
  struct worker w[6];
  for (int i = 0; i < 6; i++) {
    w[i] = (struct worker){ .id = i, .stop = &stop };
    pthread_create (&w[i].thread, NULL, i < 3 ? write_versions : read_versions, &w[i]);
  }
  for (int i = 0; i < 3; i++)
    pthread_join (w[i].thread, NULL);
  stop = true;
  for (int i = 3; i < 6; i++)
    pthread_join (w[i].thread, NULL);
}

static void *
put_and_read (void *arg)
{
  struct worker *w = arg;
  KEY;
  for (int i = 0; i < 12; i++) {
    size_t n = (size_t) (w->id * 7919 + i * 50021) % 700000;
    uint8_t *data = malloc (n + 1), *out = malloc (n + 1);
    fill (data, n, (uint64_t) (w->id * 1000 + i));
    CHECK_RC (blob_put (store, key_of (key, "par/%d/%d", w->id, i), data, n, NULL), 0);
    size_t off = n / 3, len = n - off - n / 5;
    CHECK_RC (blob_get (store, key, off, len, out), 0);
    CHECK (memcmp (out, data + off, len) == 0, "other bytes in %s", key);
    free (data);
    free (out);
  }
  return NULL;
}

static void
test_parallel (void)
{
  struct worker w[8];
  for (int i = 0; i < 8; i++) {
    w[i] = (struct worker){ .id = i };
    pthread_create (&w[i].thread, NULL, put_and_read, &w[i]);
  }
  for (int i = 0; i < 8; i++)
    pthread_join (w[i].thread, NULL);
}

/* More than a single PUT takes: in parts, with a range across their border. */
static void
test_big (void)
{
  KEY;
  size_t n = (70u << 20) + 12345;
  uint8_t *data = malloc (n), *out = malloc (n);
  fill (data, n, 99);
  CHECK_RC (blob_put (store, key_of (key, "big"), data, n, &if_absent), 0);
  CHECK (!(store->caps & BLOB_CAP_IF_ABSENT)
         || blob_put (store, key, data, n, &if_absent) == ERR_EXISTS, "a big object was replaced");
  for (uint64_t off = 0; off < n; off += 16000000) {
    size_t len = n - off < 20000000 ? n - off : 20000000;
    CHECK_RC (blob_get (store, key, off, len, out), 0);
    CHECK (memcmp (out, data + off, len) == 0, "other bytes at %llu", (unsigned long long) off);
  }
  free (data);
  free (out);
}

static int
delete_entry (void *ctx, const struct blob_entry *e)
{
  CHECK_RC (blob_delete (store, &e->key, 1), 0); /* a callback may call the store */
  return 0;
}

static void
test_clean_up (void)
{
  int n = 0;
  CHECK_RC (blob_list (store, base, "", false, delete_entry, NULL), 0);
  CHECK_RC (blob_list (store, base, "", false, count_entry, &n), 0);
  CHECK (n == 0, "%d left", n);
}

static void *
cancel_later (void *arg)
{
  usleep (100000);
  blob_cancel (store);
  return NULL;
}

/* A cancel ends what is under way, and everything after it. */
static void
test_cancel (void)
{
  KEY;
  key_of (key, "cancelled");
  pthread_t thread;
  pthread_create (&thread, NULL, cancel_later, NULL);
  int rc = 0;
  int64_t began = clock_now ();
  size_t n = 8u << 20;
  uint8_t *data = calloc (1, n);
  while (rc == 0 && clock_now () - began < 20 * NS_PER_S)
    rc = blob_put (store, key, data, n, NULL);
  CHECK (rc == ERR_CANCELLED, "%s", err_str (rc));
  CHECK (clock_now () - began < 3 * NS_PER_S, "slow to stop");
  pthread_join (thread, NULL);
  CHECK_RC (blob_put (store, key, data, 10, NULL), ERR_CANCELLED);
  CHECK_RC (blob_get (store, key, 0, 10, data), ERR_CANCELLED);
  free (data);
}

void
conformance_all (const char *url, bool is_big)
{
  run ("sizes", test_sizes);
  run ("ranges", test_ranges);
  run ("missing keys", test_missing);
  run ("overwrite and if_absent", test_overwrite);
  run ("racing if_absent writers", test_race);
  run ("list and delete of many keys", test_list_many);
  run ("order of a listing", test_list_order);
  run ("odd keys", test_odd_keys);
  run ("keys that are refused", test_bad_keys);
  run ("limits of get_all", test_limits);
  run ("progress", test_progress);
  run ("clock", test_clock);
  run ("readers see whole versions", test_atomic);
  run ("parallel puts and gets", test_parallel);
  if (is_big)
    run ("an object in parts", test_big);
  run ("clean up", test_clean_up);
  run ("cancel", test_cancel);
  /* What the cancelled put may have left. */
  struct blob *again = NULL;
  char key[BLOB_KEY_MAX + 1];
  const char *keys[] = { key_of (key, "cancelled") };
  if (strcmp (url, "memory:") != 0 && blob_open_url (url, NULL, &again) == 0) {
    CHECK_RC (blob_delete (again, keys, 1), 0);
    blob_free (again);
  }
}
