/* SPDX-License-Identifier: Apache-2.0 */
/* Commit: groups of fsyncs.  All that wait share one round: push, close packs, one checkpoint. */
#define LOG_MODULE "snapshot"
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/snap.h"

int
snap_submit_to (struct pool *pool, struct snap *s, void (*run) (struct pool_job *job))
{
  struct snap_job *j = calloc (1, sizeof *j);
  if (!j)
    return ERR_NOMEM;
  j->job.run = run;
  j->snap = s;
  pool_submit (pool, &j->job);
  return 0;
}

int
snap_submit (struct snap *s, void (*run) (struct pool_job *job))
{
  return snap_submit_to (s->mount->workers, s, run);
}

int
snap_checkpoint (struct snap *s, unsigned flags)
{
  lock_take (&s->lock);
  while (s->is_committing)
    lock_wait (&s->changed, &s->lock);
  s->is_committing = true;
  lock_release (&s->lock);
  int rc = checkpoint_write (s, flags);
  LOCK_SCOPE (&s->lock);
  s->is_committing = false;
  pthread_cond_broadcast (&s->changed);
  return rc;
}

int
snap_commit (struct snap *s)
{
  struct pipe *pipe = s->vault->pipe;
  lock_take (&s->lock);
  while (s->is_pinning || s->is_committing)
    lock_wait (&s->changed, &s->lock);
  s->is_committing = s->had_commits = true;
  struct mount_wait *w = s->waiters;
  s->waiters = s->waiters_tail = NULL;
  int error = s->error;
  lock_release (&s->lock);
  int rc = error ? error : filedata_push_all (s);
  uint64_t ticket = 0;
  if (rc == 0) {
    ticket = pipe_close_packs (pipe, false);
    rc = pipe_wait_named (pipe, &s->dep, ticket);
  }
  if (rc == 0)
    rc = checkpoint_write (s, 0); /* beside the packs: a replay checks that they are there */
  if (rc == 0)
    rc = pipe_wait_durable (pipe, &s->dep, ticket);
  else { /* a pack that failed is the cause, its absence only what was met first */
    int cause = pipe_wait_durable (pipe, &s->dep, 0);
    rc = cause ? cause : rc;
  }
  lock_take (&s->lock);
  s->is_committing = false;
  s->wants_checkpoint = false;
  pthread_cond_broadcast (&s->changed);
  lock_release (&s->lock);
  while (w) {
    struct mount_wait *next = w->next;
    w->done (w, rc);
    w = next;
  }
  index_maintain (s->vault->index); /* this thread has time */
  return rc;
}

static void
commit_run (struct pool_job *job)
{
  struct snap *s = ((struct snap_job *) job)->snap;
  free (job);
  (void) !snap_commit (s); /* told to each waiter */
}

void
mount_fsync (struct mount *m, uint64_t node, struct file *f, struct mount_wait *w)
{
  struct snap *s = NULL;
  if (f)
    s = f->snap;
  else if (node_top (node) == TOP_OPEN) {
    LOCK_SCOPE (&m->lock);
    uint32_t no = node_number (node);
    s = no < m->snap_count ? m->snaps[no] : NULL;
  }
  if (!s) { /* sealed, or above snapshots: durable already */
    w->done (w, 0);
    return;
  }
  lock_take (&s->lock);
  bool is_over = s->life == LIFE_SEALED || s->life == LIFE_GONE;
  bool is_first = !s->waiters;
  w->next = NULL;
  if (!is_over) {
    if (s->waiters_tail)
      s->waiters_tail->next = w;
    else
      s->waiters = w;
    s->waiters_tail = w;
  }
  lock_release (&s->lock);
  if (is_over)
    w->done (w, 0);
  else if (is_first && snap_submit (s, commit_run) != 0)
    (void) !snap_commit (s); /* no memory for a job: here and now */
}

void
snap_checkpoint_start (struct snap *s)
{
  lock_take (&s->lock);
  bool is_mine = !s->wants_checkpoint && !s->waiters;
  s->wants_checkpoint |= is_mine;
  lock_release (&s->lock);
  if (is_mine && snap_submit (s, commit_run) != 0) {
    LOCK_SCOPE (&s->lock);
    s->wants_checkpoint = false;
  }
}
