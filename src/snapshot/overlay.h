/* SPDX-License-Identifier: Apache-2.0 */
/* overlay - what was written out of order into an open file: a sparse local file and the ranges
 * that are dirty.
 *
 * The file is unlinked at once and encrypted (AES-256-CTR by offset, key random per overlay, in
 * memory only): what it holds is never needed after a crash, and nobody can read it then.  Total
 * size over all overlays of a mount is counted in struct overlay_budget; a write that would pass it
 * is ERR_FULL, nothing taken. Not locked: the owner of the file serialises (the budget is
 * atomic). */
#ifndef COFFER_SNAPSHOT_OVERLAY_H
#define COFFER_SNAPSHOT_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct overlay_budget {
  char dir[4096];
  uint64_t max;
  _Atomic uint64_t used;
  _Atomic int64_t told; /* when it was said that no more fits: not at every write */
};

struct overlay;
int overlay_new (struct overlay_budget *b, struct overlay **out) WARN_UNUSED;
void overlay_free (struct overlay *o);
DEFINE_FREEP (overlay);
int overlay_write (struct overlay *o, uint64_t off, const void *data, size_t n) WARN_UNUSED;
/* [off, off + n) must be dirty. */
int overlay_read (struct overlay *o, uint64_t off, void *out, size_t n) WARN_UNUSED;
/* The dirty range that covers OFF, or the next one after it; false if there is none. */
bool overlay_next (const struct overlay *o, uint64_t off, uint64_t *start, uint64_t *end);
/* Not dirty any more (pushed, punched or cut off); frees the space. */
void overlay_clear (struct overlay *o, uint64_t off, uint64_t end);
bool overlay_is_empty (const struct overlay *o);
uint64_t overlay_bytes (const struct overlay *o);

#endif
