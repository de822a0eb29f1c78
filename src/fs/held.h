/* SPDX-License-Identifier: Apache-2.0 */
/* held - writes whose answer is kept back (back-pressure, ruling 11).
 *
 * When the store is behind, mount_write takes a part of a request and asks for it to be held.  One
 * thread then asks mount_admit for each in turn, but those first that may write all the same
 * (mount_may_write: their stream owns a lane, and the others wait for the end of its run).  Who is
 * admitted has his next part taken and stands in line again, until all of it is taken and the whole
 * count is answered: programs take a short count on a file for a full disk.  Only where the kernel
 * has a request timeout is a count cut short, at half of it.
 *
 * An interrupt answers at once with what has been taken.  What waits longer than the write timeout
 * gets EIO and the file a sticky error (mount_write_expired).  held_free answers all that is left.
 *
 * Bounds: a request has at most 1 MiB, and there are as many as there are writers that wait.
 * Lock: LOCK_HELD guards the queue; nothing is called under it. */
#ifndef COFFER_FS_HELD_H
#define COFFER_FS_HELD_H

#include "fs/fs_priv.h"

/* A write of LEN bytes at OFF, of which the first DONE have been taken. */
struct held_request {
  fuse_req_t req;
  struct file *file;   /* stays open until the answer */
  uint64_t node, off;
  const uint8_t *data; /* copied */
  size_t len, done;
  bool is_writeback;   /* pages of a mapping: the kernel takes a short count for a full one */
};

int held_new (struct fs *fs, int64_t timeout_ns, struct held **out) WARN_UNUSED;
void held_free (struct held *h);
void held_add (struct held *h, const struct held_request *r);
size_t held_count (struct held *h);

#endif
