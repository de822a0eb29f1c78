/* SPDX-License-Identifier: Apache-2.0 */
/* tree_build - makes the sealed tree (doc/format/tree.md) of a working tree that nobody changes any
 * more.
 *
 * Two walks: the first counts the rows below each directory, the second writes pages.  Metadata
 * chunks go through the pipe; between the stages their packs are closed and named, because
 * references name packs: extent pages (a stage a level), tree pages, tree index and pack list.
 * When it returns 0 everything is durable. Memory: 16 bytes a directory, 16 a file with several
 * names, 64 an extent page, 8 a pack. */
#ifndef COFFER_SNAPSHOT_TREE_BUILD_H
#define COFFER_SNAPSHOT_TREE_BUILD_H

#include "snapshot/snapshot_priv.h"

struct tree_built {
  struct named_ref index;
  uint64_t rows;
  struct named_ref *packs;    /* chunks of the pack list; free() */
  size_t pack_count;
  uint32_t *numbers;          /* of every pack referred to, metadata too; free() */
  size_t number_count;
  uint64_t files, dirs, logical;
};
/* TREE through the session of S: its own tree, or that of all parts (join.h). */
int tree_build (struct snap *s, struct worktree *tree, struct tree_built *out) WARN_UNUSED;
void tree_built_release (struct tree_built *b);

#endif
