/* SPDX-License-Identifier: Apache-2.0 */
/* Guards promise 5 and "golden stores of every shipped version stay readable for ever": opens each
 * store in tests/golden/v1/ with each of its keys and compares all snapshots, entry by entry and
 * byte by byte, with the list that was made beside it.  Walks with codecs and seal alone, so
 * that it says something about the format, not about a layer above. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blob/file.h"
#include "format/manifest.h"
#include "format/pack.h"
#include "format/tree.h"
#include "store/keys.h"
#include "store/seal.h"

static char work[] = "/tmp/coffer-golden.XXXXXX";

struct walk {
  struct blob *blob;
  struct vault_keys *keys;
  struct sealer *sealer;
  char vault[64];
  struct tree_index index;
  struct buf out; /* the list, as in `expect` */
};

/* The plain bytes of a chunk; its id is compared too. */
static void
chunk (struct walk *w, int type, const uint8_t *pack, const struct chunk_ref *ref, struct buf *out)
{
  char key[BLOB_KEY_MAX], hex[2 * PACK_NAME_LEN + 1];
  uint8_t id[ID_LEN];
  AUTO_BUF sealed;
  buf_init (&sealed, PACK_MAX_BYTES);
  hex_encode (pack, PACK_NAME_LEN, hex);
  snprintf (key, sizeof key, "vaults/%s/packs/%.2s/%s", w->vault, hex, hex);
  uint8_t *at = buf_reserve (&sealed, ref->sealed_len);
  assert_non_null (at);
  assert_int_equal (blob_get (w->blob, key, ref->off, ref->sealed_len, at), 0);
  sealed.len = ref->sealed_len;
  buf_reset (out);
  assert_true (open_unit_buf (w->sealer, w->keys, type, ref->id, sealed.data, sealed.len,
                              out) >= 0);
  assert_int_equal (out->len, ref->plain_len);
  assert_int_equal (seal_id (w->sealer, w->keys, type, out->data, out->len, id), 0);
  assert_memory_equal (id, ref->id, ID_LEN);
}

static void
hash_zeros (struct sha256 *sum, uint64_t n)
{
  static const uint8_t zeros[65536];
  for (; n; n -= n < sizeof zeros ? n : sizeof zeros)
    sha256_update (sum, zeros, n < sizeof zeros ? (size_t) n : sizeof zeros);
}

static void
hash_extent (struct walk *w, const struct pack_table *packs, const struct extent *e,
             struct sha256 *sum)
{
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_DATA));
  if (e->kind != EXTENT_DATA) {
    hash_zeros (sum, e->len);
    return;
  }
  chunk (w, UNIT_DATA, packs->names[e->ref.pack], &e->ref, &plain);
  assert_true (e->chunk_off + e->len <= plain.len);
  sha256_update (sum, plain.data + e->chunk_off, (size_t) e->len);
}

/* Returns the bytes of the file below the page. */
static uint64_t
hash_extent_page (struct walk *w, int level, const uint8_t *pack, const struct chunk_ref *ref,
                  struct sha256 *sum)
{
  AUTO_BUF plain;
  struct extent_page page;
  uint64_t total = 0;
  buf_init (&plain, unit_plain_max (UNIT_EXTENT_PAGE));
  chunk (w, UNIT_EXTENT_PAGE, pack, ref, &plain);
  assert_int_equal (extent_page_decode (plain.data, plain.len, &page), 0);
  assert_int_equal (page.level, level);
  for (uint32_t i = 0; i < page.count; i++)
    if (level == 0) {
      hash_extent (w, &page.packs, &page.extents[i], sum);
      total += page.extents[i].len;
    } else {
      const struct extent_child *c = &page.children[i];
      assert_true (hash_extent_page (w, level - 1, page.packs.names[c->ref.pack], &c->ref,
                                     sum) == c->len);
      total += c->len;
    }
  extent_page_release (&page);
  return total;
}

static void
put_content (struct walk *w, const struct pack_table *packs, const struct node_attr *a)
{
  AUTO (sha256) sum = NULL;
  uint8_t digest[32];
  char hex[65];
  uint64_t total = 0;
  assert_int_equal (sha256_new (&sum), 0);
  if (a->is_external) {
    total = hash_extent_page (w, a->ext_level, packs->names[a->ext_root.pack], &a->ext_root, sum);
  } else {
    struct rd r = rd_of (a->extents, a->extents_len);
    for (uint64_t i = 0; i < a->ext_count; i++) {
      struct extent e;
      extent_get (&r, packs->count, &e);
      assert_false (r.failed);
      hash_extent (w, packs, &e, sum);
      total += e.len;
    }
  }
  assert_true (total <= a->size);
  hash_zeros (sum, a->size - total);
  sha256_final (sum, digest);
  if (a->sha256)
    assert_memory_equal (digest, a->sha256, 32);
  hex_encode (digest, 32, hex);
  buf_printf (&w->out, " %s", hex);
}

static void
put_hex (struct buf *out, const void *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    buf_printf (out, "%02x", ((const uint8_t *) p)[i]);
}

static void
put_time (struct buf *out, const struct node_time *t)
{
  buf_printf (out, " %lld", (long long) (t->sec * 1000000000 + t->nsec));
}

static void
put_xattrs (struct buf *out, const struct node_attr *a)
{
  const uint8_t *name, *value;
  size_t name_len, value_len;
  const char *before = " ";
  struct rd r = xattrs_begin (a->xattrs, a->xattrs_len);
  while (xattrs_next (&r, &name, &name_len, &value, &value_len)) {
    buf_printf (out, "%s", before);
    put_hex (out, name, name_len);
    buf_printf (out, "=");
    put_hex (out, value, value_len);
    before = ",";
  }
  assert_false (r.failed);
  buf_printf (out, "%s\n", a->xattrs ? "" : " -");
}

/* A row, with the page it lies in held open. */
struct held {
  struct buf plain;
  struct tree_page page;
  struct tree_row row;
};

static void
row_get (struct walk *w, uint64_t n, struct held *h)
{
  const struct tree_index_page *p = w->index.pages;
  while (n >= p->first_row + p->rows)
    p++;
  buf_init (&h->plain, TREE_PAGE_MAX);
  chunk (w, UNIT_TREE_PAGE, w->index.packs.names[p->ref.pack], &p->ref, &h->plain);
  assert_int_equal (tree_page_decode (h->plain.data, h->plain.len, &h->page), 0);
  assert_int_equal (h->page.row_count, p->rows);
  assert_int_equal (tree_page_row (&h->page, (uint32_t) (n - p->first_row), n == 0, &h->row), 0);
}

static void
row_release (struct held *h)
{
  tree_page_release (&h->page);
  buf_release (&h->plain);
}

static void
put_entry (struct walk *w, const char *path, uint64_t row)
{
  static const char *const kinds[] = { "?", "file", "dir", "symlink", "link", "fifo", "socket",
                                       "char", "block" };
  struct held h;
  row_get (w, row, &h);
  if (h.row.attr.kind == NODE_HARDLINK) {
    uint64_t target = row + (uint64_t) h.row.attr.target_delta;
    row_release (&h);
    row_get (w, target, &h);
  }
  const struct node_attr *a = &h.row.attr;
  put_hex (&w->out, path, strlen (path));
  buf_printf (&w->out, "%s %s %o %u %u", *path ? "" : "-", kinds[a->kind], a->mode, a->uid, a->gid);
  put_time (&w->out, &a->mtime);
  put_time (&w->out, &a->atime);
  buf_printf (&w->out, " %u %llu ", a->nlink, (unsigned long long) a->size);
  if (a->kind == NODE_SYMLINK)
    put_hex (&w->out, a->symlink, a->size);
  else if (a->kind == NODE_CHAR || a->kind == NODE_BLOCK)
    buf_printf (&w->out, "%u,%u", a->major, a->minor);
  else
    buf_printf (&w->out, "-");
  if (a->kind == NODE_FILE)
    put_content (w, &h.page.packs, a);
  else
    buf_printf (&w->out, " -");
  put_xattrs (&w->out, a);
  row_release (&h);
}

/* The listing of the directory in ROW, then each subdirectory: the order of the tree. */
static void
put_below (struct walk *w, const char *path, uint64_t row)
{
  struct held h;
  row_get (w, row, &h);
  uint64_t first = row + (uint64_t) h.row.attr.child_delta, count = h.row.attr.child_count;
  row_release (&h);
  for (int pass = 0; pass < 2; pass++)
    for (uint64_t n = first; n < first + count; n++) {
      char below[4096];
      row_get (w, n, &h);
      snprintf (below, sizeof below, "%s%s%.*s", path, *path ? "/" : "", (int) h.row.name_len,
                (const char *) h.row.name);
      bool is_dir = h.row.attr.kind == NODE_DIR;
      row_release (&h);
      if (pass == 0)
        put_entry (w, below, n);
      else if (is_dir)
        put_below (w, below, n);
    }
}

static void
manifest_get (struct walk *w, const char *key, const char *ts, struct manifest *out)
{
  AUTO_BUF object;
  AUTO_BUF plain;
  uint8_t claimed[32], digest[32], id[ID_LEN];
  const uint8_t *pending;
  size_t n;
  buf_init (&object, MANIFEST_MAX_BYTES);
  buf_init (&plain, MANIFEST_MAX_BYTES);
  assert_int_equal (blob_get_all (w->blob, key, &object), 0);
  assert_int_equal (sealed_decode (object.data, object.len, claimed, &pending, &n), 0);
  sha256_once (pending, n, digest);
  assert_memory_equal (claimed, digest, 32);
  unit_id_manifest (w->keys, ts, "full", id);
  int rc = open_unit_buf (w->sealer, w->keys, UNIT_MANIFEST, id, pending + OBJECT_HEADER_LEN,
                          n - OBJECT_HEADER_LEN, &plain);
  if (rc < 0) {
    unit_id_manifest (w->keys, ts, "log", id);
    rc = open_unit_buf (w->sealer, w->keys, UNIT_MANIFEST, id, pending + OBJECT_HEADER_LEN,
                        n - OBJECT_HEADER_LEN, &plain);
  }
  assert_true (rc >= 0);
  assert_int_equal (manifest_decode (plain.data, plain.len, out), 0);
  assert_string_equal (out->ts, ts);
}

static void
list_snapshot (struct walk *w, const char *key, const char *ts)
{
  struct manifest m;
  AUTO_BUF plain;
  buf_init (&plain, unit_plain_max (UNIT_TREE_INDEX));
  manifest_get (w, key, ts, &m);
  chunk (w, UNIT_TREE_INDEX, m.tree.pack, &m.tree.ref, &plain);
  assert_int_equal (tree_index_decode (plain.data, plain.len, &w->index), 0);
  assert_true (w->index.rows == m.rows);
  buf_reset (&w->out);
  put_entry (w, "", 0);
  put_below (w, "", 0);
  tree_index_release (&w->index);
  for (size_t i = 0; i < m.pack_count; i++) {
    struct pack_use *uses;
    size_t n;
    chunk (w, UNIT_PACK_LIST, m.packs[i].pack, &m.packs[i].ref, &plain);
    assert_int_equal (pack_list_decode (plain.data, plain.len, &uses, &n), 0);
    free (uses);
  }
  manifest_release (&m);
}

static void
read_all (const char *path, struct buf *out)
{
  FILE *f = fopen (path, "rb");
  if (!f)
    fail_msg ("cannot read %s", path);
  for (int c; (c = getc (f)) != EOF;)
    buf_put_u8 (out, (uint8_t) c);
  fclose (f);
}

/* EXPECT is "expect.<vault>.<ts>" in DIR; the vault of a golden store may have dots, a ts has
 * none. */
static void
check_snapshot (struct walk *w, const struct keyring *ring, const char *dir, const char *expect)
{
  char path[4096], snapshots[256];
  const char *ts = strrchr (expect, '.') + 1;
  AUTO_BUF want;
  int found = 0;
  buf_init (&want, 1u << 20);
  snprintf (w->vault, sizeof w->vault, "%.*s", (int) (ts - expect) - 8, expect + 7);
  snprintf (path, sizeof path, "%s/%s", dir, expect);
  read_all (path, &want);
  assert_int_equal (vault_keys_new (ring, w->vault, &w->keys), 0);
  snprintf (snapshots, sizeof snapshots, "vaults/%s/snapshots", w->vault);
  snprintf (path, sizeof path, "%s/store/%s", dir, snapshots);
  DIR *d = opendir (path);
  assert_non_null (d);
  for (struct dirent *e; (e = readdir (d));) {
    size_t n = strlen (e->d_name), len = strlen (ts);
    if (n < 7 || strcmp (e->d_name + n - 7, ".sealed") != 0 || strncmp (e->d_name, ts, len) != 0
        || e->d_name[len] != '.')
      continue;
    char key[600];
    snprintf (key, sizeof key, "%s/%s", snapshots, e->d_name);
    list_snapshot (w, key, ts);
    found++;
    buf_put_u8 (&w->out, 0);
    if (w->out.len != want.len + 1 || memcmp (w->out.data, want.data, want.len) != 0)
      fail_msg ("%s/%s: got\n%s", dir, expect, (char *) w->out.data);
  }
  closedir (d);
  assert_int_equal (found, 1);
  vault_keys_free (w->keys);
}

static void
check_store (const char *dir, const struct unlock *u)
{
  char path[4096];
  struct walk w = { 0 };
  struct keyring *ring;
  int snapshots = 0;
  buf_init (&w.out, 1u << 20);
  snprintf (path, sizeof path, "%s/store", dir);
  assert_int_equal (blob_file_open (path, false, &w.blob), 0);
  assert_int_equal (store_open (w.blob, u, &ring), 0);
  assert_int_equal (sealer_new (&w.sealer), 0);
  DIR *d = opendir (dir);
  assert_non_null (d);
  for (struct dirent *e; (e = readdir (d));)
    if (strncmp (e->d_name, "expect.", 7) == 0) {
      check_snapshot (&w, ring, dir, e->d_name);
      snapshots++;
    }
  closedir (d);
  assert_true (snapshots > 0);
  sealer_free (w.sealer);
  keyring_free (ring);
  blob_free (w.blob);
  buf_release (&w.out);
}

/* Keys in a checkout are readable by all, which key_file_load rightly refuses: hence the copy. */
static void
test_golden_stores (void **state)
{
  char path[4096], key[4096], cmd[9000];
  const char *srcdir = getenv ("srcdir");
  int stores = 0;
  snprintf (cmd, sizeof cmd, "cp -r '%s/tests/golden/v1/.' %s && chmod -R u+w,go= %s",
            srcdir ? srcdir : ".", work, work);
  assert_int_equal (system (cmd), 0);
  DIR *d = opendir (work);
  assert_non_null (d);
  for (struct dirent *e; (e = readdir (d));) {
    struct stat st;
    snprintf (path, sizeof path, "%s/%s/store", work, e->d_name);
    if (e->d_name[0] == '.' || stat (path, &st) < 0)
      continue;
    snprintf (path, sizeof path, "%s/%s", work, e->d_name);
    snprintf (key, sizeof key, "%s/key", path);
    check_store (path, &(struct unlock){ .key_file = key });
    snprintf (key, sizeof key, "%s/paper", path);
    check_store (path, &(struct unlock){ .key_file = key });
    snprintf (key, sizeof key, "%s/passphrase", path);
    check_store (path, &(struct unlock){ .passphrase_file = key });
    stores++;
  }
  closedir (d);
  assert_true (stores > 0);
}

static int
make_work (void **state)
{
  return mkdtemp (work) ? 0 : -1;
}

static int
remove_work (void **state)
{
  char cmd[200];
  snprintf (cmd, sizeof cmd, "rm -rf %s", work);
  return system (cmd);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_golden_stores, make_work, remove_work),
  };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
