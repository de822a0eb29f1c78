/* SPDX-License-Identifier: Apache-2.0 */
/* Retry, breaker and fault injection, stacked on a store in memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/breaker.h"
#include "blob/fault.h"
#include "blob/memory.h"
#include "blob/meter.h"
#include "blob/retry.h"

static struct blob *fault, *store; /* store is outermost and owns the rest */

static void
stack (const char *rules, enum retry_preset preset, bool with_breaker)
{
  clock_fake (1700000000 * NS_PER_S);
  struct blob *b;
  assert_int_equal (blob_memory_new (&b), 0);
  assert_int_equal (blob_fault_new (&b, rules, &b), 0);
  fault = b;
  if (with_breaker)
    assert_int_equal (blob_breaker_new (&b, &b), 0);
  assert_int_equal (blob_retry_new (&b, preset, &b), 0);
  store = b;
}

static int
unstack (void **state)
{
  blob_free (store);
  store = NULL;
  clock_real ();
  return 0;
}

static int
put (const char *key, const char *text, bool if_absent)
{
  return blob_put (store, key, text, strlen (text),
                   &(struct blob_put_opts){ .if_absent = if_absent });
}

static void
expect (const char *key, const char *text)
{
  AUTO_BUF b;
  buf_init (&b, 1000);
  assert_int_equal (blob_get_all (store, key, &b), 0);
  assert_int_equal (b.len, strlen (text));
  assert_memory_equal (b.data, text, b.len);
}

/* Transient errors heal by themselves; they are counted. */
static void
test_heals (void **state)
{
  stack ("*@1+3=fail:again", RETRY_STANDARD, false);
  assert_int_equal (put ("a", "text", false), 0);
  assert_int_equal (blob_fault_count (fault), 4);
  expect ("a", "text");
  struct blob_stats s;
  blob_stats_get (store, &s);
  assert_int_equal (s.retries, 3);
}

/* What a person must mend is returned at once. */
static void
test_permanent (void **state)
{
  static const struct { const char *rule; int rc; } cases[] = {
    { "put=fail:denied", ERR_DENIED }, { "put=fail:full", ERR_FULL }, { "put=fail:io", ERR_IO },
    { "put=fail:missing", ERR_MISSING }, { "put=fail:format", ERR_FORMAT },
  };
  stack ("", RETRY_STANDARD, false);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal (blob_fault_set (fault, cases[i].rule), 0);
    blob_fault_forget_calls (fault);
    assert_int_equal (put ("a", "x", false), cases[i].rc);
    assert_int_equal (blob_fault_count (fault), 1);
  }
}

/* Every preset gives up in its time, with the error that it met; "none" tries once. */
static void
test_gives_up (void **state)
{
  static const struct { enum retry_preset preset; int64_t seconds; } cases[]
      = { { RETRY_QUICK, 5 }, { RETRY_STANDARD, 60 }, { RETRY_AGGRESSIVE, 300 },
          { RETRY_PATIENT, 7 * 86400 } };
  for (size_t i = 0; i < 4; i++) {
    stack ("put@1+0=fail:throttled", cases[i].preset, false);
    int64_t before = clock_now ();
    assert_int_equal (put ("a", "x", false), ERR_THROTTLED);
    int64_t took = clock_now () - before;
    assert_true (took <= cases[i].seconds * NS_PER_S);
    assert_true (took >= cases[i].seconds * NS_PER_S / 3);
    assert_true (blob_fault_count (fault) > 3);
    unstack (NULL);
  }
  stack ("get@1+0=fail:again", RETRY_PATIENT, false); /* who reads is told after an hour */
  int64_t before = clock_now ();
  AUTO_BUF got;
  buf_init (&got, 100);
  assert_int_equal (blob_get_all (store, "a", &got), ERR_AGAIN);
  int64_t took = clock_now () - before;
  assert_true (took <= 3600 * NS_PER_S && took >= 1200 * NS_PER_S);
  unstack (NULL);
  stack ("put@1+0=fail:again", RETRY_NONE, false);
  assert_int_equal (put ("a", "x", false), ERR_AGAIN);
  assert_int_equal (blob_fault_count (fault), 1);
}

/* A reply that is lost: the own object is not somebody else's. */
static void
test_lost_reply (void **state)
{
  stack ("put@1=lose:again", RETRY_STANDARD, false);
  assert_int_equal (put ("mine", "text", true), 0);
  expect ("mine", "text");
  assert_int_equal (put ("mine", "text", true), ERR_EXISTS); /* this time it was there before */
  /* Another's bytes under the name stay another's. */
  assert_int_equal (put ("theirs", "other", false), 0);
  assert_int_equal (blob_fault_set (fault, "put@1=fail:again"), 0);
  assert_int_equal (put ("theirs", "text", true), ERR_EXISTS);
  expect ("theirs", "other");
  assert_int_equal (put ("theirs", "otherlonger", true), ERR_EXISTS);
}

/* Retry-After is the least wait. */
static void
test_retry_after (void **state)
{
  retry_after_note (7 * NS_PER_S);
  assert_int_equal (retry_after_take (), 7 * NS_PER_S);
  assert_int_equal (retry_after_take (), 0);
  retry_after_note (100000 * NS_PER_S);
  assert_true (retry_after_take () <= 120 * NS_PER_S);
}

struct seen {
  char keys[40][16];
  int n;
};

static int
see (void *ctx, const struct blob_entry *e)
{
  struct seen *s = ctx;
  strcpy (s->keys[s->n++], e->key);
  return 0;
}

static int fail_after;
static int (*inner_list) (struct blob *, const char *, const char *, bool, blob_list_fn, void *);

struct cutter {
  blob_list_fn fn;
  void *ctx;
  int left;
};

static int
cut (void *ctx, const struct blob_entry *e)
{
  struct cutter *c = ctx;
  if (c->left-- == 0)
    return ERR_AGAIN;
  return c->fn (c->ctx, e);
}

/* A backend whose listing breaks after some entries, thrice. */
static int
breaking_list (struct blob *b, const char *prefix, const char *after, bool is_delimited,
               blob_list_fn fn,
               void *ctx)
{
  struct cutter c = { fn, ctx, fail_after > 0 ? 5 : -1 };
  fail_after--;
  return inner_list (b, prefix, after, is_delimited, cut, &c);
}

/* A listing that breaks goes on where it stopped: each entry once, in order. */
static void
test_list_resumes (void **state)
{
  clock_fake (1700000000 * NS_PER_S);
  struct blob *b;
  assert_int_equal (blob_memory_new (&b), 0);
  static struct blob_ops ops;
  ops = *b->ops;
  inner_list = ops.list;
  ops.list = breaking_list;
  b->ops = &ops;
  fail_after = 3;
  assert_int_equal (blob_retry_new (&b, RETRY_STANDARD, &store), 0);
  char key[16];
  for (int i = 0; i < 30; i++) {
    snprintf (key, sizeof key, "k/%02d/x", i);
    assert_int_equal (put (key, "x", false), 0);
  }
  for (int delimited = 0; delimited < 2; delimited++) {
    struct seen s = { .n = 0 };
    fail_after = 3;
    assert_int_equal (blob_list (store, "k/", "", delimited, see, &s), 0);
    assert_int_equal (s.n, 30);
    for (int i = 0; i < 30; i++) {
      snprintf (key, sizeof key, delimited ? "k/%02d/" : "k/%02d/x", i);
      assert_string_equal (s.keys[i], key);
    }
  }
}

static int
stop_again (void *ctx, const struct blob_entry *e)
{
  ++*(int *) ctx;
  return ERR_AGAIN;
}

/* What the caller's own callback returns is no failure of the store. */
static void
test_list_callback_ends (void **state)
{
  stack ("", RETRY_STANDARD, true);
  assert_int_equal (put ("a", "x", false), 0);
  int n = 0;
  for (int i = 0; i < 20; i++)
    assert_int_equal (blob_list (store, "", "", false, stop_again, &n), ERR_AGAIN);
  assert_int_equal (n, 20);
}

/* get_all after a broken attempt has no rest of it. */
static void
test_get_all_starts_over (void **state)
{
  stack ("", RETRY_STANDARD, false);
  assert_int_equal (put ("a", "text", false), 0);
  assert_int_equal (blob_fault_set (fault, "get@1=lose:again"), 0);
  expect ("a", "text");
  assert_int_equal (blob_fault_set (fault, "get@1+2=fail:format"), 0);
  expect ("a", "text"); /* an answer that cannot be true is asked for again */
  assert_int_equal (blob_fault_set (fault, "get@1+0=fail:format"), 0);
  uint8_t c;
  assert_int_equal (blob_get (store, "a", 0, 1, &c), ERR_FORMAT);
}

static void *
cancel_soon (void *arg)
{
  usleep (100000);
  blob_cancel (store);
  return NULL;
}

/* A cancel ends the wait between two attempts, and a stall. */
static void
test_cancel (void **state)
{
  stack ("put@1+0=fail:again", RETRY_PATIENT, false);
  clock_real ();
  pthread_t t;
  pthread_create (&t, NULL, cancel_soon, NULL);
  int64_t before = clock_now ();
  assert_int_equal (put ("a", "x", false), ERR_CANCELLED);
  pthread_join (t, NULL);
  assert_true (clock_now () - before < NS_PER_S);
  unstack (NULL);
  stack ("put=stall", RETRY_PATIENT, false);
  clock_real ();
  pthread_create (&t, NULL, cancel_soon, NULL);
  assert_int_equal (put ("a", "x", false), ERR_CANCELLED);
  pthread_join (t, NULL);
}

/* The breaker's table, row by row. */
static void
test_breaker_states (void **state)
{
  struct breaker k;
  clock_fake (NS_PER_S);
  breaker_init (&k);
  for (int i = 0; i < BREAKER_TRIP - 1; i++) {
    assert_true (breaker_admit (&k));
    breaker_report (&k, ERR_AGAIN);
  }
  breaker_report (&k, ERR_MISSING); /* an answer: the row starts again */
  for (int i = 0; i < BREAKER_TRIP; i++) {
    assert_int_equal (breaker_state_of (&k), BREAKER_CLOSED);
    breaker_report (&k, i % 2 ? ERR_AGAIN : ERR_AGAIN);
  }
  assert_int_equal (breaker_state_of (&k), BREAKER_OPEN);
  assert_false (breaker_admit (&k));
  clock_fake_advance (BREAKER_COOLDOWN_MS * NS_PER_MS);
  assert_true (breaker_admit (&k));
  assert_int_equal (breaker_state_of (&k), BREAKER_HALF_OPEN);
  assert_false (breaker_admit (&k)); /* one probe at a time */
  breaker_report (&k, ERR_AGAIN);
  assert_int_equal (breaker_state_of (&k), BREAKER_OPEN);
  clock_fake_advance (BREAKER_COOLDOWN_MS * NS_PER_MS);
  assert_false (breaker_admit (&k)); /* the cooldown has doubled */
  clock_fake_advance (BREAKER_COOLDOWN_MS * NS_PER_MS);
  assert_true (breaker_admit (&k));
  breaker_report (&k, ERR_CANCELLED); /* tells nothing */
  assert_int_equal (breaker_state_of (&k), BREAKER_OPEN);
  clock_fake_advance (BREAKER_COOLDOWN_MAX_MS * NS_PER_MS);
  assert_true (breaker_admit (&k));
  breaker_report (&k, 0);
  assert_int_equal (breaker_state_of (&k), BREAKER_CLOSED);
  for (int i = 0; i < 100; i++)
    breaker_report (&k, ERR_THROTTLED); /* a store that is busy is alive */
  assert_int_equal (breaker_state_of (&k), BREAKER_CLOSED);
  breaker_release (&k);
  clock_real ();
}

/* A dead endpoint is left in peace while it is dead, and found again. */
static void
test_breaker_spares (void **state)
{
  stack ("put@1+0=fail:again", RETRY_STANDARD, true);
  assert_int_equal (put ("a", "x", false), ERR_AGAIN);
  struct blob_stats s;
  blob_stats_get (store, &s);
  assert_int_equal (s.breaker, BREAKER_OPEN);
  size_t calls = blob_fault_count (fault);
  assert_true (calls < 20);
  assert_int_equal (blob_fault_set (fault, ""), 0);
  assert_int_equal (put ("a", "x", false), 0);
  blob_stats_get (store, &s);
  assert_int_equal (s.breaker, BREAKER_CLOSED);
}

/* A brown-out: half of all calls fail, also after they were done; nothing of it reaches the
 * caller. */
static void
test_brownout (void **state)
{
  stack ("put@1+0=fail:again", RETRY_AGGRESSIVE, true);
  char rules[600] = "", *p = rules;
  for (int i = 1; i < 60; i += 4)
    p += sprintf (p, "*@%d=fail:again;*@%d=lose:again;", i, i + 1);
  assert_int_equal (blob_fault_set (fault, rules), 0);
  char key[16];
  for (int i = 0; i < 20; i++) {
    snprintf (key, sizeof key, "k%02d", i);
    assert_int_equal (put (key, key, true), 0);
    expect (key, key);
  }
}

int
main (void)
{
  log_set_level (LOG_LVL_ERR);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown (test_heals, unstack),
    cmocka_unit_test_teardown (test_permanent, unstack),
    cmocka_unit_test_teardown (test_gives_up, unstack),
    cmocka_unit_test_teardown (test_lost_reply, unstack),
    cmocka_unit_test (test_retry_after),
    cmocka_unit_test_teardown (test_list_resumes, unstack),
    cmocka_unit_test_teardown (test_list_callback_ends, unstack),
    cmocka_unit_test_teardown (test_get_all_starts_over, unstack),
    cmocka_unit_test_teardown (test_cancel, unstack),
    cmocka_unit_test (test_breaker_states),
    cmocka_unit_test_teardown (test_breaker_spares, unstack),
    cmocka_unit_test_teardown (test_brownout, unstack),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
