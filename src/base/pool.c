/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#define _GNU_SOURCE 1
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"

struct pool {
  /* immutable after new */
  char name[12];
  int thread_count;
  pthread_t *threads;
  struct lock lock;
  pthread_cond_t wake;
  /* guarded by lock */
  struct pool_job *head, *tail;
  size_t backlog;
  int idle;
  bool is_stopping;
};

static void *
work (void *arg)
{
  struct pool *p = arg;
  pthread_setname_np (pthread_self (), p->name);
  lock_take (&p->lock);
  for (;;) {
    while (!p->head && !p->is_stopping) {
      p->idle++;
      lock_wait (&p->wake, &p->lock);
      p->idle--;
    }
    struct pool_job *job = p->head;
    if (!job)
      break;
    p->head = job->next;
    if (!p->head)
      p->tail = NULL;
    p->backlog--;
    lock_release (&p->lock);
    job->next = NULL;
    job->run (job);
    lock_take (&p->lock);
  }
  lock_release (&p->lock);
  return NULL;
}

int
pool_new (const char *name, int threads, size_t stack, struct pool **out)
{
  struct pool *p = calloc (1, sizeof *p);
  if (!p)
    return ERR_NOMEM;
  snprintf (p->name, sizeof p->name, "%s", name);
  lock_init (&p->lock, LOCK_POOL, "pool");
  lock_cond_init (&p->wake);
  p->threads = calloc ((size_t) threads, sizeof *p->threads);
  if (!p->threads) {
    free (p);
    return ERR_NOMEM;
  }
  pthread_attr_t attr;
  pthread_attr_init (&attr);
  pthread_attr_setstacksize (&attr, stack ? stack : 256 << 10);
  sigset_t all, old;
  sigfillset (&all);
  pthread_sigmask (SIG_BLOCK, &all, &old);
  for (; p->thread_count < threads; p->thread_count++)
    if (pthread_create (&p->threads[p->thread_count], &attr, work, p) != 0)
      break;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  pthread_attr_destroy (&attr);
  if (p->thread_count < threads) {
    pool_free (p);
    return ERR_NOMEM;
  }
  *out = p;
  return 0;
}

void
pool_free (struct pool *p)
{
  if (!p)
    return;
  lock_take (&p->lock);
  p->is_stopping = true;
  pthread_cond_broadcast (&p->wake);
  lock_release (&p->lock);
  for (int i = 0; i < p->thread_count; i++)
    pthread_join (p->threads[i], NULL);
  pthread_cond_destroy (&p->wake);
  lock_destroy (&p->lock);
  free (p->threads);
  free (p);
}

static void
submit (struct pool *p, struct pool_job *job, bool first)
{
  lock_take (&p->lock);
  if (first || !p->head) {
    job->next = p->head;
    p->head = job;
    if (!p->tail)
      p->tail = job;
  } else {
    job->next = NULL;
    p->tail->next = job;
    p->tail = job;
  }
  p->backlog++;
  bool wake = p->idle > 0;
  lock_release (&p->lock);
  if (wake)
    pthread_cond_signal (&p->wake);
}

void
pool_submit (struct pool *p, struct pool_job *job)
{
  submit (p, job, false);
}

void
pool_submit_first (struct pool *p, struct pool_job *job)
{
  submit (p, job, true);
}

size_t
pool_backlog (struct pool *p)
{
  lock_take (&p->lock);
  size_t n = p->backlog;
  lock_release (&p->lock);
  return n;
}
