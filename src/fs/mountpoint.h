/* SPDX-License-Identifier: Apache-2.0 */
/* mountpoint - the directory that is mounted on (ruling 22).
 *
 * Bare, it must not take data: `cp` into it would fill the root disk and be taken for a backup.
 * Dead (the daemon crashed: every call gives ENOTCONN), it must be detached before it can be used
 * again. Threads: any.  Errors are logged here. */
#ifndef COFFER_FS_MOUNTPOINT_H
#define COFFER_FS_MOUNTPOINT_H

#include <stdbool.h>

#include "base/err.h"

enum mountpoint_state {
  MOUNTPOINT_BARE,   /* a directory, nothing mounted */
  MOUNTPOINT_LIVE,   /* coffer is mounted there and answers */
  MOUNTPOINT_DEAD,   /* coffer was, and its daemon is gone */
  MOUNTPOINT_OTHER,  /* something else is mounted there */
};
/* ERR_NOENT, ERR_NOTDIR: not a directory.  A mount that is there but does not answer blocks
 * this. */
int mountpoint_check (const char *path, enum mountpoint_state *out) WARN_UNUSED;
/* Detaches what is dead there; 0 also where there was nothing to do. */
int mountpoint_detach_dead (const char *path) WARN_UNUSED;
/* Makes the bare and empty directory unusable: mode 000, and immutable where the file system can.
 * Returns true where it is; says in the log what it could not do.  Mounting on it still works for
 * root. */
bool mountpoint_guard (const char *path);
/* Takes the guard away again (before the directory is removed): mode 755. */
int mountpoint_unguard (const char *path) WARN_UNUSED;
/* The device number of what is mounted at PATH, without asking the mount itself. */
int mountpoint_device (const char *path, unsigned *dev_major, unsigned *dev_minor) WARN_UNUSED;

#endif
