/* SPDX-License-Identifier: Apache-2.0 */
/* blob - one store of immutable objects behind a table of functions.
 *
 * A backend (directory, S3, ...) or a wrapper around one (retry, throttle, fault injection) is a
 * `struct blob`.  Keys are '/'-separated ASCII paths of at most BLOB_KEY_MAX bytes, relative to the
 * prefix the backend was opened with; no empty, "." or ".." component (checked here: ERR_INVALID).
 *
 * Promises of every backend (tests/backends/conformance runs them against each):
 *   B1  put is atomic: a reader sees all of an object or nothing, also after a crash.
 *   B2  when put has returned 0 the object is durable, and a get, head or list that starts later
 *       sees it.
 *   B3  put of the same bytes under the same key again is 0; with if_absent it is ERR_EXISTS where
 *       the store can tell (blob_caps & BLOB_CAP_IF_ABSENT), else it overwrites.
 *   B4  get returns exactly the bytes asked for, or an error: never a short count without
 *       ERR_LIMIT, never an error page.
 *   B5  delete of a missing key is 0.
 *   B6  list is in byte order of keys, complete for objects whose put returned before list began.
 *
 * Errors: ERR_MISSING (no such key or bucket: the log says which), ERR_EXISTS, ERR_AGAIN,
 * ERR_THROTTLED, ERR_DENIED, ERR_FULL, ERR_IO, ERR_FORMAT (an answer that cannot be true),
 * ERR_CANCELLED (blob_cancel was called), ERR_NOMEM.
 * Threads: any number at once.  All calls may wait for the network: no ranked lock may be held. */
#ifndef COFFER_BLOB_BLOB_H
#define COFFER_BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "blob/throttle.h"

#define BLOB_KEY_MAX 512

enum blob_cap {
  BLOB_CAP_IF_ABSENT = 1, /* put with if_absent is atomic */
  BLOB_CAP_LOCAL = 2,     /* reads cost no network: no block cache in front (ruling 30f) */
};

struct blob_put_opts {
  bool if_absent;
  /* 32 bytes of the data's SHA-256 where known: the store may check; or NULL */
  const uint8_t *sha256;
  /* Called from the sending thread as bytes leave (total so far, retries start again at 0); or
   * NULL. */
  void (*progress) (void *ctx, uint64_t sent);
  void *ctx;
};

struct blob_info {
  uint64_t size;
  int64_t mtime; /* ns since the epoch, by the store's clock */
};

struct blob_entry {
  const char *key; /* relative to the store's prefix; valid during the callback */
  uint64_t size;
  int64_t mtime;
  bool is_prefix; /* with a delimiter: a common prefix ending in '/', size and mtime are 0 */
};

/* Non-zero ends the listing and is returned by blob_list. */
typedef int (*blob_list_fn) (void *ctx, const struct blob_entry *entry);

struct blob;

struct blob_ops {
  const char *name;
  int (*put) (struct blob *b, const char *key, const void *data, size_t len,
              const struct blob_put_opts *opts);
  /* Exactly LEN bytes from OFF into OUT; ERR_LIMIT if the object ends before OFF + LEN. */
  int (*get) (struct blob *b, const char *key, uint64_t off, size_t len, void *out);
  /* The whole object appended to OUT (its max bounds the size: ERR_LIMIT). */
  int (*get_all) (struct blob *b, const char *key, struct buf *out);
  int (*head) (struct blob *b, const char *key, struct blob_info *out);
  /* Keys that begin with PREFIX and are greater than START_AFTER ("" = all); DELIMITED folds what
   * follows the next '/' after PREFIX into one is_prefix entry, which comes if its own name (with
   * the '/') is greater than START_AFTER.  So a listing can go on after the last entry it gave. */
  int (*list) (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
               blob_list_fn fn, void *ctx);
  int (*del) (struct blob *b, const char *const *keys, size_t n);
  /* The store's clock, ns since the epoch. */
  int (*now) (struct blob *b, int64_t *out);
  void (*cancel) (struct blob *b);
  void (*free) (struct blob *b);
};

struct meter;

/* Embedded first in every implementation. */
struct blob {
  const struct blob_ops *ops;
  unsigned caps;       /* enum blob_cap, immutable after open */
  /* counters of the whole stack, owned by the innermost; may be NULL (blob/meter.h) */
  struct meter *meter;
  /* what uploads pay into; empty: nothing. Borrowed, immutable after open */
  struct throttle_set up;
};

int blob_put (struct blob *b, const char *key, const void *data, size_t len,
              const struct blob_put_opts *opts) WARN_UNUSED; /* OPTS may be NULL */
int blob_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out) WARN_UNUSED;
int blob_get_all (struct blob *b, const char *key, struct buf *out) WARN_UNUSED;
int blob_head (struct blob *b, const char *key, struct blob_info *out) WARN_UNUSED;
int blob_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
               blob_list_fn fn, void *ctx) WARN_UNUSED;
int blob_delete (struct blob *b, const char *const *keys, size_t n) WARN_UNUSED;
int blob_now (struct blob *b, int64_t *out) WARN_UNUSED;
/* All calls under way and to come return ERR_CANCELLED soon.  For the end of a process. */
void blob_cancel (struct blob *b);
/* What a wrapper that behaves as OPS over INNER begins as: what it has of its own comes after. */
struct blob blob_over (const struct blob *inner, const struct blob_ops *ops);
/* The limit of uploads that is in force, bytes per second; 0: none. */
uint64_t blob_upload_rate (const struct blob *b);
void blob_free (struct blob *b); /* a wrapper frees what it wraps; NULL is fine */
DEFINE_FREEP (blob);

/* True for a key as described above. */
bool blob_key_is_valid (const char *key);

#endif
