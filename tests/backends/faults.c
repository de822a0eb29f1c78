/* SPDX-License-Identifier: Apache-2.0 */
/* faults - the S3 backend through tests/lib/faultproxy.py in front of a real server.
 *
 *   faults URL RULES_FILE PROXY_OUTPUT
 *
 * Each row spoils one kind of request in one way, does a few operations, and checks that none
 * returned wrong bytes and that what was reported as done is done.  `heals`: retrying gets over it.
 * The proxy's output tells whether the fault was met: a row that spoils nothing has failed. */
#define LOG_MODULE "faults"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/meter.h"
#include "blob/url.h"

#define N 200000
#define BIG ((64u << 20) + 12345)

struct row {
  const char *rule;
  int heals; /* 1: all succeeds; 0: it may fail; -1: the damage cannot be seen in this layer */
  bool is_big;
};

static const struct row rows[] = {
  { "PUT /k 1 1 reset-before", 1, false },
  { "PUT /k 1 1 reset-request 0", 1, false },
  { "PUT /k 1 1 reset-request 1", 1, false },
  { "PUT /k 1 1 reset-request 100000", 1, false },
  { "PUT /k 1 1 reset-request 199999", 1, false },
  { "PUT /k 1 1 lose", 1, false },
  { "PUT /k 1 3 lose", 1, false },
  { "PUT /k 1 1 status-after 500", 1, false },
  { "PUT /k 1 3 status 500", 1, false },
  { "PUT /k 1 10 status 503", 1, false },
  { "PUT /k 1 2 retry-after 1", 1, false },
  { "PUT /k 1 1 status 400", 1, false },
  { "PUT /k 1 1 stall", 1, false },
  { "PUT /k 1 0 status 403", 0, false },
  { "PUT /k 1 0 status 507", 0, false },
  { "PUT /k 1 0 status 301", 0, false },
  { "GET /k 1 1 reset-before", 1, false },
  { "GET /k 1 1 reset-reply 0", 1, false },
  { "GET /k 1 1 reset-reply 1", 1, false },
  { "GET /k 1 1 reset-reply 49999", 1, false },
  { "GET /k 1 1 cut 10", 1, false },
  { "GET /k 1 1 short 10", 1, false },
  { "GET /k 1 1 empty", 1, false },
  { "GET /k 1 1 wrong-range", 1, false },
  { "GET /k 1 1 no-range", 1, false },
  { "GET /k 1 0 wrong-range", 0, false },
  { "GET /k 1 0 no-range", 0, false },
  { "GET /k 1 0 empty", -1, false },
  { "GET /k 1 1 flip 777", -1, false },
  { "GET /k 1 1 other", -1, false },
  { "GET /k 1 3 status 500", 1, false },
  { "GET /k 1 1 stall", 1, false },
  { "GET /k 1 1 stall-body 100", 1, false },
  { "GET /k 1 1 error-body InternalError", 1, false },
  { "HEAD /k 1 1 reset-before", 1, false },
  { "HEAD /k 1 2 status 502", 1, false },
  { "GET list-type 1 1 reset-reply 100", 1, false },
  { "GET list-type 1 1 short 200", 1, false },
  { "GET list-type 1 1 empty", 1, false },
  { "GET list-type 1 1 error-body InternalError", 1, false },
  { "GET list-type 1 3 status 503", 1, false },
  { "POST delete= 1 1 lose", 1, false },
  { "POST delete= 1 1 status 500", 1, false },
  { "POST delete= 1 1 cut 5", 1, false },
  { "DELETE /k 1 1 lose", 1, false },
  { "POST uploads= 1 1 lose", 1, true },
  { "PUT partNumber=2 1 2 status 503", 1, true },
  { "PUT partNumber=3 1 1 reset-request 5000000", 1, true },
  { "PUT partNumber=3 1 1 lose", 1, true },
  { "POST uploadId= 1 1 error-body InternalError", 1, true },
  { "POST uploadId= 1 1 lose", 1, true },
  { "POST uploadId= 1 2 status-after 500", 1, true },
  { "POST uploadId= 1 1 empty", 1, true },
};

static struct blob *store;
static int failures;
static bool is_row_bad;
static const struct row *row;

static void
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

static void
bad (const char *what, int rc)
{
  printf ("#   %s: %s\n", what, err_str (rc));
  is_row_bad = true;
}

static void
expect (const char *what, int rc)
{
  if (rc != 0 && row->heals == 1)
    bad (what, rc);
}

struct found {
  int n;
  uint64_t bytes;
};

static int
count (void *ctx, const struct blob_entry *e)
{
  struct found *f = ctx;
  f->n++;
  f->bytes += e->size;
  return 0;
}

static void
check_bytes (const uint8_t *got, const uint8_t *want, size_t n, const char *what)
{
  /* Damage of the body of a GET is for the layer above, whose data are sealed. */
  if (row->heals >= 0 && memcmp (got, want, n) != 0)
    bad (what, ERR_FORMAT);
}

static void
run_row (int number)
{
  char key[64], other[64], prefix[64];
  size_t n = row->is_big ? BIG : N;
  uint8_t *data = malloc (n), *out = malloc (n);
  snprintf (prefix, sizeof prefix, "f%d/", number);
  snprintf (key, sizeof key, "f%d/k", number);
  snprintf (other, sizeof other, "f%d/k2", number);
  fill (data, n, (uint64_t) number + 1);
  struct blob_put_opts opts = { .if_absent = true };
  int rc = blob_put (store, key, data, n, &opts);
  expect ("put", rc);
  bool is_there = rc == 0;
  struct blob_info info;
  rc = blob_head (store, key, &info);
  if (rc == 0 && info.size != n)
    bad ("head: wrong size", ERR_FORMAT);
  if (is_there && rc != 0)
    expect ("head", rc);
  if (is_there && rc == ERR_MISSING)
    bad ("a put that succeeded left nothing", rc);
  rc = is_there ? blob_get (store, key, 50000, 50000, out) : ERR_MISSING;
  if (rc == 0)
    check_bytes (out, data + 50000, 50000, "get: other bytes");
  expect ("get", rc);
  AUTO_BUF all;
  buf_init (&all, n + 1);
  rc = is_there ? blob_get_all (store, key, &all) : ERR_MISSING;
  if (rc == 0 && all.len != n && row->heals >= 0)
    bad ("get_all: another length", ERR_FORMAT);
  else if (rc == 0 && all.len == n)
    check_bytes (all.data, data, n, "get_all: other bytes");
  expect ("get_all", rc);
  expect ("put 2", blob_put (store, other, data, 10, NULL));
  struct found f = { 0 };
  rc = blob_list (store, prefix, "", false, count, &f);
  if (rc == 0 && row->heals == 1 && (f.n != 2 || f.bytes != n + 10))
    bad ("list: other entries", ERR_FORMAT);
  expect ("list", rc);
  const char *keys[] = { key, other };
  expect ("delete", blob_delete (store, keys, 2));
  expect ("delete of one", blob_delete (store, keys, 1));
  f = (struct found){ 0 };
  rc = blob_list (store, prefix, "", false, count, &f);
  if (rc == 0 && row->heals == 1 && f.n != 0)
    bad ("list after delete", ERR_FORMAT);
  free (data);
  free (out);
}

static void
write_rules (const char *path, const char *text)
{
  char tmp[1024];
  snprintf (tmp, sizeof tmp, "%s.new", path);
  FILE *f = fopen (tmp, "w");
  if (!f || fprintf (f, "%s\n", text) < 0 || fclose (f) != 0 || rename (tmp, path) != 0) {
    perror (path);
    exit (2);
  }
}

static int
lines_of (const char *path)
{
  FILE *f = fopen (path, "r");
  int n = 0;
  for (int c; f && (c = getc (f)) != EOF;)
    n += c == '\n';
  if (f)
    fclose (f);
  return n;
}

int
main (int argc, char **argv)
{
  if (argc != 4) {
    fprintf (stderr, "usage: faults URL RULES_FILE PROXY_OUTPUT\n");
    return 2;
  }
  log_set_level (LOG_LVL_ERR);
  enum { ROWS = sizeof rows / sizeof rows[0] };
  struct blob_open_opts opts = { .retry = RETRY_AGGRESSIVE, .stall_timeout_ms = 1500 };
  for (int i = 0; i < ROWS; i++) {
    row = &rows[i];
    is_row_bad = false;
    write_rules (argv[2], row->rule);
    if (blob_open_url (argv[1], &opts, &store) != 0)
      return 2;
    int64_t began = clock_now ();
    int faults = lines_of (argv[3]);
    run_row (i);
    struct blob_stats s;
    blob_stats_get (store, &s);
    blob_free (store);
    if (lines_of (argv[3]) == faults)
      bad ("no request was spoilt", 0);
    failures += is_row_bad;
    printf ("%s %d - %s (%lld ms, %llu retries)\n", is_row_bad ? "not ok" : "ok", i + 1, row->rule,
            (long long) ((clock_now () - began) / NS_PER_MS), (unsigned long long) s.retries);
    fflush (stdout);
  }
  write_rules (argv[2], "");
  printf ("# %d failed\n", failures);
  return failures > 100 ? 100 : failures;
}
