/* SPDX-License-Identifier: Apache-2.0 */
/* session - one FUSE session over one `struct mount`.
 *
 *   fs_new      checks the options; starts nothing
 *   fs_mount    mounts; from here on the kernel queues requests.  No thread has been made, so the
 *               caller may still fork into the background and report a failure as its own
 *   fs_serve    makes the threads and answers until the mount is gone, a SIGTERM or SIGINT comes or
 *               fs_stop is called; unmounts; every request taken has been answered when it returns
 *   fs_free     the rest
 *
 * Threads: fs_serve's caller becomes libfuse's main loop; see doc/threads.md for the others.  They
 * block all signals; SIGTERM, SIGINT (stop) and SIGHUP (log_reopen) go to a thread of their own.
 * A FUSE worker never waits on the network: what would wait moves to the pool of defer.h. */
#ifndef COFFER_FS_SESSION_H
#define COFFER_FS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "snapshot/mount.h"

struct fs;

/* What the control directory needs from above.  Each may be NULL; none is called under a lock, and
 * none may wait on the network.  Text goes into OUT and ends in a newline. */
struct fs_control {
  void *ctx;
  /* The present rates of REGION ("host": the one for all), as throttle_set takes them. */
  int (*throttle_get) (void *ctx, const char *region, struct buf *out);
  /* "20MB", "up=20MB down=off", a schedule.  A refusal says why in REPLY. */
  int (*throttle_set) (void *ctx, const char *region, const char *text, struct buf *reply);
  int (*config) (void *ctx, struct buf *out);  /* the effective settings, without secrets */
  int (*history) (void *ctx, struct buf *out); /* one line for each backup, restore, validation */
  int (*metrics) (void *ctx, struct buf *out); /* Prometheus text to append */
  /* A command line that fs does not know.  ERR_NOTSUP: neither do I.  May wait. */
  int (*command) (void *ctx, const char *line, struct buf *reply);
};

struct fs_opts {
  const char *mountpoint;
  const char *fsname;          /* first column of /proc/mounts; NULL: "coffer" */
  const char *extra;           /* further mount options, comma separated; NULL: none */
  bool allow_other, read_only, debug;
  unsigned max_threads;        /* FUSE workers at most (loop.h); 0: 10 */
  unsigned read_ahead_kb;      /* of the kernel, raised after mounting where allowed; 0: 4096 */
  int64_t write_timeout_ns;    /* ruling 11; 0: one hour */
  uint64_t upload_rate;        /* never more than so many bytes per second; 0: not known */
  void (*ready) (void *ctx);   /* called once, when the mount has answered its first request */
  void *ready_ctx;
  struct fs_control control;
};

/* M outlives the fs.  ERR_INVALID: an unknown mount option (logged). */
int fs_new (struct mount *m, const struct fs_opts *opts, struct fs **out) WARN_UNUSED;
int fs_mount (struct fs *fs) WARN_UNUSED;
int fs_serve (struct fs *fs) WARN_UNUSED;
/* Ends fs_serve from any thread. */
void fs_stop (struct fs *fs);
/* True where fs_serve ended because it was told to (a signal, fs_stop, the command `umount`); false
 * where the mount was taken away (umount(8)). */
bool fs_was_stopped (const struct fs *fs);
void fs_free (struct fs *fs);
DEFINE_FREEP (fs);

/* The only table from enum err to errno; ERR is negative or 0. */
int err_to_errno (int err);

#endif
