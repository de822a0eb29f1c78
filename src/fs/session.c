/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "fs/control.h"
#include "fs/defer.h"
#include "fs/fs_priv.h"
#include "fs/held.h"
#include "fs/notify.h"
#include "fs/serve.h"

#define LOG_MODULE "fs"
#include "base/log.h"

#define MAX_WRITE (1u << 20)  /* the kernel's own limit is 256 pages */
#define MIN_WRITE (8u << 10)
#define MANY_WRITERS 64
#define MAX_BACKGROUND 64     /* 16 readers with 4 MiB read ahead; the default of 12 is 3 */
#define DEFAULT_WRITE_TIMEOUT_NS (3600 * NS_PER_S)

static const struct {
  int err, errnum;
} errno_table[] = {
  { ERR_NOMEM, ENOMEM },
  { ERR_IO, EIO },
  { ERR_AGAIN, EAGAIN },
  { ERR_MISSING, EIO }, /* damage, never "no such file" */
  { ERR_EXISTS, EEXIST },
  { ERR_FORMAT, EIO },
  { ERR_AUTH, EACCES },
  { ERR_CANCELLED, EINTR },
  { ERR_FULL, ENOSPC },
  { ERR_DENIED, EACCES },
  { ERR_LIMIT, E2BIG },
  { ERR_STATE, EINVAL },
  { ERR_INVALID, EINVAL },
  { ERR_THROTTLED, EAGAIN },
  { ERR_VERSION, EIO },
  { ERR_WOULDBLOCK, EAGAIN },
  { ERR_NOENT, ENOENT },
  { ERR_NOTDIR, ENOTDIR },
  { ERR_ISDIR, EISDIR },
  { ERR_NOTEMPTY, ENOTEMPTY },
  { ERR_ROFS, EROFS },
  { ERR_BUSY, EBUSY },
  { ERR_XDEV, EXDEV },
  { ERR_NODATA, ENODATA },
  { ERR_PERM, EPERM },
  { ERR_NAMETOOLONG, ENAMETOOLONG },
  { ERR_FBIG, EFBIG },
  { ERR_NOTSUP, EOPNOTSUPP },
  { ERR_RANGE, ERANGE },
  { ERR_MLINK, EMLINK },
  { ERR_NXIO, ENXIO },
  { ERR_BADF, EBADF },
  { ERR_ACCES, EACCES },
  { ERR_INTR, EINTR },
  { ERR_STALE, ESTALE },
};

int
err_to_errno (int err)
{
  if (err >= 0)
    return 0;
  for (size_t i = 0; i < sizeof errno_table / sizeof *errno_table; i++)
    if (errno_table[i].err == err)
      return errno_table[i].errnum;
  return EIO;
}

/* ---- INIT ---- */

static bool
want (struct fuse_conn_info *conn, uint64_t flag)
{
#ifdef HAVE_STRUCT_FUSE_CONN_INFO_WANT_EXT
  return fuse_set_feature_flag (conn, flag);
#else
  if (!(conn->capable & flag))
    return false;
  conn->want |= (unsigned) flag;
  return true;
#endif
}

static void
refuse (struct fuse_conn_info *conn, uint64_t flag)
{
#ifdef HAVE_STRUCT_FUSE_CONN_INFO_WANT_EXT
  fuse_unset_feature_flag (conn, flag);
#else
  conn->want &= ~(unsigned) flag;
#endif
}

/* Ruling 11: 64 writers share the rate, and no request of theirs is to wait for a second.  (libfuse
 * makes reads no larger than this.  A rate that is set later does not change it.) */
static unsigned
max_write (uint64_t rate)
{
  unsigned n = MAX_WRITE;
  while (rate && n > MIN_WRITE && n > rate / MANY_WRITERS * 3 / 4)
    n /= 2;
  return n;
}

/* What is taken and what is not, each with its reason:
 *   ATOMIC_O_TRUNC    taken: open truncates, one request less
 *   READDIRPLUS_AUTO  taken: `ls -l` asks for attributes with the names, `find` need not
 *   PARALLEL_DIROPS   taken: lookups in a directory are independent (3.14 does not send it)
 *   DONT_MASK         taken: a default ACL replaces the umask, and only we know of it
 *   POSIX_ACL         with allow_other: else nobody is let in whom an ACL could refuse, and it
 *                     costs `ls -l` half as much again
 *   WRITEBACK_CACHE   not: reorders, reads where one only writes, hides errors until fsync
 *   SPLICE_*          not: measured twice as dear as replies from memory
 *   HANDLE_KILLPRIV   not: the kernel clears set-id bits itself, but for direct writes */
static void
op_init (void *userdata, struct fuse_conn_info *conn)
{
  struct fs *fs = userdata;
  want (conn, FUSE_CAP_ASYNC_READ);
  want (conn, FUSE_CAP_ATOMIC_O_TRUNC);
  want (conn, FUSE_CAP_READDIRPLUS);
  want (conn, FUSE_CAP_READDIRPLUS_AUTO);
  want (conn, FUSE_CAP_PARALLEL_DIROPS);
  fs->has_dont_mask = want (conn, FUSE_CAP_DONT_MASK);
  if (fs->opts.allow_other)
    fs->has_acl = want (conn, FUSE_CAP_POSIX_ACL);
  static const uint64_t unwanted[] = {
    FUSE_CAP_WRITEBACK_CACHE, FUSE_CAP_SPLICE_READ,     FUSE_CAP_SPLICE_WRITE,
    FUSE_CAP_SPLICE_MOVE,     FUSE_CAP_HANDLE_KILLPRIV,
  };
  for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++)
    refuse (conn, unwanted[i]);
  conn->max_write = max_write (fs->opts.upload_rate);
  conn->max_background = MAX_BACKGROUND;
  conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
  conn->time_gran = 1;
  fs->proto_minor = conn->proto_minor;
}

static const struct fuse_lowlevel_ops fs_ops = {
  .init = op_init,
  .lookup = op_lookup,
  .forget = op_forget,
  .forget_multi = op_forget_multi,
  .getattr = op_getattr,
  .setattr = op_setattr,
  .readlink = op_readlink,
  .mknod = op_mknod,
  .mkdir = op_mkdir,
  .symlink = op_symlink,
  .unlink = op_unlink,
  .rmdir = op_rmdir,
  .rename = op_rename,
  .link = op_link,
  .open = op_open,
  .create = op_create,
#ifdef HAVE_STRUCT_FUSE_LOWLEVEL_OPS_TMPFILE
  .tmpfile = op_tmpfile,
#endif
  .read = op_read,
  .write = op_write,
  .flush = op_flush,
  .release = op_release,
  .fsync = op_fsync,
  .opendir = op_opendir,
  .readdir = op_readdir,
  .readdirplus = op_readdirplus,
  .releasedir = op_releasedir,
  .fsyncdir = op_fsyncdir,
  .statfs = op_statfs,
  .setxattr = op_setxattr,
  .getxattr = op_getxattr,
  .listxattr = op_listxattr,
  .removexattr = op_removexattr,
  .fallocate = op_fallocate,
  .lseek = op_lseek,
  .copy_file_range = op_copy_file_range,
};

/* ---- life ---- */

__attribute__ ((format (printf, 2, 0))) static void
log_fuse (enum fuse_log_level level, const char *fmt, va_list ap)
{
  char text[512];
  int n = vsnprintf (text, sizeof text, fmt, ap);
  while (n > 0 && (size_t) n < sizeof text && text[n - 1] == '\n')
    text[--n] = 0;
  if (level <= FUSE_LOG_ERR)
    log_err ("libfuse: %s", text);
  else if (level == FUSE_LOG_WARNING)
    log_warn ("libfuse: %s", text);
  else
    log_debug ("libfuse: %s", text);
}

/* Kernels 6.9 to 6.12 never let a cached listing expire (gcsfuse issue 2792). */
static bool
kernel_caches_dirs_well (void)
{
  struct utsname u;
  unsigned x = 0, y = 0;
  if (uname (&u) != 0 || sscanf (u.release, "%u.%u", &x, &y) != 2)
    return false;
  return !(x == 6 && y >= 9 && y <= 12);
}

static int
copy_opts (struct fs *fs, const struct fs_opts *opts)
{
  fs->opts = *opts;
  fs->mountpoint = realpath (opts->mountpoint, NULL);
  if (!fs->mountpoint) {
    log_err ("cannot use the mount point path=%s err=\"%s\"", opts->mountpoint, strerror (errno));
    return err_from_errno (errno);
  }
  fs->fsname = strdup (opts->fsname ? opts->fsname : "coffer");
  fs->extra = strdup (opts->extra ? opts->extra : "");
  if (!fs->fsname || !fs->extra)
    return ERR_NOMEM;
  fs->opts.mountpoint = fs->mountpoint;
  fs->opts.fsname = fs->fsname;
  fs->opts.extra = fs->extra;
  return 0;
}

/* A comma or a backslash in the name would end the option. */
static void
put_escaped (struct buf *b, const char *s)
{
  for (; *s; s++) {
    if (*s == ',' || *s == '\\')
      buf_put_u8 (b, '\\');
    buf_put_u8 (b, (uint8_t) *s);
  }
}

static int
new_session (struct fs *fs)
{
  AUTO_BUF o;
  buf_init (&o, 64 << 10);
  buf_printf (&o, "default_permissions,nosuid,nodev,subtype=coffer,fsname=");
  put_escaped (&o, fs->fsname);
  if (fs->opts.allow_other)
    buf_printf (&o, ",allow_other");
  if (fs->opts.read_only)
    buf_printf (&o, ",ro");
  if (fs->opts.debug)
    buf_printf (&o, ",debug");
  if (fs->extra[0])
    buf_printf (&o, ",%s", fs->extra);
  buf_put_u8 (&o, 0);
  if (buf_error (&o) < 0)
    return buf_error (&o);
  struct fuse_args args = FUSE_ARGS_INIT (0, NULL);
  if (fuse_opt_add_arg (&args, "coffer") == 0 && fuse_opt_add_arg (&args, "-o") == 0
      && fuse_opt_add_arg (&args, (char *) o.data) == 0)
    fs->session = fuse_session_new (&args, &fs_ops, sizeof fs_ops, fs);
  fuse_opt_free_args (&args);
  return fs->session ? 0 : ERR_INVALID;
}

int
fs_new (struct mount *m, const struct fs_opts *opts, struct fs **out)
{
  AUTO (fs) fs = calloc (1, sizeof *fs);
  if (!fs)
    return ERR_NOMEM;
  fs->mount = m;
  lock_init (&fs->handles_lock, LOCK_SESSION, "handles");
  fs->uid = getuid ();
  fs->gid = getgid ();
  fs->started = clock_wall ();
  fs->can_cache_dirs = kernel_caches_dirs_well ();
  fuse_set_log_func (log_fuse);
  int rc = copy_opts (fs, opts);
  if (rc == 0)
    rc = new_session (fs);
  if (rc < 0)
    return rc;
  *out = STEAL (fs);
  return 0;
}

int
fs_mount (struct fs *fs)
{
  if (fuse_session_mount (fs->session, fs->mountpoint) != 0) {
    log_err ("mounting failed path=%s (is /dev/fuse there, and may this user mount?)",
             fs->mountpoint);
    return ERR_IO;
  }
  fs->is_mounted = true;
  return 0;
}

void
fs_stop_helpers (struct fs *fs)
{
  notify_free (fs->notify);
  fs->notify = NULL;
  held_free (fs->held);
  fs->held = NULL;
  pool_free (fs->waiters); /* runs what is queued: the mount has been cancelled, or answers */
  fs->waiters = NULL;
  pool_free (fs->answerers);
  fs->answerers = NULL;
  handles_close_all (fs);
  control_free (fs->control);
  fs->control = NULL;
}

/* Snapshots resumed may hold ACLs; without any, creating and chmod need not look for one. */
static int
look_for_open (struct fs *fs)
{
  AUTO_MEM struct snapshot_info *list = NULL;
  size_t n;
  int rc = mount_snapshots (fs->mount, &list, &n);
  if (rc == 0 && n)
    fs->has_acls = true;
  return rc;
}

static int
start_helpers (struct fs *fs)
{
  int64_t timeout_ns
    = fs->opts.write_timeout_ns ? fs->opts.write_timeout_ns : DEFAULT_WRITE_TIMEOUT_NS;
  int rc = pool_new ("waiter", DEFER_THREADS, 0, &fs->waiters);
  if (rc == 0)
    rc = pool_new ("answer", 1, 0, &fs->answerers);
  if (rc == 0)
    rc = held_new (fs, timeout_ns, &fs->held);
  if (rc == 0)
    rc = look_for_open (fs);
  if (rc == 0)
    rc = notify_new (fs, &fs->notify);
  if (rc == 0)
    rc = control_new (fs, &fs->control);
  return rc;
}

int
fs_serve (struct fs *fs)
{
  int rc = start_helpers (fs);
  if (rc == 0)
    rc = serve_loop (fs);
  fs_stop_helpers (fs);
  return rc;
}

void
fs_stop (struct fs *fs)
{
  if (!fs->is_stopping)
    kill (getpid (), SIGTERM); /* blocked everywhere: the thread of serve.c takes it */
}

bool
fs_was_stopped (const struct fs *fs)
{
  return fs->was_told;
}

void
fs_free (struct fs *fs)
{
  if (!fs)
    return;
  if (fs->session) {
    if (fs->is_mounted)
      fuse_session_unmount (fs->session);
    fuse_session_destroy (fs->session);
  }
  free (fs->mountpoint);
  free (fs->fsname);
  free (fs->extra);
  lock_destroy (&fs->handles_lock);
  free (fs);
}
