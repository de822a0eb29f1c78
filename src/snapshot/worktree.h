/* SPDX-License-Identifier: Apache-2.0 */
/* worktree - the tree of an open snapshot: names, attributes, extents.  Local, never waits for the
 * network.
 *
 * Nodes live in the database (worktree_db.h); those in use and a bounded number of others are
 * cached as struct inode and written back when evicted.  Every change is noted in a change log for
 * the next checkpoint; when that overflows, `error` is set for good.
 *
 * Locks: `lock` (LOCK_TREE) guards everything here but file data; inode->data_lock (LOCK_FILE,
 * taken before it) guards what is in inode->data (file.h).  An inode stays in memory while pins >
 * 0. Functions take the lock themselves unless their name ends in _locked. */
#ifndef COFFER_SNAPSHOT_WORKTREE_H
#define COFFER_SNAPSHOT_WORKTREE_H

#include "base/cleanup.h"
#include "base/lock.h"
#include "format/tree.h"
#include "snapshot/extmap.h"
#include "snapshot/mount.h"
#include "snapshot/worktree_db.h"

#define WORKTREE_ROOT 1
#define WORKTREE_CACHED 8192 /* inodes kept without need: about 4 MiB */
#define DOOMED_MAX 8192      /* removed nodes kept while a checkpoint is built: about 4 MiB */
#define CHANGELOG_MAX (32u << 20) /* between two checkpoints; beyond it the snapshot fails */

#define CHECKPOINTS_FLYING 3 /* of one snapshot, on their way at a time */
#define NOT_TOLD UINT64_MAX

struct worktree;
struct filedata;

struct inode {
  struct inode *hash_next, *older, *newer; /* lru only while pins == 0 */
  struct worktree *tree;
  uint64_t ino;
  unsigned pins;
  struct node_attr a; /* symlink and xattrs point to memory owned here */
  uint32_t subdirs;
  struct node_time ctime;
  uint8_t *symlink, *xattrs;
  uint8_t *sha256; /* of the file as it is, 32 bytes, where known (a recovery knows none); set with
                      data_lock held as well */
  struct extmap map;
  /* So much of the file is in the store by the last checkpoint that is confirmed (durable); by the
   * newest written, confirmed or not (told); by each of those on their way (told_by, by their slot;
   * NOT_TOLD).  All go down with every cut: below them a recovery finds what was once written,
   * never a gap. */
  uint64_t durable, told, told_by[CHECKPOINTS_FLYING];
  struct seg_store segs;
  bool is_dirty;   /* differs from the database */
  bool is_logged;  /* in the change log */
  bool is_removed; /* no name left */
  char *tmp_class; /* normal name given at create, for the class of the file */
  struct lock data_lock;
  struct filedata *data; /* guarded by data_lock */
};

struct worktree {
  struct lock lock;
  struct wtdb *db;
  struct inode **hash;
  size_t hash_size, count, cached;
  size_t held;        /* by extents */
  struct inode *oldest, *newest;
  uint64_t next_ino;
  uint64_t files, dirs;
  struct buf log;     /* change log */
  bool is_told;       /* a checkpoint is built from an earlier log: what that names is kept */
  struct inode *doomed; /* for it: without a name, each pinned by this list, linked by `newer` */
  size_t doomed_count;
  struct buf odd;     /* recovery: other nodes than directories with another link count than 1 */
  int error;          /* of the database: sticky */
  _Atomic int64_t refs; /* lookups given out minus forgets */
};

int worktree_new (const char *dir, struct worktree **out) WARN_UNUSED;
/* Every inode must be unpinned. */
void worktree_free (struct worktree *t);
DEFINE_FREEP (worktree);

/* Pins INO; ERR_NOENT. */
int worktree_get (struct worktree *t, uint64_t ino, struct inode **out) WARN_UNUSED;
void worktree_put (struct inode *i);
static inline void
inode_putp (struct inode **i)
{
  if (*i)
    worktree_put (*i);
}
#define AUTO_INODE __attribute__ ((cleanup (inode_putp))) struct inode *

void inode_stat_locked (const struct inode *i, struct node_stat *out); /* all but .node */
void inode_stat (struct inode *i, struct node_stat *out);
/* What was told of the file beyond SIZE holds no more. */
void inode_cut_locked (struct inode *i, uint64_t size);
/* SHA (NULL: not known) is the file's whole SHA-256. */
void inode_set_sha_locked (struct inode *i, const uint8_t sha[32]);
/* The inode changed: written back later, noted for the checkpoint. */
void inode_touch_locked (struct inode *i);

int worktree_lookup (struct worktree *t, uint64_t dir, const char *name, struct node_stat *out,
                     uint64_t *ino) WARN_UNUSED;
/* New node with one name (name NULL: none, for O_TMPFILE), pinned. */
int worktree_make (struct worktree *t, uint64_t dir, const char *name, const struct node_attr *attr,
                   struct inode **out) WARN_UNUSED;
int worktree_link (struct worktree *t, uint64_t ino, uint64_t dir, const char *name) WARN_UNUSED;
int worktree_unlink (struct worktree *t, uint64_t dir, const char *name) WARN_UNUSED;
int worktree_rmdir (struct worktree *t, uint64_t dir, const char *name) WARN_UNUSED;
int worktree_rename (struct worktree *t, uint64_t dir, const char *name, uint64_t new_dir,
                     const char *new_name, unsigned flags) WARN_UNUSED;
int worktree_setxattrs (struct inode *i, const char *name, const void *value, size_t n,
                        unsigned flags) WARN_UNUSED;
int worktree_removexattr (struct inode *i, const char *name) WARN_UNUSED;
int inode_getxattr (struct inode *i, const char *name, struct buf *out) WARN_UNUSED;
int inode_listxattr (struct inode *i, struct buf *out) WARN_UNUSED;

/* Names after AFTER, at most LIMIT, appended to OUT as: u64 ino, u8 kind, varint-string name. */
int worktree_list (struct worktree *t, uint64_t dir, const void *after, size_t after_len,
                   unsigned limit,
                   struct buf *out) WARN_UNUSED;

/* For recovery: puts what a checkpoint says.  worktree_recount fixes link counts after. */
int worktree_replay_node (struct worktree *t, uint64_t ino,
                          const struct node_attr *attr) WARN_UNUSED;
int worktree_replay_entry (struct worktree *t, uint64_t dir, const uint8_t *name, size_t n,
                           uint64_t ino) WARN_UNUSED;
int worktree_replay_removed (struct worktree *t, uint64_t ino) WARN_UNUSED;
int worktree_recount (struct worktree *t) WARN_UNUSED;

/* worktree_copy.c, for the join: all that is only in memory goes to the database. */
int worktree_flush (struct worktree *t) WARN_UNUSED;
/* The node INO of FROM, which nobody changes, with its extents becomes the node AS of TO.  Pack
 * numbers are the index's: both trees are of one vault.  Nothing, if AS is there already. */
int worktree_copy_node (struct worktree *from, uint64_t ino, struct worktree *to,
                        uint64_t as) WARN_UNUSED;
/* NAME in directory DIR, for a node of KIND; IS_NEW_IN_OLD: the directory's own row does not count
 * it yet. */
int worktree_copy_name (struct worktree *to, uint64_t dir, const void *name, size_t n, uint64_t ino,
                        int kind, bool is_new_in_old) WARN_UNUSED;

struct node_time time_now (void);
static inline struct node_attr
node_attr_of (enum node_kind kind, uint16_t mode, uint32_t uid, uint32_t gid)
{
  struct node_time now = time_now ();
  return (struct node_attr){ .kind = (uint8_t) kind, .mode = mode, .uid = uid, .gid = gid,
                             .mtime = now,
                             .atime = now, .nlink = kind == NODE_DIR ? 2 : 1 };
}

/* Private to worktree*.c, checkpoint.c and tree_build.c. */
enum { LOG_NODE = 1, LOG_NAME = 2, LOG_GONE = 3, LOG_NAME_HALF = 4 };
struct log_entry {
  uint8_t type;        /* NODE, NAME, GONE */
  bool is_half;        /* the next entry belongs to the same change: no crash between them */
  uint64_t no;         /* the node; of a name its directory */
  const uint8_t *name; /* a view */
  size_t len;
  uint64_t ino;        /* whose the name is since; 0: nobody's */
};
/* False at the end, or where the log is damaged (R has failed). */
bool log_next (struct rd *r, struct log_entry *out);
void log_name_locked (struct worktree *t, uint64_t dir, const void *name, size_t n, uint64_t ino,
                      bool is_half);
void log_gone_locked (struct worktree *t, uint64_t ino);
/* The log so far is handed over to TO; *first_new: the first node made later.  An error is the
 * tree's sticky one: TO is not all of it.  Until worktree_log_told nodes that lose their last name
 * stay (DOOMED_MAX of them), so that the checkpoint can tell of the tree as the log left it. */
int worktree_log_take (struct worktree *t, struct buf *to, uint64_t *first_new) WARN_UNUSED;
void worktree_log_told (struct worktree *t);
int inode_get_locked (struct worktree *t, uint64_t ino, struct inode **out) WARN_UNUSED;
void inode_put_locked (struct inode *i);
/* Is INO in the tree: with a name, without one any more but not forgotten, or not at all? */
enum presence { PRESENT, REMOVED_SINCE, GONE };
enum presence worktree_presence (struct worktree *t, uint64_t ino);
int inode_write_locked (struct inode *i) WARN_UNUSED;
void inode_attr_encode_view (const struct inode *i, struct node_attr *out);

#endif
