/* SPDX-License-Identifier: Apache-2.0 */
/* What file.c and file_read.c share: the data of an open file. */
#ifndef COFFER_SNAPSHOT_FILE_PRIV_H
#define COFFER_SNAPSHOT_FILE_PRIV_H

#include "snapshot/file.h"

#define SMALL_FILE (128u << 10)

struct flying {
  struct flying *next, **link; /* in filedata->flying, the newest first */
  struct pipe_chunk *chunk;
  uint64_t off;
  uint32_t serial;
};

/* The latest ranges that writers changed: who copies a range elsewhere asks whether it was touched
 * meanwhile, so that writes to other places do not make it begin again. */
#define RECENT_CHANGES 64
struct changed {
  uint64_t off, end;
};

/* A write that came before the one in front of it (file_window.c). */
struct ahead {
  struct ahead *next;
  uint64_t off;
  struct pipe_chunk *data; /* its bytes, lent from the pipeline's memory */
};

struct filedata {
  struct filedata *next, **link; /* in snap->dirty, guarded by snap->lock */
  struct snap *snap;
  struct inode *inode;           /* pinned */
  unsigned users;                /* open handles and walks */
  struct chunker chunker;
  enum chunk_class class;
  bool has_class;
  struct pipe_chunk *cur; /* the stream's present chunk; NULL: none begun */
  uint64_t cur_off;
  uint32_t max;           /* of a chunk of this class */
  struct flying *flying;
  struct ahead *ahead;    /* ascending, apart from each other, behind the stream's end */
  unsigned vain;          /* how often of late what was ahead waited for nothing */
  struct overlay *overlay;
  uint32_t serial;
  uint32_t changes;       /* of the content, by writers */
  struct changed recent[RECENT_CHANGES]; /* of change N: [N % RECENT_CHANGES] */
  /* file_changes.c */
  struct sha256 *sha;     /* of the first HASHED bytes, which came in order; NULL: not wanted */
  uint64_t hashed;
  uint64_t copied;        /* so many bytes are the first of a file whose SHA-256 is: */
  uint8_t copied_sha[32];
  int error;
};

/* Ends one use of I's data where END_USE says so, and frees it if nothing of it is needed. */
void filedata_settle (struct snap *s, struct inode *i, bool end_use);

static inline uint64_t
stream_end (const struct filedata *d)
{
  return d->cur_off + (d->cur ? d->cur->len : 0);
}

/* file.c; the data's lock is held. */
int begin_stream (struct snap *s, struct inode *i, struct filedata *d, uint64_t off) WARN_UNUSED;
int stream_append (struct snap *s, struct inode *i, struct filedata *d, const uint8_t *p,
                   size_t n) WARN_UNUSED;

/* file_changes.c - what writers changed; and the whole-file SHA-256 (ruling 8), known where
 * the file came in order, or whole from a file that has one.  The data's lock is held. */
void file_changed (struct filedata *d, uint64_t off, uint64_t end);
/* Has a writer touched [off, end) since there were SINCE changes? */
bool file_has_changed (const struct filedata *d, uint32_t since, uint64_t off, uint64_t end);
void file_sha_begin (struct snap *s, struct filedata *d, uint64_t off);
/* N bytes are about to be appended to the stream. */
void file_sha_append (struct filedata *d, const uint8_t *p, size_t n);
void file_sha_end (struct filedata *d);
void file_sha_drop (struct filedata *d);

/* file_window.c - the reordering window (ruling 15): a large write up to 16 MiB behind the stream's
 * end is kept until what lies between has come, so that writes that overtake each other make the
 * same chunks as if they had come in order.  Where it does not come (a sparse copy jumps), or
 * something else is done with the file, what is ahead is put where it belongs, as before. */
#define WINDOW_SPAN (16u << 20)
#define WINDOW_TOTAL (16u << 20) /* of all files of a mount, of the pipeline's 48 MiB */
/* Whether the write was kept: 1, 0, or an error. */
int window_keep (struct snap *s, struct filedata *d, uint64_t off, const uint8_t *p,
                 size_t n) WARN_UNUSED;
/* After the stream has grown: what follows at once goes with it.  An error is the file's. */
int window_drain (struct snap *s, struct inode *i, struct filedata *d) WARN_UNUSED;
/* All of it goes where it belongs. */
int window_flush (struct snap *s, struct inode *i, struct filedata *d) WARN_UNUSED;
void window_drop (struct snap *s, struct filedata *d);

/* The chunk at hand is the last one, for now.  What is a small file as a whole lies beside others,
 * in the order of closing. */
static inline void
end_in_order (struct filedata *d)
{
  if (d->cur && d->cur_off == 0 && d->cur->len <= SMALL_FILE)
    d->cur->stream = PIPE_SMALL_FILES;
  else if (d->cur)
    d->cur->is_last = true;
}

#endif
