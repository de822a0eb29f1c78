/* SPDX-License-Identifier: Apache-2.0 */
/* Extent pages: level 0 of every long file first, then level by level until each has one root. */
#define LOG_MODULE "seal"
#include <string.h>

#include "snapshot/tree_build_priv.h"

#define PAGE_MIN 512
#define KIDS_MAX 1024

/* Decides from the map alone, with the tree's lock: a file with holes between may need one extent
 * more each. */
static bool
is_long (const struct inode *i)
{
  return extmap_count (&i->map) > TREE_INLINE_EXTENTS / 2;
}

int
external_note (struct builder *b, uint64_t ino)
{
  struct worktree *t = b->tree;
  uint64_t known;
  LOCK_SCOPE (&t->lock);
  struct inode *i;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc;
  bool wanted = is_long (i) && !map_get (&b->externals, ino, &known);
  inode_put_locked (i);
  if (!wanted)
    return 0;
  if (b->file_count == b->file_cap) {
    size_t cap = b->file_cap ? b->file_cap * 2 : 16;
    struct external *more = realloc (b->files, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    b->files = more;
    b->file_cap = cap;
  }
  b->files[b->file_count] = (struct external){ .ino = ino };
  return map_set (&b->externals, ino, b->file_count++);
}

static int
add_kid (struct external_kid **kids, size_t *count, const struct external_kid *kid)
{
  struct external_kid *more = realloc (*kids, (*count + 1) * sizeof *more);
  if (!more)
    return ERR_NOMEM;
  *kids = more;
  more[(*count)++] = *kid;
  return 0;
}

struct leaf {
  struct builder *b;
  struct external *x;
  struct extent_page page;
  struct extent extents[EXTENT_PAGE_MAX_COUNT];
  uint64_t at, size, len;
};

static int
flush_leaf (struct leaf *l)
{
  if (l->page.count == 0)
    return 0;
  AUTO_BUF plain;
  buf_init (&plain, 1 << 20);
  struct external_kid kid = { .len = l->len, .extents = l->page.count };
  int rc = extent_page_encode (&l->page, &plain);
  if (rc == 0)
    rc = meta_push (l->b, UNIT_EXTENT_PAGE, &plain, &kid.slot);
  if (rc == 0)
    rc = add_kid (&l->x->kids, &l->x->count, &kid);
  l->x->extents += l->page.count;
  pack_table_reset (&l->page.packs);
  l->page.count = 0;
  l->len = 0;
  return rc;
}

static int
add (struct leaf *l, const struct extent *e)
{
  l->extents[l->page.count++] = *e;
  l->len += e->len;
  bool may_cut = l->page.count >= PAGE_MIN && e->kind == EXTENT_DATA && e->ref.id[0] == 0;
  return may_cut || l->page.count == EXTENT_PAGE_MAX_COUNT ? flush_leaf (l) : 0;
}

static int
leaf_extent (void *ctx, const struct mapped *x)
{
  struct leaf *l = ctx;
  if (x->off >= l->size)
    return 0;
  int rc = 0;
  if (x->off > l->at) {
    struct extent hole = { .kind = EXTENT_HOLE, .len = x->off - l->at };
    rc = add (l, &hole);
  }
  struct extent e = x->e;
  if (rc == 0 && e.kind == EXTENT_FLYING)
    rc = ERR_STATE;
  if (x->off + e.len > l->size)
    e.len = l->size - x->off;
  l->at = x->off + e.len;
  if (rc == 0 && e.kind == EXTENT_DATA)
    rc = localize (l->b, &l->page.packs, &e.ref);
  return rc ? rc : add (l, &e);
}

static int
build_leaves (struct builder *b, struct external *x)
{
  struct leaf *l = calloc (1, sizeof *l);
  if (!l)
    return ERR_NOMEM;
  l->b = b;
  l->x = x;
  l->page.extents = l->extents;
  struct worktree *t = b->tree;
  lock_take (&t->lock);
  struct inode *i;
  int rc = inode_get_locked (t, x->ino, &i);
  if (rc == 0) {
    l->size = i->a.size;
    rc = extmap_walk (&i->map, leaf_extent, l);
    inode_put_locked (i);
  }
  lock_release (&t->lock);
  if (rc == 0)
    rc = flush_leaf (l);
  pack_table_release (&l->page.packs);
  free (l);
  return rc;
}

/* One more level above the present kids. */
static int
build_level (struct builder *b, struct external *x)
{
  struct external_kid *up = NULL;
  size_t up_count = 0;
  int rc = 0;
  struct extent_page page = { .level = (uint8_t) (x->level + 1) };
  page.children = calloc (KIDS_MAX, sizeof *page.children);
  if (!page.children)
    return ERR_NOMEM;
  for (size_t from = 0; rc == 0 && from < x->count; from += KIDS_MAX) {
    struct external_kid kid = { 0 };
    page.count = 0;
    for (size_t k = from; rc == 0 && k < x->count && k < from + KIDS_MAX; k++) {
      struct extent_child *c = &page.children[page.count++];
      *c = (struct extent_child){ .len = x->kids[k].len, .count = x->kids[k].extents,
                                  .ref = b->slots[x->kids[k].slot] };
      rc = localize (b, &page.packs, &c->ref);
      kid.len += c->len;
      kid.extents += c->count;
    }
    AUTO_BUF plain;
    buf_init (&plain, 1 << 20);
    if (rc == 0)
      rc = extent_page_encode (&page, &plain);
    if (rc == 0)
      rc = meta_push (b, UNIT_EXTENT_PAGE, &plain, &kid.slot);
    if (rc == 0)
      rc = add_kid (&up, &up_count, &kid);
    pack_table_reset (&page.packs);
  }
  free (page.children);
  pack_table_release (&page.packs);
  free (x->kids);
  x->kids = up;
  x->count = up_count;
  x->level++;
  return rc;
}

int
external_build (struct builder *b)
{
  int rc = 0;
  for (size_t k = 0; rc == 0 && k < b->file_count; k++)
    rc = build_leaves (b, &b->files[k]);
  for (bool is_done = b->file_count == 0; rc == 0 && !is_done;) {
    rc = meta_settle (b);
    is_done = true;
    for (size_t k = 0; rc == 0 && k < b->file_count; k++)
      if (b->files[k].count > 1) {
        is_done = false;
        rc = b->files[k].level == EXTENT_LEVEL_MAX ? ERR_LIMIT : build_level (b, &b->files[k]);
      }
  }
  return rc;
}

void
external_release (struct builder *b)
{
  for (size_t k = 0; k < b->file_count; k++)
    free (b->files[k].kids);
  free (b->files);
  map_release (&b->externals);
}
