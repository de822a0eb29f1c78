/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of buffers: what is lent and what waits stay below the total together (ruling 4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/bufpool.h"

#define MIB ((size_t) 1 << 20)

static uint8_t *
get (size_t n)
{
  size_t cap = 0;
  uint8_t *p = bufpool_get (n, &cap);
  assert_non_null (p);
  assert_true (cap == n); /* the sizes here are classes */
  memset (p, 0xaa, n);
  return p;
}

static void
test_reuse (void **state)
{
  (void) state;
  bufpool_trim ();
  bufpool_set_total (8 * MIB);
  uint8_t *a = get (MIB), *b = get (MIB);
  bufpool_put (b, MIB);
  assert_true (bufpool_kept () == MIB && bufpool_lent () == MIB);
  assert_ptr_equal (get (MIB), b);
  assert_true (bufpool_kept () == 0 && bufpool_lent () == 2 * MIB);
  bufpool_put (a, MIB);
  bufpool_put (b, MIB);
  bufpool_trim ();
  assert_true (bufpool_kept () == 0 && bufpool_lent () == 0);
}

/* What waits in one class makes room for what is lent from another. */
static void
test_total (void **state)
{
  (void) state;
  bufpool_trim ();
  bufpool_set_total (8 * MIB);
  uint8_t *small[8], *large[3];
  for (int i = 0; i < 8; i++)
    small[i] = get (MIB);
  for (int i = 0; i < 8; i++)
    bufpool_put (small[i], MIB);
  assert_true (bufpool_kept () == 8 * MIB);
  for (int i = 0; i < 3; i++) {
    large[i] = get (4 * MIB);
    size_t lent = bufpool_lent ();
    assert_true (lent == (size_t) (i + 1) * 4 * MIB);
    assert_true (bufpool_kept () == (lent < 8 * MIB ? 8 * MIB - lent : 0));
  }
  bufpool_put (large[0], 4 * MIB); /* 8 are lent still: it does not wait */
  bufpool_put (large[1], 4 * MIB);
  assert_true (bufpool_lent () == 4 * MIB && bufpool_kept () <= 4 * MIB);
  small[0] = get (MIB); /* a smaller one pushes a larger one out where there is no other */
  assert_true (bufpool_lent () + bufpool_kept () <= 8 * MIB);
  bufpool_put (small[0], MIB);
  bufpool_put (large[2], 4 * MIB);
  assert_true (bufpool_lent () == 0 && bufpool_kept () <= 8 * MIB);
  bufpool_set_total (2 * MIB);
  assert_true (bufpool_kept () <= 2 * MIB);
  bufpool_trim ();
  assert_true (bufpool_kept () == 0);
}

static void
test_too_large (void **state)
{
  (void) state;
  size_t cap;
  assert_null (bufpool_get (BUFPOOL_MAX + 1, &cap));
  assert_true (bufpool_lent () == 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_reuse),
    cmocka_unit_test (test_total),
    cmocka_unit_test (test_too_large),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
