/* SPDX-License-Identifier: Apache-2.0 */
/* seen - the newest sealed snapshot of each vault that this host knows of (ruling 21).
 *
 * A store that was rolled back, or hides its newest snapshot, shows less than was seen before.
 * What was seen is kept in the state directory (`seen/<region>+<vault>`), so it is found after a
 * restart too. Threads: any; local disk only. */
#ifndef COFFER_SNAPSHOT_SEEN_H
#define COFFER_SNAPSHOT_SEEN_H

#include "snapshot/snapshot_priv.h"

/* A full listing was made: compares it with what is remembered, then remembers the newest.  Logs,
 * and sets v->shows_less, where the remembered one is not there. */
void seen_check_locked (struct vault *v);

#endif
