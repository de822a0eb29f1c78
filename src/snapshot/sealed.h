/* SPDX-License-Identifier: Apache-2.0 */
/* sealed - the tree of a sealed snapshot, read page by page.
 *
 * Memory: some 300 bytes for each snapshot that was looked at, until unmount, since its number is
 * in the kernel's hands.  Its manifest and tree index (60 bytes per 64 KiB page) are kept in an LRU
 * of SEALED_PARTS_MAX bytes, decoded pages in one of SEALED_PAGES_MAX, both shared by the mount;
 * what was dropped is fetched again.  Nothing per node.
 * Threads: any.  With MOUNT_NOWAIT nothing here waits for the network (ERR_WOULDBLOCK). */
#ifndef COFFER_SNAPSHOT_SEALED_H
#define COFFER_SNAPSHOT_SEALED_H

#include "snapshot/file.h"

#define SEALED_PAGES_MAX (16u << 20)
#define SEALED_PARTS_MAX (12u << 20)

enum sealed_kind { SEALED_MANIFEST, SEALED_INDEX, SEALED_KINDS };
/* What is large of a snapshot. */
struct sealed_part {
  struct sealed_part *older, *newer;
  struct sealed *tree;
  enum sealed_kind kind;
  unsigned refs; /* the LRU's own included */
  size_t bytes;
  struct manifest manifest; /* or */
  struct tree_index index;
};

struct sealed {
  struct vault *vault;
  uint32_t no; /* in mount->sealed */
  char ts[SNAPSHOT_TS_MAX];
  char digest[2 * DIGEST_LEN + 1];
  bool is_registered;    /* mounts only: `no` is valid */
  bool is_not_latest;    /* a log archive, or sealed by idleness */
  uint64_t rows;
  struct named_ref root; /* of the tree: its index */
  struct sealed_part *parts[SEALED_KINDS]; /* guarded by the lock of the LRU */
};

/* Reads and proves the manifest of an entry: object digest, name, binding to store, vault and
 * time. */
int manifest_load (struct blob *blob, const struct vault_keys *keys, const char *vault,
                   const char *ts,
                   const char *digest, bool is_sealed, struct manifest *out) WARN_UNUSED;
int sealed_open (struct vault *v, const char *ts, const char *digest,
                 struct sealed **out) WARN_UNUSED;
void sealed_free (struct sealed *t);
DEFINE_FREEP (sealed);
/* The manifest or the tree index of T, fetched if it was dropped; sealed_part_release lets it
 * go. */
int sealed_hold (struct sealed *t, enum sealed_kind kind, unsigned flags,
                 struct sealed_part **out) WARN_UNUSED;
void sealed_part_release (struct sealed_part **p); /* *p NULL allowed */
#define AUTO_PART __attribute__ ((cleanup (sealed_part_release))) struct sealed_part *
/* For tests: another limit than SEALED_PARTS_MAX; what it holds at present. */
void sealed_parts_limit (size_t bytes);
size_t sealed_parts_bytes (void);

/* A row, with its page held. */
struct row_view {
  struct sealed_page *page;
  struct tree_row row;
  uint64_t no;
  const struct pack_table *packs;
};
int sealed_row (struct sealed *t, uint64_t row, unsigned flags, struct row_view *out) WARN_UNUSED;
void row_view_release (struct row_view *v);
#define AUTO_ROW __attribute__ ((cleanup (row_view_release))) struct row_view

/* The row of NAME in directory row DIR; hard links are followed (the target's row). */
int sealed_lookup (struct sealed *t, uint64_t dir, const char *name, size_t n, unsigned flags,
                   uint64_t *row) WARN_UNUSED;
/* Attributes of what ROW names; *target is the row that holds them. */
int sealed_stat (struct sealed *t, uint64_t row, unsigned flags, struct node_stat *out,
                 uint64_t *target) WARN_UNUSED;
/* The same for a row at hand (V may move to the target's row). */
int sealed_stat_view (struct sealed *t, struct row_view *v, unsigned flags, struct node_stat *out,
                      uint64_t *target) WARN_UNUSED;
/* Walks a path of '/'-separated names from the root. */
int sealed_path (struct sealed *t, const char *path, uint64_t *row) WARN_UNUSED;

/* The extents of a file. */
struct sealed_file;
int sealed_file_open (struct sealed *t, uint64_t row, unsigned flags,
                      struct sealed_file **out) WARN_UNUSED;
void sealed_file_free (struct sealed_file *f);
DEFINE_FREEP (sealed_file);
uint64_t sealed_file_size (const struct sealed_file *f);
const uint8_t *sealed_file_sha256 (const struct sealed_file *f); /* NULL: not known */
/* The extent at OFF, cut to begin there; pack (32 bytes) is valid until the next call. */
int sealed_file_get (struct sealed_file *f, uint64_t off, unsigned flags, struct mapped *out,
                     uint8_t pack[PACK_NAME_LEN]) WARN_UNUSED;
int sealed_file_read (struct sealed_file *f, uint64_t off, size_t len, unsigned flags, uint8_t *out,
                      size_t *got) WARN_UNUSED;
/* mount_read_pinned */
int sealed_file_pin (struct sealed_file *f, uint64_t off, size_t len, unsigned flags,
                     struct pinned **out) WARN_UNUSED;
int sealed_file_digest (struct sealed_file *f, uint8_t out[32]) WARN_UNUSED;

/* Drops the decoded pages of T. */
void sealed_pages_forget (struct sealed *t);

#endif
