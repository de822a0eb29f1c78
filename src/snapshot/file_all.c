/* SPDX-License-Identifier: Apache-2.0 */
/* All files of a snapshot that have data in memory or in an overlay; waiting for one of them. */
#include "snapshot/file_priv.h"

#include <stdlib.h>

#include "base/clock.h"

/* The inodes on the dirty list, each pinned once more and its data in use: where it went and came
 * again meanwhile, who pushes it would not see what was written since. */
static int
dirty_inodes (struct snap *s, struct inode ***out, size_t *n)
{
  LOCK_SCOPE (&s->lock);
  size_t count = 0;
  for (struct filedata *d = s->dirty; d; d = d->next)
    count++;
  *out = calloc (count + 1, sizeof **out);
  *n = 0;
  if (!*out)
    return ERR_NOMEM;
  for (struct filedata *d = s->dirty; d; d = d->next) {
    LOCK_SCOPE (&d->inode->data_lock);
    d->users++;
    LOCK_SCOPE (&d->inode->tree->lock);
    d->inode->pins++;
    (*out)[(*n)++] = d->inode;
  }
  return 0;
}

bool
filedata_has_overlay (struct inode *i)
{
  LOCK_SCOPE (&i->data_lock);
  return i->data && i->data->overlay && !overlay_is_empty (i->data->overlay);
}

int
filedata_drain (struct snap *s)
{
  struct inode **all;
  size_t n;
  int rc = dirty_inodes (s, &all, &n);
  if (rc)
    return rc;
  for (size_t k = 0; k < n; k++) {
    if (rc == 0 && filedata_has_overlay (all[k]))
      rc = filedata_push (s, all[k], false);
    filedata_end (s, all[k]);
    worktree_put (all[k]);
  }
  free (all);
  return rc;
}

int
filedata_push_all (struct snap *s, bool is_group)
{
  struct inode **all;
  size_t n;
  int rc = dirty_inodes (s, &all, &n);
  if (rc)
    return rc;
  for (size_t k = 0; k < n; k++) {
    int one = filedata_push (s, all[k], is_group);
    rc = rc ? rc : one;
  }
  for (size_t k = 0; k < n; k++) {
    int one = filedata_wait_placed (s, all[k]);
    rc = rc ? rc : one;
    filedata_end (s, all[k]);
    worktree_put (all[k]);
  }
  free (all);
  return rc;
}

uint64_t
filedata_overlay_bytes (struct snap *s)
{
  uint64_t bytes = 0;
  LOCK_SCOPE (&s->lock);
  for (struct filedata *d = s->dirty; d; d = d->next) {
    LOCK_SCOPE (&d->inode->data_lock);
    bytes += d->overlay ? overlay_bytes (d->overlay) : 0;
  }
  return bytes;
}

/* At the end of a snapshot that is not sealed: nothing of this is wanted any more. */
void
filedata_drop_all (struct snap *s)
{
  struct inode **all;
  size_t n;
  if (dirty_inodes (s, &all, &n) != 0)
    return;
  for (size_t k = 0; k < n; k++) {
    (void) !filedata_wait_placed (s, all[k]);
    lock_take (&all[k]->data_lock);
    struct filedata *d = all[k]->data;
    if (d) {
      pipe_chunk_free (s->mount->line, STEAL (d->cur));
      window_drop (s, d);
      overlay_free (STEAL (d->overlay));
      d->error = 0;
      d->users = 0;
    }
    lock_release (&all[k]->data_lock);
    filedata_settle (s, all[k], false);
    worktree_put (all[k]);
  }
  free (all);
}

int
filedata_wait_placed (struct snap *s, struct inode *i)
{
  lock_take (&i->data_lock);
  uint32_t upto = i->data ? i->data->serial : 0;
  lock_release (&i->data_lock);
  pipe_kick (s->vault->pipe);
  LOCK_SCOPE (&s->lock);
  s->placed_waiters++;
  int rc = 0;
  for (;;) {
    bool is_flying = false;
    lock_take (&i->data_lock);
    for (struct flying *f = i->data ? i->data->flying : NULL; f; f = f->next)
      is_flying |= f->serial <= upto;
    rc = i->data ? i->data->error : 0;
    lock_release (&i->data_lock);
    if (!is_flying)
      break;
    /* The signal may slip between the look and the wait: never longer than this. */
    (void) lock_wait_until (&s->changed, &s->lock, clock_now () + 20 * NS_PER_MS);
  }
  s->placed_waiters--;
  return rc;
}
