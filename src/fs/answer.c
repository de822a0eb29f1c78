/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/answer.h"

void
answer_init (struct answer *a, fuse_req_t req, struct pool *pool,
             void (*interrupted) (struct answer *), void (*destroy) (struct answer *))
{
  a->req = req;
  a->pool = pool;
  a->interrupted = interrupted;
  a->destroy = destroy;
  atomic_init (&a->state, ANSWER_WAITING);
  atomic_init (&a->refs, 1);
  atomic_init (&a->was_interrupted, false);
}

static void
run_interrupted (struct pool_job *job)
{
  struct answer *a = (void *) ((char *) job - offsetof (struct answer, job));
  /* Waits until libfuse has left on_interrupt and let go of the request's lock. */
  fuse_req_interrupt_func (a->req, NULL, NULL);
  a->interrupted (a);
  answer_unref (a);
}

/* Under the request's lock; takes none of ours but the pool's. */
static void
on_interrupt (fuse_req_t req, void *data)
{
  struct answer *a = data;
  int want = ANSWER_WAITING;
  a->was_interrupted = true; /* before looking at the state: answer_unpin does it the other way */
  if (!atomic_compare_exchange_strong (&a->state, &want, ANSWER_TAKEN))
    return;
  answer_ref (a);
  a->job.run = run_interrupted;
  pool_submit (a->pool, &a->job);
}

void
answer_arm (struct answer *a)
{
  fuse_req_interrupt_func (a->req, on_interrupt, a);
}

bool
answer_take (struct answer *a)
{
  int was = atomic_exchange (&a->state, ANSWER_TAKEN);
  if (was == ANSWER_TAKEN)
    return false;
  /* An interrupt function at work right now is waited for, and none comes after. */
  fuse_req_interrupt_func (a->req, NULL, NULL);
  return true;
}

bool
answer_pin (struct answer *a)
{
  int want = ANSWER_WAITING;
  return atomic_compare_exchange_strong (&a->state, &want, ANSWER_PINNED);
}

bool
answer_unpin (struct answer *a)
{
  int want = ANSWER_WAITING;
  atomic_store (&a->state, ANSWER_WAITING);
  if (!a->was_interrupted || !atomic_compare_exchange_strong (&a->state, &want, ANSWER_TAKEN))
    return true;
  fuse_req_interrupt_func (a->req, NULL, NULL);
  return false;
}

bool
answer_is_taken (const struct answer *a)
{
  return atomic_load (&a->state) == ANSWER_TAKEN;
}

void
answer_ref (struct answer *a)
{
  atomic_fetch_add (&a->refs, 1);
}

void
answer_unref (struct answer *a)
{
  if (atomic_fetch_sub (&a->refs, 1) == 1)
    a->destroy (a);
}
