/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of rows, and the index that lists them. */
#include <stdlib.h>
#include <string.h>

#include "format/format_priv.h"
#include "format/tree.h"

int
tree_page_encode (const struct pack_table *packs, const struct buf *rows, uint32_t count,
                  struct buf *out)
{
  size_t start = out->len;
  if (count == 0)
    return ERR_INVALID;
  if (buf_error (rows))
    return buf_error (rows);
  pack_table_put (out, packs);
  buf_put_varint (out, count);
  buf_put (out, rows->data, rows->len);
  if (buf_error (out))
    return buf_error (out);
  return out->len - start > TREE_PAGE_MAX ? ERR_LIMIT : 0;
}

/* Where the rows begin; their content is looked at when they are asked for. */
static int
rows_locate (struct rd *r, struct tree_page *p)
{
  uint32_t n = rd_count (r, 4, UINT32_MAX); /* length, kind, flags, name */
  if (r->failed || n == 0)
    return ERR_FORMAT;
  p->row_off = calloc (n, sizeof *p->row_off);
  if (!p->row_off)
    return ERR_NOMEM;
  p->row_count = n;
  p->rows = r->p;
  p->end = r->end;
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    size_t len;
    p->row_off[i] = (uint32_t) (r->p - p->rows);
    (void) rd_bytes (r, TREE_PAGE_MAX, &len);
  }
  return rd_done (r);
}

int
tree_page_decode (const uint8_t *plain, size_t n, struct tree_page *out)
{
  struct rd r = rd_of (plain, n);
  struct tree_page p = { 0 };
  if (n > TREE_PAGE_MAX)
    return ERR_FORMAT;
  int rc = pack_table_get (&r, &p.packs);
  if (rc == 0)
    rc = rows_locate (&r, &p);
  if (rc < 0)
    tree_page_release (&p);
  else
    *out = p;
  return rc;
}

void
tree_page_release (struct tree_page *p)
{
  pack_table_release (&p->packs);
  free (p->row_off);
  *p = (struct tree_page){ 0 };
}

int
tree_page_row (const struct tree_page *p, uint32_t i, bool is_root, struct tree_row *out)
{
  if (i >= p->row_count)
    return ERR_INVALID;
  struct rd r = { .p = p->rows + p->row_off[i], .end = p->end };
  return tree_row_decode (&r, p->packs.count, is_root, out);
}

int
tree_index_encode (const struct tree_index *t, struct buf *out)
{
  size_t start = out->len;
  uint64_t rows = 0;
  pack_table_put (out, &t->packs);
  buf_put_varint (out, t->rows);
  buf_put_varint (out, t->page_count);
  for (uint32_t i = 0; i < t->page_count; i++) {
    if (t->pages[i].rows == 0)
      return ERR_INVALID;
    rows += t->pages[i].rows;
    buf_put_varint (out, t->pages[i].rows);
    chunk_ref_put (out, &t->pages[i].ref);
  }
  if (t->page_count == 0 || rows != t->rows)
    return ERR_INVALID;
  if (buf_error (out))
    return buf_error (out);
  return out->len - start > unit_plain_max (UNIT_TREE_INDEX) ? ERR_LIMIT : 0;
}

static int
pages_get (struct rd *r, struct tree_index *t)
{
  uint64_t total = rd_varint (r);
  uint32_t n = rd_count (r, 1 + ID_LEN + 4, UINT32_MAX);
  if (r->failed || n == 0)
    return ERR_FORMAT;
  t->pages = calloc (n, sizeof *t->pages);
  if (!t->pages)
    return ERR_NOMEM;
  t->page_count = n;
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    t->pages[i].first_row = t->rows;
    t->pages[i].rows = (uint32_t) rd_varint_max (r, TREE_PAGE_MAX);
    chunk_ref_get_type (r, t->packs.count, UNIT_TREE_PAGE, &t->pages[i].ref);
    if (t->pages[i].rows == 0)
      r->failed = true;
    t->rows += t->pages[i].rows;
  }
  if (total != t->rows)
    return ERR_FORMAT;
  return rd_done (r);
}

int
tree_index_decode (const uint8_t *plain, size_t n, struct tree_index *out)
{
  struct rd r = rd_of (plain, n);
  struct tree_index t = { 0 };
  if (n > unit_plain_max (UNIT_TREE_INDEX))
    return ERR_FORMAT;
  int rc = pack_table_get (&r, &t.packs);
  if (rc == 0)
    rc = pages_get (&r, &t);
  if (rc < 0)
    tree_index_release (&t);
  else
    *out = t;
  return rc;
}

void
tree_index_release (struct tree_index *t)
{
  pack_table_release (&t->packs);
  free (t->pages);
  *t = (struct tree_index){ 0 };
}
