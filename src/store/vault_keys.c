/* SPDX-License-Identifier: Apache-2.0 */
/* One vault's keys.  What is used per chunk is kept as MAC states, not as bytes; K_vault stays for
 * generations other than the present one, which are rare and derived anew each time. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "keys"
#include "base/log.h"
#include "store/keys_priv.h"

struct vault_keys {
  char name[64];
  uint8_t store_id[STORE_ID_LEN];
  struct secret *vault, *chunker;
  struct hmac_key ids, mids, data, meta; /* the last two of GENERATION */
};

int
derive_key (const struct secret *key, const uint8_t store_id[STORE_ID_LEN], const char *label,
            struct secret **out)
{
  uint8_t bytes[KEY_LEN];
  int rc = hkdf_sha256 (store_id, STORE_ID_LEN, secret_bytes (key), KEY_LEN, label, strlen (label),
                        bytes, sizeof bytes);
  if (rc == 0)
    rc = secret_new (bytes, out);
  explicit_bzero (bytes, sizeof bytes);
  return rc;
}

static int
derive_mac (const struct vault_keys *v, const char *label, struct hmac_key *out)
{
  uint8_t bytes[KEY_LEN];
  int rc = hkdf_sha256 (v->store_id, STORE_ID_LEN, secret_bytes (v->vault), KEY_LEN, label,
                        strlen (label), bytes, sizeof bytes);
  if (rc == 0)
    rc = hmac_key_init (out, bytes, sizeof bytes);
  explicit_bzero (bytes, sizeof bytes);
  return rc;
}

static int
derive_generation (const struct vault_keys *v, bool is_data, uint32_t generation,
                   struct hmac_key *out)
{
  char label[48];
  snprintf (label, sizeof label, "coffer v1 %s %u", is_data ? "data" : "meta", generation);
  return derive_mac (v, label, out);
}

/* K_vault for VAULT: derived from the master key, or the keyring's own. */
static int
vault_secret (const struct keyring *k, const char *vault, struct secret **out)
{
  char label[128];
  if (strcmp (k->scope, SCOPE_MASTER) == 0) {
    snprintf (label, sizeof label, "coffer v1 vault %s", vault);
    return derive_key (k->key, k->sb.store_id, label, out);
  }
  snprintf (label, sizeof label, SCOPE_VAULT "%s", vault);
  if (strcmp (k->scope, label) == 0)
    return secret_new (secret_bytes (k->key), out);
  log_err ("this key opens another vault only: use the master key, or a key made for this vault "
           "with coffer key add vault=%s scope=%s slot=%s",
           vault, k->scope, k->slot);
  return ERR_DENIED;
}

int
vault_keys_new (const struct keyring *k, const char *vault, struct vault_keys **out)
{
  AUTO (vault_keys) v = calloc (1, sizeof *v);
  if (!v)
    return ERR_NOMEM;
  if (!*vault || strlen (vault) >= sizeof v->name)
    return ERR_INVALID;
  memcpy (v->name, vault, strlen (vault) + 1);
  memcpy (v->store_id, k->sb.store_id, STORE_ID_LEN);
  int rc = vault_secret (k, vault, &v->vault);
  if (rc == 0)
    rc = derive_key (v->vault, v->store_id, "coffer v1 chunker", &v->chunker);
  if (rc == 0)
    rc = derive_mac (v, "coffer v1 ids", &v->ids);
  if (rc == 0)
    rc = derive_mac (v, "coffer v1 meta ids", &v->mids);
  if (rc == 0)
    rc = derive_generation (v, true, GENERATION, &v->data);
  if (rc == 0)
    rc = derive_generation (v, false, GENERATION, &v->meta);
  if (rc == 0)
    *out = STEAL (v);
  return rc;
}

void
vault_keys_free (struct vault_keys *v)
{
  if (!v)
    return;
  hmac_key_release (&v->ids);
  hmac_key_release (&v->mids);
  hmac_key_release (&v->data);
  hmac_key_release (&v->meta);
  secret_free (v->vault);
  secret_free (v->chunker);
  free (v);
}

const char *
vault_keys_name (const struct vault_keys *v)
{
  return v->name;
}

const uint8_t *
vault_keys_store_id (const struct vault_keys *v)
{
  return v->store_id;
}

const uint8_t *
vault_keys_chunker (const struct vault_keys *v)
{
  return secret_bytes (v->chunker);
}

const struct hmac_key *
vault_keys_ids (const struct vault_keys *v)
{
  return &v->ids;
}

const struct hmac_key *
vault_keys_mids (const struct vault_keys *v)
{
  return &v->mids;
}

int
vault_keys_unit_key (const struct vault_keys *v, int type, uint32_t generation, EVP_MD_CTX *work,
                     const uint8_t id[ID_LEN], uint8_t out[KEY_LEN])
{
  bool is_data = type == UNIT_DATA;
  struct iovec part = { (void *) (uintptr_t) id, ID_LEN };
  if (generation == GENERATION)
    return hmac_run (is_data ? &v->data : &v->meta, work, &part, 1, out);
  struct hmac_key old;
  int rc = derive_generation (v, is_data, generation, &old);
  if (rc < 0)
    return rc;
  rc = hmac_run (&old, work, &part, 1, out);
  hmac_key_release (&old);
  return rc;
}
