/* SPDX-License-Identifier: Apache-2.0 */
/* The life of snapshots by the rulings: names and instants (30), renames (12), writers at the seal
 * (13), two sealers of one instant (3), sticky errors, adoption (24); and files of many extents,
 * many files, and hard links through checkpoint, recovery and seal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "world.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/names.h"
#include "snapshot/sealed.h"
#include "snapshot/seen.h"
#include "snapshot/vault.h"
#include "store/packfile.h"

static struct world world;
#define T "db/20260101T000000Z"
#define U "db/20260102T000000Z"
#define is(call, want) assert_int_equal ((call), (want))

static void
test_names (void **state)
{
  (void) state;
  struct snapshot_name a, b;
  is (snapshot_name_parse ("2026-11-21T03:00:00Z", &a), 0);
  is (snapshot_name_parse ("20261121T030000Z", &b), 0);
  assert_string_equal (a.ts, b.ts); /* one instant, one name */
  is (a.instant, 1795230000);
  is (snapshot_name_parse ("20261121T030000Z-before-upgrade.partial", &a), 0);
  assert_string_equal (a.label, "before-upgrade");
  assert_true (a.is_partial);
  static const char *const bad[] = {
    "", "latest", "20261121", "20261321T030000Z", "20260230T000000Z", "20261121T250000Z",
    "20261121T030000Z-", "20261121T030000Z-A", "20261121T030000Z-a.b", "20261121T030000Z.partial2",
    "20261121T030000Z-x.partial.partial", "2026-11-21T030000Z", "20261121T03:00:00Z",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (snapshot_name_parse (bad[i], &a) != ERR_INVALID)
      fail_msg ("\"%s\" was taken", bad[i]);
}

static void
test_begin (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  is (do_mkdir (&h, "db/not-a-time"), ERR_INVALID);
  is (do_mkdir (&h, "db/20990101T000000Z.partial"), ERR_INVALID); /* ahead of the store's clock */
  is (do_mkdir (&h, T ".partial"), 0);
  is (do_mkdir (&h, T ".partial"), ERR_EXISTS);
  is (do_mkdir (&h, T), ERR_EXISTS);
  is (do_mkdir (&h, "db/2026-01-01T00:00:00Z.partial"), ERR_EXISTS); /* the other spelling */
  is (do_seal (&h, T ".partial"), 0);
  is (do_mkdir (&h, T ".partial"), ERR_EXISTS);
  is (do_write (&h, T "/x", 0, "x", 1), ERR_ROFS);
  is (do_mkdir (&h, T "/d"), ERR_ROFS);
  world_over (&h, store);
}

static void
test_renames (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  is (do_mkdir (&h, "other"), 0);
  is (do_mkdir (&h, T ".partial"), 0);
  is (do_mkdir (&h, U ".partial"), 0);
  is (do_write (&h, T ".partial/f", 0, "abc", 3), 0);
  is (do_mkdir (&h, U ".partial/d"), 0);
  is (do_rename (&h, T ".partial", "db/20260103T000000Z"), ERR_INVALID); /* another instant */
  is (do_rename (&h, T ".partial", "other/20260101T000000Z"), ERR_INVALID);
  is (do_rename (&h, T ".partial", U ".partial/inside"), ERR_INVALID);
  is (do_rename (&h, T ".partial", "db/20260101T000000Z-x.partial"), ERR_INVALID);
  is (do_rename (&h, T ".partial/f", U ".partial/f"), ERR_XDEV); /* cp copies by reference */
  is (do_rename (&h, T ".partial/f", "db/f"), ERR_INVALID);
  is (do_rename (&h, U ".partial/d", "db/20260105T000000Z.partial"), ERR_INVALID);
  is (do_rename (&h, T ".partial", "db/20260101T000000Z-labelled"), 0);
  is (do_rename (&h, "db/20260101T000000Z-labelled", T), ERR_INVALID); /* sealed: stays */
  is (do_rename (&h, "db/20260101T000000Z-labelled/f", U ".partial/f"), ERR_ROFS);
  is (do_rename (&h, U ".partial/d", "db/20260101T000000Z-labelled/d"), ERR_ROFS);
  is (do_link (&h, "db/20260101T000000Z-labelled/f", U ".partial/f"), 0);
  AUTO_BUF got;
  buf_init (&got, 100);
  is (do_read (&h, U ".partial/f", &got), 0);
  is (got.len, 3);
  assert_memory_equal (got.data, "abc", 3);
  world_over (&h, store);
}

static void
test_writer_at_seal (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  is (do_mkdir (&h, T ".partial"), 0);
  is (do_write (&h, T ".partial/log", 0, "one", 3), 0);
  struct node_stat st;
  struct file *f;
  is (do_lookup (&h, T ".partial/log", &st), 0);
  is (mount_open (h.m, st.node, OPEN_WRITE, 0, &f), 0);
  is (do_seal (&h, T ".partial"), ERR_BUSY);
  size_t done;
  bool is_held;
  is (mount_write (h.m, f, 3, (const uint8_t *) "two", 3, &done, &is_held), 0); /* open again */
  is (mount_seal_start (h.m, "r/" T ".partial", SEAL_FORCE, NULL), 0);
  for (int i = 0; i < 1000 && do_lookup (&h, T, &st) != 0; i++)
    clock_sleep (10 * NS_PER_MS);
  is (mount_write (h.m, f, 6, (const uint8_t *) "three", 5, &done, &is_held), ERR_ROFS);
  mount_release (h.m, f);
  AUTO_BUF got;
  buf_init (&got, 100);
  is (do_read (&h, T "/log", &got), 0);
  is (got.len, 6); /* what was taken before the cut, and nothing after */
  world_over (&h, store);
}

static void
test_two_sealers (void **state)
{
  (void) state;
  struct host a, b;
  struct blob *store = world_begin (&world, &a);
  host_up (&world, store, NULL, "", &b);
  (void) !do_mkdir (&b, "db"); /* may be seen already */
  is (do_mkdir (&a, T ".partial"), 0);
  is (do_mkdir (&b, T ".partial"), 0);
  is (do_write (&a, T ".partial/x", 0, "from a", 6), 0);
  is (do_write (&b, T ".partial/x", 0, "from b", 6), 0);
  is (do_fsync (&b, T ".partial"), 0);
  is (do_seal (&a, T ".partial"), ERR_BUSY); /* the part of b is not finished */
  char name[100] = "";
  gethostname (name, sizeof name - 1);
  is (mount_seal_start (a.m, "r/" T ".partial", 0, name), 0); /* both are of this name */
  struct node_stat st;
  for (int i = 0; i < 1000 && do_lookup (&a, T, &st) != 0; i++)
    clock_sleep (10 * NS_PER_MS);
  is (do_seal (&b, T ".partial"), ERR_EXISTS);
  host_kill (&b);
  host_forget (&b);
  host_up (&world, store, NULL, "", &b);
  AUTO_BUF got;
  buf_init (&got, 100);
  is (do_read (&b, T "/x", &got), 0);
  assert_memory_equal (got.data, "from a", 6);
  is (mount_adopt (b.m, "r/" T, ADOPT_FORCE, NULL), ERR_STATE);
  host_down (&b);
  host_forget (&b);
  world_over (&a, store);
}

/* What failed for good is told at the file, at fsync and at the seal, for ever. */
static void
test_sticky (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  is (do_mkdir (&h, T ".partial"), 0);
  is (do_fsync (&h, T ".partial"), 0);
  is (blob_fault_set (h.fault, "put:packs/=fail:denied"), 0);
  uint8_t data[100000];
  fill (data, sizeof data, 5);
  is (do_write (&h, T ".partial/f", 0, data, sizeof data), 0);
  is (do_fsync (&h, T ".partial/f"), ERR_DENIED);
  is (do_fsync (&h, T ".partial/f"), ERR_DENIED);
  assert_true (do_seal (&h, T ".partial") < 0);
  assert_true (do_seal (&h, T ".partial") < 0);
  struct node_stat st;
  is (do_lookup (&h, T, &st), ERR_NOENT);
  host_kill (&h);
  host_forget (&h);
  blob_free (store);
}

#define BIG_PARTS 2000u /* two levels of extent pages */

/* A file of many extents, grown and rewritten in a hundred runs, hard links, and more files than
 * are kept in memory: the same after a crash, and sealed. */
static void
test_many (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  static struct journal j;
  struct jsnap *s = journal_snap (&j, T);
  is (do_mkdir (&h, T ".partial"), 0);
  struct buf *big = journal_next (journal_file (s, "big.ibd"));
  uint8_t page[4096];
  uint8_t *data = calloc (BIG_PARTS, 2 * sizeof page);
  for (unsigned i = 0; i < BIG_PARTS; i++) /* every other page is a hole */
    fill (data + 2 * i * sizeof page, sizeof page, i + 1);
  buf_put (big, data, BIG_PARTS * 2 * sizeof page - sizeof page);
  for (unsigned i = 0; i < BIG_PARTS; i++)
    is (do_write (&h, T ".partial/big.ibd", 2 * i * sizeof page, data + 2 * i * sizeof page,
                  sizeof page), 0);
  free (data);
  is (do_link (&h, T ".partial/big.ibd", T ".partial/link"), 0);
  buf_put (journal_next (journal_file (s, "link")), big->data, big->len);
  is (do_mkdir (&h, T ".partial/d"), 0);
  for (unsigned i = 0; i < 9000; i++) {
    char path[100];
    snprintf (path, sizeof path, T ".partial/d/%u", i);
    is (do_write (&h, path, 0, path, strlen (path)), 0);
  }
  is (do_fsync (&h, T ".partial"), 0);
  char old[320];
  snprintf (old, sizeof old, "%s", h.state);
  host_kill (&h);
  host_up (&world, store, old, "", &h);
  for (int pass = 0; pass < 2; pass++) { /* recovered, then sealed and read by another host */
    const char *top = pass ? T : T ".partial";
    for (unsigned i = 0; i < 9000; i += 7) {
      char path[100], want[100];
      AUTO_BUF got;
      buf_init (&got, 200);
      snprintf (want, sizeof want, T ".partial/d/%u", i);
      snprintf (path, sizeof path, "%s/d/%u", top, i);
      is (do_read (&h, path, &got), 0);
      is (got.len, strlen (want));
      assert_memory_equal (got.data, want, got.len);
    }
    for (unsigned k = 0; k < 2; k++) {
      char path[100];
      struct node_stat st;
      AUTO_BUF got;
      buf_init (&got, 64u << 20);
      snprintf (path, sizeof path, "%s/%s", top, k ? "link" : "big.ibd");
      is (do_lookup (&h, path, &st), 0);
      is (st.attr.nlink, 2);
      is (do_read (&h, path, &got), 0);
      is (got.len, big->len);
      assert_memory_equal (got.data, big->data, big->len);
    }
    if (pass == 0) {
      is (do_seal (&h, T ".partial"), 0);
      host_kill (&h);
      host_forget (&h);
      host_up (&world, store, NULL, "", &h);
    }
  }
  journal_free (&j);
  world_over (&h, store);
}

#define COLD_DELTAS 40

/* Ruling 25: a host without an index does not wait for it, and finds what the parent has. */
static void
test_cold_index (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  const size_t len = 3u << 20;
  uint8_t *data = malloc (len);
  char old[320], path[100], last[100];
  fill (data, len, 1);
  for (unsigned i = 0; i <= COLD_DELTAS; i++) {
    snprintf (path, sizeof path, "db/20260101T0000%02uZ.partial", i);
    is (do_mkdir (&h, path), 0);
    snprintf (old, sizeof old, "%s/a.ibd", last);
    snprintf (last, sizeof last, "db/20260101T0000%02uZ", i);
    snprintf (path, sizeof path, "%s.partial/a.ibd", last);
    is (i ? do_link (&h, old, path) : do_write (&h, path, 0, data, len), 0);
    snprintf (path, sizeof path, "%s.partial/own", last);
    is (do_write (&h, path, 0, &i, sizeof i), 0);
    snprintf (path, sizeof path, "%s.partial", last);
    is (do_seal (&h, path), 0);
  }
  host_down (&h);
  host_forget (&h);
  /* No delta can be had while this host writes, and all are wanted. */
  host_up (&world, store, NULL, "get:/index/=stall;get:/index/@2+0=stall", &h);
  is (do_mkdir (&h, U ".partial"), 0);
  is (do_write (&h, U ".partial/.a.ibd.Xy12ab", 0, data, len), 0);
  is (do_fsync (&h, U ".partial"), 0);
  is (do_seal (&h, U ".partial"), 0);
  struct snapshot_info *info;
  size_t n;
  is (mount_snapshots (h.m, &info, &n), 0);
  is (n, 1);
  is (info->fresh, 0);
  is (info->dedup, len);
  free (info);
  blob_fault_release (h.fault);
  host_down (&h);
  host_forget (&h);
  host_up (&world, store, NULL, "", &h);
  AUTO_BUF got;
  buf_init (&got, 2 * len);
  is (do_read (&h, U "/.a.ibd.Xy12ab", &got), 0);
  assert_memory_equal (got.data, data, len);
  free (data);
  world_over (&h, store);
}

static int
add_name (void *ctx, const struct blob_entry *e)
{
  buf_put (ctx, e->key, strlen (e->key) + 1);
  return 0;
}

/* As a collector would: the chunks of the pack under KEY stand in another one from now on, which
 * only the index of V knows. */
static void
move_pack (struct vault *v, struct blob *store, const char *key)
{
  AUTO_BUF pack;
  AUTO (sealer) s = NULL;
  AUTO_MEM struct pack_entry *e = NULL;
  uint8_t name[PACK_NAME_LEN];
  char moved[BLOB_KEY_MAX + 1];
  uint32_t no;
  size_t n;
  const char *const keys[] = { key };
  buf_init (&pack, 64u << 20);
  assert_true (packfile_name (key, name));
  name[31] ^= 1; /* no reader of chunks looks at it */
  packfile_key ("vaults/db/packs/", name, moved);
  is (sealer_new (&s), 0);
  is (blob_get_all (store, key, &pack), 0);
  is (blob_put (store, moved, pack.data, pack.len, NULL), 0);
  is (blob_delete (store, keys, 1), 0);
  is (pack_table_open (v->keys, s, pack.data, pack.len, &e, &n), 0);
  is (index_pack_intern (v->index, name, &no), 0);
  for (size_t i = 0; i < n; i++) {
    struct chunk_ref ref = { .pack = no, .off = e[i].off, .sealed_len = e[i].sealed_len,
                             .plain_len = e[i].plain_len };
    memcpy (ref.id, e[i].id, ID_LEN);
    is (index_add (v->index, e[i].type, &ref), 0);
  }
}

/* What a collector moved is found where it is now: data, and the tree it stands in. */
static void
test_relocate (void **state)
{
  (void) state;
  struct host h;
  struct vault *v;
  struct blob *store = world_begin (&world, &h);
  const size_t len = 300000;
  AUTO_MEM uint8_t *data = malloc (len);
  AUTO_BUF names, got;
  buf_init (&names, 1u << 20);
  buf_init (&got, 1u << 20);
  fill (data, len, 5);
  is (do_mkdir (&h, T ".partial"), 0);
  is (do_write (&h, T ".partial/f", 0, data, len), 0);
  is (do_seal (&h, T ".partial"), 0);
  host_down (&h);
  host_forget (&h);
  host_up (&world, store, NULL, "", &h);
  is (vault_intern (h.m->regions[0], "db", &v), 0);
  is (vault_open (v), 0);
  is (blob_list (store, "vaults/db/packs/", "", false, add_name, &names), 0);
  for (size_t at = 0; at < names.len; at += strlen ((char *) names.data + at) + 1)
    move_pack (v, store, (char *) names.data + at);
  is (do_read (&h, T "/f", &got), 0);
  is (got.len, len);
  assert_memory_equal (got.data, data, len);
  world_over (&h, store);
}

/* Ruling 21: no store below what was seen of it. */
static void
test_superblock (void **state)
{
  (void) state;
  char dir[300], seen[320];
  snprintf (dir, sizeof dir, "%s/superblock", world.dir);
  snprintf (seen, sizeof seen, "%s/seen", dir);
  is (mkdir (dir, 0700), 0);
  is (mkdir (seen, 0700), 0);
  const struct mount m = { .opts.state_dir = dir };
  struct superblock old = { .format = 1, .store_id = { 1 } }, other = old, more = old;
  other.store_id[0] = 2;
  more.collect_count = 2;
  strcpy (more.collect[0], "ab");
  strcpy (more.collect[1], "b"); /* the end of another's name */
  is (seen_check_store (&m, "r", &old), 0);
  is (seen_check_store (&m, "r", &more), 0);
  is (seen_check_store (&m, "r", &more), 0);
  is (seen_check_store (&m, "r", &old), ERR_FORMAT);
  is (seen_check_store (&m, "r", &other), 0);
  struct superblock part = more;
  part.collect_count = 1;
  is (seen_check_store (&m, "r", &part), ERR_FORMAT);
  part = more;
  part.collect_count = 3;
  strcpy (part.collect[2], "c");
  part.format = 2;
  is (seen_check_store (&m, "r", &part), 0);
  part.format = 1;
  is (seen_check_store (&m, "r", &part), ERR_FORMAT);
}

#define LOOKED_AT 40

/* What was looked at is let go of beyond a limit, fetched again, and says the same. */
static void
test_parts_are_bounded (void **state)
{
  (void) state;
  struct host h;
  struct blob *store = world_begin (&world, &h);
  struct node_stat st[LOOKED_AT], again;
  char path[100], digest[LOOKED_AT][40];
  size_t peak = 0;
  for (unsigned i = 0; i < LOOKED_AT; i++) {
    snprintf (path, sizeof path, "db/202601%02uT%02u0000Z.partial", 1 + i / 20, i % 20);
    is (do_mkdir (&h, path), 0);
    strcat (path, "/f");
    is (do_write (&h, path, 0, path, strlen (path)), 0);
    path[strlen (path) - 2] = 0;
    is (do_seal (&h, path), 0);
  }
  host_down (&h);
  host_forget (&h);
  host_up (&world, store, NULL, "", &h);
  for (unsigned pass = 0; pass < 3; pass++) {
    size_t limit = pass == 0 ? SEALED_PARTS_MAX : pass == 1 ? peak / 4 : 1;
    sealed_parts_limit (limit);
    for (unsigned i = 0; i < LOOKED_AT; i++) {
      AUTO_BUF got, fact;
      char want[120];
      buf_init (&got, 1000);
      buf_init (&fact, 1000);
      snprintf (path, sizeof path, "db/202601%02uT%02u0000Z", 1 + i / 20, i % 20);
      snprintf (want, sizeof want, "%s.partial/f", path);
      is (do_lookup (&h, path, &again), 0);
      st[i] = pass ? st[i] : again;
      assert_true (again.node == st[i].node); /* the kernel still has the old number */
      is (mount_getattr (h.m, st[i].node, 0, &again), 0);
      is (mount_getxattr (h.m, st[i].node, "user.coffer.digest", 0, &fact), 0);
      is (fact.len, 32);
      if (pass == 0)
        memcpy (digest[i], fact.data, 32);
      assert_memory_equal (fact.data, digest[i], 32);
      strcat (path, "/f");
      is (do_read (&h, path, &got), 0);
      is (got.len, strlen (want));
      assert_memory_equal (got.data, want, got.len);
      if (pass)
        assert_true (sealed_parts_bytes () <= limit || limit == 1);
      if (limit == 1) /* no more than the one that was asked for last */
        assert_true (sealed_parts_bytes () <= peak / LOOKED_AT);
    }
    peak = pass ? peak : sealed_parts_bytes ();
  }
  sealed_parts_limit (SEALED_PARTS_MAX);
  world_over (&h, store);
  is (sealed_parts_bytes (), 0);
}

int
main (void)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_names),   cmocka_unit_test (test_begin),
    cmocka_unit_test (test_renames), cmocka_unit_test (test_writer_at_seal),
    cmocka_unit_test (test_two_sealers), cmocka_unit_test (test_sticky),
    cmocka_unit_test (test_many),    cmocka_unit_test (test_superblock),
    cmocka_unit_test (test_cold_index), cmocka_unit_test (test_relocate),
    cmocka_unit_test (test_parts_are_bounded),
  };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  world_end (&world);
  return rc;
}
