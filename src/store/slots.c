/* SPDX-License-Identifier: Apache-2.0 */
/* Key slots (doc/format/keys.md): wrapping, unwrapping, and the objects under keys/. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_MODULE "keys"
#include "base/clock.h"
#include "base/log.h"
#include "store/seal.h"
#include "store/slots_priv.h"

#include <openssl/crypto.h>

#define SCRYPT_N 131072 /* 128 MiB and about 0.4 s for each guess */
#define SCRYPT_R 8
#define SCRYPT_P 1
#define PAYLOAD_PLAIN_LEN (1 + 2 * KEY_LEN)
#define SLOTS_MAX 10000

/* KEK and K_commit. */
struct slot_keys {
  uint8_t kek[KEY_LEN], commit[KEY_LEN];
};

static int
derive_scrypt (const struct passphrase *p, const struct key_slot *s, struct slot_keys *out)
{
  size_t n;
  const uint8_t *bytes = passphrase_bytes (p, &n);
  /* What scrypt needs, and a little: libcrypto refuses to take more than it is allowed. */
  uint64_t memory = 128 * (uint64_t) s->r * (s->n + s->p + 2) + (1u << 20);
  if (!EVP_PBE_scrypt ((const char *) bytes, n, s->salt, sizeof s->salt, s->n, s->r, s->p, memory,
                       (uint8_t *) out, sizeof *out))
    return ERR_NOMEM;
  return 0;
}

/* ERR_AUTH where C has no credential of the slot's type. */
static int
derive_slot_keys (const struct credentials *c, const struct key_slot *s, struct slot_keys *out)
{
  static const char info[] = "coffer v1 slot";
  if (s->type == SLOT_SCRYPT)
    return c->passphrase ? derive_scrypt (c->passphrase, s, out) : ERR_AUTH;
  if (!c->key)
    return ERR_AUTH;
  return hkdf_sha256 (s->salt, sizeof s->salt, secret_bytes (c->key), KEY_LEN, info,
                      sizeof info - 1, (uint8_t *) out, sizeof *out);
}

static int
commit_of (const struct slot_keys *keys, const struct key_slot *s, uint8_t out[HMAC_LEN])
{
  AUTO_BUF covered;
  buf_init (&covered, SLOT_MAX_BYTES);
  int rc = key_slot_encode (s, true, &covered);
  if (rc < 0)
    return rc;
  struct iovec part = { covered.data, covered.len };
  return hmac_once (keys->commit, KEY_LEN, &part, 1, out);
}

/* AES-256-GCM of the payload in place between nonce and tag; the scope is bound to it. */
static int
crypt_payload (const struct slot_keys *keys, const char *scope, uint8_t *payload, const uint8_t *in,
               uint8_t *out, bool is_seal)
{
  char ad[128];
  int got, ad_len = snprintf (ad, sizeof ad, "coffer v1 slot %s", scope);
  uint8_t *tag = payload + NONCE_LEN + PAYLOAD_PLAIN_LEN, none[16];
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new ();
  if (!c)
    return ERR_NOMEM;
  int rc = 0;
  if (!EVP_CipherInit_ex (c, EVP_aes_256_gcm (), NULL, keys->kek, payload, is_seal)
      || !EVP_CipherUpdate (c, NULL, &got, (const uint8_t *) ad, ad_len)
      || !EVP_CipherUpdate (c, out, &got, in, PAYLOAD_PLAIN_LEN)
      || (!is_seal && !EVP_CIPHER_CTX_ctrl (c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag)))
    rc = ERR_NOMEM;
  else if (!EVP_CipherFinal_ex (c, none, &got))
    rc = ERR_FORMAT;
  else if (is_seal && !EVP_CIPHER_CTX_ctrl (c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag))
    rc = ERR_NOMEM;
  EVP_CIPHER_CTX_free (c);
  return rc;
}

void
time_text (char out[40])
{
  time_t now = (time_t) (clock_wall () / NS_PER_S);
  struct tm tm;
  gmtime_r (&now, &tm);
  strftime (out, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int
slot_wrap (const struct credentials *c, const char *scope, const char *label,
           const struct secret *cfg, const struct secret *key, struct key_slot *out)
{
  struct key_slot s = { .version = 1, .type = c->key ? SLOT_KEYFILE : SLOT_SCRYPT };
  if (s.type == SLOT_SCRYPT) {
    s.n = SCRYPT_N;
    s.r = SCRYPT_R;
    s.p = SCRYPT_P;
  }
  if (strlen (scope) >= sizeof s.scope || strlen (label) >= sizeof s.label)
    return ERR_INVALID;
  memcpy (s.scope, scope, strlen (scope) + 1);
  memcpy (s.label, label, strlen (label) + 1);
  time_text (s.created);
  random_bytes (s.salt, sizeof s.salt);
  random_bytes (s.payload, NONCE_LEN);
  struct slot_keys keys;
  int rc = derive_slot_keys (c, &s, &keys);
  if (rc == 0) {
    uint8_t plain[PAYLOAD_PLAIN_LEN] = { 1 };
    memcpy (plain + 1, secret_bytes (cfg), KEY_LEN);
    memcpy (plain + 1 + KEY_LEN, secret_bytes (key), KEY_LEN);
    rc = crypt_payload (&keys, s.scope, s.payload, plain, s.payload + NONCE_LEN, true);
    explicit_bzero (plain, sizeof plain);
  }
  if (rc == 0)
    rc = commit_of (&keys, &s, s.commit);
  explicit_bzero (&keys, sizeof keys);
  if (rc == 0)
    *out = s;
  return rc;
}

static int
take_payload (const uint8_t plain[PAYLOAD_PLAIN_LEN], struct secret **cfg, struct secret **key)
{
  AUTO (secret) a = NULL;
  if (plain[0] != 1)
    return ERR_VERSION;
  int rc = secret_new (plain + 1, &a);
  if (rc == 0)
    rc = secret_new (plain + 1 + KEY_LEN, key);
  if (rc == 0)
    *cfg = STEAL (a);
  return rc;
}

int
slot_unwrap (const struct credentials *c, const struct key_slot *s, struct secret **cfg,
             struct secret **key)
{
  struct slot_keys keys;
  uint8_t commit[HMAC_LEN], plain[PAYLOAD_PLAIN_LEN];
  struct key_slot copy = *s;
  int rc = derive_slot_keys (c, s, &keys);
  if (rc == 0)
    rc = commit_of (&keys, s, commit);
  if (rc == 0 && CRYPTO_memcmp (commit, s->commit, sizeof commit) != 0)
    rc = ERR_AUTH;
  if (rc == 0)
    rc = crypt_payload (&keys, s->scope, copy.payload, copy.payload + NONCE_LEN, plain, false);
  if (rc == 0)
    rc = take_payload (plain, cfg, key);
  explicit_bzero (&keys, sizeof keys);
  explicit_bzero (plain, sizeof plain);
  return rc;
}

int
slot_put (struct blob *b, const struct key_slot *s, char slot_id[17])
{
  uint8_t id[8];
  char hex[17], name[32];
  AUTO_BUF json;
  buf_init (&json, SLOT_MAX_BYTES);
  random_bytes (id, sizeof id);
  hex_encode (id, sizeof id, hex);
  snprintf (name, sizeof name, SLOT_PREFIX "%s", hex);
  int rc = key_slot_encode (s, false, &json);
  if (rc == 0)
    rc = blob_put (b, name, json.data, json.len, &(struct blob_put_opts){ .if_absent = true });
  if (rc < 0)
    log_err ("cannot write the key slot key=%s err=\"%s\"", name, err_str (rc));
  else
    memcpy (slot_id, hex, sizeof hex);
  return rc;
}

/* --- the slots of a store --- */

struct slot_ids {
  char (*ids)[17];
  size_t count, cap;
};

static bool
slot_id_is_valid (const char *id)
{
  return strlen (id) == 16 && strspn (id, "0123456789abcdef") == 16;
}

static int
add_id (void *ctx, const struct blob_entry *entry)
{
  struct slot_ids *l = ctx;
  const char *id = entry->key + strlen (SLOT_PREFIX);
  if (!slot_id_is_valid (id)) {
    log_warn ("not a key slot, ignored key=%s", entry->key);
    return 0;
  }
  if (l->count == SLOTS_MAX)
    return ERR_LIMIT;
  if (l->count == l->cap) {
    size_t cap = l->cap ? 2 * l->cap : 16;
    void *p = realloc (l->ids, cap * sizeof *l->ids);
    if (!p)
      return ERR_NOMEM;
    l->ids = p;
    l->cap = cap;
  }
  memcpy (l->ids[l->count++], id, 17);
  return 0;
}

/* The slot under ID; ERR_MISSING if it has just been removed. */
static int
slot_get (struct blob *b, const char *id, struct key_slot *out)
{
  char name[32];
  AUTO_BUF json;
  buf_init (&json, SLOT_MAX_BYTES);
  snprintf (name, sizeof name, SLOT_PREFIX "%s", id);
  int rc = blob_get_all (b, name, &json);
  if (rc == ERR_LIMIT)
    rc = ERR_FORMAT;
  if (rc == 0)
    rc = key_slot_decode (json.data, json.len, out);
  if (rc == ERR_FORMAT || rc == ERR_VERSION)
    log_warn ("key slot ignored: %s key=%s", err_str (rc), name);
  return rc;
}

int
slot_list (struct blob *b, struct slot_info **out, size_t *n)
{
  struct slot_ids l = { 0 };
  size_t count = 0;
  int rc = blob_list (b, SLOT_PREFIX, "", false, add_id, &l);
  AUTO_MEM char (*ids)[17] = l.ids;
  AUTO_MEM struct slot_info *slots = calloc (l.count ? l.count : 1, sizeof *slots);
  if (rc < 0) {
    log_err ("cannot list the key slots prefix=" SLOT_PREFIX " err=\"%s\"", err_str (rc));
    return rc;
  }
  if (!slots)
    return ERR_NOMEM;
  for (size_t i = 0; i < l.count; i++) {
    rc = slot_get (b, ids[i], &slots[count].slot);
    if (rc == 0)
      memcpy (slots[count++].id, ids[i], 17);
    else if (rc != ERR_FORMAT && rc != ERR_VERSION && rc != ERR_MISSING)
      return rc;
  }
  *out = STEAL (slots);
  *n = count;
  return 0;
}

/* What a slot of SCOPE holds: the keyring's own key, or a vault's, derived from the master key. */
static int
key_for_scope (const struct keyring *k, const char *scope, struct secret **out)
{
  char label[128];
  if (strcmp (scope, k->scope) == 0)
    return secret_new (secret_bytes (k->key), out);
  if (strcmp (k->scope, SCOPE_MASTER) == 0 && strncmp (scope, SCOPE_VAULT, 6) == 0) {
    snprintf (label, sizeof label, "coffer v1 vault %s", scope + 6);
    return derive_key (k->key, k->sb.store_id, label, out);
  }
  log_err ("this key cannot make a slot of that scope: unlock with the master key scope=%s own=%s",
           scope, k->scope);
  return ERR_DENIED;
}

static int
add_with (struct blob *b, const struct keyring *k, const struct credentials *c, const char *label,
          const char *scope, char slot_id[17])
{
  AUTO (secret) key = NULL;
  struct key_slot s;
  if (!scope)
    scope = k->scope;
  int rc = key_for_scope (k, scope, &key);
  if (rc == 0)
    rc = slot_wrap (c, scope, label ? label : "", k->cfg, key, &s);
  if (rc == ERR_INVALID)
    log_err ("scope is master or vault:NAME, a label has at most 64 bytes scope=%s", scope);
  return rc < 0 ? rc : slot_put (b, &s, slot_id);
}

int
slot_add (struct blob *b, const struct keyring *k, const struct unlock *u, const char *label,
          const char *scope, char slot_id[17])
{
  struct credentials c;
  int rc = credentials_load (u, &c);
  if (rc < 0)
    return rc;
  rc = add_with (b, k, &c, label, scope, slot_id);
  credentials_release (&c);
  return rc;
}

int
slot_add_paper (struct blob *b, const struct keyring *k, const char *label, char out[80],
                char slot_id[17])
{
  struct credentials c = { 0 };
  int rc = secret_random (&c.key);
  if (rc == 0)
    rc = add_with (b, k, &c, label, NULL, slot_id);
  if (rc == 0) {
    uint8_t sum[32];
    sha256_once (secret_bytes (c.key), KEY_LEN, sum);
    paper_key_encode (secret_bytes (c.key), sum, out);
  }
  credentials_release (&c);
  return rc;
}

int
slot_remove (struct blob *b, const struct keyring *k, const char *slot_id)
{
  AUTO_MEM struct slot_info *slots = NULL;
  size_t n = 0, masters = 0;
  const struct slot_info *found = NULL;
  int rc = slot_list (b, &slots, &n);
  if (rc < 0)
    return rc;
  for (size_t i = 0; i < n; i++) {
    masters += strcmp (slots[i].slot.scope, SCOPE_MASTER) == 0;
    if (strcmp (slots[i].id, slot_id) == 0)
      found = &slots[i];
  }
  if (!found) {
    log_err ("no such key slot: coffer key list shows them slot=%s", slot_id);
    return ERR_MISSING;
  }
  if (masters == 1 && strcmp (found->slot.scope, SCOPE_MASTER) == 0) {
    log_err ("this is the last slot with the master key, without it the store cannot be opened: "
             "add another one first slot=%s",
             slot_id);
    return ERR_STATE;
  }
  char name[32];
  snprintf (name, sizeof name, SLOT_PREFIX "%s", slot_id);
  const char *names[] = { name };
  rc = blob_delete (b, names, 1);
  if (rc < 0)
    log_err ("cannot remove the key slot key=%s err=\"%s\"", name, err_str (rc));
  return rc;
}
