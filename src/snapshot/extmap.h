/* SPDX-License-Identifier: Apache-2.0 */
/* extmap - which bytes of a file are in which chunk: a map from offset to extent, in segments.
 *
 * A segment covers a range of the file [start, next segment's start) and holds up to SEG_MAX
 * extents that lie inside it; what no extent covers is a hole.  Segments of large files are kept in
 * the working tree's database and loaded when touched, so memory does not grow with a file, nor
 * with the number of files.  Numbers of packs are the index's.
 *
 * EXTENT_FLYING (only here): the bytes are in a chunk that is being sealed; ref.off is its serial
 * number in this file.  extmap_land replaces what is left of it by the real place.
 *
 * Invariants (extmap_check):
 *   M1  extents of a segment ascend, do not overlap, and lie inside the segment.
 *   M2  segment starts ascend strictly; the first is 0.
 * Not locked: the owner of the inode serialises. */
#ifndef COFFER_SNAPSHOT_EXTMAP_H
#define COFFER_SNAPSHOT_EXTMAP_H

#include "base/buf.h"
#include "format/format.h"

#define SEG_MAX 256
#define SEG_INLINE 8 /* a map with one segment of so few is kept in the node's own row */
#define EXTENT_FLYING 9

struct mapped {
  uint64_t off;
  struct extent e;
};

struct segment {
  uint64_t start;
  uint32_t count;
  bool is_loaded;
  bool is_dirty;   /* differs from the database */
  bool is_changed; /* since the last checkpoint */
  bool is_stored; /* a row of it exists in the database */
  struct mapped *at; /* `cap` of them when loaded */
  uint32_t cap;
  uint64_t used;
};

/* Where segments of one file are kept. */
#define SEGS_HELD_MAX (10u << 20)
struct seg_store {
  void *ctx;
  size_t *held; /* bytes in the loaded segments of all files of a tree; NULL: not counted */
  int (*load) (void *ctx, uint64_t start, struct buf *out);
  int (*save) (void *ctx, uint64_t start, const void *data, size_t n);
  int (*erase) (void *ctx, uint64_t start);
};

struct extmap {
  struct segment *segs;
  uint32_t count, cap;
  uint32_t loaded;
  uint64_t clock;
  const struct seg_store *store;
};

void extmap_init (struct extmap *m, const struct seg_store *store);
void extmap_release (struct extmap *m); /* memory only */

/* Sets [off, off + e->len) to E, which may be a hole (clears). */
int extmap_set (struct extmap *m, uint64_t off, const struct extent *e) WARN_UNUSED;
/* Removes everything from SIZE on. */
int extmap_truncate (struct extmap *m, uint64_t size) WARN_UNUSED;
/* The extent at OFF (cut to begin there) or, where nothing is, a hole up to the next one (len
 * UINT64_MAX - off at the end).  out->off == off. */
int extmap_get (struct extmap *m, uint64_t off, struct mapped *out) WARN_UNUSED;
/* Replaces what is left of flying chunk SERIAL in [off, off + len) by REF. */
int extmap_land (struct extmap *m, uint64_t off, uint64_t len, uint32_t serial,
                 const struct chunk_ref *ref) WARN_UNUSED;
/* Calls FN for each extent in order; non-zero ends. */
int extmap_walk (struct extmap *m, int (*fn) (void *ctx, const struct mapped *x),
                 void *ctx) WARN_UNUSED;
/* The same for the segments changed since the last checkpoint only. */
int extmap_walk_changed (struct extmap *m, int (*fn) (void *ctx, const struct mapped *x),
                         void *ctx) WARN_UNUSED;
/* Extents in all (holes between not counted). */
uint64_t extmap_count (const struct extmap *m);

/* Encoding for the database: one segment, or the whole of a small map inline. */
int segment_encode (const struct segment *s, struct buf *out) WARN_UNUSED;
bool extmap_is_inline (const struct extmap *m);
int extmap_load_inline (struct extmap *m, struct rd *r) WARN_UNUSED;
/* A segment known to be in the database, from its row. */
int extmap_add_stored (struct extmap *m, uint64_t start, uint32_t count) WARN_UNUSED;
/* Writes dirty segments out; with IS_LAST frees loaded memory too. */
int extmap_flush (struct extmap *m, bool is_last) WARN_UNUSED;
/* Calls FN for each segment changed since the last checkpoint and clears its mark, unless FN
 * returns 1; 2: leaves it and ends. */
int extmap_changed (struct extmap *m, int (*fn) (void *ctx, const struct segment *s, uint64_t end),
                    void *ctx) WARN_UNUSED;
bool extmap_is_changed (const struct extmap *m);
/* Is any segment that lies in [off, end) changed? */
bool extmap_is_changed_in (const struct extmap *m, uint64_t off, uint64_t end);
void extmap_mark_all_changed (struct extmap *m);

#endif
