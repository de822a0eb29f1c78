/* SPDX-License-Identifier: Apache-2.0 */
/* buf - a growable byte buffer with a maximum, and a bounded reader.
 *
 * Writers (buf_put_*) append; integers are little-endian.  A put that would pass `max` or that
 * cannot allocate sets a sticky error (buf_error) and appends nothing more, so a row of puts is
 * checked once at the end.  Readers (rd_*) never read past the end: a short input sets `failed`,
 * after which every get returns zero / NULL.  Neither logs.
 *
 * Varints are LEB128, at most 10 bytes, and only the shortest spelling is accepted. */
#ifndef COFFER_BASE_BUF_H
#define COFFER_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct buf {
  uint8_t *data;
  size_t len, cap, max;
  int error; /* 0, ERR_NOMEM or ERR_LIMIT; sticky */
};

void buf_init (struct buf *b, size_t max);
void buf_release (struct buf *b); /* frees the bytes; the buffer is empty and usable */
void buf_wipe_release (struct buf *b); /* the same for key material: wiped first */
void buf_reset (struct buf *b);   /* len = 0, error = 0, memory kept */
int buf_error (const struct buf *b) WARN_UNUSED;
/* Room for N more bytes; returns where to write, or NULL (sticky error).  Commit with b->len +=
 * n. */
uint8_t *buf_reserve (struct buf *b, size_t n);
void buf_put (struct buf *b, const void *p, size_t n);
void buf_put_zero (struct buf *b, size_t n);
void buf_put_u8 (struct buf *b, uint8_t v);
void buf_put_u16 (struct buf *b, uint16_t v);
void buf_put_u32 (struct buf *b, uint32_t v);
void buf_put_u64 (struct buf *b, uint64_t v);
void buf_put_varint (struct buf *b, uint64_t v);
void buf_put_svarint (struct buf *b, int64_t v); /* zigzag */
/* varint length, then the bytes */
void buf_put_bytes (struct buf *b, const void *p, size_t n);
void buf_put_str (struct buf *b, const char *s);
void buf_printf (struct buf *b, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));

#define AUTO_BUF __attribute__ ((cleanup (buf_release))) struct buf

struct rd {
  const uint8_t *p, *end;
  bool failed;
};

static inline struct rd
rd_of (const void *p, size_t n)
{
  return (struct rd){ .p = p, .end = (const uint8_t *) p + n };
}
static inline size_t
rd_left (const struct rd *r)
{
  return (size_t) (r->end - r->p);
}
const uint8_t *rd_take (struct rd *r, size_t n); /* a view, valid as long as the input */
uint8_t rd_u8 (struct rd *r);
uint16_t rd_u16 (struct rd *r);
uint32_t rd_u32 (struct rd *r);
uint64_t rd_u64 (struct rd *r);
uint64_t rd_varint (struct rd *r);
int64_t rd_svarint (struct rd *r);
/* varint length (at most MAX, else failed), then a view of the bytes */
const uint8_t *rd_bytes (struct rd *r, size_t max, size_t *n);

static inline void
put_le32 (uint8_t *p, uint32_t v)
{
  p[0] = (uint8_t) v;
  p[1] = (uint8_t) (v >> 8);
  p[2] = (uint8_t) (v >> 16);
  p[3] = (uint8_t) (v >> 24);
}
static inline uint32_t
get_le32 (const uint8_t *p)
{
  return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}
static inline void
put_le64 (uint8_t *p, uint64_t v)
{
  put_le32 (p, (uint32_t) v);
  put_le32 (p + 4, (uint32_t) (v >> 32));
}
static inline uint64_t
get_le64 (const uint8_t *p)
{
  return (uint64_t) get_le32 (p) | (uint64_t) get_le32 (p + 4) << 32;
}

/* Lower-case hex, NUL-terminated; OUT has 2 * n + 1 bytes. */
void hex_encode (const void *p, size_t n, char *out);
/* Exactly 2 * n hex digits, either case; false otherwise. */
bool hex_decode (const char *s, size_t n, void *out);

#endif
