/* SPDX-License-Identifier: Apache-2.0 */
/* held - writes whose bytes were taken and whose answer is kept back (back-pressure, ruling 11).
 *
 * First come, first answered: one thread asks mount_admit for each.  An interrupt answers with the
 * count at once, for the bytes are taken.  What waits longer than the timeout gets EIO, and the
 * file a sticky error (mount_write_expired).  held_free answers all that is left with their counts.
 *
 * The timeout is at most 0.8 of the kernel's fs.fuse.max_request_timeout, which would abort the
 * mount. Lock: LOCK_HELD guards the queue; nothing is called under it. */
#ifndef COFFER_FS_HELD_H
#define COFFER_FS_HELD_H

#include "fs/fs_priv.h"

int held_new (struct fs *fs, int64_t timeout_ns, struct held **out) WARN_UNUSED;
void held_free (struct held *h);
/* REQ will be answered with COUNT bytes written to FILE, which stays open until then. */
void held_add (struct held *h, fuse_req_t req, struct file *file, size_t count);
size_t held_count (struct held *h);

#endif
