/* SPDX-License-Identifier: Apache-2.0 */
#include "targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/config_objects.h"
#include "format/index_delta.h"
#include "format/manifest.h"
#include "format/pack.h"
#include "format/tree.h"

#define OUT_MAX (160u << 20)

static void
fail (const char *what)
{
  fprintf (stderr, "oracle: %s\n", what);
  abort ();
}

static void
must_equal (const struct buf *b, const uint8_t *p, size_t n, const char *what)
{
  if (b->error || b->len != n || (n && memcmp (b->data, p, n) != 0))
    fail (what);
}

static void
must_encode (int rc, const char *what)
{
  if (rc < 0)
    fail (what);
}

/* --- frames and wrappers --- */

int
target_object (const uint8_t *p, size_t n)
{
  static const char *const magics[] = { MAGIC_PACK, MAGIC_INDEX, MAGIC_MANIFEST,
                                        MAGIC_SEALED, MAGIC_CHECKPOINT, MAGIC_GC };
  uint8_t digest[32];
  const uint8_t *pending;
  size_t len;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = ERR_FORMAT;
  for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
    if (object_header_check (p, n, magics[i]) == 0)
      rc = 0;
  if (rc == 0 && sealed_decode (p, n, digest, &pending, &len) == 0) {
    sealed_encode (digest, pending, len, &b);
    if (b.len != n || memcmp (b.data + OBJECT_HEADER_LEN, p + OBJECT_HEADER_LEN,
                              n - OBJECT_HEADER_LEN) != 0)
      fail ("sealed"); /* the header's may_ignore bits are not kept */
  }
  struct frame f;
  size_t skip = rc == 0 ? OBJECT_HEADER_LEN : 0;
  int frc = frame_decode (p + skip, n - skip, &f);
  if (frc == 0) {
    uint8_t again[FRAME_LEN];
    frame_encode (&f, again);
    if (memcmp (again, p + skip, FRAME_LEN) != 0)
      fail ("frame");
  }
  return rc == 0 || frc == 0 ? 0 : frc;
}

int
target_pack (const uint8_t *p, size_t n)
{
  enum pack_kind kind;
  uint8_t salt[PACK_SALT_LEN], again[PACK_HEADER_LEN], end[PACK_TRAILER_LEN];
  uint64_t table_off;
  uint32_t table_len, count;
  if (n < PACK_HEADER_LEN + PACK_TRAILER_LEN)
    return ERR_FORMAT;
  int rc = pack_header_decode (p, &kind, salt);
  if (rc < 0)
    return rc;
  pack_header_encode (kind, salt, again);
  if (memcmp (again + 16, p + 16, PACK_HEADER_LEN - 16) != 0)
    fail ("pack header");
  const uint8_t *trailer = p + n - PACK_TRAILER_LEN, *table = p + PACK_HEADER_LEN;
  size_t table_n = n - PACK_HEADER_LEN - PACK_TRAILER_LEN;
  /* The whole pack is not here: its size is what the trailer implies. */
  rc = pack_trailer_decode (trailer, get_le64 (trailer) + get_le32 (trailer + 8) + PACK_TRAILER_LEN,
                            &table_off, &table_len, &count);
  if (rc < 0)
    return rc;
  pack_trailer_encode (table_off, table_len, count, end);
  if (memcmp (end, trailer, PACK_TRAILER_LEN) != 0)
    fail ("pack trailer");
  AUTO_MEM struct pack_entry *entries = calloc (count, sizeof *entries);
  if (!entries)
    return ERR_NOMEM;
  rc = pack_table_decode (table, table_n, table_off, entries, count);
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  for (int i = 0; i < rc; i++)
    pack_entry_put (&b, &entries[i]);
  if (rc > 0)
    must_equal (&b, table, table_n, "pack table");
  return rc < 0 ? rc : 0;
}

/* --- the tree --- */

static void
attr_walk (const struct node_attr *a, uint32_t npacks)
{
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  struct rd r = rd_of (a->extents, a->extents_len);
  for (uint64_t i = 0; a->extents && i < a->ext_count; i++) {
    struct extent e;
    extent_get (&r, npacks, &e);
    if (r.failed)
      fail ("extent of a decoded row");
    extent_put (&b, &e);
  }
  if (a->extents)
    must_equal (&b, a->extents, a->extents_len, "extents");
  const uint8_t *name, *value;
  size_t name_len, value_len, n = 0;
  struct rd x = xattrs_begin (a->xattrs, a->xattrs_len);
  while (xattrs_next (&x, &name, &name_len, &value, &value_len))
    n += name_len + value_len;
  if (x.failed || n > TREE_XATTRS_MAX)
    fail ("xattrs of a decoded row");
}

int
target_tree_page (const uint8_t *p, size_t n)
{
  struct tree_page page;
  AUTO_BUF rows;
  AUTO_BUF b;
  buf_init (&rows, OUT_MAX);
  buf_init (&b, OUT_MAX);
  int rc = tree_page_decode (p, n, &page);
  if (rc < 0)
    return rc;
  for (uint32_t i = 0; i < page.row_count && rc == 0; i++) {
    struct tree_row row;
    rc = tree_page_row (&page, i, false, &row);
    if (rc < 0 && i == 0)
      rc = tree_page_row (&page, i, true, &row);
    if (rc < 0)
      break;
    attr_walk (&row.attr, page.packs.count);
    must_encode (tree_row_encode (&row, &rows), "row");
  }
  if (rc == 0) {
    must_encode (tree_page_encode (&page.packs, &rows, page.row_count, &b), "tree page");
    must_equal (&b, p, n, "tree page");
  }
  tree_page_release (&page);
  return rc;
}

int
target_extent_page (const uint8_t *p, size_t n)
{
  struct extent_page page;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = extent_page_decode (p, n, &page);
  if (rc < 0)
    return rc;
  must_encode (extent_page_encode (&page, &b), "extent page");
  must_equal (&b, p, n, "extent page");
  extent_page_release (&page);
  return 0;
}

int
target_tree_index (const uint8_t *p, size_t n)
{
  struct tree_index t;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = tree_index_decode (p, n, &t);
  if (rc < 0)
    return rc;
  for (uint32_t i = 1; i < t.page_count; i++)
    if (t.pages[i].first_row != t.pages[i - 1].first_row + t.pages[i - 1].rows)
      fail ("first row");
  must_encode (tree_index_encode (&t, &b), "tree index");
  must_equal (&b, p, n, "tree index");
  tree_index_release (&t);
  return 0;
}

int
target_pack_list (const uint8_t *p, size_t n)
{
  struct pack_use *uses;
  size_t count;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = pack_list_decode (p, n, &uses, &count);
  if (rc < 0)
    return rc;
  must_encode (pack_list_encode (uses, count, &b), "pack list");
  must_equal (&b, p, n, "pack list");
  free (uses);
  return 0;
}

int
target_gc_record (const uint8_t *p, size_t n)
{
  struct pack_table t;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = gc_record_decode (p, n, &t);
  if (rc < 0)
    return rc;
  must_encode (gc_record_encode (&t, &b), "gc record");
  must_equal (&b, p, n, "gc record");
  pack_table_release (&t);
  return 0;
}

/* --- checkpoints and indexes --- */

static void
record_put (struct buf *b, struct checkpoint_rec *rec)
{
  char key[256];
  AUTO_MEM struct extent *extents = calloc (rec->extent_count + (size_t) 1, sizeof *extents);
  switch (rec->type) {
  case CP_NODE:
    attr_walk (&rec->attr, 0);
    checkpoint_node_put (b, rec->ino, &rec->attr);
    break;
  case CP_EXTENTS:
    for (uint32_t i = 0; i < rec->extent_count; i++)
      extent_get (&rec->extents, rec->packs.count, &extents[i]);
    if (rec->extents.failed || rd_left (&rec->extents))
      fail ("extents of a record");
    checkpoint_extents_put (b, rec->ino, rec->off, &rec->packs, extents, rec->extent_count);
    break;
  case CP_ENTRY:
    checkpoint_entry_put (b, rec->dir, rec->name, rec->name_len, rec->ino);
    break;
  case CP_REMOVED:
    checkpoint_removed_put (b, rec->ino);
    break;
  case CP_META:
    memcpy (key, rec->name, rec->name_len);
    key[rec->name_len] = 0;
    checkpoint_meta_put (b, key, rec->value, rec->value_len);
    break;
  case CP_COUNTS:
    checkpoint_counts_put (b, &rec->counts);
    break;
  }
}

int
target_checkpoint (const uint8_t *p, size_t n)
{
  struct rd r = rd_of (p, n);
  struct checkpoint_head h;
  struct checkpoint_rec rec = { 0 };
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = checkpoint_head_get (&r, &h);
  if (rc < 0)
    return rc;
  must_encode (checkpoint_head_put (&b, &h), "checkpoint head");
  while ((rc = checkpoint_next (&r, &rec)) > 0)
    record_put (&b, &rec);
  checkpoint_rec_release (&rec);
  checkpoint_head_release (&h);
  if (rc == 0)
    must_equal (&b, p, n, "checkpoint");
  return rc;
}

int
target_index_delta (const uint8_t *p, size_t n)
{
  struct index_delta d;
  AUTO_BUF b;
  buf_init (&b, OUT_MAX);
  int rc = index_delta_decode (p, n, &d);
  if (rc < 0)
    return rc;
  must_encode (index_delta_encode (&d, &b), "index delta");
  must_equal (&b, p, n, "index delta");
  index_delta_release (&d);
  return 0;
}

/* --- JSON and text: other spellings exist, so the second encoding is compared to the first --- */

int
target_manifest (const uint8_t *p, size_t n)
{
  struct manifest m, again;
  AUTO_BUF one;
  AUTO_BUF two;
  buf_init (&one, OUT_MAX);
  buf_init (&two, OUT_MAX);
  int rc = manifest_decode (p, n, &m);
  if (rc < 0)
    return rc;
  must_encode (manifest_encode (&m, &one), "manifest");
  must_encode (manifest_decode (one.data, one.len, &again), "manifest, again");
  must_encode (manifest_encode (&again, &two), "manifest, again");
  must_equal (&two, one.data, one.len, "manifest");
  manifest_release (&m);
  manifest_release (&again);
  return 0;
}

int
target_superblock (const uint8_t *p, size_t n)
{
  struct superblock s, again;
  AUTO_BUF one;
  AUTO_BUF two;
  buf_init (&one, OUT_MAX);
  buf_init (&two, OUT_MAX);
  int rc = superblock_decode (p, n, &s);
  if (rc < 0)
    return rc;
  must_encode (superblock_encode (&s, false, &one), "superblock");
  must_encode (superblock_decode (one.data, one.len, &again), "superblock, again");
  must_encode (superblock_encode (&again, false, &two), "superblock, again");
  must_equal (&two, one.data, one.len, "superblock");
  return 0;
}

int
target_key_slot (const uint8_t *p, size_t n)
{
  struct key_slot s, again;
  AUTO_BUF one;
  AUTO_BUF two;
  buf_init (&one, OUT_MAX);
  buf_init (&two, OUT_MAX);
  int rc = key_slot_decode (p, n, &s);
  if (rc < 0)
    return rc;
  must_encode (key_slot_encode (&s, false, &one), "slot");
  must_encode (key_slot_decode (one.data, one.len, &again), "slot, again");
  must_encode (key_slot_encode (&again, false, &two), "slot, again");
  must_equal (&two, one.data, one.len, "slot");
  return 0;
}

int
target_key_file (const uint8_t *p, size_t n)
{
  uint8_t secret[32], again[32], check[32] = { 0 }, check_again[4];
  int len, len_again;
  char paper[80];
  AUTO_BUF b;
  buf_init (&b, 4096);
  int rc = key_file_decode ((const char *) p, n, secret, check, &len);
  if (rc < 0)
    return rc;
  if (len == 4)
    key_file_encode (secret, check, &b);
  else {
    paper_key_encode (secret, check, paper);
    buf_put (&b, paper, strlen (paper));
  }
  must_encode (key_file_decode ((char *) b.data, b.len, again, check_again, &len_again),
               "key, again");
  if (len != len_again || memcmp (secret, again, 32) != 0
      || memcmp (check, check_again, (size_t) len) != 0)
    fail ("key");
  return 0;
}

const struct fuzz_target fuzz_targets[] = {
  { "object", target_object },
  { "pack", target_pack },
  { "tree_page", target_tree_page },
  { "extent_page", target_extent_page },
  { "tree_index", target_tree_index },
  { "pack_list", target_pack_list },
  { "gc_record", target_gc_record },
  { "checkpoint", target_checkpoint },
  { "index_delta", target_index_delta },
  { "manifest", target_manifest },
  { "superblock", target_superblock },
  { "key_slot", target_key_slot },
  { "key_file", target_key_file },
  { NULL, NULL },
};

const struct fuzz_target *
fuzz_target_find (const char *name)
{
  for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
    if (strcmp (t->name, name) == 0)
      return t;
  return NULL;
}
