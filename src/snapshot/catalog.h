/* SPDX-License-Identifier: Apache-2.0 */
/* catalog - which vaults a store has and which snapshots a vault has; for mounts and for tools
 * without one.
 *
 * A snapshot is sealed exactly when its `.sealed` object exists.  Everything here asks the
 * store. */
#ifndef COFFER_SNAPSHOT_CATALOG_H
#define COFFER_SNAPSHOT_CATALOG_H

#include "base/buf.h"
#include "blob/blob.h"
#include "snapshot/names.h"

struct catalog_item {
  struct snapshot_name name;
  char digest[33];
  int64_t sealed_time; /* the store's time of the `.sealed` */
  bool is_sealed;      /* false: a `.pending` */
};
/* Snapshots of VAULT whose key begins with TS_PREFIX ("" = all), ascending; free (*out). */
int catalog_list (struct blob *b, const char *vault, const char *ts_prefix,
                  struct catalog_item **out,
                  size_t *count) WARN_UNUSED;
/* Names of the vaults, NUL-separated in OUT. */
int catalog_vaults (struct blob *b, struct buf *out) WARN_UNUSED;
/* Open snapshots seen in the store: "<ts>/<part>" NUL-separated. */
int catalog_open_parts (struct blob *b, const char *vault, struct buf *out) WARN_UNUSED;

/* For tools: one vault of a store without a mount.  BLOB and keys are borrowed. */
struct keyring;
struct vault;
struct offline;
int offline_open (struct blob *b, struct keyring *k, struct offline **out) WARN_UNUSED;
void offline_close (struct offline *o);
/* owned by O */
int offline_vault (struct offline *o, const char *vault, struct vault **out) WARN_UNUSED;

#endif
