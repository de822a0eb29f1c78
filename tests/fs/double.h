/* SPDX-License-Identifier: Apache-2.0 */
/* double - an in-memory stand-in for the layer below src/fs (snapshot/mount.h), for tests of src/fs
 * alone.
 *
 * One region `ram`; its directories are vaults, theirs are snapshots: `mv T.partial T` makes one
 * sealed (its subtree answers EROFS from then on, by the same node ids).  Everything is in memory
 * under one mutex.  What a network would do is played by settings:
 *   wait_ms   every WAIT_EVERY-th call that may wait returns ERR_WOULDBLOCK, and sleeps so long
 *             without MOUNT_NOWAIT
 *   stuck     a lookup of the name "stuck" keeps its thread until somebody looks up "free"
 *   held      each write is held until double_admit lets it go
 * Counts references of open nodes, so that a test can see that none is lost: double_refs. */
#ifndef TESTS_FS_DOUBLE_H
#define TESTS_FS_DOUBLE_H

#include "snapshot/mount.h"

struct double_opts {
  int wait_ms, wait_every;
  bool is_held, has_stuck;
  int admit_per_s; /* 0: none is admitted */
};
int double_new (const struct double_opts *opts, struct mount **out);
/* References that lookups took and forget has not given back. */
int64_t double_refs (struct mount *m);
size_t double_open_files (struct mount *m);

#endif
