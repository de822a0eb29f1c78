/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C, HKDF, the key hierarchy and the ids: values from the standards, or from a second
 * implementation (Python's hmac and hashlib) of doc/format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/hmac.h"
#include "store/seal.h"
#include "store/sha_pair.h"
#include "store_keys_helper.h"

static void
assert_hex (const void *p, size_t n, const char *hex)
{
  char text[257];
  assert_in_range (n, 1, 128);
  hex_encode (p, n, text);
  assert_string_equal (text, hex);
}

static uint32_t
some (uint32_t *x, uint32_t below)
{
  *x = *x * 1103515245 + 12345;
  return (*x >> 8) % below;
}

static void
fill (uint8_t *p, size_t n, uint32_t *x)
{
  for (size_t i = 0; i < n; i++)
    p[i] = (uint8_t) some (x, 256);
}

/* Guards: two messages hashed side by side, in pieces of any length and alignment, have the digests
 * that libcrypto finds for each. */
static void
sha_pair_is_sha256 (void **state)
{
  (void) state;
  static uint8_t a[9000], b[9000];
  uint8_t is[32], must[32];
  uint32_t x = 7;
  if (!sha_pair_is_there ())
    skip ();
  fill (a, sizeof a, &x);
  fill (b, sizeof b, &x);
  for (int round = 0; round < 3000; round++) {
    uint32_t limit = round < 1500 ? 200 : sizeof a;
    uint32_t na = some (&x, limit), nb = some (&x, limit), at = 0, bt = 0;
    struct sha_stream s, t;
    sha_stream_init (&s);
    sha_stream_init (&t);
    while (at < na || bt < nb) {
      uint32_t ka = some (&x, na - at + 1), kb = some (&x, nb - bt + 1);
      if (some (&x, 3))
        sha_stream_update_pair (&s, a + at, ka, &t, b + bt, kb);
      else {
        sha_stream_update (&s, a + at, ka);
        sha_stream_update (&t, b + bt, kb);
      }
      at += ka;
      bt += kb;
    }
    sha_stream_final (&s, is);
    sha256_once (a, na, must);
    assert_memory_equal (is, must, 32);
    sha_stream_final (&t, is);
    sha256_once (b, nb, must);
    assert_memory_equal (is, must, 32);
  }
}

/* Guards: the short cut of the pipeline gives chunks the ids that seal_id gives them, whatever is
 * hashed beside them. */
static void
id_beside_a_pack_is_the_id (void **state)
{
  (void) state;
  static uint8_t text[5000], other[5000];
  uint32_t x = 3;
  if (!sha_pair_is_there ())
    skip ();
  struct vault_keys *v = fixed_vault_keys ("v");
  AUTO (sealer) sealer = NULL;
  assert_int_equal (sealer_new (&sealer), 0);
  fill (text, sizeof text, &x);
  fill (other, sizeof other, &x);
  static const int types[] = { UNIT_DATA, UNIT_TREE_PAGE };
  for (int round = 0; round < 400; round++) {
    uint8_t is[ID_LEN], must[ID_LEN];
    uint32_t n = 1 + some (&x, sizeof text), k = some (&x, sizeof other);
    struct sha_stream s;
    sha_stream_init (&s);
    seal_id_beside (v, types[round % 2], text, n, is, &s, other, k);
    assert_int_equal (seal_id (sealer, v, types[round % 2], text, n, must), 0);
    assert_memory_equal (is, must, ID_LEN);
    sha_stream_final (&s, is);
    sha256_once (other, k, must);
    assert_memory_equal (is, must, 32);
  }
  vault_keys_free (v);
}

/* Guards: the CRC is the Castagnoli one of RFC 3720, by instruction and by table. */
static void
crc_has_the_published_values (void **state)
{
  (void) state;
  uint8_t b[32] = { 0 };
  assert_int_equal (crc32c (0, "", 0), 0);
  assert_int_equal (crc32c (0, "123456789", 9), 0xe3069283);
  assert_int_equal (crc32c (0, b, 32), 0x8a9136aa);
  memset (b, 0xff, 32);
  assert_int_equal (crc32c (0, b, 32), 0x62a8ab43);
  for (int i = 0; i < 32; i++)
    b[i] = (uint8_t) i;
  assert_int_equal (crc32c (0, b, 32), 0x46dd794e);
  assert_int_equal (crc32c_portable (0, b, 32), 0x46dd794e);
}

/* Guards: whatever the length and alignment (the three-way loop begins at 12 KiB), both ways agree,
 * and a sum taken in pieces or joined from two is the sum of the whole. */
static void
crc_is_chainable_and_joins (void **state)
{
  (void) state;
  static uint8_t b[70000];
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof b; i++)
    b[i] = (uint8_t) ((x = x * 1103515245 + 12345) >> 16);
  for (int round = 0; round < 400; round++) {
    size_t from = (x = x * 1103515245 + 12345) % 9;
    size_t n = (x = x * 1103515245 + 12345) % (sizeof b - 9);
    size_t cut = n ? (x = x * 1103515245 + 12345) % n : 0;
    uint32_t whole = crc32c (0, b + from, n);
    assert_int_equal (crc32c_portable (0, b + from, n), whole);
    uint32_t a = crc32c (0, b + from, cut), z = crc32c (0, b + from + cut, n - cut);
    assert_int_equal (crc32c (a, b + from + cut, n - cut), whole);
    assert_int_equal (crc32c_combine (a, z, n - cut), whole);
  }
}

/* Guards: HKDF is RFC 5869's (test cases 1 and 3). */
static void
hkdf_has_the_published_values (void **state)
{
  (void) state;
  uint8_t ikm[22], salt[13], info[10], out[42];
  memset (ikm, 0x0b, sizeof ikm);
  for (int i = 0; i < 13; i++)
    salt[i] = (uint8_t) i;
  for (int i = 0; i < 10; i++)
    info[i] = (uint8_t) (0xf0 + i);
  assert_int_equal (hkdf_sha256 (salt, 13, ikm, 22, info, 10, out, 42), 0);
  assert_hex (out, 42,
              "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5d"
              "b02d56ecc4c5bf34007208d5b887185865");
  assert_int_equal (hkdf_sha256 ("", 0, ikm, 22, "", 0, out, 42), 0);
  assert_hex (out, 42,
              "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3"
              "454e5f3c738d2d9d201395faa4b61a96c8");
}

/* Guards: doc/format/README.md's table of keys, as coffer-extract computes it. */
static void
hierarchy_is_the_documented_one (void **state)
{
  (void) state;
  AUTO (vault_keys) v = fixed_vault_keys ("orders");
  AUTO (sealer) s = NULL;
  assert_int_equal (sealer_new (&s), 0);
  uint8_t id[32], key[32];
  assert_int_equal (seal_id (s, v, UNIT_TREE_PAGE, "abc", 3, id), 0);
  assert_hex (id, 32, "1f784c1f11918c7d01db1c7f7597d2b300dfd1c54476d073feab12d3806213df");
  assert_int_equal (seal_id (s, v, UNIT_DATA, "abc", 3, id), 0);
  assert_hex (id, 32, "b9ec9ea6a177c560ba6777479d9f101b099ef08ac0ed7168cb9a17a439b51972");
  assert_hex (vault_keys_chunker (v), 32,
              "946e7139e70b3465d4679590525b3a533335d52bd7183ccfd995fe840184725c");
  EVP_MD_CTX *work = EVP_MD_CTX_new ();
  assert_int_equal (vault_keys_unit_key (v, UNIT_DATA, 1, work, id, key), 0);
  assert_hex (key, 32, "19d202d92bace57574de2cf9761983b266beb8705d1050628da3b51ea9712fc9");
  assert_int_equal (vault_keys_unit_key (v, UNIT_TREE_PAGE, 7, work, id, key), 0);
  assert_hex (key, 32, "1293605499d46ddcb72865efd30eb048c36e1fb4a97769203264691729c4ff54");
  EVP_MD_CTX_free (work);
}

/* Guards: two vaults of one store share no id and no key; a key of one opens no other. */
static void
vaults_do_not_share_keys (void **state)
{
  (void) state;
  AUTO (vault_keys) a = fixed_vault_keys ("a");
  AUTO (vault_keys) b = fixed_vault_keys ("b");
  AUTO (sealer) s = NULL;
  assert_int_equal (sealer_new (&s), 0);
  uint8_t ia[32], ib[32];
  assert_int_equal (seal_id (s, a, UNIT_DATA, "x", 1, ia), 0);
  assert_int_equal (seal_id (s, b, UNIT_DATA, "x", 1, ib), 0);
  assert_memory_not_equal (ia, ib, 32);
  struct keyring k = { .scope = SCOPE_VAULT "a", .slot = "0" };
  assert_int_equal (secret_new (ia, &k.key), 0);
  struct vault_keys *none = NULL;
  assert_int_equal (vault_keys_new (&k, "b", &none), ERR_DENIED);
  assert_null (none);
  assert_int_equal (vault_keys_new (&k, "a", &none), 0);
  vault_keys_free (none);
  secret_free (k.key);
}

/* Guards: the context ids of doc/format/chunk.md. */
static void
context_ids_are_the_documented_ones (void **state)
{
  (void) state;
  AUTO (vault_keys) v = fixed_vault_keys ("orders");
  uint8_t id[32], salt[32] = { 0 };
  unit_id_pack_table (salt, id);
  assert_hex (id, 32, "5335c7068d48dad7f831d73da0f5024abb36a0574bd84ccb60502e8b8dbea9fd");
  unit_id_index ("00112233-0000000001", id);
  assert_hex (id, 32, "64219989de657bdc471982f30362c7d855f71c97e3b88eb1fdefcb4fef1cdb60");
  unit_id_manifest (v, "20261121T030000Z", "full", id);
  assert_hex (id, 32, "194d429a1b92967b186d7b21466c60b3af08a8653105e855035b9f37d1c5f309");
  unit_id_checkpoint (v, "20261121T030000Z", "00aa", "0000000001", id);
  assert_hex (id, 32, "de7bd544695c4e471a2d05202ef3285cd13e6fadf4ad95d6010deb4ce52a8493");
  unit_id_gc (v, "r1", id);
  assert_hex (id, 32, "1ec39f37733c472b3bda8b39602a690cd445ac8cdc9588b88b9b41ed8e3a37da");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (crc_has_the_published_values),
    cmocka_unit_test (crc_is_chainable_and_joins),
    cmocka_unit_test (sha_pair_is_sha256),
    cmocka_unit_test (id_beside_a_pack_is_the_id),
    cmocka_unit_test (hkdf_has_the_published_values),
    cmocka_unit_test (hierarchy_is_the_documented_one),
    cmocka_unit_test (vaults_do_not_share_keys),
    cmocka_unit_test (context_ids_are_the_documented_ones),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
