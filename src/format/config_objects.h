/* SPDX-License-Identifier: Apache-2.0 */
/* config_objects - the JSON objects of a store: superblock and key slots; and the key file's text.
 * Normative: doc/format/superblock.md, doc/format/keys.md.  MACs and wrapping are in store/keys.c:
 * these codecs only hold the fields and give the exact bytes that are covered by the MAC. */
#ifndef COFFER_FORMAT_CONFIG_OBJECTS_H
#define COFFER_FORMAT_CONFIG_OBJECTS_H

#include "format/format.h"

#define SUPERBLOCK_MAX_BYTES 65536
#define SLOT_MAX_BYTES 65536
#define FEATURE_MAX 32

struct superblock {
  int format;
  uint8_t store_id[STORE_ID_LEN];
  char created[40];
  char read[FEATURE_MAX][32], write[FEATURE_MAX][32], collect[FEATURE_MAX][32];
  int read_count, write_count, collect_count;
  uint8_t mac[32];
};
/* IS_COVERED: the members under the MAC only; otherwise the whole object with `mac`. */
int superblock_encode (const struct superblock *s, bool is_covered, struct buf *out) WARN_UNUSED;
int superblock_decode (const uint8_t *json, size_t n, struct superblock *out) WARN_UNUSED;

enum slot_type { SLOT_SCRYPT, SLOT_KEYFILE };
struct key_slot {
  int version;
  enum slot_type type;
  uint64_t n;
  uint32_t r, p; /* scrypt */
  uint8_t salt[32];
  char label[65], created[40], scope[96];
  uint8_t payload[NONCE_LEN + 65 + TAG_LEN];
  uint8_t commit[32];
};
int key_slot_encode (const struct key_slot *s, bool is_covered, struct buf *out) WARN_UNUSED;
int key_slot_decode (const uint8_t *json, size_t n, struct key_slot *out) WARN_UNUSED;

/* Key file and paper key texts (the checksum bytes are given by the caller: SHA-256 of the
 * secret). */
void key_file_encode (const uint8_t secret[32], const uint8_t sha256[32], struct buf *out);
/* Finds secret and the claimed checksum bytes (4 in a key file, 3 on paper) in TEXT. */
int key_file_decode (const char *text, size_t n, uint8_t secret[32], uint8_t check[4],
                     int *check_len) WARN_UNUSED;
void paper_key_encode (const uint8_t secret[32], const uint8_t sha256[32], char out[80]);

#endif
