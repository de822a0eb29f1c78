/* SPDX-License-Identifier: Apache-2.0 */
/* double_files - the part of mount.h that works on open files, directories, and the mount. */
#include <stdio.h>

#include "double_priv.h"

/* ---- directories ---- */

int
mount_opendir (struct mount *m, uint64_t node, unsigned flags, struct dir **out)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  LOCKED (m);
  struct dir *d = malloc (sizeof *d);
  if (!d)
    return ERR_NOMEM;
  d->inode = double_inode (m, node);
  m->open_files++;
  *out = d;
  return 0;
}

void
mount_closedir (struct mount *m, struct dir *d)
{
  LOCKED (m);
  m->open_files--;
  free (d);
}

int
mount_readdir (struct mount *m, struct dir *d, uint64_t cookie, bool with_stat, unsigned flags,
               dir_fn fn, void *ctx)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  LOCKED (m);
  struct node_stat st;
  struct entry *e = d->inode->last;
  while (e && e->cookie > cookie) /* new names are at the end */
    e = e->prev;
  for (e = e ? e->next : d->inode->first; e; e = e->next) {
    double_stat (m, e->inode, &st, false);
    if (!fn (ctx, e->name, e->inode->st.attr.kind, with_stat ? &st : NULL, e->cookie))
      break;
    if (with_stat && e->inode->depth >= 3)
      m->refs++;
  }
  return 0;
}

/* ---- files ---- */

static int
open_inode (struct mount *m, struct inode *n, unsigned mode, struct file **out)
{
  if (n->st.attr.kind != NODE_FILE)
    return ERR_ISDIR;
  if ((mode & (OPEN_WRITE | OPEN_TRUNC)) && double_is_sealed (n))
    return ERR_ROFS;
  struct file *f = malloc (sizeof *f);
  if (!f)
    return ERR_NOMEM;
  f->inode = n;
  f->mode = mode;
  if (mode & OPEN_TRUNC && n->st.attr.size) {
    (void) double_resize (n, 0); /* shrinking cannot fail */
    n->st.attr.mtime = n->st.ctime = double_now ();
  }
  m->open_files++;
  m->writers += mode & OPEN_WRITE ? 1 : 0;
  *out = f;
  return 0;
}

int
mount_open (struct mount *m, uint64_t node, unsigned mode, unsigned flags, struct file **out)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  LOCKED (m);
  return open_inode (m, double_inode (m, node), mode, out);
}

int
mount_create (struct mount *m, const struct cred *who, uint64_t parent, const char *name,
              uint32_t perm,
              unsigned mode, unsigned flags, struct file **out, struct node_stat *stat)
{
  struct mknod_args args = { .kind = NODE_FILE, .mode = perm };
  int rc = mount_mknod (m, who, parent, name, &args, flags, stat);
  if (rc < 0)
    return rc;
  LOCKED (m);
  return open_inode (m, double_inode (m, stat->node), mode, out);
}

int
mount_tmpfile (struct mount *m, const struct cred *who, uint64_t parent, uint32_t perm,
               unsigned mode,
               struct file **out, struct node_stat *stat)
{
  return ERR_NOTSUP;
}

void
mount_release (struct mount *m, struct file *f)
{
  LOCKED (m);
  m->open_files--;
  m->writers -= f->mode & OPEN_WRITE ? 1 : 0;
  free (f);
}

size_t
double_open_files (struct mount *m)
{
  LOCKED (m);
  return m->open_files;
}

bool
file_is_sealed (const struct file *f)
{
  return double_is_sealed (f->inode);
}

uint64_t
file_node (const struct file *f)
{
  return f->inode->node;
}

int
mount_read (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags, uint8_t *out,
            size_t *got)
{
  int rc = double_wait (m, flags);
  if (rc < 0)
    return rc;
  LOCKED (m);
  uint64_t size = f->inode->st.attr.size, left = off < size ? size - off : 0;
  *got = left < len ? (size_t) left : len;
  if (*got)
    memcpy (out, f->inode->data + off, *got);
  return 0;
}

int
mount_read_pinned (struct mount *m, struct file *f, uint64_t off, size_t len, unsigned flags,
                   struct pinned **out)
{
  return ERR_NOTSUP;
}

void
pinned_free (struct pinned *p)
{
}

int
mount_write (struct mount *m, struct file *f, uint64_t off, const uint8_t *data, size_t len,
             size_t *done, bool *is_held)
{
  LOCKED (m);
  struct inode *n = f->inode;
  if (double_is_sealed (n))
    return ERR_ROFS;
  if (m->opts.is_held && len > 128 << 10) /* a part, as the real one does when it is behind */
    len = 128 << 10;
  int rc = off + len > n->st.attr.size ? double_resize (n, off + len) : 0;
  if (rc < 0)
    return rc;
  memcpy (n->data + off, data, len);
  n->st.attr.mtime = n->st.ctime = double_now ();
  *done = len;
  *is_held = m->opts.is_held;
  return 0;
}

bool
mount_may_write (struct mount *m, const struct file *f)
{
  (void) m;
  (void) f;
  return false; /* only those that mount_admit lets in */
}

int
mount_admit (struct mount *m, const struct file *f, int64_t timeout_ns)
{
  (void) f;
  int64_t step = m->opts.admit_per_s ? NS_PER_S / m->opts.admit_per_s : 0;
  for (int64_t end = clock_now () + timeout_ns;; clock_sleep (NS_PER_MS)) {
    LOCKED (m);
    int64_t now = clock_now ();
    if (m->is_cancelled)
      return ERR_CANCELLED;
    if (step && now - m->admitted_at >= step) {
      m->admitted_at = now;
      return 0;
    }
    if (now >= end)
      return ERR_AGAIN;
  }
}

void
mount_write_expired (struct mount *m, struct file *f)
{
}

int
mount_flush (struct mount *m, struct file *f)
{
  return 0;
}

/* From a thread of its own where it "waits", as the real one does. */
static void *
fsync_later (void *arg)
{
  struct mount_wait *w = arg;
  clock_sleep (20 * NS_PER_MS);
  w->done (w, 0);
  return NULL;
}

void
mount_fsync (struct mount *m, uint64_t node, struct file *f, struct mount_wait *w)
{
  pthread_t t;
  if (m->opts.wait_ms && pthread_create (&t, NULL, fsync_later, w) == 0)
    pthread_detach (t);
  else
    w->done (w, 0);
}

int
mount_fallocate (struct mount *m, struct file *f, int mode, uint64_t off, uint64_t len)
{
  LOCKED (m);
  struct inode *n = f->inode;
  uint64_t size = n->st.attr.size, end = off + len;
  if (end > size && !(mode & FALLOC_KEEP_SIZE)) {
    int rc = double_resize (n, end);
    if (rc < 0)
      return rc;
  }
  if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) && off < n->st.attr.size)
    memset (n->data + off, 0, (end < n->st.attr.size ? end : n->st.attr.size) - off);
  n->st.attr.mtime = n->st.ctime = double_now ();
  return 0;
}

int
mount_lseek (struct mount *m, struct file *f, uint64_t off, bool is_hole, unsigned flags,
             uint64_t *out)
{
  LOCKED (m);
  uint64_t size = f->inode->st.attr.size;
  if (off >= size)
    return ERR_NXIO;
  *out = is_hole ? size : off;
  return 0;
}

int
mount_copy_range (struct mount *m, struct file *in, uint64_t in_off, struct file *out,
                  uint64_t out_off,
                  uint64_t len, unsigned flags, uint64_t *copied)
{
  LOCKED (m);
  uint64_t size = in->inode->st.attr.size, left = in_off < size ? size - in_off : 0;
  uint64_t n = left < len ? left : len;
  int rc = out_off + n > out->inode->st.attr.size ? double_resize (out->inode, out_off + n) : 0;
  if (rc < 0)
    return rc;
  if (n)
    memmove (out->inode->data + out_off, in->inode->data + in_off, n);
  *copied = n;
  return 0;
}

int
mount_statfs (struct mount *m, uint64_t node, struct mount_statfs *out)
{
  *out = (struct mount_statfs){
    .blocks = 1 << 30, .bfree = 1 << 30, .bavail = 1 << 30, .files = 1 << 30, .ffree = 1 << 30,
    .bsize = 4096, .namemax = 255,
  };
  return 0;
}

/* ---- the mount ---- */

int
mount_drain (struct mount *m)
{
  return 0;
}

void
mount_cancel (struct mount *m)
{
  LOCKED (m);
  m->is_cancelled = true;
}

size_t
mount_writers (struct mount *m)
{
  LOCKED (m);
  return m->writers;
}

int
mount_seal_start (struct mount *m, const char *path, unsigned flags, const char *without)
{
  LOCKED (m);
  struct inode *n = m->inodes[1];
  char name[256];
  while (*path) {
    size_t len = strcspn (path, "/");
    snprintf (name, sizeof name, "%.*s", (int) len, path);
    struct entry *e = double_find (n, name);
    if (!e)
      return ERR_NOENT;
    n = e->inode;
    path += len + strspn (path + len, "/");
  }
  if (n->depth != 3)
    return ERR_INVALID;
  if (n->is_sealed)
    return ERR_STATE;
  if (m->writers && !(flags & SEAL_FORCE))
    return ERR_BUSY;
  n->is_sealed = true;
  return 0;
}

static size_t
list_snapshots (struct mount *m, struct snapshot_info *out)
{
  size_t n = 0;
  struct entry *region = m->inodes[1]->first;
  for (struct entry *v = region->inode->first; v; v = v->next)
    for (struct entry *s = v->inode->first; s; s = s->next, n++) {
      if (!out)
        continue;
      out[n] = (struct snapshot_info){ .created = clock_wall (), .changed = clock_wall () };
      snprintf (out[n].region, sizeof out[n].region, "%s", region->name);
      snprintf (out[n].vault, sizeof out[n].vault, "%s", v->name);
      snprintf (out[n].name, sizeof out[n].name, "%s", s->name);
      out[n].state = s->inode->is_sealed ? SNAP_SEALED : SNAP_OPEN;
      out[n].files = s->inode->count;
    }
  return n;
}

int
mount_snapshots (struct mount *m, struct snapshot_info **out, size_t *n)
{
  LOCKED (m);
  *n = list_snapshots (m, NULL);
  *out = calloc (*n + 1, sizeof **out);
  if (!*out)
    return ERR_NOMEM;
  list_snapshots (m, *out);
  return 0;
}

bool
mount_next_lingering (struct mount *m, uint32_t *cursor, uint64_t *dir, char sealed[128],
                      char open[128])
{
  (void) m, (void) cursor, (void) dir, (void) sealed, (void) open;
  return false; /* its seals take no time and hold nothing */
}

bool
mount_is_sealing (struct mount *m)
{
  (void) m;
  return false;
}

int
mount_parts (struct mount *m, struct part_info **out, size_t *n)
{
  (void) m;
  *n = 0;
  *out = calloc (1, sizeof **out);
  return *out ? 0 : ERR_NOMEM;
}

const char *
part_state_str (enum part_state s)
{
  (void) s;
  return "open";
}

int
mount_adopt (struct mount *m, const char *path, unsigned flags, struct buf *why)
{
  (void) m;
  (void) path;
  (void) flags;
  (void) why;
  return ERR_NOENT; /* only this mount writes the double's store */
}

int
mount_stats_get (struct mount *m, struct mount_stats *out)
{
  *out = (struct mount_stats){ .region_count = 1, .arena_max = 1 << 20 };
  out->regions = calloc (1, sizeof *out->regions);
  if (!out->regions)
    return ERR_NOMEM;
  snprintf (out->regions[0].name, sizeof out->regions[0].name, "ram");
  return 0;
}

void
mount_stats_release (struct mount_stats *s)
{
  free (s->regions);
}

int
mount_cache_command (struct mount *m, const char *verb, const char *path)
{
  return strcmp (verb, "warm") == 0 ? 0 : ERR_INVALID;
}
