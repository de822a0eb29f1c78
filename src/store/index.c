/* SPDX-License-Identifier: Apache-2.0 */
/* index - see index.h.  This one keeps the entries of the present session and of loaded deltas in
 * memory. */
#define LOG_MODULE "index"
#include "store/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"

enum pack_life { PACK_UNKNOWN, PACK_BEGUN, PACK_DONE_OWN, PACK_FOREIGN, PACK_GONE };

struct pack_row {
  uint8_t name[PACK_NAME_LEN];
  uint64_t size;
  uint8_t life, kind;
  bool is_pinned, is_exported;
};

struct entry {
  uint8_t prefix[PREFIX_LEN];
  uint32_t pack, off, sealed_len, plain_len;
  uint8_t type;
  bool is_used;
};

struct index {
  struct lock lock;
  struct pack_row *packs;
  uint32_t pack_count, pack_cap;
  struct entry *table;
  size_t cap, count;
  char **deltas;
  size_t delta_count;
  uint32_t export_to;
};

int
index_open (const char *dir, struct index **out)
{
  struct index *x = calloc (1, sizeof *x);
  if (!x)
    return ERR_NOMEM;
  lock_init (&x->lock, LOCK_INDEX, "index");
  *out = x;
  return 0;
}

void
index_free (struct index *x)
{
  if (!x)
    return;
  for (size_t i = 0; i < x->delta_count; i++)
    free (x->deltas[i]);
  free (x->deltas);
  free (x->packs);
  free (x->table);
  lock_destroy (&x->lock);
  free (x);
}

static int
add_pack (struct index *x, const struct pack_row *row, uint32_t *no)
{
  if (x->pack_count == x->pack_cap) {
    uint32_t cap = x->pack_cap ? x->pack_cap * 2 : 256;
    struct pack_row *more = realloc (x->packs, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    x->packs = more;
    x->pack_cap = cap;
  }
  *no = x->pack_count;
  x->packs[x->pack_count++] = *row;
  return 0;
}

int
index_pack_begin (struct index *x, int kind, uint32_t *no)
{
  LOCK_SCOPE (&x->lock);
  return add_pack (x, &(struct pack_row){ .life = PACK_BEGUN, .kind = (uint8_t) kind }, no);
}

int
index_pack_done (struct index *x, uint32_t no, const uint8_t name[PACK_NAME_LEN], uint64_t size)
{
  LOCK_SCOPE (&x->lock);
  memcpy (x->packs[no].name, name, PACK_NAME_LEN);
  x->packs[no].size = size;
  x->packs[no].life = PACK_DONE_OWN;
  return 0;
}

void
index_pack_drop (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  x->packs[no].life = PACK_GONE;
}

int
index_pack_intern (struct index *x, const uint8_t name[PACK_NAME_LEN], uint32_t *no)
{
  LOCK_SCOPE (&x->lock);
  for (uint32_t i = x->pack_count; i-- > 0;)
    if ((x->packs[i].life == PACK_DONE_OWN || x->packs[i].life == PACK_FOREIGN)
        && memcmp (x->packs[i].name, name, PACK_NAME_LEN) == 0) {
      *no = i;
      return 0;
    }
  struct pack_row row = { .life = PACK_FOREIGN, .kind = 1 };
  memcpy (row.name, name, PACK_NAME_LEN);
  return add_pack (x, &row, no);
}

int
index_pack_name (struct index *x, uint32_t no, uint8_t name[PACK_NAME_LEN])
{
  LOCK_SCOPE (&x->lock);
  if (no >= x->pack_count || x->packs[no].life == PACK_GONE)
    return ERR_MISSING;
  if (x->packs[no].life == PACK_BEGUN)
    return ERR_STATE;
  memcpy (name, x->packs[no].name, PACK_NAME_LEN);
  return 0;
}

bool
index_pack_is_own (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  return no < x->pack_count
         && (x->packs[no].life == PACK_BEGUN || x->packs[no].life == PACK_DONE_OWN);
}

static size_t
slot_of (const struct index *x, const uint8_t prefix[PREFIX_LEN])
{
  return (size_t) get_le64 (prefix) & (x->cap - 1);
}

static int
insert (struct index *x, const struct entry *e)
{
  if ((x->count + 1) * 2 > x->cap) {
    size_t old = x->cap;
    struct entry *from = x->table;
    size_t cap = old ? old * 2 : 4096;
    struct entry *to = calloc (cap, sizeof *to);
    if (!to)
      return ERR_NOMEM;
    x->table = to;
    x->cap = cap;
    x->count = 0;
    for (size_t i = 0; i < old; i++)
      if (from[i].is_used)
        (void) insert (x, &from[i]);
    free (from);
  }
  size_t i = slot_of (x, e->prefix);
  while (x->table[i].is_used)
    i = (i + 1) & (x->cap - 1);
  x->table[i] = *e;
  x->table[i].is_used = true;
  x->count++;
  return 0;
}

int
index_add (struct index *x, int type, const struct chunk_ref *ref)
{
  struct entry e = { .pack = ref->pack, .off = ref->off, .sealed_len = ref->sealed_len,
                     .plain_len = ref->plain_len, .type = (uint8_t) type };
  memcpy (e.prefix, ref->id, PREFIX_LEN);
  LOCK_SCOPE (&x->lock);
  return insert (x, &e);
}

static bool
is_usable (const struct index *x, uint32_t no)
{
  if (no >= x->pack_count)
    return false;
  const struct pack_row *p = &x->packs[no];
  return p->life == PACK_BEGUN || p->life == PACK_DONE_OWN
    || (p->life == PACK_FOREIGN && p->is_pinned);
}

static bool
find (struct index *x, int type, const uint8_t id[ID_LEN], uint32_t plain_len, bool any,
      struct chunk_ref *out)
{
  LOCK_SCOPE (&x->lock);
  if (!x->cap)
    return false;
  for (size_t i = slot_of (x, id); x->table[i].is_used; i = (i + 1) & (x->cap - 1)) {
    const struct entry *e = &x->table[i];
    if (memcmp (e->prefix, id, PREFIX_LEN) != 0 || e->type != type
        || (plain_len && e->plain_len != plain_len))
      continue;
    if (any ? x->packs[e->pack].life == PACK_GONE : !is_usable (x, e->pack))
      continue;
    memcpy (out->id, id, ID_LEN);
    out->pack = e->pack;
    out->off = e->off;
    out->sealed_len = e->sealed_len;
    out->plain_len = e->plain_len;
    return true;
  }
  return false;
}

bool
index_find (struct index *x, int type, const uint8_t id[ID_LEN], uint32_t plain_len,
            struct chunk_ref *out)
{
  return find (x, type, id, plain_len, false, out);
}

bool
index_find_any (struct index *x, int type, const uint8_t id[ID_LEN], struct chunk_ref *out)
{
  return find (x, type, id, 0, true, out);
}

static void
set_pin (struct index *x, uint32_t no, bool is_pinned)
{
  LOCK_SCOPE (&x->lock);
  if (no < x->pack_count)
    x->packs[no].is_pinned = is_pinned;
}

void
index_pin (struct index *x, uint32_t no)
{
  set_pin (x, no, true);
}

void
index_unpin (struct index *x, uint32_t no)
{
  set_pin (x, no, false);
}

bool
index_is_usable (struct index *x, uint32_t no)
{
  LOCK_SCOPE (&x->lock);
  return is_usable (x, no);
}

void
index_new_session (struct index *x)
{
  LOCK_SCOPE (&x->lock);
  for (uint32_t i = 0; i < x->pack_count; i++) {
    x->packs[i].is_pinned = false;
    if (x->packs[i].life == PACK_DONE_OWN && x->packs[i].is_exported)
      x->packs[i].life = PACK_FOREIGN;
  }
}

void
index_forget_pack (struct index *x, const uint8_t name[PACK_NAME_LEN])
{
  LOCK_SCOPE (&x->lock);
  for (uint32_t i = 0; i < x->pack_count; i++)
    if (memcmp (x->packs[i].name, name, PACK_NAME_LEN) == 0)
      x->packs[i].life = PACK_GONE;
}

static int
by_prefix (const void *a, const void *b)
{
  return memcmp (((const struct index_entry *) a)->prefix, ((const struct index_entry *) b)->prefix,
                 PREFIX_LEN);
}

int
index_export (struct index *x, struct index_delta *out)
{
  LOCK_SCOPE (&x->lock);
  *out = (struct index_delta){ 0 };
  uint32_t *position = calloc (x->pack_count + 1, sizeof *position);
  out->packs = calloc (x->pack_count + 1, sizeof *out->packs);
  out->entries = calloc (x->count + 1, sizeof *out->entries);
  if (!position || !out->packs || !out->entries) {
    free (position);
    index_delta_release (out);
    return ERR_NOMEM;
  }
  x->export_to = x->pack_count;
  for (uint32_t i = 0; i < x->pack_count; i++) {
    struct pack_row *p = &x->packs[i];
    if (p->life != PACK_DONE_OWN || p->is_exported)
      continue;
    struct index_pack *q = &out->packs[out->pack_count++];
    memcpy (q->name, p->name, PACK_NAME_LEN);
    q->kind = p->kind;
    q->size = p->size;
    position[i] = (uint32_t) out->pack_count;
  }
  for (size_t i = 0; i < x->cap; i++) {
    const struct entry *e = &x->table[i];
    if (!e->is_used || !position[e->pack])
      continue;
    struct index_entry *d = &out->entries[out->entry_count++];
    memcpy (d->prefix, e->prefix, PREFIX_LEN);
    *d = (struct index_entry){ .pack = position[e->pack] - 1, .off = e->off,
                               .sealed_len = e->sealed_len,
                               .plain_len = e->plain_len, .type = e->type };
    memcpy (d->prefix, e->prefix, PREFIX_LEN);
  }
  qsort (out->entries, out->entry_count, sizeof *out->entries, by_prefix);
  free (position);
  return 0;
}

void
index_exported (struct index *x)
{
  LOCK_SCOPE (&x->lock);
  for (uint32_t i = 0; i < x->export_to; i++)
    if (x->packs[i].life == PACK_DONE_OWN)
      x->packs[i].is_exported = true;
}

bool
index_has_delta (struct index *x, const char *object)
{
  LOCK_SCOPE (&x->lock);
  for (size_t i = 0; i < x->delta_count; i++)
    if (strcmp (x->deltas[i], object) == 0)
      return true;
  return false;
}

int
index_load_delta (struct index *x, const char *object, const struct index_delta *d)
{
  for (size_t i = 0; i < d->pack_count; i++) {
    uint32_t no;
    int rc = index_pack_intern (x, d->packs[i].name, &no);
    if (rc)
      return rc;
    for (size_t k = 0; k < d->entry_count; k++) {
      const struct index_entry *e = &d->entries[k];
      if (e->pack != i)
        continue;
      struct entry mine = { .pack = no, .off = e->off, .sealed_len = e->sealed_len,
                            .plain_len = e->plain_len, .type = e->type };
      memcpy (mine.prefix, e->prefix, PREFIX_LEN);
      LOCK_SCOPE (&x->lock);
      rc = insert (x, &mine);
      if (rc)
        return rc;
    }
  }
  LOCK_SCOPE (&x->lock);
  char **more = realloc (x->deltas, (x->delta_count + 1) * sizeof *more);
  if (!more)
    return ERR_NOMEM;
  x->deltas = more;
  x->deltas[x->delta_count] = strdup (object);
  if (!x->deltas[x->delta_count])
    return ERR_NOMEM;
  x->delta_count++;
  return 0;
}

void
index_maintain (struct index *x)
{
  (void) x; /* nothing to merge: all of it is in one table */
}

void
index_stats_get (struct index *x, struct index_stats *out)
{
  LOCK_SCOPE (&x->lock);
  *out = (struct index_stats){ .packs = x->pack_count, .entries = x->count,
                               .bytes = x->cap * sizeof *x->table };
}
