/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "parts"
#include "snapshot/parts.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/catalog.h"

/* ---- listing ---- */

struct ids {
  struct buf out; /* NUL-separated */
  size_t skip, len;
};

/* Names of LEN characters (0: any) that end in a slash. */
static int
add_id (void *ctx, const struct blob_entry *e)
{
  struct ids *c = ctx;
  const char *name = e->key + c->skip;
  size_t n = strlen (name);
  if (!e->is_prefix || n < 2 || (c->len && n != c->len + 1))
    return 0; /* not ours: left alone */
  buf_put (&c->out, name, n - 1);
  buf_put_u8 (&c->out, 0);
  return buf_error (&c->out);
}

struct newest {
  struct part_seen *part;
  size_t skip;
  bool is_found;
};

static int
note_newest (void *ctx, const struct blob_entry *e)
{
  struct newest *c = ctx;
  const char *name = e->key + c->skip;
  size_t n = strlen (name);
  if ((n != 10 && (n != 21 || name[10] != '.')) || strspn (name, "0123456789.") != n)
    return 0;
  memcpy (c->part->newest, name, n + 1);
  c->part->changed = e->mtime;
  c->is_found = true;
  return 0;
}

/* The head of the newest checkpoint, and its counts. */
static int
read_newest (struct vault *v, struct part_seen *p, struct sealer *sealer)
{
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_CHECKPOINT));
  int rc = checkpoint_load (v, p->ts, p->id, p->newest, sealer, &plain);
  struct rd in = rd_of (plain.data, plain.len);
  struct checkpoint_head head = { 0 };
  if (rc == 0)
    rc = checkpoint_head_get (&in, &head);
  if (rc)
    return rc;
  memcpy (p->host, head.host, sizeof p->host);
  hex_encode (head.host_id, sizeof head.host_id, p->host_id);
  p->state = head.flags & CHECKPOINT_REMOVED ? PART_REMOVED
    : head.flags & CHECKPOINT_FINISHED ? PART_FINISHED : PART_OPEN;
  checkpoint_head_release (&head);
  struct checkpoint_rec rec = { 0 };
  int more;
  while ((more = checkpoint_next (&in, &rec)) > 0)
    if (rec.type == CP_COUNTS)
      p->counts = rec.counts;
  checkpoint_rec_release (&rec);
  return more;
}

/* OLD, when it shows the same checkpoint, saves the reading. */
static int
look_at (struct vault *v, const char *ts, const char *id, const struct part_seen *old,
         size_t old_count, struct sealer *sealer, struct part_seen *p, bool *is_found)
{
  *p = (struct part_seen){ .state = PART_OPEN };
  snprintf (p->ts, sizeof p->ts, "%s", ts);
  snprintf (p->id, sizeof p->id, "%s", id);
  char prefix[BLOB_KEY_MAX];
  struct newest c = { .part = p };
  c.skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/open/%s/%s/", v->name, ts, id);
  int rc = blob_list (v->region->blob, prefix, "", false, note_newest, &c);
  *is_found = c.is_found;
  if (rc || !c.is_found)
    return rc;
  const struct part_seen *known = NULL;
  for (size_t i = 0; i < old_count; i++)
    if (strcmp (old[i].id, id) == 0 && strcmp (old[i].newest, p->newest) == 0
        && strcmp (old[i].ts, ts) == 0 && old[i].state != PART_DAMAGED)
      known = &old[i];
  if (known) {
    int64_t changed = p->changed;
    *p = *known;
    p->changed = changed;
  } else
    rc = read_newest (v, p, sealer);
  if (rc == ERR_FORMAT || rc == ERR_MISSING || rc == ERR_VERSION) {
    log_err ("the newest checkpoint of a part cannot be read vault=%s snapshot=%s part=%s seq=%s "
             "err=\"%s\": adopt it, or seal without it", v->name, ts, id, p->newest, err_str (rc));
    p->state = PART_DAMAGED;
    rc = 0;
  }
  int64_t now = clock_wall () + v->region->clock_offset;
  if (p->state != PART_REMOVED && now - p->changed > v->region->mount->opts.partial_expire_ns)
    p->state = PART_EXPIRED;
  return rc;
}

static int
add_part (struct part_seen **at, size_t *n, const struct part_seen *p)
{
  if ((*n & (*n - 1)) == 0) { /* doubles at each power of two */
    struct part_seen *more = realloc (*at, (*n ? *n * 2 : 1) * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    *at = more;
  }
  (*at)[(*n)++] = *p;
  return 0;
}

static int
list_of (struct vault *v, const char *ts, const char *own, const struct part_seen *old,
         size_t old_count, struct part_seen **out, size_t *n)
{
  char prefix[BLOB_KEY_MAX];
  struct ids ids = { .len = 16 };
  buf_init (&ids.out, 1 << 20);
  ids.skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/open/%s/", v->name, ts);
  AUTO (sealer) sealer = NULL;
  int rc = blob_list (v->region->blob, prefix, "", true, add_id, &ids);
  if (rc == 0)
    rc = sealer_new (&sealer);
  for (size_t at = 0; rc == 0 && at < ids.out.len; at += 17) {
    const char *id = (char *) ids.out.data + at;
    struct part_seen p;
    bool is_found = false;
    if (strcmp (id, own) == 0)
      continue;
    rc = look_at (v, ts, id, old, old_count, sealer, &p, &is_found);
    if (rc == 0 && is_found)
      rc = add_part (out, n, &p);
  }
  buf_release (&ids.out);
  return rc;
}

int
parts_list (struct vault *v, const char *ts, const char *own, struct part_seen **out, size_t *n)
{
  *out = NULL;
  *n = 0;
  int rc = list_of (v, ts, own, NULL, 0, out, n);
  if (rc) {
    free (*out);
    *out = NULL;
    *n = 0;
  }
  return rc;
}

/* ---- sealed ones of the same instant ---- */

static int
list_instant (struct vault *v, const struct snapshot_name *name, struct catalog_item **items,
              size_t *n)
{
  char prefix[17];
  snprintf (prefix, sizeof prefix, "%.16s", name->ts);
  return catalog_list (v->region->blob, v->name, prefix, items, n);
}

static int
load_item (struct vault *v, const struct catalog_item *item, struct manifest *m)
{
  return manifest_load (v->region->blob, v->keys, v->name, item->name.ts, item->digest,
                        item->is_sealed, m);
}

static const struct manifest_part *
find_part (const struct manifest *m, const char *id)
{
  for (size_t i = 0; i < m->part_count; i++)
    if (strcmp (m->parts[i].id, id) == 0)
      return &m->parts[i];
  return NULL;
}

int
parts_mark_sealed (struct vault *v, const struct snapshot_name *name, struct part_seen *parts,
                   size_t n)
{
  struct catalog_item *items = NULL;
  size_t count = 0;
  int rc = n ? list_instant (v, name, &items, &count) : 0;
  for (size_t i = 0; rc == 0 && i < count; i++) {
    struct manifest m = { 0 };
    if (!items[i].is_sealed)
      continue;
    rc = load_item (v, &items[i], &m);
    for (size_t k = 0; rc == 0 && k < n; k++) {
      const struct manifest_part *p = find_part (&m, parts[k].id);
      if (p && !p->is_missing)
        parts[k].state = PART_SEALED;
    }
    manifest_release (&m);
    rc = rc == ERR_MISSING ? 0 : rc; /* forgotten meanwhile */
  }
  free (items);
  return rc;
}

bool
manifest_is_ours (const struct manifest *m, const struct snap *s)
{
  /* Who seals names its own part first; a host that only joins has none. */
  const struct manifest_part *own = m->part_count && !m->parts[0].is_missing
    && strcmp (m->parts[0].host_id, m->host_id) == 0 ? &m->parts[0] : NULL;
  char host_id[33];
  hex_encode (s->mount->host_id, 16, host_id);
  return own ? strcmp (own->id, s->part) == 0 : strcmp (m->host_id, host_id) == 0;
}

static void
note_sealed (struct part_fate *f, enum fate fate, const struct catalog_item *item,
             const struct manifest *m)
{
  f->fate = fate;
  f->name = item->name;
  f->name.label = f->name.ts + (item->name.label - item->name.ts);
  memcpy (f->digest, item->digest, sizeof f->digest);
  memcpy (f->host, m->host, sizeof f->host);
  f->counts = m->counts;
}

int
part_fate (struct snap *s, struct part_fate *out)
{
  struct catalog_item *items = NULL;
  size_t n = 0;
  struct part_fate f = { .fate = FATE_OPEN };
  int rc = list_instant (s->vault, &s->name, &items, &n);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    struct manifest m = { 0 };
    rc = load_item (s->vault, &items[i], &m);
    if (rc == ERR_MISSING && !items[i].is_sealed) {
      rc = 0; /* withdrawn meanwhile */
      continue;
    }
    if (rc)
      break;
    const struct manifest_part *p = s->part[0] ? find_part (&m, s->part) : NULL;
    bool is_in = p && !p->is_missing;
    bool is_name_taken = strcmp (items[i].name.ts, s->name.ts) == 0;
    f.siblings += items[i].is_sealed;
    if (items[i].is_sealed && is_in) {
      note_sealed (&f, FATE_JOINED, &items[i], &m);
      f.is_by_us = manifest_is_ours (&m, s);
    }
    else if (items[i].is_sealed && (p || is_name_taken) && f.fate == FATE_OPEN)
      note_sealed (&f, FATE_LEFT_OUT, &items[i], &m);
    else if (!items[i].is_sealed && !manifest_is_ours (&m, s)) {
      f.is_pending_with |= is_in;
      f.is_pending_without |= !is_in && !p;
    }
    manifest_release (&m);
  }
  free (items);
  if (rc == 0)
    *out = f;
  return rc;
}

/* ---- what is shown ---- */

#define SELDOM 10 /* times `refresh`: vaults in which nobody else writes */

/* All parts of V but this host's own, and those of snapshots that are sealed. */
static int
list_all (struct vault *v, const struct part_seen *old, size_t old_count, struct part_seen **out,
          size_t *n)
{
  char prefix[BLOB_KEY_MAX];
  struct ids ids = { .len = 0 };
  buf_init (&ids.out, 16 << 20);
  ids.skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/open/", v->name);
  int rc = vault_list (v, 0);
  if (rc == 0)
    rc = blob_list (v->region->blob, prefix, "", true, add_id, &ids);
  for (size_t at = 0; rc == 0 && at < ids.out.len;) {
    const char *ts = (char *) ids.out.data + at;
    at += strlen (ts) + 1;
    struct snapshot_name name;
    if (snapshot_name_parse (ts, &name) != 0 || vault_count_instant (v, ts))
      continue;
    struct snap *s = snap_find (v, ts);
    rc = list_of (v, ts, s ? s->part : "", old, old_count, out, n);
  }
  buf_release (&ids.out);
  return rc;
}

struct peek_job {
  struct pool_job job; /* first */
  struct vault *vault;
};

static void
peek_run (struct pool_job *job)
{
  struct vault *v = ((struct peek_job *) job)->vault;
  free (job);
  lock_take (&v->lock);
  size_t old_count = v->other_count, n = 0;
  struct part_seen *old = calloc (old_count + 1, sizeof *old), *list = NULL;
  if (old)
    memcpy (old, v->others, old_count * sizeof *old);
  lock_release (&v->lock);
  int rc = old ? list_all (v, old, old_count, &list, &n) : ERR_NOMEM;
  if (rc)
    log_warn ("the parts of other hosts cannot be listed vault=%s err=\"%s\"", v->name,
              err_str (rc));
  lock_take (&v->lock);
  if (rc == 0) {
    free (v->others);
    v->others = STEAL (list);
    v->other_count = n;
  }
  v->others_listed = clock_now ();
  v->is_listing_others = false;
  lock_release (&v->lock);
  free (list);
  free (old);
}

int
parts_peek (struct vault *v, struct part_seen **out, size_t *n)
{
  struct mount *m = v->region->mount;
  LOCK_SCOPE (&v->lock);
  int64_t every = m->opts.refresh_ns * (v->other_count || v->open_snaps ? 1 : SELDOM);
  if (!v->is_listing_others && (!v->others_listed || clock_now () - v->others_listed > every)) {
    struct peek_job *j = calloc (1, sizeof *j);
    if (j) {
      j->vault = v;
      j->job.run = peek_run;
      v->is_listing_others = true;
      pool_submit (m->workers, &j->job);
    }
  }
  *out = calloc (v->other_count + 1, sizeof **out);
  if (!*out)
    return ERR_NOMEM;
  if (v->other_count)
    memcpy (*out, v->others, v->other_count * sizeof **out);
  *n = v->other_count;
  return 0;
}

const char *
part_state_str (enum part_state s)
{
  switch (s) {
  case PART_OPEN: return "open";
  case PART_FINISHED: return "finished";
  case PART_EXPIRED: return "expired";
  case PART_DAMAGED: return "damaged";
  case PART_REMOVED: return "removed";
  case PART_SEALED: return "sealed";
  }
  return "unknown";
}
