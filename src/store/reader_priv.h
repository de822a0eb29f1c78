/* SPDX-License-Identifier: Apache-2.0 */
/* reader_priv - the reader's tables.
 *
 * entry   a chunk in decoded memory, or being made (BUSY: one owner works on it, others wait).
 *         READY entries nobody holds stand in one of four lists:
 *           LIST_ONCE       sequential scans that asked not to disturb others
 *           LIST_USED       used once
 *           LIST_AHEAD      decoded ahead, not used yet
 *           LIST_PROTECTED  used again after much else was read; at most 3/5 of the memory
 * raw     sealed bytes of one range of a pack, and what is known of the units in them.
 *           QUEUED -> BUSY (being filled by one thread) -> READY or FAILED
 *         One of a direct source is the list of its units alone.
 *         READY ones without reference are given up, oldest first, when memory is needed.
 * walk    a reader that moves forward through one pack: the pack-space window (ruling 28).
 *
 * Memory: both kinds of buffers come from an arena each, which is the limit: what is lent and what
 * waits for reuse together never pass it.  A load takes all the decoded memory it needs at once, or
 * none, and waits holding nothing; who waits for raw memory has no raw memory of its own; so both
 * always become free.  One lock (LOCK_FETCH) guards all; nothing that can take long is done under
 * it. */
#ifndef COFFER_STORE_READER_PRIV_H
#define COFFER_STORE_READER_PRIV_H

#include <pthread.h>

#include "base/lock.h"
#include "base/pool.h"
#include "store/reader.h"
#include "store/seal.h"

#define READER_AHEAD_GET (4u << 20)       /* over a network: many of these in flight */
#define READER_AHEAD_GET_LOCAL (1u << 20) /* ... from a local store: a unit of work for a decoder */
#define READER_FRONT (4u << 20)           /* with so much ahead, small pieces wait for more */
#define READER_STALE_NS 8000000000LL      /* read ahead and not wanted for so long: may go */
#define READER_WINDOW_MIN (128u << 10)
#define READER_WINDOW_FREE (1u << 20)     /* a window up to here needs no history */
#define READER_MEMORY_WAIT_NS 20000000000LL
#define READER_HINTS 1024u /* chunks announced that found no room yet: 0.1 MiB */
#define HINT_FILTER 4096u
#define ARENA_CLASSES 64
#define HASH_SIZE 4096u
#define CONDS 16
#define WALKS 32

struct arena {
  size_t limit, used, kept; /* used: lent and kept */
  struct arena_free {
    struct arena_free *next;
  } *free[ARENA_CLASSES];
};
void arena_init (struct arena *a, size_t limit);
void arena_release (struct arena *a);
/* NULL: no room.  MAY_TRIM: gives kept buffers of other sizes back to make it. */
uint8_t *arena_get (struct arena *a, size_t n, bool may_trim, size_t *cap);
void arena_put (struct arena *a, uint8_t *p, size_t cap);

enum entry_state { ENTRY_BUSY, ENTRY_READY, ENTRY_FAILED };
enum entry_list { LIST_ONCE, LIST_USED, LIST_AHEAD, LIST_PROTECTED, LISTS, LIST_NONE };

struct entry {
  struct chunk_view view; /* first */
  struct reader *reader;
  struct reader_source *src;
  uint8_t id[ID_LEN];
  int type;
  enum entry_state state;
  int err;
  unsigned refs;
  bool is_in_table;
  bool is_net;   /* busy, and its owner may be waiting for the network */
  bool is_ahead; /* decoded ahead, not used yet */
  bool is_once, is_protected;
  uint64_t born; /* reader.inserted at its first use */
  int64_t made_at;
  enum entry_list list;
  struct entry *prev, *next, *hash_next;
  uint8_t *buf;
  size_t cap;
};

enum raw_state { RAW_QUEUED, RAW_BUSY, RAW_READY, RAW_FAILED };
enum unit_from { FROM_NONE, FROM_CACHE, FROM_STORE };

struct unit {
  struct chunk_ref ref; /* ref.pack is unused */
  int type;
  enum unit_from from;
  bool is_opened; /* nobody needs to open it ahead */
};

struct raw {
  struct raw *prev, *next, *queue_next;
  struct reader_source *src;
  uint8_t pack[PACK_NAME_LEN];
  uint32_t off, len;       /* the range that is wanted */
  uint32_t got_lo, got_hi; /* what a GET filled */
  uint8_t *buf;
  size_t cap;
  enum raw_state state;
  int err;
  unsigned refs;
  bool is_ahead, is_window, is_queued;
  uint32_t consumed; /* bytes opened */
  uint32_t unit_count, next_unit;
  struct unit *units;
  int64_t made_at;
  struct raw *part[2]; /* a unit that two neighbours hold between them; references */
};

struct raw_list {
  struct raw *head, *tail;
};

struct walk {
  struct reader_source *src;
  uint8_t pack[PACK_NAME_LEN];
  uint32_t next, fetched, window;
  uint32_t size; /* of the pack; 0: not known */
  uint32_t steps;
  uint64_t used, used_at;
};

struct hint {
  struct chunk_want want; /* src NULL: not wanted any more */
  uint64_t front;         /* bytes that the same call named before it */
  int64_t at;
};

struct reader_job {
  struct pool_job job; /* first */
  struct reader *reader;
  bool is_running, is_decoder;
};

struct reader {
  /* immutable after new */
  struct reader_limits limits;
  size_t ahead_max, decoded_ahead_max;
  struct pool *fetchers, *decoders;

  struct lock lock; /* LOCK_FETCH */
  pthread_cond_t changed[CONDS], memory;
  /* guarded by lock */
  struct arena decoded, raw;
  struct entry *table[HASH_SIZE];
  struct entry *head[LISTS], *tail[LISTS];
  size_t list_bytes[LISTS];
  size_t ahead_bytes, raw_ahead_bytes; /* decoded ahead and not used; raw for read-ahead */
  size_t held_bytes;                   /* decoded memory that is held or being made */
  unsigned memory_waiters;
  uint64_t inserted;
  struct raw *raws; /* ring by age: raws is the oldest */
  struct raw_list fetch_first, fetch_ahead, decode, own; /* own: only who began it will fill it */
  unsigned fetching_ahead;
  bool has_stalled; /* a decoder stopped for want of memory */
  bool is_stopping;
  struct hint hints[READER_HINTS]; /* ring */
  uint32_t hint_first, hint_count;
  uint16_t hint_filter[HINT_FILTER]; /* how many hints have ids of this kind */
  struct walk walks[WALKS];
  uint64_t walk_tick;
  struct reader_job *jobs; /* fetch_threads, then decode_threads */
  struct sealer_item {
    struct sealer *sealer;
    struct sealer_item *next;
  } *sealers;
  struct reader_stats stats;
};

static inline pthread_cond_t *
cond_of (struct reader *r, const void *p)
{
  return &r->changed[((uintptr_t) p >> 6) % CONDS];
}
static inline bool
is_local (const struct reader_source *src)
{
  return (src->blob->caps & BLOB_CAP_LOCAL) != 0;
}

/* Read straight into an opened chunk: no sealed bytes in memory.  A read of a file costs no more in
 * small steps than in large ones. */
static inline bool
is_direct (const struct reader_source *src)
{
  return is_local (src) && !src->cache.ctx;
}

/* Lengths and offset that a unit can have: they come from stored pages. */
bool want_is_possible (const struct chunk_want *w);
/* ERR_FORMAT, logged, where not; ERR_LIMIT: more sealed bytes than this reader may hold. */
int want_check (const struct reader *r, const struct chunk_want *w) WARN_UNUSED;

/* reader_table.c: decoded memory.  All under the lock. */
struct entry *entry_find (struct reader *r, const struct reader_source *src, int type,
                          const uint8_t id[ID_LEN]);
/* A BUSY entry with one reference, in the table; NULL: no memory now.  IS_AHEAD: only memory that
 * read-ahead may take. */
struct entry *entry_new (struct reader *r, const struct chunk_want *w, bool is_ahead);
void entry_ref (struct reader *r, struct entry *e);
void entry_unref (struct reader *r, struct entry *e);
/* A read of a READY entry that is held: moves it up. */
void entry_use (struct reader *r, struct entry *e, bool is_once);
/* The owner is done: READY, or FAILED with ERR (then it leaves the table). */
void entry_done (struct reader *r, struct entry *e, int err);
void entry_forget (struct reader *r, struct entry *e); /* leaves the table */
void table_forget (struct reader *r, const struct reader_source *src);
void table_release (struct reader *r);

/* reader_raw.c: sealed bytes.  Under the lock unless said otherwise. */
/* Covers [off, off+len), now or when it is filled; NULL: none.  Adds a reference. */
struct raw *raw_find (struct reader *r, const struct reader_source *src,
                      const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len);
/* OFF, or the end of what raws of the pack hold or will hold from there on without a gap. */
uint32_t raw_covered_to (struct reader *r, const struct reader_source *src,
                         const uint8_t pack[PACK_NAME_LEN], uint32_t off);
/* How much of [off, off+len) comes before the next raw. */
uint32_t raw_free_from (struct reader *r, const struct reader_source *src,
                        const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len);
/* Two neighbours that cover it between them (windows end anywhere).  Adds references. */
bool raw_find_parts (struct reader *r, const struct chunk_want *w, struct raw *part[2]);
/* Copies the bytes together; false: they are not there.  All three are held; without the lock. */
bool raw_join (struct raw *raw);
/* A QUEUED raw with one reference and room for UNITS; NULL: no memory now.  That of a direct source
 * is only the list of its units: READY, without bytes. */
struct raw *raw_new (struct reader *r, const struct chunk_want *first, uint32_t off, uint32_t len,
                     size_t units, bool is_ahead);
/* Read-ahead of LEN bytes stays within its limit, after stale ones are given up. */
bool raw_ahead_room (struct reader *r, uint32_t len);
void raw_unit (struct raw *raw, const struct chunk_want *w);
void raw_ref (struct raw *raw);
void raw_unref (struct reader *r, struct raw *raw);
/* Bytes of a unit if they are there (READY), and whence. */
const uint8_t *raw_bytes (const struct raw *raw, uint32_t off, uint32_t len, enum unit_from *from);
/* A unit was opened: its bytes are not needed any more. */
void raw_consumed (struct raw *raw, uint32_t off, uint32_t len);
/* No longer read ahead: may go before those that are. */
void raw_settle (struct reader *r, struct raw *raw);
/* Fills BUSY RAW: from the block cache, then from the store.  ERR_WOULDBLOCK with READER_NOWAIT
 * where that takes the network.  Without the lock. */
int raw_fill (struct reader *r, struct raw *raw, unsigned flags) WARN_UNUSED;
/* BUSY is over; wakes who waits.  Under the lock. */
void raw_done (struct reader *r, struct raw *raw, int err);
void raw_list_add (struct raw_list *l, struct raw *raw);
struct raw *raw_list_take (struct raw_list *l);
bool raw_list_remove (struct raw_list *l, struct raw *raw);
void raws_forget (struct reader *r, const struct reader_source *src);
void raws_release (struct reader *r);
/* GET of [off, off+len) of a pack, counted.  Without the lock. */
int store_get (struct reader *r, const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
               uint32_t off, uint32_t len, uint8_t *out) WARN_UNUSED;
/* What it does after the blob's answer RC: counts, logs, and returns what is to be returned. */
int store_got (struct reader *r, const struct reader_source *src, const char *key, uint32_t off,
               uint32_t len, int rc) WARN_UNUSED;
void pack_key (const struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
               char out[BLOB_KEY_MAX + 1]);

/* reader_open.c: from sealed bytes to an entry.  Without the lock. */
struct sealer_item *sealer_take (struct reader *r);
void sealer_give (struct reader *r, struct sealer_item *s);
/* Opens SEALED into E; keeps the block cache right.  ERR_FORMAT: damage; from the store it is
 * logged and counted, from the cache dropped there and counted. */
int open_entry (struct reader *r, struct entry *e, const struct chunk_want *w,
                const uint8_t *sealed, enum unit_from from, unsigned flags) WARN_UNUSED;
/* The same of a direct source, whence its bytes come as they are opened. */
int open_direct (struct reader *r, struct entry *e, const struct chunk_want *w) WARN_UNUSED;
/* One chunk alone, from the store (after the cache or a range was damaged or in vain), asking
 * relocate once.  Takes raw memory. */
int fetch_alone (struct reader *r, struct entry *e, const struct chunk_want *w,
                 unsigned flags) WARN_UNUSED;

/* reader_ahead.c: read-ahead and the threads.  Under the lock. */
void fetch_kick (struct reader *r); /* wakes a fetcher where foreground work waits */
/* The queue's reference is the caller's. */
void fetch_queue (struct reader *r, struct raw *raw);
/* Something that was read ahead was used: there may be room for more. */
void ahead_resume (struct reader *r);
/* A foreground read of [off, end) that hints had not announced. */
void walk_step (struct reader *r, struct reader_source *src, const uint8_t pack[PACK_NAME_LEN],
                uint32_t off, uint32_t end);
/* Is a reader on its way to END of PACK, or so little past it that he may still come back? */
bool walk_is_before (const struct reader *r, const struct reader_source *src,
                     const uint8_t pack[PACK_NAME_LEN], uint32_t end);
/* Bytes read for a window went unused. */
void walk_wasted (struct reader *r, const struct raw *raw);
void walks_forget (struct reader *r, const struct reader_source *src);
void reader_job_run (struct pool_job *job); /* without the lock */

/* reader_hints.c: what the callers said comes next.  Under the lock. */
void hints_place (struct reader *r);
/* It is being read now: no need to do it ahead.  Was it announced? */
bool hint_forget (struct reader *r, const struct chunk_want *w);
void hints_forget_source (struct reader *r, const struct reader_source *src);

#endif
