/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline - from plaintext chunks to packs in the store.
 *
 *   pipe_push -> a stream's turn in a lane (two for data, one for metadata)
 *             -> sealer pool: id, dedup, compress, encrypt into the lane's pack, open again and
 *                compare
 *             -> upload pool: table, rest of the name (SHA-256), put
 *
 * One pipeline serves a mount; a pipe is one vault's entry to it.  Memory: chunk buffers (soft
 * limit chunk_bytes, see pipeline_admit), and at most PACKS_MAX pack buffers, filling or flying; a
 * sealer waits when none is free.  The plaintext of a chunk is freed when its sealed form lies in a
 * pack.
 *
 * A chunk is *placed* when done() is called: its reference names a pack by the index's number,
 * which may still be in memory.  It is *durable* when that pack is done.  Whoever refers to a
 * placed chunk depends on its pack (struct pipe_dep), whoever began it (ruling 27): a pack is sent
 * as long as anyone depends on it, and its final failure sticks to every dep.
 *
 * Threads: any.  done() runs on a sealer thread without locks. */
#ifndef COFFER_STORE_PIPELINE_H
#define COFFER_STORE_PIPELINE_H

#include "base/cleanup.h"
#include "base/pool.h"
#include "blob/blob.h"
#include "format/format.h"
#include "format/pack.h"
#include "store/index.h"
#include "store/keys.h"
#include "store/seal.h"

#define PACKS_MAX 6          /* 3 filling, 3 flying (ruling 4) */
#define LANE_RUN_BYTES (4u << 20)
#define SLOW_RATE (100u * 1000 * 1000) /* bytes per second: below it a pack takes long */
#define SLOW_PACK_MIN (6u << 20)       /* so that the seal has nothing to merge */
#define SLOW_RUNS (16u << 20)          /* what the streams' runs may come to in all */
#define SLOW_BACKLOG (36u << 20)       /* and two packs */
#define PACK_MAX_ENTRIES 32768u
#define PIPE_SMALL_FILES UINT64_C (0) /* the stream of all of them */

struct pipeline;
struct pipeline_opts {
  int sealers;        /* threads; 0: one per processor, at most 8 */
  int uploaders;      /* 3 */
  size_t chunk_bytes; /* 48 MiB */
};
int pipeline_new (const struct pipeline_opts *opts, struct pipeline **out) WARN_UNUSED;
void pipeline_free (struct pipeline *p); /* after all pipes are freed */
DEFINE_FREEP (pipeline);
/* Over the soft limit: writers are to be held. */
bool pipeline_is_full (struct pipeline *p);
/* Over half of it: buffers are lent as they are needed, not ahead. */
bool pipeline_is_tight (const struct pipeline *p);
/* Waits until it is not full: 0, ERR_AGAIN after TIMEOUT, ERR_CANCELLED. */
int pipeline_admit (struct pipeline *p, int64_t timeout_ns) WARN_UNUSED;
void pipeline_cancel (struct pipeline *p);
struct pipeline_stats {
  size_t chunk_bytes, chunk_max;
  unsigned filling, flying;
};
void pipeline_stats_get (struct pipeline *p, struct pipeline_stats *out);

struct pipe;
struct pipe_opts {
  struct blob *blob;             /* borrowed; with retry and throttle in it */
  const struct vault_keys *keys; /* borrowed */
  struct index *index;           /* borrowed */
  const char *vault;
  int zstd_level;
};
int pipe_new (struct pipeline *p, const struct pipe_opts *opts, struct pipe **out) WARN_UNUSED;
/* Everything pushed must be durable or failed (pipe_drain). */
void pipe_free (struct pipe *v);
DEFINE_FREEP (pipe);
const char *pipe_session (const struct pipe *v); /* 16 hex digits */

/* What somebody (a snapshot) waits for. */
struct pipe_dep {
  unsigned unplaced;   /* chunks pushed, not placed */
  unsigned unfinished; /* packs placed into, not done */
  int error;           /* first final failure of either; sticky */
  /* bytes: sealed length of new chunks, plain of new, plain of known; looked at by anybody */
  _Atomic uint64_t stored, fresh, dedup;
};

struct pipe_chunk {
  struct pipe_chunk *next;
  struct pipe *pipe;
  struct pipe_dep *dep;
  uint8_t *data;       /* from pipe_chunk_new */
  size_t cap;
  uint32_t len;
  uint32_t crc;        /* CRC-32C of data as it left the kernel (ruling 19) */
  int type;            /* enum unit_type */
  uint64_t stream;     /* neighbours share one: they lie together in a pack */
  bool is_last;        /* of its stream */
  uint64_t serial;     /* order of pushing; the pipeline's */
  struct pipe *counts; /* whose backlog it counts in, with `counted` bytes; the pipeline's */
  uint32_t counted;
  void (*done) (struct pipe_chunk *c, int rc); /* owns C: ends with pipe_chunk_free */
  void *ctx;
  uint64_t ctx_a, ctx_b; /* the owner's */
  /* results */
  struct chunk_ref ref; /* ref.pack: the index's number */
  bool is_dup;
};
/* A chunk with room for CAP bytes (at most 8 MiB + 4 KiB), counted into the limit; NULL: no
 * memory. */
struct pipe_chunk *pipe_chunk_new (struct pipeline *p, size_t cap);
/* The same with more room, contents kept. */
int pipe_chunk_grow (struct pipeline *p, struct pipe_chunk *c, size_t cap) WARN_UNUSED;
void pipe_chunk_free (struct pipeline *p, struct pipe_chunk *c);

/* N bytes more were written into C, which will be pushed to V: they are V's backlog from now on. */
void pipe_chunk_count (struct pipe *v, struct pipe_chunk *c, uint32_t n);
/* Where uploads are limited to less than SLOW_RATE, packs are smaller, runs shorter where many
 * write, and writers are let in as bytes leave, not as buffers become free: a buffer is a pack, and
 * at 1 MB/s that is 16 s of nothing, then all at once (ruling 11).  The backlog is what was written
 * and has not left; it counts bytes, no clock is looked at.
 * True: V's backlog is at its bound, and enough of it is on its way to keep the line busy. */
bool pipe_is_behind (struct pipe *v);
/* Waits until neither V is behind nor the pipeline full: 0, ERR_AGAIN, ERR_CANCELLED. */
int pipe_admit (struct pipe *v, int64_t timeout_ns) WARN_UNUSED;
/* What a writer of V may be given at once, at most MOST: what the line takes in half a second,
 * shared by all streams that write. */
size_t pipe_write_step (struct pipe *v, size_t most);
/* C needs dep, data, len, crc, type, stream, done.  Small chunks are batched: pipe_kick sends them
 * on. */
void pipe_push (struct pipe *v, struct pipe_chunk *c);
void pipe_kick (struct pipe *v);
/* No more chunks of STREAM follow: its lane is free for others. */
void pipe_end_stream (struct pipe *v, uint64_t stream);
/* STREAM has a lane and is in the midst of its run: its writer is let in although the buffers are
 * full, since the others' chunks wait for the end of that run. */
bool pipe_favours (struct pipe *v, uint64_t stream);
/* While held, chunks wait before dedup (until the session's pins are proven, ruling 1). */
void pipe_hold (struct pipe *v);
void pipe_unhold (struct pipe *v);
/* Waits until all DEP's chunks are placed. */
int pipe_wait_placed (struct pipe *v, struct pipe_dep *dep) WARN_UNUSED;
/* Closes packs that hold anything, so that they are sent.  META: the metadata lane only.  Returns a
 * ticket that stands for all packs begun so far. */
uint64_t pipe_close_packs (struct pipe *v, bool meta_only);
#define PIPE_ALL UINT64_MAX
/* Waits until the names of the packs DEP is in, up to TICKET, are known (they may still fly). */
int pipe_wait_named (struct pipe *v, struct pipe_dep *dep, uint64_t ticket) WARN_UNUSED;
/* Waits until the packs of DEP up to TICKET are done; returns its sticky error. */
int pipe_wait_durable (struct pipe *v, struct pipe_dep *dep, uint64_t ticket) WARN_UNUSED;
/* DEP refers to a chunk in pack NO as well (a copied reference).  False: the pack failed and is
 * gone. */
bool pipe_depend (struct pipe *v, struct pipe_dep *dep, uint32_t no);
/* No pack refers to DEP any more after this. */
void pipe_dep_release (struct pipe *v, struct pipe_dep *dep);
/* Waits until nothing of this vault is on its way. */
void pipe_drain (struct pipe *v);

/* Copies sealed bytes from a pack still in memory; false: not in memory (it is done, or failed). */
bool pipe_read_pack (struct pipe *v, uint32_t no, uint32_t off, uint32_t len, uint8_t *out);

/* The name of a pack in memory, up to TICKET, that has one already: ERR_STATE not yet or a later
 * pack, ERR_MISSING not in memory. */
int pipe_pack_name (struct pipe *v, uint32_t no, uint64_t ticket,
                    uint8_t name[PACK_NAME_LEN]) WARN_UNUSED;

/* Puts an index delta of the packs done since the last one; nothing to say is 0. */
int pipe_put_index (struct pipe *v) WARN_UNUSED;

/* Opens packs of this size class again: for merging small packs at the seal.  Copies an already
 * sealed chunk into the current packs; *ref is changed to the new place. */
int pipe_copy_sealed (struct pipe *v, struct pipe_dep *dep, int type, int codec,
                      const uint8_t *sealed,
                      struct chunk_ref *ref) WARN_UNUSED;

#endif
