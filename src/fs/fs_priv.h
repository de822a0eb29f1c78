/* SPDX-License-Identifier: Apache-2.0 */
/* fs_priv - what the files of src/fs share.
 *
 * The pattern of every operation: op_x fills a `struct call` on its stack and hands it to call_run;
 * do_x (call, flags) computes and returns a code; reply_x answers exactly once and touches the
 * request no more.  call_run tries do_x with MOUNT_NOWAIT; where that would wait, a copy of the
 * call goes to a pool thread, which may (defer.h). */
#ifndef COFFER_FS_PRIV_H
#define COFFER_FS_PRIV_H

#ifdef HAVE_STRUCT_FUSE_CONN_INFO_WANT_EXT
#define FUSE_USE_VERSION 317
#else
#define FUSE_USE_VERSION 312
#endif
#include <fuse_lowlevel.h>

#include <stdatomic.h>
#include <string.h>

#include "base/bufpool.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/pool.h"
#include "fs/session.h"

struct held;
struct notify;
struct control;

/* Requests by kind, for .coffer/metrics. */
#define FS_OPS(X) \
  X (lookup) X (getattr) X (setattr) X (readlink) X (mknod) X (unlink)        \
  X (rmdir) X (rename) X (link) X (open) X (create) X (read) X (write)        \
  X (flush) X (release) X (fsync) X (opendir) X (readdir) X (readdirplus)     \
  X (releasedir) X (statfs) X (setxattr) X (getxattr) X (listxattr)           \
  X (removexattr) X (fallocate) X (lseek) X (copy_file_range) X (tmpfile)     \
  X (forget) X (control)
#define FS_OP_ENUM(name) OP_##name,
enum fs_op { FS_OPS (FS_OP_ENUM) OP_COUNT };

struct fs {
  /* immutable after fs_new */
  struct mount *mount;
  struct fs_opts opts; /* strings are copies */
  char *mountpoint, *fsname, *extra;
  struct fuse_session *session;
  bool is_mounted;
  uint32_t uid, gid;         /* of the daemon: owner of the control directory */
  int64_t started;           /* wall clock */
  bool can_cache_dirs;       /* not on kernels that never expire a cached listing */
  /* made by fs_serve, before the first request */
  struct pool *waiters;      /* calls that wait for the network */
  struct pool *answerers;    /* replies to interrupted requests; never waits */
  struct held *held;
  struct notify *notify;
  struct control *control;
  /* set in op_init, before any other request */
  bool has_acl, has_dont_mask;
  unsigned proto_minor;
  struct lock handles_lock;
  struct handle *handles; /* guarded by handles_lock: all that are open */
  /* any thread */
  _Atomic (uint64_t) ops[OP_COUNT];
  _Atomic (uint64_t) suid_epoch; /* counts changes that may have set a set-id bit */
  _Atomic (bool) has_acls; /* any node of an open snapshot may have one */
  _Atomic (bool) is_stopping, was_told;
  _Atomic (bool) has_ended; /* libfuse's loop has; what is left is answering */
};

/* Ends the threads of fs_serve; what they have taken is answered. */
void fs_stop_helpers (struct fs *fs);

/* ---- nodes ---- */

enum node_class {
  CLASS_STATIC = 0, CLASS_PLACE = 1, CLASS_LATEST = 2, CLASS_SEALED = 3, CLASS_OPEN = 4,
};
static inline unsigned
node_class (uint64_t node)
{
  return (unsigned) (node >> 56);
}
static inline bool
node_is_control (uint64_t node)
{
  return node_class (node) == CLASS_STATIC && node != NODE_ROOT;
}

#define TIMEOUT_LONG_S 86400.0 /* what cannot change but by this kernel's own doing */
#define TIMEOUT_SHORT_S 1.0    /* what another host or the daemon itself may change (ruling 14) */

void stat_to_posix (const struct node_stat *in, struct stat *out);
/* PARENT decides how long the name is believed. */
void entry_fill (uint64_t parent, const struct node_stat *in, struct fuse_entry_param *out);
double attr_timeout (const struct node_stat *st);
/* Node attributes handed out count a reference; the kernel did not take it. */
void node_give_back (struct fs *fs, uint64_t node, uint64_t n);

/* An open file or directory: what fi->fh points to (for control files a struct control_handle).
 * Counted, because a call that was interrupted may still be at work on it when it is closed. */
struct handle {
  struct fs *fs;
  struct handle *next, *prev; /* guarded by fs->handles_lock */
  struct file *file; /* or */
  struct dir *dir;   /* or */
  struct control_handle *control;
  _Atomic (int) refs;
  _Atomic (uint64_t) suid_epoch; /* fs->suid_epoch when the node was seen without set-id bits */
};
/* *take becomes the handle's; on failure it is closed. */
int handle_new_file (struct fs *fs, struct file *take, struct handle **out) WARN_UNUSED;
int handle_new_dir (struct fs *fs, struct dir *take, struct handle **out) WARN_UNUSED;
int handle_new_control (struct fs *fs, struct control_handle *take,
                        struct handle **out) WARN_UNUSED;
void handle_ref (struct handle *h);
void handle_unref (struct handle *h); /* NULL allowed; the last closes */
/* What was open when the mount ended, for which no release will come. */
void handles_close_all (struct fs *fs);
static inline struct handle *
handle_of (const struct fuse_file_info *fi)
{
  return (struct handle *) (uintptr_t) fi->fh;
}
static inline struct fs *
fs_of (fuse_req_t req)
{
  return fuse_req_userdata (req);
}

/* ---- calls ---- */

struct call;
struct call_type {
  enum fs_op op;
  /* Computes.  With MOUNT_NOWAIT may return ERR_WOULDBLOCK, having changed nothing. */
  int (*run) (struct call *c, unsigned flags);
  /* Answers; called exactly once unless drop is. */
  void (*reply) (struct call *c, int rc);
  /* The request was answered (EINTR) while run was at work: undo what only the answer would have
   * made use of.  NULL: such a call is not interrupted once it runs, for it changes something. */
  void (*drop) (struct call *c, int rc);
};

struct call {
  struct fs *fs;
  fuse_req_t req;
  const struct call_type *type;
  uint64_t node, node2;
  const char *name, *name2; /* copied when deferred */
  const void *value;        /* likewise, value_len bytes */
  size_t value_len;
  struct cred who;
  unsigned mode, flags;     /* open mode, setattr mask, rename or xattr flags: as the call says */
  struct handle *handle, *handle2; /* borrowed; counted when deferred */
  uint64_t off, off2, len;
  struct fuse_file_info fi;
  union {
    struct mknod_args mknod;
    struct node_stat stat_in;
    struct { bool is_plus; uint64_t refs; } list;
    bool is_hole;
  };
  /* results */
  union {
    struct node_stat stat;
    struct mount_statfs statfs;
    uint64_t out_off;
  };
  struct handle *out_handle;
  struct buf buf;           /* released by the call machinery */
  uint8_t *data;            /* from bufpool; likewise */
  struct pinned *pinned;    /* likewise */
  size_t data_cap, data_len;
};

static inline void
fs_count (struct fs *fs, enum fs_op op)
{
  atomic_fetch_add_explicit (&fs->ops[op], 1, memory_order_relaxed);
}
/* Runs C (on the caller's stack) to its reply, or defers a copy of it. */
void call_run (struct call *c);
static inline void
call_init (struct call *c, fuse_req_t req, const struct call_type *type, uint64_t node)
{
  memset (c, 0, sizeof *c);
  c->fs = fs_of (req);
  c->req = req;
  c->type = type;
  c->node = node;
  fs_count (c->fs, type->op);
}
void call_set_who (struct call *c);
/* Gives back what run allocated. */
void call_release (struct call *c);

/* Answers shared by the operations. */
void reply_err (fuse_req_t req, int rc);
/* For read, write, flush and fsync: what may succeed later is EIO too, for EAGAIN on a file is "no
 * data at present" to many a library, which then goes on without an error. */
void reply_data_err (fuse_req_t req, int rc);
void reply_rc (struct call *c, int rc);    /* a code only */
void reply_entry (struct call *c, int rc); /* c->stat, in c->node (the parent) */
void reply_attr (struct call *c, int rc);
void drop_nothing (struct call *c, int rc);
void drop_entry (struct call *c, int rc);

/* ---- the operations (fuse_lowlevel_ops), by file ---- */
void op_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget (fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                 struct fuse_file_info *fi);
void op_readlink (fuse_req_t req, fuse_ino_t ino);
void op_statfs (fuse_req_t req, fuse_ino_t ino);

void op_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink (fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void op_unlink (fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                const char *newname, unsigned int flags);
void op_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void op_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                struct fuse_file_info *fi);
#ifdef HAVE_STRUCT_FUSE_LOWLEVEL_OPS_TMPFILE
void op_tmpfile (fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);
#endif

void op_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi);
void op_releasedir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void op_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write (fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
               struct fuse_file_info *fi);
void op_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                   struct fuse_file_info *fi);
void op_lseek (fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_copy_file_range (fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                         struct fuse_file_info *fi_in,
                         fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out,
                           size_t len,
                         int flags);

void op_fsync (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fsyncdir (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void op_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                  int flags);
void op_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name);

/* How an open file is to be treated by the kernel (ruling 16). */
void open_flags_set (struct fuse_file_info *fi, const struct file *file);

#endif
