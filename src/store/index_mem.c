/* SPDX-License-Identifier: Apache-2.0 */
/* Entries in memory: one table with linear probing, cleared as a whole, so nothing is ever deleted.
 * */
#include <stdlib.h>
#include <string.h>

#include "store/index_priv.h"

int
record_compare (const void *a, const void *b)
{
  const struct record *x = a, *y = b;
  int c = memcmp (x->prefix, y->prefix, PREFIX_LEN);
  if (c)
    return c;
  if (record_type (x) != record_type (y))
    return record_type (x) < record_type (y) ? -1 : 1;
  if (x->pack != y->pack)
    return x->pack < y->pack ? -1 : 1;
  return x->off < y->off ? -1 : x->off > y->off;
}

void
record_put (const struct record *r, uint8_t out[RECORD_LEN])
{
  memcpy (out, r->prefix, PREFIX_LEN);
  put_le32 (out + 16, r->pack);
  put_le32 (out + 20, r->off);
  put_le32 (out + 24, r->sealed_len);
  put_le32 (out + 28, r->type_plain);
}

void
record_get (const uint8_t in[RECORD_LEN], struct record *out)
{
  memcpy (out->prefix, in, PREFIX_LEN);
  out->pack = get_le32 (in + 16);
  out->off = get_le32 (in + 20);
  out->sealed_len = get_le32 (in + 24);
  out->type_plain = get_le32 (in + 28);
}

int
mem_init (struct mem *m)
{
  *m = (struct mem){ .slots = calloc (MEM_SLOTS, sizeof *m->slots) };
  return m->slots ? 0 : ERR_NOMEM;
}

void
mem_clear (struct mem *m)
{
  memset (m->slots, 0, MEM_SLOTS * sizeof *m->slots);
  m->count = 0;
}

/* The slot of this entry, or the empty one where it would stand.  There always is one: MEM_FULL. */
static struct record *
probe (const struct mem *m, const uint8_t prefix[PREFIX_LEN], int type)
{
  /* The low half: runs are sorted by the high one, and a delta's entries come in that order. */
  for (uint32_t i = get_le32 (prefix + 8) % MEM_SLOTS;; i = (i + 1) % MEM_SLOTS) {
    struct record *r = &m->slots[i];
    if (r->type_plain == 0
        || (record_type (r) == type && memcmp (r->prefix, prefix, PREFIX_LEN) == 0))
      return r;
  }
}

struct record *
mem_find (const struct mem *m, const uint8_t prefix[PREFIX_LEN], int type)
{
  if (!m->slots)
    return NULL;
  struct record *r = probe (m, prefix, type);
  return r->type_plain ? r : NULL;
}

bool
mem_put (struct mem *m, const struct record *r)
{
  struct record *at = probe (m, r->prefix, record_type (r));
  if (at->type_plain == 0) {
    if (m->count >= MEM_FULL)
      return false;
    m->count++;
  }
  *at = *r;
  return true;
}
