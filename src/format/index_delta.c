/* SPDX-License-Identifier: Apache-2.0 */
#include "format/index_delta.h"

#include <stdlib.h>
#include <string.h>

#include "format/format_priv.h"
#include "format/pack.h"

void
index_delta_release (struct index_delta *d)
{
  free (d->inputs);
  free (d->packs);
  free (d->entries);
  *d = (struct index_delta){ 0 };
}

void
index_sum_add (uint8_t sum[PREFIX_LEN], const uint8_t prefix[PREFIX_LEN])
{
  unsigned carry = 0;
  for (int i = 0; i < PREFIX_LEN; i++) {
    carry += (unsigned) sum[i] + prefix[i];
    sum[i] = (uint8_t) carry;
    carry >>= 8;
  }
}

static bool
entry_is_possible (const struct index_delta *d, const struct index_entry *e)
{
  return e->pack < d->pack_count && unit_is_chunk (e->type) && e->plain_len > 0
         && e->plain_len <= unit_plain_max (e->type)
         && chunk_place_is_possible (d->packs[e->pack].size, e->off, e->sealed_len);
}

int
index_delta_encode (const struct index_delta *d, struct buf *out)
{
  size_t start = out->len;
  if (d->input_count > INDEX_DELTA_MAX_INPUTS || d->pack_count > INDEX_DELTA_MAX_PACKS
      || d->entry_count > INDEX_DELTA_MAX_ENTRIES)
    return ERR_LIMIT;
  buf_put_varint (out, d->input_count);
  for (size_t i = 0; i < d->input_count; i++) {
    buf_put_str (out, d->inputs[i].name);
    buf_put_varint (out, d->inputs[i].entries);
    buf_put (out, d->inputs[i].id_sum, PREFIX_LEN);
  }
  buf_put_varint (out, d->pack_count);
  for (size_t i = 0; i < d->pack_count; i++) {
    buf_put (out, d->packs[i].name, PACK_NAME_LEN);
    buf_put_u8 (out, d->packs[i].kind);
    buf_put_varint (out, d->packs[i].size);
  }
  buf_put_varint (out, d->entry_count);
  for (size_t i = 0; i < d->entry_count; i++) {
    const struct index_entry *e = &d->entries[i];
    if (!entry_is_possible (d, e) || (i && memcmp (e[-1].prefix, e->prefix, PREFIX_LEN) > 0))
      return ERR_INVALID;
    buf_put (out, e->prefix, PREFIX_LEN);
    buf_put_varint (out, e->pack);
    buf_put_varint (out, e->off);
    buf_put_varint (out, e->sealed_len);
    buf_put_varint (out, e->plain_len);
    buf_put_u8 (out, e->type);
  }
  if (buf_error (out))
    return buf_error (out);
  return out->len - start > unit_plain_max (UNIT_INDEX) ? ERR_LIMIT : 0;
}

static int
inputs_get (struct rd *r, struct index_delta *d)
{
  uint32_t n = rd_count (r, 2 + 1 + PREFIX_LEN, INDEX_DELTA_MAX_INPUTS);
  d->inputs = n ? calloc (n, sizeof *d->inputs) : NULL;
  if (n && !d->inputs)
    return ERR_NOMEM;
  d->input_count = n;
  for (uint32_t i = 0; i < n; i++) {
    struct index_input *in = &d->inputs[i];
    size_t len;
    const uint8_t *name = rd_bytes (r, sizeof in->name - 1, &len);
    in->entries = rd_varint (r);
    const uint8_t *sum = rd_take (r, PREFIX_LEN);
    if (r->failed || len == 0 || memchr (name, 0, len))
      return ERR_FORMAT;
    memcpy (in->name, name, len);
    memcpy (in->id_sum, sum, PREFIX_LEN);
  }
  return r->failed ? ERR_FORMAT : 0;
}

static int
packs_get (struct rd *r, struct index_delta *d)
{
  uint32_t n = rd_count (r, PACK_NAME_LEN + 2, INDEX_DELTA_MAX_PACKS);
  d->packs = n ? calloc (n, sizeof *d->packs) : NULL;
  if (n && !d->packs)
    return ERR_NOMEM;
  d->pack_count = n;
  for (uint32_t i = 0; i < n; i++) {
    struct index_pack *p = &d->packs[i];
    const uint8_t *name = rd_take (r, PACK_NAME_LEN);
    p->kind = rd_u8 (r);
    p->size = rd_varint_max (r, PACK_MAX_BYTES);
    if (r->failed || (p->kind != PACK_DATA && p->kind != PACK_META))
      return ERR_FORMAT;
    memcpy (p->name, name, PACK_NAME_LEN);
  }
  return r->failed ? ERR_FORMAT : 0;
}

static int
entries_get (struct rd *r, struct index_delta *d)
{
  uint32_t n = rd_count (r, PREFIX_LEN + 5, INDEX_DELTA_MAX_ENTRIES);
  d->entries = n ? calloc (n, sizeof *d->entries) : NULL;
  if (n && !d->entries)
    return ERR_NOMEM;
  d->entry_count = n;
  for (uint32_t i = 0; i < n; i++) {
    struct index_entry *e = &d->entries[i];
    const uint8_t *prefix = rd_take (r, PREFIX_LEN);
    e->pack = (uint32_t) rd_varint_max (r, UINT32_MAX);
    e->off = (uint32_t) rd_varint_max (r, UINT32_MAX);
    e->sealed_len = (uint32_t) rd_varint_max (r, UINT32_MAX);
    e->plain_len = (uint32_t) rd_varint_max (r, UINT32_MAX);
    e->type = rd_u8 (r);
    if (r->failed || !entry_is_possible (d, e)
        || (i && memcmp (e[-1].prefix, prefix, PREFIX_LEN) > 0))
      return ERR_FORMAT;
    memcpy (e->prefix, prefix, PREFIX_LEN);
  }
  return r->failed ? ERR_FORMAT : 0;
}

int
index_delta_decode (const uint8_t *plain, size_t n, struct index_delta *out)
{
  struct rd r = rd_of (plain, n);
  struct index_delta d = { 0 };
  int rc = n > unit_plain_max (UNIT_INDEX) ? ERR_FORMAT : inputs_get (&r, &d);
  if (rc == 0)
    rc = packs_get (&r, &d);
  if (rc == 0)
    rc = entries_get (&r, &d);
  if (rc == 0)
    rc = rd_done (&r);
  if (rc < 0)
    index_delta_release (&d);
  else
    *out = d;
  return rc;
}
