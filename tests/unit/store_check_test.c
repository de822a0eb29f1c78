/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of packs, and the check of whole packs: every flipped byte is found, and the right chunk
 * is named. */
#include "store_reader_util.h"

#include <stdio.h>
#include <string.h>

#include "store/check.h"
#include "store/packfile.h"

struct fixture {
  struct vault *v;
  struct sealer *s;
  char key[BLOB_KEY_MAX + 1];
  struct buf pack;
};

static int
setup (void **state)
{
  static const uint32_t lens[] = { 60, 200, 1000 };
  struct fixture *f = calloc (1, sizeof *f);
  f->v = vault_new (0, 0);
  vault_pack (f->v, 3, 0, lens, false);
  vault_pack (f->v, 3000, 40, NULL, false); /* a table longer than what comes with the trailer */
  packfile_key (f->v->src.prefix, f->v->wants[0].pack, f->key);
  buf_init (&f->pack, 1 << 20);
  *state = f;
  if (sealer_new (&f->s) < 0)
    return -1;
  return blob_get_all (f->v->mem, f->key, &f->pack);
}

static int
teardown (void **state)
{
  struct fixture *f = *state;
  buf_release (&f->pack);
  sealer_free (f->s);
  vault_free (f->v);
  free (f);
  return 0;
}

static void
write_pack (struct fixture *f, const void *bytes, size_t n)
{
  assert_int_equal (blob_put (f->v->mem, f->key, bytes, n, NULL), 0);
}

/* The table says where each chunk is, as the references do; with and without a known size. */
static void
test_table (void **state)
{
  struct fixture *f = *state;
  for (size_t i = 0; i < 6; i++) {
    size_t first = i % 2 ? 3 : 0, count = i % 2 ? 3000 : 3, n = 0;
    struct pack_entry *e = NULL;
    char key[BLOB_KEY_MAX + 1];
    packfile_key (f->v->src.prefix, f->v->wants[first].pack, key);
    struct blob_info info;
    assert_int_equal (blob_head (f->v->mem, key, &info), 0);
    assert_int_equal (pack_table_fetch (f->v->mem, f->v->keys, f->s, key, i < 3 ? info.size : 0,
                                        &e, &n), 0);
    assert_int_equal (n, count);
    for (size_t k = 0; k < n; k++) {
      const struct chunk_ref *ref = &f->v->wants[first + k].ref;
      assert_memory_equal (e[k].id, ref->id, ID_LEN);
      assert_int_equal (e[k].off, ref->off);
      assert_int_equal (e[k].sealed_len, ref->sealed_len);
      assert_int_equal (e[k].plain_len, ref->plain_len);
    }
    free (e);
  }
  uint8_t name[PACK_NAME_LEN];
  assert_true (packfile_name (f->key, name));
  assert_memory_equal (name, f->v->wants[0].pack, PACK_NAME_LEN);
  assert_false (packfile_name ("vaults/orders/packs/ab/notes.txt", name));
}

/* A damaged or cut pack never gives a wrong table. */
static void
test_table_damage (void **state)
{
  struct fixture *f = *state;
  for (size_t at = 0; at < f->pack.len; at++)
    for (int is_cut = 0; is_cut < 2; is_cut++) {
      struct pack_entry *e = NULL;
      size_t n = 0;
      f->pack.data[at] ^= is_cut ? 0 : 0x20;
      write_pack (f, f->pack.data, is_cut ? at : f->pack.len);
      f->pack.data[at] ^= is_cut ? 0 : 0x20;
      int rc = pack_table_fetch (f->v->mem, f->v->keys, f->s, f->key, 0, &e, &n);
      if (rc == 0) {
        /* Only bytes that the table does not cover may have changed. */
        assert_false (is_cut);
        assert_int_equal (n, 3);
        for (size_t k = 0; k < 3; k++)
          assert_memory_equal (e[k].id, f->v->wants[k].ref.id, ID_LEN);
      } else
        assert_true (rc == ERR_FORMAT || rc == ERR_VERSION);
      free (e);
    }
  write_pack (f, f->pack.data, f->pack.len);
}

struct seen {
  int calls, chunks, names, tables, missing, sizes, unreadable;
  uint8_t id[ID_LEN];
};

static void
found (void *ctx, const struct check_damage *d)
{
  struct seen *s = ctx;
  s->calls++;
  s->chunks += d->what == CHECK_CHUNK;
  s->names += d->what == CHECK_NAME;
  s->tables += d->what == CHECK_TABLE;
  s->missing += d->what == CHECK_MISSING;
  s->sizes += d->what == CHECK_SIZE;
  s->unreadable += d->what == CHECK_UNREADABLE;
  if (d->what == CHECK_CHUNK)
    memcpy (s->id, d->entry.id, ID_LEN);
}

static struct seen
check (struct fixture *f, bool with_keys, bool read_data, int want, struct check_totals *totals)
{
  struct seen seen = { 0 };
  uint8_t names[2][PACK_NAME_LEN];
  memcpy (names[0], f->v->wants[0].pack, PACK_NAME_LEN);
  memcpy (names[1], f->v->wants[3].pack, PACK_NAME_LEN);
  struct check_job job = { .blob = f->v->slow, .keys = with_keys ? f->v->keys : NULL,
                           .prefix = f->v->src.prefix, .read_data = read_data, .threads = 2,
                           .ctx = &seen, .found = found };
  if (!read_data)
    job.blob = f->v->mem;
  assert_int_equal (check_packs (&job, (const uint8_t (*)[PACK_NAME_LEN]) names, 2, totals), want);
  return seen;
}

/* A whole vault: nothing is found, everything is counted. */
static void
test_whole (void **state)
{
  struct check_totals t;
  struct seen s = check (*state, true, true, 0, &t);
  assert_int_equal (s.calls, 0);
  assert_int_equal (t.packs, 2);
  assert_int_equal (t.chunks, 3003);
  assert_int_equal (t.bad_packs + t.bad_chunks + t.unreadable, 0);
  s = check (*state, false, true, 0, &t);
  assert_int_equal (s.calls, 0);
  s = check (*state, true, false, 0, &t);
  assert_int_equal (s.calls, 0);
  assert_int_equal (t.packs, 2);
}

/* Every flipped byte is found: by the name, without a key; and with keys the chunk it is in is
 * named. */
static void
test_every_byte (void **state)
{
  struct fixture *f = *state;
  for (size_t at = 0; at < f->pack.len; at += 3) {
    struct check_totals t;
    f->pack.data[at] ^= 0x04;
    write_pack (f, f->pack.data, f->pack.len);
    f->pack.data[at] ^= 0x04;
    struct pack_report p;
    assert_int_equal (pack_verify (f->v->mem, NULL, f->s, f->v->src.prefix, f->v->wants[0].pack,
                                   NULL, NULL, &p), 0);
    assert_false (p.is_name_right);
    struct seen s = check (f, true, true, 0, &t);
    assert_int_equal (s.names, 1);
    assert_int_equal (t.bad_packs, 1);
    const struct chunk_ref *hit = NULL;
    for (size_t k = 0; k < 3; k++)
      if (at >= f->v->wants[k].ref.off
          && at < f->v->wants[k].ref.off + f->v->wants[k].ref.sealed_len)
        hit = &f->v->wants[k].ref;
    assert_int_equal (s.chunks, hit ? 1 : 0);
    if (hit)
      assert_memory_equal (s.id, hit->id, ID_LEN);
    else if (at >= f->v->wants[2].ref.off + f->v->wants[2].ref.sealed_len)
      assert_int_equal (s.tables, 1);
  }
  write_pack (f, f->pack.data, f->pack.len);
}

/* Ruling 19: a chunk that opens but is not what its id says is found. */
static void
test_wrong_id (void **state)
{
  struct fixture *f = *state;
  AUTO_BUF forged;
  buf_init (&forged, 1 << 20);
  buf_put (&forged, f->pack.data, f->v->wants[0].ref.off);
  uint8_t plain[60] = { 1 };
  assert_true (seal_unit (f->s, f->v->keys, UNIT_DATA, f->v->wants[0].ref.id, plain, 60, 0, &forged)
               >= 0);
  assert_int_equal (forged.len - f->v->wants[0].ref.off, 60 + UNIT_OVERHEAD);
  assert_int_equal (f->v->wants[0].ref.sealed_len, 60 + UNIT_OVERHEAD); /* it fits its place */
  buf_put (&forged, f->pack.data + forged.len, f->pack.len - forged.len);
  write_pack (f, forged.data, forged.len);
  struct check_totals t;
  struct seen s = check (f, true, true, 0, &t);
  assert_int_equal (s.chunks, 1);
  assert_memory_equal (s.id, f->v->wants[0].ref.id, ID_LEN);
  write_pack (f, f->pack.data, f->pack.len);
}

/* Missing, cut to nothing, not to be had: each has its own finding; nothing known is not damage. */
static void
test_missing (void **state)
{
  struct fixture *f = *state;
  struct check_totals t;
  const char *keys[] = { f->key };
  write_pack (f, f->pack.data, 10);
  assert_int_equal (check (f, true, false, 0, &t).sizes, 1);
  struct seen s = check (f, true, true, 0, &t);
  assert_int_equal (s.names, 1);
  assert_int_equal (s.tables, 1);
  assert_int_equal (blob_delete (f->v->mem, keys, 1), 0);
  assert_int_equal (check (f, true, false, 0, &t).missing, 1);
  assert_int_equal (check (f, true, true, 0, &t).missing, 1);
  assert_int_equal (t.bad_packs, 1);
  write_pack (f, f->pack.data, f->pack.len);
  blob_cancel (f->v->slow);
  assert_int_equal (check (f, true, true, ERR_CANCELLED, &t).calls, 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_table, setup, teardown),
    cmocka_unit_test_setup_teardown (test_table_damage, setup, teardown),
    cmocka_unit_test_setup_teardown (test_whole, setup, teardown),
    cmocka_unit_test_setup_teardown (test_every_byte, setup, teardown),
    cmocka_unit_test_setup_teardown (test_wrong_id, setup, teardown),
    cmocka_unit_test_setup_teardown (test_missing, setup, teardown),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
