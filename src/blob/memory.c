/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "blob/meter.h"

struct object {
  char *key;
  uint8_t *data;
  size_t len;
  int64_t mtime;
};

struct memory_store {
  struct lock lock; /* guards all */
  unsigned users;
  struct object *v; /* ascending by key */
  size_t n, cap;
  uint64_t bytes, limit;
  int64_t frozen_at; /* 0: clock_wall () */
};

struct blob_memory {
  struct blob blob;
  struct memory_store *store;
  _Atomic bool is_cancelled;
};

static struct memory_store *
enter (struct blob *b, enum blob_op op)
{
  struct blob_memory *m = (struct blob_memory *) b;
  meter_request (b->meter, op);
  return m->is_cancelled ? NULL : m->store;
}

static int64_t
now_locked (const struct memory_store *s)
{
  lock_assert_held (&s->lock);
  return s->frozen_at ? s->frozen_at : clock_wall ();
}

/* The index of the first key that is not below KEY. */
static size_t
lower_bound (const struct memory_store *s, const char *key)
{
  size_t lo = 0, hi = s->n;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (strcmp (s->v[mid].key, key) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static struct object *
find_locked (struct memory_store *s, const char *key)
{
  size_t i = lower_bound (s, key);
  return i < s->n && strcmp (s->v[i].key, key) == 0 ? &s->v[i] : NULL;
}

static int
insert_locked (struct memory_store *s, const char *key, uint8_t **take, size_t len, int64_t mtime)
{
  size_t i = lower_bound (s, key);
  if (s->n == s->cap) {
    size_t cap = s->cap ? s->cap * 2 : 16;
    struct object *v = realloc (s->v, cap * sizeof *v);
    if (!v)
      return ERR_NOMEM;
    s->v = v;
    s->cap = cap;
  }
  char *copy = strdup (key);
  if (!copy)
    return ERR_NOMEM;
  memmove (s->v + i + 1, s->v + i, (s->n - i) * sizeof *s->v);
  s->v[i] = (struct object){ .key = copy, .data = STEAL (*take), .len = len, .mtime = mtime };
  s->n++;
  s->bytes += len;
  return 0;
}

static int
memory_put (struct blob *b, const char *key, const void *data, size_t len,
            const struct blob_put_opts *opts)
{
  struct memory_store *s = enter (b, BLOB_OP_PUT);
  if (!s)
    return ERR_CANCELLED;
  AUTO_MEM uint8_t *copy = malloc (len ? len : 1);
  if (!copy)
    return ERR_NOMEM;
  if (len)
    memcpy (copy, data, len);
  if (opts->progress)
    opts->progress (opts->ctx, len);
  meter_bytes (b->meter, len, 0);
  LOCK_SCOPE (&s->lock);
  struct object *o = find_locked (s, key);
  if (o && opts->if_absent)
    return ERR_EXISTS;
  if (s->limit && s->bytes + len > s->limit)
    return ERR_FULL;
  if (!o)
    return insert_locked (s, key, &copy, len, now_locked (s));
  uint8_t *old = o->data;
  s->bytes += len - o->len;
  o->data = copy;
  o->len = len;
  o->mtime = now_locked (s);
  copy = old;
  return 0;
}

static int
memory_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  struct memory_store *s = enter (b, BLOB_OP_GET);
  if (!s)
    return ERR_CANCELLED;
  LOCK_SCOPE (&s->lock);
  struct object *o = find_locked (s, key);
  if (!o)
    return ERR_MISSING;
  if (off > o->len || len > o->len - off)
    return ERR_LIMIT;
  memcpy (out, o->data + off, len);
  meter_bytes (b->meter, 0, len);
  return 0;
}

static int
memory_get_all (struct blob *b, const char *key, struct buf *out)
{
  struct memory_store *s = enter (b, BLOB_OP_GET);
  if (!s)
    return ERR_CANCELLED;
  LOCK_SCOPE (&s->lock);
  struct object *o = find_locked (s, key);
  if (!o)
    return ERR_MISSING;
  buf_put (out, o->data, o->len);
  meter_bytes (b->meter, 0, o->len);
  return buf_error (out);
}

static int
memory_head (struct blob *b, const char *key, struct blob_info *out)
{
  struct memory_store *s = enter (b, BLOB_OP_HEAD);
  if (!s)
    return ERR_CANCELLED;
  LOCK_SCOPE (&s->lock);
  struct object *o = find_locked (s, key);
  if (!o)
    return ERR_MISSING;
  *out = (struct blob_info){ .size = o->len, .mtime = o->mtime };
  return 0;
}

struct cursor {
  char at[BLOB_KEY_MAX + 2]; /* entries up to here have been given */
  size_t prefix_len;
  bool is_delimited;
};

/* Finds the next entry after the cursor and moves the cursor onto it; false at the end. */
static bool
next_locked (const struct memory_store *s, const char *prefix, struct cursor *c,
             struct blob_entry *out)
{
  lock_assert_held (&s->lock);
  size_t i = lower_bound (s, strcmp (c->at, prefix) > 0 ? c->at : prefix);
  for (; i < s->n && strncmp (s->v[i].key, prefix, c->prefix_len) == 0; i++) {
    const struct object *o = &s->v[i];
    const char *slash = c->is_delimited ? strchr (o->key + c->prefix_len, '/') : NULL;
    char name[BLOB_KEY_MAX + 2];
    size_t n = slash ? (size_t) (slash - o->key) + 1 : strlen (o->key);
    memcpy (name, o->key, n);
    name[n] = '\0';
    if (strcmp (name, c->at) <= 0)
      continue;
    memcpy (c->at, name, n + 1);
    *out = (struct blob_entry){ .key = c->at, .is_prefix = slash != NULL,
                                .size = slash ? 0 : o->len, .mtime = slash ? 0 : o->mtime };
    return true;
  }
  return false;
}

static int
memory_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
             blob_list_fn fn, void *ctx)
{
  struct memory_store *s = enter (b, BLOB_OP_LIST);
  if (strlen (start_after) > BLOB_KEY_MAX + 1)
    return ERR_INVALID;
  struct cursor c = { .prefix_len = strlen (prefix), .is_delimited = is_delimited };
  memcpy (c.at, start_after, strlen (start_after) + 1);
  for (;;) {
    if (!s || ((struct blob_memory *) b)->is_cancelled)
      return ERR_CANCELLED;
    struct blob_entry e;
    {
      LOCK_SCOPE (&s->lock);
      if (!next_locked (s, prefix, &c, &e))
        return 0;
    }
    char key[sizeof c.at]; /* the callback may list as well, but never this cursor */
    memcpy (key, c.at, sizeof key);
    e.key = key;
    int rc = fn (ctx, &e);
    if (rc != 0)
      return rc;
  }
}

static int
memory_delete (struct blob *b, const char *const *keys, size_t n)
{
  struct memory_store *s = enter (b, BLOB_OP_DELETE);
  if (!s)
    return ERR_CANCELLED;
  LOCK_SCOPE (&s->lock);
  for (size_t i = 0; i < n; i++) {
    struct object *o = find_locked (s, keys[i]);
    if (!o)
      continue;
    s->bytes -= o->len;
    free (o->key);
    free (o->data);
    size_t at = (size_t) (o - s->v);
    memmove (o, o + 1, (s->n - at - 1) * sizeof *o);
    s->n--;
  }
  return 0;
}

static int
memory_now (struct blob *b, int64_t *out)
{
  struct memory_store *s = enter (b, BLOB_OP_HEAD);
  if (!s)
    return ERR_CANCELLED;
  LOCK_SCOPE (&s->lock);
  *out = now_locked (s);
  return 0;
}

static void
memory_cancel (struct blob *b)
{
  ((struct blob_memory *) b)->is_cancelled = true;
}

static void
store_unref (struct memory_store *s)
{
  lock_take (&s->lock);
  bool is_last = --s->users == 0;
  lock_release (&s->lock);
  if (!is_last)
    return;
  for (size_t i = 0; i < s->n; i++) {
    free (s->v[i].key);
    free (s->v[i].data);
  }
  free (s->v);
  lock_destroy (&s->lock);
  free (s);
}

static void
memory_free (struct blob *b)
{
  struct blob_memory *m = (struct blob_memory *) b;
  store_unref (m->store);
  meter_free (b->meter);
  free (m);
}

static const struct blob_ops memory_ops = {
  .name = "memory",
  .put = memory_put,
  .get = memory_get,
  .get_all = memory_get_all,
  .head = memory_head,
  .list = memory_list,
  .del = memory_delete,
  .now = memory_now,
  .cancel = memory_cancel,
  .free = memory_free,
};

/* Takes one use of S on every path. */
static int
wrap (struct memory_store *s, struct blob **out)
{
  struct blob_memory *m = calloc (1, sizeof *m);
  if (!m || meter_new (&m->blob.meter) != 0) {
    free (m);
    store_unref (s);
    return ERR_NOMEM;
  }
  m->blob.ops = &memory_ops;
  m->blob.caps = BLOB_CAP_IF_ABSENT;
  m->store = s;
  *out = &m->blob;
  return 0;
}

static struct memory_store *
store_new (void)
{
  struct memory_store *s = calloc (1, sizeof *s);
  if (s) {
    lock_init (&s->lock, LOCK_BLOB, "memory_store");
    s->users = 1;
  }
  return s;
}

int
blob_memory_new (struct blob **out)
{
  struct memory_store *s = store_new ();
  return s ? wrap (s, out) : ERR_NOMEM;
}

int
blob_memory_share (struct blob *b, struct blob **out)
{
  struct memory_store *s = ((struct blob_memory *) b)->store;
  lock_take (&s->lock);
  s->users++;
  lock_release (&s->lock);
  return wrap (s, out);
}

int
blob_memory_clone (struct blob *b, struct blob **out)
{
  struct memory_store *from = ((struct blob_memory *) b)->store, *to = store_new ();
  if (!to)
    return ERR_NOMEM;
  int rc = 0;
  lock_take (&from->lock);
  to->frozen_at = from->frozen_at;
  for (size_t i = 0; rc == 0 && i < from->n; i++) {
    const struct object *o = &from->v[i];
    AUTO_MEM uint8_t *copy = malloc (o->len ? o->len : 1);
    if (copy && o->len)
      memcpy (copy, o->data, o->len);
    rc = copy ? insert_locked (to, o->key, &copy, o->len, o->mtime) : ERR_NOMEM;
  }
  lock_release (&from->lock);
  if (rc != 0) {
    store_unref (to);
    return rc;
  }
  return wrap (to, out);
}

void
blob_memory_set_clock (struct blob *b, int64_t ns)
{
  struct memory_store *s = ((struct blob_memory *) b)->store;
  LOCK_SCOPE (&s->lock);
  s->frozen_at = ns;
}

void
blob_memory_set_limit (struct blob *b, uint64_t bytes)
{
  struct memory_store *s = ((struct blob_memory *) b)->store;
  LOCK_SCOPE (&s->lock);
  s->limit = bytes;
}

size_t
blob_memory_count (struct blob *b)
{
  struct memory_store *s = ((struct blob_memory *) b)->store;
  LOCK_SCOPE (&s->lock);
  return s->n;
}
