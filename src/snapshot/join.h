/* SPDX-License-Identifier: Apache-2.0 */
/* join - the parts of a snapshot become one (ruling 24).
 *
 *   gather   which parts there are; refuses unless all others are finished or left out
 *   merge    one working tree of all: ours first, then the others by id, each replayed into a
 *            scratch tree of its own that goes again.  Directories are shared, with the attributes
 *            of the first part that has them; any other name that two parts have is refused
 *   recheck  after `.pending` stands: the parts are those that were gathered (a part that comes, or
 *            is taken back, after this sees the `.pending`: part_fate)
 *
 * Nothing is pinned: the checkpoints of the others are roots for the collector, then the `.pending`
 * is, and the seal proves every pack after it.  Memory: three working trees, however big the
 * parts. */
#ifndef COFFER_SNAPSHOT_JOIN_H
#define COFFER_SNAPSHOT_JOIN_H

#include "snapshot/parts.h"

struct join {
  struct part_seen *parts; /* of others: joined, or is_left_out */
  size_t count;
  struct part_seen *seen;  /* all that the store showed, for recheck */
  size_t seen_count;
  struct worktree *tree;   /* NULL: there is only our own part */
  struct checkpoint_counts counts; /* of the others */
  struct manifest_meta *meta;      /* of the others, under keys that clash with nobody's */
  size_t meta_count;
};
/* What goes wrong stands in s->error_text and in the log.  ERR_BUSY: parts are not finished;
 * ERR_NOENT: no part at all; ERR_INVALID: ours cannot be left out. */
int join_gather (struct snap *s, struct join *j) WARN_UNUSED;
/* ERR_EXISTS: two parts have a file of the same name. */
int join_merge (struct snap *s, struct join *j) WARN_UNUSED;
/* ERR_BUSY: another part is there now, or one has changed. */
int join_recheck (struct snap *s, const struct join *j) WARN_UNUSED;
void join_release (struct join *j);

#endif
