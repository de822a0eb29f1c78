/* SPDX-License-Identifier: Apache-2.0 */
/* snaplist_priv - the two sources of rows. */
#ifndef COFFER_TOOLS_SNAPLIST_PRIV_H
#define COFFER_TOOLS_SNAPLIST_PRIV_H

#include "snaplist.h"

int list_mount (const struct cli *cli, const struct mounted *m, const struct snap_filter *f,
                snap_row_fn fn, void *ctx);
int list_stores (const struct cli *cli, const struct config *c, const struct snap_filter *f,
                 snap_row_fn fn, void *ctx);

bool filter_name (const struct snap_filter *f, const struct snapshot_name *name);
bool filter_matches (const char *pattern, const char *name);

#endif
