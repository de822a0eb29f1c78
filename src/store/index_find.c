/* SPDX-License-Identifier: Apache-2.0 */
/* Finding entries: in memory under the lock, then in the runs, newest first, without it. */
#include <string.h>

#include "store/index_priv.h"

#define CANDIDATES 16 /* copies of one chunk looked at in a run */

struct query {
  const uint8_t *id;
  int type;
  uint32_t plain_len; /* 0: any */
  bool must_be_usable;
};

static bool
fits_locked (struct index *x, const struct query *q, const struct record *r)
{
  if (q->plain_len && (r->type_plain & ((1u << PLAIN_BITS) - 1)) != q->plain_len)
    return false;
  enum pack_life life = packs_life (&x->packs, r->pack);
  return q->must_be_usable ? packs_is_usable (&x->packs, r->pack)
                           : life != PACK_UNKNOWN && life != PACK_GONE;
}

static void
give (const struct query *q, const struct record *r, struct chunk_ref *out)
{
  memcpy (out->id, q->id, ID_LEN);
  out->pack = r->pack;
  out->off = r->off;
  out->sealed_len = r->sealed_len;
  out->plain_len = r->type_plain & ((1u << PLAIN_BITS) - 1);
}

/* In memory; else takes references on all runs. */
static bool
find_in_memory (struct index *x, const struct query *q, struct chunk_ref *out, struct run **runs,
                unsigned *n)
{
  LOCK_SCOPE (&x->lock);
  const struct mem *tables[] = { &x->mem, &x->flushing };
  for (int i = 0; i < 2; i++) {
    const struct record *r = mem_find (tables[i], q->id, q->type);
    if (r && fits_locked (x, q, r)) {
      give (q, r, out);
      return true;
    }
  }
  *n = x->run_count;
  for (unsigned i = 0; i < *n; i++) {
    runs[i] = x->runs[i];
    runs[i]->refs++;
  }
  return false;
}

static bool
find_in_run (struct index *x, const struct query *q, struct run *run, struct chunk_ref *out)
{
  struct record found[CANDIDATES];
  size_t n = run_find (x, run, q->id, q->type, found, CANDIDATES);
  if (n == 0)
    return false;
  LOCK_SCOPE (&x->lock);
  for (size_t i = 0; i < n; i++)
    if (fits_locked (x, q, &found[i])) {
      give (q, &found[i], out);
      return true;
    }
  return false;
}

static bool
find (struct index *x, const struct query *q, struct chunk_ref *out)
{
  struct run *runs[RUNS_MAX];
  unsigned n = 0;
  bool is_found = find_in_memory (x, q, out, runs, &n);
  for (unsigned i = n; i > 0 && !is_found; i--)
    is_found = find_in_run (x, q, runs[i - 1], out);
  if (n)
    index_unref_runs (x, runs, n);
  return is_found;
}

bool
index_find (struct index *x, int type, const uint8_t id[ID_LEN], uint32_t plain_len,
            struct chunk_ref *out)
{
  return find (x, &(struct query){ id, type, plain_len, true }, out);
}

bool
index_find_any (struct index *x, int type, const uint8_t id[ID_LEN], struct chunk_ref *out)
{
  return find (x, &(struct query){ id, type, 0, false }, out);
}

void
index_stats_get (struct index *x, struct index_stats *out)
{
  LOCK_SCOPE (&x->lock);
  struct index_stats s = { .packs = x->packs.named, .runs = x->run_count };
  s.entries = x->mem.count + x->flushing.count;
  for (unsigned i = 0; i < x->run_count; i++) {
    s.entries += x->runs[i]->count;
    s.bytes += ((uint64_t) 1 + x->runs[i]->pages + x->runs[i]->fences) * PAGE_LEN;
  }
  *out = s;
}
