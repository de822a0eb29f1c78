/* SPDX-License-Identifier: Apache-2.0 */
/* control - the directory .coffer: small virtual files (DESIGN 10).
 *
 *   status status.json metrics health version     made when opened, read from there
 *   config history                                where the program above offers them
 *   throttle/<region>, throttle/host              read: the present rates; write: one setting
 *   command                                       write one line; read the answer; same handle
 *
 * Nodes have top byte 0: 2 the directory, 3 throttle, 16.. the files, 4096.. the regions; each
 * lookup of `command` gives a node of its own, so that the kernel's per-inode lock never makes one
 * order wait for another.  All are opened direct_io: their size is not known before.
 *
 * A write to throttle or command fails with the errno of what was ordered; the handle then reads as
 * one line that says why.  Commands run on the pool of waiters and may be interrupted (then they go
 * on). */
#ifndef COFFER_FS_CONTROL_H
#define COFFER_FS_CONTROL_H

#include "fs/fs_priv.h"

#define CONTROL_DIR ".coffer"

int control_new (struct fs *fs, struct control **out) WARN_UNUSED;
void control_free (struct control *c);

/* True where NAME in PARENT is ours to answer for. */
bool control_owns (fuse_ino_t parent, const char *name);

void control_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr (fuse_req_t req, fuse_ino_t ino);
void control_setattr (fuse_req_t req, fuse_ino_t ino, int to_set);
void control_readdir (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool is_plus);
void control_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_read (fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void control_write (fuse_req_t req, const char *data, size_t size, struct fuse_file_info *fi);
void control_release (fuse_req_t req, struct fuse_file_info *fi);
/* setxattr user.coffer.command on the directory of an open snapshot. */
void control_xattr_command (fuse_req_t req, fuse_ino_t ino, const char *value, size_t n);

struct control_handle;
void control_handle_free (struct control_handle *h);

#endif
