/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LOG_MODULE "mountpoint"
#include "base/log.h"

struct mount_line {
  unsigned dev_major, dev_minor;
  bool is_coffer;
};

/* mountinfo writes blanks and backslashes as octal escapes. */
static void
unescape (char *s)
{
  char *to = s;
  while (*s) {
    unsigned c;
    if (*s == '\\' && sscanf (s + 1, "%3o", &c) == 1) {
      *to++ = (char) c;
      s += 4;
    } else
      *to++ = *s++;
  }
  *to = 0;
}

/* PATH made absolute without touching its last component, which may be a dead mount. */
static char *
absolute (const char *path)
{
  AUTO_STR copy = strdup (path);
  if (!copy)
    return NULL;
  for (size_t n = strlen (copy); n > 1 && copy[n - 1] == '/'; n--)
    copy[n - 1] = 0;
  char *slash = strrchr (copy, '/');
  const char *last = slash ? slash + 1 : copy;
  if (slash)
    *slash = 0;
  AUTO_STR dir = realpath (slash == copy ? "/" : slash ? copy : ".", NULL);
  char *out = NULL;
  if (dir && asprintf (&out, "%s/%s", strcmp (dir, "/") ? dir : "", last) < 0)
    return NULL;
  return out;
}

/* The topmost mount at PATH; false where there is none. */
static bool
find_mount (const char *path, struct mount_line *out)
{
  AUTO_STR want = absolute (path);
  FILE *f = want ? fopen ("/proc/self/mountinfo", "re") : NULL;
  AUTO_STR line = NULL;
  size_t cap = 0;
  bool is_found = false;
  while (f && getline (&line, &cap, f) > 0) {
    char where[4096], type[64];
    struct mount_line m;
    if (sscanf (line, "%*d %*d %u:%u %*s %4095s", &m.dev_major, &m.dev_minor, where) != 3)
      continue;
    unescape (where);
    const char *dash = strstr (line, " - ");
    if (strcmp (where, want) != 0 || !dash || sscanf (dash + 3, "%63s", type) != 1)
      continue;
    m.is_coffer = strcmp (type, "fuse.coffer") == 0;
    *out = m; /* later lines lie above */
    is_found = true;
  }
  if (f)
    fclose (f);
  return is_found;
}

int
mountpoint_device (const char *path, unsigned *dev_major, unsigned *dev_minor)
{
  struct mount_line m;
  if (!find_mount (path, &m))
    return ERR_NOENT;
  *dev_major = m.dev_major;
  *dev_minor = m.dev_minor;
  return 0;
}

int
mountpoint_check (const char *path, enum mountpoint_state *out)
{
  struct mount_line m;
  struct stat st;
  struct statvfs fs;
  bool is_mounted = find_mount (path, &m);
  /* The attributes of a dead mount's root may be in the kernel's cache: statvfs is always asked. */
  if (stat (path, &st) < 0 || (is_mounted && m.is_coffer && statvfs (path, &fs) < 0)) {
    if (errno != ENOTCONN || !is_mounted || !m.is_coffer)
      return err_from_errno (errno);
    *out = MOUNTPOINT_DEAD;
    return 0;
  }
  if (!S_ISDIR (st.st_mode))
    return ERR_NOTDIR;
  *out = !is_mounted ? MOUNTPOINT_BARE : m.is_coffer ? MOUNTPOINT_LIVE : MOUNTPOINT_OTHER;
  return 0;
}

/* Who is not root may not detach; fusermount3 may for him. */
static int
run_fusermount (const char *path)
{
  int status;
  pid_t pid = fork ();
  if (pid == 0) {
    execlp ("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path, (char *) NULL);
    _exit (127);
  }
  if (pid < 0 || waitpid (pid, &status, 0) < 0)
    return ERR_IO;
  return WIFEXITED (status) && WEXITSTATUS (status) == 0 ? 0 : ERR_PERM;
}

int
mountpoint_detach_dead (const char *path)
{
  enum mountpoint_state state;
  int rc;
  /* Each failed start may have left one more on top of the other. */
  for (int i = 0; i < 64; i++) {
    rc = mountpoint_check (path, &state);
    if (rc < 0 || state != MOUNTPOINT_DEAD)
      return rc;
    rc = umount2 (path, MNT_DETACH) == 0 ? 0 : errno == EPERM ? run_fusermount (path)
                                                               : err_from_errno (errno);
    if (rc < 0) {
      log_err ("cannot detach the dead mount path=%s err=\"%s\"", path, err_str (rc));
      return rc;
    }
    log_info ("detached a dead mount path=%s", path);
  }
  return ERR_BUSY;
}

static bool
is_empty (const char *path)
{
  DIR *d = opendir (path);
  struct dirent *e;
  bool has_entry = false;
  if (!d)
    return false;
  while (!has_entry && (e = readdir (d)))
    has_entry = strcmp (e->d_name, ".") != 0 && strcmp (e->d_name, "..") != 0;
  closedir (d);
  return !has_entry;
}

static int
set_immutable (const char *path, bool is_on)
{
  int flags;
  AUTO_FD fd = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || ioctl (fd, FS_IOC_GETFLAGS, &flags) < 0)
    return err_from_errno (errno);
  int want = is_on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
  if (want != flags && ioctl (fd, FS_IOC_SETFLAGS, &want) < 0)
    return err_from_errno (errno);
  return 0;
}

bool
mountpoint_guard (const char *path)
{
  enum mountpoint_state state;
  if (mountpoint_check (path, &state) < 0 || state != MOUNTPOINT_BARE)
    return false;
  if (!is_empty (path)) {
    log_warn ("the mount point holds files, which the mount will hide path=%s", path);
    return false;
  }
  if (geteuid () != 0)
    return false;
  if (set_immutable (path, true) == 0) {
    /* Already immutable: its mode is as it was left, and that is enough. */
    int off = set_immutable (path, false);
    bool has_mode = off == 0 && chmod (path, 0) == 0;
    return set_immutable (path, true) == 0 && has_mode;
  }
  log_warn ("data copied to %s while nothing is mounted would land on the local disk: its file "
            "system has no immutable flag, so only its mode guards it, and not against root", path);
  return chmod (path, 0) == 0;
}

int
mountpoint_unguard (const char *path)
{
  int rc = set_immutable (path, false);
  if (rc < 0 && rc != ERR_NOTSUP && rc != ERR_INVALID)
    log_debug ("the immutable flag stays path=%s err=\"%s\"", path, err_str (rc));
  return chmod (path, 0755) == 0 ? 0 : err_from_errno (errno);
}
