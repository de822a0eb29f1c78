/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "cache"
#include "cache/blockcache_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"

#define APPLICATION_ID "1129270339" /* "COFC" */
#define LOOKUP_BUSY_MS 100
#define WRITER_BUSY_MS 2000

static const char schema[] =
  "PRAGMA auto_vacuum=INCREMENTAL;"
  "CREATE TABLE units (key INTEGER PRIMARY KEY, seg INTEGER NOT NULL, pos INTEGER NOT NULL,"
  " len INTEGER NOT NULL, flags INTEGER NOT NULL);"
  "CREATE INDEX units_seg ON units (seg);"
  "CREATE TABLE segs (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, bytes INTEGER NOT NULL,"
  " is_open INTEGER NOT NULL, units INTEGER NOT NULL);"
  "CREATE TABLE pins (name BLOB PRIMARY KEY, key INTEGER NOT NULL) WITHOUT ROWID;"
  "PRAGMA application_id=" APPLICATION_ID ";"
  "PRAGMA user_version=1;";

/* The order of struct stmts. */
static const char *const sql[] = {
  "BEGIN IMMEDIATE",
  "COMMIT",
  "ROLLBACK",
  "SELECT seg, pos, len, flags FROM units WHERE key=?1",
  "INSERT OR REPLACE INTO units (key, seg, pos, len, flags) VALUES (?1, ?2, ?3, ?4, ?5)",
  "DELETE FROM units WHERE key=?1",
  "UPDATE units SET flags=flags|1 WHERE key=?1",
  "SELECT key, pos, len, flags FROM units WHERE seg=?1 AND key>=?2 ORDER BY key LIMIT ?3",
  "DELETE FROM units WHERE seg=?1",
  "UPDATE units SET flags=(flags&~2)|?3 WHERE key BETWEEN ?1 AND ?2",
  "INSERT INTO segs (id, kind, bytes, is_open, units) VALUES (?1, ?2, ?3, 1, 0)",
  "DELETE FROM segs WHERE id=?1",
  "UPDATE segs SET is_open=0, bytes=?2 WHERE id=?1",
  "SELECT 1 FROM segs WHERE id=?1",
  "UPDATE segs SET units=units+?2 WHERE id=?1",
  "UPDATE segs SET units=units-1 WHERE id=?1",
  ("SELECT ifnull(sum(bytes), 0), ifnull(sum(units), 0), ifnull(max(id), 0),"
   " ifnull(sum(CASE WHEN kind=1 THEN bytes END), 0) FROM segs"),
  "SELECT id, bytes FROM segs WHERE kind=?1 AND is_open=0 ORDER BY id LIMIT 1",
  "SELECT id FROM segs WHERE is_open=1",
  "SELECT 1 FROM pins WHERE name=?1",
  "INSERT OR REPLACE INTO pins (name, key) VALUES (?1, ?2)",
  "DELETE FROM pins WHERE name=?1",
  "SELECT 1 FROM pins LIMIT 1",
  "UPDATE segs SET kind=1 WHERE kind=2",
};
#define STMTS (sizeof sql / sizeof sql[0])
_Static_assert (sizeof (struct stmts) == STMTS * sizeof (sqlite3_stmt *), "a statement per member");

static const char pragmas[] = "PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY; "
  "PRAGMA mmap_size=0;"
                              "PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;";

int
db_run (sqlite3_stmt *s)
{
  int rc = sqlite3_step (s);
  sqlite3_reset (s);
  return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : rc;
}

void
db_try (sqlite3_stmt *s)
{
  sqlite3_step (s);
  sqlite3_reset (s);
}

int
db_int (sqlite3_stmt *s, int64_t otherwise, int64_t *out)
{
  int rc = sqlite3_step (s);
  if (rc == SQLITE_ROW || rc == SQLITE_DONE)
    *out = rc == SQLITE_ROW ? sqlite3_column_int64 (s, 0) : otherwise;
  sqlite3_reset (s);
  return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : rc;
}

/* Files that SQLite may open. */
static const char *const names[] = { "index.db", "index.db-journal", "index.db-wal",
                                     "index.db-shm" };
#define NAMES (sizeof names / sizeof names[0])

static void
db_path (const struct blockcache *c, const char *name, char out[PATH_MAX])
{
  snprintf (out, PATH_MAX, "%s/%s", c->dir, name);
}

static int
remove_one (const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
  return remove (path);
}

/* Somebody may have put a directory in place of our file. */
static void
remove_any (const char *path)
{
  struct stat st;
  if (lstat (path, &st) == 0)
    (void) nftw (path, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* what stays makes the open fail */
}

static void
remove_unless_file (const char *path)
{
  struct stat st;
  if (lstat (path, &st) == 0 && !S_ISREG (st.st_mode))
    remove_any (path);
}

/* Everything of ours in the directory goes. */
static void
wipe (const struct blockcache *c)
{
  char path[PATH_MAX];
  for (size_t i = 0; i < NAMES; i++) {
    db_path (c, names[i], path);
    remove_any (path);
  }
  DIR *d = opendir (c->dir);
  for (struct dirent *e; d && (e = readdir (d));) {
    size_t n = strlen (e->d_name);
    if (n > 4 && n < 64 && strcmp (e->d_name + n - 4, ".seg") == 0) {
      db_path (c, e->d_name, path);
      if (truncate (path, 0) == 0 || errno != ENOENT)
        remove_any (path);
    }
  }
  if (d)
    closedir (d);
}

static int
open_handle (const struct blockcache *c, int flags, int busy_ms, sqlite3 **out)
{
  char path[PATH_MAX];
  db_path (c, "index.db", path);
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2 (path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
  if (rc == SQLITE_OK) {
    sqlite3_busy_timeout (db, busy_ms);
    rc = sqlite3_exec (db, pragmas, NULL, NULL, NULL);
  }
  if (rc != SQLITE_OK) {
    sqlite3_close (db);
    return rc;
  }
  *out = db;
  return 0;
}

static int
pragma_int (sqlite3 *db, const char *text, int64_t *out)
{
  sqlite3_stmt *s;
  int rc = sqlite3_prepare_v2 (db, text, -1, &s, NULL);
  if (rc != SQLITE_OK)
    return rc;
  rc = db_int (s, 0, out);
  sqlite3_finalize (s);
  return rc;
}

/* Opens what is there, or makes it where the file is empty. */
static int
open_once (struct blockcache *c)
{
  sqlite3_stmt **st = (sqlite3_stmt **) &c->st;
  int64_t pages, id, version;
  int rc = open_handle (c, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, WRITER_BUSY_MS, &c->db);
  if (rc == 0)
    rc = pragma_int (c->db, "PRAGMA page_count", &pages);
  if (rc == 0 && pages == 0)
    rc = sqlite3_exec (c->db, schema, NULL, NULL, NULL);
  if (rc == 0)
    rc = sqlite3_exec (c->db,
                       "PRAGMA journal_mode=PERSIST; PRAGMA journal_size_limit=1048576;"
                       "PRAGMA cache_size=-2048;",
                       NULL, NULL, NULL);
  if (rc == 0)
    rc = pragma_int (c->db, "PRAGMA application_id", &id);
  if (rc == 0)
    rc = pragma_int (c->db, "PRAGMA user_version", &version);
  if (rc == 0 && (id != atoll (APPLICATION_ID) || version != 1))
    rc = SQLITE_NOTADB;
  for (size_t i = 0; rc == 0 && i < STMTS; i++)
    rc = sqlite3_prepare_v3 (c->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &st[i], NULL);
  return rc;
}

static int
remember_file (struct blockcache *c)
{
  char path[PATH_MAX];
  struct stat st;
  db_path (c, "index.db", path);
  if (stat (path, &st) < 0)
    return SQLITE_CANTOPEN;
  c->db_dev = st.st_dev;
  c->db_ino = st.st_ino;
  return 0;
}

/* Another process holds the lock for moments only; one that hangs must not hang us. */
static int
lock_dir (const struct blockcache *c)
{
  char path[PATH_MAX];
  db_path (c, "lock", path);
  remove_unless_file (path);
  int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  for (int i = 0; fd >= 0 && flock (fd, LOCK_EX | LOCK_NB) < 0; i++) {
    if (i == 100) {
      close (fd);
      return -1;
    }
    struct timespec ts = { .tv_nsec = 20 * NS_PER_MS };
    nanosleep (&ts, NULL);
  }
  return fd;
}

int
db_open (struct blockcache *c)
{
  if (make_dir (c->dir) < 0)
    return ERR_IO;
  AUTO_FD lock = lock_dir (c);
  if (lock < 0)
    return ERR_IO;
  if (c->must_wipe)
    wipe (c);
  c->must_wipe = false;
  for (size_t i = 0; i < NAMES; i++) {
    char path[PATH_MAX];
    db_path (c, names[i], path);
    remove_unless_file (path); /* SQLite would hang on a FIFO */
  }
  int rc = 0;
  for (int i = 0; i < 2; i++) {
    rc = open_once (c);
    if (rc == 0)
      rc = remember_file (c);
    if (rc == 0)
      rc = seg_adopt_dead (c);
    if (rc == 0)
      rc = count_up (c, true);
    if (rc == 0)
      break;
    db_close (c);
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_FULL)
      break; /* not damage */
    if (i == 0) {
      log_warn ("block cache index unusable, starting empty dir=%s err=\"%s\"", c->dir,
                sqlite3_errstr (rc));
      wipe (c);
    }
  }
  if (rc != 0)
    return (rc & 0xff) == SQLITE_FULL ? ERR_FULL : ERR_IO;
  c->generation++;
  c->suspect = 0;
  c->is_up = true;
  return 0;
}

void
db_close (struct blockcache *c)
{
  c->is_up = false;
  sqlite3_stmt **st = (sqlite3_stmt **) &c->st;
  for (size_t i = 0; i < STMTS; i++) {
    sqlite3_finalize (st[i]);
    st[i] = NULL;
  }
  sqlite3_close (c->db);
  c->db = NULL;
  seg_out_forget (c);
}

bool
db_is_there (const struct blockcache *c)
{
  char path[PATH_MAX];
  struct stat st;
  db_path (c, "index.db", path);
  return c->db && stat (path, &st) == 0 && st.st_dev == c->db_dev && st.st_ino == c->db_ino;
}

static struct conn *
conn_take (struct blockcache *c)
{
  LOCK_SCOPE (&c->lock);
  for (;;) {
    struct conn *best = NULL;
    for (int i = 0; i < CONNS; i++) {
      struct conn *k = &c->conns[i];
      if (!k->is_busy && (!best || (!best->db && k->db)))
        best = k;
    }
    if (best) {
      best->is_busy = true;
      return best;
    }
    lock_wait (&c->conn_free, &c->lock);
  }
}

static void
conn_give (struct blockcache *c, struct conn *k)
{
  LOCK_SCOPE (&c->lock);
  k->is_busy = false;
  pthread_cond_signal (&c->conn_free);
}

static void
conn_close (struct conn *k)
{
  sqlite3_finalize (k->lookup);
  sqlite3_close (k->db);
  k->lookup = NULL;
  k->db = NULL;
}

static int
conn_ready (struct blockcache *c, struct conn *k)
{
  uint64_t generation = c->generation;
  if (k->db && k->generation == generation)
    return 0;
  conn_close (k);
  int rc = open_handle (c, SQLITE_OPEN_READWRITE, LOOKUP_BUSY_MS, &k->db);
  if (rc == 0)
    rc = sqlite3_exec (k->db, "PRAGMA cache_size=-256", NULL, NULL, NULL);
  if (rc == 0)
    rc = sqlite3_prepare_v3 (k->db, sql[3], -1, SQLITE_PREPARE_PERSISTENT, &k->lookup, NULL);
  if (rc != 0)
    conn_close (k);
  k->generation = generation;
  return rc;
}

int
index_lookup (struct blockcache *c, int64_t key, struct unit_row *out)
{
  if (!c->is_up || c->suspect)
    return -1;
  struct conn *k = conn_take (c);
  int rc = conn_ready (c, k);
  if (rc == 0) {
    sqlite3_bind_int64 (k->lookup, 1, key);
    rc = sqlite3_step (k->lookup);
    if (rc == SQLITE_ROW) {
      out->key = key;
      out->seg = sqlite3_column_int64 (k->lookup, 0);
      out->pos = (uint32_t) sqlite3_column_int64 (k->lookup, 1);
      out->len = (uint32_t) sqlite3_column_int64 (k->lookup, 2);
      out->flags = sqlite3_column_int (k->lookup, 3);
    }
    sqlite3_reset (k->lookup);
  }
  conn_give (c, k);
  if (rc == SQLITE_ROW || rc == SQLITE_DONE)
    return rc == SQLITE_ROW;
  if ((rc & 0xff) != SQLITE_BUSY) {
    LOCK_SCOPE (&c->lock);
    c->suspect = rc;
    pthread_cond_signal (&c->wake);
  }
  return -1;
}

void
conns_close (struct blockcache *c)
{
  for (int i = 0; i < CONNS; i++)
    conn_close (&c->conns[i]);
}
