/* SPDX-License-Identifier: Apache-2.0 */
/* Runs: immutable files of sorted entries, in pages of 4096 bytes.
 *
 *   page 0              magic, epoch u64, lo u64, hi u64, count u64, pages u32, fences u32; trailer
 *   1 .. pages          up to 127 entries of 32 bytes; trailer
 *   pages+1 .. +fences  up to 508 keys, each the first eight bytes of a page of entries; trailer
 *
 * Trailer of a page, its last 32 bytes: entries or keys in it u32, its number u32, lo u64, zero,
 * CRC-32C of all before it u32.  In memory stands only the first key of each fence page: 21 KB at
 * 10 TiB.  A page that fails its CRC is as good as empty: what it held is stored again, or read
 * elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MODULE "index"
#include "base/log.h"
#include "store/index_run.h"
#include "store/seal.h"

void
run_name (uint64_t lo, uint64_t hi, char out[64])
{
  snprintf (out, 64, "run-%016" PRIx64 "-%016" PRIx64, lo, hi);
}

bool
run_parse (const char *name, uint64_t *lo, uint64_t *hi)
{
  char again[64];
  if (sscanf (name, "run-%16" SCNx64 "-%16" SCNx64, lo, hi) != 2)
    return false;
  run_name (*lo, *hi, again);
  return strcmp (name, again) == 0 && *lo <= *hi;
}

void
page_finish (uint8_t page[PAGE_LEN], uint32_t used, uint32_t no, uint64_t lo)
{
  put_le32 (page + PAGE_LEN - 32, used);
  put_le32 (page + PAGE_LEN - 28, no);
  put_le64 (page + PAGE_LEN - 24, lo);
  put_le32 (page + PAGE_LEN - 4, crc32c (0, page, PAGE_LEN - 4));
}

uint32_t
page_used (const uint8_t page[PAGE_LEN])
{
  return get_le32 (page + PAGE_LEN - 32);
}

bool
page_is_good (const uint8_t page[PAGE_LEN], uint32_t no, uint64_t lo, uint32_t most)
{
  return get_le32 (page + PAGE_LEN - 4) == crc32c (0, page, PAGE_LEN - 4)
         && get_le32 (page + PAGE_LEN - 28) == no && get_le64 (page + PAGE_LEN - 24) == lo
         && page_used (page) <= most;
}

bool
run_read_page (struct run *r, uint32_t no, uint8_t out[PAGE_LEN])
{
  uint32_t most = no <= r->pages ? PAGE_RECORDS : FENCE_KEYS;
  if (pread (r->fd, out, PAGE_LEN, (off_t) no * PAGE_LEN) == PAGE_LEN
      && page_is_good (out, no, r->lo, most) && page_used (out) > 0)
    return true;
  if (!r->is_damaged)
    log_warn ("a page of the index is damaged, its entries are ignored run=%" PRIx64 "-%" PRIx64
              " page=%u",
              r->lo, r->hi, no);
  r->is_damaged = true;
  return false;
}

static bool
load_top (struct run *r)
{
  uint8_t page[PAGE_LEN];
  r->top = malloc ((r->fences ? r->fences : 1) * sizeof *r->top);
  if (!r->top)
    return false;
  for (uint32_t i = 0; i < r->fences; i++) {
    if (!run_read_page (r, r->pages + 1 + i, page))
      return false;
    r->top[i] = get_le64 (page);
    if (i && r->top[i] < r->top[i - 1])
      return false;
  }
  return true;
}

static bool
load_header (struct run *r, uint64_t epoch)
{
  uint8_t h[PAGE_LEN];
  struct stat st;
  if (pread (r->fd, h, PAGE_LEN, 0) != PAGE_LEN || !page_is_good (h, 0, r->lo, 0)
      || memcmp (h, RUN_MAGIC, 8) != 0 || get_le64 (h + 8) != epoch || get_le64 (h + 16) != r->lo
      || get_le64 (h + 24) != r->hi || fstat (r->fd, &st) < 0)
    return false;
  r->count = get_le64 (h + 32);
  r->pages = get_le32 (h + 40);
  r->fences = get_le32 (h + 44);
  return r->pages > 0 && r->count > 0 && r->count <= (uint64_t) r->pages * PAGE_RECORDS
         && r->fences == (r->pages + FENCE_KEYS - 1) / FENCE_KEYS
         && st.st_size == ((off_t) 1 + r->pages + r->fences) * PAGE_LEN;
}

int
run_open (int dir, uint64_t lo, uint64_t hi, uint64_t epoch, struct run **out)
{
  char name[64];
  AUTO (run) r = calloc (1, sizeof *r);
  if (!r)
    return ERR_NOMEM;
  r->dir = dir;
  r->lo = lo;
  r->hi = hi;
  r->refs = 1;
  run_name (lo, hi, name);
  r->fd = openat (dir, name, O_RDONLY | O_CLOEXEC);
  if (r->fd < 0)
    return err_from_errno (errno);
  if (!load_header (r, epoch) || !load_top (r))
    return ERR_FORMAT;
  *out = STEAL (r);
  return 0;
}

void
run_free (struct run *r)
{
  char name[64];
  if (!r)
    return;
  if (r->fd >= 0)
    close (r->fd);
  run_name (r->lo, r->hi, name);
  if (r->is_dead && unlinkat (r->dir, name, 0) < 0)
    log_warn ("cannot remove a merged part of the index file=%s err=\"%s\"", name,
              strerror (errno));
  free (r->top);
  free (r);
}

/* Fence page NO through the cache.  Pages of entries are not kept: prefixes are uniform, so hardly
 * one is wanted twice. */
static bool
get_fence (struct index *x, struct run *r, uint32_t no, uint8_t out[PAGE_LEN])
{
  uint64_t key = (uint64_t) r->serial << 32 | no;
  struct page_slot *s = &x->pages[(r->serial * 2654435761u + no) % PAGE_CACHE];
  lock_take (&x->lock);
  bool is_hit = s->key == key;
  if (is_hit)
    memcpy (out, s->bytes, PAGE_LEN);
  lock_release (&x->lock);
  if (is_hit)
    return true;
  if (!run_read_page (r, no, out))
    return false;
  lock_take (&x->lock);
  s->key = key;
  memcpy (s->bytes, out, PAGE_LEN);
  lock_release (&x->lock);
  return true;
}

/* The last of N ascending keys, little-endian in RAW or else in KEYS, that is below KEY, or 0. */
static uint32_t
last_below (const uint64_t *keys, const uint8_t *raw, uint32_t n, uint64_t key)
{
  uint32_t lo = 0, hi = n; /* those before lo are below */
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if ((raw ? get_le64 (raw + 8 * mid) : keys[mid]) < key)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo ? lo - 1 : 0;
}

/* The first page of entries that can hold KEY; 0 if a fence is damaged. */
static uint32_t
first_page (struct index *x, struct run *r, uint64_t key)
{
  uint8_t page[PAGE_LEN];
  uint32_t fence = last_below (r->top, NULL, r->fences, key);
  if (!get_fence (x, r, r->pages + 1 + fence, page))
    return 0;
  return 1 + fence * FENCE_KEYS + last_below (NULL, page, page_used (page), key);
}

/* The first entry of PAGE that is not below PREFIX. */
static uint32_t
lower_bound (const uint8_t *page, const uint8_t prefix[PREFIX_LEN])
{
  uint32_t lo = 0, hi = page_used (page);
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (memcmp (page + mid * RECORD_LEN, prefix, PREFIX_LEN) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

size_t
run_find (struct index *x, struct run *r, const uint8_t prefix[PREFIX_LEN], int type,
          struct record *out, size_t cap)
{
  uint8_t page[PAGE_LEN];
  size_t found = 0;
  uint32_t no = first_page (x, r, prefix_key (prefix));
  for (; no && no <= r->pages; no++) {
    if (!run_read_page (r, no, page))
      return found;
    uint32_t i = lower_bound (page, prefix);
    for (; i < page_used (page); i++) {
      const uint8_t *raw = page + i * RECORD_LEN;
      if (memcmp (raw, prefix, PREFIX_LEN) != 0 || found == cap)
        return found;
      record_get (raw, &out[found]);
      found += record_type (&out[found]) == type;
    }
  }
  return found;
}
