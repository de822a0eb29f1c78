/* SPDX-License-Identifier: Apache-2.0 */
#include "format/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "format/format_priv.h"
#include "base/text.h"
#include "format/json_priv.h"
#include "format/pack.h"

void
manifest_release (struct manifest *m)
{
  for (size_t i = 0; i < m->meta_count; i++) {
    free (m->meta[i].key);
    free (m->meta[i].value);
  }
  free (m->meta);
  free (m->packs);
  free (m->parts);
  free (m->newest);
  *m = (struct manifest){ 0 };
}

void
manifest_parts_text (const struct manifest *m, struct buf *out)
{
  for (size_t i = 0; i < m->part_count; i++)
    buf_printf (out, "%s %s%s\n", m->parts[i].id, m->parts[i].host,
                m->parts[i].is_missing ? " missing" : "");
}

const char *
manifest_meta_get (const struct manifest *m, const char *key)
{
  for (size_t i = 0; i < m->meta_count; i++)
    if (strcmp (m->meta[i].key, key) == 0)
      return m->meta[i].value;
  return NULL;
}

static int
meta_append (struct manifest *m, const char *key, const char *value)
{
  if (m->meta_count >= MANIFEST_MAX_META)
    return ERR_LIMIT;
  struct manifest_meta *meta = realloc (m->meta, (m->meta_count + 1) * sizeof *meta);
  if (!meta)
    return ERR_NOMEM;
  m->meta = meta;
  AUTO_STR k = strdup (key);
  AUTO_STR v = strdup (value);
  if (!k || !v)
    return ERR_NOMEM;
  meta[m->meta_count++] = (struct manifest_meta){ .key = STEAL (k), .value = STEAL (v) };
  return 0;
}

int
manifest_meta_set (struct manifest *m, const char *key, const char *value)
{
  for (size_t i = 0; i < m->meta_count; i++)
    if (strcmp (m->meta[i].key, key) == 0) {
      char *v = strdup (value);
      if (!v)
        return ERR_NOMEM;
      free (m->meta[i].value);
      m->meta[i].value = v;
      return 0;
    }
  return meta_append (m, key, value);
}

/* --- writing --- */

static int
ref_make (const struct named_ref *ref, json_t **out)
{
  AUTO_JSON *obj = json_object ();
  if (!obj)
    return ERR_NOMEM;
  int rc = json_set_hex (obj, "id", ref->ref.id, ID_LEN);
  if (rc == 0)
    rc = json_set_hex (obj, "pack", ref->pack, PACK_NAME_LEN);
  if (rc == 0)
    rc = json_set_u64 (obj, "off", ref->ref.off);
  if (rc == 0)
    rc = json_set_u64 (obj, "len", ref->ref.sealed_len);
  if (rc == 0)
    rc = json_set_u64 (obj, "plain", ref->ref.plain_len);
  if (rc == 0)
    *out = STEAL (obj);
  return rc;
}

static int
part_make (const struct manifest_part *p, json_t **out)
{
  AUTO_JSON *obj = json_object ();
  if (!obj)
    return ERR_NOMEM;
  int rc = json_set_text (obj, "id", p->id);
  if (rc == 0)
    rc = json_set_text (obj, "host", p->host);
  if (rc == 0)
    rc = json_set_text (obj, "host_id", p->host_id);
  if (rc == 0)
    rc = json_set_take (obj, "missing", json_boolean (p->is_missing));
  if (rc == 0)
    *out = STEAL (obj);
  return rc;
}

/* Appends to LIST what MAKE_RC and J say. */
static int
list_add (json_t *list, int make_rc, json_t *j)
{
  if (make_rc < 0)
    return make_rc;
  return json_array_append_new (list, j) < 0 ? ERR_NOMEM : 0;
}

static int
lists_set (json_t *obj, const struct manifest *m)
{
  AUTO_JSON *packs = json_array ();
  AUTO_JSON *parts = json_array ();
  AUTO_JSON *newest = json_array ();
  if (!packs || !parts || !newest)
    return ERR_NOMEM;
  int rc = 0;
  for (size_t i = 0; i < m->pack_count && rc == 0; i++) {
    json_t *j = NULL;
    int made = ref_make (&m->packs[i], &j);
    rc = list_add (packs, made, j);
  }
  for (size_t i = 0; i < m->part_count && rc == 0; i++) {
    json_t *j = NULL;
    int made = part_make (&m->parts[i], &j);
    rc = list_add (parts, made, j);
  }
  for (size_t i = 0; i < m->newest_count && rc == 0; i++) {
    char hex[2 * DIGEST_LEN + 1];
    hex_encode (m->newest[i], DIGEST_LEN, hex);
    rc = list_add (newest, 0, json_string (hex));
  }
  if (rc == 0)
    rc = json_set_take (obj, "packs", STEAL (packs));
  if (rc == 0)
    rc = json_set_take (obj, "parts", STEAL (parts));
  if (rc == 0)
    rc = json_set_take (obj, "newest", STEAL (newest));
  return rc;
}

static int
meta_set (json_t *obj, const struct manifest *m)
{
  AUTO_JSON *meta = json_object ();
  if (!meta)
    return ERR_NOMEM;
  for (size_t i = 0; i < m->meta_count; i++) {
    if (!text_is_utf8 (m->meta[i].key) || !text_is_utf8 (m->meta[i].value))
      return ERR_INVALID;
    json_t *j = json_string_nocheck (m->meta[i].value);
    if (!j || json_object_set_new_nocheck (meta, m->meta[i].key, j) < 0)
      return ERR_NOMEM;
  }
  if (json_object_size (meta) != m->meta_count)
    return ERR_INVALID; /* a key twice */
  return json_set_take (obj, "meta", STEAL (meta));
}

static int
counts_set (json_t *obj, const struct manifest_counts *c)
{
  AUTO_JSON *counts = json_object ();
  if (!counts)
    return ERR_NOMEM;
  int rc = json_set_u64 (counts, "files", c->files);
  if (rc == 0)
    rc = json_set_u64 (counts, "dirs", c->dirs);
  if (rc == 0)
    rc = json_set_u64 (counts, "logical", c->logical);
  if (rc == 0)
    rc = json_set_u64 (counts, "new", c->fresh);
  if (rc == 0)
    rc = json_set_u64 (counts, "dedup", c->dedup);
  if (rc == 0)
    rc = json_set_u64 (counts, "stored", c->stored);
  return rc < 0 ? rc : json_set_take (obj, "counts", STEAL (counts));
}

static int
fields_set (json_t *obj, const struct manifest *m)
{
  json_t *tree = NULL;
  int rc = ref_make (&m->tree, &tree);
  if (rc == 0)
    rc = json_set_take (obj, "tree", tree);
  if (rc == 0)
    rc = json_set_u64 (obj, "format", FORMAT_VERSION);
  if (rc == 0)
    rc = json_set_text (obj, "ts", m->ts);
  if (rc == 0)
    rc = json_set_text (obj, "kind", m->kind);
  if (rc == 0)
    rc = json_set_take (obj, "created", json_integer (m->created));
  if (rc == 0)
    rc = json_set_take (obj, "finished", json_integer (m->finished));
  if (rc == 0)
    rc = json_set_text (obj, "sealed_by", m->sealed_by);
  if (rc == 0)
    rc = json_set_text (obj, "host", m->host);
  if (rc == 0)
    rc = json_set_text (obj, "host_id", m->host_id);
  if (rc == 0)
    rc = json_set_text (obj, "session", m->session);
  if (rc == 0)
    rc = json_set_u64 (obj, "rows", m->rows);
  return rc;
}

int
manifest_encode (const struct manifest *m, struct buf *out)
{
  size_t start = out->len;
  if (m->pack_count > MANIFEST_MAX_PACK_REFS || m->part_count > MANIFEST_MAX_PARTS
      || m->newest_count > MANIFEST_MAX_NEWEST || m->meta_count > MANIFEST_MAX_META)
    return ERR_LIMIT;
  AUTO_JSON *obj = json_object ();
  if (!obj)
    return ERR_NOMEM;
  int rc = fields_set (obj, m);
  if (rc == 0)
    rc = counts_set (obj, &m->counts);
  if (rc == 0)
    rc = lists_set (obj, m);
  if (rc == 0)
    rc = meta_set (obj, m);
  if (rc == 0)
    rc = json_object_write (obj, true, out);
  if (rc == 0 && out->len - start > unit_plain_max (UNIT_MANIFEST))
    rc = ERR_LIMIT;
  return rc;
}

/* --- reading --- */

static bool
ref_get (const json_t *j, int type, struct named_ref *out)
{
  uint64_t off, len, plain;
  if (!json_is_object (j) || !json_get_hex (j, "id", out->ref.id, ID_LEN)
      || !json_get_hex (j, "pack", out->pack, PACK_NAME_LEN)
      || !json_get_u64 (j, "off", UINT32_MAX, &off) || !json_get_u64 (j, "len", UINT32_MAX, &len)
      || !json_get_u64 (j, "plain", unit_plain_max (type), &plain) || plain == 0
      || !chunk_place_is_possible (PACK_MAX_BYTES, off, len))
    return false;
  out->ref.off = (uint32_t) off;
  out->ref.sealed_len = (uint32_t) len;
  out->ref.plain_len = (uint32_t) plain;
  return true;
}

/* The member KEY as an array of at most MAX, and memory for that many of EACH bytes (NULL for
 * none). */
static int
list_get (const json_t *obj, const char *key, size_t max, size_t each, const json_t **list,
          void *out)
{
  const json_t *j = json_object_get (obj, key);
  if (!json_is_array (j) || json_array_size (j) > max)
    return ERR_FORMAT;
  void *p = json_array_size (j) ? calloc (json_array_size (j), each) : NULL;
  if (json_array_size (j) && !p)
    return ERR_NOMEM;
  *list = j;
  memcpy (out, &p, sizeof p);
  return (int) json_array_size (j);
}

static int
packs_get (const json_t *obj, struct manifest *m)
{
  const json_t *list;
  int n = list_get (obj, "packs", MANIFEST_MAX_PACK_REFS, sizeof *m->packs, &list, &m->packs);
  for (int i = 0; i < n; i++)
    if (!ref_get (json_array_get (list, (size_t) i), UNIT_PACK_LIST, &m->packs[i]))
      return ERR_FORMAT;
  m->pack_count = n > 0 ? (size_t) n : 0;
  return n < 0 ? n : 0;
}

static int
parts_get (const json_t *obj, struct manifest *m)
{
  const json_t *list;
  int n = list_get (obj, "parts", MANIFEST_MAX_PARTS, sizeof *m->parts, &list, &m->parts);
  for (int i = 0; i < n; i++) {
    const json_t *j = json_array_get (list, (size_t) i);
    const json_t *missing = json_object_get (j, "missing");
    struct manifest_part *p = &m->parts[i];
    if (!json_get_text (j, "id", p->id, sizeof p->id)
        || !json_get_text (j, "host", p->host, sizeof p->host)
        || !json_get_text (j, "host_id", p->host_id, sizeof p->host_id)
        || (missing && !json_is_boolean (missing)))
      return ERR_FORMAT;
    p->is_missing = json_is_true (missing);
  }
  m->part_count = n > 0 ? (size_t) n : 0;
  return n < 0 ? n : 0;
}

static int
newest_get (const json_t *obj, struct manifest *m)
{
  const json_t *list;
  int n = list_get (obj, "newest", MANIFEST_MAX_NEWEST, DIGEST_LEN, &list, &m->newest);
  for (int i = 0; i < n; i++) {
    const json_t *j = json_array_get (list, (size_t) i);
    if (!json_is_string (j) || json_string_length (j) != 2 * DIGEST_LEN
        || !hex_decode (json_string_value (j), DIGEST_LEN, m->newest[i]))
      return ERR_FORMAT;
  }
  m->newest_count = n > 0 ? (size_t) n : 0;
  return n < 0 ? n : 0;
}

static int
meta_get (const json_t *obj, struct manifest *m)
{
  json_t *meta = json_object_get (obj, "meta");
  const char *key;
  json_t *value;
  if (!json_is_object (meta) || json_object_size (meta) > MANIFEST_MAX_META)
    return ERR_FORMAT;
  json_object_foreach (meta, key, value) {
    if (!json_is_string (value))
      return ERR_FORMAT;
    int rc = meta_append (m, key, json_string_value (value));
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
fields_get (const json_t *obj, struct manifest *m)
{
  const json_t *counts = json_object_get (obj, "counts");
  struct manifest_counts *c = &m->counts;
  if (!json_get_text (obj, "ts", m->ts, sizeof m->ts)
      || !json_get_text (obj, "kind", m->kind, sizeof m->kind)
      || (strcmp (m->kind, "full") != 0 && strcmp (m->kind, "log") != 0)
      || !json_get_i64 (obj, "created", &m->created)
      || !json_get_i64 (obj, "finished", &m->finished)
      || !json_get_text (obj, "sealed_by", m->sealed_by, sizeof m->sealed_by)
      || !json_get_text (obj, "host", m->host, sizeof m->host)
      || !json_get_text (obj, "host_id", m->host_id, sizeof m->host_id)
      || !json_get_text (obj, "session", m->session, sizeof m->session)
      || !json_get_u64 (obj, "rows", INT64_MAX, &m->rows) || m->rows == 0
      || !ref_get (json_object_get (obj, "tree"), UNIT_TREE_INDEX, &m->tree))
    return ERR_FORMAT;
  if (!json_get_u64 (counts, "files", INT64_MAX, &c->files)
      || !json_get_u64 (counts, "dirs", INT64_MAX, &c->dirs)
      || !json_get_u64 (counts, "logical", INT64_MAX, &c->logical)
      || !json_get_u64 (counts, "new", INT64_MAX, &c->fresh)
      || !json_get_u64 (counts, "dedup", INT64_MAX, &c->dedup)
      || !json_get_u64 (counts, "stored", INT64_MAX, &c->stored))
    return ERR_FORMAT;
  return 0;
}

int
manifest_decode (const uint8_t *json, size_t n, struct manifest *out)
{
  AUTO_JSON *obj = NULL;
  struct manifest m = { 0 };
  uint64_t format;
  int rc = n > unit_plain_max (UNIT_MANIFEST) ? ERR_FORMAT : json_object_parse (json, n, &obj);
  if (rc < 0)
    return rc;
  if (!json_get_u64 (obj, "format", INT32_MAX, &format) || format == 0)
    return ERR_FORMAT;
  if (format > FORMAT_VERSION)
    return ERR_VERSION;
  rc = fields_get (obj, &m);
  if (rc == 0)
    rc = packs_get (obj, &m);
  if (rc == 0)
    rc = parts_get (obj, &m);
  if (rc == 0)
    rc = newest_get (obj, &m);
  if (rc == 0)
    rc = meta_get (obj, &m);
  if (rc < 0)
    manifest_release (&m);
  else
    *out = m;
  return rc;
}

/* --- the sealed wrapper --- */

#define SEALED_HEAD (OBJECT_HEADER_LEN + 32)

void
sealed_encode (const uint8_t sha256[32], const uint8_t *pending, size_t n, struct buf *out)
{
  object_header_put (out, MAGIC_SEALED);
  buf_put (out, sha256, 32);
  buf_put (out, pending, n);
}

int
sealed_decode (const uint8_t *in, size_t n, uint8_t sha256[32], const uint8_t **pending,
               size_t *pending_len)
{
  int rc = object_header_check (in, n, MAGIC_SEALED);
  if (rc < 0)
    return rc;
  if (n <= SEALED_HEAD || n > MANIFEST_MAX_BYTES)
    return ERR_FORMAT;
  rc = object_header_check (in + SEALED_HEAD, n - SEALED_HEAD, MAGIC_MANIFEST);
  if (rc < 0)
    return rc;
  memcpy (sha256, in + OBJECT_HEADER_LEN, 32);
  *pending = in + SEALED_HEAD;
  *pending_len = n - SEALED_HEAD;
  return 0;
}
