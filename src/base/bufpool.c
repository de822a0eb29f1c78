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
};

static struct {
  struct lock lock;
  struct free_buf *free[CLASSES];
  size_t kept, lent, keep_max;
} pool = { .lock = LOCK_INIT (LOCK_BUFPOOL, "bufpool"), .keep_max = 96 << 20 };

static int
class_of (size_t n)
{
  for (size_t i = 0; i < CLASSES; i++)
    if (n <= class_size[i])
      return (int) i;
  return -1;
}

uint8_t *
bufpool_get (size_t n, size_t *cap)
{
  int k = class_of (n);
  if (k < 0)
    return NULL;
  *cap = class_size[k];
  lock_take (&pool.lock);
  struct free_buf *f = pool.free[k];
  if (f) {
    pool.free[k] = f->next;
    pool.kept -= class_size[k];
  }
  pool.lent += class_size[k];
  lock_release (&pool.lock);
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
  if (pool.kept + cap <= pool.keep_max) {
    struct free_buf *f = (struct free_buf *) (void *) p;
    f->next = pool.free[k];
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
bufpool_set_keep (size_t bytes)
{
  lock_take (&pool.lock);
  pool.keep_max = bytes;
  lock_release (&pool.lock);
}

void
bufpool_trim (void)
{
  for (size_t k = 0; k < CLASSES; k++) {
    lock_take (&pool.lock);
    struct free_buf *f = pool.free[k];
    pool.free[k] = NULL;
    for (struct free_buf *q = f; q; q = q->next)
      pool.kept -= class_size[k];
    lock_release (&pool.lock);
    while (f) {
      struct free_buf *next = f->next;
      munmap (f, class_size[k]);
      f = next;
    }
  }
}
