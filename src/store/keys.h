/* SPDX-License-Identifier: Apache-2.0 */
/* keys - the key hierarchy of a store (doc/format/README.md), its slots, and where keys live in
 * memory.
 *
 * Key material lives only in `struct secret` (one page-aligned, mlocked where allowed,
 * MADV_DONTDUMP allocation, wiped when freed) and, inside OpenSSL, in contexts made from it.
 * Nothing here logs a key.
 *
 * Threads: a keyring is immutable after it was opened; vault_keys are counted by their owner. */
#ifndef COFFER_STORE_KEYS_H
#define COFFER_STORE_KEYS_H

#include "base/cleanup.h"
#include "blob/blob.h"
#include "format/config_objects.h"
#include "format/format.h"

struct secret; /* 32 bytes of key material */
/* copies; caller wipes its own */
int secret_new (const uint8_t bytes[32], struct secret **out) WARN_UNUSED;
int secret_random (struct secret **out) WARN_UNUSED;
const uint8_t *secret_bytes (const struct secret *s);
void secret_free (struct secret *s);
DEFINE_FREEP (secret);

/* What unlocks a slot: a key file (also with a paper key's text in it), or a passphrase file. */
struct unlock {
  const char *key_file;        /* path or NULL */
  const char *passphrase_file; /* path, "-" for standard input, or NULL; one newline at the end is
                                * not part of it.  Refused like a key file where others may read it.
                                * */
};
/* Reads a key file; refuses one that others can read (mode & 077: ERR_DENIED, logged with the
 * fix). */
int key_file_load (const char *path, struct secret **out) WARN_UNUSED;
/* Writes a new one, mode 0600, never over an existing file (ERR_EXISTS). */
int key_file_save (const char *path, const struct secret *s, const char *comment) WARN_UNUSED;

#define SUPERBLOCK_KEY "coffer.json"

struct keyring; /* K_cfg, and the master key or one vault's key */
void keyring_free (struct keyring *k);
DEFINE_FREEP (keyring);

/* Makes a store: one slot, then the superblock, both with if_absent.  Nothing is overwritten:
 * anything under coffer.json, or under vaults/ (a store that lost its superblock), is ERR_EXISTS.
 * What a failure leaves is at most a slot that opens nothing. */
int store_init (struct blob *b, const struct unlock *u, const char *label,
                struct keyring **out) WARN_UNUSED;
/* Opens a store, without writing to it: ERR_MISSING (no coffer.json here: not a store), ERR_FORMAT
 * (not coffer's, or altered), ERR_VERSION (a newer format or an unknown feature), ERR_AUTH (no slot
 * opens with this key), ERR_DENIED, ERR_MISSING, ERR_FORMAT (the key file itself).  Key file and
 * passphrase are both tried where both are given. */
int store_open (struct blob *b, const struct unlock *u, struct keyring **out) WARN_UNUSED;

const uint8_t *keyring_store_id (const struct keyring *k); /* STORE_ID_LEN bytes */
int keyring_format (const struct keyring *k);
const struct superblock *keyring_superblock (const struct keyring *k); /* authentic */
/* "master" or "vault:<db>". */
const char *keyring_scope (const struct keyring *k);
/* The id of the slot that opened this keyring. */
const char *keyring_slot (const struct keyring *k);

/* Slots.  SLOT_ID is 16 hex digits. */
/* SCOPE NULL: the keyring's own.  ERR_DENIED: a scope that this keyring does not hold. */
int slot_add (struct blob *b, const struct keyring *k, const struct unlock *u, const char *label,
              const char *scope, char slot_id[17]) WARN_UNUSED;
/* Makes a slot for a fresh secret and prints nothing: OUT gets the paper text. */
int slot_add_paper (struct blob *b, const struct keyring *k, const char *label, char out[80],
                    char slot_id[17]) WARN_UNUSED;
/* Refuses the last slot with scope master (ERR_STATE).  ERR_MISSING: no such slot. */
int slot_remove (struct blob *b, const struct keyring *k, const char *slot_id) WARN_UNUSED;
/* Slots in order of their ids; damaged ones are left out (logged). */
struct slot_info {
  char id[17];
  struct key_slot slot; /* payload and commit are of no use to the caller */
};
int slot_list (struct blob *b, struct slot_info **out, size_t *n) WARN_UNUSED; /* free(*out) */

/* One vault's keys, generation G current. */
struct vault_keys;
/* ERR_DENIED: other scope */
int vault_keys_new (const struct keyring *k, const char *vault,
                    struct vault_keys **out) WARN_UNUSED;
void vault_keys_free (struct vault_keys *v);
DEFINE_FREEP (vault_keys);
const char *vault_keys_name (const struct vault_keys *v);
const uint8_t *vault_keys_store_id (const struct vault_keys *v);
/* 32 bytes for deriving the chunker's gear table. */
const uint8_t *vault_keys_chunker (const struct vault_keys *v);

#endif
