/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: what doc/format/checkpoint.md, gc.md and index.md say; that a checkpoint which holds an
 * impossible node is never sent; that records come back in order with all they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "format/checkpoint.h"
#include "format/index_delta.h"

static const struct example *
find (const char *decoder)
{
  for (const struct example *e = examples; e->decoder; e++)
    if (strcmp (e->decoder, decoder) == 0)
      return e;
  return NULL;
}

static void
test_records (void **state)
{
  AUTO_BUF b;
  struct checkpoint_head h;
  struct checkpoint_rec rec = { 0 };
  struct extent e;
  buf_init (&b, 1u << 20);
  assert_int_equal (find ("checkpoint")->build (&b), 0);
  struct rd r = rd_of (b.data, b.len);
  assert_int_equal (checkpoint_head_get (&r, &h), 0);
  assert_true (h.flags == CHECKPOINT_BASE && h.time == 1795000000123456789);
  assert_string_equal (h.host, "db1.example");
  assert_true (h.pins.count == 3 && h.own.count == 1);
  checkpoint_head_release (&h);

  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_NODE && rec.ino == 1 && rec.attr.kind == NODE_DIR);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_NODE && rec.ino == 2 && rec.attr.size == 65635);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_EXTENTS && rec.ino == 2 && rec.off == 0 && rec.extent_count == 2);
  assert_int_equal (rec.packs.count, 3);
  extent_get (&rec.extents, rec.packs.count, &e);
  assert_true (!rec.extents.failed && e.ref.pack == 2 && e.len == 65536);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_ENTRY && rec.dir == 1 && rec.ino == 2 && rec.name_len == 8);
  assert_memory_equal (rec.name, "dump.sql", 8);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_ENTRY && rec.ino == 0);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_REMOVED && rec.ino == 77);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_true (rec.type == CP_META && rec.value_len == 5);
  assert_memory_equal (rec.value, "a-1-5", 5);
  assert_int_equal (checkpoint_next (&r, &rec), 0);
  assert_int_equal (checkpoint_next (&r, &rec), 0);
  checkpoint_rec_release (&rec);
}

static void
test_counts (void **state)
{
  AUTO_BUF b;
  struct checkpoint_counts c = { .files = 3, .received = UINT64_MAX, .fresh = 1, .dedup = 300,
                                 .stored = 0 };
  struct checkpoint_rec rec = { 0 };
  buf_init (&b, 1000);
  checkpoint_counts_put (&b, &c);
  struct rd r = rd_of (b.data, b.len);
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_int_equal (rec.type, CP_COUNTS);
  assert_memory_equal (&rec.counts, &c, sizeof c);
  assert_int_equal (checkpoint_next (&r, &rec), 0);
  r = rd_of (b.data, b.len - 1);
  assert_int_equal (checkpoint_next (&r, &rec), ERR_FORMAT);
}

/* After damage nothing more is handed out, however often it is asked for. */
static void
test_damage_is_sticky (void **state)
{
  uint8_t raw[] = { CP_REMOVED, 5, 99, CP_REMOVED, 6 };
  struct rd r = rd_of (raw, sizeof raw);
  struct checkpoint_rec rec = { 0 };
  assert_int_equal (checkpoint_next (&r, &rec), 1);
  assert_int_equal (checkpoint_next (&r, &rec), ERR_FORMAT);
  assert_int_equal (checkpoint_next (&r, &rec), ERR_FORMAT);
}

static void
test_impossible_node (void **state)
{
  AUTO_BUF b;
  struct node_attr a = { .kind = NODE_FILE, .mode = 0170000 };
  buf_init (&b, 1000);
  checkpoint_node_put (&b, 1, &a);
  assert_int_equal (buf_error (&b), ERR_INVALID);
}

static void
test_gc_record (void **state)
{
  AUTO_BUF b;
  struct pack_table t = { 0 }, got;
  uint8_t name[PACK_NAME_LEN] = { 0 };
  uint32_t at;
  buf_init (&b, 1u << 20);
  for (int i = 9; i >= 0; i--) { /* the other way round: the record is sorted anyway */
    name[0] = (uint8_t) i;
    assert_int_equal (pack_table_intern (&t, name, &at), 0);
  }
  assert_int_equal (gc_record_encode (&t, &b), 0);
  assert_int_equal (gc_record_decode (b.data, b.len, &got), 0);
  assert_int_equal (got.count, 10);
  for (int i = 0; i < 10; i++)
    assert_int_equal (got.names[i][0], i);
  pack_table_release (&got);
  pack_table_release (&t);
  uint8_t empty = 0;
  assert_int_equal (gc_record_decode (&empty, 1, &got), 0);
  assert_int_equal (got.count, 0);
}

static void
test_id_sum (void **state)
{
  uint8_t sum[PREFIX_LEN], one[PREFIX_LEN] = { 1 }, zero[PREFIX_LEN] = { 0 };
  memset (sum, 0xff, sizeof sum);
  index_sum_add (sum, one); /* carries through and off the end */
  assert_memory_equal (sum, zero, PREFIX_LEN);
  sum[0] = 0xff;
  index_sum_add (sum, one);
  assert_true (sum[0] == 0 && sum[1] == 1 && sum[2] == 0);
}

static void
test_delta (void **state)
{
  AUTO_BUF b;
  struct index_delta d;
  buf_init (&b, 1u << 20);
  assert_int_equal (find ("index_delta")->build (&b), 0);
  assert_int_equal (index_delta_decode (b.data, b.len, &d), 0);
  assert_true (d.input_count == 1 && d.inputs[0].entries == 12345 && d.pack_count == 2
               && d.entry_count == 3);
  assert_string_equal (d.inputs[0].name, "00112233445566aa-0000000001");
  assert_true (d.entries[2].pack == 1 && d.entries[2].type == UNIT_TREE_PAGE
               && d.entries[2].off == 100);
  AUTO_BUF out;
  buf_init (&out, 1u << 20);
  d.entries[2].off = 5000 - 600 + 1; /* past the end of its pack */
  assert_int_equal (index_delta_encode (&d, &out), ERR_INVALID);
  d.entries[2].off = 100;
  memset (d.entries[0].prefix, 0xff, PREFIX_LEN); /* not ascending */
  assert_int_equal (index_delta_encode (&d, &out), ERR_INVALID);
  index_delta_release (&d);
  uint8_t nothing[3] = { 0, 0, 0 };
  assert_int_equal (index_delta_decode (nothing, 3, &d), 0);
  assert_true (d.entry_count == 0 && !d.entries);
  index_delta_release (&d);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_records),         cmocka_unit_test (test_damage_is_sticky),
    cmocka_unit_test (test_counts),
    cmocka_unit_test (test_impossible_node), cmocka_unit_test (test_gc_record),
    cmocka_unit_test (test_id_sum),          cmocka_unit_test (test_delta),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
