/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 2000 /* no path of PATH_MAX is deeper */

struct walk {
  char path[PATH_MAX];
  walk_fn fn;
  walk_damaged_fn damaged;
  void *ctx;
  unsigned depth;
};

char
walk_letter (enum node_kind kind)
{
  switch (kind) {
  case NODE_FILE: return 'f';
  case NODE_DIR: return 'd';
  case NODE_SYMLINK: return 'l';
  case NODE_HARDLINK: return 'f';
  case NODE_FIFO: return 'p';
  case NODE_SOCKET: return 's';
  case NODE_CHAR: return 'c';
  case NODE_BLOCK: return 'b';
  }
  return '?';
}

/* Appends NAME to the path; the length it had, or an err where that would be too long. */
static int
enter (struct walk *w, const char *name, size_t n)
{
  size_t used = strlen (w->path);
  if (used + n + 2 > sizeof w->path)
    return ERR_NAMETOOLONG;
  snprintf (w->path + used, sizeof w->path - used, "%s%.*s", used ? "/" : "", (int) n, name);
  return (int) used;
}

static enum node_kind
kind_of (mode_t mode)
{
  switch (mode & S_IFMT) {
  case S_IFDIR: return NODE_DIR;
  case S_IFLNK: return NODE_SYMLINK;
  case S_IFIFO: return NODE_FIFO;
  case S_IFSOCK: return NODE_SOCKET;
  case S_IFCHR: return NODE_CHAR;
  case S_IFBLK: return NODE_BLOCK;
  default: return NODE_FILE;
  }
}

/* ---- through a mount ---- */

static int walk_fd (struct walk *w, int fd);

static int
visit_fd (struct walk *w, int dir, const char *name)
{
  struct stat st;
  int used = enter (w, name, strlen (name));
  if (used < 0)
    return used;
  int rc = fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? err_from_errno (errno) : 0;
  if (rc == 0) {
    const struct walk_entry e = { .path = w->path,
                                  .name = name,
                                  .kind = kind_of (st.st_mode),
                                  .size = (uint64_t) st.st_size,
                                  .mtime = st.st_mtime,
                                  .mode = st.st_mode & 07777 };
    rc = w->fn (w->ctx, &e);
  }
  if (rc == 0 && S_ISDIR (st.st_mode)) {
    int fd = openat (dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = fd < 0 ? err_from_errno (errno) : walk_fd (w, fd);
  }
  w->path[used] = 0;
  return rc;
}

/* Takes FD. */
static int
walk_fd (struct walk *w, int fd)
{
  DIR *d = fdopendir (fd);
  if (!d || w->depth == DEPTH_MAX) {
    int rc = d ? ERR_NAMETOOLONG : err_from_errno (errno);
    if (d)
      closedir (d);
    else
      close (fd);
    return rc;
  }
  w->depth++;
  int rc = 0;
  errno = 0;
  for (struct dirent *e; rc == 0 && (e = readdir (d)); errno = 0)
    if (strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0)
      rc = visit_fd (w, dirfd (d), e->d_name);
  if (rc == 0 && errno)
    rc = err_from_errno (errno);
  closedir (d);
  w->depth--;
  return rc;
}

int
walk_dir (const char *dir, walk_fn fn, void *ctx)
{
  struct walk w = { .fn = fn, .ctx = ctx };
  int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 ? err_from_errno (errno) : walk_fd (&w, fd);
}

/* ---- from the store ---- */

static int walk_rows (struct walk *w, struct sealed *t, uint64_t dir);

static int
lost (struct walk *w, int rc)
{
  if (!w->damaged)
    return rc;
  w->damaged (w->ctx, w->path, rc);
  return 0;
}

static int
visit_row (struct walk *w, struct sealed *t, uint64_t no)
{
  AUTO_ROW v = { 0 };
  struct node_stat st;
  uint64_t target;
  int rc = sealed_row (t, no, 0, &v);
  if (rc < 0)
    return lost (w, rc); /* the name is lost with it: the directory's path is told */
  char name[TREE_NAME_MAX + 1];
  snprintf (name, sizeof name, "%.*s", (int) v.row.name_len, (const char *) v.row.name);
  int used = enter (w, name, strlen (name));
  if (used < 0)
    return used;
  rc = sealed_stat (t, no, 0, &st, &target);
  if (rc < 0)
    rc = lost (w, rc);
  else {
    const struct walk_entry e = { .path = w->path,
                                  .name = name,
                                  .kind = (enum node_kind) st.attr.kind,
                                  .size = st.attr.size,
                                  .mtime = st.attr.mtime.sec,
                                  .mode = st.attr.mode,
                                  .tree = t,
                                  .row = target };
    rc = w->fn (w->ctx, &e);
    if (rc == 0 && st.attr.kind == NODE_DIR)
      rc = walk_rows (w, t, no);
  }
  w->path[used] = 0;
  return rc;
}

static int
walk_rows (struct walk *w, struct sealed *t, uint64_t dir)
{
  uint64_t first, count;
  {
    AUTO_ROW v = { 0 };
    int rc = sealed_row (t, dir, 0, &v);
    if (rc < 0)
      return lost (w, rc);
    first = (uint64_t) ((int64_t) dir + v.row.attr.child_delta);
    count = v.row.attr.kind == NODE_DIR ? v.row.attr.child_count : 0;
  }
  /* Children stand behind their directory, so a tree that lies cannot lead in circles. */
  if (count && (first <= dir || w->depth == DEPTH_MAX))
    return lost (w, ERR_FORMAT);
  w->depth++;
  int rc = 0;
  for (uint64_t i = 0; rc == 0 && i < count; i++)
    rc = visit_row (w, t, first + i);
  w->depth--;
  return rc;
}

int
walk_tree (struct sealed *t, uint64_t row, walk_fn fn, walk_damaged_fn damaged, void *ctx)
{
  struct walk w = { .fn = fn, .damaged = damaged, .ctx = ctx };
  AUTO_ROW v = { 0 };
  int rc = sealed_row (t, row, 0, &v);
  if (rc < 0)
    return lost (&w, rc);
  return walk_rows (&w, t, row);
}
