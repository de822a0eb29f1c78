/* SPDX-License-Identifier: Apache-2.0 */
/* The inode cache; names are in worktree_names.c, xattrs in worktree_xattr.c. */
#define LOG_MODULE "worktree"
#include "snapshot/worktree.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/file.h"

#define ROW_MAX (TREE_XATTRS_MAX + TREE_SYMLINK_MAX + SEG_INLINE * 128 + 4096)

struct node_time
time_now (void)
{
  int64_t ns = clock_wall ();
  return (struct node_time){ .sec = ns / NS_PER_S, .nsec = (uint32_t) (ns % NS_PER_S) };
}

static int
seg_load (void *ctx, uint64_t start, struct buf *out)
{
  struct inode *i = ctx;
  return wtdb_seg_load (i->tree->db, i->ino, start, out);
}

static int
seg_save (void *ctx, uint64_t start, const void *data, size_t n)
{
  struct inode *i = ctx;
  struct rd r = rd_of (data, n);
  return wtdb_seg_save (i->tree->db, i->ino, start, (uint32_t) rd_varint (&r), data, n);
}

static int
seg_erase (void *ctx, uint64_t start)
{
  struct inode *i = ctx;
  return wtdb_seg_erase (i->tree->db, i->ino, start);
}

int
worktree_new (const char *dir, struct worktree **out)
{
  AUTO (worktree) t = calloc (1, sizeof *t);
  if (!t)
    return ERR_NOMEM;
  lock_init (&t->lock, LOCK_TREE, "worktree");
  buf_init (&t->log, CHANGELOG_MAX);
  buf_init (&t->odd, 64u << 20);
  t->hash_size = 4096;
  t->hash = calloc (t->hash_size, sizeof *t->hash);
  t->next_ino = WORKTREE_ROOT + 1;
  if (!t->hash)
    return ERR_NOMEM;
  int rc = wtdb_open (dir, &t->db);
  if (rc)
    return rc;
  struct node_attr attr = node_attr_of (NODE_DIR, 0755, 0, 0);
  rc = worktree_replay_node (t, WORKTREE_ROOT, &attr);
  if (rc)
    return rc;
  *out = STEAL (t);
  return 0;
}

static void
inode_free (struct inode *i)
{
  extmap_release (&i->map);
  lock_destroy (&i->data_lock);
  free (i->symlink);
  free (i->xattrs);
  free (i->sha256);
  free (i->tmp_class);
  free (i);
}

void
worktree_free (struct worktree *t)
{
  if (!t)
    return;
  for (size_t b = 0; t->hash && b < t->hash_size; b++)
    for (struct inode *i = t->hash[b], *next; i; i = next) {
      next = i->hash_next;
      inode_free (i);
    }
  free (t->hash);
  wtdb_free (t->db);
  buf_release (&t->log);
  buf_release (&t->odd);
  lock_destroy (&t->lock);
  free (t);
}

static struct inode **
bucket (struct worktree *t, uint64_t ino)
{
  return &t->hash[(ino * 0x9e3779b97f4a7c15ull >> 32) % t->hash_size];
}

static void
lru_remove (struct inode *i)
{
  struct worktree *t = i->tree;
  *(i->older ? &i->older->newer : &t->oldest) = i->newer;
  *(i->newer ? &i->newer->older : &t->newest) = i->older;
  i->older = i->newer = NULL;
  t->cached--;
}

static void
lru_add (struct inode *i)
{
  struct worktree *t = i->tree;
  i->older = t->newest;
  i->newer = NULL;
  *(t->newest ? &t->newest->newer : &t->oldest) = i;
  t->newest = i;
  t->cached++;
}

static void
hash_remove (struct inode *i)
{
  for (struct inode **at = bucket (i->tree, i->ino); *at; at = &(*at)->hash_next)
    if (*at == i) {
      *at = i->hash_next;
      i->tree->count--;
      return;
    }
}

/* The attributes with views set, as the encoder wants them. */
void
inode_attr_encode_view (const struct inode *i, struct node_attr *out)
{
  *out = i->a;
  out->symlink = i->symlink;
  out->xattrs = i->xattrs;
  out->extents = NULL;
  out->ext_count = 0;
  out->extents_len = 0;
  out->is_external = false;
  out->sha256 = NULL;
  out->child_count = out->subdir_count = 0;
  out->child_delta = 0;
}

int
inode_write_locked (struct inode *i)
{
  AUTO_BUF b;
  buf_init (&b, ROW_MAX);
  bool is_inline = extmap_is_inline (&i->map);
  int rc = is_inline ? 0 : extmap_flush (&i->map, false);
  if (rc)
    return rc;
  struct node_attr a;
  inode_attr_encode_view (i, &a);
  buf_put_varint (&b, i->subdirs);
  buf_put_svarint (&b, i->ctime.sec);
  buf_put_varint (&b, i->ctime.nsec);
  buf_put_varint (&b, i->durable);
  buf_put_varint (&b, i->told);
  for (unsigned k = 0; k < CHECKPOINTS_FLYING; k++)
    buf_put_varint (&b, i->told_by[k]);
  buf_put_u8 (&b, extmap_is_changed (&i->map));
  rc = node_attr_encode (&a, &b);
  if (rc)
    return rc;
  buf_put_u8 (&b, i->sha256 != NULL);
  if (i->sha256)
    buf_put (&b, i->sha256, 32);
  buf_put_u8 (&b, is_inline && i->map.count);
  if (is_inline && i->map.count)
    rc = segment_encode (&i->map.segs[0], &b);
  if (rc == 0)
    rc = buf_error (&b);
  if (rc == 0)
    rc = wtdb_node_put (i->tree->db, i->ino, b.data, b.len);
  if (rc == 0)
    i->is_dirty = false;
  return rc;
}

static void
evict_locked (struct worktree *t)
{
  while (t->cached > WORKTREE_CACHED) {
    struct inode *i = t->oldest;
    lru_remove (i);
    if (i->is_dirty) {
      int rc = inode_write_locked (i);
      if (rc) { /* cannot be written: keep it in memory, remember */
        t->error = t->error ? t->error : rc;
        lru_add (i);
        return;
      }
    }
    hash_remove (i);
    inode_free (i);
  }
}

void
inode_set_sha_locked (struct inode *i, const uint8_t sha[32])
{
  if (!sha) {
    free (STEAL (i->sha256));
    return;
  }
  if (!i->sha256)
    i->sha256 = malloc (32);
  if (i->sha256) /* else it is not known */
    memcpy (i->sha256, sha, 32);
}

static int
set_views (struct inode *i, const struct node_attr *a)
{
  uint8_t *symlink = NULL, *xattrs = NULL;
  if (a->kind == NODE_SYMLINK && a->size) {
    symlink = malloc (a->size);
    if (!symlink)
      return ERR_NOMEM;
    memcpy (symlink, a->symlink, a->size);
  }
  if (a->xattrs_len) {
    xattrs = malloc (a->xattrs_len);
    if (!xattrs) {
      free (symlink);
      return ERR_NOMEM;
    }
    memcpy (xattrs, a->xattrs, a->xattrs_len);
  }
  free (i->symlink);
  free (i->xattrs);
  i->symlink = symlink;
  i->xattrs = xattrs;
  i->a = *a;
  i->a.symlink = symlink;
  i->a.xattrs = xattrs;
  i->a.sha256 = NULL;
  inode_set_sha_locked (i, a->sha256);
  return 0;
}

void
inode_cut_locked (struct inode *i, uint64_t size)
{
  lock_assert_held (&i->tree->lock);
  i->durable = size < i->durable ? size : i->durable;
  i->told = size < i->told ? size : i->told;
  for (unsigned k = 0; k < CHECKPOINTS_FLYING; k++)
    if (i->told_by[k] != NOT_TOLD && size < i->told_by[k])
      i->told_by[k] = size;
}

static struct inode *
inode_new (struct worktree *t, uint64_t ino)
{
  struct inode *i = calloc (1, sizeof *i);
  if (!i)
    return NULL;
  i->tree = t;
  i->ino = ino;
  i->segs = (struct seg_store){ .ctx = i, .held = &t->held, .load = seg_load, .save = seg_save,
                                .erase = seg_erase };
  extmap_init (&i->map, &i->segs);
  lock_init (&i->data_lock, LOCK_FILE, "file");
  return i;
}

static int
add_segment (void *ctx, uint64_t start, uint32_t count)
{
  return extmap_add_stored (ctx, start, count);
}

static int
inode_decode (struct inode *i, const struct buf *row)
{
  struct rd r = rd_of (row->data, row->len);
  i->subdirs = (uint32_t) rd_varint (&r);
  i->ctime.sec = rd_svarint (&r);
  i->ctime.nsec = (uint32_t) rd_varint (&r);
  i->durable = rd_varint (&r);
  i->told = rd_varint (&r);
  for (unsigned k = 0; k < CHECKPOINTS_FLYING; k++)
    i->told_by[k] = rd_varint (&r);
  bool is_changed = rd_u8 (&r);
  struct node_attr a;
  int rc = node_attr_decode (&r, &a);
  if (rc == 0)
    rc = set_views (i, &a);
  if (rc)
    return rc;
  if (rd_u8 (&r)) {
    const uint8_t *sha = rd_take (&r, 32);
    if (!sha)
      return ERR_IO;
    inode_set_sha_locked (i, sha);
  }
  if (rd_u8 (&r)) {
    rc = extmap_load_inline (&i->map, &r);
    if (rc == 0)
      i->map.segs[0].is_changed = is_changed;
    return rc;
  }
  rc = i->a.kind == NODE_FILE ? wtdb_segs (i->tree->db, i->ino, add_segment, &i->map) : 0;
  /* Which of them changed was forgotten with the inode: all of them count as changed. */
  if (is_changed)
    extmap_mark_all_changed (&i->map);
  return rc;
}

static void
insert_locked (struct inode *i)
{
  struct worktree *t = i->tree;
  struct inode **at = bucket (t, i->ino);
  i->hash_next = *at;
  *at = i;
  t->count++;
}

enum presence
worktree_presence (struct worktree *t, uint64_t ino)
{
  LOCK_SCOPE (&t->lock);
  for (struct inode *i = *bucket (t, ino); i; i = i->hash_next)
    if (i->ino == ino)
      return i->is_removed ? REMOVED_SINCE : PRESENT;
  AUTO_BUF row; /* a removed node is in memory until it is forgotten */
  buf_init (&row, ROW_MAX);
  return wtdb_node_get (t->db, ino, &row) == 0 ? PRESENT : GONE;
}

int
inode_get_locked (struct worktree *t, uint64_t ino, struct inode **out)
{
  lock_assert_held (&t->lock);
  for (struct inode *i = *bucket (t, ino); i; i = i->hash_next)
    if (i->ino == ino) {
      if (i->pins++ == 0)
        lru_remove (i);
      *out = i;
      return 0;
    }
  AUTO_BUF row;
  buf_init (&row, ROW_MAX);
  int rc = wtdb_node_get (t->db, ino, &row);
  if (rc)
    return rc;
  struct inode *i = inode_new (t, ino);
  if (!i)
    return ERR_NOMEM;
  rc = inode_decode (i, &row);
  if (rc) {
    inode_free (i);
    return rc;
  }
  insert_locked (i);
  i->pins = 1;
  *out = i;
  return 0;
}

static void
remove_for_good_locked (struct inode *i)
{
  struct worktree *t = i->tree;
  log_gone_locked (t, i->ino);
  (void) !wtdb_node_del (t->db, i->ino); /* a row nobody names does no harm */
  (void) !wtdb_segs_drop (t->db, i->ino);
  if (i->a.kind == NODE_DIR)
    t->dirs--;
  else
    t->files--;
  hash_remove (i);
  inode_free (i);
}

void
inode_put_locked (struct inode *i)
{
  struct worktree *t = i->tree;
  lock_assert_held (&t->lock);
  if (--i->pins)
    return;
  if (i->is_removed && t->is_told && t->doomed_count < DOOMED_MAX) {
    i->pins = 1;
    i->newer = t->doomed;
    t->doomed = i;
    t->doomed_count++;
    return;
  }
  if (i->is_removed) {
    remove_for_good_locked (i);
    return;
  }
  /* Nodes without extents of their own are cheap to keep, extents are not.  Where they cannot be
   * written they stay: the eviction of the node tries again, and says so. */
  if (!extmap_is_inline (&i->map))
    (void) !extmap_flush (&i->map, true);
  lru_add (i);
  evict_locked (t);
}

int
worktree_get (struct worktree *t, uint64_t ino, struct inode **out)
{
  LOCK_SCOPE (&t->lock);
  return inode_get_locked (t, ino, out);
}

void
worktree_put (struct inode *i)
{
  struct worktree *t = i->tree;
  lock_take (&t->lock);
  inode_put_locked (i);
  lock_release (&t->lock);
}

void
inode_stat_locked (const struct inode *i, struct node_stat *out)
{
  memset (out, 0, sizeof *out);
  out->attr = i->a;
  out->attr.symlink = NULL;
  out->attr.xattrs = NULL;
  if (i->a.kind == NODE_DIR) {
    out->attr.nlink = 2 + i->subdirs;
    out->attr.size = 4096;
  }
  out->ctime = i->ctime;
  out->has_xattrs = i->a.xattrs_len > 0;
  out->blocks = i->a.kind == NODE_FILE ? (i->a.size + 511) / 512 : 0;
}

void
inode_stat (struct inode *i, struct node_stat *out)
{
  LOCK_SCOPE (&i->tree->lock);
  inode_stat_locked (i, out);
}

int
worktree_make (struct worktree *t, uint64_t dir, const char *name, const struct node_attr *attr,
               struct inode **out)
{
  LOCK_SCOPE (&t->lock);
  if (t->error)
    return t->error;
  if (name) {
    if (strlen (name) > TREE_NAME_MAX)
      return ERR_NAMETOOLONG;
    uint64_t old;
    int kind;
    int rc = wtdb_name_get (t->db, dir, name, strlen (name), &old, &kind);
    if (rc != ERR_NOENT)
      return rc ? rc : ERR_EXISTS;
  }
  struct inode *parent = NULL;
  if (name) {
    int rc = inode_get_locked (t, dir, &parent);
    if (rc)
      return rc;
  }
  struct inode *i = inode_new (t, t->next_ino);
  int rc = i ? set_views (i, attr) : ERR_NOMEM;
  if (rc == 0 && name && parent->is_removed)
    rc = ERR_NOENT;
  if (rc == 0 && name)
    rc = wtdb_name_put (t->db, dir, name, strlen (name), i->ino, attr->kind);
  if (rc) {
    if (i)
      inode_free (i);
    if (parent)
      inode_put_locked (parent);
    return rc;
  }
  t->next_ino++;
  i->ctime = attr->mtime;
  i->pins = 1;
  i->is_removed = !name;
  if (!name)
    i->a.nlink = 0;
  insert_locked (i);
  *(attr->kind == NODE_DIR ? &t->dirs : &t->files) += 1;
  inode_touch_locked (i);
  if (name) {
    i->tmp_class = strdup (name); /* without it the class is decided by content alone */
    log_name_locked (t, dir, name, strlen (name), i->ino, false);
    parent->a.mtime = parent->ctime = attr->mtime;
    parent->subdirs += attr->kind == NODE_DIR;
    inode_touch_locked (parent);
    inode_put_locked (parent);
  }
  *out = i;
  return 0;
}

int
worktree_replay_node (struct worktree *t, uint64_t ino, const struct node_attr *attr)
{
  LOCK_SCOPE (&t->lock);
  struct inode *i = NULL;
  int rc = inode_get_locked (t, ino, &i);
  if (rc == ERR_NOENT) {
    i = inode_new (t, ino);
    if (!i)
      return ERR_NOMEM;
    i->pins = 1;
    insert_locked (i);
    *(attr->kind == NODE_DIR ? &t->dirs : &t->files) += 1;
    rc = 0;
  }
  if (rc)
    return rc;
  rc = set_views (i, attr);
  i->ctime = attr->mtime;
  i->is_dirty = true;
  i->durable = i->told = attr->size;
  if (attr->kind != NODE_DIR && attr->nlink != 1)
    buf_put_u64 (&t->odd, ino);
  if (ino >= t->next_ino)
    t->next_ino = ino + 1;
  if (rc == 0 && attr->kind == NODE_FILE)
    rc = extmap_truncate (&i->map, attr->size);
  inode_put_locked (i);
  return rc;
}

int
worktree_replay_removed (struct worktree *t, uint64_t ino)
{
  LOCK_SCOPE (&t->lock);
  struct inode *i;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc == ERR_NOENT ? 0 : rc;
  i->is_removed = true;
  inode_put_locked (i);
  return 0;
}
