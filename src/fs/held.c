/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/held.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/answer.h"

#define LOG_MODULE "fs"
#include "base/log.h"

#define TICK_NS (200 * NS_PER_MS) /* how late a stop or an interrupt of the first is noticed */

struct held_write {
  struct answer answer; /* first */
  struct held_write *next;
  struct file *file;
  size_t count;
  int64_t deadline;
};

struct held {
  /* immutable after new */
  struct fs *fs;
  struct pool *answerers;
  int64_t timeout_ns;
  pthread_t thread;
  struct lock lock;
  pthread_cond_t wake;
  /* guarded by lock */
  struct held_write *head, *tail;
  size_t count;
  bool is_stopping;
};

static void
write_destroy (struct answer *a)
{
  free (a);
}

static void
write_interrupted (struct answer *a)
{
  fuse_reply_write (a->req, ((struct held_write *) a)->count);
}

/* The first that nobody has answered; NULL: stopping, and the queue is empty. */
static struct held_write *
next_write (struct held *h, bool *is_stopping)
{
  LOCK_SCOPE (&h->lock);
  while (!h->head && !h->is_stopping)
    lock_wait (&h->wake, &h->lock);
  *is_stopping = h->is_stopping;
  return h->head;
}

static void
drop_first (struct held *h)
{
  struct held_write *w;
  {
    LOCK_SCOPE (&h->lock);
    w = h->head;
    h->head = w->next;
    if (!h->head)
      h->tail = NULL;
    h->count--;
  }
  answer_unref (&w->answer);
}

static void
expire (struct held *h, struct held_write *w)
{
  if (!answer_take (&w->answer))
    return;
  log_err ("a write waited too long for the store and failed waited_s=%lld node=%#llx",
           (long long) (h->timeout_ns / NS_PER_S), (unsigned long long) file_node (w->file));
  mount_write_expired (h->fs->mount, w->file);
  fuse_reply_err (w->answer.req, EIO);
}

static void *
serve (void *arg)
{
  struct held *h = arg;
  pthread_setname_np (pthread_self (), "held");
  bool is_stopping;
  struct held_write *w;
  while ((w = next_write (h, &is_stopping))) {
    if (!is_stopping && !answer_is_taken (&w->answer)) {
      int64_t left = w->deadline - clock_now ();
      int rc = left <= 0 ? ERR_AGAIN : mount_admit (h->fs->mount, left < TICK_NS ? left : TICK_NS);
      if (rc == ERR_AGAIN) {
        if (clock_now () < w->deadline)
          continue;
        expire (h, w);
      }
    }
    if (answer_take (&w->answer))
      fuse_reply_write (w->answer.req, w->count);
    drop_first (h);
  }
  return NULL;
}

static int64_t
kernel_timeout_ns (const char *name)
{
  char path[64];
  snprintf (path, sizeof path, "/proc/sys/fs/fuse/%s", name);
  FILE *f = fopen (path, "re");
  long long s = 0;
  if (!f)
    return 0;
  if (fscanf (f, "%lld", &s) != 1)
    s = 0;
  fclose (f);
  return s * NS_PER_S;
}

/* No answer may be kept so long that the kernel aborts the mount. */
static int64_t
bounded (int64_t timeout_ns)
{
  static const char *const names[] = { "max_request_timeout", "default_request_timeout" };
  for (int i = 0; i < 2; i++) {
    int64_t limit = kernel_timeout_ns (names[i]) / 10 * 8;
    if (limit > 0 && limit < timeout_ns) {
      log_warn ("write-timeout is lowered to stay below the kernel's fs.fuse.%s seconds=%lld",
                names[i], (long long) (limit / NS_PER_S));
      timeout_ns = limit;
    }
  }
  return timeout_ns;
}

int
held_new (struct fs *fs, int64_t timeout_ns, struct held **out)
{
  struct held *h = calloc (1, sizeof *h);
  if (!h)
    return ERR_NOMEM;
  h->fs = fs;
  h->answerers = fs->answerers;
  h->timeout_ns = bounded (timeout_ns);
  lock_init (&h->lock, LOCK_HELD, "held writes");
  lock_cond_init (&h->wake);
  sigset_t all, old;
  sigfillset (&all);
  pthread_sigmask (SIG_BLOCK, &all, &old);
  int rc = pthread_create (&h->thread, NULL, serve, h);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (rc != 0) {
    pthread_cond_destroy (&h->wake);
    lock_destroy (&h->lock);
    free (h);
    return ERR_NOMEM;
  }
  *out = h;
  return 0;
}

void
held_free (struct held *h)
{
  if (!h)
    return;
  lock_take (&h->lock);
  h->is_stopping = true;
  pthread_cond_signal (&h->wake);
  lock_release (&h->lock);
  pthread_join (h->thread, NULL);
  pthread_cond_destroy (&h->wake);
  lock_destroy (&h->lock);
  free (h);
}

void
held_add (struct held *h, fuse_req_t req, struct file *file, size_t count)
{
  struct held_write *w = malloc (sizeof *w);
  if (!w) { /* without memory to wait in, the answer goes at once: the bytes are taken */
    fuse_reply_write (req, count);
    return;
  }
  *w = (struct held_write){ .file = file, .count = count,
                            .deadline = clock_now () + h->timeout_ns };
  answer_init (&w->answer, req, h->answerers, write_interrupted, write_destroy);
  answer_arm (&w->answer);
  LOCK_SCOPE (&h->lock);
  if (h->tail)
    h->tail->next = w;
  else
    h->head = w;
  h->tail = w;
  h->count++;
  pthread_cond_signal (&h->wake);
}

size_t
held_count (struct held *h)
{
  LOCK_SCOPE (&h->lock);
  return h->count;
}
