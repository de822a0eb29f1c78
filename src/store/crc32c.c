/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C.  The polynomial is 0x1EDC6F41, here bit-reversed: bit 31 is the coefficient of x^0.
 *
 * With SSE 4.2 three blocks of STRIDE bytes are summed side by side, since the crc32 instruction
 * has a latency of three cycles but may start in each; their sums are joined by a table that
 * multiplies by x^(8*STRIDE).  Without it, eight tables take eight bytes a step. */
#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "store/seal.h"

#define POLY 0x82f63b78u
#define STRIDE 4096 /* joining costs some 20 ns, three blocks take about 500 */

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static uint32_t byte_table[8][256];
static uint32_t shift_table[4][256]; /* multiplies by x^(8*STRIDE), a byte of the operand each */
static bool has_instruction;

/* A * B modulo the polynomial. */
static uint32_t
multiply (uint32_t a, uint32_t b)
{
  uint32_t sum = 0;
  for (; a; a <<= 1) {
    if (a & 0x80000000u)
      sum ^= b;
    b = b & 1 ? b >> 1 ^ POLY : b >> 1;
  }
  return sum;
}

/* x^(8*n) */
static uint32_t
x_power_bytes (uint64_t n)
{
  uint32_t power = 0x80000000u, square = 0x80000000u >> 8; /* x^0, x^8 */
  for (; n; n >>= 1) {
    if (n & 1)
      power = multiply (power, square);
    square = multiply (square, square);
  }
  return power;
}

static void
init (void)
{
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++)
      c = c & 1 ? c >> 1 ^ POLY : c >> 1;
    byte_table[0][i] = c;
  }
  for (int t = 1; t < 8; t++)
    for (int i = 0; i < 256; i++)
      byte_table[t][i] = byte_table[t - 1][i] >> 8 ^ byte_table[0][byte_table[t - 1][i] & 255];
  uint32_t power = x_power_bytes (STRIDE);
  for (int t = 0; t < 4; t++)
    for (uint32_t i = 0; i < 256; i++)
      shift_table[t][i] = multiply (i << 8 * t, power);
#ifdef __x86_64__
  __builtin_cpu_init ();
  has_instruction = __builtin_cpu_supports ("sse4.2");
#endif
}

static uint32_t
by_table (uint32_t c, const uint8_t *p, size_t n)
{
  for (; n >= 8; p += 8, n -= 8) {
    uint32_t a = c ^ get_le32 (p), b = get_le32 (p + 4);
    c = byte_table[7][a & 255] ^ byte_table[6][a >> 8 & 255] ^ byte_table[5][a >> 16 & 255]
        ^ byte_table[4][a >> 24] ^ byte_table[3][b & 255] ^ byte_table[2][b >> 8 & 255]
        ^ byte_table[1][b >> 16 & 255] ^ byte_table[0][b >> 24];
  }
  while (n--)
    c = c >> 8 ^ byte_table[0][(c ^ *p++) & 255];
  return c;
}

#ifdef __x86_64__
static inline uint64_t
load64 (const uint8_t *p)
{
  uint64_t v;
  memcpy (&v, p, 8);
  return v;
}

static inline uint32_t
shift (uint32_t c)
{
  return shift_table[0][c & 255] ^ shift_table[1][c >> 8 & 255] ^ shift_table[2][c >> 16 & 255]
         ^ shift_table[3][c >> 24];
}

__attribute__ ((target ("sse4.2"))) static uint32_t
by_instruction (uint32_t crc, const uint8_t *p, size_t n)
{
  uint64_t c = crc;
  for (; n >= 3 * STRIDE; p += 3 * STRIDE, n -= 3 * STRIDE) {
    uint64_t c1 = 0, c2 = 0;
    for (size_t i = 0; i < STRIDE; i += 8) {
      c = __builtin_ia32_crc32di (c, load64 (p + i));
      c1 = __builtin_ia32_crc32di (c1, load64 (p + STRIDE + i));
      c2 = __builtin_ia32_crc32di (c2, load64 (p + 2 * STRIDE + i));
    }
    c = shift (shift ((uint32_t) c) ^ (uint32_t) c1) ^ (uint32_t) c2;
  }
  for (; n >= 8; p += 8, n -= 8)
    c = __builtin_ia32_crc32di (c, load64 (p));
  for (; n; p++, n--)
    c = __builtin_ia32_crc32qi ((uint32_t) c, *p);
  return (uint32_t) c;
}
#endif

uint32_t
crc32c (uint32_t crc, const void *p, size_t n)
{
  pthread_once (&init_once, init);
#ifdef __x86_64__
  if (has_instruction)
    return ~by_instruction (~crc, p, n);
#endif
  return ~by_table (~crc, p, n);
}

uint32_t
crc32c_portable (uint32_t crc, const void *p, size_t n)
{
  pthread_once (&init_once, init);
  return ~by_table (~crc, p, n);
}

uint32_t
crc32c_combine (uint32_t crc1, uint32_t crc2, uint64_t len2)
{
  return multiply (crc1, x_power_bytes (len2)) ^ crc2;
}
