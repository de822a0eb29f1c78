/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "base/lock.h"
#include "store/check.h"
#include "store/packfile.h"

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
  for (size_t i = 0; i < CHECK_TABLES; i++)
    free (p->tables[i].entries);
  vault_keys_free (p->keys);
  sealer_free (p->sealer);
  free (p->v);
  free (p->bad);
  memset (p, 0, sizeof *p);
}

/* ---- reading them: the work is done by store/check.h ---- */

#define THREADS 2 /* each holds a pack; more than two wait for the store, or for each other */

struct reading {
  struct check *c;
  struct lock lock; /* the callbacks come from any of the threads */
};

static struct check_pack *
pack_of (struct check *c, const uint8_t name[PACK_NAME_LEN])
{
  return (struct check_pack *) check_packs_find (&c->packs, name);
}

static void
mark_chunk (struct check *c, struct check_pack *pack, uint32_t off)
{
  struct check_packs *p = &c->packs;
  pack->bad_chunks += pack->bad_chunks < UINT16_MAX;
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

static void
on_found (void *ctx, const struct check_damage *d)
{
  struct reading *r = ctx;
  LOCK_SCOPE (&r->lock);
  struct check_pack *pack = pack_of (r->c, d->pack);
  if (!pack)
    return;
  if (d->what == CHECK_CHUNK)
    mark_chunk (r->c, pack, d->entry.off);
  else if (d->what != CHECK_MISSING) { /* a collector removed it: the trees tell who needs it */
    pack->state = PACK_STATE_SUSPECT;
    pack->findings |= (uint8_t) (1u << d->what);
    if (d->what == CHECK_UNREADABLE)
      r->c->transient = d->err;
  }
}

static bool
on_progress (void *ctx, uint64_t packs, uint64_t bytes)
{
  (void) packs;
  struct reading *r = ctx;
  LOCK_SCOPE (&r->lock);
  progress_show (&r->c->progress, bytes, r->c->packs.bytes, NULL);
  return true;
}

static void
tell_pack (struct check *c, const struct check_pack *p)
{
  char key[BLOB_KEY_MAX], reason[256];
  bool is_named_right = !(p->findings & 1u << CHECK_NAME);
  if (!p->findings && !p->bad_chunks)
    return;
  if (p->findings & 1u << CHECK_UNREADABLE)
    snprintf (reason, sizeof reason, "the store cannot read it, or cannot be reached");
  else if (p->findings & 1u << CHECK_TABLE)
    snprintf (reason, sizeof reason, "%s", is_named_right
                ? "its table does not open"
                : "its bytes are not those of its name, and its table does not open");
  else
    snprintf (reason, sizeof reason, "%s; %u of its chunks are damaged",
              is_named_right ? "chunks do not hold what their ids say"
                             : "its bytes are not those of its name", p->bad_chunks);
  key_of (c, p->name, key);
  check_bad_object (c, key, reason);
}

static int
read_all_packs (struct check *c)
{
  AUTO (vault_keys) keys = NULL;
  AUTO_MEM uint8_t (*names)[PACK_NAME_LEN] = calloc (c->packs.count + 1, sizeof *names);
  char prefix[BLOB_KEY_MAX];
  struct reading r = { .c = c };
  struct check_totals totals;
  int rc = names ? vault_keys_new (c->store->keys, c->vault, &keys) : ERR_NOMEM;
  if (rc)
    return rc;
  for (size_t i = 0; i < c->packs.count; i++)
    memcpy (names[i], c->packs.v[i].name, PACK_NAME_LEN);
  snprintf (prefix, sizeof prefix, "vaults/%s/packs/", c->vault);
  const struct check_job job = { .blob = c->store->blob, .keys = keys, .prefix = prefix,
                                 .read_data = true, .threads = THREADS, .ctx = &r,
                                 .found = on_found, .progress = on_progress };
  lock_init (&r.lock, LOCK_SESSION, "check");
  progress_begin (&c->progress, c->cli, c->vault);
  rc = check_packs (&job, names, c->packs.count, &totals);
  progress_end (&c->progress);
  lock_destroy (&r.lock);
  for (size_t i = 0; i < c->packs.count; i++)
    tell_pack (c, &c->packs.v[i]);
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

/* ---- an extent against the table of its pack ---- */

static void
table_free (struct check_table *t)
{
  free (t->entries);
  memset (t, 0, sizeof *t);
}

/* The table of pack NAME: those used last are kept. */
static int
table_get (struct check *c, const struct check_pack *pack, struct check_table **out)
{
  struct check_packs *p = &c->packs;
  struct check_table *oldest = &p->tables[0];
  char key[BLOB_KEY_MAX];
  for (size_t i = 0; i < CHECK_TABLES; i++) {
    struct check_table *t = &p->tables[i];
    if (t->used && memcmp (t->name, pack->name, PACK_NAME_LEN) == 0) {
      t->used = ++p->clock;
      *out = t;
      return 0;
    }
    oldest = t->used < oldest->used ? t : oldest;
  }
  int rc = p->keys ? 0 : vault_keys_new (c->store->keys, c->vault, &p->keys);
  if (rc == 0 && !p->sealer)
    rc = sealer_new (&p->sealer);
  if (rc)
    return rc;
  table_free (oldest);
  key_of (c, pack->name, key);
  rc = pack_table_fetch (c->store->blob, p->keys, p->sealer, key, pack->size, &oldest->entries,
                         &oldest->count);
  if (rc)
    return rc;
  memcpy (oldest->name, pack->name, PACK_NAME_LEN);
  oldest->used = ++p->clock;
  *out = oldest;
  return 0;
}

int
check_chunk_listed (struct check *c, const struct chunk_ref *ref,
                    const uint8_t pack[PACK_NAME_LEN], const char **fault)
{
  const struct check_pack *p = check_packs_find (&c->packs, pack);
  struct check_table *t;
  *fault = NULL;
  if (!p || p->state == PACK_STATE_SUSPECT)
    return 0; /* said, or tried, already */
  int rc = table_get (c, p, &t);
  if (rc)
    return rc;
  size_t lo = 0, hi = t->count;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (t->entries[mid].off < ref->off)
      lo = mid + 1;
    else
      hi = mid;
  }
  const struct pack_entry *e = lo < t->count ? &t->entries[lo] : NULL;
  if (!e || e->off != ref->off)
    *fault = "its pack's table has no chunk at that place";
  else if (e->type != UNIT_DATA || memcmp (e->id, ref->id, ID_LEN) != 0
           || e->sealed_len != ref->sealed_len || e->plain_len != ref->plain_len)
    *fault = "its pack's table has another chunk at that place";
  return 0;
}
