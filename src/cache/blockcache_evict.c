/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "cache"
#include "cache/blockcache_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"

#define ROWS_AT_ONCE 512

static uint64_t
limit (const struct blockcache *c)
{
  uint64_t max = c->max_bytes;
  return c->soft_max < max ? c->soft_max : max;
}

uint32_t
seg_size (const struct blockcache *c)
{
  uint64_t n = c->max_bytes / 64;
  n &= ~(uint64_t) (BLOCK_BYTES - 1);
  return n < SEG_MIN_BYTES ? SEG_MIN_BYTES : n > SEG_MAX_BYTES ? SEG_MAX_BYTES : (uint32_t) n;
}

static uint64_t
index_bytes (const struct blockcache *c)
{
  static const char *const names[] = { "index.db", "index.db-journal" };
  char path[PATH_MAX];
  struct stat st;
  uint64_t n = 0;
  for (int i = 0; i < 2; i++) {
    snprintf (path, sizeof path, "%s/%s", c->dir, names[i]);
    if (stat (path, &st) == 0)
      n += (uint64_t) st.st_size;
  }
  return n;
}

struct totals {
  uint64_t bytes, units, protected;
};

static int
totals (struct blockcache *c, struct totals *out)
{
  sqlite3_stmt *s = c->st.seg_sum;
  int rc = sqlite3_step (s);
  if (rc == SQLITE_ROW)
    *out = (struct totals){ (uint64_t) sqlite3_column_int64 (s, 0),
                            (uint64_t) sqlite3_column_int64 (s, 1),
                            (uint64_t) sqlite3_column_int64 (s, 3) };
  sqlite3_reset (s);
  return rc == SQLITE_ROW ? 0 : rc;
}

static int
pinned_total (struct blockcache *c, uint64_t *bytes)
{
  sqlite3_stmt *s;
  int rc = sqlite3_prepare_v2 (c->db,
                               "SELECT ifnull(sum(u.len), 0) FROM pins p JOIN units u ON"
                               " u.key BETWEEN p.key AND p.key + 67108863",
                               -1, &s, NULL);
  if (rc != SQLITE_OK)
    return rc;
  int64_t n = 0;
  rc = db_int (s, 0, &n);
  sqlite3_finalize (s);
  *bytes = (uint64_t) n;
  return rc;
}

int
count_up (struct blockcache *c, bool with_pins)
{
  struct totals t;
  uint64_t pinned = c->n.pinned_bytes;
  int rc = totals (c, &t);
  if (rc == 0 && with_pins) {
    rc = pinned_total (c, &pinned);
    c->counted_at = clock_now ();
  }
  if (rc != 0)
    return rc;
  for (int i = 0; i < SEG_KINDS; i++)
    if (c->out[i].id && t.bytes >= c->out[i].cap - c->out[i].pos)
      t.bytes -= c->out[i].cap - c->out[i].pos; /* room taken in advance */
  c->n.bytes = t.bytes + index_bytes (c);
  c->n.units = t.units;
  c->n.pinned_bytes = pinned;
  return 0;
}

/* Copies one record of the segment that goes. */
static int
keep_unit (struct blockcache *c, int fd, const struct unit_row *row, enum seg_kind kind,
           bool *is_kept)
{
  size_t n = (size_t) row->len + REC_HEADER_LEN;
  if (n > QUEUE_BYTES)
    return 0; /* a damaged row: no such unit was ever written */
  if (n > c->copy_cap) {
    uint8_t *p = realloc (c->copy, n);
    if (!p)
      return 0;
    c->copy = p;
    c->copy_cap = n;
  }
  if (pread (fd, c->copy, n, row->pos) != (ssize_t) n || get_le32 (c->copy) != REC_MAGIC
      || get_le32 (c->copy + 4) != row->len)
    return 0;
  int err = 0;
  struct unit_row moved = { .key = row->key, .len = row->len, .flags = row->flags & UNIT_PINNED };
  int rc = seg_out_ready (c, kind, row->len, &err);
  if (rc == 0 && err == 0)
    rc = seg_append (c, kind, c->copy, row->len, &moved, &err);
  *is_kept = rc == 0 && err == 0;
  return rc;
}

/* The next rows of SEG with a key above AFTER (or from the first). */
static int
next_rows (struct blockcache *c, sqlite3_stmt *s, int64_t seg, struct unit_row *rows, int *n)
{
  int rc = SQLITE_ROW;
  for (*n = 0; *n < ROWS_AT_ONCE && (rc = sqlite3_step (s)) == SQLITE_ROW; ++*n)
    rows[*n] = (struct unit_row){ .key = sqlite3_column_int64 (s, 0),
                                  .seg = seg,
                                  .pos = (uint32_t) sqlite3_column_int64 (s, 1),
                                  .len = (uint32_t) sqlite3_column_int64 (s, 2),
                                  .flags = sqlite3_column_int (s, 3) };
  sqlite3_reset (s);
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

static int
evict_rows (struct blockcache *c, int64_t seg, int fd, int keep)
{
  struct unit_row rows[ROWS_AT_ONCE];
  sqlite3_stmt *s = c->st.units_of_seg;
  int n, rc = 0;
  int64_t from = INT64_MIN;
  do {
    sqlite3_bind_int64 (s, 1, seg);
    sqlite3_bind_int64 (s, 2, from);
    sqlite3_bind_int (s, 3, ROWS_AT_ONCE);
    rc = next_rows (c, s, seg, rows, &n);
    for (int i = 0; rc == 0 && i < n; i++) {
      bool is_kept = false;
      if ((rows[i].flags & keep) && fd >= 0)
        rc = keep_unit (c, fd, &rows[i],
                        rows[i].flags & UNIT_PINNED ? SEG_PINNED : SEG_PROTECTED, &is_kept);
      if (!is_kept)
        c->n.evicted++;
    }
    if (n && rows[n - 1].key == INT64_MAX)
      break;
    from = n ? rows[n - 1].key + 1 : from;
  } while (rc == 0 && n == ROWS_AT_ONCE);
  return rc;
}

/* KEEP: flags of the units that are written again. */
static int
evict_seg (struct blockcache *c, int64_t seg, int keep)
{
  char path[PATH_MAX];
  seg_path (c, seg, path);
  AUTO_FD fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  int rc = evict_rows (c, seg, fd, keep);
  if (rc != 0)
    return rc;
  sqlite3_bind_int64 (c->st.units_del_seg, 1, seg);
  rc = db_run (c->st.units_del_seg);
  if (rc == 0) {
    sqlite3_bind_int64 (c->st.seg_del, 1, seg);
    rc = db_run (c->st.seg_del);
  }
  /* Before the commit, so that the bound holds at every moment; if the commit fails, the rows
   * that come back are misses. */
  if (rc == 0)
    seg_remove (c, seg);
  return rc;
}

static int
oldest (struct blockcache *c, enum seg_kind kind, int64_t *out)
{
  sqlite3_bind_int (c->st.seg_old, 1, (int) kind);
  return db_int (c->st.seg_old, 0, out);
}

static int
victim (struct blockcache *c, bool is_protected_full, int64_t *out)
{
  enum seg_kind first = is_protected_full ? SEG_PROTECTED : SEG_PROBATION;
  int rc = oldest (c, first, out);
  if (rc == 0 && *out == 0)
    rc = oldest (c, first == SEG_PROBATION ? SEG_PROTECTED : SEG_PROBATION, out);
  return rc;
}

int
evict_for (struct blockcache *c, uint64_t cap, bool *is_room)
{
  /* Every round takes a segment away; what it keeps had been used, and loses the mark: twice round
   * is enough unless pins fill everything. */
  uint64_t rounds = 2 * (c->max_bytes / seg_size (c)) + 16;
  *is_room = false;
  for (uint64_t i = 0; i < rounds; i++) {
    struct totals t;
    int64_t seg;
    int rc = totals (c, &t);
    if (rc != 0)
      return rc;
    /* a segment exists twice while it is moved */
    uint64_t reserve = index_bytes (c) + seg_size (c);
    uint64_t budget = limit (c) > reserve ? limit (c) - reserve : 0;
    if (t.bytes + cap <= budget) {
      *is_room = true;
      return 0;
    }
    rc = victim (c, t.protected > budget / 5 * 4, &seg);
    if (rc == 0 && seg == 0 && (c->out[SEG_PROTECTED].id || c->out[SEG_PROBATION].id)) {
      seg_out_close (c, SEG_PROTECTED);
      seg_out_close (c, SEG_PROBATION);
      continue;
    }
    if (rc == 0 && seg == 0)
      return 0;
    if (rc == 0)
      rc = evict_seg (c, seg, UNIT_USED | UNIT_PINNED);
    if (rc != 0)
      return rc;
  }
  return 0;
}

int
evict_all (struct blockcache *c)
{
  for (int i = 0; i < SEG_KINDS; i++)
    seg_out_close (c, (enum seg_kind) i);
  for (;;) {
    int64_t seg;
    int rc = victim (c, false, &seg);
    if (rc != 0 || seg == 0)
      return rc;
    rc = evict_seg (c, seg, UNIT_PINNED);
    if (rc != 0)
      return rc;
  }
}
