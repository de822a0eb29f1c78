/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the pack list (type 19) and the collector's records: sorted names of packs. */
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/format_priv.h"
#include "format/tree.h"

int
pack_list_encode (const struct pack_use *uses, size_t n, struct buf *out)
{
  size_t start = out->len;
  for (size_t i = 1; i < n; i++)
    if (memcmp (uses[i - 1].name, uses[i].name, PACK_NAME_LEN) >= 0)
      return ERR_INVALID;
  buf_put_varint (out, n);
  for (size_t i = 0; i < n; i++) {
    buf_put (out, uses[i].name, PACK_NAME_LEN);
    buf_put_varint (out, uses[i].bytes);
  }
  if (buf_error (out))
    return buf_error (out);
  return out->len - start > unit_plain_max (UNIT_PACK_LIST) ? ERR_LIMIT : 0;
}

int
pack_list_decode (const uint8_t *plain, size_t n, struct pack_use **out, size_t *count)
{
  struct rd r = rd_of (plain, n);
  if (n > unit_plain_max (UNIT_PACK_LIST))
    return ERR_FORMAT;
  uint32_t c = rd_count (&r, PACK_NAME_LEN + 1, UINT32_MAX);
  if (r.failed)
    return ERR_FORMAT;
  AUTO_MEM struct pack_use *uses = calloc (c + 1, sizeof *uses);
  if (!uses)
    return ERR_NOMEM;
  for (uint32_t i = 0; i < c && !r.failed; i++) {
    const uint8_t *name = rd_take (&r, PACK_NAME_LEN);
    uses[i].bytes = rd_varint (&r);
    if (r.failed)
      break;
    memcpy (uses[i].name, name, PACK_NAME_LEN);
    if (i && memcmp (uses[i - 1].name, name, PACK_NAME_LEN) >= 0)
      r.failed = true;
  }
  if (rd_done (&r) < 0)
    return ERR_FORMAT;
  *out = STEAL (uses);
  *count = c;
  return 0;
}

static int
name_cmp (const void *a, const void *b)
{
  return memcmp (a, b, PACK_NAME_LEN);
}

int
gc_record_encode (const struct pack_table *packs, struct buf *out)
{
  size_t start = out->len;
  buf_put_varint (out, packs->count);
  size_t names = out->len;
  buf_put (out, packs->names, (size_t) packs->count * PACK_NAME_LEN);
  if (buf_error (out))
    return buf_error (out);
  if (out->len - start > unit_plain_max (UNIT_GC))
    return ERR_LIMIT;
  if (packs->count)
    qsort (out->data + names, packs->count, PACK_NAME_LEN, name_cmp);
  for (size_t at = names + PACK_NAME_LEN; at < out->len; at += PACK_NAME_LEN)
    if (name_cmp (out->data + at - PACK_NAME_LEN, out->data + at) == 0)
      return ERR_INVALID;
  return 0;
}

int
gc_record_decode (const uint8_t *plain, size_t n, struct pack_table *out)
{
  struct rd r = rd_of (plain, n);
  struct pack_table t = { 0 };
  int rc = n > unit_plain_max (UNIT_GC) ? ERR_FORMAT : pack_table_get (&r, &t);
  if (rc == 0)
    rc = rd_done (&r);
  for (uint32_t i = 1; rc == 0 && i < t.count; i++)
    if (name_cmp (t.names[i - 1], t.names[i]) >= 0)
      rc = ERR_FORMAT;
  if (rc < 0)
    pack_table_release (&t);
  else
    *out = t;
  return rc;
}
