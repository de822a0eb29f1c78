/* SPDX-License-Identifier: Apache-2.0 */
/* err - the error codes of coffer.
 *
 * Every fallible function returns 0 (or a count) on success and one of these, negative, on failure.
 * They are not errno values: ERR_MISSING (a chunk is gone) must reach the kernel as EIO, never as
 * ENOENT.  src/fs/session.c holds the only table from here to errno.
 *
 * Log once, where the fact is known (path, key, offset); pass only the code up.
 */
#ifndef COFFER_BASE_ERR_H
#define COFFER_BASE_ERR_H

enum err {
  /* What happened to a resource or to the store. */
  /* a bound or the heap is exhausted; nothing was done; may be tried again later */
  ERR_NOMEM = -1,
  /* the local system or the store failed for a reason that retrying won't mend */
  ERR_IO = -2,
  ERR_AGAIN = -3,      /* transient (network, 5xx, timeout): the same call may succeed later */
  ERR_MISSING = -4,    /* an object that must exist does not: damage if a root refers to it */
  ERR_EXISTS = -5,     /* the name is taken; what is there was left alone */
  ERR_FORMAT = -6,     /* stored bytes are damaged, cut, or not ours; they were not used */
  ERR_AUTH = -7,       /* wrong key or passphrase; nothing was written */
  ERR_CANCELLED = -8,  /* the caller, a signal or a shutdown asked to stop */
  ERR_FULL = -9,       /* no space: store, quota, overlay or local disk */
  ERR_DENIED = -10,    /* credentials or permissions refuse; a person must act */
  ERR_LIMIT = -11,     /* a documented limit is exceeded */
  ERR_STATE = -12,     /* not possible in the present state of the object */
  ERR_INVALID = -13,   /* the argument is wrong */
  ERR_THROTTLED = -14, /* the store asks for fewer requests: slow down and try again */
  ERR_VERSION = -15,   /* a newer format: a newer coffer is needed */
  ERR_WOULDBLOCK = -16,/* the answer needs the network and the caller asked not to wait */

  /* What a file system answers (POSIX meaning). */
  ERR_NOENT = -30,
  ERR_NOTDIR = -31,
  ERR_ISDIR = -32,
  ERR_NOTEMPTY = -33,
  ERR_ROFS = -34,
  ERR_BUSY = -35,
  ERR_XDEV = -36,
  ERR_NODATA = -37,
  ERR_PERM = -38,
  ERR_NAMETOOLONG = -39,
  ERR_FBIG = -40,
  ERR_NOTSUP = -41,
  ERR_RANGE = -42,
  ERR_MLINK = -43,
  ERR_NXIO = -44,
  ERR_BADF = -45,
  ERR_ACCES = -46,
  ERR_INTR = -47,
  ERR_STALE = -48,
};

/* A short English phrase, never NULL: "damaged or altered data". */
const char *err_str (int err);

/* The nearest code for an errno value of a local system call. */
int err_from_errno (int errnum);

/* True where the same call may succeed later without anybody's action. */
static inline _Bool
err_is_transient (int err)
{
  return err == ERR_AGAIN || err == ERR_THROTTLED;
}

#define WARN_UNUSED __attribute__ ((warn_unused_result))

#endif
