/* SPDX-License-Identifier: Apache-2.0 */
#define LOG_MODULE "overlay"
#include "snapshot/overlay.h"

#include "base/openssl.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"

#define STEP 65536
#define TELL_EVERY (60 * NS_PER_S)

struct range {
  uint64_t start, end;
};

struct overlay {
  struct overlay_budget *budget;
  int fd;
  struct range *ranges; /* ascending, with gaps between */
  size_t count, cap;
  uint64_t bytes;
  EVP_CIPHER_CTX *cipher;
  uint8_t key[32];
};

static bool
may_tell (struct overlay_budget *b)
{
  int64_t now = clock_now (), last = b->told;
  return (!last || now - last > TELL_EVERY)
         && atomic_compare_exchange_strong (&b->told, &last, now);
}

int
overlay_new (struct overlay_budget *b, struct overlay **out)
{
  AUTO (overlay) o = calloc (1, sizeof *o);
  if (!o)
    return ERR_NOMEM;
  o->budget = b;
  o->fd = -1;
  o->cipher = EVP_CIPHER_CTX_new ();
  if (!o->cipher || RAND_bytes (o->key, sizeof o->key) != 1)
    return ERR_NOMEM;
  char path[4200];
  snprintf (path, sizeof path, "%s/overlay-XXXXXX", b->dir);
  o->fd = mkostemp (path, O_CLOEXEC);
  if (o->fd < 0) {
    int err = errno;
    if (may_tell (b))
      log_err ("cannot make an overlay path=%s err=\"%s\": small writes become chunks of their "
               "own; is the state directory writable?", path, strerror (err));
    return err_from_errno (err);
  }
  unlink (path);
  *out = STEAL (o);
  return 0;
}

void
overlay_free (struct overlay *o)
{
  if (!o)
    return;
  if (o->fd >= 0)
    close (o->fd);
  o->budget->used -= o->bytes;
  EVP_CIPHER_CTX_free (o->cipher);
  explicit_bzero (o->key, sizeof o->key);
  free (o->ranges);
  free (o);
}

/* XORs the key stream of [off, off + n) onto DATA.  OFF need not be aligned. */
static int
crypt_at (struct overlay *o, uint64_t off, const uint8_t *in, uint8_t *out, size_t n)
{
  uint8_t iv[16] = { 0 };
  uint64_t block = off / 16;
  for (int i = 0; i < 8; i++)
    iv[15 - i] = (uint8_t) (block >> (8 * i));
  int len;
  if (EVP_EncryptInit_ex (o->cipher, EVP_aes_256_ctr (), NULL, o->key, iv) != 1)
    return ERR_IO;
  uint8_t skip[16] = { 0 };
  if (off % 16 && EVP_EncryptUpdate (o->cipher, skip, &len, skip, (int) (off % 16)) != 1)
    return ERR_IO;
  return EVP_EncryptUpdate (o->cipher, out, &len, in, (int) n) == 1 ? 0 : ERR_IO;
}

/* Index of the first range that ends at or after OFF. */
static size_t
find (const struct overlay *o, uint64_t off)
{
  size_t lo = 0, hi = o->count;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (o->ranges[mid].end < off)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

static int
room (struct overlay *o)
{
  if (o->count < o->cap)
    return 0;
  size_t cap = o->cap ? o->cap * 2 : 8;
  struct range *more = realloc (o->ranges, cap * sizeof *more);
  if (!more)
    return ERR_NOMEM;
  o->ranges = more;
  o->cap = cap;
  return 0;
}

static void
add_range (struct overlay *o, uint64_t start, uint64_t end)
{
  size_t i = find (o, start), k = i;
  uint64_t before = 0;
  uint64_t s = start, e = end;
  while (k < o->count && o->ranges[k].start <= end) {
    before += o->ranges[k].end - o->ranges[k].start;
    if (o->ranges[k].start < s)
      s = o->ranges[k].start;
    if (o->ranges[k].end > e)
      e = o->ranges[k].end;
    k++;
  }
  if (k == i) {
    memmove (&o->ranges[i + 1], &o->ranges[i], (o->count - i) * sizeof *o->ranges);
    o->count++;
  } else {
    memmove (&o->ranges[i + 1], &o->ranges[k], (o->count - k) * sizeof *o->ranges);
    o->count -= k - i - 1;
  }
  o->ranges[i] = (struct range){ s, e };
  o->bytes += (e - s) - before;
  o->budget->used += (e - s) - before;
}

int
overlay_write (struct overlay *o, uint64_t off, const void *data, size_t n)
{
  struct overlay_budget *b = o->budget;
  if (b->used + n > b->max) {
    if (may_tell (b))
      log_warn ("overlay is full bytes=%llu: small writes become chunks of their own until it has "
                "drained; overlay-size would be larger", (unsigned long long) b->used);
    return ERR_FULL;
  }
  int rc = room (o);
  if (rc)
    return rc;
  uint8_t tmp[STEP];
  for (size_t done = 0; done < n;) {
    size_t k = n - done < STEP ? n - done : STEP;
    rc = crypt_at (o, off + done, (const uint8_t *) data + done, tmp, k);
    if (rc)
      return rc;
    ssize_t w = pwrite (o->fd, tmp, k, (off_t) (off + done));
    if (w <= 0) {
      int err = errno;
      if (may_tell (b))
        log_err ("write to the overlay failed err=\"%s\": small writes become chunks of their own; "
                 "free space in the state directory", strerror (err));
      return err_from_errno (err);
    }
    done += (size_t) w;
  }
  add_range (o, off, off + n);
  return 0;
}

int
overlay_read (struct overlay *o, uint64_t off, void *out, size_t n)
{
  for (size_t done = 0; done < n;) {
    uint8_t *to = (uint8_t *) out + done;
    size_t k = n - done < STEP ? n - done : STEP;
    ssize_t r = pread (o->fd, to, k, (off_t) (off + done));
    if (r <= 0) {
      log_err ("read from the overlay failed off=%llu err=\"%s\"",
               (unsigned long long) (off + done),
               r ? strerror (errno) : "file cut");
      return ERR_IO;
    }
    int rc = crypt_at (o, off + done, to, to, (size_t) r);
    if (rc)
      return rc;
    done += (size_t) r;
  }
  return 0;
}

bool
overlay_next (const struct overlay *o, uint64_t off, uint64_t *start, uint64_t *end)
{
  size_t i = find (o, off + 1);
  if (i == o->count)
    return false;
  *start = o->ranges[i].start;
  *end = o->ranges[i].end;
  return true;
}

void
overlay_clear (struct overlay *o, uint64_t off, uint64_t end)
{
  for (size_t i = find (o, off); i < o->count && o->ranges[i].start < end;) {
    struct range *r = &o->ranges[i];
    if (r->end <= off) {
      i++;
      continue;
    }
    uint64_t s = r->start > off ? r->start : off, e = r->end < end ? r->end : end;
    if (r->start < s && r->end > e) {
      if (room (o) != 0)
        return; /* stays dirty: pushed twice, nothing lost */
      r = &o->ranges[i];
      memmove (&o->ranges[i + 1], &o->ranges[i], (o->count - i) * sizeof *o->ranges);
      o->count++;
      o->ranges[i].end = s;
      o->ranges[i + 1].start = e;
      i++;
    } else if (r->start < s)
      r->end = s, i++;
    else if (r->end > e)
      r->start = e, i++;
    else {
      memmove (&o->ranges[i], &o->ranges[i + 1], (o->count - i - 1) * sizeof *o->ranges);
      o->count--;
    }
    o->bytes -= e - s;
    o->budget->used -= e - s;
    /* Space comes back as far as the file system can; failing is harmless. */
    (void) fallocate (o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) s,
                      (off_t) (e - s));
  }
}

bool
overlay_is_empty (const struct overlay *o)
{
  return o->count == 0;
}

uint64_t
overlay_bytes (const struct overlay *o)
{
  return o->bytes;
}
