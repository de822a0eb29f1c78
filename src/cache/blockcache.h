/* SPDX-License-Identifier: Apache-2.0 */
/* blockcache - sealed units on local disk, indexed by SQLite.
 *
 * Holds ciphertext exactly as the store has it, keyed by (store, pack, offset); a unit carries its
 * own tag, so a hit is proven by opening it and nothing here is trusted.  The index row is written
 * after the data; both may be lost or damaged at any time (kill, full or failing disk, deletion of
 * the directory under a running mount, garbage in it): the cache then misses, logs once, and keeps
 * serving.
 *
 * Bounded in bytes (data files and index together).  Eviction by recency with protection against
 * scans (a unit enters probation and is promoted by its second use; pinned packs stay).  Survives
 * restarts.  May be shared by several processes of one user: SQLite is the arbiter (not in WAL
 * mode: see blockcache_priv.h).  Data lives in log-structured segments, not in one file per unit.
 *
 * Threads: any.  Writes go through a queue of 16 MiB to one writer thread; what finds it full is
 * dropped and counted. */
#ifndef COFFER_CACHE_BLOCKCACHE_H
#define COFFER_CACHE_BLOCKCACHE_H

#include "base/cleanup.h"
#include "format/format.h"

struct blockcache;

/* Opens or makes the cache in DIR (0700).  Any damage is repaired by starting empty.  Only a DIR
 * that cannot be made or written is an error; the mount then goes on without a cache. */
int blockcache_open (const char *dir, uint64_t max_bytes, struct blockcache **out) WARN_UNUSED;
void blockcache_free (struct blockcache *c);
DEFINE_FREEP (blockcache);

bool blockcache_get (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                     const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len, uint8_t *out);
void blockcache_put (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                     const uint8_t pack[PACK_NAME_LEN], uint32_t off, uint32_t len,
                     const uint8_t *sealed);
void blockcache_drop (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                      const uint8_t pack[PACK_NAME_LEN], uint32_t off);
/* Is it there (no data read)? */
bool blockcache_has (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                     const uint8_t pack[PACK_NAME_LEN], uint32_t off);
/* Pinned packs are not evicted; a pin may come before the data. */
int blockcache_pin (struct blockcache *c, const uint8_t store[STORE_ID_LEN],
                    const uint8_t pack[PACK_NAME_LEN], bool is_pinned) WARN_UNUSED;
int blockcache_clear (struct blockcache *c) WARN_UNUSED; /* all but pinned */
void blockcache_set_max (struct blockcache *c, uint64_t max_bytes);
void blockcache_flush (struct blockcache *c); /* waits until what was put is indexed */

struct blockcache_stats {
  uint64_t bytes, max_bytes, units, pinned_bytes, hits, misses, evicted, damaged, write_errors,
      dropped_puts;
};
void blockcache_stats_get (struct blockcache *c, struct blockcache_stats *out);

#endif
