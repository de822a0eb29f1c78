/* SPDX-License-Identifier: Apache-2.0 */
/* The change log of a working tree: what the next checkpoint has to tell of. */
#define LOG_MODULE "worktree"
#include "snapshot/worktree.h"

static void
append (struct worktree *t, const struct buf *b)
{
  if (b->error || t->error)
    return;
  buf_put (&t->log, b->data, b->len);
  if (t->log.error) /* what cannot be noted could not be made durable: never a success again */
    t->error = ERR_LIMIT;
}

static void
append_node (struct worktree *t, uint8_t type, uint64_t ino)
{
  uint8_t raw[16];
  struct buf b = { .data = raw, .cap = sizeof raw, .max = sizeof raw };
  buf_put_u8 (&b, type);
  buf_put_varint (&b, ino);
  append (t, &b);
}

void
inode_touch_locked (struct inode *i)
{
  lock_assert_held (&i->tree->lock);
  i->is_dirty = true;
  if (i->is_logged)
    return;
  i->is_logged = true;
  append_node (i->tree, LOG_NODE, i->ino);
}

void
log_gone_locked (struct worktree *t, uint64_t ino)
{
  append_node (t, LOG_GONE, ino);
}

void
log_name_locked (struct worktree *t, uint64_t dir, const void *name, size_t n, uint64_t ino,
                 bool is_half)
{
  uint8_t raw[32 + TREE_NAME_MAX];
  struct buf b = { .data = raw, .cap = sizeof raw, .max = sizeof raw };
  buf_put_u8 (&b, is_half ? LOG_NAME_HALF : LOG_NAME);
  buf_put_varint (&b, dir);
  buf_put_bytes (&b, name, n);
  buf_put_varint (&b, ino);
  append (t, &b);
}

bool
log_next (struct rd *r, struct log_entry *out)
{
  if (!rd_left (r) || r->failed)
    return false;
  *out = (struct log_entry){ .type = rd_u8 (r) };
  out->no = rd_varint (r); /* on its own: the order within an initializer is nobody's promise */
  if (out->type == LOG_NAME || out->type == LOG_NAME_HALF) {
    out->is_half = out->type == LOG_NAME_HALF;
    out->type = LOG_NAME;
    out->name = rd_bytes (r, TREE_NAME_MAX, &out->len);
    out->ino = rd_varint (r);
  }
  return !r->failed;
}

int
worktree_log_take (struct worktree *t, struct buf *to, uint64_t *first_new)
{
  LOCK_SCOPE (&t->lock);
  *to = t->log;
  buf_init (&t->log, CHANGELOG_MAX);
  *first_new = t->next_ino;
  t->is_told = true;
  return t->error;
}

void
worktree_log_told (struct worktree *t)
{
  LOCK_SCOPE (&t->lock);
  t->is_told = false;
  while (t->doomed) {
    struct inode *i = t->doomed;
    t->doomed = i->newer;
    i->newer = NULL;
    inode_put_locked (i);
  }
  t->doomed_count = 0;
}
