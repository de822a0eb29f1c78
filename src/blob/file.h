/* SPDX-License-Identifier: Apache-2.0 */
/* file - a directory as a blob store (file://), the embedded default.
 *
 * A key is the path of a file below the directory; modes are 0600 and 0700.  A put writes a
 * temporary file in DIR/.tmp, syncs it, renames it into place and syncs the directory, together
 * with those above it that this process has not synced yet: so B1 and B2 hold over a power cut as
 * far as the file system keeps its promises.  if_absent is rename without replacing.  Directories
 * left empty by a delete are removed.  What a crash leaves in .tmp is removed at a later open, when
 * a day old.
 *
 * Limits: a component of a key has at most 255 bytes, no key begins with ".tmp/", and a key cannot
 * be below another key ("a" and "a/b" exclude each other): ERR_INVALID.  The store's clock is that
 * of the file system (a server's, where it is remote).
 *
 * opts->progress is called after every FILE_STEP bytes; without it the bytes go in one write.
 * Does NOT: check sha256, lock the directory against other programs, follow symbolic links in
 * it. */
#ifndef COFFER_BLOB_FILE_H
#define COFFER_BLOB_FILE_H

#include "blob/blob.h"

/* 3 ms at 20 MB/s: fine enough for a throttle, coarse enough to be cheap */
#define FILE_STEP (64u << 10)

/* DIR must be a directory; with CREATE it and its parents are made.  ERR_MISSING where it is not
 * there (logged). */
int blob_file_open (const char *dir, bool create, struct blob **out) WARN_UNUSED;

#endif
