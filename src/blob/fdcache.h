/* SPDX-License-Identifier: Apache-2.0 */
/* fdcache - a few open read descriptors of a directory store, the least recently used closed first.
 *
 * A cold restore reads each pack in many ranges; opening the file for every one of them costs more
 * than the read.  A slot whose file has been replaced or deleted (link count 0) is noticed at the
 * next use, also when another process did it, so the cache never shows an old object.
 *
 * Threads: any; `lock` is held for the table only, never while opening or reading. */
#ifndef COFFER_BLOB_FDCACHE_H
#define COFFER_BLOB_FDCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"

/* 16 MiB packs: 1 GiB of the store within reach; far below any RLIMIT_NOFILE */
#define FDCACHE_SLOTS 64

struct fdcache_slot {
  char *key; /* NULL: free */
  uint64_t hash, used_at;
  unsigned users;
  int fd;
  bool is_stale; /* closed by its last user */
};

struct fdcache {
  struct lock lock;
  uint64_t tick;
  struct fdcache_slot slots[FDCACHE_SLOTS];
};

struct fdcache_ref {
  int fd;
  int slot; /* -1: not in the table, closed by fdcache_done */
};

void fdcache_init (struct fdcache *c);
void fdcache_release (struct fdcache *c); /* no reference may be out */
/* Opens KEY below DIR_FD for reading.  ERR_MISSING where there is no such regular file. */
int fdcache_open (struct fdcache *c, int dir_fd, const char *key,
                  struct fdcache_ref *out) WARN_UNUSED;
void fdcache_done (struct fdcache *c, struct fdcache_ref *ref);
void fdcache_drop (struct fdcache *c, const char *key); /* KEY was replaced or deleted */

#endif
