/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache in trouble (promise 3, and "the cache directory may be deleted, filled with
 * garbage or be on a failing disk at any time: the mount keeps serving"): it misses, it recovers, a
 * hit is never something else than what was put. */
#include "unit/cache_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"

#define MIN_FILLED (2 << 20)

static void
fill (struct blockcache *c, uint32_t pack, int n)
{
  for (int i = 0; i < n; i++)
    put_unit (c, pack, 64 + (uint32_t) i * 40000, 20000);
  blockcache_flush (c);
}

static int
count (struct blockcache *c, uint32_t pack, int n)
{
  int hits = 0;
  for (int i = 0; i < n; i++)
    hits += has_unit (c, pack, 64 + (uint32_t) i * 40000, 20000);
  return hits;
}

/* Puts until the cache keeps things again; the time is the promise (it retries after 1 s). */
static bool
recovers (struct blockcache *c, uint32_t pack)
{
  for (int i = 0; i < 400; i++) {
    put_unit (c, pack, 64, 20000);
    blockcache_flush (c);
    if (has_unit (c, pack, 64, 20000))
      return true;
    usleep (10000);
  }
  return false;
}

/* Writes garbage over (or truncates, HOW == 1; or cuts in half, HOW == 2) every file in the
 * directory. */
static void
garbage (const char *dir, int how)
{
  DIR *d = opendir (dir);
  unsigned seed = 1;
  for (struct dirent *e; (e = readdir (d));) {
    char path[4096];
    struct stat st;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    if (stat (path, &st) < 0 || !S_ISREG (st.st_mode))
      continue;
    if (how) {
      assert_int_equal (truncate (path, how == 1 ? 0 : st.st_size / 2), 0);
      continue;
    }
    int fd = open (path, O_WRONLY | O_TRUNC);
    for (off_t i = 0; i < st.st_size + 100; i += 4) {
      int r = rand_r (&seed);
      assert_int_equal (write (fd, &r, 4), 4);
    }
    close (fd);
  }
  closedir (d);
}

/* Killed in the middle of writes, again and again: it opens, and what it gives is right. */
static void
test_kill (void **state)
{
  for (int round = 0; round < 12; round++) {
    int done[2];
    assert_int_equal (pipe (done), 0);
    pid_t pid = fork ();
    if (pid == 0) {
      close (done[0]);
      struct blockcache *c = cache_at (*state, 8 << 20);
      for (uint32_t i = 0;; i++) {
        uint32_t pack = i / 50 % 9;
        if (i == 450) {
          blockcache_flush (c);
          (void) !write (done[1], "", 1);
        }
        if (!has_unit (c, pack, 64 + i % 50 * 40000, 20000))
          put_unit (c, pack, 64 + i % 50 * 40000, 20000);
        else
          usleep (10);
      }
    }
    for (int i = 0; i < 500 && dir_bytes (*state) < MIN_FILLED; i++)
      usleep (10000); /* a slow machine: it must have begun */
    usleep (20000 + 7000 * (useconds_t) round);
    close (done[1]);
    char byte;
    if (round == 11) /* at last one that came so far as to have written all once */
      assert_int_equal (read (done[0], &byte, 1), 1);
    close (done[0]);
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
    assert_true (dir_bytes (*state) <= 8 << 20);
  }
  AUTO (blockcache) c = cache_at (*state, 8 << 20);
  int hits = 0;
  for (uint32_t pack = 0; pack < 9; pack++)
    hits += count (c, pack, 50);
  assert_true (hits > 50); /* restart keeps content, also this kind of restart */
  assert_true (recovers (c, 77));
  blockcache_flush (c);
  assert_true (dir_bytes (*state) <= 8 << 20);
}

/* The directory is deleted while the cache is open: it is made again. */
static void
test_deleted (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 8 << 20);
  fill (c, 1, 30);
  remove_tree (*state);
  (void) count (c, 1, 30);
  assert_true (recovers (c, 2));
  fill (c, 3, 30);
  assert_int_equal (count (c, 3, 30), 30);
}

/* The directory is replaced by a file: no cache, no harm; when it can be made again, it is. */
static void
test_replaced_by_file (void **state)
{
  AUTO (blockcache) c = cache_at (*state, 8 << 20);
  fill (c, 1, 3);
  remove_tree (*state);
  int fd = open (*state, O_CREAT | O_WRONLY, 0600);
  close (fd);
  fill (c, 2, 3);
  (void) count (c, 2, 3);
  assert_int_not_equal (blockcache_pin (c, unit_store,
                                        (const uint8_t *) "0123456789abcdef0123456789abcdef",
                                        true), 0);
  assert_int_equal (unlink (*state), 0);
  assert_true (recovers (c, 2));
}

/* Garbage in, or the end of, every file, under a running cache and before a start. */
static void
test_garbage (void **state)
{
  for (int how = 0; how < 3; how++) {
    struct blockcache *c = cache_at (*state, 8 << 20);
    fill (c, 1, 30);
    assert_int_equal (count (c, 1, 30), 30);
    garbage (*state, how);
    (void) count (c, 1, 30);
    assert_true (recovers (c, 2));
    fill (c, 3, 30);
    assert_int_equal (count (c, 3, 30), 30);
    blockcache_free (c);
    garbage (*state, how);
    c = cache_at (*state, 8 << 20);
    (void) count (c, 3, 30);
    assert_true (recovers (c, 4));
    assert_true (dir_bytes (*state) <= 8 << 20);
    blockcache_free (c);
  }
}

/* Any single damaged byte of the index: what is given is right, and it works on. */
static void
test_index_bytes (void **state)
{
  char path[4096];
  snprintf (path, sizeof path, "%s/index.db", (char *) *state);
  struct blockcache *c = cache_at (*state, 8 << 20);
  fill (c, 1, 40);
  blockcache_free (c);
  struct stat st;
  assert_int_equal (stat (path, &st), 0);
  for (off_t at = 0; at < st.st_size; at += at < 200 ? 1 : 131) {
    int fd = open (path, O_RDWR);
    uint8_t byte = 0;
    (void) !pread (fd, &byte, 1, at);
    byte ^= (uint8_t) (1 + at % 255);
    (void) !pwrite (fd, &byte, 1, at);
    close (fd);
    c = cache_at (*state, 8 << 20);
    (void) count (c, 1, 40);
    fill (c, 1, 40);
    fill (c, 2, 10);
    blockcache_free (c);
  }
  c = cache_at (*state, 8 << 20);
  assert_true (recovers (c, 3));
  blockcache_free (c);
}

/* A directory, a link or a FIFO in place of our files. */
static void
test_odd_files (void **state)
{
  static const char *const names[] = { "index.db", "index.db-journal", "lock" };
  for (int kind = 0; kind < 3; kind++)
    for (int i = 0; i < 3; i++) {
      char path[4096], inner[4200];
      snprintf (path, sizeof path, "%s/%s", (char *) *state, names[i]);
      snprintf (inner, sizeof inner, "%s/x", path);
      unlink (path);
      if (kind == 0)
        assert_int_equal (mkdir (path, 0700) | mkdir (inner, 0700), 0);
      else
        assert_int_equal (kind == 1 ? symlink ("/dev/null", path) : mkfifo (path, 0600), 0);
      AUTO (blockcache) c = cache_at (*state, 8 << 20);
      assert_true (recovers (c, 1));
    }
}

/* A full disk, played by RLIMIT_FSIZE in a child: misses, no crash; when there is room again, it
 * works again. */
static void
test_full (void **state)
{
  pid_t pid = fork ();
  if (pid == 0) {
    signal (SIGXFSZ, SIG_IGN);
    struct blockcache *c = cache_at (*state, 8 << 20);
    fill (c, 1, 4);
    struct rlimit old, small = { 60000, RLIM_INFINITY };
    getrlimit (RLIMIT_FSIZE, &old);
    setrlimit (RLIMIT_FSIZE, &small);
    fill (c, 2, 200);
    fill (c, 3, 200);
    (void) count (c, 2, 200);
    struct blockcache_stats s;
    blockcache_stats_get (c, &s);
    setrlimit (RLIMIT_FSIZE, &old);
    bool is_good = s.write_errors > 0 && s.write_errors < 20 && recovers (c, 4);
    blockcache_free (c);
    _exit (is_good ? 0 : 2);
  }
  int status;
  waitpid (pid, &status, 0);
  assert_true (WIFEXITED (status));
  assert_int_equal (WEXITSTATUS (status), 0);
}

/* A place that cannot be written is an error at open, so that the mount can say so. */
static void
test_unusable (void **state)
{
  struct blockcache *c = NULL;
  assert_true (blockcache_open ("/proc/self/cache", 8 << 20, &c) < 0);
  assert_true (blockcache_open ("/dev/null/cache", 8 << 20, &c) < 0);
  assert_true (blockcache_open ("", 8 << 20, &c) < 0);
  assert_null (c);
}

/* A flipped byte in a data file: the header is noticed here, the sealed bytes by whoever opens
 * them. */
static void
test_record_header (void **state)
{
  struct blockcache *c = cache_at (*state, 8 << 20);
  fill (c, 1, 1);
  for (int i = 0; i < 60; i++) {
    DIR *d = opendir (*state);
    for (struct dirent *e; (e = readdir (d));)
      if (strstr (e->d_name, ".seg")) {
        char path[4096];
        uint8_t byte;
        snprintf (path, sizeof path, "%s/%s", (char *) *state, e->d_name);
        int fd = open (path, O_RDWR);
        if (pread (fd, &byte, 1, i) == 1) {
          byte ^= 0x40;
          assert_int_equal (pwrite (fd, &byte, 1, i), 1);
          assert_false (has_unit (c, 1, 64, 20000));
          byte ^= 0x40;
          assert_int_equal (pwrite (fd, &byte, 1, i), 1);
        }
        close (fd);
      }
    closedir (d);
    blockcache_flush (c); /* the miss has dropped the row */
    assert_false (has_unit (c, 1, 64, 20000));
    blockcache_free (c);
    remove_tree (*state);
    c = cache_at (*state, 8 << 20);
    fill (c, 1, 1);
  }
  struct blockcache_stats s;
  blockcache_stats_get (c, &s);
  blockcache_free (c);
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR);
  const struct CMUnitTest tests[] = {
    DIR_TEST (test_kill),      DIR_TEST (test_deleted),   DIR_TEST (test_replaced_by_file),
    DIR_TEST (test_garbage),   DIR_TEST (test_odd_files), DIR_TEST (test_full),
    DIR_TEST (test_unusable),  DIR_TEST (test_index_bytes), DIR_TEST (test_record_header),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
