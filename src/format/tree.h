/* SPDX-License-Identifier: Apache-2.0 */
/* tree - rows, pages, extent pages and the index of a sealed tree.  Normative:
 * doc/format/tree.md. */
#ifndef COFFER_FORMAT_TREE_H
#define COFFER_FORMAT_TREE_H

#include "format/format.h"

#define TREE_PAGE_TARGET (64u << 10)
#define TREE_PAGE_MAX (1u << 20)
#define TREE_NAME_MAX 255
#define TREE_SYMLINK_MAX 4095
#define TREE_XATTRS_MAX (64u << 10) /* names and values of one inode together */
#define TREE_INLINE_EXTENTS 8       /* more go into extent pages */
#define EXTENT_PAGE_MAX_COUNT 1024  /* a writer's bound; a reader takes what fits the page */

enum node_kind {
  NODE_FILE = 1, NODE_DIR, NODE_SYMLINK, NODE_HARDLINK,
  NODE_FIFO, NODE_SOCKET, NODE_CHAR, NODE_BLOCK,
};

struct node_time {
  int64_t sec;
  uint32_t nsec;
};

/* The attributes of a node, as decoded; pointers are views into the encoded bytes. */
struct node_attr {
  uint8_t kind; /* enum node_kind */
  uint16_t mode; /* permission bits, 07777 */
  uint32_t uid, gid;
  struct node_time mtime, atime;
  uint32_t nlink;              /* of files: 1 unless said; of directories: 2 + subdirectories */
  uint32_t major, minor;
  uint64_t size;               /* files; symlinks: target length */
  const uint8_t *symlink;      /* size bytes, not terminated */
  const uint8_t *xattrs;       /* encoded list (count, then name/value), or NULL */
  size_t xattrs_len;
  const uint8_t *sha256;       /* 32 bytes or NULL */
  /* directories in rows */
  int64_t child_delta;         /* first child row minus own row */
  uint64_t child_count, subdir_count;
  /* hard links in rows */
  int64_t target_delta;
  /* files: inline extents, or the root of the extent pages */
  bool is_external;
  uint8_t ext_level;
  uint64_t ext_count;
  const uint8_t *extents;      /* encoded, ext_count of them */
  size_t extents_len;
  struct chunk_ref ext_root;
};

struct tree_row {
  const uint8_t *name;
  size_t name_len;
  struct node_attr attr;
};

/* Appends one row (with its length). */
int tree_row_encode (const struct tree_row *row, struct buf *out) WARN_UNUSED;
/* One row at the start of R, which moves past it.  NPACKS bounds the references.  IS_ROOT: the name
 * must be empty; otherwise it must be a legal file name. */
int tree_row_decode (struct rd *r, uint32_t npacks, bool is_root, struct tree_row *out) WARN_UNUSED;
/* Attributes alone, as checkpoints hold them (record `node`): kind and flags, no name; never a hard
 * link; directories without children, files without extents and SHA-256. */
int node_attr_encode (const struct node_attr *a, struct buf *out) WARN_UNUSED;
int node_attr_decode (struct rd *r, struct node_attr *out) WARN_UNUSED;
/* True for 1 to 255 bytes without '/' and NUL, not "." or "..". */
bool tree_name_is_valid (const uint8_t *name, size_t n);

/* A reader behind the count of an encoded xattr list (node_attr.xattrs; NULL for none). */
struct rd xattrs_begin (const uint8_t *xattrs, size_t len);
/* Walks such a list from xattrs_begin; false at the end or when damaged (then *r is failed). */
bool xattrs_next (struct rd *r, const uint8_t **name, size_t *name_len, const uint8_t **value,
                  size_t *value_len);

/* A tree page, decoded: views into PLAIN, which must outlive it. */
struct tree_page {
  struct pack_table packs;
  uint32_t row_count;
  const uint8_t *rows, *end;
  uint32_t *row_off; /* row_count offsets from `rows` */
};
int tree_page_decode (const uint8_t *plain, size_t n, struct tree_page *out) WARN_UNUSED;
void tree_page_release (struct tree_page *p);
int tree_page_row (const struct tree_page *p, uint32_t i, bool is_root,
                   struct tree_row *out) WARN_UNUSED;
/* HEAD is the pack table; ROWS the encoded rows, COUNT of them. */
int tree_page_encode (const struct pack_table *packs, const struct buf *rows, uint32_t count,
                      struct buf *out) WARN_UNUSED;

struct extent_child {
  uint64_t len;   /* bytes of the file */
  uint64_t count; /* extents below */
  struct chunk_ref ref;
};
struct extent_page {
  uint8_t level;
  struct pack_table packs;
  uint32_t count;
  struct extent *extents;        /* level 0 */
  struct extent_child *children; /* level > 0 */
};
#define EXTENT_LEVEL_MAX 6
int extent_page_encode (const struct extent_page *p, struct buf *out) WARN_UNUSED;
int extent_page_decode (const uint8_t *plain, size_t n, struct extent_page *out) WARN_UNUSED;
void extent_page_release (struct extent_page *p);

struct tree_index {
  uint64_t rows;
  struct pack_table packs;
  uint32_t page_count;
  struct tree_index_page {
    uint64_t first_row;
    uint32_t rows;
    struct chunk_ref ref;
  } *pages;
};
int tree_index_encode (const struct tree_index *t, struct buf *out) WARN_UNUSED;
int tree_index_decode (const uint8_t *plain, size_t n, struct tree_index *out) WARN_UNUSED;
void tree_index_release (struct tree_index *t);

/* Pack list pages (type 19). */
struct pack_use {
  uint8_t name[PACK_NAME_LEN];
  uint64_t bytes;
};
int pack_list_encode (const struct pack_use *uses, size_t n, struct buf *out) WARN_UNUSED;
int pack_list_decode (const uint8_t *plain, size_t n, struct pack_use **out,
                      size_t *count) WARN_UNUSED;

#endif
