/* SPDX-License-Identifier: Apache-2.0 */
/* config_priv - what the files of config share. */
#ifndef COFFER_BASE_CONFIG_PRIV_H
#define COFFER_BASE_CONFIG_PRIV_H

#include "base/config.h"

struct config_value {
  char *text; /* NULL: not given */
  int64_t number;
};
struct config_region {
  char name[64];
  struct config_value v[CONFIG_COUNT];
};
struct config {
  struct config_value v[CONFIG_COUNT];
  struct config_value dflt[CONFIG_COUNT];
  struct config_region *regions;
  size_t region_count;
};

/* The id of NAME ('_' counts as '-'), or -1. */
int config_find (const char *name);
/* Checks TEXT against ROW: 0 and the number, or an err and a sentence without place in WHY. */
int config_check_value (const struct config_row *row, const char *text, int64_t *number,
                        struct buf *why) WARN_UNUSED;
/* A region's name: `[a-z0-9][a-z0-9._-]{0,62}`. */
bool config_region_name_is_valid (const char *name);
/* The last char of a number with a unit is gone over here: digits and at most three decimals,
 * times UNIT. */
int config_parse_scaled (const char *digits, size_t n, int64_t unit, int64_t *out) WARN_UNUSED;

#endif
