/* SPDX-License-Identifier: Apache-2.0 */
/* double_tree - names and nodes of the double. */
#include <stdio.h>

#include "double_priv.h"

void
double_lock (struct mount *m)
{
  pthread_mutex_lock (&m->mutex);
}

void
double_unlock (struct mount *m)
{
  pthread_mutex_unlock (&m->mutex);
}

int
double_wait (struct mount *m, unsigned flags)
{
  if (!m->opts.wait_ms)
    return 0;
  if (!(flags & MOUNT_NOWAIT)) {
    clock_sleep (m->opts.wait_ms * NS_PER_MS);
    return 0;
  }
  unsigned n = __atomic_fetch_add (&m->calls, 1, __ATOMIC_RELAXED);
  int every = m->opts.wait_every ? m->opts.wait_every : 1;
  return n % (unsigned) every == 0 ? ERR_WOULDBLOCK : 0;
}

struct inode *
double_inode (struct mount *m, uint64_t node)
{
  return m->inodes[node & 0xfffffffff];
}

struct node_time
double_now (void)
{
  int64_t t = clock_wall ();
  return (struct node_time){ t / NS_PER_S, (uint32_t) (t % NS_PER_S) };
}

static size_t
hash (const char *name)
{
  size_t h = 5381;
  for (; *name; name++)
    h = h * 33 + (uint8_t) *name;
  return h;
}

struct entry *
double_find (struct inode *dir, const char *name)
{
  if (!dir->buckets)
    return NULL;
  struct entry *e = dir->table[hash (name) % dir->buckets];
  while (e && strcmp (e->name, name) != 0)
    e = e->chain;
  return e;
}

static int
grow (struct inode *dir)
{
  size_t n = dir->buckets ? dir->buckets * 4 : 16;
  struct entry **table = calloc (n, sizeof *table);
  if (!table)
    return ERR_NOMEM;
  for (struct entry *e = dir->first; e; e = e->next) {
    struct entry **at = &table[hash (e->name) % n];
    e->chain = *at;
    *at = e;
  }
  free (dir->table);
  dir->table = table;
  dir->buckets = n;
  return 0;
}

int
double_add (struct inode *dir, const char *name, struct inode *inode)
{
  struct entry *e = malloc (sizeof *e + strlen (name) + 1);
  if (!e || (dir->count >= dir->buckets && grow (dir) < 0)) {
    free (e);
    return ERR_NOMEM;
  }
  memcpy (e->name, name, strlen (name) + 1);
  e->inode = inode;
  e->cookie = ++dir->next_cookie;
  e->next = NULL;
  e->prev = dir->last;
  *(dir->last ? &dir->last->next : &dir->first) = e;
  dir->last = e;
  struct entry **at = &dir->table[hash (name) % dir->buckets];
  e->chain = *at;
  *at = e;
  dir->count++;
  dir->st.attr.mtime = dir->st.ctime = double_now ();
  if (inode->st.attr.kind == NODE_DIR)
    dir->st.attr.nlink++;
  return 0;
}

void
double_remove (struct inode *dir, struct entry *e)
{
  struct entry **at = &dir->table[hash (e->name) % dir->buckets];
  while (*at != e)
    at = &(*at)->chain;
  *at = e->chain;
  *(e->prev ? &e->prev->next : &dir->first) = e->next;
  *(e->next ? &e->next->prev : &dir->last) = e->prev;
  dir->count--;
  dir->st.attr.mtime = dir->st.ctime = double_now ();
  if (e->inode->st.attr.kind == NODE_DIR)
    dir->st.attr.nlink--;
  free (e);
}

int
double_make (struct mount *m, struct inode *parent, enum node_kind kind, struct inode **out)
{
  if (m->inode_count + 1 >= m->inode_cap) {
    size_t cap = m->inode_cap ? m->inode_cap * 2 : 1024;
    struct inode **grown = realloc (m->inodes, cap * sizeof *grown);
    if (!grown)
      return ERR_NOMEM;
    m->inodes = grown;
    m->inode_cap = cap;
  }
  struct inode *n = calloc (1, sizeof *n);
  if (!n)
    return ERR_NOMEM;
  uint64_t number = ++m->inode_count;
  m->inodes[number] = n;
  n->depth = parent ? parent->depth + 1 : 0;
  n->parent = parent;
  n->snapshot = n->depth <= 3 ? n : parent->snapshot;
  n->node = n->depth == 0 ? NODE_ROOT : (n->depth < 3 ? 1ull : 4ull) << 56 | number;
  n->st.node = n->node;
  n->st.attr.kind = (uint8_t) kind;
  n->st.attr.nlink = kind == NODE_DIR ? 2 : 1;
  n->st.attr.mtime = n->st.attr.atime = n->st.ctime = double_now ();
  n->st.is_volatile = n->depth < 3;
  *out = n;
  return 0;
}

void
double_stat (struct mount *m, struct inode *n, struct node_stat *out, bool counts)
{
  *out = n->st;
  out->has_xattrs = n->xattrs != NULL;
  out->is_sealed = double_is_sealed (n);
  out->blocks = (n->st.attr.size + 511) / 512;
  if (counts && n->depth >= 3)
    m->refs++;
}

bool
double_is_sealed (const struct inode *n)
{
  return n->depth >= 3 && n->snapshot->is_sealed;
}

int
double_resize (struct inode *n, uint64_t size)
{
  if (size > 1ull << 32)
    return ERR_FBIG;
  if (size > n->cap) {
    uint64_t cap = n->cap ? n->cap : 4096;
    while (cap < size)
      cap *= 2;
    uint8_t *p = realloc (n->data, cap);
    if (!p)
      return ERR_FULL;
    n->data = p;
    n->cap = cap;
  }
  if (size > n->st.attr.size)
    memset (n->data + n->st.attr.size, 0, size - n->st.attr.size);
  n->st.attr.size = size;
  return 0;
}
