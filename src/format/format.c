/* SPDX-License-Identifier: Apache-2.0 */
#include "format/format.h"

#include <string.h>

#include "format/format_priv.h"

uint32_t
unit_plain_max (int type)
{
  switch (type) {
  case UNIT_DATA:
    return 8u << 20;
  case UNIT_TREE_PAGE:
  case UNIT_EXTENT_PAGE:
  case UNIT_PACK_LIST:
    return 1u << 20;
  case UNIT_PACK_TABLE:
  case UNIT_MANIFEST:
    return 16u << 20;
  case UNIT_TREE_INDEX:
  case UNIT_INDEX:
  case UNIT_CHECKPOINT:
  case UNIT_GC:
    return 64u << 20;
  default:
    return 0;
  }
}

bool
unit_is_chunk (int type)
{
  return type == UNIT_DATA || (type >= UNIT_TREE_PAGE && type <= UNIT_PACK_LIST);
}

void
object_header_put (struct buf *out, const char magic[8])
{
  buf_put (out, magic, 8);
  buf_put_u16 (out, FORMAT_VERSION);
  buf_put_u16 (out, 0);
  buf_put_u32 (out, 0);
}

int
object_header_check (const uint8_t *in, size_t n, const char magic[8])
{
  struct rd r = rd_of (in, n);
  const uint8_t *got = rd_take (&r, 8);
  uint16_t version = rd_u16 (&r), must_know = rd_u16 (&r);
  (void) rd_u32 (&r); /* may_ignore */
  if (r.failed || memcmp (got, magic, 8) != 0 || version == 0)
    return ERR_FORMAT;
  return version > FORMAT_VERSION || must_know ? ERR_VERSION : 0;
}

void
frame_encode (const struct frame *f, uint8_t out[FRAME_LEN])
{
  out[0] = FORMAT_VERSION;
  out[1] = f->type;
  out[2] = f->codec;
  out[3] = f->aead;
  put_le32 (out + 4, f->generation);
  put_le32 (out + 8, f->plain_len);
  memcpy (out + 12, f->nonce, NONCE_LEN);
}

int
frame_decode (const uint8_t *in, size_t n, struct frame *out)
{
  if (n <= UNIT_OVERHEAD || in[0] == 0)
    return ERR_FORMAT;
  if (in[0] > FORMAT_VERSION)
    return ERR_VERSION;
  struct frame f = { .type = in[1], .codec = in[2], .aead = in[3],
                     .generation = get_le32 (in + 4), .plain_len = get_le32 (in + 8) };
  if ((f.codec != CODEC_RAW && f.codec != CODEC_ZSTD) || f.aead != AEAD_AES_256_GCM)
    return ERR_FORMAT;
  if (f.plain_len == 0 || f.plain_len > unit_plain_max (f.type))
    return ERR_FORMAT;
  if (f.codec == CODEC_RAW && n != (size_t) f.plain_len + UNIT_OVERHEAD)
    return ERR_FORMAT;
  memcpy (f.nonce, in + 12, NONCE_LEN);
  *out = f;
  return 0;
}

void
buf_insert_length (struct buf *b, size_t start)
{
  if (buf_error (b))
    return;
  size_t body = b->len - start;
  buf_put_varint (b, body); /* grows the buffer, and shows how long the length is */
  if (buf_error (b))
    return;
  size_t width = b->len - start - body;
  uint8_t length[10];
  memcpy (length, b->data + start + body, width);
  memmove (b->data + start + width, b->data + start, body);
  memcpy (b->data + start, length, width);
}
