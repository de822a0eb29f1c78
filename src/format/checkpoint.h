/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint - what of an open snapshot is durable.  Normative: doc/format/checkpoint.md.
 *
 * Written as a stream of records appended to a buf; read by walking it. */
#ifndef COFFER_FORMAT_CHECKPOINT_H
#define COFFER_FORMAT_CHECKPOINT_H

#include "format/format.h"
#include "format/tree.h"

enum checkpoint_flag { CHECKPOINT_BASE = 1, CHECKPOINT_REMOVED = 2, CHECKPOINT_FINISHED = 4 };

struct checkpoint_head {
  uint8_t flags;
  uint8_t session[8];
  uint8_t host_id[16];
  char host[65];
  int64_t time;
  struct pack_table pins, own; /* names */
};
void checkpoint_head_release (struct checkpoint_head *h);
int checkpoint_head_put (struct buf *b, const struct checkpoint_head *h) WARN_UNUSED;
int checkpoint_head_get (struct rd *r, struct checkpoint_head *out) WARN_UNUSED;

enum checkpoint_record {
  CP_NODE = 1, CP_EXTENTS = 2, CP_ENTRY = 3, CP_REMOVED = 4, CP_META = 5, CP_COUNTS = 6,
};

/* What the part's sessions have done so far: its progress for others, and its share of the
 * manifest's counts. */
struct checkpoint_counts {
  uint64_t files, received, fresh, dedup, stored;
};

struct checkpoint_rec {
  enum checkpoint_record type;
  uint64_t ino;            /* node, extents, removed; the target of an entry (0: removed) */
  uint64_t dir;            /* entry */
  const uint8_t *name;     /* entry: name; meta: key */
  size_t name_len;
  const uint8_t *value;    /* meta */
  size_t value_len;
  struct node_attr attr;   /* node */
  uint64_t off;            /* extents: where they start; they replace the range they cover */
  struct pack_table packs; /* extents: released by the next call or by checkpoint_rec_release */
  uint32_t extent_count;
  struct checkpoint_counts counts; /* counts */
  struct rd extents;       /* extents: call extent_get extent_count times */
};
void checkpoint_node_put (struct buf *b, uint64_t ino, const struct node_attr *a);
/* EXTENTS refer to PACKS by position. */
void checkpoint_extents_put (struct buf *b, uint64_t ino, uint64_t off,
                             const struct pack_table *packs,
                             const struct extent *extents, uint32_t n);
void checkpoint_entry_put (struct buf *b, uint64_t dir, const void *name, size_t name_len,
                           uint64_t ino);
void checkpoint_removed_put (struct buf *b, uint64_t ino);
void checkpoint_meta_put (struct buf *b, const char *key, const void *value, size_t n);
void checkpoint_counts_put (struct buf *b, const struct checkpoint_counts *c);
/* 1 with a record, 0 at the end, or negative.  REC must be zeroed before the first call. */
int checkpoint_next (struct rd *r, struct checkpoint_rec *rec) WARN_UNUSED;
void checkpoint_rec_release (struct checkpoint_rec *rec);

/* Records of the collector (doc/format/gc.md). */
int gc_record_encode (const struct pack_table *packs, struct buf *out) WARN_UNUSED;
int gc_record_decode (const uint8_t *plain, size_t n, struct pack_table *out) WARN_UNUSED;

#endif
