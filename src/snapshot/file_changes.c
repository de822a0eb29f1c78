/* SPDX-License-Identifier: Apache-2.0 */
/* What writers changed in a file, and what is known of the whole because nobody did (ruling 8). */
#define LOG_MODULE "file"
#include "snapshot/file_priv.h"

#include <string.h>

#include "store/seal.h"

void
file_changed (struct filedata *d, uint64_t off, uint64_t end)
{
  d->recent[d->changes++ % RECENT_CHANGES] = (struct changed){ off, end };
  if (off < d->hashed)
    file_sha_drop (d);
  if (off < d->copied)
    d->copied = 0;
  if (d->inode->sha256) { /* set with the data's lock held */
    LOCK_SCOPE (&d->inode->tree->lock);
    inode_set_sha_locked (d->inode, NULL);
  }
}

bool
file_has_changed (const struct filedata *d, uint32_t since, uint64_t off, uint64_t end)
{
  if (d->changes - since > RECENT_CHANGES)
    return true;
  for (uint32_t k = since; k != d->changes; k++)
    if (d->recent[k % RECENT_CHANGES].off < end && d->recent[k % RECENT_CHANGES].end > off)
      return true;
  return false;
}

void
file_sha_drop (struct filedata *d)
{
  sha256_free (STEAL (d->sha));
  d->hashed = 0;
}

void
file_sha_begin (struct snap *s, struct filedata *d, uint64_t off)
{
  if (!s->mount->opts.file_sha256 || off || d->sha || d->cur || d->overlay)
    return;
  /* Without a byte in an extent nothing was there before, but what is ahead of its turn. */
  lock_take (&d->inode->tree->lock);
  bool is_new = d->inode->a.size == 0 || d->inode->map.count == 0;
  lock_release (&d->inode->tree->lock);
  if (is_new && sha256_new (&d->sha) < 0)
    d->sha = NULL; /* no memory: it is not known, then */
}

void
file_sha_append (struct filedata *d, const uint8_t *p, size_t n)
{
  if (!d->sha)
    return;
  if (stream_end (d) != d->hashed) {
    file_sha_drop (d);
    return;
  }
  sha256_update (d->sha, p, n);
  d->hashed += n;
}

void
file_sha_end (struct filedata *d)
{
  struct inode *i = d->inode;
  if (!d->sha || d->error)
    return;
  lock_take (&i->tree->lock);
  if (i->a.size == d->hashed) {
    uint8_t sha[32];
    sha256_final (d->sha, sha);
    inode_set_sha_locked (i, sha);
    inode_touch_locked (i);
  }
  lock_release (&i->tree->lock);
  file_sha_drop (d);
}

uint32_t
filedata_changes (struct inode *i)
{
  LOCK_SCOPE (&i->data_lock);
  return i->data ? i->data->changes : 0;
}

void
filedata_copied (struct inode *i, const uint8_t *sha, uint64_t size, uint64_t off, uint64_t n,
                 uint32_t since, uint32_t count)
{
  LOCK_SCOPE (&i->data_lock);
  struct filedata *d = i->data;
  if (!d)
    return;
  bool goes_on = off == 0
                 || (d->copied == off && sha && memcmp (d->copied_sha, sha, 32) == 0);
  if (!sha || !goes_on || d->changes - since != count) {
    d->copied = 0;
    return;
  }
  d->copied = off + n;
  memcpy (d->copied_sha, sha, sizeof d->copied_sha);
  LOCK_SCOPE (&i->tree->lock);
  if (d->copied == size && i->a.size == size)
    inode_set_sha_locked (i, sha);
}
