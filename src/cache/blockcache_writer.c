/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "cache"
#include "cache/blockcache_priv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define RETRY_MIN_NS NS_PER_S
#define RETRY_MAX_NS (60 * NS_PER_S)
#define SOFT_MAX_NS (300 * NS_PER_S) /* after a full disk the old bound is tried again */
#define ADOPT_EVERY 64u              /* segments */
#define STALE_PAGES 256              /* free pages in the index before it is made shorter */

static void
tell (struct blockcache *c, const char *what, const char *err)
{
  if (!c->is_told)
    log_warn ("block cache has trouble, reads go on without it dir=%s step=%s err=\"%s\"", c->dir,
              what,
              err);
  c->is_told = true;
}

static void
back_off (struct blockcache *c)
{
  c->retry_ns = c->retry_ns ? c->retry_ns * 2 : RETRY_MIN_NS;
  if (c->retry_ns > RETRY_MAX_NS)
    c->retry_ns = RETRY_MAX_NS;
  c->retry_at = clock_now () + c->retry_ns;
}

/* Codes that say the file itself is wrong, not the disk or the moment. */
static bool
is_damage (int rc)
{
  rc &= 0xff;
  return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR || rc == SQLITE_MISMATCH
         || rc == SQLITE_CONSTRAINT;
}

/* The index failed with an SQLite code: what was under way is given up. */
static void
index_failed (struct blockcache *c, const char *what, int rc)
{
  c->n.write_errors++;
  tell (c, what, sqlite3_errstr (rc));
  if (!sqlite3_get_autocommit (c->db))
    db_try (c->st.rollback); /* closing does it as well */
  seg_out_forget (c);
  if ((rc & 0xff) == SQLITE_BUSY)
    return;
  db_close (c);
  c->must_wipe = is_damage (rc) || c->retry_ns > 4 * RETRY_MIN_NS; /* it does not mend by itself */
  if (is_damage (rc))
    c->retry_at = 0;
  else
    back_off (c);
}

/* A data file could not be written.  A full disk: stay a little smaller than now, for a while. */
static void
data_failed (struct blockcache *c, int err)
{
  c->n.write_errors++;
  tell (c, "write", err_str (err));
  if (err == ERR_FULL || err == ERR_FBIG) {
    uint64_t less = 2 * (uint64_t) seg_size (c);
    c->soft_max = c->n.bytes > less ? c->n.bytes - less : 0;
    c->soft_until = clock_now () + SOFT_MAX_NS;
  }
  back_off (c);
}

static int
pin_name (struct blockcache *c, const struct op *op, bool is_pinned)
{
  sqlite3_stmt *s = is_pinned ? c->st.pin_add : c->st.pin_del;
  sqlite3_bind_blob (s, 1, op->name, sizeof op->name, SQLITE_STATIC);
  if (is_pinned)
    sqlite3_bind_int64 (s, 2, op->key);
  int rc = db_run (s);
  if (rc != 0)
    return rc;
  s = c->st.units_pin;
  sqlite3_bind_int64 (s, 1, op->key);
  sqlite3_bind_int64 (s, 2, op->key + ((1 << KEY_OFF_BITS) - 1));
  sqlite3_bind_int (s, 3, is_pinned ? UNIT_PINNED : 0);
  rc = db_run (s);
  if (rc == 0 && !is_pinned)
    rc = db_run (c->st.segs_unpin); /* their pinned units are moved on when their turn comes */
  return rc;
}

static int
find_unit (struct blockcache *c, int64_t key, struct unit_row *out, bool *is_there)
{
  sqlite3_stmt *s = c->st.unit_get;
  sqlite3_bind_int64 (s, 1, key);
  int rc = sqlite3_step (s);
  *is_there = rc == SQLITE_ROW;
  if (*is_there) {
    out->seg = sqlite3_column_int64 (s, 0);
    out->len = (uint32_t) sqlite3_column_int64 (s, 2);
  }
  sqlite3_reset (s);
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

static int
delete_unit (struct blockcache *c, int64_t key)
{
  struct unit_row row;
  bool is_there;
  int rc = find_unit (c, key, &row, &is_there);
  if (rc != 0 || !is_there)
    return rc;
  sqlite3_bind_int64 (c->st.unit_del, 1, key);
  rc = db_run (c->st.unit_del);
  if (rc != 0)
    return rc;
  sqlite3_bind_int64 (c->st.seg_sub, 1, row.seg);
  return db_run (c->st.seg_sub);
}

static int
put_unit (struct blockcache *c, const struct op *op, int *err)
{
  struct unit_row row = { .key = op->key, .len = op->len };
  bool is_there;
  const uint8_t *rec = c->ring + op->ring_off;
  int rc = find_unit (c, op->key, &row, &is_there);
  if (rc != 0 || (is_there && row.len == op->len))
    return rc;
  if (is_there)
    rc = delete_unit (c, op->key);
  row.len = op->len;
  int64_t is_pinned = 0;
  if (rc == 0) {
    sqlite3_bind_blob (c->st.pin_is, 1, rec + 8, STORE_ID_LEN + PACK_NAME_LEN, SQLITE_STATIC);
    rc = db_int (c->st.pin_is, 0, &is_pinned);
  }
  row.flags = is_pinned ? UNIT_PINNED : 0;
  if (rc == 0)
    rc = seg_out_ready (c, SEG_PROBATION, op->len, err);
  if (rc == 0 && *err == 0)
    rc = seg_append (c, SEG_PROBATION, rec, op->len, &row, err);
  return rc;
}

/* In a transaction. */
static int
run_op (struct blockcache *c, struct op *op, int *err)
{
  switch (op->kind) {
  case OP_PUT: return put_unit (c, op, err);
  case OP_DROP: return delete_unit (c, op->key);
  case OP_TOUCH:
    sqlite3_bind_int64 (c->st.unit_use, 1, op->key);
    return db_run (c->st.unit_use);
  case OP_PIN: return pin_name (c, op, true);
  case OP_UNPIN: return pin_name (c, op, false);
  case OP_CLEAR: return evict_all (c);
  }
  return SQLITE_MISUSE;
}

/* The index is open and ours, or is made so; false: not now. */
static bool
index_ready (struct blockcache *c)
{
  if (c->db && (c->suspect || !db_is_there (c))) {
    tell (c, "look up", c->suspect ? sqlite3_errstr (c->suspect) : "the index is gone");
    c->must_wipe = is_damage (c->suspect);
    db_close (c);
    c->retry_at = 0;
  }
  if (c->db)
    return clock_now () >= c->retry_at;
  if (clock_now () < c->retry_at)
    return false;
  if (db_open (c) < 0) {
    tell (c, "open", "cannot be opened or made");
    back_off (c);
    return false;
  }
  return true;
}

static int
shorten_index (struct blockcache *c)
{
  sqlite3_stmt *s;
  int64_t free_pages = 0;
  int rc = sqlite3_prepare_v2 (c->db, "PRAGMA freelist_count", -1, &s, NULL);
  if (rc == SQLITE_OK)
    rc = db_int (s, 0, &free_pages);
  sqlite3_finalize (s);
  if (rc == 0 && free_pages > STALE_PAGES)
    rc = sqlite3_exec (c->db, "PRAGMA incremental_vacuum(64)", NULL, NULL, NULL);
  return rc;
}

/* Ops [from, to): one transaction.  What fails is lost, not kept. */
static void
run_batch (struct blockcache *c, uint64_t from, uint64_t to)
{
  int err = 0, puts = 0;
  bool is_done = false;
  bool is_ready = index_ready (c);
  int rc = is_ready ? db_run (c->st.begin) : 0;
  for (uint64_t i = from; i < to; i++) {
    struct op *op = &c->ops[i % QUEUE_OPS];
    int put_err = 0;
    puts += op->kind == OP_PUT;
    if (rc == 0 && is_ready && !(op->kind == OP_PUT && err < 0))
      rc = run_op (c, op, &put_err);
    else if (op->kind == OP_PUT)
      c->n.dropped_puts++;
    if (put_err < 0)
      err = put_err;
  }
  if (rc == 0 && is_ready && c->is_max_changed) {
    bool is_room;
    c->is_max_changed = false;
    c->soft_max = c->max_bytes;
    rc = evict_for (c, 0, &is_room);
  }
  if (rc == 0 && is_ready) {
    int flushed = seg_out_flush (c);
    bool is_lost = flushed < 0 || (err < 0 && err != ERR_LIMIT);
    err = flushed < 0 ? flushed : err;
    if (is_lost)
      db_try (c->st.rollback); /* no row without its data */
    else
      rc = db_run (c->st.commit);
    if (is_lost)
      seg_out_abandon (c);
    is_done = !is_lost && rc == 0;
  }
  for (uint64_t i = from; i < to; i++)
    if (c->ops[i % QUEUE_OPS].wait)
      c->ops[i % QUEUE_OPS].wait->err = is_done ? 0 : ERR_IO;
  if (rc != 0) {
    index_failed (c, "index", rc);
    return;
  }
  if (err < 0 && err != ERR_LIMIT) /* that: pins fill the cache */
    data_failed (c, err);
  else if (is_ready && puts) {
    c->is_told = false;
    c->retry_ns = 0;
  }
}

static void
tidy (struct blockcache *c)
{
  if (!c->db)
    return;
  int64_t now = clock_now ();
  int rc = 0;
  if (c->soft_max < c->max_bytes && now > c->soft_until)
    c->soft_max = c->max_bytes;
  if (c->segs_made >= ADOPT_EVERY) {
    c->segs_made = 0;
    rc = seg_adopt_dead (c);
  }
  if (rc == 0)
    rc = shorten_index (c);
  if (rc == 0)
    rc = count_up (c, c->flush_waiters > 0 || now - c->counted_at > NS_PER_S);
  if (rc != 0)
    index_failed (c, "tidy", rc);
}

/* Is there reason to run a batch now?  *TO: the end of what is ready. */
static bool
is_due_locked (struct blockcache *c, bool has_waited, uint64_t *to)
{
  uint64_t n = c->op_tail;
  while (n < c->op_head && atomic_load (&c->ops[n % QUEUE_OPS].is_ready))
    n++;
  *to = n;
  if (c->is_max_changed || (c->db ? c->suspect != 0 : clock_now () >= c->retry_at))
    return true;
  return n > c->op_tail
         && (has_waited || c->is_stopping || c->flush_waiters
             || c->ring_head - c->ring_tail >= BATCH_BYTES
             || c->op_head - c->op_tail >= QUEUE_OPS / 4);
}

/* Waits for work; true when [*from, *to) is to be run, false at the end. */
static bool
next_batch (struct blockcache *c, uint64_t *from, uint64_t *to)
{
  LOCK_SCOPE (&c->lock);
  bool has_waited = false;
  for (;;) {
    if (c->is_stopping && c->op_tail == c->op_head)
      return false;
    if (is_due_locked (c, has_waited, to)) {
      *from = c->op_tail;
      return true;
    }
    if (c->op_tail < c->op_head)
      has_waited = !lock_wait_until (&c->wake, &c->lock, clock_now () + BATCH_WAIT_NS);
    else if (!c->db)
      (void) lock_wait_until (&c->wake, &c->lock, c->retry_at); /* either way: look again */
    else
      lock_wait (&c->wake, &c->lock);
  }
}

static void
finish_batch (struct blockcache *c, uint64_t from, uint64_t to)
{
  LOCK_SCOPE (&c->lock);
  for (uint64_t i = from; i < to; i++) {
    struct op *op = &c->ops[i % QUEUE_OPS];
    c->ring_tail = op->ring_end;
    if (op->wait)
      op->wait->is_done = true;
  }
  c->op_tail = to;
  pthread_cond_broadcast (&c->done);
}

void
writer_run (struct pool_job *job)
{
  void *owner = (char *) job - offsetof (struct blockcache, job);
  struct blockcache *c = owner;
  uint64_t from, to;
  while (next_batch (c, &from, &to)) {
    run_batch (c, from, to);
    tidy (c);
    finish_batch (c, from, to);
  }
  if (c->db && db_run (c->st.begin) == 0) {
    for (int i = 0; i < SEG_KINDS; i++)
      seg_out_close (c, (enum seg_kind) i);
    db_try (c->st.commit); /* else the next start closes them */
  }
  db_close (c);
}
