/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "cache"
#include "cache/blockcache_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "format/pack.h"

_Static_assert (PACK_MAX_BYTES == 1u << KEY_OFF_BITS,
                "an offset in a pack fits its part of the key");

int64_t
unit_key (const uint8_t store[STORE_ID_LEN], const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  /* Names of packs are hashes already; the odd multiplier keeps the stores of one cache apart. */
  uint64_t h = get_le64 (pack) ^ get_le64 (store) * 0x9e3779b97f4a7c15u;
  return (int64_t) (h << KEY_OFF_BITS | off);
}

void
record_header_put (uint8_t out[REC_HEADER_LEN], const struct unit_name *u, uint32_t len)
{
  put_le32 (out, REC_MAGIC);
  put_le32 (out + 4, len);
  memcpy (out + 8, u->store, STORE_ID_LEN);
  memcpy (out + 24, u->pack, PACK_NAME_LEN);
  put_le32 (out + 56, u->off);
  put_le32 (out + 60, 0);
}

bool
record_header_is (const uint8_t in[REC_HEADER_LEN], const struct unit_name *u, uint32_t len)
{
  uint8_t want[REC_HEADER_LEN];
  record_header_put (want, u, len);
  return memcmp (in, want, REC_HEADER_LEN) == 0;
}

int
make_dir (const char *dir)
{
  char path[PATH_MAX];
  snprintf (path, sizeof path, "%s", dir);
  for (char *p = path + 1; *p; p++)
    if (*p == '/') {
      *p = 0;
      if (mkdir (path, 0755) < 0 && errno != EEXIST)
        return err_from_errno (errno);
      *p = '/';
    }
  if (mkdir (path, 0700) < 0 && errno != EEXIST)
    return err_from_errno (errno);
  if (access (path, R_OK | W_OK | X_OK) < 0)
    return err_from_errno (errno);
  struct stat st;
  if (stat (path, &st) < 0 || !S_ISDIR (st.st_mode))
    return ERR_NOTDIR;
  return 0;
}

static void
cache_release (struct blockcache *c)
{
  conns_close (c);
  seg_fds_close (c);
  if (c->ring)
    munmap (c->ring, QUEUE_BYTES);
  for (int i = 0; i < SEG_KINDS; i++)
    if (c->stage[i])
      munmap (c->stage[i], STAGE_BYTES);
  pthread_cond_destroy (&c->wake);
  pthread_cond_destroy (&c->done);
  pthread_cond_destroy (&c->conn_free);
  lock_destroy (&c->lock);
  free (c->copy);
  free (c);
}

int
blockcache_open (const char *dir, uint64_t max_bytes, struct blockcache **out)
{
  size_t len = strlen (dir);
  while (len > 1 && dir[len - 1] == '/')
    len--;
  if (len == 0 || len > PATH_MAX - 64)
    return ERR_NAMETOOLONG;
  struct blockcache *c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  memcpy (c->dir, dir, len);
  lock_init (&c->lock, LOCK_CACHE, "block cache");
  lock_cond_init (&c->wake);
  lock_cond_init (&c->done);
  lock_cond_init (&c->conn_free);
  for (int i = 0; i < SEG_FDS; i++)
    c->fds[i].fd = -1;
  c->max_bytes = c->soft_max = max_bytes;
  void *ring = mmap (NULL, QUEUE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ring != MAP_FAILED)
    c->ring = ring;
  int rc = c->ring ? make_dir (c->dir) : ERR_NOMEM;
  if (rc == 0 && db_open (c) < 0)
    /* Wiping did not help: a failing disk, or somebody holds it.  The writer tries again. */
    c->retry_at = clock_now () + NS_PER_S;
  if (rc == 0)
    rc = pool_new ("coffer-cache", 1, 0, &c->thread);
  if (rc < 0) {
    log_warn ("no block cache dir=%s err=\"%s\"", c->dir, err_str (rc));
    db_close (c);
    cache_release (c);
    return rc;
  }
  c->job.run = writer_run;
  pool_submit (c->thread, &c->job);
  *out = c;
  return 0;
}

void
blockcache_free (struct blockcache *c)
{
  if (!c)
    return;
  lock_take (&c->lock);
  c->is_stopping = true;
  pthread_cond_broadcast (&c->wake);
  lock_release (&c->lock);
  pool_free (c->thread);
  cache_release (c);
}

/* Adds an op, with room for N bytes in the ring for a put; NULL: full.  The caller fills the op,
 * and then sets is_ready. */
static struct op *
op_add_locked (struct blockcache *c, enum op_kind kind, uint32_t n)
{
  lock_assert_held (&c->lock);
  if (c->op_head - c->op_tail == QUEUE_OPS || c->is_stopping)
    return NULL;
  uint64_t start = c->ring_head;
  if (start % QUEUE_BYTES + n > QUEUE_BYTES)
    start += QUEUE_BYTES - start % QUEUE_BYTES; /* a record does not wrap */
  uint64_t end = (start + n + 7) & ~7ull;
  if (n && end - c->ring_tail > QUEUE_BYTES)
    return NULL;
  struct op *op = &c->ops[c->op_head++ % QUEUE_OPS];
  op->kind = kind;
  op->is_ready = false;
  op->wait = NULL;
  op->ring_off = (uint32_t) (start % QUEUE_BYTES);
  op->ring_end = c->ring_head = n ? end : c->ring_head;
  return op;
}

/* A copy of the state is enough: whether to wake is decided by what it was. */
static void
op_ready (struct blockcache *c, struct op *op)
{
  atomic_store (&op->is_ready, true);
  lock_take (&c->lock);
  pthread_cond_signal (&c->wake);
  lock_release (&c->lock);
}

/* Touches and drops: small, and no loss if the queue is full. */
static bool
op_small (struct blockcache *c, enum op_kind kind, int64_t key)
{
  LOCK_SCOPE (&c->lock);
  struct op *op = op_add_locked (c, kind, 0);
  if (!op)
    return false;
  op->key = key;
  atomic_store (&op->is_ready, true);
  pthread_cond_signal (&c->wake);
  return true;
}

bool
blockcache_get (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len, uint8_t *out)
{
  struct unit_name u = { .store = store, .pack = pack, .off = off };
  struct unit_row row;
  int64_t key = unit_key (store, pack, off);
  if (off >= PACK_MAX_BYTES || index_lookup (c, key, &row) <= 0 || row.len != len) {
    c->n.misses++;
    return false;
  }
  int fd = seg_acquire (c, row.seg);
  bool is_good = fd >= 0 && seg_read (fd, row.pos, len, &u, out);
  if (fd >= 0)
    seg_release (c, row.seg, fd);
  if (!is_good) {
    /* Often only a segment that another process has just evicted: then the row goes by itself. */
    if (fd >= 0)
      c->n.damaged++;
    c->n.misses++;
    (void) op_small (c, OP_DROP, key); /* a full queue: found and dropped again next time */
    return false;
  }
  c->n.hits++;
  if (!(row.flags & UNIT_USED))
    (void) op_small (c, OP_TOUCH, key); /* a hint */
  return true;
}

bool
blockcache_has (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  struct unit_row row;
  return off < PACK_MAX_BYTES && index_lookup (c, unit_key (store, pack, off), &row) > 0;
}

void
blockcache_put (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
                const uint8_t *sealed)
{
  struct unit_name u = { .store = store, .pack = pack, .off = off };
  struct op *op = NULL;
  if (c->is_up && off < PACK_MAX_BYTES && len > 0 && len <= QUEUE_BYTES - REC_HEADER_LEN - 8) {
    lock_take (&c->lock);
    op = op_add_locked (c, OP_PUT, len + REC_HEADER_LEN);
    lock_release (&c->lock);
  }
  if (!op) {
    c->n.dropped_puts++;
    return;
  }
  op->key = unit_key (store, pack, off);
  op->len = len;
  record_header_put (c->ring + op->ring_off, &u, len);
  memcpy (c->ring + op->ring_off + REC_HEADER_LEN, sealed, len);
  op_ready (c, op);
}

void
blockcache_drop (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                 const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  if (off >= PACK_MAX_BYTES)
    return;
  c->n.damaged++;
  (void) op_small (c, OP_DROP, unit_key (store, pack, off)); /* found and dropped again next time */
}

/* Asks the writer and waits for its answer. */
static int
op_wait (struct blockcache *c, enum op_kind kind, const uint8_t *store, const uint8_t *pack)
{
  struct op_wait wait = { 0 };
  LOCK_SCOPE (&c->lock);
  struct op *op;
  while (!(op = op_add_locked (c, kind, 0))) {
    if (c->is_stopping)
      return ERR_CANCELLED;
    lock_wait (&c->done, &c->lock);
  }
  if (store) {
    memcpy (op->name, store, STORE_ID_LEN);
    memcpy (op->name + STORE_ID_LEN, pack, PACK_NAME_LEN);
    op->key = unit_key (store, pack, 0);
  }
  op->wait = &wait;
  c->flush_waiters++;
  atomic_store (&op->is_ready, true);
  pthread_cond_signal (&c->wake);
  while (!wait.is_done)
    lock_wait (&c->done, &c->lock);
  c->flush_waiters--;
  return wait.err;
}

int
blockcache_pin (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                const uint8_t pack[PACK_NAME_LEN], bool is_pinned)
{
  return op_wait (c, is_pinned ? OP_PIN : OP_UNPIN, store, pack);
}

int
blockcache_clear (struct blockcache *c)
{
  return op_wait (c, OP_CLEAR, NULL, NULL);
}

void
blockcache_set_max (struct blockcache *c, uint64_t max_bytes)
{
  c->max_bytes = max_bytes;
  c->is_max_changed = true;
  LOCK_SCOPE (&c->lock);
  pthread_cond_signal (&c->wake);
}

void
blockcache_flush (struct blockcache *c)
{
  LOCK_SCOPE (&c->lock);
  uint64_t until = c->op_head;
  c->flush_waiters++;
  pthread_cond_signal (&c->wake);
  while (c->op_tail < until)
    lock_wait (&c->done, &c->lock);
  c->flush_waiters--;
}

void
blockcache_stats_get (struct blockcache *c, struct blockcache_stats *out)
{
  *out = (struct blockcache_stats){
    .bytes = c->n.bytes,
    .max_bytes = c->max_bytes,
    .units = c->n.units,
    .pinned_bytes = c->n.pinned_bytes,
    .hits = c->n.hits,
    .misses = c->n.misses,
    .evicted = c->n.evicted,
    .damaged = c->n.damaged,
    .write_errors = c->n.write_errors,
    .dropped_puts = c->n.dropped_puts,
  };
}
