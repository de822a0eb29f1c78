/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest of src/fs promises without a mount: errno values, rates, the mount point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/control_priv.h"
#include "fs/mountpoint.h"

/* Promise 3 of the design: damage is EIO, never ENOENT and never a success. */
static void
damage_is_eio (void **state)
{
  assert_int_equal (err_to_errno (ERR_MISSING), EIO);
  assert_int_equal (err_to_errno (ERR_FORMAT), EIO);
  assert_int_equal (err_to_errno (ERR_VERSION), EIO);
  assert_int_equal (err_to_errno (-9999), EIO);
}

/* Promise: every code has an errno of its own line, so no error reaches the kernel as 0 or as a
 * number it would take for something else. */
static void
every_code_has_an_errno (void **state)
{
  assert_int_equal (err_to_errno (0), 0);
  assert_int_equal (err_to_errno (5), 0);
  for (int e = ERR_STALE; e < 0; e++) {
    int n = err_to_errno (e);
    assert_in_range (n, 1, 133);
  }
  static const int pairs[][2] = {
    { ERR_NOENT, ENOENT }, { ERR_EXISTS, EEXIST },     { ERR_ROFS, EROFS },   { ERR_BUSY, EBUSY },
    { ERR_XDEV, EXDEV },   { ERR_NOTEMPTY, ENOTEMPTY }, { ERR_FULL, ENOSPC },  { ERR_AGAIN,
                                                                                 EAGAIN },
    { ERR_PERM, EPERM },   { ERR_NODATA, ENODATA },     { ERR_NXIO, ENXIO },   { ERR_INVALID,
                                                                                 EINVAL },
    { ERR_INTR, EINTR },   { ERR_RANGE, ERANGE },       { ERR_NOMEM, ENOMEM }, { ERR_ISDIR,
                                                                                 EISDIR },
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    assert_int_equal (err_to_errno (pairs[i][0]), pairs[i][1]);
}

/* Promise: a watched status shows the rate of the last seconds, the first look the mean. */
static void
rates_follow (void **state)
{
  struct rates *r;
  int64_t t = 1000 * NS_PER_S;
  assert_int_equal (rates_new (&r), 0);
  assert_int_equal ((int) rates_note (r, "a", 1000, t - 10 * NS_PER_S, t), 100);
  /* 3 s later, 9000 bytes more: 3000 a second, not the mean of 13 s */
  t += 3 * NS_PER_S;
  assert_int_equal ((int) rates_note (r, "a", 10000, t - 13 * NS_PER_S, t), 3000);
  /* a minute without a byte */
  for (int i = 0; i < 6; i++) {
    t += 10 * NS_PER_S;
    (void) rates_note (r, "a", 10000, 0, t);
  }
  assert_int_equal ((int) rates_note (r, "a", 10000, 0, t), 0);
  /* a new snapshot of the same name begins anew */
  assert_int_equal ((int) rates_note (r, "a", 500, t - 5 * NS_PER_S, t), 100);
  rates_free (r);
}

/* Promise: more snapshots than are remembered cost nothing but their rate's precision. */
static void
rates_are_bounded (void **state)
{
  struct rates *r;
  char key[32];
  assert_int_equal (rates_new (&r), 0);
  for (int i = 1; i <= 1000; i++) {
    snprintf (key, sizeof key, "k%d", i);
    double rate = rates_note (r, key, 100, (i - 1) * NS_PER_S, i * NS_PER_S);
    assert_int_equal ((int) rate, 100);
  }
  rates_free (r);
}

static void
eta_is_said_where_it_can (void **state)
{
  struct snapshot_info s = { .pending = 1000 };
  assert_int_equal (snapshot_eta_s (&s, 100), 11);
  assert_int_equal (snapshot_eta_s (&s, 0), -1);
  s.pending = 0;
  assert_int_equal (snapshot_eta_s (&s, 0), 0);
}

/* Promise (ruling 22): a bare, empty mount point takes no data; one with files is left alone. */
static void
bare_mountpoint_is_guarded (void **state)
{
  char dir[] = "/tmp/fs-mountpoint.XXXXXX", file[64];
  enum mountpoint_state st;
  struct stat attr;
  assert_non_null (mkdtemp (dir));
  assert_int_equal (mountpoint_check (dir, &st), 0);
  assert_int_equal (st, MOUNTPOINT_BARE);
  assert_int_equal (mountpoint_detach_dead (dir), 0);
  snprintf (file, sizeof file, "%s/file", dir);
  FILE *f = fopen (file, "w");
  assert_non_null (f);
  fclose (f);
  assert_false (mountpoint_guard (dir));
  assert_int_equal (unlink (file), 0);
  if (mountpoint_guard (dir)) {
    assert_int_equal (stat (dir, &attr), 0);
    assert_int_equal (attr.st_mode & 07777, 0);
    assert_true (mountpoint_guard (dir)); /* again: the same */
  }
  assert_int_equal (mountpoint_unguard (dir), 0);
  f = fopen (file, "w");
  assert_non_null (f);
  fclose (f);
  unlink (file);
  assert_int_equal (rmdir (dir), 0);
  assert_int_equal (mountpoint_check (dir, &st), ERR_NOENT);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (damage_is_eio),
    cmocka_unit_test (every_code_has_an_errno),
    cmocka_unit_test (rates_follow),
    cmocka_unit_test (rates_are_bounded),
    cmocka_unit_test (eta_is_said_where_it_can),
    cmocka_unit_test (bare_mountpoint_is_guarded),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
