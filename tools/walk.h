/* SPDX-License-Identifier: Apache-2.0 */
/* walk - everything in a snapshot, in the order of its tree: through a mount, or from the store. */
#ifndef COFFER_TOOLS_WALK_H
#define COFFER_TOOLS_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/sealed.h"

struct walk_entry {
  const char *path; /* in the snapshot */
  const char *name; /* its last component */
  enum node_kind kind;
  uint64_t size;
  int64_t mtime;
  uint32_t mode;
  struct sealed *tree; /* from the store only */
  uint64_t row;
};
/* Non-zero ends the walk and is its result. */
typedef int (*walk_fn) (void *ctx, const struct walk_entry *e);

/* What is below DIR. */
int walk_dir (const char *dir, walk_fn fn, void *ctx) WARN_UNUSED;
/* What is below ROW.  What cannot be read goes to DAMAGED (or ends the walk where that is NULL):
 * the path that is lost with all below it. */
typedef void (*walk_damaged_fn) (void *ctx, const char *path, int rc);
int walk_tree (struct sealed *t, uint64_t row, walk_fn fn, walk_damaged_fn damaged,
               void *ctx) WARN_UNUSED;

/* 'f', 'd', 'l', ... as find(1) has them. */
char walk_letter (enum node_kind kind);

#endif
