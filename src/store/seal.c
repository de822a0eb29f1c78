/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing and opening of units.  One sealer is one thread's set of contexts, made once: a unit then
 * costs two MACs of 32 bytes (its key) and one re-keying of AES-GCM, about 1 us, besides its bytes.
 *
 * Scratch: `packed` holds compressed bytes, `plain` what verification decompresses.  Both grow to
 * what the largest unit so far needed, and fall back to SCRATCH_KEEP after an outsized one
 * (metadata).
 *
 * Nothing is logged here: who calls knows the pack, the object or the file, and says so. */
#include <pthread.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_c_literalCompressionMode */
#include <zstd.h>
#include <zstd_errors.h>

#include "store/keys_priv.h"
#include "store/probe.h"
#include "store/seal.h"

#define SCRATCH_KEEP ((2u << 20) + 4096) /* the largest file chunk (CHUNK_MAX_BYTES) */
#define VERIFY_STEP 32768                /* decrypted and summed while it is in the first cache */
#define OPEN_STEP (128u << 10)           /* read and decrypted while it is in the second */
#define PAGES_CHUNK (64u << 10)          /* CLASS_PAGES: chunker.c */
#define NONCES 64

struct scratch {
  uint8_t *data;
  size_t cap;
};

struct sealer {
  EVP_MD_CTX *md;
  EVP_CIPHER_CTX *gcm;
  ZSTD_CCtx *cctx; /* both on first use */
  ZSTD_DCtx *dctx;
  struct scratch packed, plain;
  int level; /* what cctx is set to, and the tuning with it */
  const struct tuning *tuning;
  unsigned nonces_left;
  uint8_t nonces[NONCES * NONCE_LEN];
};

int
sealer_new (struct sealer **out)
{
  AUTO (sealer) s = calloc (1, sizeof *s);
  if (!s)
    return ERR_NOMEM;
  s->md = EVP_MD_CTX_new ();
  s->gcm = EVP_CIPHER_CTX_new ();
  if (!s->md || !s->gcm || !digest_sha256 ()
      || !EVP_CipherInit_ex (s->gcm, EVP_aes_256_gcm (), NULL, NULL, NULL, 1))
    return ERR_NOMEM;
  *out = STEAL (s);
  return 0;
}

void
sealer_free (struct sealer *s)
{
  if (!s)
    return;
  EVP_MD_CTX_free (s->md);
  EVP_CIPHER_CTX_free (s->gcm);
  ZSTD_freeCCtx (s->cctx);
  ZSTD_freeDCtx (s->dctx);
  free (s->packed.data);
  free (s->plain.data);
  free (s);
}

/* ---- one for each thread that asks ---- */

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t own_key;
static bool has_key;

static void
end_of_thread (void *s)
{
  sealer_free (s);
}

static void
make_key (void)
{
  has_key = pthread_key_create (&own_key, end_of_thread) == 0;
}

int
sealer_of_thread (struct sealer **out)
{
  pthread_once (&key_once, make_key);
  if (!has_key)
    return ERR_NOMEM;
  *out = pthread_getspecific (own_key);
  if (*out)
    return 0;
  AUTO (sealer) s = NULL;
  int rc = sealer_new (&s);
  if (rc == 0 && pthread_setspecific (own_key, s) != 0)
    rc = ERR_NOMEM;
  if (rc == 0)
    *out = STEAL (s);
  return rc;
}

/* At least N bytes, contents lost; NULL without memory. */
static uint8_t *
scratch_take (struct scratch *s, size_t n)
{
  if (n <= s->cap && (s->cap <= SCRATCH_KEEP || n > SCRATCH_KEEP))
    return s->data;
  size_t cap = (n + 65535) & ~(size_t) 65535;
  if (n <= SCRATCH_KEEP && cap > SCRATCH_KEEP)
    cap = SCRATCH_KEEP;
  free (s->data);
  s->cap = 0;
  s->data = malloc (cap ? cap : 1);
  if (s->data)
    s->cap = cap;
  return s->data;
}

int
seal_id (struct sealer *s, const struct vault_keys *k, int type, const void *plain, size_t n,
         uint8_t id[ID_LEN])
{
  uint8_t type_byte = (uint8_t) type;
  struct iovec parts[] = { { &type_byte, 1 }, { (void *) (uintptr_t) plain, n } };
  if (type == UNIT_DATA)
    return hmac_run (vault_keys_ids (k), s->md, parts + 1, 1, id);
  return hmac_run (vault_keys_mids (k), s->md, parts, 2, id);
}

void
seal_id_beside (const struct vault_keys *k, int type, const void *plain, size_t n,
                uint8_t id[ID_LEN], struct sha_stream *stream, const void *other, size_t other_len)
{
  uint8_t type_byte = (uint8_t) type;
  bool is_data = type == UNIT_DATA;
  hmac_run_beside (is_data ? vault_keys_ids (k) : vault_keys_mids (k), &type_byte, !is_data, plain,
                   n, id, stream, other, other_len);
}

/* Level 1 is tuned to what is cut (0: as the level has it; measured with zstd 1.5.4):
 *
 *   above 256 KiB   Its own matches of seven bytes lose: six serve ordinary binaries better, 3.1 %
 *                   less stored for 9 % more time of zstd.
 *   page files      A 64 KiB piece has its matches in the page or the next one, and long ones.
 *                   Seven bytes, a table that fits the first cache, and a third of the positions
 *                   looked at (TARGET_LENGTH is the step of the fast strategy, less one) take an
 *                   eighth less time than every second position, and find the periods of rows as
 *                   well: 0.436 stored of a sysbench table instead of 0.442 (0.192 instead of
 *                   0.187 of tables full of text).  zstd takes a step
 *                   for a wish to leave literals raw; LITERALS says no. */
struct tuning {
  int min_match, hash_log, target_length, literals;
};
static const struct tuning as_it_is = { 0 }, long_input = { .min_match = 6 },
                           page_input = { 7, 12, 2, 1 };

static const struct tuning *
tuning_for (int level, size_t n)
{
  if (level == 1 && n > 256u << 10)
    return &long_input;
  return level == 1 && n == PAGES_CHUNK ? &page_input : &as_it_is;
}

static bool
set_one (struct sealer *s, ZSTD_cParameter what, int value)
{
  return !ZSTD_isError (ZSTD_CCtx_setParameter (s->cctx, what, value));
}

static int
set_level (struct sealer *s, int level, size_t n)
{
  const struct tuning *t = tuning_for (level, n);
  if (!s->cctx) {
    s->cctx = ZSTD_createCCtx ();
    s->tuning = NULL;
  }
  if (!s->cctx)
    return ERR_NOMEM;
  if (s->level == level && s->tuning == t)
    return 0;
  s->tuning = NULL;
  /* Of the experimental parameters this one alone is used: a library without it takes no step. */
  bool has_literals = set_one (s, ZSTD_c_literalCompressionMode, t->literals);
  if (!set_one (s, ZSTD_c_compressionLevel, level) || !set_one (s, ZSTD_c_minMatch, t->min_match)
      || !set_one (s, ZSTD_c_hashLog, t->hash_log)
      || !set_one (s, ZSTD_c_targetLength, has_literals ? t->target_length : 0))
    return ERR_INVALID;
  s->level = level;
  s->tuning = t;
  return 0;
}

/* Compresses into `packed` if that makes it shorter by 3 % at least; returns the length, or 0. */
static int
try_zstd (struct sealer *s, const void *plain, size_t n, int level, size_t *packed_len)
{
  *packed_len = 0;
  size_t most = n - n / 32;
  if (n < 32)
    return 0;
  int rc = set_level (s, level, n);
  if (rc < 0)
    return rc;
  if (!scratch_take (&s->packed, most))
    return ERR_NOMEM;
  size_t got = ZSTD_compress2 (s->cctx, s->packed.data, most, plain, n);
  if (!ZSTD_isError (got))
    *packed_len = got;
  else if (ZSTD_getErrorCode (got) != ZSTD_error_dstSize_tooSmall)
    return ERR_NOMEM; /* the other errors are of parameters, which set_level has checked */
  return 0;
}

int
seal_prepare (struct sealer *s, int type, const void *plain, size_t n, int level,
              struct seal_plan *out)
{
  if (n == 0)
    return ERR_INVALID; /* there are no empty units */
  if (n > unit_plain_max (type))
    return ERR_LIMIT;
  size_t packed_len = 0;
  if (level != 0) {
    int rc = set_level (s, level, n);
    if (rc == 0 && probe_is_worth_it (s->cctx, plain, n))
      rc = try_zstd (s, plain, n, level, &packed_len);
    if (rc < 0)
      return rc;
  }
  *out = (struct seal_plan){
    .body = packed_len ? s->packed.data : plain,
    .body_len = packed_len ? packed_len : n,
    .plain_len = (uint32_t) n,
    .type = (uint8_t) type,
    .codec = packed_len ? CODEC_ZSTD : CODEC_RAW,
  };
  return 0;
}

/* Random bytes in lots: a system call per unit would cost as much as its key. */
static void
take_nonce (struct sealer *s, uint8_t nonce[NONCE_LEN])
{
  if (s->nonces_left == 0) {
    random_bytes (s->nonces, sizeof s->nonces);
    s->nonces_left = NONCES;
  }
  s->nonces_left--;
  memcpy (nonce, s->nonces + s->nonces_left * NONCE_LEN, NONCE_LEN);
}

/* Sets cipher and associated data for one unit. */
static int
gcm_begin (struct sealer *s, const struct vault_keys *k, const struct frame *f,
           const uint8_t id[ID_LEN], const uint8_t raw[FRAME_LEN], bool is_seal)
{
  uint8_t key[KEY_LEN];
  int got, rc = vault_keys_unit_key (k, f->type, f->generation, s->md, id, key);
  if (rc == 0
      && (!EVP_CipherInit_ex (s->gcm, NULL, NULL, key, f->nonce, is_seal)
          || !EVP_CipherUpdate (s->gcm, NULL, &got, raw, FRAME_LEN)
          || !EVP_CipherUpdate (s->gcm, NULL, &got, id, ID_LEN)))
    rc = ERR_NOMEM;
  explicit_bzero (key, sizeof key);
  return rc;
}

int
seal_finish (struct sealer *s, const struct vault_keys *k, const uint8_t id[ID_LEN],
             const struct seal_plan *plan, uint8_t *out)
{
  struct frame f = {
    .type = plan->type,
    .codec = plan->codec,
    .aead = AEAD_AES_256_GCM,
    .generation = GENERATION,
    .plain_len = plan->plain_len,
  };
  take_nonce (s, f.nonce);
  frame_encode (&f, out);
  int rc = gcm_begin (s, k, &f, id, out, true);
  if (rc < 0)
    return rc;
  int got;
  uint8_t *body = out + FRAME_LEN, *tag = body + plan->body_len;
  if (!EVP_CipherUpdate (s->gcm, body, &got, plan->body, (int) plan->body_len)
      || (size_t) got != plan->body_len || !EVP_CipherFinal_ex (s->gcm, tag, &got)
      || !EVP_CIPHER_CTX_ctrl (s->gcm, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag))
    return ERR_NOMEM;
  return 0;
}

int
seal_unit (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
           const void *plain, size_t n, int level, struct buf *out)
{
  struct seal_plan plan;
  int rc = seal_prepare (s, type, plain, n, level, &plan);
  if (rc < 0)
    return rc;
  uint8_t *at = buf_reserve (out, seal_plan_len (&plan));
  if (!at)
    return buf_error (out);
  rc = seal_finish (s, k, id, &plan, at);
  if (rc == 0)
    out->len += seal_plan_len (&plan);
  return rc;
}

/* The tag after N bytes of ciphertext. */
static bool
tag_is_right (struct sealer *s, const uint8_t *tag)
{
  uint8_t copy[TAG_LEN], none[16];
  int got;
  memcpy (copy, tag, TAG_LEN);
  return EVP_CIPHER_CTX_ctrl (s->gcm, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, copy)
         && EVP_CipherFinal_ex (s->gcm, none, &got);
}

/* The ciphertext of a unit, decrypted into OUT (as long), or ERR_FORMAT and OUT wiped. */
static int
decrypt (struct sealer *s, const struct vault_keys *k, const struct frame *f,
         const uint8_t id[ID_LEN], const uint8_t *sealed, size_t n, uint8_t *out)
{
  size_t len = n - UNIT_OVERHEAD;
  int got, rc = gcm_begin (s, k, f, id, sealed, false);
  if (rc < 0)
    return rc;
  if (!EVP_CipherUpdate (s->gcm, out, &got, sealed + FRAME_LEN, (int) len))
    return ERR_NOMEM;
  if (tag_is_right (s, sealed + n - TAG_LEN))
    return 0;
  explicit_bzero (out, len);
  return ERR_FORMAT;
}

/* The frame of a unit that must have TYPE, with what frame_decode cannot know checked. */
static int
frame_of (int type, const uint8_t *sealed, size_t n, struct frame *f)
{
  int rc = frame_decode (sealed, n, f);
  if (rc < 0)
    return rc;
  if (f->type != type)
    return ERR_FORMAT;
  /* The longest zstd frame there is for this length: bounds the scratch. */
  if (f->codec == CODEC_ZSTD && n - UNIT_OVERHEAD > ZSTD_compressBound (f->plain_len))
    return ERR_FORMAT;
  return 0;
}

/* PACKED, which has been authenticated, to exactly f->plain_len bytes at OUT. */
static int
unpack (struct sealer *s, const struct frame *f, const uint8_t *packed, size_t len, void *out)
{
  if (!s->dctx && !(s->dctx = ZSTD_createDCtx ()))
    return ERR_NOMEM;
  if (ZSTD_findFrameCompressedSize (packed, len) != len)
    return ERR_FORMAT; /* one frame, nothing after it */
  size_t got = ZSTD_decompressDCtx (s->dctx, out, f->plain_len, packed, len);
  return ZSTD_isError (got) || got != f->plain_len ? ERR_FORMAT : 0;
}

static int
open_zstd (struct sealer *s, const struct vault_keys *k, const struct frame *f,
           const uint8_t id[ID_LEN], const uint8_t *sealed, size_t n, void *out)
{
  size_t len = n - UNIT_OVERHEAD;
  if (!scratch_take (&s->packed, len))
    return ERR_NOMEM;
  int rc = decrypt (s, k, f, id, sealed, n, s->packed.data);
  return rc < 0 ? rc : unpack (s, f, s->packed.data, len, out);
}

int
open_unit (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
           const uint8_t *sealed, size_t n, void *out, size_t cap)
{
  struct frame f;
  int rc = frame_of (type, sealed, n, &f);
  if (rc < 0)
    return rc;
  if (f.plain_len > cap)
    return ERR_LIMIT;
  rc = f.codec == CODEC_ZSTD ? open_zstd (s, k, &f, id, sealed, n, out)
                             : decrypt (s, k, &f, id, sealed, n, out);
  return rc < 0 ? rc : (int) f.plain_len;
}

/* Decrypts what READ gives, of which the first HAVE bytes are at `packed`: there too where it must
 * be decompressed, else to OUT.  Each step but the last ends before the tag. */
static int
decrypt_from (struct sealer *s, const struct vault_keys *k, const struct frame *f,
              const uint8_t id[ID_LEN], unit_read_fn read, void *ctx, size_t have, size_t n,
              uint8_t *out)
{
  bool is_packed = f->codec == CODEC_ZSTD;
  uint8_t *first = s->packed.data, *step = first + FRAME_LEN, *to = is_packed ? step : out;
  size_t end = n - TAG_LEN, at = FRAME_LEN;
  int got, rc = gcm_begin (s, k, f, id, first, false);
  while (rc == 0) {
    size_t take = (have < end ? have : end) - at;
    if (!EVP_CipherUpdate (s->gcm, to, &got, step, (int) take))
      return ERR_NOMEM;
    to += take;
    at += take;
    step += take;
    if (have == n)
      break;
    have = end - at <= OPEN_STEP ? n : at + OPEN_STEP;
    step = is_packed ? step : first;
    rc = read (ctx, at, have - at, step);
  }
  if (rc < 0 || tag_is_right (s, step))
    return rc;
  explicit_bzero (is_packed ? first : out, n - UNIT_OVERHEAD);
  return ERR_FORMAT;
}

int
open_unit_from (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
                unit_read_fn read, void *ctx, size_t n, void *out, size_t cap)
{
  if (n <= UNIT_OVERHEAD)
    return ERR_FORMAT;
  if (!scratch_take (&s->packed, n)) /* a raw unit uses its beginning only */
    return ERR_NOMEM;
  size_t first = n <= OPEN_STEP + TAG_LEN ? n : OPEN_STEP;
  struct frame f;
  int rc = read (ctx, 0, first, s->packed.data);
  if (rc == 0)
    rc = frame_of (type, s->packed.data, n, &f);
  if (rc < 0)
    return rc;
  if (f.plain_len > cap)
    return ERR_LIMIT;
  rc = decrypt_from (s, k, &f, id, read, ctx, first, n, out);
  if (rc == 0 && f.codec == CODEC_ZSTD)
    rc = unpack (s, &f, s->packed.data + FRAME_LEN, n - UNIT_OVERHEAD, out);
  return rc < 0 ? rc : (int) f.plain_len;
}

int
open_unit_buf (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
               const uint8_t *sealed, size_t n, struct buf *out)
{
  struct frame f;
  int rc = frame_of (type, sealed, n, &f);
  if (rc < 0)
    return rc;
  uint8_t *at = buf_reserve (out, f.plain_len);
  if (!at)
    return buf_error (out) ? buf_error (out) : ERR_NOMEM;
  rc = open_unit (s, k, type, id, sealed, n, at, f.plain_len);
  if (rc >= 0)
    out->len += (size_t) rc;
  return rc;
}

/* A raw unit, decrypted step by step: its bytes never leave the first cache. */
static int
verify_raw (struct sealer *s, const struct vault_keys *k, const struct frame *f,
            const uint8_t id[ID_LEN], const uint8_t *sealed, size_t n, uint32_t *crc)
{
  int got, rc = gcm_begin (s, k, f, id, sealed, false);
  if (rc < 0)
    return rc;
  uint8_t *step = scratch_take (&s->plain, VERIFY_STEP);
  if (!step)
    return ERR_NOMEM;
  *crc = 0;
  const uint8_t *p = sealed + FRAME_LEN;
  for (size_t left = n - UNIT_OVERHEAD; left;) {
    size_t take = left < VERIFY_STEP ? left : VERIFY_STEP;
    if (!EVP_CipherUpdate (s->gcm, step, &got, p, (int) take))
      return ERR_NOMEM;
    *crc = crc32c (*crc, step, take);
    p += take;
    left -= take;
  }
  return tag_is_right (s, p) ? 0 : ERR_FORMAT;
}

int
seal_verify (struct sealer *s, const struct vault_keys *k, int type, const uint8_t id[ID_LEN],
             const uint8_t *sealed, size_t n, uint32_t crc)
{
  struct frame f;
  uint32_t now = 0;
  int rc = frame_of (type, sealed, n, &f);
  if (rc < 0)
    return rc;
  if (f.codec == CODEC_RAW)
    rc = verify_raw (s, k, &f, id, sealed, n, &now);
  else {
    if (!scratch_take (&s->plain, f.plain_len))
      return ERR_NOMEM;
    rc = open_zstd (s, k, &f, id, sealed, n, s->plain.data);
    if (rc == 0)
      now = crc32c (0, s->plain.data, f.plain_len);
  }
  if (rc < 0)
    return rc;
  return now == crc ? 0 : ERR_FORMAT;
}
