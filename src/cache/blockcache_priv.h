/* SPDX-License-Identifier: Apache-2.0 */
/* blockcache_priv - how the block cache is made.
 *
 * DIR/index.db   SQLite: units (where each is), segs (the data files), pins
 * DIR/<id>.seg   segments: records [header 64][sealed unit] appended, never changed, removed as a
 *                whole
 * DIR/lock       flock while the index is opened, made or started afresh
 *
 * A unit's key is 38 bits of its pack's name (and store) over 26 bits of offset (PACK_MAX_BYTES),
 * so that the units of a pack are neighbours in the table.  The key is a hint: the record's header
 * names store, pack and offset in full and decides.
 *
 * Segments are of three kinds.  New units go to probation.  Room is made by taking the oldest
 * segment away: of probation, or of the protected kind where that has more than 4/5 of all; its
 * units that were used since they were written are written again, to the protected kind (with the
 * mark cleared), pinned ones to the pinned kind, the rest is forgotten.
 *
 * The index uses SQLite's rollback journal, not WAL: WAL's shared-memory file is mapped, so whoever
 * truncates it under a running mount kills the mount by SIGBUS, and this directory must survive
 * anything.  Nothing is fsynced: after a power cut the index may be garbage, and starts empty.
 *
 * One thread per cache writes (the writer); its connection and the fields under that heading are
 * its own.  Look-ups use a few read connections.  Nothing is called or logged under `lock`. */
#ifndef COFFER_CACHE_BLOCKCACHE_PRIV_H
#define COFFER_CACHE_BLOCKCACHE_PRIV_H

#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/pool.h"
#include "cache/blockcache.h"

#define REC_HEADER_LEN 64
#define REC_MAGIC 0x4b4c4243u /* "CBLK" */
#define KEY_OFF_BITS 26
#define QUEUE_BYTES (16u << 20) /* half of what is read ahead, which outruns a disk */
#define QUEUE_OPS 2048u
#define BATCH_BYTES (1u << 20) /* the writer waits for so much, */
#define BATCH_WAIT_NS (20 * 1000000LL) /* but not longer than this */
#define SEG_MIN_BYTES (256u << 10)
#define SEG_MAX_BYTES (32u << 20)
#define CONNS 8
#define SEG_FDS 64
#define BLOCK_BYTES 4096u
#define STAGE_BYTES (1u << 20)

enum unit_flag { UNIT_USED = 1, UNIT_PINNED = 2 };
enum seg_kind { SEG_PROBATION, SEG_PROTECTED, SEG_PINNED, SEG_KINDS };

struct unit_name {
  const uint8_t *store, *pack;
  uint32_t off;
};

struct unit_row {
  int64_t key, seg;
  uint32_t pos, len; /* of the record in the segment, of the sealed unit */
  int flags;
};

enum op_kind { OP_PUT, OP_DROP, OP_TOUCH, OP_PIN, OP_UNPIN, OP_CLEAR };

struct op {
  enum op_kind kind;
  _Atomic (bool) is_ready; /* filled: the writer may take it */
  uint32_t ring_off, len;  /* put: record in the ring, length of the sealed unit */
  uint64_t ring_end;       /* the ring is free up to here when the op is done */
  int64_t key;
  uint8_t name[STORE_ID_LEN + PACK_NAME_LEN]; /* pin, unpin */
  struct op_wait *wait;
};
struct op_wait {
  int err;
  bool is_done;
};

struct conn {
  sqlite3 *db;
  sqlite3_stmt *lookup;
  uint64_t generation;
  bool is_busy;
};

struct seg_fd {
  int64_t seg;
  int fd; /* -1: free */
  unsigned users;
  uint64_t used_at;
};

/* A segment this process appends to.  Records gather in the stage, which is the part of the file
 * from stage_off on; it is written past the page cache, in whole blocks, before the rows are
 * committed: what was just fetched is not wanted again so soon, and pages for it cost more than all
 * the rest. */
struct seg_out {
  int64_t id; /* 0: none */
  int fd;
  uint32_t pos, cap;
  uint32_t stage_off, stage_len; /* stage_off + stage_len == pos */
  bool is_dirty;
};

struct stmts {
  sqlite3_stmt *begin, *commit, *rollback;
  sqlite3_stmt *unit_get, *unit_put, *unit_del, *unit_use, *units_of_seg, *units_del_seg,
    *units_pin;
  sqlite3_stmt *seg_new, *seg_del, *seg_close, *seg_is, *seg_add, *seg_sub, *seg_sum, *seg_old,
    *seg_live;
  sqlite3_stmt *pin_is, *pin_add, *pin_del, *pin_any, *segs_unpin;
};

struct blockcache {
  /* immutable after open */
  char dir[PATH_MAX];
  struct pool *thread;
  struct pool_job job;
  uint8_t *ring; /* QUEUE_BYTES; who owns an op owns its part of the ring */

  struct lock lock; /* LOCK_CACHE */
  pthread_cond_t wake, done, conn_free;
  /* guarded by lock */
  struct op ops[QUEUE_OPS];
  uint64_t op_head, op_tail, ring_head, ring_tail;
  _Atomic (int) flush_waiters; /* a hint without the lock */
  bool is_stopping;
  struct conn conns[CONNS];
  struct seg_fd fds[SEG_FDS];
  uint64_t tick;

  /* atomic */
  _Atomic (bool) is_up;       /* the index is usable */
  _Atomic (int) suspect;      /* SQLite's code of a failed look-up, or 0: the writer must act */
  _Atomic (uint64_t) generation; /* of the index file: connections of an older one are closed */
  _Atomic (uint64_t) max_bytes;
  _Atomic (bool) is_max_changed;
  struct {
    _Atomic (uint64_t) hits, misses, evicted, damaged, write_errors, dropped_puts;
    _Atomic (uint64_t) bytes, units, pinned_bytes;
  } n;

  /* owned by the writer (before its start and after its end by open and free) */
  sqlite3 *db;
  struct stmts st;
  dev_t db_dev;
  ino_t db_ino;
  struct seg_out out[SEG_KINDS];
  uint8_t *stage[SEG_KINDS]; /* STAGE_BYTES each, made when needed */
  uint64_t soft_max; /* below max_bytes after the disk was full */
  int64_t soft_until, retry_at, retry_ns, counted_at;
  unsigned segs_made;
  bool is_told;    /* the trouble was logged */
  bool must_wipe;  /* the index file is damaged: start afresh */
  uint8_t *copy; /* a record being moved */
  size_t copy_cap;
};

/* blockcache.c */
int make_dir (const char *dir) WARN_UNUSED; /* with its parents; the last one 0700 */
int64_t unit_key (const uint8_t store[STORE_ID_LEN], const uint8_t pack[PACK_NAME_LEN],
                  uint32_t off);
void record_header_put (uint8_t out[REC_HEADER_LEN], const struct unit_name *u, uint32_t len);
bool record_header_is (const uint8_t in[REC_HEADER_LEN], const struct unit_name *u, uint32_t len);

/* blockcache_db.c: the index file.  Called by the writer, but for index_lookup. */
int db_open (struct blockcache *c) WARN_UNUSED;
void db_close (struct blockcache *c);
/* The file this process has open is still DIR/index.db. */
bool db_is_there (const struct blockcache *c);
/* 0, or the SQLite code of a failed step. */
int db_run (sqlite3_stmt *s) WARN_UNUSED;
void db_try (sqlite3_stmt *s); /* where a failure changes nothing: the caller says why */
/* The first column of the first row; DEFAULT where there is none. */
int db_int (sqlite3_stmt *s, int64_t otherwise, int64_t *out) WARN_UNUSED;
/* 1 and OUT, 0: not there, negative: no answer. */
int index_lookup (struct blockcache *c, int64_t key, struct unit_row *out) WARN_UNUSED;
void conns_close (struct blockcache *c); /* waits for those in use */

/* blockcache_seg.c: segment files. */
void seg_path (const struct blockcache *c, int64_t seg, char out[PATH_MAX]);
/* A read descriptor, shared; -1: the file is not there. */
int seg_acquire (struct blockcache *c, int64_t seg);
void seg_release (struct blockcache *c, int64_t seg, int fd);
void seg_remove (struct blockcache *c, int64_t seg); /* truncates and unlinks the file */
void seg_fds_close (struct blockcache *c);
bool seg_read (int fd, uint32_t pos, uint32_t len, const struct unit_name *u, uint8_t *out);
/* Returns an SQLite code or 0; what is wrong with the data file goes to *err.  A segment of KIND
 * has room for LEN bytes more; ERR_LIMIT: pins fill the cache. */
int seg_out_ready (struct blockcache *c, enum seg_kind kind, uint32_t len, int *err) WARN_UNUSED;
/* Appends a record to the stage, and its row. */
int seg_append (struct blockcache *c, enum seg_kind kind, const uint8_t *rec, uint32_t len,
                const struct unit_row *row, int *err) WARN_UNUSED;
/* Writes what is staged; before every commit.  0 or an err: then roll back, and seg_out_abandon. */
int seg_out_flush (struct blockcache *c) WARN_UNUSED;
void seg_out_close (struct blockcache *c, enum seg_kind kind);
void seg_out_abandon (struct blockcache *c); /* after a rollback */
void seg_out_forget (struct blockcache *c); /* all, without touching the index */
/* Closes segments whose writer died, removes rows without file and files without row. */
int seg_adopt_dead (struct blockcache *c) WARN_UNUSED;

/* blockcache_evict.c */
/* Makes room for a segment of CAP bytes.  *IS_ROOM false: all that is left is pinned. */
int evict_for (struct blockcache *c, uint64_t cap, bool *is_room) WARN_UNUSED;
int evict_all (struct blockcache *c) WARN_UNUSED; /* but pinned */
uint32_t seg_size (const struct blockcache *c);
/* n.bytes, n.units and, as it costs more, n.pinned_bytes. */
int count_up (struct blockcache *c, bool with_pins) WARN_UNUSED;

/* blockcache_writer.c */
void writer_run (struct pool_job *job);

#endif
