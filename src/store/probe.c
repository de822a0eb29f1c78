/* SPDX-License-Identifier: Apache-2.0 */
#include "store/probe.h"

#include <stdint.h>
#include <string.h>

#define SHORT (64u << 10)  /* the whole is compressed in less time than one would save */
#define GRAIN (32u << 10)  /* one sample of each */
#define SAMPLE 4096
#define SAMPLES_MAX 16     /* of a longer chunk, as many, further apart */
#define HISTOGRAM_PART 1024

/* Where sample I of COUNT begins: spread evenly, the last one at the end. */
static size_t
sample_at (size_t n, unsigned i, unsigned count)
{
  return (n - SAMPLE) / (count - 1) * i;
}

/* The sum of squared counts of N uniform bytes is n^2/256 + n on average, and strays from it by a
 * few per cent; 1.15 times that is no chance. */
static bool
is_skewed (const uint8_t *p, size_t n, unsigned count)
{
  uint32_t hist[256] = { 0 };
  for (unsigned i = 0; i < count; i++) {
    const uint8_t *q = p + sample_at (n, i, count);
    for (unsigned j = 0; j < HISTOGRAM_PART; j++)
      hist[q[j]]++;
  }
  uint64_t sum = 0, total = (uint64_t) count * HISTOGRAM_PART;
  for (int i = 0; i < 256; i++)
    sum += (uint64_t) hist[i] * hist[i];
  return sum * 100 > (total * total / 256 + total) * 115;
}

bool
probe_is_worth_it (ZSTD_CCtx *cctx, const void *plain, size_t n)
{
  if (n < SHORT)
    return true;
  const uint8_t *p = plain;
  unsigned count = n / GRAIN < SAMPLES_MAX ? (unsigned) (n / GRAIN) : SAMPLES_MAX;
  if (is_skewed (p, n, count))
    return true;
  uint8_t sample[SAMPLES_MAX * SAMPLE], out[ZSTD_COMPRESSBOUND (SAMPLE * SAMPLES_MAX)];
  for (unsigned i = 0; i < count; i++)
    memcpy (sample + i * SAMPLE, p + sample_at (n, i, count), SAMPLE);
  size_t total = (size_t) count * SAMPLE;
  size_t got = ZSTD_compress2 (cctx, out, sizeof out, sample, total);
  return !ZSTD_isError (got) && got < total - total / 100;
}
