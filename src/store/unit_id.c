/* SPDX-License-Identifier: Apache-2.0 */
/* The context ids of objects that are not chunks (doc/format/chunk.md): they bind a sealed unit to
 * the place it was made for.  Parts are separated by NUL where a text of free length is followed by
 * another, so no two contexts spell the same bytes. */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "store/seal.h"

#define CONTEXT_MAX 2048 /* all names together are part of one key: BLOB_KEY_MAX */

struct context {
  uint8_t bytes[CONTEXT_MAX];
  size_t len;
};

static void
add (struct context *c, const void *p, size_t n)
{
  assert (n <= CONTEXT_MAX - c->len);
  memcpy (c->bytes + c->len, p, n);
  c->len += n;
}

static void
add_str (struct context *c, const char *s)
{
  add (c, s, strlen (s));
}

/* A NUL, then the text. */
static void
add_next (struct context *c, const char *s)
{
  add (c, "", 1);
  add_str (c, s);
}

static void
begin_vault (struct context *c, const char *what, const struct vault_keys *k)
{
  c->len = 0;
  add_str (c, what);
  add (c, "", 1);
  add (c, vault_keys_store_id (k), STORE_ID_LEN);
  add_str (c, vault_keys_name (k));
}

void
unit_id_pack_table (const uint8_t salt[32], uint8_t id[ID_LEN])
{
  struct context c = { .len = 0 };
  add_str (&c, "coffer pack table");
  add (&c, salt, 32);
  sha256_once (c.bytes, c.len, id);
}

void
unit_id_index (const char *object_name, uint8_t id[ID_LEN])
{
  struct context c = { .len = 0 };
  add_str (&c, "coffer index");
  add_next (&c, object_name);
  sha256_once (c.bytes, c.len, id);
}

void
unit_id_manifest (const struct vault_keys *k, const char *ts, const char *kind, uint8_t id[ID_LEN])
{
  struct context c;
  begin_vault (&c, "coffer manifest", k);
  add_next (&c, ts);
  add_next (&c, kind);
  sha256_once (c.bytes, c.len, id);
}

void
unit_id_checkpoint (const struct vault_keys *k, const char *ts, const char *part, const char *seq,
                    uint8_t id[ID_LEN])
{
  struct context c;
  begin_vault (&c, "coffer checkpoint", k);
  add_next (&c, ts);
  add_next (&c, part);
  add_next (&c, seq);
  sha256_once (c.bytes, c.len, id);
}

void
unit_id_gc (const struct vault_keys *k, const char *run, uint8_t id[ID_LEN])
{
  struct context c;
  begin_vault (&c, "coffer gc", k);
  add_next (&c, run);
  sha256_once (c.bytes, c.len, id);
}
