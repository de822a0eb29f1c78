/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "sealed"
#include "snapshot/sealed.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* ---- decoded pages, manifests and tree indexes, shared by all trees of the process ---- */

struct sealed_page {
  struct sealed_page *next; /* in its bucket */
  struct sealed_page *older, *newer;
  struct sealed *tree;
  uint32_t no;
  unsigned refs; /* the cache's own included */
  size_t bytes;
  uint64_t first_row;
  struct buf plain;
  struct tree_page page;
};

#define BUCKETS 1024
static struct {
  struct lock lock;
  struct sealed_page *buckets[BUCKETS];
  struct sealed_page *oldest, *newest;
  size_t bytes;
  struct sealed_part *oldest_part, *newest_part;
  size_t parts_bytes, parts_max;
} pages = { .lock = LOCK_INIT (LOCK_SEALED, "sealed pages"), .parts_max = SEALED_PARTS_MAX };

static struct sealed_page **
bucket (const struct sealed *t, uint32_t no)
{
  return &pages.buckets[((uintptr_t) t / 64 + no * 31u) % BUCKETS];
}

static void
page_free (struct sealed_page *p)
{
  tree_page_release (&p->page);
  buf_release (&p->plain);
  free (p);
}

static void
lru_remove (struct sealed_page *p)
{
  *(p->older ? &p->older->newer : &pages.oldest) = p->newer;
  *(p->newer ? &p->newer->older : &pages.newest) = p->older;
  p->older = p->newer = NULL;
}

static void
lru_add (struct sealed_page *p)
{
  p->older = pages.newest;
  *(pages.newest ? &pages.newest->newer : &pages.oldest) = p;
  pages.newest = p;
}

static void
unref_locked (struct sealed_page *p)
{
  if (--p->refs == 0)
    page_free (p);
}

static void
evict_locked (struct sealed_page *p)
{
  for (struct sealed_page **at = bucket (p->tree, p->no); *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  lru_remove (p);
  pages.bytes -= p->bytes;
  unref_locked (p);
}

static struct sealed_page *
page_find_locked (struct sealed *t, uint32_t no)
{
  for (struct sealed_page *p = *bucket (t, no); p; p = p->next)
    if (p->tree == t && p->no == no) {
      p->refs++;
      if (p != pages.newest) {
        lru_remove (p);
        lru_add (p);
      }
      return p;
    }
  return NULL;
}

void
sealed_pages_forget (struct sealed *t)
{
  LOCK_SCOPE (&pages.lock);
  for (struct sealed_page *p = pages.oldest, *next; p; p = next) {
    next = p->newer;
    if (p->tree == t)
      evict_locked (p);
  }
}

static int
load_chunk (struct vault *v, const struct chunk_ref *ref, const uint8_t pack[PACK_NAME_LEN],
            int type,
            unsigned flags, struct chunk_view **out)
{
  struct chunk_want want = { .src = &v->source, .ref = *ref, .type = type };
  memcpy (want.pack, pack, PACK_NAME_LEN);
  return reader_load (v->region->mount->reader, &want, 1, flags & MOUNT_NOWAIT ? READER_NOWAIT : 0,
                      out);
}

/* ---- manifests and tree indexes ---- */

static void
part_free (struct sealed_part *p)
{
  if (p->kind == SEALED_MANIFEST)
    manifest_release (&p->manifest);
  else
    tree_index_release (&p->index);
  free (p);
}

static void
part_remove (struct sealed_part *p)
{
  *(p->older ? &p->older->newer : &pages.oldest_part) = p->newer;
  *(p->newer ? &p->newer->older : &pages.newest_part) = p->older;
  p->older = p->newer = NULL;
}

static void
part_add (struct sealed_part *p)
{
  p->older = pages.newest_part;
  *(pages.newest_part ? &pages.newest_part->newer : &pages.oldest_part) = p;
  pages.newest_part = p;
}

static void
part_used_locked (struct sealed_part *p)
{
  if (p == pages.newest_part)
    return;
  part_remove (p);
  part_add (p);
}

static void
part_unref_locked (struct sealed_part *p)
{
  if (--p->refs == 0)
    part_free (p);
}

static void
part_evict_locked (struct sealed_part *p)
{
  p->tree->parts[p->kind] = NULL;
  part_remove (p);
  pages.parts_bytes -= p->bytes;
  part_unref_locked (p);
}

void
sealed_part_release (struct sealed_part **p)
{
  if (!*p)
    return;
  LOCK_SCOPE (&pages.lock);
  part_unref_locked (STEAL (*p));
}

void
sealed_parts_limit (size_t bytes)
{
  LOCK_SCOPE (&pages.lock);
  pages.parts_max = bytes;
  while (pages.parts_bytes > bytes)
    part_evict_locked (pages.oldest_part);
}

size_t
sealed_parts_bytes (void)
{
  LOCK_SCOPE (&pages.lock);
  return pages.parts_bytes;
}

/* About what its parts take on the heap. */
static size_t
manifest_bytes (const struct manifest *m)
{
  size_t n = m->pack_count * sizeof *m->packs + m->part_count * sizeof *m->parts
    + m->newest_count * DIGEST_LEN + m->meta_count * sizeof *m->meta;
  for (size_t i = 0; i < m->meta_count; i++)
    n += strlen (m->meta[i].key) + strlen (m->meta[i].value) + 2;
  return n;
}

static int
index_load (struct sealed *t, unsigned flags, struct sealed_part *p)
{
  struct chunk_view *view;
  int rc = load_chunk (t->vault, &t->root.ref, t->root.pack, UNIT_TREE_INDEX, flags, &view);
  if (rc)
    return rc;
  rc = tree_index_decode (view->data, view->len, &p->index);
  chunk_view_unref (view);
  if (rc == 0 && (p->index.rows != t->rows || p->index.page_count == 0)) {
    tree_index_release (&p->index);
    rc = ERR_FORMAT;
  }
  if (rc)
    log_err ("the tree index of a snapshot is damaged vault=%s snapshot=%s err=\"%s\"",
             t->vault->name, t->ts, err_str (rc));
  else
    p->bytes += p->index.page_count * sizeof *p->index.pages
      + p->index.packs.cap * sizeof *p->index.packs.names;
  return rc;
}

static int
part_load (struct sealed *t, enum sealed_kind kind, unsigned flags, struct sealed_part **out)
{
  struct vault *v = t->vault;
  if (kind == SEALED_MANIFEST && (flags & MOUNT_NOWAIT))
    return ERR_WOULDBLOCK;
  struct sealed_part *p = calloc (1, sizeof *p);
  if (!p)
    return ERR_NOMEM;
  p->tree = t;
  p->kind = kind;
  p->bytes = sizeof *p;
  p->refs = 2;
  int rc;
  if (kind == SEALED_INDEX)
    rc = index_load (t, flags, p);
  else {
    rc = manifest_load (v->region->blob, v->keys, v->name, t->ts, t->digest, true, &p->manifest);
    p->bytes += rc ? 0 : manifest_bytes (&p->manifest);
  }
  if (rc)
    free (p);
  else
    *out = p;
  return rc;
}

int
sealed_hold (struct sealed *t, enum sealed_kind kind, unsigned flags, struct sealed_part **out)
{
  lock_take (&pages.lock);
  struct sealed_part *p = t->parts[kind], *mine = NULL;
  if (p) {
    p->refs++;
    part_used_locked (p);
  }
  lock_release (&pages.lock);
  int rc = p ? 0 : part_load (t, kind, flags, &mine);
  if (rc)
    return rc;
  if (mine) {
    LOCK_SCOPE (&pages.lock);
    p = t->parts[kind]; /* another thread was faster */
    if (p) {
      p->refs++;
      part_free (mine);
    } else {
      p = t->parts[kind] = mine;
      part_add (p);
      pages.parts_bytes += p->bytes;
      while (pages.parts_bytes > pages.parts_max && pages.oldest_part != p)
        part_evict_locked (pages.oldest_part);
    }
  }
  *out = p;
  return 0;
}

/* ---- pages ---- */

/* The page that holds ROW. */
static uint32_t
page_of (const struct tree_index *index, uint64_t row)
{
  uint32_t lo = 0, hi = index->page_count;
  while (hi - lo > 1) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (index->pages[mid].first_row <= row)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* The page that holds ROW, if that can be told without a fetch. */
static struct sealed_page *
page_find (struct sealed *t, uint64_t row)
{
  LOCK_SCOPE (&pages.lock);
  struct sealed_part *p = t->parts[SEALED_INDEX];
  if (!p)
    return NULL;
  part_used_locked (p);
  return page_find_locked (t, page_of (&p->index, row));
}

static int
page_load (struct sealed *t, uint64_t row, unsigned flags, struct sealed_page **out)
{
  struct sealed_page *p = page_find (t, row);
  if (p) {
    *out = p;
    return 0;
  }
  AUTO_PART part = NULL;
  int rc = sealed_hold (t, SEALED_INDEX, flags, &part);
  if (rc)
    return rc;
  const struct tree_index *index = &part->index;
  uint32_t no = page_of (index, row);
  const struct tree_index_page *at = &index->pages[no];
  struct chunk_view *view;
  rc = load_chunk (t->vault, &at->ref, index->packs.names[at->ref.pack], UNIT_TREE_PAGE, flags,
                   &view);
  if (rc)
    return rc;
  p = calloc (1, sizeof *p);
  if (!p) {
    chunk_view_unref (view);
    return ERR_NOMEM;
  }
  p->tree = t;
  p->no = no;
  p->first_row = at->first_row;
  buf_init (&p->plain, TREE_PAGE_MAX);
  buf_put (&p->plain, view->data, view->len);
  chunk_view_unref (view);
  rc = buf_error (&p->plain);
  if (rc == 0)
    rc = tree_page_decode (p->plain.data, p->plain.len, &p->page);
  if (rc == 0 && p->page.row_count != at->rows)
    rc = ERR_FORMAT;
  if (rc) {
    log_err ("a page of the tree is damaged vault=%s snapshot=%s page=%u err=\"%s\": run coffer "
             "check",
             t->vault->name, t->ts, no, err_str (rc));
    page_free (p);
    return rc;
  }
  p->bytes = sizeof *p + p->plain.cap + p->page.row_count * sizeof *p->page.row_off;
  p->refs = 2;
  LOCK_SCOPE (&pages.lock);
  struct sealed_page **b = bucket (t, no);
  p->next = *b;
  *b = p;
  lru_add (p);
  pages.bytes += p->bytes;
  while (pages.bytes > SEALED_PAGES_MAX && pages.oldest != p)
    evict_locked (pages.oldest);
  *out = p;
  return 0;
}

void
row_view_release (struct row_view *v)
{
  if (!v->page)
    return;
  LOCK_SCOPE (&pages.lock);
  unref_locked (v->page);
  v->page = NULL;
}

int
sealed_row (struct sealed *t, uint64_t row, unsigned flags, struct row_view *out)
{
  if (row >= t->rows)
    return ERR_FORMAT;
  struct sealed_page *p = NULL;
  if (out->page && out->page->tree == t && row >= out->page->first_row
      && row - out->page->first_row < out->page->page.row_count)
    p = out->page;
  else {
    row_view_release (out);
    int rc = page_load (t, row, flags, &p);
    if (rc)
      return rc;
    out->page = p;
  }
  out->no = row;
  out->packs = &p->page.packs;
  int rc = tree_page_row (&p->page, (uint32_t) (row - p->first_row), row == 0, &out->row);
  if (rc)
    row_view_release (out);
  return rc;
}

/* ---- rows ---- */

static int
target_row (struct sealed *t, uint64_t row, unsigned flags, struct row_view *v)
{
  int rc = sealed_row (t, row, flags, v);
  if (rc || v->row.attr.kind != NODE_HARDLINK)
    return rc;
  rc = sealed_row (t, (uint64_t) ((int64_t) row + v->row.attr.target_delta), flags, v);
  if (rc == 0 && v->row.attr.kind == NODE_HARDLINK)
    rc = ERR_FORMAT;
  return rc;
}

static int
compare_name (const struct tree_row *r, const char *name, size_t n)
{
  int c = memcmp (r->name, name, r->name_len < n ? r->name_len : n);
  return c ? c : r->name_len < n ? -1 : r->name_len > n;
}

int
sealed_lookup (struct sealed *t, uint64_t dir, const char *name, size_t n, unsigned flags,
               uint64_t *row)
{
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, dir, flags, &v);
  if (rc)
    return rc;
  if (v.row.attr.kind != NODE_DIR)
    return ERR_NOTDIR;
  uint64_t lo = (uint64_t) ((int64_t) dir + v.row.attr.child_delta),
    hi = lo + v.row.attr.child_count;
  while (lo < hi) {
    uint64_t mid = lo + (hi - lo) / 2;
    rc = sealed_row (t, mid, flags, &v);
    if (rc)
      return rc;
    int c = compare_name (&v.row, name, n);
    if (c == 0) {
      *row = v.row.attr.kind == NODE_HARDLINK ? (uint64_t) ((int64_t) mid + v.row.attr.target_delta)
        : mid;
      return 0;
    }
    if (c < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  return ERR_NOENT;
}

/* What is data of a file, for st_blocks: tar and cp look for holes only where it is less than the
 * size.  Of files with many extents the whole size: else pages would have to be fetched. */
static uint64_t
data_bytes (const struct node_attr *a)
{
  uint64_t sum = 0;
  if (a->is_external)
    return a->size;
  struct rd r = rd_of (a->extents, a->extents_len);
  for (uint64_t k = 0; k < a->ext_count && !r.failed; k++) {
    struct extent e;
    extent_get (&r, UINT32_MAX, &e);
    sum += e.kind == EXTENT_HOLE ? 0 : e.len;
  }
  return sum < a->size ? sum : a->size;
}

int
sealed_stat_view (struct sealed *t, struct row_view *v, unsigned flags, struct node_stat *out,
                  uint64_t *target)
{
  if (v->row.attr.kind == NODE_HARDLINK) {
    int rc = target_row (t, v->no, flags, v);
    if (rc)
      return rc;
  }
  const struct node_attr *a = &v->row.attr;
  memset (out, 0, sizeof *out);
  out->attr = *a;
  out->attr.symlink = out->attr.xattrs = out->attr.extents = out->attr.sha256 = NULL;
  if (a->kind == NODE_DIR) {
    out->attr.nlink = 2 + (uint32_t) a->subdir_count;
    out->attr.size = 4096;
  }
  out->ctime = a->mtime;
  out->is_sealed = true;
  out->has_xattrs = a->xattrs_len > 0;
  out->blocks = a->kind == NODE_FILE ? (data_bytes (a) + 511) / 512 : 0;
  if (target)
    *target = v->no;
  return 0;
}

int
sealed_stat (struct sealed *t, uint64_t row, unsigned flags, struct node_stat *out,
             uint64_t *target)
{
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, row, flags, &v);
  return rc ? rc : sealed_stat_view (t, &v, flags, out, target);
}

int
sealed_path (struct sealed *t, const char *path, uint64_t *row)
{
  *row = 0;
  while (*path) {
    size_t n = strcspn (path, "/");
    if (n) {
      int rc = sealed_lookup (t, *row, path, n, 0, row);
      if (rc)
        return rc;
    }
    path += n;
    path += *path == '/';
  }
  return 0;
}

/* ---- opening ---- */

int
sealed_open (struct vault *v, const char *ts, const char *digest, struct sealed **out)
{
  AUTO (sealed) t = calloc (1, sizeof *t);
  if (!t)
    return ERR_NOMEM;
  t->vault = v;
  snprintf (t->ts, sizeof t->ts, "%s", ts);
  snprintf (t->digest, sizeof t->digest, "%s", digest);
  AUTO_PART part = NULL;
  AUTO_PART index = NULL;
  int rc = sealed_hold (t, SEALED_MANIFEST, 0, &part);
  if (rc)
    return rc;
  const struct manifest *m = &part->manifest;
  t->rows = m->rows;
  t->root = m->tree;
  t->is_not_latest = strcmp (m->kind, "full") != 0 || strcmp (m->sealed_by, "idle") == 0;
  rc = sealed_hold (t, SEALED_INDEX, 0, &index);
  if (rc)
    return rc;
  *out = STEAL (t);
  return 0;
}

void
sealed_free (struct sealed *t)
{
  if (!t)
    return;
  sealed_pages_forget (t);
  lock_take (&pages.lock);
  for (int k = 0; k < SEALED_KINDS; k++)
    if (t->parts[k])
      part_evict_locked (t->parts[k]);
  lock_release (&pages.lock);
  free (t);
}
