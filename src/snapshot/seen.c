/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "seen"
#include "snapshot/seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "snapshot/vault.h"

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
save (const char *path, const char *text, size_t n)
{
  char tmp[4610];
  snprintf (tmp, sizeof tmp, "%s.tmp", path);
  int fd = open (tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = fd >= 0 && write (fd, text, n) == (ssize_t) n && fdatasync (fd) == 0;
  if (fd >= 0)
    close (fd);
  if (!ok || rename (tmp, path) != 0)
    log_warn ("cannot note what the store shows path=%s: a rolled-back store would not be noticed",
              path);
}

static void
save_newest (const struct vault *v)
{
  char path[4600];
  path_of (v, path, sizeof path);
  save (path, v->seen, strlen (v->seen));
}

static bool
is_listed_locked (const struct vault *v, const char *digest)
{
  for (size_t i = v->entry_count; i-- > 0;)
    if (strcmp (v->entries[i].digest, digest) == 0)
      return true;
  return false;
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
  if (!is_there && !v->is_behind)
    log_err ("the store shows less than before region=%s vault=%s missing=%s: it was rolled back, "
             "damaged or"
             " something was removed behind coffer; do not seal on top of it before you know",
               v->region->name,
             v->name, v->seen);
  v->is_behind = !is_there;
  if (v->lacks[0] && is_listed_locked (v, v->lacks))
    v->lacks[0] = 0;
  v->shows_less = !is_there || v->lacks[0];
  if (!is_there || !newest)
    return;
  char name[sizeof v->seen];
  snprintf (name, sizeof name, "%s.%s", newest->ts, newest->digest);
  if (strcmp (name, v->seen) > 0) {
    snprintf (v->seen, sizeof v->seen, "%s", name);
    save_newest (v);
  }
}

/* The first of those that the manifest M names which the listing lacks. */
static bool
find_lacking (struct vault *v, const struct manifest *m, char digest[2 * DIGEST_LEN + 1])
{
  LOCK_SCOPE (&v->lock);
  for (size_t i = 0; i < m->newest_count; i++) {
    hex_encode (m->newest[i], DIGEST_LEN, digest);
    if (!is_listed_locked (v, digest))
      return true;
  }
  return false;
}

void
seen_check_named (struct vault *v, struct sealed *t)
{
  char digest[2 * DIGEST_LEN + 1];
  AUTO_PART part = NULL;
  if (sealed_hold (t, SEALED_MANIFEST, 0, &part) != 0)
    return; /* logged; it was at hand a moment ago, so this is a matter of memory */
  const struct manifest *m = &part->manifest;
  /* What is at hand may be older than T. */
  if (!find_lacking (v, m, digest) || vault_list_again (v) != 0 || !find_lacking (v, m, digest))
    return;
  lock_take (&v->lock);
  bool is_news = !v->lacks[0];
  if (is_news)
    memcpy (v->lacks, digest, sizeof v->lacks);
  v->shows_less = true;
  lock_release (&v->lock);
  if (is_news)
    log_err ("the store does not show a snapshot that another names as sealed before it region=%s "
             "vault=%s snapshot=%s missing=%s: the store was rolled back, damaged or something was "
             "removed behind coffer; do not seal on top of it before you know",
             v->region->name, v->name, t->ts, digest);
}

/* ---- the superblock ---- */

#define STORE_TEXT_MAX (3 * FEATURE_MAX * 48 + 64)

static void
put_features (struct buf *out, const char *what, const char names[FEATURE_MAX][32], int n)
{
  for (int i = 0; i < n; i++)
    buf_printf (out, "%s %s\n", what, names[i]);
}

static void
describe (const struct superblock *sb, struct buf *out)
{
  put_features (out, "read", sb->read, sb->read_count);
  put_features (out, "write", sb->write, sb->write_count);
  put_features (out, "collect", sb->collect, sb->collect_count);
}

/* Whether each feature of SEEN is one of HAVE's; *lost gets one that is not.  What is no line of
 * ours (a damaged file) says nothing. */
static bool
has_all (const char *seen, const char *have, char *lost, size_t cap)
{
  for (const char *p = seen; *p;) {
    size_t n = strcspn (p, "\n");
    char line[64];
    bool is_feature = strncmp (p, "read ", 5) == 0 || strncmp (p, "write ", 6) == 0
                      || strncmp (p, "collect ", 8) == 0;
    snprintf (line, sizeof line, "\n%.*s\n", (int) n, p); /* HAVE begins with its format */
    if (is_feature && !strstr (have, line)) {
      snprintf (lost, cap, "%.*s", (int) n, p);
      return false;
    }
    p += n + (p[n] != 0);
  }
  return true;
}

int
seen_check_store (const struct mount *m, const char *region, const struct superblock *sb)
{
  char path[4600], id[2 * STORE_ID_LEN + 1], seen[STORE_TEXT_MAX] = "", lost[64] = "";
  hex_encode (sb->store_id, STORE_ID_LEN, id);
  snprintf (path, sizeof path, "%s/seen/store-%s", m->opts.state_dir, id);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read (fd, seen, sizeof seen - 1) : -1;
  if (fd >= 0)
    close (fd);
  seen[n > 0 ? n : 0] = 0;
  AUTO_BUF now;
  buf_init (&now, STORE_TEXT_MAX);
  buf_printf (&now, "format %d\n", sb->format);
  describe (sb, &now);
  buf_put_u8 (&now, 0);
  if (buf_error (&now))
    return ERR_NOMEM;
  int format = 0;
  if (sscanf (seen, "format %9d", &format) == 1 && format > sb->format)
    snprintf (lost, sizeof lost, "format %d", format);
  if (lost[0] || !has_all (seen, (const char *) now.data, lost, sizeof lost)) {
    log_err ("the store's superblock is older than one seen before region=%s key=coffer.json "
             "store=%s lost=\"%s\": an old copy was put back, or the store rolled back; it is not "
             "used. Put the newer one back from a copy. Where it is meant to be so, remove %s",
             region, id, lost, path);
    return ERR_FORMAT;
  }
  if (strcmp (seen, (const char *) now.data) != 0)
    save (path, (const char *) now.data, now.len - 1);
  return 0;
}
