/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "format/pack.h"
#include "store/seal.h"

static int
by_name (const void *a, const void *b)
{
  return memcmp (((const struct check_pack *) a)->name, ((const struct check_pack *) b)->name,
                 PACK_NAME_LEN);
}

static void
key_of (const struct check *c, const uint8_t name[PACK_NAME_LEN], char out[BLOB_KEY_MAX])
{
  char hex[2 * PACK_NAME_LEN + 1];
  hex_encode (name, PACK_NAME_LEN, hex);
  snprintf (out, BLOB_KEY_MAX, "vaults/%s/packs/%.2s/%s", c->vault, hex, hex);
}

/* ---- the listing ---- */

static int
add_pack (void *ctx, const struct blob_entry *e)
{
  struct check *c = ctx;
  struct check_packs *p = &c->packs;
  const char *slash = strrchr (e->key, '/');
  struct check_pack pack = { .state = PACK_STATE_FINE };
  if (!slash || strlen (slash + 1) != 2 * PACK_NAME_LEN
      || !hex_decode (slash + 1, PACK_NAME_LEN, pack.name))
    return 0; /* not ours: no root can refer to it */
  pack.size = e->size > PACK_MAX_BYTES ? PACK_MAX_BYTES + 1 : (uint32_t) e->size;
  if (p->count == p->cap) {
    size_t cap = p->cap ? 2 * p->cap : 1024;
    struct check_pack *more = realloc (p->v, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    p->v = more;
    p->cap = cap;
  }
  p->v[p->count++] = pack;
  p->bytes += e->size;
  return 0;
}

const struct check_pack *
check_packs_find (const struct check_packs *p, const uint8_t name[PACK_NAME_LEN])
{
  struct check_pack key;
  memcpy (key.name, name, PACK_NAME_LEN);
  return p->count ? bsearch (&key, p->v, p->count, sizeof *p->v, by_name) : NULL;
}

const char *
check_chunk_fault (const struct check_packs *p, const uint8_t pack[PACK_NAME_LEN], uint32_t off,
                   uint32_t len, bool *is_suspect)
{
  const struct check_pack *at = check_packs_find (p, pack);
  *is_suspect = at && at->state == PACK_STATE_SUSPECT;
  if (!at)
    return "its pack is missing";
  if ((uint64_t) off + len > at->size)
    return "it would lie behind the end of its pack";
  for (size_t i = 0; at->state != PACK_STATE_FINE && i < p->bad_count; i++)
    if (p->bad[i].off == off && memcmp (p->bad[i].pack, pack, PACK_NAME_LEN) == 0)
      return "its chunk is damaged";
  return NULL;
}

void
check_packs_release (struct check_packs *p)
{
  free (p->v);
  free (p->bad);
  memset (p, 0, sizeof *p);
}

/* ---- reading one pack ---- */

static void
mark_chunk (struct check *c, struct check_pack *pack, uint32_t off)
{
  struct check_packs *p = &c->packs;
  if (!p->bad)
    p->bad = calloc (CHECK_BAD_MAX, sizeof *p->bad);
  if (!p->bad || p->bad_count == CHECK_BAD_MAX) {
    pack->state = PACK_STATE_SUSPECT;
    return;
  }
  memcpy (p->bad[p->bad_count].pack, pack->name, PACK_NAME_LEN);
  p->bad[p->bad_count++].off = off;
  if (pack->state == PACK_STATE_FINE)
    pack->state = PACK_STATE_SOME;
}

/* The pack's own list of its chunks; *n of them in *out. */
static int
read_table (const struct vault_keys *keys, struct sealer *s, const uint8_t *data, size_t size,
            struct pack_entry **out, size_t *n)
{
  enum pack_kind kind;
  uint8_t salt[PACK_SALT_LEN], id[ID_LEN];
  uint64_t table_off;
  uint32_t table_len, count;
  if (size < PACK_HEADER_LEN + PACK_TRAILER_LEN)
    return ERR_FORMAT;
  int rc = pack_header_decode (data, &kind, salt);
  if (rc == 0)
    rc = pack_trailer_decode (data + size - PACK_TRAILER_LEN, size, &table_off, &table_len,
                              &count);
  if (rc < 0)
    return rc;
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_PACK_TABLE));
  unit_id_pack_table (salt, id);
  rc = open_unit_buf (s, keys, UNIT_PACK_TABLE, id, data + table_off, table_len, &plain);
  if (rc < 0)
    return rc;
  AUTO_MEM struct pack_entry *entries = calloc (count + 1, sizeof *entries);
  if (!entries)
    return ERR_NOMEM;
  rc = pack_table_decode (plain.data, plain.len, table_off, entries, count);
  if (rc < 0)
    return rc;
  *n = (size_t) rc;
  *out = STEAL (entries);
  return 0;
}

/* Each chunk opens under its id, and what comes out hashes to it. */
static size_t
check_chunks (struct check *c, const struct vault_keys *keys, struct sealer *s,
              struct check_pack *pack, const uint8_t *data, const struct pack_entry *e, size_t n)
{
  size_t bad = 0;
  AUTO_BUF plain;
  buf_init (&plain, 64u << 20);
  for (size_t i = 0; i < n; i++) {
    uint8_t id[ID_LEN];
    buf_reset (&plain);
    int rc = open_unit_buf (s, keys, e[i].type, e[i].id, data + e[i].off, e[i].sealed_len, &plain);
    if (rc >= 0)
      rc = seal_id (s, keys, e[i].type, plain.data, plain.len, id);
    if (rc >= 0 && memcmp (id, e[i].id, ID_LEN) == 0)
      continue;
    mark_chunk (c, pack, e[i].off);
    bad++;
  }
  return bad;
}

static void
check_pack_bytes (struct check *c, const struct vault_keys *keys, struct sealer *s,
                  struct check_pack *pack, const uint8_t *data, size_t size)
{
  char key[BLOB_KEY_MAX], reason[256];
  uint8_t sha[32];
  AUTO_MEM struct pack_entry *entries = NULL;
  size_t n = 0, bad = 0;
  key_of (c, pack->name, key);
  sha256_once (data, size, sha);
  bool is_named_right = memcmp (sha, pack->name, sizeof sha) == 0;
  int rc = read_table (keys, s, data, size, &entries, &n);
  if (!is_named_right || rc < 0)
    pack->state = PACK_STATE_SUSPECT;
  if (rc < 0) {
    check_bad_object (c, key, is_named_right ? "its table does not open"
                                             : "its bytes are not those of its name, and its table "
                                               "does not open");
    return;
  }
  bad = check_chunks (c, keys, s, pack, data, entries, n);
  if (is_named_right && bad == 0)
    return;
  snprintf (reason, sizeof reason, "%s; %zu of %zu chunks are damaged",
            is_named_right ? "chunks do not hold what their ids say"
                           : "its bytes are not those of its name", bad, n);
  check_bad_object (c, key, reason);
}

static int
read_pack (struct check *c, const struct vault_keys *keys, struct sealer *s,
           struct check_pack *pack, struct buf *data)
{
  char key[BLOB_KEY_MAX];
  key_of (c, pack->name, key);
  buf_reset (data);
  int rc = blob_get_all (c->store->blob, key, data);
  if (rc == ERR_MISSING)
    return 0; /* a collector removed it meanwhile; who still needs it is found by the trees */
  if (rc == ERR_LIMIT || rc == ERR_FORMAT) {
    pack->state = PACK_STATE_SUSPECT;
    check_bad_object (c, key, "it is larger than a pack can be, or the store gives it cut");
    return 0;
  }
  if (rc < 0) {
    /* A disk that cannot read a file, and a network that fails, are not told apart here. */
    pack->state = PACK_STATE_SUSPECT;
    c->transient = rc;
    check_bad_object (c, key, rc == ERR_IO ? "the store cannot read it" : err_str (rc));
    return 0;
  }
  check_pack_bytes (c, keys, s, pack, data->data, data->len);
  return 0;
}

static int
read_all_packs (struct check *c)
{
  AUTO (vault_keys) keys = NULL;
  AUTO (sealer) s = NULL;
  AUTO_BUF data;
  buf_init (&data, PACK_MAX_BYTES);
  int rc = vault_keys_new (c->store->keys, c->vault, &keys);
  if (rc == 0)
    rc = sealer_new (&s);
  c->bytes_read = 0;
  c->bytes_all = c->packs.bytes;
  progress_begin (&c->progress, c->cli, c->vault);
  for (size_t i = 0; rc == 0 && i < c->packs.count; i++) {
    rc = read_pack (c, keys, s, &c->packs.v[i], &data);
    c->bytes_read += c->packs.v[i].size;
    progress_show (&c->progress, c->bytes_read, c->bytes_all, NULL);
  }
  progress_end (&c->progress);
  return rc;
}

int
check_packs_load (struct check *c)
{
  char prefix[BLOB_KEY_MAX];
  check_packs_release (&c->packs);
  snprintf (prefix, sizeof prefix, "vaults/%s/packs/", c->vault);
  int rc = blob_list (c->store->blob, prefix, "", false, add_pack, c);
  if (rc < 0)
    return rc;
  if (c->packs.count)
    qsort (c->packs.v, c->packs.count, sizeof *c->packs.v, by_name);
  c->packs_seen += c->packs.count;
  return c->read_data ? read_all_packs (c) : 0;
}
