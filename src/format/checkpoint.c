/* SPDX-License-Identifier: Apache-2.0 */
#include "format/checkpoint.h"

#include <string.h>

#include "format/format_priv.h"

#define FLAGS_KNOWN (CHECKPOINT_BASE | CHECKPOINT_REMOVED | CHECKPOINT_FINISHED)
#define META_KEY_MAX 255
#define META_VALUE_MAX (64u << 10)

void
checkpoint_head_release (struct checkpoint_head *h)
{
  pack_table_release (&h->pins);
  pack_table_release (&h->own);
}

int
checkpoint_head_put (struct buf *b, const struct checkpoint_head *h)
{
  if (h->flags & ~FLAGS_KNOWN)
    return ERR_INVALID;
  buf_put_u8 (b, h->flags);
  buf_put (b, h->session, sizeof h->session);
  buf_put (b, h->host_id, sizeof h->host_id);
  buf_put_str (b, h->host);
  buf_put_svarint (b, h->time);
  pack_table_put (b, &h->pins);
  pack_table_put (b, &h->own);
  return buf_error (b);
}

int
checkpoint_head_get (struct rd *r, struct checkpoint_head *out)
{
  struct checkpoint_head h = { .flags = rd_u8 (r) };
  const uint8_t *session = rd_take (r, sizeof h.session);
  const uint8_t *host_id = rd_take (r, sizeof h.host_id);
  size_t n;
  const uint8_t *host = rd_bytes (r, sizeof h.host - 1, &n);
  h.time = rd_svarint (r);
  if (r->failed || (h.flags & ~FLAGS_KNOWN) || memchr (host, 0, n))
    return ERR_FORMAT;
  memcpy (h.session, session, sizeof h.session);
  memcpy (h.host_id, host_id, sizeof h.host_id);
  memcpy (h.host, host, n);
  int rc = pack_table_get (r, &h.pins);
  if (rc == 0)
    rc = pack_table_get (r, &h.own);
  if (rc < 0)
    checkpoint_head_release (&h);
  else
    *out = h;
  return rc;
}

void
checkpoint_node_put (struct buf *b, uint64_t ino, const struct node_attr *a)
{
  buf_put_u8 (b, CP_NODE);
  buf_put_varint (b, ino);
  if (node_attr_encode (a, b) == ERR_INVALID)
    b->error = ERR_INVALID; /* sticky: such a checkpoint is never sent */
}

void
checkpoint_extents_put (struct buf *b, uint64_t ino, uint64_t off, const struct pack_table *packs,
                        const struct extent *extents, uint32_t n)
{
  buf_put_u8 (b, CP_EXTENTS);
  buf_put_varint (b, ino);
  buf_put_varint (b, off);
  pack_table_put (b, packs);
  buf_put_varint (b, n);
  for (uint32_t i = 0; i < n; i++)
    extent_put (b, &extents[i]);
}

void
checkpoint_entry_put (struct buf *b, uint64_t dir, const void *name, size_t name_len, uint64_t ino)
{
  buf_put_u8 (b, CP_ENTRY);
  buf_put_varint (b, dir);
  buf_put_bytes (b, name, name_len);
  buf_put_varint (b, ino);
}

void
checkpoint_removed_put (struct buf *b, uint64_t ino)
{
  buf_put_u8 (b, CP_REMOVED);
  buf_put_varint (b, ino);
}

void
checkpoint_meta_put (struct buf *b, const char *key, const void *value, size_t n)
{
  buf_put_u8 (b, CP_META);
  buf_put_str (b, key);
  buf_put_bytes (b, value, n);
}

void
checkpoint_counts_put (struct buf *b, const struct checkpoint_counts *c)
{
  buf_put_u8 (b, CP_COUNTS);
  buf_put_varint (b, c->files);
  buf_put_varint (b, c->received);
  buf_put_varint (b, c->fresh);
  buf_put_varint (b, c->dedup);
  buf_put_varint (b, c->stored);
}

static int
extents_get (struct rd *r, struct checkpoint_rec *rec)
{
  rec->off = rd_varint_max (r, INT64_MAX);
  int rc = pack_table_get (r, &rec->packs);
  if (rc < 0)
    return rc;
  rec->extent_count = rd_count (r, 2, UINT32_MAX);
  const uint8_t *start = r->p;
  uint64_t end = rec->off;
  for (uint32_t i = 0; i < rec->extent_count && !r->failed; i++) {
    struct extent e;
    extent_get (r, rec->packs.count, &e);
    if (e.len > INT64_MAX - end)
      r->failed = true;
    end += e.len;
  }
  rec->extents = rd_of (start, (size_t) (r->p - start));
  return 0;
}

static int
record_get (struct rd *r, struct checkpoint_rec *rec)
{
  switch (rec->type) {
  case CP_NODE:
    rec->ino = rd_varint (r);
    return node_attr_decode (r, &rec->attr);
  case CP_EXTENTS:
    rec->ino = rd_varint (r);
    return extents_get (r, rec);
  case CP_ENTRY:
    rec->dir = rd_varint (r);
    rec->name = rd_bytes (r, TREE_NAME_MAX, &rec->name_len);
    rec->ino = rd_varint (r);
    return !r->failed && rec->dir && tree_name_is_valid (rec->name, rec->name_len) ? 0 : ERR_FORMAT;
  case CP_REMOVED:
    rec->ino = rd_varint (r);
    return 0;
  case CP_META:
    rec->name = rd_bytes (r, META_KEY_MAX, &rec->name_len);
    rec->value = rd_bytes (r, META_VALUE_MAX, &rec->value_len);
    return rec->name_len && !memchr (rec->name, 0, rec->name_len) ? 0 : ERR_FORMAT;
  case CP_COUNTS:
    rec->counts.files = rd_varint (r);
    rec->counts.received = rd_varint (r);
    rec->counts.fresh = rd_varint (r);
    rec->counts.dedup = rd_varint (r);
    rec->counts.stored = rd_varint (r);
    return 0;
  }
  return ERR_FORMAT;
}

int
checkpoint_next (struct rd *r, struct checkpoint_rec *rec)
{
  checkpoint_rec_release (rec);
  if (r->failed)
    return ERR_FORMAT;
  if (rd_left (r) == 0)
    return 0;
  rec->type = rd_u8 (r);
  int rc = record_get (r, rec);
  bool names_node = rec->type == CP_NODE || rec->type == CP_EXTENTS || rec->type == CP_REMOVED;
  if (rc == 0 && (r->failed || (names_node && rec->ino == 0)))
    rc = ERR_FORMAT;
  if (rc < 0) {
    checkpoint_rec_release (rec);
    r->failed = true;
    return rc;
  }
  return 1;
}

void
checkpoint_rec_release (struct checkpoint_rec *rec)
{
  pack_table_release (&rec->packs);
  *rec = (struct checkpoint_rec){ 0 };
}
