/* SPDX-License-Identifier: Apache-2.0 */
/* The fault wrapper does what its rules say: other tests stand on it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/fault.h"
#include "blob/memory.h"

static struct blob *memory, *store;

static void
stack (const char *rules)
{
  struct blob *b;
  assert_int_equal (blob_memory_new (&b), 0);
  memory = b;
  assert_int_equal (blob_fault_new (&b, rules, &store), 0);
}

static int
unstack (void **state)
{
  blob_free (store);
  return 0;
}

static int
put (const char *key)
{
  return blob_put (store, key, "0123456789", 10, NULL);
}

static int
head (const char *key)
{
  struct blob_info i;
  return blob_head (memory, key, &i);
}

/* The grammar, and that nothing outside it is taken. */
static void
test_grammar (void **state)
{
  struct fault_rule r[4];
  assert_int_equal (fault_rules_parse ("put:packs/@3+2=fail:full; get=corrupt:7", r, 4),
                    ERR_INVALID);
  assert_int_equal (fault_rules_parse ("put:packs/@3+2=fail:full;get:^gc=corrupt:7;", r, 4), 2);
  assert_int_equal (r[0].op, FAULT_OP_PUT);
  assert_string_equal (r[0].key, "packs/");
  assert_int_equal (r[0].first, 3);
  assert_int_equal (r[0].count, 2);
  assert_int_equal (r[0].err, ERR_FULL);
  assert_true (r[1].is_prefix);
  assert_string_equal (r[1].key, "gc");
  assert_int_equal (r[1].arg, 7);
  static const char *const bad[] = { "put", "=fail", "puts=fail", "put=", "put=fails", "put@0=fail",
                                     "put@x=fail", "put=fail:odd", "get=corrupt:x", "get=truncate",
                                     "put@1+=fail" };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal (fault_rules_parse (bad[i], r, 4), ERR_INVALID);
  assert_int_equal (fault_rules_parse ("a=dead", r, 4), ERR_INVALID);
  assert_int_equal (fault_rules_parse ("*=dead;*=dead;*=dead;*=dead;*=dead", r, 4), ERR_INVALID);
}

/* The k-th match and no other; keys select. */
static void
test_which (void **state)
{
  stack ("put:b@2=fail:io;put:^c@1+0=fail:denied");
  assert_int_equal (put ("b/1"), 0);
  assert_int_equal (put ("a"), 0);
  assert_int_equal (put ("b/2"), ERR_IO);
  assert_int_equal (put ("b/3"), 0);
  assert_int_equal (put ("xc"), 0);
  assert_int_equal (put ("c1"), ERR_DENIED);
  assert_int_equal (put ("c2"), ERR_DENIED);
  assert_int_equal (head ("b/2"), ERR_MISSING);
  assert_int_equal (blob_fault_count (store), 7);
  assert_int_equal (blob_fault_count_of (store, FAULT_OP_PUT, "b/"), 3);
  struct fault_call c;
  assert_true (blob_fault_call (store, 2, &c));
  assert_string_equal (c.key, "b/2");
  assert_int_equal (c.rc, ERR_IO);
  assert_false (c.is_forwarded);
  assert_false (blob_fault_call (store, 7, &c));
}

/* Fail is not forwarded, lose is. */
static void
test_lose (void **state)
{
  stack ("put@1=lose;put@2=fail");
  assert_int_equal (put ("a"), ERR_AGAIN);
  assert_int_equal (head ("a"), 0);
  assert_int_equal (put ("b"), ERR_AGAIN);
  assert_int_equal (head ("b"), ERR_MISSING);
}

/* Damage is where the rule says. */
static void
test_damage (void **state)
{
  stack ("");
  assert_int_equal (put ("a"), 0);
  assert_int_equal (blob_fault_set (store, "get@1=corrupt:3;get@2=truncate:4;get@3=truncate:4"), 0);
  uint8_t out[10];
  assert_int_equal (blob_get (store, "a", 0, 10, out), 0);
  assert_memory_equal (out, "012s456789", 10);
  assert_int_equal (blob_get (store, "a", 0, 10, out), ERR_LIMIT);
  AUTO_BUF b;
  buf_init (&b, 100);
  assert_int_equal (blob_get_all (store, "a", &b), 0);
  assert_int_equal (b.len, 4);
}

static int
count (void *ctx, const struct blob_entry *e)
{
  ++*(int *) ctx;
  return 0;
}

static void
test_short_list (void **state)
{
  stack ("list=truncate:1");
  assert_int_equal (put ("a"), 0);
  assert_int_equal (put ("b"), 0);
  int n = 0;
  assert_int_equal (blob_list (store, "", "", false, count, &n), 0);
  assert_int_equal (n, 1);
  assert_int_equal (blob_list (store, "", "", false, count, &n), 0);
  assert_int_equal (n, 3);
}

/* Dead is dead, before the call or after it, until the rules are set anew. */
static void
test_dead (void **state)
{
  stack ("put@2=dead");
  uint8_t c;
  assert_int_equal (put ("a"), 0);
  assert_int_equal (put ("b"), ERR_AGAIN);
  assert_int_equal (head ("b"), ERR_MISSING);
  assert_int_equal (blob_get (store, "a", 0, 1, &c), ERR_AGAIN);
  assert_int_equal (blob_fault_set (store, "put@1=dead-after"), 0);
  assert_int_equal (put ("b"), ERR_AGAIN);
  assert_int_equal (head ("b"), 0);
  assert_int_equal (put ("c"), ERR_AGAIN);
  assert_int_equal (head ("c"), ERR_MISSING);
}

/* A process that ends at a call has done all before it and nothing after. */
static void
test_exit (void **state)
{
  for (int after = 0; after < 2; after++) {
    int fds[2];
    assert_int_equal (pipe (fds), 0);
    pid_t pid = fork ();
    if (pid == 0) {
      stack (after ? "put@2=exit-after" : "put@2=exit");
      char said = (char) ('0' + (put ("a") == 0));
      if (write (fds[1], &said, 1) != 1)
        _exit (1);
      (void) !put ("b");
      _exit (0);
    }
    int status;
    char said = 0;
    assert_int_equal (read (fds[0], &said, 1), 1);
    assert_int_equal (said, '1');
    assert_int_equal (waitpid (pid, &status, 0), pid);
    assert_true (WIFEXITED (status));
    assert_int_equal (WEXITSTATUS (status), 137);
    close (fds[0]);
    close (fds[1]);
  }
}

struct late {
  pthread_t thread;
  int rc;
};

static void *
put_late (void *arg)
{
  ((struct late *) arg)->rc = put ("late");
  return NULL;
}

/* A stall lasts until released; a put under way at the death is lost or kept, as asked. */
static void
test_stall_and_drop (void **state)
{
  stack ("put:late=stall");
  struct late l;
  pthread_create (&l.thread, NULL, put_late, &l);
  usleep (50000);
  assert_int_equal (head ("late"), ERR_MISSING);
  blob_fault_release (store);
  pthread_join (l.thread, NULL);
  assert_int_equal (l.rc, 0);
  assert_int_equal (head ("late"), 0);

  for (int drop = 0; drop < 2; drop++) {
    const char *key = "late";
    assert_int_equal (blob_delete (memory, &key, 1), 0);
    assert_int_equal (blob_fault_set (store, "put:late=stall;put:last=dead"), 0);
    blob_fault_set_drop_unacked (store, drop);
    pthread_create (&l.thread, NULL, put_late, &l);
    usleep (50000);
    assert_int_equal (put ("last"), ERR_AGAIN);
    blob_fault_release (store);
    pthread_join (l.thread, NULL);
    assert_int_equal (l.rc, ERR_AGAIN);
    assert_int_equal (head ("late"), drop ? ERR_MISSING : 0);
  }

  int64_t before = clock_now ();
  assert_int_equal (blob_fault_set (store, "put=stall:100"), 0);
  assert_int_equal (put ("timed"), 0);
  assert_true (clock_now () - before >= 100 * NS_PER_MS);
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_grammar),
    cmocka_unit_test_teardown (test_which, unstack),
    cmocka_unit_test_teardown (test_lose, unstack),
    cmocka_unit_test_teardown (test_damage, unstack),
    cmocka_unit_test_teardown (test_short_list, unstack),
    cmocka_unit_test_teardown (test_dead, unstack),
    cmocka_unit_test (test_exit),
    cmocka_unit_test_teardown (test_stall_and_drop, unstack),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
