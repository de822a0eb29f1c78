/* SPDX-License-Identifier: Apache-2.0 */
/* seal - chunk ids and sealed units (doc/format/chunk.md): the only place that uses data keys.
 *
 * A `struct sealer` holds one thread's contexts (HMAC, AES-GCM, zstd): not to be shared at one
 * time. Costs per GiB on a machine with SHA-NI and VAES: id 0.65 s, GCM 0.23 s, zstd level 1 on
 * binaries 2.4 s. */
#ifndef COFFER_STORE_SEAL_H
#define COFFER_STORE_SEAL_H

#include "base/cleanup.h"
#include "format/format.h"
#include "store/keys.h"

struct sealer;
int sealer_new (struct sealer **out) WARN_UNUSED;
void sealer_free (struct sealer *s);
DEFINE_FREEP (sealer);
/* The calling thread's own, made at its first call and freed when the thread ends. */
int sealer_of_thread (struct sealer **out) WARN_UNUSED;

/* HMAC-SHA-256 under K_ids (UNIT_DATA) or K_mids with the type byte (metadata chunks). */
int seal_id (struct sealer *s, const struct vault_keys *k, int type, const void *plain, size_t n,
             uint8_t id[ID_LEN]) WARN_UNUSED;

/* The same, and beside it OTHER_LEN bytes at OTHER are hashed into STREAM: the two cost little more
 * than the longer one.  Only where sha_pair_is_there (sha_pair.h). */
struct sha_stream;
void seal_id_beside (const struct vault_keys *k, int type, const void *plain, size_t n,
                     uint8_t id[ID_LEN], struct sha_stream *stream, const void *other,
                     size_t other_len);

/* Step one: compresses PLAIN at zstd LEVEL (0: never) into the sealer's own scratch.  What gains
 * less than 3 % stays raw; a cheap probe (probe.h) spares incompressible data the full pass.  The
 * length the sealed unit will have is seal_plan_len.  N from 1 (ERR_INVALID) to the type's bound
 * (ERR_LIMIT). */
struct seal_plan {
  const void *body; /* what is to be encrypted; valid until the sealer's next call */
  size_t body_len;
  uint32_t plain_len;
  uint8_t type, codec;
};
int seal_prepare (struct sealer *s, int type, const void *plain, size_t n, int level,
                  struct seal_plan *out) WARN_UNUSED;
static inline size_t
seal_plan_len (const struct seal_plan *p)
{
  return p->body_len + UNIT_OVERHEAD;
}
/* Step two: encrypts the plan into OUT (seal_plan_len bytes, anywhere, even inside a pack). */
int seal_finish (struct sealer *s, const struct vault_keys *k, const uint8_t id[ID_LEN],
                 const struct seal_plan *plan, uint8_t *out) WARN_UNUSED;
/* Both, appended to OUT. */
int seal_unit (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
               const void *plain, size_t n, int level, struct buf *out) WARN_UNUSED;

/* Opens a sealed unit of N bytes that must have TYPE; writes at most CAP bytes to OUT and returns
 * the plain length.  ERR_FORMAT: altered, cut, of another id or type.  Never writes a byte of
 * output that was not authenticated into OUT and returns success for it. */
int open_unit (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
               const uint8_t *sealed, size_t n, void *out, size_t cap) WARN_UNUSED;
/* The same, appended to OUT (bounded by unit_plain_max and out->max). */
int open_unit_buf (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
                   const uint8_t *sealed, size_t n, struct buf *out) WARN_UNUSED;

/* The same of a unit that is somewhere else: READ gives N of its bytes from OFF on, in order and
 * each once, in steps that stay in the processor's cache, so that the sealed bytes never go through
 * memory.  What READ returns as an error is returned. */
typedef int (*unit_read_fn) (void *ctx, size_t off, size_t n, uint8_t *out);
int open_unit_from (struct sealer *s, const struct vault_keys *k, int type,
                    const uint8_t id[ID_LEN], unit_read_fn read, void *ctx, size_t n, void *out,
                    size_t cap) WARN_UNUSED;

/* CRC-32C (Castagnoli), hardware where there is any; crc of the empty string is 0; chainable. */
uint32_t crc32c (uint32_t crc, const void *p, size_t n);
/* What runs where there is no instruction for it. */
uint32_t crc32c_portable (uint32_t crc, const void *p, size_t n);
/* CRC of the concatenation from crc1 (of A), crc2 (of B) and B's length. */
uint32_t crc32c_combine (uint32_t crc1, uint32_t crc2, uint64_t len2);
/* Ruling 19: opens SEALED again and compares its CRC-32C with CRC.  Raw: tag and CRC. */
int seal_verify (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
                 const uint8_t *sealed, size_t n, uint32_t crc) WARN_UNUSED;

/* The context ids of objects that are not chunks. */
void unit_id_pack_table (const uint8_t salt[32], uint8_t id[ID_LEN]);
void unit_id_index (const char *object_name, uint8_t id[ID_LEN]);
void unit_id_manifest (const struct vault_keys *k, const char *ts, const char *kind,
                       uint8_t id[ID_LEN]);
void unit_id_checkpoint (const struct vault_keys *k, const char *ts, const char *part,
                         const char *seq, uint8_t id[ID_LEN]);
void unit_id_gc (const struct vault_keys *k, const char *run, uint8_t id[ID_LEN]);

/* SHA-256, streaming; for pack names and file digests. */
struct sha256;
int sha256_new (struct sha256 **out) WARN_UNUSED;
void sha256_free (struct sha256 *s);
DEFINE_FREEP (sha256);
void sha256_reset (struct sha256 *s);
void sha256_update (struct sha256 *s, const void *p, size_t n);
void sha256_final (struct sha256 *s, uint8_t out[32]);
void sha256_once (const void *p, size_t n, uint8_t out[32]);
/* Random bytes from the kernel; aborts if there are none. */
void random_bytes (void *out, size_t n);

#endif
