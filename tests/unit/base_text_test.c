/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: a name that others have chosen neither steers a terminal nor breaks a line of the log,
 * and a log level may be changed as often as somebody likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

static const struct {
  const char *in, *shown, *clean;
} rows[] = {
  { "plain", "plain", "plain" },
  { "\xc3\xbc \xe2\x82\xac", "\xc3\xbc \xe2\x82\xac", "\xc3\xbc \xe2\x82\xac" },
  { "a\nb\tc\rd", "a\\nb\\tc\\x0dd", "a b c d" },
  { "\x1b[31mred", "\\x1b[31mred", "?[31mred" },
  { "del\x7f", "del\\x7f", "del?" },
  { "c1\xc2\x9b" "31m", "c1\\xc2\\x9b31m", "c1??31m" },
  { "\xc2\xa0", "\xc2\xa0", "\xc2\xa0" },
  { "bad\xff", "bad\\xff", "bad?" },
  { "cut\xe2\x82", "cut\\xe2\\x82", "cut??" },
  { "cut\xc2", "cut\\xc2", "cut?" },
  { "half\xed\xa0\x80", "half\\xed\\xa0\\x80", "half???" },
};

static void
test_names (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char shown[64], clean[64];
    assert_string_equal (text_show (rows[i].in, shown, sizeof shown), rows[i].shown);
    snprintf (clean, sizeof clean, "%s", rows[i].in);
    text_clean (clean);
    assert_string_equal (clean, rows[i].clean);
    assert_true (text_is_utf8 (shown) && text_is_utf8 (clean));
  }
}

/* What does not fit ends before a character, never within one. */
static void
test_cut (void **state)
{
  (void) state;
  static const char in[] = "a\xe2\x82\xac\n\xff";
  static const char *const want[] = { "", "a", "a", "a", "a\xe2\x82\xac", "a\xe2\x82\xac",
                                      "a\xe2\x82\xac\\n" };
  for (size_t cap = 1; cap <= 7; cap++) {
    char *out = malloc (cap); /* so that a sanitizer sees a byte too many */
    assert_non_null (out);
    assert_string_equal (text_show (in, out, cap), want[cap - 1]);
    free (out);
  }
}

static void
test_log_line (void **state)
{
  (void) state;
  char path[64], line[512] = "";
  snprintf (path, sizeof path, "/tmp/base_text_test.%d", (int) getpid ());
  for (int is_json = 0; is_json < 2; is_json++) {
    unlink (path);
    assert_int_equal (log_init (LOG_TO_FILE, path, is_json), 0);
    log_err ("refused name=\"%s\"", "x\x1b[2J\nforged\xff");
    FILE *f = fopen (path, "r");
    assert_non_null (f);
    assert_non_null (fgets (line, sizeof line, f));
    assert_int_equal (fgetc (f), EOF);
    fclose (f);
    assert_non_null (strstr (line, "x?[2J forged?"));
  }
  unlink (path);
  assert_int_equal (log_init (LOG_TO_STDERR, NULL, false), 0);
}

static void
test_levels_again (void **state)
{
  (void) state;
  for (int i = 0; i < 100; i++)
    assert_int_equal (log_set_levels (i % 2 ? "packer=debug" : "packer=err"), 0);
  assert_true (log_wants (LOG_LVL_DEBUG, "packer"));
  assert_int_equal (log_set_levels ("packer=err,http=debug"), 0);
  assert_false (log_wants (LOG_LVL_WARN, "packer"));
  assert_true (log_wants (LOG_LVL_DEBUG, "http"));
  assert_int_equal (log_set_levels ("packer=loud"), ERR_INVALID);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_names),
    cmocka_unit_test (test_cut),
    cmocka_unit_test (test_log_line),
    cmocka_unit_test (test_levels_again),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
