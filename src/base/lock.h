/* SPDX-License-Identifier: Apache-2.0 */
/* lock - mutexes with a rank, so that lock order is checked wherever it is taken.
 *
 * A thread may take a lock only if its rank is above every rank it holds; otherwise the process
 * aborts with both names (always compiled in: an inversion is a deadlock that has not happened
 * yet). Two locks of one rank are never held together.  Condition variables wait on a ranked lock
 * and leave the bookkeeping right.  Timeouts are CLOCK_MONOTONIC (lock_cond_init sets that).
 *
 * No driver call, no log line, no callback and no network is made under a lock. */
#ifndef COFFER_BASE_LOCK_H
#define COFFER_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Outermost first.  One line each; doc/threads.md says who takes what. */
enum lock_rank {
  LOCK_SESSION = 10,  /* fs: session, mounts */
  LOCK_MOUNT = 12,    /* snapshot: table of regions, vaults, open snapshots */
  LOCK_VAULT = 14,    /* snapshot: one vault's catalog */
  LOCK_SNAPSHOT = 16, /* snapshot: one open snapshot's state */
  LOCK_FILE = 18,     /* snapshot: one open file */
  LOCK_TREE = 20,     /* snapshot: working tree tables */
  LOCK_SEALED = 22,   /* snapshot: page table of a sealed tree */
  LOCK_FETCH = 30,    /* store: read planner */
  LOCK_CACHE = 32,    /* cache: block cache index */
  LOCK_PIPE = 40,     /* store: pipeline accounting */

  LOCK_LANE = 44,     /* store: packer lanes */
  LOCK_INDEX = 45,    /* store: dedup index */
  LOCK_UPLOAD = 46,   /* store: upload queue */
  LOCK_HELD = 48,     /* fs: requests whose answer waits */
  LOCK_POOL = 50,     /* base: thread pool and queue */
  LOCK_BLOB = 60,     /* blob: backend state, connection pool */
  LOCK_BREAKER = 62,
  LOCK_THROTTLE = 64, /* leaf */
  LOCK_BUFPOOL = 66,  /* leaf */
  LOCK_STATS = 68,    /* leaf */
};

struct lock {
  pthread_mutex_t mutex;
  const char *name;
  int rank;
  _Atomic (uint64_t) holder; /* thread id or 0; for lock_assert_held */
};

#define LOCK_INIT(lock_rank, lock_name)                                       \
  { .mutex = PTHREAD_MUTEX_INITIALIZER, .name = (lock_name), .rank = (lock_rank) }

void lock_init (struct lock *l, enum lock_rank rank, const char *name);
void lock_destroy (struct lock *l);
void lock_take (struct lock *l);
bool lock_try (struct lock *l);
void lock_release (struct lock *l);
void lock_assert_held (const struct lock *l);
/* Aborts if this thread holds any ranked lock: opens functions that may wait for the network. */
void lock_assert_none (void);

void lock_cond_init (pthread_cond_t *c);
void lock_wait (pthread_cond_t *c, struct lock *l);
/* DEADLINE is on the clock_now() scale; returns false when it passed.  Never fake time. */
bool lock_wait_until (pthread_cond_t *c, struct lock *l, int64_t deadline);

static inline void
lock_releasep (struct lock **l)
{
  if (*l)
    lock_release (*l);
}
static inline struct lock *
lock_take_ret (struct lock *l)
{
  lock_take (l);
  return l;
}
#define LOCK_PASTE2(a, b) a##b
#define LOCK_PASTE(a, b) LOCK_PASTE2 (a, b)
/* Holds L until the end of the scope. */
#define LOCK_SCOPE(l)                                                         \
  __attribute__ ((cleanup (lock_releasep), unused)) \
  struct lock *LOCK_PASTE (lock_scope_, __LINE__) \
      = lock_take_ret (l)

#endif
