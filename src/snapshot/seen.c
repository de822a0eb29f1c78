/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "seen"
#include "snapshot/seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

static void
path_of (const struct vault *v, char *out, size_t cap)
{
  snprintf (out, cap, "%s/seen/%s+%s", v->region->mount->opts.state_dir, v->region->name, v->name);
}

static void
load (struct vault *v)
{
  char path[4600], text[sizeof v->seen];
  path_of (v, path, sizeof path);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read (fd, text, sizeof text - 1) : -1;
  if (fd >= 0)
    close (fd);
  if (n > 0) {
    text[n] = 0;
    memcpy (v->seen, text, (size_t) n + 1);
  }
  v->seen_is_loaded = true;
}

static void
save (const struct vault *v)
{
  char path[4600], tmp[4610];
  path_of (v, path, sizeof path);
  snprintf (tmp, sizeof tmp, "%s.tmp", path);
  int fd = open (tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  size_t n = strlen (v->seen);
  bool ok = fd >= 0 && write (fd, v->seen, n) == (ssize_t) n && fdatasync (fd) == 0;
  if (fd >= 0)
    close (fd);
  if (!ok || rename (tmp, path) != 0)
    log_warn ("cannot note the newest snapshot path=%s: a rolled-back store would not be noticed",
              path);
}

void
seen_check_locked (struct vault *v)
{
  lock_assert_held (&v->lock);
  if (!v->region->mount->opts.state_dir)
    return; /* a tool without a mount */
  if (!v->seen_is_loaded)
    load (v);
  const struct catalog_entry *newest = v->entry_count ? &v->entries[v->entry_count - 1] : NULL;
  bool is_there = !v->seen[0];
  for (size_t i = v->entry_count; !is_there && i-- > 0;) {
    char name[sizeof v->seen];
    snprintf (name, sizeof name, "%s.%s", v->entries[i].ts, v->entries[i].digest);
    is_there = strcmp (name, v->seen) == 0;
  }
  if (!is_there && !v->shows_less)
    log_err ("the store shows less than before region=%s vault=%s missing=%s: it was rolled back, "
             "damaged or"
             " something was removed behind coffer; do not seal on top of it before you know",
               v->region->name,
             v->name, v->seen);
  v->shows_less = !is_there;
  if (!is_there || !newest)
    return;
  char name[sizeof v->seen];
  snprintf (name, sizeof name, "%s.%s", newest->ts, newest->digest);
  if (strcmp (name, v->seen) > 0) {
    snprintf (v->seen, sizeof v->seen, "%s", name);
    save (v);
  }
}
