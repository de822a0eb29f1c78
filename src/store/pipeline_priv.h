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

struct lane {
  struct packing *pack;
  uint64_t stream;
  uint32_t run;     /* bytes of the present run */
  int64_t touched;
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
  bool chunk_cancelled;
};

struct batch {
  struct pool_job job; /* first */
  struct pipe *pipe;
  struct pipe_chunk *head, *tail;
  size_t bytes;
  unsigned count;
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
  struct batch *batch;          /* being filled */
  struct batch *held, *held_tail; /* waiting for pipe_unhold (linked by job.next) */
  unsigned holds;               /* snapshots that begin: their chunks and all others' wait */
  unsigned batches;             /* submitted, not finished */
  uint32_t index_seq;
  uint64_t pack_serial;
};

/* A place in a pack, linked from it between reserve and commit: it stays where it is. */
struct slot {
  struct slot *next;
  struct packing *pack;
  uint8_t *at;
  uint32_t off, entry;
};
/* Waits for a buffer if it must.  ERR_CANCELLED, ERR_NOMEM. */
int packer_reserve (struct pipe *v, int type, int codec, uint64_t stream, uint32_t sealed_len,
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

#endif
