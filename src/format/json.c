/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "format/json_priv.h"

#define HEX_MAX 128 /* bytes; the longest is a slot's payload */

/* jansson's parser passes over a buffer that could not grow and goes on with a text that is cut, or
 * calls it bad syntax.  So whether memory was refused is remembered here, per thread. */
#define JSON_ALLOC_MAX (64u << 20) /* a manifest is at most 16 MiB, and a text buffer doubles */

static __thread bool was_refused;

static void *
json_alloc (size_t n)
{
  void *p = n > JSON_ALLOC_MAX ? NULL : malloc (n);
  if (!p)
    was_refused = true;
  return p;
}

__attribute__ ((constructor)) static void
use_json_alloc (void)
{
  json_set_alloc_funcs (json_alloc, free);
}

int
json_object_parse (const uint8_t *text, size_t n, json_t **out)
{
  was_refused = false;
  json_t *obj = json_loadb ((const char *) text, n, JSON_REJECT_DUPLICATES, NULL);
  if (was_refused || !json_is_object (obj)) {
    json_decref (obj);
    return was_refused ? ERR_NOMEM : ERR_FORMAT;
  }
  *out = obj;
  return 0;
}

static int
append (const char *text, size_t n, void *ctx)
{
  struct buf *b = ctx;
  buf_put (b, text, n);
  return buf_error (b) ? -1 : 0;
}

int
json_object_write (const json_t *obj, bool is_compact, struct buf *out)
{
  size_t flags = JSON_SORT_KEYS | (is_compact ? JSON_COMPACT : JSON_INDENT (2));
  int rc = json_dump_callback (obj, append, out, flags);
  if (!is_compact)
    buf_put_u8 (out, '\n');
  return buf_error (out) ? buf_error (out) : rc < 0 ? ERR_NOMEM : 0;
}

bool
text_is_plain (const char *s)
{
  for (; *s; s++)
    if ((unsigned char) *s < 0x20 || *s == 0x7f)
      return false;
  return true;
}

bool
json_get_i64 (const json_t *obj, const char *key, int64_t *out)
{
  const json_t *j = json_object_get (obj, key);
  if (!json_is_integer (j))
    return false;
  *out = json_integer_value (j);
  return true;
}

bool
json_get_u64 (const json_t *obj, const char *key, uint64_t max, uint64_t *out)
{
  int64_t v;
  if (!json_get_i64 (obj, key, &v) || v < 0 || (uint64_t) v > max)
    return false;
  *out = (uint64_t) v;
  return true;
}

bool
json_get_text (const json_t *obj, const char *key, char *out, size_t cap)
{
  const json_t *j = json_object_get (obj, key);
  if (!json_is_string (j) || json_string_length (j) >= cap
      || !text_is_plain (json_string_value (j)))
    return false;
  memcpy (out, json_string_value (j), json_string_length (j) + 1);
  return true;
}

bool
json_get_hex (const json_t *obj, const char *key, uint8_t *out, size_t n)
{
  const json_t *j = json_object_get (obj, key);
  if (n > HEX_MAX || !json_is_string (j) || json_string_length (j) != 2 * n)
    return false;
  uint8_t raw[HEX_MAX];
  char again[2 * HEX_MAX + 1];
  if (!hex_decode (json_string_value (j), n, raw))
    return false;
  hex_encode (raw, n, again);
  if (memcmp (again, json_string_value (j), 2 * n) != 0)
    return false; /* upper case: would not be what the MAC covers */
  memcpy (out, raw, n);
  return true;
}

int
json_set_take (json_t *obj, const char *key, json_t *value)
{
  return value && json_object_set_new (obj, key, value) == 0 ? 0 : ERR_NOMEM;
}

int
json_set_u64 (json_t *obj, const char *key, uint64_t v)
{
  if (v > INT64_MAX)
    return ERR_INVALID;
  return json_set_take (obj, key, json_integer ((json_int_t) v));
}

int
json_set_text (json_t *obj, const char *key, const char *s)
{
  if (!text_is_plain (s) || !text_is_utf8 (s))
    return ERR_INVALID;
  return json_set_take (obj, key, json_string_nocheck (s));
}

int
json_set_hex (json_t *obj, const char *key, const uint8_t *p, size_t n)
{
  char hex[2 * HEX_MAX + 1];
  if (n > HEX_MAX)
    return ERR_INVALID;
  hex_encode (p, n, hex);
  return json_set_take (obj, key, json_string (hex));
}
