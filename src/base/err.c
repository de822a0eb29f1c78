/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>

const char *
err_str (int err)
{
  switch (err) {
  case 0: return "success";
  case ERR_NOMEM: return "out of memory";
  case ERR_IO: return "input/output error";
  case ERR_AGAIN: return "temporary failure";
  case ERR_MISSING: return "object missing";
  case ERR_EXISTS: return "already exists";
  case ERR_FORMAT: return "damaged or altered data";
  case ERR_AUTH: return "wrong key or passphrase";
  case ERR_CANCELLED: return "cancelled";
  case ERR_FULL: return "no space left";
  case ERR_DENIED: return "access denied";
  case ERR_LIMIT: return "limit exceeded";
  case ERR_STATE: return "not possible in this state";
  case ERR_INVALID: return "invalid argument";
  case ERR_THROTTLED: return "slowed down by the store";
  case ERR_VERSION: return "format too new for this coffer";
  case ERR_WOULDBLOCK: return "would have to wait";
  case ERR_NOENT: return "no such file or directory";
  case ERR_NOTDIR: return "not a directory";
  case ERR_ISDIR: return "is a directory";
  case ERR_NOTEMPTY: return "directory not empty";
  case ERR_ROFS: return "sealed: read-only";
  case ERR_BUSY: return "busy";
  case ERR_XDEV: return "cross-snapshot or cross-vault operation";
  case ERR_NODATA: return "no such attribute";
  case ERR_PERM: return "operation not permitted";
  case ERR_NAMETOOLONG: return "name too long";
  case ERR_FBIG: return "file too large";
  case ERR_NOTSUP: return "not supported";
  case ERR_RANGE: return "buffer too small";
  case ERR_MLINK: return "too many links";
  case ERR_NXIO: return "no such device or address";
  case ERR_BADF: return "bad file handle";
  case ERR_ACCES: return "permission denied";
  case ERR_INTR: return "interrupted";
  case ERR_STALE: return "stale file handle";
  default: return "unknown error";
  }
}

int
err_from_errno (int errnum)
{
  switch (errnum) {
  case 0: return 0;
  case ENOMEM: return ERR_NOMEM;
  case ENOENT: return ERR_NOENT;
  case EEXIST: return ERR_EXISTS;
  case ENOTDIR: return ERR_NOTDIR;
  case EISDIR: return ERR_ISDIR;
  case ENOTEMPTY: return ERR_NOTEMPTY;
  case EROFS: return ERR_ROFS;
  case EBUSY: return ERR_BUSY;
  case EXDEV: return ERR_XDEV;
  case ENODATA: return ERR_NODATA;
  case EPERM: return ERR_PERM;
  case EACCES: return ERR_DENIED;
  case ENOSPC:
  case EDQUOT: return ERR_FULL;
  case ENAMETOOLONG: return ERR_NAMETOOLONG;
  case EFBIG: return ERR_FBIG;
  case E2BIG: return ERR_LIMIT;
  case EINVAL: return ERR_INVALID;
  case EINTR: return ERR_INTR;
  case EAGAIN: return ERR_AGAIN;
  case ENOTSUP: return ERR_NOTSUP;
  case ERANGE: return ERR_RANGE;
  case ESTALE: return ERR_STALE;
  default: return ERR_IO;
  }
}
