/* SPDX-License-Identifier: Apache-2.0 */
#include "format/config_objects.h"

#include <string.h>

#include "base/text.h"
#include "format/json_priv.h"

/* --- superblock --- */

static int
features_set (json_t *obj, const char *key, const char names[FEATURE_MAX][32], int n)
{
  json_t *list = json_array ();
  if (!list || n < 0 || n > FEATURE_MAX) {
    json_decref (list);
    return list ? ERR_INVALID : ERR_NOMEM;
  }
  for (int i = 0; i < n; i++) {
    bool is_text = text_is_plain (names[i]) && text_is_utf8 (names[i]);
    if (!is_text || json_array_append_new (list, json_string_nocheck (names[i])) < 0) {
      json_decref (list);
      return is_text ? ERR_NOMEM : ERR_INVALID;
    }
  }
  return json_set_take (obj, key, list);
}

static bool
features_get (const json_t *obj, const char *key, char names[FEATURE_MAX][32], int *n)
{
  const json_t *list = json_object_get (obj, key);
  if (!json_is_array (list) || json_array_size (list) > FEATURE_MAX)
    return false;
  *n = (int) json_array_size (list);
  for (int i = 0; i < *n; i++) {
    const json_t *j = json_array_get (list, (size_t) i);
    size_t len = json_string_length (j);
    if (!json_is_string (j) || len == 0 || len > 31 || !text_is_plain (json_string_value (j)))
      return false;
    memcpy (names[i], json_string_value (j), len + 1);
  }
  return true;
}

int
superblock_encode (const struct superblock *s, bool is_covered, struct buf *out)
{
  AUTO_JSON *obj = json_object ();
  if (!obj)
    return ERR_NOMEM;
  int rc = json_set_text (obj, "coffer", "store");
  if (rc == 0)
    rc = json_set_u64 (obj, "format", (uint64_t) s->format);
  if (rc == 0)
    rc = json_set_hex (obj, "id", s->store_id, STORE_ID_LEN);
  if (rc == 0)
    rc = json_set_text (obj, "created", s->created);
  if (rc == 0)
    rc = features_set (obj, "read", s->read, s->read_count);
  if (rc == 0)
    rc = features_set (obj, "write", s->write, s->write_count);
  if (rc == 0)
    rc = features_set (obj, "collect", s->collect, s->collect_count);
  if (rc == 0 && !is_covered)
    rc = json_set_hex (obj, "mac", s->mac, sizeof s->mac);
  return rc < 0 ? rc : json_object_write (obj, is_covered, out);
}

int
superblock_decode (const uint8_t *json, size_t n, struct superblock *out)
{
  AUTO_JSON *obj = NULL;
  struct superblock s = { 0 };
  char what[16];
  uint64_t format;
  int rc = n > SUPERBLOCK_MAX_BYTES ? ERR_FORMAT : json_object_parse (json, n, &obj);
  if (rc < 0)
    return rc;
  if (!json_get_text (obj, "coffer", what, sizeof what) || strcmp (what, "store") != 0
      || !json_get_u64 (obj, "format", INT32_MAX, &format) || format == 0)
    return ERR_FORMAT;
  if (format > FORMAT_VERSION)
    return ERR_VERSION;
  s.format = (int) format;
  if (!json_get_hex (obj, "id", s.store_id, STORE_ID_LEN)
      || !json_get_text (obj, "created", s.created, sizeof s.created)
      || !features_get (obj, "read", s.read, &s.read_count)
      || !features_get (obj, "write", s.write, &s.write_count)
      || !features_get (obj, "collect", s.collect, &s.collect_count)
      || !json_get_hex (obj, "mac", s.mac, sizeof s.mac) || json_object_size (obj) != 8)
    return ERR_FORMAT;
  *out = s;
  return 0;
}

/* --- key slots --- */

/* Bounds of what a reader spends on scrypt before it knows that the slot is genuine. */
#define SCRYPT_MAX_N (1u << 20)
#define SCRYPT_MAX_R 16
#define SCRYPT_MAX_P 4

static bool
scrypt_is_possible (const struct key_slot *s)
{
  return s->n >= 2 && s->n <= SCRYPT_MAX_N && (s->n & (s->n - 1)) == 0 && s->r >= 1
         && s->r <= SCRYPT_MAX_R && s->p >= 1 && s->p <= SCRYPT_MAX_P;
}

static bool
scope_is_valid (const char *scope)
{
  static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
  if (strcmp (scope, "master") == 0)
    return true;
  if (strncmp (scope, "vault:", 6) != 0)
    return false;
  const char *db = scope + 6;
  size_t n = strlen (db);
  return n >= 1 && n <= 63 && strchr (first, db[0]) && strspn (db, more) == n;
}

int
key_slot_encode (const struct key_slot *s, bool is_covered, struct buf *out)
{
  AUTO_JSON *obj = json_object ();
  if (!obj)
    return ERR_NOMEM;
  if (!scope_is_valid (s->scope) || (s->type == SLOT_SCRYPT && !scrypt_is_possible (s)))
    return ERR_INVALID;
  int rc = json_set_u64 (obj, "version", (uint64_t) s->version);
  if (rc == 0)
    rc = json_set_text (obj, "type", s->type == SLOT_SCRYPT ? "scrypt" : "keyfile");
  if (rc == 0 && s->type == SLOT_SCRYPT) {
    rc = json_set_u64 (obj, "n", s->n);
    if (rc == 0)
      rc = json_set_u64 (obj, "r", s->r);
    if (rc == 0)
      rc = json_set_u64 (obj, "p", s->p);
  }
  if (rc == 0)
    rc = json_set_hex (obj, "salt", s->salt, sizeof s->salt);
  if (rc == 0)
    rc = json_set_text (obj, "label", s->label);
  if (rc == 0)
    rc = json_set_text (obj, "created", s->created);
  if (rc == 0)
    rc = json_set_text (obj, "scope", s->scope);
  if (rc == 0)
    rc = json_set_hex (obj, "payload", s->payload, sizeof s->payload);
  if (rc == 0 && !is_covered)
    rc = json_set_hex (obj, "commit", s->commit, sizeof s->commit);
  return rc < 0 ? rc : json_object_write (obj, is_covered, out);
}

static bool
slot_type_get (const json_t *obj, struct key_slot *s)
{
  char type[16];
  uint64_t r, p;
  if (!json_get_text (obj, "type", type, sizeof type))
    return false;
  if (strcmp (type, "keyfile") == 0) {
    s->type = SLOT_KEYFILE;
    return json_object_size (obj) == 8;
  }
  if (strcmp (type, "scrypt") != 0 || !json_get_u64 (obj, "n", SCRYPT_MAX_N, &s->n)
      || !json_get_u64 (obj, "r", SCRYPT_MAX_R, &r) || !json_get_u64 (obj, "p", SCRYPT_MAX_P, &p))
    return false;
  s->type = SLOT_SCRYPT;
  s->r = (uint32_t) r;
  s->p = (uint32_t) p;
  return scrypt_is_possible (s) && json_object_size (obj) == 11;
}

int
key_slot_decode (const uint8_t *json, size_t n, struct key_slot *out)
{
  AUTO_JSON *obj = NULL;
  struct key_slot s = { 0 };
  uint64_t version;
  int rc = n > SLOT_MAX_BYTES ? ERR_FORMAT : json_object_parse (json, n, &obj);
  if (rc < 0)
    return rc;
  if (!json_get_u64 (obj, "version", INT32_MAX, &version) || version == 0)
    return ERR_FORMAT;
  if (version > 1)
    return ERR_VERSION;
  s.version = (int) version;
  if (!slot_type_get (obj, &s) || !json_get_hex (obj, "salt", s.salt, sizeof s.salt)
      || !json_get_text (obj, "label", s.label, sizeof s.label)
      || !json_get_text (obj, "created", s.created, sizeof s.created)
      || !json_get_text (obj, "scope", s.scope, sizeof s.scope) || !scope_is_valid (s.scope)
      || !json_get_hex (obj, "payload", s.payload, sizeof s.payload)
      || !json_get_hex (obj, "commit", s.commit, sizeof s.commit))
    return ERR_FORMAT;
  *out = s;
  return 0;
}
