/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>

#include "base/err.h"

int
map_set (struct map *m, uint64_t key, uint64_t value)
{
  if ((m->count + 1) * 2 > m->cap) {
    struct map bigger = { .cap = m->cap ? m->cap * 2 : 64 };
    bigger.at = calloc (bigger.cap, sizeof *bigger.at);
    if (!bigger.at)
      return ERR_NOMEM;
    for (size_t i = 0; i < m->cap; i++)
      if (m->at[i].key)
        (void) !map_set (&bigger, m->at[i].key, m->at[i].value);
    free (m->at);
    *m = bigger;
  }
  size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & (m->cap - 1);
  while (m->at[i].key && m->at[i].key != key)
    i = (i + 1) & (m->cap - 1);
  m->count += m->at[i].key == 0;
  m->at[i].key = key;
  m->at[i].value = value;
  return 0;
}

bool
map_get (const struct map *m, uint64_t key, uint64_t *value)
{
  if (!m->cap)
    return false;
  for (size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & (m->cap - 1); m->at[i].key;
       i = (i + 1) & (m->cap - 1))
    if (m->at[i].key == key) {
      *value = m->at[i].value;
      return true;
    }
  return false;
}

void
map_release (struct map *m)
{
  free (m->at);
  *m = (struct map){ .at = NULL };
}
