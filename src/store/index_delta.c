/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas: what this host found out for the others (file `own`), and which of theirs it has taken in
 * (file `deltas`).  Both begin with a magic and the epoch of the pack numbers.
 *
 *   own      per pack that was done:  magic u32, pack u32, entries u32, CRC-32C u32 of the first 12
 *            bytes and what follows; entries of 32 bytes.  Emptied when all of it was exported.
 *   deltas   per delta:  the first eight bytes of the SHA-256 of its name, CRC-32C of them
 *
 * A delta is noted only when its entries are on disk.  One that is forgotten is taken in again. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "index"
#include "base/log.h"
#include "store/index_priv.h"
#include "store/seal.h"

#define OWN_MAGIC "COFROWN1"
#define DELTAS_MAGIC "COFRDLT1"
#define FILE_HEADER 16
#define BLOCK_MAGIC 0x4b434f42u /* "BOCK" */
#define BLOCK_HEADER 16
#define NOTE_LEN 12
#define EXPORT_ENTRIES 65536 /* of one delta, unless a single pack has more */
#define SMALL_DELTA 8192     /* fewer entries go to memory, more become a run */

/* --- the set of deltas --- */

static uint64_t
hash_of (const char *object)
{
  uint8_t sum[32];
  sha256_once (object, strlen (object), sum);
  uint64_t h = get_le64 (sum);
  return h ? h : 1;
}

static bool
set_has (const struct hashes *s, uint64_t h)
{
  for (uint32_t i = (uint32_t) h & (s->cap - 1); s->h[i]; i = (i + 1) & (s->cap - 1))
    if (s->h[i] == h)
      return true;
  return false;
}

static void
set_link (struct hashes *s, uint64_t h)
{
  uint32_t i = (uint32_t) h & (s->cap - 1);
  while (s->h[i])
    i = (i + 1) & (s->cap - 1);
  s->h[i] = h;
}

static int
set_add (struct hashes *s, uint64_t h)
{
  if (s->cap && set_has (s, h))
    return 0;
  if (s->count + 1 > s->cap / 4 * 3) {
    struct hashes bigger = { .cap = s->cap ? 2 * s->cap : 1024, .count = s->count };
    bigger.h = calloc (bigger.cap, sizeof *bigger.h);
    if (!bigger.h)
      return ERR_NOMEM;
    for (uint32_t i = 0; i < s->cap; i++)
      if (s->h[i])
        set_link (&bigger, s->h[i]);
    free (s->h);
    *s = bigger;
  }
  set_link (s, h);
  s->count++;
  return 0;
}

static int
list_add (struct hashes *l, uint64_t h)
{
  if (l->count == l->cap) {
    uint32_t cap = l->cap ? 2 * l->cap : 64;
    uint64_t *p = realloc (l->h, cap * sizeof *p);
    if (!p)
      return ERR_NOMEM;
    l->h = p;
    l->cap = cap;
  }
  l->h[l->count++] = h;
  return 0;
}

void
deltas_persist (struct index *x, const struct hashes *done)
{
  int rc = 0;
  for (uint32_t i = 0; i < done->count && rc == 0; i++) {
    uint8_t note[NOTE_LEN];
    put_le64 (note, done->h[i]);
    put_le32 (note + 8, crc32c (0, note, 8));
    /* O_APPEND: whole notes, whoever writes. */
    if (write (x->deltas_fd, note, NOTE_LEN) != NOTE_LEN)
      rc = ERR_IO;
  }
  if (rc < 0)
    log_warn ("cannot note which index deltas were loaded, they will be loaded again file=deltas");
}

/* --- opening --- */

/* Opens NAME, or begins it anew if it is not of this epoch.  SIZE is what stands in it. */
static int
open_file (struct index *x, const char *name, const char *magic, int flags, int *out,
           uint64_t *size)
{
  uint8_t h[FILE_HEADER];
  struct stat st;
  AUTO_FD fd = openat (x->dir, name, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
  if (fd < 0 || fstat (fd, &st) < 0)
    return err_from_errno (errno);
  if (pread (fd, h, sizeof h, 0) != (ssize_t) sizeof h || memcmp (h, magic, 8) != 0
      || get_le64 (h + 8) != x->packs.epoch) {
    memcpy (h, magic, 8);
    put_le64 (h + 8, x->packs.epoch);
    if (ftruncate (fd, 0) < 0 || pwrite (fd, h, sizeof h, 0) != (ssize_t) sizeof h)
      return errno ? err_from_errno (errno) : ERR_IO;
    st.st_size = FILE_HEADER;
  }
  *size = (uint64_t) st.st_size;
  *out = fd;
  fd = -1;
  return 0;
}

static int
load_notes (struct index *x, uint64_t size)
{
  int rc = 0;
  for (uint64_t at = FILE_HEADER; at + NOTE_LEN <= size && rc == 0; at += NOTE_LEN) {
    uint8_t note[NOTE_LEN];
    if (pread (x->deltas_fd, note, NOTE_LEN, (off_t) at) != NOTE_LEN)
      break;
    if (get_le32 (note + 8) == crc32c (0, note, 8) && get_le64 (note))
      rc = set_add (&x->deltas, get_le64 (note));
  }
  return rc;
}

/* Reads the block at OFF, records and all, into BUF.  False: there is no good one. */
static bool
read_block (struct index *x, uint64_t off, struct buf *buf, uint32_t *pack, uint32_t *count)
{
  uint8_t h[BLOCK_HEADER];
  if (pread (x->own_fd, h, sizeof h, (off_t) off) != (ssize_t) sizeof h
      || get_le32 (h) != BLOCK_MAGIC)
    return false;
  *pack = get_le32 (h + 4);
  *count = get_le32 (h + 8);
  if (*count > BEGUN_RECORDS_MAX)
    return false;
  size_t n = (size_t) *count * RECORD_LEN;
  buf_reset (buf);
  uint8_t *at = buf_reserve (buf, n ? n : 1);
  if (!at || (n && pread (x->own_fd, at, n, (off_t) off + BLOCK_HEADER) != (ssize_t) n))
    return false;
  buf->len = n;
  return get_le32 (h + 12) == crc32c (crc32c (0, h, 12), at, n);
}

/* Finds where the good blocks end; a torn one at the end is what a crash leaves. */
static void
load_own (struct index *x, uint64_t size)
{
  AUTO_BUF buf;
  buf_init (&buf, (size_t) BEGUN_RECORDS_MAX * RECORD_LEN);
  uint32_t pack, count;
  x->own_len = x->exported = x->export_end = FILE_HEADER;
  while (x->own_len < size && read_block (x, x->own_len, &buf, &pack, &count))
    x->own_len += BLOCK_HEADER + (uint64_t) count * RECORD_LEN;
}

int
deltas_open (struct index *x)
{
  uint64_t own, notes;
  int rc = open_file (x, "own", OWN_MAGIC, 0, &x->own_fd, &own);
  if (rc == 0)
    rc = open_file (x, "deltas", DELTAS_MAGIC, O_APPEND, &x->deltas_fd, &notes);
  if (rc == 0)
    rc = set_add (&x->deltas, UINT64_MAX); /* so that it is never empty */
  if (rc == 0)
    rc = load_notes (x, notes);
  if (rc == 0)
    load_own (x, own);
  return rc;
}

void
deltas_close (struct index *x)
{
  if (x->own_fd >= 0)
    close (x->own_fd);
  if (x->deltas_fd >= 0)
    close (x->deltas_fd);
  free (x->deltas.h);
  free (x->pending.h);
}

/* --- export --- */

int
own_append_locked (struct index *x, const struct begun *b)
{
  size_t n = BLOCK_HEADER + (size_t) b->count * RECORD_LEN;
  AUTO_MEM uint8_t *block = malloc (n);
  if (!block)
    return ERR_NOMEM;
  put_le32 (block, BLOCK_MAGIC);
  put_le32 (block + 4, b->no);
  put_le32 (block + 8, b->count);
  for (uint32_t i = 0; i < b->count; i++)
    record_put (&b->records[i], block + BLOCK_HEADER + i * RECORD_LEN);
  uint32_t crc = crc32c (0, block, 12);
  put_le32 (block + 12, crc32c (crc, block + BLOCK_HEADER, n - BLOCK_HEADER));
  ssize_t put = pwrite (x->own_fd, block, n, (off_t) x->own_len);
  if (put != (ssize_t) n)
    return put < 0 ? err_from_errno (errno) : ERR_FULL;
  x->own_len += n;
  return 0;
}

static int
compare_entries (const void *a, const void *b)
{
  return memcmp (((const struct index_entry *) a)->prefix, ((const struct index_entry *) b)->prefix,
                 PREFIX_LEN);
}

static int
grow (void **p, size_t *cap, size_t need, size_t each)
{
  if (need <= *cap)
    return 0;
  size_t n = *cap ? *cap : 64;
  while (n < need)
    n *= 2;
  void *bigger = realloc (*p, n * each);
  if (!bigger)
    return ERR_NOMEM;
  *p = bigger;
  *cap = n;
  return 0;
}

struct export {
  struct index_delta d;
  size_t pack_cap, entry_cap;
};

static int
export_block (struct index *x, struct export *e, uint32_t no, const uint8_t *raw, uint32_t count)
{
  struct index_pack pack;
  if (packs_life (&x->packs, no) != PACK_DONE || !packs_get (&x->packs, no, &pack))
    return 0; /* gone since */
  int rc = grow ((void **) &e->d.packs, &e->pack_cap, e->d.pack_count + 1, sizeof *e->d.packs);
  if (rc == 0)
    rc = grow ((void **) &e->d.entries, &e->entry_cap, e->d.entry_count + count,
               sizeof *e->d.entries);
  if (rc < 0)
    return rc;
  for (uint32_t i = 0; i < count; i++) {
    struct record r;
    record_get (raw + i * RECORD_LEN, &r);
    struct index_entry *to = &e->d.entries[e->d.entry_count++];
    *to = (struct index_entry){ .pack = (uint32_t) e->d.pack_count,
                                .off = r.off,
                                .sealed_len = r.sealed_len,
                                .plain_len = r.type_plain & ((1u << PLAIN_BITS) - 1),
                                .type = (uint8_t) record_type (&r) };
    memcpy (to->prefix, r.prefix, PREFIX_LEN);
  }
  e->d.packs[e->d.pack_count++] = pack;
  return 0;
}

int
index_export (struct index *x, struct index_delta *out)
{
  struct export e = { .pack_cap = 0 };
  AUTO_BUF buf;
  buf_init (&buf, (size_t) BEGUN_RECORDS_MAX * RECORD_LEN);
  int rc = 0;
  lock_take (&x->lock);
  uint64_t at = x->exported;
  while (at < x->own_len && rc == 0) {
    uint32_t no, count;
    if (!read_block (x, at, &buf, &no, &count)) {
      at = x->own_len; /* unreadable now: the others do without */
      break;
    }
    if (e.d.entry_count && e.d.entry_count + count > EXPORT_ENTRIES)
      break;
    rc = export_block (x, &e, no, buf.data, count);
    at += BLOCK_HEADER + (uint64_t) count * RECORD_LEN;
  }
  x->export_end = at;
  lock_release (&x->lock);
  if (rc < 0) {
    index_delta_release (&e.d);
    return rc;
  }
  if (e.d.entry_count)
    qsort (e.d.entries, e.d.entry_count, sizeof *e.d.entries, compare_entries);
  *out = e.d;
  return 0;
}

void
index_exported (struct index *x)
{
  LOCK_SCOPE (&x->lock);
  x->exported = x->export_end;
  if (x->exported < x->own_len || x->own_len == FILE_HEADER)
    return;
  /* If this fails, the blocks are there again after a restart, and are exported once more. */
  if (ftruncate (x->own_fd, FILE_HEADER) == 0)
    x->own_len = x->exported = x->export_end = FILE_HEADER;
}

/* --- import --- */

/* The local number of each pack of D. */
static int
number_packs (struct index *x, const struct index_delta *d, uint32_t *numbers)
{
  int rc = 0;
  for (size_t i = 0; i < d->pack_count && rc == 0; i++) {
    const struct index_pack *k = &d->packs[i];
    LOCK_SCOPE (&x->lock);
    if (packs_find (&x->packs, k->name, &numbers[i]))
      continue;
    rc = packs_new (&x->packs, PACK_UNKNOWN, &numbers[i]);
    if (rc == 0)
      rc = packs_set (&x->packs, numbers[i], PACK_FOREIGN, k->name, k->kind, k->size);
  }
  return rc;
}

static bool
record_of (const struct index_entry *e, const uint32_t *numbers, struct record *out)
{
  if (e->type == 0 || e->plain_len >= 1u << PLAIN_BITS)
    return false;
  *out = (struct record){ .pack = numbers[e->pack],
                          .off = e->off,
                          .sealed_len = e->sealed_len,
                          .type_plain = (uint32_t) e->type << PLAIN_BITS | e->plain_len };
  memcpy (out->prefix, e->prefix, PREFIX_LEN);
  return true;
}

/* Entries come sorted by prefix; those of one prefix are sorted here, up to GROUP of them. */
#define GROUP 64
static int
write_entries (struct run_writer *w, const struct index_delta *d, const uint32_t *numbers)
{
  struct record group[GROUP];
  size_t n = 0;
  int rc = 0;
  for (size_t i = 0; i <= d->entry_count && rc == 0; i++) {
    bool is_end = i == d->entry_count
                  || (n && memcmp (group[0].prefix, d->entries[i].prefix, PREFIX_LEN) != 0);
    if (is_end) {
      qsort (group, n, sizeof *group, record_compare);
      for (size_t k = 0; k < n && rc == 0; k++)
        rc = run_writer_put (w, &group[k]);
      n = 0;
    }
    if (i < d->entry_count && n < GROUP && record_of (&d->entries[i], numbers, &group[n]))
      n++;
  }
  return rc;
}

static int
load_as_run (struct index *x, const struct index_delta *d, const uint32_t *numbers)
{
  AUTO (run_writer) w = NULL;
  AUTO (run) r = NULL;
  lock_take (&x->lock);
  uint64_t seq = x->next_seq++;
  x->writers++;
  lock_release (&x->lock);
  int rc = run_writer_new (x->dir, seq, seq, x->packs.epoch, &w);
  if (rc == 0)
    rc = write_entries (w, d, numbers);
  if (rc == 0)
    rc = run_writer_finish (w, &r);
  lock_take (&x->lock);
  if (r && index_add_run_locked (x, r))
    r = NULL;
  x->writers--;
  lock_release (&x->lock);
  if (r) {
    r->is_dead = true;
    rc = ERR_LIMIT;
  }
  return rc == ERR_NODATA ? 0 : rc;
}

int
index_load_delta (struct index *x, const char *object, const struct index_delta *d)
{
  AUTO_MEM uint32_t *numbers = calloc (d->pack_count ? d->pack_count : 1, sizeof *numbers);
  if (!numbers)
    return ERR_NOMEM;
  uint64_t hash = hash_of (object);
  bool is_small = d->entry_count < SMALL_DELTA;
  int rc = number_packs (x, d, numbers);
  for (size_t i = 0; i < d->entry_count && rc == 0 && is_small; i++) {
    struct record r;
    if (record_of (&d->entries[i], numbers, &r))
      index_put (x, &r, false);
  }
  if (rc == 0 && !is_small)
    rc = load_as_run (x, d, numbers);
  if (rc < 0)
    return rc;
  lock_take (&x->lock);
  rc = set_add (&x->deltas, hash);
  if (rc == 0 && is_small)
    rc = list_add (&x->pending, hash);
  lock_release (&x->lock);
  if (rc == 0 && !is_small)
    deltas_persist (x, &(struct hashes){ .h = &hash, .count = 1 });
  index_maintain (x);
  return rc;
}

bool
index_has_delta (struct index *x, const char *object)
{
  uint64_t hash = hash_of (object);
  LOCK_SCOPE (&x->lock);
  return set_has (&x->deltas, hash);
}

void
index_mark_delta (struct index *x, const char *object)
{
  uint64_t hash = hash_of (object);
  lock_take (&x->lock);
  int rc = set_add (&x->deltas, hash);
  lock_release (&x->lock);
  if (rc == 0)
    deltas_persist (x, &(struct hashes){ .h = &hash, .count = 1 });
}
