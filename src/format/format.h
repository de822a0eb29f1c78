/* SPDX-License-Identifier: Apache-2.0 */
/* format - what all stored objects share.  Normative text: doc/format/.
 *
 * Everything in this folder is pure: no I/O, no log, no clock, no randomness; every size is checked
 * against a bound before memory is allocated for it.  Decoders return ERR_FORMAT for bytes that
 * cannot be right, ERR_VERSION for a newer format, ERR_NOMEM.  Threads: any, on distinct
 * objects. */
#ifndef COFFER_FORMAT_FORMAT_H
#define COFFER_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define FORMAT_VERSION 1
#define ID_LEN 32          /* a chunk id */
#define PACK_NAME_LEN 32   /* SHA-256 of a pack */
#define STORE_ID_LEN 16
#define OBJECT_HEADER_LEN 16

#define MAGIC_PACK "COFRPACK"
#define MAGIC_INDEX "COFRINDX"
#define MAGIC_MANIFEST "COFRMANI"
#define MAGIC_SEALED "COFRSEAL"
#define MAGIC_CHECKPOINT "COFRCKPT"
#define MAGIC_GC "COFRGCRC"

enum unit_type {
  UNIT_DATA = 1,
  UNIT_TREE_PAGE = 16,
  UNIT_EXTENT_PAGE = 17,
  UNIT_TREE_INDEX = 18,
  UNIT_PACK_LIST = 19,
  UNIT_PACK_TABLE = 32,
  UNIT_INDEX = 33,
  UNIT_MANIFEST = 34,
  UNIT_CHECKPOINT = 35,
  UNIT_GC = 36,
};
enum unit_codec { CODEC_RAW = 0, CODEC_ZSTD = 1 };
enum unit_aead { AEAD_AES_256_GCM = 1 };

/* The bound of the plain length of TYPE in bytes; 0 for an unknown type. */
uint32_t unit_plain_max (int type);

/* Object header: 16 bytes to OUT. */
void object_header_put (struct buf *out, const char magic[8]);
/* Checks the header at the start of IN. */
int object_header_check (const uint8_t *in, size_t n, const char magic[8]) WARN_UNUSED;

/* The clear frame before a sealed unit (doc/format/chunk.md). */
#define FRAME_LEN 24
#define TAG_LEN 16
#define NONCE_LEN 12
#define UNIT_OVERHEAD (FRAME_LEN + TAG_LEN)
struct frame {
  uint8_t type, codec, aead;
  uint32_t generation;
  uint32_t plain_len;
  uint8_t nonce[NONCE_LEN];
};
void frame_encode (const struct frame *f, uint8_t out[FRAME_LEN]);
/* Checks version, codec, aead, that the type is known and plain_len within its bound, that N (the
 * sealed length) has room for frame and tag, and that codec raw has n == plain_len + overhead. */
int frame_decode (const uint8_t *in, size_t n, struct frame *out) WARN_UNUSED;

/* Where a chunk is.  `pack` is a position in the pack table of the context: of a page where the
 * reference was decoded from one, the vault's numbering (store/index.h) in working trees and
 * index. */
struct chunk_ref {
  uint8_t id[ID_LEN];
  uint32_t pack;
  uint32_t off;
  uint32_t sealed_len;
  uint32_t plain_len;
};

enum extent_kind { EXTENT_DATA = 0, EXTENT_PART = 1, EXTENT_HOLE = 2, EXTENT_ZERO = 3 };

/* A piece of a file.  kind is EXTENT_DATA for both whole chunk and part in memory (chunk_off == 0
 * and len == plain_len means whole); the codec chooses the shorter spelling. */
struct extent {
  uint64_t len;       /* > 0; for data chunk_off + len <= ref.plain_len */
  uint32_t chunk_off;
  uint8_t kind;       /* EXTENT_DATA, EXTENT_HOLE or EXTENT_ZERO */
  struct chunk_ref ref; /* data only */
};

/* A pack table under construction or decoded: names in order of first use. */
struct pack_table {
  uint8_t (*names)[PACK_NAME_LEN];
  uint32_t count, cap;
  uint32_t last; /* what pack_table_intern answered last */
};
#define PACK_TABLE_MAX 1000000 /* decoder bound: 32 MB */
void pack_table_release (struct pack_table *t);
void pack_table_reset (struct pack_table *t);
/* The position of NAME, added if absent; or negative.  The last answer is tried first, then a scan
 * from the end: tables of pages have few names. */
int pack_table_intern (struct pack_table *t, const uint8_t name[PACK_NAME_LEN],
                       uint32_t *out) WARN_UNUSED;
void pack_table_put (struct buf *b, const struct pack_table *t);
int pack_table_get (struct rd *r, struct pack_table *out) WARN_UNUSED;

void chunk_ref_put (struct buf *b, const struct chunk_ref *ref);
/* NPACKS bounds ref->pack.  Sets r->failed on anything impossible (lengths 0 or over the
 * bounds). */
void chunk_ref_get (struct rd *r, uint32_t npacks, struct chunk_ref *out);
void extent_put (struct buf *b, const struct extent *e);
void extent_get (struct rd *r, uint32_t npacks, struct extent *out);

#endif
