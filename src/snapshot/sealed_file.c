/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "sealed"
#include <string.h>

#include "base/log.h"
#include "snapshot/sealed.h"

#define AHEAD_SLACK (512u << 10) /* as far from the next byte, a read still counts as the next */
#define AHEAD_MIN (2u << 20)
/* More than the reader can have under way and opened, so that it never runs out of hints. */
#define AHEAD_MAX (48u << 20)
#define READ_PIECES 160

/* One decoded extent page on the way down. */
struct level {
  struct extent_page page;
  uint64_t start; /* file offset where it begins */
  uint64_t end;
  uint64_t *offs; /* of its extents, and the end */
  bool is_loaded;
};

struct sealed_file {
  struct sealed *tree;
  struct lock lock; /* LOCK_FILE: what follows */
  uint64_t size;
  bool has_sha;
  uint8_t sha[32];
  bool is_external;
  struct chunk_ref root;
  uint8_t root_pack[PACK_NAME_LEN];
  struct level leaf[2]; /* where it is read, and where it is read ahead; of a small file: all */
  unsigned last_leaf;   /* used last */
  uint64_t next_off; /* where a sequential reader comes next */
  uint64_t ahead_to;
  uint32_t window;
};

/* Offsets of the extents of L's page. */
static int
index_leaf (struct level *l)
{
  l->offs = malloc ((l->page.count + 1) * sizeof *l->offs);
  if (!l->offs)
    return ERR_NOMEM;
  uint64_t at = l->start;
  for (uint32_t i = 0; i < l->page.count; i++) {
    l->offs[i] = at;
    at += l->page.extents[i].len;
  }
  l->offs[l->page.count] = at;
  l->end = at;
  l->is_loaded = true;
  return 0;
}

static void
level_release (struct level *l)
{
  extent_page_release (&l->page);
  free (l->offs);
  *l = (struct level){ 0 };
}

static int
inline_leaf (struct sealed_file *f, const struct row_view *v)
{
  const struct node_attr *a = &v->row.attr;
  struct extent_page *p = &f->leaf[0].page;
  struct rd r = rd_of (a->extents, a->extents_len);
  p->extents = calloc (a->ext_count + 1, sizeof *p->extents);
  if (!p->extents)
    return ERR_NOMEM;
  for (uint64_t i = 0; i < a->ext_count; i++) {
    extent_get (&r, v->packs->count, &p->extents[i]);
    uint32_t no;
    if (r.failed)
      return ERR_FORMAT;
    if (p->extents[i].kind != EXTENT_DATA)
      continue;
    int rc = pack_table_intern (&p->packs, v->packs->names[p->extents[i].ref.pack], &no);
    if (rc)
      return rc;
    p->extents[i].ref.pack = no;
  }
  p->count = (uint32_t) a->ext_count;
  return index_leaf (&f->leaf[0]);
}

int
sealed_file_open (struct sealed *t, uint64_t row, unsigned flags, struct sealed_file **out)
{
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, row, flags, &v);
  if (rc)
    return rc;
  if (v.row.attr.kind != NODE_FILE)
    return v.row.attr.kind == NODE_DIR ? ERR_ISDIR : ERR_INVALID;
  AUTO (sealed_file) f = calloc (1, sizeof *f);
  if (!f)
    return ERR_NOMEM;
  lock_init (&f->lock, LOCK_FILE, "sealed file");
  f->tree = t;
  f->size = v.row.attr.size;
  f->has_sha = v.row.attr.sha256 != NULL;
  if (f->has_sha)
    memcpy (f->sha, v.row.attr.sha256, sizeof f->sha);
  f->is_external = v.row.attr.is_external;
  if (f->is_external) {
    f->root = v.row.attr.ext_root;
    memcpy (f->root_pack, v.packs->names[f->root.pack], PACK_NAME_LEN);
  } else
    rc = inline_leaf (f, &v);
  if (rc)
    return rc;
  *out = STEAL (f);
  return 0;
}

void
sealed_file_free (struct sealed_file *f)
{
  if (!f)
    return;
  level_release (&f->leaf[0]);
  level_release (&f->leaf[1]);
  lock_destroy (&f->lock);
  free (f);
}

uint64_t
sealed_file_size (const struct sealed_file *f)
{
  return f->size;
}

const uint8_t *
sealed_file_sha256 (const struct sealed_file *f)
{
  return f->has_sha ? f->sha : NULL;
}

static int
load_page (struct sealed_file *f, const struct chunk_ref *ref, const uint8_t pack[PACK_NAME_LEN],
           unsigned flags, struct extent_page *out)
{
  struct chunk_want want = { .src = &f->tree->vault->source, .ref = *ref,
                             .type = UNIT_EXTENT_PAGE };
  memcpy (want.pack, pack, PACK_NAME_LEN);
  struct chunk_view *view;
  struct reader *r = f->tree->vault->region->mount->reader;
  int rc = reader_load (r, &want, 1, flags & MOUNT_NOWAIT ? READER_NOWAIT : 0, &view);
  if (rc == ERR_WOULDBLOCK)
    reader_prefetch (r, &want, 1); /* there when it is asked for again */
  if (rc)
    return rc;
  rc = extent_page_decode (view->data, view->len, out);
  chunk_view_unref (view);
  return rc;
}

/* Goes down to the leaf that covers OFF; without the lock, it may wait.  *past: OFF lies behind the
 * end. */
static int
load_leaf (struct sealed_file *f, uint64_t off, unsigned flags, struct level *out, bool *past)
{
  struct chunk_ref ref = f->root;
  uint8_t pack[PACK_NAME_LEN];
  memcpy (pack, f->root_pack, PACK_NAME_LEN);
  uint64_t start = 0;
  *past = false;
  for (int depth = 0; depth <= EXTENT_LEVEL_MAX; depth++) {
    struct extent_page page = { 0 };
    int rc = load_page (f, &ref, pack, flags, &page);
    if (rc)
      return rc;
    if (page.level == 0) {
      *out = (struct level){ .page = page, .start = start };
      rc = index_leaf (out);
      *past = rc == 0 && off >= out->end;
      return rc;
    }
    uint32_t i = 0;
    while (i < page.count && off >= start + page.children[i].len)
      start += page.children[i++].len;
    if (i == page.count) {
      extent_page_release (&page);
      *past = true;
      return 0;
    }
    ref = page.children[i].ref;
    memcpy (pack, page.packs.names[ref.pack], PACK_NAME_LEN);
    extent_page_release (&page);
  }
  return ERR_FORMAT;
}

/* The leaf that covers OFF, or NULL. */
static const struct level *
leaf_at (struct sealed_file *f, uint64_t off)
{
  lock_assert_held (&f->lock);
  for (unsigned i = 0; i < 2; i++) {
    const struct level *l = &f->leaf[i];
    if (l->is_loaded && off >= l->start && off < l->end) {
      f->last_leaf = i;
      return l;
    }
  }
  return NULL;
}

/* The extent at OFF out of the leaves at hand; false if another leaf is needed. */
static bool
get_in_leaf (struct sealed_file *f, uint64_t off, struct mapped *out, uint8_t pack[PACK_NAME_LEN])
{
  LOCK_SCOPE (&f->lock);
  const struct level *l = leaf_at (f, off);
  if (!l)
    return false;
  uint32_t lo = 0, hi = l->page.count;
  while (hi - lo > 1) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (l->offs[mid] <= off)
      lo = mid;
    else
      hi = mid;
  }
  out->e = l->page.extents[lo];
  uint64_t skip = off - l->offs[lo];
  out->e.len -= skip;
  if (out->e.kind == EXTENT_DATA) {
    out->e.chunk_off += (uint32_t) skip;
    memcpy (pack, l->page.packs.names[out->e.ref.pack], PACK_NAME_LEN);
  }
  return true;
}

int
sealed_file_get (struct sealed_file *f, uint64_t off, unsigned flags, struct mapped *out,
                 uint8_t pack[PACK_NAME_LEN])
{
  *out = (struct mapped){ .off = off, .e = { .kind = EXTENT_HOLE, .len = UINT64_MAX - off } };
  while (!get_in_leaf (f, off, out, pack)) {
    if (!f->is_external)
      return 0;
    struct level leaf = { 0 };
    bool past;
    int rc = load_leaf (f, off, flags, &leaf, &past);
    if (rc || past) {
      level_release (&leaf);
      return rc;
    }
    lock_take (&f->lock);
    unsigned i = !f->last_leaf;
    struct level old = f->leaf[i];
    f->leaf[i] = leaf;
    lock_release (&f->lock);
    level_release (&old);
  }
  return 0;
}

/* Lists the pieces of [off, off + *len); zeros are filled into OUT where it is given. */
static int
plan (struct sealed_file *f, uint64_t off, size_t *len, unsigned flags, uint8_t *out,
      struct read_piece *pieces, unsigned *count)
{
  size_t done = 0;
  *count = 0;
  while (done < *len && *count < READ_PIECES) {
    struct mapped x;
    struct read_piece *p = &pieces[*count];
    int rc = sealed_file_get (f, off + done, flags, &x, p->pack);
    if (rc)
      return rc;
    size_t n = x.e.len < *len - done ? (size_t) x.e.len : *len - done;
    if (x.e.kind == EXTENT_DATA) {
      p->off = off + done;
      p->len = (uint32_t) n;
      p->e = x.e;
      p->has_name = true;
      (*count)++;
    } else if (out)
      memset (out + done, 0, n);
    done += n;
  }
  *len = done;
  return 0;
}

/* Nothing was announced from FROM on: the page that tells of it is not here yet.  The next read
 * tries again. */
static void
stop_ahead (struct sealed_file *f, uint64_t from, uint64_t to)
{
  LOCK_SCOPE (&f->lock);
  if (f->ahead_to == to)
    f->ahead_to = from;
}

/* A sequential reader gets what comes next fetched in a window that grows fourfold.  Is it one? */
static bool
read_ahead (struct sealed_file *f, uint64_t off, size_t len)
{
  lock_take (&f->lock);
  /* The kernel reads ahead in several requests, which arrive here in any order. */
  uint64_t slack = len > AHEAD_SLACK / 4 ? 4 * len : AHEAD_SLACK;
  bool is_sequential = off <= f->next_off + slack && off + slack >= f->next_off;
  if (!is_sequential || off + len > f->next_off)
    f->next_off = off + len;
  bool is_due = is_sequential && f->ahead_to < off + len + f->window / 4 * 3;
  if (!is_sequential) {
    f->window = 0;
    f->ahead_to = 0;
  } else if (is_due) {
    f->window = f->window ? f->window * 4 : AHEAD_MIN;
    if (f->window > AHEAD_MAX)
      f->window = AHEAD_MAX;
  }
  uint64_t from = f->ahead_to > off + len ? f->ahead_to : off + len;
  uint64_t to = off + len + f->window;
  if (to > f->size)
    to = f->size;
  if (is_due && from < to)
    f->ahead_to = to;
  lock_release (&f->lock);
  while (is_due && from < to) {
    struct read_piece pieces[READ_PIECES];
    struct chunk_want wants[READ_PIECES];
    unsigned count;
    size_t n = (size_t) (to - from);
    int rc = plan (f, from, &n, MOUNT_NOWAIT, NULL, pieces, &count);
    if (rc == ERR_WOULDBLOCK)
      stop_ahead (f, from, to);
    if (rc != 0 || n == 0)
      break;
    unsigned w = 0;
    for (unsigned i = 0; i < count; i++) {
      if (w && memcmp (wants[w - 1].ref.id, pieces[i].e.ref.id, ID_LEN) == 0)
        continue;
      wants[w] = (struct chunk_want){ .src = &f->tree->vault->source, .ref = pieces[i].e.ref,
                                      .type = UNIT_DATA };
      memcpy (wants[w++].pack, pieces[i].pack, PACK_NAME_LEN);
    }
    reader_prefetch (f->tree->vault->region->mount->reader, wants, w);
    from += n;
  }
  return is_sequential;
}

/* For the reader.  Who reads on and on does not come back: his chunks need not stay. */
static unsigned
load_flags (unsigned flags, bool is_scan)
{
  return (flags & MOUNT_NOWAIT ? READER_NOWAIT : 0) | (is_scan ? READER_ONCE : 0);
}

int
sealed_file_read (struct sealed_file *f, uint64_t off, size_t len, unsigned flags, uint8_t *out,
                  size_t *got)
{
  *got = 0;
  size_t want = off >= f->size ? 0 : f->size - off < len ? (size_t) (f->size - off) : len;
  bool is_scan = want && f->size > want && read_ahead (f, off, want);
  while (*got < want) {
    struct read_piece pieces[READ_PIECES];
    unsigned count;
    size_t n = want - *got;
    int rc = plan (f, off + *got, &n, flags, out + *got, pieces, &count);
    if (rc == 0 && count)
      rc = snap_load (f->tree->vault, pieces, count, off + *got, load_flags (flags, is_scan),
                      out + *got);
    if (rc)
      return rc;
    *got += n;
  }
  return 0;
}

int
sealed_file_pin (struct sealed_file *f, uint64_t off, size_t len, unsigned flags,
                 struct pinned **out)
{
  struct read_piece pieces[READ_PIECES];
  unsigned count;
  size_t want = off >= f->size ? 0 : f->size - off < len ? (size_t) (f->size - off) : len;
  size_t n = want;
  int rc = plan (f, off, &n, flags, NULL, pieces, &count);
  if (rc == 0 && n < want)
    return ERR_NOTSUP; /* not in two steps: the second would wait while the first is held */
  if (rc)
    return rc;
  bool is_scan = want && f->size > want && read_ahead (f, off, want);
  return snap_pin (f->tree->vault, pieces, count, off, want, load_flags (flags, is_scan), out);
}

struct digest {
  struct sha256 *sha;
  uint8_t kind;
  uint64_t run; /* of holes or zeros */
};

static void
end_run (struct digest *d)
{
  uint8_t raw[9] = { d->kind };
  put_le64 (raw + 1, d->run);
  if (d->run)
    sha256_update (d->sha, raw, sizeof raw);
  d->run = 0;
}

int
sealed_file_digest (struct sealed_file *f, uint8_t out[32])
{
  AUTO (sha256) sha = NULL;
  int rc = sha256_new (&sha);
  struct digest d = { .sha = sha };
  for (uint64_t off = 0; rc == 0 && off < f->size;) {
    struct mapped x;
    uint8_t pack[PACK_NAME_LEN];
    rc = sealed_file_get (f, off, 0, &x, pack);
    if (rc)
      break;
    uint64_t n = x.e.len < f->size - off ? x.e.len : f->size - off;
    if (x.e.kind == EXTENT_DATA) {
      end_run (&d);
      uint8_t raw[1 + ID_LEN + 16] = { 0 };
      memcpy (raw + 1, x.e.ref.id, ID_LEN);
      put_le64 (raw + 1 + ID_LEN, x.e.chunk_off);
      put_le64 (raw + 9 + ID_LEN, n);
      sha256_update (sha, raw, sizeof raw);
    } else {
      if (d.kind != x.e.kind)
        end_run (&d);
      d.kind = x.e.kind;
      d.run += n;
    }
    off += n;
  }
  if (rc == 0) {
    end_run (&d);
    sha256_final (sha, out);
  }
  return rc;
}
