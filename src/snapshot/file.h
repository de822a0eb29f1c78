/* SPDX-License-Identifier: Apache-2.0 */
/* file - the data of an open file: a stream that is being chunked, chunks in flight, extents, an
 * overlay.
 *
 * A byte of the file is, in this order: in the overlay; in the stream's present chunk, or ahead of
 * it in the reordering window; in an extent (flying or placed); zero, where a hole is.  Writes that
 * continue the stream, or begin one (64 KiB or more anywhere, or anything beyond the end), go the
 * stream's way; small writes elsewhere go to the overlay.
 *
 * Errors of placing a chunk are sticky: for the file (file_error) and its snapshot.
 * Threads: any; inode->data_lock is taken here.  Nothing but file_push waits for the network. */
#ifndef COFFER_SNAPSHOT_FILE_H
#define COFFER_SNAPSHOT_FILE_H

#include "snapshot/snapshot_priv.h"

int filedata_write (struct snap *s, struct inode *i, uint64_t off, const uint8_t *p,
                    size_t n) WARN_UNUSED;
/* The last writer closed: the stream's tail is pushed. */
void filedata_close (struct snap *s, struct inode *i);
/* What its chunks are for the pipeline (pipe_chunk.stream).  Two snapshots of a vault may have the
 * same number for an inode; their addresses differ. */
static inline uint64_t
filedata_stream (const struct inode *i)
{
  return (uint64_t) (uintptr_t) i;
}
int filedata_error (struct inode *i);
void filedata_fail (struct inode *i, int rc);
int filedata_truncate (struct snap *s, struct inode *i, uint64_t size) WARN_UNUSED;
/* Clears [off, off + len) to a hole, or to written zeros. */
int filedata_clear (struct snap *s, struct inode *i, uint64_t off, uint64_t len,
                    bool is_zero) WARN_UNUSED;
/* Pushes stream and overlay; reads old neighbours of dirty ranges where page files want whole
 * pages: may wait.  Who is not a GROUP of fsyncs waits until none pushes and builds. */
int filedata_push (struct snap *s, struct inode *i, bool is_group) WARN_UNUSED;
/* Waits until every chunk pushed so far is in a pack (or failed: the file's error). */
int filedata_wait_placed (struct snap *s, struct inode *i) WARN_UNUSED;
/* The first byte from FROM on that only memory or the overlay has and no extent below it; both
 * locks of I are held.  UINT64_MAX: none. */
int filedata_ungrounded_locked (struct inode *i, uint64_t from, uint64_t *out) WARN_UNUSED;
/* All files of S with data in memory or in an overlay: pushed, placed. */
int filedata_push_all (struct snap *s, bool is_group) WARN_UNUSED;
/* Files with something in an overlay only: pushed, so that its space comes back. */
int filedata_drain (struct snap *s) WARN_UNUSED;
bool filedata_has_overlay (struct inode *i);
void filedata_drop_all (struct snap *s);
/* A handle for writing: the data is in memory from begin to end (and longer while something is
 * unplaced). Every call below that changes data is made between them. */
int filedata_begin (struct snap *s, struct inode *i) WARN_UNUSED;
void filedata_end (struct snap *s, struct inode *i);
uint64_t filedata_overlay_bytes (struct snap *s);
/* Sets an extent (copied reference); the range must not be dirty elsewhere. */
int filedata_set_extent (struct snap *s, struct inode *i, uint64_t off,
                         const struct extent *e) WARN_UNUSED;
/* The number of changes to I's content so far. */
uint32_t filedata_changes (struct inode *i);
/* [off, off + n) of I is now what is there in a file of SIZE bytes whose SHA-256 is SHA (NULL: not
 * known), set by COUNT changes since there were SINCE of them. */
void filedata_copied (struct inode *i, const uint8_t *sha, uint64_t size, uint64_t off, uint64_t n,
                      uint32_t since, uint32_t count);

/* One piece of a read: memory already filled, or a chunk to open. */
struct read_piece {
  uint64_t off;
  uint32_t len;
  struct extent e; /* DATA: to be loaded; others are filled */
  /* `pack` is the pack's name (sealed trees); else e.ref.pack is the index's number */
  bool has_name;
  uint8_t pack[PACK_NAME_LEN];
};
#define READ_PIECES_MAX 160
/* Fills what is at hand into OUT and lists the rest; *len is cut to what fits READ_PIECES_MAX and
 * the size. */
int filedata_read (struct inode *i, uint64_t off, size_t *len, uint8_t *out,
                   struct read_piece *pieces,
                   unsigned *count) WARN_UNUSED;
int filedata_seek (struct inode *i, uint64_t off, bool is_hole, uint64_t *out) WARN_UNUSED;

/* Loads placed extents of an open or sealed tree into OUT (read.c); FLAGS are the reader's. */
int snap_load (struct vault *v, const struct read_piece *pieces, unsigned count, uint64_t base,
               unsigned flags,
               uint8_t *out) WARN_UNUSED;
/* PIECES of a sealed tree, in order, and zeros between them: [base, base + len) where it lies.
 * ERR_NOTSUP: too many pieces. */
int snap_pin (struct vault *v, const struct read_piece *pieces, unsigned count, uint64_t base,
              size_t len, unsigned flags, struct pinned **out) WARN_UNUSED;

#endif
