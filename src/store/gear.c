/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/buf.h"
#include "store/chunker.h"
#include "store/hmac.h"

/* doc/format/chunking.md: HKDF-Expand of the key, 64 blocks, read as 256 little-endian words. */
int
gear_init (struct gear *g, const uint8_t key[32])
{
  static const char info[] = "coffer v1 gear";
  uint8_t raw[sizeof g->table];
  int rc = hkdf_expand (key, info, sizeof info - 1, raw, sizeof raw);
  for (size_t i = 0; i < 256 && rc == 0; i++)
    g->table[i] = get_le64 (raw + 8 * i);
  explicit_bzero (raw, sizeof raw);
  return rc;
}
