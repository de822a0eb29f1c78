/* SPDX-License-Identifier: Apache-2.0 */
/* pool - a fixed set of threads that run jobs in the order given.
 *
 * pool_submit never blocks and never fails: a job is embedded in its owner's object, so the queue
 * needs no memory.  How many jobs may exist at once is bounded by whoever makes them.
 * pool_free runs what is queued, then joins the threads.
 *
 * Threads: any may submit.  `run` is called without locks, once; the job may be resubmitted or
 * freed from inside it.  THREADS start with all signals blocked and STACK bytes of stack (0: 256
 * KiB). */
#ifndef COFFER_BASE_POOL_H
#define COFFER_BASE_POOL_H

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct pool;

struct pool_job {
  void (*run) (struct pool_job *job);
  struct pool_job *next; /* owned by the pool while queued */
};

int pool_new (const char *name, int threads, size_t stack, struct pool **out) WARN_UNUSED;
void pool_free (struct pool *p);
DEFINE_FREEP (pool);
void pool_submit (struct pool *p, struct pool_job *job);
/* Ahead of all others: for work that frees memory. */
void pool_submit_first (struct pool *p, struct pool_job *job);
size_t pool_backlog (struct pool *p);

#endif
