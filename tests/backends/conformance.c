/* SPDX-License-Identifier: Apache-2.0 */
/* conformance - what every backend promises (B1-B6 of blob/blob.h), tried against any URL.
 *
 *   conformance [--big] [--slow-list] URL      everything; --big adds an object in several parts
 *   conformance --expect=denied|again|missing [--within=MS] URL
 *                                  a put, a get, a head and a list must end in that error in that
 *                                  time
 *   conformance --no-delete URL    credentials of a writer: put, get, list work, delete is denied
 *
 * Works below a random key prefix and removes it at the end.  Prints one line a test; the exit
 * status is the number of failures. */
#define LOG_MODULE "conformance"
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/fault.h"
#include "blob/meter.h"
#include "blob/url.h"

#include "conformance.h"

struct blob *store;
char base[64]; /* prefix of this run, with its '/' */
int failures;
static int test_failed;
static int count;

void
fail (int line, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  printf ("#   line %d: ", line);
  vprintf (fmt, ap);
  printf ("\n");
  va_end (ap);
  __atomic_store_n (&test_failed, 1, __ATOMIC_RELAXED);
}

const char *
key_of (char *out, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  int n = snprintf (out, BLOB_KEY_MAX + 1, "%s", base);
  vsnprintf (out + n, BLOB_KEY_MAX + 1 - (size_t) n, fmt, ap);
  va_end (ap);
  return out;
}

/* Bytes that depend on every position, so that a wrong range cannot look right. */
void
fill (uint8_t *p, size_t n, uint64_t seed)
{
  uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < n; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    p[i] = (uint8_t) x;
  }
}

void
run (const char *name, void (*fn) (void))
{
  test_failed = 0;
  int64_t began = clock_now ();
  fn ();
  failures += test_failed;
  printf ("%s %d - %s (%lld ms)\n", test_failed ? "not ok" : "ok", ++count, name,
          (long long) ((clock_now () - began) / NS_PER_MS));
  fflush (stdout);
}

static int
expect_error (int want, int64_t within_ms)
{
  uint8_t byte = 1;
  struct blob_info info;
  char key[BLOB_KEY_MAX + 1];
  key_of (key, "x");
  for (int i = 0; i < 4; i++) {
    int64_t began = clock_now ();
    int rc = i == 0   ? blob_put (store, key, &byte, 1, NULL)
             : i == 1 ? blob_get (store, key, 0, 1, &byte)
             : i == 2 ? blob_head (store, key, &info)
                      : blob_list (store, base, "", false, count_entry, &(int){ 0 });
    int64_t ms = (clock_now () - began) / NS_PER_MS;
    static const char *const names[] = { "put", "get", "head", "list" };
    bool ok = rc == want && (within_ms == 0 || ms <= within_ms);
    printf ("%s %d - %s: %s after %lld ms\n", ok ? "ok" : "not ok", i + 1, names[i], err_str (rc),
            (long long) ms);
    failures += !ok;
  }
  return failures;
}

static int
expect_no_delete (void)
{
  char key[BLOB_KEY_MAX + 1];
  key_of (key, "writer");
  uint8_t data[1000], back[1000];
  fill (data, sizeof data, 7);
  int n = 0;
  int rc = blob_put (store, key, data, sizeof data, &(struct blob_put_opts){ .if_absent = true });
  failures += rc != 0;
  printf ("%s 1 - put: %s\n", rc ? "not ok" : "ok", err_str (rc));
  rc = blob_get (store, key, 0, sizeof back, back);
  failures += rc != 0 || memcmp (data, back, sizeof back) != 0;
  printf ("%s 2 - get: %s\n", rc ? "not ok" : "ok", err_str (rc));
  rc = blob_list (store, base, "", false, count_entry, &n);
  failures += rc != 0 || n != 1;
  printf ("%s 3 - list: %s\n", rc || n != 1 ? "not ok" : "ok", err_str (rc));
  const char *keys[] = { key };
  rc = blob_delete (store, keys, 1);
  failures += rc != ERR_DENIED;
  printf ("%s 4 - delete: %s\n", rc != ERR_DENIED ? "not ok" : "ok", err_str (rc));
  rc = blob_get (store, key, 0, sizeof back, back);
  failures += rc != 0;
  printf ("%s 5 - get after the refused delete: %s\n", rc ? "not ok" : "ok", err_str (rc));
  return failures;
}

int
main (int argc, char **argv)
{
  static const struct option options[] = {
    { "big", no_argument, NULL, 'b' },       { "expect", required_argument, NULL, 'e' },
    { "within", required_argument, NULL, 'w' }, { "no-delete", no_argument, NULL, 'n' },
    { "preset", required_argument, NULL, 'p' }, { 0 },
  };
  struct blob_open_opts opts = { .create = true, .retry = RETRY_STANDARD };
  bool is_big = false, is_writer = false;
  const char *expect = NULL;
  int64_t within = 0;
  for (int c; (c = getopt_long (argc, argv, "", options, NULL)) != -1;)
    switch (c) {
    case 'b': is_big = true; break;
    case 'e': expect = optarg; break;
    case 'w': within = strtol (optarg, NULL, 10); break;
    case 'n': is_writer = true; break;
    case 'p':
      if (retry_preset_parse (optarg, &opts.retry) != 0)
        return 125;
      break;
    default: return 125;
    }
  if (optind + 1 != argc) {
    fprintf (stderr, "usage: conformance [--big] [--no-delete] [--expect=ERROR [--within=MS]] "
             "URL\n");
    return 125;
  }
  snprintf (base, sizeof base, "conf-%d-%llx/", (int) getpid (),
            (unsigned long long) clock_wall ());
  if (expect || is_writer)
    opts.retry = opts.retry == RETRY_STANDARD ? RETRY_QUICK : opts.retry;
  int rc = blob_open_url (argv[optind], &opts, &store);
  if (rc != 0) {
    printf ("not ok - open: %s\n", err_str (rc));
    return 1;
  }
  if (expect)
    failures = expect_error (strcmp (expect, "denied") == 0    ? ERR_DENIED
                             : strcmp (expect, "missing") == 0 ? ERR_MISSING
                                                               : ERR_AGAIN,
                             within);
  else if (is_writer)
    failures = expect_no_delete ();
  else
    conformance_all (argv[optind], is_big);
  struct blob_stats stats;
  blob_stats_get (store, &stats);
  printf ("# requests put=%llu get=%llu head=%llu list=%llu delete=%llu up=%llu down=%llu "
          "retries=%llu\n",
          (unsigned long long) stats.requests[BLOB_OP_PUT],
          (unsigned long long) stats.requests[BLOB_OP_GET],
          (unsigned long long) stats.requests[BLOB_OP_HEAD],
          (unsigned long long) stats.requests[BLOB_OP_LIST],
          (unsigned long long) stats.requests[BLOB_OP_DELETE], (unsigned long long) stats.bytes_up,
          (unsigned long long) stats.bytes_down, (unsigned long long) stats.retries);
  blob_free (store);
  printf ("# %d failed\n", failures);
  return failures > 100 ? 100 : failures;
}
