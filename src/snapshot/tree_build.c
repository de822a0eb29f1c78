/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "seal"
#include "snapshot/tree_build.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/tree_build_priv.h"

#define PAGE_CUT_MIN (24u << 10)
#define PAGE_CUT_MAX (96u << 10)
#define LIST_STEP 1000

/* ---- metadata chunks ---- */

static void
meta_placed (struct pipe_chunk *c, int rc)
{
  struct builder *b = c->ctx;
  if (rc == 0) {
    LOCK_SCOPE (&b->lock);
    b->slots[c->ctx_a] = c->ref;
  }
  pipe_chunk_free (b->snap->mount->line, c);
}

int
meta_push (struct builder *b, int type, const struct buf *plain, size_t *slot)
{
  struct pipeline *line = b->snap->mount->line;
  struct pipe_chunk *c = pipe_chunk_new (line, plain->len);
  if (!c)
    return ERR_NOMEM;
  lock_take (&b->lock);
  if (b->slot_count == b->slot_cap) {
    size_t cap = b->slot_cap ? b->slot_cap * 2 : 64;
    struct chunk_ref *more = realloc (b->slots, cap * sizeof *more);
    if (more) {
      b->slots = more;
      b->slot_cap = cap;
    }
  }
  bool has_room = b->slot_count < b->slot_cap;
  *slot = has_room ? b->slot_count++ : 0;
  lock_release (&b->lock);
  if (!has_room) {
    pipe_chunk_free (line, c);
    return ERR_NOMEM;
  }
  memcpy (c->data, plain->data, plain->len);
  c->len = (uint32_t) plain->len;
  c->crc = crc32c (0, c->data, c->len);
  c->dep = &b->snap->dep;
  c->type = type;
  c->done = meta_placed;
  c->ctx = b;
  c->ctx_a = *slot;
  pipe_push (b->snap->vault->pipe, c);
  return 0;
}

/* Everything pushed so far is placed and its packs have names. */
int
meta_settle (struct builder *b)
{
  struct pipe *pipe = b->snap->vault->pipe;
  int rc = pipe_wait_placed (pipe, &b->snap->dep);
  if (rc)
    return rc;
  return pipe_wait_named (pipe, &b->snap->dep, pipe_close_packs (pipe, true));
}

int
note_use (struct builder *b, uint32_t no, uint64_t bytes)
{
  if (no >= b->use_cap) {
    size_t cap = b->use_cap ? b->use_cap : 64;
    while (cap <= no)
      cap *= 2;
    uint64_t *more = realloc (b->uses, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    memset (more + b->use_cap, 0, (cap - b->use_cap) * sizeof *more);
    b->uses = more;
    b->use_cap = cap;
  }
  b->uses[no] += bytes;
  return 0;
}

/* REF with a vault-wide pack number becomes one with a position in TABLE. */
int
localize (struct builder *b, struct pack_table *table, struct chunk_ref *ref)
{
  uint8_t name[PACK_NAME_LEN];
  int rc = note_use (b, ref->pack, ref->sealed_len);
  if (rc == 0)
    rc = pack_name_of (b->snap, ref->pack, PIPE_ALL, name);
  return rc ? rc : pack_table_intern (table, name, &ref->pack);
}

/* A pack that flies has no name in the index yet, but it has one. */
int
pack_name_of (struct snap *s, uint32_t no, uint64_t ticket, uint8_t name[PACK_NAME_LEN])
{
  int rc = index_pack_name (s->vault->index, no, name);
  if (rc == ERR_STATE)
    rc = pipe_pack_name (s->vault->pipe, no, ticket, name);
  if (rc == ERR_STATE || rc == ERR_MISSING)
    rc = index_pack_name (s->vault->index, no, name);
  return rc;
}

/* ---- rows ---- */

static int
flush_page (struct builder *b)
{
  if (b->page_rows == 0)
    return 0;
  AUTO_BUF page;
  buf_init (&page, TREE_PAGE_MAX);
  int rc = tree_page_encode (&b->packs, &b->rows, b->page_rows, &page);
  size_t slot;
  if (rc == 0)
    rc = meta_push (b, UNIT_TREE_PAGE, &page, &slot);
  if (rc == 0 && b->page_count == b->page_cap) {
    size_t cap = b->page_cap ? b->page_cap * 2 : 64;
    struct page_done *more = realloc (b->pages, cap * sizeof *more);
    if (!more)
      return ERR_NOMEM;
    b->pages = more;
    b->page_cap = cap;
  }
  if (rc == 0)
    b->pages[b->page_count++] = (struct page_done){ .slot = slot, .rows = b->page_rows };
  pack_table_reset (&b->packs);
  buf_reset (&b->rows);
  b->page_rows = 0;
  return rc;
}

/* Memory stays bounded: waits where the pipeline is behind.  No lock is held, so that looking at
 * the snapshot goes on meanwhile. */
static int
wait_for_room (struct builder *b)
{
  int rc = 0;
  while (rc == 0 && pipeline_is_full (b->snap->mount->line))
    if (pipeline_admit (b->snap->mount->line, NS_PER_S) == ERR_CANCELLED)
      rc = ERR_CANCELLED;
    else
      rc = b->snap->dep.error;
  return rc;
}

struct put_extents {
  struct builder *b;
  struct buf out;
  uint64_t count, at, size;
};

static int
put_extent (void *ctx, const struct mapped *x)
{
  struct put_extents *p = ctx;
  struct extent e = x->e;
  if (x->off >= p->size)
    return 0;
  if (x->off > p->at) {
    struct extent hole = { .kind = EXTENT_HOLE, .len = x->off - p->at };
    extent_put (&p->out, &hole);
    p->count++;
  }
  if (e.kind == EXTENT_FLYING)
    return ERR_STATE; /* never: everything was placed */
  if (x->off + e.len > p->size)
    e.len = p->size - x->off;
  if (e.kind == EXTENT_DATA) {
    int rc = localize (p->b, &p->b->packs, &e.ref);
    if (rc)
      return rc;
  }
  extent_put (&p->out, &e);
  p->count++;
  p->at = x->off + e.len;
  return buf_error (&p->out);
}

static int
file_row (struct builder *b, struct inode *i, struct node_attr *a, struct buf *inline_extents)
{
  uint64_t at;
  a->sha256 = i->sha256;
  if (map_get (&b->externals, i->ino, &at) && b->files[at].count) {
    const struct external *x = &b->files[at];
    a->is_external = true;
    a->ext_level = x->level;
    a->ext_count = x->extents;
    a->ext_root = b->slots[x->kids[0].slot];
    return localize (b, &b->packs, &a->ext_root);
  }
  struct put_extents p = { .b = b, .size = i->a.size };
  buf_init (&p.out, 64 << 10);
  int rc = extmap_walk (&i->map, put_extent, &p);
  *inline_extents = p.out;
  a->extents = p.out.data;
  a->extents_len = p.out.len;
  a->ext_count = p.count;
  return rc;
}

static int
put_row (struct builder *b, struct inode *i, const uint8_t *name, size_t n, uint64_t child_first,
         uint64_t child_count)
{
  struct tree_row row = { .name = name, .name_len = n };
  AUTO_BUF extents;
  buf_init (&extents, 0);
  uint64_t target;
  int rc = 0;
  inode_attr_encode_view (i, &row.attr);
  if (i->a.kind != NODE_DIR && i->a.nlink > 1) {
    if (map_get (&b->links, i->ino, &target)) {
      row.attr = (struct node_attr){ .kind = NODE_HARDLINK,
                                     .target_delta = (int64_t) target - (int64_t) b->row };
    } else
      rc = map_set (&b->links, i->ino, b->row);
  }
  if (i->a.kind == NODE_DIR) {
    row.attr.child_delta = child_count ? (int64_t) child_first - (int64_t) b->row : 0;
    row.attr.child_count = child_count;
    row.attr.subdir_count = i->subdirs;
    b->out->dirs++;
  } else if (row.attr.kind != NODE_HARDLINK) {
    b->out->files++;
    b->out->logical += i->a.kind == NODE_FILE ? i->a.size : 0;
  }
  if (rc == 0 && row.attr.kind == NODE_FILE)
    rc = file_row (b, i, &row.attr, &extents);
  if (rc == 0)
    rc = tree_row_encode (&row, &b->rows);
  if (rc)
    return rc;
  b->row++;
  b->page_rows++;
  uint32_t h = 2166136261u;
  for (size_t k = 0; k < n; k++)
    h = (h ^ name[k]) * 16777619u;
  if (b->rows.len >= PAGE_CUT_MAX || (b->rows.len >= PAGE_CUT_MIN && (h >> 8 & 0xff) < 2))
    return flush_page (b);
  return 0;
}

static int
locked_row (struct builder *b, uint64_t ino, const uint8_t *name, size_t n, uint64_t first,
            uint64_t count)
{
  struct worktree *t = b->tree;
  LOCK_SCOPE (&t->lock);
  struct inode *i;
  int rc = inode_get_locked (t, ino, &i);
  if (rc)
    return rc;
  rc = put_row (b, i, name, n, first, count);
  inode_put_locked (i);
  return rc;
}

/* Calls FN for every entry of DIR in order. */
static int
each_entry (struct worktree *t, uint64_t dir,
            int (*fn) (void *ctx, uint64_t ino, int kind, const uint8_t *name, size_t n),
            void *ctx)
{
  uint8_t after[TREE_NAME_MAX];
  size_t after_len = 0;
  AUTO_BUF list;
  buf_init (&list, 1 << 20);
  for (;;) {
    buf_reset (&list);
    int rc = worktree_list (t, dir, after, after_len, LIST_STEP, &list);
    if (rc)
      return rc;
    if (list.len == 0)
      return 0;
    struct rd r = rd_of (list.data, list.len);
    while (rd_left (&r)) {
      uint64_t ino = rd_u64 (&r);
      int kind = rd_u8 (&r);
      size_t n;
      const uint8_t *name = rd_bytes (&r, TREE_NAME_MAX, &n);
      if (r.failed)
        return ERR_FORMAT;
      rc = fn (ctx, ino, kind, name, n);
      if (rc)
        return rc;
      memcpy (after, name, n);
      after_len = n;
    }
  }
}

/* First walk: how many rows lie below a directory, and which files need extent pages. */
struct counting {
  struct builder *b;
  uint64_t children;
  struct buf subdirs; /* u64 */
};

static int
count_entry (void *ctx, uint64_t ino, int kind, const uint8_t *name, size_t n)
{
  (void) name;
  (void) n;
  struct counting *c = ctx;
  c->children++;
  if (kind == NODE_DIR)
    buf_put_u64 (&c->subdirs, ino);
  else if (kind == NODE_FILE)
    return external_note (c->b, ino);
  return buf_error (&c->subdirs);
}

struct frame_dir {
  uint64_t ino, children, below;
  uint8_t *subdirs;
  size_t sub_count, next;
};

static int
push_dir (struct builder *b, struct frame_dir **stack, size_t *depth, size_t *cap, uint64_t ino)
{
  if (*depth == *cap) {
    size_t more = *cap ? *cap * 2 : 32;
    struct frame_dir *p = realloc (*stack, more * sizeof *p);
    if (!p)
      return ERR_NOMEM;
    *stack = p;
    *cap = more;
  }
  struct counting c = { .b = b };
  buf_init (&c.subdirs, 256u << 20);
  int rc = each_entry (b->tree, ino, count_entry, &c);
  if (rc) {
    buf_release (&c.subdirs);
    return rc;
  }
  (*stack)[(*depth)++] = (struct frame_dir){ .ino = ino, .children = c.children,
                                             .below = c.children,
                                             .subdirs = c.subdirs.data,
                                             .sub_count = c.subdirs.len / 8 };
  return 0;
}

static int
count_rows (struct builder *b)
{
  struct frame_dir *stack = NULL;
  size_t depth = 0, cap = 0;
  int rc = push_dir (b, &stack, &depth, &cap, WORKTREE_ROOT);
  while (rc == 0 && depth) {
    struct frame_dir *f = &stack[depth - 1];
    if (f->next < f->sub_count) {
      rc = push_dir (b, &stack, &depth, &cap, get_le64 (f->subdirs + 8 * f->next++));
      continue;
    }
    rc = map_set (&b->children, f->ino, f->children);
    if (rc == 0)
      rc = map_set (&b->below, f->ino, f->below);
    uint64_t below = f->below;
    free (f->subdirs);
    depth--;
    if (depth)
      stack[depth - 1].below += below;
  }
  while (depth)
    free (stack[--depth].subdirs);
  free (stack);
  return rc;
}

/* Second walk: the rows. */
struct emitting {
  struct builder *b;
  uint64_t base;
  struct buf subdirs;
};

static int
emit_entry (void *ctx, uint64_t ino, int kind, const uint8_t *name, size_t n)
{
  struct emitting *e = ctx;
  uint64_t children = 0, below = 0, first = e->base;
  if (kind == NODE_DIR) {
    if (!map_get (&e->b->children, ino, &children) || !map_get (&e->b->below, ino, &below))
      return ERR_STATE;
    e->base += below;
    buf_put_u64 (&e->subdirs, ino);
  }
  int rc = locked_row (e->b, ino, name, n, first, children);
  if (rc == 0)
    rc = wait_for_room (e->b);
  return rc ? rc : buf_error (&e->subdirs);
}

static int
emit_rows (struct builder *b)
{
  uint64_t children = 0;
  (void) map_get (&b->children, WORKTREE_ROOT, &children);
  int rc = locked_row (b, WORKTREE_ROOT, (const uint8_t *) "", 0, 1, children);
  AUTO_BUF stack;
  buf_init (&stack, 256u << 20);
  buf_put_u64 (&stack, WORKTREE_ROOT);
  while (rc == 0 && stack.len) {
    stack.len -= 8;
    uint64_t dir = get_le64 (stack.data + stack.len);
    if (!map_get (&b->children, dir, &children))
      return ERR_STATE;
    struct emitting e = { .b = b, .base = b->row + children };
    buf_init (&e.subdirs, 256u << 20);
    rc = each_entry (b->tree, dir, emit_entry, &e);
    /* reversed: the first comes off the stack first */
    for (size_t k = e.subdirs.len; k >= 8; k -= 8)
      buf_put (&stack, e.subdirs.data + k - 8, 8);
    buf_release (&e.subdirs);
    if (rc == 0)
      rc = buf_error (&stack);
  }
  return rc ? rc : flush_page (b);
}

/* ---- the end: tree index and pack list ---- */

static int
named (struct builder *b, size_t slot, struct named_ref *out)
{
  out->ref = b->slots[slot];
  int rc = note_use (b, out->ref.pack, out->ref.sealed_len);
  return rc ? rc : pack_name_of (b->snap, out->ref.pack, PIPE_ALL, out->pack);
}

static int
put_index (struct builder *b, size_t *slot)
{
  struct tree_index x = { .rows = b->row, .page_count = (uint32_t) b->page_count };
  x.pages = calloc (b->page_count + 1, sizeof *x.pages);
  int rc = x.pages ? 0 : ERR_NOMEM;
  uint64_t row = 0;
  for (size_t k = 0; rc == 0 && k < b->page_count; k++) {
    x.pages[k].first_row = row;
    x.pages[k].rows = b->pages[k].rows;
    x.pages[k].ref = b->slots[b->pages[k].slot];
    row += b->pages[k].rows;
    rc = localize (b, &x.packs, &x.pages[k].ref);
  }
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_TREE_INDEX));
  if (rc == 0)
    rc = tree_index_encode (&x, &plain);
  if (rc == 0 && plain.len > 8u << 20)
    rc = ERR_LIMIT; /* some 20 million rows: the index would need a second level */
  if (rc == 0)
    rc = meta_push (b, UNIT_TREE_INDEX, &plain, slot);
  tree_index_release (&x);
  return rc;
}

static int
by_name (const void *a, const void *b)
{
  return memcmp (((const struct pack_use *) a)->name, ((const struct pack_use *) b)->name,
                 PACK_NAME_LEN);
}

#define LIST_MIN 512
#define LIST_MAX 4096

static int
put_pack_list (struct builder *b, size_t *slots, size_t *count)
{
  size_t n = 0;
  AUTO_MEM struct pack_use *uses = calloc (b->use_cap + 1, sizeof *uses);
  if (!uses)
    return ERR_NOMEM;
  for (size_t no = 0; no < b->use_cap; no++)
    if (b->uses[no]) {
      int rc = pack_name_of (b->snap, (uint32_t) no, PIPE_ALL, uses[n].name);
      if (rc)
        return rc;
      uses[n++].bytes = b->uses[no];
    }
  qsort (uses, n, sizeof *uses, by_name);
  *count = 0;
  for (size_t from = 0; from < n;) {
    size_t to = from;
    while (to < n && to - from < LIST_MAX && !(to - from >= LIST_MIN && uses[to].name[31] == 0))
      to++;
    AUTO_BUF plain;
    buf_init (&plain, 1 << 20);
    int rc = pack_list_encode (uses + from, to - from, &plain);
    if (rc == 0 && *count == MANIFEST_MAX_PACK_REFS)
      rc = ERR_LIMIT;
    if (rc == 0)
      rc = meta_push (b, UNIT_PACK_LIST, &plain, &slots[(*count)++]);
    if (rc)
      return rc;
    from = to;
  }
  return 0;
}

static int
finish (struct builder *b)
{
  struct tree_built *out = b->out;
  size_t index_slot;
  int rc = put_index (b, &index_slot);
  if (rc == 0)
    rc = meta_settle (b);
  if (rc == 0)
    rc = named (b, index_slot, &out->index);
  size_t lists = 0;
  AUTO_MEM size_t *slots = calloc (b->use_cap / LIST_MIN + 2, sizeof *slots);
  if (rc == 0)
    rc = slots ? put_pack_list (b, slots, &lists) : ERR_NOMEM;
  if (rc == 0)
    rc = meta_settle (b);
  out->packs = calloc (lists + 1, sizeof *out->packs);
  if (rc == 0 && !out->packs)
    rc = ERR_NOMEM;
  for (; rc == 0 && out->pack_count < lists; out->pack_count++)
    rc = named (b, slots[out->pack_count], &out->packs[out->pack_count]);
  out->numbers = calloc (b->use_cap + 1, sizeof *out->numbers);
  if (rc == 0 && !out->numbers)
    rc = ERR_NOMEM;
  for (size_t no = 0; rc == 0 && no < b->use_cap; no++)
    if (b->uses[no])
      out->numbers[out->number_count++] = (uint32_t) no;
  out->rows = b->row;
  return rc;
}

int
tree_build (struct snap *s, struct worktree *tree, struct tree_built *out)
{
  *out = (struct tree_built){ 0 };
  struct builder b = { .snap = s, .tree = tree, .out = out };
  lock_init (&b.lock, LOCK_SEALED, "tree builder");
  buf_init (&b.rows, TREE_PAGE_MAX);
  uint64_t ticket = pipe_close_packs (s->vault->pipe, false);
  int rc = pipe_wait_named (s->vault->pipe, &s->dep, ticket);
  if (rc == 0)
    rc = count_rows (&b);
  if (rc == 0)
    rc = external_build (&b);
  if (rc == 0)
    rc = emit_rows (&b);
  if (rc == 0)
    rc = meta_settle (&b);
  if (rc == 0)
    rc = finish (&b);
  int placed = pipe_wait_placed (s->vault->pipe, &s->dep); /* done() refers to b */
  /* After a failure something may lie in a pack that nobody would close. */
  ticket = pipe_close_packs (s->vault->pipe, false);
  int durable = pipe_wait_durable (s->vault->pipe, &s->dep, ticket);
  rc = rc ? rc : placed ? placed : durable;
  buf_release (&b.rows);
  pack_table_release (&b.packs);
  free (b.slots);
  free (b.uses);
  free (b.pages);
  map_release (&b.links);
  map_release (&b.below);
  map_release (&b.children);
  external_release (&b);
  lock_destroy (&b.lock);
  if (rc)
    tree_built_release (out);
  return rc;
}

void
tree_built_release (struct tree_built *b)
{
  free (b->packs);
  free (b->numbers);
  *b = (struct tree_built){ 0 };
}
