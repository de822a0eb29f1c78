/* SPDX-License-Identifier: Apache-2.0 */
/* Merging the small packs of fsync groups before the seal (ruling 10): sealed chunks are copied
 * unopened. */
#define LOG_MODULE "merge"
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/file.h"
#include "snapshot/snap.h"
#include "snapshot/tree_build_priv.h"

#define SMALL_PACK (4u << 20)
#define LOADED_MAX (12u << 20) /* bytes of packs held at once, and one more */
#define LOADERS 16
#define WORTH_IT 4 /* so many small packs are no burden */

struct merging {
  struct snap *snap;
  struct map small;  /* pack number -> 1 + position in packs */
  struct small_pack {
    struct pool_job job; /* first */
    struct merging *merging;
    int rc;
    uint32_t no;
    struct buf bytes; /* the whole pack, loaded when first needed */
  } *packs;
  size_t count, cap;
  struct map seen;   /* pack number + 1 -> 1 small, 2 not */
  struct map moved;  /* hash of (pack, off) -> position in refs */
  struct chunk_ref *refs; /* pairs: from, to */
  size_t ref_count, ref_cap;
  struct inode *inode;
  struct buf changes; /* offsets to rewrite */
};

static int
add_small (struct merging *m, uint32_t no)
{
  if (m->count == m->cap) {
    size_t cap = m->cap ? m->cap * 2 : 64;
    void *more = realloc (m->packs, cap * sizeof *m->packs);
    if (!more)
      return ERR_NOMEM;
    m->packs = more;
    m->cap = cap;
  }
  m->packs[m->count] = (struct small_pack){ .no = no };
  buf_init (&m->packs[m->count].bytes, SMALL_PACK);
  m->count++;
  return map_set (&m->small, (uint64_t) no + 1, m->count);
}

/* Own packs of this session below the limit. */
static int
look_at (void *ctx, const struct mapped *x)
{
  struct merging *m = ctx;
  uint64_t known;
  if (x->e.kind != EXTENT_DATA || map_get (&m->seen, (uint64_t) x->e.ref.pack + 1, &known))
    return 0;
  uint64_t size = index_pack_size (m->snap->vault->index, x->e.ref.pack);
  bool is_small = size && size < SMALL_PACK
    && index_pack_is_own (m->snap->vault->index, x->e.ref.pack);
  int rc = map_set (&m->seen, (uint64_t) x->e.ref.pack + 1, is_small ? 1 : 2);
  return rc == 0 && is_small ? add_small (m, x->e.ref.pack) : rc;
}

static int
load_one (struct merging *m, struct small_pack *p)
{
  uint8_t name[PACK_NAME_LEN];
  int rc = index_pack_name (m->snap->vault->index, p->no, name);
  char hex[65], key[BLOB_KEY_MAX];
  hex_encode (name, PACK_NAME_LEN, hex);
  snprintf (key, sizeof key, "vaults/%s/packs/%.2s/%s", m->snap->vault->name, hex, hex);
  if (rc == 0)
    rc = blob_get_all (m->snap->vault->region->blob, key, &p->bytes);
  uint8_t sha[32];
  if (rc == 0) {
    sha256_once (p->bytes.data, p->bytes.len, sha);
    rc = memcmp (sha, name, PACK_NAME_LEN) == 0 ? 0 : ERR_FORMAT;
  }
  return rc;
}

static void
load_run (struct pool_job *job)
{
  struct small_pack *p = (struct small_pack *) job;
  p->rc = load_one (p->merging, p);
}

/* P and those after it, as they will be wanted: many at a time, because each is a round trip. */
static int
load (struct merging *m, struct small_pack *p)
{
  if (p->bytes.len)
    return 0;
  for (size_t k = 0; k < m->count; k++)
    buf_release (&m->packs[k].bytes);
  AUTO (pool) pool = NULL;
  int rc = pool_new ("merge", LOADERS, 0, &pool);
  if (rc)
    return rc;
  size_t loaded = 0, first = (size_t) (p - m->packs), end = first;
  while (end < m->count && loaded < LOADED_MAX) {
    struct small_pack *q = &m->packs[end++];
    loaded += index_pack_size (m->snap->vault->index, q->no);
    q->job.run = load_run;
    q->merging = m;
    pool_submit (pool, &q->job);
  }
  pool_free (STEAL (pool)); /* runs them all */
  for (size_t k = first; rc == 0 && k < end; k++)
    rc = m->packs[k].rc;
  return rc;
}

static int
move_chunk (struct merging *m, struct small_pack *p, struct chunk_ref *ref)
{
  uint64_t key = ((uint64_t) ref->pack + 1) << 32 | ref->off, at;
  if (map_get (&m->moved, key, &at)) {
    *ref = m->refs[at];
    return 0;
  }
  int rc = load (m, p);
  if (rc)
    return rc;
  struct frame f;
  if ((uint64_t) ref->off + ref->sealed_len > p->bytes.len)
    return ERR_FORMAT;
  rc = frame_decode (p->bytes.data + ref->off, ref->sealed_len, &f);
  if (rc == 0)
    rc = pipe_copy_sealed (m->snap->vault->pipe, &m->snap->dep, UNIT_DATA, f.codec,
                           p->bytes.data + ref->off, ref);
  if (rc)
    return rc;
  if (m->ref_count == m->ref_cap) {
    size_t cap = m->ref_cap ? m->ref_cap * 2 : 256;
    struct chunk_ref *more = realloc (m->refs, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    m->refs = more;
    m->ref_cap = cap;
  }
  m->refs[m->ref_count] = *ref;
  return map_set (&m->moved, key, m->ref_count++);
}

static int
note_change (void *ctx, const struct mapped *x)
{
  struct merging *m = ctx;
  uint64_t at;
  if (x->e.kind == EXTENT_DATA && map_get (&m->small, (uint64_t) x->e.ref.pack + 1, &at))
    buf_put_u64 (&m->changes, x->off);
  return buf_error (&m->changes);
}

static int
merge_inode (struct merging *m, struct inode *i)
{
  struct worktree *t = m->snap->tree;
  buf_reset (&m->changes);
  lock_take (&t->lock);
  int rc = extmap_walk (&i->map, note_change, m);
  lock_release (&t->lock);
  for (size_t k = 0; rc == 0 && k < m->changes.len; k += 8) {
    struct mapped x;
    uint64_t at;
    lock_take (&t->lock);
    rc = extmap_get (&i->map, get_le64 (m->changes.data + k), &x);
    lock_release (&t->lock);
    if (rc || !map_get (&m->small, (uint64_t) x.e.ref.pack + 1, &at))
      continue;
    rc = move_chunk (m, &m->packs[at - 1], &x.e.ref);
    if (rc)
      break;
    LOCK_SCOPE (&t->lock);
    rc = extmap_set (&i->map, x.off, &x.e);
    inode_touch_locked (i);
  }
  return rc;
}

/* Every file of the tree. */
static int
each_file (struct merging *m, int (*fn) (struct merging *m, struct inode *i))
{
  struct worktree *t = m->snap->tree;
  for (uint64_t ino = WORKTREE_ROOT; ino < t->next_ino; ino++) {
    struct inode *i;
    int rc = worktree_get (t, ino, &i);
    if (rc == ERR_NOENT)
      continue;
    if (rc)
      return rc;
    rc = i->a.kind == NODE_FILE && i->map.count ? fn (m, i) : 0;
    worktree_put (i);
    if (rc)
      return rc;
  }
  return 0;
}

static int
scan_inode (struct merging *m, struct inode *i)
{
  LOCK_SCOPE (&i->tree->lock);
  return extmap_walk (&i->map, look_at, m);
}

int
snap_merge_packs (struct snap *s)
{
  if (!s->had_commits)
    return 0; /* without fsyncs no pack is small but the last ones */
  struct merging m = { .snap = s };
  buf_init (&m.changes, 64u << 20);
  int rc = pipe_wait_durable (s->vault->pipe, &s->dep, pipe_close_packs (s->vault->pipe, false));
  if (rc == 0)
    rc = each_file (&m, scan_inode);
  if (rc == 0 && m.count > WORTH_IT) {
    log_info ("merging small packs vault=%s snapshot=%s packs=%zu", s->vault->name, s->name.ts,
              m.count);
    rc = each_file (&m, merge_inode);
  }
  for (size_t k = 0; k < m.count; k++)
    buf_release (&m.packs[k].bytes);
  free (m.packs);
  map_release (&m.small);
  map_release (&m.seen);
  map_release (&m.moved);
  free (m.refs);
  buf_release (&m.changes);
  return rc;
}
