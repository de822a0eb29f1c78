/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: what config.h promises - every row of the table works in the file and after -o, a wrong
 * line is refused with its number, a dump reads back to the same, and coffer.conf(5) holds every
 * row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"

static char file[64];

static void
write_file (const char *text)
{
  snprintf (file, sizeof file, "/tmp/base_config_test.%d", (int) getpid ());
  FILE *f = fopen (file, "w");
  assert_non_null (f);
  fputs (text, f);
  assert_int_equal (fclose (f), 0);
  assert_int_equal (chmod (file, 0600), 0);
}

static int
load (const char *text, struct config **out, struct buf *why)
{
  write_file (text);
  buf_init (why, 1 << 16);
  assert_int_equal (config_new (out), 0);
  int rc = config_load (*out, file, why);
  unlink (file);
  return rc;
}

static void
refused (const char *text, int want, const char *place, const char *word)
{
  AUTO (config) c = NULL;
  AUTO_BUF why;
  int rc = load (text, &c, &why);
  buf_put_u8 (&why, 0);
  const char *said = (const char *) why.data;
  if (rc != want || !strstr (said, file) || !strstr (said, place) || !strstr (said, word))
    fail_msg ("%s: rc %d, said: %s", text, rc, said);
}

/* A value other than the default that each type takes. */
static const char *
example (const struct config_row *row)
{
  switch (row->type) {
  case CONFIG_PATH: return "/a b/\"q\\${HOME}";
  case CONFIG_SIZE: return "123MiB";
  case CONFIG_RATE: return "08:00-18:00=20MB,*=100MB";
  case CONFIG_DURATION: return row->min > 600 * NS_PER_S ? "2d" : "7s";
  case CONFIG_BOOL: return strcmp (row->dflt, "yes") == 0 ? "no" : "yes";
  case CONFIG_INT: return "2";
  case CONFIG_CHOICE: return strrchr (row->unit, '|') + 1;
  case CONFIG_STRING: break;
  }
  return "some, text";
}

/* Every row is read from a file, in the scope it says, and a dump reads back to the same. */
static void
every_row_in_file (void **state)
{
  (void) state;
  AUTO (config) c = NULL;
  AUTO_BUF why;
  AUTO_BUF text;
  AUTO_BUF dump;
  buf_init (&text, 1 << 16);
  buf_init (&dump, 1 << 16);
  assert_int_equal (config_new (&c), 0);
  buf_init (&why, 4096);
  int eu = config_region_add (c, "eu", &why);
  assert_int_equal (eu, 0);
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    assert_int_equal (config_set (c, CONFIG_ALL, row->name, example (row), &why), 0);
    assert_true (config_has (c, CONFIG_ALL, (enum config_id) id));
    int rc = config_set (c, eu, row->name, example (row), &why);
    assert_int_equal (rc, row->scope == CONFIG_REGIONAL ? 0 : ERR_INVALID);
  }
  config_dump (c, &text);
  buf_put_u8 (&text, 0);
  AUTO (config) again = NULL;
  buf_release (&why);
  int rc = load ((const char *) text.data, &again, &why);
  if (rc)
    fail_msg ("%.*s\n%s", (int) why.len, (const char *) why.data, (const char *) text.data);
  config_dump (again, &dump);
  buf_put_u8 (&dump, 0);
  assert_string_equal ((const char *) text.data, (const char *) dump.data);
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    if (row->scope == CONFIG_OPTION)
      continue;
    assert_string_equal (config_text (again, 0, (enum config_id) id), example (row));
    assert_int_equal (config_number (again, 0, (enum config_id) id),
                      config_number (c, 0, (enum config_id) id));
  }
}

/* Every row is an option of the same name, and '_' may stand for '-'. */
static void
every_row_as_option (void **state)
{
  (void) state;
  for (int id = 0; id < CONFIG_COUNT; id++) {
    const struct config_row *row = config_row ((enum config_id) id);
    AUTO (config) c = NULL;
    AUTO_BUF extra;
    AUTO_BUF why;
    buf_init (&extra, 4096);
    buf_init (&why, 4096);
    assert_int_equal (config_new (&c), 0);
    char item[512];
    size_t n = (size_t) snprintf (item, sizeof item, "rw,%s=", row->name);
    for (const char *p = example (row); *p; p++) {
      if (*p == ',' || *p == '\\')
        item[n++] = '\\';
      item[n++] = *p;
    }
    snprintf (item + n, sizeof item - n, ",nodev");
    for (char *p = item; p < item + 3 + strlen (row->name); p++)
      if (*p == '-')
        *p = '_';
    int rc = config_set_list (c, item, &extra, &why);
    if (rc)
      fail_msg ("%s: %.*s", item, (int) why.len, (const char *) why.data);
    assert_string_equal (config_text (c, CONFIG_ALL, (enum config_id) id), example (row));
    assert_int_equal (extra.len, 5);
  }
}

/* Regions: their own value, the one at top level, the default, in this order. */
static void
regions (void **state)
{
  (void) state;
  AUTO (config) c = NULL;
  AUTO_BUF why;
  AUTO_BUF extra;
  buf_init (&extra, 64);
  int rc = load ("# comment\nkey-file = /k\nupload-rate = 5MB\n"
                 "region \"eu\" {\n url = \"s3://b/p?endpoint=https://h:1\"\n upload-rate = "
                 "7MB\n}\n"
                 "region us-2 { url = \"file:///srv\" }\n",
                 &c, &why);
  if (rc)
    fail_msg ("%.*s", (int) why.len, (const char *) why.data);
  assert_int_equal (config_regions (c), 2);
  assert_string_equal (config_region_name (c, 1), "us-2");
  assert_string_equal (config_text (c, 0, CONFIG_ID_URL), "s3://b/p?endpoint=https://h:1");
  assert_string_equal (config_text (c, 0, CONFIG_ID_UPLOAD_RATE), "7MB");
  assert_string_equal (config_text (c, 1, CONFIG_ID_UPLOAD_RATE), "5MB");
  assert_string_equal (config_text (c, 1, CONFIG_ID_KEY_FILE), "/k");
  assert_string_equal (config_text (c, 1, CONFIG_ID_RETRY), "patient");
  assert_int_equal (config_set_list (c, "us-2.upload-rate=9MB", &extra, &why), 0);
  assert_string_equal (config_text (c, 1, CONFIG_ID_UPLOAD_RATE), "9MB");
  assert_string_equal (config_text (c, 0, CONFIG_ID_UPLOAD_RATE), "7MB");
}

/* Whatever is wrong is refused with its line and what would be right. */
static void
wrong_lines (void **state)
{
  (void) state;
  refused ("refresh = 30s\n\nupload-speed = 5MB\n", ERR_INVALID, ":3:", "upload-speed");
  refused ("refresh = soon\n", ERR_INVALID, ":1:", "30s");
  refused ("\nrefresh = 2d\n", ERR_INVALID, ":2:", "from 0s to 86400s");
  refused ("zstd-level = 20\n", ERR_INVALID, ":1:", "from -7 to 19");
  refused ("zstd-level = 1.5\n", ERR_INVALID, ":1:", "whole number");
  refused ("cache-size = 99999999999G\n", ERR_INVALID, ":1:", "cache-size");
  refused ("seal-verify = all\n", ERR_INVALID, ":1:", "none|list");
  refused ("allow-other = maybe\n", ERR_INVALID, ":1:", "yes or no");
  refused ("state-dir = state\n", ERR_INVALID, ":1:", "absolute path");
  refused ("region \"EU\" { url = \"file:///x\" }\n", ERR_INVALID, ":1:", "no name of a region");
  refused ("region \"eu\" {\n  url = \"file:///x\"\n  cache-size = 1G\n}\n", ERR_INVALID, ":3:",
           "cache-size");
  refused ("region \"eu\" { url = \"a\" }\nregion \"eu\" { url = \"b\" "
           "}\n", ERR_INVALID, ":2:", "eu");
  refused ("region = eu\n", ERR_INVALID, ":1:", "");
  refused ("refresh 30s\n", ERR_INVALID, ":1:", "");
  refused ("region \"eu\" {\n url = \"file:///x\"\n", ERR_INVALID, ":4:", "'}' is missing");
  refused ("refresh = 30s\n/* comment", ERR_INVALID, "", "not closed");
  refused ("refresh = \"30s\nzstd-level = 1\n", ERR_INVALID, "", "");
}

/* A file that is not there, is none, or that anybody could have written. */
static void
wrong_files (void **state)
{
  (void) state;
  AUTO (config) c = NULL;
  AUTO_BUF why;
  buf_init (&why, 4096);
  assert_int_equal (config_new (&c), 0);
  assert_int_equal (config_load (c, "/nonexistent/coffer.conf", &why), ERR_NOENT);
  assert_non_null (memmem (why.data, why.len, "/nonexistent/coffer.conf", 24));
  assert_int_equal (config_load (c, "/", &why), ERR_INVALID);
  write_file ("refresh = 30s\n");
  assert_int_equal (chmod (file, 0666), 0);
  assert_int_equal (config_load (c, file, &why), ERR_DENIED);
  assert_int_equal (chmod (file, 0644), 0);
  assert_int_equal (config_load (c, file, &why), 0);
  unlink (file);
}

/* What fstab users write is passed over or given to the kernel; what is not known is refused. */
static void
fstab_options (void **state)
{
  (void) state;
  AUTO (config) c = NULL;
  AUTO_BUF why;
  AUTO_BUF extra;
  buf_init (&why, 4096);
  buf_init (&extra, 4096);
  assert_int_equal (config_new (&c), 0);
  assert_int_equal (config_set_list (c,
                                     "rw,nofail,_netdev,noauto,x-systemd.automount,user,comment=a,"
                                     "nodev,noatime,allow_other,noguard-mountpoint,,",
                                     &extra, &why), 0);
  buf_put_u8 (&extra, 0);
  assert_string_equal ((const char *) extra.data, "nodev,noatime");
  assert_true (config_is (c, CONFIG_ID_ALLOW_OTHER));
  assert_false (config_is (c, CONFIG_ID_GUARD));
  assert_false (config_is (c, CONFIG_ID_READ_ONLY));
  assert_int_equal (config_set_list (c, "ro", &extra, &why), 0);
  assert_true (config_is (c, CONFIG_ID_READ_ONLY));
  assert_int_equal (config_set_list (c, "cache-size", &extra, &why), ERR_INVALID);
  assert_non_null (memmem (why.data, why.len, "needs a value", 13));
  assert_int_equal (config_set_list (c, "bogus=1", &extra, &why), ERR_INVALID);
  assert_int_equal (config_set_list (c, "nobogus", &extra, &why), ERR_INVALID);
}

static int
no_rate (const char *text)
{
  return strcmp (text, "20MB") == 0 || strcmp (text, "off") == 0 ? 0 : ERR_INVALID;
}

/* Rates are checked by whoever knows them, and still with their line. */
static void
rates (void **state)
{
  (void) state;
  config_check_rate (no_rate);
  refused ("\nupload-rate = fast\n", ERR_INVALID, ":2:", "20MB or 100Mbit");
  AUTO (config) c = NULL;
  AUTO_BUF why;
  assert_int_equal (load ("upload-rate = 20MB\n", &c, &why), 0);
  config_check_rate (NULL);
}

static void
units (void **state)
{
  (void) state;
  static const struct { const char *text; int64_t want; } sizes[] = {
    { "0", 0 }, { "1000", 1000 }, { "1k", 1024 }, { "1kB", 1000 }, { "10GiB", 10LL << 30 },
    { "1.5M", 3 << 19 }, { "2 MB", 2000000 }, { "0.001kB", 1 }, { "7PiB", 7LL << 50 },
  };
  static const struct { const char *text; int64_t want; } times[] = {
    { "30", 30 * NS_PER_S }, { "500ms", NS_PER_S / 2 }, { "1.5h", 5400 * NS_PER_S }, { "off", 0 },
    { "7d", 7 * 86400 * NS_PER_S }, { "2 min", 120 * NS_PER_S },
  };
  static const char *const wrong[]
    = { "", "k", "-1", "1x", "1..5", ".", "1.2345", "0x10", "1 0", "1e3", "99999999999999999999" };
  int64_t v;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    assert_int_equal (config_parse_size (sizes[i].text, &v), 0);
    assert_int_equal (v, sizes[i].want);
  }
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    assert_int_equal (config_parse_duration (times[i].text, &v), 0);
    assert_int_equal (v, times[i].want);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    assert_true (config_parse_size (wrong[i], &v) < 0);
    assert_true (config_parse_duration (wrong[i], &v) < 0);
  }
}

/* The page is written by hand around a part that is made from the table: they must agree. */
static void
man_page (void **state)
{
  (void) state;
  const char *srcdir = getenv ("srcdir");
  char path[512];
  snprintf (path, sizeof path, "%s/doc/man/coffer.conf.5", srcdir ? srcdir : ".");
  FILE *f = fopen (path, "r");
  assert_non_null (f);
  static char page[1 << 17];
  size_t n = fread (page, 1, sizeof page - 1, f);
  fclose (f);
  page[n] = 0;
  static const enum config_scope scopes[] = { CONFIG_REGIONAL, CONFIG_GLOBAL, CONFIG_OPTION };
  for (size_t i = 0; i < 3; i++) {
    AUTO_BUF part;
    buf_init (&part, sizeof page);
    config_man (scopes[i], &part);
    buf_put_u8 (&part, 0);
    assert_int_equal (buf_error (&part), 0);
    if (!strstr (page, (const char *) part.data))
      fail_msg ("%s does not hold this part of `coffer help settings`:\n%s", path,
                (const char *) part.data);
  }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (every_row_in_file), cmocka_unit_test (every_row_as_option),
    cmocka_unit_test (regions),           cmocka_unit_test (wrong_lines),
    cmocka_unit_test (wrong_files),       cmocka_unit_test (fstab_options),
    cmocka_unit_test (rates),             cmocka_unit_test (units),
    cmocka_unit_test (man_page),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
