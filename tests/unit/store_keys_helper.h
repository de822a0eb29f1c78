/* SPDX-License-Identifier: Apache-2.0 */
/* A fixed key hierarchy for the tests of src/store: master key 00 01 .. 1f, store id 00 .. 0f. */
#ifndef COFFER_TESTS_STORE_KEYS_HELPER_H
#define COFFER_TESTS_STORE_KEYS_HELPER_H

#include <stdlib.h>
#include <string.h>

#include "store/keys_priv.h"

static inline struct vault_keys *
fixed_vault_keys (const char *vault)
{
  uint8_t bytes[32];
  for (int i = 0; i < 32; i++)
    bytes[i] = (uint8_t) i;
  struct keyring k = { .scope = SCOPE_MASTER, .slot = "0011223344556677" };
  memcpy (k.sb.store_id, bytes, STORE_ID_LEN);
  struct vault_keys *v = NULL;
  if (secret_new (bytes, &k.key) < 0 || vault_keys_new (&k, vault, &v) < 0)
    abort ();
  secret_free (k.key);
  return v;
}

#endif
