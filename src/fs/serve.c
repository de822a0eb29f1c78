/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/held.h"
#include "fs/loop.h"
#include "fs/mountpoint.h"
#include "fs/notify.h"

#define LOG_MODULE "fs"
#include "base/log.h"

#define DEFAULT_THREADS 10      /* libfuse's; more gained nothing where one CPU serves the client */
#define DEFAULT_READ_AHEAD 4096 /* KiB: at 20 ms a request 287 MB/s instead of 12 */
#define WAKE_EVERY_NS (50 * NS_PER_MS)

struct watcher {
  struct fs *fs;
  pthread_t main, thread, starter;
  sigset_t signals;
  _Atomic (bool) has_ended;
};

static void
ignore_signal (int sig)
{
}

static void
raise_read_ahead (struct fs *fs)
{
  unsigned dev_major, dev_minor;
  char path[96], text[32];
  unsigned kb = fs->opts.read_ahead_kb ? fs->opts.read_ahead_kb : DEFAULT_READ_AHEAD;
  if (mountpoint_device (fs->mountpoint, &dev_major, &dev_minor) < 0)
    return;
  snprintf (path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", dev_major, dev_minor);
  int n = snprintf (text, sizeof text, "%u\n", kb);
  AUTO_FD fd = open (path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write (fd, text, (size_t) n) != n)
    log_info ("the kernel's read-ahead stays as it is: one sequential reader of a distant store is "
              "slower file=%s err=\"%s\"", path, strerror (errno));
}

static void *
start (void *arg)
{
  struct watcher *w = arg;
  struct statvfs st;
  pthread_setname_np (pthread_self (), "start");
  if (statvfs (w->fs->mountpoint, &st) == 0)
    raise_read_ahead (w->fs);
  if (w->fs->opts.ready && !w->has_ended)
    w->fs->opts.ready (w->fs->opts.ready_ctx);
  return NULL;
}

static void
reopen_log (void)
{
  int rc = log_reopen ();
  if (rc < 0)
    log_warn ("the log file could not be opened again err=\"%s\"", err_str (rc));
  else
    log_info ("log reopened");
}

/* The first ends the session, which answers what it has taken; the second does not wait for
 * that. */
static void
stop (struct fs *fs, int sig)
{
  if (!fs->is_stopping) {
    log_info ("stopping signal=%d", sig);
    fs->was_told = true;
    fs->is_stopping = true;
    fuse_session_exit (fs->session);
  } else if (fs->has_ended) {
    log_warn ("stopping now; what is not yet in the store is not waited for signal=%d", sig);
    mount_cancel (fs->mount);
  }
}

/* The device's descriptor becomes /dev/null: the kernel fails what is left of this mount, and late
 * answers of the pool go nowhere (closing it would let them go into whatever gets its number). */
static void
cut (struct fs *fs)
{
  int fd = fuse_session_fd (fs->session);
  struct pollfd p = { .fd = fd };
  if (poll (&p, 1, 0) == 1 && (p.revents & POLLERR))
    return; /* unmounted already: nobody hears, and libfuse must see that itself */
  AUTO_FD null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (fd >= 0 && (null < 0 || dup2 (null, fd) < 0))
    log_warn ("cannot cut the session err=\"%s\"", strerror (errno));
}

static void *
watch (void *arg)
{
  struct watcher *w = arg;
  pthread_setname_np (pthread_self (), "signals");
  struct timespec tick = { .tv_nsec = WAKE_EVERY_NS };
  while (!w->has_ended) {
    int sig = w->fs->is_stopping ? sigtimedwait (&w->signals, NULL, &tick)
                                 : sigwaitinfo (&w->signals, NULL);
    if (w->has_ended)
      break;
    if (sig == SIGHUP)
      reopen_log ();
    else if (sig == SIGTERM || sig == SIGINT)
      stop (w->fs, sig);
    if (w->fs->is_stopping)
      pthread_kill (w->main, SIGUSR2); /* repeated: it may come just before the loop sleeps */
  }
  return NULL;
}

static int
start_threads (struct watcher *w)
{
  if (pthread_create (&w->thread, NULL, watch, w) != 0)
    return ERR_NOMEM;
  if (pthread_create (&w->starter, NULL, start, w) == 0)
    return 0;
  w->has_ended = true;
  pthread_kill (w->thread, SIGHUP);
  pthread_join (w->thread, NULL);
  return ERR_NOMEM;
}

/* The signals as they were before; those that end us stay blocked until all is cleaned up. */
int
serve_loop (struct fs *fs)
{
  struct watcher w = { .fs = fs, .main = pthread_self () };
  struct sigaction ignore = { .sa_handler = ignore_signal }, old_usr2;
  struct sigaction pipe_ignore = { .sa_handler = SIG_IGN }, old_pipe;
  sigset_t old, usr2;
  sigemptyset (&w.signals);
  sigaddset (&w.signals, SIGTERM);
  sigaddset (&w.signals, SIGINT);
  sigaddset (&w.signals, SIGHUP);
  sigemptyset (&usr2);
  sigaddset (&usr2, SIGUSR2);
  sigaction (SIGUSR2, &ignore, &old_usr2);
  sigaction (SIGPIPE, &pipe_ignore, &old_pipe);
  pthread_sigmask (SIG_BLOCK, &w.signals, &old);
  pthread_sigmask (SIG_BLOCK, &usr2, NULL);
  int rc = start_threads (&w);
  pthread_sigmask (SIG_UNBLOCK, &usr2, NULL);
  if (rc == 0) {
    rc = loop_run (fs->session, fs->opts.max_threads ? fs->opts.max_threads : DEFAULT_THREADS);
    fs->is_stopping = true;
    fs->has_ended = true;
    notify_free (fs->notify); /* these two answer while there is somebody to hear */
    fs->notify = NULL;
    held_free (fs->held);
    fs->held = NULL;
    cut (fs);
    pthread_join (w.starter, NULL);
    fs_stop_helpers (fs);
    fuse_session_unmount (fs->session);
    fs->is_mounted = false;
    w.has_ended = true;
    pthread_kill (w.thread, SIGHUP);
    pthread_join (w.thread, NULL);
  }
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  sigaction (SIGUSR2, &old_usr2, NULL);
  sigaction (SIGPIPE, &old_pipe, NULL);
  return rc;
}
