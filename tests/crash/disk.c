/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world.h"

struct node;
struct entry {
  char name[256];
  struct node *node;
};
struct entries {
  struct entry *at;
  size_t count;
};
struct node {
  struct node *next; /* of all there ever were, the newest first */
  ino_t ino;
  bool is_dir;
  unsigned links;                  /* 0: its number may be another's by now */
  uint8_t *data;                   /* as of the last fsync */
  size_t len;
  struct entries now, synced;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct node *all, *root;
static char root_path[512];
static dev_t dev;
static size_t calls;
static bool is_cut;
static struct disk_fault fault;

/* ---- the model; all with the lock held ---- */

static struct node *
node_new (const struct stat *st)
{
  struct node *n = calloc (1, sizeof *n);
  if (!n)
    DIE ("no memory");
  n->ino = st->st_ino;
  n->is_dir = S_ISDIR (st->st_mode);
  n->next = all;
  all = n;
  return n;
}

static struct node *
node_of_fd (int fd)
{
  struct stat st;
  if (!root || fstat (fd, &st) != 0 || st.st_dev != dev)
    return NULL;
  for (struct node *n = all; n; n = n->next)
    if (n->links && n->ino == st.st_ino)
      return n;
  return NULL;
}

static struct entry *
find (struct entries *e, const char *name, size_t len)
{
  for (size_t i = 0; i < e->count; i++)
    if (strlen (e->at[i].name) == len && memcmp (e->at[i].name, name, len) == 0)
      return &e->at[i];
  return NULL;
}

static void
set_entry (struct node *dir, const char *name, struct node *n)
{
  struct entry *e = find (&dir->now, name, strlen (name));
  n->links++;
  if (e)
    e->node->links--;
  else {
    dir->now.at = realloc (dir->now.at, (dir->now.count + 1) * sizeof *dir->now.at);
    if (!dir->now.at)
      DIE ("no memory");
    e = &dir->now.at[dir->now.count++];
    snprintf (e->name, sizeof e->name, "%s", name);
  }
  e->node = n;
}

static void
drop_entry (struct node *dir, const char *name)
{
  struct entry *e = find (&dir->now, name, strlen (name));
  if (!e)
    DIE ("%s goes and was not there", name);
  e->node->links--;
  *e = dir->now.at[--dir->now.count];
}

static struct node *
start_of (int fd, const char **path)
{
  size_t n = strlen (root_path);
  if (**path != '/')
    return fd == AT_FDCWD ? NULL : node_of_fd (fd);
  if (!root || strncmp (*path, root_path, n) != 0 || (*path)[n] != '/')
    return NULL;
  *path += n + 1;
  return root;
}

/* The directory PATH is in, and its last component; NULL: not on this disk, or not there. */
static struct node *
parent_of (int fd, const char *path, const char **name)
{
  struct node *dir = start_of (fd, &path);
  for (const char *slash; dir && (slash = strchr (path, '/')); path = slash + 1) {
    struct entry *e = find (&dir->now, path, (size_t) (slash - path));
    dir = e && e->node->is_dir ? e->node : NULL;
  }
  *name = path;
  return dir;
}

static struct node *
lookup (int fd, const char *path)
{
  const char *name;
  struct node *dir = parent_of (fd, path, &name);
  struct entry *e = dir ? find (&dir->now, name, strlen (name)) : NULL;
  return e ? e->node : NULL;
}

/* Is PATH on the disk, whether or not something is there? */
static bool
is_ours (int fd, const char *path)
{
  return start_of (fd, &path) != NULL;
}

/* One more call; false: it fails. */
static bool
goes_on (bool counts)
{
  bool is_hit = counts && !is_cut && ++calls == fault.at;
  is_cut |= is_hit && !fault.is_passing;
  if (!is_hit && !is_cut)
    return true;
  errno = EIO;
  return false;
}

static void
sync_file (struct node *n, int fd)
{
  char path[64];
  struct stat st;
  snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  int in = open (path, O_RDONLY | O_CLOEXEC);
  if (in < 0 || fstat (in, &st) != 0)
    DIE ("%s: %s", path, strerror (errno));
  n->len = (size_t) st.st_size;
  n->data = realloc (n->data, n->len + 1);
  if (!n->data || read (in, n->data, n->len) != (ssize_t) n->len)
    DIE ("cannot read what is synced");
  close (in);
}

static void
sync_node (struct node *n, int fd)
{
  if (fault.lie == (n->is_dir ? DISK_NO_DIR_SYNC : DISK_NO_FILE_SYNC))
    return;
  if (!n->is_dir) {
    sync_file (n, fd);
    return;
  }
  size_t size = n->now.count * sizeof *n->now.at;
  free (n->synced.at);
  n->synced = (struct entries){ .at = malloc (size + 1), .count = n->now.count };
  if (!n->synced.at)
    DIE ("no memory");
  if (size)
    memcpy (n->synced.at, n->now.at, size);
}

/* ---- between the code and the C library ---- */

int __real_openat (int fd, const char *path, int flags, ...);
int __real_mkdir (const char *path, mode_t mode);
int __real_mkdirat (int fd, const char *path, mode_t mode);
ssize_t __real_write (int fd, const void *p, size_t n);
int __real_fsync (int fd);
int __real_fdatasync (int fd);
int __real_renameat (int from_fd, const char *from, int to_fd, const char *to);
int __real_renameat2 (int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __real_linkat (int from_fd, const char *from, int to_fd, const char *to, int flags);
int __real_unlinkat (int fd, const char *path, int flags);
ssize_t __real_pread (int fd, void *out, size_t n, off_t off);
int __real_fstatat (int fd, const char *path, struct stat *out, int flags);
int __wrap_openat (int fd, const char *path, int flags, ...);
int __wrap_mkdir (const char *path, mode_t mode);
int __wrap_mkdirat (int fd, const char *path, mode_t mode);
ssize_t __wrap_write (int fd, const void *p, size_t n);
ssize_t __wrap_pread (int fd, void *out, size_t n, off_t off);
int __wrap_fstatat (int fd, const char *path, struct stat *out, int flags);
int __wrap_fsync (int fd);
int __wrap_fdatasync (int fd);
int __wrap_renameat (int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat2 (int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_linkat (int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_unlinkat (int fd, const char *path, int flags);

static void
unlock (pthread_mutex_t **m)
{
  int saved = errno;
  pthread_mutex_unlock (*m);
  errno = saved;
}
#define LOCKED()                                                     \
  __attribute__ ((cleanup (unlock))) pthread_mutex_t *held = &lock; \
  pthread_mutex_lock (held)

int
__wrap_openat (int fd, const char *path, int flags, ...)
{
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list ap;
    va_start (ap, flags);
    mode = va_arg (ap, mode_t);
    va_end (ap);
  }
  LOCKED ();
  if (is_ours (fd, path) && !goes_on (false))
    return -1;
  if (!(flags & (O_CREAT | O_TRUNC)))
    return __real_openat (fd, path, flags);
  const char *name;
  struct node *dir = parent_of (fd, path, &name);
  if (dir && !(flags & O_EXCL))
    DIE ("%s is opened in a way that this model does not know", path);
  int got = __real_openat (fd, path, flags, mode);
  struct stat st;
  if (dir && got >= 0 && fstat (got, &st) == 0)
    set_entry (dir, name, node_new (&st));
  return got;
}

static int
make_dir (int fd, const char *path, mode_t mode)
{
  LOCKED ();
  if (is_ours (fd, path) && !goes_on (true))
    return -1;
  int rc = __real_mkdirat (fd, path, mode);
  const char *name;
  struct node *dir = rc == 0 ? parent_of (fd, path, &name) : NULL;
  struct stat st;
  if (dir && __real_fstatat (fd, path, &st, 0) == 0)
    set_entry (dir, name, node_new (&st));
  return rc;
}

int
__wrap_mkdir (const char *path, mode_t mode)
{
  return make_dir (AT_FDCWD, path, mode);
}

int
__wrap_mkdirat (int fd, const char *path, mode_t mode)
{
  return make_dir (fd, path, mode);
}

ssize_t
__wrap_write (int fd, const void *p, size_t n)
{
  {
    LOCKED ();
    if (node_of_fd (fd) && !goes_on (false))
      return -1;
  }
  return __real_write (fd, p, n);
}

ssize_t
__wrap_pread (int fd, void *out, size_t n, off_t off)
{
  {
    LOCKED ();
    if (is_cut && node_of_fd (fd) && !goes_on (false))
      return -1;
  }
  return __real_pread (fd, out, n, off);
}

int
__wrap_fstatat (int fd, const char *path, struct stat *out, int flags)
{
  LOCKED ();
  bool ours = is_ours (fd, path);
  if (ours && !goes_on (false))
    return -1;
  int rc = __real_fstatat (fd, path, out, flags);
  if (ours && rc == 0 && S_ISDIR (out->st_mode))
    out->st_ino = 2;
  return rc;
}

static int
sync_fd (int fd, int (*real) (int))
{
  LOCKED ();
  struct node *n = node_of_fd (fd);
  if (n && !goes_on (true))
    return -1;
  int rc = real (fd);
  if (n && rc == 0)
    sync_node (n, fd);
  return rc;
}

int
__wrap_fsync (int fd)
{
  return sync_fd (fd, __real_fsync);
}

int
__wrap_fdatasync (int fd)
{
  return sync_fd (fd, __real_fdatasync);
}

int
__wrap_renameat2 (int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
  LOCKED ();
  struct node *n = lookup (from_fd, from);
  if (n && !goes_on (true))
    return -1;
  if (n && flags && fault.no_rename_flags) {
    errno = EINVAL;
    return -1;
  }
  int rc = flags ? __real_renameat2 (from_fd, from, to_fd, to, flags)
                 : __real_renameat (from_fd, from, to_fd, to);
  if (!n || rc != 0)
    return rc;
  const char *from_name, *to_name;
  struct node *from_dir = parent_of (from_fd, from, &from_name);
  struct node *to_dir = parent_of (to_fd, to, &to_name);
  if (!to_dir)
    DIE ("%s leaves the disk", from);
  set_entry (to_dir, to_name, n);
  drop_entry (from_dir, from_name);
  return rc;
}

int
__wrap_renameat (int from_fd, const char *from, int to_fd, const char *to)
{
  return __wrap_renameat2 (from_fd, from, to_fd, to, 0);
}

int
__wrap_linkat (int from_fd, const char *from, int to_fd, const char *to, int flags)
{
  LOCKED ();
  struct node *n = lookup (from_fd, from);
  if (n && !goes_on (true))
    return -1;
  int rc = __real_linkat (from_fd, from, to_fd, to, flags);
  const char *name;
  struct node *dir = n && rc == 0 ? parent_of (to_fd, to, &name) : NULL;
  if (dir)
    set_entry (dir, name, n);
  return rc;
}

int
__wrap_unlinkat (int fd, const char *path, int flags)
{
  LOCKED ();
  const char *name;
  struct node *dir = parent_of (fd, path, &name);
  if (dir && !goes_on (true))
    return -1;
  int rc = __real_unlinkat (fd, path, flags);
  if (dir && rc == 0)
    drop_entry (dir, name);
  return rc;
}

/* ---- for the test ---- */

void
disk_begin (const char *dir)
{
  struct stat st;
  LOCKED ();
  if (stat (dir, &st) != 0)
    DIE ("%s: %s", dir, strerror (errno));
  dev = st.st_dev;
  snprintf (root_path, sizeof root_path, "%s", dir);
  root = node_new (&st);
  root->links = 1;
  calls = 0;
  is_cut = false;
  fault = (struct disk_fault){ 0 };
}

void
disk_arm (const struct disk_fault *f)
{
  LOCKED ();
  calls = 0;
  fault = *f;
}

size_t
disk_count (void)
{
  LOCKED ();
  return calls;
}

void
disk_cut (void)
{
  LOCKED ();
  is_cut = true;
}

bool
disk_is_cut (void)
{
  LOCKED ();
  return is_cut;
}

static void
restore (const struct node *dir, const char *to, bool is_eager)
{
  if (__real_mkdir (to, 0700) != 0)
    DIE ("%s: %s", to, strerror (errno));
  const struct entries *e = is_eager ? &dir->now : &dir->synced;
  for (size_t i = 0; i < e->count; i++) {
    const struct node *n = e->at[i].node;
    char path[1024];
    snprintf (path, sizeof path, "%s/%s", to, e->at[i].name);
    if (n->is_dir) {
      restore (n, path, is_eager);
      continue;
    }
    int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || __real_write (fd, n->data ? n->data : (uint8_t *) "", n->len) != (ssize_t) n->len)
      DIE ("%s: %s", path, strerror (errno));
    close (fd);
  }
}

void
disk_restore (const char *to, bool is_eager)
{
  LOCKED ();
  if (!is_cut)
    DIE ("the power is still on");
  restore (root, to, is_eager);
}

void
disk_end (void)
{
  LOCKED ();
  for (struct node *n = all, *next; n; n = next) {
    next = n->next;
    free (n->data);
    free (n->now.at);
    free (n->synced.at);
    free (n);
  }
  all = root = NULL;
}
