/* SPDX-License-Identifier: Apache-2.0 */
/* names - what a region, a vault and a snapshot may be called (DESIGN 2, ruling 30).  Pure. */
#ifndef COFFER_SNAPSHOT_NAMES_H
#define COFFER_SNAPSHOT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SNAPSHOT_TS_MAX 96 /* 16 + 1 + 63 and NUL */

struct snapshot_name {
  char ts[SNAPSHOT_TS_MAX]; /* basic spelling with label: "20261121T030000Z-before-upgrade" */
  int64_t instant;          /* seconds since the epoch */
  const char *label;        /* inside ts, "" without one */
  bool is_partial;          /* had ".partial" behind it */
};
/* Both spellings of the instant.  ERR_INVALID for anything else. */
int snapshot_name_parse (const char *name, struct snapshot_name *out) WARN_UNUSED;
/* `[a-z0-9][a-z0-9._-]{0,62}` */
bool vault_name_is_valid (const char *name);
/* What is accepted, for messages. */
const char *snapshot_name_help (void);

#endif
