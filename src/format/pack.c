/* SPDX-License-Identifier: Apache-2.0 */
#include "format/pack.h"

#include <string.h>

#include "format/format_priv.h"

static const char end_magic[8] = { 'C', 'O', 'F', 'R', 'E', 'N', 'D', '1' };

static bool
all_zero (const uint8_t *p, size_t n)
{
  while (n--)
    if (*p++)
      return false;
  return true;
}

void
pack_header_encode (enum pack_kind kind, const uint8_t salt[PACK_SALT_LEN],
                    uint8_t out[PACK_HEADER_LEN])
{
  memset (out, 0, PACK_HEADER_LEN);
  memcpy (out, MAGIC_PACK, 8);
  out[8] = FORMAT_VERSION; /* u16; must_know and may_ignore are zero */
  out[16] = (uint8_t) kind;
  memcpy (out + 32, salt, PACK_SALT_LEN);
}

int
pack_header_decode (const uint8_t in[PACK_HEADER_LEN], enum pack_kind *kind,
                    uint8_t salt[PACK_SALT_LEN])
{
  int rc = object_header_check (in, OBJECT_HEADER_LEN, MAGIC_PACK);
  if (rc < 0)
    return rc;
  if ((in[16] != PACK_DATA && in[16] != PACK_META) || !all_zero (in + 17, 15))
    return ERR_FORMAT;
  *kind = in[16];
  memcpy (salt, in + 32, PACK_SALT_LEN);
  return 0;
}

void
pack_entry_put (struct buf *b, const struct pack_entry *e)
{
  buf_put (b, e->id, ID_LEN);
  buf_put_u8 (b, e->type);
  buf_put_u8 (b, e->codec);
  buf_put_u16 (b, 0);
  buf_put_u32 (b, e->sealed_len);
  buf_put_u32 (b, e->plain_len);
}

void
pack_trailer_encode (uint64_t table_off, uint32_t table_len, uint32_t n,
                     uint8_t out[PACK_TRAILER_LEN])
{
  put_le64 (out, table_off);
  put_le32 (out + 8, table_len);
  put_le32 (out + 12, n);
  put_le64 (out + 16, 0);
  memcpy (out + 24, end_magic, sizeof end_magic);
}

int
pack_trailer_decode (const uint8_t in[PACK_TRAILER_LEN], uint64_t size, uint64_t *table_off,
                     uint32_t *table_len, uint32_t *n)
{
  uint64_t off = get_le64 (in);
  uint32_t len = get_le32 (in + 8), count = get_le32 (in + 12);
  if (memcmp (in + 24, end_magic, sizeof end_magic) != 0 || !all_zero (in + 16, 8))
    return ERR_FORMAT;
  if (size > PACK_MAX_BYTES || off > size || off < PACK_HEADER_LEN
      || off + len + PACK_TRAILER_LEN != size || len <= UNIT_OVERHEAD)
    return ERR_FORMAT;
  if (count == 0 || count > unit_plain_max (UNIT_PACK_TABLE) / PACK_ENTRY_LEN
      || count > (off - PACK_HEADER_LEN) / (UNIT_OVERHEAD + 1))
    return ERR_FORMAT;
  *table_off = off;
  *table_len = len;
  *n = count;
  return 0;
}

static bool
entry_is_possible (const struct pack_entry *e, uint64_t table_off)
{
  if (!unit_is_chunk (e->type) || e->plain_len == 0 || e->plain_len > unit_plain_max (e->type))
    return false;
  if (e->codec != CODEC_RAW && e->codec != CODEC_ZSTD)
    return false;
  if (e->codec == CODEC_RAW && e->sealed_len != e->plain_len + UNIT_OVERHEAD)
    return false;
  return chunk_place_is_possible (table_off, e->off, e->sealed_len);
}

int
pack_table_decode (const uint8_t *plain, size_t n, uint64_t table_off, struct pack_entry *out,
                   size_t cap)
{
  size_t count = n / PACK_ENTRY_LEN;
  if (n == 0 || n % PACK_ENTRY_LEN || table_off > PACK_MAX_BYTES)
    return ERR_FORMAT;
  if (count > cap)
    return ERR_LIMIT;
  uint64_t off = PACK_HEADER_LEN;
  for (size_t i = 0; i < count; i++) {
    const uint8_t *p = plain + i * PACK_ENTRY_LEN;
    struct pack_entry e = { .type = p[32], .codec = p[33], .off = (uint32_t) off,
                            .sealed_len = get_le32 (p + 36), .plain_len = get_le32 (p + 40) };
    if (p[34] || p[35] || !entry_is_possible (&e, table_off))
      return ERR_FORMAT;
    memcpy (e.id, p, ID_LEN);
    out[i] = e;
    off += e.sealed_len;
  }
  return off == table_off ? (int) count : ERR_FORMAT;
}
