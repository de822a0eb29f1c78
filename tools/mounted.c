/* SPDX-License-Identifier: Apache-2.0 */
#include "mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define CONTROL ".coffer"
#define CONTROL_MAX_BYTES (16u << 20)

/* PATH without links, "." and ".."; what its last component names need not be there. */
static int
canonical (const char *path, char out[PATH_MAX])
{
  if (realpath (path, out))
    return 0;
  int errnum = errno;
  if (errnum != ENOENT)
    return -errnum;
  AUTO_STR copy = strdup (path);
  if (!copy)
    return -ENOMEM;
  size_t n = strlen (copy);
  while (n > 1 && copy[n - 1] == '/')
    copy[--n] = 0;
  char *slash = strrchr (copy, '/');
  const char *last = slash ? slash + 1 : copy, *dir = ".";
  if (!*last || strcmp (last, ".") == 0 || strcmp (last, "..") == 0)
    return -ENOENT;
  if (slash) {
    *slash = 0;
    dir = slash == copy ? "/" : copy;
  }
  if (!realpath (dir, out))
    return -errno;
  size_t used = strlen (out);
  if (used + strlen (last) + 2 > PATH_MAX)
    return -ENAMETOOLONG;
  snprintf (out + used, PATH_MAX - used, "%s%s", used > 1 ? "/" : "", last);
  return 0;
}

/* 0, or a negative errno. */
static int
look (const char *path, struct mounted *out)
{
  char full[PATH_MAX], probe[PATH_MAX + 32];
  int rc = canonical (path, full);
  if (rc < 0)
    return rc;
  size_t n = strlen (full);
  for (;;) {
    snprintf (probe, sizeof probe, "%.*s/" CONTROL "/version", (int) n, full);
    if (access (probe, F_OK) == 0)
      break;
    if (errno == ENOTCONN || errno == EACCES)
      return -errno;
    if (n == 0)
      return -ENXIO;
    while (n && full[n - 1] != '/')
      n--;
    n -= n > 0;
  }
  snprintf (out->top, sizeof out->top, "%.*s", n ? (int) n : 1, n ? full : "/");
  snprintf (out->rel, sizeof out->rel, "%s", full[n] == '/' ? full + n + 1 : full + n);
  return 0;
}

int
mounted_look (const char *path, struct mounted *out)
{
  int rc = look (path, out);
  return rc == -ENXIO ? ERR_NOENT : rc < 0 ? err_from_errno (-rc) : 0;
}

int
mounted_find (const struct cli *cli, const char *path, struct mounted *out)
{
  int rc = look (path, out);
  switch (-rc) {
  case 0: return 0;
  case ENOTCONN:
    return cli_refuse (cli, EXIT_FAILED, "%s is in a mount whose daemon has gone. Mount it again: "
                                         "coffer mount detaches what is dead", path);
  case ENXIO:
    return cli_refuse (cli, EXIT_FAILED, "%s is not in a coffer mount: no directory above it has "
                                         CONTROL "/version. Is it mounted?", path);
  case EACCES:
    return cli_refuse (cli, EXIT_DENIED, "cannot look at %s: permission denied. Only the user who "
                                         "mounted (and root) gets in unless allow-other is set",
                       path);
  default:
    return cli_refuse (cli, cli_exit_of (err_from_errno (-rc)), "cannot look at %s: %s", path,
                       strerror (-rc));
  }
}

/* The only mount this user may look at into OUT; the number of those there are. */
static unsigned
only_mount (struct mounted *out)
{
  FILE *f = setmntent ("/proc/self/mounts", "re");
  if (!f)
    return 0;
  unsigned n = 0;
  struct mntent e;
  char text[4 * PATH_MAX];
  while (getmntent_r (f, &e, text, sizeof text))
    if (strcmp (e.mnt_type, "fuse.coffer") == 0 && look (e.mnt_dir, out) == 0)
      n++;
  endmntent (f);
  return n;
}

int
mounted_find_default (const struct cli *cli, const char *path, struct mounted *out)
{
  if (path)
    return mounted_find (cli, path, out);
  if (look (".", out) == 0)
    return 0;
  unsigned n = only_mount (out);
  if (n == 1)
    return 0;
  if (n == 0)
    return cli_refuse (cli, EXIT_FAILED, "no coffer mount is here, or none you may look at: name a "
                                         "path in one, a store's URL, or mount it");
  return cli_refuse (cli, EXIT_FAILED, "%u coffer mounts are here (findmnt -t fuse.coffer) and the "
                                       "current directory is in none: name a path in one", n);
}

static void
take_reply (char *reply, size_t cap, const char *text)
{
  if (strncmp (text, "error: ", 7) == 0)
    text += 7;
  else if (strncmp (text, "ok", 2) == 0)
    text += 2 + (text[2] == ' ');
  snprintf (reply, cap, "%.*s", (int) strcspn (text, "\n"), text);
}

int
mounted_command (const struct mounted *m, const char *line, char *reply, size_t cap)
{
  char path[PATH_MAX + 32], text[8192];
  snprintf (reply, cap, "%s", "");
  snprintf (path, sizeof path, "%s/" CONTROL "/command", m->top);
  AUTO_FD fd = open (path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    int rc = err_from_errno (errno);
    snprintf (reply, cap, "cannot open %s: %s", path, strerror (errno));
    return rc;
  }
  snprintf (text, sizeof text, "%s\n", line);
  ssize_t n = write (fd, text, strlen (text));
  int errnum = errno, rc = n < 0 ? err_from_errno (errnum) : 0;
  ssize_t got = pread (fd, text, sizeof text - 1, 0);
  text[got > 0 ? got : 0] = 0;
  take_reply (reply, cap, text);
  if (n < 0 && !*reply)
    snprintf (reply, cap, "%s", strerror (errnum));
  return rc;
}

int
mounted_read (const struct mounted *m, const char *name, struct buf *out)
{
  char path[2 * PATH_MAX];
  snprintf (path, sizeof path, "%s/" CONTROL "/%s", m->top, name);
  AUTO_FD fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return err_from_errno (errno);
  for (;;) {
    uint8_t *to = buf_reserve (out, 65536);
    if (!to)
      return buf_error (out);
    ssize_t n = read (fd, to, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_from_errno (errno);
    if (n == 0)
      return 0;
    out->len += (size_t) n;
  }
}

json_t *
mounted_status (const struct mounted *m)
{
  AUTO_BUF text;
  buf_init (&text, CONTROL_MAX_BYTES);
  if (mounted_read (m, "status.json", &text) < 0)
    return NULL;
  return json_loadb ((const char *) text.data, text.len, 0, NULL);
}

bool
mounted_shows_less (const struct mounted *m)
{
  json_t *status = mounted_status (m), *region;
  size_t i;
  bool found = false;
  json_array_foreach (json_object_get (status, "regions"), i, region)
    found |= json_is_true (json_object_get (region, "shows_less"));
  json_decref (status);
  return found;
}

bool
mounted_attr (const char *path, const char *name, char *out, size_t cap)
{
  ssize_t n = lgetxattr (path, name, out, cap - 1);
  out[n > 0 ? n : 0] = 0;
  return n >= 0;
}

int
err_from_text (const char *text)
{
  for (int err = -1; err >= ERR_STALE; err--)
    if (strcmp (err_str (err), text) == 0)
      return err;
  return ERR_IO;
}
