/* SPDX-License-Identifier: Apache-2.0 */
/* What the codec of fs/acl.h promises: the mode follows the ACL and the ACL the mode, as on a local
 * file system; bytes that are no ACL are refused and left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/acl.h"

#define NO_ID 0xff, 0xff, 0xff, 0xff
#define HEADER 2, 0, 0, 0
#define USER_OBJ(p) 1, 0, p, 0, NO_ID
#define USER(id, p) 2, 0, p, 0, id, 0, 0, 0
#define GROUP_OBJ(p) 4, 0, p, 0, NO_ID
#define MASK(p) 16, 0, p, 0, NO_ID
#define OTHER(p) 32, 0, p, 0, NO_ID

static const uint8_t minimal[] = { HEADER, USER_OBJ (6), GROUP_OBJ (4), OTHER (0) };
static const uint8_t extended[]
  = { HEADER, USER_OBJ (7), USER (9, 6), GROUP_OBJ (1), MASK (6), OTHER (5) };

/* Promise: setting an access ACL shows in `ls -l` as it does on ext4: the group bits are the
 * mask. */
static void
mode_is_that_of_the_acl (void **state)
{
  uint32_t mode;
  bool is_minimal;
  assert_int_equal (acl_mode_of_bytes (minimal, sizeof minimal, &mode, &is_minimal), 0);
  assert_int_equal (mode, 0640);
  assert_true (is_minimal);
  assert_int_equal (acl_mode_of_bytes (extended, sizeof extended, &mode, &is_minimal), 0);
  assert_int_equal (mode, 0765);
  assert_false (is_minimal);
}

/* Promise: chmod changes the mask, not the group's own entry, where there is a mask. */
static void
chmod_changes_the_mask (void **state)
{
  const uint8_t want[] = { HEADER, USER_OBJ (6), USER (9, 6), GROUP_OBJ (1), MASK (4), OTHER (0) };
  uint8_t acl[sizeof extended];
  memcpy (acl, extended, sizeof acl);
  assert_int_equal (acl_chmod_bytes (acl, sizeof acl, 0640), 0);
  assert_memory_equal (acl, want, sizeof want);

  const uint8_t want2[] = { HEADER, USER_OBJ (7), GROUP_OBJ (5), OTHER (1) };
  uint8_t acl2[sizeof minimal];
  memcpy (acl2, minimal, sizeof acl2);
  assert_int_equal (acl_chmod_bytes (acl2, sizeof acl2, 04751), 0);
  assert_memory_equal (acl2, want2, sizeof want2);
}

/* Promise: a new node never gets more than its creator asked for, nor more than the default ACL. */
static void
creation_cuts_down (void **state)
{
  const uint8_t want[] = { HEADER, USER_OBJ (6), USER (9, 6), GROUP_OBJ (1), MASK (6), OTHER (4) };
  uint8_t acl[sizeof extended];
  uint32_t mode = 02666;
  memcpy (acl, extended, sizeof acl);
  assert_int_equal (acl_create_bytes (acl, sizeof acl, &mode), 0);
  assert_memory_equal (acl, want, sizeof want);
  assert_int_equal (mode, 02664);
}

static void
assert_refused (const uint8_t *acl, size_t n)
{
  uint8_t copy[128];
  uint32_t mode = 0123;
  bool is_minimal = false;
  assert_true (n <= sizeof copy);
  memcpy (copy, acl, n);
  assert_int_equal (acl_mode_of_bytes (acl, n, &mode, &is_minimal), ERR_INVALID);
  assert_int_equal (acl_chmod_bytes (copy, n, 0777), ERR_INVALID);
  assert_int_equal (acl_create_bytes (copy, n, &mode), ERR_INVALID);
  assert_int_equal (mode, 0123);
  assert_memory_equal (copy, acl, n);
}

/* Promise: what is not an ACL is refused at every length, and nothing is changed. */
static void
others_are_refused (void **state)
{
  for (size_t n = 0; n < sizeof extended; n++)
    assert_refused (extended, n);
  const uint8_t twice[] = { HEADER, USER_OBJ (7), USER_OBJ (7), GROUP_OBJ (1), OTHER (5) };
  const uint8_t no_mask[] = { HEADER, USER_OBJ (7), USER (9, 6), GROUP_OBJ (1), OTHER (5) };
  const uint8_t unknown_tag[]
    = { HEADER, USER_OBJ (7), GROUP_OBJ (1), OTHER (5), 64, 0, 1, 0, NO_ID };
  const uint8_t too_much[] = { HEADER, USER_OBJ (8), GROUP_OBJ (1), OTHER (5) };
  const uint8_t version[] = { 3, 0, 0, 0, USER_OBJ (7), GROUP_OBJ (1), OTHER (5) };
  assert_refused (twice, sizeof twice);
  assert_refused (no_mask, sizeof no_mask);
  assert_refused (unknown_tag, sizeof unknown_tag);
  assert_refused (too_much, sizeof too_much);
  assert_refused (version, sizeof version);
  uint32_t mode;
  bool is_minimal;
  static uint8_t large[ACL_MAX_BYTES + 8] = { HEADER };
  assert_int_equal (acl_mode_of_bytes (large, sizeof large, &mode, &is_minimal), ERR_LIMIT);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (mode_is_that_of_the_acl),
    cmocka_unit_test (chmod_changes_the_mask),
    cmocka_unit_test (creation_cuts_down),
    cmocka_unit_test (others_are_refused),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
