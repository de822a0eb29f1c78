/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bufpool.h"

#include <stdbool.h>
#include <sys/mman.h>

#include "base/lock.h"

/* The last class is a pack with its table (store/pipeline.c). */
static const size_t class_size[] = {
  16 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20,
  2 << 20,  4 << 20,  8 << 20,   18 << 20,  BUFPOOL_MAX,
};
#define CLASSES (sizeof class_size / sizeof class_size[0])

struct free_buf {
  struct free_buf *next;
  size_t cap;
};

static struct {
  struct lock lock;
  struct free_buf *free[CLASSES];
  size_t kept, lent, total;
} pool = { .lock = LOCK_INIT (LOCK_BUFPOOL, "bufpool"), .total = 160 << 20 };

static int
class_of (size_t n)
{
  for (size_t i = 0; i < CLASSES; i++)
    if (n <= class_size[i])
      return (int) i;
  return -1;
}

static struct free_buf *
take_locked (size_t k)
{
  struct free_buf *f = pool.free[k];
  if (f) {
    pool.free[k] = f->next;
    pool.kept -= class_size[k];
  }
  return f;
}

/* What waits beyond the total, as a list: one that is as large as class K, or the largest. */
static struct free_buf *
surplus_locked (size_t k)
{
  struct free_buf *list = NULL;
  while (pool.kept && pool.lent + pool.kept > pool.total) {
    size_t at = k;
    while (at < CLASSES && !pool.free[at])
      at++;
    if (at == CLASSES)
      for (at = k; at > 0 && !pool.free[at];)
        at--;
    struct free_buf *f = take_locked (at);
    f->next = list;
    list = f;
  }
  return list;
}

static void
unmap_all (struct free_buf *list)
{
  while (list) {
    struct free_buf *next = list->next;
    munmap (list, list->cap);
    list = next;
  }
}

uint8_t *
bufpool_get (size_t n, size_t *cap)
{
  int k = class_of (n);
  if (k < 0)
    return NULL;
  *cap = class_size[k];
  lock_take (&pool.lock);
  struct free_buf *f = take_locked ((size_t) k);
  pool.lent += class_size[k];
  struct free_buf *surplus = f ? NULL : surplus_locked ((size_t) k);
  lock_release (&pool.lock);
  unmap_all (surplus);
  if (f)
    return (uint8_t *) f;
  void *p = mmap (NULL, class_size[k], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p != MAP_FAILED)
    return p;
  lock_take (&pool.lock);
  pool.lent -= class_size[k];
  lock_release (&pool.lock);
  return NULL;
}

void
bufpool_put (uint8_t *p, size_t cap)
{
  if (!p)
    return;
  int k = class_of (cap);
  bool keep = false;
  lock_take (&pool.lock);
  pool.lent -= cap;
  if (pool.lent + pool.kept + cap <= pool.total) {
    struct free_buf *f = (struct free_buf *) (void *) p;
    *f = (struct free_buf){ .next = pool.free[k], .cap = class_size[k] };
    pool.free[k] = f;
    pool.kept += cap;
    keep = true;
  }
  lock_release (&pool.lock);
  if (!keep)
    munmap (p, cap);
}

size_t
bufpool_lent (void)
{
  lock_take (&pool.lock);
  size_t n = pool.lent;
  lock_release (&pool.lock);
  return n;
}

size_t
bufpool_kept (void)
{
  lock_take (&pool.lock);
  size_t n = pool.kept;
  lock_release (&pool.lock);
  return n;
}

void
bufpool_set_total (size_t bytes)
{
  lock_take (&pool.lock);
  pool.total = bytes;
  struct free_buf *surplus = surplus_locked (0);
  lock_release (&pool.lock);
  unmap_all (surplus);
}

void
bufpool_trim (void)
{
  struct free_buf *list = NULL;
  lock_take (&pool.lock);
  for (size_t k = 0; k < CLASSES; k++)
    for (struct free_buf *f; (f = take_locked (k));) {
      f->next = list;
      list = f;
    }
  lock_release (&pool.lock);
  unmap_all (list);
}
