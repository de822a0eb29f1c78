/* SPDX-License-Identifier: Apache-2.0 */
/* index_delta - which chunks which packs hold, as one session saw it.  Normative:
 * doc/format/index.md. */
#ifndef COFFER_FORMAT_INDEX_DELTA_H
#define COFFER_FORMAT_INDEX_DELTA_H

#include "format/format.h"

#define PREFIX_LEN 16
#define INDEX_DELTA_MAX_ENTRIES 2000000u
#define INDEX_DELTA_MAX_PACKS 1000000u
#define INDEX_DELTA_MAX_INPUTS 100000u

struct index_entry {
  uint8_t prefix[PREFIX_LEN];
  uint32_t pack; /* position in the delta's packs */
  uint32_t off, sealed_len, plain_len;
  uint8_t type;
};
struct index_pack {
  uint8_t name[PACK_NAME_LEN];
  uint8_t kind;
  uint64_t size;
};
struct index_input {
  char name[64];
  uint64_t entries;
  uint8_t id_sum[PREFIX_LEN];
};
struct index_delta {
  struct index_input *inputs;
  size_t input_count;
  struct index_pack *packs;
  size_t pack_count;
  struct index_entry *entries; /* ascending by prefix */
  size_t entry_count;
};
void index_delta_release (struct index_delta *d);
/* Entries must be sorted by prefix. */
int index_delta_encode (const struct index_delta *d, struct buf *out) WARN_UNUSED;
int index_delta_decode (const uint8_t *plain, size_t n, struct index_delta *out) WARN_UNUSED;
/* SUM += PREFIX as 128-bit little-endian integers. */
void index_sum_add (uint8_t sum[PREFIX_LEN], const uint8_t prefix[PREFIX_LEN]);

#endif
