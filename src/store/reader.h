/* SPDX-License-Identifier: Apache-2.0 */
/* reader - gives opened chunks: from memory, from the block cache, or from the store.
 *
 *   decoded-chunk memory (bounded, LRU with scan protection)
 *     <- raw memory: sealed byte ranges of packs that were fetched ahead (bounded)
 *     <- block cache on disk (through struct reader_cache, so that this layer knows no SQLite)
 *     <- a store that is a local directory: each unit is read in steps as it is decrypted
 *        (open_unit_from), its sealed bytes are never kept; read-ahead is in opened chunks
 *     <- ranged GETs: wanted ranges of one pack with gaps <= READER_GAP are merged into GETs of
 *        at most READER_GET_MAX, several in flight, foreground before read-ahead.
 *
 * Read-ahead works in two spaces.  File space: the caller names the next chunks (reader_prefetch).
 * Pack space: misses that walk forward through a pack double a window (from the chunk alone up to
 * READER_WINDOW_MAX), so small files written in tree order are fetched together (ruling 28), while
 * a random reader gets its chunk and little more.  Bytes read ahead are never more than
 * READER_AHEAD_MAX in all.
 *
 * Truth: a chunk is given only if its unit opened under its id (tag checked).  Damage in the block
 * cache is dropped and fetched again, once; damage from the store is ERR_FORMAT (ERR_VERSION where
 * the unit's first byte says so), a missing pack ERR_MISSING, both logged with pack name and
 * offset.  Nothing else is ever returned for them.  When a pack has gone because the collector
 * moved its chunks, `relocate` is asked once.
 *
 * Threads: any.  Without READER_NOWAIT a call may wait for the network and no ranked lock may be
 * held. */
#ifndef COFFER_STORE_READER_H
#define COFFER_STORE_READER_H

#include "base/cleanup.h"
#include "blob/blob.h"
#include "format/format.h"
#include "store/keys.h"

#define READER_GAP (256u << 10)
#define READER_GET_MAX (8u << 20)
#define READER_WINDOW_MAX (16u << 20)
#define READER_AHEAD_MAX (24u << 20) /* and at most 3/4 of raw_bytes */

/* The block cache, as the reader sees it.  Keys are (pack, off).  All calls may do local disk
 * I/O. */
struct reader_cache {
  void *ctx;
  /* Copies the sealed unit of exactly LEN bytes; false on a miss or any trouble. */
  bool (*get) (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
               uint8_t *out);
  void (*put) (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
               const uint8_t *sealed);
  void (*drop) (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off);
  /* Is it there (no data read)?  May be NULL: then get is asked. */
  bool (*has) (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off);
};

struct reader_limits {
  size_t decoded_bytes; /* 32 MiB */
  size_t raw_bytes;     /* 32 MiB, read-ahead and GETs in flight included */
  int fetch_threads;    /* 32: a quarter is kept for the foreground */
  int decode_threads;   /* 2: decrypt and decompress ahead */
};

/* Where one vault's packs are read from. */
struct reader_source {
  struct blob *blob;             /* borrowed */
  const struct vault_keys *keys; /* borrowed */
  char prefix[128];              /* "vaults/<db>/packs/" */
  struct reader_cache cache;     /* ctx NULL: none (a local store is not cached) */
  /* Finds another place of chunk ID of TYPE (enum unit_type: trees move as well as data) after its
   * pack was not found; false if unknown.  May be NULL. */
  bool (*relocate) (void *ctx, int type, const uint8_t id[ID_LEN], struct chunk_ref *ref,
                    uint8_t pack[PACK_NAME_LEN]);
  void *relocate_ctx;
};

struct reader;
int reader_new (const struct reader_limits *limits, struct reader **out) WARN_UNUSED;
void reader_free (struct reader *r); /* waits for what is under way */
DEFINE_FREEP (reader);

/* A wanted chunk.  SRC must outlive every call and view that uses it (reader_forget_source before
 * it goes). */
struct chunk_want {
  struct reader_source *src;
  uint8_t pack[PACK_NAME_LEN];
  struct chunk_ref ref; /* ref.pack is unused */
  int type;             /* UNIT_DATA, UNIT_TREE_PAGE, ... */
};

/* An opened chunk in memory, counted. */
struct chunk_view {
  const uint8_t *data;
  uint32_t len;
};
void chunk_view_unref (struct chunk_view *v);

enum reader_flag {
  /* ERR_WOULDBLOCK instead of waiting for the network (local disk is allowed) */
  READER_NOWAIT = 1,
  READER_ONCE = 2,    /* a sequential scan: do not push others out of memory */
  READER_NO_CACHE = 4, /* neither look into nor fill the block cache: check --read-data */
};
/* All N chunks or an error (then no view is held).  Adjacent wants coalesce. */
int reader_load (struct reader *r, const struct chunk_want *wants, size_t n, unsigned flags,
                 struct chunk_view **views) WARN_UNUSED;
/* Starts fetching in the background; never waits.  The order is the order of use.  What has no room
 * now is remembered (some 1,000 chunks) and fetched as what is ahead gets used; naming a chunk
 * twice does no harm.  A small piece far ahead waits for neighbours that a later call may name. */
void reader_prefetch (struct reader *r, const struct chunk_want *wants, size_t n);
/* True if all bytes are in memory or in the block cache (user.coffer.cached). */
bool reader_is_cached (struct reader *r, const struct chunk_want *wants, size_t n);
void reader_forget_source (struct reader *r, struct reader_source *src);

struct reader_stats {
  uint64_t gets, get_bytes, wanted_bytes; /* from the store */
  uint64_t hits_memory, hits_cache, misses;
  uint64_t cache_damage, store_damage;
  size_t decoded_bytes, raw_bytes; /* now */
};
void reader_stats_get (struct reader *r, struct reader_stats *out);

/* Metadata and tools: one whole unit, opened into OUT (appended). */
int reader_unit (struct reader *r, const struct chunk_want *want, struct buf *out) WARN_UNUSED;

#endif
