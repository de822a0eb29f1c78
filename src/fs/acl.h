/* SPDX-License-Identifier: Apache-2.0 */
/* acl - POSIX ACLs as FUSE leaves them to the file system: kept in step with the mode, inherited.
 *
 * An ACL is the xattr system.posix_acl_access (or _default, of a directory) in the kernel's own
 * layout: version 2, then entries {tag u16, permissions u16, id u32}, little-endian.  The kernel
 * checks permissions; what it does not do and happens here:
 *   - setting an access ACL sets the mode's nine bits; one that says no more is not kept
 *   - chmod changes the ACL's owner, other, and mask (or group, where there is no mask)
 *   - a new node in a directory with a default ACL gets it, cut down by the mode asked for; a new
 *     directory gets the default too
 * Nodes of open snapshots only.  The codec (acl_*_bytes) is pure. */
#ifndef COFFER_FS_ACL_H
#define COFFER_FS_ACL_H

#include "fs/fs_priv.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_MAX_BYTES (4u + 8u * 1024u) /* a larger one fits no inode's xattrs */

/* The nine mode bits ACL stands for; *is_minimal: it says no more than they.  ERR_INVALID: not an
 * ACL. */
int acl_mode_of_bytes (const uint8_t *acl, size_t n, uint32_t *mode, bool *is_minimal) WARN_UNUSED;
/* Changes ACL in place as chmod (MODE) does. */
int acl_chmod_bytes (uint8_t *acl, size_t n, uint32_t mode) WARN_UNUSED;
/* Cuts ACL (a default one) down by *MODE as creation does; *MODE becomes what is left. */
int acl_create_bytes (uint8_t *acl, size_t n, uint32_t *mode) WARN_UNUSED;

/* Before a chmod of NODE: its access ACL follows. */
int acl_follow_mode (struct fs *fs, uint64_t node, uint32_t mode, unsigned flags) WARN_UNUSED;
/* Sets NAME (ACL_ACCESS or ACL_DEFAULT). */
int acl_set (struct fs *fs, uint64_t node, const char *name, const void *value, size_t n,
             unsigned flags) WARN_UNUSED;

struct acl_inherit {
  bool has_default, is_dir;
  struct buf def, access;
};
void acl_inherit_init (struct acl_inherit *a);
void acl_inherit_release (struct acl_inherit *a);
/* Reads the default ACL of PARENT. */
int acl_inherit_get (struct fs *fs, uint64_t parent, bool is_dir, unsigned flags,
                     struct acl_inherit *a) WARN_UNUSED;
/* The mode of the new node; call where has_default. */
void acl_inherit_mode (struct acl_inherit *a, uint32_t *mode);
/* Stores the ACLs of the new node. */
int acl_inherit_set (struct fs *fs, uint64_t node, const struct acl_inherit *a) WARN_UNUSED;

#endif
