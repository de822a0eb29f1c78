/* SPDX-License-Identifier: Apache-2.0 */
/* vault - one database's part of a region, as this mount knows it: keys, pipe, and the catalog of
 * sealed snapshots with its refresh (ruling 14). */
#ifndef COFFER_SNAPSHOT_VAULT_H
#define COFFER_SNAPSHOT_VAULT_H

#include "snapshot/sealed.h"
#include "snapshot/snapshot_priv.h"

/* Finds or makes the object for NAME (it need not exist in the store).  Local. */
int vault_intern (struct region *r, const char *name, struct vault **out) WARN_UNUSED;
void vault_free (struct vault *v);
/* It is shown from now on: SINCE, unless it was known before. */
void vault_know (struct vault *v, int64_t since);
/* Keys, index and pipe; local disk only. */
int vault_open (struct vault *v) WARN_UNUSED;
/* The vaults of R, listed at most REFRESH ago; older ones are refreshed in the background.  Never
 * listed: waits (or ERR_WOULDBLOCK). */
int region_list (struct region *r, unsigned flags) WARN_UNUSED;
/* Does it exist: in the store, or made here.  Unknown, and the listing old: waits half a second for
 * a new one.  ERR_NOENT. */
int region_ask (struct region *r, const char *name, unsigned flags,
                struct vault **out) WARN_UNUSED;
struct vault *region_find (struct region *r, const char *name);

/* Puts the object that shows a vault without snapshots to all hosts.  Waits. */
int vault_mark (struct vault *v) WARN_UNUSED;

/* The catalog, listed at most REFRESH ago; older ones are refreshed in the background.  Never
 * listed: waits (or ERR_WOULDBLOCK). */
int vault_list (struct vault *v, unsigned flags) WARN_UNUSED;
/* Lists now, whatever is known; waits. */
int vault_list_again (struct vault *v) WARN_UNUSED;
/* Is TS sealed?  Unknown: asks the store once, for at most half a second where a listing exists. */
int vault_find (struct vault *v, const char *ts, unsigned flags,
                struct catalog_entry *out) WARN_UNUSED;
/* The greatest instant among the sealed full ones; ERR_NOENT. */
int vault_latest (struct vault *v, unsigned flags, struct catalog_entry *out) WARN_UNUSED;
/* How many sealed snapshots of the instant of TS are known, under whatever label. */
size_t vault_count_instant (struct vault *v, const char *ts);
/* Is TS known to be sealed?  Asks nobody. */
bool vault_knows (struct vault *v, const char *ts);
void vault_add_sealed (struct vault *v, const char *ts, const char *digest, int64_t sealed_time);
/* The loaded tree of a sealed snapshot, with a number.  Waits for the network, or
 * ERR_WOULDBLOCK. */
int vault_tree (struct vault *v, const char *ts, unsigned flags, struct sealed **out) WARN_UNUSED;
/* Has the sealed snapshots of the instant of S listed: in the background. */
void vault_look (struct snap *s);
/* Brings the store's deltas into the dedup index.  Where they are many, *REST is left to do (else
 * NULL): first the parent's extents (NULL: none), then, in the background, the deltas.  Errors are
 * logged; a chunk can be placed whatever they are. */
struct index_loading;
int vault_load_index (struct vault *v, struct index_loading **rest) WARN_UNUSED;
void vault_seed_index (struct index_loading *rest, struct sealed *parent);
void vault_load_rest (struct index_loading *rest); /* takes it */

#endif
