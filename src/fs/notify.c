/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/notify.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_NS (200 * NS_PER_MS) /* how often a seal that is under way is looked at */
#define SEALS_MAX 32   /* watched at once, one by one; more: is_overrun */
#define RENAMED_MAX 32 /* likewise */

struct attr_write {
  struct attr_write *next;
  struct held_request r; /* its data is gone: no more than what is done */
  bool is_held;
};

struct notify {
  /* immutable after new */
  struct fs *fs;
  pthread_t thread;
  struct lock lock;
  pthread_cond_t wake;
  /* guarded by lock */
  struct attr_write *head, *tail;
  char seals[SEALS_MAX][256]; /* paths; empty: free */
  struct renamed {
    uint64_t parent; /* 0: free */
    char name[256];
  } renamed[RENAMED_MAX];
  /* One more than a table holds was noted: all that is sealed is gone through, until no seal is
   * under way any more. */
  bool is_overrun;
  bool is_stopping;
};

/* ---- attributes ---- */

static void
answer_write (struct notify *n, struct attr_write *w)
{
  fuse_lowlevel_notify_inval_inode (n->fs->session, w->r.node, -1, 0);
  if (w->is_held)
    held_add (n->fs->held, &w->r);
  else
    fuse_reply_write (w->r.req, w->r.done);
  free (w);
}

void
notify_attr_then_write (struct notify *n, const struct held_request *r, bool is_held)
{
  struct attr_write *w = malloc (sizeof *w);
  if (!w) { /* the bytes are taken, so the answer stands; the mode shows within the hour */
    fuse_reply_write (r->req, r->done);
    return;
  }
  *w = (struct attr_write){ .r = *r, .is_held = is_held };
  w->r.len = r->done;
  LOCK_SCOPE (&n->lock);
  *(n->tail ? &n->tail->next : &n->head) = w;
  n->tail = w;
  pthread_cond_signal (&n->wake);
}

/* ---- seals ---- */

void
notify_watch_seal (struct notify *n, const char *path)
{
  LOCK_SCOPE (&n->lock);
  for (int i = 0; i < SEALS_MAX; i++)
    if (!n->seals[i][0] || strcmp (n->seals[i], path) == 0) {
      snprintf (n->seals[i], sizeof n->seals[i], "%s", path);
      pthread_cond_signal (&n->wake);
      return;
    }
  n->is_overrun = true;
  pthread_cond_signal (&n->wake);
}

void
notify_renamed (struct notify *n, uint64_t parent, const char *name)
{
  LOCK_SCOPE (&n->lock);
  for (int i = 0; i < RENAMED_MAX; i++)
    if (!n->renamed[i].parent) {
      n->renamed[i].parent = parent;
      snprintf (n->renamed[i].name, sizeof n->renamed[i].name, "%s", name);
      pthread_cond_signal (&n->wake);
      return;
    }
  n->is_overrun = true;
  pthread_cond_signal (&n->wake);
}

/* Waits in the kernel until the rename has returned: both take the directory's lock. */
static bool
forget_renamed (struct notify *n)
{
  struct renamed r = { .parent = 0 };
  {
    LOCK_SCOPE (&n->lock);
    for (int i = 0; i < RENAMED_MAX && !r.parent; i++) {
      r = n->renamed[i];
      n->renamed[i].parent = 0;
    }
  }
  if (r.parent)
    fuse_lowlevel_notify_inval_entry (n->fs->session, r.parent, r.name, strlen (r.name));
  return r.parent != 0;
}

/* The kernel forgets NAME in the vault of PATH. */
static void
forget_name (struct notify *n, const char *path)
{
  char part[256];
  struct node_stat st = { .node = NODE_ROOT };
  for (int i = 0; i < 2; i++) {
    size_t len = strcspn (path, "/");
    snprintf (part, sizeof part, "%.*s", (int) len, path);
    if (!path[len] || mount_lookup (n->fs->mount, st.node, part, 0, &st) < 0)
      return;
    path += len + 1;
  }
  fuse_lowlevel_notify_inval_entry (n->fs->session, st.node, path, strlen (path));
}

/* What the tables had no room for: the names of all that is sealed and that the kernel still holds
 * as it was before. */
static void
forget_lingering (struct notify *n)
{
  {
    LOCK_SCOPE (&n->lock);
    if (!n->is_overrun)
      return;
    n->is_overrun = false;
  }
  bool is_sealing = mount_is_sealing (n->fs->mount); /* first: one that ends now is met below */
  uint64_t dir;
  char sealed[128], open[128];
  for (uint32_t at = 0; mount_next_lingering (n->fs->mount, &at, &dir, sealed, open);) {
    fuse_lowlevel_notify_inval_entry (n->fs->session, dir, sealed, strlen (sealed));
    fuse_lowlevel_notify_inval_entry (n->fs->session, dir, open, strlen (open));
  }
  LOCK_SCOPE (&n->lock);
  n->is_overrun |= is_sealing;
}

/* True where the seal of PATH is under way still. */
static bool
is_sealing (struct fs *fs, const char *path)
{
  AUTO_MEM struct snapshot_info *list = NULL;
  char name[256];
  size_t count;
  if (mount_snapshots (fs->mount, &list, &count) < 0)
    return false;
  for (size_t i = 0; i < count; i++) {
    snprintf (name, sizeof name, "%s/%s/%s", list[i].region, list[i].vault, list[i].name);
    if (strcmp (name, path) == 0)
      return list[i].state == SNAP_SEALING;
  }
  return false;
}

static void
look_at_seals (struct notify *n)
{
  for (int i = 0; i < SEALS_MAX; i++) {
    char path[256];
    {
      LOCK_SCOPE (&n->lock);
      memcpy (path, n->seals[i], sizeof path);
    }
    if (!path[0] || is_sealing (n->fs, path))
      continue;
    forget_name (n, path);
    LOCK_SCOPE (&n->lock);
    if (strcmp (path, n->seals[i]) == 0)
      n->seals[i][0] = 0;
  }
}

static bool
has_renamed_locked (const struct notify *n)
{
  lock_assert_held (&n->lock);
  for (int i = 0; i < RENAMED_MAX; i++)
    if (n->renamed[i].parent)
      return true;
  return false;
}

static bool
has_seals_locked (const struct notify *n)
{
  lock_assert_held (&n->lock);
  for (int i = 0; i < SEALS_MAX; i++)
    if (n->seals[i][0])
      return true;
  return false;
}

/* ---- the thread ---- */

/* The next write to answer; NULL with *is_end: stopping; NULL: time to look at the seals. */
static struct attr_write *
next (struct notify *n, bool *is_end)
{
  LOCK_SCOPE (&n->lock);
  int64_t deadline = clock_now () + LOOK_NS;
  while (!n->head && !n->is_stopping && !has_renamed_locked (n)) {
    if (!has_seals_locked (n) && !n->is_overrun)
      lock_wait (&n->wake, &n->lock);
    else if (!lock_wait_until (&n->wake, &n->lock, deadline))
      break;
  }
  struct attr_write *w = n->head;
  if (w) {
    n->head = w->next;
    if (!n->head)
      n->tail = NULL;
  }
  *is_end = !w && n->is_stopping;
  return w;
}

static void *
serve (void *arg)
{
  struct notify *n = arg;
  pthread_setname_np (pthread_self (), "notify");
  bool is_end = false;
  while (!is_end) {
    struct attr_write *w = next (n, &is_end);
    if (w)
      answer_write (n, w);
    else if (!is_end && !forget_renamed (n)) {
      look_at_seals (n);
      forget_lingering (n);
    }
  }
  return NULL;
}

int
notify_new (struct fs *fs, struct notify **out)
{
  struct notify *n = calloc (1, sizeof *n);
  if (!n)
    return ERR_NOMEM;
  n->fs = fs;
  lock_init (&n->lock, LOCK_HELD, "notify");
  lock_cond_init (&n->wake);
  sigset_t all, old;
  sigfillset (&all);
  pthread_sigmask (SIG_BLOCK, &all, &old);
  int rc = pthread_create (&n->thread, NULL, serve, n);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (rc != 0) {
    pthread_cond_destroy (&n->wake);
    lock_destroy (&n->lock);
    free (n);
    return ERR_NOMEM;
  }
  *out = n;
  return 0;
}

void
notify_free (struct notify *n)
{
  if (!n)
    return;
  lock_take (&n->lock);
  n->is_stopping = true;
  pthread_cond_signal (&n->wake);
  lock_release (&n->lock);
  pthread_join (n->thread, NULL);
  pthread_cond_destroy (&n->wake);
  lock_destroy (&n->lock);
  free (n);
}
