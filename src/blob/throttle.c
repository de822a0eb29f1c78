/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/throttle.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"

/* one step of a very slow link; below it the calls would cost more */
#define BURST_MIN 512
#define RESERVE_MAX (1ull << 32) /* with the burst of the highest rate still below 2^33 */
#define RESERVE_SHARE 12 /* a twelfth of the rate drips out of the reserve */
#define SLICE_NS (50 * NS_PER_MS) /* how soon a sleeper notices a new rate or a cancel */

struct waiter {
  struct waiter *next;
  pthread_cond_t turn;
};

struct throttle {
  struct lock lock; /* guards what follows */
  uint64_t rate, burst;
  bool is_burst_fixed;
  int64_t level_tn; /* token-nanoseconds */
  int64_t reserve_tn;
  uint64_t reserve_max;
  int64_t at;       /* clock_now () to which level_tn has been brought */
  struct waiter *head, **tail;
  uint64_t granted, waited_ns;
  _Atomic bool is_cancelled;
};

/* The default burst and reserve of a rate. */
static void
set_burst (struct throttle *t, uint64_t rate)
{
  uint64_t burst = rate / 250 * 3 + rate % 250 * 3 / 250; /* 12 ms */
  t->burst = burst < BURST_MIN ? BURST_MIN : burst;
  t->reserve_max = rate / 10 < RESERVE_MAX ? rate / 10 : RESERVE_MAX;
}

static void
throttle_check (const struct throttle *t)
{
  if (t->level_tn < 0 || t->level_tn > (int64_t) t->burst * NS_PER_S || t->reserve_tn < 0
      || t->reserve_tn > (int64_t) t->reserve_max * NS_PER_S) {
    fprintf (stderr, "coffer: throttle level %lld, reserve %lld outside burst %llu, reserve %llu\n",
             (long long) t->level_tn, (long long) t->reserve_tn, (unsigned long long) t->burst,
             (unsigned long long) t->reserve_max);
    abort ();
  }
}

int
throttle_new (uint64_t rate, uint64_t burst, struct throttle **out)
{
  if (burst > THROTTLE_BURST_MAX || rate > THROTTLE_RATE_MAX)
    return ERR_LIMIT;
  struct throttle *t = calloc (1, sizeof *t);
  if (!t)
    return ERR_NOMEM;
  lock_init (&t->lock, LOCK_THROTTLE, "throttle");
  t->rate = rate;
  t->is_burst_fixed = burst != 0;
  if (burst)
    t->burst = burst;
  else
    set_burst (t, rate);
  t->level_tn = (int64_t) t->burst * NS_PER_S;
  t->at = clock_now ();
  t->tail = &t->head;
  *out = t;
  return 0;
}

void
throttle_free (struct throttle *t)
{
  if (!t)
    return;
  lock_destroy (&t->lock);
  free (t);
}

static void
refill_locked (struct throttle *t)
{
  lock_assert_held (&t->lock);
  int64_t now = clock_now (), full = (int64_t) t->burst * NS_PER_S;
  int64_t elapsed = now > t->at ? now - t->at : 0;
  t->at = now;
  if (!t->rate)
    return;
  /* Compared by division, so that a month of idleness cannot overflow the product. */
  int64_t reserve_full = (int64_t) t->reserve_max * NS_PER_S;
  int64_t room = full - t->level_tn + reserve_full - t->reserve_tn;
  if (elapsed > room / (int64_t) t->rate) {
    t->level_tn = full;
    t->reserve_tn = reserve_full;
    return;
  }
  int64_t dripped = elapsed * (int64_t) t->rate, extra = dripped / RESERVE_SHARE;
  extra = extra < t->reserve_tn ? extra : t->reserve_tn;
  t->reserve_tn -= extra;
  t->level_tn += dripped + extra;
  if (t->level_tn > full) {
    t->reserve_tn += t->level_tn - full;
    t->level_tn = full;
  }
  throttle_check (t);
}

static bool
must_stop (const struct throttle *t, const _Atomic bool *cancelled)
{
  return t->is_cancelled || (cancelled && *cancelled);
}

static void
give_back_locked (struct throttle *t, uint64_t n)
{
  lock_assert_held (&t->lock);
  int64_t full = (int64_t) t->burst * NS_PER_S, room = full - t->level_tn;
  t->granted -= n;
  t->level_tn = n > (uint64_t) (room / NS_PER_S) ? full : t->level_tn + (int64_t) n * NS_PER_S;
}

/* Grants up to N of the tokens that are there, a burst or less but never a crumb: all of N or a
 * full burst.  Returns what was granted; where it is 0, *WAIT_NS says how long until it can be
 * more. */
static uint64_t
grant_locked (struct throttle *t, uint64_t n, int64_t *wait_ns)
{
  refill_locked (t);
  if (!t->rate) {
    t->granted += n;
    return n;
  }
  uint64_t want = n < t->burst ? n : t->burst;
  int64_t lack = (int64_t) want * NS_PER_S - t->level_tn;
  if (lack > 0) {
    *wait_ns = lack / (int64_t) t->rate + 1;
    return 0;
  }
  t->level_tn -= (int64_t) want * NS_PER_S;
  t->granted += want;
  throttle_check (t);
  return want;
}

static void
queue_locked (struct throttle *t, struct waiter *w)
{
  w->next = NULL;
  *t->tail = w;
  t->tail = &w->next;
}

static void
unqueue_locked (struct throttle *t, struct waiter *w)
{
  struct waiter **p = &t->head;
  while (*p != w)
    p = &(*p)->next;
  *p = w->next;
  if (t->tail == &w->next)
    t->tail = p;
  if (t->head)
    pthread_cond_signal (&t->head->turn);
}

/* Only the head of the queue sleeps for tokens; the others wait to become the head. */
static int
take_in_turn_locked (struct throttle *t, struct waiter *me, uint64_t n,
                     const _Atomic bool *cancelled)
{
  uint64_t have = 0;
  while (have < n) {
    if (must_stop (t, cancelled)) {
      give_back_locked (t, have);
      return ERR_CANCELLED;
    }
    if (t->head != me) {
      (void) lock_wait_until (&me->turn, &t->lock, clock_now () + 4 * SLICE_NS);
      continue;
    }
    int64_t wait_ns = 0;
    uint64_t got = grant_locked (t, n - have, &wait_ns);
    have += got;
    if (got)
      continue;
    lock_release (&t->lock);
    clock_sleep (wait_ns < SLICE_NS ? wait_ns : SLICE_NS);
    lock_take (&t->lock);
  }
  return 0;
}

int
throttle_take (struct throttle *t, uint64_t n, const _Atomic bool *cancelled)
{
  LOCK_SCOPE (&t->lock);
  if (must_stop (t, cancelled))
    return ERR_CANCELLED;
  int64_t wait_ns;
  if (!t->head && (n <= t->burst || !t->rate) && grant_locked (t, n, &wait_ns) == n)
    return 0;
  int64_t began = clock_now ();
  struct waiter me;
  lock_cond_init (&me.turn);
  queue_locked (t, &me);
  int rc = take_in_turn_locked (t, &me, n, cancelled);
  unqueue_locked (t, &me);
  pthread_cond_destroy (&me.turn);
  t->waited_ns += (uint64_t) (clock_now () - began);
  return rc;
}

void
throttle_cancel (struct throttle *t)
{
  t->is_cancelled = true;
}

void
throttle_set_rate (struct throttle *t, uint64_t rate)
{
  LOCK_SCOPE (&t->lock);
  refill_locked (t);
  t->rate = rate < THROTTLE_RATE_MAX ? rate : THROTTLE_RATE_MAX;
  if (!t->is_burst_fixed)
    set_burst (t, t->rate);
  t->reserve_tn = 0;
  int64_t full = (int64_t) t->burst * NS_PER_S;
  if (t->level_tn > full)
    t->level_tn = full;
  throttle_check (t);
}

uint64_t
throttle_rate (struct throttle *t)
{
  LOCK_SCOPE (&t->lock);
  return t->rate;
}

uint64_t
throttle_granted (struct throttle *t)
{
  LOCK_SCOPE (&t->lock);
  return t->granted;
}

uint64_t
throttle_waited_ns (struct throttle *t)
{
  LOCK_SCOPE (&t->lock);
  return t->waited_ns;
}

int
throttle_set_take (const struct throttle_set *set, uint64_t n, const _Atomic bool *cancelled)
{
  for (int i = 0; i < THROTTLE_SET_MAX; i++) {
    int rc = set->t[i] ? throttle_take (set->t[i], n, cancelled) : 0;
    if (rc != 0)
      return rc;
  }
  return 0;
}

size_t
throttle_set_step (const struct throttle_set *set, size_t max)
{
  size_t step = max;
  for (int i = 0; i < THROTTLE_SET_MAX; i++) {
    struct throttle *t = set->t[i];
    if (!t)
      continue;
    LOCK_SCOPE (&t->lock);
    if (t->rate && t->burst < step)
      step = (size_t) t->burst;
  }
  return step;
}

uint64_t
throttle_set_rate_of (const struct throttle_set *set)
{
  uint64_t least = 0;
  for (int i = 0; i < THROTTLE_SET_MAX; i++) {
    uint64_t rate = set->t[i] ? throttle_rate (set->t[i]) : 0;
    if (rate && (!least || rate < least))
      least = rate;
  }
  return least;
}
