/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and random bytes.  libcrypto's digest fails only without memory for its first state; that
 * is allocated in sha256_new, so updates cannot fail later. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LOG_MODULE "seal"
#include "base/log.h"
#include "store/hmac.h"
#include "store/seal.h"

struct sha256 {
  EVP_MD_CTX *ctx;
};

static void
must (int is_ok)
{
  if (is_ok)
    return;
  log_err ("libcrypto cannot compute SHA-256: the library is broken, stopping");
  abort ();
}

int
sha256_new (struct sha256 **out)
{
  AUTO (sha256) s = calloc (1, sizeof *s);
  if (!s || !(s->ctx = EVP_MD_CTX_new ()) || !EVP_DigestInit_ex (s->ctx, digest_sha256 (), NULL))
    return ERR_NOMEM;
  *out = STEAL (s);
  return 0;
}

void
sha256_free (struct sha256 *s)
{
  if (!s)
    return;
  EVP_MD_CTX_free (s->ctx);
  free (s);
}

void
sha256_reset (struct sha256 *s)
{
  must (EVP_DigestInit_ex (s->ctx, NULL, NULL));
}

void
sha256_update (struct sha256 *s, const void *p, size_t n)
{
  must (EVP_DigestUpdate (s->ctx, p, n));
}

void
sha256_final (struct sha256 *s, uint8_t out[32])
{
  must (EVP_DigestFinal_ex (s->ctx, out, NULL));
}

void
sha256_once (const void *p, size_t n, uint8_t out[32])
{
  must (EVP_Digest (p, n, out, NULL, digest_sha256 (), NULL));
}

void
random_bytes (void *out, size_t n)
{
  uint8_t *p = out;
  while (n) {
    ssize_t got = getrandom (p, n, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      log_err ("the kernel gives no random bytes, stopping err=\"%s\"", strerror (errno));
      abort ();
    }
    p += got;
    n -= (size_t) got;
  }
}
