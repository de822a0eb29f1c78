/* SPDX-License-Identifier: Apache-2.0 */
/* store_reader_util - a vault of packs in memory behind a store with latency, for the reader's
 * tests. */
#ifndef COFFER_UNIT_STORE_READER_UTIL_H
#define COFFER_UNIT_STORE_READER_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/reader.h"

/* A blob that answers gets and heads after NS, many at once; blob_cancel ends the waits. */
int slow_new (struct blob *inner, int64_t ns, unsigned caps, struct blob **out) WARN_UNUSED;
void slow_set (struct blob *b, int64_t ns);
int slow_max_in_flight (struct blob *b);

/* A block cache of a few thousand units in memory. */
struct toy_cache;
struct toy_cache *toy_cache_new (void);
void toy_cache_free (struct toy_cache *t);
struct reader_cache toy_cache_ops (struct toy_cache *t);
void toy_cache_damage (struct toy_cache *t); /* a byte in every unit */
int toy_cache_count (struct toy_cache *t);

struct vault {
  struct blob *mem, *slow; /* slow wraps mem, and frees it */
  struct vault_keys *keys;
  struct reader_source src;
  struct chunk_want *wants;
  size_t n;
};
struct vault *vault_new (int64_t ns, unsigned caps);
void vault_free (struct vault *v);
/* Adds a pack of N chunks of LEN bytes (LENS: each its own), compressible or not; their wants
 * follow those that are there. */
void vault_pack (struct vault *v, size_t n, uint32_t len, const uint32_t *lens, bool is_text);
/* The view is chunk I. */
void assert_chunk (const struct vault *v, size_t i, const struct chunk_view *view);
/* Loads chunks [i, i+n) and compares; the reader's answer. */
int load (struct reader *r, struct vault *v, size_t i, size_t n, unsigned flags);
struct reader *reader_of (size_t decoded, size_t raw);
struct reader_stats stats_of (struct reader *r);

#endif
