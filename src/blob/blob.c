/* SPDX-License-Identifier: Apache-2.0 */
#include "blob/blob.h"

#include <string.h>

#include "base/lock.h"

bool
blob_key_is_valid (const char *key)
{
  size_t len = strlen (key);
  if (len == 0 || len > BLOB_KEY_MAX || key[0] == '/' || key[len - 1] == '/')
    return false;
  for (const char *p = key; *p;) {
    size_t n = strcspn (p, "/");
    if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
      return false;
    for (size_t i = 0; i < n; i++)
      if (p[i] <= 0x20 || p[i] >= 0x7f)
        return false;
    p += n;
    if (*p == '/')
      p++;
  }
  return true;
}

int
blob_put (struct blob *b, const char *key, const void *data, size_t len,
          const struct blob_put_opts *opts)
{
  static const struct blob_put_opts none;
  lock_assert_none ();
  if (!blob_key_is_valid (key))
    return ERR_INVALID;
  return b->ops->put (b, key, data, len, opts ? opts : &none);
}

int
blob_get (struct blob *b, const char *key, uint64_t off, size_t len, void *out)
{
  lock_assert_none ();
  if (!blob_key_is_valid (key))
    return ERR_INVALID;
  return len ? b->ops->get (b, key, off, len, out) : 0;
}

int
blob_get_all (struct blob *b, const char *key, struct buf *out)
{
  lock_assert_none ();
  return blob_key_is_valid (key) ? b->ops->get_all (b, key, out) : ERR_INVALID;
}

int
blob_head (struct blob *b, const char *key, struct blob_info *out)
{
  lock_assert_none ();
  return blob_key_is_valid (key) ? b->ops->head (b, key, out) : ERR_INVALID;
}

int
blob_list (struct blob *b, const char *prefix, const char *start_after, bool is_delimited,
           blob_list_fn fn, void *ctx)
{
  lock_assert_none ();
  return b->ops->list (b, prefix, start_after, is_delimited, fn, ctx);
}

int
blob_delete (struct blob *b, const char *const *keys, size_t n)
{
  lock_assert_none ();
  for (size_t i = 0; i < n; i++)
    if (!blob_key_is_valid (keys[i]))
      return ERR_INVALID;
  return n ? b->ops->del (b, keys, n) : 0;
}

int
blob_now (struct blob *b, int64_t *out)
{
  lock_assert_none ();
  return b->ops->now (b, out);
}

void
blob_cancel (struct blob *b)
{
  if (b->ops->cancel)
    b->ops->cancel (b);
}

void
blob_free (struct blob *b)
{
  if (b)
    b->ops->free (b);
}

struct blob
blob_over (const struct blob *inner, const struct blob_ops *ops)
{
  struct blob b = *inner;
  b.ops = ops;
  return b;
}

uint64_t
blob_upload_rate (const struct blob *b)
{
  return throttle_set_rate_of (&b->up);
}
