/* SPDX-License-Identifier: Apache-2.0 */
/* What tree_build.c and tree_external.c share. */
#ifndef COFFER_SNAPSHOT_TREE_BUILD_PRIV_H
#define COFFER_SNAPSHOT_TREE_BUILD_PRIV_H

#include "base/map.h"
#include "snapshot/tree_build.h"

/* A page of extents that was pushed. */
struct external_kid {
  uint64_t len, extents;
  size_t slot;
};
struct external {
  uint64_t ino, extents;
  uint8_t level;
  struct external_kid *kids; /* of the highest level built so far */
  size_t count;
};
struct page_done {
  size_t slot;
  uint32_t rows;
};

struct builder {
  struct snap *snap;     /* whose session sends */
  struct worktree *tree; /* what is built: its own, or that of all parts */
  struct tree_built *out;
  struct lock lock; /* slots */
  struct chunk_ref *slots;
  size_t slot_count, slot_cap;
  uint64_t *uses;   /* by pack number: bytes referred to */
  size_t use_cap;
  struct map children, below; /* by directory */
  struct map links;           /* file with several names -> its first row */
  struct map externals;       /* file -> position in files */
  struct external *files;
  size_t file_count, file_cap;
  /* the page being filled */
  struct pack_table packs;
  struct buf rows;
  uint32_t page_rows;
  uint64_t row;
  struct page_done *pages;
  size_t page_count, page_cap;
};

int meta_push (struct builder *b, int type, const struct buf *plain, size_t *slot) WARN_UNUSED;
int meta_settle (struct builder *b) WARN_UNUSED;
int note_use (struct builder *b, uint32_t no, uint64_t bytes) WARN_UNUSED;
int localize (struct builder *b, struct pack_table *table, struct chunk_ref *ref) WARN_UNUSED;
/* TICKET: of pipe_close_packs; packs begun after it have a name only once they are in the store. */
int pack_name_of (struct snap *s, uint32_t no, uint64_t ticket,
                  uint8_t name[PACK_NAME_LEN]) WARN_UNUSED;

/* tree_external.c: files with more extents than a row holds. */
int external_note (struct builder *b, uint64_t ino) WARN_UNUSED;
int external_build (struct builder *b) WARN_UNUSED;
void external_release (struct builder *b);

#endif
