/* SPDX-License-Identifier: Apache-2.0 */
/* loop - the FUSE workers.  libfuse's own loop adds one whenever all are at work, be it for a few
 * microseconds, and the kernel hands requests to all in turn: a client that sends one at a time
 * meets ten cold stacks and shares two processors with three of them, which costs a copy of small
 * files a tenth of its time.  Here as many read as there are processors (two at least).  More come
 * only while these are all at work for a tick without one of them coming back: then they wait for
 * the disk.  Whoever finds enough others reading parks. */
#ifndef COFFER_FS_LOOP_H
#define COFFER_FS_LOOP_H

#include "fs/fs_priv.h"

/* Until the session has ended; what was taken is answered.  MOST: workers at most.  A signal that
 * comes to the caller's thread makes it look whether the session was told to end.  0, ERR_NOMEM,
 * or ERR_IO if the device failed. */
int loop_run (struct fuse_session *session, unsigned most) WARN_UNUSED;

#endif
