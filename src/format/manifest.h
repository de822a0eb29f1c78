/* SPDX-License-Identifier: Apache-2.0 */
/* manifest - the root object of a snapshot: its JSON, and the sealed wrapper.
 * doc/format/manifest.md. */
#ifndef COFFER_FORMAT_MANIFEST_H
#define COFFER_FORMAT_MANIFEST_H

#include "format/format.h"

#define MANIFEST_MAX_BYTES (17u << 20)
#define MANIFEST_MAX_META 4096
#define MANIFEST_MAX_PARTS 4096
#define MANIFEST_MAX_NEWEST 64
#define MANIFEST_MAX_PACK_REFS 100000
#define DIGEST_LEN 16 /* in names: half of the SHA-256 */

/* A reference that stands outside of any page: names its pack. */
struct named_ref {
  struct chunk_ref ref; /* ref.pack is unused */
  uint8_t pack[PACK_NAME_LEN];
};

struct manifest_part {
  char id[17], host[65], host_id[33];
  bool is_missing;
};
struct manifest_meta {
  char *key, *value;
};

struct manifest {
  char ts[96], kind[8]; /* basic spelling with label; "full" or "log" */
  int64_t created, finished;
  char sealed_by[16], host[65], host_id[33], session[17];
  struct named_ref tree;
  uint64_t rows;
  struct named_ref *packs;
  size_t pack_count;
  struct manifest_counts {
    uint64_t files, dirs, logical, fresh, dedup, stored; /* JSON name of `fresh` is "new" */
  } counts;
  struct manifest_part *parts;
  size_t part_count;
  uint8_t (*newest)[DIGEST_LEN];
  size_t newest_count;
  struct manifest_meta *meta;
  size_t meta_count;
};
void manifest_release (struct manifest *m);
/* compact JSON, sorted keys */
int manifest_encode (const struct manifest *m, struct buf *out) WARN_UNUSED;
int manifest_decode (const uint8_t *json, size_t n, struct manifest *out) WARN_UNUSED;
/* A line for each part: its id, its host, and "missing" where it was left out. */
void manifest_parts_text (const struct manifest *m, struct buf *out);
/* Value of meta KEY or NULL. */
const char *manifest_meta_get (const struct manifest *m, const char *key);
int manifest_meta_set (struct manifest *m, const char *key, const char *value) WARN_UNUSED;

/* .sealed = header, SHA-256 of the pending object, the pending object. */
void sealed_encode (const uint8_t sha256[32], const uint8_t *pending, size_t n, struct buf *out);
/* A view of the pending object inside IN, and the digest it claims (the caller compares it). */
int sealed_decode (const uint8_t *in, size_t n, uint8_t sha256[32], const uint8_t **pending,
                   size_t *pending_len) WARN_UNUSED;

#endif
