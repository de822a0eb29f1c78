/* SPDX-License-Identifier: Apache-2.0 */
/* where - what a node id names.  An open snapshot is held (its tree stays) until where_release. */
#ifndef COFFER_SNAPSHOT_WHERE_H
#define COFFER_SNAPSHOT_WHERE_H

#include "snapshot/snap.h"

enum place { AT_ROOT, AT_REGION, AT_VAULT, AT_LATEST, AT_SEALED, AT_OPEN };
struct where {
  enum place place;
  struct region *region;
  struct vault *vault;
  struct sealed *sealed;
  uint64_t row;
  struct snap *snap;
  uint64_t ino;
};
int where_is (struct mount *m, uint64_t node, struct where *out) WARN_UNUSED; /* ERR_STALE */
void where_release (struct where *w);
#define AUTO_WHERE __attribute__ ((cleanup (where_release))) struct where

/* May change: life is OPEN, or SEALING and not cut yet.  Else ERR_ROFS. */
int snap_may_change (struct snap *s) WARN_UNUSED;
void dir_stat (struct mount *m, uint64_t node, struct node_stat *out);
int open_stat (struct snap *s, uint64_t ino, struct node_stat *out) WARN_UNUSED;
/* A new node in the open directory W (NAME NULL: none), pinned. */
int make_open_node (struct where *w, const struct cred *who, const char *name,
                    const struct mknod_args *args, struct inode **out) WARN_UNUSED;
/* One reference more to a node of S. */
void snap_ref (struct snap *s);

#endif
