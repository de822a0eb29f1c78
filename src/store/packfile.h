/* SPDX-License-Identifier: Apache-2.0 */
/* packfile - a whole pack in a store: its table, and whether it is what it should be.  For tools
 * (check, repair, the collector); reading files goes through store/reader.h.
 *
 * Threads: any, each with a sealer of its own.  May wait for the network. */
#ifndef COFFER_STORE_PACKFILE_H
#define COFFER_STORE_PACKFILE_H

#include "blob/blob.h"
#include "format/pack.h"
#include "store/keys.h"
#include "store/seal.h"

/* KEY of pack NAME below PREFIX ("vaults/<db>/packs/"). */
void packfile_key (const char *prefix, const uint8_t name[PACK_NAME_LEN],
                   char out[BLOB_KEY_MAX + 1]);
/* The name at the end of KEY; false if that is not one. */
bool packfile_name (const char *key, uint8_t out[PACK_NAME_LEN]);

/* The opened table of the pack under KEY, in the order of offsets: *out by malloc, *n entries.  Two
 * or three GETs.  SIZE 0: not known, a HEAD more.  ERR_FORMAT: damaged (not logged: the caller
 * knows what the pack is to him). */
int pack_table_fetch (struct blob *b, const struct vault_keys *keys, struct sealer *s,
                      const char *key, uint64_t size, struct pack_entry **out,
                      size_t *n) WARN_UNUSED;
/* The same from the bytes of a whole pack. */
int pack_table_open (const struct vault_keys *keys, struct sealer *s, const uint8_t *pack,
                     size_t size, struct pack_entry **out, size_t *n) WARN_UNUSED;

struct pack_report {
  uint64_t bytes;      /* of the object */
  bool is_name_right;  /* SHA-256 of the bytes */
  bool is_table_right; /* with keys only */
  size_t chunks, damaged;
};
/* A chunk that does not open, or whose content has another id: ERR is ERR_FORMAT, ERR_VERSION. */
typedef void (*pack_damage_fn) (void *ctx, const uint8_t name[PACK_NAME_LEN],
                                const struct pack_entry *e, int err);
/* Reads the whole pack NAME below PREFIX.  0 with a report of what was found, whatever that is; an
 * error where the pack could not be read, so that nothing is known (ERR_MISSING, ERR_AGAIN, ...).
 * KEYS NULL: compares the name only; FN may be NULL. */
int pack_verify (struct blob *b, const struct vault_keys *keys, struct sealer *s,
                 const char *prefix, const uint8_t name[PACK_NAME_LEN], pack_damage_fn fn,
                 void *ctx, struct pack_report *out) WARN_UNUSED;

#endif
