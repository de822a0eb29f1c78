/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
buf_init (struct buf *b, size_t max)
{
  *b = (struct buf){ .max = max };
}

void
buf_release (struct buf *b)
{
  free (b->data);
  *b = (struct buf){ .max = b->max };
}

void
buf_wipe_release (struct buf *b)
{
  if (b->data)
    explicit_bzero (b->data, b->cap);
  buf_release (b);
}

void
buf_reset (struct buf *b)
{
  b->len = 0;
  b->error = 0;
}

int
buf_error (const struct buf *b)
{
  return b->error;
}

uint8_t *
buf_reserve (struct buf *b, size_t n)
{
  if (b->error)
    return NULL;
  if (n > b->max || b->len > b->max - n) {
    b->error = ERR_LIMIT;
    return NULL;
  }
  if (b->len + n > b->cap) {
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->len + n)
      cap *= 2;
    if (cap > b->max)
      cap = b->max;
    uint8_t *p = realloc (b->data, cap);
    if (!p) {
      b->error = ERR_NOMEM;
      return NULL;
    }
    b->data = p;
    b->cap = cap;
  }
  return b->data + b->len;
}

void
buf_put (struct buf *b, const void *p, size_t n)
{
  uint8_t *at = buf_reserve (b, n);
  if (at && n) {
    memcpy (at, p, n);
    b->len += n;
  }
}

void
buf_put_zero (struct buf *b, size_t n)
{
  uint8_t *at = buf_reserve (b, n);
  if (at && n) {
    memset (at, 0, n);
    b->len += n;
  }
}

void
buf_put_u8 (struct buf *b, uint8_t v)
{
  buf_put (b, &v, 1);
}

void
buf_put_u16 (struct buf *b, uint16_t v)
{
  uint8_t raw[2] = { (uint8_t) v, (uint8_t) (v >> 8) };
  buf_put (b, raw, 2);
}

void
buf_put_u32 (struct buf *b, uint32_t v)
{
  uint8_t raw[4];
  put_le32 (raw, v);
  buf_put (b, raw, 4);
}

void
buf_put_u64 (struct buf *b, uint64_t v)
{
  uint8_t raw[8];
  put_le64 (raw, v);
  buf_put (b, raw, 8);
}

void
buf_put_varint (struct buf *b, uint64_t v)
{
  uint8_t raw[10];
  size_t n = 0;
  while (v >= 0x80) {
    raw[n++] = (uint8_t) (v | 0x80);
    v >>= 7;
  }
  raw[n++] = (uint8_t) v;
  buf_put (b, raw, n);
}

void
buf_put_svarint (struct buf *b, int64_t v)
{
  buf_put_varint (b, ((uint64_t) v << 1) ^ (uint64_t) (v >> 63));
}

void
buf_put_bytes (struct buf *b, const void *p, size_t n)
{
  buf_put_varint (b, n);
  buf_put (b, p, n);
}

void
buf_put_str (struct buf *b, const char *s)
{
  buf_put_bytes (b, s, strlen (s));
}

void
buf_printf (struct buf *b, const char *fmt, ...)
{
  va_list ap, again;
  va_start (ap, fmt);
  va_copy (again, ap);
  int n = vsnprintf (NULL, 0, fmt, ap);
  va_end (ap);
  uint8_t *at = n < 0 ? NULL : buf_reserve (b, (size_t) n + 1);
  if (at) {
    vsnprintf ((char *) at, (size_t) n + 1, fmt, again);
    b->len += (size_t) n; /* the NUL is there, not counted */
  }
  va_end (again);
}

const uint8_t *
rd_take (struct rd *r, size_t n)
{
  if (r->failed || n > rd_left (r)) {
    r->failed = true;
    return NULL;
  }
  const uint8_t *p = r->p;
  r->p += n;
  return p;
}

uint8_t
rd_u8 (struct rd *r)
{
  const uint8_t *p = rd_take (r, 1);
  return p ? *p : 0;
}

uint16_t
rd_u16 (struct rd *r)
{
  const uint8_t *p = rd_take (r, 2);
  return p ? (uint16_t) (p[0] | p[1] << 8) : 0;
}

uint32_t
rd_u32 (struct rd *r)
{
  const uint8_t *p = rd_take (r, 4);
  return p ? get_le32 (p) : 0;
}

uint64_t
rd_u64 (struct rd *r)
{
  const uint8_t *p = rd_take (r, 8);
  return p ? get_le64 (p) : 0;
}

uint64_t
rd_varint (struct rd *r)
{
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    const uint8_t *p = rd_take (r, 1);
    if (!p)
      return 0;
    if ((shift == 63 && *p > 1) || (shift > 0 && *p == 0))
      break; /* over 64 bits, or not the shortest spelling */
    v |= (uint64_t) (*p & 0x7f) << shift;
    if (!(*p & 0x80))
      return v;
  }
  r->failed = true;
  return 0;
}

int64_t
rd_svarint (struct rd *r)
{
  uint64_t v = rd_varint (r);
  return (int64_t) (v >> 1) ^ -(int64_t) (v & 1);
}

const uint8_t *
rd_bytes (struct rd *r, size_t max, size_t *n)
{
  uint64_t len = rd_varint (r);
  *n = 0;
  if (len > max) {
    r->failed = true;
    return NULL;
  }
  const uint8_t *p = rd_take (r, (size_t) len);
  if (p)
    *n = (size_t) len;
  return p;
}

void
hex_encode (const void *p, size_t n, char *out)
{
  static const char digits[] = "0123456789abcdef";
  const uint8_t *b = p;
  for (size_t i = 0; i < n; i++) {
    out[2 * i] = digits[b[i] >> 4];
    out[2 * i + 1] = digits[b[i] & 15];
  }
  out[2 * n] = 0;
}

static int
hex_digit (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

bool
hex_decode (const char *s, size_t n, void *out)
{
  uint8_t *b = out;
  for (size_t i = 0; i < n; i++) {
    int hi = s[2 * i] ? hex_digit (s[2 * i]) : -1;
    int lo = hi >= 0 ? hex_digit (s[2 * i + 1]) : -1;
    if (lo < 0)
      return false;
    b[i] = (uint8_t) (hi << 4 | lo);
  }
  return s[2 * n] == 0;
}
