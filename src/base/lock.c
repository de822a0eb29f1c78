/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define MAX_HELD 16

static __thread struct lock *held[MAX_HELD];
static __thread int held_count;

static uint64_t
self (void)
{
  return (uint64_t) pthread_self ();
}

static void
push (struct lock *l)
{
  if (held_count == MAX_HELD) {
    fprintf (stderr, "coffer: too many locks held taking %s\n", l->name);
    abort ();
  }
  held[held_count++] = l;
  l->holder = self ();
}

static void
pop (struct lock *l)
{
  l->holder = 0;
  for (int i = held_count - 1; i >= 0; i--)
    if (held[i] == l) {
      for (int k = i; k < held_count - 1; k++)
        held[k] = held[k + 1];
      held_count--;
      return;
    }
  fprintf (stderr, "coffer: releasing %s, which this thread does not hold\n", l->name);
  abort ();
}

static void
check_rank (const struct lock *l)
{
  for (int i = 0; i < held_count; i++)
    if (held[i]->rank >= l->rank) {
      fprintf (stderr, "coffer: lock order: taking %s (%d) while holding %s (%d)\n", l->name,
               l->rank, held[i]->name, held[i]->rank);
      abort ();
    }
}

void
lock_init (struct lock *l, enum lock_rank rank, const char *name)
{
  pthread_mutex_init (&l->mutex, NULL);
  l->rank = (int) rank;
  l->name = name;
  l->holder = 0;
}

void
lock_destroy (struct lock *l)
{
  pthread_mutex_destroy (&l->mutex);
}

void
lock_take (struct lock *l)
{
  check_rank (l);
  pthread_mutex_lock (&l->mutex);
  push (l);
}

bool
lock_try (struct lock *l)
{
  check_rank (l);
  if (pthread_mutex_trylock (&l->mutex) != 0)
    return false;
  push (l);
  return true;
}

void
lock_release (struct lock *l)
{
  pop (l);
  pthread_mutex_unlock (&l->mutex);
}

void
lock_assert_held (const struct lock *l)
{
  if (l->holder != self ()) {
    fprintf (stderr, "coffer: %s is not held here\n", l->name);
    abort ();
  }
}

void
lock_assert_none (void)
{
  if (held_count) {
    fprintf (stderr, "coffer: %s is held where no lock may be\n", held[0]->name);
    abort ();
  }
}

void
lock_cond_init (pthread_cond_t *c)
{
  pthread_condattr_t attr;
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (c, &attr);
  pthread_condattr_destroy (&attr);
}

void
lock_wait (pthread_cond_t *c, struct lock *l)
{
  lock_assert_held (l);
  l->holder = 0;
  pthread_cond_wait (c, &l->mutex);
  l->holder = self ();
}

bool
lock_wait_until (pthread_cond_t *c, struct lock *l, int64_t deadline)
{
  lock_assert_held (l);
  struct timespec ts = { .tv_sec = deadline / NS_PER_S, .tv_nsec = deadline % NS_PER_S };
  l->holder = 0;
  int rc = pthread_cond_timedwait (c, &l->mutex, &ts);
  l->holder = self ();
  return rc == 0;
}
