/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed units: what goes in comes out, and nothing else ever does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <zstd.h>

#include "store/chunker.h"
#include "store/seal.h"
#include "store_keys_helper.h"

struct fixture {
  struct vault_keys *keys;
  struct sealer *sealer;
  uint8_t *bytes; /* CHUNK_MAX_BYTES: random, then text in the second half of each 8 KiB if mixed */
};

static uint64_t rng = 88172645463325252ull;
static uint64_t
next_random (void)
{
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return rng;
}

static void
fill_random (uint8_t *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    p[i] = (uint8_t) (next_random () >> 24);
}

static int
setup (void **state)
{
  struct fixture *f = calloc (1, sizeof *f);
  f->keys = fixed_vault_keys ("orders");
  if (sealer_new (&f->sealer) < 0)
    return -1;
  f->bytes = malloc (CHUNK_MAX_BYTES);
  *state = f;
  return 0;
}

static int
teardown (void **state)
{
  struct fixture *f = *state;
  vault_keys_free (f->keys);
  sealer_free (f->sealer);
  free (f->bytes);
  free (f);
  return 0;
}

/* Gives out a unit in memory, as a store does: in order, each byte once, to its end. */
struct source {
  const uint8_t *data;
  size_t len, at, fails_at; /* 0: never */
};

static int
read_source (void *ctx, size_t off, size_t n, uint8_t *out)
{
  struct source *s = ctx;
  assert_int_equal (off, s->at);
  s->at += n;
  if (s->at > s->len)
    return ERR_LIMIT;
  if (s->fails_at && s->at >= s->fails_at)
    return ERR_IO;
  memcpy (out, s->data + off, n);
  return 0;
}

/* Seals N bytes of F, opens them in every way, and returns the sealed length. */
static size_t
round_trip (struct fixture *f, int type, size_t n, int level)
{
  uint8_t id[ID_LEN];
  AUTO_BUF sealed;
  buf_init (&sealed, 64u << 20);
  assert_int_equal (seal_id (f->sealer, f->keys, type, f->bytes, n, id), 0);
  assert_int_equal (seal_unit (f->sealer, f->keys, type, id, f->bytes, n, level, &sealed), 0);
  AUTO_MEM uint8_t *out = malloc (n + 1);
  assert_int_equal (
    open_unit (f->sealer, f->keys, type, id, sealed.data, sealed.len, out, n), n);
  assert_memory_equal (out, f->bytes, n);
  AUTO_BUF again;
  buf_init (&again, n + 3);
  buf_put (&again, "abc", 3);
  assert_int_equal (
    open_unit_buf (f->sealer, f->keys, type, id, sealed.data, sealed.len, &again), n);
  assert_int_equal (again.len, n + 3);
  assert_memory_equal (again.data + 3, f->bytes, n);
  memset (out, 0, n);
  struct source src = { sealed.data, sealed.len, 0, 0 };
  assert_int_equal (open_unit_from (f->sealer, f->keys, type, id, read_source, &src, sealed.len,
                                    out, n), n);
  assert_int_equal (src.at, sealed.len);
  assert_memory_equal (out, f->bytes, n);
  uint32_t crc = crc32c (0, f->bytes, n);
  assert_int_equal (
    seal_verify (f->sealer, f->keys, type, id, sealed.data, sealed.len, crc), 0);
  assert_int_equal (
    seal_verify (f->sealer, f->keys, type, id, sealed.data, sealed.len, crc ^ 1), ERR_FORMAT);
  return sealed.len;
}

/* Guards: round trip for every length class, compressible or not, at every kind of level. */
static void
what_goes_in_comes_out (void **state)
{
  struct fixture *f = *state;
  static const size_t lens[] = { 1, 2, 31, 32, 100, 4095, 65535, 65536, 300001, CHUNK_MAX_BYTES };
  for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
    for (int level = -1; level <= 3; level++) {
      fill_random (f->bytes, lens[i]);
      assert_int_equal (round_trip (f, UNIT_DATA, lens[i], level), lens[i] + UNIT_OVERHEAD);
      for (size_t k = 0; k < lens[i]; k++)
        f->bytes[k] = (uint8_t) ("0123456789abcdef"[f->bytes[k] & 15]);
      size_t len = round_trip (f, UNIT_TREE_PAGE, lens[i] < 1 << 20 ? lens[i] : 1 << 20, level);
      if (level > 0 && lens[i] > 4000)
        assert_true (len < lens[i] * 2 / 3);
    }
}

/* Guards: a unit read in steps is the same one at every length around a step's end, and neither a
 * changed byte in any step or in the tag nor a failing store gives data. */
static void
steps_open_the_same (void **state)
{
  struct fixture *f = *state;
  const size_t step = 128u << 10;
  for (size_t i = 0; i < 3 * 48; i++) {
    size_t len = (i / 48 + 1) * step - 48 + i % 48; /* of the sealed unit: about tag and frame */
    size_t n = len + 24 - UNIT_OVERHEAD;
    fill_random (f->bytes, n);
    assert_int_equal (round_trip (f, UNIT_DATA, n, 0), n + UNIT_OVERHEAD);
  }
  AUTO_MEM uint8_t *out = malloc (5 * step);
  for (int is_text = 0; is_text < 2; is_text++) {
    size_t n = 5 * step - 77;
    for (size_t k = 0; k < n; k++)
      f->bytes[k] = (uint8_t) (next_random () & (is_text ? 15 : 255));
    uint8_t id[ID_LEN];
    AUTO_BUF s;
    buf_init (&s, 1 << 20);
    assert_int_equal (seal_id (f->sealer, f->keys, UNIT_DATA, f->bytes, n, id), 0);
    assert_int_equal (seal_unit (f->sealer, f->keys, UNIT_DATA, id, f->bytes, n, 1, &s), 0);
    assert_int_equal (s.len < n, is_text);
    for (size_t at = 0; at < s.len; at += at + 999 < s.len - 40 ? 999 : 1) {
      s.data[at] ^= 16;
      struct source src = { s.data, s.len, 0, 0 };
      int rc = open_unit_from (f->sealer, f->keys, UNIT_DATA, id, read_source, &src, s.len, out, n);
      assert_true (rc == ERR_FORMAT || (at == 0 && rc == ERR_VERSION));
      s.data[at] ^= 16;
      struct source fails = { s.data, s.len, 0, at + 1 };
      assert_int_equal (open_unit_from (f->sealer, f->keys, UNIT_DATA, id, read_source, &fails,
                                        s.len, out, n), ERR_IO);
    }
    struct source cut = { s.data, s.len - 1, 0, 0 };
    assert_int_equal (open_unit_from (f->sealer, f->keys, UNIT_DATA, id, read_source, &cut, s.len,
                                      out, n), ERR_LIMIT);
  }
}

/* Guards: a damaged, cut or lengthened unit, another id, type or vault, never opens. */
static void
nothing_else_opens (void **state)
{
  struct fixture *f = *state;
  for (int is_text = 0; is_text < 2; is_text++) {
    size_t n = 500;
    memset (f->bytes, 'a', n);
    if (!is_text)
      fill_random (f->bytes, n);
    uint8_t id[ID_LEN], out[600];
    AUTO_BUF s;
    buf_init (&s, 4096);
    assert_int_equal (seal_id (f->sealer, f->keys, UNIT_DATA, f->bytes, n, id), 0);
    assert_int_equal (seal_unit (f->sealer, f->keys, UNIT_DATA, id, f->bytes, n, 1, &s), 0);
    uint32_t crc = crc32c (0, f->bytes, n);
    for (size_t bit = 0; bit < s.len * 8; bit++) {
      s.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
      assert_true (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, out, 600) < 0);
      assert_true (seal_verify (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, crc) < 0);
      struct source src = { s.data, s.len, 0, 0 };
      assert_true (open_unit_from (f->sealer, f->keys, UNIT_DATA, id, read_source, &src, s.len, out,
                                   600) < 0);
      s.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
    for (size_t cut = 0; cut < s.len; cut++) {
      assert_true (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, cut, out, 600) < 0);
      assert_true (
        open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data + cut + 1, s.len - cut - 1, out, 600)
        < 0);
    }
    AUTO (vault_keys) other = fixed_vault_keys ("other");
    assert_int_equal (open_unit (f->sealer, other, UNIT_DATA, id, s.data, s.len, out, 600),
                      ERR_FORMAT);
    assert_int_equal (open_unit (f->sealer, f->keys, UNIT_TREE_PAGE, id, s.data, s.len, out, 600),
                      ERR_FORMAT);
    assert_int_equal (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, out, n - 1),
                      ERR_LIMIT);
    id[31] ^= 1;
    assert_int_equal (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, out, 600),
                      ERR_FORMAT);
    id[31] ^= 1;
    assert_int_equal (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, out, 600), n);
  }
}

/* Guards: a raw unit that fails its tag leaves nothing of itself behind. */
static void
what_is_not_authentic_is_wiped (void **state)
{
  struct fixture *f = *state;
  uint8_t id[ID_LEN], out[256], zero[256] = { 0 };
  AUTO_BUF s;
  buf_init (&s, 4096);
  fill_random (f->bytes, 256);
  assert_int_equal (seal_id (f->sealer, f->keys, UNIT_DATA, f->bytes, 256, id), 0);
  assert_int_equal (seal_unit (f->sealer, f->keys, UNIT_DATA, id, f->bytes, 256, 0, &s), 0);
  s.data[s.len - 1] ^= 1;
  assert_int_equal (open_unit (f->sealer, f->keys, UNIT_DATA, id, s.data, s.len, out, 256),
                    ERR_FORMAT);
  assert_memory_equal (out, zero, 256);
}

/* Guards: two seals of one chunk differ (random nonce) and open to the same. */
static void
nonces_do_not_recur (void **state)
{
  struct fixture *f = *state;
  uint8_t id[ID_LEN];
  memset (f->bytes, 7, 1000);
  assert_int_equal (seal_id (f->sealer, f->keys, UNIT_DATA, f->bytes, 1000, id), 0);
  uint8_t seen[200][NONCE_LEN];
  for (int i = 0; i < 200; i++) {
    AUTO_BUF s;
    buf_init (&s, 4096);
    assert_int_equal (seal_unit (f->sealer, f->keys, UNIT_DATA, id, f->bytes, 1000, 1, &s), 0);
    memcpy (seen[i], s.data + 12, NONCE_LEN);
    for (int k = 0; k < i; k++)
      assert_memory_not_equal (seen[i], seen[k], NONCE_LEN);
  }
}

/* Guards: the probe keeps what can be gained.  Chunks whose every part of GRAIN bytes is
 * compressible text with probability P, else random: the sealed length is within 1 % of the full
 * pass's. */
static void
probe_loses_little (void **state)
{
  struct fixture *f = *state;
  static const size_t grains[] = { 512, 4096, 40000 };
  size_t probed = 0, full = 0;
  for (int round = 0; round < 60; round++) {
    size_t n = 131072 + next_random () % (CHUNK_MAX_BYTES - 131072), grain = grains[round % 3];
    unsigned percent = (unsigned) round * 100 / 60;
    fill_random (f->bytes, n);
    for (size_t at = 0; at < n; at += grain)
      if (next_random () % 100 < percent)
        for (size_t i = at; i < n && i < at + grain; i++)
          f->bytes[i] = (uint8_t) ("customer,order,price\n"[f->bytes[i] % 21]);
    struct seal_plan plan;
    assert_int_equal (seal_prepare (f->sealer, UNIT_DATA, f->bytes, n, 1, &plan), 0);
    probed += plan.body_len;
    AUTO_MEM uint8_t *out = malloc (ZSTD_compressBound (n));
    size_t got = ZSTD_compress (out, ZSTD_compressBound (n), f->bytes, n, 1);
    full += got < n ? got : n;
  }
  assert_true (probed < full + full / 100);
}

/* Guards: lengths beyond a type's bound are refused before anything is done. */
static void
bounds_are_kept (void **state)
{
  struct fixture *f = *state;
  struct seal_plan plan;
  assert_int_equal (
    seal_prepare (f->sealer, UNIT_TREE_PAGE, f->bytes, (1 << 20) + 1, 1, &plan), ERR_LIMIT);
  assert_int_equal (seal_prepare (f->sealer, UNIT_DATA, f->bytes, 0, 1, &plan), ERR_INVALID);
  assert_int_equal (seal_prepare (f->sealer, 99, f->bytes, 1, 1, &plan), ERR_LIMIT);
}

/* Guards: the streaming digest is SHA-256, also after a reset. */
static void
sha256_is_sha256 (void **state)
{
  (void) state;
  AUTO (sha256) s = NULL;
  uint8_t a[32], b[32];
  char hex[65];
  assert_int_equal (sha256_new (&s), 0);
  for (int i = 0; i < 2; i++) {
    sha256_reset (s);
    sha256_update (s, "a", 1);
    sha256_update (s, "bc", 2);
    sha256_final (s, a);
    sha256_once ("abc", 3, b);
    assert_memory_equal (a, b, 32);
  }
  hex_encode (a, 32, hex);
  assert_string_equal (hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (what_goes_in_comes_out),
    cmocka_unit_test (steps_open_the_same),
    cmocka_unit_test (nothing_else_opens),
    cmocka_unit_test (what_is_not_authentic_is_wiped),
    cmocka_unit_test (nonces_do_not_recur),
    cmocka_unit_test (probe_loses_little),
    cmocka_unit_test (bounds_are_kept),
    cmocka_unit_test (sha256_is_sha256),
  };
  return cmocka_run_group_tests (tests, setup, teardown);
}
