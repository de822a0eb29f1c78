/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of this layer, for its own files only.
 *
 *   mount -> regions -> vaults -> open snapshots (struct snap), sealed snapshots (struct sealed)
 *
 * Locks, outermost first: mount->lock (tables), vault->lock (catalog), snap->lock (state), then
 * those of worktree.h, then the store's.  Objects are never freed before the mount, but for sealed
 * trees' pages and working trees nobody refers to any more. */
#ifndef COFFER_SNAPSHOT_PRIV_H
#define COFFER_SNAPSHOT_PRIV_H

#include "base/lock.h"
#include "base/pool.h"
#include "cache/blockcache.h"
#include "format/checkpoint.h"
#include "format/manifest.h"
#include "snapshot/mount.h"
#include "snapshot/names.h"
#include "snapshot/overlay.h"
#include "snapshot/worktree.h"
#include "store/chunker.h"
#include "store/pipeline.h"
#include "store/reader.h"

struct region;
struct vault;
struct snap;
struct sealed;

struct mount {
  /* immutable after new */
  struct mount_opts opts;
  struct pipeline *line;
  struct reader *reader;
  struct blockcache *cache;
  struct overlay_budget overlay;
  _Atomic size_t ahead_bytes; /* in reordering windows */
  struct pool *workers;   /* seals, fsync groups, drains: they wait for chunks to be placed */
  struct pool *askers;    /* listings, first checkpoints: chunks wait for them, they for none */
  uint8_t host_id[16];
  char host[65];
  char scratch[4096];     /* state-dir/scratch */
  struct region **regions;
  size_t region_count;
  int64_t started;
  pthread_t committer;
  bool has_committer;
  /* guarded by lock */
  struct lock lock;
  pthread_cond_t wake;    /* the committer */
  struct snap **snaps;    /* by number */
  struct snap *live;      /* newest first: those that have a tree, however many were made */
  uint32_t snap_count, snap_cap;
  struct sealed **sealed; /* by number */
  uint32_t sealed_count, sealed_cap;
  bool is_stopping, is_cancelled;
  bool has_work;
  bool is_marking;
  size_t joins; /* whose turn it is to be looked for */
};

struct region {
  struct mount *mount;
  unsigned no;
  char name[64];
  struct blob *blob;
  struct keyring *keys; /* both NULL until the store was opened; others look once `away` is 0 */
  _Atomic int away;     /* why its store could not be opened yet (join_run); 0: it is there */
  int (*open) (void *open_ctx, struct blob **blob, struct keyring **keys);
  void *open_ctx;
  /* guarded by mount->lock */
  bool is_joining;
  struct vault **vaults;
  uint32_t vault_count, vault_cap;
  int64_t listed; /* when the vaults were listed; 0 never */
  bool is_listing; /* in the background */
  int64_t clock_offset; /* store's clock minus ours, ns; as `keys` */
};

/* One sealed snapshot in the catalog. */
struct catalog_entry {
  char ts[SNAPSHOT_TS_MAX];
  char digest[2 * DIGEST_LEN + 1];
  int64_t instant, sealed_time;
  struct sealed *tree;    /* loaded, or NULL */
  bool is_not_latest;     /* a log archive, or sealed by idleness: known once loaded */
};

struct vault {
  struct region *region;
  uint32_t no;
  char name[64];
  struct vault_keys *keys;
  struct gear gear;
  struct index *index;
  struct pipe *pipe;
  struct reader_source source;
  uint8_t cache_tag[STORE_ID_LEN];
  struct lock lock; /* LOCK_VAULT: what follows */
  pthread_cond_t changed;
  bool is_open, is_opening; /* keys, index, pipe are there */
  bool index_is_loading;
  int64_t index_listed;          /* clock_now of the last listing of deltas; 0 never */
  bool has_news;                 /* since then a listing showed what others have sealed */
  struct catalog_entry *entries; /* ascending by ts */
  size_t entry_count, entry_cap;
  int64_t listed;                /* clock_now of the last listing; 0 never */
  bool is_listing;
  char seen[SNAPSHOT_TS_MAX + 2 * DIGEST_LEN + 2]; /* newest sealed one ever seen: ts.digest */
  char lacks[2 * DIGEST_LEN + 1]; /* a digest some manifest names and no listing shows; "" none */
  bool seen_is_loaded, is_behind; /* the one seen is not shown */
  /* Changed under the lock, looked at without it too. */
  _Atomic bool shows_less;
  _Atomic int64_t known_since;   /* seen in the store or made by mkdir here; 0: not shown */
  _Atomic bool is_unmarked;      /* made here, and the store does not show it yet (vault_mark) */
  unsigned open_snaps;
  int64_t session_wall, session_mono; /* when the session of the index began */
  /* parts of other hosts as they were seen last (parts.c) */
  struct part_seen *others;
  size_t other_count;
  int64_t others_listed;         /* clock_now; 0 never */
  bool is_listing_others;
  /* packs of others pinned while any snapshot is open (doc/decisions) */
  struct pack_table pins;
};

enum snap_life { LIFE_OPEN, LIFE_SEALING, LIFE_SEALED, LIFE_GONE };

struct snap {
  _Atomic unsigned users; /* calls under way, and open handles: the tree stays */
  struct snap *next_live; /* guarded by mount->lock; kept when it leaves: a walk goes on from it */
  struct mount *mount;
  struct vault *vault;
  uint32_t no;
  struct snapshot_name name;  /* under which its checkpoints stand */
  struct snapshot_name final; /* under which it is sealed: may have gained a label */
  bool is_direct;         /* made without .partial */
  char part[17];
  struct worktree *tree;
  int64_t created;        /* wall clock */
  struct lock lock;       /* LOCK_SNAPSHOT: what follows */
  pthread_cond_t changed;
  _Atomic enum snap_life life; /* changed under the lock, looked at without it too */
  bool is_interrupted;
  /* a handle went away without a clean last close, or an error: no idle seal */
  bool had_unclean;
  _Atomic int error;              /* sticky */
  char error_text[256];
  _Atomic int64_t last_write, sealed_at, removed_at;
  _Atomic uint64_t received;      /* bytes taken from writers */
  uint32_t writers;
  struct file *files;     /* open handles for writing */
  struct filedata *dirty; /* file data in memory or overlay; each pins its inode */
  _Atomic unsigned placed_waiters;
  struct pipe_dep dep;
  /* Checkpoints (commit.c): turns are taken and ended in order; those between are on their way. */
  uint64_t turns_taken, turns_over;
  unsigned turns_most;    /* at once, ever */
  bool is_building;       /* the newest of them is being built */
  /* A group pushes and builds: what it pushed stays in the extents until it is told of, so what is
   * written over it goes to the overlay, and others' pushes of that wait (file.c). */
  _Atomic bool is_syncing;
  _Atomic bool is_overrun; /* the overlay could not take one of those writes */
  bool overruns[CHECKPOINTS_FLYING]; /* in a turn on its way: it is not enough for its waiters */
  int broken;             /* what one failed with: those after it fail too, none begins before all
                           * have ended */
  bool is_quiet;          /* the seal waits for the end of all: no new ones */
  struct buf undone;      /* the change logs of those that failed */
  uint32_t seq;           /* the last number given */
  uint32_t confirmed;     /* the last one in the store with all before it */
  uint32_t resumes;       /* after a recovery or a break: the one the next builds on */
  _Atomic bool is_pinned, is_pinning; /* the first checkpoint stands, gc/ was read after it */
  /* how many of vault->pins stand in a checkpoint of this snapshot, and in a confirmed one */
  uint32_t pins_named, pins_confirmed;
  struct mount_wait *waiters, *waiters_tail; /* fsyncs */
  _Atomic int64_t last_checkpoint;
  bool wants_checkpoint;
  bool had_commits, is_draining;
  _Atomic bool is_cut;    /* writes get EROFS: the seal has drawn its line */
  char doubtful[2 * DIGEST_LEN + 1]; /* of a `.sealed` whose put was not answered */
  /* the seal */
  unsigned seal_flags;
  int seal_result;
  const char *seal_how; /* rename, command, idle, force */
  char *without;        /* hosts and parts to leave out, or NULL */
  int64_t seal_ended;   /* clock_now */
  /* parts (ruling 24) */
  bool is_joiner;       /* no part: only joins those of others; seen by nobody but status */
  _Atomic bool is_finished; /* writes get EROFS: others may join it */
  _Atomic bool is_finish_sure; /* ... and the checkpoint that says so is known to be in the store */
  _Atomic bool is_late; /* a seal may be under way that does not know of this part */
  bool is_left_out;     /* error_text says of what */
  _Atomic int64_t looked; /* clock_now: for its snapshot, sealed by others */
  size_t siblings;      /* sealed ones of this instant when it was looked at */
  struct checkpoint_counts past; /* of sessions before this one */
  struct manifest_meta *meta;
  size_t meta_count;
  char parent[SNAPSHOT_TS_MAX];
  struct sealed **pinned_trees; /* whose packs may be referred to */
  size_t pinned_count;
  struct manifest_counts counts;
};

/* An open handle. */
struct file {
  struct snap *snap;     /* open tree, or NULL */
  struct inode *inode;   /* pinned */
  struct sealed *sealed; /* sealed tree, or NULL */
  uint64_t node;
  unsigned mode;
  struct file *next;     /* in snap->files */
  bool wrote;
  /* sealed: the row's extents and where the reader is (read-ahead) */
  struct sealed_file *sf;
};

void snap_fail (struct snap *s, int rc, const char *what);
/* Wakes the committer. */
void mount_kick (struct mount *m);

/* node ids */
enum node_top { TOP_STATIC = 0, TOP_VAULT = 1, TOP_LATEST = 2, TOP_SEALED = 3, TOP_OPEN = 4 };
static inline enum node_top
node_top (uint64_t node)
{
  return (enum node_top) (node >> 56);
}
static inline uint64_t
node_of_vault (const struct vault *v, bool is_latest)
{
  return (uint64_t) (is_latest ? TOP_LATEST
                     : TOP_VAULT) << 56 | (uint64_t) v->region->no << 32 | (v->no + 1);
}
static inline uint64_t
node_of_region (const struct region *r)
{
  return (uint64_t) TOP_VAULT << 56 | (uint64_t) r->no << 32;
}
#define NODE_LOW_BITS 36
#define NODE_LOW_MASK ((1ull << NODE_LOW_BITS) - 1)
static inline uint64_t
node_of_open (const struct snap *s, uint64_t ino)
{
  return (uint64_t) TOP_OPEN << 56 | (uint64_t) s->no << NODE_LOW_BITS | ino;
}
#define NODE_BARE (1ull << (NODE_LOW_BITS - 1)) /* node_is_bare */
static inline uint64_t
node_of_sealed (uint32_t no, uint64_t row, bool has_xattrs)
{
  return (uint64_t) TOP_SEALED << 56 | (uint64_t) no << NODE_LOW_BITS
    | (has_xattrs ? 0 : NODE_BARE) | row;
}
static inline uint32_t
node_number (uint64_t node)
{
  return (uint32_t) (node >> NODE_LOW_BITS) & 0xfffff;
}
static inline uint64_t
node_low (uint64_t node)
{
  return node & NODE_LOW_MASK;
}

#endif
