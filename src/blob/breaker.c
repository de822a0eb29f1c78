/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "breaker"
#include "blob/breaker.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/blob.h"
#include "blob/meter.h"

void
breaker_init (struct breaker *k)
{
  *k = (struct breaker){ .state = BREAKER_CLOSED, .cooldown_ns = BREAKER_COOLDOWN_MS * NS_PER_MS };
  lock_init (&k->lock, LOCK_BREAKER, "breaker");
}

void
breaker_release (struct breaker *k)
{
  lock_destroy (&k->lock);
}

bool
breaker_admit (struct breaker *k)
{
  LOCK_SCOPE (&k->lock);
  if (k->state == BREAKER_CLOSED)
    return true;
  if (k->state == BREAKER_HALF_OPEN || clock_now () < k->reopen_at)
    return false;
  k->state = BREAKER_HALF_OPEN;
  return true;
}

static void
open_locked (struct breaker *k)
{
  lock_assert_held (&k->lock);
  k->state = BREAKER_OPEN;
  k->reopen_at = clock_now () + k->cooldown_ns;
}

void
breaker_report (struct breaker *k, int rc)
{
  LOCK_SCOPE (&k->lock);
  bool failed = rc == ERR_AGAIN;
  if (k->state == BREAKER_HALF_OPEN) {
    /* A call from before the opening may end here as well; its news is as fresh as the probe's. */
    if (failed) {
      k->cooldown_ns *= 2;
      if (k->cooldown_ns > BREAKER_COOLDOWN_MAX_MS * NS_PER_MS)
        k->cooldown_ns = BREAKER_COOLDOWN_MAX_MS * NS_PER_MS;
      open_locked (k);
      return;
    }
  } else if (failed) {
    if (k->state == BREAKER_CLOSED && ++k->failures >= BREAKER_TRIP)
      open_locked (k);
    return;
  }
  if (rc == ERR_CANCELLED && k->state != BREAKER_CLOSED) {
    open_locked (k); /* a cancelled probe tells nothing */
    return;
  }
  k->state = BREAKER_CLOSED;
  k->failures = 0;
  k->cooldown_ns = BREAKER_COOLDOWN_MS * NS_PER_MS;
}

enum breaker_state
breaker_state_of (struct breaker *k)
{
  LOCK_SCOPE (&k->lock);
  return k->state;
}

const char *
breaker_state_name (enum breaker_state state)
{
  return state == BREAKER_OPEN ? "open" : state == BREAKER_HALF_OPEN ? "half-open" : "closed";
}

struct blob_breaker {
  struct blob blob;
  struct blob *inner;
  struct breaker breaker;
};

static struct blob_breaker *
of (struct blob *b)
{
  return (struct blob_breaker *) b;
}

static bool
admit (struct blob_breaker *k)
{
  bool ok = breaker_admit (&k->breaker);
  meter_breaker (k->blob.meter, breaker_state_of (&k->breaker));
  return ok;
}

static int
report (struct blob_breaker *k, int rc)
{
  enum breaker_state before = breaker_state_of (&k->breaker);
  breaker_report (&k->breaker, rc);
  enum breaker_state after = breaker_state_of (&k->breaker);
  meter_breaker (k->blob.meter, after);
  if (before == BREAKER_CLOSED && after == BREAKER_OPEN)
    log_warn ("the store does not answer: pausing requests, will go on by itself failures=%d",
              BREAKER_TRIP);
  if (before != BREAKER_CLOSED && after == BREAKER_CLOSED)
    log_info ("the store answers again");
  return rc;
}

static int
breaker_put (struct blob *b, const char *key, const void *data, size_t len,
             const struct blob_put_opts *opts)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_put (k->inner, key, data, len, opts)) : ERR_AGAIN;
}

static int
breaker_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_get (k->inner, key, off, len, out)) : ERR_AGAIN;
}

static int
breaker_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_get_all (k->inner, key, out)) : ERR_AGAIN;
}

static int
breaker_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_head (k->inner, key, out)) : ERR_AGAIN;
}

struct heard {
  blob_list_fn fn;
  void *ctx;
  bool is_callers; /* the caller's own code ended the listing */
};

static int
hear (void *ctx, const struct blob_entry *entry)
{
  struct heard *h = ctx;
  int rc = h->fn (h->ctx, entry);
  h->is_callers = rc != 0;
  return rc;
}

static int
breaker_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
              blob_list_fn fn, void *ctx)
{
  struct blob_breaker *k = of (b);
  if (!admit (k))
    return ERR_AGAIN;
  struct heard h = { .fn = fn, .ctx = ctx };
  int rc = blob_list (k->inner, prefix, start_after, is_delimited, hear, &h);
  report (k, h.is_callers ? 0 : rc);
  return rc;
}

static int
breaker_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_delete (k->inner, keys, n)) : ERR_AGAIN;
}

static int
breaker_now (struct blob *b, int64_t *out)
{
  struct blob_breaker *k = of (b);
  return admit (k) ? report (k, blob_now (k->inner, out)) : ERR_AGAIN;
}

static void
breaker_cancel (struct blob *b)
{
  blob_cancel (of (b)->inner);
}

static void
breaker_free (struct blob *b)
{
  struct blob_breaker *k = of (b);
  blob_free (k->inner);
  breaker_release (&k->breaker);
  free (k);
}

static const struct blob_ops breaker_ops = {
  .name = "breaker",
  .put = breaker_put,
  .get = breaker_get,
  .get_all = breaker_get_all,
  .head = breaker_head,
  .list = breaker_list,
  .del = breaker_delete,
  .now = breaker_now,
  .cancel = breaker_cancel,
  .free = breaker_free,
};

int
blob_breaker_new (struct blob **take, struct blob **out)
{
  AUTO (blob) inner = STEAL (*take);
  struct blob_breaker *k = calloc (1, sizeof *k);
  if (!k)
    return ERR_NOMEM;
  breaker_init (&k->breaker);
  k->blob = blob_over (inner, &breaker_ops);
  k->inner = STEAL (inner);
  *out = &k->blob;
  return 0;
}
