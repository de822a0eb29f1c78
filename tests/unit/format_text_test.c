/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: what doc/format/superblock.md, keys.md and manifest.md say of the JSON objects and of
 * the texts of keys: the exact bytes under a MAC, the limits, and what people may type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "format/config_objects.h"
#include "format/manifest.h"

static int
superblock_of (const char *json, struct superblock *out)
{
  return superblock_decode ((const uint8_t *) json, strlen (json), out);
}

#define SB_START "{\"coffer\":\"store\",\"format\":"
#define SB_REST                                                                         \
  ",\"id\":\"000102030405060708090a0b0c0d0e0f\",\"created\":\"now\",\"read\":[],"       \
  "\"write\":[],\"collect\":[],\"mac\":"                                                \
  "\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"}"

static void
test_superblock (void **state)
{
  struct superblock s;
  AUTO_BUF b;
  buf_init (&b, 65536);
  assert_int_equal (superblock_of (SB_START "1" SB_REST, &s), 0);
  /* These bytes are what any other program must put under the MAC. */
  assert_int_equal (superblock_encode (&s, true, &b), 0);
  buf_put_u8 (&b, 0);
  assert_string_equal ((char *) b.data,
                       "{\"coffer\":\"store\",\"collect\":[],\"created\":\"now\",\"format\":1,"
                       "\"id\":\"000102030405060708090a0b0c0d0e0f\",\"read\":[],\"write\":[]}");
  /* A newer format is told from damage even if nothing else of it is understood. */
  assert_int_equal (superblock_of (SB_START "2,\"new\":1}", &s), ERR_VERSION);
  assert_int_equal (superblock_of (SB_START "0" SB_REST, &s), ERR_FORMAT);
  assert_int_equal (superblock_of (SB_START "1" SB_REST "x", &s), ERR_FORMAT);
  assert_int_equal (superblock_of (SB_START "1,\"format\":1" SB_REST, &s), ERR_FORMAT); /* twice */
  assert_int_equal (superblock_of (SB_START "1,\"more\":1" SB_REST, &s), ERR_FORMAT);
  assert_int_equal (superblock_of ("{\"coffer\":\"other\"}", &s), ERR_FORMAT);
  assert_int_equal (superblock_of ("[]", &s), ERR_FORMAT);
  assert_int_equal (superblock_of ("", &s), ERR_FORMAT);
}

/* Hex in upper case would decode to the same but not be the bytes under the MAC. */
static void
test_hex_has_one_spelling (void **state)
{
  char text[] = SB_START "1" SB_REST;
  struct superblock s;
  *strstr (text, "0a0b") = 'x';
  assert_int_equal (superblock_of (text, &s), ERR_FORMAT);
  char upper[] = SB_START "1" SB_REST;
  strstr (upper, "0a0b")[1] = 'A';
  assert_int_equal (superblock_of (upper, &s), ERR_FORMAT);
}

static int
slot_with (const struct key_slot *s)
{
  AUTO_BUF b;
  AUTO_BUF again;
  struct key_slot got;
  buf_init (&b, 65536);
  buf_init (&again, 65536);
  int rc = key_slot_encode (s, false, &b);
  if (rc < 0)
    return rc;
  rc = key_slot_decode (b.data, b.len, &got);
  if (rc < 0)
    return rc;
  assert_int_equal (key_slot_encode (&got, false, &again), 0);
  assert_int_equal (again.len, b.len);
  assert_memory_equal (again.data, b.data, b.len);
  return 0;
}

/* The cost is read before the slot is known to be genuine: a store cannot make a reader spend
 * hours. */
static void
test_slot_cost (void **state)
{
  struct key_slot s = { 0 };
  s.version = 1;
  s.type = SLOT_SCRYPT;
  s.n = 1u << 20;
  s.r = 16;
  s.p = 4;
  memcpy (s.scope, "master", 7);
  assert_int_equal (slot_with (&s), 0);
  s.n = 1u << 21;
  assert_int_equal (slot_with (&s), ERR_INVALID);
  s.n = 1000; /* not a power of two */
  assert_int_equal (slot_with (&s), ERR_INVALID);
  s.n = 16;
  s.r = 17;
  assert_int_equal (slot_with (&s), ERR_INVALID);
  s.r = 8;
  s.p = 0;
  assert_int_equal (slot_with (&s), ERR_INVALID);
}

static void
test_slot_scope (void **state)
{
  static const char *const good[] = { "master", "vault:a", "vault:orders-2.x_y" };
  static const char *const bad[] = { "", "vault:", "vault:A", "vault:.x", "vault:a/b", "Master",
                                     "vault:a b" };
  struct key_slot s = { 0 };
  s.version = 1;
  s.type = SLOT_KEYFILE;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    memset (s.scope, 0, sizeof s.scope);
    memcpy (s.scope, good[i], strlen (good[i]));
    assert_int_equal (slot_with (&s), 0);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memset (s.scope, 0, sizeof s.scope);
    memcpy (s.scope, bad[i], strlen (bad[i]));
    assert_int_equal (slot_with (&s), ERR_INVALID);
  }
  memcpy (s.scope, "master", 7);
  memcpy (s.label, "a\nb", 4); /* JSON writers differ in how they escape it */
  assert_int_equal (slot_with (&s), ERR_INVALID);
}

static int
key_of (const char *text, uint8_t secret[32], uint8_t check[4], int *len)
{
  return key_file_decode (text, strlen (text), secret, check, len);
}

static void
test_key_file (void **state)
{
  uint8_t secret[32], sum[32], got[32], check[4];
  char text[1000];
  int len;
  AUTO_BUF b;
  buf_init (&b, 1000);
  example_bytes (1, secret, 32);
  example_bytes (2, sum, 32);
  key_file_encode (secret, sum, &b);
  snprintf (text, sizeof text, "# comment\r\n\n%.*s\r\n# end", (int) b.len - 1, (char *) b.data);
  assert_int_equal (key_of (text, got, check, &len), 0);
  assert_int_equal (len, 4);
  assert_memory_equal (got, secret, 32);
  assert_memory_equal (check, sum, 4);
  snprintf (text, sizeof text, "%.*s%.*s", (int) b.len, (char *) b.data, (int) b.len,
            (char *) b.data);
  assert_int_equal (key_of (text, got, check, &len), ERR_FORMAT); /* which of the two? */
  snprintf (text, sizeof text, "%.*s", (int) b.len - 2, (char *) b.data);
  assert_int_equal (key_of (text, got, check, &len), ERR_FORMAT);
  assert_int_equal (key_of ("", got, check, &len), ERR_FORMAT);
  assert_int_equal (key_of ("# nothing\n", got, check, &len), ERR_FORMAT);
}

/* RFC 4648 digits, by hand: 35 zero bytes are 56 times A; all ones are 56 times 7. */
static void
test_paper_digits (void **state)
{
  uint8_t secret[32], sum[32], got[32], check[4];
  char out[80];
  int len;
  memset (secret, 0, 32);
  memset (sum, 0, 32);
  paper_key_encode (secret, sum, out);
  assert_string_equal (out,
                       "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA");
  memset (secret, 0xff, 32);
  memset (sum, 0xff, 32);
  paper_key_encode (secret, sum, out);
  assert_string_equal (out,
                       "7777-7777-7777-7777-7777-7777-7777-7777-7777-7777-7777-7777-7777-7777");
  memcpy (secret, "foobar\0\0", 8); /* RFC 4648: "foobar" begins MZXW6YTBOI */
  paper_key_encode (secret, sum, out);
  assert_memory_equal (out, "MZXW-6YTB-O", 11);
  assert_int_equal (key_of (out, got, check, &len), 0);
  assert_int_equal (len, 3);
  assert_memory_equal (got, secret, 32);
}

/* What people type: lower case, other grouping, line breaks, 0 for O, 1 for I, 8 for B. */
static void
test_paper_typing (void **state)
{
  uint8_t secret[32], sum[32], got[32], check[4];
  char out[80], typed[200];
  int len, n = 0;
  example_bytes (77, secret, 32);
  example_bytes (78, sum, 32);
  paper_key_encode (secret, sum, out);
  for (const char *p = out; *p; p++) {
    char c = *p == 'O' ? '0' : *p == 'I' ? '1' : *p == 'B' ? '8' : *p;
    typed[n++] = (char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (*p == '-') {
      char gap = n % 3 ? ' ' : '\n';
      typed[n++] = gap;
    }
  }
  typed[n] = 0;
  assert_int_equal (key_of (typed, got, check, &len), 0);
  assert_memory_equal (got, secret, 32);
  assert_memory_equal (check, sum, 3);
  typed[n++] = 'a'; /* one digit too many */
  typed[n] = 0;
  assert_int_equal (key_of (typed, got, check, &len), ERR_FORMAT);
  typed[n - 2] = 0; /* one too few */
  assert_int_equal (key_of (typed, got, check, &len), ERR_FORMAT);
  typed[0] = '9';
  assert_int_equal (key_of (typed, got, check, &len), ERR_FORMAT);
}

static void
test_manifest (void **state)
{
  AUTO_BUF b;
  struct manifest m;
  const struct example *e = examples;
  buf_init (&b, 1u << 20);
  while (strcmp (e->decoder, "manifest") != 0)
    e++;
  assert_int_equal (e->build (&b), 0);
  assert_int_equal (manifest_decode (b.data, b.len, &m), 0);
  assert_string_equal (m.ts, "20261121T030000Z-before-upgrade");
  assert_true (m.created == 1795000000000000001 && m.counts.stored == INT64_MAX && m.rows == 40501);
  assert_true (m.pack_count == 2 && m.part_count == 2 && m.parts[1].is_missing
               && !m.parts[0].is_missing);
  assert_string_equal (manifest_meta_get (&m, "note"), "\xc3\xa4 \"quoted\"\n");
  assert_null (manifest_meta_get (&m, "absent"));
  assert_int_equal (manifest_meta_set (&m, "note", "other"), 0);
  assert_int_equal (m.meta_count, 2);
  assert_string_equal (manifest_meta_get (&m, "note"), "other");

  AUTO_BUF out;
  buf_init (&out, 1u << 20);
  m.counts.stored = (uint64_t) INT64_MAX + 1; /* JSON readers would round it */
  assert_int_equal (manifest_encode (&m, &out), ERR_INVALID);
  m.counts.stored = 0;
  assert_int_equal (manifest_meta_set (&m, "raw", "\xff\xfe"), 0);
  assert_int_equal (manifest_encode (&m, &out), ERR_INVALID); /* not UTF-8 */
  manifest_release (&m);
}

/* Unknown members of a manifest are for later versions to add. */
static void
test_manifest_unknown (void **state)
{
  AUTO_BUF b;
  AUTO_BUF more;
  struct manifest m;
  const struct example *e = examples;
  buf_init (&b, 1u << 20);
  buf_init (&more, 1u << 20);
  while (strcmp (e->decoder, "manifest") != 0)
    e++;
  assert_int_equal (e->build (&b), 0);
  buf_printf (&more, "{\"aaa\":[{}],%.*s", (int) b.len - 1, (char *) b.data + 1);
  assert_int_equal (manifest_decode (more.data, more.len, &m), 0);
  manifest_release (&m);
  char *at = strstr ((char *) more.data, "\"format\":1");
  assert_non_null (at);
  at[9] = '2';
  assert_int_equal (manifest_decode (more.data, more.len, &m), ERR_VERSION);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_superblock),   cmocka_unit_test (test_hex_has_one_spelling),
    cmocka_unit_test (test_slot_cost),    cmocka_unit_test (test_slot_scope),
    cmocka_unit_test (test_key_file),     cmocka_unit_test (test_paper_digits),
    cmocka_unit_test (test_paper_typing), cmocka_unit_test (test_manifest),
    cmocka_unit_test (test_manifest_unknown),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
