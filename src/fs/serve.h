/* SPDX-License-Identifier: Apache-2.0 */
/* serve - signals and the first request, beside the loop (loop.h).
 *
 * SIGTERM and SIGINT end the session, SIGHUP reopens the log.  All three are blocked in every
 * thread and taken by one of our own, so none is lost between a check and a wait, and no handler
 * runs anywhere.  The loop sleeps in sem_wait: it is woken by SIGUSR2, sent to it alone.
 *
 * The same thread asks the mount for its first answer: then INIT is done, the kernel's read-ahead
 * may be raised (INIT would lower it again) and the caller's `ready` runs. */
#ifndef COFFER_FS_SERVE_H
#define COFFER_FS_SERVE_H

#include "fs/fs_priv.h"

/* Runs the session's loop to its end; 0 or ERR_IO. */
int serve_loop (struct fs *fs) WARN_UNUSED;

#endif
