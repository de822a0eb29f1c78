/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "format/format_priv.h"
#include "format/tree.h"

int
extent_page_encode (const struct extent_page *p, struct buf *out)
{
  size_t start = out->len;
  if (p->level > EXTENT_LEVEL_MAX || p->count == 0)
    return ERR_INVALID;
  buf_put_u8 (out, p->level);
  pack_table_put (out, &p->packs);
  buf_put_varint (out, p->count);
  for (uint32_t i = 0; i < p->count; i++) {
    if (p->level == 0) {
      if (p->extents[i].len == 0)
        return ERR_INVALID;
      extent_put (out, &p->extents[i]);
    } else {
      const struct extent_child *c = &p->children[i];
      if (c->len == 0 || c->count == 0)
        return ERR_INVALID;
      buf_put_varint (out, c->len);
      buf_put_varint (out, c->count);
      chunk_ref_put (out, &c->ref);
    }
  }
  if (buf_error (out))
    return buf_error (out);
  return out->len - start > unit_plain_max (UNIT_EXTENT_PAGE) ? ERR_LIMIT : 0;
}

static int
extents_get (struct rd *r, struct extent_page *p)
{
  uint32_t n = rd_count (r, 2, UINT32_MAX);
  uint64_t sum = 0;
  p->extents = calloc (n + (size_t) 1, sizeof *p->extents);
  if (!p->extents)
    return ERR_NOMEM;
  p->count = n;
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    extent_get (r, p->packs.count, &p->extents[i]);
    if (p->extents[i].len > INT64_MAX - sum)
      r->failed = true;
    sum += p->extents[i].len;
  }
  return 0;
}

static int
children_get (struct rd *r, struct extent_page *p)
{
  uint32_t n = rd_count (r, 2 + ID_LEN + 4, UINT32_MAX);
  uint64_t sum = 0;
  p->children = calloc (n + (size_t) 1, sizeof *p->children);
  if (!p->children)
    return ERR_NOMEM;
  p->count = n;
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    struct extent_child *c = &p->children[i];
    c->len = rd_varint_max (r, INT64_MAX - sum);
    c->count = rd_varint_max (r, INT64_MAX);
    chunk_ref_get_type (r, p->packs.count, UNIT_EXTENT_PAGE, &c->ref);
    if (c->len == 0 || c->count == 0)
      r->failed = true;
    sum += c->len;
  }
  return 0;
}

int
extent_page_decode (const uint8_t *plain, size_t n, struct extent_page *out)
{
  struct rd r = rd_of (plain, n);
  struct extent_page p = { .level = rd_u8 (&r) };
  if (n > unit_plain_max (UNIT_EXTENT_PAGE) || r.failed || p.level > EXTENT_LEVEL_MAX)
    return ERR_FORMAT;
  int rc = pack_table_get (&r, &p.packs);
  if (rc == 0)
    rc = p.level ? children_get (&r, &p) : extents_get (&r, &p);
  if (rc == 0)
    rc = p.count ? rd_done (&r) : ERR_FORMAT;
  if (rc < 0)
    extent_page_release (&p);
  else
    *out = p;
  return rc;
}

void
extent_page_release (struct extent_page *p)
{
  pack_table_release (&p->packs);
  free (p->extents);
  free (p->children);
  *p = (struct extent_page){ 0 };
}
