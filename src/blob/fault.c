/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "fault"
#include "blob/fault.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"

#define EXIT_KILLED 137 /* what a shell reports of kill -9 */
#define CALLS_MAX 100000 /* the record stops here, the counting does not */

struct blob_fault {
  struct blob blob;
  struct blob *inner;
  _Atomic bool is_cancelled;
  struct lock lock; /* guards what follows */
  pthread_cond_t wake;
  struct fault_rule rules[FAULT_RULES_MAX];
  size_t rule_count;
  bool is_dead, is_released, drop_unacked;
  struct fault_call *calls;
  size_t call_count, call_cap;
};

/* One call on its way. */
struct trip {
  struct blob_fault *fault;
  size_t index;           /* in the record */
  struct fault_rule rule; /* kind FAULT_NONE where no rule applies */
};

static struct blob_fault *
of (struct blob *b)
{
  return (struct blob_fault *) b;
}

static void
record_locked (struct blob_fault *f, enum fault_op op, const char *key, uint64_t len)
{
  lock_assert_held (&f->lock);
  size_t i = f->call_count++;
  if (i >= CALLS_MAX)
    return;
  if (i >= f->call_cap) {
    size_t cap = f->call_cap ? f->call_cap * 2 : 64;
    struct fault_call *v = realloc (f->calls, cap * sizeof *v);
    if (!v) {
      fprintf (stderr, "coffer: fault record: out of memory\n");
      abort ();
    }
    f->calls = v;
    f->call_cap = cap;
  }
  f->calls[i] = (struct fault_call){ .op = op, .len = len, .rc = 1 };
  snprintf (f->calls[i].key, sizeof f->calls[i].key, "%s", key);
}

static int
stall (struct blob_fault *f, uint64_t ms)
{
  int64_t until = clock_now () + (int64_t) ms * NS_PER_MS;
  LOCK_SCOPE (&f->lock);
  while (!f->is_released && !f->is_cancelled) {
    if (!ms)
      lock_wait (&f->wake, &f->lock);
    else if (!lock_wait_until (&f->wake, &f->lock, until))
      break;
  }
  return f->is_cancelled ? ERR_CANCELLED : 0;
}

static int
arrive (struct trip *t, int rc)
{
  struct blob_fault *f = t->fault;
  LOCK_SCOPE (&f->lock);
  if (t->index < f->call_count && t->index < CALLS_MAX)
    f->calls[t->index].rc = rc;
  return rc;
}

/* Begins a call; non-zero: it ends here with that error (already recorded). */
static int
depart (struct blob_fault *f, enum fault_op op, const char *key, uint64_t len, struct trip *t)
{
  *t = (struct trip){ .fault = f };
  int rc = 0;
  {
    LOCK_SCOPE (&f->lock);
    t->index = f->call_count;
    record_locked (f, op, key, len);
    const struct fault_rule *r = fault_rules_match (f->rules, f->rule_count, op, key);
    if (f->is_cancelled)
      rc = ERR_CANCELLED;
    else if (f->is_dead)
      rc = ERR_AGAIN;
    else if (r)
      t->rule = *r;
    if (rc == 0 && t->rule.kind == FAULT_DEAD) {
      f->is_dead = true;
      rc = ERR_AGAIN;
    }
  }
  if (t->rule.kind == FAULT_EXIT) {
    log_warn ("fault: ending the process before a call op=%s key=%s", fault_op_name (op), key);
    _exit (EXIT_KILLED);
  }
  if (rc == 0 && t->rule.kind == FAULT_FAIL)
    rc = t->rule.err;
  if (rc == 0 && t->rule.kind == FAULT_STALL)
    rc = stall (f, t->rule.arg);
  if (rc != 0)
    return arrive (t, rc);
  LOCK_SCOPE (&f->lock);
  if (t->index < f->call_count && t->index < CALLS_MAX)
    f->calls[t->index].is_forwarded = true;
  return 0;
}

/* What the caller hears of a forwarded call that returned RC. */
static int
hear (struct trip *t, int rc)
{
  struct blob_fault *f = t->fault;
  if (t->rule.kind == FAULT_EXIT_AFTER) {
    log_warn ("fault: ending the process after a call");
    _exit (EXIT_KILLED);
  }
  if (t->rule.kind == FAULT_LOSE && rc == 0)
    rc = t->rule.err;
  {
    LOCK_SCOPE (&f->lock);
    if (t->rule.kind == FAULT_DEAD_AFTER)
      f->is_dead = true;
    if (f->is_dead)
      rc = ERR_AGAIN; /* nobody is there any more to answer */
  }
  return arrive (t, rc);
}

static int
fault_put (struct blob *b, const char *key, const void *data, size_t len,
           const struct blob_put_opts *opts)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_PUT, key, len, &t);
  if (rc != 0)
    return rc;
  struct blob_info info;
  bool may_drop = f->drop_unacked && (t.rule.kind == FAULT_NONE || t.rule.kind == FAULT_STALL);
  bool was_absent = may_drop && blob_head (f->inner, key, &info) == ERR_MISSING;
  rc = blob_put (f->inner, key, data, len, opts);
  int heard = hear (&t, rc);
  if (was_absent && rc == 0 && heard != 0)
    (void) !blob_delete (f->inner, &key, 1); /* died meanwhile: it never arrived */
  return heard;
}

static void
alter (const struct trip *t, uint8_t *p, size_t len)
{
  if (t->rule.kind == FAULT_CORRUPT && len)
    p[t->rule.arg % len] ^= 0x40;
}

static int
fault_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_GET, key, len, &t);
  if (rc != 0)
    return rc;
  rc = blob_get (f->inner, key, off, len, out);
  if (rc == 0 && t.rule.kind == FAULT_TRUNCATE && off + len > t.rule.arg)
    rc = ERR_LIMIT;
  if (rc == 0)
    alter (&t, out, len);
  return hear (&t, rc);
}

static int
fault_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_GET, key, 0, &t);
  if (rc != 0)
    return rc;
  size_t before = out->len;
  rc = blob_get_all (f->inner, key, out);
  if (rc == 0 && t.rule.kind == FAULT_TRUNCATE && out->len - before > t.rule.arg)
    out->len = before + t.rule.arg;
  if (rc == 0)
    alter (&t, out->data + before, out->len - before);
  rc = hear (&t, rc);
  if (rc != 0 && !buf_error (out))
    out->len = before;
  return rc;
}

static int
fault_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_HEAD, key, 0, &t);
  return rc != 0 ? rc : hear (&t, blob_head (f->inner, key, out));
}

struct cut {
  blob_list_fn fn;
  void *ctx;
  uint64_t left;
  bool is_cut;
};

static int
cut_entry (void *ctx, const struct blob_entry *e)
{
  struct cut *c = ctx;
  if (c->left == 0) {
    c->is_cut = true;
    return 1;
  }
  c->left--;
  return c->fn (c->ctx, e);
}

static int
fault_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
            blob_list_fn fn, void *ctx)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_LIST, prefix, 0, &t);
  if (rc != 0)
    return rc;
  struct cut c = { .fn = fn, .ctx = ctx, .left = UINT64_MAX };
  if (t.rule.kind == FAULT_TRUNCATE)
    c.left = t.rule.arg;
  rc = blob_list (f->inner, prefix, start_after, is_delimited, cut_entry, &c);
  return hear (&t, c.is_cut ? 0 : rc);
}

static int
fault_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_DELETE, keys[0], n, &t);
  return rc != 0 ? rc : hear (&t, blob_delete (f->inner, keys, n));
}

static int
fault_now (struct blob *b, int64_t *out)
{
  struct blob_fault *f = of (b);
  struct trip t;
  int rc = depart (f, FAULT_OP_NOW, "", 0, &t);
  return rc != 0 ? rc : hear (&t, blob_now (f->inner, out));
}

static void
fault_cancel (struct blob *b)
{
  struct blob_fault *f = of (b);
  {
    LOCK_SCOPE (&f->lock);
    f->is_cancelled = true;
    pthread_cond_broadcast (&f->wake);
  }
  blob_cancel (f->inner);
}

static void
fault_free (struct blob *b)
{
  struct blob_fault *f = of (b);
  blob_free (f->inner);
  pthread_cond_destroy (&f->wake);
  lock_destroy (&f->lock);
  free (f->calls);
  free (f);
}

static const struct blob_ops fault_ops = {
  .name = "fault",
  .put = fault_put,
  .get = fault_get,
  .get_all = fault_get_all,
  .head = fault_head,
  .list = fault_list,
  .del = fault_delete,
  .now = fault_now,
  .cancel = fault_cancel,
  .free = fault_free,
};

int
blob_fault_set (struct blob *b, const char *spec)
{
  struct blob_fault *f = of (b);
  struct fault_rule rules[FAULT_RULES_MAX];
  int n = fault_rules_parse (spec ? spec : "", rules, FAULT_RULES_MAX);
  if (n < 0)
    return n;
  LOCK_SCOPE (&f->lock);
  if (n)
    memcpy (f->rules, rules, (size_t) n * sizeof *rules);
  f->rule_count = (size_t) n;
  f->is_dead = f->is_released = false;
  return 0;
}

int
blob_fault_new (struct blob **take, const char *spec, struct blob **out)
{
  AUTO (blob) inner = STEAL (*take);
  struct blob_fault *f = calloc (1, sizeof *f);
  if (!f)
    return ERR_NOMEM;
  f->blob = blob_over (inner, &fault_ops);
  f->inner = STEAL (inner);
  lock_init (&f->lock, LOCK_BLOB, "blob_fault");
  lock_cond_init (&f->wake);
  AUTO (blob) b = &f->blob;
  int rc = blob_fault_set (b, spec);
  if (rc != 0)
    return rc;
  *out = STEAL (b);
  return 0;
}

void
blob_fault_set_drop_unacked (struct blob *b, bool on)
{
  LOCK_SCOPE (&of (b)->lock);
  of (b)->drop_unacked = on;
}

void
blob_fault_release (struct blob *b)
{
  LOCK_SCOPE (&of (b)->lock);
  of (b)->is_released = true;
  pthread_cond_broadcast (&of (b)->wake);
}

size_t
blob_fault_count (struct blob *b)
{
  LOCK_SCOPE (&of (b)->lock);
  return of (b)->call_count;
}

bool
blob_fault_call (struct blob *b, size_t i, struct fault_call *out)
{
  LOCK_SCOPE (&of (b)->lock);
  if (i >= of (b)->call_count || i >= CALLS_MAX)
    return false;
  *out = of (b)->calls[i];
  return true;
}

size_t
blob_fault_count_of (struct blob *b, enum fault_op op, const char *key)
{
  struct blob_fault *f = of (b);
  LOCK_SCOPE (&f->lock);
  size_t n = 0;
  for (size_t i = 0; i < f->call_count && i < CALLS_MAX; i++)
    n += (op == FAULT_OP_ANY || f->calls[i].op == op) && strstr (f->calls[i].key, key);
  return n;
}

void
blob_fault_forget_calls (struct blob *b)
{
  LOCK_SCOPE (&of (b)->lock);
  of (b)->call_count = 0;
}
