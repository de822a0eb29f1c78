/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: what doc/format/tree.md says of rows, pages, extent pages, the index and pack lists:
 * that all values come back, that limits are those of the document, and that a tree cannot lead
 * in circles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "format/tree.h"

static struct tree_row
row_of (uint8_t kind, const char *name)
{
  struct tree_row row = { .name = (const uint8_t *) name, .name_len = strlen (name) };
  row.attr.kind = kind;
  row.attr.nlink = kind == NODE_DIR ? 2 : 1;
  return row;
}

/* Encodes and decodes ROW; BUF keeps the bytes that GOT points into. */
static int
through (const struct tree_row *row, bool is_root, struct buf *b, struct tree_row *got)
{
  buf_reset (b);
  int rc = tree_row_encode (row, b);
  if (rc < 0)
    return rc;
  struct rd r = rd_of (b->data, b->len);
  rc = tree_row_decode (&r, 10, is_root, got);
  return rc == 0 && rd_left (&r) ? -1000 : rc;
}

static void
test_names (void **state)
{
  uint8_t longest[256];
  memset (longest, 'x', sizeof longest);
  assert_true (tree_name_is_valid (longest, 255));
  assert_false (tree_name_is_valid (longest, 256));
  assert_false (tree_name_is_valid (longest, 0));
  assert_false (tree_name_is_valid ((const uint8_t *) ".", 1));
  assert_false (tree_name_is_valid ((const uint8_t *) "..", 2));
  assert_true (tree_name_is_valid ((const uint8_t *) "...", 3));
  assert_true (tree_name_is_valid ((const uint8_t *) ".a", 2));
  assert_false (tree_name_is_valid ((const uint8_t *) "a/b", 3));
  assert_false (tree_name_is_valid ((const uint8_t *) "a\0b", 3));
  assert_true (tree_name_is_valid ((const uint8_t *) "\xff\n", 2));
}

static void
test_attributes (void **state)
{
  AUTO_BUF b;
  struct tree_row got, row = row_of (NODE_FIFO, "f");
  buf_init (&b, 1u << 20);
  row.attr.mode = 07777;
  row.attr.uid = row.attr.gid = UINT32_MAX;
  row.attr.mtime = (struct node_time){ .sec = INT64_MIN, .nsec = 999999999 };
  row.attr.atime = (struct node_time){ .sec = INT64_MAX };
  row.attr.nlink = UINT32_MAX;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.mode, 07777);
  assert_int_equal (got.attr.uid, UINT32_MAX);
  assert_int_equal (got.attr.gid, UINT32_MAX);
  assert_true (got.attr.mtime.sec == INT64_MIN && got.attr.mtime.nsec == 999999999);
  assert_true (got.attr.atime.sec == INT64_MAX && got.attr.atime.nsec == 0);
  assert_int_equal (got.attr.nlink, UINT32_MAX);
  row.attr.mode = 010000;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row.attr.mode = 0;
  row.attr.mtime.nsec = 1000000000;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
}

static void
test_kinds (void **state)
{
  AUTO_BUF b;
  struct tree_row got, row = row_of (NODE_CHAR, "c");
  buf_init (&b, 1u << 20);
  row.attr.major = UINT32_MAX;
  row.attr.minor = 1u << 20;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.major, UINT32_MAX);
  assert_int_equal (got.attr.minor, 1u << 20);
  assert_int_equal (got.attr.nlink, 1);

  row = row_of (NODE_HARDLINK, "h");
  row.attr.target_delta = -123456789;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.target_delta, -123456789);
  row.attr.target_delta = 0; /* a link to itself */
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);

  uint8_t target[5000];
  memset (target, 't', sizeof target);
  row = row_of (NODE_SYMLINK, "s");
  row.attr.symlink = target;
  row.attr.size = TREE_SYMLINK_MAX;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.size, TREE_SYMLINK_MAX);
  assert_memory_equal (got.attr.symlink, target, TREE_SYMLINK_MAX);
  row.attr.size++;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row.attr.size = 0;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row = row_of (9, "x");
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
}

/* Children come after their directory, so no walk can go in circles. */
static void
test_directories (void **state)
{
  AUTO_BUF b;
  struct tree_row got, row = row_of (NODE_DIR, "d");
  buf_init (&b, 1000);
  row.attr.child_delta = 5;
  row.attr.child_count = 3;
  row.attr.subdir_count = 3;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.child_delta, 5);
  assert_int_equal (got.attr.child_count, 3);
  assert_int_equal (got.attr.nlink, 5); /* 2 + subdirectories */
  row.attr.subdir_count = 4;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row.attr.subdir_count = 0;
  row.attr.child_delta = 0;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row.attr.child_delta = -1;
  assert_int_equal (through (&row, false, &b, &got), ERR_INVALID);
  row.attr.child_count = 0; /* empty: the position says nothing and is not kept */
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.child_delta, 0);
}

static void
test_root (void **state)
{
  AUTO_BUF b;
  struct tree_row got, row = row_of (NODE_DIR, "");
  buf_init (&b, 1000);
  assert_int_equal (through (&row, true, &b, &got), 0);
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT); /* an entry without a name */
  row = row_of (NODE_DIR, "d");
  assert_int_equal (through (&row, true, &b, &got), ERR_FORMAT); /* a root with one */
  row = row_of (NODE_FIFO, "");
  assert_int_equal (through (&row, true, &b, &got), ERR_FORMAT);
}

static void
test_files (void **state)
{
  AUTO_BUF b;
  AUTO_BUF ext;
  struct tree_row got, row = row_of (NODE_FILE, "f");
  struct extent e = { .kind = EXTENT_ZERO, .len = 10 };
  buf_init (&b, 1u << 20);
  buf_init (&ext, 1000);
  row.attr.size = INT64_MAX;
  assert_int_equal (through (&row, false, &b, &got), 0); /* all hole */
  assert_true (got.attr.size == INT64_MAX && got.attr.ext_count == 0);
  extent_put (&ext, &e);
  extent_put (&ext, &e);
  row.attr.extents = ext.data;
  row.attr.extents_len = ext.len;
  row.attr.ext_count = 2;
  row.attr.size = 20;
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_int_equal (got.attr.ext_count, 2);
  assert_int_equal (got.attr.extents_len, ext.len);
  assert_memory_equal (got.attr.extents, ext.data, ext.len);
  row.attr.size = 19; /* extents past the end of the file */
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
  row.attr.size = 20;
  row.attr.ext_count = 3;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
  row.attr.ext_count = 1;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);

  row.attr.is_external = true;
  row.attr.ext_level = EXTENT_LEVEL_MAX;
  row.attr.ext_count = 1ull << 40;
  row.attr.ext_root = example_ref (1, 9, 1000);
  assert_int_equal (through (&row, false, &b, &got), 0);
  assert_true (got.attr.is_external && got.attr.ext_count == 1ull << 40
               && got.attr.ext_root.pack == 9);
  row.attr.ext_root.pack = 10;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
  row.attr.ext_root.pack = 0;
  row.attr.ext_level++;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
}

static void
xattr_add (struct buf *b, const char *name, size_t value_len)
{
  buf_put_str (b, name);
  buf_put_varint (b, value_len);
  buf_put_zero (b, value_len);
}

static void
test_xattrs (void **state)
{
  AUTO_BUF b;
  AUTO_BUF x;
  struct tree_row got, row = row_of (NODE_SYMLINK, "s");
  const uint8_t *name, *value;
  size_t name_len, value_len;
  buf_init (&b, 1u << 20);
  buf_init (&x, 1u << 20);
  row.attr.symlink = (const uint8_t *) "t";
  row.attr.size = 1;
  buf_put_varint (&x, 2);
  xattr_add (&x, "user.a", 0);
  xattr_add (&x, "user.b", TREE_XATTRS_MAX - 12);
  row.attr.xattrs = x.data;
  row.attr.xattrs_len = x.len;
  assert_int_equal (through (&row, false, &b, &got), 0);
  struct rd r = xattrs_begin (got.attr.xattrs, got.attr.xattrs_len);
  assert_true (xattrs_next (&r, &name, &name_len, &value, &value_len));
  assert_true (name_len == 6 && memcmp (name, "user.a", 6) == 0 && value_len == 0);
  assert_true (xattrs_next (&r, &name, &name_len, &value, &value_len));
  assert_true (value_len == TREE_XATTRS_MAX - 12);
  assert_false (xattrs_next (&r, &name, &name_len, &value, &value_len));
  assert_false (r.failed);
  r = xattrs_begin (NULL, 0);
  assert_false (xattrs_next (&r, &name, &name_len, &value, &value_len));

  buf_reset (&x);
  buf_put_varint (&x, 2);
  xattr_add (&x, "user.a", 0);
  xattr_add (&x, "user.b", TREE_XATTRS_MAX - 11); /* one byte too many together */
  row.attr.xattrs = x.data;
  row.attr.xattrs_len = x.len;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
  buf_reset (&x);
  buf_put_varint (&x, 1);
  xattr_add (&x, "", 1);
  row.attr.xattrs_len = x.len;
  assert_int_equal (through (&row, false, &b, &got), ERR_FORMAT);
}

static void
test_node_attr (void **state)
{
  AUTO_BUF b;
  struct node_attr got, a = row_of (NODE_FILE, "f").attr;
  buf_init (&b, 1000);
  a.size = 123;
  a.nlink = 3;
  a.is_external = true; /* what a checkpoint does not say of a node */
  a.sha256 = (const uint8_t *) "................................";
  assert_int_equal (node_attr_encode (&a, &b), 0);
  struct rd r = rd_of (b.data, b.len);
  assert_int_equal (node_attr_decode (&r, &got), 0);
  assert_int_equal (rd_left (&r), 0);
  assert_true (got.size == 123 && got.nlink == 3 && !got.is_external && !got.sha256
               && got.ext_count == 0);
  a.kind = NODE_HARDLINK;
  assert_int_equal (node_attr_encode (&a, &b), ERR_INVALID);
}

static void
test_page (void **state)
{
  AUTO_BUF rows;
  AUTO_BUF b;
  struct pack_table packs = { 0 };
  struct tree_page page;
  struct tree_row got;
  buf_init (&rows, 2u << 20);
  buf_init (&b, 4u << 20);
  for (int i = 0; i < 1000; i++) {
    char name[20];
    struct tree_row row = row_of (NODE_FIFO, name);
    row.name_len = (size_t) snprintf (name, sizeof name, "n%04d", i);
    row.attr.uid = (uint32_t) i;
    assert_int_equal (tree_row_encode (&row, &rows), 0);
  }
  assert_int_equal (tree_page_encode (&packs, &rows, 1000, &b), 0);
  assert_int_equal (tree_page_decode (b.data, b.len, &page), 0);
  assert_int_equal (page.row_count, 1000);
  for (uint32_t i = 0; i < 1000; i += 37) {
    assert_int_equal (tree_page_row (&page, i, false, &got), 0);
    assert_int_equal (got.attr.uid, i);
  }
  assert_int_equal (tree_page_row (&page, 1000, false, &got), ERR_INVALID);
  tree_page_release (&page);
  assert_int_equal (tree_page_encode (&packs, &rows, 0, &b), ERR_INVALID);
  buf_reset (&b);
  buf_reset (&rows);
  buf_put_zero (&rows, TREE_PAGE_MAX);
  assert_int_equal (tree_page_encode (&packs, &rows, 1, &b), ERR_LIMIT);
}

static void
test_extent_page_sums (void **state)
{
  AUTO_BUF b;
  struct extent list[2] = { { .kind = EXTENT_HOLE, .len = INT64_MAX },
                            { .kind = EXTENT_HOLE, .len = 1 } };
  struct extent_page page = { .count = 1, .extents = list }, got;
  buf_init (&b, 1u << 20);
  assert_int_equal (extent_page_encode (&page, &b), 0);
  assert_int_equal (extent_page_decode (b.data, b.len, &got), 0);
  assert_true (got.extents[0].len == INT64_MAX);
  extent_page_release (&got);
  page.count = 2; /* together more than a file can be long */
  buf_reset (&b);
  assert_int_equal (extent_page_encode (&page, &b), 0);
  assert_int_equal (extent_page_decode (b.data, b.len, &got), ERR_FORMAT);
  page.count = 0;
  assert_int_equal (extent_page_encode (&page, &b), ERR_INVALID);
  page.level = EXTENT_LEVEL_MAX + 1;
  assert_int_equal (extent_page_encode (&page, &b), ERR_INVALID);
}

static void
test_index_rows (void **state)
{
  AUTO_BUF b;
  struct tree_index_page pages[2] = { { .rows = 3, .ref = example_ref (1, 0, 100) },
                                      { .rows = 4, .ref = example_ref (2, 0, 100) } };
  struct tree_index t = { .rows = 7, .page_count = 2, .pages = pages }, got;
  uint8_t name[PACK_NAME_LEN] = { 1 };
  uint32_t at;
  buf_init (&b, 1u << 20);
  assert_int_equal (pack_table_intern (&t.packs, name, &at), 0);
  assert_int_equal (tree_index_encode (&t, &b), 0);
  assert_int_equal (tree_index_decode (b.data, b.len, &got), 0);
  assert_true (got.rows == 7 && got.pages[1].first_row == 3);
  tree_index_release (&got);
  t.rows = 8; /* not what the pages hold */
  assert_int_equal (tree_index_encode (&t, &b), ERR_INVALID);
  pack_table_release (&t.packs);
}

static void
test_pack_list_order (void **state)
{
  AUTO_BUF b;
  struct pack_use uses[2] = { { .name = { 2 }, .bytes = 1 }, { .name = { 3 }, .bytes = 2 } }, *got;
  size_t n;
  buf_init (&b, 1u << 20);
  assert_int_equal (pack_list_encode (uses, 2, &b), 0);
  assert_int_equal (pack_list_decode (b.data, b.len, &got, &n), 0);
  assert_true (n == 2 && got[1].bytes == 2 && got[1].name[0] == 3);
  free (got);
  b.data[1] = 3; /* the same name twice */
  assert_int_equal (pack_list_decode (b.data, b.len, &got, &n), ERR_FORMAT);
  uses[0].name[0] = 9;
  assert_int_equal (pack_list_encode (uses, 2, &b), ERR_INVALID);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_names),      cmocka_unit_test (test_attributes),
    cmocka_unit_test (test_kinds),      cmocka_unit_test (test_directories),
    cmocka_unit_test (test_root),       cmocka_unit_test (test_files),
    cmocka_unit_test (test_xattrs),     cmocka_unit_test (test_node_attr),
    cmocka_unit_test (test_page),       cmocka_unit_test (test_extent_page_sums),
    cmocka_unit_test (test_index_rows), cmocka_unit_test (test_pack_list_order),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
