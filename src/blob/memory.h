/* SPDX-License-Identifier: Apache-2.0 */
/* memory - a blob store in memory, for tests: as strict as the others, with a clock that can be
 * set.
 *
 * Several blobs may share one store (two hosts of one vault); each is cancelled by itself.  The
 * store lives until the last of them is freed. */
#ifndef COFFER_BLOB_MEMORY_H
#define COFFER_BLOB_MEMORY_H

#include "blob/blob.h"

int blob_memory_new (struct blob **out) WARN_UNUSED;
/* One more blob over the store of B, which must come from this file. */
int blob_memory_share (struct blob *b, struct blob **out) WARN_UNUSED;
/* A store of its own with a copy of everything that is in B's now. */
int blob_memory_clone (struct blob *b, struct blob **out) WARN_UNUSED;
/* The store's clock stands at NS from now on; 0: it follows clock_wall () (the default). */
void blob_memory_set_clock (struct blob *b, int64_t ns);
size_t blob_memory_count (struct blob *b);
/* Puts beyond this many bytes in all are ERR_FULL; 0: no limit. */
void blob_memory_set_limit (struct blob *b, uint64_t bytes);

#endif
