/* SPDX-License-Identifier: Apache-2.0 */
/* worktree_db - the tables of one working tree, in an SQLite file that nobody else sees.
 *
 * The file is scratch: it is unlinked as soon as it is open, has no journal, and is never read
 * again after a crash; what must survive stands in the store as checkpoints
 * (doc/decisions/001-scratch-tree.md).  SQLite is used for what it is good at here: an ordered
 * table larger than memory with a bounded page cache.
 *
 * Tables: nodes (ino -> row), names (directory, name -> ino, kind), segments (ino, start ->
 * extents). Not locked: the working tree's lock serialises.  Errors: ERR_FULL (local disk), ERR_IO,
 * ERR_NOMEM. */
#ifndef COFFER_SNAPSHOT_WORKTREE_DB_H
#define COFFER_SNAPSHOT_WORKTREE_DB_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/cleanup.h"

struct wtdb;
/* A new one in directory DIR. */
int wtdb_open (const char *dir, struct wtdb **out) WARN_UNUSED;
void wtdb_free (struct wtdb *db);
DEFINE_FREEP (wtdb);

/* Row of INO appended to OUT; ERR_NOENT. */
int wtdb_node_get (struct wtdb *db, uint64_t ino, struct buf *out) WARN_UNUSED;
int wtdb_node_put (struct wtdb *db, uint64_t ino, const void *data, size_t n) WARN_UNUSED;
int wtdb_node_del (struct wtdb *db, uint64_t ino) WARN_UNUSED;

int wtdb_name_get (struct wtdb *db, uint64_t dir, const void *name, size_t n, uint64_t *ino,
                   int *kind) WARN_UNUSED;
int wtdb_name_put (struct wtdb *db, uint64_t dir, const void *name, size_t n, uint64_t ino,
                   int kind) WARN_UNUSED;
int wtdb_name_del (struct wtdb *db, uint64_t dir, const void *name, size_t n) WARN_UNUSED;
/* Entries of DIR after AFTER in byte order; FN returns non-zero to stop (returned).  FN must not
 * call back into the same statement set (collect, then act). */
typedef int (*wtdb_name_fn) (void *ctx, const uint8_t *name, size_t n, uint64_t ino, int kind);
int wtdb_names (struct wtdb *db, uint64_t dir, const void *after, size_t after_len, wtdb_name_fn fn,
                void *ctx) WARN_UNUSED;
/* 1 empty, 0 not. */
int wtdb_dir_is_empty (struct wtdb *db, uint64_t dir) WARN_UNUSED;

int wtdb_seg_load (struct wtdb *db, uint64_t ino, uint64_t start, struct buf *out) WARN_UNUSED;
int wtdb_seg_save (struct wtdb *db, uint64_t ino, uint64_t start, uint32_t count, const void *data,
                   size_t n) WARN_UNUSED;
int wtdb_seg_erase (struct wtdb *db, uint64_t ino, uint64_t start) WARN_UNUSED;
int wtdb_segs_drop (struct wtdb *db, uint64_t ino) WARN_UNUSED;
typedef int (*wtdb_seg_fn) (void *ctx, uint64_t start, uint32_t count);
int wtdb_segs (struct wtdb *db, uint64_t ino, wtdb_seg_fn fn, void *ctx) WARN_UNUSED;
/* All node numbers in order. */
int wtdb_nodes (struct wtdb *db, uint64_t after, int (*fn) (void *ctx, uint64_t ino),
                void *ctx) WARN_UNUSED;
/* Every name in the tree (dir, name order). */
typedef int (*wtdb_all_fn) (void *ctx, uint64_t dir, const uint8_t *name, size_t n, uint64_t ino,
                            int kind);
int wtdb_all_names (struct wtdb *db, wtdb_all_fn fn, void *ctx) WARN_UNUSED;

#endif
