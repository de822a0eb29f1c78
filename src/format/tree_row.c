/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a tree, and the attributes alone as checkpoints hold them. */
#include <string.h>

#include "format/format_priv.h"
#include "format/tree.h"

enum row_flag {
  ROW_XATTRS = 1,
  ROW_ATIME = 2,
  ROW_NLINK = 4,
  ROW_SHA256 = 8,
  ROW_EXTERNAL = 16,
};

bool
tree_name_is_valid (const uint8_t *name, size_t n)
{
  if (n == 0 || n > TREE_NAME_MAX || memchr (name, '/', n) || memchr (name, 0, n))
    return false;
  return !(name[0] == '.' && (n == 1 || (n == 2 && name[1] == '.')));
}

/* Which flags a kind may have; -1 for an unknown kind. */
static int
flags_allowed (uint8_t kind, bool is_row)
{
  switch (kind) {
  case NODE_FILE:
    return ROW_XATTRS | ROW_ATIME | ROW_NLINK | (is_row ? ROW_SHA256 | ROW_EXTERNAL : 0);
  case NODE_DIR:
    return ROW_XATTRS | ROW_ATIME;
  case NODE_SYMLINK:
  case NODE_FIFO:
  case NODE_SOCKET:
  case NODE_CHAR:
  case NODE_BLOCK:
    return ROW_XATTRS | ROW_ATIME | ROW_NLINK;
  case NODE_HARDLINK:
    return is_row ? 0 : -1;
  default:
    return -1;
  }
}

static bool
time_is_equal (const struct node_time *a, const struct node_time *b)
{
  return a->sec == b->sec && a->nsec == b->nsec;
}

static uint8_t
attr_flags (const struct node_attr *a, bool is_row)
{
  uint8_t flags = 0;
  if (a->xattrs && a->xattrs_len)
    flags |= ROW_XATTRS;
  if (!time_is_equal (&a->atime, &a->mtime))
    flags |= ROW_ATIME;
  if (a->nlink > 1)
    flags |= ROW_NLINK;
  if (a->sha256)
    flags |= ROW_SHA256;
  if (a->is_external)
    flags |= ROW_EXTERNAL;
  return flags & (uint8_t) flags_allowed (a->kind, is_row);
}

/* --- writing --- */

static void
time_put (struct buf *b, const struct node_time *t)
{
  buf_put_svarint (b, t->sec);
  buf_put_varint (b, t->nsec);
}

static void
content_put (struct buf *b, const struct node_attr *a, uint8_t flags, bool is_row)
{
  buf_put_varint (b, a->size);
  if (flags & ROW_EXTERNAL) {
    buf_put_u8 (b, a->ext_level);
    buf_put_varint (b, a->ext_count);
    chunk_ref_put (b, &a->ext_root);
  } else if (is_row) {
    buf_put_varint (b, a->ext_count);
    buf_put (b, a->extents, a->extents_len);
  } else {
    buf_put_varint (b, 0);
  }
}

static void
attr_put (struct buf *b, const struct node_attr *a, uint8_t flags, bool is_row)
{
  buf_put_varint (b, a->mode);
  buf_put_varint (b, a->uid);
  buf_put_varint (b, a->gid);
  time_put (b, &a->mtime);
  if (flags & ROW_ATIME)
    time_put (b, &a->atime);
  if (flags & ROW_NLINK)
    buf_put_varint (b, a->nlink);
  switch (a->kind) {
  case NODE_DIR: {
    bool has_children = is_row && a->child_count;
    buf_put_svarint (b, has_children ? a->child_delta : 0);
    buf_put_varint (b, has_children ? a->child_count : 0);
    buf_put_varint (b, has_children ? a->subdir_count : 0);
    break;
  }
  case NODE_SYMLINK:
    buf_put_bytes (b, a->symlink, a->size);
    break;
  case NODE_CHAR:
  case NODE_BLOCK:
    buf_put_varint (b, a->major);
    buf_put_varint (b, a->minor);
    break;
  case NODE_FILE:
    content_put (b, a, flags, is_row);
    break;
  }
  if (flags & ROW_XATTRS)
    buf_put (b, a->xattrs, a->xattrs_len);
  if (flags & ROW_SHA256)
    buf_put (b, a->sha256, 32);
}

static bool
attr_is_writable (const struct node_attr *a, bool is_row)
{
  if (flags_allowed (a->kind, is_row) < 0 || a->mode > 07777 || a->mtime.nsec >= 1000000000
      || a->atime.nsec >= 1000000000 || a->size > INT64_MAX)
    return false;
  if (a->kind == NODE_SYMLINK && (a->size == 0 || a->size > TREE_SYMLINK_MAX))
    return false;
  if (a->kind == NODE_DIR && is_row && a->child_count
      && (a->child_delta <= 0 || a->subdir_count > a->child_count))
    return false;
  return a->kind != NODE_HARDLINK || a->target_delta != 0;
}

int
node_attr_encode (const struct node_attr *a, struct buf *out)
{
  if (!attr_is_writable (a, false))
    return ERR_INVALID;
  uint8_t flags = attr_flags (a, false);
  buf_put_u8 (out, a->kind);
  buf_put_u8 (out, flags);
  attr_put (out, a, flags, false);
  return buf_error (out);
}

int
tree_row_encode (const struct tree_row *row, struct buf *out)
{
  const struct node_attr *a = &row->attr;
  if (!attr_is_writable (a, true) || (row->name_len && !tree_name_is_valid (row->name,
                                                                            row->name_len)))
    return ERR_INVALID;
  size_t start = out->len;
  uint8_t flags = attr_flags (a, true);
  buf_put_u8 (out, a->kind);
  buf_put_u8 (out, flags);
  buf_put_bytes (out, row->name, row->name_len);
  if (a->kind == NODE_HARDLINK)
    buf_put_svarint (out, a->target_delta);
  else
    attr_put (out, a, flags, true);
  buf_insert_length (out, start);
  return buf_error (out);
}

/* --- reading --- */

struct rd
xattrs_begin (const uint8_t *xattrs, size_t len)
{
  struct rd r = rd_of (xattrs, xattrs ? len : 0);
  if (rd_left (&r))
    (void) rd_varint (&r);
  return r;
}

bool
xattrs_next (struct rd *r, const uint8_t **name, size_t *name_len, const uint8_t **value,
             size_t *value_len)
{
  if (r->failed || rd_left (r) == 0)
    return false;
  *name = rd_bytes (r, 255, name_len);
  *value = rd_bytes (r, TREE_XATTRS_MAX, value_len);
  if (!r->failed && (*name_len == 0 || memchr (*name, 0, *name_len)))
    r->failed = true;
  return !r->failed;
}

static void
xattrs_get (struct rd *r, struct node_attr *a)
{
  const uint8_t *start = r->p;
  uint32_t n = rd_count (r, 2, TREE_XATTRS_MAX);
  size_t sum = 0;
  if (n == 0)
    r->failed = true; /* else the flag were not set */
  for (uint32_t i = 0; i < n && !r->failed; i++) {
    const uint8_t *name, *value;
    size_t name_len, value_len;
    if (!xattrs_next (r, &name, &name_len, &value, &value_len)) {
      r->failed = true;
      break;
    }
    sum += name_len + value_len;
    if (sum > TREE_XATTRS_MAX)
      r->failed = true;
  }
  if (r->failed)
    return;
  a->xattrs = start;
  a->xattrs_len = (size_t) (r->p - start);
}

static struct node_time
time_get (struct rd *r)
{
  struct node_time t = { .sec = rd_svarint (r) };
  t.nsec = (uint32_t) rd_varint_max (r, 999999999);
  return t;
}

static void
extents_inline_get (struct rd *r, uint32_t npacks, struct node_attr *a)
{
  a->ext_count = rd_count (r, 2, UINT32_MAX);
  a->extents = r->p;
  uint64_t end = 0;
  for (uint64_t i = 0; i < a->ext_count && !r->failed; i++) {
    struct extent e;
    extent_get (r, npacks, &e);
    if (e.len > a->size - end)
      r->failed = true;
    end += e.len;
  }
  a->extents_len = r->failed ? 0 : (size_t) (r->p - a->extents);
}

static void
content_get (struct rd *r, uint32_t npacks, uint8_t flags, bool is_row, struct node_attr *a)
{
  a->size = rd_varint_max (r, INT64_MAX);
  if (flags & ROW_EXTERNAL) {
    a->is_external = true;
    a->ext_level = rd_u8 (r);
    a->ext_count = rd_varint (r);
    chunk_ref_get_type (r, npacks, UNIT_EXTENT_PAGE, &a->ext_root);
    if (a->ext_level > EXTENT_LEVEL_MAX || a->ext_count == 0)
      r->failed = true;
  } else if (is_row) {
    extents_inline_get (r, npacks, a);
  } else if (rd_varint (r) != 0) {
    r->failed = true;
  }
}

static void
dir_get (struct rd *r, bool is_row, struct node_attr *a)
{
  a->child_delta = rd_svarint (r);
  a->child_count = rd_varint_max (r, is_row ? INT64_MAX : 0);
  a->subdir_count = rd_varint_max (r, a->child_count);
  /* Children come later in preorder: that is also what keeps a walk from going in circles. */
  if (a->child_count ? a->child_delta <= 0 : a->child_delta != 0)
    r->failed = true;
  a->nlink = a->subdir_count > UINT32_MAX - 2 ? UINT32_MAX : (uint32_t) a->subdir_count + 2;
}

static void
attr_get (struct rd *r, uint32_t npacks, uint8_t flags, bool is_row, struct node_attr *a)
{
  a->mode = (uint16_t) rd_varint_max (r, 07777);
  a->uid = (uint32_t) rd_varint_max (r, UINT32_MAX);
  a->gid = (uint32_t) rd_varint_max (r, UINT32_MAX);
  a->mtime = time_get (r);
  a->atime = flags & ROW_ATIME ? time_get (r) : a->mtime;
  a->nlink = flags & ROW_NLINK ? (uint32_t) rd_varint_max (r, UINT32_MAX) : 1;
  /* One meaning, one spelling: what a flag says must be worth saying. */
  if ((flags & ROW_ATIME && time_is_equal (&a->atime, &a->mtime))
      || (flags & ROW_NLINK && a->nlink < 2))
    r->failed = true;
  switch (a->kind) {
  case NODE_DIR:
    dir_get (r, is_row, a);
    break;
  case NODE_SYMLINK: {
    size_t n;
    a->symlink = rd_bytes (r, TREE_SYMLINK_MAX, &n);
    a->size = n;
    if (n == 0 || memchr (a->symlink, 0, n))
      r->failed = true;
    break;
  }
  case NODE_CHAR:
  case NODE_BLOCK:
    a->major = (uint32_t) rd_varint_max (r, UINT32_MAX);
    a->minor = (uint32_t) rd_varint_max (r, UINT32_MAX);
    break;
  case NODE_FILE:
    content_get (r, npacks, flags, is_row, a);
    break;
  }
  if (flags & ROW_XATTRS)
    xattrs_get (r, a);
  if (flags & ROW_SHA256)
    a->sha256 = rd_take (r, 32);
}

int
node_attr_decode (struct rd *r, struct node_attr *out)
{
  struct node_attr a = { .kind = rd_u8 (r) };
  uint8_t flags = rd_u8 (r);
  int allowed = flags_allowed (a.kind, false);
  if (r->failed || allowed < 0 || (flags & ~allowed)) {
    r->failed = true;
    return ERR_FORMAT;
  }
  attr_get (r, 0, flags, false, &a);
  if (r->failed)
    return ERR_FORMAT;
  *out = a;
  return 0;
}

int
tree_row_decode (struct rd *r, uint32_t npacks, bool is_root, struct tree_row *out)
{
  size_t n;
  const uint8_t *body = rd_bytes (r, TREE_PAGE_MAX, &n);
  if (r->failed)
    return ERR_FORMAT;
  struct rd in = rd_of (body, n);
  struct tree_row row = { .attr.kind = rd_u8 (&in) };
  uint8_t flags = rd_u8 (&in);
  int allowed = flags_allowed (row.attr.kind, true);
  row.name = rd_bytes (&in, TREE_NAME_MAX, &row.name_len);
  if (in.failed || allowed < 0 || (flags & ~allowed)
      || (is_root ? row.name_len != 0 || row.attr.kind != NODE_DIR
                  : !tree_name_is_valid (row.name, row.name_len))) {
    r->failed = true;
    return ERR_FORMAT;
  }
  if (row.attr.kind == NODE_HARDLINK) {
    row.attr.target_delta = rd_svarint (&in);
    if (row.attr.target_delta == 0)
      in.failed = true;
  } else {
    attr_get (&in, npacks, flags, true, &row.attr);
  }
  if (rd_done (&in) < 0) {
    r->failed = true;
    return ERR_FORMAT;
  }
  *out = row;
  return 0;
}
