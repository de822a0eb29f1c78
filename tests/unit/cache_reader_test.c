/* SPDX-License-Identifier: Apache-2.0 */
/* Reader and block cache together (promise 3): a hit is verified, damage on the local disk is
 * dropped and fetched again, and the cache heals; the second restore costs no GET. */
#include "store_reader_util.h"
#include "unit/cache_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define MIB (1u << 20)

static bool
cache_get (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len, uint8_t *out)
{
  return blockcache_get (ctx, unit_store, pack, off, len, out);
}

static void
cache_put (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
           const uint8_t *sealed)
{
  blockcache_put (ctx, unit_store, pack, off, len, sealed);
}

static void
cache_drop (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  blockcache_drop (ctx, unit_store, pack, off);
}

static bool
cache_has (void *ctx, const uint8_t pack[PACK_NAME_LEN], uint32_t off)
{
  return blockcache_has (ctx, unit_store, pack, off);
}

static struct reader_cache
ops_of (struct blockcache *c)
{
  return (struct reader_cache){ .ctx = c, .get = cache_get, .put = cache_put, .drop = cache_drop,
                                .has = cache_has };
}

/* Flips a byte in every STEP bytes of the data files. */
static void
flip (const char *dir, off_t step)
{
  DIR *d = opendir (dir);
  for (struct dirent *e; (e = readdir (d));) {
    char path[4096];
    uint8_t byte;
    if (!strstr (e->d_name, ".seg"))
      continue;
    snprintf (path, sizeof path, "%s/%s", dir, e->d_name);
    int fd = open (path, O_RDWR);
    for (off_t at = step / 2; pread (fd, &byte, 1, at) == 1; at += step) {
      byte ^= 0x01;
      assert_int_equal (pwrite (fd, &byte, 1, at), 1);
    }
    close (fd);
  }
  closedir (d);
}

/* One restore with empty memory; what it cost. */
static struct reader_stats
restore (struct vault *v, struct blockcache *c, bool with_hints)
{
  AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
  for (size_t i = 0; i < v->n; i += 8) {
    if (with_hints)
      reader_prefetch (r, v->wants + i, v->n - i < 64 ? v->n - i : 64);
    assert_int_equal (load (r, v, i, v->n - i < 8 ? v->n - i : 8, 0), 0);
    blockcache_flush (c); /* its queue is shorter than this test is fast */
  }
  reader_forget_source (r, &v->src);
  blockcache_flush (c);
  return stats_of (r);
}

static void
test_damage (void **state)
{
  for (int with_hints = 0; with_hints < 2; with_hints++) {
    struct vault *v = vault_new (0, 0);
    for (int i = 0; i < 4; i++)
      vault_pack (v, 50, 30000, NULL, false);
    AUTO (blockcache) c = cache_at (*state, 64 * MIB);
    v->src.cache = ops_of (c);
    assert_true (restore (v, c, with_hints).gets > 0);
    assert_int_equal (restore (v, c, with_hints).gets, 0);
    AUTO (reader) r = reader_of (8 * MIB, 8 * MIB);
    assert_true (reader_is_cached (r, v->wants, v->n));
    flip (*state, 90000);
    struct reader_stats s = restore (v, c, with_hints);
    assert_true (s.gets > 0);
    assert_true (s.cache_damage > 20);
    assert_int_equal (s.store_damage, 0);
    s = restore (v, c, with_hints);
    assert_int_equal (s.cache_damage, 0);
    assert_int_equal (s.gets, 0);
    assert_int_equal (blockcache_clear (c), 0);
    vault_free (v);
  }
}

/* The directory vanishes during a restore: the restore goes on. */
static void
test_vanishing (void **state)
{
  struct vault *v = vault_new (0, 0);
  for (int i = 0; i < 4; i++)
    vault_pack (v, 50, 30000, NULL, false);
  AUTO (blockcache) c = cache_at (*state, 64 * MIB);
  v->src.cache = ops_of (c);
  (void) restore (v, c, true);
  remove_tree (*state);
  (void) restore (v, c, true);
  (void) restore (v, c, true);
  assert_int_equal (restore (v, c, true).gets, 0); /* it was made again */
  vault_free (v);
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR - 1);
  const struct CMUnitTest tests[] = { DIR_TEST (test_damage), DIR_TEST (test_vanishing) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
