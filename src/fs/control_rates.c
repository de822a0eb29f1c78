/* SPDX-License-Identifier: Apache-2.0 */
/* control_rates - how fast each open snapshot takes in data, from the looks people take at it.
 *
 * A key's base is moved on when it is older than WINDOW, so the rate is that of the last 2 to 30
 * seconds of a watched status, and the mean since it began for the first look. */
#include <stdio.h>
#include <stdlib.h>

#include "fs/control_priv.h"

#define WINDOW_MIN_NS (2 * NS_PER_S)
#define WINDOW_NS (30 * NS_PER_S)
#define KEYS_MAX 64 /* beyond, the least recently looked at is forgotten */

struct rate {
  char key[256];
  uint64_t base, mid; /* bytes at base_at, at mid_at */
  int64_t base_at, mid_at, seen;
};

struct rates {
  struct lock lock;
  struct rate keys[KEYS_MAX]; /* guarded by lock */
};

int
rates_new (struct rates **out)
{
  struct rates *r = calloc (1, sizeof *r);
  if (!r)
    return ERR_NOMEM;
  lock_init (&r->lock, LOCK_STATS, "rates");
  *out = r;
  return 0;
}

void
rates_free (struct rates *r)
{
  if (!r)
    return;
  lock_destroy (&r->lock);
  free (r);
}

static struct rate *
find_locked (struct rates *r, const char *key)
{
  lock_assert_held (&r->lock);
  struct rate *oldest = &r->keys[0];
  for (int i = 0; i < KEYS_MAX; i++) {
    if (strcmp (r->keys[i].key, key) == 0)
      return &r->keys[i];
    if (r->keys[i].seen < oldest->seen)
      oldest = &r->keys[i];
  }
  *oldest = (struct rate){ 0 };
  snprintf (oldest->key, sizeof oldest->key, "%s", key);
  return oldest;
}

double
rates_note (struct rates *r, const char *key, uint64_t bytes, int64_t created, int64_t now)
{
  LOCK_SCOPE (&r->lock);
  struct rate *k = find_locked (r, key);
  if (!k->seen || bytes < k->base) { /* new, or a new snapshot of that name */
    k->base = 0;
    k->base_at = created;
    k->mid = bytes;
    k->mid_at = now;
  } else if (now - k->mid_at >= WINDOW_NS / 2) {
    k->base = k->mid;
    k->base_at = k->mid_at;
    k->mid = bytes;
    k->mid_at = now;
  } else if (now - k->mid_at >= WINDOW_MIN_NS && k->base_at == created) {
    k->base = k->mid; /* the first look was a mean: the second is a rate */
    k->base_at = k->mid_at;
  }
  k->seen = now;
  int64_t span = now - k->base_at;
  return span > 0 ? (double) (bytes - k->base) * (double) NS_PER_S / (double) span : 0;
}
