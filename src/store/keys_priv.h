/* SPDX-License-Identifier: Apache-2.0 */
/* What keys.c, slots.c, vault_keys.c and seal.c share; nobody else includes it. */
#ifndef COFFER_STORE_KEYS_PRIV_H
#define COFFER_STORE_KEYS_PRIV_H

#include "store/hmac.h"
#include "store/keys.h"

#define KEY_LEN 32
#define SCOPE_MASTER "master"
#define SCOPE_VAULT "vault:"
#define GENERATION 1 /* the one new units are sealed under; readers take any */

struct keyring {
  struct superblock sb;
  struct secret *cfg; /* K_cfg */
  struct secret *key; /* master, or K_vault of the scope */
  char scope[96];
  char slot[17];
};

/* HKDF-SHA-256 of KEY, salted with the store id, for LABEL. */
int derive_key (const struct secret *key, const uint8_t store_id[STORE_ID_LEN], const char *label,
                struct secret **out) WARN_UNUSED;

/* The keys as the sealer uses them.  Immutable: any thread may MAC with them. */
const struct hmac_key *vault_keys_ids (const struct vault_keys *v);
const struct hmac_key *vault_keys_mids (const struct vault_keys *v);
/* HMAC under K_data[generation] or K_meta[generation], whichever TYPE is sealed with. */
int vault_keys_unit_key (const struct vault_keys *v, int type, uint32_t generation,
                         EVP_MD_CTX *work, const uint8_t id[ID_LEN],
                         uint8_t out[KEY_LEN]) WARN_UNUSED;

#endif
