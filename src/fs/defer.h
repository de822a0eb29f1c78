/* SPDX-License-Identifier: Apache-2.0 */
/* defer - calls that would wait for the network, moved off the FUSE worker.
 *
 * defer_call copies C with its names and value and gives it to the pool of waiters; C itself is
 * finished with.  An interrupt answers EINTR at once while the call is queued, and also while it
 * runs if its type has a `drop`.  No memory: the request is answered ENOMEM.
 * Bounds: one entry for each request the kernel keeps outstanding (max_background, and one a
 * thread). */
#ifndef COFFER_FS_DEFER_H
#define COFFER_FS_DEFER_H

#include "fs/fs_priv.h"

#define DEFER_THREADS 32 /* one for each reader that may wait on the store at once */

void defer_call (struct call *c);

#endif
