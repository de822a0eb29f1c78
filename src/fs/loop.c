/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/loop.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_MODULE "fs"
#include "base/log.h"

#define TICK_NS (4 * NS_PER_MS)
#define QUIET_TICKS 250 /* then nobody looks until all are at work again */

struct loop;
struct worker {
  struct loop *loop;
  pthread_t thread;
  struct fuse_buf buf; /* libfuse allocates it once */
};

struct loop {
  struct fuse_session *session;
  struct lock lock;
  pthread_cond_t wanted; /* by those that are parked: to be needed */
  sem_t over;            /* for loop_run: unlike a condition a signal interrupts it */
  unsigned reading, parked, count, most, standing;
  unsigned taken;      /* requests, by all */
  unsigned all_busy;   /* how often nobody was left to read */
  bool is_watched;     /* loop_run looks every TICK_NS */
  bool has_ended;
  int error; /* of the device, as libfuse has it */
  struct worker workers[];
};

static void *run (void *arg);

static int
add_locked (struct loop *l)
{
  struct worker *w = &l->workers[l->count];
  w->loop = l;
  if (pthread_create (&w->thread, NULL, run, w) != 0)
    return ERR_NOMEM;
  l->count++;
  return 0;
}

/* Waits to be needed.  False: all is over. */
static bool
begin_reading (struct loop *l)
{
  LOCK_SCOPE (&l->lock);
  while (!l->has_ended && l->reading >= l->standing) {
    l->parked++;
    lock_wait (&l->wanted, &l->lock);
    l->parked--;
  }
  l->reading += !l->has_ended;
  return !l->has_ended;
}

static void
help_locked (struct loop *l)
{
  if (l->parked)
    pthread_cond_signal (&l->wanted);
  else if (l->count < l->most)
    (void) !add_locked (l); /* without it the next request waits for one of those at work */
}

static void
end_reading (struct loop *l)
{
  LOCK_SCOPE (&l->lock);
  l->taken++;
  if (--l->reading || l->has_ended)
    return;
  if (l->count < l->standing)
    help_locked (l);
  l->all_busy++;
  if (!l->is_watched) {
    l->is_watched = true;
    sem_post (&l->over);
  }
}

/* Until the session ends, or somebody was left to read for QUIET_TICKS.  Where all are at work, and
 * none has come back since the last tick, they wait for the disk. */
static void
watch (struct loop *l)
{
  unsigned taken = 0, all_busy = 0, quiet = 0;
  while (!fuse_session_exited (l->session)) {
    struct timespec until;
    clock_gettime (CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + TICK_NS;
    until.tv_sec += ns / NS_PER_S;
    until.tv_nsec = ns % NS_PER_S;
    (void) sem_clockwait (&l->over, CLOCK_MONOTONIC, &until);
    LOCK_SCOPE (&l->lock);
    if (l->reading == 0 && l->taken == taken)
      help_locked (l);
    quiet = l->all_busy == all_busy && l->reading ? quiet + 1 : 0;
    taken = l->taken;
    all_busy = l->all_busy;
    if (quiet >= QUIET_TICKS) {
      l->is_watched = false;
      return;
    }
  }
}

static void *
run (void *arg)
{
  struct worker *w = arg;
  struct loop *l = w->loop;
  int old, got = 1;
  pthread_setcancelstate (PTHREAD_CANCEL_DISABLE, &old);
  while (got > 0 && !fuse_session_exited (l->session) && begin_reading (l)) {
    /* Only here, where nothing is held and nothing taken yet, may it be cancelled. */
    pthread_setcancelstate (PTHREAD_CANCEL_ENABLE, &old);
    got = fuse_session_receive_buf (l->session, &w->buf);
    pthread_setcancelstate (PTHREAD_CANCEL_DISABLE, &old);
    end_reading (l);
    if (got > 0)
      fuse_session_process_buf (l->session, &w->buf);
    else if (got == -EINTR)
      got = 1;
  }
  if (got < 0) {
    LOCK_SCOPE (&l->lock);
    l->error = got;
    fuse_session_exit (l->session);
  }
  sem_post (&l->over);
  return NULL;
}

static void
end_workers (struct loop *l)
{
  lock_take (&l->lock);
  l->has_ended = true; /* and no worker is added any more */
  pthread_cond_broadcast (&l->wanted);
  lock_release (&l->lock);
  for (unsigned i = 0; i < l->count; i++)
    pthread_cancel (l->workers[i].thread);
  for (unsigned i = 0; i < l->count; i++) {
    pthread_join (l->workers[i].thread, NULL);
    free (l->workers[i].buf.mem);
  }
}

static int
begin (struct loop *l)
{
  long cpus = sysconf (_SC_NPROCESSORS_ONLN);
  l->standing = cpus < 2 ? 2 : (unsigned) cpus;
  LOCK_SCOPE (&l->lock);
  return add_locked (l); /* the others with the first requests */
}

int
loop_run (struct fuse_session *session, unsigned most)
{
  struct loop *l = calloc (1, sizeof *l + most * sizeof l->workers[0]);
  if (!l)
    return ERR_NOMEM;
  l->session = session;
  l->most = most;
  lock_init (&l->lock, LOCK_SESSION, "workers");
  lock_cond_init (&l->wanted);
  sem_init (&l->over, 0, 0);
  int rc = begin (l);
  while (rc == 0 && !fuse_session_exited (session))
    if (sem_wait (&l->over) == 0)
      watch (l);
  end_workers (l);
  if (l->error) {
    log_err ("the FUSE session failed err=\"%s\"", strerror (-l->error));
    rc = ERR_IO;
  }
  fuse_session_reset (session);
  sem_destroy (&l->over);
  pthread_cond_destroy (&l->wanted);
  lock_destroy (&l->lock);
  free (l);
  return rc;
}
