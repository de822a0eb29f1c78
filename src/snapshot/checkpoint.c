/* SPDX-License-Identifier: Apache-2.0 */
/* Writing checkpoints: what changed since the last one, as far as it is placed. */
#define LOG_MODULE "checkpoint"
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/snap.h"
#include "snapshot/tree_build_priv.h"

#define CHECKPOINT_TARGET (32u << 20)

struct writing {
  struct snap *snap;
  struct checkpoint_head head;
  struct buf records;
  struct pack_table named; /* packs of this delta */
  struct inode *inode;
  uint64_t limit;          /* bytes of the file that may be named */
  bool is_partial;         /* something of the present segment could not be */
};

static int
note_pack (struct writing *w, uint32_t no, const uint8_t name[PACK_NAME_LEN])
{
  uint32_t at;
  struct pack_table *t = index_pack_is_own (w->snap->vault->index, no) ? &w->head.own
    : &w->head.pins;
  return pack_table_intern (t, name, &at);
}

/* An earlier checkpoint may have told of extents that are gone: the whole range is cleared
 * first. */
static void
put_cleared (struct writing *w, uint64_t start, uint64_t end)
{
  struct pack_table none = { 0 };
  struct extent hole = { .kind = EXTENT_HOLE, .len = (end < INT64_MAX ? end : INT64_MAX) - start };
  checkpoint_extents_put (&w->records, w->inode->ino, start, &none, &hole, 1);
}

/* One segment's extents that are placed in packs with names; runs without gaps become a record
 * each. */
static int
put_segment (void *ctx, const struct segment *s, uint64_t end)
{
  struct writing *w = ctx;
  put_cleared (w, s->start, end);
  struct extent run[SEG_MAX];
  struct pack_table packs = { 0 };
  uint32_t n = 0;
  uint64_t start = 0, at = 0;
  int rc = 0;
  for (uint32_t i = 0; rc == 0 && i <= s->count; i++) {
    const struct mapped *x = i < s->count ? &s->at[i] : NULL;
    if (n && (!x || x->off != at)) {
      checkpoint_extents_put (&w->records, w->inode->ino, start, &packs, run, n);
      pack_table_reset (&packs);
      n = 0;
    }
    if (!x || x->off >= w->limit)
      continue;
    struct extent e = x->e;
    if (e.kind == EXTENT_FLYING) {
      w->is_partial = true;
      continue;
    }
    if (e.kind == EXTENT_DATA) {
      uint8_t name[PACK_NAME_LEN];
      rc = pack_name_of (w->snap, e.ref.pack, name);
      if (rc == ERR_STATE) { /* in a pack still being filled: next time */
        w->is_partial = true;
        rc = 0;
        continue;
      }
      if (rc == 0)
        rc = note_pack (w, e.ref.pack, name);
      if (rc == 0)
        rc = pack_table_intern (&packs, name, &e.ref.pack);
      if (rc)
        break;
    }
    if (n == 0)
      start = x->off;
    at = x->off + e.len;
    run[n++] = e;
  }
  pack_table_release (&packs);
  return rc ? rc : buf_error (&w->records);
}

struct least {
  struct writing *w;
  uint64_t off;
};

/* Where the first extent lies that cannot be named yet. */
static int
find_unnamed (void *ctx, const struct mapped *x)
{
  struct least *l = ctx;
  uint8_t name[PACK_NAME_LEN];
  if (x->e.kind == EXTENT_FLYING
      || (x->e.kind == EXTENT_DATA
          && pack_name_of (l->w->snap, x->e.ref.pack, name) == ERR_STATE)) {
    l->off = x->off;
    return 1;
  }
  return 0;
}

static int
put_node (struct writing *w, uint64_t ino)
{
  struct worktree *t = w->snap->tree;
  struct inode *i;
  if (worktree_get (t, ino, &i) != 0)
    return 0; /* gone again */
  uint64_t unplaced = filedata_unplaced (i);
  lock_take (&t->lock);
  int rc = 0;
  struct node_attr a;
  inode_attr_encode_view (i, &a);
  i->is_logged = false;
  w->inode = i;
  w->limit = unplaced;
  w->is_partial = unplaced < i->a.size;
  if (i->a.kind == NODE_FILE && i->map.count) {
    struct least l = { .w = w, .off = UINT64_MAX };
    rc = extmap_walk_changed (&i->map, find_unnamed, &l);
    rc = rc > 0 ? 0 : rc;
    if (l.off < w->limit)
      w->limit = l.off;
  }
  /* What cannot be named yet is not there: a shorter file, never zeros. */
  if (w->limit < a.size) {
    a.size = w->limit;
    w->is_partial = true;
  }
  if (rc == 0 && !i->is_removed) {
    checkpoint_node_put (&w->records, ino, &a);
    rc = extmap_changed (&i->map, put_segment, w);
  }
  if (w->is_partial) {
    extmap_mark_all_changed (&i->map);
    inode_touch_locked (i);
  }
  lock_release (&t->lock);
  worktree_put (i);
  return rc ? rc : buf_error (&w->records);
}

static int
put_name (struct writing *w, struct rd *r)
{
  uint64_t dir = rd_varint (r), ino = 0;
  size_t n;
  const uint8_t *name = rd_bytes (r, TREE_NAME_MAX, &n);
  if (r->failed)
    return ERR_STATE;
  int kind;
  struct worktree *t = w->snap->tree;
  lock_take (&t->lock);
  int rc = wtdb_name_get (t->db, dir, name, n, &ino, &kind);
  lock_release (&t->lock);
  if (rc && rc != ERR_NOENT)
    return rc;
  checkpoint_entry_put (&w->records, dir, name, n, rc ? 0 : ino);
  return buf_error (&w->records);
}

/* Nodes first, then names, so that a replay never meets a name of an unknown node. */
static int
put_log (struct writing *w, const struct buf *log)
{
  for (int pass = 0; pass < 2; pass++) {
    struct rd r = rd_of (log->data, log->len);
    while (rd_left (&r)) {
      uint8_t type = rd_u8 (&r);
      int rc = 0;
      if (type == LOG_NAME && pass == 1)
        rc = put_name (w, &r);
      else if (type == LOG_NAME) {
        size_t n;
        (void) rd_varint (&r);
        (void) rd_bytes (&r, TREE_NAME_MAX, &n);
      } else {
        uint64_t ino = rd_varint (&r);
        if (type == LOG_NODE && pass == 0)
          rc = put_node (w, ino);
        else if (type == LOG_GONE && pass == 1)
          checkpoint_removed_put (&w->records, ino);
      }
      if (rc || r.failed)
        return rc ? rc : ERR_STATE;
    }
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

static int
seal_and_put (struct writing *w, const char *seq)
{
  struct snap *s = w->snap;
  struct vault *v = s->vault;
  AUTO_BUF plain, object;
  buf_init (&plain, unit_plain_max (UNIT_CHECKPOINT));
  buf_init (&object, plain.max + 4096);
  AUTO (sealer) sealer = NULL;
  int rc = checkpoint_head_put (&plain, &w->head);
  buf_put (&plain, w->records.data, w->records.len);
  if (rc == 0)
    rc = buf_error (&plain);
  if (rc == 0)
    rc = sealer_new (&sealer);
  uint8_t id[ID_LEN];
  unit_id_checkpoint (v->keys, s->name.ts, s->part, seq, id);
  object_header_put (&object, MAGIC_CHECKPOINT);
  if (rc == 0)
    rc = seal_unit (sealer, v->keys, UNIT_CHECKPOINT, id, plain.data, plain.len, 1, &object);
  char key[BLOB_KEY_MAX];
  snprintf (key, sizeof key, "vaults/%s/open/%s/%s/%s", v->name, s->name.ts, s->part, seq);
  return rc ? rc : blob_put (v->region->blob, key, object.data, object.len, NULL);
}

/* The log goes back in front of what was added meanwhile. */
static void
restore_log (struct worktree *t, struct buf *log)
{
  LOCK_SCOPE (&t->lock);
  buf_put (log, t->log.data, t->log.len);
  if (log->error)
    t->error = ERR_LIMIT;
  struct buf newer = t->log;
  t->log = *log;
  *log = newer;
}

int
checkpoint_write (struct snap *s, unsigned flags)
{
  struct worktree *t = s->tree;
  struct mount *m = s->mount;
  struct writing w = { .snap = s };
  w.head.flags = (uint8_t) flags;
  w.head.time = clock_wall ();
  memcpy (w.head.host_id, m->host_id, sizeof w.head.host_id);
  snprintf (w.head.host, sizeof w.head.host, "%s", m->host);
  (void) hex_decode (pipe_session (s->vault->pipe), 8, w.head.session);
  buf_init (&w.records, CHECKPOINT_TARGET * 2);
  lock_take (&t->lock);
  struct buf log = t->log;
  buf_init (&t->log, CHANGELOG_MAX);
  lock_release (&t->lock);
  uint32_t upto = 0;
  int rc = t->error;
  if (rc == 0)
    rc = put_pins (&w, &upto);
  if (rc == 0)
    rc = put_log (&w, &log);
  lock_take (&s->lock);
  for (size_t i = 0; rc == 0 && i < s->meta_count; i++)
    checkpoint_meta_put (&w.records, s->meta[i].key, s->meta[i].value, strlen (s->meta[i].value));
  uint32_t seq = ++s->seq;
  lock_release (&s->lock);
  char name[16];
  snprintf (name, sizeof name, "%010u", seq);
  if (rc == 0)
    rc = seal_and_put (&w, name);
  if (rc)
    restore_log (t, &log);
  else {
    LOCK_SCOPE (&s->lock);
    s->pins_named = upto;
    s->last_checkpoint = clock_now ();
  }
  if (rc)
    log_err ("a checkpoint could not be written vault=%s snapshot=%s err=\"%s\": what was written "
             "since the"
             " last one is not durable yet", s->vault->name, s->name.ts, err_str (rc));
  buf_release (&log);
  buf_release (&w.records);
  checkpoint_head_release (&w.head);
  return rc;
}
