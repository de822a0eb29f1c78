/* SPDX-License-Identifier: Apache-2.0 */
/* disk - what of a directory would be left after a power cut, in the worst case POSIX allows.
 *
 * The linker puts this file between the code under test and the C library (local.mk: --wrap): calls
 * that change something below the directory are noted.  A file keeps what it held at its last
 * fsync, nothing if there was none; a directory the entries it had at its own last fsync.  Both are
 * kept here, so the real file system may be any, a tmpfs too.
 *
 * Counted are the calls between which what is durable changes: fsync, fdatasync, rename, link,
 * unlink, mkdir.  From the time of the cut on every call is EIO, those that only read too: who
 * lives on shall not learn more than who died.
 *
 * A file system may give a number again at once: all directories here have the same in fstatat.
 *
 * One disk at a time.  Threads: any, but for begin and end. */
#ifndef COFFER_TESTS_CRASH_DISK_H
#define COFFER_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>

enum disk_lie {
  DISK_HONEST,
  DISK_NO_DIR_SYNC,  /* fsync of a directory returns 0 and does nothing */
  DISK_NO_FILE_SYNC, /* of a file */
};

struct disk_fault {
  size_t at;            /* before the at-th call, from 1: 0 never */
  bool is_passing;      /* that call is EIO and does nothing, and the power stays on */
  bool no_rename_flags; /* a rename that must not replace is EINVAL: some file systems have none */
  enum disk_lie lie;
};

/* DIR: empty, and itself durable. */
void disk_begin (const char *dir);
/* From now on; calls are counted anew. */
void disk_arm (const struct disk_fault *f);
size_t disk_count (void);
void disk_cut (void);
bool disk_is_cut (void);
/* Makes TO, which is not there, what DIR is after the cut.  Entries that were not synced are gone;
 * with IS_EAGER they are there (the file system wrote them first), and only data is gone. */
void disk_restore (const char *to, bool is_eager);
void disk_end (void);

#endif
