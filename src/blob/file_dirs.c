/* SPDX-License-Identifier: Apache-2.0 */
/* The directories of a directory store: making, syncing, pruning, sweeping. */
#define LOG_MODULE "file"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/file_priv.h"

#define TMP_MAX_AGE_S (24 * 3600) /* no put lasts as long: what is older is a crash's */

int
file_err (int errnum)
{
  switch (errnum) {
  case ENOENT:
  case ENOTDIR: return ERR_MISSING;
  case EEXIST: return ERR_EXISTS;
  case EACCES:
  case EPERM:
  case EROFS: return ERR_DENIED;
  case ENOSPC:
  case EDQUOT:
  case EFBIG: return ERR_FULL;
  case ENOMEM: return ERR_NOMEM;
  case EMFILE:
  case ENFILE:
  case EAGAIN:
  case ESTALE:
  case ETIMEDOUT: return ERR_AGAIN;
  case EISDIR:
  case ELOOP:
  case ENOTEMPTY:
  case ENAMETOOLONG:
  case EINVAL: return ERR_INVALID;
  default: return ERR_IO;
  }
}

/* Calls FN for each directory above KEY, outermost first, until it fails. */
static int
walk_down (struct blob_file *f, const char *key, int (*fn) (struct blob_file *, const char *))
{
  char path[BLOB_KEY_MAX + 1];
  snprintf (path, sizeof path, "%s", key);
  for (char *p = strchr (path, '/'); p; p = strchr (p + 1, '/')) {
    *p = '\0';
    int rc = fn (f, path);
    if (rc != 0)
      return rc;
    *p = '/';
  }
  return 0;
}

static uint64_t
identity (const char *path, ino_t ino)
{
  uint64_t h = 0xcbf29ce484222325u ^ (uint64_t) ino;
  for (; *path; path++)
    h = (h ^ (uint8_t) *path) * 0x100000001b3u;
  return h ? h : 1;
}

/* An open-addressed set; cleared when three quarters full. */
static bool
is_known_locked (struct blob_file *f, uint64_t id, bool add)
{
  lock_assert_held (&f->lock);
  size_t i = id % FILE_SYNCED_MAX;
  for (; f->synced[i]; i = (i + 1) % FILE_SYNCED_MAX)
    if (f->synced[i] == id)
      return true;
  if (add) {
    if (f->synced_count >= FILE_SYNCED_MAX * 3 / 4) {
      memset (f->synced, 0, FILE_SYNCED_MAX * sizeof *f->synced);
      f->synced_count = 0;
      i = id % FILE_SYNCED_MAX;
    }
    f->synced[i] = id;
    f->synced_count++;
  }
  return false;
}

/* What was known of a directory that had this name and number before is not true of a new one.
 * The lock is held across mkdir: nobody may see the new directory and the old knowledge. */
static int
make_one (struct blob_file *f, const char *path)
{
  LOCK_SCOPE (&f->lock);
  if (mkdirat (f->root_fd, path, 0700) == 0) {
    struct stat st;
    if (fstatat (f->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0
        || is_known_locked (f, identity (path, st.st_ino), false)) {
      memset (f->synced, 0, FILE_SYNCED_MAX * sizeof *f->synced);
      f->synced_count = 0;
    }
    return 0;
  }
  /* A key of that name is in the way (ENOTDIR from below it). */
  return errno == EEXIST || errno == ENOENT ? 0 : errno == ENOTDIR ? ERR_INVALID : file_err (errno);
}

int
file_make_parents (struct blob_file *f, const char *key)
{
  return walk_down (f, key, make_one);
}

static int
sync_dir (struct blob_file *f, const char *path)
{
  AUTO_FD fd = openat (f->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 && fsync (fd) == 0 ? 0 : file_err (errno);
}

/* Syncs the directory that holds PATH, unless PATH itself is known to have a durable entry. */
static int
sync_entry (struct blob_file *f, const char *path)
{
  struct stat st;
  if (fstatat (f->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return file_err (errno);
  uint64_t id = identity (path, st.st_ino);
  {
    LOCK_SCOPE (&f->lock);
    if (is_known_locked (f, id, false))
      return 0;
  }
  char parent[BLOB_KEY_MAX + 1];
  snprintf (parent, sizeof parent, "%s", path);
  char *slash = strrchr (parent, '/');
  if (slash)
    *slash = '\0';
  int rc = sync_dir (f, slash ? parent : ".");
  if (rc != 0)
    return rc;
  LOCK_SCOPE (&f->lock);
  is_known_locked (f, id, true);
  return 0;
}

int
file_sync_parents (struct blob_file *f, const char *key)
{
  int rc = walk_down (f, key, sync_entry);
  if (rc != 0)
    return rc;
  char parent[BLOB_KEY_MAX + 1];
  snprintf (parent, sizeof parent, "%s", key);
  char *slash = strrchr (parent, '/');
  if (slash)
    *slash = '\0';
  return sync_dir (f, slash ? parent : ".");
}

void
file_prune_parents (struct blob_file *f, const char *key)
{
  char path[BLOB_KEY_MAX + 1];
  snprintf (path, sizeof path, "%s", key);
  for (char *slash; (slash = strrchr (path, '/'));) {
    *slash = '\0';
    if (unlinkat (f->root_fd, path, AT_REMOVEDIR) != 0)
      return; /* not empty, or already gone: either is fine */
  }
}

void
file_sweep_tmp (struct blob_file *f)
{
  int fd = openat (f->root_fd, FILE_TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return;
  DIR *dir = fdopendir (fd);
  if (!dir) {
    close (fd);
    return;
  }
  int64_t limit = clock_wall () / NS_PER_S - TMP_MAX_AGE_S;
  int swept = 0;
  for (struct dirent *e; (e = readdir (dir));) {
    struct stat st;
    if (e->d_name[0] != '.' && fstatat (fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISREG (st.st_mode) && st.st_mtim.tv_sec < limit && unlinkat (fd, e->d_name, 0) == 0)
      swept++;
  }
  closedir (dir);
  if (swept)
    log_info ("removed temporary files that a crash had left store=%s count=%d", f->root, swept);
}
