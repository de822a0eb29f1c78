/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing an open snapshot back from its checkpoints.  The state directory gives the part's id,
 * nothing more. */
#define LOG_MODULE "recover"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/catalog.h"
#include "snapshot/file.h"
#include "snapshot/history.h"
#include "snapshot/parts.h"

/* The name of a checkpoint: "<seq>", or "<seq>.<seq it builds on>". */
struct seq {
  char name[CHECKPOINT_NAME_MAX];
  uint32_t no, from;
  bool is_void;
};

struct replay {
  struct snap *snap;
  struct sealer *sealer;
  struct buf names;      /* of the checkpoints: struct seq */
  struct buf grown;      /* u64 ino: has extents beyond its size */
  size_t skip;
  struct pack_table packs; /* every pack the replayed ones name */
  bool is_removed;
  bool is_join;          /* of another host: finished, so all of it was durable */
  uint8_t flags;         /* of the last one replayed */
};

static int
add_seq (void *ctx, const struct blob_entry *e)
{
  struct replay *r = ctx;
  struct seq q = { .from = RESUMES_NOTHING };
  const char *name = e->key + r->skip;
  size_t n = strlen (name);
  if ((n != 10 && (n != 21 || name[10] != '.')) || strspn (name, "0123456789.") != n)
    return 0; /* not ours: left alone */
  memcpy (q.name, name, n + 1);
  q.no = (uint32_t) strtoul (name, NULL, 10);
  if (n == 21)
    q.from = (uint32_t) strtoul (name + 11, NULL, 10);
  buf_put (&r->names, &q, sizeof q);
  return buf_error (&r->names);
}

/* Those that a later recovery did not build on: they or their packs came after it, or never. */
static void
mark_void (struct seq *at, size_t n)
{
  uint32_t last = RESUMES_NOTHING;
  while (n--) {
    at[n].is_void = last != RESUMES_NOTHING && at[n].no > last;
    if (!at[n].is_void && at[n].from != RESUMES_NOTHING)
      last = at[n].from;
  }
}

static int
replay_extents (struct replay *r, struct checkpoint_rec *rec)
{
  struct worktree *t = r->snap->tree;
  struct inode *i;
  int rc = worktree_get (t, rec->ino, &i);
  if (rc)
    return ERR_FORMAT;
  uint64_t off = rec->off;
  for (uint32_t k = 0; rc == 0 && k < rec->extent_count; k++) {
    struct extent e;
    extent_get (&rec->extents, rec->packs.count, &e);
    if (rec->extents.failed)
      rc = ERR_FORMAT;
    if (rc == 0 && e.kind == EXTENT_DATA)
      rc = index_pack_intern (r->snap->vault->index, rec->packs.names[e.ref.pack], &e.ref.pack);
    if (rc)
      break;
    LOCK_SCOPE (&t->lock);
    rc = extmap_set (&i->map, off, &e);
    off += e.len;
  }
  if (rc == 0 && off > i->a.size) {
    buf_put_u64 (&r->grown, rec->ino);
    rc = buf_error (&r->grown);
  }
  worktree_put (i);
  return rc;
}

static int
set_meta (struct snap *s, const struct checkpoint_rec *rec)
{
  char key[256], value[65536];
  if (rec->name_len >= sizeof key || rec->value_len >= sizeof value)
    return ERR_FORMAT;
  memcpy (key, rec->name, rec->name_len);
  key[rec->name_len] = 0;
  memcpy (value, rec->value, rec->value_len);
  value[rec->value_len] = 0;
  return snap_set_meta (s, key, value);
}

static int
replay_records (struct replay *r, struct rd *in)
{
  struct checkpoint_rec rec;
  memset (&rec, 0, sizeof rec);
  int more;
  int rc = 0;
  while (rc == 0 && (more = checkpoint_next (in, &rec)) != 0) {
    if (more < 0)
      rc = more;
    else if (rec.type == CP_NODE)
      rc = worktree_replay_node (r->snap->tree, rec.ino, &rec.attr);
    else if (rec.type == CP_EXTENTS)
      rc = replay_extents (r, &rec);
    else if (rec.type == CP_ENTRY)
      rc = worktree_replay_entry (r->snap->tree, rec.dir, rec.name, rec.name_len, rec.ino);
    else if (rec.type == CP_REMOVED)
      rc = worktree_replay_removed (r->snap->tree, rec.ino);
    else if (rec.type == CP_COUNTS)
      r->snap->past = rec.counts;
    else
      rc = set_meta (r->snap, &rec);
  }
  checkpoint_rec_release (&rec);
  return rc;
}

static int
note_packs (struct replay *r, const struct pack_table *t)
{
  for (uint32_t i = 0; i < t->count; i++) {
    uint32_t at;
    int rc = pack_table_intern (&r->packs, t->names[i], &at);
    if (rc)
      return rc;
  }
  return 0;
}

int
checkpoint_load (struct vault *v, const char *ts, const char *part, const char *seq,
                 struct sealer *sealer, struct buf *plain)
{
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/open/%s/%s/%s", v->name, ts, part, seq);
  AUTO_BUF object;
  buf_init (&object, unit_plain_max (UNIT_CHECKPOINT) + 4096);
  int rc = blob_get_all (v->region->blob, key, &object);
  if (rc == 0)
    rc = object_header_check (object.data, object.len, MAGIC_CHECKPOINT);
  uint8_t id[ID_LEN];
  unit_id_checkpoint (v->keys, ts, part, seq, id);
  if (rc == 0)
    rc = open_unit_buf (sealer, v->keys, UNIT_CHECKPOINT, id, object.data + OBJECT_HEADER_LEN,
                        object.len - OBJECT_HEADER_LEN, plain);
  return rc < 0 ? rc : 0;
}

/* One checkpoint.  ERR_MISSING: a pack it names never arrived, so it was never acknowledged: the
 * end. */
static int
replay_one (struct replay *r, const char *seq)
{
  struct snap *s = r->snap;
  struct vault *v = s->vault;
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_CHECKPOINT));
  int rc = checkpoint_load (v, s->name.ts, s->part, seq, r->sealer, &plain);
  if (rc)
    return rc == ERR_MISSING ? ERR_FORMAT : rc;
  struct rd in = rd_of (plain.data, plain.len);
  struct checkpoint_head head = { 0 };
  rc = checkpoint_head_get (&in, &head);
  uint8_t missing[PACK_NAME_LEN];
  if (rc == 0 && !r->is_join)
    rc = packs_exist (v, &head.own, missing);
  if (rc == 0 && (head.flags & CHECKPOINT_REMOVED))
    r->is_removed = true;
  r->flags = head.flags;
  if (rc == 0)
    rc = note_packs (r, &head.own);
  if (rc == 0)
    rc = note_packs (r, &head.pins);
  if (rc == 0)
    rc = replay_records (r, &in);
  checkpoint_head_release (&head);
  return rc;
}

static int
pin_all (struct replay *r)
{
  struct vault *v = r->snap->vault;
  lock_take (&v->lock);
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < r->packs.count; i++) {
    uint32_t at;
    rc = pack_table_intern (&v->pins, r->packs.names[i], &at);
  }
  r->snap->pins_named = r->snap->pins_confirmed = v->pins.count;
  lock_release (&v->lock);
  /* They stand in checkpoints that are in the store: proven by what gc/ says now. */
  return rc ? rc : snap_prove_pins (r->snap, &r->packs);
}

/* What lies beyond the size of a file is gone: the rest of a big file that was not told in full. */
static int
cut_grown (struct replay *r)
{
  struct worktree *t = r->snap->tree;
  int rc = 0;
  for (size_t k = 0; rc == 0 && k < r->grown.len; k += 8) {
    struct inode *i;
    LOCK_SCOPE (&t->lock);
    rc = inode_get_locked (t, get_le64 (r->grown.data + k), &i);
    if (rc)
      return rc == ERR_NOENT ? 0 : rc;
    rc = extmap_truncate (&i->map, i->a.size);
    i->is_dirty = true;
    inode_put_locked (i);
  }
  return rc;
}

/* Each tells only what changed since the one it builds on, and is acknowledged after it. */
static bool
is_next (const struct seq *q, uint32_t last)
{
  return q->from == RESUMES_NOTHING ? q->no == last + 1 : q->from == last;
}

/* In order, up to the first that was never acknowledged. */
static int
replay_seqs (struct replay *r, const struct seq *at, size_t n)
{
  struct snap *s = r->snap;
  uint32_t last = 0;
  for (size_t k = 0; k < n; k++) {
    if (at[k].is_void)
      continue;
    bool is_gap = !is_next (&at[k], last);
    int rc = is_gap ? ERR_MISSING : replay_one (r, at[k].name);
    if (rc == ERR_MISSING && r->is_join)
      return ERR_BUSY; /* it is finished when what lies before has arrived */
    if (rc == ERR_MISSING) {
      log_warn ("%s never arrived vault=%s snapshot=%s seq=%s: it was not acknowledged and is left "
                "out with all after it",
                is_gap ? "what a checkpoint builds on" : "a pack that a checkpoint names",
                s->vault->name, s->name.ts, at[k].name);
      break;
    }
    if (rc)
      return rc;
    last = at[k].no;
  }
  s->resumes = s->confirmed = last;
  s->seq = at[n - 1].no; /* the next one gets a number nobody used */
  return last ? 0 : ERR_MISSING;
}

static int
replay_all (struct replay *r)
{
  struct snap *s = r->snap;
  char prefix[BLOB_KEY_MAX];
  r->skip = (size_t) snprintf (prefix, sizeof prefix, "vaults/%s/open/%s/%s/", s->vault->name,
                               s->name.ts, s->part);
  int rc = blob_list (s->vault->region->blob, prefix, "", false, add_seq, r);
  size_t n = r->names.len / sizeof (struct seq);
  if (rc == 0 && n == 0)
    rc = ERR_MISSING;
  if (rc)
    return rc;
  AUTO_MEM struct seq *at = calloc (n, sizeof *at);
  if (!at)
    return ERR_NOMEM;
  memcpy (at, r->names.data, n * sizeof *at);
  mark_void (at, n);
  rc = replay_seqs (r, at, n);
  if (rc == 0)
    rc = cut_grown (r);
  if (rc == 0)
    rc = worktree_recount (s->tree);
  if (rc == 0 && r->is_removed)
    rc = ERR_MISSING;
  return rc || r->is_join ? rc : pin_all (r);
}

static int
replay (struct replay *r)
{
  buf_init (&r->names, 64u << 20);
  buf_init (&r->grown, 64u << 20);
  int rc = sealer_new (&r->sealer);
  if (rc == 0)
    rc = replay_all (r);
  sealer_free (r->sealer);
  buf_release (&r->names);
  buf_release (&r->grown);
  pack_table_release (&r->packs);
  return rc;
}

int
snap_replay_part (struct vault *v, const struct snapshot_name *name, const char *part,
                  struct snap **out)
{
  struct snap *s;
  int rc = snap_new (v, name, &s);
  if (rc)
    return rc;
  snprintf (s->part, sizeof s->part, "%s", part);
  struct replay r = { .snap = s, .is_join = true };
  rc = replay (&r);
  if (rc == 0 && !(r.flags & CHECKPOINT_FINISHED))
    rc = ERR_BUSY;
  if (rc)
    snap_free (s);
  else
    *out = s;
  return rc;
}

int
snap_recover (struct vault *v, const struct snapshot_name *name, const char *part, bool is_direct,
              struct snap **out)
{
  struct snap *s;
  int rc = vault_open (v);
  if (rc == 0)
    rc = snap_new (v, name, &s);
  if (rc)
    return rc;
  s->is_direct = is_direct;
  s->is_interrupted = s->had_unclean = true;
  snprintf (s->part, sizeof s->part, "%s", part);
  snap_enter (s);
  struct replay r = { .snap = s };
  rc = replay (&r);
  pipe_unhold (v->pipe);
  s->is_finished = s->is_finish_sure = s->is_cut = (r.flags & CHECKPOINT_FINISHED) != 0;
  if (rc == 0)
    rc = snap_register (s);
  if (rc) {
    snap_leave (s);
    snap_free (s);
    return rc;
  }
  s->last_checkpoint = clock_now ();
  snap_check_late (s);
  lock_take (&s->tree->lock);
  uint64_t files = s->tree->files;
  lock_release (&s->tree->lock);
  history_resume (s);
  log_info ("open snapshot recovered vault=%s snapshot=%s files=%llu", v->name, name->ts,
            (unsigned long long) files);
  *out = s;
  return 0;
}

/* Is PART in a sealed snapshot of this instant, under whatever label: sealed, though nobody was
 * told. */
static bool
is_part_sealed (struct vault *v, const struct snapshot_name *name, const char *part)
{
  struct catalog_item *items = NULL;
  size_t n = 0;
  char prefix[17];
  snprintf (prefix, sizeof prefix, "%.16s", name->ts);
  bool found = false;
  if (vault_open (v) != 0
      || catalog_list (v->region->blob, v->name, prefix, &items, &n) != 0)
    return false;
  for (size_t i = 0; !found && i < n; i++) {
    struct manifest m = { 0 };
    if (items[i].is_sealed
        && manifest_load (v->region->blob, v->keys, v->name, items[i].name.ts, items[i].digest,
                          true, &m) == 0) {
      for (size_t k = 0; k < m.part_count; k++)
        found |= strcmp (m.parts[k].id, part) == 0 && !m.parts[k].is_missing;
      manifest_release (&m);
    }
  }
  free (items);
  return found;
}

static void
recover_record (struct region *r, const char *record)
{
  struct mount *m = r->mount;
  char *field[5], *save = NULL;
  int n = 0;
  char copy[512];
  snprintf (copy, sizeof copy, "%s", record);
  for (char *p = strtok_r (copy, "+", &save); p && n < 5; p = strtok_r (NULL, "+", &save))
    field[n++] = p;
  struct snapshot_name name;
  if (n != 5 || strcmp (field[0], r->name) != 0 || snapshot_name_parse (field[2], &name) != 0)
    return;
  bool is_direct = strcmp (field[4], "direct") == 0;
  name.is_partial = !is_direct;
  struct vault *v;
  struct snap *s;
  int rc = vault_intern (r, field[1], &v);
  bool is_sealed = rc == 0 && is_part_sealed (v, &name, field[3]);
  if (rc == 0 && !is_sealed)
    rc = snap_recover (v, &name, field[3], is_direct, &s);
  if (rc == ERR_MISSING || is_sealed) {
    char path[4700];
    snprintf (path, sizeof path, "%s/parts/%s", m->opts.state_dir, record);
    unlink (path);
    if (!is_sealed)
      log_warn ("nothing of an open snapshot was durable region=%s vault=%s snapshot=%s: it is "
                "gone", field[0],
                field[1], field[2]);
  } else if (rc)
    log_err ("an open snapshot cannot be recovered region=%s vault=%s snapshot=%s err=\"%s\": it "
             "is not shown;"
             " mount again when the store answers", field[0], field[1], field[2], err_str (rc));
}

/* ---- a part whose state directory is lost (ruling 24) ---- */

#define ALIVE (600 * NS_PER_S) /* after its last progress a host may still live */

static void
name_part (struct buf *why, const struct part_seen *p)
{
  time_t sec = (time_t) (p->changed / NS_PER_S);
  struct tm tm;
  char when[32];
  strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r (&sec, &tm));
  log_info ("a part in the store snapshot=%s part=%s host=%s state=%s last_progress=%s", p->ts,
            p->id, p->host, part_state_str (p->state), when);
  if (why)
    buf_printf (why, "%spart %s of %s (%s, last progress %s)", why->len ? ", " : "", p->id,
                p->host[0] ? p->host : "an unknown host", part_state_str (p->state), when);
}

/* The part GIVEN, or else the only one that is in the store and in no sealed snapshot. */
static int
find_part (struct vault *v, const struct snapshot_name *name, const char *given, unsigned flags,
           struct buf *why, char part[17])
{
  struct part_seen *all = NULL, *found = NULL;
  size_t n = 0, count = 0;
  int rc = vault_open (v);
  if (rc == 0)
    rc = parts_list (v, name->ts, "", &all, &n);
  if (rc == 0)
    rc = parts_mark_sealed (v, name, all, n);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    bool is_it = given ? strcmp (all[i].id, given) == 0
      : all[i].state != PART_REMOVED && all[i].state != PART_SEALED;
    if (!is_it)
      continue;
    found = &all[i];
    count++;
  }
  for (size_t i = 0; count > 1 && i < n; i++)
    if (all[i].state != PART_REMOVED && all[i].state != PART_SEALED)
      name_part (why, &all[i]);
  if (rc == 0)
    rc = count > 1 ? ERR_LIMIT : count == 0 || found->state == PART_REMOVED ? ERR_NOENT
      : found->state == PART_SEALED ? ERR_STATE : 0;
  int64_t now = clock_wall () + v->region->clock_offset;
  if (rc == 0 && !(flags & ADOPT_FORCE) && now - found->changed < ALIVE) {
    name_part (why, found);
    rc = ERR_BUSY;
  }
  if (rc == 0)
    snprintf (part, 17, "%s", found->id);
  free (all);
  return rc;
}

int
snap_adopt (struct vault *v, const struct snapshot_name *name, const char *given, unsigned flags,
            struct buf *why)
{
  char part[17];
  struct snap *s = snap_find (v, name->ts);
  struct catalog_entry e;
  if (s && s->life != LIFE_SEALED)
    return ERR_EXISTS;
  int rc = vault_find (v, name->ts, 0, &e);
  if (rc != ERR_NOENT && (rc || !given)) /* a part that was left out may be wanted still */
    return rc ? rc : ERR_STATE;
  rc = find_part (v, name, given, flags, why, part);
  if (rc == 0)
    rc = snap_recover (v, name, part, !name->is_partial, &s);
  if (rc == ERR_MISSING)
    rc = ERR_NOENT; /* nothing of it was durable */
  return rc ? rc : snap_record_part (s);
}

void
snap_recover_all (struct region *r)
{
  struct mount *m = r->mount;
  char path[4200];
  snprintf (path, sizeof path, "%s/parts", m->opts.state_dir);
  DIR *d = opendir (path);
  if (!d)
    return;
  for (struct dirent *e; (e = readdir (d));)
    if (e->d_name[0] != '.')
      recover_record (r, e->d_name);
  closedir (d);
}
