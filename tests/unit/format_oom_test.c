/* SPDX-License-Identifier: Apache-2.0 */
/* Guards: when the k-th allocation fails, for every k, each encoder and decoder says ERR_NOMEM,
 * gives back what it holds (run under ASan: leaks fail the test) and leaves nothing half made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../fuzz/examples.h"
#include "format/checkpoint.h"
#include "format/config_objects.h"
#include "format/index_delta.h"
#include "format/manifest.h"
#include "format/tree.h"

/* The linker sends the codecs' calls here (-Wl,--wrap). */
void *__real_malloc (size_t n);
void *__real_calloc (size_t n, size_t each);
void *__real_realloc (void *p, size_t n);
void *__wrap_malloc (size_t n);
void *__wrap_calloc (size_t n, size_t each);
void *__wrap_realloc (void *p, size_t n);

static long left = -1; /* allocations until one fails; negative: none does */
static bool has_failed;

static bool
fails (void)
{
  if (left < 0 || left-- > 0)
    return false;
  has_failed = true;
  return true;
}

void *
__wrap_malloc (size_t n)
{
  return fails () ? NULL : __real_malloc (n);
}

void *
__wrap_calloc (size_t n, size_t each)
{
  return fails () ? NULL : __real_calloc (n, each);
}

void *
__wrap_realloc (void *p, size_t n)
{
  return fails () ? NULL : __real_realloc (p, n);
}

/* --- decoders, with what releases their result --- */

static int
decode_tree_page (const uint8_t *p, size_t n)
{
  struct tree_page page;
  int rc = tree_page_decode (p, n, &page);
  if (rc == 0)
    tree_page_release (&page);
  return rc;
}

static int
decode_extent_page (const uint8_t *p, size_t n)
{
  struct extent_page page;
  int rc = extent_page_decode (p, n, &page);
  if (rc == 0)
    extent_page_release (&page);
  return rc;
}

static int
decode_tree_index (const uint8_t *p, size_t n)
{
  struct tree_index t;
  int rc = tree_index_decode (p, n, &t);
  if (rc == 0)
    tree_index_release (&t);
  return rc;
}

static int
decode_pack_list (const uint8_t *p, size_t n)
{
  struct pack_use *uses;
  size_t count;
  int rc = pack_list_decode (p, n, &uses, &count);
  if (rc == 0)
    free (uses);
  return rc;
}

static int
decode_gc_record (const uint8_t *p, size_t n)
{
  struct pack_table t;
  int rc = gc_record_decode (p, n, &t);
  if (rc == 0)
    pack_table_release (&t);
  return rc;
}

static int
decode_checkpoint (const uint8_t *p, size_t n)
{
  struct rd r = rd_of (p, n);
  struct checkpoint_head h;
  struct checkpoint_rec rec = { 0 };
  int rc = checkpoint_head_get (&r, &h);
  if (rc < 0)
    return rc;
  while ((rc = checkpoint_next (&r, &rec)) > 0)
    continue;
  checkpoint_rec_release (&rec);
  checkpoint_head_release (&h);
  return rc;
}

static int
decode_index_delta (const uint8_t *p, size_t n)
{
  struct index_delta d;
  int rc = index_delta_decode (p, n, &d);
  if (rc == 0)
    index_delta_release (&d);
  return rc;
}

static int
decode_manifest (const uint8_t *p, size_t n)
{
  struct manifest m;
  int rc = manifest_decode (p, n, &m);
  if (rc == 0)
    manifest_release (&m);
  return rc;
}

static int
decode_superblock (const uint8_t *p, size_t n)
{
  struct superblock s;
  return superblock_decode (p, n, &s);
}

static int
decode_key_slot (const uint8_t *p, size_t n)
{
  struct key_slot s;
  return key_slot_decode (p, n, &s);
}

static const struct decoder {
  const char *name;
  int (*decode) (const uint8_t *p, size_t n);
} decoders[] = {
  { "tree_page", decode_tree_page },     { "extent_page", decode_extent_page },
  { "tree_index", decode_tree_index },   { "pack_list", decode_pack_list },
  { "gc_record", decode_gc_record },     { "checkpoint", decode_checkpoint },
  { "index_delta", decode_index_delta }, { "manifest", decode_manifest },
  { "superblock", decode_superblock },   { "key_slot", decode_key_slot },
};

/* --- the loops --- */

static int
build_failing_at (const struct example *e, long k)
{
  AUTO_BUF b;
  buf_init (&b, 1u << 20);
  has_failed = false;
  left = k;
  int rc = e->build (&b);
  left = -1;
  return rc;
}

static void
test_encoders (void **state)
{
  for (const struct example *e = examples; e->decoder; e++) {
    long k = 0;
    for (;; k++) {
      int rc = build_failing_at (e, k);
      if (!has_failed) {
        assert_int_equal (rc, 0);
        break;
      }
      if (rc != ERR_NOMEM)
        fail_msg ("%s/%s: %d when allocation %ld fails", e->decoder, e->name, rc, k);
    }
    assert_true (k > 0);
  }
}

static void
test_decoders (void **state)
{
  for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++)
    for (const struct example *e = examples; e->decoder; e++) {
      if (strcmp (e->decoder, decoders[i].name) != 0)
        continue;
      AUTO_BUF b;
      buf_init (&b, 1u << 20);
      assert_int_equal (e->build (&b), 0);
      for (long k = 0;; k++) {
        has_failed = false;
        left = k;
        int rc = decoders[i].decode (b.data, b.len);
        left = -1;
        if (!has_failed) {
          assert_int_equal (rc, 0);
          break;
        }
        if (rc != ERR_NOMEM)
          fail_msg ("%s/%s: %d when allocation %ld fails", e->decoder, e->name, rc, k);
      }
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_encoders),
    cmocka_unit_test (test_decoders),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
