/* SPDX-License-Identifier: Apache-2.0 */
/* floorfs - what its command line (floorfs.c) and its operations (floorfs_ops.c) share. */
#ifndef TESTS_BENCH_FLOORFS_H
#define TESTS_BENCH_FLOORFS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

struct options {
  int keep, noxattr;
  char *stats;
};
extern struct options opts;

/* Requests by kind, for stats=FILE. */
#define KINDS(X)                                                              \
  X (lookup) X (forget) X (getattr) X (setattr) X (readlink) X (mknod) X (mkdir) X (unlink)       \
  X (rmdir) X (symlink) X (rename) X (link) X (open) X (create) X (read) X (write) X (flush)      \
  X (release) X (fsync) X (opendir) X (readdir) X (readdirplus) X (releasedir) X (statfs)         \
  X (setxattr) X (getxattr) X (listxattr) X (removexattr) X (fallocate)
#define AS_ENUM(name) KIND_##name,
enum kind { KINDS (AS_ENUM) KIND_COUNT };
extern unsigned long counts[KIND_COUNT]; /* only by COUNT until the session has ended */
#define COUNT(name) __atomic_fetch_add (&counts[KIND_##name], 1, __ATOMIC_RELAXED)

extern const struct fuse_lowlevel_ops floor_ops;

#endif
