/* SPDX-License-Identifier: Apache-2.0 */
/* map - integers above 0 to integers; open addressing, grows by doubling, at most half full.
 *
 * Zeroed is empty.  Nothing is ever removed.  Not locked. */
#ifndef COFFER_BASE_MAP_H
#define COFFER_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct map {
  struct {
    uint64_t key, value;
  } *at;
  size_t count, cap;
};
/* Replaces the value of a key that is there.  ERR_NOMEM. */
int map_set (struct map *m, uint64_t key, uint64_t value) WARN_UNUSED;
bool map_get (const struct map *m, uint64_t key, uint64_t *value);
void map_release (struct map *m);

#endif
