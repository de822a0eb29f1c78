/* SPDX-License-Identifier: Apache-2.0 */
/* format_priv - what the codecs of this folder share among themselves. */
#ifndef COFFER_FORMAT_FORMAT_PRIV_H
#define COFFER_FORMAT_FORMAT_PRIV_H

#include "format/format.h"

/* The outcome of a decoder that must have used all of R. */
static inline int
rd_done (const struct rd *r)
{
  return r->failed || rd_left (r) ? ERR_FORMAT : 0;
}

/* A count of things that take at least EACH bytes: checked against what is left and against MAX, so
 * that an allocation for them is bounded by the input.  0 and failed otherwise. */
static inline uint32_t
rd_count (struct rd *r, size_t each, uint32_t max)
{
  uint64_t n = rd_varint (r);
  if (n > max || n > rd_left (r) / each) {
    r->failed = true;
    return 0;
  }
  return (uint32_t) n;
}

/* A varint of at most MAX, or 0 and failed. */
static inline uint64_t
rd_varint_max (struct rd *r, uint64_t max)
{
  uint64_t v = rd_varint (r);
  if (v <= max)
    return v;
  r->failed = true;
  return 0;
}

/* True for what may stand in a pack. */
bool unit_is_chunk (int type);

/* True where a chunk of these lengths at OFF can lie in a pack of PACK_LEN bytes. */
bool chunk_place_is_possible (uint64_t pack_len, uint64_t off, uint64_t sealed_len);

/* A reference to a chunk of TYPE: chunk_ref_get and the type's bound. */
void chunk_ref_get_type (struct rd *r, uint32_t npacks, int type, struct chunk_ref *out);

/* Writes the varint length of what was appended to B since START before it. */
void buf_insert_length (struct buf *b, size_t start);

#endif
