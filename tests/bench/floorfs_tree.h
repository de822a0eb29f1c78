/* SPDX-License-Identifier: Apache-2.0 */
/* floorfs_tree - names, inodes and xattrs of floorfs, in memory.
 *
 * Functions return 0 or a positive errno, and are called with the tree locked (tree_lock).
 * An inode lives while it has a name or the kernel knows it (`lookups`).  Directories keep their
 * entries in a list of slots, in the order of creation; a removed entry leaves a NULL slot, so that
 * a reader's offset stays right. */
#ifndef TESTS_BENCH_FLOORFS_TREE_H
#define TESTS_BENCH_FLOORFS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct xattr {
  struct xattr *next;
  char *name, *value;
  size_t len;
};

struct inode {
  struct stat st;
  uint64_t lookups;      /* references of the kernel */
  struct inode *parent;  /* directories */
  struct dentry **list;  /* directories */
  size_t slots, slots_cap, live;
  char *target;          /* symlinks */
  char *data;            /* regular files, with the option `keep` */
  size_t data_cap;
  struct xattr *xattrs;
};

struct dentry {
  struct dentry *next; /* in the hash chain */
  struct inode *dir, *inode;
  size_t slot;
  uint64_t hash;
  char name[];
};

int tree_init (void);
void tree_lock (void);
void tree_unlock (void);
struct inode *tree_root (void);

struct inode *tree_find (struct inode *dir, const char *name);
int tree_make (struct inode *dir, const char *name, mode_t mode, const char *target,
               struct inode **out);
int tree_link (struct inode *dir, const char *name, struct inode *n);
int tree_remove (struct inode *dir, const char *name, bool is_rmdir);
/* FLAGS: RENAME_NOREPLACE and RENAME_EXCHANGE as renameat2 has them. */
int tree_rename (struct inode *from, const char *name, struct inode *to, const char *newname,
                 unsigned flags);
int tree_resize (struct inode *n, uint64_t size, bool keep_data);
/* Frees N if neither a name nor the kernel refers to it. */
void tree_put (struct inode *n);

/* The result is a view, valid while the tree is locked; NULL where there is none. */
const struct xattr *tree_getxattr (const struct inode *n, const char *name);
int tree_setxattr (struct inode *n, const char *name, const char *value, size_t len, int flags);
int tree_removexattr (struct inode *n, const char *name);
/* *names: NUL-terminated names back to back, to be freed by the caller; NULL when there are
 * none. */
int tree_listxattr (const struct inode *n, char **names, size_t *len);

#endif
