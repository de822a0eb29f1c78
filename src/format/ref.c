/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk references, extents and pack tables: what pages and checkpoints are made of. */
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "format/format_priv.h"
#include "format/pack.h"

void
pack_table_release (struct pack_table *t)
{
  free (t->names);
  *t = (struct pack_table){ 0 };
}

void
pack_table_reset (struct pack_table *t)
{
  t->count = 0;
  t->last = 0;
}

static int
pack_table_grow (struct pack_table *t)
{
  if (t->count >= PACK_TABLE_MAX)
    return ERR_LIMIT;
  uint32_t cap = t->cap ? t->cap * 2 : 8;
  uint8_t (*names)[PACK_NAME_LEN] = realloc (t->names, (size_t) cap * PACK_NAME_LEN);
  if (!names)
    return ERR_NOMEM;
  t->names = names;
  t->cap = cap;
  return 0;
}

/* Neighbouring chunks lie in one pack, so the last answer is nearly always the next one; otherwise
 * recent names are likelier than old ones. */
int
pack_table_intern (struct pack_table *t, const uint8_t name[PACK_NAME_LEN], uint32_t *out)
{
  if (t->last < t->count && memcmp (t->names[t->last], name, PACK_NAME_LEN) == 0) {
    *out = t->last;
    return 0;
  }
  for (uint32_t i = t->count; i-- > 0;)
    if (memcmp (t->names[i], name, PACK_NAME_LEN) == 0) {
      *out = t->last = i;
      return 0;
    }
  if (t->count == t->cap) {
    int rc = pack_table_grow (t);
    if (rc < 0)
      return rc;
  }
  memcpy (t->names[t->count], name, PACK_NAME_LEN);
  *out = t->last = t->count++;
  return 0;
}

void
pack_table_put (struct buf *b, const struct pack_table *t)
{
  buf_put_varint (b, t->count);
  buf_put (b, t->names, (size_t) t->count * PACK_NAME_LEN);
}

int
pack_table_get (struct rd *r, struct pack_table *out)
{
  uint32_t n = rd_count (r, PACK_NAME_LEN, PACK_TABLE_MAX);
  const uint8_t *names = rd_take (r, (size_t) n * PACK_NAME_LEN);
  if (r->failed)
    return ERR_FORMAT;
  struct pack_table t = { .count = n, .cap = n };
  if (n) {
    t.names = malloc ((size_t) n * PACK_NAME_LEN);
    if (!t.names)
      return ERR_NOMEM;
    memcpy (t.names, names, (size_t) n * PACK_NAME_LEN);
  }
  *out = t;
  return 0;
}

bool
chunk_place_is_possible (uint64_t pack_len, uint64_t off, uint64_t sealed_len)
{
  return off >= PACK_HEADER_LEN && sealed_len > UNIT_OVERHEAD && pack_len <= PACK_MAX_BYTES
         && sealed_len <= pack_len && off <= pack_len - sealed_len;
}

void
chunk_ref_put (struct buf *b, const struct chunk_ref *ref)
{
  buf_put (b, ref->id, ID_LEN);
  buf_put_varint (b, ref->pack);
  buf_put_varint (b, ref->off);
  buf_put_varint (b, ref->sealed_len);
  buf_put_varint (b, ref->plain_len);
}

static void
ref_get_bounded (struct rd *r, uint32_t npacks, uint32_t plain_max, struct chunk_ref *out)
{
  *out = (struct chunk_ref){ 0 };
  const uint8_t *id = rd_take (r, ID_LEN);
  uint64_t pack = rd_varint (r), off = rd_varint (r);
  uint64_t sealed_len = rd_varint (r), plain_len = rd_varint (r);
  if (r->failed || pack >= npacks || plain_len == 0 || plain_len > plain_max
      || !chunk_place_is_possible (PACK_MAX_BYTES, off, sealed_len)) {
    r->failed = true;
    return;
  }
  memcpy (out->id, id, ID_LEN);
  out->pack = (uint32_t) pack;
  out->off = (uint32_t) off;
  out->sealed_len = (uint32_t) sealed_len;
  out->plain_len = (uint32_t) plain_len;
}

void
chunk_ref_get (struct rd *r, uint32_t npacks, struct chunk_ref *out)
{
  /* the greatest of all chunks */
  ref_get_bounded (r, npacks, unit_plain_max (UNIT_TREE_INDEX), out);
}

void
chunk_ref_get_type (struct rd *r, uint32_t npacks, int type, struct chunk_ref *out)
{
  ref_get_bounded (r, npacks, unit_plain_max (type), out);
}

void
extent_put (struct buf *b, const struct extent *e)
{
  if (e->kind == EXTENT_HOLE || e->kind == EXTENT_ZERO) {
    buf_put_u8 (b, e->kind);
    buf_put_varint (b, e->len);
    return;
  }
  bool is_whole = e->chunk_off == 0 && e->len == e->ref.plain_len;
  buf_put_u8 (b, is_whole ? EXTENT_DATA : EXTENT_PART);
  chunk_ref_put (b, &e->ref);
  if (!is_whole) {
    buf_put_varint (b, e->chunk_off);
    buf_put_varint (b, e->len);
  }
}

void
extent_get (struct rd *r, uint32_t npacks, struct extent *out)
{
  *out = (struct extent){ 0 };
  struct extent e = { .kind = rd_u8 (r) };
  switch (e.kind) {
  case EXTENT_DATA:
  case EXTENT_PART:
    chunk_ref_get_type (r, npacks, UNIT_DATA, &e.ref);
    e.len = e.ref.plain_len;
    if (e.kind == EXTENT_PART) {
      e.kind = EXTENT_DATA;
      e.chunk_off = (uint32_t) rd_varint_max (r, e.ref.plain_len);
      e.len = rd_varint_max (r, e.ref.plain_len - e.chunk_off);
      if (e.len == e.ref.plain_len)
        r->failed = true; /* one meaning, one spelling */
    }
    break;
  case EXTENT_HOLE:
  case EXTENT_ZERO:
    e.len = rd_varint_max (r, INT64_MAX);
    break;
  default:
    r->failed = true;
  }
  if (e.len == 0)
    r->failed = true;
  if (!r->failed)
    *out = e;
}
