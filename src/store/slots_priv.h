/* SPDX-License-Identifier: Apache-2.0 */
/* What keys.c, slots.c and key_file.c share: the secrets a person or a file gives, and slots in the
 * store. */
#ifndef COFFER_STORE_SLOTS_PRIV_H
#define COFFER_STORE_SLOTS_PRIV_H

#include "store/keys_priv.h"

#define SLOT_PREFIX "keys/"
#define PASSPHRASE_MAX 1024

struct passphrase;
/* The loaded form of a struct unlock. */
struct credentials {
  struct secret *key;            /* of a key file, or NULL */
  struct passphrase *passphrase; /* or NULL */
};
/* ERR_INVALID if U names neither. */
int credentials_load (const struct unlock *u, struct credentials *out) WARN_UNUSED;
void credentials_release (struct credentials *c);
const uint8_t *passphrase_bytes (const struct passphrase *p, size_t *n);

/* Wraps CFG and KEY for SCOPE under whichever credential C has (a key file before a passphrase). */
int slot_wrap (const struct credentials *c, const char *scope, const char *label,
               const struct secret *cfg, const struct secret *key,
               struct key_slot *out) WARN_UNUSED;
/* ERR_AUTH: not this slot's key.  ERR_FORMAT: its key, and yet the payload does not open. */
int slot_unwrap (const struct credentials *c, const struct key_slot *s, struct secret **cfg,
                 struct secret **key) WARN_UNUSED;
/* Puts S under a fresh id. */
int slot_put (struct blob *b, const struct key_slot *s, char slot_id[17]) WARN_UNUSED;

/* The clock's time as ISO 8601 in UTC. */
void time_text (char out[40]);

#endif
