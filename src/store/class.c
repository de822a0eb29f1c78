/* SPDX-License-Identifier: Apache-2.0 */
/* The class of a file (ruling 18).  What the first bytes say comes first, since a name may be a
 * temporary one, or lie; a page file is believed by its structure, not by one magic number alone,
 * where the format has none.  Being wrong costs deduplication, never correctness. */
#include <string.h>

#include "store/chunker.h"

static uint32_t
be32 (const uint8_t *p)
{
  return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static unsigned
be16 (const uint8_t *p)
{
  return (unsigned) p[0] << 8 | p[1];
}

static unsigned
le16 (const uint8_t *p)
{
  return (unsigned) p[1] << 8 | p[0];
}

static bool
has_magic (const uint8_t *head, size_t n, size_t off, const char *magic, size_t len)
{
  return n >= off + len && memcmp (head + off, magic, len) == 0;
}

/* InnoDB: page 0 is of type 8 (FSP_HDR), has number 0, and names its space twice (header at 34, and
 * the FSP header at 38).  There follow a word of zeros, the size in pages and the limit up to which
 * extents (at most 256 pages) were made.  None of it is ever encrypted or compressed.  The second
 * file of a space (ibdata2) has no such page: its name tells. */
static bool
is_innodb (const uint8_t *head, size_t n)
{
  if (n < 64 || be16 (head + 24) != 8 || be32 (head + 4) != 0)
    return false;
  uint32_t pages = be32 (head + 46), limit = be32 (head + 50);
  return be32 (head + 34) == be32 (head + 38) && be32 (head + 42) == 0 && pages > 0 && limit > 0
         && limit <= (uint64_t) pages + 256;
}

/* PostgreSQL: 8 KiB pages of layout 4, with the bounds inside in order.  All of the head's pages
 * must be so or empty, one at least used. */
static bool
is_postgres (const uint8_t *head, size_t n)
{
  static const uint8_t empty[24];
  size_t used = 0;
  for (size_t off = 0; off + 8192 <= n; off += 8192) {
    const uint8_t *p = head + off;
    unsigned lower = le16 (p + 12), upper = le16 (p + 14), special = le16 (p + 16);
    if (memcmp (p, empty, sizeof empty) == 0)
      continue;
    if (le16 (p + 18) != (8192 | 4) || lower < 24 || lower > upper || upper > special
        || special > 8192)
      return false;
    used++;
  }
  return used > 0;
}

struct magic {
  uint8_t off, len;
  const char *bytes;
  enum chunk_class class;
};
static const struct magic magics[] = {
  { 0, 16, "SQLite format 3", CLASS_PAGES },
  { 16, 4, "\xed\xda\x0c\xed", CLASS_PAGES },  /* bbolt: etcd, after the meta page's header */
  { 16, 4, "\xde\xc0\xef\xbe", CLASS_PAGES },  /* LMDB */
  { 12, 4, "\x62\x31\x05\x00", CLASS_PAGES },  /* Berkeley DB btree */
  { 12, 4, "\x61\x15\x06\x00", CLASS_PAGES },  /* Berkeley DB hash */
  { 0, 3, "\xfe\xfe\x07", CLASS_PAGES },       /* MyISAM index */
  { 0, 3, "\xfe\xfe\x09", CLASS_PAGES },       /* Aria index */
  { 0, 4, "\xfe" "bin", CLASS_IMMUTABLE },     /* binary and relay logs */
  { 0, 4, "\xfd" "bin", CLASS_IMMUTABLE },     /* the same, encrypted */
  { 0, 4, "Phys", CLASS_IMMUTABLE },           /* MariaDB's redo log */
  /* Compressed data and archives are never text, nor pages, whatever their name. */
  { 0, 3, "\x1f\x8b\x08", CLASS_GENERIC },
  { 0, 4, "\x28\xb5\x2f\xfd", CLASS_GENERIC }, /* zstd */
  { 0, 4, "\x04\x22\x4d\x18", CLASS_GENERIC }, /* lz4 */
  { 0, 6, "\xfd" "7zXZ\0", CLASS_GENERIC },
  { 0, 3, "BZh", CLASS_GENERIC },
  { 0, 4, "PK\x03\x04", CLASS_GENERIC },
};

/* Endings and, without a dot in front, whole beginnings of names. */
static const struct name_rule {
  const char *text;
  bool is_prefix;
  enum chunk_class class;
} name_rules[] = {
  { ".ibd", false, CLASS_PAGES },
  { ".ibu", false, CLASS_PAGES },
  { "ibdata", true, CLASS_PAGES },
  { "ibtmp", true, CLASS_PAGES },
  { "undo_", true, CLASS_PAGES },
  { "undo0", true, CLASS_PAGES },
  { ".MYD", false, CLASS_PAGES },
  { ".MYI", false, CLASS_PAGES },
  { ".MAD", false, CLASS_PAGES },
  { ".MAI", false, CLASS_PAGES },
  { ".sqlite", false, CLASS_PAGES },
  { ".sqlite3", false, CLASS_PAGES },
  { ".mdb", false, CLASS_PAGES },
  { "ib_logfile", true, CLASS_IMMUTABLE },
  { "#ib_redo", true, CLASS_IMMUTABLE },
  { "aria_log.", true, CLASS_IMMUTABLE },
  { "-Data.db", false, CLASS_IMMUTABLE }, /* Cassandra */
  { "-Index.db", false, CLASS_IMMUTABLE },
  { "-Partitions.db", false, CLASS_IMMUTABLE },
  { "-Rows.db", false, CLASS_IMMUTABLE },
  { ".sst", false, CLASS_IMMUTABLE }, /* RocksDB */
  { ".wal", false, CLASS_IMMUTABLE }, /* etcd */
  { ".snap", false, CLASS_IMMUTABLE },
  { "CommitLog-", true, CLASS_IMMUTABLE },
  { ".sql", false, CLASS_TEXT },
  { ".csv", false, CLASS_TEXT },
  { ".tsv", false, CLASS_TEXT },
  { ".ldif", false, CLASS_TEXT },
  { ".json", false, CLASS_TEXT },
};

/* Printable ASCII, white space and valid lead or trailing bytes of UTF-8 make up all but a
 * hundredth of the first 8 KiB, and there is no NUL. */
static bool
is_text (const uint8_t *head, size_t n)
{
  size_t odd = 0;
  if (n > 8192)
    n = 8192;
  for (size_t i = 0; i < n; i++) {
    uint8_t c = head[i];
    if (c == 0)
      return false;
    bool is_fine = (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t' || c == '\f'
                   || (c >= 0xc2 && c < 0xf5)
                   || (c >= 0x80 && c < 0xc0 && i > 0 && head[i - 1] >= 0x80);
    odd += !is_fine;
  }
  /* Random bytes pass the UTF-8 test in part, so they are far above this; latin-1 text is below. */
  return n > 0 && odd <= n / 100;
}

/* A file all of whose head is zeros says nothing yet. */
static bool
says_something (const uint8_t *head, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (head[i])
      return true;
  return false;
}

static const struct name_rule *
find_name_rule (const char *name)
{
  size_t n = strlen (name);
  for (size_t i = 0; i < sizeof name_rules / sizeof *name_rules; i++) {
    const struct name_rule *r = &name_rules[i];
    size_t len = strlen (r->text);
    if (n > len && memcmp (r->is_prefix ? name : name + n - len, r->text, len) == 0)
      return r;
  }
  return NULL;
}

enum chunk_class
class_of_file (const char *name, const uint8_t *head, size_t head_len)
{
  for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
    if (has_magic (head, head_len, magics[i].off, magics[i].bytes, magics[i].len))
      return magics[i].class;
  if (is_innodb (head, head_len) || is_postgres (head, head_len))
    return CLASS_PAGES;
  char normal[256];
  class_normal_name (name, normal, sizeof normal);
  const struct name_rule *rule = find_name_rule (normal);
  bool has_content = says_something (head, head_len);
  /* A name that promises text is not believed against the bytes. */
  if (rule && (rule->class != CLASS_TEXT || !has_content))
    return rule->class;
  return has_content && is_text (head, head_len) ? CLASS_TEXT : CLASS_GENERIC;
}

static bool
ends_with (const char *s, size_t n, const char *end)
{
  size_t len = strlen (end);
  return n > len && memcmp (s + n - len, end, len) == 0;
}

static bool
is_alnum (char c)
{
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void
class_normal_name (const char *name, char *out, size_t cap)
{
  size_t n = strlen (name);
  /* rsync: ".NAME." and six letters or digits */
  if (n > 8 && name[0] == '.' && name[n - 7] == '.') {
    bool is_temporary = true;
    for (size_t i = n - 6; i < n; i++)
      is_temporary = is_temporary && is_alnum (name[i]);
    if (is_temporary) {
      name++;
      n -= 8;
    }
  }
  if (ends_with (name, n, ".part"))
    n -= 5;
  else if (ends_with (name, n, ".tmp"))
    n -= 4;
  if (cap == 0)
    return;
  if (n > cap - 1)
    n = cap - 1;
  memcpy (out, name, n);
  out[n] = 0;
}

const char *
class_name (enum chunk_class class)
{
  switch (class) {
  case CLASS_GENERIC: return "generic";
  case CLASS_TEXT: return "text";
  case CLASS_PAGES: return "pages";
  case CLASS_IMMUTABLE: return "immutable";
  }
  return "unknown";
}
