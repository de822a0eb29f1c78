/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "retry"
#include "blob/retry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/meter.h"

#define SLICE_NS (50 * NS_PER_MS)         /* how soon a cancel is noticed */
/* a store that asks for more gets asked again all the same */
#define RETRY_AFTER_MAX (120 * NS_PER_S)
#define FORMAT_TRIES 2
#define LOG_EVERY (10 * NS_PER_S)
#define THROTTLED_FACTOR 4 /* who is asked to slow down begins with longer waits */

/* What was taken from a writer is given up only by who ends the mount: a store may be away for
 * long.  Whoever waits for it has a limit of his own (write-timeout), or can be interrupted. */
#define PUT_PATIENCE_MS (7 * INT64_C (86400000))

static const struct {
  const char *name;
  int64_t base_ms, cap_ms, budget_ms, put_ms;
} presets[] = {
  [RETRY_STANDARD] = { "standard", 200, 10000, 60000, 60000 },
  [RETRY_QUICK] = { "quick", 100, 1000, 5000, 5000 },
  [RETRY_AGGRESSIVE] = { "aggressive", 50, 2000, 300000, 300000 },
  [RETRY_PATIENT] = { "patient", 500, 30000, 3600000, PUT_PATIENCE_MS },
  [RETRY_NONE] = { "none", 0, 0, 0, 0 },
};

static __thread int64_t asked_ns;

struct blob_retry {
  struct blob blob;
  struct blob *inner;
  _Atomic int preset;
  _Atomic bool is_cancelled;
  _Atomic int64_t logged_at;
};

/* One call and its attempts. */
struct tries {
  struct blob_retry *r;
  enum blob_op op;
  const char *key;
  int64_t began;
  unsigned failed, bad_format;
};

int
retry_preset_parse (const char *name, enum retry_preset *out)
{
  for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
    if (strcmp (presets[i].name, name) == 0) {
      *out = (enum retry_preset) i;
      return 0;
    }
  return ERR_INVALID;
}

const char *
retry_preset_name (enum retry_preset preset)
{
  return presets[preset].name;
}

void
retry_after_note (int64_t ns)
{
  asked_ns = ns;
}

int64_t
retry_after_take (void)
{
  int64_t ns = asked_ns;
  asked_ns = 0;
  return ns < RETRY_AFTER_MAX ? ns : RETRY_AFTER_MAX;
}

static struct blob_retry *
of (struct blob *b)
{
  return (struct blob_retry *) b;
}

static struct tries
begin (struct blob *b, enum blob_op op, const char *key)
{
  retry_after_note (0);
  return (struct tries){ .r = of (b), .op = op, .key = key, .began = clock_now () };
}

static int64_t
random_below (int64_t limit)
{
  uint64_t x = 0;
  if (getrandom (&x, sizeof x, GRND_NONBLOCK) != sizeof x)
    x = (uint64_t) clock_now () * 0x9e3779b97f4a7c15u;
  return limit > 0 ? (int64_t) (x % (uint64_t) limit) : 0;
}

static int64_t
backoff (const struct tries *t, int rc, int64_t asked)
{
  int preset = t->r->preset;
  int64_t cap = presets[preset].cap_ms * NS_PER_MS, wait = presets[preset].base_ms * NS_PER_MS;
  if (rc == ERR_THROTTLED)
    wait *= THROTTLED_FACTOR;
  for (unsigned i = 1; i < t->failed && wait < cap; i++)
    wait *= 2;
  return asked + random_below (wait < cap ? wait : cap);
}

static bool
sleep_for (struct blob_retry *r, int64_t ns)
{
  for (int64_t until = clock_now () + ns, left; (left = until - clock_now ()) > 0;) {
    if (r->is_cancelled)
      return false;
    clock_sleep (left < SLICE_NS ? left : SLICE_NS);
  }
  return !r->is_cancelled;
}

static void
tell (struct tries *t, int rc, int64_t wait)
{
  int64_t now = clock_now (), last = t->r->logged_at;
  if ((last && now - last < LOG_EVERY)
      || !atomic_compare_exchange_strong (&t->r->logged_at, &last, now))
    return;
  struct blob_stats stats;
  blob_stats_get (&t->r->blob, &stats);
  log_warn ("%s failed, will try again op=%s key=%s err=\"%s\" attempt=%u wait_ms=%lld last=\"%s\"",
            rc == ERR_THROTTLED ? "the store asks for fewer requests; a request"
                                  : "a request to the store",
            blob_op_name (t->op), t->key, err_str (rc), t->failed, (long long) (wait / NS_PER_MS),
            stats.last_error_text);
}

static void
tell_end (struct tries *t, int rc, int64_t used)
{
  struct blob_stats stats;
  blob_stats_get (&t->r->blob, &stats);
  log_err ("gave up after several attempts; is the store reachable? op=%s key=%s err=\"%s\""
           " attempts=%u seconds=%lld last=\"%s\"",
           blob_op_name (t->op), t->key, err_str (rc), t->failed, (long long) (used / NS_PER_S),
           stats.last_error_text);
}

/* After an attempt that returned RC: true to try again (the wait is over), false to return *RC. */
static bool
again (struct tries *t, int *rc)
{
  int64_t asked = retry_after_take ();
  bool is_read = t->op != BLOB_OP_PUT && t->op != BLOB_OP_DELETE;
  if (t->r->preset == RETRY_NONE)
    return false;
  if (*rc == ERR_FORMAT && is_read) {
    if (t->bad_format++ >= FORMAT_TRIES)
      return false;
  } else if (!err_is_transient (*rc))
    return false;
  t->failed++;
  int64_t wait = backoff (t, *rc, asked);
  int64_t ms = t->op == BLOB_OP_PUT ? presets[t->r->preset].put_ms
                                    : presets[t->r->preset].budget_ms;
  int64_t budget = ms * NS_PER_MS, used = clock_now () - t->began;
  if (used + wait > budget) {
    if (t->failed > 1)
      tell_end (t, *rc, used);
    return false;
  }
  meter_retry (t->r->blob.meter);
  tell (t, *rc, wait);
  if (sleep_for (t->r, wait))
    return true;
  *rc = ERR_CANCELLED;
  return false;
}

/* Is what the store has under KEY exactly these bytes? */
static int
is_same (struct blob *inner, const char *key, const void *data, size_t len)
{
  AUTO_BUF there;
  buf_init (&there, len + 1); /* a longer object does not fit: not the same */
  int rc = blob_get_all (inner, key, &there);
  if (rc == ERR_LIMIT)
    return 0;
  if (rc != 0)
    return rc;
  return there.len == len && (len == 0 || memcmp (there.data, data, len) == 0);
}

static int
retry_put (struct blob *b, const char *key, const void *data, size_t len,
           const struct blob_put_opts *opts)
{
  struct blob_retry *r = of (b);
  struct tries t = begin (b, BLOB_OP_PUT, key);
  for (;;) {
    int rc = blob_put (r->inner, key, data, len, opts);
    if (rc == ERR_EXISTS && opts->if_absent && t.failed) {
      int same = is_same (r->inner, key, data, len);
      rc = same > 0 ? 0 : same == 0 ? ERR_EXISTS : same == ERR_MISSING ? ERR_AGAIN : same;
    }
    if (!again (&t, &rc))
      return rc;
  }
}

static int
retry_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct tries t = begin (b, BLOB_OP_GET, key);
  for (;;) {
    int rc = blob_get (of (b)->inner, key, off, len, out);
    if (!again (&t, &rc))
      return rc;
  }
}

static int
retry_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct tries t = begin (b, BLOB_OP_GET, key);
  size_t before = out->len;
  for (;;) {
    int rc = blob_get_all (of (b)->inner, key, out);
    if (rc != 0) {
      out->len = before;
      out->error = rc == ERR_LIMIT || rc == ERR_NOMEM ? out->error : 0;
    }
    if (!again (&t, &rc))
      return rc;
  }
}

static int
retry_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct tries t = begin (b, BLOB_OP_HEAD, key);
  for (;;) {
    int rc = blob_head (of (b)->inner, key, out);
    if (!again (&t, &rc))
      return rc;
  }
}

struct progress {
  blob_list_fn fn;
  void *ctx;
  bool is_callers;          /* the caller's own code ended the listing */
  char last[BLOB_KEY_MAX + 2];
};

static int
pass_on (void *ctx, const struct blob_entry *e)
{
  struct progress *p = ctx;
  size_t n = strlen (e->key);
  if (n >= sizeof p->last)
    return ERR_FORMAT;
  if (strcmp (e->key, p->last) <= 0)
    return 0; /* given before */
  memcpy (p->last, e->key, n + 1);
  int rc = p->fn (p->ctx, e);
  p->is_callers = rc != 0;
  return rc;
}

static int
retry_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
            blob_list_fn fn, void *ctx)
{
  struct tries t = begin (b, BLOB_OP_LIST, prefix);
  struct progress p = { .fn = fn, .ctx = ctx };
  if (strlen (start_after) >= sizeof p.last)
    return ERR_INVALID;
  strncpy (p.last, start_after, sizeof p.last - 1);
  for (;;) {
    char from[sizeof p.last];
    memcpy (from, p.last, sizeof from);
    int rc = blob_list (of (b)->inner, prefix, from, is_delimited, pass_on, &p);
    if (p.is_callers || !again (&t, &rc))
      return rc;
  }
}

static int
retry_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct tries t = begin (b, BLOB_OP_DELETE, keys[0]);
  for (;;) {
    int rc = blob_delete (of (b)->inner, keys, n);
    if (!again (&t, &rc))
      return rc;
  }
}

static int
retry_now (struct blob *b, int64_t *out)
{
  struct tries t = begin (b, BLOB_OP_HEAD, "(clock)");
  for (;;) {
    int rc = blob_now (of (b)->inner, out);
    if (!again (&t, &rc))
      return rc;
  }
}

static void
retry_cancel (struct blob *b)
{
  of (b)->is_cancelled = true;
  blob_cancel (of (b)->inner);
}

static void
retry_free (struct blob *b)
{
  blob_free (of (b)->inner);
  free (b);
}

static const struct blob_ops retry_ops = {
  .name = "retry",
  .put = retry_put,
  .get = retry_get,
  .get_all = retry_get_all,
  .head = retry_head,
  .list = retry_list,
  .del = retry_delete,
  .now = retry_now,
  .cancel = retry_cancel,
  .free = retry_free,
};

int
blob_retry_new (struct blob **take, enum retry_preset preset, struct blob **out)
{
  AUTO (blob) inner = STEAL (*take);
  struct blob_retry *r = calloc (1, sizeof *r);
  if (!r)
    return ERR_NOMEM;
  r->blob = blob_over (inner, &retry_ops);
  r->preset = (int) preset;
  r->inner = STEAL (inner);
  *out = &r->blob;
  return 0;
}

void
blob_retry_set_preset (struct blob *b, enum retry_preset preset)
{
  of (b)->preset = (int) preset;
}
