/* SPDX-License-Identifier: Apache-2.0 */
/* The cuts of doc/format/chunking.md, and the classes of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "store/chunker.h"

#define STREAM_BYTES (3u << 20)
static uint8_t *stream;
static struct gear gear;
static uint64_t rng = 88172645463325252ull;

static uint64_t
next_random (void)
{
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return rng;
}

static int
setup (void **state)
{
  (void) state;
  uint8_t key[32];
  for (int i = 0; i < 32; i++)
    key[i] = (uint8_t) i;
  stream = malloc (STREAM_BYTES);
  for (size_t i = 0; i < STREAM_BYTES; i++)
    stream[i] = (uint8_t) (next_random () >> 24);
  return gear_init (&gear, key);
}

static int
teardown (void **state)
{
  (void) state;
  free (stream);
  return 0;
}

/* Cuts N bytes given in pieces of at most STEP (0: random sizes); returns how many chunks, the last
 * one being what is left. */
static size_t
cut_all (enum chunk_class class, const uint8_t *p, size_t n, uint64_t off, size_t step,
         uint32_t *lens, size_t cap)
{
  struct chunker c;
  chunker_init (&c, &gear, class, off);
  size_t count = 0, len = 0;
  for (size_t at = 0; at < n;) {
    size_t give = step ? step : (size_t) 1 << next_random () % 18;
    give = give < n - at ? give : n - at;
    bool is_cut;
    size_t got = chunker_scan (&c, p + at, give, &is_cut);
    assert_in_range (got, 1, give);
    assert_true (is_cut || got == give);
    at += got;
    len += got;
    if (is_cut || at == n) {
      assert_true (count < cap);
      lens[count++] = (uint32_t) len;
      len = 0;
    }
  }
  return count;
}

/* Guards: the cuts are those of a second implementation of the document, so two versions of this
 * program deduplicate against each other. */
static void
cuts_are_the_documented_ones (void **state)
{
  (void) state;
  static const uint32_t text[] = {
    96683,  76894, 16989, 31055, 29634, 74602, 79174, 42376,  91512, 82393,  65511,
    96200,  248746, 58403, 17420, 67000, 38838, 27395, 80659, 112645, 67338, 146259,
    85132,  58661, 82097, 89507, 95887, 99430, 63549, 21519,  87676, 78993,  155002,
    86273,  82373, 57853, 65610, 71357, 34399, 112821, 69863,
  };
  static const uint32_t generic[] = { 221621, 465202, 420769, 133233, 550694, 875273, 478936 };
  uint32_t lens[100];
  assert_int_equal (gear.table[0], 0x38562d10d05b1754ull);
  assert_int_equal (gear.table[255], 0xa5aedb03b9ed10a3ull);
  assert_int_equal (cut_all (CLASS_TEXT, stream, STREAM_BYTES, 0, 1 << 20, lens, 100), 41);
  assert_memory_equal (lens, text, sizeof text);
  assert_int_equal (cut_all (CLASS_GENERIC, stream, STREAM_BYTES, 0, 1 << 20, lens, 100), 7);
  assert_memory_equal (lens, generic, sizeof generic);
}

/* Guards: equal bytes without end are cut at the maximum, as are short periods. */
static void
monotony_is_cut_at_the_maximum (void **state)
{
  (void) state;
  AUTO_MEM uint8_t *p = calloc (1, 1 << 20);
  uint32_t lens[100];
  assert_int_equal (cut_all (CLASS_TEXT, p, 1 << 20, 0, 100000, lens, 100), 4);
  for (int i = 0; i < 4; i++)
    assert_int_equal (lens[i], 256 << 10);
  for (size_t i = 0; i < 1 << 20; i++)
    p[i] = (uint8_t) "INSERT INTO t VALUES (1,2,3);\n"[i % 30];
  assert_int_equal (cut_all (CLASS_TEXT, p, 1 << 20, 0, 100000, lens, 100), 4);
}

/* Guards: cutting does not depend on how the stream was split into calls. */
static void
splitting_does_not_matter (void **state)
{
  (void) state;
  uint32_t once[4000], pieces[4000];
  for (enum chunk_class class = CLASS_GENERIC; class <= CLASS_IMMUTABLE; class++) {
    size_t n = STREAM_BYTES - 12345, count = cut_all (class, stream + 7, n, 0, n, once, 4000);
    for (int round = 0; round < 30; round++) {
      size_t step = round == 0 ? 61 : 0;
      assert_int_equal (cut_all (class, stream + 7, n, 0, step, pieces, 4000), count);
      assert_memory_equal (pieces, once, count * sizeof *once);
    }
  }
}

/* Guards: after bytes are inserted in front, the later cuts come back in place. */
static void
cuts_follow_the_content (void **state)
{
  (void) state;
  uint32_t a[100], b[100];
  size_t na = cut_all (CLASS_TEXT, stream, STREAM_BYTES, 0, 1 << 20, a, 100);
  size_t nb = cut_all (CLASS_TEXT, stream + 5000, STREAM_BYTES - 5000, 0, 1 << 20, b, 100);
  size_t same = 0;
  while (same < na && same < nb && a[na - 1 - same] == b[nb - 1 - same])
    same++;
  assert_true (same > na * 3 / 4);
}

/* Guards: fixed classes cut at multiples of their size of the file, wherever the stream starts. */
static void
fixed_cuts_are_aligned (void **state)
{
  (void) state;
  uint32_t lens[100];
  size_t n = cut_all (CLASS_PAGES, stream, 200000, 65536 * 7 + 65535, 4096, lens, 100);
  assert_int_equal (n, 5);
  assert_int_equal (lens[0], 1);
  assert_int_equal (lens[1], 65536);
  assert_int_equal (lens[4], 200000 - 1 - 3 * 65536);
  struct chunker c;
  bool is_cut;
  chunker_init (&c, &gear, CLASS_IMMUTABLE, 0);
  assert_int_equal (chunker_scan (&c, stream, 1000, &is_cut), 1000);
  assert_false (is_cut);
  chunker_reset (&c, 512 << 10);
  assert_int_equal (chunker_scan (&c, stream, 1 << 20, &is_cut), 512 << 10);
  assert_true (is_cut);
}

static void
put_be32 (uint8_t *p, uint32_t v)
{
  for (int i = 0; i < 4; i++)
    p[i] = (uint8_t) (v >> (24 - 8 * i));
}

/* The first two pages of an InnoDB space, as a fresh single-table file has them. */
static void
make_innodb (uint8_t *p, uint32_t space, uint32_t pages)
{
  memset (p, 0, 65536);
  put_be32 (p, 0x5eed1234); /* checksum */
  p[25] = 8;
  put_be32 (p + 34, space);
  put_be32 (p + 38, space);
  put_be32 (p + 46, pages);
  put_be32 (p + 50, 64);
  put_be32 (p + 16384 + 4, 1);
}

/* Guards: ruling 18: content decides before the name, and a temporary name hides nothing. */
static void
content_comes_before_the_name (void **state)
{
  (void) state;
  static uint8_t head[65536];
  make_innodb (head, 12, 6);
  assert_int_equal (class_of_file (".orders.ibd.Ab12Cd", head, sizeof head), CLASS_PAGES);
  assert_int_equal (class_of_file ("x", head, sizeof head), CLASS_PAGES);
  assert_int_equal (class_of_file ("dump.sql", head, sizeof head), CLASS_PAGES);
  head[25] = 9;
  assert_int_equal (class_of_file ("x", head, sizeof head), CLASS_GENERIC);
  make_innodb (head, 0, 768); /* the system space */
  assert_int_equal (class_of_file ("x", head, 64), CLASS_PAGES);
  assert_int_equal (class_of_file ("x", head, 63), CLASS_GENERIC);

  memcpy (head, "SQLite format 3\0\x10\0", 18);
  assert_int_equal (class_of_file ("x", head, sizeof head), CLASS_PAGES);
  memset (head, 0, sizeof head);
  assert_int_equal (class_of_file ("x", head, sizeof head), CLASS_GENERIC);
  assert_int_equal (class_of_file ("x.ibd", head, sizeof head), CLASS_PAGES);
  head[8] = 4; /* bbolt's meta page */
  memcpy (head + 16, "\xed\xda\x0c\xed\x02", 5);
  assert_int_equal (class_of_file ("db", head, sizeof head), CLASS_PAGES);
  assert_int_equal (class_of_file ("x", (const uint8_t *) "\xfe" "bin", 4), CLASS_IMMUTABLE);
  assert_int_equal (class_of_file ("a.sql", (const uint8_t *) "\x1f\x8b\x08", 3), CLASS_GENERIC);
}

/* Guards: PostgreSQL's pages are known by their layout, and random bytes are not. */
static void
postgres_pages_are_known (void **state)
{
  (void) state;
  static uint8_t head[65536];
  for (size_t off = 0; off < sizeof head; off += 8192) {
    uint8_t *p = head + off;
    memcpy (p, "\0\0\0\0\x28\x11\x22\x33", 8);
    memcpy (p + 12, "\x40\0\x00\x10\x00\x20\x04\x20", 8);
  }
  assert_int_equal (class_of_file ("16384", head, sizeof head), CLASS_PAGES);
  memset (head + 8192, 0, 8192); /* a page not yet used */
  assert_int_equal (class_of_file ("16384", head, sizeof head), CLASS_PAGES);
  head[16384 + 18] = 0;
  assert_int_equal (class_of_file ("16384", head, sizeof head), CLASS_GENERIC);
  assert_int_equal (class_of_file ("16384", stream, 65536), CLASS_GENERIC);
}

/* Guards: text is told from binary data; a name that promises text is not believed against it. */
static void
text_is_known (void **state)
{
  (void) state;
  const char *dump = "-- MariaDB dump 10.19\nCREATE TABLE `k\xc3\xa4se` (id INT);\n\tINSERT\r\n";
  assert_int_equal (class_of_file ("x", (const uint8_t *) dump, strlen (dump)), CLASS_TEXT);
  assert_int_equal (class_of_file ("dump.sql", stream, 4096), CLASS_GENERIC);
  assert_int_equal (class_of_file ("dump.sql", NULL, 0), CLASS_TEXT);
  assert_int_equal (class_of_file ("", NULL, 0), CLASS_GENERIC);
  assert_int_equal (class_of_file ("nb-1-big-Data.db", stream, 4096), CLASS_IMMUTABLE);
  assert_int_equal (class_of_file ("nb-1-big-Data.db.part", stream, 4096), CLASS_IMMUTABLE);
  assert_int_equal (class_of_file (".ibd", stream, 4096), CLASS_GENERIC);
}

/* Guards: what counts as a temporary spelling, and what is left alone. */
static void
temporary_names_are_normalised (void **state)
{
  (void) state;
  static const char *const names[][2] = {
    { ".orders.ibd.Ab12Cd", "orders.ibd" },
    { "db.part", "db" },
    { "F.tmp", "F" },
    { ".F.part.x9Y8z7", "F" },
    { "orders.ibd", "orders.ibd" },
    { ".bashrc", ".bashrc" },
    { ".x.Ab-2Cd", ".x.Ab-2Cd" },
    { "..Ab12Cd", "..Ab12Cd" },
    { ".part", ".part" },
    { "", "" },
  };
  char out[256];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    class_normal_name (names[i][0], out, sizeof out);
    assert_string_equal (out, names[i][1]);
  }
  class_normal_name ("orders.ibd", out, 4);
  assert_string_equal (out, "ord");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (cuts_are_the_documented_ones),
    cmocka_unit_test (monotony_is_cut_at_the_maximum),
    cmocka_unit_test (splitting_does_not_matter),
    cmocka_unit_test (cuts_follow_the_content),
    cmocka_unit_test (fixed_cuts_are_aligned),
    cmocka_unit_test (content_comes_before_the_name),
    cmocka_unit_test (postgres_pages_are_known),
    cmocka_unit_test (text_is_known),
    cmocka_unit_test (temporary_names_are_normalised),
  };
  return cmocka_run_group_tests (tests, setup, teardown);
}
