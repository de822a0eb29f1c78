/* SPDX-License-Identifier: Apache-2.0 */
#include "store/packfile.h"

#include <stdio.h>
#include <string.h>

#include "base/bufpool.h"

#define TAIL_BYTES (64u << 10) /* the table of some 1,400 chunks comes with the trailer */
#define STEP_BYTES (8u << 20)

void
packfile_key (const char *prefix, const uint8_t name[PACK_NAME_LEN], char out[BLOB_KEY_MAX + 1])
{
  char hex[2 * PACK_NAME_LEN + 1];
  hex_encode (name, PACK_NAME_LEN, hex);
  snprintf (out, BLOB_KEY_MAX + 1, "%s%.2s/%s", prefix, hex, hex);
}

bool
packfile_name (const char *key, uint8_t out[PACK_NAME_LEN])
{
  const char *slash = strrchr (key, '/');
  const char *hex = slash ? slash + 1 : key;
  return strlen (hex) == 2 * PACK_NAME_LEN && hex_decode (hex, PACK_NAME_LEN, out);
}

/* SEALED is the table of COUNT entries of a pack with SALT. */
static int
open_table (const struct vault_keys *keys, struct sealer *s, const uint8_t salt[PACK_SALT_LEN],
            const uint8_t *sealed, uint32_t len, uint64_t table_off, uint32_t count,
            struct pack_entry **out, size_t *n)
{
  uint8_t id[ID_LEN];
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_PACK_TABLE));
  unit_id_pack_table (salt, id);
  int rc = open_unit_buf (s, keys, UNIT_PACK_TABLE, id, sealed, len, &plain);
  if (rc < 0)
    return rc == ERR_LIMIT ? ERR_FORMAT : rc;
  if (plain.len != (size_t) count * PACK_ENTRY_LEN)
    return ERR_FORMAT;
  AUTO_MEM struct pack_entry *entries = calloc (count ? count : 1, sizeof *entries);
  if (!entries)
    return ERR_NOMEM;
  rc = pack_table_decode (plain.data, plain.len, table_off, entries, count);
  if (rc < 0)
    return rc;
  *out = STEAL (entries);
  *n = (size_t) rc;
  return 0;
}

int
pack_table_open (const struct vault_keys *keys, struct sealer *s, const uint8_t *pack, size_t size,
                 struct pack_entry **out, size_t *n)
{
  enum pack_kind kind;
  uint8_t salt[PACK_SALT_LEN];
  uint64_t table_off;
  uint32_t table_len, count;
  if (size < PACK_HEADER_LEN + PACK_TRAILER_LEN)
    return ERR_FORMAT;
  int rc = pack_header_decode (pack, &kind, salt);
  if (rc == 0)
    rc = pack_trailer_decode (pack + size - PACK_TRAILER_LEN, size, &table_off, &table_len, &count);
  return rc < 0 ? rc : open_table (keys, s, salt, pack + table_off, table_len, table_off, count,
                                   out, n);
}

int
pack_table_fetch (struct blob *b, const struct vault_keys *keys, struct sealer *s, const char *key,
                  uint64_t size, struct pack_entry **out, size_t *n)
{
  uint8_t header[PACK_HEADER_LEN], salt[PACK_SALT_LEN];
  enum pack_kind kind;
  uint64_t table_off = 0;
  uint32_t table_len = 0, count = 0;
  struct blob_info info = { .size = size };
  int rc = size ? 0 : blob_head (b, key, &info);
  if (rc < 0)
    return rc;
  if (info.size < PACK_HEADER_LEN + PACK_TRAILER_LEN || info.size > PACK_MAX_BYTES)
    return ERR_FORMAT;
  size_t tail_len = info.size < TAIL_BYTES ? (size_t) info.size : TAIL_BYTES;
  AUTO_MEM uint8_t *tail = malloc (tail_len), *table = NULL;
  if (!tail)
    return ERR_NOMEM;
  rc = blob_get (b, key, 0, sizeof header, header);
  if (rc == 0)
    rc = blob_get (b, key, info.size - tail_len, tail_len, tail);
  if (rc == 0)
    rc = pack_header_decode (header, &kind, salt);
  if (rc == 0)
    rc = pack_trailer_decode (tail + tail_len - PACK_TRAILER_LEN, info.size, &table_off, &table_len,
                              &count);
  if (rc < 0)
    return rc == ERR_LIMIT ? ERR_FORMAT : rc;
  const uint8_t *sealed = tail;
  if (table_off >= info.size - tail_len)
    sealed += table_off - (info.size - tail_len);
  else {
    sealed = table = malloc (table_len);
    if (!table)
      return ERR_NOMEM;
    rc = blob_get (b, key, table_off, table_len, table);
  }
  return rc < 0 ? rc : open_table (keys, s, salt, sealed, table_len, table_off, count, out, n);
}

/* Opens one chunk and compares its id. */
static int
open_chunk (const struct vault_keys *keys, struct sealer *s, const uint8_t *pack,
            const struct pack_entry *e)
{
  size_t cap;
  uint8_t id[ID_LEN];
  uint8_t *plain = bufpool_get (e->plain_len, &cap);
  AUTO_MEM uint8_t *large = plain ? NULL : malloc (e->plain_len);
  uint8_t *at = plain ? plain : large;
  if (!at)
    return ERR_NOMEM;
  int rc = open_unit (s, keys, e->type, e->id, pack + e->off, e->sealed_len, at, e->plain_len);
  if (rc >= 0 && (uint32_t) rc != e->plain_len)
    rc = ERR_FORMAT;
  if (rc >= 0)
    rc = seal_id (s, keys, e->type, at, e->plain_len, id);
  if (rc >= 0 && memcmp (id, e->id, ID_LEN) != 0)
    rc = ERR_FORMAT;
  bufpool_put (plain, cap);
  return rc == ERR_LIMIT ? ERR_FORMAT : rc < 0 ? rc : 0;
}

static int
verify_chunks (const struct vault_keys *keys, struct sealer *s, const uint8_t *pack,
               const uint8_t name[PACK_NAME_LEN], pack_damage_fn fn, void *ctx,
               struct pack_report *out)
{
  AUTO_MEM struct pack_entry *entries = NULL;
  size_t n = 0;
  int rc = pack_table_open (keys, s, pack, out->bytes, &entries, &n);
  out->is_table_right = rc == 0;
  if (rc == ERR_NOMEM)
    return rc;
  for (size_t i = 0; i < n; i++) {
    rc = open_chunk (keys, s, pack, &entries[i]);
    if (rc == ERR_NOMEM)
      return rc;
    out->chunks++;
    if (rc < 0) {
      out->damaged++;
      if (fn)
        fn (ctx, name, &entries[i], rc);
    }
  }
  return 0;
}

/* The whole object into PACK, hashed as it comes. */
static int
read_pack (struct blob *b, const char *key, uint8_t *pack, size_t size, uint8_t digest[32])
{
  AUTO (sha256) h = NULL;
  int rc = sha256_new (&h);
  for (size_t at = 0; rc == 0 && at < size;) {
    size_t n = size - at < STEP_BYTES ? size - at : STEP_BYTES;
    rc = blob_get (b, key, at, n, pack + at);
    if (rc == 0)
      sha256_update (h, pack + at, n);
    at += n;
  }
  if (rc == 0)
    sha256_final (h, digest);
  return rc;
}

int
pack_verify (struct blob *b, const struct vault_keys *keys, struct sealer *s, const char *prefix,
             const uint8_t name[PACK_NAME_LEN], pack_damage_fn fn, void *ctx,
             struct pack_report *out)
{
  char key[BLOB_KEY_MAX + 1];
  struct blob_info info;
  uint8_t digest[32];
  packfile_key (prefix, name, key);
  int rc = blob_head (b, key, &info);
  if (rc < 0)
    return rc;
  struct pack_report found = { .bytes = info.size };
  if (info.size == 0 || info.size > PACK_MAX_BYTES) {
    *out = found; /* no pack at all: neither name nor table are right */
    return 0;
  }
  size_t cap = 0;
  uint8_t *pack = bufpool_get (info.size, &cap);
  AUTO_MEM uint8_t *large = pack ? NULL : malloc (info.size);
  uint8_t *at = pack ? pack : large;
  rc = at ? read_pack (b, key, at, info.size, digest) : ERR_NOMEM;
  if (rc == 0)
    found.is_name_right = memcmp (digest, name, PACK_NAME_LEN) == 0;
  if (rc == 0 && keys)
    rc = verify_chunks (keys, s, at, name, fn, ctx, &found);
  bufpool_put (pack, cap);
  if (rc < 0)
    return rc;
  *out = found;
  return 0;
}
