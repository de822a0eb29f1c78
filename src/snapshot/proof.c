/* SPDX-License-Identifier: Apache-2.0 */
/* What must be proven before a reference to somebody else's pack counts (rulings 1, 2). */
#define LOG_MODULE "proof"
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/snap.h"

#define HEAD_MAX 32 /* more packs than this: one listing is cheaper */

struct condemned {
  struct pack_table packs; /* sorted by name once loaded */
  struct vault *vault;
  struct buf runs;         /* names of the records */
};

static int
by_name (const void *a, const void *b)
{
  return memcmp (a, b, PACK_NAME_LEN);
}

static int
add_run (void *ctx, const struct blob_entry *e)
{
  struct condemned *c = ctx;
  const char *end = strrchr (e->key, '/');
  if (end && strcmp (end, "/condemned") == 0)
    buf_put (&c->runs, e->key, strlen (e->key) + 1);
  return buf_error (&c->runs);
}

static int
read_record (struct condemned *c, struct sealer *s, const char *key)
{
  struct vault *v = c->vault;
  AUTO_BUF object, plain;
  buf_init (&object, unit_plain_max (UNIT_GC) + 4096);
  buf_init (&plain, unit_plain_max (UNIT_GC));
  int rc = blob_get_all (v->region->blob, key, &object);
  if (rc == ERR_MISSING)
    return 0; /* dropped meanwhile: none of its packs exists, which the existence check finds */
  if (rc == 0)
    rc = object_header_check (object.data, object.len, MAGIC_GC);
  if (rc)
    return rc;
  char run[128];
  const char *from = key + strlen ("vaults/") + strlen (v->name) + strlen ("/gc/");
  snprintf (run, sizeof run, "%.*s", (int) strcspn (from, "/"), from);
  uint8_t id[ID_LEN];
  unit_id_gc (v->keys, run, id);
  rc = open_unit_buf (s, v->keys, UNIT_GC, id, object.data + OBJECT_HEADER_LEN,
                      object.len - OBJECT_HEADER_LEN, &plain);
  struct pack_table more = { 0 };
  if (rc >= 0)
    rc = gc_record_decode (plain.data, plain.len, &more);
  if (rc == 0 && more.count) {
    void *names = realloc (c->packs.names, (c->packs.count + more.count) * PACK_NAME_LEN);
    if (!names)
      rc = ERR_NOMEM;
    else {
      c->packs.names = names;
      memcpy (c->packs.names + c->packs.count, more.names, more.count * (size_t) PACK_NAME_LEN);
      c->packs.count += more.count;
      c->packs.cap = c->packs.count;
    }
  }
  pack_table_release (&more);
  return rc;
}

int
condemned_load (struct vault *v, struct condemned **out)
{
  AUTO (condemned) c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  c->vault = v;
  buf_init (&c->runs, 64u << 20);
  char prefix[BLOB_KEY_MAX];
  snprintf (prefix, sizeof prefix, "vaults/%s/gc/", v->name);
  int rc = blob_list (v->region->blob, prefix, "", false, add_run, c);
  AUTO (sealer) s = NULL;
  if (rc == 0 && c->runs.len)
    rc = sealer_new (&s);
  for (size_t at = 0; rc == 0 && at < c->runs.len; at += strlen ((char *) c->runs.data + at) + 1)
    rc = read_record (c, s, (char *) c->runs.data + at);
  if (rc) {
    log_err ("the collector's records cannot be read vault=%s err=\"%s\": nothing is sealed before "
             "they can",
             v->name, err_str (rc));
    return rc;
  }
  if (c->packs.count)
    qsort (c->packs.names, c->packs.count, PACK_NAME_LEN, by_name);
  *out = STEAL (c);
  return 0;
}

bool
condemned_has (const struct condemned *c, const uint8_t name[PACK_NAME_LEN])
{
  return c->packs.count && bsearch (name, c->packs.names, c->packs.count, PACK_NAME_LEN, by_name);
}

void
condemned_free (struct condemned *c)
{
  if (!c)
    return;
  pack_table_release (&c->packs);
  buf_release (&c->runs);
  free (c);
}

struct seen {
  const struct pack_table *sorted;
  uint8_t *found; /* a byte per pack */
  size_t skip;
};

static int
mark (void *ctx, const struct blob_entry *e)
{
  struct seen *s = ctx;
  uint8_t name[PACK_NAME_LEN];
  const char *hex = strrchr (e->key, '/');
  if (!hex || !hex_decode (hex + 1, PACK_NAME_LEN, name))
    return 0;
  const uint8_t(*at)[PACK_NAME_LEN]
      = bsearch (name, s->sorted->names, s->sorted->count, PACK_NAME_LEN, by_name);
  if (at)
    s->found[at - s->sorted->names] = 1;
  return 0;
}

int
packs_exist (struct vault *v, const struct pack_table *packs, uint8_t missing[PACK_NAME_LEN])
{
  char key[BLOB_KEY_MAX], hex[65];
  if (packs->count <= HEAD_MAX) {
    for (uint32_t i = 0; i < packs->count; i++) {
      struct blob_info info;
      hex_encode (packs->names[i], PACK_NAME_LEN, hex);
      snprintf (key, sizeof key, "vaults/%s/packs/%.2s/%s", v->name, hex, hex);
      int rc = blob_head (v->region->blob, key, &info);
      if (rc == ERR_MISSING)
        memcpy (missing, packs->names[i], PACK_NAME_LEN);
      if (rc)
        return rc;
    }
    return 0;
  }
  struct pack_table sorted = { .count = packs->count };
  sorted.names = malloc ((size_t) packs->count * PACK_NAME_LEN);
  AUTO_MEM uint8_t *found = calloc (packs->count, 1);
  int rc = sorted.names && found ? 0 : ERR_NOMEM;
  if (rc == 0) {
    memcpy (sorted.names, packs->names, (size_t) packs->count * PACK_NAME_LEN);
    qsort (sorted.names, sorted.count, PACK_NAME_LEN, by_name);
    snprintf (key, sizeof key, "vaults/%s/packs/", v->name);
    struct seen seen = { .sorted = &sorted, .found = found };
    rc = blob_list (v->region->blob, key, "", false, mark, &seen);
  }
  for (uint32_t i = 0; rc == 0 && i < sorted.count; i++)
    if (!found[i]) {
      memcpy (missing, sorted.names[i], PACK_NAME_LEN);
      rc = ERR_MISSING;
    }
  pack_table_release (&sorted);
  return rc;
}
