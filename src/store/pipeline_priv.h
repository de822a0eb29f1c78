/* SPDX-License-Identifier: Apache-2.0 */
/* What pipeline.c, packer.c and upload.c share.  One lock (LOCK_LANE) guards lanes, packs and
 * deps. */
#ifndef COFFER_STORE_PIPELINE_PRIV_H
#define COFFER_STORE_PIPELINE_PRIV_H

#include "base/lock.h"
#include "store/pipeline.h"
#include "store/sha_pair.h"

enum { LANE_DATA_A, LANE_DATA_B, LANE_META, LANES };

/* A pack in memory.  Life: filling -> closing (no new reservations) -> flying (nothing reserved is
 * unwritten; the upload job runs) -> done or failed, then the memory goes when no reader holds
 * it. */
enum pack_state { PACK_FILLING, PACK_CLOSING, PACK_FLYING };

struct slot;
struct packing {
  struct pool_job job; /* first: the upload */
  struct packing *next; /* in pipe->packs */
  struct pipe *pipe;
  enum pack_state state;
  uint32_t no;
  uint64_t serial;         /* within the pipe, ascending */
  enum pack_kind kind;
  uint8_t *data;
  size_t cap;
  uint32_t off;            /* end of what is reserved */
  uint32_t target;         /* no more than this, if it has anything */
  uint32_t sent;           /* of off: left the process in this attempt; the uploader's */
  unsigned unwritten;      /* reservations not yet committed, and one while it is being hashed */
  struct slot *open;       /* those reservations: what lies before the first of them is final */
  /* The name in the making: of the first `hashed` bytes; owned by who set is_hashing. */
  struct sha_stream sha;
  uint32_t hashed;
  bool is_hashing;
  unsigned readers;        /* copies being made */
  bool is_named, is_over;  /* over: out of the list, freed by the last reader */
  uint8_t name[PACK_NAME_LEN];
  uint8_t salt[PACK_SALT_LEN];
  struct pack_entry *entries;
  uint32_t count, entry_cap;
  struct pipe_dep **deps;
  uint32_t dep_count, dep_cap;
  int64_t touched;
};

/* A lane is a pack that is being filled, and whose turn it is to fill it (ruling 4).
 *
 *   L1  A data chunk is placed in the lane that its stream owns; a stream owns at most one lane.
 *   L2  Who owns a lane keeps it for a run of LANE_RUN_BYTES (behind a throttle less, if many
 *       write: SLOW_RUNS), or until its stream ends; then it goes to the stream of the chunk that
 *       waits longest, if any does.
 *   L3  The new owner begins when all of the old one's chunks are placed: a run is contiguous but
 *       for the end of a pack.  (Two sealers may swap neighbours inside a run.)  Streams that ended
 *       within 2 MiB, files of a chunk or two, are not waited for.
 *   L4  No stream waits for ever: an owner that has nothing to give yields after IDLE_NS to who
 *       waits and pushes, and at once where somebody waits for chunks to be placed (pipe_kick).
 *   L5  Memory is no reason to wait for ever: while the buffers are full the owners' writers alone
 *       are let in (pipe_favours), up to the end of their runs; if nothing is being placed although
 *       chunks wait, those writers do not come, and pipeline_admit has the owners yield.  So all
 *       buffers may be held by streams without a lane: one of them has it soon after.  Beyond the
 *       soft limit of the buffers there is at most a run and a chunk for each lane.
 * Small files are one stream of their own (PIPE_SMALL_FILES), placed in the order in which they
 * were closed: they lie side by side (ruling 28).  Metadata has a lane of its own and no owner. */
struct lane {
  struct packing *pack;
  int64_t touched;   /* a chunk was placed */
  uint64_t stream;   /* owner */
  bool is_owned, must_drain;
  uint32_t run;      /* bytes taken of the present run */
  size_t ahead;      /* bytes of the owner that wait */
  unsigned busy;     /* chunks taken, not yet placed */
  int64_t moved;     /* the owner pushed, or something of it was taken */
};

struct chunk_list {
  struct pipe_chunk *head, *tail;
  size_t bytes;
  unsigned count;
};

#define RUNNERS_MAX 16
struct runner {
  struct pool_job job; /* first */
  struct pipe *pipe;
  bool is_busy;
};

struct pipeline {
  /* immutable after new */
  struct pipeline_opts opts;
  struct pool *sealers, *uploaders;
  struct lock lock; /* LOCK_LANE: what follows, and all pipes' lanes and packs */
  pthread_cond_t changed; /* packs, deps, buffers */
  unsigned packs;     /* buffers lent */
  unsigned flying;
  bool is_cancelled;
  struct pipe *pipes;
  struct lock chunk_lock; /* LOCK_PIPE: chunk_bytes */
  pthread_cond_t room;
  _Atomic size_t chunk_bytes; /* read without the lock too */
  size_t pushed;          /* chunks given to a pipe and not yet freed; atomic */
  int64_t freed_at;       /* a chunk was freed: something moves */
  bool chunk_cancelled;
};

struct pipe {
  struct pipeline *line;
  struct pipe_opts opts;
  char vault[64];
  char session[17];
  struct pipe *next;
  /* guarded by line->lock */
  struct lane lanes[LANES];
  struct packing *packs;
  struct chunk_list waiting, waiting_meta; /* in the order pushed */
  uint64_t chunk_serial;
  uint64_t hurry_upto;          /* chunks up to this one do not wait for a batch or an idle owner */
  bool is_hurried_meta;
  unsigned holds;               /* snapshots that begin: their chunks and all others' wait */
  struct runner runners[RUNNERS_MAX];
  unsigned active;              /* runners that are busy */
  uint32_t index_seq;
  uint64_t pack_serial;
  /* any thread */
  _Atomic uint64_t backlog; /* bytes written or packed that have not left */
  _Atomic uint64_t flying;  /* of them: in packs that take no more */
  _Atomic unsigned writing; /* streams with a chunk in the making */
};

/* The limit of V's uploads where it is below SLOW_RATE, else 0. */
uint64_t pipe_slow_rate (const struct pipe *v);
/* How large the next pack may be. */
uint32_t pipe_pack_target (const struct pipe *v);

/* A place in a pack, linked from it between reserve and commit: it stays where it is. */
struct slot {
  struct slot *next;
  struct packing *pack;
  uint8_t *at;
  uint32_t off, entry;
};
/* What is placed next, into *out (unlinked); returns its lane, -1: nothing now.  The lane's `busy`
 * goes down by one for each when it has been placed. */
int lanes_take_locked (struct pipe *v, struct chunk_list *out) WARN_UNUSED;
/* C waits.  True: a sealer should look. */
bool lanes_push_locked (struct pipe *v, struct pipe_chunk *c) WARN_UNUSED;
bool lanes_has_work_locked (const struct pipe *v);
/* What waits now is to be placed without waiting for more. */
void lanes_hurry_locked (struct pipe *v);
void lanes_end_stream_locked (struct pipe *v, uint64_t stream);

/* Waits for a buffer if it must.  ERR_CANCELLED, ERR_NOMEM. */
int packer_reserve (struct pipe *v, int lane, int type, int codec, uint32_t sealed_len,
                    uint32_t plain_len, const uint8_t id[ID_LEN], struct pipe_dep *dep,
                    struct slot *out) WARN_UNUSED;
void packer_commit (struct pipe *v, const struct slot *slot, bool is_good);
/* Up to MOST bytes of a pack of V that are final and not yet part of its name; NULL: none, or no
 * instructions for it (sha_pair.h).  They are hashed beside a chunk's id, soon after they were
 * written, while they are in a cache.  packer_hashed must follow. */
struct packing *packer_hash_next (struct pipe *v, uint32_t most, const uint8_t **at, uint32_t *len);
void packer_hashed (struct packing *k, uint32_t len);
void packer_close_locked (struct pipe *v, struct lane *lane);
void packer_depend_locked (struct packing *k, struct pipe_dep *dep);
struct packing *packer_find_locked (struct pipe *v, uint32_t no);
void packer_unread (struct packing *k);
void packer_over_locked (struct packing *k, int rc);
void upload_run (struct pool_job *job);
/* So much of K has left: it is no backlog any more. */
void upload_sent (struct packing *k, uint64_t sent);

#endif
