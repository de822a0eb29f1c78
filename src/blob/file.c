/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "file"
#include "blob/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/file_priv.h"
#include "blob/meter.h"

#define TMP_NAME_MAX 64

static struct blob_file *
of (struct blob *b)
{
  return (struct blob_file *) b;
}

static bool
is_usable (const char *key)
{
  size_t tmp_len = strlen (FILE_TMP);
  if (strncmp (key, FILE_TMP, tmp_len) == 0 && (key[tmp_len] == '/' || !key[tmp_len]))
    return false;
  for (const char *p = key; *p;) {
    size_t n = strcspn (p, "/");
    if (n > 255)
      return false;
    p += n + (p[n] == '/');
  }
  return true;
}

static int
enter (struct blob_file *f, enum blob_op op, const char *key)
{
  meter_request (f->blob.meter, op);
  if (f->is_cancelled)
    return ERR_CANCELLED;
  return !key || is_usable (key) ? 0 : ERR_INVALID;
}

/* Logs a failure that is news: not what every caller expects as an answer. */
static int
leave (struct blob_file *f, const char *what, const char *key, int rc, int errnum)
{
  if (rc >= 0 || rc == ERR_MISSING || rc == ERR_EXISTS || rc == ERR_LIMIT || rc == ERR_CANCELLED)
    return rc;
  const char *advice = rc == ERR_FULL ? "; free space on that file system"
                       : rc == ERR_DENIED ? "; check owner and mode of the store's files" : "";
  log_err ("cannot %s in the directory store%s store=%s key=%s err=\"%s\"", what, advice, f->root,
           key,
           errnum ? strerror (errnum) : err_str (rc));
  meter_error (f->blob.meter, rc, "%s %s/%s: %s", what, f->root, key,
               errnum ? strerror (errnum) : err_str (rc));
  return rc;
}

/* A new file in .tmp; NAME receives its path below the root. */
static int
open_tmp (struct blob_file *f, char *name, int *fd)
{
  uint64_t salt = 0;
  /* pid and counter alone suffice on one host */
  (void) !getrandom (&salt, sizeof salt, GRND_NONBLOCK);
  snprintf (name, TMP_NAME_MAX, FILE_TMP "/%d-%" PRIx64 "-%" PRIx64, (int) getpid (), salt,
            (uint64_t) f->tmp_counter++);
  for (int i = 0; i < 2; i++) {
    *fd = openat (f->root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd >= 0 || errno != ENOENT)
      break;
    if (mkdirat (f->root_fd, FILE_TMP, 0700) != 0 && errno != EEXIST)
      break;
  }
  return *fd >= 0 ? 0 : file_err (errno);
}

/* Packs go past the page cache: nobody reads them soon, the copy costs a third of a CPU second per
 * GiB (and as much again where a virtual machine touches the memory first), and the host's own data
 * stays. */
#define FILE_DIRECT_MIN (1u << 20)
#define FILE_ALIGN 4096u

static bool
set_direct (int fd, bool is_on)
{
  int flags = fcntl (fd, F_GETFL);
  return flags >= 0 && fcntl (fd, F_SETFL, is_on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static int
write_all (int fd, const uint8_t *p, size_t len, const struct blob_put_opts *opts)
{
  size_t done = 0;
  bool is_direct = len >= FILE_DIRECT_MIN && (uintptr_t) p % FILE_ALIGN == 0
    && set_direct (fd, true);
  while (done < len) {
    size_t n = len - done;
    if (opts->progress && n > FILE_STEP)
      n = FILE_STEP;
    if (is_direct && n < FILE_ALIGN) {
      set_direct (fd, false); /* the tail */
      is_direct = false;
    } else if (is_direct)
      n -= n % FILE_ALIGN;
    ssize_t got = write (fd, p + done, n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && errno == EINVAL && is_direct) {
      set_direct (fd, false); /* a file system that says yes and does no */
      is_direct = false;
      continue;
    }
    if (got < 0)
      return file_err (errno);
    done += (size_t) got;
    if (opts->progress)
      opts->progress (opts->ctx, done);
  }
  return 0;
}

static int
rename_once (struct blob_file *f, const char *tmp, const char *key, bool if_absent)
{
  if (!if_absent)
    return renameat (f->root_fd, tmp, f->root_fd, key);
  int rc = renameat2 (f->root_fd, tmp, f->root_fd, key, RENAME_NOREPLACE);
  if (rc == 0 || (errno != EINVAL && errno != ENOSYS))
    return rc;
  /* A file system without that flag (NFS): a hard link does not replace either. */
  rc = linkat (f->root_fd, tmp, f->root_fd, key, 0);
  if (rc == 0)
    unlinkat (f->root_fd, tmp, 0);
  return rc;
}

/* An object that is there may have come by a put that failed in its last step, or by another
 * process that has not taken it yet: who hears "it exists" relies on it like on a 0. */
static int
exists (struct blob_file *f, const char *key)
{
  int rc = file_sync_parents (f, key);
  return rc == 0 ? ERR_EXISTS : rc == ERR_MISSING ? ERR_AGAIN : rc; /* missing: deleted just now */
}

/* Another process may remove a directory that it sees empty just as we made it: so a few rounds. */
static int
rename_into (struct blob_file *f, const char *tmp, const char *key, bool if_absent)
{
  for (int i = 0;; i++) {
    if (rename_once (f, tmp, key, if_absent) == 0)
      return file_sync_parents (f, key);
    if (errno == EEXIST && if_absent)
      return exists (f, key);
    if (errno != ENOENT || i == 8)
      return errno == ENOTDIR ? ERR_INVALID : file_err (errno);
    int rc = file_make_parents (f, key);
    if (rc != 0)
      return rc;
  }
}

static int
file_put (struct blob *b, const char *key, const void *data, size_t len,
          const struct blob_put_opts *opts)
{
  struct blob_file *f = of (b);
  int rc = enter (f, BLOB_OP_PUT, key);
  if (rc != 0)
    return rc;
  struct stat st;
  if (opts->if_absent && fstatat (f->root_fd, key, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return leave (f, "sync", key, exists (f, key), errno); /* spares the write */
  char tmp[TMP_NAME_MAX];
  AUTO_FD fd = -1;
  errno = 0;
  rc = open_tmp (f, tmp, &fd);
  if (rc != 0)
    return leave (f, "make a temporary file", tmp, rc, errno);
  rc = write_all (fd, data, len, opts);
  if (rc == 0 && fdatasync (fd) != 0)
    rc = file_err (errno);
  if (rc == 0 && f->is_cancelled)
    rc = ERR_CANCELLED;
  if (rc == 0)
    rc = rename_into (f, tmp, key, opts->if_absent);
  int errnum = errno;
  if (rc != 0)
    unlinkat (f->root_fd, tmp, 0);
  else
    meter_bytes (b->meter, len, 0);
  fdcache_drop (&f->fds, key);
  return leave (f, "put", key, rc, errnum);
}

static int
read_exactly (int fd, uint8_t *out, size_t len, uint64_t off)
{
  size_t done = 0;
  while (done < len) {
    ssize_t n = pread (fd, out + done, len - done, (off_t) (off + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return file_err (errno);
    if (n == 0) {
      errno = 0;
      return ERR_LIMIT;
    }
    done += (size_t) n;
  }
  return 0;
}

static int
file_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct blob_file *f = of (b);
  int rc = enter (f, BLOB_OP_GET, key);
  if (rc != 0)
    return rc;
  if (off > INT64_MAX - len)
    return ERR_LIMIT;
  struct fdcache_ref ref;
  rc = fdcache_open (&f->fds, f->root_fd, key, &ref);
  if (rc != 0)
    return leave (f, "open an object", key, rc, errno);
  rc = read_exactly (ref.fd, out, len, off);
  int errnum = errno;
  fdcache_done (&f->fds, &ref);
  if (rc == 0)
    meter_bytes (b->meter, 0, len);
  return leave (f, "read", key, rc, errnum);
}

static int
file_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct blob_file *f = of (b);
  int rc = enter (f, BLOB_OP_GET, key);
  if (rc != 0)
    return rc;
  struct fdcache_ref ref;
  rc = fdcache_open (&f->fds, f->root_fd, key, &ref);
  if (rc != 0)
    return leave (f, "open an object", key, rc, errno);
  struct stat st = { 0 };
  rc = fstat (ref.fd, &st) == 0 ? 0 : file_err (errno);
  uint8_t *at = rc == 0 ? buf_reserve (out, (size_t) st.st_size) : NULL;
  if (rc == 0)
    rc = at ? read_exactly (ref.fd, at, (size_t) st.st_size, 0) : buf_error (out);
  int errnum = errno;
  fdcache_done (&f->fds, &ref);
  if (rc != 0)
    return leave (f, "read", key, rc, errnum);
  out->len += (size_t) st.st_size;
  meter_bytes (b->meter, 0, (uint64_t) st.st_size);
  return 0;
}

static int
file_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct blob_file *f = of (b);
  int rc = enter (f, BLOB_OP_HEAD, key);
  if (rc != 0)
    return rc;
  struct stat st;
  if (fstatat (f->root_fd, key, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return leave (f, "stat", key, file_err (errno), errno);
  if (!S_ISREG (st.st_mode))
    return ERR_MISSING;
  out->size = (uint64_t) st.st_size;
  out->mtime = (int64_t) st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
  return 0;
}

static bool
is_same_dir (const char *a, const char *b)
{
  const char *ea = strrchr (a, '/'), *eb = strrchr (b, '/');
  size_t na = ea ? (size_t) (ea - a) : 0, nb = eb ? (size_t) (eb - b) : 0;
  return na == nb && strncmp (a, b, na) == 0;
}

static int
file_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct blob_file *f = of (b);
  for (size_t i = 0; i < n; i++) {
    int rc = enter (f, BLOB_OP_DELETE, keys[i]);
    if (rc != 0)
      return rc;
    if (unlinkat (f->root_fd, keys[i], 0) != 0) {
      if (errno == EISDIR || errno == ENOENT || errno == ENOTDIR)
        continue; /* no such object: B5 */
      return leave (f, "delete", keys[i], file_err (errno), errno);
    }
    fdcache_drop (&f->fds, keys[i]);
    if (i + 1 == n || !is_same_dir (keys[i], keys[i + 1])) {
      rc = file_sync_parents (f, keys[i]);
      if (rc != 0 && rc != ERR_MISSING) /* another deleter may have pruned the directory */
        return leave (f, "sync a delete", keys[i], rc, errno);
      file_prune_parents (f, keys[i]);
    }
  }
  return 0;
}

static int
file_now (struct blob *b, int64_t *out)
{
  struct blob_file *f = of (b);
  if (f->is_cancelled)
    return ERR_CANCELLED;
  char tmp[TMP_NAME_MAX];
  AUTO_FD fd = -1;
  struct stat st;
  if (open_tmp (f, tmp, &fd) != 0) {
    *out = clock_wall (); /* a store that is read-only here: our clock is the best there is */
    return 0;
  }
  int rc = fstat (fd, &st) == 0 ? 0 : file_err (errno);
  unlinkat (f->root_fd, tmp, 0);
  if (rc == 0)
    *out = (int64_t) st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
  return rc;
}

static void
file_cancel (struct blob *b)
{
  of (b)->is_cancelled = true;
}

static void
file_free (struct blob *b)
{
  struct blob_file *f = of (b);
  fdcache_release (&f->fds);
  lock_destroy (&f->lock);
  if (f->root_fd >= 0)
    close (f->root_fd);
  free (f->synced);
  free (f->root);
  meter_free (f->blob.meter);
  free (f);
}

static const struct blob_ops file_ops = {
  .name = "file",
  .put = file_put,
  .get = file_get,
  .get_all = file_get_all,
  .head = file_head,
  .list = file_list,
  .del = file_delete,
  .now = file_now,
  .cancel = file_cancel,
  .free = file_free,
};

/* The entry of a directory just made.  One above it that cannot be read cannot be synced. */
static int
sync_new_dir (const char *path)
{
  AUTO_FD fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  AUTO_FD up = fd >= 0 ? openat (fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  return up < 0 || fsync (up) == 0 ? 0 : file_err (errno);
}

static int
make_dirs (const char *dir)
{
  AUTO_STR path = strdup (dir);
  if (!path)
    return ERR_NOMEM;
  for (char *p = path + 1;; p++) {
    if (*p && *p != '/')
      continue;
    char c = *p;
    *p = '\0';
    int rc = mkdir (path, 0700) == 0 ? sync_new_dir (path)
             : errno == EEXIST       ? 0
                                     : file_err (errno);
    if (rc != 0)
      return rc;
    *p = c;
    if (!c)
      return 0;
  }
}

static int
open_root (const char *dir, bool create, int *fd)
{
  *fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*fd < 0 && errno == ENOENT && create) {
    int rc = make_dirs (dir);
    if (rc != 0)
      return rc;
    *fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  return *fd >= 0 ? 0 : file_err (errno);
}

int
blob_file_open (const char *dir, bool create, struct blob **out)
{
  if (!dir[0])
    return ERR_INVALID;
  struct blob_file *f = calloc (1, sizeof *f);
  if (!f)
    return ERR_NOMEM;
  f->blob = (struct blob){ .ops = &file_ops, .caps = BLOB_CAP_IF_ABSENT | BLOB_CAP_LOCAL };
  f->root_fd = -1;
  fdcache_init (&f->fds);
  lock_init (&f->lock, LOCK_BLOB, "blob_file");
  AUTO (blob) b = &f->blob;
  f->root = strdup (dir);
  f->synced = calloc (FILE_SYNCED_MAX, sizeof *f->synced);
  if (!f->root || !f->synced)
    return ERR_NOMEM;
  int rc = meter_new (&f->blob.meter);
  if (rc != 0)
    return rc;
  errno = 0;
  rc = open_root (dir, create, &f->root_fd);
  if (rc != 0) {
    log_err ("cannot open the directory store%s store=%s err=\"%s\"",
             rc == ERR_MISSING ? "; is it mounted? `coffer init` makes a new one" : "", dir,
             errno ? strerror (errno) : err_str (rc));
    return rc;
  }
  file_sweep_tmp (f);
  *out = STEAL (b);
  return 0;
}
