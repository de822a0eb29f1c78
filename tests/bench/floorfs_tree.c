/* SPDX-License-Identifier: Apache-2.0 */
#include "floorfs_tree.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct inode root;

/* All names of all directories in one table of chains; doubled when it holds as many as buckets. */
static struct dentry **buckets;
static size_t bucket_count, names;
static ino_t last_ino = 1;

void
tree_lock (void)
{
  pthread_mutex_lock (&mutex);
}

void
tree_unlock (void)
{
  pthread_mutex_unlock (&mutex);
}

struct inode *
tree_root (void)
{
  return &root;
}

static void
stamp (struct inode *n, mode_t mode, ino_t ino)
{
  n->st.st_mode = mode;
  n->st.st_ino = ino;
  n->st.st_blksize = 1 << 20; /* cp then writes 1 MiB at a time */
  n->st.st_nlink = S_ISDIR (mode) ? 2 : 0;
  clock_gettime (CLOCK_REALTIME, &n->st.st_mtim);
  n->st.st_atim = n->st.st_ctim = n->st.st_mtim;
}

int
tree_init (void)
{
  bucket_count = 1 << 16;
  buckets = calloc (bucket_count, sizeof *buckets);
  if (buckets == NULL)
    return ENOMEM;
  stamp (&root, S_IFDIR | 0755, 1);
  root.parent = &root;
  root.lookups = 1;
  return 0;
}

/* FNV-1a, started from the directory's address. */
static uint64_t
hash_name (const struct inode *dir, const char *name)
{
  uint64_t h = 0xcbf29ce484222325u ^ ((uintptr_t) dir >> 4);
  for (; *name; name++)
    h = (h ^ (uint8_t) *name) * 0x100000001b3u;
  return h ^ h >> 29;
}

static struct dentry **
find_link (const struct inode *dir, const char *name, uint64_t hash)
{
  struct dentry **p = &buckets[hash & (bucket_count - 1)];
  while (*p && ((*p)->hash != hash || (*p)->dir != dir || strcmp ((*p)->name, name) != 0))
    p = &(*p)->next;
  return p;
}

static struct dentry *
find_entry (const struct inode *dir, const char *name)
{
  return *find_link (dir, name, hash_name (dir, name));
}

struct inode *
tree_find (struct inode *dir, const char *name)
{
  struct dentry *d = find_entry (dir, name);
  return d != NULL ? d->inode : NULL;
}

static void
grow_table (void)
{
  size_t count = bucket_count * 2;
  struct dentry **bigger = calloc (count, sizeof *bigger);
  if (bigger == NULL)
    return; /* longer chains only */
  for (size_t i = 0; i < bucket_count; i++)
    for (struct dentry *d = buckets[i], *next; d != NULL; d = next) {
      next = d->next;
      d->next = bigger[d->hash & (count - 1)];
      bigger[d->hash & (count - 1)] = d;
    }
  free (buckets);
  buckets = bigger;
  bucket_count = count;
}

static int
slot_take (struct inode *dir, size_t *slot)
{
  if (dir->slots == dir->slots_cap) {
    size_t cap = dir->slots_cap ? dir->slots_cap * 2 : 8;
    struct dentry **list = realloc (dir->list, cap * sizeof *list);
    if (list == NULL)
      return ENOMEM;
    dir->list = list;
    dir->slots_cap = cap;
  }
  *slot = dir->slots++;
  return 0;
}

static int
entry_add (struct inode *dir, const char *name, struct inode *n)
{
  struct dentry *d = malloc (sizeof *d + strlen (name) + 1);
  if (d == NULL || slot_take (dir, &d->slot) != 0) {
    free (d);
    return ENOMEM;
  }
  memcpy (d->name, name, strlen (name) + 1);
  d->dir = dir;
  d->inode = n;
  d->hash = hash_name (dir, name);
  d->next = buckets[d->hash & (bucket_count - 1)];
  buckets[d->hash & (bucket_count - 1)] = d;
  dir->list[d->slot] = d;
  dir->live++;
  clock_gettime (CLOCK_REALTIME, &dir->st.st_mtim);
  dir->st.st_ctim = dir->st.st_mtim;
  if (S_ISDIR (n->st.st_mode)) {
    n->parent = dir;
    dir->st.st_nlink++;
  } else
    n->st.st_nlink++;
  if (++names > bucket_count)
    grow_table ();
  return 0;
}

static void
entry_drop (struct dentry *d)
{
  struct inode *dir = d->dir;
  *find_link (dir, d->name, d->hash) = d->next;
  dir->list[d->slot] = NULL;
  while (dir->slots > 0 && dir->list[dir->slots - 1] == NULL)
    dir->slots--;
  dir->live--;
  names--;
  clock_gettime (CLOCK_REALTIME, &dir->st.st_mtim);
  dir->st.st_ctim = dir->st.st_mtim;
  if (S_ISDIR (d->inode->st.st_mode))
    dir->st.st_nlink--;
  else
    d->inode->st.st_nlink--;
  d->inode->st.st_ctim = dir->st.st_mtim;
  free (d);
}

static void
xattrs_free (struct xattr *x)
{
  while (x != NULL) {
    struct xattr *next = x->next;
    free (x->name);
    free (x->value);
    free (x);
    x = next;
  }
}

void
tree_put (struct inode *n)
{
  if (n == &root || n->lookups > 0 || n->st.st_nlink > 0)
    return;
  xattrs_free (n->xattrs);
  free (n->list);
  free (n->target);
  free (n->data);
  free (n);
}

int
tree_make (struct inode *dir, const char *name, mode_t mode, const char *target,
           struct inode **out)
{
  if (find_entry (dir, name) != NULL)
    return EEXIST;
  struct inode *n = calloc (1, sizeof *n);
  if (n == NULL)
    return ENOMEM;
  stamp (n, mode, ++last_ino);
  if (target != NULL) {
    n->target = strdup (target);
    n->st.st_size = (off_t) strlen (target);
  }
  if ((target != NULL && n->target == NULL) || entry_add (dir, name, n) != 0) {
    n->st.st_nlink = 0;
    tree_put (n);
    return ENOMEM;
  }
  *out = n;
  return 0;
}

int
tree_link (struct inode *dir, const char *name, struct inode *n)
{
  if (find_entry (dir, name) != NULL)
    return EEXIST;
  clock_gettime (CLOCK_REALTIME, &n->st.st_ctim);
  return entry_add (dir, name, n);
}

/* A directory without a name has no links left, whatever "." counted. */
static void
drop_name (struct dentry *d)
{
  struct inode *n = d->inode;
  entry_drop (d);
  if (S_ISDIR (n->st.st_mode)) {
    n->st.st_nlink = 0;
    n->parent = &root; /* the old parent may go before the kernel forgets N */
  }
  tree_put (n);
}

int
tree_remove (struct inode *dir, const char *name, bool is_rmdir)
{
  struct dentry *d = find_entry (dir, name);
  if (d == NULL)
    return ENOENT;
  if (S_ISDIR (d->inode->st.st_mode) != is_rmdir)
    return is_rmdir ? ENOTDIR : EISDIR;
  if (is_rmdir && d->inode->live > 0)
    return ENOTEMPTY;
  drop_name (d);
  return 0;
}

static int
exchange (struct dentry *a, struct dentry *b)
{
  struct inode *x = a->inode, *y = b->inode;
  bool x_dir = S_ISDIR (x->st.st_mode), y_dir = S_ISDIR (y->st.st_mode);
  a->inode = y;
  b->inode = x;
  if (x_dir)
    x->parent = b->dir;
  if (y_dir)
    y->parent = a->dir;
  if (x_dir && !y_dir) {
    a->dir->st.st_nlink--;
    b->dir->st.st_nlink++;
  } else if (y_dir && !x_dir) {
    a->dir->st.st_nlink++;
    b->dir->st.st_nlink--;
  }
  return 0;
}

int
tree_rename (struct inode *from, const char *name, struct inode *to, const char *newname,
             unsigned flags)
{
  struct dentry *a = find_entry (from, name), *b = find_entry (to, newname);
  if (a == NULL || ((flags & RENAME_EXCHANGE) && b == NULL))
    return ENOENT;
  if (flags & RENAME_EXCHANGE)
    return exchange (a, b);
  if (b != NULL && (flags & RENAME_NOREPLACE))
    return EEXIST;
  struct inode *n = a->inode;
  if (b != NULL && b->inode == n)
    return 0;
  if (b != NULL && S_ISDIR (b->inode->st.st_mode) != S_ISDIR (n->st.st_mode))
    return S_ISDIR (n->st.st_mode) ? ENOTDIR : EISDIR;
  if (b != NULL && S_ISDIR (n->st.st_mode) && b->inode->live > 0)
    return ENOTEMPTY;
  if (b != NULL)
    drop_name (b);
  int rc = entry_add (to, newname, n);
  if (rc == 0)
    entry_drop (a);
  return rc;
}

int
tree_resize (struct inode *n, uint64_t size, bool keep_data)
{
  if (keep_data && size > n->data_cap) {
    size_t cap = size > n->data_cap * 2 ? size : n->data_cap * 2;
    char *data = realloc (n->data, cap);
    if (data == NULL)
      return ENOSPC;
    n->data = data;
    n->data_cap = cap;
  }
  if (keep_data && size > (uint64_t) n->st.st_size)
    memset (n->data + n->st.st_size, 0, size - (uint64_t) n->st.st_size);
  n->st.st_size = (off_t) size;
  n->st.st_blocks = (blkcnt_t) ((size + 511) / 512);
  return 0;
}

static struct xattr **
xattr_link (struct inode *n, const char *name)
{
  struct xattr **p = &n->xattrs;
  while (*p && strcmp ((*p)->name, name) != 0)
    p = &(*p)->next;
  return p;
}

const struct xattr *
tree_getxattr (const struct inode *n, const char *name)
{
  const struct xattr *x = n->xattrs;
  while (x != NULL && strcmp (x->name, name) != 0)
    x = x->next;
  return x;
}

/* An access ACL as the kernel's xattr spells it: 4 bytes of version, then entries of 8 bytes, tag
 * and permissions (16 bits each, little-endian) and an id.  It sets the mode, as it does on any
 * file system; true if it says no more than a mode can. */
static bool
acl_to_mode (struct inode *n, const char *value, size_t len)
{
  const uint8_t *p = (const uint8_t *) value;
  mode_t mode = n->st.st_mode & ~(mode_t) 0777, group = 0, mask = 8;
  for (size_t at = 4; at + 8 <= len; at += 8) {
    mode_t perm = p[at + 2] & 7;
    switch (p[at]) {
    case 0x01: mode |= perm << 6; break; /* the owner */
    case 0x04: group = perm; break;
    case 0x10: mask = perm; break;
    case 0x20: mode |= perm; break;
    }
  }
  n->st.st_mode = mode | (mask < 8 ? mask : group) << 3;
  return len <= 4 + 3 * 8;
}

int
tree_setxattr (struct inode *n, const char *name, const char *value, size_t len, int flags)
{
  if (strcmp (name, "system.posix_acl_access") == 0 && acl_to_mode (n, value, len)) {
    (void) tree_removexattr (n, name); /* if there was one */
    return 0;
  }
  struct xattr **p = xattr_link (n, name);
  if (*p != NULL && (flags & XATTR_CREATE))
    return EEXIST;
  if (*p == NULL && (flags & XATTR_REPLACE))
    return ENODATA;
  char *copy = malloc (len + 1);
  if (copy == NULL)
    return ENOMEM;
  memcpy (copy, value, len);
  if (*p == NULL) {
    struct xattr *x = calloc (1, sizeof *x);
    if (x == NULL || (x->name = strdup (name)) == NULL) {
      free (x);
      free (copy);
      return ENOMEM;
    }
    *p = x;
  }
  free ((*p)->value);
  (*p)->value = copy;
  (*p)->len = len;
  clock_gettime (CLOCK_REALTIME, &n->st.st_ctim);
  return 0;
}

int
tree_removexattr (struct inode *n, const char *name)
{
  struct xattr **p = xattr_link (n, name), *x = *p;
  if (x == NULL)
    return ENODATA;
  *p = x->next;
  x->next = NULL;
  xattrs_free (x);
  return 0;
}

int
tree_listxattr (const struct inode *n, char **out, size_t *len)
{
  size_t total = 0;
  for (const struct xattr *x = n->xattrs; x != NULL; x = x->next)
    total += strlen (x->name) + 1;
  char *p = NULL;
  if (total > 0 && (p = malloc (total)) == NULL)
    return ENOMEM;
  *out = p;
  *len = total;
  for (const struct xattr *x = n->xattrs; x != NULL; x = x->next) {
    size_t l = strlen (x->name) + 1;
    memcpy (p, x->name, l);
    p += l;
  }
  return 0;
}
