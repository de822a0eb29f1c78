/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fs/control_priv.h"

enum {
  NODE_CONTROL = 2,
  NODE_THROTTLE = 3,
  NODE_FILES = 16,
  NODE_REGIONS = 4096,
  NODE_COMMANDS = 1 << 20,
};

struct control {
  /* immutable after new */
  struct rates *rates;
  size_t region_count;
  char (*regions)[64]; /* the first is "host" */
  _Atomic (uint64_t) next_command;
};

struct control_handle {
  /* immutable after open */
  struct fs *fs;
  uint64_t node;
  struct lock lock;
  /* guarded by lock */
  struct buf text;
  _Atomic (bool) is_stop; /* the session ends when the answer has been read, or at the close */
};

/* ---- the files ---- */

static int
fill_version (struct fs *fs, struct buf *out)
{
  buf_printf (out, "coffer %s\nlibfuse %s\nprotocol 7.%u\nstore format 1\n", PACKAGE_VERSION,
              fuse_pkgversion (), fs->proto_minor);
  return buf_error (out);
}

static int
fill_config (struct fs *fs, struct buf *out)
{
  return fs->opts.control.config (fs->opts.control.ctx, out);
}

static int
fill_history (struct fs *fs, struct buf *out)
{
  return fs->opts.control.history (fs->opts.control.ctx, out);
}

static const struct {
  const char *name;
  mode_t mode;
  control_fill_fn fill; /* NULL: `command` */
} files[] = {
  { "status", 0444, control_fill_status },   { "status.json", 0444, control_fill_json },
  { "metrics", 0444, control_fill_metrics }, { "health", 0444, control_fill_health },
  { "version", 0444, fill_version },         { "config", 0444, fill_config },
  { "history", 0444, fill_history },         { "command", 0600, NULL },
};
enum { FILE_COUNT = sizeof files / sizeof *files };

static bool
file_is_there (const struct fs *fs, size_t i)
{
  if (files[i].fill == fill_config)
    return fs->opts.control.config;
  if (files[i].fill == fill_history)
    return fs->opts.control.history;
  return true;
}

/* ---- life ---- */

static int
take_regions (struct control *c, struct fs *fs)
{
  struct mount_stats stats;
  int rc = mount_stats_get (fs->mount, &stats);
  if (rc < 0)
    return rc;
  c->regions = calloc (stats.region_count + 1, sizeof *c->regions);
  if (c->regions) {
    snprintf (c->regions[0], sizeof *c->regions, "host");
    for (size_t i = 0; i < stats.region_count; i++)
      snprintf (c->regions[i + 1], sizeof *c->regions, "%s", stats.regions[i].name);
    c->region_count = stats.region_count + 1;
  }
  mount_stats_release (&stats);
  return c->regions ? 0 : ERR_NOMEM;
}

int
control_new (struct fs *fs, struct control **out)
{
  struct control *c = calloc (1, sizeof *c);
  if (!c)
    return ERR_NOMEM;
  int rc = rates_new (&c->rates);
  if (rc == 0)
    rc = take_regions (c, fs);
  if (rc < 0) {
    control_free (c);
    return rc;
  }
  *out = c;
  return 0;
}

void
control_free (struct control *c)
{
  if (!c)
    return;
  rates_free (c->rates);
  free (c->regions);
  free (c);
}

struct rates *
control_rates (struct fs *fs)
{
  return fs->control->rates;
}

/* ---- nodes ---- */

bool
control_owns (fuse_ino_t parent, const char *name)
{
  return node_is_control (parent) || (parent == NODE_ROOT && strcmp (name, CONTROL_DIR) == 0);
}

static uint64_t
find (struct fs *fs, fuse_ino_t parent, const char *name)
{
  struct control *c = fs->control;
  if (parent == NODE_ROOT)
    return NODE_CONTROL;
  if (parent == NODE_THROTTLE && fs->opts.control.throttle_get)
    for (size_t i = 0; i < c->region_count; i++)
      if (strcmp (name, c->regions[i]) == 0)
        return NODE_REGIONS + i;
  if (parent != NODE_CONTROL)
    return 0;
  if (strcmp (name, "throttle") == 0)
    return NODE_THROTTLE;
  for (size_t i = 0; i < FILE_COUNT; i++)
    if (strcmp (name, files[i].name) == 0 && file_is_there (fs, i))
      return files[i].fill ? NODE_FILES + i : NODE_COMMANDS + (c->next_command++ & 0xffffffff);
  return 0;
}

static void
fill_stat (const struct fs *fs, uint64_t node, struct stat *st)
{
  *st = (struct stat){ .st_ino = node, .st_nlink = 1, .st_uid = fs->uid, .st_gid = fs->gid };
  if (node == NODE_CONTROL || node == NODE_THROTTLE) {
    st->st_mode = S_IFDIR | 0555;
    st->st_nlink = 2;
  } else if (node >= NODE_COMMANDS)
    st->st_mode = S_IFREG | 0600;
  else if (node >= NODE_REGIONS)
    st->st_mode = S_IFREG | (fs->opts.control.throttle_set ? 0644 : 0444);
  else
    st->st_mode = S_IFREG | files[node - NODE_FILES].mode;
  st->st_mtim.tv_sec = st->st_atim.tv_sec = st->st_ctim.tv_sec = fs->started / NS_PER_S;
}

void
control_lookup (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs *fs = fs_of (req);
  struct fuse_entry_param e = { .ino = find (fs, parent, name) };
  if (!e.ino) {
    fuse_reply_err (req, ENOENT);
    return;
  }
  fill_stat (fs, e.ino, &e.attr);
  e.attr_timeout = TIMEOUT_LONG_S;
  e.entry_timeout = e.ino >= NODE_COMMANDS ? 0 : TIMEOUT_LONG_S;
  fuse_reply_entry (req, &e);
}

void
control_getattr (fuse_req_t req, fuse_ino_t ino)
{
  struct stat st;
  fill_stat (fs_of (req), ino, &st);
  fuse_reply_attr (req, &st, TIMEOUT_LONG_S);
}

/* `echo x > throttle/eu` may come with a truncation of its own, which means nothing here. */
void
control_setattr (fuse_req_t req, fuse_ino_t ino, int to_set)
{
  if (ino < NODE_REGIONS || (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
    fuse_reply_err (req, EPERM);
  else
    control_getattr (req, ino);
}

static const char *
entry_name (struct fs *fs, fuse_ino_t dir, size_t i, mode_t *type)
{
  *type = i < 2 ? S_IFDIR : S_IFREG;
  if (i < 2)
    return i ? ".." : ".";
  i -= 2;
  if (dir == NODE_THROTTLE)
    return fs->opts.control.throttle_get && i < fs->control->region_count ? fs->control->regions[i]
                                                                          : NULL;
  if (i == FILE_COUNT) {
    *type = S_IFDIR;
    return "throttle";
  }
  return i < FILE_COUNT ? files[i].name : NULL;
}

void
control_readdir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool is_plus)
{
  struct fs *fs = fs_of (req);
  char out[4096]; /* all of it, but for hundreds of regions, which take more calls */
  size_t n = 0;
  mode_t type;
  const char *name;
  if (size > sizeof out)
    size = sizeof out;
  for (size_t i = (size_t) off; (name = entry_name (fs, ino, i, &type)); i++) {
    if (ino == NODE_CONTROL && i >= 2 && i - 2 < FILE_COUNT && !file_is_there (fs, i - 2))
      continue;
    /* Without a node: who asks for attributes looks the name up. */
    struct fuse_entry_param e = { .attr = { .st_ino = 0xffffffff, .st_mode = type } };
    size_t need = is_plus
                    ? fuse_add_direntry_plus (req, out + n, size - n, name, &e, (off_t) i + 1)
                    : fuse_add_direntry (req, out + n, size - n, name, &e.attr, (off_t) i + 1);
    if (need > size - n)
      break;
    n += need;
  }
  fuse_reply_buf (req, out, n);
}

/* ---- handles ---- */

void
control_handle_free (struct control_handle *h)
{
  if (!h)
    return;
  if (h->is_stop)
    fs_stop (h->fs);
  buf_release (&h->text);
  lock_destroy (&h->lock);
  free (h);
}

static int
fill_text (struct fs *fs, uint64_t node, struct buf *out)
{
  const struct fs_control *up = &fs->opts.control;
  if (node >= NODE_COMMANDS)
    return 0;
  if (node >= NODE_REGIONS)
    return up->throttle_get (up->ctx, fs->control->regions[node - NODE_REGIONS], out);
  return files[node - NODE_FILES].fill (fs, out);
}

static int
open_handle (struct fs *fs, uint64_t node, bool is_reading, struct handle **out)
{
  struct control_handle *ch = calloc (1, sizeof *ch);
  if (!ch)
    return ERR_NOMEM;
  ch->fs = fs;
  ch->node = node;
  buf_init (&ch->text, CONTROL_TEXT_MAX);
  lock_init (&ch->lock, LOCK_STATS, "control handle");
  int rc = is_reading ? fill_text (fs, node, &ch->text) : 0;
  if (rc < 0) {
    control_handle_free (ch);
    return rc;
  }
  return handle_new_control (fs, ch, out);
}

void
control_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  struct handle *h;
  int rc = open_handle (fs_of (req), ino, (fi->flags & O_ACCMODE) != O_WRONLY, &h);
  if (rc < 0) {
    reply_err (req, rc);
    return;
  }
  fi->fh = (uintptr_t) h;
  fi->direct_io = 1;
  if (fuse_reply_open (req, fi) != 0)
    handle_unref (h);
}

void
control_release (fuse_req_t req, struct fuse_file_info *fi)
{
  handle_unref (handle_of (fi));
  fuse_reply_err (req, 0);
}

/* A command's answer is read from where its write left the offset, so each read takes what is
 * left. */
void
control_read (fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
  struct control_handle *h = handle_of (fi)->control;
  struct fs *fs = h->fs;
  bool is_stop = h->is_stop; /* H may be closed as soon as the answer is out */
  AUTO_BUF part;
  buf_init (&part, size);
  {
    LOCK_SCOPE (&h->lock);
    bool is_answer = h->node >= NODE_COMMANDS;
    size_t at = is_answer ? 0 : (size_t) off;
    size_t n = at < h->text.len ? h->text.len - at : 0;
    buf_put (&part, h->text.data + at, n < size ? n : size);
    if (is_answer && buf_error (&part) == 0) {
      memmove (h->text.data, h->text.data + part.len, h->text.len - part.len);
      h->text.len -= part.len;
    }
  }
  if (buf_error (&part) < 0)
    reply_err (req, buf_error (&part));
  else
    fuse_reply_buf (req, (const char *) part.data, part.len);
  if (is_stop)
    fs_stop (fs);
}

/* ---- orders ---- */

static int
order_run (struct call *c, unsigned flags)
{
  if (flags & MOUNT_NOWAIT)
    return ERR_WOULDBLOCK; /* to the pool, whatever it is */
  bool is_stop = false;
  char line[CONTROL_LINE_MAX + 1], path[256];
  memcpy (line, c->value, c->value_len);
  line[c->value_len] = 0;
  line[strcspn (line, "\n")] = 0;
  struct control_handle *h = c->handle ? c->handle->control : NULL;
  buf_reset (&c->buf);
  int rc;
  if (!h) { /* by xattr: the snapshot is the directory's */
    char whole[sizeof line + sizeof path];
    char *rest = line + strcspn (line, " ");
    rc = control_path_of (c->fs, c->node, path, sizeof path);
    snprintf (whole, sizeof whole, "%.*s %s%s", (int) (rest - line), line, path, rest);
    if (rc == 0)
      rc = strncmp (line, "seal", 4) == 0 ? control_command (c->fs, whole, &c->buf, &is_stop)
                                          : ERR_INVALID;
  } else if (h->node >= NODE_COMMANDS)
    rc = control_command (c->fs, line, &c->buf, &is_stop);
  else
    rc = control_throttle (c->fs, c->fs->control->regions[h->node - NODE_REGIONS], line, &c->buf);
  if (h && h->node >= NODE_COMMANDS) {
    h->is_stop = is_stop;
    LOCK_SCOPE (&h->lock);
    buf_reset (&h->text);
    buf_put (&h->text, c->buf.data, c->buf.len);
  }
  return rc;
}

static void
order_reply (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else if (c->handle)
    fuse_reply_write (c->req, c->value_len);
  else
    fuse_reply_err (c->req, 0);
}

static const struct call_type order_type = { OP_control, order_run, order_reply, drop_nothing };

static void
order (fuse_req_t req, fuse_ino_t ino, struct handle *h, const char *data, size_t size)
{
  if (size > CONTROL_LINE_MAX) {
    reply_err (req, ERR_LIMIT);
    return;
  }
  struct call c;
  call_init (&c, req, &order_type, ino);
  c.handle = h;
  c.value = data;
  c.value_len = size;
  buf_init (&c.buf, CONTROL_TEXT_MAX);
  call_run (&c);
}

void
control_write (fuse_req_t req, const char *data, size_t size, struct fuse_file_info *fi)
{
  struct handle *h = handle_of (fi);
  if (h->control->node < NODE_REGIONS)
    reply_err (req, ERR_PERM);
  else
    order (req, h->control->node, h, data, size);
}

void
control_xattr_command (fuse_req_t req, fuse_ino_t ino, const char *value, size_t n)
{
  if (node_class (ino) != CLASS_OPEN)
    reply_err (req, node_class (ino) == CLASS_SEALED ? ERR_ROFS : ERR_PERM);
  else
    order (req, ino, NULL, value, n);
}
