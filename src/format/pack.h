/* SPDX-License-Identifier: Apache-2.0 */
/* pack - many sealed chunks in one immutable object.  Normative text: doc/format/pack.md. */
#ifndef COFFER_FORMAT_PACK_H
#define COFFER_FORMAT_PACK_H

#include "format/format.h"

#define PACK_HEADER_LEN 64
#define PACK_TRAILER_LEN 32
#define PACK_ENTRY_LEN 44
#define PACK_MAX_BYTES (64u << 20)    /* decoder bound */
#define PACK_TARGET_BYTES (16u << 20) /* what a writer aims at (ruling 4) */
#define PACK_SALT_LEN 32

enum pack_kind { PACK_DATA = 1, PACK_META = 2 };

struct pack_entry {
  uint8_t id[ID_LEN];
  uint8_t type, codec;
  uint32_t off; /* from the start of the pack; follows from the lengths */
  uint32_t sealed_len, plain_len;
};

void pack_header_encode (enum pack_kind kind, const uint8_t salt[PACK_SALT_LEN],
                         uint8_t out[PACK_HEADER_LEN]);
int pack_header_decode (const uint8_t in[PACK_HEADER_LEN], enum pack_kind *kind,
                        uint8_t salt[PACK_SALT_LEN]) WARN_UNUSED;
void pack_entry_put (struct buf *b, const struct pack_entry *e);
void pack_trailer_encode (uint64_t table_off, uint32_t table_len, uint32_t n,
                          uint8_t out[PACK_TRAILER_LEN]);
/* SIZE is the length of the whole object; the table must fit in it and N in the table's bound. */
int pack_trailer_decode (const uint8_t in[PACK_TRAILER_LEN], uint64_t size, uint64_t *table_off,
                         uint32_t *table_len, uint32_t *n) WARN_UNUSED;
/* The opened table.  Writes at most CAP entries; returns how many, or negative.  Checks that the
 * chunks lie back to back from PACK_HEADER_LEN to TABLE_OFF. */
int pack_table_decode (const uint8_t *plain, size_t n, uint64_t table_off, struct pack_entry *out,
                       size_t cap) WARN_UNUSED;

#endif
