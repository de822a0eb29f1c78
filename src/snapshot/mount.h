/* SPDX-License-Identifier: Apache-2.0 */
/* mount - everything behind one mount point: regions, vaults, snapshots, their files.
 *
 * This is the whole interface of the layer below FUSE; it knows nothing of FUSE.  Nodes are named
 * by 64-bit node ids that are stable for the life of the mount:
 *   top byte 0  static: 1 root, 2.. control directory (made by fs; unknown here)
 *   top byte 1  region (bits 32-47) and vault (bits 0-31; 0 = the region's own directory)
 *   top byte 2  `latest` of a vault: same low bits
 *   top byte 3  sealed: snapshot number (bits 36-55), row (bits 0-34), bit 35: it has no extended
 *               attributes (so that those who ask for some can be answered from the id alone)
 *   top byte 4  open: working tree number (bits 36-55), ino (bits 0-35)
 * Sealed nodes cost no memory per node and need no forget.  Of open nodes only the sum of
 * references per working tree counts: mount_forget gives back what lookups took.
 *
 * Waiting: with MOUNT_NOWAIT a call that would have to wait for the network returns ERR_WOULDBLOCK,
 * having changed nothing; the same call without the flag, from a thread that may wait, does it.
 * Threads: any.  No ranked lock may be held by the caller.
 * Errors: as each call says; ERR_FORMAT and ERR_MISSING are damage and must reach the user as
 * EIO. */
#ifndef COFFER_SNAPSHOT_MOUNT_H
#define COFFER_SNAPSHOT_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "blob/blob.h"
#include "format/tree.h"
#include "store/keys.h"

#define NODE_ROOT 1

enum mount_flag {
  MOUNT_NOWAIT = 1,
  RENAME_FLAG_NOREPLACE = 2,
  RENAME_FLAG_EXCHANGE = 4,
};

/* Settings; every one is a key of the configuration file and a mount option of the same name. */
struct mount_region_opts {
  const char *name;
  /* the whole stack (retry, throttle, backend); owned by the mount on success */
  struct blob *take_blob;
  struct keyring *take_keys;   /* likewise */
  /* Both NULL: the store is away.  OPEN is asked for them now and then, from a thread that may
   * wait, until it returns 0; after an error that is neither transient nor ERR_IO nor ERR_MISSING
   * no more. */
  int (*open) (void *open_ctx, struct blob **blob, struct keyring **keys);
  void *open_ctx;
};
struct mount_opts {
  struct mount_region_opts *regions;
  size_t region_count;
  const char *state_dir;       /* host id, working trees, indexes; 0700 */
  const char *cache_dir;       /* NULL: no block cache */
  uint64_t cache_size;         /* bytes; 10 GiB */
  uint64_t overlay_size;       /* bytes; 10 GiB (ruling 15) */
  int zstd_level;              /* 1 */
  int sealer_threads;          /* 0: one per processor, at most 8 */
  int64_t refresh_ns;          /* 30 s (ruling 14) */
  int64_t rename_wait_ns;      /* 5 s (ruling 6) */
  int64_t write_timeout_ns;    /* 1 h (ruling 11) */
  int64_t idle_seal_ns;        /* 0: off (ruling 5) */
  int64_t partial_expire_ns;   /* 7 days */
  /* "none" (default) or "list": re-read after upload, see coffer.conf(5) */
  const char *seal_verify;
  bool file_sha256;            /* no: of files that come in order (ruling 8) */
  int64_t own_trusted_ns;      /* 0: 12 h; no setting, see seal.c */
};

struct mount;
int mount_new (const struct mount_opts *opts, struct mount **out) WARN_UNUSED;
/* Drains, checkpoints what is open, ends all threads.  After mount_cancel it does not wait for the
 * store. */
void mount_free (struct mount *m);
DEFINE_FREEP (mount);
/* Makes what is open durable (checkpoints); for `coffer umount`.  Progress by mount_stats_get. */
int mount_drain (struct mount *m) WARN_UNUSED;
void mount_cancel (struct mount *m);
/* How many files are open for writing. */
size_t mount_writers (struct mount *m);

/* Who asks: for ownership of what is made (permissions are checked by the kernel,
 * default_permissions). */
struct cred {
  uint32_t uid, gid, umask, pid;
};

struct node_stat {
  uint64_t node;
  /* kind, mode, uid, gid, times, nlink, major/minor, size; views are not valid */
  struct node_attr attr;
  struct node_time ctime;
  uint64_t blocks;         /* 512-byte units that are data, not holes */
  bool is_sealed;          /* never changes: may be cached for ever */
  bool has_xattrs;         /* false: getxattr can answer ENODATA for all but user.coffer.* */
  bool is_volatile;        /* region, vault, latest: entry timeout 1 s */
};

/* NODE is sealed and has no extended attributes but the virtual ones. */
static inline bool
node_is_bare (uint64_t node)
{
  return node >> 56 == 3 && (node >> 35 & 1);
}

/* Looks NAME up in PARENT.  ERR_NOENT.  An open node found counts one reference. */
int mount_lookup (struct mount *m, uint64_t parent, const char *name, unsigned flags,
                  struct node_stat *out) WARN_UNUSED;
void mount_forget (struct mount *m, uint64_t node, uint64_t nlookup);
int mount_getattr (struct mount *m, uint64_t node, unsigned flags,
                   struct node_stat *out) WARN_UNUSED;
int mount_readlink (struct mount *m, uint64_t node, unsigned flags, struct buf *out) WARN_UNUSED;

enum setattr_mask {
  SETATTR_MODE = 1, SETATTR_UID = 2, SETATTR_GID = 4, SETATTR_SIZE = 8, SETATTR_ATIME = 16,
  SETATTR_MTIME = 32, SETATTR_ATIME_NOW = 64, SETATTR_MTIME_NOW = 128,
  SETATTR_KILL_SUIDGID = 256, /* chown or write by a user: drop set-id bits */
};
struct file; /* an open handle */
/* FILE may be NULL. */
int mount_setattr (struct mount *m, uint64_t node, struct file *file, unsigned mask,
                   const struct node_stat *in, unsigned flags, struct node_stat *out) WARN_UNUSED;

/* Making and removing names.  In the region's directory mkdir makes a vault; in a vault's it begins
 * a snapshot (name rules of DESIGN 2, ruling 30); elsewhere POSIX.  Each *out counts one
 * reference. */
struct mknod_args {
  enum node_kind kind;
  uint32_t mode;            /* permission bits, umask already applied by the kernel's rules */
  uint32_t major, minor;
  const char *symlink;      /* target, for NODE_SYMLINK */
};
int mount_mknod (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
                 const struct mknod_args *args, unsigned flags, struct node_stat *out) WARN_UNUSED;
int mount_unlink (struct mount *m, uint64_t parent, const char *name, unsigned flags) WARN_UNUSED;
int mount_rmdir (struct mount *m, uint64_t parent, const char *name, unsigned flags) WARN_UNUSED;
/* The commit, where it renames a snapshot (rulings 6, 12): waits up to rename_wait, then
 * ERR_AGAIN. */
int mount_rename (struct mount *m, uint64_t parent, const char *name, uint64_t new_parent,
                  const char *new_name, unsigned flags) WARN_UNUSED;
int mount_link (struct mount *m, uint64_t node, uint64_t new_parent, const char *new_name,
                unsigned flags, struct node_stat *out) WARN_UNUSED;

/* Extended attributes.  get: bytes into OUT (reset first).  list: NUL-separated names.  Rules of
 * ruling 9. */
int mount_getxattr (struct mount *m, uint64_t node, const char *name, unsigned flags,
                    struct buf *out) WARN_UNUSED;
int mount_listxattr (struct mount *m, uint64_t node, unsigned flags, struct buf *out) WARN_UNUSED;
enum { XATTR_FLAG_CREATE = 16, XATTR_FLAG_REPLACE = 32 };
int mount_setxattr (struct mount *m, uint64_t node, const char *name, const void *value, size_t n,
                    unsigned flags) WARN_UNUSED;
int mount_removexattr (struct mount *m, uint64_t node, const char *name,
                       unsigned flags) WARN_UNUSED;

/* Directories: a listing is taken by position; cookies are stable while the handle is open.
 * FN returns true to go on.  `stat` is NULL where attributes are not at hand (only name and kind
 * are); with WITH_STAT each entry accepted (FN returned true) of an open directory counts one
 * reference. */
struct dir;
int mount_opendir (struct mount *m, uint64_t node, unsigned flags, struct dir **out) WARN_UNUSED;
void mount_closedir (struct mount *m, struct dir *d);
typedef bool (*dir_fn) (void *ctx, const char *name, enum node_kind kind,
                        const struct node_stat *stat,
                        uint64_t next_cookie);
int mount_readdir (struct mount *m, struct dir *d, uint64_t cookie, bool with_stat, unsigned flags,
                   dir_fn fn, void *ctx) WARN_UNUSED;

/* Files. */
enum open_mode { OPEN_READ = 1, OPEN_WRITE = 2, OPEN_TRUNC = 4 };
int mount_open (struct mount *m, uint64_t node, unsigned mode, unsigned flags,
                struct file **out) WARN_UNUSED;
/* Creates and opens; *stat counts one reference. */
int mount_create (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
                  uint32_t perm, unsigned mode, unsigned flags, struct file **out,
                  struct node_stat *stat) WARN_UNUSED;
/* A file without a name (O_TMPFILE); link gives it one. */
int mount_tmpfile (struct mount *m, const struct cred *who, uint64_t parent, uint32_t perm,
                   unsigned mode,
                   struct file **out, struct node_stat *stat) WARN_UNUSED;
void mount_release (struct mount *m, struct file *f);
bool file_is_sealed (const struct file *f);
uint64_t file_node (const struct file *f);

/* Reads up to LEN bytes at OFF; *got < LEN only at the end of the file.  Bytes not written are
 * zeros only where a hole is. */
int mount_read (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags,
                uint8_t *out,
                size_t *got) WARN_UNUSED;
/* The same of a sealed file, nothing copied: where the bytes lie in opened chunks, which are held
 * until pinned_free.  Holding them keeps memory of the reader, so the holder waits for nothing.
 * ERR_NOTSUP: not so here (an open file, very many pieces): mount_read does it. */
struct pinned {
  size_t len;
  int count;
  struct iovec *iov; /* COUNT of them, LEN bytes together */
};
int mount_read_pinned (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags,
                       struct pinned **out) WARN_UNUSED;
void pinned_free (struct pinned *p); /* NULL allowed */
/* Takes *done (1..LEN) of LEN bytes; never waits for the network.  *is_held: the answer must be
 * kept back until mount_admit says so (back-pressure, ruling 11).  Sticky errors of the file are
 * returned here. */
int mount_write (struct mount *m, struct file *f, uint64_t off, const uint8_t *data, size_t len,
                 size_t *done, bool *is_held) WARN_UNUSED;
/* A held write of F would be let in now: there is room, or it is the one that makes room. */
bool mount_may_write (struct mount *m, const struct file *f);
/* Waits until a held answer of F may go (0), TIMEOUT passed (ERR_AGAIN), or the mount is
 * cancelled. */
int mount_admit (struct mount *m, const struct file *f, int64_t timeout_ns) WARN_UNUSED;
/* A held write waited longer than write_timeout: the file's error is now sticky. */
void mount_write_expired (struct mount *m, struct file *f);
/* What close(2) should return: errors known so far. */
int mount_flush (struct mount *m, struct file *f) WARN_UNUSED;

/* Durability.  DONE is called exactly once, from any thread, perhaps before mount_fsync returns. */
struct mount_wait {
  void (*done) (struct mount_wait *w, int rc);
  struct mount_wait *next; /* owned by the mount until done */
};
/* FILE may be NULL (fsync of a directory: everything of its snapshot so far). */
void mount_fsync (struct mount *m, uint64_t node, struct file *f, struct mount_wait *w);

/* Linux's values */
enum fallocate_mode { FALLOC_KEEP_SIZE = 1, FALLOC_PUNCH_HOLE = 2, FALLOC_ZERO_RANGE = 16 };
int mount_fallocate (struct mount *m, struct file *f, int mode, uint64_t off,
                     uint64_t len) WARN_UNUSED;
int mount_lseek (struct mount *m, struct file *f, uint64_t off, bool is_hole, unsigned flags,
                 uint64_t *out) WARN_UNUSED; /* SEEK_DATA / SEEK_HOLE; ERR_NXIO */
int mount_copy_range (struct mount *m, struct file *in, uint64_t in_off, struct file *out,
                      uint64_t out_off, uint64_t len, unsigned flags, uint64_t *copied) WARN_UNUSED;
struct mount_statfs { uint64_t blocks, bfree, bavail, files, ffree; uint32_t bsize, namemax; };
int mount_statfs (struct mount *m, uint64_t node, struct mount_statfs *out) WARN_UNUSED;

/* ---- the life of snapshots, for the control directory and the command line ---- */

/* SEAL_PART finishes this host's part, SEAL_REOPEN takes that back; without them all parts are
 * joined and sealed (ruling 24). */
enum seal_flag { SEAL_FORCE = 1, SEAL_PART = 2, SEAL_REOPEN = 4 };
/* Starts (or joins) the seal of `<region>/<db>/<ts>[.partial]` in the background; ERR_NOENT,
 * ERR_STATE (sealed already), ERR_BUSY (another kind of seal is under way).  A host without a part
 * of it joins those of others.  WITHOUT (or NULL): hosts whose unfinished parts, and ids of parts
 * that, are left out, with commas between.  What it fails with later stands in snapshot_info:
 * ERR_BUSY with the names of open files, or of the hosts whose parts are not finished; ERR_EXISTS
 * with the file that two parts have. */
int mount_seal_start (struct mount *m, const char *path, unsigned flags,
                      const char *without) WARN_UNUSED;

enum snapshot_state { SNAP_OPEN, SNAP_SEALING, SNAP_SEALED, SNAP_REMOVED, SNAP_FINISHED };
struct snapshot_info {
  char region[64], vault[64], name[112]; /* the directory's name, with .partial */
  enum snapshot_state state;
  bool is_interrupted;                   /* a crash or unmount lies within its life */
  int error;                             /* sticky, 0 = none */
  char error_text[256];
  int64_t created, changed;
  uint64_t files, dirs, logical, received, fresh, dedup, stored; /* bytes; stored: sent packs */
  uint64_t pending;                      /* bytes taken and not yet durable */
  uint64_t overlay;                      /* bytes in the overlay */
  uint32_t writers;                      /* files open for writing */
  char parent[112], correlation_id[64];
  char part[17];                         /* "" of a host that only joins */
};
/* Takes over `<region>/<db>/<ts>[.partial][/<part>]`, an open snapshot whose state directory is
 * lost, from its last checkpoint; waits.  ERR_NOENT, ERR_LIMIT (several parts), ERR_EXISTS (open
 * here), ERR_STATE (sealed), ERR_BUSY (its host made progress in the last ten minutes, so it may
 * live: not with ADOPT_FORCE).  WHY (or NULL) gets the names. */
enum adopt_flag { ADOPT_FORCE = 1 };
int mount_adopt (struct mount *m, const char *path, unsigned flags, struct buf *why) WARN_UNUSED;
/* Open snapshots of this host, and those sealed since the mount in the last hour.  free(*out). */
int mount_snapshots (struct mount *m, struct snapshot_info **out, size_t *n) WARN_UNUSED;
/* Sealed ones of which the kernel holds nodes of the time when they were open: the next from
 * *CURSOR (0 at first) on, with the directory and the names they have or had there.  False: no
 * more. */
bool mount_next_lingering (struct mount *m, uint32_t *cursor, uint64_t *dir, char sealed[128],
                           char open[128]);
bool mount_is_sealing (struct mount *m);

/* Parts of other hosts, as the store showed them some time ago (asking has it looked at again in
 * the background, at most once in `refresh`); never waits.  free(*out). */
enum part_state { PART_OPEN, PART_FINISHED, PART_EXPIRED, PART_DAMAGED, PART_REMOVED, PART_SEALED };
const char *part_state_str (enum part_state s);
struct part_info {
  char region[64], vault[64], name[112]; /* of the snapshot, without .partial */
  char id[17], host[65];
  enum part_state state;
  int64_t changed;         /* its last checkpoint, by the store's clock */
  uint64_t files, received;
};
int mount_parts (struct mount *m, struct part_info **out, size_t *n) WARN_UNUSED;

struct mount_region_stats {
  char name[64];
  uint64_t put_bytes, get_bytes, puts, gets, lists, retries;
  char breaker[12], last_error[256];
  bool shows_less; /* a vault of it shows less than was seen, or is named (ruling 21) */
  int64_t last_error_time;
  int away; /* why it is not there since the mount; 0: it is */
};
struct mount_stats {
  struct mount_region_stats *regions; /* mount_stats_release */
  size_t region_count;
  uint64_t arena_used, arena_max;     /* pipeline buffers */
  uint64_t packs_filling, packs_flying, held_writes;
  uint64_t cache_bytes, cache_max, cache_hits, cache_misses, cache_damaged;
  uint64_t reader_gets, reader_get_bytes, memory_hits;
  uint64_t overlay_bytes, overlay_max;
  uint64_t snapshots_open, trees_open;
  int64_t started;                    /* wall clock */
};
int mount_stats_get (struct mount *m, struct mount_stats *out) WARN_UNUSED;
void mount_stats_release (struct mount_stats *s);

/* The history of this host's snapshots, a line of JSON each, oldest first; MOUNT_NOTE adds one that
 * something above did: an object with an "event" (ERR_INVALID). */
int mount_history (struct mount *m, struct buf *out) WARN_UNUSED;
int mount_note (struct mount *m, const char *line) WARN_UNUSED;

/* Block cache by path of a sealed snapshot or below ("eu/orders/latest/x"): pin, unpin, warm,
 * drop. */
int mount_cache_command (struct mount *m, const char *verb, const char *path) WARN_UNUSED;

#endif
