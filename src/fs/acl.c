/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/acl.h"

#define ACL_VERSION 2
#define HEADER_LEN 4u
#define ENTRY_LEN 8u

enum acl_tag {
  TAG_USER_OBJ = 1, TAG_USER = 2, TAG_GROUP_OBJ = 4, TAG_GROUP = 8, TAG_MASK = 16, TAG_OTHER = 32,
};

/* ---- codec ---- */

/* Where the entries that the mode's bits stand for are; NULL where there is none. */
struct acl_parts {
  uint8_t *user, *group, *mask, *other;
  bool has_named;
};

static unsigned
get_le16 (const uint8_t *p)
{
  return (unsigned) p[0] | (unsigned) p[1] << 8;
}

static unsigned
perm_of (const uint8_t *entry)
{
  return get_le16 (entry + 2);
}

static void
perm_set (uint8_t *entry, unsigned perm)
{
  entry[2] = (uint8_t) (perm & 7);
  entry[3] = 0;
}

static int
parts_find (uint8_t *acl, size_t n, struct acl_parts *out)
{
  *out = (struct acl_parts){ 0 };
  if (n < HEADER_LEN || (n - HEADER_LEN) % ENTRY_LEN || get_le32 (acl) != ACL_VERSION)
    return ERR_INVALID;
  for (uint8_t *e = acl + HEADER_LEN; e < acl + n; e += ENTRY_LEN) {
    uint8_t **slot = NULL;
    if (perm_of (e) > 7)
      return ERR_INVALID;
    switch (get_le16 (e)) {
    case TAG_USER_OBJ: slot = &out->user; break;
    case TAG_GROUP_OBJ: slot = &out->group; break;
    case TAG_MASK: slot = &out->mask; break;
    case TAG_OTHER: slot = &out->other; break;
    case TAG_USER:
    case TAG_GROUP: out->has_named = true; break;
    default: return ERR_INVALID;
    }
    if (slot && *slot)
      return ERR_INVALID;
    if (slot)
      *slot = e;
  }
  bool is_whole = out->user && out->group && out->other && (out->mask || !out->has_named);
  return is_whole ? 0 : ERR_INVALID;
}

/* The entry that the mode's group bits stand for. */
static uint8_t *
group_class (const struct acl_parts *p)
{
  return p->mask ? p->mask : p->group;
}

static uint32_t
parts_mode (const struct acl_parts *p)
{
  return perm_of (p->user) << 6 | perm_of (group_class (p)) << 3 | perm_of (p->other);
}

int
acl_mode_of_bytes (const uint8_t *acl, size_t n, uint32_t *mode, bool *is_minimal)
{
  uint8_t copy[ACL_MAX_BYTES];
  struct acl_parts p;
  if (n > sizeof copy)
    return ERR_LIMIT;
  memcpy (copy, acl, n);
  int rc = parts_find (copy, n, &p);
  if (rc < 0)
    return rc;
  *mode = parts_mode (&p);
  *is_minimal = !p.has_named && !p.mask;
  return 0;
}

int
acl_chmod_bytes (uint8_t *acl, size_t n, uint32_t mode)
{
  struct acl_parts p;
  int rc = parts_find (acl, n, &p);
  if (rc < 0)
    return rc;
  perm_set (p.user, mode >> 6);
  perm_set (group_class (&p), mode >> 3);
  perm_set (p.other, mode);
  return 0;
}

int
acl_create_bytes (uint8_t *acl, size_t n, uint32_t *mode)
{
  struct acl_parts p;
  int rc = parts_find (acl, n, &p);
  if (rc < 0)
    return rc;
  perm_set (p.user, perm_of (p.user) & *mode >> 6);
  perm_set (group_class (&p), perm_of (group_class (&p)) & *mode >> 3);
  perm_set (p.other, perm_of (p.other) & *mode);
  *mode = (*mode & ~0777u) | parts_mode (&p);
  return 0;
}

/* ---- chmod and setfacl ---- */

int
acl_follow_mode (struct fs *fs, uint64_t node, uint32_t mode, unsigned flags)
{
  AUTO_BUF acl;
  buf_init (&acl, ACL_MAX_BYTES);
  if (!fs->has_acls || node_class (node) != CLASS_OPEN)
    return 0;
  int rc = mount_getxattr (fs->mount, node, ACL_ACCESS, flags, &acl);
  if (rc == ERR_NODATA)
    return 0;
  if (rc == 0)
    rc = acl_chmod_bytes (acl.data, acl.len, mode);
  if (rc == 0)
    rc = mount_setxattr (fs->mount, node, ACL_ACCESS, acl.data, acl.len, flags);
  return rc;
}

static int
remove_acl (struct fs *fs, uint64_t node, const char *name, unsigned flags)
{
  int rc = mount_removexattr (fs->mount, node, name, flags);
  return rc == ERR_NODATA ? 0 : rc;
}

static int
set_mode (struct fs *fs, uint64_t node, uint32_t bits, unsigned flags)
{
  struct node_stat st, in = { 0 };
  int rc = mount_getattr (fs->mount, node, flags, &st);
  if (rc < 0 || (st.attr.mode & 0777) == bits)
    return rc;
  in.attr.mode = (uint16_t) ((st.attr.mode & 07000) | bits);
  return mount_setattr (fs->mount, node, NULL, SETATTR_MODE, &in, flags, &st);
}

int
acl_set (struct fs *fs, uint64_t node, const char *name, const void *value, size_t n,
         unsigned flags)
{
  uint32_t mode;
  bool is_minimal;
  fs->has_acls = true;
  unsigned wait = flags & MOUNT_NOWAIT;
  if (n == HEADER_LEN)
    return remove_acl (fs, node, name, wait);
  int rc = acl_mode_of_bytes (value, n, &mode, &is_minimal);
  if (rc == 0 && strcmp (name, ACL_ACCESS) == 0) {
    rc = set_mode (fs, node, mode, wait);
    if (rc == 0 && is_minimal)
      return remove_acl (fs, node, name, wait);
  }
  if (rc < 0)
    return rc;
  return mount_setxattr (fs->mount, node, name, value, n, flags);
}

/* ---- inheritance ---- */

void
acl_inherit_init (struct acl_inherit *a)
{
  *a = (struct acl_inherit){ 0 };
  buf_init (&a->def, ACL_MAX_BYTES);
  buf_init (&a->access, ACL_MAX_BYTES);
}

void
acl_inherit_release (struct acl_inherit *a)
{
  buf_release (&a->def);
  buf_release (&a->access);
}

int
acl_inherit_get (struct fs *fs, uint64_t parent, bool is_dir, unsigned flags, struct acl_inherit *a)
{
  int rc = mount_getxattr (fs->mount, parent, ACL_DEFAULT, flags, &a->def);
  if (rc == ERR_NODATA)
    return 0;
  if (rc < 0)
    return rc;
  buf_put (&a->access, a->def.data, a->def.len);
  a->has_default = true;
  a->is_dir = is_dir;
  return buf_error (&a->access);
}

void
acl_inherit_mode (struct acl_inherit *a, uint32_t *mode)
{
  if (acl_create_bytes (a->access.data, a->access.len, mode) < 0)
    a->has_default = false; /* stored by something that is no kernel: not an ACL */
}

int
acl_inherit_set (struct fs *fs, uint64_t node, const struct acl_inherit *a)
{
  uint32_t mode;
  bool is_minimal;
  int rc = acl_mode_of_bytes (a->access.data, a->access.len, &mode, &is_minimal);
  if (rc == 0 && !is_minimal)
    rc = mount_setxattr (fs->mount, node, ACL_ACCESS, a->access.data, a->access.len, 0);
  if (rc == 0 && a->is_dir)
    rc = mount_setxattr (fs->mount, node, ACL_DEFAULT, a->def.data, a->def.len, 0);
  return rc;
}
