/* SPDX-License-Identifier: Apache-2.0 */
/* A secret is a page of its own: mlock and MADV_DONTDUMP work on pages, and a neighbour's overrun
 * ends in the unmapped space around it more often than in a key. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/keys.h"
#include "store/seal.h"

struct secret {
  uint8_t bytes[32];
};

static size_t
page_len (void)
{
  return (size_t) sysconf (_SC_PAGESIZE);
}

static struct secret *
secret_map (void)
{
  size_t n = page_len ();
  void *p = mmap (NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  /* Both may be refused (RLIMIT_MEMLOCK, old kernel): the key is then as safe as swap and cores
   * are. Not MADV_WIPEONFORK: a daemon forks into the background with its keys. */
  (void) mlock (p, n);
  (void) madvise (p, n, MADV_DONTDUMP);
  return p;
}

int
secret_new (const uint8_t bytes[32], struct secret **out)
{
  struct secret *s = secret_map ();
  if (!s)
    return ERR_NOMEM;
  memcpy (s->bytes, bytes, sizeof s->bytes);
  *out = s;
  return 0;
}

int
secret_random (struct secret **out)
{
  struct secret *s = secret_map ();
  if (!s)
    return ERR_NOMEM;
  random_bytes (s->bytes, sizeof s->bytes);
  *out = s;
  return 0;
}

const uint8_t *
secret_bytes (const struct secret *s)
{
  return s->bytes;
}

void
secret_free (struct secret *s)
{
  if (!s)
    return;
  size_t n = page_len ();
  explicit_bzero (s, n);
  munmap (s, n);
}
