/* SPDX-License-Identifier: Apache-2.0 */
/* seen - a store that shows less than it did (ruling 21).
 *
 * Three witnesses: the newest sealed snapshot of each vault that this host has seen (kept in the
 * state directory as `seen/<region>+<vault>`, so it is found after a restart too); the newest ones
 * that each manifest names, which a host that was never here has as well; and the format and the
 * features of the store (`seen/store-<id>`), below which no mount goes.
 *
 * Threads: any.  Local disk only, but for seen_check_named. */
#ifndef COFFER_SNAPSHOT_SEEN_H
#define COFFER_SNAPSHOT_SEEN_H

#include "snapshot/snapshot_priv.h"

/* A full listing was made: compares it with what is remembered, then remembers the newest.  Logs,
 * and sets v->shows_less, where the remembered one is not there. */
void seen_check_locked (struct vault *v);

/* Whether the store shows every snapshot that the manifest of T names; where not, lists anew before
 * it is believed.  Logs, and sets v->lacks.  May wait for the network. */
void seen_check_named (struct vault *v, struct sealed *t);

/* ERR_FORMAT (logged) where the store's superblock is below what this host has seen of it: it is an
 * old one put back, or altered.  Remembers what is above. */
int seen_check_store (const struct mount *m, const char *region,
                      const struct superblock *sb) WARN_UNUSED;

#endif
