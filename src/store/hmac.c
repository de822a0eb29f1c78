/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hmac.h"

#include <pthread.h>
#include <string.h>

#define BLOCK_LEN 64 /* SHA-256's */

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_md;

static void
fetch (void)
{
  sha256_md = EVP_MD_fetch (NULL, "SHA256", NULL);
}

const EVP_MD *
digest_sha256 (void)
{
  pthread_once (&fetch_once, fetch);
  return sha256_md;
}

/* A context that has hashed the key's block xored with PAD, or NULL. */
static EVP_MD_CTX *
padded (const uint8_t block[BLOCK_LEN], uint8_t pad)
{
  uint8_t b[BLOCK_LEN];
  for (int i = 0; i < BLOCK_LEN; i++)
    b[i] = block[i] ^ pad;
  EVP_MD_CTX *c = EVP_MD_CTX_new ();
  if (c && (!EVP_DigestInit_ex (c, digest_sha256 (), NULL) || !EVP_DigestUpdate (c, b, sizeof b))) {
    EVP_MD_CTX_free (c);
    c = NULL;
  }
  explicit_bzero (b, sizeof b);
  return c;
}

static void
padded_state (const uint8_t block[BLOCK_LEN], uint8_t pad, uint32_t h[8])
{
  struct sha_stream s;
  uint8_t b[BLOCK_LEN];
  for (int i = 0; i < BLOCK_LEN; i++)
    b[i] = block[i] ^ pad;
  sha_stream_init (&s);
  sha_stream_update (&s, b, sizeof b);
  memcpy (h, s.h, sizeof s.h);
  explicit_bzero (&s, sizeof s);
  explicit_bzero (b, sizeof b);
}

int
hmac_key_init (struct hmac_key *k, const void *key, size_t n)
{
  uint8_t block[BLOCK_LEN] = { 0 };
  *k = (struct hmac_key){ 0 };
  if (n > BLOCK_LEN) {
    if (!EVP_Digest (key, n, block, NULL, digest_sha256 (), NULL))
      return ERR_NOMEM;
  } else if (n)
    memcpy (block, key, n);
  k->inner = padded (block, 0x36);
  k->outer = padded (block, 0x5c);
  if (sha_pair_is_there ()) {
    padded_state (block, 0x36, k->inner_h);
    padded_state (block, 0x5c, k->outer_h);
  }
  explicit_bzero (block, sizeof block);
  if (k->inner && k->outer)
    return 0;
  hmac_key_release (k);
  return ERR_NOMEM;
}

void
hmac_key_release (struct hmac_key *k)
{
  EVP_MD_CTX_free (k->inner); /* libcrypto clears the state it frees */
  EVP_MD_CTX_free (k->outer);
  explicit_bzero (k, sizeof *k);
}

void
hmac_run_beside (const struct hmac_key *k, const void *prefix, size_t prefix_len, const void *text,
                 size_t text_len, uint8_t out[HMAC_LEN], struct sha_stream *stream,
                 const void *other, size_t other_len)
{
  uint8_t inner[HMAC_LEN];
  struct sha_stream s = { .len = BLOCK_LEN };
  memcpy (s.h, k->inner_h, sizeof s.h);
  sha_stream_update (&s, prefix, prefix_len);
  sha_stream_update_pair (&s, text, text_len, stream, other, other_len);
  sha_stream_final (&s, inner);
  memcpy (s.h, k->outer_h, sizeof s.h);
  s.len = BLOCK_LEN;
  sha_stream_update (&s, inner, sizeof inner);
  sha_stream_final (&s, out);
  explicit_bzero (&s, sizeof s);
}

int
hmac_run (const struct hmac_key *k, EVP_MD_CTX *work, const struct iovec *parts, int count,
          uint8_t out[HMAC_LEN])
{
  uint8_t inner[HMAC_LEN];
  bool is_ok = EVP_MD_CTX_copy_ex (work, k->inner);
  for (int i = 0; i < count && is_ok; i++)
    is_ok = EVP_DigestUpdate (work, parts[i].iov_base, parts[i].iov_len);
  is_ok = is_ok && EVP_DigestFinal_ex (work, inner, NULL) && EVP_MD_CTX_copy_ex (work, k->outer)
          && EVP_DigestUpdate (work, inner, sizeof inner) && EVP_DigestFinal_ex (work, out, NULL);
  return is_ok ? 0 : ERR_NOMEM;
}

int
hmac_once (const void *key, size_t key_len, const struct iovec *parts, int count,
           uint8_t out[HMAC_LEN])
{
  struct hmac_key k;
  int rc = hmac_key_init (&k, key, key_len);
  if (rc < 0)
    return rc;
  EVP_MD_CTX *work = EVP_MD_CTX_new ();
  rc = work ? hmac_run (&k, work, parts, count, out) : ERR_NOMEM;
  EVP_MD_CTX_free (work);
  hmac_key_release (&k);
  return rc;
}

int
hkdf_expand (const uint8_t prk[HMAC_LEN], const void *info, size_t info_len, uint8_t *out,
             size_t out_len)
{
  if (out_len > 255 * HMAC_LEN)
    return ERR_LIMIT;
  struct hmac_key k;
  int rc = hmac_key_init (&k, prk, HMAC_LEN);
  if (rc < 0)
    return rc;
  EVP_MD_CTX *work = EVP_MD_CTX_new ();
  if (!work)
    rc = ERR_NOMEM;
  uint8_t t[HMAC_LEN], n = 0;
  for (size_t done = 0; done < out_len && rc == 0;) {
    n++;
    struct iovec parts[] = {
      { t, n > 1 ? HMAC_LEN : 0 }, { (void *) (uintptr_t) info, info_len }, { &n, 1 },
    };
    rc = hmac_run (&k, work, parts, 3, t);
    size_t take = out_len - done < HMAC_LEN ? out_len - done : HMAC_LEN;
    if (rc == 0)
      memcpy (out + done, t, take);
    done += take;
  }
  explicit_bzero (t, sizeof t);
  EVP_MD_CTX_free (work);
  hmac_key_release (&k);
  return rc;
}

int
hkdf_sha256 (const void *salt, size_t salt_len, const void *ikm, size_t ikm_len, const void *info,
             size_t info_len, uint8_t *out, size_t out_len)
{
  uint8_t prk[HMAC_LEN];
  struct iovec part = { (void *) (uintptr_t) ikm, ikm_len };
  int rc = hmac_once (salt, salt_len, &part, 1, prk);
  if (rc == 0)
    rc = hkdf_expand (prk, info, info_len, out, out_len);
  explicit_bzero (prk, sizeof prk);
  return rc;
}
