/* SPDX-License-Identifier: Apache-2.0 */
/* Ruling 24: several hosts write one snapshot.  Each finishes its part; one seal joins them,
 * refuses while one is missing, and loses nothing: no hard link, no byte, nothing recorded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static struct world world;
#define T "db/20260101T000000Z"
#define P T ".partial"
#define is(call, want) assert_int_equal ((call), (want))

static struct blob *
begin (struct host *h, unsigned n)
{
  struct blob *store = world_store (&world, NULL);
  for (unsigned i = 0; i < n; i++) {
    host_up (&world, store, NULL, "", &h[i]);
    (void) !do_mkdir (&h[i], "db");
    is (do_mkdir (&h[i], P), 0);
  }
  return store;
}

static void
end (struct host *h, unsigned n, struct blob *store)
{
  for (unsigned i = 0; i < n; i++) {
    host_down (&h[i]);
    host_forget (&h[i]);
  }
  blob_free (store);
}

static void
put (struct host *h, const char *path, const char *text)
{
  is (do_write (h, path, 0, text, strlen (text)), 0);
}

static void
must_hold (struct host *h, const char *path, const char *text)
{
  AUTO_BUF got;
  buf_init (&got, 1 << 20);
  int rc = do_read (h, path, &got);
  if (rc || got.len != strlen (text) || memcmp (got.data, text, got.len) != 0)
    fail_msg ("%s: %s, %zu bytes, not \"%s\"", path, err_str (rc), got.len, text);
}

static void
set_meta (struct host *h, const char *key, const char *value)
{
  struct node_stat st;
  char name[200];
  snprintf (name, sizeof name, "user.coffer.meta.%s", key);
  is (do_lookup (h, P, &st), 0);
  is (mount_setxattr (h->m, st.node, name, value, strlen (value), 0), 0);
}

static void
must_say (struct host *h, const char *fact, const char *want)
{
  struct node_stat st;
  char name[200];
  AUTO_BUF got;
  buf_init (&got, 1 << 16);
  snprintf (name, sizeof name, "user.coffer.%s", fact);
  is (do_lookup (h, T, &st), 0);
  is (mount_getxattr (h->m, st.node, name, 0, &got), 0);
  buf_put_u8 (&got, 0);
  assert_string_equal ((char *) got.data, want);
}

static void
until_sealed (struct host *h)
{
  struct snapshot_info info;
  struct node_stat st;
  struct dir *d;
  for (int i = 0; i < 3000; i++) {
    is (do_lookup (h, "db", &st), 0);
    is (mount_opendir (h->m, st.node, 0, &d), 0); /* has it listed */
    mount_closedir (h->m, d);
    if (do_info (h, P, &info) && info.state == SNAP_SEALED)
      return;
    clock_sleep (5 * NS_PER_MS);
  }
  fail_msg ("the other host does not see the seal");
}

static void
test_join (void **state)
{
  (void) state;
  struct host h[3];
  struct blob *store = begin (h, 3);
  char part[3][17], name[100];
  uint8_t *big = malloc (3000000);
  fill (big, 3000000, 1);
  for (unsigned i = 0; i < 3; i++) {
    struct snapshot_info info;
    assert_true (do_info (&h[i], P, &info));
    memcpy (part[i], info.part, 17);
    snprintf (name, sizeof name, P "/node%u", i);
    is (do_mkdir (&h[i], name), 0);
    is (do_mkdir (&h[i], P "/shared"), 0);
    snprintf (name, sizeof name, P "/shared/of%u", i);
    put (&h[i], name, name);
    snprintf (name, sizeof name, P "/node%u/big", i);
    is (do_write (&h[i], name, 0, big, 3000000 - i), 0);
    char link[120];
    snprintf (link, sizeof link, P "/shared/link%u", i);
    is (do_link (&h[i], name, link), 0);
    set_meta (&h[i], "token", i == 0 ? "a" : "b");
    set_meta (&h[i], "cluster", "one");
  }
  struct node_stat st, other;
  is (do_lookup (&h[0], P "/node1", &st), ERR_NOENT); /* each sees its own */
  is (do_order (&h[0], P, 0, NULL), ERR_BUSY);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0); /* again is the same */
  is (do_write (&h[1], P "/shared/of1", 0, "x", 1), ERR_ROFS);
  is (do_mkdir (&h[1], P "/more"), ERR_ROFS);
  is (do_unlink (&h[1], P "/shared/of1"), ERR_ROFS);
  is (do_order (&h[0], P, 0, NULL), ERR_BUSY);
  struct snapshot_info info;
  assert_true (do_info (&h[0], P, &info));
  assert_non_null (strstr (info.error_text, part[2]));
  assert_null (strstr (info.error_text, part[1]));
  put (&h[0], P "/still", "open"); /* what was refused changed nothing */
  is (do_order (&h[2], P, SEAL_PART, NULL), 0);
  is (do_order (&h[0], P, 0, NULL), 0);
  until_sealed (&h[1]);
  for (unsigned k = 0; k < 3; k++) {
    for (unsigned i = 0; i < 3; i++) {
      AUTO_BUF got;
      buf_init (&got, 4 << 20);
      snprintf (name, sizeof name, T "/node%u/big", i);
      is (do_read (&h[k], name, &got), 0);
      is (got.len, 3000000 - i);
      assert_memory_equal (got.data, big, got.len);
      is (do_lookup (&h[k], name, &st), 0);
      is (st.attr.nlink, 2);
      snprintf (name, sizeof name, T "/shared/link%u", i);
      is (do_lookup (&h[k], name, &other), 0);
      assert_true (st.node == other.node);
      char text[100];
      snprintf (name, sizeof name, T "/shared/of%u", i);
      snprintf (text, sizeof text, P "/shared/of%u", i);
      must_hold (&h[k], name, text);
    }
    is (do_lookup (&h[k], T, &st), 0);
    is (st.attr.nlink, 6);
    is (do_lookup (&h[k], T "/shared", &st), 0);
    is (st.attr.nlink, 2);
    must_say (&h[k], "files", "7"); /* hard links count once */
    must_say (&h[k], "meta.token", "a"); /* the joiner's */
    must_say (&h[k], "meta.cluster", "one");
    char host[80] = "", key[100];
    gethostname (host, 64);
    snprintf (key, sizeof key, "meta.token@%s", host);
    must_say (&h[k], key, "b"); /* those of both others are the same */
  }
  must_hold (&h[2], T "/still", "open");
  is (do_lookup (&h[1], P, &st), ERR_NOENT);
  is (do_order (&h[1], P, 0, NULL), ERR_STATE);
  free (big);
  end (h, 3, store);
}

/* Names that clash are found, all is open as before, and mending one part is enough. */
static void
test_clash (void **state)
{
  (void) state;
  struct host h[2];
  struct blob *store = begin (h, 2);
  is (do_mkdir (&h[0], P "/d"), 0);
  is (do_mkdir (&h[1], P "/d"), 0);
  put (&h[0], P "/d/schema.cql", "one");
  put (&h[1], P "/d/schema.cql", "two");
  put (&h[0], P "/x", "file");
  is (do_mkdir (&h[1], P "/x"), 0);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  is (do_order (&h[0], P, 0, NULL), ERR_EXISTS);
  struct snapshot_info info;
  struct node_stat st;
  assert_true (do_info (&h[0], P, &info));
  assert_non_null (strstr (info.error_text, "d/schema.cql"));
  is (do_lookup (&h[0], T, &st), ERR_NOENT);
  put (&h[0], P "/still", "open");
  is (do_order (&h[1], P, SEAL_REOPEN, NULL), 0);
  is (do_order (&h[0], P, 0, NULL), ERR_BUSY);
  is (do_rename (&h[1], P "/d/schema.cql", P "/d/schema-b.cql"), 0);
  is (do_rename (&h[1], P "/x", P "/y"), 0);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  is (do_order (&h[0], P, 0, NULL), 0);
  must_hold (&h[0], T "/d/schema.cql", "one");
  must_hold (&h[0], T "/d/schema-b.cql", "two");
  is (do_lookup (&h[0], T "/y", &st), 0);
  end (h, 2, store);
}

/* A host without a part joins; a part that is left out stays open and says so, also after a new
 * mount, and can be saved under a label. */
static void
test_without (void **state)
{
  (void) state;
  struct host h[3], c;
  struct blob *store = begin (h, 3);
  struct snapshot_info info;
  for (unsigned i = 0; i < 3; i++) {
    char name[100];
    snprintf (name, sizeof name, P "/of%u", i);
    put (&h[i], name, name);
  }
  is (do_order (&h[0], P, SEAL_PART, NULL), 0);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  is (do_fsync (&h[2], P), 0);
  assert_true (do_info (&h[2], P, &info));
  host_up (&world, store, NULL, "", &c);
  is (do_order (&c, P, 0, NULL), ERR_BUSY);
  is (do_order (&c, P, SEAL_PART, NULL), ERR_NOENT);
  is (do_order (&c, P, 0, "nobody"), ERR_BUSY);
  is (do_order (&c, P, 0, info.part), 0);
  char text[200];
  AUTO_BUF parts;
  buf_init (&parts, 1 << 16);
  struct node_stat st;
  is (do_lookup (&c, T, &st), 0);
  is (mount_getxattr (c.m, st.node, "user.coffer.parts", 0, &parts), 0);
  buf_put_u8 (&parts, 0);
  snprintf (text, sizeof text, "%s ", info.part);
  char *at = strstr ((char *) parts.data, text);
  assert_non_null (at);
  assert_non_null (strstr (at, " missing\n"));
  must_hold (&c, T "/of0", P "/of0");
  must_hold (&c, T "/of1", P "/of1");
  is (do_lookup (&c, T "/of2", &st), ERR_NOENT);
  is (do_lookup (&c, P, &st), ERR_NOENT);
  until_sealed (&h[0]);
  is (do_seal (&h[2], P), ERR_EXISTS);
  char state_dir[320];
  snprintf (state_dir, sizeof state_dir, "%s", h[2].state);
  host_down (&h[2]);
  host_up (&world, store, state_dir, "", &h[2]);
  assert_true (do_info (&h[2], P, &info));
  is (info.error, ERR_EXISTS);
  assert_non_null (strstr (info.error_text, "without this part"));
  must_hold (&h[2], P "/of2", P "/of2");
  is (do_rename (&h[2], P, T "-third"), 0);
  must_hold (&h[2], T "-third/of2", P "/of2");
  is (do_lookup (&h[2], T "-third/of0", &st), ERR_NOENT); /* those are in T */
  host_down (&c);
  host_forget (&c);
  end (h, 3, store);
}

/* Finished is finished: after a crash, on the same host and on one that adopts the part. */
static void
test_crash (void **state)
{
  (void) state;
  struct host h[2];
  struct blob *store = begin (h, 2);
  struct snapshot_info info;
  char state_dir[320], path[100];
  put (&h[0], P "/a", "from a");
  put (&h[1], P "/b", "from b");
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  snprintf (state_dir, sizeof state_dir, "%s", h[1].state);
  host_kill (&h[1]);
  host_up (&world, store, state_dir, "", &h[1]);
  assert_true (do_info (&h[1], P, &info));
  is (info.state, SNAP_FINISHED);
  is (do_write (&h[1], P "/b", 0, "x", 1), ERR_ROFS);
  is (do_order (&h[1], P, SEAL_PART, NULL), 0);
  host_kill (&h[1]);
  host_forget (&h[1]);
  host_up (&world, store, NULL, "", &h[1]);
  AUTO_BUF why;
  buf_init (&why, 4096);
  is (mount_adopt (h[1].m, "r/" P, 0, &why), ERR_LIMIT); /* which of the two? */
  snprintf (path, sizeof path, "r/" P "/%s", info.part);
  is (mount_adopt (h[1].m, path, 0, &why), ERR_BUSY); /* it may live */
  is (mount_adopt (h[1].m, path, ADOPT_FORCE, NULL), 0);
  must_hold (&h[1], P "/b", "from b");
  is (do_write (&h[1], P "/b", 0, "x", 1), ERR_ROFS);
  is (do_order (&h[1], P, 0, NULL), ERR_BUSY);
  is (do_order (&h[0], P, SEAL_PART, NULL), 0);
  is (do_order (&h[1], P, 0, NULL), 0);
  must_hold (&h[1], T "/a", "from a");
  must_hold (&h[1], T "/b", "from b");
  is (do_order (&h[0], P, 0, NULL), 0); /* it is sealed, with this host's part */
  must_hold (&h[0], T "/b", "from b");
  end (h, 2, store);
}

int
main (void)
{
  if (!getenv ("COFFER_TEST_VERBOSE"))
    (void) log_init (LOG_TO_FILE, "/dev/null", false);
  world_init (&world);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_join),
    cmocka_unit_test (test_clash),
    cmocka_unit_test (test_without),
    cmocka_unit_test (test_crash),
  };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  world_end (&world);
  return rc;
}
