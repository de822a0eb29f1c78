/* SPDX-License-Identifier: Apache-2.0 */
/* Commit: groups of fsyncs.  All that wait share one round: push, close packs, one checkpoint.
 * Groups overlap: while one is on its way the next is built. */
#define LOG_MODULE "snapshot"
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/snap.h"

#define FLYING_MAX (1u << 20) /* a checkpoint longer than this flies alone */
#define OVERRUN_TURNS 16

/* A job is a use of its snapshot: the tree stays until it has ended. */
static void
run_job (struct pool_job *job)
{
  struct snap_job *j = (struct snap_job *) job;
  struct snap *s = j->snap;
  j->run (job);
  s->users--;
}

int
snap_submit_to (struct pool *pool, struct snap *s, void (*run) (struct pool_job *job))
{
  struct snap_job *j = calloc (1, sizeof *j);
  if (!j)
    return ERR_NOMEM;
  j->job.run = run_job;
  j->run = run;
  j->snap = s;
  s->users++;
  pool_submit (pool, &j->job);
  return 0;
}

/* ---- turns ----
 *
 * take -> build (one at a time) -> fly (at most CHECKPOINTS_FLYING, all their puts at once) -> end,
 * in the order taken.  What one fails, all after it fail as well: they build on it.  Only when the
 * last of them has ended does the next begin, from the last confirmed one. */

bool
snap_is_committing_locked (const struct snap *s)
{
  return s->turns_taken != s->turns_over;
}

static uint64_t
turn_take_locked (struct snap *s)
{
  lock_assert_held (&s->lock);
  while (s->is_building || s->turns_taken - s->turns_over >= CHECKPOINTS_FLYING || s->is_quiet
         || (s->broken && snap_is_committing_locked (s)))
    lock_wait (&s->changed, &s->lock);
  s->is_building = true;
  uint64_t turn = s->turns_taken++;
  unsigned now = (unsigned) (s->turns_taken - s->turns_over);
  s->turns_most = now > s->turns_most ? now : s->turns_most;
  return turn;
}

static void
turn_built (struct snap *s, uint64_t turn)
{
  LOCK_SCOPE (&s->lock);
  s->overruns[turn % CHECKPOINTS_FLYING] = s->is_overrun;
  s->is_building = false;
  s->is_syncing = false;
  s->is_overrun = false;
  pthread_cond_broadcast (&s->changed);
}

/* Waits for those before it.  RC is how its own building and sending ended; C (NULL: nothing was
 * built) is freed. */
static int
turn_end (struct snap *s, uint64_t turn, struct checkpoint *c, int rc)
{
  lock_take (&s->lock);
  while (s->turns_over != turn)
    lock_wait (&s->changed, &s->lock);
  if (c && rc == 0)
    rc = s->broken; /* it builds on that */
  bool is_first = c && rc && !s->broken;
  if (is_first)
    s->broken = rc;
  if (c && rc)
    checkpoint_give_log (c, &s->undone);
  bool undo = s->broken && s->turns_taken == turn + 1;
  lock_release (&s->lock);
  if (is_first)
    log_err ("a checkpoint could not be written vault=%s snapshot=%s err=\"%s\": what was written "
             "since the last one is not durable yet", s->vault->name, s->name.ts, err_str (rc));
  if (c && rc == 0)
    checkpoint_confirm (c);
  if (undo)
    checkpoint_undo (s, &s->undone);
  checkpoint_free (c);
  lock_take (&s->lock);
  if (undo) {
    buf_release (&s->undone);
    buf_init (&s->undone, CHANGELOG_MAX);
    s->broken = 0;
  }
  s->turns_over++;
  pthread_cond_broadcast (&s->changed);
  lock_release (&s->lock);
  return rc;
}

/* In its turn; a long one is sent before the next is built, for they lie in memory. */
static int
checkpoint_fly (struct snap *s, uint64_t turn, unsigned flags, uint64_t ticket,
                struct checkpoint **out)
{
  int rc = checkpoint_build (s, flags, (unsigned) (turn % CHECKPOINTS_FLYING), ticket, out);
  bool is_long = rc == 0 && checkpoint_bytes (*out) > FLYING_MAX;
  if (!is_long)
    turn_built (s, turn);
  if (rc == 0)
    rc = checkpoint_send (*out);
  if (is_long)
    turn_built (s, turn);
  return rc;
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
  uint64_t turn = turn_take_locked (s);
  lock_release (&s->lock);
  struct checkpoint *c = NULL;
  int rc = checkpoint_fly (s, turn, flags, 0, &c);
  return turn_end (s, turn, c, rc);
}

/* One turn for W; those who wait by now where it is NULL.  True in *again: something of what was
 * pushed was written over before it was told of. */
static int
commit_once (struct snap *s, struct mount_wait **w, bool *again)
{
  struct pipe *pipe = s->vault->pipe;
  lock_take (&s->lock);
  while (s->is_pinning)
    lock_wait (&s->changed, &s->lock);
  uint64_t turn = turn_take_locked (s);
  s->is_syncing = true;
  s->had_commits = true;
  s->wants_checkpoint = false;
  if (!*w) {
    *w = s->waiters;
    s->waiters = s->waiters_tail = NULL;
  }
  int error = s->error;
  lock_release (&s->lock);
  struct checkpoint *c = NULL;
  int rc = error ? error : filedata_push_all (s, true);
  uint64_t ticket = 0;
  if (rc == 0) {
    ticket = pipe_close_packs (pipe, false);
    rc = pipe_wait_named (pipe, &s->dep, ticket);
  }
  if (rc == 0) /* beside the packs: a replay checks that they are there */
    rc = checkpoint_fly (s, turn, 0, ticket, &c);
  else
    turn_built (s, turn);
  if (rc == 0)
    rc = pipe_wait_durable (pipe, &s->dep, ticket);
  else { /* a pack that failed is the cause, its absence only what was met first */
    int cause = pipe_wait_durable (pipe, &s->dep, 0);
    rc = cause ? cause : rc;
  }
  lock_take (&s->lock);
  *again = s->overruns[turn % CHECKPOINTS_FLYING];
  lock_release (&s->lock);
  return turn_end (s, turn, c, rc);
}

int
snap_commit (struct snap *s)
{
  struct mount_wait *w = NULL;
  bool again = false;
  int rc = 0, turns = 0;
  do
    rc = commit_once (s, &w, &again);
  while (w && rc == 0 && again && ++turns < OVERRUN_TURNS);
  if (w && rc == 0 && again) {
    log_err ("an fsync found no moment in which its files were not written over vault=%s "
             "snapshot=%s: the overlay is full; overlay-size would be larger", s->vault->name,
             s->name.ts);
    rc = ERR_IO;
  }
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
