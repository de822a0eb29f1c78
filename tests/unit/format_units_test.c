/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: bounds of what every object shares (doc/format/README.md, chunk.md, tree.md): headers,
 * frames, references, extents, pack tables, packs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "format/pack.h"

/* A newer version or an unknown must-know bit means "a newer coffer is needed", not "damaged". */
static void
test_header (void **state)
{
  AUTO_BUF b;
  buf_init (&b, 64);
  object_header_put (&b, MAGIC_INDEX);
  assert_int_equal (b.len, OBJECT_HEADER_LEN);
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_INDEX), 0);
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_PACK), ERR_FORMAT);
  assert_int_equal (object_header_check (b.data, 15, MAGIC_INDEX), ERR_FORMAT);
  b.data[12] = 0xff; /* may_ignore */
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_INDEX), 0);
  b.data[11] = 0x80; /* must_know */
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_INDEX), ERR_VERSION);
  b.data[11] = 0;
  b.data[8] = 2;
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_INDEX), ERR_VERSION);
  b.data[8] = 0;
  assert_int_equal (object_header_check (b.data, b.len, MAGIC_INDEX), ERR_FORMAT);
}

/* The frame is read before it is authenticated: it must not make a reader allocate beyond the
 * bound. */
static void
test_frame (void **state)
{
  struct frame f = { .type = UNIT_DATA, .codec = CODEC_ZSTD, .aead = AEAD_AES_256_GCM,
                     .plain_len = 8u << 20 };
  struct frame got;
  uint8_t raw[200];
  memset (raw, 0, sizeof raw);
  frame_encode (&f, raw);
  assert_int_equal (frame_decode (raw, sizeof raw, &got), 0);
  assert_true (got.type == f.type && got.codec == f.codec && got.generation == f.generation);
  assert_true (got.aead == f.aead && got.plain_len == f.plain_len);
  assert_memory_equal (got.nonce, f.nonce, NONCE_LEN);
  assert_int_equal (frame_decode (raw, UNIT_OVERHEAD, &got), ERR_FORMAT);
  assert_int_equal (frame_decode (raw, UNIT_OVERHEAD + 1, &got), 0);
  f.plain_len++;
  frame_encode (&f, raw);
  assert_int_equal (frame_decode (raw, sizeof raw, &got), ERR_FORMAT);
  f.plain_len = 0;
  frame_encode (&f, raw);
  assert_int_equal (frame_decode (raw, sizeof raw, &got), ERR_FORMAT);
  f.plain_len = 100;
  f.codec = CODEC_RAW; /* raw: the length is known exactly */
  frame_encode (&f, raw);
  assert_int_equal (frame_decode (raw, 140, &got), 0);
  assert_int_equal (frame_decode (raw, 141, &got), ERR_FORMAT);
  assert_int_equal (frame_decode (raw, 139, &got), ERR_FORMAT);
  for (int i = 0; i < 4; i++) { /* unknown version, type, codec, aead */
    uint8_t was = raw[i];
    raw[i] = 200;
    assert_int_equal (frame_decode (raw, 140, &got), i == 0 ? ERR_VERSION : ERR_FORMAT);
    raw[i] = was;
  }
}

static void
test_plain_max (void **state)
{
  for (int type = -1; type < 300; type++) {
    bool is_known = type == 1 || (type >= 16 && type <= 19) || (type >= 32 && type <= 36);
    assert_int_equal (unit_plain_max (type) != 0, is_known);
  }
}

static int
ref_bytes_are_taken (const struct chunk_ref *ref, uint32_t npacks)
{
  AUTO_BUF b;
  struct chunk_ref got;
  buf_init (&b, 200);
  chunk_ref_put (&b, ref);
  struct rd r = rd_of (b.data, b.len);
  chunk_ref_get (&r, npacks, &got);
  if (r.failed)
    return 0;
  assert_memory_equal (got.id, ref->id, ID_LEN);
  assert_int_equal (got.pack, ref->pack);
  assert_int_equal (got.off, ref->off);
  assert_int_equal (got.sealed_len, ref->sealed_len);
  assert_int_equal (got.plain_len, ref->plain_len);
  return 1;
}

static void
test_ref_bounds (void **state)
{
  struct chunk_ref ref = example_ref (1, 2, 1000), bad;
  assert_true (ref_bytes_are_taken (&ref, 3));
  assert_false (ref_bytes_are_taken (&ref, 2));
  bad = ref, bad.off = 63; /* inside the pack's header */
  assert_false (ref_bytes_are_taken (&bad, 3));
  bad = ref, bad.off = 64, bad.sealed_len = PACK_MAX_BYTES - 64;
  assert_true (ref_bytes_are_taken (&bad, 3));
  bad.off++;
  assert_false (ref_bytes_are_taken (&bad, 3));
  bad = ref, bad.sealed_len = UNIT_OVERHEAD;
  assert_false (ref_bytes_are_taken (&bad, 3));
  bad = ref, bad.plain_len = 0;
  assert_false (ref_bytes_are_taken (&bad, 3));
  bad = ref, bad.plain_len = 64u << 20;
  assert_true (ref_bytes_are_taken (&bad, 3));
  bad.plain_len++;
  assert_false (ref_bytes_are_taken (&bad, 3));
  bad = ref, bad.off = UINT32_MAX, bad.sealed_len = UINT32_MAX; /* no wrap-around */
  assert_false (ref_bytes_are_taken (&bad, 3));
}

static bool
extent_is_taken (const struct extent *e, struct extent *got)
{
  AUTO_BUF b;
  buf_init (&b, 200);
  extent_put (&b, e);
  struct rd r = rd_of (b.data, b.len);
  extent_get (&r, 10, got);
  return !r.failed && rd_left (&r) == 0;
}

static void
test_extents (void **state)
{
  struct extent whole = { .len = 4096, .kind = EXTENT_DATA,
                          .ref = example_ref (1, 0, 4096) }, got, e;
  assert_true (extent_is_taken (&whole, &got));
  assert_true (got.kind == EXTENT_DATA && got.len == 4096 && got.chunk_off == 0);
  assert_memory_equal (got.ref.id, whole.ref.id, ID_LEN);
  e = whole, e.chunk_off = 1, e.len = 4095;
  assert_true (extent_is_taken (&e, &got));
  assert_int_equal (got.chunk_off, 1);
  assert_int_equal (got.len, 4095);
  e.len = 4096; /* past the chunk's end */
  assert_false (extent_is_taken (&e, &got));
  e.chunk_off = 4096, e.len = 1;
  assert_false (extent_is_taken (&e, &got));
  e = whole, e.len = 0;
  assert_false (extent_is_taken (&e, &got));
  e = (struct extent){ .kind = EXTENT_HOLE, .len = INT64_MAX };
  assert_true (extent_is_taken (&e, &got));
  e.len++;
  assert_false (extent_is_taken (&e, &got));
  e = (struct extent){ .kind = EXTENT_ZERO, .len = 0 };
  assert_false (extent_is_taken (&e, &got));
  /* A data extent whose chunk is larger than data may be. */
  e = whole, e.ref.plain_len = (8u << 20) + 1, e.len = e.ref.plain_len;
  assert_false (extent_is_taken (&e, &got));
}

/* A whole chunk spelled as a part would give one file two digests. */
static void
test_extent_one_spelling (void **state)
{
  AUTO_BUF b;
  struct chunk_ref ref = example_ref (1, 0, 4096);
  struct extent got;
  buf_init (&b, 200);
  buf_put_u8 (&b, EXTENT_PART);
  chunk_ref_put (&b, &ref);
  buf_put_varint (&b, 0);
  buf_put_varint (&b, 4096);
  struct rd r = rd_of (b.data, b.len);
  extent_get (&r, 1, &got);
  assert_true (r.failed);
}

static void
test_pack_table (void **state)
{
  struct pack_table t = { 0 }, got;
  uint8_t name[PACK_NAME_LEN];
  uint32_t at;
  for (uint32_t round = 0; round < 2; round++)
    for (uint32_t i = 0; i < 500; i++) {
      memset (name, 0, sizeof name);
      put_le32 (name + 28, i); /* alike but for the end */
      assert_int_equal (pack_table_intern (&t, name, &at), 0);
      assert_int_equal (at, i);
      assert_int_equal (pack_table_intern (&t, name, &at), 0);
      assert_int_equal (at, i);
    }
  assert_int_equal (t.count, 500);
  AUTO_BUF b;
  buf_init (&b, 1u << 20);
  pack_table_put (&b, &t);
  struct rd r = rd_of (b.data, b.len);
  assert_int_equal (pack_table_get (&r, &got), 0);
  assert_int_equal (got.count, 500);
  assert_memory_equal (got.names, t.names, 500 * PACK_NAME_LEN);
  pack_table_release (&got);
  r = rd_of (b.data, b.len - 1);
  assert_int_equal (pack_table_get (&r, &got), ERR_FORMAT);
  pack_table_reset (&t);
  assert_int_equal (pack_table_intern (&t, name, &at), 0); /* nothing remembered from before */
  assert_int_equal (at, 0);
  pack_table_release (&t);
  /* A count that the input cannot hold is refused before memory is taken for it. */
  uint8_t huge[] = { 0xc0, 0x84, 0x3d, 1, 2, 3 };
  r = rd_of (huge, sizeof huge);
  assert_int_equal (pack_table_get (&r, &got), ERR_FORMAT);
}

static void
test_pack_trailer (void **state)
{
  uint8_t raw[PACK_TRAILER_LEN];
  uint64_t off;
  uint32_t len, n;
  pack_trailer_encode (1064, 100, 2, raw);
  assert_int_equal (pack_trailer_decode (raw, 1064 + 100 + 32, &off, &len, &n), 0);
  assert_int_equal (off, 1064);
  assert_int_equal (len, 100);
  assert_int_equal (n, 2);
  assert_int_equal (pack_trailer_decode (raw, 1064 + 100 + 31, &off, &len, &n), ERR_FORMAT);
  assert_int_equal (pack_trailer_decode (raw, 1064 + 100 + 33, &off, &len, &n), ERR_FORMAT);
  pack_trailer_encode (1064, 100, 0, raw);
  assert_int_equal (pack_trailer_decode (raw, 1196, &off, &len, &n), ERR_FORMAT);
  pack_trailer_encode (1064, 100, 25, raw); /* 1000 bytes hold at most 24 chunks */
  assert_int_equal (pack_trailer_decode (raw, 1196, &off, &len, &n), ERR_FORMAT);
  pack_trailer_encode (UINT64_MAX - 10, 100, 2, raw);
  assert_int_equal (pack_trailer_decode (raw, 1196, &off, &len, &n), ERR_FORMAT);
  pack_trailer_encode (PACK_MAX_BYTES, 100, 2, raw);
  assert_int_equal (pack_trailer_decode (raw, PACK_MAX_BYTES + 132, &off, &len, &n), ERR_FORMAT);
  pack_trailer_encode (63, 100, 1, raw);
  assert_int_equal (pack_trailer_decode (raw, 63 + 132, &off, &len, &n), ERR_FORMAT);
}

/* The chunks of a table lie back to back from the header to the table: a gap or an overlap would
 * let one table describe two packs. */
static void
test_pack_entries (void **state)
{
  AUTO_BUF b;
  struct pack_entry e = { .type = UNIT_DATA, .codec = CODEC_RAW, .plain_len = 10,
                          .sealed_len = 50 }, got[3];
  buf_init (&b, 1000);
  for (uint8_t i = 0; i < 3; i++) {
    example_bytes (i, e.id, ID_LEN);
    pack_entry_put (&b, &e);
  }
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 150, got, 3), 3);
  assert_int_equal (got[2].off, 64 + 100);
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 151, got, 3), ERR_FORMAT);
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 149, got, 3), ERR_FORMAT);
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 150, got, 2), ERR_LIMIT);
  assert_int_equal (pack_table_decode (b.data, b.len - 1, 64 + 150, got, 3), ERR_FORMAT);
  assert_int_equal (pack_table_decode (b.data, 0, 64, got, 3), ERR_FORMAT);
  b.data[32] = UNIT_PACK_TABLE; /* not a chunk */
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 150, got, 3), ERR_FORMAT);
  b.data[32] = UNIT_DATA;
  b.data[34] = 1;
  assert_int_equal (pack_table_decode (b.data, b.len, 64 + 150, got, 3), ERR_FORMAT);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_header),       cmocka_unit_test (test_frame),
    cmocka_unit_test (test_plain_max),    cmocka_unit_test (test_ref_bounds),
    cmocka_unit_test (test_extents),      cmocka_unit_test (test_extent_one_spelling),
    cmocka_unit_test (test_pack_table),   cmocka_unit_test (test_pack_trailer),
    cmocka_unit_test (test_pack_entries),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
