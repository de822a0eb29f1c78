/* SPDX-License-Identifier: Apache-2.0 */
/* sha_pair - SHA-256 of two messages at once, by the processor's own instructions (private to
 * store).
 *
 * One message alone is bound by the latency of its chain of rounds; a second one that has nothing
 * to do with it fills the gaps: the two together cost 1.5 to 1.65 times one.  The pipeline has such
 * a pair always: the id of the chunk at hand, and the name of the pack that the chunks before it
 * lie in.
 *
 * Only where sha_pair_is_there(): elsewhere libcrypto is used (sha256.c, hmac.c), which is as fast
 * for one.  store_crypto_test compares both.
 *
 * Threads: any; a stream belongs to one at a time.  Nothing can fail. */
#ifndef COFFER_STORE_SHA_PAIR_H
#define COFFER_STORE_SHA_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool sha_pair_is_there (void);

/* A message that is being hashed. */
struct sha_stream {
  uint32_t h[8];
  uint64_t len;
  uint8_t rest[64]; /* len % 64 bytes that make no block yet */
};
void sha_stream_init (struct sha_stream *s);
void sha_stream_update (struct sha_stream *s, const void *p, size_t n);
/* NA bytes at PA to A and NB bytes at PB to B.  A and B are two. */
void sha_stream_update_pair (struct sha_stream *a, const void *pa, size_t na, struct sha_stream *b,
                             const void *pb, size_t nb);
/* S is worth nothing after it. */
void sha_stream_final (struct sha_stream *s, uint8_t out[32]);

#endif
