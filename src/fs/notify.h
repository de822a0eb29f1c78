/* SPDX-License-Identifier: Apache-2.0 */
/* notify - telling the kernel that what it remembers has changed.
 *
 * One thread does it, holding nothing: a notification writes to the device and may wait for locks
 * of the kernel that are held by somebody who waits for one of our answers.  Never from an
 * operation.
 *
 *   attributes   where a direct write dropped set-id bits; its answer goes out after the
 *                notification, so that who wrote sees the new mode
 *   names        a seal that was ordered by command: T.partial is gone and T is there (a rename by
 *                the kernel needs none); watched for until it has happened or failed.  And after
 *                such a rename: what the kernel now calls T is this host's part alone */
#ifndef COFFER_FS_NOTIFY_H
#define COFFER_FS_NOTIFY_H

#include "fs/held.h"

struct notify;

int notify_new (struct fs *fs, struct notify **out) WARN_UNUSED;
void notify_free (struct notify *n);

/* Forgets the attributes of the written node, then answers R with what is done (the rest is not
 * taken any more where IS_HELD: rare enough for a short count). */
void notify_attr_then_write (struct notify *n, const struct held_request *r, bool is_held);
/* T in PARENT was renamed from T.partial: the kernel is to look T up again, once its rename is
 * over. */
void notify_renamed (struct notify *n, uint64_t parent, const char *name);
/* A seal of PATH (`region/vault/T.partial`) has been ordered. */
void notify_watch_seal (struct notify *n, const char *path);

#endif
