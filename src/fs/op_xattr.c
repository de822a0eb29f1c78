/* SPDX-License-Identifier: Apache-2.0 */
/* op_xattr - extended attributes.  ACLs keep the mode in step (acl.h); `user.coffer.command` is an
 * order, not an attribute (ruling 9). */
#include <errno.h>
#include <sys/xattr.h>

#include "fs/acl.h"
#include "fs/control.h"
#include "fs/fs_priv.h"

#define VALUE_MAX (64u << 10) /* XATTR_SIZE_MAX, XATTR_LIST_MAX */
#define COMMAND_XATTR "user.coffer.command"
#define VIRTUAL "user.coffer."

static bool
is_acl (const char *name)
{
  return strcmp (name, ACL_ACCESS) == 0 || strcmp (name, ACL_DEFAULT) == 0;
}

/* ---- get, list ---- */

static int
do_getxattr (struct call *c, unsigned flags)
{
  buf_reset (&c->buf);
  return mount_getxattr (c->fs->mount, c->node, c->name, flags, &c->buf);
}

static int
do_listxattr (struct call *c, unsigned flags)
{
  buf_reset (&c->buf);
  return mount_listxattr (c->fs->mount, c->node, flags, &c->buf);
}

/* c->len: the size of the caller's buffer, 0 where it only asks how much there is. */
static void
reply_bytes (struct call *c, int rc)
{
  if (rc < 0)
    reply_err (c->req, rc);
  else if (c->len == 0)
    fuse_reply_xattr (c->req, c->buf.len);
  else if (c->buf.len > c->len)
    reply_err (c->req, ERR_RANGE);
  else
    fuse_reply_buf (c->req, (const char *) c->buf.data, c->buf.len);
}

static const struct call_type getxattr_type = { OP_getxattr, do_getxattr, reply_bytes,
                                                drop_nothing };
static const struct call_type listxattr_type = { OP_listxattr, do_listxattr, reply_bytes,
                                                 drop_nothing };

void
op_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  /* `ls -l` asks twice for every file. */
  bool is_bare = node_is_bare (ino) && strncmp (name, VIRTUAL, strlen (VIRTUAL)) != 0;
  if (node_is_control (ino) || is_bare) {
    fs_count (fs_of (req), OP_getxattr);
    fuse_reply_err (req, ENODATA);
    return;
  }
  struct call c;
  call_init (&c, req, &getxattr_type, ino);
  c.name = name;
  c.len = size;
  buf_init (&c.buf, VALUE_MAX);
  call_run (&c);
}

void
op_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size)
{
  struct call c;
  call_init (&c, req, &listxattr_type, ino);
  c.len = size;
  buf_init (&c.buf, VALUE_MAX);
  if (node_is_control (ino)) {
    reply_bytes (&c, 0);
    return;
  }
  call_run (&c);
}

/* ---- set, remove ---- */

static int
do_setxattr (struct call *c, unsigned flags)
{
  flags |= c->flags;
  if (is_acl (c->name))
    return acl_set (c->fs, c->node, c->name, c->value, c->value_len, flags);
  return mount_setxattr (c->fs->mount, c->node, c->name, c->value, c->value_len, flags);
}

static int
do_removexattr (struct call *c, unsigned flags)
{
  return mount_removexattr (c->fs->mount, c->node, c->name, flags);
}

static const struct call_type setxattr_type = { OP_setxattr, do_setxattr, reply_rc, NULL };
static const struct call_type removexattr_type = { OP_removexattr, do_removexattr, reply_rc, NULL };

void
op_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
             int flags)
{
  if (node_is_control (ino)) {
    reply_err (req, ERR_PERM);
    return;
  }
  if (strcmp (name, COMMAND_XATTR) == 0) {
    control_xattr_command (req, ino, value, size);
    return;
  }
  struct call c;
  call_init (&c, req, &setxattr_type, ino);
  c.name = name;
  c.value = value;
  c.value_len = size;
  c.flags = (flags & XATTR_CREATE ? XATTR_FLAG_CREATE : 0)
            | (flags & XATTR_REPLACE ? XATTR_FLAG_REPLACE : 0);
  call_run (&c);
}

void
op_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name)
{
  if (node_is_control (ino)) {
    reply_err (req, ERR_PERM);
    return;
  }
  struct call c;
  call_init (&c, req, &removexattr_type, ino);
  c.name = name;
  call_run (&c);
}
