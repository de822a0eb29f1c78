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

/* How late a stop or an interrupt of the first is noticed, and that another may go before it. */
#define TICK_NS (20 * NS_PER_MS)

struct held_write {
  struct answer answer; /* first */
  struct held_write *next;
  struct held_request r; /* r.data: what was not taken, in `rest` */
  uint8_t *rest;         /* from bufpool */
  size_t rest_cap;
  int64_t deadline, short_at;
};

struct held {
  /* immutable after new */
  struct fs *fs;
  struct pool *answerers;
  int64_t timeout_ns, short_ns; /* short_ns: 0, or when a count is cut short */
  pthread_t thread;
  struct lock lock;
  pthread_cond_t wake;
  size_t passed_over; /* owned by thread: since one was served */
  /* guarded by lock */
  struct held_write *head, *tail;
  size_t count;
  bool is_stopping;
};

/* ---- one write ---- */

static void
write_destroy (struct answer *a)
{
  struct held_write *w = (struct held_write *) a;
  if (w->rest)
    bufpool_put (w->rest, w->rest_cap);
  free (w);
}

/* What was taken is the answer; of a mapping's pages all must have been. */
static void
answer_now (struct held_write *w)
{
  if (w->r.is_writeback && w->r.done < w->r.len)
    fuse_reply_err (w->answer.req, EIO);
  else
    fuse_reply_write (w->answer.req, w->r.done);
}

static void
write_interrupted (struct answer *a)
{
  answer_now ((struct held_write *) a);
}

static void
expire (struct held *h, struct held_write *w)
{
  if (!answer_take (&w->answer))
    return;
  log_err ("a write waited too long for the store and failed waited_s=%lld node=%#llx",
           (long long) (h->timeout_ns / NS_PER_S), (unsigned long long) w->r.node);
  mount_write_expired (h->fs->mount, w->r.file);
  fuse_reply_err (w->answer.req, EIO);
}

/* The next parts of an admitted write.  True: it stands in line again; else it has been
 * answered. */
static bool
go_on (struct held *h, struct held_write *w)
{
  bool is_held = false;
  int rc = 0;
  if (!answer_pin (&w->answer))
    return false;
  bool may_be_short = w->short_at && clock_now () >= w->short_at && !w->r.is_writeback;
  while (rc == 0 && w->r.done < w->r.len && !is_held && !may_be_short) {
    size_t n = 0;
    rc = mount_write (h->fs->mount, w->r.file, w->r.off + w->r.done, w->r.data,
                      w->r.len - w->r.done,
                      &n, &is_held);
    if (rc == 0) {
      w->r.done += n;
      w->r.data += n;
    }
  }
  if (rc == 0 && w->r.done < w->r.len && !may_be_short) {
    if (answer_unpin (&w->answer))
      return true;
    answer_now (w);
  } else if (answer_take (&w->answer)) {
    if (rc < 0 && (w->r.done == 0 || w->r.is_writeback))
      reply_data_err (w->answer.req, rc);
    else
      answer_now (w);
  }
  return false;
}

/* ---- the queue ---- */

static void
append_locked (struct held *h, struct held_write *w)
{
  lock_assert_held (&h->lock);
  w->next = NULL;
  *(h->tail ? &h->tail->next : &h->head) = w;
  h->tail = w;
}

static struct held_write *
take_first (struct held *h, bool *is_stopping)
{
  LOCK_SCOPE (&h->lock);
  while (!h->head && !h->is_stopping)
    lock_wait (&h->wake, &h->lock);
  struct held_write *w = h->head;
  *is_stopping = h->is_stopping;
  if (w) {
    h->head = w->next;
    if (!h->head)
      h->tail = NULL;
  }
  return w;
}

static void
put_back (struct held *h, struct held_write *w, bool is_first)
{
  LOCK_SCOPE (&h->lock);
  if (is_first && h->head) {
    w->next = h->head;
    h->head = w;
  } else
    append_locked (h, w);
}

static void
forget (struct held *h, struct held_write *w)
{
  {
    LOCK_SCOPE (&h->lock);
    h->count--;
  }
  answer_unref (&w->answer);
}

/* One turn of the first in line; true: it waits on. */
static bool
serve_one (struct held *h, struct held_write *w, bool *is_first)
{
  *is_first = true;
  if (answer_is_taken (&w->answer))
    return false;
  int64_t left = w->deadline - clock_now ();
  int rc = left <= 0 ? ERR_AGAIN : 0;
  if (rc == 0 && !mount_may_write (h->fs->mount, w->r.file))
    rc = mount_admit (h->fs->mount, w->r.file, left < TICK_NS ? left : TICK_NS);
  if (rc == ERR_AGAIN && clock_now () < w->deadline)
    return true;
  if (rc == ERR_AGAIN)
    expire (h, w);
  else if (rc < 0) {
    if (answer_take (&w->answer)) /* the mount is ending: the bytes are taken, no more will be */
      answer_now (w);
  } else {
    *is_first = false;
    return go_on (h, w);
  }
  return false;
}

/* Who may write although there is no room goes first (he makes some); once round the queue. */
static bool
is_passed_over (struct held *h, struct held_write *w)
{
  if (h->passed_over >= held_count (h) || answer_is_taken (&w->answer)
      || mount_may_write (h->fs->mount, w->r.file)) {
    h->passed_over = 0;
    return false;
  }
  h->passed_over++;
  return true;
}

static void *
serve (void *arg)
{
  struct held *h = arg;
  pthread_setname_np (pthread_self (), "held");
  bool is_stopping, is_first;
  struct held_write *w;
  while ((w = take_first (h, &is_stopping))) {
    if (!is_stopping && is_passed_over (h, w)) {
      put_back (h, w, false);
      continue;
    }
    if (is_stopping && answer_take (&w->answer))
      answer_now (w);
    if (!is_stopping && serve_one (h, w, &is_first))
      put_back (h, w, is_first);
    else
      forget (h, w);
  }
  return NULL;
}

void
held_add (struct held *h, const struct held_request *r)
{
  struct held_write *w = calloc (1, sizeof *w);
  size_t left = r->len - r->done;
  if (w && left)
    w->rest = bufpool_get (left, &w->rest_cap);
  if (!w || (left && !w->rest)) { /* without memory to wait in, what was taken is the answer */
    free (w);
    if (r->is_writeback && left)
      fuse_reply_err (r->req, EIO);
    else
      fuse_reply_write (r->req, r->done);
    return;
  }
  w->r = *r;
  if (left)
    memcpy (w->rest, r->data + r->done, left);
  w->r.data = w->rest;
  int64_t now = clock_now ();
  w->deadline = now + h->timeout_ns;
  w->short_at = h->short_ns ? now + h->short_ns : 0;
  answer_init (&w->answer, r->req, h->answerers, write_interrupted, write_destroy);
  answer_arm (&w->answer);
  LOCK_SCOPE (&h->lock);
  append_locked (h, w);
  h->count++;
  pthread_cond_signal (&h->wake);
}

size_t
held_count (struct held *h)
{
  LOCK_SCOPE (&h->lock);
  return h->count;
}

/* ---- life ---- */

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
static void
set_timeouts (struct held *h, int64_t timeout_ns)
{
  static const char *const names[] = { "max_request_timeout", "default_request_timeout" };
  h->timeout_ns = timeout_ns;
  for (int i = 0; i < 2; i++) {
    int64_t limit = kernel_timeout_ns (names[i]);
    if (limit <= 0)
      continue;
    if (!h->short_ns || limit / 2 < h->short_ns)
      h->short_ns = limit / 2;
    limit = limit / 10 * 8;
    if (limit < h->timeout_ns) {
      log_warn ("write-timeout is lowered to stay below the kernel's fs.fuse.%s seconds=%lld",
                names[i], (long long) (limit / NS_PER_S));
      h->timeout_ns = limit;
    }
  }
}

int
held_new (struct fs *fs, int64_t timeout_ns, struct held **out)
{
  struct held *h = calloc (1, sizeof *h);
  if (!h)
    return ERR_NOMEM;
  h->fs = fs;
  h->answerers = fs->answerers;
  set_timeouts (h, timeout_ns);
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
