/* SPDX-License-Identifier: Apache-2.0 */
/* What the directory backend does beyond tests/backends/conformance. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/fdcache.h"
#include "blob/file.h"

static char dir[64];
static struct blob *store;

static int
setup (void **state)
{
  strcpy (dir, "/tmp/coffer-file-XXXXXX");
  assert_non_null (mkdtemp (dir));
  strcat (dir, "/a/b");
  assert_int_equal (blob_file_open (dir, true, &store), 0);
  return 0;
}

static int
teardown (void **state)
{
  char command[128];
  blob_free (store);
  dir[strlen (dir) - 4] = '\0';
  snprintf (command, sizeof command, "rm -rf '%s'", dir);
  return system (command);
}

static const char *
path_of (const char *key)
{
  static char path[256];
  snprintf (path, sizeof path, "%s/%s", dir, key);
  return path;
}

static int
put (const char *key, const char *text)
{
  return blob_put (store, key, text, strlen (text), NULL);
}

/* A store that is not there is not made unless asked for. */
static void
test_open (void **state)
{
  struct blob *b = NULL;
  char other[128];
  snprintf (other, sizeof other, "%s/none", dir);
  assert_int_equal (blob_file_open (other, false, &b), ERR_MISSING);
  assert_null (b);
  assert_int_equal (put ("file", "x"), 0);
  assert_int_equal (blob_file_open (path_of ("file"), false, &b), ERR_MISSING);
  assert_int_equal (blob_file_open ("", true, &b), ERR_INVALID);
}

/* Others on the host read neither objects nor names. */
static void
test_modes (void **state)
{
  struct stat st;
  umask (0);
  assert_int_equal (put ("x/y", "text"), 0);
  assert_int_equal (stat (path_of ("x/y"), &st), 0);
  assert_int_equal (st.st_mode & 0777, 0600);
  assert_int_equal (stat (path_of ("x"), &st), 0);
  assert_int_equal (st.st_mode & 0777, 0700);
  assert_int_equal (stat (dir, &st), 0);
  assert_int_equal (st.st_mode & 0777, 0700);
}

static int
tmp_count (void)
{
  DIR *d = opendir (path_of (".tmp"));
  int n = 0;
  for (struct dirent *e; d && (e = readdir (d));)
    n += e->d_name[0] != '.';
  if (d)
    closedir (d);
  return n;
}

/* What a crash left goes a day later, not before; no call leaves anything. */
static void
test_tmp (void **state)
{
  assert_int_equal (put ("x", "text"), 0);
  assert_int_equal (blob_put (store, "x", "t", 1, &(struct blob_put_opts){ .if_absent = true }),
                    ERR_EXISTS);
  assert_int_equal (put ("x/below", "t"), ERR_INVALID); /* "x" is an object */
  assert_int_equal (tmp_count (), 0);
  int fd = open (path_of (".tmp/old"), O_CREAT | O_WRONLY, 0600);
  time_t then = (time_t) (clock_wall () / NS_PER_S) - 90000;
  struct timespec old[2] = { { .tv_sec = then }, { .tv_sec = then } };
  assert_int_equal (futimens (fd, old), 0);
  close (fd);
  close (open (path_of (".tmp/young"), O_CREAT | O_WRONLY, 0600));
  blob_free (store);
  assert_int_equal (blob_file_open (dir, false, &store), 0);
  assert_int_equal (tmp_count (), 1);
  uint8_t c;
  assert_int_equal (blob_get (store, ".tmp/young", 0, 1, &c), ERR_INVALID);
}

/* A descriptor that is kept never shows an object that was replaced or deleted, by whomever. */
static void
test_fdcache (void **state)
{
  char out[4];
  struct blob *other;
  assert_int_equal (blob_file_open (dir, false, &other), 0);
  assert_int_equal (put ("k", "one."), 0);
  assert_int_equal (blob_get (store, "k", 0, 4, out), 0);
  assert_int_equal (blob_put (other, "k", "two.", 4, NULL), 0);
  assert_int_equal (blob_get (store, "k", 0, 4, out), 0);
  assert_memory_equal (out, "two.", 4);
  const char *keys[] = { "k" };
  assert_int_equal (blob_delete (other, keys, 1), 0);
  assert_int_equal (blob_get (store, "k", 0, 4, out), ERR_MISSING);
  blob_free (other);
}

static int
open_fds (void)
{
  DIR *d = opendir ("/proc/self/fd");
  int n = 0;
  while (readdir (d))
    n++;
  closedir (d);
  return n;
}

/* However many objects are read, at most FDCACHE_SLOTS stay open. */
static void
test_fd_bound (void **state)
{
  int before = open_fds ();
  char key[32], c;
  for (int i = 0; i < 3 * FDCACHE_SLOTS; i++) {
    snprintf (key, sizeof key, "k%d", i);
    assert_int_equal (put (key, "x"), 0);
  }
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 3 * FDCACHE_SLOTS; i++) {
      snprintf (key, sizeof key, "k%d", i);
      assert_int_equal (blob_get (store, key, 0, 1, &c), 0);
    }
  assert_true (open_fds () <= before + FDCACHE_SLOTS);
}

/* Directories left empty go, and come back when needed. */
static void
test_prune (void **state)
{
  const char *keys[] = { "p/q/r/1", "p/q/r/2" };
  for (int i = 0; i < 3; i++) {
    assert_int_equal (put (keys[0], "x"), 0);
    assert_int_equal (put (keys[1], "x"), 0);
    assert_int_equal (blob_delete (store, keys, 1), 0);
    assert_int_equal (access (path_of ("p/q/r"), F_OK), 0);
    assert_int_equal (blob_delete (store, keys, 2), 0);
    assert_int_not_equal (access (path_of ("p"), F_OK), 0);
  }
}

static int
collect (void *ctx, const struct blob_entry *e)
{
  strcat (strcat (ctx, e->key), " ");
  return 0;
}

/* Empty directories and strangers' files are no part of a listing. */
static void
test_list_strangers (void **state)
{
  assert_int_equal (put ("d/1", "x"), 0);
  assert_int_equal (mkdir (path_of ("empty"), 0700), 0);
  assert_int_equal (mkdir (path_of ("lost+found"), 0700), 0);
  close (open (path_of ("with blank"), O_CREAT | O_WRONLY, 0600));
  assert_int_equal (symlink ("/etc", path_of ("link")), 0);
  char all[256] = "", top[256] = "";
  assert_int_equal (blob_list (store, "", "", false, collect, all), 0);
  assert_string_equal (all, "d/1 ");
  assert_int_equal (blob_list (store, "", "", true, collect, top), 0);
  assert_string_equal (top, "d/ ");
  assert_int_equal (blob_list (store, "../", "", false, collect, all), 0);
  assert_int_equal (blob_list (store, "/", "", false, collect, all), 0);
  assert_int_equal (blob_list (store, ".tmp/", "", false, collect, all), 0);
  assert_string_equal (all, "d/1 ");
}

/* A full file system is ERR_FULL and leaves nothing behind.  Needs the right to mount one. */
static void
test_full (void **state)
{
  struct blob *b;
  char script[256];
  snprintf (script, sizeof script,
            "mkdir -p '%s/m' && mount -t tmpfs -o size=512k none '%s/m' 2>/dev/null",
            dir, dir);
  if (geteuid () != 0 || system (script) != 0)
    skip ();
  char *huge = calloc (1, 1 << 20);
  assert_int_equal (blob_file_open (path_of ("m"), false, &b), 0);
  assert_int_equal (blob_put (b, "big", huge, 1 << 20, NULL), ERR_FULL);
  assert_int_equal (blob_put (b, "small", huge, 1000, NULL), 0);
  struct blob_info info;
  assert_int_equal (blob_head (b, "big", &info), ERR_MISSING);
  blob_free (b);
  free (huge);
  snprintf (script, sizeof script, "umount '%s/m'", dir);
  assert_int_equal (system (script), 0);
}

int
main (void)
{
  log_init (LOG_TO_FILE, "/dev/null", false);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_open, setup, teardown),
    cmocka_unit_test_setup_teardown (test_modes, setup, teardown),
    cmocka_unit_test_setup_teardown (test_tmp, setup, teardown),
    cmocka_unit_test_setup_teardown (test_fdcache, setup, teardown),
    cmocka_unit_test_setup_teardown (test_fd_bound, setup, teardown),
    cmocka_unit_test_setup_teardown (test_prune, setup, teardown),
    cmocka_unit_test_setup_teardown (test_list_strangers, setup, teardown),
    cmocka_unit_test_setup_teardown (test_full, setup, teardown),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
