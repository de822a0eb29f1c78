/* SPDX-License-Identifier: Apache-2.0 */
/* What file.c and file_read.c share: the data of an open file. */
#ifndef COFFER_SNAPSHOT_FILE_PRIV_H
#define COFFER_SNAPSHOT_FILE_PRIV_H

#include "snapshot/file.h"

struct flying {
  struct flying *next;
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

struct filedata {
  struct filedata *next, **link; /* in snap->dirty, guarded by snap->lock */
  struct inode *inode;           /* pinned */
  unsigned users;                /* open handles and walks */
  struct chunker chunker;
  enum chunk_class class;
  bool has_class;
  struct pipe_chunk *cur; /* the stream's present chunk; NULL: none begun */
  uint64_t cur_off;
  uint32_t max;           /* of a chunk of this class */
  struct flying *flying;
  struct overlay *overlay;
  uint32_t serial;
  uint32_t changes;       /* of the content, by writers */
  struct changed recent[RECENT_CHANGES]; /* of change N: [N % RECENT_CHANGES] */
  int error;
};

/* Ends one use of I's data where END_USE says so, and frees it if nothing of it is needed. */
void filedata_settle (struct snap *s, struct inode *i, bool end_use);

static inline uint64_t
stream_end (const struct filedata *d)
{
  return d->cur_off + (d->cur ? d->cur->len : 0);
}

#endif
