/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sha_pair.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define BLOCK 64

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_there;

static void
look (void)
{
  unsigned a, b, c, d;
  __builtin_cpu_init ();
  is_there = __builtin_cpu_supports ("sse4.1") && __get_cpuid_count (7, 0, &a, &b, &c, &d)
             && (b & 1u << 29); /* SHA */
}

bool
sha_pair_is_there (void)
{
  pthread_once (&once, look);
  return is_there;
}

#define NI __attribute__ ((target ("sha,sse4.1")))
#define NI_INLINE __attribute__ ((target ("sha,sse4.1"), always_inline)) static inline

static const uint32_t round_key[64] __attribute__ ((aligned (16))) = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The instructions keep the eight words as A B E F and C D G H, highest first. */
struct lane {
  __m128i abef, cdgh, w[4];
};

NI_INLINE void
lane_load (struct lane *l, const uint32_t h[8])
{
  __m128i lo = _mm_shuffle_epi32 (_mm_loadu_si128 ((const __m128i *) (const void *) h), 0xb1);
  __m128i hi = _mm_shuffle_epi32 (_mm_loadu_si128 ((const __m128i *) (const void *) (h + 4)), 0x1b);
  l->abef = _mm_alignr_epi8 (lo, hi, 8);
  l->cdgh = _mm_blend_epi16 (hi, lo, 0xf0);
}

NI_INLINE void
lane_store (const struct lane *l, uint32_t h[8])
{
  __m128i lo = _mm_shuffle_epi32 (l->abef, 0x1b), hi = _mm_shuffle_epi32 (l->cdgh, 0xb1);
  _mm_storeu_si128 ((__m128i *) (void *) h, _mm_blend_epi16 (lo, hi, 0xf0));
  _mm_storeu_si128 ((__m128i *) (void *) (h + 4), _mm_alignr_epi8 (hi, lo, 8));
}

/* Rounds 4*G to 4*G+3 of the block at P; w[G % 4] becomes the words that they take. */
NI_INLINE void
lane_four (struct lane *l, const uint8_t *p, int g)
{
  const __m128i swap = _mm_set_epi64x (0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i *w = l->w;
  if (g < 4)
    w[g] = _mm_shuffle_epi8 (_mm_loadu_si128 ((const __m128i *) (const void *) (p + 16 * g)), swap);
  else {
    __m128i t = _mm_sha256msg1_epu32 (w[g % 4], w[(g + 1) % 4]);
    t = _mm_add_epi32 (t, _mm_alignr_epi8 (w[(g + 3) % 4], w[(g + 2) % 4], 4));
    w[g % 4] = _mm_sha256msg2_epu32 (t, w[(g + 3) % 4]);
  }
  const __m128i *key = (const __m128i *) (const void *) (round_key + 4 * g);
  __m128i m = _mm_add_epi32 (w[g % 4], _mm_load_si128 (key));
  l->cdgh = _mm_sha256rnds2_epu32 (l->cdgh, l->abef, m);
  l->abef = _mm_sha256rnds2_epu32 (l->abef, l->cdgh, _mm_shuffle_epi32 (m, 0x0e));
}

NI static void
blocks_one (uint32_t h[8], const uint8_t *p, size_t count)
{
  struct lane l;
  lane_load (&l, h);
  for (; count--; p += BLOCK) {
    __m128i abef = l.abef, cdgh = l.cdgh;
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++)
      lane_four (&l, p, g);
    l.abef = _mm_add_epi32 (l.abef, abef);
    l.cdgh = _mm_add_epi32 (l.cdgh, cdgh);
  }
  lane_store (&l, h);
}

NI static void
blocks_two (uint32_t ha[8], const uint8_t *pa, uint32_t hb[8], const uint8_t *pb, size_t count)
{
  struct lane a, b;
  lane_load (&a, ha);
  lane_load (&b, hb);
  for (; count--; pa += BLOCK, pb += BLOCK) {
    __m128i a0 = a.abef, a1 = a.cdgh, b0 = b.abef, b1 = b.cdgh;
#pragma GCC unroll 16
    for (int g = 0; g < 16; g++) {
      lane_four (&a, pa, g);
      lane_four (&b, pb, g);
    }
    a.abef = _mm_add_epi32 (a.abef, a0);
    a.cdgh = _mm_add_epi32 (a.cdgh, a1);
    b.abef = _mm_add_epi32 (b.abef, b0);
    b.cdgh = _mm_add_epi32 (b.cdgh, b1);
  }
  lane_store (&a, ha);
  lane_store (&b, hb);
}

#else

bool
sha_pair_is_there (void)
{
  return false;
}

static void
blocks_one (uint32_t h[8], const uint8_t *p, size_t count)
{
  (void) h, (void) p, (void) count;
  abort (); /* whoever asked sha_pair_is_there does not come here */
}

static void
blocks_two (uint32_t ha[8], const uint8_t *pa, uint32_t hb[8], const uint8_t *pb, size_t count)
{
  (void) hb, (void) pb;
  blocks_one (ha, pa, count);
}
#endif

void
sha_stream_init (struct sha_stream *s)
{
  static const uint32_t start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  };
  memcpy (s->h, start, sizeof start);
  s->len = 0;
}

/* Fills the block begun before; what is left of *p is whole blocks and a tail. */
static void
fill_rest (struct sha_stream *s, const uint8_t **p, size_t *n)
{
  size_t have = s->len % BLOCK;
  if (have == 0)
    return;
  size_t take = *n < BLOCK - have ? *n : BLOCK - have;
  memcpy (s->rest + have, *p, take);
  s->len += take;
  *p += take;
  *n -= take;
  if (s->len % BLOCK == 0)
    blocks_one (s->h, s->rest, 1);
}

static void
take_whole (struct sha_stream *s, const uint8_t *p, size_t n)
{
  if (n >= BLOCK)
    blocks_one (s->h, p, n / BLOCK);
  if (n % BLOCK)
    memcpy (s->rest, p + n / BLOCK * BLOCK, n % BLOCK);
  s->len += n;
}

void
sha_stream_update (struct sha_stream *s, const void *p, size_t n)
{
  const uint8_t *at = p;
  fill_rest (s, &at, &n);
  if (n)
    take_whole (s, at, n);
}

void
sha_stream_update_pair (struct sha_stream *a, const void *pa, size_t na, struct sha_stream *b,
                        const void *pb, size_t nb)
{
  const uint8_t *ata = pa, *atb = pb;
  fill_rest (a, &ata, &na);
  fill_rest (b, &atb, &nb);
  size_t both = (na < nb ? na : nb) / BLOCK;
  if (both) {
    blocks_two (a->h, ata, b->h, atb, both);
    a->len += both * BLOCK;
    b->len += both * BLOCK;
    ata += both * BLOCK;
    atb += both * BLOCK;
    na -= both * BLOCK;
    nb -= both * BLOCK;
  }
  if (na)
    take_whole (a, ata, na);
  if (nb)
    take_whole (b, atb, nb);
}

void
sha_stream_final (struct sha_stream *s, uint8_t out[32])
{
  static const uint8_t padding[BLOCK] = { 0x80 };
  uint8_t bits[8];
  for (int i = 0; i < 8; i++)
    bits[i] = (uint8_t) (s->len * 8 >> (56 - 8 * i));
  size_t have = s->len % BLOCK;
  sha_stream_update (s, padding, have < 56 ? 56 - have : 56 + BLOCK - have);
  sha_stream_update (s, bits, sizeof bits);
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 4; k++)
      out[4 * i + k] = (uint8_t) (s->h[i] >> (24 - 8 * k));
}
