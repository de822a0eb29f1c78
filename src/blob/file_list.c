/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a directory store in byte order of full keys.
 *
 * A directory's entries are sorted with a '/' after each directory's name; visiting them in that
 * order, depth first, gives the keys in order ("a-b" < "a/x" < "a.b" would be wrong: '-' < '.' <
 * '/').  A whole directory is in memory at a time, its descriptor closed before the next is
 * opened. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "blob/file_priv.h"
#include "blob/meter.h"

struct names {
  char **v; /* directories end in '/' */
  size_t n, cap;
};

struct walk {
  struct blob_file *file;
  const char *prefix, *start_after;
  size_t prefix_len;
  bool is_delimited;
  blob_list_fn fn;
  void *ctx;
  char path[BLOB_KEY_MAX + 257];
};

static void
names_release (struct names *l)
{
  for (size_t i = 0; i < l->n; i++)
    free (l->v[i]);
  free (l->v);
}

static int
names_add (struct names *l, const char *name, bool is_dir)
{
  if (l->n == l->cap) {
    size_t cap = l->cap ? l->cap * 2 : 32;
    char **v = realloc (l->v, cap * sizeof *v);
    if (!v)
      return ERR_NOMEM;
    l->v = v;
    l->cap = cap;
  }
  size_t len = strlen (name);
  char *s = malloc (len + 2);
  if (!s)
    return ERR_NOMEM;
  memcpy (s, name, len);
  s[len] = is_dir ? '/' : '\0';
  s[len + 1] = '\0';
  l->v[l->n++] = s;
  return 0;
}

static int
by_bytes (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* Could a key that begins with PATH (a directory, with its '/') be in the listing? */
static bool
is_dir_wanted (const struct walk *w, const char *path, size_t len)
{
  size_t n = len < w->prefix_len ? len : w->prefix_len;
  if (strncmp (path, w->prefix, n) != 0)
    return false;
  /* All keys below are smaller than START_AFTER unless it is below as well or PATH sorts after
   * it. */
  return strncmp (path, w->start_after, len) >= 0;
}

/* Could NAME in the directory at hand begin a key with the prefix?  Most of a large directory
 * cannot, when one snapshot is asked for among thousands: those cost no memory and no sorting. */
static bool
is_name_wanted (const struct walk *w, size_t path_len, const char *name)
{
  if (w->prefix_len <= path_len)
    return true;
  const char *rest = w->prefix + path_len;
  size_t n = strlen (name), rest_len = w->prefix_len - path_len;
  return strncmp (name, rest, n < rest_len ? n : rest_len) == 0;
}

static int
read_names (struct walk *w, size_t path_len, struct names *l)
{
  int fd = openat (w->file->root_fd, path_len ? w->path : ".",
                   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : file_err (errno);
  DIR *dir = fdopendir (fd);
  if (!dir) {
    close (fd);
    return ERR_NOMEM;
  }
  int rc = 0;
  for (struct dirent *e; rc == 0 && (errno = 0, e = readdir (dir));) {
    const char *name = e->d_name;
    if (!path_len && (strcmp (name, FILE_TMP) == 0 || strcmp (name, "lost+found") == 0))
      continue;
    if (!is_name_wanted (w, path_len, name) || !blob_key_is_valid (name))
      continue; /* ".", "..", and what cannot be a key of ours */
    int type = e->d_type;
    struct stat st;
    if (type == DT_UNKNOWN && fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
      type = S_ISDIR (st.st_mode) ? DT_DIR : S_ISREG (st.st_mode) ? DT_REG : DT_LNK;
    if (type == DT_DIR || type == DT_REG)
      rc = names_add (l, name, type == DT_DIR);
  }
  if (rc == 0 && errno)
    rc = file_err (errno);
  closedir (dir);
  if (rc == 0 && l->n)
    qsort (l->v, l->n, sizeof *l->v, by_bytes);
  return rc;
}

static int visit_dir (struct walk *w, size_t len);

static int
emit_file (struct walk *w, size_t len)
{
  if (len < w->prefix_len || strncmp (w->path, w->prefix, w->prefix_len) != 0
      || strcmp (w->path, w->start_after) <= 0 || len > BLOB_KEY_MAX)
    return 0;
  struct stat st;
  if (fstatat (w->file->root_fd, w->path, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT || errno == ENOTDIR ? 0 : file_err (errno); /* deleted meanwhile */
  struct blob_entry e = { .key = w->path, .size = (uint64_t) st.st_size,
                          .mtime = (int64_t) st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec };
  return w->fn (w->ctx, &e);
}

static int
found_one (void *ctx, const struct blob_entry *e)
{
  return 1;
}

/* A prefix exists while there is an object below it: empty directories are no news. */
static int
emit_prefix (struct walk *w, size_t len)
{
  if (strcmp (w->path, w->start_after) <= 0)
    return 0;
  struct walk probe = { .file = w->file, .prefix = "", .start_after = "", .fn = found_one };
  memcpy (probe.path, w->path, len + 1);
  int rc = visit_dir (&probe, len);
  if (rc <= 0)
    return rc;
  struct blob_entry e = { .key = w->path, .is_prefix = true };
  return w->fn (w->ctx, &e);
}

static int
visit_names (struct walk *w, size_t len, const struct names *l)
{
  for (size_t i = 0; i < l->n; i++) {
    size_t n = strlen (l->v[i]);
    if (len + n > BLOB_KEY_MAX)
      continue;
    memcpy (w->path + len, l->v[i], n + 1);
    int rc = 0;
    if (l->v[i][n - 1] != '/')
      rc = emit_file (w, len + n);
    else if (is_dir_wanted (w, w->path, len + n))
      rc = w->is_delimited && len + n > w->prefix_len ? emit_prefix (w, len + n)
                                                      : visit_dir (w, len + n);
    if (rc != 0)
      return rc;
  }
  return 0;
}

static int
visit_dir (struct walk *w, size_t len)
{
  if (w->file->is_cancelled)
    return ERR_CANCELLED;
  struct names l = { 0 };
  w->path[len] = '\0';
  int rc = read_names (w, len, &l);
  if (rc == 0)
    rc = visit_names (w, len, &l);
  names_release (&l);
  return rc;
}

int
file_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
           blob_list_fn fn, void *ctx)
{
  struct walk w = { .file = (struct blob_file *) b, .prefix = prefix, .start_after = start_after,
                    .prefix_len = strlen (prefix), .is_delimited = is_delimited,
                    .fn = fn, .ctx = ctx };
  meter_request (b->meter, BLOB_OP_LIST);
  if (w.prefix_len > BLOB_KEY_MAX)
    return 0;
  /* Begin in the deepest directory that the prefix names: no need to read those above. */
  const char *slash = strrchr (prefix, '/');
  size_t len = slash ? (size_t) (slash - prefix) + 1 : 0;
  memcpy (w.path, prefix, len);
  w.path[len] = '\0';
  if (len && (strstr (w.path, "../") || strstr (w.path, "//") || w.path[0] == '/'
              || strncmp (w.path, FILE_TMP "/", strlen (FILE_TMP) + 1) == 0))
    return 0; /* no key begins like that */
  return len && !is_dir_wanted (&w, w.path, len) ? 0 : visit_dir (&w, len);
}
