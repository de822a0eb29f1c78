/* SPDX-License-Identifier: Apache-2.0 */
/* check - are a vault's packs there, and whole?
 *
 * Takes the names that something refers to, and says for each what is wrong with it.  Without
 * read_data that is one LIST (existence, and a size that can be); with it every pack is read: its
 * SHA-256 against its name, its table, and every chunk's tag and id.
 *
 * Threads: `threads` of its own for read_data; the callbacks may come from any of them, at once. */
#ifndef COFFER_STORE_CHECK_H
#define COFFER_STORE_CHECK_H

#include "blob/blob.h"
#include "format/pack.h"
#include "store/keys.h"

enum check_finding {
  CHECK_MISSING,    /* the pack is not in the store */
  CHECK_SIZE,       /* it cannot be a pack */
  CHECK_NAME,       /* its bytes have another SHA-256; chunks that are damaged are named as well */
  CHECK_TABLE,      /* its table does not open: what is in it cannot be told from the pack alone */
  CHECK_CHUNK,      /* a chunk does not open, or is not what its id says */
  CHECK_UNREADABLE, /* the store did not give it (ERR): nothing is known */
};

struct check_damage {
  enum check_finding what;
  int err;
  uint8_t pack[PACK_NAME_LEN];
  struct pack_entry entry; /* CHECK_CHUNK only */
};

struct check_job {
  struct blob *blob;             /* borrowed */
  const struct vault_keys *keys; /* NULL with read_data: names only */
  const char *prefix;            /* "vaults/<db>/packs/" */
  bool read_data;
  int threads; /* at least 1; each holds a pack in memory */
  void *ctx;
  void (*found) (void *ctx, const struct check_damage *d);
  /* After every pack; false: stop (check_packs returns ERR_CANCELLED).  May be NULL. */
  bool (*progress) (void *ctx, uint64_t packs, uint64_t bytes);
};

struct check_totals {
  uint64_t packs, bytes, chunks;
  uint64_t bad_packs, bad_chunks, unreadable;
};

/* NAMES need not be sorted.  0 also where damage was found: see TOTALS. */
int check_packs (const struct check_job *job, const uint8_t (*names)[PACK_NAME_LEN], size_t n,
                 struct check_totals *totals) WARN_UNUSED;

#endif
