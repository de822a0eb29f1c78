/* SPDX-License-Identifier: Apache-2.0 */
/* Making and opening a store: the superblock, and the keyring that a slot holds. */
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "keys"
#include "base/log.h"
#include "store/seal.h"
#include "store/slots_priv.h"

#include <openssl/crypto.h>


void
keyring_free (struct keyring *k)
{
  if (!k)
    return;
  secret_free (k->cfg);
  secret_free (k->key);
  free (k);
}

const uint8_t *
keyring_store_id (const struct keyring *k)
{
  return k->sb.store_id;
}

int
keyring_format (const struct keyring *k)
{
  return k->sb.format;
}

const struct superblock *
keyring_superblock (const struct keyring *k)
{
  return &k->sb;
}

const char *
keyring_scope (const struct keyring *k)
{
  return k->scope;
}

const char *
keyring_slot (const struct keyring *k)
{
  return k->slot;
}

static int
superblock_mac (const struct superblock *sb, const struct secret *cfg, uint8_t out[HMAC_LEN])
{
  AUTO_BUF covered;
  buf_init (&covered, SUPERBLOCK_MAX_BYTES);
  int rc = superblock_encode (sb, true, &covered);
  if (rc < 0)
    return rc;
  struct iovec part = { covered.data, covered.len };
  return hmac_once (secret_bytes (cfg), KEY_LEN, &part, 1, out);
}

/* --- making a store --- */

static int
stop_at_first (void *ctx, const struct blob_entry *entry)
{
  (void) ctx;
  (void) entry;
  return ERR_EXISTS;
}

/* Nothing of a store may be here. */
static int
check_vacant (struct blob *b)
{
  struct blob_info info;
  int rc = blob_head (b, SUPERBLOCK_KEY, &info);
  if (rc == 0) {
    log_err ("there is a store here already: mount it, or choose another place "
             "key=" SUPERBLOCK_KEY);
    return ERR_EXISTS;
  }
  if (rc == ERR_MISSING)
    rc = blob_list (b, "vaults/", "", false, stop_at_first, NULL);
  if (rc == ERR_EXISTS)
    log_err ("there are vaults of a store here whose " SUPERBLOCK_KEY " is gone: put that back, or "
             "choose another place key=vaults/");
  else if (rc < 0)
    log_err ("cannot look into the store key=" SUPERBLOCK_KEY " err=\"%s\"", err_str (rc));
  return rc;
}

/* Fresh keys and superblock, in memory only. */
static int
make_keyring (struct keyring *k)
{
  memcpy (k->scope, SCOPE_MASTER, sizeof SCOPE_MASTER);
  k->sb.format = FORMAT_VERSION;
  random_bytes (k->sb.store_id, STORE_ID_LEN);
  time_text (k->sb.created);
  int rc = secret_random (&k->key);
  if (rc == 0)
    rc = derive_key (k->key, k->sb.store_id, "coffer v1 config", &k->cfg);
  return rc < 0 ? rc : superblock_mac (&k->sb, k->cfg, k->sb.mac);
}

/* Whether the superblock in the store has these bytes. */
static bool
is_there (struct blob *b, const struct buf *json)
{
  AUTO_BUF now;
  buf_init (&now, SUPERBLOCK_MAX_BYTES);
  return blob_get_all (b, SUPERBLOCK_KEY, &now) == 0 && now.len == json->len
         && memcmp (now.data, json->data, now.len) == 0;
}

static int
superblock_put (struct blob *b, const struct superblock *sb)
{
  AUTO_BUF json;
  buf_init (&json, SUPERBLOCK_MAX_BYTES);
  int rc = superblock_encode (sb, false, &json);
  if (rc < 0)
    return rc;
  rc = blob_put (b, SUPERBLOCK_KEY, json.data, json.len,
                 &(struct blob_put_opts){ .if_absent = true });
  if (rc == ERR_EXISTS && is_there (b, &json))
    return 0; /* the reply to an attempt that had succeeded was lost */
  if (rc < 0)
    log_err ("cannot write the superblock, no store was made key=" SUPERBLOCK_KEY " err=\"%s\"",
             err_str (rc));
  return rc;
}

/* Somebody else made a store here at the same moment: our slot opens nothing.  After any other
 * failure it stays, since the superblock may have been written although the answer was an error. */
static void
remove_slot (struct blob *b, const char *slot)
{
  char name[32];
  snprintf (name, sizeof name, SLOT_PREFIX "%s", slot);
  const char *names[] = { name };
  if (blob_delete (b, names, 1) < 0)
    log_warn ("a key slot that opens nothing was left, it does no harm key=%s", name);
}

int
store_init (struct blob *b, const struct unlock *u, const char *label, struct keyring **out)
{
  AUTO (keyring) k = calloc (1, sizeof *k);
  struct credentials c;
  struct key_slot s;
  int rc = k ? check_vacant (b) : ERR_NOMEM;
  if (rc == 0)
    rc = credentials_load (u, &c);
  if (rc < 0)
    return rc;
  rc = make_keyring (k);
  if (rc == 0)
    rc = slot_wrap (&c, k->scope, label ? label : "", k->cfg, k->key, &s);
  credentials_release (&c);
  if (rc == 0)
    rc = slot_put (b, &s, k->slot);
  if (rc < 0)
    return rc;
  rc = superblock_put (b, &k->sb);
  if (rc == 0)
    *out = STEAL (k);
  else if (rc == ERR_EXISTS)
    remove_slot (b, k->slot);
  return rc;
}

/* --- opening a store --- */

static int
superblock_load (struct blob *b, struct superblock *out)
{
  AUTO_BUF json;
  buf_init (&json, SUPERBLOCK_MAX_BYTES);
  int rc = blob_get_all (b, SUPERBLOCK_KEY, &json);
  if (rc == ERR_MISSING) {
    log_err ("there is no coffer store here: check the place, or make one with coffer init "
             "key=" SUPERBLOCK_KEY);
    return rc;
  }
  if (rc < 0 && rc != ERR_LIMIT) {
    log_err ("cannot read the superblock key=" SUPERBLOCK_KEY " err=\"%s\"", err_str (rc));
    return rc;
  }
  rc = rc == ERR_LIMIT ? ERR_FORMAT : superblock_decode (json.data, json.len, out);
  if (rc == ERR_VERSION)
    log_err ("this store has a newer format, a newer coffer is needed key=" SUPERBLOCK_KEY
             " known=%d",
             FORMAT_VERSION);
  else if (rc < 0)
    log_err ("this is not a coffer superblock, or it is damaged: nothing was done "
             "key=" SUPERBLOCK_KEY " err=\"%s\"",
             err_str (rc));
  return rc;
}

/* Version 1 knows no features: whatever a store asks for is of a newer coffer. */
static int
check_features (const struct superblock *sb)
{
  if (sb->read_count == 0 && sb->write_count == 0)
    return 0;
  log_err ("this store needs a feature that this coffer does not have, a newer one is needed "
           "feature=%s",
           sb->read_count ? sb->read[0] : sb->write[0]);
  return ERR_VERSION;
}

/* 0 if this slot gives the keys of this very superblock. */
static int
try_slot (const struct credentials *c, const struct slot_info *slot, struct keyring *k)
{
  AUTO (secret) cfg = NULL;
  AUTO (secret) key = NULL;
  uint8_t mac[HMAC_LEN];
  int rc = slot_unwrap (c, &slot->slot, &cfg, &key);
  if (rc == ERR_FORMAT || rc == ERR_VERSION)
    log_warn ("the key fits this slot, but what it holds is damaged or newer slot=%s err=\"%s\"",
              slot->id, err_str (rc));
  if (rc < 0)
    return rc;
  rc = superblock_mac (&k->sb, cfg, mac);
  if (rc == 0 && CRYPTO_memcmp (mac, k->sb.mac, sizeof mac) != 0)
    rc = ERR_FORMAT;
  if (rc < 0)
    return rc;
  k->cfg = STEAL (cfg);
  k->key = STEAL (key);
  memcpy (k->scope, slot->slot.scope, sizeof k->scope);
  memcpy (k->slot, slot->id, sizeof k->slot);
  return 0;
}

/* Tries all slots; ERR_AUTH if the key fits none, ERR_FORMAT if it fits only such as belong to
 * another superblock than the one that is there. */
static int
unlock_any (struct blob *b, const struct credentials *c, struct keyring *k)
{
  AUTO_MEM struct slot_info *slots = NULL;
  size_t n = 0;
  int rc = slot_list (b, &slots, &n), worst = ERR_AUTH;
  if (rc < 0)
    return rc;
  if (n == 0) {
    log_err ("the store has no usable key slot: its keys/ were removed or damaged, put them back "
             "from a copy of the store prefix=" SLOT_PREFIX);
    return ERR_FORMAT;
  }
  for (size_t i = 0; i < n; i++) {
    rc = try_slot (c, &slots[i], k);
    if (rc == 0 || rc == ERR_NOMEM)
      return rc;
    if (rc != ERR_AUTH)
      worst = rc;
  }
  if (worst == ERR_AUTH)
    log_err ("this key or passphrase opens none of the key slots: check that it belongs to this "
             "store; nothing was written slots=%zu",
             n);
  else
    log_err ("the superblock or the key slot was altered, refusing to use the store: compare it "
             "with a copy key=" SUPERBLOCK_KEY " err=\"%s\"",
             err_str (worst));
  return worst;
}

int
store_open (struct blob *b, const struct unlock *u, struct keyring **out)
{
  AUTO (keyring) k = calloc (1, sizeof *k);
  struct credentials c;
  int rc = k ? credentials_load (u, &c) : ERR_NOMEM;
  if (rc < 0)
    return rc;
  rc = superblock_load (b, &k->sb);
  if (rc == 0)
    rc = unlock_any (b, &c, k);
  credentials_release (&c);
  if (rc == 0)
    rc = check_features (&k->sb);
  if (rc == 0)
    *out = STEAL (k);
  return rc;
}
