/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "worktree"
#include "snapshot/worktree_db.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum stmt {
  NODE_GET, NODE_PUT, NODE_DEL, NAME_GET, NAME_PUT, NAME_DEL, NAMES, EMPTY, SEG_LOAD, SEG_SAVE,
  SEG_ERASE,
  SEGS_DROP, SEGS, NODES, ALL_NAMES, STMTS,
};
static const char *const sql[STMTS] = {
  [NODE_GET] = "SELECT data FROM nodes WHERE ino=?1",
  [NODE_PUT] = "INSERT OR REPLACE INTO nodes VALUES(?1,?2)",
  [NODE_DEL] = "DELETE FROM nodes WHERE ino=?1",
  [NAME_GET] = "SELECT ino,kind FROM names WHERE dir=?1 AND name=?2",
  [NAME_PUT] = "INSERT OR REPLACE INTO names VALUES(?1,?2,?3,?4)",
  [NAME_DEL] = "DELETE FROM names WHERE dir=?1 AND name=?2",
  [NAMES] = "SELECT name,ino,kind FROM names WHERE dir=?1 AND name>?2 ORDER BY name",
  [EMPTY] = "SELECT 1 FROM names WHERE dir=?1 LIMIT 1",
  [SEG_LOAD] = "SELECT data FROM segments WHERE ino=?1 AND start=?2",
  [SEG_SAVE] = "INSERT OR REPLACE INTO segments VALUES(?1,?2,?3,?4)",
  [SEG_ERASE] = "DELETE FROM segments WHERE ino=?1 AND start=?2",
  [SEGS_DROP] = "DELETE FROM segments WHERE ino=?1",
  [SEGS] = "SELECT start,n FROM segments WHERE ino=?1 ORDER BY start",
  [NODES] = "SELECT ino FROM nodes WHERE ino>?1 ORDER BY ino",
  [ALL_NAMES] = "SELECT dir,name,ino,kind FROM names ORDER BY dir,name",
};
static const char schema[]
    = "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192;"
      "CREATE TABLE nodes(ino INTEGER PRIMARY KEY, data BLOB);"
      "CREATE TABLE names(dir INTEGER, name BLOB, ino INTEGER, kind INTEGER, PRIMARY KEY(dir,name))"
      " WITHOUT ROWID;"
      "CREATE TABLE segments(ino INTEGER, start INTEGER, n INTEGER, data BLOB, "
      "PRIMARY KEY(ino,start))"
      " WITHOUT ROWID;"
      "BEGIN;"; /* never committed: there is no journal, pages are spilled when the cache is full */

struct wtdb {
  sqlite3 *db;
  sqlite3_stmt *stmts[STMTS];
};

static int
failed (struct wtdb *db, const char *what)
{
  int code = sqlite3_errcode (db->db);
  log_err ("working tree: %s failed err=\"%s\": free space in the state directory, then remount",
           what,
           sqlite3_errmsg (db->db));
  return code == SQLITE_FULL ? ERR_FULL : code == SQLITE_NOMEM ? ERR_NOMEM : ERR_IO;
}

int
wtdb_open (const char *dir, struct wtdb **out)
{
  AUTO (wtdb) db = calloc (1, sizeof *db);
  if (!db)
    return ERR_NOMEM;
  char path[4096];
  snprintf (path, sizeof path, "%s/tree-XXXXXX", dir);
  int fd = mkstemp (path);
  if (fd < 0) {
    log_err ("cannot make a working tree path=%s: is the state directory writable?", path);
    return ERR_IO;
  }
  close (fd);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  int rc = sqlite3_open_v2 (path, &db->db, flags, NULL);
  if (rc == SQLITE_OK)
    rc = sqlite3_exec (db->db, schema, NULL, NULL, NULL);
  unlink (path);
  if (rc != SQLITE_OK)
    return failed (db, "open");
  for (int i = 0; i < STMTS; i++)
    if (sqlite3_prepare_v3 (db->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[i], NULL)
        != SQLITE_OK)
      return failed (db, "prepare");
  *out = STEAL (db);
  return 0;
}

void
wtdb_free (struct wtdb *db)
{
  if (!db)
    return;
  for (int i = 0; i < STMTS; i++)
    sqlite3_finalize (db->stmts[i]);
  sqlite3_close (db->db);
  free (db);
}

static sqlite3_stmt *
bind2 (struct wtdb *db, enum stmt which, uint64_t a, uint64_t b)
{
  sqlite3_stmt *s = db->stmts[which];
  sqlite3_bind_int64 (s, 1, (sqlite3_int64) a);
  if (sqlite3_bind_parameter_count (s) > 1)
    sqlite3_bind_int64 (s, 2, (sqlite3_int64) b);
  return s;
}

static sqlite3_stmt *
bind_name (struct wtdb *db, enum stmt which, uint64_t dir, const void *name, size_t n)
{
  sqlite3_stmt *s = db->stmts[which];
  sqlite3_bind_int64 (s, 1, (sqlite3_int64) dir);
  sqlite3_bind_blob (s, 2, n ? name : "", (int) n, SQLITE_STATIC);
  return s;
}

/* Runs a statement that returns no rows. */
static int
run (struct wtdb *db, sqlite3_stmt *s, const char *what)
{
  int rc = sqlite3_step (s);
  int out = rc == SQLITE_DONE ? 0 : failed (db, what);
  sqlite3_reset (s);
  return out;
}

/* Appends column 0 of the only row. */
static int
blob_row (struct wtdb *db, sqlite3_stmt *s, struct buf *out)
{
  int rc = sqlite3_step (s);
  int ret = ERR_NOENT;
  if (rc == SQLITE_ROW) {
    buf_put (out, sqlite3_column_blob (s, 0), (size_t) sqlite3_column_bytes (s, 0));
    ret = buf_error (out);
  } else if (rc != SQLITE_DONE)
    ret = failed (db, "read");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_node_get (struct wtdb *db, uint64_t ino, struct buf *out)
{
  return blob_row (db, bind2 (db, NODE_GET, ino, 0), out);
}

int
wtdb_node_put (struct wtdb *db, uint64_t ino, const void *data, size_t n)
{
  sqlite3_stmt *s = bind_name (db, NODE_PUT, ino, data, n);
  return run (db, s, "write of a node");
}

int
wtdb_node_del (struct wtdb *db, uint64_t ino)
{
  return run (db, bind2 (db, NODE_DEL, ino, 0), "removal of a node");
}

int
wtdb_name_get (struct wtdb *db, uint64_t dir, const void *name, size_t n, uint64_t *ino, int *kind)
{
  sqlite3_stmt *s = bind_name (db, NAME_GET, dir, name, n);
  int rc = sqlite3_step (s);
  int ret = ERR_NOENT;
  if (rc == SQLITE_ROW) {
    *ino = (uint64_t) sqlite3_column_int64 (s, 0);
    *kind = sqlite3_column_int (s, 1);
    ret = 0;
  } else if (rc != SQLITE_DONE)
    ret = failed (db, "look-up");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_name_put (struct wtdb *db, uint64_t dir, const void *name, size_t n, uint64_t ino, int kind)
{
  sqlite3_stmt *s = bind_name (db, NAME_PUT, dir, name, n);
  sqlite3_bind_int64 (s, 3, (sqlite3_int64) ino);
  sqlite3_bind_int (s, 4, kind);
  return run (db, s, "write of a name");
}

int
wtdb_name_del (struct wtdb *db, uint64_t dir, const void *name, size_t n)
{
  return run (db, bind_name (db, NAME_DEL, dir, name, n), "removal of a name");
}

int
wtdb_names (struct wtdb *db, uint64_t dir, const void *after, size_t after_len, wtdb_name_fn fn,
            void *ctx)
{
  sqlite3_stmt *s = bind_name (db, NAMES, dir, after, after_len);
  int rc, ret = 0;
  while (ret == 0 && (rc = sqlite3_step (s)) == SQLITE_ROW)
    ret = fn (ctx, sqlite3_column_blob (s, 0), (size_t) sqlite3_column_bytes (s, 0),
              (uint64_t) sqlite3_column_int64 (s, 1), sqlite3_column_int (s, 2));
  if (ret == 0 && rc != SQLITE_DONE)
    ret = failed (db, "listing");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_all_names (struct wtdb *db, wtdb_all_fn fn, void *ctx)
{
  sqlite3_stmt *s = db->stmts[ALL_NAMES];
  int rc, ret = 0;
  while (ret == 0 && (rc = sqlite3_step (s)) == SQLITE_ROW)
    ret = fn (ctx, (uint64_t) sqlite3_column_int64 (s, 0), sqlite3_column_blob (s, 1),
              (size_t) sqlite3_column_bytes (s, 1), (uint64_t) sqlite3_column_int64 (s, 2),
              sqlite3_column_int (s, 3));
  if (ret == 0 && rc != SQLITE_DONE)
    ret = failed (db, "listing");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_dir_is_empty (struct wtdb *db, uint64_t dir)
{
  sqlite3_stmt *s = bind2 (db, EMPTY, dir, 0);
  int rc = sqlite3_step (s);
  int ret = rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? 1 : failed (db, "look-up");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_seg_load (struct wtdb *db, uint64_t ino, uint64_t start, struct buf *out)
{
  return blob_row (db, bind2 (db, SEG_LOAD, ino, start), out);
}

int
wtdb_seg_save (struct wtdb *db, uint64_t ino, uint64_t start, uint32_t count, const void *data,
               size_t n)
{
  sqlite3_stmt *s = bind2 (db, SEG_SAVE, ino, start);
  sqlite3_bind_int64 (s, 3, count);
  sqlite3_bind_blob (s, 4, data, (int) n, SQLITE_STATIC);
  return run (db, s, "write of extents");
}

int
wtdb_seg_erase (struct wtdb *db, uint64_t ino, uint64_t start)
{
  return run (db, bind2 (db, SEG_ERASE, ino, start), "removal of extents");
}

int
wtdb_segs_drop (struct wtdb *db, uint64_t ino)
{
  return run (db, bind2 (db, SEGS_DROP, ino, 0), "removal of extents");
}

int
wtdb_segs (struct wtdb *db, uint64_t ino, wtdb_seg_fn fn, void *ctx)
{
  sqlite3_stmt *s = bind2 (db, SEGS, ino, 0);
  int rc, ret = 0;
  while (ret == 0 && (rc = sqlite3_step (s)) == SQLITE_ROW)
    ret = fn (ctx, (uint64_t) sqlite3_column_int64 (s, 0), (uint32_t) sqlite3_column_int64 (s, 1));
  if (ret == 0 && rc != SQLITE_DONE)
    ret = failed (db, "listing");
  sqlite3_reset (s);
  return ret;
}

int
wtdb_nodes (struct wtdb *db, uint64_t after, int (*fn) (void *ctx, uint64_t ino), void *ctx)
{
  sqlite3_stmt *s = bind2 (db, NODES, after, 0);
  int rc, ret = 0;
  while (ret == 0 && (rc = sqlite3_step (s)) == SQLITE_ROW)
    ret = fn (ctx, (uint64_t) sqlite3_column_int64 (s, 0));
  if (ret == 0 && rc != SQLITE_DONE)
    ret = failed (db, "listing");
  sqlite3_reset (s);
  return ret;
}
