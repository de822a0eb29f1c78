/* SPDX-License-Identifier: Apache-2.0 */
/* check - proves that what a vault's roots refer to is there and readable.
 *
 *   packs      all that the store lists, by name and length; with read_data each is read whole:
 *              its name is the SHA-256 of its bytes, its table opens, each chunk opens under its
 *              id, and the bytes hash to that id (ruling 19)
 *   snapshots  each manifest is authentic; each pack it names is there; each page of its tree
 *              opens; where a pack is bad, or with read_data, each extent of each file is held
 *              against it
 *
 * With read_data each extent is also held against the table of its pack, so a chunk that a restore
 * finds by the extent is the one that a collector finds by the table.
 *
 * Memory: 40 bytes per pack of the vault, 44 per bad chunk (at most CHECK_BAD_MAX of them; beyond,
 * the pack counts as suspect), CHECK_TABLES tables.  Threads: those of store/check.h, which read
 * packs; all else is done by one. */
#ifndef COFFER_TOOLS_CHECK_H
#define COFFER_TOOLS_CHECK_H

#include "cli.h"
#include "format/pack.h"
#include "store/seal.h"
#include "out.h"
#include "snapshot/catalog.h"
#include "wire.h"

#define CHECK_BAD_MAX 100000

/* SUSPECT: its bytes are not those of its name (cut, altered, another pack's), so what an extent
 * refers to must be tried.  SOME: only the chunks listed as bad are. */
enum pack_state { PACK_STATE_FINE, PACK_STATE_SOME, PACK_STATE_SUSPECT };

struct check_pack {
  uint8_t name[PACK_NAME_LEN];
  uint32_t size;
  uint8_t state;    /* enum pack_state */
  uint8_t findings; /* bits 1 << enum check_finding */
  uint16_t bad_chunks;
};
struct check_chunk {
  uint8_t pack[PACK_NAME_LEN];
  uint32_t off;
};
/* The table of a pack that extents were held against of late. */
#define CHECK_TABLES 32
struct check_table {
  uint8_t name[PACK_NAME_LEN];
  struct pack_entry *entries; /* ascending by off */
  size_t count;
  uint64_t used; /* 0: empty */
};
/* One vault's packs. */
struct check_packs {
  struct check_pack *v; /* ascending by name */
  size_t count, cap;
  struct check_chunk *bad;
  size_t bad_count;
  uint64_t bytes, clock;
  struct check_table tables[CHECK_TABLES];
  struct vault_keys *keys; /* for the tables; made when first needed */
  struct sealer *sealer;
};

struct check {
  struct cli *cli;
  bool read_data;
  struct wire_store *store;
  const char *vault;
  struct check_packs packs;
  const struct catalog_item *items; /* what the vault shows */
  size_t item_count;
  struct buf lacking; /* digests that manifests name and the vault does not show: told of once */
  struct progress progress;
  /* totals over everything */
  uint64_t vaults, snapshots, files, packs_seen;
  uint64_t bad_objects, bad_snapshots, bad_files;
  int transient; /* an err that says nothing about the data: the check is not whole */
  json_t *bad;     /* with --json: what print_bad and print_hit would print */
};

/* Tells of a bad object of the store (KEY below the prefix). */
void check_bad_object (struct check *c, const char *key, const char *reason);
/* Lists the vault's packs, and with read_data reads them.  0 or an err of the listing. */
int check_packs_load (struct check *c) WARN_UNUSED;
void check_packs_release (struct check_packs *p);
const struct check_pack *check_packs_find (const struct check_packs *p,
                                           const uint8_t name[PACK_NAME_LEN]);
/* NULL where the chunk can be believed to be there (then *is_suspect says whether it must be
 * tried); else what is wrong with it. */
const char *check_chunk_fault (const struct check_packs *p, const uint8_t pack[PACK_NAME_LEN],
                               uint32_t off, uint32_t len, bool *is_suspect);
/* *FAULT (else NULL): the table of PACK, as it is in the store, has no such chunk at that place.
 * An error where the table cannot be had. */
int check_chunk_listed (struct check *c, const struct chunk_ref *ref,
                        const uint8_t pack[PACK_NAME_LEN], const char **fault) WARN_UNUSED;

#endif
