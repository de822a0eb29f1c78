/* SPDX-License-Identifier: Apache-2.0 */
#include "examples.h"

#include <string.h>

#include "format/checkpoint.h"
#include "format/config_objects.h"
#include "format/index_delta.h"
#include "format/manifest.h"
#include "format/pack.h"
#include "format/tree.h"

void
example_bytes (uint8_t seed, uint8_t *out, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = (uint8_t) (seed * 31u + i * 7u + (i >> 3));
}

struct chunk_ref
example_ref (uint8_t seed, uint32_t pack, uint32_t plain_len)
{
  struct chunk_ref ref = { .pack = pack, .off = 64 + 1000u * seed, .sealed_len = plain_len / 2 + 41,
                           .plain_len = plain_len };
  example_bytes (seed, ref.id, ID_LEN);
  return ref;
}

static int
packs_of (struct pack_table *t, int n)
{
  for (int i = 0; i < n; i++) {
    uint8_t name[PACK_NAME_LEN];
    uint32_t at;
    example_bytes ((uint8_t) (100 + i), name, sizeof name);
    int rc = pack_table_intern (t, name, &at);
    if (rc < 0)
      return rc;
  }
  return 0;
}

/* --- frames and packs --- */

static int
build_frame (struct buf *out)
{
  struct frame f = { .type = UNIT_DATA, .codec = CODEC_RAW, .aead = AEAD_AES_256_GCM,
                     .generation = 3,
                     .plain_len = 5 };
  uint8_t raw[FRAME_LEN], body[5 + TAG_LEN];
  example_bytes (1, f.nonce, NONCE_LEN);
  example_bytes (2, body, sizeof body);
  frame_encode (&f, raw);
  buf_put (out, raw, sizeof raw);
  buf_put (out, body, sizeof body);
  return buf_error (out);
}

static int
build_sealed (struct buf *out)
{
  AUTO_BUF pending;
  uint8_t digest[32];
  buf_init (&pending, 4096);
  object_header_put (&pending, MAGIC_MANIFEST);
  int rc = build_frame (&pending);
  example_bytes (3, digest, sizeof digest);
  sealed_encode (digest, pending.data, pending.len, out);
  return rc < 0 ? rc : buf_error (out);
}

static int
build_pack (struct buf *out)
{
  uint8_t salt[PACK_SALT_LEN], header[PACK_HEADER_LEN], trailer[PACK_TRAILER_LEN];
  example_bytes (4, salt, sizeof salt);
  pack_header_encode (PACK_DATA, salt, header);
  buf_put (out, header, sizeof header);
  uint64_t off = PACK_HEADER_LEN;
  for (uint8_t i = 0; i < 3; i++) {
    struct pack_entry e = { .type = i == 2 ? UNIT_TREE_PAGE : UNIT_DATA,
                            .codec = i ? CODEC_ZSTD : CODEC_RAW,
                            .plain_len = 1000u * (i + 1u) };
    e.sealed_len = i ? 300u : e.plain_len + UNIT_OVERHEAD;
    example_bytes (i, e.id, ID_LEN);
    pack_entry_put (out, &e);
    off += e.sealed_len;
  }
  pack_trailer_encode (off, 120, 3, trailer);
  buf_put (out, trailer, sizeof trailer);
  return buf_error (out);
}

/* --- rows of every kind --- */

static struct tree_row
row_of (uint8_t kind, const char *name)
{
  struct tree_row row = { .name = (const uint8_t *) name, .name_len = strlen (name) };
  row.attr.kind = kind;
  row.attr.mode = kind == NODE_DIR ? 0755 : 0640;
  row.attr.uid = 1000;
  row.attr.gid = 0xfffffffe;
  row.attr.nlink = 1;
  row.attr.mtime = row.attr.atime = (struct node_time){ .sec = 1795000000, .nsec = 123456789 };
  return row;
}

static int
build_rows (struct buf *rows)
{
  AUTO_BUF extents;
  AUTO_BUF xattrs;
  uint8_t sha256[32];
  buf_init (&extents, 4096);
  buf_init (&xattrs, 4096);
  struct extent list[] = {
    { .len = 65536, .kind = EXTENT_DATA, .ref = example_ref (1, 0, 65536) },
    { .len = 4096, .kind = EXTENT_HOLE },
    { .len = 100, .chunk_off = 50, .kind = EXTENT_DATA, .ref = example_ref (2, 1, 4096) },
    { .len = 512, .kind = EXTENT_ZERO },
  };
  for (size_t i = 0; i < 4; i++)
    extent_put (&extents, &list[i]);
  buf_put_varint (&xattrs, 2);
  buf_put_str (&xattrs, "user.empty");
  buf_put_bytes (&xattrs, "", 0);
  buf_put_str (&xattrs, "security.selinux");
  buf_put_bytes (&xattrs, "a\0b", 3);
  example_bytes (9, sha256, sizeof sha256);
  if (buf_error (&extents) || buf_error (&xattrs))
    return ERR_NOMEM;

  struct tree_row row = row_of (NODE_FILE, "data.ibd");
  row.attr.size = 70245; /* one byte more than the extents: a trailing hole */
  row.attr.extents = extents.data;
  row.attr.extents_len = extents.len;
  row.attr.ext_count = 4;
  row.attr.xattrs = xattrs.data;
  row.attr.xattrs_len = xattrs.len;
  row.attr.sha256 = sha256;
  row.attr.nlink = 2;
  row.attr.atime = (struct node_time){ .sec = -1, .nsec = 999999999 };
  int rc = tree_row_encode (&row, rows);

  row = row_of (NODE_HARDLINK, "data.link");
  row.attr.target_delta = -1;
  if (rc == 0)
    rc = tree_row_encode (&row, rows);
  row = row_of (NODE_FILE, "huge");
  row.attr.size = 1ull << 42;
  row.attr.is_external = true;
  row.attr.ext_level = 2;
  row.attr.ext_count = 5000000;
  row.attr.ext_root = example_ref (3, 1, 60000);
  if (rc == 0)
    rc = tree_row_encode (&row, rows);
  row = row_of (NODE_SYMLINK, "link");
  row.attr.symlink = (const uint8_t *) "../else where";
  row.attr.size = 13;
  if (rc == 0)
    rc = tree_row_encode (&row, rows);
  row = row_of (NODE_BLOCK, "sda");
  row.attr.major = 8;
  row.attr.minor = 1048575;
  return rc < 0 ? rc : tree_row_encode (&row, rows);
}

static int
build_tree_page (struct buf *out)
{
  struct pack_table packs = { 0 };
  AUTO_BUF rows;
  buf_init (&rows, TREE_PAGE_MAX);
  struct tree_row root = row_of (NODE_DIR, "");
  root.attr.child_delta = 1;
  root.attr.child_count = 8;
  root.attr.subdir_count = 1;
  int rc = packs_of (&packs, 2);
  if (rc == 0)
    rc = tree_row_encode (&root, &rows);
  if (rc == 0)
    rc = build_rows (&rows);
  struct tree_row row = row_of (NODE_CHAR, "tty");
  if (rc == 0)
    rc = tree_row_encode (&row, &rows);
  row = row_of (NODE_DIR, "\xff not utf-8");
  row.attr.mode = 02750;
  if (rc == 0)
    rc = tree_row_encode (&row, &rows);
  row = row_of (NODE_FIFO, "z");
  if (rc == 0)
    rc = tree_row_encode (&row, &rows);
  if (rc == 0)
    rc = tree_page_encode (&packs, &rows, 9, out);
  pack_table_release (&packs);
  return rc;
}

static int
build_extent_leaf (struct buf *out)
{
  struct extent list[3] = {
    { .len = 65536, .kind = EXTENT_DATA, .ref = example_ref (1, 0, 65536) },
    { .len = 1ull << 40, .kind = EXTENT_HOLE },
    { .len = 16384, .chunk_off = 16384, .kind = EXTENT_DATA, .ref = example_ref (2, 2, 65536) },
  };
  struct extent_page page = { .count = 3, .extents = list };
  int rc = packs_of (&page.packs, 3);
  if (rc == 0)
    rc = extent_page_encode (&page, out);
  pack_table_release (&page.packs);
  return rc;
}

static int
build_extent_branch (struct buf *out)
{
  struct extent_child list[2] = {
    { .len = 1ull << 30, .count = 1024, .ref = example_ref (5, 0, 50000) },
    { .len = 77, .count = 1, .ref = example_ref (6, 1, 60) },
  };
  struct extent_page page = { .level = 1, .count = 2, .children = list };
  int rc = packs_of (&page.packs, 2);
  if (rc == 0)
    rc = extent_page_encode (&page, out);
  pack_table_release (&page.packs);
  return rc;
}

static int
build_tree_index (struct buf *out)
{
  struct tree_index_page pages[3] = {
    { .first_row = 0, .rows = 500, .ref = example_ref (1, 0, 65000) },
    { .first_row = 500, .rows = 1, .ref = example_ref (2, 1, 900) },
    { .first_row = 501, .rows = 40000, .ref = example_ref (3, 0, 1u << 20) },
  };
  struct tree_index t = { .rows = 40501, .page_count = 3, .pages = pages };
  int rc = packs_of (&t.packs, 2);
  if (rc == 0)
    rc = tree_index_encode (&t, out);
  pack_table_release (&t.packs);
  return rc;
}

static int
build_pack_list (struct buf *out)
{
  struct pack_use uses[3] = { { .bytes = 1 }, { .bytes = 16u << 20 }, { .bytes = UINT64_MAX } };
  for (uint8_t i = 0; i < 3; i++)
    example_bytes ((uint8_t) (i + 1), uses[i].name, PACK_NAME_LEN);
  return pack_list_encode (uses, 3, out);
}

static int
build_gc_record (struct buf *out)
{
  struct pack_table packs = { 0 };
  int rc = packs_of (&packs, 5);
  if (rc == 0)
    rc = gc_record_encode (&packs, out);
  pack_table_release (&packs);
  return rc;
}

static int
build_checkpoint (struct buf *out)
{
  struct checkpoint_head h = { .flags = CHECKPOINT_BASE, .host = "db1.example",
                               .time = 1795000000123456789 };
  example_bytes (1, h.session, sizeof h.session);
  example_bytes (2, h.host_id, sizeof h.host_id);
  int rc = packs_of (&h.pins, 3);
  if (rc == 0)
    rc = packs_of (&h.own, 1);
  if (rc == 0)
    rc = checkpoint_head_put (out, &h);
  struct node_attr dir = row_of (NODE_DIR, "").attr, file = row_of (NODE_FILE, "").attr;
  struct extent list[2] = { { .len = 65536, .kind = EXTENT_DATA, .ref = example_ref (1, 2, 65536) },
                            { .len = 99, .kind = EXTENT_ZERO } };
  file.size = 65635;
  checkpoint_node_put (out, 1, &dir);
  checkpoint_node_put (out, 2, &file);
  checkpoint_extents_put (out, 2, 0, &h.pins, list, 2);
  checkpoint_entry_put (out, 1, "dump.sql", 8, 2);
  checkpoint_entry_put (out, 1, "gone", 4, 0);
  checkpoint_removed_put (out, 77);
  checkpoint_meta_put (out, "mysql.gtid", "a-1-5", 5);
  checkpoint_head_release (&h);
  return rc < 0 ? rc : buf_error (out);
}

static int
build_index_delta (struct buf *out)
{
  struct index_input inputs[1] = { { .name = "00112233445566aa-0000000001", .entries = 12345 } };
  struct index_pack packs[2] = { { .kind = PACK_DATA, .size = 16u << 20 },
                                 { .kind = PACK_META, .size = 5000 } };
  struct index_entry entries[3] = {
    { .pack = 0, .off = 64, .sealed_len = 30000, .plain_len = 65536, .type = UNIT_DATA },
    { .pack = 0, .off = 64, .sealed_len = 30000, .plain_len = 65536, .type = UNIT_DATA },
    { .pack = 1, .off = 100, .sealed_len = 600, .plain_len = 1000, .type = UNIT_TREE_PAGE },
  };
  struct index_delta d = { .inputs = inputs, .input_count = 1, .packs = packs, .pack_count = 2,
                           .entries = entries, .entry_count = 3 };
  example_bytes (1, inputs[0].id_sum, PREFIX_LEN);
  example_bytes (100, packs[0].name, PACK_NAME_LEN);
  example_bytes (101, packs[1].name, PACK_NAME_LEN);
  for (uint8_t i = 0; i < 3; i++)
    example_bytes (i ? i : 1, entries[i].prefix, PREFIX_LEN); /* the first two alike */
  return index_delta_encode (&d, out);
}

/* --- JSON and text --- */

static int
build_manifest (struct buf *out)
{
  struct named_ref packs[2];
  struct manifest_part parts[2] = {
    { .id = "0011223344556677", .host = "db1", .host_id = "00112233445566778899aabbccddeeff" },
    { .id = "8899aabbccddeeff", .host = "db2", .host_id = "ffeeddccbbaa99887766554433221100",
      .is_missing = true },
  };
  uint8_t newest[1][DIGEST_LEN];
  struct manifest m = {
    .ts = "20261121T030000Z-before-upgrade", .kind = "full", .created = 1795000000000000001,
    .finished = 1795000001000000001, .sealed_by = "rename", .host = "db1",
    .host_id = "00112233445566778899aabbccddeeff", .session = "0123456789abcdef", .rows = 40501,
    .packs = packs, .pack_count = 2, .parts = parts, .part_count = 2,
    .newest = newest, .newest_count = 1,
    .counts = { .files = 3, .dirs = 2, .logical = 1ull << 42, .fresh = 100, .dedup = 7,
                .stored = INT64_MAX },
  };
  m.tree.ref = example_ref (1, 0, 65000);
  example_bytes (100, m.tree.pack, PACK_NAME_LEN);
  for (uint8_t i = 0; i < 2; i++) {
    packs[i].ref = example_ref ((uint8_t) (7 + i), 0, 500);
    example_bytes ((uint8_t) (101 + i), packs[i].pack, PACK_NAME_LEN);
  }
  example_bytes (55, newest[0], DIGEST_LEN);
  int rc = manifest_meta_set (&m, "mysql.gtid", "0-1-99");
  if (rc == 0)
    rc = manifest_meta_set (&m, "note", "\xc3\xa4 \"quoted\"\n");
  if (rc == 0)
    rc = manifest_encode (&m, out);
  m.packs = NULL;
  m.parts = NULL;
  m.newest = NULL;
  manifest_release (&m);
  return rc;
}

static int
build_superblock (struct buf *out)
{
  struct superblock s = { .format = 1, .created = "2026-11-21T03:00:00Z", .read = { "new-thing" },
                          .read_count = 1 };
  example_bytes (1, s.store_id, sizeof s.store_id);
  example_bytes (2, s.mac, sizeof s.mac);
  return superblock_encode (&s, false, out);
}

static int
build_slot (struct buf *out, enum slot_type type)
{
  struct key_slot s = { .version = 1, .type = type, .label = "DBA \xc3\xa4",
                        .created = "2026-11-21T03:00:00Z",
                        .scope = "master" };
  if (type == SLOT_SCRYPT) {
    s.n = 131072;
    s.r = 8;
    s.p = 1;
    memcpy (s.scope, "vault:orders", 13);
  }
  example_bytes (1, s.salt, sizeof s.salt);
  example_bytes (2, s.payload, sizeof s.payload);
  example_bytes (3, s.commit, sizeof s.commit);
  return key_slot_encode (&s, false, out);
}

static int
build_slot_scrypt (struct buf *out)
{
  return build_slot (out, SLOT_SCRYPT);
}

static int
build_slot_keyfile (struct buf *out)
{
  return build_slot (out, SLOT_KEYFILE);
}

static int
build_key_file (struct buf *out)
{
  uint8_t secret[32], sum[32];
  example_bytes (1, secret, sizeof secret);
  example_bytes (2, sum, sizeof sum);
  buf_printf (out, "# keep a copy of this\n");
  key_file_encode (secret, sum, out);
  return buf_error (out);
}

static int
build_key_paper (struct buf *out)
{
  uint8_t secret[32], sum[32];
  char paper[80];
  example_bytes (1, secret, sizeof secret);
  example_bytes (2, sum, sizeof sum);
  paper_key_encode (secret, sum, paper);
  buf_printf (out, "%s\n", paper);
  return buf_error (out);
}

const struct example examples[] = {
  { "object", "frame", build_frame },
  { "object", "sealed", build_sealed },
  { "pack", "pack", build_pack },
  { "tree_page", "kinds", build_tree_page },
  { "extent_page", "leaf", build_extent_leaf },
  { "extent_page", "branch", build_extent_branch },
  { "tree_index", "index", build_tree_index },
  { "pack_list", "list", build_pack_list },
  { "gc_record", "record", build_gc_record },
  { "checkpoint", "checkpoint", build_checkpoint },
  { "index_delta", "delta", build_index_delta },
  { "manifest", "manifest", build_manifest },
  { "superblock", "superblock", build_superblock },
  { "key_slot", "scrypt", build_slot_scrypt },
  { "key_slot", "keyfile", build_slot_keyfile },
  { "key_file", "file", build_key_file },
  { "key_file", "paper", build_key_paper },
  { NULL, NULL, NULL },
};
