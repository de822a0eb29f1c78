/* SPDX-License-Identifier: Apache-2.0 */
/* hmac - HMAC-SHA-256 and HKDF-SHA-256 with the key's two blocks hashed once (private to store).
 *
 * A key is kept as the two SHA-256 states after the inner and outer pad; a MAC copies them, which
 * costs 150 ns where setting the key anew costs 390.  A hmac_key is immutable after init and may be
 * used by any thread; the work context belongs to one.  Failures are ERR_NOMEM: libcrypto has no
 * other. */
#ifndef COFFER_STORE_HMAC_H
#define COFFER_STORE_HMAC_H

#include "base/openssl.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "store/sha_pair.h"

#define HMAC_LEN 32

/* Fetched once in the life of the process; NULL if libcrypto has none. */
const EVP_MD *digest_sha256 (void);

struct hmac_key {
  EVP_MD_CTX *inner, *outer;
  uint32_t inner_h[8], outer_h[8]; /* the same two states, where sha_pair_is_there */
};
int hmac_key_init (struct hmac_key *k, const void *key, size_t n) WARN_UNUSED;
void hmac_key_release (struct hmac_key *k);
/* MAC of PARTS in a row.  OUT may be one of the parts. */
int hmac_run (const struct hmac_key *k, EVP_MD_CTX *work, const struct iovec *parts, int count,
              uint8_t out[HMAC_LEN]) WARN_UNUSED;
/* MAC of PREFIX and TEXT (either may be empty), and beside it the OTHER_LEN bytes at OTHER are
 * hashed into STREAM.  Only where sha_pair_is_there. */
void hmac_run_beside (const struct hmac_key *k, const void *prefix, size_t prefix_len,
                      const void *text, size_t text_len, uint8_t out[HMAC_LEN],
                      struct sha_stream *stream, const void *other, size_t other_len);
/* One MAC with a key used once. */
int hmac_once (const void *key, size_t key_len, const struct iovec *parts, int count,
               uint8_t out[HMAC_LEN]) WARN_UNUSED;

/* RFC 5869; OUT_LEN at most 255 * 32. */
int hkdf_sha256 (const void *salt, size_t salt_len, const void *ikm, size_t ikm_len,
                 const void *info, size_t info_len, uint8_t *out, size_t out_len) WARN_UNUSED;
/* The expansion alone: PRK is a key of 32 uniform bytes. */
int hkdf_expand (const uint8_t prk[HMAC_LEN], const void *info, size_t info_len, uint8_t *out,
                 size_t out_len) WARN_UNUSED;

#endif
