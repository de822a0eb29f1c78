/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: those that were put in, and the virtual ones under user.coffer. (ruling 9):
 * answered by name, never listed but for user.coffer.meta.*, never set but for those on an open
 * snapshot's directory. */
#define LOG_MODULE "mount"
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "snapshot/file.h"
#include "snapshot/parts.h"
#include "snapshot/where.h"

#define PREFIX "user.coffer."
#define META "user.coffer.meta."
#define META_VALUE_MAX 65535

static bool
starts (const char *s, const char *with)
{
  return strncmp (s, with, strlen (with)) == 0;
}

static bool
is_virtual (const char *name)
{
  return starts (name, PREFIX);
}

static void
put_time (struct buf *out, int64_t ns)
{
  time_t sec = (time_t) (ns / NS_PER_S);
  struct tm tm;
  char text[32];
  gmtime_r (&sec, &tm);
  strftime (text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
  buf_put (out, text, strlen (text));
}

static int
put_text (struct buf *out, const char *text)
{
  if (!text || !*text)
    return ERR_NODATA;
  buf_put (out, text, strlen (text));
  return buf_error (out);
}

/* Facts of a sealed snapshot, on its root. */
static int
sealed_fact (struct sealed *t, const char *fact, unsigned flags, struct buf *out)
{
  AUTO_PART part = NULL;
  int rc = sealed_hold (t, SEALED_MANIFEST, flags, &part);
  if (rc)
    return rc;
  const struct manifest *m = &part->manifest;
  if (strcmp (fact, "state") == 0)
    return put_text (out, "sealed");
  if (strcmp (fact, "digest") == 0)
    return put_text (out, t->digest);
  if (strcmp (fact, "region") == 0)
    return put_text (out, t->vault->region->name);
  if (strcmp (fact, "kind") == 0)
    return put_text (out, m->kind);
  if (strcmp (fact, "sealed-by") == 0)
    return put_text (out, m->sealed_by);
  if (strcmp (fact, "created") == 0)
    put_time (out, m->created);
  else if (strcmp (fact, "sealed") == 0)
    put_time (out, m->finished);
  else if (strcmp (fact, "size") == 0)
    buf_printf (out, "%llu", (unsigned long long) m->counts.logical);
  else if (strcmp (fact, "stored") == 0)
    buf_printf (out, "%llu", (unsigned long long) m->counts.stored);
  else if (strcmp (fact, "new") == 0)
    buf_printf (out, "%llu", (unsigned long long) m->counts.fresh);
  else if (strcmp (fact, "dedup") == 0)
    buf_printf (out, "%llu", (unsigned long long) m->counts.dedup);
  else if (strcmp (fact, "files") == 0)
    buf_printf (out, "%llu", (unsigned long long) m->counts.files);
  else if (strcmp (fact, "parts") == 0)
    manifest_parts_text (m, out);
  else
    return put_text (out, manifest_meta_get (m, starts (fact, "meta.") ? fact + 5 : fact));
  return buf_error (out);
}

/* Ours, and those of others as they were seen last. */
static int
open_parts (struct snap *s, struct buf *out)
{
  struct part_seen *seen = NULL;
  size_t n = 0;
  int rc = parts_peek (s->vault, &seen, &n);
  buf_printf (out, "%s %s %s\n", s->part, s->mount->host, s->is_finished ? "finished" : "open");
  for (size_t i = 0; rc == 0 && i < n; i++)
    if (strcmp (seen[i].ts, s->name.ts) == 0 && strcmp (seen[i].id, s->part) != 0)
      buf_printf (out, "%s %s %s\n", seen[i].id, seen[i].host, part_state_str (seen[i].state));
  free (seen);
  return rc ? rc : buf_error (out);
}

static int
open_fact (struct snap *s, const char *fact, struct buf *out)
{
  if (strcmp (fact, "parts") == 0)
    return open_parts (s, out);
  LOCK_SCOPE (&s->lock);
  if (strcmp (fact, "state") == 0)
    return put_text (out, s->life == LIFE_SEALING ? "sealing" : s->life == LIFE_SEALED ? "sealed"
                     : s->is_finished ? "finished" : "open");
  if (strcmp (fact, "region") == 0)
    return put_text (out, s->vault->region->name);
  if (strcmp (fact, "error") == 0)
    return put_text (out, s->error_text);
  if (strcmp (fact, "part") == 0)
    return put_text (out, s->part);
  if (strcmp (fact, "created") == 0) {
    put_time (out, s->created);
    return buf_error (out);
  }
  const char *key = starts (fact, "meta.") ? fact + 5 : fact;
  for (size_t i = 0; i < s->meta_count; i++)
    if (strcmp (s->meta[i].key, key) == 0)
      return put_text (out, s->meta[i].value);
  return ERR_NODATA;
}

static int
file_digest (struct where *w, unsigned flags, struct buf *out)
{
  AUTO (sealed_file) f = NULL;
  if (flags & MOUNT_NOWAIT)
    return ERR_WOULDBLOCK;
  int rc = sealed_file_open (w->sealed, w->row, flags, &f);
  uint8_t sha[32];
  char hex[65];
  if (rc == 0)
    rc = sealed_file_digest (f, sha);
  if (rc)
    return rc == ERR_ISDIR || rc == ERR_INVALID ? ERR_NODATA : rc;
  hex_encode (sha, 32, hex);
  return put_text (out, hex);
}

/* Bytes of the file that need no network, as "cached/size". */
static int
file_cached (struct where *w, unsigned flags, struct buf *out)
{
  AUTO (sealed_file) f = NULL;
  int rc = sealed_file_open (w->sealed, w->row, flags, &f);
  if (rc)
    return rc == ERR_ISDIR || rc == ERR_INVALID ? ERR_NODATA : rc;
  uint64_t cached = 0, size = sealed_file_size (f);
  for (uint64_t off = 0; off < size;) {
    struct mapped x;
    struct chunk_want want = { .src = &w->vault->source, .type = UNIT_DATA };
    rc = sealed_file_get (f, off, flags, &x, want.pack);
    if (rc)
      return rc;
    uint64_t n = x.e.len < size - off ? x.e.len : size - off;
    want.ref = x.e.ref;
    if (x.e.kind != EXTENT_DATA || reader_is_cached (w->region->mount->reader, &want, 1))
      cached += n;
    off += n;
  }
  buf_printf (out, "%llu/%llu", (unsigned long long) cached, (unsigned long long) size);
  return buf_error (out);
}

static int
virtual_get (struct where *w, const char *fact, unsigned flags, struct buf *out)
{
  if (w->place == AT_SEALED && w->row == 0)
    return sealed_fact (w->sealed, fact, flags, out);
  if (w->place == AT_SEALED && strcmp (fact, "digest") == 0)
    return file_digest (w, flags, out);
  if (w->place == AT_SEALED && strcmp (fact, "cached") == 0)
    return file_cached (w, flags, out);
  if (w->place == AT_SEALED && strcmp (fact, "sha256") == 0) {
    AUTO_ROW v = { 0 };
    int rc = sealed_row (w->sealed, w->row, flags, &v);
    if (rc || !v.row.attr.sha256)
      return rc ? rc : ERR_NODATA;
    char hex[65];
    hex_encode (v.row.attr.sha256, 32, hex);
    return put_text (out, hex);
  }
  if (w->place == AT_OPEN && w->ino == WORKTREE_ROOT)
    return open_fact (w->snap, fact, out);
  return ERR_NODATA;
}

int
mount_getxattr (struct mount *m, uint64_t node, const char *name, unsigned flags, struct buf *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  buf_reset (out);
  if (is_virtual (name))
    return virtual_get (&w, name + strlen (PREFIX), flags, out);
  if (w.place == AT_OPEN) {
    AUTO_INODE i = NULL;
    rc = worktree_get (w.snap->tree, w.ino, &i);
    return rc ? rc : inode_getxattr (i, name, out);
  }
  if (w.place != AT_SEALED)
    return ERR_NODATA;
  AUTO_ROW v = { 0 };
  rc = sealed_row (w.sealed, w.row, flags, &v);
  if (rc)
    return rc;
  struct rd r = rd_of (v.row.attr.xattrs, v.row.attr.xattrs_len);
  if (v.row.attr.xattrs_len)
    (void) rd_varint (&r);
  const uint8_t *k, *value;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &value, &vlen))
    if (klen == strlen (name) && memcmp (k, name, klen) == 0) {
      buf_put (out, value, vlen);
      return buf_error (out);
    }
  return ERR_NODATA;
}

static void
list_meta (struct buf *out, const struct manifest_meta *meta, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    if (strcmp (meta[i].key, "parent") == 0)
      continue; /* the seal's own record: no copy carries it along (ruling 9) */
    buf_put (out, META, strlen (META));
    buf_put (out, meta[i].key, strlen (meta[i].key) + 1);
  }
}

int
mount_listxattr (struct mount *m, uint64_t node, unsigned flags, struct buf *out)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  buf_reset (out);
  if (w.place == AT_OPEN) {
    if (w.ino == WORKTREE_ROOT) {
      LOCK_SCOPE (&w.snap->lock);
      list_meta (out, w.snap->meta, w.snap->meta_count);
    }
    AUTO_INODE i = NULL;
    rc = worktree_get (w.snap->tree, w.ino, &i);
    return rc ? rc : inode_listxattr (i, out);
  }
  if (w.place != AT_SEALED)
    return 0;
  if (w.row == 0) {
    AUTO_PART part = NULL;
    rc = sealed_hold (w.sealed, SEALED_MANIFEST, flags, &part);
    if (rc)
      return rc;
    list_meta (out, part->manifest.meta, part->manifest.meta_count);
  }
  AUTO_ROW v = { 0 };
  rc = sealed_row (w.sealed, w.row, flags, &v);
  if (rc)
    return rc;
  struct rd r = rd_of (v.row.attr.xattrs, v.row.attr.xattrs_len);
  if (v.row.attr.xattrs_len)
    (void) rd_varint (&r);
  const uint8_t *k, *value;
  size_t klen, vlen;
  while (xattrs_next (&r, &k, &klen, &value, &vlen)) {
    buf_put (out, k, klen);
    buf_put_u8 (out, 0);
  }
  return buf_error (out);
}

static int
virtual_set (struct where *w, const char *name, const void *value, size_t n)
{
  if (w->place != AT_OPEN || w->ino != WORKTREE_ROOT || !starts (name, META)
      || !name[strlen (META)])
    return ERR_PERM;
  if (n > META_VALUE_MAX || strlen (name) > 255)
    return ERR_RANGE;
  AUTO_STR text = strndup (value ? value : "", n);
  if (!text)
    return ERR_NOMEM;
  return snap_set_meta (w->snap, name + strlen (META), text);
}

int
mount_setxattr (struct mount *m, uint64_t node, const char *name, const void *value, size_t n,
                unsigned flags)
{
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  rc = snap_may_change (w.snap);
  if (rc)
    return rc;
  if (is_virtual (name))
    return virtual_set (&w, name, value, n);
  AUTO_INODE i = NULL;
  rc = worktree_get (w.snap->tree, w.ino, &i);
  return rc ? rc : worktree_setxattrs (i, name, value, n, flags);
}

int
mount_removexattr (struct mount *m, uint64_t node, const char *name, unsigned flags)
{
  (void) flags;
  AUTO_WHERE w = { .place = AT_ROOT };
  int rc = where_is (m, node, &w);
  if (rc)
    return rc;
  if (w.place != AT_OPEN)
    return w.place == AT_SEALED ? ERR_ROFS : ERR_PERM;
  rc = snap_may_change (w.snap);
  if (rc)
    return rc;
  if (is_virtual (name))
    return w.ino == WORKTREE_ROOT && starts (name, META)
      ? snap_set_meta (w.snap, name + strlen (META), NULL)
                                                         : ERR_PERM;
  AUTO_INODE i = NULL;
  rc = worktree_get (w.snap->tree, w.ino, &i);
  return rc ? rc : worktree_removexattr (i, name);
}
