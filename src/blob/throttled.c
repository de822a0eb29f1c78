/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/throttled.h"

#include <stdatomic.h>
#include <stdlib.h>

struct blob_throttled {
  struct blob blob;
  struct blob *inner;
  struct throttle_set down; /* up: blob.up */
  _Atomic bool is_cancelled;
};

static struct blob_throttled *
of (struct blob *b)
{
  return (struct blob_throttled *) b;
}

struct paying {
  struct blob_throttled *t;
  const struct blob_put_opts *opts;
  uint64_t len, paid;
  int rc;
};

/* Pays so that the next step may go out. */
static void
pay_ahead (struct paying *p, uint64_t sent)
{
  uint64_t until = sent + THROTTLED_STEP < p->len ? sent + THROTTLED_STEP : p->len;
  while (p->rc == 0 && p->paid < until) {
    uint64_t n = throttle_set_step (&p->t->blob.up, until - p->paid);
    p->rc = throttle_set_take (&p->t->blob.up, n, &p->t->is_cancelled);
    p->paid += n;
  }
}

static void
on_progress (void *ctx, uint64_t sent)
{
  struct paying *p = ctx;
  if (p->opts->progress)
    p->opts->progress (p->opts->ctx, sent);
  pay_ahead (p, sent);
}

static int
throttled_put (struct blob *b, const char *key, const void *data, size_t len,
               const struct blob_put_opts *opts)
{
  struct blob_throttled *t = of (b);
  struct paying p = { .t = t, .opts = opts, .len = len };
  bool is_limited = throttle_set_rate_of (&t->blob.up) != 0;
  if (!is_limited) /* one write(2); a limit set meanwhile holds from the next object on */
    return throttle_set_take (&t->blob.up, len, &t->is_cancelled) ? ERR_CANCELLED
                                                             : blob_put (t->inner, key, data, len,
                                                                         opts);
  struct blob_put_opts with_progress = *opts;
  with_progress.progress = on_progress;
  with_progress.ctx = &p;
  pay_ahead (&p, 0);
  if (p.rc != 0)
    return p.rc;
  int rc = blob_put (t->inner, key, data, len, &with_progress);
  return rc != 0 ? rc : p.rc;
}

static int
pay_down (struct blob_throttled *t, uint64_t n)
{
  while (n) {
    uint64_t step = throttle_set_step (&t->down, n < THROTTLED_STEP ? (size_t) n : THROTTLED_STEP);
    int rc = throttle_set_take (&t->down, step, &t->is_cancelled);
    if (rc != 0)
      return rc;
    n -= step;
  }
  return 0;
}

static int
throttled_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct blob_throttled *t = of (b);
  if (throttle_set_rate_of (&t->down) == 0) {
    int rc = throttle_set_take (&t->down, len, &t->is_cancelled);
    return rc != 0 ? rc : blob_get (t->inner, key, off, len, out);
  }
  for (size_t done = 0; done < len;) {
    size_t n = len - done < THROTTLED_STEP ? len - done : THROTTLED_STEP;
    int rc = pay_down (t, n);
    if (rc == 0)
      rc = blob_get (t->inner, key, off + done, n, (uint8_t *) out + done);
    if (rc != 0)
      return rc;
    done += n;
  }
  return 0;
}

static int
throttled_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct blob_throttled *t = of (b);
  if (throttle_set_rate_of (&t->down) != 0) {
    /* Paid in advance by the size there is now: one read, so it cannot mix two versions. */
    struct blob_info info;
    int rc = blob_head (t->inner, key, &info);
    if (rc == 0)
      rc = pay_down (t, info.size);
    if (rc != 0)
      return rc;
  }
  return blob_get_all (t->inner, key, out);
}

static int
throttled_head (struct blob *b, const char *key, struct blob_info *out)
{
  return blob_head (of (b)->inner, key, out);
}

static int
throttled_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
                blob_list_fn fn, void *ctx)
{
  return blob_list (of (b)->inner, prefix, start_after, is_delimited, fn, ctx);
}

static int
throttled_delete (struct blob *b, const char *const *keys, size_t n)
{
  return blob_delete (of (b)->inner, keys, n);
}

static int
throttled_now (struct blob *b, int64_t *out)
{
  return blob_now (of (b)->inner, out);
}

static void
throttled_cancel (struct blob *b)
{
  of (b)->is_cancelled = true;
  blob_cancel (of (b)->inner);
}

static void
throttled_free (struct blob *b)
{
  blob_free (of (b)->inner);
  free (b);
}

static const struct blob_ops throttled_ops = {
  .name = "throttled",
  .put = throttled_put,
  .get = throttled_get,
  .get_all = throttled_get_all,
  .head = throttled_head,
  .list = throttled_list,
  .del = throttled_delete,
  .now = throttled_now,
  .cancel = throttled_cancel,
  .free = throttled_free,
};

int
blob_throttled_new (struct blob **take, const struct throttle_set *up,
                    const struct throttle_set *down, struct blob **out)
{
  AUTO (blob) inner = STEAL (*take);
  struct blob_throttled *t = calloc (1, sizeof *t);
  if (!t)
    return ERR_NOMEM;
  t->blob = blob_over (inner, &throttled_ops);
  t->blob.up = *up;
  t->down = *down;
  t->inner = STEAL (inner);
  *out = &t->blob;
  return 0;
}
