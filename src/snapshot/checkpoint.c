/* SPDX-License-Identifier: Apache-2.0 */
/* Writing checkpoints: what changed since the last one, as far as it is placed. */
#define LOG_MODULE "checkpoint"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/snap.h"
#include "snapshot/tree_build_priv.h"

#define CHECKPOINT_TARGET (32u << 20) /* what is longer goes on in another object */
#define BIG_FILE 200000u /* extents: such a file may take several objects */

struct writing {
  struct snap *snap;
  unsigned slot;           /* in inode->told_by */
  uint64_t ticket;         /* packs begun later are told of only once they are in the store */
  struct checkpoint_head head;
  struct buf records;
  struct pack_table named; /* packs of this delta */
  struct inode *inode;
  uint64_t size;           /* how much of it is told of */
  bool is_partial;         /* something of it could not be */
  bool is_big, is_short;   /* the file takes several objects; this one is full before its end */
  uint64_t first_new;      /* nodes from here on were made after the log was taken */
  uint32_t seq;            /* of the last portion */
};

struct checkpoint {
  struct snap *snap;
  unsigned slot;
  uint32_t seq, pins;   /* its last object; how many of the vault's pins are named with it */
  struct buf log;       /* the changes it tells of */
  struct buf object;
  char key[BLOB_KEY_MAX];
  bool is_finished;     /* it has flag 4 */
};

static int
note_pack (struct writing *w, uint32_t no, const uint8_t name[PACK_NAME_LEN])
{
  uint32_t at;
  struct pack_table *t = index_pack_is_own (w->snap->vault->index, no) ? &w->head.own
    : &w->head.pins;
  return pack_table_intern (t, name, &at);
}

/* Extents of one file that follow each other without a gap, until they become a record. */
struct run {
  struct writing *w;
  struct extent at[2 * SEG_MAX + 1];
  uint32_t count;
  uint64_t start, end;
  struct pack_table packs;
};

static void
run_end (struct run *r)
{
  if (r->count)
    checkpoint_extents_put (&r->w->records, r->w->inode->ino, r->start, &r->packs, r->at, r->count);
  pack_table_reset (&r->packs);
  r->count = 0;
}

/* E at OFF, as far as the file is told of. */
static void
run_add (struct run *r, uint64_t off, struct extent e)
{
  if (off >= r->w->size)
    return;
  if (e.len > r->w->size - off)
    e.len = r->w->size - off;
  if (r->count && r->end != off)
    run_end (r);
  if (r->count == 0)
    r->start = off;
  r->at[r->count++] = e;
  r->end = off + e.len;
}

static void
run_add_hole (struct run *r, uint64_t off, uint64_t end)
{
  if (off < end)
    run_add (r, off, (struct extent){ .kind = EXTENT_HOLE, .len = end - off });
}

/* Gives E's pack its place in the run's table.  ERR_STATE: no name yet. */
static int
run_localize (struct run *r, uint64_t off, struct extent *e)
{
  if (e->kind == EXTENT_FLYING)
    return ERR_STATE;
  if (e->kind != EXTENT_DATA)
    return 0;
  uint8_t name[PACK_NAME_LEN];
  int rc = pack_name_of (r->w->snap, e->ref.pack, r->w->ticket, name);
  if (rc == 0)
    rc = note_pack (r->w, e->ref.pack, name);
  if (rc == 0 && r->count && r->end != off)
    run_end (r); /* a new record has a table of its own */
  return rc ? rc : pack_table_intern (&r->packs, name, &e->ref.pack);
}

/* One segment: what is placed in packs with names, and the holes, since an earlier checkpoint may
 * have told of extents there.  What has no name yet is passed over: a replay keeps there what an
 * earlier checkpoint said, and there is one, or the size ends before it.  1: not all was told. */
static int
put_segment (void *ctx, const struct segment *s, uint64_t end)
{
  struct writing *w = ctx;
  if (w->is_big && w->records.len > CHECKPOINT_TARGET) {
    w->is_short = true;
    return 2;
  }
  struct run r = { .w = w };
  uint64_t at = s->start;
  bool is_partial = w->size < w->inode->a.size && end > w->size;
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i < s->count && s->at[i].off < w->size; i++) {
    struct extent e = s->at[i].e;
    uint64_t off = s->at[i].off;
    run_add_hole (&r, at, off);
    at = off + e.len;
    rc = run_localize (&r, off, &e);
    if (rc == 0)
      run_add (&r, off, e);
    else if (rc == ERR_STATE) {
      run_end (&r);
      is_partial = true;
      rc = 0;
    }
  }
  if (rc == 0)
    run_add_hole (&r, at, end);
  run_end (&r);
  pack_table_release (&r.packs);
  w->is_partial |= is_partial;
  rc = rc ? rc : buf_error (&w->records);
  return rc ? rc : is_partial;
}

struct least {
  struct writing *w;
  uint64_t from, off;
};

/* Where, from FROM on, the first extent lies that cannot be named yet. */
static int
find_unnamed (void *ctx, const struct mapped *x)
{
  struct least *l = ctx;
  uint8_t name[PACK_NAME_LEN];
  if (x->off + x->e.len <= l->from)
    return 0;
  if (x->e.kind == EXTENT_FLYING
      || (x->e.kind == EXTENT_DATA
          && pack_name_of (l->w->snap, x->e.ref.pack, l->w->ticket, name) == ERR_STATE)) {
    l->off = x->off;
    return 1;
  }
  return 0;
}

/* How much of the file may be told of: up to the first byte whose newest content lies in memory
 * only and that no checkpoint has either, confirmed or on its way.  A shorter file, never zeros;
 * and never shorter than what was told once, since nothing says that it was cut. */
static int
safe_size (struct writing *w, struct inode *i, uint64_t *out)
{
  uint64_t from = i->told < i->a.size ? i->told : i->a.size;
  uint64_t limit;
  int rc = filedata_ungrounded_locked (i, from, &limit);
  struct least l = { .w = w, .from = from, .off = UINT64_MAX };
  if (rc == 0)
    rc = extmap_walk_changed (&i->map, find_unnamed, &l);
  if (rc < 0)
    return rc;
  limit = l.off < limit ? l.off : limit;
  limit = limit > from ? limit : from;
  *out = limit < i->a.size ? limit : i->a.size;
  return 0;
}

/* The head goes before the records where they stand: they may be long, a copy would double them. */
static int
prepend_head (struct writing *w)
{
  AUTO_BUF head;
  buf_init (&head, unit_plain_max (UNIT_CHECKPOINT));
  int rc = checkpoint_head_put (&head, &w->head);
  if (rc)
    return rc;
  struct buf *b = &w->records;
  if (!buf_reserve (b, head.len))
    return buf_error (b);
  memmove (b->data + head.len, b->data, b->len);
  memcpy (b->data, head.data, head.len);
  b->len += head.len;
  return 0;
}

/* What stands in W, as the object SEQ with its KEY. */
static int
seal_portion (struct writing *w, const char *seq, struct buf *object, char *key)
{
  struct snap *s = w->snap;
  struct vault *v = s->vault;
  AUTO (sealer) sealer = NULL;
  int rc = prepend_head (w);
  if (rc == 0)
    rc = sealer_new (&sealer);
  uint8_t id[ID_LEN];
  unit_id_checkpoint (v->keys, s->name.ts, s->part, seq, id);
  object_header_put (object, MAGIC_CHECKPOINT);
  if (rc == 0)
    rc = seal_unit (sealer, v->keys, UNIT_CHECKPOINT, id, w->records.data, w->records.len, 1,
                    object);
  snprintf (key, BLOB_KEY_MAX, "vaults/%s/open/%s/%s/%s", v->name, s->name.ts, s->part, seq);
  return rc;
}

/* A big file's size is told after its extents, which may fill several objects: until the last is
 * there, a replay finds it as long as it was. */
static int
put_inode_locked (struct writing *w, struct inode *i, bool is_first)
{
  struct node_attr a;
  inode_attr_encode_view (i, &a);
  i->is_logged = false;
  w->inode = i;
  w->size = a.size;
  w->is_partial = w->is_short = false;
  w->is_big = extmap_count (&i->map) > BIG_FILE;
  int rc = i->a.kind == NODE_FILE ? safe_size (w, i, &w->size) : 0;
  if (rc)
    return rc;
  w->is_partial = w->size < i->a.size;
  a.size = w->is_big && i->told < w->size ? i->told : w->size;
  if (is_first || !w->is_big)
    checkpoint_node_put (&w->records, i->ino, &a);
  rc = extmap_changed (&i->map, put_segment, w);
  if (w->is_short)
    return rc;
  a.size = w->size;
  if (w->is_big)
    checkpoint_node_put (&w->records, i->ino, &a);
  i->told = i->told_by[w->slot] = a.size;
  i->is_dirty = true;
  return rc;
}

/* What stands in W so far becomes an object: the next of the chain, or after a break the first of
 * what goes on from the last that holds. */
static int
make_portion (struct writing *w, struct buf *object, char *key)
{
  struct snap *s = w->snap;
  lock_take (&s->lock);
  uint32_t seq = ++s->seq, from = s->resumes;
  s->resumes = RESUMES_NOTHING;
  lock_release (&s->lock);
  char name[CHECKPOINT_NAME_MAX];
  int n = snprintf (name, sizeof name, "%010u", seq);
  if (from != RESUMES_NOTHING)
    snprintf (name + n, sizeof name - (size_t) n, ".%010u", from);
  int rc = seal_portion (w, name, object, key);
  w->seq = seq;
  buf_release (&w->records); /* before the object is sent */
  pack_table_reset (&w->head.own);
  pack_table_reset (&w->head.pins);
  return rc;
}

/* It is full and goes on in the next. */
static int
put_portion (struct writing *w)
{
  AUTO_BUF object;
  buf_init (&object, unit_plain_max (UNIT_CHECKPOINT) + 4096);
  char key[BLOB_KEY_MAX];
  uint8_t flags = w->head.flags;
  w->head.flags &= (uint8_t) ~CHECKPOINT_FINISHED; /* the last one says that */
  int rc = make_portion (w, &object, key);
  w->head.flags = flags;
  return rc ? rc : blob_put (w->snap->vault->region->blob, key, object.data, object.len, NULL);
}

/* 1: it stands in the checkpoint; 0: it is gone again, or has no name left (not EVEN_REMOVED). */
static int
put_node (struct writing *w, uint64_t ino, bool even_removed)
{
  struct worktree *t = w->snap->tree;
  struct inode *i;
  int rc = worktree_get (t, ino, &i);
  if (rc)
    return rc == ERR_NOENT ? 0 : rc;
  bool is_there = true;
  w->is_short = false;
  for (bool is_first = true; rc == 0 && is_there && (is_first || w->is_short); is_first = false) {
    lock_take (&i->data_lock); /* nothing is written between the look at size and extents */
    lock_take (&t->lock);
    is_there = !i->is_removed || even_removed;
    i->is_logged = false;
    if (is_there)
      rc = put_inode_locked (w, i, is_first);
    else
      i->told_by[w->slot] = NOT_TOLD;
    if (rc || (is_there && w->is_partial))
      inode_touch_locked (i);
    lock_release (&t->lock);
    lock_release (&i->data_lock);
    if (rc == 0)
      rc = buf_error (&w->records);
    if (rc == 0 && w->records.len > CHECKPOINT_TARGET)
      rc = put_portion (w);
  }
  worktree_put (i);
  return rc ? rc : is_there;
}

/* What the name is by now: the node that had it is gone for good, as the log tells further on. */
static int
name_by_now (struct writing *w, const struct log_entry *e, uint64_t *ino)
{
  int kind;
  struct worktree *t = w->snap->tree;
  lock_take (&t->lock);
  int rc = wtdb_name_get (t->db, e->no, e->name, e->len, ino, &kind);
  lock_release (&t->lock);
  if (rc && rc != ERR_NOENT)
    return rc;
  if (rc)
    *ino = 0;
  else if (*ino >= w->first_new) { /* its own record would come in the next checkpoint */
    rc = put_node (w, *ino, false);
    if (rc < 0)
      return rc;
    *ino = rc ? *ino : 0;
  }
  return 0;
}

/* Names are told as the log left them, not as they are by now: of what was renamed since, one name
 * would be looked at before and the other after it. */
static int
put_name (struct writing *w, const struct log_entry *e)
{
  uint64_t ino = e->ino;
  enum presence p = ino ? worktree_presence (w->snap->tree, ino) : PRESENT;
  int rc = 0;
  if (p == REMOVED_SINCE) /* a replay may not know it yet */
    rc = put_node (w, ino, true);
  else if (p == GONE)
    rc = name_by_now (w, e, &ino);
  if (rc < 0)
    return rc;
  checkpoint_entry_put (&w->records, e->no, e->name, e->len, ino);
  return buf_error (&w->records);
}

/* Nodes are put in the first pass, names in the second, so that a replay never meets a name of an
 * unknown node. */
static int
put_logged (struct writing *w, const struct log_entry *e, int pass)
{
  if (pass == 1 && e->type == LOG_NAME)
    return put_name (w, e);
  if (pass == 1 && e->type == LOG_GONE)
    checkpoint_removed_put (&w->records, e->no);
  int rc = pass == 0 && e->type == LOG_NODE ? put_node (w, e->no, false) : 0;
  return rc < 0 ? rc : 0;
}

static int
put_log (struct writing *w, const struct buf *log)
{
  for (int pass = 0; pass < 2; pass++) {
    struct rd r = rd_of (log->data, log->len);
    struct log_entry e;
    while (log_next (&r, &e)) {
      int rc = put_logged (w, &e, pass);
      if (rc == 0 && !e.is_half && w->records.len > CHECKPOINT_TARGET)
        rc = put_portion (w);
      if (rc)
        return rc;
    }
    if (r.failed)
      return ERR_STATE;
  }
  return buf_error (&w->records);
}

static int
put_pins (struct writing *w, uint32_t *upto)
{
  struct vault *v = w->snap->vault;
  LOCK_SCOPE (&v->lock);
  *upto = v->pins.count;
  for (uint32_t i = w->snap->pins_named; i < v->pins.count; i++) {
    uint32_t at;
    int rc = pack_table_intern (&w->head.pins, v->pins.names[i], &at);
    if (rc)
      return rc;
  }
  return 0;
}

/* All that LOG names counts as changed: what was marked as told was not. */
static void
mark_untold_locked (struct worktree *t, const struct buf *log)
{
  struct rd r = rd_of (log->data, log->len);
  struct log_entry e;
  while (log_next (&r, &e)) {
    struct inode *i;
    if (e.type != LOG_NODE || inode_get_locked (t, e.no, &i) != 0)
      continue; /* gone: nothing to tell of it */
    i->told = i->durable;
    extmap_mark_all_changed (&i->map);
    i->is_dirty = true;
    inode_put_locked (i);
  }
}

void
checkpoint_undo (struct snap *s, struct buf *log)
{
  struct worktree *t = s->tree;
  lock_take (&t->lock);
  mark_untold_locked (t, log);
  mark_untold_locked (t, &t->log); /* of new nodes the lost ones may have told already */
  buf_put (log, t->log.data, t->log.len);
  if (log->error)
    t->error = ERR_LIMIT;
  struct buf newer = t->log;
  t->log = *log;
  *log = newer;
  lock_release (&t->lock);
  LOCK_SCOPE (&s->lock);
  s->resumes = s->confirmed;
  s->pins_named = s->pins_confirmed;
}

void
checkpoint_confirm (struct checkpoint *c)
{
  struct snap *s = c->snap;
  struct worktree *t = s->tree;
  struct rd r = rd_of (c->log.data, c->log.len);
  struct log_entry e;
  while (log_next (&r, &e)) {
    struct inode *i;
    LOCK_SCOPE (&t->lock);
    if (e.type != LOG_NODE || inode_get_locked (t, e.no, &i) != 0)
      continue;
    if (i->told_by[c->slot] != NOT_TOLD)
      i->durable = i->told_by[c->slot];
    i->is_dirty = true;
    inode_put_locked (i);
  }
  LOCK_SCOPE (&s->lock);
  s->confirmed = c->seq;
  s->pins_confirmed = c->pins;
  s->last_checkpoint = clock_now ();
  s->is_finish_sure |= c->is_finished;
}

static int
put_meta (struct writing *w)
{
  struct snap *s = w->snap;
  LOCK_SCOPE (&s->lock);
  for (size_t i = 0; i < s->meta_count; i++)
    checkpoint_meta_put (&w->records, s->meta[i].key, s->meta[i].value, strlen (s->meta[i].value));
  return buf_error (&w->records);
}

static int
put_counts (struct writing *w)
{
  struct snap *s = w->snap;
  struct checkpoint_counts c = s->past;
  lock_take (&s->tree->lock);
  c.files = s->tree->files;
  lock_release (&s->tree->lock);
  c.received += s->received;
  c.fresh += s->dep.fresh;
  c.dedup += s->dep.dedup;
  c.stored += s->dep.stored;
  checkpoint_counts_put (&w->records, &c);
  return buf_error (&w->records);
}

static int
build (struct writing *w, struct checkpoint *c)
{
  struct snap *s = w->snap;
  struct worktree *t = s->tree;
  int rc = worktree_log_take (t, &c->log, &w->first_new);
  if (rc == 0)
    rc = put_pins (w, &c->pins);
  if (rc == 0)
    rc = put_log (w, &c->log);
  worktree_log_told (t);
  if (rc == 0)
    rc = put_meta (w);
  if (rc == 0)
    rc = put_counts (w);
  if (rc == 0)
    rc = make_portion (w, &c->object, c->key);
  c->seq = w->seq;
  LOCK_SCOPE (&s->lock);
  s->pins_named = c->pins;
  return rc;
}

int
checkpoint_build (struct snap *s, unsigned flags, unsigned slot, uint64_t ticket,
                  struct checkpoint **out)
{
  struct checkpoint *c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  c->snap = s;
  c->slot = slot;
  buf_init (&c->object, unit_plain_max (UNIT_CHECKPOINT) + 4096);
  struct writing w = { .snap = s, .slot = slot, .ticket = ticket };
  /* One with flag 4 stands for itself and all before it: a replay ends at a gap. */
  c->is_finished = s->is_finished || (flags & CHECKPOINT_FINISHED);
  w.head.flags = (uint8_t) (flags | (c->is_finished ? CHECKPOINT_FINISHED : 0));
  w.head.time = clock_wall ();
  memcpy (w.head.host_id, s->mount->host_id, sizeof w.head.host_id);
  snprintf (w.head.host, sizeof w.head.host, "%s", s->mount->host);
  (void) hex_decode (pipe_session (s->vault->pipe), 8, w.head.session);
  buf_init (&w.records, CHECKPOINT_TARGET * 2);
  int rc = build (&w, c);
  buf_release (&w.records);
  checkpoint_head_release (&w.head);
  *out = c;
  return rc;
}

size_t
checkpoint_bytes (const struct checkpoint *c)
{
  return c->object.len;
}

int
checkpoint_send (struct checkpoint *c)
{
  return blob_put (c->snap->vault->region->blob, c->key, c->object.data, c->object.len, NULL);
}

void
checkpoint_give_log (struct checkpoint *c, struct buf *to)
{
  buf_put (to, c->log.data, c->log.len);
}

void
checkpoint_free (struct checkpoint *c)
{
  if (!c)
    return;
  buf_release (&c->log);
  buf_release (&c->object);
  free (c);
}
