/* SPDX-License-Identifier: Apache-2.0 */
/* The pack table: file `packs`, a header and one slot of 48 bytes per number.
 *
 *   0  8  magic        8  8  epoch       16  4  reserved     20  4  CRC-32C of the first 20 bytes
 *   64 + 48 * no:  name[32], size u64, kind u8, life u8, zero u16, CRC-32C of the first 44 bytes
 *
 * Numbers are reserved in lots, the new bound being synced before a number of the lot is used:
 * after a crash numbering goes on above it, so no number that a working tree holds ever means
 * another pack. A slot that is damaged or was never written makes its number unknown, no more. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "index"
#include "base/log.h"
#include "store/index_priv.h"
#include "store/seal.h"

#define MAGIC "COFRPKT1"
#define HEADER_LEN 64
#define SLOT_LEN 48
#define LOT 256
#define NUMBER_MAX 0xfffffff0u

static off_t
slot_off (uint32_t no)
{
  return HEADER_LEN + (off_t) no * SLOT_LEN;
}

static int
write_at (int fd, const void *p, size_t n, off_t off)
{
  ssize_t put = pwrite (fd, p, n, off);
  if (put == (ssize_t) n)
    return 0;
  return put < 0 ? err_from_errno (errno) : ERR_IO;
}

/* Makes numbers up to the next lot usable, with their space on disk. */
static int
reserve (struct packs *p)
{
  uint8_t h[HEADER_LEN] = MAGIC;
  uint32_t upto = p->next + LOT;
  if (upto > NUMBER_MAX)
    return ERR_LIMIT;
  put_le64 (h + 8, p->epoch);
  put_le32 (h + 16, upto);
  put_le32 (h + 20, crc32c (0, h, 20));
  int rc = posix_fallocate (p->fd, slot_off (p->next), LOT * SLOT_LEN);
  if (rc)
    return err_from_errno (rc);
  rc = write_at (p->fd, h, sizeof h, 0);
  if (rc == 0 && fdatasync (p->fd) < 0)
    rc = err_from_errno (errno);
  if (rc == 0)
    p->reserved = upto;
  return rc;
}

static int
grow_flags (struct packs *p, uint32_t upto)
{
  if (upto <= p->flags_cap)
    return 0;
  uint32_t cap = p->flags_cap ? p->flags_cap : 4096;
  while (cap < upto)
    cap += cap / 2;
  uint8_t *f = realloc (p->flags, cap);
  if (!f)
    return ERR_NOMEM;
  memset (f + p->flags_cap, 0, cap - p->flags_cap);
  p->flags = f;
  p->flags_cap = cap;
  return 0;
}

static void
slot_put (const struct index_pack *k, enum pack_life life, uint8_t out[SLOT_LEN])
{
  memset (out, 0, SLOT_LEN);
  memcpy (out, k->name, PACK_NAME_LEN);
  put_le64 (out + 32, k->size);
  out[40] = k->kind;
  out[41] = (uint8_t) life;
  put_le32 (out + 44, crc32c (0, out, 44));
}

static bool
slot_get (const uint8_t in[SLOT_LEN], struct index_pack *k, enum pack_life *life)
{
  if (in[41] <= PACK_BEGUN || in[41] > PACK_GONE || get_le32 (in + 44) != crc32c (0, in, 44))
    return false;
  memcpy (k->name, in, PACK_NAME_LEN);
  k->size = get_le64 (in + 32);
  k->kind = in[40];
  *life = (enum pack_life) in[41];
  return true;
}

bool
packs_get (const struct packs *p, uint32_t no, struct index_pack *out)
{
  uint8_t raw[SLOT_LEN];
  enum pack_life life;
  return no < p->next && pread (p->fd, raw, SLOT_LEN, slot_off (no)) == SLOT_LEN
         && slot_get (raw, out, &life);
}

/* --- by name --- */

static uint32_t
name_hash (const uint8_t name[PACK_NAME_LEN])
{
  return get_le32 (name); /* a digest: as good as any hash of it */
}

static void
remember_name (struct packs *p, uint32_t no, const uint8_t name[PACK_NAME_LEN])
{
  struct name_slot *s = &p->cache[no % NAME_CACHE];
  s->no_plus_1 = no + 1;
  memcpy (s->name, name, PACK_NAME_LEN);
}

bool
packs_name (struct packs *p, uint32_t no, uint8_t name[PACK_NAME_LEN])
{
  const struct name_slot *s = &p->cache[no % NAME_CACHE];
  struct index_pack k;
  if (no >= p->next || packs_life (p, no) <= PACK_BEGUN)
    return false;
  if (s->no_plus_1 == no + 1) {
    memcpy (name, s->name, PACK_NAME_LEN);
    return true;
  }
  if (!packs_get (p, no, &k))
    return false;
  remember_name (p, no, k.name);
  memcpy (name, k.name, PACK_NAME_LEN);
  return true;
}

bool
packs_find (struct packs *p, const uint8_t name[PACK_NAME_LEN], uint32_t *no)
{
  uint8_t other[PACK_NAME_LEN];
  uint32_t mask = p->by_name_cap - 1;
  for (uint32_t i = name_hash (name) & mask; p->by_name[i]; i = (i + 1) & mask)
    if (packs_name (p, p->by_name[i] - 1, other) && memcmp (other, name, PACK_NAME_LEN) == 0) {
      *no = p->by_name[i] - 1;
      return true;
    }
  return false;
}

static void
link_name (struct packs *p, uint32_t hash, uint32_t no)
{
  uint32_t mask = p->by_name_cap - 1, i = hash & mask;
  while (p->by_name[i])
    i = (i + 1) & mask;
  p->by_name[i] = no + 1;
}

/* Room for COUNT names: the table at most three quarters full. */
static int
grow_by_name (struct packs *p, uint32_t count)
{
  uint32_t *old = p->by_name, old_cap = p->by_name_cap, cap = old_cap ? old_cap : 4096;
  while (cap / 4 * 3 < count)
    cap *= 2;
  if (cap == old_cap)
    return 0;
  uint32_t *table = calloc (cap, sizeof *table);
  if (!table)
    return ERR_NOMEM;
  p->by_name = table;
  p->by_name_cap = cap;
  for (uint32_t i = 0; i < old_cap; i++) {
    struct index_pack k;
    if (old[i] && packs_get (p, old[i] - 1, &k))
      link_name (p, name_hash (k.name), old[i] - 1);
  }
  free (old);
  return 0;
}

/* --- numbers --- */

int
packs_new (struct packs *p, enum pack_life life, uint32_t *no)
{
  int rc = p->next < p->reserved ? 0 : reserve (p);
  if (rc == 0)
    rc = grow_flags (p, p->next + 1);
  if (rc < 0)
    return rc;
  p->flags[p->next] = (uint8_t) life;
  *no = p->next++;
  return 0;
}

int
packs_set (struct packs *p, uint32_t no, enum pack_life life, const uint8_t name[PACK_NAME_LEN],
           int kind, uint64_t size)
{
  uint8_t raw[SLOT_LEN];
  struct index_pack k = { .kind = (uint8_t) kind, .size = size };
  memcpy (k.name, name, PACK_NAME_LEN);
  slot_put (&k, life, raw);
  bool is_new = packs_life (p, no) <= PACK_BEGUN;
  int rc = is_new ? grow_by_name (p, p->named + 1) : 0;
  if (rc == 0)
    rc = write_at (p->fd, raw, SLOT_LEN, slot_off (no));
  if (rc < 0)
    return rc;
  if (is_new) {
    link_name (p, name_hash (name), no);
    p->named++;
  }
  remember_name (p, no, name);
  p->flags[no] = (uint8_t) ((p->flags[no] & ~PACK_LIFE_MASK) | life);
  return 0;
}

void
packs_set_life (struct packs *p, uint32_t no, enum pack_life life)
{
  struct index_pack k;
  uint8_t raw[SLOT_LEN];
  if (no >= p->next)
    return;
  bool is_named = packs_get (p, no, &k);
  p->flags[no] = (uint8_t) ((p->flags[no] & ~PACK_LIFE_MASK) | life);
  if (!is_named)
    return;
  slot_put (&k, life, raw);
  /* If this is lost, the pack comes back as a hint after a restart, and the seal's check refuses
   * it. */
  if (write_at (p->fd, raw, SLOT_LEN, slot_off (no)) < 0)
    return;
}

/* --- opening --- */

/* Reads the slots in order; numbering goes on above all that were ever reserved. */
static int
load_slots (struct packs *p)
{
  AUTO_MEM uint8_t *lot = malloc (LOT * SLOT_LEN);
  if (!lot)
    return ERR_NOMEM;
  p->next = p->reserved;
  int rc = grow_flags (p, p->next);
  if (rc == 0)
    rc = grow_by_name (p, p->next);
  for (uint32_t at = 0; at < p->next && rc == 0; at += LOT) {
    ssize_t got = pread (p->fd, lot, LOT * SLOT_LEN, slot_off (at));
    for (uint32_t i = 0; (ssize_t) ((i + 1) * SLOT_LEN) <= got; i++) {
      struct index_pack k;
      enum pack_life life;
      if (at + i >= p->next || !slot_get (lot + i * SLOT_LEN, &k, &life))
        continue;
      link_name (p, name_hash (k.name), at + i);
      p->named++;
      p->flags[at + i] = (uint8_t) life;
    }
  }
  return rc;
}

static bool
load_header (struct packs *p)
{
  uint8_t h[HEADER_LEN];
  if (pread (p->fd, h, sizeof h, 0) != (ssize_t) sizeof h || memcmp (h, MAGIC, 8) != 0
      || get_le32 (h + 20) != crc32c (0, h, 20) || get_le32 (h + 16) > NUMBER_MAX)
    return false;
  p->epoch = get_le64 (h + 8);
  p->reserved = get_le32 (h + 16);
  return true;
}

int
packs_open (struct packs *p, int dir)
{
  struct stat st;
  *p = (struct packs){ .fd = openat (dir, "packs", O_RDWR | O_CREAT | O_CLOEXEC, 0600) };
  if (p->fd < 0 || fstat (p->fd, &st) < 0) {
    log_err ("cannot open the index file=packs err=\"%s\"", strerror (errno));
    return err_from_errno (errno);
  }
  p->cache = calloc (NAME_CACHE, sizeof *p->cache);
  if (!p->cache || grow_by_name (p, 0) < 0)
    return ERR_NOMEM;
  if (st.st_size > 0 && load_header (p) && st.st_size >= slot_off (p->reserved))
    return load_slots (p);
  if (st.st_size > 0)
    log_warn ("the index is damaged, beginning with an empty one file=packs");
  p->reserved = 0;
  random_bytes (&p->epoch, sizeof p->epoch);
  if (ftruncate (p->fd, 0) < 0)
    return err_from_errno (errno);
  return reserve (p);
}

void
packs_close (struct packs *p)
{
  if (p->fd >= 0)
    close (p->fd);
  free (p->flags);
  free (p->by_name);
  free (p->cache);
  *p = (struct packs){ .fd = -1 };
}
