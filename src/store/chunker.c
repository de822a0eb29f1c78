/* SPDX-License-Identifier: Apache-2.0 */
/* The hash at a byte is sum (gear[b[i-k]] << k) over the bytes since hashing began: after 64 bytes
 * it depends on the last 64 only.  That allows the fast path: a stretch is split into LANES parts
 * that are hashed side by side, each warmed up by the 64 bytes before it, and the first hit in file
 * order counts.  One lane alone is bound by the latency of its chain (0.7 s/GiB), four by the
 * loads. */
#include "store/chunker.h"

#define LANES 4
#define LANE_BYTES 2048 /* warming up costs 64 bytes a lane: 3 % */
#define WINDOW 64       /* bits of the hash: bytes it depends on */

static const struct class_params {
  uint32_t min, avg, max; /* min 0: fixed, every avg bytes */
} params[] = {
  [CLASS_GENERIC] = { 128u << 10, 512u << 10, 2048u << 10 },
  [CLASS_TEXT] = { 16u << 10, 64u << 10, 256u << 10 },
  [CLASS_PAGES] = { 0, 64u << 10, 64u << 10 },
  [CLASS_IMMUTABLE] = { 0, 512u << 10, 512u << 10 },
};

/* Normalised chunking, level 2: before the average a cut is four times rarer than once in avg
 * bytes, after it four times more frequent.  The highest bits, since those depend on all of the
 * window. */
static uint64_t
top_bits (unsigned n)
{
  return ~(~UINT64_C (0) >> n);
}

void
chunker_init (struct chunker *c, const struct gear *g, enum chunk_class class, uint64_t off)
{
  const struct class_params *p = &params[class];
  unsigned bits = (unsigned) __builtin_ctz (p->avg);
  *c = (struct chunker){
    .gear = g,
    .min = p->min,
    .avg = p->avg,
    .max = p->max,
    .mask_small = top_bits (bits + 2),
    .mask_large = top_bits (bits - 2),
  };
  chunker_reset (c, off);
}

void
chunker_reset (struct chunker *c, uint64_t off)
{
  c->hash = 0;
  c->len = c->min ? 0 : (uint32_t) (off % c->avg);
}

/* One byte at a time.  Returns how many bytes belong to the chunk: N, or the position after a hit.
 * */
static size_t
scan_slow (const uint64_t *gear, uint64_t *hash, uint64_t mask, const uint8_t *p, size_t n,
           bool *is_cut)
{
  uint64_t h = *hash;
  for (size_t i = 0; i < n; i++) {
    h = (h << 1) + gear[p[i]];
    if (!(h & mask)) {
      *is_cut = true;
      n = i + 1;
    }
  }
  *hash = h;
  return n;
}

static inline uint64_t
warm_up (const uint64_t *gear, const uint8_t *p)
{
  uint64_t h = 0;
  for (int i = 0; i < WINDOW; i++)
    h = (h << 1) + gear[p[i - WINDOW]];
  return h;
}

/* LANES * LANE_BYTES at P.  True if there is a hit among them (*hash is not changed then: the
 * caller looks for it slowly, which happens once per chunk). */
static bool
scan_lanes (const uint64_t *gear, uint64_t *hash, uint64_t mask, const uint8_t *p)
{
  const uint8_t *p1 = p + LANE_BYTES, *p2 = p1 + LANE_BYTES, *p3 = p2 + LANE_BYTES;
  /* The mask is of the highest bits, so "none of them is set" is one comparison and one branch. */
  const uint64_t hit = ~mask + 1;
  uint64_t h0 = *hash, h1 = warm_up (gear, p1), h2 = warm_up (gear, p2), h3 = warm_up (gear, p3);
  for (size_t i = 0; i < LANE_BYTES; i++) {
    h0 = (h0 << 1) + gear[p[i]];
    h1 = (h1 << 1) + gear[p1[i]];
    h2 = (h2 << 1) + gear[p2[i]];
    h3 = (h3 << 1) + gear[p3[i]];
    if (h0 < hit || h1 < hit || h2 < hit || h3 < hit)
      return true;
  }
  *hash = h3;
  return false;
}

/* N bytes that are all judged by one mask. */
static size_t
scan (struct chunker *c, uint64_t mask, const uint8_t *p, size_t n, bool *is_cut)
{
  const uint64_t *gear = c->gear->table;
  uint64_t hash = c->hash;
  size_t done = 0;
  while (n - done >= LANES * LANE_BYTES && !scan_lanes (gear, &hash, mask, p + done))
    done += LANES * LANE_BYTES;
  while (done < n && !*is_cut) {
    size_t take = n - done < LANES * LANE_BYTES ? n - done : LANES * LANE_BYTES;
    done += scan_slow (gear, &hash, mask, p + done, take, is_cut);
  }
  c->hash = hash;
  return done;
}

static size_t
most (uint32_t len, uint32_t bound, size_t n)
{
  return bound - len < n ? bound - len : n;
}

static size_t
end_chunk (struct chunker *c, size_t done, bool *is_cut)
{
  c->hash = 0;
  c->len = 0;
  *is_cut = true;
  return done;
}

size_t
chunker_scan (struct chunker *c, const uint8_t *p, size_t n, bool *is_cut)
{
  *is_cut = false;
  size_t done = 0;
  if (c->len < c->min) { /* nothing is hashed before the minimum */
    done = most (c->len, c->min, n);
    c->len += (uint32_t) done;
  }
  while (done < n && c->len < c->max) {
    bool is_early = c->min && c->len < c->avg, is_hit = false;
    size_t part = most (c->len, is_early ? c->avg : c->max, n - done);
    size_t got = part;
    if (c->min)
      got = scan (c, is_early ? c->mask_small : c->mask_large, p + done, part, &is_hit);
    done += got;
    c->len += (uint32_t) got;
    if (is_hit)
      return end_chunk (c, done, is_cut);
  }
  return c->len == c->max ? end_chunk (c, done, is_cut) : done;
}
