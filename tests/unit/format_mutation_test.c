/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: damage to a stored object is refused or harmless, never a crash, never an over-read
 * (inputs are allocated to the byte: run under ASan), never one object with two meanings (the
 * oracle of tests/fuzz/targets.c); and format 1 stays what it is, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "../fuzz/targets.h"

/* Runs TARGET over a copy that ends where the memory does. */
static int
run_exact (const struct fuzz_target *t, const uint8_t *p, size_t n)
{
  uint8_t *copy = malloc (n ? n : 1);
  assert_non_null (copy);
  memcpy (copy, p, n);
  int rc = t->run (copy, n);
  free (copy);
  return rc;
}

static void
read_golden (const struct example *e, struct buf *out)
{
  const char *srcdir = getenv ("srcdir");
  char path[4096];
  snprintf (path, sizeof path, "%s/tests/golden/v1/codec/%s/%s", srcdir ? srcdir : ".",
            e->decoder, e->name);
  FILE *f = fopen (path, "rb");
  if (!f)
    fail_msg ("no golden file %s", path);
  for (int c; (c = getc (f)) != EOF;)
    buf_put_u8 (out, (uint8_t) c);
  fclose (f);
}

static void
test_golden (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    const struct fuzz_target *t = fuzz_target_find (e->decoder);
    AUTO_BUF b;
    AUTO_BUF golden;
    buf_init (&b, 1u << 20);
    buf_init (&golden, 1u << 20);
    assert_non_null (t);
    assert_int_equal (e->build (&b), 0);
    read_golden (e, &golden);
    if (b.len != golden.len || memcmp (b.data, golden.data, b.len) != 0)
      fail_msg ("%s/%s is encoded in another way than format 1 is", e->decoder, e->name);
    assert_int_equal (run_exact (t, golden.data, golden.len), 0);
  }
}

static void
test_bit_flips (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    const struct fuzz_target *t = fuzz_target_find (e->decoder);
    AUTO_BUF b;
    buf_init (&b, 1u << 20);
    assert_int_equal (e->build (&b), 0);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
      b.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
      (void) run_exact (t, b.data, b.len); /* a flip in an id is another object: AEAD is above */
      b.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
  }
}

/* A cut at the end is always refused by the binary codecs, save where a record ends. */
static void
test_truncation (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    const struct fuzz_target *t = fuzz_target_find (e->decoder);
    bool is_stream = strcmp (e->decoder, "checkpoint") == 0 || strcmp (e->name, "sealed") == 0;
    bool is_text = strcmp (e->decoder, "key_file") == 0;
    bool is_json = strcmp (e->decoder, "superblock") == 0 || strcmp (e->decoder, "key_slot") == 0;
    AUTO_BUF b;
    buf_init (&b, 1u << 20);
    assert_int_equal (e->build (&b), 0);
    for (size_t n = 0; n < b.len; n++) {
      int rc = run_exact (t, b.data, n);
      bool only_newline = (is_text || is_json) && n == b.len - 1;
      if (rc == 0 && !is_stream && !only_newline)
        fail_msg ("%s/%s was taken though cut at %zu of %zu", e->decoder, e->name, n, b.len);
      rc = run_exact (t, b.data + (b.len - n), n);
      if (rc == 0 && !is_stream && !is_text)
        fail_msg ("%s/%s was taken without its first %zu bytes", e->decoder, e->name, b.len - n);
    }
  }
}

static void
test_extension (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    const struct fuzz_target *t = fuzz_target_find (e->decoder);
    AUTO_BUF b;
    buf_init (&b, 1u << 20);
    assert_int_equal (e->build (&b), 0);
    buf_put_u8 (&b, 0x11);
    if (run_exact (t, b.data, b.len) == 0 && strcmp (e->name, "sealed") != 0)
      fail_msg ("%s/%s was taken with a byte behind it", e->decoder, e->name);
  }
}

/* Each byte set to each value: what a bit flip does not reach. */
static void
test_byte_values (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    const struct fuzz_target *t = fuzz_target_find (e->decoder);
    AUTO_BUF b;
    buf_init (&b, 1u << 20);
    assert_int_equal (e->build (&b), 0);
    for (size_t i = 0; i < b.len; i++) {
      uint8_t was = b.data[i];
      for (unsigned v = 0; v < 256; v += i < 64 ? 1 : 15) {
        b.data[i] = (uint8_t) v;
        (void) run_exact (t, b.data, b.len);
      }
      b.data[i] = was;
    }
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_golden),     cmocka_unit_test (test_bit_flips),
    cmocka_unit_test (test_truncation), cmocka_unit_test (test_extension),
    cmocka_unit_test (test_byte_values),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
