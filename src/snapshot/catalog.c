/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "catalog"
#include "snapshot/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct listing {
  struct catalog_item *items;
  size_t count, cap, skip;
};

static int
add_item (void *ctx, const struct blob_entry *e)
{
  struct listing *l = ctx;
  const char *name = e->key + l->skip;
  const char *dot = strchr (name, '.');
  struct catalog_item item = { .sealed_time = e->mtime };
  char ts[SNAPSHOT_TS_MAX];
  if (!dot || (size_t) (dot - name) >= sizeof ts || strlen (dot) < 34 || dot[33] != '.')
    return 0; /* not ours: left alone */
  memcpy (ts, name, (size_t) (dot - name));
  ts[dot - name] = 0;
  if (snapshot_name_parse (ts, &item.name) != 0 || strcmp (item.name.ts, ts) != 0)
    return 0;
  item.is_sealed = strcmp (dot + 34, "sealed") == 0;
  if (!item.is_sealed && strcmp (dot + 34, "pending") != 0)
    return 0;
  memcpy (item.digest, dot + 1, 32);
  if (l->count == l->cap) {
    size_t cap = l->cap ? l->cap * 2 : 64;
    struct catalog_item *more = realloc (l->items, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    l->items = more;
    l->cap = cap;
  }
  l->items[l->count++] = item;
  return 0;
}

static int
by_ts (const void *a, const void *b)
{
  const struct catalog_item *x = a, *y = b;
  int c = strcmp (x->name.ts, y->name.ts);
  return c ? c : strcmp (x->digest, y->digest);
}

int
catalog_list (struct blob *b, const char *vault, const char *ts_prefix, struct catalog_item **out,
              size_t *count)
{
  char prefix[BLOB_KEY_MAX];
  struct listing l = { 0 };
  int n = snprintf (prefix, sizeof prefix, "vaults/%s/snapshots/", vault);
  l.skip = (size_t) n;
  snprintf (prefix + n, sizeof prefix - (size_t) n, "%s", ts_prefix);
  int rc = blob_list (b, prefix, "", false, add_item, &l);
  if (rc) {
    free (l.items);
    return rc;
  }
  /* Keys ascend as "<ts>.", and '.' sorts after '-': a labelled name comes before its bare one. */
  if (l.count)
    qsort (l.items, l.count, sizeof *l.items, by_ts);
  for (size_t i = 0; i < l.count; i++) /* labels point into the items, which moved */
    l.items[i].name.label = l.items[i].name.ts[16] ? l.items[i].name.ts + 17
      : l.items[i].name.ts + 16;
  *out = l.items;
  *count = l.count;
  return 0;
}

struct names {
  struct buf *out;
  size_t skip;
};

static int
add_vault (void *ctx, const struct blob_entry *e)
{
  struct names *c = ctx;
  if (!e->is_prefix)
    return 0;
  char name[64];
  const char *from = e->key + c->skip;
  size_t n = strlen (from);
  if (n < 2 || n > sizeof name)
    return 0;
  memcpy (name, from, n - 1);
  name[n - 1] = 0;
  if (vault_name_is_valid (name))
    buf_put (c->out, name, n);
  return buf_error (c->out);
}

int
catalog_vaults (struct blob *b, struct buf *out)
{
  struct names c = { .out = out, .skip = strlen ("vaults/") };
  return blob_list (b, "vaults/", "", true, add_vault, &c);
}

static int
add_part (void *ctx, const struct blob_entry *e)
{
  struct names *c = ctx;
  const char *from = e->key + c->skip;
  const char *slash = strrchr (from, '/');
  if (!slash)
    return 0;
  size_t n = (size_t) (slash - from);
  /* Checkpoints of one part follow each other: only the first is news. */
  size_t last = c->out->len;
  while (last > 1 && c->out->data[last - 2] != 0)
    last--;
  if (c->out->len && c->out->len - 1 - (last - 1) == n
      && memcmp (c->out->data + last - 1, from, n) == 0)
    return 0;
  buf_put (c->out, from, n);
  buf_put_u8 (c->out, 0);
  return buf_error (c->out);
}

int
catalog_open_parts (struct blob *b, const char *vault, struct buf *out)
{
  char prefix[BLOB_KEY_MAX];
  int n = snprintf (prefix, sizeof prefix, "vaults/%s/open/", vault);
  struct names c = { .out = out, .skip = (size_t) n };
  return blob_list (b, prefix, "", false, add_part, &c);
}
