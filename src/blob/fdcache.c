/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/fdcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob/file_priv.h"

void
fdcache_init (struct fdcache *c)
{
  *c = (struct fdcache){ 0 };
  lock_init (&c->lock, LOCK_BLOB, "fdcache");
  for (int i = 0; i < FDCACHE_SLOTS; i++)
    c->slots[i].fd = -1;
}

static void
empty_slot (struct fdcache_slot *s)
{
  free (s->key);
  if (s->fd >= 0)
    close (s->fd);
  *s = (struct fdcache_slot){ .fd = -1 };
}

void
fdcache_release (struct fdcache *c)
{
  for (int i = 0; i < FDCACHE_SLOTS; i++)
    empty_slot (&c->slots[i]);
  lock_destroy (&c->lock);
}

static uint64_t
hash_key (const char *key)
{
  uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *key; key++)
    h = (h ^ (uint8_t) *key) * 0x100000001b3u;
  return h;
}

static struct fdcache_slot *
find_locked (struct fdcache *c, const char *key)
{
  lock_assert_held (&c->lock);
  uint64_t h = hash_key (key);
  for (int i = 0; i < FDCACHE_SLOTS; i++) {
    struct fdcache_slot *s = &c->slots[i];
    if (s->key && !s->is_stale && s->hash == h && strcmp (s->key, key) == 0)
      return s;
  }
  return NULL;
}

static void
drop_locked (struct fdcache *c, const char *key)
{
  struct fdcache_slot *s = find_locked (c, key);
  if (!s)
    return;
  s->is_stale = true;
  if (!s->users)
    empty_slot (s);
}

void
fdcache_drop (struct fdcache *c, const char *key)
{
  LOCK_SCOPE (&c->lock);
  drop_locked (c, key);
}

void
fdcache_done (struct fdcache *c, struct fdcache_ref *ref)
{
  if (ref->slot < 0) {
    if (ref->fd >= 0)
      close (ref->fd);
  } else {
    LOCK_SCOPE (&c->lock);
    struct fdcache_slot *s = &c->slots[ref->slot];
    if (--s->users == 0 && s->is_stale)
      empty_slot (s);
  }
  ref->fd = ref->slot = -1;
}

/* The slot of a key in the table, with one more user; false where there is none. */
static bool
borrow (struct fdcache *c, const char *key, struct fdcache_ref *out)
{
  LOCK_SCOPE (&c->lock);
  struct fdcache_slot *s = find_locked (c, key);
  if (!s)
    return false;
  s->users++;
  s->used_at = ++c->tick;
  *out = (struct fdcache_ref){ .fd = s->fd, .slot = (int) (s - c->slots) };
  return true;
}

static bool
is_current (int fd)
{
  struct stat st;
  return fstat (fd, &st) == 0 && st.st_nlink > 0;
}

/* Puts a fresh descriptor into the table; where all slots are in use it stays the caller's
 * alone. */
static void
adopt (struct fdcache *c, const char *key, struct fdcache_ref *ref)
{
  char *copy = strdup (key);
  if (!copy)
    return;
  LOCK_SCOPE (&c->lock);
  struct fdcache_slot *best = find_locked (c, key) ? NULL : &c->slots[0];
  for (int i = 0; best && i < FDCACHE_SLOTS; i++) {
    struct fdcache_slot *s = &c->slots[i];
    if (!s->users && (best->users || s->used_at < best->used_at))
      best = s;
  }
  if (!best || best->users) {
    free (copy);
    return;
  }
  empty_slot (best);
  *best = (struct fdcache_slot){ .key = copy, .hash = hash_key (key), .used_at = ++c->tick,
                                 .users = 1, .fd = ref->fd };
  ref->slot = (int) (best - c->slots);
}

int
fdcache_open (struct fdcache *c, int dir_fd, const char *key, struct fdcache_ref *out)
{
  struct fdcache_ref ref;
  if (borrow (c, key, &ref)) {
    if (is_current (ref.fd)) {
      *out = ref;
      return 0;
    }
    fdcache_drop (c, key);
    fdcache_done (c, &ref);
  }
  int fd = openat (dir_fd, key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0)
    return file_err (errno);
  struct stat st;
  if (fstat (fd, &st) != 0 || !S_ISREG (st.st_mode)) {
    close (fd);
    return ERR_MISSING;
  }
  ref = (struct fdcache_ref){ .fd = fd, .slot = -1 };
  adopt (c, key, &ref);
  *out = ref;
  return 0;
}
