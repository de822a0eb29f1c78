/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FS_DOUBLE_PRIV_H
#define TESTS_FS_DOUBLE_PRIV_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "double.h"

struct xattr {
  struct xattr *next;
  char *name;
  uint8_t *value;
  size_t len;
};

struct inode {
  uint64_t node;
  struct node_stat st;
  struct inode *parent; /* directories */
  struct entry *first, *last;
  uint64_t next_cookie;
  struct entry **table; /* by hash of the name */
  size_t buckets, count;
  uint8_t *data;
  uint64_t cap;
  char *target;
  struct xattr *xattrs;
  bool is_sealed; /* directories: all below */
  int depth;      /* 0 root, 1 region, 2 vault, 3 snapshot, more within */
  struct inode *snapshot;
  int opens;
};

struct entry {
  struct entry *next, *prev, *chain;
  struct inode *inode;
  uint64_t cookie;
  char name[];
};

struct file {
  struct inode *inode;
  unsigned mode;
};
struct dir {
  struct inode *inode;
};

struct mount {
  struct double_opts opts;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct inode **inodes; /* by number, from 1 */
  size_t inode_count, inode_cap;
  int64_t refs;
  size_t open_files, writers;
  unsigned calls;
  bool is_cancelled;
  _Atomic (bool) is_free; /* stuck: "free" was looked up */
  int64_t admitted_at;
};

void double_lock (struct mount *m);
void double_unlock (struct mount *m);
static inline void
double_unlockp (struct mount **m)
{
  double_unlock (*m);
}
#define LOCKED(m)                                                             \
  __attribute__ ((cleanup (double_unlockp), unused)) struct mount *locked = (double_lock (m), m)

/* ERR_WOULDBLOCK or a sleep, as the settings say; the mutex is not held. */
int double_wait (struct mount *m, unsigned flags);
struct inode *double_inode (struct mount *m, uint64_t node);
struct entry *double_find (struct inode *dir, const char *name);
int double_add (struct inode *dir, const char *name, struct inode *inode);
void double_remove (struct inode *dir, struct entry *e);
int double_make (struct mount *m, struct inode *parent, enum node_kind kind, struct inode **out);
void double_stat (struct mount *m, struct inode *n, struct node_stat *out, bool counts);
bool double_is_sealed (const struct inode *n);
struct node_time double_now (void);
int double_resize (struct inode *n, uint64_t size);

#endif
